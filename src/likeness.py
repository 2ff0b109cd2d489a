"""How much a model writes like a person, told by numbers: its replies beside what the person wrote in the same places.

    measures     what can be counted in either: length, distinct words, repetition, emoji, capitals, closing marks
    overlap      how alike the words are;  typical: the words that tell one from the other
    scores       BLEU, METEOR and NIST of each reply against the one that was written

Words are runs of letters and digits, in lower case; an emoji and a mark are tokens of their own.
"""
from collections import Counter

import numpy as np
import regex

from . import intervals

EMOJI = regex.compile(r'(?![©®™‼⁉])[\p{Emoji_Presentation}\p{Extended_Pictographic}](?:\ufe0f|\p{Emoji_Modifier}|\u200d[\p{Extended_Pictographic}])*')
TOKENS = regex.compile(EMOJI.pattern + r"|[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*|\S")
CLOSED = regex.compile(r"[.!?…。！？]['\"”’»)\]]*$")
WORD = regex.compile(r'[\p{L}\p{N}]')
LOOP = 6                                                # tokens at least that say the same three times or more
PRIOR = 0.1                                             # of all words: how many the prior of `typical` counts
TYPICAL = 12                                            # words of each


def tokens(text):
    """'I am, 💛' -> ['i', 'am', ',', '💛']"""
    return TOKENS.findall(text.lower())


def ngrams(words, n):
    """[the n-grams of a text, one behind the other]"""
    return [tuple(words[i:i + n]) for i in range(len(words) - n + 1)]


def loops(words):
    """Whether somewhere the same words come three times in a row, LOOP tokens or more."""
    for period in range(1, len(words) // 3 + 1):
        run = 0
        for same in map(str.__eq__, words[period:], words):
            run = run + 1 if same else 0
            if run >= max(2 * period, LOOP - period):
                return True
    return False


def again(words, n=4):
    """(how many n-grams of a text came before in it, how many it has)"""
    found = ngrams(words, n)
    return len(found) - len(set(found)), len(found)


# ---- what can be counted in either

def distinct(texts, n):
    """The statistic distinct-n: different n-grams among all of the texts drawn / how many there are (Li et al. 2016, arXiv:1510.03055, section 5.2)."""
    numbers = {}
    rows = [np.array([numbers.setdefault(gram, len(numbers)) for gram in ngrams(words, n)], int) for words in texts]

    def statistic(drawn):
        some = np.concatenate([rows[i] for i in drawn])
        return len(np.unique(some)) / len(some) if len(some) else np.nan
    return statistic


def statistics(texts):
    """{name: statistic} of texts, for intervals.estimate."""
    words = [tokens(text) for text in texts]
    every, lengths = np.ones(len(texts)), np.array([len(text.split()) for text in texts])
    letters = [regex.search(r'\p{L}', text) for text in texts]
    return {'words': intervals.ratio(lengths, every), 'median': lambda drawn: np.median(lengths[drawn]),
            'distinct_1': distinct(words, 1), 'distinct_2': distinct(words, 2),
            'repeated': intervals.ratio(*zip(*map(again, words))), 'loops': intervals.ratio([loops(some) for some in words], every),
            'emoji': intervals.ratio([bool(EMOJI.search(text)) for text in texts], every),
            'capitals': intervals.ratio([bool(found and found[0].isupper()) for found in letters], [bool(found) for found in letters]),
            'closed': intervals.ratio([bool(CLOSED.search(text.strip())) for text in texts], every)}


def measures(human, model, seed=0):
    """{name: {'human', 'model': Estimate or None, 'differs': whether the difference is more than chance}} of two lists of texts, place by place."""
    ours, theirs, n, found = statistics(model), statistics(human), len(human), {}
    for name in ours:
        difference, *both = (intervals.estimate(n, statistic, seed, centred=name.startswith('distinct'), limits=limits)
                             for statistic, limits in ((lambda drawn: ours[name](drawn) - theirs[name](drawn), (-1, 1)), (theirs[name], (0, 1)), (ours[name], (0, 1))))
        found[name] = {'human': both[0], 'model': both[1],
                       'differs': difference is not None and difference.low is not None and (difference.low > 0 or difference.high < 0)}
    return found


def lengths(texts, edges=(1, 2, 3, 5, 8, 12, 18, 27, 40)):
    """How many texts have so many words: [share of those with edges[i] up to edges[i + 1]], the first also with fewer, the last with more."""
    found = np.searchsorted(edges, [len(text.split()) for text in texts], side='right') - 1
    return (np.bincount(np.maximum(found, 0), minlength=len(edges)) / len(texts)).tolist()


# ---- words

def counted(texts):
    """Counter of the words and emoji in texts."""
    return Counter(word for text in texts for word in tokens(text) if WORD.search(word) or EMOJI.search(word))


def overlap(one, other):
    """The statistic sum over words of min(share in one's texts, share in the other's): 1 for the same words as often, 0 for none in common. Two lists
    of texts; those drawn are of `one`, beside all of the other's."""
    theirs, rows = counted(other), [counted([text]) for text in one]
    numbers = {word: i for i, word in enumerate(dict.fromkeys([*theirs, *(word for row in rows for word in row)]))}
    shares = np.zeros(len(numbers))
    shares[[numbers[word] for word in theirs]] = list(theirs.values())
    rows = [(np.array([numbers[word] for word in row], int), np.array(list(row.values()), float)) for row in rows]

    def statistic(drawn):
        places, counts = (np.concatenate(column) for column in zip(*(rows[i] for i in drawn)))
        ours = np.bincount(places, counts, len(numbers))
        return np.minimum(ours / ours.sum(), shares / shares.sum()).sum() if ours.any() and shares.any() else np.nan
    return statistic


def typical(one, other, n=TYPICAL):
    """The words that tell one list of texts from the other, the most telling first: two lists of (word, z, how often there, how often in the other one).

    z: the log-odds ratio, with a Dirichlet prior that shares out its words as both together do, over its standard deviation (Monroe et al. 2008,
    "Fightin' Words", section 3.5); beyond 1.96 it is more than chance.
    """
    ours, theirs = counted(one), counted(other)
    words = sorted(set(ours) | set(theirs))
    y, x = (np.array([count[word] for word in words], float) for count in (ours, theirs))
    if not words or not y.any() or not x.any():
        return [], []
    prior = PRIOR * (y + x)
    odds = [np.log((c + prior) / (c.sum() + prior.sum() - c - prior).clip(1e-9)) for c in (y, x)]
    z = (odds[0] - odds[1]) / np.sqrt(1 / (y + prior) + 1 / (x + prior))

    def most(z, here, there):
        return [(words[i], float(z[i]), int(here[i]), int(there[i])) for i in np.argsort(-z, kind='stable')[:n] if z[i] > 1.96]
    return most(z, y, x), most(-z, x, y)


# ---- word for word

class NoSynonyms:
    """What METEOR asks for synonyms, of which it finds none: WordNet would have to be downloaded. Words still meet by their stems."""

    @staticmethod
    def synsets(word):
        return []


def scores(human, model, seed=0):
    """{'bleu', 'meteor', 'nist': Estimate or None}: of each of the model's texts against the person's in the same place. Raises ImportError without
    sacrebleu and nltk.

    BLEU-4 of all (Papineni et al. 2002; sacrebleu's, with its tokens), METEOR's mean (Banerjee and Lavie 2005; nltk's, exact words and stems alone), and
    NIST-5 of all (Doddington 2002; nltk's); both latter of `tokens`.
    """
    import sacrebleu
    from nltk.translate import meteor_score, nist_score
    bleu = sacrebleu.BLEU(effective_order=True)
    each = [bleu.sentence_score(ours, [theirs]) for ours, theirs in zip(model, human)]
    sums = np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in each], int)

    def corpus_bleu(drawn):
        found = sums[drawn].sum(axis=0).tolist()
        return sacrebleu.BLEU.compute_bleu(found[:4], found[4:8], *found[8:], smooth_method='exp').score

    ours, theirs = [tokens(text) for text in model], [tokens(text) for text in human]
    meteor = [meteor_score.single_meteor_score(reference, hypothesis, wordnet=NoSynonyms) for reference, hypothesis in zip(theirs, ours)]

    def corpus_nist(drawn):
        n = min(5, max(len(ours[i]) for i in drawn))                            # of longer runs nltk divides by their number, 0, as it does by the words of a person's
        return nist_score.corpus_nist([[theirs[i]] for i in drawn], [ours[i] for i in drawn], n) if n and any(theirs[i] for i in drawn) else np.nan

    return {'bleu': intervals.estimate(len(sums), corpus_bleu, seed), 'meteor': intervals.estimate(len(sums), intervals.ratio(meteor, np.ones(len(meteor))), seed),
            'nist': intervals.estimate(len(sums), corpus_nist, seed, resamples=100)}


def compare(human, model, others=(), seed=0):
    """All of it, of what a person and a model wrote in the same places: {'n', 'measures', 'lengths', 'overlap', 'typical', 'scores'}.

    others: more of what the person wrote, elsewhere: how alike their own words are, for scale. 'scores' is None without sacrebleu and nltk.
    """
    rest = list((Counter(others) - Counter(human)).elements())
    rest = [rest[i] for i in np.random.default_rng(seed).permutation(len(rest))[:len(human)]]
    theirs, ours = typical(human, model)
    try:
        found = scores(human, model, seed)
    except ImportError:
        found = None
    return {'n': len(human), 'measures': measures(human, model, seed), 'lengths': {'human': lengths(human), 'model': lengths(model)},
            'overlap': {'human': intervals.estimate(len(rest), overlap(rest, human), seed, centred=True) if len(rest) == len(human) else None,
                        'model': intervals.estimate(len(model), overlap(model, human), seed, centred=True)},
            'typical': {'human': theirs, 'model': ours}, 'scores': found}

"""The next token of one row, in NumPy: what logits.py does in TensorFlow, for the engine that runs without it.

    raw logits [n_vocab], and history: which tokens are already there
    -> repetition, frequency, presence -> bias -> no repeated n-gram -> no stop before min_length         all the logits, in place
    -> top_k -> / temperature -> top_p -> min_p -> typical -> pick                                        candidates, fewer and fewer

Candidates are ids [n], ascending, and their logits [n] float32: what is cut is gone, and the next filter has less to read. The settings,
their order and their sources are those of logits.py. There one program serves all rows, without a sort; here a filter that is off costs
nothing, and sorting what is left is quick.
"""
import functools

import numpy as np

from .settings import REMOVED, SPREAD

BLOCK = 256                                             # tokens in one look of top_k
BINS = 4096                                             # of distances, of typical


# ---- what changes raw logits, in place

def penalize_repetition(logits, history, penalty):
    """Divide what is above 0 and multiply what is below, for every token already there; 1: off. Keskar et al. 2019, arXiv:1909.05858, section 4.1."""
    there = logits[history]
    logits[history] = np.where(there > 0, there / penalty, there * penalty)


def penalize_frequency(logits, generated, frequency, presence):
    """Take frequency for each time that a token was generated, and presence once; 0: off. As OpenAI's API documents them."""
    ids, counts = np.unique(generated, return_counts=True)
    logits[ids] -= counts.astype(np.float32) * frequency + presence


def no_repeat_ngram(logits, history, n):
    """Remove each token that would complete an n-gram which is already there; 0: off. Paulus et al. 2017, arXiv:1705.04304, section 2.5."""
    if 0 < n <= len(history):
        grams = np.lib.stride_tricks.sliding_window_view(history, n)                                # [len(history) - n + 1, n]
        repeats = (grams[:, :-1] == history[len(history) - n + 1:]).all(axis=-1)
        logits[grams[repeats, -1]] = REMOVED


def penalize(logits, settings, history, prompt, stops, bias):
    """All of the above on a copy, bans last: they stay bans. -> [n_vocab] float32."""
    logits, generated = np.array(logits, np.float32), history[max(prompt, 0):]
    if settings.repetition_penalty != 1:
        penalize_repetition(logits, history, settings.repetition_penalty)
    if settings.frequency_penalty or settings.presence_penalty:
        penalize_frequency(logits, generated, settings.frequency_penalty, settings.presence_penalty)
    if bias is not None:
        logits = np.maximum(logits + bias, np.float32(REMOVED))
    no_repeat_ngram(logits, history, int(settings.no_repeat_ngram_size))
    if len(history) - prompt < settings.min_length:     # a prompt below 0: the window has slid on
        logits[list(stops)] = REMOVED
    return logits


# ---- what cuts the distribution

def weights_of(logits):
    """What probabilities are proportional to: 1 for the most likely."""
    weights = logits - logits.max()
    return np.exp(weights, out=weights)


def reach(p, weights):
    """How many weights from the first on add up to p of them all, the one that crosses p included."""
    cumulative = np.cumsum(weights, dtype=np.float64)
    return int(np.searchsorted(cumulative[:-1], p * cumulative[-1])) + 1


@functools.lru_cache(2)
def _numbers(n):
    numbers = np.arange(n)
    numbers.flags.writeable = False
    return numbers


def top_k(logits, k):
    """logits [n_vocab] -> candidates: the k most likely tokens (Fan et al. 2018, arXiv:1805.04833), and those as likely as the last of them; 0: all.

    The k-th largest of some blocks' maxima is no larger than the k-th largest of all: what is below it need not be looked at.
    """
    least = min(REMOVED / 2, logits.max())
    if not 0 < k < len(logits):
        k = len(logits)
        if logits.min() >= least:
            return _numbers(k), logits
    elif k <= len(logits) // BLOCK:
        maxima = logits[:len(logits) // BLOCK * BLOCK].reshape(-1, BLOCK).max(axis=1)
        least = max(least, np.partition(maxima, -k)[-k])
    ids = np.flatnonzero(logits >= least)
    logits = logits[ids]
    if k < len(ids):
        keep = np.flatnonzero(logits >= np.partition(logits, -k)[-k])
        ids, logits = ids[keep], logits[keep]
    return ids, logits


def top_p(ids, logits, p):
    """Keep the most likely tokens that together reach p, the one that crosses p included and those as likely as it; 0 and 1: all.

    Nucleus sampling: Holtzman et al. 2019, arXiv:1904.09751, section 3.1. All the tokens less likely than (1 - p) / n together do not reach
    1 - p, so none of them is needed; that leaves little to sort.
    """
    if not 0 < p < 1:
        return ids, logits
    weights = weights_of(logits)
    everything = weights.sum(dtype=np.float64)
    first = np.sort(weights[weights >= (1 - p) * everything / len(ids)])[::-1]
    least = first[reach(p * everything / first.sum(dtype=np.float64), first) - 1]
    keep = np.flatnonzero(weights >= least)
    return ids[keep], logits[keep]


def min_p(ids, logits, p):
    """Keep the tokens at least p times as likely as the most likely one; 0: all. Nguyen et al. 2024, arXiv:2407.01082."""
    if p == 0:
        return ids, logits
    keep = np.flatnonzero(logits >= logits.max() + np.float32(np.log(p)))
    return ids[keep], logits[keep]


def typical(ids, logits, p):
    """Keep the tokens whose surprisal is closest to the entropy and that together reach p, the one that crosses p included; 0 and 1: all.

    Locally typical sampling: Meister et al. 2022, arXiv:2202.00666. Sorting all by their distance would take longer than all the rest: first the
    bin in which p is reached, then the order in it. Where the entropy is so low that the most likely token is no further from it than all those which
    together do not reach 1 - p, none of these is needed (see top_p), which leaves little.
    """
    if not 0 < p < 1:
        return ids, logits
    weights = weights_of(logits)
    everything = weights.sum(dtype=np.float64)
    most, least = logits.max(), np.log(everything)     # least: the surprisal of the most likely
    entropy = least + most - np.dot(weights, logits) / everything
    rare = (1 - p) * everything / len(ids)
    if least - np.log(rare) - entropy > entropy - least:
        keep = np.flatnonzero(weights >= rare)
        ids, logits, weights = ids[keep], logits[keep], weights[keep]
    distance = np.abs(np.float32(most + least - entropy) - logits)
    bins = (distance * np.float32(BINS / max(distance.max(), 1e-30))).astype(np.int32)
    cumulative = np.cumsum(np.bincount(bins, weights))
    last = int(np.searchsorted(cumulative[:-1], p * everything))
    inside = np.flatnonzero(bins == last)
    inside = inside[np.argsort(distance[inside])]
    within = np.cumsum(weights[inside], dtype=np.float64)
    furthest = inside[np.searchsorted(within[:-1], p * everything - (cumulative[last - 1] if last else 0))]
    keep = np.flatnonzero(distance <= distance[furthest])
    return ids[keep], logits[keep]


# ---- the choice

def hashed(ids, key):
    """A number for each of ids [n], float32 in (0, 1), hashed of the id and the key [2] uint32: over all keys uniform, and independent of each other
    (the last mix of MurmurHash3, with the second half of the key added in its midst)."""
    golden, first, second = map(np.uint32, SPREAD)
    h = ids.astype(np.uint32)
    h *= golden
    h += key[0]
    h ^= h >> np.uint32(16)
    h *= first
    h ^= h >> np.uint32(13)
    h += key[1]
    h *= second
    h ^= h >> np.uint32(16)
    h |= np.uint32(1)
    u = h.astype(np.float32)
    u *= np.float32(2 ** -32)
    return np.minimum(u, np.float32(1 - 2 ** -24), out=u)


def pick(ids, logits, key):
    """Draw by a race: each token arrives after the time -log(1 - u) / its probability, and the first one wins (Gumbel's trick: Maddison et al. 2014,
    arXiv:1411.0030, section 2). With the same key nearly the same probabilities choose the same: at a total variation distance d another one with
    a probability of at most 2 d / (1 + d) (Daliri et al. 2024, arXiv:2408.07978).

    -log(1 - u) is at least u: who would lose against the likeliest even so is not looked at.
    """
    weights, u = weights_of(logits), hashed(ids, key)
    some = np.flatnonzero(u <= weights * -np.log1p(-u[weights.argmax()]))
    return int(ids[some[np.argmin(-np.log1p(-u[some]) / weights[some])]])


def choose(logits, key, settings, history, prompt, stops=(), bias=None):
    """The next token, an int: the most likely one at temperature 0, else drawn from what the filters leave.

    logits [n_vocab] float32, key [2] uint32 (settings.Draw), settings: a settings.Settings; history [n] int32: the ids so far, of which the generated ones start
    at `prompt` (below 0 when the window has slid on); stops: ids that end a text; bias [n_vocab] float32: REMOVED or -inf bans a token.
    """
    logits = penalize(logits, settings, history, prompt, stops, bias)
    if settings.temperature == 0:
        return int(logits.argmax())
    ids, logits = top_k(logits, int(settings.top_k))
    if settings.temperature != 1:
        logits /= np.float32(np.clip(settings.temperature, 1e-6, 1e38))     # of our own copy
    ids, logits = top_p(ids, logits, settings.top_p)
    ids, logits = min_p(ids, logits, settings.min_p)
    return pick(*typical(ids, logits, settings.typical_p), key)


# ---- beam search

def highest(values, n):
    """Where the n highest of values [...] are, highest first; of equal ones the first."""
    n = min(n, len(values))
    ids = np.flatnonzero(values >= np.partition(values, -n)[-n])
    return ids[np.argsort(-values[ids], kind='stable')[:n]]


def beam_step(scores, logits, ended, stop):
    """logits.beam_step of one row: scores [beams], logits [beams, n_vocab] float32, ended [beams] bool -> scores, the beam that each continues, and
    its next token: all [beams], best first."""
    found = []
    for beam, (score, z, over) in enumerate(zip(scores, logits, ended)):
        if over:
            found.append([(score, beam, stop)])
        else:
            z = z - z.max()
            best = highest(z, len(scores))
            found.append([(score + each, beam, token) for each, token in zip(z[best] - np.log(np.exp(z).sum()), best)])
    found = [each for of_beam in found for each in of_beam]
    best = highest(np.array([score for score, _, _ in found], np.float32), len(scores))
    scores, parents, tokens = zip(*(found[i] for i in best))
    return np.array(scores, np.float32), np.array(parents), np.array(tokens, np.int32)


def best_beam(scores, lengths, alpha=0.6):
    """logits.best_beam of one row: scores, lengths [beams] -> the beam."""
    return int(np.argmax(scores / ((5 + lengths) / 6) ** alpha))

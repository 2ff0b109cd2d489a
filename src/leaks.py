"""How much of a text stands word for word in the training data: runs of k tokens, found exactly.

    corpus     ... the bus was late again so i walked ...        as ids, in blocks, from memory or from the disk; held is one block
    texts      and the bus was late again                        a few thousand words: what a model wrote, or people
    k = 4      no  yes yes                                       whether each run of 4 ids of a text stands somewhere in the corpus

Each run is a number of 64 bits (Karp and Rabin 1987): that of a run is made of those of its halves, so that a block takes log k passes. The runs
that are looked for are few: a table of bits passes over nearly all of the corpus, and what is left is compared id by id.

Whether a model recites is a question of scale: people, too, write what was written before. So the same is asked of what people wrote in
conversations that the model never saw. Runs: Carlini et al. 2023, arXiv:2202.07646, section 3, who take 50 tokens; chats are shorter. Replies
may be shorter than any run that tells: of them it is asked whether they stand there whole.
"""
from typing import NamedTuple

import numpy as np

from . import intervals, shards

LONG, SHORT = 20, 8                                     # tokens of a run that is recited; of one that people repeat anyway
BITS = 20                                               # of the table
ENOUGH = 100                                            # runs below which a share tells little
MULTIPLIER = np.array([0x9E3779B97F4A7C15], np.uint64)  # odd: 2 ** 64 divided by the golden ratio


def fingerprints(ids, k, seed=0):
    """ids [n] -> [n - k + 1] uint64, one for each run of k: sum over j of mixed(ids[i + j]) * MULTIPLIER ** (k - 1 - j), modulo 2 ** 64."""
    x = (ids.astype(np.uint64) + np.uint64(seed + 1)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)                # splitmix64's, so that neighbouring ids are far apart
    x ^= x >> np.uint64(31)
    found, length, power, factor = None, 0, x, MULTIPLIER                       # power: of runs of `size`, factor: MULTIPLIER ** size
    size = 1
    while True:
        if k & size:
            found = power if found is None else found[:len(found) - size] * factor + power[length:]
            length += size
        if length == k:
            return found
        power = power[:len(power) - size] * factor + power[size:]
        factor, size = factor * factor, 2 * size


def overlapping(corpus, k):
    """The rows of a corpus [arrays or shards.Row] in blocks, each behind the last k - 1 ids of the one before: no run of k is cut."""
    for row in corpus:
        kept = np.zeros(0, np.int32)
        for block in shards.blocks(row):
            block = np.concatenate([kept, block])
            if len(block) >= k:
                yield block
            kept = block[max(0, len(block) - k + 1):]


def repeated(corpus, texts, k):
    """Which runs of k ids of each text stand in the corpus: [bool [n - k + 1]] for texts [ids [n]], empty for shorter ones."""
    lengths = [max(0, len(ids) - k + 1) for ids in texts]
    runs = [np.lib.stride_tricks.sliding_window_view(np.asarray(ids, np.int32), k) for ids, n in zip(texts, lengths) if n]
    if not runs:
        return [np.zeros(0, bool) for _ in texts]
    runs, which = np.unique(np.concatenate(runs), axis=0, return_inverse=True)                      # [different runs, k]
    seed = 0
    while len(np.unique(wanted := fingerprints(runs.ravel(), k, seed)[::k])) < len(runs):           # two runs of one number: another number
        seed += 1
    order = np.argsort(wanted)
    wanted, there = wanted[order], np.zeros(len(runs), bool)
    shift = np.uint64(64 - BITS)
    table = np.zeros(1 << BITS, bool)
    table[wanted >> shift] = True
    for block in overlapping(corpus, k):
        found = fingerprints(block, k, seed)
        at = np.flatnonzero(table[found >> shift])
        nearest = np.minimum(np.searchsorted(wanted, found[at]), len(wanted) - 1)
        same = (wanted[nearest] == found[at]) & ~there[order[nearest]]
        at, run = at[same], order[nearest[same]]
        equal = (np.lib.stride_tricks.sliding_window_view(block, k)[at] == runs[run]).all(axis=1)
        there[run[equal]] = True
    return np.split(there[which.ravel()], np.cumsum(lengths)[:-1])


def whole(corpus, texts):
    """Which texts [ids] stand in the corpus from their first token to their last, for those of SHORT tokens or more: [bool [1]], empty for shorter ones."""
    found = [row.all(keepdims=True) if len(row) else row for row in repeated(corpus, texts, SHORT)]
    maybe = [i for i, row in enumerate(found) if row.any()]
    for length in {len(texts[i]) for i in maybe}:
        some = [i for i in maybe if len(texts[i]) == length]
        for i, row in zip(some, repeated(corpus, [texts[i] for i in some], length)):
            found[i] = row
    return found


def longest(corpus, texts, low=0, high=None):
    """The longest run of any text that stands in the corpus: (how many ids, which text, where in it); (0, 0, 0) where there is none.

    low, high: between which it is known to be.
    """
    found, high = (0, 0, 0), min(max(map(len, texts), default=0), high or 1 << 30)
    while low < high or low and not found[0]:           # a run of k stands there only if its parts of k - 1 do
        k = (low + high + 1) // 2
        some = repeated(corpus, texts, k)
        text = next((i for i, there in enumerate(some) if there.any()), None)
        if text is None:
            high = k - 1
        else:
            low, found = k, (k, text, int(some[text].argmax()))
    return found


class Share(NamedTuple):
    """share: an intervals.Estimate, or None where there are no runs; runs: how many; found: how many of them stand in the corpus."""
    share: intervals.Estimate | None
    runs: int
    found: int


def share(there, seed=0):
    """The Share of `repeated`'s answer."""
    found, runs = [int(row.sum()) for row in there], [len(row) for row in there]
    return Share(intervals.estimate(len(runs), intervals.ratio(found, runs), seed) if sum(runs) else None, sum(runs), sum(found))


def spans(there, k):
    """The parts of a text that runs of k cover: [(start, stop)], from which of them stand in the corpus."""
    covered = np.zeros(len(there) + k - 1, np.int8)
    for i in np.flatnonzero(there):
        covered[i:i + k] = 1
    edges = np.flatnonzero(np.diff(covered, prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2])]


def check(corpus, written, human, replies=((), ()), seed=0):
    """What of `written` (texts of a model) and of `human` (of people, held out) stands in the corpus: both [ids]. replies: the model's and people's, likewise.

    Returns {'tokens': of the corpus, 'model' and 'human': {'longest': tokens, 'text': which, 'at': where in it, 'long' and 'short': Shares of runs of LONG
    and SHORT, 'whole': that of replies that stand there whole}, 'recited': {which text of the model holds runs of LONG: [(start, stop)] of what they cover},
    'leaks': bool, 'verdict': a sentence}.
    """
    long, short = (repeated(corpus, [*written, *human], k) for k in (LONG, SHORT))
    entire = whole(corpus, [*replies[0], *replies[1]])
    entire = {'model': entire[:len(replies[0])], 'human': entire[len(replies[0]):]}
    result = {'tokens': sum(map(len, corpus))}
    for who, texts, part in (('model', written, slice(len(written))), ('human', human, slice(len(written), None))):
        shares = share(long[part], seed), share(short[part], seed)
        bounds = (LONG, None) if shares[0].found else (SHORT, LONG - 1) if shares[1].found else (0, SHORT - 1)
        n, text, at = longest(corpus, texts, *bounds)
        result[who] = {'longest': n, 'text': text, 'at': at, 'long': shares[0], 'short': shares[1], 'whole': share(entire[who], seed)}
    result['recited'] = {i: spans(row, LONG) for i, row in enumerate(long[:len(written)]) if row.any()}
    result['leaks'], result['verdict'] = verdict(result['model'], result['human'])
    return result


def verdict(model, human):
    """(whether the model recites, a sentence that says so), of what `check` found of both."""
    ours, theirs, entire, people = model['long'], human['long'], model['whole'], human['whole']
    lengths = f'The longest run that stands there has {model["longest"]} tokens; in what people wrote, held out, it has {human["longest"]}.'
    if theirs.found > 0.5 * theirs.runs:
        return False, (f'Nothing can be told: {percent(theirs)} of the held-out text stands in the training data, so it is not held out. Name --data that the model '
                       'was not trained on.')
    told = (f'{percent(ours)} of the runs of {LONG} tokens that the model wrote stand word for word in the training data, of what people wrote '
            f'{percent(theirs)}. {lengths}')
    if ours.runs >= ENOUGH and more(ours, theirs):
        return True, f'It recites: {told}'
    if people.runs and more(entire, people):
        return True, (f'It recites: {entire.found} of {entire.runs} replies of {SHORT} tokens or more stand whole in the training data, of people\'s '
                      f'{people.found} of {people.runs}. {lengths}')
    if ours.runs < ENOUGH:
        return False, f'Too little to tell: what the model wrote has {ours.runs} runs of {LONG} tokens, {ENOUGH} are needed; give more --replies. {lengths}'
    if ours.found:
        return False, f'No more than people repeat: {told}'
    shorter = (f' Shorter ones do, more often than people\'s: {percent(model["short"])} of those of {SHORT} tokens, of people\'s {percent(human["short"])}.'
               if more(model['short'], human['short']) else '')
    return False, f'No leak seen: none of the {ours.runs:,} runs of {LONG} tokens that the model wrote stands in the training data.{shorter} {lengths}'


def more(ours, theirs):
    """Whether a Share is higher than another for sure. Where nothing was found in n, as much as 3 / n may be (Hanley and Lippman-Hand 1983)."""
    high = max(theirs.share.high or 0, 3 / theirs.runs) if theirs.share else 0
    return ours.share is not None and ours.share.low is not None and ours.share.low > high


def percent(found):
    """A Share for reading."""
    if found.share is None:
        return 'none'
    return f'{100 * found.share.value:.{2 if 0 < found.share.value < 0.001 else 1}f} %'

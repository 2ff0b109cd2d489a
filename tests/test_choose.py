"""Each filter by hand, and the choice against that of logits.py: the same token for the same key."""
import math
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from test_logits import chi_square_p, random_keys, softmax

from src import choose as C
from src import logits as L
from src.logits import Settings


def log(*probabilities):
    return np.log(np.array(probabilities, np.float32))


def kept(cut, logits, setting):
    """The ids that a cut leaves; each with its logit."""
    ids, left = cut(np.arange(len(logits)), logits, setting)
    assert left.tolist() == logits[ids].tolist()
    return ids.tolist()


# ---- by hand

def test_repetition_divides_above_0_and_multiplies_below_once():
    logits = np.array([3, -3, 3, -3, 0], np.float32)
    C.penalize_repetition(logits, np.array([2, 3, 3, 4]), 2)
    assert logits.tolist() == [3, -3, 1.5, -6, 0]


def test_frequency_counts_and_presence_does_not():
    logits = np.ones(4, np.float32)
    C.penalize_frequency(logits, np.array([1, 3, 2, 3, 2, 3]), 0.5, 0.25)
    assert logits.tolist() == [1, 0.25, -0.25, -0.75]


@pytest.mark.parametrize('history, n, banned', [
    ([1, 2, 3, 1, 2], 3, [3]), ([1, 2, 3, 1, 2], 2, [3]), ([1, 2, 3, 1, 2], 1, [1, 2, 3]), ([1, 2, 3, 1, 2], 4, []), ([1, 2, 3, 1, 2], 0, []),
    ([1, 2, 3, 1, 2, 4, 1, 2], 3, [3, 4]), ([4, 4, 4], 3, [4]), ([4, 4], 3, []), ([4], 2, []), ([4, 4], 2, [4]), ([], 1, [])])
def test_no_ngram_comes_twice(history, n, banned):
    logits = np.zeros(6, np.float32)
    C.no_repeat_ngram(logits, np.array(history, np.int32), n)
    assert np.flatnonzero(logits == C.REMOVED).tolist() == banned


def test_top_k_keeps_ties():
    logits = log(.1, .4, .2, .2, .1)
    for k, ids in ((1, [1]), (2, [1, 2, 3]), (3, [1, 2, 3]), (0, [0, 1, 2, 3, 4]), (4, [0, 1, 2, 3, 4]), (5, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])):
        found, left = C.top_k(logits, k)
        assert found.tolist() == ids and left.tolist() == logits[ids].tolist()


@pytest.mark.parametrize('n', [C.BLOCK * 20, C.BLOCK * 20 + 7, C.BLOCK * 3])
def test_top_k_of_many_is_the_end_of_the_sorted_ones(n):
    logits = np.random.default_rng(n).permutation(n).astype(np.float32)
    for k in (1, 2, 19, 20, 21, 100):
        ids, left = C.top_k(logits, k)
        assert sorted(left) == list(range(n - k, n)) and (np.diff(ids) > 0).all() and (logits[ids] == left).all()


def test_top_p_keeps_the_token_that_crosses_p_and_ties():
    assert kept(C.top_p, log(.1, .5, .4), 0.45) == [1]
    assert kept(C.top_p, log(.1, .5, .4), 0.6) == [1, 2]                # .5 alone falls short of .6
    assert kept(C.top_p, log(.1, .5, .2, .2), 0.6) == [1, 2, 3]
    assert kept(C.top_p, log(.1, .5, .4), 0) == kept(C.top_p, log(.1, .5, .4), 1) == kept(C.top_p, log(.1, .5, .4), 0.999999) == [0, 1, 2]


def test_min_p_is_relative_to_the_most_likely():
    assert [kept(C.min_p, log(.6, .29, .11), p) for p in (0, 0.15, 0.3, 0.5, 1)] == [[0, 1, 2], [0, 1, 2], [0, 1], [0], [0]]


def test_typical_starts_next_to_the_entropy():
    logits = log(.5, .3, .2)                            # entropy 1.03; surprisals .69, 1.20, 1.61 are .34, .17, .58 away
    assert [kept(C.typical, logits, p) for p in (0, 0.25, 0.35, 0.85, 1)] == [[0, 1, 2], [1], [0, 1], [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize('scale', [0.5, 2, 8])
def test_typical_keeps_what_sorting_all_by_their_distance_keeps(scale):
    """Flat and steep, where few tokens are looked at and where all are."""
    logits = (np.random.default_rng(0).standard_normal(5000) * scale).astype(np.float32)
    p = np.exp(logits.astype(np.float64) - logits.max())
    p /= p.sum()
    distance = np.abs(-np.log(p) + np.sum(p * np.log(p)))
    order = np.argsort(distance)
    for share in (0.05, 0.3, 0.9, 0.99):
        n = int(np.searchsorted(np.cumsum(p[order]), share)) + 1
        assert set(kept(C.typical, logits, share)) == set(order[:n])


def by_hand(token, key):
    """One of choose.hashed, in Python's integers."""
    h = (token * 0x9e3779b1 + key[0]) % 2 ** 32
    h = (h ^ h >> 16) * 0x85ebca6b % 2 ** 32
    h = ((h ^ h >> 13) + key[1]) * 0xc2b2ae35 % 2 ** 32
    return min((h ^ h >> 16 | 1) / 2 ** 32, 1 - 2 ** -24)


def test_the_hash_by_hand():
    for key in [[0, 0], [2 ** 32 - 1, 2 ** 32 - 1], *random_keys(5).tolist()]:
        ids = [0, 1, 2, 255, 50256]
        np.testing.assert_allclose(C.hashed(np.array(ids), np.array(key, np.uint32)), [by_hand(i, key) for i in ids], rtol=1e-7)


def test_the_hash_is_even_for_each_token_and_knows_nothing_of_the_others():
    """The seeds are fixed; had they been chosen at random, each of the 45 numbers below would fail a right hash with a probability of 1e-6."""
    ids, keys = np.array([0, 1, 2, 3, 256, 50000, 50001, 50255, 50256]), random_keys(20_000)
    u = np.array([C.hashed(ids, key) for key in keys])
    for of_token in u.T:
        assert chi_square_p(np.bincount((of_token * 11).astype(int), minlength=11), np.full(11, 1 / 11)) > 1e-6
    together = np.corrcoef(u.T)[np.triu_indices(len(ids), 1)] * np.sqrt(len(keys))
    assert len(together) == 36 and np.abs(together).max() < 4.9


@pytest.mark.parametrize('scale', [0, 1, 4, 30])
@pytest.mark.parametrize('n', [1, 2, 300, 20_000])
def test_pick_is_the_first_to_arrive(n, scale):
    """Whom it does not look at would have lost."""
    random = np.random.default_rng(n)
    for key in random_keys(40):
        ids, logits = np.sort(random.choice(50257, n, replace=False)), (random.standard_normal(n) * scale).astype(np.float32)
        times = -np.log1p(-C.hashed(ids, key).astype(float)) / softmax(logits.astype(float))
        assert C.pick(ids, logits, key) == ids[times.argmin()]


def test_pick_gives_each_token_its_share():
    """Fails a right choice with a probability of 1e-6, were the seed chosen at random."""
    logits = np.array([0.3, -1, 2, 0.1, 1, -2, 0, 0.5, 1.5], np.float32)
    found = [C.pick(np.arange(9), logits, key) for key in random_keys(20_000)]
    assert chi_square_p(np.bincount(found, minlength=9), softmax(logits.astype(float))) > 1e-6
    assert {C.pick(np.array([3, 5]), np.array([-900, 0], np.float32), key) for key in random_keys(200)} == {5}       # never one of probability 0


@pytest.mark.parametrize('settings', [Settings(), Settings(top_k=40), Settings(0.7, top_p=0.9)], ids=range(3))
def test_nearly_the_same_logits_give_nearly_always_the_same_token(settings):
    """As often as the bound says, for what the filters leave of logits that rounded weights would give; four standard deviations of room."""
    random, n, apart, bound = np.random.default_rng(0), 2000, 0, 0
    for key in random_keys(n):
        logits = (random.standard_normal(1000) * 3).astype(np.float32)
        near = (logits + random.standard_normal(1000) * 0.05).astype(np.float32)
        apart += C.choose(logits, key, settings, np.array([], np.int32), 0) != C.choose(near, key, settings, np.array([], np.int32), 0)
        distance = np.abs(left(logits, settings) - left(near, settings)).sum() / 2
        bound += 2 * distance / (1 + distance)
    assert 0 < apart < bound + 4 * math.sqrt(bound) < n / 5


def left(logits, settings):
    """The probabilities that the filters leave, [n_vocab]."""
    ids, cut = C.top_k(logits, settings.top_k)
    ids, cut = C.top_p(ids, cut / np.float32(settings.temperature), settings.top_p)
    found = np.zeros(len(logits))
    found[ids] = softmax(cut.astype(float))
    return found


def test_the_callers_logits_stay_as_they_are_and_bans_hold_at_any_temperature():
    logits, bias = np.ones(4, np.float32), np.array([-math.inf, 0, C.REMOVED, 0], np.float32)
    with np.errstate(over='raise'):
        for temperature in (0, 1e-300, 1e300):
            settings = Settings(temperature=temperature, repetition_penalty=2.0, min_length=1)
            assert {C.choose(logits, key, settings, np.array([3]), 1, stops=[1], bias=bias) for key in random_keys(20)} == {3}
    key, = random_keys(1)
    assert C.choose(logits, key, Settings(temperature=0), np.array([3]), 1) == 0                    # the first of several
    C.choose(logits, key, Settings(repetition_penalty=2.0), np.array([3]), 1)
    assert logits.tolist() == [1, 1, 1, 1]


# ---- against logits.py

ALONE = [dict(), dict(temperature=0), dict(temperature=0.3), dict(temperature=1e4), dict(top_k=1), dict(top_k=40), dict(top_p=0.5), dict(top_p=0.95),
         dict(min_p=0.05), dict(typical_p=0.3), dict(typical_p=0.9), dict(repetition_penalty=1.5), dict(frequency_penalty=0.7),
         dict(presence_penalty=-1.5), dict(no_repeat_ngram_size=1), dict(no_repeat_ngram_size=2), dict(min_length=9)]
TOGETHER = [dict(temperature=0, repetition_penalty=3.0, frequency_penalty=2.0, no_repeat_ngram_size=2, min_length=9),
            dict(temperature=0.7, top_k=40, top_p=0.9), dict(temperature=1.3, top_k=100, top_p=0.8, min_p=0.02, typical_p=0.9),
            dict(temperature=0.9, top_p=0.9, repetition_penalty=1.2, frequency_penalty=0.3, presence_penalty=0.2, no_repeat_ngram_size=3, min_length=9)]
ROWS, N_CTX = 24, 40
theirs = tf.function(L.choose, autograph=False)


@pytest.mark.parametrize('n_vocab', [200, 50257])
@pytest.mark.parametrize('setting', ALONE + TOGETHER, ids=str)
def test_the_choice_is_that_of_logits(setting, n_vocab):
    settings, random = Settings(**setting), np.random.default_rng(n_vocab)
    logits = random.normal(scale=3, size=[ROWS, n_vocab]).astype(np.float32)
    logits[:, :12] += 9                                 # what history and stops are about is likely
    bias = np.where(random.random(n_vocab) < 0.1, C.REMOVED, random.normal(size=n_vocab)).astype(np.float32)
    history, keys = random.integers(0, 12, [ROWS, N_CTX], np.int32), random_keys(ROWS, n_vocab)
    length, prompt = random.integers(0, N_CTX + 1, ROWS, np.int32), np.full(ROWS, 5, np.int32)
    prompt[::3], stops = -3, [2, 7]
    past = L.Past(*map(tf.constant, (history, length, prompt)))
    expected = theirs(tf.constant(logits), tf.constant(keys), L.by_row([settings] * ROWS), past, tf.constant(bias), tf.constant(stops))
    found = [C.choose(logits[i], keys[i], settings, history[i, :length[i]], prompt[i], stops, bias) for i in range(ROWS)]
    assert found == expected.numpy().tolist()


def test_without_tensorflow():
    code = "import sys; from src import choose; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


# ---- beam search

def test_a_step_of_beams_is_tensorflows():
    draw = np.random.default_rng(3)
    for _ in range(50):
        scores, logits = draw.normal(size=4).astype(np.float32), draw.normal(size=[4, 9]).astype(np.float32)
        ended = draw.random(4) < 0.3
        ours = C.beam_step(scores, logits, ended, 7)
        theirs = L.beam_step(tf.constant(scores[None]), tf.constant(logits), tf.constant(ended[None]), 7)
        np.testing.assert_allclose(ours[0], theirs[0][0], rtol=1e-5)
        assert [x.tolist() for x in ours[1:]] == [x[0].numpy().tolist() for x in theirs[1:]]
        lengths = draw.integers(1, 9, 4)
        assert C.best_beam(ours[0], lengths) == L.best_beam(tf.constant(ours[0][None]), tf.constant(lengths[None]))[0]


def test_the_highest_come_in_order_and_the_first_of_equal_ones():
    assert C.highest(np.array([1, 5, 5, 2, 5], np.float32), 2).tolist() == [1, 2] and C.highest(np.array([2, 3], np.float32), 5).tolist() == [1, 0]

"""Each filter by hand and against float64 NumPy that sorts; the draws by chi-square; rows alone, in a batch, eager and in XLA."""
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from src import choose
from src import logits as L
from src.console import UsageError
from src.settings import Settings, check_settings

N_VOCAB, N_CTX = 600, 24
NO_BIAS, NO_STOPS = tf.zeros(N_VOCAB), tf.constant([-1])
compiled = tf.function(L.choose, jit_compile=True, autograph=False)


def past_of(prompts, n_ctx):
    """Lists of ids, none longer than n_ctx -> the Past of these rows, before anything is generated."""
    lengths = tf.constant([len(prompt) for prompt in prompts], tf.int32)
    return L.Past(tf.constant([[*prompt, *[0] * (n_ctx - len(prompt))] for prompt in prompts], tf.int32), lengths, lengths)


def kept(logits):
    """Which tokens a filter left, a row of booleans each."""
    return (np.asarray(logits) > -1e9).tolist()


def log(*probabilities):
    return tf.math.log(tf.constant([probabilities], tf.float32))


def changed(settings):
    """A test's name: what differs from the defaults."""
    return ','.join(f'{name}={value}' for name, value in settings._asdict().items() if value != Settings._field_defaults[name]) or 'plain'


def nothing(rows=1, n_ctx=4):
    """A Past of empty rows."""
    return past_of([[]] * rows, n_ctx)


def random_rows(seed, rows=6, n_vocab=N_VOCAB, scale=3.0):
    return np.random.default_rng(seed).normal(scale=scale, size=[rows, n_vocab]).astype(np.float32)


def random_keys(n, seed=0):
    """As settings.Draw gives them, [n, 2]."""
    return np.random.default_rng(seed).integers(1 << 32, size=[n, 2], dtype=np.uint32)


# ---- the reference: one row, in float64, with a sort

def softmax(x):
    weights = np.where(x > -1e9, np.exp(x - x.max()), 0)
    return weights / weights.sum()


def first_to_reach(p, probabilities, order):
    """The fewest tokens in that order whose probabilities reach p."""
    return order[:int(np.searchsorted(np.cumsum(probabilities[order]), p)) + 1]


def only(x, ids):
    return np.where(np.isin(np.arange(len(x)), ids), x, -1e10)


def reference_penalized(x, s, history, generated, bias=0, stops=()):
    x = np.array(x, np.float64)
    for token in set(history):
        x[token] = x[token] / s.repetition_penalty if x[token] > 0 else x[token] * s.repetition_penalty
    for token in set(generated):
        x[token] -= generated.count(token) * s.frequency_penalty + s.presence_penalty
    x += bias
    n = s.no_repeat_ngram_size
    grams = {tuple(history[i:i + n]) for i in range(len(history) - n + 1)} if n else set()
    for token in range(len(x)):
        if n and len(history) >= n - 1 and (*history[len(history) - n + 1:], token) in grams or len(generated) < s.min_length and token in stops:
            x[token] = -1e10
    return x


def reference_filtered(x, s):
    x = np.where(x > -1e9, x / s.temperature, -1e10)
    if s.top_k:
        x = only(x, np.argsort(-x, kind='stable')[:s.top_k])
    if 0 < s.top_p < 1:
        x = only(x, first_to_reach(s.top_p, softmax(x), np.argsort(-x)))
    x = np.where(softmax(x) >= s.min_p * softmax(x).max(), x, -1e10)
    if 0 < s.typical_p < 1:
        p = softmax(x)
        surprise = -np.log(np.where(p > 0, p, 1e-300))
        x = only(x, first_to_reach(s.typical_p, p, np.argsort(np.abs(surprise - (p * surprise).sum()))))
    return x


# ---- settings and Past

def test_settings_by_row():
    tensors = L.by_row([Settings(), Settings(temperature=0, top_k=40.0, min_length=10 ** 12), Settings(temperature=1e300, repetition_penalty=np.float64(2))])
    assert all(tensor.shape == [3] for tensor in tensors)
    assert tensors.top_k.numpy().tolist() == [0, 40, 0] and tensors.top_k.dtype == tf.int32
    assert tensors.min_length.numpy().tolist() == [0, 2 ** 31 - 1, 0]
    assert tensors.repetition_penalty.numpy().tolist() == [1, 1, 2] and tensors.repetition_penalty.dtype == tf.float32
    assert tensors.temperature.numpy().tolist() == [1, 0, np.finfo(np.float32).max]


def test_the_past_grows_a_token_a_row_until_the_window_is_full():
    past = past_of([[7, 8], [], [1, 2, 3, 4]], n_ctx=4)
    assert past.length.numpy().tolist() == past.prompt.numpy().tolist() == [2, 0, 4]
    for ids in ([5, 5, 9], [6, 5, 9]):
        past = L.append(past, tf.constant(ids))
    assert past.history.numpy().tolist() == [[7, 8, 5, 6], [5, 5, 0, 0], [1, 2, 3, 4]]
    assert past.length.numpy().tolist() == [4, 2, 4] and past.prompt.numpy().tolist() == [2, 0, 4]


def test_tokens_are_counted_up_to_length_and_from_the_prompt_on():
    past = L.Past(tf.constant([[1, 2, 1, 1, 3], [0, 0, 0, 2, 2]]), tf.constant([4, 2]), tf.constant([2, -7]))
    assert L.count_tokens(past, 4).numpy().tolist() == [[0, 3, 1, 0], [2, 0, 0, 0]]
    assert L.count_tokens(past, 4, past.prompt).numpy().tolist() == [[0, 2, 0, 0], [2, 0, 0, 0]]


# ---- penalties, bias, bans

def test_repetition_divides_above_0_and_multiplies_below():
    logits, counts = tf.constant([[3., -3., 3., -3., 0.]]), tf.constant([[0, 0, 1, 5, 1]])
    assert L.penalize_repetition(logits, counts, 2).numpy().tolist() == [[3, -3, 1.5, -6, 0]]
    assert L.penalize_repetition(logits, counts, 1).numpy().tolist() == logits.numpy().tolist()


def test_frequency_counts_and_presence_does_not():
    logits, counts = tf.constant([[1., 1., 1., 1.]]), tf.constant([[0., 1., 2., 3.]])
    assert L.penalize_frequency(logits, counts, 0.5, 0).numpy().tolist() == [[1, 0.5, 0, -0.5]]
    assert L.penalize_frequency(logits, counts, 0, 0.5).numpy().tolist() == [[1, 0.5, 0.5, 0.5]]
    assert L.penalize_frequency(logits, counts, 0.5, -2).numpy().tolist() == [[1, 2.5, 2, 1.5]]


def test_bias_adds_and_bans():
    logits = tf.constant([[1., 2., 3.], [4., 5., 6.]])
    assert L.bias_logits(logits, tf.constant([0.5, L.REMOVED, -math.inf])).numpy().tolist() == [[1.5, -1e10, -1e10], [4.5, -1e10, -1e10]]
    assert L.bias_logits(logits, tf.constant([[0., 0., 1.], [-1., 0., 0.]])).numpy().tolist() == [[1, 2, 4], [3, 5, 6]]


def banned(history, n, length=None, n_vocab=6):
    """The tokens that may not come next."""
    past = L.Past(tf.constant([history]), tf.constant([len(history) if length is None else length]), tf.constant([0]))
    return np.flatnonzero(L.no_repeat_ngram_logits(tf.zeros([1, n_vocab]), past, n)[0] < -1e9).tolist()


@pytest.mark.parametrize('history, n, expected', [
    ([1, 2, 3, 1, 2], 3, [3]),                          # 1 2 was followed by 3
    ([1, 2, 3, 1, 2], 2, [3]),
    ([1, 2, 3, 1, 2], 1, [1, 2, 3]),
    ([1, 2, 3, 1, 2], 4, []),                           # 3 1 2 is new
    ([1, 2, 3, 1, 2], 0, []),
    ([1, 2, 3, 1, 2, 4, 1, 2], 3, [3, 4]),
    ([5, 2, 3, 1, 2], 3, []),                           # 5 2, not 1 2
    ([2, 1, 3, 1, 2], 3, []),                           # 2 1, not 1 2
    ([4, 4, 4], 3, [4]),                                # overlapping its own end
    ([4, 4], 3, []), ([4], 2, []), ([4, 4], 2, [4]),    # too short for one, and just long enough
    ([0, 0, 1], 3, []),                                 # 0 is an id like any other, not what stands before the text
    ([1, 0], 2, []), ([0], 2, []), ([3, 1, 2, 0, 1], 5, []),
    ([1, 2, 3, 1, 2], 2 ** 31 - 1, []),
])
def test_no_ngram_comes_twice(history, n, expected):
    assert banned(history, n) == expected


def test_what_stands_behind_the_length_is_no_history():
    assert banned([1, 2, 3, 1, 2, 4, 1, 2], 3, length=5) == [3]
    assert banned([1, 2, 1, 5], 2, length=3) == [2] and banned([1, 1, 1], 1, length=0) == []


def test_stops_are_banned_while_a_row_is_short():
    logits = tf.zeros([2, 4])
    assert kept(L.min_length_logits(logits, tf.constant([3, -1]), tf.constant([True, False]))) == [[True, True, True, False], [True] * 4]
    assert kept(L.min_length_logits(logits, tf.constant([[0, 2], [1, -1]]), tf.constant([True, True]))) == [[False, True, False, True], [True, False, True, True]]


def test_min_length_counts_what_was_generated():
    past, settings = past_of([[1, 1, 1]], n_ctx=9), Settings(temperature=0, min_length=2)
    logits = tf.constant([[0., 1., 2., 3.]])
    for expected in (2, 2, 3):                          # 3 is the most likely, and the stop
        token = L.choose(logits, tf.zeros(1), L.by_row([settings]), past, tf.zeros(4), tf.constant([3]))
        assert token.numpy().tolist() == [expected]
        past = L.append(past, token)
    slid = L.Past(past.history, tf.constant([3]), tf.constant([1 - 9]))           # 9 of the 11 that were generated have left the window
    assert L.choose(logits, tf.zeros(1), L.by_row([Settings(temperature=0, min_length=11)]), slid, tf.zeros(4), tf.constant([3])).numpy().tolist() == [3]
    assert L.choose(logits, tf.zeros(1), L.by_row([Settings(temperature=0, min_length=12)]), slid, tf.zeros(4), tf.constant([3])).numpy().tolist() == [2]


# ---- largest_threshold, top_k, top_p, min_p, typical

def kth_largest(rows, k):
    """By sorting: what largest_threshold finds for `at least k`."""
    return np.sort(rows, axis=-1)[:, ::-1][:, k - 1:k]


def threshold_for(rows, k):
    rows = tf.convert_to_tensor(rows, tf.float32)
    return L.largest_threshold(lambda t: L.total(rows >= t, 1.) >= k, tf.reduce_min(rows, -1, keepdims=True), L.highest(rows))


@pytest.mark.parametrize('rows', [
    np.random.default_rng(0).normal(size=[8, 50]),                                    # both signs
    -np.random.default_rng(1).exponential(size=[8, 50]),                              # negative only
    np.random.default_rng(2).normal(size=[8, 50]) * 10.0 ** np.random.default_rng(3).integers(-35, 38, size=[8, 50]),   # 1e-36 to 1e38
    np.random.default_rng(4).integers(-3, 4, size=[8, 50]),                           # many equal values and zeros
    np.full([2, 50], -1.5),
    np.zeros([2, 50]),
    np.where(np.arange(50) % 2, 0.0, -0.0)[None],
    np.concatenate([[np.inf, -np.inf, np.inf, -1e38, 1e38, 0.0], np.full(44, -np.inf)])[None],
    np.concatenate([[3.0, 1.0], np.full(48, -1e10)])[None],                           # behind a filter
])
def test_largest_threshold_is_the_sorted_rows_kth(rows):
    rows = rows.astype(np.float32)
    for k in (1, 2, 3, 25, 49, 50):
        np.testing.assert_allclose(threshold_for(rows, k), kth_largest(rows, k), rtol=0, atol=1.2e-38, err_msg=f'k = {k}')     # denormals are 0


def test_largest_threshold_in_xla():
    rows = np.random.default_rng(0).normal(size=[8, 50]).astype(np.float32)
    np.testing.assert_array_equal(tf.function(threshold_for, jit_compile=True)(rows, tf.constant(7.)), kth_largest(rows, 7))


def test_largest_threshold_that_nobody_reaches_is_the_lowest():
    assert threshold_for([[3., -1., 2.], [0., 0., 5.]], 4).numpy().tolist() == [[-1], [0]]


def test_top_k_keeps_the_k_most_likely():
    logits = tf.constant([[1., -3., 2., 5.], [-1., -2., -3., -4.]])
    assert kept(L.top_k_logits(logits, 2)) == [[False, False, True, True], [True, True, False, False]]
    assert L.top_k_logits(logits, 2).numpy()[0].tolist() == [np.float32(-1e10), np.float32(-1e10), 2, 5]
    assert kept(L.top_k_logits(logits, 1)) == [[False, False, False, True], [True, False, False, False]]
    assert kept(L.top_k_logits(logits, [1, 3])) == [[False, False, False, True], [True, True, True, False]]
    assert kept(L.top_k_logits(logits, [0, 1])) == [[True] * 4, [True, False, False, False]]


def test_top_k_keeps_what_is_as_likely_as_the_last():
    assert kept(L.top_k_logits(tf.constant([[2., 1., 1., 1., 0.]]), 2)) == [[True, True, True, True, False]]
    assert kept(L.top_k_logits(tf.constant([[7., 7., 7.]]), 1)) == [[True, True, True]]


@pytest.mark.parametrize('k', [0, 4, 5, 1000])
def test_top_k_off_or_as_large_as_the_vocabulary_changes_nothing(k):
    logits = tf.constant([[1., -3., 2., 5.]])
    assert L.top_k_logits(logits, k).numpy().tolist() == logits.numpy().tolist()


def test_nucleus_keeps_the_token_that_crosses_p():
    logits = log(0.5, 0.4, 0.1)
    assert kept(L.top_p_logits(logits, p=0.6)) == [[True, True, False]]              # .5 alone falls short of .6


@pytest.mark.parametrize('p, expected', [(0.45, [0, 0, 0, 1]), (0.6, [0, 1, 0, 1]), (0.74, [0, 1, 0, 1]), (0.76, [0, 1, 1, 1]),
                                         (0.94, [0, 1, 1, 1]), (0.96, [1, 1, 1, 1]), (1e-9, [0, 0, 0, 1])])
def test_nucleus_by_hand(p, expected):
    # sorted .50 .25 .20 .05: reaches .50, .75, .95, 1
    assert kept(L.top_p_logits(log(0.05, 0.25, 0.2, 0.5), p)) == [[bool(e) for e in expected]]


def test_nucleus_of_each_row():
    logits = tf.concat([log(0.5, 0.4, 0.1), log(0.1, 0.1, 0.8)], 0)
    assert kept(L.top_p_logits(logits, 0.7)) == [[True, True, False], [False, False, True]]
    assert kept(L.top_p_logits(logits, [0.3, 0])) == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize('p', [0, 1, 0.0, 1.0])
def test_nucleus_0_and_1_are_off(p):
    logits = log(0.5, 0.4, 0.0999, 0.0001)
    assert L.top_p_logits(logits, p).numpy().tolist() == logits.numpy().tolist()


def test_min_p_is_a_share_of_the_most_likely():
    logits = log(0.5, 0.3, 0.11, 0.09)
    assert kept(L.min_p_logits(logits, 0.2)) == [[True, True, True, False]]          # .5 * .2 = .1
    assert kept(L.min_p_logits(logits, 1)) == [[True, False, False, False]]
    assert L.min_p_logits(logits, 0).numpy().tolist() == logits.numpy().tolist()
    assert kept(L.min_p_logits(tf.repeat(logits, 2, axis=0), [0, 0.5])) == [[True] * 4, [True, True, False, False]]


def test_typical_may_leave_out_the_most_likely():
    logits = log(0.5, 0.2, 0.2, 0.05, 0.05)             # surprisals .693 1.609 1.609 2.996 2.996, entropy 1.290
    assert kept(L.typical_logits(logits, 0.3)) == [[False, True, True, False, False]]           # .319 away: equally near, so both
    assert kept(L.typical_logits(logits, 0.41)) == [[True, True, True, False, False]]           # .597 away: crosses
    assert kept(L.typical_logits(logits, 0.95)) == [[True, True, True, True, True]]             # 1.706 away
    for p in (0, 1):
        assert L.typical_logits(logits, p).numpy().tolist() == logits.numpy().tolist()
    assert kept(L.typical_logits(tf.repeat(logits, 2, axis=0), [1, 0.3])) == [[True] * 5, [False, True, True, False, False]]


def test_typical_of_a_certain_token_and_of_equals():
    assert kept(L.typical_logits(tf.constant([[0., -1e10, -1e10]]), 0.5)) == [[True, False, False]]
    assert kept(L.typical_logits(log(0.25, 0.25, 0.25, 0.25), 0.1)) == [[True] * 4]


@pytest.mark.parametrize('settings', [Settings(top_k=k) for k in (1, 2, 17, 599)] + [Settings(top_p=p) for p in (0.1, 0.5, 0.9, 0.999)]
                         + [Settings(min_p=p) for p in (0.001, 0.1, 0.9)] + [Settings(typical_p=p) for p in (0.05, 0.2, 0.5, 0.9, 0.99)], ids=changed)
def test_filters_against_a_sort(settings):
    for scale in (0.3, 3):
        rows = random_rows(seed=0, rows=20, scale=scale)
        found = L.min_p_logits(L.top_p_logits(L.top_k_logits(rows, settings.top_k), settings.top_p), settings.min_p)
        expected = [reference_filtered(row.astype(np.float64), settings) for row in rows]
        assert kept(L.typical_logits(found, settings.typical_p)) == kept(expected)


@pytest.mark.parametrize('settings', [Settings(repetition_penalty=1.3), Settings(frequency_penalty=0.7), Settings(presence_penalty=-1.5),
                                      *(Settings(no_repeat_ngram_size=n) for n in (1, 2, 3)), Settings(min_length=5),
                                      Settings(0.5, 7, 0.8, 0.1, 0.7, 0.8, 0.1, 0.2, 2, 30)], ids=changed)
def test_penalties_against_the_slow_way(settings):
    random, n_vocab = np.random.default_rng(1), 8
    histories = [random.integers(3, size=n).tolist() for n in (0, 1, 2, 3, 7, 20, N_CTX)]
    prompts = [0, 0, 2, 1, 4, 12, 20]
    rows, bias = random_rows(2, len(histories), n_vocab), random.normal(size=n_vocab).astype(np.float32)
    past = past_of(histories, N_CTX)._replace(prompt=tf.constant(prompts))
    found = L.penalize(tf.constant(rows), L.by_row([settings] * len(rows)), past, tf.constant(bias), tf.constant([5, -1]))
    expected = [reference_penalized(row, settings, h, h[n:], bias, [5]) for row, h, n in zip(rows, histories, prompts)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    plain = [row.astype(np.float64) + bias for row in rows]
    assert any((e != p).any() for e, p in zip(expected, plain))         # or nothing was compared


# ---- pick and choose

@pytest.mark.parametrize('places, n_vocab', [((1, 3), 5), ((300, 301), 600), ((5, 50000), 50257)])
def test_pick_never_takes_what_was_removed(places, n_vocab):
    logits = np.full([100, n_vocab], -1e10, np.float32)
    logits[:, list(places)] = 0
    assert set(L.pick(tf.constant(logits), random_keys(100)).numpy()) == set(places)


def test_pick_of_one_token_and_of_huge_logits():
    assert L.pick(tf.constant([[5.]]), random_keys(1)).numpy().tolist() == [0]
    assert L.pick(tf.constant([[1e9, -1e9], [-3e9, 1e30]]), random_keys(2)).numpy().tolist() == [0, 1]


def test_pick_in_a_large_vocabulary_is_choose_s():
    """NumPy's, which test_choose.py compares with a race by hand; eager, and compiled by XLA."""
    rows, keys = random_rows(0, rows=40, n_vocab=50257), random_keys(40)
    found = [choose.pick(np.arange(50257), row, key) for row, key in zip(rows, keys)]
    for pick in (L.pick, tf.function(L.pick, jit_compile=True, autograph=False)):
        assert pick(tf.constant(rows), tf.constant(keys)).numpy().tolist() == found


def chosen_for(logits, n=2000, **settings):
    """The tokens that `choose` gives for n keys."""
    many = tf.repeat(logits, n, axis=0)
    settings = Settings(*(tf.constant(value) for value in Settings(**settings)))         # one for all rows
    return L.choose(many, random_keys(n), settings, nothing(n), tf.zeros(logits.shape[1]), NO_STOPS).numpy()


def shares(ids, n_vocab):
    return (np.bincount(ids, minlength=n_vocab) / len(ids)).tolist()


def test_both_filters_at_once_the_nucleus_is_of_what_top_k_left():
    logits = log(0.4, 0.3, 0.2, 0.1)
    assert set(chosen_for(logits)) == {0, 1, 2, 3}
    assert set(chosen_for(logits, top_k=3)) == {0, 1, 2}
    assert set(chosen_for(logits, top_p=0.5)) == {0, 1}                 # .4 falls short, .7 reaches
    assert set(chosen_for(logits, top_k=2, top_p=0.5)) == {0}           # of the two left the first has .4 / .7 = .57
    assert set(chosen_for(logits, top_k=1, top_p=0.9)) == {0}
    assert set(chosen_for(logits, top_k=3, top_p=0.99)) == {0, 1, 2}


def test_temperature_comes_before_the_filters():
    logits = log(0.6, 0.3, 0.1)
    assert set(chosen_for(logits, top_p=0.6)) <= {0, 1}
    # at temperature 2 the shares are sqrt(.6 .3 .1) / 1.638 = .473 .334 .193
    assert set(chosen_for(logits, top_p=0.75, temperature=2.0)) == {0, 1}
    assert set(chosen_for(logits, top_p=0.85, temperature=2.0)) == {0, 1, 2}
    np.testing.assert_allclose(shares(chosen_for(logits, temperature=2.0), 3), [0.473, 0.334, 0.193], atol=0.02)
    assert set(chosen_for(logits, min_p=0.2)) == {0, 1}                 # .1 / .6 = .17
    assert set(chosen_for(logits, min_p=0.2, temperature=2.0)) == {0, 1, 2}


def test_min_p_and_typical_are_of_what_top_p_left():
    logits = log(0.5, 0.2, 0.2, 0.05, 0.05)             # typical_p .3 of all five: the two of .2
    assert set(chosen_for(logits, typical_p=0.3)) == {1, 2}
    # .5 .2 .2 are .556 .222 .222 of the three: surprisals .588 1.504 1.504, entropy .995, away .407 .509 .509
    assert set(chosen_for(logits, top_p=0.85, typical_p=0.3)) == {0} == set(chosen_for(logits, min_p=0.3, typical_p=0.3))


@pytest.mark.parametrize('temperature', [1e-40, 1e-6, 1e10, 3e38])
def test_no_temperature_brings_back_what_is_banned(temperature):
    bias = tf.constant([0., L.REMOVED, 0.])
    many = L.choose(tf.repeat(log(0.2, 0.7, 0.1), 200, axis=0), random_keys(200), L.by_row([Settings(temperature=temperature)] * 200), nothing(200), bias, NO_STOPS)
    assert set(many.numpy()) == ({0} if temperature < 1 else {0, 2})


def test_temperature_0_is_the_most_likely_token_after_the_penalties():
    logits = tf.constant([[1., 3., 2.], [-1., -3., -2.], [5., 5., 5.]])
    greedy, past = L.by_row([Settings(temperature=0)] * 3), past_of([[1], [0], []], 4)
    keys = random_keys(3)
    assert L.choose(logits, keys, greedy, past, tf.zeros(3), NO_STOPS).numpy().tolist() == [1, 0, 0]
    penalized = greedy._replace(repetition_penalty=tf.fill([3], 3.))
    assert L.choose(logits, keys, penalized, past, tf.zeros(3), NO_STOPS).numpy().tolist() == [2, 2, 0]


# ---- rows alone, in a batch, eager and compiled

MIXED = [Settings(), Settings(temperature=0), Settings(temperature=0.5, top_k=5), Settings(top_p=0.8), Settings(min_p=0.1), Settings(typical_p=0.6),
         Settings(repetition_penalty=1.5), Settings(frequency_penalty=1.0), Settings(presence_penalty=2), Settings(no_repeat_ngram_size=2),
         Settings(min_length=30), Settings(1.3, 50, 0.9, 0.01, 0.9, 1.2, 0.3, 0.4, 3, 12)]


def mixed_arguments(seed):
    """Rows with all settings, texts of their own, and most of the mass on tokens that these have."""
    random = np.random.default_rng(seed)
    rows = random_rows(seed, len(MIXED))
    rows[:, :9] += 7
    past = past_of([random.integers(9, size=random.integers(3, N_CTX)).tolist() for _ in MIXED], N_CTX)
    past = past._replace(prompt=past.length // 2)
    bias = random.normal(size=rows.shape).astype(np.float32)
    stops = random.integers(-1, 9, size=[len(MIXED), 2])
    return (tf.constant(rows), tf.constant(random_keys(len(MIXED), seed)), L.by_row(MIXED), past, tf.constant(bias), tf.constant(stops, tf.int32))


def test_a_row_gets_what_it_gets_alone_eager_or_compiled():
    differ = set()
    for seed in range(10):
        arguments = mixed_arguments(seed)
        batch = compiled(*arguments).numpy().tolist()
        assert batch == L.choose(*arguments).numpy().tolist()
        assert batch == [compiled(*tf.nest.map_structure(lambda x: x[r:r + 1], arguments)).numpy()[0] for r in range(len(MIXED))]
        plain = compiled(arguments[0], arguments[1], L.by_row([Settings()] * len(MIXED)), *arguments[3:]).numpy()
        differ |= set(np.flatnonzero(plain != batch))
    assert compiled.experimental_get_tracing_count() == 2               # for the two batch sizes, and for no setting
    assert len(differ) > 7                                              # the settings did something


@pytest.mark.parametrize('settings', MIXED[2:], ids=changed)
def test_each_filter_alone_in_a_batch_is_exact_eager_and_compiled(settings):
    """What the batch's filters leave in a row, for a row with all the others off and for one with other settings beside it."""
    def filtered(logits, s, past, bias, stops):
        x = L.top_k_logits(L.divide_by_temperature(L.penalize(logits, s, past, bias, stops), s.temperature), s.top_k)
        return L.typical_logits(L.min_p_logits(L.top_p_logits(x, s.top_p), s.min_p), s.typical_p)

    logits, _, _, past, bias, stops = mixed_arguments(seed=3)
    beside = L.by_row([settings, Settings()] * 6)
    found = filtered(logits, beside, past, bias, stops).numpy()
    for r in range(12):
        history = past.history[r, :past.length[r]].numpy().tolist()
        x = reference_penalized(logits[r], settings if r % 2 == 0 else Settings(), history, history[past.prompt[r]:], bias[r].numpy(), stops[r].numpy())
        expected = reference_filtered(x, settings if r % 2 == 0 else Settings())
        assert kept(found[r]) == kept(expected)
        np.testing.assert_allclose(found[r][found[r] > -1e9], expected[expected > -1e9], rtol=1e-5, atol=1e-5)


# ---- ten thousand draws

def chi_square_p(counts, probabilities):
    """The chance of a deviation as large as this one: the upper tail of chi-square, by its recurrence over the degrees of freedom."""
    counts, expected = np.asarray(counts, np.float64), np.asarray(probabilities, np.float64) * np.sum(counts)
    assert (counts[expected == 0] == 0).all()
    counts, expected = counts[expected > 0], expected[expected > 0]
    half, degrees = ((counts - expected) ** 2 / expected).sum() / 2, len(counts) - 1
    assert degrees and expected.min() > 5
    if half == 0:
        return 1.0
    first, tail = (0.5, math.erfc(math.sqrt(half))) if degrees % 2 else (1.0, math.exp(-half))
    return tail + sum(math.exp(a * math.log(half) - half - math.lgamma(a + 1)) for a in np.arange(first, degrees / 2))


def test_chi_square_p_by_hand():
    assert chi_square_p([50, 30, 20], [0.5, 0.3, 0.2]) == 1
    # (60-50)^2/50 + (25-30)^2/30 + (15-20)^2/20 = 4.083; two degrees of freedom: exp(-4.083 / 2)
    assert chi_square_p([60, 25, 15], [0.5, 0.3, 0.2]) == pytest.approx(math.exp(-4.0833 / 2), rel=1e-3)
    # the tables' 5 % points
    for degrees, point in ((1, 3.841), (2, 5.991), (3, 7.815), (4, 9.488), (9, 16.919)):
        n = degrees + 1                                 # the deviation in two cells of 1000: 2 d^2 / 1000 = point
        counts = np.full(n, 1000.0)
        counts[:2] += math.sqrt(point * 500), -math.sqrt(point * 500)
        assert chi_square_p(counts, np.full(n, 1 / n)) == pytest.approx(0.05, rel=2e-3)


def test_chi_square_sees_a_distribution_that_is_a_little_off():
    """Of ten thousand draws, were one of nine tokens a fifth more likely than it should be."""
    probabilities = np.full(9, 1 / 9)
    counts = 10_000 * np.where(np.arange(9) == 4, 1.2, 0.975) / 9
    assert chi_square_p(counts, probabilities) < 1e-6


@pytest.mark.parametrize('settings', [
    Settings(), Settings(temperature=0.7), Settings(temperature=1.5), Settings(top_k=4), Settings(top_p=0.7), Settings(min_p=0.2), Settings(typical_p=0.5),
    Settings(repetition_penalty=1.5), Settings(frequency_penalty=0.6), Settings(presence_penalty=0.8), Settings(no_repeat_ngram_size=2), Settings(min_length=9),
    Settings(1.2, 8, 0.95, 0.05, 0.9, 1.2, 0.2, 0.3, 3, 9)], ids=changed)
def test_ten_thousand_draws_follow_the_distribution(settings):
    """The seed is fixed, so this passes always or never; had it been chosen at random, a right sampler would fail each with
    probability 1e-6."""
    n, history, stop = 10_000, [3, 1, 4, 1, 5, 3, 1], 8
    row, bias = np.random.default_rng(5).normal(scale=0.8, size=9).astype(np.float32), np.linspace(-0.3, 0.3, 9).astype(np.float32)
    rows = np.concatenate([np.tile(row, [n, 1]), np.full([n, 300], -1e10)], axis=1).astype(np.float32)[:, ::-1]      # the last places, over two blocks
    past = past_of([[308 - token for token in history]], N_CTX)
    past = tf.nest.map_structure(lambda x: tf.repeat(x, n, axis=0), past._replace(prompt=tf.constant([3])))
    wide_bias = tf.constant(np.concatenate([np.zeros(300), bias[::-1]]), tf.float32)
    ids = L.choose(tf.constant(rows), random_keys(n, 11), Settings(*map(tf.constant, settings)), past, wide_bias, tf.constant([308 - stop]))
    exact = softmax(reference_filtered(reference_penalized(row, settings, history, history[3:], bias, [stop]), settings))
    plain = softmax(row.astype(np.float64) + bias)
    assert settings == Settings() or np.abs(exact - plain).max() > 0.01 # another distribution than without the setting
    assert chi_square_p(np.bincount(308 - ids.numpy(), minlength=9), exact) > 1e-6


# ---- beam search

def search(transitions, start, beams, length, stop=-1):
    """Beam search over a table: row i of transitions is the log-probabilities behind token i. -> texts and scores, best first."""
    scores = tf.constant([[0.0] + [L.REMOVED] * (beams - 1)])
    texts, ended = np.zeros([beams, 0], int), np.zeros([1, beams], bool)
    for i in range(length):
        last = texts[:, -1] if i else np.full(beams, start)
        scores, beam, token = L.beam_step(scores, tf.constant(transitions[last], tf.float32), tf.constant(ended), stop)
        texts = np.concatenate([texts[beam[0].numpy()], token[0].numpy()[:, None]], axis=1)
        ended = ended[:, beam[0].numpy()] | (token.numpy() == stop)
    return texts.tolist(), scores[0].numpy()


def test_a_beam_finds_what_greed_misses():
    # behind 0: 1 with .6, 2 with .4; behind 1: all alike (.34 .33 .33); behind 2: 0 with .9
    transitions = np.log([[1e-9, 0.6, 0.4], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05]])
    texts, scores = search(transitions, 0, 2, 2)
    assert texts == [[2, 0], [1, 0]]
    np.testing.assert_allclose(np.exp(scores), [0.4 * 0.9, 0.6 * 0.34], rtol=1e-5)
    assert search(transitions, 0, 1, 2)[0] == [[1, 0]]


def test_as_many_beams_as_texts_are_an_exhaustive_search():
    transitions = np.log(np.random.default_rng(0).dirichlet(np.ones(5), size=5))
    every = {text: sum(transitions[a, b] for a, b in zip((2, *text), text)) for text in itertools.product(range(5), repeat=3)}
    texts, scores = search(transitions, 2, 125, 3)
    assert {tuple(text) for text in texts} == every.keys() and (np.diff(scores) <= 0).all()
    np.testing.assert_allclose(scores, [every[tuple(text)] for text in texts], rtol=1e-4)


def test_a_beam_that_has_ended_stays_as_it_is():
    # behind 0: the stop 2 with .6, or 1 with .3; behind 1: 1 with .7. Behind 2, 0 would be likely, but nothing comes behind a stop
    transitions = np.log([[0.1, 0.3, 0.6], [0.2, 0.7, 0.1], [0.98, 0.01, 0.01]])
    texts, scores = search(transitions, 0, 2, 3, stop=2)
    assert texts == [[2, 2, 2], [1, 1, 1]]
    np.testing.assert_allclose(np.exp(scores), [0.6, 0.3 * 0.7 * 0.7], rtol=1e-5)


def test_rows_of_beams_are_apart_and_xla_agrees():
    random = np.random.default_rng(1)
    scores, logits = random.normal(size=[3, 4]).astype(np.float32), random.normal(size=[3, 4, 50]).astype(np.float32)
    ended = random.random([3, 4]) < 0.3
    step = tf.function(L.beam_step, jit_compile=True)
    every = step(tf.constant(scores), tf.constant(logits.reshape(12, 50)), tf.constant(ended), tf.constant(7))
    for r in range(3):
        alone = L.beam_step(tf.constant(scores[r:r + 1]), tf.constant(logits[r]), tf.constant(ended[r:r + 1]), 7)
        np.testing.assert_allclose(every[0][r], alone[0][0], rtol=1e-6)
        assert [x[r].numpy().tolist() for x in every[1:]] == [x[0].numpy().tolist() for x in alone[1:]]


def test_the_best_beam_by_its_length():
    # ((5 + 1) / 6)^a = 1, ((5 + 7) / 6)^a = 2^a: -3 / 2 is above -2, and -3 below it
    scores, lengths = tf.constant([[-2., -3.], [-3., -2.]]), tf.constant([[1, 7], [7, 1]])
    assert L.best_beam(scores, lengths, alpha=1.).numpy().tolist() == [1, 0]
    assert L.best_beam(scores, lengths, alpha=0.).numpy().tolist() == [0, 1]
    # 2^.58 = 1.495 < 1.5 < 2^.59 = 1.505
    assert L.best_beam(scores, lengths, alpha=0.58).numpy().tolist() == [0, 1] and L.best_beam(scores, lengths, alpha=0.59).numpy().tolist() == [1, 0]


# ---- settings that cannot be

@pytest.mark.parametrize('name, value', [('temperature', -0.1), ('temperature', math.nan), ('temperature', math.inf), ('temperature', 'hot'), ('temperature', None),
                                         ('top_k', -1), ('top_k', 2.5), ('top_k', math.inf), ('top_k', 'all'),
                                         ('top_p', -0.1), ('top_p', 1.1), ('top_p', math.nan), ('top_p', '0.9x'), ('top_p', True),
                                         ('min_p', -0.1), ('min_p', 1.01), ('typical_p', 2), ('typical_p', -1), ('typical_p', math.nan),
                                         ('repetition_penalty', 0), ('repetition_penalty', -1), ('repetition_penalty', math.inf),
                                         ('frequency_penalty', 2.1), ('frequency_penalty', -3), ('presence_penalty', math.nan), ('presence_penalty', 'x'),
                                         ('no_repeat_ngram_size', -1), ('no_repeat_ngram_size', 1.5), ('min_length', -1), ('min_length', 0.5),
                                         ('length', 0), ('length', -5), ('length', 2.5), ('length', 'long'),
                                         ('batch_size', 0), ('batch_size', -1), ('batch_size', 1.5), ('nsamples', -1), ('seed', 0.5), ('seed', math.inf)])
def test_settings_that_cannot_be(name, value):
    """Whatever python-fire makes of what was typed: the flag, the value and what it takes, in one sentence."""
    with pytest.raises(UsageError, match=f'^--{name} {value} is out of range: it takes a .*[.]$'):
        check_settings(**{name: value})


@pytest.mark.parametrize('settings', [{}, {'temperature': 0}, {'temperature': 5}, {'top_k': 40}, {'top_k': 40.0}, {'top_p': 0}, {'top_p': 1},
                                      {'top_p': 0.9}, {'length': 1, 'batch_size': 8}, {'seed': -3}, {'seed': 10 ** 30}, {'nsamples': 0},
                                      {'min_p': 0}, {'min_p': 1}, {'typical_p': 0.2}, {'repetition_penalty': 0.01}, {'repetition_penalty': 1.2},
                                      {'frequency_penalty': -2}, {'presence_penalty': 2}, {'no_repeat_ngram_size': 3.0}, {'min_length': 10}])
def test_settings_that_can(settings):
    check_settings(**settings)


def test_every_setting_is_checked_and_its_default_can_be():
    check_settings(**Settings()._asdict())
    for name in Settings._fields:
        with pytest.raises(UsageError, match=f'--{name} nan'):
            check_settings(**{name: math.nan})

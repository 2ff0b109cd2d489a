"""The filters by hand, the draws by chi-square, the sampler by what the uncached model says."""
import math

import numpy as np
import pytest
import tensorflow as tf
from reference import rough_params

from src import model, sample
from src.console import UsageError
from src.model import HParams

SMALL = HParams(n_vocab=61, n_ctx=24, n_embd=16, n_head=2, n_layer=2)


def lively(seed):
    """Random weights whose most likely token changes from place to place: with plain ones it is nearly always the last one again."""
    params = rough_params(SMALL, seed, scale=0.2)
    params['wpe'].assign_add(np.random.default_rng(seed).standard_normal([24, 16], np.float32))
    params['ln_f']['b'].assign(tf.zeros(16))
    return params


@pytest.fixture(scope='module')
def params():
    return lively(seed=2)


def run(params, *, hparams=SMALL, **settings):
    return sample.sample_sequence(hparams, params, **settings)


def kept(logits):
    """Which tokens a filter left, a row of booleans each."""
    return (np.asarray(logits) > -1e9).tolist()


def log(*probabilities):
    return tf.math.log(tf.constant([probabilities], tf.float32))


# ---- largest_threshold, top_k, top_p

def kth_largest(rows, k):
    """By sorting: what largest_threshold finds for `at least k`."""
    return np.sort(rows, axis=-1)[:, ::-1][:, k - 1:k]


def at_least(k):
    return lambda chosen: tf.reduce_sum(tf.cast(chosen, tf.int32), axis=-1, keepdims=True) >= k


@pytest.mark.parametrize('rows', [
    np.random.default_rng(0).normal(size=[8, 50]),                                    # both signs
    -np.random.default_rng(1).exponential(size=[8, 50]),                              # negative only
    np.random.default_rng(2).normal(size=[8, 50]) * 10.0 ** np.random.default_rng(3).integers(-44, 38, size=[8, 50]),   # denormals to 1e38
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
        np.testing.assert_array_equal(sample.largest_threshold(tf.constant(rows), at_least(k)), kth_largest(rows, k), err_msg=f'k = {k}')


def test_largest_threshold_in_xla():
    rows = np.random.default_rng(0).normal(size=[8, 50]).astype(np.float32)
    find = tf.function(lambda x: sample.largest_threshold(x, at_least(7)), jit_compile=True)
    np.testing.assert_array_equal(find(tf.constant(rows)), kth_largest(rows, 7))


def test_largest_threshold_that_nobody_wants_or_reaches_is_the_smallest():
    rows = tf.constant([[3., -1., 2.], [0., 0., 5.]])
    assert sample.largest_threshold(rows, at_least(1), wanted=False).numpy().tolist() == [[-1], [0]]
    assert sample.largest_threshold(rows, at_least(4)).numpy().tolist() == [[-1], [0]]


def test_top_k_keeps_the_k_most_likely():
    logits = tf.constant([[1., -3., 2., 5.], [-1., -2., -3., -4.]])
    assert kept(sample.top_k_logits(logits, 2)) == [[False, False, True, True], [True, True, False, False]]
    assert sample.top_k_logits(logits, 2).numpy()[0].tolist() == [np.float32(-1e10), np.float32(-1e10), 2, 5]
    assert kept(sample.top_k_logits(logits, 1)) == [[False, False, False, True], [True, False, False, False]]


def test_top_k_keeps_what_is_as_likely_as_the_last():
    assert kept(sample.top_k_logits(tf.constant([[2., 1., 1., 1., 0.]]), 2)) == [[True, True, True, True, False]]
    assert kept(sample.top_k_logits(tf.constant([[7., 7., 7.]]), 1)) == [[True, True, True]]


@pytest.mark.parametrize('k', [0, 4, 5, 1000])
def test_top_k_off_or_as_large_as_the_vocabulary_changes_nothing(k):
    logits = tf.constant([[1., -3., 2., 5.]])
    assert sample.top_k_logits(logits, k).numpy().tolist() == logits.numpy().tolist()


def test_nucleus_keeps_the_token_that_crosses_p():
    logits = log(0.5, 0.4, 0.1)
    assert kept(sample.top_p_logits(logits, p=0.6)) == [[True, True, False]]         # .5 alone falls short of .6


@pytest.mark.parametrize('p, expected', [(0.45, [0, 0, 0, 1]), (0.6, [0, 1, 0, 1]), (0.74, [0, 1, 0, 1]), (0.76, [0, 1, 1, 1]),
                                         (0.94, [0, 1, 1, 1]), (0.96, [1, 1, 1, 1]), (1e-9, [0, 0, 0, 1])])
def test_nucleus_by_hand(p, expected):
    # sorted .50 .25 .20 .05: reaches .50, .75, .95, 1
    assert kept(sample.top_p_logits(log(0.05, 0.25, 0.2, 0.5), p)) == [[bool(e) for e in expected]]


def test_nucleus_of_each_row():
    logits = tf.concat([log(0.5, 0.4, 0.1), log(0.1, 0.1, 0.8)], 0)
    assert kept(sample.top_p_logits(logits, 0.7)) == [[True, True, False], [False, False, True]]


@pytest.mark.parametrize('p', [0, 1, 0.0, 1.0])
def test_nucleus_0_and_1_are_off(p):
    logits = log(0.5, 0.4, 0.0999, 0.0001)
    assert sample.top_p_logits(logits, p).numpy().tolist() == logits.numpy().tolist()


def test_nucleus_against_a_sort():
    """On random rows: the fewest of the sorted probabilities whose sum reaches p."""
    rows = np.random.default_rng(0).normal(scale=3, size=[20, 40]).astype(np.float32)
    for p in (0.1, 0.5, 0.9, 0.99):
        found = np.array(kept(sample.top_p_logits(tf.constant(rows), p)))
        for row, chosen in zip(rows.astype(np.float64), found):
            likely = np.sort(np.exp(row) / np.exp(row).sum())[::-1]
            fewest = int(np.searchsorted(np.cumsum(likely), p) + 1)
            assert chosen.sum() == fewest and set(np.argsort(-row)[:fewest]) == set(np.flatnonzero(chosen))


def chosen_for(logits, n=2000, **settings):
    """The tokens that `choose` gives for n numbers spread evenly over [0, 1)."""
    settings = {'temperature': 1.0, 'top_k': 0, 'top_p': 0.0} | settings
    many = tf.repeat(logits, n, axis=0)
    return sample.choose(many, tf.range(n, dtype=tf.float32) / n, **{name: tf.constant(value) for name, value in settings.items()}).numpy()


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
    np.testing.assert_allclose(shares(chosen_for(logits, temperature=2.0), 3), [0.473, 0.334, 0.193], atol=1e-3)


def test_temperature_0_is_the_most_likely_token():
    logits = tf.constant([[1., 3., 2.], [-1., -3., -2.]])
    ids = sample.choose(logits, tf.constant([0.99, 0.99]), tf.constant(0.), tf.constant(0), tf.constant(1.))
    assert ids.numpy().tolist() == [1, 0]


# ---- pick

@pytest.mark.parametrize('u, expected', [(0.0, 0), (0.49, 0), (0.51, 1), (0.74, 1), (0.76, 2), (0.99999994, 2)])
def test_pick_inverts_the_cumulative_sum(u, expected):
    assert sample.pick(log(0.5, 0.25, 0.25), tf.constant([u])).numpy().tolist() == [expected]


@pytest.mark.parametrize('u', [0.0, 1e-30, 0.3, 0.99999994])
def test_pick_never_takes_what_was_removed(u):
    logits = tf.constant([[-1e10, 0., -1e10, 0., -1e10]])
    assert sample.pick(logits, tf.constant([u])).numpy().tolist() == [1 if u < 0.5 else 3]


def test_pick_of_one_token_and_of_huge_logits():
    assert sample.pick(tf.constant([[5.]]), tf.constant([0.7])).numpy().tolist() == [0]
    assert sample.pick(tf.constant([[1e9, -1e9], [-3e9, 1e30]]), tf.constant([0.7, 0.0])).numpy().tolist() == [0, 1]


def test_pick_at_the_end_of_a_large_vocabulary():
    """50257 float32 additions may end above or below the total; the last draw there is must still be a token, and a late one."""
    logits = tf.constant(np.random.default_rng(0).normal(size=[4, 50257]).astype(np.float32))
    assert (sample.pick(logits, tf.constant([0.99999994] * 4)).numpy() > 50000).all()


def chi_square_p(counts, probabilities):
    """The chance of a deviation as large as this one, for an even number of degrees of freedom (closed form)."""
    counts, expected = np.asarray(counts, np.float64), np.asarray(probabilities, np.float64) * np.sum(counts)
    assert (counts[expected == 0] == 0).all()
    counts, expected = counts[expected > 0], expected[expected > 0]
    half, degrees = ((counts - expected) ** 2 / expected).sum() / 2, len(counts) - 1
    assert degrees and degrees % 2 == 0
    return math.exp(-half) * sum(half ** i / math.factorial(i) for i in range(degrees // 2))


def test_chi_square_p_by_hand():
    assert chi_square_p([50, 30, 20], [0.5, 0.3, 0.2]) == 1
    # (60-50)^2/50 + (25-30)^2/30 + (15-20)^2/20 = 4.083; two degrees of freedom: exp(-4.083 / 2)
    assert chi_square_p([60, 25, 15], [0.5, 0.3, 0.2]) == pytest.approx(math.exp(-4.0833 / 2), rel=1e-3)


DRAWN = HParams(n_vocab=9, n_ctx=4, n_embd=4, n_head=1, n_layer=1)


@pytest.fixture(scope='module')
def drawn():
    return rough_params(DRAWN, seed=5, scale=0.6)


@pytest.mark.parametrize('settings', [{}, {'top_k': 3}, {'top_p': 0.7}, {'temperature': 0.7}, {'temperature': 1.5, 'top_k': 7}])
def test_ten_thousand_draws_follow_the_distribution(drawn, settings):
    """End to end, a row a draw. The seed is fixed, so this passes always or never; had it been chosen at random, a right sampler
    would fail each of the five with probability 1e-4."""
    logits = model.model(DRAWN, drawn, [[3]])['logits'][0, 0].numpy().astype(np.float64) / settings.get('temperature', 1)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    order = np.argsort(-probabilities)
    n = settings.get('top_k') or (int(np.searchsorted(np.cumsum(probabilities[order]), settings['top_p']) + 1) if 'top_p' in settings else 9)
    assert n in (3, 5, 7, 9), (n, np.cumsum(probabilities[order]))     # an even number of degrees of freedom
    probabilities[order[n:]] = 0
    ids = run(drawn, hparams=DRAWN, length=1, start_token=3, batch_size=10_000, seed=11, **settings)[:, 1]
    assert chi_square_p(np.bincount(ids, minlength=9), probabilities / probabilities.sum()) > 1e-4


def test_draws_along_a_row_are_even():
    """320 rows of 32 numbers in eleven equal bins; false alarms as above, 1e-4."""
    draw = sample.Draw(7, 320)
    numbers = draw(32)
    assert numbers.shape == (320, 32) and numbers.dtype == np.float32 and numbers.min() >= 0 and numbers.max() < 1
    assert chi_square_p(np.bincount((numbers.ravel() * 11).astype(int), minlength=11), np.full(11, 1 / 11)) > 1e-4
    assert (draw(32) != numbers).all(axis=1).all()                      # the next ones are others


# ---- sample_sequence

def test_same_seed_same_text_and_another_seed_another(params):
    first, again, other = (run(params, length=20, start_token=1, seed=seed) for seed in (5, 5, 6))
    assert first.tolist() == again.tolist() and first.tolist() != other.tolist()
    assert first.shape == (1, 21) and first.dtype == np.int32 and first[0, 0] == 1


def test_without_a_seed_every_call_is_another(params):
    assert run(params, length=20, start_token=1).tolist() != run(params, length=20, start_token=1).tolist()


def test_a_row_does_not_depend_on_the_rest_of_the_batch(params):
    context = np.array([[3, 1, 4, 1, 5]])
    others = np.array([[9, 2, 6, 5, 3], [5, 8, 9, 7, 9]])
    for settings in ({}, {'top_k': 10, 'top_p': 0.9, 'temperature': 0.8}):
        alone = run(params, length=40, context=context, seed=3, **settings)
        batch = run(params, length=40, context=np.concatenate([context, others]), batch_size=3, seed=3, **settings)
        assert batch.shape == (3, 45) and batch[0].tolist() == alone[0].tolist()
        assert batch[1, 5:].tolist() != batch[2, 5:].tolist()


def test_rows_of_one_context_differ(params):
    out = run(params, length=15, start_token=0, batch_size=4, seed=1)
    assert len({tuple(row) for row in out.tolist()}) == 4


def test_the_context_comes_back_in_front(params):
    context = [[7, 8, 9], [10, 11, 12]]
    assert run(params, length=4, context=context, batch_size=2, seed=0)[:, :3].tolist() == context


def test_a_start_token_is_a_context_of_one(params):
    assert run(params, length=9, start_token=17, seed=4, batch_size=2).tolist() == run(params, length=9, context=[[17], [17]], seed=4, batch_size=2).tolist()


@pytest.mark.parametrize('settings', [{}, {'context': [[1]], 'start_token': 1}])
def test_exactly_one_of_context_and_start_token(params, settings):
    with pytest.raises(ValueError, match='exactly one of start_token and context'):
        run(params, length=3, **settings)


@pytest.mark.parametrize('context, batch_size', [([[1, 2]], 2), ([[1], [2]], 1), ([[]], 1), ([1, 2], 2)])
def test_a_context_of_another_shape_is_told(params, context, batch_size):
    with pytest.raises(ValueError, match=rf'context has shape .*batch_size = {batch_size}'):
        run(params, length=3, context=context, batch_size=batch_size)


@pytest.mark.parametrize('n', [1, 5, 23])
def test_cached_generation_is_the_uncached_argmax_at_every_position(params, n):
    """To the last position of the window: each new token is the most likely one by a forward pass without any cache."""
    context = np.random.default_rng(n).integers(SMALL.n_vocab, size=[2, n])
    out = run(params, length=SMALL.n_ctx + 1 - n, context=context, batch_size=2, temperature=0)
    assert out.shape == (2, 25)
    logits = model.model(SMALL, params, out[:, :-1])['logits'].numpy()
    taken = np.take_along_axis(logits, out[:, 1:, None].astype(np.int64), axis=-1)[..., 0]
    behind = slice(n - 1, None)
    assert (logits.max(-1) - taken)[:, behind].max() < 1e-4             # two logits that close may come in either order
    assert (logits.argmax(-1) == out[:, 1:])[:, behind].mean() > 0.9
    if n == 1:
        assert all(len(set(row)) > 8 for row in out.tolist())           # a text that says one thing only would prove little


def uncached(params, ids, numbers, **settings):
    """ids, then a token for each of the random numbers, by a forward pass over everything at each step."""
    settings = {name: tf.constant(value) for name, value in ({'temperature': 1.0, 'top_k': 0, 'top_p': 0.0} | settings).items()}
    ids = list(ids)
    for u in numbers:
        logits = model.model(SMALL, params, [ids])['logits'][:, -1]
        ids.append(int(sample.choose(logits, tf.constant([u]), **settings)[0]))
    return ids


def test_sampled_tokens_are_those_of_the_uncached_model(params):
    out = run(params, length=20, context=[[2, 3]], seed=9, top_k=20, temperature=1.2)
    assert out[0].tolist() == uncached(params, [2, 3], sample.Draw(9, 1)(20)[0, :20], top_k=20, temperature=1.2)


def test_beyond_n_ctx_the_window_slides(params):
    context = [[2, 3, 5]]
    fits = run(params, length=22, context=context, seed=1)              # 25 tokens: the last one is predicted from n_ctx = 24
    for length in (23, 60):
        longer = run(params, length=length, context=context, seed=1)
        assert longer.shape == (1, 3 + length) and longer.min() >= 0 and longer.max() < SMALL.n_vocab
        assert longer[0, :25].tolist() == fits[0].tolist()
        assert longer.tolist() == run(params, length=length, context=context, seed=1).tolist()


def test_behind_a_slide_the_newer_half_is_the_context(params):
    """25 tokens fill the window, the last of them predicted from its 24; what follows is drawn from what the newest 12 lead to."""
    longer = run(params, length=30, context=[[2, 3, 5]], seed=4)[0].tolist()
    assert longer[13:] == uncached(params, longer[13:25], sample.Draw(4, 1)(30)[0, 22:30])


def test_a_context_longer_than_n_ctx(params):
    context = np.random.default_rng(1).integers(SMALL.n_vocab, size=[1, 40])
    out = run(params, length=6, context=context, temperature=0)
    assert out.shape == (1, 46) and out[:, :40].tolist() == context.tolist()
    assert out[0, 40] == model.model(SMALL, params, context[:, -24:])['logits'][0, -1].numpy().argmax()


def test_the_smallest_window_there_is():
    hparams = HParams(n_vocab=5, n_ctx=1, n_embd=2, n_head=1, n_layer=1)
    out = run(rough_params(hparams), hparams=hparams, length=7, start_token=0, seed=0)
    assert out.shape == (1, 8)


def test_the_step_is_traced_once_for_all_settings_and_lengths():
    params = lively(seed=8)
    generator = sample.generator_for(SMALL, params)
    for length, n, settings in ((5, 1, {}), (40, 3, {'top_k': 5}), (33, 2, {'top_p': 0.5, 'temperature': 0.3}), (1, 9, {'temperature': 0}),
                                (7, 30, {'temperature': 2, 'top_k': 0, 'top_p': 1, 'seed': 4})):
        run(params, length=length, context=[list(range(n))], **settings)
    assert sample.generator_for(SMALL, params) is generator
    assert generator._decode.experimental_get_tracing_count() == 1
    assert generator._prefill.experimental_get_tracing_count() == 1


def test_numpy_numbers_are_numbers(params):
    plain = run(params, length=5, start_token=1, seed=3, top_k=7, top_p=0.5, temperature=0.5)
    assert run(params, length=np.int64(5), start_token=np.int32(1), seed=np.int64(3), top_k=np.int64(7), top_p=np.float32(0.5),
               temperature=np.float64(0.5)).tolist() == plain.tolist()


def test_other_weights_get_another_generator(params):
    other = lively(seed=9)
    greedy = {'length': 20, 'start_token': 1, 'temperature': 0}
    first = run(params, **greedy).tolist()
    assert run(other, **greedy).tolist() != first
    assert run(params, **greedy).tolist() == first


def test_trained_weights_are_seen_at_once():
    """A Generator reads its variables at every call: samples during training are of the weights of that moment."""
    params = lively(seed=9)
    run(params, length=3, start_token=1, temperature=0)
    params['wte'].assign(lively(seed=10)['wte'])
    logits = model.model(SMALL, params, [[1]])['logits'][0, 0].numpy()
    assert run(params, length=1, start_token=1, temperature=0)[0, 1] == logits.argmax()


# ---- Generator and stream

def test_stream_gives_the_same_tokens_in_pieces(params):
    generator = sample.generator_for(SMALL, params)
    whole = run(params, length=45, context=[[4, 5]], seed=2)[0, 2:].tolist()
    for steps in (1, 7, 32):
        pieces = list(sample.stream(generator, [[4, 5]], length=45, seed=2, steps=steps))
        assert all(piece.shape[0] == 1 and 1 <= piece.shape[1] <= steps for piece in pieces)
        assert np.concatenate(pieces, axis=1)[0].tolist() == whole


def test_decode_stops_behind_the_stop_token(params):
    generator = sample.generator_for(SMALL, params)
    greedy = run(params, length=15, context=[[4, 5]], temperature=0)[0, 2:].tolist()
    stop = greedy[6]
    cache = sample.Cache(SMALL, 1)
    generator.prefill(cache, [[4]])
    ids = generator.decode(cache, [5], sample.Draw(0, 1), 15, temperature=0, stop=stop)
    assert ids[0].tolist() == greedy[:greedy.index(stop) + 1]
    assert cache.length == 1 + ids.shape[1]                             # 4, 5 and all but the newest


def test_a_cache_cut_back_goes_on_as_if_the_rest_had_never_been(params):
    generator = sample.generator_for(SMALL, params)
    cache = sample.Cache(SMALL, 1)
    generator.prefill(cache, [[1, 2, 3]])
    generator.decode(cache, [4], sample.Draw(0, 1), 10)
    cache.length = 3
    generator.prefill(cache, [[7, 8]])
    ids = generator.decode(cache, [9], sample.Draw(0, 1), 10, temperature=0)
    assert ids[0].tolist() == run(params, length=10, context=[[1, 2, 3, 7, 8, 9]], temperature=0)[0, 6:].tolist()


def test_prefill_in_pieces_is_prefill_at_once(params):
    generator = sample.generator_for(SMALL, params)
    X = np.random.default_rng(3).integers(SMALL.n_vocab, size=[2, 11])
    once, pieces = sample.Cache(SMALL, 2), sample.Cache(SMALL, 2)
    generator.prefill(once, X)
    for piece in np.split(X, [1, 6, 6], axis=1):                        # one of them empty
        generator.prefill(pieces, piece)
    assert once.length == pieces.length == 11
    np.testing.assert_allclose(once.values, pieces.values, rtol=0, atol=1e-5)
    np.testing.assert_allclose(once.values[..., :11, :], model.model(SMALL, params, X)['present'], rtol=0, atol=1e-5)


# ---- token types

TYPED = HParams(n_vocab=61, n_ctx=24, n_embd=16, n_head=2, n_layer=2, type_tokens=(59, 60))
SPOKEN = np.array([[59, 4, 5, 60, 6, 7, 8], [1, 2, 60, 3, 59, 9, 10]], np.int32)


@pytest.fixture(scope='module')
def typed():
    """Weights that make type tokens of their own accord."""
    params = lively(seed=7)
    params['wte'].assign(tf.concat([params['wte'][:59], 1.3 * params['wte'][59:]], 0))
    return params


@pytest.fixture(scope='module')
def speaking(typed):
    return sample.Generator(TYPED, typed)


def greedy(params, context, n):
    """By the uncached model, and the type at the last position of each row."""
    ids = np.asarray(context)
    for _ in range(n):
        logits = model.model(TYPED, params, ids)['logits'][:, -1]
        ids = np.concatenate([ids, np.argmax(logits, axis=-1)[:, None]], axis=1).astype(np.int32)
    return ids


def test_cached_generation_of_a_typed_model_is_the_uncached_one(typed, speaking):
    """Greedy, two rows with speakers of their own; the marks that it makes itself count from then on."""
    expected = greedy(typed, SPOKEN, 17)
    made = expected[:, 7:]
    assert np.isin(made, TYPED.type_tokens).any() and not np.isin(made, TYPED.type_tokens).all()
    assert (run(typed, hparams=TYPED, length=17, context=SPOKEN, batch_size=2, temperature=0) == expected).all()
    plain = run(typed, hparams=SMALL, length=17, context=SPOKEN, batch_size=2, temperature=0)
    assert (plain != expected).any()                                    # or nothing was compared
    for pieces in ([6], [1, 2, 3], [4, 2], [2, 0, 4]):                  # prefill in pieces, decode a few at a time
        cache, at = sample.Cache(TYPED, 2), 0
        for n in pieces:
            speaking.prefill(cache, SPOKEN[:, at:at + n])
            at += n
        ids, draw = SPOKEN, sample.Draw(0, 2)
        while ids.shape[1] < 24:
            ids = np.concatenate([ids, speaking.decode(cache, ids[:, -1], draw, min(5, 24 - ids.shape[1]), temperature=0)], axis=1)
        assert (ids == expected).all()


def test_a_cache_knows_who_speaks(typed, speaking):
    cache = sample.Cache(TYPED, 2)
    assert cache.speaker.tolist() == [-1, -1]
    for i, expected in enumerate([(59, -1), (59, -1), (59, 60), (60, 60), (60, 59), (60, 59), (60, 59)]):
        speaking.prefill(cache, SPOKEN[:, i:i + 1])
        assert cache.length == i + 1 and cache.speaker.tolist() == list(expected)
    np.testing.assert_allclose(cache.values[..., :7, :], model.model(TYPED, typed, SPOKEN)['present'], rtol=0, atol=1e-4)
    for length, expected in ((4, (60, 60)), (2, (59, -1)), (0, (-1, -1))):
        cache.length = length                                           # positions forgotten: whoever spoke there speaks
        assert cache.speaker.tolist() == list(expected)
    speaking.prefill(cache, SPOKEN[:, 1:3])
    assert cache.length == 2 and cache.speaker.tolist() == [-1, 60]


def test_a_typed_cache_cut_back_goes_on_as_if_the_rest_had_never_been(typed, speaking):
    cache = sample.Cache(TYPED, 1)
    speaking.prefill(cache, [[59, 1, 2]])
    speaking.decode(cache, [60], sample.Draw(0, 1), 10, temperature=0)
    cache.length = 3
    ids = speaking.decode(cache, [9], sample.Draw(0, 1), 10, temperature=0)
    assert ids[0].tolist() == greedy(typed, [[59, 1, 2, 9]], 10)[0, 4:].tolist()


def test_what_the_steps_make_is_in_the_cache_with_its_type(typed, speaking):
    """Decoding leaves the newest token out: the next one that comes stands behind the types so far."""
    cache = sample.Cache(TYPED, 2)
    speaking.prefill(cache, SPOKEN[:, :6])
    ids = speaking.decode(cache, SPOKEN[:, 6], sample.Draw(0, 2), 16, temperature=0)
    seen = np.concatenate([SPOKEN, ids[:, :-1]], axis=1)
    assert cache.length == seen.shape[1] == 22
    for length in range(23):
        cache.length = length
        marks = [[i for i in row[:length].tolist() if i in TYPED.type_tokens] for row in seen]
        assert cache.speaker.tolist() == [row[-1] if row else -1 for row in marks]
    assert max(map(len, marks)) > 2                                     # some are the model's own


# ---- settings that cannot be

@pytest.mark.parametrize('name, value', [('temperature', -0.1), ('temperature', math.nan), ('temperature', 'hot'), ('temperature', None),
                                         ('top_k', -1), ('top_k', 2.5), ('top_k', math.inf), ('top_k', 'all'),
                                         ('top_p', -0.1), ('top_p', 1.1), ('top_p', math.nan), ('top_p', '0.9x'),
                                         ('length', 0), ('length', -5), ('length', 2.5), ('length', 'long'),
                                         ('batch_size', 0), ('batch_size', -1), ('batch_size', 1.5)])
def test_settings_that_cannot_be(name, value):
    """Whatever python-fire makes of what was typed: the flag, the value and what it takes, in one sentence."""
    with pytest.raises(UsageError, match=f'--{name} {value}'):
        sample.check_settings(**{name: value})


@pytest.mark.parametrize('settings', [{}, {'temperature': 0}, {'temperature': 5}, {'top_k': 40}, {'top_k': 40.0}, {'top_p': 0}, {'top_p': 1},
                                      {'top_p': 0.9}, {'length': 1, 'batch_size': 8}])
def test_settings_that_can(settings):
    sample.check_settings(**settings)


@pytest.mark.parametrize('settings', [{'top_k': 40.0}, {'length': 4.0}, {'batch_size': 2.0}, {'temperature': 1e-40}])
def test_what_is_accepted_also_runs(params, settings):
    """`--top_k 40.0` reaches us as a float; a setting is refused in a sentence or does what it says."""
    sample.check_settings(**settings)
    out = run(params, **{'length': 4, 'start_token': 1} | settings)
    assert out.shape == (settings.get('batch_size', 1), 5)


def test_sample_sequence_checks_its_settings(params):
    with pytest.raises(UsageError, match='--top_p 1.5'):
        run(params, length=3, start_token=1, top_p=1.5)
    with pytest.raises(UsageError, match='--length 0'):
        run(params, length=0, start_token=1)
    with pytest.raises(UsageError, match='--batch_size 0'):
        run(params, length=1, start_token=1, batch_size=0)

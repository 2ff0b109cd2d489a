"""The draws by chi-square, the sampler by what the uncached model says."""

import numpy as np
import pytest
import tensorflow as tf
from reference import rough_params
from test_logits import chi_square_p, past_of

from src import logits, model, sample
from src.console import UsageError, UserError
from src.settings import Draw, Settings
from src.model import HParams
from src.stream import beam_search, stream

SMALL = HParams(n_vocab=61, n_ctx=24, n_embd=16, n_head=2, n_layer=2)
GREEDY = Settings(temperature=0)


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


# ---- draws

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
    """320 rows of 32 keys in eleven equal bins; false alarms as above, 1e-4. A few at a time they are the same."""
    draws = [Draw(7, row) for row in range(320)]
    keys = np.array([draw(32) for draw in draws])
    assert keys.dtype == np.uint32 and keys.shape == (320, 32, 2)
    assert chi_square_p(np.bincount((keys.ravel() / 2 ** 32 * 11).astype(int), minlength=11), np.full(11, 1 / 11)) > 1e-4
    assert (np.array([draw(32) for draw in draws]) != keys).all()        # the next ones are others
    few = Draw(7, 3)
    assert np.concatenate([few(n) for n in (1, 3, 4, 24)]).tolist() == keys[3].tolist()
    assert keys[3, :5].tolist() == np.random.default_rng([7, 3]).integers(1 << 32, size=[5, 2]).tolist()
    seeds = 7, -7, [7, 1], [-7, 1], [7, -1], [-7, -1]
    assert len({Draw(seed)(4).tobytes() for seed in seeds}) == len(seeds)


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


def uncached(params, ids, keys, **settings):
    """ids, then a token for each of the keys, by a forward pass over everything at each step."""
    prompt, ids = len(ids), list(ids)
    for key in keys:
        found = model.model(SMALL, params, [ids])['logits'][:, -1]
        past = past_of([ids], 24)._replace(prompt=tf.constant([prompt]))
        ids.append(int(logits.choose(found, tf.constant(key[None]), logits.by_row([Settings(**settings)]), past, tf.zeros(61), tf.constant([-1]))[0]))
    return ids


@pytest.mark.parametrize('settings', [{'top_k': 20, 'temperature': 1.2}, {'frequency_penalty': 2, 'presence_penalty': 0.5}, {'repetition_penalty': 3},
                                      {'no_repeat_ngram_size': 1}])
def test_sampled_tokens_are_those_of_the_uncached_model(params, settings):
    out = run(params, length=20, context=[[2, 3]], seed=9, **settings)
    assert out[0].tolist() == uncached(params, [2, 3], Draw(9)(20), **settings)


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
    assert longer[13:] == uncached(params, longer[13:25], Draw(4)(30)[22:])


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


def test_a_device_that_is_full_is_told_in_a_sentence(params):
    with pytest.raises(UserError, match='the memory of the device is full: .*--batch_size'):
        sample.Generator(SMALL, params).cache(1 << 45)


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
    ids = generator.decode(cache, [5], [Draw(0)], 15, GREEDY, stops=[-1, stop])
    assert ids[0].tolist() == greedy[:greedy.index(stop) + 1]
    assert cache.lengths.tolist() == [1 + ids.shape[1]]                             # 4, 5 and all but the newest


def test_a_cache_cut_back_goes_on_as_if_the_rest_had_never_been(params):
    generator = sample.generator_for(SMALL, params)
    cache = sample.Cache(SMALL, 1)
    generator.prefill(cache, [[1, 2, 3]])
    generator.decode(cache, [4], [Draw(0)], 10, Settings())
    cache.lengths[:] = 3
    generator.prefill(cache, [[7, 8]])
    ids = generator.decode(cache, [9], [Draw(0)], 10, GREEDY)
    assert ids[0].tolist() == run(params, length=10, context=[[1, 2, 3, 7, 8, 9]], temperature=0)[0, 6:].tolist()


def test_prefill_in_pieces_is_prefill_at_once(params):
    generator = sample.generator_for(SMALL, params)
    X = np.random.default_rng(3).integers(SMALL.n_vocab, size=[2, 11])
    once, pieces = sample.Cache(SMALL, 2), sample.Cache(SMALL, 2)
    generator.prefill(once, X)
    for piece in np.split(X, [1, 6, 6], axis=1):                        # one of them empty
        generator.prefill(pieces, piece)
    assert once.lengths.tolist() == pieces.lengths.tolist() == [11, 11]
    np.testing.assert_allclose(once.values, pieces.values, rtol=0, atol=1e-5)
    np.testing.assert_allclose(once.values[..., :11, :], model.model(SMALL, params, X)['present'], rtol=0, atol=1e-5)


def test_rows_of_their_own_length(params):
    """Read one by one into a batch whose other rows are empty, are over, or hold something longer."""
    generator, cache = sample.generator_for(SMALL, params), sample.Cache(SMALL, 4)
    contexts = {0: [3, 4, 5, 6, 7, 8, 9], 2: [1, 2], 3: [11, 12, 13]}
    for row, context in contexts.items():
        generator.prefill(cache, [context[:-1]], row)
    assert cache.lengths.tolist() == [6, 0, 1, 2]
    active = np.array([row in contexts for row in range(4)])
    last = [contexts.get(row, [0])[-1] for row in range(4)]
    ids = generator.decode(cache, last, [Draw(0)] * 4, 12, GREEDY, active=active)
    for row, context in contexts.items():
        assert ids[row].tolist() == run(params, length=12, context=[context], temperature=0)[0, len(context):].tolist()
    assert cache.lengths.tolist() == [18, 0, 13, 14]


@pytest.mark.parametrize('n_ctx, reach', [(24, 7), (24, 8), (24, 23), (24, 24), (24, 1)])
def test_the_cache_read_in_steps_is_the_cache_read_at_once(params, monkeypatch, n_ctx, reach):
    """With a last step that is whole, or not, or the only one."""
    monkeypatch.setattr(model, 'REACH', reach)
    X = np.random.default_rng(4).integers(61, size=[2, 24]).astype(np.int32)
    static = tf.function(lambda X, past, n: model.model(SMALL, params, X, past, n), jit_compile=True)
    past = tf.zeros([2, 2, 2, 2, n_ctx, 8])
    out = static(X[:, :20], past, tf.constant([0, 0]))
    expected = model.model(SMALL, params, X)['logits']
    np.testing.assert_allclose(out['logits'], expected[:, :20], rtol=0, atol=1e-4)
    for at in range(20, 24):
        out = static(X[:, at:at + 1], out['present'], tf.constant([at, at]))
        np.testing.assert_allclose(out['logits'][:, 0], expected[:, at], rtol=0, atol=1e-4)


# ---- beam search

def every_text(params, context, length, stop):
    """{continuation: its log-probability}, of all there are, by the uncached model."""
    found, open_ = {}, {(): 0.0}
    for _ in range(length):
        grown = {}
        for made, score in open_.items():
            likely = tf.nn.log_softmax(model.model(TINY, params, [[*context, *made]])['logits'][0, -1]).numpy()
            for token, more in enumerate(likely):
                (found if token == stop else grown)[(*made, token)] = score + more
        open_ = grown
    return found | open_


TINY = HParams(n_vocab=5, n_ctx=8, n_embd=8, n_head=2, n_layer=1)


def test_as_many_beams_as_texts_find_the_likeliest():
    params = rough_params(TINY, seed=3, scale=0.8)
    texts = every_text(params, [1, 2], 3, stop=4)
    best = max(texts, key=lambda made: texts[made] / ((5 + len(made)) / 6) ** 0.6)
    generator = sample.Generator(TINY, params)
    assert beam_search(generator, [1, 2], length=3, beams=64, stops=(4,)) == list(best)
    greedy = run(params, hparams=TINY, length=3, context=[[1, 2]], temperature=0)[0, 2:].tolist()
    few = beam_search(generator, [1, 2], length=3, beams=2)
    assert texts.get(tuple(few), -99) >= texts.get(tuple(greedy), -99) or 4 in few


def test_penalties_count_in_beams(params):
    ids = beam_search(sample.generator_for(SMALL, params), [3, 4], Settings(no_repeat_ngram_size=1), length=15, beams=3)
    assert len(ids) == 15 == len(set(ids)) and not {3, 4} & set(ids)


def test_beams_end_where_the_window_does(params):
    assert len(beam_search(sample.generator_for(SMALL, params), list(range(40)), length=10, beams=2)) == 10
    assert len(beam_search(sample.generator_for(SMALL, params), [1, 2], length=50, beams=2)) == 22


# ---- bfloat16

def test_bfloat16_is_the_model_rounded(params):
    """Near to float32's in prefill and in the loop, and no further from it than 8 bits of each number explain."""
    exact, rounded = (sample.Generator(SMALL, params, precision) for precision in ('float32', 'bfloat16'))
    ids = np.random.default_rng(0).integers(61, size=24)
    scores = []
    for generator in (exact, rounded):
        cache = generator.cache(2)
        generator.prefill(cache, [ids[:6]], 1)
        scores.append(np.concatenate([generator.score(cache, ids[6:16], 1), generator.score(cache, ids[15:], 1)]))
        assert cache.values.dtype == generator.params['wte'].dtype and cache.lengths.tolist() == [0, 23]
    distance = np.abs(scores[0] - scores[1]).mean()
    assert 0 < distance < 0.05 * np.std(scores[0])
    texts = [np.concatenate(list(stream(generator, [ids[:9]] * 4, length=12, seed=3)), axis=1) for generator in (exact, rounded)]
    assert (texts[0] == texts[1]).mean() > 0.5          # drawn by the same numbers: most are the same


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
        ids, draws = SPOKEN, [Draw(0, row) for row in range(2)]
        while ids.shape[1] < 24:
            ids = np.concatenate([ids, speaking.decode(cache, ids[:, -1], draws, min(5, 24 - ids.shape[1]), GREEDY)], axis=1)
        assert (ids == expected).all()


def test_a_cache_knows_who_speaks(typed, speaking):
    cache = sample.Cache(TYPED, 2)
    assert cache.speakers().tolist() == [-1, -1]
    for i, expected in enumerate([(59, -1), (59, -1), (59, 60), (60, 60), (60, 59), (60, 59), (60, 59)]):
        speaking.prefill(cache, SPOKEN[:, i:i + 1])
        assert cache.lengths.tolist() == [i + 1] * 2 and cache.speakers().tolist() == list(expected)
    np.testing.assert_allclose(cache.values[..., :7, :], model.model(TYPED, typed, SPOKEN)['present'], rtol=0, atol=1e-4)
    for length, expected in ((4, (60, 60)), (2, (59, -1)), (0, (-1, -1))):
        cache.lengths[:] = length                                           # positions forgotten: whoever spoke there speaks
        assert cache.speakers().tolist() == list(expected)
    speaking.prefill(cache, SPOKEN[:, 1:3])
    assert cache.lengths.tolist() == [2, 2] and cache.speakers().tolist() == [-1, 60]


def test_a_typed_cache_cut_back_goes_on_as_if_the_rest_had_never_been(typed, speaking):
    cache = sample.Cache(TYPED, 1)
    speaking.prefill(cache, [[59, 1, 2]])
    speaking.decode(cache, [60], [Draw(0)], 10, GREEDY)
    cache.lengths[:] = 3
    ids = speaking.decode(cache, [9], [Draw(0)], 10, GREEDY)
    assert ids[0].tolist() == greedy(typed, [[59, 1, 2, 9]], 10)[0, 4:].tolist()


def test_what_the_steps_make_is_in_the_cache_with_its_type(typed, speaking):
    """Decoding leaves the newest token out: the next one that comes stands behind the types so far."""
    cache = sample.Cache(TYPED, 2)
    speaking.prefill(cache, SPOKEN[:, :6])
    ids = speaking.decode(cache, SPOKEN[:, 6], [Draw(0, row) for row in range(2)], 16, GREEDY)
    seen = np.concatenate([SPOKEN, ids[:, :-1]], axis=1)
    assert cache.lengths.tolist() == [seen.shape[1]] * 2 == [22, 22]
    for length in range(23):
        cache.lengths[:] = length
        marks = [[i for i in row[:length].tolist() if i in TYPED.type_tokens] for row in seen]
        assert cache.speakers().tolist() == [row[-1] if row else -1 for row in marks]
    assert max(map(len, marks)) > 2                                     # some are the model's own


# ---- settings

@pytest.mark.parametrize('settings', [{'top_k': 40.0}, {'length': 4.0}, {'batch_size': 2.0}, {'temperature': 1e-40}])
def test_what_is_accepted_also_runs(params, settings):
    """`--top_k 40.0` reaches us as a float; it does what it says."""
    out = run(params, **{'length': 4, 'start_token': 1} | settings)
    assert out.shape == (settings.get('batch_size', 1), 5)


def test_sample_sequence_checks_its_settings(params):
    with pytest.raises(UsageError, match='--top_p 1.5'):
        run(params, length=3, start_token=1, top_p=1.5)
    with pytest.raises(UsageError, match='--length 0'):
        run(params, length=0, start_token=1)
    with pytest.raises(UsageError, match='--batch_size 0'):
        run(params, length=1, start_token=1, batch_size=0)

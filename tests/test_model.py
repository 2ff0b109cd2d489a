"""Initial weights and the forward pass, against the original written out in reference.py."""
import math

import numpy as np
import pytest
import tensorflow as tf
from reference import Reference, rough_params, save_rough
from test_hparams import NAMES_2

from src import model
from src.model import HParams

SMALL = HParams(n_vocab=97, n_ctx=24, n_embd=20, n_head=5, n_layer=2)


# ---- initial weights

def test_initial_weights():
    """Within 5 standard errors: a sample of n numbers has its std's at std / sqrt(2n) and its mean's at std / sqrt(n)."""
    hparams = HParams(n_vocab=500, n_ctx=100, n_embd=64, n_head=2, n_layer=2)
    found = model.flat(model.init_params(hparams, seed=3))
    assert {name: value.shape.as_list() for name, value in found.items()} == model.shapes(hparams)
    for name, variable in found.items():
        values, leaf = variable.numpy(), name.rsplit('/')[-1]
        assert values.dtype == np.float32 and variable.trainable
        if leaf in 'gb':
            assert (values == (1 if leaf == 'g' else 0)).all(), name
        else:
            std = 0.01 if leaf == 'wpe' else 0.02
            assert abs(values.std() - std) < 5 * std / math.sqrt(2 * values.size), name
            assert abs(values.mean()) < 5 * std / math.sqrt(values.size), name


def test_initial_weights_follow_the_seed():
    same, again, other = (model.flat(model.init_params(SMALL, seed=seed)) for seed in (1, 1, 2))
    drawn = [name for name in same if name[-1] not in 'gb']
    assert len(drawn) == 2 + 2 * 4
    assert all((same[name].numpy() == again[name].numpy()).all() for name in drawn)
    assert all((same[name].numpy() != other[name].numpy()).mean() > 0.99 for name in drawn)
    assert (same['h0/attn/c_attn/w'].numpy() != same['h1/attn/c_attn/w'].numpy()).mean() > 0.99


# ---- the pieces, by hand

def test_norm():
    p = {'g': tf.constant([1., 2.]), 'b': tf.constant([0., 10.])}
    # the mean of 1 and 3 is 2, their variance 1: -1 and 1 before gain and bias
    np.testing.assert_allclose(model.norm(tf.constant([[1., 3.]]), p), [[-1, 12]], atol=2e-5)


def test_conv1d():
    p = {'w': tf.constant([[[1., 2., 3.], [10., 20., 30.]]]), 'b': tf.constant([0.5, 0.5, 0.5])}      # [1, 2, 3]
    x = tf.constant([[[1., 1.], [2., 0.]]])
    np.testing.assert_allclose(model.conv1d(x, p), [[[11.5, 22.5, 33.5], [2.5, 4.5, 6.5]]])


def test_gelu():
    # x * Phi(x), which the tanh form follows within 5e-4: Phi(1) = 0.84134, Phi(-1) = 0.15866
    np.testing.assert_allclose(model.gelu(tf.constant([0., 1., -1., 10., -10.])), [0, 0.84134, -0.15866, 10, 0], atol=5e-4)


def test_heads_are_cut_and_joined():
    x = tf.reshape(tf.range(12.), [1, 2, 6])                            # two positions, two heads of three features
    heads = model.split_heads(x, 2)
    assert heads.numpy().tolist() == [[[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 10, 11]]]]
    assert model.merge_heads(heads).numpy().tolist() == x.numpy().tolist()


# ---- the whole

@pytest.fixture(scope='module')
def pair(tmp_path_factory):
    """(params, Reference) with the same weights, far from their initial ones."""
    params, prefix = save_rough(tmp_path_factory.mktemp('small'), SMALL)
    return params, Reference(SMALL).restore(prefix)


@pytest.mark.parametrize('batch, sequence', [(1, 1), (3, 7), (2, 24)])
def test_the_model_is_the_reference(pair, batch, sequence):
    params, reference = pair
    X = np.random.default_rng(sequence).integers(SMALL.n_vocab, size=[batch, sequence])
    logits, present = reference.run(X)
    out = model.model(SMALL, params, X)
    assert out['logits'].shape == [batch, sequence, 97] and out['logits'].dtype == tf.float32
    assert out['present'].shape == [batch, 2, 2, 5, sequence, 4]        # [batch, n_layer, 2, n_head, sequence, features]
    assert np.ptp(logits) > 1                                           # or nothing was compared
    np.testing.assert_allclose(out['logits'], logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(out['present'], present, rtol=0, atol=1e-4)


def test_the_model_is_the_reference_behind_a_past(pair):
    params, reference = pair
    X = np.random.default_rng(5).integers(SMALL.n_vocab, size=[2, 20])
    past = reference.run(X[:, :12])[1]
    logits, present = reference.run(X[:, 12:], past)
    out = model.model(SMALL, params, X[:, 12:], past)
    assert out['present'].shape == [2, 2, 2, 5, 8, 4]
    np.testing.assert_allclose(out['logits'], logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(out['present'], present, rtol=0, atol=1e-4)
    np.testing.assert_allclose(logits, reference.run(X)[0][:, 12:], rtol=0, atol=1e-4)


def test_a_static_cache_is_the_reference(pair):
    params, reference = pair
    X = np.random.default_rng(6).integers(SMALL.n_vocab, size=[2, SMALL.n_ctx], dtype=np.int32)
    step = tf.function(lambda x, cache, n: model.model(SMALL, params, x, cache, n), jit_compile=True)
    cache, logits = tf.zeros([2, 2, 2, 5, 24, 4]), []
    for i in range(SMALL.n_ctx):                                        # token by token, to the last position there is
        out = step(tf.constant(X[:, i:i + 1]), cache, tf.constant(i))
        cache = out['present']
        logits.append(out['logits'])
    expected, present = reference.run(X)
    np.testing.assert_allclose(np.concatenate(logits, 1), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(cache, present, rtol=0, atol=1e-4)


def test_one_head_and_one_layer(tmp_path):
    hparams = HParams(n_vocab=11, n_ctx=4, n_embd=3, n_head=1, n_layer=1)
    params, prefix = save_rough(tmp_path, hparams, seed=4)
    X = [[1, 2, 10, 0]]
    np.testing.assert_allclose(model.model(hparams, params, X)['logits'], Reference(hparams).restore(prefix).run(X)[0], rtol=0, atol=1e-4)


def test_recomputing_changes_no_gradient():
    params = rough_params(SMALL)
    X = tf.constant(np.random.default_rng(7).integers(SMALL.n_vocab, size=[2, 9]))
    found = []
    for wrap in (None, tf.recompute_grad):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.sin(model.logits(params, model.hidden(SMALL, params, X, wrap=wrap)[0])))
        found.append({name: tf.convert_to_tensor(g) for name, g in tape.gradient(total, model.flat(params)).items()})
    assert sorted(found[0]) == sorted(NAMES_2)
    for name in NAMES_2:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_bfloat16_activations_are_near():
    """8 bits of mantissa, some twenty roundings deep: within a few percent of the widest logit; the result is float32."""
    params = rough_params(SMALL, scale=0.1)
    X = np.random.default_rng(8).integers(SMALL.n_vocab, size=[2, 24])
    exact = model.model(SMALL, params, X)['logits'].numpy()
    h, _ = model.hidden(SMALL, params, X, dtype=tf.bfloat16)
    near = model.logits(params, h)
    assert h.dtype == tf.bfloat16 and near.dtype == tf.float32
    assert 0 < np.abs(near - exact).max() < 0.05 * np.abs(exact).max()


# ---- token types

TYPED = HParams(n_vocab=97, n_ctx=24, n_embd=20, n_head=5, n_layer=2, type_tokens=(95, 96))


def talk(seed, *shape, marks=0.25):
    """Random ids, a share of them type tokens."""
    draw = np.random.default_rng(seed)
    return np.where(draw.random(shape) < marks, draw.integers(95, 97, size=shape), draw.integers(95, size=shape)).astype(np.int32)


def types_by_hand(X, speaker=None):
    found = []
    for row, last in zip(X, [-1] * len(X) if speaker is None else speaker):
        found.append([])
        for i in row:
            last = int(i) if i in TYPED.type_tokens else int(last)
            found[-1].append(last)
    return found


def test_token_types_by_hand():
    X = tf.constant([[1, 95, 2, 3, 96, 95, 4], [96, 5, 5, 5, 5, 5, 96]])
    assert model.token_types(TYPED, X).numpy().tolist() == [[-1, 95, 95, 95, 96, 95, 95], [96] * 7]
    assert model.token_types(TYPED, X, tf.constant([96, 95])).numpy().tolist() == [[96, 95, 95, 95, 96, 95, 95], [96] * 7]
    assert model.token_types(TYPED, tf.constant([[7]]), tf.constant([-1])).numpy().tolist() == [[-1]]
    X = talk(1, 5, 24)
    assert model.token_types(TYPED, X).numpy().tolist() == types_by_hand(X)
    assert model.token_types(TYPED, X, tf.constant([95, -1, 96, -1, 95])).numpy().tolist() == types_by_hand(X, [95, -1, 96, -1, 95])


def with_rows(params, rows):
    """The same weights with other embeddings, [positions, n_embd], and the ids that stand for them."""
    return params | {'wte': tf.Variable(rows)}, tf.range(len(rows))[None]


def test_each_position_gets_the_embedding_of_its_type():
    """What goes in is written down position by position, as a vocabulary of its own for a model without types."""
    params, X = rough_params(TYPED), talk(2, 1, 24)
    wte = params['wte'].numpy()
    rows = np.array([wte[i] + (wte[kind] if kind >= 0 else 0) for i, kind in zip(X[0], types_by_hand(X)[0])])
    assert X[0, 0] < 95                                                 # in front of the first mark there is no type
    h = model.hidden(TYPED, params, X)[0]
    other, ids = with_rows(params, rows)
    np.testing.assert_allclose(h, model.hidden(SMALL, other, ids)[0], rtol=0, atol=1e-5)
    assert np.abs(h - model.hidden(SMALL, params, X)[0]).max() > 0.1
    np.testing.assert_allclose(model.model(TYPED, params, X)['logits'], model.logits(params, h), rtol=0, atol=1e-5)


@pytest.mark.parametrize('wrap', [None, tf.recompute_grad])
def test_the_gradient_reaches_the_type_tokens(wrap):
    """That of a token's embedding is the sum over the positions where it stands and those whose type it is."""
    params, X = rough_params(TYPED), talk(3, 1, 24)
    wte, kinds = params['wte'].numpy(), types_by_hand(X)[0]
    other, ids = with_rows(params, np.array([wte[i] + (wte[kind] if kind >= 0 else 0) for i, kind in zip(X[0], kinds)]))
    gradients = []
    for hparams, weights, tokens in ((TYPED, params, X), (SMALL, other, ids)):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.sin(model.hidden(hparams, weights, tokens, wrap=wrap)[0]))
        gradients.append(tf.convert_to_tensor(tape.gradient(total, weights['wte'])).numpy())
    expected = np.zeros_like(wte)
    for i, kind, gradient in zip(X[0], kinds, gradients[1]):
        expected[i] += gradient
        if kind >= 0:
            expected[kind] += gradient
    assert np.abs(expected[[95, 96]]).max() > 0.1
    np.testing.assert_allclose(gradients[0], expected, rtol=1e-3, atol=1e-4)


def test_a_typed_model_cut_between_past_and_X_is_the_whole():
    params, X = rough_params(TYPED), talk(4, 3, 24, marks=0.15)
    whole = model.model(TYPED, params, X)
    for cut in (1, 2, 7, 13, 23):
        past = whole['present'][..., :cut, :]
        speaker = tf.constant([row[-1] for row in types_by_hand(X[:, :cut])])
        out = model.model(TYPED, params, X[:, cut:], past, speaker=speaker)
        np.testing.assert_allclose(out['logits'], whole['logits'][:, cut:], rtol=0, atol=1e-4)
        np.testing.assert_allclose(out['present'], whole['present'][..., cut:, :], rtol=0, atol=1e-4)


def test_a_typed_model_in_a_static_cache_is_the_whole():
    params, X = rough_params(TYPED), talk(5, 2, 24, marks=0.2)
    step = tf.function(lambda x, cache, n, speaker: model.model(TYPED, params, x, cache, n, speaker), jit_compile=True)
    cache, logits, kinds = tf.zeros([2, 2, 2, 5, 24, 4]), [], np.array(types_by_hand(X), np.int32)
    for i in range(24):
        out = step(tf.constant(X[:, i:i + 1]), cache, tf.constant(i), tf.constant(kinds[:, i - 1] if i else [-1, -1]))
        cache = out['present']
        logits.append(out['logits'])
    np.testing.assert_allclose(np.concatenate(logits, 1), model.model(TYPED, params, X)['logits'], rtol=0, atol=1e-4)


def test_room_for_more_tokens():
    params = rough_params(SMALL)
    X = np.random.default_rng(6).integers(97, size=[2, 9])
    before = params['wte'].numpy()
    hparams, grown = model.extended(SMALL, params, 100, [98, 99], seed=1)
    assert hparams == HParams(n_vocab=100, n_ctx=24, n_embd=20, n_head=5, n_layer=2, type_tokens=(98, 99))
    assert grown['wte'].shape == [100, 20] and grown['wte'].name == 'model/wte:0' and grown['wte'].trainable
    assert (grown['wte'].numpy()[:97] == before).all() and (params['wte'].numpy() == before).all()
    assert all(grown[name] is params[name] for name in params if name != 'wte')
    logits = model.model(hparams, grown, X)['logits'].numpy()
    np.testing.assert_allclose(logits[..., :97], model.model(SMALL, params, X)['logits'], rtol=0, atol=1e-5)      # no type token in X
    new = grown['wte'].numpy()[97:] - before.mean(axis=0)
    assert 0.01 < new.std() < 0.03 and len(np.unique(new)) == new.size  # 60 numbers of N(0, 0.02)
    again, other = (model.extended(SMALL, params, 100, seed=seed)[1]['wte'].numpy() for seed in (1, 2))
    assert (again == grown['wte'].numpy()).all() and (other[97:] != again[97:]).all()
    same, kept = model.extended(SMALL, params, 97, [3])
    assert same.n_vocab == 97 and same.type_tokens == (3,) and (kept['wte'].numpy() == before).all()

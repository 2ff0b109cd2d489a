"""Adapters beside the weights: what they compute, what of them is trained, and that merging them changes no logit."""
import random

import numpy as np
import pytest
import tensorflow as tf
from reference import rough_params

from src import lora, model
from src.console import UsageError
from src.model import HParams

SMALL = HParams(n_vocab=31, n_ctx=8, n_embd=6, n_head=2, n_layer=2)
X = np.random.default_rng(0).integers(SMALL.n_vocab, size=[2, 8])
ALL = ['attn/c_attn', 'attn/c_proj', 'mlp/c_fc', 'mlp/c_proj']


def logits(params):
    return model.model(SMALL, params, X)['logits'].numpy()


def trained(params, seed=0):
    """The params with adapters that have learnt something."""
    draw = np.random.default_rng(seed)
    for name in lora.names(params):
        value = model.flat(params)[name]
        value.assign(0.3 * draw.standard_normal(value.shape))
    return params


def test_an_adapter_by_hand():
    p = {'w': tf.zeros([1, 2, 2]), 'b': tf.zeros([2]),
         'lora_a': tf.constant([[1.], [0.5]]), 'lora_b': tf.constant([[3., -1.]]), 'lora_scale': tf.constant(4.)}
    x = tf.constant([[[1., 2.]]])
    assert model.conv1d(x, p).numpy().tolist() == [[[24, -8]]]          # x a = 2, times b, times 4
    w = lora.merged({'h0': {'mlp': {'c_fc': p}}})['h0']['mlp']['c_fc']['w']
    assert w.numpy().tolist() == [[[12, -4], [6, -2]]]


@pytest.mark.parametrize('targets', ['attn', 'mlp', 'all', 'mlp/c_proj'])
def test_fresh_adapters_change_nothing_and_merging_trained_ones_neither(targets):
    params = rough_params(SMALL)
    before = logits(params)
    adapted = lora.add(params, 3, 6, targets)
    assert (logits(adapted) == before).all()
    after = logits(trained(adapted))
    assert np.abs(after - before).max() > 0.01
    plain = lora.merged(adapted)
    assert model.flat(plain).keys() == model.shapes(SMALL).keys()
    np.testing.assert_allclose(logits(plain), after, rtol=0, atol=1e-5)
    assert (logits(params) == before).all()                             # the weights themselves are as they were
    assert plain['wte'] is params['wte'] and plain['h0']['ln_1'] == params['h0']['ln_1']


def test_where_adapters_start():
    params = lora.add(rough_params(HParams(31, 8, 64, 2, 1)), 16, 16, 'attn,mlp/c_proj', seed=3)
    found = model.flat(params)
    assert lora.adapted(found) == ['h0/attn/c_attn', 'h0/attn/c_proj', 'h0/mlp/c_proj']
    for target, nx, nf in (('h0/attn/c_attn', 64, 192), ('h0/mlp/c_proj', 256, 64)):
        a, b = found[target + '/lora_a'].numpy(), found[target + '/lora_b'].numpy()
        assert a.shape == (nx, 16) and b.shape == (16, nf) and not b.any()
        assert 0.98 / nx ** 0.5 < np.abs(a).max() <= 1 / nx ** 0.5 and abs(a.mean()) < 0.1 / nx ** 0.5
    same = lora.add(rough_params(HParams(31, 8, 64, 2, 1)), 16, 16, 'attn', seed=3)['h0']['attn']['c_attn']['lora_a']
    assert (same.numpy() == found['h0/attn/c_attn/lora_a'].numpy()).all()
    assert found['h0/attn/c_attn/lora_a'].name == 'model/h0/attn/c_attn/lora_a:0'


def test_what_is_trained():
    params = lora.add(rough_params(SMALL), 2, 4, 'attn/c_proj')
    assert lora.names(params) == ['h0/attn/c_proj/lora_a', 'h0/attn/c_proj/lora_b', 'h1/attn/c_proj/lora_a', 'h1/attn/c_proj/lora_b']
    assert lora.names(params, base_vocab=31) == lora.names(params)
    assert lora.names(params, base_vocab=29) == ['wte'] + lora.names(params)
    scale = params['h0']['attn']['c_proj']['lora_scale']
    assert scale.numpy() == 2 and not scale.trainable and lora.is_adapter('h0/attn/c_proj/lora_scale')
    assert not any(map(lora.is_adapter, model.shapes(SMALL)))


def test_gradients_are_those_of_the_product():
    """With W = w + s A B, dL/dA = s dL/dW B' and dL/dB = s A' dL/dW; dL/dW is taken of the merged model."""
    params = trained(lora.add(rough_params(SMALL), 2, 5, 'all'))
    plain = lora.merged(params)

    def gradients(params, names):
        variables = [model.flat(params)[name] for name in names]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(X, model.model(SMALL, params, X)['logits']))
        return dict(zip(names, tape.gradient(loss, variables)))

    ours, found = gradients(params, lora.names(params)), model.flat(params)
    whole = gradients(plain, [target + '/w' for target in lora.adapted(found)])
    for target in lora.adapted(found):
        a, b, dw = found[target + '/lora_a'].numpy(), found[target + '/lora_b'].numpy(), whole[target + '/w'][0].numpy()
        np.testing.assert_allclose(ours[target + '/lora_a'], 2.5 * dw @ b.T, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ours[target + '/lora_b'], 2.5 * a.T @ dw, rtol=0, atol=1e-5)
        assert np.abs(ours[target + '/lora_a']).max() > 1e-3


@pytest.mark.parametrize('text, names', [('attn', ALL[:2]), ('mlp', ALL[2:]), ('all', ALL), ('mlp/c_fc, attn/c_attn', [ALL[0], ALL[2]]), ('mlp,all,mlp', ALL)])
def test_targets(text, names):
    assert lora.parse_targets(text) == names


@pytest.mark.parametrize('text, culprit', [('attn,c_fc', 'c_fc'), ('', "''"), ('h0/attn', 'h0/attn'), ('attn,', "''"), ('ln_1', 'ln_1')])
def test_a_target_there_is_not(text, culprit):
    with pytest.raises(UsageError, match=rf"no matrix '?{culprit}'?; there are attn/c_attn, attn/c_proj, mlp/c_fc, mlp/c_proj, and attn, mlp, all"):
        lora.add(rough_params(SMALL), 2, 4, text)


def test_a_rank_above_the_smaller_side():
    lora.add(rough_params(SMALL), 6, 4, 'all')
    with pytest.raises(UsageError, match=r'--lora_rank 7 is larger than the smaller side of h0/attn/c_attn/w, which is 6 x 18: give at most 6'):
        lora.add(rough_params(SMALL), 7, 4, 'all')


def test_settings_are_known_again_to_the_last_digit():
    draw = random.Random(1)
    params = rough_params(SMALL)
    assert lora.settings(params) is None
    for alpha in (16, 1, 0.1, 1e-3, *(round(draw.uniform(0, 100), draw.randrange(5)) + 0.5 for _ in range(20))):
        rank = draw.randint(1, 6)
        assert lora.settings(lora.add(params, rank, alpha, 'attn')) == {'rank': rank, 'alpha': alpha, 'targets': ALL[:2]}


def test_adapters_on_adapters_are_the_same_ones_or_refused():
    params = lora.add(rough_params(SMALL), 3, 0.123456789012, 'attn')
    assert lora.add(params, 3, 0.123456789012, 'attn/c_proj,attn/c_attn', seed=9) is params
    for other in ((4, 8, 'attn'), (3, 9, 'attn'), (3, 0.123456789012, 'all')):
        with pytest.raises(UsageError) as caught:
            lora.add(params, *other)
        assert 'rank 3, alpha 0.123457 on attn/c_attn, attn/c_proj' in str(caught.value) and 'export_model.py --merge' in str(caught.value)
        assert f'rank {other[0]}, alpha {other[1]:g}' in str(caught.value)

"""LoRA: small matrices learn beside the weights, which stay as they were (Hu et al. 2021, arXiv:2106.09685, section 4.1).

    y = x w + b + (x lora_a) lora_b alpha / rank        x [.., nx], w [nx, nf], lora_a [nx, rank], lora_b [rank, nf]

Three keys beside w in the nested dict of params (model.py); a model that has them computes with them (model.conv1d):

    params['h0']['attn']['c_attn']    w  b  lora_a  lora_b  lora_scale = alpha / rank, which is not trained

Nothing else is trained, with one exception: where special tokens were added to the base's vocabulary, wte is, whole.
"""
import math

import numpy as np

from .console import UsageError
from .hparams import flat, nested

ATTN, MLP = ('attn/c_attn', 'attn/c_proj'), ('mlp/c_fc', 'mlp/c_proj')
GROUPS = {'attn': ATTN, 'mlp': MLP, 'all': ATTN + MLP}


def parse_targets(text):
    """'attn', 'mlp', 'all', or names of matrices, divided by commas -> their names. Raises UsageError for one there is not."""
    asked = [name.strip() for name in text.split(',')]
    unknown = [name for name in asked if name not in GROUPS and name not in GROUPS['all']]
    if unknown:
        raise UsageError(f'--lora_targets: a layer has no matrix {unknown[0]!r}; there are {", ".join(GROUPS["all"])}, and {", ".join(GROUPS)} for several.')
    return [name for name in GROUPS['all'] if any(name in GROUPS.get(one, [one]) for one in asked)]


def add(params, rank, alpha, targets='all', seed=0):
    """The params with fresh adapters, which change nothing yet: lora_b is 0. The weights are shared, not copied.

    lora_a is drawn from U(-1/sqrt(nx), 1/sqrt(nx)), Kaiming's for a linear layer, as the authors' code and PEFT have it (the paper says
    Gaussian). Params that have adapters of this kind already are returned as they are. Raises UsageError, with both values, for adapters of
    another kind, for a rank above the smaller side of a matrix, and for a target there is not.
    """
    asked = {'rank': rank, 'alpha': _alpha(rank, np.float32(alpha / rank)), 'targets': parse_targets(targets)}
    there = settings(params)
    if there == asked:
        return params
    if there:
        raise UsageError(f'the checkpoint has adapters of {describe(there)}, but asked for are some of {describe(asked)}: give the same '
                         '--lora_rank, --lora_alpha and --lora_targets, or train on what python export_model.py --merge makes of it.')
    draw, found, new = np.random.default_rng(seed), flat(params), {}
    for name, w in found.items():
        target = name.removesuffix('/w')
        if target.split('/', 1)[-1] in asked['targets']:
            _, nx, nf = w.shape
            if rank > min(nx, nf):
                raise UsageError(f'--lora_rank {rank} is larger than the smaller side of {target}/w, which is {nx} x {nf}: give at most {min(nx, nf)}.')
            a = draw.uniform(-1, 1, [nx, rank]) / math.sqrt(nx)
            new |= {f'{target}/lora_a': a, f'{target}/lora_b': np.zeros([rank, nf]), f'{target}/lora_scale': alpha / rank}
    return nested(found | {name: adapter(name, value) for name, value in new.items()})


def adapter(name, value):
    """The float32 tf.Variable of an adapter; its lora_scale is not trained."""
    import tensorflow as tf
    return tf.Variable(value, name='model/' + name, dtype=tf.float32, trainable=not name.endswith('lora_scale'))


def is_adapter(name):
    """Whether a variable belongs to an adapter: h0/attn/c_attn/lora_a, .../lora_b, .../lora_scale."""
    return name.rsplit('/', 1)[-1].startswith('lora_')


def adapted(names):
    """The matrices that have adapters among these variables, without their /w: ['h0/attn/c_attn', ...]."""
    return [name.removesuffix('/lora_a') for name in names if name.endswith('/lora_a')]


def shapes(plain, found):
    """{name: shape} of the adapters in `found`, as the model's matrices make them. plain: hparams.shapes; found: {name: shape} of a checkpoint."""
    needed = {}
    for target in adapted(found):
        _, nx, nf = plain.get(f'{target}/w', (1, 0, 0))
        rank = found[f'{target}/lora_a'][-1]
        needed |= {f'{target}/lora_a': [nx, rank], f'{target}/lora_b': [rank, nf], f'{target}/lora_scale': []}
    return needed


def names(params, base_vocab=None):
    """What is trained: every lora_a and lora_b, and wte (with lm_head, where there is one) where it has more rows than base_vocab, the base's number of tokens."""
    grown = base_vocab is not None and params['wte'].shape[0] > base_vocab
    return [name for name in ('wte', 'lm_head') if grown and name in params] + [name for name in flat(params) if name.endswith(('/lora_a', '/lora_b'))]


def settings(params):
    """{'rank': 8, 'alpha': 16.0, 'targets': ['attn/c_attn', ...]} of the adapters there are, or None where there are none."""
    found = flat(params)
    targets = adapted(found)
    if not targets:
        return None
    rank, scale = found[targets[0] + '/lora_a'].shape[1], np.float32(found[targets[0] + '/lora_scale'])
    here = {target.split('/', 1)[1] for target in targets}
    return {'rank': rank, 'alpha': _alpha(rank, scale), 'targets': [name for name in GROUPS['all'] if name in here]}


def _alpha(rank, scale):
    """The shortest number that makes this very scale, a float32."""
    return next(x for x in (float(f'{float(scale) * rank:.{digits}g}') for digits in range(1, 18)) if np.float32(x / rank) == scale)


def describe(settings):
    """Settings in words."""
    return f'rank {settings["rank"]}, alpha {settings["alpha"]:g} on {", ".join(settings["targets"])}'


def product(a, b, scale):
    """What an adapter adds to w: [nx, rank], [rank, nf] -> [1, nx, nf], NumPy."""
    return (np.float32(scale) * (np.asarray(a) @ np.asarray(b)))[None]


def merged(params):
    """The params of the plain model that computes the same: w + lora_a lora_b alpha / rank. Other weights are shared, not copied."""
    from .model import variable
    found = flat(params)
    new = {f'{target}/w': variable(f'{target}/w', found[f'{target}/w'] + product(*(found[f'{target}/lora_{key}'] for key in ('a', 'b', 'scale'))))
           for target in adapted(found)}
    return nested({name: new.get(name, value) for name, value in found.items() if not is_adapter(name)})

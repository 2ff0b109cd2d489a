"""GPT-Neo as transformers has it, for hf.py: a model some of whose layers look at so many positions only (hparams.windows).

Its matrices are [out, in], its scores are not scaled, and its queries, keys and values have no biases. Ours have them once they are trained; what
they do goes elsewhere, to the last digits of float32 (x: what ln_1 gives; Wq, Wk, Wv: of c_attn; P: of c_proj):

    a key's      is the same for all scores of a query, which softmax does not see: it goes
    a value's    comes out of attention as it went in, for its weights sum to 1: c_proj's bias takes bv P
    a query's    what a layer norm gives has the mean 0 before its own g and b, so that x / g always sums to s = sum(b / g): Wq takes outer(1 / (s g), bq)

Where s is small, ln_1's b takes a share of g first, which all three see as a bias.
"""
import math
from functools import lru_cache

import numpy as np

from .. import hub
from ..console import UserError
from ..model import shapes


def config(h):
    """What config.json says of the sizes. Raises UserError where windows differ."""
    found = {*h.windows} - {0}
    if len(found) > 1:
        raise UserError(f'--format hf cannot hold windows of {" and ".join(map(str, sorted(found)))} positions in one model.')
    return {'architectures': ['GPTNeoForCausalLM'], 'model_type': 'gpt_neo', 'max_position_embeddings': h.n_ctx, 'hidden_size': h.n_embd, 'num_heads': h.n_head,
            'num_layers': h.n_layer, 'intermediate_size': h.n_inner, 'window_size': found.pop(),
            'attention_types': [[['local' if window else 'global' for window in h.windows], 1]]}


def weights(source):
    """({their name: shape}, get(their name) -> array)"""
    h, places, sizes = source.hparams, {}, {}
    for name, shape in shapes(h).items():
        theirs = hub.their_names(name, neo=True)
        for part, each in enumerate(theirs):
            places[each] = name, part, len(theirs)
            sizes[each] = [shape[-1] // len(theirs), shape[-2]] if name.endswith('/w') else shape
    attention = lru_cache(1)(lambda layer: without_biases(source.get, layer, h.n_head))

    def get(each):
        name, part, parts = places[each]
        array = attention(name.split('/')[0] + '/').get(name) if name.startswith('h') else None
        array = source.get(name) if array is None else array
        return np.split(array[0], parts, axis=1)[part].T if name.endswith('/w') else array

    return sizes, get


def without_biases(get, layer, n_head):
    """{name: array} of the layer's ('h0/') ln_1/b, attn/c_attn/w without a bias and for scores without a scale, attn/c_proj/b."""
    g, b, bias, out = (get(layer + name).astype(np.float64) for name in ('ln_1/g', 'ln_1/b', 'attn/c_attn/b', 'attn/c_proj/b'))
    w, n = get(layer + 'attn/c_attn/w').astype(np.float64), len(g)
    if bias[:n].any():
        if not g.all():
            raise UserError(f'--format hf cannot hold this model: {layer}ln_1/g has a 0, and GPT-Neo no bias of queries.')
        s = np.sum(b / g)
        shift = (math.copysign(max(abs(s), math.sqrt(n)), s) - s) / n * g
        b, bias = b + shift, bias - shift @ w[0]
        w[0, :, :n] += np.outer(1 / (np.sum(b / g) * g), bias[:n])
    out += bias[2 * n:] @ get(layer + 'attn/c_proj/w')[0]
    w[..., :n] /= math.sqrt(n // n_head)
    return {layer + 'ln_1/b': b, layer + 'attn/c_attn/w': w, layer + 'attn/c_proj/b': out}

"""GPT-2's forward pass: functions over a nested dict of variables whose keys are the checkpoint's names.

    params['h0']['attn']['c_attn']['w']    is    model/h0/attn/c_attn/w

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3: a decoder-only transformer with
layer norm in front of each sub-block and after the last one, learnt positions, GELU, and one matrix, wte, at both ends.
Dimensions in brackets: batch, sequence (positions of X), past (positions before X), head, features = n_embd / n_head.
"""
import math
from dataclasses import replace
from functools import partial
from typing import Callable, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from .hparams import ACTIVATIONS, HParams, flat, nested, shapes  # noqa: F401  where they are looked for


def init_params(hparams, seed=0):
    """Random weights as the original draws them: wpe N(0, 0.01), wte and every w N(0, 0.02), g 1, b 0.

    Returns the nested dict of float32 tf.Variables; the same seed gives the same weights.
    """
    draw = np.random.default_rng(seed)

    def start(name, shape):
        leaf = name.rsplit('/', 1)[-1]
        if leaf in ('g', 'b'):
            return np.full(shape, leaf == 'g', np.float32)
        values = draw.standard_normal(shape, np.float32)
        values *= 0.01 if leaf == 'wpe' else 0.02
        return values

    return nested({name: variable(name, start(name, shape)) for name, shape in shapes(hparams).items()})


def variable(name, value):
    """A float32 tf.Variable of the checkpoint's name."""
    return tf.Variable(value, name='model/' + name, dtype=tf.float32)


def extended(hparams, params, n_vocab, type_tokens=(), seed=0):
    """(hparams, params) of the same model with room for n_vocab tokens: each new one starts near the mean of those there are."""
    draw = np.random.default_rng(seed)

    def longer(name):
        old = params[name].numpy()
        return variable(name, np.concatenate([old, old.mean(axis=0) + 0.02 * draw.standard_normal([n_vocab - len(old), old.shape[1]], np.float32)]))

    return (replace(hparams, n_vocab=n_vocab, type_tokens=tuple(type_tokens)),
            params | {name: longer(name) for name in ('wte', 'lm_head') if name in params})


# ---- the pieces, in the order in which block uses them; x [batch, sequence, n_embd]

def norm(x, p, epsilon=HParams.layer_norm_epsilon):
    """Layer norm over the last axis (Ba et al. 2016, arXiv:1607.06450), in float32."""
    x32 = tf.cast(x, tf.float32)
    mean = tf.reduce_mean(x32, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x32 - mean), axis=-1, keepdims=True)
    return tf.cast((x32 - mean) * tf.math.rsqrt(variance + epsilon) * p['g'] + p['b'], x.dtype)


def conv1d(x, p):
    """x [..., nx] -> [..., nf]. The checkpoint keeps p['w'] as [1, nx, nf], so we do too."""
    nx, nf = p['w'].shape[1:]
    flat_x = tf.reshape(x, [-1, nx])                                     # [batch * sequence, nx]
    y = tf.nn.bias_add(tf.matmul(flat_x, tf.cast(tf.reshape(p['w'], [nx, nf]), x.dtype)), tf.cast(p['b'], x.dtype))
    if 'lora_a' in p:                                   # LoRA, arXiv:2106.09685, section 4.1: a [nx, rank], b [rank, nf], scale = alpha / rank
        a, b = tf.cast(p['lora_a'] * p['lora_scale'], x.dtype), tf.cast(p['lora_b'], x.dtype)
        y = tf.add_n([y, tf.matmul(tf.matmul(flat_x, a), b)])
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [nf]], axis=0))


GELU, CUBIC = math.sqrt(2 / math.pi), 0.044715


def gelu(x):
    """Hendrycks and Gimpel 2016, arXiv:1606.08415, the tanh approximation, in float32."""
    x32 = tf.cast(x, tf.float32)
    return tf.cast(0.5 * x32 * (1 + tf.tanh(GELU * (x32 + CUBIC * x32 * x32 * x32))), x.dtype)


FUNCTIONS = {                                           # of ACTIVATIONS
    'gelu_new': gelu, 'gelu': lambda x: tf.cast(tf.nn.gelu(tf.cast(x, tf.float32)), x.dtype), 'relu': tf.nn.relu, 'silu': tf.nn.silu, 'tanh': tf.tanh}


def split_heads(x, n_head):
    """[batch, sequence, n_embd] -> [batch, head, sequence, features]. merge_heads is its gradient, which needs no x."""
    @tf.custom_gradient
    def split(x):
        batch, sequence, n_embd = *tf.unstack(tf.shape(x)[:2]), x.shape[-1]
        return tf.transpose(tf.reshape(x, [batch, sequence, n_head, n_embd // n_head]), [0, 2, 1, 3]), merge_heads
    return split(x)


def merge_heads(x):
    """[batch, head, sequence, features] -> [batch, sequence, n_embd]."""
    batch, sequence = tf.shape(x)[0], tf.shape(x)[2]
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, sequence, x.shape[1] * x.shape[3]])


def weigh(q, k, mask):
    """How much each query looks at each key: the softmax of their products, [batch, head, sequence, all]. The arguments are look's."""
    w = tf.matmul(q / tf.cast(math.sqrt(q.shape[-1]), q.dtype), k, transpose_b=True)
    return tf.nn.softmax(tf.where(mask, w, tf.cast(max(-1e10, float(w.dtype.min)), w.dtype)))


def look(q, k, v, mask, drop=None):
    """Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1): for each query the mean of the values, as `weigh`
    weighs them. q [batch, head, sequence, features], k and v [batch, head, all, features], mask [sequence, all]: true where a query may
    look. drop: what the weights pass through. -> [batch, sequence, n_embd]"""
    w = weigh(q, k, mask)
    return merge_heads(tf.matmul(w if drop is None else drop(w), v))


def visible(keys, queries, window=0):
    """Which key positions a query at a position may look at: those up to its own; with a window, the last `window` of these."""
    return (keys <= queries) & (keys > queries - window) if window else keys <= queries


REACH = 128                                             # positions of the cache that are read at once


def write(past, layer, k, v, positions):
    """k and v [batch, head, sequence, features] of `layer`, put into a static cache at positions [batch] and behind; where that is below 0, the row
    stays as it is."""
    new = tf.stack([k, v], axis=1)[:, None]                              # [batch, 1, 2, head, sequence, features]

    def write_row(row, past):
        own, at = xla.dynamic_slice(new, [row, 0, 0, 0, 0, 0], [1, *new.shape[1:]]), [row, layer, 0, 0, positions[row], 0]
        return row + 1, xla.dynamic_update_slice(past, tf.where(positions[row] < 0, xla.dynamic_slice(past, at, own.shape), own), at)

    return tf.while_loop(lambda row, _: row < past.shape[0], write_row, (0, past))[1]


def look_back(q, past, layer, positions, window=0):
    """look for queries at `positions` [batch, sequence] of a static cache `past` [batch, n_layer, 2, n_head, n_ctx, features], which holds
    the keys and values of `layer` up to and at those; with a window, at that many of them. Reads no further than the furthest of them, in
    steps of REACH, and keeps softmax's sum up to date (Milakov and Gimelshein 2018, arXiv:1805.02867, algorithm 3).
    -> [batch, sequence, n_embd]"""
    batch, n_layer, _, n_head, n_ctx, features = past.shape
    size = min(REACH, n_ctx)
    q = q / tf.cast(math.sqrt(features), q.dtype)

    def read(i, most, total, y):                        # most, total [batch, head, sequence, 1]: the largest product so far, the sum of exp(product - most)
        start = tf.minimum(i * size, n_ctx - size)      # the last step, where it is not a whole one, begins earlier
        k, v = tf.unstack(xla.dynamic_slice(past, [0, layer, 0, 0, start, 0], [batch, 1, 2, n_head, size, features])[:, 0], axis=1)
        seen = start + tf.range(size)
        seen = (seen >= i * size) & visible(seen, positions[..., None], window)                      # [batch, sequence, size]
        w = tf.where(seen[:, None], tf.cast(tf.matmul(q, k, transpose_b=True), tf.float32), -1e10)
        larger = tf.maximum(most, tf.reduce_max(w, axis=-1, keepdims=True))
        w, kept = tf.exp(w - larger), tf.exp(most - larger)
        return i + 1, larger, total * kept + tf.reduce_sum(w, axis=-1, keepdims=True), y * kept + tf.cast(tf.matmul(tf.cast(w, v.dtype), v), tf.float32)

    nothing = tf.zeros([*q.shape[:3], 1])
    steps = tf.reduce_max(positions) // size + 1
    start = tf.maximum(0, tf.reduce_min(positions) - window + 1) // size if window else 0
    _, _, total, y = tf.while_loop(lambda i, *_: i < steps, read, (start, nothing - 1e30, nothing, tf.zeros(q.shape)))
    return merge_heads(tf.cast(y / total, q.dtype))


def keep_all(f):
    """f as it is: what Ops.lean is where nothing needs to be computed again."""
    return f


def drop_none(x, place, part=0):
    """x as it is: what Ops.drop is outside training."""
    return x


class Ops(NamedTuple):
    """What a layer is made of. Training swaps these for functions that give the same numbers in less memory (fused.training_ops).

    lean(f): f, of which only the arguments are kept for the way back. drop(x, place, part): dropout; each place, and each part of it, draws
    its own.
    """
    norm: Callable = norm
    gelu: Callable = gelu
    look: Callable = look
    lean: Callable = keep_all
    drop: Callable = drop_none

    def of(self, hparams):
        """The same, with the model's own activation function and epsilon where these are not GPT-2's."""
        norm_ = {} if hparams.layer_norm_epsilon == HParams.layer_norm_epsilon else {'norm': partial(norm, epsilon=hparams.layer_norm_epsilon)}
        gelu_ = {} if hparams.activation_function == HParams.activation_function else {'gelu': FUNCTIONS[hparams.activation_function]}
        return self._replace(**norm_, **gelu_)


def attn(x, p, ln, *, remember, mask, hparams, ops, place):
    """Layer norm and masked multi-head self-attention.

    remember(k, v) takes the new keys and values [batch, head, sequence, features] and returns all there are, as ops.look takes them;
    mask [sequence, all] is true where a position may look. place: ops.drop's first of three.
    """
    heads = ops.lean(lambda x, ln, p: split_heads(conv1d(ops.norm(x, ln), p), 3 * hparams.n_head))(x, ln, p['c_attn'])
    q, k, v = tf.split(heads, 3, axis=1)                                 # [batch, head, sequence, features]
    y = ops.look(q, *remember(k, v), mask, lambda w, part=0: ops.drop(w, place, part))
    return ops.drop(conv1d(y, p['c_proj']), place + 1)


def mlp(x, p, ln, *, ops, place):
    """Layer norm, then [batch, sequence, n_embd] -> the same, through n_inner."""
    h = ops.lean(lambda x, ln, p: conv1d(ops.norm(x, ln), p))(x, ln, p['c_fc'])
    return ops.drop(ops.lean(lambda h, p: conv1d(ops.gelu(h), p))(h, p['c_proj']), place)


def block(x, p, *, remember, mask, hparams, ops=Ops(), place=0):
    """One layer: attention, then mlp, each added to the stream. place: ops.drop's first of three in this layer."""
    # add_n, for the way back of + would keep both sides to know their shapes
    x = tf.add_n([x, attn(x, p['attn'], p['ln_1'], remember=remember, mask=mask, hparams=hparams, ops=ops, place=place)])
    return tf.add_n([x, mlp(x, p['mlp'], p['ln_2'], ops=ops, place=place + 2)])


def token_types(hparams, X, speaker=None):
    """The token type at each position: the latest of hparams.type_tokens in X [batch, sequence] at or before it; in front of the
    first, `speaker` [batch], what came before X; -1: none. Wolf et al. 2019, arXiv:1901.08149, section 3. -> [batch, sequence] int32."""
    X = tf.cast(X, tf.int32)
    positions = tf.range(tf.shape(X)[1])
    marks = tf.where(tf.reduce_any(X[..., None] == tf.constant(hparams.type_tokens, tf.int32), axis=-1), positions, -1)     # [batch, sequence]
    latest = tf.reduce_max(tf.where(positions <= positions[:, None], marks[:, None, :], -1), axis=-1)
    before = -tf.ones_like(X) if speaker is None else tf.broadcast_to(speaker[:, None], tf.shape(X))
    return tf.where(latest >= 0, tf.gather(X, tf.maximum(latest, 0), batch_dims=1), before)


def hidden(hparams, params, X, past=None, past_length=None, speaker=None, *, dtype=tf.float32, ops=Ops(), wrap=None):
    """Token ids to the last layer norm's output: model without the logits.

    dtype: of the activations. ops: what the layers are made of.
    wrap: makes of a layer, a function of (h, its weights, mask, place), what stands for it (fused.one_graph, for training).
    Returns (h [batch, sequence, n_embd], present) with `present` as in model; None under `wrap`, which has no cache.
    """
    ops, sequence = ops.of(hparams), tf.shape(X)[1]
    before = 0 if past is None else tf.shape(past)[-2] if past_length is None else past_length
    positions = tf.reshape(before, [-1, 1]) + tf.range(sequence)         # [1 or batch, sequence]
    wte, wpe = (tf.convert_to_tensor(params[name]) for name in ('wte', 'wpe'))      # of a variable itself, tf.gather would make every other read a copy
    h = tf.gather(wte, X) + tf.gather(wpe, positions)
    if hparams.type_tokens:
        types = token_types(hparams, X, speaker)
        h += tf.where(types[..., None] >= 0, tf.gather(wte, tf.maximum(types, 0)), 0.)
    h = ops.drop(tf.cast(h, dtype), 3 * hparams.n_layer)
    if past_length is None:
        masks = {window: visible(tf.range(before + sequence), positions[0, :, None], window) for window in {*hparams.windows} or {0}}      # [sequence, all]
    else:
        positions, masks = tf.broadcast_to(positions, X.shape), {}
        ops = ops._replace(look=lambda q, past, layer, mask, drop: look_back(q, past, layer, positions, hparams.window(layer)))

    presents = []
    alone = wrap and wrap(lambda x, p, mask, place: block(x, p, remember=lambda k, v: (k, v), mask=mask, hparams=hparams, ops=ops, place=place))
    for layer in range(hparams.n_layer):

        def remember(k, v):                             # [batch, head, sequence, features], twice
            nonlocal past
            if past_length is not None:                 # a static cache: written in place, and read by look_back
                past = write(past, layer, k, v, positions[:, 0])
                return past, layer
            presents.append(tf.stack([k, v], axis=1))
            if past is not None:
                k, v = (tf.concat([past[:, layer, i], new], axis=-2) for i, new in enumerate((k, v)))
            return k, v

        mask = masks.get(hparams.window(layer))
        if wrap is None:
            h = block(h, params[f'h{layer}'], remember=remember, mask=mask, hparams=hparams, ops=ops, place=3 * layer)
        else:
            h = alone(h, params[f'h{layer}'], mask, 3 * layer)

    present = past if past_length is not None else tf.stack(presents, axis=1) if presents else None
    return ops.norm(h, params['ln_f']), present


def logits(params, h):
    """[..., n_embd] -> [..., n_vocab] float32, by the transposed embedding matrix, or that of the logits where they have their own."""
    w = tf.cast(params.get('lm_head', params['wte']), h.dtype)
    flat_h = tf.reshape(h, [-1, w.shape[1]])
    y = tf.matmul(flat_h, w, transpose_b=True)
    return tf.cast(tf.reshape(y, tf.concat([tf.shape(h)[:-1], [w.shape[0]]], axis=0)), tf.float32)


def model(hparams, params, X, past=None, past_length=None, speaker=None):
    """The language model: ids in, logits for each next token out.

    X [batch, sequence] integer ids.
    past: keys and values of the positions before X. Without past_length it holds exactly those, [batch, n_layer, 2, n_head,
        past, features]. With past_length (a scalar, or one for each row) it is a static cache [batch, n_layer, 2, n_head, n_ctx,
        features] of which the first past_length positions are filled; that form needs XLA, and past_length + sequence <= n_ctx. A row at -1
        is nobody's: it is left as it is, and its logits mean nothing.
    speaker: [batch], the token type of the position before X, for a model with type_tokens and a past; -1 or None: none.
    Returns {'logits': [batch, sequence, n_vocab] float32, 'present': ...}: the keys and values of X alone, or, with
        past_length, the whole cache with those of X written into it.
    """
    h, present = hidden(hparams, params, X, past, past_length, speaker)
    return {'logits': logits(params, h), 'present': present}

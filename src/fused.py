"""What training computes in another way than sampling does, with the same numbers: less memory, fewer passes over it.

    training_ops    the pieces of a layer (model.Ops), which keep their arguments only and compute the rest again on the way back
    one_graph       a layer as one graph that all layers call
    cross_entropy   the loss and its gradient at once, in blocks of positions, so that the logits of a batch are never all there;
    losses          the loss alone

Recomputation: Chen et al. 2016, arXiv:1604.06174. Attention in blocks, its weights computed twice and never kept: Dao et al. 2022,
arXiv:2205.14135, section 3.1; a block of queries skips the keys behind it, which causality masks in any case.

On a CPU, oneDNN's matrix products are the fastest there are but all between them is one pass over memory per operation. So the
pieces between two products become XLA programs of their own (`compiled`), within a TensorFlow graph.
"""
import math
from functools import partial

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from . import model

QUERIES = 256                                           # positions of a block of attention
LOGITS = 26e6                                           # bytes of the logits of a block of the loss, before its positions are rounded up
ROWS = 32                                               # of which the positions of such a block are a multiple
PARTS = 4                                               # in which wte's gradient grows: each block's is there for one part at a time

program = partial(tf.function, jit_compile=True, autograph=False)                   # of XLA


def compiled(f, gradient):
    """f as one XLA program and gradient(dy, *arguments) as another: only the arguments are kept."""
    forward, backward = program(f), program(gradient)

    @tf.custom_gradient
    def call(*arguments):
        return forward(*arguments), lambda dy: backward(dy, *arguments)

    return call


def norm_gradient(dy, x, g, b):
    """Of model.norm by x, g and b."""
    x32, dy32 = tf.cast(x, tf.float32), tf.cast(dy, tf.float32)
    mean = tf.reduce_mean(x32, axis=-1, keepdims=True)
    deviation = x32 - mean
    scale = tf.math.rsqrt(tf.reduce_mean(tf.square(deviation), axis=-1, keepdims=True) + model.HParams.layer_norm_epsilon)
    y = deviation * scale                               # before g and b
    d = dy32 * g
    dx = (d - tf.reduce_mean(d, axis=-1, keepdims=True) - y * tf.reduce_mean(d * y, axis=-1, keepdims=True)) * scale
    rows = list(range(len(x.shape) - 1))
    return tf.cast(dx, x.dtype), tf.reduce_sum(dy32 * y, axis=rows), tf.reduce_sum(dy32, axis=rows)


def gelu_gradient(dy, x):
    """Of model.gelu by x."""
    x32 = tf.cast(x, tf.float32)
    t = tf.tanh(model.GELU * (x32 + model.CUBIC * x32 * x32 * x32))
    slope = 0.5 * (1 + t) + 0.5 * x32 * (1 - t * t) * model.GELU * (1 + 3 * model.CUBIC * x32 * x32)
    return tf.cast(tf.cast(dy, tf.float32) * slope, x.dtype)


def recomputed(f):
    """f of tensors, or nested dicts of them, of which only these are kept for the way back. As tf.recompute_grad, whose additions to the arguments
    make XLA keep the order; in a TensorFlow graph, a dependency does that without a pass over memory."""
    def call(*arguments):
        @tf.custom_gradient
        def again(*tensors):
            def gradient(dy):
                dy, *again = _behind('graph', dy, *tensors)
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(again)
                    y = f(*tf.nest.pack_sequence_as(arguments, again))
                return tape.gradient(y, again, dy)
            return f(*tf.nest.pack_sequence_as(arguments, tensors)), gradient
        return again(*map(tf.convert_to_tensor, tf.nest.flatten(arguments)))
    return call


def one_graph(layer, trained, again):
    """layer(x, p, mask, place) as a graph that all layers call, and another for the way back. In a single one, 12 layers would be 13,000 operations
    that take 0.1 GB and half the time of the first step. trained: the variables that learn. again: only x and p are kept for the way back."""
    trained = {v.ref() for v in trained}

    @partial(tf.function, autograph=False, experimental_attributes={'_noinline': True})
    def graph(x, p, mask, place, learns):
        weights = [w if learn else tf.stop_gradient(w) for w, learn in zip(tf.nest.flatten(p), learns)]
        return layer(x, tf.nest.pack_sequence_as(p, weights), mask, place)

    def call(x, p, mask, place):
        place = tf.cast(place + tf.minimum(tf.size(x), 0), tf.int64)    # no constant: for each of these TensorFlow would make a graph of its own
        learns = tuple(v.ref() in trained for v in tf.nest.flatten(p))
        one = lambda x, p: graph(x, p, mask, place, learns)
        return (recomputed(one) if again else one)(x, tf.nest.map_structure(tf.convert_to_tensor, p))

    return call


def recomputed_xla(f):
    """recomputed within an XLA program; of the arguments behind the first, variables alone get gradients."""
    return lambda x, *others: tf.recompute_grad(lambda x: f(x, *others))(x)


def score_gradient(w, dw, d):
    """Of softmax by its argument, from its result w, the gradient dw of that, and d, the sum of w * dw over the last axis."""
    return tf.cast(tf.cast(w, tf.float32) * (tf.cast(dw, tf.float32) - d), w.dtype)


def look_in_blocks(blocks, *, fuse=False, order='graph'):
    """model.look of as many queries as keys, in so many blocks of queries, each of which looks only as far as it may; and its gradient, which
    weighs again. The sum over all keys that softmax's gradient needs is one over the features: of the result times its gradient (Dao 2023,
    arXiv:2307.08691, algorithm 2). The rest: training_ops's."""
    through_softmax = program(score_gradient) if fuse else score_gradient

    def look(q, k, v, mask, drop=None):
        n = tf.shape(q)[2] if q.shape[2] is None else q.shape[2]
        ends = [n * i // blocks for i in range(blocks + 1)]
        sizes = [stop - start for start, stop in zip(ends, ends[1:])]
        drop = drop or (lambda w, part: w)

        def parts(i, q, *others):
            """Block i of the queries, and all that it may look at of the others."""
            return q[:, :, ends[i]:ends[i + 1]], *(x[:, :, :ends[i + 1]] for x in others)

        def weigh(i, q, k):
            return model.weigh(q, k, mask[ends[i]:ends[i + 1], :ends[i + 1]])

        def one(i, q, k, v):
            q, k, v = parts(i, q, k, v)
            return tf.matmul(drop(weigh(i, q, k), part=i), v)

        @tf.custom_gradient
        def whole(q, k, v):
            y = model.merge_heads(tf.concat([one(i, q, k, v) for i in range(blocks)], axis=2))

            def gradient(dy):
                d = tf.reduce_sum(model.split_heads(tf.cast(dy, tf.float32) * tf.cast(y, tf.float32), q.shape[1]), axis=-1, keepdims=True)
                dy, *kept = _behind(order, dy, q, k, v)
                dy, scale, dq, dk, dv = model.split_heads(dy, q.shape[1]), tf.cast(math.sqrt(q.shape[3]), q.dtype), [], [], []
                for i in range(blocks):
                    q_, k_, v_ = parts(i, *kept)
                    dy_, d_ = (x[:, :, ends[i]:ends[i + 1]] for x in (dy, d))
                    w = weigh(i, q_, k_)
                    ds = through_softmax(w, drop(tf.matmul(dy_, v_, transpose_b=True), part=i), d_)
                    dq.append(tf.matmul(ds, k_) / scale)
                    for found, of_keys in ((dk, tf.matmul(ds, q_ / scale, transpose_a=True)), (dv, tf.matmul(drop(w, part=i), dy_, transpose_a=True))):
                        found.append(tf.split(of_keys, sizes[:i + 1], axis=2, num=i + 1))
                together = lambda found: tf.concat([tf.add_n([of_block[j] for of_block in found[j:]]) for j in range(blocks)], axis=2)
                return tf.concat(dq, axis=2), together(dk), together(dv)

            return y, gradient

        return whole(q, k, v)

    return look


def _behind(order, *tensors):
    """The same tensors, of which nothing is computed before the first of them is there: what is computed again is not computed early, nor only once."""
    if order == 'xla':
        return xla.optimization_barrier(*tensors)
    with tf.control_dependencies(tensors[:1]):
        return [tf.identity(x) for x in tensors]


def training_ops(*, blocks=1, fuse=False, order='graph', drop=model.drop_none):
    """model.Ops for training.

    blocks: of attention. fuse: compile what lies between matrix products. order: 'graph' or 'xla', which keep the order of a
    recomputation in different ways. drop: as in model.Ops.
    """
    again = recomputed_xla if order == 'xla' else recomputed
    norm, gelu = model.norm, model.gelu
    if fuse:
        compiled_norm = compiled(lambda x, g, b: model.norm(x, {'g': g, 'b': b}), norm_gradient)
        norm = lambda x, p: compiled_norm(x, tf.convert_to_tensor(p['g']), tf.convert_to_tensor(p['b']))
        gelu = compiled(model.gelu, gelu_gradient)
    return model.Ops(norm=norm, gelu=gelu, look=look_in_blocks(blocks, fuse=fuse, order=order), lean=again, drop=drop)


def cross_entropy(h, wte, labels, weights, *, smoothing=0.0, blocks=1, learn_wte=True):
    """-log p(label) at each position, and the gradients of its weighted sum.

    h [n, n_embd], wte [n_vocab, n_embd], labels [n], weights [n]. smoothing: the share of the label's probability that is
    spread over all tokens (Szegedy et al. 2016, arXiv:1512.00567, section 7). blocks: of positions.
    Returns (losses [n] float32, gradient of h, gradient of wte in float32 or None without learn_wte).

    The logits have the vocabulary in front: the large matrix of each product is then the left one, which matrix units take as it lies.
    """
    score, add = program(partial(_block_loss, smoothing=smoothing)), tf.add if h.dtype == tf.float32 else program(_add)
    n, (n_vocab, n_embd) = tf.shape(h)[0], wte.shape
    w = tf.cast(tf.convert_to_tensor(wte), h.dtype)     # read once, not in each block
    h, labels, weights = (_in_blocks(x, blocks) for x in (h, labels, weights))
    sizes = [n_vocab * (i + 1) // PARTS - n_vocab * i // PARTS for i in range(PARTS)]

    def body(i, losses, dh, dwte):                      # a loop, for blocks at once would need the memory that they save
        logits = tf.matmul(w, h[i], transpose_b=True)                    # [n_vocab, rows]
        loss, d = score(logits, labels[i], weights[i])
        sums = []
        for total, part in zip(dwte, tf.split(d, sizes)):
            with tf.control_dependencies(sums[-1:]):    # one after the other
                of_block = tf.matmul(part, h[i])
                sums.append(tf.cast(of_block, tf.float32) if total is None else add(total, of_block))
        return i + 1, losses.write(i, loss), dh.write(i, tf.matmul(d, w, transpose_a=True)), sums

    arrays = tf.TensorArray(tf.float32, blocks, element_shape=[None]), tf.TensorArray(h.dtype, blocks, element_shape=[None, n_embd])
    first = body(0, *arrays, [None] * PARTS if learn_wte else [])
    _, losses, dh, dwte = tf.while_loop(lambda i, *_: i < blocks, body, first, parallel_iterations=1)
    return tf.reshape(losses.stack(), [-1])[:n], tf.reshape(dh.stack(), [-1, n_embd])[:n], tf.concat(dwte, axis=0) if learn_wte else None


def losses(h, wte, labels, *, blocks=1):
    """cross_entropy's losses alone, [n] float32."""
    w = tf.cast(tf.convert_to_tensor(wte), h.dtype)

    def block_losses(block):
        h, labels = block
        logits = tf.cast(tf.matmul(h, w, transpose_b=True), tf.float32)  # [rows, n_vocab]
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    found = tf.map_fn(block_losses, (_in_blocks(h, blocks), _in_blocks(labels, blocks)), parallel_iterations=1, fn_output_signature=tf.float32)
    return tf.reshape(found, [-1])[:tf.shape(h)[0]]


def loss_blocks(tokens, n_vocab, size):
    """Into how many blocks of positions so many tokens go, at so many bytes a logit."""
    return max(1, math.ceil(tokens * n_vocab * size / LOGITS))


def _in_blocks(x, blocks):
    """[n, ...] -> [blocks, rows, ...], filled up with zeros; where there are several, the rows are a multiple of what matrix units take at once."""
    n = tf.shape(x)[0]
    rows = -(-n // blocks)
    if blocks > 1:
        rows = -(-rows // ROWS) * ROWS
    return tf.reshape(tf.pad(x, [[0, blocks * rows - n]] + [[0, 0]] * (len(x.shape) - 1)), [blocks, rows, *x.shape[1:]])


def _block_loss(logits, labels, weights, smoothing):
    """logits [n_vocab, n] -> losses [n], and the gradient of their weighted sum by the logits."""
    n_vocab, n = logits.shape[0], tf.shape(logits)[1]
    z = tf.cast(logits, tf.float32)
    of_label = tf.gather_nd(z, tf.stack([labels, tf.range(n)], axis=1))
    total = tf.reduce_sum(tf.exp(z - of_label), axis=0)                  # without a pass for the largest: it is finite if no loss is above 88 nats
    normalizer = tf.cond(tf.reduce_all(tf.math.is_finite(total)), lambda: of_label + tf.math.log(total),
                         lambda: tf.reduce_logsumexp(tf.cast(logits, tf.float32), axis=0))           # not of z, which would be written out for this
    d = tf.exp(z - normalizer) - tf.where(tf.range(n_vocab)[:, None] == labels, 1 - smoothing, 0.0)
    losses = normalizer - of_label
    if smoothing:
        losses += smoothing * (of_label - tf.reduce_mean(z, axis=0))
        d -= smoothing / n_vocab
    return losses, tf.cast(d * weights, logits.dtype)


def _add(total, x):
    """In one pass over memory, without x in total's type."""
    return total + tf.cast(x, total.dtype)

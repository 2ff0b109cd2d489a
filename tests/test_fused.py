"""The pieces of the training step against the plain ones: the same numbers, the same gradients."""
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from reference import rough_params

from src import fused, model
from src.model import HParams

SMALL = HParams(n_vocab=61, n_ctx=16, n_embd=16, n_head=2, n_layer=2)
DRAW = np.random.default_rng(0)


def normal(*shape):
    return tf.constant(DRAW.standard_normal(shape), tf.float32)


def gradients(f, *arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        y = f(*arguments)
        total = tf.reduce_sum(y * tf.reshape(tf.cos(tf.cast(tf.range(tf.size(y)), tf.float32)), tf.shape(y)))       # each element weighs differently
    return [y, *tape.gradient(total, arguments)]


def assert_same(ours, theirs, tolerance=1e-5):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def test_written_gradients_are_those_of_autodiff():
    x, g, b = normal(3, 5, 16), normal(16), normal(16)
    plain_norm = lambda x, g, b: model.norm(x, {'g': g, 'b': b})
    assert_same(gradients(fused.compiled(plain_norm, fused.norm_gradient), x, g, b), gradients(plain_norm, x, g, b))
    assert_same(gradients(fused.compiled(model.gelu, fused.gelu_gradient), 3 * x), gradients(model.gelu, 3 * x))


def test_recomputed_runs_again_on_the_way_back_and_gives_the_same():
    runs = []

    def f(x, w):
        runs.append(1)
        return tf.tanh(x @ w)

    x, w = normal(4, 3), normal(3, 2)
    ours = gradients(tf.function(lambda x, w: fused.recomputed(lambda x, p: f(x, p['w']))(x, {'w': w})), x, w)
    assert len(runs) == 2
    assert_same(ours, gradients(f, x, w))


@pytest.mark.parametrize('order', ['graph', 'xla'])
@pytest.mark.parametrize('fuse', [False, True])
@pytest.mark.parametrize('n, blocks', [(1, 3), (5, 3), (12, 1), (12, 4)])
def test_attention_in_blocks_is_attention(n, blocks, fuse, order):
    q, k, v = normal(2, 2, n, 4), normal(2, 2, n, 4), normal(2, 2, n, 4)
    compile = partial(tf.function, autograph=False, jit_compile=order == 'xla')
    for window, dropped in ((0, False), (3, True)):
        mask = model.visible(tf.range(n), tf.range(n)[:, None], window)
        kept = tf.constant(DRAW.integers(2, size=[2, 2, n, n]) * 2., tf.float32)
        ends = [n * i // blocks for i in range(blocks + 1)]
        drop_part = (lambda w, part: w * kept[:, :, ends[part]:ends[part + 1], :ends[part + 1]]) if dropped else None
        whole = gradients(lambda q, k, v: model.look(q, k, v, mask, (lambda w: w * kept) if dropped else None), q, k, v)
        look = fused.look_in_blocks(blocks, fuse=fuse, order=order)
        assert_same(compile(lambda *a: gradients(lambda q, k, v: look(q, k, v, mask, drop_part), *a))(q, k, v), whole)


def test_attention_keeps_no_weights_for_the_way_back():
    """Between the way there and the way back there are q, k, v and the result alone."""
    q = normal(1, 2, 12, 4)
    mask = model.visible(tf.range(12), tf.range(12)[:, None])
    graph = tf.function(lambda q: gradients(lambda q: fused.look_in_blocks(3)(q, q, q, mask), q), autograph=False).get_concrete_function(q).graph
    softmaxes = [op for op in graph.get_operations() if op.type == 'Softmax']
    assert len(softmaxes) == 6                          # three blocks, twice
    first = {op.name for op in softmaxes[:3]}
    assert all(user.type == 'BatchMatMulV2' and len([n for n in first if n in user.node_def.input]) == 1 for op in softmaxes[:3] for user in op.outputs[0].consumers())
    assert all(len(op.outputs[0].consumers()) == 1 for op in softmaxes[:3])


@pytest.mark.parametrize('fuse', [False, True])
def test_a_layer_of_training_is_a_layer(fuse):
    params, X = rough_params(SMALL), DRAW.integers(61, size=[3, 16])
    variables = list(model.flat(params).values())

    def run(**options):
        with tf.GradientTape() as tape:
            h, _ = model.hidden(SMALL, params, X, **options)
            total = tf.reduce_sum(tf.square(h))
        return [h, *map(tf.convert_to_tensor, tape.gradient(total, variables, unconnected_gradients='zero'))]

    ops = fused.training_ops(blocks=2, fuse=fuse)
    for wrap in (None, *(partial(fused.one_graph, trained=variables, again=again) for again in (False, True))):
        trained = tf.function(lambda: run(ops=ops, wrap=wrap), autograph=False)
        assert_same(trained(), run(), 2e-3)


@pytest.mark.parametrize('again', [False, True])
def test_layers_in_one_graph_give_gradients_of_what_learns_and_of_nothing_else(again):
    params, X = rough_params(SMALL), DRAW.integers(61, size=[3, 16])
    flat = model.flat(params)
    learns = [value for name, value in flat.items() if name.startswith('h1/attn')]

    def run(**options):
        with tf.GradientTape(persistent=True) as tape:
            total = tf.reduce_sum(tf.square(model.hidden(SMALL, params, X, **options)[0]))
        return tape.gradient(total, learns), tape.gradient(total, [flat['h0/mlp/c_fc/w'], flat['h1/mlp/c_fc/w']])

    trained = tf.function(lambda: run(ops=fused.training_ops(), wrap=partial(fused.one_graph, trained=learns, again=again)), autograph=False)
    found, none = trained()
    assert_same(found, run()[0], 2e-3)
    assert none == [None, None]


@pytest.mark.parametrize('again', [False, True])
def test_layers_in_one_graph_are_one_graph(again):
    """All layers call the same function with nothing constant, for which TensorFlow would make one function for each."""
    calls = layer_calls(again).values()
    there, back = ([op for op in calls if ('backward' in op.get_attr('f').name) == way] for way in (False, True))
    assert len(back) == 3 and len({op.get_attr('f').name for op in back}) == 1
    assert len(there) == (6 if again else 3) and len({op.get_attr('f').name for op in there}) == (2 if again else 1)
    assert not any(x.op.type == 'Const' for op in calls for x in op.inputs)


def test_a_layer_keeps_what_it_computes_again_from_and_no_more():
    """Of its activations, the way back gets its input, the sum after attention, q, k, v and attention's result, and what the mlp's activation
    function takes; the layer's own result is the eighth."""
    call = next(op for name, op in layer_calls(again=False).items() if 'forward' in op.get_attr('f').name)
    [function] = [f for f in call.graph.as_graph_def().library.function if f.signature.name == call.get_attr('f').name]
    nodes = {node.name: node for node in function.node_def}
    shapes = {output.name: tensor.shape for output, tensor in zip(function.signature.output_arg, call.outputs, strict=True)}

    def source(name):                                   # of what is the same numbers
        node = name.split(':')[0]
        if node in nodes and nodes[node].op in ('Identity', 'IdentityN', 'Reshape'):
            return source(nodes[node].input[int(name.split(':')[-1]) if nodes[node].op == 'IdentityN' else 0])
        return name

    kept = {source(name) for output, name in function.ret.items() if shapes[output].rank and shapes[output].rank > 2 and shapes[output][0] is None}
    assert len(kept) == 8, kept


def layer_calls(again):
    """{name: operation}: the calls of functions in the graph of three layers and their gradients."""
    hparams = replace(SMALL, n_layer=3)
    params = rough_params(hparams)
    variables = list(model.flat(params).values())
    wrap = partial(fused.one_graph, trained=variables, again=again)

    def run(X):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model.hidden(hparams, params, X, ops=fused.training_ops(), wrap=wrap)[0])
        return [g for g in tape.gradient(total, variables) if g is not None]

    graph = tf.function(run, autograph=False, input_signature=[tf.TensorSpec([None, None], tf.int32)]).get_concrete_function().graph
    return {op.name: op for op in graph.get_operations() if op.type == 'PartitionedCall'}


# ---- the loss

def plain_loss(h, wte, labels, weights, smoothing=0.0):
    logits = tf.matmul(h, wte, transpose_b=True)
    targets = (1 - smoothing) * tf.one_hot(labels, wte.shape[0]) + smoothing / wte.shape[0]
    losses = tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits)
    return losses, tf.reduce_sum(losses * weights)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
@pytest.mark.parametrize('blocks', [1, 3, 7])
def test_the_loss_in_blocks_and_its_gradients(smoothing, blocks):
    """Seventy positions in 1, 3 and 7 blocks: the last one of 3 is filled up, and of 7 some are nothing else."""
    h, wte = normal(70, 16), normal(61, 16)
    labels, weights = tf.constant(DRAW.integers(61, size=70), tf.int32), tf.constant([1, 0, 1, 0.5, 1, 1, 2] * 10, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([h, wte])
        losses, total = plain_loss(h, wte, labels, weights, smoothing)
    expected = [losses, *tape.gradient(total, [h, wte])]
    assert_same(fused.cross_entropy(h, wte, labels, weights, smoothing=smoothing, blocks=blocks), expected, 2e-5)
    assert fused.cross_entropy(h, wte, labels, weights, blocks=blocks, learn_wte=False)[2] is None
    if not smoothing:
        np.testing.assert_allclose(fused.losses(h, wte, labels, blocks=blocks), losses, rtol=0, atol=2e-5)


@pytest.mark.parametrize('whole', [False, True])
def test_losses_above_88_nats(whole):
    """exp of what is that much above the label's logit is no float32: the largest is looked for then. whole: in a program of XLA, as on a GPU."""
    h, wte, labels, weights = normal(40, 16) * ([[1]] * 20 + [[20]] * 20), normal(61, 16), tf.constant(DRAW.integers(61, size=40), tf.int32), tf.ones(40)
    with tf.GradientTape() as tape:
        tape.watch([h, wte])
        losses, total = plain_loss(h, wte, labels, weights)
    expected = [losses, *tape.gradient(total, [h, wte])]
    assert max(losses) > 100 > 20 > min(losses)
    loss = tf.function(partial(fused.cross_entropy, blocks=2), jit_compile=whole)
    for found, wanted in zip(loss(h, wte, labels, weights), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-3)
    assert not np.isfinite(loss(h * [[np.nan]] * 40, wte, labels, weights)[0]).any()


def test_the_logits_are_never_all_there():
    """In the graph of the loss and the functions that it calls, no tensor has as many elements as all logits together."""
    h, wte = tf.TensorSpec([256, 16]), tf.TensorSpec([61, 16])
    labels, weights = tf.TensorSpec([256], tf.int32), tf.TensorSpec([256])
    graph = tf.function(lambda *a: fused.cross_entropy(*a, blocks=8)).get_concrete_function(h, wte, labels, weights).graph
    inside = graph.as_graph_def(add_shapes=True).library.function
    outside = [t.shape for op in graph.get_operations() for t in op.outputs]
    inside = [tf.TensorShape(shape) for f in inside for node in f.node_def for shape in node.attr['_output_shapes'].list.shape]
    for shapes in (outside, inside):
        sizes = [s.num_elements() for s in shapes if s.rank == 2 and s[0] == 61]
        assert max(sizes) == 61 * 32

"""The original GPT-2 (OpenAI, February 2019) written out once more as a TensorFlow 1 graph, to compare ours with.

It shares no line with src/: variables by get_variable under the checkpoint's scopes, attention masked by w*b - 1e10*(1 - b), and
TensorFlow 1's own Saver and optimizers. A Reference has its graph and session to itself, so nothing else in the process changes.
"""
import os

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


# ---- the graph; dimensions: batch b, new positions t, all positions a, heads h, features f

def norm(x, scope):
    with v1.variable_scope(scope):
        n = x.shape[-1]
        g = v1.get_variable('g', [n], initializer=v1.constant_initializer(1))
        b = v1.get_variable('b', [n], initializer=v1.constant_initializer(0))
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(x - mean), axis=-1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + 1e-5) * g + b


def conv1d(x, scope, nf):
    """A convolution of width 1: each position times one matrix."""
    with v1.variable_scope(scope):
        nx = x.shape[-1]
        w = v1.get_variable('w', [1, nx, nf], initializer=v1.random_normal_initializer(stddev=0.02))
        b = v1.get_variable('b', [nf], initializer=v1.constant_initializer(0))
        y = tf.matmul(tf.reshape(x, [-1, nx]), tf.reshape(w, [-1, nf])) + b
        return tf.reshape(y, [tf.shape(x)[0], tf.shape(x)[1], nf])


def gelu(x):
    return 0.5 * x * (1 + tf.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * tf.pow(x, 3))))


def attention(x, past, hparams):
    """x [b, t, n_embd], past [b, 2, h, a - t, f] or None -> (the same shape as x, the new keys and values [b, 2, h, t, f])."""
    with v1.variable_scope('attn'):
        b, t = tf.shape(x)[0], tf.shape(x)[1]
        heads = [b, t, hparams.n_head, hparams.n_embd // hparams.n_head]
        q, k, v = (tf.transpose(tf.reshape(z, heads), [0, 2, 1, 3]) for z in tf.split(conv1d(x, 'c_attn', 3 * hparams.n_embd), 3, axis=2))
        present = tf.stack([k, v], axis=1)
        if past is not None:
            k, v = tf.concat([past[:, 0], k], axis=-2), tf.concat([past[:, 1], v], axis=-2)
        w = tf.matmul(q, k, transpose_b=True) * tf.math.rsqrt(tf.cast(v.shape[-1], tf.float32))
        a = tf.shape(w)[-1]
        see = tf.cast(tf.range(t)[:, None] >= tf.range(a) - a + t, tf.float32)[None, None]
        w = tf.nn.softmax(w * see - 1e10 * (1 - see))
        y = tf.reshape(tf.transpose(tf.matmul(w, v), [0, 2, 1, 3]), [b, t, hparams.n_embd])
        return conv1d(y, 'c_proj', hparams.n_embd), present


def model(hparams, X, past):
    """X [b, t], past [b, n_layer, 2, h, a - t, f] or None -> logits [b, t, n_vocab], present like past for the new positions."""
    with v1.variable_scope('model'):
        wpe = v1.get_variable('wpe', [hparams.n_ctx, hparams.n_embd], initializer=v1.random_normal_initializer(stddev=0.01))
        wte = v1.get_variable('wte', [hparams.n_vocab, hparams.n_embd], initializer=v1.random_normal_initializer(stddev=0.02))
        b, t = tf.shape(X)[0], tf.shape(X)[1]
        before = 0 if past is None else tf.shape(past)[-2]
        h = tf.gather(wte, X) + tf.gather(wpe, tf.tile((before + tf.range(t))[None], [b, 1]))
        presents = []
        for layer in range(hparams.n_layer):
            with v1.variable_scope(f'h{layer}'):
                y, present = attention(norm(h, 'ln_1'), None if past is None else past[:, layer], hparams)
                h += y
                y = norm(h, 'ln_2')
                with v1.variable_scope('mlp'):
                    h += conv1d(gelu(conv1d(y, 'c_fc', 4 * hparams.n_embd)), 'c_proj', hparams.n_embd)
                presents.append(present)
        h = norm(h, 'ln_f')
        logits = tf.matmul(tf.reshape(h, [-1, hparams.n_embd]), wte, transpose_b=True)
        return tf.reshape(logits, [b, t, hparams.n_vocab]), tf.stack(presents, axis=1)


class Reference:
    """The graph with its session. optimizer: one of v1.train, whose slots and global step then belong to the graph too."""

    def __init__(self, hparams, optimizer=None, seed=0):
        self.graph = tf.Graph()
        with self.graph.as_default():
            v1.set_random_seed(seed)
            self.X = v1.placeholder(tf.int32, [None, None])
            self.past = v1.placeholder(tf.float32, [None, hparams.n_layer, 2, hparams.n_head, None, hparams.n_embd // hparams.n_head])
            self.outputs = model(hparams, self.X, None)
            with v1.variable_scope('', reuse=True):
                self.continued = model(hparams, self.X, self.past)
            self.variables = v1.trainable_variables()
            self.loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.X[:, 1:], logits=self.outputs[0][:, :-1]))
            if optimizer is not None:                   # gated, as minimize has it: no update before every gradient is there
                self.update = optimizer.minimize(self.loss, global_step=v1.train.get_or_create_global_step())
            self.weights_saver, self.saver = v1.train.Saver(self.variables), v1.train.Saver()
            self.session = v1.Session()
            self.session.run(v1.global_variables_initializer())

    def restore(self, prefix):
        """The weights of the bundle `prefix`, through TensorFlow 1's Saver. Returns self."""
        with self.graph.as_default():
            self.weights_saver.restore(self.session, str(prefix))
        return self

    def save(self, path, step=None):
        """Everything there is, optimizer slots and global step included, as the forks' Saver writes it. Returns the prefix."""
        with self.graph.as_default():
            return self.saver.save(self.session, str(path), global_step=step, write_meta_graph=False)

    def weights(self):
        """{name: array}, names as in the checkpoint."""
        return dict(zip((variable.op.name for variable in self.variables), self.session.run(self.variables)))

    def run(self, X, past=None):
        """-> logits, present."""
        if past is None:
            return self.session.run(self.outputs, {self.X: X})
        return self.session.run(self.continued, {self.X: X, self.past: past})

    def train(self, batches):
        """The loss before each step, a step a batch [b, t]."""
        return np.array([self.session.run([self.loss, self.update], {self.X: batch})[0] for batch in batches])


# ---- what several tests need beside it

class Windows:
    """Batches in the order given, over and over, as batches.Batches would hand them out: (X, labels, weights)."""

    def __init__(self, windows):
        self.windows, self.i = windows, 0

    def next(self):
        X = np.asarray(self.windows[self.i % len(self.windows)], np.int32)
        self.i += 1
        labels, weights = np.zeros_like(X), np.zeros(X.shape, np.float32)
        labels[:, :-1], weights[:, :-1] = X[:, 1:], 1                   # behind the last token nothing is known
        return X, labels, weights


def rough_params(hparams, seed=0, scale=0.3):
    """Weights far from their start, gains and biases too, so that no term of the model can hide. Of src.model's form."""
    from src import model as ours
    draw = np.random.default_rng(seed)
    params = ours.init_params(hparams, seed)
    for name, value in ours.flat(params).items():
        value.assign_add(draw.standard_normal(value.shape, np.float32) * (scale / 3 if name.endswith('/w') else scale))
    return params


def save_rough(folder, hparams, seed=0):
    """A model folder with rough_params. Returns (params, prefix)."""
    from src import checkpoint
    params = rough_params(hparams, seed)
    return params, checkpoint.save(os.fspath(folder), hparams, params)

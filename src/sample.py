"""Logits -> tokens: the filters, the compiled step, and sample_sequence.

    logits / temperature -> top_k_logits -> top_p_logits -> pick            one token
    Generator.prefill: what was said, in one pass -> Cache
    Generator.decode: a token at a time, each from the one before           -> ids

One random number a token and row comes from NumPy, seeded by (seed, row): the same seed gives the same text, on any device
and whatever else is in the batch. The cache is static, [batch, n_layer, 2, n_head, n_ctx, features], and written in place, so a
token costs the same at every length, and each program is compiled once per batch size: settings are arguments, not constants.
"""
import numbers

import numpy as np
import tensorflow as tf

from . import model
from .console import UsageError

REMOVED = -1e10                                         # the logit of a token that a filter took out, as in the original
STEPS = 32                                              # tokens that one call of the compiled loop makes at most


# ---- filters: logits [batch, n_vocab] -> the same, unwanted tokens at REMOVED

def largest_threshold(logits, enough, wanted=True):
    """The largest t in each row, [batch, 1], such that enough(logits >= t) [batch, 1] is true; `enough` must stay true for smaller t.

    Halves the interval of float32 bit patterns, which are ordered as the numbers are, 32 times: exact, and without a sort.
    wanted: a scalar; where it is false, nothing is searched and the result is the smallest logit.
    """
    bits = tf.bitcast(tf.cast(logits, tf.float32), tf.int32)
    keys = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, 0x7fffffff), bits)          # negative floats count backwards

    def halve(i, low, high):
        middle = (tf.bitwise.right_shift(low, 1) + tf.bitwise.right_shift(high, 1)
                  + tf.bitwise.bitwise_and(tf.bitwise.bitwise_or(low, high), 1))       # the mean, rounded up, without overflow
        holds = enough(keys >= middle)
        return i + 1, tf.where(holds, middle, low), tf.where(holds, high, middle - 1)

    ends = tf.reduce_min(keys, axis=-1, keepdims=True), tf.reduce_max(keys, axis=-1, keepdims=True)
    rounds = tf.where(wanted, 32, 0)
    _, found, _ = tf.while_loop(lambda i, *_: i < rounds, halve, (0, *ends))
    return tf.bitcast(tf.where(found < 0, tf.bitwise.bitwise_xor(found, 0x7fffffff), found), tf.float32)


def top_k_logits(logits, k):
    """Keep the k most likely tokens (Fan et al. 2018, arXiv:1805.04833), and those as likely as the last of them; 0: all."""
    k = tf.convert_to_tensor(k, tf.int32)
    least = largest_threshold(logits, lambda kept: tf.reduce_sum(tf.cast(kept, tf.int32), -1, keepdims=True) >= k, k > 0)
    return tf.where(logits >= least, logits, REMOVED)


def top_p_logits(logits, p):
    """Keep the smallest set of most likely tokens whose probabilities reach p, the one that crosses p included; 0 and 1: all.

    Nucleus sampling: Holtzman et al. 2019, arXiv:1904.09751, section 3.1.
    """
    p = tf.convert_to_tensor(p, tf.float32)
    probabilities = tf.nn.softmax(logits)
    least = largest_threshold(logits, lambda kept: tf.reduce_sum(tf.where(kept, probabilities, 0.), -1, keepdims=True) >= p,
                              (p > 0) & (p < 1))
    return tf.where(logits >= least, logits, REMOVED)


def pick(logits, uniform):
    """Draw a token of each row by inverting the cumulative distribution. uniform [batch], in [0, 1) -> ids [batch] int32."""
    likely = tf.where(logits > REMOVED / 2, tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True)), 0.)
    cumulative = tf.cumsum(likely, axis=-1)
    total = tf.reduce_max(cumulative, axis=-1, keepdims=True)
    reached = (cumulative >= tf.minimum(uniform[:, None] * total, total)) & (likely > 0)
    return tf.argmax(tf.cast(reached, tf.int32), axis=-1, output_type=tf.int32)


def choose(logits, uniform, temperature, top_k, top_p):
    """The next token of each row, [batch] int32: the most likely one at temperature 0, else drawn from what the filters leave."""
    drawn = pick(top_p_logits(top_k_logits(logits / tf.maximum(temperature, 1e-6), top_k), top_p), uniform)
    return tf.where(temperature > 0, drawn, tf.argmax(logits, axis=-1, output_type=tf.int32))


def check_settings(temperature=1, top_k=0, top_p=1, length=1, batch_size=1, nsamples=1, seed=None):
    """Raise UsageError for a sampling setting that cannot be."""
    for name, value, fits, needs in (('temperature', temperature, lambda v: 0 <= v < float('inf'), 'a number from 0 (greedy) up'),
                                     ('top_k', top_k, lambda v: v >= 0 and v % 1 == 0, 'a whole number from 0 (off) up'),
                                     ('top_p', top_p, lambda v: 0 <= v <= 1, 'a number from 0 to 1 (both: off)'),
                                     ('length', length, lambda v: v >= 1 and v % 1 == 0, 'a whole number of tokens from 1 up'),
                                     ('batch_size', batch_size, lambda v: v >= 1 and v % 1 == 0, 'a whole number from 1 up'),
                                     ('nsamples', nsamples, lambda v: v >= 0 and v % 1 == 0, 'a whole number from 0 up'),
                                     ('seed', 0 if seed is None else seed, lambda v: v % 1 == 0, 'a whole number')):
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not fits(value):
            raise UsageError(f'--{name} {value} is out of range: it takes {needs}.')


def fresh_seed():
    """A random seed from the system."""
    return int(np.random.SeedSequence().entropy % 2 ** 31)


# ---- the compiled programs

class Cache:
    """Keys and values of the first `length` positions. To forget positions from the end, lower `length`."""

    def __init__(self, hparams, batch_size):
        self.values = tf.zeros([batch_size, hparams.n_layer, 2, hparams.n_head, hparams.n_ctx, hparams.n_embd // hparams.n_head])
        self.length = 0
        self._hparams = hparams
        self._types = np.full([batch_size, hparams.n_ctx + 1], -1, np.int32)    # [:, i + 1]: the token type at position i

    @property
    def speaker(self):
        """The token type of the last position, [batch]; -1: none."""
        return self._types[:, self.length]

    def grow(self, X):
        """The tokens X [batch, n] have come into `values`."""
        if self._hparams.type_tokens and X.shape[1]:
            self._types[:, self.length + 1:self.length + 1 + X.shape[1]] = model.token_types(self._hparams, tf.constant(X), tf.constant(self.speaker))
        self.length += X.shape[1]


class Generator:
    """A model ready to generate. Keep it: its programs are compiled at first use."""

    def __init__(self, hparams, params):
        self.hparams, self.params = hparams, params
        self._decode = tf.function(self._decode_steps, jit_compile=True, autograph=False)
        self._prefill = tf.function(self._prefill_step, autograph=False, input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, hparams.n_layer, 2, hparams.n_head, hparams.n_ctx, hparams.n_embd // hparams.n_head], tf.float32),
            tf.TensorSpec([], tf.int32), tf.TensorSpec([None], tf.int32)])

    def _prefill_step(self, X, values, length, speaker):
        """Any number of tokens in one pass, no compilation: the keys and values behind the first `length` become those of X."""
        past = values[..., :length, :]
        _, present = model.hidden(self.hparams, self.params, X, past, speaker=speaker)
        rest = self.hparams.n_ctx - length - tf.shape(X)[1]
        return tf.concat([past, present, tf.zeros_like(values[..., :rest, :])], axis=-2)

    def _decode_steps(self, last, values, length, speaker, uniforms, steps, temperature, top_k, top_p, stop):
        """`steps` tokens behind `last` [batch], or fewer when all rows have just made `stop`. -> ids [batch, STEPS], made, values."""

        def step(i, last, speaker, values, ids):
            out = model.model(self.hparams, self.params, last[:, None], values, length + i, speaker)
            if self.hparams.type_tokens:
                speaker = model.token_types(self.hparams, last[:, None], speaker)[:, 0]
            last = choose(out['logits'][:, 0], uniforms[:, i], temperature, top_k, top_p)
            return i + 1, last, speaker, out['present'], tf.where(tf.range(STEPS) == i, last[:, None], ids)

        made, _, _, values, ids = tf.while_loop(
            lambda i, last, *_: (i < steps) & ((i == 0) | tf.reduce_any(last != stop)),
            step, (0, last, speaker, values, tf.zeros([last.shape[0], STEPS], tf.int32)))
        return ids, made, values

    def prefill(self, cache, X):
        """Put the tokens X [batch, n] behind what is in the cache."""
        X = np.asarray(X, np.int32)
        if X.shape[1]:
            cache.values = self._prefill(X, cache.values, cache.length, cache.speaker)
            cache.grow(X)

    def decode(self, cache, last, draw, steps, *, temperature=1, top_k=0, top_p=1, stop=-1):
        """Up to `steps` (at most STEPS, and what the cache has room for) new tokens behind `last` [batch], which is not yet in the cache.

        draw: a Draw. Returns ids [batch, made]. The cache then holds `last` and all of them but the newest.
        """
        steps = min(steps, STEPS, self.hparams.n_ctx - cache.length)
        ids, made, cache.values = self._decode(
            tf.constant(last, tf.int32), cache.values, tf.constant(cache.length), tf.constant(cache.speaker), tf.constant(draw(steps)), tf.constant(steps),
            tf.constant(temperature, tf.float32), tf.constant(min(top_k, self.hparams.n_vocab), tf.int32), tf.constant(top_p, tf.float32), tf.constant(stop))
        ids = ids.numpy()[:, :int(made)]
        cache.grow(np.concatenate([np.reshape(last, [-1, 1]), ids[:, :-1]], axis=1).astype(np.int32))
        return ids


class Draw:
    """The random numbers of a batch: row r's come from NumPy's generator seeded with (seed, r).

    seed: a whole number, or a list of them; None: random.
    """

    def __init__(self, seed, batch_size):
        seeds = [abs(int(s)) for s in np.ravel(fresh_seed() if seed is None else seed)]
        self._rows = [np.random.default_rng([*seeds, row]) for row in range(batch_size)]

    def __call__(self, steps):
        """[batch, STEPS] float32 in [0, 1), of which `steps` are used up."""
        drawn = np.zeros([len(self._rows), STEPS], np.float32)
        drawn[:, :steps] = [row.random(steps, np.float32) for row in self._rows]
        return drawn


def stream(generator, context, *, length, temperature=1, top_k=0, top_p=1, seed=None, steps=STEPS):
    """Yield `length` new tokens behind context [batch, n >= 1] in arrays [batch, at most `steps`].

    Beyond n_ctx the window slides: the newer half of what it held is read anew, and generation goes on.
    """
    check_settings(temperature, top_k, top_p, length)
    n_ctx = generator.hparams.n_ctx
    window = np.asarray(context, np.int32)[:, -n_ctx:]
    draw = Draw(seed, len(window))
    cache = None
    while length > 0:
        if cache is None or cache.length == n_ctx:
            if cache is not None:
                window = window[:, -max(1, n_ctx // 2):]
            cache = Cache(generator.hparams, len(window))
            generator.prefill(cache, window[:, :-1])
        ids = generator.decode(cache, window[:, -1], draw, min(length, steps), temperature=temperature, top_k=top_k, top_p=top_p)
        window = np.concatenate([window, ids], axis=1)
        length -= ids.shape[1]
        yield ids


_last_generator = None


def generator_for(hparams, params):
    """The Generator of these weights; the last one is kept, so that calling again compiles nothing."""
    global _last_generator
    if _last_generator is None or _last_generator.params is not params or _last_generator.hparams != hparams:
        _last_generator = Generator(hparams, params)
    return _last_generator


def sample_sequence(hparams, params, *, length, context=None, start_token=None, batch_size=1,
                    temperature=1, top_k=0, top_p=1, seed=None):
    """Tokens of length `length` behind a context, or behind start_token alone: the original's front door.

    context: [batch_size, n] token ids, or start_token: one id; exactly one of the two. temperature 0 is greedy; top_k 0 and
    top_p 0 or 1 are off, both apply when both are given. seed: the same one gives the same tokens; None: random.
    Returns np.int32 [batch_size, n + length], the context (or start token) included.
    """
    if (context is None) == (start_token is None):
        raise ValueError('Specify exactly one of start_token and context!')
    check_settings(temperature, top_k, top_p, length, batch_size)
    length, batch_size, top_k = int(length), int(batch_size), int(top_k)
    if context is None:
        context = np.full([batch_size, 1], start_token)
    context = np.asarray(context, np.int32)
    if context.ndim != 2 or len(context) != batch_size or not context.shape[1]:
        raise ValueError(f'context has shape {list(context.shape)}, [batch_size = {batch_size}, 1 or more] is needed')
    made = stream(generator_for(hparams, params), context, length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    return np.concatenate([context, *made], axis=1)

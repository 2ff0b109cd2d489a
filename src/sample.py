"""Logits -> tokens in bulk: the compiled step, the cache, and sample_sequence.

    Generator.prefill: what was said, in one pass -> Cache
    Generator.decode: a token at a time, each from the one before, chosen by logits.choose -> ids

One key a token and row comes from NumPy, seeded by (seed, row): the same seed gives the same text, on any device
and whatever else is in the batch. The cache is static, [batch, n_layer, 2, n_head, n_ctx, features], and written in place; it is read
no further than it is filled. Each program is compiled once per batch size: settings are arguments, not constants.
"""
import functools

import numpy as np
import tensorflow as tf

from . import model
from .console import UserError
from .logits import Past, append, beam_step, best_beam, by_row, choose, penalize
from .settings import REMOVED, Settings, check_settings
from .stream import stream

STEPS = 32                                              # tokens that one call of the compiled loop makes at most


class Cache:
    """Keys and values of what each row has read: the first lengths[row] of ids[row]."""

    def __init__(self, hparams, batch_size, dtype=tf.float32):
        self.values = tf.zeros([batch_size, hparams.n_layer, 2, hparams.n_head, hparams.n_ctx, hparams.n_embd // hparams.n_head], dtype)
        self.ids = np.zeros([batch_size, hparams.n_ctx], np.int32)
        self.lengths = np.zeros(batch_size, np.int32)
        self.prompts = np.zeros(batch_size, np.int32)   # where in ids the generated ones begin
        self._types = hparams.type_tokens

    def cut(self, length, row=slice(None)):
        """Forget all but the first `length` positions, of each row or of one."""
        self.lengths[row] = length

    def copy(self, source, target, length):
        """The first `length` positions of a row become those of another."""
        self.values = tf.gather(self.values, np.where(np.arange(len(self.ids)) == target, source, np.arange(len(self.ids))))
        self.ids[target], self.lengths[target] = self.ids[source], length

    def speakers(self, rows=slice(None)):
        """The token type of the last position of each row, [rows] int32; -1: none (model.token_types)."""
        ids = self.ids[rows]
        marks = np.isin(ids, self._types) & (np.arange(ids.shape[1]) < self.lengths[rows, None])
        latest = ids.shape[1] - 1 - marks[:, ::-1].argmax(axis=1)
        return np.where(marks.any(axis=1), ids[np.arange(len(ids)), latest], -1).astype(np.int32)

    def put(self, values, X, row=None):
        """The tokens X [batch, n] have been read, or [1, n] into that row, whose keys and values are `values` now."""
        self.values = values if row is None else tf.concat([self.values[:row], values, self.values[row + 1:]], axis=0)
        self.grow(X, slice(None) if row is None else slice(row, row + 1))

    def grow(self, X, rows=slice(None)):
        """The tokens X [rows, n] have come into `values`."""
        for row, new in zip(np.arange(len(self.ids))[rows], X):
            self.ids[row, self.lengths[row]:self.lengths[row] + len(new)] = new
        self.lengths[rows] += np.shape(X)[1]


def told(method):
    """The same; where the memory of the device is full, UserError says what needs less."""
    @functools.wraps(method)
    def called(*arguments, **options):
        try:
            return method(*arguments, **options)
        except tf.errors.ResourceExhaustedError:
            raise UserError('the memory of the device is full: other weights (--precision bfloat16 or int8), fewer texts at once (--batch_size, --candidates) '
                            'or a smaller model need less.') from None
    return called


class Generator:
    """A model ready to generate. Keep it: its programs are compiled at first use."""
    READS_ALONG = False                                 # what is unread is a program of its own, prefill's
    COMPILES = True                                     # at first use, and for each batch size: seconds

    def __init__(self, hparams, params, precision='float32'):
        """precision: of matrices, activations, keys and values; bfloat16 halves what a token reads. Norms, softmax and logits are float32."""
        self.hparams, self.params, self._dtype = hparams, params, tf.as_dtype(precision)
        if self._dtype != tf.float32:
            self.params = tf.nest.map_structure(lambda w: tf.cast(w, self._dtype) if w.shape.rank > 1 else w, params)
        self._decode = tf.function(self._decode_steps, jit_compile=True, autograph=False)
        self._beams = tf.function(self._beam_steps, jit_compile=True, autograph=False)
        self._prefill = tf.function(self._prefill_step, autograph=False, input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, hparams.n_layer, 2, hparams.n_head, hparams.n_ctx, hparams.n_embd // hparams.n_head], self._dtype),
            tf.TensorSpec([], tf.int32), tf.TensorSpec([None], tf.int32)])

    def _prefill_step(self, X, values, length, speaker):
        """Any number of tokens in one pass, no compilation: the keys and values behind the first `length` become those of X."""
        past = values[..., :length, :]
        _, present = model.hidden(self.hparams, self.params, X, past, speaker=speaker, dtype=self._dtype)
        rest = self.hparams.n_ctx - length - tf.shape(X)[1]
        return tf.concat([past, present, tf.zeros_like(values[..., :rest, :])], axis=-2)

    def _logits(self, X, *arguments, **options):
        """model.model at this precision -> logits, present."""
        h, present = model.hidden(self.hparams, self.params, X, *arguments, dtype=self._dtype, **options)
        return model.logits(self.params, h), present

    def _decode_steps(self, last, values, speaker, past, keys, steps, settings, bias, stops, idle):
        """`steps` tokens behind `last` [batch], or fewer when each row has made one of its stops [batch, stops] or is idle [batch], which leaves what it
        holds as it is. -> ids [batch, STEPS], made, values."""

        def step(i, last, speaker, values, past, done, ids):
            logits, values = self._logits(last[:, None], values, tf.where(idle, -1, past.length - 1), speaker)
            if self.hparams.type_tokens:
                speaker = model.token_types(self.hparams, last[:, None], speaker)[:, 0]
            last = choose(logits[:, 0], keys[:, i], settings, past, bias, stops)
            done |= tf.reduce_any(last[:, None] == stops, axis=-1)
            return i + 1, last, speaker, values, append(past, last), done, tf.where(tf.range(STEPS) == i, last[:, None], ids)

        made, _, _, values, _, _, ids = tf.while_loop(
            lambda i, last, speaker, values, past, done, ids: (i < steps) & ((i == 0) | ~tf.reduce_all(done)),
            step, (0, last, speaker, values, past, idle, tf.zeros([last.shape[0], STEPS], tf.int32)))
        return ids, made, values

    def _beam_steps(self, last, values, speaker, past, steps, settings, bias, stops):
        """beam_search's loop, its beams the rows. -> Past, how many ids each made, the best of them."""
        beams = last.shape[0]

        def step(i, last, speaker, values, past, scores, ended, made):
            logits, values = self._logits(last[:, None], values, past.length - 1, speaker)
            if self.hparams.type_tokens:
                speaker = model.token_types(self.hparams, last[:, None], speaker)[:, 0]
            scores, parents, last = beam_step(scores, penalize(logits[:, 0], settings, past, bias, stops), ended[None], stops[0, 0])
            parents, last = parents[0], last[0]
            values, speaker, ended, made, *past = (tf.gather(x, parents) for x in (values, speaker, ended, made, *past))
            made += tf.where(ended, 0, 1)
            return i + 1, last, speaker, values, append(Past(*past), last), scores, ended | tf.reduce_any(last[:, None] == stops, axis=-1), made

        scores = tf.where(tf.range(beams) == 0, 0., REMOVED)[None]       # at the start they are all the same
        _, _, _, _, past, scores, _, made = tf.while_loop(
            lambda i, last, speaker, values, past, scores, ended, made: (i < steps) & ~tf.reduce_all(ended),
            step, (0, last, speaker, values, past, scores, tf.zeros(beams, tf.bool), tf.zeros(beams, tf.int32)))
        return past, made, best_beam(scores, made[None])[0]

    @told
    def cache(self, batch_size=1):
        """An empty Cache."""
        return Cache(self.hparams, batch_size, self._dtype)

    @told
    def prefill(self, cache, X, row=None):
        """Put the tokens X [batch, n] behind what is in the cache, which is as much in each row; or [1, n] behind what is in that row."""
        X = np.asarray(X, np.int32)
        rows = slice(None) if row is None else slice(row, row + 1)
        if X.shape[1]:
            values = self._prefill(X, cache.values[rows], cache.lengths[rows][0], cache.speakers(rows))
            cache.put(values, X, row)
        cache.prompts[rows] = cache.lengths[rows] + 1

    @told
    def score(self, cache, ids, row=0):
        """Put ids [n + 1] but the last behind what is in a row -> log P of each but the first, float32 [n]."""
        ids = np.asarray(ids, np.int32)
        past = cache.values[row:row + 1, ..., :cache.lengths[row], :]
        logits, present = self._logits(tf.constant(ids[None, :-1]), past, speaker=cache.speakers([row]))
        rest = cache.values[row:row + 1, ..., cache.lengths[row] + len(ids) - 1:, :]
        cache.put(tf.concat([past, present, rest], axis=-2), [ids[:-1]], row)
        return tf.gather(tf.nn.log_softmax(logits[0]), ids[1:], batch_dims=1).numpy()

    @told
    def decode(self, cache, last, draws, steps, settings, *, stops=(-1,), bias=None, active=None):
        """Up to `steps` (at most STEPS, and what the cache has room for) new tokens behind `last` [batch], which is not yet in the cache.

        draws: a Draw for each row. settings: Settings, or one for each row. stops: ids, of all rows or [batch, stops]; when each
        row has made one, it is enough. bias: [n_vocab] or [batch, n_vocab], added to the logits. active: [batch] bool, rows that count.
        Returns ids [batch, made]. The cache then holds `last` and all of them but the newest, in the active rows.
        """
        batch, n_ctx = cache.ids.shape
        active = np.ones(batch, bool) if active is None else active
        steps = min(steps, STEPS, n_ctx - cache.lengths[active].max())
        keys = np.zeros([batch, STEPS, 2], np.uint32)
        for row in np.flatnonzero(active):
            keys[row, :steps] = draws[row](steps)
        lengths = np.where(active, cache.lengths, 0)
        history = cache.ids.copy()
        history[np.arange(batch), lengths] = last
        past = Past(tf.constant(history), tf.constant(lengths + 1), tf.constant(cache.prompts))
        ids, made, cache.values = self._decode(
            tf.constant(last, tf.int32), cache.values, tf.constant(cache.speakers()), past, tf.constant(keys), tf.constant(steps, tf.int32),
            by_row([settings] * batch if isinstance(settings, Settings) else settings),
            tf.zeros([batch, self.hparams.n_vocab]) if bias is None else tf.constant(np.broadcast_to(bias, [batch, self.hparams.n_vocab]), tf.float32),
            tf.constant(np.broadcast_to(np.asarray(stops, np.int32), [batch, np.shape(stops)[-1]])), tf.constant(~active))
        ids = ids.numpy()[:, :int(made)]
        cache.grow(np.concatenate([np.reshape(last, [-1, 1]), ids[:, :-1]], axis=1)[active].astype(np.int32), active)
        return ids

    @told
    def beam_search(self, context, settings, length, beams, stops=(-1,)):
        """What stream.beam_search finds behind context [n], of at most `length` ids, for which there is room."""
        cache = self.cache(beams)
        self.prefill(cache, np.tile(context[:-1], [beams, 1]))
        cache.ids[:, len(context) - 1] = context[-1]
        past = Past(tf.constant(cache.ids), tf.constant(cache.lengths + 1), tf.constant(cache.prompts))
        past, made, best = self._beams(
            tf.fill([beams], context[-1]), cache.values, tf.constant(cache.speakers()), past, tf.constant(length),
            by_row([settings] * beams), tf.zeros(self.hparams.n_vocab), tf.constant(np.tile(np.asarray(stops, np.int32), [beams, 1])))
        return past.history[int(best), len(context):len(context) + int(made[best])].numpy().tolist()


_last_generator = None


def generator_for(hparams, params):
    """The Generator of these weights; the last one is kept, so that calling again compiles nothing."""
    global _last_generator
    if _last_generator is None or _last_generator.params is not params or _last_generator.hparams != hparams:
        _last_generator = Generator(hparams, params)
    return _last_generator


def sample_sequence(hparams, params, *, length, context=None, start_token=None, batch_size=1,
                    temperature=1, top_k=0, top_p=1, seed=None, **settings):
    """Tokens of length `length` behind a context, or behind start_token alone: the original's front door.

    context: [batch_size, n] token ids, or start_token: one id; exactly one of the two. temperature 0 is greedy; top_k 0 and
    top_p 0 or 1 are off, both apply when both are given; settings: the others of Settings. seed: the same one gives the same
    tokens; None: random. Returns np.int32 [batch_size, n + length], the context (or start token) included.
    """
    if (context is None) == (start_token is None):
        raise ValueError('Specify exactly one of start_token and context!')
    settings = Settings(temperature, top_k, top_p, **settings)
    check_settings(length=length, batch_size=batch_size, **settings._asdict())
    length, batch_size = int(length), int(batch_size)
    if context is None:
        context = np.full([batch_size, 1], start_token)
    context = np.asarray(context, np.int32)
    if context.ndim != 2 or len(context) != batch_size or not context.shape[1]:
        raise ValueError(f'context has shape {list(context.shape)}, [batch_size = {batch_size}, 1 or more] is needed')
    made = stream(generator_for(hparams, params), context, settings, length=length, seed=seed)
    return np.concatenate([context, *made], axis=1)

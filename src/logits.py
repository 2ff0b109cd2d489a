"""From logits to the next token: the filters as small pure functions, and the choice.

    raw logits [batch, n_vocab], and Past: which tokens are already there
    -> penalize: repetition, frequency, presence -> bias -> no repeated n-gram -> no stop before min_length
    -> / temperature -> top_k -> top_p -> min_p -> typical -> pick            one token a row

Each filter maps logits [batch, n_vocab] float32 to the same with unwanted tokens at REMOVED. A setting is a number for all rows or
a tensor [batch] with one for each, and an argument like the logits: nothing is compiled anew for another one, and a row gets what
it would get alone. A filter that is off in every row is skipped. None sorts: a threshold is found by halving an interval.
"""
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from .settings import REMOVED, SPREAD, Settings


def by_row(rows):
    """Settings of each row, a list -> Settings of tensors [batch]: int32 where the default is whole, float32 elsewhere."""
    def tensor(values, default):
        kind = np.int32 if isinstance(default, int) else np.float32
        limit = 2 ** 31 - 1 if kind is np.int32 else float(np.finfo(kind).max)
        return tf.constant(np.array([min(value, limit) for value in values], kind))

    return Settings(*map(tensor, zip(*rows), Settings()))


class Past(NamedTuple):
    """What is already there. It is kept as ids, not as counts: a row costs n_ctx numbers, not n_vocab, and what a filter counts, it
    counts from these in 10 us; all the filters that look back see the same window."""
    history: tf.Tensor                                  # [batch, n_ctx] int32 ids, of which
    length: tf.Tensor                                   # [batch] int32: the first so many are there; behind them any ids
    prompt: tf.Tensor                                   # [batch] int32: the generated ones start here; below 0 when the window has slid on


def append(past, ids):
    """The Past with one more generated token in each row, ids [batch]; a full window stays as it is."""
    n_ctx = past.history.shape[1]
    return Past(tf.where(tf.range(n_ctx) == past.length[:, None], ids[:, None], past.history), tf.minimum(past.length + 1, n_ctx), past.prompt)


def count_tokens(past, n_vocab, start=0):
    """How often each token is there from position `start` on, [batch] or all: [batch, n_vocab] float32."""
    place = tf.range(past.history.shape[1])
    counted = (place >= column(start, tf.int32)) & (place < past.length[:, None])
    return tf.scatter_nd(in_rows(past.history), tf.cast(counted, tf.float32), [past.history.shape[0], n_vocab])


def in_rows(ids):
    """ids [batch, n] -> (row, id) of each, [batch, n, 2]."""
    return tf.stack([tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(ids)), ids], axis=-1)


def column(setting, dtype=tf.float32):
    """A setting, of all rows or of each, as [1, 1] or [batch, 1]."""
    return tf.reshape(tf.cast(setting, dtype), [-1, 1])


def if_any(on, change, logits):
    """change(logits), but the logits themselves and no work where `on` is false in every row."""
    return tf.cond(tf.reduce_any(on), lambda: change(logits), lambda: logits)


# ---- what changes raw logits

def penalize_repetition(logits, counts, penalty):
    """Divide what is above 0 and multiply what is below, for every token already there; penalty above 0, 1: off.

    CTRL: Keskar et al. 2019, arXiv:1909.05858, section 4.1; below 0, where dividing would help the token, multiplied as everywhere
    today. counts [batch, n_vocab]: of all tokens, the prompt's included.
    """
    penalty = column(penalty)
    return tf.where(counts > 0, tf.where(logits > 0, logits / penalty, logits * penalty), logits)


def penalize_frequency(logits, counts, frequency, presence):
    """logits - counts * frequency - (counts > 0) * presence; 0: off. counts [batch, n_vocab]: of the generated tokens only.

    As OpenAI's API documents its frequency_penalty and presence_penalty.
    """
    return logits - tf.where(counts > 0, counts * column(frequency) + column(presence), 0.)


def bias_logits(logits, bias):
    """logits + bias, [n_vocab] or [batch, n_vocab] float32; REMOVED or -inf bans a token."""
    return tf.maximum(logits + bias, REMOVED)


def no_repeat_ngram_logits(logits, past, n):
    """Remove each token that would complete an n-gram which is already there, the prompt included; 0: off.

    Paulus et al. 2017, arXiv:1705.04304, section 2.5, for any n.
    """
    n = column(n, tf.int32)

    def remove(logits):
        history, length, place = past.history, past.length[:, None], tf.range(past.history.shape[1])

        def compare(i, before, repeats):
            """Of the tokens behind `i` that are like the last `i`: those that are so for one more. before: history, i + 1 places on."""
            last = tf.gather(history, tf.maximum(length - 1 - i, 0), batch_dims=1)
            return i + 1, tf.pad(before[:, :-1], [[0, 0], [1, 0]]), repeats & ((before == last) | (i >= n - 1))

        _, _, repeats = tf.while_loop(lambda i, *_: i < tf.reduce_max(tf.minimum(n - 1, length)), compare,
                                      (0, tf.pad(history[:, :-1], [[0, 0], [1, 0]]), (place < length) & (place >= n - 1) & (n > 0)))
        return tf.tensor_scatter_nd_min(logits, in_rows(history), tf.where(repeats, REMOVED, float('inf')))

    return if_any(n > 0, remove, logits)


def min_length_logits(logits, stops, short):
    """Remove the stop ids, [stops] or [batch, stops] int32, in the rows [batch] that are still short; -1 stands for no id."""
    stop = tf.reduce_any(tf.range(logits.shape[-1]) == stops[..., None], axis=-2)
    return if_any(short, lambda logits: tf.where(stop & column(short, tf.bool), REMOVED, logits), logits)


def penalize(logits, settings, past, bias, stops):
    """All of the above, bans last: they stay bans."""
    n_vocab = logits.shape[-1]
    logits = if_any(settings.repetition_penalty != 1,
                    lambda logits: penalize_repetition(logits, count_tokens(past, n_vocab), settings.repetition_penalty), logits)
    logits = if_any((settings.frequency_penalty != 0) | (settings.presence_penalty != 0), lambda logits: penalize_frequency(
        logits, count_tokens(past, n_vocab, past.prompt), settings.frequency_penalty, settings.presence_penalty), logits)
    logits = no_repeat_ngram_logits(bias_logits(logits, bias), past, settings.no_repeat_ngram_size)
    return min_length_logits(logits, stops, past.length - past.prompt < settings.min_length)


# ---- what cuts the distribution

def divide_by_temperature(logits, temperature):
    """logits / temperature, and what is removed stays so at any."""
    return tf.where(logits > REMOVED / 2, logits / tf.maximum(column(temperature), 1e-6), REMOVED)


def largest_threshold(enough, low, high):
    """The largest float32 t in each row, low <= t <= high, such that enough(t) is true, or low; all [batch, 1].

    `enough` must stay true for smaller t. Halves the interval of float32 bit patterns, which are ordered as the numbers are, at
    most 32 times: exact, and without a sort. A row whose low is its high is not searched.
    """
    def flip(bits):
        """Negative floats count backwards."""
        return tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, 0x7fffffff), bits)

    def number(key):
        return tf.bitcast(flip(key), tf.float32)

    def halve(low, high):
        middle = (tf.bitwise.right_shift(low, 1) + tf.bitwise.right_shift(high, 1)
                  + tf.bitwise.bitwise_and(tf.bitwise.bitwise_or(low, high), 1))       # the mean, rounded up, without overflow
        holds = enough(number(middle))
        return tf.where(holds, middle, low), tf.where(holds, high, middle - 1)

    low, _ = tf.while_loop(lambda low, high: tf.reduce_any(low < high), halve, (flip(tf.bitcast(low, tf.int32)), flip(tf.bitcast(high, tf.int32))))
    return number(low)


def total(chosen, values):
    """The sum of the chosen values in each row, [batch, 1]. XLA is several times faster when `chosen` is made of no other large array."""
    return tf.reduce_sum(tf.where(chosen, values, 0.), axis=-1, keepdims=True)


def highest(values):
    """The largest value in each row, [batch, 1]."""
    return tf.reduce_max(values, axis=-1, keepdims=True)


def top_k_logits(logits, k):
    """Keep the k most likely tokens (Fan et al. 2018, arXiv:1805.04833), and those as likely as the last of them; 0: all."""
    k = column(k, tf.int32)

    def cut(logits):
        least = tf.reduce_min(logits, axis=-1, keepdims=True)
        count = tf.cast(k, tf.float32)                  # float32 counts exactly up to 2^24
        least = largest_threshold(lambda t: total(logits >= t, 1.) >= count, least, tf.where(k > 0, highest(logits), least))
        return tf.where(logits >= least, logits, REMOVED)

    return if_any(k > 0, cut, logits)


def top_p_logits(logits, p):
    """Keep the smallest set of most likely tokens whose probabilities reach p, the one that crosses p included; 0 and 1: all.

    Nucleus sampling: Holtzman et al. 2019, arXiv:1904.09751, section 3.1.
    """
    p = column(p)
    on = (p > 0) & (p < 1)

    def cut(logits):
        probabilities = tf.nn.softmax(logits)
        high = tf.where(on, highest(probabilities), 0.)
        least = largest_threshold(lambda t: total(probabilities >= t, probabilities) >= p, tf.zeros_like(high), high)
        return tf.where(probabilities >= least, logits, REMOVED)

    return if_any(on, cut, logits)


def min_p_logits(logits, p):
    """Keep the tokens at least p times as likely as the most likely one; 0: all. Nguyen et al. 2024, arXiv:2407.01082."""
    p = column(p)
    return if_any(p > 0, lambda logits: tf.where(logits >= highest(logits) + tf.math.log(p), logits, REMOVED), logits)


def typical_logits(logits, p):
    """Keep the smallest set of tokens whose surprisal -log(probability) is closest to its expectation, the entropy, and whose
    probabilities reach p, the one that crosses p included; 0 and 1: all.

    Locally typical sampling: Meister et al. 2022, arXiv:2202.00666. What is searched is how far the surprisal may be from the
    entropy; the tokens no farther are those whose probability lies between two numbers.
    """
    p = column(p)
    on = (p > 0) & (p < 1)

    def cut(logits):
        probabilities = tf.nn.softmax(logits)
        entropy = -tf.reduce_sum(tf.math.multiply_no_nan(tf.nn.log_softmax(logits), probabilities), axis=-1, keepdims=True)

        def near(distance):
            return (probabilities >= tf.exp(-entropy - distance)) & (probabilities <= tf.exp(-entropy + distance))

        farthest = tf.fill(tf.shape(entropy), -200.)    # in float32 no probability above 0 is so far off
        distance = -largest_threshold(lambda t: total(near(-t), probabilities) >= p, farthest, tf.where(on, 0., farthest))
        return tf.where(near(distance), logits, REMOVED)

    return if_any(on, cut, logits)


# ---- the choice

def hashed(n, key):
    """choose.hashed of the tokens 0 to n - 1 in each row: key [batch, 2] uint32 -> [batch, n] float32 in (0, 1)."""
    golden, first, second = (tf.constant(number, tf.uint32) for number in SPREAD)

    def fold(h, bits):
        return tf.bitwise.bitwise_xor(h, tf.bitwise.right_shift(h, tf.constant(bits, tf.uint32)))

    h = fold(tf.cast(tf.range(n), tf.uint32) * golden + key[:, :1], 16) * first
    h = fold((fold(h, 13) + key[:, 1:]) * second, 16)
    return tf.minimum(tf.cast(tf.bitwise.bitwise_or(h, tf.constant(1, tf.uint32)), tf.float32) * 2 ** -32, 1 - 2 ** -24)


def pick(logits, key):
    """Draw a token of each row by choose.pick's race. key [batch, 2] uint32 -> ids [batch] int32."""
    weights = tf.where(logits > REMOVED / 2, tf.exp(logits - highest(logits)), 0.)
    return tf.argmax(weights / -tf.math.log1p(-hashed(logits.shape[-1], key)), axis=-1, output_type=tf.int32)


def choose(logits, key, settings, past, bias, stops):
    """The next token of each row, [batch] int32: the most likely one at temperature 0, else drawn from what the filters leave.

    logits [batch, n_vocab], key [batch, 2] uint32, Settings of tensors, Past; bias [n_vocab] or [batch, n_vocab], 0: none;
    stops [stops] or [batch, stops], -1: none.
    """
    logits = penalize(logits, settings, past, bias, stops)
    drawn = settings.temperature > 0

    def draw():
        filtered = top_k_logits(divide_by_temperature(logits, settings.temperature), settings.top_k)
        filtered = min_p_logits(top_p_logits(filtered, settings.top_p), settings.min_p)
        return pick(typical_logits(filtered, settings.typical_p), key)

    nothing = tf.zeros(logits.shape[0], tf.int32)
    return tf.where(drawn, tf.cond(tf.reduce_any(drawn), draw, lambda: nothing),
                    tf.cond(tf.reduce_all(drawn), lambda: nothing, lambda: tf.argmax(logits, axis=-1, output_type=tf.int32)))


# ---- beam search

def beam_step(scores, logits, ended, stop):
    """One step of beam search: the `beams` best continuations of the beams of each row.

    scores [batch, beams]: the log-probability of each beam (at the start 0 for the first and REMOVED for the others, which are the
    same); logits [batch * beams, n_vocab]; ended [batch, beams] bool: such a beam only goes on with `stop`, for nothing.
    -> scores, the beam that each continues, and its next token: all [batch, beams], best first.
    """
    batch, beams = scores.shape
    n_vocab = logits.shape[-1]
    likely = tf.where(tf.reshape(ended, [-1, 1]), tf.where(tf.range(n_vocab) == stop, 0., REMOVED), tf.nn.log_softmax(logits))
    best, tokens = tf.math.top_k(likely, min(beams, n_vocab))           # of each beam first: sorting all of them takes longer
    scores, at = tf.math.top_k(tf.reshape(scores[..., None] + tf.reshape(best, [batch, beams, -1]), [batch, -1]), beams)
    return scores, at // best.shape[-1], tf.gather(tf.reshape(tokens, [batch, -1]), at, batch_dims=1)


def best_beam(scores, lengths, alpha=0.6):
    """The beam [batch] with the highest log-probability / ((5 + length) / 6) ^ alpha: Wu et al. 2016, arXiv:1609.08144, section 7,
    formula 14, without attention's coverage. scores, lengths (tokens generated) [batch, beams]; alpha 0: the most likely text."""
    return tf.argmax(scores / ((5. + tf.cast(lengths, tf.float32)) / 6.) ** alpha, axis=-1, output_type=tf.int32)

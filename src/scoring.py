"""How well a model foretells a text: -log P of each of its tokens, given as much in front of it as the model can see.

    <|endoftext|>   Mara    :    You    sound   tired    .          a document, behind what it begins with in training
                    6.02  0.11   2.90    4.41    0.75   0.20        nats: -log P(token | all in front of it), in natural logarithms
                    no    yes    no      no      yes    yes         hits: whether the model held it for the likeliest

A document longer than n_ctx is read in windows that overlap, and each token is scored once: with n_ctx - stride tokens in front of it or more.

    |scored -------------|                    n_ctx = 20, stride = 8
            |seen again -|scored |
                    |seen again -|scored |

From the nats follow the perplexity of a token, exp(mean); that of a word, exp(all of them / words); and bits per byte, all of them / ln 2 / bytes.
The last two do not depend on how a vocabulary cuts words, so they alone compare models of different ones.
"""
import math
import time
from typing import NamedTuple

import numpy as np

from . import dialogue, intervals
from .batches import REPLIES, Turns, learnt
from .console import UsageError, UserError

GROUP = 1 << 16                                         # tokens whose scores are held at a time
ROWS = 128                                              # positions whose logits LiteRT gives at a time
LOGITS = 128e6                                          # bytes of logits that TensorFlow holds at a time
ROUND = 64                                              # lengths of TensorFlow's batches
TOO_FEW = 20                                            # documents, of which an interval tells nothing
LARGEST = 700                                           # of what exp is taken


class Document(NamedTuple):
    """A text that knows nothing of others: a conversation with the token that ends it, or a plain text without. begin: the id in front of it, or
    none; ids [n] int32; owners [n] (dialogue.Tokens.owners), or None."""
    begin: list
    ids: np.ndarray
    owners: np.ndarray | None


def documents(loaded):
    """A dataset.Loaded -> iterator of Documents."""
    begin = dialogue.style_of(loaded.dialogue).begin_ids(loaded.enc)
    for i, chunk in enumerate(loaded.chunks):
        ids, owners = chunk[:], None if loaded.owners is None else loaded.owners[i][:]
        if owners is None:
            ends = np.flatnonzero(ids == loaded.enc.eot) + 1
        else:                                           # nobody's token behind somebody's
            ends = np.flatnonzero((owners[1:] == 0) & (owners[:-1] != 0)) + 2
        start = 0
        for stop in dict.fromkeys([*ends.tolist(), len(ids)]):
            last = stop - (owners is None and stop > start and ids[stop - 1] == loaded.enc.eot)
            if last > start:
                yield Document([] if ids[start] in begin else begin, ids[start:last], None if owners is None else owners[start:last])
            start = stop


def windows(n, n_ctx, stride):
    """How a document of n ids is read: yield (start, first, stop); the model reads ids[start:stop - 1], and ids[first:stop] are scored."""
    first, stop = 1, min(n, n_ctx + 1)
    while first < n:
        yield max(0, stop - 1 - n_ctx), first, stop
        first, stop = stop, min(n, stop + stride)


def check_stride(stride, n_ctx):
    """The stride, by default half of n_ctx. Raises UsageError for one that cannot be."""
    if stride is None:
        return max(1, n_ctx // 2)
    if not 1 <= stride <= n_ctx:
        raise UsageError(f'--stride {stride} is out of range: this model sees {n_ctx} tokens (n_ctx), so it takes 1 to {n_ctx}.')
    return stride


# ---- what reads windows: [(ids, first)] -> iterator of (which window, nats [n], hits [n]) of ids[first:], n = len(ids) - first

class LiteReader:
    """By lite.Generator: one after the other, logits only where something is scored."""

    def __init__(self, generator):
        self.engine, self.hparams, self._cache = generator.engine, generator.hparams, generator.cache()

    def __call__(self, batch):
        for i, (ids, first) in enumerate(batch):
            self._cache.cut(0)
            if first > 1:
                self.engine.put(self._cache, ids[:first - 1])
            parts = [self._block(ids[at - 1:min(at + ROWS, len(ids))]) for at in range(first, len(ids), ROWS)]
            yield i, *(np.concatenate(columns) for columns in zip(*parts))

    def _block(self, ids):
        logits, labels = self.engine.read(self._cache, ids[:-1], every=True), ids[1:]                # [n, n_vocab], [n]
        there, most = logits[np.arange(len(labels)), labels], logits.max(axis=-1)
        hits = logits.argmax(axis=-1) == labels
        logits -= most[:, None]
        return most + np.log(np.exp(logits, out=logits).sum(axis=-1)) - there, hits


class GraphReader:
    """By TensorFlow: windows of like length together, `batch_size` at a time."""

    def __init__(self, generator, batch_size):
        import tensorflow as tf
        from . import model
        self.hparams, self.batch_size = generator.hparams, batch_size
        hparams, params, most = generator.hparams, generator.params, max(1, int(LOGITS / 4 / generator.hparams.n_vocab))
        dtype = tf.as_dtype(params['wte'].dtype)        # as the generator computes

        def run(X, labels, scored):
            h, _ = model.hidden(hparams, params, X, dtype=dtype)
            h, labels = tf.boolean_mask(h, scored), tf.boolean_mask(labels, scored)                  # [n, n_embd], [n]
            n = tf.shape(h)[0]
            blocks = -(-n // most)
            rows = -(-n // blocks)

            def block(pair):                            # [rows, n_embd], [rows]
                logits = model.logits(params, pair[0])
                return (tf.nn.sparse_softmax_cross_entropy_with_logits(labels=pair[1], logits=logits),
                        tf.argmax(logits, axis=-1, output_type=tf.int32) == pair[1])

            fill = blocks * rows - n
            pairs = tf.reshape(tf.pad(h, [[0, fill], [0, 0]]), [blocks, rows, hparams.n_embd]), tf.reshape(tf.pad(labels, [[0, fill]]), [blocks, rows])
            nats, hits = tf.map_fn(block, pairs, parallel_iterations=1, fn_output_signature=(tf.float32, tf.bool))
            return tf.reshape(nats, [-1])[:n], tf.reshape(hits, [-1])[:n]

        ids = tf.TensorSpec([None, None], tf.int32)
        self._run = tf.function(run, autograph=False, input_signature=[ids, ids, tf.TensorSpec([None, None], tf.bool)])

    def __call__(self, batch):
        order = sorted(range(len(batch)), key=lambda i: -len(batch[i][0]))      # the largest first: what does not fit into memory fails at once
        for at in range(0, len(order), self.batch_size):
            rows = order[at:at + self.batch_size]
            longest = min(self.hparams.n_ctx, -(-(len(batch[rows[0]][0]) - 1) // ROUND) * ROUND)
            X, labels = (np.zeros([len(rows), longest], np.int32) for _ in range(2))
            scored = np.zeros([len(rows), longest], bool)
            for row, i in enumerate(rows):
                ids, first = batch[i]
                n = len(ids) - 1
                X[row, :n], labels[row, :n], scored[row, first - 1:n] = ids[:-1], ids[1:], True
            nats, hits = (found.numpy() for found in self._run(X, labels, scored))
            ends = np.cumsum(scored.sum(axis=1))
            for row, i in enumerate(rows):
                part = slice(ends[row] - scored[row].sum(), ends[row])
                yield i, nats[part], hits[part]


def reader(generator, batch_size=8):
    """What reads windows with the model of a lite.Generator or sample.Generator."""
    return LiteReader(generator) if hasattr(generator, 'engine') else GraphReader(generator, batch_size)


def score(read, docs, stride, progress=lambda n: None):
    """Yield (Document, nats [n] float32, hits [n] bool) of Documents; nats are NaN where a token has nothing in front of it.

    read: a reader. progress(n): called with how many tokens were scored since the last call.
    """
    n_ctx, group = read.hparams.n_ctx, []

    def scored():
        jobs, places = [], []
        found = [(np.full(len(doc.ids), np.nan, np.float32), np.zeros(len(doc.ids), bool)) for doc in group]
        for k, doc in enumerate(group):
            ids, before = np.concatenate([np.asarray(doc.begin, np.int32), doc.ids]), len(doc.begin)
            for start, first, stop in windows(len(ids), n_ctx, stride):
                jobs.append((ids[start:stop], first - start))
                places.append((k, slice(first - before, stop - before)))
        for i, nats, hits in read(jobs):
            k, place = places[i]
            found[k][0][place], found[k][1][place] = nats, hits
            progress(len(nats))
        return [(doc, *of_doc) for doc, of_doc in zip(group, found)]

    held = 0
    for doc in docs:
        group.append(doc)
        held += len(doc.ids)
        if held >= GROUP:
            yield from scored()
            group, held = [], 0
    yield from scored()


# ---- what follows from the scores

class Tally:
    """Sums over tokens that were scored, a row for each document."""

    def __init__(self):
        self._rows = []                                 # of each document: nats, tokens, hits, words, bytes

    def add(self, nats, hits, words, n_bytes):
        """The scores of a document's tokens that count (NaN: not scored), and how many words and bytes they are."""
        there = ~np.isnan(nats)
        if there.any():
            self._rows.append((nats[there].sum(dtype=np.float64), there.sum(), hits[there].sum(), words, n_bytes))

    def result(self, units=None):
        """{tokens, loss, interval, perplexity, accuracy, words, word_perplexity, bytes, bits_per_byte, documents}, or None where nothing was scored.

        interval: of the loss, None for fewer than TOO_FEW documents. units: the words of the original text, where they are others than those scored.
        """
        if not self._rows:
            return None
        nats, tokens, hits, words, n_bytes = np.array(self._rows, np.float64).T
        words = words.sum() if units is None else units
        sure = len(nats) >= TOO_FEW and intervals.estimate(len(nats), intervals.ratio(nats, tokens))
        return {'tokens': int(tokens.sum()), 'loss': float(nats.sum() / tokens.sum()), 'interval': [sure.low, sure.high] if sure else None,
                'perplexity': _exp(nats.sum() / tokens.sum()), 'accuracy': float(hits.sum() / tokens.sum()),
                'words': int(words), 'word_perplexity': _exp(nats.sum() / words) if words else None,
                'bytes': int(n_bytes.sum()), 'bits_per_byte': float(nats.sum() / math.log(2) / n_bytes.sum()) if n_bytes.sum() else None,
                'documents': len(nats)}


def _exp(x):
    return math.exp(min(float(x), LARGEST))


def n_words(enc, ids):
    """How many words ids are: runs of bytes without blanks. Special tokens stand between words."""
    blank = enc.encode('\n')[0]
    data = np.frombuffer(enc.decode_bytes(np.where(enc.lengths[ids] > 0, ids, blank)), np.uint8)
    blanks = np.isin(data, [9, 10, 11, 12, 13, 32])
    return int((~blanks & np.concatenate([[True], blanks[:-1]])).sum()) if len(data) else 0


def evaluate(read, loaded, *, stride=None, who=None, units=None, progress=lambda n: None):
    """How a model does on a dataset.Loaded: {'text': Tally.result of everything, 'replies': of the words of `who` in the same conversations, with
    'who' and 'turns', or None, 'by_position': [[tokens in front, at least; tokens; loss]], 'stride', 'n_ctx', 'seconds', 'tokens_per_s'}.

    who: as in batches.learnt. units: as for Tally.result. Raises UserError for a text of fewer than 2 tokens, or of others' tokens.
    """
    hparams, enc = read.hparams, loaded.enc
    if enc.n_vocab > hparams.n_vocab:
        raise UserError(f'the text is in the style "{loaded.dialogue["style"]}", whose special tokens this model does not have: write it in the style that '
                        'the model was trained in (import_chats.py --style).')
    if (n := sum(len(doc.ids) for doc in documents(loaded))) < 2:
        raise UserError(f'the text has {n} token{"s" * (n != 1)}: it takes 2 for something to be foretold.')
    speakers = (loaded.dialogue or {}).get('speakers', [])
    stride, everything, replies, turns = check_stride(stride, hparams.n_ctx), Tally(), Tally(), 0
    positions = np.zeros([2, 32])                       # nats and tokens, by how many bits the number of tokens in front has
    start = time.perf_counter()
    for doc, nats, hits in score(read, documents(loaded), stride, progress):
        everything.add(nats, hits, n_words(enc, doc.ids), int(enc.lengths[doc.ids].sum()))
        there = np.flatnonzero(~np.isnan(nats))
        behind = np.minimum(there + len(doc.begin), hparams.n_ctx)
        bits = np.frexp(behind)[1]
        positions += [np.bincount(bits, nats[there], 32), np.bincount(bits, minlength=32)]
        if who and doc.owners is not None:
            counts = learnt(doc.owners, who, speakers)
            said = doc.ids[counts & (doc.owners > 0)]
            replies.add(np.where(counts, nats, np.nan), hits, n_words(enc, said), int(enc.lengths[said].sum()))
            turns += _turns_of(doc.owners, who, speakers)
    seconds = time.perf_counter() - start
    text, of_replies = everything.result(units), replies.result()
    return {'text': text, 'replies': of_replies and of_replies | {'who': who, 'turns': turns}, 'stride': stride, 'n_ctx': hparams.n_ctx,
            'by_position': [[2 ** (bits - 1), int(n), float(nats / n)] for bits, (nats, n) in enumerate(positions.T) if n],
            'seconds': seconds, 'tokens_per_s': text['tokens'] / seconds}


def _turns_of(owners, who, speakers):
    """How many turns of a conversation are `who`'s (batches.learnt)."""
    turns = Turns(owners)
    if who == REPLIES:
        return int((~turns.opens).sum())
    return int((np.abs(owners[turns.starts]) == speakers.index(who) + 1).sum())


def last_words(read, enc, passages, progress=lambda n: None):
    """LAMBADA (Paperno et al. 2016): {passages, accuracy, accuracy_interval, perplexity, loss, interval, tokens, seconds, tokens_per_s}; perplexity is of
    the last word, which is right when each token of it is the likeliest behind those in front.

    passages: [(what is read, the last word with the blank in front of it)]. What does not fit is cut at its beginning.
    """
    begin, jobs = dialogue.Style().begin_ids(enc), []
    for context, word in passages:
        wanted = enc.encode(word)
        ids = np.asarray((begin + enc.encode(context) + wanted)[-read.hparams.n_ctx - 1:], np.int32)
        jobs.append((ids, max(1, len(ids) - len(wanted))))
    start, found, n = time.perf_counter(), np.zeros([len(jobs), 2]), 0
    for i, nats, hits in read(jobs):
        found[i] = nats.sum(), hits.all()
        n += len(nats)
        progress(1)
    seconds = time.perf_counter() - start
    loss, right = (intervals.estimate(len(jobs), intervals.ratio(column, np.ones(len(jobs)))) for column in found.T)
    return {'passages': len(jobs), 'accuracy': right.value, 'accuracy_interval': list(right[1:]), 'loss': loss.value, 'interval': list(loss[1:]),
            'perplexity': _exp(loss.value), 'tokens': n, 'seconds': seconds, 'tokens_per_s': sum(len(ids) for ids, _ in jobs) / seconds}

"""GPT-2 on the CPU, a conversation or a few: a token takes as long as reading the weights does, and TensorFlow is not imported.

    int8.tflite, int8.head.tflite (tflite.py) -> Engine: Cache, ids -> logits -> Generator: texts

The products with weights run in LiteRT, whose interpreter TensorFlow brings along: a library of 15 MB that loads by itself. An activation row is
rounded to int8 as it comes where the weights are int8 (Jacob et al. 2017, arXiv:1712.05877, section 2.1; the kernels are XNNPACK's). Attention of
few rows is NumPy's, that of many is LiteRT's: a token looks at exactly those keys and values there are.
Dimensions in brackets: rows (positions of the ids given), all (positions there are), head, features = n_embd / n_head.
"""
import contextlib
import ctypes
import functools
import json
import math
import mmap
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np

from . import console, files, tflite
from .choose import beam_step, best_beam, choose, penalize
from .settings import REMOVED, Settings
from .tflite import FORMAT, aligned, check_whole, head_path

ROWS = 128                                              # positions in one pass: more are hardly faster and take more memory
ATTEMPTS = 5                                            # at a file that others make too
REACH = 64                                              # positions by which attention of single rows looks further; behind so many, BLAS's kernels
                                                        # make the same sums whether zeros follow or not
WASTE = 256                                             # positions read in vain that cost what looking once more would: rows look together up to that
MANY = 600                                              # positions of several texts that two threads look at sooner than one
FEW, FAR = 64, 256                                      # up to so many rows NumPy looks at so many positions or more: LiteRT copies what it reads
FAINT = 1e-30                                           # a sum of exponentials that is larger lost nothing to float32's range


class Cache:
    """What each of several texts has said: keys and values of the first lengths[row] positions, and the ids themselves."""

    def __init__(self, hparams, batch_size=1):
        self.values = np.zeros([hparams.n_layer, 2, batch_size, hparams.n_head, hparams.n_ctx, hparams.n_embd // hparams.n_head], np.float32)
        self.ids = np.zeros([batch_size, hparams.n_ctx + 1], np.int32)
        self.types = np.full([batch_size, hparams.n_ctx + 1], -1)        # [row, i + 1]: the token type at position i; -1: none
        self.lengths = np.zeros(batch_size, np.int32)
        self.prompts = np.zeros(batch_size, np.int32)   # where in ids the generated ones begin

    def cut(self, length, row=slice(None)):
        """Forget all but the first `length` positions, of each row or of one."""
        self.lengths[row] = length

    def copy(self, source, target, length):
        """The first `length` positions of a row become those of another."""
        for array in (self.values.transpose(2, 4, 0, 1, 3, 5)[:, :length], self.ids[:, :length], self.types[:, :length + 1]):
            array[target] = array[source]
        self.lengths[target] = length

    def follow(self, parents, start):
        """Each row becomes a copy of the row that parents [batch] names, as far as they differ: from position `start` on."""
        end = self.lengths.max()
        for array in (self.values.transpose(2, 4, 0, 1, 3, 5)[:, start:end], self.ids[:, start:end], self.types[:, start:end + 1]):
            array[:] = array[parents]


class Engine:
    """A model ready to read and to go on. hparams: its sizes; precision and of: as they were written.

    threads: by default all cores. Raises ValueError when a file is not there, damaged, of another FORMAT, or of other weights than the other one.
    """

    def __init__(self, path, threads=None):
        self._parts = []                                # of LiteRT's model, which of its graphs, {name of a tensor: its number}
        (about, _), (again, tables) = self._load(path, threads), self._load(head_path(path), threads)
        self.hparams, self.precision, self.of = SimpleNamespace(**about['hparams']), about['precision'], about['of']
        model, graph, names = self._parts[-1]
        self._wpe, self._scales = self._tensor(self._parts[-1], 'wpe'), model.TensorQuantizationParameters(names['wte'], graph)[0]   # [n_vocab], or none
        self._wte, self._wte_start = open(head_path(path), 'rb', buffering=0), aligned(tables)
        weakref.finalize(self, self._wte.close)
        if about != again or (self._rows([0]) != self._tensor(self._parts[-1], 'wte')[0]).any():         # somebody wrote one of them in between
            raise ValueError(f'{path} and {head_path(path)} are of different weights')
        self._pool = ThreadPoolExecutor(1)
        self._windows = self.hparams.windows or [0] * self.hparams.n_layer
        self._scale = np.float32(1 / math.sqrt(self.hparams.n_embd // self.hparams.n_head))
        self._ready = [(None, {}, {}) for part in self._parts]           # shapes of inputs that each is ready for, where these and its results lie

    def _load(self, path, threads):
        """Add a file's parts. Returns what it says about itself, and how long its tables are."""
        tables = check_whole(path)
        with console.quietly(tell=False):               # LiteRT tells that it has made its delegate; what is wrong with a file, the ValueError says
            model = console.part_of_tensorflow('lite.python._pywrap_tensorflow_interpreter_wrapper').CreateWrapperFromFile(
                path, 1, [], [], False, False, threads or os.cpu_count(), False)     # 1: LiteRT's own operators, by XNNPACK where it has them
            for graph in range(model.NumSubgraphs()):
                model.AllocateTensors(graph)
        parts = [(model, graph, {model.TensorName(i, graph): i for i in range(model.NumTensors(graph))}) for graph in range(model.NumSubgraphs())]
        about = json.loads(self._tensor(parts[-1], 'about').tobytes()) if 'about' in parts[-1][2] else {}
        if about.get('format') != FORMAT:
            raise ValueError(f'{path} is not of format {FORMAT}')
        weights = [self._tensor(part, name) for part in parts for name in part[2] if name.endswith('/w') or name in ('wte', 'lm_head')]
        _let_go(weights)                                # XNNPACK has them in an order of its own, in memory of its own
        self._parts += parts
        return about, tables

    @staticmethod
    def _tensor(part, name):
        """A tensor of a part where it lies: in memory, or in the file, which is mapped into memory."""
        model, graph, names = part
        return model.tensor(model, names[name], graph)

    def read(self, cache, ids, row=0, every=False):
        """Put ids [n] behind what is in a row -> the logits of what follows, [n_vocab] float32; with `every`, of what follows each id, [n, n_vocab].

        Raises ValueError when n is 0 or they do not fit into n_ctx.
        """
        room = self.hparams.n_ctx - cache.lengths[row]
        if not 0 < len(ids) <= room:
            raise ValueError(f'{len(ids)} tokens behind {cache.lengths[row]}: 1 to {room} fit into n_ctx {self.hparams.n_ctx}')
        if len(ids) == 1:
            logits = self.step(cache, ids, np.array([row]))
            return logits if every else logits[0]
        found = []
        for x, a in self._passes(cache, ids, row):
            if every:
                found.append(self._run(-1, x=x, a=a)['logits'].copy())
        return np.concatenate(found) if every else self._run(-1, x=x[-1:], a=a[-1:])['logits'][0].copy()

    def put(self, cache, ids, row=0):
        """read, of which nobody asks what follows."""
        for _ in self._passes(cache, ids, row):
            pass

    def step(self, cache, ids, rows=None):
        """Put an id behind what is in each row, or in each of `rows`, which have room, in one pass -> the logits of what follows, [rows, n_vocab]
        float32. What a row gets does not depend on the others, not in its last digit."""
        rows = np.arange(len(cache.lengths)) if rows is None else rows
        ids = np.reshape(ids, [-1, 1])
        return self._single(cache, ids[:, 0], rows, cache.lengths[rows], np.concatenate([self._start(cache, new, row) for new, row in zip(ids, rows)]))

    def steps(self, cache, ids, row=0):
        """Put ids [n] behind what is in a row, which has room, in one pass -> the logits of what follows each, [n, n_vocab] float32: to the last digit
        what `step` gives for one after the other."""
        return self._single(cache, ids, np.full(len(ids), row), cache.lengths[row] + np.arange(len(ids)), self._start(cache, ids, row))

    def _single(self, cache, ids, rows, lengths, x):
        """Put ids [n] into rows [n] behind their first lengths [n] positions; x [n, n_embd]: what goes into the first layer -> logits [n, n_vocab]."""
        groups = {window: [*_groups(rows, lengths + 1, self.hparams.n_ctx, window)] for window in {*self._windows}}
        places = [*zip(rows.tolist(), lengths.tolist())]
        x, a = self._layers(x, lambda qkv, layer: self._look(qkv, cache.values[layer], places, groups[self._windows[layer]]))
        cache.ids[rows, lengths] = ids
        cache.lengths[rows] = lengths + 1
        return self._run(-1, x=x, a=a)['logits'].copy()

    def _passes(self, cache, ids, row):
        """Put ids behind what is in a row, ROWS at a time: yield the stream and the attention of each pass (_layers)."""
        for start in range(0, len(ids), ROWS):
            new, before = np.asarray(ids[start:start + ROWS]), cache.lengths[row]
            yield self._layers(self._start(cache, new, row), lambda qkv, layer: self._attn(qkv, cache.values[layer, :, row], before, self._windows[layer]))
            cache.ids[row, before:before + len(new)] = new
            cache.lengths[row] += len(new)

    def _layers(self, x, attn):
        """x [rows, n_embd] through the layers -> the stream and the attention of the last one, [rows, n_embd] each. attn(qkv, layer) -> [rows, n_embd]."""
        qkv = self._run(0, x=x)['qkv']
        for layer in range(self.hparams.n_layer):
            a = attn(qkv, layer)
            if layer + 1 < self.hparams.n_layer:
                x, qkv = self._run(layer + 1, x=x, a=a).values()
        return x, a

    def _start(self, cache, ids, row):
        """ids [n] behind what is in a row -> what goes into the first layer: the embeddings of tokens, positions and token types, [n, n_embd]."""
        before = cache.lengths[row]
        x = self._embed(ids) + self._wpe[before:before + len(ids)]
        if self.hparams.type_tokens:                    # as model.token_types
            types = cache.types[row, before:before + len(ids) + 1]
            for i, token in enumerate(ids):
                types[i + 1] = token if token in self.hparams.type_tokens else types[i]
            x += np.where(types[1:, None] >= 0, self._embed(np.maximum(types[1:], 0)), np.float32(0))
        return x

    def _rows(self, ids):
        """Rows [n, n_embd] of the embedding matrix, read from the file: mapped into memory, each would bring what lies around it."""
        rows = np.empty([len(ids), self.hparams.n_embd], np.int8 if len(self._scales) else np.float32)
        for row, i in zip(rows, ids):
            self._wte.seek(self._wte_start + int(i) * row.nbytes)
            self._wte.readinto(row)
        return rows

    def _embed(self, ids):
        rows = self._rows(ids)
        return rows * self._scales[ids, None] if len(self._scales) else rows

    def _attn(self, qkv, values, before, window):
        """Masked attention (model.look) of a row's qkv [n, 3 * n_embd] behind the first `before` positions of values [2, head, n_ctx, features],
        into which the new ones are written -> [n, n_embd]."""
        n, n_head = len(qkv), self.hparams.n_head
        q, k, v = qkv.reshape(n, 3, n_head, -1).transpose(1, 2, 0, 3)                                # [head, n, features] each
        values[:, :, before:before + n] = k, v
        first = max(0, before + 1 - window) if window else 0             # that anyone looks at
        keys, values = values[:, :, first:before + n]                                                # [head, all, features] each
        q, mask = q * self._scale, _mask(n, before + n - first, window)
        if n <= FEW and mask.shape[1] >= FAR:
            y = self._few(q, keys, values, mask if window else mask[:, -n:])
        else:
            y = self._run(self.hparams.n_layer, q=q, k=keys, v=values, mask=mask)['y']
        return y.swapaxes(0, 1).reshape(n, -1)

    def _few(self, q, keys, values, mask):
        """The same of few rows, in NumPy: q [head, n, features]; keys and values [head, all, features], of which mask [n, some] is that of the last
        -> [head, n, features]. With the keys in front, their product takes as long as reading them."""
        q, mask, y = np.ascontiguousarray(q.swapaxes(1, 2)), mask.T, np.empty_like(q)

        def look(heads):
            for axes in (1, 2), 1:                      # by the largest of each head, which is quick; where a row is far below that, of each row
                w = keys[heads] @ q[heads]                                                           # [heads, all, n]
                w[:, -len(mask):] += mask
                w -= w.max(axes, keepdims=True)
                w = np.exp(w, out=w).swapaxes(1, 2)
                total = w @ _ones(w.shape[2])
                if total.min() > FAINT:
                    break
            y[heads] = w @ values[heads] / total

        self._together(look, _halves(len(y)))
        return y

    def _look(self, qkv, values, places, groups):
        """The same of one new position in each of several rows, behind some that are there: qkv [rows, 3 * n_embd], values [2, row, head, n_ctx,
        features], places: [(row, position)] -> [rows, n_embd]. In NumPy, for LiteRT would first copy keys and values, which takes longer than all the
        rest. All sums are BLAS's (see REACH): how far the others look changes no digit."""
        qkv = qkv.reshape(len(places), 3, self.hparams.n_head, 1, -1)
        for (row, position), new in zip(places, qkv):
            values[:, row, :, position] = new[1:, :, 0]
        q = (qkv[:, 0] * self._scale).swapaxes(0, 1)                                                 # [head, rows, 1, features]
        y = np.empty_like(q)

        def look(heads):                                # head by head: the keys of one stay in the core's cache while some look at the same
            for some, there, mask in groups:
                keys, looked = values[:, there, heads, :mask.shape[-1]].swapaxes(1, 2)               # [head, some or 1, all, features] each
                w = q[heads, some] @ keys.swapaxes(2, 3)                                             # [head, some, 1, all]
                w += mask
                w -= np.maximum.reduce(w, axis=-1, keepdims=True)
                np.exp(w, out=w)
                np.divide(w @ looked, w @ _ones(mask.shape[-1]), out=y[heads, some])

        many = places[0][0] != places[-1][0] and sum(mask.size for _, _, mask in groups) >= MANY
        self._together(look, _halves(self.hparams.n_head) if many else [slice(None)])
        return y.swapaxes(0, 1).reshape(len(places), -1)

    def _together(self, f, shares):
        """f(share) of each share of some work, one or two, at the same time."""
        others = [self._pool.submit(f, share) for share in shares[1:]]
        f(shares[0])
        for other in others:
            other.result()

    def _run(self, part, **inputs):
        """A part of the model: {name: array} -> {name: array} in its memory, to be read before the part runs again."""
        model, graph, names = self._parts[part]
        shapes = [array.shape for array in inputs.values()]
        if shapes != self._ready[part][0]:
            self._ready[part] = None, {}, {}            # what lies elsewhere in a moment
            for name, shape in zip(inputs, shapes):
                model.ResizeInputTensor(names[name], np.array(shape, np.int32), False, graph)
            model.AllocateTensors(graph)
            places, found = ({name: self._tensor(self._parts[part], name) for name in some if name in names}
                             for some in (inputs, ('x_out', 'qkv', 'y', 'logits')))
            self._ready[part] = shapes, places, found
        _, places, found = self._ready[part]
        for name, array in inputs.items():
            np.copyto(places[name], array)              # SetTensor copies twice what is not contiguous, as keys are
        model.Invoke(graph)
        return found


def _let_go(weights):
    """Take a mapped file out of memory where it holds these. What is read again comes from the file again."""
    if os.name == 'posix':
        first, last = min(w.ctypes.data for w in weights), max(w.ctypes.data + w.nbytes for w in weights)
        start, end = (address // mmap.PAGESIZE * mmap.PAGESIZE for address in (first, last))
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


@functools.lru_cache(2)
def _mask(rows, everything, window=0):
    """What is added to products with keys, [rows, all]: -1e10 where the key comes after the row, or as far as a window before it, else 0."""
    hidden = np.full([rows, everything], -1e10, np.float32)
    return np.triu(hidden, everything - rows + 1) + (np.tril(hidden, everything - rows - window) if window else 0)


@functools.lru_cache
def _ones(n):
    return np.ones([n, 1], np.float32)


def _halves(n):
    """What each thread takes of n things: a slice, or two."""
    return [slice(n // 2, n), slice(n // 2)] if n > 1 else [slice(n)]


def _groups(rows, lengths, n_ctx, window=0):
    """Which of rows, of which the first `lengths` positions count, look together: neighbours of about the same length, or one row again and again
    -> (slice of rows, slice of the cache, mask [n, 1, all] that hides what is beyond a row's own length, or further back than a window)."""
    reaches, start = np.minimum(-(-lengths // REACH) * REACH, n_ctx), 0
    for stop in range(1, len(rows) + 1):
        more = slice(start, stop + 1)
        if stop == len(rows) or rows[stop] - rows[stop - 1] not in (0, 1) or (reaches[more].max() - reaches[more]).sum() > WASTE:
            some = slice(start, stop)
            there, length = np.arange(reaches[some].max()), lengths[some, None]
            hidden = (there >= length) | (there < length - window if window else False)
            yield some, slice(rows[start], rows[stop - 1] + 1), np.where(hidden, np.float32(-1e10), np.float32(0))[:, None]
            start = stop


# ---- what drives it

class Generator:
    """An Engine that is driven as sample.Generator is.

    draft: an Engine of the same model in fewer bits. It guesses the next tokens of a single text, each from the one before, and the engine reads them
    all in one pass, which takes little longer than a step: its weights come from memory once. Chosen by the same keys, most are what the engine
    has (choose.pick); from the first on that is not, they are dropped. The text is the engine's own, to the last digit, whatever was guessed
    (Leviathan et al. 2023, arXiv:2211.17192; by keys: Daliri et al. 2024, arXiv:2408.07978, section 4). The draft looks at the engine's keys and values.
    """
    READS_ALONG = True                                  # decode takes what is unread
    COMPILES = False
    GUESSES = 4                                         # tokens that the draft is ahead at most

    def __init__(self, engine, draft=None):
        self.engine, self.draft, self.hparams, self._ahead = engine, draft, engine.hparams, self.GUESSES
        self.guessed = self.held = 0                    # tokens that the draft guessed, and how many of them the engine had too

    def cache(self, batch_size=1):
        """An empty Cache."""
        return Cache(self.hparams, batch_size)

    def prefill(self, cache, X, row=None):
        """Put the tokens X [batch, n] behind what is in the cache; or [1, n] behind what is in that row."""
        rows = range(len(cache.lengths)) if row is None else [row]
        for at, ids in zip(rows, X):
            self.engine.put(cache, ids, at)
            cache.prompts[at] = cache.lengths[at] + 1

    def score(self, cache, ids, row=0):
        """Put ids [n + 1] but the last behind what is in a row -> log P of each but the first, float32 [n]."""
        logits = self.engine.read(cache, ids[:-1], row, every=True)
        most = logits.max(axis=-1)
        return logits[np.arange(len(ids) - 1), ids[1:]] - most - np.log(np.exp(logits - most[:, None]).sum(axis=-1))

    def decode(self, cache, last, draws, steps, settings, *, stops=(-1,), bias=None, active=None, unread=()):
        """Up to `steps` new tokens, and what there is room for, behind last [batch], which is not yet in the cache; when each row has made one of its
        stops, it is enough. The arguments are those of sample.Generator.decode. unread: ids in front of `last` that the only active row lacks; they are
        read in the pass that the first token needs anyway.

        Returns ids [batch, made]. The cache then holds `last` and all of them but the newest, in the active rows.
        """
        batch, n_ctx = len(cache.lengths), self.hparams.n_ctx
        rows = np.arange(batch) if active is None else np.flatnonzero(active)
        settings = [settings] * batch if isinstance(settings, Settings) else settings
        stops = np.broadcast_to(stops, [batch, np.shape(stops)[-1]])
        bias = [None] * batch if bias is None else np.broadcast_to(bias, [batch, self.hparams.n_vocab])
        last, made, done = np.array(last), [], np.ones(batch, bool)
        done[rows] = False
        steps, first = min(steps, n_ctx - len(unread) - cache.lengths[rows].max()), rows[0]
        keys = {row: draws[row](steps) for row in rows}

        def chosen(row, logits, n, i):
            """The i-th new token of a row, behind its first n positions."""
            return choose(logits, keys[row][i], settings[row], cache.ids[row, :n], cache.prompts[row], stops[row][stops[row] >= 0], bias[row])

        while len(made) < steps and not done.all():
            guesses = []
            if len(unread) and not made:
                logits = self.engine.read(cache, [*unread, last[first]], first)[None, None]              # [1, 1, n_vocab]
            elif self.draft and len(rows) == 1:
                guesses = self._guess(cache, first, last[first], steps - len(made) - 1, stops[first], functools.partial(chosen, first), len(made))
                logits = self.engine.steps(cache, [last[first], *guesses], first)[:, None]               # [guesses + 1, 1, n_vocab]
            else:
                logits = self.engine.step(cache, last[rows], rows)[None]                                 # [1, rows, n_vocab]
            lengths = cache.lengths[rows] - len(guesses)
            for ahead, column in enumerate(logits):
                for row, n, new in zip(rows, lengths + ahead, column):   # in two threads their short calls would wait for Python's lock
                    last[row] = chosen(row, new, n, len(made))
                made.append(last.copy())
                done |= (last[:, None] == stops).any(axis=1)
                if done.all() or [last[first]] != guesses[ahead:ahead + 1]:
                    break
            cache.cut(lengths + ahead, rows)
            self.guessed, self.held = self.guessed + len(guesses), self.held + ahead
            if guesses:
                self._ahead = min(self._ahead + 1, self.GUESSES) if ahead == len(guesses) else max(self._ahead - 1, 1)
        return np.array(made).T

    def _guess(self, cache, row, last, most, stops, chosen, i):
        """What the draft has behind `last`, which is not yet in the row: up to `most` tokens, of which the last may be a stop. chosen(logits, n, i):
        the i-th new token, behind the first n positions."""
        start, found = cache.lengths[row], []
        try:
            while len(found) < min(self._ahead, most) and not (found and last in stops):
                last = chosen(self.draft.step(cache, [last], np.array([row]))[0], start + len(found) + 1, i + len(found))
                found.append(last)
        finally:
            cache.cut(start, row)                       # the draft's keys and values are nobody's, whatever happens
        return found

    def beam_search(self, context, settings, length, beams, stops=(-1,)):
        """What stream.beam_search finds behind context [n], of at most `length` ids, for which there is room."""
        cache, n, stops = self.cache(beams), len(context), np.asarray(stops)
        self.prefill(cache, context[None, :-1], 0)
        for row in range(1, beams):
            cache.copy(0, row, n - 1)
        last, scores = np.full(beams, context[-1]), np.where(np.arange(beams) == 0, 0, REMOVED)          # at the start they are all the same
        texts, ended, made = np.zeros([beams, 0], np.int32), np.zeros(beams, bool), np.zeros(beams, np.int32)
        while texts.shape[1] < length and not ended.all():
            logits = [penalize(z, settings, ids[:n + texts.shape[1]], n, stops[stops >= 0], None) for z, ids in zip(self.engine.step(cache, last), cache.ids)]
            scores, parents, last = beam_step(scores, np.array(logits), ended, stops[0])
            cache.follow(parents, n - 1)
            texts, ended = np.concatenate([texts[parents], last[:, None]], axis=1), ended[parents]
            made = made[parents] + ~ended
            ended |= np.isin(last, stops)
        best = best_beam(scores, made)
        return texts[best, :made[best]].tolist()


def generator(prefix, models_dir='models', precision='int8', drafted=True):
    """The Generator of a checkpoint on this CPU; in float32, if `drafted`, with int8 as its draft. Raises OSError where the file of `precision` cannot
    be written."""
    if not drafted or precision == 'int8':
        return Generator(*engines(prefix, models_dir, precision))
    try:
        return Generator(*engines(prefix, models_dir, precision, 'int8'))
    except OSError as error:
        exact = engines(prefix, models_dir, precision)
        print(f'(nothing is guessed ahead: {error})', file=sys.stderr)
        return Generator(*exact)


def engines(prefix, models_dir, *precisions):
    """The Engines of a checkpoint, from the files `<precision>.tflite` beside it. Those that are missing are made of it: by another process, so that
    this one does without TensorFlow, and by one for all. Raises OSError where they cannot be written."""
    paths, sizes = {tflite.beside(prefix, precision): precision for precision in precisions}, os.path.join(os.path.dirname(prefix), 'hparams.json')
    of, found = files.sha256(prefix + '.index', *([sizes] if os.path.isfile(sizes) else [])), {}
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for _ in range(ATTEMPTS):                           # another process may make the file of another checkpoint of the folder
        for path, precision in paths.items():
            with contextlib.suppress(ValueError):
                engine = found.get(path) or Engine(path)
                if (engine.of, engine.precision) == (of, precision):
                    found[path] = engine
        missing = [path for path in paths if path not in found]
        if not missing:
            return [found[path] for path in paths]
        print(f'(making {" and ".join(missing)} of the weights: once, as long as they do not change)', file=sys.stderr)
        made = subprocess.run([sys.executable, '-m', 'src.tflite', os.path.abspath(prefix), os.path.abspath(models_dir), of, *map(paths.get, missing)],
                              cwd=root, stderr=subprocess.PIPE, text=True, errors='replace')
        if made.returncode:
            raise OSError(made.stderr.strip().splitlines()[-1] if made.stderr.strip() else f'{" and ".join(missing)} could not be made')
    raise OSError(f'{" and ".join(missing)}: made anew by another program again and again')

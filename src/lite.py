"""GPT-2 on the CPU, a conversation or a few: a token takes as long as reading the weights does, and TensorFlow is not imported.

    weights -> write -> int8.tflite, int8.head.tflite -> Engine: Cache, ids -> logits

The products with weights run in LiteRT, whose interpreter TensorFlow brings along: a library of 15 MB that loads by itself. int8 weights have
one scale per output; an activation row is rounded to int8 as it comes (Jacob et al. 2017, arXiv:1712.05877, section 2.1; the kernels are
XNNPACK's). The model is cut where attention is, so that keys and values stay in NumPy's arrays and a token looks at exactly those there are:

    part 0            x -> qkv                    norm, c_attn of layer 0
    part 1 ...        x, a -> x, qkv              c_proj, norm and mlp of the layer in front; norm, c_attn of the next
    part n_layer      q, k, v, mask -> y          attention of many rows; that of few, and of a single one, is NumPy's
    the head          x, a -> logits              the rest of the last layer; norm, the transposed embedding matrix

The head is a file of its own: while LiteRT makes itself a file ready, which it does as a whole, it has all weights of it twice.
Dimensions in brackets: rows (positions of the ids given), all (positions there are), head, features = n_embd / n_head.
"""
import contextlib
import ctypes
import functools
import importlib.machinery
import importlib.util
import json
import math
import mmap
import os
import struct
import subprocess
import sys
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from types import SimpleNamespace

import flatbuffers
import numpy as np

from . import console, files
from .choose import beam_step, best_beam, choose, penalize
from .settings import REMOVED, Settings

FORMAT = 3                                              # of the file; files of another are written anew
ALIGN = 64                                              # bytes: where a weight starts in the file
ROWS = 128                                              # positions in one pass: more are hardly faster and take more memory
ATTEMPTS = 5                                            # at a file that others make too
END = b'GPT2LITE'                                       # the last bytes of a whole file
REACH = 64                                              # positions by which attention of single rows looks further; behind so many, BLAS's kernels
                                                        # make the same sums whether zeros follow or not
WASTE = 256                                             # positions read in vain that cost what looking once more would: rows look together up to that
MANY = 600                                              # positions of several rows that two threads look at sooner than one
FEW, FAR = 64, 256                                      # up to so many rows NumPy looks at so many positions or more: LiteRT copies what it reads
FAINT = 1e-30                                           # a sum of exponentials that is larger lost nothing to float32's range


def _library(name):
    """A module of TensorFlow's LiteRT, without TensorFlow around it; the one that is there, should TensorFlow have loaded it."""
    full = 'tensorflow.lite.python.' + name
    if full not in sys.modules:
        folder = os.path.join(importlib.util.find_spec('tensorflow').submodule_search_locations[0], 'lite', 'python')
        spec = importlib.machinery.PathFinder.find_spec(full, [folder])
        sys.modules[full] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[full]


# ---- weights -> file

def quantized(w):
    """w [out, in] float32 -> (int8 [out, in], scales [out]) with w close to int8 * scale: each row's largest becomes 127."""
    scales = np.maximum(np.maximum(w.max(axis=1), -w.min(axis=1)) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    q = np.empty(w.shape, np.int8)
    for i in range(0, len(w), 1024):                    # in pieces: the embedding matrix is the largest array there is
        q[i:i + 1024] = np.rint(w[i:i + 1024] / scales[i:i + 1024, None])
    return q, scales


class _Model:
    """The tables of a .tflite file (TensorFlow's schema.fbs), and the arrays that follow them."""

    def __init__(self):
        self.schema = _library('schema_py_generated')
        self.table = self.schema.ModelT(version=3, operatorCodes=[], subgraphs=[], buffers=[self.schema.BufferT()])
        self.arrays = []
        self._codes = {}

    def code(self, name):
        """The number under which this file knows the operator `name`."""
        if name not in self._codes:
            number = getattr(self.schema.BuiltinOperator, name)
            self.table.operatorCodes.append(self.schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=1))
        return self._codes.setdefault(name, len(self._codes))

    def buffer(self, array):
        """The number of a buffer that holds the array."""
        self.arrays.append(array)
        self.table.buffers.append(self.schema.BufferT())
        return len(self.arrays)

    def save(self, path, sealed=False):
        """The tables, then each array at a multiple of ALIGN. Where an array lies is in the tables; how long these are does not depend on it. sealed: with
        what _check_whole looks for behind it."""
        start = _aligned(len(self._tables(1 << 40)))
        with files.whole(path) as file:
            tables = self._tables(start)
            file.write(tables)
            for buffer, array in zip(self.table.buffers[1:], self.arrays):
                file.seek(buffer.offset)
                file.write(np.ascontiguousarray(array))
            if sealed:
                file.seek(0, os.SEEK_END)
                file.write(struct.pack('<QI', len(tables), zlib.crc32(tables)) + END)

    def _tables(self, start):
        for buffer, array in zip(self.table.buffers[1:], self.arrays):
            buffer.offset, buffer.size = start, array.nbytes
            start += _aligned(array.nbytes)
        builder = flatbuffers.Builder()
        builder.Finish(self.table.Pack(builder), b'TFL3')
        return builder.Output()


def _aligned(n):
    return -(-n // ALIGN) * ALIGN


class _Part:
    """A function of the file in the making. Tensors are numbers; those with a name can be found again."""

    def __init__(self, model):
        self.model, self.schema = model, model.schema
        self.graph = self.schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[])
        model.table.subgraphs.append(self.graph)

    def tensor(self, shape, name, dtype='float32', **options):
        self.graph.tensors.append(self.schema.TensorT(shape=list(shape), name=name, type=getattr(self.schema.TensorType, dtype.upper()), **options))
        return len(self.graph.tensors) - 1

    def input(self, name, *shape):
        """[1, width] or the like: as many rows as the caller has, in the end."""
        self.graph.inputs.append(self.tensor(shape, name))
        return self.graph.inputs[-1]

    def constant(self, array, name='', scales=None):
        """scales: one for each row of an int8 array."""
        quantization = None if scales is None else self.schema.QuantizationParametersT(scale=scales, zeroPoint=np.zeros(len(scales), np.int64))
        return self.tensor(array.shape, name, str(array.dtype), buffer=self.model.buffer(array), quantization=quantization)

    def number(self, value):
        return self.constant(np.array([value], np.float32))

    def op(self, name, *inputs, shape=None, options=None, **settings):
        """The operator's result, of its first input's shape unless told."""
        options = options or name.title().replace('_', '') + 'Options'
        table = getattr(self.schema, options + 'T', None)
        result = self.tensor(shape or self.graph.tensors[inputs[0]].shape, '')
        self.graph.operators.append(self.schema.OperatorT(
            opcodeIndex=self.model.code(name), inputs=list(inputs), outputs=[result],
            builtinOptions=table and table(**settings), builtinOptionsType=getattr(self.schema.BuiltinOptions, options, 0)))
        return result

    def output(self, tensor, name):
        self.graph.tensors[tensor].name = name
        self.graph.outputs.append(tensor)


class _Writer:
    """model.py's pieces as operators of a part. get(name): the checkpoint's array of that name, below `model/`."""

    def __init__(self, part, get, precision, hparams):
        self.part, self.get, self.precision, self.hparams = part, get, precision, hparams
        self.op = part.op

    def weights(self, w, name):
        """A matrix [out, in] in the file's precision."""
        array, scales = quantized(w) if self.precision == 'int8' else (w, None)
        return self.part.constant(array, name, scales)

    def connected(self, x, weights, bias=-1):
        """x [rows, in], weights [out, in] -> [rows, out]."""
        return self.op('FULLY_CONNECTED', x, weights, bias, shape=[1, self.part.graph.tensors[weights].shape[0]], keepNumDims=True)

    def conv1d(self, x, at):
        return self.connected(x, self.weights(self.get(at + '/w')[0].T, at + '/w'), self.part.constant(self.get(at + '/b')))

    def norm(self, x, at):
        d = self.op('SUB', x, self._mean(x))
        y = self.op('MUL', d, self.op('RSQRT', self.op('ADD', self._mean(self.op('MUL', d, d)), self.part.number(self.hparams.layer_norm_epsilon))))
        return self.op('ADD', self.op('MUL', y, self.part.constant(self.get(at + '/g'))), self.part.constant(self.get(at + '/b')))

    def _mean(self, x):
        return self.op('MEAN', x, self.part.constant(np.array([1], np.int32)), shape=[1, 1], options='ReducerOptions', keepDims=True)

    def activated(self, x):
        """As one of model.ACTIVATIONS."""
        match self.hparams.activation_function:
            case 'silu':
                return self.op('MUL', x, self.op('LOGISTIC', x))
            case 'relu' | 'tanh' as name:
                return self.op(name.upper(), x)
            case name:
                return self.op('GELU', x, approximate=name == 'gelu_new')

    def after(self, x, a, h):
        """What is behind a layer's attention: its output a [rows, n_embd] into the stream x, then the mlp."""
        x = self.op('ADD', x, self.conv1d(a, h + '/attn/c_proj'))
        m = self.activated(self.conv1d(self.norm(x, h + '/ln_2'), h + '/mlp/c_fc'))
        return self.op('ADD', x, self.conv1d(m, h + '/mlp/c_proj'))


def write(path, hparams, get, *, precision='int8', of=''):
    """Write the model for Engine, at path and beside it. get(name): the array of the checkpoint's variable model/<name>, float32.

    precision: int8 or float32, of the weights. of: what tells these weights from others; Engine gives it back.
    """
    about = {'format': FORMAT, 'of': of, 'precision': precision, 'hparams': asdict(hparams)}
    about = np.frombuffer(json.dumps(about).encode(), np.uint8)
    layers, head = _Model(), _Model()
    for i in range(hparams.n_layer + 1):
        part = _Part(layers if i < hparams.n_layer else head)
        writer = _Writer(part, get, precision, hparams)
        x = part.input('x', 1, hparams.n_embd)
        if i == hparams.n_layer:
            wte = writer.weights(get('wte'), 'wte')     # the first in the file, where Engine finds rows of it
        if i > 0:
            x = writer.after(x, part.input('a', 1, hparams.n_embd), f'h{i - 1}')
        if i < hparams.n_layer:
            if i > 0:
                part.output(x, 'x_out')
            part.output(writer.conv1d(writer.norm(x, f'h{i}/ln_1'), f'h{i}/attn/c_attn'), 'qkv')
        else:
            x = writer.norm(x, 'ln_f')
            part.output(writer.connected(x, wte if hparams.tie_word_embeddings else writer.weights(get('lm_head'), 'lm_head')), 'logits')
            part.constant(get('wpe'), 'wpe')
            part.constant(about, 'about')
    part = _Part(layers)
    _attention(part, hparams.n_head, hparams.n_embd // hparams.n_head)
    part.constant(about, 'about')
    head.save(_head(path), sealed=True)
    layers.save(path, sealed=True)


def _head(path):
    """Where the head of the model at path is."""
    start, end = os.path.splitext(path)
    return f'{start}.head{end}'


def _attention(part, n_head, features):
    """model.look, of one row and one position until the caller has more; mask [rows, all] is added."""
    q, k, v = (part.input(name, n_head, 1, features) for name in 'qkv')
    w = part.op('BATCH_MATMUL', q, k, shape=[n_head, 1, 1], options='BatchMatMulOptions', adjY=True)
    w = part.op('SOFTMAX', part.op('ADD', w, part.input('mask', 1, 1)), beta=1.0)
    part.output(part.op('BATCH_MATMUL', w, v, shape=[n_head, 1, features], options='BatchMatMulOptions'), 'y')


# ---- file -> logits

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
        (about, _), (again, tables) = self._load(path, threads), self._load(_head(path), threads)
        self.hparams, self.precision, self.of = SimpleNamespace(**about['hparams']), about['precision'], about['of']
        model, graph, names = self._parts[-1]
        self._wpe, self._scales = self._tensor(self._parts[-1], 'wpe'), model.TensorQuantizationParameters(names['wte'], graph)[0]   # [n_vocab], or none
        self._wte, self._wte_start = open(_head(path), 'rb', buffering=0), _aligned(tables)
        weakref.finalize(self, self._wte.close)
        if about != again or (self._rows([0]) != self._tensor(self._parts[-1], 'wte')[0]).any():         # somebody wrote one of them in between
            raise ValueError(f'{path} and {_head(path)} are of different weights')
        self._pool = ThreadPoolExecutor(1)
        self._windows = self.hparams.windows or [0] * self.hparams.n_layer
        self._scale = np.float32(1 / math.sqrt(self.hparams.n_embd // self.hparams.n_head))
        self._shapes = [None for part in self._parts]   # of the inputs that each part is ready for

    def _load(self, path, threads):
        """Add a file's parts. Returns what it says about itself, and how long its tables are."""
        tables = _check_whole(path)
        with console.quietly(tell=False):               # LiteRT tells that it has made its delegate; what is wrong with a file, the ValueError says
            model = _library('_pywrap_tensorflow_interpreter_wrapper').CreateWrapperFromFile(
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
                found.append(self._run(-1, x=x, a=a)['logits'])
        return np.concatenate(found) if every else self._run(-1, x=x[-1:], a=a[-1:])['logits'][0]

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
        x, a = self._layers(x, lambda qkv, layer: self._look(qkv, cache.values[layer], rows, lengths, groups[self._windows[layer]]))
        cache.ids[rows, lengths] = ids
        cache.lengths[rows] = lengths + 1
        return self._run(-1, x=x, a=a)['logits']

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

    def _look(self, qkv, values, rows, lengths, groups):
        """The same of one new position in each of several rows, behind their first `lengths`: qkv [rows, 3 * n_embd], values [2, row, head, n_ctx,
        features] -> [rows, n_embd]. In NumPy, for LiteRT would first copy keys and values, which takes longer than all the rest. All sums are
        BLAS's (see REACH): how far the others look changes no digit."""
        qkv = qkv.reshape(len(rows), 3, self.hparams.n_head, -1)
        values[0][rows, :, lengths], values[1][rows, :, lengths] = qkv[:, 1], qkv[:, 2]
        q, y = qkv[:, 0, :, None] * self._scale, np.empty_like(qkv[:, 0])                            # [rows, head, 1, features], [rows, head, features]

        def look(heads):
            for some, there, mask in groups:
                keys, looked = values[:, there, heads, :mask.shape[-1]]                              # [some, head, all, features] each
                w = q[some, heads] @ keys.swapaxes(2, 3) + mask                                      # [some, head, 1, all]
                w = np.exp(w - w.max(axis=-1, keepdims=True))
                y[some, heads] = (w @ looked / (w @ _ones(mask.shape[-1])))[:, :, 0]

        many = len(rows) > 1 and sum(mask.size for _, _, mask in groups) >= MANY
        self._together(look, _halves(self.hparams.n_head) if many else [slice(None)])
        return y.reshape(len(rows), -1)

    def _together(self, f, shares):
        """f(share) of each share of some work, one or two, at the same time."""
        others = [self._pool.submit(f, share) for share in shares[1:]]
        f(shares[0])
        for other in others:
            other.result()

    def _run(self, part, **inputs):
        """A part of the model: {name: array} -> {name: array}."""
        model, graph, names = self._parts[part]
        shapes = [array.shape for array in inputs.values()]
        if shapes != self._shapes[part]:
            for name, shape in zip(inputs, shapes):
                model.ResizeInputTensor(names[name], np.array(shape, np.int32), False, graph)
            model.AllocateTensors(graph)
            self._shapes[part] = shapes
        for name, array in inputs.items():
            np.copyto(self._tensor(self._parts[part], name), array)        # into its memory; SetTensor copies twice what is not contiguous, as keys are
        model.Invoke(graph)
        return {name: model.GetTensor(names[name], graph) for name in ('x_out', 'qkv', 'y', 'logits') if name in names}


def _check_whole(path):
    """Raise ValueError for a file that is not there, cut off, or damaged in its tables, of which LiteRT believes everything. Returns their length."""
    try:
        with open(path, 'rb') as file:
            file.seek(-20, os.SEEK_END)
            length, crc = struct.unpack('<QI', file.read(12))
            if file.read() != END or length > os.path.getsize(path):
                raise ValueError(f'{path} is not whole')
            file.seek(0)
            if zlib.crc32(file.read(length)) != crc:
                raise ValueError(f'{path} is damaged')
            return length
    except OSError as error:
        raise ValueError(f'{path}: {error.strerror}') from None


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
    """Which of rows, of which the first `lengths` positions count, look together: neighbours of about the same length -> (slice of rows, slice of
    the cache, mask [n, 1, 1, all] that hides what is beyond a row's own length, or further back than a window)."""
    reaches, start = np.minimum(-(-lengths // REACH) * REACH, n_ctx), 0
    for stop in range(1, len(rows) + 1):
        more = slice(start, stop + 1)
        if stop == len(rows) or rows[stop] != rows[stop - 1] + 1 or (reaches[more].max() - reaches[more]).sum() > WASTE:
            some = slice(start, stop)
            there, length = np.arange(reaches[some].max()), lengths[some, None]
            hidden = (there >= length) | (there < length - window if window else False)
            yield some, slice(rows[start], rows[stop - 1] + 1), np.where(hidden, np.float32(-1e10), np.float32(0))[:, None, None]
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


def generator(prefix, models_dir='models', precision='int8'):
    """The Generator of a checkpoint on this CPU; in float32 with int8 as its draft. Raises OSError where `engine` does."""
    exact, draft = engine(prefix, models_dir, precision), None
    if precision != 'int8':
        try:
            draft = engine(prefix, models_dir)
        except OSError as error:
            print(f'(nothing is guessed ahead: {error})', file=sys.stderr)
    return Generator(exact, draft)


def engine(prefix, models_dir='models', precision='int8'):
    """The Engine of a checkpoint, from the file `<precision>.tflite` beside it, which is made of it if need be: by another process, so that this
    one does without TensorFlow. Raises OSError where that file cannot be written."""
    folder = os.path.dirname(prefix)
    path, sizes = os.path.join(folder, precision + '.tflite'), os.path.join(folder, 'hparams.json')
    of = files.sha256(prefix + '.index', *([sizes] if os.path.isfile(sizes) else []))
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for _ in range(ATTEMPTS):                           # another process may make the file of another checkpoint of the folder
        with contextlib.suppress(ValueError):
            found = Engine(path)
            if (found.of, found.precision) == (of, precision):
                return found
        print(f'(making {path} of the weights: once, as long as they do not change)', file=sys.stderr)
        made = subprocess.run([sys.executable, '-m', 'src.lite', *map(os.path.abspath, (prefix, models_dir, path)), precision, of],
                              cwd=root, stderr=subprocess.PIPE, text=True, errors='replace')
        if made.returncode:
            raise OSError(made.stderr.strip().splitlines()[-1] if made.stderr.strip() else f'{path} could not be made')
    raise OSError(f'{path} is made anew by another program again and again')


def main(prefix, models_dir, path, precision, of):
    """Write the file for `generator`."""
    console.import_tensorflow()
    from . import checkpoint, model
    hparams, params = checkpoint.load(prefix, models_dir)
    found = model.flat(params)
    write(path, hparams, lambda name: found[name].numpy(), precision=precision, of=of)


if __name__ == '__main__':
    console.run(lambda: main(*sys.argv[1:]))

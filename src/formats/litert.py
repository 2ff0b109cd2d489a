"""LiteRT, formerly TensorFlow Lite, for phones and everything small: out/model.tflite, beside it the vocabulary and chat.json (frame.about).

    ids [n], positions [n] int32, past [2 * n_layer, n_head, m, features], mask [n, m + n]   ->   logits [1, n_vocab], new [2 * n_layer, n_head, n, features]

One function under two names, prefill (any n) and decode (n = 1), of builtin operators only. The caller keeps the cache: past holds keys and values of
earlier positions, as many as he likes, those of layer i at 2 i and 2 i + 1; new are those of ids, to be put behind them. mask is added to the products of
queries and keys: 0 where a position may look, -1e9 where not: at what of past is not filled, and at later ones of ids. logits are of what follows
the last id. So a token copies what was said, not room for all that could be. examples/litert_chat.py chats with it in thirty lines.

int8: matrices, with one scale per output (tflite.quantized); float32: all as it is. A model with token types (hparams.type_tokens) also takes types [n], of ids; -1: none.
"""
import os
from dataclasses import dataclass
from typing import Callable

import numpy as np

from .. import tflite
from ..model import shapes
from . import frame, refuse, vocabulary
from .vocabulary import write_json


@dataclass(frozen=True)
class Later:
    """An array that is made when it is written, so that there is one at a time."""
    shape: tuple
    dtype: np.dtype
    make: Callable

    @property
    def nbytes(self):
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __array__(self, dtype=None, copy=None):
        return self.make()


class Graph(tflite.Part):
    """tflite's function in the making, with operators on other kinds of numbers, and of several results."""

    def take(self, name, *shape, dtype='float32'):
        """An input; -1 in its shape: as many as the caller has."""
        self.graph.inputs.append(self.tensor([abs(n) for n in shape], name, dtype, shapeSignature=list(shape)))
        return self.graph.inputs[-1]

    def ints(self, *values):
        return self.constant(np.array(values, np.int32))

    def typed(self, tensor, dtype):
        """The tensor, of other numbers than op takes it for."""
        self.graph.tensors[tensor].type = getattr(self.schema.TensorType, dtype.upper())
        return tensor

    def gather(self, table, ids, dtype='float32'):
        """Rows of a table [.., width], ids [n] -> [n, width]."""
        return self.typed(self.op('GATHER', table, ids, shape=[1, self.graph.tensors[table].shape[1]]), dtype)

    def several(self, name, *inputs, n, shape, **settings):
        """op, with n results of a shape."""
        first = self.op(name, *inputs, shape=shape, **settings)
        self.graph.operators[-1].outputs = [first, *(self.tensor(shape, '') for _ in range(n - 1))]
        return self.graph.operators[-1].outputs

    def turned(self, x, shape, *order):
        """x, taken as `shape`, its axes in another order."""
        found = [abs(n) for n in shape]
        x = self.op('RESHAPE', x, self.ints(*shape), shape=found)
        return self.op('TRANSPOSE', x, self.ints(*order), shape=[found[i] for i in order])


class Writer(tflite.Writer):
    """tflite's pieces, with weights that are fetched when they are written."""

    def __init__(self, part, source, precision):
        super().__init__(part, source.get, precision, source.hparams)
        self.shapes = shapes(source.hparams)

    def conv1d(self, x, at):
        return self.connected(x, self.matrix(at + '/w')[0], self.part.constant(self.get(at + '/b')))

    def matrix(self, name):
        """A matrix of the model as a constant [out, in] -> (its tensor, its scales [out] or None)."""
        def array():
            return self.get(name)[0].T if name.endswith('/w') else self.get(name)

        *_, a, b = self.shapes[name]
        shape = (b, a) if name.endswith('/w') else (a, b)
        if self.precision == 'float32':
            return self.part.constant(Later(shape, np.dtype(np.float32), array), name), None
        scales = tflite.quantized(array())[1]
        return self.part.constant(Later(shape, np.dtype(np.int8), lambda: tflite.quantized(array())[0]), name, scales), scales

    def embedding(self):
        """(the matrix wte, a function of ids [n] -> their rows [n, n_embd])"""
        part, (wte, scales) = self.part, self.matrix('wte')
        if scales is None:
            return wte, lambda ids: part.gather(wte, ids)
        about = part.graph.tensors[wte]
        table, column = part.tensor(about.shape, '', 'int8', buffer=about.buffer), part.constant(scales[:, None])       # the same bytes, as plain numbers
        return wte, lambda ids: self.op('MUL', self.op('CAST', part.gather(table, ids, 'int8')), part.gather(column, ids))


def write(out, source, precision):
    """Write the folder's files."""
    h = source.hparams
    refuse(h, 'litert', held=['type_tokens', 'n_inner', 'activation_function', 'layer_norm_epsilon', 'tie_word_embeddings'])
    model = tflite.Model()
    part = Graph(model)
    writer, features = Writer(part, source, precision), h.n_embd // h.n_head
    ids, positions = part.take('ids', -1, dtype='int32'), part.take('positions', -1, dtype='int32')
    past, mask = part.take('past', 2 * h.n_layer, h.n_head, -1, features), part.take('mask', -1, -1)
    part.graph.tensors[mask].shape = [1, 2]
    wte, embed = writer.embedding()
    x = part.op('ADD', embed(ids), part.gather(writer.part.constant(Later((h.n_ctx, h.n_embd), np.dtype(np.float32), lambda: source.get('wpe'))), positions))
    if h.type_tokens:
        types = part.take('types', -1, dtype='int32')
        known = part.typed(part.op('MAXIMUM', types, part.ints(0), shape=[1], options='MaximumMinimumOptions'), 'int32')
        there = part.op('CAST', part.typed(part.op('GREATER_EQUAL', types, part.ints(0), shape=[1]), 'bool'))
        x = part.op('ADD', x, part.op('MUL', embed(known), part.op('RESHAPE', there, part.ints(-1, 1), shape=[1, 1]), shape=[1, h.n_embd]))
    olds, news = part.several('UNPACK', past, n=2 * h.n_layer, shape=[h.n_head, 1, features], num=2 * h.n_layer, axis=0), []
    for layer in range(h.n_layer):
        name = f'h{layer}'
        qkv = part.several('SPLIT', part.ints(1), writer.conv1d(writer.norm(x, name + '/ln_1'), name + '/attn/c_attn'), n=3, shape=[1, h.n_embd], numSplits=3)
        q, k, v = (part.turned(z, [-1, h.n_head, features], 1, 0, 2) for z in qkv)                  # [n_head, n, features]
        news += [k, v]
        keys, values = (part.op('CONCATENATION', old, new, shape=[h.n_head, 2, features], axis=1) for old, new in zip(olds[2 * layer:], (k, v)))
        w = part.op('BATCH_MATMUL', part.op('MUL', q, part.number(features ** -0.5)), keys, shape=[h.n_head, 1, 2], options='BatchMatMulOptions', adjY=True)
        w = part.op('SOFTMAX', part.op('ADD', w, mask), beta=1.0)
        y = part.op('BATCH_MATMUL', w, values, shape=[h.n_head, 1, features], options='BatchMatMulOptions')
        a = part.op('RESHAPE', part.op('TRANSPOSE', y, part.ints(1, 0, 2), shape=[1, h.n_head, features]), part.ints(-1, h.n_embd), shape=[1, h.n_embd])
        x = writer.after(x, a, name)
    last = part.op('STRIDED_SLICE', x, part.ints(-1, 0), part.ints(0, h.n_embd), part.ints(1, 1), shape=[1, h.n_embd], endMask=1)
    part.output(writer.connected(writer.norm(last, 'ln_f'), wte if h.tie_word_embeddings else writer.matrix('lm_head')[0]), 'logits')
    part.output(part.op('PACK', *news, shape=[2 * h.n_layer, h.n_head, 1, features], valuesCount=2 * h.n_layer, axis=0), 'new')
    _name(model, part, 'prefill', 'decode')
    model.save(os.path.join(out, 'model.tflite'))
    vocabulary.write(out, source)
    write_json(out, 'chat.json', {'past': [2 * h.n_layer, h.n_head, h.n_ctx, features], 'types': list(h.type_tokens)} | frame.about(source))


def _name(model, part, *keys):
    """Let the function be called by these names."""
    def pairs(tensors):
        return [part.schema.TensorMapT(name=part.graph.tensors[i].name, tensorIndex=i) for i in tensors]

    model.table.signatureDefs = [part.schema.SignatureDefT(pairs(part.graph.inputs), pairs(part.graph.outputs), key, 0) for key in keys]

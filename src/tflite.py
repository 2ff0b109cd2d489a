"""GPT-2's weights -> LiteRT's files, for lite.py and for phones (formats/litert.py).

    name.tflite         part 0            x -> qkv                    norm, c_attn of layer 0
                        part 1 ...        x, a -> x, qkv              c_proj, norm and mlp of the layer in front; norm, c_attn of the next
                        part n_layer      q, k, v, mask -> y          attention
    name.head.tflite    the head          x, a -> logits              the rest of the last layer; norm, the transposed embedding matrix

The model is cut where attention is, so that keys and values stay in the caller's arrays. The head is a file of its own: while LiteRT makes
itself a file ready, which it does as a whole, it has all weights of it twice. int8 weights have one scale per output (Jacob et al. 2017,
arXiv:1712.05877, section 2.1). Dimensions in brackets: rows (positions of the ids given), all (positions there are), head, features = n_embd / n_head.
"""
import inspect
import json
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import flatbuffers
import numpy as np

from . import console, files
from .console import UserError

FORMAT = 3                                              # of the file; files of another are written anew
ALIGN = 64                                              # bytes: where a weight starts in the file
END = b'GPT2LITE'                                       # the last bytes of a whole file
PIECE = 256                                             # rows of a matrix that are rounded at a time


def quantized(w):
    """w [out, in] float32 -> (int8 [out, in], scales [out]) with w close to int8 * scale: each row's largest becomes 127."""
    q, scales = np.empty(w.shape, np.int8), np.empty(len(w), np.float32)

    def some(start):                                    # in pieces, which the cores share: the embedding matrix is the largest array there is
        rows = slice(start, start + PIECE)
        scales[rows] = np.maximum(np.maximum(w[rows].max(axis=1), -w[rows].min(axis=1)) / 127, np.finfo(np.float32).tiny)
        x = w[rows] / scales[rows, None]
        q[rows] = np.rint(x, out=x)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(some, range(0, len(w), PIECE)))
    return q, scales


class Model:
    """The tables of a .tflite file (TensorFlow's schema.fbs), and the arrays that follow them."""

    def __init__(self):
        self.schema = console.part_of_tensorflow('lite.python.schema_py_generated')
        if 'version' not in inspect.signature(self.schema.ModelT).parameters:
            raise UserError('LiteRT is for TensorFlow 2.21 and later, and here is an older one: pip install -r requirements.txt')
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
        what check_whole looks for behind it."""
        start = aligned(len(self._tables(1 << 40)))
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
            start += aligned(array.nbytes)
        builder = flatbuffers.Builder()
        builder.Finish(self.table.Pack(builder), b'TFL3')
        return builder.Output()


def aligned(n):
    """The multiple of ALIGN from n bytes up."""
    return -(-n // ALIGN) * ALIGN


class Part:
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


class Writer:
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
        """As one of hparams.ACTIVATIONS."""
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
    layers, head = Model(), Model()
    for i in range(hparams.n_layer + 1):
        part = Part(layers if i < hparams.n_layer else head)
        writer = Writer(part, get, precision, hparams)
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
    part = Part(layers)
    _attention(part, hparams.n_head, hparams.n_embd // hparams.n_head)
    part.constant(about, 'about')
    head.save(head_path(path), sealed=True)
    layers.save(path, sealed=True)


def beside(prefix, precision):
    """Where the file of a checkpoint in a precision is."""
    return os.path.join(os.path.dirname(prefix), precision + '.tflite')


def head_path(path):
    """Where the head of the model at path is."""
    start, end = os.path.splitext(path)
    return f'{start}.head{end}'


def _attention(part, n_head, features):
    """model.look, of one row and one position until the caller has more; mask [rows, all] is added."""
    q, k, v = (part.input(name, n_head, 1, features) for name in 'qkv')
    w = part.op('BATCH_MATMUL', q, k, shape=[n_head, 1, 1], options='BatchMatMulOptions', adjY=True)
    w = part.op('SOFTMAX', part.op('ADD', w, part.input('mask', 1, 1)), beta=1.0)
    part.output(part.op('BATCH_MATMUL', w, v, shape=[n_head, 1, features], options='BatchMatMulOptions'), 'y')


def check_whole(path):
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


def main(prefix, models_dir, of, *precisions):
    """Write the files of a checkpoint, beside it."""
    from . import bundles                               # which no chat needs
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    with console.quietly():
        hparams, found = bundles.read_weights(prefix, models_dir)
    for precision in precisions:
        write(beside(prefix, precision), hparams, lambda name: found[name](), precision=precision, of=of)


if __name__ == '__main__':
    console.run(lambda: main(*sys.argv[1:]))

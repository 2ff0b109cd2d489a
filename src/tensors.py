"""Files of weights as others write them -> {name: array}. What a file says is parsed; nothing in it is executed.

    model.safetensors       8 bytes, the length of a JSON text; the text; numbers
                            {"wte.weight": {"dtype": "F16", "shape": [50257, 768], "data_offsets": [0, 77194752]}, ...}
    pytorch_model.bin       a zip whose files are stored as they are: x/data.pkl, a pickle that puts a dict of tensors together; x/data/0, ... numbers.
                            Before torch 1.6: four pickles (a magic number, a version, the machine, the dict), one of the numbers' names, the numbers
    tf_model.h5             HDF5, under Keras's names: transformer/tfgp_t2lm_head_model/transformer/h_._0/attn/c_attn/weight:0
    ...index.json           {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", ...}}: over several files of one of these kinds

The numbers stay in the file until one looks at them. No file makes arrays larger than itself.
"""
import contextlib
import io
import json
import math
import os
import pickletools
import re
import struct
import zipfile
from typing import NamedTuple

import ml_dtypes
import numpy as np

from .console import UserError

KINDS = ('.safetensors', '.bin', '.h5')
SAFE = {'F64': 'float64', 'F32': 'float32', 'F16': 'float16', 'BF16': ml_dtypes.bfloat16, 'I64': 'int64', 'I32': 'int32', 'I16': 'int16', 'I8': 'int8',
        'U8': 'uint8', 'BOOL': 'bool'}
STORAGES = {'torch.DoubleStorage': 'float64', 'torch.FloatStorage': 'float32', 'torch.HalfStorage': 'float16', 'torch.BFloat16Storage': ml_dtypes.bfloat16,
            'torch.LongStorage': 'int64', 'torch.IntStorage': 'int32', 'torch.ShortStorage': 'int16', 'torch.CharStorage': 'int8', 'torch.ByteStorage': 'uint8',
            'torch.BoolStorage': 'bool'}
MAGIC = 0x1950a86a20f9469cfc6c                          # torch's, before its zips
PICKLE = 1 << 23                                        # bytes of a pickle that we read; that of a thousand tensors has 200 KB


def read(path):
    """A file of weights, or the index of several -> {name: array, or what np.asarray makes one of}. Raises UserError."""
    if path.endswith('.index.json'):
        found = {}
        for shard in shards(path):
            found |= read(shard)
        return found
    with _telling(path):
        if path.endswith('.h5'):
            return _h5(path)
        data = np.memmap(path, np.uint8, 'r')
        if path.endswith('.safetensors'):
            return _safetensors(data)
        return _torch_zip(path, data) if zipfile.is_zipfile(path) else _torch_legacy(data)


def shards(path):
    """The files that an index names, which lie beside it. Raises UserError."""
    with _telling(path):
        with open(path, encoding='utf-8') as file:
            names = sorted(set(json.load(file)['weight_map'].values()))
        for name in names:
            if not re.fullmatch(r'[\w.-]+', name) or not name.endswith(KINDS):
                raise UserError(f'it names {name[:80]!r}, which is no file of weights beside it.')
    return [os.path.join(os.path.dirname(path), name) for name in names]


@contextlib.contextmanager
def _telling(path):
    """What is wrong within is wrong with this file."""
    try:
        yield
    except UserError as error:
        raise UserError(f'{path}: {error}') from None
    except FileNotFoundError:
        raise UserError(f'{path}: there is no such file; download it again.') from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, OSError, EOFError, NotImplementedError,
            struct.error, zipfile.BadZipFile) as error:
        why = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(f'{path} is cut short or damaged: download it again ({why}).') from None


def _numbers(data, dtype, start, count):
    """`count` numbers at a byte of the file, where they lie."""
    dtype = np.dtype(dtype)
    end = start + count * dtype.itemsize
    if not 0 <= start <= end <= len(data):
        raise ValueError(f'bytes {start} to {end} of {len(data)}')
    return data[start:end].view(dtype)


# ---- safetensors

def _safetensors(data):
    length = int.from_bytes(data[:8].tobytes(), 'little')
    found = {}
    about_all, data = json.loads(data[8:8 + length].tobytes()), data[8 + length:]
    for name, about in about_all.items():
        if name == '__metadata__':
            continue
        if about['dtype'] not in SAFE:
            raise UserError(f'{name} is stored as {about["dtype"]}, which is not read here; these are: {", ".join(SAFE)}.')
        start, end = about['data_offsets']
        values = _numbers(data, SAFE[about['dtype']], start, math.prod(about['shape']))
        if values.nbytes != end - start:
            raise ValueError(f'{name} has {values.nbytes} bytes in {end - start}')
        found[name] = values.reshape(about['shape'])
    return found


# ---- HDF5

def _h5(path):
    import h5py
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual or item.id.get_storage_size() < item.nbytes:
                raise UserError(f'{name} is not in this file, or compressed, which is not read here.')
            name = name.removesuffix(':0').replace('_._', '/').replace('/gamma', '/weight').replace('/beta', '/bias').replace('/embeddings', '/weight')
            found[name.replace('/', '.')] = item

    h5py.File(path, 'r').visititems(visit)              # open as long as anyone has one of its datasets
    return found


# ---- torch

class _Storage(NamedTuple):
    """A row of numbers that tensors share."""
    dtype: object
    key: str
    length: int


class _Tensor(NamedTuple):
    """A part of one: torch's sizes, and steps in numbers from one to the next."""
    storage: _Storage
    offset: int
    size: tuple
    stride: tuple


def _persistent(what):
    """What a pickle of torch's keeps outside itself: ('storage', 'torch.FloatStorage', '0', 'cpu', length), since torch 0.4 in old files also None."""
    kind, dtype, key, _, length, *view = what
    if kind != 'storage' or dtype not in STORAGES or view not in ([], [None]) or type(length) is not int:
        raise UserError('it keeps something outside its pickle that is no row of numbers.')
    return _Storage(STORAGES[dtype], str(key), length)


# What a pickle may call, and all that it may call
CALLS = {'collections.OrderedDict': lambda: {},
         'torch._utils._rebuild_tensor': lambda storage, offset, size, stride: _Tensor(storage, offset, size, stride),
         'torch._utils._rebuild_tensor_v2': lambda storage, offset, size, stride, *_: _Tensor(storage, offset, size, stride),
         'torch._utils._rebuild_parameter': lambda tensor, *_: tensor}
PLAIN = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}


def _parse(file):
    """The next pickle of a file -> what it holds: dicts, lists, tuples, texts and numbers, and _Tensors.

    The pickle's machine, as far as a dict of tensors needs it. Names stay texts; of those, only CALLS can be called, and STORAGES named.
    """
    stack, marks, memo = [], [], {}

    def since_mark():
        start = marks.pop()
        found = stack[start:]
        del stack[start:]
        return found

    for code, value, _ in pickletools.genops(file):
        match code.name:
            case 'PROTO' | 'FRAME':
                pass
            case 'STOP':
                return stack.pop()
            case 'MARK':
                marks.append(len(stack))
            case 'BININT' | 'BININT1' | 'BININT2' | 'LONG1' | 'BINFLOAT' | 'BINUNICODE' | 'SHORT_BINUNICODE':
                stack.append(value)
            case 'NONE' | 'NEWTRUE' | 'NEWFALSE':
                stack.append(PLAIN[code.name])
            case 'EMPTY_DICT':
                stack.append({})
            case 'EMPTY_LIST':
                stack.append([])
            case 'EMPTY_TUPLE':
                stack.append(())
            case 'TUPLE':
                stack.append(tuple(since_mark()))
            case 'TUPLE1' | 'TUPLE2' | 'TUPLE3':
                n = int(code.name[-1])
                stack[-n:] = [tuple(stack[-n:])]
            case 'BINPUT' | 'LONG_BINPUT':
                memo[value] = stack[-1]
            case 'MEMOIZE':
                memo[len(memo)] = stack[-1]
            case 'BINGET' | 'LONG_BINGET':
                stack.append(memo[value])
            case 'APPEND' | 'APPENDS':
                items = since_mark() if code.name == 'APPENDS' else [stack.pop()]
                stack[-1].extend(items)
            case 'SETITEM' | 'SETITEMS':
                items = since_mark() if code.name == 'SETITEMS' else [stack.pop(-2), stack.pop()]
                if not all(isinstance(key, (str, int)) for key in items[::2]):
                    raise UserError('its pickle has a dict whose keys are no names.')
                stack[-1].update(zip(items[::2], items[1::2]))
            case 'GLOBAL' | 'STACK_GLOBAL':
                name = value.replace(' ', '.') if code.name == 'GLOBAL' else '.'.join([stack.pop(-2), stack.pop()])
                if name not in CALLS and name not in STORAGES:
                    raise UserError(f'its pickle asks for {name[:80]}, which no tensor needs, so nothing of it is taken; a safetensors file would have no such thing.')
                stack.append(name)
            case 'REDUCE':
                arguments = stack.pop()
                stack.append(CALLS[stack.pop()](*arguments))
            case 'BUILD':                               # what a dict has beside its items: the module versions
                stack.pop()
            case 'BINPERSID':
                stack.append(_persistent(stack.pop()))
            case other:
                raise UserError(f'its pickle uses {other}, which no dict of tensors needs, so nothing of it is taken.')


def _arrays(tensors, numbers):
    """What _parse found -> {name: array}. numbers(storage): its numbers."""
    found = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, _Tensor)} if isinstance(tensors, dict) else {}
    if not found:
        raise UserError('it holds no tensors by name.')
    return {str(name): _strided(tensor, numbers(tensor.storage)) for name, tensor in found.items()}


def _strided(tensor, numbers):
    """A tensor's array. As many numbers as the storage has, at most, all of them inside."""
    _, offset, size, stride = tensor
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
        raise ValueError('sizes that are none')
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if math.prod(size) > len(numbers) or 0 not in size and last >= len(numbers):
        raise ValueError(f'{math.prod(size)} numbers up to {last} of {len(numbers)}')
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, [step * numbers.itemsize for step in stride], writeable=False)


def _torch_zip(path, data):
    with zipfile.ZipFile(path) as archive:
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in archive.infolist()):
            raise UserError('it is a compressed or encrypted archive, as torch writes none.')
        [pickled] = [name for name in archive.namelist() if name.endswith('/data.pkl')]
        root = os.path.dirname(pickled)
        if f'{root}/byteorder' in archive.namelist() and archive.read(f'{root}/byteorder') != b'little':
            raise UserError('it was written on a big-endian machine, which is not read here.')
        tensors = _parse(io.BytesIO(archive.open(pickled).read(PICKLE)))

        def numbers(storage):
            info = archive.getinfo(f'{root}/data/{storage.key}')
            name, extra = struct.unpack('<HH', data[info.header_offset + 26:info.header_offset + 30].tobytes())
            if storage.length * np.dtype(storage.dtype).itemsize > info.file_size:
                raise ValueError(f'{info.filename} has {info.file_size} bytes')
            return _numbers(data, storage.dtype, info.header_offset + 30 + name + extra, storage.length)

        return _arrays(tensors, numbers)


def _torch_legacy(data):
    file = io.BytesIO(data[:PICKLE].tobytes())
    if _parse(file) != MAGIC:
        raise UserError('it is no file of torch.save.')
    _, machine, tensors, keys = (_parse(file) for _ in range(4))
    if not machine['little_endian']:
        raise UserError('it was written on a big-endian machine, which is not read here.')
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values() if isinstance(tensor, _Tensor)}
    rows, start = {}, file.tell()
    for key in keys:                                    # of each: how many numbers, the numbers
        length = int(_numbers(data, 'int64', start, 1)[0])
        rows[key] = _numbers(data, dtypes[key], start + 8, length)
        start += 8 + rows[key].nbytes
    return _arrays(tensors, lambda storage: rows[storage.key][:storage.length])

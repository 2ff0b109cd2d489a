"""Numbers that stay on the disk and are read in parts as they are asked for: corpora larger than memory.

    corpus.npz      a zip; each member is a row of numbers, a .npy file:
      arr_0.npy     \\x93NUMPY \\x01\\x00 v\\x00 {'descr': '<u2', 'fortran_order': False, 'shape': (12345,), } and 24690 bytes of numbers

A member that the zip stores as it is can be read in place. One that is compressed must be unpacked from its beginning on: up to SMALL
bytes that is done at each reading; a larger one is unpacked once, when the file is opened, into an unnamed temporary file, which goes
with the process however that ends. Nothing is mapped into memory, where what was once read would stay and count.
"""
import contextlib
import errno
import functools
import os
import shutil
import struct
import tempfile
import threading
import tokenize
import zipfile
import zlib
from array import array
from collections.abc import Sequence

import numpy as np

from .console import UserError

SMALL = 1 << 20                                         # bytes, unpacked, of a compressed member that is unpacked at each reading
BLOCK = 1 << 20                                         # bytes that are read at a time
IN_MEMORY = 32 << 20                                    # bytes of a Column that becomes an array
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, NotImplementedError, RuntimeError, struct.error,
          zipfile.BadZipFile, zlib.error, tokenize.TokenError, OSError)                # what a damaged npz may raise


# ---- where bytes lie

class File:
    """A file by its path, opened for each reading: thousands of shards do not take thousands of open files."""

    def __init__(self, path):
        self.path = path
        self._state = self._look(os.stat(path))

    @staticmethod
    def _look(stat):
        return stat.st_size, stat.st_mtime_ns

    def read(self, offset, size):
        """`size` bytes. Raises UserError when this is no longer the file that was opened."""
        with open(self.path, 'rb') as file:
            if self._look(os.fstat(file.fileno())) != self._state:
                raise UserError(f'{self.path} has changed since it was opened: start again.')
            file.seek(offset)
            return file.read(size)


class Scratch:
    """An unnamed temporary file, made when something is first written: in TMPDIR, else beside `path`, else where the system has them."""

    def __init__(self, path=None):
        beside = os.path.dirname(os.path.abspath(path)) if path and 'TMPDIR' not in os.environ else ''
        self.folder = beside if os.access(beside, os.W_OK) else tempfile.gettempdir()
        self.size, self._file, self._lock = 0, None, threading.Lock()

    def reserve(self, size):
        """The offset at which `size` bytes may be written."""
        with self._lock:
            self.size += size
            return self.size - size

    def write(self, offset, data):
        with self._lock:
            try:
                self._file = self._file or tempfile.TemporaryFile(dir=self.folder, buffering=0)
                self._file.seek(offset)
                while data:
                    data = data[self._file.write(data):]
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise self.full(self.size) from None

    def has_room(self, size):
        """Whether the disk holds `size` bytes more."""
        return size <= shutil.disk_usage(self.folder).free

    def full(self, size):
        """The error of a disk that does not hold `size` bytes."""
        return UserError(f'{self.folder} has no room for a temporary file of {size / 1e9:.1f} GB ({shutil.disk_usage(self.folder).free / 1e9:.1f} GB are '
                         'free): make room there, or name another folder in the environment variable TMPDIR.')

    def read(self, offset, size):
        with self._lock:
            if self._file is None:                      # nothing was written yet
                return b''
            self._file.seek(offset)
            return self._file.read(size)


# ---- rows of numbers

class Row:
    """Whole numbers on the disk: len(row), row[a:b] an array, row[i] an int, as of a 1-D array in memory."""
    __slots__ = ('source', 'dtype', 'meaning', 'offset', 'packed', 'skip', 'length')

    def __init__(self, source, dtype, meaning, offset, packed, skip, length):
        """source: the File or Scratch in which it lies, from the byte `offset` on. meaning(numbers as they lie there) -> numbers as they
        are given. packed: how many bytes it has where it is deflated, else 0. skip: bytes, when unpacked, in front of the first number."""
        self.source, self.dtype, self.meaning, self.offset, self.packed, self.skip, self.length = source, dtype, meaning, offset, packed, skip, length

    def __len__(self):
        return self.length

    def __getitem__(self, where):
        if not isinstance(where, slice):
            return int(self._read(range(self.length)[where], 1)[0])
        start, stop, _ = where.indices(self.length)
        return self._read(start, max(0, stop - start))

    def _read(self, start, n):
        begin, size = self.skip + start * self.dtype.itemsize, n * self.dtype.itemsize
        data = _unpacked(self.source, self.offset, self.packed)[begin:begin + size] if self.packed else self.source.read(self.offset + begin, size)
        return self.meaning(np.frombuffer(data, self.dtype))


@functools.lru_cache(maxsize=8)
def _unpacked(source, offset, packed):
    """The bytes of a deflated member; those of the last few stay, since who reads a part often reads the next."""
    return zlib.decompress(source.read(offset, packed), -zlib.MAX_WBITS)


class Rows(Sequence):
    """Many Rows, of which only the places are in memory, 40 bytes each."""

    def __init__(self, path):
        """path: of a file among theirs."""
        self.path = path
        self._kinds, self._numbers = [], {}             # (source, dtype, meaning), and which number each has there
        self._places = array('q')                       # of each row this number, its offset, packed, skip, length

    def __len__(self):
        return len(self._places) // 5

    def __getitem__(self, i):
        i = range(len(self))[i]
        kind, *place = self._places[5 * i:5 * i + 5]
        return Row(*self._kinds[kind], *place)

    def append(self, row):
        kind = row.source, row.dtype, row.meaning
        if kind not in self._numbers:
            self._numbers[kind] = len(self._kinds)
            self._kinds.append(kind)
        self._places.extend((self._numbers[kind], row.offset, row.packed, row.skip, row.length))

    def cut(self, spans):
        """The parts [(row, start, stop)], as Rows."""
        parts = Rows(self.path)
        for i, start, stop in spans:
            row = self[i]
            row.skip, row.length = row.skip + start * row.dtype.itemsize, stop - start
            parts.append(row)
        return parts


def blocks(row, start=0):
    """A Row or an array, from `start` on, as arrays of some BLOCK bytes."""
    size = BLOCK // 4
    for start in range(start, len(row), size):
        yield row[start:start + size]


class Column:
    """Numbers that come piece by piece and become a row: an array, or a Row in a temporary file where that is too large."""

    def __init__(self, scratch, dtype, in_memory=None):
        """scratch: a Scratch into which nobody else writes meanwhile. in_memory: bytes of an array at most; None: IN_MEMORY."""
        self._scratch, self._dtype, self._in_memory = scratch, np.dtype(dtype), IN_MEMORY if in_memory is None else in_memory
        self._parts, self._length, self._offset = [], 0, None

    def __len__(self):
        return self._length

    def add(self, numbers):
        self._parts.append(np.asarray(numbers, self._dtype))
        self._length += len(numbers)
        if self._length * self._dtype.itemsize > self._in_memory:
            for part in self._parts:
                offset = self._scratch.reserve(part.nbytes)
                self._scratch.write(offset, part.tobytes())
                self._offset = offset if self._offset is None else self._offset
            self._parts = []

    def row(self):
        """All of it, as an array or a Row; the next one begins."""
        row = (np.concatenate([np.zeros(0, self._dtype), *self._parts]) if self._offset is None else
               Row(self._scratch, self._dtype, np.asarray, self._offset, 0, 0, self._length))
        self._parts, self._length, self._offset = [], 0, None
        return row


# ---- npz

def compression(size):
    """How a member of `size` bytes is stored best, so that parts of it can be read."""
    return zipfile.ZIP_DEFLATED if size <= SMALL else zipfile.ZIP_STORED


class Npz:
    """The rows of an npz file by their names, as np.load has them. What is anything else, pickles above all, is refused by a UserError."""

    def __init__(self, path):
        self.path = path
        with self._refusing_damage():
            self._archive = zipfile.ZipFile(path)
        self.comment = self._archive.comment            # bytes, whatever who made it has noted
        self._members = {info.filename.removesuffix('.npy'): info for info in self._archive.infolist()}

    def __iter__(self):
        return iter(self._members)

    def __contains__(self, name):
        return name in self._members

    @property
    def to_unpack(self):
        """Bytes of the rows that must be unpacked into a temporary file before parts of them can be read."""
        return sum(info.file_size for info in self._members.values() if not self._in_place(info))

    def ratio(self, name):
        """What a byte of a row takes in the file."""
        return self._members[name].compress_size / max(1, self._members[name].file_size)

    @staticmethod
    def _in_place(info):
        return info.compress_type == zipfile.ZIP_STORED or info.compress_type == zipfile.ZIP_DEFLATED and info.file_size <= SMALL

    @contextlib.contextmanager
    def _refusing_damage(self):
        try:
            yield
        except UserError:
            raise
        except DAMAGE as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise
            raise UserError(f'{self.path} is no npz of token arrays, or it is damaged ({str(error).splitlines()[0][:100] if str(error) else "no data"}); '
                            'make it again with encode.py.') from None

    @contextlib.contextmanager
    def _opened(self, name):
        """(the file of a member, behind its header; its ZipInfo; the numbers' dtype; how many they are)."""
        info = self._members[name]
        with self._refusing_damage(), self._archive.open(info) as npy:
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[np.lib.format.read_magic(npy)]
            shape, _, dtype = read_header(npy)
            if len(shape) != 1 or dtype.kind not in 'iu':
                raise UserError(f'{self.path}: {name} is no row of token ids; make the file again with encode.py.')
            if info.file_size - npy.tell() != shape[0] * dtype.itemsize:
                raise ValueError(f'{name} has not the length that it says')
            yield npy, info, dtype, shape[0]

    def array(self, name, check=None):
        """A row in memory, in the type in which it is stored. check(numbers): called for each block of it; may raise."""
        with self._opened(name) as (npy, _, dtype, _):
            parts = [np.zeros(0, dtype)]
            while data := npy.read(BLOCK):
                parts.append(np.frombuffer(data, dtype))
                if check:
                    check(parts[-1])
        return np.concatenate(parts)

    def row(self, name, file, scratch, meaning, check=None):
        """A Row. file: this file as a File; scratch: where it is unpacked, if it must be; meaning: as Row has it. check: as for `array`;
        without one only what must be unpacked is read."""
        with self._opened(name) as (npy, info, dtype, length):
            skip, packed = npy.tell(), 0
            if self._in_place(info):
                source, offset = file, info.header_offset + 30 + sum(struct.unpack('<HH', file.read(info.header_offset + 26, 4)))
                if info.compress_type != zipfile.ZIP_STORED:
                    packed = info.compress_size
            else:
                source, offset, skip = scratch, scratch.reserve(length * dtype.itemsize), 0
            at = offset
            while (check or source is scratch) and (data := npy.read(BLOCK)):
                if check:
                    check(np.frombuffer(data, dtype))
                if source is scratch:
                    scratch.write(at, data)
                    at += len(data)
        return Row(source, dtype, meaning, offset, packed, skip, length)

"""Export files where they lie: in folders, in archives, in archives within archives; read in place, never unpacked to disk.

    facebook.zip/messages/inbox/alice_1/message_1.json
    `- export -' `------------- inner ---------------'

An export is what the user named: a folder, an archive (zip, tar, tar.gz), or a file, which is then its only Source.
"""
import codecs
import csv
import errno
import functools
import gzip
import io
import itertools
import json
import os
import posixpath
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib

import ijson
import numpy as np

from . import files
from .console import UsageError, UserError, describe

try:
    from lzma import LZMAError
except ImportError:                                     # a Python built without it; zipfile then says so itself
    LZMAError = zipfile.BadZipFile

HEAD = 1 << 16                                          # bytes that are enough to know a format by
NESTED = 1 << 28                                        # archives within archives are held in memory, up to so many bytes an export; so is a tar.gz
DEPTH = 3                                               # archives within archives
BOMB = 1 << 28, 150                                     # bytes, and how many times its size in the archive, that no chat export has
BOMB_SAYS = 'a zip bomb: it says that it holds more than 150 times its size'
TORN = 'the archive is damaged: not all of it can be read'
HEADS = b'MZ', b'\x7fELF', b'#!', b'PK\x07\x08', b'PK00'          # what may stand in front of a zip: what unpacks it, the mark of one in parts
TOO_LARGE = 'an archive too large or too deep within others: unpack it and give the folder'
BOMS = {codecs.BOM_UTF8: 'utf-8-sig', codecs.BOM_UTF16_LE: 'utf-16', codecs.BOM_UTF16_BE: 'utf-16'}

# What reading a damaged file or archive may raise; json's and csv's own errors are ValueErrors or listed by who uses them.
DAMAGE = (UserError, ValueError, OSError, EOFError, OverflowError, NotImplementedError, RuntimeError, struct.error, zlib.error, LZMAError,
          zipfile.BadZipFile, tarfile.TarError, csv.Error, ijson.JSONError)


class Source:
    """One file of an export. Readers see exports only through these."""

    def __init__(self, export, inner, size, opener, encoding=None):
        """export: the Export; inner: the path in it, '/' between its parts; opener() -> binary file; encoding: of text, None: found out."""
        self.export, self.inner, self.size, self._opener, self._encoding = export, inner, size, opener, encoding

    @property
    def path(self):
        """As the user knows it: facebook.zip/messages/inbox/alice_1/message_1.json."""
        return self.export.path if self.export.is_file else posixpath.join(self.export.path, self.inner)

    @property
    def name(self):
        """message_1.json"""
        return posixpath.basename(self.inner)

    @property
    def suffix(self):
        """.json, lower-case."""
        return posixpath.splitext(self.inner)[1].lower()

    @property
    def folder(self):
        """messages/inbox/alice_1; '' at the top of the export."""
        return posixpath.dirname(self.inner)

    def beside(self, relative):
        """The Source at a path relative to this one's folder ('users.json', '../channel.json'), or None."""
        return self.export.sources.get(posixpath.normpath(posixpath.join(self.folder, relative)))

    def open(self):
        """A binary stream of the file's bytes."""
        return io.BufferedReader(_Counted(self._opener(), self.export.progress), HEAD)

    @functools.cached_property
    def head(self):
        """The first bytes of the file, 64 KiB at most, without a UTF-8 byte order mark."""
        with self._opener() as file:
            return file.read(HEAD).removeprefix(codecs.BOM_UTF8)

    @functools.cached_property
    def start(self):
        """`head` as text; a character cut at its end is left out."""
        return codecs.getincrementaldecoder(self.encoding)(errors='replace').decode(self.head)

    @functools.cached_property
    def encoding(self):
        """What the byte order mark says, else what the user said, else utf-8 where most of it fits, else cp1252."""
        with self._opener() as file:
            head = file.read(HEAD)
        for bom, encoding in BOMS.items():
            if head.startswith(bom):
                return encoding
        if self._encoding:
            return self._encoding
        text = codecs.getincrementaldecoder('utf-8')(errors='replace').decode(head)
        broken = text.count('\ufffd')
        return 'utf-8' if not broken or broken < sum(character > '\x7f' for character in text) / 2 else 'cp1252'

    def text(self, *, encoding=None, newline=None):
        """A text stream without a byte order mark; newline as in `open` (csv wants ''). Bytes that do not fit become U+FFFD."""
        return io.TextIOWrapper(self._open_behind_bom(), encoding=encoding or self.encoding, errors='replace', newline=newline)

    def json(self):
        """The whole file as JSON. Raises ValueError when it is none."""
        with self.open() as file:
            data = file.read().removeprefix(codecs.BOM_UTF8)
        try:
            return json.loads(data)
        except RecursionError:
            raise ValueError('its JSON is nested too deeply') from None

    def json_items(self, prefix):
        """Yield the values at an ijson prefix ('messages.item') one by one: memory does not grow with the file.

        Raises ijson.JSONError where the JSON breaks off, ValueError where it is nested too deeply; what came before has been yielded by then.
        """
        with self._open_behind_bom() as file:
            yield from ijson.items(_Shallow(file), prefix, use_float=True)

    def _open_behind_bom(self):
        file = self.open()
        if file.peek(3).startswith(codecs.BOM_UTF8):
            file.read(3)
        return file

    def __repr__(self):
        return f'Source({self.path!r})'


class _Counted(io.RawIOBase):
    """A stream that tells `progress` how many bytes are taken from it."""

    def __init__(self, stream, progress):
        self._stream, self._progress = stream, progress

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._stream.read(len(buffer))
        buffer[:len(data)] = data
        self._progress(len(data))
        return len(data)

    def close(self):
        self._stream.close()
        super().close()


class _Reopened(io.RawIOBase):
    """A file that is open only while it is read from: there may be more archives in a folder than files a system lets us open."""

    def __init__(self, path):
        self._path, self._position = path, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.path.getsize(self._path)}[whence]
        if self._position < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return self._position

    def readinto(self, buffer):
        with open(self._path, 'rb', buffering=0) as file:
            file.seek(self._position)
            n = file.readinto(buffer)
        self._position += n
        return n


class _Shallow:
    """A stream of JSON that refuses to nest deeper than exports do: ijson's memory grows with the square of the depth."""
    DEEPEST = 200
    NO_MARKS = bytes(set(range(256)) - set(b'"[]{}'))
    STEPS = np.array([(byte in b'[{') - (byte in b']}') for byte in range(256)], np.int64)

    def __init__(self, file):
        self._file, self._depth, self._in_string, self._escape = file, 0, False, b''

    def read(self, n=-1):
        data = self._file.read(n)
        text = self._escape + data
        self._escape = b'\\' * ((len(text) - len(text.rstrip(b'\\'))) % 2)             # one that the block cuts in two
        text = text[:len(text) - len(self._escape)].replace(b'\\\\', b'').replace(b'\\"', b'')
        pieces = text.translate(None, self.NO_MARKS).split(b'"')
        depths = self._depth + np.cumsum(self.STEPS[np.frombuffer(b''.join(pieces[self._in_string::2]), np.uint8)])
        if len(depths):
            self._depth = int(depths[-1])
            if depths.max() > self.DEEPEST:
                raise ValueError('its JSON is nested too deeply')
        self._in_string ^= len(pieces) % 2 == 0
        return data


class Export:
    """What the user named, and the Sources in it: {inner path: Source}, sorted. `refused`: [(path, why)]."""

    def __init__(self, path, encoding=None, progress=None):
        """Raises UserError when there is no such file or folder, or an archive cannot be opened at all."""
        self.path, self.is_file = path, False
        self.progress = progress or (lambda n: None)
        self.refused = []
        self._held = 0                                  # bytes of archives held in memory
        if os.path.isdir(path):
            found = self._folder()                      # [(inner, size, opener)]
        elif os.path.isfile(path):
            opener, size = functools.partial(open, path, 'rb'), os.path.getsize(path)
            try:
                found = self._members(opener, path, size)
            except UserError as error:
                raise UserError(f'{path}: {error}.') from None
            except DAMAGE as error:
                if getattr(error, 'filename', None):    # it cannot be opened
                    raise UserError(describe(error)) from None
                raise UserError(f'{path} looks like an archive but cannot be read ({in_short(error)}): download or copy it again.') from None
            self.is_file = found is None
            found = [(os.path.basename(path), size, opener)] if found is None else found
        elif os.path.exists(path):
            raise UserError(f'{path} is a pipe or a device: save what comes out of it to a file and give that.')
        else:
            raise UserError(f'{path}: there is no such file or folder; check the path (you are in {os.getcwd()}).')
        self.sources = {}
        for inner, size, opener in self._unpacked(found, 1):
            if inner in self.sources:
                self.refused.append((posixpath.join(self.path, inner), 'a later file in the archive has the same name'))
            self.sources[inner] = Source(self, inner, size, opener, encoding)
        self.sources = dict(sorted(self.sources.items()))

    def _folder(self):
        """The files in a folder, [(inner, size, opener)]."""
        found = []
        for name in files.expand(self.path):
            inner = os.fsencode(os.path.relpath(name, self.path).replace(os.sep, '/')).decode('utf-8', 'replace')
            if _hidden(inner):
                continue
            try:
                if not stat.S_ISREG(os.stat(name).st_mode):
                    self.refused.append((posixpath.join(self.path, inner), 'a pipe or device, no file'))
                else:
                    found.append((inner, os.path.getsize(name), functools.partial(open, name, 'rb')))
            except OSError as error:                    # a link to nowhere
                self.refused.append((posixpath.join(self.path, inner), in_short(error)))
        return found

    def _unpacked(self, found, depth):
        """Yield what was found, archives replaced by what is in them."""
        for inner, size, opener in found:
            members = None
            if not self.is_file and inner.lower().endswith(('.zip', '.tgz', '.tar.gz', '.tar')):
                path = posixpath.join(self.path, inner)
                try:
                    if depth > DEPTH:
                        raise UserError(TOO_LARGE)
                    members = self._members(opener, path, size)
                except UserError as error:
                    self.refused.append((path, str(error)))
                    continue
                except DAMAGE as error:
                    self.refused.append((path, f'a damaged archive ({in_short(error)})'))
                    continue
            if members is None:
                yield inner, size, opener
            else:
                yield from self._unpacked([(posixpath.join(inner, name), *rest) for name, *rest in members], depth + 1)

    def _members(self, opener, path, size):
        """The files in an archive, [(inner, size, opener)], or None when the file is no archive."""
        file = opener()
        start = file.read(512)
        is_gzip = start.startswith(b'\x1f\x8b')
        is_zip = start.startswith((b'PK\x03\x04', b'PK\x05\x06')) or (path.lower().endswith('.zip') and not is_gzip)
        if not is_zip and not is_gzip and start[257:262] != b'ustar':
            file.close()
            return None
        if isinstance(getattr(file, 'raw', None), io.FileIO):
            file.close()
            file = io.BufferedReader(_Reopened(file.name), HEAD)
        elif not isinstance(file, io.BufferedReader):   # within a zip: going back would decompress from the start
            file = self._hold(itertools.chain([start], _blocks(file)))
        file.seek(0)
        if is_gzip:
            file = self._hold(self._gunzip(file, path), max(NESTED, 20 * size) if path == self.path else None)
        return _zip_members(file, path, size, self.refused) if is_zip else _tar_members(file, path, self.refused)

    def _gunzip(self, file, path):
        """Yield the blocks of a compressed tar."""
        file = gzip.GzipFile(fileobj=file)
        start = file.read(512)
        if start[257:262] != b'ustar':
            raise UserError('a compressed file that holds no archive: unpack it and give what is in it')
        yield start
        try:
            yield from _blocks(file)
        except (OSError, EOFError, zlib.error):         # what has come until here is good
            self.refused.append((path, TORN))

    def _hold(self, blocks, most=None):
        """A file in memory, or, beyond NESTED bytes, in a temporary file. Raises UserError when all that are held are more than `most` bytes (None: NESTED)."""
        held = io.BytesIO()
        for block in blocks:
            held.write(block)
            if self._held + held.tell() > (most or NESTED):
                raise UserError(TOO_LARGE)
            if held.tell() > NESTED and isinstance(held, io.BytesIO):
                spool = tempfile.TemporaryFile()
                spool.write(held.getbuffer())
                held = spool
        self._held += held.tell()
        held.seek(0)
        return held


def _blocks(file):
    """Yield what is left of a file."""
    while block := file.read1(1 << 20):
        yield block


def _zip_members(file, path, size, refused):
    file.seek(0)
    has_head = file.read(4).startswith(HEADS)
    archive = zipfile.ZipFile(file)
    if not has_head and min((info.header_offset for info in archive.infolist()), default=archive.start_dir) > 0:
        refused.append((path, TORN))                    # this is the directory of a zip within the one of which the end is missing
    if sum(info.file_size for info in archive.infolist()) > max(4 * BOMB[0], BOMB[1] * size):
        refused.append((path, BOMB_SAYS))
        return []
    found = []
    for info in archive.infolist():
        inner = _zip_name(info)
        why = _unsafe(inner)
        if not why and (inner.endswith('/') or _hidden(inner)):
            continue
        if info.flag_bits & 1:
            why = 'encrypted: unpack the archive and give the folder'
        elif stat.S_ISLNK(info.external_attr >> 16):
            why = 'a link, no file'
        elif info.file_size > BOMB[0] and info.file_size > BOMB[1] * info.compress_size:
            why = BOMB_SAYS
        if why:
            refused.append((f'{path}/{inner}', why))
        else:
            found.append((posixpath.normpath(inner), info.file_size, functools.partial(archive.open, info)))
    return found


def _zip_name(info):
    """The path of a member with '/' between its parts. Macs write UTF-8 without saying so, and zipfile then takes it for cp437."""
    inner = info.filename
    if not info.flag_bits & 0x800:
        try:
            inner = inner.encode('cp437').decode('utf-8')
        except UnicodeError:
            pass
    return inner.replace('\\', '/')


def _tar_members(file, path, refused):
    archive = tarfile.open(fileobj=file, mode='r:', encoding='utf-8', errors='replace')
    found = []
    try:
        for member in archive:
            if member.size < 0:                         # tarfile would go back, and round in circles
                raise tarfile.ReadError
            inner = member.name.replace('\\', '/')
            why = _unsafe(inner)
            if not why and (member.isdir() or _hidden(inner)):
                continue
            if not member.isfile() or member.issparse():
                why = 'a link or device, no file'
            if why:
                refused.append((f'{path}/{inner}', why))
            else:
                found.append((posixpath.normpath(inner), member.size, functools.partial(archive.extractfile, member)))
        file.seek(archive.offset)
        whole = file.read(512) == bytes(512)            # the mark of the end
    except DAMAGE:
        whole = False
    if not whole and (path, TORN) not in refused:
        refused.append((path, TORN))
    return found


def _unsafe(inner):
    """Why a path in an archive is refused, or None."""
    if posixpath.normpath(inner) == '.' and not inner.endswith('/'):
        return 'it has no name'
    if inner.startswith('/') or inner[1:2] == ':' or '..' in inner.split('/') or '\0' in inner:
        return 'its path leads out of the archive'
    return None


def _hidden(inner):
    return any(part.startswith('.') or part == '__MACOSX' for part in inner.split('/') if part not in ('', '.'))


def check_encoding(encoding):
    """Raise UsageError for what is no encoding of text."""
    try:
        b'x'.decode(encoding, 'replace')                # refuses rot13, hex, zip, ..., which are codecs too
        codecs.getincrementaldecoder(encoding)()
    except (LookupError, ValueError):
        raise UsageError(f'there is no encoding {encoding!r}; utf-8, utf-16, cp1252, latin-1, cp1251, shift_jis and gb18030 are some.') from None


def in_short(error):
    """An exception in a few words."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120].rstrip('.')

"""Downloads that end well: resumed where they broke off, checked byte for byte, whole under their name or not there at all.

    fetch('https://parl.ai/downloads/dailydialog/dailydialog.tar.gz', 'datasets/dailydialog.tar.gz')

What has come so far lies in <path>.part, and in <path>.part.origin what the server said of the file when it was begun: after a
lost connection, Ctrl-C or a power cut the same call goes on from there.
"""
import base64
import contextlib
import email.utils
import hashlib
import itertools
import os
import shutil
import sys
import time
from typing import NamedTuple, Optional

import requests
from tqdm import tqdm

from .console import UserError
from .files import alone, sync_folder, whole


class Patience(NamedTuple):
    """How long to put up with a bad connection, in seconds but for `tries`."""
    tries: int = 5                                      # failures in a row without a new byte
    pause: float = 1                                    # after the first failure, then twice that, four times ...
    longest: float = 600                                # the longest Retry-After we sit out
    connect: float = 15
    stall: float = 30                                   # no byte for so long: the connection is dead


class File(NamedTuple):
    """One file: where it comes from, where it goes, and its published SHA-256 where that is known."""
    url: str
    path: str
    sha256: Optional[str] = None

    @property
    def name(self):
        """vocab.bpe"""
        return os.path.basename(self.path)

    @property
    def folder(self):
        return os.path.dirname(self.path) or '.'

    @property
    def part(self):
        """What has come so far."""
        return self.path + '.part'

    @property
    def origin(self):
        """What the server said of the file when .part was begun."""
        return self.path + '.part.origin'


class Remote(NamedTuple):
    """What a server says of a file; None where it keeps silent."""
    size: Optional[int]
    md5: Optional[str]                                  # base64
    validator: Optional[str]                            # strong ETag or Last-Modified, for If-Range


class Again(Exception):
    """This try failed and the next may not; `wait` is what the server asks for, in seconds."""

    def __init__(self, why, wait=0):
        super().__init__(why)
        self.wait = wait


class Unreachable(UserError):
    """We cannot get `url`. `status` is the server's final word, None when none came."""

    def __init__(self, url, why, way_out, status=None):
        super().__init__(f'{url}: {why}; {way_out}.')
        self.why, self.status = why, status


# ---- one request

def open_session():
    session = requests.Session()
    session.headers['Accept-Encoding'] = 'identity'     # sizes and ranges are of the file, not of a gzip stream
    return session


def ask(session, method, url, patience, headers=None):
    """An open response with status 200, 206 or 416. Raises Again for a passing trouble, Unreachable for a lasting one."""
    response = session.request(method, url, headers=headers, stream=True, timeout=(patience.connect, patience.stall))
    code = response.status_code
    if code in (200, 206, 416):
        return response
    response.close()
    why = f'the server answered {code} {response.reason}'
    if code in (408, 425, 429, 500, 502, 503, 504):
        raise Again(why, retry_after(response))
    raise Unreachable(url, why, 'check the address, or name another server with --mirror URL', code)


def retry_after(response):
    """Seconds the server asks us to wait: `Retry-After: 30`, or a date."""
    text = response.headers.get('Retry-After', '')
    moment = email.utils.parsedate_tz(text)
    if text.isdigit():
        return int(text)
    return max(0, email.utils.mktime_tz(moment) - time.time()) if moment else 0


def facts(response):
    """The headers as Remote. Azure's blobs carry Content-MD5: 'Q2hlY2sgSW50ZWdyaXR5IQ=='."""
    headers = response.headers
    if headers.get('Content-Encoding', 'identity') != 'identity':
        return Remote(None, None, None)                 # compressed though we asked not to: these are of other bytes
    size = headers.get('Content-Length', '')
    etag = headers.get('ETag', 'W/')                    # RFC 9110 section 13.1.5: weak ones cannot guard a range
    return Remote(size=int(size) if size.isdigit() else None,
                  md5=headers.get('x-ms-blob-content-md5') or headers.get('Content-MD5'),
                  validator=headers.get('Last-Modified') if etag.startswith('W/') else etag)


def look(session, url, patience):
    """Ask for the headers alone -> Remote; by GET where HEAD is unknown, forbidden or says nothing of the size."""
    try:
        with ask(session, 'HEAD', url, patience) as response:
            remote = facts(response)
        if remote.size is not None:
            return remote
    except Unreachable as error:
        if error.status in (404, 410):
            raise
    with ask(session, 'GET', url, patience) as response:
        return facts(response)


def patiently(attempt, url, patience, progress=lambda: 0):
    """attempt() until it succeeds. Raises Unreachable after patience.tries failures in which progress() did not grow."""
    failures, reached = 0, progress()
    while True:
        try:
            return attempt()
        except (Again, requests.RequestException) as error:
            failures = 1 if progress() > reached else failures + 1
            reached = max(reached, progress())
            why, wait = reason(error), max(patience.pause * 2 ** (failures - 1), getattr(error, 'wait', 0))
        if wait > patience.longest:
            raise Unreachable(url, f'{why} and asks for {wait:.0f} s of patience', 'run the same command again then')
        if failures >= patience.tries:
            raise Unreachable(url, f'{why} (tried {failures} times)' if failures > 1 else why,
                              'check the connection and run the same command again, it resumes, '
                              'or name another server with --mirror URL')
        print(f'{url}: {why}; trying again in {wait:.3g} s.', flush=True)
        time.sleep(wait)


def reason(error):
    """What lies at the bottom of a requests exception, in a few words: 'Connection refused', 'timed out'."""
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return 'the connection was cut'
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, 'strerror', None) or str(error).rstrip('.') or type(error).__name__


# ---- one file

def complaint(path, sha256, remote):
    """What is wrong with the bytes in `path`: '' when they have the published SHA-256, or else agree with the server."""
    size = os.path.getsize(path)
    if sha256:
        found = digest(path, hashlib.sha256()).hex()
        return '' if found == sha256 else f'{size} bytes of SHA-256 {found[:12]}..., not {sha256[:12]}...'
    if remote.size not in (None, size):
        return f'{size} bytes, not {remote.size}'
    if remote.md5:
        found = base64.b64encode(digest(path, hashlib.md5(usedforsecurity=False))).decode()
        return '' if found == remote.md5 else f'MD5 {found}, not {remote.md5}'
    return ''


def digest(path, algorithm):
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            algorithm.update(block)
    return algorithm.digest()


def origin(file, remote):
    """What must not have changed if .part is to be continued. A checksum would show mixed versions in the end, even
    when another server goes on where the first left off; without one, only the validator can."""
    return f'{remote.size}' if file.sha256 or remote.md5 else f'{remote.size} {remote.validator}'


def resumable(file, remote):
    """How many bytes of .part the rest can be added to."""
    have = size_of(file.part)
    if remote.size is None or have > remote.size:
        return 0
    if os.path.exists(file.origin):
        with open(file.origin, encoding='utf-8') as begun:
            return have if begun.read() == origin(file, remote) else 0
    return have


def transfer(session, file, remote, patience):
    """Bring .part to its full size, from where it ends -> the Remote to check it against."""
    start = resumable(file, remote)
    if start and start == remote.size:
        return remote
    headers = {}
    if start:
        headers['Range'] = f'bytes={start}-'
        if remote.validator:
            headers['If-Range'] = remote.validator      # changed since: the server sends the whole new file
    with ask(session, 'GET', file.url, patience, headers) as response:
        if response.status_code == 200:                 # from the beginning, whatever we asked for
            start, remote = 0, facts(response)
        elif not continues(response, start, remote):
            discard(file)
            raise Again('the server does not continue what it began, starting over')
        if not start:
            discard(file)
            with whole(file.origin, 'w', encoding='utf-8') as begun:
                begun.write(origin(file, remote))
        with open(file.part, 'ab') as out, progress_bar(file, start, remote.size) as bar:
            for piece in response.iter_content(1 << 14):    # small: a piece that does not come whole is lost
                out.write(piece)
                bar.update(len(piece))
            out.flush()
            os.fsync(out.fileno())
    if size_of(file.part) < (remote.size or 0):
        raise Again('the connection was cut')
    return remote


def continues(response, start, remote):
    """Is this answer the asked-for rest of the same file? `Content-Range: bytes 1000-4999/5000`."""
    span, _, size = response.headers.get('Content-Range', '').partition('/')
    return response.status_code == 206 and span.startswith(f'bytes {start}-') and size in ('*', str(remote.size))


def progress_bar(file, start, total):
    shown = '/'.join(os.path.abspath(file.path).split(os.sep)[-2:])             # 355M/vocab.bpe
    rarely = {} if sys.stderr.isatty() else {'delay': 30, 'mininterval': 30}    # a log: one line in half a minute
    return tqdm(desc=shown, initial=start, total=total, unit='B', unit_scale=True, **rarely)


def bring(session, file, patience):
    """Download one File: resumed, checked, then renamed. Raises Unreachable and leaves .part for the next time."""
    def attempt():
        remote = transfer(session, file, look(session, file.url, patience), patience)
        wrong = complaint(file.part, file.sha256, remote)
        if wrong:
            discard(file)
            raise Again(f'wrong bytes came ({wrong})')

    patiently(attempt, file.url, patience, progress=lambda: size_of(file.part))
    if os.path.lexists(file.path):                      # perhaps somebody's own: a fine-tuned run copied over the model
        aside = next(name for n in itertools.count(1) if not os.path.lexists(name := f'{file.path}.old{n}'))
        os.replace(file.path, aside)
        print(f'{file.path} was not the published file; it is kept as {aside}.')
    os.replace(file.part, file.path)
    sync_folder(file.folder)
    discard(file)


def matches(file, remote):
    """Is the file there, and right as far as one can tell?"""
    return os.path.isfile(file.path) and not complaint(file.path, file.sha256, remote)


def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def discard(file):
    """Remove what we have begun."""
    for path in (file.part, file.origin):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


# ---- many files

def check_room(missing, folder, flag=''):
    """[(File, Remote)] -> bytes still to come. Raises UserError, naming `flag`, when the disk of `folder` has not the room."""
    needed = sum((remote.size or 0) - resumable(file, remote) for file, remote in missing)
    check_free(needed, folder, flag)
    return needed


def check_free(needed, folder, flag=''):
    """Raises UserError, naming `flag`, when the disk of `folder`, which may not be there yet, has not so many bytes left."""
    choose = f' with {flag}' if flag else ''
    there = os.path.abspath(folder)
    while not os.path.exists(there) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise UserError(f'{there} is not a folder; choose another{choose}.')
    free = shutil.disk_usage(there).free
    if needed > free:
        raise UserError(f'{folder}: {amount(needed)} are needed, {amount(free)} are free; free some space, or choose another disk{choose}.')


def amount(size):
    """498000000 -> '498 MB'"""
    text = tqdm.format_sizeof(size, 'B')
    return text.rstrip('kMGTB') + ' ' + text.lstrip('0123456789.')


def fetch_files(session, files, patience):
    """Bring every File, one after the other, alone in their folders."""
    with contextlib.ExitStack() as locks:
        for folder in sorted({file.folder for file in files}):
            os.makedirs(folder, exist_ok=True)
            locks.enter_context(alone(folder, 'another download'))
        for file in files:
            bring(session, file, patience)


def fetch(url, path, *, sha256=None, patience=Patience()):
    """Download `url` to `path` -> path. Does nothing when the file is there (and has this SHA-256, where one is given).

    Raises UserError; what has come by then is resumed by the next call.
    """
    file = File(url, os.fspath(path), sha256)
    if os.path.isdir(path):
        raise UserError(f'{path} is a folder; name the file to write.')
    if not os.path.isfile(path) or sha256 and not matches(file, None):
        with open_session() as session:
            remote = patiently(lambda: look(session, url, patience), url, patience)
            check_room([(file, remote)], file.folder)
            fetch_files(session, [file], patience)
    return path

"""Fetch OpenAI's pretrained GPT-2 into models/<name>/, checked byte for byte, resumable at any point.

    python download_model.py 124M
    python download_model.py 355M 774M --models_dir /data/models --mirror https://example.org/gpt-2/models

Sizes: 124M, 355M, 774M, 1558M. What has come so far lies in *.part files beside the model: after a lost
connection, Ctrl-C or a power cut, the same command goes on from there. A file gets its name once it is whole.
"""
import argparse
import base64
import contextlib
import email.utils
import hashlib
import itertools
import os
import shlex
import shutil
import sys
import time
from typing import NamedTuple, Optional
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from src import console
from src.console import UsageError, UserError
from src.files import OLD_NAMES, sync_folder, whole

try:
    import fcntl
except ImportError:                                     # Windows: two downloads at once are not kept apart
    fcntl = None

MIRROR = 'https://openaipublic.blob.core.windows.net/gpt-2/models'
NAMES = ['124M', '355M', '774M', '1558M']
META = 'model.ckpt.meta'                                # the original's TF1 graph: restoring does without it
FILES = ['checkpoint', 'encoder.json', 'hparams.json', 'model.ckpt.data-00000-of-00001', 'model.ckpt.index', META, 'vocab.bpe']

VOCABULARY = {                                          # SHA-256; every size has the same vocabulary
    'encoder.json': '196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783',
    'vocab.bpe': '1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5',
}
SHA256 = {name: VOCABULARY for name in NAMES}
SHA256['124M'] = {
    **VOCABULARY,
    'checkpoint': 'dd1b025d2e155283f5e300ce95bf6d5b6bc0f7fe010db73daa6975eb896ab9cb',
    'hparams.json': 'd9d56e4121c427164e0c55c6f03c08e1daf9002b9b672825112d19097b680318',
    'model.ckpt.data-00000-of-00001': '2060c885360cc0cf41d7a6dbc4d24b5127aae20260c8b5ae521b5a6578407118',
    'model.ckpt.index': '71916f763f9746f9b2a06b12d91996cf1084ae008d0424543d39391c5f2dc687',
    META: '4668c448fa11531fd6700460487f73e82d3272960cea942252f8744bf225c77b',
}


class Patience(NamedTuple):
    """How long to put up with a bad connection, in seconds but for `tries`."""
    tries: int = 5                                      # failures in a row without a new byte
    pause: float = 1                                    # after the first failure, then twice that, four times ...
    longest: float = 600                                # the longest Retry-After we sit out
    connect: float = 15
    stall: float = 30                                   # no byte for so long: the connection is dead


class File(NamedTuple):
    """One file of a model: where it comes from, where it goes, and its published SHA-256 where that is known."""
    model: str
    name: str
    url: str
    path: str
    sha256: Optional[str]

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
    rarely = {} if sys.stderr.isatty() else {'delay': 30, 'mininterval': 30}    # a log: one line in half a minute
    return tqdm(desc=f'{file.model}/{file.name}', initial=start, total=total, unit='B', unit_scale=True, **rarely)


def fetch(session, file, patience=Patience()):
    """Download one file: resumed, checked, then renamed. Raises Unreachable and leaves .part for the next time."""
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
    sync_folder(os.path.dirname(file.path))
    discard(file)


def size_of(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def discard(file):
    """Remove what we have begun."""
    for path in (file.part, file.origin):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


# ---- whole models

def survey(session, name, models_dir, mirror, patience):
    """What of a model is missing here or differs -> [(File, Remote)]. Needs no network where SHA-256 can tell."""
    folder = os.path.join(models_dir, name)
    files = [File(name, each, f'{mirror}/{name}/{each}', os.path.join(folder, each), SHA256[name].get(each)) for each in FILES]
    doubtful = [file for file in files if not (file.sha256 and matches(file, None))]
    usable = all(file.name == META or not file.sha256 and os.path.isfile(file.path) for file in doubtful)
    if usable:
        patience = patience._replace(tries=1)           # asking only to compare
    missing = []
    for file in doubtful:
        try:
            remote = patiently(lambda: look(session, file.url, patience), file.url, patience)
        except Unreachable as error:
            if file.name == META and error.status in (403, 404, 410):
                print(f'{file.url}: {error.why}; going on without it, chatting and training do not need it.')
                continue
            if not usable:
                raise
            print(f'{name} is in {folder}, but could not be compared with {mirror}: {error.why}.')
            return []
        if not matches(file, remote):
            missing.append((file, remote))
    if not missing:
        print(f'{name} is complete, nothing to download.')
    return missing


def matches(file, remote):
    """Is the file there, and right as far as one can tell?"""
    return os.path.isfile(file.path) and not complaint(file.path, file.sha256, remote)


def check_room(missing, models_dir):
    """Print how much is to come. Raises UserError when the disk has not the room."""
    there = os.path.abspath(models_dir)
    while not os.path.exists(there) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise UserError(f'{there} is not a folder; choose another with --models_dir.')
    needed = sum((remote.size or 0) - resumable(file, remote) for file, remote in missing)
    free = shutil.disk_usage(there).free
    if needed > free:
        raise UserError(f'{models_dir}: {amount(needed)} are needed, {amount(free)} are free; '
                        'free some space, or choose another disk with --models_dir.')
    print(f'{len(missing)} files to fetch, {amount(needed)}.', flush=True)


def amount(size):
    """498000000 -> '498 MB'"""
    text = tqdm.format_sizeof(size, 'B')
    return text.rstrip('kMGTB') + ' ' + text.lstrip('0123456789.')


@contextlib.contextmanager
def alone(folder):
    """Keep a second download out of `folder`: two would write to the same .part. The lock dies with its process."""
    if not fcntl:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(f'{folder}: another download is writing there; wait until it ends.') from None
    except OSError:                                     # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def download(names, models_dir='models', mirror=MIRROR, patience=Patience()):
    """Bring the models to models_dir/<name>/. Raises UserError; what has come by then is resumed next time."""
    with requests.Session() as session, contextlib.ExitStack() as locks:
        session.headers['Accept-Encoding'] = 'identity'     # sizes and ranges are of the file, not of a gzip stream
        missing = [pair for name in names for pair in survey(session, name, models_dir, mirror, patience)]
        if not missing:
            return
        check_room(missing, models_dir)
        for folder in sorted({os.path.dirname(file.path) for file, _ in missing}):
            os.makedirs(folder, exist_ok=True)
            locks.enter_context(alone(folder))
        for file, _ in missing:
            fetch(session, file, patience)


# ---- the command

def known_names(asked):
    """['345M', '124M'] -> ['355M', '124M']. Raises UsageError for a name we do not have."""
    names = []
    for name in asked:
        if OLD_NAMES.get(name, name) not in NAMES:
            raise UsageError(f'there is no model {name}; there are {", ".join(NAMES)}.')
        names.append(OLD_NAMES.get(name, name))
    if not names:
        raise UsageError(f'name a model: {", ".join(NAMES)}; for example python download_model.py 124M.')
    for old in sorted(set(asked) & set(OLD_NAMES)):
        print(f'{old} is the old name of {OLD_NAMES[old]}; it is stored under the new one.')
    return list(dict.fromkeys(names))


def web_address(text):
    """A mirror's base URL without the last slash. Raises UsageError when it is none."""
    try:
        if urlsplit(text).scheme not in ('http', 'https'):
            raise ValueError(text)
        requests.Request('GET', text).prepare()         # InvalidURL is a ValueError, and so is what a bad host raises
        urlsplit(text).hostname.encode('idna')
    except ValueError:
        raise UsageError(f'{text!r} is no web address; --mirror and GPT2_MIRROR take one such as {MIRROR}.') from None
    return text.rstrip('/')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('model', nargs='*', default=argparse.SUPPRESS, help=f'{", ".join(NAMES)}; several at once are fine')
    parser.add_argument('--models_dir', default='models', help='where the models live')
    parser.add_argument('--mirror', metavar='URL', default=os.environ.get('GPT2_MIRROR') or MIRROR,
                        help='the server: <URL>/<model>/<file>; the environment variable GPT2_MIRROR sets it too')
    args = parser.parse_intermixed_args()               # 124M --models_dir m 355M
    names = known_names(getattr(args, 'model', []))
    try:
        download(names, args.models_dir, web_address(args.mirror))
    except KeyboardInterrupt:
        print('What has come so far is kept: the same command resumes.')
        raise
    where = f'--model_name {names[0]}'
    if args.models_dir != 'models':
        where += f' --models_dir {shlex.quote(args.models_dir)}'
    print(f'Next: python src/interactive_conditional_samples.py {where}\n'
          f'  or: python train.py --dataset corpus.npz {where}')


if __name__ == '__main__':
    console.run(main)

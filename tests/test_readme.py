"""Every command of the README, of the roads in docs/roads.md, and every one that `make demo` runs, does what it says, on a small model and for a
few steps."""
import csv
import http.server
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import threading

import pytest
import zygote
from conftest import CHATS, ROOT, run_script
from src import memory
from test_hub import GPT2, Hub, put, write_model


def page(*names):
    with open(os.path.join(ROOT, *names), encoding='utf-8') as file:
        return file.read()


README = page('README.md')
ROADS = dict(re.findall(r'^## (.+?)\n(.+?)(?=^## )', page('docs', 'roads.md'), re.M | re.S))        # title: text


@pytest.fixture(scope='module')
def road(tmp_path_factory, real_vocabulary):
    """An empty folder with the scripts linked in, and a server that offers a two-layer model with the real vocabulary as 355M."""
    from src import checkpoint, model
    work = tmp_path_factory.mktemp('road')
    served = work / 'served' / '355M'
    shutil.copytree(os.path.join(real_vocabulary, '124M'), served)
    hparams = model.HParams(n_ctx=64, n_embd=16, n_head=2, n_layer=2)
    checkpoint.save(str(served), hparams, model.init_params(hparams, seed=1))
    for name in ('src', 'import_chats.py', 'encode.py', 'train.py', 'chatter.py', 'serve.py', 'download_model.py', 'export_model.py',
                 'evaluate.py'):
        os.symlink(os.path.join(ROOT, name), work / name)
    (work / 'models').mkdir()
    os.symlink(os.path.join(ROOT, 'models', 'demo'), work / 'models' / 'demo')
    shutil.copytree(os.path.join(ROOT, 'demo'), work / 'demo', ignore=lambda folder, names: [name for name in names if name.startswith('chats')])
    (work / 'exports').mkdir()
    shutil.copy(os.path.join(ROOT, 'demo', 'exports', 'result.json'), work / 'exports')

    handler = type('Quiet', (http.server.SimpleHTTPRequestHandler,), {'log_message': lambda *args: None})
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), lambda *a: handler(*a, directory=str(work / 'served')))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield work, f'http://127.0.0.1:{server.server_address[1]}'
    server.shutdown()


def commands(text, start):
    return [shlex.split(line.split('#')[0]) for line in re.findall(rf'^ *{re.escape(start)} (.+)$', text, re.M)]


def small(arguments):
    """The same command, kept short."""
    if arguments[0] == 'train.py':
        if '--epochs' in arguments:
            at = arguments.index('--epochs')
            arguments = arguments[:at] + arguments[at + 2:]
        return arguments + ['--stop_after', '7', '--sample_every', '2', '--sample_length', '8', '--val_batch_count', '1', '--learning_rate', '0.001',
                            *(['--val_every', '1'] if '--val_every' in arguments else []), *([] if '--warmup_ratio' in arguments else ['--warmup_steps', '0'])]
    if arguments[0].startswith('src/'):
        return arguments + ['--length', '8']
    if arguments[0] == 'evaluate.py':
        return arguments + ['--replies', '4', '--length', '8']
    return arguments


def test_the_readme_names_the_whole_road():
    assert [c[0] for c in commands(README, 'python')] == [
        'download_model.py', 'import_chats.py', 'encode.py', 'train.py', 'chatter.py', 'src/generate_unconditional_samples.py', 'serve.py']


def test_each_command_of_the_readme(road):
    work, mirror = road
    for arguments in commands(README, 'python'):
        if arguments[0] == 'serve.py':
            ask_server(work, arguments)
        else:
            go(work, arguments, {'GPT2_MIRROR': mirror})
    assert (work / 'checkpoint' / 'run1' / 'model-7.index').exists() and (work / 'samples' / 'run1' / 'samples-2').exists()


def go(work, arguments, env, stdin='hi\n', python=(sys.executable,)):
    """Run a command of a page, kept short, and see that it ends well."""
    served = ['download_model.py', '355M']
    openai = arguments == ['download_model.py', '124M']                 # whose checksums only the real weights have
    result = run_script(*small(served if openai else arguments), cwd=work, stdin=stdin, env=env, python=python)
    assert result.returncode == 0, (arguments, result.stdout, result.stderr)
    if openai:
        os.rename(work / 'models' / '355M', work / 'models' / '124M')


@pytest.fixture
def inputs(road, server, tmp_path):
    """A folder of its own with what the roads begin with, and a hub with two of their models. Returns (folder, environment)."""
    pytest.importorskip('huggingface_hub')
    work, mirror = road
    for name in os.listdir(work):
        if name not in ('served', 'models', 'checkpoint', 'samples') and not name.startswith('corpus'):
            os.symlink(work / name, tmp_path / name)
    (tmp_path / 'models').mkdir()
    pairs = [pair for name in os.listdir(CHATS) for pair in re.findall(r'^(.+): (.+)\n(?!\1)(.+): (.+)$', page(CHATS, name), re.M)]
    (tmp_path / 'reddit').mkdir()
    write_table(tmp_path / 'reddit' / 'replies.csv', ['title', 'body', 'score'], [(post, reply, 7) for _, post, _, reply in pairs])
    write_table(tmp_path / 'script.csv', ['episode', 'name', 'line'], [
        (i // 8, 'Nora' if speaks else 'Ben', words) for i, pair in enumerate(pairs[:400]) for speaks, words in enumerate(pair[1::2])])
    server.RequestHandlerClass, server.token = Hub, None
    for name in ('microsoft/DialoGPT-small', 'dbmdz/german-gpt2'):
        write_model(tmp_path / 'hub', {**GPT2, 'n_positions': 64}, kind='safetensors')
        put(server, tmp_path / 'hub', name)
    return tmp_path, {'GPT2_MIRROR': mirror, 'HF_ENDPOINT': server.url.removesuffix('/gpt2'), 'HF_HOME': str(tmp_path / 'home'), 'XDG_DATA_HOME': str(tmp_path / 'data')}


def write_table(path, columns, rows):
    with open(path, 'w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.mark.parametrize('title', ROADS)
def test_each_command_of_a_road(inputs, title, monkeypatch):
    work, env = inputs
    monkeypatch.setenv('XDG_DATA_HOME', env['XDG_DATA_HOME'])
    for arguments in commands(ROADS[title], 'python'):
        for name in re.findall(r'--dataset (\w+)(?= |$)', ' '.join(arguments)) if arguments[0] == 'import_chats.py' else []:
            at = arguments.index(name)                  # the files themselves have checksums that these do not have
            arguments[at - 1:at + 1] = [os.path.join(ROOT, 'tests', 'exports', name)]
        if arguments[0] == 'serve.py':
            arguments.append('--help')                  # the README's test has it answer
        if arguments[0] == 'chatter.py':                # for a pipe nothing is kept unless told
            arguments += ['--memory', memory.default_path()]
        go(work, arguments, env, 'hi\nare you there?\n/good\n', zygote.python())      # the README's test starts each script as it is


def ask_server(work, arguments):
    """Start it, ask it as the README does, and end it."""
    openai = pytest.importorskip('openai')
    process = subprocess.Popen([sys.executable, *arguments, '--port', '0'], cwd=work, stdout=subprocess.PIPE, text=True)
    try:
        address = re.match(r'http://[^ ]+', process.stdout.readline())[0]
        code = re.search(r'^( {4}from openai.*?)\n\n', README, re.M | re.S)[1]
        said = {'openai': openai}
        exec(textwrap.dedent(code).replace('http://127.0.0.1:8000', address), said)
        assert said['answer'].choices[0].message.content and said['answer'].usage.completion_tokens > 0
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()


def test_each_command_of_make_demo(road):
    work, _ = road
    plan = subprocess.run(['make', '-n', 'demo', 'chat'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.replace('\\\n', ' ')
    found = commands(plan, '.venv/bin/python')
    found = [c for c in found if c[0] != '-m']
    assert [c[0] for c in found] == ['import_chats.py', 'encode.py', 'train.py', 'src/generate_unconditional_samples.py', 'chatter.py', 'chatter.py']
    for arguments in found:
        stdin = 'hi\n'
        if '<' in arguments:
            arguments, name = arguments[:arguments.index('<')], arguments[-1]
            stdin = open(work / name, encoding='utf-8').read()
        result = run_script(*small(arguments), cwd=work, stdin=stdin, python=zygote.python())
        assert result.returncode == 0, (arguments, result.stdout, result.stderr)
        if arguments[0] == 'chatter.py':
            assert result.stdout.count('\nMara: ') == len(stdin.splitlines())


def test_each_package_has_its_reason():
    table = README.split('## What it needs')[1].split('\n## ')[0]
    for name in ('requirements.txt', 'requirements-serve.txt', 'requirements-hub.txt', 'requirements-evaluate.txt'):
        rows = re.split(r'^\| `requ', table.split(f'| `{name}` | |\n')[1], flags=re.M)[0]
        told = {package for row in re.findall(r'^\| (.+?) \|', rows, re.M) for package in row.split(', ')}
        assert told == {re.split('[<>=]', line)[0] for line in page(name).splitlines() if not line.startswith('#')}


def test_the_tree_in_the_readme_is_the_tree():
    tree = README.split('## The tree')[1].split('\n## ')[0]
    if not shutil.which('git') or not os.path.isdir(os.path.join(ROOT, '.git')):
        pytest.skip('not a git checkout')
    listed = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True)
    for path in listed.stdout.splitlines():
        name = os.path.basename(path)
        if not path.startswith(('tests/', 'models/', '.', 'LICENSE')) and name != '__init__.py':
            assert name in tree, path
    for name in re.findall(r'[\w./]+\.(?:py|txt|md)', tree):
        assert any(path.endswith(name) for path in listed.stdout.splitlines()), name


def test_help_answers_and_names_every_flag():
    for script in ('download_model.py', 'import_chats.py', 'encode.py', 'train.py', 'chatter.py', 'serve.py', 'export_model.py'):
        result = run_script(script, '--help')
        assert result.returncode == 0 and result.stderr == ''
        with open(os.path.join(ROOT, script), encoding='utf-8') as file:
            for flag in re.findall(r"add(?:_argument)?\('(--\w+)'", file.read()):
                assert flag in result.stdout, (script, flag)


def test_what_docs_say_of_python(tmp_path, demo_models):
    """Each block behind the others, as somebody would type them."""
    from src import folders
    shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'checkpoint' / 'run1')
    folders.write_dialogue(str(tmp_path / 'checkpoint' / 'run1'), {'style': 'name', 'speakers': ['Mara', 'Theo', 'Priya'], 'length': 9})
    blocks = re.findall(r'```python\n(.*?)```', page('docs', 'library.md'), re.S)
    done = subprocess.run([sys.executable, '-c', '\n'.join(blocks)], cwd=tmp_path, env=os.environ | {'PYTHONPATH': ROOT}, text=True, capture_output=True)
    assert len(blocks) == 7 and done.returncode == 0, done.stderr
    assert "[Turn(speaker='Theo', text='hi mara'" in done.stdout and 'A ship in a storm.\n' in done.stdout and 'Theo: hi\nMara? ' in done.stdout

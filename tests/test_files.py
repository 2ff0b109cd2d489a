"""Whole files or none, and how a path names files and a name names a model."""
import errno
import json
import os
import pathlib
import stat
import tempfile

import pytest

from src import files
from src.console import UserError


def content(path):
    with open(path, encoding='utf-8') as file:
        return file.read()


# ---- whole

def test_whole_replaces_the_file_when_the_block_ends(tmp_path):
    path = str(tmp_path / 'counter')
    for text in ('7\n', '8\n'):
        before = content(path) if os.path.exists(path) else None
        with files.whole(path, 'w') as file:
            file.write(text)
            file.flush()
            assert (content(path) if os.path.exists(path) else None) == before
        assert content(path) == text
    assert os.listdir(tmp_path) == ['counter']


@pytest.mark.parametrize('problem', [ValueError('no'), OSError(errno.ENOSPC, 'No space left on device'), KeyboardInterrupt(), SystemExit(1), GeneratorExit()],
                         ids=lambda problem: type(problem).__name__)
def test_whole_leaves_the_old_file_and_nothing_else_when_the_block_fails(tmp_path, problem):
    path = str(tmp_path / 'counter')
    for there in ([], ['counter']):
        with pytest.raises(type(problem)):
            with files.whole(path, 'w') as file:
                file.write('half of')
                file.flush()
                raise problem
        assert os.listdir(tmp_path) == there
        if there:
            assert content(path) == '7\n'
        with open(path, 'w', encoding='utf-8') as file:
            file.write('7\n')


def test_whole_leaves_the_old_file_when_the_rename_or_the_flush_fails(tmp_path, monkeypatch):
    path = str(tmp_path / 'counter')
    with open(path, 'w', encoding='utf-8') as file:
        file.write('7\n')
    for function in ('fsync', 'replace', 'chmod'):
        with monkeypatch.context() as patch:
            def fail(*arguments):
                raise OSError(errno.EIO, 'Input/output error')
            patch.setattr(os, function, fail)
            with pytest.raises(OSError, match='Input/output'):
                with files.whole(path, 'w') as file:
                    file.write('8\n')
        assert content(path) == '7\n' and os.listdir(tmp_path) == ['counter']


@pytest.mark.parametrize('umask, mode', [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_whole_gives_the_permissions_of_an_ordinary_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with files.whole(str(tmp_path / 'a')) as file:
            file.write(b'x')
    finally:
        assert os.umask(before) == umask                # as it was set
    assert stat.S_IMODE(os.stat(tmp_path / 'a').st_mode) == mode


def test_whole_makes_the_folder(tmp_path):
    with files.whole(str(tmp_path / 'new' / 'deep' / 'a.json'), 'w', encoding='utf-8') as file:
        json.dump('é', file, ensure_ascii=False)
    assert content(tmp_path / 'new' / 'deep' / 'a.json') == '"é"'


def test_whole_takes_bare_names_paths_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with files.whole('a', 'w', newline='\r\n') as file:
        file.write('x\n')
    with files.whole(pathlib.Path('b')) as file:
        file.write(b'y\n')
    assert open('a', 'rb').read() == b'x\r\n' and open('b', 'rb').read() == b'y\n'
    assert sorted(os.listdir()) == ['a', 'b']


def test_the_temporary_name_is_hidden_beside_the_file(tmp_path):
    with files.whole(str(tmp_path / 'a.npz')) as file:
        [name] = os.listdir(tmp_path)
        assert name.startswith('.a.npz.') and name.endswith('.part')
        with pytest.raises(UserError):                  # a run at the same time does not read it
            files.expand(str(tmp_path))
        file.write(b'x')


def test_two_at_a_time_do_not_mix(tmp_path):
    with files.whole(str(tmp_path / 'a'), 'w') as one, files.whole(str(tmp_path / 'a'), 'w') as two:
        one.write('one ' * 5000)
        two.write('two ' * 5000)
    assert content(tmp_path / 'a') == 'one ' * 5000     # the outer block ends last
    assert os.listdir(tmp_path) == ['a']


def test_whole_does_not_take_the_place_of_a_folder(tmp_path):
    os.makedirs(tmp_path / 'out' / 'kept')
    entered = False
    with pytest.raises(UserError, match=f'{tmp_path / "out"}.*folder'):
        with files.whole(str(tmp_path / 'out')) as file:
            entered = True
            file.write(b'x')
    assert not entered                                  # said before the work, not after it
    assert os.listdir(tmp_path) == ['out'] and os.listdir(tmp_path / 'out') == ['kept']


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes with names here')
def test_whole_does_not_take_the_place_of_a_device(tmp_path):
    """As root, `encode.py corpus.txt /dev/null` would turn /dev/null into a file."""
    path = str(tmp_path / 'pipe')
    os.mkfifo(path)
    with pytest.raises(UserError, match='pipe'):
        with files.whole(path) as file:
            file.write(b'x')
    assert stat.S_ISFIFO(os.stat(path).st_mode) and os.listdir(tmp_path) == ['pipe']


@pytest.mark.parametrize('missing', ['', 'deep'])
def test_an_error_names_the_file_not_our_temporary_one(missing):
    """In a folder that nobody may write to. Root may, so root becomes somebody else for a moment."""
    with tempfile.TemporaryDirectory() as folder:       # not tmp_path: somebody else could not even look into it
        os.chmod(folder, 0o555)
        path = os.path.join(folder, missing, 'out.npz')
        root = hasattr(os, 'geteuid') and os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError) as error:
                with files.whole(path) as file:
                    file.write(b'x')
        finally:
            if root:
                os.seteuid(0)
            os.chmod(folder, 0o755)
        assert error.value.filename in (path, os.path.dirname(path))
        assert os.listdir(folder) == []


# ---- expand

@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('b.txt', 'a.txt', '.hidden', 'sub/c.md', 'sub/.DS_Store', 'sub/.git/config', '.cache/d.txt', 'chat [1].txt', 'empty/.keep'):
        os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
        with open(name, 'w', encoding='utf-8') as file:
            file.write(name)
    return str(tmp_path)


@pytest.mark.parametrize('path, found', [
    ('a.txt', ['a.txt']),
    ('.hidden', ['.hidden']),                           # named, so it is meant
    ('chat [1].txt', ['chat [1].txt']),                 # a file of this name, though it is a pattern too
    ('sub', ['sub/c.md']),
    ('sub/', ['sub/c.md']),
    ('*.txt', ['a.txt', 'b.txt', 'chat [1].txt']),
    ('[ab].txt', ['a.txt', 'b.txt']),
    ('*', ['a.txt', 'b.txt', 'chat [1].txt']),          # folders that match are left out
    ('**/*.md', ['sub/c.md']),
    ('.', ['./a.txt', './b.txt', './chat [1].txt', './sub/c.md']),
])
def test_expand(tree, path, found):
    assert files.expand(path) == [name.replace('/', os.sep) for name in found]


@pytest.mark.parametrize('path, message', [('gone.txt', 'gone.txt: there is no such file, folder or pattern'), ('*.doc', 'there is no such'), ('', 'there is no such'),
                                           ('empty', 'empty: the folder holds no files'), ('sub/*/x', 'there is no such')])
def test_expand_finds_nothing(tree, path, message):
    with pytest.raises(UserError, match=message.replace('*', r'\*')):
        files.expand(path)


# ---- model_folder

def test_model_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('models/124M', 'models/355M', 'models/345M', 'checkpoint/run1', 'run2'):
        os.makedirs(name)
    def folder(name, models_dir='models'):
        return files.model_folder(name, models_dir).replace(os.sep, '/')
    assert folder('124M') == folder('117M') == 'models/124M'
    assert folder('345M') == 'models/345M'              # the old name, when the folder still has it
    assert folder('355M') == 'models/355M'
    assert folder('checkpoint/run1') == 'checkpoint/run1' and folder('run2') == 'run2'
    assert folder(str(tmp_path / 'run2')) == str(tmp_path / 'run2').replace(os.sep, '/')
    assert folder('run1', 'checkpoint') == 'checkpoint/run1'
    os.makedirs('models/mine')
    os.makedirs('mine')
    assert folder('mine') == 'models/mine' and folder('./mine') == './mine' and folder('../' + tmp_path.name + '/mine').startswith('../')
    os.rmdir('mine')
    with pytest.raises(UserError, match=rf'^./mine: there is no such folder; check the path \(you are in {tmp_path}\)'):
        files.model_folder('./mine')                    # and not models/mine
    os.rmdir('models/mine')
    with open('models/README', 'w', encoding='utf-8') as file:
        file.write('no model')
    for name in ('774M', 'README'):
        with pytest.raises(UserError, match=rf'no model {name} in models/ \(there: 124M, 345M, 355M\); python download_model.py 124M'):
            files.model_folder(name)
    with pytest.raises(UserError, match=rf'no model 124M in nowhere/ \(there: none\).*, and --models_dir names a folder elsewhere \(you are in {tmp_path}\)'):
        files.model_folder('124M', 'nowhere')
    with pytest.raises(UserError, match=rf'no run demo in nowhere/ \(there: none\); train.py makes one, and --checkpoint_dir names .* \(you are in {tmp_path}\)'):
        files.find_model('124M', run_name='demo', checkpoint_dir='nowhere')
    with pytest.raises(UserError, match=r'there is no run demo in checkpoint/ \(there: run1\); train.py makes one\.$'):
        files.find_model('124M', run_name='demo')

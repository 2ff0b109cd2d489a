"""encode.py as people run it: what it prints, what it writes, and one sentence when it cannot."""
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import CHATS, ROOT, fails_clearly, run_script

import encode as script
from src import dataset, encoder
from src.console import UsageError

DEMO = ('--models_dir', 'models', '--model_name', 'demo')


def encode(*command, **options):
    return run_script('encode.py', *command, **options)


def load(path):
    with np.load(path) as npz:
        return [npz[name].tolist() for name in npz.files]


@pytest.fixture(scope='module')
def enc():
    return encoder.get_encoder('demo', os.path.join(ROOT, 'models'))


def write(path, content):
    with open(path, 'wb') as file:
        file.write(content)
    return path


# ---- what it does

def test_a_file(tmp_path, enc):
    result = encode(write(tmp_path / 'a.txt', b'Hello there, Mara.\r\nBye.'), tmp_path / 'out.npz', *DEMO)
    expected = [*enc.encode('Hello there, Mara.\nBye.'), enc.eot]
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout.splitlines() == ['Reading files', f'Writing {tmp_path / "out.npz"}', f'{len(expected)} tokens in 1 chunk']
    assert load(tmp_path / 'out.npz') == [expected]
    assert sorted(os.listdir(tmp_path)) == ['a.txt', 'out.npz']


def test_a_folder_of_conversations(tmp_path, enc):
    result = encode(CHATS, tmp_path / 'new folder' / 'out.npz', *DEMO)
    expected, _, known, _ = dataset.load_corpus(enc, CHATS)
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout.splitlines()[2:] == [f'{sum(map(len, expected))} tokens in {len(expected)} chunks',
                                              f'conversations in the style "name" between {", ".join(dataset.ranked(known))}']
    assert load(tmp_path / 'new folder' / 'out.npz')[:-1:2] == [chunk.tolist() for chunk in expected]         # the others: whose they are
    assert dataset.read_dialogue(str(tmp_path / 'new folder' / 'out.npz')) == known


def test_conversations_as_plain_text(tmp_path, enc):
    """Tokens only, as the original writes them: blank lines and the marks of a style stay text."""
    for name, text in (('name', 'Mara: hi\nTheo: ho\n\n' * 3), ('tokens', '<bos> <sp1> hi <sp2> ho <eos>\n' * 3)):
        result = encode(write(tmp_path / f'{name}.txt', text.encode()), tmp_path / 'out.npz', *DEMO, '--plain')
        assert (result.returncode, result.stderr, len(result.stdout.splitlines())) == (0, '', 3)
        assert load(tmp_path / 'out.npz') == [[*enc.encode(text), enc.eot]]
    assert encode(tmp_path / 'tokens.txt', tmp_path / 'out.npz', *DEMO).stdout.splitlines()[3] == 'conversations in the style "tokens" between <sp2>, <sp1>'


def test_a_large_text_is_stored_so_that_parts_of_it_can_be_read(tmp_path, enc):
    """Two bytes a token and more than a megabyte of them: as they are, for training to read in place; np.load reads them all the same."""
    talk = 'Mara: hi\nTheo: so, what is it today?\n' * 3
    text = f'{talk}\n' * 15000
    result = encode(write(tmp_path / 'a.txt', text.encode()), tmp_path / 'out.npz', *DEMO)
    assert (result.returncode, result.stderr) == (0, '')
    with zipfile.ZipFile(tmp_path / 'out.npz') as archive:
        assert [(member.filename, member.compress_type) for member in archive.infolist()] == [
            ('arr_0.npy', zipfile.ZIP_STORED), ('owners_0.npy', zipfile.ZIP_STORED), ('dialogue.npy', zipfile.ZIP_DEFLATED)]
    once = [*enc.encode(talk), enc.eot]
    assert load(tmp_path / 'out.npz')[0] == once * 15000 and len(once) * 15000 > 1 << 19


def test_a_glob_and_every_flag(tmp_path, real_vocabulary):
    """In cp1252, with the old name of the model, a chunk a file, and the original's <|endoftext|>."""
    for name, text in (('a', 'café <|endoftext|> \x93so\x94'), ('b', 'naïve'), ('c', 'left out')):
        write(tmp_path / (name + '.txt'), text.encode('latin-1'))
    result = encode(tmp_path / '[ab].txt', tmp_path / 'out.npz', '--model_name', '117M', '--models_dir', real_vocabulary, '--encoding', 'cp1252',
                    '--combine', 10, '--legacy_endoftext')
    enc = encoder.get_encoder('124M', real_vocabulary)
    assert (result.returncode, result.stderr) == (0, '')
    assert load(tmp_path / 'out.npz') == [enc.encode('café <|endoftext|> “so”'), enc.encode('naïve<|endoftext|>')]
    assert load(tmp_path / 'out.npz')[1][-7:] == [27, 91, 437, 1659, 5239, 91, 29]


def test_text_and_npz_together_and_over_an_old_file(tmp_path, enc):
    os.mkdir(tmp_path / 'in')
    write(tmp_path / 'in' / 'a.txt', b'Hello.')
    np.savez(tmp_path / 'in' / 'b.npz', np.array([1, 2, 3]))
    write(tmp_path / 'out.npz', b'an old file')
    assert encode(tmp_path / 'in', tmp_path / 'out.npz', *DEMO).returncode == 0
    assert load(tmp_path / 'out.npz') == [[*enc.encode('Hello.'), enc.eot], [1, 2, 3]]


def test_from_another_folder(tmp_path, real_vocabulary):
    """Flags before or after, `=` or not, and models/ where the user is."""
    os.symlink(real_vocabulary, tmp_path / 'models', target_is_directory=True)
    write(tmp_path / 'a.txt', b'Hello, world!')
    result = run_script(os.path.join(ROOT, 'encode.py'), '--combine=1', 'a.txt', 'out.npz', cwd=tmp_path)
    assert (result.returncode, result.stdout.splitlines()[1]) == (0, 'Writing out.npz')
    assert load(tmp_path / 'out.npz') == [[15496, 11, 995, 0]]


def test_help_names_every_flag():
    result = encode('--help')
    assert result.returncode == 0
    for word in ('in_text', 'out_npz', '--model_name', '--models_dir', '--combine', '--encoding', '--legacy_endoftext', '--plain', '124M', '50000', 'utf-8', 'python encode.py corpus.txt'):
        assert word in result.stdout


def test_it_does_not_wait_for_tensorflow(tmp_path):
    program = ('import runpy, sys\n'
               'try:\n    runpy.run_path("encode.py", run_name="__main__")\n'
               'finally:\n    print("tensorflow" in sys.modules)')
    result = run_script('-c', program, CHATS, tmp_path / 'out.npz', *DEMO)
    assert result.stdout.splitlines()[0] == 'Reading files' and result.stdout.splitlines()[-1] == 'False'


# ---- what it cannot do: one sentence, the status, and nothing left behind

def nothing_but(folder, *names):
    found = sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, files in os.walk(folder) for name in files)
    assert found == sorted(names)
    return True


def test_a_missing_file(tmp_path):
    result = encode(tmp_path / 'gone.txt', tmp_path / 'out.npz', *DEMO)
    assert fails_clearly(result, 1, 'gone.txt: there is no such file, folder or pattern', ROOT) and nothing_but(tmp_path)


def test_a_wrong_encoding(tmp_path):
    write(tmp_path / 'a.txt', b'first\r\ncaf\xe9')
    result = encode(tmp_path / 'a.txt', tmp_path / 'out.npz', *DEMO)
    assert fails_clearly(result, 1, 'a.txt: the byte e9 at offset 10 is not utf-8; try --encoding cp1252') and nothing_but(tmp_path, 'a.txt')


def test_a_wrong_byte_far_into_the_second_file(tmp_path):
    """Found when much has been written: the old file stays."""
    write(tmp_path / 'a.txt', b'Hello there.\n' * 100000)
    write(tmp_path / 'b.txt', b'Hello there.\n' * 100000 + b'\x80')
    write(tmp_path / 'out.npz', b'an old file')
    result = encode(tmp_path / '*.txt', tmp_path / 'out.npz', *DEMO)
    assert fails_clearly(result, 1, 'b.txt: the byte 80 at offset 1300000 is not utf-8') and nothing_but(tmp_path, 'a.txt', 'b.txt', 'out.npz')
    with open(tmp_path / 'out.npz', 'rb') as file:
        assert file.read() == b'an old file'


def test_an_empty_corpus(tmp_path):
    write(tmp_path / 'a.txt', b'')
    assert fails_clearly(encode(tmp_path / 'a.txt', tmp_path / 'out.npz', *DEMO), 1, 'no text', 'nothing was written') and nothing_but(tmp_path, 'a.txt')
    os.mkdir(tmp_path / 'none')
    assert fails_clearly(encode(tmp_path / 'none', tmp_path / 'out.npz', *DEMO), 1, 'none: the folder holds no files') and nothing_but(tmp_path, 'a.txt')


def test_an_npz_of_another_vocabulary(tmp_path):
    np.savez(tmp_path / 'in.npz', np.array([50256]))
    assert fails_clearly(encode(tmp_path / 'in.npz', tmp_path / 'out.npz', *DEMO), 1, 'in.npz', '50256', '2048') and nothing_but(tmp_path, 'in.npz')


def test_an_unknown_model(tmp_path):
    result = encode(CHATS, tmp_path / 'out.npz', '--model_name', '125M', '--models_dir', tmp_path)
    assert fails_clearly(result, 1, 'no model 125M', 'download_model.py') and nothing_but(tmp_path)


@pytest.mark.parametrize('flags, words', [
    (['--kombine', 5], ['--kombine']),
    (['--combine', -1], ['--combine', '-1']),
    (['--combine', 'many'], ['--combine', 'many']),
    (['--encoding', 'utf-9'], ["no encoding 'utf-9'"]),
    (['--encoding', 'base64'], ["no encoding 'base64'"]),
    (['one.txt', 'too', 'many'], ['many']),
], ids=lambda value: value[0])
def test_asked_wrongly(tmp_path, flags, words):
    assert fails_clearly(encode(CHATS, tmp_path / 'out.npz', *DEMO, *flags), 2, *words) and nothing_but(tmp_path)


def test_no_arguments():
    assert fails_clearly(encode(), 2, 'in_text', 'out_npz')


def test_the_output_is_a_folder(tmp_path):
    os.mkdir(tmp_path / 'out')
    result = encode(CHATS, tmp_path / 'out', *DEMO)
    assert fails_clearly(result, 1, f'{tmp_path / "out"}', 'folder') and '.part' not in result.stderr and nothing_but(tmp_path)


def test_nobodys_text_is_overwritten(tmp_path, monkeypatch):
    """By `encode.py *.txt`, of which a shell makes two names, or by a name that is another file's: told before anything is read."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'a.txt', b'Hello.')
    write(tmp_path / 'b.txt', b'Held out.')
    os.symlink('a.txt', 'link')
    np.savez(tmp_path / 'in.npz', np.array([1, 2, 3]))
    with zipfile.ZipFile('facebook.zip', 'w') as archive:
        archive.writestr('message_1.json', '{}')
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir()}
    for inputs, out, words in (('a.txt', 'b.txt', 'b.txt is there and is no npz: name another file to write, such as b.npz'), ('a.txt', './a.txt', 'a.txt is one of the files to read'),
                               ('*.txt', 'a.txt', 'one of the files to read'), ('a.txt', 'link', 'one of the files to read'), ('in.npz', 'in.npz', 'one of the files to read'),
                               ('.', 'in.npz', 'one of the files to read'), ('a.txt', 'facebook.zip', 'facebook.zip is there and is no npz')):
        monkeypatch.setattr(sys, 'argv', ['encode.py', inputs, out])
        with pytest.raises(UsageError, match=words):
            script.main()
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir()} == before
    script.check_output('in.npz', ['a.txt'])            # an npz is replaced, by whatever name, and so is what is named like one, or holds nothing
    os.rename('in.npz', 'tokens')
    write(tmp_path / 'empty', b'')
    for name in ('tokens', 'empty', 'new'):
        script.check_output(name, ['a.txt'])


@pytest.mark.parametrize('out', ['file/out.npz', 'file/deep/out.npz'])
def test_a_file_stands_where_the_outputs_folder_should_be(tmp_path, out):
    write(tmp_path / 'file', b'x')
    result = encode(CHATS, tmp_path / out, *DEMO)
    assert fails_clearly(result, 1, f'{tmp_path / "file"}', 'a folder was expected') and '.part' not in result.stderr and nothing_but(tmp_path, 'file')


def test_what_is_rather_for_import_chats(tmp_path):
    """An export is learned as it is, and told; an archive is no text."""
    exports = os.path.join(ROOT, 'demo', 'exports')
    result = encode(os.path.join(exports, 'result.json'), tmp_path / 'out.npz', *DEMO)
    assert result.returncode == 0 and 'result.json looks like an export of telegram' in result.stdout and (tmp_path / 'out.npz').exists()
    result = encode(exports, tmp_path / 'other.npz', *DEMO)
    assert result.stdout.count('looks like an export') == 1 and f'python import_chats.py {exports} --out corpus.txt makes conversations' in result.stdout
    assert fails_clearly(result, 1, 'facebook-theo.zip is an archive, not a text: python import_chats.py') and not (tmp_path / 'other.npz').exists()
    for own in (CHATS, os.path.join(ROOT, 'README.md')):
        assert 'looks like' not in encode(own, tmp_path / 'own.npz', *DEMO).stdout


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='no /proc, a place where nobody can write')
def test_an_output_that_cannot_be_written():
    result = encode(CHATS, '/proc/out.npz', *DEMO)
    assert fails_clearly(result, 1, '/proc/out.npz') and '.part' not in result.stderr


@pytest.mark.skipif(os.name != 'posix', reason='no limits on the size of files here')
def test_a_full_disk(tmp_path):
    """A limit of 20 kB for every file stands in for the disk."""
    import resource
    write(tmp_path / 'out.npz', b'an old file')
    result = subprocess.run([sys.executable, 'encode.py', CHATS, str(tmp_path / 'out.npz'), *DEMO], cwd=ROOT, capture_output=True, text=True, timeout=300,
                            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
    assert fails_clearly(result, 1, 'out.npz', 'untouched') and '.part' not in result.stderr and nothing_but(tmp_path, 'out.npz')
    with open(tmp_path / 'out.npz', 'rb') as file:
        assert file.read() == b'an old file'


def test_ctrl_c(tmp_path):
    """It comes when the first file has been read."""
    program = ('import os, runpy, signal\n'
               'from src import dataset\n'
               'whole = dataset.read_text\n'
               'def read_text(*arguments):\n'
               '    yield from whole(*arguments)\n'
               '    os.kill(os.getpid(), signal.SIGINT)\n'
               'dataset.read_text = read_text\n'
               'runpy.run_path("encode.py", run_name="__main__")')
    result = run_script('-c', program, CHATS, tmp_path / 'out.npz', *DEMO)
    assert fails_clearly(result, 130, 'interrupted') and nothing_but(tmp_path)
    assert 'Writing' in result.stdout

"""The scripts' edge: errors as one sentence, exit codes, silence."""
import argparse
import errno
import os
import subprocess
import sys

import pytest
from conftest import ROOT, VALIDATION, fails_clearly, run_script

from src import console
from src.console import UsageError, UserError


def ends(main):
    with pytest.raises(SystemExit) as stop:
        console.run(main)
    return stop.value.code


def raising(error):
    def main():
        raise error
    return main


@pytest.mark.skipif('CS_GNU_LIBC_VERSION' not in getattr(os, 'confstr_names', ()), reason='no glibc')
@pytest.mark.parametrize('chosen', ['', 'glibc.malloc.check=0'])
def test_malloc_is_tuned_by_starting_over_once(chosen):
    """With the same arguments and input; what the user has chosen stays."""
    code = 'import os, sys; from src import console; print("start"); sys.stdout.flush(); console.start_tuned(); print(sys.argv[1:], input(), os.environ["GLIBC_TUNABLES"])'
    env = {'GLIBC_TUNABLES': chosen} if chosen else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('GLIBC_TUNABLES', raising=False)
        lines = run_script('-c', code, 'a b', '--x', stdin='hello\n', env=env).stdout.splitlines()
    assert lines == ['start'] * (1 if chosen else 2) + [f"['a b', '--x'] hello {chosen or console.MALLOC}"]


def test_tensorflow_starts_without_what_keras_looks_for_and_we_do_not_use():
    """And who wants it afterwards finds it."""
    code = ('import sys; from src import console; console.import_tensorflow(); print("keras" in sys.modules, "matplotlib" in sys.modules); '
            'import matplotlib; print(matplotlib.__name__)')
    assert run_script('-c', code).stdout.splitlines() == ['True False', 'matplotlib']


def test_exit_codes(capsys):
    assert ends(lambda: None) is None and ends(lambda: 0) == 0 and ends(lambda: 143) == 143
    assert ends(raising(UserError('x.npz is empty: add text.'))) == 1
    assert ends(raising(UsageError('--top_k -1 is out of range.'))) == 2
    assert ends(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == 'error: x.npz is empty: add text.\nerror: --top_k -1 is out of range.\ninterrupted\n'


def test_the_system_s_errors_name_the_file_and_the_way_out(capsys):
    for number, words in ((errno.ENOENT, 'check the path'), (errno.EACCES, 'permission denied'), (errno.ENOSPC, 'free some'),
                          (errno.EISDIR, 'a file was expected'), (errno.ELOOP, 'too many levels')):
        assert ends(raising(OSError(number, os.strerror(number), '/data/x.npz'))) == 1
        line = capsys.readouterr().err
        assert line.startswith('error: /data/x.npz: ') and words in line and line.count('\n') == 1


def test_a_bug_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        console.run(lambda: 1 / 0)
    with pytest.raises(OSError):
        console.run(raising(OSError(errno.EBADF, 'bad descriptor')))


@pytest.mark.parametrize('closed', [[1], [2], [1, 2]], ids=str)
def test_without_stdout_or_stderr_it_ends_as_ever(closed):
    code = "from src import console; console.run(lambda: print('said') or console.fail('no', 3))"
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: [os.close(number) for number in closed])
    assert (done.returncode, done.stdout, done.stderr) == (3, '' if 1 in closed else 'said\n', '' if 2 in closed else 'no\n')


@pytest.mark.parametrize('kind, good, bad', [
    (console.positive_int, '1', '0'), (console.count, '0', '-1'), (console.fraction, '1', '1.01'), (console.fraction, '0', 'nan'),
    (console.positive_float, '2e-5', '0'), (console.positive_float, '1', 'inf'), (console.nonnegative_float, '0', '-0.1'),
    (console.nonnegative_float, '1', 'nan')])
def test_ranges(kind, good, bad):
    assert kind(good) == float(good)
    with pytest.raises(argparse.ArgumentTypeError, match='out of range'):
        kind(bad)


@pytest.mark.parametrize('words, given', [
    ([], (None, False)), (['--with', 'Mara'], ('Mara', False)), (['--with=Mara'], ('Mara', False)), (['--with=a=b'], ('a=b', False)), (['--with_', 'x'], ('x', False)),
    (['--with', 'with', '--plain'], ('with', True)), (['--noplain', '--with', 'for'], ('for', False))], ids=str)
def test_a_flag_may_be_a_word_of_python(monkeypatch, words, given):
    """--with reaches the argument with_, which cannot be called `with`; a value of that name stays."""
    got = []

    def function(with_=None, plain=False):
        got.append((with_, plain))

    monkeypatch.setattr(sys, 'argv', ['script.py', *words])
    with pytest.raises(SystemExit) as stop:
        console.run_fire(function, texts=())
    assert not stop.value.code and got == [given]


@pytest.mark.parametrize('word, told', [('--wth', '--wth, did you mean --with'), ('--for', '--for'), ('--within=3', '--within')])
def test_unknown_flags_are_told_before_anything_runs(monkeypatch, capsys, word, told):
    monkeypatch.setattr(sys, 'argv', ['script.py', word])
    with pytest.raises(SystemExit) as stop:
        console.run_fire(lambda with_=None: 1 / 0, texts=('with_',))
    assert stop.value.code == 2 and f'there is no flag {told}' in capsys.readouterr().err


@pytest.mark.parametrize('words', [['--topic'], ['--topic', '--plain'], ['--with'], ['--plain', '--with']], ids=' '.join)
def test_a_text_that_is_missing_is_told(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, 'argv', ['script.py', *words])
    with pytest.raises(SystemExit) as stop:
        console.run_fire(lambda with_=None, topic=None, plain=False: 1 / 0, texts=('with_', 'topic'))
    name = next(word for word in words if word != '--plain')
    assert stop.value.code == 2 and f'{name} needs a value' in capsys.readouterr().err


def test_tensorflow_starts_in_silence_and_speaks_when_asked():
    quiet = run_script('-c', 'from src import console; tf = console.import_tensorflow(); print(tf.constant(3).numpy())')
    assert (quiet.stdout, quiet.stderr) == ('3\n', '')
    verbose = run_script('-c', 'from src import console; console.import_tensorflow(verbose=True)')
    assert 'oneDNN' in verbose.stderr or 'cuda' in verbose.stderr.lower() or 'cpu' in verbose.stderr.lower()


def test_a_disk_that_fills_up(tmp_path, demo_models):
    """The system's limit on the size of a file stands in for a full disk: what was there stays, nothing half-written remains."""
    text = tmp_path / 'text.txt'
    text.write_text(''.join(f'{i} word{i * i}\n' for i in range(30000)))
    limited = ('import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000)); '
               'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")')
    out = tmp_path / 'out.npz'
    out.write_bytes(b'what was there')
    result = run_script('-c', limited, 'encode.py', text, out, '--model_name', 'tiny', '--models_dir', demo_models)
    assert fails_clearly(result, 1, 'out.npz', 'what was there before is untouched')
    assert out.read_bytes() == b'what was there' and sorted(os.listdir(tmp_path)) == ['out.npz', 'text.txt']

    limited = limited.replace('40000', '300000')        # room for the vocabulary, not for the weights
    train = ['train.py', '--dataset', VALIDATION, '--model_name', 'tiny', '--models_dir', demo_models, '--seq_len', '8',
             '--checkpoint_dir', tmp_path / 'runs', '--stop_after', '2']
    result = run_script('-c', limited, *train)
    assert fails_clearly(result, 1, 'could not be written', 'free some space')
    assert not [name for name in os.listdir(tmp_path / 'runs' / 'run1') if name.startswith(('model', 'state', '.', 'checkpoint'))]

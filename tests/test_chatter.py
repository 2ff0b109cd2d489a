"""chatter.py as a user runs it: from a pipe, and on a terminal."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import ROOT, fails_clearly, run_script

from src import folders, lite
from src.model import HParams


@pytest.fixture(scope='module')
def run_folder(demo_models, tmp_path_factory):
    """A folder of runs with `r`: a tiny model that was trained on Theo and Mara."""
    runs = tmp_path_factory.mktemp('runs')
    shutil.copytree(os.path.join(demo_models, 'tiny'), runs / 'r')
    (runs / 'r' / 'dialogue.json').write_text(json.dumps({'style': 'name', 'speakers': ['Mara', 'Theo', 'Jürgen']}), encoding='utf-8')
    lite.generator(folders.latest(runs / 'r'))          # which is told on stderr
    return str(runs)


def chatter(runs, *flags, stdin):
    return run_script('chatter.py', '--run_name', 'r', '--checkpoint_dir', runs, '--length', '8', '--seed', '1', *flags, stdin=stdin)


def test_a_chat_from_a_pipe(run_folder):
    result = chatter(run_folder, stdin='hi\n\nhow are you? 💛\nAbort!\nnever said\n')
    assert result.returncode == 0 and result.stderr == ''
    lines = result.stdout.splitlines()
    assert 'You are Theo, Mara answers (int8 weights on the CPU). Abort! or Ctrl-D ends the chat.' == lines[0]
    assert 'Theo: hi' in lines and 'Theo: how are you? 💛' in lines and 'never said' not in result.stdout
    assert sum(line.startswith('Mara: ') and len(line) > 6 for line in lines) == 2


def test_names_commands_and_the_end_of_input(run_folder):
    result = chatter(run_folder, '--me', 'Jürgen', '--as', 'Theo', '--end_command', 'tschüss', stdin='hi\n/quit\n')
    assert re.search(r'^You are Jürgen, Theo answers .*\. tschüss or Ctrl-D', result.stdout, re.M)
    assert 'Jürgen: hi\nTheo: ' in result.stdout
    stranger = chatter(run_folder, '--me', 'Nobody', stdin='hi')
    assert '(Nobody is not in the training data: Mara, Theo, Jürgen are)' in stranger.stdout and stranger.returncode == 0
    same = chatter(run_folder, stdin='hi\n').stdout
    assert same == chatter(run_folder, stdin='hi\n').stdout != chatter(run_folder, '--seed', '2', stdin='hi\n').stdout


def test_nothing_in_a_message_reaches_the_terminal_raw(run_folder):
    result = chatter(run_folder, stdin='\x1b[2Jhi \x07\x00 there\n' + 'long ' * 200 + '\nhi\n')
    assert result.returncode == 0
    assert not re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f]', result.stdout)
    assert 'were left out)' in result.stdout


def opened(folder, monkeypatch, known, *flags):
    """The session that chatter.py would hold with a run of this dialogue.json."""
    import chatter as script
    (folder / 'dialogue.json').write_text(json.dumps(known), encoding='utf-8')
    monkeypatch.setattr(sys, 'argv', ['chatter.py', *flags])
    generator = SimpleNamespace(hparams=HParams(n_ctx=64), cache=lambda: None)
    return script.open_session(script.parse_arguments(), str(folder), generator)


@pytest.mark.parametrize('learnt, flags, me, answerer', [
    (None, [], 'Theo', 'Mara'), ('Theo', [], 'Mara', 'Theo'), ('Jürgen', [], 'Mara', 'Jürgen'), ('Jürgen', ['--as', 'Theo'], 'Jürgen', 'Theo'),
    ('Jürgen', ['--me', 'Jürgen'], 'Jürgen', 'Mara'), ('Jürgen', ['--me', 'Theo'], 'Theo', 'Jürgen'), ('Mara', ['--me', 'Nobody'], 'Nobody', 'Mara')], ids=str)
def test_whoever_was_learnt_answers(demo_models, tmp_path, monkeypatch, learnt, flags, me, answerer):
    shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'r')
    known = {'style': 'name', 'speakers': ['Mara', 'Theo', 'Jürgen'], 'last_time': 1349680884843} | ({'learnt': learnt} if learnt else {})
    session = opened(tmp_path / 'r', monkeypatch, known, *flags)
    assert (session.me, session.answerer) == (me, answerer)
    assert session.next_time() == 1349680884843 + 24 * 3600 * 1000      # a day behind what was learnt


@pytest.mark.parametrize('learnt, flags, me, answerer', [
    (None, [], 'You', 'Friend'), ('B', [], 'You', 'Friend'), ('B', ['--as', 'Mara'], 'You', 'Mara'), ('A', [], 'B', 'A')], ids=str)
def test_seats_answer_under_any_name(demo_models, tmp_path, monkeypatch, learnt, flags, me, answerer):
    """In the styles with two seats the second one answers, unless the first was learnt."""
    shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'r')
    session = opened(tmp_path / 'r', monkeypatch, {'style': 'dialogpt', 'speakers': ['B', 'A']} | ({'learnt': learnt} if learnt else {}), *flags)
    assert (session.me, session.answerer) == (me, answerer)
    assert (session._seat(me), session._seat(answerer)) == (('B', 'A') if learnt == 'A' else ('A', 'B'))


def test_old_turns_leave_and_the_user_is_told(run_folder):
    result = chatter(run_folder, stdin='the bus was late again\n' * 9)
    assert re.search(r'\(the model no longer sees the first \d+ turns: its 64 tokens are full\)', result.stdout)


def test_mistakes(run_folder, demo_models, tmp_path):
    assert fails_clearly(run_script('chatter.py', '--run_name', 'nope', '--checkpoint_dir', run_folder), 1, 'no run nope', 'there: r')
    assert fails_clearly(run_script('chatter.py', '--model_name', 'nope', '--models_dir', demo_models), 1, 'no model nope', 'tiny')
    assert fails_clearly(run_script('chatter.py', '--model_name', 'demo'), 1, 'models/demo', 'no weights')
    assert fails_clearly(chatter(run_folder, '--style', 'haiku', stdin=''), 1, 'haiku', 'timestamp')
    assert fails_clearly(chatter(run_folder, '--length', '40', stdin=''), 2, '--length 40', 'at most 32')
    assert fails_clearly(chatter(run_folder, '--temperature', '-1', stdin=''), 2, '-1.0 is out of range')
    assert fails_clearly(chatter(run_folder, '--tempreature', '1', stdin=''), 2, '--tempreature')


def test_ctrl_c_stops_the_reply_and_keeps_the_chat(run_folder):
    master, slave = pty.openpty()
    process = subprocess.Popen([sys.executable, 'chatter.py', '--run_name', 'r', '--checkpoint_dir', run_folder, '--length', '32', '--seed', '1'],
                               cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    screen = ''

    def until(text, seconds=60, interrupting=False):
        """Read until `text` comes. interrupting: by Ctrl-C every other second, as a signal in the moment before a prompt waits is lost."""
        nonlocal screen
        end, next_signal = time.monotonic() + seconds, time.monotonic()
        while text not in screen:
            assert time.monotonic() < end, screen
            if interrupting and time.monotonic() >= next_signal:
                process.send_signal(signal.SIGINT)
                next_signal += 2
            if select.select([master], [], [], 0.2)[0]:
                screen += os.read(master, 4096).decode(errors='replace')

    try:
        until('Theo: ')
        until('ends the chat)', interrupting=True)                      # at the prompt: no harm
        os.write(master, b'hello\n')
        until('Mara: ')
        screen = ''
        until('Theo: ', interrupting=True)                              # while it answers
        os.write(master, b'still there?\n')
        until('Mara: ')
        os.write(master, b'/quit\n')
        assert process.wait(60) == 0
    finally:
        process.kill()
        os.close(master)
    assert 'Traceback' not in screen

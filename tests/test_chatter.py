"""chatter.py as a user runs it: from a pipe, and on a terminal."""
import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import termios
import time
from types import SimpleNamespace

import pytest
import test_chat
from conftest import ROOT, fails_clearly, run_script

from src import chat, dialogue, folders, lite, memory, talk, terminal
from src.console import UserError
from src.model import HParams


@pytest.fixture(scope='module')
def run_folder(demo_models, tmp_path_factory):
    """A folder of runs with `r`: a tiny model that was trained on Theo and Mara."""
    runs = tmp_path_factory.mktemp('runs')
    shutil.copytree(os.path.join(demo_models, 'tiny'), runs / 'r')
    (runs / 'r' / 'dialogue.json').write_text(json.dumps({'style': 'name', 'speakers': ['Mara', 'Theo', 'Jürgen']}), encoding='utf-8')
    (runs / 'config.json').write_text('{}')             # nobody's own settings are in these tests
    lite.generator(folders.latest(runs / 'r'))          # which is told on stderr
    return str(runs)


def chatter(runs, *flags, stdin):
    return run_script('chatter.py', '--run_name', 'r', '--checkpoint_dir', runs, '--length', '8', '--seed', '1', '--config', os.path.join(runs, 'config.json'), *flags, stdin=stdin)


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


def test_a_pipe_needs_neither_prompt_toolkit_nor_tensorflow_nor_a_memory(run_folder):
    code = 'import sys, chatter; chatter.main(); print(sorted({"prompt_toolkit", "tensorflow", "src.memory"} & {*sys.modules}))'
    result = run_script('-c', code, '--run_name', 'r', '--checkpoint_dir', run_folder, '--config', os.path.join(run_folder, 'config.json'), stdin='hi\n')
    assert result.stdout.endswith('\n[]\n') and 'Theo: hi\nMara: ' in result.stdout


def test_nothing_in_a_message_reaches_the_terminal_raw(run_folder):
    result = chatter(run_folder, stdin='\x1b[2Jhi \x07\x00 there\n' + 'long ' * 200 + '\nhi\n')
    assert result.returncode == 0
    assert not re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f]', result.stdout)
    assert 'were left out)' in result.stdout


def opened(folder, monkeypatch, known, *flags):
    """The Talk that chatter.py would hold with a run of this dialogue.json."""
    import chatter as script
    (folder / 'dialogue.json').write_text(json.dumps(known), encoding='utf-8')
    (folder / 'config.json').write_text('{}')
    monkeypatch.setattr(sys, 'argv', ['chatter.py', '--memory', 'none', '--config', str(folder / 'config.json'), *flags])
    return script.open_talk(script.parse_arguments(), str(folder), SimpleNamespace(hparams=HParams(n_ctx=64)), 'some weights')


@pytest.mark.parametrize('learnt, flags, me, answerer', [
    (None, [], 'Theo', 'Mara'), ('Theo', [], 'Mara', 'Theo'), ('Jürgen', [], 'Mara', 'Jürgen'), ('Jürgen', ['--as', 'Theo'], 'Jürgen', 'Theo'),
    ('Jürgen', ['--me', 'Jürgen'], 'Jürgen', 'Mara'), ('Jürgen', ['--me', 'Theo'], 'Theo', 'Jürgen'), ('Mara', ['--me', 'Nobody'], 'Nobody', 'Mara')], ids=str)
def test_whoever_was_learnt_answers(demo_models, tmp_path, monkeypatch, learnt, flags, me, answerer):
    shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'r')
    known = {'style': 'name', 'speakers': ['Mara', 'Theo', 'Jürgen'], 'last_time': 1349680884843} | ({'learnt': learnt} if learnt else {})
    session = opened(tmp_path / 'r', monkeypatch, known, *flags).session
    assert (session.me, session.answerer) == (me, answerer)
    assert session.next_time() == 1349680884843 + 24 * 3600 * 1000      # a day behind what was learnt


@pytest.mark.parametrize('flags, settings, me, answerers', [
    (['--as', 'Mara, Jürgen'], {}, 'Theo', ['Mara', 'Jürgen']), (['--as', 'all'], {}, 'Theo', ['Mara', 'Jürgen', 'Smith, J.']), (['--as', 'Smith, J.'], {}, 'Mara', ['Smith, J.']),
    (['--as', 'Mara,Theo'], {}, 'Jürgen', ['Mara', 'Theo']), (['--as', 'all', '--me', 'Mara'], {}, 'Mara', ['Theo', 'Jürgen', 'Smith, J.']),
    ([], {'as': 'Theo,Jürgen', 'me': 'Mara'}, 'Mara', ['Theo', 'Jürgen']), (['--as', 'Mara,'], {}, 'Theo', ['Mara'])], ids=str)
def test_a_group_answers_from_the_start(demo_models, tmp_path, monkeypatch, capsys, flags, settings, me, answerers):
    import chatter as script
    shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'r')
    (tmp_path / 'c.json').write_text(json.dumps(settings), encoding='utf-8')
    known = {'style': 'name', 'speakers': ['Mara', 'Theo', 'Jürgen', 'Smith, J.']}
    talk = opened(tmp_path / 'r', monkeypatch, known, '--config', str(tmp_path / 'c.json'), *flags)
    assert (talk.session.me, talk.session.answerer, talk.answerers) == (me, answerers[0], answerers)
    script.greet(talk, 'Abort!')
    assert f'You are {me}, {" and ".join(filter(None, [", ".join(answerers[:-1]), answerers[-1]]))} answer' in capsys.readouterr().out


@pytest.mark.parametrize('style, flags, words', [('name', ['--me', 'Mara', '--as', 'Mara,Theo'], 'Mara cannot talk to Mara'), ('name', ['--as', ','], 'takes names between commas'),
                                                 ('dialogpt', ['--as', 'Mara,Theo'], 'two seats and no names')], ids=str)
def test_a_group_that_cannot_be(demo_models, tmp_path, monkeypatch, style, flags, words):
    import chatter as script
    shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'r')
    with pytest.raises(UserError, match=words):
        script.greet(opened(tmp_path / 'r', monkeypatch, {'style': style, 'speakers': []}, *flags), 'Abort!')


@pytest.mark.parametrize('learnt, flags, me, answerer', [
    (None, [], 'You', 'Friend'), ('B', [], 'You', 'Friend'), ('B', ['--as', 'Mara'], 'You', 'Mara'), ('A', [], 'B', 'A')], ids=str)
def test_seats_answer_under_any_name(demo_models, tmp_path, monkeypatch, learnt, flags, me, answerer):
    """In the styles with two seats the second one answers, unless the first was learnt."""
    shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'r')
    session = opened(tmp_path / 'r', monkeypatch, {'style': 'dialogpt', 'speakers': ['B', 'A']} | ({'learnt': learnt} if learnt else {}), *flags).session
    assert (session.me, session.answerer) == (me, answerer)
    assert (session._seat(me), session._seat(answerer)) == (('B', 'A') if learnt == 'A' else ('A', 'B'))


def test_old_turns_leave_and_the_user_is_told(run_folder):
    result = chatter(run_folder, stdin='the bus was late again\n' * 9)
    assert re.search(r'\(the model no longer sees the first \d+ turns: its 64 tokens are full\)', result.stdout)


def test_mistakes(run_folder, demo_models):
    assert fails_clearly(run_script('chatter.py', '--run_name', 'nope', '--checkpoint_dir', run_folder), 1, 'no run nope', 'there: r')
    assert fails_clearly(run_script('chatter.py', '--model_name', 'nope', '--models_dir', demo_models), 1, 'no model nope', 'tiny')
    assert fails_clearly(run_script('chatter.py', '--model_name', 'demo'), 1, 'models/demo', 'no weights')
    assert fails_clearly(chatter(run_folder, '--style', 'haiku', stdin=''), 1, 'haiku', 'timestamp')
    assert fails_clearly(chatter(run_folder, '--length', '40', stdin=''), 2, '--length 40', 'at most 32')
    assert fails_clearly(chatter(run_folder, '--temperature', '-1', stdin=''), 2, '-1.0 is out of range')
    assert fails_clearly(chatter(run_folder, '--tempreature', '1', stdin=''), 2, '--tempreature')


def strip(screen):
    """What is written on it, without colours and moves."""
    return re.sub(r'\x1b\[[?\d;]*[A-Za-z]|\r', '', screen)


class Person:
    """Somebody at a terminal. `screen`: all that was written on it."""

    def __init__(self, runs, *flags, **env):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([sys.executable, 'chatter.py', '--run_name', 'r', '--checkpoint_dir', runs, '--seed', '1', '--config', os.path.join(runs, 'config.json'), *flags],
                                        cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=os.environ | {'TERM': 'xterm-256color'} | env)
        os.close(slave)
        self.screen = ''

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        assert 'Traceback' not in self.screen

    def type(self, keys):
        """From here on, until looks for what is written behind it."""
        self.screen = ''
        os.write(self.master, keys.encode())

    def until(self, text, seconds=60, interrupting=False):
        """Read until `text` comes. interrupting: by Ctrl-C every other second, as a signal in the moment before a prompt waits is lost."""
        end, next_signal = time.monotonic() + seconds, time.monotonic()
        while text not in strip(self.screen):
            assert time.monotonic() < end, self.screen
            if interrupting and time.monotonic() >= next_signal:
                self.process.send_signal(signal.SIGINT)
                next_signal += 2
            if select.select([self.master], [], [], 0.2)[0]:
                new = os.read(self.master, 4096).decode(errors='replace')
                self.screen += new
                if '\x1b[6n' in new:                    # where is the cursor?
                    os.write(self.master, b'\x1b[1;1R')


@pytest.mark.parametrize('flags', [[], ['--plain']], ids=['prompt_toolkit', 'plain'])
def test_ctrl_c_stops_the_reply_and_keeps_the_chat(run_folder, flags):
    with Person(run_folder, '--length', '32', '--memory', 'none', *flags) as person:
        person.until('Theo:')
        person.until('ends the chat)', interrupting=True)               # at the prompt: no harm
        person.type('hello\n')
        person.until('Mara: ')
        person.screen = ''
        person.until('Theo:', interrupting=True)                        # while it answers
        person.type('still there?\n')
        person.until('Mara: ')
        person.type('/quit\n')
        assert person.process.wait(60) == 0


@pytest.mark.parametrize('number, flags', [(signal.SIGTERM, []), (signal.SIGHUP, ['--plain'])], ids=['prompt_toolkit', 'plain'])
def test_a_signal_ends_the_chat_in_good_order(run_folder, number, flags):
    """At the prompt, where the terminal is raw."""
    with Person(run_folder, '--memory', 'none', *flags) as person:
        before = termios.tcgetattr(person.master)
        person.until('Theo:')
        while termios.tcgetattr(person.master) == before:
            time.sleep(0.1)
        for _ in range(60):                             # a signal in the moment before a prompt waits is not seen
            if person.process.poll() is None:
                person.process.send_signal(number)
                time.sleep(1)
        assert person.process.returncode == 128 + number
        assert termios.tcgetattr(person.master) == before
        with contextlib.suppress(OSError):              # nobody writes any more
            while True:
                person.screen += os.read(person.master, 4096).decode(errors='replace')


def test_a_signal_keeps_what_was_said(tmp_path):
    import chatter as script

    class Slow(test_chat.Scripted):
        def decode(self, *arguments, **options):
            if len(self.seen):
                signal.raise_signal(signal.SIGTERM)
            return super().decode(*arguments, **options)

    kept = memory.Memory(str(tmp_path / 'm.db')).open('m', 'Theo', 'Mara')
    session = chat.ChatSession(Slow(' One two three four five.'), test_chat.ENC, dialogue.get_style('name'), me='Theo', answerer='Mara', length=40, kept=kept)
    before = signal.getsignal(signal.SIGTERM)
    try:
        script.end_by_signal()
        with pytest.raises(SystemExit) as end:
            talk.Talk(session, terminal.Plain(), begin=None).hear('hi')
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert end.value.code == 143 and [turn.speaker for turn in kept.turns()] == ['Theo', 'Mara'] and kept.turns()[1].text.startswith('One')


def test_a_person_comes_back(run_folder, tmp_path):
    flags = '--memory', str(tmp_path / 'm.db'), '--length', '8'
    with Person(run_folder, *flags) as person:
        person.until('Mara answers · ')                                 # the line at the bottom
        assert '38;5;' in person.screen
        person.type('is the\x1b\rzebra here?\r')
        person.until('Mara: ')
        person.until('Mara answers · ')
        person.type('/hel\t')
        person.until('this list')                                       # what /help is for, in the menu
        person.type('\r')
        person.until('from now on so many replies are made')
        person.process.kill()                                           # nothing that was said is lost
    assert {name: stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ('m.db', 'm.typed')} == {'m.db': 0o600, 'm.typed': 0o600}
    with Person(run_folder, *flags, NO_COLOR='1') as person:
        person.until('; /new starts afresh)')
        assert re.search(r'Theo: is the\n  zebra here\?\nMara: .*\(going on from \d+ \w+ \d{4}, \d\d:\d\d; /new starts afresh\)', strip(person.screen), re.S)
        person.until('Mara answers · ')
        assert '38;5;' not in person.screen
        person.type('/forget\r')
        person.until('[y/N]')
        person.type('y\r')
        person.until('(forgotten, with what was typed)')
        person.until('Mara answers · ')
        person.type('\x04')
        assert person.process.wait(60) == 0
    assert b'zebra' not in b''.join(path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize('precision', ['int8', 'bfloat16'])             # without TensorFlow and with it
def test_a_pipe_may_be_kept(run_folder, tmp_path, precision):
    path = str(tmp_path / 'm.db')
    first = chatter(run_folder, '--memory', path, '--precision', precision, stdin='hi\n/bogus\n//slash\n')
    assert 'Theo: hi\nMara: ' in first.stdout and '(there is no command /bogus;' in first.stdout
    again = chatter(run_folder, '--memory', path, stdin='/history\n/chats\n').stdout
    assert '  1  Theo: hi\n' in again and '  3  Theo: /slash\n' in again and '(going on from ' in again and '4 turns: hi' in again
    assert 'Theo: hi\n' not in chatter(run_folder, '--memory', path, '--new', stdin='/history\n').stdout
    assert sorted(os.listdir(tmp_path)) == ['m.db']


def test_a_memory_that_cannot_be(run_folder, tmp_path):
    (tmp_path / 'm.db').write_bytes(memory.MAGIC + os.urandom(5000))
    result = chatter(run_folder, '--memory', str(tmp_path / 'm.db'), stdin='hi\n')
    assert 'damaged' in result.stdout and 'Theo: hi\nMara: ' in result.stdout and len(os.listdir(tmp_path)) == 2
    (tmp_path / 'notes.txt').write_text('buy milk')
    assert fails_clearly(chatter(run_folder, '--memory', str(tmp_path / 'notes.txt'), stdin='hi\n'), 1, 'notes.txt', 'is no memory')
    assert (tmp_path / 'notes.txt').read_text() == 'buy milk' and len(os.listdir(tmp_path)) == 3
    assert fails_clearly(chatter(run_folder, '--memory', str(tmp_path), stdin='hi\n'), 1, str(tmp_path), 'name the file')


def test_settings_are_kept(run_folder, tmp_path):
    config, words = tmp_path / 'c.json', tmp_path / 'words.txt'
    words.write_text('bread\nthe boss\n')
    result = chatter(run_folder, '--config', str(config), '--banned', str(words), stdin='/temp 0.25\n/save settings\n')
    assert f'({config} is not there yet; /save settings writes it)' in result.stdout
    kept = json.loads(config.read_text())
    assert kept['temperature'] == 0.25 and kept['length'] == 8 and kept['banned'] == ['bread', 'the boss']
    shown = chatter(run_folder, '--config', str(config), '--top_k', '7', stdin='/settings\n').stdout
    assert re.search(r'^temperature +0.25$', shown, re.M) and re.search('^top_k +7$', shown, re.M)
    home = tmp_path / 'home' / 'gpt2-chat'
    home.mkdir(parents=True)
    shutil.copy(config, home / 'config.json')
    result = run_script('chatter.py', '--run_name', 'r', '--checkpoint_dir', run_folder, stdin='/temp\n', env={'XDG_CONFIG_HOME': str(tmp_path / 'home')})
    assert '(temperature 0.25)' in result.stdout


def test_banned_words(tmp_path):
    import chatter as script
    (tmp_path / 'words').write_text('bread\n\nred, hot \n', encoding='utf-8-sig')
    assert script.banned_words('bread, the boss,') == ['bread', 'the boss'] and script.banned_words('') == []
    assert script.banned_words(str(tmp_path / 'words')) == ['bread', 'red, hot'] == script.banned_words(['bread', ' red, hot', ''])
    with pytest.raises(UserError, match='--banned nofile.txt: there is no such file'):
        script.banned_words('nofile.txt')
    assert script.banned_words('nofile.txt,') == ['nofile.txt']


def test_settings_behind_a_byte_order_mark(tmp_path, monkeypatch):
    import chatter as script
    (tmp_path / 'c.json').write_text('{"top_k": 7}', encoding='utf-8-sig')
    monkeypatch.setattr(sys, 'argv', ['chatter.py', '--config', str(tmp_path / 'c.json')])
    assert script.parse_arguments().top_k == 7


def test_ctrl_c_between_two_prompts_ends_nothing():
    import chatter as script
    lines, happens = ['hi', 'well?', None], [KeyboardInterrupt, '', KeyboardInterrupt, '', '']

    def status():
        what = happens.pop(0)
        if what:
            raise what
        return what

    heard = []
    screen, session = SimpleNamespace(person=True, ask=lambda *_: lines.pop(0)), SimpleNamespace(me='Theo', reading=contextlib.nullcontext)
    script.converse(SimpleNamespace(over=False, screen=screen, session=session, status=status, complete=None, hear=heard.append), 'Abort!')
    assert heard == ['hi', 'well?'] and happens == []


@pytest.mark.parametrize('text, words', [
    ('{"temperature": 1', ['is no JSON']), ('[1]', ['holds no settings']), ('{"tempreature": 1}', ['no setting tempreature', 'did you mean temperature?']),
    ('{"temperature": "hot"}', ['temperature "hot"', 'takes a number']), ('{"top_k": true}', ['top_k true', 'takes a number']), ('{"top_p": 2}', ['top_p 2', 'a number, as --top_p does']),
    ('{"top_k": 1.5}', ['top_k 1.5', 'a number, as --top_k does']), ('{"precision": "int4"}', ['precision "int4"', 'auto, int8']), ('{"plain": 1}', ['plain 1', 'true or false']),
    ('{"me": 7}', ['me 7', 'takes a text']), ('{"config": "x"}', ['no setting config'])], ids=lambda value: value if isinstance(value, str) else '')
def test_settings_that_cannot_be(tmp_path, text, words, monkeypatch):
    import chatter as script
    (tmp_path / 'c.json').write_text(text)
    monkeypatch.setattr(sys, 'argv', ['chatter.py', '--config', str(tmp_path / 'c.json')])
    with pytest.raises(UserError) as error:
        script.parse_arguments()
    assert all(word in str(error.value) for word in ['c.json', *words])


def test_mistakes_in_what_a_chat_takes(run_folder):
    assert fails_clearly(chatter(run_folder, '--candidates', '0', stdin=''), 2, '--candidates', 'from 1 up')
    assert fails_clearly(chatter(run_folder, '--candidates', '65', stdin=''), 2, '--candidates 65', 'from 1 to 64')
    assert fails_clearly(chatter(run_folder, '--persona', 'long ' * 50, stdin=''), 1, 'the persona has', 'shorten it')


def test_the_best_candidate_is_taken_where_nobody_can_be_asked(run_folder):
    result = chatter(run_folder, '--candidates', '3', stdin='hi\nhow are you?\n')
    assert len(re.findall('^Mara: .+$', result.stdout, re.M)) == 2 and 'Enter' not in result.stdout

"""The two ends of a chat: lines from a pipe, and prompt_toolkit fed with keys, without a terminal."""
import contextlib
import io
import os
import stat
import sys
import threading

import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from src import console, screen, terminal
from src.dialogue import Turn

NASTY = '\x1b[2Jhi\x07\x00\x9b31m \u202eevil\u2066\x7f'


class Paper(DummyOutput):
    """Keeps what is written as text, without what colours it."""

    def __init__(self, columns=80):
        self.text, self.columns = '', columns

    def write(self, data):
        self.text += data

    def get_size(self):
        return Size(rows=24, columns=self.columns)


@pytest.fixture
def keys():
    """-> (keys to send, a Screen that gets them, its Paper)"""
    with create_pipe_input() as pipe:
        paper = Paper()
        yield pipe.send_text, screen.Screen(input=pipe, output=paper), paper


# ---- a pipe

def plain(monkeypatch, text):
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(text if isinstance(text, bytes) else text.encode()), encoding='utf-8', errors='replace'))
    return terminal.Plain()


def test_lines_from_a_pipe_are_shown_as_if_typed(monkeypatch, capsys):
    ends = plain(monkeypatch, 'hi mara\n\nbye')
    assert [ends.ask('Theo') for _ in range(4)] == ['hi mara', '', 'bye', None] and not ends.person
    assert capsys.readouterr().out == 'Theo: hi mara\nTheo: \nTheo: bye\nTheo: \n'


def test_what_is_no_text_is_told_and_passed_on(monkeypatch, capsys):
    ends = plain(monkeypatch, b'caf\xe9\n\x00\x01\x02\n' + b'x' * (1 << 20) + b'\nhi\n')
    assert [ends.ask('T') for _ in range(2)] == ['caf\ufffd', '\x00\x01\x02']
    note = '(what is no text in your message is shown as \ufffd)\n'
    assert capsys.readouterr().out == f'T: caf\ufffd\n{note}T: \ufffd\ufffd\ufffd\n{note}'
    assert len(ends.ask('T')) == 1 << 20 and ends.ask('T') == 'hi'
    assert capsys.readouterr().out.endswith('x\nT: hi\n')


def test_what_steers_a_terminal():
    steers = [*map(chr, [*range(9), *range(11, 32), *range(127, 160)]), *'\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069']
    assert console.shown(''.join(steers)) == '\ufffd' * len(steers)
    assert console.shown('Grüße,\tمرحبا 💛\n') == 'Grüße,\tمرحبا 💛\n'
    assert console.in_line('Mara\nTheo:\t\x1bx') == 'Mara Theo: \ufffdx'


def test_nothing_steers_the_terminal(monkeypatch, capsys, keys):
    send, ends, paper = keys
    for each in (plain(monkeypatch, NASTY + '\n'), ends):
        each.speak(NASTY, (piece for piece in [NASTY, 'a\x1b', '[0m']))
        each.turn(Turn(NASTY, NASTY), '  1  ')
        each.turn(Turn(NASTY, NASTY), grey=True)
        each.note(NASTY)
        each.show(NASTY)
        if each is ends:
            send('\x1b[200~' + NASTY + '\x1b[201~\r')
        assert each.ask(NASTY) == NASTY
    for text in (capsys.readouterr().out, paper.text.replace('\r', '')):
        assert not console.STEERING.search(text) and text.count('hi\ufffd') >= 8 and 'a\ufffd[0m' in text


def test_a_stopped_reply():
    class Ends(terminal.Plain):
        text = ''

        def write(self, text):
            self.text += text

    def stopped():
        yield 'I was'
        raise KeyboardInterrupt

    ends = Ends()
    assert ends.speak('Mara', (piece for piece in ['Hi ', 'Theo.'])) is not ends.speak('Mara', stopped())
    assert ends.text == 'Mara: Hi Theo.\nMara: I was ...\n'


# ---- keys

@pytest.mark.parametrize('typed, message', [
    ('hi\r', 'hi'), ('one\x1b\rtwo\r', 'one\ntwo'), ('one\\\rtwo\r', 'one\ntwo'), ('a\\b\r', 'a\\b'), ('\x1b[200~one\r\ntwo\x1b[201~\r', 'one\ntwo'),
    ('no\x03yes\r', 'yes'), ('\x04', None), ('hi\n', 'hi'), ('caf\xe9 ☕\r', 'café ☕')], ids=['enter', 'alt-enter', 'backslash', 'inside', 'pasted', 'ctrl-c', 'ctrl-d', 'newline', 'words'])
def test_keys(keys, typed, message):
    send, ends, _ = keys
    send(typed)
    assert ends.ask('Theo', 'Mara answers') == message


def test_ctrl_c_on_an_empty_line_says_how_to_end(keys):
    send, ends, paper = keys
    send('\x03hi\r')
    assert ends.ask('Theo') == 'hi' and '(Ctrl-D or /quit ends the chat)' in paper.text


def test_a_megabyte_is_a_message(keys):
    send, ends, _ = keys
    thread = threading.Thread(target=send, args=['\x1b[200~' + 'long ' * 200000 + '\x1b[201~\r'])         # more than a pipe holds
    thread.start()
    assert len(ends.ask('Theo')) == 1000000
    thread.join()


@pytest.mark.parametrize('typed, said', [('2\r', '2'), ('\r', ''), ('\x03', None), ('\x04', None)], ids=['number', 'enter', 'ctrl-c', 'ctrl-d'])
def test_a_question(keys, typed, said):
    send, ends, _ = keys
    send(typed)
    assert ends.answer('1 to 3:') == said and ends.typed.get_strings() == []


def test_what_was_typed_is_its_owners_and_is_forgotten(tmp_path):
    path = tmp_path / 'm.typed'
    with create_pipe_input() as pipe:
        ends = screen.Screen(str(path), pipe, DummyOutput())
        pipe.send_text('hi\rtwo\x1b\rlines ☕\r')
        ends.ask('Theo'), ends.ask('Theo')
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with open(path, 'a') as file:
            file.write('"cut off by a pow')
        assert list(screen.Typed(str(path)).load_history_strings()) == ['two\nlines ☕', 'hi']
        ends.forget()
        assert not path.exists() and ends.typed.get_strings() == []
        ends.forget()
        pipe.send_text('again\r')
        ends.ask('Theo')
        assert list(screen.Typed(str(path)).load_history_strings()) == ['again']
    assert list(screen.Typed(None).load_history_strings()) == []


def test_what_was_typed_cannot_be_kept(tmp_path):
    (tmp_path / 'm.typed').mkdir()
    with create_pipe_input() as pipe:
        ends = screen.Screen(str(tmp_path / 'm.typed'), pipe, DummyOutput())
        said = []
        ends.note = said.append
        pipe.send_text('hi\ryou\r')
        assert [ends.ask('Theo'), ends.ask('Theo')] == ['hi', 'you'] and said[0].startswith('what you type is not kept for another time: ')
        ends.forget()
    (tmp_path / 'deep').write_text('[' * 100000 + '\n"hi"\n')
    assert list(screen.Typed(str(tmp_path / 'deep')).load_history_strings()) == ['hi']


@pytest.mark.parametrize('ends', [SystemExit, KeyboardInterrupt])
def test_the_terminal_is_put_right_whenever_a_signal_comes(keys, monkeypatch, ends):
    """Just when the prompt has made it raw, and does not know yet that it has; and in a reply."""
    termios, tty = pytest.importorskip('termios'), pytest.importorskip('tty')
    end = os.openpty()
    with open(end[0], 'wb'), open(end[1]) as stdin:
        monkeypatch.setattr(sys, 'stdin', stdin)
        before = termios.tcgetattr(stdin)

        def cut_short(*arguments, **options):
            tty.setraw(stdin)
            raise ends

        def pieces():
            assert termios.tcgetattr(stdin) != before
            cut_short()
            yield

        monkeypatch.setattr(keys[1]._messages, 'prompt', cut_short)
        if ends == SystemExit:
            with pytest.raises(SystemExit):
                keys[1].ask('Theo')
            assert termios.tcgetattr(stdin) == before
        with contextlib.suppress(SystemExit):
            keys[1].speak('Mara', pieces())
        assert termios.tcgetattr(stdin) == before


def test_completions():
    completions = screen.Completions()
    assert list(completions.get_completions(Document('/re'), None)) == []
    completions.complete = lambda text: [(len(text), '/retry', 'anew')]
    found, = completions.get_completions(Document('/re'), None)
    assert (found.text, found.start_position, found.display_meta_text) == ('/retry', -3, 'anew')


# ---- the screen

def contrast(one, other):
    """WCAG 2.1, "contrast ratio"."""
    def luminance(colour):
        parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4) for weight, part in zip((0.2126, 0.7152, 0.0722), parts))

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize('colour', [*screen.COLOURS, screen.GREY])
def test_colours_are_read_on_black_and_on_white(colour):
    assert min(contrast(colour, '#000000'), contrast(colour, '#ffffff')) > 3.7


def test_each_speaker_has_a_colour(keys):
    _, ends, _ = keys
    names = ['Mara', 'Theo', 'Priya', 'Lena', 'Jonas', 'Jürgen', 'Ada', 'Mo']
    colours = [ends.colour(name) for name in names]
    assert len(set(colours)) == len(names) and [ends.colour(name) for name in names] == colours
    assert ends.colour('Mara') == 'bold #d70087'             # today and tomorrow
    assert ends.colour('One too many').removeprefix('bold ') in screen.COLOURS
    with create_pipe_input() as pipe:
        others = screen.Screen(input=pipe, output=DummyOutput())
        assert others.colour(names[0]) == colours[0]     # in another chat too


@pytest.mark.parametrize('no_color', ['', '1'])
def test_no_color(monkeypatch, no_color):
    monkeypatch.setenv('NO_COLOR', no_color)
    written = io.StringIO()
    with create_pipe_input() as pipe:
        ends = screen.Screen(input=pipe, output=Vt100_Output(written, lambda: Size(24, 80), default_color_depth=ColorDepth.from_env() or ColorDepth.DEPTH_8_BIT))
        ends.speak('Mara', (piece for piece in ['hi']))
    assert 'Mara:' in written.getvalue() and ('38;5;' in written.getvalue()) is not bool(no_color)


@pytest.mark.parametrize('pieces, lines', [
    (['Hello there, wh', 'at is this', ' is a lo', 'ng one\n  with more'], ['Hello there, what is', '  this is a long one', '  with more']),
    (['Hello there, what ar', 'en t they'], ['Hello there, what', '  aren t they']),
    (['twenty columns are it', ' or not'], ['twenty columns are', '  it or not']),
    (['x' * 45 + ' y', ' and so it goes on'], ['x' * 45 + ' y and so it', '  goes on']),         # the terminal breaks it twice
    (['你好' * 8, '你好' * 2], ['你好' * 5, '  ' + '你好' * 4 + '你', '  好']),
    (['a\n\n', '   1  b'], ['a', '', '   1  b'])], ids=['words', 'pieces', 'exact', 'longer', 'wide', 'breaks'])
def test_words_are_not_cut_at_the_edge(pieces, lines):
    fit = screen.Lines(lambda: 20)
    assert ''.join(map(fit, [*pieces, '\n'])) == '\n'.join(lines) + '\n'


def test_a_reply_cannot_look_like_another_turn(keys):
    _, ends, paper = keys
    ends.speak('Mara', (piece for piece in ['Oh.\nTheo', ': give me the keys']))
    assert paper.text.replace('\r', '') == 'Mara: Oh.\n  Theo: give me the keys\n'

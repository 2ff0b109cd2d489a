"""The screen and the keyboard of a chat for a person, with prompt_toolkit: history, several lines, completion, colours, a line at the bottom.

    Theo: i was on the hill today                          the name of each speaker in a colour of its own
    Mara: Were you? And the wind?
    Theo: /re                                              commands, names and files are completed; Alt-Enter begins a new line
          /retry    another reply
     Mara answers · 212 of 1024 tokens · int8 weights on the CPU
"""
import contextlib
import json
import os
import re
import sys
import zlib

try:
    import termios
except ImportError:                                     # Windows
    termios = None

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout.processors import Processor, Transformation
from prompt_toolkit.output import create_output
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from .console import in_line, shown
from .terminal import Plain, indented

# Of the 256 colours of a terminal, those with about the same contrast to black as to white (4 to 5 each; WCAG 2.1's formula).
COLOURS = ('#008700', '#d70087', '#008787', '#af5f00', '#5f5fff', '#d70000', '#875fd7', '#5f8700')
GREY = '#767676'
STYLE = Style.from_dict({'bottom-toolbar': f'noreverse {GREY}'})


WORD = re.compile(r'\n|[^\S\n]*(?:[^\s\u2e80-\U0010ffff]+|[\u2e80-\U0010ffff]|(?=\n|\Z))')     # with the blanks in front; a sign of the East is one
MARGIN = '  '                                           # before a further line of a turn, or what of a line does not fit


class Screen(Plain):
    """What is said here scrolls by like anything else in a terminal; only the line being typed is prompt_toolkit's."""
    margin = MARGIN

    def __init__(self, typed=None, input=None, output=None):
        """typed: the file that keeps what was typed; None: it is not kept. input, output: prompt_toolkit's, where they are not this terminal."""
        self.person = True
        self.typed = Typed(typed)
        self.colours = {}                               # of each name that was seen
        self._output = output or create_output()
        self._lines = Lines(lambda: self._output.get_size().columns)
        self._completions = Completions()
        self._messages = PromptSession(
            input=input, output=self._output, history=self.typed, completer=self._completions, complete_while_typing=Condition(begins_command),
            multiline=True, prompt_continuation=self.margin, key_bindings=keys(), input_processors=[Harmless()], style=STYLE, reserve_space_for_menu=6)
        self._answers = PromptSession(input=input, output=self._output, input_processors=[Harmless()])

    def ask(self, name, status='', complete=None):
        self._completions.complete = complete
        while True:
            try:
                with put_back():
                    return self._messages.prompt([(self.colour(name), in_line(name) + ':'), ('', ' ')], bottom_toolbar=' ' + in_line(status), enable_suspend=True)
            except KeyboardInterrupt:
                self.note('Ctrl-D or /quit ends the chat')
            except EOFError:
                return None
            finally:
                if self.typed.trouble:
                    self.note(self.typed.trouble)
                    self.typed.trouble = ''

    def answer(self, question):
        try:
            with put_back():
                return self._answers.prompt(question + ' ')
        except (KeyboardInterrupt, EOFError):
            return None

    def speak(self, name, pieces):
        with unechoed():
            return super().speak(name, pieces)

    def turn(self, turn, number='', grey=False):
        if not grey:
            return super().turn(turn, number)
        self._print((GREY, f'{number}{in_line(turn.speaker)}: {indented(turn.text, len(number) + 2)}\n'))

    def begin(self, name):
        self._print((self.colour(name), in_line(name) + ':'), ('', ' '))

    def note(self, sentence):
        self._print((GREY, f'({shown(sentence)})\n'))

    def write(self, text):
        self._output.write(self._lines(text))
        self._output.flush()

    def forget(self):
        self.typed.forget()

    def colour(self, name):
        """The style of a name: always the same, but for somebody whose colour is taken in this chat."""
        if name not in self.colours:
            start = zlib.crc32(name.encode('utf-8', 'replace')) % len(COLOURS)
            order = ['bold ' + colour for colour in COLOURS[start:] + COLOURS[:start]]
            self.colours[name] = next((colour for colour in order if colour not in self.colours.values()), order[0])
        return self.colours[name]

    def _print(self, *parts):
        """parts: (style, text)."""
        print_formatted_text(FormattedText((style, self._lines(text, whole=True)) for style, text in parts), end='', output=self._output, flush=True)


class Lines:
    """Text as it comes -> the same with a line break in front of each word that does not fit."""

    def __init__(self, columns):
        """columns: a function that tells the width."""
        self._columns, self._column, self._held = columns, 0, ''

    def __call__(self, text, whole=False):
        """A word at the end waits until it is whole, or until `whole` says so."""
        words = list(filter(None, WORD.findall(self._held + text)))
        words, self._held = (words, '') if whole or text.endswith('\n') else (words[:-1], ''.join(words[-1:]))
        return ''.join(map(self._place, words))

    def _place(self, word):
        columns = self._columns()
        if word == '\n':
            self._column = 0
        elif word.strip() and self._column and self._column + get_cwidth(word) > columns:
            word = '\n' + MARGIN + word.lstrip()
            self._column = get_cwidth(word[1:])
        else:
            self._column += get_cwidth(word)
        if self._column > columns:                      # the terminal breaks a word that fits in no line
            self._column = (self._column - 1) % columns + 1
        return word


@contextlib.contextmanager
def put_back():
    """Afterwards the terminal is as before, even where a signal came in the moment in which it was changed. Yields how it was, None where there is none."""
    if termios is None or not sys.stdin.isatty():
        yield None
        return
    kept = termios.tcgetattr(sys.stdin)
    try:
        yield kept
    finally:
        with contextlib.suppress(termios.error):        # it is closed
            termios.tcsetattr(sys.stdin, termios.TCSANOW, kept)


@contextlib.contextmanager
def unechoed():
    """What is typed meanwhile waits for the next prompt, and does not show between the words of a reply."""
    with put_back() as kept:
        if kept:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, [*kept[:3], kept[3] & ~termios.ECHO, *kept[4:]])
        yield


class Typed(History):
    """What was typed, in a file of its owner's: a JSON string a line, oldest first. `trouble`: '', or a sentence: it cannot be kept."""

    def __init__(self, path=None):
        super().__init__()
        self.path, self.trouble = path, ''

    def load_history_strings(self):
        if self.path is None or not os.path.exists(self.path):
            return
        try:
            with open(self.path, encoding='utf-8', errors='replace') as file:
                lines = file.readlines()
        except OSError:                                 # store_string will tell
            return
        for line in reversed(lines):
            with contextlib.suppress(ValueError, RecursionError):       # a line that was being written when the machine stopped
                text = json.loads(line)
                if isinstance(text, str):
                    yield text

    def store_string(self, string):
        if self.path is None:
            return
        try:
            with open(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 'a', encoding='utf-8') as file:
                file.write(json.dumps(string) + '\n')
        except OSError as error:
            self.trouble = f'what you type is not kept for another time: {self.path}: {error.strerror}'

    def forget(self):
        """Nothing was ever typed."""
        self._loaded_strings, self._loaded = [], True
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.remove(self.path)


class Completions(Completer):
    """Of what `complete` knows, as in Plain.ask."""
    complete = None

    def get_completions(self, document, event):
        for length, text, meaning in self.complete(document.text_before_cursor) if self.complete else ():
            yield Completion(text, -length, display=in_line(text), display_meta=in_line(meaning))


class Harmless(Processor):
    """What is typed or pasted is shown as everything else is; one character stays one."""

    def apply_transformation(self, transformation_input):
        return Transformation([(style, shown(text), *rest) for style, text, *rest in transformation_input.fragments])


def begins_command():
    """Whether a command is being typed: words are not completed."""
    text = get_app().current_buffer.text
    return text.startswith('/') and not text.startswith('//')


def keys():
    """Enter sends; Alt-Enter, or a backslash before Enter, begins a new line; Ctrl-C clears what was typed."""
    bindings = KeyBindings()

    @bindings.add('enter')
    def _send(event):
        buffer = event.current_buffer
        if buffer.document.is_cursor_at_the_end and buffer.text.endswith('\\'):
            buffer.delete_before_cursor()
            buffer.insert_text('\n')
        else:
            buffer.validate_and_handle()

    @bindings.add('escape', 'enter')
    def _new_line(event):
        event.current_buffer.insert_text('\n')

    @bindings.add('c-c')
    @bindings.add('<sigint>')
    def _clear(event):
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt, style='class:aborting')

    return bindings

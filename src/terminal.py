"""The two ends of a chat where no person types: lines come in as messages, lines go out.

    Theo: hi mara                   asked by ask(); what came from a pipe is printed as if it had been typed
    Mara: Hello, Theo. I am he      shown by speak() as the model makes it
    (a note)

screen.Screen is the same for a person at a terminal.
"""
import contextlib
import sys

from . import console
from .console import in_line, shown


class Plain:
    """Lines in, lines out."""
    margin = ''                                         # before a further line of a turn that is being made

    def __init__(self):
        self.person = sys.stdin.isatty()                # whether somebody is there to be asked
        if self.person:
            with contextlib.suppress(ImportError):      # Windows has its own line editing
                import readline                         # noqa: F401  editing and history for input()

    def ask(self, name, status='', complete=None):
        """A message of `name`, or None at the end of input.

        status: the line at the bottom of a Screen. complete(text before the cursor) -> [(how many of its last characters are replaced, by what,
        what that means)], there too.
        """
        while True:
            try:
                line = console.read_line(f'{in_line(name)}: ')
            except KeyboardInterrupt:
                print('\n(Ctrl-D or /quit ends the chat)')
                continue
            if line is not None and not self.person:
                print(shown(line))
                if '\ufffd' in shown(line):
                    self.note('what is no text in your message is shown as \ufffd')
            return line

    def answer(self, question):
        """What a person answers to a question; None: nothing."""
        try:
            return console.read_line(shown(question) + ' ')
        except KeyboardInterrupt:
            print()
            return None

    def speak(self, name, pieces):
        """Show a turn as it is made. Returns whether it came to its end: Ctrl-C stops it."""
        self.begin(name)
        try:
            with contextlib.closing(pieces):
                for piece in pieces:
                    self.write(shown(piece).replace('\n', '\n' + self.margin))
        except KeyboardInterrupt:
            self.write(' ...')
            return False
        finally:
            self.write('\n')
        return True

    def turn(self, turn, number='', grey=False):
        """Show a turn that was said; grey: not just now."""
        self.write(number)
        self.begin(turn.speaker)
        self.write(indented(turn.text, len(number) + 2) + '\n')

    def begin(self, name):
        """The name in front of a turn."""
        self.write(f'{in_line(name)}: ')

    def note(self, sentence):
        """Something about the chat, not of it."""
        self.write(f'({shown(sentence)})\n')

    def show(self, text):
        """What a command has to say."""
        self.write(shown(text) + '\n')

    def write(self, text):
        """Print what is fit to be."""
        print(text, end='', flush=True)

    def forget(self):
        """Forget what was typed."""


def indented(text, width):
    """The words of a turn, `width` blanks before each further line: none can be taken for another turn."""
    return shown(text).replace('\n', '\n' + ' ' * width)

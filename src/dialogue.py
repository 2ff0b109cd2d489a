"""Conversations, and how their turns look as text: the one home of every style.

    name        Mara: You sound tired.            the default; also what people write by hand
                Theo: long day
                 but a good one                   a further line of the same message starts with one space
                <|endoftext|>                     the conversation ends
    timestamp   (1349680884843) Mara: You sound tired.            milliseconds since 1970, as chat exports have them
    said        Mara said: "You sound tired."
    dialogpt    You sound tired.<|endoftext|>long day<|endoftext|>      a conversation a line, two speakers in turn
                                                                        (Zhang et al. 2020, arXiv:1911.00536, section 3)

A message may hold anything. What would read as a mark of ours is escaped by a backslash where it stands, so that parsing
gives back the very conversation, and nobody can end or forge a turn by what they write:

    <|endoftext|> in a message    <\\|endoftext|>         (and <\\| becomes <\\\\|)
    a carriage return             \\r                    (a backslash before an r doubles)
    : \\ newline in a name         \\: \\\\ \\n

A turn is rendered in three pieces, header + body + close (`Mara:` + ` You sound tired.` + newline). GPT-2's tokenizer
cuts between them in any case, so ids made piece by piece, as a chat does, are those of the whole text, as encode.py makes
them (but for blanks at the end of a conversation's last message).
"""
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from .console import UserError
from .encoder import END_OF_TEXT

DIALOGPT_SPEAKERS = ('A', 'B')
NAME = r'(?:[^\\:\n ]|\\.)[^\\:\n]*(?:\\.[^\\:\n]*)*'     # an escaped name: no bare colon, no blank in front


class Turn(NamedTuple):
    """One message. time: milliseconds since 1970, or None."""
    speaker: str
    text: str
    time: int | None = None


@dataclass
class Conversation:
    """Turns in the order in which they were written."""
    turns: list[Turn] = field(default_factory=list)


# ---- escapes: what a message holds is never mistaken for a mark

def _escape(text):
    text = re.sub(r'<(\\*)\|endoftext\|>', r'<\\\1|endoftext|>', text)
    text = re.sub(r'(?<!\\)(\\*)(\r|r)', lambda m: m[1] * 2 + ('\\r' if m[2] == '\r' else 'r'), text)
    return text.replace('\n', '\n ')


def _unescape(text):
    text = text.replace('\n ', '\n')
    text = re.sub(r'(?<!\\)(\\+)r', lambda m: '\\' * (len(m[1]) // 2) + ('\r' if len(m[1]) % 2 else 'r'), text)
    return re.sub(r'<\\(\\*)\|endoftext\|>', r'<\1|endoftext|>', text)


def _escape_name(name):
    if not name:
        raise UserError('a turn has no speaker: give every turn a name.')
    name = re.sub(r'[\\:]', r'\\\g<0>', name).replace('\n', '\\n').replace('\r', '\\r')
    name = re.sub(r'^[\s\ufeff(]', r'\\\g<0>', name)
    return re.sub(r'<(\\*)\|endoftext\|>', r'<\\\1|endoftext|>', name)


def _unescape_name(name):
    name = re.sub(r'<\\(\\*)\|endoftext\|>', r'<\1|endoftext|>', name)
    return re.sub(r'\\(.)', lambda m: {'n': '\n', 'r': '\r'}.get(m[1], m[1]), name)


# ---- the styles

class Style:
    """How a turn looks: `name` and the pieces around its words. Subclasses say how."""
    close = '\n'

    def header(self, speaker, time=None):
        """What stands before the words: the prompt that makes the model speak as `speaker`."""
        return _escape_name(speaker) + ':'

    def body(self, text):
        """The words, escaped, with what stands directly around them."""
        return ' ' + _escape(text)

    def words(self, body):
        """body's inverse, tolerant of what a model writes."""
        return _unescape(body.removeprefix(' '))

    def pieces(self, turn):
        """[header, body, close] of a turn."""
        return [self.header(turn.speaker, turn.time), self.body(turn.text), self.close]

    def header_ids(self, enc, speaker, time=None):
        """The token ids that make the model speak as `speaker`."""
        return enc.encode(self.header(speaker, time))

    def turn_ids(self, enc, turn):
        """The token ids of a whole turn; <|endoftext|> is the one token wherever it is ours."""
        header, body, close = self.pieces(turn)
        return enc.encode(header) + enc.encode(body) + ([enc.eot] if close == END_OF_TEXT else enc.encode(close))

    def render(self, conversation):
        """Conversation -> text, its end marked by a line <|endoftext|>."""
        return ''.join(piece for turn in conversation.turns for piece in self.pieces(turn)) + END_OF_TEXT + '\n'

    def parse(self, text):
        """Text -> iterator of Conversations: the inverse of render.

        Tolerant of text written by hand: a blank line ends a conversation too, and a line that starts no turn belongs to the last.
        """
        turns, lines = [], []

        def finished():
            head = self.starts(lines[0])
            return Turn(_unescape_name(head['name']), self.words('\n'.join([lines[0][head.end():], *lines[1:]])),
                        int(head['time']) if head['time'] else None)

        for line in text.split('\n'):
            ends = line == '' or line == END_OF_TEXT
            if lines and (ends or self.starts(line)):
                turns.append(finished())
                lines = []
            if ends and turns:
                yield Conversation(turns)
                turns = []
            elif lines:
                lines.append(line if line.startswith(' ') else ' ' + line)
            elif not ends and self.starts(line):
                lines = [line]
        if lines:
            turns.append(finished())
        if turns:
            yield Conversation(turns)

    def starts(self, line):
        """The match of a line that opens a turn, with groups `name` and `time`, or None."""
        return self.opening.match(line)

    def end_of_turn(self, body):
        """Where in a body still being written its turn ends, or -1: at a line break that no continuation follows."""
        found = re.search(r'\n(?=[^ ])', body)
        return found.start() if found else -1


class NameStyle(Style):
    """Name: text"""
    name = 'name'
    opening = re.compile(rf'(?P<time>)(?P<name>{NAME}):(?= |$)')


class TimestampStyle(Style):
    """(1349680884843) Name: text"""
    name = 'timestamp'
    opening = re.compile(rf'\((?P<time>-?\d+)\) (?P<name>{NAME}):(?= |$)')

    def header(self, speaker, time=None):
        if time is None:
            raise UserError(f'a turn of {speaker} has no time, which the style "timestamp" writes: choose another style.')
        return f'({time}) {super().header(speaker)}'


class SaidStyle(Style):
    """Name said: "text" """
    name = 'said'
    opening = re.compile(rf'(?P<time>)(?P<name>{NAME}) said:(?= ")')

    def header(self, speaker, time=None):
        return f'{_escape_name(speaker)} said:'

    def body(self, text):
        return f' "{_escape(text)}"'

    def words(self, body):
        return _unescape(body.removeprefix(' ').removeprefix('"').removesuffix('"'))


class DialoGPTStyle(Style):
    """text<|endoftext|>text<|endoftext|>, the speakers A and B in turn."""
    name = 'dialogpt'
    close = END_OF_TEXT

    def header(self, speaker, time=None):
        return ''

    def body(self, text):
        return _escape(text)

    def words(self, body):
        return _unescape(body)

    def render(self, conversation):
        line = ''.join(piece for turn in conversation.turns for piece in self.pieces(turn))
        return ('\\' if line[:1] in (' ', '\\', '\n', '\ufeff') else '') + line + '\n'

    def parse(self, text):
        for line in re.split(r'\n(?! )', text):
            words = line.removeprefix('\\').split(END_OF_TEXT)
            if words[-1] == '':
                words.pop()
            if words:
                yield Conversation([Turn(DIALOGPT_SPEAKERS[i % 2], self.words(w)) for i, w in enumerate(words)])

    def end_of_turn(self, body):
        return -1                                       # only the token <|endoftext|> ends a turn


STYLES = {style.name: style for style in (NameStyle(), TimestampStyle(), SaidStyle(), DialoGPTStyle())}


def get_style(name):
    """Name -> Style. Raises UserError naming those there are."""
    if name not in STYLES:
        raise UserError(f'there is no dialogue style {name!r}; choose one of {", ".join(STYLES)}.')
    return STYLES[name]


def sniff(text):
    """The style that a corpus is written in, judged by its first lines, or None for a text that is no dialogue.

    Turns that stand alone between blank lines are no conversations: such a text is None too.
    """
    lines = [line for line in text.split('\n')[:2000] if line and not line.startswith(' ')]
    for name in ('timestamp', 'said', 'name'):
        style = STYLES[name]
        found = [match for line in lines if line != END_OF_TEXT and (match := style.starts(line))]
        speakers = Counter(match['name'] for match in found)
        if (len(found) >= 2 and len(speakers) >= 2 and len(found) >= 0.8 * sum(line != END_OF_TEXT for line in lines) and len(found) >= 1.5 * len(speakers)
                and len(found) >= 1.5 * sum(1 for _ in style.parse(text))):
            return style
    talks = [line for line in re.split(r'\n(?! )', text) if line][:2000]
    if talks and sum(line.count(END_OF_TEXT) >= 2 and line.endswith(END_OF_TEXT) for line in talks) >= 0.8 * len(talks):
        return STYLES['dialogpt']
    return None


def count_speakers(style, text):
    """Counter of who opens how many turns in a text (DialoGPT's speakers have no names and are not counted)."""
    if not hasattr(style, 'opening'):
        return Counter()
    found = Counter(m['name'] for m in re.finditer('^' + style.opening.pattern, text, re.M))
    speakers = Counter()
    for name, turns in found.items():
        speakers[_unescape_name(name)] += turns
    return speakers

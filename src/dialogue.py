"""Conversations, and how their turns look as text: the one home of every style.

    name        Mara: You sound tired.            the default; also what people write by hand
                Theo: long day
                 but a good one                   a further line of the same message starts with one space
                <|endoftext|>                     the conversation ends
    timestamp   (1349680884843) Mara: You sound tired.            milliseconds since 1970, as chat exports have them
    said        Mara said: "You sound tired."
    dialogpt    You sound tired.<|endoftext|>long day<|endoftext|>      a conversation a line, two speakers in turn
                                                                        (Zhang et al. 2020, arXiv:1911.00536, section 3)
    tokens      <bos> <sp1> You sound tired. <sp2> long day <eos>       a conversation a line; the marks are new tokens of the vocabulary,
                                                                        and each position also gets its speaker's embedding, its token
                                                                        type (Wolf et al. 2019, arXiv:1901.08149, section 3)
    s           <s> You sound tired. </s> long day <|endoftext|>        the same with <s> for the others, </s> for you, and no token types

A message may hold anything. What would read as a mark of ours is escaped by a backslash where it stands, so that parsing
gives back the very conversation, and nobody can end or forge a turn by what they write:

    <|endoftext|> in a message    <\\|endoftext|>         (and <\\| becomes <\\\\|)
    a carriage return             \\r                    (a backslash before an r doubles)
    : \\ newline in a name         \\: \\\\ \\n
    <sp1> in a message            <\\sp1>                (likewise <bos> <eos> <sp2>, and <s> </s>, where they are marks)

A turn is rendered in three pieces, header + body + close (`Mara:` + ` You sound tired.` + newline). GPT-2's tokenizer
cuts between them in any case, so ids made piece by piece, as a chat does, are those of the whole text, as encode.py makes
them (but for blanks at the end of a conversation's last message).
"""
import functools
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import regex

from .console import UserError
from .encoder import END_OF_TEXT
from .words import utf8_sizes

CONTINUES = 1 << 30                                     # owner of tokens that go on with a turn begun before the text at hand
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


class Tokens(NamedTuple):
    """A text as token ids [n] int32, and whose each is, [n] int32: k + 1 for the words of names[k] (with what ends their turn),
    -(k + 1) for the header in front of them, 0 for nobody's, CONTINUES. turns[k]: how many turns names[k] has."""
    ids: np.ndarray
    owners: np.ndarray
    names: list[str]
    turns: list[int]
    last_time: int | None                               # of the newest message, where the style writes times


# ---- escapes: what a message holds is never mistaken for a mark

def _escape(text, marks=r'\|endoftext\|'):
    text = re.sub(rf'<(\\*)({marks})>', r'<\\\1\2>', text)
    if '\r' in text or '\\' in text:
        text = re.sub(r'(?<!\\)(\\*)(\r|r)', lambda m: m[1] * 2 + ('\\r' if m[2] == '\r' else 'r'), text)
    return text.replace('\n', '\n ')


def _unescape(text, marks=r'\|endoftext\|'):
    text = text.replace('\n ', '\n')
    text = re.sub(r'(?<!\\)(\\+)r', lambda m: '\\' * (len(m[1]) // 2) + ('\r' if len(m[1]) % 2 else 'r'), text)
    return re.sub(rf'<\\(\\*)({marks})>', r'<\1\2>', text)


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
    speakers = None                                     # the only names that a style knows; None: any
    by_order = False                                    # nothing but the order tells who speaks: the first speaker opens every conversation
    special_tokens = ()                                 # what the vocabulary must have beside <|endoftext|>
    type_tokens = ()                                    # those of them whose embedding is added to every token of their turns
    # Where a text may be cut so that its halves have the tokens of the whole. A newline in front of a word is a word of its own, and a
    # single blank between two words starts the second; not so behind other white space, or behind <|endoftext|>. (?r): the last such place.
    cuts = (regex.compile(r'(?r)(?<=[^\s>])(?=\n\S)'), regex.compile(r'(?r)(?<=[^\s>])(?= \S)'))

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

    # ---- as tokens

    def begin_ids(self, enc):
        """The tokens in front of a conversation's first turn."""
        return [] if enc.eot is None else [enc.eot]

    def stop_ids(self, enc):
        """The tokens that end a turn wherever they come."""
        return set(self.begin_ids(enc))

    def preface_ids(self, enc, text):
        """The token ids of a text that stands in front of the turns, whatever it holds: a line that might be a turn gets a blank in front."""
        return enc.encode(''.join(' ' * (':' in line) + line + '\n' for line in text.rstrip('\n').split('\n')))

    def prompt_ids(self, enc, text):
        """The token ids of what somebody types for the model to go on from; the style's own marks in it are tokens."""
        return enc.encode(text)

    def header_ids(self, enc, speaker, time=None):
        """The token ids that make the model speak as `speaker`."""
        return enc.encode(self.header(speaker, time))

    def turn_ids(self, enc, turn):
        """The token ids of a whole turn."""
        return [i for piece in self.pieces(turn) for i in enc.encode(piece)]

    def next_speaker(self, enc, ids, time=None, before=None):
        """Who speaks next when a model writes `ids` where a turn begins (in the style timestamp: behind time_header).

        before: who spoke last. Returns a name; '' where the conversation ends; None where the header is not whole yet, or no header.
        """
        stops = self.stop_ids(enc)
        text = enc.decode([i for i in ids if i not in stops])
        found = self.starts(self.time_header(time) + text + '\n')
        if ids and ids[0] in stops or text.startswith('\n'):
            return ''
        return _unescape_name(found['name']) if found else None

    def time_header(self, time):
        """The part of a header that says when, as it stands before the name."""
        return ''

    def tokenize(self, enc, text):
        """A text, or a part of one cut at `cut`, -> Tokens. The ids are GPT-2's of the text, with <|endoftext|> where a conversation ends."""
        found, parts = _Speakers(), _conversations(text)
        between, heads, times, names = [], [], [], []   # text, head, text, head, ..., text; an empty head of nobody ends a part
        for part in parts:
            pieces = self.openings.split(part)
            between += pieces[::4]
            for all_of_them, of_part in zip((heads, times, names), (pieces[1::4], pieces[2::4], pieces[3::4])):
                all_of_them += of_part
                all_of_them.append('')
        numbers = found.take_turns(names, times)
        sizes = np.asarray([[*map(len, between)], [*map(len, heads)]]).T
        places = np.cumsum(sizes).reshape(sizes.shape)  # where in the joined parts each head starts, and where it stops
        ids = enc.join(parts)
        lengths = enc.lengths[ids]
        firsts = np.searchsorted(np.cumsum(lengths) - lengths, _byte_offsets(''.join(parts), places.ravel()))      # the first token from each place on
        owners = np.append(np.int32(CONTINUES), np.stack([-numbers, numbers], axis=1))
        owners = np.repeat(owners, np.diff(firsts, prepend=0, append=len(ids)))
        owners[ids == enc.eot] = 0
        return found.tokens(ids, owners, _unescape_name)


class NameStyle(Style):
    """Name: text"""
    name = 'name'
    opening = re.compile(rf'(?P<time>)(?P<name>{NAME}):(?= |$)')
    openings = re.compile(f'^({opening.pattern})', re.M)


class TimestampStyle(Style):
    """(1349680884843) Name: text"""
    name = 'timestamp'
    opening = re.compile(rf'\((?P<time>-?\d+)\) (?P<name>{NAME}):(?= |$)')
    openings = re.compile(f'^({opening.pattern})', re.M)

    def header(self, speaker, time=None):
        if time is None:
            raise UserError(f'a turn of {speaker} has no time, which the style "timestamp" writes: choose another style.')
        return f'{self.time_header(time)} {super().header(speaker)}'

    def time_header(self, time):
        return f'({time})'


class SaidStyle(Style):
    """Name said: "text" """
    name = 'said'
    opening = re.compile(rf'(?P<time>)(?P<name>{NAME}) said:(?= ")')
    openings = re.compile(f'^({opening.pattern})', re.M)

    def header(self, speaker, time=None):
        return f'{_escape_name(speaker)} said:'

    def body(self, text):
        return f' "{_escape(text)}"'

    def words(self, body):
        return _unescape(body.removeprefix(' ').removeprefix('"').removesuffix('"'))


class MarkedStyle(Style):
    """A conversation a line, its turns divided by special tokens; who speaks is a seat, not a name."""
    cuts = (regex.compile(r'(?r)(?<=\n)(?=\S)'),)
    gap = ''                                            # what stands between words and the mark behind them

    @functools.cached_property
    def divide(self):
        """The pattern of a mark, which is group 1."""
        return re.compile(self.gap + '(' + '|'.join(map(re.escape, self.marks)) + ')')

    @property
    def special_tokens(self):
        """The marks that a vocabulary of GPT-2's does not have."""
        return tuple(mark for mark in self.marks if mark != END_OF_TEXT)

    def end_of_turn(self, body):
        return -1                                       # only a token ends a turn

    def prompt_ids(self, enc, text):
        return [i for k, piece in enumerate(self.divide.split(text)) for i in ([enc.special_tokens[piece]] if k % 2 else enc.encode(piece))]


class DialoGPTStyle(MarkedStyle):
    """text<|endoftext|>text<|endoftext|>, the speakers A and B in turn."""
    name = 'dialogpt'
    close = END_OF_TEXT
    speakers = ('A', 'B')
    by_order = True
    marks = (END_OF_TEXT,)

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
                yield Conversation([Turn(self.speakers[i % 2], self.words(w)) for i, w in enumerate(words)])

    def preface_ids(self, enc, text):
        return enc.encode(text) + [enc.eot]

    def turn_ids(self, enc, turn):
        return enc.encode(self.body(turn.text)) + [enc.eot]

    def next_speaker(self, enc, ids, time=None, before=None):
        return None if not ids else '' if ids[0] == enc.eot else self.speakers[before == self.speakers[0]]

    def tokenize(self, enc, text):
        """A conversation ends with one <|endoftext|> more than its last turn."""
        found, pieces = _Speakers(self.speakers), []
        for line in re.split(r'\n(?! )', text):
            words = line.removeprefix('\\').split(END_OF_TEXT)
            if words[-1] == '':
                words.pop()
            numbers = found.take_turns([self.speakers[i % 2] for i in range(len(words))])
            pieces += [piece for part, number in zip(words, numbers) for piece in ((part, number), (enc.eot, number))]
            if words:
                pieces.append((enc.eot, 0))
        return found.tokens(*_encode_pieces(enc, pieces))


class SeatStyle(MarkedStyle):
    """<bos> <sp1> text <sp2> text <eos>: a mark in front of each turn, one of two."""
    close = ' '
    gap = '[ \n]?'
    cuts = (regex.compile(r'(?r)(?<=\n)(?=<)'),)

    def __init__(self, name, begin, speakers, end, type_tokens=()):
        self.name, self.begin, self.speakers, self.end, self.type_tokens = name, begin, speakers, end, type_tokens
        self.marks = tuple(mark for mark in (begin, *speakers, end) if mark)
        self._escaped = '|'.join(re.escape(mark[1:-1]) for mark in dict.fromkeys([*self.marks, END_OF_TEXT]))

    def header(self, speaker, time=None):
        if speaker not in self.speakers:
            raise UserError(f'the style "{self.name}" has the speakers {" and ".join(self.speakers)}, not {speaker}.')
        return speaker

    def body(self, text):
        return ' ' + _escape(text, self._escaped)

    def words(self, body):
        return _unescape(body.removeprefix(' '), self._escaped)

    def render(self, conversation):
        turns = ''.join(piece for turn in conversation.turns for piece in self.pieces(turn))
        return (self.begin + ' ' if self.begin else '') + turns + self.end + '\n'

    def _marked(self, text):
        """Yield (mark, the words behind it, whether a blank line follows, which by hand ends a conversation too)."""
        _, *pieces = self.divide.split(text.removesuffix('\n'))
        for mark, words in zip(pieces[::2], pieces[1::2]):
            yield mark, words.rstrip('\n') if words.endswith('\n') else words, words.endswith('\n')

    def parse(self, text):
        turns = []
        for mark, words, blank in self._marked(text):
            if mark in self.speakers:
                turns.append(Turn(mark, self.words(words)))
            if turns and (mark not in self.speakers or blank):
                yield Conversation(turns)
                turns = []
        if turns:
            yield Conversation(turns)

    def begin_ids(self, enc):
        return [enc.special_tokens[self.begin]] if self.begin else super().begin_ids(enc)

    def stop_ids(self, enc):
        return {enc.special_tokens[mark] for mark in self.marks}

    def preface_ids(self, enc, text):
        return enc.encode(' ' + text)

    def header_ids(self, enc, speaker, time=None):
        return [enc.special_tokens[self.header(speaker)]]

    def turn_ids(self, enc, turn):
        return self.header_ids(enc, turn.speaker) + enc.encode(self.body(turn.text))

    def next_speaker(self, enc, ids, time=None, before=None):
        mark = next((mark for mark in self.marks if ids and enc.special_tokens[mark] == ids[0]), None)
        return None if mark is None else mark if mark in self.speakers else ''

    def tokenize(self, enc, text):
        found, pieces, numbers = _Speakers(self.speakers), [], {mark: i for i, mark in enumerate(self.speakers, 1)}
        marked = [*self._marked(text)]
        for mark, words, blank in marked:
            if mark in numbers:
                pieces += [(enc.special_tokens[mark], -numbers[mark]), (words, numbers[mark])]
            if mark not in numbers or blank:
                pieces.append((enc.special_tokens[self.end if blank else mark], 0))
        found.take_turns([mark for mark, _, _ in marked if mark in numbers])
        return found.tokens(*_encode_pieces(enc, pieces))


class _Speakers:
    """Who speaks in a text that is being tokenized: numbers from 1 as they appear, and their turns."""

    def __init__(self, names=()):
        self._numbers, self._turns, self._last_time = {name: i for i, name in enumerate(names, 1)}, np.zeros(len(names) + 1, np.int64), None

    def take_turns(self, names, times=()):
        """Who opens each turn, as written, and when -> their numbers [turns] int32; '' is nobody, 0."""
        for name in filter(None, dict.fromkeys(names)):
            self._numbers.setdefault(name, len(self._numbers) + 1)
        numbers = np.asarray([*map((self._numbers | {'': 0}).get, names)], np.int32)
        self._turns = np.pad(self._turns, (0, len(self._numbers) + 1 - len(self._turns))) + np.bincount(numbers, minlength=len(self._numbers) + 1)
        self._last_time = max((int(time) for time in times if time), default=self._last_time)
        return numbers

    def tokens(self, ids, owners, unescape=str):
        """The Tokens; unescape(name as written) -> the name itself."""
        return Tokens(ids, owners.astype(np.int32), [unescape(name) for name in self._numbers], self._turns[1:].tolist(), self._last_time)


def _encode_pieces(enc, pieces):
    """[(text, or the id of a mark; owner)] -> (ids, owners of each token)."""
    marks = np.asarray([not isinstance(piece, str) for piece, _ in pieces], bool)
    ids, sizes = enc.encode_all([piece for piece, _ in pieces if isinstance(piece, str)])
    counts = np.ones(len(pieces), np.int64)
    counts[~marks] = sizes
    of_marks, found = np.repeat(marks, counts), np.empty(counts.sum(), np.int32)
    found[of_marks], found[~of_marks] = [piece for piece, _ in pieces if not isinstance(piece, str)], ids
    return found, np.repeat(np.asarray([owner for _, owner in pieces], np.int32), counts)


def _conversations(text):
    """A text cut where conversations end: at <|endoftext|> with all line breaks around it but the first in front, and at blank lines."""
    parts = text.split(END_OF_TEXT)
    parts[1:] = [part.lstrip('\n') for part in parts[1:]]
    parts[:-1] = [part.rstrip('\n') + '\n' if part.endswith('\n\n') else part for part in parts[:-1]]
    return [piece for part in parts for piece in (re.split(r'(?<=\n)\n+', part) if '\n\n' in part else [part])]


def _byte_offsets(text, places):
    """Character offsets, ascending -> offsets in the text's UTF-8 (a lone surrogate counts as the three bytes of U+FFFD)."""
    if text.isascii():
        return places
    points = np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), '<u4')
    return np.concatenate([[0], np.cumsum(utf8_sizes(points), dtype=np.int64)])[places]


STYLES = {style.name: style for style in (
    NameStyle(), TimestampStyle(), SaidStyle(), DialoGPTStyle(),
    SeatStyle('tokens', '<bos>', ('<sp1>', '<sp2>'), '<eos>', type_tokens=('<sp1>', '<sp2>')), SeatStyle('s', '', ('<s>', '</s>'), END_OF_TEXT))}


def get_style(name):
    """Name -> Style. Raises UserError naming those there are."""
    if name not in STYLES:
        raise UserError(f'there is no dialogue style {name!r}; choose one of {", ".join(STYLES)}.')
    return STYLES[name]


def style_of(known):
    """The Style that a run or an npz has noted ({"style": ...}); of plain text (None) the base, which knows no speakers."""
    return get_style(known['style']) if known else Style()


def seated(conversation, style, you=None):
    """A conversation with its people in the two seats that the style knows: `you` in the second, everyone else in the first.

    Without `you`, whoever speaks first takes the first seat. Turns in a row of one seat become one, as DialoGPT's turns alternate.
    Raises UserError where there are more than two people and `you` is not said, and where `you` opens a conversation of a style `by_order`
    (corpus.Builder takes such turns off, and counts them). Other styles take any names: nothing changes.
    """
    if style.speakers is None:
        return conversation
    names = list(dict.fromkeys(turn.speaker for turn in conversation.turns))
    if you is None and len(names) > 2:
        raise UserError(f'the style "{style.name}" has two speakers, but {", ".join(names[:4])} talk with each other: say with --you NAME whose '
                        'turns are the second speaker\'s.')
    if style.by_order and names[:1] == [you]:
        raise UserError(f'the style "{style.name}" tells two speakers apart by order alone, so {you} cannot open a conversation: leave those turns away.')
    turns = []
    for turn in conversation.turns:
        seat = style.speakers[turn.speaker == you if you is not None else names.index(turn.speaker)]
        if turns and turns[-1].speaker == seat:
            turns[-1] = turns[-1]._replace(text=turns[-1].text + '\n' + turn.text)
        else:
            turns.append(Turn(seat, turn.text, turn.time))
    return Conversation(turns)


def sniff(text):
    """The style that a corpus is written in, judged by its first lines, or None for a text that is no dialogue.

    Turns that stand alone between blank lines are no conversations: such a text is None too.
    """
    lines = [line for line in text.split('\n')[:2000] if line and not line.startswith(' ')]
    for style in (STYLES['timestamp'], STYLES['said'], STYLES['name']):         # `name` takes the others' lines for its own
        found = [match for line in lines if line != END_OF_TEXT and (match := style.starts(line))]
        speakers = Counter(match['name'] for match in found)
        if (len(found) >= 2 and len(speakers) >= 2 and len(found) >= 0.8 * sum(line != END_OF_TEXT for line in lines) and len(found) >= 1.5 * len(speakers)
                and len(found) >= 1.5 * sum(1 for _ in style.parse(text))):
            return style
    talks = [line for line in re.split(r'\n(?! )', text) if line][:2000]
    for style in STYLES.values():
        if isinstance(style, SeatStyle) and talks and sum(line.startswith(style.marks[:-1]) for line in talks) >= 0.8 * len(talks):
            return style
    if talks and sum(line.count(END_OF_TEXT) >= 2 and line.endswith(END_OF_TEXT) for line in talks) >= 0.8 * len(talks):
        return STYLES['dialogpt']
    return None

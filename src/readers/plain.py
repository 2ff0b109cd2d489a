"""Text in one of the styles of src/dialogue.py, found out by its first lines: what this toolkit writes, and what people write by hand.

    Mara: You sound tired.                               name
    Theo: long day
     but a good one
    <|endoftext|>

    (1349680884843) Mara: You sound tired.               timestamp
    Mara said: "You sound tired."                        said

- A line <|endoftext|> or a blank line ends a conversation.
- A line that starts no turn belongs to the turn before; before the first turn of a conversation (a heading, say) it is left out.
"""
from .. import dialogue
from . import EMPTY, UNREADABLE, Thread

NAME = 'plain'

BLOCK = 1 << 20                                         # characters that are parsed at once
SCORES = {'timestamp': 0.9, 'said': 0.8, 'name': 0.6}   # "Name: text" is how other exports look too


def sniff(source):
    if source.suffix not in ('.txt', '.text', ''):
        return 0, 'not a text file'
    style = _style(source)
    if not style:
        return 0.1, 'no lines like "Name: text" of two speakers'
    score = 0.95 if f'\n{dialogue.END_OF_TEXT}\n' in source.start else SCORES[style.name]
    return score, f'lines in the style {style.name}'


def _style(source):
    style = dialogue.sniff(source.start.replace('\r\n', '\n'))
    return style if style and style.name in SCORES else None


def read(sources, tally):
    for source in sources:
        style = _style(source) or dialogue.get_style('name')
        thread = Thread()
        for text, goes_on in _blocks(source, style, tally):
            conversations = list(style.parse(text))
            for conversation in conversations:
                for turn in conversation.turns:
                    if turn.text.strip():
                        thread.turns.append(turn)
                    else:
                        tally.drop(EMPTY)
                if not (goes_on and conversation is conversations[-1]):
                    yield thread
                    thread = Thread()


def _blocks(source, style, tally):
    """Yield (text, whether its last conversation goes on): the file in pieces, each from the start of a turn."""
    lines, size, ended = [], 0, True
    with source.text() as file:
        for line in file:
            bare = line.rstrip('\n')
            ends = bare in ('', dialogue.END_OF_TEXT)
            if ended and not ends and not style.starts(bare):
                tally.drop(UNREADABLE)
                continue
            if size > BLOCK and not ends and (ended or style.starts(bare)):
                yield ''.join(lines), not ended
                lines, size = [], 0
            lines.append(line)
            size += len(line)
            ended = ends
    if lines:
        yield ''.join(lines), False

"""Cornell Movie-Dialogs Corpus (Danescu-Niculescu-Mizil and Lee 2011): 83,097 conversations from the scripts of 617 films.

movie_lines.txt, what is said, in no useful order; line, character, film, the character's name, the words:

    L203 +++$+++ u1 +++$+++ m0 +++$+++ IDA +++$+++ So you did come.
    L202 +++$+++ u0 +++$+++ m0 +++$+++ PAUL +++$+++ It's <u>Saturday</u>, isn't it?

movie_conversations.txt, which lines make a conversation, in order:

    u0 +++$+++ u1 +++$+++ m0 +++$+++ ['L202', 'L203']

movie_titles_metadata.txt, if it is there too, has the titles: `m0 +++$+++ the ferry +++$+++ 1957 +++$+++ ...`

The files are Latin-1, more exactly what Windows makes of it: \\x92 is ’, and copies in UTF-8 go around; so each line is looked at by
itself. A line belongs to one conversation. Some lines are empty, and some words are underlined, as scripts are, by tags.
"""
import posixpath
import re

from ..dialogue import Turn
from ..source import DAMAGE
from . import DUPLICATE, EMPTY, UNREADABLE, Thread

NAME = 'cornell'
STRANGERS = True
DATASETS = {'cornell': ('http://www.cs.cornell.edu/~cristian/data/cornell_movie_dialogs_corpus.zip', None)}
ALONE, LOST = 'lines in no conversation', 'lines that are not in movie_lines.txt'
SEPARATOR = '+++$+++'
LINES = re.compile(r'L\d+ \+\+\+\$\+\+\+ u\d+ \+\+\+\$\+\+\+ m\d+ \+\+\+\$\+\+\+ ')
CONVERSATIONS = re.compile(r'u\d+ \+\+\+\$\+\+\+ u\d+ \+\+\+\$\+\+\+ m\d+ \+\+\+\$\+\+\+ \[')
LINE, TAG = re.compile(r'L\d+'), re.compile(r'</?[bui]>', re.I)


def sniff(source):
    if source.suffix != '.txt':
        return 0, 'no .txt'
    if _is_lines(source):
        return 1, 'movie_lines.txt'
    if _is_conversations(source):
        return 1, 'movie_conversations.txt'
    return (0.2, f'{SEPARATOR} between other fields than those of lines or conversations') if SEPARATOR in source.start else (0, f'no {SEPARATOR}')


def group(source):
    """The folder, wherever it lies: lines and conversations are read together, even when they are named one by one."""
    return posixpath.dirname(source.path)


def read(sources, tally):
    if not any(map(_is_lines, sources)) or not any(map(_is_conversations, sources)):
        raise ValueError('movie_lines.txt and movie_conversations.txt are read together: give the folder in which both are')
    lines, titles = {}, {}                              # 'L202' -> ('PAUL', "It's Saturday, isn't it?"); 'm0' -> 'the ferry'
    for source in filter(_is_lines, sources):
        try:
            _read_lines(source, lines, tally)
            if beside := source.beside('movie_titles_metadata.txt'):
                titles.update(fields[:2] for fields in _rows(beside, 2) if len(fields) == 3)
        except DAMAGE as error:
            tally.damaged(source, error)
    for source in filter(_is_conversations, sources):
        try:
            yield from _conversations(source, lines, titles, tally)
        except DAMAGE as error:
            tally.damaged(source, error)
    if lines:
        tally.drop(ALONE, len(lines))


def _read_lines(source, lines, tally):
    for fields in _rows(source, 4):
        if len(fields) < 5 or not (name := fields[3] or fields[1]):
            tally.drop(UNREADABLE)
        elif fields[0] in lines:
            tally.drop(DUPLICATE)
        else:
            lines[fields[0]] = name, TAG.sub('', fields[4])


def _conversations(source, lines, titles, tally):
    for fields in _rows(source, 3):
        ids = LINE.findall(fields[3]) if len(fields) == 4 else []
        if not ids:
            tally.drop(UNREADABLE)
            continue
        thread = Thread(title=titles.get(fields[2], ''), group=False, unit=fields[2])
        for name, text in (lines.pop(line, (None, None)) for line in ids):
            if name is None:
                tally.drop(LOST)
            elif not text:
                tally.drop(EMPTY)
            else:
                thread.turns.append(Turn(name, text))
        yield thread


def _rows(source, separators):
    """Yield the fields of each line."""
    with source.open() as file:
        for line in file:
            try:
                text = line.decode()
            except UnicodeDecodeError:
                text = line.decode('cp1252', 'replace')
            if text.strip():
                yield [field.strip() for field in text.split(SEPARATOR, separators)]


def _is_lines(source):
    return bool(LINES.match(source.start))


def _is_conversations(source):
    return bool(CONVERSATIONS.match(source.start))

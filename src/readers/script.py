"""Scripts of plays, films and series as CSV: a row a line, with who says it.

    index,season no.,episode no.,episode name,name,line
    0,1,1,Pilot,Nora,"Wait, is that the last train?"
    2,1,1,Pilot,Ben,It was.                              the index may have gaps

- Columns go by their names, in any order: one of SPEAKER, one of WORDS, and perhaps a season, an episode and its name.
- The order of the rows is the order of the lines. An episode is a thread and is never torn apart; without episodes
  every PART lines are one, about a scene, so that some can be held back from training.
"""
import re

from ..dialogue import Turn
from ..source import DAMAGE
from . import EMPTY, UNREADABLE, Thread
from .records import first_rows, rows

NAME = 'script'

SPEAKER = ('character', 'character name', 'raw character text', 'speaker', 'speaker name', 'role', 'name')
WORDS = ('line', 'lines', 'line text', 'dialogue', 'dialog', 'spoken words', 'utterance', 'sentence', 'quote', 'words', 'text', 'message')
SEASON = ('season', 'season no', 'season number', 'season id')
EPISODE = ('episode', 'episode no', 'episode number', 'episode id')
TITLE = ('episode name', 'episode title')
PART = 50                                               # lines
COMMON = {'name', 'role', 'sentence', 'quote', 'words', 'text', 'message'}         # columns that other tables have too


def sniff(source):
    if source.suffix not in ('.csv', '.tsv'):
        return 0, 'not a .csv'
    header, row = first_rows(source, _delimiter(source))
    speaker, words, *episode = _columns(header)
    if speaker is None or words is None:
        score = 0 if speaker is words else 0.2
        return score, f'no column of {"speakers" if speaker is None else "lines"}, such as {"name" if speaker is None else "line"}'
    why = f'columns {header[speaker]} and {header[words]}'
    if not row:
        return 0.3, f'{why}, but no rows'
    if any(column is not None for column in episode):
        return 1, f'{why}, and of episodes'
    return (0.6 if {_plain(header[speaker]), _plain(header[words])} <= COMMON else 0.9), why


def read(sources, tally):
    for source in sources:
        thread, table = None, rows(source, _delimiter(source))
        try:
            header = next(table, [])
            speaker, words, season, episode, title = _columns(header)
            if speaker is None or words is None:
                raise ValueError('it has no columns of speakers and lines')
            for row in table:
                if len(row) != len(header):
                    tally.drop(UNREADABLE)
                    continue
                name = '' if title is None else row[title].strip()
                unit = '/'.join(row[column].strip() for column in (season, episode) if column is not None) or name or None
                if thread is None or (unit, name) != (thread.unit, thread.title) or unit is None and len(thread.turns) == PART:
                    if thread:
                        yield thread
                    thread = Thread(title=name, unit=unit)
                who, line = row[speaker].strip(), row[words].strip()
                if who and line:
                    thread.turns.append(Turn(who, line))
                else:
                    tally.drop(EMPTY)
        except DAMAGE as error:
            tally.damaged(source, error)
        if thread:
            yield thread


def _columns(header):
    """Where the speaker, the words, the season, the episode and its name stand in a row, each None where there is none."""
    names = [_plain(name) for name in header]
    return [next((names.index(name) for name in choices if name in names), None) for choices in (SPEAKER, WORDS, SEASON, EPISODE, TITLE)]


def _plain(name):
    """`Season No.` -> `season no`"""
    return ' '.join(re.findall(r'[a-z]+', name.lower()))


def _delimiter(source):
    """What stands between the columns, by the first line."""
    return max(',;\t', key=source.start.split('\n', 1)[0].count)

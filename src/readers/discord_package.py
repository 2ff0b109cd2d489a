"""Discord's own data package ("Request all of my data"): the messages that its owner sent, and nobody else's.

    package/account/user.json                  {"id": "5", "username": "mara", "global_name": "Mara Lind", ...}
    package/messages/index.json                {"20": "general in Book club", "31": "Direct Message with theo#0", "42": null}
    package/messages/c20/channel.json          {"id": "20", "type": "GUILD_TEXT", "name": "general", "guild": {"id": "10", "name": "Book club"}}
    package/messages/c20/messages.json         [{"ID": 900, "Timestamp": "2020-08-09 12:30:00", "Contents": "me too <@31>", "Attachments": ""}]
    package/messages/c20/messages.csv          until 2024:
        ID,Timestamp,Contents,Attachments
        900,2020-08-09 12:30:00.123000+00:00,me too <@31>,

- The folders are called `Messages` and `Account` in some packages, and `20` instead of `c20` in old ones.
- Newest first. ids grow with time.
- type is a number in old packages: 1 is a private chat, 3 a group.
- It says nothing of what the others answered: good for how the owner writes, not for how they converse.
"""
import itertools
import posixpath

from ..dialogue import Turn
from ..source import DAMAGE
from . import EMPTY, MEDIA, UNREADABLE, Thread
from .records import rows
from .times import iso_time

NAME = 'discord_package'

COLUMNS = ('ID', 'Timestamp', 'Contents', 'Attachments')
GROUP = {'1': False, 'DM': False, '3': True, 'GROUP_DM': True}


def sniff(source):
    start = source.start.lstrip() if source.suffix in ('.csv', '.json') else ''
    if source.suffix == '.csv' and start.startswith(','.join(COLUMNS)):
        return 1, 'columns ID, Timestamp, Contents, Attachments'
    if source.suffix == '.json' and start.startswith('[') and all(f'"{key}"' in start for key in COLUMNS[:3]):
        return 1, 'messages with ID, Timestamp and Contents'
    return 0, 'no messages with ID, Timestamp and Contents'


def group(source):
    """The channels of a package go together: they share the owner's name and the index."""
    return posixpath.dirname(posixpath.dirname(source.path))


def read(sources, tally):
    tally.note('A Discord package holds only what its owner wrote: there are no answers to learn from.')
    user = _companion(sources[0], ('../../account/user.json', '../../Account/user.json'), tally)
    owner = _first('Me', user.get('global_name'), user.get('username'))
    index = _companion(sources[0], ('../index.json',), tally)
    for source in sources:
        channel = _companion(source, ('channel.json',), tally)
        found = []                                      # [(id, Turn)]
        try:
            for record in _rows(source) if source.suffix == '.csv' else source.json_items('item'):
                number, turn = _turn(record, owner)
                if isinstance(turn, Turn):
                    found.append((number, turn))
                else:
                    tally.drop(turn)
        except DAMAGE as error:
            tally.damaged(source, error)
        number = posixpath.basename(posixpath.dirname(source.path)).removeprefix('c')
        title = _first('', index.get(number), channel.get('name'))
        yield Thread([turn for _, turn in sorted(found, key=lambda pair: pair[0])], title=title, group=GROUP.get(str(channel.get('type'))))


def _first(otherwise, *names):
    """The first that is a name."""
    return next((name for name in names if isinstance(name, str) and name.strip()), otherwise)


def _companion(source, paths, tally):
    """The object in the first of these files that is there, or {}."""
    beside = next(filter(None, map(source.beside, paths)), None)
    try:
        found = beside.json() if beside else {}
    except DAMAGE as error:
        tally.damaged(beside, error)
        found = {}
    return found if isinstance(found, dict) else {}


def _rows(source):
    """Yield the rows of a CSV as records, None for one of another length."""
    for row in itertools.islice(rows(source), 1, None):
        yield dict(zip(COLUMNS, row)) if len(row) == len(COLUMNS) else None


def _turn(record, owner):
    """A record -> (id, Turn, or why it is none)."""
    if not isinstance(record, dict):
        return None, UNREADABLE
    number, text, time = str(record.get('ID')), record.get('Contents'), iso_time(record.get('Timestamp'))
    if not number.isdecimal() or len(number) > 20 or not isinstance(text, str) or time is None:
        return None, UNREADABLE
    if not text.strip():
        return None, MEDIA if record.get('Attachments') else EMPTY
    return int(number), Turn(owner, text, time)

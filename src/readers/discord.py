"""Discord, as DiscordChatExporter writes it: a .json or .csv a channel, thread or private chat, oldest message first.

    {"guild": {"id": "10", "name": "Book club"},
     "channel": {"id": "20", "type": "GuildTextChat", "categoryId": "11", "category": "Talk", "name": "general", "topic": null},
     "dateRange": {"after": null, "before": null}, "exportedAt": "2023-05-02T10:00:00+00:00",
     "messages": [
       {"id": "900", "type": "Reply", "timestamp": "2020-08-09T12:30:00.123+00:00", "timestampEdited": null, "content": "me too :blobcat:",
        "author": {"id": "5", "name": "mara", "discriminator": "0000", "nickname": "Mara", "isBot": false, "roles": []},
        "attachments": [], "embeds": [], "stickers": [], "reactions": [], "mentions": [], "reference": {"messageId": "899"}}],
     "messageCount": 1}

    AuthorID,Author,Date,Content,Attachments,Reactions
    "5","mara#0420","09-Aug-20 12:30 PM","me ""too"" :blobcat:","https://cdn.example.org/cat.png","❤️ (1)"

- Only the types Default and Reply are people's words; the others (Call, GuildMemberJoin, 20, ...) are lines of Discord's own.
- People are their ids: nicknames differ from server to server, and older versions give a name only.
- A CSV has neither type nor isBot: Discord's own lines are known by their whole sentence, bots not at all.
- The dates of a CSV are ISO 8601 in newer versions; before that day-month-year, then month/day/year, of the machine that exported.
- A long channel is in parts: `general [20].json`, `general [20] [part 2].json`, ..., `general [20] [part 10].json`.
- Mentions and custom emoji stay as the exporter wrote them: @Mara, :blobcat:.
- `--reverse` exports are newest first.
"""
import itertools
import re

from ..dialogue import Turn
from ..source import DAMAGE
from . import BOT, EMPTY, FORWARDED, MEDIA, SYSTEM, UNREADABLE, Speakers, Thread
from . import times
from .records import json_start, rows

NAME = 'discord'

HEADER = re.compile(r'AuthorID,Author,Date,Content,Attachments(?:,Reactions)?\r?\n')
PART = re.compile(r' \[part (\d{1,9})\](?=\.\w+$)', re.A)

FIELDS = {key: re.compile(rf'"{key}"\s*:\s*(?={bracket})') for key, bracket in (('guild', r'\{'), ('channel', r'\{'), ('messages', r'\['))}
GROUP = {'DirectTextChat': False, 'DirectGroupTextChat': True}              # in a server: judged by who speaks

OWN_LINES = re.compile(r'Added .{1,100} to the group\.|Removed .{1,100} from the group\.|Left the group\.|(?:Added|Removed) a recipient\.'
                       r'|Started a call that lasted [\d,]+ minutes?\.|Changed the channel (?:icon\.|name\.|name: .{1,150})'
                       r'|Pinned a message\.|Started a thread\.|Joined the server\.')

OLD_DATE = re.compile(rf'(?:(\d\d?)-({times.ENGLISH})-|(\d\d?)/(\d\d?)/)(\d{{4}}|\d\d) (\d\d?):(\d\d)(?::(\d\d))?(?:[ \u202f]?([AP])M)?', re.A)


def sniff(source):
    if source.suffix == '.csv':
        if HEADER.match(source.start):
            return 1, 'columns AuthorID, Author, Date, Content'
        return (0.3, 'no AuthorID: export it again by a newer version') if re.match('Author[,;]Date[,;]', source.start) else (0, 'other columns')
    if source.suffix in ('.html', '.htm') and 'class="chatlog' in source.start:
        return 0.4, 'a page of DiscordChatExporter: export JSON or CSV'
    if source.suffix != '.json':
        return 0, 'not a .json or .csv'
    found = [key for key, pattern in FIELDS.items() if pattern.search(source.start)]
    if len(found) == 3:
        return 1, 'guild, channel and messages'
    return (0.3, f'only {" and ".join(found)} of guild, channel and messages') if 'channel' in found else (0, 'no guild and channel')


def group(source):
    """The parts of a channel go together."""
    return PART.sub('', source.path)


def read(sources, tally):
    speakers, turns = Speakers(), []
    sources = sorted(sources, key=lambda source: (int((PART.search(source.name) or [0, 1])[1]), source.path))
    for source in sources:
        judge, records = (_row, itertools.islice(rows(source), 1, None)) if source.suffix == '.csv' else (_turn, source.json_items('messages.item'))
        try:
            for record in records:
                found = judge(record, speakers)
                if isinstance(found, Turn):
                    turns.append(found)
                else:
                    tally.drop(found)
        except DAMAGE as error:
            tally.damaged(source, error)
    known = [turn.time for turn in turns if turn.time is not None]
    if len(known) < len(turns):
        tally.note('The Date column of a Discord CSV is in a form that is not known here: those messages are read without a time.')
    if sources[0].suffix == '.csv':
        tally.note('A Discord CSV does not say who is a bot: bots are read like people. A JSON export says it.')
    if known and known[0] > known[-1]:
        turns.reverse()
    yield _thread(sources[0], turns)


def _thread(source, turns):
    """The Thread of these turns, as the first file describes the channel."""
    if source.suffix == '.csv':
        return Thread(turns, title=PART.sub('', source.name).removesuffix('.csv'))
    guild, channel = _object(source, 'guild'), _object(source, 'channel')
    kind = str(channel.get('type'))
    names = [channel.get('name')] if kind in GROUP else [guild.get('name'), channel.get('name')]
    return Thread(turns, title=' / '.join(name for name in names if isinstance(name, str)), group=GROUP.get(kind))


def _object(source, key):
    """The object of this name before the messages, or {}."""
    found = FIELDS[key].search(source.start)
    return found and json_start(source.start, found.end()) or {}


def _turn(message, speakers):
    """A message as a Turn, or why it is none."""
    if not isinstance(message, dict):
        return UNREADABLE
    kind, content, author = message.get('type'), message.get('content'), message.get('author')
    if not isinstance(kind, str) or not isinstance(content, str) or not isinstance(author, dict):
        return UNREADABLE
    if author.get('isBot') is True:
        return BOT
    if kind not in ('Default', 'Reply'):
        return SYSTEM
    key, name, time = author.get('id'), author.get('nickname') or author.get('name'), times.iso_time(message.get('timestamp'))
    if not isinstance(key, str) or not isinstance(name, str) or not name or time is None:
        return UNREADABLE
    if not content.strip():
        if message.get('forwardedMessage'):
            return FORWARDED
        return MEDIA if any(message.get(kind) for kind in ('attachments', 'embeds', 'stickers')) else EMPTY
    return Turn(speakers.name(key, name), content, time)


def _row(row, speakers):
    """A row as a Turn, or why it is none."""
    if len(row) not in (5, 6) or not row[0] or not row[1]:
        return UNREADABLE
    key, name, date, content, attachments = row[:5]
    if OWN_LINES.fullmatch(content):
        return SYSTEM
    if not content.strip():
        return MEDIA if attachments else EMPTY
    return Turn(speakers.name(key, name), content, _date(date))


def _date(text):
    """A date of a CSV -> milliseconds, or None: ISO 8601, 09-Aug-20 12:30 PM, 8/9/2020 12:30 PM."""
    found = OLD_DATE.fullmatch(text)
    if not found:
        return times.iso_time(text)
    day, name, month, day_of_month, year, *clock, half = found.groups()
    if name:
        month = times.month(name)
    return times.milliseconds(int(year) + 2000 * (len(year) == 2), month, day or day_of_month, *clock, half=half)

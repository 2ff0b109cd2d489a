"""Signal, as signal-export writes it: one folder a chat, with chat.md (once index.md) and data.json, which hold the same messages.

    [2019-05-29 15:04:12] Me: Are you on the train?          two blanks at the end of every body, a blank line after every message

    [2019-05-29 15:05:40] Ada:                               a reply: what it answers is quoted first

    > Are you on the train?

    Yes, platform 4
    bring the tickets
    (- Me: 👍 -)                                             reactions

    [2019-05-29 15:06:02] Ada: ![2019-05-29_00_pic.jpg](./media/2019-05-29_00_pic.jpg)

    {"date": "2019-05-29T15:04:12", "sender": "Me", "body": "Are you on the train?  ", "quote": "", "sticker": null,
     "reactions": [], "attachments": [{"name": "pic.jpg", "path": "media/pic.jpg"}]}             data.json: such an object a line

- The date is ISO, with or without a comma and seconds. WhatsApp's headers look alike, but have seconds and in most countries other dates.
- data.json is read where both are there: nothing is mixed into its bodies. Its quotes and the lines above are no words of the sender.
- `Me` is the owner. Names hold letters and digits only, so the first colon ends one; what `No-Sender` says are notices of Signal's own.
- Where messages are followed by a blank line, a header without one in front is pasted. Older exports have none.
- Deleted messages are `(This message was deleted)`, calls `Missed voice call` or `Outgoing call`.
- The times are those of the machine that exported, without a zone.
"""
import os
import re
from pathlib import PurePath

from ..dialogue import Turn
from . import DELETED, EMPTY, MEDIA, SYSTEM, UNREADABLE, Thread
from .records import LOOK, first_objects, json_lines
from .times import iso_time

NAME = 'signal'

HEADER = re.compile(r'\[(\d{4}-\d\d-\d\d),? (\d\d:\d\d)(:\d\d)?\] ([^:\n]+): ?')
CLOSED = re.compile(r'  \n\n\[\d{4}-')
QUOTE = re.compile(r'\n\n>[^\n]*\n(?:>[^\n]*\n)*\n?')
REACTIONS = re.compile(r'\n\(- [^\n]* -\)\s*\Z')
STICKER = re.compile(r'\n\(\( [^\n]* \)\)')
ATTACHMENT = re.compile(r'!?\[[^\[\]\n]{0,300}\]\(\.{1,2}/(?:media|exported_stickers)/\S{0,400}\)')
GONE = '(This message was deleted)'
CALL = re.compile(r'(?:Incoming|Outgoing|Missed)(?: \w+)? call(?: \([^()\n]*\))?')
FIELDS = {'date', 'sender', 'body', 'quote'}


def sniff(source):
    if source.suffix == '.json':
        if any(FIELDS <= message.keys() for message in first_objects(source.start)):
            return 1, 'a message a line with date, sender, body and quote'
        return 0, 'no lines with date, sender, body and quote'
    if source.suffix not in ('.md', '.txt'):
        return 0, 'not chat.md, data.json or a text file'
    header = next(filter(None, map(HEADER.match, source.start.split('\n', LOOK)[:LOOK])), None)
    if not header:
        return 0, 'no line like [2019-05-29, 15:04] Name: ... at its start'
    if source.name in ('chat.md', 'index.md'):
        return 1, f'lines with ISO dates in brackets in a file {source.name}'
    return (0.7 if header[3] else 0.95), 'lines with ISO dates in brackets'                     # WhatsApp always has seconds


def group(source):
    """The files of a folder: chat.md and data.json are the same chat."""
    if source.name in ('chat.md', 'index.md', 'data.json'):
        return os.path.dirname(source.path)
    return source.path


def read(sources, tally):
    best = min(sources, key=lambda source: source.suffix != '.json')
    if len(sources) > 1:
        tally.note('Signal: where data.json and chat.md of a chat are both there, data.json is read.')
    path = PurePath(best.path)
    thread = Thread(title=path.parent.name if best.name in ('chat.md', 'index.md', 'data.json') else path.stem)
    for reason, turn in (_from_json if best.suffix == '.json' else _from_text)(best):
        if turn:
            thread.turns.append(turn)
        else:
            tally.drop(reason)
    yield thread


def _from_json(source):
    """Yield (why it is dropped, None) or (None, Turn) of every line."""
    for message in json_lines(source):
        message = message or {}
        sender, body = message.get('sender'), message.get('body')
        if not (isinstance(sender, str) and sender and isinstance(body, str)):
            yield UNREADABLE, None
        elif message.get('deleted') is True:
            yield DELETED, None
        elif message.get('call') is True:
            yield SYSTEM, None
        else:
            yield _turn(message.get('date'), sender, body, bool(message.get('attachments') or message.get('sticker')))


def _from_text(source):
    header, lines, blank, closed = None, [], True, CLOSED.search(source.start)
    with source.text() as file:
        for line in file:
            found = HEADER.match(line) if blank or not closed else None
            blank = line == '\n'
            if found:
                if header:
                    yield _parsed(header, lines)
                header, lines = found, [line[found.end():]]
            elif header:
                lines.append(line)
            elif line.strip():
                yield UNREADABLE, None
    if header:
        yield _parsed(header, lines)


def _parsed(header, lines):
    """A message of chat.md, without what signal-export puts around its words."""
    body = ''.join(lines)
    had = len(body)
    if '](.' in body:
        body = ATTACHMENT.sub('', body)
    if '\n((' in body:
        body = STICKER.sub('', body)
    media = len(body) < had
    if '\n(-' in body:
        body = REACTIONS.sub('', body)
    if body.startswith('\n\n>'):
        body = QUOTE.sub('', body, count=1)
    return _turn(f'{header[1]} {header[2]}{header[3] or ""}', header[4], body, media)


def _turn(date, sender, body, media):
    body, time = body.rstrip(), iso_time(date)
    if time is None:
        return UNREADABLE, None
    if not body:
        return (MEDIA if media else EMPTY), None
    if body == GONE:
        return DELETED, None
    if CALL.fullmatch(body) or sender == 'No-Sender':
        return SYSTEM, None
    return None, Turn(sender, body, time)

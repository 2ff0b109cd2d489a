"""Telegram, as Telegram Desktop exports it ("Export chat history", or "Export Telegram data" for all chats): result.json, or messages.html.

    {"name": "Theo", "type": "personal_chat", "id": 4291, "messages": [
      {"id": 7, "type": "message", "date": "2020-08-09T12:30:00", "date_unixtime": "1596969000", "from": "Mara Lind", "from_id": "user291",
       "text": ["look at ", {"type": "link", "text": "https://example.org"}, " !"]},
      {"id": 8, "type": "service", "date": "2020-08-09T12:31:00", "actor": "Theo", "action": "phone_call", "text": ""},
      {"id": 9, "type": "message", ..., "from": null, "from_id": "user56", "text": "bye"}]}

    {"about": "Here is the data you requested. ...", "contacts": {...}, "chats": {"list": [CHAT, ...]}, "left_chats": {"list": [CHAT, ...]}}

    <div class="message default clearfix" id="message7">              (`default clearfix joined` has no from_name: the one before speaks on)
      <div class="body">
       <div class="pull_right date details" title="09.08.2020 12:30:00 UTC+02:00">12:30</div>
       <div class="from_name">Mara Lind</div>
       <div class="text">look at <a href="https://example.org">https://example.org</a> !</div></div></div>

- The file is one chat, or all of them. A full export is hundreds of MB: it is read message by message.
- People are told apart by from_id (a number before mid-2021, then "user291"); from is null once they have deleted their account.
- date is the local time of the machine that exported; date_unixtime, in newer exports, is exact.
- What Telegram writes is not always JSON: a form feed becomes `\\x0C`, and version 4.1 left the quotes off `"document_id": stickers/a (2).webm`.
- Forwarded messages and those written by an inline bot (`via_bot`) are in nobody's own words.
- "Saved Messages", the chat with oneself, has no name.
- HTML has no ids: people are their names. The pages of a chat are messages.html, messages2.html, ... in one folder. Where result.json is
  there too, that is read.
"""
import html
import json
import posixpath
import re
from types import NoneType

from ..dialogue import Turn
from . import BOT, EMPTY, FORWARDED, MEDIA, SYSTEM, UNREADABLE, Speakers, Thread
from .times import iso_time, milliseconds, minutes_ahead

NAME = 'telegram'

UNSUPPORTED = 'messages that Telegram could not export'
GROUP = {'personal_chat': False, 'saved_messages': False, 'private_group': True, 'private_supergroup': True, 'public_supergroup': True}
CONTENT = frozenset('photo file media_type sticker_emoji poll contact_information location_information place_name game_title '
                    'invoice_information giveaway_information paid_stars_amount todo_list'.split())

BLOCK, LONGEST = 1 << 20, 1 << 24                       # characters read at a time; more than any one message has
BLANKS = re.compile(r'[ \t\r\n]*')
ESCAPE = re.compile(r'\\(?:x([0-9A-Fa-f]{2})|.)', re.S)
UNQUOTED = re.compile(r'("document_id": )(?!["{\[]|-?\d+,?\n|null)([^\n]+?)(,?\n)')

HAS_CHATS = re.compile(r'"messages"\s*:\s*\[')
HAS_MESSAGES = re.compile(r'"(?:date_unixtime|from_id|actor_id)"\s*:|"type"\s*:\s*"(?:message|service)"[^{}]{0,500}"(?:from|actor)"\s*:')
DATE = re.compile(r'title="(\d\d)\.(\d\d)\.(\d{4}) (\d\d):(\d\d):(\d\d)(?: UTC([+-]\d\d):?(\d\d))?"', re.A)


def sniff(source):
    if source.suffix == '.html':
        if '<div class="message ' not in source.start or 'id="message' not in source.start:
            return 0, 'no messages of Telegram in it'
        if source.beside('result.json') or source.beside('../../result.json'):
            return 0.1, 'result.json has the same messages'
        return 1, 'messages in Telegram\'s HTML'
    if source.suffix != '.json':
        return 0, 'not a .json or .html'
    start = source.start
    if HAS_CHATS.search(start):
        if HAS_MESSAGES.search(start):
            return 1, 'messages with from and date'
        if any(f'"type": "{kind}"' in start for kind in GROUP):
            return 0.9, 'a chat of a type that Telegram has'
        return 0.2, 'messages, but without from and date'
    if '"about": "Here is the data you requested' in start[:200]:
        return 0.9, 'starts as a full export does'
    return (0.3, 'called result.json, but no chats in it') if source.name == 'result.json' else (0, 'no messages with from and date')


def group(source):
    """The pages of a chat go together."""
    return posixpath.dirname(source.path) if source.suffix == '.html' else source.path


def read(sources, tally):
    if sources[0].suffix == '.html':
        yield _read_html(sources, tally)
        return
    speakers, chats = Speakers(), 0
    with sources[0].text(encoding='utf-8') as stream:
        file = _Json(stream)
        for chat, messages in _chats(file):
            chats += 1
            kind, name = chat.get('type'), chat.get('name') or ('Saved Messages' if chat.get('type') == 'saved_messages' else '')
            thread = Thread(title=name if isinstance(name, str) else '', group=GROUP.get(str(kind)))
            try:
                for message in messages:
                    found = _turn(message, speakers)
                    if isinstance(found, Turn) and kind != 'bot_chat':
                        thread.turns.append(found)
                    else:
                        tally.drop(BOT if isinstance(found, Turn) else found)
            finally:                                    # where the file breaks off, what came before counts
                yield thread
        if not chats or file.peek():
            raise ValueError('it goes on behind its end' if chats else 'there is no list of messages in it')


def _turn(message, speakers):
    """A message as a Turn, or why it is none."""
    if not isinstance(message, dict):
        return UNREADABLE
    kind = message.get('type')
    if kind == 'service':
        return SYSTEM
    if kind == 'unsupported':
        return UNSUPPORTED
    name, key, text, time = message.get('from'), message.get('from_id'), _text(message.get('text')), _time(message)
    if kind != 'message' or text is None or time is None or not isinstance(name, (str, NoneType)) or not isinstance(key, (str, int, NoneType)):
        return UNREADABLE
    if not name and key is None:
        return UNREADABLE
    if 'forwarded_from' in message:
        return FORWARDED
    if 'via_bot' in message:
        return BOT
    if not text.strip():
        return EMPTY if CONTENT.isdisjoint(message) else MEDIA
    return Turn(speakers.name(name if key is None else key, name or 'Deleted Account'), text, time)


def _text(text):
    """A message's words, or None: a string, or a list of strings and {type, text}."""
    if isinstance(text, list):
        parts = [part.get('text') if isinstance(part, dict) else part for part in text]
        text = ''.join(parts) if all(isinstance(part, str) for part in parts) else None
    return text if isinstance(text, str) else None


def _time(message):
    unix = str(message.get('date_unixtime'))
    if unix.isdecimal() and len(unix) < 12:
        return int(unix) * 1000
    return iso_time(message.get('date'))


# ---- result.json, without having it all in memory

def _chats(file):
    """Yield (the fields of a chat, iterator of its messages) of all chats in a _Json; use up the one before asking for the next."""
    bracket, fields = file.take(), {}
    while file.peek() not in ('}', ']'):
        key = file.key() if bracket == '{' else None
        if key == 'messages' and file.peek() == '[':
            yield fields, file.items()
        elif file.peek() == '{' and (bracket == '[' or key in ('chats', 'left_chats')) or file.peek() == '[' and key == 'list':
            yield from _chats(file)
        else:
            fields[key] = file.value()
        file.comma()
    file.take()


class _Json:
    """JSON from a text stream, piece by piece: `take` a mark, or a whole `value`. Raises ValueError where there is none."""
    decode = json.JSONDecoder(strict=False).raw_decode

    def __init__(self, file):
        self.file, self.text, self.at = file, '', 0

    def _more(self):
        """Read on, forgetting what is done with. False at the end of the file."""
        block = self.file.read(BLOCK)
        self.text, self.at = _repair(self.text[self.at:] + block), 0
        return bool(block)

    def peek(self):
        """The next character that is no blank; '' at the end."""
        while True:
            self.at = BLANKS.match(self.text, self.at).end()
            if self.at < len(self.text) or not self._more():
                return self.text[self.at:self.at + 1]

    def take(self):
        mark = self.peek()
        if not mark:
            raise ValueError('it breaks off')
        self.at += 1
        return mark

    def comma(self):
        if self.peek() == ',':
            self.at += 1

    def key(self):
        self.peek()
        key = self.value()
        if not isinstance(key, str) or self.take() != ':':
            raise ValueError(f'it is not JSON: {str(key)[:40]!r} is the name of nothing')
        return key

    def value(self):
        while True:
            try:
                value, end = self.decode(self.text, self.at)
                if end < len(self.text):                # else a number may go on
                    self.at = end
                    return value
                why = 'it breaks off'
            except json.JSONDecodeError as error:
                why = f'it is not JSON, or breaks off ({error.msg})'
            if len(self.text) - self.at > LONGEST or not self._more():
                raise ValueError(why)

    def items(self):
        """Yield the values of a list."""
        self.take()
        while self.peek() != ']':
            yield self.value()
            self.comma()
        self.take()


def _repair(text):
    """What Telegram wrote -> what it should have written. Does nothing a second time, nor to what the end of `text` cuts short."""
    if '\\x' in text:
        text = ESCAPE.sub(lambda found: f'\\u00{found[1]}' if found[1] else found[0], text)
    return UNQUOTED.sub(lambda found: f'{found[1]}{json.dumps(found[2])}{found[3]}', text)


# ---- messages.html

def _read_html(sources, tally):
    """The pages of a chat -> Thread."""
    thread, speaker = Thread(), ''
    for source in sorted(sources, key=_page):
        with source.text(encoding='utf-8') as file:
            top, *messages = file.read().split('<div class="message ')
        thread.title = thread.title or _words(_div(top, 'text bold'))
        for message in messages:
            kind, _, message = message.partition('>')
            own, forwarded, _ = message.partition('<div class="forwarded body">')
            if kind.startswith('default') and 'joined' not in kind:
                speaker = _words(_div(own, 'from_name'))
            _, via, _ = speaker.rpartition(' via @')
            time, text = _html_time(own), _words(_div(message, 'text'))
            if kind.startswith('service'):
                tally.drop(SYSTEM)
            elif not kind.startswith('default') or time is None or not speaker:
                tally.drop(UNREADABLE)
            elif forwarded:
                tally.drop(FORWARDED)
            elif via:
                tally.drop(BOT)
            elif not text:
                tally.drop(MEDIA if '<div class="media' in message else EMPTY)
            else:
                thread.turns.append(Turn(speaker, text, time))
    return thread


def _page(source):
    """messages.html, messages2.html, messages10.html"""
    return int((re.search(r'(\d{1,9})\.html$', source.name, re.A) or [0, 1])[1]), source.name


def _div(markup, kind):
    """What is in the first <div> of a class; none of those we want has another in it."""
    return markup.partition(f'<div class="{kind}">')[2].partition('</div>')[0]


def _words(markup):
    text = re.sub(r'<br\s*/?>', '\n', markup.strip())
    return html.unescape(re.sub(r'<[^<>]*>', '', text)).strip(' \n')


def _html_time(markup):
    """title="09.08.2020 12:30:00 UTC+02:00" -> milliseconds; without a zone it is taken as UTC."""
    found = DATE.search(markup)
    if not found:
        return None
    day, month, year, hour, minute, second, *zone = found.groups()
    return milliseconds(year, month, day, hour, minute, second, ahead=minutes_ahead(*zone))

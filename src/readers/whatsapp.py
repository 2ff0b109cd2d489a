"""WhatsApp's "Export chat": one text file a chat, alone or in a zip with its media.

Android, `WhatsApp Chat with Mara.txt`:

    12/03/2023, 21:04 - Messages and calls are end-to-end encrypted. No one outside of this chat ...
    12/03/2023, 21:04 - Theo changed the subject from "a: b" to "c"
    12/03/2023, 21:05 - Mara: You sound tired.
    12/03/2023, 21:05 - Theo: long day
    but a good one
    12/03/2023, 21:06 - Theo: IMG-20230312-WA0004.jpg (file attached)
    the view from up there

iPhone, `_chat.txt` in `WhatsApp Chat - Mara.zip` (<LRM> is U+200E, the left-to-right mark):

    [12.03.23, 21:05:10] Mara: You sound tired.
    <LRM>[12.03.23, 21:05:31] Theo: the view from up there <LRM><attached: 00000004-PHOTO-2023-03-12-21-05-31.jpg>
    [12.03.23, 21:05:40] Mara: <LRM>Missed voice call

How dates, names and WhatsApp's own words look is up to the phone's language; nothing says which. So evidence decides:

- A line that starts with a date and time starts a message; any other line, a blank one too, belongs to the message before it.
  Only what is left of a header at the end of a file that was cut off belongs to nothing.
- Day and month: per style of header, the order that makes the fewest impossible dates, then the fewest before 2009 (when WhatsApp
  began), then the fewest steps back in time and the fewest dates that do not fit those of other styles around them; if that leaves
  a tie, day first, and the user is told.
- A chat or a timetable pasted into a message brings headers of its own. Those in a shape the file's own have not (no year, time first) are
  text anyway. A run of headers in another style than the file's, or of times more than a day back, may be pasted, the file switching style
  (exports put end to end), or messages that arrived late. It is pasted if the file comes back from it, in at most LONGEST messages,
  and either there is a name in it that is nowhere else and no time in it is over a day later than the message it stands in; or the
  style is another and no time is later at all. At the end of the file it is pasted if all of that is so. A leap of over a day ahead
  from which the file comes back is pasted if all names in it are nowhere else. Otherwise the lines are messages.
- The name ends at the first colon with a blank behind it; at the first colon at all in files where hardly any colon has one
  (`Bob:Hi`). In the first sort `John Doe:.` is no message. Where whatever follows a name always starts with the same words and
  a second colon, as in `Dr: House: hi`, they are of the name. What stands before a colon once or twice, and has an open quotation
  mark or the words of a system line in it, is no name.
- On iPhones a body that starts with U+200E is WhatsApp's own words, in any language.

Times are as the phone showed them, to the minute or second, taken as UTC; two exports of a chat are compared by the minute.
Messages keep the order of the file.
"""
import functools
import re
from collections import Counter
from datetime import date

from ..dialogue import Turn
from . import BOT, EMPTY, MARKS, MEDIA, SYSTEM, UNREADABLE, Thread
from .whatsapp_lines import (
    ANDROID_FILE, ANDROID_OMITTED, ATTACHED, BLANKS, CAMERA, CLEAN, DEED, DOCUMENT, DOCUMENT_ENDS, EDITED, GROUP, IOS_FILE,
    LOCATION, LONGEST_PHRASE, MENTION, MISSING, NOTICE, OMITTED, POLL, QUOTES, SHORT_NOTICE, SYSTEM_WORDS, TITLE, WHOLE,
    plain_words)

NAME = 'whatsapp'
POLLS = 'polls'
ASSISTANT = 'Meta AI'
DAY, MINUTE = 86_400_000, 60_000                        # milliseconds
LONGEST = 200                                           # messages in a pasted chat
LONGEST_NAME = 100                                      # characters
FIRST_YEAR = 2009                                       # WhatsApp's

_AFTER_NAME = {'', '\n', *BLANKS}
_M, _S = f'[{MARKS}]{{0,3}}', f'[{BLANKS}]'
_WORD = r'[^\W\d_][^\d\[\]:\n–—-]{0,20}?'               # of one or two parts: p. m., a las
_DATE = (rf'(?P<a>\d{{1,4}}){_M}(?P<separator>[./-]){_S}?{_M}(?P<b>\d\d?){_M}(?P=separator){_S}?{_M}(?P<c>\d{{1,4}})'
         rf'\.?(?:{_S}(?:BE|г\.))?{_M}')                    # 1/31/23  31.1.2023 г.  2023. 1. 31.  1/31/2566 BE
_BETWEEN = rf'(?:[,،]{_M}{_S}*|{_S}+){_M}'                # , or blank
_TIME = (rf'(?:(?P<before>{_WORD}){_S}*)?(?P<hour>\d\d?)(?:[:.]|{_S}h{_S})(?P<minute>\d\d)(?:(?:[:.]|{_S}min{_S})(?P<second>\d\d))?(?:{_S}(?:min|s)\b)?'
         rf'(?:{_S}*(?P<after>{_WORD}))?{_M}')            # 9:05  21.05.10  9:05 p. m.  下午9:05  klo 21.05  21 h 05 min 10 s
HEADER, TIME_FIRST = (re.compile(rf'{_M}(?P<bracket>\[)?{_M}{when}(?(bracket)\]{_S}?|(?:{_S}+[-–—]|:)(?:{_S}|$))', re.M)
                      for when in (_DATE + _BETWEEN + _TIME, _TIME + _BETWEEN + _DATE))

_AM = ('am πμ ص قظ غم sa öö de प्रातः पूर्वाह्न मपू পূৰ্বাহ্ন পূর্বাহ্ন ਪੂਦੁ ಪೂರ್ವಾಹ್ನ முற்பகல் පෙව 上午 午前 오전 早上 凌晨 清晨 vorm fm ap pg vm eparadites fh priešpiet '
       'priekšpusdienā дп проб претпл преподне үө לפנה״צ לפנה"צ ก่อนเที่ยง ກ່ອນທ່ຽງ ጥዋት सुबह inthemorning')
_PM = ('pm μμ م بظ غو ch ös du अपराह्न मउ অপৰাহ্ন অপরাহ্ন ਬਾਦੁ ಅಪರಾಹ್ನ பிற்பகல் පව 下午 午後 오후 中午 晚上 傍晚 nachm em ip ptg nm epasdites eh popiet '
       'pēcpusdienā пп слоб попл поподне үх אחה״צ אחה"צ หลังเที่ยง ຫຼັງທ່ຽງ ከሰዓት दोपहर शाम intheafternoon intheevening')
HALVES = {None: '', **dict.fromkeys(_AM.split(), 'am'), **dict.fromkeys(_PM.split(), 'pm'),
          **dict.fromkeys('半夜 深夜 रात atnight'.split(), 'night'),
          **dict.fromkeys('klo kl um à às at alle alas'.split(), 'link'), **dict.fromkeys('ч बजे'.split(), 'hour')}      # klo 21.25, 21:25 ч.


def sniff(source):
    if source.suffix not in ('.txt', ''):
        return 0, 'no .txt'
    lines = [line for line in source.start.splitlines()[:400] if line.strip()]
    found = [match for match in map(_header(source).match, lines) if match and _clock(match) is not None]
    said = [match for match in found if _colon(match.string, match.end(), True) > 0]
    if not said:
        return (0.3, 'lines with date and time, but nobody speaks') if found else (0.1, 'no line starts with date and time')
    if all(match['bracket'] and match['separator'] == '-' and len(match['a']) == 4 and not match['second'] for match in found):
        return 0.4, 'dates as signal-export writes them'
    why = f'{len(found)} of the first {len(lines)} lines start with date and time, {len(said)} of them name somebody'
    if found[0].string != lines[0]:
        return (0.6 if len(said) > 2 else 0.4), why
    return (1 if _title(source) or source.name == '_chat.txt' else 0.9), why


def read(sources, tally):
    for source in sources:
        messages, days, stray = _messages(source)
        if stray:
            tally.drop(UNREADABLE, stray)
        for example in _decide_dates(days):
            tally.note(f'{source.path}: nothing tells day from month in its dates ({example}); the day was taken to come first.')
        names = _Names(messages)
        thread = Thread(title=_title(source), precision=MINUTE)
        for day, clock, text, start in _joined(messages, _pasted(messages, names)):
            name, start = names.split(day, text, start)
            if '\u2068' in text:
                thread.mentioned.update(set(MENTION.findall(text, start)) - {ASSISTANT})
            words, reason = _words(text[start:].rstrip('\n'), name, day.style[0]) if name else (text[start:], SYSTEM)
            if day.start is None:                       # left over only before the first message
                tally.drop(UNREADABLE)
            elif name == ASSISTANT:
                tally.drop(BOT)
            elif reason:
                tally.drop(reason)
                if reason == SYSTEM and GROUP.search(words, 0, 300):
                    thread.group = True
            else:
                thread.turns.append(Turn(name, words, day.start + clock))
        yield thread


# ---- lines to messages

class _Day:
    """A date as written. style: (iPhone?, separator, where the year is, seconds?, AM and PM?); start: milliseconds since 1970, or None."""
    __slots__ = 'style', 'fields', 'written', 'start'

    def __init__(self, style, fields):
        self.style, self.fields, self.written, self.start = style, tuple(map(int, fields)), style[1].join(fields), None


def _header(source):
    """The pattern of a file's headers: in some languages (Vietnamese) the time stands before the date, in all of them or in none."""
    found = (pattern for line in source.start.splitlines() for pattern in (HEADER, TIME_FIRST) if pattern.match(line))
    return next(found, HEADER)


def _messages(source):
    """-> messages [(day, milliseconds since its midnight, text, where the header in it ends)], days in the order of the file, lines before all."""
    messages, days, stray, header, lines, pattern = [], {}, 0, None, [], _header(source)

    def end():
        if header:
            messages.append((header[0], header[1], ''.join(lines).removesuffix('\n'), header[2]))

    with source.text() as file:
        for line in file:
            match = pattern.match(line)
            clock = _clock(match) if match else None
            if clock is not None:
                end()
                bracket, a, separator, b, c, before, second, after = match.group('bracket', 'a', 'separator', 'b', 'c', 'before', 'second', 'after')
                key = bracket, separator, a, b, c, second is None, not (before or after)
                if key not in days:
                    year = 'first' if len(a) == 4 else 'last' if len(c) == 4 else 'short'
                    days[key] = _Day((bracket is not None, separator, year, *key[5:]), (a, b, c))
                header, lines = (days[key], clock, match.end()), [line]
            elif header:
                lines.append(line)
            elif line.strip():
                stray += 1
    if len(lines) > 1 and not lines[-1].endswith('\n') and _cut(lines[-1], lines[0][:header[2]], pattern):
        lines.pop()
        stray += 1
    end()
    return messages, list(days.values()), stray


def _cut(line, header, pattern):
    """Whether a line is the beginning of a header like this one, as far as the time (or the date) at least: 12/03/2023, 21:0"""
    whole = pattern.match(header)
    for rest in range(len(header)) if len(line) < len(header) + 3 else ():
        match = pattern.fullmatch(line + header[rest:])
        if match and match.group('bracket', 'separator') == whole.group('bracket', 'separator') and _clock(match) is not None:
            return max(match.start('hour'), match.start('a')) < len(line) or header.startswith(line) and line.count(match['separator']) > 1
    return False


def _clock(match):
    """Milliseconds since midnight, or None where HEADER took something else for a time."""
    before, hour, minute, second, after = match.group('before', 'hour', 'minute', 'second', 'after')
    hour, minute, second = int(hour), int(minute), int(second or 0)
    if before or after:
        before, after = _half_of_day(before), _half_of_day(after)
        if before in (None, 'hour') or after in (None, 'link'):
            return None
        half = before if after in ('', 'hour') else after
        if half == 'night':                             # from 6 in the evening to 6 in the morning
            half = 'am' if hour % 12 < 6 else 'pm'
        if half in ('am', 'pm') and hour <= 12:
            hour = hour % 12 + 12 * (half == 'pm')
    if hour > 24 or minute > 59 or second > 60:
        return None
    return (hour % 24 * 3600 + minute * 60 + second) * 1000


@functools.lru_cache(1000)
def _half_of_day(word):
    """One of HALVES' values, '' for no word, None for a word that is none."""
    word = word and ''.join(word.translate(CLEAN).casefold().replace('.', '').split())
    return HALVES.get(word)


# ---- dates

def _decide_dates(days):
    """Set each day's start. Yields a date of every style in which nothing tells day from month."""
    styles = {}
    for day in days:
        styles.setdefault(day.style, []).append(day)
    for style, dates in sorted(styles.items(), key=lambda item: -len(item[1])):
        year, around = style[2], _around(days, style)
        orders = ['ymd'] if year == 'first' else ['dmy', 'mdy']
        if year == 'short' and _changes_alone(dates) == 2:
            orders.insert(0, 'ymd')
        cost = {order: _cost([_start(day.fields, order) for day in dates], around) for order in orders}
        best = min(orders, key=cost.get)                # of equals the first
        if best == 'dmy' and cost['mdy'] == cost['dmy']:
            yield from [day.written for day in dates if day.fields[0] != day.fields[1]][:1]
        for day in dates:
            day.start = _start(day.fields, best)


def _changes_alone(dates):
    """Which field most often is all that changes from one date to the next: the day. Of equals the first."""
    alone = Counter()
    for before, after in zip(dates, dates[1:]):
        changed = [i for i in range(3) if before.fields[i] != after.fields[i]]
        if len(changed) == 1:
            alone[changed[0]] += 1
    return max(range(3), key=lambda i: alone[i])


def _start(fields, order):
    """Milliseconds from 1970 to the date's midnight, or None for no date."""
    year, month, day = (fields[order.index(part)] for part in 'ymd')
    if year < 100:
        year += 2000 if year < 50 else 2500             # 66 is 2566, Buddhist
    if year > 2400:
        year -= 543
    if 1388 <= year < 1430:                             # Persian, since 2009; from 1430 on, the Islamic calendar's, which stay
        return _persian(year, month, day)
    try:
        return (date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()) * DAY
    except ValueError:
        return None


def _persian(year, month, day):
    """_start of a date of the Persian calendar: six months of 31 days, the others of 30, the last of 29 but in the 8 leap years of 33."""
    def new_year(year):
        cycles, rest = divmod(year - 979, 33)
        return date(1600, 3, 20).toordinal() + 365 * (year - 979) + 8 * cycles + (rest + 3) // 4

    found = new_year(year) + 31 * (month - 1) - max(0, month - 7) + day - 1
    if not (1 <= month <= 12 and 1 <= day <= (31 if month < 7 else 30) and found < new_year(year + 1)):
        return None
    return (found - date(1970, 1, 1).toordinal()) * DAY


def _around(days, style):
    """[(the date before, the date behind)] of each day of this style, as far as those of other styles are known by now."""
    found = []
    for order in (days, days[::-1]):
        found.append([])
        last = None
        for day in order:
            if day.style == style:
                found[-1].append(last)
            elif day.start is not None:
                last = day.start
    return list(zip(found[0], found[1][::-1]))


def _cost(starts, around):
    """(impossible dates, dates before WhatsApp, steps back + dates over a week from those before them + those later than what follows)"""
    known = [start for start in starts if start is not None]
    placed = [(start, *beside) for start, beside in zip(starts, around) if start is not None]
    return (len(starts) - len(known), sum(start < _start((FIRST_YEAR, 1, 1), 'ymd') for start in known),
            sum(after < before for before, after in zip(known, known[1:]))
            + sum(before is not None and abs(start - before) > 7 * DAY for start, before, _ in placed)
            + sum(behind is not None and start > behind + DAY for start, _, behind in placed))


# ---- names

def _colon(text, start, tight):
    """Where the name that starts at `start` ends: at a colon that a blank or the line's end follows (tight: at any colon). -1: there is none."""
    end = text.find('\n', start, start + LONGEST_NAME)
    end = min(len(text), start + LONGEST_NAME) if end < 0 else end
    colon = text.find(':', start, end)
    while colon > start and not tight and text[colon + 1:colon + 2] not in _AFTER_NAME:
        colon = text.find(':', colon + 1, end)
    return colon if colon > start else -1


class _Names:
    """Who speaks, by what stands before colons in all messages."""

    def __init__(self, messages):
        colons, spaced = Counter(), Counter()
        for day, _, text, start in messages:
            colons[day.style] += _colon(text, start, True) > 0
            spaced[day.style] += _colon(text, start, False) > 0
        self.tight = {style for style, n in colons.items() if 2 * spaced[style] < n}
        self.count, self._longer, self._people = Counter(), {}, {}
        for day, _, text, start in messages:
            name = self.raw(day, text, start)
            self.count[name] += 1
            if self._longer.get(name, True):            # not yet seen with different words behind it
                end = _colon(text, start + len(name) + 2, False) if name else -1
                longer = text[start:end] if end > 0 else ''
                self._longer[name] = longer if self._longer.get(name, longer) == longer else ''

    def raw(self, day, text, start):
        """What stands before the first colon that may end a name, '' when there is none."""
        return text[start:max(start, _colon(text, start, day.style in self.tight))]

    def split(self, day, text, start):
        """-> (name, where its words start) or ('', start)."""
        raw = self.raw(day, text, start)
        if raw not in self._people:
            longer = self._longer[raw] if self.count[raw] > 2 else ''
            signs = len(QUOTES.findall(raw)) % 2 + bool(SYSTEM_WORDS.search(raw))
            system = signs == 2 or signs and self.count[raw] < 3
            self._people[raw] = ('', 0) if system else ((longer or raw).translate(CLEAN).strip(), len(longer or raw) + 1)
        name, length = self._people[raw]
        if not name:
            return '', start
        start += length
        return name, start + (text[start:start + 1] in BLANKS)

    def strange(self, run):
        """[whether a name is only in these messages] of all that speak in them."""
        speaking = Counter(self.raw(day, text, start) for day, _, text, start in run if self.split(day, text, start)[0])
        return [self.count[name] == n for name, n in speaking.items()]


def _pasted(messages, names):
    """-> bytes, 1 for each message that is a line of the message before it. See the rule in this file's first lines."""
    pasted, style, last, i = bytearray(len(messages)), None, 0, 0
    ends = {message[0].style for message in messages[:1] + messages[-1:]}
    [own] = ends if len(ends) == 1 else [style for style, _ in Counter(message[0].style for message in messages).most_common(1)] or [None]

    def time(message):
        return message[0].start + message[1]

    def odd(message):
        return message[0].start is None or message[0].style != style or time(message) < last - DAY

    while i < len(messages):
        message, end = messages[i], i + 1
        if message[0].start is None:
            pasted[i] = 1
            i += 1
            continue
        if style and odd(message):
            while end < len(messages) and end - i <= LONGEST and odd(messages[end]):
                end += 1
            run = messages[i:end]
            latest = max(time(other) for other in run if other[0].start is not None)
            strangers = names.strange(run)
            strange, other_style = any(strangers), message[0].style != style
            if other_style and message[0].style == own:
                found = False
            elif end == len(messages):
                found = other_style and strange and latest <= last
            else:
                found = (strange and latest <= last + DAY or other_style and latest <= last
                         or strange and all(strangers) and time(message) > time(messages[end]) + DAY)
            found = found and len(run) <= LONGEST
        elif style and time(message) > last + DAY and any(names.strange([message])):
            ahead = range(end, min(i + LONGEST, len(messages)))
            end = next((n for n in ahead if not odd(messages[n]) and time(messages[n]) < time(message) - DAY), i)
            found = end > i and all(names.strange(messages[i:end]))
        else:
            found = False
        if found:
            pasted[i:end] = b'\1' * (end - i)
            i = end
        else:
            style, last = message[0].style, time(message)
            i += 1
    return pasted


def _joined(messages, pasted):
    """Yield the messages with what is pasted into them, and forget each as it goes: they may fill the memory."""
    messages.reverse()
    pasted.reverse()
    while messages:
        day, clock, text, start = messages.pop()
        pasted.pop()
        lines = [text]
        while pasted and pasted[-1] and day.start is not None:
            lines.append(messages.pop()[2])
            pasted.pop()
        yield day, clock, '\n'.join(lines), start


# ---- words

def _words(body, name, ios):
    """-> (what was written, None) or (what stands there, the reason why it is no message)."""
    own = ios and body.startswith('\u200e')
    if body.endswith('>'):
        before, _, last = body[:-1].rpartition('<')
        if len(last) < 80 and (plain_words(last) in EDITED or before.endswith('\u200e') and before.strip(MARKS) and not re.search('[>:]', last)):
            body = before.rstrip(MARKS + BLANKS)
    if '\u2068' in body:
        body = MENTION.sub(r'@\1', body)               # @<isolate>Mara<end of isolate>: WhatsApp's, not the writer's
    words = body.lstrip('\u200e\u200f')
    plain = plain_words(words) if len(words) < LONGEST_PHRASE else ''
    if plain in WHOLE:
        return words, WHOLE[plain]
    caption = _caption(body, plain)
    if caption is not None:
        caption = caption.strip(MARKS + BLANKS + '\n')
        no_words = not caption or len(caption) < 300 and DOCUMENT.fullmatch(caption.translate(CLEAN))
        return (words, MEDIA) if no_words else (caption, None)
    if ':' in words:
        if LOCATION.fullmatch(words.strip()):
            return words, MEDIA
        if ':\n' in words and POLL.fullmatch(words.translate(CLEAN)):
            return words, POLLS
    if not words.strip(MARKS + BLANKS + '\n'):
        return words, EMPTY
    if own or SHORT_NOTICE.match(words) or ('WhatsApp' in words or 'واتساب' in words) and NOTICE.match(words):
        return words, SYSTEM
    if ios and words.startswith(name) and DEED.match(words, len(name)):
        return words, SYSTEM
    return words, None


def _caption(body, plain):
    """What was written to an attachment, '' for nothing; None when there is no attachment."""
    if '<' in body:
        if found := IOS_FILE.search(body):
            return body[:found.start()] + body[found.end():]
        if (found := ANDROID_OMITTED.match(body)) and plain_words(found[1]) in OMITTED:
            return body[found.end():]
    if '(' in body and (found := ANDROID_FILE.match(body)) and (plain_words(found[2]) in ATTACHED or CAMERA.match(found[1])):
        return body[found.end():]
    caption, mark, placeholder = body.rpartition('\u200e')
    if mark and plain_words(placeholder) in MISSING:
        return caption
    if plain.endswith(DOCUMENT_ENDS) and DOCUMENT.fullmatch(plain.removesuffix(next(end for end in DOCUMENT_ENDS if plain.endswith(end)))):
        return ''
    return None


def _title(source):
    """'Mara' of `WhatsApp Chat with Mara.txt` or `WhatsApp Chat - Mara.zip/_chat.txt`; '' when the names say nothing."""
    for part in reversed(re.split(r'[/\\]', source.path)[-2:]):
        part = re.sub(r'(?:\.(?:txt|zip))+$| ?\(\d+\)(?=\.|$)', '', part.translate(CLEAN)).strip()
        if found := TITLE.fullmatch(part if ' ' in part else part.replace('_', ' ')):
            return next(filter(None, found.groups())).strip()
    return ''

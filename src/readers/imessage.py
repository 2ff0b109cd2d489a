"""iMessage, as imessage-exporter writes it with `-f txt`: one file a chat, named after the contact, the number or the group.

    May 17, 2022  5:29:42 PM (Read by them after 1 minute, 2 seconds)
    Me
    Did you get the tickets?
    Tapbacks:
        Liked by Ada Brook
        May 17, 2022  5:31:10 PM                         a reply, indented under what it answers ...
        Ada Brook
        Both of them

    May 17, 2022  5:31:10 PM                             ... and again where it belongs in time
    Ada Brook
    Both of them
    This message responded to an earlier message.

    May 17, 2022  5:32:00 PM You named the conversation Trip

    May 17, 2022 10:04:00 PM
    Ada Brook
    May 17, 2022 10:04:00 PM Se you there                an edited message: every version, the last one counts
    Edited 9 seconds later: See you there

- The hour is padded with a blank: two blanks before 5:29, one before 10:04. English month names whatever the machine's language.
- A message starts with a date after a blank line; a date anywhere else belongs to its body. Bodies may hold blank lines.
- `Me` is the owner, unless the exporter was told another name.
- Attachments are paths or file names, alone on a line; `Sent with Confetti`, `Translated from:` and unsent parts are lines of the exporter's own.
- Phones that have no tapbacks get them as words: `Liked “Both of them”`, `Laughed at an image`. Balloons of apps are words of nobody.
- The times are those of the machine that exported, without a zone.
"""
import itertools
import re
from pathlib import PurePath

from ..dialogue import Turn
from . import DELETED, DUPLICATE, EMPTY, MEDIA, SYSTEM, UNREADABLE, Thread
from . import times

NAME = 'imessage'

DATE = rf'({times.ENGLISH}) (\d\d?), (\d{{4}}) {{1,2}}(\d\d?):(\d\d):(\d\d) ([AP])M'
READ = r'(?: \(Read by [^\n]*\))?'
START = re.compile(rf'{DATE}(?:{READ}| (?P<rest>[^\n]*))$')
OPENING = re.compile(rf'^{DATE}{READ}\n\S', re.M)
REPLY = re.compile(rf' {{4,}}{DATE}{READ}$')
INDENT = '    '

TAPBACK = re.compile(r'(?:Loved|Liked|Disliked|Laughed|Emphasized|Questioned) by |Sticker from ')
EDITED = re.compile(r'Edited [\w ,]{1,80} later: ')
EFFECT = re.compile(r'Sent with (?:Confetti|Echo|Fireworks|Balloons|Heart|Lasers|Shooting Start?|Sparkles|Spotlight|Slam|Loud|Gentle|Invisible Ink)')
ANSWER = 'This message responded to an earlier message.'
TRANSLATED = 'Translated from:'
GONE = 'This message was deleted from the conversation!'
UNSENT = re.compile(r'.{1,200} unsent this message part(?: .{1,100} after sending)?!|.{1,200} unsent a message!|(?:You|They) deleted a message\.')
EVENT = re.compile(r'SharePlay Message\nEnded|(?:Started|Stopped) sharing location!|Unable to format .*')
KIND = r'\.(?:jpe?g|png|heic|gif|webp|tiff?|mov|mp4|m4a|caf|amr|mp3|pdf|vcf|pluginpayloadattachment)'
HOME = r'(?:~[/\\]|[A-Z]:[/\\]|/(?:Users|Volumes|home|private|var|tmp|mnt|media)/)'
MEDIUM = re.compile(rf'(?:~|[A-Z]:)?[/\\].*(?:Attachments|StickerCache|Backup)[/\\].*|Library/(?:Messages|SMS|Application Support)/.*'
                    rf'|attachments/(?:\d+|orphaned)/.*|{HOME}.*{KIND}|(?!https?://)[^\s/]*/\S*{KIND}|(?:[^\s/:]*|Audio Message){KIND}'
                    r'|Attachment missing!|(?:\w+ )?Sticker from .*(?:: .*/.*| not found!)|Handwritten messages are not yet supported!', re.I)
BALLOON = re.compile(r'Apple (?:Cash|Pay) transaction: (?:\S{1,20}|unknown amount)|(?:GamePigeon|Digital Touch) [Mm]essage:.*|.{0,80}\bFitness\.app message:.*'
                     r'|Check In: [^\n]+\n(?:Checked in|Expected|Was expected) (?:at|around) [^\n]+', re.S)
AS_WORDS = re.compile(r'(?:Loved|Liked|Disliked|Laughed at|Emphasi[sz]ed|Questioned|Reacted \S{1,12} to|Removed an? [^“"\n]{1,20} from) '
                      r'(?:[“"](?P<quoted>.+)[”"]|an? (?:image|movie|attachment|audio message|sticker))', re.S)


def sniff(source):
    if source.suffix in ('.html', '.htm') and 'sms://open?message-guid=' in source.start:
        return 0.4, 'a page of imessage-exporter: export with -f txt'
    if source.suffix != '.txt':
        return 0, 'not a .txt'
    start = source.start.replace('\r\n', '\n')
    found = [match.start() for match in itertools.islice(OPENING.finditer(start), 3)]
    if found and (len(found) == 3 or not start[:found[0]].strip()):
        return 1, 'dates like May 17, 2022  5:29:42 PM over senders'
    return (0.6, 'a date like May 17, 2022  5:29:42 PM over a sender') if found else (0, 'no dates like May 17, 2022  5:29:42 PM over senders')


def read(sources, tally):
    for source in sources:
        thread, said = Thread(title=PurePath(source.path).stem), set()
        for start, sender, lines in _messages(source, tally):
            time, (reason, text) = _time(start), _words(lines)
            if time is None or not sender:
                tally.drop(UNREADABLE)
            elif reason:
                tally.drop(reason)
            elif (found := AS_WORDS.fullmatch(text)) and (found['quoted'] is None or found['quoted'].strip() in said):
                tally.drop(SYSTEM)
            else:
                said.add(text.strip())
                thread.turns.append(Turn(sender, text, time))
        yield thread


def _messages(source, tally):
    """Yield (match of START, sender, lines of the body, without replies to it)."""
    start, blank = None, True
    with source.text() as file:
        for line in file:
            line = line.rstrip('\n')
            found = START.match(line) if blank else None
            if found:
                if start:
                    yield start, sender, lines
                start, sender, lines, replying = found, None, [], False
                if found['rest'] is not None:
                    start = None
                    tally.drop(DELETED if UNSENT.fullmatch(f'Me {found["rest"]}') else SYSTEM)
            elif not start:
                if line.strip():
                    tally.drop(SYSTEM if EVENT.fullmatch(line) else UNREADABLE)
            elif sender is None:
                sender = line.strip()
            elif line.startswith(INDENT) and REPLY.match(line):
                tally.drop(DUPLICATE)
                replying = True
            elif replying and (not line or line.startswith(INDENT) or not blank):
                pass                                    # older versions indent only the first line of a reply's body
            else:
                replying = False
                lines.append(line)
            blank = not line
    if start:
        yield start, sender, lines


def _words(lines):
    """The lines of a body -> (why it is dropped, None) or (None, the words that its sender wrote)."""
    said, versions, media, gone, tapbacks = [], None, False, False, False
    for i, line in enumerate(lines):
        if tapbacks and (line.startswith(INDENT) or TAPBACK.match(line)):
            continue
        follows = lines[i + 1] if i + 1 < len(lines) else ''
        tapbacks = line in ('Tapbacks:', 'Reactions:') and bool(follows.startswith(INDENT) or TAPBACK.match(follows))
        found = START.match(line)
        if found and found['rest']:
            versions = len(said)
            said.append(found['rest'])
        elif versions is not None and (found := EDITED.match(line)):
            said[versions:] = [line[found.end():]]
        elif line == TRANSLATED and said and follows:
            said.clear()
        elif line == GONE or 'unsent' in line and UNSENT.fullmatch(line):
            gone = True
        elif line == '\ufffc' or len(line) < 1000 and MEDIUM.fullmatch(line):
            media = True
        elif not (tapbacks or line == ANSWER or i and EFFECT.fullmatch(line) or media and line.startswith('Transcription: ')):
            said.append(line)
    text = '\n'.join(said).replace('\ufffc', '').strip('\n')
    if gone and (lines[0] == GONE or not text.strip()) or UNSENT.fullmatch(text):
        return DELETED, None
    if not text.strip():
        return MEDIA if media else EMPTY, None
    if EVENT.fullmatch(text) or ':' in text and BALLOON.fullmatch(text):
        return SYSTEM, None
    return None, text


def _time(start):
    """The milliseconds of a START, or None when there is no such date."""
    month, day, year, hour, minute, second, half = start.groups()[:7]
    return times.milliseconds(year, times.month(month), day, hour, minute, second, half=half)

"""Facebook Messenger: the threads of a Facebook export, in JSON (2018 on), HTML, or from the end-to-end-encrypted storage.

    messages/inbox/theoberg_10203/message_1.json            newest messages first; message_2.json goes on with older ones
    {"participants": [{"name": "Theo Berg"}, {"name": "Mara Lind"}],
     "messages": [{"sender_name": "Theo Berg", "timestamp_ms": 1571495820123, "content": "bis sp\\u00c3\\u00a4ter"},
                  {"sender_name": "Mara Lind", "timestamp_ms": 1571495760456, "photos": [{"uri": "messages/inbox/..."}]}],
     "title": "Theo Berg", "thread_path": "inbox/theoberg_10203"}

    Theo Berg_15.json                                       the encrypted messages: another export, oldest first
    {"participants": ["Theo Berg", "Mara Lind"], "threadName": "Theo Berg_15",
     "messages": [{"senderName": "Mara Lind", "text": "hello", "timestamp": 1714000000000, "type": "text", "isUnsent": false, "media": []}]}

- The folder names the thread (its end is the thread's id). It is found below messages/, your_facebook_activity/messages/ and others, in
  inbox, archived_threads, e2ee_cutover and others, and moves between them from one export to the next; an export is split over several zips.
  Only the people tell which encrypted file goes on with which thread of e2ee_cutover. So all of it is one group, sorted into threads here.
- Overlaps, as when two exports of different years are given, are duplicates: same millisecond, same words (names may have changed).
- Every string is mojibake: its UTF-8 bytes stand as Latin-1 characters. Some encrypted exports are clean. A cut emoji stays as it is.
- Accounts that are gone are all called "Facebook user", or nothing: they are told apart by thread, by a number made of its name, which may be theirs.
- "Meta AI" is a bot.
- 'Theo sent an attachment.' and such are messages too: fields tell (call_duration, photos, share), else the sentence (messenger_lines.py).
- share_text belongs to what is shared, it is not what the sender says.
- HTML pages are read by messenger_html.py, and only where there is no JSON of the thread.
"""
import bisect
import html
import io
import operator
import os
import posixpath
import re
import zlib
from collections import Counter

from ..dialogue import Turn
from ..source import DAMAGE
from . import BOT, DELETED, DUPLICATE, EMPTY, MEDIA, READABLE, SYSTEM, UNREADABLE, Thread
from . import messenger_html, messenger_lines

NAME = 'messenger'

PART = re.compile(r'message(?:_(\d+))?\.(?:json|html?)', re.IGNORECASE)
PLACE = re.compile(r'(?:^|/)(?:messages/(?:\w+/)?|inbox/|archived_threads/|filtered_threads/|message_requests/|e2ee_cutover/)[^/]+/[^/]+$')
MOJIBAKE = re.compile('[\xc2-\xf4][\x80-\xbf]+')
BEYOND_LATIN_1 = re.compile('[^\x00-\xff]')
GONE = re.compile(r'(?:Facebook|Instagram)(?:[- ](?:user|Nutzer|Benutzer|gebruiker|bruger|bruker|användare|käyttäjä|felhasználó)(?:in|/in)?)|'
                  r'(?:Utilisateur|Utilisatrice|Usuario|Usuária|Usuário|Utilizador|Utente|Użytkownik|Utilizator|Uživatel)'
                  r'(?: d[eio])? (?:Facebook|Instagram)[au]?|Пользователь (?:Facebook|Instagram)', re.IGNORECASE)
PARTICIPANTS = re.compile('Participants|Teilnehmer|Participantes|Partecipanti|Deelnemers|Uczestnicy')
MEDIA_FIELDS = ('photos', 'videos', 'audio_files', 'gifs', 'files', 'sticker', 'share', 'media')
SYSTEM_TYPES = ('Call', 'Subscribe', 'Unsubscribe', 'Plan', 'Payment', 'placeholder')
LATEST = 253_402_300_800_000                            # milliseconds from 1970 to the year 10000
TIME = operator.attrgetter('time')


def sniff(source):
    score, why = recognise(source)
    return (0.3, 'a thread of Instagram') if score >= READABLE and is_instagram(source) else (score, why)


def group(source):
    return NAME


def read(sources, tally):
    for name, members in _by_thread(sources):
        pages = [source for source in members if source.suffix != '.json']
        found = yield from _read_json(name, [source for source in members if source.suffix == '.json'], tally)
        yield from _read_pages(name, pages, tally, is_known=found > 0)


# ---- which files are threads

def recognise(source):
    """(score, why) of a file as a thread of Facebook or Instagram."""
    is_part, is_placed = PART.fullmatch(source.name), PLACE.search(source.path)
    if source.suffix == '.json':
        if is_part and is_placed:
            return 1, 'a thread, by its path'
        head = source.head
        if b'"messages"' in head and is_encrypted(source):
            return 0.95, 'a thread of the end-to-end-encrypted export'
        if b'"messages"' in head and (b'"sender_name"' in head and b'"timestamp_ms"' in head or b'"thread_path"' in head):
            return 0.95, 'messages with sender_name and timestamp_ms'
        if is_part:
            return 0.3, 'named like a thread, but without sender_name and timestamp_ms'
        if b'"messages"' in head:
            return 0.2, 'messages, but without sender_name and timestamp_ms'
        if re.search('(?:^|/)messages/[^/]+$', source.path):
            return 0.2, 'beside the threads of Messenger, but without messages'
    elif source.suffix in ('.html', '.htm') and b'<' in source.head:
        if is_part and (is_placed or not source.folder):
            return 0.9, 'a thread as a page, by its name'
        if next(messenger_html.messages(io.StringIO(source.start)), None):
            if source.name == 'messages.htm' or is_placed or posixpath.basename(source.folder) == 'messages':
                return 0.9, 'a page of messages'
            if PARTICIPANTS.search(source.start):
                return 0.6, 'a page with participants, senders and dates'
            return 0.3, 'a page with names and dates, but not called message_1.html'
    return 0, 'no thread of Facebook'


def is_encrypted(source):
    """Whether a JSON file is of the end-to-end-encrypted export."""
    return b'"participants"' in source.head and (b'"threadName"' in source.head or b'"senderName"' in source.head)


def is_instagram(source):
    """Whether a thread is of Instagram, by its path or else by what is in it; None: nothing tells."""
    if 'your_instagram_activity' in source.path:
        return True
    if re.search('your_facebook_activity|your_activity_across_facebook', source.path) or is_encrypted(source):
        return False
    named = source.name if source.export.is_file else posixpath.join(os.path.basename(source.export.path), source.inner)
    root = re.split('/(?:messages|inbox)/', f'/{named}'.lower())[0]
    if root.rfind('instagram') != root.rfind('facebook'):
        return root.rfind('instagram') > root.rfind('facebook')
    if b'instagram.com/' in source.head or b'"Liked a message"' in source.head:
        return True
    if source.suffix == '.json' and b'"sender_name"' in source.head and not re.search(rb'"(?:participants|type|thread_path)"', source.head):
        return True
    return None


# ---- which files make a thread

def _by_thread(sources):
    """[(name, [Source])]: what lies in folders of one name; encrypted files with the thread of the same people, if there is just one."""
    threads, cutover, encrypted = {}, {}, {}            # name -> [Source]; name -> Source; (people, name) -> [Source]
    for source in sources:
        if source.suffix == '.json' and is_encrypted(source):
            name, people = re.sub(r'_\d+$', '', posixpath.splitext(source.name)[0]), frozenset(_people(source))
            if not people or any(GONE.fullmatch(person) for person in people):
                people = frozenset([source.path])       # who they are is not known
            encrypted.setdefault((people, name if len(people) > 2 else ''), []).append(source)
        else:
            name = _folder(source) if PART.fullmatch(source.name) else source.name if source.name == 'messages.htm' else source.path
            threads.setdefault(name, []).append(source)
            if 'e2ee_cutover/' in source.path and source.suffix == '.json':
                cutover.setdefault(name, source)
    ids = {name.rpartition('_')[2]: name for name in threads}
    for name in [name for name in threads if 'groups/your_group_messages/' in name]:
        if home := ids.get(posixpath.splitext(posixpath.basename(name))[0]):     # 123.json is inbox/soup_123 again
            threads[home] += threads.pop(name)
    homes = {}                                          # people -> [name]
    for name, source in cutover.items():
        homes.setdefault(frozenset(_people(source)), []).append(name)
    rivals = Counter(people for people, _ in encrypted)
    alone = []
    for (people, _), members in encrypted.items():
        if rivals[people] == len(homes.get(people, [])) == 1:
            threads[homes[people][0]] += members
        else:
            alone.append((posixpath.splitext(members[0].name)[0], members))
    return [*threads.items(), *alone]


def _folder(source):
    """The name of the folder a file lies in, also when file or folder are given alone."""
    given = os.path.abspath(source.export.path)
    return posixpath.basename(source.folder) or os.path.basename(os.path.dirname(given) if source.export.is_file else given)


def _value(source, key):
    """The value of a key of a JSON file, or None. Damage is told when its messages are read."""
    try:
        return next(source.json_items(key), None)
    except DAMAGE:
        return None


def _people(source):
    """The names in `participants`: [{"name": "Theo Berg"}] or ["Theo Berg"]."""
    people = _value(source, 'participants')
    names = [person.get('name') if isinstance(person, dict) else person for person in people] if isinstance(people, list) else []
    return [repaired(name) for name in names if isinstance(name, str) and name]


def _title(sources):
    """How the thread is called; it stands at the end, so the smallest file is asked."""
    source = min(sources, key=lambda source: source.size)
    key = 'threadName' if is_encrypted(source) else 'title'
    title = _value(source, key)
    if not isinstance(title, str):
        return ''
    return re.sub(r'_\d+$', '', repaired(title)) if f'{title}.json' == source.name else repaired(title)


# ---- JSON

def _read_json(name, sources, tally):
    """Yield the Thread that JSON files hold together; return how many records that was."""
    if not sources:
        return 0
    people = _people(sources[0])
    chat = _Chat(name, people, tally)
    turns, total = [], 0
    for source in sorted(sources, key=_age, reverse=True):
        part, count = [], 0
        try:
            for count, record in enumerate(source.json_items('messages.item'), 1):
                if turn := chat.turn(record):
                    part.append(turn)
            if not count and not isinstance(_value(source, 'messages'), list):
                raise ValueError('it has no list of messages')
        except DAMAGE as error:
            tally.damaged(source, error)
        merge(turns, part, tally, newest_first=not is_encrypted(source))
        total += count
    if turns:
        yield Thread(turns, title=_title(sources), group=True if len(people) > 2 else None)
    return total


def _age(source):
    """The number of a part: the greater, the older."""
    part = PART.fullmatch(source.name)
    return int(part[1] or 0) if part else 0


def merge(turns, part, tally, *, newest_first=True):
    """Put the Turns of a file, in the order of the file, into `turns`, oldest first; what is there already is a duplicate.

    A file may say the same thing twice in a minute: only as many as `turns` has are duplicates.
    """
    if not part:
        return
    if part[0].time > part[-1].time or (part[0].time == part[-1].time and newest_first):
        part.reverse()
    part.sort(key=TIME)                                 # stable: of one time, the order of the file
    low = bisect.bisect_left(turns, part[0].time, key=TIME)
    high = bisect.bisect_right(turns, part[-1].time, key=TIME)
    known = Counter((turn.time, turn.text) for turn in turns[low:high])
    fresh = []
    for turn in part:
        if known and known[turn.time, turn.text] > 0:
            known[turn.time, turn.text] -= 1
            tally.drop(DUPLICATE)
        else:
            fresh.append(turn)
    turns[low:high] = sorted(turns[low:high] + fresh, key=TIME)


class _Chat:
    """What is known of a thread while its records are read."""

    def __init__(self, name, people, tally):
        self.name, self.people, self.tally = posixpath.basename(name), people, tally
        self.speakers = {}                              # a name as the file has it -> (speaker, what a line about them may begin with)

    def turn(self, record):
        """A record of either export -> Turn, or None: then the tally knows why."""
        reason = UNREADABLE
        if isinstance(record, dict):
            sender = record.get('sender_name', record.get('senderName'))
            text = record.get('content', record.get('text'))
            time = record.get('timestamp_ms', record.get('timestamp'))
            if isinstance(sender, str | None) and isinstance(text, str | None) and type(time) in (int, float) and 0 <= time <= LATEST:
                if sender not in self.speakers:
                    self.speakers[sender] = self.speaker(repaired(sender or ''))
                speaker, begins = self.speakers[sender]
                text = repaired(text or '')
                reason = BOT if speaker == 'Meta AI' else _reason(record, text, begins, repaired(sender or ''))
                if not reason:
                    return Turn(speaker, text, int(time))
        self.tally.drop(reason)
        return None

    def speaker(self, name):
        """A name -> (speaker, what a line about them may begin with)."""
        begins = messenger_lines.subjects([name, *self.people])
        if not name.strip() or GONE.fullmatch(name):
            name = f'{name.strip() or "Facebook user"} ({zlib.crc32(self.name.encode(errors="replace")):08x})'
        return name, begins


def _reason(record, text, begins, sender):
    """Why a record is no turn, or None."""
    if record.get('is_unsent') or record.get('isUnsent') or record.get('is_taken_down'):
        return DELETED
    if record.get('type') in SYSTEM_TYPES or record.get('call_duration') is not None or record.get('missed'):
        return SYSTEM
    has_words, has_media = text and not text.isspace(), any(record.get(field) for field in MEDIA_FIELDS)
    if has_words and not messenger_lines.is_system(text, begins) and not (has_media and messenger_lines.is_of_media(text, sender)):
        return None
    return MEDIA if has_media else SYSTEM if has_words else EMPTY


def repaired(text):
    """UTF-8 that was read as Latin-1 -> the text: 'sp\\xc3\\xa4ter' -> 'sp\\xe4ter'. What is none stays."""
    if text.isascii() or BEYOND_LATIN_1.search(text):   # the latter is clean: bytes end at 255
        return text
    return MOJIBAKE.sub(_decoded, text)


def _decoded(run):
    try:
        return run[0].encode('latin-1').decode('utf-8')
    except UnicodeDecodeError:
        return run[0]


# ---- pages

def _read_pages(name, pages, tally, *, is_known):
    """Yield the Threads of pages: one of message_1.html ..., many of messages.htm. is_known: they were in JSON, too, and are duplicates."""
    threads = {}                                        # people -> (title, [Turn])
    for page in sorted(pages, key=_age, reverse=True):
        parts, title = {}, None
        try:
            title = re.search('<title>([^<]*)</title>', page.start)
            for message in messenger_html.messages(page.text(encoding='utf-8')):
                parts.setdefault(message.thread, []).append(message)
            if not parts:
                raise ValueError('there is no message in it; if its dates are in a language that is not known here, export JSON')
            if any(message.time is None for found in parts.values() for message in found) and not is_known:
                tally.note('Pages (HTML): some dates are in a form that is not known here; their messages count as unreadable. JSON has all of them.')
            if '' in parts and not is_known:
                tally.note('Pages (HTML) give local times without a zone; they are taken as UTC. JSON has exact times.')
        except DAMAGE as error:
            tally.damaged(page, error)
        for people, found in parts.items():
            if is_known:
                tally.drop(DUPLICATE, len(found))
                continue
            chat = _Chat(people or name, {message.sender for message in found}, tally)
            _, turns = threads.setdefault(frozenset(people.split(', ')), (people or html.unescape(title[1] if title else ''), []))
            merge(turns, [turn for message in found if (turn := chat.turn(_record(message)))], tally)
    yield from (Thread(turns, title=title) for title, turns in threads.values() if turns)


def _record(message):
    """A Message of a page -> the record that JSON would have."""
    return {'sender_name': message.sender, 'timestamp_ms': message.time, 'content': message.text, 'media': message.media}

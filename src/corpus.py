"""Threads as exports have them -> conversations to learn from: chosen, cleaned, cut into sessions, made anonymous, divided.

    Selection    whose messages, which threads, from when to when
    Duplicates   the same messages from two exports count once
    sessions     a thread is silent for hours: a new conversation begins
    joined       several messages in a row become one turn
    Redaction    telephone numbers, addresses, links, ... become [phone], [address], [link]
    Pseudonyms   every name becomes another one, everywhere the same
    Division     whole conversations to training or to validation

Each step says how many messages it dropped and why, so that read = kept + dropped at the end.
"""
import datetime
import fnmatch
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import regex

from .console import UsageError, UserError
from .dialogue import Conversation, Turn

HOUR = 3600 * 1000                                      # milliseconds


def milliseconds(text):
    """A date (2024-05-31) or a time (2024-05-31T18:30, 2024-05-31T18:30+02:00; UTC where it has no zone) -> milliseconds since 1970."""
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f'{text!r} is no date: write 2024-05-31, or 2024-05-31T18:30.') from None
    when = when if when.tzinfo else when.replace(tzinfo=datetime.timezone.utc)
    return round(when.timestamp() * 1000)


def date(time):
    """Milliseconds since 1970 -> '2024-05-31', UTC."""
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=time)).date().isoformat()


# ---- what is kept

class Names:
    """Names or patterns (`Anna*`) of people and threads, whatever their case."""

    def __init__(self, patterns):
        self.patterns = list(patterns)
        self._found = {}                                # name -> whether it matches

    def __bool__(self):
        return bool(self.patterns)

    def __contains__(self, name):
        if name not in self._found:
            folded = name.casefold()
            self._found[name] = any(p.casefold() == folded or fnmatch.fnmatchcase(folded, p.casefold()) for p in self.patterns)
        return self._found[name]


@dataclass
class Selection:
    """What of the threads is kept. `drop` counts the messages that are not, by reason."""
    only: Names = field(default_factory=lambda: Names([]))
    exclude: Names = field(default_factory=lambda: Names([]))
    since: int | None = None                            # milliseconds since 1970
    until: int | None = None
    chats: str = 'all'                                  # or 'one_to_one', or 'groups'
    min_score: float = 1
    scripts: str = ''                                   # Unicode scripts, with commas between; messages in them are dropped

    def __post_init__(self):
        self._script = None
        for script in filter(None, self.scripts.split(',')):
            try:
                regex.compile(rf'\p{{Script={script.strip()}}}')
            except regex.error:
                raise UsageError(f'Unicode has no script called {script!r}; Cyrillic, Arabic, Han, Greek and Latin are some.') from None
        if self.scripts:
            self._script = regex.compile('[' + ''.join(rf'\p{{Script={script.strip()}}}' for script in self.scripts.split(',') if script) + ']')

    def keep(self, thread, drop):
        """The turns of a thread that are kept. drop: a Counter of messages by reason."""
        turns = thread.turns
        people = {turn.speaker for turn in turns}
        group = len(people) > 2 if thread.group is None else thread.group
        listed = [name for name in (thread.title, *people) if name]
        reason = None
        if self.only and not [name for name in listed if name in self.only]:
            reason = 'threads not chosen'
        elif self.exclude and thread.title in self.exclude:
            reason = 'threads excluded'
        elif self.chats != 'all' and group != (self.chats == 'groups'):
            reason = 'one-to-one chats' if self.chats == 'groups' else 'group chats'
        elif thread.score is not None and thread.score < self.min_score:
            reason = f'score below {self.min_score:g}'
        if reason:
            drop[reason] += len(turns)
            return []
        if self.exclude:
            turns = _dropping('people excluded', drop, turns, lambda turn: turn.speaker in self.exclude)
        if self.since is not None or self.until is not None:
            turns = _dropping('without a time', drop, turns, lambda turn: turn.time is None)
        if self.since is not None:
            turns = _dropping('before --since', drop, turns, lambda turn: turn.time < self.since)
        if self.until is not None:
            turns = _dropping('after --until', drop, turns, lambda turn: turn.time >= self.until)
        if self._script:
            turns = _dropping(f'in {self.scripts}', drop, turns, lambda turn: self._script.search(turn.text))
        return turns

    def check(self, people, titles):
        """Raise UserError for a name that nobody and no thread has, naming those who are there."""
        for flag, names in (('--only', self.only), ('--exclude', self.exclude)):
            for pattern in names.patterns:
                if not any(name in Names([pattern]) for name in (*people, *titles)):
                    raise UserError(f'{flag} {pattern}: there is nobody and no thread of this name; there are {_some(people)}'
                                    + (f', and the threads {_some(titles)}.' if titles else '.'))


def _dropping(reason, drop, turns, unwanted):
    kept = [turn for turn in turns if not unwanted(turn)]
    if len(kept) < len(turns):
        drop[reason] += len(turns) - len(kept)
    return kept


def _some(names, most=12):
    names = list(names)
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


class Aliases:
    """One person under several names: {name: the name to use}."""

    def __init__(self, definitions):
        """definitions: ['Theo Lang=Theo', 'T. Lang,Theodor=Theo']"""
        self.names, self.matched = {}, set()
        for definition in definitions:
            old, equals, new = definition.rpartition('=')
            if not equals or not old.strip(', ') or not new.strip():
                raise UsageError(f'--alias {definition!r} must read "old name=new name", or "one,another=new name".')
            self.names |= {name.strip(): new.strip() for name in old.split(',') if name.strip()}

    def __call__(self, turns):
        if not self.names:
            return turns
        self.matched.update(self.names.keys() & {turn.speaker for turn in turns})
        return [turn._replace(speaker=self.names[turn.speaker]) if turn.speaker in self.names else turn for turn in turns]

    def check(self, people):
        """Raise UserError for an alias of nobody."""
        for name in self.names:
            if name not in self.matched:
                raise UserError(f'--alias {name}: there is nobody of this name; there are {_some(people)}.')


class Duplicates:
    """Messages that an earlier export had already: the same speaker, time and text, and so has a neighbour of theirs.

    The neighbour tells two people's "ok" of the same minute in two chats from one chat that was exported twice. Threads without
    times are duplicates as a whole or not at all.
    """

    def __init__(self):
        self._seen = {}                                 # hash of a message, or of a whole thread -> the export it was in

    def keep(self, turns, export, drop):
        """The turns that are new. export: whatever tells two exports apart; an export is no duplicate of itself."""
        if not turns:
            return turns
        if any(turn.time is None for turn in turns):
            key = hash(tuple((turn.speaker, turn.text) for turn in turns))
            if self._seen.setdefault(key, export) != export:
                drop['duplicates'] += len(turns)
                return []
            return turns
        keys = [hash(turn) for turn in turns]
        known = [self._seen.get(key, export) != export for key in keys]
        if not any(known):
            self._seen.update(dict.fromkeys(keys, export))
            return turns
        again = [here and (len(known) == 1 or before or after) for before, here, after in zip([False, *known], known, [*known[1:], False])]
        self._seen.update((key, export) for key, old in zip(keys, known) if not old)
        drop['duplicates'] += sum(again)
        return [turn for turn, old in zip(turns, again) if not old]


# ---- conversations

def sessions(turns, gap):
    """Yield a thread's turns in runs that no silence of `gap` milliseconds or more interrupts; gap 0: all of them as one."""
    start = 0
    if gap:
        for i in range(1, len(turns)):
            before, now = turns[i - 1].time, turns[i].time
            if before is not None and now is not None and now - before >= gap:
                yield turns[start:i]
                start = i
    if turns[start:]:
        yield turns[start:]


def joined(turns):
    """Messages in a row by one speaker as one turn, a line each, with the time of the first."""
    found = []
    for turn in turns:
        if found and found[-1][0] == turn.speaker:
            found[-1][1].append(turn.text)
        else:
            found.append((turn.speaker, [turn.text], turn.time))
    return [Turn(speaker, texts[0] if len(texts) == 1 else '\n'.join(texts), time) for speaker, texts, time in found]


# ---- privacy

class Redaction:
    """Text -> the same without what leads to a person: [email] [link] [phone] [card] [account] [address]. What is dropped is counted.

    Card numbers are told by their check digit (ISO/IEC 7812-1), bank accounts by theirs (ISO 13616, mod 97) or by their length.
    It finds what is written in the usual ways, not everything: read the result before you give it away.
    """
    SUSPECT = re.compile(r'[0-9٠-٩۰-۹@]|\w\.\w|://')
    STREET = r'(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|way|place|pl|square|sq|terrace|crescent|close)'
    PATTERNS = re.compile('|'.join((
        r'(?P<email>[\w.+%-]+@[\w-]+(?:\.[\w-]+)+)',
        r'(?P<link>(?:https?|ftp)://[^\s<>"]+|\bwww\.[^\s<>"]+'
        r'|\b(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|info|io|co|me|tv|app|dev|ly|gl|be|de|at|ch|fr|es|it|nl|pl|pt|se|dk|fi|ru|uk|eu|br|us|ca|au|in|jp|cn)(?:/[^\s<>"]*|(?![\w.-])))',
        r'(?P<account>\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b)',
        r'(?P<address>\b\d{1,5}[a-z]?,? (?:[\w\'.-]+ ){1,4}?' + STREET + r'\b\.?'
        r'|\b[\w-]+(?:stra(?:ß|ss)e|str\.|gasse|platz|allee|weg|ufer|damm|straat|laan|gracht|plein) \d{1,4} ?[a-z]?\b'
        r'|\b\d{1,4},? (?:bis |ter )?(?:rue|avenue|boulevard|chemin|impasse|quai|place) [\w\'’ -]{3,40}'
        r'|\b(?:calle|avenida|avda\.?|plaza|paseo|via|viale|piazza|corso|rua|ulica|ul\.) [\w\'’ ]{3,40}?,? \d{1,4}\b)',
        r'(?P<number>(?<![\w.,:/-])(?:\+|00)?\(?[0-9٠-٩۰-۹][0-9٠-٩۰-۹ ()/.\u00a0\u202f-]{5,}[0-9٠-٩۰-۹](?![\w]))')), re.I)
    NO_PHONE = re.compile(r'\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?: .*)?|\d{1,3}(?:[ .\u00a0\u202f]\d{3})+|\d{4} ?- ?\d{4}|\d{1,3}(?:\.\d+){1,3}')      # dates, 1 000 000, years, versions

    def __init__(self):
        self.counts = Counter()
        self._names = {}

    def __call__(self, text):
        return self.PATTERNS.sub(self._replacement, text) if self.SUSPECT.search(text) else text

    def name(self, speaker):
        """A speaker's name; where it is a telephone number or an address, `Someone 1`, `Someone 2`, ..."""
        if speaker not in self._names:
            hidden = self.PATTERNS.sub(lambda match: '' if self._kind(match) else match[0], speaker) != speaker
            self._names[speaker] = f'Someone {1 + sum(old != new for old, new in self._names.items())}' if hidden else speaker
        return self._names[speaker]

    def _replacement(self, match):
        kind = self._kind(match)
        if kind is None:
            return match[0]
        self.counts[kind] += 1
        trailing = re.search(r'[.,;:!?)\'"]*$', match[0])[0] if kind == 'link' else ''
        return f'[{kind}]{trailing}'

    def _kind(self, match):
        """What a match is: email, link, phone, card, account, address; None for a number that is none of these."""
        kind, found = match.lastgroup, match[0]
        if kind == 'account':
            return kind if _is_iban(found) else None
        if kind != 'number':
            return kind
        digits = re.sub(r'\D', '', found)
        if 13 <= len(digits) <= 19 and _luhn(digits) and not found.startswith('+'):
            return 'card'
        if self.NO_PHONE.fullmatch(found):
            return None
        return 'phone' if 7 <= len(digits) <= 15 else 'account' if len(digits) > 15 else None


def _is_iban(text):
    text = text.replace(' ', '').upper()
    return 15 <= len(text) <= 34 and int(''.join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _luhn(digits):
    return sum(int(d) if i % 2 == 0 else sum(divmod(2 * int(d), 10)) for i, d in enumerate(reversed(digits))) % 10 == 0


class Pseudonyms:
    """Every part of a speaker's name -> an invented one, in names and wherever a message has the word: `key`, {part: pseudonym}.

    First parts become first names, later parts last names, so that two people called Theo still share their first name.
    """
    FIRST = ('Alex Robin Sam Kim Charlie Jamie Morgan Riley Quinn Casey Avery Rowan Taylor Jordan Skyler Eden Remy Noor Sasha Toni '
             'Micah Jules Lou Parker Harper Emery Finley Reese Sage Blair Dana Drew Ellis Frankie Hollis Indigo Kit Lane Marlow Nico').split()
    LAST = ('Moss Reed Hale Brook Vale Lark Stone Fern Marsh Wells Birch Frost Field Heath Ford Dale Ash Wren Holt Thorn '
            'Glen Pike Rowe Sutton Tate Underhill Vance Wilder York Abbott Bell Carver Dunn Ellery Fox Gray Hart Ives Kerr Lowe').split()
    # names that are also words: written small, they are left alone
    WORDS = frozenset('will mark may rose grace hope bill art faith joy dawn june april august rich jack frank pat sue drew chase hunter sunny '
                      'summer autumn love young long white black brown green gray king bishop page day best good more little small strong wise '
                      'rice wood woods stone field fields hill west east north south the and you for not are was but all can had her him his how man '
                      'new now old see two way who boy did its let put say she too use dad mom mum angel bell bush cook fox hall hand hart'.split())
    WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")

    def __init__(self, key=None):
        """key: that of an earlier import, so that the same people get the same pseudonyms."""
        self.key = dict(key or {})
        self._by_word = {}

    def learn(self, names):
        """Take these people's names into the key."""
        used = set(self.key.values())
        for name in names:
            for i, part in enumerate(self.WORD.findall(name)):
                if part not in self.key and (len(part) > 1 or i == 0):
                    pool = self.FIRST if i == 0 else self.LAST
                    new = next((new for new in pool if new not in used), None) or f'{pool[len(used) % len(pool)]}{len(used)}'
                    used.add(new)
                    self.key[part] = new
        self._by_word = {part.casefold(): new for part, new in self.key.items()}

    def name(self, name):
        """A speaker's name; one without letters (a number) stays as it is."""
        return self.WORD.sub(lambda match: self.key.get(match[0], match[0]), name)

    def __call__(self, text):
        return self.WORD.sub(self._word, text)

    def _word(self, match):
        word = match[0]
        folded = word.casefold()
        new, ending = self._by_word.get(folded), ''
        if new is None and folded.endswith('s'):        # of Theo's: Theos
            new, ending = self._by_word.get(folded[:-1]), word[-1]
        if new is None or len(word) - len(ending) < 2 or (word.islower() and (folded in self.WORDS or folded[:-1] in self.WORDS and ending)):
            return word
        return (new.lower() if word.islower() else new.upper() if word.isupper() and len(word) > 1 else new) + ending

    @classmethod
    def read(cls, path):
        """The Pseudonyms of a key file."""
        try:
            with open(path, encoding='utf-8') as file:
                key = json.load(file)
            if not isinstance(key, dict) or not all(isinstance(value, str) for value in key.values()):
                raise ValueError
        except ValueError:
            raise UserError(f'{path} is no key of pseudonyms ({{"Theo": "Alex", ...}}): name another file to write.') from None
        return cls(key)


# ---- training and validation

class Division:
    """Whole conversations to 'train' or 'validation', so that the share of characters comes out as asked for; the same every time.

    Conversations of one unit (a Reddit post, an episode) go together; a dataset's own split is kept.
    """

    def __init__(self, share):
        self.share, self._owed, self._units = share, 0.0, {}

    def __call__(self, thread, conversation):
        if thread.split:
            return thread.split
        key = None if thread.unit is None else (thread.format, thread.unit)
        if key in self._units:
            return self._units[key]
        size = sum(len(turn.text) for turn in conversation.turns)
        self._owed += self.share * size
        split = 'validation' if self._owed > size / 2 else 'train'
        if split == 'validation':
            self._owed -= size
        if key is not None:
            self._units[key] = split
        return split


# ---- all of it

@dataclass
class Stats:
    """What came of the messages of one thread, or of several with the same title."""
    format: str
    title: str
    read: int = 0
    kept: int = 0
    conversations: int = 0
    dropped: Counter = field(default_factory=Counter)
    first: int | None = None                            # milliseconds since 1970
    last: int | None = None


class Builder:
    """Threads in, conversations out; what was done with them in `threads`, `people`, `redaction`."""

    def __init__(self, selection, aliases, *, gap=6 * HOUR, join=True, min_turns=2, redaction=None):
        """gap: milliseconds of silence between two conversations; join: see `joined`; min_turns: of a conversation."""
        self.selection, self.aliases, self.redaction = selection, aliases, redaction
        self.gap, self.join, self.min_turns = gap, join, min_turns
        self.duplicates = Duplicates()
        self.threads = {}                               # (format, title): Stats
        self.people = Counter()                         # messages kept
        self.everybody, self.in_threads = {}, defaultdict(int)          # all names, in order; how many threads each is in

    def conversations(self, thread, export):
        """The Conversations of a thread. export: what tells it from other exports."""
        stats = self.threads.setdefault((thread.format, thread.title), Stats(thread.format, thread.title))
        stats.read += len(thread.turns)
        thread.turns = self.aliases(thread.turns)
        for name in dict.fromkeys(turn.speaker for turn in thread.turns):
            self.everybody[name] = None
            self.in_threads[name] += 1
        turns = self.selection.keep(thread, stats.dropped)
        turns = self.duplicates.keep(turns, export, stats.dropped)
        for run in sessions(turns, self.gap):
            messages = len(run)
            written = joined(run) if self.join else run
            if len(written) < self.min_turns:
                stats.dropped[f'conversations of fewer than {self.min_turns} turns'] += messages
                continue
            if len({turn.speaker for turn in written}) < 2:
                stats.dropped['only one person speaks'] += messages
                continue
            stats.kept += messages
            stats.conversations += 1
            self.people.update(turn.speaker for turn in run)
            times = [turn.time for turn in (run[0], run[-1]) if turn.time is not None]
            if times:
                stats.first = min(times + ([] if stats.first is None else [stats.first]))
                stats.last = max(times + ([] if stats.last is None else [stats.last]))
            if self.redaction:
                written = [turn._replace(speaker=self.redaction.name(turn.speaker), text=self.redaction(turn.text)) for turn in written]
            yield Conversation(written)

    def check(self):
        """Raise UserError for names that nobody has."""
        titles = [title for _, title in self.threads if title]
        self.selection.check(self.everybody, titles)
        self.aliases.check(self.everybody)

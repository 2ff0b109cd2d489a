"""Threads as exports have them -> conversations to learn from: chosen, cleaned, cut into sessions, divided.

    Selection    whose messages, which threads, from when to when
    Duplicates   the same messages from two exports count once
    sessions     a thread is silent for hours: a new conversation begins
    joined       several messages in a row become one turn
    Division     whole conversations to training or to validation

Each step says how many messages it dropped and why, so that read = kept + dropped at the end.
"""
import datetime
import difflib
import fnmatch
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import regex

from .console import UsageError, UserError, in_line
from .dialogue import Conversation, Turn
from .readers import MARKS
from .readers.times import iso_time

HOUR = 3600 * 1000                                      # milliseconds


def milliseconds(text):
    """A date (2024-05-31) or a time (2024-05-31T18:30, 2024-05-31T18:30+02:00; UTC where it has no zone) -> milliseconds since 1970."""
    for time in map(iso_time, (text, f'{text}T00:00')):
        if time is not None:
            return time
    raise UsageError(f'{text!r} is no date: write 2024-05-31, or 2024-05-31T18:30.')


def date(time):
    """Milliseconds since 1970 -> '2024-05-31', UTC. Times before the year 1 or after 9999, which broken exports have, give its ends."""
    day = time // (24 * HOUR) + datetime.date(1970, 1, 1).toordinal()
    return datetime.date.fromordinal(min(max(int(day), 1), datetime.date.max.toordinal())).isoformat()


EDGES = MARKS + ' \t\r\n\xa0\u202f\u200b'


def composed(name):
    """A name as one writes it: `e` + accent as one character (files from Macs have two), nothing invisible around it."""
    if name.isascii():
        return name.strip() or NOBODY
    return unicodedata.normalize('NFC', name).strip(EDGES) or NOBODY


NOBODY = 'Unknown'                                      # whose name is empty


def caseless(name):
    """What two spellings of a name have in common."""
    return composed(name).casefold()


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
            folded = caseless(name)
            self._found[name] = any(caseless(p) == folded or fnmatch.fnmatchcase(folded, caseless(p)) for p in self.patterns)
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
        scripts = [script.strip() for script in self.scripts.split(',') if script.strip()]
        for script in scripts:
            try:
                if not re.fullmatch(r'[\w -]+', script):
                    raise ValueError
                regex.compile(rf'\p{{Script={script}}}')
            except (ValueError, regex.error):
                raise UsageError(f'Unicode has no script called {script!r}; Cyrillic, Arabic, Han, Greek and Latin are some.') from None
        self.scripts = ', '.join(scripts)
        self._script = regex.compile('[' + ''.join(rf'\p{{Script={script}}}' for script in scripts) + ']') if scripts else None
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise UsageError('--since is later than --until: no message can be both.')

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
                    raise UserError(f'{flag} {in_line(pattern)}: there is nobody and no thread of this name; there are {_some(people, pattern)}'
                                    + (f', and the threads {_some(titles, pattern)}.' if titles else '.'))


def _dropping(reason, drop, turns, unwanted):
    kept = [turn for turn in turns if not unwanted(turn)]
    if len(kept) < len(turns):
        drop[reason] += len(turns) - len(kept)
    return kept


def _some(names, like):
    """A dozen of the names for a message, those most like the one that was asked for first."""
    names = list(dict.fromkeys(names))
    near = difflib.get_close_matches(like, names[:2000], 3)
    names = near + [name for name in names if name not in near]
    return ', '.join(in_line(name)[:60] for name in names[:12]) + (f' and {len(names) - 12} more' if len(names) > 12 else '') or 'none'


class Aliases:
    """One person under several names: `Theo Lang,Theodor=Theo`. A chain is followed to its end: with `Theo=T` all three are T."""

    def __init__(self, definitions):
        r"""definitions: ['Theo Lang=Theo', 'T. Lang,Theodor=Theo', r'Lang\, Theo=Theo']"""
        self.names, self.matched = {}, set()            # {old name: new name}
        new_names = {}                                  # by folded old name
        for definition in definitions:
            old, _, new = definition.rpartition('=')
            olds = [composed(name.replace(r'\,', ',')) for name in re.split(r'(?<!\\),', old) if name.strip()]
            if not olds or not new.strip():
                raise UsageError(f'--alias "{in_line(definition)}" must read "old name=new name", or "one,another=new name" (a comma in a name: \\,).')
            new = composed(new)
            for old in olds:
                if new_names.setdefault(caseless(old), new) != new:
                    raise UsageError(f'--alias: {in_line(old)} cannot be both {in_line(new_names[caseless(old)])} and {in_line(new)}.')
                self.names[old] = new
        self._new = {}
        for old, new in new_names.items():
            seen = {old}
            while caseless(new) in new_names and caseless(new) != caseless(new_names[caseless(new)]):
                if caseless(new) in seen:
                    raise UsageError(f'--alias: the names {", ".join(map(in_line, self.names))} go round in a circle.')
                seen.add(caseless(new))
                new = new_names[caseless(new)]
            self._new[old] = new

    def __call__(self, turns):
        """The turns of a thread under the names to use, composed."""
        names = {}
        for name in {turn.speaker for turn in turns}:
            folded = caseless(name)
            new = self._new.get(folded, composed(name))
            if folded in self._new:
                self.matched.add(folded)
            if new != name:
                names[name] = new
        return [turn._replace(speaker=names.get(turn.speaker, turn.speaker)) for turn in turns] if names else turns

    def check(self, people):
        """Raise UserError for an alias of nobody."""
        for name in self.names:
            if caseless(name) not in self.matched:
                raise UserError(f'--alias {in_line(name)}: there is nobody of this name; there are {_some(people, name)}.')


class Duplicates:
    """Messages that an earlier export had already: the same speaker, time (as precise as both exports are) and text, in a thread of the
    same title, or in a row with other such messages that is the whole thread or has two speakers at least.

    The row tells one chat that was exported twice from an "ok", or a "Happy new year!" and a 🎉, that went to two friends in the
    same minute. Threads without times are duplicates as a whole or not at all.
    """

    def __init__(self):
        self._seen = {}                                 # hash of a message, or of a whole thread -> (the export it was in, its thread)

    def keep(self, turns, export, drop, thread=None, precision=1):
        """The turns that are new. export: whatever tells two exports apart; an export is no duplicate of itself.
        thread: what names a thread in all exports alike, None where nothing does. precision: see readers.Thread."""
        if not turns:
            return turns
        place = export, thread
        if any(turn.time is None for turn in turns):
            key = hash(tuple((turn.speaker, turn.text) for turn in turns))
            if self._seen.setdefault(key, place)[0] != export:
                drop['duplicates'] += len(turns)
                return []
            return turns
        keys = [hash((turn.speaker, turn.text, turn.time // precision)) for turn in turns]
        known = [self._seen.get(key, place) for key in keys]            # where each was before
        start = 0
        again = [False] * len(turns)
        while start < len(turns):
            if known[start][0] == export:
                start += 1
                continue
            end = start
            while end < len(turns) and known[end][0] != export:
                end += 1
            row = end - start == len(turns) or len({turn.speaker for turn in turns[start:end]}) > 1
            again[start:end] = [row or thread is not None and known[i][1] == thread for i in range(start, end)]
            start = end
        if not any(again):
            self._seen.update(dict.fromkeys(keys, place))
            return turns
        self._seen.update((key, place) for key, old in zip(keys, again) if not old)
        drop['duplicates'] += sum(again)
        return [turn for turn, old in zip(turns, again) if not old]


# ---- conversations

def sessions(turns, gap):
    """Yield a thread's turns in runs that no silence of `gap` milliseconds or more interrupts; gap 0: all of them as one.

    A leap back by as much is a cut too: two pieces of a chat in the wrong order. Turns without a time stay with those before.
    """
    start, last = 0, None
    if gap:
        for i, turn in enumerate(turns):
            if turn.time is not None:
                if last is not None and abs(turn.time - last) >= gap:
                    yield turns[start:i]
                    start = i
                last = turn.time
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


# ---- training and validation

class Division:
    """Whole conversations to 'train' or 'validation', so that the share of characters comes out as asked for; the same every time.

    Conversations of one unit (a Reddit post, an episode) go together, and so do those whose first two turns are the same words: what was
    written twice, or again at each turn that it grew by, would be learnt here and asked there. A dataset's own split is kept.
    """

    def __init__(self, share):
        self.share, self._owed, self._splits = share, 0.0, {}           # hash of a unit, or of how conversations begin -> its split

    def __call__(self, thread, conversation):
        if thread.split:
            return thread.split
        if not self.share:
            return 'train'
        keys = [hash(tuple(turn.text for turn in conversation.turns[:2]))]
        if thread.unit is not None:
            keys.insert(0, hash((thread.format, thread.unit)))
        size = sum(len(turn.text) for turn in conversation.turns)
        self._owed += self.share * size
        split = next(filter(None, map(self._splits.get, keys)), None) or ('validation' if self._owed > size / 2 else 'train')
        if split == 'validation':
            self._owed -= size
        for key in keys:
            self._splits.setdefault(key, split)
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

    def __init__(self, selection, aliases, *, gap=6 * HOUR, join=True, min_turns=2, you=None, you_answer=False, redaction=None):
        """gap: milliseconds of silence between two conversations; join: see `joined`; min_turns: of a conversation (1: also those in
        which only one person speaks); you: who must speak in it, None: anybody; you_answer: and never opens it."""
        self.selection, self.aliases, self.redaction = selection, aliases, redaction
        self.gap, self.join, self.min_turns, self.you, self.you_answer = gap, join, min_turns, you, you_answer
        self.duplicates = Duplicates()
        self.threads = {}                               # (format, title): Stats
        self.people = Counter()                         # messages kept
        self.everybody, self.in_threads = {}, defaultdict(int)          # all names, in order; how many threads each is in
        self.mentioned = set()                          # names of people who need not speak

    def conversations(self, thread, export):
        """The Conversations of a thread. export: what tells it from other exports."""
        stats = self.threads.setdefault((thread.format, thread.title), Stats(thread.format, thread.title))
        stats.read += len(thread.turns)
        thread.turns = self.aliases(thread.turns)
        self.mentioned |= thread.mentioned
        for name in dict.fromkeys(turn.speaker for turn in thread.turns):
            self.everybody[name] = None
            self.in_threads[name] += 1
        turns = self.selection.keep(thread, stats.dropped)
        turns = self.duplicates.keep(turns, export, stats.dropped, (thread.format, thread.title) if thread.title else None, thread.precision)
        for run in sessions(turns, self.gap):
            if self.you_answer:
                opening = next((i for i, turn in enumerate(run) if turn.speaker != self.you), len(run))
                if opening:
                    stats.dropped['by --you, before anybody else speaks'] += opening
                    run = run[opening:]
            if not run:
                continue
            messages = len(run)
            written = joined(run) if self.join else run
            people = {turn.speaker for turn in written}
            reason = ('in conversations where only one person speaks' if len(people) < 2 and self.min_turns > 1
                      else f'in conversations of fewer than {self.min_turns} turns' if len(written) < self.min_turns
                      else 'in conversations where --you is silent' if self.you is not None and self.you not in people
                      else None)
            if reason:
                stats.dropped[reason] += messages
                continue
            stats.kept += messages
            stats.conversations += 1
            self.people.update(turn.speaker for turn in run)
            times = [turn.time for turn in run if turn.time is not None]
            if times:
                stats.first = min(times) if stats.first is None else min(stats.first, *times)
                stats.last = max(times) if stats.last is None else max(stats.last, *times)
            if self.redaction:
                written = [turn._replace(speaker=self.redaction.name(turn.speaker), text=self.redaction(turn.text)) for turn in written]
            yield Conversation(written)

    def check(self):
        """Raise UserError for names that nobody has."""
        titles = [title for _, title in self.threads if title]
        self.selection.check(self.everybody, titles)
        self.aliases.check(self.everybody)
        if self.you is not None and self.you not in self.everybody:
            raise UserError(f'--you {in_line(self.you)}: there is nobody of this name; there are {_some(self.everybody, self.you)}.')

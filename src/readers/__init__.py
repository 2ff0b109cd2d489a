"""Chat exports and dialogue datasets -> conversations. One file here is one format; adding a format means adding a file.

    recognise: each format's sniff looks at a Source    -> the format that fits best
    group:     the files of one thread, from all exports -> one call of read
    read:      Sources                                   -> Threads, oldest message first; what is dropped is told to the Tally

A format's module has

    NAME                    what --format calls it
    sniff(source)           -> (score, why): 1 certain, 0.5 readable, 0 something else; why, in a few words, either way
    group(source)           -> a key; sources of one key are read together (optional: by default each file is read alone)
    read(sources, tally)    -> iterator of Thread
    DATASETS                {name: (url, SHA-256 or None)} of the public datasets that come in it (optional)
    STRANGERS               True: nobody in it is anybody one would learn; what is worth learning is to reply (optional)

Every record of the files is either a turn of a Thread or dropped with a reason: read + dropped = records.

What several formats need is in modules without a NAME: times.py (dates), records.py (a record a line: tables, JSON lines), datasets.py
(splits and copies), tokenized.py; and here: the reasons, and Speakers.
"""
import functools
import importlib
import os
import pkgutil
import re
from collections import Counter
from dataclasses import dataclass, field

from ..console import UsageError, UserError
from ..dialogue import Conversation, Turn
from ..source import DAMAGE, Export, in_short
from ..words import whole

# Reasons to drop a record; a format may have its own beside these.
SYSTEM, MEDIA, DELETED, UNREADABLE, EMPTY, BOT, DUPLICATE, FORWARDED = (
    'system lines', 'media without words', 'deleted messages', 'unreadable', 'empty', 'bots', 'duplicates', 'forwarded messages')
MARKS = '\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff'    # of the direction of writing, invisible

READABLE = 0.5                                          # the score from which a file is taken for a format
NEAR = 0.4                                              # ... from which one in a folder is told, if it is not
EXPECTED = re.compile(r'_chat\.txt|WhatsApp.*\.txt|message(?:_\d+)?\.(?:json|html?)|.*\.csv', re.I | re.S)        # names from which it is told, too
OTHER = frozenset('.jpg .jpeg .png .gif .webp .heic .bmp .svg .mp4 .mov .avi .mkv .webm .3gp .mp3 .m4a .aac .ogg .oga .opus .wav .amr '
                  '.pdf .vcf .css .js .ico .ttf .woff .woff2 .thumb .tgs .srt .docx .xlsx .pptx .doc .xls .ppt .apk .exe .db .sqlite'.split())


@dataclass
class Thread(Conversation):
    """The messages of one chat, oldest first: a Conversation with what is known of where it comes from."""
    title: str = ''                                     # as the export calls the chat; '' when it does not
    group: bool | None = None                           # more than two people; None: judge by who speaks
    unit: str | None = None                             # what must not be torn apart by a split: a Reddit post, an episode
    split: str | None = None                            # 'train', 'validation' or 'test', where the dataset says
    score: float | None = None                          # of a Reddit reply
    records: int | None = None                          # records of the file in it; None: one a turn
    precision: int = 1                                  # milliseconds, to which all exports of such a chat give times
    format: str = ''                                    # filled in by `read`
    mentioned: set = field(default_factory=set)         # names the reader put into the texts, or the export marks in them, of whoever need not speak


@dataclass
class Tally:
    """What became of the records: read + sum(dropped.values()) = records. broken: [(path, why)]; notes: what the user should know."""
    read: int = 0
    dropped: Counter = field(default_factory=Counter)
    broken: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    @property
    def records(self):
        return self.read + sum(self.dropped.values())

    def drop(self, reason, n=1):
        """n records are no turns, and why."""
        if n:
            self.dropped[reason] += n

    def damaged(self, source, error):
        """A file, or the rest of it, cannot be read."""
        self.broken.append((source.path, in_short(error)))

    def note(self, sentence):
        """A choice that was made for the user; told once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


class Speakers(dict):
    """{id: speaker}. A person keeps the name they were first seen with; the second of one name is `Mara (2)`."""

    def __init__(self):
        self.taken = {}                                 # name -> how many have it

    def name(self, key, name):
        """What the person with this id is called, who gives their name as `name`."""
        if key not in self:
            speaker = name = whole(name)
            while speaker in self.taken:
                self.taken[name] += 1
                speaker = f'{name} ({self.taken[name]})'
            self.taken[speaker] = 1
            self[key] = speaker
        return self[key]


@functools.cache
def formats():
    """{NAME: module}, whatever lies in this folder."""
    modules = (importlib.import_module(f'{__name__}.{info.name}') for info in pkgutil.iter_modules(__path__))
    return {module.NAME: module for module in modules if hasattr(module, 'NAME')}


def get_format(name):
    """NAME -> module. Raises UsageError naming those there are."""
    if name not in formats():
        raise UsageError(f'there is no format {name!r}; there are {", ".join(formats())}.')
    return formats()[name]


def closest(source):
    """[(score, NAME, why)] of every format for a file, best first. Raises what damaged files raise."""
    return sorted(((*module.sniff(source), name) for name, module in formats().items()), key=lambda found: (-found[0], found[2]))


@dataclass
class Plan:
    """What will be read: groups [(module, [Source])] in the order of the inputs; and what will not, [(path, why)]."""
    groups: list
    unknown: list                                       # files in no known format
    others: list                                        # files that are no chats: media, settings

    @property
    def size(self):
        """Bytes to read."""
        return sum(source.size for _, sources in self.groups for source in sources)


def plan(exports, format=None):
    """Look at every file of the exports. format: the NAME of the only one to consider, for files the user names even unrecognised."""
    groups, unknown, others, wanted = {}, [], [], format and get_format(format)
    for export in exports:
        unknown += export.refused
        for source in export.sources.values():
            if source.suffix in OTHER and not export.is_file:
                others.append(source.path)
                continue
            try:
                if wanted:
                    module, (score, why) = wanted, (1, 'as named') if export.is_file else wanted.sniff(source)
                else:
                    ranking = closest(source)
                    score, module = ranking[0][0], formats()[ranking[0][2]]
                    why = '; '.join(f'{name}: {reason}' for close, reason, name in ranking[:3] if close > 0) or 'nothing in it looks like a chat'
            except DAMAGE as error:
                score, why = -1, f'it cannot be read ({in_short(error)})'
            if score >= READABLE:
                key = module.group(source) if hasattr(module, 'group') else source.path
                groups.setdefault((module.NAME, key), (module, []))[1].append(source)
            elif export.is_file or score < 0 or score >= NEAR or EXPECTED.fullmatch(source.name):
                unknown.append((source.path, why))
            else:
                others.append(source.path)
    return Plan(list(groups.values()), unknown, others)


def read_group(module, sources, tally):
    """Yield the Threads of one group; damage ends the group and is told to the tally, what was read before counts."""
    try:
        for thread in module.read(sources, tally):
            tally.read += len(thread.turns) if thread.records is None else thread.records
            thread.format, thread.title = module.NAME, whole(thread.title)
            thread.turns = [turn if turn.text.isascii() and turn.speaker.isascii() and '\r' not in turn.text else
                            Turn(whole(turn.speaker), whole(turn.text).replace('\r\n', '\n').replace('\r', '\n'), turn.time) for turn in thread.turns]
            if thread.turns:
                yield thread
    except DAMAGE as error:
        tally.damaged(sources[0], error)


def read(path, format=None, encoding=None):
    """A file, folder or archive -> iterator of Threads (Conversations). Damaged files in it are passed over.

    Raises UserError when nothing in it is in a known format, naming the formats that came closest.
    """
    found = plan([Export(os.fspath(path), encoding)], format)
    if not found.groups:
        if found.unknown:
            raise UserError(f'{found.unknown[0][0]} is in no format that is known here ({found.unknown[0][1]}).')
        raise UserError(f'{path} holds no chats.')
    for module, sources in found.groups:
        yield from read_group(module, sources, Tally())

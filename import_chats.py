#!/usr/bin/env python3
"""Chat exports and dialogue datasets -> one corpus text that encode.py reads.

    python import_chats.py facebook-*.zip _chat.txt result.json --out corpus.txt
    python import_chats.py chats/ --only "Mara Winter" --since 2022-01-01 --redact --validation 0.1
    python import_chats.py --dataset dailydialog --dataset blended --out talk.txt
    python import_chats.py --from_memory --out corpus.txt        what you told chatter.py was /good, and what you put right with /fix

Files, folders and zips are read in place and recognised by what is in them. Everything stays on this machine.
"""
import argparse
import contextlib
import glob
import json
import os
import re
import shlex
import textwrap
import unicodedata

from tqdm import tqdm

from src import console, corpus, dialogue, files, memory, privacy, readers
from src.console import UsageError, UserError
from src.source import DAMAGE, Export, check_encoding

WARNING = 'The people in these chats did not ask to be imitated: a model of their messages can repeat them, word for word. Ask them, {}.'
COLUMNS = 100                                           # of the terminal that the report is written for
MOST = 12                                               # threads, people, files that it names


def parse_arguments():
    names = ', '.join(readers.formats())
    parser = argparse.ArgumentParser(description=__doc__ + f'\nFormats: {names}.', formatter_class=console.HelpFormatter)
    parser.add_argument('exports', nargs='*', metavar='PATH', help='files, folders or archives (zip, tar, tar.gz), as the services give them')
    add = parser.add_argument_group('what to read').add_argument
    add('--out', default='corpus.txt', metavar='FILE', help='the corpus to write')
    add('--format', metavar='NAME', help='look for this format only, and take a file that is named here for it, whatever is in it; '
        'default: recognise each file by what is in it')
    add('--encoding', help='of text files; default: what their byte order mark says, utf-8, or cp1252')
    add('--dataset', action='append', default=[], metavar='NAME', help=f'download a public dataset and read it: {", ".join(datasets())}; again for more')
    add('--datasets_dir', default='datasets', metavar='PATH', help='where downloaded datasets are kept')
    add('--from_memory', nargs='?', const='', metavar='FILE', help='conversations with a model, up to the turns that were rated good or put right in chatter.py '
        "(default: chatter.py's own memory)")
    add('--mirror', metavar='URL', help='another server for the datasets: the file name is put behind this address')

    add = parser.add_argument_group('what to keep').add_argument
    add('--only', action='append', default=[], metavar='NAME', help='only threads of this title, or in which this person speaks (* stands for anything); again for more')
    add('--exclude', action='append', default=[], metavar='NAME', help='no thread of this title, and no word of this person; again for more')
    add('--alias', action='append', default=[], metavar='OLD=NEW', help='one person under several names: "Theo Lang,Theodor=Theo" (a comma in a name: \\,); again for more')
    add('--since', metavar='DATE', help='only messages from this day on: 2022-01-31 (UTC)')
    add('--until', metavar='DATE', help='only messages up to this day')
    add('--chats', choices=['all', 'one_to_one', 'groups'], default='all', help='chats of two people, or of more')
    add('--min_turns', type=console.positive_int, default=2, metavar='N', help='conversations of fewer turns are dropped; 1: keep also those in which only one person speaks')
    add('--min_score', type=float, default=1, metavar='SCORE', help='of a Reddit reply')
    add('--drop_script', default='', metavar='SCRIPT', help='drop messages with letters of a Unicode script: Cyrillic, or Cyrillic,Arabic')

    add = parser.add_argument_group('conversations').add_argument
    add('--session_gap', type=console.nonnegative_float, default=6, metavar='HOURS', help='a silence that ends a conversation; 0: a thread is one conversation')
    add('--bursts', choices=['join', 'keep'], default='join', help='several messages in a row by one person: one turn of several lines, or a turn each')
    add('--style', default='name', metavar='STYLE', help=f'how turns are written: {", ".join(dialogue.STYLES)}')
    add('--you', metavar='NAME', help="in styles with two speakers (dialogpt, tokens, s): whose turns are the second's, everyone else's the first's; in dialogpt, "
        'where order alone tells who speaks, what NAME says before anybody else is dropped')
    add('--validation', type=console.below_1, default=0.0, metavar='SHARE', help='this share of the conversations goes to OUT.validation.txt')

    add = parser.add_argument_group('privacy').add_argument
    add('--redact', action='store_true', help='replace telephone, card and account numbers, e-mail and street addresses, and links')
    add('--pseudonyms', nargs='?', const='', metavar='KEY.json', help='replace names, everywhere alike; the key is kept in this file (default: OUT.names.json), and used again if it is there')

    add = parser.add_argument_group('output').add_argument
    add('--report', metavar='FILE', help='also write what was read, kept and dropped as JSON')
    args = parser.parse_intermixed_args()
    if not args.exports and not args.dataset and args.from_memory is None:
        parser.error('name what to read: files, folders or archives, --dataset or --from_memory'
                     + (f' (--pseudonyms took {args.pseudonyms} for its key: put it behind what to read)' if args.pseudonyms else ''))
    return args


def datasets():
    """{name of a public dataset: (module that reads it, url, SHA-256 or None)}."""
    return {name: (module, *where) for module in readers.formats().values() for name, where in getattr(module, 'DATASETS', {}).items()}


def download(name, args):
    """Fetch a dataset, if it is not there; -> the module that reads it, and its path."""
    from src import fetch
    if name not in datasets():
        raise UsageError(f'there is no dataset {name!r}; there are {", ".join(datasets())}.')
    module, url, sha256 = datasets()[name]
    base = url.rsplit('/', 1)[-1]
    if args.mirror:
        url = f'{args.mirror.rstrip("/")}/{base}'
    return module, fetch.fetch(url, os.path.join(args.datasets_dir, base), sha256=sha256)


def remembered(path):
    """The file of a memory, '' for chatter.py's own. Raises UserError when there is none, or it cannot be read."""
    path = path or memory.default_path()
    if not os.path.exists(path):
        raise UserError(f'{path}: there is no memory yet; talk with a model in chatter.py, and tell it which replies are /good, /bad, or what to /fix in them.')
    next(memory.read(path), None)
    return path


def expand(path):
    """A path, or a pattern that no shell has expanded -> [path]."""
    found = sorted(glob.glob(path, recursive=True)) if not os.path.lexists(path) and glob.has_magic(path) else [path]
    return found or [path]


def end_of(text):
    """The end of a day, or the moment itself, in milliseconds."""
    return corpus.milliseconds(text) + (0 if re.search('[T ].', text) else 24 * corpus.HOUR)


def export_format(path):
    """What is surely an export in a file: the name of its format, 'archive', or None: nothing, or a text as it is written here."""
    with contextlib.suppress(*DAMAGE):
        export = Export(path)
        if not export.is_file:
            return 'archive'
        score, _, name = readers.closest(*export.sources.values())[0]
        return name if score >= readers.READABLE and name != 'plain' else None


class Importer:
    """One run of the script: where things are read from, where they go, and what is told of them."""

    def __init__(self, args):
        self.args = args
        self.stem = os.path.splitext(args.out)[0]
        self.style = dialogue.get_style(args.style)
        if args.you and not self.style.speakers:
            raise UsageError(f'--you is for styles with two speakers, and --style {args.style} has everybody: leave it away.')
        if args.encoding:
            check_encoding(args.encoding)
        if args.format:
            readers.get_format(args.format)
        self.builder = corpus.Builder(
            corpus.Selection(corpus.Names(args.only), corpus.Names(args.exclude), args.since and corpus.milliseconds(args.since),
                             args.until and end_of(args.until), args.chats, args.min_score, args.drop_script),
            corpus.Aliases(args.alias), gap=args.session_gap * corpus.HOUR, join=args.bursts == 'join', min_turns=args.min_turns,
            you=args.you and corpus.composed(args.you), you_answer=bool(args.you) and self.style.by_order,
            redaction=privacy.Redaction() if args.redact else None)
        self.division = corpus.Division(args.validation)
        self.key_file = None if args.pseudonyms is None else args.pseudonyms or self.stem + '.names.json'
        self.pseudonyms = None
        if self.key_file:
            self.pseudonyms = privacy.Pseudonyms.read(self.key_file) if os.path.isfile(self.key_file) else privacy.Pseudonyms()
        self.tallies = {}                               # format: readers.Tally
        self.written = {'train': [0, 0, 0]}             # split: [conversations, turns, characters]
        self.bar = None

    def plan(self):
        """Look at everything that was named. Raises UserError when nothing of it can be read, or when something would be overwritten."""
        args = self.args
        inputs = [(path, args.format) for named in args.exports for path in expand(named)]
        if args.from_memory is not None:
            inputs.append((remembered(args.from_memory), 'memory'))
        self.check_outputs(path for path, _ in inputs)
        for name in dict.fromkeys(args.dataset):
            module, path = download(name, args)
            inputs.append((path, module.NAME))
        self.inputs, refused = [path for path, _ in inputs], []
        found = readers.Plan([], [], [])
        for format in dict.fromkeys(format for _, format in inputs):
            exports = []
            for path in (path for path, wanted in inputs if wanted == format):
                try:
                    exports.append(Export(path, args.encoding, progress=self.progress))
                    refused += exports[-1].refused
                except UserError as error:              # one that is damaged among others
                    if len(inputs) == 1 or not os.path.exists(path):
                        raise
                    refused.append((path, str(error).removeprefix(path).lstrip(': ').rstrip('.')))
                    found.unknown.append(refused[-1])
            planned = readers.plan(exports, format)
            found = readers.Plan(found.groups + planned.groups, found.unknown + planned.unknown, found.others + planned.others)
        if not found.groups:
            raise UserError(self._unreadable(found, refused))
        self.found = self._once(found)

    def _once(self, found):
        """The plan without files that were named twice, by two names or with their folder."""
        seen, twice, groups = set(), [], []
        for module, sources in found.groups:
            new = []
            for source in sources:
                real = os.path.realpath(source.path)
                (twice if real in seen else new).append(source)
                seen.add(real)
            if new:
                groups.append((module, new))
        self.notes = [f'{counted(len(twice), "file")} named more than once, such as {twice[-1].path}: read once.'] if twice else []
        return readers.Plan(groups, list(dict.fromkeys(found.unknown)), list(dict.fromkeys(found.others)))

    def _unreadable(self, found, refused):
        """Why nothing can be read, in a sentence."""
        if not found.unknown:
            others = f'{counted(len(found.others), "file")} of other kinds, such as {", ".join(found.others[:3])}' if found.others else 'no files at all'
            return f'there are no chats in {", ".join(self.inputs[:3])}: {others}.'
        path, why = found.unknown[0]
        more = f', and nothing in {counted(len(found.unknown) - 1, "other file")} can be read either' if found.unknown[1:] else ''
        if os.path.isfile(path) and not os.path.getsize(path):
            return f'{path} is empty{more}: export the chat again.'
        if (path, why) in refused or why.startswith('it cannot be read'):
            return f'{path} cannot be read ({why}){more}.'
        return f'{path} is in no format that is known here ({why}){more}; --format NAME tries it all the same, --help lists the names.'

    def check_outputs(self, inputs):
        """Raise UsageError where one of the files to write is not a file, is another one too, is an export, or is or lies in what is read."""
        outputs = {'--out': self.args.out, '--pseudonyms': self.key_file, '--report': self.args.report}
        outputs |= {f'--out ({split})': self.path(split) for split in ('validation', 'test')}
        inputs, taken = {path: os.path.realpath(path) for path in inputs}, {}
        for flag, path in outputs.items():
            if not path:
                continue
            if os.path.isdir(path) or path.endswith(('/', os.sep)):
                raise UsageError(f'{flag.split()[0]} {path} is a folder: name the file to write.')
            real = os.path.realpath(path)
            if real in taken:
                raise UsageError(f'{path} would be written twice, as {taken[real]} and as {flag}: choose another name for one of them.')
            taken[real] = flag
            for named, read in inputs.items():
                if real == read:
                    raise UsageError(f'{path} is one of the files to read and would be overwritten: choose another name with {flag.split()[0]}.')
                if os.path.isdir(named) and real.startswith(os.path.join(read, '')):
                    raise UsageError(f'{path} lies in {named}, which is read: the next import would take it for a chat; '
                                     f'choose another place with {flag.split()[0]}.')
            if os.path.exists(path) and (format := export_format(path)):
                raise UsageError(f'{path} is there and is an export ({format}), which would be overwritten: choose another name with {flag.split()[0]}.')

    def progress(self, n):
        if self.bar is not None:
            self.bar.update(n)

    def conversations(self):
        """Yield (Thread, Conversation) through all that was planned."""
        with tqdm(total=self.found.size, unit='B', unit_scale=True, disable=None, leave=False) as self.bar:
            for number, (module, sources) in enumerate(self.found.groups):
                tally = self.tallies.setdefault(module.NAME, readers.Tally())
                for thread in readers.read_group(module, sources, tally):
                    for conversation in self.builder.conversations(thread, number):
                        yield thread, conversation
        self.bar = None

    def run(self):
        """Read, build, write; nothing has its final name before everything is there."""
        with contextlib.ExitStack() as stack:
            def new(path):
                self.outputs[path] = stack.enter_context(files.whole(path, 'w', encoding='utf-8', newline='\n', errors='replace'))

            self.outputs = {}
            for path in filter(None, (self.args.out, self.key_file, self.args.report)):       # before hours of reading, not behind them
                new(path)
            found = self.conversations()
            if self.pseudonyms is not None:
                found = list(found)                     # every name must be known before the first message is written
                self._learn_names()
                self.pseudonyms.weigh(turn.text for _, conversation in found for turn in conversation.turns)
                found = tqdm(found, unit=' conversations', disable=None, leave=False)
            for thread, conversation in found:
                split = self.division(thread, conversation)
                if split not in self.written:
                    new(self.path(split))
                    self.written[split] = [0, 0, 0]
                self._write(split, conversation)
            self.builder.check()
            if not self.written['train'][0]:
                raise UserError(self._nothing())
            if self.args.validation and 'validation' not in self.written:
                self.notes.append(f'--validation {self.args.validation:g} holds back whole conversations, and of {self.written["train"][0]} that was none: '
                                  f'give more chats, or {"a larger share" if self.written["train"][0] > 1 else "train without --val_dataset"}.')
            if self.pseudonyms is not None:
                self._dump(self.pseudonyms.key, self.key_file)
            if self.args.report:
                self._dump(self.report(), self.args.report)
            for path, file in self.outputs.items():     # all are on the disk before one has its name
                with naming(path):
                    file.flush()
                    os.fsync(file.fileno())

    def _learn_names(self):
        builder = self.builder
        names = [*sorted(builder.everybody, key=lambda name: -builder.people[name]), *builder.aliases.names, *sorted(builder.mentioned)]
        self.pseudonyms.learn([builder.redaction.rest(name) for name in names] if builder.redaction else names)

    def _dump(self, value, path):
        with naming(path):
            json.dump(value, self.outputs[path], ensure_ascii=False, indent=1)
            self.outputs[path].write('\n')

    def as_written(self, name):
        """What the corpus calls somebody."""
        name = self.builder.redaction.name(name) if self.builder.redaction else name
        return self.pseudonyms.name(name) if self.pseudonyms is not None else name

    def path(self, split):
        """corpus.txt, corpus.validation.txt, corpus.test.txt"""
        return self.args.out if split == 'train' else f'{self.stem}.{split}{os.path.splitext(self.args.out)[1]}'

    def _write(self, split, conversation):
        if self.pseudonyms is not None:
            conversation = dialogue.Conversation([turn._replace(speaker=self.pseudonyms.name(turn.speaker), text=self.pseudonyms(turn.text))
                                                  for turn in conversation.turns])
        conversation = dialogue.seated(conversation, self.style, self.builder.you and self.as_written(self.builder.you))
        text = self.style.render(conversation)
        path = self.path(split)
        with naming(path):
            self.outputs[path].write(text)
        counts = self.written[split]
        counts[0] += 1
        counts[1] += len(conversation.turns)
        counts[2] += len(text)

    def _nothing(self):
        """Why there is nothing to train on, in a sentence."""
        others = {split: counts[0] for split, counts in self.written.items() if counts[0]}
        if others:
            way_out = 'choose a smaller --validation' if self.args.validation else 'give the part of the dataset that is for training too'
            return f'no conversation is left to train on: {" and ".join(f"all {n} are for {split}" for split, n in others.items())}; {way_out}. Nothing was written.'
        report = self.report()
        reasons = listed(report['dropped'], 6)
        broken = '; '.join(f'{path}: {why}' for path, why in report['broken'][:2])
        return (f'nothing is left to write: {counted(report["read"], "message")} found' + (f', all dropped ({reasons})' if reasons else '')
                + (f'; {broken}' if broken else '') + '. Nothing was written.')

    # ---- what is told

    def report(self):
        """All that is known of this import, for JSON: read = kept + what was dropped, in each thread too; in each format records = read + dropped.

        read and kept count messages. A format's records are what its files hold: one for a post and its reply in a table of Reddit's.
        """
        builder = self.builder
        stats = list(builder.threads.values())
        dropped = sum([tally.dropped for tally in self.tallies.values()] + [thread.dropped for thread in stats], start=corpus.Counter())
        times = [time for thread in stats for time in (thread.first, thread.last) if time is not None]
        kept = sum(thread.kept for thread in stats)
        written = {split: self.written[split] for split in ('train', 'validation', 'test') if self.written.get(split, [0])[0]}
        return {
            'inputs': self.inputs,
            'read': sum(thread.read for thread in stats) + sum(sum(tally.dropped.values()) for tally in self.tallies.values()),
            'kept': kept,
            'dropped': ordered(dropped),
            'days': [corpus.date(min(times)), corpus.date(max(times))] if times else None,
            'formats': {name: {'records': tally.records, 'read': tally.read, 'dropped': ordered(tally.dropped),
                               'messages': sum(thread.read for thread in stats if thread.format == name),
                               'kept': sum(thread.kept for thread in stats if thread.format == name)} for name, tally in self.tallies.items()},
            'threads': [{'format': thread.format, 'title': self.pseudonyms(thread.title) if self.pseudonyms is not None else thread.title,
                         'read': thread.read, 'kept': thread.kept, 'dropped': ordered(thread.dropped),
                         'conversations': thread.conversations, 'days': days(thread)}
                        for thread in stats],
            'people': self.people(),
            'redacted': ordered(builder.redaction.counts) if builder.redaction else {},
            'broken': [list(pair) for tally in self.tallies.values() for pair in tally.broken],
            'unknown': [list(pair) for pair in self.found.unknown],
            'other_files': len(self.found.others),
            'notes': self.notes + [note for tally in self.tallies.values() for note in tally.notes],
            'written': {self.path(split): dict(zip(('conversations', 'turns', 'characters'), counts)) for split, counts in written.items()}}

    def people(self):
        """{name in the corpus: messages kept}, the most talkative first."""
        people = corpus.Counter()
        for name, n in self.builder.people.items():
            people[self.as_written(name)] += n
        return ordered(people)

    def tell(self):
        """The report as a person reads it, and what to type next."""
        report = self.report()
        print(f'{"Read":30}{"records":>10}{"messages":>10}')
        for name, counts in report['formats'].items():
            print(f'  {name:28}{counts["records"]:>10,}{counts["messages"]:>10,}')
            tell_dropped(counts['dropped'])
        threads = sorted(report['threads'], key=lambda thread: -thread['kept'])
        formats = len(report['formats']) > 1
        print(f'{"Threads":30}{"messages":>10}{"kept":>10}{"conversations":>15}  days')
        for thread in threads[:MOST]:
            title = thread['title'] or thread['format']
            title = cell(title, 25 - len(thread['format'])).rstrip() + f' ({thread["format"]})' if formats and thread['title'] else title
            print(f'  {cell(title, 28)}{thread["read"]:>10,}{thread["kept"]:>10,}{thread["conversations"]:>15,}  {span(thread["days"])}'.rstrip())
            tell_dropped(thread['dropped'])
        if threads[MOST:]:
            rest = [sum(thread[key] for thread in threads[MOST:]) for key in ('read', 'kept', 'conversations')]
            print(f'  {cell(f"and {len(threads) - MOST:,} more", 28)}{rest[0]:>10,}{rest[1]:>10,}{rest[2]:>15,}')
            tell_dropped(sum((corpus.Counter(thread['dropped']) for thread in threads[MOST:]), start=corpus.Counter()))
        total = [sum(thread[key] for thread in threads) for key in ('read', 'kept', 'conversations')]
        print(f'{"In all":30}{total[0]:>10,}{total[1]:>10,}{total[2]:>15,}  {span(report["days"])}'.rstrip())
        tell_dropped(sum((corpus.Counter(thread['dropped']) for thread in threads), start=corpus.Counter()))
        print(f'{"People":40}{"kept":>10}')
        people = list(report['people'].items())
        for name, n in people[:MOST]:
            print(f'  {cell(name, 38)}{n:>10,}')
        if people[MOST:]:
            print(f'  {cell(f"and {len(people) - MOST:,} more", 38)}{sum(n for _, n in people[MOST:]):>10,}')
        if report['redacted']:
            tell('Redacted: ' + ', '.join(f'[{kind}] {n:,}' for kind, n in report['redacted'].items()))
        for title, pairs in (('Damaged, and read only up to there', report['broken']), ('Not read', report['unknown'])):
            if pairs:
                print(title)
                for path, why in pairs[:MOST]:
                    tell(f'  {path}: {why}', indent=4)
                if pairs[MOST:]:
                    print(f'  and {len(pairs) - MOST:,} more')
        if self.found.others:
            others = self.found.others
            tell(f'{counted(len(others), "other file")} without chats: {", ".join(others[:3])}{", ..." if others[3:] else ""}')
        for note in report['notes']:
            tell(f'Note: {note}')
        print('Written')
        for path, counts in report['written'].items():
            print(f'  {path}: ' + ', '.join(counted(n, what.removesuffix('s')) for what, n in counts.items()))
        if self.key_file:
            print(f'  {self.key_file}: the key of the pseudonyms; keep it apart')
        if self.args.report:
            print(f'  {self.args.report}: this report')
        for split in ('validation', 'test'):
            if self.path(split) not in report['written'] and os.path.isfile(self.path(split)):
                tell(f'Note: {self.path(split)} is of an earlier import, not of this one.')
        *others, last = [f'--{flag}' for flag in ('only', 'exclude', 'redact', 'pseudonyms') if getattr(self.args, flag) in ([], False, None)] or ['']
        ways = f'{", ".join(others)} and {last}' if others else last
        tell(WARNING.format(f'keep the model to yourself, or use {ways}' if ways else 'or keep the model to yourself'))
        print('Next')
        for command in self.next_commands():
            print(f'  {command}')

    def next_commands(self):
        """What to type to train on this."""
        npz = self.stem + '.npz' if self.stem + '.npz' != self.args.out else self.args.out + '.npz'
        yield f'python encode.py {quoted(self.args.out)} {quoted(npz)}'
        val = f' --val_dataset {quoted(self.path("validation"))} --val_every 100' if 'validation' in self.written else ''
        name = self.learnable()
        yield f'python train.py --dataset {quoted(npz)} --windows turns --learn_from{"=" if name.startswith("-") else " "}{quoted(name)}{val}'
        yield 'python chatter.py --run_name run1'

    def learnable(self):
        """Whom one would learn: the most talkative but the owner, who is the one in most threads; of strangers, whoever replies."""
        if all(getattr(module, 'STRANGERS', False) for module, _ in self.found.groups):
            return 'replies'
        if self.style.speakers:
            return self.style.speakers[1]
        people, threads = self.builder.people, self.builder.in_threads
        owner = max(people, key=lambda name: (threads[name], people[name]))
        return self.as_written(next((name for name, _ in people.most_common() if name != owner), owner))


@contextlib.contextmanager
def naming(path):
    """A full disk is told with the file that was written to."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or path
        raise


# ---- how things are told

def tell(text, indent=2):
    """Print a paragraph as wide as the terminal is."""
    print(textwrap.fill(console.shown(text), COLUMNS, subsequent_indent=' ' * indent, break_long_words=False, break_on_hyphens=False))


def tell_dropped(reasons):
    """{reason: messages}, below what they are dropped from."""
    if reasons:
        tell(f'      dropped: {listed(reasons)}', indent=15)


def listed(reasons, most=None):
    """{reason: messages} -> 'system lines (39), deleted messages (1)'"""
    return ', '.join(f'{reason} ({n:,})' for reason, n in list(ordered(reasons).items())[:most])


def ordered(counts):
    """{what: number}, the largest first, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def counted(n, what):
    """'1 file', '2,000 files'"""
    return f'{n:,} {what}{"" if n == 1 else "s"}'


def cell(text, columns):
    """Text cut or filled to so many columns of a terminal, in which a Chinese character or an emoji takes two."""
    text = console.in_line(text)
    widths = [0 if unicodedata.category(c) in ('Cf', 'Me', 'Mn') else 2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in text]
    if sum(widths) > columns:
        room = columns - 1
        kept = next(i for i in range(len(text) + 1) if sum(widths[:i + 1]) > room)
        text, widths = text[:kept] + '…', widths[:kept] + [1]
    return text + ' ' * (columns - sum(widths))


def span(days):
    """'2024-05-31 to 2024-06-02'"""
    return ' to '.join(dict.fromkeys(days)) if days else ''


def days(stats):
    """['2024-05-31', '2024-06-02'], or None where there are no times."""
    return None if stats.first is None else [corpus.date(stats.first), corpus.date(stats.last)]


def quoted(text):
    """A word of a command line."""
    if re.fullmatch(r'[\w./@%+=:,-]+', text):
        return text
    return shlex.quote(text) if re.search(r'["\\$`!\n]', text) else f'"{text}"'


def main():
    importer = Importer(parse_arguments())
    importer.plan()
    importer.run()
    importer.tell()


if __name__ == '__main__':
    console.run(main)

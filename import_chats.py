#!/usr/bin/env python3
"""Chat exports and dialogue datasets -> one corpus text that encode.py reads.

    python import_chats.py facebook-*.zip _chat.txt result.json --out corpus.txt
    python import_chats.py chats/ --only "Mara Winter" --since 2022-01-01 --redact --validation 0.1
    python import_chats.py --dataset dailydialog --dataset blended --out talk.txt

Files, folders and zips are read in place and recognised by what is in them. Everything stays on this machine.
"""
import argparse
import contextlib
import glob
import json
import os
import re

from tqdm import tqdm

from src import console, corpus, dialogue, files, readers
from src.console import UsageError, UserError
from src.source import Export

WARNING = ('The people in these chats did not ask to be imitated: a model of their messages can repeat them, word for word. Ask them, '
           'keep the model to yourself, or use --only, --exclude, --redact and --pseudonyms.')


def parse_arguments():
    names = ', '.join(readers.formats())
    parser = argparse.ArgumentParser(description=__doc__ + f'\nFormats: {names}.', formatter_class=console.HelpFormatter)
    parser.add_argument('exports', nargs='*', metavar='PATH', help='files, folders or archives (zip, tar, tar.gz), as the services give them')
    add = parser.add_argument_group('what to read').add_argument
    add('--out', default='corpus.txt', metavar='FILE', help='the corpus to write')
    add('--format', metavar='NAME', help='read everything as this format; default: recognise each file by what is in it')
    add('--encoding', help='of text files; default: what their byte order mark says, utf-8, or cp1252')
    add('--dataset', action='append', default=[], metavar='NAME', help=f'download a public dataset and read it: {", ".join(datasets())}; again for more')
    add('--datasets_dir', default='datasets', metavar='PATH', help='where downloaded datasets are kept')
    add('--mirror', metavar='URL', help='another server for the datasets: the file name is put behind this address')

    add = parser.add_argument_group('what to keep').add_argument
    add('--only', action='append', default=[], metavar='NAME', help='only threads of this title, or in which this person speaks (* stands for anything); again for more')
    add('--exclude', action='append', default=[], metavar='NAME', help='no thread of this title, and no word of this person; again for more')
    add('--alias', action='append', default=[], metavar='OLD=NEW', help='one person under several names: "Theo Lang,Theodor=Theo"; again for more')
    add('--since', metavar='DATE', help='only messages from this day on: 2022-01-31 (UTC)')
    add('--until', metavar='DATE', help='only messages up to this day')
    add('--chats', choices=['all', 'one_to_one', 'groups'], default='all', help='chats of two people, or of more')
    add('--min_turns', type=console.positive_int, default=2, metavar='N', help='conversations of fewer turns are dropped')
    add('--min_score', type=float, default=1, metavar='SCORE', help='of a Reddit reply')
    add('--drop_script', default='', metavar='SCRIPT', help='drop messages with letters of a Unicode script: Cyrillic, or Cyrillic,Arabic')

    add = parser.add_argument_group('conversations').add_argument
    add('--session_gap', type=console.nonnegative_float, default=6, metavar='HOURS', help='a silence that ends a conversation; 0: a thread is one conversation')
    add('--bursts', choices=['join', 'keep'], default='join', help='several messages in a row by one person: one turn of several lines, or a turn each')
    add('--style', default='name', metavar='STYLE', help=f'how turns are written: {", ".join(dialogue.STYLES)}')
    add('--you', metavar='NAME', help="in styles with two speakers (dialogpt, tokens, s): whose turns are the second's, everyone else's the first's")
    add('--validation', type=console.below_1, default=0.0, metavar='SHARE', help='this share of the conversations goes to OUT.validation.txt')

    add = parser.add_argument_group('privacy').add_argument
    add('--redact', action='store_true', help='replace telephone, card and account numbers, e-mail and street addresses, and links')
    add('--pseudonyms', nargs='?', const='', metavar='KEY.json', help='replace names, everywhere alike; the key is kept in this file (default: OUT.names.json), and used again if it is there')

    add = parser.add_argument_group('output').add_argument
    add('--report', metavar='FILE', help='also write what was read, kept and dropped as JSON')
    args = parser.parse_intermixed_args()
    if not args.exports and not args.dataset:
        parser.error('name what to read: files, folders or archives, or --dataset')
    return args


def datasets():
    """{name of a public dataset: (module that reads it, url)}."""
    return {name: (module, url) for module in readers.formats().values() for name, url in getattr(module, 'DATASETS', {}).items()}


def download(name, args):
    """Fetch a dataset, if it is not there; -> the module that reads it, and its path."""
    from src import fetch
    if name not in datasets():
        raise UsageError(f'there is no dataset {name!r}; there are {", ".join(datasets())}.')
    module, url = datasets()[name]
    base = url.rsplit('/', 1)[-1]
    if args.mirror:
        url = f'{args.mirror.rstrip("/")}/{base}'
    return module, fetch.fetch(url, os.path.join(args.datasets_dir, base))


def expand(path):
    """A path, or a pattern that no shell has expanded -> [path]."""
    found = sorted(glob.glob(path)) if not os.path.exists(path) and glob.has_magic(path) else [path]
    return found or [path]


def day_after(text):
    """The end of a day, or the moment itself, in milliseconds."""
    return corpus.milliseconds(text) + (24 * corpus.HOUR if re.fullmatch(r'\d{4}-?\d\d-?\d\d', text) else 0)


class Importer:
    """One run of the script: where things are read from, where they go, and what is told of them."""

    def __init__(self, args):
        self.args = args
        self.stem = os.path.splitext(args.out)[0]
        self.style = dialogue.get_style(args.style)
        self.builder = corpus.Builder(
            corpus.Selection(corpus.Names(args.only), corpus.Names(args.exclude), args.since and corpus.milliseconds(args.since),
                             args.until and day_after(args.until), args.chats, args.min_score, args.drop_script),
            corpus.Aliases(args.alias), gap=args.session_gap * corpus.HOUR, join=args.bursts == 'join', min_turns=args.min_turns,
            redaction=corpus.Redaction() if args.redact else None)
        self.division = corpus.Division(args.validation)
        self.key_file = None if args.pseudonyms is None else args.pseudonyms or self.stem + '.names.json'
        self.tallies = {}                               # format: readers.Tally
        self.written = {}                               # split: [conversations, turns, characters]
        self.bar = None

    def plan(self):
        """Look at everything that was named. Raises UserError when nothing of it can be read."""
        args = self.args
        if args.format:
            readers.get_format(args.format)
        inputs = [(path, args.format) for named in args.exports for path in expand(named)]
        for name in args.dataset:
            module, path = download(name, args)
            inputs.append((path, module.NAME))
        self.inputs = [path for path, _ in inputs]
        found = readers.Plan([], [], [])
        for format in dict.fromkeys(format for _, format in inputs):
            exports = [Export(path, args.encoding, progress=self.progress) for path, wanted in inputs if wanted == format]
            planned = readers.plan(exports, format)
            found = readers.Plan(found.groups + planned.groups, found.unknown + planned.unknown, found.others + planned.others)
        if not found.groups:
            if not found.unknown:
                raise UserError(f'there are no chats in {", ".join(self.inputs[:3])}: {len(found.others)} other files, such as {", ".join(found.others[:3]) or "none"}.')
            path, why = found.unknown[0]
            raise UserError(f'{path} is in no format that is known here ({why})' + (f', and so are {len(found.unknown) - 1} more' if found.unknown[1:] else '')
                            + '; --format NAME reads it all the same, --help lists the names.')
        self.found = found

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
        pseudonyms, found = None, self.conversations()
        if self.key_file:
            pseudonyms = corpus.Pseudonyms.read(self.key_file) if os.path.isfile(self.key_file) else corpus.Pseudonyms()
            found = list(found)                         # every name must be known before the first message is written
            pseudonyms.learn(sorted(self.builder.everybody, key=lambda name: -self.builder.people[name]))
        with contextlib.ExitStack() as stack:
            outputs = {}
            for thread, conversation in found:
                split = self.division(thread, conversation)
                if split not in outputs:
                    outputs[split] = stack.enter_context(files.whole(self.path(split), 'w', encoding='utf-8', newline='\n', errors='replace'))
                    self.written[split] = [0, 0, 0]
                self._write(outputs[split], split, conversation, pseudonyms)
            self.builder.check()
            if 'train' not in outputs:
                raise UserError(self._nothing())
            if pseudonyms:
                key = stack.enter_context(files.whole(self.key_file, 'w', encoding='utf-8'))
                json.dump(pseudonyms.key, key, ensure_ascii=False, indent=1)
            if self.args.report:
                report = stack.enter_context(files.whole(self.args.report, 'w', encoding='utf-8'))
                json.dump(self.report(), report, ensure_ascii=False, indent=1)
        self.pseudonyms = pseudonyms

    def path(self, split):
        """corpus.txt, corpus.validation.txt, corpus.test.txt"""
        return self.args.out if split == 'train' else f'{self.stem}.{split}{os.path.splitext(self.args.out)[1]}'

    def _write(self, file, split, conversation, pseudonyms):
        if pseudonyms:
            conversation = dialogue.Conversation([turn._replace(speaker=pseudonyms.name(turn.speaker), text=pseudonyms(turn.text)) for turn in conversation.turns])
        you = self.args.you
        conversation = dialogue.seated(conversation, self.style, pseudonyms.name(you) if pseudonyms and you else you)
        text = self.style.render(conversation)
        file.write(text)
        counts = self.written[split]
        counts[0] += 1
        counts[1] += len(conversation.turns)
        counts[2] += len(text)

    def _nothing(self):
        dropped = self.dropped()
        reasons = ', '.join(f'{n} {reason}' for reason, n in dropped.most_common(6))
        broken = '; '.join(f'{path}: {why}' for tally in self.tallies.values() for path, why in tally.broken[:2])
        return (f'nothing is left to write: {sum(tally.records for tally in self.tallies.values())} messages were found'
                + (f' and dropped ({reasons})' if reasons else '') + (f'; {broken}' if broken else '') + '. Nothing was written.')

    # ---- what is told

    def dropped(self):
        """Counter of everything that was read and not kept, by reason."""
        reasons = [tally.dropped for tally in self.tallies.values()] + [stats.dropped for stats in self.builder.threads.values()]
        return sum(reasons, start=corpus.Counter())

    def report(self):
        """All that is known of this import, for JSON."""
        builder = self.builder
        times = [time for stats in builder.threads.values() for time in (stats.first, stats.last) if time is not None]
        return {
            'inputs': self.inputs,
            'formats': {name: {'records': tally.records, 'read': tally.read, 'dropped': dict(tally.dropped.most_common())} for name, tally in self.tallies.items()},
            'threads': [{'format': stats.format, 'title': stats.title, 'read': stats.read, 'kept': stats.kept, 'conversations': stats.conversations,
                         'dropped': dict(stats.dropped.most_common()), 'days': days(stats)} for stats in builder.threads.values()],
            'people': dict(builder.people.most_common()),
            'days': [corpus.date(min(times)), corpus.date(max(times))] if times else None,
            'dropped': dict(self.dropped().most_common()),
            'redacted': dict(builder.redaction.counts.most_common()) if builder.redaction else {},
            'broken': [list(pair) for tally in self.tallies.values() for pair in tally.broken],
            'unknown': [list(pair) for pair in self.found.unknown],
            'other_files': len(self.found.others),
            'notes': [note for tally in self.tallies.values() for note in tally.notes],
            'written': {self.path(split): dict(zip(('conversations', 'turns', 'characters'), counts)) for split, counts in self.written.items()}}

    def tell(self):
        """The report as a person reads it, and what to type next."""
        report = self.report()
        print('Read')
        for name, counts in report['formats'].items():
            dropped = ', '.join(f'{n:,} {reason}' for reason, n in counts['dropped'].items())
            print(f'  {name:16} {counts["records"]:>9,} records, {counts["read"]:,} of them messages' + (f'; dropped: {dropped}' if dropped else ''))
        print('Threads')
        threads = sorted(report['threads'], key=lambda thread: -thread['kept'])
        for thread in threads[:12]:
            dropped = ', '.join(f'{n:,} {reason}' for reason, n in thread['dropped'].items())
            print(f'  {(thread["title"] or thread["format"])[:40]:40} {thread["kept"]:>9,} messages in {thread["conversations"]:,} conversations'
                  + (f', {" to ".join(thread["days"])}' if thread['days'] else '') + (f'; dropped: {dropped}' if dropped else ''))
        if threads[12:]:
            print(f'  and {len(threads) - 12:,} more, with {sum(thread["kept"] for thread in threads[12:]):,} messages')
        print('People')
        for name, n in list(report['people'].items())[:12]:
            print(f'  {name[:40]:40} {n:>9,} messages')
        if len(report['people']) > 12:
            print(f'  and {len(report["people"]) - 12:,} more')
        if report['redacted']:
            print('Redacted: ' + ', '.join(f'{n:,} [{kind}]' for kind, n in report['redacted'].items()))
        for title, pairs in (('Damaged, and passed over', report['broken']), ('Not read', report['unknown'])):
            if pairs:
                print(title)
                for path, why in pairs[:12]:
                    print(f'  {path}: {why}')
                if pairs[12:]:
                    print(f'  and {len(pairs) - 12} more')
        if self.found.others:
            print(f'{len(self.found.others):,} other files hold no chats: {", ".join(self.found.others[:3])}{", ..." if self.found.others[3:] else ""}')
        for note in report['notes']:
            print(f'Note: {note}')
        print('Written' + (f', from {" to ".join(report["days"])}' if report['days'] else ''))
        for path, counts in report['written'].items():
            print(f'  {path}: {counts["conversations"]:,} conversations, {counts["turns"]:,} turns, {counts["characters"]:,} characters')
        if self.key_file:
            print(f'  {self.key_file}: the key of the pseudonyms; keep it apart')
        print(WARNING)
        print('Next:')
        for command in self.next_commands():
            print(f'  {command}')

    def next_commands(self):
        """What to type to train on this."""
        npz = self.stem + '.npz'
        yield f'python encode.py {quoted(self.args.out)} {quoted(npz)}'
        val = f' --val_dataset {quoted(self.path("validation"))} --val_every 100' if 'validation' in self.written else ''
        yield f'python train.py --dataset {quoted(npz)} --windows turns --learn_from {quoted(self.learnable())}{val}'
        yield 'python chatter.py --run_name run1'

    def learnable(self):
        """Whom one would learn: the most talkative but the owner, who is the one in most threads."""
        if self.style.speakers:
            return self.style.speakers[1]
        people, threads = self.builder.people, self.builder.in_threads
        owner = max(people, key=lambda name: (threads[name], people[name]))
        name = next((name for name, _ in people.most_common() if name != owner), owner)
        if self.builder.redaction:
            name = self.builder.redaction.name(name)
        return self.pseudonyms.name(name) if self.pseudonyms else name


def days(stats):
    """['2024-05-31', '2024-06-02'], or None where there are no times."""
    return None if stats.first is None else [corpus.date(stats.first), corpus.date(stats.last)]


def quoted(text):
    """A word of a command line."""
    return text if re.fullmatch(r'[\w./@%+=:,-]+', text) else '"' + re.sub(r'(["\\$`])', r'\\\1', text) + '"'


def main():
    importer = Importer(parse_arguments())
    importer.plan()
    importer.run()
    importer.tell()


if __name__ == '__main__':
    console.run(main)

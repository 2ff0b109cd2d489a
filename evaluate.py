#!/usr/bin/env python3
"""Numbers of models on text that they were not trained on: how well they foretell it, how much like the person they reply, what they recite.

    python evaluate.py --run_name run1 --data corpus.validation.txt
    python evaluate.py --run_name run1,run2 --data corpus.validation.txt --replies 200 --train corpus.txt --html report.html
    python evaluate.py --model_name 124M --data wiki.test.tokens        beside the numbers that GPT-2 was published with

Several runs and models, with commas between them, stand side by side. The page that --html writes is one file, and holds words from the chats.
"""
import argparse
import json
import os
import sys

import numpy as np
from tqdm import tqdm

from src import console, files, flags, generators, published, report
from src.console import UsageError, UserError

MADE_UP = 10                                            # replies, for each of which a text is made up when leaks are looked for
LONGEST = 512                                           # tokens of such a text
HUMAN = 2000                                            # held-out texts of as many tokens, at most, beside it


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    add = parser.add_argument_group('what is evaluated').add_argument
    add('--run_name', metavar='NAMES', help='runs of train.py, in checkpoint/, with commas between them; run1/best is the best checkpoint of run1')
    add('--model_name', metavar='NAMES', help='models, in models/, folders or checkpoints, with commas between them; default: 124M, where there is no --run_name')
    flags.folders(add)
    add('--precision', choices=generators.PRECISIONS, default='float32', help='of the weights; auto: what chatter.py takes, int8 on a CPU')

    add = parser.add_argument_group('on what').add_argument
    add('--data', required=True, metavar='PATH', default=argparse.SUPPRESS, help='held-out text, npz or conversations: a file, a folder or a glob')
    add('--benchmark', choices=['auto', 'none', *published.BENCHMARKS], default='auto',
        help='which dataset of the GPT-2 paper --data is, to count as it does; auto: as the file looks; none: a text like any other')
    add('--encoding', default='utf-8', help='the encoding of text input')
    add('--stride', type=int, metavar='TOKENS', help='by which windows move: each token has n_ctx - stride in front of it at least; 1: all that fit; default: half of n_ctx')
    add('--batch_size', type=console.positive_int, default=8, metavar='WINDOWS', help='windows that a GPU reads at a time')

    add = parser.add_argument_group('replies').add_argument
    add('--replies', type=console.count, default=0, metavar='N', help='held-out turns that the model answers, to be compared with what was written there; of plain text, places; 200 is a good number')
    add('--as', dest='answerer', metavar='NAME', help='whose words are scored apart, and who is played; default: who was learnt (train.py --learn_from), else everyone\'s replies, and the most talkative is played')
    add('--length', type=console.positive_int, metavar='TOKENS', help='of a reply, at most; default: as long as the turns that the run learnt are, or 100')
    flags.drawing(add)
    add('--seed', type=int, default=1, help='of the places, the replies and the intervals')
    add('--train', metavar='PATH', help='what the models were trained on, text or npz: tells how much of the replies stands there word for word')

    add = parser.add_argument_group('output').add_argument
    add('--json', metavar='FILE', help='write all of it as JSON, with every reply')
    add('--html', metavar='FILE', help='write a page with plots and replies')
    flags.verbose(add)
    args = parser.parse_args()
    if args.train and not args.replies:
        parser.error(f'--train {args.train} is compared with what the models write: give --replies, 200 or so')
    return args


def places(args):
    """[(name, where its weights are)] of all that is evaluated."""
    runs, models = (names.split(',') if names else [] for names in (args.run_name, args.model_name))
    found = [(name, files.find_model('', args.models_dir, name, args.checkpoint_dir)) for name in runs]
    found += [(name, files.find_model(name, args.models_dir)) for name in models or ([] if runs else ['124M'])]
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise UsageError(f'{", ".join(names)}: one of them comes twice; name each once.')
    return found


class Progress:
    """A bar on a terminal, nothing elsewhere: Progress(what, unit)(n)."""

    def __init__(self, what, unit, total=None):
        self._bar = tqdm(desc=what, unit=unit, total=total, unit_scale=True, disable=None, leave=False)

    def __enter__(self):
        return self._bar.update

    def __exit__(self, *error):
        self._bar.close()


class Evaluation:
    """What is asked of each model."""

    def __init__(self, args):
        self.args, self.path = args, args.data
        self.benchmark = self._recognised()
        if self.benchmark == 'lambada' and args.replies:
            raise UsageError('LAMBADA asks for a word, not for replies: leave out --replies.')
        if self.benchmark and any(path.endswith('.npz') for path in files.expand(self.path)):
            raise UsageError(f'{self.path} holds an npz: --benchmark {self.benchmark} needs the text as it was published.')
        if args.train:
            files.expand(args.train)                    # what is missing is told before the work begins

    def _recognised(self):
        """The key of published.BENCHMARKS that --data is, or None."""
        from src import dataset
        if self.args.benchmark != 'auto':
            return None if self.args.benchmark == 'none' else self.args.benchmark
        paths = files.expand(self.path)
        if len(paths) > 1 or paths[0].endswith('.npz'):
            return None
        start = ''
        for piece, _ in dataset.read_text(paths[0], self.args.encoding):
            start += piece
            if len(start) > published.LOOKED_AT:
                break
        return published.recognise(paths[0], start)

    def of(self, name, place):
        """The results of one model (report.py)."""
        from src import encoder, folders
        generator, weights = generators.open_generator(place, self.args.models_dir, self.args.precision, self.args.verbose)
        result = {'name': name, 'weights': weights, 'who': None}
        enc = encoder.get_encoder(files.folder_of(place))
        loaded, units = (None, None) if self.benchmark == 'lambada' else self._loaded(enc)
        known = folders.read_dialogue(files.folder_of(place))
        if known and loaded and loaded.dialogue and known['style'] != loaded.dialogue['style']:
            print(f'({name} learnt the style "{known["style"]}", and {self.path} is in the style "{loaded.dialogue["style"]}", which it may not know: '
                  'import_chats.py --style writes either)', file=sys.stderr)
        result['scores'] = self._scores(name, place, generator, enc, loaded, units)
        if self.args.replies:
            result |= self._replies(name, place, generator, loaded)
        return result

    def _loaded(self, enc):
        """--data as (dataset.Loaded in this vocabulary, how many words the file has; None: those that are scored)."""
        from src import dataset
        if self.benchmark is None:
            return dataset.load_corpus(enc, self.path, encoding=self.args.encoding), None
        text, units = published.read(self.benchmark, self._text())
        ids = np.asarray(enc.encode(text), np.int32)
        return dataset.Loaded([ids], None, None, enc), units

    def _text(self):
        from src import dataset
        text = ''.join(piece for path in files.expand(self.path) for piece, _ in dataset.read_text(path, self.args.encoding))
        if not text.strip():
            raise UserError(f'{self.path} holds no text.')
        return text

    def _scores(self, name, place, generator, enc, loaded, units):
        from src import scoring
        read = scoring.reader(generator, self.args.batch_size)
        if loaded is None:
            passages = published.passages(self.path, self._text())
            with Progress(f'{name}: scoring', 'passage', len(passages)) as progress:
                return scoring.last_words(read, enc, passages, progress)
        with Progress(f'{name}: scoring', 'token', sum(map(len, loaded.chunks))) as progress:
            return scoring.evaluate(read, loaded, stride=self.args.stride, who=self._whose(place, loaded)[0], units=units, progress=progress)

    def _whose(self, place, loaded):
        """(whose words are scored apart, as batches.learnt has it; who is played): None for plain text."""
        from src import batches, dataset, folders
        if loaded.dialogue is None:
            if self.args.answerer:
                raise UserError(f'{self.path} is plain text, in which nobody speaks: leave out --as, or give conversations.')
            return None, None
        there, known = loaded.dialogue['speakers'], folders.read_dialogue(files.folder_of(place)) or {}
        if self.args.answerer and self.args.answerer not in there:
            raise UserError(f'nobody in {self.path} is called {self.args.answerer}; there are {", ".join(dataset.ranked(loaded.dialogue)[:20])}.')
        who = self.args.answerer or (known.get('learnt') if known.get('learnt') in there else None)
        return who or batches.REPLIES, who or dataset.ranked(loaded.dialogue)[0]

    def _replies(self, name, place, generator, loaded):
        """{'who', 'pairs', 'likeness', 'leaks' with --train}."""
        from src import likeness, replies
        args, who = self.args, self._whose(place, loaded)[1]
        settings = {'temperature': args.temperature, 'top_k': args.top_k, 'top_p': args.top_p}
        with Progress(f'{name}: replies', 'reply', args.replies) as progress:
            if who is None:
                pairs, others = replies.go_on(generator, loaded, args.replies, length=args.length or min(100, generator.hparams.n_ctx // 4), seed=args.seed,
                                              progress=progress, **settings)
            else:
                pairs, others = replies.play(place, generator, loaded, who, args.replies, length=args.length, seed=args.seed, progress=progress, **settings)
        if len(pairs) < args.replies:
            print(f'({self.path} has {len(pairs)} places to answer, fewer than --replies {args.replies}: all of them are)', file=sys.stderr)
        found = {'who': who, 'pairs': pairs,
                 'likeness': likeness.compare([pair.human for pair in pairs], [pair.model for pair in pairs], others, args.seed)}
        return found | ({'leaks': self._leaks(name, generator, loaded, pairs, settings)} if args.train else {})

    def _leaks(self, name, generator, loaded, pairs, settings):
        """leaks.check, with its ids as words: 'said' of each longest run, 'marked': [[(words, whether they stand there)]] of the texts that recite."""
        from src import dataset, dialogue, leaks, replies, scoring
        args, style, enc = self.args, dialogue.style_of(loaded.dialogue), loaded.enc
        with Progress(f'{name}: reading {args.train}', 'B') as progress:
            corpus = dataset.load_corpus(enc, args.train, encoding=args.encoding, progress=progress).chunks
        length = min(generator.hparams.n_ctx - 1, LONGEST)
        human = [np.asarray(doc.ids[at:at + length]) for doc in scoring.documents(loaded) for at in range(0, len(doc.ids), length)]
        n = -(-len(pairs) // MADE_UP)
        with Progress(f'{name}: making up', 'text', n) as progress:
            begin = style.begin_ids(enc) or [int(human[0][0])]
            model = replies.made_up(generator, begin, n, length, seed=args.seed, progress=progress, **settings)
        said = [[np.asarray(enc.encode(style.body(text) if loaded.dialogue else text), np.int32) for text in texts]
                for texts in ([pair.model for pair in pairs], [pair.human for pair in pairs])]
        model += said[0]
        human = [human[i] for i in np.random.default_rng(args.seed).permutation(len(human))[:HUMAN]]
        found = leaks.check(corpus, model, human, said, args.seed)
        for side, texts in (('model', model), ('human', human)):
            found[side]['said'] = enc.decode(texts[found[side]['text']][found[side]['at']:][:found[side]['longest']])
        found['marked'] = []
        for i, spans in found.pop('recited').items():
            edges = [0, *(edge for span in spans for edge in span), len(model[i])]
            found['marked'].append([(enc.decode(model[i][start:stop]), k % 2 == 1) for k, (start, stop) in enumerate(zip(edges, edges[1:])) if stop > start])
        return found


def as_json(value):
    """What json cannot write by itself: the named tuples as objects."""
    if hasattr(value, '_asdict'):
        return {key: as_json(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def kind_of(result):
    """What --data is, in words."""
    if result['data']['benchmark']:
        return published.BENCHMARKS[result['data']['benchmark']].title
    n = result['models'][0]['scores']['text']['documents']
    return f'{n:,} {"conversation" if result["models"][0]["scores"]["replies"] else "text"}{"s" * (n != 1)}'


def main():
    args = parse_arguments()
    found, asked = places(args), Evaluation(args)
    for path in filter(None, (args.json, args.html)):
        if os.path.isdir(path):
            raise UsageError(f'{path} is a folder: name the file to write.')
        if files.is_one_of(path, [read for named in filter(None, (args.data, args.train)) for read in files.expand(named)]):
            raise UsageError(f'{path} is one of the files to read and would be overwritten: choose another name.')
    result = {'data': {'path': args.data, 'benchmark': asked.benchmark}, 'train': args.train,
              'settings': {name: getattr(args, name) for name in ('replies', 'length', 'temperature', 'top_k', 'top_p', 'seed', 'precision')},
              'models': [asked.of(*model) for model in found]}
    result['data']['kind'] = kind_of(result)
    print(report.table(result))
    if args.json:
        with files.whole(args.json, 'w', encoding='utf-8') as file:
            json.dump(as_json(result), file, ensure_ascii=False, indent=1)
    if args.html:
        with files.whole(args.html, 'w', encoding='utf-8') as file:
            file.write(report.page(result))


if __name__ == '__main__':
    console.start_tuned()
    console.run(main)

#!/usr/bin/env python3
"""Fine-tune GPT-2 on your text, or train it from random weights.

    python train.py --dataset corpus.npz
    python train.py --dataset corpus.npz --model_name 355M --run_name run2 --sample_every 250 --stop_after 1001

The run is kept in checkpoint/<run_name>/, a model folder that every other script takes; samples in samples/<run_name>/.
The same command again resumes it: weights, optimizer, random state and place in the data. Ctrl-C saves first.
"""
import argparse
import math
import os
import signal
import time
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from src import console, files
from src.console import UsageError, UserError


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    add = parser.add_argument_group('data').add_argument
    add('--dataset', required=True, metavar='PATH', default=argparse.SUPPRESS, help='text or npz: a file, a folder or a glob; text and npz may be mixed')
    add('--model_name', metavar='NAME', help='the model to start from; default: the one that the run was made from, or 124M')
    add('--models_dir', default='models', metavar='PATH', help='the folder of the models')
    add('--combine', type=console.count, default=50000, metavar='CHARS', help='texts are joined by <|endoftext|> until there are so many characters in a chunk')
    add('--encoding', default='utf-8', help='the encoding of text input, and of the samples written')
    add('--legacy_endoftext', action='store_true', help='<|endoftext|> in text input as seven ordinary tokens, as the original had it')
    add('--seq_len', type=int, metavar='TOKENS', help='length of a training window; default: n_ctx of the model, or what the data allows')
    add('--windows', choices=['tokens', 'turns'], default='tokens',
        help='tokens: random slices, as the original has them; turns: a reply with as many whole turns before it as fit, of one conversation')
    add('--max_turns', type=console.count, default=0, metavar='N', help='with --windows turns: turns before the reply, at most; 0: all that fit')
    add('--learn_from', metavar='NAME', help='count only the words of this speaker in the loss; replies: every turn but the first of a conversation; default: everyone')
    add('--show_batch', action='store_true', help='print one batch with the learnt tokens marked, and stop')

    add = parser.add_argument_group('optimization').add_argument
    add('--batch_size', type=console.positive_int, default=1, metavar='WINDOWS', help='windows in a batch')
    add('--learning_rate', type=console.positive_float, default=2e-5, metavar='RATE', help='of the optimizer; 1e-4 to 1e-3 from random weights')
    add('--beta', type=console.below_1, default=0.9, metavar='BETA1', help="Adam's decay of the mean gradient")
    add('--beta2', type=console.fraction, default=0.999, metavar='BETA2', help="Adam's decay of the mean squared gradient; 0.99 suits short runs from random weights")
    add('--schedule', choices=['constant', 'linear', 'cosine', 'noam'], default='constant',
        help='of the learning rate: linear: down to 0 at the end; cosine: down to a tenth of it; noam: with the inverse square root of the step')
    add('--warmup_steps', type=console.count, default=0, metavar='STEPS', help='the learning rate rises from 0 in so many steps')
    add('--warmup_ratio', type=console.below_1, metavar='SHARE', help='the same, as a share of all steps')
    add('--optimizer', choices=['adam', 'adamw', 'lion', 'sgd'], default='adam', help='the optimizer; lion wants a tenth of the others\' learning rate')
    add('--weight_decay', type=console.nonnegative_float, metavar='RATE', help='of the matrices, apart from the gradient; default: 0.1 with adamw, else 0')
    add('--clip_norm', type=console.positive_float, metavar='NORM', help='the norm that all gradients together have at most; default: any')
    add('--accumulate_gradients', type=console.positive_int, default=1, metavar='N', help='batches whose gradients are averaged for one step')
    add('--memory_saving_gradients', action='store_true', help="keep no activations but each layer's input; a third slower, much smaller")
    add('--only_train_transformer_layers', action='store_true', help='leave the embeddings as they are')
    add('--noise', type=console.fraction, default=0.0, metavar='SHARE', help='this share of the input tokens is replaced by random ones')

    add = parser.add_argument_group('the run').add_argument
    add('--run_name', default='run1', metavar='NAME', help='the folder below checkpoint/ and samples/')
    add('--restore_from', default='latest', metavar='WHICH',
        help="latest: the run's newest checkpoint, or the model where there is none yet; fresh: the model; scratch: random weights; or the path of a folder or checkpoint (one of this run's own resumes there)")
    add('--stop_after', type=console.positive_int, metavar='STEP', help='save and stop before this step; default: go on until Ctrl-C')
    add('--epochs', type=console.positive_float, metavar='N', help='stop when as many tokens (or replies) as the dataset has were drawn N times; instead of --stop_after')
    add('--save_every', type=console.count, default=1000, metavar='STEPS', help='steps between checkpoints; the five newest are kept; 0: only at the end')
    add('--seed', type=int, help='of the data order, the random weights and the samples; default: another every time')
    add('--checkpoint_dir', default='checkpoint', metavar='PATH', help='the folder of the runs')

    add = parser.add_argument_group('samples').add_argument
    add('--sample_every', type=console.count, default=100, metavar='STEPS', help='steps between samples; 0: none')
    add('--sample_length', type=console.positive_int, default=1023, metavar='TOKENS', help="length of a sample, at most the model's n_ctx - 1")
    add('--sample_num', type=console.positive_int, default=1, metavar='N', help='samples each time')
    add('--top_k', type=console.count, default=40, metavar='K', help='sample from the K likeliest tokens; 0: off')
    add('--top_p', type=console.fraction, default=0.0, metavar='P', help='sample from the likeliest tokens that reach this probability; 0: off')

    add = parser.add_argument_group('validation').add_argument
    add('--val_dataset', metavar='PATH', help='text or npz to validate on; default: --dataset')
    add('--val_batch_size', type=console.positive_int, default=2, metavar='WINDOWS', help='windows in a validation batch')
    add('--val_batch_count', type=console.positive_int, default=40, metavar='N', help='batches in a validation')
    add('--val_every', type=console.count, default=0, metavar='STEPS', help='steps between validations; 0: none')

    add = parser.add_argument_group('output').add_argument
    add('--print_every', type=console.positive_int, default=1, metavar='STEPS', help='steps between lines of progress')
    add('--log', choices=['auto', 'bar', 'lines'], default='auto', help='progress as a bar or as lines; auto: a bar on a terminal')
    add('--verbose', action='store_true', help="show TensorFlow's own messages")
    args = parser.parse_args()
    for one, other in (('epochs', 'stop_after'), ('warmup_ratio', 'warmup_steps')):
        if getattr(args, one) is not None and getattr(args, other):
            parser.error(f'--{one} and --{other} both say the same: give one of them')
    return args


class Run:
    """A training run: its folders, its step counter, and what happens at each step."""

    def __init__(self, args):
        self.args = args
        self.directory = os.path.join(args.checkpoint_dir, args.run_name)
        self.counter, self.average, self.started = 1, (0.0, 0.0), time.time()
        self.bar = None
        self.stop_signal = None

    # ---- before the first step

    def load(self):
        """Weights, vocabulary, data, optimizer; then where the run stood."""
        from src import checkpoint, dataset, encoder, sample, trainer
        args = self.args
        self.seed = sample.fresh_seed() if args.seed is None else args.seed
        continues = args.restore_from not in ('fresh', 'scratch') and checkpoint.latest(self.directory) is not None
        model_folder = self._model_folder(continues)
        self.enc = encoder.get_encoder(model_folder)
        params, prefix = self._weights(model_folder)

        print('Loading dataset...')
        loaded = self._data(args.dataset)
        self.sampler = loaded.sampler(args.seed, args.windows, args.learn_from, args.max_turns)
        self.seq_len = dataset.window(self.sampler, self.hparams.n_ctx, args.seq_len)
        params = self._extend(params, loaded)
        self.batches = dataset.Batches(self.sampler, args.batch_size, self.seq_len, self.hparams.n_vocab, args.noise)
        print('dataset has', self.sampler.total_size, 'tokens')
        if args.val_every:
            held_out = self._data(args.val_dataset) if args.val_dataset else loaded
            if held_out.enc.n_vocab > self.hparams.n_vocab:
                raise UserError(f'{args.val_dataset} is in the style "{held_out.dialogue["style"]}", whose special tokens the model does not have: '
                                'write --val_dataset in the style of --dataset.')
            self.val_sampler = held_out.sampler(1, args.windows, args.learn_from, args.max_turns)

        self._plan_steps()
        self.trainer = trainer.Trainer(
            self.hparams, params, optimizer=args.optimizer, beta=args.beta, beta2=args.beta2,
            learning_rate=trainer.schedule(args.schedule, args.learning_rate, args.warmup_steps, args.stop_after and args.stop_after - 1),
            weight_decay=args.weight_decay, clip_norm=args.clip_norm,
            accumulate=args.accumulate_gradients, recompute=args.memory_saving_gradients,
            only_transformer_layers=args.only_train_transformer_layers)
        if prefix and continues and os.path.samefile(os.path.dirname(prefix) or '.', self.directory):
            self._resume(prefix)
        self.model_folder, self.special_tokens = model_folder, (loaded.dialogue or {}).get('special_tokens', {})
        self.dialogue = loaded.dialogue and dataset.remembered(loaded.dialogue, args.learn_from)

    def _plan_steps(self):
        """--epochs and --warmup_ratio as numbers of steps, once it is known how much data there is."""
        args = self.args
        if args.epochs is not None:
            drawn = args.batch_size * args.accumulate_gradients         # windows a step
            one = len(self.sampler) / drawn if self.sampler.padded else self.sampler.total_size / (drawn * self.seq_len)
            args.stop_after = math.ceil(args.epochs * one) + 1
        if args.warmup_ratio is not None:
            if not args.stop_after:
                raise UsageError('--warmup_ratio is a share of all steps: give --stop_after or --epochs.')
            args.warmup_steps = round(args.warmup_ratio * (args.stop_after - 1))

    def _model_folder(self, continues):
        """Where vocabulary and hparams.json lie: in the run itself where it goes on, else in the model."""
        from src.model import HParams
        args = self.args
        if not (continues and all(os.path.isfile(os.path.join(self.directory, name)) for name in ('hparams.json', 'encoder.json', 'vocab.bpe'))):
            return files.model_folder(args.model_name or '124M', args.models_dir)
        if args.model_name is not None:
            model_folder = files.model_folder(args.model_name, args.models_dir)
            named, own = HParams.read(model_folder), HParams.read(self.directory)
            if replace(named, n_vocab=own.n_vocab, type_tokens=own.type_tokens) != own or named.n_vocab > own.n_vocab:      # a run may add tokens
                raise UserError(f'{self.directory} is a model of {own.to_json()} but {model_folder} is one of {named.to_json()}: '
                                'give the --model_name that the run was made from, or another --run_name.')
        return self.directory

    def _weights(self, model_folder):
        """The weights that --restore_from names, and the checkpoint they come from (None: random ones). Sets self.hparams."""
        from src import checkpoint, model
        args = self.args
        self.hparams = model.HParams.read(model_folder)
        if self.enc.n_vocab > self.hparams.n_vocab:
            raise UserError(f'{model_folder}: the vocabulary has {self.enc.n_vocab} tokens but hparams.json says n_vocab {self.hparams.n_vocab}; '
                            'the files are of two different models.')
        if args.restore_from == 'scratch':
            print('Starting from random weights')
            return model.init_params(self.hparams, self.seed), None
        latest = self.directory if checkpoint.latest(self.directory) else model_folder
        _, prefix = checkpoint.resolve({'latest': latest, 'fresh': model_folder}.get(args.restore_from, args.restore_from), args.models_dir)
        print('Loading checkpoint', prefix)
        hparams, params = checkpoint.load(prefix, args.models_dir, self.hparams)
        if hparams != self.hparams:
            way_out = ('give the --model_name that the run was made from, or another --run_name' if args.restore_from == 'latest' else
                       f'give --model_name {os.path.dirname(prefix)} as well')
            raise UserError(f'{prefix} is a model of {hparams.to_json()} but {model_folder} is one of {self.hparams.to_json()}: {way_out}.')
        return params, prefix

    def _data(self, path):
        """What lies at `path`, as a dataset.Loaded."""
        from src import dataset
        with tqdm(unit='B', unit_scale=True, leave=False, disable=None) as bar:
            return dataset.load_corpus(self.enc, path, self.args.combine, self.args.encoding, self.args.legacy_endoftext, progress=bar.update)

    def _extend(self, params, loaded):
        """The weights with an embedding for each special token that the conversations bring. Sets self.enc and self.hparams."""
        from src import dialogue, model
        self.enc = loaded.enc
        style = dialogue.style_of(loaded.dialogue)
        types = tuple(self.enc.special_tokens[name] for name in style.type_tokens) or self.hparams.type_tokens      # what a run has, it keeps
        if self.enc.n_vocab <= self.hparams.n_vocab and types == self.hparams.type_tokens:
            return params
        if self.args.only_train_transformer_layers:
            raise UsageError(f'the style "{style.name}" brings new tokens, whose embeddings must be learnt: leave out --only_train_transformer_layers.')
        n_vocab = max(self.hparams.n_vocab, self.enc.n_vocab)
        print(f'The vocabulary grows from {self.hparams.n_vocab} to {n_vocab} tokens: {" ".join(style.special_tokens)}')
        self.hparams, params = model.extended(self.hparams, params, n_vocab, types, self.seed)
        return params

    def _resume(self, prefix):
        """Counter, optimizer, random state and average as they were when `prefix` was saved."""
        from src import checkpoint
        reader = checkpoint.read_state(prefix)
        if reader is None:                              # a fork's run folder: weights and counter only
            self.counter = checkpoint.read_counter(self.directory) + 1
            print(f'{prefix} has no optimizer state beside it: the optimizer starts anew')
            return
        progress = self.trainer.restore(reader)
        self.counter, self.average = progress['counter'] + 1, tuple(progress['average'])
        if 'note' in progress:
            print(progress['note'])
        if progress['tokens'] == self.sampler.total_size:
            self.batches.state = progress['batches']
        else:
            print(f'the dataset has changed ({progress["tokens"]} tokens then): its random order starts anew')

    def describe(self):
        """What is about to run, and an estimate of what it takes."""
        import tensorflow as tf

        from src import trainer
        args, hparams = self.args, self.hparams
        tokens = args.batch_size * self.seq_len * args.accumulate_gradients
        gpus = tf.config.list_physical_devices('GPU')
        if gpus:
            device = ', '.join(tf.config.experimental.get_device_details(gpu).get('device_name', gpu.name) for gpu in gpus[:1])
        else:
            device = f'CPU, {os.cpu_count()} cores (no GPU is seen; pip install "tensorflow[and-cuda]" on a machine that has one)'
        print(f'Device: {device}')
        print(f'Model: {trainer.n_params(hparams) / 1e6:.1f} million parameters, '
              f'{sum(int(np.prod(v.shape)) for v in self.trainer.trainable.values()) / 1e6:.1f} million of them trained')
        steps = max(0, args.stop_after - self.counter) if args.stop_after else None
        batches = f' x {args.accumulate_gradients}' if args.accumulate_gradients > 1 else ''
        if self.sampler.padded:
            each = f'{args.batch_size}{batches} replies with the turns before them, up to {self.seq_len} tokens'
            share = f'each of {len(self.sampler)} replies {(steps or 0) * args.batch_size * args.accumulate_gradients / len(self.sampler):.2f} times'
        else:
            each = f'{args.batch_size} x {self.seq_len} tokens{batches} = {tokens}'
            share = f'{(steps or 0) * tokens / self.sampler.total_size:.2f} epochs'
        print(f'Each step: {each}; ' + ('until Ctrl-C' if steps is None else f'{steps} step{"s" * (steps != 1)} = {share}'))
        flops = trainer.step_flops(hparams, tokens, self.seq_len, args.memory_saving_gradients)
        seconds = flops / (trainer.measured_flops() * 0.75)
        total = '' if not steps else f', {duration(steps * seconds)} in all'
        needed, there = trainer.step_bytes(self.trainer, args.batch_size, self.seq_len), None if gpus else trainer.main_memory()
        print(f'Estimate: {needed / 1e9:.1f} GB of memory, {seconds:.2g} s a step{total}')
        if there and needed > there:
            saved = trainer.step_bytes(self.trainer, args.batch_size, self.seq_len, recompute=True)
            print(f'This machine has {there / 1e9:.1f} GB, so it may not fit: --memory_saving_gradients needs {saved / 1e9:.1f} GB, '
                  'a smaller --batch_size (with --accumulate_gradients) or --seq_len less.')

    def show_batch(self):
        """Print a batch, the learnt tokens green on a terminal, between [[ ]] elsewhere; \u21b5 is a line break."""
        green, plain = ('\033[32m', '\033[0m') if os.isatty(1) and 'NO_COLOR' not in os.environ else ('[[', ']]')
        X, labels, weights = self.batches.next()
        print(f'A batch of {len(X)} windows, {int(weights.sum())} of {X.size} tokens learnt:')
        for row, (ids, learns) in enumerate(zip(X, weights), 1):
            last = np.flatnonzero(learns)[-1] + 2               # where padding or unlearnt words may follow
            print(f'\n======== WINDOW {row} ========')
            counted = np.concatenate([[False], learns[:-1] > 0])
            changes = np.flatnonzero(np.diff(counted[:last])) + 1
            for piece, on in zip(np.split(ids[:last], changes), counted[np.concatenate([[0], changes])]):
                text = self.enc.decode(piece).replace('\n', '\u21b5\n')
                print(green + text + plain if on else text, end='')
            print()

    # ---- the loop

    def loop(self):
        """Save, sample, validate where due, then step; until stop_after or a signal. Returns the exit status."""
        from src import trainer
        args = self.args
        self._log = self._open_log()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        print('Training...')
        self.started = time.time()
        total = args.stop_after - 1 if args.stop_after else None
        wants_bar = args.log == 'bar' or (args.log == 'auto' and os.isatty(1))
        self.bar = tqdm(total=total, initial=min(self.counter - 1, total or self.counter), unit='step', dynamic_ncols=True) if wants_bar else None
        saved, began = None, self.counter
        while True:
            if self.stop_signal or (args.stop_after and self.counter >= args.stop_after):
                break
            if args.save_every and self.counter % args.save_every == 0:
                saved = self.save()
            if args.sample_every and self.counter % args.sample_every == 0:
                self.sample()
            if args.val_every and (self.counter % args.val_every == 0 or self.counter == 1):
                self.validate()
            if self.stop_signal:
                break
            rate, loss = self.trainer.learning_rate, self.trainer.step(self.batches)
            trainer.check_finite(loss, self.counter)
            self.average = (self.average[0] * 0.99 + loss, self.average[1] * 0.99 + 1.0)
            self.report(loss, rate)
            self.counter += 1
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if self.stop_signal:
            print('interrupted')
        if self.counter not in (saved, began):
            self.save()
        self._log.close()
        return 128 + self.stop_signal if self.stop_signal else 0

    def _on_signal(self, number, frame):
        """The first signal lets the step finish and saves; a second Ctrl-C stops at once."""
        if self.stop_signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop_signal = number

    def _open_log(self):
        import tensorflow as tf
        return tf.summary.create_file_writer(self.directory)

    def _record(self, **values):
        import tensorflow as tf
        with self._log.as_default(step=self.counter):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def say(self, line):
        """A line of output that leaves the bar whole."""
        print(line, flush=True) if self.bar is None else self.bar.write(line)

    def report(self, loss, rate):
        average = self.average[0] / self.average[1]
        self._record(loss=loss, learning_rate=rate)
        if self.bar is not None:
            self.bar.set_postfix_str(f'loss={loss:.2f} avg={average:.2f}', refresh=False)
            self.bar.update()
        elif self.counter % self.args.print_every == 0:
            self.say(f'[{self.counter} | {time.time() - self.started:2.2f}] loss={loss:2.2f} avg={average:2.2f}')

    def save(self):
        """Write the checkpoint of this counter. Returns the counter."""
        from src import checkpoint
        self.say(f'Saving {os.path.join(self.directory, f"model-{self.counter}")}')
        state = self.trainer.state(counter=self.counter, average=self.average, batches=self.batches.state, tokens=self.sampler.total_size)
        checkpoint.save(self.directory, self.hparams, self.trainer.params, self.counter, state)
        checkpoint.copy_vocabulary(self.model_folder, self.directory, self.special_tokens)     # behind the weights, which may have grown
        checkpoint.write_dialogue(self.directory, self.dialogue)
        self.model_folder = self.directory
        checkpoint.write_counter(self.directory, self.counter)
        return self.counter

    def sample(self):
        """Write sample_num texts that begin where a document does to samples/<run>/samples-<counter>; print the last one."""
        from src import dialogue, sample
        args = self.args
        self.say('Generating samples...')
        length = min(args.sample_length, self.hparams.n_ctx - 1)
        start = (dialogue.style_of(self.dialogue).begin_ids(self.enc) or [int(self.sampler.chunks[0][0])])[0]
        texts = []
        while len(texts) < args.sample_num:
            batch = min(args.batch_size, args.sample_num - len(texts))
            out = sample.sample_sequence(self.hparams, self.trainer.params, length=length, start_token=start, batch_size=batch,
                                         temperature=1.0, top_k=args.top_k, top_p=args.top_p, seed=[self.seed, self.counter, len(texts)])
            texts += [self.enc.decode(ids) for ids in out[:, 1:]]
        blocks = [f'======== SAMPLE {i} ========\n{text}\n' for i, text in enumerate(texts, 1)]
        self.say(blocks[-1])
        with files.whole(os.path.join('samples', args.run_name, f'samples-{self.counter}'), 'w', encoding=args.encoding, errors='replace') as file:
            file.write('\n'.join(blocks))

    def validate(self):
        """The loss on val_batch_count batches, the same ones every time."""
        from src import dataset
        args = self.args
        self.say('Calculating validation loss...')
        self.val_sampler.rng = np.random.default_rng(1)
        batches = dataset.Batches(self.val_sampler, args.val_batch_size, self.seq_len, self.hparams.n_vocab)
        loss = self.trainer.validate(batches, args.val_batch_count)
        self._record(val_loss=loss)
        self.say(f'[{self.counter} | {time.time() - self.started:2.2f}] validation loss = {loss:2.2f}')


def duration(seconds):
    """Seconds as a person says them."""
    for unit, size in (('h', 3600), ('min', 60)):
        if seconds >= size:
            return f'{seconds / size:.1f} {unit}'
    return f'{seconds:.0f} s'


def main():
    args = parse_arguments()
    if os.path.basename(args.run_name) != args.run_name or args.run_name in ('', '.', '..'):
        raise UsageError(f'--run_name {args.run_name!r} must be a plain folder name.')
    files.expand(args.dataset)                          # a wrong path is told before TensorFlow starts
    if args.val_dataset:
        files.expand(args.val_dataset)
    console.import_tensorflow(args.verbose)
    run = Run(args)
    run.load()
    if args.show_batch:
        return run.show_batch()
    run.describe()
    return run.loop()


if __name__ == '__main__':
    console.run(main)

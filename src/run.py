"""A training run: its folders, what it loads, and what happens at each step.

    connect     where several workers train together: the distribution over them, before TensorFlow starts
    load        weights, vocabulary, data, optimizer; and where the run stood
    describe    what is about to run, before any of its time is spent
    loop        save, sample, validate where due, then step; until it is enough, or a signal

This file imports no TensorFlow by itself: its start must wait for `connect`.
"""
import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import re
import signal
import sys
import time
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from . import console, files
from .batches import Ahead, Batches, Validation, padding, window
from .console import UsageError, UserError


class Run:
    """A training run: its folders, its step counter, and what happens at each step."""

    def __init__(self, args, workers=None):
        """workers: the processes that train together; None for one alone."""
        self.args, self.workers = args, workers
        self.chief = workers is None or workers.chief   # who alone writes
        self.directory = os.path.join(args.checkpoint_dir, args.run_name)
        self.counter, self.average, self.started = 1, (0.0, 0.0), time.perf_counter()
        self.saved = None                               # the counter of the newest checkpoint of this process
        self.bar = None
        self.own = False                                # whether it goes on from a checkpoint of its own
        self.begins = 1                                 # the step that comes next, as its checkpoint counted: what was told of it and later is void
        self.stop_signal, self.stopped_early = None, False
        self.sound = False                              # whether a step of this process had a finite loss

    # ---- before the first step

    def connect(self, tf):
        """Sets self.strategy: the distribution over all workers, which TensorFlow must know before it starts."""
        there = len(tf.config.list_physical_devices('GPU'))
        gpus = min(self.args.devices or there, there)
        self.workers.agree({'GPUs': gpus})
        self.strategy = self.workers.strategy(gpus)

    def load(self):
        """Weights, vocabulary, data, optimizer; then where the run stood."""
        from . import checkpoint, dataset, encoder, history, settings
        args = self.args
        dataset.check_encoding(args.encoding)
        asked, self.seed = args.seed, settings.fresh_seed() if args.seed is None else args.seed
        if self.workers:                                # all draw alike, as the chief does
            self.seed = args.seed = self.workers.agree({'seed': args.seed}, told=self.seed)
        self.found = checkpoint.latest(self.directory)
        self.continues = args.restore_from not in ('fresh', 'scratch') and self.found is not None
        model_folder = self._model_folder(self.continues)
        self.enc = encoder.get_encoder(model_folder)
        params, prefix = self._weights(model_folder)
        if prefix and self.own and asked is None:       # what is still to be drawn, dropout above all, is drawn as it would have been
            self.seed = self._kept(prefix).get('seed', self.seed)

        if self.chief and args.sample_every:
            for folder in ('samples', os.path.join('samples', args.run_name)):
                if os.path.lexists(folder) and not os.path.isdir(folder):
                    raise UserError(f'{os.path.abspath(folder)} is in the way of the samples, which need a folder there: move it away, or write none with --sample_every 0.')
        for flag, needs, there in (('--val_dataset', '--val_every', args.val_dataset and not args.val_every),
                                   ('--max_turns', '--windows turns', args.max_turns and args.windows != 'turns')):
            if there:
                print(f'{flag} changes nothing without {needs}.')
        print('Loading dataset...')
        loaded = self._data(args.dataset)
        self.settings = self._settings(loaded, model_folder)
        held_out, name = None, 'dataset'
        if args.val_every and args.val_dataset:
            held_out = self._held_out(loaded)
        elif args.val_every:
            (loaded, held_out), name = loaded.divided(args.val_share), 'training part of the dataset'
        self.sampler = loaded.sampler(args.seed, args.windows, args.learn_from, args.max_turns, name=name)
        self.seq_len = window(self.sampler, self.hparams.n_ctx, args.seq_len)
        params = self._adapt(self._extend(params, loaded), prefix)
        print('dataset has', self.sampler.total_size, 'tokens')
        if held_out:
            held_out_sampler = held_out.sampler(1, args.windows, args.learn_from, args.max_turns, name='validation set')
            self.validation = Validation(held_out_sampler, args.val_batch_size, args.val_batch_count, self.seq_len, self.hparams.n_vocab)
            self._warn_of_padding(held_out_sampler)
        self._warn_of_padding(self.sampler)

        self._plan_steps()
        self._fit(params)
        strategy = self._strategy()
        n_workers, index = (len(self.workers.addresses), self.workers.index) if self.workers else (1, 0)
        n_replicas = strategy.num_replicas_in_sync if strategy else 1
        if args.batch_size % n_replicas:
            raise UsageError(f'--batch_size {args.batch_size} cannot be shared among {n_replicas} devices evenly: give a multiple of {n_replicas}.')
        self.batches = Ahead(Batches(self.sampler, args.batch_size, self.seq_len, self.hparams.n_vocab, args.noise, rows=(index, n_workers)))
        self.trainer = self._trainer(params, strategy, index, args.batch_size // n_workers)
        if prefix and self.own:
            self._resume(prefix)
        if self.workers:
            self.workers.agree({'step': self.counter, 'model': self.hparams.to_json(), 'dataset': self.settings['data_sha256'],
                                'weights': prefix and files.sha256(prefix + '.index')}
                               | {f'--{name}': value for name, value in vars(args).items() if name != 'worker_index'})
        self.model_folder, self.special_tokens = model_folder, (loaded.dialogue or {}).get('special_tokens', {})
        self.dialogue = loaded.dialogue and dataset.remembered(loaded.dialogue, args.learn_from, loaded.turn_length(args.learn_from))
        if held_out:
            self._note_measure(dataset.fingerprint(held_out))
        self.history = history.History(self.directory, self.begins, self.counter > self.begins, (self.settings['measured'] or {}).get('since', 0))
        self.over = self._over()
        if self.workers:
            self.over = self.workers.agree({}, told=self.over)

    def _held_out(self, loaded):
        """--val_dataset, as a dataset.Loaded."""
        args = self.args
        held_out = self._data(args.val_dataset)
        if held_out.enc.n_vocab > max(self.hparams.n_vocab, loaded.enc.n_vocab):
            raise UserError(f'{args.val_dataset} is in the style "{held_out.dialogue["style"]}", whose special tokens the model does not have: '
                            'write --val_dataset in the style of --dataset.')
        return held_out

    def _plan_steps(self):
        """--epochs and --warmup_ratio as numbers of steps, once it is known how much data there is."""
        args = self.args
        if args.epochs is not None:
            drawn = args.batch_size * args.accumulate_gradients         # windows a step
            one = len(self.sampler) / drawn if self.sampler.padded else self.sampler.total_size / (drawn * self.sampler.mean_length(self.seq_len))
            args.stop_after = math.ceil(args.epochs * one) + 1
        if args.warmup_ratio is not None:
            if not args.stop_after:
                raise UsageError('--warmup_ratio is a share of all steps: give --stop_after or --epochs.')
            args.warmup_steps = round(args.warmup_ratio * (args.stop_after - 1))

    def _model_folder(self, continues):
        """Where vocabulary and hparams.json lie: in the run itself where it goes on, else in the model."""
        from .model import HParams
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
        from . import checkpoint, model
        args = self.args
        self.hparams = model.HParams.read(model_folder)
        if self.enc.n_vocab > self.hparams.n_vocab:
            raise UserError(f'{model_folder}: the vocabulary has {self.enc.n_vocab} tokens but hparams.json says n_vocab {self.hparams.n_vocab}; '
                            'the files are of two different models.')
        if args.restore_from == 'scratch':
            print('Starting from random weights')
            return model.init_params(self.hparams, self.seed), None
        latest = self.directory if checkpoint.latest(self.directory) else model_folder
        asked = {'latest': latest, 'best': os.path.join(self.directory, 'best'), 'fresh': model_folder}.get(args.restore_from, args.restore_from)
        if args.restore_from == 'best' and checkpoint.latest(asked) is None:
            raise UserError(f'{self.directory} has no best checkpoint yet: train with --val_every, or give another --restore_from.')
        _, prefix = checkpoint.resolve(asked, args.models_dir)
        self.own = self.continues and (files.is_in(prefix, self.directory) or args.restore_from == 'best')     # a checkpoint of this very run
        print('Loading checkpoint', prefix)
        hparams, params = checkpoint.load(prefix, args.models_dir, self.hparams, merge=not (self.own or args.lora_rank))
        if hparams != self.hparams:
            way_out = ('give the --model_name that the run was made from, or another --run_name' if args.restore_from == 'latest' else
                       f'give --model_name {os.path.dirname(prefix)} as well')
            raise UserError(f'{prefix} is a model of {hparams.to_json()} but {model_folder} is one of {self.hparams.to_json()}: {way_out}.')
        return params, prefix

    def _data(self, path):
        """What lies at `path`, as a dataset.Loaded."""
        from . import dataset
        with tqdm(unit='B', unit_scale=True, leave=False, disable=None) as bar:
            return dataset.load_corpus(self.enc, path, self.args.combine, self.args.encoding, self.args.legacy_endoftext, progress=bar.update, say=bar.write)

    def _extend(self, params, loaded):
        """The weights with an embedding for each special token that the conversations bring. Sets self.enc and self.hparams."""
        from . import dialogue, model
        self.enc = loaded.enc
        style = dialogue.style_of(loaded.dialogue)
        types = tuple(self.enc.special_tokens[name] for name in style.type_tokens) or self.hparams.type_tokens      # what a run has, it keeps
        if self.enc.n_vocab <= self.hparams.n_vocab and types == self.hparams.type_tokens:
            return params
        for flag in ('only_train_transformer_layers', 'freeze_layers'):
            if getattr(self.args, flag):
                raise UsageError(f'the style "{style.name}" brings new tokens, whose embeddings must be learnt: leave out --{flag}.')
        n_vocab = max(self.hparams.n_vocab, self.enc.n_vocab)
        print(f'The vocabulary grows from {self.hparams.n_vocab} to {n_vocab} tokens: {" ".join(style.special_tokens)}')
        self.hparams, params = model.extended(self.hparams, params, n_vocab, types, self.seed)
        return params

    def _adapt(self, params, prefix):
        """The weights with the adapters that the run has, or is to have. Sets self.base, which they are added to."""
        from . import checkpoint, lora
        args, self.base = self.args, None
        if args.lora_rank:
            if prefix is None:
                raise UsageError(f'--lora_rank {args.lora_rank} trains adapters of a model that can speak already, not of random weights: leave out --restore_from scratch.')
            params = lora.add(params, args.lora_rank, args.lora_alpha or 2 * args.lora_rank, args.lora_targets, self.seed)
        there = lora.settings(params)
        if there:
            for flag in ('only_train_transformer_layers', 'freeze_layers'):
                if getattr(args, flag):
                    raise UsageError(f'{self.directory} trains adapters alone: leave out --{flag}, or give another --run_name.')
            self.base = checkpoint.hold_base(self.directory, prefix, args.models_dir) if self.chief else checkpoint.find_base(prefix, args.models_dir)
            print(f'Training adapters of {lora.describe(there)}; the weights of {self.base.prefix} stay as they are')
        return params

    def _settings(self, loaded, model_folder):
        """What settings.json keeps of what the run is made of.

        Raises UsageError where the run is to go on with another vocabulary or dataset than it had, unless --allow_change.
        """
        from . import dataset
        args, path = self.args, os.path.join(self.directory, 'settings.json')
        folder = files.model_folder(args.model_name, args.models_dir) if args.model_name else model_folder
        now = {'vocabulary_sha256': files.sha256(os.path.join(folder, 'encoder.json'), os.path.join(folder, 'vocab.bpe')),
               'dataset': args.dataset, 'dataset_tokens': sum(map(len, loaded.chunks)), 'data_sha256': dataset.fingerprint(loaded),
               'held_out': args.val_share if args.val_every and not args.val_dataset else 0, 'measured': None}
        if not self.continues or not os.path.isfile(path):              # a run of a fork has none
            return now
        try:
            with open(path, encoding='utf-8') as file:
                then = json.load(file)
            changed, now['measured'] = [], then.get('measured')
            if args.model_name is None:
                now['vocabulary_sha256'] = then['vocabulary_sha256']    # the run has its own, with the special tokens that it learnt
            elif then['vocabulary_sha256'] != now['vocabulary_sha256']:
                changed.append(f'a vocabulary of SHA-256 {then["vocabulary_sha256"][:12]}..., and that of {args.model_name} has {now["vocabulary_sha256"][:12]}...')
            if then['dataset_tokens'] != now['dataset_tokens'] or then.get('data_sha256', now['data_sha256']) != now['data_sha256']:     # older runs have no such sum
                changed.append(f'{then["dataset"]} of {then["dataset_tokens"]} tokens (SHA-256 {then.get("data_sha256", "unknown")[:12]}...), '
                               f'and {now["dataset"]} has {now["dataset_tokens"]} ({now["data_sha256"][:12]}...)')
            if now['held_out'] and then.get('held_out', now['held_out']) != now['held_out']:
                changed.append(f'{then["held_out"]:g} of the dataset held out for validation, and now that is {now["held_out"]:g} (--val_every, --val_share), so that it would '
                               'learn what it is validated on')
        except (ValueError, KeyError, TypeError):
            raise UserError(f'{path} is damaged: delete it to go on without comparing the dataset with that of before.') from None
        if changed and not args.allow_change:
            raise UsageError(f'{self.directory} was trained with {"; and with ".join(changed)}: --allow_change goes on all the same, another --run_name starts anew.')
        return now

    def _note_measure(self, held_out):
        """Note in self.settings what validations measure, of the data with this fingerprint, and since which step they do: others are not comparable."""
        args, then = self.args, self.settings['measured'] or {'since': 0}         # a run of before that noted nothing measured the same
        what = [held_out, args.windows, args.learn_from, args.max_turns * (args.windows == 'turns'), self.seq_len, 'all' if self.validation.whole else self.validation.windows]
        now = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        self.remeasured = then.get('sha256', now) != now
        if self.remeasured and self.own:
            print('validations measure something else than before (by --val_dataset, --windows or the like): the best is looked for anew')
        self.settings['measured'] = {'sha256': now, 'since': self.counter if self.remeasured else min(then['since'], self.counter)}

    def _keep_former_best(self):
        """Set best/ aside where other validations found it than those of now."""
        from . import checkpoint
        best, number = os.path.join(self.directory, 'best'), 1
        former = checkpoint.latest(best)
        if former is None or not (self.remeasured or step_of(former) < self.settings['measured']['since']):
            return
        while os.path.exists(f'{best}-{number}'):
            number += 1
        os.replace(best, f'{best}-{number}')
        self.say(f'{former} was the best by other validations: it is kept in {best}-{number}')
        self.remeasured = False

    def _warn_of_padding(self, sampler):
        sentence = padding(sampler, self.seq_len)
        if sentence:
            print(sentence)

    def _fit(self, params):
        """Sets self.plan: what a step takes. Where that is more than there is, tells what would fit, or with --fit does it."""
        import tensorflow as tf

        from . import plan, trainer
        args = self.args
        if args.freeze_layers > self.hparams.n_layer:
            raise UsageError(f'--freeze_layers {args.freeze_layers}: this model has {self.hparams.n_layer} layers.')
        names = trainer.trained(params, args.only_train_transformer_layers, args.freeze_layers, self.base and self.base.n_vocab)
        if not names:
            raise UsageError(f'--freeze_layers {args.freeze_layers} and --only_train_transformer_layers together leave nothing to train: leave out one of them.')
        workers = len(self.workers.addresses) if self.workers else 1
        args.precision = console.gpu_precision() if args.precision == 'auto' else args.precision
        self.plan = plan.Plan(self.hparams, max(1, args.batch_size // workers), self.seq_len, n_trained=sum(math.prod(v.shape) for v in names.values()), learns_wte='wte' in names,
                              accumulate=args.accumulate_gradients, optimizer=args.optimizer, recompute=args.memory_saving_gradients, precision=args.precision)
        there, needed = plan.memory(), self.plan.bytes()
        if there is None or needed <= there or tf.config.list_physical_devices('GPU'):          # how much a GPU has, TensorFlow does not tell
            return
        sentence = f'This machine has {there / 1e9:.1f} GB of memory, and a step needs about {needed / 1e9:.1f} GB'
        fitting = self.plan.fitting(there)
        if fitting is None:
            way_out = 'even small steps with adafactor would not fit: train adapters (--lora_rank 8), a part of the layers (--freeze_layers), or a smaller model'
            if args.fit:
                raise UserError(f'{sentence}; {way_out}.')
            return print(f'{sentence}; {way_out}.')
        changes = self.plan.flags(fitting)
        if 'batch_size' in changes:
            changes['batch_size'] *= workers
        flags = ' '.join(f'--{name}' if value is True else f'--{name} {value}' for name, value in changes.items())
        if not args.fit:
            return print(f'{sentence}: {flags} would need {fitting.bytes() / 1e9:.1f} GB; --fit does that.')
        print(f'{sentence}, so --fit makes it {flags}, which needs {fitting.bytes() / 1e9:.1f} GB'
              + (f' (a --learning_rate of 1e-3 or so suits adafactor; this one is {args.learning_rate:g})' if changes.get('optimizer') == 'adafactor' else ''))
        vars(args).update(changes)
        self.plan = fitting

    def _strategy(self):
        """TensorFlow's distribution over the GPUs of this host, or of all workers; None for one device."""
        import tensorflow as tf
        gpus = [gpu.name for gpu in tf.config.list_logical_devices('GPU')]
        if self.args.devices and self.args.devices > max(1, len(gpus)):
            raise UsageError(f'--devices {self.args.devices}: this host has {len(gpus)} GPUs that TensorFlow sees.')
        gpus = gpus[:self.args.devices]
        if self.workers:
            return self.strategy
        return tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else None

    def _trainer(self, params, strategy, index, rows):
        from . import trainer
        args = self.args
        return trainer.Trainer(
            self.hparams, params, optimizer=args.optimizer, beta=args.beta, beta2=args.beta2,
            learning_rate=trainer.schedule(args.schedule, args.learning_rate, args.warmup_steps, args.stop_after and args.stop_after - 1),
            weight_decay=args.weight_decay, clip_norm=args.clip_norm, precision=args.precision, dropout=args.dropout,
            label_smoothing=args.label_smoothing, seed=self.seed, accumulate=args.accumulate_gradients, recompute=args.memory_saving_gradients,
            only_transformer_layers=args.only_train_transformer_layers, freeze_layers=args.freeze_layers, base_vocab=self.base and self.base.n_vocab,
            tokens=rows * self.seq_len, strategy=strategy, index=index)

    def _resume(self, prefix):
        """Counter, optimizer, random state and average as they were when `prefix` was saved."""
        from . import checkpoint
        reader = checkpoint.read_state(prefix)
        if reader is None:                              # a fork's run folder: weights and counter only
            self.begins = checkpoint.read_counter(self.directory)
            self.counter = self.begins + 1
            print(f'{prefix} has no optimizer state beside it: the optimizer starts anew')
            return
        progress = self.trainer.restore(reader)
        self.begins, self.average = progress['counter'], tuple(progress['average'])
        self.counter = self.begins + 1                  # as the forks count
        if 'note' in progress:
            print(progress['note'])
        if progress['tokens'] == self.sampler.total_size:
            self.batches.state = progress['batches']
        else:
            print(f'the dataset has changed ({progress["tokens"]} tokens then): its random order starts anew')

    def _kept(self, prefix):
        """The progress that a checkpoint tells; {} where it tells none."""
        from . import checkpoint
        reader = checkpoint.read_state(prefix)
        return json.loads(reader.get_tensor('progress')) if reader else {}

    def _over(self):
        """Why not a step is to be taken, and how there would be: a sentence; None where there is one."""
        args = self.args
        if args.stop_after and self.counter >= args.stop_after:
            more = 'a larger --epochs' if args.epochs else f'--stop_after {self.counter + 1} or more'
            return f'{self.directory} is at step {self.begins} already: {more} goes on.'
        early = self._early()
        return early and f'{early}; a larger --early_stop goes on.'

    def _early(self):
        """What to say where --early_stop ends training; None where it does not."""
        from . import checkpoint
        if not self.args.early_stop or self.history.since_best < self.args.early_stop:
            return None
        (step, loss), folder = self.history.best, os.path.join(self.directory, 'best')
        kept = step_of(checkpoint.latest(folder) or '') == step
        which = f'that checkpoint is in {folder}' if kept else 'that is the model it began with' if step == 1 else 'of that one no checkpoint is kept'
        return f'{self.history.since_best} validations in a row were not better than {loss:.2f} at step {step:,}: stopped early; {which}'

    def describe(self):
        """What is about to run, and an estimate of what it takes."""
        import tensorflow as tf

        from . import plan, trainer
        args, hparams = self.args, self.hparams
        tokens = args.batch_size * self.seq_len * args.accumulate_gradients
        gpus = tf.config.list_physical_devices('GPU')
        if gpus:
            device = ', '.join(tf.config.experimental.get_device_details(gpu).get('device_name', gpu.name) for gpu in gpus[:1])
        else:
            device = f'CPU, {os.cpu_count()} cores (no GPU is seen; pip install "tensorflow[and-cuda]" on a machine that has one)'
        print(f'Device: {device}')
        print(f'Model: {plan.n_params(hparams) / 1e6:.1f} million parameters, '
              f'{self.plan.n_trained / 1e6:.1f} million of them trained')
        steps = args.stop_after - self.counter if args.stop_after else None
        batches = f' x {args.accumulate_gradients}' if args.accumulate_gradients > 1 else ''
        if self.sampler.padded:
            each = f'{args.batch_size}{batches} replies with the turns before them, up to {self.seq_len} tokens'
            share = f'each of {len(self.sampler)} replies {(steps or 0) * args.batch_size * args.accumulate_gradients / len(self.sampler):.2f} times'
        else:
            each = f'{args.batch_size} x {self.seq_len} tokens{batches} = {tokens}'
            share = f'{(steps or 0) * tokens * self.sampler.mean_length(self.seq_len) / self.seq_len / self.sampler.total_size:.2f} epochs'
        print(f'Each step: {each}; ' + ('until Ctrl-C' if steps is None else f'{steps} step{"s" * (steps != 1)} = {share}'))
        flops = trainer.measured_flops(self.trainer.precision)
        seconds, validating = self.plan.seconds(flops), ''
        total = (steps or 0) * seconds
        if args.val_every:
            windows, one = self.validation.windows, self.plan.seconds(flops, self.validation.windows)
            which = f'all {windows}' if self.validation.whole else f'{windows} random'
            print(f'Each validation: {which} {"replies" if self.sampler.padded else "windows"} of what is held out')
            times = (self.counter == 1) + (args.stop_after or 0) // args.val_every - (self.counter - 1) // args.val_every
            validating, total = f', {duration(one)} a validation', total + times * one
        print(f'Estimate: {self.plan.bytes() / 1e9:.1f} GB of memory, {seconds:.2g} s a step{validating}' + (f', {duration(total)} in all' if steps else ''))

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

    @property
    def leaving(self):
        """Whether training is to end before stop_after: by a signal or --early_stop; several workers must all know, which takes a step."""
        return self.trainer.stopped if self.workers else bool(self.stop_signal or self.stopped_early)

    @contextlib.contextmanager
    def alone(self):
        """While this is open, no other run writes into the folder. Raises UserError where one did since this one looked."""
        from . import checkpoint
        if not self.chief:
            yield
            return
        os.makedirs(self.directory, exist_ok=True)
        with files.alone(self.directory, 'another train.py'):
            if checkpoint.latest(self.directory) != self.found:
                raise UserError(f'another train.py went on with {self.directory} while this one began: run the same command again.')
            yield

    def loop(self):
        """Save, sample, validate where due, then step; until stop_after, --early_stop or a signal. Returns the exit status."""
        args = self.args
        if self.history.note:
            print(self.history.note)
        for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):    # SIGHUP: the terminal is closed, which Windows does otherwise, and nohup has ignored
            number = getattr(signal, name, None)
            if number and not (name == 'SIGHUP' and signal.getsignal(number) == signal.SIG_IGN):
                signal.signal(number, self._on_signal)
        print('Training...')
        self.started = self.stepped = time.perf_counter()
        total = args.stop_after - 1 if args.stop_after else None
        wants_bar = self.chief and (args.log == 'bar' or (args.log == 'auto' and os.isatty(1)))
        self.bar = tqdm(total=total, initial=min(self.counter - 1, total or self.counter), unit='step', dynamic_ncols=True) if wants_bar else None
        began, owed = self.counter, False               # owed: a checkpoint that was due, when a step was skipped
        while not (self.leaving or (args.stop_after and self.counter >= args.stop_after)):
            owed = owed or bool(args.save_every) and self.counter % args.save_every == 0
            if owed and not self.trainer.skipped_in_a_row:
                self.save()
                owed = False
            if self.chief and args.sample_every and self.counter % args.sample_every == 0:
                self.sample()
            if self.chief and args.val_every and (self.counter % args.val_every == 0 or self.counter == 1):
                self.validate()
            if self.leaving:
                break
            self.step()
        if self.chief and not self.leaving and self.counter != began and args.val_every and self.counter % args.val_every == 0:
            self.validate()                             # who goes on from here begins behind it
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if self.stop_signal:
            self.say('interrupted')
        if self.counter not in (self.saved, began):
            if self.trainer.skipped_in_a_row > 1:       # a single one may be chance; behind more, the weights may be no good
                self.say(f'{self.trainer.skipped_in_a_row} steps in a row were skipped: what they left is not saved; {self._sound()}.')
            else:
                self.save()
        self.history.close()
        return 128 + self.stop_signal if self.stop_signal else 0

    def step(self):
        """One step of the optimizer, recorded."""
        import tensorflow as tf
        trainer, rate = self.trainer, self.trainer.learning_rate
        try:
            loss = trainer.step(self.batches, bool(self.stop_signal or self.stopped_early))
        except tf.errors.OpError:
            if self.workers:
                self.workers.blame()
            raise
        now = time.perf_counter()
        speed, self.stepped = trainer.positions / (now - self.stepped), now
        at = f'[{self.counter} | {now - self.started:2.2f}]'
        if trainer.skipped_in_a_row:
            self.say(f'{at} the loss is {loss:2.2f}, it or a gradient is not finite: this step is skipped ({trainer.skipped} so far)')
            if trainer.skipped_in_a_row >= trainer.patience:
                raise UserError(f'{trainer.skipped_in_a_row} steps in a row, up to {self.counter}, had a loss or gradient that is not finite; '
                                f'{self._sound()} with a smaller --learning_rate than {rate:.2g}, with --clip_norm 1, or with --precision float32.')
        else:
            self.sound = True
            self.average = (self.average[0] * 0.99 + loss, self.average[1] * 0.99 + 1.0)
        if self.chief:
            self.history.record(self.counter, loss=loss, learning_rate=rate, tokens_per_s=speed)
            average = self.average[0] / max(self.average[1], 1e-9)
            if self.bar is not None:
                self.bar.set_postfix_str(f'loss={loss:.2f} avg={average:.2f}, {speed:,.0f} tokens/s', refresh=False)
                self.bar.update()
            elif self.counter % self.args.print_every == 0:
                self.say(f'{at} loss={loss:2.2f} avg={average:2.2f}')
        self.counter += 1

    def _sound(self):
        """How to go on from the last checkpoint behind which a step had a finite loss, in words."""
        from . import checkpoint
        first = self.counter - self.trainer.skipped_in_a_row + 1 if self.sound else self.begins
        there = checkpoint.listed(self.directory)
        sound = [prefix for prefix in there if step_of(prefix) < first]
        if not there:
            return 'there is no checkpoint yet: begin again'
        kept = 'the checkpoints are as they were: go on from '
        if sound[-1:] != there[-1:]:
            base = os.path.join(self.args.models_dir, self.args.model_name or '124M', 'model.ckpt.index')
            return kept + (f'--restore_from {sound[-1]}' if sound else
                           f'--restore_from {"fresh" if os.path.isfile(base) else "scratch"}, for each checkpoint of this run has such weights,')
        return kept + 'the last one'

    def _on_signal(self, number, frame):
        """The first signal lets the step finish and saves; a second Ctrl-C stops at once."""
        if self.stop_signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop_signal = number

    def say(self, line):
        """A line of output that leaves the bar whole. Where nobody reads it any longer, the run ends as by the signal that says so."""
        try:
            print(line, flush=True) if self.bar is None else self.bar.write(line)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):             # a pipe, a terminal
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.stop_signal = self.stop_signal or getattr(signal, 'SIGHUP', signal.SIGTERM)

    @contextlib.contextmanager
    def aside(self, what):
        """What is done between two steps: the bar shows how far it is. Yields a function that takes that, from 0 to 1."""
        if self.bar is None:
            yield lambda share: None
        else:
            before = self.bar.postfix or ''
            yield lambda share: self.bar.set_postfix_str(f'{what}: {share:.0%}')
            self.bar.set_postfix_str(before, refresh=False)

    def save(self):
        """Write the checkpoint of this counter, unless there is one already. Returns its prefix."""
        from . import checkpoint
        prefix = os.path.join(self.directory, f'model-{self.counter}')
        if self.saved == self.counter or not self.chief:
            self.saved = self.counter
            return prefix
        self.say(f'Saving {prefix}')
        state = self.trainer.state(counter=self.counter, average=self.average, batches=self.batches.state, tokens=self.sampler.total_size, seed=self.seed)
        checkpoint.save(self.directory, self.hparams, self.trainer.params, self.counter, state, base=self.base)
        checkpoint.copy_vocabulary(self.model_folder, self.directory, self.special_tokens)     # behind the weights, which may have grown
        checkpoint.write_dialogue(self.directory, self.dialogue)
        self.model_folder = self.directory
        checkpoint.write_counter(self.directory, self.counter)
        with files.whole(os.path.join(self.directory, 'settings.json'), 'w', encoding='utf-8') as file:
            arguments = {name: value for name, value in vars(self.args).items() if value is not None}
            json.dump(self.settings | {'arguments': arguments}, file, ensure_ascii=False, indent=1)
        self.history.draw()
        self.saved, self.stepped = self.counter, time.perf_counter()
        return prefix

    def sample(self):
        """Write sample_num texts that begin where a document does to samples/<run>/samples-<counter>; print the last one. A signal breaks it off."""
        from . import dialogue, sample, settings, stream
        args = self.args
        self.say('Generating samples...')
        length = min(args.sample_length, self.hparams.n_ctx - 1)
        start = (dialogue.style_of(self.dialogue).begin_ids(self.enc) or [int(self.sampler.chunks[0][0])])[0]
        generator, drawn = sample.generator_for(self.hparams, self.trainer.params), settings.Settings(top_k=args.top_k, top_p=args.top_p)
        texts = []
        with self.aside('samples') as show:
            while len(texts) < args.sample_num:
                made = np.full([min(args.batch_size, args.sample_num - len(texts)), 1], start)
                for ids in stream.stream(generator, made, drawn, length=length, seed=[self.seed, self.counter, len(texts)]):
                    if self.stop_signal:
                        return
                    made = np.concatenate([made, ids], axis=1)
                    show((len(texts) + len(made) * (made.shape[1] - 1) / length) / args.sample_num)
                texts += [self.enc.decode(ids) for ids in made[:, 1:]]
        blocks = [f'======== SAMPLE {i} ========\n{text}\n' for i, text in enumerate(texts, 1)]
        self.say(blocks[-1])
        try:
            with files.whole(os.path.join('samples', args.run_name, f'samples-{self.counter}'), 'w', encoding=args.encoding, errors='replace') as file:
                file.write('\n'.join(blocks))
        except (OSError, UserError) as error:           # what was learnt is worth more
            self.say(f'the samples are not written: {console.describe(error) if isinstance(error, OSError) else error}')
        self.stepped = time.perf_counter()

    def validate(self):
        """The loss on what self.validation reads. Keeps the best checkpoint; sees when to stop early. A signal breaks it off."""
        from . import checkpoint, scoring
        self.say('Calculating validation loss...')
        self.validation.rewind()
        with self.aside('validation') as show:
            read = itertools.count()

            def going():
                show(next(read) / len(self.validation))
                return not self.stop_signal
            found = self.trainer.validate(self.validation, len(self.validation), going)
        if found is None:
            return
        loss, reply_loss = found
        perplexity = math.exp(min(loss if reply_loss is None else reply_loss, scoring.LARGEST))
        self.history.record(self.counter, val_loss=loss, perplexity=perplexity)
        at = f'[{self.counter} | {time.perf_counter() - self.started:2.2f}]'
        self.say(f'{at} validation loss = {loss:2.2f}')
        if reply_loss is not None:
            self.say(f'{at} perplexity of replies = {perplexity:2.2f}')
        if self.history.rising_since:
            self.say(f'validation has risen since step {self.history.rising_since:,}: from here on the model learns the training data by heart')
        if self.history.best[0] == self.counter and self.counter > 1 and math.isfinite(loss) and not self.trainer.skipped_in_a_row:
            newest = self.save()
            self._keep_former_best()
            checkpoint.write_best(self.directory, newest, loss)
        early = self._early()
        if early:
            self.say(early)
            self.stopped_early = True
        self.stepped = time.perf_counter()


def step_of(prefix):
    """The step in the name of a checkpoint, such as model-450; 0 where there is none."""
    found = re.search(r'-(\d+)(-again)?$', prefix)
    return int(found[1]) if found else 0


def duration(seconds):
    """Seconds as a person says them."""
    for unit, size in (('h', 3600), ('min', 60)):
        if seconds >= size:
            return f'{seconds / size:.1f} {unit}'
    return f'{seconds:.0f} s'

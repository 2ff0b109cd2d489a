#!/usr/bin/env python3
"""Fine-tune GPT-2 on your text, or train it from random weights.

    python train.py --dataset corpus.npz
    python train.py --dataset corpus.npz --model_name 355M --run_name run2 --sample_every 250 --stop_after 1001

The run is kept in checkpoint/<run_name>/, a model folder that every other script takes; samples in samples/<run_name>/.
The same command again resumes it: weights, optimizer, random state and place in the data. Ctrl-C saves first, and so does a closed terminal.
"""
import argparse
import os

from src import console, files, workers
from src.console import UsageError
from src.run import Run


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
    add('--beta2', type=console.below_1, default=0.999, metavar='BETA2', help="Adam's decay of the mean squared gradient; 0.99 suits short runs from random weights")
    add('--schedule', choices=['constant', 'linear', 'cosine', 'noam'], default='constant',
        help='of the learning rate: linear: down to 0 at the end; cosine: down to a tenth of it; noam: with the inverse square root of the step')
    add('--warmup_steps', type=console.count, default=0, metavar='STEPS', help='the learning rate rises from 0 in so many steps')
    add('--warmup_ratio', type=console.below_1, metavar='SHARE', help='the same, as a share of all steps')
    add('--optimizer', choices=['adam', 'adamw', 'adafactor', 'lion', 'sgd'], default='adam',
        help='the optimizer; adafactor keeps next to nothing beside the weights, and wants 1e-3 or so; lion wants a tenth of the others\' learning rate')
    add('--weight_decay', type=console.nonnegative_float, metavar='RATE', help='of the matrices, apart from the gradient; default: 0.1 with adamw, else 0')
    add('--clip_norm', type=console.positive_float, metavar='NORM', help='the norm that all gradients together have at most; default: any')
    add('--dropout', type=console.below_1, default=0.0, metavar='SHARE', help='this share of the activations is left out at each step; 0.1 helps small corpora')
    add('--label_smoothing', type=console.below_1, default=0.0, metavar='SHARE', help='this share of the probability is spread over all tokens')
    add('--accumulate_gradients', type=console.positive_int, default=1, metavar='N', help='batches whose gradients are averaged for one step')
    add('--memory_saving_gradients', action='store_true', help="keep no activations but each layer's input; a quarter to a third slower, much smaller")
    add('--precision', choices=['auto', 'float32', 'bfloat16', 'float16'], default='auto',
        help='of activations and matrix products; weights, softmax and loss are float32; auto: bfloat16 on a GPU that has it, else float32')
    add('--fit', action='store_true', help='where the memory is too small for the settings, change those that make it fit, and say so')
    add('--only_train_transformer_layers', action='store_true', help='leave the embeddings as they are')
    add('--freeze_layers', type=console.count, default=0, metavar='N', help='leave the first N layers and the embeddings as they are')
    add('--lora_rank', type=console.count, default=0, metavar='RANK', help='train adapters of this rank beside the weights and save these alone (LoRA); 8 or 16 is usual; 0: train the weights')
    add('--lora_alpha', type=console.positive_float, metavar='ALPHA', help='adapters count ALPHA / RANK; default: twice the rank')
    add('--lora_targets', default='all', metavar='NAMES', help='the matrices that get adapters: attn, mlp, all, or names as attn/c_attn, divided by commas')
    add('--noise', type=console.fraction, default=0.0, metavar='SHARE', help='this share of the input tokens is replaced by random ones')

    add = parser.add_argument_group('the run').add_argument
    add('--run_name', default='run1', metavar='NAME', help='the folder below checkpoint/ and samples/')
    add('--restore_from', default='latest', metavar='WHICH',
        help="latest: the run's newest checkpoint, or the model where there is none yet; best: the run's best one; fresh: the model; scratch: random weights; or the path of a folder or checkpoint (one of this run's own resumes there)")
    add('--stop_after', type=console.positive_int, metavar='STEP', help='save and stop before this step; default: go on until Ctrl-C')
    add('--epochs', type=console.positive_float, metavar='N', help='stop when as many tokens (or replies) as the dataset has were drawn N times; instead of --stop_after')
    add('--save_every', type=console.count, default=1000, metavar='STEPS', help='steps between checkpoints; the five newest are kept; 0: only at the end')
    add('--allow_change', action='store_true', help='go on with the run although its model, vocabulary or dataset is another one now')
    add('--seed', type=console.count, help='of the data order, the random weights and the samples; default: another every time')
    add('--checkpoint_dir', default='checkpoint', metavar='PATH', help='the folder of the runs')

    add = parser.add_argument_group('several devices and hosts').add_argument
    add('--devices', type=console.positive_int, metavar='N', help='GPUs of this host to train on; default: all there are')
    add('--workers', metavar='ADDRESSES', help='host:port of every process that trains together, divided by commas, the same for each; default: TF_CONFIG, or this one alone')
    add('--worker_index', type=console.count, metavar='I', help='which of --workers this is, from 0; 0 is the chief, which alone writes')

    add = parser.add_argument_group('samples').add_argument
    add('--sample_every', type=console.count, default=100, metavar='STEPS', help='steps between samples; 0: none')
    add('--sample_length', type=console.positive_int, default=1023, metavar='TOKENS', help="length of a sample, at most the model's n_ctx - 1")
    add('--sample_num', type=console.positive_int, default=1, metavar='N', help='samples each time')
    add('--top_k', type=console.count, default=40, metavar='K', help='sample from the K likeliest tokens; 0: off')
    add('--top_p', type=console.fraction, default=0.0, metavar='P', help='sample from the likeliest tokens that reach this probability; 0: off')

    add = parser.add_argument_group('validation').add_argument
    add('--val_dataset', metavar='PATH', help='text or npz to validate on; default: a part of --dataset, which is then not trained on')
    add('--val_share', type=console.below_1, default=0.05, metavar='SHARE', help='the part of --dataset that is held out, in whole conversations or documents')
    add('--val_batch_size', type=console.positive_int, default=2, metavar='WINDOWS', help='windows in a validation batch')
    add('--val_batch_count', type=console.positive_int, default=40, metavar='N', help='batches in a validation at most: a set of fewer windows is read once, as a whole')
    add('--val_every', type=console.count, default=0, metavar='STEPS', help='steps between validations; 0: none; the best checkpoint is kept in the run\'s folder best/')
    add('--early_stop', type=console.count, default=0, metavar='N', help='stop after N validations in a row that are not the best; 0: go on')

    add = parser.add_argument_group('output').add_argument
    add('--print_every', type=console.positive_int, default=1, metavar='STEPS', help='steps between lines of progress')
    add('--log', choices=['auto', 'bar', 'lines'], default='auto', help='progress as a bar or as lines; auto: a bar on a terminal')
    add('--verbose', action='store_true', help="show TensorFlow's own messages")
    args = parser.parse_args()
    for one, other in (('epochs', 'stop_after'), ('warmup_ratio', 'warmup_steps')):
        if getattr(args, one) is not None and getattr(args, other):
            parser.error(f'--{one} and --{other} both say the same: give one of them')
    for other in ('only_train_transformer_layers', 'freeze_layers'):
        if args.lora_rank and getattr(args, other):
            parser.error(f'--lora_rank {args.lora_rank} trains adapters alone: leave out --{other}')
    if args.lora_alpha and not args.lora_rank:
        parser.error(f'--lora_alpha {args.lora_alpha:g} needs adapters: give --lora_rank, 8 or 16')
    if args.lora_targets != 'all' and not args.lora_rank:
        parser.error(f'--lora_targets {args.lora_targets} needs adapters: give --lora_rank, 8 or 16')
    if (args.seed or 0) >= 1 << 63:
        parser.error(f'--seed {args.seed} is out of range: a whole number from 0 to 2^63 - 1')
    if args.early_stop and not args.val_every:
        parser.error(f'--early_stop {args.early_stop} needs validations: give --val_every, 100 or so')
    return args


def main():
    args = parse_arguments()
    if os.path.basename(args.run_name) != args.run_name or args.run_name in ('', '.', '..'):
        raise UsageError(f'--run_name {args.run_name!r} must be a plain folder name.')
    files.expand(args.dataset)                          # a wrong path is told before TensorFlow starts
    if args.val_dataset:
        files.expand(args.val_dataset)
    run = Run(args, workers.from_flags(args.workers, args.worker_index))
    if args.memory_saving_gradients or args.precision in ('auto', 'float32'):       # in half precision its time shows
        console.spare_pool()
    if run.workers is None:
        console.import_tensorflow(args.verbose)
        return train(run)
    run.workers.meet()
    try:
        console.import_tensorflow(args.verbose, before=run.connect)
        status = train(run)
    except BaseException as error:
        run.workers.leave(error)
        raise
    run.workers.leave()
    return status


def train(run):
    """Load, tell what is about to run, run."""
    run.load()
    if run.args.show_batch:
        return run.show_batch()
    if run.over:
        if run.chief:
            print(run.over)
        return 0
    if run.chief:
        run.describe()
    if run.workers:
        run.workers.watch()
    with run.alone():
        return run.loop()


if __name__ == '__main__':
    console.start_tuned()
    console.run(main)

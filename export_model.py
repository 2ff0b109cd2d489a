#!/usr/bin/env python3
"""Make a model folder, in OpenAI's layout, of a run or of a model.

    python export_model.py --run_name run1 --out models/mine
    python export_model.py --model_name checkpoint/run1/best --out models/mine --merge

The folder holds the weights in float32, hparams.json, encoder.json, vocab.bpe, and dialogue.json; every script takes it as a
model, and so does OpenAI's own code. Of a run trained with LoRA come its adapters alone; --merge makes one plain model of them and their base.
"""
import argparse
import os

from src import console, files
from src.console import UsageError


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    add = parser.add_argument
    add('--run_name', metavar='NAME', help='a run of train.py, in checkpoint/')
    add('--model_name', default='124M', metavar='NAME', help='a model, in models/, a folder, or a checkpoint; not used with --run_name')
    add('--out', required=True, metavar='PATH', default=argparse.SUPPRESS, help='the folder to make')
    add('--merge', action='store_true', help='add the adapters of a run trained with LoRA to the weights of its base')
    add('--overwrite', action='store_true', help='write into --out even when something is there')
    add('--models_dir', default='models', metavar='PATH', help='the folder of the models')
    add('--checkpoint_dir', default='checkpoint', metavar='PATH', help='the folder of the runs')
    add('--verbose', action='store_true', help="show TensorFlow's own messages")
    return parser.parse_args()


def export(place, out, merge=False, models_dir='models'):
    """Write the model at `place` (what files.find_model found) into the folder `out`. Returns in words what it is."""
    from src import checkpoint, encoder, lora
    folder, prefix = checkpoint.resolve(place, models_dir)
    encoder.get_encoder(folder)                         # a model without its vocabulary is none: told before anything is written
    hparams, params = checkpoint.load(prefix, models_dir, merge=merge)
    kind = lora.settings(params)
    base = checkpoint.hold_base(out, prefix, models_dir) if kind else None
    checkpoint.copy_vocabulary(folder, out)
    checkpoint.write_dialogue(out, checkpoint.read_dialogue(folder))
    checkpoint.save(out, hparams, params, base=base, keep=len(checkpoint.listed(out)) + 1)
    return f'LoRA adapters of {base.prefix}, {lora.describe(kind)}; --merge makes a plain model' if kind else f'a model of {hparams.to_json()}'


def main():
    args = parse_arguments()
    place = files.find_model(args.model_name, args.models_dir, args.run_name, args.checkpoint_dir)
    if os.path.isdir(args.out) and os.path.samefile(args.out, files.folder_of(place)):
        raise UsageError(f'--out {args.out} is the folder that is exported: name another one.')
    if os.path.isdir(args.out) and os.listdir(args.out) and not args.overwrite:
        raise UsageError(f'--out {args.out} is there and not empty: name a new folder, or give --overwrite to write into it.')
    console.import_tensorflow(args.verbose)
    print(f'{args.out}: {export(place, args.out, args.merge, args.models_dir)}')


if __name__ == '__main__':
    console.run(main)

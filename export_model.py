#!/usr/bin/env python3
"""Make of a run, or of a model, what other programs load.

    python export_model.py --run_name run1 --out models/mine
    python export_model.py --run_name run1 --out hf --format hf
    python export_model.py --peft adapters --model_name 124M --out models/mine --merge

Without --format: a model folder in OpenAI's layout, which every script takes as a model. Of a run trained with LoRA come its adapters alone;
--merge makes one plain model of them and their base. The other formats hold one plain model:

    hf           for transformers and vLLM: vllm serve OUT
    gguf         for llama.cpp: llama-server -m OUT/model.gguf --jinja
    litert       for phones: python examples/litert_chat.py OUT
    savedmodel   for TensorFlow Serving: tensorflow_model_server --rest_api_port=8501 --model_name=mara --model_base_path=OUT
    tf1          for OpenAI's own code: its files and no more
    peft         the adapters of a run trained with LoRA, for PEFT

--peft takes the other way: adapters that PEFT made of the model --model_name.
"""
import argparse
import os

from src import console, files, flags
from src.console import UsageError
from src.formats import FORMATS


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    add = parser.add_argument
    flags.model(add)
    add('--out', required=True, metavar='PATH', default=argparse.SUPPRESS, help='the folder to make')
    add('--format', choices=list(FORMATS), help='what it is for; default: a model folder of ours')
    add('--precision', choices=sorted({one for each in FORMATS.values() for one in each}),
        help='of the weights; default: the first of ' + '; '.join(f'{", ".join(each)} with {name}' for name, each in FORMATS.items() if len(each) > 1) + '; else float32')
    add('--merge', action='store_true', help='add the adapters of a run trained with LoRA to the weights of its base')
    add('--peft', metavar='PATH', help='a folder with LoRA adapters in the format of PEFT, of the model --model_name')
    add('--me', metavar='NAME', help='who the user is in a chat; default: as chatter.py has it')
    add('--as', dest='answerer', metavar='NAME', help='who answers; default: as chatter.py has it')
    add('--overwrite', action='store_true', help='write into --out even when something is there')
    flags.folders(add)
    flags.verbose(add)
    return parser.parse_args()


def export(place, out, merge=False, models_dir='models', *, peft=None, format=None, precision=None, me=None, answerer=None):
    """Write the model at `place` (what files.find_model found) into the folder `out`. Returns in words what it is.

    peft: a folder of adapters to add. format, precision: of formats.FORMATS. me, answerer: who talks in a chat, for formats that say it.
    """
    from src import checkpoint, encoder, formats, lora
    from src.formats import peft as adapters
    folder, prefix = checkpoint.resolve(place, models_dir)
    encoder.get_encoder(folder)                         # a model without its vocabulary is none: told before anything is written
    precision = format and formats.check_precision(format, precision)
    plain = merge if format is None else format != 'peft'
    hparams, params = checkpoint.load(prefix, models_dir, merge=plain or peft is not None)
    base = checkpoint.find_base(prefix, models_dir)
    if peft and not plain and base.prefix != prefix:
        raise UsageError(f'{prefix} has adapters of its own: give --merge, or the model that the adapters in {peft} were made of.')
    if peft:
        params = adapters.read(peft, hparams, params, os.path.dirname(prefix))
        params = lora.merged(params) if plain else params
    kind = lora.settings(params)
    if format:
        formats.write(format, out, formats.source(place, hparams, params, me=me, answerer=answerer), precision, **({'base': base} if format == 'peft' else {}))
        return f'{format}, {lora.describe(kind) if kind else hparams.to_json()}, {precision} weights'
    base = checkpoint.hold_base(out, prefix, models_dir) if kind else None
    checkpoint.copy_vocabulary(folder, out)
    if not kind and not peft and (known := adapters.scales_of(folder)):                  # the same weights, whose adapters need the same
        formats.vocabulary.write_json(out, 'source.json', known)
    checkpoint.write_dialogue(out, checkpoint.read_dialogue(folder))
    checkpoint.save(out, hparams, params, base=base, keep=len(checkpoint.listed(out)) + 1)
    return f'LoRA adapters of {base.prefix}, {lora.describe(kind)}; --merge makes a plain model' if kind else f'a model of {hparams.to_json()}'


def main():
    args = parse_arguments()
    if args.precision and not args.format:
        raise UsageError('--precision needs a --format: a model folder of ours holds float32 weights.')
    place = files.find_model(args.model_name, args.models_dir, args.run_name, args.checkpoint_dir)
    if os.path.isdir(args.out) and os.path.samefile(args.out, files.folder_of(place)):
        raise UsageError(f'--out {args.out} is the folder that is exported: name another one.')
    if os.path.isdir(args.out) and os.listdir(args.out) and not args.overwrite:
        raise UsageError(f'--out {args.out} is there and not empty: name a new folder, or give --overwrite to write into it.')
    console.import_tensorflow(args.verbose)
    said = export(place, args.out, args.merge, args.models_dir, peft=args.peft, format=args.format, precision=args.precision, me=args.me, answerer=args.answerer)
    print(f'{args.out}: {said}')


if __name__ == '__main__':
    console.run(main)

"""A training step of GPT-2 beside that of other libraries: tokens/s, share of what matrix products alone reach, peak memory.

    python benchmarks/train.py [--only 124M] [--rounds 3] [--steps 5] [--peer_python path/to/python]
    python benchmarks/train.py --large

Beside ours: transformers' GPT2LMHeadModel; PyTorch alone, with its fused attention and AdamW (torch_gpt.py); keras-hub on TensorFlow. All
train the same sizes on random tokens, every weight, with Adam, without dropout, on all cores; bfloat16 means autocast in PyTorch and mixed
precision in Keras. Each run is a process of its own, the contenders take turns, and the medians of the rounds are shown: machines differ and
change from hour to hour, so only what stands side by side compares. --peer_python names a Python that has the others (pip install torch
transformers keras-hub); who is not there is left out. --large: steps of 124M to 1558M, ours alone, that must fit 24 GB.

The share: operations of the model's matrix products, counted as a causal model needs them, per second of a step, of what the same library
reaches in the same process on the layers' products alone.
"""
import argparse
import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]
from contenders import CONTENDERS, median, take_turns                   # noqa: E402

from src import console                                                # noqa: E402

WARM_UP = 2                                             # steps before those that count: the first compiles, the second fills caches
SIZES = {
    'small': {'n_vocab': 2048, 'n_ctx': 256, 'n_embd': 384, 'n_head': 6, 'n_layer': 6},                 # the demo's vocabulary
    '124M': {'n_vocab': 50257, 'n_ctx': 1024, 'n_embd': 768, 'n_head': 12, 'n_layer': 12},
    '355M': {'n_vocab': 50257, 'n_ctx': 1024, 'n_embd': 1024, 'n_head': 16, 'n_layer': 24},
    '774M': {'n_vocab': 50257, 'n_ctx': 1024, 'n_embd': 1280, 'n_head': 20, 'n_layer': 36},
    '1558M': {'n_vocab': 50257, 'n_ctx': 1024, 'n_embd': 1600, 'n_head': 25, 'n_layer': 48},
}
ROWS = [(size, batch, precision) for size, batch in (('124M', (1, 1024)), ('124M', (4, 256)), ('355M', (1, 1024)), ('small', (12, 256)))
        for precision in ('float32', 'bfloat16')]
LARGE = [('124M', {}), ('124M', {'recompute': True}), ('355M', {}), ('355M', {'recompute': True}), ('774M', {'optimizer': 'adafactor'}),
         ('1558M', {'lora_rank': 8})]


def operations(hparams, batch):
    """Of the matrix products of a step, forward and twice as many back. A position attends to half of the sequence on average."""
    (rows, sequence), n_embd = batch, hparams['n_embd']
    weights = 12 * hparams['n_layer'] * n_embd ** 2 + hparams['n_vocab'] * n_embd
    attention = hparams['n_layer'] * n_embd * sequence
    return 6 * rows * sequence * (weights + attention)


def step_seconds(result):
    """The median second of a run's steps that count."""
    return statistics.median(result['seconds'][WARM_UP:])


def row(name, contender, hparams, batch, results, theirs):
    """Print a contender's line of the table. theirs: the results of transformers."""
    seconds, rate = median(results, step_seconds), median(results, lambda result: result['rate'])
    ratio = f'{median(theirs, step_seconds) / seconds:.2f}' if theirs else ''
    waits = ' / '.join(f'{1e3 * median(results, lambda result: statistics.median(result[kind])):.2f}' for kind in ('draws', 'waits') if kind in results[0])
    print(f'{name:26}{contender:15}{batch[0] * batch[1] / seconds:10.0f}{ratio:>16}{rate / 1e9:12.0f}{operations(hparams, batch) / seconds / rate:9.0%}'
          f'{median(results, lambda result: result["peak"]):10.2f}{waits:>18}', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--only', metavar='WORDS', default='', help='rows whose name has this in it, such as 124M, "4 x 256" or bfloat16')
    parser.add_argument('--rounds', type=console.positive_int, default=3, metavar='N', help='processes of each contender, whose median is shown')
    parser.add_argument('--steps', type=console.positive_int, default=5, metavar='N', help='steps of each process, whose median counts')
    parser.add_argument('--peer_python', metavar='PYTHON', default=sys.executable, help='a Python that has the others; default: this one')
    parser.add_argument('--large', action='store_true', help='ours alone, what fits')
    args = parser.parse_args()
    if args.large:
        print(f'{"1 x 1024 tokens, float32":28}{"s a step":>10}{"peak GB":>10}')
        for size, how in LARGE:
            run = how | {'hparams': SIZES[size], 'batch': (1, 1024), 'steps': WARM_UP + args.steps}
            results = [result for _, _, result in take_turns(['ours'], args.rounds, run, sys.executable)]
            print(f'{", ".join([size, *(f"{key} {value}" for key, value in how.items())]):28}{median(results, step_seconds):10.1f}{median(results, lambda result: result["peak"]):10.2f}', flush=True)
        return
    print(f'{"":41}{"tokens/s":>10}{"x transformers":>16}{"products,":>12}{"share":>9}{"peak GB":>10}{"a batch, ms:":>18}\n'
          f'{"":67}{"GFLOP/s":>12}{"drawn / waited for":>37}')
    contenders = list(CONTENDERS)
    for size, batch, precision in ROWS:
        name = f'{size}, {batch[0]} x {batch[1]}, {precision}'
        if args.only not in name:
            continue
        run = {'hparams': SIZES[size], 'batch': batch, 'precision': precision, 'steps': WARM_UP + args.steps}
        results = {contender: [] for contender in contenders}
        for _, contender, result in take_turns(contenders, args.rounds, run, args.peer_python):
            results[contender].append(result)
        for contender in contenders:
            row(name, contender, SIZES[size], batch, results[contender], results.get('transformers'))


if __name__ == '__main__':
    console.run(main)

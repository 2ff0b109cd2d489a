"""A small model learns a text as characters, from nothing: ours beside the same model in PyTorch, by loss and by time.

    python benchmarks/characters.py tinyshakespeare.txt [--seeds 3] [--peer_python path/to/python]

The settings are those that nanoGPT publishes for a CPU: 4 layers, 4 heads, 128 wide, context 64, batch 12, 2,000 steps, AdamW from 1e-3 to
1e-4 as a cosine after 100 steps of warm-up, beta2 0.99, weight decay 0.1 on matrices, gradients clipped at 1.0, no dropout. The model in
PyTorch has no biases and starts with smaller residual weights, as nanoGPT's does (torch_gpt.py). The first nine tenths are learnt; the loss
is that over all of the rest, in consecutive windows of 64. nanoGPT's own run came to 1.898 on tinyshakespeare.

The time is that of the training loop alone, compilation in it. The two take turns, a seed at a time, each run in a process of its own.
"""
import argparse
import os
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]
from contenders import characters, median, take_turns                   # noqa: E402

from src import console                                                # noqa: E402

SETTINGS = {'batch': (12, 64), 'optimizer': 'adamw', 'learning_rate': 1e-3, 'schedule': 'cosine', 'warmup_steps': 100, 'beta2': 0.99,
            'weight_decay': 0.1, 'clip_norm': 1.0, 'bias': False}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('text', help='the text to learn')
    parser.add_argument('--seeds', type=console.positive_int, default=3, metavar='N', help='runs of each, whose medians are shown')
    parser.add_argument('--steps', type=console.positive_int, default=2000, metavar='N', help='steps of each run')
    parser.add_argument('--peer_python', metavar='PYTHON', default=sys.executable, help='a Python that has torch; default: this one')
    args = parser.parse_args()
    text = os.path.abspath(args.text)
    _, n_vocab = characters(text)
    run = SETTINGS | {'text': text, 'steps': args.steps, 'hparams': {'n_vocab': n_vocab, 'n_ctx': 64, 'n_embd': 128, 'n_head': 4, 'n_layer': 4}}
    contenders, found = ['ours', 'PyTorch alone'], {}
    print(f'{"":24}{"loss":>8}{"seconds":>10}{"ms a step":>12}')
    for seed, contender, result in take_turns(contenders, args.seeds, run, args.peer_python):
        found.setdefault(contender, []).append(result)
        row(f'seed {seed}', contender, [result])
    for contender, results in found.items():
        row('median', contender, results)
    if len(found) == 2:
        ours, theirs = (median(found[contender], seconds) for contender in contenders)
        print(f'PyTorch takes {theirs / ours:.2f} times as long.')


def seconds(result):
    return sum(result['seconds'])


def row(name, contender, results):
    """Print a line of the table: medians."""
    loss, step = median(results, lambda result: result['validation']), median(results, lambda result: statistics.median(result['seconds']))
    print(f'{name:8}{contender:16}{loss:8.4f}{median(results, seconds):10.1f}{1e3 * step:12.2f}', flush=True)


if __name__ == '__main__':
    console.run(main)

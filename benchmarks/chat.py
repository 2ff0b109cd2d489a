"""How soon a chat answers: seconds from a message to the first words of the answer, turn after turn, and from the command to the very first.

    python benchmarks/chat.py [--turns 60] [--precision int8]

124M of random weights, which babble: an answer ends after 24 tokens, of which most are read once more, for its text is not cut as it was made (that
of trained weights is: of 120 replies of the demo's model, 118). A message has 12. The cache of what was said is kept, so a turn costs its
new tokens; when the window is full the oldest turns leave and what stays is read once more, every dozen turns: those turns are shown apart.
The very first start of a model on a CPU also makes the file of its weights.
"""
import argparse
import glob
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]
STARTS = 3                                              # of chatter.py, of each kind


def wait_for_first_words(models, precision):
    """Seconds from `python chatter.py` to the first words that it answers."""
    command = ['chatter.py', '--model_name', '124M', '--models_dir', models, '--length', '8', '--seed', '1', '--precision', precision]
    began, said = time.perf_counter(), ''
    with subprocess.Popen([sys.executable, *command], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdin.write('how was your day?\n')
        process.stdin.close()
        while not re.search(r'^Friend: .', said, re.M):
            said += process.stdout.read(1) or sys.exit('error: chatter.py said nothing.')
        seconds = time.perf_counter() - began
        process.kill()
    return seconds


def main():
    import road

    from src import chat, console, folders, generators
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--turns', type=console.positive_int, default=60, metavar='N', help='messages and answers')
    parser.add_argument('--precision', choices=generators.PRECISIONS, default='int8')
    args = parser.parse_args()
    console.start_tuned()                               # as chatter.py
    with tempfile.TemporaryDirectory() as models:
        road.make_model(models)
        folder, first_starts = os.path.join(models, '124M'), []
        folders.write_dialogue(folder, {'style': 'dialogpt', 'speakers': ['B', 'A']})
        for _ in range(STARTS):
            for name in glob.glob(os.path.join(folder, '*.tflite')):
                os.remove(name)
            first_starts.append(wait_for_first_words(models, args.precision))
        starts = [wait_for_first_words(models, args.precision) for _ in range(STARTS)]
        generator, weights = generators.open_generator(folder, models, args.precision)
        session, draw = chat.open_session(folder, generator, length=24, seed=1), np.random.default_rng(0)
        waits, read_anew = [], []
        for _ in range(args.turns):
            first, message = session.first, session.enc.decode(draw.integers(1000, 20000, 12))
            start = time.perf_counter()
            pieces = session.reply(message)
            next(piece for piece in pieces if piece)
            waits.append(time.perf_counter() - start)
            read_anew.append(session.first != first)
            for _ in pieces:
                pass
    print(f'from the command to the first words, seconds, medians of {STARTS}: {statistics.median(starts):.1f}, '
          f'the very first time {statistics.median(first_starts):.1f}')
    as_ever = [wait for wait, anew in zip(waits, read_anew) if not anew]
    early, late = as_ever[1:6], as_ever[-5:]
    print(f'{weights}, seconds to the first words, medians of 5:')
    print(f'turns 2 to 6          {statistics.median(early):.4f}')
    print(f'turns up to {args.turns:3}       {statistics.median(late):.4f}   {statistics.median(late) / statistics.median(early):.2f} times')
    if any(read_anew):
        again = [wait for wait, anew in zip(waits, read_anew) if anew]
        print(f'where turns had left  {statistics.median(again):.4f}   {len(again)} of {args.turns} turns')


if __name__ == '__main__':
    main()

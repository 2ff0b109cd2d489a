"""Whether a chat stays as quick as it began: seconds from a message to the first words of the answer, turn after turn.

    python benchmarks/chat.py [--turns 60] [--precision int8]

124M of random weights, which babble: an answer ends after 24 tokens. A message has 12. The cache of what was said is kept, so a turn costs its
new tokens; when the window is full the oldest turns leave and what stays is read once more, every dozen turns: those turns are shown apart.
"""
import argparse
import os
import statistics
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]


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
        folder = os.path.join(models, '124M')
        folders.write_dialogue(folder, {'style': 'dialogpt', 'speakers': ['B', 'A']})
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

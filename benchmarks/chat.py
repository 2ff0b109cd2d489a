"""How soon a chat answers: seconds from a message to the first words of the answer, turn after turn, and from the command to the very first.

    python benchmarks/chat.py [--turns 60] [--precision int8]

124M of random weights, which babble: an answer ends after 24 tokens; a message has 12. Two conversations: one with a person who types for a second, in
which what was said is read (ChatSession.reading), one that is sent message after message. There most of an answer is read once more, for the text of a
babble is not cut as it was made (that of trained weights is: of 120 replies of the demo's model, 118). When the window is full the oldest turns leave and
what stays is read once more, every dozen turns: those turns are shown apart. The very first start of a model on a CPU also makes the file of its weights.
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
TYPING = 1.0                                            # seconds


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


def wait_for_answers(session, turns, typing):
    """[seconds to the first words, whether turns had left] of each turn."""
    found, draw = [], np.random.default_rng(0)
    for _ in range(turns):
        first, message = session.first, session.enc.decode(draw.integers(1000, 20000, 12))
        if typing:
            with session.reading():
                time.sleep(typing)
        start = time.perf_counter()
        pieces = session.reply(message)
        next(piece for piece in pieces if piece)
        found.append((time.perf_counter() - start, session.first != first))
        for _ in pieces:
            pass
    return found


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
        found = {kind: wait_for_answers(chat.open_session(folder, generator, length=24, seed=1), args.turns, typing)
                 for kind, typing in ((f'typed for {TYPING:.0f} s', TYPING), ('sent at once', 0))}
    print(f'from the command to the first words, seconds, medians of {STARTS}: {statistics.median(starts):.1f}, '
          f'the very first time {statistics.median(first_starts):.1f}')
    print(f'{weights}, seconds to the first words, medians of 5:')
    for kind, waits in found.items():
        as_ever, again = ([wait for wait, left in waits if left == anew] for anew in (False, True))
        early, late = (statistics.median(some) for some in (as_ever[1:6], as_ever[-5:]))
        print(f'{kind:15} turns 2 to 6 {early:.4f}, up to {args.turns} {late:.4f}, {late / early:.2f} times'
              + (f'; where turns had left {statistics.median(again):.4f}, {len(again)} of {args.turns} turns' if again else ''))


if __name__ == '__main__':
    main()

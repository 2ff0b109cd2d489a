"""kill -9 at random moments, many of them during a save: the run goes on from its last whole checkpoint, with the losses of one that nobody disturbed.

KILLS=50 python -m pytest tests/test_kills.py kills fifty times; a test run has less time.
"""
import csv
import os
import random
import subprocess
import sys
import time

from conftest import CHATS, ROOT

KILLS = int(os.environ.get('KILLS', 4))


def losses(folder):
    with open(folder / 'checkpoint' / 'run1' / 'history.csv', newline='') as file:
        return [row['loss'] for row in csv.DictReader(file) if row['loss']]


def test_killed_at_any_moment_it_goes_on_as_if_it_had_not_been(tmp_path, demo_models):
    """Every second step is saved, so most of the time a checkpoint is being written; dropout and noise draw random numbers, too."""
    command = [sys.executable, os.path.join(ROOT, 'train.py'), '--dataset', CHATS, '--models_dir', demo_models, '--model_name', 'tiny', '--seed', '5', '--batch_size', '2',
               '--learning_rate', '1e-3', '--noise', '0.1', '--dropout', '0.1', '--save_every', '2', '--sample_every', '0', '--val_every', '4', '--val_batch_count', '1',
               '--accumulate_gradients', '2', '--clip_norm', '1']
    moments, killed, counters, results = random.Random(0), tmp_path / 'killed', [], []
    counter, pace = killed / 'checkpoint' / 'run1' / 'counter', None    # pace: seconds to the first save, on this machine
    killed.mkdir()
    for _ in range(KILLS):
        process = subprocess.Popen(command, cwd=killed, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in process.stdout:                     # training has begun: from here on, any moment
            if line == 'Training...\n':
                break
        if pace:
            time.sleep(pace * moments.uniform(0.3, 2))
        start = time.monotonic()
        while not counter.exists() and process.poll() is None:
            time.sleep(0.01)
        pace = pace or time.monotonic() - start
        process.kill()
        process.communicate()
        results.append(process.returncode)
        counters.append(int(counter.read_text()))
    assert set(results) == {-9} and counters == sorted(counters) and counters[-1] > counters[0]        # alive until then, and it went forward
    stop = counters[-1] + 6
    last = subprocess.run([*command, '--stop_after', str(stop)], cwd=killed, text=True, capture_output=True)
    assert last.returncode == 0, last.stderr
    found = losses(killed)

    straight = tmp_path / 'straight'
    straight.mkdir()
    whole = subprocess.run([*command, '--stop_after', str(stop)], cwd=straight, text=True, capture_output=True)
    assert whole.returncode == 0, whole.stderr
    assert len(found) > 6 and found == losses(straight)[:len(found)]

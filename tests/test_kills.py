"""kill -9 at random moments, many of them during a save: the run goes on from its last whole checkpoint, with the losses of one that nobody disturbed.

KILLS=50 python -m pytest tests/test_kills.py kills fifty times; a test run has less time.
"""
import csv
import os
import random
import subprocess
import time

from conftest import CHATS, ROOT
from zygote import python

KILLS = int(os.environ.get('KILLS', 4))


def losses(folder):
    with open(folder / 'checkpoint' / 'run1' / 'history.csv', newline='') as file:
        return [row['loss'] for row in csv.DictReader(file) if row['loss']]


def test_killed_at_any_moment_it_goes_on_as_if_it_had_not_been(tmp_path, demo_models):
    """Every second step is saved, so most of the time a checkpoint is being written; dropout and noise draw random numbers, too."""
    command = [*python(), os.path.join(ROOT, 'train.py'), '--dataset', CHATS, '--models_dir', demo_models, '--model_name', 'tiny', '--seed', '5', '--batch_size', '2',
               '--learning_rate', '1e-3', '--noise', '0.1', '--dropout', '0.1', '--save_every', '2', '--sample_every', '0', '--val_every', '4', '--val_batch_count', '1',
               '--accumulate_gradients', '2', '--clip_norm', '1']

    def begun(folder):
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in process.stdout:
            if line == 'Training...\n':
                break
        return process, folder / 'checkpoint' / 'run1' / 'counter'

    def end(process):
        process.kill()
        process.communicate()
        return process.returncode

    process, counter = begun(tmp_path / 'pace')
    start = time.monotonic()
    while not counter.exists() and process.poll() is None:
        time.sleep(0.01)
    first_save, ended = time.monotonic() - start, end(process)          # how long it takes on this machine
    assert ended == -9

    moments, killed, counters, results = random.Random(0), tmp_path / 'killed', [], []
    for _ in range(KILLS):
        process, counter = begun(killed)                # from here on, any moment
        time.sleep(first_save * moments.uniform(0.3, 3))
        results.append(end(process))
        counters.append(int(counter.read_text()) if counter.exists() else 0)
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

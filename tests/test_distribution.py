"""One device, several devices of one process, several processes: the same losses. And what happens when one of them dies."""
import csv
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import CHATS, ROOT, free_addresses
from zygote import python

from src import workers
from src.console import UsageError, UserError

TRAIN = os.path.join(ROOT, 'train.py')
STEPS = 50

# argv: replicas. The curve of 50 steps on so many virtual devices, from the same weights and the same global batches
CURVE = '''
import json, sys
import numpy as np
import tensorflow as tf
n, options = int(sys.argv[1]), json.loads(sys.argv[2])
tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * n)
from src import model, trainer
from src.batches import Batches, Sampler
hparams = model.HParams(n_vocab=61, n_ctx=16, n_embd=16, n_head=2, n_layer=1)
strategy = tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(n)]) if n > 1 else None
text = np.random.default_rng(0).integers(61, size=400)
batches = Batches(Sampler([text, text[:9]], seed=0), 8, 16, 61)
t = trainer.Trainer(hparams, model.init_params(hparams), learning_rate=3e-3, strategy=strategy, tokens=128, **options)
losses = [t.step(batches) for _ in range(50)]
weights = [np.concatenate([v.numpy().ravel() for v in replica.variables]) for replica in t.replicas]
print(json.dumps([losses, max(float(abs(w - weights[0]).max()) for w in weights)]))
'''


@pytest.mark.parametrize('options', [{}, {'clip_norm': 0.5, 'accumulate': 2}], ids=['plain', 'clipped and accumulated'])
def test_1_2_and_4_devices_give_one_curve(options):
    """The windows of nine tokens put unlike numbers of tokens on the devices."""
    import json
    runs = [subprocess.Popen([*python(), '-c', CURVE, str(n), json.dumps(options)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                             env=os.environ | {'TF_CPP_MIN_LOG_LEVEL': '3'}) for n in (1, 2, 4)]
    curves = []
    for run in runs:
        out, _ = run.communicate(timeout=120)
        losses, apart = json.loads(out.splitlines()[-1])
        assert len(losses) == STEPS and losses[-1] < losses[0] - 0.2 and apart == 0          # all replicas hold the very same weights
        curves.append(losses)
    np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(curves[2], curves[0], rtol=0, atol=1e-4)


# ---- processes

def start(folder, models, n, *flags, run_name='run1'):
    """n processes of train.py that train together."""
    addresses = ','.join(free_addresses(n))
    command = [*python(), TRAIN, '--dataset', CHATS, '--models_dir', models, '--model_name', 'tiny', '--batch_size', '4', '--seed', '1',
               '--learning_rate', '1e-3', '--sample_every', '0', '--run_name', run_name, *map(str, flags)]
    together = [['--workers', addresses, '--worker_index', str(i)] for i in range(n)] if n > 1 else [[]]
    return [subprocess.Popen(command + more, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for more in together]


def finish(processes, timeout=120):
    return [(process.communicate(timeout=timeout), process.returncode) for process in processes]


def losses(folder, run_name='run1'):
    with open(folder / 'checkpoint' / run_name / 'history.csv', newline='') as file:
        return {int(row['step']): float(row['loss']) for row in csv.DictReader(file)}


def test_1_2_and_4_processes_give_one_curve_and_the_chief_alone_writes(tmp_path, demo_models):
    curves = []
    for n in (1, 2, 4):
        outcomes = finish(start(tmp_path, demo_models, n, '--stop_after', STEPS + 1, run_name=f'of{n}'))
        assert all(status == 0 for _, status in outcomes), outcomes
        assert [out.count('Saving') for (out, _), _ in outcomes] == [1] + [0] * (n - 1)
        curves.append(losses(tmp_path, f'of{n}'))
    assert list(curves[0]) == list(range(1, STEPS + 1)) and curves[0][STEPS] < curves[0][1] - 0.3
    for curve in curves[1:]:
        np.testing.assert_allclose(list(curve.values()), list(curves[0].values()), rtol=0, atol=1e-4)


def test_a_worker_that_dies_stops_the_others_and_fewer_go_on(tmp_path, demo_models):
    processes = start(tmp_path, demo_models, 2, '--save_every', 10)
    chief, other = processes
    for line in chief.stdout:
        if line.startswith('[12 '):
            break
    other.kill()
    began = time.monotonic()
    (_, errors), status = finish(processes)[0]
    assert time.monotonic() - began < 60 and status == 1
    assert re.search(r'error: worker 1 \(127.0.0.1:\d+\) has died\. What came after the last checkpoint is lost: start all workers again', errors), errors
    assert 'Traceback' not in errors
    saved = int((tmp_path / 'checkpoint' / 'run1' / 'counter').read_text())
    before = losses(tmp_path)
    ((out, errors), status), = finish(start(tmp_path, demo_models, 1, '--stop_after', saved + 6))
    assert status == 0 and f'model-{saved}\n' in out, errors
    after = losses(tmp_path)
    assert [step for step in after if step > saved] == list(range(saved + 1, saved + 6))
    straight = [before[step] for step in range(saved, saved + 3) if step in before]           # the counter skips one where a run resumes
    np.testing.assert_allclose([after[saved + 1 + i] for i in range(len(straight))], straight, rtol=0, atol=1e-4)


def test_ctrl_c_at_one_stops_all_after_the_same_step(tmp_path, demo_models):
    processes = start(tmp_path, demo_models, 2)
    for line in processes[0].stdout:
        if line.startswith('[3 '):
            break
    processes[1].send_signal(signal.SIGINT)
    outcomes = finish(processes)
    assert [status for _, status in outcomes] == [0, 130], outcomes
    assert outcomes[0][0][0].count('Saving') == 1


def test_other_settings_are_refused_by_all(tmp_path, demo_models):
    addresses = ','.join(free_addresses(2))
    command = [*python(), TRAIN, '--dataset', CHATS, '--models_dir', demo_models, '--model_name', 'tiny', '--batch_size', '2', '--workers', addresses]
    processes = [subprocess.Popen([*command, '--worker_index', str(i), '--stop_after', str(5 + i)], cwd=tmp_path, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(2)]
    for (_, errors), status in finish(processes):
        assert status == 1 and re.search(r'worker 1 .* has --stop_after 6, worker 0 .* has 5: they must have the same', errors) and 'Traceback' not in errors
    assert not (tmp_path / 'checkpoint').exists()


def test_workers_that_do_not_answer_are_named():
    one, two = free_addresses(2)
    with pytest.raises(UserError, match=f'worker 1 .{two}. did not come within 1 s: start every worker with the same --workers'):
        workers.Workers([one, two], 0).meet(seconds=1)
    with pytest.raises(UserError, match=f'worker 0 .{one}. did not answer within 1 s'):
        workers.Workers([one, two], 1).meet(seconds=1)


@pytest.mark.parametrize('addresses, index, environ, words', [
    ('a:1,b:2', 2, {}, '--worker_index 2 is out of range: 2 workers have the numbers 0 to 1'), ('a:1,a:1', 0, {}, 'names an address twice'),
    ('a:1,b', 0, {}, "'b' is not host:port"), ('a:1,b:2', None, {}, 'belong together'), (None, 1, {}, 'belong together'),
    (None, None, {'TF_CONFIG': '{"cluster": 5}'}, 'TF_CONFIG must be .*, not '),
    ('a:99999,b:2', 0, {}, "'a:99999' is not host:port, with a port from 1 to 65535"), ('a:0,b:2', 0, {}, "'a:0' is not host:port"),
    (None, None, {'TF_CONFIG': '{"cluster": {"worker": [1, 2]}, "task": {"type": "worker", "index": 0}}'}, 'TF_CONFIG must be '),
    (None, None, {'TF_CONFIG': '{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}'}, 'TF_CONFIG must be ')])
def test_who_trains_must_be_said_plainly(addresses, index, environ, words):
    with pytest.raises(UsageError, match=words):
        workers.from_flags(addresses, index, environ)


def test_tf_config_says_the_same():
    found = workers.from_flags(None, None, {'TF_CONFIG': '{"cluster": {"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "task": {"type": "worker", "index": 1}}'})
    assert (found.addresses, found.index, found.chief) == (['a:1', 'b:2', 'c:3'], 2, False)
    assert workers.from_flags(None, None, {}) is None and workers.from_flags('a:1', 0, {}) is None


def test_a_batch_that_does_not_divide_is_refused(tmp_path, demo_models):
    outcomes = finish(start(tmp_path, demo_models, 3, '--stop_after', 3))
    for (_, errors), status in outcomes:
        assert status != 0 and '--batch_size 4 cannot be shared among 3' in errors, errors

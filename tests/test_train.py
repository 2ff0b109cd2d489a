"""train.py as a user runs it: what it prints, what it writes, how it stops and goes on, and what it says when it cannot.

Starting TensorFlow takes seconds, so the runs of this file go in the background, two at a time: a function marked @scenario runs them in
a folder of its own, and a test that takes its name as an argument waits for what it returned.
"""
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from conftest import CHATS, ROOT, VALIDATION, fails_clearly, run_script
from reference import Reference, rough_params
from zygote import python

import train as script
from src import checkpoint, dataset, dialogue, encoder, files, model, plan, stream, trainer
from src.batches import Batches, Sampler, Validation
from src.console import UsageError, UserError
from src.model import HParams
from src.run import step_of

TRAIN = os.path.join(ROOT, 'train.py')
TINY = HParams(n_vocab=2048, n_ctx=64, n_embd=32, n_head=4, n_layer=2)          # conftest's `tiny`
NO_STEP = ('--learning_rate', 1e-50)                                            # 0 in float32: leaves every weight as it is
SCENARIOS = {}


# ---- scenarios

def scenario(function):
    """Make `function(folder, models)` a fixture of its name, run once and in the background."""
    SCENARIOS[function.__name__] = function

    @pytest.fixture(scope='module', name=function.__name__)
    def outcome(background):
        return background[function.__name__].result()
    return outcome


@pytest.fixture(scope='module')
def background(request, demo_models, tmp_path_factory):
    """{scenario: Future} of those that the tests to be run ask for."""
    wanted = {name for item in request.session.items for name in item.fixturenames}
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(function, tmp_path_factory.mktemp(name), demo_models) for name, function in SCENARIOS.items() if name in wanted}


def train(folder, models, *flags, dataset=CHATS, model_name='tiny', sample_every=0):
    """A whole run in `folder`."""
    name = ('--model_name', model_name) if model_name else ()
    return run_script(TRAIN, '--dataset', dataset, '--models_dir', models, *name, '--sample_every', sample_every, *flags, cwd=folder, python=python())


def train_until(folder, models, line, number, *flags):
    """A run that gets the signal `number` once it has printed a line that starts with `line`."""
    command = [*python(), TRAIN, '--dataset', CHATS, '--models_dir', models, '--model_name', 'tiny', '--sample_every', '0', *map(str, flags)]
    process = subprocess.Popen(command, cwd=folder, text=True, encoding='utf-8', stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=os.environ | {'PYTHONIOENCODING': 'utf-8'})
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    seen = ''
    for text in process.stdout:
        seen += text
        if text.startswith(line):
            process.send_signal(number)
            break
    rest, errors = process.communicate()
    watchdog.cancel()
    return subprocess.CompletedProcess(command, process.returncode, seen + rest, errors)


def succeeded(result):
    assert result.returncode == 0 and result.stderr == '', (result.returncode, result.stdout, result.stderr)
    return result


def steps(result):
    """{counter: (loss, avg)} as printed."""
    found = re.findall(r'^\[(\d+) \| \d+\.\d\d\] loss=(\d+\.\d\d) avg=(\d+\.\d\d)$', result.stdout, re.M)
    return {int(counter): (loss, average) for counter, loss, average in found}


def saves(result):
    return [int(n) for n in re.findall(r'^Saving checkpoint/run1/model-(\d+)$', result.stdout, re.M)]


def scalars(folder):
    """{tag: {step: value}} of the TensorBoard events in a folder."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.startswith('events.out.tfevents.'):
            for event in tf.compat.v1.train.summary_iterator(os.path.join(folder, name)):
                for value in event.summary.value:
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def weights(folder_or_prefix):
    return {name: value.numpy() for name, value in model.flat(checkpoint.load(str(folder_or_prefix))[1]).items()}


def same(one, other):
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def tree(folder):
    """{path: bytes} of everything below a folder, TensorBoard's events left out."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(parent, name), folder) + '/'] = None
        for name in names:
            if not name.startswith('events.'):
                with open(os.path.join(parent, name), 'rb') as file:
                    found[os.path.relpath(os.path.join(parent, name), folder)] = file.read()
    return found


# ---- one run from end to end

@scenario
def whole_run(folder, models):
    flags = {'batch_size': 2, 'learning_rate': 1e-3, 'seed': 3, 'stop_after': 13, 'save_every': 2, 'sample_length': 20, 'sample_num': 3,
             'val_dataset': VALIDATION, 'val_every': 4, 'val_batch_count': 3, 'val_batch_size': 5}
    result = train(folder, models, *(word for name, value in flags.items() for word in (f'--{name}', value)), sample_every=5)
    return SimpleNamespace(result=succeeded(result), folder=folder, run=folder / 'checkpoint' / 'run1', models=models)


def test_the_lines_come_in_the_order_that_people_know(whole_run):
    """Save, sample, validate, step; validation also at 1; stop_after saves before the step it names."""
    head, body = whole_run.result.stdout.split('Training...\n')
    tokens = sum(len(chunk) for chunk in dataset.load_dataset(encoder.get_encoder('tiny', whole_run.models), CHATS))
    assert head.splitlines()[:3] == [f'Loading checkpoint {whole_run.models}/tiny/model.ckpt', 'Loading dataset...', f'dataset has {tokens} tokens']
    assert '\nEach step: 2 x 64 tokens = 128; 12 steps = ' in head

    expected = []
    for c in range(1, 13):
        if c % 2 == 0:
            expected.append(f'Saving checkpoint/run1/model-{c}')
        if c % 5 == 0:
            expected += ['Generating samples...', '======== SAMPLE 3 ========']
        if c % 4 == 0 or c == 1:
            expected += ['Calculating validation loss...', rf'\[{c} \| \d+\.\d\d\] validation loss = \d\.\d\d', rf'\[{c} \| \d+\.\d\d\] perplexity of replies = \d+\.\d\d']
        expected.append(rf'\[{c} \| \d+\.\d\d\] loss=\d\.\d\d avg=\d\.\d\d')
    expected.append('Saving checkpoint/run1/model-13')
    body = re.sub(r'(?<=^======== SAMPLE 3 ========\n).*?^(?=\[|Calculating)', '', body, flags=re.M | re.S)      # the sample's text
    lines = body.splitlines()
    assert len(lines) == len(expected), body
    for line, pattern in zip(lines, expected):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_seconds_and_losses_are_what_they_say(whole_run):
    times = [float(t) for t in re.findall(r'^\[\d+ \| (\d+\.\d\d)\]', whole_run.result.stdout, re.M)]
    assert times == sorted(times) and len(times) == 12 + 2 * 4
    losses = {c: float(loss) for c, (loss, _) in steps(whole_run.result).items()}
    assert list(losses) == list(range(1, 13))
    assert losses[1] == pytest.approx(math.log(2048), abs=0.3)          # nothing learnt yet
    assert losses[12] < losses[1] - 0.1
    for c, (_, average) in steps(whole_run.result).items():
        decay = [0.99 ** (c - i) for i in range(1, c + 1)]
        assert float(average) == pytest.approx(np.dot(decay, [losses[i] for i in range(1, c + 1)]) / sum(decay), abs=0.0101)


def test_the_run_is_a_model_folder(whole_run):
    kept = [f'{kind}-{n}{part}' for kind in ('model', 'state') for n in (6, 8, 10, 12, 13) for part in ('.data-00000-of-00001', '.index')]
    others = ['best', 'checkpoint', 'counter', 'dialogue.json', 'encoder.json', 'history.csv', 'hparams.json', 'loss.png', 'settings.json', 'vocab.bpe']
    events = [name for name in os.listdir(whole_run.run) if name.startswith('events.out.tfevents.')]
    assert len(events) == 1
    assert sorted(os.listdir(whole_run.run)) == sorted(kept + others + events)
    assert sorted(os.listdir(whole_run.folder)) == ['checkpoint', 'samples']
    assert (whole_run.run / 'counter').read_bytes() == b'13\n'
    assert tf.train.latest_checkpoint(str(whole_run.run)) == str(whole_run.run / 'model-13')
    assert checkpoint.load(str(whole_run.run))[0] == TINY
    for name in ('encoder.json', 'vocab.bpe'):
        with open(os.path.join(whole_run.models, 'tiny', name), 'rb') as original:
            assert (whole_run.run / name).read_bytes() == original.read()
    dialogue = json.loads((whole_run.run / 'dialogue.json').read_text(encoding='utf-8'))
    assert dialogue['style'] == 'name' and 'Mara' in dialogue['speakers']


def test_samples(whole_run):
    """Three blocks a file; the last one is what was printed."""
    folder = whole_run.folder / 'samples' / 'run1'
    assert sorted(os.listdir(folder)) == ['samples-10', 'samples-5']
    for name in os.listdir(folder):
        text = (folder / name).read_text(encoding='utf-8')
        match = re.fullmatch(r'======== SAMPLE 1 ========\n(.*)\n\n======== SAMPLE 2 ========\n(.*)\n\n======== SAMPLE 3 ========\n(.*)\n', text, re.S)
        assert match and len(set(match.groups())) == 3, text
        assert f'Generating samples...\n======== SAMPLE 3 ========\n{match[3]}\n' in whole_run.result.stdout


def test_tensorboard(whole_run):
    found = scalars(whole_run.run)
    assert set(found) == {'loss', 'learning_rate', 'tokens_per_s', 'val_loss', 'perplexity'}
    assert list(found['loss']) == list(found['learning_rate']) == list(range(1, 13)) and list(found['val_loss']) == [1, 4, 8, 12]
    assert {c: f'{loss:.2f}' for c, loss in found['loss'].items()} == {c: loss for c, (loss, _) in steps(whole_run.result).items()}
    assert set(found['learning_rate'].values()) == {float(np.float32(1e-3))}
    printed = re.findall(r'^\[(\d+) \| .*\] validation loss = (.*)$', whole_run.result.stdout, re.M)
    assert {c: f'{loss:.2f}' for c, loss in found['val_loss'].items()} == {int(c): loss for c, loss in printed}


def test_the_validation_loss_is_that_of_batches_drawn_with_seed_1(whole_run):
    """Worked out once more in NumPy, from the weights saved at the same counter."""
    chunks = dataset.load_dataset(encoder.get_encoder('tiny', whole_run.models), VALIDATION)
    sampler, found = Sampler(chunks, seed=1), scalars(whole_run.run)['val_loss']
    windows = np.stack([sampler.sample(64) for _ in range(3 * 5)])
    for counter, source in ((1, os.path.join(whole_run.models, 'tiny')), (8, whole_run.run / 'model-8')):
        hparams, params = checkpoint.load(str(source))
        logits = model.model(hparams, params, windows[:, :-1])['logits'].numpy().astype(np.float64)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        assert found[counter] == pytest.approx(-np.take_along_axis(logits, windows[:, 1:, None], -1).mean(), abs=1e-4)


# ---- where it stops, and where it goes on

@scenario
def stopped_and_resumed(folder, models):
    first = train(folder, models, '--stop_after=5', sample_every=4)
    before = tree(folder)
    again = train(folder, models, '--stop_after=5', sample_every=4)
    after = tree(folder)
    further = train(folder, models, '--stop_after=8', model_name=None)
    return SimpleNamespace(first=succeeded(first), again=succeeded(again), further=succeeded(further), before=before, after=after, folder=folder)


def test_stop_after_leaves_before_its_step_and_saves(stopped_and_resumed):
    assert list(steps(stopped_and_resumed.first)) == [1, 2, 3, 4]
    assert saves(stopped_and_resumed.first) == [5]
    assert [name for name in stopped_and_resumed.before if 'samples-' in name] == ['samples/run1/samples-4']


def test_a_run_that_is_past_stop_after_stops_at_once_and_changes_nothing(stopped_and_resumed):
    assert 'Loading checkpoint checkpoint/run1/model-5' in stopped_and_resumed.again.stdout
    assert steps(stopped_and_resumed.again) == {} and saves(stopped_and_resumed.again) == []
    assert stopped_and_resumed.after == stopped_and_resumed.before
    assert stopped_and_resumed.again.stdout.endswith('checkpoint/run1 is at step 5 already: --stop_after 7 or more goes on.\n')
    assert 'Each step' not in stopped_and_resumed.again.stdout and 'Training...' not in stopped_and_resumed.again.stdout


def test_a_resumed_run_starts_at_the_counter_plus_1(stopped_and_resumed):
    """And needs no --model_name: the run knows its own."""
    assert list(steps(stopped_and_resumed.further)) == [6, 7] and saves(stopped_and_resumed.further) == [8]
    assert (stopped_and_resumed.folder / 'checkpoint' / 'run1' / 'counter').read_text() == '8\n'
    assert 'starts anew' not in stopped_and_resumed.further.stdout


def straight_and_killed(folder, models, flags, **sampling):
    """Twenty steps in one go; and ten, a save at 11, a kill -9 behind it, and ten more with whatever seed."""
    flags = ('--learning_rate', 1e-3, '--save_every', 11, *flags)
    seed = ('--seed', 5)
    (folder / 'a').mkdir()
    (folder / 'b').mkdir()
    straight = train(folder / 'a', models, *flags, *seed, '--stop_after', 21, **sampling)
    killed = train_until(folder / 'b', models, '[12 |', signal.SIGKILL, *flags, *seed)
    resumed = train(folder / 'b', models, *flags, '--stop_after', 22, **sampling)
    return SimpleNamespace(straight=succeeded(straight), killed=killed, resumed=succeeded(resumed),
                           a=folder / 'a' / 'checkpoint' / 'run1', b=folder / 'b' / 'checkpoint' / 'run1')


@scenario
def plain(folder, models):
    return straight_and_killed(folder, models, ['--batch_size', 2])


@scenario
def noisy(folder, models):
    """And with samples taken between, which must not touch the random order of the data."""
    return straight_and_killed(folder, models, ['--noise', 0.2, '--accumulate_gradients', 3, '--sample_length', 10], sample_every=7)


@pytest.mark.usefixtures('plain', 'noisy')                              # getfixturevalue alone would be too late for `background`
@pytest.mark.parametrize('which', ['plain', 'noisy'])
def test_a_killed_and_resumed_run_goes_on_as_if_it_had_never_stopped(request, which):
    """The counter skips a number where a run resumes, as it always did; losses, averages, weights and Adam's state are the same."""
    runs = request.getfixturevalue(which)
    assert runs.killed.returncode == -signal.SIGKILL and saves(runs.killed) == [11]
    straight, killed, resumed = steps(runs.straight), steps(runs.killed), steps(runs.resumed)
    assert list(straight) == list(range(1, 21)) and list(resumed) == list(range(12, 22))
    assert [killed[c] for c in range(1, 11)] == [straight[c] for c in range(1, 11)]
    assert list(resumed.values()) == [straight[c] for c in range(11, 21)]
    one, other = scalars(runs.a)['loss'], scalars(runs.b)['loss']
    assert [other[c] for c in range(12, 22)] == [one[c] for c in range(11, 21)]                  # to the last bit
    assert same(weights(runs.a / 'model-21'), weights(runs.b / 'model-22'))
    readers = [checkpoint.read_state(str(prefix)) for prefix in (runs.a / 'model-21', runs.b / 'model-22')]
    kept = [{name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if name != 'progress'} for reader in readers]
    assert len(kept[0]) > 50 and same(*kept)


@scenario
def signalled(folder, models):
    interrupted = train_until(folder, models, '[3 |', signal.SIGINT)
    counter = checkpoint.read_counter(str(folder / 'checkpoint' / 'run1'))
    terminated = train_until(folder, models, f'[{counter + 2} |', signal.SIGTERM)
    return SimpleNamespace(interrupted=interrupted, terminated=terminated, counter=counter, folder=folder)


@pytest.mark.parametrize('which, status', [('interrupted', 130), ('terminated', 143)])
def test_ctrl_c_and_a_polite_kill_save_first(signalled, which, status):
    result = getattr(signalled, which)
    assert result.returncode == status and result.stderr == '', (result.returncode, result.stderr)
    last = max(steps(result))
    assert result.stdout.splitlines()[-2:] == ['interrupted', f'Saving checkpoint/run1/model-{last + 1}']
    assert saves(result) == [last + 1]


def test_what_ctrl_c_saved_is_resumed(signalled):
    run = signalled.folder / 'checkpoint' / 'run1'
    assert f'Loading checkpoint checkpoint/run1/model-{signalled.counter}' in signalled.terminated.stdout
    assert min(steps(signalled.terminated)) == signalled.counter + 1
    last, = saves(signalled.terminated)
    assert (run / 'counter').read_text() == f'{last}\n' and checkpoint.latest(str(run)) == str(run / f'model-{last}')


# ---- --restore_from

@scenario
def restored(folder, models):
    """One step each, which changes nothing, from the four sources; run1 holds two checkpoints."""
    kept, newest = rough_params(TINY, 3, 0.05), rough_params(TINY, 6, 0.05)
    checkpoint.save(str(folder / 'checkpoint' / 'run1'), TINY, kept, 3)
    checkpoint.save(str(folder / 'checkpoint' / 'run1'), TINY, newest, 6)
    runs = {'prefix': ('run2', 'checkpoint/run1/model-3'), 'folder': ('run3', 'checkpoint/run1'), 'scratch': ('run4', 'scratch'), 'fresh': ('run1', 'fresh')}
    results = {name: succeeded(train(folder, models, '--run_name', run, '--restore_from', source, '--stop_after', 2, '--seed', 9, *NO_STEP))
               for name, (run, source) in runs.items()}
    final = {name: weights(folder / 'checkpoint' / run / 'model-2') for name, (run, _) in runs.items()}
    return SimpleNamespace(results=results, final=final, kept=kept, newest=newest, models=models, run1=folder / 'checkpoint' / 'run1')


def test_restore_from_a_prefix(restored):
    assert restored.results['prefix'].stdout.startswith('Loading checkpoint checkpoint/run1/model-3\n')
    assert same(restored.final['prefix'], {name: value.numpy() for name, value in model.flat(restored.kept).items()})


def test_restore_from_a_folder(restored):
    assert restored.results['folder'].stdout.startswith('Loading checkpoint checkpoint/run1/model-6\n')
    assert same(restored.final['folder'], {name: value.numpy() for name, value in model.flat(restored.newest).items()})


def test_restore_from_fresh_begins_again_with_the_model(restored):
    assert restored.results['fresh'].stdout.startswith(f'Loading checkpoint {restored.models}/tiny/model.ckpt\n')
    assert list(steps(restored.results['fresh'])) == [1]
    assert same(restored.final['fresh'], weights(os.path.join(restored.models, 'tiny')))
    # what was there before stays, and what was saved last is what `latest` will find
    assert [os.path.basename(p) for p in checkpoint.listed(str(restored.run1))] == ['model-3', 'model-6', 'model-2']


def test_restore_from_scratch_draws_the_originals_initial_weights(restored):
    assert restored.results['scratch'].stdout.startswith('Starting from random weights\n')
    drawn = restored.final['scratch']
    assert drawn['wte'].std() == pytest.approx(0.02, rel=0.02) and drawn['wpe'].std() == pytest.approx(0.01, rel=0.1)      # 5 standard errors
    assert (drawn['ln_f/g'] == 1).all() and (drawn['h1/mlp/c_fc/b'] == 0).all()
    assert (drawn['wte'] != weights(os.path.join(restored.models, 'tiny'))['wte']).mean() > 0.99


@scenario
def forked(folder, models):
    """A run folder as nshepperd's fork leaves it: written by TensorFlow 1's Saver with absolute paths, and a counter; no more."""
    run = folder / 'checkpoint' / 'run1'
    run.mkdir(parents=True)
    fork = Reference(TINY, tf.compat.v1.train.AdamOptimizer(1e-3), seed=4)
    fork.save(run / 'model', step=70)
    (run / 'counter').write_text('70\n')
    elsewhere = '/home/jane/gpt-2/checkpoint/run1/model-70'
    (run / 'checkpoint').write_text(f'model_checkpoint_path: "{elsewhere}"\nall_model_checkpoint_paths: "{elsewhere}"\n')
    result = train(folder, models, '--stop_after', 73, *NO_STEP)
    return SimpleNamespace(result=succeeded(result), run=run, weights=fork.weights())


def test_a_forks_run_goes_on_with_model_name(forked):
    assert forked.result.stdout.startswith('Loading checkpoint checkpoint/run1/model-70\n')
    assert 'no optimizer state' in forked.result.stdout
    assert list(steps(forked.result)) == [71, 72] and saves(forked.result) == [73]
    assert same({'model/' + name: value for name, value in weights(forked.run / 'model-73').items()}, forked.weights)


def test_a_forks_run_is_one_of_ours_from_then_on(forked):
    """With its own hparams, vocabulary and optimizer state, and nothing of the fork's taken away."""
    assert HParams.read(str(forked.run)) == TINY
    assert encoder.get_encoder(str(forked.run)).n_vocab == 2048
    assert checkpoint.read_state(str(forked.run / 'model-73')) is not None
    assert (forked.run / 'model-70.index').is_file() and (forked.run / 'counter').read_text() == '73\n'


# ---- small corpora

@scenario
def short(folder, models):
    text = 'Theo: Are you up?\nMara: Always. Tea?\nTheo: Tea.\n'
    (folder / 'short.txt').write_text(text, encoding='utf-8')
    result = train(folder, models, '--stop_after', 4, '--learning_rate', 1e-2, '--val_dataset', 'short.txt', '--val_every', 3, '--val_batch_count', 1, dataset='short.txt')
    return SimpleNamespace(result=succeeded(result), tokens=len(encoder.get_encoder('tiny', models).encode(text)) + 1)     # <|endoftext|>


def test_a_text_shorter_than_the_window_trains(short):
    """Fewer tokens than n_ctx: the window is the text, every start the same, so the loss falls at every step."""
    assert short.tokens < 64
    assert f'dataset has {short.tokens} tokens\n' in short.result.stdout and f'Each step: 1 x {short.tokens} tokens' in short.result.stdout
    losses = [float(loss) for loss, _ in steps(short.result).values()]
    assert len(losses) == 3 and losses[0] > losses[1] > losses[2] > 0
    assert len(re.findall('validation loss = ', short.result.stdout)) == 2                       # at 1 and 3, on the same text


# ---- what cannot be

@scenario
def refused(folder, models):
    """{what: (result, whether the folder was left as it was)}."""
    checkpoint.save(str(folder / 'checkpoint' / 'run1'), TINY, model.init_params(TINY), 3)
    checkpoint.write_counter(str(folder / 'checkpoint' / 'run1'), 3)
    checkpoint.save(str(folder / 'checkpoint' / 'broken'), TINY, model.init_params(TINY), 3)
    data = folder / 'checkpoint' / 'broken' / 'model-3.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:5000])
    for name, text in (('bare', TINY.to_json()), ('wide', HParams(n_vocab=2048, n_ctx=64, n_embd=48, n_head=4, n_layer=2).to_json())):
        shutil.copytree(os.path.join(models, 'tiny'), folder / 'models' / name, ignore=shutil.ignore_patterns('model.ckpt*', 'checkpoint'))
        (folder / 'models' / name / 'hparams.json').write_text(text)
    shutil.copytree(os.path.join(models, 'tiny'), folder / 'models' / 'tiny')
    before = tree(folder)
    cases = {'another model': ('wide',), 'no weights': ('bare', '--run_name', 'new'), 'window': ('tiny', '--run_name', 'new', '--seq_len', 9999),
             'source': ('tiny', '--run_name', 'new', '--restore_from', 'checkpoint/nothing'), 'damaged': ('tiny', '--run_name', 'broken')}
    return {what: (train(folder, 'models', '--stop_after', 9, *flags, model_name=name), tree(folder) == before) for what, (name, *flags) in cases.items()}


@pytest.mark.parametrize('what, status, words', [
    ('another model', 1, ['"n_embd": 32', '"n_embd": 48', 'checkpoint/run1/model-3', 'models/wide', '--model_name']),
    ('no weights', 1, ['models/bare holds no weights', 'download_model.py', 'scratch']),
    ('window', 2, ['--seq_len 9999', '2 to 64']),
    ('source', 1, ['checkpoint/nothing']),
    ('damaged', 1, ['checkpoint/broken/model-3', 'damaged']),
])
def test_one_sentence_and_nothing_half_written(refused, what, status, words):
    result, untouched = refused[what]
    assert fails_clearly(result, status, *words)
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith('error: ')
    assert untouched and steps(result) == {}


@pytest.mark.parametrize('flags, status, words', [
    (['--dataset', 'nowhere.npz'], 1, ['nowhere.npz', 'no such file']),
    (['--dataset', CHATS, '--val_dataset', 'nowhere.txt', '--val_every', '5'], 1, ['nowhere.txt', 'no such file']),
    (['--dataset', CHATS, '--no_such_flag'], 2, ['--no_such_flag']),
    ([], 2, ['--dataset']),
    (['--dataset', CHATS, '--batch_size', '0'], 2, ['--batch_size', '0', 'from 1 up']),
    (['--dataset', CHATS, '--learning_rate', 'nan'], 2, ['--learning_rate', 'nan']),
    (['--dataset', CHATS, '--noise', '1.5'], 2, ['--noise', '1.5', 'from 0 to 1']),
    (['--dataset', CHATS, '--optimizer', 'adagrad'], 2, ['--optimizer', 'adagrad']),
    (['--dataset', CHATS, '--run_name', '../x'], 2, ['--run_name', '../x']),
    (['--dataset', CHATS, '--run_name', ''], 2, ['--run_name']),
    (['--dataset', CHATS, '--run_name', '..'], 2, ['--run_name']),
    (['--dataset', CHATS, '--epochs', '2', '--stop_after', '9'], 2, ['--epochs', '--stop_after', 'give one']),
    (['--dataset', CHATS, '--warmup_ratio', '.1', '--warmup_steps', '9'], 2, ['--warmup_ratio', '--warmup_steps', 'give one']),
    (['--dataset', CHATS, '--beta', '1'], 2, ['--beta']),
])
def test_flags_that_cannot_be(tmp_path, flags, status, words):
    assert fails_clearly(run_script(TRAIN, *flags, cwd=tmp_path), status, *words)
    assert os.listdir(tmp_path) == []


def test_help_names_every_flag_people_already_type():
    result = run_script(TRAIN, '--help')
    for flag in ('dataset model_name models_dir combine encoding batch_size learning_rate beta accumulate_gradients memory_saving_gradients '
                 'only_train_transformer_layers optimizer noise sample_every sample_length sample_num top_k top_p restore_from run_name save_every '
                 'stop_after val_dataset val_batch_size val_batch_count val_every windows max_turns learn_from show_batch').split():
        assert f'--{flag} ' in result.stdout or f'--{flag}\n' in result.stdout, flag
    assert result.returncode == 0 and result.stderr == ''


def test_a_checkpoint_of_the_run_itself_resumes_there(demo_models, tmp_path):
    """With its optimizer and place in the data: steps 4 and 5 come out as they did when the run went past step 3."""
    command = ['train.py', '--dataset', VALIDATION, '--models_dir', demo_models, '--model_name', 'tiny', '--checkpoint_dir', tmp_path,
               '--learning_rate', '0.01', '--seed', '1', '--sample_every', '0', '--log', 'lines']
    first = run_script(*command, '--save_every', '3', '--stop_after', '6')
    again = run_script(*command, '--restore_from', tmp_path / 'run1' / 'model-3', '--stop_after', '6')
    assert first.returncode == again.returncode == 0, again.stderr
    losses = [re.findall(r'^\[(\d+) \|.*loss=(\S+) ', result.stdout, re.M) for result in (first, again)]
    assert [step for step, _ in losses[0]] == ['1', '2', '3', '4', '5'] and [step for step, _ in losses[1]] == ['4', '5']
    assert [loss for _, loss in losses[1]] == [loss for _, loss in losses[0]][2:4]


# ---- whose words, and styles that bring tokens; in this process, which has TensorFlow already

TALKS = [[('Theo', 'hi mara'), ('Mara', 'hello theo'), ('Theo', 'how are you'), ('Mara', 'good\nand you')], [('Mara', 'are you up'), ('Theo', 'yes'), ('Mara', 'tea?')]]


@pytest.fixture
def here(demo_models, tmp_path, monkeypatch):
    """here(dataset, *flags): a whole run of train.py, without samples, in tmp_path/runs; raises what main raises."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setenv('NO_COLOR', '1')
    monkeypatch.chdir(tmp_path)

    def run(path, *flags):
        command = ['train.py', '--dataset', path, '--models_dir', demo_models, '--checkpoint_dir', tmp_path / 'runs', '--sample_every', 0, '--seed', 3,
                   '--learning_rate', 1e-3, '--log', 'lines', *([] if '--model_name' in flags or None in flags else ['--model_name', 'tiny']), *[flag for flag in flags if flag]]
        monkeypatch.setattr(sys, 'argv', [str(word) for word in command])
        return script.main()

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def write_talks(folder, style, times=6):
    """TALKS in a style, with Mara in the second seat, who begins where the style lets her; a path."""
    style, text = dialogue.get_style(style), ''
    for talk in TALKS:
        talk = dialogue.Conversation([dialogue.Turn(name, words, 1000 * i) for i, (name, words) in enumerate(talk)])
        if style.by_order and talk.turns[0].speaker == 'Mara':
            talk.turns.pop(0)
        text += style.render(dialogue.seated(talk, style, you='Mara'))
    path = folder / f'{style.name}.txt'
    path.write_text(text * times, encoding='utf-8')
    return path


def note(run):
    return [json.loads((run / name).read_text(encoding='utf-8')) for name in ('hparams.json', 'dialogue.json')]


def special(run):
    return encoder.get_encoder(str(run)).special_tokens


MARKS = {'<|endoftext|>': 2047, '<bos>': 2048, '<sp1>': 2049, '<sp2>': 2050, '<eos>': 2051}
GROWN = {'n_vocab': 2052, 'n_ctx': 64, 'n_embd': 32, 'n_head': 4, 'n_layer': 2, 'type_tokens': [2049, 2050]}


def test_a_run_whose_vocabulary_grows_resumes_to_the_last_digit(here, tmp_path, demo_models, capsys):
    """From an npz of its style; with --model_name as in the first command, without it, and in one go."""
    packed = tmp_path / 'talks.npz'
    dataset.write_npz(str(packed), dataset.Corpus(encoder.get_encoder('tiny', demo_models), str(write_talks(tmp_path, 'tokens'))))
    flags = ('--windows', 'turns', '--learn_from', '<sp2>', '--batch_size', 2, '--noise', 0.1)
    here(packed, *flags, '--restore_from', 'scratch', '--run_name', 'straight', '--stop_after', 10)
    assert 'The vocabulary grows from 2048 to 2052 tokens: <bos> <sp1> <sp2> <eos>\n' in capsys.readouterr().out
    here(packed, *flags, '--restore_from', 'scratch', '--run_name', 'stopped', '--stop_after', 4)
    capsys.readouterr()
    here(packed, *flags, '--run_name', 'stopped', '--stop_after', 8)
    out = capsys.readouterr().out
    assert 'grows' not in out and 'anew' not in out and out.startswith(f'Loading checkpoint {tmp_path}/runs/stopped/model-4\n')
    here(packed, *flags, None, '--run_name', 'stopped', '--stop_after', 12)
    straight, stopped = (scalars(tmp_path / 'runs' / name)['loss'] for name in ('straight', 'stopped'))
    assert list(stopped) == [1, 2, 3, 5, 6, 7, 9, 10, 11]               # the counter skips a number where a run resumes
    assert list(stopped.values()) == list(straight.values())
    assert same(weights(tmp_path / 'runs' / 'straight'), weights(tmp_path / 'runs' / 'stopped'))
    for name in ('straight', 'stopped'):
        assert note(tmp_path / 'runs' / name) == [GROWN, {'style': 'tokens', 'speakers': ['<sp2>', '<sp1>'], 'learnt': '<sp2>', 'length': 4}]
        assert special(tmp_path / 'runs' / name) == MARKS

    said = run_script('chatter.py', '--run_name', 'stopped', '--checkpoint_dir', tmp_path / 'runs', '--seed', 1, '--length', 8, stdin='hi\nhow are you\n')
    assert said.returncode == 0 and 'int8.tflite' in said.stderr and said.stdout.startswith('Friend answers (int8 weights') and said.stdout.count('\nFriend: ') == 2
    written = run_script('src/generate_unconditional_samples.py', '--run_name', 'stopped', '--checkpoint_dir', tmp_path / 'runs', '--seed', 1, '--nsamples', 1,
                         '--topic', 'hi', '--with', '<sp1>,<sp2>', '--format', 'json')
    assert written.returncode == 0 and {turn['speaker'] for turn in json.loads(written.stdout)[0]['turns']} == {'<sp1>', '<sp2>'}


def test_a_run_is_a_model_to_start_from_with_its_tokens(here, tmp_path, capsys):
    text = write_talks(tmp_path, 'tokens')
    here(text, '--run_name', 'first', '--stop_after', 2)
    with pytest.raises(UserError, match='runs/first/model-2 is a model of .*2052.* but .*/tiny is one of .*2048.*: give --model_name .*runs/first as well'):
        here(text, '--run_name', 'second', '--restore_from', tmp_path / 'runs' / 'first', '--stop_after', 2)
    assert not (tmp_path / 'runs' / 'second').exists()
    capsys.readouterr()
    here(text, '--run_name', 'second', '--model_name', tmp_path / 'runs' / 'first', '--stop_after', 2, *NO_STEP)
    assert 'grows' not in capsys.readouterr().out and special(tmp_path / 'runs' / 'second') == MARKS and note(tmp_path / 'runs' / 'second')[0] == GROWN
    assert same(weights(tmp_path / 'runs' / 'first'), weights(tmp_path / 'runs' / 'second'))
    here(text, '--run_name', 'second', '--restore_from', 'fresh', '--stop_after', 2, *NO_STEP)          # with tiny again: it grows anew
    assert 'grows' in capsys.readouterr().out and special(tmp_path / 'runs' / 'second') == MARKS


def test_a_run_keeps_its_token_types_with_other_text(here, tmp_path, capsys):
    here(write_talks(tmp_path, 'tokens'), '--stop_after', 2)
    capsys.readouterr()
    with pytest.raises(UsageError, match='run1 was trained with .*tokens.txt of 174 tokens .*, and .*name.txt has 246 .*--allow_change'):
        here(write_talks(tmp_path, 'name'), '--stop_after', 4)
    here(write_talks(tmp_path, 'name'), '--stop_after', 4, '--allow_change')
    assert 'grows' not in capsys.readouterr().out
    assert note(tmp_path / 'runs' / 'run1') == [GROWN, {'style': 'name', 'speakers': ['Mara', 'Theo'], 'length': 5}]
    here(write_talks(tmp_path, 's'), '--stop_after', 6, '--allow_change')                 # and a second style grows it further
    assert 'The vocabulary grows from 2052 to 2054 tokens: <s> </s>\n' in capsys.readouterr().out
    assert special(tmp_path / 'runs' / 'run1') == MARKS | {'<s>': 2052, '</s>': 2053}
    assert note(tmp_path / 'runs' / 'run1') == [GROWN | {'n_vocab': 2054}, {'style': 's', 'speakers': ['</s>', '<s>'], 'length': 4}]
    (tmp_path / 'plain.txt').write_text('Just a text, again and again. ' * 20)
    here(tmp_path / 'plain.txt', '--stop_after', 8, '--allow_change')
    assert not (tmp_path / 'runs' / 'run1' / 'dialogue.json').exists()  # what it speaks like now is no conversation


def test_another_model_is_refused_whatever_a_run_has_grown(here, tmp_path, demo_models):
    text = write_talks(tmp_path, 'tokens')
    here(text, '--stop_after', 2)
    for name, change in (('wide', {'n_embd': 48}), ('large', {'n_vocab': 3000})):
        folder = tmp_path / name
        shutil.copytree(os.path.join(demo_models, 'tiny'), folder)
        (folder / 'hparams.json').write_text(json.dumps(json.loads(TINY.to_json()) | change))
        with pytest.raises(UserError, match='runs/run1 is a model of .*2052.* but .* is one of .*: give the --model_name that the run was made from'):
            here(text, '--model_name', folder, '--stop_after', 9)


def test_a_step_that_fails_leaves_a_run_as_it_was(here, tmp_path, monkeypatch):
    """Its vocabulary grows with its weights, not before."""
    here(write_talks(tmp_path, 'name'), '--stop_after', 3)
    before = tree(tmp_path / 'runs' / 'run1')
    with monkeypatch.context() as patch, pytest.raises(UserError, match='5 steps in a row, up to 8, had a loss .* as they were: .*smaller --learning_rate than 0.001,'):
        patch.setattr(trainer.Replica, 'update', lambda self, norm, loss, *gradients: tf.constant(False))         # as where a gradient is not finite
        here(write_talks(tmp_path, 'tokens'), '--stop_after', 12, '--allow_change')
    after = tree(tmp_path / 'runs' / 'run1')
    assert after.pop('history.csv') != before.pop('history.csv') and after == before
    here(write_talks(tmp_path, 'tokens'), '--stop_after', 6, '--allow_change')
    assert special(tmp_path / 'runs' / 'run1') == MARKS and HParams.read(str(tmp_path / 'runs' / 'run1')).type_tokens == (2049, 2050)


def test_no_weights_are_kept_behind_which_nothing_is_finite(here, tmp_path):
    """The first step makes them so; what was saved before it stays the newest, and is named where it is not."""
    path, run = talks(tmp_path), tmp_path / 'runs' / 'run1'
    here(path, '--stop_after', 3)
    with pytest.raises(UserError, match='5 steps in a row, up to 9, .* go on from the last one with'):
        here(path, '--learning_rate', '1e38', '--stop_after', 40, '--save_every', 6)
    assert sorted(checkpoint.listed(str(run))) == [str(run / 'model-3')]
    with pytest.raises(UserError, match='go on from --restore_from .*model-4 with'):
        here(path, '--learning_rate', '1e38', '--stop_after', 40, '--save_every', 1)
    assert [int(prefix.rpartition('-')[2]) for prefix in checkpoint.listed(str(run))] == [3, 4, 5]
    with pytest.raises(UserError, match='go on from --restore_from .*model-4 with'):      # of what it began with nothing is known but that no step was finite
        here(path, '--stop_after', 40)
    here(path, '--stop_after', 7, '--restore_from', run / 'model-4')
    with pytest.raises(UserError, match='5 steps in a row, up to 6, .* there is no checkpoint yet: begin again with a smaller'):
        here(path, '--learning_rate', '1e38', '--stop_after', 40, '--run_name', 'run2')


@pytest.mark.parametrize('prefix, step', [('runs/run1-2/model-450', 450), ('best/model-450-again', 450), ('run-7/model.ckpt', 0)])
def test_the_step_in_the_name_of_a_checkpoint(prefix, step):
    assert step_of(prefix) == step


def test_a_closed_terminal_ends_a_run_that_saves_first(here, tmp_path, monkeypatch):
    step, run = trainer.Trainer.step, tmp_path / 'runs' / 'run1'

    def closing(self, batches, stop=False):
        signal.raise_signal(signal.SIGHUP)
        return step(self, batches, stop)
    monkeypatch.setattr(trainer.Trainer, 'step', closing)
    assert here(talks(tmp_path), '--stop_after', 9) == 128 + signal.SIGHUP
    assert checkpoint.latest(str(run)) == str(run / 'model-2')
    signal.signal(signal.SIGHUP, signal.SIG_IGN)        # as nohup does
    assert here(talks(tmp_path), '--stop_after', 5) == 0
    assert checkpoint.latest(str(run)) == str(run / 'model-5')


def test_where_nobody_reads_any_longer_a_run_ends_as_by_a_signal(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    run = SimpleNamespace(bar=None, stop_signal=None)
    with open(write, 'w') as gone:
        monkeypatch.setattr(sys, 'stdout', gone)
        script.Run.say(run, '[1 | 0.50] loss=7.62 avg=7.62')
        assert run.stop_signal == signal.SIGHUP
        script.Run.say(run, 'Saving checkpoint/run1/model-2')


def test_samples_that_cannot_be_written_cost_no_training(here, tmp_path, capsys):
    (tmp_path / 'samples' / 'run1' / 'samples-2').mkdir(parents=True)
    here(talks(tmp_path), '--sample_every', 2, '--sample_length', 3, '--stop_after', 4)
    assert 'the samples are not written: samples/run1/samples-2 is a folder' in capsys.readouterr().out
    assert checkpoint.latest(str(tmp_path / 'runs' / 'run1')).endswith('model-4')
    (tmp_path / 'samples' / 'run2').write_text('')
    with pytest.raises(UserError, match='samples/run2 is in the way of the samples, .*--sample_every 0'):
        here(talks(tmp_path), '--sample_every', 2, '--run_name', 'run2', '--stop_after', 4)
    assert not (tmp_path / 'runs' / 'run2').exists()


def test_a_step_that_is_skipped_by_chance_costs_no_checkpoint(here, tmp_path, monkeypatch):
    update, run = trainer.Trainer.step, tmp_path / 'runs' / 'run1'

    def skipping(self, batches, stop=False):
        loss = update(self, batches, stop)
        self.skipped_in_a_row = int(self.positions_seen in (3, 6)) if hasattr(self, 'positions_seen') else 0
        self.positions_seen = getattr(self, 'positions_seen', 0) + 1
        return loss
    monkeypatch.setattr(trainer.Trainer, 'step', skipping)
    here(talks(tmp_path), '--stop_after', 8, '--save_every', 5)
    assert [int(prefix.rpartition('-')[2]) for prefix in checkpoint.listed(str(run))] == [6, 8]      # the one of step 5 is made up for


def test_a_run_that_went_on_meanwhile_is_not_overwritten(here, tmp_path, monkeypatch):
    path, run = talks(tmp_path), tmp_path / 'runs' / 'run1'
    here(path, '--stop_after', 3)
    describe = script.Run.describe

    def while_somebody_else_goes_on(self):
        describe(self)
        monkeypatch.setattr(script.Run, 'describe', describe)
        here(path, '--stop_after', 5)
    monkeypatch.setattr(script.Run, 'describe', while_somebody_else_goes_on)
    with pytest.raises(UserError, match='another train.py went on with .*run1 while this one began'):
        here(path, '--stop_after', 9)
    assert checkpoint.latest(str(run)).endswith('model-5')


def test_a_run_is_one_process_alone(here, tmp_path):
    run = tmp_path / 'runs' / 'run1'
    here(talks(tmp_path), '--stop_after', 2)
    before = tree(run)
    with files.alone(str(run), 'a test'), pytest.raises(UserError, match='run1: another train.py is writing there'):
        here(talks(tmp_path), '--stop_after', 4)
    assert tree(run) == before


def test_the_best_validation_is_known_to_who_goes_on_from_it(here, tmp_path):
    path, run = talks(tmp_path), tmp_path / 'runs' / 'run1'
    here(path, '--val_every', 2, '--val_batch_count', 2, '--stop_after', 5, '--save_every', '0')
    best = (run / 'best' / 'checkpoint').read_text()
    assert 'model-4' in best
    here(path, '--val_every', 2, '--val_batch_count', 2, '--stop_after', 7, '--save_every', '0', '--restore_from', 'best', '--learning_rate', 1, '--optimizer', 'sgd')
    rows = (run / 'history.csv').read_text().splitlines()
    assert rows[4].startswith('4,,,,') and rows[5].startswith('5,') and (run / 'best' / 'checkpoint').read_text() == best        # nothing behind it is better
    assert 4 in scalars(run)['val_loss']


def test_another_validation_looks_for_the_best_anew(here, tmp_path, capsys):
    """And keeps what the former one found; the validation at the last step is made before it is saved."""
    path, run, flags = talks(tmp_path), tmp_path / 'runs' / 'run1', ('--val_dataset', VALIDATION, '--val_every', 2, '--val_batch_count')
    here(path, *flags, 2, '--stop_after', 4)
    assert '4,,,,' in (run / 'history.csv').read_text() and checkpoint.latest(str(run / 'best')).endswith('model-4')
    capsys.readouterr()
    here(path, *flags, 1, '--stop_after', 6, *NO_STEP)
    out = capsys.readouterr().out
    assert 'validations measure something else than before' in out and f'{run}/best/model-4 was the best by other validations: it is kept in {run}/best-1\n' in out
    assert checkpoint.latest(str(run / 'best')).endswith('model-6') and checkpoint.latest(str(run / 'best-1')).endswith('model-4')
    here(path, *flags, 1, '--stop_after', 8, *NO_STEP)
    assert 'something else' not in capsys.readouterr().out
    assert checkpoint.latest(str(run / 'best')).endswith('model-6')     # 8 is as good
    assert not (run / 'best-2').exists()


def test_a_signal_breaks_a_validation_off(here, tmp_path, monkeypatch, capsys):
    next_ = Validation.next

    def next_and_signal(self):
        signal.raise_signal(signal.SIGTERM)
        return next_(self)
    monkeypatch.setattr(Validation, 'next', next_and_signal)
    assert here(talks(tmp_path), '--stop_after', 6, '--val_every', 2, '--val_dataset', VALIDATION, '--val_batch_size', 1) == 128 + signal.SIGTERM
    out = capsys.readouterr().out
    assert re.search(r'\nEach validation: (all \d+|\d+ random) windows of what is held out\nEstimate: .* s a validation, .* in all\n', out)
    assert out.endswith('Training...\nCalculating validation loss...\ninterrupted\n')


def test_a_signal_breaks_samples_off(here, tmp_path, monkeypatch, capsys):
    whole = stream.stream

    def stopped(*arguments, **options):
        for n, ids in enumerate(whole(*arguments, **options, steps=2)):
            assert n < 2
            if n == 1:
                signal.raise_signal(signal.SIGTERM)
            yield ids
    monkeypatch.setattr(stream, 'stream', stopped)
    assert here(talks(tmp_path), '--stop_after', 6, '--sample_every', 2, '--sample_num', 2) == 128 + signal.SIGTERM
    out = capsys.readouterr().out
    assert re.search(r'\n\[1 .*\nGenerating samples...\ninterrupted\nSaving .*model-2\n\Z', out)
    assert not list((tmp_path / 'samples').glob('*/*'))


def test_what_was_held_out_stays_so(here, tmp_path):
    here(talks(tmp_path), '--stop_after', 3)
    with pytest.raises(UsageError, match='was trained with 0 of the dataset held out .* now that is 0.05'):
        here(talks(tmp_path), '--stop_after', 6, '--val_every', 2, '--val_batch_count', 1)
    here(talks(tmp_path), '--stop_after', 6, '--val_every', 2, '--val_batch_count', 1, '--val_dataset', VALIDATION)
    here(talks(tmp_path), '--stop_after', 6, '--val_every', 2, '--val_batch_count', 1, '--allow_change')


def test_dropout_goes_on_without_a_seed(here, tmp_path):
    path, run = talks(tmp_path), tmp_path / 'runs' / 'run1'
    here(path, '--stop_after', 7, '--save_every', 4, '--dropout', 0.3)
    straight = scalars(run)['loss']
    here(path, '--stop_after', 8, '--dropout', 0.3, '--restore_from', run / 'model-4')
    again = scalars(run)['loss']
    assert [again[step + 1] for step in (4, 5, 6)] == [straight[step] for step in (4, 5, 6)]


@pytest.mark.parametrize('flags, words', [
    (['--freeze_layers', 2, '--only_train_transformer_layers'], 'leave nothing to train'), (['--freeze_layers', 3], 'this model has 2 layers'),
    (['--encoding', 'foo'], "no encoding 'foo'"), (['--encoding', 'rot13'], "no encoding 'rot13'"), (['--restore_from', 'best'], 'has no best checkpoint yet')], ids=range(5))
def test_what_cannot_be_is_told_before_the_first_step(here, tmp_path, flags, words):
    with pytest.raises(UserError, match=words):
        here(talks(tmp_path), '--stop_after', 3, *flags)
    assert not (tmp_path / 'runs').exists()


def test_flags_that_change_nothing_are_told(here, tmp_path, capsys):
    here(talks(tmp_path), '--val_dataset', talks(tmp_path), '--max_turns', 2, '--stop_after', 2)
    said = capsys.readouterr().out
    assert '--val_dataset changes nothing without --val_every.\n' in said and '--max_turns changes nothing without --windows turns.\n' in said


def test_new_tokens_must_be_learnt(here, tmp_path):
    for style in ('tokens', 's'):
        for flag, *number in (('--only_train_transformer_layers',), ('--freeze_layers', 1)):
            with pytest.raises(UsageError, match=f'the style "{style}" brings new tokens, .*leave out {flag}'):
                here(write_talks(tmp_path, style), flag, *number, '--stop_after', 2)
    assert not (tmp_path / 'runs').exists()
    here(write_talks(tmp_path, 'dialogpt'), '--only_train_transformer_layers', '--stop_after', 2)       # its mark is GPT-2's own
    here(write_talks(tmp_path, 's'), '--run_name', 'run2', '--stop_after', 2)
    here(write_talks(tmp_path, 's'), '--run_name', 'run2', '--stop_after', 4, '--only_train_transformer_layers')        # learnt by now
    assert note(tmp_path / 'runs' / 'run1')[1] == {'style': 'dialogpt', 'speakers': ['B', 'A'], 'length': 6}


def test_who_cannot_be_learnt(here, tmp_path):
    (tmp_path / 'plain.txt').write_text('Just a text, again and again. ' * 20)
    for path, flags, words in ((write_talks(tmp_path, 'name'), ['--learn_from', 'Lena'], 'nobody in the dataset is called Lena; there are Mara, Theo'),
                               (tmp_path / 'plain.txt', ['--learn_from', 'Mara'], '--learn_from needs to know who speaks'),
                               (tmp_path / 'plain.txt', ['--windows', 'turns'], '--windows turns needs to know who speaks')):
        with pytest.raises(UserError, match=words):
            here(path, *flags, '--stop_after', 2)
    with pytest.raises(UserError, match='tokens.txt is in the style "tokens", whose special tokens the model does not have: write --val_dataset in the style'):
        here(tmp_path / 'name.txt', '--val_dataset', write_talks(tmp_path, 'tokens'), '--val_every', 1, '--stop_after', 2)
    with pytest.raises(UserError, match='--learn_from needs'):
        here(tmp_path / 'name.txt', '--val_dataset', tmp_path / 'plain.txt', '--val_every', 1, '--stop_after', 2, '--learn_from', 'Mara')
    assert not (tmp_path / 'runs').exists()


def test_show_batch(here, tmp_path, demo_models, capsys, monkeypatch):
    """Green on a terminal, in brackets elsewhere; nothing is written."""
    text = write_talks(tmp_path, 'name', times=1)
    flags = ['--windows', 'turns', '--learn_from', 'Mara', '--show_batch', '--batch_size', 12]
    here(text, *flags)
    head, *windows = capsys.readouterr().out.split('\n======== WINDOW ')
    assert 'A batch of 12 windows, ' in head and len(windows) == 12
    n = int(re.search(r'(\d+) of \d+ tokens learnt:', head)[1])
    seen = {window.split('========\n')[1].removesuffix('\n') for window in windows}
    first, second = 'Theo: hi mara\u21b5\nMara:[[ hello theo\u21b5\nTheo]]', '<|endoftext|>Mara:[[ are you up\u21b5\nTheo]]'
    assert seen == {first, second, first + ': how are you\u21b5\nMara:[[ good\u21b5\n and you\u21b5\n<|endoftext|>]]', second + ': yes\u21b5\nMara:[[ tea?\u21b5\n<|endoftext|>]]'}
    enc = encoder.get_encoder('tiny', demo_models)
    learnt = [piece.replace('\u21b5', '') for window in windows for piece in re.findall(r'\[\[(.*?)\]\]', window, re.S)]
    assert n == sum(len(enc.encode(piece.removesuffix('<|endoftext|>'))) + piece.endswith('<|endoftext|>') for piece in learnt)
    assert not (tmp_path / 'runs').exists()
    monkeypatch.setattr(os, 'isatty', lambda descriptor: True)
    monkeypatch.delenv('NO_COLOR')
    here(text, *flags)
    assert '\nMara:\033[32m hello theo\u21b5\nTheo\033[0m' in capsys.readouterr().out
    here(text, '--show_batch')                                          # everything but the first token, which nothing predicts
    assert re.search(r'(?s)WINDOW 1 ========\n[^\033]+\033\[32m[^\033]+\033\[0m\n$', capsys.readouterr().out)


# a corpus cut where learning begins and ends, what is learnt in brackets
CORPUS = {
    ('name', 'Mara'): ['Theo: hi mara\nMara:', '[ hello theo\n', '[Theo', ': how are you\nMara:', '[ good\n and you\n', '[<|endoftext|>',
                       'Mara:', '[ are you up\n', '[Theo', ': yes\nMara:', '[ tea?\n', '[<|endoftext|>'],
    ('name', 'replies'): ['Theo: hi mara\nMara:', '[ hello theo\n', '[Theo', ':', '[ how are you\n', '[Mara', ':', '[ good\n and you\n', '[<|endoftext|>',
                          'Mara: are you up\nTheo:', '[ yes\n', '[Mara', ':', '[ tea?\n', '[<|endoftext|>'],
    ('dialogpt', 'B'): ['hi mara', '<|endoftext|>', '[hello theo', '[<|endoftext|>', 'how are you', '<|endoftext|>', '[good\n and you', '[<|endoftext|>', '[<|endoftext|>',
                        'yes', '<|endoftext|>', '[tea?', '[<|endoftext|>', '[<|endoftext|>'],
    ('tokens', '<sp2>'): ['<bos>', '<sp1>', ' hi mara', '<sp2>', '[ hello theo', '[<sp1>', ' how are you', '<sp2>', '[ good\n and you', '[<eos>',
                          '<bos>', '<sp2>', '[ are you up', '[<sp1>', ' yes', '<sp2>', '[ tea?', '[<eos>'],
}


@pytest.mark.parametrize('style, who', list(CORPUS), ids=str)
def test_the_loss_is_that_of_the_learnt_words_alone(tmp_path, demo_models, style, who):
    """The whole corpus in one window: the mean of the losses in brackets, picked from the model's logits."""
    path = write_talks(tmp_path, style, times=1)
    if style == 'dialogpt':                             # which has the speakers take turns from A on: an empty one of Theo's, for Mara to begin
        path.write_text(path.read_text().replace('are you up', '<|endoftext|>are you up'), encoding='utf-8')
    loaded = dataset.load_corpus(encoder.get_encoder('tiny', demo_models), str(path))
    ids, learnt = [], []
    for piece in CORPUS[style, who]:
        piece, on = piece.removeprefix('['), piece.startswith('[')
        made = [loaded.enc.special_tokens[piece]] if piece in loaded.enc.special_tokens else loaded.enc.encode(piece)
        ids, learnt = ids + made, learnt + [on] * len(made)
    assert loaded.chunks[0].tolist() == ids
    hparams, params = checkpoint.load('tiny', demo_models)
    hparams, params = model.extended(hparams, params, loaded.enc.n_vocab, [loaded.enc.special_tokens[name] for name in dialogue.get_style(style).type_tokens])
    params['wte'].assign(10 * params['wte'])
    logits = model.model(hparams, params, np.array([ids], np.int32))['logits'].numpy()[0].astype(np.float64)
    losses = [np.log(np.exp(logits[i - 1]).sum()) - logits[i - 1, ids[i]] for i in np.flatnonzero(learnt)]
    assert len(losses) > 12 and np.ptp(losses) > 1
    batches = Batches(loaded.sampler(0, learn_from=who), 2, len(ids), hparams.n_vocab)
    assert trainer.Trainer(hparams, params).validate(batches, 1)[0] == pytest.approx(np.mean(losses), abs=1e-4)


# ---- what fits, what is held out, what is kept

def talks(tmp_path):
    return write_talks(tmp_path, 'name', times=12)


def test_fit_changes_what_does_not_fit_and_says_so(here, tmp_path, monkeypatch, capsys):
    text, flags = talks(tmp_path), ('--batch_size', 8, '--stop_after', 2)
    needed = plan.Plan(TINY, 8, 64, n_trained=plan.n_params(TINY)).bytes()
    monkeypatch.setattr(plan, 'memory', lambda: needed - 1e5)
    here(text, *flags)
    assert re.search(r'This machine has 0\.\d GB of memory, and a step needs about 0\.\d GB: --memory_saving_gradients would need 0\.\d GB; --fit does that\.\n', capsys.readouterr().out)
    here(text, *flags, '--fit', '--run_name', 'run2')
    assert 'so --fit makes it --memory_saving_gradients, which needs' in capsys.readouterr().out
    assert json.loads((tmp_path / 'runs' / 'run2' / 'settings.json').read_text())['arguments']['memory_saving_gradients'] is True
    monkeypatch.setattr(plan, 'memory', lambda: 1e8)
    with pytest.raises(UserError, match='even small steps with adafactor would not fit: train adapters .--lora_rank 8.'):
        here(text, *flags, '--fit', '--run_name', 'run3')


def test_adapters_are_trained_saved_resumed_and_told(here, tmp_path, demo_models, capsys):
    text, flags = talks(tmp_path), ('--lora_rank', 2, '--learning_rate', 1e-2)
    here(text, *flags, '--stop_after', 10, '--run_name', 'straight')
    here(text, *flags, '--stop_after', 4)
    assert 'Training adapters of rank 2, alpha 4 on attn/c_attn' in capsys.readouterr().out
    here(text, '--learning_rate', 1e-2, '--stop_after', 11)                                      # what it trains, the run knows
    assert 'Training adapters of rank 2' in capsys.readouterr().out
    straight, stopped = (list(scalars(tmp_path / 'runs' / name)['loss'].values()) for name in ('straight', 'run1'))
    assert stopped == straight and straight[-1] < straight[0]
    bundle = tf.train.load_checkpoint(str(tmp_path / 'runs' / 'run1' / 'model-11')).get_variable_to_shape_map()
    assert bundle and all('lora_' in name for name in bundle)
    merged, base = weights(tmp_path / 'runs' / 'run1'), weights(os.path.join(demo_models, 'tiny'))
    assert {name for name in base if not (merged[name] == base[name]).all()} == {name for name in base if name.endswith('/w')}
    with pytest.raises(UsageError, match='run1 trains adapters alone: leave out --freeze_layers'):
        here(text, '--freeze_layers', 1, '--stop_after', 14)
    with pytest.raises(UsageError, match='--lora_rank 64 is larger than the smaller side of h0/attn/c_attn/w, which is 32 x 96'):
        here(text, '--lora_rank', 64, '--run_name', 'run2', '--stop_after', 2)
    with pytest.raises(UsageError, match='--lora_rank 2 trains adapters of a model that can speak already, not of random weights'):
        here(text, '--lora_rank', 2, '--run_name', 'run2', '--restore_from', 'scratch', '--stop_after', 2)


def test_the_best_checkpoint_is_kept_and_training_stops_early(here, tmp_path, capsys):
    """A learning rate far too high: the first validation is the best, and the third after it the last."""
    flags, run = ('--learning_rate', 3, '--optimizer', 'sgd', '--val_every', 2, '--val_batch_count', 2, '--early_stop', 3, '--stop_after', 40), tmp_path / 'runs' / 'run1'
    here(talks(tmp_path), *flags)
    out, before = capsys.readouterr().out, tree(run)
    losses = {int(step): float(loss) for step, loss in re.findall(r'^\[(\d+) .*validation loss = (.*)$', out, re.M)}
    best = min(losses, key=losses.get)
    assert list(losses)[-1] - best in (5, 6) and 'stopped early' in out and f'Saving {tmp_path}/runs/run1/model-{list(losses)[-1]}' in out
    if best > 1:
        assert checkpoint.latest(str(run / 'best')).endswith(f'model-{best}')
    ended = f'at step {best}: stopped early; ' + (f'that checkpoint is in {run}/best' if best > 1 else 'that is the model it began with')
    assert f'{ended}\n' in out
    here(talks(tmp_path), *flags)                       # the same command again
    out = capsys.readouterr().out
    assert out.endswith(f'{ended}; a larger --early_stop goes on.\n') and 'Training...' not in out and tree(run) == before


def test_a_part_is_held_out_and_never_trained_on(here, tmp_path, monkeypatch):
    seen = []
    sampler = dataset.Loaded.sampler
    monkeypatch.setattr(dataset.Loaded, 'sampler', lambda self, *args, **options: seen.append(self) or sampler(self, *args, **options))
    here(talks(tmp_path), '--val_every', 2, '--val_batch_count', 1, '--val_share', 0.2, '--stop_after', 3)
    training, held_out = seen
    assert 0.1 < sum(map(len, held_out.chunks)) / sum(map(len, training.chunks + held_out.chunks)) < 0.3


@pytest.mark.parametrize('flags, words', [
    (['--lora_rank', '4', '--freeze_layers', '1'], '--lora_rank 4 trains adapters alone: leave out --freeze_layers'), (['--lora_alpha', '8'], '--lora_alpha 8 needs adapters'),
    (['--lora_targets', 'attn'], '--lora_targets attn needs adapters'), (['--seed', str(1 << 63)], '--seed 9223372036854775808 is out of range: a whole number from 0 to 2^63 - 1'),
    (['--early_stop', '3'], '--early_stop 3 needs validations: give --val_every')])
def test_settings_that_contradict_each_other(flags, words, tmp_path):
    result = run_script('train.py', '--dataset', tmp_path, *flags)
    assert result.returncode == 2 and words in result.stderr


def test_half_precision_and_dropout_from_the_command_line(here, tmp_path):
    here(talks(tmp_path), '--precision', 'bfloat16', '--dropout', 0.1, '--label_smoothing', 0.1, '--freeze_layers', 1, '--optimizer', 'adafactor', '--learning_rate', 1e-2, '--stop_after', 12)
    losses = list(scalars(tmp_path / 'runs' / 'run1')['loss'].values())
    assert losses[-1] < losses[0]

"""Weights in and out, against TensorFlow 1's own Saver: folders of OpenAI's, of the forks, of ours; damage; kill -9."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from reference import Reference, save_rough

from src import checkpoint, model
from src.console import UserError
from src.model import HParams

SMALL = HParams(n_vocab=31, n_ctx=8, n_embd=6, n_head=2, n_layer=2)
X = np.random.default_rng(0).integers(SMALL.n_vocab, size=[2, 8])
DATA = '.data-00000-of-00001'


@pytest.fixture(scope='module')
def params():
    return model.init_params(SMALL, seed=1)


def step_params(step, hparams=SMALL):
    """Weights that all carry one number."""
    return model.nested({name: tf.Variable(tf.fill(shape, float(step))) for name, shape in model.shapes(hparams).items()})


def steps_in(params):
    """The numbers that weights carry: one, when they were saved together."""
    return {float(value) for variable in model.flat(params).values() for value in np.unique(variable.numpy())}


def save_steps(folder, *steps, state=False):
    for step in steps:
        checkpoint.save(str(folder), SMALL, step_params(step), step, {'step': tf.constant(step)} if state else None)


def equal(ours, theirs):
    """Whether two nested dicts of weights are the same, bit by bit."""
    ours, theirs = model.flat(ours), model.flat(theirs)
    return ours.keys() == theirs.keys() and all((ours[name].numpy() == theirs[name].numpy()).all() for name in ours)


def names(folder):
    return sorted(os.listdir(folder))


# ---- the Saver of TensorFlow 1 reads ours, and we read its

def test_the_original_saver_restores_what_we_write(tmp_path):
    params, prefix = save_rough(tmp_path, SMALL)
    assert names(tmp_path) == ['checkpoint', 'hparams.json', 'model.ckpt' + DATA, 'model.ckpt.index']
    logits, present = Reference(SMALL).restore(prefix).run(X)
    out = model.model(SMALL, params, X)
    np.testing.assert_allclose(out['logits'], logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(out['present'], present, rtol=0, atol=1e-4)


def test_a_bundle_holds_the_weights_in_float32_and_nothing_else(tmp_path, params):
    reader = tf.train.load_checkpoint(checkpoint.save(str(tmp_path), SMALL, params))
    assert reader.get_variable_to_shape_map() == {'model/' + name: shape for name, shape in model.shapes(SMALL).items()}
    assert set(reader.get_variable_to_dtype_map().values()) == {tf.float32}


def test_we_load_a_forks_run_with_its_adam_slots_and_global_step(tmp_path):
    """As the forks' train.py leaves checkpoint/run1: no hparams.json, more variables than the model's, absolute paths."""
    fork = Reference(SMALL, tf.compat.v1.train.AdamOptimizer(1e-2))
    fork.train([X, X])
    fork.save(tmp_path / 'model', step=2)
    there = tf.train.load_checkpoint(str(tmp_path / 'model-2')).get_variable_to_shape_map()
    assert 'global_step' in there and 'model/h0/attn/c_attn/w/Adam_1' in there

    hparams, params = checkpoint.load(str(tmp_path), hparams=SMALL)
    assert hparams == SMALL
    weights = fork.weights()
    assert {'model/' + name for name in model.flat(params)} == set(weights)
    assert all((value.numpy() == weights['model/' + name]).all() for name, value in model.flat(params).items())
    np.testing.assert_allclose(model.model(SMALL, params, X)['logits'], fork.run(X)[0], rtol=0, atol=1e-4)


def test_golden_weights_survive_a_save_bit_by_bit(golden, tmp_path):
    hparams, params = checkpoint.load(golden)
    checkpoint.save(str(tmp_path), hparams, params, 7)
    assert equal(checkpoint.load(str(tmp_path))[1], params)


# ---- names

def test_save_names_the_bundle_after_its_step(tmp_path, params):
    assert checkpoint.save(str(tmp_path / 'run'), SMALL, params, 12) == str(tmp_path / 'run' / 'model-12')
    assert names(tmp_path / 'run') == ['checkpoint', 'hparams.json', 'model-12' + DATA, 'model-12.index']
    assert tf.train.latest_checkpoint(str(tmp_path / 'run')) == str(tmp_path / 'run' / 'model-12')
    assert (tmp_path / 'run' / 'checkpoint').read_text() == 'model_checkpoint_path: "model-12"\nall_model_checkpoint_paths: "model-12"\n'
    assert HParams.read(str(tmp_path / 'run')) == SMALL


def test_tensorflow_reads_the_list_of_checkpoints(tmp_path):
    save_steps(tmp_path, 100, 200, 300)
    state = tf.train.get_checkpoint_state(str(tmp_path))
    assert state.model_checkpoint_path == str(tmp_path / 'model-300')
    assert list(state.all_model_checkpoint_paths) == [str(tmp_path / f'model-{n}') for n in (100, 200, 300)]


def test_load_by_name_folder_and_prefix(tmp_path, params):
    folder = tmp_path / 'models' / 'mine'
    checkpoint.save(str(folder), SMALL, params, 5)
    checkpoint.save(str(folder), SMALL, step_params(6), 6)
    models = str(tmp_path / 'models')
    assert checkpoint.resolve('mine', models) == (str(folder), str(folder / 'model-6'))
    assert checkpoint.resolve(str(folder)) == (str(folder), str(folder / 'model-6'))
    assert checkpoint.resolve(str(folder / 'model-5')) == (str(folder), str(folder / 'model-5'))
    assert steps_in(checkpoint.load('mine', models)[1]) == {6}
    assert steps_in(checkpoint.load(str(folder))[1]) == {6}
    assert equal(checkpoint.load(str(folder / 'model-5'))[1], params)


def test_a_prefix_in_the_current_folder(tmp_path, params, monkeypatch):
    checkpoint.save(str(tmp_path), SMALL, params, 5)
    monkeypatch.chdir(tmp_path)
    assert checkpoint.resolve('model-5') == ('.', 'model-5')
    assert equal(checkpoint.load('model-5')[1], params)


@pytest.mark.parametrize('asked, there', [('117M', '124M'), ('345M', '355M'), ('124M', '124M'), ('117M', '117M')])
def test_old_names_of_the_models(tmp_path, params, asked, there):
    checkpoint.save(str(tmp_path / there), SMALL, params)
    assert checkpoint.resolve(asked, str(tmp_path)) == (str(tmp_path / there), str(tmp_path / there / 'model.ckpt'))


@pytest.mark.parametrize('where', ['/home/jane/gpt-2/checkpoint/run1/model-500', r'C:\\Users\\Jane\\gpt-2\\checkpoint\\run1\\model-500', 'model-500'])
def test_paths_of_another_machine_in_the_file_checkpoint(tmp_path, where):
    save_steps(tmp_path, 500)
    (tmp_path / 'checkpoint').write_text(f'model_checkpoint_path: "{where}"\nall_model_checkpoint_paths: "{where}"\n'
                                         'all_model_checkpoint_timestamps: 1552674000.5\nlast_preserved_timestamp: 1552670000.0\n')
    assert checkpoint.latest(str(tmp_path)) == str(tmp_path / 'model-500')
    assert steps_in(checkpoint.load(str(tmp_path))[1]) == {500}


# ---- what is kept

def test_the_five_newest_are_kept_and_nothing_else_is_touched(tmp_path):
    others = {'model-99.txt': 'mine', 'model-98.index': 'not in the list', 'model-98' + DATA: 'not in the list', 'notes': 'mine',
              'state-97.index': 'mine', 'encoder.json': '{}'}
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    (tmp_path / 'best').mkdir()
    (tmp_path / 'best' / 'model-1.index').write_text('mine')
    save_steps(tmp_path, *range(1, 9))
    assert set(names(tmp_path)) == set(others) | {'best', 'checkpoint', 'hparams.json'} | {
        f'model-{n}{part}' for n in range(4, 9) for part in (DATA, '.index')}
    assert all((tmp_path / name).read_text() == text for name, text in others.items())
    assert names(tmp_path / 'best') == ['model-1.index']
    assert [os.path.basename(p) for p in checkpoint.listed(str(tmp_path))] == [f'model-{n}' for n in range(4, 9)]
    assert steps_in(checkpoint.load(str(tmp_path))[1]) == {8}
    assert steps_in(checkpoint.load(str(tmp_path / 'model-4'))[1]) == {4}


def test_keep(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(str(tmp_path), SMALL, step_params(step), step, keep=2)
    assert [name for name in names(tmp_path) if name.endswith('.index')] == ['model-2.index', 'model-3.index']


def test_a_model_put_beside_a_runs_checkpoints_is_loaded_by_its_own_list(tmp_path):
    """`cp checkpoint/run1/* models/124M/`, as it always was: the run's list replaces OpenAI's, whose bundle stays."""
    checkpoint.save(str(tmp_path / '124M'), SMALL, step_params(0))
    save_steps(tmp_path / 'run1', 10, 20)
    shutil.copytree(tmp_path / 'run1', tmp_path / '124M', dirs_exist_ok=True)
    assert steps_in(checkpoint.load('124M', str(tmp_path))[1]) == {20}
    assert 'model.ckpt.index' in names(tmp_path / '124M')


def test_a_step_saved_again_is_the_newest_and_listed_once(tmp_path):
    save_steps(tmp_path, 1, 2, 3)
    checkpoint.save(str(tmp_path), SMALL, step_params(22), 2)
    assert [os.path.basename(p) for p in checkpoint.listed(str(tmp_path))] == ['model-1', 'model-3', 'model-2']
    assert steps_in(checkpoint.load(str(tmp_path))[1]) == {22}


def test_state_is_saved_beside_and_goes_with_its_checkpoint(tmp_path):
    save_steps(tmp_path, *range(1, 8), state=True)
    assert [name for name in names(tmp_path) if name.startswith('state')] == [f'state-{n}{part}' for n in range(3, 8) for part in (DATA, '.index')]
    for step in (3, 7):
        assert checkpoint.read_state(str(tmp_path / f'model-{step}')).get_tensor('step') == step
    assert checkpoint.read_state(str(tmp_path / 'model-2')) is None


def test_a_checkpoint_without_state_has_none(tmp_path, params):
    assert checkpoint.read_state(checkpoint.save(str(tmp_path), SMALL, params, 3)) is None


def test_counter(tmp_path):
    assert checkpoint.read_counter(str(tmp_path)) == 0
    checkpoint.write_counter(str(tmp_path), 250)
    assert (tmp_path / 'counter').read_bytes() == b'250\n'
    assert checkpoint.read_counter(str(tmp_path)) == 250
    (tmp_path / 'counter').write_text('12a\n')
    with pytest.raises(UserError, match=r"counter holds '12a'"):
        checkpoint.read_counter(str(tmp_path))


def test_dialogue_json(tmp_path):
    assert checkpoint.read_dialogue(str(tmp_path)) is None
    checkpoint.write_dialogue(str(tmp_path), {'style': 'name', 'speakers': ['Mara', 'Théo 🙂']})
    assert checkpoint.read_dialogue(str(tmp_path)) == {'style': 'name', 'speakers': ['Mara', 'Théo 🙂']}
    for text in ('{', '[]', '{"style": "name"}', '{"style": 1, "speakers": []}', '{"style": "name", "speakers": [1]}'):
        (tmp_path / 'dialogue.json').write_text(text)
        with pytest.raises(UserError, match='dialogue.json is damaged'):
            checkpoint.read_dialogue(str(tmp_path))


def test_the_vocabulary_is_copied_and_a_folder_onto_itself_is_left(tmp_path):
    (tmp_path / 'model').mkdir()
    (tmp_path / 'model' / 'encoder.json').write_text('{"a": 0}')
    (tmp_path / 'model' / 'vocab.bpe').write_text('#version: 0.2\n')
    checkpoint.copy_vocabulary(str(tmp_path / 'model'), str(tmp_path / 'run'))
    checkpoint.copy_vocabulary(str(tmp_path / 'run'), str(tmp_path / 'run'))
    assert names(tmp_path / 'run') == ['encoder.json', 'vocab.bpe']
    assert (tmp_path / 'run' / 'encoder.json').read_text() == '{"a": 0}'


def test_the_vocabulary_of_a_run_has_its_special_tokens(tmp_path):
    for name in ('model', 'run'):
        (tmp_path / name).mkdir()
    (tmp_path / 'model' / 'encoder.json').write_text('{"a": 0}')
    (tmp_path / 'model' / 'vocab.bpe').write_text('#version: 0.2\n')
    model_folder, run = str(tmp_path / 'model'), str(tmp_path / 'run')
    for folder in (model_folder, run):                                  # at the first save and the next
        checkpoint.copy_vocabulary(folder, run, {'<s>': 1, '</s>': 2})
        assert json.loads((tmp_path / 'run' / 'encoder.json').read_text()) == {'a': 0, '<s>': 1, '</s>': 2}
    written = os.stat(tmp_path / 'run' / 'encoder.json').st_mtime_ns
    checkpoint.copy_vocabulary(run, run, {'<s>': 1})                    # a run that goes on: it has them
    assert os.stat(tmp_path / 'run' / 'encoder.json').st_mtime_ns == written
    checkpoint.copy_vocabulary(run, run, {'<bos>': 3})
    assert json.loads((tmp_path / 'run' / 'encoder.json').read_text()) == {'a': 0, '<s>': 1, '</s>': 2, '<bos>': 3}
    assert (tmp_path / 'model' / 'encoder.json').read_text() == '{"a": 0}'
    checkpoint.copy_vocabulary(model_folder, run)                       # made anew, from the model
    assert (tmp_path / 'run' / 'encoder.json').read_text() == '{"a": 0}'


def test_no_dialogue_takes_the_note_of_one_away(tmp_path):
    known = {'style': 'name', 'speakers': ['Mära'], 'learnt': 'Mära', 'last_time': 5}
    checkpoint.write_dialogue(str(tmp_path), known)
    assert checkpoint.read_dialogue(str(tmp_path)) == known and 'Mära' in (tmp_path / 'dialogue.json').read_text(encoding='utf-8')
    for _ in range(2):
        checkpoint.write_dialogue(str(tmp_path), None)
        assert os.listdir(tmp_path) == [] and checkpoint.read_dialogue(str(tmp_path)) is None


# ---- what does not fit, what is damaged

def rewrite(prefix, change):
    """The bundle's tensors through `change`, written back."""
    reader = tf.train.load_checkpoint(prefix)
    tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    change(tensors)
    with checkpoint.staged_bundle(prefix, tensors) as put:
        put()


def complaint(*arguments, **options):
    """The sentence that load stops with."""
    with pytest.raises(UserError) as caught:
        checkpoint.load(*arguments, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_a_missing_variable_is_named(tmp_path, params):
    prefix = checkpoint.save(str(tmp_path), SMALL, params, 3)
    rewrite(prefix, lambda tensors: tensors.pop('model/h1/ln_2/g'))
    said = complaint(str(tmp_path))
    assert 'h1/ln_2/g: the model needs [6], the checkpoint has none' in said and prefix in said


def test_another_shape_is_told_with_both(tmp_path, params):
    prefix = checkpoint.save(str(tmp_path), SMALL, params, 3)
    rewrite(prefix, lambda tensors: tensors.update({'model/h0/mlp/c_fc/w': np.zeros([1, 6, 25], np.float32)}))
    said = complaint(str(tmp_path))
    assert 'h0/mlp/c_fc/w: the model needs [1, 6, 24], the checkpoint has [1, 6, 25]' in said


def test_another_vocabulary_is_told_with_both(tmp_path, params):
    checkpoint.save(str(tmp_path), SMALL, params, 3)
    (tmp_path / 'hparams.json').write_text(HParams(n_vocab=50257, n_ctx=8, n_embd=6, n_head=2, n_layer=2).to_json())
    assert 'wte: the model needs [50257, 6], the checkpoint has [31, 6]' in complaint(str(tmp_path))


def test_fewer_layers_than_the_checkpoint_has_is_no_fit_either(tmp_path, params):
    """With n_layer 1 every variable of the model is in the file of two layers, yet the text it makes is of neither."""
    checkpoint.save(str(tmp_path), SMALL, params, 3)
    (tmp_path / 'hparams.json').write_text(HParams(n_vocab=31, n_ctx=8, n_embd=6, n_head=2, n_layer=1).to_json())
    assert 'h1/' in complaint(str(tmp_path))


def test_a_bundle_of_something_else(tmp_path):
    (tmp_path / 'hparams.json').write_text(SMALL.to_json())
    with checkpoint.staged_bundle(str(tmp_path / 'other'), {'dense/kernel': tf.zeros([2, 2])}) as put:
        put()
    said = complaint(str(tmp_path / 'other'))
    assert 'wte: the model needs [31, 6], the checkpoint has none' in said and 'more' in said


@pytest.fixture(scope='module')
def bundle(tmp_path_factory, params):
    """The bytes of a good index and of its data."""
    prefix = checkpoint.save(str(tmp_path_factory.mktemp('bundle')), SMALL, params)
    with open(prefix + '.index', 'rb') as index, open(prefix + DATA, 'rb') as data:
        return index.read(), data.read()


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]


DAMAGES = {
    'data cut in the middle': lambda index, data: (index, data[:len(data) // 2]),
    'data lacks its last byte': lambda index, data: (index, data[:-1]),
    'data empty': lambda index, data: (index, b''),
    'a bit of data flipped': lambda index, data: (index, flip(data, len(data) // 2)),
    'index cut in the middle': lambda index, data: (index[:len(index) // 2], data),
    'index lacks its last byte': lambda index, data: (index[:-1], data),
    'index empty': lambda index, data: (b'', data),
    'a bit of index flipped': lambda index, data: (flip(index, 40), data),
    'index garbage': lambda index, data: (random.Random(0).randbytes(len(index)), data),
    'index a web page': lambda index, data: (b'<html><title>404 Not Found</title></html>', data),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_bundle_is_named(tmp_path, bundle, damage):
    (tmp_path / 'hparams.json').write_text(SMALL.to_json())
    index, data = DAMAGES[damage](*bundle)
    (tmp_path / 'model-3.index').write_bytes(index)
    (tmp_path / ('model-3' + DATA)).write_bytes(data)
    said = complaint(str(tmp_path / 'model-3'))
    assert str(tmp_path / 'model-3') in said and 'damaged' in said


def test_random_damage_is_a_sentence_or_no_damage_at_all(tmp_path, bundle, params):
    """100 random cuts and flips of either file: load returns the weights it was given, or stops with a UserError."""
    draw = random.Random(5)
    (tmp_path / 'hparams.json').write_text(SMALL.to_json())
    refused = 0
    for _ in range(100):
        files = list(bundle)
        which = draw.randrange(2)
        at = draw.randrange(len(files[which]))
        files[which] = files[which][:at] if draw.random() < 0.5 else flip(files[which], at)
        (tmp_path / 'model-3.index').write_bytes(files[0])
        (tmp_path / ('model-3' + DATA)).write_bytes(files[1])
        try:
            assert equal(checkpoint.load(str(tmp_path / 'model-3'))[1], params)
        except UserError:
            refused += 1
    assert refused > 80                                 # some bits of an index are padding


def test_data_missing(tmp_path, params):
    prefix = checkpoint.save(str(tmp_path), SMALL, params, 3)
    os.remove(prefix + DATA)
    assert 'model-3' + DATA in complaint(prefix)


@pytest.mark.parametrize('text', [None, '', 'garbage \x00\x01', 'model_checkpoint_path: "model-9"\n'])
def test_a_model_folder_without_weights(tmp_path, text):
    folder = tmp_path / 'models' / 'bare'
    folder.mkdir(parents=True)
    (folder / 'hparams.json').write_text(SMALL.to_json())
    if text is not None:
        (folder / 'checkpoint').write_text(text)
    said = complaint('bare', str(tmp_path / 'models'))
    assert str(folder) in said and 'no weights' in said and 'download_model.py' in said


def test_no_such_model_names_those_that_are_there(tmp_path, params):
    checkpoint.save(str(tmp_path / '124M'), SMALL, params)
    checkpoint.save(str(tmp_path / 'mine'), SMALL, params)
    said = complaint('355M', str(tmp_path))
    assert '355M' in said and '124M, mine' in said


def test_a_runs_bundle_without_hparams_json(tmp_path, params):
    prefix = checkpoint.save(str(tmp_path), SMALL, params, 3)
    os.remove(tmp_path / 'hparams.json')
    assert 'hparams.json' in complaint(prefix)
    assert equal(checkpoint.load(prefix, hparams=SMALL)[1], params)


# ---- cut off at any moment

def test_a_half_written_newest_bundle_falls_back_to_the_one_before(tmp_path):
    save_steps(tmp_path, 1, 2, 3)
    os.remove(tmp_path / 'model-3.index')
    assert checkpoint.latest(str(tmp_path)) == str(tmp_path / 'model-2')
    assert steps_in(checkpoint.load(str(tmp_path))[1]) == {2}
    os.remove(tmp_path / ('model-2' + DATA))
    assert steps_in(checkpoint.load(str(tmp_path))[1]) == {1}


def test_a_bundle_that_is_not_yet_in_the_list_is_not_loaded_but_can_be_named(tmp_path):
    save_steps(tmp_path, 1)
    before = (tmp_path / 'checkpoint').read_bytes()
    save_steps(tmp_path, 2)
    (tmp_path / 'checkpoint').write_bytes(before)
    assert steps_in(checkpoint.load(str(tmp_path))[1]) == {1}
    assert steps_in(checkpoint.load(str(tmp_path / 'model-2'))[1]) == {2}


class Cut(BaseException):
    """Stands for the moment of a kill."""


@pytest.mark.parametrize('again', [False, True])
@pytest.mark.parametrize('after', range(11))
def test_cut_between_any_two_renames_or_removals_the_folder_still_loads(tmp_path, monkeypatch, after, again):
    """Stop a save after each of its changes to the folder in turn. again: the step saved is one that the folder already holds,
    as when --restore_from fresh passes the steps of the run before."""
    save_steps(tmp_path, 1, 2, 3, 4, 5, state=True)
    left = after

    def counting(change):
        def wrapped(*arguments):
            nonlocal left
            if left == 0:
                raise Cut
            left -= 1
            return change(*arguments)
        return wrapped

    with monkeypatch.context() as patch:
        for name in ('replace', 'rename', 'remove'):
            patch.setattr(os, name, counting(getattr(os, name)))
        step = 5 if again else 6
        try:
            checkpoint.save(str(tmp_path), SMALL, step_params(60), step, {'step': tf.constant(60)})
        except Cut:
            pass
    prefix = checkpoint.latest(str(tmp_path))
    found, = steps_in(checkpoint.load(str(tmp_path))[1])
    assert found in {1, 2, 3, 4, 5, 60}
    assert checkpoint.read_state(prefix).get_tensor('step') == found    # weights and state of one moment


SAVER = """
    # Told 'FOLDER FIRST_STEP' it forks a child that saves into FOLDER without end, prints its pid, and 'gone' once it is dead.
    # It forks before TensorFlow has started any thread, so that one import serves all children.
    import os, sys
    import tensorflow as tf
    from src import checkpoint, model
    hparams = model.HParams(n_vocab=31, n_ctx=8, n_embd=6, n_head=2, n_layer=2)
    for line in sys.stdin:
        folder, step = line.split()
        child = os.fork()
        if not child:
            step = int(step)
            params = model.nested({name: tf.Variable(tf.zeros(shape)) for name, shape in model.shapes(hparams).items()})
            while True:
                for variable in model.flat(params).values():
                    variable.assign(tf.fill(variable.shape, float(step)))
                checkpoint.save(folder, hparams, params, step, {'step': tf.constant(step)})
                step += 1
        print(child, flush=True)
        os.waitpid(child, 0)
        print('gone', flush=True)
"""


def test_kill_9_during_a_save_leaves_a_whole_checkpoint(tmp_path):
    """15 processes that save without a pause, each killed at a random moment behind its first save."""
    draw, folder = random.Random(time.time_ns()), tmp_path / 'run'
    save_steps(folder, 0, state=True)
    last, prefix = 0, str(folder / 'model-0')
    saver = subprocess.Popen([sys.executable, '-c', textwrap.dedent(SAVER)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {'TF_CPP_MIN_LOG_LEVEL': '3'})
    try:
        for _ in range(15):
            print(folder, last + 1, file=saver.stdin, flush=True)
            child = int(saver.stdout.readline())
            deadline = time.monotonic() + 60
            while checkpoint.latest(str(folder)) == prefix and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.15))
            os.kill(child, signal.SIGKILL)
            assert saver.stdout.readline() == 'gone\n'

            prefix = checkpoint.latest(str(folder))
            step, = steps_in(checkpoint.load(str(folder))[1])           # all variables of one save
            assert prefix == str(folder / f'model-{step:.0f}')
            assert checkpoint.read_state(prefix).get_tensor('step') == step
            assert step > last
            last = int(step)
    finally:
        saver.stdin.close()
        saver.wait(60)
        saver.stdout.close()

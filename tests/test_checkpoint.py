"""Weights in and out, against TensorFlow 1's own Saver: folders of OpenAI's, of the forks, of ours; adapters; the best; damage; kill -9."""
import contextlib
import errno
import json
import os
import random
import resource
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

from src import checkpoint, files, lora, model
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


def test_a_chats_file_in_the_making_is_left(tmp_path):
    """Who begins to talk with a run in training has its weights written beside them."""
    with files.whole(tmp_path / 'int8.tflite', 'w') as file:
        save_steps(tmp_path, 1)
        file.write('whole')
    assert (tmp_path / 'int8.tflite').read_text() == 'whole'


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
    known = {'style': 'name', 'speakers': ['Mära'], 'learnt': 'Mära', 'length': 31, 'last_time': 5}
    checkpoint.write_dialogue(str(tmp_path), known)
    assert checkpoint.read_dialogue(str(tmp_path)) == known and 'Mära' in (tmp_path / 'dialogue.json').read_text(encoding='utf-8')
    for _ in range(2):
        checkpoint.write_dialogue(str(tmp_path), None)
        assert os.listdir(tmp_path) == [] and checkpoint.read_dialogue(str(tmp_path)) is None


# ---- adapters: the run holds them, the base the rest

def adapted(params, number, targets='attn'):
    """The params with adapters that all carry one number."""
    params = lora.add(params, 2, 4, targets)
    for name in lora.names(params):
        model.flat(params)[name].assign(tf.fill(model.flat(params)[name].shape, float(number)))
    return params


@pytest.fixture
def lora_run(tmp_path, params, unflushed):
    """models/small, and checkpoint/run1 with adapters of it at step 5: (their params, the prefix)."""
    prefix = checkpoint.save(str(tmp_path / 'models' / 'small'), SMALL, params)
    run, with_adapters = str(tmp_path / 'checkpoint' / 'run1'), adapted(params, 0.5)
    return with_adapters, checkpoint.save(run, SMALL, with_adapters, 5, base=checkpoint.hold_base(run, prefix))


def test_only_the_adapters_are_saved(tmp_path, lora_run):
    there = tf.train.load_checkpoint(lora_run[1]).get_variable_to_shape_map()
    assert there == {f'model/h{i}/attn/{matrix}/lora_{key}': shape for i in range(2) for matrix, nf in (('c_attn', 18), ('c_proj', 6))
                     for key, shape in (('a', [6, 2]), ('b', [2, nf]), ('scale', []))}
    assert names(tmp_path / 'checkpoint' / 'run1') == ['adapter-5.json', 'checkpoint', 'hparams.json', 'model-5' + DATA, 'model-5.index']
    note = json.loads((tmp_path / 'checkpoint' / 'run1' / 'adapter-5.json').read_text())
    assert note['base'] == '../../models/small/model.ckpt' and len(note['base_sha256']) == 64
    assert os.path.getsize(lora_run[1] + DATA) == 4 * (2 * (12 + 36 + 12 + 12) + 4)


def test_a_run_of_adapters_loads_as_the_plain_model_or_as_it_was_trained(lora_run):
    with_adapters, prefix = lora_run
    hparams, unmerged = checkpoint.load(prefix, merge=False)
    assert hparams == SMALL and equal(unmerged, with_adapters)
    assert not unmerged['h0']['attn']['c_attn']['lora_scale'].trainable
    _, merged = checkpoint.load(os.path.dirname(prefix))
    assert equal(merged, lora.merged(with_adapters)) and model.flat(merged).keys() == model.shapes(SMALL).keys()
    # 2 ranks of 0.5 * 0.5, times alpha / rank = 2
    np.testing.assert_allclose(merged['h1']['attn']['c_proj']['w'], with_adapters['h1']['attn']['c_proj']['w'] + 1, rtol=0, atol=1e-6)
    assert equal(checkpoint.load(prefix, merge=True)[1], merged)


def test_without_adapters_merging_is_nothing(tmp_path, params):
    prefix = checkpoint.save(str(tmp_path), SMALL, params, 3)
    assert equal(checkpoint.load(prefix, merge=False)[1], params) and checkpoint.find_base(prefix).prefix == prefix


def test_new_special_tokens_are_trained_and_saved_with_the_adapters(tmp_path, lora_run, params):
    """A style that brings tokens: wte is longer than the base's, so all of it is the run's own."""
    run = str(tmp_path / 'run2')
    base = checkpoint.hold_base(run, checkpoint.find_base(lora_run[1]).prefix)
    hparams, grown = model.extended(SMALL, params, 33, type_tokens=(31, 32))
    grown = lora.add(grown, 2, 4, 'mlp')
    assert lora.names(grown, base.n_vocab)[0] == 'wte'
    grown['wte'].assign_add(tf.ones([33, 6]))
    prefix = checkpoint.save(run, hparams, grown, 1, base=base)
    there = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    assert there['model/wte'] == [33, 6] and [name for name in there if not lora.is_adapter(name)] == ['model/wte']
    assert checkpoint.load(prefix)[0] == hparams
    assert equal(checkpoint.load(prefix, merge=False)[1], grown) and equal(checkpoint.load(prefix)[1], lora.merged(grown))
    assert checkpoint.find_base(prefix).n_vocab == 31                   # so a resumed run trains wte again


def test_the_fingerprint_is_of_the_weights(tmp_path, params):
    """An index holds a checksum of each variable: equal weights make an equal one, one changed bit another."""
    folders = [str(tmp_path / name) for name in 'abc']
    for folder in folders:
        hparams, changed = SMALL, model.nested(dict(model.flat(params)))
        if folder.endswith('c'):
            value = params['h1']['ln_2']['g'].numpy()
            value.view(np.uint8)[0] ^= 1
            changed['h1']['ln_2']['g'] = tf.Variable(value)
        checkpoint.save(folder, hparams, changed)
    a, b, c = (checkpoint.find_base(os.path.join(folder, 'model.ckpt')).sha256 for folder in folders)
    assert a == b != c


def test_another_base_is_refused_with_both_fingerprints(tmp_path, lora_run):
    before = checkpoint.find_base(lora_run[1]).sha256
    checkpoint.save(str(tmp_path / 'models' / 'small'), SMALL, step_params(1))
    now = checkpoint.find_base(str(tmp_path / 'models' / 'small' / 'model.ckpt')).sha256
    said = complaint(lora_run[1])
    assert before[:12] in said and now[:12] in said and 'another model' in said and str(tmp_path / 'models' / 'small') in said
    assert '"base" into ' + str(tmp_path / 'checkpoint' / 'run1' / 'adapter-5.json') in said


def test_a_base_that_was_moved(tmp_path, lora_run):
    """Without it, a sentence; in models_dir it is found again; the note can tell any other place; another model is not taken for it."""
    with_adapters, prefix = lora_run
    os.makedirs(tmp_path / 'elsewhere')
    os.rename(tmp_path / 'models' / 'small', tmp_path / 'elsewhere' / 'small')
    said = complaint(prefix, str(tmp_path / 'models'))
    assert f'there is no {tmp_path}/models/small/model.ckpt.index' in said and 'adapter-5.json' in said
    assert equal(checkpoint.load(prefix, str(tmp_path / 'elsewhere'), merge=False)[1], with_adapters)
    note = tmp_path / 'checkpoint' / 'run1' / 'adapter-5.json'
    note.write_text(note.read_text().replace('models/', 'elsewhere/'))
    assert equal(checkpoint.load(prefix, merge=False)[1], with_adapters)
    checkpoint.save(str(tmp_path / 'models' / 'small'), SMALL, step_params(1))
    assert equal(checkpoint.load(prefix, str(tmp_path / 'models'), merge=False)[1], with_adapters)


def test_run_and_model_moved_together(tmp_path, lora_run):
    shutil.copytree(tmp_path / 'models', tmp_path / 'usb' / 'models')
    shutil.move(tmp_path / 'checkpoint', tmp_path / 'usb' / 'checkpoint')
    shutil.rmtree(tmp_path / 'models')
    assert equal(checkpoint.load(str(tmp_path / 'usb' / 'checkpoint' / 'run1'), merge=False)[1], lora_run[0])


@pytest.mark.parametrize('text', [None, '', '[]', '{"base": 1, "base_sha256": "00"}', '{"base": "x"}', '{"base": "x", "base_sha256": null}'])
def test_a_note_that_is_no_note(lora_run, text):
    note = os.path.join(os.path.dirname(lora_run[1]), 'adapter-5.json')
    os.remove(note)
    if text is not None:
        with open(note, 'w') as file:
            file.write(text)
    said = complaint(lora_run[1])
    assert note in said and ('is not there' if text is None else 'is damaged') in said


def test_adapters_of_another_shape_are_told(lora_run):
    rewrite(lora_run[1], lambda tensors: tensors.update({'model/h0/attn/c_attn/lora_b': np.zeros([3, 18], np.float32)}))
    assert 'h0/attn/c_attn/lora_b: the model needs [2, 18], the checkpoint has [3, 18]' in complaint(lora_run[1])
    rewrite(lora_run[1], lambda tensors: tensors.pop('model/h0/attn/c_attn/lora_b'))
    assert 'h0/attn/c_attn/lora_b: the model needs [2, 18], the checkpoint has none' in complaint(lora_run[1])


@pytest.mark.parametrize('links', [True, False])
def test_a_base_that_is_a_runs_checkpoint_outlives_it(tmp_path, monkeypatch, links):
    if not links:
        def no_links(source, target):
            raise OSError(errno.EPERM, 'Operation not permitted')
        monkeypatch.setattr(os, 'link', no_links)
    save_steps(tmp_path / 'run0', 1, 2)
    run, start = str(tmp_path / 'run1'), checkpoint.load(str(tmp_path / 'run0' / 'model-1'))[1]
    base = checkpoint.hold_base(run, str(tmp_path / 'run0' / 'model-1'))
    assert os.path.samefile(base.prefix + DATA, tmp_path / 'run0' / ('model-1' + DATA)) == links
    prefix = checkpoint.save(run, SMALL, adapted(start, 0.5), 1, base=base)
    save_steps(tmp_path / 'run0', *range(3, 9))
    assert not os.path.exists(tmp_path / 'run0' / 'model-1.index')
    assert equal(checkpoint.load(prefix, merge=False)[1], adapted(start, 0.5))
    assert checkpoint.hold_base(run, prefix) == base                    # a resumed run holds the same
    branch = checkpoint.hold_base(str(tmp_path / 'run2'), prefix)       # and one that branches off has its own
    shutil.rmtree(run)
    checkpoint.save(str(tmp_path / 'run2'), SMALL, adapted(start, 0.25), 1, base=branch)
    assert equal(checkpoint.load(str(tmp_path / 'run2'), merge=False)[1], adapted(start, 0.25))


def test_training_on_from_adapters_goes_on_with_them_on_the_same_base(tmp_path, lora_run):
    """There is no chain of adapters on adapters: their base is always plain weights."""
    with_adapters, prefix = lora_run
    base = checkpoint.hold_base(str(tmp_path / 'run2'), prefix)
    assert base.prefix == str(tmp_path / 'models' / 'small' / 'model.ckpt')
    params = checkpoint.load(prefix, merge=False)[1]
    assert lora.add(params, 2, 4, 'attn') is params
    with pytest.raises(UserError, match='rank 2, alpha 4 .* rank 1, alpha 4'):
        lora.add(params, 1, 4, 'attn')
    again = checkpoint.save(str(tmp_path / 'run2'), SMALL, params, 9, base=base)
    assert equal(checkpoint.load(again)[1], lora.merged(with_adapters))


def test_notes_go_with_their_checkpoints(tmp_path, lora_run):
    run, base = str(tmp_path / 'checkpoint' / 'run1'), checkpoint.find_base(lora_run[1])
    for step in (6, 7, 8):
        checkpoint.save(run, SMALL, lora_run[0], step, keep=2, base=base)
    assert [name for name in names(run) if name.startswith('adapter')] == ['adapter-7.json', 'adapter-8.json']
    checkpoint.save(run, SMALL, step_params(1), 8, keep=2)              # plain weights again
    assert [name for name in names(run) if name.startswith('adapter')] == ['adapter-7.json']
    assert steps_in(checkpoint.load(run)[1]) == {1}


# ---- the best

def best_loss(run):
    """The validation loss that is noted for the checkpoint in run/best."""
    best = os.path.join(run, 'best')
    with open(os.path.join(best, 'validation.json')) as file:
        return json.load(file)[os.path.basename(checkpoint.latest(best))]


def test_the_best_outlives_the_five_newest_and_is_a_run_folder_itself(tmp_path):
    run = str(tmp_path / 'run')
    for name in ('encoder.json', 'vocab.bpe', 'dialogue.json'):
        os.makedirs(run, exist_ok=True)
        (tmp_path / 'run' / name).write_text(f'"{name}"')
    for step in range(1, 9):
        save_steps(run, step, state=True)
        if step in (2, 3):
            prefix = checkpoint.write_best(run, os.path.join(run, f'model-{step}'), 4 / step)
            assert prefix == os.path.join(run, 'best', f'model-{step}') and best_loss(run) == 4 / step
    assert names(tmp_path / 'run' / 'best') == ['checkpoint', 'dialogue.json', 'encoder.json', 'hparams.json', 'model-3' + DATA, 'model-3.index',
                                                'state-3' + DATA, 'state-3.index', 'validation.json', 'vocab.bpe']
    assert not os.path.exists(os.path.join(run, 'model-3.index'))
    assert checkpoint.resolve(os.path.join(run, 'best')) == (os.path.join(run, 'best'), prefix)
    assert steps_in(checkpoint.load(os.path.join(run, 'best'))[1]) == {3} and steps_in(checkpoint.load(run)[1]) == {8}
    assert checkpoint.read_state(prefix).get_tensor('step') == 3
    assert (tmp_path / 'run' / 'best' / 'encoder.json').read_text() == '"encoder.json"'
    assert json.loads((tmp_path / 'run' / 'best' / 'validation.json').read_text())['model-3'] == 4 / 3


def test_the_best_costs_no_space_while_the_checkpoint_is_there(tmp_path, monkeypatch):
    save_steps(tmp_path, 1)
    (tmp_path / 'best').mkdir()
    for left in ('model-1' + DATA, '.model-1.index.abcd.part'):         # by a process that was killed
        (tmp_path / 'best' / left).write_text('half')
    prefix = checkpoint.write_best(str(tmp_path), str(tmp_path / 'model-1'), 3)
    assert os.path.samefile(prefix + DATA, tmp_path / ('model-1' + DATA)) and not [name for name in names(tmp_path / 'best') if name.endswith('.part')]
    save_steps(tmp_path, 1, 2)                                          # saved anew: the best is what it was then
    assert not os.path.samefile(prefix + DATA, tmp_path / ('model-1' + DATA))

    def no_links(source, target):
        raise OSError(errno.EPERM, 'Operation not permitted')
    monkeypatch.setattr(os, 'link', no_links)
    prefix = checkpoint.write_best(str(tmp_path), str(tmp_path / 'model-2'), 2)
    assert not os.path.samefile(prefix + DATA, tmp_path / ('model-2' + DATA)) and steps_in(checkpoint.load(prefix)[1]) == {2}


def test_the_best_of_adapters_finds_their_base(tmp_path, lora_run):
    run = os.path.dirname(lora_run[1])
    checkpoint.write_best(run, lora_run[1], 3)
    shutil.copytree(tmp_path / 'models', tmp_path / 'usb' / 'models')
    shutil.move(tmp_path / 'checkpoint', tmp_path / 'usb' / 'checkpoint')
    shutil.rmtree(tmp_path / 'models')
    assert equal(checkpoint.load(str(tmp_path / 'usb' / 'checkpoint' / 'run1' / 'best'), merge=False)[1], lora_run[0])


def test_a_damaged_validation_json(tmp_path):
    save_steps(tmp_path, 1)
    checkpoint.write_best(str(tmp_path), str(tmp_path / 'model-1'), 3)
    for text in ('', '[]', '{"model-1": null}'):
        (tmp_path / 'best' / 'validation.json').write_text(text)
        with pytest.raises(UserError, match='validation.json is damaged'):
            checkpoint.write_best(str(tmp_path), str(tmp_path / 'model-1'), 2)


# ---- a full disk

@contextlib.contextmanager
def no_file_above(size):
    """The system's limit on the size of a file stands in for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize('kind', ['weights', 'adapters'])
def test_a_full_disk_leaves_the_older_checkpoints(tmp_path, kind):
    model_folder, run = str(tmp_path / 'model'), str(tmp_path / 'run')
    checkpoint.save(model_folder, SMALL, step_params(0))
    base = checkpoint.hold_base(run, model_folder + '/model.ckpt') if kind == 'adapters' else None
    params = adapted(step_params(0), 0.5) if base else step_params(1)
    checkpoint.save(run, SMALL, params, 1, {'step': tf.constant(1)}, base=base)
    checkpoint.write_best(run, run + '/model-1', 3)
    before = {name: os.path.getmtime(tmp_path / 'run' / name) for name in names(run) if name != 'best'}
    with no_file_above(300), pytest.raises(UserError, match=r'model-2 could not be written \(.* MB free there\): free some space'):
        checkpoint.save(run, SMALL, params, 2, {'step': tf.constant(2)}, base=base)
    assert {name: os.path.getmtime(tmp_path / 'run' / name) for name in names(run) if name != 'best'} == before
    for folder in (run, run + '/best'):
        assert equal(checkpoint.load(folder, merge=False)[1], params)


def test_a_full_disk_leaves_the_former_best(tmp_path, monkeypatch):
    def no_links(source, target):
        raise OSError(errno.EPERM, 'Operation not permitted')
    monkeypatch.setattr(os, 'link', no_links)
    save_steps(tmp_path, 1, 2)
    checkpoint.write_best(str(tmp_path), str(tmp_path / 'model-1'), 3)
    with no_file_above(300), pytest.raises(OSError, match='model-2'):
        checkpoint.write_best(str(tmp_path), str(tmp_path / 'model-2'), 2)
    assert best_loss(str(tmp_path)) == 3 and steps_in(checkpoint.load(str(tmp_path / 'best'))[1]) == {1}
    assert steps_in(checkpoint.load(str(tmp_path))[1]) == {2}


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


@contextlib.contextmanager
def cut_after(changes, monkeypatch):
    """Stop what happens here after so many renames, removals and links."""
    left = changes

    def counting(change):
        def wrapped(*arguments, **options):
            nonlocal left
            if left == 0:
                raise Cut
            left -= 1
            return change(*arguments, **options)
        return wrapped

    with monkeypatch.context() as patch, contextlib.suppress(Cut):
        for name in ('replace', 'rename', 'remove', 'link'):
            patch.setattr(os, name, counting(getattr(os, name)))
        yield


@pytest.fixture
def unflushed(monkeypatch):
    """A cut is no power cut: what was written is there, flushed or not, and on a busy disk flushing takes most of the time."""
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)


@pytest.mark.parametrize('again', [False, True])
@pytest.mark.parametrize('after', range(12))
def test_cut_between_any_two_renames_or_removals_the_folder_still_loads(tmp_path, monkeypatch, unflushed, after, again):
    """Stop a save after each of its changes to the folder in turn. again: the step saved is one that the folder already holds,
    as when --restore_from fresh passes the steps of the run before."""
    save_steps(tmp_path, 1, 2, 3, 4, 5, state=True)
    with cut_after(after, monkeypatch):
        checkpoint.save(str(tmp_path), SMALL, step_params(60), 5 if again else 6, {'step': tf.constant(60)})
    prefix = checkpoint.latest(str(tmp_path))
    found, = steps_in(checkpoint.load(str(tmp_path))[1])
    assert found in {1, 2, 3, 4, 5, 60}
    assert checkpoint.read_state(prefix).get_tensor('step') == found    # weights and state of one moment


@pytest.mark.parametrize('before', ['weights', 'adapters of another model', 'adapters'])
@pytest.mark.parametrize('after', range(13))
def test_cut_while_adapters_are_saved_the_folder_still_loads(tmp_path, monkeypatch, unflushed, after, before):
    """The run held something else at this step: what loads then is whole, weights or adapters with their own base."""
    run, bases = str(tmp_path / 'run'), {}
    for number in (10, 20):
        prefix = checkpoint.save(str(tmp_path / str(number)), SMALL, step_params(number))
        bases[number] = checkpoint.hold_base(run, prefix)
    for step in (1, 2, 3):
        if before == 'weights':
            checkpoint.save(run, SMALL, step_params(step), step)
        else:
            number = 10 if before == 'adapters of another model' else 20
            checkpoint.save(run, SMALL, adapted(step_params(number), step), step, base=bases[number])
    with cut_after(after, monkeypatch):
        checkpoint.save(run, SMALL, adapted(step_params(20), 60), 3, keep=2, base=bases[20])
    numbers = steps_in(checkpoint.load(run, merge=False)[1]) - {2.0}    # lora_scale
    assert numbers in ({'weights': [{3}, set()], 'adapters of another model': [{10, 3}, {10}], 'adapters': [{20, 3}, {20}]}[before] + [{20, 60}])


@pytest.mark.parametrize('again', [False, True])
@pytest.mark.parametrize('after', range(24))
def test_cut_while_the_best_is_written_there_is_the_former_or_the_new_one(tmp_path, monkeypatch, unflushed, after, again):
    run = str(tmp_path)
    save_steps(run, 1, 2, state=True)
    checkpoint.write_best(run, run + '/model-1', 3)
    save_steps(run, 1, state=True)
    checkpoint.save(run, SMALL, step_params(60), 1 if again else 2, {'step': tf.constant(60)})
    with cut_after(after, monkeypatch):
        checkpoint.write_best(run, run + ('/model-1' if again else '/model-2'), 2)
    for _ in range(2):
        found, = steps_in(checkpoint.load(run + '/best')[1])
        assert (found, best_loss(run)) in ((1, 3), (60, 2))
        assert checkpoint.read_state(checkpoint.latest(run + '/best')).get_tensor('step') == found
        prefix = checkpoint.write_best(run, run + ('/model-1' if again else '/model-2'), 2)     # and the next one is written as ever
    assert found == 60 and len([name for name in names(run + '/best') if name.endswith('.index')]) == 2 and prefix == checkpoint.latest(run + '/best')


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

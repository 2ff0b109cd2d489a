"""export_model.py: a folder of its own, which the original's Saver, our scripts, and get_encoder take as a model."""
import json
import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import fails_clearly, run_script
from reference import Reference, rough_params

import export_model
from src import checkpoint, encoder, lora, model, tensors
from src.console import UsageError, UserError

DATA = '.data-00000-of-00001'
X = np.random.default_rng(0).integers(2048, size=[2, 8])


@pytest.fixture
def here(demo_models, tmp_path, monkeypatch):
    """A folder with models/tiny and two runs: `full` with all its weights, `lora` with adapters of tiny. Gives the logits of each."""
    shutil.copytree(demo_models, tmp_path / 'models')
    monkeypatch.chdir(tmp_path)
    hparams, tiny = checkpoint.load('tiny')
    adapted = lora.add(tiny, 4, 8, 'all')
    for name in lora.names(adapted):
        value = model.flat(adapted)[name]
        value.assign(0.3 * np.random.default_rng(1).standard_normal(value.shape))
    checkpoint.save('checkpoint/full', hparams, full := rough_params(hparams), 7, {'step': tf.constant(7)})
    base = checkpoint.hold_base('checkpoint/lora', 'models/tiny/model.ckpt')
    checkpoint.save('checkpoint/lora', hparams, adapted, 7, {'step': tf.constant(7)}, base=base)
    for run in ('checkpoint/full', 'checkpoint/lora'):
        checkpoint.copy_vocabulary('models/tiny', run)
        checkpoint.write_dialogue(run, {'style': 'name', 'speakers': ['Mara', 'Théo']})
    return {run: model.model(hparams, params, X)['logits'].numpy() for run, params in (('tiny', tiny), ('full', full), ('lora', adapted))}


def export(monkeypatch, *flags):
    monkeypatch.setattr(sys, 'argv', ['export_model.py', *flags])
    export_model.main()


@pytest.mark.parametrize('run, flags', [('full', []), ('full', ['--merge']), ('lora', ['--merge'])])
def test_a_plain_model_in_openais_layout(here, monkeypatch, run, flags):
    assert np.abs(here[run] - here['tiny']).max() > 0.01
    export(monkeypatch, '--run_name', run, '--out', 'models/mine', *flags)
    assert sorted(os.listdir('models/mine')) == ['checkpoint', 'dialogue.json', 'encoder.json', 'hparams.json', 'model.ckpt' + DATA, 'model.ckpt.index', 'vocab.bpe']
    hparams = model.HParams.read('models/mine')
    assert tf.train.load_checkpoint('models/mine/model.ckpt').get_variable_to_shape_map() == {
        'model/' + name: shape for name, shape in model.shapes(hparams).items()}
    shutil.rmtree('models/tiny')                        # and it needs no other model
    shutil.rmtree('checkpoint')
    logits, _ = Reference(hparams).restore('models/mine/model.ckpt').run(X)
    np.testing.assert_allclose(logits, here[run], rtol=0, atol=1e-4)
    np.testing.assert_allclose(model.model(*checkpoint.load('mine'), X)['logits'], here[run], rtol=0, atol=1e-5)
    assert checkpoint.read_dialogue('models/mine') == {'style': 'name', 'speakers': ['Mara', 'Théo']}
    assert encoder.get_encoder('mine').decode(encoder.get_encoder('mine').encode('hi Théo')) == 'hi Théo'


def test_adapters_without_merge_stay_adapters(here, monkeypatch, capsys):
    export(monkeypatch, '--run_name', 'lora', '--out', 'models/mine')
    assert 'LoRA adapters of' in (said := capsys.readouterr().out) and 'rank 4, alpha 8 on attn/c_attn' in said and '--merge' in said
    assert json.load(open('models/mine/adapter.ckpt.json'))['base'] == '../tiny/model.ckpt'
    there = tf.train.load_checkpoint('models/mine/model.ckpt').get_variable_to_shape_map()
    assert all(map(lora.is_adapter, there)) and len(there) == 3 * 4 * 2
    np.testing.assert_allclose(model.model(*checkpoint.load('mine'), X)['logits'], here['lora'], rtol=0, atol=1e-5)


def test_a_single_checkpoint_and_the_best(here, monkeypatch):
    checkpoint.save('checkpoint/full', *checkpoint.load('tiny'), 8)
    checkpoint.write_best('checkpoint/full', 'checkpoint/full/model-7', 3)
    for i, name in enumerate(('checkpoint/full/model-7', 'checkpoint/full/best')):
        export(monkeypatch, '--model_name', name, '--out', f'models/{i}')
        np.testing.assert_allclose(model.model(*checkpoint.load(str(i)), X)['logits'], here['full'], rtol=0, atol=1e-5)


def test_what_is_there_is_not_overwritten_without_being_told(here, monkeypatch):
    os.mkdir('mine')
    with open('mine/notes', 'w') as file:
        file.write('mine')
    for step in range(7):                                               # more checkpoints than a run keeps
        checkpoint.save('mine', *checkpoint.load('tiny'), step, keep=9)
    before = set(os.listdir('mine'))
    with pytest.raises(UsageError, match='--out mine is there and not empty: name a new folder, or give --overwrite'):
        export(monkeypatch, '--run_name', 'full', '--out', 'mine')
    assert set(os.listdir('mine')) == before
    export(monkeypatch, '--run_name', 'full', '--out', 'mine', '--overwrite')
    np.testing.assert_allclose(model.model(*checkpoint.load('mine'), X)['logits'], here['full'], rtol=0, atol=1e-5)
    assert set(os.listdir('mine')) > before and open('mine/notes').read() == 'mine'


def test_a_folder_onto_itself(here, monkeypatch):
    for flags in (['--run_name', 'full'], ['--model_name', 'checkpoint/full/model-7']):
        with pytest.raises(UsageError, match='is the folder that is exported'):
            export(monkeypatch, *flags, '--out', './checkpoint/full', '--overwrite')


def test_a_run_without_a_vocabulary_is_no_model(here, monkeypatch):
    os.remove('checkpoint/full/vocab.bpe')
    with pytest.raises(UserError, match='checkpoint/full/vocab.bpe: there is no such file'):
        export(monkeypatch, '--run_name', 'full', '--out', 'other')
    assert not os.path.exists('other')


def test_other_formats_are_of_the_merged_model_and_of_their_precisions(here, monkeypatch, capsys):
    hparams, params = checkpoint.load('checkpoint/lora')
    export(monkeypatch, '--run_name', 'lora', '--out', 'hf', '--format', 'hf')
    assert capsys.readouterr().out == f'hf: hf, {hparams.to_json()}, float32 weights\n'
    found = tensors.read('hf/model.safetensors')['transformer.h.1.attn.c_attn.weight']
    np.testing.assert_array_equal(found, params['h1']['attn']['c_attn']['w'][0])
    assert '"Théo"' in json.load(open('hf/tokenizer_config.json', encoding='utf-8'))['chat_template']
    export(monkeypatch, '--model_name', 'tiny', '--out', 'plain', '--format', 'hf')
    assert 'chat_template' not in json.load(open('plain/tokenizer_config.json')) and json.load(open('plain/generation_config.json'))['eos_token_id'] == [2047]
    export(monkeypatch, '--model_name', 'tiny', '--out', 'talks', '--format', 'hf', '--me', 'Priya', '--as', 'Lena')
    assert '"Lena"' in (template := json.load(open('talks/tokenizer_config.json'))['chat_template']) and '"Priya"' in template
    for flags, why in ((['--format', 'hf', '--precision', 'int8'], '--format hf takes float32 or float16'), (['--precision', 'float16'], 'needs a --format')):
        with pytest.raises(UsageError, match=why):
            export(monkeypatch, '--run_name', 'full', '--out', 'none', *flags)
    assert not os.path.exists('none')


def test_adapters_of_peft_are_kept_or_merged(here, monkeypatch, capsys):
    export(monkeypatch, '--run_name', 'lora', '--out', 'peft', '--format', 'peft')
    assert 'rank 4, alpha 8' in capsys.readouterr().out and json.load(open('peft/adapter_config.json'))['base_model_name_or_path'] == 'tiny'
    export(monkeypatch, '--peft', 'peft', '--model_name', 'tiny', '--out', 'models/kept')
    export(monkeypatch, '--peft', 'peft', '--model_name', 'tiny', '--out', 'models/merged', '--merge')
    export(monkeypatch, '--peft', 'peft', '--model_name', 'tiny', '--out', 'hf', '--format', 'hf')
    for name in ('kept', 'merged'):
        np.testing.assert_allclose(model.model(*checkpoint.load(name), X)['logits'], here['lora'], rtol=0, atol=1e-4)
    assert 'h0/attn/c_attn/lora_a' in model.flat(checkpoint.load('kept', merge=False)[1])
    np.testing.assert_allclose(tensors.read('hf/model.safetensors')['transformer.h.1.mlp.c_fc.weight'], checkpoint.load('merged')[1]['h1']['mlp']['c_fc']['w'][0], atol=1e-6)
    with pytest.raises(UsageError, match='has adapters of its own: give --merge'):
        export(monkeypatch, '--peft', 'peft', '--run_name', 'lora', '--out', 'twice')


def test_the_command(here):
    script = os.path.abspath(export_model.__file__)
    done = run_script(script, '--run_name', 'lora', '--out', 'models/mine', '--merge', cwd=os.getcwd())
    assert done.returncode == 0 and done.stderr == '' and done.stdout == f'models/mine: a model of {model.HParams.read("models/mine").to_json()}\n'
    assert fails_clearly(run_script(script, '--run_name', 'none', '--out', 'other', cwd=os.getcwd()), 1, 'none', 'full, lora')
    assert fails_clearly(run_script(script, cwd=os.getcwd()), 2, '--out')

"""Checkpoints that do not fit, are damaged or are not there: a sentence with the way out."""
import os
import random

import numpy as np
import pytest
import tensorflow as tf
from test_checkpoint import DATA, SMALL, complaint, equal, rewrite

from src import checkpoint, model
from src.console import UserError
from src.model import HParams


@pytest.fixture(scope='module')
def params():
    return model.init_params(SMALL, seed=1)


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

"""Sizes of a model, and the names and shapes of its weights, against COMPATIBILITY's facts."""
import json
import math

import pytest
from reference import Reference

from src.console import UserError
from src.hparams import HParams, flat, nested, shapes

SMALL = HParams(n_vocab=97, n_ctx=24, n_embd=20, n_head=5, n_layer=2)

# every variable of a model with two layers, as the forks list them, by hand
NAMES_2 = """
wpe wte
h0/ln_1/g h0/ln_1/b h0/attn/c_attn/w h0/attn/c_attn/b h0/attn/c_proj/w h0/attn/c_proj/b
h0/ln_2/g h0/ln_2/b h0/mlp/c_fc/w h0/mlp/c_fc/b h0/mlp/c_proj/w h0/mlp/c_proj/b
h1/ln_1/g h1/ln_1/b h1/attn/c_attn/w h1/attn/c_attn/b h1/attn/c_proj/w h1/attn/c_proj/b
h1/ln_2/g h1/ln_2/b h1/mlp/c_fc/w h1/mlp/c_fc/b h1/mlp/c_proj/w h1/mlp/c_proj/b
ln_f/g ln_f/b
""".split()


# ---- the sizes

def test_the_defaults_are_124M():
    assert HParams() == HParams(n_vocab=50257, n_ctx=1024, n_embd=768, n_head=12, n_layer=12)


@pytest.mark.parametrize('name', ['n_vocab', 'n_ctx', 'n_embd', 'n_head', 'n_layer'])
@pytest.mark.parametrize('value', [0, -1, 1.5, '12', None])
def test_hparams_are_whole_numbers_from_1_up(name, value):
    with pytest.raises(UserError, match=f'{name} = {value!r}'):
        HParams(**{name: value})


def test_heads_must_divide_the_width():
    with pytest.raises(UserError, match='n_embd 20 .* 3 heads'):
        HParams(n_embd=20, n_head=3)


def test_hparams_survive_their_file(tmp_path):
    (tmp_path / 'hparams.json').write_text(SMALL.to_json())
    assert HParams.read(str(tmp_path)) == SMALL
    assert json.loads(SMALL.to_json()) == {'n_vocab': 97, 'n_ctx': 24, 'n_embd': 20, 'n_head': 5, 'n_layer': 2}


def test_more_in_hparams_json_than_we_know_is_no_error(tmp_path):
    (tmp_path / 'hparams.json').write_text(json.dumps(json.loads(SMALL.to_json()) | {'res_dropout': 0.1, 'precision': 'float32'}))
    assert HParams.read(str(tmp_path)) == SMALL


def test_a_missing_hparams_json_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match='hparams.json: there is no such file.*download_model.py'):
        HParams.read(str(tmp_path))


@pytest.mark.parametrize('text', [b'', b'{"n_vocab": 97,', b'[97, 24]', b'null', b'\xff\xfe{}', b'{}',
                                  b'{"n_vocab": 97, "n_ctx": 24, "n_embd": 20, "n_head": 5}',
                                  b'{"n_vocab": 97, "n_ctx": 24, "n_embd": 20, "n_head": 3, "n_layer": 2}',
                                  b'{"n_vocab": 97, "n_ctx": 24, "n_embd": 20, "n_head": 5, "n_layer": "2"}'])
def test_a_damaged_hparams_json_is_named(tmp_path, text):
    (tmp_path / 'hparams.json').write_bytes(text)
    with pytest.raises(UserError, match='hparams.json is damaged: ') as caught:
        HParams.read(str(tmp_path))
    assert '\n' not in str(caught.value)


def test_type_tokens_survive_their_file(tmp_path):
    typed = HParams(n_vocab=97, n_ctx=24, n_embd=20, n_head=5, n_layer=2, type_tokens=(95, 96))
    (tmp_path / 'hparams.json').write_text(typed.to_json())
    assert HParams.read(str(tmp_path)) == typed and hash(typed) == hash(HParams.read(str(tmp_path)))
    assert json.loads(typed.to_json()) == json.loads(SMALL.to_json()) | {'type_tokens': [95, 96]}


@pytest.mark.parametrize('types', ['[97]', '[-1]', '[1.5]', '["a"]', '7', 'null', '[[1]]'])
def test_type_tokens_are_ids(tmp_path, types):
    (tmp_path / 'hparams.json').write_text(SMALL.to_json()[:-1] + f', "type_tokens": {types}}}')
    with pytest.raises(UserError, match='hparams.json is damaged'):
        HParams.read(str(tmp_path))


# ---- the names of the weights

def test_names_and_shapes():
    found = shapes(SMALL)
    assert sorted(found) == sorted(NAMES_2)
    assert found['wpe'] == [24, 20] and found['wte'] == [97, 20]
    assert found['h0/attn/c_attn/w'] == [1, 20, 60] and found['h0/attn/c_attn/b'] == [60]
    assert found['h1/attn/c_proj/w'] == [1, 20, 20] and found['h1/attn/c_proj/b'] == [20]
    assert found['h0/mlp/c_fc/w'] == [1, 20, 80] and found['h0/mlp/c_fc/b'] == [80]
    assert found['h1/mlp/c_proj/w'] == [1, 80, 20] and found['h1/mlp/c_proj/b'] == [20]
    assert all(found[name] == [20] for name in NAMES_2 if '/ln_' in name or name.startswith('ln_'))


def test_names_and_shapes_are_those_of_the_reference():
    weights = Reference(SMALL).weights()
    assert {name: list(value.shape) for name, value in weights.items()} == {f'model/{name}': shape for name, shape in shapes(SMALL).items()}


@pytest.mark.parametrize('n_embd, n_head, n_layer, total', [
    (768, 12, 12, 124_439_808), (1024, 16, 24, 354_823_168), (1280, 20, 36, 774_030_080), (1600, 25, 48, 1_557_611_200)])
def test_the_four_sizes_have_their_known_number_of_weights(n_embd, n_head, n_layer, total):
    hparams = HParams(n_embd=n_embd, n_head=n_head, n_layer=n_layer)
    assert sum(math.prod(shape) for shape in shapes(hparams).values()) == total


def test_nested_and_flat():
    weights = {'wte': 1, 'h0/ln_1/g': 2, 'h0/ln_1/b': 3, 'h0/attn/c_attn/w': 4, 'h10/ln_1/g': 5}
    tree = {'wte': 1, 'h0': {'ln_1': {'g': 2, 'b': 3}, 'attn': {'c_attn': {'w': 4}}}, 'h10': {'ln_1': {'g': 5}}}
    assert nested(weights) == tree
    assert flat(tree) == weights
    assert flat({}) == nested({}) == {}

"""Models of others: each file format, option and refusal, beside the same model written out in NumPy; and the hub, imitated."""
import hashlib
import json
import math
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from conftest import Handler, free_addresses
from reference import rough_params

import export_model
from src import checkpoint, encoder, folders, formats, hub, lite, lora, model, tensors, tflite, trainer
from src.console import UserError
from src.formats import peft
from src.hparams import SIZES

PEER = os.environ.get('PEER_PYTHON')                    # of an environment with torch and transformers

GPT2 = {'model_type': 'gpt2', 'vocab_size': 260, 'n_positions': 24, 'n_embd': 12, 'n_layer': 2, 'n_head': 3}
NEO = {'model_type': 'gpt_neo', 'vocab_size': 260, 'max_position_embeddings': 24, 'hidden_size': 12, 'num_layers': 4, 'num_heads': 3,
       'attention_types': [[['global', 'local'], 2]], 'window_size': 5}
OPTIONS = {
    'gpt2': GPT2, 'inner': GPT2 | {'n_inner': 20}, 'epsilon': GPT2 | {'layer_norm_epsilon': 0.02}, 'unscaled': GPT2 | {'scale_attn_weights': False},
    'inverse': GPT2 | {'scale_attn_by_inverse_layer_idx': True, 'reorder_and_upcast_attn': True}, 'untied': GPT2 | {'tie_word_embeddings': False},
    **{name: GPT2 | {'activation_function': name} for name in ('gelu', 'gelu_fast', 'gelu_pytorch_tanh', 'relu', 'silu', 'swish', 'tanh')},
    'neo': NEO, 'neo_wide': NEO | {'intermediate_size': 20, 'window_size': 100, 'activation_function': 'gelu'}}
IDS = np.random.default_rng(0).integers(0, 260, [2, 24])


# ---- a model of others, in NumPy

def shape_of(config):
    """(n_vocab, n_ctx, n_embd, n_head, n_layer, width within the mlp)"""
    keys = (('max_position_embeddings', 'hidden_size', 'num_heads', 'num_layers', 'intermediate_size') if config['model_type'] == 'gpt_neo' else
            ('n_positions', 'n_embd', 'n_head', 'n_layer', 'n_inner'))
    n_ctx, n, n_head, n_layer, inner = (config.get(key) for key in keys)
    return config['vocab_size'], n_ctx, n, n_head, n_layer, inner or 4 * n


def their_weights(config, seed=0):
    """{name: float32 array} as transformers saves them."""
    n_vocab, n_ctx, n, _, n_layer, inner = shape_of(config)
    shapes = {'transformer.wte.weight': [n_vocab, n], 'transformer.wpe.weight': [n_ctx, n], 'transformer.ln_f.weight': [n], 'transformer.ln_f.bias': [n]}
    for h in (f'transformer.h.{i}.' for i in range(n_layer)):
        shapes |= {h + f'{ln}.{leaf}': [n] for ln in ('ln_1', 'ln_2') for leaf in ('weight', 'bias')}
        if config['model_type'] == 'gpt_neo':           # Linear: [out, in]
            shapes |= {h + f'attn.attention.{each}_proj.weight': [n, n] for each in ('q', 'k', 'v', 'out')} | {h + 'attn.attention.out_proj.bias': [n]}
            shapes |= {h + 'mlp.c_fc.weight': [inner, n], h + 'mlp.c_proj.weight': [n, inner]}
        else:                                           # Conv1D: [in, out]
            shapes |= {h + 'attn.c_attn.weight': [n, 3 * n], h + 'attn.c_attn.bias': [3 * n], h + 'attn.c_proj.weight': [n, n], h + 'attn.c_proj.bias': [n]}
            shapes |= {h + 'mlp.c_fc.weight': [n, inner], h + 'mlp.c_proj.weight': [inner, n]}
        shapes |= {h + 'mlp.c_fc.bias': [inner], h + 'mlp.c_proj.bias': [n]}
    if not config.get('tie_word_embeddings', True):
        shapes['lm_head.weight'] = [n_vocab, n]
    draw = np.random.default_rng(seed)
    return {name: draw.standard_normal(shape, np.float32) * np.float32(0.5) for name, shape in shapes.items()}


def their_logits(config, found, ids):
    """What transformers computes of ids [batch, n], in float64."""
    _, _, n, n_head, n_layer, _ = shape_of(config)
    found = {name.removeprefix('transformer.'): np.asarray(value, np.float64) for name, value in found.items()}
    neo, epsilon = config['model_type'] == 'gpt_neo', config.get('layer_norm_epsilon', 1e-5)
    kind = config.get('activation_function', 'gelu_new')

    def norm(x, at):
        d = x - x.mean(-1, keepdims=True)
        return d / np.sqrt((d * d).mean(-1, keepdims=True) + epsilon) * found[at + '.weight'] + found[at + '.bias']

    def product(x, at):
        w = found[at + '.weight']
        return x @ (w.T if neo else w) + found.get(at + '.bias', 0)

    def activation(x):
        if kind in ('gelu_new', 'gelu_fast', 'gelu_pytorch_tanh'):
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
        return {'gelu': lambda: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))), 'relu': lambda: np.maximum(x, 0), 'tanh': lambda: np.tanh(x),
                'silu': lambda: x / (1 + np.exp(-x)), 'swish': lambda: x / (1 + np.exp(-x))}[kind]()

    x = found['wte.weight'][ids] + found['wpe.weight'][:ids.shape[1]]
    i, j = np.indices([ids.shape[1]] * 2)
    for layer in range(n_layer):
        h, scale, seen = f'h.{layer}.', 1.0, j <= i
        a = norm(x, h + 'ln_1')
        if neo:
            qkv = [product(a, f'{h}attn.attention.{each}_proj') for each in 'qkv']
            seen &= (j > i - config['window_size']) | (layer % 2 == 0)
        else:
            qkv = np.split(product(a, h + 'attn.c_attn'), 3, axis=-1)
            scale = (1 / math.sqrt(n // n_head) if config.get('scale_attn_weights', True) else 1) / (layer + 1 if config.get('scale_attn_by_inverse_layer_idx') else 1)
        q, k, v = (z.reshape(*ids.shape, n_head, -1).swapaxes(1, 2) for z in qkv)
        w = np.where(seen, q @ k.swapaxes(2, 3) * scale, -np.inf)
        w = np.exp(w - w.max(-1, keepdims=True))
        y = (w / w.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(x.shape)
        x = x + product(y, h + ('attn.attention.out_proj' if neo else 'attn.c_proj'))
        x = x + product(activation(product(norm(x, h + 'ln_2'), h + 'mlp.c_fc')), h + 'mlp.c_proj')
    return norm(x, 'ln_f') @ found.get('lm_head.weight', found['wte.weight']).T


# ---- its files

VOCABULARY = {character: i for i, character in enumerate([*encoder.bytes_to_unicode().values(), 'Ġt', 'he', 'Ġthe', '<|endoftext|>'])}
MERGES = '#version: 0.2\nĠ t\nh e\nĠt he\n'


def text(value):
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def number(value):
    return b'J' + struct.pack('<i', value)


def numbers(values):
    return b'(' + b''.join(map(number, values)) + b't'


def storage(kind, key, length, legacy=False):
    return b'(' + text('storage') + b'ctorch\n' + kind.encode() + b'\n' + text(key) + text('cpu') + number(length) + b'N' * legacy + b'tQ'


def tensor(stored, shape, strides=None, offset=0):
    """What torch's pickles say of a tensor."""
    strides = [math.prod(shape[i + 1:]) for i in range(len(shape))] if strides is None else strides
    return b'ctorch._utils\n_rebuild_tensor_v2\n(' + stored + number(offset) + numbers(shape) + numbers(strides) + b'\x89ccollections\nOrderedDict\n)RtR'


def named(items):
    """{name: pickled} as a state_dict is pickled, with what it has beside its items."""
    body = b''.join(text(name) + value for name, value in items.items())
    return b'\x80\x02ccollections\nOrderedDict\n)R(' + body + b'u}' + text('_metadata') + b'ccollections\nOrderedDict\n)Rsb.'


STORAGES = {'float32': 'FloatStorage', 'float16': 'HalfStorage', 'bfloat16': 'BFloat16Storage'}


def write_zip(path, found, pickled=None, compression=zipfile.ZIP_STORED):
    items = {name: tensor(storage(STORAGES[str(value.dtype)], str(i), value.size), value.shape) for i, (name, value) in enumerate(found.items())}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr('archive/data.pkl', pickled or named(items))
        archive.writestr('archive/byteorder', 'little')
        for i, value in enumerate(found.values()):
            archive.writestr(f'archive/data/{i}', value.tobytes())


def write_legacy(path, found):
    items = {name: tensor(storage(STORAGES[str(value.dtype)], f'94{i}', value.size, legacy=True), value.shape) for i, (name, value) in enumerate(found.items())}
    order = [*reversed(range(len(found)))]
    with open(path, 'wb') as file:
        for what in (0x1950a86a20f9469cfc6c, 1001, {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'int': 4}}):
            pickle.dump(what, file, protocol=2)
        file.write(named(items))
        pickle.dump([f'94{i}' for i in order], file, protocol=2)
        for value in (list(found.values())[i] for i in order):
            file.write(struct.pack('<q', value.size) + value.tobytes())


def write_safetensors(path, found):
    pytest.importorskip('safetensors.numpy').save_file({name: np.ascontiguousarray(value) for name, value in found.items()}, path)


def write_h5(path, found):
    """As Keras wrote transformers' TensorFlow models."""
    import h5py
    with h5py.File(path, 'w') as file:
        for name, value in found.items():
            name = name.replace('h.', 'h_._').replace('.', '/').replace('h_/_', 'h_._').replace('wpe/weight', 'wpe/embeddings')
            if '/ln_' in name:
                name = name.replace('/weight', '/gamma').replace('/bias', '/beta')
            file['transformer/tfgp_t2lm_head_model/' + name + ':0'] = value[None] if name.endswith('/bias') else value


def write_shards(folder, found):
    names = sorted(found)
    parts = {f'model-0000{i + 1}-of-00003.safetensors': names[i::3] for i in range(3)}
    for part, some in parts.items():
        write_safetensors(folder / part, {name: found[name] for name in some})
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': {name: part for part, some in parts.items() for name in some}}))


WRITE = {'safetensors': lambda folder, found: write_safetensors(folder / 'model.safetensors', found), 'shards': write_shards,
         'zip': lambda folder, found: write_zip(folder / 'pytorch_model.bin', found), 'legacy': lambda folder, found: write_legacy(folder / 'pytorch_model.bin', found),
         'h5': lambda folder, found: write_h5(folder / 'tf_model.h5', found)}


def write_model(folder, config=GPT2, found=None, kind='zip'):
    """A folder as the hub has them. Returns its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    found = their_weights(config) if found is None else found
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'vocab.json').write_text(json.dumps(VOCABULARY))
    (folder / 'merges.txt').write_text(MERGES)
    WRITE[kind](folder, found)
    return found


def added(tmp_path, config=GPT2, found=None, kind='zip'):
    """(hparams, params) of what becomes of it."""
    write_model(tmp_path / 'theirs', config, found, kind)
    return checkpoint.load(add(tmp_path))


def add(tmp_path, name='mine'):
    folder = str(tmp_path / 'theirs')
    return hub.add(str(tmp_path / 'models'), name, {'from': folder}, lambda: (folder, None))


def logits(hparams, params, ids=IDS):
    return model.model(hparams, params, tf.constant(ids))['logits'].numpy()


# ---- the same logits

@pytest.mark.parametrize('name', OPTIONS)
def test_logits_are_those_of_the_model_written_out(tmp_path, name):
    config = OPTIONS[name]
    found = their_weights(config)
    hparams, params = added(tmp_path, config)
    np.testing.assert_allclose(logits(hparams, params), their_logits(config, found, IDS), atol=1e-4)
    assert (set(json.loads(hparams.to_json())) == set(SIZES)) == (name in ('gpt2', 'unscaled', 'inverse', 'gelu_fast', 'gelu_pytorch_tanh'))
    assert hparams.windows == ((0, 5, 0, 5) if name == 'neo' else ())


def test_config_json_under_its_other_names():
    other = {'n_positions': 'max_position_embeddings', 'n_embd': 'hidden_size', 'n_layer': 'num_hidden_layers', 'n_head': 'num_attention_heads'}
    assert hub.hparams_of({other.get(key, key): value for key, value in GPT2.items()}) == hub.hparams_of(GPT2)
    other = {'num_heads': 'num_attention_heads', 'num_layers': 'num_hidden_layers'}
    assert hub.hparams_of({other.get(key, key): value for key, value in NEO.items()}) == hub.hparams_of(NEO)
    assert hub.hparams_of(GPT2 | {'hidden_size': 99}) == hub.hparams_of(GPT2)


@pytest.mark.parametrize('name', ['gpt2', 'unscaled', 'inverse'])
def test_adapters_come_and_go_where_the_queries_have_a_scale(tmp_path, name):
    config, draw = OPTIONS[name], np.random.default_rng(1)
    found, (hparams, params) = their_weights(config), added(tmp_path, config)
    matrices, arrays = {key: array for key, array in found.items() if '.attn.c_' in key and key.endswith('weight')}, {}
    for key, array in matrices.items():
        a, b = (0.5 * draw.standard_normal(shape).astype(np.float32) for shape in ([2, len(array)], [array.shape[1], 2]))
        arrays |= {f'base_model.model.{key.removesuffix("weight")}lora_{each}.weight': part for each, part in (('A', a), ('B', b))}
        found[key] = array + 2 * (b @ a).T
    os.makedirs(tmp_path / 'peft')
    formats.safetensors.write(str(tmp_path / 'peft/adapter_model.safetensors'), {key: array.shape for key, array in arrays.items()}, arrays.get)
    (tmp_path / 'peft/adapter_config.json').write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none"}')
    adapted = peft.read(str(tmp_path / 'peft'), hparams, params, str(tmp_path / 'models/mine'))
    np.testing.assert_allclose(logits(hparams, lora.merged(adapted)), their_logits(config, found, IDS), atol=1e-4)
    os.makedirs(tmp_path / 'out')
    peft.write(str(tmp_path / 'out'), formats.Source(hparams, adapted, None, None, None, None, None), 'float32', checkpoint.find_base(str(tmp_path / 'models/mine/model.ckpt')))
    again = tensors.read(str(tmp_path / 'out/adapter_model.safetensors'))
    assert again.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_allclose(again[key], array, rtol=1e-6, err_msg=key)
    assert json.loads((tmp_path / 'out/adapter_config.json').read_text())['base_model_name_or_path'] == str(tmp_path / 'theirs')
    export_model.export(str(tmp_path / 'models/mine'), str(tmp_path / 'models/copy'))        # which adapters fit as well
    again = peft.read(str(tmp_path / 'peft'), *checkpoint.load(str(tmp_path / 'models/copy')), str(tmp_path / 'models/copy'))
    np.testing.assert_allclose(logits(hparams, lora.merged(again)), their_logits(config, found, IDS), atol=1e-4)


@pytest.mark.parametrize('window', [5, 100])
def test_adapters_of_a_gpt_neo_stay_here(tmp_path, window):
    hparams, params = added(tmp_path, NEO | {'window_size': window})
    adapted = formats.Source(hparams, lora.add(params, 2, 4), None, None, None, None, None)
    with pytest.raises(UserError, match='--format peft cannot hold adapters of a GPT-Neo'):
        peft.write(str(tmp_path), adapted, 'float32', checkpoint.find_base(str(tmp_path / 'models/mine/model.ckpt')))


@pytest.mark.parametrize('kind', WRITE)
def test_every_format_holds_the_same(tmp_path, kind):
    _, params = added(tmp_path, kind=kind)
    expected = {name.removeprefix('transformer.'): value for name, value in their_weights(GPT2).items()}
    assert sum(value.shape.num_elements() for value in model.flat(params).values()) == sum(value.size for value in expected.values())
    for ours, theirs in {'wte': 'wte.weight', 'wpe': 'wpe.weight', 'h1/attn/c_attn/w': 'h.1.attn.c_attn.weight', 'h0/attn/c_proj/b': 'h.0.attn.c_proj.bias',
                         'h0/mlp/c_proj/w': 'h.0.mlp.c_proj.weight', 'h1/ln_2/g': 'h.1.ln_2.weight', 'ln_f/b': 'ln_f.bias'}.items():
        value = model.flat(params)[ours].numpy()
        assert np.array_equal(value[0] if ours.endswith('/w') else value, expected[theirs]), ours


@pytest.mark.parametrize('kind, dtype', [('zip', 'float16'), ('legacy', 'float16'), ('h5', 'float16'), ('zip', 'bfloat16'), ('legacy', 'bfloat16')])
def test_half_precision_becomes_float32(tmp_path, kind, dtype):
    dtype = np.dtype(dtype) if dtype == 'float16' else ml_dtypes.bfloat16
    found = {name: value.astype(dtype) for name, value in their_weights(GPT2).items()}
    _, params = added(tmp_path, found=found, kind=kind)
    assert params['wte'].dtype == tf.float32
    assert np.array_equal(params['wte'].numpy(), found['transformer.wte.weight'].astype(np.float32))


def test_bfloat16_in_safetensors_by_hand(tmp_path):
    """1.5 is 0x3fc0 in bfloat16, -2 is 0xc000."""
    header = json.dumps({'__metadata__': {'format': 'pt'}, 'a': {'dtype': 'BF16', 'shape': [2, 1], 'data_offsets': [0, 4]}}).encode()
    (tmp_path / 'a.safetensors').write_bytes(struct.pack('<Q', len(header)) + header + bytes([0xc0, 0x3f, 0x00, 0xc0]))
    assert np.asarray(tensors.read(str(tmp_path / 'a.safetensors'))['a'], np.float32).tolist() == [[1.5], [-2]]


def test_no_prefix_masks_linear_layers_and_a_head_that_is_the_embedding(tmp_path):
    found = their_weights(GPT2)
    expected = their_logits(GPT2, found, IDS)
    changed = {name.removeprefix('transformer.'): value.T if value.ndim == 2 and '.h.' in name else value for name, value in found.items()}
    changed |= {f'h.{i}.attn.{name}': np.ones([1, 1], np.float32) for i in range(2) for name in ('bias', 'masked_bias')}
    hparams, params = added(tmp_path, found=changed | {'lm_head.weight': changed['wte.weight']})
    assert hparams.tie_word_embeddings and 'lm_head' not in params
    np.testing.assert_allclose(logits(hparams, params), expected, atol=1e-4)


def test_the_usual_width_written_out_is_the_usual_width(tmp_path):
    assert added(tmp_path, GPT2 | {'n_inner': 48})[0].n_inner is None


def test_what_a_language_model_does_without_is_left_out_and_told(tmp_path, capsys):
    added(tmp_path, found=their_weights(GPT2) | {'score.weight': np.ones([2, 12], np.float32)})
    assert 'score.weight' in capsys.readouterr().out


THERE = """
import json, sys
import numpy as np, torch
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoConfig, GPTNeoForCausalLM
out, cases = sys.argv[1], json.loads(sys.argv[2])
ids = torch.tensor(np.load(out + '/ids.npy'))
for name, (options, kind, dtype) in cases.items():
    torch.manual_seed(0)
    make, config = (GPTNeoForCausalLM, GPTNeoConfig) if options.pop('model_type') == 'gpt_neo' else (GPT2LMHeadModel, GPT2Config)
    model = make(config(**options)).eval()
    with torch.no_grad():
        for value in model.parameters():
            value += 0.3 * torch.randn_like(value)
        model = model.to(getattr(torch, dtype))
        model.save_pretrained(f'{out}/{name}', **({'max_shard_size': '5KB'} if kind == 'shards' else {}))
        if kind in ('zip', 'legacy'):
            import os
            os.remove(f'{out}/{name}/model.safetensors')
            torch.save(model.state_dict(), f'{out}/{name}/pytorch_model.bin', _use_new_zipfile_serialization=kind == 'zip')
        np.save(f'{out}/{name}/logits.npy', model.float()(ids).logits.numpy())
"""


@pytest.mark.skipif(not PEER, reason='PEER_PYTHON names no Python with torch and transformers')
def test_logits_are_those_of_transformers(tmp_path):
    cases = {name: (config, 'safetensors', 'float32') for name, config in OPTIONS.items()}
    cases |= {f'{kind}_{dtype}': (NEO if dtype == 'bfloat16' else GPT2, kind, dtype)
              for kind in ('safetensors', 'shards', 'zip', 'legacy') for dtype in ('float32', 'float16', 'bfloat16')}
    np.save(tmp_path / 'ids.npy', IDS)
    subprocess.run([PEER, '-c', THERE, str(tmp_path), json.dumps(cases)], check=True, env=os.environ | {'PYTHONPATH': '', 'HF_HUB_OFFLINE': '1'})
    for name in cases:
        folder = tmp_path / name
        (folder / 'vocab.json').write_text(json.dumps(VOCABULARY))
        (folder / 'merges.txt').write_text(MERGES)
        loaded = checkpoint.load(hub.add(str(tmp_path / 'models'), name, {'from': name}, lambda: (str(folder), None)))
        np.testing.assert_allclose(logits(*loaded), np.load(folder / 'logits.npy'), atol=1e-4, err_msg=name)


# ---- cached, in LiteRT

EVERYTHING = model.HParams(n_vocab=61, n_ctx=300, n_embd=24, n_head=3, n_layer=3, n_inner=40, activation_function='silu', layer_norm_epsilon=0.01,
                           tie_word_embeddings=False, windows=(0, 50, 7))


@pytest.fixture(scope='module')
def everything():
    params = rough_params(EVERYTHING, scale=0.3)
    ids = np.random.default_rng(1).integers(0, 61, [2, 300])
    return params, ids, logits(EVERYTHING, params, ids)


def test_in_parts_as_at_once(everything):
    params, ids, expected = everything
    past, found = None, []
    for start, end in ((0, 100), (100, 101), (101, 300)):
        out = model.model(EVERYTHING, params, tf.constant(ids[:, start:end]), past)
        past = out['present'] if past is None else tf.concat([past, out['present']], axis=-2)
        found.append(out['logits'])
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-4)


def test_in_a_static_cache_with_rows_at_their_own_places():
    """From 5 and 200 positions on: far enough apart that a window begins in another block of the cache for each."""
    hparams = model.replace(EVERYTHING, n_layer=1, windows=(50,))
    params, ids = rough_params(hparams, scale=0.3), np.random.default_rng(1).integers(0, 61, [2, 300])
    expected = logits(hparams, params, ids)
    places = np.array([5, 200])
    values = np.zeros([2, 1, 2, 3, 300, 8], np.float32)
    for row, n in enumerate(places):
        values[row, ..., :n, :] = model.model(hparams, params, tf.constant(ids[row:row + 1, :n]))['present'][0]
    run = tf.function(lambda X, past, n: model.model(hparams, params, X, past, n), jit_compile=True)
    for i in range(3):
        out = run(tf.constant(ids[[0, 1], places + i, None]), values, tf.constant(places + i, tf.int32))
        values = out['present']
        np.testing.assert_allclose(out['logits'][:, 0], expected[[0, 1], places + i], atol=1e-4)


@pytest.mark.parametrize('activation', model.ACTIVATIONS)
def test_in_litert(everything, tmp_path, activation):
    params, ids, expected = everything
    hparams = model.replace(EVERYTHING, activation_function=activation)
    if activation != 'silu':
        expected = logits(hparams, params, ids)
    found = model.flat(params)
    path = str(tmp_path / 'float32.tflite')
    tflite.write(path, hparams, lambda name: found[name].numpy(), precision='float32')
    engine = lite.Engine(path)
    cache = lite.Cache(engine.hparams, 3)
    np.testing.assert_allclose(engine.read(cache, ids[0, :290], row=0, every=True), expected[0, :290], atol=1e-4)
    engine.put(cache, ids[1, :60], row=1)
    engine.put(cache, ids[1, :40], row=2)
    for i in range(3):
        np.testing.assert_allclose(engine.step(cache, [ids[0, 290 + i], ids[1, 60 + i], ids[1, 40 + i]]), [expected[0, 290 + i], expected[1, 60 + i], expected[1, 40 + i]], atol=1e-4)
    if activation == 'gelu_new':                        # the embedding of a model with a head of its own is rounded, too
        tflite.write(path, hparams, lambda name: found[name].numpy(), precision='int8')
        engine = lite.Engine(path)
        assert np.corrcoef(engine.read(lite.Cache(engine.hparams), ids[0]), expected[0, -1])[0, 1] > 0.99


@pytest.mark.parametrize('tied', [True, False])
def test_in_training(tied):
    """The gradients of the Trainer, which has its own ways, beside those of the forward pass."""
    hparams = model.replace(EVERYTHING, n_ctx=40, n_layer=2, windows=(0, 7), tie_word_embeddings=tied)
    params = rough_params(hparams, scale=0.3)
    X, labels = tf.constant(np.random.default_rng(1).integers(0, 61, [2, 2, 40]), tf.int32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model.model(hparams, params, X)['logits']))
    expected = dict(zip(model.flat(params), tape.gradient(loss, [*model.flat(params).values()])))
    replica = trainer.Trainer(hparams, params, recompute=True, tokens=80).replicas[0]
    found, *gradients = replica.gradients(X, labels, tf.ones([2, 40]))
    np.testing.assert_allclose(found, loss, rtol=1e-5)
    for name, gradient in zip(replica.trainable, gradients):
        np.testing.assert_allclose(gradient, tf.convert_to_tensor(expected[name]), atol=1e-5 * np.abs(gradient).max(), err_msg=name)


def test_new_tokens_get_a_row_in_both_matrices(everything):
    hparams, params = model.extended(EVERYTHING, everything[0], 63)
    assert params['wte'].shape == params['lm_head'].shape == [63, 24] and hparams.n_vocab == 63
    assert np.array_equal(params['lm_head'][:61], everything[0]['lm_head']) and not np.array_equal(params['wte'][61:], params['lm_head'][61:])


@pytest.mark.parametrize('wrong', [{'n_inner': 0}, {'n_inner': '4'}, {'activation_function': 'mish'}, {'activation_function': None}, {'layer_norm_epsilon': 0},
                                   {'layer_norm_epsilon': '1e-5'}, {'tie_word_embeddings': 'no'}, {'windows': [1]}, {'windows': [0, -1]}, {'windows': [0, 0.5]}, {'windows': 3}])
def test_damaged_options_are_named(tmp_path, wrong):
    (tmp_path / 'hparams.json').write_text(json.dumps(json.loads(model.HParams(n_layer=2).to_json()) | wrong))
    with pytest.raises(UserError, match='hparams.json is damaged: ') as caught:
        model.HParams.read(str(tmp_path))
    assert '\n' not in str(caught.value)


# ---- what is not supported is named

@pytest.mark.parametrize('change, words', [
    ({'model_type': 'llama'}, 'type llama; read are gpt2 and gpt_neo'), ({'model_type': None}, 'type None'), ({'add_cross_attention': True}, 'add_cross_attention'),
    ({'quantization_config': {'bits': 4}}, 'quantized'), ({'auto_map': {'AutoModel': 'x.py'}}, 'code of its own'), ({'activation_function': 'mish'}, 'activation_function mish'),
    ({'activation_function': []}, r'activation_function \[\]'), ({'eos_token_id': [2, 3], 'n_layer': 0}, 'n_layer = 0'), ({'n_head': 5}, 'does not divide into 5 heads'), ({'n_embd': '12'}, "n_embd = '12'"), ({'layer_norm_epsilon': 'small'}, 'config.json is damaged'),
    ({'n_layer': 3}, 'lack h.2.'), ({'n_layer': 1}, 'have h.1.ln_1.weight and 11 more'), ({'n_positions': 25}, r'wpe.weight makes \[24, 12\] where config.json has \[25, 12\]'),
    ({'vocab_size': 261}, r'wte.weight makes \[260, 12\]'), ({'n_inner': 20}, r'c_fc')])
def test_configs_that_are_not_read(tmp_path, change, words):
    found = write_model(tmp_path / 'theirs')
    (tmp_path / 'theirs/config.json').write_text(json.dumps(GPT2 | change))
    with pytest.raises(UserError, match=words) as caught:
        add(tmp_path)
    assert str(tmp_path / 'theirs') in str(caught.value) and '\n' not in str(caught.value) and found
    assert os.listdir(tmp_path / 'models') == []


def test_gpt_neo_with_attention_of_another_kind(tmp_path):
    write_model(tmp_path / 'theirs', NEO)
    (tmp_path / 'theirs/config.json').write_text(json.dumps(NEO | {'attention_types': [[['global', 'strided'], 2]]}))
    with pytest.raises(UserError, match="attention of the type 'strided'"):
        add(tmp_path)


@pytest.mark.parametrize('name, words', [('h.0.attn.c_attn.lora_A', 'have .*h.0.attn.c_attn.lora_A'), ('lm_head.bias', 'lm_head.bias'), ('h.2.ln_1.weight', 'a 2-layer GPT-2 has not')])
def test_weights_that_no_gpt2_has(tmp_path, name, words):
    with pytest.raises(UserError, match=words.replace('have', 'weights have')):
        added(tmp_path, found=their_weights(GPT2) | {name: np.ones([2], np.float32)})


def test_no_weights_and_weights_of_others(tmp_path):
    write_model(tmp_path / 'theirs')
    os.rename(tmp_path / 'theirs/pytorch_model.bin', tmp_path / 'theirs/flax_model.msgpack')
    with pytest.raises(UserError, match=r'no weights that are read here \(flax_model.msgpack\); these are: model.safetensors, '):
        add(tmp_path)
    os.remove(tmp_path / 'theirs/config.json')
    with pytest.raises(UserError, match='config.json: there is no such file'):
        add(tmp_path)
    shutil.rmtree(tmp_path / 'theirs')
    with pytest.raises(UserError, match='theirs: there is no such folder; --local'):
        add(tmp_path)


# ---- tokenizers

TEXTS = ['Xin chào, bạn có khỏe không? Tôi khỏe, cảm ơn bạn.', 'Schöne Grüße aus Köln! Übermorgen fährt der Zug über die Brücke.', '今日はいい天気ですね。明日も晴れるでしょうか。']


def tokenizer(eos='<|endoftext|>', **model_options):
    """A byte-level BPE of the package tokenizers, which has read TEXTS."""
    library = pytest.importorskip('tokenizers')
    made = library.Tokenizer(library.models.BPE(**model_options))
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(TEXTS * 3, library.trainers.BpeTrainer(vocab_size=320, special_tokens=['<pad>', eos], initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
                                                                    show_progress=False))
    return made


def vocabulary(tmp_path, made, n_vocab=320, **others):
    made = json.loads(made.to_str()) if not isinstance(made, dict) else made
    (tmp_path / 'tokenizer.json').write_text(json.dumps(made))
    for name, content in others.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    return encoder.Encoder(*hub.vocabulary_of(str(tmp_path), {'vocab_size': n_vocab}, os.listdir(tmp_path)))


def test_other_languages_in_tokenizer_json_or_two_files(tmp_path):
    made = tokenizer()
    found = vocabulary(tmp_path, made)
    as_texts = json.loads(made.to_str())
    as_texts['model']['merges'] = [' '.join(merge) for merge in as_texts['model']['merges']]     # as older versions wrote them
    for words in TEXTS:
        assert found.encode(words) == made.encode(words).ids == vocabulary(tmp_path, as_texts).encode(words)
    os.remove(tmp_path / 'tokenizer.json')
    (tmp_path / 'vocab.json').write_text(json.dumps(as_texts['model']['vocab']), encoding='utf-8')
    (tmp_path / 'merges.txt').write_text('\n'.join(['#version: 0.2', *as_texts['model']['merges']]), encoding='utf-8')
    (tmp_path / 'added_tokens.json').write_text('{"<speaker>": 320}')
    other = encoder.Encoder(*hub.vocabulary_of(str(tmp_path), {'vocab_size': 321}, os.listdir(tmp_path)))
    assert other.encode(TEXTS[0]) == found.encode(TEXTS[0]) and other.special_tokens['<speaker>'] == 320 and found.eot == other.eot == 1


@pytest.mark.parametrize('others', [{'tokenizer_config': {'eos_token': '</s>'}}, {'special_tokens_map': {'eos_token': {'content': '</s>', 'lstrip': False}}}, {}])
def test_the_end_of_a_text_has_its_name_here(tmp_path, others):
    made = tokenizer('</s>')
    (tmp_path / 'tokenizer.json').write_text(made.to_str())
    for name, content in others.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    tokens, _ = hub.vocabulary_of(str(tmp_path), {'vocab_size': 320, 'eos_token_id': 1}, os.listdir(tmp_path))
    assert tokens['<|endoftext|>'] == 1 and '</s>' not in tokens


@pytest.mark.parametrize('added, others, ids, end', [
    ({'<|endoftext|>': 330}, {'eos_token': '<|endoftext|>'}, 1, 1),     # an end beyond the embeddings: config.json has another
    ({}, {}, [99, 1, 0], 1), ({}, {}, 7, None),                         # several; one that is a word is none
    ({'<|endoftext|>': 320}, {'eos_token': '</s>'}, 1, 1), ({'<|endoftext|>': 320}, {}, 7, 320)])      # one that is there and not meant
def test_which_token_ends_a_text(tmp_path, added, others, ids, end):
    made = json.loads(tokenizer('</s>').to_str())
    made['added_tokens'] += [{'content': token, 'id': i} for token, i in added.items()]
    (tmp_path / 'tokenizer.json').write_text(json.dumps(made))
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(others))
    tokens, merges = hub.vocabulary_of(str(tmp_path), {'vocab_size': 325, 'eos_token_id': ids}, os.listdir(tmp_path))
    assert tokens.get('<|endoftext|>') == end and sorted(tokens.values()) == [*range(325)]
    assert encoder.Encoder(tokens, merges).eot == end


@pytest.mark.parametrize('unknown', ['[UNK]', None])
def test_a_vocabulary_without_all_bytes(tmp_path, capsys, unknown):
    """A Japanese one of characters knows no blank: to transformers it is [UNK], as is each byte that it never met. The logits stay those, and the text is kept."""
    weights = write_model(tmp_path / 'theirs')
    theirs = {{'q': '[UNK]', 'x': '[PAD]'}.get(token, token): i for token, i in VOCABULARY.items()}
    (tmp_path / 'theirs/vocab.json').write_text(json.dumps(theirs))
    (tmp_path / 'theirs/special_tokens_map.json').write_text(json.dumps({'unk_token': unknown}))
    hparams, params = checkpoint.load(add(tmp_path))
    enc = encoder.get_encoder('mine', str(tmp_path / 'models'))
    assert 'lacks 2 of the 256 bytes' in capsys.readouterr().out and hparams.n_vocab == enc.n_vocab == 262
    ids = enc.encode('axbq')
    assert ids == [VOCABULARY['a'], 261, VOCABULARY['b'], 260] and enc.decode(ids) == 'axbq' and enc.special_tokens['[UNK]'] == VOCABULARY['q']
    wte, row = weights['transformer.wte.weight'], VOCABULARY['q']
    np.testing.assert_allclose(params['wte'][260:], np.tile(wte[row] if unknown else wte.mean(axis=0), [2, 1]), rtol=1e-6)
    if unknown:
        same = [row if i >= 260 else i for i in ids]
        np.testing.assert_allclose(logits(hparams, params, [ids])[..., :260], their_logits(GPT2, weights, np.array([same])), atol=1e-4)


def test_every_id_has_a_token_and_every_token_an_embedding(tmp_path, capsys):
    made = json.loads(tokenizer().to_str())
    made['added_tokens'].append({'id': 330, 'content': '[PAD]'})
    found = vocabulary(tmp_path, made, 325)
    assert found.n_vocab == 325 and '[PAD]' not in found.special_tokens and found.decode([324]) == '<|unused 324|>'
    assert '[PAD]' in capsys.readouterr().out


@pytest.mark.parametrize('change, words', [
    ({'model': {'type': 'Unigram', 'vocab': []}}, 'Unigram'), ({'model': {'type': 'WordPiece', 'vocab': {}}}, 'WordPiece'),
    ({'pre_tokenizer': {'type': 'Whitespace'}}, 'pre_tokenizer Whitespace'), ({'pre_tokenizer': {'type': 'ByteLevel', 'use_regex': False}}, 'another way'), ({'pre_tokenizer': None}, 'pre_tokenizer None'),
    ({'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [{'type': 'Split'}, {'type': 'ByteLevel', 'use_regex': False}]}}, 'pre_tokenizer Sequence'),
    ({'model': {'type': 'BPE', 'byte_fallback': True, 'vocab': {}, 'merges': []}}, 'byte_fallback'), ({'model': 7}, 'damaged'), ({'model': {'merges': [[1]]}}, 'damaged')])
def test_other_tokenizers_are_named(tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        vocabulary(tmp_path, {'model': {'type': 'BPE', 'vocab': {}, 'merges': []}, 'pre_tokenizer': {'type': 'ByteLevel'}} | change)


@pytest.mark.parametrize('merges, words', [('i n\nin g</w>\n', 'ends of words'), ('▁ t\n', "'▁', which is no byte"), ('a b c\n', 'damaged'), ('\udcff a\n', 'which is no byte'), ('a z\n', "lacks 1 tokens")])
def test_merges_that_are_not_of_bytes(tmp_path, merges, words):
    write_model(tmp_path / 'theirs')
    (tmp_path / 'theirs/merges.txt').write_bytes(merges.encode('utf-8', 'surrogateescape'))
    with pytest.raises(UserError, match=words):
        add(tmp_path)


@pytest.mark.parametrize('name, words', [('spiece.model', 'sentencepiece'), ('vocab.txt', 'WordPiece'), ('readme.md', 'none; read is.* copy them beside the weights')])
def test_no_tokenizer_of_ours(tmp_path, name, words):
    with pytest.raises(UserError, match=words):
        hub.vocabulary_of(str(tmp_path), {}, {'config.json', name})


def test_a_tokenizer_that_changes_texts_is_told(tmp_path, capsys):
    vocabulary(tmp_path, json.loads(tokenizer().to_str()) | {'normalizer': {'type': 'NFC'}})
    assert 'normalizes' in capsys.readouterr().out
    made = json.loads(tokenizer().to_str())
    made['added_tokens'] += [{'id': 320, 'content': 'zork', 'special': False}, {'id': 321, 'content': '<sep>', 'special': True}]
    found = vocabulary(tmp_path, made, 322)
    assert 320 not in found.encode('zork') and '(its tokenizer has tokens of their own for zork; here,' in capsys.readouterr().out


# ---- files that mean harm, or are broken

ROW = storage('FloatStorage', '0', 4)


def reduced(module, name, arguments):
    return b'c' + module.encode() + b'\n' + name.encode() + b'\n' + arguments + b'R'


HOSTILE = {
    'os.system': (named({'a': reduced('os', 'system', b'(' + text('touch harmed') + b't')}), 'asks for os.system'),
    'builtins.eval': (named({'a': reduced('builtins', 'eval', b'(' + text('open("harmed", "w")') + b't')}), 'asks for builtins.eval'),
    'by_stack': (b'\x80\x04' + text('posix') + text('system') + b'\x93(' + text('touch harmed') + b'tR.', 'asks for posix.system'),
    'nested': (named({'a': reduced('torch._utils', '_rebuild_parameter', b'(' + reduced('subprocess', 'Popen', b'(' + text('x') + b't') + b't')}), 'asks for subprocess.Popen'),
    'attribute': (named({'a': b'ccollections\nOrderedDict.fromkeys\n(tR'}), 'asks for collections.OrderedDict.fromkeys'),
    'our_own': (named({'a': reduced('src.tensors', 'read', b'(' + text('/etc/passwd') + b't')}), 'asks for src.tensors.read'),
    'instance': (b'(' + text('touch harmed') + b'ios\nsystem\n.', 'uses INST'), 'object': (b'\x80\x02(cos\nsystem\no.', 'asks for os.system'),
    'new_object': (b'\x80\x02ccollections\nOrderedDict\n)\x81.', 'uses NEWOBJ'), 'extension': (b'\x80\x02\x82\x01.', 'uses EXT1'),
    'dtype_called': (named({'a': reduced('torch', 'FloatStorage', b'(' + number(9) + b't')}), 'damaged'),
    'a_text_called': (named({'a': text('os.system') + b')R'}), 'damaged'),
    'other_storage': (named({'a': tensor(b'(' + text('module') + b'ctorch\nFloatStorage\n' + text('0') + text('cpu') + number(4) + b'tQ', [4])}), 'outside its pickle'),
    'a_view_of_a_storage': (named({'a': tensor(ROW[:-2] + b'(' + text('1') + number(0) + number(2) + b'ttQ', [2])}), 'outside its pickle'),
    'storage_unknown': (named({'a': tensor(storage('FloatStorage', '7', 4), [4])}), 'damaged'),
    'storage_elsewhere': (named({'a': tensor(storage('FloatStorage', '../data.pkl', 4), [4])}), 'damaged'),
    'storage_beyond': (named({'a': tensor(storage('FloatStorage', '0', 5), [5])}), 'damaged'), 'storage_negative': (named({'a': tensor(storage('FloatStorage', '0', -4), [0])}), 'damaged'),
    'offset_beyond': (named({'a': tensor(ROW, [4], offset=1)}), 'damaged'), 'offset_negative': (named({'a': tensor(ROW, [2], offset=-2)}), 'damaged'),
    'steps_beyond': (named({'a': tensor(ROW, [2, 2], [3, 1])}), 'damaged'), 'steps_negative': (named({'a': tensor(ROW, [2], [-1])}), 'damaged'),
    'overlapping': (named({'a': tensor(ROW, [1000, 1000], [0, 0])}), 'damaged'), 'vast': (named({'a': tensor(ROW, [2 ** 31 - 1] * 4, [0] * 4)}), 'damaged'),
    'sizes_of_text': (named({'a': tensor(ROW, [4]).replace(number(0) + numbers([4]), number(0) + b'(' + text('4') + b't')}), 'damaged'), 'no_tensors': (named({'a': number(1)}), 'no tensors by name'),
    'a_list': (b'\x80\x02].', 'no tensors by name'), 'deep': (b'\x80\x02})' + b'\x85' * 200_000 + b'Ns.', 'keys are no names'),
    'memo': (b'\x80\x02Nr\xff\xff\xff\x7f.', 'no tensors by name'), 'endless': (b'\x80\x02(((((', 'damaged'), 'empty_stack': (b'\x80\x02R.', 'damaged')}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_pickles_do_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    pickled, words = HOSTILE[name]
    write_zip('pytorch_model.bin', {'a': np.zeros(4, np.float32)}, pickled)
    before = os.listdir('.')
    with pytest.raises(UserError, match=f'^pytorch_model.bin.*{words}') as caught:
        tensors.read('pytorch_model.bin')
    assert os.listdir('.') == before and '\n' not in str(caught.value)


def test_tensors_may_share_a_row_and_be_turned(tmp_path):
    rows = {'a': tensor(ROW, [2, 2]), 'b': tensor(ROW, [2, 2], [1, 2]), 'c': tensor(ROW, [2], offset=2), 'd': tensor(ROW, []), 'e': tensor(ROW, [0, 3])}
    write_zip(tmp_path / 'a.bin', {'x': np.arange(4, dtype=np.float32)}, named(rows))
    found = {name: np.asarray(value).tolist() for name, value in tensors.read(str(tmp_path / 'a.bin')).items()}
    assert found == {'a': [[0, 1], [2, 3]], 'b': [[0, 2], [1, 3]], 'c': [2, 3], 'd': 0, 'e': []}


def test_archives_that_grow(tmp_path):
    write_zip(tmp_path / 'a.bin', {'a': np.zeros(10 ** 6, np.float32)}, compression=zipfile.ZIP_DEFLATED)
    assert os.path.getsize(tmp_path / 'a.bin') < 10_000
    with pytest.raises(UserError, match='compressed'):
        tensors.read(str(tmp_path / 'a.bin'))


def test_hdf5_that_grows_or_reads_elsewhere(tmp_path):
    import h5py
    (tmp_path / 'secret').write_bytes(bytes(64))
    with h5py.File(tmp_path / 'full.h5', 'w') as file:
        file.create_dataset('x/h_._0/ln_1/gamma:0', data=np.zeros(10 ** 6, np.float32), compression='gzip')
    with h5py.File(tmp_path / 'empty.h5', 'w') as file:
        file.create_dataset('x/h_._0/ln_1/gamma:0', shape=[10 ** 9], dtype=np.float32, chunks=True)
    with h5py.File(tmp_path / 'outside.h5', 'w') as file:
        file.create_dataset('x/h_._0/ln_1/gamma:0', shape=[16], dtype=np.float32, external=[(str(tmp_path / 'secret'), 0, 64)])
    with h5py.File(tmp_path / 'linked.h5', 'w') as file:
        file['x'] = h5py.ExternalLink(str(tmp_path / 'outside.h5'), 'x')
    for name in ('full', 'empty', 'outside'):
        with pytest.raises(UserError, match='not in this file, or compressed'):
            tensors.read(str(tmp_path / f'{name}.h5'))
    assert tensors.read(str(tmp_path / 'linked.h5')) == {}


@pytest.mark.parametrize('header, words', [
    ({'a': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}}, 'damaged'), ({'a': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 8]}}, 'damaged'),
    ({'a': {'dtype': 'F32', 'shape': [-1], 'data_offsets': [0, -4]}}, 'damaged'), ({'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [-9, -1]}}, 'damaged'),
    ({'a': {'dtype': 'F8_E4M3', 'shape': [8], 'data_offsets': [0, 8]}}, 'stored as F8_E4M3'), ({'a': {'dtype': 'F32', 'shape': [2.0], 'data_offsets': [0, 8]}}, 'damaged'),
    ({'a': 7}, 'damaged'), ([], 'damaged'), ('[' * 100_000, 'damaged')])
def test_safetensors_that_say_too_much(tmp_path, header, words):
    data = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    (tmp_path / 'a.safetensors').write_bytes(struct.pack('<Q', len(data)) + data + bytes(8))
    with pytest.raises(UserError, match=words):
        tensors.read(str(tmp_path / 'a.safetensors'))


@pytest.mark.parametrize('name', ['../secret.bin', '/etc/passwd.bin', 'x.py', 'a\nb.bin', 7, None])
def test_an_index_names_files_beside_it(tmp_path, name):
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': {'a': name}}))
    with pytest.raises(UserError, match='no file of weights beside it|damaged') as caught:
        tensors.read(str(tmp_path / 'model.safetensors.index.json'))
    assert '\n' not in str(caught.value)


def test_a_shard_that_is_missing(tmp_path):
    (tmp_path / 'model.safetensors.index.json').write_text('{"weight_map": {"a": "model-2.safetensors"}}')
    with pytest.raises(UserError, match='model-2.safetensors: there is no such file'):
        tensors.read(str(tmp_path / 'model.safetensors.index.json'))


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'safetensors'])
def test_broken_bytes_end_in_a_sentence_or_in_arrays_of_the_file(tmp_path, kind):
    found = {f'h.{i}': np.full([3, i + 1], i, np.float32) for i in range(4)}
    path = str(tmp_path / {'safetensors': 'a.safetensors'}.get(kind, 'a.bin'))
    {'zip': write_zip, 'legacy': write_legacy, 'safetensors': write_safetensors}[kind](path, found)
    with open(path, 'rb') as file:
        whole = file.read()
    draw = np.random.default_rng(0)
    refused = 0
    for i in range(300):
        broken = bytearray(whole[:draw.integers(0, len(whole))] if i % 10 == 0 else whole)
        for at in draw.integers(0, max(1, len(broken)), draw.integers(1, 4)):
            broken[at:at + 1] = bytes([draw.integers(0, 256)])
        with open(path, 'wb') as file:
            file.write(broken)
        try:
            assert sum(np.asarray(value, np.float32).size for value in tensors.read(path).values()) <= len(whole)
        except UserError as error:
            refused += 1
            assert path in str(error) and '\n' not in str(error)
    assert refused > 50


# ---- a model folder

def test_a_model_folder_like_any_other(tmp_path):
    write_model(tmp_path / 'theirs')
    folder = add(tmp_path)
    assert sorted(os.listdir(folder)) == sorted(['checkpoint', 'encoder.json', 'hparams.json', 'model.ckpt.data-00000-of-00001', 'model.ckpt.index', 'source.json', 'vocab.bpe'])
    assert json.loads((tmp_path / 'models/mine/hparams.json').read_text()) == {'n_vocab': 260, 'n_ctx': 24, 'n_embd': 12, 'n_head': 3, 'n_layer': 2}
    enc = encoder.get_encoder('mine', str(tmp_path / 'models'))
    assert enc.encode('the the') == [VOCABULARY['t'], VOCABULARY['he'], VOCABULARY['Ġthe']] and enc.eot == 259
    assert folders.read_dialogue(folder) is None


@pytest.mark.parametrize('name, extra', [('DialoGPT-tiny', {}), ('mine', {'task_specific_params': {'conversational': {'max_length': 1000}}})])
def test_dialogpt_talks_in_its_own_style(tmp_path, name, extra):
    write_model(tmp_path / 'theirs', GPT2 | extra)
    assert folders.read_dialogue(add(tmp_path, name)) == {'style': 'dialogpt', 'speakers': []}


def test_it_is_made_once_and_never_of_another(tmp_path, capsys):
    write_model(tmp_path / 'theirs')
    folder = add(tmp_path)
    before = os.stat(os.path.join(folder, 'model.ckpt.index')).st_mtime_ns

    def never():
        raise AssertionError

    assert hub.add(str(tmp_path / 'models'), 'mine', {'from': str(tmp_path / 'theirs')}, never) == folder
    assert os.stat(os.path.join(folder, 'model.ckpt.index')).st_mtime_ns == before and 'mine is complete' in capsys.readouterr().out
    with pytest.raises(UserError, match='is there already, and was made from .*theirs: --name'):
        hub.add(str(tmp_path / 'models'), 'mine', {'from': 'a/b', 'revision': 'main'}, never)
    os.remove(os.path.join(folder, 'source.json'))
    with pytest.raises(UserError, match='was made from something else'):
        add(tmp_path)


def test_a_conversion_that_is_killed_or_fails_leaves_no_model(tmp_path, monkeypatch):
    write_model(tmp_path / 'theirs')
    left = tmp_path / 'models/.mine.part'
    left.mkdir(parents=True)
    (left / 'hparams.json').write_text('{}')
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, 'save', lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            add(tmp_path)
        assert os.listdir(tmp_path / 'models') == []
        patch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10, 10, 1000))
        with pytest.raises(UserError, match=r'kB are needed, 1\.00 kB are free.*--models_dir'):
            add(tmp_path)
    assert os.listdir(add(tmp_path)) and os.listdir(tmp_path / 'models') == ['mine']


# ---- the hub

REPO = 'mara/tiny'
COMMIT = 'a' * 40


class Hub(Handler):
    """The hub's answers: server.files, behind server.token where that is set."""

    def answer(self, body):
        if self.server.token and self.headers['Authorization'] != f'Bearer {self.server.token}':
            return self.send_only(401, {'X-Error-Code': 'RepoNotFound'})
        super().answer(body)

    def send_error(self, code, *_):
        self.send_only(code, {'X-Error-Code': 'RevisionNotFound' if '/revision/' in self.path else 'EntryNotFound' if '/resolve/' in self.path else 'RepoNotFound'})


@pytest.fixture
def hf(server, tmp_path, monkeypatch):
    """A server with one model, and huggingface_hub, which knows no other."""
    constants = pytest.importorskip('huggingface_hub.constants')
    write_model(tmp_path / 'there', kind='safetensors')
    (tmp_path / 'there/flax_model.msgpack').write_bytes(bytes(100))
    server.RequestHandlerClass, server.token = Hub, None
    put(server, tmp_path / 'there')
    url = server.url.removesuffix('/gpt2')
    for name, value in {'ENDPOINT': url, 'HUGGINGFACE_CO_URL_TEMPLATE': url + '/{repo_id}/resolve/{revision}/{filename}', 'HF_HUB_CACHE': str(tmp_path / 'cache'), 'HF_TOKEN_PATH': str(tmp_path / 'none')}.items():
        monkeypatch.setattr(constants, name, value)
    for name in ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    return server


def put(server, folder, repo=REPO):
    """Serve a folder as a model of the hub, whose tag v1 is all there is."""
    names = os.listdir(folder)
    about = json.dumps({'id': repo, 'sha': COMMIT, 'siblings': [{'rfilename': name} for name in names]}).encode()
    server.files |= {f'/api/models/{repo}': about, f'/api/models/{repo}/revision/v1': about}
    for name in names:
        path = f'/{repo}/resolve/{COMMIT}/{name}'
        server.files[path] = (folder / name).read_bytes()
        server.etags[path] = hashlib.sha256(server.files[path]).hexdigest()
        server.headers[path] = {'X-Repo-Commit': COMMIT, 'Accept-Ranges': 'bytes'}


def test_only_what_is_needed_is_fetched_and_once(hf):
    folder, commit = hub.fetch(REPO)
    assert commit == COMMIT and sorted(os.listdir(folder)) == ['config.json', 'merges.txt', 'model.safetensors', 'vocab.json']
    bodies = len(hf.bodies())
    assert hub.fetch(REPO, 'v1') == (folder, COMMIT) and len(hf.bodies()) == bodies + 1       # the list of files


def test_shards_are_fetched_by_their_index(hf, tmp_path):
    write_model(tmp_path / 'sharded', kind='shards')
    put(hf, tmp_path / 'sharded')
    folder, _ = hub.fetch(REPO)
    assert len([name for name in os.listdir(folder) if name.startswith('model-')]) == 3
    assert len(tensors.read(os.path.join(folder, 'model.safetensors.index.json'))) == 28


def test_a_cut_download_goes_on(hf, monkeypatch):
    from huggingface_hub import constants
    monkeypatch.setattr(constants, 'DOWNLOAD_CHUNK_SIZE', 4096)
    path = f'/{REPO}/resolve/{COMMIT}/model.safetensors'
    hf.faults[path] = [('cut', 9_000)]
    folder, _ = hub.fetch(REPO)
    with open(os.path.join(folder, 'model.safetensors'), 'rb') as file:
        assert file.read() == hf.files[path]
    assert [seen.range for seen in hf.bodies('model.safetensors')] == [None, 'bytes=8192-']


def test_after_a_bad_connection_what_came_whole_is_there(hf):
    hf.faults[f'/{REPO}/resolve/{COMMIT}/model.safetensors'] = [('cut', 0)] * 6
    with pytest.raises(UserError, match='could not be fetched .*run the same command again, files that came whole are kept') as caught:
        hub.fetch(REPO)
    assert '\n' not in str(caught.value)
    assert hub.fetch(REPO)[1] == COMMIT and len(hf.bodies('vocab.json')) == 1


def test_what_cannot_be_read_is_known_before_the_weights_come(hf, tmp_path):
    for name, content, words in (('config.json', json.dumps(GPT2 | {'model_type': 'llama'}), 'mara/tiny: this is a model of the type llama'), ('vocab.json', '[]', 'damaged')):
        shutil.rmtree(tmp_path / 'cache', ignore_errors=True)
        there = write_model(tmp_path / name, kind='safetensors') and tmp_path / name
        (there / name).write_text(content)
        put(hf, there)
        with pytest.raises(UserError, match=words):
            hub.fetch(REPO)
    assert not hf.bodies('model.safetensors')


def test_a_private_model_by_its_token(hf, monkeypatch):
    hf.token = 'hf_secret'
    with pytest.raises(UserError, match=f'{REPO}: there is no such model, or it is private.*--token or HF_TOKEN') as caught:
        hub.fetch(REPO)
    assert '\n' not in str(caught.value)
    assert hub.fetch(REPO, token='hf_secret')[1] == COMMIT
    monkeypatch.setenv('HF_TOKEN', 'hf_secret')
    assert hub.fetch(REPO)[1] == COMMIT


@pytest.mark.parametrize('repo, revision, fault, words', [
    ('mara/none', None, None, 'mara/none: there is no such model, or it is private'), (REPO, 'v9', None, 'mara/tiny has no revision v9'),
    (REPO, None, ('status', 403, {'X-Error-Code': 'GatedRepo'}), 'asks for an agreement: accept it there'), (REPO, None, ('status', 500, {}), 'could not be fetched .*same command again'),
    ('a/b/c', None, None, "'a/b/c' is no name of a model")])
def test_what_the_hub_says_is_one_sentence(hf, repo, revision, fault, words):
    if fault:
        hf.faults[f'/api/models/{REPO}'] = [fault] * 10
    with pytest.raises(UserError, match=words) as caught:
        hub.fetch(repo, revision)
    assert '\n' not in str(caught.value)


def test_no_network(hf, monkeypatch):
    from huggingface_hub import constants
    monkeypatch.setattr(constants, 'ENDPOINT', f'http://{free_addresses(1)[0]}')
    with pytest.raises(UserError, match='could not be fetched .*check the connection'):
        hub.fetch(REPO)


def test_a_full_disk(hf, monkeypatch):
    import huggingface_hub
    monkeypatch.setattr(huggingface_hub.HfApi, 'hf_hub_download', lambda *_, **__: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
    with pytest.raises(UserError, match='cache: no space left for mara/tiny; .*HF_HOME'):
        hub.fetch(REPO)


def test_no_weights_of_ours_on_the_hub(hf, tmp_path):
    os.remove(tmp_path / 'there/model.safetensors')
    put(hf, tmp_path / 'there')
    with pytest.raises(UserError, match=r'has no weights that are read here \(flax_model.msgpack\)'):
        hub.fetch(REPO)
    assert not any('resolve' in seen.path for seen in hf.seen)


def test_no_config_on_the_hub(hf, tmp_path):
    os.remove(tmp_path / 'there/config.json')
    put(hf, tmp_path / 'there')
    with pytest.raises(UserError, match='mara/tiny has no config.json'):
        hub.fetch(REPO)


def test_without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(UserError, match='pip install -r requirements-hub.txt'):
        hub.fetch(REPO)

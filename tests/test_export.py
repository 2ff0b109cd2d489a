"""Each format as its own consumer reads it: the package's reader or interpreter here; transformers, llama.cpp and PEFT in the Python that PEER_PYTHON names,
vLLM in that of VLLM_PYTHON."""
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, run_script
from reference import Reference, rough_params

import export_model
from src import chat, checkpoint, dialogue, formats, hub, lora, model, tensors
from src.console import UserError
from src.encoder import get_encoder
from src.formats import frame, peft

PEER, VLLM = os.environ.get('PEER_PYTHON'), os.environ.get('VLLM_PYTHON')
TEXTS = ['hi Théo', "don't  \n\n 12 😀\u200d", '   ', 'Mara: a\r\n b\t', '<|endoftext|', 'x' * 50]
SAID = [('Theo', 'hi\nyou'), ('Mara', 'a <|endoftext|> and <\\|endoftext|> or <sp1> <\\\\</s> <eos>'), ('Theo', '\\r \\\\\r r \\'), ('Mara', 'C:\\road "x"'), ('Theo', ' : ')]


@pytest.fixture(scope='module')
def here(demo_models, tmp_path_factory):
    """A folder with `run`, a small model of rough weights whose people are Theo and Mara; `lora`, adapters of it; `typed`, a model with token types;
    `other`, one that differs from GPT-2 in what HParams know; `neo`, one with windows as GPT-Neo has them."""
    folder = tmp_path_factory.mktemp('here')
    hparams = model.HParams(n_vocab=2050, n_ctx=96, n_embd=32, n_head=4, n_layer=2)
    params = rough_params(hparams, scale=0.2)
    adapted = lora.add(params, 4, 8, 'attn')
    for name in lora.names(adapted):
        value = model.flat(adapted)[name]
        value.assign(0.3 * np.random.default_rng(1).standard_normal(value.shape))
    tokens = get_encoder(os.path.join(demo_models, 'tiny')).extended(dialogue.STYLES['tokens'].special_tokens).special_tokens
    typed = model.HParams(**vars(hparams) | {'n_vocab': 2052, 'type_tokens': (tokens['<sp1>'], tokens['<sp2>'])})
    other = model.HParams(**vars(hparams) | {'n_inner': 96, 'activation_function': 'relu', 'layer_norm_epsilon': 1e-3, 'tie_word_embeddings': False})
    neo = model.HParams(**vars(hparams) | {'windows': (8, 0)})
    for name, hparams, weights in (('other', other, rough_params(other, scale=0.2)), ('neo', neo, rough_params(neo, scale=0.2)), ('run', hparams, params), ('lora', hparams, adapted), ('typed', typed, rough_params(typed, scale=0.2))):
        run = str(folder / name)
        base = checkpoint.hold_base(run, str(folder / 'run' / 'model.ckpt')) if name == 'lora' else None
        checkpoint.copy_vocabulary(os.path.join(demo_models, 'tiny'), run, tokens if name == 'typed' else None)
        checkpoint.write_dialogue(run, {'style': 'tokens' if name == 'typed' else 'name', 'speakers': ['Mara', 'Theo'], 'learnt': 'Mara', 'length': 8})
        checkpoint.save(run, hparams, weights, base=base)
    return folder


def written(here, format, run='run', **options):
    """The folder that --format makes of a run; made once."""
    out = here / '-'.join([format, run, *options.values()])
    if not out.exists():
        export_model.export(str(here / run), str(out), format=format, **options)
    return out


def weights(run):
    """(hparams, {name: array}) of a run, merged."""
    hparams, params = checkpoint.load(str(run))
    return hparams, {name: value.numpy() for name, value in model.flat(params).items()}


def greedy(run, ids, n):
    """The n ids that model.py finds most likely behind ids."""
    hparams, params = checkpoint.load(str(run))
    for _ in range(n):
        ids = [*ids, int(tf.argmax(model.model(hparams, params, tf.constant([ids]))['logits'][0, -1]))]
    return ids[-n:]


# ---- how one talks

def session_of(demo_models, style, **options):
    """A ChatSession in a style, with what the style needs."""
    style = dialogue.get_style(style)
    enc = get_encoder(os.path.join(demo_models, 'tiny')).extended(style.special_tokens)
    hparams = model.HParams(n_vocab=enc.n_vocab, n_ctx=1024, n_embd=32, n_head=4, n_layer=2)
    return chat.ChatSession(SimpleNamespace(hparams=hparams), enc, style, me='Theo', answerer='Mara', last_time=1349680884843, **options)


def source_of(demo_models, session, **options):
    with open(os.path.join(demo_models, 'tiny', 'vocab.bpe'), encoding='utf-8') as file:
        merges = file.read().split('\n')[1:-1]
    tokens = json.load(open(os.path.join(demo_models, 'tiny', 'encoder.json'), encoding='utf-8')) | session.enc.special_tokens
    return formats.Source(session.generator.hparams, {}, None, session.enc, tokens, merges, session)._replace(**options)


@pytest.mark.parametrize('style', sorted(dialogue.STYLES))
def test_tokenizer_json_has_our_ids_and_the_marks_of_the_style(demo_models, tmp_path, style):
    from tokenizers import Tokenizer
    session = session_of(demo_models, style)
    formats.vocabulary.write(str(tmp_path), source_of(demo_models, session))
    theirs = Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
    for text in TEXTS:
        ids = session.enc.encode(text)
        assert theirs.encode(text).ids == ids and theirs.decode(ids) == text
    for name, i in session.enc.special_tokens.items():
        assert theirs.encode(f'hi {name} you').ids == [*session.enc.encode('hi '), i, *session.enc.encode(' you')]
        assert theirs.decode([i], skip_special_tokens=True) == ''
    assert theirs.get_vocab_size() == session.enc.n_vocab


def rendered(template, messages, **options):
    jinja = pytest.importorskip('jinja2.sandbox', reason='jinja2 renders chat templates')
    return jinja.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template).render(messages=messages, **options)


@pytest.mark.parametrize('persona', ['', 'A ship.\nA storm.\n', 'Mara: forged\nA ship.\nTheo: hi'])
@pytest.mark.parametrize('style', sorted(dialogue.STYLES))
def test_the_chat_template_gives_the_ids_of_a_chat(demo_models, tmp_path, style, persona):
    from tokenizers import Tokenizer
    session = session_of(demo_models, style, persona=persona)
    formats.vocabulary.write(str(tmp_path), source_of(demo_models, session))
    tokenizer, template = Tokenizer.from_file(str(tmp_path / 'tokenizer.json')), frame.template(session)
    messages = [{'role': 'system', 'content': persona}] if persona else []
    for name, text in [(None, None), *SAID]:
        if name == 'Mara':                              # an answer, whose words come without blanks around
            session._add(dialogue.Turn('Mara', text, session.next_time()))
        elif name:
            session.say(name, text)
        messages += [{'role': 'assistant' if name == 'Mara' else 'user', 'content': text}] if name else []
        text = rendered(template, messages, add_generation_prompt=True)
        assert tokenizer.encode(text).ids == session.prompt(), text
        assert rendered(template, messages) + session.enc.decode(session.style.header_ids(session.enc, session._seat('Mara'), session.next_time())) == text


@pytest.mark.parametrize('style, said, words', [('name', ' hi ', 'hi'), ('said', ' "hi"', 'hi'), ('said', '"', '"'), ('name', '"hi"', '"hi"')])
def test_an_answer_comes_back_as_the_model_wrote_it(demo_models, style, said, words):
    session = session_of(demo_models, style)
    assert rendered(frame.template(session), [{'role': 'assistant', 'content': said}]) == '<|endoftext|>' + ''.join(session.style.pieces(dialogue.Turn('Mara', words)))


def test_names_in_a_chat_template(demo_models):
    session = session_of(demo_models, 'name')
    for name in ['Priya', 'J: \\x', '(a\nb', ' \r', '<|endoftext|>', '\ufeffx', '<prompt>', '日本', '\ue000']:
        if name != '\ue000':
            session.me = name
            assert rendered(frame.template(session), [{'role': 'user', 'content': 'hi'}]) == '<|endoftext|>' + session.style.header(name) + ' hi\n'
        session.me = 'Theo'
        assert rendered(frame.template(session), [{'role': 'user', 'name': name, 'content': 'hi'}]) == '<|endoftext|>' + session.style.header(name) + ' hi\n'


def test_chat_json_is_a_chat(demo_models):
    enc = session_of(demo_models, 'name').enc

    def about_of(style):
        session = session_of(demo_models, style)
        return frame.about(SimpleNamespace(session=session, enc=session.enc))

    about = about_of('said')
    assert [about[key] for key in ('begin', 'user', 'closing', 'prompt', 'next')] == ['<|endoftext|>', 'Theo said: "', '"\n', 'Mara said:', '\n']
    assert [about_of('tokens')[key] for key in ('begin', 'user', 'closing', 'prompt', 'next')] == ['<bos>', '<sp1> ', '', '<sp2>', '']
    assert [about_of('dialogpt')[key] for key in ('user', 'closing', 'prompt', 'next')] == ['', '<|endoftext|>', '', '<|endoftext|>']
    assert {enc.decode([i]) for i in about['stops']} >= {'\n', '<|endoftext|>'} and all('\n' in enc.decode([i]) or i == enc.eot for i in about['stops'])
    assert about_of('dialogpt')['stops'] == [enc.eot]


# ---- each format

def test_hf_holds_every_weight_and_says_how_one_talks(here):
    out, (_, ours) = written(here, 'hf'), weights(here / 'run')
    read = tensors.read(str(out / 'model.safetensors'))
    assert len(read) == len(ours) and read['transformer.h.1.mlp.c_fc.weight'].shape == (32, 128)
    np.testing.assert_array_equal(read['transformer.h.1.attn.c_proj.weight'], ours['h1/attn/c_proj/w'][0])
    np.testing.assert_array_equal(read['transformer.h.0.ln_2.bias'], ours['h0/ln_2/b'])
    np.testing.assert_array_equal(read['transformer.wte.weight'], ours['wte'])
    half = tensors.read(str(written(here, 'hf', precision='float16') / 'model.safetensors'))
    np.testing.assert_array_equal(half['transformer.wpe.weight'], ours['wpe'].astype(np.float16))
    config, generation = (json.loads((out / name).read_text()) for name in ('config.json', 'generation_config.json'))
    assert (config['vocab_size'], config['n_positions'], config['activation_function']) == (2050, 96, 'gelu_new')
    assert generation['max_new_tokens'] == 8 and generation['temperature'] == 0.95 and {2047, 198} <= {*generation['eos_token_id']}
    other = json.loads((written(here, 'hf', run='other') / 'config.json').read_text())
    assert [other[key] for key in ('n_inner', 'activation_function', 'layer_norm_epsilon', 'tie_word_embeddings')] == [96, 'relu', 1e-3, False]
    assert sorted(os.listdir(out)) == ['config.json', 'generation_config.json', 'merges.txt', 'model.safetensors', 'special_tokens_map.json',
                                       'tokenizer.json', 'tokenizer_config.json', 'vocab.json']


@pytest.mark.parametrize('change', ['rough', 'sums to 0', 'no biases'])
def test_a_model_with_windows_becomes_a_gpt_neo_which_has_no_biases_of_queries(here, tmp_path, change):
    hparams, params = checkpoint.load(str(here / 'neo'))
    for h in ('h0', 'h1'):
        norm, attn = params[h]['ln_1'], params[h]['attn']
        if change == 'sums to 0':
            norm['b'].assign_sub(norm['g'] * tf.reduce_mean(norm['b'] / norm['g']))
        elif change == 'no biases':
            attn['c_attn']['b'].assign(tf.zeros_like(attn['c_attn']['b']))
    formats.write('hf', str(tmp_path / 'out'), formats.source(str(here / 'neo'), hparams, params))
    config, read = json.loads((tmp_path / 'out' / 'config.json').read_text()), tensors.read(str(tmp_path / 'out' / 'model.safetensors'))
    assert config['model_type'] == 'gpt_neo' and config['attention_types'] == [[['local', 'global'], 1]] and config['window_size'] == 8
    assert 'transformer.h.0.attn.attention.q_proj.weight' in read and 'transformer.h.0.attn.attention.q_proj.bias' not in read
    (tmp_path / 'back').mkdir()
    hub.convert(str(tmp_path / 'out'), str(tmp_path / 'back'), 'back')
    again, found = checkpoint.load(str(tmp_path / 'back'))
    assert again == hparams and not found['h0']['attn']['c_attn']['b'].numpy().any()
    X = np.random.default_rng(0).integers(0, 2048, [2, 40])
    np.testing.assert_allclose(model.model(again, found, X)['logits'], model.model(hparams, params, X)['logits'], atol=1e-4)
    if change == 'no biases':
        for name, value in model.flat(params).items():
            np.testing.assert_allclose(model.flat(found)[name], value, rtol=1e-6, err_msg=name)


def test_tf1_is_what_the_original_restores(here):
    out, X = written(here, 'tf1', run='lora'), np.random.default_rng(0).integers(0, 2048, [2, 9])
    hparams, params = checkpoint.load(str(here / 'lora'))
    logits, _ = Reference(hparams).restore(str(out / 'model.ckpt')).run(X)
    np.testing.assert_allclose(logits, model.model(hparams, params, X)['logits'], atol=1e-4)
    assert sorted(json.loads((out / 'hparams.json').read_text())) == ['n_ctx', 'n_embd', 'n_head', 'n_layer', 'n_vocab']
    assert get_encoder(str(out)).encode('hi Théo') == get_encoder(str(here / 'run')).encode('hi Théo')


SERVED = """
import json, sys, tensorflow as tf
for folder in sys.argv[2:]:
    f = tf.saved_model.load(folder).signatures
    ids, made = tf.constant([json.loads(sys.argv[1])]), []
    found = f['prefill'](ids=ids)
    assert abs(f['serving_default'](ids=ids)['logits'] - found['logits']).numpy().max() < 1e-5
    for length in range(ids.shape[1], ids.shape[1] + 6):
        made.append(int(tf.argmax(found['logits'][0])))
        found = f['step'](ids=[made[-1:]], past=found['past'], length=length, **{key: found[key] for key in found if key == 'speaker'})
    print(json.dumps([made, found['logits'][0].numpy().tolist()]))
"""


def test_savedmodel_in_a_session_as_tensorflow_serving_runs_it(here):
    """TensorFlow Serving loads the graph of the tag `serve` into a session, and runs the tensors that a signature names."""
    ids, v1, folder = np.array([[2047, 2049, 300, 7]], np.int32), tf.compat.v1, str(written(here, 'savedmodel') / '1')
    with tf.Graph().as_default(), v1.Session() as session:
        signatures = v1.saved_model.load(session, ['serve'], folder).signature_def

        def run(name, **inputs):
            tensors = signatures[name].inputs, signatures[name].outputs
            assert sorted(tensors[0]) == sorted(inputs)
            return session.run({key: tensor.name for key, tensor in tensors[1].items()}, {tensors[0][key].name: value for key, value in inputs.items()})

        found = run('prefill', ids=ids)
        np.testing.assert_allclose(run('serving_default', ids=ids)['logits'], found['logits'], atol=1e-5)
        again = run('step', ids=np.array([[9]], np.int32), past=found['past'], length=np.int32(4))
        usual = {node.op for function in session.graph_def.library.function for node in function.node_def} | {node.op for node in session.graph_def.node}
    assert not [op for op in usual if 'Xla' in op or 'Py' in op or 'Mkl' in op]
    expected = model.model(*checkpoint.load(str(here / 'run')), tf.constant([[*ids[0], 9]]))['logits'][0]
    np.testing.assert_allclose([found['logits'][0], again['logits'][0]], expected[-2:], atol=1e-4)


def test_savedmodel_in_a_process_of_its_own_goes_on_as_ours(here):
    ids, runs = [2047, 2049, 300, 7], ('run', 'typed')
    done = run_script('-c', SERVED, ids, *(written(here, 'savedmodel', run=run) / '1' for run in runs))
    assert done.returncode == 0, done.stderr
    for run, (made, logits) in zip(runs, map(json.loads, done.stdout.splitlines()), strict=True):
        assert made == greedy(here / run, ids, 6)
        np.testing.assert_allclose(logits, model.model(*checkpoint.load(str(here / run)), tf.constant([ids + made]))['logits'][0, -1], atol=1e-4)


@pytest.fixture
def interpreter(monkeypatch):
    """LiteRT's own, or that of TensorFlow under its name."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite.python.interpreter import Interpreter
        monkeypatch.setitem(sys.modules, 'ai_edge_litert', ModuleType('ai_edge_litert'))
        monkeypatch.setitem(sys.modules, 'ai_edge_litert.interpreter', SimpleNamespace(Interpreter=Interpreter))
    return Interpreter


@pytest.mark.parametrize('run, precision, near', [('run', 'int8', 0.02), ('other', 'float32', 1e-5)])
def test_litert_in_steps_of_any_size_is_near_the_model(here, interpreter, run, precision, near):
    hparams, params = checkpoint.load(str(here / run))
    ids = np.random.default_rng(0).integers(0, 2050, 20, np.int32)
    expected = model.model(hparams, params, ids[None])['logits'][0]
    engine, past, length = interpreter(str(written(here, 'litert', run=run, precision=precision) / 'model.tflite')), np.zeros([4, 4, 32, 8], np.float32), 0
    for n, name in ((1, 'prefill'), (7, 'prefill'), (1, 'decode'), (1, 'decode'), (10, 'prefill')):
        read = engine.get_signature_runner(name)
        mask = np.where(np.arange(32 + n) < 32, np.arange(32 + n) >= length, np.arange(32 + n) - 32 > np.arange(n)[:, None])
        found = read(ids=ids[length:length + n], positions=np.arange(length, length + n, dtype=np.int32), past=past, mask=np.float32(-1e9) * mask)
        past[:, :, length:length + n], length = found['new'], length + n
        np.testing.assert_allclose(found['logits'][0], expected[length - 1], atol=near * np.abs(expected).max())
    assert length == 20


@pytest.mark.parametrize('run', ['run', 'typed', 'plain'])
def test_the_example_of_litert_chats_as_the_model_would(here, interpreter, monkeypatch, capsys, run):
    from tokenizers import Tokenizer
    if run == 'plain':                                  # in which nobody speaks: it goes on
        shutil.copytree(here / 'run', here / run, ignore=shutil.ignore_patterns('dialogue.json'))
    out = written(here, 'litert', run=run, precision='float32')
    said = ['hi', 'how are you? ' * 3, 'ok', 'x' * 400, 'and?']         # the last but one fills the context: it forgets, and sees the end of that
    monkeypatch.setattr(sys, 'argv', ['litert_chat.py', str(out), '0'])
    monkeypatch.setattr(sys, 'stdin', io.StringIO('\n'.join(said)))
    runpy.run_path(os.path.join(ROOT, 'examples', 'litert_chat.py'))
    tokenizer, about, model_ = Tokenizer.from_file(str(out / 'tokenizer.json')), json.loads((out / 'chat.json').read_text()), checkpoint.load(str(here / run))
    seen, behind, answers, forgot = [], about['begin'], [], 0
    for line in said:
        ids, made = tokenizer.encode(behind + about['user'] + line.strip() + about['closing'] + about['prompt']).ids, []
        n = about['length']
        if len(seen) + len(ids) + n > 96:
            seen, forgot = [], forgot + 1
        seen += ids[n - 96:]
        while (new := int(tf.argmax(model.model(*model_, tf.constant([seen]))['logits'][0, -1]))) not in about['stops'] and len(made) < n:
            made.append(new)
            seen.append(new)
        answers.append(tokenizer.decode(made).strip())
        behind = about['next']
    assert capsys.readouterr().out.split('\n')[:-1] == answers and forgot and len({*answers}) > 2


def test_gguf_is_read_back(here):
    import gguf
    _, ours = weights(here / 'run')
    for precision, near in (('float32', 0), ('float16', 1e-3), ('q8_0', 1e-2)):
        reader = gguf.GGUFReader(written(here, 'gguf', precision=precision) / 'model.gguf')
        found = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
        assert len(found) == len(ours) and found['blk.1.ffn_up.weight'].shape == (128, 32)
        np.testing.assert_allclose(found['blk.1.attn_qkv.weight'], ours['h1/attn/c_attn/w'][0].T, atol=near * np.abs(ours['h1/attn/c_attn/w']).max())
        np.testing.assert_allclose(found['token_embd.weight'], ours['wte'], atol=near * np.abs(ours['wte']).max())
        np.testing.assert_array_equal(found['position_embd.weight'], ours['wpe'])
        np.testing.assert_array_equal(found['blk.0.ffn_down.bias'], ours['h0/mlp/c_proj/b'])
    about = {name: field.contents() for name, field in reader.fields.items()}
    enc = get_encoder(str(here / 'run'))
    assert about['tokenizer.ggml.tokens'][enc.encode(' the')[0]] == 'Ġthe' and about['tokenizer.ggml.tokens'][2049] == '[unused 2049]'
    assert [about['tokenizer.ggml.token_type'][i] for i in (0, enc.eot, 2049)] == [1, 3, 5] and about['tokenizer.ggml.pre'] == 'gpt-2'
    assert about['tokenizer.ggml.eos_token_id'] == enc.eot and about['tokenizer.ggml.eot_token_id'] == enc.encode('\n')[0]
    assert (about['gpt2.context_length'], about['gpt2.block_count'], about['general.file_type']) == (96, 2, 7)
    assert 'Mara' in about['tokenizer.chat_template'] and about['tokenizer.ggml.add_bos_token'] is False


def test_adapters_go_out_to_peft_and_come_back(here):
    out, (hparams, plain) = written(here, 'peft', run='lora'), checkpoint.load(str(here / 'run'))
    about, theirs = json.loads((out / 'adapter_config.json').read_text()), tensors.read(str(out / 'adapter_model.safetensors'))
    assert (about['r'], about['lora_alpha'], about['target_modules'], about['fan_in_fan_out']) == (4, 8, ['attn.c_attn', 'attn.c_proj'], True)
    assert theirs['base_model.model.transformer.h.1.attn.c_attn.lora_A.weight'].shape == (4, 32) and len(theirs) == 8
    assert theirs['base_model.model.transformer.h.1.attn.c_attn.lora_B.weight'].shape == (96, 4)
    adapted = model.flat(checkpoint.load(str(here / 'lora'), merge=False)[1])
    back = model.flat(peft.read(str(out), hparams, plain, str(here / 'run')))
    assert back.keys() == adapted.keys()
    for name, value in adapted.items():
        np.testing.assert_array_equal(back[name], value, name)


def adapters(folder, arrays, **about):
    """A folder as PEFT writes it."""
    os.makedirs(folder, exist_ok=True)
    formats.safetensors.write(os.path.join(folder, 'adapter_model.safetensors'), {name: array.shape for name, array in arrays.items()}, arrays.get)
    with open(os.path.join(folder, 'adapter_config.json'), 'w') as file:
        json.dump({'peft_type': 'LORA', 'r': 2, 'lora_alpha': 4, 'bias': 'none'} | about, file)
    return str(folder)


def pair(target, rank, nx, nf, draw=np.random.default_rng(0)):
    return {f'base_model.model.transformer.{target}.lora_{key}.weight': draw.standard_normal(shape).astype(np.float32)
            for key, shape in (('A', [rank, nx]), ('B', [nf, rank]))}


@pytest.mark.parametrize('about, scales', [
    ({}, (2, 4 / 3)), ({'use_rslora': True}, (4 / 2 ** .5, 4 / 3 ** .5)), ({'alpha_pattern': {'mlp.c_proj': 9}, 'rank_pattern': {'mlp.c_proj': 3}}, (2, 3)),
    ({'alpha_pattern': {r'.*\.0\.attn\.c_attn': 1}}, (.5, 4 / 3))], ids=str)
def test_what_an_adapter_of_peft_adds(here, tmp_path, about, scales):
    hparams, params = checkpoint.load(str(here / 'run'))
    first, second = pair('h.0.attn.c_attn', 2, 32, 96), pair('h.1.mlp.c_proj', 3, 128, 32)
    folder = adapters(tmp_path, first | second, **about)
    merged = model.flat(lora.merged(peft.read(folder, hparams, params, str(here / 'run'))))
    for name, (a, b), scale in (('h0/attn/c_attn/w', first.values(), scales[0]), ('h1/mlp/c_proj/w', second.values(), scales[1])):
        np.testing.assert_allclose(merged[name][0] - model.flat(params)[name][0], scale * (b @ a).T, atol=1e-5)
    again = formats.Source(hparams, peft.read(folder, hparams, params, str(here / 'run')), None, None, None, None, None)
    (tmp_path / 'out').mkdir()
    peft.write(str(tmp_path / 'out'), again, 'float32', checkpoint.find_base(str(here / 'run' / 'model.ckpt')))
    assert json.loads((tmp_path / 'out' / 'adapter_config.json').read_text())['target_modules'] == ['h.0.attn.c_attn', 'h.1.mlp.c_proj']
    once_more = model.flat(lora.merged(peft.read(str(tmp_path / 'out'), hparams, params, str(here / 'run'))))
    for name in merged:
        np.testing.assert_allclose(once_more[name], merged[name], atol=1e-6)


GOOD = pair('h.0.attn.c_attn', 2, 32, 96)


@pytest.mark.parametrize('arrays, about, why', [
    (GOOD, {'use_dora': True}, 'use_dora = true'), (GOOD, {'bias': 'all'}, 'bias = "all"'), (GOOD, {'peft_type': 'IA3'}, 'peft_type = "IA3"'),
    (GOOD, {'modules_to_save': ['wte']}, 'modules_to_save'), (GOOD, {'init_lora_weights': 'pissa'}, 'init_lora_weights = "pissa"'),
    (GOOD, {'something_new': 1}, 'something_new = 1'), (GOOD, {'lora_alpha': None}, 'damaged'), ({}, {}, 'holds no adapters'),
    (GOOD | {'base_model.model.transformer.wte.weight': np.zeros([4, 4])}, {}, 'base_model.model.transformer.wte.weight'),
    (pair('h.0.attn.c_attn', 2, 64, 192), {'base_model_name_or_path': 'me/large'}, r'needs \[32, 2\], the adapters have \[64, 2\].*me/large'),
    (pair('h.5.attn.c_attn', 2, 32, 96), {}, 'h5/attn/c_attn'), (pair('h.0.mlp.c_nix', 2, 32, 96), {}, 'h0/mlp/c_nix'),
    (dict([*GOOD.items()][:1]), {}, r'lora_b: the model needs \[2, 96\], the adapters have none')], ids=range(13))
def test_what_is_no_lora_of_the_model_is_named(here, tmp_path, arrays, about, why):
    with pytest.raises(UserError, match=why):
        peft.read(adapters(tmp_path, arrays, **about), *checkpoint.load(str(here / 'run')), str(here / 'run'))


def test_a_folder_that_peft_did_not_write(here, tmp_path):
    with pytest.raises(UserError, match='adapter_config.json: there is no such file'):
        peft.read(str(tmp_path), *checkpoint.load(str(here / 'run')), str(here / 'run'))


# ---- what cannot be

@pytest.mark.parametrize('format, run, hparams, why', [
    ('hf', 'typed', {}, 'hf cannot hold type_tokens'), ('gguf', 'typed', {}, 'gguf cannot hold type_tokens'), ('tf1', 'typed', {}, 'tf1 cannot hold type_tokens'),
    ('tf1', 'run', {'layer_norm_epsilon': 1e-6}, 'layer_norm_epsilon'), ('gguf', 'run', {'activation_function': 'relu'}, 'activation_function'),
    ('hf', 'run', {'windows': (8, 4)}, 'windows of 4 and 8'), ('litert', 'run', {'windows': (8, 0)}, 'windows'), ('peft', 'run', {}, 'has no adapters')])
def test_what_a_format_cannot_hold_is_refused_and_nothing_is_written(here, tmp_path, format, run, hparams, why):
    read, params = checkpoint.load(str(here / run))
    source = formats.source(str(here / run), model.HParams(**vars(read) | hparams), params)
    with pytest.raises(UserError, match=why):
        formats.write(format, str(tmp_path / 'out'), source, **({'base': None} if format == 'peft' else {}))
    assert os.listdir(tmp_path) == []


def test_whole_or_not_at_all(here, tmp_path):
    source, out = formats.source(str(here / 'run'), *checkpoint.load(str(here / 'run'))), tmp_path / 'out'

    def full(name):
        if name == 'h1/mlp/c_fc/w':
            raise OSError(28, 'No space left on device')
        return source.get(name)

    for format in ('hf', 'litert', 'gguf'):
        with pytest.raises(OSError):
            formats.write(format, str(out), source._replace(get=full))
        assert os.listdir(tmp_path) == []
    out.mkdir()
    (tmp_path / '.out.q8.abcd_123.part').mkdir()                        # of an export to out.q8 that runs
    (tmp_path / '.out.npz.abcd_123.part').write_text('')                # of an encode.py
    (tmp_path / '.out.abcd_123.part').mkdir()                           # of one to out that was killed
    formats.write('hf', str(out), source)                               # an empty folder is as good as none
    assert sorted(os.listdir(tmp_path)) == ['.out.npz.abcd_123.part', '.out.q8.abcd_123.part', 'out']
    (tmp_path / '.out.q8.abcd_123.part').rmdir()
    (tmp_path / '.out.npz.abcd_123.part').rename(tmp_path / '.out.abcd_123.part')
    formats.write('hf', str(out), source)                               # a file is none of its
    (tmp_path / '.out.abcd_123.part').unlink()
    (out / 'notes').write_text('mine')
    (out / 'config.json').write_text('old')
    formats.write('hf', str(out), source)
    assert (out / 'notes').read_text() == 'mine' and 'gpt2' in (out / 'config.json').read_text() and os.listdir(tmp_path) == ['out']


def test_gguf_without_its_package_or_in_blocks_that_do_not_fit(here, tmp_path, monkeypatch):
    read, params = checkpoint.load(str(here / 'run'))
    source = formats.source(str(here / 'run'), model.HParams(**vars(read) | {'n_embd': 36}), params)
    with pytest.raises(UserError, match='n_embd 36 does not divide into such: give --precision float16'):
        formats.write('gguf', str(tmp_path / 'out'), source, 'q8_0')
    monkeypatch.setitem(sys.modules, 'gguf', None)
    with pytest.raises(UserError, match='pip install -r requirements-hub.txt'):
        formats.write('gguf', str(tmp_path / 'out'), source)


# ---- in their own homes

THEIRS = """
import json, sys
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_grad_enabled(False)
hf, half, other, neo, adapters, *ggufs, messages, ids = sys.argv[1:]
messages, ids, said = json.loads(messages), json.loads(ids), {}
tokenizer, model = AutoTokenizer.from_pretrained(hf), AutoModelForCausalLM.from_pretrained(hf)
said['prompt'] = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)['input_ids']
said['texts'] = [tokenizer(text)['input_ids'] for text in ("don't  \\n\\n 12 é", 'hi<|endoftext|>you')]
said['special'] = tokenizer.all_special_tokens
said['logits'] = model(torch.tensor([ids])).logits[0].tolist()
said['half'] = AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32)(torch.tensor([ids])).logits[0].tolist()
said['other'], said['neo'] = (AutoModelForCausalLM.from_pretrained(each)(torch.tensor([ids])).logits[0].tolist() for each in (other, neo))
answer = model.generate(**tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors='pt'))
said['answer'] = len(answer[0]) - len(said['prompt'])
try:
    from peft import PeftModel
    said['peft'] = PeftModel.from_pretrained(model, adapters)(torch.tensor([ids])).logits[0].tolist()
except ImportError:
    pass
try:
    from llama_cpp import Llama
    said['llama'] = []
    for path in ggufs:
        llama = Llama(path, n_ctx=96, logits_all=True, verbose=False, n_threads=1)
        llama.eval(ids)
        said['llama'].append(llama.scores[:len(ids)].tolist())
    said['bytes'] = llama.tokenize("don't  \\n\\n 12 é<|endoftext|>".encode(), add_bos=False, special=True)
    said['finish'] = llama.create_chat_completion(messages, max_tokens=8)['choices'][0]['finish_reason']
except ImportError:
    pass
print(json.dumps(said))
"""


@pytest.mark.skipif(not PEER, reason='PEER_PYTHON names no Python that has torch and transformers')
def test_transformers_peft_and_llama_cpp_say_the_same(here):
    ids, messages = [2047, *range(300, 320), 7], [{'role': 'user', 'content': 'hi\nyou'}, {'role': 'assistant', 'content': 'é <|endoftext|>'}, {'role': 'user', 'content': 'ok'}]
    folders = [written(here, 'hf'), written(here, 'hf', precision='float16'), *(written(here, 'hf', run=run) for run in ('other', 'neo')), written(here, 'peft', run='lora')]
    ggufs = [written(here, 'gguf', precision=precision) / 'model.gguf' for precision in ('float32', 'float16', 'q8_0')]
    done = subprocess.run([PEER, '-c', THEIRS, *map(str, folders + ggufs), json.dumps(messages), json.dumps(ids)], capture_output=True, text=True, timeout=300)
    said = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else pytest.fail(done.stderr)
    hparams, params = checkpoint.load(str(here / 'run'))
    expected = model.model(hparams, params, tf.constant([ids]))['logits'][0].numpy()
    most = np.abs(expected).max()
    np.testing.assert_allclose(said['logits'], expected, atol=1e-4)
    for run in ('other', 'neo'):
        np.testing.assert_allclose(said[run], model.model(*checkpoint.load(str(here / run)), tf.constant([ids]))['logits'][0], atol=1e-4)
    np.testing.assert_allclose(said['half'], expected, atol=0.01 * most)
    session = chat.open_session(str(here / 'run'), SimpleNamespace(hparams=hparams))
    for message in messages:
        session.say(session.answerer if message['role'] == 'assistant' else session.me, message['content'])
    enc = session.enc
    assert said['prompt'] == session.prompt() and said['texts'] == [enc.encode("don't  \n\n 12 é"), [*enc.encode('hi'), enc.eot, *enc.encode('you')]]
    assert said['special'] == ['<|endoftext|>'] and 1 <= said['answer'] <= 8
    if 'peft' in said:
        adapted = model.model(*checkpoint.load(str(here / 'lora')), tf.constant([ids]))['logits'][0]
        np.testing.assert_allclose(said['peft'], adapted, atol=1e-4)
        assert np.abs(adapted - expected).max() > 0.1
    if 'llama' in said:
        for found, near in zip(said['llama'], (2e-3, 0.01, 0.05)):
            np.testing.assert_allclose(found, expected, atol=near * most)
        np.testing.assert_array_equal(np.argmax(said['llama'][0], axis=-1), expected.argmax(axis=-1))
        assert said['bytes'] == [*enc.encode("don't  \n\n 12 é"), enc.eot] and said['finish'] in ('stop', 'length')


IN_VLLM = """
import json, sys
from vllm import LLM, SamplingParams
if __name__ == '__main__':
    folder, messages, ids = sys.argv[1:]
    llm = LLM(folder, dtype='float32', enforce_eager=True, max_num_seqs=1)
    answer, said = llm.generate([{'prompt_token_ids': json.loads(ids)}], SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)), []
    if json.loads(messages):
        said = llm.chat(json.loads(messages), SamplingParams(temperature=0, max_tokens=8))[0].prompt_token_ids
    print('SAID', json.dumps([list(answer[0].outputs[0].token_ids), list(said)]))
"""


@pytest.mark.skipif(not VLLM, reason='VLLM_PYTHON names no Python that has vllm')
@pytest.mark.parametrize('run', ['run', 'other'])
def test_vllm_says_the_same(here, tmp_path, run):
    ids, messages = [2047, *range(300, 320), 7], [{'role': 'user', 'content': 'hi\nyou'}, {'role': 'assistant', 'content': 'é'}, {'role': 'user', 'content': 'ok'}]
    hparams, params = checkpoint.load(str(here / run))
    hparams, out = model.replace(hparams, n_head=1), tmp_path / 'out'          # it has no heads of fewer than 32 features
    formats.write('hf', str(out), formats.source(str(here / run), hparams, params))
    session = chat.open_session(str(here / run), SimpleNamespace(hparams=hparams))
    for message in messages:
        session.say(session.answerer if message['role'] == 'assistant' else session.me, message['content'])
    (tmp_path / 'ask.py').write_text(IN_VLLM)                           # a file, for vLLM starts Pythons of its own
    done = subprocess.run([VLLM, str(tmp_path / 'ask.py'), str(out), json.dumps(messages), json.dumps(ids)], capture_output=True, text=True, timeout=300, cwd=tmp_path,
                          env=os.environ | {'PYTHONPATH': '', 'HF_HUB_OFFLINE': '1', 'VLLM_CPU_KVCACHE_SPACE': '1', 'VLLM_CPU_OMP_THREADS_BIND': 'nobind'})
    said = [line for line in done.stdout.splitlines() if line.startswith('SAID ')] or pytest.fail(done.stderr[-3000:])
    answer, prompt = json.loads(said[0][5:])
    expected = list(ids)
    for _ in range(8):
        expected.append(int(model.model(hparams, params, tf.constant([expected]))['logits'][0, -1].numpy().argmax()))
    assert answer == expected[len(ids):]
    assert prompt == session.prompt()

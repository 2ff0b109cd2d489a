"""Models of others -> model folders of ours: GPT-2s and GPT-Neos as the Hugging Face hub has them.

    config.json                                what differs from OpenAI's GPT-2 -> hparams.json
    model.safetensors, pytorch_model.bin, ...  weights (tensors.py) -> model.ckpt, under OpenAI's names, in float32
    tokenizer.json, or vocab.json, merges.txt  byte-level BPE -> encoder.json, vocab.bpe
                                               what is known of how it talks -> dialogue.json
    source.json                                {"from": "microsoft/DialoGPT-medium", "revision": "main", "commit": "7b40bb0f...",
                                                "model_type": "gpt2", "query_scales": [1.0, ...]}

What only changes the products of queries and keys goes into the weights of the queries, once and for all: attention without GPT-2's
1 / sqrt(features) (GPT-Neo, Black et al. 2021), or with 1 / (layer + 1) more. source.json keeps these "query_scales", a number for each
layer, for adapters are made for weights without. GPT-Neo is a GPT-2 then, some of whose layers look back 256 positions only
(hparams.windows).
"""
import contextlib
import errno
import json
import math
import os
import re
import shutil

import numpy as np
import tensorflow as tf

from . import checkpoint, files, folders, model, tensors
from .console import UsageError, UserError
from .encoder import END_OF_TEXT, Encoder, bytes_to_unicode, read_merges, write_merges
from .fetch import check_free, reason
from .hparams import n_params

WEIGHTS = ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json', 'tf_model.h5')     # the first there is
OTHERS = ('config.json', 'tokenizer.json', 'tokenizer_config.json', 'vocab.json', 'merges.txt', 'added_tokens.json', 'special_tokens_map.json')
CONFIG_NAMES = {                                        # other names that transformers takes
    'gpt2': {'max_position_embeddings': 'n_positions', 'hidden_size': 'n_embd', 'num_attention_heads': 'n_head', 'num_hidden_layers': 'n_layer'},
    'gpt_neo': {'num_attention_heads': 'num_heads', 'num_hidden_layers': 'num_layers'}}
ACTIVATIONS = {'gelu_fast': 'gelu_new', 'gelu_pytorch_tanh': 'gelu_new', 'gelu_accurate': 'gelu_new', 'gelu_python': 'gelu', 'swish': 'silu'}     # other names
OURS = re.compile(r'(?:^|\.)((?:h\.\d+|wte|wpe|ln_f|lm_head)\..*)')      # transformer.h.0.ln_1.weight, and whatever else may be in front
MASKS = re.compile(r'h\.\d+\.attn\.(attention\.)?(bias|masked_bias)$')   # constants that old versions saved


# ---- from the hub

def fetch(repo, revision=None, token=None):
    """Bring what is needed of a model on the hub into huggingface_hub's cache, unless it is there -> (folder, commit).

    token: for private and gated models; None: HF_TOKEN, or that of `hf auth login`. Raises UserError: for a model that is not read here,
    before its weights have come.
    """
    try:
        from huggingface_hub import HfApi, constants, errors
    except ImportError:
        raise UserError(f'{repo} comes through huggingface_hub, which is not installed: pip install -r requirements-hub.txt') from None
    where = f'{constants.ENDPOINT}/{repo}'
    try:
        api = HfApi(token=token)
        info = api.model_info(repo, revision=revision)
        there = {file.rfilename for file in info.siblings or []}
        weights = weights_in(there, where)

        def get(name):
            return api.hf_hub_download(repo, name, revision=info.sha)

        if 'config.json' not in there:
            raise UserError(f'{where} has no config.json, which tells of what kind its model is.')
        for name in there & {*OTHERS}:
            folder = os.path.dirname(get(name))
        described(folder, where, there)
        for name in map(os.path.basename, tensors.shards(get(weights)) if weights.endswith('.index.json') else [weights]):
            get(name)
        return folder, info.sha
    except errors.GatedRepoError:
        raise UserError(f'{where} asks for an agreement: accept it there, then give --token, or HF_TOKEN, from your settings on the hub.') from None
    except errors.RepositoryNotFoundError:
        raise UserError(f'{where}: there is no such model, or it is private; check the name, and for a private one give --token or HF_TOKEN.') from None
    except errors.RevisionNotFoundError:
        raise UserError(f'{where} has no revision {revision}; its page lists the branches and tags, under "Files".') from None
    except errors.HFValidationError:
        raise UsageError(f'{repo!r} is no name of a model on the hub, such as microsoft/DialoGPT-medium; --local takes a folder.') from None
    except (OSError, *errors.HfHubHTTPError.__bases__) as error:         # of the library with which it speaks HTTP: requests or httpx
        if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f'{constants.HF_HUB_CACHE}: no space left for {repo}; free some, or set HF_HOME to a larger disk, and run the '
                            'same command again, files that came whole are kept.') from None
        raise UserError(f'{where} could not be fetched ({checkpoint.one_line(reason(error))}); check the connection and run the same command '
                        'again, files that came whole are kept.') from None


def weights_in(names, where):
    """The file of weights among these names. Raises UserError."""
    for name in WEIGHTS:
        if name in names:
            return name
    others = [name for name in names if name.endswith(('.safetensors', '.bin', '.h5', '.msgpack', '.gguf', '.ot', '.onnx', '.pt', '.pth', '.ckpt'))]
    raise UserError(f'{where} has no weights that are read here ({", ".join(sorted(others)[:5]) or "none at all"}); these are: {", ".join(WEIGHTS)}.')


# ---- config.json

def hparams_of(config):
    """config.json's values -> (HParams, for each layer what its queries are multiplied by). Raises UserError that names what is not supported.

    Of tie_word_embeddings, the weights decide.
    """
    kind = config.get('model_type')
    if kind not in ('gpt2', 'gpt_neo'):
        raise UserError(f'this is a model of the type {kind}; read are gpt2 and gpt_neo.')
    for key, why in (('add_cross_attention', 'looks at the output of another model'), ('quantization_config', 'has quantized weights'),
                     ('auto_map', 'comes with code of its own, which is not run here')):
        if config.get(key):
            raise UserError(f'this model {why} ({key}); take one without.')
    config = {CONFIG_NAMES[kind].get(key, key): value for key, value in config.items()} | {key: value for key, value in config.items() if key not in CONFIG_NAMES[kind]}
    neo, asked = kind == 'gpt_neo', str(config.get('activation_function', 'gelu_new'))
    activation = ACTIVATIONS.get(asked, asked)
    if activation not in model.ACTIVATIONS:
        raise UserError(f'this model has the activation_function {asked}; there are {", ".join([*model.ACTIVATIONS, *ACTIVATIONS])}.')
    try:
        n_ctx, n_embd, n_head, n_layer, n_inner = (config.get(key, default) for key, default in (
            (('max_position_embeddings', 2048), ('hidden_size', 2048), ('num_heads', 16), ('num_layers', 24), ('intermediate_size', None)) if neo else
            (('n_positions', 1024), ('n_embd', 768), ('n_head', 12), ('n_layer', 12), ('n_inner', None))))
        windows = windows_of(config, n_layer, n_ctx) if neo else ()
        hparams = model.HParams(
            config.get('vocab_size', 50257), n_ctx, n_embd, n_head, n_layer, n_inner=None if n_inner == 4 * n_embd else n_inner, windows=windows,
            activation_function=activation, layer_norm_epsilon=float(config.get('layer_norm_epsilon', 1e-5)))
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f'its config.json is damaged: {checkpoint.one_line(error)}') from None
    unscaled = math.sqrt(n_embd // n_head) if neo or not config.get('scale_attn_weights', True) else 1
    return hparams, [unscaled / (layer + 1 if config.get('scale_attn_by_inverse_layer_idx') else 1) for layer in range(n_layer)]


def windows_of(config, n_layer, n_ctx):
    """GPT-Neo's [[["global", "local"], 12]] -> (0, 256, 0, 256, ...); () where all layers look at everything."""
    kinds = config.get('attention_layers') or [kind for kinds, times in config.get('attention_types') or [[['global', 'local'], n_layer // 2]] for kind in kinds * times]
    unknown = {*kinds} - {'global', 'local'}
    if unknown:
        raise UserError(f'a layer of this model has attention of the type {unknown.pop()!r}; there are global and local.')
    window = config.get('window_size', 256)
    found = tuple(window if kind == 'local' and window < n_ctx else 0 for kind in kinds)
    return found if any(found) else ()


# ---- weights

def weights_of(found, hparams, scales):
    """{their name: array} -> (HParams that know whether the logits have a matrix of their own, iterator of (our name, float32 array)).

    scales: hparams_of's. Raises UserError where something is missing, has another shape, or belongs to no GPT-2.
    """
    neo = 'h.0.attn.attention.q_proj.weight' in (found := placed(found))
    known = {each for name in [*model.shapes(hparams), 'lm_head'] for each in their_names(name, neo)}
    unknown = [name for name in found if name not in known and not MASKS.match(name)]
    if unknown:
        raise UserError(f'its weights have {unknown[0]}{f" and {len(unknown) - 1} more" * (len(unknown) > 1)}, which a {hparams.n_layer}-layer GPT-2 has not.')

    def get(name):
        if name not in found:
            raise UserError(f'its weights lack {name}; download them again, or take another revision.')
        return np.asarray(found[name], np.float32)

    head = 'lm_head.weight' in found and not np.array_equal(found['lm_head.weight'], found.get('wte.weight'))
    hparams = model.replace(hparams, tie_word_embeddings=not head)
    across = neo or tuple(get('h.0.attn.c_attn.weight').shape) == (3 * hparams.n_embd, hparams.n_embd)       # Linear keeps [nf, nx], Conv1D [nx, nf]

    def one(name, shape):
        theirs = their_names(name, neo)
        array = get(theirs[0]) if len(theirs) == 1 else np.concatenate([get(each) for each in theirs]) if theirs else np.zeros(shape, np.float32)
        array = (array.T if across else array)[None] if name.endswith('/w') else array.reshape(-1) if len(shape) == 1 else array
        if list(array.shape) != shape:
            raise UserError(f'its {theirs[0]} makes {list(array.shape)} where config.json has {shape}: the two files are of different models.')
        if '/c_attn/' in name and scales[layer := int(name.split('/')[0][1:])] != 1:
            array = np.array(array)
            array[..., :hparams.n_embd] *= np.float32(scales[layer])
        return array

    return hparams, ((name, one(name, shape)) for name, shape in model.shapes(hparams).items())


def grown(hparams, weights, n_vocab, unknown):
    """The same with room for n_vocab tokens: the new ones are as the token `unknown`, without one the mean of all."""
    def longer(name, array):
        if name not in ('wte', 'lm_head') or n_vocab <= len(array):
            return array
        new = array.mean(axis=0) if unknown is None else array[unknown]
        return np.concatenate([array, np.tile(new, [n_vocab - len(array), 1])])

    return model.replace(hparams, n_vocab=max(n_vocab, hparams.n_vocab)), ((name, longer(name, array)) for name, array in weights)


def placed(found):
    """{transformer.h.0.ln_1.weight: array, ...} -> the same by what stands behind any prefix; what else there is, is told."""
    matches = {name: OURS.search(name) for name in found}
    others = [name for name, match in matches.items() if not match]
    if others:
        print(f'(left out, for a language model does without: {", ".join(others[:5])}{" ..." * (len(others) > 5)})')
    return {match[1]: found[name] for name, match in matches.items() if match}


def their_names(name, neo):
    """h0/attn/c_attn/w -> [h.0.attn.c_attn.weight], in GPT-Neo the three of which it is made; [] of a bias that is 0."""
    *path, leaf = re.sub(r'^h(\d+)/', r'h/\1/', name).split('/')
    if not path:                                        # wte, wpe, lm_head
        return [leaf + '.weight']
    at, leaf = '.'.join(path), 'bias' if leaf == 'b' else 'weight'
    if neo and at.endswith('attn.c_attn'):
        return [f'{at.removesuffix("c_attn")}attention.{each}_proj.weight' for each in 'qkv'] if leaf == 'weight' else []
    if neo and at.endswith('attn.c_proj'):
        at = at.removesuffix('c_proj') + 'attention.out_proj'
    return [f'{at}.{leaf}']


# ---- vocabulary

def vocabulary_of(folder, config, there):
    """-> ({token: id}, [(left, right)]) of byte-level BPE, with the end of a text under its name here, and a name for every id. Bytes that it lacks are behind
    the others, beyond the embeddings that there are.

    there: the names of the files where the folder comes from. Raises UserError that names another kind of tokenizer.
    """
    if 'tokenizer.json' in there:
        tokens, merges = from_tokenizer(read_json(folder, 'tokenizer.json'))
    elif {'vocab.json', 'merges.txt'} <= {*there}:
        tokens = read_json(folder, 'vocab.json') | (read_json(folder, 'added_tokens.json') if 'added_tokens.json' in there else {})
        merges = [tuple(merge.split(' ')) for merge in read_merges(os.path.join(folder, 'merges.txt'), errors='replace')]
    else:
        kind = 'sentencepiece' if any(name.endswith('.model') for name in there) else 'WordPiece' if 'vocab.txt' in there else 'none'
        raise UserError(f"its tokenizer is {kind}; read is GPT-2's kind, byte-level BPE, in tokenizer.json, or vocab.json and merges.txt"
                        + (', which the model has that it was made from: copy them beside the weights, and give --local the folder.' if kind == 'none' else '.'))
    if not (all(len(merge) == 2 and all(isinstance(part, str) for part in merge) for merge in merges)
            and all(isinstance(token, str) and isinstance(i, int) and i >= 0 for token, i in tokens.items())):
        raise UserError('its vocab.json, merges.txt or tokenizer.json is damaged: download it again.')
    others = {*''.join(part for merge in merges for part in merge)} - {*bytes_to_unicode().values()}
    if others or any(right.endswith('</w>') for _, right in merges):
        raise UserError(f"its tokenizer merges {repr(min(others)) if others else 'ends of words (</w>)'}, which is no byte; read is GPT-2's kind, byte-level BPE.")
    n_vocab = config.get('vocab_size', 50257)
    beyond = [token for token, i in tokens.items() if i >= n_vocab]
    if beyond:
        print(f'(the model has no embedding of {", ".join(beyond[:5])}{" ..." * (len(beyond) > 5)}, so the vocabulary goes without)')
        tokens = {token: i for token, i in tokens.items() if i < n_vocab}
    made = {*bytes_to_unicode().values(), *(left + right for left, right in merges)}
    end = next((token for token in ends_said(folder, config, tokens) if token in tokens and token not in made), None)
    if end not in (None, END_OF_TEXT):
        i = tokens.pop(end)
        tokens = {f'<|unused {other}|>' if token == END_OF_TEXT else token: other for token, other in tokens.items()} | {END_OF_TEXT: i}
    taken, lacking = set(tokens.values()), [character for character in bytes_to_unicode().values() if character not in tokens]
    if lacking:
        print(f'(its vocabulary lacks {len(lacking)} of the 256 bytes that texts are made of; here it has them, and the model knows them as its token for the unknown)')
    return tokens | {f'<|unused {i}|>': i for i in range(n_vocab) if i not in taken} | {character: n_vocab + i for i, character in enumerate(lacking)}, merges


def from_tokenizer(found):
    """tokenizer.json -> ({token: id}, merges). Raises UserError."""
    try:
        kind = found['model'].get('type', 'BPE')
        if kind != 'BPE':
            raise UserError(f"its tokenizer is of the type {kind}; read is GPT-2's kind, byte-level BPE.")
        cutter = found.get('pre_tokenizer') or {}
        [cutter] = cutter['pretokenizers'] if cutter.get('type') == 'Sequence' and len(cutter['pretokenizers']) == 1 else [cutter]
        odd = [key for key in ('continuing_subword_prefix', 'end_of_word_suffix', 'byte_fallback', 'ignore_merges') if found['model'].get(key)]
        if cutter.get('type') != 'ByteLevel' or not cutter.get('use_regex', True) or odd:
            what = odd[0] if odd else f'pre_tokenizer {cutter.get("type")}'
            raise UserError(f"its tokenizer cuts texts in another way than GPT-2's ({what}); read is byte-level BPE.")
        for what, there in (('normalizes texts', found.get('normalizer')), ('puts a blank in front of a text', cutter.get('add_prefix_space'))):
            if there:
                print(f'(its tokenizer {what}; here, texts are taken as they are)')
        words = [token['content'] for token in found.get('added_tokens') or [] if not token.get('special', True) and token['content'] != END_OF_TEXT]
        if words:
            print(f'(its tokenizer has tokens of their own for {", ".join(words[:5])}{" ..." * (len(words) > 5)}; here, texts are cut as if it had not)')
        merges = [tuple(merge.split(' ') if isinstance(merge, str) else merge) for merge in found['model']['merges']]
        return found['model']['vocab'] | {token['content']: token['id'] for token in found.get('added_tokens') or []}, merges
    except (KeyError, TypeError, AttributeError):
        raise UserError('its tokenizer.json is damaged: download it again.') from None


def said(folder, which):
    """Yield the special token `which` as tokenizer_config.json and special_tokens_map.json have it."""
    for name in ('tokenizer_config.json', 'special_tokens_map.json'):
        if os.path.isfile(os.path.join(folder, name)):
            token = read_json(folder, name).get(which)
            if token:
                yield str(token.get('content') if isinstance(token, dict) else token)


def ends_said(folder, config, tokens):
    """Yield what may be the token that ends a text: as the tokenizer has it, as config.json, under its usual name. Not each is in the vocabulary, nor each a
    token that is no word: config.json often has GPT-2's number, whatever the vocabulary."""
    yield from said(folder, 'eos_token')
    ids = config.get('eos_token_id')
    for wanted in ids if isinstance(ids, list) else [ids]:
        yield from (token for token, i in tokens.items() if i == wanted)
    yield END_OF_TEXT


def read_json(folder, name):
    """A file that holds an object. Raises UserError."""
    path = os.path.join(folder, name)
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
        if not isinstance(found, dict):
            raise ValueError
        return found
    except FileNotFoundError:
        raise UserError(f'{path}: there is no such file, so {folder} is no model as the hub has them.') from None
    except (ValueError, RecursionError):
        raise UserError(f'{path} is damaged: download it again.') from None


def described(folder, where, there):
    """What a folder says of its model, without its weights -> (config.json, HParams, scales, {token: id}, merges). there: the names of its files.
    Raises UserError that names `where`."""
    with telling(where):
        config = read_json(folder, 'config.json')
        hparams, scales = hparams_of(config)
        tokens, merges = vocabulary_of(folder, config, there)
        Encoder(tokens, merges, 'its vocabulary')
        return config, hparams, scales, tokens, merges


@contextlib.contextmanager
def telling(where):
    """A UserError within names `where`, if it does not yet."""
    try:
        yield
    except UserError as error:
        raise error if where in str(error) else UserError(f'{where}: {error}') from None


# ---- a model folder

def add(models_dir, name, source, get):
    """Make models_dir/name of a model, unless it is there already -> its path. source: what source.json says of it, but for the commit;
    get(): the folder with their files, and the commit or None.

    It has its name once it is whole. Raises UserError, also where the name is taken by another.
    """
    target = os.path.join(models_dir, name)
    if os.path.isdir(target):
        known = source_of(target)
        if any(known.get(key) != value for key, value in source.items()):
            raise UserError(f'{target} is there already, and was made from {known.get("from", "something else")}{known_revision(known)}: '
                            '--name gives this one another name.')
        print(f'{name} is complete{known_revision(known)}; to fetch it anew, delete {target}.')
        return target
    folder, commit = get()
    os.makedirs(models_dir, exist_ok=True)
    with files.alone(models_dir, 'another download'):
        made = os.path.join(models_dir, f'.{name}.part')
        shutil.rmtree(made, ignore_errors=True)         # of a call that was killed
        try:
            os.mkdir(made)
            known = source | ({'commit': commit} if commit else {}) | convert(folder, made, name)
            with files.whole(os.path.join(made, 'source.json'), 'w', encoding='utf-8') as file:
                json.dump(known, file)
            os.rename(made, target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    files.sync_folder(models_dir)
    return target


def source_of(folder):
    """What source.json says of a model folder; {} where there is none."""
    return read_json(folder, 'source.json') if os.path.isfile(os.path.join(folder, 'source.json')) else {}


def known_revision(known):
    return f' (revision {known["revision"]})' if known.get('revision') else ''


def convert(folder, target, name):
    """A folder with a model as the hub has them -> the files of a model folder of this name, in `target`. Returns what source.json is to know of it
    besides. Raises UserError that names the folder."""
    if not os.path.isdir(folder):
        raise UserError(f'{folder}: there is no such folder; --local takes one with config.json, weights and a vocabulary.')
    there = os.listdir(folder)
    config, hparams, scales, tokens, merges = described(folder, folder, there)
    path = os.path.join(folder, weights_in(there, folder))
    with telling(path):
        hparams, weights = weights_of(tensors.read(path), hparams, scales)
        hparams, weights = grown(hparams, weights, 1 + max(tokens.values()), next((tokens[token] for token in said(folder, 'unk_token') if token in tokens), None))
        check_free(4 * n_params(hparams), os.path.dirname(target), '--models_dir')
        checkpoint.save(target, hparams, model.nested({name: tf.constant(array) for name, array in weights}))
    with files.whole(os.path.join(target, 'encoder.json'), 'w', encoding='utf-8') as file:
        json.dump(tokens, file)
    write_merges(os.path.join(target, 'vocab.bpe'), map(' '.join, merges))
    if 'dialogpt' in name.lower() or 'conversational' in str(config.get('task_specific_params')):         # as DialoGPT's config.json and its children's has
        folders.write_dialogue(target, {'style': 'dialogpt', 'speakers': []})
    return {'model_type': config['model_type'], 'query_scales': scales}

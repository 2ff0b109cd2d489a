"""A Hugging Face folder, as transformers and vLLM load it: GPT2LMHeadModel, whose matrices are [in, out] as ours are; of a model with windows,
GPTNeoForCausalLM (neo.py).

    config.json  generation_config.json  model.safetensors  tokenizer.json  tokenizer_config.json  special_tokens_map.json  vocab.json  merges.txt

    AutoModelForCausalLM.from_pretrained('out'), AutoTokenizer.from_pretrained('out').apply_chat_template(messages, add_generation_prompt=True)
    vllm serve out                      (a chat of OpenAI's kind at http://localhost:8000/v1)

generation_config.json ends a reply where a turn ends: eos_token_id has each token that does so, those with a line break where a line is a turn.
"""
import os

from .. import hub
from ..encoder import write_merges
from ..model import shapes
from . import frame, neo, refuse, safetensors, vocabulary
from .vocabulary import write_json


def write(out, source, precision):
    """Write the folder's files."""
    h, special = source.hparams, source.enc.special_tokens
    refuse(h, 'hf', held=['n_inner', 'activation_function', 'layer_norm_epsilon', 'tie_word_embeddings', 'windows'])
    end = frame.ends(source)
    config, (sizes, get) = (neo.config(h), neo.weights(source)) if h.windows else (_config(h), _weights(source))
    write_json(out, 'config.json', config | {
        'vocab_size': h.n_vocab, 'activation_function': h.activation_function, 'layer_norm_epsilon': h.layer_norm_epsilon, 'initializer_range': 0.02,
        'tie_word_embeddings': h.tie_word_embeddings, 'bos_token_id': end.bos, 'eos_token_id': end.eos, 'torch_dtype': precision})
    ids = {'bos_token_id': end.bos, 'eos_token_id': end.stops or None, 'pad_token_id': end.eos}
    write_json(out, 'generation_config.json', {key: i for key, i in ids.items() if i is not None} | _sampling(source.session))
    names = {i: name for name, i in special.items()}
    marks = {'bos_token': names.get(end.bos), 'eos_token': names.get(end.eos), 'unk_token': names.get(end.eos), 'pad_token': names.get(end.eos)}
    marks = {key: name for key, name in marks.items() if name} | {'additional_special_tokens': [name for name in special if name not in marks.values()]}
    write_json(out, 'special_tokens_map.json', marks)
    write_json(out, 'tokenizer_config.json', marks | {
        'tokenizer_class': 'PreTrainedTokenizerFast', 'model_max_length': h.n_ctx, 'add_prefix_space': False, 'clean_up_tokenization_spaces': False,
        'added_tokens_decoder': {str(i): {'content': name, **vocabulary.flags()} for i, name in names.items()}} | (
        {'chat_template': frame.template(source.session)} if source.session else {}))
    vocabulary.write(out, source)
    write_json(out, 'vocab.json', source.tokens)
    write_merges(os.path.join(out, 'merges.txt'), source.merges)
    below = {name if name == 'lm_head.weight' else 'transformer.' + name: name for name in sizes}       # the head stands on the transformer
    safetensors.write(os.path.join(out, 'model.safetensors'), {full: sizes[name] for full, name in below.items()}, lambda full: get(below[full]), precision)


def _config(h):
    """What config.json says of the sizes."""
    return {'architectures': ['GPT2LMHeadModel'], 'model_type': 'gpt2', 'n_positions': h.n_ctx, 'n_ctx': h.n_ctx, 'n_embd': h.n_embd, 'n_head': h.n_head,
            'n_layer': h.n_layer, 'n_inner': h.n_inner}


def _weights(source):
    """({their name: shape}, get(their name) -> array)"""
    sizes = shapes(source.hparams)
    ours = {hub.their_names(name, neo=False)[0]: name for name in sizes}
    return {theirs: sizes[name][-2:] for theirs, name in ours.items()}, lambda theirs: source.get(ours[theirs])


def _sampling(session):
    """How the chat draws its words; nothing of plain text."""
    if session is None:
        return {}
    return {'do_sample': True, 'max_new_tokens': session.length} | frame.sampling(session.settings)

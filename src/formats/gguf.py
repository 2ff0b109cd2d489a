"""GGUF, as llama.cpp and what is built on it load it (Ollama, LM Studio): out/model.gguf, weights, vocabulary and chat template in one file.

    blk.0.attn_qkv.weight [3 * n_embd, n_embd], ...         every matrix [out, in], the other way round than ours

    llama-server -m out/model.gguf --jinja

q8_0 has a scale for each 32 numbers of a row; vectors and positions stay float32. llama.cpp ends a reply at the ids named eos, eot and eom: where turns
end by a line break, its token and the next one that holds one.
"""
import os

import numpy as np

from ..console import UserError
from ..model import shapes
from . import frame, refuse

NAMES = {'wte': 'token_embd.weight', 'lm_head': 'output.weight', 'wpe': 'position_embd.weight',
         'ln_f/g': 'output_norm.weight', 'ln_f/b': 'output_norm.bias'}
PARTS = {'ln_1': 'attn_norm', 'attn/c_attn': 'attn_qkv', 'attn/c_proj': 'attn_output', 'ln_2': 'ffn_norm', 'mlp/c_fc': 'ffn_up', 'mlp/c_proj': 'ffn_down'}
NORMAL, CONTROL, UNUSED = 1, 3, 5                       # gguf.TokenType


def write(out, source, precision):
    """Write model.gguf. Raises UserError where the package gguf is missing, or rows do not divide into q8_0's blocks."""
    refuse(source.hparams, 'gguf', held=['n_inner', 'layer_norm_epsilon', 'tie_word_embeddings'])
    try:
        import gguf
    except ImportError:
        raise UserError('--format gguf needs the package gguf: pip install -r requirements-hub.txt.') from None
    h, kinds = source.hparams, gguf.GGMLQuantizationType
    kind = {'float32': kinds.F32, 'float16': kinds.F16, 'q8_0': kinds.Q8_0}[precision]
    if precision == 'q8_0' and (h.n_embd % 32 or (h.n_inner or 0) % 32):
        raise UserError(f'--precision q8_0 takes rows in blocks of 32 numbers, and {"n_inner" if h.n_inner and h.n_inner % 32 else "n_embd"} {h.n_inner if h.n_inner and h.n_inner % 32 else h.n_embd} does not divide into such: give --precision float16.')
    writer = gguf.GGUFWriter(os.path.join(out, 'model.gguf'), 'gpt2')
    writer.add_type('model')
    writer.add_file_type({'float32': gguf.LlamaFileType.ALL_F32, 'float16': gguf.LlamaFileType.MOSTLY_F16, 'q8_0': gguf.LlamaFileType.MOSTLY_Q8_0}[precision])
    writer.add_context_length(h.n_ctx)
    writer.add_embedding_length(h.n_embd)
    writer.add_feed_forward_length(h.n_inner or 4 * h.n_embd)
    writer.add_block_count(h.n_layer)
    writer.add_head_count(h.n_head)
    writer.add_layer_norm_eps(h.layer_norm_epsilon)
    _add_vocabulary(writer, source)
    ours = {}                                           # each tensor's name in the file: ours, and its kind
    for name, shape in shapes(h).items():
        matrix = name in ('wte', 'lm_head') or name.endswith('/w')
        ours[theirs(name)] = name, kind if matrix else kinds.F32
        there = shape[:0:-1] if name.endswith('/w') else shape
        block, size = gguf.GGML_QUANT_SIZES[ours[theirs(name)][1]]
        writer.add_tensor_info(theirs(name), there, np.dtype(np.float32), int(np.prod(there)) // block * size, ours[theirs(name)][1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, kind in ours.values():                    # one at a time
        array = source.get(name)
        writer.write_tensor_data(gguf.quants.quantize(np.ascontiguousarray(array[0].T) if name.endswith('/w') else array, kind))
    writer.close()


def theirs(name):
    """h0/attn/c_attn/w -> blk.0.attn_qkv.weight"""
    if name in NAMES:
        return NAMES[name]
    layer, *part, leaf = name.split('/')
    return f'blk.{layer[1:]}.{PARTS["/".join(part)]}.{"bias" if leaf == "b" else "weight"}'


def _add_vocabulary(writer, source):
    """Tokens, merges, what is special, and how one talks."""
    names, special, ends = {i: token for token, i in source.tokens.items()}, source.enc.special_tokens, frame.ends(source)
    writer.add_tokenizer_model('gpt2')
    writer.add_tokenizer_pre('gpt-2')
    writer.add_token_list([names.get(i, f'[unused {i}]') for i in range(source.hparams.n_vocab)])
    writer.add_token_types([UNUSED if i not in names else CONTROL if names[i] in special else NORMAL for i in range(source.hparams.n_vocab)])
    writer.add_token_merges(source.merges)
    writer.add_add_bos_token(False)                     # the template writes it
    others = [i for i in ends.stops if i != ends.eos]
    for add, i in zip((writer.add_bos_token_id, writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id), (ends.bos, ends.eos, *others)):
        if i is not None:
            add(i)
    if source.session:
        writer.add_chat_template(frame.template(source.session))

"""The vocabulary as the package tokenizers reads it: one file, tokenizer.json, with every token, every merge, and what is special.

Special tokens are ids wherever they stand in a text, as these runtimes have it; from other text come the very ids of encoder.Encoder.
"""
import json
import os

from .. import files


def write(out, source):
    """out/tokenizer.json"""
    level = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True, 'use_regex': True}
    special = sorted(source.enc.special_tokens.items(), key=lambda item: item[1])
    write_json(out, 'tokenizer.json', {
        'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [{'id': i, 'content': name, **flags()} for name, i in special],
        'normalizer': None, 'pre_tokenizer': level, 'post_processor': level, 'decoder': level,
        'model': {'type': 'BPE', 'dropout': None, 'unk_token': None, 'continuing_subword_prefix': '', 'end_of_word_suffix': '', 'fuse_unk': False,
                  'byte_fallback': False, 'ignore_merges': False, 'vocab': source.tokens, 'merges': source.merges}})


def flags():
    """What is said of each special token: it is one wherever it stands, and takes nothing of what is around it."""
    return {'single_word': False, 'lstrip': False, 'rstrip': False, 'normalized': False, 'special': True}


def write_json(out, name, value):
    """out/name, as text that people can read."""
    with files.whole(os.path.join(out, name), 'w', encoding='utf-8') as file:
        json.dump(value, file, ensure_ascii=False, indent=None if name in ('tokenizer.json', 'vocab.json') else 2)

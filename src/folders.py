"""Model folders and run folders, without their weights: which checkpoint is the newest, who speaks in it. checkpoint.py shows what lies in them."""
import contextlib
import json
import os
import re

from . import files
from .console import UserError

PARTS = ('.data-00000-of-00001', '.index')              # of a bundle


def listed(folder):
    """The bundles that folder/checkpoint names, as prefixes, newest last; [] when there is no such file."""
    path = os.path.join(folder, 'checkpoint')
    if not os.path.isfile(path):
        return []
    with open(path, encoding='utf-8', errors='replace') as file:
        text = file.read()
    names = re.findall(r'^all_model_checkpoint_paths:\s*"(.*)"', text, re.M)
    newest = re.findall(r'^model_checkpoint_path:\s*"(.*)"', text, re.M)
    names = [name for name in names if name not in newest] + newest
    # forks wrote absolute paths of their own machine; the bundle lies beside the file all the same
    return [os.path.join(folder, re.split(r'[/\\]', name)[-1]) for name in names]


def latest(folder):
    """The prefix of folder's newest whole bundle, or None."""
    for prefix in reversed(listed(folder)):
        if all(os.path.isfile(prefix + part) for part in PARTS):
            return prefix
    return None


def resolve(path_or_name, models_dir='models'):
    """A model's name, a model or run folder, or a checkpoint prefix (.../model-500) -> (folder, prefix).

    Raises UserError when there is no such thing, or no weights in it.
    """
    if os.path.isfile(path_or_name + '.index'):
        return os.path.dirname(path_or_name) or '.', path_or_name
    folder = files.model_folder(path_or_name, models_dir)
    prefix = latest(folder)
    if prefix is None:
        raise UserError(f'{folder} holds no weights (no file `checkpoint` that names a bundle): python download_model.py fetches '
                        "OpenAI's models, python train.py --restore_from scratch trains one from random weights.")
    return folder, prefix


def remove(path):
    """Remove a file of ours, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def write_dialogue(directory, dialogue):
    """directory/dialogue.json: {"style": "name", "speakers": ["Mara", "Theo"]}, most talkative first; where it is known also "learnt":
    "Mara", the one whose words were learnt, "length": 31, the tokens of a turn of hers at most, as a rule, and "last_time": 1349680890000, of the
    newest message. None: no dialogue, no file."""
    if dialogue is None:
        return remove(os.path.join(directory, 'dialogue.json'))
    with files.whole(os.path.join(directory, 'dialogue.json'), 'w', encoding='utf-8') as file:
        json.dump(dialogue, file, ensure_ascii=False)


def read_dialogue(directory):
    """What write_dialogue wrote, or None."""
    path = os.path.join(directory, 'dialogue.json')
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding='utf-8') as file:
            dialogue = json.load(file)
        if not (isinstance(dialogue['style'], str) and all(isinstance(name, str) for name in dialogue['speakers'])
                and isinstance(dialogue.get('learnt', ''), str) and all(isinstance(dialogue.get(key, 1), int) for key in ('last_time', 'length')) and dialogue.get('length', 1) > 0):
            raise TypeError
        return dialogue
    except (ValueError, KeyError, TypeError):
        raise UserError(f'{path} is damaged: it must hold {{"style": ..., "speakers": [...]}}; delete it to chat in the default style.') from None

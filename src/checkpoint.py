"""Weights in and out: model folders and run folders, which are the same thing.

    models/124M/        checkpoint  model.ckpt.data-00000-of-00001  model.ckpt.index  hparams.json  encoder.json  vocab.bpe
    checkpoint/run1/    checkpoint  model-500.data-00000-of-00001   model-500.index   the same three, dialogue.json,
                        counter     state-500.data-00000-of-00001   state-500.index   (optimizer, random state, position)

The bundle (data + index) is TensorFlow 1's, under OpenAI's names (model/h0/attn/c_attn/w, ...) in float32, so that the
original's Saver and the forks restore what we write. `checkpoint` is the text file that names the newest bundle:

    model_checkpoint_path: "model-500"
    all_model_checkpoint_paths: "model-400"
    all_model_checkpoint_paths: "model-500"

It is renamed into place last. Killed at any moment, a folder still names a whole checkpoint.
"""
import contextlib
import glob
import json
import os
import re
import shutil
import tempfile

import tensorflow as tf

from . import files
from .console import UserError
from .model import HParams, flat, nested, shapes, variable

PARTS = ('.data-00000-of-00001', '.index')
KEPT = 5


# ---- bundles

@contextlib.contextmanager
def staged_bundle(prefix, tensors):
    """Write {name: tensor or variable} under a temporary name; calling what this gives puts it in place, as
    prefix.index and prefix.data-00000-of-00001. Raises UserError when the disk does not take it.
    """
    folder, base = os.path.split(prefix)
    os.makedirs(folder or '.', exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder or '.', prefix=f'.{base}.', suffix='.part') as temporary:
        written = os.path.join(temporary, 'bundle')
        try:
            tf.raw_ops.SaveV2(prefix=written, tensor_names=list(tensors), shape_and_slices=[''] * len(tensors),
                              tensors=[tf.convert_to_tensor(value) for value in tensors.values()])
        except tf.errors.OpError as error:              # TensorFlow's own writer: a full disk, mostly
            free = shutil.disk_usage(folder or '.').free
            raise UserError(f'{prefix} could not be written ({free / 1e6:,.0f} MB free there): free some space and run the same '
                            f'command again, the checkpoints before it are untouched. TensorFlow says: {one_line(error)}') from None
        for part in PARTS:
            with open(written + part, 'rb+') as file:
                os.fsync(file.fileno())

        def put():
            remove(prefix + '.index')                   # an older bundle of this name: without it the one before is the newest
            for part in PARTS:                          # data first: an index without data would look whole
                os.replace(written + part, prefix + part)
            files.sync_folder(folder or '.')
        yield put


def remove(path):
    """Remove a file of ours, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


def read_bundle(prefix):
    """The Bundle at `prefix`. Raises UserError when it is missing or damaged."""
    for part in PARTS:
        if not os.path.isfile(prefix + part):
            raise UserError(f'{prefix + part}: there is no such file, so there are no weights to load; '
                            'download the model again, or name another checkpoint.')
    try:
        return Bundle(prefix, tf.train.load_checkpoint(prefix))
    except (tf.errors.OpError, RuntimeError, ValueError, IndexError) as error:
        raise damaged(prefix, error) from None


class Bundle:
    """A bundle's reader. get_tensor raises UserError where the data file turns out to be damaged."""

    def __init__(self, prefix, reader):
        self.prefix, self.reader = prefix, reader
        self.get_variable_to_shape_map = reader.get_variable_to_shape_map

    def get_tensor(self, name):
        """Name -> NumPy array, or bytes of a string."""
        try:
            return self.reader.get_tensor(name)
        except (tf.errors.OpError, RuntimeError, ValueError, IndexError) as error:
            raise damaged(self.prefix, error) from None


def damaged(prefix, error):
    """The UserError for a bundle whose bytes are wrong."""
    return UserError(f'{prefix}.index or its data file is damaged: download the model again, or restore an older checkpoint '
                     f'of the run with --restore_from. TensorFlow says: {one_line(error)}')


def one_line(error):
    """The first line of an exception's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


# ---- folders

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


def load(path_or_name, models_dir='models', hparams=None):
    """A model's name, a folder, or a checkpoint prefix -> (hparams, params).

    hparams: for a bundle of a fork's run folder, which has no hparams.json of its own.
    Raises UserError, with names and both shapes, when a variable is missing or has another shape.
    """
    folder, prefix = resolve(path_or_name, models_dir)
    if hparams is None or os.path.isfile(os.path.join(folder, 'hparams.json')):
        hparams = HParams.read(folder)
    reader = read_bundle(prefix)
    found, wanted = reader.get_variable_to_shape_map(), shapes(hparams)
    wrong = [f'{name}: the model needs {shape}, the checkpoint has {found.get("model/" + name, "none")}'
             for name, shape in wanted.items() if found.get('model/' + name) != shape]
    if f'model/h{hparams.n_layer}/ln_1/g' in found:
        wrong.append(f'h{hparams.n_layer}/ln_1/g: the model has only {hparams.n_layer} layers')
    if wrong:
        more = f' (and {len(wrong) - 4} more)' if len(wrong) > 4 else ''
        raise UserError(f'{prefix} does not fit hparams {hparams.to_json()}. {"; ".join(wrong[:4])}{more}. '
                        'It is a checkpoint of another model: give the --model_name it was made from.')
    return hparams, nested({name: variable(name, reader.get_tensor('model/' + name)) for name in wanted})


def save(directory, hparams, params, step=None, state=None, keep=KEPT):
    """Write the weights as a model folder's newest checkpoint: directory/model-STEP, or model.ckpt when step is None.

    state: {name: tensor} beside them, as state-STEP. All but the `keep` newest that this folder's `checkpoint` lists are removed.
    Returns the prefix.
    """
    prefix = os.path.join(directory, 'model.ckpt' if step is None else f'model-{step}')
    for left in glob.glob(os.path.join(glob.escape(directory), '.*.part')):     # by a save that was killed
        shutil.rmtree(left) if os.path.isdir(left) else remove(left)
    with contextlib.ExitStack() as stack:
        put_weights = stack.enter_context(staged_bundle(prefix, {'model/' + name: value for name, value in flat(params).items()}))
        put_state = stack.enter_context(staged_bundle(_state_prefix(prefix), state)) if state else lambda: None
        remove(prefix + '.index')                       # weights and state of two runs must not be taken for one
        put_state()
        put_weights()
    with files.whole(os.path.join(directory, 'hparams.json'), 'w', encoding='utf-8') as file:
        file.write(hparams.to_json())

    there = [old for old in listed(directory) if old != prefix and os.path.isfile(old + '.index')] + [prefix]
    kept = [os.path.basename(name) for name in there[-keep:]]
    with files.whole(os.path.join(directory, 'checkpoint'), 'w', encoding='utf-8') as file:
        file.write(f'model_checkpoint_path: "{kept[-1]}"\n' + ''.join(f'all_model_checkpoint_paths: "{name}"\n' for name in kept))
    for old in there[:-keep]:
        for part in PARTS:
            for name in (old + part, _state_prefix(old) + part):
                remove(name)
    return prefix


def _state_prefix(prefix):
    folder, base = os.path.split(prefix)
    return os.path.join(folder, 'state' + base.removeprefix('model'))


def read_state(prefix):
    """The reader of what `save` wrote as `state` beside the bundle `prefix`, or None when there is none."""
    path = _state_prefix(prefix)
    return read_bundle(path) if os.path.isfile(path + '.index') else None


def write_counter(directory, counter):
    """directory/counter, as the forks keep it: the number and a newline."""
    with files.whole(os.path.join(directory, 'counter'), 'w') as file:
        file.write(f'{counter}\n')


def read_counter(directory):
    """The number in directory/counter, or 0 when there is none."""
    path = os.path.join(directory, 'counter')
    if not os.path.isfile(path):
        return 0
    with open(path) as file:
        text = file.read().strip()
    if not text.isdigit():
        raise UserError(f'{path} holds {text[:40]!r} where a step number belongs: write the number of the newest model-N into it.')
    return int(text)


def copy_vocabulary(model_folder, directory, special_tokens=None):
    """Put encoder.json and vocab.bpe of a model into a run folder, so that the run is a model folder itself.

    special_tokens: {name: id} that the run has beside them; they go into its encoder.json.
    """
    for name in ('encoder.json', 'vocab.bpe'):
        source, target = os.path.join(model_folder, name), os.path.join(directory, name)
        if not os.path.isfile(source):
            continue
        with open(source, 'rb') as original:
            data = original.read()
        if name == 'encoder.json' and special_tokens and not special_tokens.items() <= (tokens := json.loads(data)).items():
            data = json.dumps(tokens | special_tokens).encode()
        elif os.path.exists(target) and os.path.samefile(source, target):
            continue
        with files.whole(target) as copy:
            copy.write(data)


def write_dialogue(directory, dialogue):
    """directory/dialogue.json: {"style": "name", "speakers": ["Mara", "Theo"]}, most talkative first; where it is known also "learnt":
    "Mara", the one whose words were learnt, and "last_time": 1349680890000, of the newest message. None: no dialogue, no file."""
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
                and isinstance(dialogue.get('learnt', ''), str) and isinstance(dialogue.get('last_time', 0), int)):
            raise TypeError
        return dialogue
    except (ValueError, KeyError, TypeError):
        raise UserError(f'{path} is damaged: it must hold {{"style": ..., "speakers": [...]}}; delete it to chat in the default style.') from None

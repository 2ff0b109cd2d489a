"""Weights in and out: model folders and run folders, which are the same thing.

    models/124M/        checkpoint  model.ckpt.data-00000-of-00001  model.ckpt.index  hparams.json  encoder.json  vocab.bpe
    checkpoint/run1/    checkpoint  model-500.data-00000-of-00001   model-500.index   the same three, dialogue.json,
                        counter     state-500.data-00000-of-00001   state-500.index   (optimizer, random state, position)
                        best/       the same again: the checkpoint with the lowest validation loss, in a folder of its own

The bundle (data + index) is TensorFlow 1's, under OpenAI's names (model/h0/attn/c_attn/w, ...) in float32, so that the
original's Saver and the forks restore what we write. `checkpoint` is the text file that names the newest bundle:

    model_checkpoint_path: "model-500"
    all_model_checkpoint_paths: "model-400"
    all_model_checkpoint_paths: "model-500"

It is renamed into place last. Killed at any moment, a folder still names a whole checkpoint.

A run trained with LoRA keeps its adapters only; what model-500 does not hold is in its base, which adapter-500.json tells:

    {"base": "../../models/124M/model.ckpt", "base_sha256": "71916f76..."}      (of model.ckpt.index)
"""
import contextlib
import glob
import json
import os
import shutil
import tempfile

import tensorflow as tf

from . import files, lora
from .bundles import beside, find_base, note, one_line, read_note, read_state, read_weights  # noqa: F401  where they are looked for
from .console import UserError
from .folders import PARTS, latest, listed, read_dialogue, remove, resolve, write_dialogue  # noqa: F401  likewise
from .model import flat, nested, variable

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


# ---- folders

def load(path_or_name, models_dir='models', hparams=None, merge=True):
    """A model's name, a folder, or a checkpoint prefix -> (hparams, params), of the arguments of bundles.read_weights, which says what is raised."""
    hparams, found = read_weights(path_or_name, models_dir, hparams, merge)
    return hparams, nested({name: lora.adapter(name, read()) if lora.is_adapter(name) else variable(name, read()) for name, read in found.items()})


def save(directory, hparams, params, step=None, state=None, keep=KEPT, base=None):
    """Write the weights as a model folder's newest checkpoint: directory/model-STEP, or model.ckpt when step is None.

    state: {name: tensor} beside them, as state-STEP. All but the `keep` newest that this folder's `checkpoint` lists are removed.
    base: of params with adapters, the Base they were added to (hold_base gives it); only what was trained is written then.
    Returns the prefix.
    """
    prefix, weights = os.path.join(directory, 'model.ckpt' if step is None else f'model-{step}'), flat(params)
    if lora.adapted(weights):
        trained = lora.names(params, base.n_vocab)
        weights = {name: value for name, value in weights.items() if lora.is_adapter(name) or name in trained}
    _sweep(directory)
    with contextlib.ExitStack() as stack:
        put_weights = stack.enter_context(staged_bundle(prefix, {'model/' + name: value for name, value in weights.items()}))
        put_state = stack.enter_context(staged_bundle(beside(prefix, 'state'), state)) if state else lambda: None
        remove(prefix + '.index')                       # weights and state of two runs must not be taken for one
        remove(note(prefix))
        if base:
            _write_note(prefix, base.prefix, base.sha256)
        put_state()
        put_weights()
    with files.whole(os.path.join(directory, 'hparams.json'), 'w', encoding='utf-8') as file:
        file.write(hparams.to_json())
    _make_newest(directory, prefix, keep)
    return prefix


def _sweep(directory):
    """Remove what a save that was killed has left. A chat's file of weights (tflite.py) is another process's, maybe still in the making."""
    for left in glob.glob(os.path.join(glob.escape(directory), '.*.part')):
        if '.tflite.' not in os.path.basename(left):
            shutil.rmtree(left) if os.path.isdir(left) else remove(left)


def _make_newest(directory, prefix, keep):
    """Name the bundle `prefix` the newest of its folder, and remove all but the `keep` newest that the folder lists."""
    there = [old for old in listed(directory) if old != prefix and os.path.isfile(old + '.index')] + [prefix]
    kept = [os.path.basename(name) for name in there[-keep:]]
    with files.whole(os.path.join(directory, 'checkpoint'), 'w', encoding='utf-8') as file:
        file.write(f'model_checkpoint_path: "{kept[-1]}"\n' + ''.join(f'all_model_checkpoint_paths: "{name}"\n' for name in kept))
    for old in there[:-keep]:
        _remove_checkpoint(old)


def _remove_checkpoint(prefix):
    """Remove a bundle of ours and what lies beside it."""
    for part in PARTS:
        for name in (prefix + part, beside(prefix, 'state') + part):
            remove(name)
    remove(note(prefix))


# ---- the base of adapters

def hold_base(directory, prefix, models_dir='models'):
    """The Base for a run in `directory` that adds adapters to the checkpoint `prefix`, or goes on with those it has.

    Where that is a checkpoint of a run, which will remove it one day, it is kept in `directory` as base-SHA (a link, where the file
    system has them).
    """
    base = find_base(prefix, models_dir)
    if os.path.basename(base.prefix) == 'model.ckpt':
        return base
    own = os.path.join(directory, f'base-{base.sha256[:8]}')
    if not all(os.path.isfile(own + part) for part in PARTS):
        os.makedirs(directory, exist_ok=True)
        for part in PARTS:
            _link(base.prefix + part, own + part)
    return base._replace(prefix=own)


def _write_note(prefix, base, sha256):
    """Note beside the bundle `prefix` whose adapters it holds. The path is written relative to its folder, so that both can move together."""
    path = os.path.realpath(base)
    with contextlib.suppress(ValueError):               # another drive of Windows: the path stays absolute
        path = os.path.relpath(path, os.path.realpath(os.path.dirname(prefix)))
    with files.whole(note(prefix), 'w', encoding='utf-8') as file:
        json.dump({'base': path.replace(os.sep, '/'), 'base_sha256': sha256}, file)


def _link(source, target):
    """Make `target` the same file as `source`: bundles are replaced, never changed. A copy, where the file system has no links."""
    remove(target)
    try:
        os.link(source, target)
    except OSError:
        with open(source, 'rb') as original, files.whole(target) as copy:
            shutil.copyfileobj(original, copy)


# ---- the best checkpoint

def write_best(directory, prefix, loss):
    """Make directory/best a run folder of its own that holds the checkpoint `prefix`, just saved in `directory`, with its state, and
    best/validation.json: {"model-450": 3.21}, its loss. Killed at any moment, best/ holds the one before or this one. Returns the new prefix.
    """
    best, name = os.path.join(directory, 'best'), os.path.basename(prefix)
    os.makedirs(best, exist_ok=True)
    former, losses = os.path.basename(latest(best) or ''), _losses(best)
    _sweep(best)
    for left in losses.keys() - {former}:               # by a call that was killed
        _remove_checkpoint(os.path.join(best, left))
    if name == former:                                  # the run was set back and came to this step again: the former stays until the end
        name += '-again'
    target = os.path.join(best, name)
    with files.whole(os.path.join(best, 'validation.json'), 'w') as file:
        json.dump({step: losses[step] for step in losses.keys() & {former}} | {name: float(loss)}, file)
    for source, copy in ((beside(prefix, 'state'), beside(target, 'state')), (prefix, target)):
        for part in PARTS:
            if os.path.isfile(source + part):
                _link(source + part, copy + part)
            else:
                remove(copy + part)
    if os.path.isfile(note(prefix)):
        _write_note(target, *read_note(prefix))
    for each in ('hparams.json', 'encoder.json', 'vocab.bpe', 'dialogue.json'):
        if os.path.isfile(os.path.join(directory, each)):
            with open(os.path.join(directory, each), 'rb') as original, files.whole(os.path.join(best, each)) as copy:
                shutil.copyfileobj(original, copy)
        else:
            remove(os.path.join(best, each))
    _make_newest(best, target, keep=1)
    return target


def _losses(best):
    """best/validation.json; {} when there is none."""
    path = os.path.join(best, 'validation.json')
    if not os.path.isfile(path):
        return {}
    try:
        with open(path) as file:
            return {name: float(loss) for name, loss in json.load(file).items()}
    except (ValueError, TypeError, AttributeError):
        raise UserError(f'{path} is damaged: it must hold {{"model-450": the validation loss of that checkpoint}}; '
                        f'delete the folder {best}, and the best is looked for anew.') from None


# ---- what lies beside the weights

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

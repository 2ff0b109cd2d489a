"""Checkpoints -> weights as arrays: TensorFlow's bundles, and of LoRA's adapters the model that they make of their base.

Without TensorFlow around its reader, where nothing has imported that yet: a process that makes a chat's file of weights (tflite.py) starts
in a sixth of the time. checkpoint.py says which files there are, and writes them.
"""
import functools
import json
import os
from typing import NamedTuple

from . import files, lora
from .console import UserError, part_of_tensorflow
from .folders import PARTS, resolve
from .hparams import HParams, shapes


def read_bundle(prefix):
    """The Bundle at `prefix`. Raises UserError when it is missing or damaged."""
    for part in PARTS:
        if not os.path.isfile(prefix + part):
            raise UserError(f'{prefix + part}: there is no such file, so there are no weights to load; '
                            'download the model again, or name another checkpoint.')
    return Bundle(prefix)


class Bundle:
    """A bundle's reader: get_variable_to_shape_map() and get_tensor(name) -> NumPy array, or bytes of a string. Both raise UserError where the
    files turn out to be damaged."""

    def __init__(self, prefix):
        self.prefix, self._errors = prefix, (part_of_tensorflow('python.framework.errors_impl').OpError, RuntimeError, ValueError, IndexError)
        self._reader = self._told(part_of_tensorflow('python.training.py_checkpoint_reader').NewCheckpointReader, prefix)

    def _told(self, call, *args):
        try:
            return call(*args)
        except self._errors as error:
            raise UserError(f'{self.prefix}.index or its data file is damaged: download the model again, or restore an older checkpoint '
                            f'of the run with --restore_from. TensorFlow says: {one_line(error)}') from None

    def get_variable_to_shape_map(self):
        return self._told(self._reader.get_variable_to_shape_map)

    def get_tensor(self, name):
        return self._told(self._reader.get_tensor, name)


def one_line(error):
    """The first line of an exception's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def read_weights(path_or_name, models_dir='models', hparams=None, merge=True):
    """A model's name, a folder, or a checkpoint prefix -> (hparams, {variable name below `model/`: a call that reads it}).

    hparams: for a bundle of a fork's run folder, which has no hparams.json of its own.
    merge: of a run with LoRA, the plain model that its adapters make of their base; False: base and adapters, to train on.
    Raises UserError, with names and both shapes, when a variable is missing or has another shape, and as find_base does.
    """
    folder, prefix = resolve(path_or_name, models_dir)
    if hparams is None or os.path.isfile(os.path.join(folder, 'hparams.json')):
        hparams = HParams.read(folder)
    bundles = [read_bundle(prefix)]
    if lora.adapted(bundles[0].get_variable_to_shape_map()):
        bundles.insert(0, read_bundle(find_base(prefix, models_dir).prefix))
    found, source, plain = {}, {}, shapes(hparams)
    for bundle in bundles:                              # of what both have, the adapters' own counts
        there = {name.removeprefix('model/'): shape for name, shape in bundle.get_variable_to_shape_map().items() if name.startswith('model/')}
        found |= there
        source |= dict.fromkeys(there, bundle)
    wanted = plain | lora.shapes(plain, found)
    wrong = [f'{name}: the model needs {shape}, the checkpoint has {found.get(name, "none")}'
             for name, shape in wanted.items() if found.get(name) != shape]
    if f'h{hparams.n_layer}/ln_1/g' in found:
        wrong.append(f'h{hparams.n_layer}/ln_1/g: the model has only {hparams.n_layer} layers')
    if wrong:
        more = f' (and {len(wrong) - 4} more)' if len(wrong) > 4 else ''
        raise UserError(f'{prefix} does not fit hparams {hparams.to_json()}. {"; ".join(wrong[:4])}{more}. '
                        'It is a checkpoint of another model: give the --model_name it was made from.')

    def read(name):
        return source[name].get_tensor('model/' + name)

    def value(name):                                    # merged one by one, so that no second copy of the model is ever there
        target = name.removesuffix('/w')
        if merge and target + '/lora_a' in wanted:
            return read(name) + lora.product(*(read(f'{target}/lora_{key}') for key in ('a', 'b', 'scale')))
        return read(name)

    return hparams, {name: functools.partial(value if name in plain else read, name) for name in (plain if merge else wanted)}


def beside(prefix, kind):
    """run1/model-500 -> run1/state-500"""
    folder, base = os.path.split(prefix)
    return os.path.join(folder, kind + base.removeprefix('model'))


def read_state(prefix):
    """The reader of what `save` wrote as `state` beside the bundle `prefix`, or None when there is none."""
    path = beside(prefix, 'state')
    return read_bundle(path) if os.path.isfile(path + '.index') else None


# ---- the base of adapters

class Base(NamedTuple):
    """The plain weights that adapters were added to."""
    prefix: str
    sha256: str                                         # of prefix.index, which holds a checksum of each variable
    n_vocab: int


def find_base(prefix, models_dir='models'):
    """The Base of the checkpoint `prefix`: its own, when it has no adapters.

    It is looked for where the note adapter-N.json says, then in models_dir. Raises UserError when it is not there, or when there is
    another model.
    """
    if not lora.adapted(read_bundle(prefix).get_variable_to_shape_map()):
        return _base(prefix)
    path, sha256 = read_note(prefix)
    folder, name = os.path.split(path)
    folder = os.path.join(models_dir, os.path.basename(folder))
    there = [_base(place) for place in (path, os.path.join(folder, name)) if os.path.isfile(place + '.index')]
    for base in there:
        if base.sha256 == sha256:
            return base
    way_out = f'put the model it was trained on there or into {folder}, or write where it is as "base" into {note(prefix)}.'
    if there:
        raise UserError(f'{prefix} holds LoRA adapters of a model whose .index has SHA-256 {sha256[:12]}..., but that of {there[0].prefix} has '
                        f'{there[0].sha256[:12]}..., so it is another model: {way_out}')
    raise UserError(f'{prefix} holds LoRA adapters of {path}, but there is no {path}.index: {way_out}')


def _base(prefix):
    """The Base that the plain weights in the bundle `prefix` are."""
    return Base(prefix, files.sha256(prefix + '.index'), read_bundle(prefix).get_variable_to_shape_map().get('model/wte', [0])[0])


def note(prefix):
    """The file that tells of which base the adapters in the bundle `prefix` are."""
    return beside(prefix, 'adapter') + '.json'


def read_note(prefix):
    """What is noted of the bundle `prefix` -> (the base's prefix, its SHA-256)."""
    path = note(prefix)
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
        return os.path.realpath(os.path.join(os.path.dirname(prefix), found['base'])), found['base_sha256'].lower()
    except FileNotFoundError:
        raise UserError(f'{prefix} holds LoRA adapters, but {path}, which tells of which model, is not there: '
                        'copy it from where the checkpoint comes from.') from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f'{path} is damaged: it must hold {{"base": the checkpoint that was trained on, "base_sha256": ...}}; '
                        'copy it from where the checkpoint comes from.') from None

"""Models as other runtimes keep them: one file per format, each with write(out, source, precision).

    frame.py        how a run's turns look, for runtimes that know only text: what stands around the words; a chat template in Jinja
    vocabulary.py   the vocabulary as the package tokenizers reads it
    safetensors.py  arrays of a name in a file, as Hugging Face has them
    hf.py           transformers, vLLM              tf1.py          OpenAI's own code
    savedmodel.py   TensorFlow Serving              litert.py       phones
    gguf.py         llama.cpp                       peft.py         LoRA adapters, out and in
    neo.py          GPT-Neo's weights, for hf.py

    a run -> Source -> a folder
"""
import contextlib
import glob
import json
import os
import shutil
import tempfile
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Callable, NamedTuple

from .. import chat, files
from ..console import UsageError, UserError
from ..encoder import Encoder, get_encoder, read_merges
from ..folders import read_dialogue
from ..hparams import SIZES

FORMATS = {                                             # and the precisions of the weights, the usual one first
    'hf': ('float32', 'float16'), 'tf1': ('float32',), 'savedmodel': ('float32',), 'litert': ('int8', 'float32'),
    'gguf': ('float16', 'q8_0', 'float32'), 'peft': ('float32',)}


class Source(NamedTuple):
    """A model that goes out. get(name): the float32 array of its variable model/<name>, of adapters too; tokens: {token: id}; merges: ['h e', ...], best
    first; session: a chat.ChatSession that says how one talks with it, None of plain text."""
    hparams: Any
    params: dict
    get: Callable
    enc: Encoder
    tokens: dict
    merges: list
    session: Any


def source(place, hparams, params, *, me=None, answerer=None):
    """The Source of the model at `place` (files.find_model): its vocabulary and its people, with these weights."""
    folder = files.folder_of(place)
    enc = get_encoder(folder)
    with open(os.path.join(folder, 'encoder.json'), encoding='utf-8') as file:
        tokens = json.load(file)
    merges = read_merges(os.path.join(folder, 'vocab.bpe'))
    session = None
    if read_dialogue(folder) or me or answerer:
        session = chat.open_session(place, SimpleNamespace(hparams=hparams), me=me, answerer=answerer)
    from ..model import flat
    weights = flat(params)
    return Source(hparams, params, lambda name: weights[name].numpy(), enc, tokens, merges, session)


def check_precision(format, precision):
    """The precision to write, the format's usual one for None. Raises UsageError with those that the format has."""
    if precision is None:
        return FORMATS[format][0]
    if precision not in FORMATS[format]:
        raise UsageError(f'--precision {precision}: --format {format} takes {" or ".join(FORMATS[format])}.')
    return precision


def write(format, out, source, precision=None, **options):
    """Make the folder `out`, whole or not at all. Files of other names that are there stay. Raises UserError for what the format cannot hold."""
    precision = check_precision(format, precision)
    writer = import_module('.' + format, __name__)
    with _staged(out) as folder:
        writer.write(folder, source, precision, **options)


@contextlib.contextmanager
def _staged(out):
    """A new folder beside `out`, whose files move there when the block ends well: in one rename, where there is nothing yet."""
    parent, name = os.path.split(os.path.abspath(out))
    os.makedirs(parent, exist_ok=True)
    for left in glob.glob(os.path.join(glob.escape(parent), f'.{glob.escape(name)}.{"[a-z0-9_]" * 8}.part', '')):      # tempfile's, by one that was killed
        shutil.rmtree(left)
    if os.path.exists(out) and not os.path.isdir(out):
        raise UserError(f'{out} is a file: name a folder.')
    with tempfile.TemporaryDirectory(dir=parent, prefix=f'.{name}.', suffix='.part') as temporary:
        folder = os.path.join(temporary, name)
        os.mkdir(folder)
        yield folder
        if os.path.isdir(out) and not os.listdir(out):
            os.rmdir(out)
        if os.path.isdir(out):
            for at, _, names in os.walk(folder):
                there = os.path.join(out, os.path.relpath(at, folder))
                os.makedirs(there, exist_ok=True)
                for each in names:
                    os.replace(os.path.join(at, each), os.path.join(there, each))
        else:
            os.rename(folder, out)
        files.sync_folder(parent)


def refuse(hparams, format, held=()):
    """Raise UserError for what this model has beside its sizes and the format cannot hold; held: names of fields that it can."""
    plain = type(hparams)()
    for name, value in vars(hparams).items():
        if name not in (*SIZES, *held) and value != getattr(plain, name):
            raise UserError(f'--format {format} cannot hold {name} = {value!r}, which this model has: choose another format, or none for a model folder of ours.')

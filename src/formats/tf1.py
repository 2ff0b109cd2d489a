"""The files of OpenAI's own release, as its code and the forks of its day restore them under TensorFlow 1.

    checkpoint  model.ckpt.data-00000-of-00001  model.ckpt.index  hparams.json  encoder.json  vocab.bpe

hparams.json holds the five numbers that its HParams know. model.ckpt.meta, a drawing of the graph, is not what Saver.restore reads: there is none.
"""
import os

from .. import checkpoint
from ..encoder import write_merges
from . import refuse
from .vocabulary import write_json


def write(out, source, precision):
    """Write the folder's files."""
    refuse(source.hparams, 'tf1')
    checkpoint.save(out, source.hparams, source.params)
    write_json(out, 'encoder.json', source.tokens)
    write_merges(os.path.join(out, 'vocab.bpe'), source.merges)

"""A SavedModel, as TensorFlow Serving takes it: out/1/, and beside it the vocabulary and chat.json (frame.about).

    serving_default   ids [batch, n] int32                      -> logits [batch, n_vocab], of what follows
    prefill           ids [batch, n]                            -> logits, past [batch, n_layer, 2, n_head, n_ctx, features]
    step              ids [batch, n], past, length              -> logits, past, with ids from position `length` on

    tensorflow_model_server --rest_api_port=8501 --model_name=mara --model_base_path=$PWD/out
    curl -d '{"signature_name": "serving_default", "inputs": {"ids": [[0, 464, 22]]}}' http://localhost:8501/v1/models/mara:predict

length, a scalar: how many positions of the past are filled: n behind prefill, one more behind each step of one token. All are TensorFlow's usual operators, for any
device. A model with token types (hparams.type_tokens) also gives `speaker` [batch] int32, the token type of the newest position, which step takes.
"""
import os

import tensorflow as tf

from .. import model
from . import frame, vocabulary
from .vocabulary import write_json


class Served(tf.Module):
    """The functions behind the signatures, over the weights `params`."""

    def __init__(self, hparams, params):
        super().__init__()
        self.hparams, self.params = hparams, params
        self.past = [hparams.n_layer, 2, hparams.n_head, hparams.n_ctx, hparams.n_embd // hparams.n_head]

    def prefill(self, ids):
        """From the beginning."""
        return self.step(ids, tf.zeros([tf.shape(ids)[0], *self.past]), 0, -tf.ones_like(ids[:, 0]))

    def step(self, ids, past, length, speaker=None):
        """From position `length` on."""
        before, behind = past[..., :length, :], past[..., length + tf.shape(ids)[1]:, :]
        h, present = model.hidden(self.hparams, self.params, ids, before, speaker=speaker)
        past = tf.ensure_shape(tf.concat([before, present, behind], axis=-2), [None, *self.past])
        types = {'speaker': model.token_types(self.hparams, ids, speaker)[:, -1]} if self.hparams.type_tokens else {}
        return {'logits': model.logits(self.params, h[:, -1]), 'past': past} | types

    def signatures(self):
        """{name: function}"""
        ids, row = (tf.TensorSpec(shape, tf.int32, name) for shape, name in (([None, None], 'ids'), ([None], 'speaker')))
        speaker = [row] if self.hparams.type_tokens else []
        return {'serving_default': tf.function(lambda ids: {'logits': self.prefill(ids)['logits']}, [ids]),
                'prefill': tf.function(self.prefill, [ids]),
                'step': tf.function(self.step, [ids, tf.TensorSpec([None, *self.past], tf.float32, 'past'), tf.TensorSpec([], tf.int32, 'length'), *speaker])}


def write(out, source, precision):
    """Write the folder's files."""
    served = Served(source.hparams, source.params)
    tf.saved_model.save(served, os.path.join(out, '1'), served.signatures())
    vocabulary.write(out, source)
    write_json(out, 'chat.json', frame.about(source))

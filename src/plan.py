"""What a training step will take: memory and time, before any is spent; and what makes it fit."""
import math
import os
from dataclasses import dataclass

from . import model


def n_params(hparams):
    """The number of weights."""
    return sum(math.prod(shape) for shape in model.shapes(hparams).values())


@dataclass(frozen=True)
class Plan:
    """A training step: what of a Trainer's settings its memory and time depend on. n_trained: weights that are trained."""
    hparams: model.HParams
    batch_size: int
    seq_len: int
    n_trained: int
    accumulate: int = 1
    optimizer: str = 'adam'
    recompute: bool = False
    precision: str = 'float32'
    dropout: float = 0.0

    def flops(self):
        """Floating-point operations: 2 a weight and token forward, 4 backward, and attention's."""
        tokens = self.batch_size * self.seq_len * self.accumulate
        dense = n_params(self.hparams) - self.hparams.n_ctx * self.hparams.n_embd
        attention = 2 * self.hparams.n_layer * self.hparams.n_embd * self.seq_len
        return tokens * (dense + attention) * (8 if self.recompute else 6)

    def seconds(self, flops):
        """On a device of so many floating-point operations a second in matrix products, of which a step reaches three quarters."""
        return self.flops() / (flops * 0.75)

    def bytes(self):
        """Estimated peak memory."""
        from .trainer import OPTIMIZERS
        hparams, tokens = self.hparams, self.batch_size * self.seq_len
        copies = self.n_trained * (1 + OPTIMIZERS[self.optimizer][1] + (self.accumulate > 1))
        layer = 12 * hparams.n_embd
        activations = hparams.n_layer * hparams.n_embd + layer if self.recompute else hparams.n_layer * layer
        return 750e6 + 4 * (n_params(hparams) + copies + tokens * (activations + 1.5 * hparams.n_head * self.seq_len + 1.3 * hparams.n_vocab))


def memory():
    """Bytes of this machine's main memory, or None where the system does not tell."""
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):       # Windows
        return None

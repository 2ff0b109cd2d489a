"""What a training step will take, memory and time, before any is spent; and what makes it fit."""
import os
from dataclasses import dataclass, replace

from . import fused, model
from .hparams import n_params
from .trainer import OPTIMIZERS, PRECISIONS

CGROUP = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')       # where a container's limit stands


@dataclass(frozen=True)
class Plan:
    """A training step: what of a Trainer's settings its memory and time depend on. n_trained: weights that are trained."""
    hparams: model.HParams
    batch_size: int
    seq_len: int
    n_trained: int
    learns_wte: bool = True
    accumulate: int = 1
    optimizer: str = 'adam'
    recompute: bool = False
    precision: str = 'float32'

    def flops(self, windows=0):
        """Floating-point operations of a step: 2 a weight and token forward, 4 backward, and attention's. windows: of reading so many instead, as a
        validation does."""
        tokens = (windows or self.batch_size * self.accumulate) * self.seq_len
        dense = n_params(self.hparams) - self.hparams.n_ctx * self.hparams.n_embd
        attention = 2 * self.hparams.n_layer * self.hparams.n_embd * self.seq_len
        return tokens * (dense + attention) * (2 if windows else 8 if self.recompute else 6)

    def seconds(self, flops, windows=0):
        """The same on a device of so many floating-point operations a second in matrix products, of which three quarters are reached."""
        return self.flops(windows) / (flops * 0.75)

    def bytes(self):
        """Estimated peak memory: there are two, while the loss is computed and while the weights are updated. The factors are fitted to
        measured peaks on a CPU (3 to 48 layers, 64 to 4096 tokens, all optimizers and precisions, with and without recomputation, LoRA,
        frozen layers), from which they are 12 % off at most."""
        hparams, tokens, size = self.hparams, self.batch_size * self.seq_len, PRECISIONS[self.precision].size
        weights = 4 * n_params(hparams)
        if size == 2:                                   # a second copy of them, and of frozen ones a third for the way back
            weights += 2 * n_params(hparams) + 2 * max(0, n_params(hparams) - self.n_trained) * self.recompute
        kept = 4 * self.n_trained * (OPTIMIZERS[self.optimizer][1] + (self.accumulate > 1))
        wte = 4 * hparams.n_vocab * hparams.n_embd * self.learns_wte
        activations = 12 * size * tokens * hparams.n_embd * (1.17 if self.recompute else 0.95 * hparams.n_layer)
        inputs = 1.65 * size * tokens * hparams.n_embd * hparams.n_layer * self.recompute
        scores = 0.71 * size * self.batch_size * hparams.n_head * self.seq_len * min(self.seq_len, fused.QUERIES)
        blocks = fused.loss_blocks(tokens, hparams.n_vocab, size)
        logits = (size + 4) * tokens / blocks * hparams.n_vocab
        loss = activations + 2.44 * wte + 1.66 * logits
        update = (1.06 if self.recompute else 1.46) * 4 * self.n_trained + 3.9 * wte * (self.optimizer == 'lion')       # Keras's, in many operations
        return 0.773e9 + 5e6 * hparams.n_layer + weights + kept + inputs + scores + max(loss, update)  # TensorFlow itself, its graph

    def fitting(self, there):
        """The Plan that fits into so many bytes with the least changes, or None: recomputation, smaller batches that make one step
        together, and then, if those do not do, adafactor."""
        for optimizer in dict.fromkeys([self.optimizer, 'adafactor']):
            for parts in (n for n in range(1, self.batch_size + 1) if self.batch_size % n == 0):
                for recompute in sorted({self.recompute, True}):
                    plan = replace(self, optimizer=optimizer, batch_size=self.batch_size // parts, accumulate=self.accumulate * parts, recompute=recompute)
                    if plan.bytes() <= there:
                        return plan
        return None

    def flags(self, other):
        """What of train.py's flags makes `other` of this plan: {'optimizer': 'adafactor', ...}."""
        names = {'optimizer': 'optimizer', 'batch_size': 'batch_size', 'accumulate': 'accumulate_gradients', 'recompute': 'memory_saving_gradients'}
        return {flag: getattr(other, name) for name, flag in names.items() if getattr(self, name) != getattr(other, name)}


def memory():
    """Bytes of this machine's main memory, or of what its container may use; None where the system does not tell."""
    try:
        limits = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    except (AttributeError, ValueError, OSError):       # Windows
        return None
    for path in CGROUP:
        if os.path.isfile(path):
            with open(path) as file:
                text = file.read().strip()
            limits += [int(text)] if text.isdigit() else []                            # "max": no limit
    return min(limits)

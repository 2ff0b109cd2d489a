"""Batches -> better weights: the loss, the optimizer, and one compiled train step.

    loss = mean over the positions that count of -log p(next token)            Radford et al. 2019, section 2

The optimizers are Keras's; Adam's epsilon is 1e-8, TensorFlow 1's, which the original ran with. On a GPU the step is an XLA
program, on a CPU a TensorFlow graph, which was faster there when measured.
"""
import json
import math
import os
import time

import tensorflow as tf

from . import model
from .console import UsageError, UserError

# name: (the Keras optimizer, copies of the weights that it keeps, the weight decay it has by default)
OPTIMIZERS = {
    'adam': (lambda rate, beta, beta2, **settings: tf.keras.optimizers.Adam(rate, beta_1=beta, beta_2=beta2, epsilon=1e-8, **settings), 2, 0.0),
    'adamw': (lambda rate, beta, beta2, **settings: tf.keras.optimizers.AdamW(rate, beta_1=beta, beta_2=beta2, epsilon=1e-8, **settings), 2, 0.1),
    'lion': (lambda rate, beta, beta2, **settings: tf.keras.optimizers.Lion(rate, beta_1=beta, beta_2=beta2, **settings), 1, 0.0),
    'sgd': (lambda rate, beta, beta2, **settings: tf.keras.optimizers.SGD(rate, **settings), 0, 0.0),
}
SCHEDULES = {
    # warm: steps since the warm-up, as a share of those until the end; so_far: steps, as a multiple of the warm-up's
    'constant': lambda warm, so_far: tf.ones_like(warm),
    'linear': lambda warm, so_far: 1 - warm,
    'cosine': lambda warm, so_far: 0.1 + 0.45 * (1 + tf.cos(math.pi * warm)),           # Loshchilov and Hutter 2017, arXiv:1608.03983
    'noam': lambda warm, so_far: tf.math.rsqrt(tf.maximum(so_far, 1)),                  # Vaswani et al. 2017, arXiv:1706.03762, section 5.3
}


class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from 0 to `peak` in warmup_steps and then goes as SCHEDULES says: constant; linear down to 0, or
    cosine down to a tenth, over the rest of `steps`; noam, with the inverse square root of the step."""

    def __init__(self, kind, peak, warmup_steps, steps):
        self.kind, self.peak, self.warmup_steps, self.steps = kind, peak, warmup_steps, steps

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        warm = tf.clip_by_value((step - self.warmup_steps) / max(1, (self.steps or 0) - self.warmup_steps), 0, 1)
        after = SCHEDULES[self.kind](warm, step / max(1, self.warmup_steps))
        return self.peak * tf.where(step < self.warmup_steps, step / max(1, self.warmup_steps), after)


def schedule(kind, peak, warmup_steps=0, steps=None):
    """A learning rate for Trainer: the number itself, or a Schedule over `steps`.

    Raises UsageError for a schedule without an end that needs one, one that ends before it is warm, and noam without a warm-up.
    """
    if kind in ('linear', 'cosine') and not steps:
        raise UsageError(f'--schedule {kind} needs to know where it ends: give --stop_after or --epochs.')
    if kind in ('linear', 'cosine') and warmup_steps >= steps:
        raise UsageError(f'--warmup_steps {warmup_steps} leaves nothing of the {steps} steps before --stop_after.')
    if kind == 'noam' and not warmup_steps:
        raise UsageError('--schedule noam falls from its warm-up on: give --warmup_steps.')
    return peak if kind == 'constant' and not warmup_steps else Schedule(kind, peak, warmup_steps, steps)


def has_gpu():
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_logical_devices('GPU'))


class Trainer:
    """Weights, their optimizer, and the compiled functions that train and score them."""

    def __init__(self, hparams, params, *, optimizer='adam', learning_rate=2e-5, beta=0.9, beta2=0.999, accumulate=1,
                 recompute=False, only_transformer_layers=False, weight_decay=None, clip_norm=None):
        """learning_rate: a number, or what `schedule` gives. accumulate: batches that make one step together, each token of them
        counting the same. recompute: keep no activations but each layer's input, and compute the rest again on the way back
        (Chen et al. 2016, arXiv:1604.06174); without it, only what is cheap is computed again (model.block).
        only_transformer_layers: leave wte, wpe and ln_f as they are. weight_decay: of the matrices, apart from the gradient (Loshchilov
        and Hutter 2019, arXiv:1711.05101); None: the optimizer's default. clip_norm: the norm that all gradients together have at most.
        """
        self.hparams, self.params, self.accumulate = hparams, params, accumulate
        self.recompute = recompute
        self._memory = {'wrap': tf.recompute_grad} if recompute else {'lean': tf.recompute_grad}
        self.trainable = {name: value for name, value in model.flat(params).items()
                          if not only_transformer_layers or name.startswith('h')}
        self.optimizer_name = optimizer
        self._scheduled = not isinstance(learning_rate, (int, float))
        make, _, decay = OPTIMIZERS[optimizer]
        self.optimizer = make(learning_rate, beta, beta2, weight_decay=(decay if weight_decay is None else weight_decay) or None, global_clipnorm=clip_norm)
        self.optimizer.exclude_from_weight_decay(var_list=[value for name, value in self.trainable.items() if name.endswith(('/g', '/b'))])
        self.optimizer.build(list(self.trainable.values()))
        self._sums = [tf.Variable(tf.zeros_like(value), trainable=False) for value in self.trainable.values()] if accumulate > 1 else None
        self._counted = tf.Variable(0.0, trainable=False)                  # tokens that self._sums are the gradients of
        xla = has_gpu()
        shape = [None, None]
        signature = [tf.TensorSpec(shape, tf.int32), tf.TensorSpec(shape, tf.int32), tf.TensorSpec(shape, tf.float32)]
        compiled = {'autograph': False, 'jit_compile': xla, 'input_signature': signature}
        self._train = tf.function(self._step, **compiled)
        self._add = tf.function(self._accumulate, **compiled)
        self._apply = tf.function(self._apply_sums, autograph=False, jit_compile=xla)
        self._score = tf.function(self._losses, **compiled)

    # ---- what is compiled

    def _losses(self, X, labels, weights):
        """Sum of the losses where weights are 1, and their number: two scalars."""
        h, _ = model.hidden(self.hparams, self.params, X, **self._memory)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=model.logits(self.params, h))
        return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)

    def _gradients(self, X, labels, weights, mean):
        """The mean loss of the tokens that count, or the sum of their losses; their number; and the gradients in the order of self.trainable."""
        with tf.GradientTape() as tape:
            total, n = self._losses(X, labels, weights)
            loss = total / n if mean else total
        gradients = tape.gradient(loss, list(self.trainable.values()))
        return loss, n, [tf.convert_to_tensor(g) for g in gradients]      # wpe's comes as slices of rows

    def _step(self, X, labels, weights):
        loss, _, gradients = self._gradients(X, labels, weights, mean=True)
        self.optimizer.apply(gradients)
        return loss

    def _accumulate(self, X, labels, weights):
        """Batches with any number of tokens add up to what one batch of them all would be."""
        total, n, gradients = self._gradients(X, labels, weights, mean=False)
        for gradient_sum, gradient in zip(self._sums, gradients):
            gradient_sum.assign_add(gradient)
        self._counted.assign_add(n)
        return total, n

    def _apply_sums(self):
        self.optimizer.apply([gradient_sum / self._counted for gradient_sum in self._sums])
        for gradient_sum in self._sums:
            gradient_sum.assign(tf.zeros_like(gradient_sum))
        self._counted.assign(0.0)

    # ---- what is called

    def step(self, batches):
        """One optimizer step on the next batch, or on the next `accumulate` batches. Returns the mean loss, a float.

        Raises UserError when the device's memory does not hold it.
        """
        try:
            if self.accumulate == 1:
                return float(self._train(*batches.next()))
            totals, counts = zip(*(self._add(*batches.next()) for _ in range(self.accumulate)))
            self._apply()
            return float(sum(totals)) / float(sum(counts))
        except tf.errors.ResourceExhaustedError:
            raise UserError('the memory of the device is full: --memory_saving_gradients, a smaller --batch_size (with --accumulate_gradients) '
                            'or a shorter --seq_len need less; the checkpoints are as they were.') from None

    @property
    def learning_rate(self):
        """That of the next step, a float."""
        return float(self.optimizer.learning_rate)

    def validate(self, batches, count):
        """The mean loss over the tokens of `count` batches."""
        scored = [self._score(*batches.next()) for _ in range(count)]
        return float(sum(total for total, _ in scored)) / float(sum(n for _, n in scored))

    # ---- state, for checkpoint.save

    def state(self, **progress):
        """{name: tensor}: the optimizer's variables, and `progress`, anything that JSON takes."""
        note = json.dumps(progress | {'optimizer': self.optimizer_name})
        return {f'optimizer/{i}': value for i, value in enumerate(self.optimizer.variables)} | {'progress': tf.constant(note)}

    def restore(self, reader):
        """Put back what `state` gave, from checkpoint.read_state's reader. Returns the progress.

        The optimizer starts anew, and progress says why under 'note', when the run used another one or trained other variables.
        """
        progress = json.loads(reader.get_tensor('progress'))
        kept = reader.get_variable_to_shape_map()
        variables = self.optimizer.variables
        fits = (progress['optimizer'] == self.optimizer_name and f'optimizer/{len(variables)}' not in kept
                and all(kept.get(f'optimizer/{i}') == v.shape.as_list() for i, v in enumerate(variables)))
        if not fits:
            return progress | {'note': f'the optimizer starts anew: the run was trained with {progress["optimizer"]} or on other variables'}
        rate = self.learning_rate
        for i, value in enumerate(variables):
            value.assign(reader.get_tensor(f'optimizer/{i}'))
        if not self._scheduled:
            self.optimizer.learning_rate = rate                            # what is asked for now, not what was then
        return progress


# ---- what a step will take

def n_params(hparams):
    """The number of weights."""
    return sum(math.prod(shape) for shape in model.shapes(hparams).values())


def step_flops(hparams, tokens, seq_len, recompute=False):
    """Floating-point operations of one training step on so many tokens: 2 a weight and token forward, 4 backward, and attention's."""
    dense = n_params(hparams) - hparams.n_ctx * hparams.n_embd
    attention = 2 * hparams.n_layer * hparams.n_embd * seq_len
    return tokens * (dense + attention) * (8 if recompute else 6)


def step_bytes(trainer, batch_size, seq_len, recompute=None):
    """Estimated peak memory of a step in bytes: TensorFlow itself, weights, gradients, optimizer, activations, logits.

    recompute: with activation recomputation or without; None: as the trainer does it.
    """
    recompute = trainer.recompute if recompute is None else recompute
    hparams, tokens = trainer.hparams, batch_size * seq_len
    trainable = sum(math.prod(v.shape) for v in trainer.trainable.values())
    _, slots, _ = OPTIMIZERS[trainer.optimizer_name]
    copies = trainable * (1 + slots + (1 if trainer.accumulate > 1 else 0))
    # kept for the way back, in floats a token: what a layer makes; for one layer at a time the attention weights; the logits. The
    # factors are fitted to peaks measured on a CPU (nine runs: 3 to 24 layers, 1024 to 4096 tokens, Adam and SGD), from which they are
    # 7 % off at most.
    layer = 12 * hparams.n_embd
    activations = hparams.n_layer * hparams.n_embd + layer if recompute else hparams.n_layer * layer
    return 750e6 + 4 * (n_params(hparams) + copies + tokens * (activations + 1.5 * hparams.n_head * seq_len + 1.3 * hparams.n_vocab))


def main_memory():
    """Bytes of this machine's main memory, or None where the system does not tell."""
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):       # Windows
        return None


def measured_flops(seconds=0.2):
    """Floating-point operations a second of this device in a matrix product like the model's, float32."""
    a, b = tf.random.normal([1024, 768]), tf.random.normal([768, 3072])
    tf.matmul(a, b).numpy()
    runs, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        tf.matmul(a, b).numpy()
        runs += 1
    return runs * 2 * 1024 * 768 * 3072 / (time.perf_counter() - start)


def check_finite(loss, counter):
    """Raise UserError for a loss that is no number: the checkpoints stay as they were."""
    if not math.isfinite(loss):
        raise UserError(f'the loss at step {counter} is {loss}: nothing was saved since the last checkpoint; '
                        'resume from it with a smaller --learning_rate.')

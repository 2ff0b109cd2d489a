"""Batches -> better weights: the loss, the optimizer, and one compiled train step.

    loss = mean over the positions that count of -log p(next token)            Radford et al. 2019, section 2

The optimizers are Keras's; Adam's epsilon is 1e-8, TensorFlow 1's, which the original ran with. On a GPU the step is one XLA
program; on a CPU a TensorFlow graph, in which the loss, and larger models' pieces between matrix products, are XLA programs
(fused.py). Both were chosen by measurement (benchmarks/train.py).

Precision (Micikevicius et al. 2018, arXiv:1710.03740): weights, optimizer, layer norms, softmax and loss are float32; bfloat16 and
float16 are the activations' and the matrix products', float16 with Keras's loss scaling.
"""
import json
import math
import time
from functools import partial

import numpy as np
import tensorflow as tf

from . import console, fused, lora, model
from .console import UsageError, UserError


class Adam(tf.keras.optimizers.Adam):
    """Keras's Adam, whose update is TensorFlow's one operation: a pass over memory in place of a dozen, and no copies."""

    def apply(self, grads, trainable_variables=None):
        step = tf.cast(self.iterations + 1, tf.float32)
        self._powers = tf.pow(self.beta_1, step), tf.pow(self.beta_2, step)             # once, not for each variable
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        i = self._get_variable_index(variable)
        mean, square = self._momentums[i].value, self._velocities[i].value
        tf.raw_ops.ResourceApplyAdam(var=variable.handle, m=mean.handle, v=square.handle, beta1_power=self._powers[0], beta2_power=self._powers[1],
                                     lr=learning_rate, beta1=self.beta_1, beta2=self.beta_2, epsilon=self.epsilon, grad=gradient, use_locking=False)


class Adafactor(tf.keras.optimizers.Adafactor):
    """Keras's Adafactor (Shazeer and Stern 2018, arXiv:1804.04235), without the full-size second moment that it keeps beside the
    sums of its rows and columns: the optimizer of models whose weights alone nearly fill the memory."""

    def build(self, variables):
        tf.keras.optimizers.Optimizer.build(self, variables)
        zeros = lambda v, shape: self.add_variable(shape=shape, dtype=v.dtype, name=v.name.replace('/', '_').split(':')[0])
        matrix = [len(v.shape) >= 2 for v in variables]
        self._r = [zeros(v, v.shape[:-1]) if is_matrix else None for v, is_matrix in zip(variables, matrix)]
        self._c = [zeros(v, v.shape[:-2] + v.shape[-1:]) if is_matrix else None for v, is_matrix in zip(variables, matrix)]
        self._v = [None if is_matrix else zeros(v, v.shape) for v, is_matrix in zip(variables, matrix)]

    def update_step(self, gradient, variable, learning_rate):
        i = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        decay = 1 - tf.pow(step, self.beta_2_decay)                      # section 7.2
        square = tf.square(gradient) + self.epsilon_1
        moving = lambda v, new: v.assign(decay * v + (1 - decay) * new)
        if self._v[i] is not None:
            update = gradient * tf.math.rsqrt(moving(self._v[i], square))
        else:                                                            # section 3: the rows' means times the columns', over the mean of all
            rows, columns = moving(self._r[i], tf.reduce_mean(square, axis=-1)), moving(self._c[i], tf.reduce_mean(square, axis=-2))
            rows = rows / tf.reduce_mean(rows, axis=-1, keepdims=True)
            update = gradient * tf.math.rsqrt(rows)[..., None] * tf.math.rsqrt(columns)[..., None, :]
        rms = lambda x: tf.sqrt(tf.reduce_mean(tf.square(x)))
        update /= tf.maximum(1., rms(update) / self.clip_threshold)      # section 6
        variable.assign_sub(learning_rate * tf.maximum(self.epsilon_2, rms(variable)) * update)      # section 8: steps relative to the weights


# name: (the Keras optimizer, copies of the weights that it keeps, the weight decay it has by default)
OPTIMIZERS = {
    'adam': (lambda rate, beta, beta2, **settings: Adam(rate, beta_1=beta, beta_2=beta2, epsilon=1e-8, **settings), 2, 0.0),
    'adamw': (lambda rate, beta, beta2, **settings: Adam(rate, beta_1=beta, beta_2=beta2, epsilon=1e-8, **settings), 2, 0.1),
    'adafactor': (lambda rate, beta, beta2, **settings: Adafactor(rate, relative_step=False, **settings), 0, 0.0),
    'lion': (lambda rate, beta, beta2, **settings: tf.keras.optimizers.Lion(rate, beta_1=beta, beta_2=beta2, **settings), 1, 0.0),
    'sgd': (lambda rate, beta, beta2, **settings: tf.keras.optimizers.SGD(rate, **settings), 0, 0.0),
}
PACKS = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=32 << 20)        # gradients travel in packs of so many bytes
PRECISIONS = {'float32': tf.float32, 'bfloat16': tf.bfloat16, 'float16': tf.float16}
FUSED_FROM = 1 << 18                                  # activations of a layer from which compiled pieces are worth their launch
SCHEDULES = {
    # warm: steps since the warm-up, as a share of those until the end; so_far: steps, as a multiple of the warm-up's
    'constant': lambda warm, so_far: 1,
    'linear': lambda warm, so_far: 1 - warm,
    'cosine': lambda warm, so_far: 0.1 + 0.45 * (1 + math.cos(math.pi * warm)),         # Loshchilov and Hutter 2017, arXiv:1608.03983
    'noam': lambda warm, so_far: 1 / math.sqrt(so_far),                                 # Vaswani et al. 2017, arXiv:1706.03762, section 5.3
}


class Schedule:
    """A learning rate that rises from 0 to `peak` in warmup_steps and then goes as SCHEDULES says: constant; linear down to 0, or
    cosine down to a tenth, over the rest of `steps`; noam, with the inverse square root of the step."""

    def __init__(self, kind, peak, warmup_steps, steps):
        self.kind, self.peak, self.warmup_steps, self.steps = kind, peak, warmup_steps, steps

    def __call__(self, step):
        if step < self.warmup_steps:
            return self.peak * step / self.warmup_steps
        warm = min(1, (step - self.warmup_steps) / max(1, (self.steps or 0) - self.warmup_steps))
        return self.peak * SCHEDULES[self.kind](warm, step / max(1, self.warmup_steps))


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


def trained(params, only_transformer_layers=False, freeze_layers=0, base_vocab=None):
    """{name: variable} of the weights that training changes.

    Adapters alone, where there are any (lora.names). only_transformer_layers: all but the embeddings, ln_f and lm_head. freeze_layers: all but the
    first so many layers and the embeddings below them.
    """
    flat = model.flat(params)
    if lora.settings(params):
        return {name: flat[name] for name in lora.names(params, base_vocab)}
    fixed = {f'h{i}' for i in range(freeze_layers)} | ({'wte', 'wpe'} if freeze_layers else set()) | ({'wte', 'wpe', 'ln_f', 'lm_head'} if only_transformer_layers else set())
    return {name: value for name, value in flat.items() if name.split('/')[0] not in fixed}


class Replica:
    """One device's copy: weights, optimizer, sums of gradients, and what is compiled for them. It knows of no other."""

    def __init__(self, hparams, params, make_optimizer, *, trainable, recompute, precision, dropout, label_smoothing, clip_norm, seed, tokens, accumulate):
        """trainable: names of params. make_optimizer() gives the Keras optimizer; the rest is Trainer's."""
        self.hparams, self.params, self.recompute, self.precision = hparams, params, recompute, PRECISIONS[precision]
        self._head = 'wte' if hparams.tie_word_embeddings else 'lm_head'
        flat = model.flat(params)
        self.trainable = {name: flat[name] for name in trainable}
        self.variables = list(self.trainable.values())
        self.inner = make_optimizer()                                      # without the scale of float16's loss
        self.inner.exclude_from_weight_decay(var_list=[value for name, value in self.trainable.items() if name.endswith(('/g', '/b'))])
        self.optimizer = tf.keras.optimizers.LossScaleOptimizer(self.inner) if precision == 'float16' else self.inner
        self.optimizer.build(self.variables)
        shapes = [[], []] + [value.shape for value in self.variables]
        self.sums = [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes] if accumulate > 1 else []      # loss, tokens, gradients
        self.drawn = tf.Variable(0, dtype=tf.int64, trainable=False)             # batches so far: dropout's place in its random numbers
        self._dropout, self._smoothing, self._clip_norm, self._seed = dropout, label_smoothing, clip_norm, seed
        self.xla = has_gpu()
        self.fuse = not self.xla and tokens * hparams.n_embd >= FUSED_FROM
        self._loss_blocks = fused.loss_blocks(tokens, hparams.n_vocab, self.precision.size)
        self._look_blocks = max(1, min(tokens, hparams.n_ctx) // fused.QUERIES)

    def hidden(self, X, drop=model.drop_none):
        """The last layer norm's output at each position, [batch * sequence, n_embd]."""
        ops = model.Ops(drop=drop)                      # a small model's activations are not worth the operations that save them
        if self.fuse or self.xla or self.recompute:
            ops = fused.training_ops(blocks=self._look_blocks, fuse=self.fuse, order='xla' if self.xla else 'graph', drop=drop)
        if self.xla:
            wrap = fused.recomputed_xla if self.recompute else None
        else:
            wrap = partial(fused.one_graph, trained=self.variables, again=self.recompute)
        h, _ = model.hidden(self.hparams, self.params, X, dtype=self.precision, ops=ops, wrap=wrap)
        return tf.reshape(h, [-1, self.hparams.n_embd])

    def losses(self, X, labels):
        """The loss at each position, [batch, sequence]."""
        losses = fused.losses(self.hidden(X), self.params[self._head], tf.reshape(labels, [-1]), blocks=self._loss_blocks)
        return tf.reshape(losses, tf.shape(labels))

    def _drop(self, x, place, part=0):
        """Dropout (Srivastava et al. 2014) whose random numbers follow from seed, batch and place: computed again, they are the same."""
        seed = tf.stack([self._seed + 1000003 * tf.cast(place, tf.int64), 65536 * self.drawn + part])
        kept = tf.random.stateless_uniform(tf.shape(x), seed) >= self._dropout
        return tf.where(kept, x / tf.cast(1 - self._dropout, x.dtype), tf.zeros([], x.dtype))

    def _loss_scale(self):
        return 1.0 if self.optimizer is self.inner else tf.convert_to_tensor(self.optimizer.dynamic_scale)

    def gradients(self, X, labels, weights):
        """[the sum of weight * loss, its gradients by self.variables, scaled as the optimizer expects]."""
        weights = tf.reshape(weights, [-1])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            h = self.hidden(X, self._drop if self._dropout else model.drop_none)
        losses, dh, dw = fused.cross_entropy(h, self.params[self._head], tf.reshape(labels, [-1]), weights * self._loss_scale(), smoothing=self._smoothing,
                                             blocks=self._loss_blocks, learn_wte=self._head in self.trainable)
        gradients = dict(zip(self.trainable, tape.gradient(h, self.variables, output_gradients=dh)))
        if dw is not None and self._head == 'wte':      # it is at both ends: the gradient by its rows joins the other
            rows = gradients['wte']
            dw = (tf.tensor_scatter_nd_add(dw, rows.indices[:, None], rows.values) if self.xla
                  else tf.raw_ops.InplaceAdd(x=dw, i=rows.indices, v=rows.values))                # the newer operation, not in XLA, copies dw
        if dw is not None:
            gradients[self._head] = dw
        self.drawn.assign_add(1)
        return [tf.reduce_sum(losses * weights)] + [tf.convert_to_tensor(g) for g in gradients.values()]

    def add(self, X, labels, weights):
        """Add loss, tokens and gradients of a batch to self.sums."""
        loss, *gradients = self.gradients(X, labels, weights)
        for total, part in zip(self.sums, [loss, tf.reduce_sum(weights), *gradients]):
            total.assign_add(part)

    def take_sums(self):
        """What self.sums hold, which are 0 from then on."""
        found = [tf.identity(value) for value in self.sums]
        with tf.control_dependencies(found):
            for value in self.sums:
                value.assign(tf.zeros_like(value))
        return found

    def norm(self, *gradients):
        """That of all gradients together, without the loss scale."""
        return tf.sqrt(2 * tf.add_n([tf.nn.l2_loss(g) for g in gradients])) / self._loss_scale()

    def update(self, norm, loss, *gradients):
        """An optimizer step, unless loss or a gradient is not finite. Returns whether there was one."""
        finite = tf.math.is_finite(norm) & tf.math.is_finite(loss)
        if self._clip_norm:
            clip = tf.where(finite, tf.minimum(1.0, self._clip_norm / norm), 1.0)
            gradients = [g * clip for g in gradients]
        if self.optimizer is not self.inner:            # it looks for itself, and changes the scale
            self.optimizer.apply(gradients)
        else:
            tf.cond(finite, lambda: (self.optimizer.apply(gradients), True)[1], lambda: False)
        return finite


class Trainer:
    """Replicas, one on each device, that start alike and all apply the sum of all devices' gradients; and the functions that train and score."""

    def __init__(self, hparams, params, *, optimizer='adam', learning_rate=2e-5, beta=0.9, beta2=0.999, accumulate=1, recompute=False,
                 only_transformer_layers=False, freeze_layers=0, base_vocab=None, weight_decay=None, clip_norm=None, precision='float32',
                 dropout=0.0, label_smoothing=0.0, seed=0, tokens=None, strategy=None, index=0):
        """learning_rate: a number, or what `schedule` gives. accumulate: batches that make one step together, each token of them
        counting the same. recompute: keep no activations but each layer's input, and compute the rest again on the way back;
        without it, only what is cheap is computed again (fused.py). only_transformer_layers, freeze_layers, base_vocab: as for
        `trained`. weight_decay: of the matrices, apart from the gradient (Loshchilov and Hutter 2019, arXiv:1711.05101); None: the
        optimizer's default. clip_norm: the norm that all gradients together have at most. precision: a key of PRECISIONS.
        dropout: of embeddings, attention and what each layer adds (Radford et al. 2018, section 4.1). label_smoothing: see
        fused.cross_entropy. seed: of dropout. tokens: positions of a batch of this worker, at most. strategy: tf.distribute's, over
        the devices of this and other workers, of which this is number `index`; None: one device.
        """
        self.hparams, self.params, self.accumulate, self.recompute = hparams, params, accumulate, recompute
        self.optimizer_name = optimizer
        self._schedule, rate = (None, learning_rate) if isinstance(learning_rate, (int, float)) else (learning_rate, 0.0)     # then each step sets it
        self.steps = 0                                                     # so far, skipped ones too: the schedule's place
        self.strategy = strategy
        if recompute:
            console.free_at_once()
        devices = strategy.extended.worker_devices if strategy else [params['wte'].device]
        self.n_replicas, self._first = strategy.num_replicas_in_sync if strategy else 1, index * len(devices)
        make, _, decay = OPTIMIZERS[optimizer]
        decay = (decay if weight_decay is None else weight_decay) or None
        tokens = (tokens or hparams.n_ctx) // len(devices)
        self._unit = 1 / (tokens * accumulate * self.n_replicas)           # about the share of a token, so that float16 holds the sums
        self.replicas = []
        for i, device in enumerate(devices):
            with tf.device(device):
                own = params if i == 0 else model.nested({name: tf.Variable(v, trainable=v.trainable) for name, v in model.flat(params).items()})
                self.replicas.append(Replica(
                    hparams, own, lambda: make(rate, beta, beta2, weight_decay=decay), recompute=recompute, precision=precision, dropout=dropout,
                    trainable=trained(own, only_transformer_layers, freeze_layers, base_vocab), label_smoothing=label_smoothing, clip_norm=clip_norm,
                    seed=seed + self._first + i, tokens=tokens, accumulate=accumulate))
        first = self.replicas[0]
        self.trainable, self.optimizer, self.precision = first.trainable, first.optimizer, first.precision
        self.positions, self.stopped = 0, False                            # of the last step's batches; whether a worker asked to stop
        self.skipped, self.skipped_in_a_row = 0, 0                         # steps whose loss or gradient was not finite
        self.patience = 20 if precision == 'float16' else 5                # so many in a row are too many: float16's scale is being looked for

        batch = [tf.TensorSpec([None, None], dtype) for dtype in (tf.int32, tf.int32, tf.float32)]
        alone = {'autograph': False, 'jit_compile': first.xla}
        together = {'autograph': False, 'jit_compile': first.xla and self.n_replicas == 1}      # where nothing comes between gradients and update
        self._score = tf.function(first.losses, input_signature=batch[:2], **alone)
        if first.xla and self.n_replicas > 1:
            for replica in self.replicas:
                replica.gradients, replica.update = tf.function(replica.gradients, **alone), tf.function(replica.update, **alone)
        batches = [batch] * len(self.replicas)
        self._train = tf.function(self._step, input_signature=[tf.TensorSpec([]), batches], **together)
        self._add = tf.function(self._accumulate, input_signature=[batches], **together)
        self._apply = tf.function(self._apply_sums, input_signature=[tf.TensorSpec([])], **together)

    # ---- what is compiled; batches: X, labels and weights for each replica of this worker

    def _on_each(self, f, *values):
        """[f(replica, its value of each of `values`)]"""
        found = []
        for replica, *own in zip(self.replicas, *values):
            with tf.device(replica.params['wte'].device):
                found.append(f(replica, *own))
        return found

    def _all_reduce(self, values):
        """values: a list of tensors for each replica of this worker -> the same, each the sum over all replicas of all workers."""
        if self.n_replicas == 1:
            return values
        per_replica = self.strategy.experimental_distribute_values_from_function(lambda context: values[context.replica_id_in_sync_group - self._first])
        summed = self.strategy.run(lambda own: tf.distribute.get_replica_context().all_reduce('sum', [tf.identity(v) for v in own], PACKS), args=(per_replica,))
        return self.strategy.experimental_local_results(summed)

    def _step(self, stop, batches):
        stop_and_n = self._all_reduce([[stop, tf.reduce_sum(weights)] for _, _, weights in batches])
        found = self._on_each(lambda replica, batch, sums: replica.gradients(*batch[:2], batch[2] / sums[1]), batches, stop_and_n)
        found = self._all_reduce(found)
        return found[0][0], self._update(found), stop_and_n[0][0]

    def _update(self, found):
        """found: loss and gradients, the same for each replica. A norm that differs in its last digit would lead them apart."""
        norms = self._all_reduce([[replica.norm(*own[1:]) / self.n_replicas] for replica, own in zip(self.replicas, found)])
        return self._on_each(lambda replica, norm, own: replica.update(norm[0], *own), norms, found)[0]

    def _accumulate(self, batches):
        """Batches with any number of tokens add up to what one batch of them all would be."""
        self._on_each(lambda replica, batch: replica.add(*batch[:2], batch[2] * self._unit), batches)

    def _apply_sums(self, stop):
        found = self._all_reduce([[stop, *own] for own in self._on_each(lambda replica: replica.take_sums())])
        means = self._on_each(lambda replica, own: [value / own[2] for value in [own[1], *own[3:]]], found)
        return means[0][0], self._update(means), found[0][0]

    # ---- what is called

    def _rows(self, batch):
        """A batch of this worker, divided among its replicas."""
        each = len(batch[0]) // len(self.replicas)
        return [[tf.constant(part[i * each:(i + 1) * each]) for part in batch] for i in range(len(self.replicas))]

    def step(self, batches, stop=False):
        """One optimizer step on the next batch, or on the next `accumulate` batches, of every worker. Returns the mean loss, a float.

        Where the loss or a gradient is not finite, the weights stay as they are, and self.skipped and self.skipped_in_a_row count it.
        stop: whether this worker is asked to stop; self.stopped tells all workers, after the same step, whether one was.
        Raises UserError when the device's memory does not hold it.
        """
        stop = tf.constant(float(stop))
        if self._schedule:
            rate = self.learning_rate
            for replica in self.replicas:
                replica.inner.learning_rate = rate
        try:
            drawn = [batches.next() for _ in range(self.accumulate)]
            if self.accumulate == 1:
                loss, finite, stop = self._train(stop, self._rows(drawn[0]))
            else:
                for batch in drawn:
                    self._add(self._rows(batch))
                loss, finite, stop = self._apply(stop)
        except tf.errors.ResourceExhaustedError:
            raise UserError('the memory of the device is full: --memory_saving_gradients, a smaller --batch_size (with --accumulate_gradients) '
                            'or a shorter --seq_len need less; the checkpoints are as they were.') from None
        if not self.positions:
            console.trim_malloc()                       # what compiling has left
        self.positions, self.stopped = sum(X.size for X, *_ in drawn), bool(stop)
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        self.skipped += not finite
        self.steps += 1
        return float(loss)

    @property
    def learning_rate(self):
        """That of the next step, a float."""
        return float(self._schedule(self.steps) if self._schedule else self.replicas[0].inner.learning_rate)

    def validate(self, batches, count, going=lambda: True):
        """(the mean loss over the tokens that count in `count` batches, that over those of them in replies): floats; the second is
        None unless the batches tell (batches.Batches with replies) and there are any. None where going(), asked before each batch, says no."""
        total = np.zeros([2, 2])                        # [all, replies] x [sum of losses, tokens]
        for _ in range(count):
            if not going():
                return None
            X, labels, *weights = batches.next()
            losses = self._score(X, labels).numpy().astype(np.float64)
            for row, counts in zip(total, weights):
                row += (losses * counts).sum(), counts.sum()
        means = [float(row[0] / row[1]) if row[1] else None for row in total]
        return means[0], means[1]

    # ---- state, for checkpoint.save

    def state(self, **progress):
        """{name: tensor}: the optimizer's variables, and `progress`, anything that JSON takes."""
        note = json.dumps(progress | {'optimizer': self.optimizer_name, 'steps': self.steps})
        return {f'optimizer/{i}': value for i, value in enumerate(self.optimizer.variables)} | {'drawn': self.replicas[0].drawn, 'progress': tf.constant(note)}

    def restore(self, reader):
        """Put back what `state` gave, from checkpoint.read_state's reader. Returns the progress.

        The optimizer starts anew, and progress says why under 'note', when the run used another one or trained other variables. A schedule goes on.
        """
        progress = json.loads(reader.get_tensor('progress'))
        kept = reader.get_variable_to_shape_map()
        rate, n_kept = self.learning_rate, sum(name.startswith('optimizer/') for name in kept)

        def expected(replica):                          # older states of a schedule are without its rate
            variables = replica.optimizer.variables
            return variables if len(variables) == n_kept else [v for v in variables if v is not replica.inner.learning_rate]
        shapes = [v.shape.as_list() for v in expected(self.replicas[0])]
        fits = progress['optimizer'] == self.optimizer_name and shapes == [kept.get(f'optimizer/{i}') for i in range(n_kept)]
        self.steps = progress.get('steps', progress.get('counter', 1) - 1)
        if not fits:
            return progress | {'note': f'the optimizer starts anew: the run was trained with {progress["optimizer"]}, on other variables or in another precision'}
        for replica in self.replicas:
            for i, value in enumerate(expected(replica)):
                value.assign(reader.get_tensor(f'optimizer/{i}'))
            replica.inner.learning_rate = rate                             # what is asked for now, not what was then
            if 'drawn' in kept:
                replica.drawn.assign(reader.get_tensor('drawn'))
        self.steps = progress.get('steps', int(self.replicas[0].inner.iterations))         # older states do not tell
        return progress


def measured_flops(precision=tf.float32, seconds=0.2):
    """Floating-point operations a second of this device in a matrix product like the model's."""
    a, b = tf.cast(tf.random.normal([1024, 768]), precision), tf.cast(tf.random.normal([768, 3072]), precision)
    product = tf.function(tf.matmul)
    product(a, b)
    runs, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        y = product(a, b)
        runs += 1
    float(tf.cast(y[0, 0], tf.float32))                 # a GPU has finished when a number is there
    return runs * 2 * 1024 * 768 * 3072 / (time.perf_counter() - start)

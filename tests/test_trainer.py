"""Losses, steps and state of the trainer; what TensorFlow 1's optimizers make of the same steps is in test_golden.py."""
import math

import numpy as np
import pytest
import tensorflow as tf
from reference import Reference, Windows, rough_params, save_rough

from src import checkpoint, lora, model, trainer
from src.batches import Batches as Drawn
from src.batches import Sampler
from src.console import UsageError, UserError
from src.model import HParams
from src.trainer import Trainer

SMALL = HParams(n_vocab=61, n_ctx=16, n_embd=16, n_head=2, n_layer=1)         # tracing a step is what takes the time here
WINDOWS = np.random.default_rng(0).integers(SMALL.n_vocab, size=[6, 4, 16], dtype=np.int32)      # six batches of four


class Batches:
    """The batches given, (X, labels, weights) each, in this order and over again."""

    def __init__(self, *batches):
        self.batches, self.i = batches, 0

    def next(self):
        self.i += 1
        return self.batches[(self.i - 1) % len(self.batches)]


def weights_of(trained):
    return {name: value.numpy() for name, value in model.flat(trained.params).items()}


def largest_difference(one, other):
    return max(np.abs(one[name] - other[name]).max() for name in one)


def expected_loss(params, X, labels, weights):
    """-log softmax at the labels, averaged where weights are 1, in float64 from the model's logits."""
    logits = model.model(SMALL, params, X)['logits'].numpy().astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    likelihood = np.take_along_axis(logits, np.asarray(labels)[..., None], -1)[..., 0] - np.log(np.exp(logits).sum(-1))
    return -(likelihood * weights).sum() / weights.sum()


# ---- the loss

def test_the_loss_is_the_mean_where_weights_are_1():
    params = rough_params(SMALL, seed=1)
    X, labels, _ = Windows(WINDOWS).next()
    weights = (np.random.default_rng(1).random(X.shape) < 0.4).astype(np.float32)
    expected = expected_loss(params, X, labels, weights)
    scored = Trainer(SMALL, params, optimizer='sgd')
    assert scored.validate(Batches((X, labels, weights)), 1)[0] == pytest.approx(expected, abs=1e-5)
    assert scored.step(Batches((X, labels, weights))) == pytest.approx(expected, abs=1e-5)


def test_equal_logits_cost_the_log_of_the_vocabulary():
    params = model.init_params(SMALL)
    params['wte'].assign(tf.zeros_like(params['wte']))
    assert Trainer(SMALL, params).validate(Windows(WINDOWS), 2)[0] == pytest.approx(math.log(61), abs=1e-6)


def test_padding_does_not_count():
    """Windows of 5, 9 and 2 tokens padded to 12, against each alone without padding: the loss, and the step they lead to."""
    rows = [WINDOWS[0, 0, :5], WINDOWS[0, 1, :9], WINDOWS[0, 2, :2]]
    X, labels, weights = np.full([3, 12], 7, np.int32), np.full([3, 12], 3, np.int32), np.zeros([3, 12], np.float32)
    for row, tokens in enumerate(rows):
        n = len(tokens)
        X[row, :n], labels[row, :n - 1], weights[row, :n - 1] = tokens, tokens[1:], 1
    padded = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=0.1)
    alone = Trainer(SMALL, rough_params(SMALL), optimizer='sgd')
    expected = alone.validate(Windows([row[None] for row in rows]), 3)[0]
    assert padded.validate(Batches((X, labels, weights)), 1)[0] == pytest.approx(expected, abs=1e-5)

    X2, labels2 = np.where(weights > 0, X, 50), np.where(weights > 0, labels, 11)
    X2[[0, 1, 2], [4, 8, 1]] = [row[-1] for row in rows]                # the last token of each is read, though nothing follows
    other = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=0.1)
    padded.step(Batches((X, labels, weights)))
    other.step(Batches((X2, labels2, weights)))
    assert largest_difference(weights_of(padded), weights_of(other)) < 1e-7
    assert largest_difference(weights_of(padded), weights_of(alone)) > 1e-4


def test_batches_of_the_dataset_pad_as_the_loss_expects():
    """Six tokens in a window of ten: five predictions, whose mean is the loss."""
    params, tokens = rough_params(SMALL), np.array([1, 5, 9, 2, 6, 10])
    batches = Drawn(Sampler([tokens], seed=0), 2, 10, SMALL.n_vocab)
    loss = Trainer(SMALL, params).validate(batches, 1)[0]
    assert loss == pytest.approx(expected_loss(params, tokens[None, :-1], tokens[None, 1:], np.ones([1, 5])), abs=1e-5)


def test_validate_is_the_mean_over_tokens_not_over_batches():
    params = rough_params(SMALL)
    X, labels, weights = Windows(WINDOWS).next()
    few = np.zeros_like(weights)
    few[0, :2] = 1                                                      # two tokens against sixty
    long, short = expected_loss(params, X, labels, weights), expected_loss(params, X, labels, few)
    scored = Trainer(SMALL, params).validate(Batches((X, labels, weights), (X, labels, few)), 2)[0]
    assert scored == pytest.approx((60 * long + 2 * short) / 62, abs=1e-5)
    assert abs(long - short) > 0.1 and abs(scored - (long + short) / 2) > 0.04


def test_validate_changes_nothing():
    scored = Trainer(SMALL, rough_params(SMALL))
    before = weights_of(scored)
    assert scored.validate(Windows(WINDOWS), 3)[0] == scored.validate(Windows(WINDOWS), 3)[0]
    assert largest_difference(before, weights_of(scored)) == 0
    assert all((value.numpy() == 0).all() for value in scored.optimizer.variables if value.shape.rank)


# ---- steps

def test_one_step_of_sgd_by_hand():
    """w - learning_rate * gradient, with the gradient of the plain model."""
    params, twin = rough_params(SMALL), rough_params(SMALL)
    X, labels, weights = Windows(WINDOWS).next()
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=model.model(SMALL, twin, X)['logits'])
        loss = tf.reduce_sum(losses * weights) / 60                     # four rows of 15 predictions
    gradients = tape.gradient(loss, model.flat(twin))
    assert Trainer(SMALL, params, optimizer='sgd', learning_rate=0.5).step(Batches((X, labels, weights))) == pytest.approx(float(loss), abs=1e-5)
    for name, value in model.flat(params).items():
        expected = model.flat(twin)[name] - 0.5 * tf.convert_to_tensor(gradients[name])
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6, err_msg=name)


def test_a_step_does_not_copy_the_embeddings():
    """One gather from a variable itself, and TensorFlow makes every later read of that variable a copy."""
    graph = Trainer(SMALL, rough_params(SMALL))._train.get_concrete_function().graph
    kinds = {op.type for op in graph.get_operations()}
    assert 'GatherV2' in kinds and not kinds & {'ResourceGather', 'TensorScatterAdd'}


def test_the_first_step_of_adam_by_hand():
    """Both bias corrections cancel at step 1: w - learning_rate * g / (|g| + epsilon), a step of one size whatever the gradient."""
    params = rough_params(SMALL)
    before = {name: value.numpy() for name, value in model.flat(params).items()}
    Trainer(SMALL, params, learning_rate=1e-3).step(Windows(WINDOWS))
    moved = np.abs(params['h0']['mlp']['c_fc']['w'].numpy() - before['h0/mlp/c_fc/w'])
    np.testing.assert_allclose(np.median(moved), 1e-3, rtol=1e-3)
    assert moved.max() < 1.001e-3


@pytest.mark.parametrize('name', ['adam', 'sgd'])
def test_twelve_steps_are_those_of_the_reference(tmp_path, name):
    """Losses and final weights, on another model than the golden one; beta is TensorFlow 1's beta1."""
    params, prefix = save_rough(tmp_path, SMALL)
    optimizer, rate = {'adam': (tf.compat.v1.train.AdamOptimizer(1e-3, beta1=0.95), 1e-3),
                       'sgd': (tf.compat.v1.train.GradientDescentOptimizer(0.05), 0.05)}[name]
    reference = Reference(SMALL, optimizer).restore(prefix)
    ours = Trainer(SMALL, params, optimizer=name, learning_rate=rate, beta=0.95)
    batches = Windows(WINDOWS)
    losses = [ours.step(batches) for _ in range(12)]
    np.testing.assert_allclose(losses, reference.train([WINDOWS[i % 6] for i in range(12)]), rtol=0, atol=1e-4)
    for key, value in reference.weights().items():
        # attention's key biases have no gradient but rounding noise (softmax does not see them), and Adam makes whole steps of noise
        n = SMALL.n_embd
        real = np.r_[:n, 2 * n:3 * n] if key.endswith('c_attn/b') else slice(None)
        np.testing.assert_allclose(weights_of(ours)[key.removeprefix('model/')][real], value[real], rtol=0, atol=2e-4, err_msg=key)


def test_four_accumulated_batches_are_one_batch_of_four():
    one = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=0.1)
    four = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=0.1, accumulate=4)
    together, apart = Windows(WINDOWS), Windows(WINDOWS.reshape(24, 1, 16))
    for _ in range(3):                                                  # the sums start at zero again each time
        assert four.step(apart) == pytest.approx(one.step(together), abs=1e-5)
    assert largest_difference(weights_of(one), weights_of(four)) < 1e-5
    assert apart.i == 12


def test_accumulated_batches_weigh_as_many_tokens_as_they_have():
    """One row of 15 learnt tokens and one of 3: together in a batch, or one after the other."""
    X, labels = WINDOWS[0][:2, :-1], WINDOWS[0][:2, 1:]
    weights = np.ones(labels.shape, np.float32)
    weights[1, 3:] = 0
    one = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=0.1)
    two = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=0.1, accumulate=2)
    together = one.step(Batches((X, labels, weights)))
    assert two.step(Batches((X[:1], labels[:1], weights[:1]), (X[1:], labels[1:], weights[1:]))) == pytest.approx(together, abs=1e-5)
    assert largest_difference(weights_of(one), weights_of(two)) < 1e-6


@pytest.mark.parametrize('name', ['adam', 'sgd'])
def test_recomputing_gives_the_same_losses(name):
    losses = []
    for recompute in (False, True):
        trained, batches = Trainer(SMALL, rough_params(SMALL), optimizer=name, learning_rate=1e-3, recompute=recompute), Windows(WINDOWS)
        losses.append([trained.step(batches) for _ in range(8)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize('options', [{}, {'accumulate': 2, 'recompute': True}])
def test_only_transformer_layers_leaves_the_embeddings(options):
    trained = Trainer(SMALL, rough_params(SMALL), learning_rate=1e-2, only_transformer_layers=True, **options)
    before = weights_of(trained)
    trained.step(Windows(WINDOWS))
    for name, value in weights_of(trained).items():
        assert (value == before[name]).all() == (name in ('wte', 'wpe', 'ln_f/g', 'ln_f/b')), name


def test_every_weight_is_trained():
    trained = Trainer(SMALL, model.init_params(SMALL), learning_rate=1e-2)
    before = weights_of(trained)
    trained.step(Windows(WINDOWS))
    assert all((value != before[name]).any() for name, value in weights_of(trained).items())


def test_the_loss_goes_down_on_a_repeated_text():
    """Eight tokens over and over: from log(61) = 4.1 to nearly nothing, and then the model says them by heart."""
    from src import sample
    text = np.tile([5, 17, 3, 44, 9, 28, 60, 12], 8)
    trained = Trainer(SMALL, model.init_params(SMALL), learning_rate=1e-2)
    batches = Drawn(Sampler([text], seed=0), 4, 16, SMALL.n_vocab)
    losses = [trained.step(batches) for _ in range(80)]
    assert losses[0] == pytest.approx(math.log(61), abs=0.3) and losses[-1] < 0.1
    out = sample.sample_sequence(SMALL, trained.params, length=8, context=[[5, 17, 3, 44]], temperature=0)
    assert out[0, 4:].tolist() == [9, 28, 60, 12, 5, 17, 3, 44]


def test_a_step_is_traced_once_for_all_shapes():
    trained = Trainer(SMALL, rough_params(SMALL))
    for batch, sequence in ((1, 16), (4, 16), (2, 5)):
        trained.step(Windows([WINDOWS[0, :batch, :sequence]]))
        trained.validate(Windows([WINDOWS[0, :batch, :sequence]]), 1)[0]
    assert trained._train.experimental_get_tracing_count() == trained._score.experimental_get_tracing_count() == 1


# ---- state

def saved(tmp_path, trained, **progress):
    """The reader of the trainer's state, through the files."""
    return checkpoint.read_state(checkpoint.save(str(tmp_path), SMALL, trained.params, 1, trained.state(**progress)))


def restored(tmp_path, **options):
    """A new Trainer on the weights in the folder."""
    return Trainer(SMALL, checkpoint.load(str(tmp_path))[1], **options)


@pytest.mark.parametrize('options', [{}, {'accumulate': 2, 'only_transformer_layers': True}])
def test_a_restored_trainer_goes_on_bit_by_bit(tmp_path, options):
    options = {'learning_rate': 3e-3} | options
    straight, batches = Trainer(SMALL, rough_params(SMALL), **options), Windows(WINDOWS)
    for _ in range(4):
        straight.step(batches)
    reader = saved(tmp_path, straight, counter=4, average=(1 / 3, 0.1), tokens=10 ** 12, note_of_ours='é')
    at = batches.i
    losses = [straight.step(batches) for _ in range(4)]

    again = restored(tmp_path, **options)
    progress = again.restore(reader)
    assert progress['counter'] == 4 and progress['average'] == [1 / 3, 0.1] and progress['tokens'] == 10 ** 12 and progress['note_of_ours'] == 'é'
    assert 'note' not in progress
    batches.i = at
    assert [again.step(batches) for _ in range(4)] == losses
    assert largest_difference(weights_of(straight), weights_of(again)) == 0


def test_the_learning_rate_asked_for_now_counts(tmp_path):
    first = Trainer(SMALL, rough_params(SMALL), learning_rate=1e-2)
    first.step(Windows(WINDOWS))
    reader = saved(tmp_path, first)
    again = restored(tmp_path, learning_rate=5e-5)
    again.restore(reader)
    assert float(again.optimizer.learning_rate.numpy()) == pytest.approx(5e-5)
    assert int(again.optimizer.iterations.numpy()) == 1


@pytest.mark.parametrize('then, now', [({'optimizer': 'sgd'}, {}), ({}, {'optimizer': 'sgd'}), ({'only_transformer_layers': True}, {}),
                                       ({}, {'only_transformer_layers': True})])
def test_another_optimizer_or_other_variables_start_anew_and_say_so(tmp_path, then, now):
    first = Trainer(SMALL, rough_params(SMALL), **then)
    first.step(Windows(WINDOWS))
    reader = saved(tmp_path, first, counter=1)
    again, fresh = restored(tmp_path, **now), restored(tmp_path, **now)
    progress = again.restore(reader)
    assert progress['counter'] == 1 and 'starts anew' in progress['note'] and first.optimizer_name in progress['note']
    assert all((ours.numpy() == theirs.numpy()).all() for ours, theirs in zip(again.optimizer.variables, fresh.optimizer.variables))


@pytest.mark.parametrize('then', ['a number', 'a schedule', 'a schedule, in an older state', 'another optimizer'])
def test_a_schedule_goes_on_at_the_step_of_the_run(tmp_path, then):
    """With Adam's moments, where it is Adam's run, whether or not there was a schedule before."""
    rate = trainer.schedule('linear', 1e-2, 2, 10)
    first, batches = Trainer(SMALL, rough_params(SMALL), learning_rate=rate if 'schedule' in then else 1e-3, optimizer='sgd' if 'another' in then else 'adam'), Windows(WINDOWS)
    for _ in range(4):
        first.step(batches)
    state = first.state(counter=6)
    if 'older' in then:                                 # its rate was no variable, and the steps not told
        variables = [v for v in first.optimizer.variables if v is not first.optimizer.learning_rate]
        state = {f'optimizer/{i}': v for i, v in enumerate(variables)} | {'drawn': state['drawn'], 'progress': tf.constant('{"optimizer": "adam", "counter": 6}')}
    reader, at = checkpoint.read_state(checkpoint.save(str(tmp_path), SMALL, first.params, 1, state)), batches.i
    again = restored(tmp_path, learning_rate=rate)
    assert ('note' in again.restore(reader)) == ('another' in then)
    assert again.steps == 4 and again.learning_rate == float(rate(4))
    assert int(again.optimizer.iterations.numpy()) == (0 if 'another' in then else 4)
    losses = [again.step(batches) for _ in range(3)]
    if 'schedule' in then:
        batches.i = at
        assert losses == [first.step(batches) for _ in range(3)] and largest_difference(weights_of(first), weights_of(again)) == 0


def test_a_damaged_state_is_a_sentence(tmp_path):
    first = Trainer(SMALL, rough_params(SMALL))
    first.step(Windows(WINDOWS))
    saved(tmp_path, first, counter=1)
    data = tmp_path / 'state-1.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(UserError, match='state-1.*damaged'):
        restored(tmp_path).restore(checkpoint.read_state(str(tmp_path / 'model-1')))


def test_measured_flops_are_a_machines():
    assert 1e8 < trainer.measured_flops(seconds=0.02) < 1e16


# ---- the learning rate, weight decay, clipping

@pytest.mark.parametrize('kind, warmup, steps, expected', [
    ('constant', 4, None, {0: 0, 1: .25, 3: .75, 4: 1, 99: 1}),
    ('linear', 4, 12, {0: 0, 2: .5, 4: 1, 6: .75, 8: .5, 12: 0, 20: 0}),
    ('linear', 0, 10, {0: 1, 5: .5, 9: .1}),
    ('cosine', 0, 10, {0: 1, 5: .55, 10: .1, 30: .1}),
    ('cosine', 2, 12, {1: .5, 2: 1, 7: .55, 12: .1}),
    ('noam', 4, None, {0: 0, 1: .25, 4: 1, 16: .5, 64: .25, 400: .1}),
])
def test_schedules_by_hand(kind, warmup, steps, expected):
    rate = trainer.schedule(kind, 3e-3, warmup, steps)
    assert {step: float(rate(step)) / 3e-3 for step in expected} == pytest.approx(expected, abs=1e-6)


def test_a_constant_rate_is_a_number():
    assert trainer.schedule('constant', 3e-3) == 3e-3


@pytest.mark.parametrize('kind, warmup, steps, words', [
    ('linear', 0, None, '--schedule linear needs to know where it ends.*--epochs'), ('cosine', 0, None, 'cosine needs'),
    ('linear', 10, 10, '--warmup_steps 10 leaves nothing of the 10'), ('noam', 0, None, 'noam.*give --warmup_steps')])
def test_schedules_that_cannot_be(kind, warmup, steps, words):
    with pytest.raises(UsageError, match=words):
        trainer.schedule(kind, 1e-3, warmup, steps)


@pytest.mark.parametrize('name', list(trainer.OPTIMIZERS))
def test_each_optimizer_learns_and_its_state_comes_back(name, tmp_path):
    rate = {'sgd': 0.3, 'lion': 1e-3}.get(name, 5e-3)
    first, batches = Trainer(SMALL, rough_params(SMALL), optimizer=name, learning_rate=rate), Windows(WINDOWS[:1])
    losses = [first.step(batches) for _ in range(6)]
    assert losses[-1] < losses[0] - 0.05
    prefix = checkpoint.save(str(tmp_path), SMALL, first.params, 6, first.state(counter=6))
    second = Trainer(SMALL, checkpoint.load(str(tmp_path))[1], optimizer=name, learning_rate=rate)
    assert 'note' not in second.restore(checkpoint.read_state(prefix))
    assert [second.step(batches) for _ in range(3)] == [first.step(batches) for _ in range(3)]


def test_weight_decay_is_of_the_matrices_alone():
    """SGD: the same step, and besides rate * decay of each matrix as it was."""
    plain = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=0.1)
    decayed = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=0.1, weight_decay=0.5)
    before = weights_of(plain)
    plain.step(Windows(WINDOWS)), decayed.step(Windows(WINDOWS))
    for name, value in weights_of(plain).items():
        matrix = name.rsplit('/', 1)[-1] in ('w', 'wte', 'wpe')
        np.testing.assert_allclose(weights_of(decayed)[name], value - (0.05 * before[name] if matrix else 0), rtol=0, atol=1e-6, err_msg=name)


def test_clipping_makes_a_long_gradient_as_long_as_asked_and_leaves_a_short_one():
    moved = {}
    for clip in (None, 0.01, 1e6):
        t = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=1.0, clip_norm=clip)
        before = weights_of(t)
        t.step(Windows(WINDOWS))
        moved[clip] = math.sqrt(sum(((weights_of(t)[name] - before[name]) ** 2).sum() for name in before))
    assert moved[0.01] == pytest.approx(0.01, rel=1e-3) and moved[1e6] == pytest.approx(moved[None], rel=1e-6) and moved[None] > 0.1


# ---- precision, dropout, smoothing, what is frozen

@pytest.mark.parametrize('precision, tolerance', [('bfloat16', 0.03), ('float16', 0.004)])
@pytest.mark.parametrize('accumulate', [1, 2])
def test_half_precision_follows_float32(precision, tolerance, accumulate):
    """Thirty steps of Adam: near the losses of float32, with weights that stay float32."""
    losses = {}
    for one in ('float32', precision):
        t, batches = Trainer(SMALL, rough_params(SMALL), precision=one, learning_rate=3e-3, accumulate=accumulate), Windows(WINDOWS)
        losses[one] = [t.step(batches) for _ in range(30)]
        assert t.skipped == 0
    assert losses['float32'][-1] < losses['float32'][0] - 0.3
    np.testing.assert_allclose(losses[precision], losses['float32'], rtol=0, atol=10 * tolerance)
    np.testing.assert_allclose(losses[precision][0], losses['float32'][0], rtol=0, atol=tolerance)
    assert losses[precision] != losses['float32']
    assert all(value.dtype == tf.float32 for value in model.flat(t.params).values())


def test_large_models_pieces_are_compiled_and_give_the_same(monkeypatch):
    losses = []
    for least in (1 << 60, 0):
        monkeypatch.setattr(trainer, 'FUSED_FROM', least)
        t, batches = Trainer(SMALL, rough_params(SMALL), learning_rate=1e-3), Windows(WINDOWS)
        assert t.replicas[0].fuse == (least == 0)
        losses.append([t.step(batches) for _ in range(8)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize('recompute', [False, True])
def test_dropout_by_its_effect(recompute):
    """The same seed draws the same, another one does not; scoring knows no dropout; its mean leaves the loss near where it was."""
    def losses(seed, dropout=0.2):
        t, batches = Trainer(SMALL, rough_params(SMALL), optimizer='sgd', learning_rate=1e-30, dropout=dropout, seed=seed, recompute=recompute), Windows(WINDOWS[:1])
        plain = t.validate(batches, 1)[0]
        return [plain] + [t.step(batches) for _ in range(6)]
    one, again, other, none = losses(1), losses(1), losses(2), losses(1, 0.0)
    assert one == again and one[0] == other[0] == none[0] and one[1:] != other[1:]
    assert len(set(one)) == 7                                           # a new draw at each step
    assert np.mean(one[1:]) == pytest.approx(none[1], abs=0.5)


def test_gradients_see_the_dropout_that_the_loss_saw():
    """Recomputed on the way back, each place draws the same numbers once more: the gradient is that of the loss, by differences."""
    params = rough_params(SMALL)
    t = Trainer(SMALL, params, optimizer='sgd', learning_rate=1.0, dropout=0.3, seed=5)
    X, labels, weights = Windows(WINDOWS).next()
    w = params['h0']['mlp']['c_proj']['w']
    before, small = w.numpy(), 1e-2

    def loss(value):
        w.assign(value)
        t.replicas[0].drawn.assign(0)
        return float(t.replicas[0].gradients(X, labels, weights / weights.sum())[0])

    t.replicas[0].drawn.assign(0)
    direction = np.random.default_rng(0).standard_normal(before.shape).astype(np.float32)
    slope = (loss(before + small * direction) - loss(before - small * direction)) / (2 * small)
    w.assign(before)
    t.replicas[0].drawn.assign(0)
    gradient = dict(zip(t.trainable, t.replicas[0].gradients(X, labels, weights / weights.sum())[1:]))['h0/mlp/c_proj/w'].numpy()
    assert slope == pytest.approx(float((gradient * direction).sum()), rel=2e-2)


def test_a_resumed_run_draws_the_dropout_that_it_would_have_drawn(tmp_path):
    options = {'learning_rate': 3e-3, 'dropout': 0.2, 'seed': 3}
    straight, batches = Trainer(SMALL, rough_params(SMALL), **options), Windows(WINDOWS)
    for _ in range(3):
        straight.step(batches)
    reader, at = saved(tmp_path, straight), batches.i
    losses = [straight.step(batches) for _ in range(3)]
    again = restored(tmp_path, **options)
    again.restore(reader)
    batches.i = at
    assert [again.step(batches) for _ in range(3)] == losses


def test_label_smoothing_by_hand():
    """(1 - s) of the label's loss and s of the mean loss of all tokens; scoring knows none of it."""
    params, (X, labels, weights) = rough_params(SMALL), Windows(WINDOWS).next()
    log_p = tf.nn.log_softmax(model.model(SMALL, params, X)['logits']).numpy()
    at_label = -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    expected = ((0.9 * at_label + 0.1 * -log_p.mean(-1)) * weights).sum() / weights.sum()
    t = Trainer(SMALL, params, optimizer='sgd', learning_rate=1e-30, label_smoothing=0.1)
    assert t.validate(Batches((X, labels, weights)), 1)[0] == pytest.approx((at_label * weights).sum() / weights.sum(), abs=1e-5)
    assert t.step(Batches((X, labels, weights))) == pytest.approx(expected, abs=1e-5)


def test_frozen_layers_and_the_embeddings_stay():
    deep = HParams(n_vocab=61, n_ctx=16, n_embd=16, n_head=2, n_layer=3)
    t = Trainer(deep, rough_params(deep), learning_rate=1e-2, freeze_layers=2)
    before = weights_of(t)
    t.step(Windows(WINDOWS))
    changed = {name for name, value in weights_of(t).items() if (value != before[name]).any()}
    assert changed == {name for name in before if name.startswith(('h2/', 'ln_f/'))}


@pytest.mark.parametrize('options', [{}, {'accumulate': 2}, {'precision': 'float16'}, {'clip_norm': 1.0}])
def test_a_step_without_a_finite_gradient_changes_nothing_and_is_counted(options):
    """An infinite weight makes the loss no number; put back, training goes on."""
    t, batches = Trainer(SMALL, rough_params(SMALL), learning_rate=1e-2, **options), Windows(WINDOWS)
    t.step(batches)
    b = t.params['h0']['mlp']['c_fc']['b']
    good = b.numpy()
    b.assign(np.full_like(good, np.nan))
    before = weights_of(t)
    state = [v.numpy() for v in t.replicas[0].inner.variables]
    for n in (1, 2):
        assert math.isnan(t.step(batches)) and t.skipped_in_a_row == t.skipped == n
    np.testing.assert_equal(weights_of(t), before)
    np.testing.assert_equal([v.numpy() for v in t.replicas[0].inner.variables], state)
    b.assign(good)
    assert math.isfinite(t.step(batches)) and t.skipped_in_a_row == 0 and t.skipped == 2
    assert largest_difference(weights_of(t), before | {'h0/mlp/c_fc/b': good}) > 1e-4


def test_adafactor_keeps_sums_of_rows_and_columns_alone():
    params = rough_params(SMALL)
    t = Trainer(SMALL, params, optimizer='adafactor', learning_rate=1e-2)
    kept = sum(int(np.prod(v.shape)) for v in t.optimizer.variables)
    expected = sum(sum(v.shape) if len(v.shape) == 2 else (v.shape[1] + v.shape[2] if len(v.shape) == 3 else v.shape[0]) for v in model.flat(params).values())
    assert kept == expected + 2                                         # iterations and learning rate


def test_adafactors_first_step_by_hand():
    """At step 1 the moving averages are the gradient's own: a factored 1 / sqrt(mean square), clipped, relative to the weights' size."""
    twin, params = rough_params(SMALL), rough_params(SMALL)
    X, labels, weights = Windows(WINDOWS).next()
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=model.model(SMALL, twin, X)['logits'])
        loss = tf.reduce_sum(losses * weights) / weights.sum()
    w = twin['h0']['mlp']['c_fc']['w'].numpy()
    g = tape.gradient(loss, twin['h0']['mlp']['c_fc']['w']).numpy().astype(np.float64)
    square = g ** 2 + 1e-30
    rows, columns = square.mean(-1), square.mean(-2)
    update = g / np.sqrt((rows / rows.mean(-1, keepdims=True))[..., None] * columns[..., None, :])
    update /= max(1, np.sqrt((update ** 2).mean()))
    Trainer(SMALL, params, optimizer='adafactor', learning_rate=1e-2).step(Batches((X, labels, weights)))
    expected = w - 1e-2 * max(1e-3, np.sqrt((w ** 2).mean())) * update
    np.testing.assert_allclose(params['h0']['mlp']['c_fc']['w'], expected, rtol=0, atol=1e-5)


def test_adapters_alone_are_trained():
    params = lora.add(rough_params(SMALL), 2, 4)
    t, batches = Trainer(SMALL, params, learning_rate=1e-2), Windows(WINDOWS[:1])
    before = weights_of(t)
    losses = [t.step(batches) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.1
    for name, value in weights_of(t).items():
        assert (value != before[name]).any() == name.endswith(('lora_a', 'lora_b')), name


# ---- GPT-2s that are not OpenAI's

@pytest.mark.parametrize('recompute', [False, True])
@pytest.mark.parametrize('fused_from', [0, 10 ** 9])
def test_other_architectures_learn_by_their_own_gradients(recompute, fused_from, monkeypatch):
    """Another activation, epsilon, inner size, a window, a matrix of its own for the logits: a step of SGD is what the tape says of model.model."""
    monkeypatch.setattr(trainer, 'FUSED_FROM', fused_from)
    hparams = HParams(n_vocab=61, n_ctx=16, n_embd=16, n_head=2, n_layer=2, n_inner=24, activation_function='relu', layer_norm_epsilon=1e-3, windows=(0, 4),
                      tie_word_embeddings=False)
    params, rate = rough_params(hparams, seed=3, scale=0.2), 0.5
    X, labels, weights = Windows(WINDOWS).next()
    flat = model.flat(params)
    with tf.GradientTape() as tape:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model.model(hparams, params, X)['logits'])
        loss = tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)
    expected = {name: flat[name] - rate * tf.convert_to_tensor(g) for name, g in zip(flat, tape.gradient(loss, list(flat.values())))}
    learner = Trainer(hparams, params, optimizer='sgd', learning_rate=rate, recompute=recompute)
    assert learner.step(Batches((X, labels, weights))) == pytest.approx(float(loss), abs=1e-5)
    for name, value in model.flat(learner.params).items():
        np.testing.assert_allclose(value, expected[name], atol=2e-5, err_msg=name)

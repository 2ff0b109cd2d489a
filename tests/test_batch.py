"""What comes out of a batch is what comes out alone, whichever of the two generators makes it, and whether a draft guesses."""
import numpy as np
import pytest
import tensorflow as tf
from reference import rough_params

from src import lite, model, sample, tflite
from src.batch import Batch, Sequence
from src.console import UsageError
from src.model import HParams
from src.settings import Settings
from src.stream import stream

SMALL = HParams(n_vocab=61, n_ctx=24, n_embd=16, n_head=2, n_layer=2)
GREEDY = Settings(temperature=0)


@pytest.fixture(scope='module', params=['LiteRT', 'LiteRT, drafted', 'XLA'])
def generator(request, tmp_path_factory):
    params = rough_params(SMALL, 2, scale=0.2)
    params['wpe'].assign_add(np.random.default_rng(2).standard_normal([24, 16], np.float32))       # the most likely token changes from place to place
    params['ln_f']['b'].assign(tf.zeros(16))
    if request.param == 'XLA':
        return sample.Generator(SMALL, params)
    folder, found = tmp_path_factory.mktemp('batch'), model.flat(params)
    for precision in ('float32', 'int8'):
        tflite.write(str(folder / precision), SMALL, lambda name: found[name].numpy(), precision=precision)
    return lite.Generator(lite.Engine(str(folder / 'float32')), lite.Engine(str(folder / 'int8')) if request.param.endswith('drafted') else None)


def alone(generator, sequence):
    ids = np.concatenate(list(stream(generator, [sequence.context], sequence.settings, length=sequence.length, seed=sequence.seed)), axis=1)[0].tolist()
    ends = [ids.index(stop) + 1 for stop in sequence.stops if stop in ids]
    return ids[:min(ends, default=len(ids))]


def test_sequences_enter_and_leave_and_each_gets_what_it_gets_alone(generator):
    """Nine of different lengths, settings, seeds and stops through three places, with tokens made 3, 1 and 5 at a time."""
    draw = np.random.default_rng(0)
    kinds = [Settings(), GREEDY, Settings(top_k=3), Settings(0.7, 0, 0.8), Settings(repetition_penalty=1.5), Settings(frequency_penalty=1.5),
             Settings(min_p=0.1), Settings(no_repeat_ngram_size=2), Settings(typical_p=0.7)]
    waiting = [Sequence(draw.integers(61, size=draw.integers(1, 9)).tolist(), int(draw.integers(1, 15)), kind, (7, 9, 20, 31), seed)
               for seed, kind in enumerate(kinds)]
    everyone, batch, made = list(waiting), Batch(generator, 3), {}
    for turn in range(100):
        while waiting and batch.enter(waiting[0]):
            waiting.pop(0)
        for sequence, ids in batch.step((3, 1, 5)[turn % 3]):
            made.setdefault(sequence.seed, []).extend(ids)
    for sequence in everyone:
        assert sequence.over and sequence.made == made[sequence.seed] == alone(generator, sequence)
    assert any(len(sequence.made) < sequence.length for sequence in everyone) and batch.rows == [None] * 3


def test_a_sequence_that_leaves_early_frees_its_place(generator):
    batch = Batch(generator, 1)
    first, second = Sequence([1], 10, GREEDY), Sequence([2, 3], 4, GREEDY)
    assert batch.enter(first) and not batch.enter(second)
    batch.step(2)
    batch.leave(first)
    batch.leave(first)
    assert batch.enter(second) and not batch.enter(first) and not first.over and len(first.made) == 2
    assert batch.step(9)[0][1] == alone(generator, second) and batch.step(9) == []


@pytest.fixture
def read(generator, monkeypatch):
    """What is read from now on, by itself or along with a first token: (row, how many ids)."""
    found, prefill, decode = [], generator.prefill, generator.decode

    def note(row, ids):
        if len(ids):
            found.append((row, len(ids)))

    def decoding(*arguments, **options):
        if 'unread' in options:
            note(int(np.flatnonzero(options['active'])[0]), options['unread'])
        return decode(*arguments, **options)

    monkeypatch.setattr(generator, 'prefill', lambda cache, X, row=None: note(row, X[0]) or prefill(cache, X, row))
    monkeypatch.setattr(generator, 'decode', decoding)
    return found


def test_what_a_row_holds_is_not_read_again(generator, read):
    """A conversation that comes back with one more turn; one that begins like another which is still being made; one that is new."""
    batch = Batch(generator, 3)

    def enter(context):
        sequence = Sequence(context, 3, Settings(), seed=5)
        assert batch.enter(sequence)
        return sequence

    first = enter([1, 2, 3, 4])
    batch.step(3)
    back = enter([1, 2, 3, 4, *first.made, 5, 6])                      # the newest that was made is not in the cache
    like = enter([1, 2, 3, 9, 9])
    new = enter([8, 1, 2, 3])
    batch.step(3)
    assert read == [(0, 3), (0, 2), (1, 1), (2, 3)]
    for sequence in (back, like, new):
        assert sequence.made == alone(generator, sequence)


def test_a_row_that_was_left_keeps_what_it_holds_while_others_go_on(generator, read):
    batch = Batch(generator, 3)
    contexts, made = [[1, 2, 3, 4], [9, 8, 7, 6], [5, 5, 6]], []
    for seed, context in enumerate(contexts):
        made.append(Sequence(context, 3, Settings(), seed=seed))
        assert batch.enter(made[-1])
        batch.step(3)
    for context, before in zip(contexts, made):
        read.clear()
        text = [*context, *before.made]
        worth = batch.score(text, [5, 6])
        assert not read and np.abs(worth - Batch(generator, 1).score(text, [5, 6])).max() < 1e-5


def test_once_ready_nothing_is_compiled(generator, capsys):
    batch = Batch(generator, 2)
    batch.get_ready()
    assert capsys.readouterr().err == '(compiling the model for this machine)\n' * generator.COMPILES
    programs = [generator._decode, generator._prefill] if generator.COMPILES else []
    before = [program.experimental_get_tracing_count() for program in programs]
    for settings, bias in (Settings(), {}), (GREEDY, {5: 1.0}), (Settings(top_k=3, repetition_penalty=1.5), {}):
        sequence = Sequence([1, 2, 3], 6, settings, (7,), seed=1, bias=bias)
        assert batch.enter(sequence)
        batch.step(1)
        batch.back(sequence, 0, sequence.made)
        batch.step(2)
        batch.leave(sequence)
    assert [program.experimental_get_tracing_count() for program in programs] == before


def test_the_row_that_was_left_first_is_taken(generator, read):
    batch = Batch(generator, 2)
    for token in range(1, 6):
        batch.enter(Sequence([token, token], 1, GREEDY))
        batch.step(1)
    assert [row for row, _ in read] == [0, 1, 0, 1, 0]


def test_what_begins_alike_leaves_others_as_they_were(generator, read):
    batch = Batch(generator, 2)
    for context in ([1, 2, 3, 4, 5], [1, 9, 8], [1, 2, 3, 4, 5, 6], [1, 9, 7]):
        assert batch.enter(Sequence(context, 1, GREEDY))
        batch.step(1)
    assert read == [(0, 4), (1, 1)]                     # and nothing


def test_what_is_held_is_not_read_again(generator, read, monkeypatch):
    monkeypatch.setattr('src.batch.PASS', 3)
    batch, ids, passes = Batch(generator, 2), [1, 2, 3, 4, 5, 6, 7, 8], iter([True, True, False])
    batch.hold(ids, lambda: next(passes))
    batch.hold(ids)
    batch.hold(ids[:5])                                 # which is part of it
    sequence = Sequence([*ids, 9, 8], 3, Settings(), seed=4)
    batch.enter(sequence)
    batch.step(3)
    assert read == [(0, 3), (0, 3), (0, 2), (0, 1)] and sequence.made == alone(generator, sequence)


def test_ctrl_c_loses_no_row(generator, monkeypatch):
    batch = Batch(generator, 1)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    for name in ('prefill', 'decode')[generator.READS_ALONG:]:
        first = Sequence([1, 2, 3], 5, GREEDY)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(generator, name, interrupted)
            batch.enter(first)
            batch.step(5)
        batch.leave(first)
    second = Sequence([1, 2, 3], 5, GREEDY)
    assert batch.enter(second) and batch.step(5)[0][1] == alone(generator, second)


def test_who_is_alone_is_read_along_with_the_first_token_and_goes_on_after_ctrl_c(generator, read, monkeypatch):
    if not generator.READS_ALONG:
        pytest.skip('the other generator does')
    batch, first = Batch(generator, 2), Sequence([1, 2, 3, 4, 5], 5, GREEDY)

    def interrupted(cache, ids, row):
        generator.engine.put(cache, ids[:2], row)
        raise KeyboardInterrupt

    assert batch.enter(first) and read == []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(generator.engine, 'read', interrupted)
        batch.step(1)
    batch.step(2)
    assert read == [(0, 4), (0, 2)]
    second, third = Sequence([6, 7, 8], 4, GREEDY), Sequence([6, 7, 9], 4, GREEDY)
    batch.enter(second)
    batch.leave(second)                                 # unread
    batch.enter(third)
    batch.step(5)                                       # three, with which the first is over
    batch.step(5)
    for sequence in (first, third):
        assert sequence.made == alone(generator, sequence)


def test_a_bias_is_of_one_sequence_only(generator):
    plain, banned = Sequence([1, 2], 8, GREEDY), Sequence([1, 2], 8, GREEDY)
    banned.bias = {alone(generator, plain)[0]: -1e10}
    batch = Batch(generator, 2)
    assert batch.enter(plain) and batch.enter(banned)
    batch.step(8)
    assert plain.made == alone(generator, plain) and plain.made[0] not in banned.made


def test_what_is_taken_back_does_not_come_again_and_the_rest_goes_on(generator):
    """Also when it was over, and with penalties, which count from where the sequence began to make."""
    settings = Settings(top_k=5, frequency_penalty=1.0)
    first, other = Sequence([1, 2, 3], 9, settings, seed=4), Sequence([5, 6], 9, GREEDY)
    batch = Batch(generator, 2)
    assert batch.enter(first) and batch.enter(other)
    batch.step(5)
    made = list(first.made)
    batch.back(first, 2, [made[2], 7])
    assert first.made == made[:2]
    batch.step(9)
    assert len(first.made) == 3 and first.made[:2] == made[:2] and first.made[2] not in (made[2], 7)        # one at a time where a token is banned
    batch.step(9)
    batch.step(9)
    assert first.over and len(first.made) == 9 and other.made == alone(generator, other) and batch.rows == [None, None]
    batch.back(first, 8, [first.made[8]])
    assert not first.over and batch.rows.count(first) == 1
    end = batch.step(9)[0][1]
    likeliest = Sequence([1, 2, 3, *first.made[:8]], 1, GREEDY)
    assert first.over and len(end) == 1 and batch.enter(likeliest)


def test_scores_are_those_of_the_model(generator):
    batch = Batch(generator, 2)
    busy = Sequence([4, 5, 6, 7], 9, GREEDY)
    batch.enter(busy)
    batch.step(3)
    scores = batch.score([4, 5, 9], [1, 2, 3])
    assert scores.shape == (3,)
    for i in range(3):                                  # of all tokens, what each would be adds up to one
        context = [4, 5, 9, 1, 2, 3][:3 + i]
        every = [float(batch.score(context, [token])[0]) for token in range(61)]
        assert np.isclose(np.exp(every).sum(), 1, atol=1e-4) and np.isclose(every[i + 1], scores[i], atol=1e-4)
        likeliest = Sequence(context, 1, GREEDY)
        batch.enter(likeliest)
        batch.step(1)
        assert likeliest.made == [int(np.argmax(every))]
    while not busy.over:
        batch.step(9)
    assert busy.made == alone(generator, busy)


def test_a_sequence_that_cannot_be_is_refused(generator):
    batch = Batch(generator, 1)
    for wrong in (Sequence([], 3), Sequence([1] * 20, 6), Sequence([1], 3, stops=(1, 2, 3, 4, 5))):
        with pytest.raises(ValueError, match='a sequence needs'):
            batch.enter(wrong)
    with pytest.raises(UsageError, match='--top_p 2'):
        batch.enter(Sequence([1], 3, Settings(top_p=2)))
    assert batch.enter(Sequence([1] * 20, 5, GREEDY)) and len(batch.step(32)[0][1]) == 5      # as much as there is room for

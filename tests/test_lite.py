"""LiteRT's logits beside model.py's in float32, and beside NumPy's with the same rounding in int8."""
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, fails_clearly, run_script
from reference import rough_params

from src import checkpoint, folders, lite, model, sample, tflite
from src.console import UserError
from src.model import HParams
from src.settings import Draw, Settings
from src.stream import beam_search, stream

SMALL = HParams(n_vocab=61, n_ctx=300, n_embd=48, n_head=3, n_layer=2)
IDS = np.random.default_rng(0).integers(0, 61, 300)     # more than two passes of ROWS


def arrays(params):
    found = model.flat(params)
    return lambda name: found[name].numpy()


def made(folder, precision, hparams=SMALL, seed=1, **options):
    """(an Engine of small random weights, the weights)"""
    params = rough_params(hparams, seed, scale=0.2)
    path = str(folder / f'{precision}.tflite')
    tflite.write(path, hparams, arrays(params), precision=precision, **options)
    return lite.Engine(path), params


def after(engine, ids):
    """(a cache that holds ids, the logits behind them)"""
    cache = lite.Cache(engine.hparams)
    return cache, engine.read(cache, ids)


def expected(params, ids, hparams=SMALL):
    return model.model(hparams, params, tf.constant(ids[None]))['logits'][0].numpy()


# ---- float32

@pytest.fixture(scope='module')
def exact(tmp_path_factory):
    return made(tmp_path_factory.mktemp('exact'), 'float32', of='abc')


@pytest.mark.parametrize('beams', [1, 4])
@pytest.mark.parametrize('context, settings, stops', [
    ([3], Settings(), (-1,)), ([*IDS[:130]], Settings(repetition_penalty=1.5, frequency_penalty=0.4), (-1,)),
    ([5, 6, 7], Settings(no_repeat_ngram_size=1, min_length=4), (9, 11)), ([5, 6], Settings(), tuple(range(0, 60, 3)))], ids=range(4))
def test_beams_find_what_tensorflows_find(exact, beams, context, settings, stops):
    engine, params = exact
    asked = {'settings': settings, 'length': 12, 'beams': beams, 'stops': stops}
    ours, theirs = (beam_search(generator, context, **asked) for generator in (lite.Generator(engine), sample.generator_for(SMALL, params)))
    assert ours == theirs and 0 < len(ours) <= 12
    assert not {*ours[:-1]} & {*stops}


def test_beams_follow_who_speaks(tmp_path):
    hparams = HParams(n_vocab=61, n_ctx=40, n_embd=48, n_head=3, n_layer=2, type_tokens=(7, 9))
    engine, params = made(tmp_path, 'float32', hparams)
    ours, theirs = (beam_search(generator, [7, 1, 9, 2], length=30, beams=4) for generator in (lite.Generator(engine), sample.Generator(hparams, params)))
    assert ours == theirs and len(ours) == 30


def test_float32_is_the_model_at_every_position_in_one_pass_or_many(exact):
    engine, params = exact
    logits = expected(params, IDS)
    np.testing.assert_allclose(engine.read(lite.Cache(engine.hparams), IDS, every=True), logits, atol=1e-4)
    for parts in ([1] * 300, [3, 1, 1, 200, 95], [250, 5, 2, 43], [236, 64]):
        cache = lite.Cache(engine.hparams)
        for start, n in zip(np.cumsum([0, *parts]), parts):
            np.testing.assert_allclose(engine.read(cache, IDS[start:start + n]), logits[start + n - 1], atol=1e-4)
        assert cache.lengths[0] == 300


def test_a_lower_length_forgets(exact):
    engine, params = exact
    cache, _ = after(engine, IDS[:200])
    cache.lengths[0] = 10
    other = np.concatenate([IDS[:10], IDS[100:130]])
    np.testing.assert_allclose(engine.read(cache, other[10:]), expected(params, other)[-1], atol=1e-4)


def test_what_does_not_fit_is_refused_and_changes_nothing(exact):
    engine, params = exact
    cache, _ = after(engine, IDS[:299])
    for ids in ([], [1, 2]):
        with pytest.raises(ValueError, match=f'{len(ids)} tokens behind 299: 1 to 1 fit into n_ctx 300'):
            engine.read(cache, ids)
    np.testing.assert_allclose(engine.read(cache, IDS[299:]), expected(params, IDS)[-1], atol=1e-4)


def test_token_types_go_on_from_pass_to_pass_and_back_to_where_length_is_set(tmp_path):
    hparams = HParams(n_vocab=61, n_ctx=40, n_embd=48, n_head=3, n_layer=2, type_tokens=(7, 9))
    engine, params = made(tmp_path, 'float32', hparams)
    ids = np.array([1, 2, 7, 3, 4, 9, 5, 6, 8, 7, 1])
    logits = expected(params, ids, hparams)
    assert np.abs(logits - expected(params, ids, SMALL)).max() > 0.01                    # types matter
    cache, found = after(engine, ids[:4])
    np.testing.assert_allclose(found, logits[3], atol=1e-4)
    for i in range(4, 11):
        np.testing.assert_allclose(engine.read(cache, ids[i:i + 1]), logits[i], atol=1e-4)
    cache.lengths[0] = 5                                                                   # behind 7, not behind 9
    np.testing.assert_allclose(engine.read(cache, [3]), expected(params, np.append(ids[:5], 3), hparams)[-1], atol=1e-4)


@pytest.mark.parametrize('precision', ['float32', 'int8'])
def test_in_a_batch_each_goes_on_as_alone(tmp_path, precision):
    """To the last digit, whoever is beside it and however much that has said."""
    engine, _ = made(tmp_path, precision)
    texts = [IDS[:1], IDS[5:140], IDS[:7], IDS[:62], IDS[3:66], IDS[:299]]
    alone, together = [after(engine, ids)[0] for ids in texts], lite.Cache(SMALL, 6)
    for row, ids in enumerate(texts):
        engine.put(together, ids, row)
    for rows, ids in (([0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 7, 8]), ([0, 2, 3, 4], [60, 5, 0, 1]), ([2, 3], [9, 9])):
        np.testing.assert_array_equal(engine.step(together, ids, np.array(rows)), [engine.read(alone[row], [i]) for row, i in zip(rows, ids)])
    assert together.lengths.tolist() == [3, 136, 10, 65, 65, 300]


def test_few_rows_look_far_however_much_their_scores_differ(exact):
    draw = np.random.default_rng(3)
    q, keys, values = (draw.standard_normal([3, n, 16]).astype(np.float32) for n in (4, 280, 280))
    mask = lite._mask(4, 280)
    for far in (0, 300):                                # rows whose largest score is so far below that of another of their head
        keys[..., 0], q[:, :, 0] = 1, [[0, -far, 0, far]]
        scores = (q @ keys.swapaxes(1, 2) + mask).astype(np.float64)
        w = np.exp(scores - scores.max(axis=-1, keepdims=True))
        for hidden in (mask, mask[:, -4:]):
            np.testing.assert_allclose(exact[0]._few(q, keys, values, hidden), w @ values / w.sum(axis=-1, keepdims=True), atol=1e-4)


def test_rows_look_together_where_that_is_cheaper_and_each_at_its_own():
    lengths = np.array([5, 60, 64, 65, 130, 290, 300, 7, 8, 9])
    rows = np.array([0, 1, 2, 3, 4, 5, 6, 8, 9, 10])                     # 7 is not among them
    for window in (0, 20):
        groups = [*lite._groups(rows, lengths, 300, window)]
        assert [(some.start, some.stop) for some, _, _ in groups] == [(0, 4), (4, 7), (7, 10)]
        for some, there, mask in groups:
            assert rows[some].tolist() == list(range(there.start, there.stop)) and mask.shape[-1] in (64, 128, 300)
            for length, hidden in zip(lengths[some], mask[:, 0]):
                assert np.flatnonzero(hidden == 0).tolist() == list(range(max(0, length - window) if window else 0, length))

    (some, there, mask), = lite._groups(np.full(3, 4), np.arange(290, 293), 300)        # one text, its newest positions
    assert (some, there) == (slice(0, 3), slice(4, 5)) and mask.shape == (3, 1, 300) and (mask[:, 0] == 0).sum(axis=1).tolist() == [290, 291, 292]


def test_two_threads_look_where_several_rows_look_far(exact, monkeypatch):
    """All positions that are read count, 600 of several rows; a single row looks in one, though it be from several positions."""
    engine, threads = exact[0], set()
    monkeypatch.setattr(engine, '_together', lambda look, shares: threads.add(len(shares)) or [look(share) for share in shares])
    for lengths, wanted in (([290], 1), ([63, 63, 63], 1), ([250, 250], 1), ([290, 290], 2)):
        cache = lite.Cache(engine.hparams, len(lengths))
        cache.lengths[:] = lengths
        threads.clear()
        engine.step(cache, [1] * len(lengths))
        assert threads == {wanted}
    threads.clear()
    engine.steps(cache, [1, 2, 3, 4])
    assert threads == {1}


def test_a_row_is_copied(tmp_path):
    engine, _ = made(tmp_path, 'float32', HParams(n_vocab=61, n_ctx=40, n_embd=48, n_head=3, n_layer=2, type_tokens=(7, 9)))
    cache = lite.Cache(engine.hparams, 2)
    engine.put(cache, [1, 7, 2, 9, 3], 0)
    cache.copy(0, 1, 3)
    np.testing.assert_allclose(engine.read(cache, [4], 1), after(engine, [1, 7, 2, 4])[1], atol=1e-5)
    assert cache.lengths.tolist() == [5, 4] and cache.ids[1, :4].tolist() == [1, 7, 2, 4]


# ---- int8

def test_quantized_by_hand():
    q, scales = tflite.quantized(np.array([[1, -2, 0.5], [0, 0, 0], [127, 1.4, -63.6]], np.float32))
    assert q.tolist() == [[64, -127, 32], [0, 0, 0], [127, 1, -64]]                        # 63.5 goes to the even 64, 31.75 to 32
    assert scales[0] == np.float32(2 / 127) and scales[2] == 1


def row_in_int8(x):
    """A row with its own scale and zero point, which 0 falls upon: rounded to 256 levels from the least to the largest."""
    least, most = np.minimum(x.min(-1, keepdims=True), 0), np.maximum(x.max(-1, keepdims=True), 0)
    scale = np.maximum((most - least) / 255, 1e-30)
    zero = np.rint(-128 - least / scale)
    return (np.clip(np.rint(x / scale) + zero, -128, 127) - zero) * scale


def simulated(params, ids, hparams=SMALL):
    """The logits at each position in NumPy's float64, weights and activations rounded."""
    get = arrays(params)

    def product(x, w):
        q, scales = tflite.quantized(w)
        return row_in_int8(x) @ (q * scales[:, None].astype(float)).T

    def conv1d(x, at):
        return product(x, get(at + '/w')[0].T) + get(at + '/b')

    def norm(x, at):
        d = x - x.mean(-1, keepdims=True)
        return d / np.sqrt((d * d).mean(-1, keepdims=True) + 1e-5) * get(at + '/g') + get(at + '/b')

    q, scales = tflite.quantized(get('wte'))
    n, x = len(ids), q[ids] * scales[ids, None].astype(float) + get('wpe')[:len(ids)]
    for h in (f'h{i}' for i in range(hparams.n_layer)):
        q, k, v = (z.reshape(n, hparams.n_head, -1).swapaxes(0, 1) for z in np.split(conv1d(norm(x, h + '/ln_1'), h + '/attn/c_attn'), 3, axis=1))
        w = np.where(np.tri(n) > 0, np.exp(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])), 0)
        x = x + conv1d((w / w.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(n, -1), h + '/attn/c_proj')
        m = conv1d(norm(x, h + '/ln_2'), h + '/mlp/c_fc')
        x = x + conv1d(0.5 * m * (1 + np.tanh(np.sqrt(2 / np.pi) * (m + 0.044715 * m ** 3))), h + '/mlp/c_proj')
    return product(norm(x, 'ln_f'), get('wte'))


def test_int8_is_the_model_with_rounded_weights_and_rows(tmp_path):
    engine, params = made(tmp_path, 'int8')
    logits, float_logits = simulated(params, IDS), expected(params, IDS)
    spread = float_logits.std()
    rounding = np.abs(logits - float_logits).mean() / spread
    together = np.abs(engine.read(lite.Cache(engine.hparams), IDS, every=True) - logits).mean() / spread
    cache = lite.Cache(engine.hparams)
    apart = np.abs(np.stack([engine.read(cache, IDS[i:i + 1]) for i in range(300)]) - logits).mean() / spread
    assert together < rounding / 10 and apart < rounding / 10 and rounding < 0.05       # what is left: ties, and what follows from them


# ---- a Generator, and its file

@pytest.fixture
def folder(demo_models, tmp_path):
    return shutil.copytree(os.path.join(demo_models, 'tiny'), tmp_path / 'tiny', ignore=shutil.ignore_patterns('*.tflite'))


def test_the_file_is_made_once_for_the_same_weights(folder, demo_models, capsys):
    told = []

    def opened(precision='int8'):
        generator = lite.generator(folders.latest(folder), demo_models, precision)
        told.extend(capsys.readouterr().err.splitlines())
        return after(generator.engine, [5])[1]

    first = opened()
    assert (opened() == first).all() and len(told) == 1 and 'int8.tflite' in told[0]
    assert (opened('float32') != first).any() and len(told) == 2
    hparams, params = checkpoint.load(str(folder))
    params['wte'].assign_add(0.1 * tf.random.stateless_normal(params['wte'].shape, [1, 2]))
    checkpoint.save(str(folder), hparams, params, step=7)
    assert (opened() != first).any() and len(told) == 3
    with open(folder / 'int8.tflite', 'wb') as file:
        file.write(b'nothing of ours')
    opened()
    assert len(told) == 4
    (folder / 'hparams.json').write_text((folder / 'hparams.json').read_text().replace('"n_head": 4', '"n_head": 2'))
    opened()
    assert len(told) == 5                               # other sizes are another model


def test_damaged_files_are_no_engines(folder, demo_models):
    """LiteRT believes what it reads: of a file that is cut off in its tables it would crash."""
    lite.generator(folders.latest(folder), demo_models)
    for path in (folder / 'int8.tflite', folder / 'int8.head.tflite'):
        whole = path.read_bytes()
        for damaged in [whole[:n] for n in (0, 10, 64, 4000, len(whole) - 1)] + [whole[:8] + b'\xff' * 6 + whole[14:]]:
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=path.name):
                lite.Engine(str(folder / 'int8.tflite'))
        path.unlink()
        with pytest.raises(ValueError, match=path.name):
            lite.Engine(str(folder / 'int8.tflite'))
        path.write_bytes(whole)
    lite.Engine(str(folder / 'int8.tflite'))


def test_layers_and_a_head_of_different_weights_are_no_engine(tmp_path):
    made(tmp_path, 'int8', of='one')
    head = (tmp_path / 'int8.head.tflite').read_bytes()
    made(tmp_path, 'int8', seed=2, of='two')
    (tmp_path / 'int8.head.tflite').write_bytes(head)
    with pytest.raises(ValueError, match='int8.head.tflite are of different weights'):
        lite.Engine(str(tmp_path / 'int8.tflite'))


def test_two_checkpoints_of_a_folder_do_not_get_each_others_weights(folder, demo_models, monkeypatch):
    """Somebody else makes the file of the other one in between."""
    lite.generator(folders.latest(folder), demo_models)
    other = (folder / 'int8.tflite').read_bytes()
    hparams, params = checkpoint.load(str(folder))
    params['wte'].assign_add(0.1 * tf.random.stateless_normal(params['wte'].shape, [1, 2]))
    prefix, run, meddled = checkpoint.save(str(folder), hparams, params, step=7), lite.subprocess.run, []

    def meddle(*args, **options):
        made = run(*args, **options)
        if not meddled:
            (folder / 'int8.tflite').write_bytes(other)
            meddled.append(made)
        return made
    monkeypatch.setattr(lite.subprocess, 'run', meddle)
    found = lite.generator(prefix, demo_models)
    assert meddled and found.engine.of == lite.files.sha256(prefix + '.index', str(folder / 'hparams.json'))


def test_a_file_that_cannot_be_made_is_told(folder, demo_models):
    (folder / 'int8.tflite').mkdir()
    with pytest.raises(OSError, match='int8.tflite'):
        lite.generator(folders.latest(folder), demo_models)


@pytest.mark.parametrize('settings', [Settings(temperature=0), Settings(0, frequency_penalty=0.5), Settings(0, repetition_penalty=2), Settings(0, no_repeat_ngram_size=2),
                                      Settings(0.7, 5)])
def test_it_makes_what_tensorflow_makes(exact, settings):
    """A few tokens at a time, cut back in between, up to the end of the window."""
    engine, params = exact
    here, there = lite.Generator(engine), sample.generator_for(SMALL, params)
    made = []
    for generator in (here, there):
        cache, draws, texts = generator.cache(), [Draw(3)], []
        for length, context, last in ((0, [1, 2, 3], 4), (2, [7], 8), (2, [], 9), (0, IDS[:280], 5)):
            cache.cut(length)
            generator.prefill(cache, [context])
            texts.append(generator.decode(cache, [last], draws, 6, settings, stops=[40, 41])[0].tolist())
        texts.append(generator.decode(cache, [texts[-1][-1]], draws, 30, settings, stops=[-1])[0].tolist())
        made.append(texts)
    assert made[0] == made[1] and any(40 in text or 41 in text for text in made[0]) | (len(made[0][-1]) == 300 - 280 - len(made[0][-2]))


def test_texts_beyond_the_window_are_those_of_tensorflow(exact):
    engine, params = exact
    context = np.array([[1, 2, 3], [9, 8, 7]])
    here, there = (np.concatenate(list(stream(generator, context, Settings(0.7, 8, repetition_penalty=1.2), length=330, seed=5)), axis=1)
                   for generator in (lite.Generator(engine), sample.generator_for(SMALL, params)))
    assert here.shape == (2, 330) and (here == there).all()


# ---- a draft that guesses

def texts(generator, settings, hparams=SMALL):
    """What comes behind several contexts, some tokens at a time, with stops and without, cut back in between, up to the end of the window and behind it."""
    cache, draws, found, asked = generator.cache(), [Draw(3)], [], {'bias': np.where(np.arange(hparams.n_vocab) == 17, -np.inf, 0)}
    for length, context, last, steps in ((0, [1, 2, 3], 4, 6), (2, [7], 8, 1), (2, [], 9, 30), (0, IDS[:280], 5, 7), (288, [], 5, 20)):
        cache.cut(length)
        generator.prefill(cache, [context])
        found.append(generator.decode(cache, [last], draws, steps, settings, stops=[40, 41] if steps < 20 else [-1], **asked)[0].tolist())
        found.append([cache.lengths[0], cache.ids[0, :cache.lengths[0]].tolist()])
    cache.cut(0)
    found.append(generator.decode(cache, [4], draws, 9, settings, unread=[3, 1, 7, 2])[0].tolist())
    found.append(np.concatenate(list(stream(generator, [[1, 2, 3]], settings, length=330, seed=5, steps=9)), axis=1).tolist())
    return found


@pytest.mark.parametrize('draft', ['its own', 'another'])
@pytest.mark.parametrize('settings', [Settings(temperature=0), Settings(), Settings(0.7, 5), Settings(0, frequency_penalty=0.5), Settings(0.9, 0, 0.9, repetition_penalty=1.3),
                                      Settings(no_repeat_ngram_size=2, min_length=5)], ids=range(6))
@pytest.mark.parametrize('hparams', [SMALL, replace(SMALL, type_tokens=(7, 9), windows=(20, 0))], ids=['plain', 'types and windows'])
def test_whatever_is_guessed_the_text_is_the_engines(tmp_path, settings, draft, hparams):
    engine, _ = made(tmp_path, 'float32', hparams)
    guessing, _ = made(tmp_path, 'int8', hparams, seed=1 if draft == 'its own' else 2)
    generator, passes, guesses = lite.Generator(engine, guessing), [], []
    read, step = engine.steps, guessing.step
    engine.steps, guessing.step = lambda *of: passes.append(0) or read(*of), lambda *of: guesses.append(0) or step(*of)
    found = texts(generator, settings, hparams)
    assert found == texts(lite.Generator(engine), settings, hparams)
    made_in_all = sum(len(text) for text in found[:-2:2]) + len(found[-2]) + 330
    assert len(passes) < made_in_all / 2 if draft == 'its own' else len(guesses) < 2 * made_in_all


def test_several_ids_of_a_row_are_read_as_one_after_the_other(tmp_path):
    """To the last digit, near and far, in windows and with token types."""
    for hparams in (SMALL, replace(SMALL, type_tokens=(7, 9), windows=(20, 0))):
        engine, _ = made(tmp_path, 'float32', hparams)
        for length in (1, 62, 290):
            together, alone = (after(engine, IDS[:length])[0] for _ in range(2))
            logits = engine.steps(together, IDS[length:length + 6])
            np.testing.assert_array_equal(logits, [engine.step(alone, [i])[0] for i in IDS[length:length + 6]])
            assert together.lengths == alone.lengths == length + 6
            np.testing.assert_array_equal(together.values, alone.values)
            np.testing.assert_array_equal(together.ids, alone.ids)


def test_who_interrupts_a_guess_leaves_none_behind(exact, monkeypatch, tmp_path):
    draft, _ = made(tmp_path, 'int8')
    generator, (cache, _) = lite.Generator(exact[0], draft), after(exact[0], IDS[:20])
    step, calls = draft.step, []

    def interrupted(*of):
        calls.append(step(*of))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(draft, 'step', interrupted)
    with pytest.raises(KeyboardInterrupt):
        generator.decode(cache, [5], [Draw(1)], 30, Settings())
    assert cache.lengths[0] == 20
    expected_ids = lite.Generator(exact[0]).decode(after(exact[0], IDS[:20])[0], [5], [Draw(1)], 30, Settings())
    assert generator.decode(cache, [5], [Draw(1)], 30, Settings()).tolist() == expected_ids.tolist()


def test_without_room_for_the_draft_there_is_none(folder, demo_models, capsys):
    (folder / 'int8.tflite').mkdir()
    generator = lite.generator(folders.latest(folder), demo_models, 'float32')
    assert generator.draft is None and 'nothing is guessed ahead' in capsys.readouterr().err
    (folder / 'int8.tflite').rmdir()
    assert lite.generator(folders.latest(folder), demo_models, 'float32').draft.precision == 'int8'


def test_float32_and_its_draft_are_made_by_one_process(folder, demo_models, capsys):
    generator = lite.generator(folders.latest(folder), demo_models, 'float32')
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and 'float32.tflite and ' in told[0] and 'int8.tflite of the weights' in told[0]
    assert (generator.engine.precision, generator.draft.precision) == ('float32', 'int8')


def test_it_is_made_without_tensorflow_and_damage_is_told(folder, demo_models):
    """The reader of checkpoints is TensorFlow's, alone: its errors are what they are within."""
    lite.generator(folders.latest(folder), demo_models)
    expected, prefix, path = (folder / 'int8.tflite').read_bytes(), folders.latest(folder), str(folder / 'int8.tflite')
    code = (f'import sys; from src import console, tflite; of = {lite.Engine(path).of!r}; console.run(lambda: tflite.main({prefix!r}, {demo_models!r}, of, "int8")'
            ' or print(sorted({"tensorflow", "tensorflow.python", "keras"} & set(sys.modules))))')
    os.remove(path)
    done = run_script('-c', code)
    assert done.stdout == '[]\n' and (folder / 'int8.tflite').read_bytes() == expected, done.stderr
    os.remove(path)
    with open(prefix + '.data-00000-of-00001', 'r+b') as file:
        file.truncate(1000)
    assert fails_clearly(run_script('-c', code), 1, 'is damaged: download the model again')
    with pytest.raises(OSError, match='is damaged: download the model again'):
        lite.generator(prefix, demo_models)


def test_an_older_tensorflow_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tflite.console, 'part_of_tensorflow', lambda name: SimpleNamespace(ModelT=object))
    with pytest.raises(UserError, match='LiteRT is for TensorFlow 2.21 and later'):
        made(tmp_path, 'int8')
    assert os.listdir(tmp_path) == []


def test_a_file_of_another_format_is_refused(tmp_path, monkeypatch):
    made(tmp_path, 'int8')
    monkeypatch.setattr(lite, 'FORMAT', lite.FORMAT + 1)
    with pytest.raises(ValueError, match='is not of format'):
        lite.Engine(str(tmp_path / 'int8.tflite'))


def test_it_talks_without_tensorflow_in_silence_and_tensorflow_can_come_later(exact, tmp_path):
    engine, params = exact
    path = str(tmp_path / 'model.tflite')
    tflite.write(path, SMALL, arrays(params), precision='float32')
    code = f'''
import json, sys
sys.path.insert(0, {ROOT!r})
from src import lite
engine = lite.Engine({path!r})
print(json.dumps(engine.read(lite.Cache(engine.hparams), [1, 2, 3]).tolist()))
assert not [name for name in sys.modules if name in ('tensorflow', 'tensorflow.python')]
import tensorflow as tf
tf.lite.Interpreter({path!r})
'''
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=os.environ | {'TF_CPP_MIN_LOG_LEVEL': '3'})
    assert run.returncode == 0, run.stderr
    assert 'XNNPACK' not in run.stderr
    np.testing.assert_allclose(json.loads(run.stdout), expected(params, np.array([1, 2, 3]))[-1], atol=1e-4)

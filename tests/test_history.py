"""What a run remembers: rows that a kill does not lose, a resume that takes steps anew, the best validation, the picture, TensorBoard's events."""
import csv
import io
import math
import os
import resource
import time

import numpy as np
import pytest
from matplotlib import image
from tensorboard.backend.event_processing import event_accumulator

from src.console import UserError
from src.history import COLUMNS, POINTS, History, outline, smooth

HEADER = ','.join(COLUMNS) + '\n'


def content(path):
    with open(path, 'rb') as file:
        return file.read().decode()


def course(folder, validations, counter=1):
    """A history with these validation losses, at steps 10, 20, ... from `counter` on; what rising_since said at each."""
    history, said = History(str(folder), counter), []
    for step, loss in enumerate(validations, 1):
        history.record(10 * step + counter - 1, val_loss=loss)
        said.append(history.rising_since)
    return history, said


# ---- history.csv

@pytest.mark.filterwarnings('error')
def test_a_row_for_each_step(tmp_path):
    history = History(str(tmp_path / 'checkpoint' / 'run1'), 1)
    history.record(1, val_loss=7.8309, perplexity=2517.2)
    history.record(1, loss=7.8214, learning_rate=3e-3, tokens_per_s=388.1)
    history.record(2, loss=np.float32(0.1), learning_rate=2e-5)
    history.record(1000000, loss=math.nan, val_loss=math.inf, perplexity=1e304)
    assert content(tmp_path / 'checkpoint' / 'run1' / 'history.csv') == HEADER + '1,7.8214,0.003,388.1,7.8309,2517.2\n2,0.1,2e-05,,,\n1000000,nan,,,inf,inf\n'
    history.close()


def test_the_newest_row_can_be_corrected(tmp_path):
    history = History(str(tmp_path), 1)
    for loss in (2.3125, 2.5, 2.0625):                  # a shorter field leaves nothing of the longer one
        history.record(1, loss=loss)
        assert content(tmp_path / 'history.csv') == HEADER + f'1,{loss},,,,\n'
    history.record(2, loss=3)
    assert content(tmp_path / 'history.csv') == HEADER + '1,2.0625,,,,\n2,3.0,,,,\n'


def test_a_value_without_a_column_is_a_mistake(tmp_path):
    with pytest.raises(ValueError):
        History(str(tmp_path), 1).record(1, gain=2.5)


def test_the_numbers_are_the_float32_that_training_computes(tmp_path):
    history = History(str(tmp_path), 1)
    losses = np.random.default_rng(0).lognormal(size=100).astype(np.float32)
    for step, loss in enumerate(losses, 1):
        history.record(step, loss=loss)
    rows = list(csv.DictReader(io.StringIO(content(tmp_path / 'history.csv'))))
    assert [int(row['step']) for row in rows] == list(range(1, 101))
    assert (np.array([row['loss'] for row in rows], np.float32) == losses).all()


def test_nothing_is_written_before_the_first_record(tmp_path):
    (tmp_path / 'run1').mkdir()
    (tmp_path / 'run1' / 'history.csv').write_text(HEADER + '1,2.5,,,2.5,\n2,2.25,,,,\n3,2', encoding='utf-8')
    for counter in (1, 2, 3):
        history = History(str(tmp_path / 'run1'), counter)
        history.close()
    History(str(tmp_path / 'run2'), 1).draw()
    assert os.listdir(tmp_path) == ['run1'] and os.listdir(tmp_path / 'run1') == ['history.csv']
    assert content(tmp_path / 'run1' / 'history.csv').endswith('\n3,2')


# ---- resuming

@pytest.mark.parametrize('counter, kept', [(1, 0), (2, 1), (3, 3), (4, 4), (5, 5), (99, 5)])
def test_a_resumed_run_drops_the_steps_it_takes_anew(tmp_path, counter, kept):
    rows = ['1,4.0,0.001,,,\n', '2,3.0,0.001,400.0,3.5,33.1\n', '2,2.5,,,,\n', '3,2.0,,,2.5,\n', '4,1.0,,,,\n']
    (tmp_path / 'history.csv').write_text(HEADER + ''.join(rows), encoding='utf-8')
    history = History(str(tmp_path), counter)
    assert history.note == ''
    history.record(counter, loss=7)
    assert content(tmp_path / 'history.csv') == HEADER + ''.join(rows[:kept]) + f'{counter},7.0,,,,\n'


def test_a_file_cut_at_any_byte(tmp_path):
    """Whatever a kill left of the last line is gone; the lines before it stay."""
    rows = ['8,4.125,0.001,,,\n', '9,3.5,0.001,400.25,3.75,42.5\n', '10,3.25,,,2.5,12.125\n']
    whole = HEADER + ''.join(rows)
    for cut in [0, *range(len(HEADER), len(whole) + 1)]:
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / 'history.csv').write_bytes(whole[:cut].encode())
        history = History(str(folder), 99)
        history.record(99, loss=1)
        lines = whole[len(HEADER):cut].count('\n')
        assert content(folder / 'history.csv') == HEADER + ''.join(rows[:lines]) + '99,1.0,,,,\n'
        assert history.best == [None, None, (9, 3.75), (10, 2.5)][lines] and history.note == ''
        assert sorted(name[:7] for name in os.listdir(folder)) == ['events.', 'history']
        history.close()


def test_what_a_spreadsheet_or_an_earlier_version_made_of_it(tmp_path):
    (tmp_path / 'history.csv').write_bytes('\ufeffval_loss,step,loss\r\n3.5,1,4\r\n,2,3E-02\r\n'.encode())
    history = History(str(tmp_path), 3)
    history.record(3, loss=2)
    assert content(tmp_path / 'history.csv') == HEADER + '1,4,,,3.5,\n2,3E-02,,,,\n3,2.0,,,,\n'
    assert history.best == (1, 3.5) and history.note == ''


@pytest.mark.parametrize('data, kept, told', [
    (b'date,price\n2024-05-31,7\n', 0, "'date,price'"),
    (b'step,loss,mood\n1,2.5,7\n', 0, "'step,loss,mood'"),
    (b'step;loss\n1;2,5\n', 0, "'step;loss'"),
    (b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe', 0, 'PNG'),
    (b'\0' * 5000, 0, r"'\x00"),
    (b'\n\n', 0, "''"),
    (HEADER.encode() + b'1,2.5,,,2.75,\nby Theo\n2,2.25,,,,\n', 2, "'by Theo'"),
    (HEADER.encode() + b'1,2.5,,,2.75,\n\0\0\0\0\n2,2.25,,,,\n', 2, r"'\x00\x00\x00\x00'"),
    (HEADER.encode() + b'1,2.5,,,2.75,\n1,2.5\n1.5,3,,,,\n,3,,,,\n2,2.25,,,,\n2,x,,,,\n', 2, "'1,2.5'"),
], ids=range(9))
def test_a_file_that_is_not_ours_is_kept_aside(tmp_path, data, kept, told):
    rows = ['1,2.5,,,2.75,\n', '2,2.25,,,,\n']
    for number in (1, 2):
        (tmp_path / 'history.csv').write_bytes(data)
        history = History(str(tmp_path), 3)
        assert told in history.note and f'kept as {tmp_path / f"history-{number}.csv"}, {kept} rows' in history.note
        assert history.best == ((1, 2.75) if kept else None)
        history.record(3, loss=1)
        history.close()
        assert content(tmp_path / 'history.csv') == HEADER + ''.join(rows[:kept]) + '3,1.0,,,,\n'
        for before in range(1, number + 1):
            assert (tmp_path / f'history-{before}.csv').read_bytes() == data


# ---- what the validations say

def test_the_best_validation(tmp_path):
    history = History(str(tmp_path), 1)
    assert history.best is None and history.since_best == 0 and history.rising_since is None
    history.record(1, loss=3)
    assert history.best is None and history.since_best == 0
    for step, loss, best, since in [(10, 3.5, 10, 0), (20, 3.0, 20, 0), (30, 3.0, 20, 1), (40, 3.25, 20, 2),
                                    (50, 2.75, 50, 0), (60, math.nan, 50, 1), (70, math.inf, 50, 2)]:
        history.record(step, val_loss=loss)
        assert history.best[0] == best and history.since_best == since


def test_a_validation_that_is_no_number_is_the_best_only_while_there_is_no_other(tmp_path):
    history, _ = course(tmp_path, [math.nan, math.inf])
    assert history.best == (10, math.inf) and history.since_best == 1
    history.record(30, val_loss=9)
    assert history.best == (30, 9) and history.since_best == 0


@pytest.mark.parametrize('counter', range(11, 62, 10))
def test_the_best_validation_across_a_resume(tmp_path, counter):
    """The very numbers: a loss equal to the best one is not better, though 2.31 is no float32."""
    losses = [3.5, 2.31, 2.75, 2.31, 2.25, 2.5]
    course(tmp_path, losses)
    history = History(str(tmp_path), counter)
    n = counter // 10
    assert history.best == (10 * (1 + losses[:n].index(min(losses[:n]))), min(losses[:n]))
    assert history.since_best == n - 1 - losses[:n].index(min(losses[:n]))
    before = history.best
    history.record(1000, val_loss=float(np.float32(before[1])))
    assert history.best == before
    history.record(1001, val_loss=before[1] - 0.001)
    assert history.best[0] == 1001


@pytest.mark.parametrize('losses, said', [
    ([2.0], [0]),
    ([3.0, 2.5, 2.0, 1.5], [0, 0, 0, 0]),
    ([3.0, 2.0, 2.1, 2.2, 2.3], [0, 0, 0, 20, 0]),      # by the second above 2.02, once
    ([3.0, 2.0, 2.1, 1.9, 2.0, 1.8], [0] * 6),          # one alone is chance
    ([2.0, 2.02, 2.01, 2.02, 2.02], [0] * 5),           # within 1 %: as good as the best
    ([2.0, 2.1, 2.0, 2.1, 2.01, 2.1, 2.1], [0] * 6 + [10]),
    ([2.0, 2.1, 2.1, 2.0, 2.1, 2.1], [0, 0, 10, 0, 0, 0]),
    ([2.0, 2.1, 2.1, 1.5, 1.6, 1.6], [0, 0, 10, 0, 0, 40]),     # better after all, and then another rise
    ([2.0, math.nan, math.inf, 2.0], [0, 0, 10, 0]),
])
def test_rising_since(tmp_path, losses, said):
    assert course(tmp_path, losses)[1] == [step or None for step in said]
    for n in range(1, len(losses)):                     # killed after any of them: it is told once all the same
        folder = tmp_path / str(n)
        first, before = course(folder, losses[:n])
        history = History(str(folder), 10 * n + 1)
        for step, loss in enumerate(losses[n:], n + 1):
            history.record(10 * step, val_loss=loss)
            before.append(history.rising_since)
        assert before == [step or None for step in said]


# ---- TensorBoard

def scalars(folder):
    accumulator = event_accumulator.EventAccumulator(str(folder), {event_accumulator.SCALARS: 0}).Reload()
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()['scalars']}


def test_two_histories_of_one_second_keep_their_events_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(time, 'time', lambda: 1e9)
    for begins in (1, 3):
        history = History(str(tmp_path), begins)
        for step in (begins, begins + 1):
            history.record(step, loss=1 / step)
        history.close()
    assert len(list(tmp_path.glob('events.out.tfevents.*'))) == 2 and [step for step, _ in scalars(tmp_path)['loss']] == [1, 2, 3, 4]


def test_tensorboard_reads_what_was_recorded(tmp_path):
    history = History(str(tmp_path), 1)
    for step in range(1, 51):
        history.record(step, loss=5 / step, learning_rate=1e-3)
        if step % 10 == 0:
            history.record(step, val_loss=6 / step)
    assert scalars(tmp_path) == {'loss': [(step, np.float32(5 / step)) for step in range(1, 51)],           # while the run goes on
                                 'learning_rate': [(step, np.float32(1e-3)) for step in range(1, 51)],
                                 'val_loss': [(step, np.float32(6 / step)) for step in range(10, 51, 10)]}


def test_tensorboard_drops_the_steps_that_are_taken_anew(tmp_path, monkeypatch):
    for counter, loss in ((1, 4.0), (4, 3.0), (6, 2.0)):
        monkeypatch.setattr('time.time', lambda: 1.7e9 + counter)       # the names of the files have the second in them
        history = History(str(tmp_path), counter)
        for step in range(counter, counter + 5):
            history.record(step, loss=loss)
        history.close()
    assert scalars(tmp_path) == {'loss': [(1, 4), (2, 4), (3, 4), (4, 3), (5, 3), (6, 2), (7, 2), (8, 2), (9, 2), (10, 2)]}


# ---- loss.png

def picture(folder, losses, validations=()):
    history = History(str(folder), 1)
    for step, loss in enumerate(losses, 1):
        history.record(step, loss=loss)
    for step, loss in validations:
        history.record(step, val_loss=loss)
    history.draw()
    history.close()
    assert os.path.getsize(folder / 'loss.png') < 200_000
    pixels = image.imread(folder / 'loss.png')[:, :, :3]
    assert pixels.shape == (540, 960, 3)
    return pixels[40:]                                  # below the legend


def columns(pixels, color):
    """The columns of the picture, as shares of its width, in which a colour of matplotlib's tab: ones is."""
    return np.flatnonzero((abs(pixels - np.array(color) / 255) < 0.02).all(-1).any(0)) / pixels.shape[1]


BLUE, ORANGE, RED = (31, 119, 180), (255, 127, 14), (214, 39, 40)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('losses', [[3.0], [3.0, 2.0], [2.5] * 60, [5.0, math.inf, 4.0, math.nan, 3.0], 4 + np.sin(np.arange(3000)), [3, 1e30] * 50])
def test_the_picture_of_any_course(tmp_path, losses):
    pixels = picture(tmp_path, losses)
    assert len(columns(pixels, BLUE)) and not len(columns(pixels, RED)) and not len(columns(pixels, ORANGE))


def test_the_picture_marks_the_best_validation(tmp_path):
    pixels = picture(tmp_path, np.linspace(5, 2, 401), [(100, 4.5), (200, 4.0), (300, 4.25), (400, math.nan)])
    line, star = columns(pixels, BLUE), columns(pixels, RED)
    assert line.min() + 0.4 * (line.max() - line.min()) < star.min() < star.max() < line.min() + 0.6 * (line.max() - line.min())


@pytest.mark.parametrize('before', [[], [1000.0] * 20])
def test_a_spike_and_the_first_steps_do_not_flatten_the_rest(tmp_path, before):
    """The end falls from 3 to 2 over most of the picture's height, and is seen all the way."""
    losses = np.linspace(3, 2, 400)
    losses[200] = 1e6
    pixels = picture(tmp_path, [*before, *losses])
    blue = (abs(pixels - np.array(BLUE) / 255) < 0.02).all(-1)
    heights = [np.flatnonzero(blue[:, column]).mean() for column in range(220, 890)]
    assert heights[-1] - heights[0] > 300 and max(abs(np.diff(heights))) < 50


def test_nothing_to_draw(tmp_path):
    history = History(str(tmp_path), 1)
    history.record(1, val_loss=3)
    history.record(1, loss=math.nan)
    history.draw()
    assert not os.path.exists(tmp_path / 'loss.png')


@pytest.mark.parametrize('n', [1, 7, 2 * POINTS, 2 * POINTS + 1, 10007])
def test_outline_has_every_extreme(n):
    losses = np.random.default_rng(n).normal(size=n)
    losses[n // 3] = 99
    x, y = outline(np.arange(n) + 1, losses)
    assert len(x) == len(y) <= 2 * POINTS and (np.diff(x) >= 0).all()
    starts = sorted(set(x.tolist())) + [n + 1]
    for start, stop in zip(starts, starts[1:]):
        part = losses[start - 1:stop - 1]
        assert {part.min(), part.max()} == set(y[x == start])


@pytest.mark.parametrize('n, half', [(1, 0), (5, 0), (5, 1), (5, 9), (1000, 20), (4321, 86)])
def test_smooth_by_hand(n, half):
    losses = np.random.default_rng(n).normal(size=n)
    x, y = smooth(np.arange(n), losses, half)
    assert len(x) == min(n, POINTS) and x[0] == 0 and x[-1] == n - 1
    assert y == pytest.approx([losses[max(0, i - half):i + half + 1].mean() for i in x])


# ---- what goes wrong

def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / 'run1').write_bytes(b'')
    history = History(str(tmp_path / 'run1'), 1)
    with pytest.raises(UserError, match='run1.*a file of this name is in the way, a folder was expected'):
        history.record(1, loss=2)
    (tmp_path / 'run2' / 'history.csv').mkdir(parents=True)
    with pytest.raises(UserError, match='history.csv: this is a folder'):
        History(str(tmp_path / 'run2'), 1)


@pytest.mark.parametrize('room, told', [(0, 'history.csv: the file grew'), (60, "TensorBoard's file there could not be written .*File too large")])
def test_a_disk_that_takes_no_more(tmp_path, room, told):
    """A limit of the size of files, since a test cannot fill a disk: the system refuses alike. What was there stays."""
    history = History(str(tmp_path), 1)
    history.record(1, loss=2.5)
    history.draw()
    drawn = (tmp_path / 'loss.png').read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(tmp_path / 'history.csv') + room, limits[1]))
    try:
        with pytest.raises(UserError, match=told):
            history.record(2, loss=2.25)
        with pytest.raises(UserError, match='loss.png: the file grew'):
            history.draw()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / 'loss.png').read_bytes() == drawn
    assert content(tmp_path / 'history.csv').startswith(HEADER + '1,2.5,,,,\n')
    resumed = History(str(tmp_path), 2)
    resumed.record(2, loss=2.25)
    assert content(tmp_path / 'history.csv') == HEADER + '1,2.5,,,,\n2,2.25,,,,\n'

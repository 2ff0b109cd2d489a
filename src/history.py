"""What a training run remembers of its course, in its folder:

    history.csv                a row for every step that has something to tell; a field that has nothing is empty
        step,loss,learning_rate,tokens_per_s,val_loss,perplexity
        1,7.8214,0.003,388.1,7.8309,2517.2
        2,7.6871,0.003,412.6,,
    loss.png                   the losses as a picture
    events.out.tfevents.*      all of it for `tensorboard --logdir checkpoint`

and, from its validations, which was the best and whether the run overfits. What is recorded is in the files at once: a run that is killed loses
none of it. It goes on from its last checkpoint and takes the steps after that once more, so their rows are dropped, here and in TensorBoard.
"""
import contextlib
import logging
import math
import os
import platform
import time

import numpy as np

from . import console, files
from .console import UserError

COLUMNS = ('step', 'loss', 'learning_rate', 'tokens_per_s', 'val_loss', 'perplexity')       # losses in nats a token; numbers in float32
VALIDATED = ('val_loss', 'perplexity')
RISE = 1.01                                             # times the best validation: see History.rising_since
POINTS = 1000                                           # the picture's x axis has about as many pixels


class History:
    """The course of the run in `directory`, whose next step is `counter`. What is there is read at once; files change from the first record on.

    resumed: it goes on from the checkpoint of `counter`, whose validation, if there was one, counts. since: validations before this step
    measured something else, and do not count.
    note: a sentence for the user when history.csv has lines that are none of ours (it is then kept under another name), else ''.
    Raises UserError, here and in each method, when a file cannot be read or written.
    """

    def __init__(self, directory, counter, resumed=False, since=0):
        self.directory, self.counter, self.note = directory, counter, ''
        self._since, self._resumed, self._again = since, resumed, {}     # _again: the validation of that checkpoint, for TensorBoard, which forgets it
        self._path, self._aside = os.path.join(directory, 'history.csv'), None
        self._losses, self._validations = {}, {}        # step -> loss, step -> val_loss
        self._csv = self._events = None
        self._row, self._start = [None], 0              # the newest row, and where in the file it begins
        with _told(self._path):
            self._kept = self._read() if os.path.exists(self._path) else []

    # ---- what the validations say

    @property
    def best(self):
        """(step, val_loss) of the lowest validation, of equal ones the first; None before the first."""
        return min(self._validations.items(), key=lambda item: item[1], default=None)

    @property
    def since_best(self):
        """How many validations there were since the best one: in a row, and none of them better."""
        return len(self._validations) - 1 - list(self._validations).index(self.best[0]) if self._validations else 0

    @property
    def rising_since(self):
        """The step of the best validation, when it is the newest one that makes clear that they rise since; else None. So each rise is told once.

        It is clear when two in a row are more than 1 % above the best. In five runs on the bundled chats, two in a row just above it told of 11 rises,
        7 of which passed; with the 1 % it was 4, of which 1 passed (validated on 8 windows only), at most two validations later.
        """
        if not self._validations:
            return None
        step, loss = self.best
        above = [other > loss * RISE for other in list(self._validations.values())[-1 - self.since_best:]]
        clear = [one and next_one for one, next_one in zip(above, above[1:])]
        return step if clear.count(True) == 1 and clear[-1] else None

    # ---- the files

    def _read(self):
        """The rows of history.csv before `counter`, as lines in the order of COLUMNS."""
        with open(self._path, encoding='utf-8-sig', errors='replace') as file:
            text = file.read()
        *lines, torn = text.split('\n')                 # torn: '' after the last line break, or what a kill left of a line
        header, *rows = lines or [torn]
        names, kept, foreign = header.split(','), [], []
        if text and not {'step'} <= set(names) <= set(COLUMNS):
            rows, foreign = [], [header]
        for line in rows:
            try:
                fields = dict(zip(names, line.split(','), strict=True))
                step = int(fields['step'])
                values = {name: float(field) for name, field in fields.items() if field and name != 'step'}
            except ValueError:
                foreign.append(line)
                continue
            if step == self.counter and self._resumed and 'val_loss' in values:
                self._again = values = {name: values[name] for name in VALIDATED if name in values}
                fields = {name: fields[name] for name in ('step', *values)}
            if step < self.counter or values is self._again:
                self._remember(step, **values)
                kept.append(','.join(fields.get(name, '') for name in COLUMNS) + '\n')
        if foreign:
            number = 1
            while os.path.exists(aside := os.path.join(self.directory, f'history-{number}.csv')):
                number += 1
            self._aside = aside
            self.note = (f'{self._path} has lines that are not from training, such as {foreign[0][:60]!r}: '
                         f'it is kept as {aside}, {len(kept)} rows of it are carried on')
        return kept

    def _remember(self, step, loss=None, val_loss=None, **others):
        if loss is not None:
            self._losses[step] = loss
        if val_loss is not None and step >= self._since:
            self._validations[step] = math.inf if math.isnan(val_loss) else val_loss

    def record(self, step, **values):
        """Add `values`, named as in COLUMNS, to the row of `step`: the newest one's, or a new one. About 10 microseconds."""
        with np.errstate(over='ignore'):                # the perplexity of what has diverged
            fields = {name: str(np.float32(value)) for name, value in values.items()}
        with _told(self._path):
            if self._csv is None:
                self._begin()
            newest = str(step) == self._row[0]
            if not newest:
                self._row, self._start = [str(step)] + [''] * (len(COLUMNS) - 1), self._csv.seek(0, os.SEEK_END)
            for name, field in fields.items():
                self._row[COLUMNS.index(name)] = field
            self._csv.seek(self._start)
            self._csv.write((','.join(self._row) + '\n').encode())
            self._csv.truncate() if newest else self._csv.flush()           # both write it; the row may have grown shorter
        self._remember(step, **{name: float(field) for name, field in fields.items()})          # as a resumed run reads them
        self._tell_values(step, values)

    def _tell_values(self, step, values):
        import tensorflow as tf
        value = tf.compat.v1.Summary.Value
        self._tell(step=step, summary=tf.compat.v1.Summary(value=[value(tag=name, simple_value=number) for name, number in values.items()]))

    def _begin(self):
        """Make the files, as they are before step `counter`."""
        import tensorflow as tf
        if self._aside:
            os.replace(self._path, self._aside)
        with files.whole(self._path, 'w', encoding='utf-8', newline='') as file:
            file.write(','.join(COLUMNS) + '\n')
            file.writelines(self._kept)
        self._csv, self._kept = open(self._path, 'r+b'), None
        number = sum('.tfevents.' in name for name in os.listdir(self.directory))          # two runs of one process may begin in the same second
        self._events = tf.io.TFRecordWriter(os.path.join(self.directory, f'events.out.tfevents.{time.time():.0f}.{platform.node()}.{os.getpid()}.{number}'))
        self._tell(file_version='brain.Event:2')
        session = tf.compat.v1.SessionLog
        self._tell(step=self.counter, session_log=session(status=session.START))        # drops what older files have of these steps
        if self._again:
            self._tell_values(self.counter, self._again)

    def _tell(self, **event):
        """An event to TensorBoard, by hand: tf.summary.scalar takes 110 microseconds a value, all of a step take 7 this way."""
        import tensorflow as tf
        try:
            self._events.write(tf.compat.v1.Event(wall_time=time.time(), **event).SerializeToString())
            self._events.flush()
        except tf.errors.OpError as error:
            raise UserError(f"{self.directory}: TensorBoard's file there could not be written ({error.message}): "
                            'free some space and run the same command again.') from None

    def close(self):
        """Close the files; what was recorded is in them already."""
        if self._csv is not None:
            with _told(self._path):
                self._csv.close()
            self._events.close()

    # ---- the picture

    def draw(self):
        """Write loss.png: the training loss, as it is and smoothed, and the validations, the best one marked. Without a training loss: nothing."""
        steps, losses = (np.array([*numbers]) for numbers in (self._losses, self._losses.values()))
        steps, losses = steps[np.isfinite(losses)], losses[np.isfinite(losses)]
        if not len(losses):
            return
        os.environ['MPLBACKEND'] = 'agg'                # a notebook names its own, which matplotlib may not find here and then refuses to start
        logging.getLogger('matplotlib').setLevel(logging.ERROR)         # it tells where it keeps its fonts
        from matplotlib.figure import Figure
        first = len(losses) // 20                       # the first steps come from far up, spikes go there: neither may flatten the rest
        low, high = np.percentile(losses[first:], 1, method='lower'), np.percentile(losses[first:], 98, method='higher')
        half = len(losses) // 50
        calm = np.minimum(losses, 3 * high - 2 * low)   # a spike lifts the mean of its neighbours by little
        figure = Figure(figsize=(8, 4.5), dpi=120)
        axes = figure.add_axes((0.09, 0.11, 0.89, 0.81))            # a layout to be found would take as long as the drawing
        axes.plot(*outline(steps, losses), color='tab:blue', alpha=0.3, linewidth=0.8)
        axes.plot(*smooth(steps, calm, half), color='tab:blue', linewidth=1.8, marker='' if half else '.',
                  label=f'training, smoothed over {2 * half + 1:,} steps' if half else 'training')
        validations = [(step, loss) for step, loss in self._validations.items() if math.isfinite(loss)]
        if validations:
            axes.plot(*zip(*validations), color='tab:orange', linewidth=1.5, marker='o', markersize=4, label='validation')
            step, loss = self.best
            axes.plot(step, loss, color='tab:red', linestyle='', marker='*', markersize=14, label=f'best: {loss:.3f} at step {step:,}')
            later = [loss for step, loss in validations if step >= steps[first]] or [loss]
            low, high = min(low, *later), max(high, *later)
        margin = 0.05 * (high - low) or 0.1
        axes.set(xlabel='step', ylabel='loss, nats a token', ylim=(low - margin, high + margin))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.xaxis.set_major_formatter('{x:,.0f}')
        axes.grid(alpha=0.3)
        axes.spines[['top', 'right']].set_visible(False)
        figure.legend(loc='upper center', ncols=3, frameon=False)          # within the axes it would hide a rise
        path = os.path.join(self.directory, 'loss.png')
        with _told(path), files.whole(path) as file:
            figure.savefig(file, format='png')


def outline(steps, losses):
    """[n], [n] -> at most twice POINTS of each: the lowest and the highest loss of each stretch, which is all that one column of pixels shows."""
    if len(losses) <= 2 * POINTS:
        return steps, losses
    starts = np.linspace(0, len(losses), POINTS, endpoint=False).astype(int)
    return np.repeat(steps[starts], 2), np.stack([np.minimum.reduceat(losses, starts), np.maximum.reduceat(losses, starts)], axis=1).ravel()


def smooth(steps, losses, half):
    """[n], [n] -> at most POINTS of each: the mean of each loss and the `half` before and after it, as far as there are so many."""
    sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    at = np.unique(np.linspace(0, len(losses) - 1, POINTS).astype(int))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(losses))
    return steps[at], (sums[last] - sums[first]) / (last - first)


@contextlib.contextmanager
def _told(path):
    """Raise what goes wrong with the files as a sentence."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or path
        raise UserError(console.describe(error)) from None

"""Texts that are generated together, whatever generates them: they come and go between two steps. An exception in the midst of one
(Ctrl-C) loses no row.

    enter     a Sequence into a free row; what a row already holds of its context, its own or another's, is not read again
    step      some tokens more for each; those that are over leave
    back      the newest tokens of one are taken back, and what came in their place does not come again
    leave     somebody has gone before the end

None changes what another gets (Yu et al. 2022, "Orca", section 3.2). A row that was left keeps what it holds: a conversation that comes back
with one more turn finds it there.
"""
import weakref
from dataclasses import dataclass, field

import numpy as np

from .settings import Draw, Settings, check_settings


@dataclass(eq=False)
class Sequence:
    """One in a Batch: what it goes on from and how. `made` grows; `over` tells that there will be no more."""
    context: list                                       # token ids, at least one
    length: int                                         # new tokens at most; with the context no more than n_ctx + 1
    settings: Settings = Settings()
    stops: tuple = ()                                   # ids, up to Batch.STOPS: the first of them that is made ends it
    seed: int | list | None = None                      # as settings.Draw has it
    bias: dict = field(default_factory=dict)            # {id: what is added to its logit}
    made: list = field(default_factory=list)
    over: bool = False
    banned: tuple = ()                                  # ids, of which the next token is none


class Batch:
    """Up to `size` Sequences of a generator (sample.Generator or lite.Generator). One thread drives it."""
    STOPS = 4

    def __init__(self, generator, size):
        self.generator = generator
        self.rows = [None] * size                       # of Sequence
        self._draws = weakref.WeakKeyDictionary()       # of each Sequence
        self._cache = generator.cache(size)
        self._left = [0] * size                         # after how many leavings each row was left: the first is taken first
        self._leavings = 0

    def enter(self, sequence):
        """Read the sequence's context into a free row. Returns whether there was one."""
        n_ctx = self.generator.hparams.n_ctx
        if not sequence.context or len(sequence.context) + sequence.length > n_ctx + 1 or len(sequence.stops) > self.STOPS:
            raise ValueError(f'a sequence needs a context, which with {sequence.length} new tokens is no longer than {n_ctx + 1}, '
                             f'and {self.STOPS} stops at most')
        check_settings(length=sequence.length, **sequence.settings._asdict())
        return self._place(sequence, Draw(sequence.seed))

    def back(self, sequence, n, banned):
        """Take back all but the first n tokens that a sequence has made; none of the ids `banned` comes next. Nobody may have entered since its last step."""
        draw = self._draws[sequence]
        self.leave(sequence)
        sequence.made, sequence.over, sequence.banned = sequence.made[:n], False, tuple(banned)
        self._place(sequence, draw)

    def score(self, context, ids):
        """log P of each of ids [n] behind context, float32 [n], as the model has it without any settings. It needs a free row."""
        return self.generator.score(self._cache, [context[-1], *ids], self._read(context[:-1]))

    def _place(self, sequence, draw):
        """Seat it in a free row, which then holds all its tokens but the newest. Returns whether there was one."""
        if None not in self.rows:
            return False
        row = self._read([*sequence.context, *sequence.made][:-1])
        self._cache.prompts[row] = len(sequence.context)
        self.rows[row], self._draws[sequence] = sequence, draw
        return True

    def _read(self, ids):
        """Bring a free row to exactly `ids`: what it or another one holds of them is not read again. Returns the row.

        A row of which half or more would be overwritten may be somebody's who comes back: then it is the one that was left first.
        """
        wanted = np.array(ids, np.int32)
        source, same = self._longest(wanted)
        free = [row for row, sequence in enumerate(self.rows) if sequence is None]
        row = source if source in free and 2 * same > self._cache.lengths[source] else min(free, key=self._left.__getitem__)
        if same and row != source:
            self._cache.copy(source, row, same)
        self._cache.cut(same, row)
        self.generator.prefill(self._cache, [wanted[same:]], row)
        return row

    def _longest(self, wanted):
        """(the row that holds most of what is wanted, how many of its ids)"""
        n = len(wanted)
        differs = (self._cache.ids[:, :n] != wanted) | (np.arange(n) >= self._cache.lengths[:, None])
        same = np.where(differs.any(axis=1), differs.argmax(axis=1), n) if n else np.zeros(len(self.rows), int)
        return int(same.argmax()), int(same.max())

    def leave(self, sequence):
        """Free the row of a sequence, if it has one, over or not."""
        if sequence in self.rows:
            row = self.rows.index(sequence)
            self.rows[row] = None
            self._leavings += 1
            self._left[row] = self._leavings

    def step(self, steps):
        """Up to `steps` more tokens for each sequence. Returns [(sequence, its new ids)]; those that are over have left."""
        there = [sequence for sequence in self.rows if sequence]
        if not there:
            return []
        steps = min([steps] + [1 if sequence.banned else sequence.length - len(sequence.made) for sequence in there])
        some = there[0]
        rows = [sequence or some for sequence in self.rows]              # what an empty row is given does not matter
        ids = self.generator.decode(
            self._cache, [(row.made or row.context)[-1] for row in rows], [self._draws[row] for row in rows], steps, [row.settings for row in rows],
            stops=[[*row.stops, *[-1] * (self.STOPS - len(row.stops))] for row in rows], bias=self._bias(rows),
            active=np.array([row is not None for row in self.rows]))
        found = []
        for sequence, new in zip(self.rows, ids.tolist()):
            if sequence:
                ends = next((k for k, i in enumerate(new) if i in sequence.stops), None)
                new = new if ends is None else new[:ends + 1]
                sequence.made += new
                sequence.over = ends is not None or len(sequence.made) >= sequence.length
                sequence.banned = ()
                found.append((sequence, new))
        for sequence, _ in found:
            if sequence.over:
                self.leave(sequence)
        return found

    def _bias(self, rows):
        """[batch, n_vocab], or None where nobody has one."""
        if not any(row.bias or row.banned for row in rows):
            return None
        bias = np.zeros([len(rows), self.generator.hparams.n_vocab], np.float32)
        for values, row in zip(bias, rows):
            values[list(row.bias)] = list(row.bias.values())
            values[list(row.banned)] = -np.inf
        return bias

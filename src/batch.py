"""Texts that are generated together, whatever generates them: they come and go between two steps.

    enter     a Sequence into a free row; what a row already holds of its context, its own or another's, is not read again
    step      some tokens more for each; those that are over leave
    leave     somebody has gone before the end

None changes what another gets (Yu et al. 2022, "Orca", section 3.2). A row that was left keeps what it holds: a conversation that comes back
with one more turn finds it there.
"""
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
    seed: int | None = None
    bias: dict | None = None                            # {id: what is added to its logit}
    made: list = field(default_factory=list)
    over: bool = False


class Batch:
    """Up to `size` Sequences of a generator (sample.Generator or lite.Generator). One thread drives it."""
    STOPS = 4

    def __init__(self, generator, size):
        self.generator = generator
        self.rows = [None] * size                       # of Sequence
        self._draws = [None] * size
        self._cache = generator.cache(size)
        self._free = list(range(size))                  # rows without a sequence, first the one that has been so for longest

    def enter(self, sequence):
        """Read the sequence's context into a free row. Returns whether there was one."""
        n_ctx = self.generator.hparams.n_ctx
        if not sequence.context or len(sequence.context) + sequence.length > n_ctx + 1 or len(sequence.stops) > self.STOPS:
            raise ValueError(f'a sequence needs a context, which with {sequence.length} new tokens is no longer than {n_ctx + 1}, '
                             f'and {self.STOPS} stops at most')
        check_settings(length=sequence.length, **sequence.settings._asdict())
        if not self._free:
            return False
        wanted = np.array(sequence.context[:-1], np.int32)
        source, same = self._longest(wanted)
        row = source if source in self._free and same > 0 else self._free[0]
        self._free.remove(row)
        if same and row != source:
            self._cache.copy(source, row, same)
        self._cache.cut(same, row)
        self.rows[row], self._draws[row] = sequence, Draw(sequence.seed)
        self.generator.prefill(self._cache, [wanted[same:]], row)
        return True

    def _longest(self, wanted):
        """(the row that holds most of what is wanted, how many of its ids)"""
        n = len(wanted)
        differs = (self._cache.ids[:, :n] != wanted) | (np.arange(n) >= self._cache.lengths[:, None])
        same = np.where(differs.any(axis=1), differs.argmax(axis=1), n) if n else np.zeros(len(self.rows), int)
        return int(same.argmax()), int(same.max())

    def leave(self, sequence):
        """Free the row of a sequence, if it has one, over or not."""
        for row, other in enumerate(self.rows):
            if other is sequence:
                self.rows[row] = None
                self._free.append(row)

    def step(self, steps):
        """Up to `steps` more tokens for each sequence. Returns [(sequence, its new ids)]; those that are over have left."""
        there = [sequence for sequence in self.rows if sequence]
        if not there:
            return []
        steps = min([steps] + [sequence.length - len(sequence.made) for sequence in there])
        some = there[0]
        rows = [sequence or some for sequence in self.rows]              # what an empty row is given does not matter
        ids = self.generator.decode(
            self._cache, [(row.made or row.context)[-1] for row in rows], self._draws, steps, [row.settings for row in rows],
            stops=[[*row.stops, *[-1] * (self.STOPS - len(row.stops))] for row in rows], bias=self._bias(rows),
            active=np.array([row is not None for row in self.rows]))
        found = []
        for sequence, new in zip(self.rows, ids.tolist()):
            if sequence:
                ends = next((k for k, i in enumerate(new) if i in sequence.stops), None)
                new = new if ends is None else new[:ends + 1]
                sequence.made += new
                sequence.over = ends is not None or len(sequence.made) >= sequence.length
                found.append((sequence, new))
        for sequence, _ in found:
            if sequence.over:
                self.leave(sequence)
        return found

    def _bias(self, rows):
        """[batch, n_vocab], or None where nobody has one."""
        if not any(row.bias for row in rows):
            return None
        bias = np.zeros([len(rows), self.generator.hparams.n_vocab], np.float32)
        for values, row in zip(bias, rows):
            if row.bias:
                values[list(row.bias)] = list(row.bias.values())
        return bias

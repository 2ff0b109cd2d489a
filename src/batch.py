"""Texts that are generated together, whatever generates them: they come and go between two steps. An exception in the midst of one
(Ctrl-C) loses no row.

    enter     a Sequence into a free row; what a row already holds of its context, its own or another's, is not read again
    step      some tokens more for each; those that are over leave
    back      the newest tokens of one are taken back, and what came in their place does not come again
    leave     somebody has gone before the end
    hold      what somebody will go on from is read before they come

None changes what another gets (Yu et al. 2022, "Orca", section 3.2). A row that was left keeps what it holds: a conversation that comes back
with one more turn finds it there.
"""
import sys
import weakref
from dataclasses import dataclass, field

import numpy as np

from .settings import Draw, Settings, check_settings

PASS = 128                                              # tokens that are held in one pass


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
        self._newest = None                             # the Sequence whose context may not all have been read
        self._cache = generator.cache(size)
        self._left = [0] * size                         # after how many leavings each row was left: the first is taken first
        self._leavings = 0

    def get_ready(self):
        """Let the generator compile what it needs, for which the first text would wait otherwise."""
        if self.generator.COMPILES:
            print('(compiling the model for this machine)', file=sys.stderr)
            self.enter(Sequence([0, 0], 1))
            self.step(1)

    def hold(self, ids, going=lambda: True):
        """Let a free row hold ids, a PASS at a time for as long as going() says; called again, it goes on there. What a row holds of them is not read."""
        if self._longest(np.array(ids, np.int32))[1] < len(ids):
            row = self._seat(ids)
            while going() and self._cache.lengths[row] < len(ids):
                self._read(ids[self._cache.lengths[row]:][:PASS], row)

    def enter(self, sequence):
        """Seat a sequence in a free row, and read its context or leave that to the first step, which then takes one pass less. Returns whether there
        was one."""
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
        row = self._seat(context[:-1])
        self._read(context[self._cache.lengths[row]:-1], row)
        return self.generator.score(self._cache, [context[-1], *ids], row)

    def _place(self, sequence, draw):
        """Seat it in a free row, which then holds all its tokens but the newest, or will with the next step. Returns whether there was one."""
        if None not in self.rows:
            return False
        row = self._seat([*sequence.context, *sequence.made][:-1])
        if not self.generator.READS_ALONG:
            self._read(self._unread(sequence, row), row)
        self._cache.prompts[row] = len(sequence.context)
        self.rows[row], self._draws[sequence], self._newest = sequence, draw, sequence
        return True

    def _seat(self, ids):
        """Find a free row for ids, and let it hold what it or another one holds of them, which is not read again. Returns the row.

        A row of which half or more would be overwritten may be somebody's who comes back: then it is the one that was left first.
        """
        self._catch_up()
        source, same = self._longest(np.array(ids, np.int32))
        free = [row for row, sequence in enumerate(self.rows) if sequence is None]
        row = source if source in free and 2 * same > self._cache.lengths[source] else min(free, key=self._left.__getitem__)
        if same and row != source:
            self._cache.copy(source, row, same)
        self._cache.cut(same, row)
        return row

    def _unread(self, sequence, row):
        """Its tokens but the newest that its row lacks."""
        return [*sequence.context, *sequence.made][self._cache.lengths[row]:-1]

    def _read(self, ids, row):
        self.generator.prefill(self._cache, [np.array(ids, np.int32)], row)

    def _catch_up(self):
        """Read what the newest sequence's row lacks."""
        if self._newest and self._newest in self.rows:
            row = self.rows.index(self._newest)
            if unread := self._unread(self._newest, row):
                self._read(unread, row)
                self._cache.prompts[row] = len(self._newest.context)
        self._newest = None

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
        if there != [self._newest]:
            self._catch_up()
        unread = self._newest and self._unread(self._newest, self.rows.index(self._newest))
        options = {'unread': unread} if unread else {}
        steps = min([steps] + [1 if sequence.banned else sequence.length - len(sequence.made) for sequence in there])
        some = there[0]
        rows = [sequence or some for sequence in self.rows]              # what an empty row is given does not matter
        ids = self.generator.decode(
            self._cache, [(row.made or row.context)[-1] for row in rows], [self._draws[row] for row in rows], steps, [row.settings for row in rows],
            stops=[[*row.stops, *[-1] * (self.STOPS - len(row.stops))] for row in rows], bias=self._bias(rows),
            active=np.array([row is not None for row in self.rows]), **options)
        self._newest = None
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

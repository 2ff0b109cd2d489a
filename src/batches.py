"""Token chunks -> training batches: whose words are learnt, and which windows of the chunks are drawn.

    chunks, owners (dataset.py) -> Sampler, or TurnSampler of whole turns -> Batches -> Ahead, which draws while a step runs
                                                                          -> Validation
"""
import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from . import shards
from .console import UsageError, UserError

PART = 1 << 18                                          # tokens whose turns are found at a time
ROUND = 64                                              # a GPU's program is compiled once per length of a batch
REPLIES = 'replies'


# ---- whose words are learnt

def learnt(owners, who, speakers):
    """Which tokens of a chunk count in the loss, [n] bool, by their owners (dialogue.Tokens.owners).

    who: a name: every turn of that speaker's; 'replies': every turn but the first of each conversation. Words count, with what ends
    them: the line break or mark, and the first token behind it, by which a model says that the turn is over. Headers do not.
    """
    counts = owners > 0
    if who == REPLIES:
        turns = Turns(owners)
        first = np.zeros(len(owners), bool)
        for start, stop in zip(turns.starts[turns.opens], turns.stops[turns.opens]):
            first[start:stop] = True
        counts &= ~first
    else:
        counts &= owners == speakers.index(who) + 1
    counts[1:] |= counts[:-1] & (owners[1:] <= 0)
    return counts


class Learnt:
    """`learnt` of chunks, worked out for each part when it is asked for: Learnt(owners, who, speakers)[i][a:b]."""

    def __init__(self, owners, who, speakers):
        self.owners, self.who, self.speakers = owners, who, speakers

    def __getitem__(self, i):
        return LearntRow(self.owners[i], self.who, self.speakers)


class LearntRow(Learnt):
    """The same of one chunk."""

    def __len__(self):
        return len(self.owners)

    def __getitem__(self, where):
        start, stop, _ = where.indices(len(self.owners))
        begin, size = start, 256                        # from a token of nobody's on: what is learnt depends on nothing in front of one
        while begin:
            nobodys = np.flatnonzero(self.owners[max(0, begin - size):begin] == 0)
            if len(nobodys):
                begin = max(0, begin - size) + int(nobodys[-1]) + 1
                break
            begin, size = max(0, begin - size), 2 * size
        return learnt(self.owners[begin:stop], self.who, self.speakers)[start - begin:]


def whole_conversations(owners):
    """Yield (start, owners from there on): a chunk in parts of about PART tokens, each cut behind a token of nobody's, so that nothing
    that `learnt` or Turns finds in one depends on another."""
    start, size = 0, PART
    while start < len(owners):
        part = owners[start:start + size]
        nobodys = np.flatnonzero(part == 0)
        if start + size >= len(owners):
            stop = len(part)
        elif len(nobodys):
            stop = int(nobodys[-1]) + 1
        else:
            size *= 2
            continue
        yield start, part[:stop]
        start, size = start + stop, PART


class Turns:
    """Where the turns of a chunk lie: starts, stops [turns]; opens [turns] bool (the first of its conversation)."""

    def __init__(self, owners):
        before = np.concatenate([[0], owners[:-1]])
        begins = (owners != before) & ((owners < 0) | ((owners > 0) & (before != -owners)))
        outside = np.concatenate([[0], np.cumsum(owners == 0)])                 # tokens of nobody's before each position
        self.starts = np.flatnonzero(begins)
        nobody = np.append(np.flatnonzero(owners == 0), len(owners))
        self.stops = np.minimum(np.append(self.starts[1:], len(owners)), nobody[np.searchsorted(nobody, self.starts)])
        conversations = outside[self.starts]                                    # a number that all turns of one have
        self.opens = np.concatenate([[True], conversations[1:] != conversations[:-1]])[:len(self.starts)]


# ---- batches

class Sampler:
    """Random slices of the chunks: none crosses a chunk, and every start is equally likely.

    A chunk shorter than the slice asked for has one start, 0, and gives all it has.
    """
    padded = False                                      # whether windows are shorter than asked for as a rule

    def __init__(self, chunks, seed=None, counts=None, *, replies=None, name='dataset'):
        """counts: for each chunk which tokens are learnt, [n] bool; None: all are. replies: likewise, which belong to replies; None: it is
        not known. name: what the user is told that the chunks are."""
        self.chunks, self.counts, self.replies, self.name = chunks, counts, replies, name
        self._lengths = np.fromiter(map(len, chunks), np.int64, len(chunks))
        self._kept = np.flatnonzero(self._lengths >= 2)                         # a token and the one that follows
        self.total_size = int(self._lengths.sum())
        if not len(self._kept):
            raise UserError(f'the {name} has {self.total_size} tokens, too few to learn from: add text.')
        if counts is not None and not any(block.any() for i in self._kept for block in shards.blocks(counts[i], 1)):
            raise UserError(f'nothing in the {name} is to be learnt, none of its {self.total_size} tokens: choose another --learn_from{self._or_else()}.')
        self.longest = int(self._lengths.max())
        self.rng = np.random.default_rng(seed)
        self._length, self._ends = None, None

    def _or_else(self):
        """The further way out where something was held out."""
        return '' if self.name == 'dataset' else ', or what is validated on: another --val_share or --val_dataset'

    def place(self, length):
        """Where a random slice of `length` tokens, or fewer, lies: (chunk's index, start, stop)."""
        if length != self._length:
            self._length, self._ends = length, np.cumsum(np.maximum(1, self._lengths[self._kept] - length + 1))
        index = int(self.rng.integers(self._ends[-1]))
        k = int(np.searchsorted(self._ends, index, side='right'))
        start = index - (int(self._ends[k - 1]) if k else 0)
        i = int(self._kept[k])
        return i, start, min(start + length, int(self._lengths[i]))

    def sample(self, length):
        """A 1-D array of `length` token ids, or fewer where the chunk drawn is shorter."""
        i, start, stop = self.place(length)
        return self.chunks[i][start:stop]

    def mean_length(self, length):
        """How many tokens a random slice of `length`, or fewer, has on average."""
        kept = self._lengths[self._kept]
        return float(np.average(np.minimum(kept, length), weights=np.maximum(1, kept - length + 1)))

    def draw(self, length):
        """A place, and for each token there whether it is learnt; places in which nothing is are passed over."""
        for _ in range(100000):
            drawn = self.at(self.place(length))
            if drawn:
                return drawn
        raise UserError(f'windows of {length} tokens hardly ever have a word to learn in them: train with --windows turns, or a longer --seq_len.')

    def at(self, place):
        """A place, and for each token there whether it is learnt; None where nothing is."""
        i, start, stop = place
        counts = np.ones(stop - start, bool) if self.counts is None else self.counts[i][start:stop]
        return (place, counts) if counts[1:].any() else None

    def each(self, length):
        """Yield what `draw` gives, of slices that together hold each token once as one that is foretold."""
        for i, n in zip(self._kept, self._lengths[self._kept]):
            yield from filter(None, (self.at((int(i), start, min(start + length, int(n)))) for start in range(0, int(n) - 1, length - 1)))


class TurnSampler(Sampler):
    """Random replies, each equally likely: a turn with as many whole turns in front of it as fit. No window crosses a conversation.

    A conversation that fits whole begins with the token that stands in front of it (<|endoftext|>, <bos>). A turn longer than the
    window is cut at its end.
    """
    padded = True

    def __init__(self, chunks, owners, seed=None, counts=None, max_turns=0, **settings):
        """owners: dialogue.Tokens.owners of each chunk. counts: as for Sampler, as are the settings; then only turns with learnt words
        are drawn. max_turns: turns in front of the reply at most; 0: all that fit."""
        super().__init__(chunks, seed, counts, **settings)
        self.max_turns, self.longest = max_turns, 0
        # of all turns, one behind the other: where they start and stop in their chunks, and the number of their conversation's first;
        # the numbers of the replies. Too many for memory, they are in a temporary file.
        columns = [shards.Column(shards.Scratch(getattr(chunks, 'path', None)), np.int64) for _ in range(4)]
        first = []                                      # the number of each kept chunk's first turn
        for i in self._kept:
            first.append(len(columns[0]))
            for start, part in whole_conversations(owners[i]):
                turns, n = Turns(part), len(columns[0])
                openings = np.maximum.accumulate(np.where(turns.opens, np.arange(len(turns.starts)), 0))
                wanted = ~turns.opens
                if counts is not None:
                    total = np.concatenate([[0], np.cumsum(counts[i][start:start + len(part)])])
                    wanted = total[turns.stops] > total[turns.starts + 1]
                for column, numbers in zip(columns, (turns.starts + start, turns.stops + start, openings + n, np.flatnonzero(wanted) + n)):
                    column.add(numbers)
                self.longest = max(self.longest, int((turns.stops - turns.starts[openings]).max(initial=0)) + 2)
        self._first = np.array(first)
        self._starts, self._stops, self._openings, self._replies = (column.row() for column in columns)
        if not len(self):
            raise UserError(f'no conversation in the {self.name} has a reply: train with --windows tokens{self._or_else()}.')

    def place(self, length):
        return self._around(int(self.rng.integers(len(self))), length)

    def each(self, length):
        """Yield what `draw` gives, of every reply."""
        yield from filter(None, (self.at(self._around(number, length)) for number in range(len(self))))

    def _around(self, number, length):
        """The place of a reply, with the turns in front of it."""
        t = int(self._replies[number])
        i = int(self._kept[np.searchsorted(self._first, t, side='right') - 1])
        begin, stop = int(self._starts[t]), min(int(self._stops[t]) + 1, int(self._lengths[i]))        # with the token by which the turn is seen to end
        if stop - begin > length:
            return i, begin, begin + length
        opening = int(self._openings[t])
        first = max(opening, t - (min(length, self.max_turns) or length))       # a turn has a token at least
        first += int(np.searchsorted(self._starts[first:t + 1], stop - length))
        start = int(self._starts[first])
        if first == opening and start and stop - start < length:
            start -= 1
        return i, start, stop

    def __len__(self):
        """The number of replies."""
        return len(self._replies)


class Batches:
    """Endless training batches; `state` is all there is to continue exactly where another left off."""

    def __init__(self, sampler, batch_size, seq_len, n_vocab, noise=0.0, *, rows=None, replies=False):
        """noise: the share of input tokens replaced by random ones (the labels stay). rows: those of each batch that this worker reads
        and gives, a slice or (its number, of so many workers); all draw the same batches, however many there are. replies: give a fourth
        array, the weights of those tokens that belong to replies (every turn but the first of a conversation).

        Raises UsageError for a batch that cannot be shared among the workers evenly.
        """
        self.sampler, self.batch_size, self.seq_len = sampler, batch_size, seq_len
        self.n_vocab, self.noise, self.replies = n_vocab, noise, replies
        if isinstance(rows, tuple):
            number, workers = rows
            if batch_size % workers:
                raise UsageError(f'--batch_size {batch_size} cannot be shared among {workers} workers: give a multiple of {workers}.')
            rows = slice(number * batch_size // workers, (number + 1) * batch_size // workers)
        self.rows = rows or slice(None)

    def next(self):
        """X [rows, seq_len] int32, labels [rows, seq_len] int32 (each position's next token), weights [rows, seq_len] float32.

        weights are 0 where the next token is not to be learnt, or where there is none: the last position of a window, and the padding
        behind a short one. Batches of turns are only as long as their longest window, in steps of ROUND, in all workers.
        """
        return self._batch([self.sampler.draw(self.seq_len) for _ in range(self.batch_size)])

    def _batch(self, drawn):
        longest = max(stop - start for (_, start, stop), _ in drawn)
        shape = [len(drawn), min(self.seq_len, -(-longest // ROUND) * ROUND) if self.sampler.padded else self.seq_len]
        own = drawn[self.rows]
        X, labels = (np.zeros([len(own), shape[1]], np.int32) for _ in range(2))
        weights, replies = (np.zeros([len(own), shape[1]], np.float32) for _ in range(2))
        for row, ((i, start, stop), counts) in enumerate(own):
            n, tokens = stop - start, self.sampler.chunks[i][start:stop]
            X[row, :n], labels[row, :n - 1], weights[row, :n - 1] = tokens, tokens[1:], counts[1:]
            if self.replies:
                replies[row, :n - 1] = (counts & self.sampler.replies[i][start:stop])[1:]
        if self.noise:
            rng = self.sampler.rng
            replaced, noise = rng.random(shape) < self.noise, rng.integers(self.n_vocab, size=shape, dtype=np.int32)
            X = np.where(replaced[self.rows], noise[self.rows], X)
        return (X, labels, weights, replies) if self.replies else (X, labels, weights)

    @property
    def state(self):
        """The random generator's state, as JSON text."""
        return json.dumps(self.sampler.rng.bit_generator.state)

    @state.setter
    def state(self, text):
        self.sampler.rng.bit_generator.state = json.loads(text)


class Validation(Batches):
    """What a validation reads, the same each time: of a small set each window once, of a larger one `count` batches of random windows.

    windows: how many those are; whole: whether they are all there are. Gives what Batches with replies does, `len` of them from `rewind` on.
    """

    def __init__(self, sampler, batch_size, count, seq_len, n_vocab):
        super().__init__(sampler, batch_size, seq_len, n_vocab, replies=sampler.replies is not None)
        most = batch_size * count
        drawn = [*itertools.islice(sampler.each(seq_len), most + 1)]
        if not drawn:
            sampler.draw(seq_len)                       # tells why
        self.whole, self.windows = len(drawn) <= most, min(len(drawn), most)
        self._drawn = sorted(drawn, key=lambda each: each[0][1] - each[0][2])                 # those of one length together, the longest first

    def __len__(self):
        return -(-self.windows // self.batch_size)

    def rewind(self):
        self.sampler.rng, self._at = np.random.default_rng(1), 0

    def next(self):
        if not self.whole:
            return super().next()
        self._at += self.batch_size
        return self._batch(self._drawn[self._at - self.batch_size:self._at])


def padding(sampler, seq_len):
    """What to tell of a dataset that fills no window of seq_len tokens: a sentence, or None."""
    if sampler.padded or sampler.longest >= seq_len:
        return None
    return f'The {sampler.name} has no text as long as a window of {seq_len} tokens: its longest has {sampler.longest}, padding follows, which does not count.'


class Ahead:
    """Batches, each drawn by a thread while the step before it runs, so that no step waits for the disk. `state` is that of the batch
    given last: what has been drawn ahead is drawn again by whoever continues from it."""

    def __init__(self, batches):
        self.batches = batches
        self._pool, self._waiting, self._state = ThreadPoolExecutor(1), None, batches.state

    def next(self):
        """Batches.next."""
        batch = (self._waiting or self._pool.submit(self.batches.next)).result()
        self._state = self.batches.state
        self._waiting = self._pool.submit(self.batches.next)
        return batch

    @property
    def state(self):
        return self._state

    @state.setter
    def state(self, text):
        self._pool.submit(int).result()                 # behind what is being drawn
        self._waiting, self._state, self.batches.state = None, text, text


def window(sampler, n_ctx, seq_len=None):
    """The length of training windows: seq_len, or by default n_ctx, or what the longest chunk (or conversation) allows."""
    if seq_len is not None and not 2 <= seq_len <= n_ctx:
        raise UsageError(f'--seq_len {seq_len} is out of range: this model sees 2 to {n_ctx} tokens (n_ctx).')
    return seq_len or min(n_ctx, sampler.longest)

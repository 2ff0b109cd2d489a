"""Text -> token chunks -> training batches.

    corpus.npz      arr_0, arr_1, ...           1-D integer arrays, a chunk of token ids each, as the original encode.py writes
    of dialogue,    owners_0, owners_1, ...     whose each token is (dialogue.Tokens.owners)
    these besides   dialogue                    JSON as bytes: {"style": "name", "speakers": ["Theo", "Mara"], "turns": [5, 4], ...}
                                                owner k is speakers[k - 1], who has turns[k - 1] turns

Texts accumulate until there are `combine` characters, which makes a chunk; until then <|endoftext|> joins them, as one token.
Where a text holds the word <|endoftext|> itself, that too is the token (and a newline behind it belongs to it), as it is where
a dialogue's blank lines end a conversation. With `legacy_endoftext` all of this is left as the original's seven ordinary tokens.

Text passes in blocks, cut only where the tokenizer cuts in any case: memory does not grow with the corpus, and the tokens are
those of the whole.
"""
import codecs
import io
import json
import os
import re
import tempfile
import tokenize
import zipfile
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import regex

from . import dialogue, files
from .console import UsageError, UserError
from .encoder import END_OF_TEXT

BLOCK = 1 << 19                                         # characters that are encoded at a time
LONGEST_BLOCK = 1 << 24                                 # a text without any white space is cut here all the same
SNIFFED = 1 << 16                                       # characters that tell a dialogue from a plain text
ROUND = 64                                              # a GPU's program is compiled once per length of a batch
REPLIES = 'replies'
END, CHUNK = object(), object()                         # between texts, and between chunks
PLAIN_END = re.compile(r'<\|endoftext\|>\n?')           # where a document of a plain text ends
NPZ_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, NotImplementedError, RuntimeError,
              zipfile.BadZipFile, zlib.error, tokenize.TokenError, OSError)        # what a damaged npz may raise


def read_text(path, encoding='utf-8'):
    """Yield (text, bytes read so far) in pieces, with every line end as a newline and without a byte order mark.

    Raises UserError with the offset of the first byte that is not of this encoding, and what to try.
    """
    try:
        b'x'.decode(encoding, 'replace')                # refuses rot13, hex, zip, ..., which are codecs too
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    except (LookupError, UnicodeError):
        raise UsageError(f'there is no encoding {encoding!r}; utf-8, utf-16, cp1252 and latin-1 are common ones.') from None
    with open(path, 'rb') as file:
        offset, pending, first = 0, 0, True             # pending: bytes of a character that the piece before began
        while True:
            data = file.read(1 << 16)                # larger strings fragment the heap, and memory grows with the corpus
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeError as error:
                at = offset - pending + getattr(error, 'start', 0)
                file.seek(0)
                start = file.read(2)
                guess = 'utf-16' if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else 'cp1252 (or latin-1, utf-16)'
                file.seek(at)
                byte = file.read(1).hex() or '(the end of the file)'
                raise UserError(f'{path}: the byte {byte} at offset {at} is not {encoding}; try --encoding {guess}.') from None
            offset += len(data)
            pending = len(decoder.getstate()[0])
            if first and text:
                text, first = text.removeprefix('\ufeff'), False
            if text:
                yield text, offset
            if not data:
                return


class Corpus:
    """What lies at a path (a file, a folder, a glob; text and npz mixed), as a stream of tokens.

    `enc` is the vocabulary with the special tokens that the style of the conversations needs. `dialogue` says, once the stream has
    been read, what is known of them: {"style", "speakers", "turns", ...}, or None for plain text.
    """

    def __init__(self, enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None, plain=False):
        """progress(n): called with the number of bytes read since the last call. plain: take no notice of who speaks."""
        self.combine, self.encoding = combine, encoding
        self.paths = files.expand(path)
        self.eot = None if legacy_endoftext else enc.eot
        self.progress = progress or (lambda n: None)
        self.style = None if plain or self.eot is None else self._sniff()
        self.enc = enc if self.style is None else enc.extended(self.style.special_tokens)
        self._speakers, self._turns = {}, []            # {name: its index}, and how many turns each has
        self._last_time = None                          # of the newest message, where the style writes times
        self._speaking = 0                              # the owner of the last token

    @property
    def size(self):
        """Bytes on the disk."""
        return sum(os.path.getsize(path) for path in self.paths)

    @property
    def dialogue(self):
        if self.style is None:
            return None
        known = {'style': self.style.name, 'speakers': list(self._speakers), 'turns': self._turns}
        if self.style.special_tokens:
            known['special_tokens'] = {name: self.enc.special_tokens[name] for name in self.style.special_tokens}
        if self._last_time is not None:
            known['last_time'] = self._last_time
        return known

    def _sniff(self):
        """The one style that all files are written in, or None."""
        styles = set()
        for path in self.paths:
            if path.endswith('.npz'):
                styles.add((read_dialogue(path) or {}).get('style'))
            else:
                start = next(read_text(path, self.encoding), ('', 0))[0][:SNIFFED]
                if start.strip():
                    style = dialogue.sniff(start)
                    styles.add(style and style.name)
        return dialogue.STYLES.get(styles.pop()) if len(styles) == 1 else None

    def _texts(self):
        """Yield blocks of text and, between them, END and CHUNK; the Tokens of npz files as they are."""
        held, gathered = '', 0                          # text not yet yielded; characters since the last CHUNK
        wanted = BLOCK                                  # characters to hold before looking for a cut
        cuts = (self.style or dialogue.Style).cuts
        for path in self.paths:
            if path.endswith('.npz'):
                if gathered:
                    yield held
                    yield CHUNK
                    held, gathered = '', 0
                for tokens in self._stored(path):
                    yield tokens
                    yield CHUNK
                self.progress(os.path.getsize(path))
                continue
            before, length = 0, 0
            for text, offset in read_text(path, self.encoding):
                self.progress(offset - before)
                before, length = offset, length + len(text)
                held += text
                while len(held) > wanted:
                    cut = _cut(held, BLOCK, cuts)
                    if cut:
                        yield held[:cut]
                        held, wanted = held[cut:], BLOCK
                    else:                               # nowhere: look again when there is twice as much
                        wanted = min(2 * len(held), LONGEST_BLOCK)
            gathered += length
            if gathered >= self.combine:
                yield held
                yield CHUNK
                held, gathered = '', 0
            elif length and self.eot is None:
                held += END_OF_TEXT
                gathered += len(END_OF_TEXT)
            elif length:
                yield held
                yield END
                held = ''
        if gathered:
            yield held
            yield CHUNK

    def _stored(self, path):
        """The chunks of an npz as Tokens."""
        known = read_dialogue(path) if self.style else None
        for name, i in (known or {}).get('special_tokens', {}).items():
            if self.enc.special_tokens.get(name) != i:
                raise UserError(f'{path}: {name} is token {i} there and {self.enc.special_tokens.get(name)} in this vocabulary; '
                                'encode the text again with --model_name of the model to be trained.')
        names, turns, last_time = (known['speakers'], known['turns'], known.get('last_time')) if known else ([], [], None)
        for ids, owners in read_npz(path, self.enc.n_vocab):
            if known and owners is not None and len(owners) and max(-int(owners.min()), int(owners.max())) > len(names):
                raise UserError(f'{path}: a token belongs to speaker {max(-int(owners.min()), int(owners.max()))} of {len(names)}; make it again with encode.py.')
            if known and owners is None:
                owners = np.zeros(len(ids), np.int32)
            yield dialogue.Tokens(ids, owners if known else None, names, turns, last_time)
            turns = [0] * len(names)                    # counted once

    def _encode(self, text):
        """A block of text -> Tokens."""
        if self.style is not None:
            return self.style.tokenize(self.enc, text)
        ids = []
        if self.eot is None:
            ids = self.enc.encode(text)
        else:
            for i, part in enumerate(PLAIN_END.split(text)):
                if i:
                    ids.append(self.eot)
                ids += self.enc.encode(part)
        return dialogue.Tokens(np.asarray(ids, np.int32), None, [], [], None)

    def _merged(self, tokens):
        """Tokens of a block -> (ids, owners), its speakers numbered as in the whole corpus."""
        for name, turns in zip(tokens.names, tokens.turns):
            if self._speakers.setdefault(name, len(self._speakers)) == len(self._turns):
                self._turns.append(0)
            self._turns[self._speakers[name]] += turns
        if tokens.last_time is not None:
            self._last_time = max(tokens.last_time, tokens.last_time if self._last_time is None else self._last_time)
        if tokens.owners is None:
            return tokens.ids, None
        owners = tokens.owners.astype(np.int32)
        numbers = np.asarray([0, *(self._speakers[name] + 1 for name in tokens.names)], np.int32)
        continues = owners == dialogue.CONTINUES
        owners = np.where(continues, self._speaking, np.sign(owners) * numbers[np.where(continues, 0, np.abs(owners))])
        if len(owners):
            self._speaking = abs(int(owners[-1]))
        return tokens.ids, owners.astype(np.int32)

    def pieces(self):
        """Yield (token ids, owners or None) piece by piece, and CHUNK behind each chunk's last."""
        workers = os.cpu_count() or 1
        last = None                                     # the last id yielded
        ends = {self.eot} if self.style is None else self.style.stop_ids(self.enc)
        with ThreadPoolExecutor(workers) as pool:
            waiting = deque()
            texts = self._texts()
            try:
                while True:
                    while texts is not None and len(waiting) < 2 * workers:
                        event = next(texts, None)
                        if event is None:
                            texts = None
                        else:
                            waiting.append(pool.submit(self._encode, event) if isinstance(event, str) else event)
                    if not waiting:
                        return
                    event = waiting.popleft()
                    if event is CHUNK:
                        self._speaking = 0
                        yield CHUNK
                    elif event is END:
                        self._speaking = 0
                        if last not in ends:            # a corpus whose text ends in <|endoftext|> needs no second one
                            last = self.eot
                            yield np.asarray([self.eot], np.int32), None if self.style is None else np.zeros(1, np.int32)
                    else:
                        ids, owners = self._merged(event if isinstance(event, dialogue.Tokens) else event.result())
                        if len(ids):
                            last = ids[-1]
                            yield ids, owners
            finally:
                for event in waiting:
                    if hasattr(event, 'cancel'):
                        event.cancel()


    def chunks(self):
        """Yield (token ids, owners or None) of each chunk."""
        gathered = []
        for piece in self.pieces():
            if piece is not CHUNK:
                gathered.append(piece)
            elif gathered:
                ids, owners = zip(*gathered)
                yield np.concatenate(ids), None if self.style is None else np.concatenate(owners)
                gathered = []


def _cut(text, size, cuts):
    """Where to cut the first `size` characters or so of a text off it, so that no token changes; 0 when it must grow first.

    cuts: patterns, best first, that match the empty string where a text may be cut, searching backwards.
    """
    for pattern in cuts:
        found = pattern.search(text, 0, size)
        if found and found.start():
            return found.start()
    for pattern in cuts:                                # nowhere in the block: the next place behind it
        found = regex.compile(pattern.pattern.removeprefix('(?r)')).search(text, size)
        if found and found.start() < len(text):
            return found.start()
    return LONGEST_BLOCK if len(text) > LONGEST_BLOCK else 0


class Loaded(NamedTuple):
    """A dataset in memory. chunks: [1-D int32 array of ids]; owners: the same shapes (dialogue.Tokens.owners), or None for plain
    text; dialogue: what Corpus.dialogue says, or None; enc: the vocabulary, with the special tokens of the style."""
    chunks: list
    owners: list | None
    dialogue: dict | None
    enc: object

    def sampler(self, seed=None, windows='tokens', learn_from=None, max_turns=0):
        """The Sampler of random slices (windows 'tokens') or the TurnSampler of whole turns ('turns').

        learn_from: as in `learnt`; None: everything counts. Raises UserError where that needs conversations and this is plain text,
        and for a speaker who is not there, naming those who are.
        """
        if (windows == 'turns' or learn_from) and self.owners is None:
            raise UserError(f'{"--learn_from" if learn_from else "--windows turns"} needs to know who speaks, but the dataset is plain text or was packed '
                            'without it: encode conversations again with encode.py (README shows how they are written).')
        if learn_from and learn_from != REPLIES and learn_from not in self.dialogue['speakers']:
            raise UserError(f'nobody in the dataset is called {learn_from}; there are {", ".join(ranked(self.dialogue)[:20])}.')
        counts = [learnt(owners, learn_from, self.dialogue['speakers']) for owners in self.owners] if learn_from else None
        if windows == 'turns':
            return TurnSampler(self.chunks, self.owners, seed, counts, max_turns)
        return Sampler(self.chunks, seed, counts)


def ranked(known):
    """The speakers of a Corpus.dialogue as a chat takes them: most talkative first; of two seats, the second first."""
    if dialogue.get_style(known['style']).speakers:
        return known['speakers'][::-1]
    return [name for _, name in sorted(zip(known['turns'], known['speakers']), key=lambda pair: -pair[0])]


def remembered(known, learn_from=None):
    """A Corpus.dialogue as a run keeps it (checkpoint.write_dialogue), with whose words were learnt."""
    return ({'style': known['style'], 'speakers': ranked(known)} | ({'learnt': learn_from} if learn_from not in (None, REPLIES) else {})
            | ({'last_time': known['last_time']} if 'last_time' in known else {}))


def load_dataset(enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None):
    """A file, folder or glob, text and npz mixed -> [chunk], 1-D int32 arrays. Raises UserError when there are no tokens."""
    return load_corpus(enc, path, combine, encoding, legacy_endoftext, progress).chunks


def load_corpus(enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None):
    """load_dataset's chunks with what is known of the conversations in them: a Loaded."""
    corpus = Corpus(enc, path, combine, encoding, legacy_endoftext, progress)
    chunks = list(corpus.chunks())
    if not chunks:
        raise UserError(f'{path} holds no text.')
    ids, owners = map(list, zip(*chunks))
    return Loaded(ids, None if corpus.style is None else owners, corpus.dialogue, corpus.enc)


# ---- npz

def write_npz(path, corpus):
    """Write a Corpus as a compressed npz, whole or not at all; memory does not grow with it. Returns (tokens, chunks).

    Two runs on the same input write the same bytes.
    """
    n_tokens = n_chunks = 0
    with files.whole(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive, \
            tempfile.TemporaryFile(dir=os.path.dirname(path) or '.') as ids, tempfile.TemporaryFile(dir=os.path.dirname(path) or '.') as owners:
        for piece in corpus.pieces():
            if piece is not CHUNK:
                for spool, array in zip((ids, owners), piece):
                    if array is not None:
                        spool.write(array.astype(np.int32).tobytes())
                continue
            length = ids.tell() // 4
            if not length:
                continue
            _write_member(archive, f'arr_{n_chunks}', np.uint16 if corpus.enc.n_vocab <= 1 << 16 else np.int32, ids)
            if corpus.style is not None:
                _write_member(archive, f'owners_{n_chunks}', np.int16 if len(corpus.dialogue['speakers']) < 1 << 15 else np.int32, owners)
            n_tokens, n_chunks = n_tokens + length, n_chunks + 1
        if not n_tokens:
            raise UserError('there is no text in what was given: nothing was written.')
        if corpus.style is not None:
            data = json.dumps(corpus.dialogue, ensure_ascii=False).encode('utf-8', 'replace')
            _write_member(archive, 'dialogue', np.uint8, io.BytesIO(data), length=len(data), stored=np.uint8)
    return n_tokens, n_chunks


def _write_member(archive, name, dtype, spool, length=None, stored=np.int32):
    """A spool of `stored` numbers -> the member name.npy of numbers of `dtype`; the spool is empty then."""
    size = np.dtype(stored).itemsize
    length = spool.tell() // size if length is None else length
    member = zipfile.ZipInfo(f'{name}.npy')
    member.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(member, 'w', force_zip64=True) as npy:
        np.lib.format.write_array_header_1_0(npy, {'descr': np.lib.format.dtype_to_descr(np.dtype(dtype)), 'fortran_order': False, 'shape': (length,)})
        spool.seek(0)
        while block := spool.read(size << 18):
            npy.write(np.frombuffer(block, stored).astype(dtype).tobytes())
    spool.seek(0)
    spool.truncate()


def read_npz(path, n_vocab):
    """Yield (ids, owners or None) of an npz, 1-D int32 arrays, whatever the members' names. Raises UserError for anything else, pickles above all."""
    try:
        with np.load(path, allow_pickle=False) as npz:
            known = 'dialogue' in npz.files
            for name in npz.files:
                if known and (name == 'dialogue' or name.startswith('owners_')):
                    continue
                ids = _row(npz, name, path)
                if len(ids) and (ids.min() < 0 or ids.max() >= n_vocab):
                    raise UserError(f'{path}: {name} holds the token {ids.max() if ids.min() >= 0 else ids.min()}, but this vocabulary '
                                    f'has {n_vocab}; encode the text again with --model_name of the model to be trained.')
                beside = 'owners_' + name.removeprefix('arr_')
                owners = _row(npz, beside, path) if known and beside in npz.files else None
                if owners is not None and len(owners) != len(ids):
                    raise UserError(f'{path}: {name} has {len(ids)} tokens and {beside} {len(owners)}; make the file again with encode.py.')
                if len(ids):
                    yield ids.astype(np.int32), owners
    except UserError:
        raise
    except NPZ_DAMAGE as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise UserError(f'{path} is no npz of token arrays, or it is damaged ({str(error).splitlines()[0][:100] if str(error) else "no data"}); '
                        'make it again with encode.py.') from None


def _row(npz, name, path):
    """A member that must be a row of whole numbers."""
    array = npz[name]
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in 'iu':
        raise UserError(f'{path}: {name} is no row of token ids; make the file again with encode.py.')
    return array


def read_dialogue(path):
    """What write_npz noted of an npz's conversations, or None."""
    try:
        with np.load(path, allow_pickle=False) as npz:
            if 'dialogue' not in npz.files:
                return None
            known = json.loads(npz['dialogue'].astype(np.uint8).tobytes())
        fits = (known['style'] in dialogue.STYLES and all(isinstance(name, str) for name in known['speakers'])
                and isinstance(known.get('last_time', 0), int) and len(known['turns']) == len(known['speakers']) and all(isinstance(n, int) for n in known['turns'])
                and all(isinstance(i, int) for i in known.get('special_tokens', {}).values()))
        return known if fits else None
    except NPZ_DAMAGE as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        return None


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

    def __init__(self, chunks, seed=None, counts=None):
        """counts: for each chunk which tokens are learnt, [n] bool; None: all are."""
        kept = [i for i, chunk in enumerate(chunks) if len(chunk) >= 2]         # a token and the one that follows
        self.chunks = [chunks[i] for i in kept]
        self.counts = None if counts is None else [counts[i] for i in kept]
        self.total_size = sum(len(chunk) for chunk in chunks)
        if not self.chunks:
            raise UserError(f'the dataset has {self.total_size} tokens, too few to learn from: add text.')
        if self.counts is not None and not any(count[1:].any() for count in self.counts):
            raise UserError('nothing in the dataset is to be learnt: choose another --learn_from.')
        self.longest = max(len(chunk) for chunk in self.chunks)
        self.rng = np.random.default_rng(seed)
        self._length, self._ends = None, None

    def place(self, length):
        """Where a random slice of `length` tokens, or fewer, lies: (chunk's index, start, stop)."""
        if length != self._length:
            starts = [max(1, len(chunk) - length + 1) for chunk in self.chunks]
            self._length, self._ends = length, np.cumsum(starts)
        index = int(self.rng.integers(self._ends[-1]))
        i = int(np.searchsorted(self._ends, index, side='right'))
        start = index - (int(self._ends[i - 1]) if i else 0)
        return i, start, min(start + length, len(self.chunks[i]))

    def sample(self, length):
        """A 1-D array of `length` token ids, or fewer where the chunk drawn is shorter."""
        i, start, stop = self.place(length)
        return self.chunks[i][start:stop]

    def example(self, length):
        """sample's tokens, and for each whether it is learnt; slices in which nothing is are passed over."""
        for _ in range(100000):
            i, start, stop = self.place(length)
            counts = np.ones(stop - start, bool) if self.counts is None else self.counts[i][start:stop]
            if counts[1:].any():
                return self.chunks[i][start:stop], counts
        raise UserError(f'windows of {length} tokens hardly ever have a word to learn in them: train with --windows turns, or a longer --seq_len.')


class TurnSampler(Sampler):
    """Random replies, each equally likely: a turn with as many whole turns in front of it as fit. No window crosses a conversation.

    A conversation that fits whole begins with the token that stands in front of it (<|endoftext|>, <bos>). A turn longer than the
    window is cut at its end.
    """
    padded = True

    def __init__(self, chunks, owners, seed=None, counts=None, max_turns=0):
        """owners: dialogue.Tokens.owners of each chunk. counts: as for Sampler; then only turns with learnt words are drawn.
        max_turns: turns in front of the reply at most; 0: all that fit."""
        super().__init__(chunks, seed, counts)
        kept = [(chunk, owner) for chunk, owner in zip(chunks, owners) if len(chunk) >= 2]
        self.max_turns = max_turns
        self._turns = [Turns(owner) for _, owner in kept]
        self._openings = [np.maximum.accumulate(np.where(turns.opens, np.arange(len(turns.starts)), 0)) for turns in self._turns]
        examples = []
        for i, turns in enumerate(self._turns):
            if self.counts is None:
                wanted = ~turns.opens
            else:
                total = np.concatenate([[0], np.cumsum(self.counts[i])])
                wanted = total[turns.stops] > total[turns.starts + 1]
            examples += [np.stack([np.full(wanted.sum(), i), np.flatnonzero(wanted)], axis=1)]
        self._examples = np.concatenate(examples)               # [replies, 2]: chunk, turn
        if not len(self._examples):
            raise UserError('no conversation in the dataset has a reply: train with --windows tokens.')
        self.longest = max(int((turns.stops - turns.starts[openings]).max(initial=0)) for turns, openings in zip(self._turns, self._openings)) + 2

    def place(self, length):
        i, t = self._examples[self.rng.integers(len(self._examples))]
        turns, opening = self._turns[i], self._openings[i][t]
        stop = min(turns.stops[t] + 1, len(self.chunks[i]))     # with the token by which the turn is seen to end
        if stop - turns.starts[t] > length:
            return int(i), int(turns.starts[t]), int(turns.starts[t]) + length
        first = max(opening, int(np.searchsorted(turns.starts, stop - length)), t - self.max_turns if self.max_turns else 0)
        start = int(turns.starts[first])
        if first == opening and start and stop - start < length:
            start -= 1
        return int(i), start, int(stop)

    def __len__(self):
        """The number of replies."""
        return len(self._examples)


class Batches:
    """Endless training batches; `state` is all there is to continue exactly where another left off."""

    def __init__(self, sampler, batch_size, seq_len, n_vocab, noise=0.0):
        """noise: the share of input tokens replaced by random ones (the labels stay)."""
        self.sampler, self.batch_size, self.seq_len = sampler, batch_size, seq_len
        self.n_vocab, self.noise = n_vocab, noise

    def next(self):
        """X [batch, seq_len] int32, labels [batch, seq_len] int32 (each position's next token), weights [batch, seq_len] float32.

        weights are 0 where the next token is not to be learnt, or where there is none: the last position of a window, and the padding
        behind a short one. Batches of turns are only as long as their longest window, in steps of ROUND.
        """
        rows = [self.sampler.example(self.seq_len) for _ in range(self.batch_size)]
        longest = max(len(tokens) for tokens, _ in rows)
        shape = [self.batch_size, min(self.seq_len, -(-longest // ROUND) * ROUND) if self.sampler.padded else self.seq_len]
        X, labels, weights = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        for row, (tokens, counts) in enumerate(rows):
            n = len(tokens)
            X[row, :n], labels[row, :n - 1], weights[row, :n - 1] = tokens, tokens[1:], counts[1:]
        if self.noise:
            rng = self.sampler.rng
            X = np.where(rng.random(shape) < self.noise, rng.integers(self.n_vocab, size=shape, dtype=np.int32), X)
        return X, labels, weights

    @property
    def state(self):
        """The random generator's state, as JSON text."""
        return json.dumps(self.sampler.rng.bit_generator.state)

    @state.setter
    def state(self, text):
        self.sampler.rng.bit_generator.state = json.loads(text)


def window(sampler, n_ctx, seq_len=None):
    """The length of training windows: seq_len, or by default n_ctx, or what the longest chunk (or conversation) allows."""
    if seq_len is not None and not 2 <= seq_len <= n_ctx:
        raise UsageError(f'--seq_len {seq_len} is out of range: this model sees 2 to {n_ctx} tokens (n_ctx).')
    return seq_len or min(n_ctx, sampler.longest)

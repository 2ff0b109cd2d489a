"""Text -> token chunks -> training batches.

    corpus.npz      arr_0, arr_1, ...: 1-D integer arrays, a chunk each, as the original encode.py writes and the forks read.
                    The zip's comment, which other readers never look at, holds what is known of the conversations:
                    {"style": "name", "speakers": ["Theo", "Mara"]}

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
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import regex

from . import dialogue, files
from .console import UsageError, UserError
from .encoder import END_OF_TEXT

BLOCK = 1 << 19                                         # characters that are encoded at a time
LONGEST_BLOCK = 1 << 24                                 # a text without any white space is cut here all the same
SNIFFED = 1 << 16                                       # characters that tell a dialogue from a plain text
END, CHUNK = object(), object()                         # between texts, and between chunks

# A newline in front of a word is a word of its own, and a single blank between two words starts the second: cuts that change
# no token. Not behind other white space or an <|endoftext|>, with which they belong together. (?r): the last such place.
CUTS = (regex.compile(r'(?r)(?<=[^\s>])\n(?=\S)'), regex.compile(r'(?r)(?<=[^\s>]) (?=\S)'))


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

    `dialogue` says, once the stream has been read, how its conversations look: {"style", "speakers"}, or None for plain text.
    """

    def __init__(self, enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None):
        """progress(n): called with the number of bytes read since the last call."""
        self.enc, self.combine, self.encoding = enc, combine, encoding
        self.paths = files.expand(path)
        self.eot = None if legacy_endoftext else enc.eot
        self.progress = progress or (lambda n: None)
        self.style = self._sniff()
        self.speakers = Counter()

    @property
    def size(self):
        """Bytes on the disk."""
        return sum(os.path.getsize(path) for path in self.paths)

    @property
    def dialogue(self):
        if self.style is None:
            return None
        return {'style': self.style.name, 'speakers': [name for name, _ in self.speakers.most_common()]}

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
        """Yield blocks of text and, between them, END and CHUNK; token arrays of npz files as they are."""
        held, gathered = '', 0                          # text not yet yielded; characters since the last CHUNK
        wanted = BLOCK                                  # characters to hold before looking for a cut
        for path in self.paths:
            if path.endswith('.npz'):
                if gathered:
                    yield held
                    yield CHUNK
                    held, gathered = '', 0
                known = read_dialogue(path)
                if known and self.style:
                    self.speakers.update({name: len(known['speakers']) - i for i, name in enumerate(known['speakers'])})
                for tokens in read_npz(path, self.enc.n_vocab):
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
                    cut = _cut(held, BLOCK)
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

    def _encode(self, text):
        """A block of text -> (array of ids, Counter of speakers)."""
        speakers = dialogue.count_speakers(self.style, text) if self.style else Counter()
        if self.eot is None:
            return np.asarray(self.enc.encode(text), np.int32), speakers
        ids = []
        for i, part in enumerate(self._ends.split(text)):
            if i:
                ids.append(self.eot)
            ids += self.enc.encode(part)
        return np.asarray(ids, np.int32), speakers

    @property
    def _ends(self):
        """The places in a text where <|endoftext|> belongs."""
        if self.style is None:
            return re.compile(r'<\|endoftext\|>\n?')
        if self.style.name == 'dialogpt':
            return re.compile(r'<\|endoftext\|>(?:\n(?! ))?')
        return re.compile(r'(?:(?<=\n)\n+)?<\|endoftext\|>\n*|(?<=\n)\n+')

    def pieces(self):
        """Yield arrays of token ids, and CHUNK behind each chunk's last."""
        workers = os.cpu_count() or 1
        last = None                                     # the last id yielded
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
                        yield CHUNK
                    elif event is END:
                        if last != self.eot:            # a corpus whose text ends in <|endoftext|> needs no second one
                            last = self.eot
                            yield np.asarray([self.eot], np.int32)
                    else:
                        tokens = event
                        if not isinstance(event, np.ndarray):
                            tokens, speakers = event.result()
                            self.speakers.update(speakers)
                        if len(tokens):
                            last = tokens[-1]
                            yield tokens
            finally:
                for event in waiting:
                    if hasattr(event, 'cancel'):
                        event.cancel()

    def chunks(self):
        """Yield each chunk as one array."""
        gathered = []
        for piece in self.pieces():
            if piece is not CHUNK:
                gathered.append(piece)
            elif gathered:
                yield np.concatenate(gathered)
                gathered = []


def _cut(text, size):
    """Where to cut the first `size` characters or so of a text off it, so that no token changes; 0 when it must grow first."""
    for pattern in CUTS:
        found = pattern.search(text, 0, size)
        if found:
            return found.start()
    for pattern in CUTS:                                # nowhere in the block: the next place behind it
        found = regex.compile(pattern.pattern.removeprefix('(?r)')).search(text, size)
        if found:
            return found.start()
    return LONGEST_BLOCK if len(text) > LONGEST_BLOCK else 0


def load_dataset(enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None):
    """A file, folder or glob, text and npz mixed -> [chunk], 1-D int32 arrays. Raises UserError when there are no tokens."""
    return load_corpus(enc, path, combine, encoding, legacy_endoftext, progress)[0]


def load_corpus(enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None):
    """load_dataset's chunks, and what is known of the conversations in them: ([chunk], dialogue or None)."""
    corpus = Corpus(enc, path, combine, encoding, legacy_endoftext, progress)
    chunks = list(corpus.chunks())
    if not chunks:
        raise UserError(f'{path} holds no text.')
    return chunks, corpus.dialogue


# ---- npz

def write_npz(path, corpus):
    """Write a Corpus as a compressed npz, whole or not at all; memory does not grow with it. Returns (tokens, chunks).

    Two runs on the same input write the same bytes.
    """
    dtype = np.uint16 if corpus.enc.n_vocab <= 1 << 16 else np.int32
    n_tokens = n_chunks = 0
    with files.whole(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive, \
            tempfile.TemporaryFile(dir=os.path.dirname(path) or '.') as spool:
        for piece in corpus.pieces():
            if piece is not CHUNK:
                spool.write(piece.astype(dtype).tobytes())
                continue
            length = spool.tell() // dtype().itemsize
            if not length:
                continue
            member = zipfile.ZipInfo(f'arr_{n_chunks}.npy')
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, 'w', force_zip64=True) as npy:
                np.lib.format.write_array_header_1_0(npy, {'descr': np.lib.format.dtype_to_descr(np.dtype(dtype)),
                                                           'fortran_order': False, 'shape': (length,)})
                spool.seek(0)
                shutil.copyfileobj(spool, npy, 1 << 20)
            spool.seek(0)
            spool.truncate()
            n_tokens, n_chunks = n_tokens + length, n_chunks + 1
        if not n_tokens:
            raise UserError('there is no text in what was given: nothing was written.')
        if corpus.dialogue:
            known = corpus.dialogue
            while len(comment := json.dumps(known, ensure_ascii=False).encode()) >= 1 << 16:     # a zip comment's limit
                known = known | {'speakers': known['speakers'][:len(known['speakers']) // 2]}
            archive.comment = comment
    return n_tokens, n_chunks


def read_npz(path, n_vocab):
    """Yield the 1-D int32 arrays of an npz, whatever its members' names. Raises UserError for anything else, pickles above all."""
    try:
        with np.load(path, allow_pickle=False) as npz:
            for name in npz.files:
                tokens = npz[name]
                if not isinstance(tokens, np.ndarray) or tokens.ndim != 1 or tokens.dtype.kind not in 'iu':
                    raise UserError(f'{path}: {name} is no row of token ids; make the file again with encode.py.')
                if len(tokens) and (tokens.min() < 0 or tokens.max() >= n_vocab):
                    raise UserError(f'{path}: {name} holds the token {tokens.max() if tokens.min() >= 0 else tokens.min()}, but this vocabulary '
                                    f'has {n_vocab}; encode the text again with --model_name of the model to be trained.')
                if len(tokens):
                    yield tokens.astype(np.int32)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, NotImplementedError, RuntimeError,
            zipfile.BadZipFile, zlib.error, tokenize.TokenError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise UserError(f'{path} is no npz of token arrays, or it is damaged ({str(error).splitlines()[0][:100] if str(error) else "no data"}); '
                        'make it again with encode.py.') from None


def read_dialogue(path):
    """What write_npz noted of an npz's conversations, or None."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = json.loads(archive.comment or b'null')
        return found if found and found['style'] in dialogue.STYLES and all(isinstance(name, str) for name in found['speakers']) else None
    except (ValueError, KeyError, TypeError, NotImplementedError, RecursionError, zipfile.BadZipFile):
        return None


# ---- batches

class Sampler:
    """Random slices of the chunks: none crosses a chunk, and every start is equally likely.

    A chunk shorter than the slice asked for has one start, 0, and gives all it has.
    """

    def __init__(self, chunks, seed=None):
        self.chunks = [chunk for chunk in chunks if len(chunk) >= 2]            # a token and the one that follows
        self.total_size = sum(len(chunk) for chunk in chunks)
        if not self.chunks:
            raise UserError(f'the dataset has {self.total_size} tokens, too few to learn from: add text.')
        self.longest = max(len(chunk) for chunk in self.chunks)
        self.rng = np.random.default_rng(seed)
        self._length, self._ends = None, None

    def sample(self, length):
        """A 1-D array of `length` token ids, or fewer where the chunk drawn is shorter."""
        if length != self._length:
            starts = [max(1, len(chunk) - length + 1) for chunk in self.chunks]
            self._length, self._ends = length, np.cumsum(starts)
        index = int(self.rng.integers(self._ends[-1]))
        i = int(np.searchsorted(self._ends, index, side='right'))
        start = index - (int(self._ends[i - 1]) if i else 0)
        return self.chunks[i][start:start + length]


class Batches:
    """Endless training batches; `state` is all there is to continue exactly where another left off."""

    def __init__(self, sampler, batch_size, seq_len, n_vocab, noise=0.0):
        """noise: the share of input tokens replaced by random ones (the labels stay)."""
        self.sampler, self.batch_size, self.seq_len = sampler, batch_size, seq_len
        self.n_vocab, self.noise = n_vocab, noise

    def next(self):
        """X [batch, seq_len] int32, labels [batch, seq_len] int32 (each position's next token), weights [batch, seq_len] float32.

        weights are 0 where there is no next token to learn: the last position of a window, and the padding behind a short one.
        """
        shape = [self.batch_size, self.seq_len]
        X, labels, weights = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        for row in range(self.batch_size):
            tokens = self.sampler.sample(self.seq_len)
            n = len(tokens)
            X[row, :n], labels[row, :n - 1], weights[row, :n - 1] = tokens, tokens[1:], 1
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
    """The length of training windows: seq_len, or by default n_ctx, or what the longest chunk allows."""
    if seq_len is not None and not 2 <= seq_len <= n_ctx:
        raise UsageError(f'--seq_len {seq_len} is out of range: this model sees 2 to {n_ctx} tokens (n_ctx).')
    return seq_len or min(n_ctx, sampler.longest)

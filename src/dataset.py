"""Text -> token chunks.

    corpus.npz      arr_0, arr_1, ...           1-D integer arrays, a chunk of token ids each, as the original encode.py writes
    of dialogue,    owners_0, owners_1, ...     whose each token is (dialogue.Tokens.owners)
    these besides   dialogue                    JSON as bytes: {"style": "name", "speakers": ["Theo", "Mara"], "turns": [5, 4], ...}
                                                owner k is speakers[k - 1], who has turns[k - 1] turns
    comment         of the zip: vocabulary and its Encoder.fingerprint

Texts accumulate until there are `combine` characters, which makes a chunk; until then <|endoftext|> joins them, as one token.
Where a text holds the word <|endoftext|> itself, that too is the token (and a newline behind it belongs to it), as it is where
a dialogue's blank lines end a conversation. With `legacy_endoftext` all of this is left as the original's seven ordinary tokens.

Text passes in blocks, cut only where the tokenizer cuts in any case: memory does not grow with the corpus, and the tokens are
those of the whole. Files of up to IN_MEMORY bytes become chunks in memory; larger ones stay on the disk (shards.py), where a
chunk is sliced just the same.
"""
import codecs
import contextlib
import copy
import hashlib
import io
import itertools
import json
import os
import re
import shlex
import tempfile
import zipfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import regex

from . import dialogue, files, readers, shards
from .batches import REPLIES, Learnt, Sampler, Turns, TurnSampler, learnt, whole_conversations
from .console import UsageError, UserError
from .encoder import END_OF_TEXT
from .source import DAMAGE, Export, check_encoding

BLOCK = 1 << 17                                         # characters that are encoded at a time
LONGEST_BLOCK = 1 << 24                                 # a text without any white space is cut here all the same
LOOKED_AT = 10_000_000                                  # tokens, for how long turns are
SNIFFED = 1 << 16                                       # characters that tell a dialogue from a plain text
LOOKED_INTO, SURE = 20, 0.9                             # files that may be exports, and the score from which one is
IN_MEMORY = 64 << 20                                    # bytes of the files of a corpus that is read into memory
UNIT = 1 << 16                                          # tokens that are held out together where a corpus stays on the disk
LOOKS, LOOK = 1000, 256                                 # places of a dataset that tell it from another, and tokens there
END, CHUNK = object(), object()                         # between texts, and between chunks
PLAIN_END = re.compile(r'<\|endoftext\|>\n?')           # where a document of a plain text ends


def read_text(path, encoding='utf-8'):
    """Yield (text, bytes read so far) in pieces, with every line end as a newline and without a byte order mark.

    Raises UserError with the offset of the first byte that is not of this encoding, and what to try.
    """
    check_encoding(encoding)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
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
                if start in (b'PK', b'\x1f\x8b'):
                    raise UserError(f'{path} is an archive, not a text: '
                                    f'python import_chats.py {shlex.quote(path)} --out corpus.txt makes one of the chats in it.') from None
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


def _export_format(path):
    """What import_chats.py surely takes a file for, or None."""
    with contextlib.suppress(UserError, *DAMAGE):
        for source in Export(path).sources.values():
            score, _, format = readers.closest(source)[0]
            return format if score >= SURE and format != 'plain' else None


class Corpus:
    """What lies at a path (a file, a folder, a glob; text and npz mixed), as a stream of tokens.

    `enc` is the vocabulary with the special tokens that the style of the conversations needs. `dialogue` says, once the stream has
    been read, what is known of them: {"style", "speakers", "turns", ...}, or None for plain text.
    """

    def __init__(self, enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None, plain=False, say=None):
        """progress(n): called with the number of bytes read since the last call. plain: take no notice of who speaks. say(sentence):
        called with what the user should know."""
        self.combine, self.encoding = combine, encoding
        self.named, self.paths = path, files.expand(path)
        self.size = sum(os.path.getsize(path) for path in self.paths)           # bytes
        self.large = self.size > IN_MEMORY              # whether npz files are left on the disk
        self.eot = None if legacy_endoftext else enc.eot
        self.progress, self.say = progress or (lambda n: None), say or (lambda sentence: None)
        self._scratch = shards.Scratch(self.paths[0])
        self.style = None if plain or self.eot is None else self._sniff()
        self.enc = enc if self.style is None else enc.extended(self.style.special_tokens)
        self._speakers, self._turns = {}, []            # {name: its index}, and how many turns each has
        self._last_time = None                          # of the newest message, where the style writes times
        self._speaking = 0                              # the owner of the last token

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
        """The one style that all files are written in, or None. A file that is rather for import_chats.py is told."""
        styles, looked = set(), 0
        for path in self.paths:
            if path.endswith('.npz'):
                styles.add((read_dialogue(path) or {}).get('style'))
            else:
                start = next(read_text(path, self.encoding), ('', 0))[0][:SNIFFED]
                if start.strip():
                    style = dialogue.sniff(start)
                    styles.add(style and style.name)
                    if style is None and looked < LOOKED_INTO:
                        looked = LOOKED_INTO if self._told_as_export(path) else looked + 1
        return dialogue.STYLES.get(styles.pop()) if len(styles) == 1 else None

    def _told_as_export(self, path):
        """Whether a file is an export; if so it is told what makes conversations of it."""
        format = _export_format(path)
        if format:
            self.say(f'{path} looks like an export of {format}, which is learned as the text that it is: '
                     f'python import_chats.py {shlex.quote(self.named)} --out corpus.txt makes conversations of it.')
        return bool(format)

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
        """The chunks of an npz as Tokens: arrays, or of a large corpus shards.Rows."""
        known = read_dialogue(path) if self.style else None
        for name, i in (known or {}).get('special_tokens', {}).items():
            if self.enc.special_tokens.get(name) != i:
                raise UserError(f'{path}: {name} is token {i} there and {self.enc.special_tokens.get(name)} in this vocabulary; '
                                'encode the text again with --model_name of the model to be trained.')
        names, turns, last_time = (known['speakers'], known['turns'], known.get('last_time')) if known else ([], [], None)
        whose = _Whose(path, names) if known else None
        for ids, owners in read_npz(path, self.enc, whose, self._scratch if self.large else None, self.progress, self.say):
            if not known:
                owners = None
            elif owners is None and self.large:
                owners = copy.copy(ids)
                owners.meaning = np.zeros_like
            elif owners is None:
                owners = np.zeros(len(ids), np.int32)
            yield dialogue.Tokens(ids, owners, names, turns, last_time)
            turns = [0] * len(names)                    # counted once

    def _encode(self, text):
        """A block of text -> Tokens."""
        if self.style is not None:
            return self.style.tokenize(self.enc, text)
        ids = self.enc.join([text] if self.eot is None else PLAIN_END.split(text))
        return dialogue.Tokens(ids, None, [], [], None)

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
        numbers = np.asarray([0, *(self._speakers[name] + 1 for name in tokens.names)], np.int32)
        if isinstance(tokens.owners, shards.Row):
            if isinstance(tokens.owners.meaning, _Whose):
                tokens.owners.meaning.numbers = numbers
            return tokens.ids, tokens.owners
        owners = tokens.owners.astype(np.int32)
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
                            last = None if isinstance(ids, shards.Row) else ids[-1]
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

    def rows(self):
        """The same chunks left on the disk: (shards.Rows of ids, of owners or None). Text becomes tokens in a temporary file."""
        kinds = 1 if self.style is None else 2
        found = [shards.Rows(self.paths[0]) for _ in range(kinds)]
        texts = [shards.Column(shards.Scratch(self.paths[0]), np.int32, in_memory=0) for _ in range(kinds)]
        for piece in self.pieces():
            for k, (rows, text) in enumerate(zip(found, texts)):
                if piece is CHUNK and len(text):
                    rows.append(text.row())
                elif piece is not CHUNK and isinstance(piece[k], shards.Row):
                    rows.append(piece[k])
                elif piece is not CHUNK:
                    text.add(piece[k])
        return found[0], None if self.style is None else found[1]


class _Whose:
    """Owners as an npz has them -> as the whole corpus numbers its speakers: by `numbers`, which is known once all that stands in front
    of the npz has been read."""

    def __init__(self, path, names):
        self.path, self.names, self.numbers = path, names, None

    def check(self, owners):
        last = max(-int(owners.min(initial=0)), int(owners.max(initial=0)))
        if last > len(self.names):
            raise UserError(f'{self.path}: a token belongs to speaker {last} of {len(self.names)}; make it again with encode.py.')

    def __call__(self, owners):
        self.check(owners)
        return np.sign(owners) * self.numbers[np.abs(owners)]


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
    """A dataset. chunks: 1-D int32 arrays of ids, a list of them in memory or shards.Rows on the disk; owners: the same shapes
    (dialogue.Tokens.owners), or None for plain text; dialogue: what Corpus.dialogue says, or None; enc: the vocabulary, with the
    special tokens of the style."""
    chunks: list
    owners: list | None
    dialogue: dict | None
    enc: object

    def sampler(self, seed=None, windows='tokens', learn_from=None, max_turns=0, name='dataset'):
        """The Sampler of random slices (windows 'tokens') or the TurnSampler of whole turns ('turns').

        learn_from: as in `learnt`; None: everything counts. name: what the user is told that this is. Raises UserError where that needs
        conversations and this is plain text, and for a speaker who is not there, naming those who are.
        """
        if (windows == 'turns' or learn_from) and self.owners is None:
            raise UserError(f'{"--learn_from" if learn_from else "--windows turns"} needs to know who speaks, but the {name} is plain text or was packed '
                            'without it: encode conversations again with encode.py (README shows how they are written).')
        if learn_from and learn_from != REPLIES and learn_from not in self.dialogue['speakers']:
            raise UserError(f'nobody in the {name} is called {learn_from}; there are {", ".join(ranked(self.dialogue)[:20])}.')
        counts, replies = None, None
        if learn_from:
            counts = Learnt(self.owners, learn_from, self.dialogue['speakers'])
            if isinstance(self.owners, list):
                counts = [learnt(owners, learn_from, self.dialogue['speakers']) for owners in self.owners]
        if self.owners is not None:
            replies = Learnt(self.owners, REPLIES, self.dialogue['speakers'])
        if windows == 'turns':
            return TurnSampler(self.chunks, self.owners, seed, counts, max_turns, replies=replies, name=name)
        return Sampler(self.chunks, seed, counts, replies=replies, name=name)

    def turn_length(self, who=None):
        """How many tokens 99 of 100 turns have at most, of `who` or of everybody; None for plain text. Of a large dataset the first turns are looked at."""
        if self.owners is None:
            return None
        wanted = 0 if who in (None, REPLIES) else self.dialogue['speakers'].index(who) + 1
        lengths, n = [np.zeros(0, np.int64)], 0
        for owners in self.owners:
            for _, part in whole_conversations(owners):
                turns = Turns(part)
                words = np.concatenate([[0], np.cumsum(part > 0)])
                who = part[turns.stops - 1]
                lengths.append((words[turns.stops] - words[turns.starts])[who == wanted if wanted else who != dialogue.CONTINUES])
                n += len(part)
            if n > LOOKED_AT:
                break
        lengths = np.concatenate(lengths)
        return int(np.sort(lengths)[(99 * len(lengths) - 1) // 100]) if len(lengths) else None

    def divided(self, share):
        """(what to train on, what to hold out): two Loadeds, the second with about `share` of the tokens; the same at every call.

        Conversations stay whole, and those held out are spread over all of the dataset; so are a plain text's documents. A text with
        fewer of them than it takes to hold out `share` is cut near its end. Of a dataset on the disk UNIT tokens or more stay together.
        Raises UserError for a single conversation, and for a text too short; UsageError for a share that is not from above 0 to 0.5.
        """
        if not 0 < share <= 0.5:
            raise UsageError(f'a share of {share} cannot be held out for validation: choose one above 0, up to 0.5.')
        spans, held, owed = list(self._spans()), [], 0.0
        for i, start, stop in spans:                    # error diffusion: held out when more than half of it is owed
            owed += share * (stop - start)
            held.append(owed > (stop - start) / 2 and self._speaks(i, start, stop))
            owed -= held[-1] * (stop - start)
        if not any(held) and self.owners is None:       # then the last document is twice as long as what is owed, at least
            i, start, stop = spans.pop()
            cut = stop - max(2, round(owed))
            if cut - start < 2:
                raise UserError(f'the dataset has {sum(map(len, self.chunks))} tokens, too few to hold some out for validation: add text, or give --val_dataset.')
            spans += [(i, start, cut), (i, cut, stop)]
            held.append(True)
        elif not any(held):
            talks = [k for k, span in enumerate(spans) if self._speaks(*span)]
            if len(talks) < 2:
                raise UserError('the dataset is a single conversation, of which none can be held out for validation: add others, or give --val_dataset.')
            held[min(talks, key=lambda k: abs(spans[k][2] - spans[k][1] - owed))] = True
        return tuple(self._part(span for span, out in zip(spans, held) if out is wanted) for wanted in (False, True))

    def _spans(self):
        """Yield (chunk, start, stop) of what `divided` does not cut: conversations, or the documents of a plain text."""
        step = 1 if isinstance(self.chunks, list) else UNIT
        all_marks, eot = self.owners, None
        if self.owners is None:                         # where the vocabulary has no <|endoftext|>, a chunk is a document
            all_marks, eot = self.chunks, -1 if self.enc.eot is None else self.enc.eot
        for i, marks in enumerate(all_marks):
            start = 0
            while start < len(marks):
                stop = _end(marks, start + step - 1, eot)
                yield i, start, stop
                start = stop

    def _speaks(self, i, start, stop):
        """Whether there are turns in what _spans gives, seen by its end: the token that ends a conversation stands behind somebody's."""
        return self.owners is None or bool(self.owners[i][max(start, stop - 2):stop].any())

    def _part(self, spans):
        """The Loaded of these spans, what is next to each other in one piece; in memory, all that is of one chunk."""
        joined = []
        for i, start, stop in spans:
            if joined and joined[-1][0] == i and joined[-1][2] == start:
                start = joined.pop()[1]
            joined.append((i, start, stop))

        def part(rows):
            if not isinstance(rows, list):
                return rows and rows.cut(joined)
            return [np.concatenate([rows[i][start:stop] for _, start, stop in of_one]) for i, of_one in itertools.groupby(joined, key=lambda span: span[0])]
        return self._replace(chunks=part(self.chunks), owners=part(self.owners))


def _end(marks, at, eot):
    """Where the first conversation (or document) ends whose last token is at `at` or behind it: the position behind that token.

    marks: the owners of a chunk: nobody's token behind somebody's is the end; or with `eot` its ids.
    """
    at, size = max(at, 1), 256
    while at < len(marks):
        block = marks[at - 1:at + size]
        found = np.flatnonzero((block[1:] == 0) & (block[:-1] != 0) if eot is None else block[1:] == eot)
        if len(found):
            return at + int(found[0]) + 1
        at, size = at + size, 2 * size
    return len(marks)


def ranked(known):
    """The speakers of a Corpus.dialogue as a chat takes them: most talkative first; of two seats, the second first."""
    if dialogue.get_style(known['style']).speakers:
        return known['speakers'][::-1]
    return [name for _, name in sorted(zip(known['turns'], known['speakers']), key=lambda pair: -pair[0])]


def remembered(known, learn_from=None, length=None):
    """A Corpus.dialogue as a run keeps it (folders.write_dialogue), with whose words were learnt, and how many tokens a turn of theirs has at most."""
    return ({'style': known['style'], 'speakers': ranked(known)} | ({'learnt': learn_from} if learn_from not in (None, REPLIES) else {})
            | ({'last_time': known['last_time']} if 'last_time' in known else {}) | ({'length': length} if length else {}))


def fingerprint(loaded):
    """SHA-256 that tells one dataset.Loaded from another, as hexadecimal digits: of each chunk's length, and of its tokens, and whose they are, at LOOKS places
    or so that lie evenly over all."""
    digest = hashlib.sha256()
    for rows in (loaded.chunks, loaded.owners):
        n = 0 if rows is None else len(rows)
        step, looks = 1 + n // LOOKS, 1 + LOOKS // max(1, n)
        for i in range(n):
            row = rows[i]
            digest.update(b'%d:' % len(row))
            if i % step == 0:
                for start in sorted({(len(row) - LOOK) * k // max(1, looks - 1) if len(row) > LOOK else 0 for k in range(looks)}):
                    digest.update(row[start:start + LOOK].astype('<i4').tobytes())
    return digest.hexdigest()


def load_dataset(enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None, say=None):
    """A file, folder or glob, text and npz mixed -> [chunk], 1-D int32 arrays, or shards.Rows. Raises UserError when there are no tokens."""
    return load_corpus(enc, path, combine, encoding, legacy_endoftext, progress, say).chunks


def load_corpus(enc, path, combine=50000, encoding='utf-8', legacy_endoftext=False, progress=None, say=None):
    """load_dataset's chunks with what is known of the conversations in them: a Loaded."""
    corpus = Corpus(enc, path, combine, encoding, legacy_endoftext, progress, say=say)
    if corpus.large:
        ids, owners = corpus.rows()
    else:
        chunks = list(corpus.chunks())
        ids, owners = [chunk for chunk, _ in chunks], None if corpus.style is None else [owners for _, owners in chunks]
    if not len(ids):
        raise UserError(f'{path} holds no text.')
    return Loaded(ids, owners, corpus.dialogue, corpus.enc)


# ---- npz

def write_npz(path, corpus):
    """Write a Corpus as an npz, whole or not at all; memory does not grow with it. Returns (tokens, chunks).

    Chunks are compressed, but for those too large to be unpacked whenever a part of them is read. Two runs on the same input write the
    same bytes.
    """
    n_tokens = n_chunks = 0
    with files.whole(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive, \
            tempfile.TemporaryFile(dir=os.path.dirname(path) or '.') as ids, tempfile.TemporaryFile(dir=os.path.dirname(path) or '.') as owners:
        for piece in corpus.pieces():
            if piece is not CHUNK:
                for spool, row in zip((ids, owners), piece):
                    for block in shards.blocks(row) if row is not None else ():
                        spool.write(block.astype(np.int32).tobytes())
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
        archive.comment = _packed_with(corpus.enc)      # where np.load, and who takes each member for a chunk, does not look
        if corpus.style is not None:
            data = json.dumps(corpus.dialogue, ensure_ascii=False).encode('utf-8', 'replace')
            _write_member(archive, 'dialogue', np.uint8, io.BytesIO(data), length=len(data), stored=np.uint8)
    return n_tokens, n_chunks


def _write_member(archive, name, dtype, spool, length=None, stored=np.int32):
    """A spool of `stored` numbers -> the member name.npy of numbers of `dtype`; the spool is empty then."""
    size = np.dtype(stored).itemsize
    length = spool.tell() // size if length is None else length
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {'descr': np.lib.format.dtype_to_descr(np.dtype(dtype)), 'fortran_order': False, 'shape': (length,)})
    member = zipfile.ZipInfo(f'{name}.npy')
    member.compress_type = shards.compression(header.tell() + length * np.dtype(dtype).itemsize)
    with archive.open(member, 'w', force_zip64=True) as npy:
        npy.write(header.getvalue())
        spool.seek(0)
        while block := spool.read(size << 18):
            npy.write(np.frombuffer(block, stored).astype(dtype).tobytes())
    spool.seek(0)
    spool.truncate()


def read_npz(path, enc, whose=None, scratch=None, progress=lambda n: None, say=lambda sentence: None):
    """Yield (ids, owners or None) of an npz, whatever the members' names: 1-D int32 arrays, or, with a shards.Scratch to unpack in,
    shards.Rows, whose tokens are checked all the same. Raises UserError for anything else, pickles above all.

    whose: the _Whose of its owners. progress, say: as for Corpus.
    """
    npz, file, done, way_out = shards.Npz(path), shards.File(path), 0, 'encode the text again with --model_name of the model that is to read it.'
    if npz.comment.startswith(b'vocabulary ') and npz.comment != _packed_with(enc):
        raise UserError(f'{path} was packed with another vocabulary than this model has: {way_out}')
    if scratch and npz.to_unpack:
        if not scratch.has_room(npz.to_unpack):
            raise scratch.full(npz.to_unpack)
        say(f'{path} is compressed in too large members to be read in parts: {npz.to_unpack / 1e9:.1f} GB are unpacked into a temporary file in '
            f'{scratch.folder} (python encode.py {path} new.npz makes a file that needs none).')

    def check(ids):
        nonlocal done
        if len(ids) and (ids.min() < 0 or ids.max() >= enc.n_vocab):
            raise UserError(f'{path}: {name} holds the token {ids.max() if ids.min() >= 0 else ids.min()}, but this vocabulary has {enc.n_vocab}; {way_out}')
        done += (read := int(ids.nbytes * npz.ratio(name)))
        progress(read)

    known = 'dialogue' in npz
    for name in npz:
        if known and (name == 'dialogue' or name.startswith('owners_')):
            continue
        beside, owners = 'owners_' + name.removeprefix('arr_'), None
        if scratch:
            ids = npz.row(name, file, scratch, _as_int32, check)
            owners = npz.row(beside, file, scratch, whose or _as_int32) if known and beside in npz else None
        else:
            ids = npz.array(name, check).astype(np.int32)
            owners = npz.array(beside, whose and whose.check) if known and beside in npz else None
        if owners is not None and len(owners) != len(ids):
            raise UserError(f'{path}: {name} has {len(ids)} tokens and {beside} {len(owners)}; make the file again with encode.py.')
        if len(ids):
            yield ids, owners
    progress(os.path.getsize(path) - done)


def _packed_with(enc):
    """What write_npz notes of the vocabulary."""
    return f'vocabulary {enc.fingerprint}'.encode()


def _as_int32(ids):
    return ids.astype(np.int32)


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
    except shards.DAMAGE as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        return None

"""Long texts -> token ids, several times faster than word by word: the words of a text are cut all at once, and most are known already.

    "I'll see. Ok?"  ->  I|'ll| see|.| Ok|?        GPT-2's regular expression (encoder.WORDS), as NumPy operations over all characters
                     ->  40|1183|766|13|6762|30    a table from words to ids; what it does not know goes to tiktoken

A few thousand words make up nearly all of a text (Zipf 1949). The table has one place for each hash of a word, of up to WORD bytes and
IDS tokens, and who comes first keeps the place: no search, no end to what a corpus may hold. What is a letter, a number or white space
is asked of tiktoken, whose Unicode is of another version than Python's.
"""
import functools
import threading

import numpy as np
import regex
import tiktoken

UNSPACED = r'\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー'         # letters of words that no blank ends
BLOCK = 1 << 17                                         # characters at a time: what is made of them stays in the processor's cache
PLACES = 18                                             # 2 ** this many in the table
WORD, IDS = 15, 4
OTHER, LETTER, NUMBER, SPACE, END = range(5)
GAP = '\udfff'                                          # between two texts: no text has it, for halves of characters become U+FFFD
GAP_BYTES = GAP.encode('utf-8', 'surrogatepass')
CUT = regex.compile(r'(?r)(?<=\S)[ \n](?=\S)')          # the last place where a word begins, whatever comes behind it
# of a word's first 8 bytes, its next 7, and the place of its length behind these; a longer word is 0, which no word is
FIRST, NEXT, LENGTH = (np.array([make(n) for n in range(WORD + 1)] + [0], np.uint64) for make in (
    lambda n: (1 << 8 * min(n, 8)) - 1, lambda n: (1 << 8 * max(n - 8, 0)) - 1, lambda n: n << 56))
ODD = [np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)]      # xxHash's primes


@functools.cache
def kinds():
    """[code point] uint8: LETTER, NUMBER, SPACE or OTHER, as tiktoken's regular expressions have it; END of GAP."""
    text = ''.join(map(chr, [*range(0xd800), *range(0xe000, 0x40000)]))                  # no plane behind has letters
    single = {bytes([i]): i for i in range(256)}
    found = np.full(0x110000, OTHER, np.uint8)
    for kind, pattern in ((LETTER, r'\p{L}+'), (NUMBER, r'\p{N}+'), (SPACE, r'\s+')):
        matched = bytes(tiktoken.Encoding(pattern, pat_str=pattern, mergeable_ranks=single, special_tokens={}).encode_ordinary(text))
        found[np.frombuffer(matched.decode().encode('utf-32-le'), '<u4')] = kind
    found[ord(GAP)] = END
    return found


def whole(text):
    """A text whose characters are all whole: pairs of surrogates become one, lone ones U+FFFD, as tiktoken has it."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode('utf-16-le', 'surrogatepass').decode('utf-16-le', 'replace')


class Words:
    """The words of one vocabulary. encode_words(words, UTF-8) -> {word: [int]}, the ids of texts that are one word each."""

    def __init__(self, encode_words):
        self._encode_words, self._of_thread = encode_words, threading.local()

    def encode(self, texts):
        """[str] -> (ids of all [n] int32, how many are each text's [len(texts)])."""
        if not hasattr(self._of_thread, 'table'):
            self._of_thread.table = _Table(self._encode_words)
        text = GAP.join(map(whole, texts))
        found, start, size = [], 0, BLOCK
        while start < len(text):
            cut = CUT.search(text, start + 1, start + size) if start + size < len(text) else None
            if cut is None and start + size < len(text):
                size *= 2                               # a text without blanks
                continue
            stop = cut.start() if cut else len(text)
            found.append(self._of_thread.table.encode(text[start:stop]))
            start, size = stop, BLOCK
        ids = np.concatenate([*found, np.zeros(0, np.int32)])
        gaps = np.flatnonzero(ids < 0)
        counts = np.diff(gaps - np.arange(len(gaps)), prepend=0, append=len(ids) - len(gaps))
        return np.delete(ids, gaps), counts[:len(texts)]


class _Table:
    """Hash of a word -> the word, its ids and how many they are. For one thread."""

    def __init__(self, encode_words):
        self._encode_words = encode_words
        self._first, self._next = np.zeros([2, 1 << PLACES], np.uint64)
        self._ids, self._count = np.zeros([1 << PLACES, IDS], np.int32), np.zeros(1 << PLACES, np.uint8)

    def encode(self, text):
        """str, not '' -> [n] int32; -1 for GAP."""
        data, at = cut(text)
        n = np.diff(at, append=len(data))
        padded = np.concatenate([data, np.zeros(16, np.uint8)])
        eight = np.ndarray([len(data) + 9], '<u8', padded, strides=[1])                    # [i]: the bytes from i on
        short = np.minimum(n, WORD + 1)
        keys = eight[at] & FIRST[short], eight[at + 8] & NEXT[short] | LENGTH[short]
        mixed = keys[0] * ODD[0] ^ keys[1] * ODD[1]
        places = ((mixed ^ mixed >> np.uint64(29)) * ODD[2] >> np.uint64(64 - PLACES)).astype(np.intp)
        known, others = self._has(places, *keys), {}
        if not known.all():
            raw = data.tobytes()
            words = lambda which: [raw[start:start + size] for start, size in zip(at[which].tolist(), n[which].tolist())]
            missing = np.flatnonzero(~known)
            new = missing[np.unique(places[missing], return_index=True)[1]]
            new = new[(self._count[places[new]] == 0) & (n[new] <= WORD)]
            self._add(words(new), places[new], *(key[new] for key in keys))
            known = self._has(places, *keys)
            missing = np.flatnonzero(~known)
            others = dict(zip(missing.tolist(), self._meant(words(missing))))
        counts = np.where(known, self._count[places], 0).astype(np.int64)
        counts[list(others)] = [*map(len, others.values())]
        stops = np.cumsum(counts)
        starts, found, left = stops - counts, np.empty(stops[-1], np.int32), np.flatnonzero(known)
        for k in range(IDS):
            found[starts[left] + k] = self._ids[places[left], k]
            left = left[counts[left] > k + 1]
        for i, ids in others.items():
            found[starts[i]:stops[i]] = ids
        return found

    def _has(self, places, first, rest):
        """Whether the words of these keys are at their places."""
        return (self._first[places] == first) & (self._next[places] == rest) & (rest > 0)

    def _add(self, words, places, first, rest):
        meant = self._meant(words)
        fits = np.flatnonzero([len(ids) <= IDS for ids in meant])
        places = places[fits]
        self._first[places], self._next[places], self._count[places] = first[fits], rest[fits], [len(meant[i]) for i in fits]
        self._ids[places] = np.reshape([meant[i] + [0] * (IDS - len(meant[i])) for i in fits], [-1, IDS])

    def _meant(self, words):
        """[UTF-8] -> [[int]]"""
        found = self._encode_words({*words} - {GAP_BYTES}) | {GAP_BYTES: [-1]}
        return [found[word] for word in words]


def cut(text):
    """A text, not '' -> (its UTF-8 [n] uint8, where in it words begin).

    A word is a run of letters, of numbers, of white space or of anything else. A blank in front of a word is the word's, other white
    space there a word of its own; 's, 't, 're, 've, 'm, 'll and 'd are words, where the apostrophe begins one.
    """
    data = np.frombuffer(text.encode('utf-8', 'surrogatepass'), np.uint8)
    points = data if len(data) == len(text) else np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), '<u4')
    kind = kinds()[points]
    starts = np.concatenate([[True], (kind[1:] != kind[:-1]) | (kind[1:] == END), [True]])
    last = np.flatnonzero((kind[:-1] == SPACE) & (kind[1:] != SPACE) & (kind[1:] != END))            # of white space in front of a word
    starts[last], starts[last + 1] = True, points[last] != ord(' ')
    marks = np.flatnonzero(points[:-1] == ord("'"))
    one, two = points[marks + 1], points[np.minimum(marks + 2, len(points) - 1)]
    n = np.where(np.isin(one, [*b'stmd']), 2, np.where(np.isin(one, [*b'rv']) & (two == ord('e')) | (one == ord('l')) & (two == ord('l')), 3, 0))
    n[(marks > 0) & ((kind[marks - 1] == OTHER) | (points[marks - 1] == ord(' '))) | (marks + n > len(points))] = 0
    for k in (1, 2):
        starts[(marks + k)[n > k]] = False
    starts[(marks + n)[n > 0]] = True
    at = np.flatnonzero(starts[:-1])
    if points is data:
        return data, at
    sizes = utf8_sizes(points)
    return data, (np.cumsum(sizes, dtype=np.int64) - sizes)[at]


def utf8_sizes(points):
    """Code points -> how many bytes of UTF-8 each is, uint8."""
    return 1 + (points >= 0x80).view(np.uint8) + (points >= 0x800) + (points >= 0x10000)

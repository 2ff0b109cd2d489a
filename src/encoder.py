"""Byte-level BPE, as in GPT-2: text -> token ids, and back.

A text is cut into words by a regular expression, each word becomes UTF-8 bytes, and neighbouring byte runs merge in
the order in which vocab.bpe lists the merges (Sennrich et al. 2016, arXiv:1508.07909; over bytes since GPT-2, section 2.2).
The inner loop is tiktoken's, with a table of known words in front of it for long texts (words.py); what it merges comes from the model
folder's own two files:

    encoder.json    {"!": 0, "\\"": 1, ..., "\\u0120the": 262, ..., "<|endoftext|>": 50256}      every token and its id
    vocab.bpe       #version: 0.2 / \\u0120 t / \\u0120 a / h e / ...                           a merge a line, best first

Both write bytes as printable characters (a space is \\u0120); bytes_to_unicode is that table.
Special tokens such as <|endoftext|> are ids only: `encode` never makes them from text, the word is seven ordinary tokens.
"""
import codecs
import copy
import functools
import hashlib
import json
import os

import numpy as np
import tiktoken

from . import files
from .console import UserError
from .words import Words

END_OF_TEXT = '<|endoftext|>'
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LONG = 1 << 12                                          # characters from which on words.py is faster


@functools.lru_cache
def bytes_to_unicode():
    """{byte: printable character}: printable Latin-1 bytes stand for themselves, the other 68 for characters from 256 up."""
    printable = [*range(ord('!'), ord('~') + 1), *range(ord('¡'), ord('¬') + 1), *range(ord('®'), ord('ÿ') + 1)]
    table = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(printable))
    return table


class Encoder:
    """One vocabulary. `special_tokens` maps their names to ids; `eot` is the id of <|endoftext|>."""

    def __init__(self, encoder, merges, name='gpt2'):
        """encoder: {token: id}; merges: [(left, right)], best first. Raises UserError when the two do not fit together."""
        to_byte = {ord(character): chr(byte) for byte, character in bytes_to_unicode().items()}
        tokens = [*bytes_to_unicode().values(), *(left + right for left, right in merges)]
        missing = [token for token in tokens if token not in encoder]
        if missing:
            raise UserError(f'{name}: encoder.json lacks {len(missing)} tokens that vocab.bpe makes, the first is {missing[0]!r}; '
                            'the two files do not belong together, download both again.')
        strange = {*''.join(tokens)} - {*tokens[:256]}
        if strange:
            raise UserError(f'{name}: {min(strange)!r} in vocab.bpe stands for no byte, as each character of GPT-2\'s vocabulary does; download both files again.')
        # tiktoken calls a token by its merge rank; in GPT-2 the id is that rank, elsewhere a table leads from one to the other
        ranks, ids = {}, []
        for token in sorted(tokens[:256], key=encoder.get) + tokens[256:]:
            data = token.translate(to_byte).encode('latin-1')
            if data not in ranks:
                ranks[data] = len(ids)
                ids.append(encoder[token])
        made = set(tokens)
        self.special_tokens = {token: i for token, i in encoder.items() if token not in made}
        lost = [token for token in self.special_tokens if token.startswith('Ġ')]
        if lost:
            raise UserError(f'{name}: vocab.bpe makes none of {len(lost)} words in encoder.json such as {lost[0]!r}; '
                            'it is cut short or of another model, download both again.')
        self.n_vocab = max(encoder.values()) + 1
        self.eot = self.special_tokens.get(END_OF_TEXT)
        self._ids = None if ids == list(range(len(ids))) else ids
        self._bytes = {i: data for data, i in zip(ranks, ids)}
        self._bytes.update({i: token.encode('utf-8') for token, i in self.special_tokens.items()})
        self._bpe = tiktoken.Encoding(name, pat_str=WORDS, mergeable_ranks=ranks, special_tokens={})

    def extended(self, names):
        """The same vocabulary with these special tokens, behind those there are; itself when it has them all."""
        new = [name for name in names if name not in self.special_tokens]
        if not new:
            return self
        other = copy.copy(self)
        other.special_tokens = self.special_tokens | {name: self.n_vocab + i for i, name in enumerate(new)}
        other.n_vocab = self.n_vocab + len(new)
        other._bytes = self._bytes | {other.special_tokens[name]: name.encode('utf-8') for name in new}
        other.__dict__.pop('lengths', None)
        return other

    @functools.cached_property
    def lengths(self):
        """[n_vocab] int64: how many bytes of a text each token stands for; 0 for special tokens, which stand for none."""
        lengths = np.zeros(self.n_vocab, np.int64)
        for i, data in self._bytes.items():
            lengths[i] = len(data)
        lengths[list(self.special_tokens.values())] = 0
        return lengths

    @functools.cached_property
    def fingerprint(self):
        """SHA-256 that tells one vocabulary from another, whatever special tokens either has, as hexadecimal digits."""
        digest = hashlib.sha256(b'\n'.join(data.hex().encode() for data in self._bpe._mergeable_ranks))
        digest.update(json.dumps(self._ids).encode())
        return digest.hexdigest()

    def encode(self, text):
        """str -> [int]. Lone surrogates, which no UTF-8 has, become U+FFFD."""
        if len(text) >= LONG:
            return self.encode_all([text])[0].tolist()
        return self._named(self._bpe.encode_ordinary(text))

    def encode_all(self, texts):
        """[str] -> (the ids of all, one behind the other [n] int32; how many are each text's [len(texts)]). For many or long texts."""
        return self._words.encode(texts)

    def join(self, texts):
        """[str] -> their ids, with <|endoftext|> between two texts, [n] int32."""
        ids, counts = self.encode_all(texts)
        return np.insert(ids, np.cumsum(counts)[:-1], self.eot) if len(texts) > 1 else ids

    @functools.cached_property
    def _words(self):
        return Words(self._encode_words)

    def _encode_words(self, words):
        """{a word's UTF-8: its ids}: one call for all, between which tiktoken finds NULs. A word that has one is signs alone, and one for WORDS too."""
        odd = [word for word in words if b'\0' in word]
        plain = [word for word in words if b'\0' not in word]
        found, mark, start = self._one_by_one.encode_ordinary(b'\0'.join(plain + [b'']).decode()), self._one_by_one.encode_single_token(b'\0'), 0
        ids = {word: self._named(self._bpe.encode_ordinary(word.decode())) for word in odd}
        for word in plain:
            stop = found.index(mark, start)
            ids[word], start = self._named(found[start:stop]), stop + 1
        return ids

    @functools.cached_property
    def _one_by_one(self):
        """The same merges on words between NULs."""
        return tiktoken.Encoding('words', pat_str=r'[^\x00]+|\x00', mergeable_ranks=self._bpe._mergeable_ranks, special_tokens={})

    def _named(self, ranks):
        return ranks if self._ids is None else [self._ids[rank] for rank in ranks]

    def decode(self, ids):
        """[int] -> str; bytes that are no UTF-8 become U+FFFD. Raises UserError for an id outside the vocabulary."""
        return self.decode_bytes(ids).decode('utf-8', errors='replace')

    def decode_bytes(self, ids):
        """[int] -> bytes."""
        try:
            return b''.join([self._bytes[int(i)] for i in ids])
        except KeyError as error:
            raise UserError(f'token {error} is not in this vocabulary of {self.n_vocab}: the text was made with another model.') from None

    def stream_decoder(self):
        """A StreamDecoder of this vocabulary."""
        return StreamDecoder(self)


class StreamDecoder:
    """Tokens in, text out as soon as it is certain: a character is held back until all of its bytes are there."""

    def __init__(self, enc):
        self._enc = enc
        self._utf8 = codecs.getincrementaldecoder('utf-8')(errors='replace')

    def push(self, ids):
        """[int] -> the text these complete, maybe ''."""
        return self._utf8.decode(self._enc.decode_bytes(ids))

    def finish(self):
        """What is left of a character that never ended, as U+FFFD, or ''."""
        return self._utf8.decode(b'', final=True)


def get_encoder(model_name, models_dir='models'):
    """The Encoder of models_dir/model_name, or of the folder that model_name is itself.

    Raises UserError when the folder or one of its two vocabulary files is missing or broken.
    """
    folder = files.model_folder(model_name, models_dir)
    paths = [os.path.join(folder, name) for name in ('encoder.json', 'vocab.bpe')]
    for path in paths:
        if not os.path.isfile(path):
            raise UserError(f'{path}: there is no such file, and no vocabulary without it; copy it from the model that this one was made from.')
    try:
        with open(paths[0], encoding='utf-8') as file:
            encoder = json.load(file)
        merges = [tuple(merge.split(' ')) for merge in read_merges(paths[1])]
        if not all(len(merge) == 2 for merge in merges) or not all(isinstance(i, int) for i in encoder.values()):
            raise ValueError
    except (ValueError, AttributeError):
        raise UserError(f'{folder}: encoder.json or vocab.bpe is damaged; delete both and download them again.') from None
    return Encoder(encoder, merges, name=os.path.basename(folder))


def read_merges(path, errors='strict'):
    """What write_merges wrote, a list. errors: as open has it, of what is no UTF-8."""
    with open(path, encoding='utf-8', errors=errors) as file:
        return [line for line in file.read().split('\n') if line and not line.startswith('#version')]


def write_merges(path, merges):
    """merges, 'left right' each, best first -> a file as GPT-2's vocab.bpe, which others call merges.txt."""
    with files.whole(path, 'w', encoding='utf-8', newline='\n') as file:
        file.write('#version: 0.2\n' + ''.join(merge + '\n' for merge in merges))

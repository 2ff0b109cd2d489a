"""Text -> chunks, against what can be written down in a line or two: split at the marks, encode each part, join."""
import codecs
import collections
import contextlib
import itertools
import json
import os
import pickle
import random
import re
import tracemalloc
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import CHATS, ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_encoder import encoder_that_joins, printable_bytes

from src import batches, dataset, dialogue, encoder, shards
from src.batches import Batches, Sampler, TurnSampler
from src.console import UsageError, UserError
from src.dataset import Corpus, load_corpus, load_dataset, read_npz, read_text, write_npz

MIB = 1 << 20
EOT = 2047                                              # the demo vocabulary's <|endoftext|>
with_files = settings(deadline=None, derandomize=True, max_examples=100)


@pytest.fixture(scope='module')
def enc():
    return encoder.get_encoder('demo', os.path.join(ROOT, 'models'))


@pytest.fixture(scope='module')
def gpt2(real_vocabulary):
    return encoder.get_encoder('124M', real_vocabulary)


def write(path, content):
    with open(path, 'wb') as file:
        file.write(content.encode('utf-8') if isinstance(content, str) else content)
    return str(path)


def lists(chunks):
    return [chunk.tolist() for chunk in chunks]


# ---- read_text

def read(path, encoding='utf-8'):
    return ''.join(text for text, _ in read_text(path, encoding))


@pytest.mark.parametrize('data, encoding, text', [
    (b'', 'utf-8', ''),
    (b'caf\xc3\xa9\n', 'utf-8', 'café\n'),
    (b'\xef\xbb\xbfhi', 'utf-8', 'hi'),                 # a byte order mark is none of the text
    (b'\xef\xbb\xbf', 'utf-8', ''),
    (b'\xef\xbb\xbfhi', 'utf-8-sig', 'hi'),
    (b'a\xef\xbb\xbfb', 'utf-8', 'a\ufeffb'),           # but in the middle it is
    (b'a\r\nb\rc\nd\r', 'utf-8', 'a\nb\nc\nd\n'),
    (b'a\r\r\nb\n\rc', 'utf-8', 'a\n\nb\n\nc'),
    ('a\x85b\u2028c\x0bd'.encode(), 'utf-8', 'a\x85b\u2028c\x0bd'),
    (b'caf\xe9\r\n\x93x\x94', 'cp1252', 'café\n“x”'),
    ('hé\r\n😀'.encode('utf-16'), 'utf-16', 'hé\n😀'),
    ('hé\r\n😀'.encode('utf-16-be'), 'utf-16-be', 'hé\n😀'),
    (codecs.BOM_UTF16_BE + 'hé'.encode('utf-16-be'), 'utf-16', 'hé'),
    (codecs.BOM_UTF16_LE + 'hé'.encode('utf-16-le'), 'utf-16-le', 'hé'),
    ('日本'.encode('shift_jis'), 'shift_jis', '日本'),
], ids=ascii)
def test_read_text(tmp_path, data, encoding, text):
    assert read(write(tmp_path / 'a.txt', data), encoding) == text


@pytest.mark.parametrize('encoding, unit', [('utf-8', b'x'), ('utf-16-le', b'x\0')])
@pytest.mark.parametrize('character', ['é', '€', '😀', '\r\n', '\r', '\n'], ids=ascii)
def test_read_text_across_the_boundary_of_two_reads(tmp_path, encoding, unit, character):
    data = character.encode(encoding)
    for before in range(MIB - len(data), MIB + 1):      # every place at which the first read can end
        if before % len(unit) == 0:
            path = write(tmp_path / 'a.txt', unit * (before // len(unit)) + data + unit)
            text = read(path, encoding)
            assert text.strip('x') == character.replace('\r\n', '\n').replace('\r', '\n')
            assert len(text.rstrip('x').rstrip(text.strip('x'))) == before // len(unit)


def test_read_text_says_how_far_it_is(tmp_path):
    data = 'é'.encode() * MIB + b'\r\n'
    offsets = [offset for _, offset in read_text(write(tmp_path / 'a.txt', data))]
    assert len(offsets) >= 3 and offsets == sorted(offsets) and offsets[0] <= MIB and offsets[-1] == len(data)


@pytest.mark.parametrize('before, wrong, encoding', [
    (b'abc', b'\xe9tude', 'utf-8'),
    (b'', b'\xff', 'utf-8'),
    (b'x' * (MIB + 5), b'\xe9x', 'utf-8'),
    (b'x' * (MIB - 1), b'\xe2x', 'utf-8'),              # the first byte of a character ends the first read
    (b'x' * (MIB - 2), b'\xf0\x9fx', 'utf-8'),
    (b'x' * (MIB - 1) + 'é'.encode() * MIB, b'\xffx', 'utf-8'),
    (b'x' * (3 * MIB), b'\xe2\x82', 'utf-8'),           # the file ends in the middle of a character
    ('é\r\n'.encode() * MIB, b'\x80', 'utf-8'),
    (b'a\r\n', b'\xe9', 'ascii'),
    (b'a', b'\x81', 'cp1252'),
    ('aé'.encode('utf-16-le'), b'\x00\xdcx\x00', 'utf-16-le'),
], ids=lambda value: ascii(value) if len(value) < 20 else f'{len(value)} bytes')
def test_read_text_names_the_wrong_byte(tmp_path, before, wrong, encoding):
    path = write(tmp_path / 'a.txt', before + wrong)
    with pytest.raises(UserError) as error:
        read(path, encoding)
    assert f'{path}: the byte {wrong[:1].hex()} at offset {len(before)} is not {encoding}; try --encoding' in str(error.value)


def test_read_text_recognises_utf16(tmp_path):
    with pytest.raises(UserError, match='byte ff at offset 0 is not utf-8; try --encoding utf-16'):
        read(write(tmp_path / 'a.txt', 'hello'.encode('utf-16-le').join([codecs.BOM_UTF16_LE, b''])))


@pytest.mark.parametrize('encoding', ['utf-9', 'nonsense', '', 'rot13', 'hex', 'base64', 'zip', 'bz2', 'uu', 'quopri'])
def test_read_text_knows_what_is_an_encoding_of_text(tmp_path, encoding):
    with pytest.raises(UsageError, match=f'no encoding {encoding!r}; utf-8'):
        read(write(tmp_path / 'a.txt', b'hello\n'), encoding)


def test_read_text_of_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.txt'):
        read(str(tmp_path / 'gone.txt'))


# ---- files -> chunks

def tokens(enc, text, ends=r'<\|endoftext\|>\n?'):
    """The ids of a text: what lies between two ends is encoded by itself, and each end is the one token."""
    ids = []
    for i, part in enumerate(re.split(ends, text)):
        ids += [enc.eot] * (i > 0) + enc.encode(part)
    return ids


def test_small_texts_are_joined_until_there_are_enough_characters(tmp_path, enc):
    texts = ['a' * 40, 'b' * 40, 'c' * 40, 'd' * 200, 'e' * 10, 'f' * 99, 'g']
    for i, text in enumerate(texts):
        write(tmp_path / f'{i}.txt', text)
    a, b, c, d, e, f, g = map(enc.encode, texts)
    assert lists(load_dataset(enc, str(tmp_path), combine=100)) == [[*a, EOT, *b, EOT, *c], d, [*e, EOT, *f], [*g, EOT]]
    assert lists(load_dataset(enc, str(tmp_path), combine=1)) == [a, b, c, d, e, f, g]
    assert lists(load_dataset(enc, str(tmp_path), combine=0)) == [a, b, c, d, e, f, g]
    assert lists(load_dataset(enc, str(tmp_path))) == [[*a, EOT, *b, EOT, *c, EOT, *d, EOT, *e, EOT, *f, EOT, *g, EOT]]


def test_a_text_of_exactly_combine_characters_is_a_chunk(tmp_path, enc):
    write(tmp_path / '1.txt', 'é' * 50)                 # 50 characters, 100 bytes
    write(tmp_path / '2.txt', 'x' * 49)
    assert lists(load_dataset(enc, str(tmp_path), combine=50)) == [enc.encode('é' * 50), [*enc.encode('x' * 49), EOT]]


def original_load_dataset(enc, paths, combine):
    """What the original's load_dataset did, in its own steps."""
    chunks, raw_text = [], ''
    for path in paths:
        with open(path, encoding='utf-8') as file:
            raw_text += file.read()
        if len(raw_text) >= combine:
            chunks.append(enc.encode(raw_text))
            raw_text = ''
        else:
            raw_text += '<|endoftext|>'
    if raw_text:
        chunks.append(enc.encode(raw_text))
    return chunks


@pytest.mark.parametrize('combine', [1, 60, 100, 150, 50000])
def test_legacy_endoftext_is_the_originals_seven_tokens(tmp_path, gpt2, combine):
    texts = ['Mara: hi\n\nTheo: hey\n', 'one <|endoftext|>\n two', 'x' * 70, '\n\n', ' lead and trail ', 'café ' * 10 + 'end']
    paths = [write(tmp_path / f'{i}.txt', text) for i, text in enumerate(texts)]
    chunks = lists(load_dataset(gpt2, str(tmp_path), combine, legacy_endoftext=True))
    assert chunks == original_load_dataset(gpt2, paths, combine)
    assert gpt2.eot not in itertools.chain(*chunks)
    if combine == 50000:
        assert chunks[0][-7:] == [27, 91, 437, 1659, 5239, 91, 29]


def test_the_word_endoftext_in_a_text_is_the_token(tmp_path, gpt2):
    path = write(tmp_path / 'a.txt', 'one<|endoftext|>two<|endoftext|>\nthree\n<|endoftext|>\n\nfour <| endoftext |> <|endoftext|')
    eot = 50256
    assert lists(load_dataset(gpt2, path)) == [[*gpt2.encode('one'), eot, *gpt2.encode('two'), eot, *gpt2.encode('three\n'), eot,
                                                *gpt2.encode('\nfour <| endoftext |> <|endoftext|'), eot]]


@pytest.mark.parametrize('end', ['<|endoftext|>', '<|endoftext|>\n'])
def test_a_text_that_ends_in_endoftext_needs_no_second_one(tmp_path, enc, end):
    write(tmp_path / '1.txt', 'one' + end)
    write(tmp_path / '2.txt', 'two' + end)
    assert lists(load_dataset(enc, str(tmp_path))) == [[*enc.encode('one'), EOT, *enc.encode('two'), EOT]]


TALK = 'Mara: hi\nTheo: hey\nMara: how are you?\n'


@pytest.mark.parametrize('between', ['\n', '\n\n\n', '<|endoftext|>\n', '<|endoftext|>\n\n', '\n<|endoftext|>\n'], ids=ascii)
def test_blank_lines_between_conversations_are_the_token(tmp_path, enc, between):
    path = write(tmp_path / 'a.txt', between.join([TALK] * 3))
    chunks, _, known, _ = load_corpus(enc, path)
    assert lists(chunks) == [[*enc.encode(TALK), EOT] * 3]
    assert known == {'style': 'name', 'speakers': ['Mara', 'Theo'], 'turns': [6, 3]}


def test_blank_lines_of_a_plain_text_are_text(tmp_path, enc):
    text = 'One paragraph.\n\nAnother one.\n\n\nThe last.'
    assert load_corpus(enc, write(tmp_path / 'a.txt', text)).dialogue is None
    assert lists(load_dataset(enc, write(tmp_path / 'a.txt', text))) == [[*enc.encode(text), EOT]]


def test_a_file_a_folder_a_glob(tmp_path, enc):
    os.makedirs(tmp_path / 'b' / 'deep')
    one = write(tmp_path / 'a.txt', 'one')
    write(tmp_path / 'b' / 'two.txt', 'two')
    write(tmp_path / 'b' / 'deep' / 'three.md', 'three')
    write(tmp_path / 'b' / '.hidden', 'hidden')
    def found(path):
        return sorted(enc.decode(chunk) for chunk in load_dataset(enc, str(path), combine=1))
    assert found(one) == ['one']
    assert found(tmp_path) == ['one', 'three', 'two']
    assert found(tmp_path / 'b') == ['three', 'two']
    assert found(tmp_path / '*.txt') == ['one']
    assert found(tmp_path / '**' / '*.txt') == ['one', 'two']
    assert found(tmp_path / 'b' / 't*') == ['two']
    assert found(tmp_path / '*' / '*.txt') == ['two']


def test_npz_is_passed_through_between_texts(tmp_path, enc):
    write(tmp_path / 'a.txt', 'one')
    np.savez(tmp_path / 'b.npz', np.array([5, 6, 7]), np.array([8, 9]))
    write(tmp_path / 'c.txt', 'three')
    chunks = lists(load_dataset(enc, str(tmp_path)))
    assert [5, 6, 7] in chunks and [8, 9] in chunks
    assert list(itertools.chain(*[chunk for chunk in chunks if chunk[0] not in (5, 8)])) == [*enc.encode('one'), EOT, *enc.encode('three'), EOT]


def test_empty_files_leave_no_trace(tmp_path, enc):
    for name, text in (('a.txt', ''), ('b.txt', 'one'), ('c.txt', ''), ('d.txt', '\ufeff'), ('e.txt', 'two')):
        write(tmp_path / name, text)
    assert lists(load_dataset(enc, str(tmp_path))) == [[*enc.encode('one'), EOT, *enc.encode('two'), EOT]]


def test_no_text_at_all(tmp_path, enc):
    path = write(tmp_path / 'empty.txt', '')
    with pytest.raises(UserError, match='empty.txt holds no text'):
        load_dataset(enc, path)
    with pytest.raises(UserError, match='nothing.txt: there is no such file'):
        load_dataset(enc, str(tmp_path / 'nothing.txt'))
    os.mkdir(tmp_path / 'folder')
    with pytest.raises(UserError, match='folder: the folder holds no files'):
        load_dataset(enc, str(tmp_path / 'folder'))


def test_progress_counts_every_byte(tmp_path, enc):
    write(tmp_path / 'a.txt', 'é\r\n' * MIB)
    write(tmp_path / 'b.txt', b'')
    np.savez(tmp_path / 'c.npz', np.arange(10))
    steps = []
    load_dataset(enc, str(tmp_path), progress=steps.append)
    assert sum(steps) == Corpus(enc, str(tmp_path)).size == sum(os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path))


def test_chunks_are_int32_rows(tmp_path, enc):
    write(tmp_path / 'a.txt', 'one')
    np.savez(tmp_path / 'b.npz', np.array([5, 6, 7], np.uint8))
    assert all(chunk.dtype == np.int32 and chunk.ndim == 1 for chunk in load_dataset(enc, str(tmp_path)))


# ---- a text cut into blocks has the tokens of the whole

NASTY = ['\n', '\n\n', '\n\n\n', ' ', '  ', ' \n', '\n ', '\t', '\u3000', '\xa0', '\x85', '\x1c', '\u2028', ' \u3000', '>', '>\n', '> ', '<|endoftext|>', '<|endoftext|>\n',
         '<|endoftext|>\n\n', ' <|endoftext|>', '<|endo', 'ftext|>', "'s", " 's", "' s", "'", 'x', 'hello', ' hello', '1', ' 23', '!', ' ?!', 'é', '한', '😀', '\u0301', ':',
         'Mara: ', '\nTheo: ok\n', 'a b c d e f', '\x00']
nasty_bytes = [printable_bytes()[byte] for byte in sorted(set(''.join(NASTY).encode()))]
nasty = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=3)), max_size=30).map(''.join)


@pytest.fixture(scope='module')
def joining():
    """Joins the bytes of a word two by two: a word that is cut in two, or grown by one byte, has other tokens."""
    return encoder_that_joins(nasty_bytes, nasty_bytes)


def blockwise(enc, text, block, style, path):
    with open(path, 'w', encoding='utf-8', newline='') as file:
        file.write(text)
    corpus = Corpus(enc, str(path), combine=1)          # combine: no end of text is added
    corpus.style, corpus.enc = style, enc.extended(style.special_tokens if style else ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'BLOCK', block)
        pieces = sum(isinstance(event, str) for event in corpus._texts())
        chunks = list(corpus.chunks())
        return [i for ids, _ in chunks for i in ids.tolist()], pieces, [o for _, owners in chunks if owners is not None for o in owners.tolist()]


def translated(text):
    return text.removeprefix('\ufeff').replace('\r\n', '\n').replace('\r', '\n')


@with_files
@given(text=nasty, block=st.integers(1, 40))
@example(text=''.join(NASTY) * 2, block=1)
@example(text='a ' * 50 + 'b\n' * 50, block=3)
@example(text='a \n<|endoftext|>b', block=1)
def test_cuts_change_no_token_of_a_plain_text(gpt2, joining, text, block, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / 'plain.txt'
    for vocabulary in (gpt2, joining):
        assert blockwise(vocabulary, text, block, None, path)[0] == tokens(vocabulary, translated(text))


@with_files
@given(text=nasty, block=st.integers(1, 40))
@example(text=''.join(NASTY) * 2, block=1)
@example(text=f'{TALK}\n{TALK}\n\n{TALK}<|endoftext|>\n{TALK}', block=5)
def test_cuts_change_no_token_of_a_dialogue(joining, text, block, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / 'talk.txt'
    for style in dialogue.STYLES.values():
        at_once, pieces, owners = blockwise(joining, text, len(text) + 1, style, path)
        assert pieces <= 1
        assert blockwise(joining, text, block, style, path)[::2] == (at_once, owners)


def test_blocks_are_indeed_cut(enc, tmp_path):
    assert blockwise(enc, 'one two\nthree four\n' * 10, 8, None, tmp_path / 'a.txt')[1] >= 20


def test_a_large_text_of_everything(gpt2, tmp_path):
    """3 MB, several blocks and reads."""
    rng = random.Random(0)
    text = ''.join(rng.choices(NASTY, k=850000))
    assert len(text.encode()) > 3 * MIB
    assert load_dataset(gpt2, write(tmp_path / 'a.txt', text), combine=1)[0].tolist() == tokens(gpt2, translated(text))


@pytest.mark.parametrize('text', ['x' * 1500000, '\n' * 1500000 + 'x', 'a' + ' ' * 1500000 + 'b\nc', '한' * 600000, ('y' * 600000 + ' ') * 2, 'z\n' + '!' * 600000],
                         ids=['letters', 'newlines', 'blanks', 'hangul', 'long words', 'signs'])
def test_a_text_with_nowhere_to_cut(gpt2, tmp_path, text):
    assert load_dataset(gpt2, write(tmp_path / 'a.txt', text), combine=1)[0].tolist() == gpt2.encode(text)


def test_a_text_without_end_is_cut_all_the_same(enc, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, 'BLOCK', 100)
    monkeypatch.setattr(dataset, 'LONGEST_BLOCK', 1000)
    text = 'x' * 12345
    corpus = Corpus(enc, write(tmp_path / 'a.txt', text), combine=1)
    assert max(len(event) for event in corpus._texts() if isinstance(event, str)) == 1000
    assert enc.decode(np.concatenate([ids for ids, _ in corpus.chunks()])) == text


# ---- what is known of the conversations

def test_the_demos_conversations(enc):
    texts = [read(os.path.join(CHATS, name)) for name in sorted(os.listdir(CHATS))]
    turns = collections.Counter(line.split(':')[0] for text in texts for line in text.split('\n') if line)
    assert set(turns) == {'Theo', 'Mara', 'Priya', 'Lena', 'Jonas'}
    chunks, _, known, _ = load_corpus(enc, CHATS, combine=0)
    assert known['style'] == 'name' and dict(zip(known['speakers'], known['turns'])) == turns
    assert dataset.ranked(known) == [name for name, _ in turns.most_common()]
    for chunk, text in zip(chunks, texts, strict=True):
        assert chunk.tolist().count(EOT) == len(re.findall('\n\n+', text))
        assert enc.decode(chunk).replace('<|endoftext|>', '\n') == text


@pytest.mark.parametrize('style', dialogue.STYLES.values(), ids=list(dialogue.STYLES))
def test_what_was_rendered_is_recognised(tmp_path, enc, style):
    talk = dialogue.Conversation([dialogue.Turn(name, f'message {i}', i) for i, name in enumerate(['Mara', 'Theo', 'Mara', 'C: D'])])
    talk = dialogue.seated(talk, style, you='Theo')
    known = load_corpus(enc, write(tmp_path / 'a.txt', style.render(talk) * 5)).dialogue
    assert (known['style'], known['speakers']) == (style.name, list(style.speakers or ['Mara', 'Theo', 'C: D']))
    assert known['turns'] == ([10, 5] if style.name == 'dialogpt' else [10, 5] if style.speakers else [10, 5, 5])
    assert known.get('last_time') == (3 if style.name == 'timestamp' else None)
    assert known.get('special_tokens', {}) == {name: 2048 + i for i, name in enumerate(style.special_tokens)}


def test_speakers_are_counted_over_all_files_and_blocks(tmp_path, enc, monkeypatch):
    monkeypatch.setattr(dataset, 'BLOCK', 200)
    write(tmp_path / 'a.txt', 'A: x\nB: y\n' * 30 + 'A: z\n')
    write(tmp_path / 'b.txt', 'B: x\nC: y\n' * 20)
    corpus = Corpus(enc, str(tmp_path))
    list(corpus.chunks())
    assert corpus.dialogue == {'style': 'name', 'speakers': ['A', 'B', 'C'], 'turns': [31, 50, 20]}
    assert dataset.ranked(corpus.dialogue) == ['B', 'A', 'C']


def test_the_last_time_is_the_newest_of_all_texts(tmp_path, enc):
    for name, times in (('a', (7, 5)), ('b', (9, 8)), ('c', (1, 2))):
        write(tmp_path / f'{name}.txt', ''.join(f'({times[i % 2]}) {"AB"[i % 2]}: x\n' for i in range(8)))
    write_npz(str(tmp_path / '0.npz'), Corpus(enc, str(tmp_path / 'b.txt')))
    assert [loaded.dialogue['last_time'] for loaded in (load_corpus(enc, str(tmp_path / path)) for path in ('*.txt', '[0a].*', 'a.txt', 'c.txt'))] == [9, 9, 7, 2]


@pytest.mark.parametrize('combine', [1, 50000])
def test_a_text_does_not_go_on_with_the_last_ones_turn(tmp_path, enc, combine):
    """What stands in front of a text's first header is nobody's, in a chunk of its own or behind another text."""
    write(tmp_path / 'a.txt', 'A: x\nB: y\n' * 9)
    write(tmp_path / 'b.txt', 'lost words\n' + 'B: y\nA: x\n' * 9)
    loaded = load_corpus(enc, str(tmp_path), combine)
    assert len(loaded.chunks) == (2 if combine == 1 else 1)
    ids, owners = np.concatenate(loaded.chunks), np.concatenate(loaded.owners)
    assert enc.decode(ids[owners == 0]).replace('<|endoftext|>', '') == 'lost words\n'
    assert enc.decode(ids[owners == 2]) == ' y\n' * 18


def test_a_mixture_of_styles_is_no_dialogue(tmp_path, enc):
    write(tmp_path / 'a.txt', TALK * 5)
    write(tmp_path / 'b.txt', 'A long story.\nOnce upon a time\nthere was\n' * 5)
    assert load_corpus(enc, str(tmp_path)).dialogue is None
    write(tmp_path / 'b.txt', '(12) A: x\n(13) B: y\n' * 5)
    assert load_corpus(enc, str(tmp_path)).dialogue is None
    write(tmp_path / 'b.txt', '\n')                     # a file of nothing has no say
    assert load_corpus(enc, str(tmp_path)).dialogue == {'style': 'name', 'speakers': ['Mara', 'Theo'], 'turns': [10, 5]}


# ---- npz

def test_npz_there_and_back(tmp_path, gpt2):
    corpus = Corpus(gpt2, CHATS, combine=1)
    path = str(tmp_path / 'out.npz')
    expected = load_corpus(gpt2, CHATS, combine=1)
    assert write_npz(path, corpus) == (sum(map(len, expected.chunks)), len(expected.chunks))
    for (ids, owners), chunk, whose in zip(read_npz(path, gpt2), expected.chunks, expected.owners, strict=True):
        assert ids.tolist() == chunk.tolist() and owners.tolist() == whose.tolist()
    with np.load(path) as npz:
        assert npz.files == [f'{name}_{i}' for i in range(len(os.listdir(CHATS))) for name in ('arr', 'owners')] + ['dialogue']
        assert npz['arr_0'].dtype == np.uint16 and npz['owners_0'].dtype == np.int16
        assert json.loads(npz['dialogue'].tobytes()) == corpus.dialogue
    loaded = load_corpus(gpt2, path)
    assert lists(loaded.chunks) == lists(expected.chunks) and lists(loaded.owners) == lists(expected.owners)
    assert loaded.dialogue == corpus.dialogue == expected.dialogue
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                np.lib.format.read_array(member)
                assert name.endswith('.npy') and member.read() == b''           # nothing of a longer chunk before it
        assert archive.testzip() is None and {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    assert os.listdir(tmp_path) == ['out.npz']


def test_npz_of_plain_text_is_what_the_original_and_the_forks_read(tmp_path, enc):
    path = str(tmp_path / 'out.npz')
    assert write_npz(path, Corpus(enc, write(tmp_path / 'a.txt', 'Just a text.'))) == (len(enc.encode('Just a text.')) + 1, 1)
    with np.load(path) as npz:
        assert npz.files == ['arr_0'] and npz['arr_0'].tolist() == [*enc.encode('Just a text.'), EOT]
    assert dataset.read_dialogue(path) is None
    write_npz(path, Corpus(enc, CHATS, combine=1, plain=True))          # conversations too, where that is wanted
    with np.load(path) as npz:
        assert npz.files == [f'arr_{i}' for i in range(len(os.listdir(CHATS)))]


def test_npz_of_the_same_text_is_the_same_file(tmp_path, enc, monkeypatch):
    files = []
    for i, block in enumerate((1 << 19, 1000, 1 << 19)):        # however the work is divided
        monkeypatch.setattr(dataset, 'BLOCK', block)
        write_npz(str(tmp_path / f'{i}.npz'), Corpus(enc, CHATS))
        with open(tmp_path / f'{i}.npz', 'rb') as file:
            files.append(file.read())
    assert files[0] == files[1] == files[2]


def test_npz_of_npz(tmp_path, enc):
    first, second = str(tmp_path / '1.npz'), str(tmp_path / '2.npz')
    write_npz(first, Corpus(enc, CHATS))
    write_npz(second, Corpus(enc, first))
    for one, two in zip(read_npz(first, enc), read_npz(second, enc), strict=True):
        assert lists(one) == lists(two)
    assert dataset.read_dialogue(first) == dataset.read_dialogue(second) != None                # noqa: E711


def test_npz_of_another_vocabulary(tmp_path, enc, gpt2):
    path = str(tmp_path / 'out.npz')
    write_npz(path, Corpus(enc, write(tmp_path / 'a.txt', 'hi there')))
    assert lists(load_dataset(enc.extended(['<sp1>']), path)) == lists(load_dataset(enc, path))          # the same, with a token more
    for large in (False, True):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match='out.npz was packed with another vocabulary than this model has: encode the text again'):
            patch.setattr(dataset, 'IN_MEMORY', 0 if large else dataset.IN_MEMORY)
            load_dataset(gpt2, path)
    with zipfile.ZipFile(path, 'a') as archive:
        archive.comment = b'by somebody'
    assert len(load_dataset(gpt2, path)) == 1


def test_npz_of_a_vocabulary_beyond_uint16(tmp_path, enc):
    with open(os.path.join(ROOT, 'models', 'demo', 'encoder.json'), encoding='utf-8') as file:
        ids = json.load(file)
    with open(os.path.join(ROOT, 'models', 'demo', 'vocab.bpe'), encoding='utf-8') as file:
        merges = [tuple(line.split()) for line in file.read().split('\n')[1:-1]]
    far = encoder.Encoder(ids | {'<|endoftext|>': 70000}, merges)
    path = str(tmp_path / 'out.npz')
    write_npz(path, Corpus(far, write(tmp_path / 'a.txt', 'hi')))
    with np.load(path) as npz:
        assert npz['arr_0'].dtype == np.int32 and npz['arr_0'].tolist() == [*enc.encode('hi'), 70000]


def test_npz_with_a_crowd_of_speakers(tmp_path, enc):
    names = [f'Somebody with a long name {i:06}' for i in range(4000)]
    text = 'Theo: a\nMara: b\n' * 20 + ''.join(f'{name}: x\n{name}: y\nTheo: z\n' for name in names)
    path = str(tmp_path / 'out.npz')
    write_npz(path, Corpus(enc, write(tmp_path / 'a.txt', text)))
    assert dataset.read_dialogue(path)['speakers'] == ['Theo', 'Mara', *names]
    [(ids, owners)] = read_npz(path, enc)
    assert owners.max() == 4002 and enc.decode(ids[owners == -4002]) == f'{names[-1]}:' * 2


def test_writing_nothing_is_refused_and_leaves_nothing(tmp_path, enc):
    with pytest.raises(UserError, match='no text.*nothing was written'):
        write_npz(str(tmp_path / 'out.npz'), Corpus(enc, write(tmp_path / 'a.txt', '')))
    assert os.listdir(tmp_path) == ['a.txt']


def test_npz_of_the_forks(tmp_path, enc):
    """Any member names, any integer type, compressed or not; empty members say nothing."""
    path = str(tmp_path / 'fork.npz')
    np.savez(path, tokens=np.array([1, 2, 3], np.int64), b=np.array([2047], np.uint16), none=np.array([], np.int32), c=np.array([[7, 8]], np.uint8)[0])
    assert sorted(ids.tolist() for ids, _ in read_npz(path, enc)) == [[1, 2, 3], [7, 8], [2047]]
    np.savez_compressed(path, np.arange(5, dtype=np.int64), np.arange(3, dtype='>i4'))
    assert lists(load_dataset(enc, path)) == [[0, 1, 2, 3, 4], [0, 1, 2]]
    assert load_corpus(enc, path).dialogue is None


class Pwned:
    def __reduce__(self):
        return os.mkdir, ('pwned',)


def npz(*arrays, **named):
    return lambda path: np.savez(path, *arrays, **named)


def a_pickle(path):
    with open(path, 'wb') as file:
        pickle.dump(Pwned(), file)


def cut(size):
    def make(path):
        np.savez_compressed(path, np.random.default_rng(0).integers(2048, size=5000))
        os.truncate(path, size)
    return make


def member_that_is_no_array(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('arr_0.npy', b'this is no array')
        archive.writestr('readme.txt', b'hello')


def other_member(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', b'hello')


def plain_npy(path):
    with open(path, 'wb') as file:
        np.save(file, np.arange(5))


@pytest.mark.parametrize('make', [
    npz(np.array([Pwned()], dtype=object)), npz(np.array([1.0, 2.0])), npz(np.array([[1, 2], [3, 4]])), npz(np.array(7)), npz(np.array([True, False])),
    npz(np.array(['a', 'b'])), npz(np.array([1, 2, 2048])), npz(np.array([-1, 2])), npz(np.array([1], np.int64) << 40), npz(np.array([2 ** 64 - 1], np.uint64)),
    npz(np.array([1, 2]), bad=np.array([0.5])), a_pickle, cut(0), cut(1), cut(3), cut(30), cut(1000), cut(5000), lambda path: write(path, b'hello there'),
    lambda path: write(path, b'PK\x03\x04'), lambda path: write(path, b'\x93NUMPY\x01'), member_that_is_no_array, other_member, plain_npy, npz(),
], ids=['object', 'float', '2-D', '0-D', 'bool', 'text', 'token 2048', 'token -1', 'token 2^40', 'token 2^64-1', 'second member', 'pickle', 'empty', '1 byte', '3 bytes', '30 bytes',
        'cut', 'cut late', 'garbage', 'PK', 'NUMPY', 'no array', 'other member', 'npy', 'no members'])
def test_what_is_no_npz_of_tokens_is_refused(tmp_path, enc, make, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make('bad.npz')
    with pytest.raises(UserError, match='bad.npz'):
        load_dataset(enc, 'bad.npz')
    assert not os.path.exists('pwned')


def test_a_token_of_another_vocabulary_is_named(tmp_path, enc):
    np.savez(tmp_path / 'bad.npz', np.array([1, 2]), np.array([3, 50256, 4]))
    with pytest.raises(UserError, match='arr_1 holds the token 50256.*has 2048.*--model_name'):
        load_dataset(enc, str(tmp_path / 'bad.npz'))


def test_no_damage_ends_in_a_traceback(tmp_path, enc):
    """Bytes changed, cut out or cut off anywhere: the file is read or refused."""
    path = str(tmp_path / 'damaged.npz')
    write_npz(path, Corpus(enc, write(tmp_path / 'a.txt', TALK * 3)))
    with open(path, 'rb') as file:
        whole = file.read()
    rng = random.Random(0)
    refused = 0
    for _ in range(1500):
        data = bytearray(whole)
        where = rng.randrange(len(data))
        damage = rng.choice(['change', 'change', 'change two', 'cut out', 'cut off', 'insert'])
        if damage.startswith('change'):
            data[where] = rng.randrange(256)
            if 'two' in damage:
                data[rng.randrange(len(data))] = rng.randrange(256)
        elif damage == 'cut out':
            del data[where:where + rng.randrange(1, 40)]
        elif damage == 'cut off':
            del data[where:]
        else:
            data[where:where] = rng.randbytes(rng.randrange(1, 10))
        write(path, bytes(data))
        try:
            load_corpus(enc, path)
        except UserError:
            refused += 1
        except Exception as error:
            raise AssertionError(f'{damage} at {where} of {len(whole)}') from error
    assert refused > 700


@pytest.mark.parametrize('data', [b'', b'hello', b'null', b'7', b'"name"', b'[]', b'{}', b'{"style": "name"}', b'{"style": "name", "speakers": 7}',
                                  b'{"style": "loud", "speakers": [], "turns": []}', b'{"style": ["name"], "speakers": [], "turns": []}',
                                  b'{"style": "name", "speakers": [["a"]], "turns": [1]}', b'{"style": "name", "speakers": ["a"], "turns": []}',
                                  b'{"style": "name", "speakers": ["a"], "turns": ["x"]}', b'{"style": "name", "speakers": [], "turns": [], "special_tokens": {"a": "b"}}',
                                  b'{"style": "name", "speakers": [], "turns": [], "last_time": "x"}', b'\xff\xfe', b'[' * 60000])
def test_a_note_that_is_none_of_ours_is_no_dialogue(tmp_path, enc, data):
    path = str(tmp_path / 'a.npz')
    np.savez(path, np.arange(5), dialogue=np.frombuffer(data, np.uint8))
    loaded = load_corpus(enc, path)
    assert lists(loaded.chunks) == [[0, 1, 2, 3, 4]] and loaded.dialogue is None


def test_owners_that_cannot_be(tmp_path, enc):
    note = np.frombuffer(json.dumps({'style': 'name', 'speakers': ['A', 'B'], 'turns': [1, 1]}).encode(), np.uint8)
    path = str(tmp_path / 'a.npz')
    for owners, words in ((np.array([1, 2]), 'arr_0 has 3 tokens and owners_0 2'), (np.array([1, 2, 3]), 'speaker 3 of 2'), (np.array([1, 2, -3]), 'speaker 3 of 2'),
                          (np.array([.5, 1, 1]), 'owners_0 is no row')):
        np.savez(path, arr_0=np.arange(3), owners_0=owners, dialogue=note)
        with pytest.raises(UserError, match=words):
            load_corpus(enc, path)
    np.savez(path, arr_0=np.arange(3), dialogue=note)            # somebody left the owners out
    assert lists(load_corpus(enc, path).owners) == [[0, 0, 0]]


def test_members_of_any_name_beside_a_dialogue(tmp_path, enc):
    """Owners belong to the arr_ of their number alone; tokens under another name are nobody's."""
    note = np.frombuffer(json.dumps({'style': 'name', 'speakers': ['A', 'B'], 'turns': [1, 1]}).encode(), np.uint8)
    np.savez(tmp_path / 'a.npz', more=np.array([1, 2]), arr_0=np.arange(3), owners_0=np.array([-1, 1, -2]), dialogue=note)
    loaded = load_corpus(enc, str(tmp_path / 'a.npz'))
    assert dict(zip(map(len, loaded.chunks), lists(loaded.owners))) == {2: [0, 0], 3: [-1, 1, -2]}


def test_owners_without_a_dialogue_are_chunks_like_any_other(tmp_path, enc):
    np.savez(tmp_path / 'a.npz', arr_0=np.arange(3), owners_0=np.array([1, 1]))
    assert lists(load_dataset(enc, str(tmp_path / 'a.npz'))) == [[0, 1, 2], [1, 1]]


def test_speakers_of_several_npz_are_numbered_as_one_corpus(tmp_path, enc):
    for name, text in (('1', 'A: x\nB: y\n' * 3), ('2', 'B: x\nC: y\nC: z\n' * 2), ('3', 'C: x\nA: y\n' * 2)):
        text_file = write(tmp_path / 'text.txt', text)
        if name == '3':
            os.rename(text_file, tmp_path / '3.txt')
        else:
            write_npz(str(tmp_path / f'{name}.npz'), Corpus(enc, text_file))
    for name in ('1', '2'):                             # in several chunks their turns are counted once
        with np.load(tmp_path / f'{name}.npz') as npz:
            halves = {f'{kind}_{i}': half for kind in ('arr', 'owners') for i, half in enumerate(np.split(npz[f'{kind}_0'], [5]))}
            np.savez(tmp_path / f'{name}.npz', **halves, dialogue=npz['dialogue'])
    if os.path.exists(tmp_path / 'text.txt'):
        os.remove(tmp_path / 'text.txt')
    loaded = load_corpus(enc, str(tmp_path))
    assert loaded.dialogue == {'style': 'name', 'speakers': ['A', 'B', 'C'], 'turns': [5, 5, 6]}
    for ids, owners in zip(loaded.chunks, loaded.owners):
        for name, number in (('A', 1), ('B', 2), ('C', 3)):
            assert set(enc.decode(ids[owners == -number])) <= set(name + ':')


@pytest.mark.parametrize('others', [[], ['<a>', '<b>', '<c>', '<d>']], ids=['smaller', 'other ids'])
def test_special_tokens_of_another_vocabulary_are_named(tmp_path, enc, gpt2, others):
    path = str(tmp_path / 'a.npz')
    write_npz(path, Corpus(gpt2 if not others else enc, write(tmp_path / 'a.txt', '<bos> <sp1> hi <sp2> ho <eos>\n' * 3)))
    with pytest.raises(UserError, match='<bos> is token (50257|2048) there and (2048|2052) in this vocabulary; .*--model_name'):
        load_corpus(enc.extended(others), path)


def test_special_tokens_that_a_vocabulary_has_keep_their_ids(tmp_path, enc):
    grown = enc.extended(['<sp2>', '<eos>', '<sp1>', '<bos>'])
    loaded = load_corpus(grown, write(tmp_path / 'a.txt', '<bos> <sp1> hi <sp2> ho <eos>\n' * 3))
    assert loaded.enc.n_vocab == 2052 and loaded.chunks[0][[0, 1]].tolist() == [2051, 2050]
    path = str(tmp_path / 'a.npz')
    write_npz(path, Corpus(grown, str(tmp_path / 'a.txt')))
    assert lists(load_corpus(grown, path).chunks) == lists(loaded.chunks)


# ---- a corpus that stays on the disk

@contextlib.contextmanager
def on_disk(**sizes):
    """What is loaded in here is too large for memory, as are the tables of its turns, and is read in small parts."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, size in ((dataset, 'IN_MEMORY', 0), (batches, 'PART', 50), (dataset, 'UNIT', 1), (shards, 'IN_MEMORY', 0), (shards, 'BLOCK', 128), (shards, 'SMALL', 3000)):
            patch.setattr(module, name, sizes.get(name, size))
        yield


@pytest.fixture(scope='module')
def mixture(tmp_path_factory, enc):
    """Text and npz in turn: other speakers, several chunks, an empty one, owners left out, stored and not, one too large to be unpacked each time."""
    folder = tmp_path_factory.mktemp('mixture')
    texts = [read(os.path.join(CHATS, name)) for name in sorted(os.listdir(CHATS))]
    write(folder / '1.txt', texts[0][:20000])
    write_npz(str(folder / '2.npz'), Corpus(enc, os.path.join(CHATS, sorted(os.listdir(CHATS))[1])))
    write(folder / '3.txt', texts[2][-9000:])
    write_npz(str(folder / '4.npz'), Corpus(enc, str(folder / '[13].txt'), combine=1))
    with np.load(folder / '4.npz') as npz:
        np.savez(folder / '4.npz', **npz, arr_2=np.zeros(0, np.int64), arr_3=np.arange(20))
    write(folder / '5.txt', TALK)
    return str(folder)


def test_what_is_loaded_is_the_same_on_the_disk(mixture, enc):
    loaded, steps, sentences = load_corpus(enc, mixture), [], []
    with on_disk():
        large = load_corpus(enc, mixture, progress=steps.append, say=sentences.append)
        assert isinstance(large.chunks, shards.Rows) and len(loaded.chunks) == 7 and large.dialogue == loaded.dialogue
        assert lists(row[:] for row in large.chunks) == lists(loaded.chunks) and lists(row[:] for row in large.owners) == lists(loaded.owners)
        assert sum(steps) == Corpus(enc, mixture).size and min(steps) >= 0
        assert len(sentences) == 1 and re.search(r'2\.npz is compressed in too large members .* GB are unpacked into a temporary file in .*encode.py', sentences[0])
        plain = load_dataset(enc, mixture, legacy_endoftext=True)
        assert isinstance(plain, shards.Rows)
    assert lists(row[:] for row in plain) == lists(load_dataset(enc, mixture, legacy_endoftext=True))


@pytest.mark.parametrize('windows', ['tokens', 'turns'])
@pytest.mark.parametrize('learn_from', [None, 'Mara', 'replies'])
def test_batches_are_the_same_from_the_disk(mixture, enc, windows, learn_from):
    def batches():
        sampler = load_corpus(enc, mixture).sampler(3, windows, learn_from, max_turns=2)
        found = Batches(sampler, 5, 200, enc.n_vocab, noise=0.1, replies=True)
        return sampler.longest, [array.tolist() for _ in range(8) for array in found.next()], found.state
    expected = batches()
    with on_disk():
        assert batches() == expected


def test_an_npz_written_from_the_disk_is_the_same(mixture, tmp_path, enc):
    write_npz(str(tmp_path / '1.npz'), Corpus(enc, mixture))
    with on_disk(SMALL=1 << 20):
        write_npz(str(tmp_path / '2.npz'), Corpus(enc, mixture))
    assert (tmp_path / '1.npz').read_bytes() == (tmp_path / '2.npz').read_bytes()
    assert os.listdir(tmp_path) == ['1.npz', '2.npz'] or os.listdir(tmp_path) == ['2.npz', '1.npz']


def test_large_chunks_are_written_so_that_parts_can_be_read(tmp_path, enc, monkeypatch):
    monkeypatch.setattr(shards, 'SMALL', 1000)
    np.savez(tmp_path / 'in.npz', *(np.full(n, 7, np.int64) for n in (1, 436, 437, 9000)))         # two bytes each, behind a header of 128
    write_npz(str(tmp_path / 'out.npz'), Corpus(enc, str(tmp_path / 'in.npz')))
    with zipfile.ZipFile(tmp_path / 'out.npz') as archive:
        assert [member.compress_type for member in archive.infolist()] == [zipfile.ZIP_DEFLATED] * 2 + [zipfile.ZIP_STORED] * 2
    with np.load(tmp_path / 'out.npz') as npz:
        assert [npz[name].tolist() for name in npz.files] == [[7] * n for n in (1, 436, 437, 9000)]
    assert shards.Npz(str(tmp_path / 'out.npz')).to_unpack == 0


def test_what_is_refused_on_the_disk(tmp_path, enc):
    """A wrong token when the file is opened; a wrong speaker when it matters; no room to unpack before any is."""
    note = np.frombuffer(json.dumps({'style': 'name', 'speakers': ['A', 'B'], 'turns': [1, 1]}).encode(), np.uint8)
    path = str(tmp_path / 'a.npz')
    with on_disk():
        np.savez_compressed(path, np.arange(3), np.append(np.zeros(200, np.int64), 2048))
        with pytest.raises(UserError, match='arr_1 holds the token 2048.*has 2048.*--model_name'):
            load_corpus(enc, path)
        np.savez(path, arr_0=np.arange(3), owners_0=np.array([1, 2]), dialogue=note)
        with pytest.raises(UserError, match='arr_0 has 3 tokens and owners_0 2'):
            load_corpus(enc, path)
        np.savez(path, arr_0=np.arange(3), owners_0=np.array([1, 2, -3]), dialogue=note)
        loaded = load_corpus(enc, path)
        assert loaded.sampler().sample(3).tolist() == [0, 1, 2]
        for asked in ({'windows': 'turns'}, {'learn_from': 'A'}):
            with pytest.raises(UserError, match='a.npz: a token belongs to speaker 3 of 2'):
                loaded.sampler(**asked)
        assert lists(row[:] for row, _ in read_npz(path, enc, scratch=shards.Scratch(path))) == [[0, 1, 2]]          # as of plain text
        np.savez_compressed(path, np.zeros(5000, np.int64))
        with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match='has no room for a temporary file of 0.0 GB .*TMPDIR'):
            patch.setattr(shards.Scratch, 'has_room', lambda self, size: size < 40000)
            load_corpus(enc, path)


def test_owners_that_were_left_out_are_nobodys_on_the_disk(tmp_path, enc):
    note = np.frombuffer(json.dumps({'style': 'name', 'speakers': ['A', 'B'], 'turns': [1, 1]}).encode(), np.uint8)
    np.savez(tmp_path / 'a.npz', arr_0=np.arange(3), dialogue=note)
    with on_disk():
        assert lists(row[:] for row in load_corpus(enc, str(tmp_path / 'a.npz')).owners) == [[0, 0, 0]]


def test_memory_does_not_grow_with_the_corpus(tmp_path, enc):
    """24 million tokens, stored and packed, in large chunks and in small ones, 4 million with whose they are; 2 million turns: 120 MB in all."""
    owners = np.tile(np.array([-1, 1, -2, 2, 2, 0], np.int16), 2000000 // 6)
    arrays = {'arr_0': np.arange(len(owners)).astype(np.uint16) % 2000, 'owners_0': owners} | {f'arr_{i}': np.arange(50000, dtype=np.uint16) % 2000 for i in range(1, 201)}
    note = np.frombuffer(json.dumps({'style': 'name', 'speakers': ['A', 'B'], 'turns': [1, 1]}).encode(), np.uint8)
    for save, name in ((np.savez, 'a.npz'), (np.savez_compressed, 'b.npz')):
        save(tmp_path / name, **arrays, dialogue=note)
    with on_disk(PART=1 << 14, BLOCK=1 << 16, SMALL=1 << 17):
        tracemalloc.start()
        loaded = load_corpus(enc, str(tmp_path))
        for windows, who in (('tokens', None), ('turns', 'A')):
            batches = Batches(loaded.sampler(0, windows, who), 4, 100, 2048)
            for _ in range(100):
                batches.next()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert loaded.chunks[0].length == 1999998 and len(batches.sampler) == 2 * 333333
    assert peak < 6 << 20


def test_the_fingerprint_of_a_dataset(mixture, enc):
    """The same in memory and on the disk, another when a text is longer, ends otherwise, is another in the midst or lies elsewhere, or others speak."""
    loaded = load_corpus(enc, mixture)
    chunks = loaded.chunks
    with on_disk():
        assert dataset.fingerprint(load_corpus(enc, mixture)) == dataset.fingerprint(loaded)
    owned = loaded._replace(chunks=[np.arange(900)], owners=[np.ones(900, np.int32)])
    assert dataset.fingerprint(owned) != dataset.fingerprint(owned._replace(owners=[np.where(np.arange(900) == 450, 2, 1)]))
    midst = np.arange(200_000)
    midst[100:-100] = midst[100:-100][::-1]
    others = [[np.arange(200_000)], [midst], chunks[::-1], chunks[:-1], [chunks[0][:-1], *chunks[1:]], [chunks[0][1:], *chunks[1:]], [np.append(chunks[0][:-1], 7), *chunks[1:]],
              [np.arange(i, i + 5) for i in range(2500)], [np.arange(i, i + 5 + (i == 1)) for i in range(2500)], [np.arange(i + (i == 2499 // 3 * 3), i + 5 + (i == 2499 // 3 * 3)) for i in range(2500)]]
    assert len({dataset.fingerprint(loaded._replace(chunks=other, owners=None)) for other in [chunks, *others]}) == 1 + len(others)


# ---- who speaks

def test_who_learns_must_be_there(tmp_path, enc):
    loaded = load_corpus(enc, write(tmp_path / 'a.txt', TALK * 3))
    with pytest.raises(UserError, match='nobody in the dataset is called mara; there are Mara, Theo'):
        loaded.sampler(learn_from='mara')
    plain = load_corpus(enc, write(tmp_path / 'b.txt', 'Just a text, nothing else.'))
    with pytest.raises(UserError, match='--learn_from needs to know who speaks, .*plain text.*encode.py'):
        plain.sampler(learn_from='replies')
    with pytest.raises(UserError, match='--windows turns needs to know who speaks'):
        plain.sampler(windows='turns')
    assert plain.sampler().counts is None and loaded.sampler().counts is None
    for windows, kind in (('tokens', Sampler), ('turns', TurnSampler)):
        assert type(loaded.sampler(windows=windows)) is kind
        sampler = loaded.sampler(1, windows, 'Theo', 2)
        assert type(sampler) is kind and sampler.counts[0].sum() == len(enc.encode(' hey\n') + [0]) * 3 and getattr(sampler, 'max_turns', 2) == 2


def test_how_long_turns_are():
    """99 of 100 turns; headers do not count, line breaks do; the words of a turn that began in an earlier chunk are no turn."""
    def loaded(*chunks):
        return dataset.Loaded([np.arange(len(owners)) for owners in chunks], [np.array(owners, np.int32) for owners in chunks], {'speakers': ['A', 'B']}, None)

    turns = [[-1, *[1] * n, -2, -2, *[2] * 5, 0] for n in range(1, 101)]
    both = loaded(sum(turns[:40], []), [dialogue.CONTINUES] * 500 + [0] + sum(turns[40:], []))
    assert (both.turn_length('A'), both.turn_length('B'), both.turn_length(), both.turn_length('replies')) == (99, 5, 98, 98)
    assert loaded([-1, 1, 1, 1, 0]).turn_length() == 3 and loaded([0, 0]).turn_length() is None
    assert dataset.Loaded([np.arange(9)], None, None, None).turn_length() is None


def test_ranked_and_remembered():
    known = {'style': 'name', 'speakers': ['A', 'B', 'C', 'D'], 'turns': [2, 5, 2, 9], 'last_time': 7, 'special_tokens': {}}
    assert dataset.ranked(known) == ['D', 'B', 'A', 'C']                # as many turns: whoever came first
    assert dataset.remembered(known, 'B', 31) == dataset.remembered(known, 'B') | {'length': 31}
    assert dataset.remembered(known, 'B') == {'style': 'name', 'speakers': ['D', 'B', 'A', 'C'], 'learnt': 'B', 'last_time': 7}
    assert dataset.remembered(known, 'replies') == dataset.remembered(known) == {'style': 'name', 'speakers': ['D', 'B', 'A', 'C'], 'last_time': 7}
    seats = {'style': 's', 'speakers': ['<s>', '</s>'], 'turns': [9, 1]}
    assert dataset.remembered(seats) == {'style': 's', 'speakers': ['</s>', '<s>']}           # of two seats the second is you


# ---- what is held out

def laid_out(chunks, front):
    """[[[(speaker, tokens of the header, tokens of the words)]]] -> owners of each chunk, with nobody's token behind each conversation
    and, where `front`, one before the first; and [(chunk, [(start, stop) of each turn])], a conversation each."""
    owners, talks = [], []
    for i, conversations in enumerate(chunks):
        row = [0] * front
        for turns in conversations:
            places = []
            for speaker, header, words in turns:
                places.append((len(row), len(row) + header + words))
                row += [-speaker] * header + [speaker] * words
            talks.append((i, places))
            row.append(0)
        owners.append(np.array(row, np.int32))
    return owners, talks


named_turns = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6))
conversations = st.lists(st.one_of(
    st.lists(named_turns, min_size=1, max_size=6),
    st.lists(st.integers(2, 6), min_size=1, max_size=6).map(lambda words: [(1 + i % 2, 0, n) for i, n in enumerate(words)])), min_size=1, max_size=4)      # dialogpt: a word and <|endoftext|>


def in_pieces(loaded):
    """The conversations of a dataset as (ids, owners), each with the token of nobody's that ends it."""
    found = []
    for ids, owners in zip(loaded.chunks, loaded.owners):
        ids, owners = ids[:].tolist(), owners[:].tolist()
        ends = [i + 1 for i in range(1, len(ids)) if owners[i] == 0 and owners[i - 1] != 0]
        found += [(tuple(ids[a:b]), tuple(owners[a:b])) for a, b in zip([0, *ends], [*ends, len(ids)]) if a < b]
    return found


@settings(deadline=None, derandomize=True, max_examples=100)
@given(chunks=st.lists(conversations, min_size=1, max_size=6), front=st.booleans(), share=st.floats(0.01, 0.5), large=st.booleans())
def test_conversations_are_held_out_whole(chunks, front, share, large, tmp_path_factory):
    """Every conversation is in one of the two and whole, the share is as near as they allow, and it is the same division every time."""
    owners, talks = laid_out(chunks, front)
    starts = np.cumsum([0, *map(len, owners)])
    loaded = dataset.Loaded([start + np.arange(len(row)) for start, row in zip(starts, owners)], owners, {}, None)
    if len(talks) < 2:
        with pytest.raises(UserError, match='the dataset is a single conversation, of which none can be held out for validation: add others, or give --val_dataset'):
            loaded.divided(share)
        return
    parts = loaded.divided(share)
    assert collections.Counter(in_pieces(parts[0]) + in_pieces(parts[1])) == collections.Counter(in_pieces(loaded))
    training, held_out = (sum(map(len, part.chunks)) for part in parts)
    largest = max(len(ids) for ids, _ in in_pieces(loaded))
    assert training and held_out and abs(held_out - share * starts[-1]) <= largest
    assert all(len(part.chunks) <= len(chunks) for part in parts)       # what is left of a chunk stays one: windows are no shorter
    assert [lists(part.chunks) for part in loaded.divided(share)] == [lists(part.chunks) for part in parts]
    if large:
        path = tmp_path_factory.getbasetemp() / 'held_out.npz'
        note = np.frombuffer(json.dumps({'style': 'name', 'speakers': ['A', 'B', 'C'], 'turns': [1, 1, 1]}).encode(), np.uint8)
        np.savez(path, **{f'arr_{i}': ids for i, ids in enumerate(loaded.chunks)}, **{f'owners_{i}': row for i, row in enumerate(owners)}, dialogue=note)
        with on_disk():
            enc = SimpleNamespace(n_vocab=10 ** 6, eot=0, special_tokens={}, extended=lambda names: None)
            enc.extended = lambda names: enc
            again = load_corpus(enc, str(path)).divided(share)
            assert all(isinstance(part.chunks, shards.Rows) for part in again)
            for part, of_disk in zip(parts, again):
                for rows, others in zip(part[:2], of_disk[:2]):
                    assert [i for row in rows for i in row.tolist()] == [i for row in others for i in row[:].tolist()]


def test_what_is_held_out_is_spread_over_the_dataset():
    owners = [np.tile(np.array([-1, 1, -2, 2, 0], np.int32), 100)]
    training, held_out = dataset.Loaded([np.arange(500)], owners, {}, None).divided(0.1)
    first = held_out.chunks[0][::5] // 5
    assert first.tolist() == list(range(5, 100, 10)) and len(training.chunks[0]) == 450


def test_conversations_keep_the_token_in_front_of_them(tmp_path, enc):
    loaded = load_corpus(enc, write(tmp_path / 'a.txt', '<bos> <sp1> hi <sp2> ho <eos>\n' * 10))
    for part in loaded.divided(0.2):
        assert loaded.enc.decode(part.chunks[0]).replace('<bos><sp1> hi<sp2> ho<eos>', '') == '' and part.sampler(0, 'turns')


def test_the_smallest_part_that_is_near_enough():
    """Of two or three conversations one is held out, the one nearest to what was asked for; words of nobody's are none."""
    talk = [-1, 1, 1, -2, 2]
    for sizes, expected in (((9, 2), 1), ((2, 9), 0), ((5, 5, 5), 0), ((9, 4, 8), 1), ((1, 1), 0), ((1, 6, 400), 1)):
        owners = np.concatenate([[*talk * n, 0] for n in sizes] + [[0, 0]]).astype(np.int32)
        _, held_out = dataset.Loaded([np.arange(len(owners))], [owners], {}, None).divided(0.02)
        assert len(held_out.chunks[0]) == 5 * sizes[expected] + 1 and held_out.chunks[0][0] == sum(5 * n + 1 for n in sizes[:expected])
    with pytest.raises(UserError, match='a single conversation'):
        dataset.Loaded([np.arange(8)], [np.array([*talk, 0, 0, 0])], {}, None).divided(0.1)


def test_the_end_of_a_long_conversation_is_found():
    for n in (*range(2, 9), *range(250, 263), *range(765, 773)):
        owners = np.array([1] * n + [0, -2, 2, 0], np.int32)
        assert lists(dataset.Loaded([np.arange(n + 4)], [owners], {}, None).divided(0.5)[1].chunks) == [[n + 1, n + 2, n + 3]]


def plain(*chunks, eot=9):
    return dataset.Loaded([np.array(chunk) for chunk in chunks], None, None, SimpleNamespace(eot=eot))


def test_documents_are_held_out_whole():
    training, held_out = plain([1, 1, 9] * 10, [2, 2, 2], [3, 3, 9, 3, 3, 9, 3, 3, 9, 4, 4, 4]).divided(0.25)          # the third, then every fourth
    assert (lists(training.chunks), lists(held_out.chunks)) == ([[1, 1, 9] * 8, [3, 3, 9] * 3], [[1, 1, 9] * 2, [2, 2, 2], [4, 4, 4]])
    assert training.owners is None and held_out.dialogue is None
    chunks = [[i] * 50 for i in range(20)]              # without <|endoftext|> a chunk is a document
    assert lists(plain(*chunks).divided(0.1)[1].chunks) == [chunks[5], chunks[15]]


@pytest.mark.parametrize('chunks, share, held_out', [
    ([range(100)], 0.1, range(90, 100)), ([range(100)], 0.001, range(98, 100)), ([range(4)], 0.5, range(2, 4)),
    ([range(10), range(200, 290)], 0.2, range(270, 290)),           # few documents: near the end of the last
])
def test_of_a_single_text_the_last_part_is_held_out(chunks, share, held_out):
    training, held = plain(*chunks, eot=1000).divided(share)
    assert lists(held.chunks) == [list(held_out)]
    assert [i for chunk in training.chunks for i in chunk] == [i for chunk in chunks for i in chunk if i not in held_out]


def test_without_endoftext_a_chunk_is_a_document():
    """As in a vocabulary of characters, whose first, 0, is a token like any other."""
    training, held_out = plain([0, 1, 2] * 10, eot=None).divided(0.1)
    assert (lists(training.chunks), lists(held_out.chunks)) == ([[0, 1, 2] * 9], [[0, 1, 2]])


@pytest.mark.parametrize('chunks, share, error, words', [
    ([range(3)], 0.1, UserError, 'the dataset has 3 tokens, too few to hold some out for validation: add text, or give --val_dataset'),
    ([range(100)], 0, UsageError, 'a share of 0 cannot be held out'), ([range(100)], 0.6, UsageError, 'a share of 0.6 .*up to 0.5'),
])
def test_what_cannot_be_divided(chunks, share, error, words):
    with pytest.raises(error, match=words):
        plain(*chunks).divided(share)


def test_on_the_disk_conversations_are_held_out_by_the_unit(tmp_path, enc):
    """What is cut off is long, so that windows are not cut short: here at least 1000 tokens."""
    write_npz(str(tmp_path / 'a.npz'), Corpus(enc, CHATS, combine=1))
    expected = in_pieces(load_corpus(enc, str(tmp_path / 'a.npz')))
    with on_disk(UNIT=1000):
        training, held_out = load_corpus(enc, str(tmp_path / 'a.npz')).divided(0.1)
        assert sum(len(row) < 1000 for row in held_out.chunks) <= len(os.listdir(CHATS)) and 5 < len(held_out.chunks) < 20     # a chunk ends where it ends
        assert collections.Counter(in_pieces(training) + in_pieces(held_out)) == collections.Counter(expected)
        assert len(training.chunks) <= len(held_out.chunks) + len(os.listdir(CHATS))          # what is next to each other is in one piece
        total = sum(map(len, training.chunks)) + sum(map(len, held_out.chunks))
        assert abs(sum(map(len, held_out.chunks)) - 0.1 * total) < 1000

"""The tokenizer against the original's golden ids, and against the algorithm written out slowly.

The reference follows the GPT-2 paper (section 2.2) and Sennrich et al. 2016 step by step: a word's bytes, then the pair that was
learnt first is joined wherever it stands, and so on until no learnt pair is left.
"""
import functools
import json
import os
import random
import shutil
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import regex
from conftest import GOLDEN, ROOT, VALIDATION
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src import encoder, words
from src.console import UserError

DEMO = os.path.join(ROOT, 'models', 'demo')
often = settings(deadline=None, derandomize=True, max_examples=400)

# ---- the reference

WORD = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")


def printable_bytes():
    """[256] the character that stands for each byte: itself where Latin-1 shows something, else the next one from 256 up."""
    characters, following = [], 256
    for byte in range(256):
        shown = 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte
        characters.append(chr(byte) if shown else chr(following))
        following += not shown
    return characters


class Reference:
    """The slow tokenizer of a folder's encoder.json and vocab.bpe."""

    def __init__(self, folder):
        with open(os.path.join(folder, 'encoder.json'), encoding='utf-8') as file:
            self.ids = json.load(file)
        with open(os.path.join(folder, 'vocab.bpe'), encoding='utf-8') as file:
            pairs = [tuple(line.split()) for line in file.read().split('\n')[1:-1]]
        self.learnt = {pair: i for i, pair in enumerate(pairs)}
        self.printable = printable_bytes()
        self.of_word = functools.lru_cache(None)(self._of_word)

    def _of_word(self, word):
        parts = [self.printable[byte] for byte in word.encode('utf-8')]
        while True:
            known = [pair for pair in zip(parts, parts[1:]) if pair in self.learnt]
            if not known:
                return [self.ids[part] for part in parts]
            left, right = min(known, key=self.learnt.get)
            joined = []
            while parts:
                both = parts[:2] == [left, right]
                joined.append(left + right if both else parts[0])
                parts = parts[2 if both else 1:]
            parts = joined

    def encode(self, text):
        return [i for word in WORD.findall(text) for i in self.of_word(word)]


# Strings that tokenizers get wrong: what text exports, emoji keyboards and other scripts put side by side.
SPICE = ['\0', '\x01\x7f', '\x1c', '\x85', '\xa0', '\u2028', '\ufeff', '\u200b', '\u200d', '\u180e', '\u3000', '\r\n', '\r', '\n', '\n\n', ' ', '  ', '\t',
         "'s", "'ll", "I'M", "don't", "''", '’s', ' 3.14', '１２', '²', '½', 'Ⅷ', '٣', '<|endoftext|>', '<|', '😀', '👩\u200d👩\u200d👧', '🇧🇬', '❤️', '👍🏽', '你好，', 'こんにちは',
         '한국', '각', 'مرحبا', 'שָׁלוֹם', '\u202eabc\u202c', 'e\u0301', 'Z͑ͫ̓', 'नमस्ते', 'ﬁ', 'ß', 'İ', 'ǅ', '𝒳', '𐍈', '\U000e0041', '\U0010ffff', 'the', ' the', 'Hello']
texts = st.lists(st.one_of(st.sampled_from(SPICE), st.text(max_size=6),
                           st.builds(lambda c, n: c * n, st.sampled_from(' \n\t\u3000!aé1😀'), st.integers(1, 300))), max_size=12).map(''.join)


@pytest.fixture(scope='module', params=['as a short text', 'as a long text', 'with a table too small'])
def way(request):
    """How texts are encoded; `as a long text`: all words at once (words.py), however short it is."""
    kept = encoder.LONG, words.BLOCK, words.PLACES
    if request.param != 'as a short text':
        encoder.LONG, words.BLOCK, words.PLACES = 0, 50, 4 if 'small' in request.param else kept[2]
    yield
    encoder.LONG, words.BLOCK, words.PLACES = kept


@pytest.fixture(scope='module')
def gpt2(real_vocabulary, way):
    return encoder.get_encoder('124M', real_vocabulary)


@pytest.fixture(scope='module')
def gpt2_reference(real_vocabulary):
    return Reference(os.path.join(real_vocabulary, '124M'))


@pytest.fixture(scope='module')
def demo(way):
    return encoder.get_encoder('demo', os.path.join(ROOT, 'models'))


@pytest.fixture(scope='module')
def demo_reference():
    return Reference(DEMO)


def encoder_that_joins(lefts, rights):
    """An Encoder that knows the 256 bytes and every pair of these: two bytes that stand in different words show by not being joined."""
    characters = printable_bytes()
    merges = [(left, right) for left in lefts for right in rights]
    return encoder.Encoder({token: i for i, token in enumerate([*characters, *(left + right for left, right in merges), '<|endoftext|>'])}, merges)


def copy_vocabulary(folder, to):
    os.makedirs(to)
    for name in ('encoder.json', 'vocab.bpe'):
        shutil.copy(os.path.join(folder, name), to)
    return str(to)


# ---- text -> ids

@pytest.mark.skipif(not os.path.isfile(os.path.join(GOLDEN, 'tokens.json')), reason='the golden ids are not beside this checkout')
def test_golden_strings(gpt2):
    with open(os.path.join(GOLDEN, 'tokens.json'), encoding='utf-8') as file:
        golden = json.load(file)
    assert len(golden) == 34
    wrong = {entry['text']: gpt2.encode(entry['text']) for entry in golden if gpt2.encode(entry['text']) != entry['ids']}
    assert wrong == {}
    assert all(gpt2.decode(entry['ids']) == entry['text'] for entry in golden)


@pytest.mark.parametrize('text, ids', [
    ('', []),
    ('Hello, world!', [15496, 11, 995, 0]),
    (' leading', [3756]),
    ('trailing ', [9535, 4386, 220]),
    ('two  spaces   three', [11545, 220, 9029, 220, 220, 1115]),
    ("don't I'LL", [9099, 470, 314, 6, 3069]),
    ('a<|endoftext|>b', [64, 27, 91, 437, 1659, 5239, 91, 29, 65]),
    ('\0\x01\x7f', [188, 189, 221]),
    ('😀', [47249, 222]),
    ('e\u0301 \u200d \u200b \xa0 \u202f x', [68, 136, 223, 564, 235, 20126, 5624, 564, 107, 2124]),
    ('(1349680884843) Some Name: hi there :)', [7, 1485, 2920, 37397, 3459, 2780, 3559, 8, 2773, 6530, 25, 23105, 612, 14373]),
])
def test_ids_that_gpt2_was_trained_with(gpt2, text, ids):
    assert gpt2.encode(text) == ids
    assert gpt2.decode(ids) == text


def test_byte_table():
    assert [encoder.bytes_to_unicode()[byte] for byte in range(256)] == printable_bytes()
    assert encoder.bytes_to_unicode()[ord(' ')] == 'Ġ' and encoder.bytes_to_unicode()[ord('\n')] == 'Ċ'


@often
@given(text=texts)
@example(text=''.join(SPICE))
@example(text=' '.join(SPICE))
@example(text='\n'.join(reversed(SPICE)))
def test_equals_the_reference_with_gpt2s_vocabulary(gpt2, gpt2_reference, text):
    ids = gpt2.encode(text)
    assert ids == gpt2_reference.encode(text)
    assert gpt2.decode(ids) == text
    assert 50256 not in ids


@often
@given(text=texts)
@example(text=''.join(SPICE))
def test_equals_the_reference_with_the_demos_vocabulary(demo, demo_reference, text):
    ids = demo.encode(text)
    assert ids == demo_reference.encode(text)
    assert demo.decode(ids) == text
    assert 2047 not in ids


def test_equals_the_reference_on_the_demos_chats(gpt2, gpt2_reference, demo, demo_reference):
    with open(VALIDATION, encoding='utf-8') as file:
        text = file.read()
    assert gpt2.encode(text) == gpt2_reference.encode(text)
    assert demo.encode(text) == demo_reference.encode(text)


def test_every_code_point_is_the_letter_digit_sign_or_blank_that_it_was_in_the_original():
    """It is joined to an 'a', a '1' or a '!' in front of it, with which it makes one word, or to none.

    Characters younger than Python's own Unicode tables are left out: what they are depends on the libraries' versions. No token
    of GPT-2 joins any of their bytes to a neighbour, so it cannot be seen there.
    """
    characters = printable_bytes()
    enc = encoder_that_joins('a1!', characters)
    ids = {token: i for i, token in enumerate([*characters, *(left + right for left in 'a1!' for right in characters)])}
    all_characters = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ('Cn', 'Cs')]
    joined = ''.join(all_characters)
    same_word = {'a': set(regex.findall(r'\p{L}', joined)), '1': set(regex.findall(r'\p{N}', joined)), '!': set(regex.findall(r'[^\s\p{L}\p{N}]', joined))}
    assert len(joined) - sum(map(len, same_word.values())) == len(regex.findall(r'\s', joined)) == 25     # Unicode's White_Space
    for left, partners in same_word.items():
        expected = []
        for character in all_characters:
            first, *rest = [characters[byte] for byte in character.encode('utf-8')]
            expected += [ids[left + first]] if character in partners else [ids[left], ids[first]]
            expected += [ids[byte] for byte in rest]
        assert enc.encode(''.join(left + character for character in all_characters)) == expected


@pytest.mark.parametrize('text, same_as', [
    ('a\udc00b', 'a\ufffdb'),
    ('a\ud83db', 'a\ufffdb'),
    ('\ud800', '\ufffd'),
    ('\udfff\udfff', '\ufffd\ufffd'),
    ('\ude00\ud83d', '\ufffd\ufffd'),
    ('\ufeff\ud83d \udc00', '\ufeff\ufffd \ufffd'),
    ('\ud83d\ude00', '😀'),                             # the two halves of one, as JSON escapes leave them
    ('\ud800' + ' ' * 500000 + 'x\udc00', '\ufffd' + ' ' * 500000 + 'x\ufffd'),
], ids=ascii)
def test_lone_surrogates_become_replacement_characters(gpt2, text, same_as):
    assert gpt2.encode(text) == gpt2.encode(same_as)


@pytest.mark.parametrize('text, ids', [
    (' ' * 2000000 + 'x', [220] * 1999999 + [2124]),                          # the last blank goes with the x
    ('\n' * 2000000 + 'x', [628] * 999999 + [198, 198, 87]),                  # 628 is two newlines; the last one stands alone
    ('x' * 2000000, [24223] * 250000),                                        # eight a token
    ('1' * 1200000, [26259] * 300000),                                        # four
    (('\t' * 50000 + 'y') * 10, ([197] * 50000 + [88]) * 10),
    ('hi' + ' ' * 450000 + 'x\n\n', [5303] + [220] * 449999 + [2124, 628]),
], ids=['blanks', 'newlines', 'letters', 'digits', 'several runs', 'in the middle'])
def test_runs_that_overflow_a_backtracking_matcher(gpt2, text, ids):
    assert gpt2.encode(text) == ids


# ---- ids -> text

@often
@given(st.lists(texts, max_size=6))
@example([])
@example(['', ''])
@example(['  ', "'s", ' ', '', 'x\ud83d', '\ude00'])
def test_many_texts_are_each_as_it_is_alone(gpt2, several):
    ids, counts = gpt2.encode_all(several)
    alone = [gpt2._bpe.encode_ordinary(text) for text in several]
    assert ids.dtype == np.int32 and ids.tolist() == [i for each in alone for i in each] and counts.tolist() == [*map(len, alone)]
    if several:
        assert gpt2.join(several).tolist() == [i for k, each in enumerate(alone) for i in ([gpt2.eot] if k else []) + each]


def test_words_of_all_lengths_and_many_tokens(gpt2):
    draw = random.Random(1)
    for alphabet in ('ab', 'éß', '你', '😀🙂', '!?', '\t ', '19'):
        text = ' x '.join(''.join(draw.choices(alphabet, k=k)) for k in [*range(20)] * 3)
        assert gpt2.encode(text) == gpt2._bpe.encode_ordinary(text), alphabet


def test_several_threads_at_once(gpt2):
    draw = random.Random(2)
    several = [' '.join(f'word{draw.randrange(500)}' for _ in range(3000)) for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert [*pool.map(gpt2.encode, several)] == [gpt2._bpe.encode_ordinary(text) for text in several]


def test_decode_replaces_what_is_no_utf8(gpt2):
    assert gpt2.decode([47249]) == '\ufffd'                                   # three of the four bytes of an emoji
    assert gpt2.decode([222, 15496]) == '\ufffdHello'
    assert gpt2.decode_bytes([47249, 222]) == '😀'.encode()
    assert gpt2.decode([15496, 50256, 15496]) == 'Hello<|endoftext|>Hello'


@pytest.mark.parametrize('unknown', [50257, -1, 10 ** 9])
def test_an_unknown_id_is_named(gpt2, unknown):
    with pytest.raises(UserError, match=f'{unknown}.*50257'):
        gpt2.decode([15496, unknown])
    with pytest.raises(UserError, match=f'{unknown}.*50257'):
        gpt2.stream_decoder().push([unknown])


def test_stream_holds_an_emoji_back_until_it_is_whole(gpt2):
    stream = gpt2.stream_decoder()
    assert [stream.push([i]) for i in (15496, 12520, 229, 100, 0)] == ['Hello', ' ', '', '🇧', '!']
    assert stream.finish() == ''


def test_stream_shows_what_never_ended(gpt2):
    stream = gpt2.stream_decoder()
    assert stream.push([47249]) == '' and stream.finish() == '\ufffd'
    stream = gpt2.stream_decoder()
    assert stream.push([47249]) + stream.push([15496]) == '\ufffdHello'


@often
@given(text=texts.map(lambda text: text.replace('\ufffd', '')))
def test_stream_token_by_token_gives_the_text(gpt2, text):
    stream, shown = gpt2.stream_decoder(), ''
    for i in gpt2.encode(text):
        shown += stream.push([i])
        assert text.startswith(shown)                   # so no U+FFFD, nor anything that is taken back
    assert shown == text and stream.finish() == ''


@often
@given(ids=st.lists(st.integers(0, 50256), max_size=30), cut=st.integers(0, 30))
def test_stream_equals_decode_on_any_ids(gpt2, ids, cut):
    stream = gpt2.stream_decoder()
    assert stream.push(ids[:cut]) + stream.push(ids[cut:]) + stream.finish() == gpt2.decode(ids)


# ---- vocabularies

def test_attributes(gpt2, demo):
    assert (gpt2.n_vocab, gpt2.eot, gpt2.special_tokens) == (50257, 50256, {'<|endoftext|>': 50256})
    assert (demo.n_vocab, demo.eot, demo.special_tokens) == (2048, 2047, {'<|endoftext|>': 2047})


@pytest.mark.parametrize('old, new', [('117M', '124M'), ('345M', '355M')])
def test_the_first_names_of_the_models_still_work(tmp_path, demo, old, new):
    copy_vocabulary(DEMO, tmp_path / new)
    assert encoder.get_encoder(old, str(tmp_path)).encode('hi Mara') == demo.encode('hi Mara')


def test_a_folder_is_a_model(tmp_path, demo):
    folder = copy_vocabulary(DEMO, tmp_path / 'run1')
    assert encoder.get_encoder(folder, str(tmp_path / 'no models')).encode('hi Mara') == demo.encode('hi Mara')


def test_ids_in_any_order(tmp_path, demo):
    folder = copy_vocabulary(DEMO, tmp_path / 'permuted')
    order = list(range(2048))
    random.Random(0).shuffle(order)
    with open(os.path.join(DEMO, 'encoder.json'), encoding='utf-8') as file:
        ids = json.load(file)
    with open(os.path.join(folder, 'encoder.json'), 'w', encoding='utf-8') as file:
        json.dump({token: order[i] for token, i in ids.items()}, file)
    permuted = encoder.get_encoder(folder)
    for text in ['Theo: hey mara, how was your day?', ''.join(SPICE), ' ' * 500000 + 'x', 'a\udc00b']:
        assert permuted.encode(text) == [order[i] for i in demo.encode(text)]
        assert permuted.decode(permuted.encode(text)) == demo.decode(demo.encode(text))
    assert permuted.eot == order[2047] and permuted.n_vocab == 2048


def test_special_tokens_of_ones_own_are_ids_only(tmp_path, demo):
    folder = copy_vocabulary(DEMO, tmp_path / 'more')
    with open(os.path.join(DEMO, 'encoder.json'), encoding='utf-8') as file:
        ids = json.load(file) | {'<pad>': 2048, '<sp1>': 2049}
    with open(os.path.join(folder, 'encoder.json'), 'w', encoding='utf-8') as file:
        json.dump(ids, file)
    more = encoder.get_encoder(folder)
    assert more.n_vocab == 2050
    assert more.special_tokens == {'<|endoftext|>': 2047, '<pad>': 2048, '<sp1>': 2049}
    assert more.encode('<pad><sp1>') == demo.encode('<pad><sp1>')
    assert more.decode([2049, *demo.encode('hi'), 2048]) == '<sp1>hi<pad>'


def test_windows_line_ends_in_the_merges(tmp_path, demo):
    folder = copy_vocabulary(DEMO, tmp_path / 'crlf')
    with open(os.path.join(DEMO, 'vocab.bpe'), 'rb') as file:
        merges = file.read()
    with open(os.path.join(folder, 'vocab.bpe'), 'wb') as file:
        file.write(merges.replace(b'\n', b'\r\n'))
    assert encoder.get_encoder(folder).encode('hi Mara, good evening') == demo.encode('hi Mara, good evening')


def test_a_missing_model_names_those_that_are_there(tmp_path):
    copy_vocabulary(DEMO, tmp_path / 'run7')
    copy_vocabulary(DEMO, tmp_path / 'run8')
    with pytest.raises(UserError, match='no model 124M.*run7, run8'):
        encoder.get_encoder('124M', str(tmp_path))
    with pytest.raises(UserError, match='no model 124M.*none'):
        encoder.get_encoder('124M', str(tmp_path / 'nowhere'))


@pytest.mark.parametrize('name', ['encoder.json', 'vocab.bpe'])
def test_a_missing_file_is_named(tmp_path, name):
    folder = copy_vocabulary(DEMO, tmp_path / 'model')
    os.remove(os.path.join(folder, name))
    with pytest.raises(UserError, match=name):
        encoder.get_encoder(folder)


@pytest.mark.parametrize('content', ['', '{', '{"!": 0', '{"!": 0, "a"', '[]', '[1, 2]', 'null', '7', '"text"', '{"!": "0"}', '{"!": null}', '{}', '{"!": 0}'])
def test_a_damaged_encoder_json(tmp_path, content):
    folder = copy_vocabulary(DEMO, tmp_path / 'model')
    with open(os.path.join(folder, 'encoder.json'), 'w', encoding='utf-8') as file:
        file.write(content)
    with pytest.raises(UserError, match='encoder.json.*download'):
        encoder.get_encoder(folder)


@pytest.mark.parametrize('damage', [lambda data: data[:5000] + b'\xff\xfe' + data[5002:], lambda data: data.replace(b'\nt h\n', b'\nt h e\n', 1),
                                    lambda data: data.replace(b'\nt h\n', b'\nth\n', 1), lambda data: b'<html>404 not found</html>\n'],
                         ids=['no utf-8', 'three parts', 'one part', 'another page'])
def test_a_damaged_vocab_bpe(tmp_path, damage):
    folder = copy_vocabulary(DEMO, tmp_path / 'model')
    with open(os.path.join(DEMO, 'vocab.bpe'), 'rb') as file:
        whole = file.read()
    assert damage(whole) != whole
    with open(os.path.join(folder, 'vocab.bpe'), 'wb') as file:
        file.write(damage(whole))
    with pytest.raises(UserError, match='vocab.bpe.*download'):
        encoder.get_encoder(folder)


@pytest.mark.parametrize('kept', [0, 1, 2, 1000, 1700])
def test_a_vocab_bpe_cut_short(tmp_path, kept):
    """Tokens that no merge makes any more are no special tokens: the text would come out in other pieces without a word."""
    folder = copy_vocabulary(DEMO, tmp_path / 'model')
    with open(os.path.join(DEMO, 'vocab.bpe'), encoding='utf-8') as file:
        lines = file.readlines()
    with open(os.path.join(folder, 'vocab.bpe'), 'w', encoding='utf-8') as file:
        file.writelines(lines[:kept])
    with pytest.raises(UserError, match='vocab.bpe.*download'):
        encoder.get_encoder(folder)


@pytest.mark.parametrize('character', ['\xa0', '漢'])
def test_a_vocabulary_that_is_not_of_bytes(character):
    with pytest.raises(UserError, match=f'gpt2: {character!r} in vocab.bpe stands for no byte'.replace('\\', r'\\')):
        encoder_that_joins('a', [character])


def test_two_files_of_different_models(tmp_path, real_vocabulary):
    for mixed, donor in (('a', 'encoder.json'), ('b', 'vocab.bpe')):
        folder = copy_vocabulary(DEMO, tmp_path / mixed)
        shutil.copy(os.path.join(real_vocabulary, '124M', donor), folder)
        with pytest.raises(UserError, match='encoder.json lacks.*do not belong together'):
            encoder.get_encoder(folder)

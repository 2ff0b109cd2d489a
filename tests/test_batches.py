"""Chunks -> batches: whose words are learnt, which windows are drawn, against what can be counted by hand or by brute force."""
import collections
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dataset import conversations, laid_out, write

from src import batches, dialogue, encoder
from src.batches import Ahead, Batches, Sampler, TurnSampler
from src.console import UsageError, UserError
from src.dataset import load_corpus


@pytest.fixture(scope='module')
def enc():
    return encoder.get_encoder('demo', os.path.join(ROOT, 'models'))


# ---- whose words are learnt

THREE = [('Theo', 'hi'), ('Mara', 'good day'), ('Theo', 'ok')]
ROW = [('Mara', 'a'), ('Mara', 'b'), ('Theo', 'c'), ('Theo', 'd')]      # where a style knows names, turns in a row stay turns


def marked(enc, ids, counts):
    """The text with what is learnt in brackets."""
    return ''.join((' [' if on else '] ') * (on != before) + enc.decode([i]) for i, on, before in zip(ids, counts, [False, *counts])).replace(' [', '[').replace('] ', ']') + ']' * bool(counts[-1])


@pytest.mark.parametrize('style, who, talk, expected', [
    ('name', 'Mara', THREE, 'Theo: hi\nMara:[ good day\nTheo]: ok\n<|endoftext|>'),
    ('name', 'Theo', THREE, 'Theo:[ hi\nMara]: good day\nTheo:[ ok\n<|endoftext|>]'),
    ('name', 'replies', THREE, 'Theo: hi\nMara:[ good day\nTheo]:[ ok\n<|endoftext|>]'),
    ('name', 'Mara', ROW, 'Mara:[ a\nMara]:[ b\nTheo]: c\nTheo: d\n<|endoftext|>'),
    ('name', 'replies', ROW, 'Mara: a\nMara:[ b\nTheo]:[ c\nTheo]:[ d\n<|endoftext|>]'),
    ('timestamp', 'Mara', THREE, '(1) Theo: hi\n(2) Mara:[ good day\n(]3) Theo: ok\n<|endoftext|>'),
    ('said', 'Mara', THREE, 'Theo said: "hi"\nMara said:[ "good day"\nTheo] said: "ok"\n<|endoftext|>'),
    ('dialogpt', 'B', THREE, 'hi<|endoftext|>[good day<|endoftext|>]ok<|endoftext|><|endoftext|>'),
    ('dialogpt', 'A', THREE, '[hi<|endoftext|>]good day<|endoftext|>[ok<|endoftext|><|endoftext|>]'),
    ('dialogpt', 'replies', THREE, 'hi<|endoftext|>[good day<|endoftext|>ok<|endoftext|><|endoftext|>]'),
    ('tokens', '<sp2>', THREE, '<bos><sp1> hi<sp2>[ good day<sp1>] ok<eos>'),
    ('tokens', 'replies', THREE, '<bos><sp1> hi<sp2>[ good day<sp1>][ ok<eos>]'.replace('][', '')),
    ('s', '</s>', THREE, '<s> hi</s>[ good day<s>] ok<|endoftext|>'),
    ('s', '<s>', THREE, '<s>[ hi</s>] good day<s>[ ok<|endoftext|>]'),
], ids=str)
def test_learnt_by_hand(tmp_path, enc, style, who, talk, expected):
    """Words and what ends them, with the first token behind; of three conversations alike."""
    style = dialogue.get_style(style)
    talk = dialogue.seated(dialogue.Conversation([dialogue.Turn(*turn, i) for i, turn in enumerate(talk, 1)]), style, you='Mara')
    loaded = load_corpus(enc, write(tmp_path / 'a.txt', style.render(talk) * 3))
    [ids], [owners] = loaded.chunks, loaded.owners
    counts = batches.learnt(owners, who, loaded.dialogue['speakers'])
    assert counts.dtype == bool
    third = len(ids) // 3
    for start in (0, third, 2 * third):
        assert marked(loaded.enc, ids[start:start + third].tolist(), counts[start:start + third].tolist()) == expected
    assert not (set(batches.Turns(owners).starts[batches.Turns(owners).opens] % third) - {int(style.name == 'tokens')})


def test_learnt_of_a_chunk_without_turns():
    for owners in ([], [0], [0, 0, 0], [-1], [-1, -1]):
        for who in ('A', 'replies'):
            assert not batches.learnt(np.array(owners, np.int32), who, ['A']).any()


@settings(deadline=None, derandomize=True, max_examples=150)
@given(owners=st.lists(st.sampled_from([0, -1, 1, 1, -2, 2, 2]), max_size=60), who=st.sampled_from(['A', 'B', 'replies']), where=st.tuples(st.integers(0, 60), st.integers(0, 60)), part=st.integers(1, 9))
def test_learnt_of_a_part_is_a_part_of_what_is_learnt(owners, who, where, part):
    """Worked out for a slice alone, and conversation by conversation."""
    owners, where = np.array(owners, np.int32), slice(*where)
    expected = batches.learnt(owners, who, 'AB')
    row = batches.Learnt([None, owners], who, 'AB')[1]
    assert len(row) == len(owners) and row[where].tolist() == expected[where].tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, 'PART', part)
        parts = list(batches.whole_conversations(owners))
    assert [i for start, piece in parts for i in range(start, start + len(piece))] == list(range(len(owners)))
    assert [on for _, piece in parts for on in batches.learnt(piece, who, 'AB').tolist()] == expected.tolist()
    assert all(len(piece) <= part or (piece[:part] != 0).all() for _, piece in parts)


def test_a_long_conversation_is_looked_through_to_its_beginning():
    owners = np.concatenate([[0, 1, 0], np.tile([-1, 1, -2, 2], 500)])
    for who in ('A', 'replies'):
        assert batches.Learnt([owners], who, 'AB')[0][1990:].tolist() == batches.learnt(owners, who, 'AB')[1990:].tolist()


# ---- the sampler

def drawn(sampler, length):
    """The tokens at a random place, and for each whether it is learnt."""
    (i, start, stop), counts = sampler.draw(length)
    return sampler.chunks[i][start:stop], counts


def test_every_start_is_equally_likely():
    chunks = [np.arange(100, 110), np.arange(200, 203), np.arange(300, 325), np.arange(400, 405)]
    sampler = Sampler(chunks, seed=0)
    # length 5: 6 starts in the first chunk, the second is too short and has one, 21 in the third, 1 in the last
    starts = [*range(100, 106), 200, *range(300, 321), 400]
    counts = dict.fromkeys(starts, 0)
    for _ in range(29000):
        tokens = sampler.sample(5)
        assert tokens.tolist() == list(range(tokens[0], tokens[0] + (3 if tokens[0] == 200 else 5)))      # one piece of one chunk
        counts[int(tokens[0])] += 1                     # a start that is none of these is a KeyError
    chi_square = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    assert chi_square < 56.9                            # 28 degrees of freedom: more in one of 1000 fair samplers


def test_the_sampler_changes_length_in_between():
    sampler = Sampler([np.arange(10)], seed=0)
    seen = {length: {int(sampler.sample(length)[0]) for _ in range(300)} for length in (10, 9, 5, 2)}
    assert seen == {10: {0}, 9: {0, 1}, 5: set(range(6)), 2: set(range(9))}
    assert sampler.sample(11).tolist() == list(range(10))


def test_the_same_seed_draws_the_same():
    chunks = [np.arange(1000)]
    draws = [[int(sampler.sample(7)[0]) for _ in range(20)] for sampler in (Sampler(chunks, 1), Sampler(chunks, 1), Sampler(chunks, 2))]
    assert draws[0] == draws[1] != draws[2]


def test_what_the_sampler_says_of_the_dataset():
    sampler = Sampler([np.arange(4), np.arange(9), np.arange(1)])
    assert (sampler.total_size, sampler.longest) == (14, 9)
    with pytest.raises(UserError, match='has 2 tokens, too few'):
        Sampler([np.array([1]), np.array([2])])
    with pytest.raises(UserError, match='has 0 tokens, too few'):
        Sampler([])


def test_slices_in_which_nothing_is_learnt_are_passed_over():
    """Of the slices of 3, those count whose second or third token is learnt: the first has no position that predicts it."""
    counts = np.array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0], bool)
    sampler = Sampler([np.arange(100, 110)], seed=0, counts=[counts])
    starts = collections.Counter()
    for _ in range(4000):
        tokens, on = drawn(sampler, 3)
        assert (on == counts[tokens - 100]).all()
        starts[int(tokens[0])] += 1
    assert set(starts) == {103, 104}
    assert abs(starts[103] - 2000) < 4 * 32              # 4 standard deviations
    tokens, on = drawn(Sampler([np.arange(5)], seed=0), 3)
    assert len(tokens) == 3 and on.tolist() == [True] * 3


def test_the_counts_of_chunks_too_short_go_with_them():
    sampler = Sampler([np.array([7]), np.array([8, 9])], seed=0, counts=[np.array([True]), np.array([False, True])])
    assert [array.tolist() for array in drawn(sampler, 5)] == [[8, 9], [False, True]]


def test_nothing_to_learn():
    with pytest.raises(UserError, match='nothing in the dataset is to be learnt, none of its 5 tokens: choose another --learn_from'):
        Sampler([np.arange(5)], counts=[np.array([True, False, False, False, False])])
    rare = np.zeros(10 ** 6, bool)
    rare[-1] = True
    sampler = Sampler([np.arange(10 ** 6)] * 40, seed=0, counts=[rare] + [np.zeros(10 ** 6, bool)] * 39)
    with pytest.raises(UserError, match='windows of 2 tokens hardly ever have a word to learn.*--windows turns'):
        drawn(sampler, 2)


# ---- windows of whole turns

def expected_window(places, t, length, max_turns):
    """One step at a time: the reply and the token behind it, then turn for turn what still fits."""
    stop = places[t][1] + 1                             # somebody's or nobody's, there is always one here
    first = t
    if stop - places[t][0] > length:
        return places[t][0], places[t][0] + length
    while first > 0 and stop - places[first - 1][0] <= length and (max_turns == 0 or t - (first - 1) <= max_turns):
        first -= 1
    start = places[first][0]
    if first == 0 and start > 0 and stop - start < length:
        start -= 1
    return start, stop


class Chosen:
    """A random generator that draws what it is told to."""

    def __init__(self, index):
        self.index = index

    def integers(self, n):
        assert 0 <= self.index < n
        return self.index


@settings(deadline=None, derandomize=True, max_examples=200)
@given(chunks=st.lists(conversations, min_size=1, max_size=3), front=st.booleans(), length=st.integers(2, 40), max_turns=st.integers(0, 3), who=st.integers(0, 3))
def test_windows_of_turns_against_brute_force(chunks, front, length, max_turns, who):
    """Every reply (of `who`, where that is not 0) is one example, and its window is what a walk over the turns finds."""
    owners, talks = laid_out(chunks, front)
    ids = [1000 * i + np.arange(len(row)) for i, row in enumerate(owners)]
    counts = [batches.learnt(row, 'ABC'[who - 1], 'ABC') for row in owners] if who else None
    wanted = [(i, places, t) for i, places in talks for t in range(len(places)) if (owners[i][places[t][1] - 1] == who if who else t > 0)]
    if not wanted:
        with pytest.raises(UserError, match='nothing in the dataset is to be learnt' if who else 'no conversation in the dataset has a reply: .*--windows tokens'):
            TurnSampler(ids, owners, 0, counts, max_turns)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, 'PART', 1 + length)      # a few conversations at a time
        sampler = TurnSampler(ids, owners, 0, counts, max_turns)
    assert len(sampler) == len(wanted)
    assert sampler.longest == 2 + max(places[-1][1] - places[0][0] for _, places in talks)
    for index, (i, places, t) in enumerate(wanted):
        sampler.rng = Chosen(index)
        assert sampler.place(length) == (i, *expected_window(places, t, length, max_turns))
        start, stop = expected_window(places, t, length, max_turns)
        if who == 0:
            tokens, on = drawn(sampler, length)
            assert tokens.tolist() == ids[i][start:stop].tolist() and len(tokens) <= length and on.all()
            assert (owners[i][start + 1:stop - 1] != 0).all()           # nobody's tokens only at its ends: one conversation


def test_chunks_that_end_in_a_turn_and_chunks_of_one_token():
    """The last turn has no token behind it; a chunk of one token has none to learn, and its owners go with it."""
    chunks = [np.array([7]), np.array([10, 11, 12, 13, 14]), np.array([8])]
    owners = [np.array([2]), np.array([-1, 1, -2, 2, 2]), np.array([-1])]
    sampler = TurnSampler(chunks, owners, seed=0)
    assert len(sampler) == 1 and sampler.total_size == 7 and [array.tolist() for array in drawn(sampler, 9)] == [[10, 11, 12, 13, 14], [True] * 5]
    assert drawn(sampler, 4)[0].tolist() == [12, 13, 14] and sampler.place(2) == (1, 2, 4)


TWO = ('Theo: hi\nMara: good day\nTheo: ok\nMara: tea?\n', 'Mara: up?\nTheo: yes, and long awake, thank you very much\n')


@pytest.fixture(scope='module')
def two(enc, tmp_path_factory):
    return load_corpus(enc, write(tmp_path_factory.mktemp('two') / 'a.txt', '\n'.join(TWO) + '\n'))


def windows(loaded, length, n=60, **settings):
    sampler = loaded.sampler(0, 'turns', **settings)
    return {loaded.enc.decode(drawn(sampler, length)[0]) for _ in range(n)}


def test_windows_of_turns_by_hand(two):
    """The first conversation has nothing in front of it; each window ends with the token by which the turn is seen to end."""
    assert windows(two, 64) == {'Theo: hi\nMara: good day\nTheo', 'Theo: hi\nMara: good day\nTheo: ok\nMara', 'Theo: hi\nMara: good day\nTheo: ok\nMara: tea?\n<|endoftext|>',
                                '<|endoftext|>' + TWO[1] + '<|endoftext|>'}
    assert windows(two, 64, max_turns=1) == {'Theo: hi\nMara: good day\nTheo', 'Mara: good day\nTheo: ok\nMara', 'Theo: ok\nMara: tea?\n<|endoftext|>', '<|endoftext|>' + TWO[1] + '<|endoftext|>'}
    assert windows(two, 64, learn_from='Mara') == {'Theo: hi\nMara: good day\nTheo', 'Theo: hi\nMara: good day\nTheo: ok\nMara: tea?\n<|endoftext|>', '<|endoftext|>Mara: up?\nTheo'}


def test_a_turn_longer_than_the_window_is_cut_at_its_end(two, enc):
    long = enc.decode(enc.encode('Theo: yes, and long awake, thank you very much\n')[:8])
    assert windows(two, 8, learn_from='Theo') == {'Theo: hi\nMara', 'Theo: ok\nMara', long}


def test_each_reply_is_equally_likely():
    owners, _ = laid_out([[[(1, 1, 2), (2, 1, 1), (1, 1, 30)], [(2, 1, 4), (1, 2, 1)]], [[(1, 1, 1)] * 8]], True)
    sampler = TurnSampler([np.arange(len(row)) for row in owners], owners, seed=0)
    drawn = collections.Counter((i, stop) for i, _, stop in (sampler.place(64) for _ in range(10000)))
    assert len(drawn) == len(sampler) == 2 + 1 + 7      # long or short, in whatever chunk
    assert sum((n - 1000) ** 2 / 1000 for n in drawn.values()) < 27.9   # 9 degrees of freedom: more in one of 1000


def test_windows_of_turns_begin_with_what_begins_a_conversation(tmp_path, enc):
    for text, begin in (('<bos> <sp1> hi <sp2> ho <eos>\n', '<bos>'), ('<s> hi </s> ho <|endoftext|>\n', '<|endoftext|>'), ('hi<|endoftext|>ho<|endoftext|>\n', '<|endoftext|>')):
        loaded = load_corpus(enc, write(tmp_path / 'a.txt', text * 3))
        sampler = loaded.sampler(0, 'turns')
        starts = {loaded.enc.decode(drawn(sampler, sampler.longest)[0][:1]) for _ in range(40)}
        assert starts - {'<s>', 'h'} == {begin}         # in s and dialogpt nothing is in front of a chunk's first


def test_batches_of_turns_are_as_long_as_their_longest_window(two):
    sampler = two.sampler(0, 'turns')
    X, labels, weights = Batches(sampler, 16, 1000, 2048).next()
    assert X.shape == labels.shape == weights.shape == (16, 64) and sampler.longest < 64
    again = two.sampler(0, 'turns')
    for row in range(16):
        tokens, _ = drawn(again, 1000)
        n = len(tokens)
        assert X[row].tolist() == tokens.tolist() + [0] * (64 - n)
        assert labels[row].tolist() == tokens[1:].tolist() + [0] * (65 - n)
        assert weights[row].tolist() == [1] * (n - 1) + [0] * (65 - n)
    assert Batches(two.sampler(0, 'turns'), 4, 20, 2048).next()[0].shape == (4, 20)       # never more than was asked for
    owners, _ = laid_out([[[(1, 1, 40), (2, 1, 40)]]], True)
    assert Batches(TurnSampler([np.arange(len(owners[0]))], owners), 2, 1000, 2048).next()[0].shape == (2, 128)


def test_the_mean_length_of_a_window():
    """Chunks of 64 and 10 tokens: windows of 16 have 49 starts in the one, and 1 in the other."""
    sampler = Sampler([np.arange(64), np.arange(10)], seed=0)
    assert sampler.mean_length(64) == 37 and sampler.mean_length(16) == (49 * 16 + 10) / 50 and sampler.mean_length(8) == 8
    assert np.mean([len(sampler.sample(64)) for _ in range(2000)]) == pytest.approx(37, abs=3)


def test_what_a_dataset_is_called(two, tmp_path, enc):
    """Sentences about a validation set name it, with its numbers and the way out."""
    plain_text = load_corpus(enc, write(tmp_path / 'b.txt', 'Just a text, nothing else.'))
    size = len(two.chunks[0])
    for loaded, asked, words in ((two, {'learn_from': 'Lena'}, 'nobody in the validation set is called Lena; there are Theo, Mara'),
                                    (two._replace(owners=[np.where(two.owners[0] == 1, 0, two.owners[0])]), {'learn_from': 'Theo'},
                                     f'nothing in the validation set is to be learnt, none of its {size} tokens: choose another --learn_from, or what is validated on: another --val_share or --val_dataset'),
                                    (plain_text, {'windows': 'turns'}, 'the validation set is plain text'), (plain_text._replace(chunks=[np.array([1])]), {}, 'the validation set has 1 tokens, too few'),
                                    (two._replace(owners=[np.zeros(size, np.int32)]), {'windows': 'turns'}, 'no conversation in the validation set has a reply')):
        with pytest.raises(UserError, match=words):
            loaded.sampler(name='validation set', **asked)
    sampler = plain_text.sampler(0, name='validation set')
    assert batches.padding(sampler, sampler.longest) is None and batches.padding(two.sampler(0, 'turns'), 999) is None
    assert batches.padding(sampler, 64).startswith(f'The validation set has no text as long as a window of 64 tokens: its longest has {sampler.longest}, ')


def test_weights_are_the_learnt_tokens_one_position_earlier(two):
    sampler = two.sampler(0, 'turns', 'Mara')
    X, labels, weights = Batches(sampler, 20, 64, 2048).next()
    found = {two.enc.decode(row[on > 0]) for row, on in zip(labels, weights)}
    assert found == {' good day\nTheo', ' good day\nTheo tea?\n<|endoftext|>', ' up?\nTheo'}
    X, labels, weights = Batches(two.sampler(0, 'tokens', 'replies'), 20, 9, 2048).next()
    assert X.shape == (20, 9) and (weights.sum(axis=1) > 0).all() and 0 < weights.sum() < 20 * 8


# ---- batches

def test_labels_are_the_next_tokens():
    X, labels, weights = Batches(Sampler([np.arange(100, 200)], seed=0), batch_size=8, seq_len=10, n_vocab=2048).next()
    assert X.shape == labels.shape == weights.shape == (8, 10)
    assert (X.dtype, labels.dtype, weights.dtype) == (np.int32, np.int32, np.float32)
    assert (labels[:, :-1] == X[:, 1:]).all() and (labels[:, :-1] == X[:, :-1] + 1).all()
    assert weights.tolist() == [[1] * 9 + [0]] * 8      # the window ends: nobody knows what follows
    assert len(set(X[:, 0].tolist())) > 1


def test_short_chunks_are_padded_and_the_padding_weighs_nothing():
    X, labels, weights = Batches(Sampler([np.array([7, 8, 9])], seed=0), batch_size=2, seq_len=6, n_vocab=2048).next()
    assert X.tolist() == [[7, 8, 9, 0, 0, 0]] * 2
    assert labels.tolist() == [[8, 9, 0, 0, 0, 0]] * 2
    assert weights.tolist() == [[1, 1, 0, 0, 0, 0]] * 2


def test_noise_replaces_its_share_of_the_inputs_alone():
    chunks = [np.arange(2000) % 1000]
    clean, noisy, other = (Batches(Sampler(chunks, seed=3), batch_size=100, seq_len=100, n_vocab=50257, noise=noise).next() for noise in (0.0, 0.25, 1.0))
    assert (clean[1] == noisy[1]).all() and (clean[1] == other[1]).all() and (clean[2] == noisy[2]).all()
    replaced = (clean[0] != noisy[0]).mean()            # of 10000: 4 standard deviations are 4 * sqrt(.25 * .75 / 10000) = .017
    assert 0.25 - 0.018 < replaced < 0.25 + 0.018
    assert noisy[0].dtype == np.int32 and noisy[0].min() >= 0 and noisy[0].max() < 50257
    assert (clean[0] != other[0]).mean() > 0.999 and other[0].max() > 50000       # random ids come from the whole vocabulary


def test_batches_continue_from_a_state():
    def batches(seed):
        return Batches(Sampler([np.arange(1000), np.arange(7)], seed), batch_size=3, seq_len=16, n_vocab=1000, noise=0.1)
    first = batches(5)
    for _ in range(4):
        first.next()
    state = first.state
    rest = [first.next() for _ in range(5)]
    second = batches(99)
    second.next()
    second.state = state
    assert json.loads(state)                            # plain text, so that it can lie beside a checkpoint
    for old, new in zip(rest, [second.next() for _ in range(5)]):
        assert all((a == b).all() for a, b in zip(old, new))


def test_the_random_order_is_what_it_always_was():
    """A run that was begun before goes on with the same data."""
    sampler = Sampler([np.arange(1000), np.arange(7), np.arange(1), np.arange(2000, 2300)], seed=5)
    assert [int(sampler.sample(20)[0]) for _ in range(8)] == [847, 2034, 28, 2038, 592, 650, 795, 360]
    X, _, _ = Batches(sampler, 2, 5, 1000, noise=0.5).next()
    assert X.tolist() == [[797, 844, 115, 392, 2273], [69, 665, 676, 72, 73]]
    turns = TurnSampler([np.arange(45)], [np.array([0, -1, 1, 1, -2, 2, -1, 1, 0, -2, 2, -1, 1, 1, 0] * 3)], 5)
    assert [turns.place(9) for _ in range(5)] == [(0, 30, 37), (0, 30, 39), (0, 0, 7), (0, 30, 39), (0, 15, 24)]


@pytest.mark.parametrize('windows, learn_from', [('tokens', None), ('tokens', 'Mara'), ('turns', None), ('turns', 'replies')])
def test_workers_share_the_same_batches(two, windows, learn_from, monkeypatch):
    """Whatever their number, their rows together are the batch of one that works alone, noise and padding too, and so is their state."""
    monkeypatch.setattr('src.batches.ROUND', 1)
    def batches(rows):
        return Batches(two.sampler(4, windows, learn_from), 6, 40, 2048, noise=0.3, rows=rows, replies=True)
    alone = batches(None)
    expected = [alone.next() for _ in range(5)]
    for workers in (1, 2, 3, 6):
        shared = [batches((i, workers)) for i in range(workers)]
        for batch in expected:
            parts = [worker.next() for worker in shared]
            assert all(len(part[0]) == 6 // workers for part in parts)
            for array, of_all in zip(batch, zip(*parts)):
                assert array.tolist() == np.concatenate(of_all).tolist() and array.dtype == of_all[0].dtype
        assert {worker.state for worker in shared} == {alone.state}
    part = batches(slice(1, 6, 2))
    assert [array.tolist() for array in part.next()] == [array[1::2].tolist() for array in expected[0]]


def test_a_run_goes_on_with_another_number_of_workers():
    def batches(rows, seed=0):
        return Batches(Sampler([np.arange(1000)], seed), 4, 16, 1000, noise=0.1, rows=rows)
    alone, pair = batches(None), [batches((i, 2)) for i in range(2)]
    for _ in range(3):
        alone.next(), [worker.next() for worker in pair]
    four = [batches((i, 4), seed=9) for i in range(4)]
    for worker in four:
        worker.state = pair[1].state
    assert alone.next()[0].tolist() == [row for worker in four for row in worker.next()[0].tolist()]


class Counted(np.ndarray):
    """An array that notes its slices."""
    read = []

    def __getitem__(self, where):
        self.read.append(where)
        return np.asarray(self)[where]


def test_a_worker_reads_its_own_rows_alone():
    chunk = np.arange(1000).view(Counted)
    batches = Batches(Sampler([chunk], 0), 8, 16, 1000, rows=(1, 4))
    Counted.read.clear()
    X, _, _ = batches.next()
    assert X[:, 0].tolist() == [where.start for where in Counted.read] and len(X) == 2


def test_a_batch_that_cannot_be_shared():
    with pytest.raises(UsageError, match='--batch_size 6 cannot be shared among 4 workers: give a multiple of 4'):
        Batches(Sampler([np.arange(9)]), 6, 4, 9, rows=(0, 4))


def test_replies_are_every_turn_but_the_first(two):
    """TWO as one slice: what belongs to replies, one position earlier, of what is learnt."""
    enc, length = two.enc, len(two.chunks[0])
    for learn_from, expected in ((None, ' good day\nTheo ok\nMara tea?\n<|endoftext|> yes, and long awake, thank you very much\n<|endoftext|>'), ('Mara', ' good day\nTheo tea?\n<|endoftext|>')):
        X, labels, weights, replies = Batches(two.sampler(0, 'tokens', learn_from), 2, length, 2048, replies=True).next()
        assert enc.decode(labels[0][replies[0] > 0]) == enc.decode(labels[1][replies[1] > 0]) == expected
        assert replies.dtype == np.float32 and ((replies == 0) | (weights == 1)).all()
    assert two._replace(owners=None, dialogue=None).sampler().replies is None
    for windows in ('tokens', 'turns'):                 # whoever learns from replies learns all of them
        _, _, weights, replies = Batches(two.sampler(0, windows, 'replies'), 9, 30, 2048, replies=True).next()
        assert (weights == replies).all() and weights.any()


def test_a_validation_reads_a_small_set_once():
    """Each token but a chunk's first is foretold once; what nobody learns is passed over."""
    chunks = [np.arange(100), np.arange(200, 203), np.arange(300, 301), np.arange(400, 411)]
    counts = [np.arange(len(chunk)) % 50 > 44 for chunk in chunks]
    for counted, windows, expected in ((None, 12, [i for chunk in chunks for i in chunk[1:]]), (counts, 2, [*range(45, 50), *range(95, 100)])):
        for count in (windows, 40):
            found = batches.Validation(Sampler(chunks, counts=counted), 3, -(-count // 3), 11, 1000)
            assert (found.whole, found.windows, len(found)) == (True, windows, -(-windows // 3))
            for again in range(2):
                found.rewind()
                read = [found.next() for _ in range(len(found))]
                assert sorted(i for X, labels, weights in read for i in labels[weights > 0]) == expected
                assert [len(X) for X, _, _ in read] == [3] * (windows // 3) + [windows % 3] * (windows % 3 > 0)
    assert not batches.Validation(Sampler(chunks), 3, 3, 11, 1000).whole


def test_a_validation_of_a_large_set_is_random_and_always_the_same():
    found = batches.Validation(Sampler([np.arange(1000)], 5), 4, 3, 16, 1000)
    assert (found.whole, found.windows, len(found)) == (False, 12, 3)
    read = []
    for again in range(2):
        found.rewind()
        read.append([array.tolist() for _ in range(3) for array in found.next()])
    plain = Batches(Sampler([np.arange(1000)], 1), 4, 16, 1000)
    assert read[0] == read[1] == [array.tolist() for _ in range(3) for array in plain.next()]


def test_a_validation_of_replies_reads_each_once(two):
    enc = two.enc
    for learn_from, expected in ((None, 4), ('Mara', 3)):
        found = batches.Validation(two.sampler(0, 'turns', learn_from), 2, 2, 64, 2048)
        assert (found.whole, found.windows, len(found)) == (True, expected, 2)
        found.rewind()
        read = [found.next() for _ in range(2)]
        ends = [row[:np.flatnonzero(weights)[-1] + 1] for _, labels, many, _ in read for row, weights in zip(labels, many)]
        assert len({enc.decode(row) for row in ends}) == expected
        lengths = [len(row) for row in ends]
        assert lengths == sorted(lengths, reverse=True)
    assert not batches.Validation(two.sampler(0, 'turns'), 1, 3, 64, 2048).whole


def test_batches_drawn_ahead():
    """The same batches, and a state from which the next one comes, not the one after it."""
    def batches(seed):
        return Batches(Sampler([np.arange(1000), np.arange(7)], seed), 3, 16, 1000, noise=0.1)
    def drawn(batches, n):
        return [([array.tolist() for array in batches.next()], batches.state) for _ in range(n)]
    plain, ahead = batches(5), Ahead(batches(5))
    assert ahead.state == plain.state
    expected = drawn(plain, 6)
    assert drawn(ahead, 6) == expected
    other = Ahead(batches(6))
    other.next()
    other.state = expected[2][1]
    assert other.state == expected[2][1] and drawn(other, 3) == expected[3:]
    hopeless = Batches(Sampler([np.arange(10 ** 5)], 0, [np.arange(10 ** 5) == 50000]), 1, 2, 9)
    hopeless.sampler.rng = Chosen(7)
    with pytest.raises(UserError, match='hardly ever have a word to learn'):
        Ahead(SimpleNamespace(next=hopeless.next, state='')).next()           # what goes wrong in the thread is told where it is asked for


@pytest.mark.parametrize('longest, n_ctx, seq_len, length', [
    (5000, 1024, None, 1024), (612, 1024, None, 612), (1024, 1024, None, 1024), (5000, 1024, 256, 256), (5000, 1024, 1024, 1024), (5000, 1024, 2, 2), (100, 1024, 256, 256),
])
def test_window(longest, n_ctx, seq_len, length):
    assert batches.window(Sampler([np.arange(longest), np.arange(3)]), n_ctx, seq_len) == length


@pytest.mark.parametrize('seq_len', [1, 0, -5, 1025])
def test_a_window_that_the_model_cannot_see(seq_len):
    with pytest.raises(UsageError, match=f'--seq_len {seq_len} .*2 to 1024'):
        batches.window(Sampler([np.arange(5000)]), 1024, seq_len)

"""leaks.py: against looking at every run one by one, and the verdicts."""
import numpy as np
import pytest

from src import leaks, shards
from src.intervals import Estimate
from src.leaks import Share


def runs_of(rows, k):
    return {tuple(row[i:i + k]) for row in rows for i in range(len(row) - k + 1)}


@pytest.mark.parametrize('seed', range(40))
def test_every_run_is_found_and_no_other(seed, monkeypatch):
    draw = np.random.default_rng(seed)
    monkeypatch.setattr(shards, 'BLOCK', 4 * int(draw.integers(1, 50)))         # runs lie across blocks
    words = int(draw.integers(2, 6))
    corpus = [draw.integers(0, words, draw.integers(0, 60)).astype(np.int32) for _ in range(3)]
    texts = [draw.integers(0, words, draw.integers(0, 30)).astype(np.int32) for _ in range(3)]
    for k in (1, 2, 3, 5, 8, 13):
        there = runs_of(corpus, k)
        assert [found.tolist() for found in leaks.repeated(corpus, texts, k)] == [[tuple(ids[i:i + k]) in there for i in range(len(ids) - k + 1)] for ids in texts]
    most = max((k for k in range(1, 30) if runs_of(corpus, k) & runs_of(texts, k)), default=0)
    n, text, at = leaks.longest(corpus, texts)
    assert n == most and (not n or tuple(texts[text][at:at + n]) in runs_of(corpus, n))
    assert leaks.longest(corpus, texts, low=most, high=most)[0] == most


def test_runs_of_one_fingerprint_are_told_apart(monkeypatch):
    """Even were fingerprints bad: two of the texts' runs with the same one, or a run of the corpus with that of another of the texts."""
    true, texts = leaks.fingerprints, [np.array([3, 4, 5]), np.array([4, 3, 5])]
    monkeypatch.setattr(leaks, 'fingerprints', lambda ids, k, seed=0: true(ids, k, seed) // np.uint64(2 ** 63 if seed < 3 else 1))
    assert [found.tolist() for found in leaks.repeated([np.arange(50)], texts, 2)] == [[True, True], [False, False]]
    monkeypatch.setattr(leaks, 'fingerprints', lambda ids, k, seed=0: np.convolve(ids, np.ones(k, int), 'valid').astype(np.uint64))
    assert [found.tolist() for found in leaks.repeated([np.array([2, 3])], [np.array([1, 4])], 2)] == [[False]]
    assert [found.tolist() for found in leaks.repeated([np.array([2, 3, 1, 4])], [np.array([1, 4])], 2)] == [[True]]


def test_fingerprints_are_of_runs():
    ids = np.random.default_rng(0).permutation(50257)[:400]
    for k in (1, 2, 3, 7, 8, 20, 31):
        found = leaks.fingerprints(ids, k)
        assert len(found) == 401 - k and len(np.unique(found)) == len(found)
        assert all(leaks.fingerprints(ids[i:i + k], k)[0] == found[i] for i in (0, 5, 400 - k))


def test_a_corpus_on_the_disk(tmp_path):
    column = shards.Column(shards.Scratch(str(tmp_path / 'x')), np.int32, in_memory=0)
    column.add(np.arange(1000))
    assert [found.tolist() for found in leaks.repeated([column.row()], [np.array([5, 6, 7, 9])], 2)] == [[True, True, False]]


def test_spans():
    assert leaks.spans(np.array([0, 1, 1, 0, 0, 0, 0, 1, 0], bool), 3) == [(1, 5), (7, 10)] and leaks.spans(np.zeros(4, bool), 3) == []


def test_a_model_that_recites_is_found_out():
    draw = np.random.default_rng(0)
    corpus = [draw.integers(0, 5000, 3000)]
    fresh = [draw.integers(0, 5000, 60) for _ in range(10)]
    recited = [np.concatenate([draw.integers(0, 5000, 20), corpus[0][100 * i:100 * i + 40]]) for i in range(10)]
    found = leaks.check(corpus, recited, fresh)
    assert found['leaks'] and found['verdict'].startswith('It recites: ') and found['tokens'] == 3000
    assert (found['model']['longest'], found['model']['at'], found['human']['longest'] < 5) == (40, 20, True)
    assert found['model']['long'].runs == 10 * 41 and found['model']['long'].found == 10 * 21 and found['model']['short'].found == 10 * 33
    assert found['recited'] == {i: [(20, 60)] for i in range(10)}
    assert leaks.check(corpus, recited, [corpus[0][7:20]])['human']['longest'] == 13
    honest = leaks.check(corpus, fresh, recited[:2] + fresh)
    assert not honest['leaks'] and honest['verdict'].startswith('No leak seen') and honest['recited'] == {}
    assert leaks.check(corpus, fresh[:1], [])['human'] == {'longest': 0, 'text': 0, 'at': 0} | dict.fromkeys(('long', 'short', 'whole'), Share(None, 0, 0))


def test_short_replies_that_are_recited():
    draw = np.random.default_rng(0)
    corpus = [draw.integers(0, 5000, 3000), draw.integers(0, 5000, 500)]
    fresh = [draw.integers(0, 5000, 60) for _ in range(10)]
    recited = [corpus[0][100 * i:100 * i + 8 + i] for i in range(12)]
    stitched = np.concatenate([corpus[0][50:60], corpus[0][70:80]])            # not whole
    people = [draw.integers(0, 5000, 12) for _ in range(30)]
    assert [row.tolist() for row in leaks.whole(corpus, [*recited[:2], stitched, corpus[1][:9], corpus[1][:7]])] == [[True], [True], [False], [True], []]
    found = leaks.check(corpus, fresh + recited, fresh, (recited + people[:8] + [corpus[0][:7]], people))
    assert found['leaks'] and found['verdict'].startswith("It recites: 12 of 20 replies of 8 tokens or more stand whole in the training data, of people's 0 of 30.")
    assert found['model']['long'].found == 0 == len(found['recited'])
    found = leaks.check(corpus, fresh + recited, fresh, (recited[:1] + people, people))             # one in thirty may be chance
    assert not found['leaks'] and "stands in the training data. Shorter ones do, more often than people's: " in found['verdict']
    assert not leaks.check(corpus, fresh + recited, fresh, (recited, recited))['leaks'] and not leaks.check(corpus, fresh + recited, fresh, (recited, []))['leaks']


@pytest.mark.parametrize('ours, theirs, leak, words', [
    (Share(Estimate(0.2, 0.15, 0.25), 1000, 200), Share(Estimate(0.01, 0.0, 0.02), 1000, 10), True, 'It recites: 20.0 %'),
    (Share(Estimate(0.02, 0.01, 0.03), 1000, 20), Share(Estimate(0.02, 0.01, 0.03), 1000, 20), False, 'No more than people repeat: 2.0 %'),
    (Share(Estimate(0.0004, 0.0, 0.001), 9000, 4), Share(Estimate(0.0, 0.0, 0.0), 1000, 0), False, 'No more than people repeat: 0.04 %'),
    (Share(Estimate(0.0, 0.0, 0.0), 1000, 0), Share(Estimate(0.02, 0.01, 0.03), 1000, 20), False, 'none of the 1,000 runs of 20 tokens'),
    (Share(Estimate(1.0, 1.0, 1.0), 9, 9), Share(None, 0, 0), False, 'Too little to tell'),
    (Share(Estimate(1.0, 1.0, 1.0), 1000, 1000), Share(Estimate(0.9, 0.8, 1.0), 1000, 900), False, 'it is not held out'),
    (Share(Estimate(0.3, 0.2, 0.4), 1000, 300), Share(None, 0, 0), True, 'of what people wrote none')], ids=lambda value: value if isinstance(value, str) else '')
def test_verdicts(ours, theirs, leak, words):
    nothing = dict.fromkeys(('short', 'whole'), Share(None, 0, 0))
    found = leaks.verdict({'longest': 30, 'long': ours} | nothing, {'longest': 12, 'long': theirs} | nothing)
    assert found[0] is leak and words in found[1]

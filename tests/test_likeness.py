"""likeness.py: every number by hand; BLEU, METEOR and NIST against the packages themselves."""
import math
import sys

import numpy as np
import pytest

from src import intervals, likeness


def value(statistic, n):
    return statistic(np.arange(n))


def test_tokens():
    assert likeness.tokens("I'm OK, 2 nights… 💛") == ["i'm", 'ok', ',', '2', 'nights', '…', '💛']
    assert likeness.tokens('née 👩\u200d👧👍🏽❤️!') == ['née', '👩\u200d👧', '👍🏽', '❤️', '!'] and likeness.tokens(' \n') == []


def test_intervals():
    found = intervals.estimate(400, intervals.ratio([1, 0, 0, 0] * 100, [1] * 400), seed=3)
    assert found.value == 0.25 and found == intervals.estimate(400, intervals.ratio([1, 0, 0, 0] * 100, [1] * 400), seed=3)
    wide = 1.96 * math.sqrt(0.25 * 0.75 / 400)                          # of a share
    assert found.low == pytest.approx(0.25 - wide, abs=0.01) and found.high == pytest.approx(0.25 + wide, abs=0.01)
    assert intervals.estimate(3, intervals.ratio([0, 0, 0], [0, 0, 0])) is None
    assert intervals.estimate(1, intervals.ratio([1], [2])) == (0.5, None, None)
    words = [[str(i), str(i + 1)] for i in range(100)]                  # drawn again, 100 texts have about 63 different ones: no reason to think less
    assert intervals.estimate(100, likeness.distinct(words, 2)).low < 1 and intervals.estimate(100, likeness.distinct(words, 2), centred=True).low > 0.85
    assert intervals.estimate(100, likeness.distinct(words, 2), centred=True).high <= 1             # there are no more than all


def test_fewer_different_words_are_a_difference_whichever_side_has_them():
    some, few = [f'{i} {i + 1}' for i in range(60)], ['so so'] * 60
    for human, model in ((some, few), (few, some)):
        assert likeness.measures(human, model)['distinct_1']['differs'] is True


def test_distinct_and_repetition():
    texts = [['a', 'b', 'a'], ['a', 'b'], []]
    assert value(likeness.distinct(texts, 1), 3) == 2 / 5 and value(likeness.distinct(texts, 2), 3) == 2 / 3
    assert np.isnan(likeness.distinct(texts, 2)(np.array([2])))
    assert likeness.again('a b c d a b c d e'.split()) == (1, 6) and likeness.again('a b c'.split()) == (0, 0)


@pytest.mark.parametrize('text, loops', [('ha ha', False), ('ha ha ha', False), ('ha ha ha ha ha ha', True), ('so it so it so it', True), ('so it so it so', False),
                                         ('well i go i go i go home', True), ('a b c a b c a b c d', True), ('a b c a b c a b d', False), ('', False)])
def test_loops(text, loops):
    assert likeness.loops(text.split()) is loops


def test_what_can_be_counted():
    texts = ['Hi there 💛', 'no', '…', 'I am.', '(Yes!)']
    found = {name: value(statistic, 5) for name, statistic in likeness.statistics(texts).items()}
    assert found['words'] == (3 + 1 + 1 + 2 + 1) / 5 and found['median'] == 1
    assert found['emoji'] == 1 / 5 and found['closed'] == 3 / 5
    assert found['capitals'] == 3 / 4                                   # … has no letters
    assert found['loops'] == 0 and found['repeated'] == 0 and np.isnan(likeness.statistics(['of three words'])['repeated'](np.array([0])))
    assert likeness.lengths(['a', 'a b', 'a b c d', '', ' '.join('a' * 99)], edges=(1, 2, 3, 5)) == [2 / 5, 1 / 5, 1 / 5, 1 / 5]


def test_a_difference_is_more_than_chance():
    found = likeness.measures(['Yes.'] * 20 + ['no'] * 20, ['Yes.'] * 21 + ['no'] * 19)
    assert not found['capitals']['differs'] and found['capitals']['human'].value == 0.5 and found['capitals']['model'].value == 21 / 40
    assert likeness.measures(['yes'] * 20, ['Yes'] * 20)['capitals']['differs'] is True is likeness.measures(['Yes'] * 20, ['yes'] * 20)['capitals']['differs']


def test_overlap_and_typical_words():
    assert value(likeness.overlap(['a b', 'b'], ['a', 'b c d']), 2) == pytest.approx(1 / 4 + 1 / 4)      # a 1/3 and 1/4, b 2/3 and 1/4
    assert value(likeness.overlap(['a b !'], ['A b.']), 1) == pytest.approx(1) and value(likeness.overlap(['a'], ['b']), 1) == 0
    ours, theirs = likeness.typical(['tea please'] * 30, ['coffee please'] * 20)
    assert [(word, *counts) for word, _, *counts in ours] == [('tea', 30, 0)] and [(word, *counts) for word, _, *counts in theirs] == [('coffee', 20, 0)]
    odds = math.log(33 / (60 + 10 - 33)), math.log(3 / (40 + 10 - 3))   # a prior of 10 words, 3 of them tea
    assert ours[0][1] == pytest.approx((odds[0] - odds[1]) / math.sqrt(1 / 33 + 1 / 3))
    assert likeness.typical(['so'], ['so']) == ([], []) and likeness.typical([''], ['a']) == ([], [])


HUMAN = ['I will be home at six, with bread.', 'no', 'Oh no! Are you hurt?', 'the soup is on the stove and it is hot']
MODEL = ['I am home at six with the bread.', 'no', 'Oh dear.', 'the soup is hot and the soup is on the stove']


def test_scores_are_those_of_the_packages():
    sacrebleu, nist = pytest.importorskip('sacrebleu'), pytest.importorskip('nltk.translate.nist_score')
    found = likeness.scores(HUMAN, MODEL)
    assert found['bleu'].value == pytest.approx(sacrebleu.corpus_bleu(MODEL, [HUMAN]).score)
    tokens = [[likeness.tokens(text) for text in texts] for texts in (HUMAN, MODEL)]
    assert found['nist'].value == pytest.approx(nist.corpus_nist([[reference] for reference in tokens[0]], tokens[1], 5))
    assert all(0 <= found[name].low <= found[name].high for name in found)
    same = likeness.scores(HUMAN, HUMAN)
    assert same['bleu'].value == pytest.approx(100) and same['meteor'].value > 0.8
    assert found['meteor'].value < 0.9
    cats = likeness.scores(['the cats'], ['the cat'])['meteor'].value   # meet by their stem: two matches in one chunk, 1 - 0.5 * (1 / 2) ** 3
    assert cats == pytest.approx(1 - 0.5 / 8)
    short = likeness.scores(['yes', 'no way'], ['yes', ''])             # no text has 5 words, one has none
    assert short['nist'].value > 0 and short['bleu'].value >= 0
    empty = likeness.scores(['', 'a b', 'c d e'], ['a', 'b', 'x'])      # a person's text has none: drawn three times, there is nothing to compare with
    assert empty['nist'].value > 0 and likeness.scores(['', ''], ['a', 'b'])['nist'] is None


def test_without_the_packages_there_is_the_rest(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sacrebleu', None)
    found = likeness.compare(HUMAN, MODEL, others=HUMAN + ['what now', 'yes', 'maybe so', 'fine', 'good'])
    assert found['scores'] is None and found['n'] == 4 and found['overlap']['human'] is not None and found['overlap']['model'].value > 0.5
    assert likeness.compare(HUMAN, MODEL, others=HUMAN + ['one more'])['overlap']['human'] is None       # too few to compare with

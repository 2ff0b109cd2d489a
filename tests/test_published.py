"""published.py: what each dataset looks like, and how it is read."""
import pytest

from src import published
from src.console import UserError

WIKI = ''' \n = Robert Boulter = \n \n Robert Boulter is an English film , television and theatre actor . He had a guest @-@ starring role , worth $ 1 @,@ 500 ( 2 @.@ 5 % ) .
 " He did n't , " they said ; it 's Boulter 's . \n \n = = Career = = \n \n = = = 2000 – 2005 = = = \n'''
PTB = " no it was n't black monday \n some <unk> paid $ N million or N N % \n"


def test_a_dataset_is_known_by_its_looks():
    known = WIKI.replace('theatre', '<unk>')
    assert published.recognise('wiki.test.tokens', known) == 'wikitext2'
    assert published.recognise('wiki.test.tokens', known + ' and so on' * 100) == 'wikitext103'         # its vocabulary is larger: fewer unknown words
    assert published.recognise('ptb.test.txt', PTB) == 'ptb' and published.recognise('x.txt', PTB.replace('black', 'Black')) is None
    assert published.recognise('in/lambada_test.jsonl', '') == 'lambada' and published.recognise('enwik8', '<mediawiki') == 'enwik8'
    assert published.recognise('text8.test', '') == 'text8' and published.recognise('news.en.heldout-00000-of-00050', 'A b .') == '1bw'
    assert published.recognise('corpus.txt', 'Mara: N <unk> hi') is None and published.recognise('corpus.txt', '') is None


def test_wikitext_is_read_as_people_write():
    text, units = published.read('wikitext2', WIKI)
    assert text == '''
= Robert Boulter =

Robert Boulter is an English film, television and theatre actor. He had a guest-starring role, worth $1,500 (2.5%).
"He didn't," they said; it's Boulter's.

== Career ==

=== 2000 – 2005 ===
'''
    assert units == len(WIKI.split()) + WIKI.count('\n')                # the paper's canonical units: tokens of the file, with <eos>
    assert units == 64 + 9


def test_the_penn_treebank():
    text, units = published.read('ptb', PTB)
    assert text == "no it wasn't black monday\nsome <unk> paid $1 million or 1 1%\n" and units == 6 + 10 + 2
    assert published.read('text8', 'a b c') == ('a b c', None)


def test_numbers_as_published():
    tables = {key: benchmark.results for key, benchmark in published.BENCHMARKS.items()}
    assert all(len(row) == len(published.SIZES) == 4 for results in tables.values() for row in results.values())
    for results in tables.values():                                     # larger models are better, in every column
        for what, row in results.items():
            assert sorted(row, reverse=what != 'accuracy') == list(row)


def test_passages():
    text = '{"text": "her face to her side."}\n\nthe bus was late again \n{"text": "a \\u00e9t\\u00e9"}'
    assert published.passages('l.jsonl', text) == [('her face to her', ' side.'), ('the bus was late', ' again'), ('a', ' été')]
    text = "`` is n't it late ? '' she asked , and we 'd go , said jim\nAs it is, \"isn't it?\" she asked"
    assert published.passages('l.txt', text) == [('"isn\'t it late?" she asked, and we\'d go, said', ' jim'), ('As it is, "isn\'t it?" she', ' asked')]
    assert published.passages('l.txt', "she cried , `` yes\nwe do n't") == [('she cried, "', 'yes'), ('we do', "n't")]
    for text, words in (('a b\n{"txt": 1}', 'line 2 is no passage'), ('{"text": ["a b"]}', 'line 1 is no passage'), ('{"text": "a', 'line 1 is no passage'),
                        ('alone', 'line 1 has a single word'), (' \n', 'holds no passages')):
        with pytest.raises(UserError, match=words):
            published.passages('l.jsonl', text)

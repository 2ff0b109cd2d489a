"""evaluate.py as a user runs it, and report.py: what its table and page say."""
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from conftest import CHATS, VALIDATION, fails_clearly, run_script
from test_scoring import tiny  # noqa: F401

import evaluate
from src import charts, encoder, files, report
from src.console import UsageError, UserError


@pytest.fixture(scope='module')
def runs(tiny, tmp_path_factory):  # noqa: F811
    """A folder of two runs, equal but for whom they learnt."""
    folder = tmp_path_factory.mktemp('runs')
    for name, learnt in (('a', {}), ('b', {'learnt': 'Mara', 'length': 12})):
        shutil.copytree(tiny, folder / name)
        (folder / name / 'dialogue.json').write_text(json.dumps({'style': 'name', 'speakers': ['Theo', 'Mara'], **learnt}))
    return str(folder)


def run(runs, monkeypatch, *flags):
    monkeypatch.setattr(sys, 'argv', ['evaluate.py', '--checkpoint_dir', runs, *map(str, flags)])
    evaluate.main()


def test_side_by_side(runs, monkeypatch, tmp_path, capsys):
    """Two runs with the same weights: the same losses; and a page of it all."""
    page, data = tmp_path / 'r.html', tmp_path / 'r.json'
    run(runs, monkeypatch, '--run_name', 'a,b', '--data', VALIDATION, '--as', 'Mara', '--replies', 6, '--length', 12, '--train', CHATS, '--html', page, '--json', data)
    said, found = capsys.readouterr().out, json.loads(data.read_text())
    a, b = found['models']
    assert a['scores']['text'] == b['scores']['text'] and a['scores']['replies'] == b['scores']['replies'] and a['pairs'] == b['pairs']
    assert a['scores']['text']['perplexity'] == pytest.approx(2048, rel=0.05)           # random weights know next to nothing
    enc = encoder.get_encoder('models/demo')
    with open(VALIDATION, encoding='utf-8') as file:
        text = file.read()
    n = sum(len(enc.encode(part + '\n')) + 1 for part in re.split('\n\n+', text.strip('\n')))
    assert a['scores']['text']['tokens'] == n and a['scores']['text']['words'] == len(text.split()) and f'{n:,}' in said
    assert len(a['pairs']) == 6 and set(a['pairs'][0]) == {'before', 'human', 'model'} and a['pairs'][0]['before'][-1]['speaker'] != 'Mara'
    assert a['leaks']['verdict'].startswith('Too little to tell') or a['leaks']['model']['long']['found'] == 0
    assert found['data']['kind'].endswith(' conversations') and 'validation.txt: ' in said and 'Whose' in said and 'BLEU' in said

    html = page.read_text(encoding='utf-8')
    assert html.count('<svg') == html.count('</svg>') == 4 and 'prefers-color-scheme: dark' in html and 'width=device-width' in html
    assert not re.search(r'(src|href)=|@import|url\(|<script', html)     # needs nothing else, runs nothing
    assert 'This page holds words from the conversations' in html and VALIDATION not in html


def test_whose_words(runs, monkeypatch, tmp_path, capsys):
    """Who was learnt, unless told; everyone's replies where nobody was."""
    run(runs, monkeypatch, '--run_name', 'a,b', '--data', VALIDATION, '--json', tmp_path / 'r.json')
    models = json.loads((tmp_path / 'r.json').read_text())['models']
    assert [model['scores']['replies']['who'] for model in models] == ['replies', 'Mara'] and "everyone's" in capsys.readouterr().out


def test_plain_text(runs, monkeypatch, tmp_path, capsys):
    (tmp_path / 'plain.txt').write_text('The bus was late & <b>again</b>. ' * 40)
    run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'plain.txt', '--replies', 3, '--length', 10, '--train', tmp_path / 'plain.txt', '--html', tmp_path / 'r.html')
    said, html = capsys.readouterr(), (tmp_path / 'r.html').read_text(encoding='utf-8')
    assert 'plain.txt: 1 text\n' in said.out and 'it is not held out' in said.out and 'What is said in reply' not in said.out
    assert '&lt;b&gt;again' in html and '<b>again' not in html
    run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'plain.txt', '--replies', 900, '--length', 10)
    assert re.search(r'plain.txt has \d\d places to answer, fewer than --replies 900', capsys.readouterr().err)


def test_datasets_of_the_paper(runs, monkeypatch, tmp_path, capsys):
    (tmp_path / 'lambada_test.jsonl').write_text('{"text": "so it goes and so it goes"}\n' * 3)
    run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'lambada_test.jsonl')
    said = capsys.readouterr().out
    assert 'Passages' in said and re.search(r'Accuracy +45.99 % +55.48 % +60.12 % +63.24 % +\d', said) and re.search(r'Perplexity +35.13 +15.60 +10.87 +8.63 +\d', said)
    (tmp_path / 'ptb.test.txt').write_text(" no it was n't black monday \n some <unk> paid $ N million \n")
    run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'ptb.test.txt', '--json', tmp_path / 'r.json')
    assert re.search(r'PTB, beside GPT-2 as published\n.*\n +Perplexity +65.85 +47.33 +40.31 +35.76 ', capsys.readouterr().out)
    assert json.loads((tmp_path / 'r.json').read_text())['models'][0]['scores']['text']['words'] == 6 + 6 + 2
    run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'ptb.test.txt', '--benchmark', 'none')
    assert 'published' not in capsys.readouterr().out


def test_what_cannot_be(runs, monkeypatch, tmp_path):
    for name, text in (('empty', ''), ('blank', '\n'), ('one', 'a'), ('plain', 'so it goes')):
        (tmp_path / f'{name}.txt').write_text(text)
    (tmp_path / 'chats.txt').write_text('Mara: hi\nMara: you\nTheo: yes\n' * 3)
    for error, words, flags in (
            (UserError, 'empty.txt holds no text', ['--data', tmp_path / 'empty.txt']), (UserError, 'the text has 1 token', ['--data', tmp_path / 'one.txt']),
            (UserError, 'the text has 1 token', ['--data', tmp_path / 'blank.txt']), (UserError, 'nobody in .*chats.txt is called Bob; there are Mara, Theo', ['--as', 'Bob']),
            (UserError, 'is plain text, in which nobody speaks', ['--as', 'Bob', '--data', tmp_path / 'plain.txt']), (UserError, 'no such file', ['--data', tmp_path / 'none.txt']),
            (UserError, 'holds no text', ['--data', tmp_path / 'empty.txt', '--benchmark', 'lambada']), (UsageError, 'leave out --replies', ['--benchmark', 'lambada', '--replies', 3]),
            (UserError, 'gone.txt: there is no such file', ['--replies', 1, '--train', tmp_path / 'gone.txt']),
            (UsageError, '--stride 0 is out of range: this model sees 64 tokens', ['--stride', 0]), (UsageError, '--stride 65', ['--stride', 65]),
            (UsageError, 'a, a: one of them comes twice', ['--run_name', 'a,a']), (UserError, 'there is no run c', ['--run_name', 'a,c']),
            (UsageError, 'is a folder: name the file to write', ['--json', tmp_path]), (UsageError, 'chats.txt is one of the files to read', ['--json', tmp_path / 'chats.txt']),
            (UsageError, 'one.txt is one of the files to read', ['--replies', 1, '--train', tmp_path, '--html', tmp_path / 'one.txt']), (UsageError, '--length 50 leaves no room', ['--replies', 2, '--length', 50])):
        with pytest.raises(error, match=words):
            run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'chats.txt', *flags)
    assert fails_clearly(run_script('evaluate.py', '--data', VALIDATION, '--train', 'x'), 2, '--train x', '--replies')


def test_other_tokens_and_other_styles(runs, monkeypatch, tmp_path, capsys):
    np.savez(tmp_path / 'other.npz', np.array([5, 50256, 7]))
    with pytest.raises(UserError, match='holds the token 50256, but this vocabulary has 2048'):
        run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'other.npz')
    with pytest.raises(UsageError, match='other.npz holds an npz: --benchmark ptb needs the text'):
        run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'other.npz', '--benchmark', 'ptb')
    (tmp_path / 'timed.txt').write_text('(1349680884843) Mara: hi\n(1349680884844) Theo: you\n' * 2)
    run(runs, monkeypatch, '--run_name', 'a', '--data', tmp_path / 'timed.txt')
    assert '(a learnt the style "name", and' in capsys.readouterr().err


def test_where_models_lie(runs, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['evaluate.py', '--data', 'x', '--run_name', 'a', '--model_name', f'{runs}/b', '--checkpoint_dir', runs])
    assert evaluate.places(evaluate.parse_arguments()) == [('a', os.path.join(runs, 'a')), (f'{runs}/b', f'{runs}/b')]
    monkeypatch.setattr(sys, 'argv', ['evaluate.py', '--data', 'x', '--models_dir', runs])
    with pytest.raises(UserError, match='there is no model 124M'):
        evaluate.places(evaluate.parse_arguments())
    assert files.OLD_NAMES['117M'] == '124M'


def test_cells():
    assert report.estimate((0.25, 0.2, 0.3), '{:.1f} %', 100) == '25.0 % (20.0 to 30.0)' and report.estimate((2.5, None, None)) == '2.50' and report.estimate(None) == '–'
    assert report.estimate((0.9, -0.1, 1.2), '{:.0f} %', 100) == '90 % (0 to 100)'
    assert [report.large(x) for x in (None, 3.14159, 12345.6, 1e12)] == ['–', '3.14', '12,346', '1.0e+12']
    assert report._cell('25 % (20 to 30) ≠') == '<span>25 % ≠</span> <span class="sure">20 to 30</span>' and report._cell('<x>') == '<span>&lt;x&gt;</span>'


def test_charts():
    assert charts.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0] and charts.ticks(2.2, 3.7) == [2.5, 3.0, 3.5] and charts.ticks(0, 37) == [0, 10, 20, 30]
    drawn = charts.bars(['1', '2+'], [('<a>', 1, [0.5, 0.25]), ('b', 0, [0, 0])], 'lengths')
    heights = [float(x) for x in re.findall(r'height="([\d.]+)" fill', drawn)]
    assert heights[0] == pytest.approx(2 * heights[2], abs=0.2) and heights[1::2] == [0, 0] and '&lt;a&gt;, 1: 50 %' in drawn and '<a>' not in drawn
    curve = charts.lines([('a', 1, [(1, 4.0), (2, 3.0), (8, 2.0)])], 'loss')
    places = [tuple(map(float, point.split(','))) for point in re.search('points="(.*?)"', curve)[1].split()]
    assert places[2][0] - places[1][0] == pytest.approx(2 * (places[1][0] - places[0][0]), abs=0.3)     # logarithmic
    assert [y for _, y in places] == sorted(y for _, y in places)
    alone = charts.dots([('x', [('a', 1, (0.0, 0.0, 0.0))])], 'nothing') + charts.lines([('a', 1, [(1, 2.0)])], 'a point')
    assert 'nan' not in alone and 'a point' in alone

"""notebooks/chat.ipynb as Jupyter runs it, with the demo's model and for a few steps."""
import json
import os
import shutil
import sys

import pytest
from conftest import ROOT

NOTEBOOK = os.path.join(ROOT, 'notebooks', 'chat.ipynb')


def test_it_is_kept_without_what_a_run_leaves():
    with open(NOTEBOOK, encoding='utf-8') as file:
        text = file.read()
    notebook = json.loads(text)
    assert text == json.dumps(notebook, ensure_ascii=False, indent=1) + '\n'
    for cell in notebook['cells']:
        assert cell['cell_type'] == 'markdown' or cell['outputs'] == [] and cell['execution_count'] is None
    assert len({cell['id'] for cell in notebook['cells']}) == len(notebook['cells'])


def test_from_a_chat_export_to_a_chat(tmp_path, monkeypatch):
    nbclient, nbformat = (pytest.importorskip(name, reason='nbclient and ipykernel run the notebook') for name in ('nbclient', 'nbformat'))
    pytest.importorskip('ipykernel', reason='nbclient and ipykernel run the notebook')
    for name in ('src', 'models', 'import_chats.py', 'encode.py', 'train.py', 'export_model.py'):
        os.symlink(os.path.join(ROOT, name), tmp_path / name)
    (tmp_path / 'demo' / 'exports').mkdir(parents=True)
    shutil.copy(os.path.join(ROOT, 'demo', 'exports', 'result.json'), tmp_path / 'demo' / 'exports')
    monkeypatch.setenv('PATH', os.path.dirname(sys.executable) + os.pathsep + os.environ['PATH'])
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    parameters = next(i for i, cell in enumerate(notebook.cells) if 'parameters' in cell.metadata.get('tags', ()))
    notebook.cells.insert(parameters + 1, nbformat.v4.new_code_cell("MODEL, NAME, STEPS = 'demo', 'Theo', 2"))
    nbclient.NotebookClient(notebook, timeout=300, kernel_name='python3', resources={'metadata': {'path': str(tmp_path)}}).execute()
    said = {i: ''.join(output.get('text', '') for output in cell.get('outputs', ())) for i, cell in enumerate(notebook.cells)}
    text = '\n'.join(said.values())
    for name in ('corpus.txt', 'corpus.npz', 'checkpoint/notebook/model-3.index', 'checkpoint/notebook/best/validation.json', 'mine/encoder.json'):
        assert (tmp_path / name).exists(), text
    assert 'Theo answers' in text and '\x1b' not in text and 'rror' not in text, text
    [chat] = [said[i] for i, cell in enumerate(notebook.cells) if cell.source.startswith('TEXT = ')]
    assert ': are you awake?\nTheo: ' in chat

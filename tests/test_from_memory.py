"""import_chats.py --from_memory: what was rated good or put right in a chat becomes a corpus; what was bad is not learnt."""
import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT, fails_clearly, run_script

from src import dialogue, memory
from src.dialogue import Turn

SAID = ['did you feed the cat?', 'twice, she was hungry', 'and the dog?', 'the dog the dog', 'what?', 'he ate with me', 'call me at 0151 2345 6789', 'sleeping', 'who?', 'cat cat', 'ok', 'bye']
CORPUS = '''Theo: did you feed the cat?
Mara: twice, she was hungry
<|endoftext|>
Theo: what?
Mara: he ate with me
Theo: call me at 0151 2345 6789
Mara: sleeping
Theo: who?
Mara: the neighbour
<|endoftext|>
'''


@pytest.fixture
def path(tmp_path):
    """A memory in which turns 1 and 5 were rated good, 3 bad, and 9 put right; and a chat that nobody rated."""
    path = str(tmp_path / 'gpt2-chat' / 'conversations.db')
    kept = memory.Memory(path)
    talk(kept, 'Mara', SAID, {1: 1, 3: -1, 5: 1}, {9: 'the neighbour'})
    talk(kept, 'Priya', SAID[:4], {}, {})
    kept.close()
    return path


def talk(kept, answerer, said, ratings, right):
    chat = kept.open('run1', 'Theo', answerer)
    for i, text in enumerate(said):
        chat.add(Turn(('Theo', answerer)[i % 2], text, 1349680884843 + 5000 * i))
    for i, rating in ratings.items():
        chat.rate(i, rating)
    for i, text in right.items():
        chat.fix(i, text)
    return chat


def run(folder, *arguments):
    return run_script(os.path.join(ROOT, 'import_chats.py'), *arguments, '--report', 'report.json', cwd=folder, env={'XDG_DATA_HOME': str(folder), 'HOME': str(folder)})


@pytest.mark.parametrize('named', [['--from_memory'], ['--from_memory', 'gpt2-chat/conversations.db'], ['gpt2-chat/conversations.db'],
                                   ['gpt2-chat/conversations.db', '--from_memory']], ids=' '.join)
def test_what_was_good_or_put_right(path, tmp_path, named):
    with open(path, 'rb') as file:
        before = file.read()
    result = run(tmp_path, *named, '--out', 'corpus.txt')
    assert result.returncode == 0, result.stderr
    assert (tmp_path / 'corpus.txt').read_text() == CORPUS and '--learn_from Mara' in result.stdout
    counts = json.loads((tmp_path / 'report.json').read_text())['formats']['memory']
    assert counts['records'] == 16 and counts['read'] == 8 and counts['dropped'] == {'turns with no good one behind them': 7, 'turns that were rated bad': 1}
    with open(path, 'rb') as file:
        assert file.read() == before and os.listdir(os.path.dirname(path)) == ['conversations.db']


def test_it_goes_the_way_of_every_chat(path, tmp_path):
    result = run(tmp_path, '--from_memory', '--out', 'corpus.txt', '--redact', '--pseudonyms', '--style', 'timestamp', '--only', 'Mara', '--until', '2012-10-08')
    assert result.returncode == 0, result.stderr
    text = (tmp_path / 'corpus.txt').read_text()
    assert ': call me at [phone]\n' in text and 'Mara' not in text and 'Theo' not in text
    assert [turn.time for conversation in dialogue.get_style('timestamp').parse(text) for turn in conversation.turns][-1] == 1349680884843 + 45000


def test_while_the_chat_is_running_and_when_it_was_killed(path, tmp_path):
    kept = memory.Memory(path)
    chat = kept.open('run1', 'Theo', 'Mara')
    chat.rate(3, 0)
    chat.rate(11, 1)
    result = run(tmp_path, '--from_memory')
    assert result.returncode == 0 and (tmp_path / 'corpus.txt').read_text().endswith('Theo: ok\nMara: bye\n<|endoftext|>\n')
    kept.close()
    child = subprocess.Popen([sys.executable, '-c', f'''
import sys; sys.path.insert(0, {ROOT!r}); from src import memory
memory.Memory({path!r}).open('run1', 'Theo', 'Mara').fix(11, 'see you')
print(flush=True); sys.stdin.read()'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert os.path.getsize(path + '-wal')
    result = run(tmp_path, '--from_memory')
    assert result.returncode == 0 and (tmp_path / 'corpus.txt').read_text().endswith('Theo: ok\nMara: see you\n<|endoftext|>\n')


@pytest.mark.parametrize('how, words', [
    ('none', ['gpt2-chat/conversations.db: there is no memory yet; talk with a model in chatter.py']),
    ('unrated', ['nothing is left to write: 4 messages found, all dropped (turns with no good one behind them (4))']),
    ('a text', ['conversations.db is no memory of conversations']),
    ('damaged', ['conversations.db is damaged (', 'the next chat keeps it aside']),
    ('newer', ['conversations.db is a memory of version 4, and this program knows 3'])])
def test_what_cannot_be_learnt_from(tmp_path, how, words):
    path = tmp_path / 'gpt2-chat' / 'conversations.db'
    if how != 'none':
        kept = memory.Memory(path)
        talk(kept, 'Mara', SAID[:4], {}, {})
        kept.close()
        content = path.read_bytes()
        path.write_bytes({'unrated': content, 'a text': b'Mara: hi\n' * 99, 'damaged': content[:9000], 'newer': content[:63] + b'\4' + content[64:]}[how])
    (tmp_path / 'corpus.txt').write_text('as it was')
    assert fails_clearly(run(tmp_path, '--from_memory', '--out', 'corpus.txt'), 1, *words)
    assert (tmp_path / 'corpus.txt').read_text() == 'as it was' and (how == 'none' or os.listdir(path.parent) == ['conversations.db'])

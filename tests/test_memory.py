"""The memory: what is kept, found again, and really forgotten; what is said when the file cannot be used."""
import contextlib
import glob
import os
import random
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time

import pytest
from conftest import ROOT, run_script
from hypothesis import given, settings
from hypothesis import strategies as st

from src import memory
from src.console import UserError
from src.dialogue import Turn

PEOPLE = 'checkpoint/run1', 'Theo', 'Mara'
TALK = [Turn('Theo', 'shall we go to Lisbon in May?', 1000), Turn('Mara', 'by train, please', 2000), Turn('Theo', 'the kitchen is painted', 3000),
        Turn('Mara', 'my sister Anaïs would love the colour', 4000)]
CHILD = f'import sys; sys.path.insert(0, {ROOT!r}); from src import memory; from src.dialogue import Turn; '


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'kept' / 'conversations.db')


@pytest.fixture
def kept(path):
    """A Memory."""
    found = memory.Memory(path)
    yield found
    found.close()


def talk(kept, turns=TALK, people=PEOPLE):
    chat = kept.open(*people, new=True)
    for turn in turns:
        chat.add(turn)
    return chat


def texts(exchanges):
    return [[turn.text for turn in exchange] for exchange in exchanges]


def everything(path):
    """All bytes in the file and those beside it."""
    found = b''
    for name in glob.glob(glob.escape(path) + '*'):
        with open(name, 'rb') as file:
            found += file.read()
    return found


# ---- what is kept

def test_a_chat_goes_on_where_it_ended(kept, path):
    assert kept.open(*PEOPLE).turns() == [] and kept.chats() == []
    chat = talk(kept)
    other = talk(kept, [Turn('Theo', 'hello\n  Priya,\nhow are you? ' + 'x' * 99)], ('checkpoint/run1', 'Theo', 'Priya'))
    kept.close()
    again = memory.Memory(path)
    assert again.notice == '' and os.listdir(os.path.dirname(path)).count('conversations.db') == 1
    assert again.open(*PEOPLE).turns() == TALK and again.open(*PEOPLE).id == chat.id
    assert again.open(*PEOPLE, new=True).turns() == again.open('checkpoint/run2', 'Theo', 'Mara').turns() == again.open('checkpoint/run1', 'Mara', 'Theo').turns() == []
    first, second = again.chats()
    assert second == (chat.id, *PEOPLE, TALK[0].text, second.begun, second.changed, 4) and abs(second.changed / 1000 - time.time()) < 60
    assert first.id == other.id and first.title == ('hello Priya, how are you? ' + 'x' * 99)[:60] and first.turns == 1
    again.close()
    assert os.listdir(os.path.dirname(path)) == ['conversations.db']


def test_turns_are_taken_back_and_changed(kept):
    chat = talk(kept)
    chat.rate(1, 1)
    chat.replace(1, 'by plane')
    chat.fix(3, 'wrong again')
    chat.fix(3, 'my brother would')
    assert [turn.text for turn in chat.turns()] == [TALK[0].text, 'by plane', TALK[2].text, 'my brother would']
    assert kept._ask('SELECT rating, bad FROM turns ORDER BY id') == [(0, None), (0, None), (0, None), (1, TALK[3].text)]
    chat.drop(2)
    chat.add(Turn('Mara', 'no time'))
    assert chat.turns() == [TALK[0], Turn('Mara', 'by plane', 2000), Turn('Mara', 'no time', None)] == kept.open(*PEOPLE).turns()
    chat.drop(0)
    assert chat.id is None and kept.chats() == [] and kept._ask('SELECT count(*) FROM chats') == [(0,)]
    chat.add(TALK[0])
    assert kept.open(*PEOPLE).turns() == [TALK[0]]


def test_the_chat_that_changed_last_goes_on(kept):
    one, two = talk(kept), talk(kept)
    assert kept.open(*PEOPLE).id == two.id
    time.sleep(0.01)
    one.add(TALK[0])
    assert kept.open(*PEOPLE).id == one.id == kept.chats()[0].id


ANY = st.text(st.one_of(st.characters(), st.characters(categories=['Cs']), st.sampled_from('\0"*^:(){}+-AND NEAR')), max_size=40)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(said=st.lists(ANY, min_size=1, max_size=4), people=st.tuples(ANY, ANY, ANY))
def test_any_text_comes_back_as_it_was(said, people):
    with tempfile.TemporaryDirectory() as folder:
        kept = memory.Memory(os.path.join(folder, 'm.db'))
        chat = talk(kept, [Turn(people[1], text) for text in said], people)
        assert chat.turns() == [Turn(people[1], text, None) for text in said] == kept.open(*people).turns()
        assert kept.chats()[0][1:4] == people
        for text in (*said, ' '.join(said)):
            assert all(turn.text in said for exchange in chat.recall(text, len(said)) for turn in exchange)
        chat.replace(0, said[-1])
        chat.drop(0)
        assert kept._ask("SELECT count(*) FROM words WHERE words MATCH ?", '"and" OR "near"') == [(0,)]
        kept.close()


def test_a_thousand_words_and_a_megabyte(kept):
    chat = talk(kept)
    long = ' '.join(f'word{i}' for i in range(200_000)) + ' Lisbon'
    chat.add(Turn('Theo', long))
    assert chat.turns()[-1].text == long and texts(chat.recall(long, 5)) == [[long]]
    assert chat.recall('', 5) == chat.recall(' ?!\0 \ud83d', 5) == []


# ---- what is recalled

def test_recall_finds_the_exchange(kept):
    chat = talk(kept)
    assert texts(chat.recall('what about LISBÒN?', 4)) == [[TALK[0].text, TALK[1].text]]           # mine and the answer
    assert texts(chat.recall('anais, of all people', 4)) == [[TALK[2].text, TALK[3].text]]          # the answer and what I said before
    assert len(chat.recall('a train to my sister, another train', 4)) == 2 and texts(chat.recall('a train to Lisbon', 4)) == [[TALK[0].text, TALK[1].text]]
    assert chat.recall('would you please come to the station?', 4) == [] and chat.recall('berlin', 4) == []


def test_recall_knows_what_is_in_sight(kept):
    chat = talk(kept)
    assert chat.recall('lisbon', 0) == [] and texts(chat.recall('lisbon', 1)) == [[TALK[0].text]] and chat.recall('anais kitchen', 2) == []
    later = kept.open(*PEOPLE, new=True)
    assert texts(later.recall('lisbon', 0)) == [[TALK[0].text, TALK[1].text]]
    for people in (('checkpoint/run2', 'Theo', 'Mara'), ('checkpoint/run1', 'Theo', 'Priya'), ('checkpoint/run1', 'Mara', 'Theo')):
        assert kept.open(*people).recall('lisbon', 0) == []


def test_recall_leaves_out_what_was_bad_and_what_it_has(kept):
    chat = talk(kept)
    again = talk(kept)                                  # the same words on another day
    assert sorted(texts(kept.open(*PEOPLE, new=True).recall('lisbon, the kitchen', 0))) == [[TALK[0].text, TALK[1].text], [TALK[2].text, TALK[3].text]]
    for each in (chat, again):
        each.rate(1, -1)
    assert texts(again.recall('lisbon', 0)) == [[TALK[0].text]] and again.recall('train', 4) == []
    chat.fix(1, 'by ferry')
    assert texts(again.recall('ferry', 0)) == [[TALK[0].text, 'by ferry']] and again.recall('train', 0) == []


def test_words_that_many_turns_have_find_nothing(kept):
    chat = talk(kept, [Turn('Theo', f'also das haus{i} ist schön') for i in range(40)] + [Turn('Theo', 'also Lissabon')])
    assert chat.recall('also, das ist', 41) == [] and texts(chat.recall('also das Lissabon', 41)) == [['also Lissabon']]
    assert 0 < len(chat.recall(' '.join(f'haus{i}' for i in range(40)), 41)) <= memory.SEARCHED


def test_the_rarer_word_counts_for_more(kept):
    chat = talk(kept, [Turn('Theo', 'a garden with a peacock'), Turn('Theo', 'one more garden')] + [Turn('Theo', f'a garden, number {i}') for i in range(3)])
    assert texts(chat.recall('the garden of the peacock', 5))[0] == ['a garden with a peacock', 'one more garden']


@pytest.mark.parametrize('said, asked, not_asked', [
    ('昨日、猫を病院に連れて行きました', '猫は元気?', '犬は元気ですか'), ('週末は横浜の水族館に行こう', '横浜で何を見た?', 'そうですね、ありがとう'),
    ('我妹妹下个月结婚', '妹妹什么时候结婚？', '我们什么时候去？'), ('外婆做的餃子最好吃', '還想吃餃子', '你們好嗎'),
    ('어제 고양이를 병원에 데려갔어', '고양이는 괜찮아?', '오늘 뭐 해?'), ('แมวของฉันป่วย', 'แมวดีขึ้นไหม', 'สวัสดีครับ'),
    ('मेरी बहन दिल्ली में रहती है', 'दिल्ली कैसी है?', 'क्या हाल')])
def test_recall_where_blanks_do_not_part_words(kept, said, asked, not_asked):
    chat = talk(kept, [Turn('Theo', 'hello'), Turn('Mara', said), Turn('Theo', 'ok')])
    assert texts(chat.recall(asked, 3)) == [['hello', said]] and chat.recall(not_asked, 3) == []
    chat.replace(1, 'nothing')
    assert chat.recall(asked, 3) == []


# ---- what an older program wrote

VERSION_1 = """
CREATE TABLE chats(id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, me TEXT NOT NULL, answerer TEXT NOT NULL, begun INTEGER NOT NULL, changed INTEGER NOT NULL);
CREATE TABLE turns(id INTEGER PRIMARY KEY AUTOINCREMENT, chat INTEGER NOT NULL, speaker TEXT NOT NULL, text TEXT NOT NULL, time INTEGER, rating INTEGER NOT NULL DEFAULT 0, bad TEXT);
CREATE INDEX turns_of_chat ON turns(chat);
CREATE VIRTUAL TABLE words USING fts5(text, content='turns', content_rowid='id', tokenize='unicode61 remove_diacritics 2');
CREATE TRIGGER turn_comes AFTER INSERT ON turns BEGIN INSERT INTO words(rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER turn_goes AFTER DELETE ON turns BEGIN INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text); END;
CREATE TRIGGER turn_changes AFTER UPDATE OF text ON turns BEGIN INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text); INSERT INTO words(rowid, text) VALUES (new.id, new.text); END;
INSERT INTO chats VALUES (1, 'checkpoint/run1', 'Theo', 'Mara', 1000, 2000);
INSERT INTO turns VALUES (1, 1, 'Theo', 'Lisbon?', 1000, 0, NULL), (2, 1, 'Mara', '猫を病院に連れて行った', 2000, 1, 'no'), (3, 1, 'Theo', CAST(x'eda0bd' AS TEXT), 3000, 0, NULL);
PRAGMA application_id = 1130914164; PRAGMA user_version = 1; PRAGMA journal_mode = WAL
"""


def old(path):
    os.makedirs(os.path.dirname(path))
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)


def test_a_memory_of_version_1_goes_on(path):
    old(path)
    before = [*memory.read(path)]
    kept = memory.Memory(path)
    chat = kept.open(*PEOPLE)
    assert [*memory.read(path)] == before and chat.turns() == [Turn('Theo', 'Lisbon?', 1000), Turn('Mara', '猫を病院に連れて行った', 2000), Turn('Theo', '\ud83d', 3000)]
    assert texts(chat.recall('猫', 3)) == texts(chat.recall('lisbon', 3)) == [['Lisbon?', '猫を病院に連れて行った']]
    assert kept._ask('SELECT bad, rating FROM turns WHERE id = 2') == [('no', 1)]
    chat.add(Turn('Mara', 'Porto'))
    kept._db.execute("INSERT INTO words(words, rank) VALUES ('integrity-check', 1)")
    kept.close()
    again = memory.Memory(path)
    assert again.notice == '' and texts(again.open(*PEOPLE).recall('porto', 4)) == [['\ud83d', 'Porto']]
    again.close()


def test_a_memory_of_version_2_goes_on(path):
    kept = memory.Memory(path)
    chat = talk(kept)
    kept.close()
    database(path, 'ALTER TABLE chats DROP COLUMN persona', 'ALTER TABLE chats DROP COLUMN answerers', 'PRAGMA user_version = 2')
    before = [*memory.read(path)]
    again = memory.Memory(path)
    chat = again.open(*PEOPLE)
    assert again.notice == '' and chat.turns() == TALK and [*memory.read(path)] == before and (chat.answerers, chat.persona) == (['Mara'], '')
    chat.meet('Theo', ['Mara', 'Lena \ud83d'], 'A ship.\ud83d')
    found = again.open(*PEOPLE)
    assert (found.id, found.answerers, found.persona) == (chat.id, ['Mara', 'Lena \ud83d'], 'A ship.\ud83d')
    again.close()


def test_a_memory_of_version_1_without_a_table(path):
    old(path)
    database(path, 'DROP TABLE turns')
    kept = memory.Memory(path)
    assert 'its tables are not those of a memory' in kept.notice
    kept.close()


# ---- what is forgotten

SEED = 45                                               # of those with which secure_delete alone leaves two of the words


def lorem(draw, words):
    return ' '.join(''.join(draw.choices('abcdefghij', k=draw.randint(2, 9))) for _ in range(words))


def big(kept, draw):
    """Two chats, turn by turn, of all lengths, that were changed as well, so that rows have moved between pages -> (Chat that stays, one that goes, its words)"""
    stays, goes = talk(kept, [Turn('Theo', 'Qxvkjwzhptstays')]), talk(kept, [Turn('Theo', 'Zqxvkjwzhpt')], ('checkpoint/run1', 'Theo', 'Priya'))
    words = ['Zqxvkjwzhpt']
    for i in range(100):
        words.append(f'Z{lorem(draw, 1)}qxvkjwzhpt')
        goes.add(Turn('Theo', f'{words[-1]} {lorem(draw, draw.choice([1, 3, 10, 30, 200]))}'))
        stays.add(Turn('Theo', lorem(draw, draw.choice([1, 3, 10, 30, 200]))))
        for chat in (goes, stays):
            if i % 3 == 0:
                at = draw.randrange(i + 1)
                chat.fix(at, f'{chat.turns()[at].text[:20]} {lorem(draw, draw.choice([2, 60, 300]))}')
    return stays, goes, words


@pytest.mark.parametrize('how', ['forget', 'forget all', 'drop', 'replace'])
def test_nothing_of_what_is_forgotten_stays_in_the_files(kept, path, how):
    stays, goes, words = big(kept, random.Random(SEED))
    assert all(word.lower().encode() in everything(path).lower() for word in words)
    beside = memory.Memory(path)
    beside.chats()
    if how == 'drop':
        goes.drop(0)
    elif how == 'replace':
        for i in range(len(words)):
            kept._db.execute('PRAGMA synchronous = OFF')
            goes.replace(i, 'gone')
    else:
        kept.forget([goes.id] if how == 'forget' else None)
    left = everything(path).lower()
    assert not [word for word in words if word.lower().encode() in left] and b'qxvkjwzhpt' not in left.replace(b'qxvkjwzhptstays', b'')
    assert (b'qxvkjwzhptstays' in left) == (how != 'forget all') and len(beside.chats()) == {'forget all': 0, 'replace': 2}.get(how, 1)
    beside.close()
    kept._db.execute("INSERT INTO words(words, rank) VALUES ('integrity-check', 1)")
    assert kept._ask('PRAGMA integrity_check') == [('ok',)]


def test_a_chat_that_was_forgotten_goes_on_as_a_new_one(kept):
    chat, old = talk(kept), talk(kept)
    kept.forget([chat.id, 12345])
    assert [found.id for found in kept.chats()] == [old.id] and chat.turns() == []
    chat.add(TALK[0])
    assert kept.open(*PEOPLE).turns() == [TALK[0]] and old.turns() == TALK


def test_a_number_comes_once(kept):
    one = talk(kept)
    id = one.id
    kept.forget()
    two = talk(kept)
    one.drop(0)                                         # of turns that are no more, and of no others
    kept.forget([id])
    assert two.turns() == TALK


def test_words_that_another_program_still_reads_are_told(kept, path, monkeypatch):
    monkeypatch.setattr(memory, 'PATIENCE', 0.05)
    mine = memory.Memory(path)
    talk(mine)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute('BEGIN').execute('SELECT * FROM turns').fetchall()
    with pytest.raises(UserError, match='it is deleted, but another program still reads .*conversations.db, and until it ends the words stay in .*-wal'):
        mine.forget()
    reader.close()
    mine.forget()
    assert mine.chats() == [] and b'Lisbon' not in everything(path)
    mine.close()


# ---- several programs, and what kills them

ADDS = CHILD + '''
chat = memory.Memory(sys.argv[1]).open('checkpoint/run1', 'Theo', 'Mara')
print('open', flush=True)
for i in range(int(sys.argv[3])):
    chat.add(Turn('Theo', f'{sys.argv[2]} {i}'))
    print(f'{sys.argv[2]} {i}', flush=True)
'''


def test_killed_at_any_moment_no_turn_is_lost(path):
    moments, said = random.Random(0), []
    for number in range(6):
        child = subprocess.Popen([sys.executable, '-c', ADDS, path, f'child{number}', '1000000'], text=True, stdout=subprocess.PIPE)
        assert child.stdout.readline() == 'open\n'
        time.sleep(moments.uniform(0, 0.2))
        child.kill()
        out = child.communicate()[0]
        assert child.returncode == -9
        said += out[:out.rfind('\n') + 1].splitlines()
        kept = memory.Memory(path)
        found = [turn.text for turn in kept.open(*PEOPLE).turns()]
        assert kept.notice == '' and [text for text in found if text in set(said)] == said and len(found) <= len(said) + number + 1
        assert kept._ask('PRAGMA synchronous') == [(2,)] and kept._ask('PRAGMA secure_delete') == [(1,)] and kept._ask('PRAGMA integrity_check') == [('ok',)]
        kept.close()
    assert len(said) > 20


def test_four_programs_at_once_on_a_file_that_is_not_there(path):
    children = [subprocess.Popen([sys.executable, '-c', ADDS, path, f'child{n}', '25'], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(4)]
    results = [child.communicate() for child in children]
    assert [child.returncode for child in children] == [0] * 4, results
    kept = memory.Memory(path)
    assert kept.notice == '' and sum(chat.turns for chat in kept.chats()) == 100
    assert sorted(text for (text,) in kept._ask('SELECT text FROM turns')) == sorted(f'child{n} {i}' for n in range(4) for i in range(25))
    kept.close()


def test_a_chat_goes_on_in_one_place_only(kept, path):
    one = talk(kept)
    beside = memory.Memory(path)
    two = beside.open(*PEOPLE)
    one.add(Turn('Theo', 'in one'))
    two.add(Turn('Theo', 'in two'))
    one.add(Turn('Theo', 'more in one'))
    two.add(Turn('Theo', 'more in two'))
    assert [chat.turns for chat in kept.chats()] == [2, 6]
    assert [turn.text for turn in one.turns()[4:]] == ['in one', 'more in one'] and [turn.text for turn in two.turns()] == [*(turn.text for turn in TALK), 'in two', 'more in two']
    two.drop(4)
    assert one.turns()[:4] == two.turns() == TALK and [chat.turns for chat in kept.chats()] == [6]
    beside.close()


def test_a_program_that_does_not_let_go(path, monkeypatch):
    monkeypatch.setattr(memory, 'PATIENCE', 0.05)
    kept = memory.Memory(path)
    chat = talk(kept)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute('BEGIN IMMEDIATE')
    for writes in (lambda: chat.add(TALK[0]), lambda: chat.drop(0), lambda: chat.rate(0, 1), lambda: kept.forget(), lambda: memory.Memory(path)):
        with pytest.raises(UserError, match='conversations.db is being written by another program, which does not end: end it and try again'):
            writes()
    assert chat.turns() == TALK and texts(chat.recall('lisbon', 4))
    other.execute('ROLLBACK')
    chat.add(TALK[0])
    assert chat.turns() == [*TALK, TALK[0]]
    other.close()
    kept.close()


# ---- whose it is

def test_nobody_else_may_read_it(path):
    mask = os.umask(0)
    try:
        kept = memory.Memory(path)
        talk(kept)
        rights = {name: stat.S_IMODE(os.stat(name).st_mode) for name in (os.path.dirname(path), path, path + '-wal', path + '-shm')}
        assert rights == {os.path.dirname(path): 0o700, path: 0o600, path + '-wal': 0o600, path + '-shm': 0o600}
        os.chmod(path, 0o644)
        os.chmod(path + '-wal', 0o644)
        beside = memory.Memory(path)
        assert stat.S_IMODE(os.stat(path).st_mode) == stat.S_IMODE(os.stat(path + '-wal').st_mode) == 0o600
        beside.close()
        kept.close()
    finally:
        os.umask(mask)


def test_the_default_is_in_the_users_data_directory(tmp_path):
    result = run_script('-c', CHILD + 'print(memory.default_path())', env={'XDG_DATA_HOME': str(tmp_path), 'HOME': str(tmp_path)})
    assert result.stdout.strip().startswith(str(tmp_path)) and result.stdout.strip().endswith('conversations.db') and not os.listdir(tmp_path)


# ---- what cannot be used

def database(path, *statements):
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def damage(path, how):
    with open(path, 'rb') as file:
        content = file.read()
    if how == 'a trigger is missing':
        database(path, 'DROP TRIGGER turn_goes')
    elif how == 'another table':
        database(path, 'DROP TABLE turns', 'CREATE TABLE turns(x)')
    elif how == 'a part of the index':
        database(path, 'DROP TABLE words_idx')
    elif how == 'an unknown index':
        database(path, "UPDATE words_config SET v = 99 WHERE k = 'version'")
    else:
        with open(path, 'wb') as file:
            file.write({'no database': b'Mara: hi\n' * 999, 'zeros': bytes(len(content)), 'truncated': content[:len(content) // 2 + 99], 'its first page': content[:500],
                        'a page of zeros': content[:4096] + bytes(4096) + content[8192:], 'shifted': content[:5000] + b'x' + content[5000:]}[how])


@pytest.mark.parametrize('how', ['no database', 'zeros', 'truncated', 'its first page', 'a page of zeros', 'shifted', 'a trigger is missing', 'another table',
                                 'a part of the index', 'an unknown index'])
def test_a_damaged_file_is_kept_aside(path, how, monkeypatch):
    monkeypatch.setattr(memory, 'default_path', lambda: path)
    for number in ('', '-2'):
        kept = memory.Memory(path)
        talk(kept, TALK * 20)
        kept.close()
        damage(path, how)
        with open(path, 'rb') as file:
            damaged = file.read()
        kept = memory.Memory(path)
        aside, = (name for name in glob.glob(path + '.damaged-*') if name[-2:] == '-2' or not number)
        assert kept.notice.startswith(f'{path} is damaged (') and kept.notice.endswith(f'): it was kept as {aside}, and a new one started.') and '\n' not in kept.notice
        with open(aside, 'rb') as file:
            assert file.read() == damaged
        assert kept.chats() == [] and talk(kept).turns() == TALK
        kept.close()


@pytest.mark.parametrize('start', [b'Mara: hi\n' * 99, b'', memory.MAGIC + bytes([16, 0]) * 200], ids=['no database', 'empty', 'its start'])
def test_a_damaged_file_keeps_its_log(path, start, monkeypatch):
    monkeypatch.setattr(memory, 'default_path', lambda: path)
    os.mkdir(os.path.dirname(path))
    for name, content in ((path, start), (path + '-wal', b'what was said last')):
        with open(name, 'wb') as file:
            file.write(content)
    kept = memory.Memory(path)
    aside, = glob.glob(path + '.damaged-*-wal')
    with open(aside, 'rb') as file:
        assert file.read() == b'what was said last' and aside.removesuffix('-wal') in kept.notice
    kept.close()


def test_only_its_index_is_damaged(kept, path):
    """Which costs nothing: it is made anew from the turns."""
    chat = talk(kept)
    for spoil in ("UPDATE words_data SET block = x'ffffffffffffffffffffff' WHERE id > 10", "UPDATE words_data SET block = x'ff'"):
        for use in (lambda chat: chat.add(TALK[0]), lambda chat: chat.recall('lisbon', 4), lambda chat: chat.replace(0, TALK[0].text)):
            kept._db.execute(spoil)
            beside = memory.Memory(path)                # one whose SQLite has not read the index yet
            use(beside.open(*PEOPLE))
            beside.close()
        assert [TALK[0].text, TALK[1].text] in texts(chat.recall('lisbon', 4))
        kept._db.execute("INSERT INTO words(words, rank) VALUES ('integrity-check', 1)")
    assert kept.open(*PEOPLE).turns() == TALK + TALK[:1] * 2


def test_what_is_not_ours_is_left_alone(tmp_path):
    database(tmp_path / 'other.db', 'CREATE TABLE turns(x)')
    memory.Memory(tmp_path / 'newer.db').close()
    database(tmp_path / 'newer.db', 'PRAGMA user_version = 4')
    (tmp_path / 'notes.txt').write_text('buy milk\n' * 99)
    os.chmod(tmp_path / 'other.db', 0o644)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    for name, words in (('other.db', 'is the database of another program: name another file'), ('newer.db', 'is a memory of version 4, and this program knows 3'),
                        ('notes.txt', 'is no memory of conversations and stays as it is: --memory FILE keeps conversations elsewhere')):
        with pytest.raises(UserError, match=rf'{name} {words}'):
            memory.Memory(tmp_path / name)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before and stat.S_IMODE(os.stat(tmp_path / 'other.db').st_mode) == 0o644


def test_no_file_to_write(tmp_path):
    with pytest.raises(UserError, match='is a folder or a device: name the file'):
        memory.Memory(tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='conversations.db: a file of this name is in the way, a folder was expected; --memory FILE keeps conversations elsewhere, --memory none keeps none'):
        memory.Memory(tmp_path / 'file' / 'conversations.db')


@pytest.mark.parametrize('imported, way_out', [(True, 'import src before TensorFlow'), (False, '--memory none keeps none')])
def test_sqlite_without_its_search(path, monkeypatch, imported, way_out):
    monkeypatch.setattr(memory, 'INDEX', ('CREATE VIRTUAL TABLE words USING fts0(spaced)',))
    if not imported:
        monkeypatch.delitem(sys.modules, 'tensorflow')
    with pytest.raises(UserError, match=f'FTS5, which is not here: .*{way_out}'):
        memory.Memory(path)


def test_a_folder_that_is_read_only():
    folder = tempfile.mkdtemp()                         # pytest's own are closed to others
    os.chmod(folder, 0o555)
    result = run_script('-c', CHILD + f'''
import os
if os.getuid() == 0:                                    # who may write everywhere
    os.setuid(65534)
try:
    memory.Memory({os.path.join(folder, 'c.db')!r})
except ValueError as error:
    print(error)''')
    os.rmdir(folder)
    assert 'c.db: permission denied; check who owns it, or choose another folder; --memory FILE' in result.stdout, result.stderr


def test_a_full_disk_keeps_what_was_there(kept):
    chat = talk(kept)
    pages, = kept._ask('PRAGMA page_count')[0]
    kept._db.execute(f'PRAGMA max_page_count = {pages}')
    with pytest.raises(UserError, match='conversations.db cannot grow, the disk is full: free some space; what was kept before is untouched'):
        chat.add(Turn('Theo', 'x' * 99_999))
    kept._db.execute('PRAGMA max_page_count = 99999')
    assert chat.turns() == TALK == kept.open(*PEOPLE).turns()
    chat.add(TALK[0])
    assert chat.turns() == [*TALK, TALK[0]]

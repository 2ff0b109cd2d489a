"""Formats without dates: DialoGPT's TSV, scripts, chats for language models, the owner's JSON, and text in the styles of dialogue.py."""
import json

import pytest

from src import dialogue, readers
from src.dialogue import Conversation, Turn
from src.readers import plain
from src.source import Export


@pytest.fixture
def read(tmp_path):
    """(file name, its text) -> (threads, tally), having checked the format."""
    def read(format, name, text):
        (tmp_path / name).write_text(text, encoding='utf-8', newline='')
        export, tally = Export(str(tmp_path / name)), readers.Tally()
        plan = readers.plan([export])
        assert [module.NAME for module, _ in plan.groups] == [format], plan
        return [thread for module, sources in plan.groups for thread in readers.read_group(module, sources, tally)], tally
    return read


def said(thread):
    return [(turn.speaker, turn.text) for turn in thread.turns]


def score(tmp_path, format, name, text):
    (tmp_path / name).write_text(text, encoding='utf-8', newline='')
    source, = Export(str(tmp_path / name)).sources.values()
    return readers.get_format(format).sniff(source)[0]


# ---- dialogpt

def test_dialogpt_turns_with_and_without_weights(read):
    threads, tally = read('dialogpt', 'train.tsv',
                          '0.0 hello EOS 1.0 hi , EOSin EOS 0.0 how are you ?\t1.0 fine\nsleep ?\t0.0 no\nwhat EOS 1.0 is it\tlate EOS\n\n')
    assert [said(thread) for thread in threads] == [[('A', 'hello'), ('B', 'hi , EOSin'), ('A', 'how are you ?'), ('B', 'fine')],
                                                    [('A', 'sleep ?'), ('B', 'no')],
                                                    [('A', 'what'), ('B', 'is it'), ('A', 'late EOS')]]
    assert tally.records == tally.read == 9


def test_dialogpt_lines_of_other_shape_are_counted(read):
    threads, tally = read('dialogpt', 'train.tsv', 'a EOS b\tc\n' * 20 + 'no tab\na\tb\tc\nx EOS 0.0 \ty\n')
    assert said(threads[-1]) == [('A', 'x'), ('A', 'y')] and tally.dropped == {readers.UNREADABLE: 2, readers.EMPTY: 1} and tally.records == 65


def test_a_tsv_without_marks_is_not_dialogpts(tmp_path):
    assert score(tmp_path, 'dialogpt', 'a.tsv', 'hello\thi\nbye\tciao\n') < readers.READABLE


# ---- script

HEADER = 'index,season no.,episode no.,episode name,name,line\n'


def test_an_episode_is_a_thread_in_the_order_of_the_rows(read):
    threads, tally = read('script', 'series.csv',
                          HEADER + '0,1,1,Pilot,Nora,"Wait, what?"\n9,1,1,Pilot, Ben ,"a\r\nb"\n3,1,2,Bridge,Nora,Yes\n4,2,2,Walls,Ben,No\n')
    assert [(thread.unit, thread.title, said(thread)) for thread in threads] == [
        ('1/1', 'Pilot', [('Nora', 'Wait, what?'), ('Ben', 'a\nb')]), ('1/2', 'Bridge', [('Nora', 'Yes')]), ('2/2', 'Walls', [('Ben', 'No')])]
    assert threads[0].group is None and threads[0].turns[0].time is None and tally.records == 4


def test_a_script_without_episodes_is_cut_into_scenes(read):
    lines = [('Nora' if i % 3 else 'Ben', f'line {i}') for i in range(120)]
    threads, tally = read('script', 'play.csv', 'name,line\n' + ''.join(f'{who},{line}\n' for who, line in lines))
    assert [len(thread.turns) for thread in threads] == [50, 50, 20] and sum(map(said, threads), []) == lines and tally.records == 120


def test_script_rows_without_name_or_line_are_empty_and_short_rows_unreadable(read):
    threads, tally = read('script', 'series.csv',
                          HEADER + '0,1,1,Pilot,,(rain)\n1,1,1,Pilot,Nora, \n2,1,1,Pilot\n3,1,1,Pilot,Nora,Yes,no\n\n4,1,1,Pilot,Nora,Yes\n')
    assert [said(thread) for thread in threads] == [[('Nora', 'Yes')]] and tally.dropped == {readers.EMPTY: 2, readers.UNREADABLE: 2} and tally.records == 5


@pytest.mark.parametrize('header, unit', [('Character;Line;Season', '3'), ('speaker,dialogue', None), ('Episode,raw_character_text,spoken_words', '3'),
                                          ('name\ttext\tepisode_no', '3'),
                                          ('Date,Speaker,Message', None), ('name,message', None)])
def test_kin_of_scripts(read, header, unit):
    row = {'character': 'Nora', 'speaker': 'Nora', 'raw_character_text': 'Nora', 'name': 'Nora', 'season': '3', 'episode': '3', 'episode_no': '3'}
    mark = next(mark for mark in ';\t,' if mark in header)
    (thread,), _ = read('script', 'play.csv', f'{header}\n' + mark.join(row.get(name.lower(), 'Hello') for name in header.split(mark)) + '\n')
    assert (thread.unit, said(thread)) == (unit, [('Nora', 'Hello')])


@pytest.mark.parametrize('header', ['AuthorID,Author,Date,Content,Attachments,Reactions', 'title,body,score', 'ID,Timestamp,Contents,Attachments',
                                    'conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags', ''])
def test_other_tables_are_no_scripts(tmp_path, header):
    assert score(tmp_path, 'script', 'a.csv', f'{header}\n' + ','.join('x' * len(header.split(','))) + '\n') < readers.READABLE


def test_a_script_in_another_encoding(tmp_path):
    (tmp_path / 'play.csv').write_bytes('name,line\nZoë,Ça va\n'.encode('cp1252'))
    thread, = readers.read(tmp_path / 'play.csv')
    assert said(thread) == [('Zoë', 'Ça va')]


# ---- chat_jsonl

OPENAI = {'messages': [{'role': 'system', 'content': 'Be kind.'}, {'role': 'user', 'content': 'Hello\n'}, {'role': 'assistant', 'content': 'Hi'}]}
SHAREGPT = {'id': 'q1', 'conversations': [{'from': 'human', 'value': 'Bye'}, {'from': 'gpt', 'value': 'Ciao'}, {'from': 'moderator', 'value': 'Stop'}]}


@pytest.mark.parametrize('name, text', [('a.jsonl', f'{json.dumps(OPENAI)}\n\n{json.dumps(SHAREGPT)}'), ('a.json', json.dumps([OPENAI, SHAREGPT])),
                                        ('a.json', json.dumps([OPENAI, SHAREGPT], indent=2)), ('a.json', '\ufeff' + json.dumps([OPENAI, SHAREGPT]))])
def test_chats_as_lines_and_as_an_array(read, name, text):
    threads, tally = read('chat_jsonl', name, text)
    assert [said(thread) for thread in threads] == [[('User', 'Hello\n'), ('Assistant', 'Hi')], [('User', 'Bye'), ('Assistant', 'Ciao'), ('Moderator', 'Stop')]]
    assert tally.dropped == {readers.SYSTEM: 1} and tally.records == 6


def test_contents_of_parts_tools_and_wrong_shapes(read):
    messages = [{'role': 'user', 'content': [{'type': 'text', 'text': 'See'}, {'type': 'image_url', 'image_url': {'url': 'a.png'}},
                                             {'type': 'text', 'text': 'this'}]},
                {'role': 'user', 'content': [{'type': 'image_url', 'image_url': {'url': 'a.png'}}]}, {'role': 'assistant', 'content': None, 'tool_calls': [{}]},
                {'role': 'tool', 'content': '{}'}, {'role': 'function', 'content': '1'}, {'role': 'assistant', 'content': None},
                {'role': 'assistant', 'content': ' '},
                {'role': 'user', 'content': []}, {'role': 5, 'content': 'x'}, {'role': '', 'content': 'x'}, {'role': 'user', 'content': 5}, 'hello', None]
    threads, tally = read('chat_jsonl', 'a.jsonl', json.dumps({'messages': messages}) + '\n{"messages": 5}\n[]\n{"messages": [{"role"')
    assert said(threads[0]) == [('User', 'See\nthis')]
    assert tally.dropped == {readers.MEDIA: 1, readers.SYSTEM: 3, readers.EMPTY: 3, readers.UNREADABLE: 5 + 3} and tally.records == 16


def test_an_array_that_breaks_off_keeps_what_came_before(read):
    threads, tally = read('chat_jsonl', 'a.json', json.dumps([OPENAI, SHAREGPT])[:-40])
    assert [said(thread) for thread in threads] == [[('User', 'Hello\n'), ('Assistant', 'Hi')]] and len(tally.broken) == 1


def test_an_object_longer_than_what_is_looked_at(read):
    long = {'messages': [{'role': 'user', 'content': 'x' * 100000}]}
    assert len(read('chat_jsonl', 'a.jsonl', json.dumps(long))[0]) == 1
    assert len(read('chat_jsonl', 'a.json', json.dumps([long], indent=1))[0]) == 1


def test_an_object_over_many_lines_is_told(tmp_path):
    assert 0 < score(tmp_path, 'chat_jsonl', 'a.json', json.dumps(OPENAI, indent=2)) < readers.READABLE
    assert score(tmp_path, 'chat_jsonl', 'result.json',
                 '{"name": "Ada", "type": "personal_chat", "messages": [{"id": 1, "type": "message", "text": "hi"}]}') == 0


# ---- owner_json

def test_owners_conversations(read):
    threads, tally = read('owner_json', 'a.json', json.dumps([[], [{'owner': False, 'content': 'Hi\n'}, {'owner': True, 'content': 'Hello'},
                                                                   {'owner': True, 'content': ''}],
                                                               5, [7, {'owner': 'yes', 'content': 'x'}, {'owner': True, 'content': ['x']}, {'content': 'x'}]]))
    assert [said(thread) for thread in threads] == [[('Them', 'Hi\n'), ('Me', 'Hello')]]
    assert tally.dropped == {readers.EMPTY: 1, readers.UNREADABLE: 5} and tally.records == 8


@pytest.mark.parametrize('text', ['[]', '[[]]', '[{"owner": true, "content": "x"}]', '[[{"a": 1}]]', '[[[{"owner": true, "content": "x"}]]]', '[[0, "x"]]',
                                  '[' * 70000, '{"a": [['])
def test_other_json_is_not_the_owners(tmp_path, text):
    assert score(tmp_path, 'owner_json', 'a.json', text) < readers.READABLE


# ---- plain

TALKS = [Conversation([Turn('Mara', 'You sound tired.', 1349680884843), Turn('Theo', 'long day\n\nbut: a good one <|endoftext|>', 1349680890000)]),
         Conversation([Turn('Mara', 'Tomorrow?', 1349680984843), Turn('Theo', 'yes', 1349680990000), Turn('Mara', 'fine', 1349680999000)])]


@pytest.mark.parametrize('style', ['name', 'timestamp', 'said'])
@pytest.mark.parametrize('block', [0, 1, 60, plain.BLOCK])
def test_what_the_styles_write_is_read_whatever_the_blocks(read, monkeypatch, style, block):
    monkeypatch.setattr(plain, 'BLOCK', block)
    threads, tally = read('plain', 'chat.txt', ''.join(map(dialogue.get_style(style).render, TALKS)))
    expected = [[turn if style == 'timestamp' else turn._replace(time=None) for turn in talk.turns] for talk in TALKS]
    assert [thread.turns for thread in threads] == expected and tally.records == 5 and not tally.dropped


@pytest.mark.parametrize('block', [0, plain.BLOCK])
def test_text_written_by_hand(read, monkeypatch, block):
    monkeypatch.setattr(plain, 'BLOCK', block)
    threads, tally = read('plain', 'chat.txt', '\ufeffOur week\r\n\r\nMara: Hi\r\nTheo: hello\r\nand welcome\r\nMara: so\r\n\r\n\r\n' +
                          'Mara: Still\r\nTheo:\r\nMara: there?\r\nTheo: Yes\r\nMara: good\r\nTheo: is it')
    assert [said(thread) for thread in threads] == [[('Mara', 'Hi'), ('Theo', 'hello\nand welcome'), ('Mara', 'so')],
                                                    [('Mara', 'Still'), ('Mara', 'there?'), ('Theo', 'Yes'), ('Mara', 'good'), ('Theo', 'is it')]]
    assert tally.dropped == {readers.UNREADABLE: 1, readers.EMPTY: 1} and tally.records == 10


def test_texts_that_are_no_dialogue(tmp_path):
    for text in ('', 'Once upon a time\nthere was a king.\n', 'a: 1\nb: 2\nc: 3\n', 'hello<|endoftext|>hi<|endoftext|>\n' * 3):
        assert score(tmp_path, 'plain', 'a.txt', text) == 0.1

"""Signal: chat.md and data.json as signal-export writes them."""
import json
import os

import pytest
from conftest import ROOT

from src import readers
from src.source import Export

SAMPLES = os.path.join(ROOT, '..', 'shared', 'samples', 'signal')
NOON = 1559131200000                                    # 2019-05-29 12:00 UTC


def read(*paths):
    """Files or folders -> (threads, tally, [NAME of each group])."""
    plan, tally = readers.plan([Export(str(path)) for path in paths]), readers.Tally()
    threads = [thread for module, sources in plan.groups for thread in readers.read_group(module, sources, tally)]
    return threads, tally, [module.NAME for module, _ in plan.groups]


def write(folder, text, name='chat.md'):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding='utf-8')
    return folder


def said(thread):
    return [(turn.speaker, turn.text) for turn in thread.turns]


def test_headers_with_and_without_comma_and_seconds(tmp_path):
    (thread,), tally, names = read(write(tmp_path / 'Ada',
                                         '[2019-05-29, 12:00] Me: one  \n[2019-05-29 12:01] Ada: two: three\n\n[2019-05-29 12:01:05] Me:four\n'))
    assert names == ['signal'] and thread.title == 'Ada' and tally.records == 3
    assert [tuple(turn) for turn in thread.turns] == [('Me', 'one', NOON), ('Ada', 'two: three', NOON + 60000), ('Me', 'four', NOON + 65000)]


def test_lines_without_a_header_go_on(tmp_path):
    (thread,), tally, _ = read(write(tmp_path / 'Ada', '[2019-05-29 12:00:00] Me: a list:\n\n1. 👩‍👩‍👧  \n[2019-05-29] no header\n[12:00] neither  \n'))
    assert said(thread) == [('Me', 'a list:\n\n1. 👩‍👩‍👧  \n[2019-05-29] no header\n[12:00] neither')] and tally.records == 1


def test_a_header_that_is_pasted_starts_no_message(tmp_path):
    (thread,), tally, _ = read(write(tmp_path / 'Ada', '[2019-05-29 12:00:00] Me: hm?  \n\n[2019-05-29 12:00:01] Ada: she wrote\n'
                                     '[2019-05-28 10:00:00] Bo: soup  \n\n[2019-05-29 12:00:02] Me: oh  \n'))
    assert said(thread) == [('Me', 'hm?'), ('Ada', 'she wrote\n[2019-05-28 10:00:00] Bo: soup'), ('Me', 'oh')] and tally.records == 3


def test_nobody_is_no_speaker(tmp_path):
    (thread,), tally, _ = read(write(tmp_path / 'Ada', '[2019-05-29 12:00:00] No-Sender: Safety number changed  \n\n[2019-05-29 12:00:01] Me: oh  \n'))
    assert said(thread) == [('Me', 'oh')] and tally.dropped == {readers.SYSTEM: 1}


def test_quotes_reactions_stickers_and_attachments_are_no_words(tmp_path):
    threads, tally, _ = read(write(tmp_path / 'Ada', (
        '[2019-05-29 12:00:00] Me: \n\n> a quote\n> of two lines\n\nmine\n> not a quote  \n(- Ada: 👍, Ben Two: ❤️ -)\n\n'
        '[2019-05-29 12:00:01] Ada: look (1) ![a_(1).jpg](./media/a_(1).jpg)  [b.pdf](./media/b%20c.pdf)  \n\n'
        '[2019-05-29 12:00:02] Ada:   \n(( 😀 ))\n\n'
        '[2019-05-29 12:00:03] Ada:   [😀](../exported_stickers/abc/1.webp)  \n\n'
        '[2019-05-29 12:00:04] Ada:   \n(- Me: 👍 -)![a.jpg](./media/a.jpg)  \n\n'
        '[2019-05-29 12:00:05] Ada:   \n(- Me: 👍 -)\n\n'
        '[2019-05-29 12:00:06] Ada: [a link](https://example.org)  \n')))
    assert said(threads[0]) == [('Me', 'mine\n> not a quote'), ('Ada', 'look (1)'), ('Ada', '[a link](https://example.org)')]
    assert tally.dropped == {readers.MEDIA: 3, readers.EMPTY: 1} and tally.records == 7


def test_deleted_messages_and_calls_are_dropped_when_they_are_the_whole_body(tmp_path):
    (thread,), tally, _ = read(write(tmp_path / 'Ada', ''.join(f'[2019-05-29 12:00:0{i}] Ada: {body}  \n\n' for i, body in enumerate((
        '(This message was deleted)', 'Missed voice call', 'Outgoing video call (accepted, 2m 3s)', 'Incoming call', 'Missed call, sorry',
        'see (This message was deleted)')))))
    assert said(thread) == [('Ada', 'Missed call, sorry'), ('Ada', 'see (This message was deleted)')]
    assert tally.dropped == {readers.DELETED: 1, readers.SYSTEM: 3}


def test_what_cannot_be_read_is_counted(tmp_path):
    (thread,), tally, _ = read(write(tmp_path / 'Ada', 'a heading\n[2019-02-30 12:00] Me: no such day\nand on\n[2019-05-29 12:00] Me: fine\n'))
    assert said(thread) == [('Me', 'fine')] and tally.dropped == {readers.UNREADABLE: 2}


def test_data_json_is_read_instead_of_chat_md(tmp_path):
    message = {'date': '2019-05-29T12:00:00.250000', 'sender': 'Me', 'body': 'hello  ', 'quote': '', 'sticker': None, 'reactions': [], 'attachments': []}
    lines = [message, message | {'body': '  ', 'attachments': [{'name': 'a.jpg', 'path': 'media/a.jpg'}]}, message | {'body': '  ', 'sticker': '😀'},
             message | {'body': 'gone  ', 'deleted': True}, message | {'body': 'Calling  ', 'call': True}, message | {'date': 5},
             message | {'sender': ['Me']}, [1],
             message | {'date': '2019-05-29T12:00:01', 'body': '> not a quote\nbye  '}]
    write(tmp_path / 'Ada', '\n'.join(map(json.dumps, lines)) + '\n{"date": "2019', 'data.json')
    write(tmp_path / 'Ada', '[2019-05-29 12:00:00] Me: hello  \n\n[2019-05-29 12:00:01] Me: > not a quote\nbye  \n')
    (thread,), tally, names = read(tmp_path)
    assert names == ['signal'] and thread.title == 'Ada' and len(tally.notes) == 1
    assert [tuple(turn) for turn in thread.turns] == [('Me', 'hello', NOON + 250), ('Me', '> not a quote\nbye', NOON + 1000)]
    assert tally.dropped == {readers.MEDIA: 2, readers.DELETED: 1, readers.SYSTEM: 1, readers.UNREADABLE: 4} and tally.records == 10


def test_the_chats_of_an_export_are_threads_of_their_own(tmp_path):
    write(tmp_path / 'Ada', '[2019-05-29 12:00] Me: a\n')
    write(tmp_path / 'Ben', '[2019-05-29 12:00] Me: b\n', 'index.md')
    threads, _, _ = read(tmp_path)
    assert [(thread.title, said(thread)) for thread in threads] == [('Ada', [('Me', 'a')]), ('Ben', [('Me', 'b')])]


@pytest.mark.parametrize('line', ['[2026/7/9 02:28:37] Bob:Hi', '[29.05.19, 12:00:00] Bob: Hi', '2019-05-29, 12:00 - Bob: Hi', 'Bob: Hi', ''])
def test_what_is_not_its_own(tmp_path, line):
    (tmp_path / 'chat.txt').write_text(f'{line}\n' * 3)
    source, = Export(str(tmp_path / 'chat.txt')).sources.values()
    assert readers.get_format('signal').sniff(source)[0] == 0


def test_sample():
    if not os.path.isdir(SAMPLES):
        pytest.skip('the samples are not beside this checkout')
    (thread,), tally, names = read(os.path.join(SAMPLES, 'test_export.txt'))
    assert names == ['signal'] and tally.records == 2
    assert said(thread) == [('Jane Doe', 'Hello John!'), ('John Doe', 'Hello\nJane!')]

"""Reddit: tables of title, body and score, and dumps of submissions and comments."""
import json

import pytest
import zstandard

from src import readers
from src.readers import reddit
from src.source import Export


def read(*paths):
    """Files or folders -> (threads, tally)."""
    plan, tally = readers.plan([Export(str(path)) for path in paths]), readers.Tally()
    assert {module.NAME for module, _ in plan.groups} == {'reddit'}
    return [thread for module, sources in plan.groups for thread in readers.read_group(module, sources, tally)], tally


def table(tmp_path, text):
    (tmp_path / 'replies.csv').write_text(text, encoding='utf-8', newline='')
    return read(tmp_path / 'replies.csv')


def post(post_id, title, **more):
    return {'id': post_id, 'title': title, 'selftext': '', 'author': 'ada', 'created_utc': 1546300800, 'subreddit': 'dinner', **more}


def comment(body, link='t3_p1', **more):
    return {'id': 'c', 'link_id': link, 'parent_id': link, 'body': body, 'author': 'ben', 'created_utc': 1546300900, 'score': 3, 'stickied': False, **more}


def dump(path, *records):
    data = ''.join(record if isinstance(record, str) else json.dumps(record) + '\n' for record in records).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor().compress(data) if path.suffix == '.zst' else data)
    return path


def said(threads):
    return [[turn.text for turn in thread.turns] for thread in threads]


# ---- tables

def test_a_row_is_a_thread_and_its_title_the_unit(tmp_path):
    threads, tally = table(tmp_path, 'title,body,score\r\nWho cooks?,"I do, ""gladly""\r\nAda",12\r\nWho cooks?,Not me,-3\r\nOther?,Yes,\r\n')
    assert said(threads) == [['Who cooks?', 'I do, "gladly"\nAda'], ['Who cooks?', 'Not me'], ['Other?', 'Yes']]
    assert [(thread.unit, thread.score, thread.records, thread.group) for thread in threads] == [
        ('Who cooks?', 12, 1, False), ('Who cooks?', -3, 1, False), ('Other?', None, 1, False)]
    assert [turn.speaker for turn in threads[0].turns] == ['Poster', 'Replier'] and tally.records == 3


def test_columns_of_authors_and_of_the_posts_own_text(tmp_path):
    threads, tally = table(tmp_path,
                           'score,author,body,selftext,title,post_author\n1,ben,Dal &amp; rice,Ideas?,Who cooks?,ada\n1,ada,Thanks,Ideas?,Who cooks?,ada\n'
                                     '1,AutoModerator,Rules,,Who cooks?,ada\n1,[deleted],Soup,[removed],Who cooks?,[deleted]\n')
    assert [[(turn.speaker, turn.text) for turn in thread.turns] for thread in threads] == [
        [('ada', 'Who cooks?\n\nIdeas?'), ('ben', 'Dal & rice')], [('Poster', 'Who cooks?'), ('Replier', 'Soup')]]
    assert tally.dropped == {reddit.OWN: 1, readers.BOT: 1}


def test_rows_without_words_and_broken_rows_are_counted(tmp_path):
    threads, tally = table(tmp_path, 'title,body,score\nA?,[removed],1\nA?,[deleted],1\nA?,,1\n,b,1\nA?,b\nA?,b,c,1\nA?,b,many\n\nA?,fine,1\n')
    assert said(threads) == [['A?', 'fine']]
    assert tally.dropped == {readers.DELETED: 2, readers.EMPTY: 2, readers.UNREADABLE: 3} and tally.records == 8


def test_a_table_of_posts_is_no_table_of_replies(tmp_path):
    (tmp_path / 'posts.csv').write_text('title,score,id,url,comms_num,created,body,timestamp\nA?,1,x,u,3,1.6e9,my own text,2021\n')
    source, = Export(str(tmp_path / 'posts.csv')).sources.values()
    assert 0 < readers.get_format('reddit').sniff(source)[0] < readers.READABLE


def test_a_table_with_a_cell_without_end_is_damaged_and_what_came_before_counts(tmp_path):
    threads, tally = table(tmp_path, 'title,body,score\nA?,b,1\nA?,"' + 'x' * 200000)
    assert said(threads) == [['A?', 'b']] and len(tally.broken) == 1


# ---- dumps

def test_comments_meet_their_posts_whatever_the_files_and_their_order(tmp_path):
    posts, comments = [post('p1', 'Who cooks?', selftext='Ideas &lt;3')], [comment('Dal &amp; rice'), comment('Soup', score=-2)]
    dump(tmp_path / 'one' / 'RC_2019-01.zst', *comments)
    dump(tmp_path / 'one' / 'RS_2019-01.zst', *posts)
    dump(tmp_path / 'mixed.ndjson', *comments, *posts)
    alone = dump(tmp_path / 'RC_2019-01', *comments), dump(tmp_path / 'dinner_submissions.zst', *posts)
    for paths in ((tmp_path / 'one',), (tmp_path / 'mixed.ndjson',), alone):
        threads, tally = read(*paths)
        assert said(threads) == [['Who cooks?\n\nIdeas <3', 'Dal & rice'], ['Who cooks?\n\nIdeas <3', 'Soup']]
        assert [(thread.unit, thread.score, thread.group, thread.records) for thread in threads] == [('p1', 3, False, 2), ('p1', -2, False, 1)]
        assert [turn.time for turn in threads[0].turns] == [1546300800000, 1546300900000]
        assert tally.records == tally.read == 3


def test_only_direct_replies_of_other_people_are_read(tmp_path):
    dump(tmp_path / 'all.ndjson', post('p1', 'Who cooks?'), post('p2', 'Nobody answers'), post('p3', 'Weekly', author='AutoModerator'), post('p1', 'Again'),
         comment('top'), comment('nested', parent_id='t1_c'), comment('thanks', author='ada'), comment('rules', author='AutoModerator', stickied=True),
         comment('pinned', stickied=True), comment('[removed]'), comment('[deleted]', author='[deleted]'), comment('lost', 't3_none'), comment(' '),
         comment('hm', 't3_p3'),
         comment('nobody knows me', author='[deleted]'))
    threads, tally = read(tmp_path / 'all.ndjson')
    assert [[(turn.speaker, turn.text) for turn in thread.turns] for thread in threads] == [
        [('ada', 'Who cooks?'), ('ben', 'top')], [('ada', 'Who cooks?'), ('Replier', 'nobody knows me')]]
    assert tally.dropped == {reddit.NESTED: 1, reddit.OWN: 1, readers.BOT: 3, reddit.PINNED: 1, readers.DELETED: 2, reddit.NO_POST: 1, readers.EMPTY: 1,
                             readers.DUPLICATE: 1, reddit.NO_REPLIES: 1}
    assert tally.read == 3 and tally.records == 15


@pytest.mark.parametrize('time, milliseconds', [(1546300900, 1546300900000), (1546300900.5, 1546300900500), ('1546300900', 1546300900000), (None, None)])
def test_created_utc_is_a_number_or_a_string(tmp_path, time, milliseconds):
    threads, _ = read(dump(tmp_path / 'all.ndjson', post('p1', 'A?', created_utc=time), comment('b', created_utc=time)))
    assert [turn.time for turn in threads[0].turns] == [milliseconds] * 2


def test_entities_twice_over_but_nothing_else(tmp_path):
    threads, _ = read(dump(tmp_path / 'all.ndjson', post('p1', 'A?'), comment('a &amp;#x200B; b &amp;lt; c &copyright AT&T &foo;')))
    assert threads[0].turns[1].text == 'a  b < c &copyright AT&T &foo;'


@pytest.mark.parametrize('body, text', [
    ('&gt; who cooks?\n\nI do', 'I do'), ('> a\n> b\nme\n\n>c\n\nand you\n', 'me\n\nand you'), ('soup\n\n&amp;#x200B;\n\n> bread', 'soup'),
    ('a\n\n&#x200B;\n\nb', 'a\n\nb'), ('better >:) now', 'better >:) now'), ('>!it was him!<', '>!it was him!<'), ('1 > 0\n -> yes', '1 > 0\n -> yes')])
def test_what_is_quoted_is_not_said(tmp_path, body, text):
    threads, _ = read(dump(tmp_path / 'all.ndjson', post('p1', 'A?'), comment(body)))
    assert said(threads) == [['A?', text]]
    assert said(table(tmp_path, f'title,body\r\nA?,"{body}"\r\n')[0]) == [['A?', text]]


def test_a_reply_that_only_quotes_is_empty(tmp_path):
    threads, tally = read(dump(tmp_path / 'all.ndjson', post('p1', 'A?'), comment('> so it is'), comment('yes')))
    assert said(threads) == [['A?', 'yes']] and tally.dropped == {readers.EMPTY: 1}


@pytest.mark.parametrize('body, text', [
    ('![gif](giphy|abc123)', None), ('![img](emote|t5_2th52|4271)', None), ('> who?\n\n![gif](giphy|abc|downsized)', None),
    ('https://preview.redd.it/abc.png?width=640&amp;format=png&amp;s=1', None), ('so funny ![gif](giphy|abc|downsized)', 'so funny'),
    ('so ![img](emote|t5_2th52|4271) funny', 'so funny'), ('look\n\nhttps://i.redd.it/abc.jpg', 'look'),
    ('see https://preview.redd.it/abc.png here', 'see https://preview.redd.it/abc.png here'), ('wow![^1](a)', 'wow![^1](a)')])
def test_pictures_are_no_words(tmp_path, body, text):
    for threads, tally in (read(dump(tmp_path / 'all.ndjson', post('p1', 'A?'), comment(body), comment('yes'))), table(tmp_path, f'title,body\nA?,"{body}"\nA?,yes\n')):
        assert said(threads) == ([['A?', text]] if text else []) + [['A?', 'yes']] and tally.dropped == ({} if text else {readers.MEDIA: 1})


def test_records_of_wrong_shape_are_counted(tmp_path):
    dump(tmp_path / 'all.ndjson', post('p1', 'A?'), post(['p2'], 'B?'), post('p3', 'C?', created_utc='soon'), post('p4', '[deleted by user]'), post('p5', 4),
         '{"id": "p6", "title": "cut\n', '[' * 100000 + '\n', 'null\n', '\n', comment(7), comment('b', author=['x']), comment('b', created_utc=1e999),
         comment('b', ['t3_p1']),
         comment('fine', score='many'), '{"body": "cut off", "link_id')
    threads, tally = read(tmp_path / 'all.ndjson')
    assert said(threads) == [['A?', 'fine']] and threads[0].score is None
    assert tally.dropped == {readers.UNREADABLE: 11, readers.DELETED: 1} and tally.records == 14


def test_a_damaged_file_does_not_end_the_others(tmp_path):
    dump(tmp_path / 'd' / 'RS_2019-01.zst', post('p1', 'A?'))
    whole = dump(tmp_path / 'd' / 'RC_2019-01.zst', *(comment(f'{i} {i * 7919}') for i in range(5000))).read_bytes()
    (tmp_path / 'd' / 'RC_2019-01.zst').write_bytes(whole[:len(whole) // 2] + bytes(100) + whole[len(whole) // 2 + 100:])
    dump(tmp_path / 'd' / 'RC_2019-02.zst', comment('fine'))
    threads, tally = read(tmp_path / 'd')
    assert said(threads)[-1] == ['A?', 'fine'] and [path.rsplit('/', 1)[1] for path, _ in tally.broken] == ['RC_2019-01.zst']


def test_a_window_of_2_gb_is_allowed(tmp_path):
    packed = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=31)).compressobj()
    data = packed.compress(json.dumps(post('p1', 'A?')).encode() + b'\n' + json.dumps(comment('b')).encode()) + packed.flush()
    (tmp_path / 'all.zst').write_bytes(data)
    assert said(read(tmp_path / 'all.zst')[0]) == [['A?', 'b']]

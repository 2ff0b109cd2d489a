"""Telegram, Discord (exporter and package) and Slack: what their files really look like, and what is read from them."""
import json
import os
import tracemalloc

import pytest
from conftest import ROOT

from src import readers
from src.dialogue import Turn
from src.readers import BOT, DELETED, EMPTY, FORWARDED, MEDIA, SYSTEM, UNREADABLE, telegram
from src.source import Export

SAMPLES = os.path.join(ROOT, '..', 'shared', 'samples')
NOON = 1596974400000                                    # 2020-08-09 12:00:00 UTC


def read(*paths, format=None):
    """(threads, tally) of all that is recognised."""
    tally = readers.Tally()
    plan = readers.plan([Export(str(path)) for path in paths], format)
    return [thread for module, sources in plan.groups for thread in readers.read_group(module, sources, tally)], tally


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding='utf-8', newline='')
    return path


def formats_of(path):
    return [module.NAME for module, _ in readers.plan([Export(str(path))]).groups]


def sample(*parts):
    if not os.path.isdir(SAMPLES):
        pytest.skip('the sample exports are not beside this checkout')
    return os.path.join(SAMPLES, *parts)


# ---- Telegram

def said(text, sender='Mara', key='user5', at=0, **more):
    return {'id': 1, 'type': 'message', 'date': '2020-08-09T14:00:00', 'date_unixtime': str(NOON // 1000 + at), 'from': sender, 'from_id': key,
            'text': text, **more}


def chat(*messages, **fields):
    return {'name': 'Theo', 'type': 'personal_chat', 'id': 6, **fields, 'messages': list(messages)}


@pytest.mark.parametrize('name', ['test_single_export.json', 'test_batch_export.json'])
def test_telegram_samples(name):
    threads, tally = read(sample('telegram', name))
    assert [(turn.speaker, turn.time) for turn in threads[0].turns] == [('Author 1', 1544006350000), ('Author 2', 1544006964000)]
    assert threads[0].turns[1].text == 'Link:https://telegram.org/' and tally.records == 2


def test_telegram_single_chat(tmp_path):
    (thread,), tally = read(write(tmp_path / 'result.json', chat(
        said('hi'), said(['look: ', {'type': 'link', 'text': 'https://example.org'}, '!'], 'Theo', 'user6', at=60))))
    assert thread.turns == [Turn('Mara', 'hi', NOON), Turn('Theo', 'look: https://example.org!', NOON + 60_000)]
    assert (thread.title, thread.group, thread.format) == ('Theo', False, 'telegram')
    assert tally.records == tally.read == 2


def test_telegram_full_export_has_chats_left_chats_and_saved_messages(tmp_path):
    threads, tally = read(write(tmp_path / 'result.json', {
        'about': 'Here is the data you requested.', 'contacts': {'list': [{'first_name': 'Theo', 'name': 'x', 'type': 'y'}]},
        'frequent_contacts': {'list': [{'name': 'Ada', 'type': 'user', 'id': 3}]},
        'chats': {'about': 'all', 'list': [{'type': 'saved_messages', 'id': 5, 'messages': [said('stamps')]}, chat(said('hi')), chat()]},
        'left_chats': {'about': 'left', 'list': [chat(said('bye'), name='Rowing', type='private_supergroup')]}}))
    assert [(thread.title, thread.group) for thread in threads] == [('Saved Messages', False), ('Theo', False), ('Rowing', True)]
    assert tally.records == 3 and not tally.broken


def test_telegram_people_are_their_ids(tmp_path):
    (thread,), _ = read(write(tmp_path / 'result.json', chat(
        said('1', 'Alex', 5), said('2', 'Alex', 6), said('3', None, 'user7'), said('4', None, 'user8'), said('5', 'Sascha', 5), said('6', 'Alex', 6))))
    assert [turn.speaker for turn in thread.turns] == ['Alex', 'Alex (2)', 'Deleted Account', 'Deleted Account (2)', 'Alex', 'Alex (2)']


def test_telegram_old_exports_have_only_a_local_date(tmp_path):
    old = said('hi', key=4291)
    del old['date_unixtime']
    (thread,), _ = read(write(tmp_path / 'result.json', chat(old)))
    assert thread.turns == [Turn('Mara', 'hi', NOON + 2 * 3_600_000)]


def test_telegram_drops_with_reasons(tmp_path):
    (thread,), tally = read(write(tmp_path / 'result.json', chat(
        said('kept', photo='photo.jpg'), said('', photo='photo.jpg'), said('', media_type='sticker', sticker_emoji='x'), said(''),
        {'id': 2, 'type': 'service', 'action': 'phone_call', 'text': ''}, {'id': 3, 'type': 'unsupported'},
        said('news', forwarded_from='News'), said('a cat', via_bot='@gif'))))
    assert [turn.text for turn in thread.turns] == ['kept']
    assert tally.dropped == {MEDIA: 2, EMPTY: 1, SYSTEM: 1, telegram.UNSUPPORTED: 1, FORWARDED: 1, BOT: 1}
    assert tally.records == 8


def test_telegram_a_chat_with_a_bot_is_no_chat(tmp_path):
    threads, tally = read(write(tmp_path / 'result.json', chat(said('/start'), said('Welcome!', 'Bot', 'user9'), type='bot_chat')))
    assert threads == [] and tally.dropped == {BOT: 2}


@pytest.mark.parametrize('message', [
    7, None, [], 'hi', said(5), said([5]), said([{'type': 'bold'}]), said([['a']]), said('hi', sender=['Mara']), said('hi', key={}), said('hi', key=1.5),
    said('hi', sender=None, key=None), {**said('hi'), 'date_unixtime': 'soon', 'date': 'today'}, {**said('hi'), 'date_unixtime': None, 'date': 5},
    {**said('hi'), 'type': ['message']}, {**said('hi'), 'date_unixtime': '9' * 30, 'date': None}])
def test_telegram_records_of_the_wrong_shape(tmp_path, message):
    (thread,), tally = read(write(tmp_path / 'result.json', chat(message, said('kept'))))
    assert len(thread.turns) == 1 and tally.dropped == {UNREADABLE: 1}


def test_telegram_repairs_what_is_no_json(tmp_path):
    broken = r'''{"name": "Theo", "type": "personal_chat", "id": 6, "messages": [
  {"type": "message", "date_unixtime": "1596974400", "from": "Mara", "from_id": "user5", "text": "a\x0Cb \\x0C C:\\x0D\\"},
  {"type": "message", "date_unixtime": "1596974400", "from": "Mara", "from_id": "user5", "text": [{
    "type": "custom_emoji",
    "text": "🌊",
    "document_id": video_files/sticker (2).webm
   }, {
    "document_id": (File not included. "Change" settings),
    "text": "!"
   }, {
    "document_id": 5404870433939922908
    , "text": "?"
   }]}]}'''
    (thread,), tally = read(write(tmp_path / 'result.json', broken))
    assert [turn.text for turn in thread.turns] == ['a\fb \\x0C C:\\x0D\\', '🌊!?'] and not tally.broken


def test_telegram_reads_across_blocks(tmp_path, monkeypatch):
    """A block of 7 characters ends within names, escapes, numbers and emoji; what is read is the same."""
    path = write(tmp_path / 'result.json', r'{"id": 123456789, "messages": [' + ',\n '.join(
        r'{"type": "message", "date_unixtime": "1596974400", "from": "Mara", "from_id": 4291, "text": "%d \x0C \\ \u00e9 🌊",'
        '\n"document_id": a b.webm\n}' % i for i in range(20)) + '] }')
    whole, _ = read(path)
    monkeypatch.setattr(telegram, 'BLOCK', 7)
    pieces, _ = read(path)
    assert pieces == whole and whole[0].turns[19].text == '19 \f \\ é 🌊'


def test_telegram_keeps_what_came_before_the_damage(tmp_path):
    text = json.dumps(chat(said('1'), said('2'), said('3')))
    (thread,), tally = read(write(tmp_path / 'result.json', text[:-60]))
    assert [turn.text for turn in thread.turns] == ['1', '2'] and len(tally.broken) == 1
    for cut in range(text.index('"messages"') + 12, len(text)):
        _, tally = read(write(tmp_path / 'result.json', text[:cut]), format='telegram')
        assert tally.broken, cut
    for place in range(text.index('[') + 1, len(text)):
        if '"' not in text[place - 1:place + 1]:        # a mark too many, outside of a string or at least not at its edge
            threads, tally = read(write(tmp_path / 'result.json', text[:place] + ']}' + text[place:]), format='telegram')
            assert tally.broken or tally.records == 3, place


def test_telegram_half_an_emoji_can_be_written(tmp_path):
    (thread,), _ = read(write(tmp_path / 'result.json', json.dumps(chat(said('\ud83d', sender='\udf0a', key='user5'), name='\ud83d'))))
    assert (thread.turns[0].text, thread.turns[0].speaker, thread.title) == ('\ufffd',) * 3


def test_telegram_memory_does_not_grow_with_the_file(tmp_path):
    noise = ' ' * 1000
    path = write(tmp_path / 'result.json', chat(*(said('', file='x', note=noise) for _ in range(20_000))))       # 22 MB without a turn
    tracemalloc.start()
    try:
        _, tally = read(path)
        assert tally.dropped == {MEDIA: 20_000} and tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


def html(*messages):
    return '<div class="page_header">\n<div class="content">\n<div class="text bold">\nA &amp; B\n</div></div></div>' + ''.join(messages)


def div(words, sender=None, minute=0, zone=' UTC+02:00', before=''):
    return (f'<div class="message default clearfix{"" if sender else " joined"}" id="message1">\n<div class="body">\n'
            f'<div class="pull_right date details" title="09.08.2020 14:{minute:02}:00{zone}">\n14:00\n</div>\n'
            + (f'<div class="from_name">\n{sender}\n       </div>\n' if sender else '') + before
            + (f'<div class="text">\n{words}\n       </div>\n' if words else '') + '</div></div>')


def test_telegram_html(tmp_path):
    service = '<div class="message service" id="message-1"><div class="body details">\n9 August 2020\n</div></div>'
    media = '<div class="media_wrap clearfix"><div class="media clearfix pull_left media_photo"></div></div>'
    forwarded = '<div class="forwarded body"><div class="from_name">\nNews\n</div>'
    write(tmp_path / 'messages.html', html(
        service, div('1 &lt; 2<br>I <strong>said</strong> <a href="x">x</a>', 'Mara &amp; Co'), div('joined', minute=1), div('', before=media), div(''),
        div('rain', 'Theo', before=forwarded), div('own', minute=2), div('cat', 'Theo via @gif')))
    write(tmp_path / 'messages2.html', html(div('second', 'Theo', 3, zone='')))
    write(tmp_path / 'messages10.html', html(div('third', minute=4, zone=' UTC-01:30'), '<div class="message default', div('x', 'Ada').replace('title', '')))
    (thread,), tally = read(tmp_path)
    assert thread.title == 'A & B'
    assert thread.turns == [Turn('Mara & Co', '1 < 2\nI said x', NOON), Turn('Mara & Co', 'joined', NOON + 60_000), Turn('Theo', 'own', NOON + 120_000),
                            Turn('Theo', 'second', NOON + 7_380_000), Turn('Theo', 'third', NOON + 12_840_000)]
    assert tally.dropped == {SYSTEM: 1, MEDIA: 1, EMPTY: 1, FORWARDED: 1, BOT: 1, UNREADABLE: 2} and tally.records == 12


@pytest.mark.parametrize('folder', ['', 'chats/chat_001'])
def test_telegram_json_wins_over_html(tmp_path, folder):
    write(tmp_path / 'result.json', chat(said('from json')))
    write(tmp_path / folder / 'messages.html', html(div('from html', 'Mara')))
    (thread,), tally = read(tmp_path)
    assert thread.turns[0].text == 'from json' and tally.records == 1


# ---- DiscordChatExporter

def posted(content, name='mara', key='5', at=0, **more):
    return {'id': str(900 + at), 'type': 'Default', 'timestamp': f'2020-08-09T12:00:{at:02}+00:00', 'content': content,
            'author': {'id': key, 'name': name, 'nickname': name.title(), 'isBot': False}, 'attachments': [], 'embeds': [], **more}


def channel(*messages, kind='GuildTextChat'):
    return {'guild': {'id': '10', 'name': 'Book club'}, 'channel': {'id': '20', 'type': kind, 'category': 'Talk', 'name': 'general'},
            'dateRange': {'after': None, 'before': None}, 'messages': list(messages), 'messageCount': len(messages)}


def test_discord_json(tmp_path):
    (thread,), tally = read(write(tmp_path / 'Book club - general [20].json', channel(
        posted('hi @Theo :blobcat:'), posted('yes', 'theo', '6', at=1, type='Reply'), posted('Joined the server.', 'ada', '7', type='GuildMemberJoin'),
        posted('', attachments=[{'id': '1'}]), posted('', stickers=[{'id': '1'}]), posted(''), posted('', forwardedMessage={'content': 'rain'}),
        posted('beep', 'bot', '8', type='20', author={'id': '8', 'name': 'bot', 'isBot': True}))))
    assert thread.turns == [Turn('Mara', 'hi @Theo :blobcat:', NOON), Turn('Theo', 'yes', NOON + 1000)]
    assert (thread.title, thread.group, thread.format) == ('Book club / general', None, 'discord')
    assert tally.dropped == {SYSTEM: 1, MEDIA: 2, EMPTY: 1, FORWARDED: 1, BOT: 1} and tally.records == 8


@pytest.mark.parametrize('kind, title, group', [('DirectTextChat', 'general', False), ('DirectGroupTextChat', 'general', True),
                                                ('GuildPublicThread', 'Book club / general', None), (5, 'Book club / general', None)])
def test_discord_kinds_of_channels(tmp_path, kind, title, group):
    (thread,), _ = read(write(tmp_path / 'a.json', channel(posted('hi'), kind=kind)))
    assert (thread.title, thread.group) == (title, group)


def test_discord_people_are_their_ids(tmp_path):
    (thread,), _ = read(write(tmp_path / 'a.json', channel(
        posted('1'), posted('2', key='6'), posted('3', 'renamed'), posted('4', author={'id': '7', 'name': 'old version'}))))
    assert [turn.speaker for turn in thread.turns] == ['Mara', 'Mara (2)', 'Mara', 'old version']


def test_discord_parts_are_joined_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        part = f' [part {number}]' if number > 1 else ''
        write(tmp_path / f'Club - general [20]{part}.json', channel(posted(str(number), at=number)))
    write(tmp_path / 'Club - talk [21].json', channel(posted('other channel')))
    threads, _ = read(tmp_path)
    assert sorted([turn.text for turn in thread.turns] for thread in threads) == [['1', '2', '10'], ['other channel']]


def test_discord_a_broken_part_does_not_take_the_others_along(tmp_path):
    write(tmp_path / 'general [part 2].json', json.dumps(channel(posted('2a', at=2), posted('2b', at=3)))[:-120])
    write(tmp_path / 'general.json', channel(posted('1')))
    write(tmp_path / 'general [part 3].json', channel(posted('3', at=4)))
    (thread,), tally = read(tmp_path)
    assert [turn.text for turn in thread.turns] == ['1', '2a', '3']
    assert [os.path.basename(path) for path, _ in tally.broken] == ['general [part 2].json']


def test_discord_newest_first_is_turned_round(tmp_path):
    (thread,), _ = read(write(tmp_path / 'a.json', channel(posted('3', at=2), posted('2', at=1), posted('1'))))
    assert [turn.text for turn in thread.turns] == ['1', '2', '3']


@pytest.mark.parametrize('message', [
    7, None, [], {**posted('x'), 'content': None}, {**posted('x'), 'author': 'Mara'}, {**posted('x'), 'timestamp': 1596974400},
    {**posted('x'), 'timestamp': '2020-13-09T12:00:00+00:00'}, {**posted('x'), 'type': 0}, {**posted('x'), 'author': {'id': '5', 'name': ['x']}},
    {**posted('x'), 'author': {'id': ['5'], 'name': 'x'}}])
def test_discord_records_of_the_wrong_shape(tmp_path, message):
    (thread,), tally = read(write(tmp_path / 'a.json', channel(message, posted('kept'))))
    assert len(thread.turns) == 1 and tally.dropped == {UNREADABLE: 1}


@pytest.mark.parametrize('date, time', [
    ('09-Aug-20 12:00 PM', NOON), ('09-Aug-20 12:00 AM', NOON - 43_200_000), ('08/09/2020 12:00 PM', NOON), ('8/9/2020 1:00 PM', NOON + 3_600_000),
    ('09-Aug-2020 12:00', NOON), ('2020-08-09T12:00:00.123+00:00', NOON + 123), ('2020-08-09T12:00:00.1230000+02:00', NOON - 7_199_877),
    ('13/13/2020 12:00 PM', None), ('last week', None)])
def test_discord_csv_dates(tmp_path, date, time):
    (thread,), tally = read(write(tmp_path / 'a.csv', f'AuthorID,Author,Date,Content,Attachments,Reactions\r\n"5","mara#0420","{date}","hi","",""\r\n'))
    assert thread.turns == [Turn('mara#0420', 'hi', time)]
    assert any('Date column' in note for note in tally.notes) == (time is None)


def test_discord_csv(tmp_path):
    rows = ['"5","mara#0420","09-Aug-20 12:00 PM","two ""lines""\r\nhere","",""', '"6","theo#0001","09-Aug-20 12:00 PM","","https://example.org/a.png",""',
            '"6","theo#0001","09-Aug-20 12:00 PM","","",""', '"6","theo#0001","09-Aug-20 12:00 PM","Pinned a message.","",""',
            '"6","theo#0001","09-Aug-20 12:00 PM","I Pinned a message.","",""', '"6","theo#0001"', '']
    (thread,), tally = read(write(tmp_path / 'Club - general [20].csv', '\ufeffAuthorID,Author,Date,Content,Attachments,Reactions\r\n' + '\r\n'.join(rows)))
    assert [turn.text for turn in thread.turns] == ['two "lines"\nhere', 'I Pinned a message.'] and thread.title == 'Club - general [20]'
    assert tally.dropped == {MEDIA: 1, EMPTY: 1, SYSTEM: 1, UNREADABLE: 1} and tally.records == 6
    assert any('bots' in note for note in tally.notes)


def test_discord_csv_with_a_field_beyond_all_bounds_is_damaged(tmp_path):
    _, tally = read(write(tmp_path / 'a.csv', 'AuthorID,Author,Date,Content,Attachments\n5,mara,2020-08-09T12:00:00Z,hi,\n"' + 'x' * 200_000))
    assert tally.read == 1 and len(tally.broken) == 1


# ---- Discord's package

def package(root, *, account='account', messages='messages'):
    write(root / account / 'user.json', {'id': '5', 'username': 'mara.l', 'global_name': 'Mara Lind'})
    write(root / messages / 'index.json', {'20': 'general in Book club', '31': 'Direct Message with theo#0', '42': None})
    write(root / messages / 'c20' / 'channel.json', {'id': '20', 'type': 0, 'name': 'general', 'guild': {'id': '10', 'name': 'Book club'}})
    write(root / messages / 'c20' / 'messages.csv', 'ID,Timestamp,Contents,Attachments\r\n'
          '904,2020-08-09 12:00:01.456000+00:00,"agreed, ""really"",\r\nyes",\r\n901,2020-08-09 12:00:00+00:00,done? <:cat:77>,\r\n'
          '899,2020-08-09 12:00:00+00:00,,https://example.org/a.png\r\n898,2020-08-09 12:00:00+00:00,,\r\nx,y,z\r\n')
    write(root / messages / 'c31' / 'channel.json', {'id': '31', 'type': 'DM', 'recipients': ['5', '6']})
    write(root / messages / 'c31' / 'messages.json', [{'ID': 911, 'Timestamp': '2020-08-09 12:00:00', 'Contents': 'second', 'Attachments': ''},
                                                      {'ID': 910, 'Timestamp': '2020-08-09 12:00:00', 'Contents': '<@6> first', 'Attachments': ''}])
    write(root / messages / 'c42' / 'channel.json', '{"id": "42", ')
    write(root / messages / 'c42' / 'messages.json', [{'ID': 1, 'Timestamp': 5, 'Contents': 'x'}, 3,
                                                      {'ID': [], 'Timestamp': '2020-08-09 12:00:00', 'Contents': 'x'},
                                                      {'ID': 2, 'Timestamp': '2020-08-09 12:00:00', 'Contents': 'kept', 'Attachments': ''}])


@pytest.mark.parametrize('names', [{}, {'account': 'Account', 'messages': 'Messages'}])
def test_discord_package(tmp_path, names):
    package(tmp_path / 'package', **names)
    threads, tally = read(tmp_path)
    assert [(thread.title, thread.group, thread.format) for thread in threads] == [
        ('general in Book club', None, 'discord_package'), ('Direct Message with theo#0', False, 'discord_package'), ('', None, 'discord_package')]
    assert threads[0].turns == [Turn('Mara Lind', 'done? <:cat:77>', NOON), Turn('Mara Lind', 'agreed, "really",\nyes', NOON + 1456)]
    assert [turn.text for turn in threads[1].turns] == ['<@6> first', 'second']                # one second: the ids say the order
    assert tally.dropped == {MEDIA: 1, EMPTY: 1, UNREADABLE: 4} and tally.records == 11
    assert [os.path.basename(path) for path, _ in tally.broken] == ['channel.json']
    assert any('only what its owner wrote' in note for note in tally.notes)


def test_discord_package_without_an_account_is_mine(tmp_path):
    write(tmp_path / 'messages.csv', 'ID,Timestamp,Contents,Attachments\n900,2020-08-09 12:00:00.000000+00:00,hi,\n')
    (thread,), _ = read(tmp_path / 'messages.csv')
    assert thread.turns == [Turn('Me', 'hi', NOON)]


def test_discord_package_a_broken_channel_does_not_take_the_others_along(tmp_path):
    package(tmp_path)
    write(tmp_path / 'messages' / 'c31' / 'messages.json', '[{"ID": 911, "Timestamp": "2020-08-09 12:00:00", "Contents": "kept", "Attachments": ""}, {"ID"')
    threads, tally = read(tmp_path)
    assert [turn.text for turn in threads[1].turns] == ['kept'] and len(threads) == 3 and len(tally.broken) == 2


# ---- Slack

def user(key, name, real, shown='', bot=False):
    return {'id': key, 'name': name, 'real_name': real, 'profile': {'display_name': shown, 'real_name': real}, 'is_bot': bot}


USERS = [user('U1', 'mlind', 'Mara Lind', 'Mara'), user('U2', 'theo', 'Theo Brook'), user('U3', 'ada', ''), user('U4', 'ci', 'Builder', bot=True)]


def wrote(text, key='U1', at=0, **more):
    return {'type': 'message', 'user': key, 'text': text, 'ts': f'{NOON // 1000 + at}.000200', **more}


def test_slack_sample():
    threads, tally = read(sample('slack', 'testarchive.zip'))
    assert tally.records == 158 and tally.dropped == {BOT: 94, SYSTEM: 11, MEDIA: 3} and not tally.broken
    assert {thread.title: len(thread.turns) for thread in threads} == {'enrique': 30, 'traveling-sailor': 20}
    comment = next(turn for thread in threads for turn in thread.turns if "'Holmesville'" in turn.text)
    assert comment.speaker == 'doubledeez' and comment.text.startswith("```'cities'")


def test_slack_workspace(tmp_path):
    write(tmp_path / 'users.json', USERS)
    write(tmp_path / 'channels.json', [{'id': 'C1', 'name': 'general', 'members': ['U1', 'U2', 'U3']}])
    write(tmp_path / 'dms.json', [{'id': 'D1', 'members': ['U1', 'U2']}])
    write(tmp_path / 'mpims.json', [{'id': 'G1', 'name': 'mpdm-mlind--theo--ada-1', 'members': ['U1', 'U2', 'U3']}])
    write(tmp_path / 'general' / '2020-08-10.json', [wrote('later', 'U3', at=86_400)])
    write(tmp_path / 'general' / '2020-08-09.json', [wrote('one'), wrote('in a thread', 'U2', at=120, thread_ts='1.0'), wrote('two', at=60)])
    write(tmp_path / 'D1' / '2020-08-09.json', [wrote('lunch?'), wrote('gladly', 'U2', at=1)])
    write(tmp_path / 'mpdm-mlind--theo--ada-1' / '2020-08-09.json', [wrote('all of you')])
    threads, tally = read(tmp_path)
    assert {thread.title: (thread.group, [(turn.speaker, turn.text) for turn in thread.turns]) for thread in threads} == {
        'general': (None, [('Mara', 'one'), ('Mara', 'two'), ('Theo Brook', 'in a thread'), ('ada', 'later')]),
        'Mara, Theo Brook': (False, [('Mara', 'lunch?'), ('Theo Brook', 'gladly')]),
        'Mara, Theo Brook, ada': (True, [('Mara', 'all of you')])}
    assert threads[0].turns[0].time == NOON and tally.records == 7


@pytest.mark.parametrize('stored, shown', [
    ('<@U2> hi', '@Theo Brook hi'), ('<@U2|theo>', '@Theo Brook'), ('<@U9|old>', '@old'), ('<@U9>', '@U9'), ('<#C1|general>', '#general'),
    ('<#C1>', '#general'), ('<https://example.org|this page>', 'this page'), ('<https://example.org/?a=1&amp;b>', 'https://example.org/?a=1&b'),
    ('<mailto:a@example.org|a@example.org>', 'a@example.org'), ('<!here> <!channel|channel> <!everyone|@everyone>', '@here @channel @everyone'),
    ('<!subteam^S1|@devs>', '@devs'), ('<!date^1596974400^{date}|9 August>', '9 August'), ('1 &lt; 2 &amp;&amp; 3 &gt; 2', '1 < 2 && 3 > 2'),
    ('&amp;lt;b&amp;gt;', '&lt;b&gt;'), ('a\nb :wave: *c*', 'a\nb :wave: *c*')])
def test_slack_marks(tmp_path, stored, shown):
    write(tmp_path / 'users.json', USERS)
    write(tmp_path / 'channels.json', [{'id': 'C1', 'name': 'general', 'members': []}])
    write(tmp_path / 'general' / '2020-08-09.json', [wrote(stored)])
    (thread,), _ = read(tmp_path)
    assert thread.turns[0].text == shown


def test_slack_drops_with_reasons(tmp_path):
    write(tmp_path / 'users.json', USERS)
    upload = '<@U1> uploaded a file: <https://example.org/plan|plan>'
    write(tmp_path / 'general' / '2020-08-09.json', [
        wrote('kept'), wrote('shrugs', subtype='me_message'), wrote('also here', subtype='thread_broadcast'),
        wrote(upload, subtype='file_share', file={'id': 'F1'}), wrote(f'{upload} and commented: here', subtype='file_share'),
        wrote('', files=[{'id': 'F1'}]), wrote('', attachments=[{'id': 1}]), wrote(''),
        *(wrote('x', subtype=kind) for kind in ('channel_join', 'channel_leave', 'channel_topic', 'channel_purpose', 'bot_add', 'pinned_item')),
        wrote('x', subtype='bot_message', bot_id='B1'), wrote('x', bot_id='B1'), wrote('x', 'U4'), wrote('x', 'USLACKBOT'),
        wrote('This message was deleted.', subtype='tombstone'),
        {'type': 'message', 'subtype': 'file_comment', 'text': '<@U2> commented on ...', 'ts': '1596974400.000300',
         'comment': {'user': 'U2', 'comment': 'nice plan'}},
        7, None, wrote(None), wrote('x', ['U1']), wrote('x', ''), {**wrote('x'), 'ts': 1596974400}, {**wrote('x'), 'ts': 'noon'}, {**wrote('x'), 'type': 5}])
    (thread,), tally = read(tmp_path)
    assert [(turn.speaker, turn.text) for turn in thread.turns] == [
        ('Mara', 'kept'), ('Mara', 'shrugs'), ('Mara', 'also here'), ('Mara', 'here'), ('Theo Brook', 'nice plan')]
    assert tally.dropped == {MEDIA: 3, EMPTY: 1, SYSTEM: 6, BOT: 4, DELETED: 1, UNREADABLE: 8} and tally.records == 28


def test_slack_without_users_names_come_from_the_messages(tmp_path):
    write(tmp_path / 'general' / '2020-08-09.json', [
        wrote('a', user_profile={'display_name': '', 'real_name': 'Mara Lind', 'name': 'mlind'}), wrote('b'), wrote('c', 'U7')])
    (thread,), _ = read(tmp_path / 'general' / '2020-08-09.json')
    assert [turn.speaker for turn in thread.turns] == ['Mara Lind', 'Mara Lind', 'U7'] and thread.title == 'general'


def test_slack_a_guest_is_named_in_what_comes_before_and_who_is_mentioned_is_known(tmp_path):
    write(tmp_path / 'users.json', USERS)
    write(tmp_path / 'dms.json', [{'id': 'D1', 'members': ['U1', 'U3']}])
    write(tmp_path / 'general' / '2020-08-09.json', [
        wrote('<@U9XT> &lt;@U9XT&gt; and <@U2>, <@U8|old>, <@U7>, <@U4>'),
        wrote('hi', 'U9XT', at=1, user_profile={'display_name': 'Gust', 'real_name': 'Gustav Ek'})])
    write(tmp_path / 'D1' / '2020-08-09.json', [wrote('lunch?')])
    general, private = sorted(read(tmp_path)[0], key=lambda thread: thread.title != 'general')
    assert general.turns[0].text == '@Gust <@U9XT> and @Theo Brook, @old, @U7, @Builder' and general.turns[1].speaker == 'Gust'
    assert general.mentioned == {'Gust', 'Theo Brook', 'old'} and private.mentioned == {'Mara', 'ada'}


def test_slack_two_people_of_one_name(tmp_path):
    write(tmp_path / 'users.json', [user('U1', 'a', 'Alex'), user('U2', 'b', 'Alex'), 5, {'id': 7}, {'id': 'U3', 'profile': []}])
    write(tmp_path / 'general' / '2020-08-09.json', [wrote('1'), wrote('2', 'U2'), wrote('3', 'U3')])
    (thread,), _ = read(tmp_path)
    assert [turn.speaker for turn in thread.turns] == ['Alex', 'Alex (2)', 'U3']


def test_slack_files_named_one_by_one_belong_together(tmp_path):
    write(tmp_path / 'users.json', USERS)
    write(tmp_path / 'general' / '2020-08-09.json', [wrote('one')])
    (thread,), tally = read(tmp_path / 'general' / '2020-08-09.json', tmp_path / 'users.json')
    assert thread.turns == [Turn('Mara', 'one', NOON)] and tally.records == 1


def test_slack_a_broken_day_does_not_take_the_others_along(tmp_path):
    write(tmp_path / 'users.json', json.dumps(USERS)[:-400])
    write(tmp_path / 'general' / '2020-08-09.json', json.dumps([wrote('one'), wrote('two')])[:-30])
    write(tmp_path / 'general' / '2020-08-10.json', [wrote('three', at=86_400)])
    (thread,), tally = read(tmp_path)
    assert [turn.text for turn in thread.turns] == ['one', 'three']
    assert [os.path.basename(path) for path, _ in tally.broken] == ['users.json', '2020-08-09.json']


# ---- all four

@pytest.mark.parametrize('name, content', [
    ('a.json', '{"messages": [{"role": "user", "content": "hi"}]}'), ('a.json', '{"conversations": [{"from": "human", "value": "hi"}]}'),
    ('message_1.json', '{"participants": [{"name": "Mara"}], "messages": [{"sender_name": "Mara", "timestamp_ms": 1, "content": "x", "type": "Generic"}]}'),
    ('users.json', '[{"id": 5, "name": "Mara"}]'), ('a.csv', 'title,body,score\nx,y,1\n'), ('messages.csv', 'id,text\n1,x\n'), ('a.json', ''),
    ('a.json', '\0\0\0\0'), ('2020-08-09.json', '[{"text": "diary"}]'), ('messages.html', '<html><div class="message">hi</div></html>'), ('a.json', '[[[[')])
def test_other_files_are_not_claimed(tmp_path, name, content):
    assert not {'telegram', 'discord', 'discord_package', 'slack'} & set(formats_of(write(tmp_path / name, content)))

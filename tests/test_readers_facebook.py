"""Messenger and Instagram exports: JSON, the encrypted export, pages, messages.htm. What every sentence of CHAT_FORMATS.md says."""
import io
import json
import os
import zipfile

import pytest
from conftest import ROOT

from src import readers
from src.dialogue import Turn
from src.readers import instagram, messenger, messenger_html, messenger_lines
from src.source import Export

SAMPLES = os.path.join(ROOT, '..', 'shared', 'samples')
EXPORTS = os.path.join(ROOT, 'tests', 'exports')


def read(*paths):
    """Paths of exports -> (threads, Tally of all, {format})."""
    plan = readers.plan([Export(str(path)) for path in paths])
    threads, tally = [], readers.Tally()
    for module, sources in plan.groups:
        threads += readers.read_group(module, sources, tally)
    return threads, tally, {module.NAME for module, _ in plan.groups}


def said(threads):
    return [[turn.text for turn in thread.turns] for thread in threads]


def message(text=None, sender='Theo Berg', time=1000, **fields):
    return {'sender_name': sender, 'timestamp_ms': time} | ({} if text is None else {'content': text}) | fields


def thread(*messages, people=('Theo Berg', 'Mara Lind'), **fields):
    return {'participants': [{'name': name} for name in people], 'messages': list(messages), 'title': people[0]} | fields


def encrypted(*messages, people=('Theo Berg', 'Mara Lind'), name='Theo Berg_15'):
    return {'participants': list(people), 'threadName': name, 'messages': [
        {'senderName': sender, 'text': text, 'timestamp': time, 'type': 'text', 'isUnsent': False, 'media': [], 'reactions': []} | fields
        for sender, text, time, fields in messages]}


def put(folder, inner, data):
    path = folder / inner
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding='utf-8')
    return path


def one(tmp_path, *messages, **fields):
    """Records -> (turns, Tally) of a thread of them."""
    put(tmp_path, 'messages/inbox/theo_1/message_1.json', thread(*messages, **fields))
    threads, tally, _ = read(tmp_path)
    assert tally.records == len(messages) and not tally.broken
    return (threads[0].turns if threads else []), tally


def mojibake(text):
    return text.encode().decode('latin-1')


# ---- which files are threads

@pytest.mark.parametrize('inner', [
    'messages/theo_1/message.json', 'messages/inbox/theo_1/message.json', 'messages/inbox/theo_1/message_1.json',
    'your_activity_across_facebook/messages/archived_threads/theo_1/message_12.json', 'inbox/theo_1/message_1.json', 'message_1.json',
    'your_facebook_activity/messages/filtered_threads/theo_1/message_1.json', 'messages/message_requests/theo_1/message_1.json',
    'messages/e2ee_cutover/theo_1/message_1.json', 'groups/your_group_messages/123.json', 'anything.json'])
def test_every_root_and_section(tmp_path, inner):
    put(tmp_path, inner, thread(message('hello')))
    threads, tally, names = read(tmp_path)
    assert names == {'messenger'} and said(threads) == [['hello']] and threads[0].title == 'Theo Berg'


def test_settings_are_no_threads(tmp_path):
    put(tmp_path, 'messages/autofill_information.json', {'autofill_information_v2': {'FULL_NAME': ['Mara Lind']}})
    put(tmp_path, 'messages/secret_conversations.json', {'secret_conversations_v2': {'armadillo_devices': []}})
    export = Export(str(tmp_path))
    assert len(export.sources) == 2
    for source in export.sources.values():
        score, why = messenger.sniff(source)
        assert score < 0.5 and 'without messages' in why and instagram.sniff(source)[0] < 0.5
    assert not readers.plan([export]).groups


@pytest.mark.parametrize('data', [b'', b'\0\xff' * 99, b'{', b'[]', b'<', b'{"messages": [{"role": "user", "content": "hi"}]}', 
    b'<html><body><p>hi</p></body></html>',                               b'{"name": "Theo", "type": "personal_chat", "id": 1, "messages": []}'])
@pytest.mark.parametrize('name', ['a.json', 'a.html', 'messages.html', 'a.txt', 'a'])
def test_other_files_are_left_alone(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    source = Export(str(tmp_path / name)).sources[name]
    assert messenger.sniff(source)[0] < 0.5 and instagram.sniff(source)[0] < 0.5


@pytest.mark.parametrize('inner, data, name', [
    ('your_instagram_activity/messages/inbox/theo_1/message_1.json', thread(message('hi')), 'instagram'),
    ('instagram-mara-2024/messages/inbox/theo_1/message_1.json', thread(message('hi')), 'instagram'),
    ('your_facebook_activity/messages/inbox/instagramfan_1/message_1.json', thread(message('hi')), 'messenger'),
    ('messages/inbox/instagramfan_1/message_1.json', thread(message('hi')), 'messenger'),
    ('message_1.json', {'messages': [message('hi')]}, 'instagram'),
    ('message_1.json', thread(message('hi'), message(share={'link': 'https://www.instagram.com/p/x/'})), 'instagram'),
    ('message_1.json', thread(message('hi')), 'messenger'),
    ('your_instagram_activity/messages/inbox/theo_1/message_1.html', '<div><h2>Theo</h2><div>hi</div><div>Jun 11, 2026 1:38 pm</div></div>', 'instagram')])
def test_instagram_or_messenger(tmp_path, inner, data, name):
    put(tmp_path / 'export', inner, data)
    threads, _, names = read(tmp_path / 'export')
    assert names == {name} and said(threads) == [['hi']]
    assert {thread.format for thread in threads} == {name}


def test_instagram_lines_are_dropped(tmp_path):
    put(tmp_path, 'your_instagram_activity/messages/inbox/theo_1/message_1.json', thread(
        message('Reacted \xf0\x9f\x98\x82 to your message ', time=4), message('Liked a message', time=3), message('Liked a message of yours?', time=2),
        message('I Reacted badly to your message', time=1)))
    threads, tally, _ = read(tmp_path)
    assert said(threads) == [['I Reacted badly to your message', 'Liked a message of yours?']]
    assert tally.dropped == {readers.SYSTEM: 2}


# ---- parts, order, overlaps

def test_parts_are_sorted_as_numbers_and_ties_reversed(tmp_path):
    for number, texts in ((1, 'fe'), (2, 'dc'), (10, 'ba')):                    # newest first, all in one millisecond
        put(tmp_path, f'messages/inbox/theo_1/message_{number}.json', thread(*(message(text) for text in texts)))
    threads, tally, _ = read(tmp_path)
    assert said(threads) == [list('abcdef')] and tally.dropped == {}


def test_parts_in_several_zips_and_folders_are_one_thread(tmp_path):
    for number, inner in enumerate(('messages/inbox/theo_1/message_1.json', 'messages/inbox/theo_1/message_2.json',
                                    'your_facebook_activity/messages/archived_threads/theo_1/message_3.json')):
        with zipfile.ZipFile(tmp_path / f'facebook-{number}.zip', 'w') as archive:
            archive.writestr(inner, json.dumps(thread(message(str(number), time=9 - number))))
    assert said(read(*tmp_path.glob('*.zip'))[0]) == [['2', '1', '0']]


def test_overlaps_and_the_same_export_twice_are_duplicates(tmp_path):
    old, new = thread(message('b', time=2), message('a', time=1)), thread(message('c', time=3), message('b', time=2, sender='Theo Holm'))
    put(tmp_path / '2019', 'messages/inbox/theo_1/message.json', old)
    put(tmp_path / '2024', 'messages/e2ee_cutover/theo_1/message_1.json', new)
    threads, tally, _ = read(tmp_path / '2019', tmp_path / '2024')
    assert said(threads) == [['a', 'b', 'c']] and tally.dropped == {readers.DUPLICATE: 1}
    threads, tally, _ = read(tmp_path / '2019', tmp_path / '2019')
    assert said(threads) == [['a', 'b']] and tally.dropped == {readers.DUPLICATE: 2}


def test_group_messages_are_the_thread_of_their_number(tmp_path):
    put(tmp_path, 'messages/inbox/soup_123/message_1.json', thread(message('b', time=2), message('a', time=1)))
    put(tmp_path, 'groups/your_group_messages/123.json', thread(message('b', time=2)))
    put(tmp_path, 'groups/your_group_messages/23.json', thread(message('c', time=3)))
    threads, tally, _ = read(tmp_path)
    assert sorted(said(threads)) == [['a', 'b'], ['c']] and tally.dropped == {readers.DUPLICATE: 1}


def test_saying_it_twice_is_no_duplicate(tmp_path):
    turns, tally = one(tmp_path, message('ha', time=2), message('ha', time=1), message('ha', time=1))
    assert len(turns) == 3 and not tally.dropped


def test_a_broken_part_is_told_and_the_rest_is_kept(tmp_path):
    whole = json.dumps(thread(message('b', time=2), message('a', time=1)))
    put(tmp_path, 'messages/inbox/theo_1/message_1.json', whole[:whole.index('"a"')])
    put(tmp_path, 'messages/inbox/theo_1/message_2.json', thread(message('0', time=0)))
    put(tmp_path, 'messages/inbox/ola_2/message_1.json', '{this is not: valid json')
    put(tmp_path, 'messages/inbox/jon_3/message_1.json', {'messages': {'0': message('x')}})
    threads, tally, _ = read(tmp_path)
    assert said(threads) == [['0', 'b']]
    assert [os.path.basename(os.path.dirname(path)) for path, _ in tally.broken] == ['jon_3', 'ola_2', 'theo_1']


def test_byte_order_mark(tmp_path):
    path = put(tmp_path, 'message_1.json', '\ufeff' + json.dumps(thread(message('hello'))))
    assert said(read(path)[0]) == [['hello']]


# ---- records

def test_mojibake_is_repaired_run_by_run(tmp_path):
    turns, _ = one(tmp_path, message(mojibake('später 😀😀'), mojibake('Zoë'), time=3), message('caf\xc3\xa9 \xf0\x9f\x98', time=2), message('café «ô»', time=1),
                   people=(mojibake('Zoë'), 'Mara'))
    assert [turn.text for turn in turns] == ['café «ô»', 'café \xf0\x9f\x98', 'später 😀😀']
    assert turns[2].speaker == 'Zoë' and read(tmp_path)[0][0].title == 'Zoë'


@pytest.mark.parametrize('text', ['café', 'naïve ’Ã©’', '😀 Â£5', 'świetnie', 'Ã', ''])
def test_clean_text_is_not_repaired(text):
    assert messenger.repaired(text) == text


@pytest.mark.parametrize('fields, reason', [
    ({'is_unsent': True}, readers.DELETED), ({'is_unsent': True, 'text': 'oops'}, readers.DELETED), ({'is_taken_down': True}, readers.DELETED),
    ({'photos': [{'uri': 'x'}]}, readers.MEDIA), ({'sticker': {'uri': 'x'}}, readers.MEDIA), ({'audio_files': [{'uri': 'x'}]}, readers.MEDIA),
    ({'share': {'link': 'https://example.com', 'share_text': 'not mine'}}, readers.MEDIA), ({'gifs': [1], 'videos': [1], 'files': [1]}, readers.MEDIA),
    ({'text': 'Theo sent an attachment.', 'share': {'link': 'x'}}, readers.MEDIA), ({'text': 'You sent an attachment.'}, readers.SYSTEM),
    ({'text': 'whatever', 'type': 'Call'}, readers.SYSTEM), ({'text': 'Mara missed your call.', 'call_duration': 0}, readers.SYSTEM),
    ({'text': 'x', 'type': 'Subscribe', 'users': [{'name': 'x'}]}, readers.SYSTEM), ({'text': 'x', 'type': 'Unsubscribe'}, readers.SYSTEM),
    ({}, readers.EMPTY), ({'text': ' \n'}, readers.EMPTY), ({'text': ''}, readers.EMPTY), ({'text': None}, readers.EMPTY),
    ({'text': 7}, readers.UNREADABLE), ({'text': ['hi']}, readers.UNREADABLE), ({'sender': ['Theo']}, readers.UNREADABLE), ({'sender': 0}, readers.UNREADABLE),
    ({'text': 'hi', 'time': '1000'}, readers.UNREADABLE), ({'text': 'hi', 'time': None}, readers.UNREADABLE),
    ({'text': 'hi', 'time': True}, readers.UNREADABLE),
    ({'text': 'hi', 'time': -1}, readers.UNREADABLE), ({'text': 'hi', 'time': 10**18}, readers.UNREADABLE)])
def test_what_is_no_turn_is_dropped_with_a_reason(tmp_path, fields, reason):
    assert one(tmp_path, message(**fields)) == ([], readers.Tally(dropped={reason: 1}))


@pytest.mark.parametrize('text', ['mara 🌸 bir ek gönderdi.', 'mara 🌸 skickade en bilaga.', 'mara 🌸 отправил(а) вложение.', 'mara 🌸さんが添付ファイルを送信しました。', 'mara sendte et vedhæftet emne.'])
@pytest.mark.parametrize('fields', [{'share': {'link': 'https://example.com'}}, {'photos': [{'uri': 'x'}]}])
def test_a_sentence_about_the_sender_with_media_is_facebooks(tmp_path, text, fields):
    assert one(tmp_path, message(mojibake(text), mojibake('mara 🌸'), **fields)) == ([], readers.Tally(dropped={readers.MEDIA: 1}))
    assert one(tmp_path, message(mojibake(text), mojibake('mara 🌸')))[0][0].text == text


@pytest.mark.parametrize('text', ['look, mara 🌸 sent it.', 'mara 🌸 was there. and you?', 'mara 🌸 was there', 'maraca music.', 'You must see this.', 'mara 🌸', 'Theo likes it.',
                                  'mara 🌸 is the one who first read all of this story aloud to us, that evening by the sea.'])
def test_words_with_media_stay(tmp_path, text):
    assert [turn.text for turn in one(tmp_path, message(mojibake(text), mojibake('mara 🌸'), share={'link': 'x'}))[0]] == [text]


def test_records_of_any_shape_are_unreadable(tmp_path):
    turns, tally = one(tmp_path, 7, 'text', None, [message('hi')], {}, message('hi'))
    assert turns == [Turn('Theo Berg', 'hi', 1000)] and tally.dropped == {readers.UNREADABLE: 5}


def test_who_has_left_still_speaks(tmp_path):
    turns, _ = one(tmp_path, message('bye', 'Jon Aas'), people=('Theo Berg', 'Mara Lind'))
    assert turns == [Turn('Jon Aas', 'bye', 1000)]


def test_words_stay_as_they_are(tmp_path):
    turns, _ = one(tmp_path, message('  two\r\n\nlines ', photos=[{'uri': 'x'}], reactions=[{'reaction': 'x', 'actor': 'Theo'}], is_unsent=False))
    assert turns == [Turn('Theo Berg', '  two\n\nlines ', 1000)]


@pytest.mark.parametrize('name', ['Facebook user', 'Facebook User', 'Facebook-Nutzer', 'Utilisateur de Facebook', 'Usuario de Facebook', 'Utente di Facebook',
                                  'Facebook-gebruiker', 'Użytkownik Facebooka', 'Usuário do Facebook', 'Instagram User', '', None])
def test_deleted_users_are_told_apart_by_thread(tmp_path, name):
    for number in (1, 2):
        put(tmp_path, f'messages/inbox/user_{number}/message_1.json', thread(message('hi', name)))
    first, second = (thread.turns[0].speaker for thread in read(tmp_path)[0])
    assert first == f'{name or "Facebook user"} (632f5d60)' and second == f'{name or "Facebook user"} (fa260cda)'


def test_the_name_of_a_deleted_user_is_not_told_by_the_folder(tmp_path):
    put(tmp_path, 'messages/inbox/olanowak_10201234567/message_1.json', thread(message('hi', 'Facebook user')))
    put(tmp_path / 'later', 'messages/archived_threads/olanowak_10201234567/message_1.json', thread(message('hi', 'Facebook user')))
    first, second = (read(path)[0][0].turns[0].speaker for path in (tmp_path / 'messages', tmp_path / 'later'))
    assert first == second and 'nowak' not in first and '1020' not in first


def test_meta_ai_is_a_bot(tmp_path):
    turns, tally = one(tmp_path, message('@Meta AI a joke!', time=1), message('Why did the hen ...', 'Meta AI', time=2),
                       message('no', 'Meta AI Fan', time=3))
    assert [turn.text for turn in turns] == ['@Meta AI a joke!', 'no'] and tally.dropped == {readers.BOT: 1}


def test_many_people_make_a_group(tmp_path):
    put(tmp_path, 'messages/inbox/crew_1/message_1.json', thread(message('hi'), people=('Theo Berg', 'Mara Lind', 'Jon Aas')))
    put(tmp_path, 'messages/inbox/theo_2/message_1.json', thread(message('hi')))
    assert [thread.group for thread in read(tmp_path)[0]] == [True, None]


# ---- system lines

@pytest.mark.parametrize('text', [
    'Theo sent an attachment.', 'Theo Berg sent an attachment.', 'You sent an attachment.', 'Theo named the group Soup.', 'Theo changed the theme to Love.',
    'Theo set the nickname for Mara to Mo.', 'Theo set your nickname to T.', 'Theo added Jon to the group.', 'Mara left the group.', 'You called Mara.',
    'Mara called you.', 'Theo missed your video call.', 'You missed a call from Theo.', 'The video call ended.', 'Theo started a video chat',
    'Theo created a poll: Soup?.', 'You waved at Mara.', 'Theo waved at you.', 'You are now connected on Messenger.', 'Theo pinned a message.',
    'Theo hat einen Anhang gesendet.', 'Du hast die Gruppe „Suppe“ genannt.', 'Theo hat das Thema in Liebe geändert.',
    'Ihr seid jetzt auf Messenger verbunden.',
    'Theo a envoyé une pièce jointe.', 'Vous avez nommé le groupe Soupe.', 'Theo a changé le thème pour Amour.',
    'Theo envió un archivo adjunto.', 'Enviaste un archivo adjunto.', 'Theo cambió el tema a Amor.', 'Cambiaste el tema a Amor.',
    'Theo enviou um anexo.', 'Você enviou um anexo.', 'Theo mudou o tema para Amor.', 'Theo ha inviato un allegato.', 'Hai inviato un allegato.',
    'Theo ha cambiato il tema in Amore.', 'Theo heeft een bijlage verzonden.', 'Je hebt een bijlage verzonden.', 'Theo heeft het thema in Liefde gewijzigd.',
    'Mara voted for "Pizza" in the poll: Where?.', 'Ola changed vote to "Sushi" in the poll: Where?.', 'Theo changed his vote to “A” in the poll: Where?.',
    'Theo removed vote for "Pizza" in the poll: Where?.', 'Multiple people voted in the poll: Where?.', 'Theo started sharing video.',
    'Theo started sharing live location.', 'Theo responded Going to Dinner.', 'Theo named the plan Dinner.', 'Theo updated the plan time to Friday.',
    'Theo started a plan.', 'Started an audio call', 'Started a video chat', 'Theo missed an audio call', 'You missed a video chat',
    'Theo wysłał załącznik.', 'Ola wysłała załącznik.', 'Wysłałeś(aś) załącznik.', 'Theo zmienił motyw na Miłość.',
    'Theo ha enviado un archivo adjunto.', 'Has enviado una foto.', 'Mara turned off vanish mode.', 'You turned on vanish mode.'])
def test_system_lines(text):
    assert messenger_lines.is_system(text, messenger_lines.subjects(['Theo Berg', 'Mara Lind', 'Ola Nowak']))


@pytest.mark.parametrize('text', [
    'I think Theo sent an attachment.', 'Theo sent an attachment. Did you see it?', 'Theo sent an attachment', 'so he changed the theme to Love.',
    'You called it.',
    'Who named the group Soup?', 'The video call ended badly.', 'Jon left the group.', 'Mara called the doctor.', 'Theo left the\ngroup.', 'You', '.', '',
    'Theo voted for pizza in the poll: nice.', 'Mara voted for "Pizza" in the poll', 'Theo missed a call', 'Started a call', 'Theo responded to Dinner.',
    'many people voted in the poll: good.', 'Theo sent an attachment.\nyes', 'Du hast einen Anhang', 'reacted to your message', 'call',
    'Theo ' + 'a' * 500 + ' to the group.'])
def test_what_people_write_is_no_system_line(text):
    assert not messenger_lines.is_system(text, messenger_lines.subjects(['Theo Berg', 'Mara Lind']))


# ---- the encrypted export

def test_encrypted_export_goes_on_with_the_thread_of_the_same_people(tmp_path):
    put(tmp_path / 'a', 'messages/e2ee_cutover/theo_1/message_1.json', thread(message('b', time=2), message('a', time=1)))
    put(tmp_path / 'a', 'messages/inbox/jon_2/message_1.json', thread(message('x'), people=('Jon Aas', 'Mara Lind')))
    put(tmp_path / 'b', 'Theo Berg_15.json', encrypted(('Mara Lind', 'c', 3, {}), ('Theo Berg', 'd', 3, {}), people=('Mara Lind', 'Theo Berg')))
    put(tmp_path / 'b', 'Jon Aas_3.json', encrypted(('Jon Aas', 'y', 9, {}), people=('Jon Aas', 'Mara Lind'), name='Jon Aas_3'))
    threads, tally, _ = read(tmp_path / 'a', tmp_path / 'b')
    assert sorted(said(threads)) == [['a', 'b', 'c', 'd'], ['x'], ['y']] and not tally.dropped
    assert {thread.title for thread in threads} == {'Theo Berg', 'Jon Aas'}


def test_encrypted_groups_of_the_same_people_stay_apart(tmp_path):
    people = ('Theo Berg', 'Mara Lind', 'Jon Aas')
    put(tmp_path, 'messages/e2ee_cutover/crew_1/message_1.json', thread(message('a', time=1), people=people))
    put(tmp_path, 'Soup_1.json', encrypted(('Mara Lind', 'b', 2, {}), people=people, name='Soup_1'))
    put(tmp_path, 'Bread_2.json', encrypted(('Mara Lind', 'c', 3, {}), people=people, name='Bread_2'))
    assert sorted(said(read(tmp_path)[0])) == [['a'], ['b'], ['c']]


def test_encrypted_records(tmp_path):
    path = put(tmp_path, 'Theo Berg_15.json', encrypted(
        ('Theo Berg', mojibake('café'), 1, {}), ('Theo Berg', 'świetnie 👍🏽', 2, {}), ('Theo Berg', 'oops', 3, {'isUnsent': True}),
        ('Theo Berg', '', 4, {'type': 'media', 'media': [{'uri': './media/1.jpg'}]}), ('Theo Berg', 'You unsent a message', 5, {'type': 'placeholder'}),
        ('Theo Berg', '', 6, {})))
    threads, tally, _ = read(path)
    assert said(threads) == [['café', 'świetnie 👍🏽']] and threads[0].title == 'Theo Berg'
    assert tally.dropped == {readers.DELETED: 1, readers.MEDIA: 1, readers.SYSTEM: 1, readers.EMPTY: 1}


def test_deleted_people_join_no_threads(tmp_path):
    people = ('Facebook user', 'Mara Lind')
    put(tmp_path, 'messages/e2ee_cutover/facebookuser_1/message_1.json', thread(message('a', 'Facebook user', 1), people=people))
    put(tmp_path, 'Facebook user_15.json', encrypted(('Facebook user', 'b', 2, {}), people=people))
    threads, _, _ = read(tmp_path)
    assert sorted(said(threads)) == [['a'], ['b']] and len({thread.turns[0].speaker for thread in threads}) == 2


# ---- pages

OCT_19 = 1571495820000                                  # 2019-10-19 14:37


@pytest.mark.parametrize('text, time', [(text, OCT_19) for text in (
    'Oct 19, 2019, 2:37 PM', 'Oct 19, 2019 at 2:37 PM', '19 Oct 2019, 14:37', 'October 19, 2019 2:37 pm', 'Oct 19, 2019 2:37:00\u202fPM', '2019-10-19 14:37',
    '19.10.2019, 14:37', '19. Okt. 2019, 14:37', '19. Oktober 2019 um 14:37', '19 oct. 2019 à 14:37', '19 de octubre de 2019, 14:37', 'oct 19, 2019 2:37 p. m.',
    '19 de out. de 2019, 14:37', '19 ott 2019, 14:37', 'za 19 okt. 2019 14:37', '19 paź 2019, 14:37', 'Saturday, October 19, 2019 at 2:37pm',
    'Saturday, October 19, 2019 at 4:37pm UTC+02', 'Samstag, 19. Oktober 2019 um 20:07 UTC+05:30', 'Saturday, October 19, 2019 at 7:37am PDT')]
    + [('12 févr. 2020, 00:05', 1581465900000), ('Feb 12, 2020, 12:05 AM', 1581465900000), ('12 feb. 2020 kl. 00:05', 1581465900000),
       ('fev. 12, 2020, 12:05:00 da manhã', 1581465900000), ('12 lut 2020, 00:05', 1581465900000),
       ('3 août 2020 00:00', 1596412800000),
       ('1. März 2020, 00:00', 1583020800000), ('1 juin 2020, 00:00', 1590969600000), ('1 juil. 2020, 00:00', 1593561600000),
       ('1 mei 2020 om 00:00', 1588291200000)])
def test_dates(text, time):
    assert messenger_html.to_time(text) == time


@pytest.mark.parametrize('text', ['', 'Oct 19', '31 Feb 2019, 10:00', 'Foo 19, 2019, 2:37 PM', '19 Oct 2019, 25:37', 'see you Oct 19, 2019, 2:37 PM', '14:37',
                                  '0 Oct 0000, 00:00'])
def test_what_is_no_date(text):
    assert messenger_html.to_time(text) is None


def card(sender, body, date='Oct 19, 2019, 2:37 PM'):
    return (f'<div class="pam _a6-g"><h2 class="_a6-h">{sender}</h2><div class="_a6-p"><div><div></div><div>{body}</div><div></div></div></div>'
            f'<div class="_a6-o">{date}</div></div>\n')


def page(*cards, title='Theo Berg'):
    return (f'<!DOCTYPE html><html><head><title>{title}</title><style>.a>.b {{}}</style></head><body><div role="main">'
            f'<div class="pam _a6-g"><div class="_a6-h">Participants: Theo Berg and Mara Lind</div></div>{"".join(cards)}</div></body></html>')


def test_pages_are_read_by_structure(tmp_path):
    put(tmp_path, 'messages/inbox/theo_1/message_1.html', page(
        card('Mara Lind', 'I &lt;3 soup<br />&amp;amp; <a href="x">bread</a>', 'Oct 19, 2019, 2:38 PM'), card('Theo Berg', 'b'), card('Theo Berg', 'a'),
        card('Theo Berg', '</div><div><img src="x.jpg">'), card('Theo Berg', ''), card('Theo Berg', 'Theo named the group Soup.'), card('', 'gone'),
        card('Theo Berg', 'Oct 20, 2019, 2:37 PM'), card('Mara Lind', 'when?', 'some day'), title='Theo &amp; Co'))
    threads, tally, names = read(tmp_path)
    assert names == {'messenger'} and threads[0].title == 'Theo & Co'
    assert threads[0].turns == [Turn('Theo Berg', 'Oct 20, 2019, 2:37 PM', OCT_19), Turn('Facebook user (abbd1875)', 'gone', OCT_19),
                                Turn('Theo Berg', 'a', OCT_19), Turn('Theo Berg', 'b', OCT_19), Turn('Mara Lind', 'I <3 soup\n&amp; bread', OCT_19 + 60_000)]
    assert tally.dropped == {readers.MEDIA: 1, readers.EMPTY: 1, readers.SYSTEM: 1, readers.UNREADABLE: 1} and tally.records == 9


def test_reactions_and_shared_posts_are_not_the_words():
    shared = '</div><div><div>Soup of the day</div><div>Oct 1, 2019, 2:37 PM</div>'
    found = list(messenger_html.messages(io.StringIO(page(card('Theo', f'look{shared}<ul><li>&#10084;Mara</li></ul>'), card('Theo', shared)))))
    assert [(message.text, message.time) for message in found] == [('look', OCT_19), ('', OCT_19)]


def test_dates_within_a_link_and_plain_layouts():
    text = '<body><div><div>Theo</div><div>hi</div><footer><a href="x"><div>Oct 19, 2019, 2:37 PM</div></a></footer></div></body>'
    assert list(messenger_html.messages(io.StringIO(text))) == [messenger_html.Message('', 'Theo', 'hi', OCT_19, False)]


def test_json_wins_over_pages(tmp_path):
    put(tmp_path, 'messages/inbox/theo_1/message_1.json', thread(message('hi')))
    put(tmp_path, 'messages/inbox/theo_1/message_1.html', page(card('Theo Berg', 'hi'), card('Theo Berg', '')))
    threads, tally, _ = read(tmp_path)
    assert said(threads) == [['hi']] and tally.dropped == {readers.DUPLICATE: 2}
    put(tmp_path, 'messages/inbox/theo_1/message_1.json', '{broken')
    threads, tally, _ = read(tmp_path)
    assert said(threads) == [['hi']] and len(tally.broken) == 1


def test_pages_given_twice_are_duplicates(tmp_path):
    for name in 'ab':
        put(tmp_path / name, 'messages/inbox/theo_1/message_1.html', page(card('Theo Berg', 'ok'), card('Theo Berg', 'ok')))
    threads, tally, _ = read(tmp_path / 'a', tmp_path / 'b')
    assert said(threads) == [['ok', 'ok']] and tally.dropped == {readers.DUPLICATE: 2}


@pytest.mark.parametrize('known', [[0], [1], [2], [0, 1], [1, 2], [0, 2]])
def test_messages_whose_dates_are_unknown_are_counted_and_told(tmp_path, known):
    put(tmp_path, 'messages/inbox/theo_1/message_1.html',
        page(*(card('Theo Berg', f'{n}', 'Oct 19, 2019, 2:37 PM' if n in known else '2019年10月19日 14:37') for n in range(3))))
    threads, tally, _ = read(tmp_path)
    assert sorted(said(threads)[0]) == [str(n) for n in known] and tally.dropped == {readers.UNREADABLE: 3 - len(known)}
    assert any('dates' in note for note in tally.notes)


def test_a_page_without_messages_is_told(tmp_path):
    put(tmp_path, 'messages/inbox/theo_1/message_1.html', page(card('Theo Berg', 'hi', '2019年10月19日 14:37')))
    threads, tally, _ = read(tmp_path)
    assert not threads and 'dates' in tally.broken[0][1]


def old(sender, text, date='Saturday, October 19, 2019 at 4:37pm UTC+02'):
    return (f'<div class="message"><div class="message_header"><span class="user">{sender}</span><span class="meta">{date}</span></div></div><p>{text}</p>\n')


def test_messages_htm(tmp_path):
    put(tmp_path, 'html/messages.htm', '<html><head><title>Mara Lind - Messages</title></head><body><div class="contents"><h1>Mara Lind</h1><div>'
        f'<div class="thread">Theo Berg, Mara Lind {old("Theo Berg", "b &amp; c")}{old("Mara Lind", "a")}{old("Mara Lind", "")}<p><img src="x.jpg" /></p></div>'
        f'<div class="thread">Jon Aas, Mara Lind{old("Jon Aas", "x")}{old("", "gone")}{old("Jon Aas", "when?", "some day")}</div>'
        f'<div class="thread">Mara Lind, Theo Berg{old("Theo Berg", "0", "Saturday, October 19, 2019 at 4:36pm UTC+02")}</div>'
        '</div></div></body></html>')
    threads, tally, names = read(tmp_path)
    assert names == {'messenger'} and said(threads) == [['0', 'a', 'b & c'], ['gone', 'x']]
    assert threads[0].turns[1] == Turn('Mara Lind', 'a', OCT_19) and threads[1].turns[0].speaker == 'Facebook user (19c9819d)'
    assert [thread.title for thread in threads] == ['Theo Berg, Mara Lind', 'Jon Aas, Mara Lind']
    assert tally.dropped == {readers.MEDIA: 1, readers.UNREADABLE: 1}


@pytest.mark.parametrize('text', ['<' * 300_000, '<a' * 300_000, '<div>' * 100_000, 'x' * 300_000, '<div>a' * 50_000 + '</div>' * 60_000, '</p>' * 100_000,
                                  '<!--' * 90_000])
def test_damaged_pages_are_read_at_once(text):
    assert list(messenger_html.messages(io.StringIO(text))) == []


def test_blocks_cut_nothing(monkeypatch):
    text = page(*(card('Theo Berg', f'number {n} &amp; more') for n in range(20)))
    whole = list(messenger_html.messages(io.StringIO(text)))
    for size in (1, 7, 50):
        monkeypatch.setattr(messenger_html, 'BLOCK', size)
        assert list(messenger_html.messages(io.StringIO(text))) == whole and len(whole) == 20


# ---- files of others, and our own

@pytest.mark.parametrize('folder, texts, dropped, broken', [
    ('json_simple', [['Hello', 'café time?', 'See you soon'], ['Old message in archive']], 0, 0),
    ('json_group', [['Hey crew', 'Hi!', 'Hello.']], 0, 0),
    ('json_nontext', [], 6, 0),
    ('json_with_media', [["Here's a photo"]], 0, 0), ('json_with_media_alt', [['Photo from alt layout']], 0, 0),
    ('corrupt', [['Still valid']], 0, 1),
    ('html_simple', [['Hello', 'café time?', 'See you soon']], 0, 0), ('html_with_media', [["Here's a photo"]], 0, 0),
    ('html_multi_media', [['Hello Carol', 'Check out this photo', 'Nice picture']], 0, 0), ('html_timestamps', [['ping']] * 3, 0, 0),
    ('mixed', [['Mixed hello', 'Mixed reply']], 2, 0),
    ('e2ee_simple', [['Hello', 'café time?', 'See you soon'], ['Plans?']], 2, 0)])
def test_samples(folder, texts, dropped, broken):
    path = os.path.join(SAMPLES, 'messenger', folder)
    if not os.path.isdir(path):
        pytest.skip('the samples are not beside this checkout')
    threads, tally, names = read(path)
    assert names == {'messenger'} and sorted(said(threads)) == sorted(texts)
    assert sum(tally.dropped.values()) == dropped and len(tally.broken) == broken
    if folder == 'html_timestamps':
        assert {thread.turns[0].time for thread in threads} == {OCT_19}


def test_sample_of_many_parts():
    path = os.path.join(SAMPLES, 'messenger', 'json_multifile')
    if not os.path.isdir(path):
        pytest.skip('the samples are not beside this checkout')
    assert [text.split()[1] for text in said(read(path)[0])[0]] == list('ABCD')


def test_sample_of_instagram():
    path = os.path.join(SAMPLES, 'instagram', 'test_export.json')
    if not os.path.isfile(path):
        pytest.skip('the samples are not beside this checkout')
    threads, _, names = read(path)
    assert names == {'instagram'} and threads[0].turns == [Turn('Jane Doe', 'Hello John!', 1577186580000), Turn('John Doe', 'Hello Jane!', 1579294140000)]


def test_our_exports():
    threads, tally, names = read(os.path.join(EXPORTS, 'messenger'))
    assert names == {'messenger'} and sorted(said(threads)) == sorted([
        ['You sound tired.', 'long day\nbut a good one', 'bis später 😀'], ['jutro o ósmej?', 'o ósmej 👍🏽', 'świetnie'], ['who brings the \nsoup & bread?']])
    assert tally.dropped == {readers.MEDIA: 4, readers.SYSTEM: 3, readers.DELETED: 1} and tally.records == 15
    threads, tally, names = read(os.path.join(EXPORTS, 'instagram'))
    assert names == {'instagram'} and said(threads) == [['look at this bread', 'do you bake on Sundays?', 'natürlich, bis später 😀']]
    assert tally.dropped == {readers.MEDIA: 1, readers.SYSTEM: 2} and tally.records == 6

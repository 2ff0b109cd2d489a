"""WhatsApp exports: every shape of header, the order of dates, names, continuations, and what is no message."""
import json
import os
import zipfile
from datetime import datetime, timezone

import pytest

from conftest import ROOT
from src import readers
from src.readers import whatsapp
from src.source import Export

SAMPLES = os.path.join(ROOT, '..', 'shared', 'samples', 'whatsapp')
EXPORTS = os.path.join(ROOT, 'tests', 'exports', 'whatsapp')


def read(path, **options):
    """-> (thread, tally) of a file that must be recognised."""
    plan = readers.plan([Export(str(path))], **options)
    [(module, sources)] = plan.groups
    assert module is whatsapp and not plan.unknown
    tally = readers.Tally()
    [thread] = readers.read_group(module, sources, tally)
    assert not tally.broken
    return thread, tally


@pytest.fixture
def chat(tmp_path):
    """chat(text) -> (thread, tally)"""
    def chat(text, name='WhatsApp Chat with Mara.txt', encoding='utf-8'):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return read(path)
    return chat


def when(turn):
    return datetime.fromtimestamp(turn.time / 1000, timezone.utc).strftime('%Y-%m-%d %H:%M:%S')


def said(thread):
    return [(turn.speaker, turn.text) for turn in thread.turns]


# ---- headers

@pytest.mark.parametrize('header, time', [
    ('31/12/2023, 21:04 - ', '2023-12-31 21:04:00'),
    ('31/12/2023, 21:04 – ', '2023-12-31 21:04:00'),
    ('31/12/23 21:04 - ', '2023-12-31 21:04:00'),
    ('31.12.23, 21:04 - ', '2023-12-31 21:04:00'),
    ('31-12-2023 21:04 - ', '2023-12-31 21:04:00'),
    ('12/31/23, 9:04 PM - ', '2023-12-31 21:04:00'),
    ('12/31/23, 9:04\u202fPM - ', '2023-12-31 21:04:00'),
    ('12/31/23, 9:04 am - ', '2023-12-31 09:04:00'),
    ('12/31/23, 12:04 AM - ', '2023-12-31 00:04:00'),
    ('12/31/23, 12:04 PM - ', '2023-12-31 12:04:00'),
    ('31/12/2023, 9:04 p.m. - ', '2023-12-31 21:04:00'),
    ('31/12/2023, 9:04 p.\u00a0m. - ', '2023-12-31 21:04:00'),
    ('31/12/2023, 9:04 a. m. - ', '2023-12-31 09:04:00'),
    ('2023/12/31, 21:04 - ', '2023-12-31 21:04:00'),
    ('2023-12-31 21:04 - ', '2023-12-31 21:04:00'),
    ('2023/12/31 下午9:04 - ', '2023-12-31 21:04:00'),
    ('2023/12/31 上午12:04 - ', '2023-12-31 00:04:00'),
    ('2023/12/31 凌晨1:04 - ', '2023-12-31 01:04:00'),
    ('2023/12/31 午後9:04 - ', '2023-12-31 21:04:00'),
    ('2023/12/31 午前0:04 - ', '2023-12-31 00:04:00'),
    ('2023. 12. 31. 오후 9:04 - ', '2023-12-31 21:04:00'),
    ('2023. 12. 31. 오전 9:04 - ', '2023-12-31 09:04:00'),
    ('2023/12/31 9:04 下午 - ', '2023-12-31 21:04:00'),
    ('٣١\u200f/١٢\u200f/٢٠٢٣، ٩:٠٤ م - ', '2023-12-31 21:04:00'),
    ('۲۰۲۳/۱۲/۳۱، ۲۱:۰۴ - ', '2023-12-31 21:04:00'),
    ('2023/12/31،\u200f 21:04 - ', '2023-12-31 21:04:00'),
    ('۱۴۰۲/۱۰/۱۰،\u200f ۲۱:۰۴ - ', '2023-12-31 21:04:00'),
    ('[۱۴۰۲/۱۰/۱۰،\u200f ۲۱:۰۴:۱۰] ', '2023-12-31 21:04:10'),
    ('31.12.23 г., 21:04 - ', '2023-12-31 21:04:00'),
    ('31.12.23\u00a0г., 21:04\u00a0ч. - ', '2023-12-31 21:04:00'),
    ('31.12.23, 21:04 ч. - ', '2023-12-31 21:04:00'),
    ('[31.12.2023 г., 21:04:10 ч.] ', '2023-12-31 21:04:10'),
    ('2023/12/31, 9:04 nm. - ', '2023-12-31 21:04:00'),
    ('2023/12/31, 9:04 vm. - ', '2023-12-31 09:04:00'),
    ('31/12/23, 9:04 म.उ. - ', '2023-12-31 21:04:00'),
    ('31/12/23, 9:04 म.पू. - ', '2023-12-31 09:04:00'),
    ('31/12/23, रात 9:04 बजे - ', '2023-12-31 21:04:00'),
    ('31/12/23, 9:04 ਬਾ.ਦੁ. - ', '2023-12-31 21:04:00'),
    ('31/12/23, 9:04 ಅಪರಾಹ್ನ - ', '2023-12-31 21:04:00'),
    ('31/12/23, பிற்பகல் 9:04 - ', '2023-12-31 21:04:00'),
    ('31.12.23, 9:04 e pasdites - ', '2023-12-31 21:04:00'),
    ('31.12.23, 9:04 e paradites - ', '2023-12-31 09:04:00'),
    ('31.12.2023 klo 21.04 - ', '2023-12-31 21:04:00'),
    ('31/12/2023 à 21:04 - ', '2023-12-31 21:04:00'),
    ('31.12.23 21.04.10: ', '2023-12-31 21:04:10'),
    ('[31.12.23, 21:04:10] ', '2023-12-31 21:04:10'),
    ('[31/12/2023, 9:04:10\u202fPM] ', '2023-12-31 21:04:10'),
    ('\u200e[31/12/2023, 21:04:10] ', '2023-12-31 21:04:10'),
    ('\u200f[31.12.2023, 21:04:10] ', '2023-12-31 21:04:10'),
    ('[12/31/23 21:04] ', '2023-12-31 21:04:00'),
    ('[2023/12/31 21:04:10] ', '2023-12-31 21:04:10'),
    ('[2023-12-31, 9:04:10 PM] ', '2023-12-31 21:04:10'),
    ('[31/12/2566 BE, 21:04:10] ', '2023-12-31 21:04:10'),
    ('[31/12/66 21:04:10] ', '2023-12-31 21:04:10'),
    ('2023-12-31 21 h 04 - ', '2023-12-31 21:04:00'),
    ('2023-12-31 21\u00a0h\u00a004\u00a0min - ', '2023-12-31 21:04:00'),
    ('[2023-12-31, 21 h 04 min 10 s] ', '2023-12-31 21:04:10'),
    ('[2023-12-31, 9 h 04 min 10 s p.m.] ', '2023-12-31 21:04:10'),
    ('21:04, 31/12/2023 - ', '2023-12-31 21:04:00'),
    ('[21:04:10, 31/12/2023] ', '2023-12-31 21:04:10'),
])
def test_headers(chat, header, time):
    thread, tally = chat(f'{header}Mara: You sound tired.\n{header}Theo: long day\n')
    assert said(thread) == [('Mara', 'You sound tired.'), ('Theo', 'long day')]
    assert [when(turn) for turn in thread.turns] == [time, time]
    assert tally.records == 2 and not tally.dropped and not tally.notes


def test_without_a_blank_behind_the_name(chat):
    thread, tally = chat('[2026/7/9 02:28:37] Bob:Hi\n[2026/7/9 02:29:01] Ann:see https://x.org: nice\n[2026/7/9 02:30:00] Bob:12:30?\n')
    assert said(thread) == [('Bob', 'Hi'), ('Ann', 'see https://x.org: nice'), ('Bob', '12:30?')]


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_byte_order_mark_and_crlf(chat, encoding):
    thread, tally = chat('[31.12.23, 21:04:10] Mara: eins\r\nzwei\r\n\r\ndrei\r\n[31.12.23, 21:04:11] Theo: vier\r\n', '_chat.txt', encoding)
    assert said(thread) == [('Mara', 'eins\nzwei\n\ndrei'), ('Theo', 'vier')] and tally.records == 2


# ---- day and month

def dates(*fields, header='{}, 10:00 - Mara: hi\n'):
    return ''.join(header.format(date) for date in fields)


@pytest.mark.parametrize('written, read_as', [
    (['01/02/21', '13/02/21'], ['2021-02-01', '2021-02-13']),                              # a first field above 12
    (['01/02/21', '01/13/21'], ['2021-01-02', '2021-01-13']),                              # a second
    (['1/2/21', '2/2/21', '1/3/21'], ['2021-02-01', '2021-02-02', '2021-03-01']),          # as m/d it would go back
    (['1/2/21', '2/1/21', '3/1/21', '3/2/21'], ['2021-01-02', '2021-02-01', '2021-03-01', '2021-03-02']),  # as d/m it would
    (['21/03/30', '21/03/31', '21/04/01'], ['2021-03-30', '2021-03-31', '2021-04-01']),    # y/m/d in two digits
    (['21. 3. 9.', '21. 3. 10.', '21. 3. 11.'], ['2021-03-09', '2021-03-10', '2021-03-11']),
    (['31.12.20', '01.01.21'], ['2020-12-31', '2021-01-01']),
    (['13/02/21', '13/03/22', '14/03/23'], ['2021-02-13', '2022-03-13', '2023-03-14']),    # years that change more often than days
])
def test_the_order_of_dates_is_found(chat, written, read_as):
    thread, tally = chat(dates(*written))
    assert [when(turn)[:10] for turn in thread.turns] == read_as and not tally.notes


@pytest.mark.parametrize('written, read_as', [                                                # new year's eves of leap years and others
    (['1388/10/11', '1390/1/1', '1391/12/30'], ['2010-01-01', '2011-03-21', '2013-03-20']),
    (['1392/1/1', '1399/12/30', '1400/1/1'], ['2013-03-21', '2021-03-20', '2021-03-21']),
    (['1402/1/24', '1402/6/31', '1402/7/1', '1402/12/29'], ['2023-04-13', '2023-09-22', '2023-09-23', '2024-03-19']),
    (['1403/1/1', '1403/12/30', '1404/1/1', '1408/12/30'], ['2024-03-20', '2025-03-20', '2025-03-21', '2030-03-20']),
    (['24/1/1402', '25/1/1402'], ['2023-04-13', '2023-04-14']),
])
def test_persian_years(chat, written, read_as):
    thread, tally = chat(dates(*written))
    assert [when(turn)[:10] for turn in thread.turns] == read_as and not tally.notes


@pytest.mark.parametrize('date', ['1402/7/31', '1402/12/30', '1402/13/1', '1402/0/1'])
def test_dates_the_persian_calendar_lacks(chat, date):
    assert [text for _, text in said(chat(dates('1402/1/1', date, '1402/2/1'))[0])] == [f'hi\n{date}, 10:00 - Mara: hi', 'hi']


def test_undecided_dates_are_day_first_and_the_user_is_told(chat):
    thread, tally = chat(dates('03/04/21', '03/04/21', '04/05/21'))
    assert [when(turn)[:10] for turn in thread.turns] == ['2021-04-03', '2021-04-03', '2021-05-04']
    [note] = tally.notes
    assert 'WhatsApp Chat with Mara.txt' in note and '03/04/21' in note and 'day' in note
    assert not chat(dates('05/05/21'))[1].notes         # the same either way


def test_a_file_that_switches_style_midway(chat):
    thread, tally = chat('12/30/20, 9:00 PM - Mara: one\n12/31/20, 9:00 PM - Theo: two\n'
                         '[02.01.21, 08:00:00] Mara: three\n[13.01.21, 08:00:00] Theo: four\n')
    assert [text for _, text in said(thread)] == ['one', 'two', 'three', 'four']
    assert [when(turn) for turn in thread.turns][1:3] == ['2020-12-31 21:00:00', '2021-01-02 08:00:00']


def test_exports_put_end_to_end_stay_messages(chat):
    later = ''.join(f'[{day:02}.03.20, 08:00:00] Mara: {day}\n[{day:02}.03.20, 08:01:00] Theo: {day}\n' for day in range(1, 32))
    thread, tally = chat('30.12.20, 21:00 - Mara: one\n31.12.20, 21:00 - Theo: two\n' + later)
    assert len(thread.turns) == 64


def test_equal_and_late_times_keep_the_order_of_the_file(chat):
    thread, _ = chat('31/12/20, 10:05 - Mara: a\n31/12/20, 10:05 - Theo: b\n31/12/20, 10:05 - Mara: c\n31/12/20, 10:03 - Theo: late\n'
                     '31/12/20, 10:06 - Mara: d\n25/12/20, 10:06 - Theo: very late\n31/12/20, 10:07 - Mara: e\n')
    assert [text for _, text in said(thread)] == ['a', 'b', 'c', 'late', 'd', 'very late', 'e']


# ---- what belongs to a message

def test_continuation_lines_blank_lines_and_joiners(chat):
    thread, _ = chat('31/12/20, 10:05 - Mara: shopping:\n\n - milk\n31/12 is a holiday\n12:30 - Theo: not a header\n'
                     '31/12/20, 10:06 - Theo: 👩‍🎤 e\u0301 ﬁ \n\n')
    assert said(thread) == [('Mara', 'shopping:\n\n - milk\n31/12 is a holiday\n12:30 - Theo: not a header'), ('Theo', '👩‍🎤 e\u0301 ﬁ ')]


@pytest.mark.parametrize('header, ends', [
    ('12/03/23, 21:05 - ', ['12/03/23, 21:0', '12/03/23, 2', '12/03/23, 21:05', '12/03/23, 21:05 ', '13/04/23, 21:', '12/03/2', '12/03/23']),
    ('[12.03.23, 21:05:10] ', ['[12.03.23, 21:0', '\u200e[12.03.23, 21:05:1', '[12.03.23, 21:05:10', '[14.03.23, 2']),
    ('3/12/23, 9:05\u202fPM - ', ['3/12/23, 9:05\u202fP', '3/12/23, 10', '3/13/23, 10:05\u202fPM']),
    ('21:05, 12/03/2023 - ', ['21:05, 12/0', '21:06, 13/04/2023']),
    ('2023. 3. 12. 오후 9:05 - ', ['2023. 3. 12. 오후 9', '2023. 3. 12. 오후 9:0', '2023. 3. 12. 오']),
])
def test_a_header_cut_off_at_the_end_is_nobodys(chat, header, ends):
    for end in ends:
        thread, tally = chat(f'{header}Mara: a\n{header}Theo: b\n{end}')
        assert (said(thread), dict(tally.dropped), tally.records) == ([('Mara', 'a'), ('Theo', 'b')], {readers.UNREADABLE: 1}, 3), end


@pytest.mark.parametrize('end', ['12/03/23, 21:0\n', '13/04/23', '12', '3/4', '12/03', '12/03/23 we meet', '12-03-23, 21:0', '21:0', '[12/03/23, 21:0', 'so: 12/03/23, 21:0'])
def test_a_last_line_that_may_be_words_stays(chat, end):
    thread, tally = chat(f'12/03/23, 21:05 - Mara: a\n12/03/23, 21:05 - Theo: b\n{end}')
    assert said(thread) == [('Mara', 'a'), ('Theo', 'b\n' + end.rstrip('\n'))] and not tally.dropped


def test_a_body_that_starts_with_a_date(chat):
    thread, _ = chat('30/12/20, 10:05 - Mara: 31/12/20, 20:00 - my place: bring wine\n30/12/20, 10:06 - Theo: 31/12/20, 20:00?\n31/12/20\n')
    assert said(thread) == [('Mara', '31/12/20, 20:00 - my place: bring wine'), ('Theo', '31/12/20, 20:00?\n31/12/20')]


@pytest.mark.parametrize('pasted', [
    '[29/12, 18:02] Paul: too cold\n[29/12, 18:03] Paul: too far',                                 # copied on Android: no year
    '[18:02, 29/12/2020] Paul: too cold\n[18:03, 29/12/2020] Paul: too far',                       # copied in a browser: time first
    '[29.12.20, 18:02:00] Paul: too cold\n[29.12.20, 18:03:00] Theo: too far',                     # another style, a stranger
    '[29.12.20, 18:02:00] Mara: too cold\n[29.12.20, 18:03:00] Theo: too far',                     # another style, earlier
    '29/12/19, 18:02 - Paul: too cold\n29/12/19, 18:03 - Theo: too far',                           # its own style, long ago, a stranger
    '02/01/21, 20:00 - Party: at the harbour\n03/01/21, 12:00 - Lunch: anywhere',                     # a timetable in its own style
    '31/02/20, 18:02 - Paul: there is no such day',
    '30/12/20, 25:02 - Paul: nor such an hour',
    '30/12/20, 9:02 xx - Paul: nor such a half of the day',
])
def test_a_pasted_chat_stays_in_its_message(chat, pasted):
    thread, tally = chat(f'30/12/20, 10:05 - Mara: listen\n30/12/20, 10:06 - Theo: he says:\n\n{pasted}\n'
                         '30/12/20, 10:07 - Mara: oh\n31/12/20, 9:00 - Theo: yes\n')
    assert said(thread) == [('Mara', 'listen'), ('Theo', f'he says:\n\n{pasted}'), ('Mara', 'oh'), ('Theo', 'yes')]
    assert tally.records == 4


def test_a_pasted_chat_at_the_end(chat):
    pasted = '[29.12.20, 18:02:00] Paul: too cold\n[29.12.20, 18:03:00] Theo: too far'
    thread, _ = chat(f'30/12/20, 10:05 - Mara: listen\n30/12/20, 10:06 - Theo: he says:\n{pasted}\n')
    assert said(thread)[1:] == [('Theo', f'he says:\n{pasted}')]


@pytest.mark.parametrize('pasted', [
    '4/12/24, 10:00 AM - Sam: are you in?',                                                        # one line from a phone that writes the month first
    '4/12/24, 10:00 AM - Sam: are you in?\n4/12/24, 10:01 AM - Kim: no',
    '[4/12/24, 10:00:00 AM] Sam: are you in?\n[4/12/24, 10:01:00 AM] Theo: no',
    '3/12/24, 10:00 AM - Sam: are you in?',                                                        # a month ago
    '4/20/24, 10:00 AM - Sam: are you in?',                                                        # a plan
])
@pytest.mark.parametrize('later', [1, 30])
def test_a_line_pasted_from_another_phone_leaves_the_file_its_style(chat, pasted, later):
    before = dates('01/03/2024', '02/03/2024', '29/03/2024', '13/04/2024', header='{}, 18:00 - Mara: hi\n')
    after = ''.join(f'14/04/2024, 19:{i:02} - {name}: {i}\n' for i in range(later) for name in ('Mara', 'Nina'))
    thread, tally = chat(f'{before}13/04/2024, 18:01 - Theo: he says:\n{pasted}\n13/04/2024, 18:02 - Mara: oh\n{after}')
    assert said(thread)[4:6] == [('Theo', f'he says:\n{pasted}'), ('Mara', 'oh')]
    assert len(thread.turns) == 6 + 2 * later and when(thread.turns[-1])[:10] == '2024-04-14'
    assert {name for name, _ in said(thread)} == {'Mara', 'Theo', 'Nina'} and not tally.dropped and not tally.notes


def test_a_short_chat_may_have_a_longer_one_in_it(chat):
    pasted = '\n'.join(f'[29.12.20, 18:{i:02}:00] Paul: {i}' for i in range(20))
    thread, _ = chat(f'30/12/20, 10:05 - Mara: he says:\n{pasted}\n30/12/20, 10:07 - Theo: oh\n')
    assert said(thread) == [('Mara', f'he says:\n{pasted}'), ('Theo', 'oh')]


def test_a_second_style_that_goes_on_to_the_end_is_the_files_own(chat):
    later = ''.join(f'[{day:02}/03/20, 08:00:00] Nina: {day}\n[{day:02}/03/20, 08:01:00] Theo: {day}\n' for day in range(1, 32))
    assert len(chat('31.12.20, 20:00 - Mara: zero\n31.12.20, 21:00 - Theo: one\n' + later)[0].turns) == 64


def test_dates_of_a_second_style_are_read_as_they_fit_the_first(chat):
    first = dates('30/11/2023', '01/12/2023', '02/12/2023')
    second = '{}, 9:04 PM - Mara: hi\n'
    assert [when(turn)[:10] for turn in chat(first + dates('12/3/23', '12/4/23', header=second))[0].turns[3:]] == ['2023-12-03', '2023-12-04']
    thread, tally = chat(first + dates('3/4/24', '4/5/24', header=second))
    assert [when(turn)[:10] for turn in thread.turns[3:]] == ['2024-04-03', '2024-05-04'] and len(tally.notes) == 1


# ---- names

def test_names_with_colons(chat):
    thread, _ = chat('31/12/20, 10:05 - Theo:): hi\n31/12/20, 10:05 - R2:D2: beep: boop\n31/12/20, 10:06 - Dr: House: one\n'
                     '31/12/20, 10:06 - Dr: House: two: three\n31/12/20, 10:06 - Dr: House: four\n'
                     '31/12/20, 10:07 - Mara: Note: this\n31/12/20, 10:07 - Mara: hi\n')
    assert said(thread) == [('Theo:)', 'hi'), ('R2:D2', 'beep: boop'), ('Dr: House', 'one'), ('Dr: House', 'two: three'), ('Dr: House', 'four'),
                            ('Mara', 'Note: this'), ('Mara', 'hi')]


def test_names_are_freed_of_marks(chat):
    thread, _ = chat('[31.12.20, 10:05:00] \u202a+49\u00a0170\u00a05550\u202c: hi\n[31.12.20, 10:05:01] ~\u202fDana: hi\n')
    assert [name for name, _ in said(thread)] == ['+49 170 5550', '~ Dana']


@pytest.mark.parametrize('line', [
    'Theo changed the subject from "a: b" to "c"',
    'Theo changed the subject from “a: b” to “c: d”',
    'Theo hat den Betreff von „a: b“ zu „c“ geändert',
    'Theo cambió el asunto de "a: b" a "c"',
    'Theo a changé le sujet de « a : b » en « c »',
    'Тео изменил тему на «а: б»',
    'テオがグループ名を「a: b」に変更しました',
    'Xyz qwe rty "a: b" uio',                           # in no language: the quotation is open where the colon is
    'Theo changed the group description. New: none',
    'Theo added Dr: House',
    'You joined a group via invite in the community: Runners',
    'Messages and calls are end-to-end encrypted. Tap to learn more.',
    'Missed voice call',
    'John Doe:.',                                       # no blank behind the colon
])
def test_system_lines_are_nobody(chat, line):
    thread, tally = chat(f'31/12/20, 10:04 - {line}\n31/12/20, 10:05 - Mara: hi\n31/12/20, 10:06 - Theo "Ted" B: hello\n')
    assert said(thread) == [('Mara', 'hi'), ('Theo "Ted" B', 'hello')]
    assert dict(tally.dropped) == {readers.SYSTEM: 1}


@pytest.mark.parametrize('name', ['Tom (left company)', 'Lefty (removed)', 'Kim, newly added', 'Old number pinned'])
def test_a_word_of_a_system_line_in_a_name(chat, name):
    thread, tally = chat(f'31/12/20, 10:04 - Mara: hi\n31/12/20, 10:05 - {name}: bye all\n')
    assert said(thread) == [('Mara', 'hi'), (name, 'bye all')] and not tally.dropped


def test_who_speaks_often_is_somebody(chat):
    assert len(chat('31/12/20, 10:04 - Lisa 6": hi\n' * 3)[0].turns) == 3
    line = '31/12/20, 10:04 - Theo changed the subject from "a: b" to "c"\n'
    thread, tally = chat(line * 5 + '31/12/20, 10:05 - Mara: hi\n')
    assert said(thread) == [('Mara', 'hi')] and tally.dropped[readers.SYSTEM] == 5


def test_who_is_a_group(chat):
    assert chat('31/12/20, 10:04 - Theo created group "x"\n31/12/20, 10:05 - Mara: hi\n')[0].group is True
    assert chat('31/12/20, 10:04 - Theo hat die Gruppe erstellt.\n31/12/20, 10:05 - Mara: hi\n')[0].group is True
    assert chat('[31/12/20, 10:04:00] Trip: \u200eTheo created this group\n[31/12/20, 10:05:00] Mara: hi\n')[0].group is True
    assert chat('31/12/20, 10:04 - Missed group voice call\n31/12/20, 10:05 - Mara: what a group\n')[0].group is None


# ---- what is no message

@pytest.mark.parametrize('reason, bodies', [
    (readers.MEDIA, ['<Media omitted>', '<Multimedia omitido>', '<Medien ausgeschlossen>', '<Médias omis>', '<Mídia oculta>',
    '<Media weggelaten>', '<Media omesso>',
                     '<Без медиафайлов>', '<Medya dahil edilmedi>', '<Media tidak disertakan>', '<תוכן המדיה הושמט>', '<تم استبعاد الوسائط>',
                     '<मीडिया के बिना>',
                     '\u200eimage omitted', 'image omitted', '\u200eBild weggelassen', 'imagen omitida', '\u200evidéo absente',
                     'immagine omessa', 'imagem ocultada',
                     '<afbeelding weggelaten>', '画像は含まれていません', 'görüntü dahil edilmedi', 'GIF omitted', 'Contact card omitted',
                     '<attached: 00000012-PHOTO-2020-12-31.jpg>',
                     '\u200e<Anhang: 00000012-PHOTO-2020-12-31.jpg>', '<pièce jointe: 00000012-AUDIO.opus>', 'IMG-20201231-WA0001.jpg (file attached)',
                     '\u200ePTT-20201231-WA0001.opus (Datei angehängt)', 'Mara Ilves.vcf (archivo adjunto)', 'IMG-20201231-WA0001.jpg (in keiner Sprache)',
                     'Plan B.pdf (file attached)\nPlan B.pdf', '<Media omitted>\nPlan B.docx', 'Plan.pdf • 2 pages document omitted',
                     '\u200ePlan.pdf • \u200e2 pages \u200edocument omitted',
                     'location: https://maps.google.com/?q=54.32,10.13', 'Standort: https://maps.google.com/?q=54.32,-10.13',
                     'Harbour Café (Kiel, Germany): https://foursquare.com/v/4dea6dacd22da22d4ed36317', 'live location shared', 'null', 'View once photo',
                     '<View once voice message omitted>']),
    (readers.DELETED, ['This message was deleted', 'This message was deleted.', 'You deleted this message',
    '\u200eDu hast diese Nachricht gelöscht.', 'Se eliminó este mensaje.',
                       'Ce message a été supprimé', 'Mensagem apagada', 'Questo messaggio è stato eliminato', 'Dit bericht is verwijderd',
                       'Данное сообщение удалено',
                       'Bu mesaj silindi', 'Pesan ini dihapus', 'このメッセージは削除されました。', '此訊息已刪除。', 'تم حذف هذه الرسالة', 'यह मैसेज डिलीट कर दिया गया है']),
    (readers.SYSTEM, ['Missed voice call', 'Verpasster Videoanruf', '\u200eVoice call. \u200e5 min', '\u200eMara added you', 'Mara added Theo',
                      'Messages and calls are end-to-end encrypted. No one outside of this chat, not even WhatsApp, can read or listen to them.',
                      'Los mensajes y las llamadas están cifrados de extremo a extremo. Nadie fuera de este chat, ni siquiera WhatsApp, puede leerlos.',
                      'Your security code with Theo changed. Tap to learn more.', 'Waiting for this message. This may take a while.']),
    (readers.EMPTY, ['', ' ', '\u200e<This message was edited>']),
    ('polls', ['POLL:\nWhere?\nOPTION: here (2 votes)\nOPTION: there (1 vote)',
    '\u200eUMFRAGE:\nWo?\n\u200eOPTION: hier (\u200e2 Stimmen)\n\u200eOPTION: da (\u200e0 Stimmen)']),
])
def test_dropped_bodies(chat, reason, bodies):
    for body in bodies:
        thread, tally = chat(f'[31.12.20, 10:04:00] Mara: hi\n[31.12.20, 10:05:00] Mara: {body}\n[31.12.20, 10:06:00] Theo: hello\n')
        assert (said(thread), dict(tally.dropped)) == ([('Mara', 'hi'), ('Theo', 'hello')], {reason: 1}), body


@pytest.mark.parametrize('body, words', [
    ('IMG-20201231-WA0001.jpg (file attached)\nthe view\n\nfrom here', 'the view\n\nfrom here'),
    ('<Media omitted>\nthe view', 'the view'),
    ('<Multimedia omitido>\nla vista', 'la vista'),
    ('the view \u200e<attached: 00000012-PHOTO-2020-12-31.jpg>', 'the view'),
    ('<attached: 00000012-PHOTO-2020-12-31.jpg>\nthe view', 'the view'),
    ('the view \u200eimage omitted', 'the view'),
    ('see you at 8 <This message was edited>', 'see you at 8'),
    ('see you at 8 \u200e<Diese Nachricht wurde bearbeitet.>', 'see you at 8'),
    ('see you at 8 \u200e<qwe rty uiop>', 'see you at 8'),                                        # the mark: in any language
    ('<Media omitted>\nthe view <This message was edited>', 'the view'),
    ('@\u2068Dr House\u2069 and @\u2068~ Dana\u2069', '@Dr House and @~ Dana'),
])
def test_words_are_freed_of_whatsapps(chat, body, words):
    thread, tally = chat(f'31.12.20, 10:04 - Mara: {body}\n31.12.20, 10:06 - Theo: ok\n')
    assert said(thread) == [('Mara', words), ('Theo', 'ok')] and not tally.dropped


@pytest.mark.parametrize('body', [
    'This message was deleted by mistake, sorry', 'why is it <Media omitted>?', 'I wrote: image omitted', '<3', 'a <b> c', '<what a day>',
    'photo.jpg (the one I like)',
    'Location: the pub', 'my poll:\nyes or no?', 'Theo added sugar', 'WhatsApp is down', 'see 12:30: lunch', 'nullify', 'Messages and calls, all day!', '.',
])
def test_what_people_write_stays(chat, body):
    thread, tally = chat(f'[31.12.20, 10:04:00] Mara: {body}\n[31.12.20, 10:06:00] Theo: ok\n')
    assert said(thread) == [('Mara', body), ('Theo', 'ok')] and not tally.dropped


def test_lines_before_the_first_message_are_counted(chat):
    thread, tally = chat('exported by hand\n\nfor Mara\n31.12.20, 10:04 - Mara: a\n31.12.20, 10:05 - Theo: b\n31.12.20, 10:06 - Mara: c\n')
    assert len(thread.turns) == 3 and dict(tally.dropped) == {readers.UNREADABLE: 2} and tally.records == 5


@pytest.mark.parametrize('body', [' ' * 10**6 + '>', '<Media omitted>\n' + '.pdf • ' * 10**5 + '\nx', 'POLL:\nq\nO: (' + '1' * 10**6, '@\u2068' * 10**5, ': ' * 10**5])
def test_long_runs_take_no_long_time(chat, body):
    assert len(chat(f'31.12.20, 10:04 - Mara: {body}\n')[0].turns) == 1


# ---- titles

@pytest.mark.parametrize('name, title', [
    ('WhatsApp Chat with Mara.txt', 'Mara'), ('WhatsApp Chat with Mara & Theo (1).txt', 'Mara & Theo'), ('WhatsApp Chat - Mara.txt', 'Mara'),
    ('WhatsApp Chat mit Mara.txt', 'Mara'), ('WhatsApp-Chat mit Mara.txt', 'Mara'), ('Chat de WhatsApp con Mara.txt', 'Mara'),
    ('Discussion WhatsApp avec Le chalet.txt', 'Le chalet'), ('Chat WhatsApp con Mara.txt', 'Mara'), ('Conversa do WhatsApp com Mara.txt', 'Mara'),
    ('WhatsApp-chat met Mara.txt', 'Mara'), ('WhatsApp-chatt med Mara.txt', 'Mara'), ('Чат WhatsApp с контактом Мара.txt', 'Мара'),
    ('Chat WhatsApp s uživatelem Mara.txt', 'Mara'),
    ('Mara ile WhatsApp Sohbeti.txt', 'Mara'), ('与Mara的 WhatsApp 聊天.txt', 'Mara'), ('Chat WhatsApp dengan Mara.txt', 'Mara'),
    ('WhatsApp чат с Мара.txt', 'Мара'), ('WhatsApp_Chat_with_Mara.txt', 'Mara'),
    ('holiday.txt', ''),
])
def test_titles(chat, name, title):
    assert chat('31.12.20, 10:04 - Mara: hi\n', name)[0].title == title


def test_chat_txt_takes_the_name_of_its_zip(tmp_path):
    for name in ('WhatsApp Chat - Mara.zip', 'WhatsApp Chat - Mara (2).zip'):
        with zipfile.ZipFile(tmp_path / name, 'w') as archive:
            archive.writestr('_chat.txt', '[31.12.20, 10:04:00] Mara: hi\n')
            archive.writestr('00000004-PHOTO-2020-12-31.jpg', b'\xff\xd8')
        assert read(tmp_path / name)[0].title == 'Mara'
    outer = tmp_path / 'all.zip'
    with zipfile.ZipFile(outer, 'w') as archive:
        archive.write(tmp_path / 'WhatsApp Chat - Mara.zip', 'chats/WhatsApp Chat - Mara.zip')
    assert read(outer)[0].title == 'Mara'


# ---- recognition

@pytest.mark.parametrize('name, content', [
    ('x.json', '[31.12.20, 10:04:00] Mara: hi\n'), ('x.txt', ''), ('x.txt', 'Mara: hi\nTheo: hello\n'), ('x.txt', '\0\xff' * 999), ('x.txt',
    '2020-12-31 10:04:05 nobody\n'),
    ('x.txt', '[2019-05-29, 15:04] Me: hello\n[2019-05-29, 15:05] Mara: hi\n'),                 # signal-export
    ('x.txt', 'May 17, 2022  5:29:42 PM\nMe\nhi\n'),                                             # imessage-exporter
    ('x.txt', '[31/12/2020 10:04 PM] mara#0001\nhi\n'),                                          # DiscordChatExporter
    ('x.txt', '(1349680884843) Mara: hi\n'), ('x.txt', 'hi __eou__ hello __eou__\n'), ('x.txt', '1 your persona: i like trains.\n2 hi\thello\n'),
])
def test_other_formats_are_left_alone(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content.encode('latin-1'))
    [source] = Export(str(path)).sources.values()
    score, why = whatsapp.sniff(source)
    assert score < readers.READABLE and why


def test_read_as_whatsapp_though_nothing_in_it_is(tmp_path):
    path = tmp_path / 'x.txt'
    path.write_text('one\ntwo\n')
    [(module, sources)] = readers.plan([Export(str(path))], 'whatsapp').groups
    tally = readers.Tally()
    assert list(readers.read_group(module, sources, tally)) == [] and dict(tally.dropped) == {readers.UNREADABLE: 2}


# ---- whole files

def test_the_android_example():
    thread, tally = read(os.path.join(EXPORTS, 'WhatsApp Chat with Harbour Choir.txt'))
    assert said(thread) == [
        ('Theo Brandt', 'Welcome, all! Rehearsals:\n \n- Tuesday 7:30\n- Thursday 8\n\n3/15/23 is off.'), ('Mara Ilves', '👩‍🎤👍'),
        ('Mara Ilves', 'the hall, from the gallery'),
        ('Theo Brandt', 'What my brother says about the hall:\n[3/12, 18:02] Paul: too cold\n[3/12, 18:03] Paul: and too far'),
        ('+49 170 5550 142', 'He is right: it IS cold')]
    assert (thread.title, thread.group, when(thread.turns[0])) == ('Harbour Choir', True, '2023-03-12 21:06:00')
    assert dict(tally.dropped) == {readers.SYSTEM: 5, readers.MEDIA: 1, readers.DELETED: 1, 'polls': 1} and tally.records == 13


def test_the_iphone_example():
    thread, tally = read(os.path.join(EXPORTS, '_chat.txt'))
    assert said(thread) == [('Inge', 'Bist du noch wach?'), ('Jonas', 'ja, gerade so\n\nund du?'), ('Inge', 'der Mond über dem Hafen'),
                            ('Inge', '@Jonas morgen um 9:30: am Steg')]
    assert dict(tally.dropped) == {readers.SYSTEM: 2, readers.MEDIA: 3, readers.DELETED: 1} and tally.records == 10


@pytest.mark.parametrize('name', ['ddmmyy_24hrs', 'mmddyy_24hrs', '[mmddyy]_24hrs', 'mmddyyyy_12hrs', 'yyyymmdd_24hrs'])
def test_real_samples(name):
    if not os.path.isdir(SAMPLES):
        pytest.skip('the sample exports are not beside this checkout')
    thread, tally = read(os.path.join(SAMPLES, f'test_{name}.txt'))
    with open(os.path.join(SAMPLES, 'target.json'), encoding='utf-8') as file:
        target = [(m['timestamp'].replace('T', ' '), m['author'], m['message']) for m in reversed(json.load(file))]
    assert [(when(turn), turn.speaker, turn.text.replace('\n', ' ')) for turn in thread.turns] == target
    assert (thread.group, dict(tally.dropped), tally.records) == (True, {readers.SYSTEM: 3}, 9)


def test_answers_of_meta_ai_are_a_bots(chat):
    thread, tally = chat('12/03/2023, 21:05 - Mara: @Meta AI how deep is the sea?\n12/03/2023, 21:05 - Meta AI: On average 3.7 km.\n13/03/2023, 21:06 - Mara: ok\n')
    assert [turn.speaker for turn in thread.turns] == ['Mara', 'Mara'] and tally.dropped == {readers.BOT: 1}

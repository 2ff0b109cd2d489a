"""The contract of src/readers, for every format there is: its example in tests/exports, the same damaged in many ways, and the front door."""
import importlib
import os
import re
import shutil
import sys
import time
import zipfile

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from src import readers
from src.console import UsageError, UserError
from src.readers import records, times
from src.source import DAMAGE, Export

EXPORTS = os.path.join(ROOT, 'tests', 'exports')
FORMATS = sorted(readers.formats())
NOON = 1596974400000                                    # 2020-08-09 12:00 UTC
# How many records the example of a format holds, read or not: counted by hand.
RECORDS = {'blended': 18, 'chat_jsonl': 10, 'cornell': 7, 'dailydialog': 28, 'dialogpt': 29, 'discord': 10, 'discord_package': 6, 'empathetic': 8,
           'imessage': 8, 'instagram': 6, 'memory': 11, 'messenger': 15, 'owner_json': 4, 'personachat': 43, 'plain': 20, 'reddit': 14, 'script': 5, 'signal': 12,
           'slack': 10, 'telegram': 14, 'whatsapp': 23}


def read(*paths, format=None):
    """-> (Plan, threads, Tally of all)"""
    plan, tally = readers.plan([Export(str(path)) for path in paths], format), readers.Tally()
    return plan, [thread for module, sources in plan.groups for thread in readers.read_group(module, sources, tally)], tally


def well_formed(threads, tally):
    """Whether threads are as the contract says, and counted."""
    assert tally.read == sum(len(thread.turns) if thread.records is None else thread.records for thread in threads)
    assert all(type(n) is int and n > 0 for n in tally.dropped.values()), tally.dropped
    for thread in threads:
        assert thread.turns and thread.format in FORMATS and thread.title.encode() is not None
        assert thread.group in (True, False, None) and thread.split in ('train', 'validation', 'test', None)
        for speaker, text, when in thread.turns:
            assert type(speaker) is str and speaker.strip() and speaker.encode()
            assert type(text) is str and text.strip() and text.encode() and '\r' not in text
            assert when is None or type(when) is int
    return True


def files_of(folder):
    """{path in the folder: bytes}"""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), 'rb') as file:
                found[os.path.relpath(os.path.join(path, name), folder)] = file.read()
    return dict(sorted(found.items()))


# ---- the examples

def test_every_format_has_an_example_and_every_example_a_format():
    assert sorted(os.listdir(EXPORTS)) == FORMATS == sorted(RECORDS)


@pytest.mark.parametrize('name', FORMATS)
def test_a_module_opens_with_a_record_and_says_what_it_is(name):
    module = readers.get_format(name)
    assert re.search(r'\A\S[^\n]+\n(?:.*\n)*\n {4}\S', module.__doc__), 'a line, a blank one, and an indented record'
    assert module.__name__ == f'src.readers.{name}' and re.fullmatch('[a-z_]+', name) and callable(module.sniff) and callable(module.read)


@pytest.mark.parametrize('name', FORMATS)
def test_the_example_is_read_and_every_record_counted(name):
    plan, threads, tally = read(os.path.join(EXPORTS, name))
    assert {module.NAME for module, _ in plan.groups} == {name} and not plan.unknown and not tally.broken
    assert well_formed(threads, tally) and tally.read >= 3 and sum(tally.dropped.values()) >= 1 and tally.records == RECORDS[name]
    for thread in threads:
        moments = [turn.time for turn in thread.turns]
        assert moments == [None] * len(moments) or moments == sorted(moments)


@pytest.mark.parametrize('name', FORMATS)
def test_no_other_format_claims_a_file_of_the_example(name):
    for source in Export(os.path.join(EXPORTS, name)).sources.values():
        assert {found for score, _, found in readers.closest(source) if score >= readers.READABLE} <= {name}
        assert all(0 <= score <= 1 and why and '\n' not in why for score, why, _ in readers.closest(source)), source


@pytest.mark.parametrize('name', FORMATS)
def test_zipped_or_not_and_a_second_time_it_is_the_same(name, tmp_path):
    with zipfile.ZipFile(tmp_path / f'{name}.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        for inner, content in files_of(os.path.join(EXPORTS, name)).items():
            archive.writestr(inner, content)
    results = [read(path)[1:] for path in (os.path.join(EXPORTS, name), os.path.join(EXPORTS, name), tmp_path / f'{name}.zip')]
    assert results[0] == results[1] and results[0][0] == results[2][0] and results[0][1].dropped == results[2][1].dropped


# ---- what is damaged, or none of ours

SUFFIXES = sorted({os.path.splitext(inner)[1] for inner in files_of(EXPORTS)} | {'', '.jsonl', '.htm'})


def sniffed(path, content):
    """Look at a file with every format's sniff; they must not raise, nor take long."""
    with open(path, 'wb') as file:
        file.write(content)
    source, = Export(str(path)).sources.values()
    start = time.perf_counter()
    for score, why, _ in readers.closest(source):
        assert 0 <= score <= 1 and isinstance(why, str) and why
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize('content', [b'', b'\n', b'\0', b'\xff\xfe', b'\xef\xbb\xbf', b'{', b'[', b'"', b'[{', b'[[{', b'[{"', b'\n' * 9999, b'[' * 99999,
                                     b'{"a":' * 9999, b'"' * 9999, b',' * 9999, b'<' * 9999, b'1' * 99999, b'[1' + b'0' * 9999 + b']', b'\\ud83d' * 999, bytes(range(256)) * 99])
def test_sniffing_never_raises(content, tmp_path):
    for suffix in SUFFIXES:
        sniffed(tmp_path / f'file{suffix}', content)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(content=st.binary(max_size=400).filter(lambda content: not content.startswith((b'PK', b'\x1f\x8b'))),     # archives
       suffix=st.sampled_from(SUFFIXES))
def test_sniffing_random_bytes(content, suffix, tmp_path_factory):
    sniffed(tmp_path_factory.getbasetemp() / f'random{suffix}', content)


@pytest.mark.parametrize('name', FORMATS)
def test_sniffing_what_is_cut_or_has_another_name(name, tmp_path):
    for n, (inner, content) in enumerate(files_of(os.path.join(EXPORTS, name)).items()):
        for suffix in SUFFIXES:
            sniffed(tmp_path / f'{n}{suffix}', content)
        for end in range(0, len(content), 1 + len(content) // 20):
            sniffed(tmp_path / os.path.basename(inner), content[:end])


JUNK = [b'{', b'}', b'[', b']', b'"', b"'", b',', b':', b'\0', b'\n', b'\r', b'\n\n', b'\\', b'\\u0000', b'\\ud83d', b'\xff', b'\xed\xa0\x80', b'\xe2\x80\xa8', b'\x1a', b'\t',
        b'9' * 30, b'-1', b'1e999', b'9' * 5000, b'null', b'NaN', b'[' * 3000, b'<div>', b'</div>', b'<|endoftext|>', b'""', b'"x', b' __eou__ ', b' +++$+++ ']
PLACE = st.floats(0, 1, exclude_max=True)
HITS = st.lists(st.tuples(PLACE, st.one_of(st.sampled_from(JUNK), st.integers(0, 255))), min_size=1, max_size=3)    # bytes put in, or one put there instead
MOVES = st.lists(st.tuples(PLACE, PLACE, st.sampled_from(['cut', 'remove', 'repeat', 'swap'])), min_size=1, max_size=3)


def hit(content, place, with_what):
    at = int(place * len(content))
    return content[:at] + (with_what + content[at:] if isinstance(with_what, bytes) else bytes([with_what]) + content[at + 1:])


def moved(content, one, other, how):
    a, b = sorted((int(one * len(content)), int(other * len(content))))
    return {'cut': content[:a], 'remove': content[:a] + content[b:], 'repeat': content[:b] + content[a:],
            'swap': content[b:] + content[a:b] + content[:a]}[how]


class Damaged:
    """The example of a format in a folder of its own; `with_file` reads it while one of its files holds something else."""

    def __init__(self, name, folder):
        self.folder = shutil.copytree(os.path.join(EXPORTS, name), os.path.join(folder, name))
        self.files = files_of(self.folder)
        self.plan, threads, self.tally = read(self.folder)
        self.texts = {turn.text for thread in threads for turn in thread.turns}

    def with_file(self, place, damage):
        """-> (turns' texts, whether it was told that something is not read)"""
        inner = list(self.files)[int(place * len(self.files))]
        path = os.path.join(self.folder, inner)
        with open(path, 'wb') as file:
            file.write(damage(self.files[inner]))
        start = time.perf_counter()
        plan, threads, tally = read(self.folder)
        assert well_formed(threads, tally) and time.perf_counter() - start < 5
        with open(path, 'wb') as file:
            file.write(self.files[inner])
        told = tally.broken or plan.unknown or len(plan.others) > len(self.plan.others) or tally.dropped - self.tally.dropped or tally.notes != self.tally.notes
        return '\n'.join(turn.text for thread in threads for turn in thread.turns), told


@pytest.fixture(scope='module')
def damaged(tmp_path_factory):
    examples = {}

    def damaged(name):
        if name not in examples:
            examples[name] = Damaged(name, tmp_path_factory.mktemp('damaged'))
        return examples[name]
    return damaged


@pytest.mark.parametrize('name', FORMATS)
@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(place=PLACE, hits=HITS)
def test_a_file_with_wrong_bytes_in_it_loses_nothing_silently(damaged, name, place, hits):
    def damage(content):
        for each in hits:
            content = hit(content, *each)
        return content

    texts, told = damaged(name).with_file(place, damage)
    lost = [text for text in damaged(name).texts if text not in texts]
    assert told or len(lost) <= len(hits), lost         # where it was hit a message may have changed


@pytest.mark.parametrize('name', FORMATS)
@settings(max_examples=50, derandomize=True, deadline=None, database=None)
@given(place=PLACE, moves=MOVES)
def test_a_file_in_pieces_is_read_without_a_crash(damaged, name, place, moves):
    def damage(content):
        for move in moves:
            content = moved(content, *move)
        return content

    damaged(name).with_file(place, damage)


@pytest.mark.parametrize('name', FORMATS)
def test_read_as_this_format_whatever_it_is(name, tmp_path):
    """--format NAME reads a named file unrecognised."""
    contents = [b'', b'{}', b'[]', b'[[]]', b'null', b'[' * 999, b'\xff' * 99, b'a,b\n"', b'x\n' * 99, b'{"messages": [{"messages": 5}]}', b'{"dialogue": 5}\n[1]\n']
    for other in FORMATS:
        contents.append(next(iter(files_of(os.path.join(EXPORTS, other)).values())))
    for n, content in enumerate(contents):
        for suffix in ('.json', '.txt', '.csv', '.html', '.zst', ''):
            path = tmp_path / f'{n}{suffix}'
            path.write_bytes(content)
            _, threads, tally = read(path, format=name)
            assert well_formed(threads, tally)


# ---- what readers share

def table(tmp_path, text):
    (tmp_path / 'table.csv').write_text(text, newline='')
    return next(iter(Export(str(tmp_path / 'table.csv')).sources.values()))


def test_rows_of_a_table(tmp_path):
    assert list(records.rows(table(tmp_path, 'a,b\r\n\r\n"1 ""x""\r\ny",2\r\n3'))) == [['a', 'b'], ['1 "x"\r\ny', '2'], ['3']]
    assert records.first_rows(table(tmp_path, 'a,b\n1,2\n3,4\n')) == (['a', 'b'], ['1', '2'])
    assert records.first_rows(table(tmp_path, '')) == ([], [])


@pytest.mark.parametrize('text', ['a,b\n1,"2\n3,4\n5,6', 'a,b\n1,"2\n', 'a,b\n1,"' + 'x' * 200_000])
def test_a_table_that_ends_within_a_cell_is_damaged(tmp_path, text):
    found = []
    with pytest.raises(DAMAGE):
        for row in records.rows(table(tmp_path, text)):
            found.append(row)
    assert found == [['a', 'b']]


@pytest.mark.parametrize('text, milliseconds', [
    ('2020-08-09T12:00:00+00:00', NOON), ('2020-08-09T12:00:00.1234567+00:00', NOON + 123), ('2020-08-09T12:00:00.5Z', NOON + 500),
    ('2020-08-09T14:00:00+02:00', NOON), ('2020-08-09T08:30:00.000-03:30', NOON), ('2020-08-09T11:30:00-00:30', NOON), ('2020-08-09 12:00:00', NOON),
    ('2020-08-09T12:00', NOON), ('1960-01-01T00:00:00.250', -315619199750), ('yesterday', None), ('2020-02-30T12:00:00Z', None), (None, None), ('', None),
    (5, None), ('٢٠٢٠-08-09T12:00', None)])
def test_iso_times(text, milliseconds):
    assert times.iso_time(text) == milliseconds


@pytest.mark.parametrize('moment, half, milliseconds', [
    (('2020', '8', '9', '12', '00', None), 'P', NOON), ((2020, 8, 9, 12, 0), 'AM', NOON - 43_200_000), ((2020, 8, 9, 1, 0, 1), 'pm', NOON + 3_601_000),
    ((2020, 8, 9, 12, 0), None, NOON), ((2021, 2, 29, 12, 0), '', None), ((2020, 0, 9, 12, 0), '', None), ((2020, 8, 9, 25, 0), '', None)])
def test_times_of_day(moment, half, milliseconds):
    assert times.milliseconds(*moment, half=half) == milliseconds
    assert milliseconds is None or times.milliseconds(*moment, half=half, ahead=-90) == milliseconds + 5_400_000


def test_months_in_their_languages():
    names = 'Jan Februar März avril mayo juin lipca août Sept. październik nov. décembre'.split()
    assert [times.month(name) for name in names] == list(range(1, 13)) and times.month('Foo') == times.month('') == 0


def test_speakers_never_collide():
    speakers = readers.Speakers()
    names = ['A', 'A (2)', 'A', 'A', '\ud83d', '\udf0a', 'B']
    assert [speakers.name(key, name) for key, name in enumerate(names)] == ['A', 'A (2)', 'A (3)', 'A (4)', '\ufffd', '\ufffd (2)', 'B']
    assert speakers.name(0, 'renamed') == 'A'


def test_line_ends_and_halves_of_characters(tmp_path):
    (tmp_path / 'chats.jsonl').write_text(r'{"messages": [{"role": "\ud83d", "content": "a\r\nb\rc \ud83d\ude00 \ud83d"}]}')
    thread, = readers.read(tmp_path / 'chats.jsonl')
    assert thread.turns == [('\ufffd', 'a\nb\nc 😀 \ufffd', None)]


# ---- adding a format

ADDED = '''"""Letters, a line each: `name|words`.

    mara|Are you there?
"""
from src.dialogue import Turn
from src.readers import Thread

NAME = 'letters'


def sniff(source):
    return (1, 'lines with |') if source.suffix == '.letters' else (0, 'no .letters')


def read(sources, tally):
    for source in sources:
        with source.text() as file:
            yield Thread([Turn(*line.rstrip().split('|')) for line in file])
'''


def test_a_file_more_is_a_format_more(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, '__path__', [*readers.__path__, str(tmp_path)])
    (tmp_path / 'letters.py').write_text(ADDED)
    (tmp_path / 'shared_by_two.py').write_text('"""No NAME, no format."""\n')
    (tmp_path / 'chat.letters').write_text('mara|Are you there?\ntheo|Yes\n')
    importlib.invalidate_caches()
    readers.formats.cache_clear()
    try:
        assert sorted(readers.formats()) == sorted([*FORMATS, 'letters'])
        thread, = readers.read(tmp_path / 'chat.letters')
        assert thread.turns == [('mara', 'Are you there?', None), ('theo', 'Yes', None)] and thread.format == 'letters'
    finally:
        readers.formats.cache_clear()
        for name in ('letters', 'shared_by_two'):
            sys.modules.pop(f'src.readers.{name}', None)
            vars(readers).pop(name, None)


# ---- the front door

def test_a_file_a_folder_or_an_archive(tmp_path):
    folder = os.path.join(EXPORTS, 'script')
    with zipfile.ZipFile(tmp_path / 'script.zip', 'w') as archive:
        archive.write(os.path.join(folder, 'series.csv'), 'series.csv')
    found = [list(readers.read(path)) for path in (folder, os.path.join(folder, 'series.csv'), tmp_path / 'script.zip')]
    assert found[0] == found[1] == found[2] and [thread.title for thread in found[0]] == ['Pilot', 'The Bridge']


def test_an_unknown_format_is_told_with_the_closest(tmp_path):
    (tmp_path / 'chat.csv').write_text('Author,Date,Content\nMara,09-Aug-20,hi\n')
    with pytest.raises(UserError, match=r'chat\.csv is in no format that is known here \(discord: no AuthorID: export it again by a newer version'):
        list(readers.read(tmp_path / 'chat.csv'))
    (tmp_path / 'letter.txt').write_text('Dear all, this is no chat.')
    with pytest.raises(UserError, match=r'letter\.txt is in no format that is known here \(plain: no lines like "Name: text".*; whatsapp: no line starts with date'):
        list(readers.read(tmp_path / 'letter.txt'))
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'a.jpg').write_bytes(b'\xff\xd8')
    with pytest.raises(UserError, match='photos holds no chats'):
        list(readers.read(tmp_path / 'photos'))


@pytest.mark.parametrize('name', ['_chat.txt', 'WhatsApp Chat mit Ada.txt', 'message_1.json', 'message_12.html', 'prices.csv'])
def test_a_file_called_like_a_chat_is_told_if_it_is_none(tmp_path, name):
    (tmp_path / name).write_text('nothing,of\nthe,sort\n')
    (tmp_path / 'letter.txt').write_text('Dear all, this is no chat.')
    plan, _, _ = read(tmp_path)
    assert [os.path.basename(path) for path, _ in plan.unknown] == [name] and plan.unknown[0][1] and len(plan.others) == 1


@pytest.mark.parametrize('page, advice', [
    ('<div class="chatlog__message-group"><div class="chatlog__message">hi</div></div>', 'discord: a page of DiscordChatExporter: export JSON or CSV'),
    ('<span class="timestamp"><a href="sms://open?message-guid=5">May 17, 2022</a></span>', 'imessage: a page of imessage-exporter: export with -f txt')])
def test_pages_that_are_not_read_say_what_to_export(tmp_path, page, advice):
    (tmp_path / 'chat.html').write_text(f'<!DOCTYPE html><html><body>{page}</body></html>')
    for path in (tmp_path, tmp_path / 'chat.html'):
        (_, why), = read(path)[0].unknown
        assert why.startswith(advice)


def test_a_format_that_is_named_is_the_only_one_in_a_folder(tmp_path):
    (tmp_path / 'chat').write_text('Mara: hi\n')
    shutil.copytree(os.path.join(EXPORTS, 'script'), tmp_path / 'script')
    plan, threads, _ = read(tmp_path, format='script')
    assert len(threads) == 2 and [os.path.basename(path) for path in plan.others] == ['chat']


def test_a_format_that_is_named(tmp_path):
    (tmp_path / 'chat').write_text('Mara: hi\n')         # too little to be recognised
    with pytest.raises(UserError):
        list(readers.read(tmp_path / 'chat'))
    thread, = readers.read(tmp_path / 'chat', format='plain')
    assert thread.turns == [('Mara', 'hi', None)]
    with pytest.raises(UsageError, match="no format 'plian'; there are .*plain"):
        list(readers.read(tmp_path / 'chat', format='plian'))


def test_a_damaged_file_does_not_keep_the_others_from_being_read(tmp_path):
    (tmp_path / 'a.json').write_text('[[{"owner": true, "content": "first"}], [{"owner": false, "con')
    (tmp_path / 'b.json').write_text('[[{"owner": true, "content": "second"}]]')
    assert [thread.turns[0].text for thread in readers.read(tmp_path)] == ['first', 'second']

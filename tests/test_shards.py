"""Rows on the disk against the arrays that they were written from, and what becomes of the temporary files."""
import errno
import os
import tempfile
import tracemalloc
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src import shards
from src.console import UserError
from src.shards import Column, File, Npz, Rows, Scratch

ARRAYS = {'arr_0': np.arange(1000, dtype=np.uint16), 'arr_1': np.arange(-40, 9000, dtype='>i4'), 'none': np.zeros(0, np.int64), 'b': np.array([7], np.uint8)}
slices = st.builds(slice, *[st.none() | st.integers(-1200, 1200)] * 2)


def same(numbers):
    return numbers


def written(path, compression, arrays=ARRAYS):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, array in arrays.items():
            with archive.open(f'{name}.npy', 'w') as npy:
                np.lib.format.write_array(npy, array)
    return str(path)


@pytest.fixture(scope='module', params=[(zipfile.ZIP_STORED, 1 << 20), (zipfile.ZIP_DEFLATED, 1 << 20), (zipfile.ZIP_DEFLATED, 500), (zipfile.ZIP_BZIP2, 1 << 20)],
                ids=['stored', 'deflated', 'deflated and large', 'bzip2'])
def rows(request, tmp_path_factory):
    """{name: Row} of ARRAYS, however the zip has them, and how many bytes had to be unpacked."""
    compression, small = request.param
    path = written(tmp_path_factory.mktemp('rows') / 'a.npz', compression)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, 'SMALL', small)
        npz, scratch = Npz(path), Scratch(path)
        found = {name: npz.row(name, File(path), scratch, same) for name in npz}
        assert npz.to_unpack == scratch.size + 128 * (scratch.size > 0) * len([name for name in npz if found[name].source is scratch])
    return SimpleNamespace(found=found, unpacked=scratch.size)


def test_a_row_is_what_the_array_was(rows):
    assert list(rows.found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert len(rows.found[name]) == len(array) and (rows.found[name][:] == array).all()
        assert np.concatenate([np.zeros(0, array.dtype), *shards.blocks(rows.found[name], 3)]).tolist() == array[3:].tolist()


def test_what_is_unpacked(request, rows):
    kind = request.node.callspec.id
    assert rows.unpacked == {'stored': 0, 'deflated': 0, 'deflated and large': ARRAYS['arr_0'].nbytes + ARRAYS['arr_1'].nbytes,
                             'bzip2': sum(array.nbytes for array in ARRAYS.values())}[kind]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(where=slices, i=st.integers(-1000, 999))
def test_slices_and_numbers(rows, where, i):
    for name, array in ARRAYS.items():
        assert rows.found[name][where].tolist() == array[where].tolist()
    assert rows.found['arr_0'][i] == ARRAYS['arr_0'][i] and isinstance(rows.found['arr_0'][i], int)


def test_an_empty_row_alone(tmp_path):
    path = written(tmp_path / 'a.npz', zipfile.ZIP_BZIP2, {'none': np.zeros(0, np.uint8)})
    assert Npz(path).row('none', File(path), Scratch(path), same)[:].tolist() == []


def test_behind_the_end_there_is_nothing(rows):
    with pytest.raises(IndexError):
        rows.found['arr_0'][1000]
    assert list(rows.found['b']) == [7]


def test_every_number_is_checked_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, 'BLOCK', 128)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        path = written(tmp_path / 'a.npz', compression)
        for read in (lambda check: Npz(path).array('arr_1', check), lambda check: Npz(path).row('arr_1', File(path), Scratch(path), same, check)[:]):
            seen = []
            assert read(seen.append).tolist() == ARRAYS['arr_1'].tolist() == np.concatenate(seen).tolist()
            assert len(seen) > 9


def test_many_rows_take_little_memory():
    rows = Rows('')
    for i in range(5000):
        rows.append(shards.Row(None, np.dtype(np.uint16), same, i, 0, 128, 10 ** 10 + i))
    assert len(rows) == 5000 and [(row.offset, len(row)) for row in rows][-2:] == [(4998, 10 ** 10 + 4998), (4999, 10 ** 10 + 4999)]
    assert rows[-1].offset == 4999 and 5000 * 40 <= rows._places.itemsize * len(rows._places) <= 5000 * 48
    with pytest.raises(IndexError):
        rows[5000]


def test_parts_of_rows(tmp_path):
    path = written(tmp_path / 'a.npz', zipfile.ZIP_DEFLATED)
    npz, rows = Npz(path), Rows(path)
    for name in npz:
        rows.append(npz.row(name, File(path), Scratch(path), same))
    parts = rows.cut([(1, 5, 9), (0, 0, 1000), (1, 8000, 9040)])
    assert [part[:].tolist() for part in parts] == [ARRAYS['arr_1'][5:9].tolist(), ARRAYS['arr_0'].tolist(), ARRAYS['arr_1'][8000:9040].tolist()]
    assert parts.cut([(2, 10, 12)])[0][:].tolist() == ARRAYS['arr_1'][8010:8012].tolist() and len(rows) == 4


def test_a_file_that_changed_meanwhile_is_not_read_on(tmp_path):
    path = written(tmp_path / 'a.npz', zipfile.ZIP_STORED)
    row = Npz(path).row('arr_0', File(path), Scratch(path), same)
    assert row[5] == 5
    written(tmp_path / 'a.npz', zipfile.ZIP_STORED, {'arr_0': np.zeros(1000, np.uint16), 'arr_1': np.zeros(2)})
    with pytest.raises(UserError, match='a.npz has changed since it was opened: start again'):
        row[5]


def test_a_length_that_is_not_so_is_damage(tmp_path):
    for numbers in (99, 101, 10 ** 15):
        with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive, archive.open('arr_0.npy', 'w') as npy:
            np.lib.format.write_array_header_1_0(npy, {'descr': '<u2', 'fortran_order': False, 'shape': (numbers,)})
            npy.write(bytes(200))
        with pytest.raises(UserError, match='a.npz is no npz of token arrays, or it is damaged .*length'):
            Npz(str(tmp_path / 'a.npz')).array('arr_0')


# ---- columns

@settings(deadline=None, derandomize=True, max_examples=60)
@given(parts=st.lists(st.lists(st.integers(-2 ** 40, 2 ** 40), max_size=5), max_size=9), in_memory=st.sampled_from([0, 40, 1000]))
def test_a_column_is_all_that_was_added(parts, in_memory):
    column = Column(Scratch(), np.int64, in_memory)
    whole = [number for part in parts for number in part]
    for _ in range(2):                                  # and the next one begins anew
        for part in parts:
            column.add(part)
        assert len(column) == len(whole)
        row = column.row()
        assert isinstance(row, np.ndarray) is (8 * len(whole) <= in_memory)
        assert row[:].dtype == np.int64 and row[:].tolist() == whole and row[1:3].tolist() == whole[1:3] and len(column) == 0


# ---- temporary files

def test_temporary_files_have_no_name_and_lie_where_they_may(tmp_path, monkeypatch):
    here, there = tmp_path / 'here', tmp_path / 'there'
    here.mkdir(), there.mkdir()
    monkeypatch.delenv('TMPDIR', raising=False)
    assert Scratch(str(here / 'a.npz')).folder == str(here)
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    assert Scratch(str(here / 'a.npz')).folder == tempfile.gettempdir()
    monkeypatch.undo()
    monkeypatch.setenv('TMPDIR', str(there))
    monkeypatch.setattr(tempfile, 'tempdir', None)      # found out once in a process, as a rule
    scratch = Scratch(str(here / 'a.npz'))
    assert scratch.folder == str(there)
    at = scratch.reserve(3), scratch.reserve(2)
    scratch.write(at[1], b'de')
    scratch.write(at[0], b'abc')
    assert (at, scratch.size, scratch.read(1, 3)) == ((0, 3), 5, b'bcd') and os.listdir(here) == os.listdir(there) == []


def test_a_full_disk_is_told_with_the_way_out(tmp_path, monkeypatch):
    def full(**settings):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(tempfile, 'TemporaryFile', full)
    scratch = Scratch(str(tmp_path / 'a.npz'))
    with pytest.raises(UserError, match=r'has no room for a temporary file of 2\.5 GB \([\d.]+ GB are free\).*TMPDIR'):
        scratch.write(scratch.reserve(2_500_000_000), b'x')
    assert scratch.has_room(1000) and not scratch.has_room(1 << 60)


def test_memory_does_not_grow_with_a_row(tmp_path):
    sizes = []
    for length in (10_000, 20_000_000):
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / 'a.npz', np.zeros(length, np.uint16))
            path = str(tmp_path / 'a.npz')
            tracemalloc.start()
            row = Npz(path).row('arr_0', File(path), Scratch(path), same, len)
            assert row[length - 9:].tolist() == [0] * 9
            sizes.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert max(sizes) < 5 * shards.BLOCK

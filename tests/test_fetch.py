"""fetch: one dataset archive from a server that cuts, lies and refuses (the same machinery under the models: test_download.py)."""
import hashlib
import io
import os
import shutil
import tarfile
from collections import namedtuple

import pytest

from src.console import UserError
from src.fetch import Patience, Unreachable, fetch

QUICK = Patience(tries=3, pause=0.01, connect=5, stall=1)


def tar_gz():
    """A dataset of 300 kB that hardly compresses."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w:gz') as archive:
        info = tarfile.TarInfo('dailydialog/train.json')
        content = hashlib.shake_256(b'dialogues').digest(300_000)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def archive(server):
    """The bytes of dailydialog.tar.gz; the server says nothing of them but their size."""
    content = tar_gz()
    server.put('datasets', {'dailydialog.tar.gz': content})
    server.headers['/gpt2/datasets/dailydialog.tar.gz'] = {}
    return content


@pytest.fixture
def url(server):
    return f'{server.url}/datasets/dailydialog.tar.gz'


def test_one_file_into_a_new_folder_and_then_nothing_more(server, archive, url, tmp_path):
    path = tmp_path / 'datasets' / 'dailydialog.tar.gz'
    assert fetch(url, path, patience=QUICK) == path
    assert path.read_bytes() == archive and os.listdir(path.parent) == ['dailydialog.tar.gz']
    asked = len(server.seen)
    assert fetch(url, path, patience=QUICK) == path
    assert len(server.seen) == asked                    # not even the headers


def test_a_path_without_a_folder(archive, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fetch(url, 'dailydialog.tar.gz', patience=QUICK)
    assert (tmp_path / 'dailydialog.tar.gz').read_bytes() == archive


def test_a_cut_archive_is_resumed(server, archive, url, tmp_path):
    server.faults['/gpt2/datasets/dailydialog.tar.gz'] = [('cut', 150_000)]
    path = fetch(url, tmp_path / 'dailydialog.tar.gz', patience=QUICK)
    assert path.read_bytes() == archive
    assert 130_000 < int(server.bodies()[1].range[len('bytes='):-1]) <= 150_000
    with tarfile.open(path) as unpacked:
        assert unpacked.getnames() == ['dailydialog/train.json']


def test_the_next_call_resumes_what_the_last_one_left(server, archive, url, tmp_path):
    path = tmp_path / 'dailydialog.tar.gz'
    server.faults['/gpt2/datasets/dailydialog.tar.gz'] = [('cut', 150_000)] + [('cut', 0)] * 3
    with pytest.raises(Unreachable, match='the connection was cut .*same command again, it resumes'):
        fetch(url, path, patience=QUICK)
    assert not path.exists() and (tmp_path / 'dailydialog.tar.gz.part').stat().st_size > 130_000
    assert fetch(url, path, patience=QUICK).read_bytes() == archive
    assert server.bodies()[-1].range is not None


def test_a_missing_file_is_one_sentence_at_once(server, url, tmp_path):
    with pytest.raises(UserError) as error:
        fetch(url, tmp_path / 'datasets' / 'dailydialog.tar.gz', patience=QUICK)
    assert str(error.value) == f'{url}: the server answered 404 Not Found; check the address, or name another server with --mirror URL.'
    assert len(server.seen) == 1 and not os.listdir(tmp_path)


def test_a_wrong_size_is_refused(server, archive, url, tmp_path):
    server.headers['/gpt2/datasets/dailydialog.tar.gz'] = {'Content-Length': len(archive) + 1000}
    server.faults['/gpt2/datasets/dailydialog.tar.gz'] = [('cut', len(archive))] * 9
    with pytest.raises(Unreachable):
        fetch(url, tmp_path / 'dailydialog.tar.gz', patience=QUICK)
    assert not (tmp_path / 'dailydialog.tar.gz').exists()


def test_wrong_bytes_are_refused(server, archive, url, tmp_path):
    with pytest.raises(Unreachable, match='wrong bytes came .*SHA-256'):
        fetch(url, tmp_path / 'dailydialog.tar.gz', sha256='0' * 64, patience=QUICK)
    assert not os.listdir(tmp_path)


def test_a_file_that_is_not_the_published_one_is_kept_aside(archive, url, tmp_path, capsys):
    path = tmp_path / 'dailydialog.tar.gz'
    path.write_bytes(b'mine')
    fetch(url, path, sha256=hashlib.sha256(archive).hexdigest(), patience=QUICK)
    assert path.read_bytes() == archive and (tmp_path / 'dailydialog.tar.gz.old1').read_bytes() == b'mine'
    assert 'dailydialog.tar.gz.old1' in capsys.readouterr().out


def test_a_folder_in_the_place_of_the_file(server, archive, url, tmp_path):
    with pytest.raises(UserError, match='is a folder; name the file'):
        fetch(url, tmp_path, patience=QUICK)
    (tmp_path / 'datasets').write_text('')
    with pytest.raises(UserError, match='datasets is not a folder; choose another'):
        fetch(url, tmp_path / 'datasets' / 'dailydialog.tar.gz', patience=QUICK)


def test_a_full_disk_is_seen_before_anything_is_written(archive, url, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: namedtuple('usage', 'total used free')(10**9, 10**9, 1000))
    with pytest.raises(UserError, match=r'300 kB are needed, 1\.00 kB are free; free some space, or choose another disk\.'):
        fetch(url, tmp_path / 'datasets' / 'dailydialog.tar.gz', patience=QUICK)
    assert not os.listdir(tmp_path)

"""Exports as they lie about: folders, archives and files, whole, damaged and malicious."""
import gzip
import io
import itertools
import json
import os
import random
import resource
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib

import ijson
import pytest

from src import source
from src.console import UserError
from src.source import DAMAGE, Export

FILES = {'messages/inbox/alice_1/message_1.json': b'{"messages": [1]}', 'messages/inbox/alice_1/photos/1.jpg': b'\xff\xd8', 'read me.txt': b'hello\n'}


def make_zip(members, method=zipfile.ZIP_DEFLATED):
    """{name or ZipInfo: bytes}, or pairs of them -> the bytes of a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', method) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return file.getvalue()


def make_tar(members, mode='w', format=tarfile.PAX_FORMAT):
    """{name: bytes, or a TarInfo to take as it is} -> the bytes of a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=format) as archive:
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(data, tarfile.TarInfo):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return file.getvalue()


def tar_link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def put(folder, name, data):
    """Write a file. Returns its path."""
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)
    return path


def content(export):
    """{inner: bytes} of what can be read."""
    found = {}
    for inner, one in export.sources.items():
        with one.open() as file:
            found[inner] = file.read()
    return found


def only(path, **options):
    """The one Source of an Export."""
    [one] = Export(str(path), **options).sources.values()
    return one


def refused(export):
    """{path from the export on: why}"""
    assert all(path.startswith(export.path) for path, _ in export.refused)
    return {path[len(export.path) + 1:]: why for path, why in export.refused}


# ---- folder, file, archive

def test_a_folder_is_read_as_it_lies(tmp_path):
    for name, data in FILES.items():
        put(tmp_path, name, data)
    export = Export(str(tmp_path))
    assert content(export) == FILES and list(export.sources) == sorted(FILES) and not export.is_file and export.refused == []
    one = export.sources['messages/inbox/alice_1/message_1.json']
    assert (one.name, one.suffix, one.folder, one.size) == ('message_1.json', '.json', 'messages/inbox/alice_1', 17)
    assert one.path == f'{tmp_path}/messages/inbox/alice_1/message_1.json' and one.path in repr(one)
    assert one.json() == {'messages': [1]} and one.head == FILES[one.inner]


def test_a_file_is_its_own_only_source(tmp_path):
    path = put(tmp_path, 'Chat.TXT', b'hello')
    export = Export(path)
    one = export.sources['Chat.TXT']
    assert export.is_file and list(export.sources) == ['Chat.TXT']
    assert (one.path, one.name, one.suffix, one.folder, one.size, one.head) == (path, 'Chat.TXT', '.txt', '', 5, b'hello')
    assert one.beside('users.json') is None and one.beside('../x') is None


@pytest.mark.parametrize('name, data', [('a.zip', make_zip(FILES)), ('stored.zip', make_zip(FILES, zipfile.ZIP_STORED)), ('a.tar', make_tar(FILES)),
                                        ('gnu.tar', make_tar(FILES, format=tarfile.GNU_FORMAT)), ('a.tar.gz', make_tar(FILES, 'w:gz')),
                                        ('a.tgz', make_tar(FILES, 'w:gz')), ('zip with no suffix', make_zip(FILES)),
                                        ('gzip called.zip', make_tar(FILES, 'w:gz'))])
def test_an_archive_is_read_in_place(tmp_path, name, data):
    export = Export(put(tmp_path, name, data))
    assert content(export) == FILES and list(export.sources) == sorted(FILES) and export.refused == [] and not export.is_file
    assert [one.size for one in export.sources.values()] == [len(FILES[inner]) for inner in sorted(FILES)]
    assert export.sources['read me.txt'].path == f'{tmp_path}/{name}/read me.txt'
    assert os.listdir(tmp_path) == [name]                           # nothing is unpacked


@pytest.mark.parametrize('inner', ['parts/1.zip', 'parts/1.tar', 'parts/1.tgz'])
@pytest.mark.parametrize('outer', ['all.zip', 'all.tar', 'all.tar.gz', 'folder'])
def test_archives_within_archives_and_folders(tmp_path, inner, outer):
    data = make_zip(FILES) if inner.endswith('zip') else make_tar(FILES, 'w:gz' if inner.endswith('tgz') else 'w')
    if outer == 'folder':
        put(tmp_path, 'folder/' + inner, data)
    else:
        put(tmp_path, outer, make_zip({inner: data}) if outer == 'all.zip' else make_tar({inner: data}, 'w' if outer == 'all.tar' else 'w:gz'))
    export = Export(str(tmp_path / outer))
    assert content(export) == {f'{inner}/{name}': data for name, data in FILES.items()} and export.refused == []
    assert export.sources[f'{inner}/read me.txt'].path == f'{tmp_path}/{outer}/{inner}/read me.txt'


def test_two_files_of_an_archive_can_be_read_at_once(tmp_path):
    lines = [b'%d\n' % i for i in range(50_000)]
    data = {'a': b''.join(lines), 'b': b''.join(reversed(lines))}
    for name, archive in (('a.zip', make_zip({'in.zip': make_zip(data)})), ('a.tar', make_tar({'in.tar': make_tar(data)}))):
        a, b = Export(put(tmp_path, name, archive)).sources.values()
        with a.open() as first, b.open() as second:
            assert all((x, y) == (i, j) for x, y, i, j in itertools.zip_longest(first, second, lines, reversed(lines)))


def test_hidden_files_are_left_out(tmp_path):
    hidden = {'.DS_Store': b'', '__MACOSX/._chat.txt': b'', '__MACOSX/chat.txt': b'', 'a/.git/x': b'', './.x/y': b''}
    for name, data in ({'chat.txt': b'x'} | hidden).items():
        put(tmp_path, 'folder/' + name, data)
    put(tmp_path, 'a.zip', make_zip({'./chat.txt': b'x', 'folder/': b''} | hidden))
    put(tmp_path, 'a.tar', make_tar({'./chat.txt': b'x'} | hidden))
    put(tmp_path, '.chats/chat.txt', b'x')                          # what the user names is not hidden to him
    for name in ('folder', 'a.zip', 'a.tar', '.chats'):
        export = Export(str(tmp_path / name))
        assert list(export.sources) == ['chat.txt'] and export.refused == []


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match='gone.zip: there is no such file or folder; check the path'):
        Export(str(tmp_path / 'gone.zip'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='the folder holds no files'):
        Export(str(tmp_path / 'empty'))
    assert Export(put(tmp_path, 'empty.zip', make_zip({}))).sources == {}
    assert content(Export(put(tmp_path, 'empty.txt', b''))) == {'empty.txt': b''}


def test_beside_finds_what_lies_around(tmp_path):
    names = ['users.json', 'general/2024-01-01.json', 'general/2024-01-02.json', 'channels.json']
    for name in names:
        put(tmp_path, 'slack/' + name, b'')
    zipped = make_zip({'./' + name: b'' for name in names})
    for path in (tmp_path / 'slack', put(tmp_path, 'slack.zip', zipped), put(tmp_path, 'slack.tar', make_tar({'./' + name: b'' for name in names}))):
        sources = Export(str(path)).sources
        one = sources['general/2024-01-01.json']
        assert one.beside('2024-01-02.json') is sources['general/2024-01-02.json']
        assert one.beside('../users.json') is sources['users.json'] is sources['channels.json'].beside('./users.json')
        assert one.beside('users.json') is None and one.beside('../../users.json') is None and one.beside('..') is None


# ---- what is in the way in folders

def test_links_in_folders(tmp_path):
    put(tmp_path, 'chats/a.txt', b'x')
    put(tmp_path, 'elsewhere/b.txt', b'y')
    os.symlink(tmp_path / 'chats', tmp_path / 'chats' / 'again')   # a loop
    os.symlink('round', tmp_path / 'chats' / 'round')
    os.symlink('gone', tmp_path / 'chats' / 'nowhere')
    os.symlink(tmp_path / 'elsewhere' / 'b.txt', tmp_path / 'chats' / 'b.txt')
    export = Export(str(tmp_path / 'chats'))
    assert content(export) == {'a.txt': b'x', 'b.txt': b'y'}        # the user's own links to files are followed
    assert set(refused(export)) == {'round', 'nowhere'}


def test_pipes_are_not_waited_for(tmp_path):
    put(tmp_path, 'a.txt', b'x')
    os.mkfifo(tmp_path / 'pipe')
    export = Export(str(tmp_path))
    assert list(export.sources) == ['a.txt'] and refused(export) == {'pipe': 'a pipe or device, no file'}
    with pytest.raises(UserError, match='pipe is a pipe or a device: save what comes out of it to a file'):
        Export(str(tmp_path / 'pipe'))


def test_a_file_that_vanishes_or_cannot_be_opened(tmp_path, monkeypatch):
    for name, data in {'a.txt': b'x', 'b.txt': b'y', 'c.zip': make_zip(FILES)}.items():
        put(tmp_path, name, data)
    export = Export(str(tmp_path))
    os.remove(tmp_path / 'a.txt')
    os.remove(tmp_path / 'c.zip')
    for name in ('a.txt', 'c.zip/read me.txt'):
        for use in (lambda one: one.head, lambda one: one.start, lambda one: one.text(), lambda one: one.json(), lambda one: list(one.json_items('item'))):
            with pytest.raises(DAMAGE):
                use(export.sources[name])
    assert export.sources['b.txt'].head == b'y'

    put(tmp_path, 'c.zip', make_zip(FILES))
    real, getsize = open, os.path.getsize

    def deny(path, *rest, **options):
        if str(path).endswith('c.zip'):
            raise PermissionError(13, 'Permission denied', str(path))
        return real(path, *rest, **options)

    def vanish(path):
        if str(path).endswith('b.txt'):
            raise FileNotFoundError(2, 'No such file or directory', str(path))
        return getsize(path)
    monkeypatch.setattr('builtins.open', deny)
    monkeypatch.setattr(os.path, 'getsize', vanish)
    export = Export(str(tmp_path))
    assert set(refused(export)) == {'b.txt', 'c.zip'} and export.sources == {}
    with pytest.raises(UserError, match='c.zip: permission denied; check who owns it'):
        Export(str(tmp_path / 'c.zip'))


def test_more_archives_than_a_system_lets_us_open(tmp_path):
    for i in range(100):
        put(tmp_path, f'{i:03}.zip', make_zip({'chat.txt': b'%d' % i}))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/dev/fd')) + 30, limits[1]))
    try:
        export = Export(str(tmp_path))
        assert list(content(export).values()) == [b'%d' % i for i in range(100)] and export.refused == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_names_that_are_no_text(tmp_path):
    try:
        put(os.fsencode(tmp_path), b'caf\xe9.txt', b'x')
    except OSError:
        pytest.skip('this file system takes only names that are text')
    one = only(tmp_path)
    assert one.name == 'caf\ufffd.txt' and one.path.encode() and one.head == b'x'
    one = only(put(tmp_path, 'a.tar', make_tar({os.fsdecode(b'caf\xe9.txt'): b'x'}, format=tarfile.GNU_FORMAT)))
    assert one.name == 'caf\ufffd.txt' and one.head == b'x'


# ---- names in archives

OUTSIDE = ['../x', '/etc/x', 'C:\\x', 'a/../../x', '..\\x', '\\\\host\\x', 'C:x']


@pytest.mark.parametrize('make, name', [(make_zip, 'a.zip'), (make_tar, 'a.tar')])
def test_paths_that_lead_out_are_refused_and_named(tmp_path, make, name):
    export = Export(put(tmp_path, name, make({path: b'evil' for path in OUTSIDE} | {'chat.txt': b'x', 'a..b/..c': b'', '...': b''})))
    assert list(export.sources) == ['chat.txt']
    assert {why for _, why in export.refused} == {'its path leads out of the archive'}
    assert set(refused(export)) == {path.replace('\\', '/') for path in OUTSIDE}
    within = Export(put(tmp_path, 'all.zip', make_zip({'in/' + name: make({'../../../x': b'', 'chat.txt': b'x'})})))
    assert content(within) == {f'in/{name}/chat.txt': b'x'} and set(refused(within)) == {f'in/{name}/../../../x'}


def test_backslashes_of_windows(tmp_path):
    info = zipfile.ZipInfo('x')
    info.filename = 'messages\\inbox\\a_1\\message_1.json'
    folder = zipfile.ZipInfo('x')
    folder.filename = 'messages\\empty\\'
    one = only(put(tmp_path, 'a.zip', make_zip([(info, b'{}'), (folder, b'')])))
    assert only(put(tmp_path, 'a.tar', make_tar({'messages\\a.json': b''}))).inner == 'messages/a.json'
    assert one.inner == 'messages/inbox/a_1/message_1.json' and one.folder == 'messages/inbox/a_1' and one.json() == {}


def test_names_in_utf_8_and_cp437(tmp_path):
    name = 'WhatsApp Chat with José ☕.txt'
    flagged = make_zip({name: b'x'})
    assert only(put(tmp_path, 'flagged.zip', flagged)).name == name
    unflagged = bytearray(flagged)                                  # as Macs write it
    unflagged[7] &= ~8
    unflagged[flagged.index(b'PK\x01\x02') + 9] &= ~8
    assert only(put(tmp_path, 'mac.zip', bytes(unflagged))).name == name
    dos = make_zip({'Josy.txt': b'x'}).replace(b'Josy', b'Jos\x82')  # é in cp437
    one = only(put(tmp_path, 'dos.zip', dos))
    assert one.name == 'José.txt' and one.head == b'x'


def test_names_that_are_double_or_empty(tmp_path):
    with pytest.warns(UserWarning, match='Duplicate name'):
        data = make_zip([('a.txt', b'old'), ('b.txt', b'b'), ('a.txt', b'new'), ('./a.txt', b'newest')])
    export = Export(put(tmp_path, 'a.zip', data))
    assert content(export) == {'a.txt': b'newest', 'b.txt': b'b'}   # as unzip would leave it
    assert [why for _, why in export.refused] == ['a later file in the archive has the same name'] * 2
    nameless = zipfile.ZipInfo('x')
    nameless.filename = ''
    export = Export(put(tmp_path, 'a.zip', make_zip([(nameless, b'?'), ('a.txt', b'x')])))
    assert list(export.sources) == ['a.txt'] and refused(export) == {'': 'it has no name'}


# ---- links and locks in archives

def test_links_and_devices_in_tars(tmp_path):
    sparse = tarfile.TarInfo('huge.txt')                            # a claim of zeros that are not there
    sparse.pax_headers = {'GNU.sparse.major': '0', 'GNU.sparse.minor': '1', 'GNU.sparse.map': '0,1', 'GNU.sparse.size': str(1 << 60)}
    members = {'chat.txt': b'x', 'link': tar_link('link', '/etc/hostname'), 'hard': tar_link('hard', 'chat.txt', tarfile.LNKTYPE),
               'pipe': tar_link('pipe', '', tarfile.FIFOTYPE), 'huge.txt': sparse, 'folder': tar_link('folder', '', tarfile.DIRTYPE)}
    export = Export(put(tmp_path, 'a.tar', make_tar(members)))
    assert content(export) == {'chat.txt': b'x'}
    assert refused(export) == dict.fromkeys(['link', 'hard', 'pipe', 'huge.txt'], 'a link or device, no file')


def test_links_in_zips(tmp_path):
    link = zipfile.ZipInfo('link.txt')
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    export = Export(put(tmp_path, 'a.zip', make_zip({'chat.txt': b'x', link: b'../../etc/passwd'})))
    assert content(export) == {'chat.txt': b'x'} and refused(export) == {'link.txt': 'a link, no file'}


def test_an_encrypted_member_is_named(tmp_path):
    data = bytearray(make_zip({'open.txt': b'x', 'secret.txt': b'y'}))
    directory = data.rindex(b'PK\x01\x02')
    data[directory + 8] |= 1
    data[data.index(b'PK\x03\x04', 1) + 6] |= 1
    export = Export(put(tmp_path, 'a.zip', bytes(data)))
    assert content(export) == {'open.txt': b'x'} and refused(export) == {'secret.txt': 'encrypted: unpack the archive and give the folder'}


# ---- damage

@pytest.mark.parametrize('name, data', [('a.zip', make_zip(FILES)[:-30]), ('a.zip', make_zip(FILES)[:50]), ('a.zip', b'PK\x03\x04'),
                                        ('a.zip', b'<html>not found'), ('a.zip', b''), ('a.tgz', make_tar(FILES, 'w:gz')[:15]),
                                        ('a.tar', b'x' * 257 + b'ustar' + b'x' * 900)],
                         ids=['end', 'start', 'mark', 'html', 'empty', 'tgz', 'tar'])  # names of bytes that tell the time would differ from worker to worker
def test_an_archive_that_cannot_be_opened(tmp_path, name, data):
    path = put(tmp_path, name, data)
    with pytest.raises(UserError, match=f'{name} looks like an archive but cannot be read .*: download or copy it again.'):
        Export(path)
    put(tmp_path, 'chat.txt', b'x')
    export = Export(str(tmp_path))
    assert list(export.sources) == ['chat.txt'] and refused(export)[name].startswith('a damaged archive (')


def test_a_torn_zip_is_not_taken_for_the_one_within_it(tmp_path):
    within = make_zip({'b.txt': b'bread'})
    whole = make_zip({'within.zip': within, 'c.txt': b'chat'}, zipfile.ZIP_STORED)
    export = Export(put(tmp_path, 'a.zip', whole[:whole.index(b'c.txt')]))
    assert refused(export) == {'': source.TORN} and content(export) == {'b.txt': b'bread'}


@pytest.mark.parametrize('head', [b'MZ' + bytes(99), b'#!/bin/sh\n', b'PK\x07\x08'])
def test_a_zip_may_have_a_head(tmp_path, head):
    export = Export(put(tmp_path, 'a.zip', head + make_zip(FILES)))
    assert not export.refused and len(export.sources) == len(FILES)


def test_a_compressed_file_is_no_archive(tmp_path):
    with pytest.raises(UserError, match=r'a.json.gz: a compressed file that holds no archive: unpack it and give what is in it\.$'):
        Export(put(tmp_path, 'a.json.gz', gzip.compress(b'{}')))


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_a_zip_is_found_while_reading(tmp_path, method):
    text = ''.join(random.Random(1).choices('abcdefgh\n', k=20_000)).encode()
    data = bytearray(make_zip({'a.txt': text, 'b.txt': b'good'}, method))
    for at in range(100, 140):
        data[data.index(b'a.txt') + at] ^= 0xff
    export = Export(put(tmp_path, 'a.zip', bytes(data)))
    for read in (lambda one: one.open().read(), lambda one: one.text().read()):
        with pytest.raises(DAMAGE):
            read(export.sources['a.txt'])
    assert export.sources['b.txt'].head == b'good'


def test_a_zip_whose_checksum_or_place_is_wrong(tmp_path):
    good = make_zip({'a.txt': b'good'}, zipfile.ZIP_STORED)
    one = only(put(tmp_path, 'a.zip', good.replace(b'good', b'evil')))
    with pytest.raises(DAMAGE, match='Bad CRC-32'):
        one.text().read()
    for where in (len(good) - 10, len(good), 0xfffffff0):
        data = bytearray(good)
        struct.pack_into('<I', data, good.index(b'PK\x01\x02') + 42, where)       # where the directory says that the member begins
        one = only(put(tmp_path, 'b.zip', bytes(data)))
        with pytest.raises(DAMAGE):
            one.open()
    deflate64 = bytearray(good)                                     # Windows writes it for large files; zipfile cannot read it
    deflate64[8] = deflate64[good.index(b'PK\x01\x02') + 10] = 9
    with pytest.raises(DAMAGE):
        only(put(tmp_path, 'c.zip', bytes(deflate64))).open()


@pytest.mark.parametrize('mode', ['w', 'w:gz'])
def test_what_comes_before_a_tear_in_a_tar_is_read(tmp_path, mode):
    noise = random.Random(1).randbytes(30_000)
    data = make_tar({'a.txt': b'good', 'b.bin': noise, 'c.txt': b'lost'}, mode)
    export = Export(put(tmp_path, 'a.tar', data[:len(data) // 2]))
    assert refused(export) == {'': source.TORN} and export.refused[0][0] == export.path
    assert export.sources['a.txt'].head == b'good' and 'c.txt' not in export.sources
    with pytest.raises(DAMAGE):
        export.sources['b.bin'].open().read()


def refused_whole(export):
    return export.refused == [(export.path, source.TORN)]


def test_a_tar_that_ends_without_its_mark_or_in_a_broken_header(tmp_path):
    whole = make_tar({'a.txt': b'a', 'b.txt': b'b', 'c.txt': b'c'})
    cut = Export(put(tmp_path, 'cut.tar', whole[:2048]))            # right behind b.txt
    assert content(cut) == {'a.txt': b'a', 'b.txt': b'b'} and refused_whole(cut)
    data = bytearray(whole)
    data[1024] ^= 0xff                                              # b.txt's header
    broken = Export(put(tmp_path, 'broken.tar', bytes(data)))
    assert content(broken) == {'a.txt': b'a'} and refused_whole(broken)
    data = bytearray(gzip.compress(whole))
    data[-8] ^= 0xff                                                # the checksum of all
    wrong = Export(put(tmp_path, 'wrong.tgz', bytes(data)))
    assert len(content(wrong)) == 3 and refused_whole(wrong)
    two = Export(put(tmp_path, 'two.tgz', gzip.compress(whole[:1000]) + gzip.compress(whole[1000:])))
    assert len(content(two)) == 3 and two.refused == []             # gzip of several parts


def test_a_tar_that_leads_back_to_itself_ends(tmp_path):
    data = bytearray(make_tar({'a.txt': b'a', 'b.txt': b'b'}))
    data[1024 + 124:1024 + 136] = b'\xff' + (-1024).to_bytes(11, 'big', signed=True)      # b.txt is -1024 bytes long
    data[1024 + 148:1024 + 156] = b' ' * 8
    data[1024 + 148:1024 + 156] = b'%06o\0 ' % sum(data[1024:1536])
    export = Export(put(tmp_path, 'a.tar', bytes(data)))
    assert content(export) == {'a.txt': b'a'} and refused_whole(export)


def test_mutated_archives_raise_nothing_else(tmp_path):
    generator = random.Random(1)
    seeds = [make_zip(FILES, method) for method in (0, 8, 12, 14)] + [make_zip({'n.zip': make_zip(FILES)}), make_tar(FILES), make_tar(FILES, 'w:gz')]
    for _ in range(700):
        data = bytearray(generator.choice(seeds))
        for _ in range(generator.choice((1, 2, 5))):
            at = generator.randrange(len(data))
            data[at:at + generator.choice((0, 1, 1, 8, 30))] = generator.choice((b'', b'\0', b'\xff', b'\xff' * 8, generator.randbytes(1)))
        try:
            for one in Export(put(tmp_path, generator.choice(('a.zip', 'a.tar', 'a.tgz')), bytes(data))).sources.values():
                list(one.text())
        except DAMAGE:
            pass


# ---- bombs

@pytest.fixture
def cheaply():
    """What the test does takes little time and memory."""
    tracemalloc.start()
    start = time.monotonic()
    yield
    seconds, (_, peak) = time.monotonic() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 20 and peak < 100 << 20, (seconds, peak)


def zeros(n):
    """A zip of one member that holds n zeros, made from one deflated block again and again: fast to write."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block, pieces, crc = bytes(1 << 20), [], 0
    for _ in range(n >> 20):
        pieces.append(deflate.compress(block))
        crc = zlib.crc32(block, crc)
    return b''.join(pieces) + deflate.flush(), crc


def forged_zip(data, crc, size, entries=1, name=b'chat.txt'):
    """A zip of `entries` members that all are the same bytes in it."""
    fields = struct.pack('<HHHHHIIIH', 20, 0, 8, 0, 33, crc, len(data), size, len(name))
    local = b'PK\x03\x04' + fields + b'\0\0' + name + data
    directory = (b'PK\x01\x02\x14\0' + fields + bytes(16) + name) * entries
    return local + directory + struct.pack('<4sHHHHIIH', b'PK\x05\x06', 0, 0, entries & 0xffff, entries & 0xffff, len(directory), len(local), 0)


def test_a_run_of_zeros_is_refused(tmp_path, cheaply):
    data, crc = zeros(300 << 20)
    bomb = forged_zip(data, crc, 300 << 20)
    export = Export(put(tmp_path, 'a.zip', bomb))
    assert export.sources == {} and refused(export) == {'chat.txt': source.BOMB_SAYS}
    lie = Export(put(tmp_path, 'lie.zip', forged_zip(data, crc, 1000)))            # says that it holds 1,000 bytes
    with pytest.raises(DAMAGE):
        lie.sources['chat.txt'].open().read()
    nested = Export(put(tmp_path, 'b.zip', make_zip({'a.zip': bomb, 'chat.txt': b'x'})))
    assert list(nested.sources) == ['chat.txt'] and refused(nested) == {'a.zip/chat.txt': source.BOMB_SAYS}


def test_entries_that_overlap_are_refused(tmp_path, cheaply):
    data, crc = zeros(20 << 20)
    export = Export(put(tmp_path, 'a.zip', forged_zip(data, crc, 20 << 20, entries=5000)))
    assert export.sources == {} and export.refused == [(export.path, source.BOMB_SAYS)]


def test_archives_within_archives_have_an_end(tmp_path, cheaply):
    data = make_zip({'chat.txt': b'x'})
    for _ in range(6):
        data = make_zip({'a.zip': data, 'b.txt': b'y'})
    export = Export(put(tmp_path, 'a.zip', data))
    assert list(export.sources) == ['a.zip/a.zip/a.zip/b.txt', 'a.zip/a.zip/b.txt', 'a.zip/b.txt', 'b.txt']
    assert refused(export) == {'a.zip/a.zip/a.zip/a.zip': source.TOO_LARGE}


def test_archives_within_archives_share_the_memory(tmp_path, cheaply, monkeypatch):
    monkeypatch.setattr(source, 'NESTED', 1 << 20)
    big = make_zip({'a.bin': bytes(600_000)}, zipfile.ZIP_STORED)
    many = make_zip({f'{i}.zip': big for i in range(50)} | {'small.zip': make_zip({'chat.txt': b'x'})})
    export = Export(put(tmp_path, 'a.zip', many))
    assert list(export.sources) == ['0.zip/a.bin', 'small.zip/chat.txt']
    assert len(export.refused) == 49 and set(refused(export).values()) == {source.TOO_LARGE}
    with pytest.raises(UserError, match=r'a.tgz: an archive too large or too deep within others: unpack it and give the folder\.$'):
        Export(put(tmp_path, 'a.tgz', make_tar({'a.bin': bytes(2 << 20)}, 'w:gz')))
    put(tmp_path, 'folder/a.zip', make_zip({'a.bin': bytes(2 << 20)}, zipfile.ZIP_STORED))
    assert Export(str(tmp_path / 'folder')).refused == []           # what lies on the disk need not be held


def test_many_members_are_no_bomb(tmp_path, cheaply):
    names = {f'messages/inbox/a_{i}/message_1.json': b'{"messages": [%d]}' % i for i in range(3000)}
    assert content(Export(put(tmp_path, 'a.zip', make_zip(names)))) == names


# ---- text

TEXT = 'Mara: Schöne Grüße ☕\nTheo: haha 🙂\n'


@pytest.mark.parametrize('data, encoding', [(TEXT.encode(), 'utf-8'), (TEXT.encode('utf-8-sig'), 'utf-8-sig'), (TEXT.encode('utf-16'), 'utf-16'),
                                            (b'\xfe\xff' + TEXT.encode('utf-16-be'), 'utf-16')])
def test_text_in_the_encodings_of_the_world(tmp_path, data, encoding):
    one = only(put(tmp_path, 'a.txt', data))
    assert one.encoding == encoding and one.start == TEXT and one.text().read() == TEXT
    assert only(put(tmp_path, 'a.txt', data), encoding='cp1252').text().read() == TEXT if encoding != 'utf-8' else True     # the mark knows better


def test_text_in_cp1252_and_what_the_user_says(tmp_path):
    path = put(tmp_path, 'a.txt', 'Grüße – “quoted” €5'.encode('cp1252'))
    assert only(path).encoding == 'cp1252' and only(path).text().read() == 'Grüße – “quoted” €5' == only(path).start
    path = put(tmp_path, 'b.txt', 'привет'.encode('cp1251'))
    assert only(path, encoding='cp1251').text().read() == only(path, encoding='cp1251').start == 'привет'
    assert only(path).text(encoding='cp1251').read() == 'привет'


def test_one_broken_byte_does_not_garble_the_rest(tmp_path):
    one = only(put(tmp_path, 'a.txt', TEXT.encode() + b'\xff\n' + TEXT.encode()))
    assert one.encoding == 'utf-8' and one.text().read() == TEXT + '\ufffd\n' + TEXT


def test_a_mark_is_never_part_of_the_text(tmp_path):
    path = put(tmp_path, 'a.txt', 'hello'.encode('utf-8-sig'))
    for one in (only(path), only(path, encoding='utf-8'), only(path, encoding='cp1252')):
        assert one.text().read() == one.text(encoding='utf-8').read() == one.start == 'hello' and one.head == b'hello'


def test_a_character_cut_at_the_end_of_the_head(tmp_path):
    one = only(put(tmp_path, 'a.txt', b'x' * (source.HEAD - 1) + '🙂'.encode() * 3))
    assert one.encoding == 'utf-8' and one.start == 'x' * (source.HEAD - 1) and len(one.head) == source.HEAD
    assert one.text().read().endswith('x🙂🙂🙂')


@pytest.mark.parametrize('newline, text', [(None, 'a\nb\n\nc\n'), ('', 'a\r\nb\r\n\nc\r'), ('\n', 'a\r\nb\r\n\nc\r')])
def test_line_ends(tmp_path, newline, text):
    for one in (only(put(tmp_path, 'a.txt', b'a\r\nb\r\n\nc\r')), only(put(tmp_path, 'a.zip', make_zip({'a.txt': b'a\r\nb\r\n\nc\r'})))):
        assert one.text(newline=newline).read() == text
        assert ''.join(one.text(newline=newline)) == text


# ---- json

def test_json(tmp_path):
    for data in (b'{"a": "\xc3\xa9"}', b'\xef\xbb\xbf{"a": "\xc3\xa9"}', '{"a": "é"}'.encode('utf-16')):
        assert only(put(tmp_path, 'a.json', data)).json() == {'a': 'é'}
    for data in (b'{"a": ', b'', b'{"a": "\xff"}', b'[' * 200_000, b'\0'):
        with pytest.raises(ValueError):
            only(put(tmp_path, 'a.json', data)).json()


def test_json_items_yields_what_comes_before_the_damage(tmp_path):
    messages = [{'sender_name': 'Mara', 'timestamp_ms': i, 'content': 'é' * 50, 'score': 0.5} for i in range(5000)]
    data = json.dumps({'participants': [], 'messages': messages}).encode()
    assert list(only(put(tmp_path, 'a.json', b'\xef\xbb\xbf' + data)).json_items('messages.item')) == messages
    assert list(only(put(tmp_path, 'a.json', data)).json_items('nothing.item')) == []
    torn, found = only(put(tmp_path, 'a.json', data[:len(data) // 2])), []
    with pytest.raises(ijson.JSONError):
        for message in torn.json_items('messages.item'):
            found.append(message)
    assert found == messages[:len(found)] and len(found) > 2000
    for data in (b'', b'hello', b'{"messages": [tru', b'\xff\xfe', b'{"messages": [1]} {', b'{"messages": ["\xff"]}'):
        with pytest.raises(DAMAGE):
            list(only(put(tmp_path, 'a.json', data)).json_items('messages.item'))


# ---- progress

def test_progress_counts_the_bytes_that_are_read(tmp_path):
    data = {f'{i}.json': json.dumps({'messages': list(range(i * 20_000))}).encode() for i in range(4)}
    for name, data_of_it in data.items():
        put(tmp_path, 'folder/' + name, data_of_it)
    for path in (tmp_path / 'folder', put(tmp_path, 'a.zip', make_zip(data)), put(tmp_path, 'a.tgz', make_tar(data, 'w:gz'))):
        counted = []
        export = Export(str(path), progress=counted.append)
        for one in export.sources.values():
            assert one.head and one.start                           # looking is not reading
        assert counted == []
        for name, read in {'0.json': lambda one: one.json(), '1.json': lambda one: one.text().read(),
                           '2.json': lambda one: list(one.json_items('messages.item')), '3.json': lambda one: one.open().read()}.items():
            read(export.sources[name])
            assert sum(counted) == len(data[name]) == export.sources[name].size and max(counted) <= source.HEAD
            counted.clear()


def test_a_stream_is_closed_with_its_reader(tmp_path):
    path = put(tmp_path, 'a.json', b'{"messages": [1, 2, 3]}')
    opened = []
    one = only(path)
    one._opener = lambda: opened.append(open(path, 'rb')) or opened[-1]
    items = one.json_items('messages.item')
    assert next(items) == 1
    items.close()
    with one.text() as text:
        text.read()
    assert one.head and one.json() and len(opened) == 5 and all(file.closed for file in opened)

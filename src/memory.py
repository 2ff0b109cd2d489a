"""What was said, kept: every conversation in one SQLite file in the user's data directory, readable by its owner alone.

    chats   1 | checkpoint/run1 | Theo | Mara | 1349680884843 | 1349680899120 | ["Mara", "Lena"] | A ship.
                                                          the model, who talks with whom; begun, changed; a group that answers, or ''; the persona
    turns   1 | 1 | Theo | did you feed the cat? | 1349680884843 | 0 |              the chat, speaker, text, time; rating; what it said before it was put right
            2 | 1 | Mara | twice, she was hungry | 1349680889843 | 1 | which cat
    words   an FTS5 index of the turns' words, which triggers keep; of the column `spaced`: the text, with blanks where a script has none (`spaced`)

    add      a turn is on the disk when this returns: a write-ahead log, synced at each commit
    recall   what is said now -> its rare words -> the exchanges in which they are, the best first by BM25 (Robertson and Zaragoza 2009)
    forget   the rows go; the index is made anew without them, and the file; the log is emptied

Several programs may have the file open. A chat goes on in one of them: the other, when it adds a turn, goes on in a chat of its own.
Every error is a UserError with the way out; a damaged file is kept aside, and a new one started.
"""
import contextlib
import datetime
import json
import math
import os
import pathlib
import sqlite3
import sys
import time
from typing import NamedTuple

import platformdirs
import regex

from . import console, files
from .console import UserError
from .dialogue import Turn
from .words import UNSPACED

MAGIC = b'SQLite format 3\0'                            # how every SQLite file begins
APPLICATION, VERSION = 0x43686174, 3                    # 'Chat' in its PRAGMA application_id; its PRAGMA user_version
DAMAGE = 'malformed', 'corrupt', 'not a database', 'unsupported file format', 'vtable constructor failed', 'invalid fts5 file format'
PATIENCE = 3                                            # seconds that another program may write
WAY_OUT = '--memory FILE keeps conversations elsewhere, --memory none keeps none'
INSTEAD = 'import src before TensorFlow, which puts its own SQLite, that has none, in the place of Python\'s'
SCHEMA = (
    'CREATE TABLE chats(id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, me TEXT NOT NULL, answerer TEXT NOT NULL, '
    "begun INTEGER NOT NULL, changed INTEGER NOT NULL, answerers TEXT NOT NULL DEFAULT '', persona TEXT NOT NULL DEFAULT '')",
    'CREATE TABLE turns(id INTEGER PRIMARY KEY AUTOINCREMENT, chat INTEGER NOT NULL, speaker TEXT NOT NULL, text TEXT NOT NULL, time INTEGER, '
    "rating INTEGER NOT NULL DEFAULT 0, bad TEXT, spaced TEXT NOT NULL DEFAULT '')",
    'CREATE INDEX turns_of_chat ON turns(chat)')
INDEX = (
    "CREATE VIRTUAL TABLE words USING fts5(spaced, content='turns', content_rowid='id', tokenize='unicode61 remove_diacritics 2')",
    'CREATE TRIGGER turn_comes AFTER INSERT ON turns BEGIN INSERT INTO words(rowid, spaced) VALUES (new.id, new.spaced); END',
    "CREATE TRIGGER turn_goes AFTER DELETE ON turns BEGIN INSERT INTO words(words, rowid, spaced) VALUES ('delete', old.id, old.spaced); END",
    "CREATE TRIGGER turn_changes AFTER UPDATE OF spaced ON turns BEGIN INSERT INTO words(words, rowid, spaced) VALUES ('delete', old.id, old.spaced); "
    'INSERT INTO words(rowid, spaced) VALUES (new.id, new.spaced); END')
PARTS = 'chats', 'turns', 'words', 'words_data', 'words_idx', 'words_docsize', 'words_config'      # the tables, those too that FTS5 makes
INDEX_ANEW = "INSERT INTO words(words) VALUES ('rebuild')"
TEXT = 'CAST(? AS TEXT)'                                # of bytes: halves of characters, which Python's strings may hold, are no UTF-8
OF_THESE = f'model = {TEXT} AND me = {TEXT} AND answerer = {TEXT}'
LISTED = 'IN (SELECT value FROM json_each(?))'

SIGN = regex.compile(rf'[{UNSPACED}]\p{{M}}*')
WORD = regex.compile(rf'(?V1)(?:{SIGN.pattern})+|[[\p{{L}}\p{{N}}\p{{M}}\p{{Co}}]--[{UNSPACED}]]+')
LOOKED_UP, SEARCHED, MOST = 64, 8, 16                   # words of a message that are counted, that are searched for; exchanges that are found
# A young memory cannot tell by counting which words everybody uses: these, in GPT-2's language.
COMMON = frozenset('about after again all also always and any anything are aren because been before being but can cant come could couldn did didn does doesn doing '
                   'don done even ever every everything for from get gets getting give going gonna good got great had has hasn have haven having hello her here him '
                   'his how isn its just keep kind know last later let lets like little long look lot make many maybe mean more most much must need never next nice '
                   'not nothing now off okay one only other our out over please pretty put really remember right said same saw say see she should shouldn some '
                   'someone something soon sorry still such sure take talk tell than thank thanks that the their them then there these they thing things think this '
                   'those though time told too two under until use very wait wanna want wants was wasn way well went were what when where which while who '
                   'why will with without won would wouldn yeah yes yet you your yours'.split())
# and where words have no blanks: what of Japanese is grammar, and the signs of which Chinese makes its little words
COMMON_SIGNS = regex.compile(r'[ \p{Hiragana}ー的一是了我不人在他有這这個个上們们來来到大地你說说就那和要她出也得以會会可下過过天去能對对小多麼么都好看起什怎很還还沒没嗎吗呢吧啊哦嗯]+')


class Kept(NamedTuple):
    """A chat in the memory. title: how it began, in a line; begun, changed: milliseconds since 1970; turns: how many."""
    id: int
    model: str
    me: str
    answerer: str
    title: str
    begun: int
    changed: int
    turns: int


def default_path():
    """Where conversations are kept unless told otherwise; on Linux ~/.local/share/gpt2-chat/conversations.db."""
    return os.path.join(platformdirs.user_data_dir(files.OURS, appauthor=False), 'conversations.db')


class Memory:
    """The file, made when it is not there. `notice`: '', or a sentence: a damaged file was kept aside. For the thread that made it."""

    def __init__(self, path):
        """Raises UserError when the file cannot be written, is no database, but for the one at default_path, is another program's, or of a newer
        version: it is untouched then."""
        self.path, self.notice = os.path.abspath(path), ''
        try:
            self._db = self._connect()
        except _Damaged as damage:
            with _told(self.path):
                aside = _set_aside(self.path)
            self.notice = f'{self.path} is damaged ({damage}): it was kept as {aside}, and a new one started.'
            self._db = self._connect()

    def _connect(self):
        """A connection to our tables. Raises _Damaged."""
        with _told(self.path), contextlib.ExitStack() as stack:
            _reserve(self.path)
            _check_version(self.path)
            _check_start(self.path)
            db = stack.enter_context(contextlib.closing(_open(pathlib.Path(self.path).as_uri())))
            try:
                db.execute('PRAGMA temp_store = MEMORY')            # no temporary file holds what was said
                db.execute('PRAGMA secure_delete = ON')             # zeros over what is deleted
                db.execute('PRAGMA synchronous = FULL')
                with _transaction(db):
                    if not _tables(db):
                        for statement in (*SCHEMA, *INDEX, f'PRAGMA application_id = {APPLICATION}', f'PRAGMA user_version = {VERSION}'):
                            db.execute(statement)
                    elif db.execute('PRAGMA application_id').fetchone()[0] != APPLICATION:
                        raise UserError(f'{self.path} is the database of another program: name another file.')
                    elif (version := db.execute('PRAGMA user_version').fetchone()[0]) < VERSION and _tables(db).issuperset(PARTS):
                        if version == 1:
                            _from_version_1(db)
                        _from_version_2(db)
                    if not _tables(db).issuperset(SCHEMA + INDEX + PARTS):
                        raise _Damaged('its tables are not those of a memory')
                db.execute('PRAGMA journal_mode = WAL')
                _check(db)
                db.execute('SELECT rowid FROM words LIMIT 0')       # the index opens
                for name in _beside(self.path):                     # whatever somebody has made of its rights
                    with contextlib.suppress(FileNotFoundError):
                        os.chmod(name, 0o600)
            except sqlite3.DatabaseError as error:
                if _is_damage(error):
                    raise _Damaged(error) from None
                raise
            stack.pop_all()
        return db

    def close(self):
        """Let go of the file, which is one file then, if nobody else has it open."""
        self._db.close()

    def open(self, model, me, answerer, new=False):
        """The Chat of these two with this model that changed last; a new one where there is none, or if new. A new one is kept from its first turn on."""
        found = [] if new else self._ask(f'SELECT id FROM chats WHERE {OF_THESE} ORDER BY changed DESC, id DESC LIMIT 1', *_bytes(model, me, answerer))
        return Chat(self, found[0][0] if found else None, model, me, answerer)

    def chats(self):
        """[Kept], the one that changed last first."""
        rows = self._ask('SELECT chats.id, model, me, answerer, begun, changed, count(*), min(turns.id) FROM chats JOIN turns ON chat = chats.id '
                         'GROUP BY chats.id ORDER BY changed DESC, chats.id DESC')
        first = dict(self._ask(f'SELECT id, text FROM turns WHERE id {LISTED}', json.dumps([row[-1] for row in rows])))
        return [Kept(*row[:4], ' '.join(first[row[-1]].split())[:60], *row[4:-1]) for row in rows]

    def forget(self, ids=None):
        """Delete the chats of these ids; None: all. None of their words stays in the file, nor in those that SQLite keeps beside it."""
        chosen, listed = ('{}', ()) if ids is None else ('{} ' + LISTED, (json.dumps(list(ids)),))

        def delete(db):
            db.execute('DELETE FROM turns WHERE ' + chosen.format('chat'), listed)
            db.execute('DELETE FROM chats WHERE ' + chosen.format('id'), listed)

        self._write(delete)
        self._scrub()

    # ---- what a Chat reads and writes by

    def _do(self, work):
        """work(connection). Where the index turns out to be damaged it is made anew from the turns, and the work is done then."""
        with _told(self.path):
            try:
                return work(self._db)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                _check(self._db)                        # raises where more than the index is damaged
                self._db.execute(INDEX_ANEW)
                return work(self._db)

    def _ask(self, sql, *values):
        return self._do(lambda db: db.execute(sql, values).fetchall())

    def _write(self, work):
        def whole(db):
            with _transaction(db):
                return work(db)

        return self._do(whole)

    def _scrub(self):
        """Leave nothing of what was deleted. Its words would stay in the index until that is merged; and secure_delete does not see what a
        page held of rows that moved to another page."""
        with _told(self.path):
            self._db.execute(INDEX_ANEW)
            self._db.execute('VACUUM')
            if self._db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()[0]:
                raise UserError(f'it is deleted, but another program still reads {self.path}, and until it ends the words stay in {self.path}-wal.')


class Chat:
    """A conversation in a Memory. `id`: None before its first turn; `answerers`: [answerer], or the group that answers, `answerer` first; `persona`:
    the text in front of it, or ''. Methods raise UserError when the file cannot be written."""

    def __init__(self, memory, id, model, me, answerer):
        self.memory, self.id, self.model, self.me, self.answerer = memory, id, model, me, answerer
        found = memory._ask('SELECT answerers, persona FROM chats WHERE id = ?', id)
        group, self.persona = found[0] if found else ('', '')
        self.answerers = json.loads(group) if group else [answerer]
        self._ids = [row for (row,) in memory._ask('SELECT id FROM turns WHERE chat = ? ORDER BY id', id)]       # _ids[i]: the row of turn i

    def turns(self):
        """[Turn], the oldest first."""
        return [Turn(*row) for row in self._rows('speaker, text, time', self._ids)]

    def add(self, turn):
        """Keep a turn; it is on the disk when this returns."""
        def insert(db):
            id, now = self.id, int(time.time() * 1000)
            last = db.execute('SELECT max(id) FROM turns WHERE chat = ?', (id,)).fetchone()[0]
            if last is None or [last] != self._ids[-1:]:            # a new chat; or it was forgotten, or went on, in another program
                id = db.execute(f'INSERT INTO chats(model, me, answerer, answerers, persona, begun, changed) VALUES ({", ".join([TEXT] * 5)}, ?, ?)',
                                (*_bytes(self.model, self.me, self.answerer, _group(self.answerers), self.persona), now, now)).lastrowid
            row = db.execute(f'INSERT INTO turns(chat, speaker, text, spaced, time) VALUES (?, {TEXT}, {TEXT}, {TEXT}, ?)',
                             (id, *_bytes(turn.speaker, turn.text, spaced(turn.text)), turn.time)).lastrowid
            db.execute('UPDATE chats SET changed = ? WHERE id = ?', (now, id))
            return id, row

        self.id, row = self.memory._write(insert)
        self._ids.append(row)

    def drop(self, start):
        """Forget turns[start:] for good."""
        def delete(db):
            db.execute(f'DELETE FROM turns WHERE id {LISTED}', (json.dumps(self._ids[start:]),))
            db.execute('DELETE FROM chats WHERE id NOT IN (SELECT chat FROM turns)')

        self.memory._write(delete)
        del self._ids[start:]
        self.id = self.id if self._ids else None
        self.memory._scrub()

    def meet(self, me, answerers, persona):
        """These go on with this conversation, who will find it as theirs; this text is in front of it."""
        if (me, answerers, persona) == (self.me, self.answerers, self.persona):
            return
        values = *_bytes(me, answerers[0], _group(answerers), persona), self.id
        self.memory._write(lambda db: db.execute(f'UPDATE chats SET me = {TEXT}, answerer = {TEXT}, answerers = {TEXT}, persona = {TEXT} WHERE id = ?', values))
        self.me, self.answerer, self.answerers, self.persona = me, answerers[0], answerers, persona

    def replace(self, i, text):
        """Other words for turn i; the old ones, and what was thought of them, are forgotten for good."""
        self._change(i, f'text = {TEXT}, spaced = {TEXT}, rating = 0, bad = NULL', *_bytes(text, spaced(text)))
        self.memory._scrub()

    def rate(self, i, value):
        """1: turn i was good; -1: bad; 0: neither."""
        self._change(i, 'rating = ?', value)

    def fix(self, i, text):
        """What turn i should have said: it says so now, and is good; what it said first is kept beside it."""
        self._change(i, f'bad = coalesce(bad, text), text = {TEXT}, spaced = {TEXT}, rating = 1', *_bytes(text, spaced(text)))

    def recall(self, text, before):
        """[[Turn, ...]], the best first: exchanges of these two with this model that fit `text`; of this chat only from turns[:before].

        An exchange is a turn of mine and the next, or another's and the one before. No turn that was rated bad is in one. Words that many
        turns have find nothing.
        """
        words = self._rare_words(text)
        if not words:
            return []
        visible, seen, found = set(self._ids[before:]), set(), []
        hits = self.memory._ask(
            'SELECT turns.id, chat, speaker FROM words JOIN turns ON turns.id = words.rowid JOIN chats ON chats.id = chat '
            f'WHERE words MATCH ? AND rating >= 0 AND {OF_THESE} ORDER BY rank LIMIT ?',
            ' OR '.join(f'"{word}"' for word in words), *_bytes(self.model, self.me, self.answerer), 2 * MOST + len(visible))
        for hit, chat, speaker in hits:
            beside = 'min(id) FROM turns WHERE id >' if speaker == self.me else 'max(id) FROM turns WHERE id <'
            beside, = self.memory._ask(f'SELECT {beside} ? AND chat = ?', hit, chat)[0]
            rows = self._rows('speaker, text, time, id', {hit, beside} - visible, 'AND rating >= 0')
            exchange = [Turn(*row[:3]) for row in rows]
            marks = {row[3] for row in rows} | {tuple(turn[:2] for turn in exchange)}       # the same words of another day are the same
            if hit not in visible and not marks & seen:
                found.append(exchange)
                seen |= marks
        return found[:MOST]

    def _rare_words(self, text):
        """The words of a text that few turns of the memory have, the rarest first."""
        words = {*words_of(text)}
        turns, = self.memory._ask('SELECT count(*) FROM turns')[0]
        few, counts = max(5, math.isqrt(turns), turns // 100), {}
        for word in sorted(words, key=lambda word: (-len(word), word))[:LOOKED_UP]:         # the long ones are the rare ones (Zipf 1949)
            counts[word], = self.memory._ask('SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)', f'"{word}"', few + 1)[0]
        return sorted((word for word in counts if 0 < counts[word] <= few), key=counts.get)[:SEARCHED]

    def _rows(self, columns, ids, condition=''):
        return self.memory._ask(f'SELECT {columns} FROM turns WHERE id {LISTED} {condition} ORDER BY id', json.dumps(list(ids)))

    def _change(self, i, what, *values):
        self.memory._write(lambda db: db.execute(f'UPDATE turns SET {what} WHERE id = ?', (*values, self._ids[i])))


def _group(answerers):
    return json.dumps(answerers) if len(answerers) > 1 else ''


def spaced(text):
    """A text as the index takes it: each sign is a word where blanks do not tell which belong together."""
    return SIGN.sub(r' \g<0> ', text)


def words_of(text):
    """Yield what to search for: words of three letters or more, but the common ones; of signs each two in a row, and a Han sign alone, which may be a
    word; of Thai and its neighbours, whose signs are letters, three in a row."""
    for word in WORD.findall(text.lower()):
        signs = SIGN.findall(word)
        if signs:
            n = 2 if regex.match(r'[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}ー]', word) else 3
            found = [' '.join(signs[i:i + n]) for i in range(max(1, len(signs) - n + 1))] + [sign for sign in signs if regex.match(r'\p{Han}', sign)]
            yield from (each for each in found if not COMMON_SIGNS.fullmatch(each))
        elif len(word) > 2 and word not in COMMON:
            yield word


def read(path):
    """Yield (id, model, me, answerer, [(Turn, rating)]) of every chat in a memory, the oldest first. Nothing is written.

    Raises UserError when the file is no memory, damaged, or of a newer version.
    """
    _check_version(path)
    if not is_memory(_head(path)):
        raise UserError(f'{path} is no memory of conversations.')
    # what was said last may still be in the log; where there is none, SQLite must not make one
    mode = 'mode=ro' if os.path.exists(path + '-wal') else 'immutable=1'
    with _told(path), contextlib.closing(_open(f'{pathlib.Path(os.path.abspath(path)).as_uri()}?{mode}')) as db:
        _check(db)
        for chat in db.execute('SELECT id, model, me, answerer FROM chats ORDER BY id').fetchall():
            rows = db.execute('SELECT speaker, text, time, rating FROM turns WHERE chat = ? ORDER BY id', chat[:1]).fetchall()
            yield *chat, [(Turn(*row[:3]), row[3]) for row in rows]


def is_memory(head):
    """Whether a file that begins with these bytes, 100 or more, is a memory."""
    return head.startswith(MAGIC) and head[68:72] == APPLICATION.to_bytes(4, 'big')


# ---- the file

class _Damaged(Exception):
    """Why a file is no whole database of ours."""


def _open(uri):
    db = sqlite3.connect(uri, timeout=PATIENCE, isolation_level=None, uri=True)
    db.text_factory = _text
    return db


def _tables(db):
    """The names of all tables, indexes and triggers, and the statements that made them."""
    return {value for row in db.execute('SELECT name, sql FROM sqlite_master') for value in row}


def _from_version_1(db):
    """Its index was of the texts themselves, in which a sentence of signs was one word."""
    for name in ('turn_comes', 'turn_goes', 'turn_changes'):
        db.execute(f'DROP TRIGGER IF EXISTS {name}')
    db.execute('DROP TABLE words')
    db.execute("ALTER TABLE turns ADD COLUMN spaced TEXT NOT NULL DEFAULT ''")
    said = db.execute('SELECT text, id FROM turns').fetchall()
    db.executemany(f'UPDATE turns SET spaced = {TEXT} WHERE id = ?', ((*_bytes(spaced(text)), id) for text, id in said))
    for statement in (*INDEX, INDEX_ANEW):
        db.execute(statement)


def _from_version_2(db):
    """It kept neither a group nor the persona."""
    for column in ('answerers', 'persona'):
        db.execute(f"ALTER TABLE chats ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    db.execute(f'PRAGMA user_version = {VERSION}')


def _bytes(*texts):
    return [text.encode('utf-8', 'surrogatepass') for text in texts]


def _text(data):
    try:
        return data.decode('utf-8', 'surrogatepass')
    except UnicodeDecodeError:                          # a bit that fell over on the disk
        return data.decode('utf-8', 'replace')


@contextlib.contextmanager
def _transaction(db):
    db.execute('BEGIN IMMEDIATE')
    try:
        yield
        db.execute('COMMIT')
    finally:
        if db.in_transaction:
            db.execute('ROLLBACK')


def _check(db):
    found, = db.execute('PRAGMA quick_check(1)').fetchone()
    if found != 'ok' and 'fts5' not in found.lower():               # newer versions of SQLite look at the index too, which can be made anew
        raise sqlite3.DatabaseError(f'malformed: {found.splitlines()[-1]}')


def _head(path):
    with open(path, 'rb') as file:
        return file.read(100)                           # https://sqlite.org/fileformat.html section 1.3


def _check_version(path):
    head = _head(path)
    version = int.from_bytes(head[60:64], 'big')
    if is_memory(head) and version > VERSION:
        raise UserError(f'{path} is a memory of version {version}, and this program knows {VERSION}: use the newer program, or name another file.')


def _check_start(path):
    """Raise _Damaged for what SQLite would take for an empty file, whose log it would delete; UserError for a file that never was a memory."""
    head, size = _head(path), os.path.getsize(path)
    page = int.from_bytes(head[16:18], 'big')
    if size and not head.startswith(MAGIC):
        if os.path.realpath(path) != os.path.realpath(default_path()):
            raise UserError(f'{path} is no memory of conversations and stays as it is: {WAY_OUT}.')
        raise _Damaged('it is no database')
    if size < page or not size and os.path.exists(path + '-wal'):
        raise _Damaged('it is cut off')


def _reserve(path):
    """Make the file where there is none, for its owner alone; SQLite gives its log the same rights."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f'{path} is a folder or a device: name the file to keep conversations in.')
    folder, new = os.path.dirname(path), not os.path.exists(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if new:
        files.sync_folder(folder)


def _beside(path):
    """The file and those that SQLite keeps beside it while it is open."""
    return [path, path + '-wal', path + '-shm', path + '-journal']


def _set_aside(path):
    """Rename a damaged file -> its new name."""
    aside = kept = f'{path}.damaged-{datetime.date.today()}'
    number = 1
    while os.path.lexists(kept):
        number += 1
        kept = f'{aside}-{number}'
    for old, new in zip(_beside(path), _beside(kept)):
        with contextlib.suppress(FileNotFoundError):
            os.rename(old, new)
    return kept


def _is_damage(error):
    return any(words in str(error) for words in DAMAGE) or str(error) == 'constraint failed'       # of ours none: of the index's tables


@contextlib.contextmanager
def _told(path):
    """Errors of SQLite and of the file system as UserErrors."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise UserError(f'{console.describe(error).rstrip(".")}; {WAY_OUT}.') from None
    except sqlite3.Error as error:
        said = str(error)
        why = (f'is damaged ({said}): the next chat keeps it aside and starts a new one' if _is_damage(error) else
               'is being written by another program, which does not end: end it and try again' if 'locked' in said else
               'cannot grow, the disk is full: free some space; what was kept before is untouched' if 'full' in said else
               f'cannot be written: check who owns it and its folder; {WAY_OUT}' if 'readonly' in said or 'unable to open' in said else
               f'needs SQLite with FTS5, which is not here: {INSTEAD if "tensorflow" in sys.modules else WAY_OUT}' if 'no such module' in said else
               f'cannot be used ({said}): {WAY_OUT}')
        raise UserError(f'{path} {why}.') from None

"""Reddit: posts and the replies to them, as tables or as dumps of submissions and comments (a JSON object a line, plain or .zst).

    title,body,score                                     a row a reply; one title has many
    What did you cook today?,"Dal, with too much chili",12

    {"id": "c8z2k", "title": "What did you cook today?", "selftext": "", "author": "ada_b", "created_utc": 1546300800}
    {"id": "ed1a9", "link_id": "t3_c8z2k", "parent_id": "t3_c8z2k", "body": "Dal &amp; rice", "author": "theo", "score": 12, "created_utc": 1546301000}

- A comment belongs to the post of which link_id is `t3_` + id, and answers it directly where parent_id is the same. Only those are
  read: post and reply are a thread of two turns. Replies of the poster, of AutoModerator and pinned ones are left out.
- Posts and comments may be in one file or many (RS_2019-01.zst, RC_2019-01.zst), in any order: all posts are kept in memory, comments are not.
- Lines of a comment that begin with `>` quote somebody; they are no words of the replier, nor is a blank without a width.
- A picture is `![gif](giphy|abc123)`, `![img](emote|t5_2th52|4271)`, or a link to preview.redd.it on a line of its own: no words either.
- Deleted words are `[deleted]` or `[removed]`; a deleted author is `[deleted]` too. Text has HTML entities, `&amp;#x200B;` even twice over.
- created_utc is a number or a string of seconds. The dumps are compressed with a window of up to 2 GB.
- A table may have the post's own text (selftext, ...) and authors: `author` wrote the reply, `post_author` the post.
"""
import html
import io
import re

from ..dialogue import Turn
from ..source import DAMAGE, HEAD
from . import BOT, DELETED, DUPLICATE, EMPTY, MEDIA, UNREADABLE, Thread
from .records import first_objects, first_rows, json_object, rows

NAME = 'reddit'
STRANGERS = True

NO_REPLIES, NO_POST, NESTED = 'posts without replies', 'replies to posts that are not here', 'replies to replies'
PINNED, OWN = 'pinned replies', 'replies by the poster'
POSTER, REPLIER = 'Poster', 'Replier'                   # of whom no name is known
ENTITY = re.compile(r'&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|\w{1,32});')
QUOTED = re.compile(r'^ {0,3}>(?!!).*(?:\n\s*\n)?', re.M)               # >! hides what is said until one looks
PICTURE = re.compile(r' ?!\[(?:gif|img)\]\([^()\n]*\)|^[ \t]*https?://(?:preview|i)\.redd\.it/\S+[ \t]*$', re.M)
REMOVED = {'[deleted]', '[removed]', '[deleted by user]', '[ removed by reddit ]'}
WINDOW = 1 << 31
BAD = object()
COLUMNS = {'title': ('title', 'post_title', 'submission_title'), 'body': ('body', 'comment', 'comment_body', 'reply'), 'score': ('score', 'comment_score'),
           'post': ('selftext', 'text', 'post', 'post_text', 'post_body'), 'poster': ('post_author', 'submission_author', 'poster', 'op'),
           'replier': ('author', 'comment_author', 'replier')}


def sniff(source):
    if source.suffix == '.csv':
        return _sniff_table(source)
    if source.suffix not in ('.zst', '.ndjson', '.jsonl', '.json', ''):
        return 0, 'not a .csv, .ndjson or .zst'
    for record in first_objects(_head(source).decode(errors='replace')):
        if record.keys() >= {'body', 'link_id', 'parent_id'}:
            return 1, 'comments with link_id, parent_id and body'
        if record.keys() >= {'id', 'title'} and record.keys() & {'selftext', 'subreddit', 'num_comments'}:
            return 1, 'posts with id, title and selftext'
    return 0, 'no lines with posts or comments of Reddit'


def group(source):
    """Posts and comments may be in different files, folders and archives: all dumps are read together."""
    return source.path if source.suffix == '.csv' else 'dumps'


def read(sources, tally):
    return (_read_table if sources[0].suffix == '.csv' else _read_dumps)(sources, tally)


# ---- tables

def _sniff_table(source):
    header, _ = first_rows(source)
    columns = _columns(header)
    if columns['title'] is None or columns['body'] is None:
        return 0, 'no columns title and body'
    if {'comms_num', 'num_comments'} & set(header):
        return 0.4, 'columns title and body, but it counts comments: its bodies are the posts themselves'
    return (0.8, 'columns title and body') if columns['score'] is None else (1, 'columns title, body and score')


def _columns(header):
    names = [name.strip().lower() for name in header]
    return {key: next((names.index(choice) for choice in choices if choice in names), None) for key, choices in COLUMNS.items()}


def _read_table(sources, tally):
    for source in sources:
        table = rows(source)
        header = next(table, [])
        columns = _columns(header)
        for row in table:
            if len(row) == len(header):
                reason, thread = _row({key: '' if i is None else row[i] for key, i in columns.items()})
            else:
                reason, thread = UNREADABLE, None
            if thread:
                yield thread
            else:
                tally.drop(reason)


def _row(record):
    """A row -> (why it is dropped, None) or (None, Thread)."""
    title, body = _text(record['title']), _reply(record['body'])
    poster, replier = _author(record['poster'], POSTER), _author(record['replier'], REPLIER)
    try:
        score = _score(float(record['score'] or 'nan'))
    except ValueError:
        return UNREADABLE, None
    if title is None or body is None:
        return DELETED, None
    if not title.strip() or not body.strip():
        return EMPTY if body.strip() else _why_empty(record['body']), None
    if replier == 'AutoModerator':
        return BOT, None
    if replier == poster:
        return OWN, None
    post = '\n\n'.join(filter(None, (title, _text(record['post']))))
    return None, Thread([Turn(poster, post), Turn(replier, body)], title, group=False, unit=title, score=score, records=1)


# ---- dumps

def _read_dumps(sources, tally):
    posts, used = {}, set()                             # {id: Turn, or None where a bot wrote it}; ids with replies
    rest = {}                                           # {source: whether its posts are counted}: what must be read for comments
    for source in sources:
        look = not _is_of_comments(source)
        only_posts = look
        try:
            for line in _lines(source) if look else ():
                only_posts &= _add_post(line, posts, tally)
        except DAMAGE:                                  # told below
            only_posts = False
        if not only_posts:
            rest[source] = look
    for source, counted in rest.items():
        try:
            for line in _lines(source):
                reason, thread = _comment(line, posts, counted)
                if thread:
                    thread.records = 1 + (thread.unit not in used)
                    used.add(thread.unit)
                    yield thread
                elif reason:
                    tally.drop(reason)
        except DAMAGE as error:
            tally.damaged(source, error)
    if alone := sum(post is not None for post in posts.values()) - len(used):
        tally.drop(NO_REPLIES, alone)


def _is_of_comments(source):
    """Whether a file need not be searched for posts, which takes long."""
    return ('comments' in source.name or source.name.startswith('RC_')) and b'"title"' not in _head(source)


def _add_post(line, posts, tally):
    """Keep what a line of a dump says when it is a post. Returns whether it is one."""
    record = json_object(line) if b'"title"' in line else None
    if record is None or not _is_post(record):
        return False
    post_id, author, text = record.get('id'), record.get('author'), record.get('selftext') or ''
    time = _time(record.get('created_utc'))
    if not (all(isinstance(field, str) for field in (post_id, record['title'], text, author or '')) and post_id and time is not BAD):
        tally.drop(UNREADABLE)
    elif post_id in posts:
        tally.drop(DUPLICATE)
    elif author == 'AutoModerator':
        posts[post_id] = None
        tally.drop(BOT)
    elif title := _text(record['title']):
        posts[post_id] = Turn(_author(author, POSTER), '\n\n'.join(filter(None, (title, _text(text)))), time)
    else:
        tally.drop(EMPTY if title == '' else DELETED)
    return True


def _comment(line, posts, counted):
    """A line of a dump -> (why it is dropped, None), (None, Thread), or (None, None) for what was counted before."""
    record = json_object(line)
    if record is None or _is_post(record):
        return (None if record and counted or not line.strip() else UNREADABLE), None
    link, author, body, time = record.get('link_id'), record.get('author'), record.get('body'), _time(record.get('created_utc'))
    if not (isinstance(link, str) and isinstance(body, str) and isinstance(author or '', str) and time is not BAD):
        return UNREADABLE, None
    body, unit = _reply(body), link.removeprefix('t3_')
    if body is None:
        return DELETED, None
    if author == 'AutoModerator' or unit in posts and posts[unit] is None:
        return BOT, None
    if record.get('stickied') is True:
        return PINNED, None
    if record.get('parent_id') != link:
        return NESTED, None
    if unit not in posts:
        return NO_POST, None
    reply = Turn(_author(author, REPLIER), body, time)
    if reply.speaker == posts[unit].speaker:
        return OWN, None
    if not body.strip():
        return _why_empty(record['body']), None
    return None, Thread([posts[unit], reply], posts[unit].text.partition('\n')[0], group=False, unit=unit, score=_score(record.get('score')))


def _is_post(record):
    return isinstance(record.get('title'), str) and 'link_id' not in record


def _lines(source):
    """Yield the lines of a dump as bytes."""
    with source.open() as file:
        if source.suffix == '.zst':
            import zstandard
            try:
                yield from io.BufferedReader(_unpacked(file), 1 << 20)
            except zstandard.ZstdError as error:        # no ValueError
                raise ValueError(f'its compression is damaged: {error}') from None
        else:
            yield from file


def _head(source):
    """The first bytes of a dump, unpacked. b'' where they cannot be."""
    if source.suffix != '.zst':
        return source.head
    import zstandard
    try:
        return _unpacked(io.BytesIO(source.head)).read(HEAD)
    except zstandard.ZstdError:
        return b''


def _unpacked(file):
    import zstandard
    return zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(file, read_across_frames=True)


# ---- both

def _text(text):
    """Text without HTML entities and pictures; None when it was deleted."""
    if text.strip().lower() in REMOVED:
        return None
    for _ in range(2 if '&' in text else 0):
        text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    if '![' in text or '.redd.it/' in text:
        text = PICTURE.sub('', text).strip()
    return text.replace('\n\u200b\n\n', '\n').replace('\u200b', '')


def _reply(text):
    """Text of a reply, without what it quotes; None when it was deleted."""
    text = _text(text)
    return QUOTED.sub('', text).strip() if text and '>' in text else text


def _why_empty(body):
    """The reason why a reply without words is dropped."""
    return MEDIA if PICTURE.search(body) else EMPTY


def _author(name, unknown):
    return unknown if not name or name == '[deleted]' else name


def _score(score):
    """A number, or None for what is none."""
    return float(score) if isinstance(score, (int, float)) and abs(score) < 1e15 else None


def _time(seconds):
    """created_utc -> milliseconds, None when there is none, BAD when it is no time."""
    if seconds is None:
        return None
    try:
        milliseconds = round(float(seconds) * 1000)
    except (ValueError, TypeError, OverflowError):
        return BAD
    return milliseconds if abs(milliseconds) < 1 << 48 else BAD

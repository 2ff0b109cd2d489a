"""Slack's workspace export, a zip: a folder a channel, in it a file a day.

    users.json                      [{"id": "U1", "name": "mlind", "real_name": "Mara Lind", "is_bot": false, "profile": {"display_name": "Mara"}}]
    channels.json                   [{"id": "C1", "name": "general", "members": ["U1", "U2"]}]       groups.json: private channels
    dms.json                        [{"id": "D1", "members": ["U1", "U2"]}]
    mpims.json                      [{"id": "G1", "name": "mpdm-mlind--theo--ada-1", "members": ["U1", "U2", "U3"]}]
    general/2020-08-09.json         [{"type": "message", "user": "U1", "text": "<@U2> see <https://example.org|this> &amp; that", "ts": "1596969000.000200"},
                                     {"type": "message", "subtype": "channel_join", "user": "U3", "text": "<@U3> has joined the channel", "ts": "..."},
                                     {"type": "message", "subtype": "bot_message", "bot_id": "B1", "text": "Build 7 passed", "ts": "..."}]
    D1/2020-08-09.json              private chats have their id for a name, groups (mpims) their name

- A message without a subtype is what somebody wrote, unless it has a bot_id; of the subtypes only those in WRITTEN are.
- `<...>` is Slack's: <@U1> somebody, <#C1|general> a channel, <!here>, <url|what is shown>. What people type is escaped: &lt; &gt; &amp;.
- The name that Slack shows is profile.display_name, which may be empty: then real_name, then name. Newer messages carry a user_profile,
  for people of other workspaces, who are not in users.json.
- Answers in threads lie in the file of their own day, not behind what they answer; in order of ts they are in the order of time.
- Before 2018 an upload was a line of Slack's own, `<@U1> uploaded a file: <url|plan> and commented: here it is`; only the comment is hers.
"""
import posixpath
import re

from ..dialogue import Turn
from ..source import DAMAGE
from . import BOT, DELETED, EMPTY, MEDIA, SYSTEM, UNREADABLE, Speakers, Thread

NAME = 'slack'

COMPANIONS = ('users.json', 'channels.json', 'groups.json', 'dms.json', 'mpims.json')
WRITTEN = (None, 'me_message', 'thread_broadcast', 'reply_broadcast', 'file_share', 'file_comment')
BOTS = ('bot_message', 'slackbot_response')

DAY = re.compile(r'\d{4}-\d\d-\d\d\.json', re.A)
OPENING = re.compile(r'\[\s*\{')
MESSAGE = re.compile(r'"type"\s*:\s*"message"')
OBJECT = re.compile(r'\[\s*\{[^{}]{0,500}?"id"\s*:\s*"[UWCGD][A-Z0-9]+"')
STAMP = re.compile(r'(\d{1,11})\.(\d{1,6})', re.A)
MARK = re.compile(r'<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>')
UPLOAD = re.compile(r'<@[^<>]*> (?:uploaded|shared) a file: <[^<>]*>(?: and commented: )?')


def sniff(source):
    if source.suffix != '.json':
        return 0, 'not a .json'
    start = source.start.lstrip()
    if not OPENING.match(start):
        return 0, 'no list of messages'
    if source.name in COMPANIONS and OBJECT.match(start):
        return 0.9, 'a list of Slack\'s people or channels'
    if not DAY.fullmatch(source.name):
        return 0, 'not called like a day, 2020-08-09.json'
    if '"ts"' in start and MESSAGE.search(start):
        return 1, 'a day of a Slack channel'
    return 0.3, 'called like a day of a Slack channel, but no messages with ts'


def group(source):
    """A workspace is read as one, for its people and channels are in files of their own."""
    folder = posixpath.dirname(source.path)
    return folder if source.name in COMPANIONS else posixpath.dirname(folder)


def read(sources, tally):
    lists, days = {}, {}                                # {companion: its objects}, {folder: [Source]}
    for source in sources:
        if source.name in COMPANIONS:
            lists[source.name] = _objects(source, tally)
        else:
            days.setdefault(posixpath.dirname(source.path), []).append(source)
    people = _People(lists.get('users.json', []))
    channels = {str(channel.get('id')): str(channel.get('name')) for name in ('channels.json', 'groups.json') for channel in lists.get(name, [])}
    private = {channel.get(key): channel.get('members') for name, key in (('dms.json', 'id'), ('mpims.json', 'name')) for channel in lists.get(name, [])
               if isinstance(channel.get(key), str) and isinstance(channel.get('members'), list)}
    for folder, files in days.items():
        name = posixpath.basename(folder)
        thread = Thread(title=name)
        thread.turns = _turns(files, people, channels, tally, thread.mentioned)
        if name in private:
            members = [member for member in private[name] if member and isinstance(member, str)]
            thread.title, thread.group = ', '.join(people.speakers.get(member, member) for member in members), len(members) > 2
            thread.mentioned.update(people.speakers[member] for member in members if member in people.speakers and member not in people.bots)
        yield thread


def _objects(source, tally):
    """The objects of a list; what is no object is left out."""
    try:
        return [item for item in source.json_items('item') if isinstance(item, dict)]
    except DAMAGE as error:
        tally.damaged(source, error)
        return []


class _People:
    """The names behind the ids, and which of them are bots."""

    def __init__(self, users):
        self.speakers, self.bots = Speakers(), {'USLACKBOT'}
        for user in users:
            key = user.get('id')
            if key and isinstance(key, str):
                self.name(key, user, user.get('profile'))
                if user.get('is_bot') is True:
                    self.bots.add(key)

    def name(self, key, user=None, profile=None):
        """What the person with this id is called; user and profile say it of those who are not known yet."""
        if key not in self.speakers:
            user, profile = (found if isinstance(found, dict) else {} for found in (user, profile))
            names = (profile.get('display_name'), user.get('real_name'), profile.get('real_name'), user.get('name'), profile.get('name'))
            self.speakers.name(key, next((name for name in names if isinstance(name, str) and name.strip()), key))
        return self.speakers[key]


def _turns(sources, people, channels, tally, mentioned):
    """The days of a channel -> [Turn] in the order of time. mentioned: a set that gets the names put in for ids."""
    found = []                                          # [(microseconds, Turn as stored: a guest's name may come behind the first mention)]
    for source in sources:
        try:
            for message in source.json_items('item'):
                stamp, turn = _turn(message, people, channels)
                if isinstance(turn, Turn):
                    found.append((stamp, turn))
                else:
                    tally.drop(turn)
        except DAMAGE as error:
            tally.damaged(source, error)
    found.sort(key=lambda pair: pair[0])
    return [turn._replace(text=_plain(turn.text, people, channels, mentioned)) for _, turn in found]


def _turn(message, people, channels):
    """A message -> (microseconds, Turn with the text as it is stored, or why it is none)."""
    if not isinstance(message, dict) or message.get('type') != 'message':
        return None, UNREADABLE
    subtype, text, comment = message.get('subtype'), message.get('text'), message.get('comment')
    if subtype == 'tombstone':
        return None, DELETED
    if subtype not in WRITTEN + BOTS:
        return None, SYSTEM
    if subtype in BOTS or message.get('bot_id'):
        return None, BOT
    if subtype == 'file_comment' and isinstance(comment, dict):
        user, text = comment.get('user'), comment.get('comment')
    else:
        user = message.get('user')
    stamp = STAMP.fullmatch(message.get('ts')) if isinstance(message.get('ts'), str) else None
    if not stamp or not isinstance(text, str) or not user or not isinstance(user, str):
        return None, UNREADABLE
    if user in people.bots:
        return None, BOT
    text = UPLOAD.sub('', text, count=1) if subtype == 'file_share' else text
    if not _plain(text, people, channels, set()).strip():
        return None, MEDIA if any(message.get(key) for key in ('files', 'file', 'attachments')) else EMPTY
    microseconds = int(stamp[1]) * 1_000_000 + int(stamp[2].ljust(6, '0'))
    speaker = people.name(user, message.get('user_profile'), message.get('user_profile'))
    return microseconds, Turn(speaker, text, microseconds // 1000)


def _plain(text, people, channels, mentioned):
    """What Slack shows for what it stores; the names of people in it are added to the set `mentioned`."""
    def shown(mark):
        kind, target, label = mark.groups()
        if kind == '@':
            name = people.speakers.get(target) or label
            if name and target not in people.bots:
                mentioned.add(name)
            return '@' + (name or target)
        if kind == '#':
            return '#' + (label or channels.get(target) or target)
        if kind == '!' and not target.startswith('date^'):
            return '@' + (label or target).removeprefix('@')
        return label or target

    if '<' in text:
        text = MARK.sub(shown, text)
    return text.replace('&lt;', '<').replace('&gt;', '>').replace('&amp;', '&')

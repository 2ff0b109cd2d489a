"""What a line that begins with a slash does.

Each command is a function of this module, by whose name, or a beginning of it that no other has, it is found. It gets the talk.Talk and the rest of
its line. Its docstring is what /help says of it. What cannot be is a UserError, and the chat goes on.
"""
import difflib
import glob
import json
import os
import shlex
import time
from typing import Callable, NamedTuple

from . import files, transcript
from .console import UsageError, UserError, in_line
from .dialogue import Conversation
from .settings import Settings, check_settings

CANDIDATES = 64                                         # replies made at once, at most: each takes a cache of its own
COMMANDS = {}                                           # name -> Command, in the order of /help


class Command(NamedTuple):
    """run(talk, rest of the line); usage: what may stand there; options(talk, rest) -> [(what may be completed, what that means)]."""
    run: Callable
    usage: str
    options: Callable

    @property
    def help(self):
        return self.run.__doc__


def command(usage='', options=lambda talk, rest: []):
    """A function of this module becomes the command of its name (as_ is /as)."""
    def register(function):
        COMMANDS[function.__name__.rstrip('_')] = Command(function, usage, options)
        return function
    return register


def matching(name):
    """The names of the commands that `name` may mean."""
    return [known for known in COMMANDS if known.startswith(name)]


def find(name):
    """The Command of a name, or of what no other begins with."""
    found = matching(name)
    if len(found) == 1:
        return COMMANDS[found[0]]
    if found:
        raise UserError(f'/{name} may be /{", /".join(found)}.')
    near = difflib.get_close_matches(name, COMMANDS, 1)
    raise UserError(f'there is no command /{name}{f", did you mean /{near[0]}?" if near else ";"} /help shows all. A message that begins with a slash: //{name}')


def people(talk, rest):
    return [(name, '') for name in talk.there()]


def commands(talk, rest):
    return [(name, each.help) for name, each in COMMANDS.items()]


def paths(talk, rest):
    found = sorted(glob.glob(glob.escape(os.path.expanduser(rest)) + '*'))
    return [(path + os.sep * os.path.isdir(path), '') for path in found if os.path.isdir(path) or path.endswith(tuple(transcript.FORMATS))]


def chats_(talk, rest):
    return [(str(i), describe(each)) for i, each in enumerate(talk.memory.chats() if talk.memory else [], 1)]


# ---- what was said

def number(word, most):
    """A word as a number from 1 to `most`, or None."""
    return int(word) if word.isdecimal() and len(word) < 10 and 1 <= int(word) <= most else None


def last(talk, mine, what):
    """The newest turn of mine, or of the others."""
    found = [i for i, turn in enumerate(talk.session.turns) if (turn.speaker == talk.session.me) == mine]
    if not found:
        raise UserError(f'there is nothing {what} yet.')
    return found[-1]


def turn_number(talk, word):
    """'3' -> the index of the third turn."""
    n = len(talk.session.turns)
    if not number(word, n):
        raise UserError(f'there is no turn {word[:20]}: ' + (f'it takes a number from 1 to {n}, as /history shows them.' if n else 'nothing was said yet.'))
    return int(word) - 1


def numbered(talk, rest, mine, usage):
    """'[N] TEXT' -> (index, TEXT). Whose turn N is, is told where it is not one of those meant without a number."""
    word, _, text = rest.partition(' ')
    if not word.isdecimal():
        if not rest:
            raise UserError(usage)
        return last(talk, mine, 'to change'), rest
    if not text.strip():
        raise UserError(f'give the words too: {usage.split()[0]} {word[:20]} TEXT.')
    i = turn_number(talk, word)
    turn = talk.session.turns[i]
    if (turn.speaker == talk.session.me) != mine:
        talk.screen.note(in_line(f"turn {word} is {turn.speaker}'s, and said: {turn.text[:60]}"))
    return i, text.strip()


@command('[COMMAND]', commands)
def help_(talk, rest):
    """this list"""
    shown = [find(rest.removeprefix('/'))] if rest else COMMANDS.values()
    names = {each.run: name for name, each in COMMANDS.items()}
    rows = [(f'/{names[each.run]} {each.usage}', each.help) for each in shown]
    width = max(len(left) for left, _ in rows)
    talk.screen.show('\n'.join(f'{left:{width}}  {right}' for left, right in rows) + ('' if rest else '\n\n' + KEYS))


KEYS = '''A beginning of a name is enough: /ret. A message that begins with a slash: //like this. Turns have the numbers that /history shows.
Enter sends; Alt-Enter, or a backslash before Enter, begins a new line. Tab completes. Ctrl-C stops a reply. Ctrl-D ends the chat.'''


@command()
def retry(talk, rest):
    """the newest reply anew"""
    session = talk.session
    if not session.turns:
        raise UserError('there is nothing to answer yet.')
    speaker = session.turns[-1].speaker
    if speaker == session.me:
        talk.respond()
    elif talk.candidates > 1:
        with session.instead():
            talk.let(speaker)
    else:
        old = session.turns[-1]
        talk.screen.speak(speaker, session.retry(speaker))
        if session.turns[-1] is old:
            talk.screen.note('no other one came: the reply stays as it was')
        talk.tell()


@command()
def undo(talk, rest):
    """takes back your newest message, and what came behind it"""
    taken = talk.session.undo()
    talk.screen.note(f'{taken} turn{"s" * (taken != 1)} taken back; {len(talk.session.turns)} left')


@command('[N] TEXT')
def edit(talk, rest):
    """other words for your newest message, or for turn N; /retry then answers anew"""
    i, text = numbered(talk, rest, True, '/edit takes the new words of your newest message, or the number of a turn and its new words.')
    talk.session.edit(i, text)
    talk.screen.turn(talk.session.turns[i], f'{i + 1:3}  ')


@command('[NAME:] TEXT', lambda talk, rest: [(name + ': ', '') for name in talk.there()])
def say(talk, rest):
    """puts words into the mouth of NAME, or of who answers"""
    name, colon, text = rest.partition(':')
    if not colon or name.strip() not in talk.there():
        name, text = talk.session.answerer, rest
    if not text.strip():
        raise UserError('/say takes words.')
    talk.session.say(name.strip(), text.strip())
    talk.screen.turn(talk.session.turns[-1])


@command('[NAME]', people)
def next_(talk, rest):
    """lets NAME speak now, or whoever the model says"""
    speaker = rest or (talk.answerers[0] if len(talk.answerers) == 1 else talk.session.next_speaker(talk.answerers))
    if speaker == talk.session.me or rest and rest not in talk.there():
        raise UserError(f'{speaker} does not answer; /as says who does.')
    talk.let(speaker)


@command('N')
def candidates(talk, rest):
    """from now on so many replies are made, and you take one; 1: off"""
    put(talk, 'candidates', rest)


@command('[N]')
def history(talk, rest):
    """the newest N turns (10) with their numbers"""
    turns = talk.session.turns
    if rest and not number(rest, 10 ** 9):
        raise UserError(f'/history takes how many turns, not {rest[:20]}.')
    if not turns:
        talk.screen.note('nothing was said yet')
    for i in range(max(0, len(turns) - int(rest or 10)), len(turns)):
        talk.screen.turn(turns[i], f'{i + 1:3}  ')


@command('[N]')
def good(talk, rest):
    """the newest reply, or turn N, is as replies should be: learn from it"""
    rate(talk, rest, 1)


@command('[N]')
def bad(talk, rest):
    """the newest reply, or turn N, is not"""
    rate(talk, rest, -1)


@command('[N] TEXT')
def fix(talk, rest):
    """what the newest reply, or turn N, should have been: learn from that"""
    i, text = numbered(talk, rest, False, '/fix takes what the newest reply should have been, or the number of a turn and its words.')
    talk.session.fix(i, text)
    talk.screen.turn(talk.session.turns[i], f'{i + 1:3}  ')


def rate(talk, rest, value):
    i = turn_number(talk, rest) if rest else last(talk, False, 'to rate')
    talk.session.rate(i, value)
    if value < 0:
        talk.screen.note(f'turn {i + 1} is bad: no corpus will have it; /fix {i + 1} and what it should have been is learnt from')
    else:
        from .memory import default_path
        path = talk.memory.path
        where = '' if path == default_path() else f' {shlex.quote(path)}'
        talk.screen.note(f'turn {i + 1} is good: python import_chats.py --from_memory{where} --out corpus.txt makes a corpus of it')


# ---- who speaks

@command('NAME[,NAME...]', lambda talk, rest: people(talk, rest) + [('all', 'everybody in the training data')])
def as_(talk, rest):
    """who answers; several, or all: a group, in which the model says who speaks next"""
    session = talk.session
    if not rest:
        raise UserError(f'/as takes a name, several with commas, or all. There are {", ".join(talk.there()[:20])}.')
    names = named(rest, session, talk.there())
    talk.meet(talk.answerers[0] if names == [session.me] else session.me, names)
    who(talk, '')


def named(said, session, there):
    """Whom /as and --as mean: [name]. there: everybody one may name; the commas in such a name part nothing."""
    if said == 'all':
        names = [name for name in session.people if name != session.me]
        if not names:
            raise UserError('the training data names nobody: name them yourself, with commas between them.')
        return names
    names = [said] if said in there else list(dict.fromkeys(name.strip() for name in said.split(',') if name.strip()))
    if not names:
        raise UserError(f'/as takes names between commas; there are {", ".join(there[:20])}.')
    return names


@command('NAME', people)
def me(talk, rest):
    """who you are"""
    if not rest:
        raise UserError(f'/me takes a name. There are {", ".join(talk.there()[:20])}.')
    others = [name for name in talk.answerers if name != rest]
    talk.meet(rest, others or [talk.session.me])
    who(talk, '')


@command()
def who(talk, rest):
    """who is here, and whom the model knows"""
    talk.screen.note(f'you are {talk.session.me}, {talk.answering()}'
                     + (f'; in the training data: {", ".join(talk.session.people)}' if talk.session.people else ''))


@command('[TEXT|none]')
def persona(talk, rest):
    """a text in front of the conversation that always stays; none: without one"""
    session = talk.session
    if rest:
        before, session.persona = session.persona, '' if rest == 'none' else rest
        try:
            session.prompt(recall=False)
        except UserError:                               # too long
            session.persona = before
            raise
        talk.keep()
    talk.screen.note(session.persona or 'no persona')


# ---- how they speak

SHORT = {'temp': 'temperature'}
OTHERS = ('length', 'max_turns', 'seed', 'candidates')  # settings that are whole numbers and none of Settings


def setting(name, meaning):
    """A command that shows a setting, or changes it."""
    def run(talk, rest):
        put(talk, SHORT.get(name, name), rest)
    run.__doc__ = meaning
    COMMANDS[name] = Command(run, '[X]', lambda talk, rest: [])


for _name, _meaning in (('temp', 'below 1: more predictable, above: wilder; 0: always the likeliest'),
                        ('top_k', 'draws from the X likeliest tokens; 0: off'),
                        ('top_p', 'draws from the likeliest tokens that reach this probability; 0: off'),
                        ('min_p', 'only tokens at least X times as likely as the likeliest; 0: off'),
                        ('length', 'tokens of a reply, at most'),
                        ('seed', 'the same one and the same words give the same replies')):
    setting(_name, _meaning)


@command('[NAME X]', lambda talk, rest: [(name + ' ', str(value)) for name, value in values(talk).items()])
def settings(talk, rest):
    """all settings, or another value for one"""
    name, _, value = rest.partition(' ')
    if rest:
        put(talk, SHORT.get(name, name), value)
    else:
        talk.screen.show('\n'.join(f'{name:22}{value}' for name, value in values(talk).items()))


def values(talk):
    """{setting: value}."""
    return talk.session.settings._asdict() | {name: value_of(talk, name) for name in OTHERS}


def value_of(talk, name):
    return getattr(talk if name in ('seed', 'candidates') else talk.session, name)


def put(talk, name, word):
    """Change a setting to what was typed, and show it; nothing typed: show it."""
    session = talk.session
    if name not in values(talk):
        near = difflib.get_close_matches(name, [*SHORT, *values(talk)], 1)
        raise UserError(f'there is no setting {name}{f", did you mean {near[0]}?" if near else ""}')
    if word:
        try:
            value = (int if name in OTHERS else type(Settings._field_defaults[name]))(word)
        except ValueError:
            raise UserError(f'{name} takes a number, not {word}.') from None
        most = {'length': session.generator.hparams.n_ctx // 2, 'candidates': CANDIDATES}.get(name, value)
        if name in ('length', 'candidates') and not 1 <= value <= most or name == 'max_turns' and value < 0:
            raise UserError(f'{name} {value} is out of range: it takes a whole number from ' + (f'1 to {most}.' if name != 'max_turns' else '0 (all that fit) up.'))
        if name == 'candidates':
            talk.candidates = value
        elif name == 'seed':
            talk.seed = value
            said = session.turns
            talk.start(session.kept)
            talk.session.turns = said
        elif name in OTHERS:
            setattr(session, name, value)
        else:
            try:
                check_settings(**{name: value})
            except UsageError as error:
                raise UserError(str(error).removeprefix('--')) from None
            session.settings = session.settings._replace(**{name: value})
    value = values(talk)[name]
    talk.screen.note(f'{name} {"random" if value is None else value}')


@command()
def context(talk, rest):
    """exactly what the model sees, and how many tokens that is"""
    session = talk.session
    ids, recalled = session.prompt(), [i for turn in session.recalled for i in session.turn_ids(turn)]
    start = next(i for i in range(len(ids)) if ids[i:i + len(recalled)] == recalled)
    parts = ids[:start], recalled, ids[start + len(recalled):]
    talk.screen.show('\n'.join(margin + line for margin, part in zip(('  ', '~ ', '  '), parts) if part
                               for line in session.enc.decode(part).removesuffix('\n').split('\n')))
    talk.screen.note(f'{len(ids)} of {session.generator.hparams.n_ctx} tokens; {session.length} more are kept free for the reply'
                     + f'; ~ {len(session.recalled)} turns recalled, as they fit what was said' * bool(recalled))


# ---- which conversation

def format_of(path):
    """transcript.FORMATS of the name of a file: (write, read)."""
    found = transcript.FORMATS.get(os.path.splitext(path)[1].lower())
    if found is None:
        raise UserError(f'{path}: its name must end in {", ".join(transcript.FORMATS)}.')
    return found


@command('settings|FILE', lambda talk, rest: [('settings', 'to the config file'), *paths(talk, rest)])
def save(talk, rest):
    """settings: keeps them for other chats; FILE: the conversation as .txt, .json or .html"""
    if rest == 'settings':
        keep_settings(talk)
    elif rest:
        export(talk, rest)
    else:
        raise UserError('/save takes the word settings, or the name of a file: .txt, .json or .html.')


@command('FILE', paths)
def export(talk, rest):
    """the conversation as .txt, .json or .html"""
    path = os.path.expanduser(rest)
    if not rest:
        raise UserError('/export takes the name of a file: .txt, .json or .html.')
    write, _ = format_of(path)
    if not talk.session.turns:
        raise UserError('nothing was said yet.')
    if os.path.exists(path) and not (talk.screen.person and talk.sure(f'{path} is there already. Write over it?')):
        raise UserError(f'{path} is there already and stays as it is: choose another name.')
    with files.whole(path, 'w', encoding='utf-8', errors='replace') as file:                # halves of characters, which a terminal may give, are no UTF-8
        file.write(write([Conversation(talk.session.turns)]))
    talk.screen.note(f'{len(talk.session.turns)} turns in {path}')


def keep_settings(talk):
    session = talk.session
    now = values(talk) | {'persona': session.persona, 'banned': list(session.banned)}
    kept = {name: value for name, value in now.items() if value not in (None, '', []) and value != talk.usual.get(name)}
    with files.whole(talk.config, 'w', encoding='utf-8', errors='replace') as file:
        json.dump(kept, file, ensure_ascii=False, indent=1)
        file.write('\n')
    talk.screen.note(f'{talk.config} has these settings now; flags on the command line win over them')


@command('FILE', paths)
def load(talk, rest):
    """goes on with the conversation in a .txt or .json"""
    path = os.path.expanduser(rest)
    if not rest:
        raise UserError('/load takes the name of a file: .txt or .json.')
    _, read = format_of(path)
    if read is None:
        raise UserError(f'{path} is a page for reading: /load takes a .txt or .json.')
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        text = file.read()
    try:
        turns = read(text)[-1].turns
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        raise UserError(f'{path} holds no conversation as /save writes it: "Name: text" a line, or [{{"turns": [{{"speaker", "text"}}]}}].') from None
    talk.new()
    for turn in turns:
        talk.session.say(turn.speaker, turn.text)
    talk.screen.note(f'{len(turns)} turns from {path}')
    talk.show_end()


@command()
def new(talk, rest):
    """a new conversation with the same people"""
    talk.new()
    talk.screen.note('a new conversation')


@command()
def chats(talk, rest):
    """the conversations that are kept, newest first"""
    found = remembered(talk).chats()
    if not found:
        talk.screen.note('none yet')
    here = getattr(talk.session.kept, 'id', None)
    for i, each in enumerate(found, 1):
        talk.screen.show(f'{"*" if each.id == here else " "}{i:3}  {describe(each)}')


@command('N', chats_)
def open_(talk, rest):
    """goes on with conversation N of /chats"""
    found = remembered(talk).chats()
    if not found:
        raise UserError('no conversation is kept yet.')
    if not number(rest, len(found)):
        raise UserError(f'/open takes the number of a conversation, from 1 to {len(found)}, as /chats shows them.')
    chosen = found[int(rest) - 1]
    from .memory import Chat
    talk.start(Chat(talk.memory, chosen.id, chosen.model, chosen.me, chosen.answerer), chosen.me, chosen.answerer)
    talk.resume()


@command('[all]', lambda talk, rest: [('all', 'every conversation with every model')])
def forget(talk, rest):
    """deletes this conversation for good; all: every one that is kept"""
    if rest not in ('', 'all'):
        raise UserError(f'/forget takes nothing, or all, not {rest}.')
    if not talk.sure('Every conversation is deleted for good?' if rest else 'This conversation is deleted for good?'):
        return
    if talk.memory:
        talk.memory.forget(None if rest else [talk.session.kept.id])
    talk.screen.forget()
    talk.new()
    talk.screen.note('forgotten, with what was typed')


def remembered(talk):
    """The memory of this chat."""
    if talk.memory is None:
        raise UserError('conversations are not kept in this chat: start it with --memory PATH.')
    return talk.memory


@command()
def quit_(talk, rest):
    """ends the chat"""
    talk.over = True


# ---- words

def describe(kept):
    """A memory.Kept in a line."""
    return in_line(f'{moment(kept.changed)}  {kept.answerer} with {kept.me}, {kept.turns} turns: {kept.title}')


def moment(ms):
    """Milliseconds since 1970 -> '21 November 2026, 18:30', by the clock of this machine."""
    return transcript.moment(ms + 1000 * time.localtime(ms / 1000).tm_gmtoff)

"""The commands of a chat, over a session whose model is a script: what it would say is given. All else, the memory too, is real."""
import json
import os
from types import SimpleNamespace

import pytest

from src import chat, commands, console, dialogue, encoder, memory, model, terminal
from src.console import UserError
from src.talk import ROUNDS, Talk

ENC = encoder.get_encoder('demo')


class Scripted(chat.ChatSession):
    """Says the next of `script`, lets the next of `order` speak; a KeyboardInterrupt in a turn is somebody who stops it."""
    script, order = (), ()

    def answer(self, speaker=None):
        speaker, text, said = speaker or self.answerer, self.script.pop(0), ''
        try:
            for piece in text if isinstance(text, list) else [text]:
                if piece is KeyboardInterrupt:
                    raise KeyboardInterrupt
                said += piece
                yield piece
        finally:
            if said:
                self.say(speaker, said)

    def candidates(self, n, speaker=None):
        return [chat.Candidate(self.script.pop(0), -i / 4, -i) for i in range(min(n, len(self.script)))]

    def next_speaker(self, people=None):
        self.asked.append(people)
        return self.order.pop(0)


class Paper(terminal.Plain):
    """A screen that keeps what it shows, with a person who answers questions, or nobody."""

    def __init__(self, *answers, person=True):
        self.person, self.answers, self.text, self.forgot = person, list(answers), '', False

    def write(self, text):
        self.text += text

    def answer(self, question):
        self.text += question + '\n'
        return self.answers.pop(0)

    def forget(self):
        self.forgot = True

    def new(self):
        """What was written since the last call."""
        text, self.text = self.text, ''
        return text


PEOPLE = ['Mara', 'Theo', 'Lena']


def talk(*script, order=(), answers=(), person=True, kept=None, style='name', n_ctx=256, **options):
    """A Talk of Theo with Mara. kept: the path of a memory."""
    mind = kept and memory.Memory(str(kept))
    asked = []

    def begin(chat_, me='Theo', answerer='Mara', seed=None):
        session = Scripted(SimpleNamespace(hparams=model.HParams(n_ctx=n_ctx)), ENC, dialogue.get_style(style), me=me, answerer=answerer, length=20,
                           people=PEOPLE, seed=seed, kept=chat_)
        session.script, session.order, session.asked = list(script), list(order), asked
        return session

    return Talk(begin(mind and mind.open('m', 'Theo', 'Mara')), Paper(*answers, person=person), begin=begin, memory=mind, model='m', **options)


def hear(t, *lines):
    """What is shown for these lines."""
    for line in lines:
        t.hear(line)
    return t.screen.new()


def said(t):
    return [(turn.speaker, turn.text) for turn in t.session.turns]


def test_a_message_is_answered():
    t = talk('Hi Theo.', 'Oh?')
    assert hear(t, 'hi mara') == 'Mara: Hi Theo.\n'
    assert hear(t, '//shrug') == 'Mara: Oh?\n'
    assert said(t) == [('Theo', 'hi mara'), ('Mara', 'Hi Theo.'), ('Theo', '/shrug'), ('Mara', 'Oh?')]


@pytest.mark.parametrize('line, answer', [
    ('/bogus', '(there is no command /bogus; /help shows all. A message that begins with a slash: //bogus)\n'),
    ('/retyr', '(there is no command /retyr, did you mean /retry? /help shows all. A message that begins with a slash: //retyr)\n'),
    ('/ca 3', '(candidates 3)\n'),                      # a beginning that no other has
    ('/h', '(/h may be /help, /history.)\n'),
    ('/temp', '(temperature 0.95)\n'),                  # though /temperature is not a command
    ('/retry', '(there is nothing to answer yet.)\n'),
    ('/good', '(there is nothing to rate yet.)\n'),
    ('/edit', '(/edit takes the new words of your newest message, or the number of a turn and its new words.)\n'),
    ('/history x', '(/history takes how many turns, not x.)\n'),
    ('/chats', '(conversations are not kept in this chat: start it with --memory PATH.)\n'),
    ('/me', '(/me takes a name. There are Mara, Theo, Lena.)\n'),
    ('/save notes.pdf', '(notes.pdf: its name must end in .txt, .json, .html.)\n'),
    ('/load nowhere.txt', '(nowhere.txt: there is no such file; check the path.)\n'),
    ('/save notes.txt', '(nothing was said yet.)\n'),
    ('/forget it', '(/forget takes nothing, or all, not it.)\n'),
], ids=lambda value: value.split()[0] if value.startswith('/') else '')
def test_no_command_goes_to_the_model(line, answer):
    t = talk()
    assert hear(t, line) == answer and said(t) == []


def test_help_names_every_command():
    assert not any(other.startswith(name) for name in commands.COMMANDS for other in commands.COMMANDS if other != name)
    t = talk()
    shown = hear(t, '/help')
    for name, command in commands.COMMANDS.items():
        assert f'/{name} {command.usage}'.rstrip() in shown and command.help in shown
    wanted = ('help retry undo edit say as me who persona candidates temp top_k top_p min_p length seed settings history context save load new chats open '
              'forget good bad fix export quit').split()
    assert set(wanted) <= set(commands.COMMANDS)
    assert hear(t, '/help undo') == '/undo   takes back your newest message, and what came behind it\n'
    assert hear(t, '/') == shown


def test_retry_undo_edit_say():
    t = talk('One.', 'Two.', 'Three.')
    hear(t, 'hi')
    assert hear(t, '/retry') == 'Mara: Two.\n' and said(t) == [('Theo', 'hi'), ('Mara', 'Two.')]
    assert hear(t, '/edit hello there') == '  1  Theo: hello there\n'
    assert hear(t, '/edit 2 2 it is') == "(turn 2 is Mara's, and said: Two.)\n  2  Mara: 2 it is\n" and said(t) == [('Theo', 'hello there'), ('Mara', '2 it is')]
    for line in ('/edit 2', '/fix 1', '/edit 99 '):
        assert hear(t, line) == f'(give the words too: {line.strip()} TEXT.)\n'
    assert said(t) == [('Theo', 'hello there'), ('Mara', '2 it is')] and hear(t, '/edit 1 hello there') == '  1  Theo: hello there\n'
    assert hear(t, '/edit 0 x') == '(there is no turn 0: it takes a number from 1 to 2, as /history shows them.)\n'
    assert hear(t, '/edit 3 x') == '(there is no turn 3: it takes a number from 1 to 2, as /history shows them.)\n'
    assert hear(t, '/say I mean: it is.') == 'Mara: I mean: it is.\n'              # nobody is called `I mean`
    assert hear(t, '/say Lena: so do i') == 'Lena: so do i\n'
    assert hear(t, '/undo') == '(4 turns taken back; 0 left)\n' and said(t) == []
    hear(t, '/say Theo: well')
    assert hear(t, '/retry') == 'Mara: Three.\n'                                    # nobody has answered yet


def test_history_cannot_be_forged():
    t = talk('Oh.\nTheo: give me the keys')
    hear(t, 'hi')
    assert hear(t, '/history') == '  1  Theo: hi\n  2  Mara: Oh.\n       Theo: give me the keys\n'
    assert hear(t, '/history 1') == '  2  Mara: Oh.\n       Theo: give me the keys\n'


def test_what_would_steer_the_terminal_is_not_shown():
    t = talk('\x1b[2J\u202eevil\x07')
    shown = hear(t, 'a\x1b]0;title\x07b', '/history', '/context', '/edit \x9b1m', '/persona \x1b[31m', '/bog\x1bus', '/me \x1b[5mMe\u2066', '/load \x1b.txt', '/as \x1bA')
    assert not console.STEERING.search(shown) and '\ufffd[2J\ufffdevil\ufffd' in shown
    assert t.session.turns[1].text == '\x1b[2J\u202eevil\x07'                       # it is content all the same


def test_a_stopped_reply_stays():
    t = talk(['I was ', KeyboardInterrupt, 'never'], 'Then.')
    assert hear(t, 'hi') == 'Mara: I was  ...\n'
    assert hear(t, 'and?') == 'Mara: Then.\n'
    assert said(t) == [('Theo', 'hi'), ('Mara', 'I was '), ('Theo', 'and?'), ('Mara', 'Then.')]


def test_a_reply_stays_until_another_has_words(tmp_path):
    t = talk('One.', [KeyboardInterrupt], ['Two', KeyboardInterrupt], kept=tmp_path / 'm.db')
    hear(t, 'hi')
    assert hear(t, '/retry') == 'Mara:  ...\n(no other one came: the reply stays as it was)\n' and said(t) == [('Theo', 'hi'), ('Mara', 'One.')]
    assert [turn.text for turn in t.session.kept.turns()] == ['hi', 'One.']
    assert hear(t, '/retry') == 'Mara: Two ...\n' and said(t) == [('Theo', 'hi'), ('Mara', 'Two')] and [turn.text for turn in t.session.kept.turns()] == ['hi', 'Two']


def test_what_the_model_no_longer_sees_is_told_with_its_reason():
    t = talk(*['Fine.'] * 30)
    t.session.answer = lambda speaker: (t.session.prompt(), t.session.say(speaker, 'Fine.'), 'Fine.')[2:]
    t.screen.speak = lambda name, pieces: True
    hear(t, 'hi', 'so?', '/settings max_turns 1')
    assert hear(t, 'and?') == '' and t.session.first == 4               # the user wanted it
    hear(t, '/settings max_turns 0')
    assert hear(t, 'and?') == '' and t.session.first == 0
    assert hear(t, 'long ' * 200).startswith('(the model no longer sees the first 8 turns: its 256 tokens are full)\n')
    hear(t, '/undo', 'short')
    assert t.session.first == 0
    assert hear(t, 'long ' * 200).startswith('(the model no longer sees the first 10 turns: its 256 tokens are full)\n')


def test_candidates():
    t = talk('Best.', 'Second\nline.', 'Third.', 'A.', 'B.', 'C.', 'D.', answers=['7', 'x', '2', '', None])
    hear(t, '/candidates 3')
    shown = hear(t, 'hi')
    assert shown == ('  1    0.00  Best.\n  2   -0.25  Second\n             line.\n  3   -0.50  Third.\n' + '1 to 3, or Enter for the first:\n' * 3
                     + 'Mara: Second\n  line.\n')
    hear(t, '/candidates 2')
    assert hear(t, '/retry').endswith('Mara: A.\n')     # Enter
    assert hear(t, '/retry').endswith('2, or Enter for the first:\n') and said(t) == [('Theo', 'hi'), ('Mara', 'A.')]       # Ctrl-C takes none: the old one stays
    assert hear(t, '/candidates 0') == '(candidates 0 is out of range: it takes a whole number from 1 to 64.)\n'
    nobody = talk('Best.', 'Second.', person=False, candidates=2)
    assert hear(nobody, 'hi') == 'Mara: Best.\n'
    assert hear(nobody, 'and?') == '' and said(nobody)[-1] == ('Theo', 'and?')      # the model has nothing to say


def test_who_answers():
    t = talk('I do.', 'Me too.')
    assert hear(t, '/as Lena') == '(you are Theo, Lena answers; in the training data: Mara, Theo, Lena)\n'
    assert hear(t, 'who?') == 'Lena: I do.\n'
    assert hear(t, '/me Jo') == '(Jo is not in the training data: Mara, Theo, Lena are)\n(you are Jo, Lena answers; in the training data: Mara, Theo, Lena)\n'
    assert hear(t, '/as Jo').endswith('(you are Lena, Jo answers; in the training data: Mara, Theo, Lena)\n')          # they change places
    assert hear(t, '/me Jo').endswith('(you are Jo, Lena answers; in the training data: Mara, Theo, Lena)\n')
    hear(t, '/me Lena')
    assert hear(t, '/next Mara') == 'Mara: Me too.\n'
    assert hear(t, '/next Nobody') == '(Nobody does not answer; /as says who does.)\n'
    assert hear(t, '/as Mara,Lena') == '(Lena cannot talk to Lena: /me and /as take different names.)\n'
    seats = talk('ok', style='dialogpt')
    assert hear(seats, '/as A,B') == '(the style dialogpt has two seats and no names: one answers at a time.)\n'
    assert hear(seats, '/as Joan', 'hi').endswith('Joan: ok\n')


def test_a_group():
    t = talk('I have.', 'No you have not.', 'Yes?', 'Hm.', order=['Lena', 'Mara', 'Theo', 'Mara', 'Lena', ''])
    assert hear(t, '/as all') == '(you are Theo, Mara and Lena answer; in the training data: Mara, Theo, Lena)\n'
    assert hear(t, 'who has the keys?') == 'Lena: I have.\nMara: No you have not.\n'
    assert t.session.asked == [['Mara', 'Lena'], ['Mara', 'Lena', 'Theo'], ['Mara', 'Lena', 'Theo']]
    t.session.script[1] = [KeyboardInterrupt]
    assert hear(t, 'mara?') == 'Mara: Yes?\nLena:  ...\n' and t.session.order == ['']                 # whoever stops one has the word
    endless = talk(*'abcdefghij', order=['Mara', 'Lena'] * 5)
    hear(endless, '/as Mara, Lena')
    assert hear(endless, 'hi').count(': ') == ROUNDS


@pytest.mark.parametrize('line, answer', [
    ('/temp 0.5', 'temperature 0.5'), ('/top_k 5', 'top_k 5'), ('/top_p .7', 'top_p 0.7'), ('/min_p 0.1', 'min_p 0.1'), ('/settings typical_p 0.5', 'typical_p 0.5'),
    ('/settings temp 0', 'temperature 0.0'), ('/length 30', 'length 30'), ('/settings max_turns 4', 'max_turns 4'), ('/seed 7', 'seed 7')], ids=str)
def test_settings(line, answer):
    t = talk('ok')
    hear(t, '/say hello')
    before = commands.values(t)
    assert hear(t, line) == f'({answer})\n'
    name, value = answer.split()
    assert commands.values(t) == before | {name: float(value)} and said(t) == [('Mara', 'hello')]
    assert f'{name:22}{value}\n' in hear(t, '/settings')


@pytest.mark.parametrize('line, answer', [
    ('/temp -1', 'temperature -1.0 is out of range: it takes a number from 0 (greedy) up.'), ('/top_k 1.5', 'top_k takes a number, not 1.5.'),
    ('/temp nan', 'temperature nan is out of range: it takes a number from 0 (greedy) up.'), ('/length 129', 'length 129 is out of range: it takes a whole number from 1 to 128.'),
    ('/length 0', 'length 0 is out of range: it takes a whole number from 1 to 128.'), ('/settings tempo 1', 'there is no setting tempo, did you mean temp?'),
    ('/settings max_turns -1', 'max_turns -1 is out of range: it takes a whole number from 0 (all that fit) up.'), ('/seed x', 'seed takes a number, not x.')], ids=str)
def test_settings_that_cannot_be(line, answer):
    t = talk()
    before = commands.values(t)
    assert hear(t, line) == f'({answer})\n' and commands.values(t) == before


def test_context_is_what_the_model_sees(tmp_path):
    t = talk('Fine.', kept=tmp_path / 'm.db')
    hear(t, 'the zebra ate my hat', '/new')
    hear(t, '/say Theo: where is that zebra?')
    t.status()
    assert t.session.recalled == []                     # nobody has to answer yet
    assert hear(t, '/persona You are at the zoo.') == '(You are at the zoo.)\n'
    ids = t.session.prompt()
    shown = hear(t, '/context')
    assert shown == ('  <|endoftext|>You are at the zoo.\n~ Theo: the zebra ate my hat\n~ Mara: Fine.\n  Theo: where is that zebra?\n  Mara:\n'
                     f'({len(ids)} of 256 tokens; 20 more are kept free for the reply; ~ 2 turns recalled, as they fit what was said)\n')
    assert ENC.decode(ids) == ''.join(line[2:] + '\n' for line in shown.splitlines()[:-1]).removesuffix('\n')
    assert 'the persona has' in hear(t, '/persona ' + 'very long ' * 50) and t.session.persona == 'You are at the zoo.'
    assert hear(t, '/persona none') == '(no persona)\n'
    assert t.status().startswith('Mara answers · ') and ' of 256 tokens' in t.status()


@pytest.mark.parametrize('ending', ['txt', 'json', 'html'])
def test_a_transcript_is_saved_and_loaded(tmp_path, ending):
    path = tmp_path / f'our talk.{ending}'
    t = talk('Hi.\nTheo: no', 'Oh.', answers=['n', 'y'])
    hear(t, 'hi: mara', 'so?')
    assert hear(t, f'/save {path}') == f'(4 turns in {path})\n'
    written = path.read_text(encoding='utf-8')
    assert hear(t, '/undo', f'/export {path}').endswith(f'({path} is there already and stays as it is: choose another name.)\n')
    assert path.read_text(encoding='utf-8') == written
    path.write_text(written, encoding='utf-8-sig')     # as Notepad may save it
    other = talk()
    if ending == 'html':
        assert hear(other, f'/load {path}') == f'({path} is a page for reading: /load takes a .txt or .json.)\n'
    else:
        assert hear(other, f'/load {path}').startswith(f'(4 turns from {path})\nTheo: hi: mara\nMara: Hi.\n  Theo: no\nTheo: so?\n')
        assert said(other) == [('Theo', 'hi: mara'), ('Mara', 'Hi.\nTheo: no'), ('Theo', 'so?'), ('Mara', 'Oh.')]
    assert hear(t, f'/export {path}') == f'{path} is there already. Write over it? [y/N]\n(2 turns in {path})\n' and path.read_text(encoding='utf-8') != written
    nobody = talk(person=False)
    assert hear(nobody, '/say hi', f'/save {path}').endswith('stays as it is: choose another name.)\n')


@pytest.mark.parametrize('name, text', [('a.json', '{"turns": '), ('b.json', '[1]'), ('c.json', '[{"turns": [{"speaker": 1}]}]'), ('d.json', '{}'), ('g.json', '[{"turns": [{"speaker": "", "text": "x"}]}]'),
                                         ('h.json', '[{"turns": [{"speaker": "x", "text": null}]}]'), ('e.txt', 'no talk'), ('f.txt', '')])
def test_what_holds_no_conversation_changes_nothing(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    t = talk('Hi.')
    hear(t, 'hi')
    assert f'{name} holds no conversation as /save writes it' in hear(t, f'/load {tmp_path / name}') and len(said(t)) == 2


def test_settings_are_kept(tmp_path):
    t = talk(config=str(tmp_path / 'new' / 'config.json'), candidates=2)
    t.session.banned = ['dam', 'a, b']
    assert hear(t, '/temp 0.5', '/persona Ahoy', '/save settings').endswith('config.json has these settings now; flags on the command line win over them)\n')
    kept = json.loads((tmp_path / 'new' / 'config.json').read_text())
    assert kept['temperature'] == 0.5 and kept['persona'] == 'Ahoy' and kept['candidates'] == 2 and kept['banned'] == ['dam', 'a, b'] and 'seed' not in kept


def test_kept_conversations(tmp_path):
    t = talk('Hi.', kept=tmp_path / 'm.db')
    assert hear(t, '/chats') == '(none yet)\n' and hear(t, '/open 1') == '(no conversation is kept yet.)\n'
    hear(t, 'hi mara', '/temp 0.5', '/new')
    assert said(t) == [] and t.session.settings.temperature == 0.5
    t.session.script = ['Sure.']
    hear(t, '/as Lena', '/me Jo', 'again')
    first, second = hear(t, '/chats').splitlines()
    assert first.startswith('*  1  ') and first.endswith('Lena with Jo, 2 turns: again') and second.startswith('   2  ') and second.endswith('Mara with Theo, 2 turns: hi mara')
    assert hear(t, '/open 3') == '(/open takes the number of a conversation, from 1 to 2, as /chats shows them.)\n'
    shown = hear(t, '/open 2')
    assert shown.startswith('Theo: hi mara\nMara: Hi.\n(going on from ') and shown.endswith('; /new starts afresh)\n')
    assert (t.session.me, t.answerers, said(t)) == ('Theo', ['Mara'], [('Theo', 'hi mara'), ('Mara', 'Hi.')])
    t.session.script = ['Good.']
    hear(t, 'well')
    assert {kept.title: kept.turns for kept in memory.Memory(str(tmp_path / 'm.db')).chats()} == {'hi mara': 4, 'again': 2}


def test_a_conversation_keeps_its_group_and_its_persona(tmp_path):
    t = talk('Hi.', kept=tmp_path / 'm.db', order=['Lena', 'Theo'])
    hear(t, '/as Mara,Lena', '/persona A ship.', 'hi both')
    again = talk('Hi.', kept=tmp_path / 'm.db')
    assert (again.answerers, again.session.persona, said(again)) == (['Mara', 'Lena'], 'A ship.', [('Theo', 'hi both'), ('Lena', 'Hi.')])
    assert talk(kept=tmp_path / 'm.db', answerers=['Mara']).answerers == ['Mara']                # as somebody wants it now
    hear(again, '/new', '/persona none', '/as Mara', 'alone')
    assert (again.answerers, again.session.kept.persona) == (['Mara'], '')
    assert '(persona: A ship.)\n(going on from ' in hear(again, '/open 2')
    assert (again.answerers, again.session.persona) == (['Mara', 'Lena'], 'A ship.')
    assert [(each.answerers, each.persona) for each in (talk(kept=tmp_path / 'm.db').session.kept,)] == [(['Mara'], '')]
    seats = talk(kept=tmp_path / 'm.db', style='dialogpt')
    hear(seats, '/open 2')
    assert seats.answerers == ['Mara']


def test_who_comes_back_finds_the_conversation_they_had(tmp_path):
    t = talk('Hi.', 'Oh.', kept=tmp_path / 'm.db')
    hear(t, 'hi mara', '/as Lena', 'hi lena')
    again = memory.Memory(str(tmp_path / 'm.db'))
    assert again.open('m', 'Theo', 'Mara').turns() == [] and [turn.text for turn in again.open('m', 'Theo', 'Lena').turns()] == ['hi mara', 'Hi.', 'hi lena', 'Oh.']


@pytest.mark.parametrize('lines, words', [
    (['/as ,'], '/as takes names between commas'), (['/as ' + 'x' * 300], 'the name xxxx'), (['hi', '/history ' + '9' * 5000], '/history takes how many turns'),
    (['hi', '/good ' + '9' * 5000], 'there is no turn 9999'), (['hi', '/edit ' + '9' * 5000 + ' x'], 'there is no turn 9999')], ids=range(5))
def test_what_cannot_be_is_told_and_the_chat_goes_on(lines, words):
    t = talk('Hi.', 'Yes.')
    assert words in hear(t, *lines) and hear(t, 'hi').endswith('.\n') and t.status()


def test_halves_of_characters_and_deep_files(tmp_path):
    t = talk('Hi.', config=str(tmp_path / 'config.json'))
    hear(t, 'caf\udce9', '/persona caf\udce9', f'/export {tmp_path}/x.txt', '/save settings')
    assert (tmp_path / 'x.txt').read_text() == 'Theo: caf?\nMara: Hi.\n<|endoftext|>\n' and json.loads((tmp_path / 'config.json').read_text())['persona'] == 'caf?'
    (tmp_path / 'deep.json').write_text('[' * 200000)
    assert 'holds no conversation' in hear(t, f'/load {tmp_path}/deep.json')


def test_saved_settings_are_those_that_somebody_chose(tmp_path):
    t = talk('Hi.', config=str(tmp_path / 'config.json'))
    t.usual = {'candidates': 1, 'length': t.session.length, 'max_turns': 0, **t.session.settings._asdict()}
    hear(t, '/temp 0.5', '/save settings')
    assert json.loads((tmp_path / 'config.json').read_text()) == {'temperature': 0.5}


@pytest.mark.parametrize('line, left', [('/forget', ['more']), ('/forget all', [])])
def test_forget(tmp_path, line, left):
    t = talk('Hi.', kept=tmp_path / 'm.db', answers=['', 'y'])
    hear(t, '/say more', '/new', 'a secret')
    assert hear(t, line).endswith('[y/N]\n') and len(said(t)) == 2 and not t.screen.forgot
    assert hear(t, line).endswith('(forgotten, with what was typed)\n') and said(t) == [] and t.screen.forgot
    assert [kept.title for kept in t.memory.chats()] == left
    assert b'secret' not in b''.join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_conversation_that_has_not_begun_is_forgotten_alone(tmp_path):
    t = talk('Hi.', kept=tmp_path / 'm.db', person=False)
    hear(t, 'hi', '/new', '/forget')
    assert len(t.memory.chats()) == 1


def test_ratings_are_kept(tmp_path):
    t = talk('One.', 'Two.', kept=tmp_path / 'm.db')
    hear(t, 'hi', 'and?')
    assert hear(t, '/good 2') == f'(turn 2 is good: python import_chats.py --from_memory {tmp_path}/m.db --out corpus.txt makes a corpus of it)\n'
    assert hear(t, '/fix Two it is.') == '  4  Mara: Two it is.\n'
    assert hear(t, '/bad 9') == '(there is no turn 9: it takes a number from 1 to 4, as /history shows them.)\n'
    assert said(t)[-1] == ('Mara', 'Two it is.') == t.session.kept.turns()[-1][:2]
    rows = t.memory._db.execute('SELECT text, rating, bad FROM turns ORDER BY id').fetchall()
    assert rows == [('hi', 0, None), ('One.', 1, None), ('and?', 0, None), ('Two it is.', 1, 'Two.')]
    assert hear(t, '/bad') == '(turn 4 is bad: no corpus will have it; /fix 4 and what it should have been is learnt from)\n'
    assert t.memory._db.execute('SELECT rating FROM turns ORDER BY id').fetchall()[-1] == (-1,)
    unkept = talk('One.')
    assert hear(unkept, 'hi', '/good').endswith('(this chat is not kept, so nothing can be learnt from it: start it with --memory PATH.)\n')


def test_completion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir('talks')
    for name in ('a.txt', 'b.json', 'c.png'):
        open(name, 'w').close()
    t = talk('Hi.', kept=tmp_path / 'm.db')
    hear(t, 'hi mara')
    found = lambda text: [(length, option) for length, option, _ in t.complete(text)]                  # noqa: E731
    assert found('/re') == [(3, '/retry')] and ('/retry', 'the newest reply anew') in [found[1:] for found in t.complete('/')]
    assert found('hello') == found('//re') == found('/bogus x') == found('/undo x') == []
    assert found('/as Ma') == [(2, 'Mara')] and found('/as Mara, le') == [(2, 'Lena')] and (0, 'all') in found('/as ')
    assert found('/say le') == [(2, 'Lena: ')] and found('/me Th') == [(2, 'Theo')]
    assert found('/load ') == [(0, 'a.txt'), (0, 'b.json'), (0, 'talks/')] and found('/save s') == [(1, 'settings')]
    assert found('/open ') == [(0, '1')] and found('/forget ') == [(0, 'all')] and found('/settings temperature ') == found('/settings temperature 1') == []
    assert found('/settings temp') == [(4, 'temperature ')] and found('/help un') == [(2, 'undo')]


def test_a_mistake_in_a_reply_does_not_end_the_chat():
    def broken():
        raise UserError('no room.')
        yield

    t = talk()
    t.session.answer = lambda speaker: broken()
    assert hear(t, 'hi') == 'Mara: \n(no room.)\n' and not t.over
    hear(t, '/quit')
    assert t.over

"""import_chats.py as people use it: exports in, a corpus out, a report that adds up; and whatever goes wrong is told in a sentence."""
import csv
import io
import itertools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from conftest import ROOT, fails_clearly, run_script

import import_chats
from src import dialogue, readers
from src.console import UsageError

SCRIPT = os.path.join(ROOT, 'import_chats.py')
EXPORTS, DEMO = os.path.join(ROOT, 'tests', 'exports'), os.path.join(ROOT, 'demo', 'exports')
DAY = 86_400_000


@pytest.fixture
def here(tmp_path):
    return Folder(tmp_path)


class Folder:
    """A folder to import in: put(name, text), run(arguments), read(name)."""

    def __init__(self, path):
        self.path = path

    def put(self, name, content):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def run(self, *arguments, **options):
        return run_script(SCRIPT, *arguments, cwd=self.path, **options)

    def good(self, *arguments, **options):
        """Run, and see that all adds up -> (what was printed, the report)."""
        result = self.run(*arguments, '--report', 'report.json', **options)
        assert result.returncode == 0 and 'Traceback' not in result.stderr, result.stderr
        report = json.loads(self.read('report.json'))
        adds_up(report)
        return result.stdout, report

    def read(self, name):
        return (self.path / name).read_text('utf-8')

    def files(self):
        return sorted(os.path.relpath(os.path.join(folder, name), self.path) for folder, _, names in os.walk(self.path) for name in names)

    def untouched(self):
        """A context: no file is changed, none comes."""
        return Untouched(self)


class Untouched:
    def __init__(self, folder):
        self.folder = folder

    def look(self):
        return {name: (self.folder.path / name).read_bytes() for name in self.folder.files()}

    def __enter__(self):
        self.before = self.look()

    def __exit__(self, *error):
        assert self.look() == self.before


def adds_up(report):
    """read = kept + dropped: of all, of each thread; records = read + dropped of each format."""
    assert report['read'] == report['kept'] + sum(report['dropped'].values())
    for thread in report['threads']:
        assert thread['read'] == thread['kept'] + sum(thread['dropped'].values()), thread
    for name, counts in report['formats'].items():
        assert counts['records'] == counts['read'] + sum(counts['dropped'].values())
        threads = [thread for thread in report['threads'] if thread['format'] == name]
        assert counts['messages'] == sum(thread['read'] for thread in threads) and counts['kept'] == sum(thread['kept'] for thread in threads)
    assert report['kept'] == sum(report['people'].values()) == sum(thread['kept'] for thread in report['threads'])
    assert sum(counts['conversations'] for counts in report['written'].values()) == sum(thread['conversations'] for thread in report['threads'])


def columns_add_up(printed):
    """The rows of Threads, "and 3 more" among them, add up to "In all", and so do the messages of Read."""
    read, _, rest = printed.partition('\nThreads ')
    threads, _, rest = rest.partition('\nIn all ')
    rows = [list(map(number, row[30:65].split())) for row in threads.split('\n')[1:] if row[2:3].strip()]
    total = list(map(number, rest.split()[:3]))
    assert [sum(column) for column in zip(*rows)] == total
    assert sum(number(row.split()[-1]) for row in read.split('\n')[1:] if row[2:3].strip()) == total[0]


def number(text):
    return int(text.replace(',', ''))


def test_the_columns_of_the_report_add_up(here):
    for name in range(14):
        here.put(f'chats/{name}.txt', whatsapp(f'Theo{name}: hi', 'Mara: yes', f'Theo{name}: <Media omitted>', f'Theo{name} left'))
    here.put('chats/chat.txt', CHAT)
    printed, report = here.good('chats')
    assert report['read'] > sum(thread['read'] for thread in report['threads'])
    columns_add_up(printed)


def test_the_help_says_what_format_does_in_a_folder(here):
    assert 'look for this format only, and take a file that is named here for it, whatever is in it' in ' '.join(here.run('--help').stdout.split())


@pytest.mark.parametrize('columns', ['Speaker,Message', 'Date,Speaker,Message'])
def test_a_table_of_speakers_and_messages(here, columns):
    here.put('a.csv', f'{columns}\n' + ''.join('2024-01-01,'[:11 * columns.count('Date')] + row for row in ('Mara,"hi, you"\n', 'Theo,yes\n')))
    here.good('a.csv')
    assert here.read('corpus.txt').startswith('Mara: hi, you\nTheo: yes\n')


def timestamps(*said):
    """(time, speaker, text)... -> a chat in the style timestamp."""
    return ''.join(dialogue.STYLES['timestamp'].pieces(dialogue.Turn(speaker, text, time))[0] + dialogue.STYLES['timestamp'].body(text) + '\n' for time, speaker, text in said)


def whatsapp(*said, day='31/12/20'):
    return ''.join(f'{day}, 10:{i:02} - {line}\n' for i, line in enumerate(said))


def messenger(title, *said, start=1_600_000_000_000):
    names = dict.fromkeys(name for name, _ in said)
    messages = [{'sender_name': name, 'timestamp_ms': start + 60_000 * i, 'content': text} for i, (name, text) in enumerate(said)]
    return json.dumps({'participants': [{'name': name} for name in names], 'messages': messages[::-1], 'title': title, 'thread_path': f'inbox/{title}_1'})


CHAT = 'Mara: hi\nTheo: hello\nMara: late?\nTheo: soon\n'
PAIRS = 'Mara: hi\nTheo: hello\n\nMara: late?\nTheo: soon\n\nMara: so\nTheo: well\n'


# ---- what is written, what is told

def test_the_demo(here):
    printed, report = here.good(DEMO, '--out', 'chats.txt', '--validation', '0.07')
    assert here.files() == ['chats.txt', 'chats.validation.txt', 'report.json']
    conversations = list(dialogue.STYLES['name'].parse(here.read('chats.txt')))
    assert report['written']['chats.txt'] == {'conversations': len(conversations), 'turns': sum(len(c.turns) for c in conversations), 'characters': len(here.read('chats.txt'))}
    held_out, trained = (report['written'][name]['characters'] for name in ('chats.validation.txt', 'chats.txt'))
    assert held_out / (held_out + trained) == pytest.approx(0.07, abs=0.005)
    assert set(report['people']) == {'Theo', 'Mara', 'Priya', 'Lena', 'Jonas'} and report['days'] == ['2023-01-02', '2024-12-29']
    assert set(report['formats']) == {'whatsapp', 'messenger', 'telegram'}
    for words in ('system lines (39)', 'Sunday soup (messenger)', 'did not ask to be imitated', 'python encode.py chats.txt chats.npz',
                  '--learn_from Mara --val_dataset chats.validation.txt', '12,215'):
        assert words in printed
    assert all(len(line) <= 100 for line in printed.split('\n') if not line.startswith(('  python', '  demo', '  ' + ROOT))), printed


@pytest.mark.parametrize('options', [(), ('--redact', '--pseudonyms'), ('--bursts', 'keep', '--min_turns', '3', '--session_gap', '0'), ('--chats', 'groups'), ('--drop_script', 'Latin'),
                                     ('--since', '2020-01-01', '--until', '2022-12-31'), ('--style', 'tokens', '--you', 'Theo'), ('--validation', '0.5', '--min_turns', '1')])
def test_every_format_adds_up(here, options):
    result = here.run(EXPORTS, '--report', 'report.json', *options)
    if options == ('--drop_script', 'Latin'):
        assert fails_clearly(result, 1, 'nothing is left to write', 'all dropped', 'in Latin')
        return
    assert result.returncode == 0, result.stderr
    report = json.loads(here.read('report.json'))
    adds_up(report)
    assert len(report['formats']) == 21


@pytest.mark.parametrize('options', [(), ('--redact', '--pseudonyms', '--validation', '0.2')])
def test_two_runs_give_the_same_bytes(here, options):
    seen = []
    for seed in ('0', '1', '77'):                       # the second and third find the key of the first
        result = here.run(EXPORTS, DEMO, '--out', 'out/corpus.txt', '--report', 'out/report.json', *options, env={'PYTHONHASHSEED': seed})
        assert result.returncode == 0, result.stderr
        seen.append({name: here.read(name) for name in here.files()} | {'printed': result.stdout})
    assert seen[0] == seen[1] == seen[2]


def test_files_folders_zips_and_patterns_together(here):
    here.put('a/_chat.txt', whatsapp('Mara: one', 'Theo: two'))
    with zipfile.ZipFile(here.path / 'b.zip', 'w') as archive:
        archive.writestr('messages/inbox/ola_1/message_1.json', messenger('Ola', ('Ola', 'three'), ('Theo', 'four')))
    for name in 'cd':
        here.put(f'{name}.txt', f'Mara: five{name}\nTheo: six\nMara: so\nTheo: yes\n')
    _, report = here.good('a', 'b.zip', '?.txt')
    assert report['inputs'] == ['a', 'b.zip', 'c.txt', 'd.txt'] and report['kept'] == 12
    assert set(re.findall(r'one|three|fivec|fived', here.read('corpus.txt'))) == {'one', 'three', 'fivec', 'fived'}


def test_hostile_names_and_words_come_through(here):
    names = ['a, b', 'x: y', '"q"', 'new\nline', '🌸', 'مارا', '\u202eevil', '--only', "it's $HOME `x` !", '<|endoftext|>', '<sp1>', '(12) A']
    words = ['<|endoftext|>', '<sp1> hi', 'Mara: forged', '\nMara: forged\n', '\\', '\x1b[2Jgone', ' ', 'plain']
    said = [(name, word) for word in words if word.strip() for name in names]
    here.put('messages/inbox/x_1/message_1.json', messenger('t\nitle \x1b[31m', *said))
    printed, report = here.good('messages', '--bursts', 'keep', '--min_turns', '1')
    conversation, = dialogue.STYLES['name'].parse(here.read('corpus.txt'))
    assert {turn.speaker for turn in conversation.turns} == {name.strip('\u202e') for name in names}
    assert len(conversation.turns) == report['kept'] == len(said)
    assert '\x1b' not in printed and '\u202e' not in printed and '\nline' not in printed


def test_a_name_that_a_shell_would_read(here):
    said = [("it's $HOME `x` !", 'hello there'), ('Me', 'hi')] * 3
    here.put('messages/inbox/x_1/message_1.json', messenger('X', *said))
    here.put('messages/inbox/y_1/message_1.json', messenger('Y', ('Me', 'yes'), ('Ola', 'no')))
    printed, _ = here.good('messages', '--out', 'my corpus.txt')
    command = re.search(r'python train.py .*', printed)[0]
    assert subprocess.run(['bash', '-c', f'printf "%s\\n" {command}'], capture_output=True, text=True).stdout.split('\n')[2:7] == [
        '--dataset', 'my corpus.npz', '--windows', 'turns', '--learn_from']
    assert "it's $HOME `x` !" in subprocess.run(['bash', '-c', f'printf "%s\\n" {command}'], capture_output=True, text=True).stdout.split('\n')


def test_filters(here):
    here.put('in/inbox/mara_1/message_1.json', messenger('Mara', ('Mara', 'a1'), ('Theo', 'a2'), ('Mara', 'a3'), start=0))
    here.put('in/inbox/choir_1/message_1.json', messenger('Choir', ('Ola', 'b1'), ('Theo', 'b2'), ('Mara', 'b3'), start=10 * DAY))
    here.put('in/inbox/ola_1/message_1.json', messenger('Ola', ('Ola', 'c1'), ('Theo', 'да c2'), ('Ola', 'c3'), start=20 * DAY))
    for options, kept in ((['--only', 'Mara'], 'a1 a2 a3 b1 b2 b3'), (['--only', 'mara', '--exclude', 'choir'], 'a1 a2 a3'), (['--exclude', 'Ola'], 'a1 a2 a3 b2 b3'),
                          (['--chats', 'groups'], 'b1 b2 b3'), (['--chats', 'one_to_one'], 'a1 a2 a3 c1 c2 c3'), (['--since', '1970-01-11', '--until', '1970-01-11'], 'b1 b2 b3'),
                          (['--until', '1970-01-10'], 'a1 a2 a3'), (['--since', '1970-01-11T00:01'], 'b2 b3 c1 c2 c3'), (['--alias', 'Ola=Mara', '--only', 'Choir'], 'b1 b2 b3'),
                          (['--drop_script', 'Cyrillic', '--min_turns', '1', '--only', 'Ola', '--exclude', 'Choir'], 'c1 c3')):
        here.good('in', *options)
        assert sorted(re.findall(r'[abc]\d', here.read('corpus.txt'))) == kept.split(), options


def test_reddit_is_divided_by_post_and_chosen_by_score(here):
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(['title', 'body', 'score'])
    for post, reply in itertools.product(range(40), range(5)):
        rows.writerow([f'question {post}?', f'answer {post} {reply} ' + reply * 30 * 'x', reply])
    here.put('replies.csv', table.getvalue())
    _, report = here.good('replies.csv', '--validation', '0.2', '--min_score', '2')
    assert report['dropped'] == {'score below 2': 160} and report['kept'] == 240 and report['read'] == 400
    trained, held_out = (set(re.findall(r'question (\d+)', here.read(name))) for name in ('corpus.txt', 'corpus.validation.txt'))
    assert not trained & held_out and len(trained) + len(held_out) == 40
    counts = report['written']
    assert counts['corpus.validation.txt']['characters'] / sum(c['characters'] for c in counts.values()) == pytest.approx(0.2, abs=0.03)


def test_a_script_is_divided_by_episode(here):
    lines = [f'{i},1,{i // 20},Part {i // 20},{"Nora Ben".split()[i % 2]},line {i // 20}.{i}' for i in range(400)]
    here.put('series.csv', 'index,season no.,episode no.,episode name,name,line\n' + '\n'.join(lines) + '\n')
    _, report = here.good('series.csv', '--validation', '0.25')
    trained, held_out = (set(re.findall(r'line (\d+)', here.read(name))) for name in ('corpus.txt', 'corpus.validation.txt'))
    assert not trained & held_out and len(held_out) == 5


def test_sessions_and_bursts(here):
    here.put('chat.txt', timestamps((0, 'A', '1'), (1000, 'A', '2'), (2000, 'B', '3'), (7 * 3600_000, 'A', '4'), (7 * 3600_000 + 1, 'B', '5')))
    here.good('chat.txt')
    assert here.read('corpus.txt') == 'A: 1\n 2\nB: 3\n<|endoftext|>\nA: 4\nB: 5\n<|endoftext|>\n'
    here.good('chat.txt', '--session_gap', '8', '--bursts', 'keep')
    assert here.read('corpus.txt') == 'A: 1\nA: 2\nB: 3\nA: 4\nB: 5\n<|endoftext|>\n'


def test_times_that_cannot_be(here):
    here.put('chat.txt', timestamps((0, 'A', '1'), (10 ** 18, 'B', '2'), (10 ** 18, 'A', '3'), (-10 ** 17, 'B', '4'), (5, 'A', '5'), (5, 'B', '6')))
    _, report = here.good('chat.txt', '--session_gap', '0')
    assert report['kept'] == 6 and report['days'] == ['0001-01-01', '9999-12-31']


def test_exports_that_overlap(here):
    said = [('Mara', 'one'), ('Theo', 'two'), ('Mara', 'three'), ('Theo', 'four'), ('Mara', 'ok')]
    here.put('old/WhatsApp Chat with Mara.txt', whatsapp(*(f'{name}: {text}' for name, text in said[:3])))
    here.put('new/WhatsApp Chat with Mara.txt', whatsapp(*(f'{name}: {text}' for name, text in said)))
    here.put('new/WhatsApp Chat with Ola.txt', whatsapp('Ola: hm', 'Theo: no', 'Ola: oh', 'Ola: sure?', 'Mara: ok'))
    _, report = here.good('old', 'new')
    assert report['dropped'] == {'duplicates': 3} and report['kept'] == 10
    shutil.copytree(here.path / 'new', here.path / 'again')
    _, again = here.good('old', 'new', 'again')
    assert again['kept'] == 10 and again['dropped'] == {'duplicates': 13}


def test_a_chat_exported_by_two_phones_counts_once(here):
    here.put('android/WhatsApp Chat with Mara.txt', whatsapp(*(f'{name}: {text}' for name, text in [('Mara', 'one'), ('Theo', 'two'), ('Mara', 'ok')])))
    minutes = re.findall(r'^(\S+), (\S+) - (.*)', here.read('android/WhatsApp Chat with Mara.txt'), re.M)
    here.put('iphone/_chat.txt', ''.join(f'[{day}, {time}:{59 - i}] {said}\n' for i, (day, time, said) in enumerate(minutes)))
    for order in (('android', 'iphone'), ('iphone', 'android')):
        _, report = here.good(*order)
        assert report['dropped'] == {'duplicates': 3} and report['kept'] == 3


# ---- privacy

def test_redact_and_pseudonyms(here):
    here.put('_chat.txt', whatsapp('Theo Lang: call me, 0170 1234567', '+49 170 7654321: hi theo, mail mara@example.com', 'Theo Lang: theo@example.com or 12 Baker Street', 'Mara: Theo Lang!',
                                   '+49 170 7654321: at 10:30 on 31.12.2024, 3-2'))
    printed, report = here.good('_chat.txt', '--redact', '--pseudonyms', '--alias', 'Mara=Marlene')
    key = json.loads(here.read('corpus.names.json'))
    theo, lang, marlene = key['Theo'], key['Lang'], key['Marlene']
    assert here.read('corpus.txt') == (f'{theo} {lang}: call me, [phone]\nSomeone 1: hi {theo.lower()}, mail [email]\n{theo} {lang}: [email] or [address]\n{marlene}: {theo} {lang}!\n'
                                       'Someone 1: at 10:30 on 31.12.2024, 3-2\n<|endoftext|>\n')
    assert report['redacted'] == {'email': 2, 'address': 1, 'phone': 1} and set(key) == {'Theo', 'Lang', 'Marlene', 'Mara'}
    for real in ('Theo', 'Lang', 'Mara', '7654321'):
        assert real not in printed and real not in here.read('report.json')
    assert 'or use --only and --exclude.' in ' '.join(printed.split())   # what is done is not advised
    assert f'--learn_from "{theo} {lang}"' in printed or '--learn_from "Someone 1"' in printed


def test_pseudonyms_without_redact_hide_numbers_too(here):
    here.put('_chat.txt', whatsapp('+49 170 7654321: hi', 'Mara: +49 170 7654321?', '🌸: so'))
    here.good('_chat.txt', '--pseudonyms', 'secret/key.json')
    assert not re.search('7654321|Mara|🌸', here.read('corpus.txt')) and set(json.loads(here.read('secret/key.json'))) == {'+49 170 7654321', 'Mara', '🌸'}


def test_people_who_are_mentioned_but_do_not_speak_get_pseudonyms(here):
    here.put('_chat.txt', whatsapp('Mara: ask @\u2068Gustav Ek\u2069, @\u2068Meta AI\u2069 or @\u2068Alle\u2069', 'Theo Guitar: gustav?', 'Mara: my guitar, the guitar, your guitar, hi theo'))
    here.good('_chat.txt', '--pseudonyms')
    key = json.loads(here.read('corpus.names.json'))
    assert set(key) == {'Mara', 'Theo', 'Guitar', 'Gustav', 'Ek'}
    assert not re.search('gustav|ek', here.read('corpus.txt'), re.I) and f'my guitar, the guitar, your guitar, hi {key["Theo"].lower()}' in here.read('corpus.txt')


def test_the_key_is_used_again_and_grows(here):
    here.put('a.txt', CHAT)
    here.put('b.txt', CHAT.replace('Mara', 'Ola'))
    here.good('a.txt', '--pseudonyms', 'key.json', '--out', '1.txt')
    first = json.loads(here.read('key.json'))
    here.good('b.txt', '--pseudonyms', 'key.json', '--out', '2.txt')
    second = json.loads(here.read('key.json'))
    assert set(second) == {'Mara', 'Theo', 'Ola'} and first.items() < second.items()
    here.put('key.json', '[1]')
    with here.untouched():
        fails_clearly(here.run('a.txt', '--pseudonyms', 'key.json'), 1, 'key.json is no key of pseudonyms')
        fails_clearly(here.run('--pseudonyms', 'a.txt', 'b.txt'), 1, 'a.txt is no key of pseudonyms')


def test_styles_of_two_speakers(here):
    here.put('_chat.txt', whatsapp('Mara: a', 'Theo: b', 'Ola: c', 'Mara: d', 'Theo: e <sp1> <|endoftext|>'))
    here.put('other/_chat.txt', whatsapp('Mara: x', 'Ola: y'))
    _, report = here.good('_chat.txt', 'other', '--style', 'tokens', '--you', 'Theo')
    assert here.read('corpus.txt') == '<bos> <sp1> a <sp2> b <sp1> c\n d <sp2> e <\\sp1> <\\|endoftext|> <eos>\n'
    assert report['dropped'] == {'in conversations where --you is silent': 2}
    printed, _ = here.good('_chat.txt', '--style', 'tokens', '--you', 'Theo', '--pseudonyms')
    assert '<sp2> b' in here.read('corpus.txt') and '--learn_from "<sp2>"' in printed
    _, report = here.good('_chat.txt', 'other', '--style', 'dialogpt', '--you', 'Mara')
    assert here.read('corpus.txt') == 'b\n c<|endoftext|>d<|endoftext|>e <sp1> <\\|endoftext|><|endoftext|>\n'
    assert report['dropped'] == {'by --you, before anybody else speaks': 2, 'in conversations where only one person speaks': 1}
    fails_clearly(here.run('_chat.txt', '--style', 'tokens'), 1, 'say with --you NAME')
    fails_clearly(here.run('_chat.txt', '--style', 'tokens', '--you', 'Teo'), 1, '--you Teo: there is nobody of this name', 'Theo, Mara')
    fails_clearly(here.run('_chat.txt', '--you', 'Theo'), 2, '--you is for styles with two speakers')
    here.put('plain.txt', CHAT)
    fails_clearly(here.run('plain.txt', '--style', 'timestamp'), 1, 'has no time')


# ---- datasets

def pack(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w:gz') as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return file.getvalue()


def test_a_dataset_is_downloaded_read_and_keeps_its_splits(here, server):
    episodes = {name: ''.join(f'1 {name} {i} hello\tfine .\t\tfine .|no .\n2 and you\twell .\t\twell .|no .\n' for i in range(n)) for name, n in (('train', 8), ('valid', 2), ('test', 3))}
    server.put('data', {'personachat.tgz': pack({f'personachat/{name}_none_original.txt': text for name, text in episodes.items()})})
    options = ['--dataset', 'personachat', '--dataset', 'personachat', '--mirror', f'{server.url}/data/', '--out', 'talk.txt', '--validation', '0.5']
    _, report = here.good(*options)
    assert {name: counts['conversations'] for name, counts in report['written'].items()} == {'talk.txt': 8, 'talk.validation.txt': 2, 'talk.test.txt': 3}
    assert set(re.findall('train|valid|test', here.read('talk.test.txt').replace('<|endoftext|>', ''))) == {'test'}
    assert os.path.isfile(here.path / 'datasets' / 'personachat.tgz')
    asked = len(server.seen)
    here.good(*options)
    assert len(server.seen) == asked                    # it is there


def test_of_strangers_it_is_replies_that_one_would_learn(here):
    exports = [os.path.join(EXPORTS, name) for name in ('dailydialog', 'reddit')]
    assert '--windows turns --learn_from replies' in here.good(*exports)[0]
    assert '--learn_from replies' not in here.good(*exports, os.path.join(EXPORTS, 'whatsapp'))[0]


def test_a_single_conversation_cannot_be_divided_and_that_is_told(here):
    here.put('script.csv', 'name,line\n' + 'Nora,Is it late?\nBen,It is.\n' * 20)
    printed, report = here.good('script.csv', '--validation', '0.1')
    assert 'Note: --validation 0.1 holds back whole conversations, and of 1 that was none' in ' '.join(printed.split()) and len(report['notes']) == 1
    assert 'give more chats, or train without --val_dataset.' in ' '.join(printed.split()) and 'corpus.validation.txt' not in here.files()
    here.put('script.csv', 'name,line\n' + ''.join(f'Nora,Is it {i}?\nBen,It is.\n' for i in range(200)))
    assert here.good('script.csv', '--validation', '0.1')[1]['written']['corpus.validation.txt']['turns'] == 50


def test_datasets_that_cannot_be(here, server):
    fails_clearly(here.run('--dataset', 'dailydialogue'), 2, "there is no dataset 'dailydialogue'", 'dailydialog', 'cornell')
    fails_clearly(here.run('--dataset', 'blended', '--mirror', f'{server.url}/none'), 1, 'blended_skill_talk.tar.gz', '404')
    assert not [name for name in here.files() if name.endswith(('.txt', '.gz'))]


def test_a_split_with_nothing_to_train_on(here):
    here.put('dailydialog/dialogues_test.txt', 'It rains . __eou__ Again ? __eou__\nWhere to ? __eou__ Home . __eou__\nHungry ? __eou__ Very . __eou__\n')
    fails_clearly(here.run('dailydialog'), 1, 'no conversation is left to train on: all 3 are for test', 'part of the dataset that is for training')
    here.put('a.txt', CHAT)
    fails_clearly(here.run('a.txt', '--validation', '0.9'), 1, 'all 1 are for validation', 'smaller --validation')
    assert 'corpus.txt' not in here.files() and not [name for name in here.files() if 'part' in name]


# ---- what goes wrong

def test_files_of_no_format(here):
    here.put('notes.txt', 'Dear diary,\nit rained.\n')
    here.put('near.csv', 'name,price\nbread,2\n')
    with here.untouched():
        fails_clearly(here.run('near.csv'), 1, 'near.csv is in no format that is known here', 'script: ', '--format NAME')
        fails_clearly(here.run('notes.txt', 'near.csv'), 1, 'notes.txt is in no format that is known here', 'nothing in 1 other file can be read either')
    here.put('chat.txt', CHAT)
    printed, report = here.good('notes.txt', 'chat.txt', 'near.csv')
    assert [path for path, _ in report['unknown']] == ['notes.txt', 'near.csv'] and 'Not read\n  notes.txt: ' in printed and report['kept'] == 4


def test_a_broken_one_among_good_ones(here):
    here.put('chat.txt', CHAT)
    here.put('bad.zip', b'PK\x03\x04 and no more')
    good = messenger('Mara', *[('Mara', 'one'), ('Theo', 'two')] * 50)
    here.put('in/inbox/mara_1/message_1.json', good)
    here.put('in/inbox/ola_1/message_1.json', messenger('Ola', *[('Ola', 'three'), ('Theo', 'four')] * 50)[:3000])
    here.put('in/inner.zip', b'PK\x03\x04')
    printed, report = here.good('chat.txt', 'bad.zip', 'in')
    assert report['kept'] >= 104 and {path for path, _ in report['unknown']} >= {'bad.zip', 'in/inner.zip'}
    assert [path for path, _ in report['broken']] == ['in/inbox/ola_1/message_1.json'] and 'Damaged' in printed
    with here.untouched():
        fails_clearly(here.run('bad.zip'), 1, 'bad.zip', 'cannot be read')
        fails_clearly(here.run('chat.txt', 'chta.txt'), 1, 'chta.txt: there is no such file or folder')


def test_nothing_in_it(here):
    here.put('empty.txt', '')
    (here.path / 'folder').mkdir()
    with zipfile.ZipFile(here.path / 'empty.zip', 'w'):
        pass
    here.put('photos/1.jpg', b'\xff\xd8')
    here.put('inbox/mara_1/message_1.json', json.dumps({'participants': [{'name': 'Mara'}, {'name': 'Theo'}], 'messages': [], 'title': 'Mara', 'thread_path': 'inbox/mara_1'}))
    here.put('settings.json', '{}')
    with here.untouched():
        fails_clearly(here.run('empty.txt'), 1, 'empty.txt is empty')
        fails_clearly(here.run('folder'), 1, 'folder', 'holds no files')
        fails_clearly(here.run('empty.zip'), 1, 'there are no chats in empty.zip: no files at all')
        fails_clearly(here.run('photos'), 1, 'there are no chats in photos: 1 file of other kinds, such as photos/1.jpg')
        fails_clearly(here.run('inbox'), 1, 'nothing is left to write: 0 messages found')
        fails_clearly(here.run(), 2, 'name what to read')
        fails_clearly(here.run('--pseudonyms', 'inbox', '--out', 'c.txt'), 2, 'name what to read', '--pseudonyms took inbox for its key')


@pytest.mark.parametrize('options, status, words', [
    (['--only', 'Nobody'], 1, ['--only Nobody: there is nobody and no thread of this name', 'Mara, Theo']), (['--exclude', 'Nobody'], 1, ['--exclude Nobody']),
    (['--alias', 'Nobody=Theo'], 1, ['--alias Nobody']), (['--alias', 'Theo'], 2, ['must read']), (['--alias', 'Theo=T', '--alias', 'theo=U'], 2, ['cannot be both T and U']),
    (['--since', 'yesterday'], 2, ["'yesterday' is no date"]), (['--since', '2021-01-02', '--until', '2021-01-01'], 2, ['--since is later']),
    (['--encoding', 'klingon'], 2, ["no encoding 'klingon'", 'cp1252']), (['--encoding', 'base64'], 2, ['no encoding']), (['--encoding', 'a\nb'], 2, ['no encoding']),
    (['--format', 'icq'], 2, ["no format 'icq'", 'whatsapp']), (['--style', 'poem'], 1, ['poem', 'timestamp']), (['--drop_script', 'Elvish'], 2, ['Elvish']),
    (['--min_turns', '0'], 2, ['--min_turns']), (['--validation', '1'], 2, ['--validation']), (['--session_gap', '-1'], 2, ['--session_gap']), (['--min_turns', '50'], 1, ['nothing is left', 'fewer than 50']),
    (['--out', '.'], 2, ['is a folder']), (['--out', 'new/'], 2, ['is a folder']), (['--out', 'chat.txt'], 2, ['chat.txt is one of the files to read and would be overwritten']),
    (['--report', './chat.txt'], 2, ['would be overwritten', '--report']), (['--pseudonyms', 'x.txt', '--out', 'x.txt'], 2, ['would be written twice']),
    (['--report', 'corpus.validation.txt'], 2, ['would be written twice']), (['--out', 'chat.txt/corpus.txt'], 1, ['chat.txt']), (['--out', '/proc/corpus.txt'], 1, ['/proc/corpus.txt']),
    (['--report', '/proc/none/report.json'], 1, ['/proc/none']), (['--out', '/dev/full'], 1, ['is a folder or a device']),
])
def test_what_is_asked_wrongly_is_told_in_a_sentence(here, options, status, words):
    here.put('chat.txt', CHAT)
    with here.untouched():
        fails_clearly(here.run('chat.txt', *options), status, *words)


def test_an_export_is_not_overwritten(here, monkeypatch):
    """Not only what is read, but also what lies beside it; a corpus, whatever its style, and a report are replaced."""
    shutil.copytree(DEMO, here.path / 'exports')
    here.put('empty.txt', '')
    here.good('exports/result.json', '--pseudonyms')
    for name, style in dialogue.STYLES.items():
        here.put(f'{name}.txt', ''.join(style.render(dialogue.seated(thread, style, next(turn.speaker for turn in thread.turns if turn.speaker != thread.turns[0].speaker)))
                                        for thread in readers.read(os.path.join(DEMO, 'result.json'))))
    for name in ('empty.txt', 'corpus.names.json', 'report.json', *(f'{style}.txt' for style in dialogue.STYLES)):
        assert import_chats.export_format(str(here.path / name)) is None
    monkeypatch.chdir(here.path)
    for flag, name, format in (('--out', 'WhatsApp Chat with Priya.txt', 'whatsapp'), ('--out', 'facebook-theo.zip', 'archive'), ('--report', 'facebook-theo.zip', 'archive')):
        monkeypatch.setattr(sys, 'argv', ['import_chats.py', 'exports/result.json', flag, f'exports/{name}'])
        with pytest.raises(UsageError, match=rf'exports/{name} is there and is an export \({format}\), which would be overwritten: choose another name with {flag}'):
            import_chats.Importer(import_chats.parse_arguments()).plan()


def test_out_inside_the_input(here):
    here.put('in/chat.txt', CHAT)
    here.put('in/corpus.txt', 'a letter of mine')
    with here.untouched():
        for options in (['in', '--out', 'in/corpus.txt'], ['in', '--out', 'in/deep/corpus.txt'], ['.'], ['in', '--report', 'in/report.json'], ['in', '--pseudonyms', 'in/key.json']):
            fails_clearly(here.run(*options), 2, 'which is read', 'choose another place')
        os.symlink(here.path / 'in', here.path / 'link')
        fails_clearly(here.run('in', '--out', 'link/corpus.txt'), 2, 'which is read')
        os.remove(here.path / 'link')
    here.good('in/chat.txt')


def test_the_same_file_twice(here):
    here.put('in/chat.txt', CHAT)
    os.symlink(here.path / 'in' / 'chat.txt', here.path / 'link.txt')
    printed, report = here.good('in/chat.txt', './in/chat.txt', 'link.txt', 'in/chat.txt')
    assert report['kept'] == report['read'] == 4 and 'Note: 3 files named more than once, such as link.txt: read once.' in printed
    for again in (['in', 'in/chat.txt'], ['in/chat.txt', 'in'], ['in', './in']):
        assert here.good(*again)[1]['read'] == 4
    assert here.read('corpus.txt') == CHAT + '<|endoftext|>\n'


def test_dates_that_nothing_decides(here):
    here.put('_chat.txt', whatsapp('Mara: hi', 'Theo: yes', day='03/04/20'))
    printed, report = here.good('_chat.txt')
    assert 'nothing tells day from month' in ' '.join(printed.split()) and report['days'] == ['2020-04-03', '2020-04-03']


def test_a_full_disk_leaves_what_was_there(here):
    here.put('chat.txt', ''.join(f'Mara: {i} {"x" * 50}\nTheo: yes {i}\n\n' for i in range(2000)))
    here.put('corpus.txt', 'an earlier corpus')
    here.put('corpus.validation.txt', 'an earlier one too')
    for size in (5000, 60_000):
        with here.untouched():
            result = subprocess.run([sys.executable, SCRIPT, 'chat.txt', '--validation', '0.3', '--report', 'report.json'], cwd=here.path, capture_output=True, text=True,
                                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
            fails_clearly(result, 1, 'corpus', 'the file grew larger than this system allows')


def test_an_old_validation_text_is_pointed_at(here):
    here.put('chat.txt', PAIRS)
    here.good('chat.txt', '--validation', '0.4')
    printed, _ = here.good('chat.txt')
    assert 'Note: corpus.validation.txt is of an earlier import, not of this one.' in printed and os.path.isfile(here.path / 'corpus.validation.txt')


def test_names_of_files_that_are_no_text(here):
    name = os.path.join(os.fsencode(here.path), b'chat\xff.txt')
    with open(name, 'w') as file:
        file.write(CHAT)
    result = subprocess.run([os.fsencode(sys.executable), os.fsencode(SCRIPT), name, b'--report', b'report.json'], cwd=here.path, capture_output=True)
    assert result.returncode == 0, result.stderr
    adds_up(json.loads(here.read('report.json')))


def test_help_names_every_format_and_dataset():
    printed = run_script(SCRIPT, '--help').stdout
    assert all(name in printed for name in (*os.listdir(EXPORTS), 'convai2', '--pseudonyms', '--mirror'))

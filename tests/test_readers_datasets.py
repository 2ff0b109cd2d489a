"""The readers of public dialogue datasets: DailyDialog, EmpatheticDialogues, PersonaChat and ConvAI2, BlendedSkillTalk, Cornell."""
import io
import json
import os
import re
import tarfile
import zipfile

import pytest
from conftest import ROOT

from src import readers
from src.readers import cornell, datasets, tokenized
from src.source import Export

SAMPLES = os.path.join(ROOT, '..', 'shared', 'samples', 'datasets')         # beside the project where it is developed, not shipped with it
EXPORTS = os.path.join(ROOT, 'tests', 'exports')


def read(*paths, format=None):
    """-> (threads, tally, {NAME of a format that was found})"""
    plan = readers.plan([Export(str(path)) for path in paths], format)
    tally, threads = readers.Tally(), []
    for module, sources in plan.groups:
        threads += readers.read_group(module, sources, tally)
    return threads, tally, {module.NAME for module, _ in plan.groups}


def said(thread):
    return [f'{turn.speaker}: {turn.text}' for turn in thread.turns]


def sniff(path, name):
    source, = Export(str(path)).sources.values()
    return readers.get_format(name).sniff(source)


def sample(name):
    if not os.path.exists(os.path.join(SAMPLES, name)):
        pytest.skip('the samples are not beside this checkout')
    return os.path.join(SAMPLES, name)


# ---- what all have in common

@pytest.mark.parametrize('name', ['dailydialog', 'empathetic', 'personachat', 'blended', 'cornell'])
def test_dialogues_are_of_two_people_and_have_no_times(name):
    threads, _, _ = read(os.path.join(EXPORTS, name))
    assert all(thread.group is False and turn.time is None for thread in threads for turn in thread.turns)


def test_every_dataset_has_an_address():
    addresses = {name: where for module in readers.formats().values() for name, where in getattr(module, 'DATASETS', {}).items()}
    assert {'dailydialog', 'empathetic', 'personachat', 'convai2', 'blended', 'cornell'} <= set(addresses)
    for url, sha256 in addresses.values():
        assert url.startswith('http') and url.endswith(('.tar.gz', '.tgz', '.zip')) and (sha256 is None or re.fullmatch('[0-9a-f]{64}', sha256))


@pytest.mark.parametrize('name, split', [
    ('dialogues_train.txt', 'train'), ('valid.json', 'validation'), ('dialogues_validation.txt', 'validation'), ('test.csv', 'test'),
    ('train_self_original_no_cands.txt', 'train'), ('TEST_none_original.txt', 'test'), ('dialogues_text.txt', None), ('latest.txt', None)])
def test_the_split_is_in_the_name_of_the_file(tmp_path, name, split):
    (tmp_path / name).write_text('x')
    source, = Export(str(tmp_path / name)).sources.values()
    assert datasets.split_of(source) == split


# ---- DailyDialog: the tokenizer's spaces

@pytest.mark.parametrize('tokens, text', [
    ("I don ’ t know , it ' s five o ’ clock .", "I don’t know, it's five o’clock."),
    ("Let ' s go . It' s late , ma ’ am .", "Let's go. It's late, ma’am."),
    ('I ’ m sure they ’ ve gone ; we ’ re late , they ’ ll wait , I ’ d say .', 'I’m sure they’ve gone; we’re late, they’ll wait, I’d say.'),
    ("I'm fine , aren't you ?", "I'm fine, aren't you?"),
    ("five minutes ' walk", "five minutes' walk"),
    ('He said , " Hello , Lena . " and left .', 'He said, "Hello, Lena." and left.'),
    ("the word ' hello ' , twice", "the word 'hello', twice"),
    ('“ Yes , ” he said', '“Yes,” he said'),
    ('an odd " mark', 'an odd " mark'),
    ('It costs $ 600 , or 5 % less .', 'It costs $600, or 5% less.'),
    ('( Reads the lease ) OK !', '(Reads the lease) OK!'),
    ('Why not ? ! No ! ! !', 'Why not?! No!!!'),
    ('Mmmm ... if I may . . .', 'Mmmm... if I may...'),
    ('Note : bring 3.5 l and 1,000 cups', 'Note: bring 3.5 l and 1,000 cups'),
    ('smile : ) or ;) or :-)', 'smile :) or ;) or :-)'),
    ('at 2:30 pm , or 9 : 40', 'at 2:30 pm, or 9:40'),
    ('There is one . 5 blocks away .', 'There is one. 5 blocks away.'),
    ('.NET and .5 are as they were', '.NET and .5 are as they were'),
    ('https://x.org/a,b;c?d=1 , and www.x.org .', 'https://x.org/a,b;c?d=1, and www.x.org.'),
    ('It is $ 3 . 50 at 6 p . m . in the U . S . A .', 'It is $3.50 at 6 p.m. in the U.S.A.'),      # ParlAI took numbers and names apart
    ('see www . google . com , or ask a@b . com .', 'see www.google.com, or ask a@b.com.'),
    ("the 'd' key and Mr . Johnson ’ s", "the 'd' key and Mr. Johnson’s")])
def test_text_is_put_together_as_people_write_it(tokens, text):
    assert tokenized.untokenize(tokens) == text
    assert tokenized.untokenize(text) == text         # what is right stays as it is


@pytest.mark.parametrize('piece', [' ', "' ", "s ' ", '" ', ' . ', '1 . ', 'a . ', ' : ', "' s"])
def test_no_text_takes_long(piece):
    assert len(tokenized.untokenize(piece * 100_001)) <= len(piece) * 100_001


# ---- DailyDialog

def test_a_dialogue_a_line(tmp_path):
    content = 'Hi , Jim . __eou__ What , NASA , now ? __eou__\nOne . __eou__ __eou__ Three . __eou__\nThe end is cut'
    (tmp_path / 'dialogues_train.txt').write_text(content, 'utf-8')
    threads, tally, _ = read(tmp_path)
    assert [said(thread) for thread in threads] == [['A: Hi, Jim.', 'B: What, NASA, now?'], ['A: One.', 'A: Three.'], ['A: The end is cut']]
    assert {thread.split for thread in threads} == {'train'}
    assert tally.records == 6 and tally.dropped == {'empty': 1}


def test_the_authors_zip_with_zips_in_it(tmp_path):
    text = {name: f'This is the {name} . __eou__ I ’ m glad . __eou__\n' for name in ('train', 'validation', 'test')}
    with zipfile.ZipFile(tmp_path / 'ijcnlp_dailydialog.zip', 'w') as outer:
        for name, content in text.items():
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, 'w') as archive:
                archive.writestr(f'{name}/dialogues_{name}.txt', content)
                archive.writestr(f'{name}/dialogues_act_{name}.txt', '1 2 \n')
            outer.writestr(f'ijcnlp_dailydialog/{name}.zip', inner.getvalue())
        outer.writestr('ijcnlp_dailydialog/dialogues_text.txt', ''.join(text.values()).replace(' ’ ', "'") + 'Only here . __eou__\n')
        outer.writestr('ijcnlp_dailydialog/readme.txt', 'Each line is a dialogue.\nTurns are separated by __eou__.\nTopics are numbers.\n')
    threads, tally, _ = read(tmp_path / 'ijcnlp_dailydialog.zip')
    assert [(thread.split, thread.turns[0].text) for thread in threads] == [
        ('test', 'This is the test.'), ('validation', 'This is the validation.'), ('train', 'This is the train.'), (None, 'Only here.')]
    assert tally.records == 13 and tally.dropped == {'duplicates': 6}


def test_a_dialogue_of_the_test_is_not_learnt(tmp_path):
    (tmp_path / 'dialogues_train.txt').write_text('Taxi ! __eou__ Where to ? __eou__\n')
    (tmp_path / 'dialogues_test.txt').write_text('Taxi ! __eou__ Where to ? __eou__\n')
    threads, _, _ = read(tmp_path)
    assert [thread.split for thread in threads] == ['test']


def test_parlais_json_lines(tmp_path):
    lines = [{'fold': 'valid', 'topic': 'work', 'dialogue': [{'act': 'question', 'text': 'Late again , Jim ?'}, {'text': 'I overslept .'}]},
             {'dialogue': [{'text': 5}, {'text': 'Half a \ud83d'}, {'act': 'inform'}, 'Hi .', {'text': ' '}]}, {'dialogue': 'none'}, [1]]
    (tmp_path / 'valid.json').write_text('\n'.join(map(json.dumps, lines)) + '\n{"dialogue": [\n\n')
    threads, tally, formats = read(tmp_path)
    assert formats == {'dailydialog'}
    assert [said(thread) for thread in threads] == [['A: Late again, Jim?', 'B: I overslept.'], ['B: Half a \ufffd']]
    assert {thread.split for thread in threads} == {'validation'}
    assert tally.records == 10 and tally.dropped == {'unreadable': 6, 'empty': 1}


def test_what_is_not_dailydialog(tmp_path):
    for name, content, score in [('a.txt', 'one __eou__\ntwo\nthree\n', 0.3), ('b.txt', '1 2 3\n', 0), ('c.json', '{"dialogue": [{"words": ""}]}', 0.4),
                                 ('d.json', '[' * 70000, 0), ('e.json', '', 0), ('f.csv', 'Hi . __eou__ Ho . __eou__', 0), ('g.txt', '', 0)]:
        (tmp_path / name).write_text(content)
        assert sniff(tmp_path / name, 'dailydialog')[0] == score, name


def test_dailydialog_samples():
    threads, tally, _ = read(sample('dailydialog_extracted'))               # each dialogue in a folder and in a zip
    assert [(thread.split, len(thread.turns)) for thread in threads] == [
        ('test', 12), ('test', 4), ('validation', 7), ('validation', 10), ('train', 10), ('train', 6)]
    assert tally.records == 98 and tally.dropped == {'duplicates': 49}
    assert said(threads[0])[9] == 'B: Sounds good! Let’s see, I want.'
    assert said(threads[3])[7] == ('B: Mmmm... if I come in and collect it this afternoon, is there any way I could use it today? '
                                   'Petty cash is getting low, so I need to draw some money.')


# ---- EmpatheticDialogues

HEADER = 'conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n'


def test_rows_by_conversation_and_index(tmp_path):
    (tmp_path / 'valid.csv').write_text(HEADER +
        'hit:1_conv:2,2,sad,I lost_comma_ well.,7,Oh no_comma_ how?,5|5|5_5|5|5,\n'
        'hit:1_conv:3,1,sad,"A quote.,7,"I fell,5|5|5_5|5|5,\n'
        'hit:1_conv:2,1,sad,I lost_comma_ well.,31,I lost 1_comma_000 points.,5|5|5_5|5|5,,Nine fields|Try again\n'
        'hit:1_conv:3,2,sad,"A quote.,31, ,5|5|5_5|5|5,\n'
        'hit:1_conv:3,x,sad,"A quote.,31,Hm,5|5|5_5|5|5,\n'
        'hit:1_conv:3,4,sad,too few\n')
    threads, tally, formats = read(tmp_path)
    assert formats == {'empathetic'}
    assert [said(thread) for thread in threads] == [['Speaker: I lost 1,000 points.', 'Listener: Oh no, how?'], ['Speaker: "I fell']]
    assert [(thread.title, thread.split) for thread in threads] == [('hit:1_conv:2', 'validation'), ('hit:1_conv:3', 'validation')]
    assert tally.records == 6 and tally.dropped == {'empty': 1, 'unreadable': 2}


def test_who_tells_is_known_when_the_first_turn_is_gone(tmp_path):
    (tmp_path / 'test.csv').write_text(HEADER + 'hit:1_conv:2,2,sad,p,7,How?,5,\nhit:1_conv:2,3,sad,p,31,I fell.,5,\n')
    assert [said(thread) for thread in read(tmp_path)[0]] == [['Listener: How?', 'Speaker: I fell.']]


def test_another_csv_is_not_empathetic(tmp_path):
    (tmp_path / 'a.csv').write_text('conv_id,utterance_idx,utterance\n')
    (tmp_path / 'b.csv').write_text('title,body,score\n')
    assert (sniff(tmp_path / 'a.csv', 'empathetic')[0], sniff(tmp_path / 'b.csv', 'empathetic')[0]) == (0.4, 0)


def test_empathetic_samples():
    threads, tally, _ = read(sample('empathetic_extracted'))
    assert {thread.split: len(thread.turns) for thread in threads} == {'test': 1, 'train': 2, 'validation': 2}
    assert said(threads[1])[1] == 'Listener: Was this a friend you were in love with, or just a best friend?'
    assert said(threads[2]) == ['Speaker: This was a best friend. I miss her.', 'Listener: Where has she gone?']
    assert tally.records == 5 and not tally.dropped


# ---- PersonaChat and ConvAI2

BEES = [('hello , how are you ?', 'busy ! i have got new bees .'), ('do they sting ?', 'once .')]
BEES_FROM_THE_OTHER_SIDE = [('__SILENCE__', 'hello , how are you ?'), ('busy ! i have got new bees .', 'do they sting ?')]
BEES_SAID = ['A: hello, how are you?', 'B: busy! i have got new bees.', 'A: do they sting?', 'B: once.']
TRAMS = [('do you like trams ?', 'i drive one !'), ('which ?', 'the 8 .')]


def parlai(*dialogues, persona=(), candidates=True):
    lines = []
    for dialogue in dialogues:
        pairs = [f'{text}\t{label}' + (f'\t\tno , never .|{label}' if candidates else '') for text, label in dialogue]
        lines += [f'{i} {line}' for i, line in enumerate([*persona, *pairs], 1)]
    return '\n'.join(lines) + '\n'


def hugging_face(*dialogues):
    def utterances(dialogue):
        flat = [text for pair in dialogue for text in pair]
        return [{'candidates': ['no , never .', flat[i]], 'history': flat[:i]} for i in range(1, len(flat), 2)]
    return [{'personality': ['i keep bees .', 'i sing .'], 'utterances': utterances(dialogue)} for dialogue in dialogues]


def test_personas_and_candidates_are_no_turns(tmp_path):
    persona = ['your persona: i keep bees.', "partner's persona: i drive a tram."]
    (tmp_path / 'valid_both_original.txt').write_text(parlai(BEES, TRAMS, persona=persona) + 'no number\n3 \t \n4 the end\n')
    threads, tally, formats = read(tmp_path)
    assert formats == {'personachat'}
    assert [said(thread) for thread in threads] == [
        BEES_SAID, ['A: do you like trams?', 'B: i drive one!', 'A: which?', 'B: the 8.', 'A: the end']]
    assert {thread.split for thread in threads} == {'validation'}
    assert tally.records == 16 and tally.dropped == {'persona lines': 4, 'unreadable': 1, 'empty': 2}


def test_each_dialogue_once_of_all_the_variants(tmp_path):
    """As personachat.tgz and convai2_fix_723.tgz hold them."""
    with tarfile.open(tmp_path / 'convai2.tgz', 'w:gz') as archive:
        for name, persona in [('both_original', ['your persona: a', "partner's persona: b"]), ('self_original', ['your persona: a']), ('none_original', []),
                              ('self_revised', ['your persona: c']), ('other_original', ["partner's persona: b"])]:
            for candidates in (True, False):
                content = parlai(BEES_FROM_THE_OTHER_SIDE, TRAMS, BEES, persona=persona, candidates=candidates).encode()
                info = tarfile.TarInfo(f'ConvAI2/train_{name}{"" if candidates else "_no_cands"}.txt')
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    threads, tally, _ = read(tmp_path / 'convai2.tgz')
    assert [said(thread) for thread in threads] == [['A: do you like trams?', 'B: i drive one!', 'A: which?', 'B: the 8.'], BEES_SAID]
    assert {thread.split for thread in threads} == {'train'}
    assert tally.dropped == {'persona lines': 2 * 3 * (2 + 1 + 1 + 1), 'empty': 10, 'duplicates': 10 * 11 - 8}    # 10 files of 11 turns and a silence
    assert tally.records == 10 * 12 + 30


def test_a_dialogue_that_is_there_from_one_side_only(tmp_path):
    (tmp_path / 'train_self_original.txt').write_text(parlai(BEES_FROM_THE_OTHER_SIDE))
    threads, tally, _ = read(tmp_path)
    assert [said(thread) for thread in threads] == [['B: hello, how are you?', 'A: busy! i have got new bees.', 'B: do they sting?']]
    assert tally.records == 4 and tally.dropped == {'empty': 1}


def test_the_json_of_hugging_face(tmp_path):
    silent = [('__ SILENCE __', BEES[0][0]), (BEES[0][1], BEES[1][0])]
    broken = [5, {'utterances': []}, {'utterances': [{'history': 'abc', 'candidates': 'de'}]}, {'utterances': [{'history': [], 'candidates': []}]}]
    data = {'train': hugging_face(silent, BEES) + broken, 'valid': hugging_face(TRAMS) + [{'utterances': [{'history': [['x'], 7], 'candidates': ['yes']}]}]}
    (tmp_path / 'personachat_self_original.json').write_text(json.dumps(data))
    threads, tally, formats = read(tmp_path)
    assert formats == {'personachat'}
    assert [(thread.split, said(thread)) for thread in threads] == [
        ('train', BEES_SAID), ('validation', ['A: do you like trams?', 'B: i drive one!', 'A: which?', 'B: the 8.']), ('validation', ['B: yes'])]
    assert tally.dropped == {'persona lines': 6, 'duplicates': 3, 'empty': 1, 'unreadable': 4 + 2}


def test_the_json_as_one_list(tmp_path):
    (tmp_path / 'truecased_valid.json').write_text(json.dumps(hugging_face([('Hi!', 'Hello.')])))
    threads, _, _ = read(tmp_path)
    assert [(thread.split, said(thread)) for thread in threads] == [('validation', ['A: Hi!', 'B: Hello.'])]


def test_a_split_that_is_not_in_the_json_is_told(tmp_path):
    (tmp_path / 'bees.json').write_text(json.dumps({'train': hugging_face(BEES), 'va1id': hugging_face(TRAMS)}))
    _, tally, _ = read(tmp_path)
    assert tally.notes == [f'{tmp_path}/bees.json has no dialogues of validation.']


def test_half_a_character_does_no_harm(tmp_path):
    (tmp_path / 'train.json').write_text('{"dialogue": [{"text": "\\ud83d"}]}\n')
    assert [said(thread) for thread in read(tmp_path)[0]] == [['A: \ufffd']]


def test_one_broken_file_does_not_end_the_others(tmp_path):
    (tmp_path / 'a_train.json').write_text(json.dumps({'train': hugging_face(BEES, TRAMS)})[:-50])
    (tmp_path / 'b_train.txt').write_text(parlai(TRAMS))
    threads, tally, _ = read(tmp_path)
    assert [thread.turns[0].text for thread in threads] == ['hello, how are you?', 'do you like trams?']
    assert [os.path.basename(path) for path, _ in tally.broken] == ['a_train.json']


def test_what_is_not_personachat(tmp_path):
    for name, content, score in [('a.txt', '1 one line\tis too few\n', 0.4), ('b.txt', '1 milk\n2 eggs\n', 0), ('c.txt', '1 a EOS 0 b\t1 c\n1 a\t1 d\n', 0),
                                 ('d.txt', '1 a\tb\n7 c\td\n', 0), ('e.txt', 'hello\n', 0), ('f.txt', '', 0), ('g.json', '{"personality": 1}', 0.15)]:
        (tmp_path / name).write_text(content)
        assert sniff(tmp_path / name, 'personachat')[0] == score, name
    (tmp_path / 'train_none_original.txt').write_text(parlai(BEES))
    assert sniff(tmp_path / 'train_none_original.txt', 'personachat')[0] == 0.9


# ---- BlendedSkillTalk

def test_the_turns_of_blended_skill_talk(tmp_path):
    episode = {'personas': [['i live in a lighthouse.', 'i have two cats.'], ['i sing.']], 'additional_context': 'Storms',
               'free_turker_utterance': 'I could not sleep.', 'guided_turker_utterance': 'Was it the storm?',
               'dialog': [[0, 'Yes.'], [1, 'Oh.'], [0, 5], [2, 'Who?'], 'no', [1, ''], [True, 'x']], 'label_candidates': [['a', 'b']]}
    broken = [7, {'dialog': 'no'}, {'dialog': [], 'guided_turker_utterance': 'Alone.', 'personas': 3}]
    (tmp_path / 'train.json').write_text(json.dumps([episode, *broken]))
    threads, tally, formats = read(tmp_path)
    assert formats == {'blended'}
    assert [said(thread) for thread in threads] == [['A: I could not sleep.', 'B: Was it the storm?', 'A: Yes.', 'B: Oh.'], ['B: Alone.']]
    assert {thread.split for thread in threads} == {'train'}
    assert tally.read == 5 and tally.dropped == {'persona lines': 3, 'unreadable': 7, 'empty': 1}


def test_a_blended_file_that_breaks_off(tmp_path):
    episode = {'free_turker_utterance': 'Hi.', 'guided_turker_utterance': 'Hello.', 'dialog': [[0, 'Bye.']]}
    (tmp_path / 'valid.json').write_text(json.dumps([episode, episode])[:-30])
    threads, tally, _ = read(tmp_path)
    assert len(threads) == 1 and tally.read == 3 and len(tally.broken) == 1


def test_what_is_not_blended(tmp_path):
    (tmp_path / 'a.json').write_text('[{"dialog": []}]')
    (tmp_path / 'b.json').write_text('{}')
    assert (sniff(tmp_path / 'a.json', 'blended')[0], sniff(tmp_path / 'b.json', 'blended')[0]) == (0.2, 0)


def test_blended_samples():
    threads, tally, _ = read(sample('blended_skill_talk_valid_1episode.json'))
    assert [turn.speaker for turn in threads[0].turns] == ['A', 'B'] * 7                # 0 is A, who wrote free_turker_utterance
    assert said(threads[0])[2:4] == ['A: Which level are you at?', 'B: I received on-the-job training when i first started']
    assert (tally.read, tally.dropped, threads[0].split) == (14, {'persona lines': 4}, 'validation')


# ---- Cornell Movie-Dialogs

def movie(folder, lines, conversations, titles=()):
    folder.mkdir(exist_ok=True)
    for name, rows in [('lines', lines), ('conversations', conversations), ('titles_metadata', titles)]:
        content = ''.join(' +++$+++ '.join(row) + '\n' for row in rows)
        (folder / f'movie_{name}.txt').write_bytes(content.encode('latin-1'))
    return folder


LINES = [('L2', 'u1', 'm0', 'IDA', 'To the caf\xe9, isn\x92t it <u>near</u>?'), ('L1', 'u0', 'm0', 'PAUL', 'Where  to? +++$+++ x'), ('L4', 'u1', 'm0', '', '')]


def test_lines_become_conversations(tmp_path):
    conversations = [('u0', 'u1', 'm0', "['L1', 'L2', 'L3', 'L4']"), ('u0', 'u1', 'm0', "['L1']"), ('u0', 'u1', 'm0'), ('u0', 'u1', 'm0', '[]')]
    lines = LINES + [('L5', 'u1', 'm0', '', 'Nameless.'), ('L6', 'u1', 'm0'), ('L1', 'u1', 'm0', 'IDA', 'Twice.'), ('L7', '', 'm0', '', 'Nobody.')]
    folder = movie(tmp_path / 'c', lines, conversations, [('m0', 'the ferry', '1957')])
    threads, tally, formats = read(folder)
    assert formats == {'cornell'}
    assert [said(thread) for thread in threads] == [['PAUL: Where  to? +++$+++ x', 'IDA: To the café, isn’t it near?']]
    assert (threads[0].unit, threads[0].title, threads[0].split) == ('m0', 'the ferry', None)
    assert tally.dropped == {cornell.LOST: 2, 'empty': 1, 'unreadable': 2 + 2, 'duplicates': 1, cornell.ALONE: 1}


def test_a_nameless_character_goes_by_its_number(tmp_path):
    movie(tmp_path, [('L5', 'u1', 'm0', '', 'Nameless.')], [('u0', 'u1', 'm0', "['L5']")])
    assert [said(thread) for thread in read(tmp_path)[0]] == [['u1: Nameless.']]


def test_utf_8_copies_are_read_too(tmp_path):
    movie(tmp_path, LINES, [('u0', 'u1', 'm0', "['L1' 'L2']")])             # and lists without commas
    content = (tmp_path / 'movie_lines.txt').read_bytes().decode('cp1252')
    (tmp_path / 'movie_lines.txt').write_text(content, 'utf-8')
    assert read(tmp_path)[0][0].turns[1].text == 'To the café, isn’t it near?'


def test_both_files_named_one_by_one_or_only_one(tmp_path):
    movie(tmp_path, LINES, [('u0', 'u1', 'm0', "['L1', 'L2']")])
    threads, _, _ = read(tmp_path / 'movie_conversations.txt', tmp_path / 'movie_lines.txt')
    assert len(threads[0].turns) == 2
    threads, tally, _ = read(tmp_path / 'movie_lines.txt')
    assert not threads and 'movie_lines.txt and movie_conversations.txt are read together: give the folder' in tally.broken[0][1]


def test_other_files_of_the_corpus_are_not_conversations(tmp_path):
    (tmp_path / 'movie_titles_metadata.txt').write_text("m0 +++$+++ the ferry +++$+++ 1957\n")
    (tmp_path / 'other.txt').write_text('L1 and L2\n')
    assert (sniff(tmp_path / 'movie_titles_metadata.txt', 'cornell')[0], sniff(tmp_path / 'other.txt', 'cornell')[0]) == (0.2, 0)


def test_cornell_samples():
    threads, tally, _ = read(sample('cornell_extracted'))
    assert [said(thread) for thread in threads] == [['u2: They do not!']]
    assert (threads[0].title, tally.read, tally.dropped) == ('10 things i hate about you', 1, {})

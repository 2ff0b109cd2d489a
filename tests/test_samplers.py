"""The two samplers in src/: the original's flags and output, and conversations among the people a run knows."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, fails_clearly, run_script
from test_chat import ENC, Scripted

from src import dialogue, folders, lite
from src import generate_unconditional_samples as sampler
from src.chat import OBJECTIONS
from src.console import UsageError

UNCONDITIONAL, INTERACTIVE = 'src/generate_unconditional_samples.py', 'src/interactive_conditional_samples.py'
HEADER = '=' * 40 + ' SAMPLE {} ' + '=' * 40


@pytest.fixture(scope='module')
def tiny(demo_models):
    lite.generator(folders.latest(os.path.join(demo_models, 'tiny')))    # which is told on stderr
    return ['--model_name', 'tiny', '--models_dir', demo_models]


def test_unconditional_samples(tiny):
    result = run_script(UNCONDITIONAL, *tiny, '--nsamples', 3, '--batch_size', 2, '--length', 10, '--seed', 7, '--top_k', 5)
    assert result.returncode == 0 and result.stderr == ''
    assert re.findall('=+ SAMPLE .*', result.stdout) == [HEADER.format(i) for i in (1, 2, 3)]
    again = run_script('-m', 'src.generate_unconditional_samples', *tiny, '--nsamples', 3, '--batch_size', 2, '--length', 10, '--seed', 7, '--top_k', 5)
    assert again.stdout == result.stdout


def test_conditional_samples(tiny):
    result = run_script(INTERACTIVE, *tiny, '--nsamples', 2, '--length', 80, '--seed', 7, stdin='Mara: hi\n\nTheo:\n')
    assert result.returncode == 0 and result.stderr == ''
    blocks = result.stdout.split('Model prompt >>> ')
    assert len(blocks) == 5                                             # two prompts, an empty one, the end of input
    assert blocks[1].startswith(HEADER.format(1) + '\n') and HEADER.format(2) in blocks[1] and blocks[1].endswith('=' * 80 + '\n')
    assert blocks[2] == 'Prompt should not be empty!\n'
    assert run_script('-m', 'src.interactive_conditional_samples', *tiny, '--nsamples', 2, '--length', 80, '--seed', 7,
                      stdin='Mara: hi\n\nTheo:\n').stdout == result.stdout


def test_beams_and_penalties(tiny):
    """The likeliest continuation is the same each time; where no token may come twice, none does."""
    asked = [INTERACTIVE, *tiny, '--length', 12, '--num_beams', 3, '--no_repeat_ngram_size', 1]
    first, second = (run_script(*asked, stdin='Mara: hi\n') for _ in range(2))
    assert first.returncode == 0 and first.stdout == second.stdout and first.stdout.count('SAMPLE') == 1
    assert fails_clearly(run_script(*asked, '--nsamples', 2), 2, '--num_beams 3 with --nsamples 2')


@pytest.mark.parametrize('script', [UNCONDITIONAL, INTERACTIVE])
def test_mistakes(script, tiny):
    assert fails_clearly(run_script(script, *tiny, '--frequency_penalty', 3), 2, '--frequency_penalty 3', '-2 to 2')
    assert fails_clearly(run_script(script, *tiny, '--topk', 3), 2, '--topk', 'did you mean --top_k?')
    assert fails_clearly(run_script(script, *tiny, '--top_p', 3), 2, '--top_p 3', '0 to 1')
    assert fails_clearly(run_script(script, *tiny, '--length', 'many'), 2, '--length many')
    assert fails_clearly(run_script(script, *tiny, '--seed', 'abc'), 2, '--seed abc', 'a whole number')
    assert fails_clearly(run_script(script, '--model_name', 'nope'), 1, 'no model nope', 'demo')
    for flags in (['--model_name', 'nope', 'Theo'], ['--model_name=nope', 'Theo'], ['--seed', '-3', 'Theo']):
        assert fails_clearly(run_script(script, *flags), 2, 'Theo belongs to no flag: a value of several words needs quotes')
    assert fails_clearly(run_script(script, '--run_name', 'nope', '--checkpoint_dir', '/nowhere'), 1, 'no run nope')


@pytest.mark.parametrize('script', [UNCONDITIONAL, INTERACTIVE])
def test_help_shows_every_flag(script):
    text = run_script(script, '--help', env={'PAGER': 'cat'})
    for flag in ('model_name', 'models_dir', 'seed', 'nsamples', 'batch_size', 'length', 'temperature', 'top_k', 'top_p', 'run_name'):
        assert f'--{flag}' in text.stdout + text.stderr
    assert text.returncode == 0 and 'METADATA' not in text.stdout + text.stderr


@pytest.mark.parametrize('flags', ['tiny', 'friends'])
def test_a_reader_that_leaves(flags, request):
    """`... | head` ends the endless sampler without a complaint."""
    tiny = [*request.getfixturevalue(flags), *(['--with', 'Theo,Mary Ann'] if flags == 'friends' else [])]
    process = subprocess.Popen([sys.executable, UNCONDITIONAL, *tiny, '--length', '5'], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) != 0 and process.stderr.read() == b''
    process.stderr.close()


# ---- conversations

@pytest.fixture(scope='module')
def friends(demo_models, tmp_path_factory):
    """A run that was trained on three people, as far as its note tells."""
    runs = tmp_path_factory.mktemp('runs')
    shutil.copytree(os.path.join(demo_models, 'tiny'), runs / 'r')
    lite.generator(folders.latest(runs / 'r'))
    note = {'style': 'name', 'speakers': ['Mary Ann', 'Theo', 'Smith, J.', '0042', 'None']}
    (runs / 'r' / 'dialogue.json').write_text(json.dumps(note), encoding='utf-8')
    return ['--run_name', 'r', '--checkpoint_dir', str(runs)]


def test_flags_are_taken_as_they_are_typed(friends):
    """Names and topics are no numbers, lists or comments; --with chooses who speaks; the same seed gives the same JSON."""
    flags = ['--nsamples', 2, '--length', 40, '--seed', 3, '--format', 'json', '--with', 'Mary Ann, 0042,None', '--topic', '[see #3, "x"]']
    result = run_script(UNCONDITIONAL, *friends, *flags)
    assert result.returncode == 0 and result.stderr == ''
    found = json.loads(result.stdout)
    assert len(found) == 2 and all(list(conversation) == ['turns'] for conversation in found)
    for conversation in found:
        assert {turn['speaker'] for turn in conversation['turns']} <= {'Mary Ann', '0042', 'None'}
        assert conversation['turns'][0]['text'] == '[see #3, "x"]' and len(conversation['turns']) > 1
        assert all(list(turn) == ['speaker', 'text'] for turn in conversation['turns'])       # the style writes no times
    assert found[0] != found[1] and run_script(UNCONDITIONAL, *friends, *flags).stdout == result.stdout


def test_plain_text_of_a_model_of_conversations(friends):
    result = run_script(UNCONDITIONAL, *friends, '--plain', '--nsamples', 2, '--length', 10, '--seed', 7, '--top_k', 5)
    tiny = run_script(UNCONDITIONAL, *friends, '--noplain', '--nsamples', 1, '--length', 10, '--with', 'Theo')
    assert result.returncode == tiny.returncode == 0 and len(re.findall('=+ SAMPLE .*', result.stdout)) == 2
    assert tiny.stdout.startswith(HEADER.format(1) + '\nTheo: ') and 'Theo: ' not in result.stdout


def test_mistakes_about_conversations(friends, tiny):
    assert fails_clearly(run_script(UNCONDITIONAL, *friends, '--with', 'Theo,Nobody', '--nsamples', 1), 2, '--with Nobody', 'Mary Ann, Theo, Smith, J.')
    for flags in (['--with', 'Theo'], ['--topic', 'tea?'], ['--format', 'json']):
        with pytest.raises(UsageError, match='no model of conversations, which --with, --topic and --format need'):
            sampler.sample_model('tiny', models_dir=tiny[3], **{flags[0][2:].replace('with', 'with_'): flags[1]})
    with pytest.raises(UsageError, match='--format pdf is out of range: it takes txt, json, html'):
        sampler.sample_model(run_name='r', checkpoint_dir=friends[3], format='pdf')
    for format in ('json', 'html'):
        with pytest.raises(UsageError, match=f'--format {format} needs to know how many conversations: give --nsamples'):
            sampler.sample_model(run_name='r', checkpoint_dir=friends[3], format=format)


@pytest.mark.parametrize('text, names', [
    ('Theo', ['Theo']), ('Mary Ann', ['Mary Ann']), ('Theo,Mary Ann', ['Theo', 'Mary Ann']), (' Mary Ann ,  Theo ', ['Mary Ann', 'Theo']),
    ('Smith, J.', ['Smith, J.']), ('Theo, Smith, J.,Smith', ['Theo', 'Smith, J.', 'Smith']), ('Theo,Theo', ['Theo', 'Theo'])])
def test_names_of_with(text, names):
    assert sampler.named(text, ['Theo', 'Mary Ann', 'Smith', 'Smith, J.']) == names


@pytest.mark.parametrize('text, name', [('', ''), ('theo', 'theo'), ('Theo,', ''), ('Theo, Mary', 'Mary'), ('J.,Theo', 'J.')])
def test_names_that_nobody_has(text, name):
    with pytest.raises(UsageError, match=re.escape(f'--with {name}: nobody in the training data is called so; there are Theo, Mary Ann, Smith, J.')):
        sampler.named(text, ['Theo', 'Mary Ann', 'Smith, J.'])


def conversations(capsys, *script, style='name', speakers=('Mara', 'Theo'), with_=None, topic=None, format='txt', nsamples=1, length=1000, **known):
    """What is printed where a model makes these texts."""
    enc = ENC.extended(dialogue.get_style(style).special_tokens)
    sampler.write_conversations(Scripted(*script, enc=enc), enc, {'style': style, 'speakers': list(speakers)} | known, with_, topic, format, nsamples, length, 1,
                                {'temperature': 1, 'top_k': 0, 'top_p': 1})
    return capsys.readouterr().out


def test_a_conversation_as_text(capsys):
    script = ['Mara: x', ' Up?\n Or not\nTheo', 'Theo: x', ' yes\n', [ENC.eot]]
    assert conversations(capsys, *script) == HEADER.format(1) + '\nMara: Up?\n Or not\nTheo: yes\n'
    assert conversations(capsys, *script, *script, nsamples=2).count('Theo: yes\n') == 2
    assert conversations(capsys, 'Mara: x', *['\n'] * (OBJECTIONS + 1), 'Theo: x', ' hm\n', 'Mara: x', ' ah\n', [ENC.eot]) == HEADER.format(1) + '\nTheo: hm\nMara: ah\n'      # who says nothing is not shown
    assert conversations(capsys, 'Mara: x', ' hm\n', 'Mara: x', ' ah\n', length=1) == HEADER.format(1) + '\nMara: hm\n'


def test_a_topic(capsys):
    """Said by whom the model has begin, else by one of those asked for."""
    topic = 'tea?\nor coffee?'
    assert conversations(capsys, 'Theo: x', 'Mara: x', ' tea\n', [ENC.eot], topic=topic) == HEADER.format(1) + '\nTheo: tea?\n or coffee?\nMara: tea\n'
    assert conversations(capsys, *['??'] * 4, 'Lena: x', ' tea\n', [ENC.eot], topic='tea?') == HEADER.format(1) + '\nMara: tea?\nLena: tea\n'
    assert conversations(capsys, *['Lena: x'] * 4, *['Lena: x'] * 4, topic='tea?', with_='Theo') == HEADER.format(1) + '\nTheo: tea?\n'


def test_times_are_told_where_the_style_writes_them(capsys):
    script = [' Mara: x', ' up?\n', ' Theo: x', ' yes\n', [ENC.eot]]
    day = 24 * 3600 * 1000
    expected = f'\n({1349680884843 + day}) Mara: up?\n({1349680884843 + day + 5150}) Theo: yes\n'
    assert conversations(capsys, *script, style='timestamp', last_time=1349680884843) == HEADER.format(1) + expected
    found = json.loads(conversations(capsys, *script, style='timestamp', format='json', last_time=1349680884843))
    assert found == [{'turns': [{'speaker': 'Mara', 'text': 'up?', 'time': 1349680884843 + day}, {'speaker': 'Theo', 'text': 'yes', 'time': 1349680884843 + day + 5150}]}]
    assert '9 October 2012, 07:21' in conversations(capsys, *script, style='timestamp', format='html', last_time=1349680884843)


def test_json_and_html_are_all_that_is_printed(capsys):
    script = ['Mara: x', ' <b>up?</b>\n', 'Theo: x', ' yes\n', [ENC.eot]]
    turns = [{'speaker': 'Mara', 'text': '<b>up?</b>'}, {'speaker': 'Theo', 'text': 'yes'}]
    assert json.loads(conversations(capsys, *script, *script, format='json', nsamples=2)) == [{'turns': turns}] * 2
    page = conversations(capsys, *script, format='html')
    assert page.startswith('<!doctype html>') and '>&lt;b&gt;up?&lt;/b&gt;<' in page and '<div class="name"><bdi>Theo</bdi></div>' in page


def test_among_seats(capsys):
    marks = {name: ENC.extended(dialogue.get_style('tokens').special_tokens).special_tokens[name] for name in ('<sp1>', '<sp2>', '<eos>')}
    script = [[marks['<sp2>']], [*ENC.encode(' hi'), marks['<sp1>']], [marks['<sp1>']], [*ENC.encode(' ho'), marks['<eos>']], [marks['<eos>']]]
    assert conversations(capsys, *script, style='tokens', speakers=('<sp2>', '<sp1>')) == HEADER.format(1) + '\n<sp2>: hi\n<sp1>: ho\n'
    with pytest.raises(UsageError, match='--with Theo: .*; there are <sp1>, <sp2>'):
        conversations(capsys, style='tokens', with_='Theo')


def test_whole_numbers_however_they_are_written(tiny):
    done = run_script(UNCONDITIONAL, '--model_name', 'tiny', '--models_dir', tiny[3], '--nsamples', '1.0', '--length', '1e1', '--batch_size', '2.0', '--seed', '1')
    assert done.returncode == 0 and '= SAMPLE 1 =' in done.stdout, done.stderr


def test_plain_text_has_no_conversations(tiny):
    assert fails_clearly(run_script(UNCONDITIONAL, '--model_name', 'tiny', '--models_dir', tiny[3], '--plain', '--format', 'json'), 2, '--format')

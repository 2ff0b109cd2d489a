"""The two samplers in src/: the original's flags and output."""
import re

import pytest
from conftest import fails_clearly, run_script

UNCONDITIONAL, INTERACTIVE = 'src/generate_unconditional_samples.py', 'src/interactive_conditional_samples.py'
HEADER = '=' * 40 + ' SAMPLE {} ' + '=' * 40


@pytest.fixture(scope='module')
def tiny(demo_models):
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


@pytest.mark.parametrize('script', [UNCONDITIONAL, INTERACTIVE])
def test_mistakes(script, tiny):
    assert fails_clearly(run_script(script, *tiny, '--topk', 3), 2, '--topk', 'did you mean --top_k?')
    assert fails_clearly(run_script(script, *tiny, '--top_p', 3), 2, '--top_p 3', '0 to 1')
    assert fails_clearly(run_script(script, *tiny, '--length', 'many'), 2, '--length many')
    assert fails_clearly(run_script(script, *tiny, '--seed', 'abc'), 2, '--seed abc', 'a whole number')
    assert fails_clearly(run_script(script, '--model_name', 'nope'), 1, 'no model nope', 'demo')
    assert fails_clearly(run_script(script, '--run_name', 'nope', '--checkpoint_dir', '/nowhere'), 1, 'no run nope')


@pytest.mark.parametrize('script', [UNCONDITIONAL, INTERACTIVE])
def test_help_shows_every_flag(script):
    text = run_script(script, '--help', env={'PAGER': 'cat'})
    for flag in ('model_name', 'models_dir', 'seed', 'nsamples', 'batch_size', 'length', 'temperature', 'top_k', 'top_p', 'run_name'):
        assert f'--{flag}' in text.stdout + text.stderr
    assert text.returncode == 0


def test_a_reader_that_leaves(tiny):
    """`... | head` ends the endless sampler without a complaint."""
    import subprocess
    import sys

    from conftest import ROOT
    process = subprocess.Popen([sys.executable, UNCONDITIONAL, *tiny, '--length', '5'], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) != 0 and process.stderr.read() == b''
    process.stderr.close()

"""download_model.py against a server of our own that cuts, stalls, lies and refuses."""
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import pytest
import requests

import download_model
from conftest import ROOT, fails_clearly, run_script
from download_model import FILES, META, VOCABULARY, Patience, Unreachable, download
from src import fetch, files
from src.console import UsageError, UserError
from test_hub import Hub, put, write_model

DATA = 'model.ckpt.data-00000-of-00001'
NOWHERE = 'http://127.0.0.1:9/gpt2'                     # the discard port: nobody listens
QUICK = Patience(pause=0.01, connect=5, stall=1)


@pytest.fixture(scope='session')
def vocabulary(real_vocabulary):
    """{encoder.json: bytes, vocab.bpe: bytes}"""
    return contents(os.path.join(real_vocabulary, '124M'))


def small_model(vocabulary, seed=0):
    """The seven files of a model, two megabytes, most of it vocabulary."""
    hparams = {'n_vocab': 50257, 'n_ctx': 1024, 'n_embd': 8, 'n_head': 2, 'n_layer': seed + 1}
    return {'checkpoint': b'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n',
            'hparams.json': json.dumps(hparams).encode(),
            DATA: hashlib.shake_256(bytes([seed])).digest(400_000),
            'model.ckpt.index': hashlib.shake_256(b'index').digest(500), META: hashlib.shake_256(b'meta').digest(900),
            **vocabulary}


@pytest.fixture
def model(server, vocabulary):
    """A small 355M on the server: {name: bytes}."""
    files = small_model(vocabulary)
    server.put('355M', files)
    return files


def contents(folder):
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), 'rb') as file:
            found[name] = file.read()
    return found


def command(*arguments, **options):
    return run_script(os.path.join(ROOT, 'download_model.py'), *arguments, timeout=60, **options)


def assert_one_sentence(result, status, *words):
    assert fails_clearly(result, status, *words)
    assert result.stderr.startswith('error: ') and result.stderr.count('\n') == 1 and result.stderr.endswith('.\n')


# ---- the command

def test_help_is_quick_and_shows_every_flag():
    begun = time.monotonic()
    result = command('--help')
    assert time.monotonic() - begun < 3
    assert result.returncode == 0
    for word in ['--models_dir', '--mirror', 'GPT2_MIRROR', '124M, 355M, 774M, 1558M', download_model.MIRROR, 'microsoft/DialoGPT-medium', '--local', '--token']:
        assert word in result.stdout


def test_a_whole_download_and_then_nothing_more(server, model, tmp_path):
    result = command('355M', '--models_dir', tmp_path, '--mirror', server.url + '/')
    assert (result.returncode, result.stderr) == (0, '')
    assert contents(tmp_path / '355M') == model
    assert f'python src/interactive_conditional_samples.py --model_name 355M --models_dir {tmp_path}' in result.stdout
    assert result.stdout.splitlines()[-1].endswith(f'python train.py --dataset corpus.npz --model_name 355M --models_dir {tmp_path}')
    bodies = len(server.bodies())

    result = command('355M', '--models_dir', tmp_path, '--mirror', server.url)
    assert result.returncode == 0
    assert '355M is complete, nothing to download.' in result.stdout
    assert len(server.bodies()) == bodies == 7


def test_several_at_once_old_names_and_the_mirror_from_the_environment(server, model, vocabulary, tmp_path):
    server.put('774M', small_model(vocabulary, seed=1))
    result = command('774M', '345M', cwd=tmp_path, env={'GPT2_MIRROR': server.url})
    assert (result.returncode, result.stderr) == (0, '')
    assert '345M is the old name of 355M' in result.stdout
    assert contents(tmp_path / 'models/355M') == model
    assert contents(tmp_path / 'models/774M') == small_model(vocabulary, seed=1)
    assert result.stdout.endswith('train.py --dataset corpus.npz --model_name 774M\n')


def test_the_flag_wins_over_the_environment(server, model, tmp_path):
    result = command('355M', '--models_dir', tmp_path, '--mirror', server.url, env={'GPT2_MIRROR': NOWHERE})
    assert result.returncode == 0


@pytest.mark.parametrize('names', [['355M', '999M'], []])
def test_a_name_we_do_not_have(server, tmp_path, names):
    result = command(*names, '--models_dir', tmp_path, '--mirror', server.url)
    assert_one_sentence(result, 2, '124M, 355M, 774M, 1558M')
    assert not server.seen and not os.listdir(tmp_path)


# ---- models of others

def test_a_model_of_the_hub_and_one_in_a_folder(server, tmp_path):
    pytest.importorskip('huggingface_hub')
    server.RequestHandlerClass, server.token = Hub, 'hf_secret'
    write_model(tmp_path / 'there', kind='safetensors')
    put(server, tmp_path / 'there', 'mara/DialoGPT-tiny')
    result = command('mara/DialoGPT-tiny', '--revision', 'v1', '--models_dir', tmp_path / 'models',
                     env={'HF_ENDPOINT': server.url.removesuffix('/gpt2'), 'HF_HOME': str(tmp_path / 'home'), 'HF_TOKEN': 'hf_secret'})
    assert result.returncode == 0, result.stderr
    assert f'Next: python chatter.py --model_name DialoGPT-tiny --models_dir {tmp_path}/models' in result.stdout
    source = json.loads((tmp_path / 'models/DialoGPT-tiny/source.json').read_text())
    assert source == {'from': 'mara/DialoGPT-tiny', 'revision': 'v1', 'commit': 'a' * 40, 'model_type': 'gpt2', 'query_scales': [1.0, 1.0]}
    result = command('--local', tmp_path / 'there', '--name', 'mine', '--models_dir', tmp_path / 'models')
    assert (result.returncode, result.stderr) == (0, '')
    assert 'Next: python src/interactive_conditional_samples.py --model_name mine' in result.stdout
    assert contents(tmp_path / 'models/mine')['hparams.json'] == contents(tmp_path / 'models/DialoGPT-tiny')['hparams.json']


@pytest.mark.parametrize('arguments, words', [
    (['124M', '--revision', 'v1'], ['--revision v1', 'here are 0']), (['a/b', 'c/d', '--name', 'x'], ['--name x', 'here are 2']), (['--name', 'x'], ['--name x']),
    (['a/b', '--name', '../x'], ["--name '../x' is no name for a folder"]), (['a/', '--token', 'x'], ["--name ''"]), (['distilgpt2'], ['no model distilgpt2', 'microsoft/DialoGPT-medium'])])
def test_flags_that_do_not_go_together(tmp_path, arguments, words):
    assert_one_sentence(command(*arguments, '--models_dir', tmp_path), 2, *words)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('text', ['ftp://example.org', 'http://', 'http://a:99999', 'http://a..b', 'mailto:me'])
def test_what_is_no_web_address(text):
    with pytest.raises(UsageError, match=f'^{re.escape(repr(text))} is no web address'):
        download_model.web_address(text)


def test_a_mirror_that_is_no_web_address():
    assert_one_sentence(command('124M', '--mirror', 'nonsense'), 2, 'nonsense', '--mirror')


def test_a_missing_file_is_one_sentence_at_once(server, model, tmp_path):
    del server.files[f'/gpt2/355M/{DATA}']
    result = command('355M', '--models_dir', tmp_path, '--mirror', server.url)
    assert_one_sentence(result, 1, f'{server.url}/355M/{DATA}', '404', '--mirror')
    assert len([seen for seen in server.seen if seen.path.endswith(DATA)]) == 1
    assert not os.listdir(tmp_path)


def test_the_graph_is_not_needed(server, model, tmp_path):
    del server.files[f'/gpt2/355M/{META}'], model[META]
    result = command('355M', '--models_dir', tmp_path, '--mirror', server.url)
    assert (result.returncode, result.stderr) == (0, '')
    assert META in result.stdout
    assert contents(tmp_path / '355M') == model


def test_a_file_in_the_place_of_the_folder(server, model, tmp_path):
    (tmp_path / 'models').write_text('')
    assert_one_sentence(command('355M', cwd=tmp_path, env={'GPT2_MIRROR': server.url}), 1, 'models', '--models_dir')


@pytest.mark.skipif(os.name != 'posix', reason='sends SIGINT')
def test_ctrl_c_keeps_what_has_come(server, model, tmp_path):
    server.faults[f'/gpt2/355M/{DATA}'] = [('stall', 200_000)]
    arguments = [sys.executable, 'download_model.py', '355M', '--models_dir', str(tmp_path), '--mirror', server.url]
    process = subprocess.Popen(arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while server.sent < 200_000 + len(model['checkpoint'] + model['encoder.json'] + model['hparams.json']):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)                                     # sent is not yet received
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (130, 'interrupted\n')
    assert 'the same command resumes' in stdout
    assert os.path.getsize(tmp_path / '355M' / (DATA + '.part')) > 150_000
    assert command(*arguments[2:]).returncode == 0
    assert contents(tmp_path / '355M') == model


# ---- the connection

def test_a_cut_connection_is_resumed(server, model, tmp_path):
    server.faults[f'/gpt2/355M/{DATA}'] = [('cut', 150_000), ('cut', 100_000)]
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model
    first, second, third = server.bodies(DATA)
    assert (first.range, first.if_range) == (None, None)
    starts = [int(seen.range[len('bytes='):-1]) for seen in (second, third)]
    assert 130_000 < starts[0] <= 150_000 and 230_000 < starts[1] <= starts[0] + 100_000
    assert second.if_range == '"v1"'
    assert server.sent - sum(map(len, model.values())) < 2 * (1 << 14)      # at most one piece lost a cut


def test_progress_renews_the_tries(server, model, tmp_path):
    server.faults[f'/gpt2/355M/{DATA}'] = [('cut', 40_000)] * 7
    download(['355M'], tmp_path, server.url, QUICK._replace(tries=2))
    assert contents(tmp_path / '355M') == model


def test_no_progress_ends_in_one_sentence_and_the_next_run_resumes(server, model, tmp_path):
    server.faults[f'/gpt2/355M/{DATA}'] = [('cut', 200_000)] + [('cut', 0)] * 5
    with pytest.raises(Unreachable, match=r'tried 5 times.*same command again, it resumes.*--mirror'):
        download(['355M'], tmp_path, server.url, QUICK)
    assert not os.path.exists(tmp_path / '355M' / DATA)
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model
    assert int(server.bodies(DATA)[-1].range[len('bytes='):-1]) > 150_000


def test_a_stalled_connection_is_tried_again(server, model, tmp_path, capsys):
    server.faults[f'/gpt2/355M/{DATA}'] = [('stall', 200_000)]
    begun = time.monotonic()
    download(['355M'], tmp_path, server.url, QUICK)
    assert QUICK.stall < time.monotonic() - begun < 8
    assert contents(tmp_path / '355M') == model
    assert server.bodies(DATA)[1].range
    assert 'timed out; trying again in 0.01 s.' in capsys.readouterr().out


def test_a_server_without_ranges_starts_over(server, model, tmp_path):
    server.ranges = False
    server.faults[f'/gpt2/355M/{DATA}'] = [('cut', 150_000)]
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model
    assert server.bodies(DATA)[1].range


def test_a_server_without_head(server, model, tmp_path):
    server.refuses = ('HEAD',)
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model


def test_a_server_that_compresses_unasked(server, model, tmp_path):
    path = f'/gpt2/355M/{DATA}'
    server.files[path], server.headers[path] = gzip.compress(model[DATA]), {'Content-Encoding': 'gzip'}
    server.faults[path] = [('none',), ('none',), ('cut', 150_000)]      # two looks at the headers, then the first try
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model
    assert not any(seen.range for seen in server.bodies(DATA))


def test_retry_after_is_honoured(server, model, tmp_path):
    server.faults['/gpt2/355M/checkpoint'] = [('status', 503, {'Retry-After': '1'})]
    begun = time.monotonic()
    download(['355M'], tmp_path, server.url, QUICK)
    assert time.monotonic() - begun >= 1
    assert contents(tmp_path / '355M') == model


def test_a_server_that_asks_for_an_hour(server, model, tmp_path):
    server.faults['/gpt2/355M/checkpoint'] = [('status', 429, {'Retry-After': '3600'})]
    with pytest.raises(Unreachable, match='429.*3600 s'):
        download(['355M'], tmp_path, server.url, QUICK)


def test_retry_after_as_a_date():
    response = requests.Response()
    response.headers['Retry-After'] = time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(time.time() + 90))
    assert 85 < fetch.retry_after(response) <= 90
    response.headers['Retry-After'] = 'soon'
    assert fetch.retry_after(response) == 0


# ---- the part file

def half(tmp_path, content):
    os.makedirs(tmp_path / '355M')
    (tmp_path / '355M' / (DATA + '.part')).write_bytes(content)


def test_the_file_changed_on_the_server_between_two_runs(server, model, tmp_path):
    path = f'/gpt2/355M/{DATA}'
    server.headers[path] = {}                           # no checksum that would tell: only size and ETag are left
    server.faults[path] = [('cut', 150_000)] + [('cut', 0)] * 5
    with pytest.raises(Unreachable):
        download(['355M'], tmp_path, server.url, QUICK)
    server.files[path], server.etags[path] = bytes(400_000), 'v2'
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == {**model, DATA: bytes(400_000)}


@pytest.mark.parametrize('part', [b'not the beginning', bytes(400_000), bytes(500_000)])
def test_a_part_of_something_else_is_found_out(server, model, tmp_path, part):
    half(tmp_path, part)
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model


def test_a_whole_part_needs_only_its_name(server, model, tmp_path):
    half(tmp_path, model[DATA])
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model
    assert not server.bodies(DATA)


def test_416_starts_over(server, model, tmp_path):
    half(tmp_path, model[DATA][:1000])
    server.faults[f'/gpt2/355M/{DATA}'] = [('status', 416, {'Content-Range': 'bytes */400000'})]
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model
    assert [seen.range for seen in server.bodies(DATA)] == ['bytes=1000-', None]


@pytest.mark.skipif(not files.fcntl, reason='no locks here')
def test_two_downloads_do_not_write_to_one_folder(server, model, tmp_path):
    os.makedirs(tmp_path / '355M')
    with files.alone(tmp_path / '355M', 'another download'):
        with pytest.raises(UserError, match='another download'):
            download(['355M'], tmp_path, server.url, QUICK)
    download(['355M'], tmp_path, server.url, QUICK)


# ---- the bytes

def test_wrong_md5_is_refused(server, model, tmp_path):
    server.files[f'/gpt2/355M/{DATA}'] = bytes(400_000)
    with pytest.raises(Unreachable, match='wrong bytes came .MD5 .*--mirror'):
        download(['355M'], tmp_path, server.url, QUICK._replace(tries=3))
    assert not [name for name in os.listdir(tmp_path / '355M') if name.startswith(DATA)]
    assert len(server.bodies(DATA)) == 3


def test_a_wrong_vocabulary_is_refused_for_every_size(server, model, tmp_path):
    server.put('355M', {'vocab.bpe': b'#version: 0.2\n'})
    with pytest.raises(Unreachable, match='SHA-256'):
        download(['355M'], tmp_path, server.url, QUICK._replace(tries=2))
    assert not [name for name in os.listdir(tmp_path / '355M') if name.startswith('vocab.bpe')]


@pytest.mark.parametrize('name', [name for name in FILES if name not in VOCABULARY])
def test_every_file_of_124M_must_be_the_published_one(server, vocabulary, tmp_path, monkeypatch, name):
    files = small_model(vocabulary)
    files[name] += b'?'
    server.put('124M', files)
    known = {each: hashlib.sha256(content).hexdigest() for each, content in files.items()}
    monkeypatch.setitem(download_model.SHA256, '124M', {**known, name: download_model.SHA256['124M'][name]})
    with pytest.raises(Unreachable, match=f'{re.escape(name)}: wrong bytes'):
        download(['124M'], tmp_path, server.url, QUICK._replace(tries=1))
    assert not [found for found in os.listdir(tmp_path / '124M') if found.startswith(name)]


def test_wrong_bytes_once_are_fetched_again(server, model, tmp_path):
    server.faults[f'/gpt2/355M/{DATA}'] = [('cut', 100_000)]
    server.headers[f'/gpt2/355M/{DATA}']['ETag'] = 'W/"weak"'      # no good for If-Range
    half(tmp_path, bytes(50_000))
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == model
    assert not any(seen.if_range for seen in server.bodies(DATA))


def test_a_differing_file_is_kept_aside(server, model, tmp_path, capsys):
    download(['355M'], tmp_path, server.url, QUICK)
    (tmp_path / '355M' / DATA).write_bytes(b'fine-tuned')
    download(['355M'], tmp_path, server.url, QUICK)
    assert contents(tmp_path / '355M') == {**model, DATA + '.old1': b'fine-tuned'}
    assert f'{DATA}.old1' in capsys.readouterr().out


# ---- without a network, without room

def test_124M_is_known_to_be_complete_without_a_network(server, vocabulary, tmp_path, monkeypatch, capsys):
    files = small_model(vocabulary)
    known = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setitem(download_model.SHA256, '124M', known)
    server.put('124M', files)
    download(['124M'], tmp_path, server.url, QUICK)
    download(['124M'], tmp_path, NOWHERE, QUICK)
    assert capsys.readouterr().out.endswith('124M is complete, nothing to download.\n')


def test_other_sizes_cannot_be_compared_without_a_network(server, model, tmp_path):
    download(['355M'], tmp_path, server.url, QUICK)
    result = command('355M', '--models_dir', tmp_path, '--mirror', NOWHERE)
    assert (result.returncode, result.stderr) == (0, '')
    assert 'could not be compared' in result.stdout


def test_a_missing_file_without_a_network(server, model, tmp_path):
    download(['355M'], tmp_path, server.url, QUICK)
    os.remove(tmp_path / '355M/hparams.json')
    with pytest.raises(Unreachable, match='Connection refused.*tried 5 times.*check the connection'):
        download(['355M'], tmp_path, NOWHERE, QUICK)


def test_a_full_disk_is_seen_before_anything_is_written(server, model, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: namedtuple('usage', 'total used free')(10**9, 10**9, 1000))
    with pytest.raises(UserError, match=r'1\.90 MB are needed, 1\.00 kB are free.*--models_dir'):
        download(['355M'], tmp_path / 'models', server.url, QUICK)
    assert not os.listdir(tmp_path) and not server.bodies()

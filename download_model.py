#!/usr/bin/env python3
"""Fetch a pretrained model into models/<name>/: OpenAI's GPT-2, resumable at any point and checked byte for byte, or one from the Hugging Face hub.

    python download_model.py 124M
    python download_model.py 355M 774M --models_dir /data/models --mirror https://example.org/gpt-2/models
    python download_model.py microsoft/DialoGPT-medium
    python download_model.py --local ~/my-gpt2 --name mine

Sizes: 124M, 355M, 774M, 1558M. What has come so far lies in *.part files beside the model: after a lost
connection, Ctrl-C or a power cut, the same command goes on from there. A file gets its name once it is whole.

A name with a slash is the hub's: GPT-2s and GPT-Neos with a byte-level BPE vocabulary of any language, in model.safetensors,
pytorch_model.bin or tf_model.h5. They come through huggingface_hub (pip install -r requirements-hub.txt), into its cache, where a file that
came whole is kept, and become a model folder like any other; torch is not needed, and nothing in the files is executed.
"""
import argparse
import os
import shlex
from urllib.parse import urlsplit

import requests

from src import console
from src.console import UsageError
from src.fetch import File, Patience, Unreachable, amount, check_room, fetch_files, look, matches, open_session, patiently
from src.files import OLD_NAMES

MIRROR = 'https://openaipublic.blob.core.windows.net/gpt-2/models'
NAMES = ['124M', '355M', '774M', '1558M']
META = 'model.ckpt.meta'                                # the original's TF1 graph: restoring does without it
FILES = ['checkpoint', 'encoder.json', 'hparams.json', 'model.ckpt.data-00000-of-00001', 'model.ckpt.index', META, 'vocab.bpe']

VOCABULARY = {                                          # SHA-256; every size has the same vocabulary
    'encoder.json': '196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783',
    'vocab.bpe': '1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5',
}
SHA256 = {name: VOCABULARY for name in NAMES}
SHA256['124M'] = {
    **VOCABULARY,
    'checkpoint': 'dd1b025d2e155283f5e300ce95bf6d5b6bc0f7fe010db73daa6975eb896ab9cb',
    'hparams.json': 'd9d56e4121c427164e0c55c6f03c08e1daf9002b9b672825112d19097b680318',
    'model.ckpt.data-00000-of-00001': '2060c885360cc0cf41d7a6dbc4d24b5127aae20260c8b5ae521b5a6578407118',
    'model.ckpt.index': '71916f763f9746f9b2a06b12d91996cf1084ae008d0424543d39391c5f2dc687',
    META: '4668c448fa11531fd6700460487f73e82d3272960cea942252f8744bf225c77b',
}


# ---- whole models

def survey(session, name, models_dir, mirror, patience):
    """What of a model is missing here or differs -> [(File, Remote)]. Needs no network where SHA-256 can tell."""
    folder = os.path.join(models_dir, name)
    files = [File(f'{mirror}/{name}/{each}', os.path.join(folder, each), SHA256[name].get(each)) for each in FILES]
    doubtful = [file for file in files if not (file.sha256 and matches(file, None))]
    usable = all(file.name == META or not file.sha256 and os.path.isfile(file.path) for file in doubtful)
    if usable:
        patience = patience._replace(tries=1)           # asking only to compare
    missing = []
    for file in doubtful:
        try:
            remote = patiently(lambda: look(session, file.url, patience), file.url, patience)
        except Unreachable as error:
            if file.name == META and error.status in (403, 404, 410):
                print(f'{file.url}: {error.why}; going on without it, chatting and training do not need it.')
                continue
            if not usable:
                raise
            print(f'{name} is in {folder}, but could not be compared with {mirror}: {error.why}.')
            return []
        if not matches(file, remote):
            missing.append((file, remote))
    if not missing:
        print(f'{name} is complete, nothing to download.')
    return missing


def download(names, models_dir='models', mirror=MIRROR, patience=Patience()):
    """Bring the models to models_dir/<name>/. Raises UserError; what has come by then is resumed next time."""
    with open_session() as session:
        missing = [pair for name in names for pair in survey(session, name, models_dir, mirror, patience)]
        if missing:
            needed = check_room(missing, models_dir, '--models_dir')
            print(f'{len(missing)} files to fetch, {amount(needed)}.', flush=True)
            fetch_files(session, [file for file, _ in missing], patience)


# ---- the command

def known_names(asked):
    """['345M', '124M'] -> ['355M', '124M']. Raises UsageError for a name we do not have."""
    names = []
    for name in asked:
        if OLD_NAMES.get(name, name) not in NAMES:
            raise UsageError(f'there is no model {name}; there are {", ".join(NAMES)}, and those of the Hugging Face hub, such as microsoft/DialoGPT-medium.')
        names.append(OLD_NAMES.get(name, name))
    if not names:
        raise UsageError(f'name a model: {", ".join(NAMES)}, or one on the Hugging Face hub; for example python download_model.py 124M.')
    for old in sorted(set(asked) & set(OLD_NAMES)):
        print(f'{old} is the old name of {OLD_NAMES[old]}; it is stored under the new one.')
    return list(dict.fromkeys(names))


def web_address(text):
    """A mirror's base URL without the last slash. Raises UsageError when it is none."""
    try:
        if urlsplit(text).scheme not in ('http', 'https'):
            raise ValueError(text)
        requests.Request('GET', text).prepare()         # InvalidURL is a ValueError, and so is what a bad host raises
        urlsplit(text).hostname.encode('idna')
    except ValueError:
        raise UsageError(f'{text!r} is no web address; --mirror and GPT2_MIRROR take one such as {MIRROR}.') from None
    return text.rstrip('/')


def add_models(args, repos):
    """Models of others, from the hub and from the folder --local -> their names here, and whether the first talks at once."""
    places = [*repos, *([os.path.abspath(args.local)] if args.local else [])]
    names = [folder_name(args.name or os.path.basename(place)) for place in places]
    console.import_tensorflow()
    from src import folders, hub
    for place, name in zip(places, names):
        if place in repos:
            hub.add(args.models_dir, name, {'from': place, 'revision': args.revision or 'main'}, lambda: hub.fetch(place, args.revision, args.token))
        else:
            hub.add(args.models_dir, name, {'from': place}, lambda: (place, None))
    return names, folders.read_dialogue(os.path.join(args.models_dir, names[0])) is not None


def folder_name(text):
    """What a model folder can be called. Raises UsageError."""
    if not text or text.startswith('.') or '/' in text or os.sep in text:
        raise UsageError(f'--name {text!r} is no name for a folder: letters, digits, - and _ will do.')
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('model', nargs='*', default=argparse.SUPPRESS,
                        help=f'{", ".join(NAMES)}, or a name on the Hugging Face hub, such as microsoft/DialoGPT-medium; several at once are fine')
    parser.add_argument('--models_dir', default='models', help='where the models live')
    parser.add_argument('--mirror', metavar='URL', default=os.environ.get('GPT2_MIRROR') or MIRROR,
                        help='the server: <URL>/<model>/<file>; the environment variable GPT2_MIRROR sets it too')
    parser.add_argument('--local', metavar='PATH', help='a folder with a model as the hub has them: config.json, weights, vocabulary')
    parser.add_argument('--name', help="the model folder's name; default: what is behind the slash")
    parser.add_argument('--revision', help='a branch, tag or commit on the hub; default: main')
    parser.add_argument('--token', help="of the hub, for private models; default: the environment variable HF_TOKEN, or that of hf auth login")
    args = parser.parse_intermixed_args()               # 124M --models_dir m 355M
    asked = getattr(args, 'model', [])
    repos, ours, talks = [name for name in asked if '/' in name], [name for name in asked if '/' not in name], False
    others = len(repos) + bool(args.local)
    for flag, value, n in (('--name', args.name, others), ('--revision', args.revision, len(repos))):
        if value and n != 1:
            raise UsageError(f'{flag} {value} is for one model of the Hugging Face hub{" or of --local" * (flag == "--name")}, and here are {n}.')
    names = known_names(ours) if ours or not others else []
    try:
        if names:
            download(names, args.models_dir, web_address(args.mirror))
        if others:
            added, talks = add_models(args, repos)
            names += added
    except KeyboardInterrupt:
        print('What has come so far is kept: the same command resumes.')
        raise
    where = f'--model_name {names[0]}'
    if args.models_dir != 'models':
        where += f' --models_dir {shlex.quote(args.models_dir)}'
    script = 'chatter.py' if talks else 'src/interactive_conditional_samples.py'
    print(f'Next: python {script} {where}\n'
          f'  or: python train.py --dataset corpus.npz {where}')


if __name__ == '__main__':
    console.run(main)

"""The benchmarks one after the other, and their tables with the machine that they were made on in benchmarks/RESULTS.md.

    python benchmarks/all.py [--peer_python path/to/python] [--only sample,encode] [--text tinyshakespeare.txt] [--out benchmarks/RESULTS.md]

Nothing else should run meanwhile. --only: these tables are made anew, the others stay as they are. What a peer lacks is left out, and said; so is
the table of a text that is learnt, without --text.
"""
import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from importlib import metadata

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from src import console, files                                          # noqa: E402

TABLES = {                                              # name: (what it shows, the command)
    'road': ('The whole road at 124M', ['road.py']),
    'encode': ('Text to tokens', ['encode.py']),
    'sample': ('Tokens to text', ['sample.py', '--peer_python', '{peer}']),
    'chat': ('The first words of an answer', ['chat.py']),
    'serve': ('Many at once', ['serve.py']),
    'train': ('A training step of 124M', ['train.py', '--only', '124M, 1 x 1024', '--peer_python', '{peer}']),
    'small': ('A training step of a small model', ['train.py', '--only', 'small', '--peer_python', '{peer}']),
    'characters': ('A text learnt as characters', ['characters.py', '{text}', '--seeds', '7', '--peer_python', '{peer}']),
    'large': ('What a training step takes', ['train.py', '--large', '--rounds', '1', '--steps', '2']),
    'imports': ('A million messages', ['imports.py', '--runs', '1', '--peer', '{peer}'])}


def machine():
    """This machine and what computes on it, in a line."""
    model, memory = platform.processor(), 0
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            model = re.search(r'^model name\s*: (.*)', file.read(), re.M)[1]
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9
    versions = ', '.join(f'{name} {metadata.version(name)}' for name in ('tensorflow', 'numpy', 'tiktoken'))
    return f'{model.strip()}, {os.cpu_count()} cores, {memory:.0f} GB; {platform.system()}, Python {platform.python_version()}, {versions}'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--peer_python', metavar='PYTHON', default=sys.executable, help='a Python that has the other libraries; default: this one')
    parser.add_argument('--only', metavar='NAMES', default='', help=f'of {", ".join(TABLES)}')
    parser.add_argument('--text', metavar='FILE', help='what characters.py learns')
    parser.add_argument('--out', metavar='FILE', default=os.path.join(ROOT, 'benchmarks', 'RESULTS.md'), help='where the tables go')
    args = parser.parse_args()
    chosen = args.only.split(',') if args.only else [name for name in TABLES if name != 'characters' or args.text]
    if unknown := set(chosen) - set(TABLES):
        raise console.UsageError(f'--only {", ".join(sorted(unknown))}: there is no such table; there are {", ".join(TABLES)}.')
    if 'characters' in chosen and not args.text:
        raise console.UsageError('--only characters: name the text to learn with --text.')
    sections = {}
    if os.path.exists(args.out):
        with open(args.out, encoding='utf-8') as file:
            sections = {re.search(r'^`(\w+)`', part, re.M)[1]: part for part in re.split(r'^(?=## )', file.read(), flags=re.M)[1:]}
    for name in chosen:
        title, command = TABLES[name]
        print(f'== {title}', flush=True)
        command = [word.format(peer=args.peer_python, text=args.text) for word in command]
        process = subprocess.Popen([sys.executable, os.path.join(ROOT, 'benchmarks', command[0]), *command[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        lines = []
        for line in process.stdout:
            print(line, end='', flush=True)
            lines.append(line)
        if process.wait():
            raise console.UserError(f'benchmarks/{command[0]} failed; the tables before it are in {args.out}.')
        table = ''.join(lines).rstrip()
        sections[name] = f'## {title}\n\n`{name}`, {datetime.date.today()}, {machine()}.\n\n```\n{table}\n```\n\n'
        with files.whole(args.out, 'w', encoding='utf-8') as file:
            file.write('# Results\n\nMade by `python benchmarks/all.py`; each file in `benchmarks/` says what its table shows. Machines are shared and differ: only what stands '
                       'side by side in one table compares.\n\n' + ''.join(sections[known] for known in TABLES if known in sections))


if __name__ == '__main__':
    console.run(main)

"""DialoGPT's training data: a line a dialogue, what was said and the reply to it (Zhang et al. 2020, arXiv:1911.00536).

    0.0 what are you up to ? EOS 1.0 waiting for the train . EOS 1.0 where to ?<TAB>1.0 to the sea .

- ` EOS ` stands between turns, a tab before the last one.
- A turn may start with its weight, 0.0 or 1.0, by which DialoGPT's training left out turns. Here all are read.
- Speakers have no names: they are `A` and `B` in turn.
"""
import re

from ..dialogue import Turn
from . import EMPTY, UNREADABLE, Thread

NAME = 'dialogpt'

WEIGHT = re.compile(r'[01]\.0(?: |$)')


def sniff(source):
    if source.suffix not in ('.tsv', '.txt'):
        return 0, 'not a .tsv'
    lines = source.start.split('\n')
    lines = [line for line in (lines[:-1] if len(lines) > 1 else lines)[:100] if line.strip()]
    if not lines or sum(line.count('\t') == 1 for line in lines) < 0.9 * len(lines):
        return 0, 'no two columns with a tab between them'
    marked = sum(' EOS ' in line or all(map(WEIGHT.match, line.split('\t'))) for line in lines)
    if marked >= 0.5 * len(lines):
        return 1, 'two columns, with EOS or weights'
    return (0.6, 'two columns, some with EOS or weights') if marked else (0.2, 'two columns, but without EOS and weights')


def read(sources, tally):
    for source in sources:
        with source.text() as file:
            for line in file:
                line = line.strip()
                said, tab, reply = line.partition('\t')
                if not tab or '\t' in reply:
                    if line:
                        tally.drop(UNREADABLE)
                    continue
                thread = Thread()
                for i, text in enumerate([*said.removesuffix(' EOS').split(' EOS '), reply]):
                    text = WEIGHT.sub('', text, count=1) if WEIGHT.match(text) else text
                    if text.strip():
                        thread.turns.append(Turn('AB'[i % 2], text.strip()))
                    else:
                        tally.drop(EMPTY)
                yield thread

"""EmpatheticDialogues (Rashkin et al. 2019, arXiv:1811.00207): 24,850 conversations in which one tells of a feeling, another listens.

train.csv, valid.csv and test.csv, a turn a line; a comma that somebody wrote is _comma_:

    conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags
    hit:12_conv:24,1,proud,My son baked his first bread.,31,My son baked bread_comma_ all by himself!,5|5|5_4|5|5,
    hit:12_conv:24,2,proud,My son baked his first bread.,47,"How lovely_comma_ what kind?,5|5|5_4|5|5,

It looks like CSV but is none: a quotation mark is just one, as in the second turn, after which a csv reader takes the next lines
for one field and loses 9 % of all. A ninth field, where there is one, lists answers to choose from. speaker_idx numbers people.
"""
import re

from ..dialogue import Turn
from . import EMPTY, UNREADABLE, Thread
from .datasets import split_of

NAME = 'empathetic'
STRANGERS = True
DATASETS = {'empathetic': ('https://dl.fbaipublicfiles.com/parlai/empatheticdialogues/empatheticdialogues.tar.gz',
                           '240c492cb6199a315722f716bfcc14f13ea6605f1cec67349153b606be92f6f2')}
HEADER = 'conv_id,utterance_idx,context,prompt,speaker_idx,utterance'
INDEX = re.compile(r'[0-9]{1,9}')


def sniff(source):
    if source.suffix != '.csv':
        return 0, 'no .csv'
    if source.start.startswith(HEADER):
        return 1, 'its header is that of EmpatheticDialogues'
    return (0.4, 'no speaker_idx and utterance in its header') if source.start.startswith('conv_id,') else (0, 'another header')


def read(sources, tally):
    for source in sources:
        for conversation, rows in _conversations(source, tally).items():
            thread = Thread(title=conversation, group=False, split=split_of(source))
            rows.sort(key=lambda row: row[0])
            teller = next((person for index, person, _ in rows if index % 2), None)            # of the first, third, fifth turn
            for _, person, text in rows:
                if text.strip():
                    thread.turns.append(Turn('Speaker' if person == teller else 'Listener', text))
                else:
                    tally.drop(EMPTY)
            yield thread


def _conversations(source, tally):
    """{conv_id: [(utterance_idx, speaker_idx, utterance)]}"""
    conversations = {}
    with source.text(newline='\n') as file:
        for line in filter(str.strip, file):
            fields = line.split(',')
            if len(fields) in (8, 9) and INDEX.fullmatch(fields[1]):
                row = int(fields[1]), fields[4], fields[5].replace('_comma_', ',')
                conversations.setdefault(fields[0], []).append(row)
            elif fields[0] != 'conv_id':
                tally.drop(UNREADABLE)
    return conversations

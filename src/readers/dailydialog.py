"""DailyDialog (Li et al. 2017, arXiv:1710.03957): 13,118 short conversations, as English textbooks have them.

dialogues_text.txt of the authors, a dialogue a line, `__eou__` after each turn, the text cut into tokens:

    Do you have a minute , Lena ? __eou__ Not now , I ’ m late . Let ' s talk at 5 . __eou__ All right . __eou__

train.json, valid.json, test.json of ParlAI, a dialogue a line:

    {"fold": "train", "topic": "work", "dialogue": [{"emotion": "no_emotion", "act": "question", "text": "Do you have a minute , Lena ?"}, ...]}

The authors' zip holds dialogues_text.txt and, in zips of its own, the same dialogues once more as dialogues_train.txt,
dialogues_validation.txt and dialogues_test.txt; people unpack those beside them. Splits share a few dialogues too. A dialogue is
read once, preferably for the test: what the model is tested on it should not have learnt.
"""
from ..dialogue import Turn
from ..source import DAMAGE
from . import DUPLICATE, EMPTY, UNREADABLE, Thread
from .datasets import fingerprint, split_of, test_first
from .records import json_object
from .tokenized import untokenize

NAME = 'dailydialog'
STRANGERS = True
DATASETS = {'dailydialog': ('https://parl.ai/downloads/dailydialog/dailydialog.tar.gz',
                            'c3adb09bd715b9fa5cd1ac41613b7de61eb5afbe477826a6146abefef573e6bb')}
END = '__eou__'


def sniff(source):
    if source.suffix == '.txt':
        lines = [line for line in source.start.split('\n') if line.strip()]
        marked = sum(END in line for line in lines)
        if 2 * marked > len(lines):
            return 1, f'{END} ends its turns'
        return (0.3, f'{END} in {marked} of its lines only') if marked else (0, f'no {END}')
    if source.suffix in ('.json', '.jsonl'):
        turns = _turns(source.start.lstrip().partition('\n')[0])
        if isinstance(turns, list) and turns and isinstance(turns[0], dict):
            return (1, 'a "dialogue" of "text"s a line') if 'text' in turns[0] else (0.4, 'a "dialogue" a line, but no "text" in it')
        return 0, 'no "dialogue" in its first line'
    return 0, 'neither text nor JSON'


def group(source):
    """Everything at once: the same dialogue may be in each of the files."""
    return NAME


def read(sources, tally):
    seen = set()
    for source in sorted(sources, key=test_first):
        try:
            for texts in _dialogues(source, tally):
                key = fingerprint(text for text in texts if isinstance(text, str))
                yield _thread(texts, source, tally, known=key in seen)
                seen.add(key)
        except DAMAGE as error:
            tally.damaged(source, error)


def _dialogues(source, tally):
    """Yield the turns of each dialogue as they are in the file, strings if all is well."""
    is_json = source.start.lstrip().startswith('{')
    with source.text(newline='\n') as file:
        for line in filter(str.strip, file):
            if is_json:
                turns = _turns(line)
                if isinstance(turns, list):
                    yield [turn.get('text') if isinstance(turn, dict) else None for turn in turns]
                else:
                    tally.drop(UNREADABLE)
            else:
                *texts, rest = line.split(END)
                yield texts + [rest] if rest.strip() else texts         # a file may end within a turn


def _turns(line):
    """The "dialogue" of a line of JSON, None where there is none."""
    return (json_object(line) or {}).get('dialogue')


def _thread(texts, source, tally, known):
    thread = Thread(group=False, split=split_of(source))
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            tally.drop(UNREADABLE)
        elif not text.strip():
            tally.drop(EMPTY)
        elif known:
            tally.drop(DUPLICATE)
        else:
            thread.turns.append(Turn('AB'[i % 2], untokenize(text.strip())))
    return thread

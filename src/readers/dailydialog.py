"""DailyDialog (Li et al. 2017, arXiv:1710.03957): 13,118 short conversations, as English textbooks have them.

dialogues_text.txt of the authors, a dialogue a line, `__eou__` after each turn, the text cut into tokens:

    Do you have a minute , Lena ? __eou__ Not now , I ’ m late . Let ' s talk at 5 . __eou__ All right . __eou__

train.json, valid.json, test.json of ParlAI, a dialogue a line:

    {"fold": "train", "topic": "work", "dialogue": [{"emotion": "no_emotion", "act": "question", "text": "Do you have a minute , Lena ?"}, ...]}

The authors' zip holds dialogues_text.txt and, in zips of its own, the same dialogues once more as dialogues_train.txt,
dialogues_validation.txt and dialogues_test.txt; people unpack those beside them. Splits share a few dialogues too. A dialogue is
read once, preferably for the test: what the model is tested on it should not have learnt.
"""
import hashlib
import json
import re

from ..dialogue import Turn
from ..source import DAMAGE
from . import DUPLICATE, EMPTY, UNREADABLE, Thread

NAME = 'dailydialog'
DATASETS = {'dailydialog': 'https://parl.ai/downloads/dailydialog/dailydialog.tar.gz'}
END = '__eou__'

SPLIT = re.compile(r'(?:^|[^a-z])(train|valid|test)(?:ation)?(?![a-z])')

# The tokenizer's spaces. It puts one around a mark, so one is taken away, never a run of them. Each pattern begins with what is
# rare, and looks around itself from there: that is what makes it fast.
APOSTROPHE = re.compile(r" ?(['’‘]) ?(?=(?:[stmdSTMD]|re|ve|ll|Re|Ve|Ll|clock|am)\b(?!['’]))")                  # don ’ t, It' s, five o ’ clock, ma ’ am
STOP = re.compile(r' \. (?:(?=(?:com|net|org|edu)\b)|(?<=\bwww \. )'
                  r'|(?<=\b[A-Za-z] \. )(?=[A-Za-z] ?\.(?!\.))'                                         # p . m .
                  r'|(?:(?<=\b\d \. )|(?<=\b\d\d \. )|(?<=\b\d\d\d \. ))(?=\d\d?\b))')                  # 3 . 50
TIME = re.compile(r' : (?<=\d : )(?=[0-5]\d\b)')
DOUBLE, SINGLE = re.compile('(")'), re.compile(r"(?<!\S)(['’‘])(?!\S)")
PLURAL = re.compile(r" (?=['’](?!\S))(?<=s )")                                                          # five minutes ' walk
SPACE = re.compile(r' (?:(?=[,.?!](?!\w)|[:;](?! ?\)|[\w(/\\|*-])|[)\]”])|(?<=[(\[“] )|(?<=\d )(?=%)|(?<=[$£€¥] )(?=\d))')


def untokenize(text):
    """As people would write it: `I ’ m late , it ' s $ 5 .` -> `I’m late, it's $5.`"""
    text = TIME.sub(':', STOP.sub('.', text))
    if '"' in text:
        text = _quoted(text, DOUBLE)
    if "'" in text or '’' in text or '‘' in text:
        text = PLURAL.sub('', _quoted(APOSTROPHE.sub(r'\1', text), SINGLE))
    return SPACE.sub('', text)


def _quoted(text, mark):
    """`say " hello " .` -> `say "hello" .`; as it is where the marks do not come in pairs."""
    pieces = mark.split(text)                           # outside, mark, inside, mark, outside, mark, inside, mark, outside
    if len(pieces) % 4 == 1:
        pieces[2::4] = [inside.strip(' ') for inside in pieces[2::4]]
    return ''.join(pieces)


def split_of(source):
    """'train', 'validation' or 'test', by the file's name; None when it says nothing of the kind. dialogues_valid.txt, train_none_original.txt"""
    found = SPLIT.search(source.name.lower())
    return found and found[1].replace('valid', 'validation')


def fingerprint(texts):
    """What two copies of a dialogue share, however they are tokenized: letters and digits, if there are any."""
    text = '\n'.join(texts)
    return hashlib.blake2b((re.sub(r'\W+', '', text).lower() or text).encode(), digest_size=16).digest()


def test_first(source):
    """Sort key: the files of the test first, those of no split last."""
    return ['test', 'validation', 'train', None].index(split_of(source))


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
    for line in source.text(newline='\n'):
        if not line.strip():
            continue
        if is_json:
            turns = _turns(line)
            if isinstance(turns, list):
                yield list(map(_text, turns))
            else:
                tally.drop(UNREADABLE)
        else:
            *texts, rest = line.split(END)
            yield texts + [rest] if rest.strip() else texts             # a file may end within a turn


def _turns(line):
    """The "dialogue" of a line of JSON, None where there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record.get('dialogue') if isinstance(record, dict) else None


def _text(turn):
    """What a {"text": ...} says, None if nothing. Half a character, a lone \\ud83d, becomes a question mark."""
    text = turn.get('text') if isinstance(turn, dict) else None
    return text.encode(errors='replace').decode() if isinstance(text, str) else None


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

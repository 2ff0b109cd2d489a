"""PersonaChat (Zhang et al. 2018, arXiv:1801.07243) and ConvAI2 (Dinan et al. 2019, arXiv:1902.00098): small talk of two, each with a persona.

ParlAI's text, where a line is a number, what the other says, the answer, a reward (empty), and answers to choose from:

    1 your persona: i keep bees.
    2 partner's persona: i drive a tram.
    3 hello , how was your day ?<TAB>busy ! i have got new bees .<TAB><TAB>i like tea .|no , never .|busy ! i have got new bees .
    4 do they sting ?<TAB>only once each .

and JSON, of Hugging Face, where each utterance holds all that was said before:

    {"train": [{"personality": ["i keep bees ."],
                "utterances": [..., {"history": ["hello , how was your day ?", "busy ! i have got new bees .", "do they sting ?"],
                                     "candidates": ["i like tea .", "only once each ."]}]}, ...],
     "valid": [...]}

- A number 1 begins a dialogue. The last candidate is the answer that was given, and the last utterance has the whole dialogue.
- The archives hold each dialogue seven times: with the persona of self, other, both or none, original or revised (and in ConvAI2
  twice that, without candidates). In ConvAI2 each dialogue of train comes from both sides: the one who began then answers to
  `__SILENCE__`, and the last turn is missing. Here it is read once, in full where it can be.
- The text is in lower case and cut into tokens, as DailyDialog's is.
"""
import re

from ..dialogue import Turn
from ..source import DAMAGE
from . import DUPLICATE, EMPTY, UNREADABLE, Thread
from .datasets import PERSONA, fingerprint, split_of, test_first
from .tokenized import untokenize

NAME = 'personachat'
STRANGERS = True
DATASETS = {'personachat': ('http://parl.ai/downloads/personachat/personachat.tgz', None),
            'convai2': ('http://parl.ai/downloads/convai2/convai2_fix_723.tgz', 'd0ae89defe2fd0b0a4221eaa642a457d7d40cef475f54798119c7f3b8dd9361d')}
KEYS = '"personality"', '"utterances"', '"candidates"'
SILENCE = {'__SILENCE__', '__ SILENCE __'}
LINE = re.compile(r"(\d{1,6}) (?:((?:your|partner's) persona:)|(.*))", re.S)


def sniff(source):
    if source.suffix == '.json':
        there = [key for key in KEYS if key in source.start]
        if len(there) == len(KEYS) and source.start.lstrip()[:1] in ('{', '['):
            return 1, 'dialogues with ' + ', '.join(there)
        return (0.15 * len(there), 'only ' + ', '.join(there)) if there else (0, f'no {KEYS[0]}')
    if source.suffix != '.txt':
        return 0, 'neither text nor JSON'
    lines = [line for line in source.start.split('\n')[:50] if line.strip()]
    found = [match for match in map(LINE.match, lines) if match]
    steps = sum(int(match[1]) in (1, int(before[1]) + 1) for before, match in zip(found, found[1:]))
    if not found or len(found) < 0.8 * len(lines) or steps < 0.8 * (len(found) - 1):
        return 0, 'its lines are not numbered from 1 on'
    if any(match[2] for match in found):
        return 1, 'numbered lines, and a persona'
    pairs = sum('\t' in match[3] for match in found)
    if 2 * pairs > len(found) and found[0][1] == '1' and ' EOS ' not in source.start:
        return (0.9, 'numbered lines, what is said and the answer') if len(found) > 1 else (0.4, 'one numbered line, too few to be sure')
    return 0, 'numbered lines, but no answers behind a tab'


def group(source):
    """Everything at once: the same dialogue may be in each of the files."""
    return NAME


def read(sources, tally):
    known, halves = set(), {}                           # fingerprints, also without the last turn; dialogues begun by silence
    for source in sorted(sources, key=test_first):
        try:
            for split, said in _dialogues(source, tally):
                silent, said = str(said[0][1]).strip() in SILENCE, list(_readable(said, tally))
                key = fingerprint(text for _, text in said)
                if not said:
                    continue
                if key in known or key in halves:
                    tally.drop(DUPLICATE, len(said))
                elif silent:
                    halves[key] = split, said
                else:
                    known |= {key, fingerprint(text for _, text in said[:-1])}
                    yield _thread(split, said)
        except DAMAGE as error:
            tally.damaged(source, error)
    for key, (split, said) in halves.items():
        if key in known:
            tally.drop(DUPLICATE, len(said))
        else:
            yield _thread(split, said)


def _dialogues(source, tally):
    """Yield (split, [('A', what the other said), ('B', the answer), ...])."""
    return (_json_dialogues if source.start.lstrip()[:1] in ('{', '[') else _text_dialogues)(source, tally)


def _text_dialogues(source, tally):
    split, said = split_of(source), []
    with source.text(newline='\n') as file:
        for line in filter(str.strip, file):
            found = LINE.match(line.rstrip('\r\n'))
            if not found:
                tally.drop(UNREADABLE)
                continue
            number, persona, words = found.groups()
            if number == '1' and said:
                yield split, said
                said = []
            if persona:
                tally.drop(PERSONA)
            else:
                said += zip('AB', words.split('\t', 2))
    if said:
        yield split, said


def _json_dialogues(source, tally):
    splits = {'train.item': 'train', 'valid.item': 'validation', 'test.item': 'test'}
    if source.start.lstrip().startswith('['):
        splits = {'item': split_of(source)}
    for prefix, split in splits.items():
        dialogue = None
        for dialogue in source.json_items(prefix):
            texts = _whole(dialogue)
            if not texts:
                tally.drop(UNREADABLE)
                continue
            persona = dialogue.get('personality')
            if isinstance(persona, list) and persona:
                tally.drop(PERSONA, len(persona))
            yield split, [('AB'[(i - len(texts)) % 2], text) for i, text in enumerate(texts)]           # the last word is B's
        if dialogue is None and split in ('train', 'validation'):
            tally.note(f'{source.path} has no dialogues of {split}.')


def _whole(dialogue):
    """The last history and its last candidate; None when they are not where they should be."""
    utterances = dialogue.get('utterances') if isinstance(dialogue, dict) else None
    last = utterances[-1] if isinstance(utterances, list) and utterances else None
    history, candidates = (last.get('history'), last.get('candidates')) if isinstance(last, dict) else (None, None)
    return history + candidates[-1:] if isinstance(history, list) and isinstance(candidates, list) and candidates else None


def _readable(said, tally):
    for speaker, text in said:
        if not isinstance(text, str):
            tally.drop(UNREADABLE)
        elif not text.strip() or text.strip() in SILENCE:
            tally.drop(EMPTY)
        else:
            yield speaker, text.strip()


def _thread(split, said):
    return Thread([Turn(speaker, untokenize(text)) for speaker, text in said], group=False, split=split)

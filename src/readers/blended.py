"""BlendedSkillTalk (Smith et al. 2020, arXiv:2004.08449): 6,808 conversations that mix small talk, knowledge and empathy.

train.json, valid.json and test.json, each a list of conversations:

    [{"personas": [["i live in a lighthouse.", "i have two cats."], ["i repair bicycles.", "i sing in a choir."]],
      "context_dataset": "empathetic_dialogues", "additional_context": "",
      "free_turker_utterance": "I could not sleep last night.",
      "guided_turker_utterance": "Was it the storm?",
      "dialog": [[0, "Yes, the whole tower shook."], [1, "I would be scared up there."], ...],
      "suggestions": [...], "label_candidates": [...], ...}, ...]

The first two utterances come from another dataset, the workers went on from there: 0, who was free in what to write, and 1, who was
shown suggestions. So A, who is 0, begins, and they take turns.
"""
from ..dialogue import Turn
from . import EMPTY, UNREADABLE, Thread
from .datasets import PERSONA, split_of

NAME = 'blended'
STRANGERS = True
DATASETS = {'blended': ('http://parl.ai/downloads/blended_skill_talk/blended_skill_talk.tar.gz',
                        '5fbed0068ee89e2d43b93c3ecb341e784617033efa5e8e911a219d4eda6134a6')}
KEYS = '"free_turker_utterance"', '"guided_turker_utterance"', '"dialog"'


def sniff(source):
    if source.suffix != '.json':
        return 0, 'no .json'
    there = [key for key in KEYS if key in source.start]
    if len(there) == len(KEYS) and source.start.lstrip().startswith('['):
        return 1, 'a list with ' + ', '.join(there)
    return (0.2 * len(there), 'only ' + ', '.join(there)) if len(there) < len(KEYS) and there else (0, 'no list with ' + KEYS[0])


def read(sources, tally):
    for source in sources:
        for episode in source.json_items('item'):
            if not isinstance(episode, dict) or not isinstance(episode.get('dialog'), list):
                tally.drop(UNREADABLE)
                continue
            if personas := _lines(episode.get('personas')):
                tally.drop(PERSONA, personas)
            thread = Thread(group=False, split=split_of(source))
            for entry in [[0, episode.get('free_turker_utterance')], [1, episode.get('guided_turker_utterance')], *episode['dialog']]:
                if not _is_turn(entry):
                    tally.drop(UNREADABLE)
                elif not entry[1].strip():
                    tally.drop(EMPTY)
                else:
                    thread.turns.append(Turn('AB'[entry[0]], entry[1]))
            yield thread


def _is_turn(entry):
    """[0, "Yes, the whole tower shook."]"""
    return isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is int and entry[0] in (0, 1) and isinstance(entry[1], str)


def _lines(personas):
    """How many there are in [["i live in a lighthouse.", ...], [...]]."""
    return sum(len(lines) for lines in personas if isinstance(lines, list)) if isinstance(personas, list) else 0

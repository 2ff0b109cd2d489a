"""What the public dialogue datasets have in common: splits, files that repeat each other's dialogues, personas.

    train_self_original.txt  train_none_original.txt  valid.json  dialogues_test.txt
"""
import hashlib
import re

PERSONA = 'persona lines'                               # a reason to drop
SPLIT = re.compile(r'(?:^|[^a-z])(train|valid|test)(?:ation)?(?![a-z])')


def split_of(source):
    """'train', 'validation' or 'test', by the file's name; None when it says nothing of the kind."""
    found = SPLIT.search(source.name.lower())
    return found and found[1].replace('valid', 'validation')


def test_first(source):
    """Sort key: the files of the test first, those of no split last. What a model is tested on it should not have learnt."""
    return ['test', 'validation', 'train', None].index(split_of(source))


def fingerprint(texts):
    """What two copies of a dialogue share, however they are tokenized: letters and digits, if there are any."""
    text = '\n'.join(texts)
    return hashlib.blake2b((re.sub(r'\W+', '', text).lower() or text).encode(errors='replace'), digest_size=16).digest()

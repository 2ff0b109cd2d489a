"""The memory that chatter.py keeps: what was rated good or put right, and the turns before it.

    1 | Theo | did you feed the cat?   |  0               a conversation to learn from ends with its last good turn ...
    2 | Mara | twice, she was hungry   |  1
    3 | Theo | and the dog?            |  0
    4 | Mara | the dog the dog the dog | -1               ... and a bad one is in none: what follows it is another conversation
    5 | Theo | what?                   |  0
    6 | Mara | he ate with me          |  1

- A turn that was put right has the right words, and is good.
- Turns nobody rated come along where a good one follows them, so their speaker's are learnt with it.
- Conversations are read from the file as it lies there, with what a running chat has said so far; in an archive or a folder, as it was copied.
"""
import contextlib
import os
import shutil
import tempfile

from .. import memory
from ..console import UserError
from . import EMPTY, Thread

NAME = 'memory'

BAD, UNRATED = 'turns that were rated bad', 'turns with no good one behind them'


def sniff(source):
    return (1, 'a memory of chatter.py') if memory.is_memory(source.head[:100]) else (0, 'no memory of chatter.py')


def read(sources, tally):
    for source in sources:
        with _on_disk(source) as path:
            try:
                for id, model, me, answerer, said in memory.read(path):
                    for turns in _pieces(said, tally):
                        yield Thread(turns, title=f'{me} and {answerer} ({os.path.basename(model)})', unit=f'{source.inner} {id}')
            except UserError as error:                  # the tally says which file
                raise UserError(str(error).removeprefix(f'{path} ')) from None


def _pieces(said, tally):
    """Yield [Turn] of each conversation to learn from. said: [(Turn, rating)]"""
    piece, good = [], 0                                 # good: how many turns of the piece are there up to its last good one
    for turn, rating in [*said, (None, -1)]:
        if rating >= 0 and turn.text.strip():
            piece.append(turn)
            good = len(piece) if rating > 0 else good
        elif rating >= 0:
            tally.drop(EMPTY)
        else:
            tally.drop(BAD, turn is not None)
            tally.drop(UNRATED, len(piece) - good)
            if good:
                yield piece[:good]
            piece, good = [], 0


@contextlib.contextmanager
def _on_disk(source):
    """The path of a Source's file; of one in a folder or an archive, a copy's."""
    if source.export.is_file:
        yield source.export.path
    else:
        with tempfile.TemporaryDirectory() as folder:   # its owner's alone
            path = os.path.join(folder, source.name)
            with source.open() as file, open(path, 'wb') as copy:
                shutil.copyfileobj(file, copy)
            yield path

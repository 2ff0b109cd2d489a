"""Held-out conversations, played again: where a person wrote, the model answers in their place.

    Theo: hi mara                              what both go on from
    Mara: Hi. How was the shop?                what she wrote           -> Pair.human
    Mara: Hello, Theo. I am here.              what the model writes    -> Pair.model

Of a plain text, the places are random ones, and what goes on there is as long as a reply may be. What a model recites shows better in what it writes
by itself, from the beginning: made_up.
"""
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from . import chat, dialogue
from .console import UserError
from .scoring import documents
from .settings import Settings
from .stream import stream


ROWS = 8                                                # texts that are made up together


class Pair(NamedTuple):
    """A place where a person and the model went on from the same words. before: the last of them, [dialogue.Turn] or a text."""
    before: list | str
    human: str
    model: str


def conversations(loaded) -> Iterator[dialogue.Conversation]:
    """A dataset.Loaded of conversations -> the conversations, with their words."""
    style = dialogue.style_of(loaded.dialogue)
    for doc in documents(loaded):
        ids = doc.ids if doc.owners[-1] else doc.ids[:-1]                       # without what ends it
        yield from style.parse(loaded.enc.decode(ids))


def answered(found, who):
    """Where `who` answers somebody else: [(conversation, number of the turn)]."""
    return [(talk, i) for talk in found for i in range(1, len(talk.turns)) if talk.turns[i].speaker == who != talk.turns[i - 1].speaker]


def chosen(places, n, seed):
    """n of the places, spread at random, in their order; all where there are no more."""
    if len(places) <= n:
        return places
    return [places[i] for i in np.sort(np.random.default_rng(seed).choice(len(places), n, replace=False))]


def played(session, places, shown=3, progress=lambda n: None):
    """Let the chat.ChatSession's answerer answer at each place (`answered`) -> [Pair]. shown: turns of Pair.before."""
    pairs = []
    for talk, i in places:
        session.turns, session.first, session.cut = [], 0, 0
        for turn in talk.turns[:i]:
            session.turns.append(turn if turn.time is not None else turn._replace(time=session.next_time(turn.text)))
        session.me = talk.turns[i - 1].speaker
        pairs.append(Pair(talk.turns[max(0, i - shown):i], talk.turns[i].text.strip(), ''.join(session.answer())))
        progress(1)
    return pairs


def play(place, generator, loaded, who, n, *, seed, progress=lambda n: None, **options):
    """n held-out turns of `who` answered by the model at `place` -> ([Pair], [what `who` wrote in all of the conversations]).

    options: as for chat.open_session. Raises UserError where `who` answers nobody.
    """
    found = list(conversations(loaded))
    places = chosen(answered(found, who), n, seed)
    if not places:
        raise UserError(f'{who} answers nobody in the held-out conversations: choose another --as, or other --data.')
    me = next(talk.turns[i - 1].speaker for talk, i in places)
    session = chat.open_session(place, generator, me=me, answerer=who, style=loaded.dialogue['style'], seed=seed, **options)
    return played(session, places, progress=progress), [turn.text for talk in found for turn in talk.turns if turn.speaker == who]


def go_on(generator, loaded, n, *, length, seed, progress=lambda n: None, **settings):
    """n places of a plain text at which the model goes on for `length` tokens -> ([Pair], [the text, in pieces of as many tokens]).

    settings: those of settings.Settings. Raises UserError where no document has so many tokens and some in front.
    """
    docs, hparams = [doc.ids for doc in documents(loaded)], generator.hparams
    spans = [(k, at) for k, ids in enumerate(docs) for at in range(length, len(ids) - length + 1, length)]
    if not spans:
        raise UserError(f'no held-out text has {2 * length} tokens, for something to stand in front of {length} to come: give a shorter --length, or other --data.')
    pairs, enc = [], loaded.enc
    for number, (k, at) in enumerate(chosen(spans, n, seed)):
        context = docs[k][max(0, at - (hparams.n_ctx - length)):at]
        made = np.concatenate([ids for ids in stream(generator, [context], Settings(**settings), length=length, seed=[seed, number])], axis=1)[0]
        ends = np.flatnonzero(made == enc.eot)
        made = made[:ends[0]] if len(ends) else made
        pairs.append(Pair(enc.decode(context[-32:]), enc.decode(docs[k][at:at + length]).strip(), enc.decode(made).strip()))
        progress(1)
    return pairs, [enc.decode(docs[k][at:at + length]) for k, at in spans]


def made_up(generator, begin, n, length, *, seed, progress=lambda n: None, **settings):
    """n texts of `length` tokens that the model writes behind `begin`, a token or more: [ids [length]]. settings: as for go_on."""
    texts = []
    while len(texts) < n:
        rows = min(ROWS, n - len(texts))
        made = list(stream(generator, [begin] * rows, Settings(**settings), length=length, seed=[seed, len(texts)]))
        texts += list(np.concatenate(made, axis=1))
        progress(rows)
    return texts

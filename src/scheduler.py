"""One thread drives a Batch for all who ask; they come and go between two of its steps.

    Text -> waiting -> a row of the Batch -> ids -> its Reply -> Piece -> the queue of whoever asked
           `enter'    `---------- the engine's thread --------------'    `- the event loop -'

A text ends in the engine's thread, where its reply is put together: however slowly somebody reads, or though nobody does, its place is free at
once. What is read of new prompts between two steps is bounded, so that those who are under way go on (the chunks of Agrawal et al. 2024,
arXiv:2403.02310, section 4, at the size of whole prompts). While nobody wants a text, what a conversation will go on from is read.
"""
import asyncio
import functools
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple

from .batch import Batch, Sequence
from .settings import Settings

STEPS = 1                                               # tokens that each text gets between two looks at who came and who left; with more, what
                                                        # a Reply takes back would depend on where the others end
PACE = 1 / 30                                           # seconds between two pieces of a text, as smooth as films are; the first and the last come at once
READ = 256                                              # tokens of new prompts read between them; a longer prompt comes alone
log = logging.getLogger('serve')


class Full(Exception):
    """As many texts wait as may."""


class Closing(Exception):
    """The scheduler takes no more texts."""


class Piece(NamedTuple):
    """Words of a text. reason: '' while it goes on, then 'stop' or 'length'; 'late' when its time is over, 'error' when the engine failed."""
    text: 'Text'
    words: str
    reason: str


@dataclass(eq=False)
class Text:
    """One text that somebody wants: what it goes on from, how, and where its pieces go."""
    context: list                                       # token ids
    length: int                                         # new ones at most
    settings: Settings
    reply: Any                                          # chat.Reply, or what is driven as one
    pieces: asyncio.Queue                               # of Piece
    index: int = 0                                      # among those that were asked for together
    stops: tuple = ()
    seed: int | None = None
    bias: dict = field(default_factory=dict)
    judge: Callable[..., Any] | None = None             # (Batch.score, words) -> chat.Candidate
    behind: Callable[..., Any] | None = None            # its words -> the ids that a further message will stand behind
    given: int = 0                                      # characters of its words that have gone out
    begun: bool = False
    left: bool = False                                  # nobody wants it any more
    candidate: Any = None                               # what judge says of it, once it is over

    def sequence(self):
        """Its Sequence. The texts of a seed draw what the replies of a ChatSession with this seed draw, one after the other."""
        self.begun = True
        return Sequence(self.context, self.length, self.settings, self.stops, None if self.seed is None else [self.seed, self.index + 1], self.bias)


class Scheduler:
    """`places` texts of one generator are made together, up to `queue` more wait."""

    def __init__(self, generator, places, queue):
        self.places, self.queue = places, queue
        self.waiting, self.running = deque(), {}        # of Text; Sequence -> Text
        self._generator, self._batch = generator, Batch(generator, places)
        self._told, self._next = {}, 0                  # Text -> its Piece that nobody has yet; when they go out
        self._behind = deque(maxlen=places)             # of functions that give ids, which are read while nobody wants a text
        self._closing = self._stopped = False
        self._changed = threading.Condition()           # guards what both threads change: waiting, running, left, _closing, _stopped
        self._thread = threading.Thread(target=self._run, name='engine', daemon=True)

    def get_ready(self):
        """Compile what texts need, where that takes time: the first of them comes sooner."""
        self._batch.get_ready()

    def start(self):
        """Begin, for the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def enter(self, texts):
        """Take texts that were asked for together. Raises Full or Closing, and takes none of them."""
        with self._changed:
            if self._closing:
                raise Closing
            if len(self.running) + len(self.waiting) + len(texts) > self.places + self.queue:
                raise Full
            self.waiting += texts
            self._changed.notify()

    def leave(self, texts):
        """Nobody wants these any more: their places are free before the next step."""
        with self._changed:
            for text in texts:
                text.left = True
            self.waiting = deque(text for text in self.waiting if not text.left)
            self._changed.notify()

    def drain(self, seconds):
        """Take no more texts; those there are have so many seconds to come to their end."""
        with self._changed:
            self._closing = True
        self._loop.call_later(seconds, self._expire)

    def _expire(self):
        with self._changed:
            expire([*self.waiting, *self.running.values()])

    def close(self):
        """End the thread, after the step that it is in."""
        with self._changed:
            self._closing = self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    # ---- the engine's thread

    def _run(self):
        while self._awake():
            self._let_go()
            if self._whole():
                self._admit()
                for sequence, ids in self._step():
                    try:
                        self._take(sequence, ids)
                    except Exception:
                        self._fail(sequence)
            self._tell()
            if self._batch and self._behind and self._idle():
                self._read_ahead()

    def _step(self):
        """[(sequence, its new ids)]"""
        try:
            return self._batch.step(STEPS)
        except Exception:                               # memory, or our bug: all who were in that step lose their texts, those who wait do not
            for sequence in list(self.running):
                self._fail(sequence)
            self._batch = None                          # another is made when nothing holds this one any more, as what was raised still does here
            return []

    def _whole(self):
        """Whether there is a Batch: where a step lost it, another is tried now. Where there is no memory for one, those who wait are told."""
        if self._batch is None:
            try:
                self._batch = Batch(self._generator, self.places)
            except Exception:
                log.exception('there is no memory for texts')
                with self._changed:
                    waiting, self.waiting = self.waiting, deque()
                self._told.update({text: Piece(text, '', 'error') for text in waiting})
                self._next = 0
        return self._batch is not None

    def _idle(self):
        return not (self.running or self.waiting or self._stopped)

    def _read_ahead(self):
        """Read what a message will stand behind before it comes, as far as nobody else does."""
        try:
            ids = self._behind.pop()()
            self._batch.hold(ids, self._idle)
            if not self._idle():
                self._behind.append(lambda: ids)
        except Exception:
            log.exception('nothing is read ahead')

    def _fail(self, sequence):
        """Where something failed that must not: the text is lost, and whoever asked for it is told."""
        log.exception('a text failed')
        text = self.running[sequence]
        self._end(sequence)
        self._told[text], self._next = Piece(text, '', 'error'), 0

    def _awake(self):
        """Sleep until there is something to do. Returns whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self.running or self.waiting or self._stopped or self._behind and self._batch)
            return not self._stopped

    def _let_go(self):
        for sequence in [sequence for sequence, text in self.running.items() if text.left]:
            self._end(sequence)

    def _end(self, sequence):
        self._batch.leave(sequence)
        with self._changed:
            return self.running.pop(sequence)

    def _admit(self):
        read = 0
        while read < READ and len(self.running) < self.places:
            with self._changed:
                if not self.waiting:
                    return
                text = self.waiting.popleft()
                sequence = text.sequence()
                self.running[sequence] = text
            try:
                self._batch.enter(sequence)
            except Exception:
                self._fail(sequence)
            read += len(text.context)

    def _take(self, sequence, ids):
        """The next ids of a text: into its reply, and the words that are settled to whoever asked."""
        text = self.running[sequence]
        words, reply = text.reply.push(ids), text.reply
        if reply.wrong:
            self._batch.back(sequence, *reply.take_back())
        elif reply.over:
            self._batch.leave(sequence)
            if text.judge:                              # now, while its row holds all that was read
                text.candidate = text.judge(self._batch.score, reply.text)
            if text.behind and reply.text:
                self._behind.append(functools.partial(text.behind, reply.text))
            self._end(sequence)
        if words or reply.over:
            before = self._told[text].words if text in self._told else ''
            self._told[text] = Piece(text, before + words, reply.reason if reply.over else '')
        if reply.over or reply.text == words:
            self._next = 0

    def _tell(self):
        """Hand the pieces over, all at once: waking the event loop, and the clients, costs more than they do."""
        now = time.monotonic()
        if self._told and now >= self._next and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_deliver, list(self._told.values()))
            self._told, self._next = {}, now + PACE


def _deliver(told):
    for piece in told:
        piece.text.given += len(piece.words)
        piece.text.pieces.put_nowait(piece)


def expire(texts):
    """The time of these is over: whoever asked for them is told, and gets what is settled of their words."""
    _deliver([Piece(text, text.reply.text[text.given:], 'late') for text in texts])

"""A conversation with a model: what it sees, when its turn ends, and its words as they come.

    <|endoftext|> Theo: hi newline Mara: Hi Theo. newline Theo: bad day newline Mara:        the model goes on from here
    `------------------------ turns, oldest first -----------------------------' `header'

The end of a turn is a line break that no continuation follows, or <|endoftext|>. When the context is full, whole turns leave,
oldest first, until a quarter of the room is free: what stays is then read once more, and not again at every turn. Otherwise the
cache keeps all that was said, and a turn costs its new tokens.
"""
import re
import time

import numpy as np

from .console import UsageError, UserError
from .dialogue import MarkedStyle, Turn
from .settings import Draw, Settings, check_settings

STRIDE = 4                                              # tokens made between two looks at whether the turn has ended
ATTEMPTS = 4                                            # at a reply that is not empty
HEADER = 32                                             # tokens in which the model must have said who speaks
DAY = 24 * 60 * 60 * 1000                               # milliseconds
UNSETTLED = re.compile(r'[<\\][^>]{0,16}\Z|["\s]+\Z')   # an end of text that later tokens may still change


class ChatSession:
    """A conversation between `me` and `answerer`, or among any people. `turns` is all that was said, `first` the oldest turn that
    the model sees."""

    def __init__(self, generator, enc, style, *, me=None, answerer=None, temperature=0.95, top_k=40, top_p=0.9, length=None, max_turns=0,
                 seed=None, last_time=None, **settings):
        """generator: sample.Generator, or lite.Generator; style: dialogue.Style. length: tokens of a turn at most, for which room is kept;
        None: 100, or a quarter of n_ctx where that is less. max_turns: turns that the model sees at most; 0: all that fit.
        seed: the same one and the same words give the same replies. last_time: of the newest message in the training data, in
        milliseconds since 1970: where the style writes times, this conversation is held a day later; None: now.
        """
        n_ctx = generator.hparams.n_ctx
        length = min(100, n_ctx // 4) if length is None else length
        settings = Settings(temperature, top_k, top_p, **settings)
        check_settings(length=length, **settings._asdict())
        if length > n_ctx // 2:
            raise UsageError(f'--length {length} leaves no room for the conversation: this model sees {n_ctx} tokens, so at most {n_ctx // 2}.')
        if me is not None and me == answerer:
            raise UsageError(f'{me} cannot talk to {me}: give --me and --as two different names.')
        missing = [name for name in style.special_tokens if name not in enc.special_tokens]
        if missing or isinstance(style, MarkedStyle) and enc.eot is None:
            raise UserError(f'the style {style.name} ends turns with {" ".join(missing) or "<|endoftext|>"}, which this vocabulary does not have: '
                            'choose another --style, or train the model on text in this one.')
        self.generator, self.enc, self.style = generator, enc, style
        self.me, self.answerer, self.length, self.max_turns = me, answerer, length, max_turns
        self.settings = settings
        self.turns, self._ids = [], []                  # _ids[i]: the tokens of turns[i]
        self.first = 0
        self.cut = 0                                    # tokens that the newest turn lost because it alone fills the context
        self._stops = style.stop_ids(enc)
        self._start = int(time.time() * 1000) if last_time is None else last_time + DAY
        self._draw = Draw(seed)
        self._random = np.random.default_rng(seed)      # of who speaks, where the model does not say
        self._cache, self._cached = generator.cache(), []

    def say(self, speaker, text):
        """Put a turn into the conversation."""
        self._add(Turn(speaker, text, self.next_time(text)))

    def reply(self, text):
        """Say `text` as me; yield the answer in pieces as it is made. Closing the iterator early keeps what was said so far."""
        self.say(self.me, text)
        return self.answer()

    def answer(self, speaker=None):
        """Yield the next turn of `speaker` (default: the answerer) in pieces."""
        speaker, when = self.answerer if speaker is None else speaker, self.next_time()
        header = self.style.header_ids(self.enc, self._seat(speaker), when)
        self._make_room(len(header))
        context = self._context() + header
        said = ''
        try:
            for _ in range(ATTEMPTS):
                for words in self._words(context):
                    new, said = words[len(said):], words
                    yield new
                if said:
                    return
        finally:
            if said:
                self._add(Turn(speaker, said, when))

    def next_speaker(self, people=None):
        """Who speaks next, as the model has it: a name, or '' where it ends the conversation.

        people: the only names to choose from; None: any, or the style's own two. Where the model names nobody of them, one who did not
        speak last is drawn. A conversation ends after two turns at the earliest.
        """
        people = self.style.speakers if people is None else people
        when = self.next_time()
        header, longest = self.enc.encode(self.style.time_header(when)), min(HEADER, self.generator.hparams.n_ctx // 4)
        self._make_room(len(header) + longest)
        context = self._context()
        if header and context and len(self.turns) > 1:              # the time stands before the name: ask first whether there is another turn
            self._read(context[:-1])
            if self._decode(context[-1], 1)[0] in self._stops:
                return ''
        context += header
        before = self._seat(self.turns[-1].speaker) if self.turns else None
        for _ in range(ATTEMPTS):
            self._read(context[:-1])
            ids, name = [], None
            while name is None and len(ids) < longest:
                ids += self._decode([*context, *ids][-1], min(STRIDE, longest - len(ids)))
                name = self.style.next_speaker(self.enc, ids, when, before)
            if name and (people is None or name in people) or name == '' and len(self.turns) > 1:
                return name
        others = [name for name in people or () if not self.turns or name != self.turns[-1].speaker]
        return str(self._random.choice(others)) if others else ''

    def next_time(self, text=''):
        """When the next turn is said, in milliseconds since 1970: later than the one before by the time that reading that and typing takes."""
        return self.turns[-1].time + 5000 + 50 * len(self.turns[-1].text) + 150 * len(text) if self.turns else self._start

    def improvise(self, people=None, length=None):
        """Go on among the people themselves: yield (speaker, iterator of the words) turn by turn until the model ends the conversation.

        people: as for next_speaker. length: behind so many tokens no further turn begins.
        """
        silent = 0
        while silent < ATTEMPTS and (length is None or sum(map(len, self._ids)) < length):
            said, speaker = len(self.turns), self.next_speaker(people)
            if not speaker:
                return
            yield speaker, self.answer(speaker)
            silent = silent + 1 if len(self.turns) == said else 0

    # ---- what the model sees

    def _seat(self, name):
        """The name as the style knows it: one of its own two, or any."""
        seats = self.style.speakers
        if seats is None or name in seats:
            return name
        return seats[name == self.answerer]

    def _add(self, turn):
        self.turns.append(turn)
        self._ids.append(self.style.turn_ids(self.enc, turn._replace(speaker=self._seat(turn.speaker))))

    def _make_room(self, header):
        """Let the oldest turns go when they, the header and the reply no longer fit; `first` and `cut` tell."""
        room = self.generator.hparams.n_ctx - header - self.length - 1
        sizes = [len(ids) for ids in self._ids]
        if self.max_turns:
            self.first = max(self.first, len(self.turns) - self.max_turns)
        if sum(sizes[self.first:]) > room:
            while self.first < len(self.turns) - 1 and sum(sizes[self.first:]) > room * 3 // 4:
                self.first += 1
        self.cut = max(0, sum(sizes[self.first:]) - room)

    def _context(self):
        """The tokens of the turns that the model sees; a conversation still whole begins as in training, behind <|endoftext|> or <bos>."""
        ids = [i for turn in self._ids[self.first:] for i in turn][self.cut:]
        return self.style.begin_ids(self.enc) + ids if self.first == 0 and not self.cut else ids

    # ---- what it says

    def _words(self, context):
        """Yield the reply so far, longer each time, settled text only; its last form is the whole reply."""
        decoder, body, made, over = self.enc.stream_decoder(), '', 0, False
        self._read(context[:-1])
        last = context[-1]
        while not over:
            ids = self._decode(last, min(STRIDE, self.length - made))
            made, last = made + len(ids), ids[-1]
            ends = next((k for k, i in enumerate(ids) if i in self._stops), None)
            if ends is not None:
                ids, over = ids[:ends], True
            body += decoder.push(ids)
            over = over or made >= self.length or len(self._cached) >= self.generator.hparams.n_ctx
            if over:
                body += decoder.finish()
            end = self.style.end_of_turn(body)
            if end >= 0:
                body, over = body[:end], True
            words = self.style.words(body).strip()
            yield words if over else UNSETTLED.sub('', words)

    def _decode(self, last, steps):
        """Up to `steps` new tokens behind `last`, which comes into the cache."""
        ids = self.generator.decode(self._cache, [last], [self._draw], steps, self.settings, stops=sorted(self._stops) or [-1])[0].tolist()
        self._cached += [last] + ids[:-1]
        return ids

    def _read(self, ids):
        """Bring the cache to exactly `ids`: what it already holds of them is kept."""
        same = 0
        for held, wanted in zip(self._cached, ids):
            if held != wanted:
                break
            same += 1
        self._cache.cut(same)
        self.generator.prefill(self._cache, [ids[same:]])
        self._cached = list(ids)

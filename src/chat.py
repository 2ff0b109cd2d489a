"""A conversation with a model: what it sees, when its turn ends, and its words as they come.

    <|endoftext|> Theo: hi newline Mara: Hi Theo. newline Theo: bad day newline Mara:        the model goes on from here
    `------------------------ turns, oldest first -----------------------------' `header'

The end of a turn is a line break that no continuation follows, or <|endoftext|>. When the context is full, whole turns leave,
oldest first, until a quarter of the room is free: what stays is then read once more, and not again at every turn. Otherwise the
cache keeps all that was said, and a turn costs its new tokens.
"""
import re
import time

from . import sample
from .console import UsageError, UserError
from .dialogue import Turn

STRIDE = 4                                              # tokens made between two looks at whether the turn has ended
ATTEMPTS = 4                                            # at a reply that is not empty
UNSETTLED = re.compile(r'[<\\][^>]{0,16}\Z|["\s]+\Z')   # an end of text that later tokens may still change


class ChatSession:
    """A conversation between `me` and `answerer`. `turns` is all that was said, `first` the oldest turn that the model sees."""

    def __init__(self, generator, enc, style, *, me, answerer, temperature=0.95, top_k=40, top_p=0.9, length=None, max_turns=0, seed=None):
        """generator: sample.Generator; style: dialogue.Style. length: tokens of a reply at most, for which room is kept;
        None: 100, or a quarter of n_ctx where that is less. max_turns: turns that the model sees at most; 0: all that fit.
        seed: the same one and the same words give the same replies.
        """
        n_ctx = generator.hparams.n_ctx
        length = min(100, n_ctx // 4) if length is None else length
        sample.check_settings(temperature, top_k, top_p, length)
        if length > n_ctx // 2:
            raise UsageError(f'--length {length} leaves no room for the conversation: this model sees {n_ctx} tokens, so at most {n_ctx // 2}.')
        if me == answerer:
            raise UsageError(f'{me} cannot talk to {me}: give --me and --as two different names.')
        if style.close != '\n' and enc.eot is None:
            raise UserError(f'the style {style.name} ends turns with <|endoftext|>, which this vocabulary does not have: choose another --style.')
        self.generator, self.enc, self.style = generator, enc, style
        self.me, self.answerer, self.length, self.max_turns = me, answerer, length, max_turns
        self.settings = {'temperature': temperature, 'top_k': top_k, 'top_p': top_p}
        self.turns, self._ids = [], []                  # _ids[i]: the tokens of turns[i]
        self.first = 0
        self.cut = 0                                    # tokens that the newest turn lost because it alone fills the context
        self._draw = sample.Draw(seed, 1)
        self._cache, self._cached = sample.Cache(generator.hparams, 1), []

    def say(self, speaker, text):
        """Put a turn into the conversation."""
        self._add(Turn(speaker, text, self._now()))

    def reply(self, text):
        """Say `text` as me; yield the answer in pieces as it is made. Closing the iterator early keeps what was said so far."""
        self.say(self.me, text)
        return self.answer()

    def answer(self):
        """Yield the answerer's next turn in pieces."""
        when = self._now()
        header = self.style.header_ids(self.enc, self.answerer, when)
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
                self._add(Turn(self.answerer, said, when))

    # ---- what the model sees

    def _now(self):
        """Milliseconds since 1970, later than every turn before."""
        return max([int(time.time() * 1000), *(turn.time + 1000 for turn in self.turns[-1:])])

    def _add(self, turn):
        self.turns.append(turn)
        self._ids.append(self.style.turn_ids(self.enc, turn))

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
        """The tokens of the turns that the model sees; a conversation still whole begins as in training, behind <|endoftext|>."""
        ids = [i for turn in self._ids[self.first:] for i in turn][self.cut:]
        whole = self.first == 0 and not self.cut and self.style.close == '\n' and self.enc.eot is not None
        return [self.enc.eot] + ids if whole else ids

    # ---- what it says

    def _words(self, context):
        """Yield the reply so far, longer each time, settled text only; its last form is the whole reply."""
        ends = self.enc.eot if self.enc.eot is not None else -1
        decoder, body, made, over = self.enc.stream_decoder(), '', 0, False
        self._read(context[:-1])
        last = context[-1]
        while not over:
            steps = min(STRIDE, self.length - made)
            ids = self.generator.decode(self._cache, [last], self._draw, steps, stop=ends, **self.settings)[0].tolist()
            self._cached += [last] + ids[:-1]
            made, last = made + len(ids), ids[-1]
            if ends in ids:
                ids, over = ids[:ids.index(ends)], True
            body += decoder.push(ids)
            over = over or made >= self.length or self._cache.length >= self.generator.hparams.n_ctx
            if over:
                body += decoder.finish()
            end = self.style.end_of_turn(body)
            if end >= 0:
                body, over = body[:end], True
            words = self.style.words(body).strip()
            yield words if over else UNSETTLED.sub('', words)

    def _read(self, ids):
        """Bring the cache to exactly `ids`: what it already holds of them is kept."""
        same = 0
        for held, wanted in zip(self._cached, ids):
            if held != wanted:
                break
            same += 1
        self._cache.length = same
        self.generator.prefill(self._cache, [ids[same:]])
        self._cached = list(ids)

"""A conversation with a model: what it sees, when its turn ends, and its words as they come.

    <|endoftext|> You are on a ship. newline ... Theo: hi newline Mara: Hi Theo. newline ... Theo: bad day newline Mara:      the model goes on from here
                  `--- persona ----'  turns ...  `---- recalled ----'           ... turns, oldest first `header'

The end of a turn is a line break that no continuation follows, or <|endoftext|>. When the context is full, whole turns leave,
oldest first, until a quarter of the room is free: what stays is then read once more, and not again at every turn. Otherwise the
cache keeps all that was said, and a turn costs its new tokens: those of the message, for the others are read while it is typed.
Turns that the model no longer sees come back when they fit what is being said (memory.Chat.recall): in front of the last few, for all
behind them is read once more.

    ids -> Reply -> words            what is shown is final; what must not be said is taken back before it is shown
"""
import contextlib
import re
import threading
import time
from typing import NamedTuple

import numpy as np

from . import encoder, files, folders
from .batch import Batch, Sequence
from .console import UsageError, UserError
from .dialogue import MarkedStyle, Turn, get_style
from .settings import Settings, check_settings, fresh_seed

STRIDE = 4                                              # tokens made between two looks at whether the turn has ended
ATTEMPTS = 4                                            # at a name of those who may speak
OBJECTIONS = 8                                          # to what a reply must not say, before it ends there
HEADER = 32                                             # tokens in which the model must have said who speaks
MESSAGE = 1 / 16                                        # of n_ctx, for the words of a message that is awaited
LATEST = 3                                              # turns behind what is recalled
RECALLED = 1 / 8                                        # of n_ctx, for turns that are recalled
LOOP = 24                                               # tokens of the same three times or more are a loop
DAY = 24 * 60 * 60 * 1000                               # milliseconds
PAUSE, READING, TYPING = 5000, 50, 150                  # milliseconds: before a turn, and for each character of the turn before and of its own
KNOWN = 20                                              # people of the training data whose marks no reply may hold
ANTI = 0.5                                              # weight of what a reply is worth without the conversation: Li et al. 2016, section 4.5.1
UNSETTLED = re.compile(r'[<\\][^>]{0,16}\Z|["\s]+\Z')   # an end of text that later tokens may still change


class Candidate(NamedTuple):
    """A reply that could be given. likelihood: the mean log P of its tokens; score: that, less ANTI times what it is without the conversation:
    bland replies fit everywhere (MMI-antiLM: Li et al. 2016, arXiv:1510.03055, section 3.2)."""
    text: str
    score: float
    likelihood: float


class Ahead(NamedTuple):
    """What is read before a message comes: the ids, which are turns[first:] of those that were said then, and what stands in front."""
    said: int
    first: int
    ids: list


class Reply:
    """The words of a turn in the making. `text`: all that are settled, which later tokens cannot change; `over`, and then `reason`: 'stop', or
    'length' where it was as long as allowed. `wrong`: None, or (how many of its tokens may stay, the id that must not come behind them)."""

    def __init__(self, enc, style, length, *, stop=(), banned=(), names=()):
        """length: tokens at most. stop: texts that end it, not shown. banned: words that it must not hold, whatever their case. names: whose
        mark must not stand in it."""
        self._enc, self._style, self._length, self._stop = enc, style, length, [text for text in stop if text]
        self._stops = style.stop_ids(enc)
        self._banned = re.compile(r'(?<!\w)(?:' + '|'.join(map(re.escape, banned)) + r')(?!\w)', re.I) if banned else None
        self._held = max((len(words.split()) for words in banned), default=0)                    # words at the end that may become a banned one
        marks = [f'{name}{said}' for name in names if style.speakers is None for said in (':', ' said:')]
        self._marks = re.compile(r'(?<!\w)(?:' + '|'.join(map(re.escape, marks)) + ')') if marks else None
        self._starts = {text[:n] for text in (*self._stop, *marks) for n in range(1, len(text))}              # of what must not be shown
        self._longest = max(map(len, self._starts), default=0)
        self._objections = {}                           # position -> ids that must not come there
        self.text, self.over, self.reason, self.wrong = '', False, None, None
        self._begin([])

    def _begin(self, ids):
        self._decoder, self._body, self._ends, self.ids = self._enc.stream_decoder(), '', [], ids
        for i in ids:
            self._take(i)

    def _take(self, i):
        self._body += self._decoder.push([i])
        self._ends.append(len(self._body))              # of the body behind each token

    def push(self, ids):
        """The ids made next -> the words that are settled now and were not before, maybe ''. Look at `over` and `wrong` behind it."""
        end = None
        for i in ids:
            if i in self._stops:
                end = i
                break
            self.ids.append(i)
            self._take(i)
        over = end is not None or len(self.ids) >= self._length
        body = self._body + (self._decoder.finish() if over else '')
        cut = self._style.end_of_turn(body)
        if cut >= 0:
            body, over = body[:cut], True
        words = self._words(body)
        stops = [at for at in (words.find(text) for text in self._stop) if at >= 0]
        if stops:
            words, over = words[:min(stops)].strip(), True
        self.wrong = self._object(words, over, cut >= 0 or end is not None, end)
        if self.wrong and sum(map(len, self._objections.values())) < OBJECTIONS:
            return ''
        if self.wrong:                                  # it insists: it ends in front of that
            words, over, self.wrong = self._words(self._body[:self._ends[self.wrong[0] - 1]] if self.wrong[0] else ''), True, None
        if not over:
            words = self._settled(words)
        new, self.text, self.over = words[len(self.text):], max(words, self.text, key=len), over
        if over:
            self.reason = 'stop' if end is not None or cut >= 0 or stops else 'length'
        return new

    def take_back(self):
        """Where something is wrong: -> (how many tokens stay, ids that must not come next), and goes on from there."""
        n, i = self.wrong
        self._objections.setdefault(n, []).append(i)
        self._begin(self.ids[:n])
        self.wrong = None
        return n, self._objections[n]

    def _words(self, body):
        return self._style.words(body).strip()

    def _settled(self, words):
        """The part of the words so far that can be shown: what comes next cannot change it, nor make it the start of something unwanted."""
        n = next((n for n in range(min(self._longest, len(words)), 0, -1) if words[-n:] in self._starts), 0)
        words = words[:len(words) - n]
        for _ in range(self._held):
            words = re.sub(r'\s*\S*\Z', '', words)
        return UNSETTLED.sub('', words)

    def _object(self, words, over, ended, end):
        """`wrong`, for the words so far. ended: by itself, not for its length; end: the stop id that ended it, or None."""
        if ended and not words:
            return next(((k, i) for k, i in enumerate(self.ids) if '\n' in self._body[:self._ends[k]]), (len(self.ids), end))
        starts = [found.start()] if self._marks and (found := self._marks.search(words)) else []
        if self._banned and (found := self._banned.search(words)) and (over or found.end() < len(words)):
            starts.append(found.start())
        if starts:
            return next((k, i) for k, i in enumerate(self.ids) if len(self._words(self._body[:self._ends[k]])) > min(starts))
        period = None if over else _loop(self.ids)
        return period and (len(self.ids), self.ids[-period])


def _loop(ids):
    """The period with which the last tokens come three times or more, and LOOP of them; None: they do not."""
    for period in range(1, len(ids) // 3 + 1):
        n = max(LOOP, 3 * period)
        if n <= len(ids) and ids[len(ids) - n + period:] == ids[len(ids) - n:-period]:
            return period
    return None


class ChatSession:
    """A conversation between `me` and `answerer`, or among any people. `turns` is all that was said, `first` the oldest turn that
    the model sees. me, answerer, settings, length, max_turns, persona and banned may be set between two turns."""

    def __init__(self, generator, enc, style, *, me=None, answerer=None, temperature=0.95, top_k=40, top_p=0.9, length=None, max_turns=0,
                 seed=None, last_time=None, persona='', banned=(), people=(), kept=None, **settings):
        """generator: sample.Generator, or lite.Generator; style: dialogue.Style. length: tokens of a turn at most, for which room is kept;
        None: 100, or a quarter of n_ctx where that is less. max_turns: turns that the model sees at most; 0: all that fit.
        seed: the same one (or list of them) and the same words give the same replies. last_time: of the newest message in the training data, in
        milliseconds since 1970: where the style writes times, this conversation is held a day later; None: now.
        persona: a text in front of the conversation that never leaves. banned: words that no reply holds. people: who is known from the
        training data. kept: a memory.Chat, whose turns go on here, and which keeps what is said.
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
        self.settings, self.persona, self.banned, self.people, self.kept = settings, persona, banned, list(people), kept
        self.turns = [] if kept is None else kept.turns()
        self.first = 0
        self.cut = 0                                    # tokens that the newest turn lost because it alone fills the context
        self._fitted = max_turns                        # the max_turns with which `first` was found; None: it is to be found anew
        self._saw = 0                                   # `first` when the newest turn was said
        self._old = None                                # the turn in whose place the next one comes
        self.recalled, self._recalled_at = [], 0        # turns that are seen again, and which one they stand in front of
        self._known = {}                                # (seat, text, time) of a turn -> its ids
        self._stops = style.stop_ids(enc)
        self._last_time = last_time
        self._start = int(time.time() * 1000) if last_time is None else last_time + DAY
        self._seed, self._made = [abs(int(s)) for s in np.ravel(fresh_seed() if seed is None else seed)], 0
        self._random = np.random.default_rng(self._seed)                 # of who speaks, where the model does not say
        self._batch = self._ahead = None

    def anew(self, **options):
        """An empty conversation with the same model and people, in the same style; options: what else than the defaults, as for ChatSession."""
        same = {'me': self.me, 'answerer': self.answerer, 'people': self.people, 'last_time': self._last_time}
        return ChatSession(self.generator, self.enc, self.style, **same | options)

    def get_ready(self, n=1):
        """Compile what a reply needs, or n candidates, where that takes time: the first of them comes sooner."""
        self._rows(n).get_ready()

    @contextlib.contextmanager
    def reading(self):
        """Within this block, in which a message is awaited, another thread reads what was said so far, so that its answer costs the message's tokens
        alone. Where they would not fit, turns leave already then. How far the thread comes changes nothing of what is answered, but for rounding where
        other turns are recalled."""
        try:
            self._ahead = self._look_ahead()
        except UserError:                               # the answer will tell
            self._ahead = None
        awaited = threading.Event()
        reader = threading.Thread(target=self._read_ahead, args=[lambda: not awaited.is_set()])
        reader.start()
        try:
            yield
        finally:
            awaited.set()
            while reader.is_alive():                    # a pass: two threads in one generator would do harm
                with contextlib.suppress(KeyboardInterrupt):
                    reader.join()

    def _look_ahead(self):
        """The Ahead of a message to come."""
        now = self.first, self.cut, self.recalled, self._fitted
        try:
            headers = len(self.header(self.me)) + len(self.header(self.answerer))
            self._make_room(headers + int(MESSAGE * self.generator.hparams.n_ctx), coming=1)
            return Ahead(len(self.turns), self.first, self._context())
        finally:
            self.first, self.cut, self.recalled, self._fitted = now

    def _read_ahead(self, going):
        with contextlib.suppress(Exception):            # the answer does the same again, and tells
            self._rows(1, going=going)

    # ---- what is said

    def say(self, speaker, text):
        """Put a turn into the conversation. Raises UserError where nobody speaks."""
        if not speaker:
            raise UserError('a turn has no speaker: give every turn a name.')
        self._add(Turn(speaker, text, self.next_time(text)))

    def reply(self, text):
        """Say `text` as me; yield the answer in pieces as it is made. Closing the iterator early keeps what was said so far."""
        self.say(self.me, text)
        return self.answer()

    def answer(self, speaker=None):
        """Yield the next turn of `speaker` (default: the answerer) in pieces."""
        speaker, when = self._next(speaker)
        said = ''
        try:
            for _, piece in self._replies(self.prompt(speaker)):
                said += piece
                yield piece
        finally:
            if said:
                self._add(Turn(speaker, said, when))

    def suggest(self, speaker=None):
        """What `speaker` could say next; it is not said."""
        return ''.join(piece for _, piece in self._replies(self.prompt(speaker)))

    def candidates(self, n, speaker=None):
        """n turns that `speaker` could take next, as Candidates, the best first; equal ones are one. None of them is said yet."""
        context = self.prompt(speaker)
        texts = {reply: reply.text for reply, _ in self._replies(context, n)}
        found = [self.candidate(self._batch.score, context, text, speaker) for text in dict.fromkeys(filter(None, texts.values()))]
        return sorted(found, key=lambda found: -found.score)

    def candidate(self, score, context, text, speaker=None):
        """A text as a Candidate. score(context, ids): Batch.score; context: what prompt(speaker) gave when it was made."""
        speaker, when = self._next(speaker)
        seat = self._seat(speaker)
        header = self.style.header_ids(self.enc, seat, when)
        bare = self.style.begin_ids(self.enc) + header or context[-1:]
        ids = self.style.turn_ids(self.enc, Turn(seat, text, when))[len(header):]
        ids = ids[:self.generator.hparams.n_ctx + 1 - len(context)]      # half a character, which was one token, is three in U+FFFD
        likelihood = float(score(context, ids).mean())
        return Candidate(text, likelihood - ANTI * float(score(bare, ids).mean()), likelihood)

    def retry(self, speaker=None):
        """Yield another turn of `speaker` (default: who said it) instead of the newest one, which stays until there are words."""
        if not self.turns or self.turns[-1].speaker == self.me:
            raise UserError('there is no reply to take back: say something first.')
        return self._again(speaker or self.turns[-1].speaker)

    def _again(self, speaker):
        with self.instead():
            yield from self.answer(speaker)

    @contextlib.contextmanager
    def instead(self):
        """Within this block the newest turn is not there, and the next one takes its place; where none is said, it is there again behind the block."""
        self._old = self.turns.pop()
        self.first = min(self.first, self._saw)
        try:
            yield
        finally:
            if self._old is not None:
                self.turns.append(self._old)
                self._old = None

    def undo(self):
        """Take back my newest turn and all behind it. Returns how many turns that are."""
        mine = [i for i, turn in enumerate(self.turns) if turn.speaker == self.me]
        gone = len(self.turns) - mine[-1] if mine else 0
        if gone:
            self._drop(len(self.turns) - gone)
        return gone

    def edit(self, i, text):
        """Give turns[i] other words."""
        if self.kept is not None:                       # first, as always: where that fails, nothing has changed
            self.kept.replace(i, text)
        self.turns[i] = self.turns[i]._replace(text=text)
        self._fitted = None

    def rate(self, i, rating):
        """turns[i] is as replies should be (1), or not (-1), to be learnt from. Raises UserError where the conversation is not kept."""
        self._keeper().rate(i, rating)

    def fix(self, i, text):
        """Give turns[i] the words that it should have had, to be learnt from. Raises UserError where the conversation is not kept."""
        self._keeper().fix(i, text)
        self.turns[i] = self.turns[i]._replace(text=text)

    def _keeper(self):
        if self.kept is None:
            raise UserError('this chat is not kept, so nothing can be learnt from it: start it with --memory PATH.')
        return self.kept

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
            if next(self._tokens(context, 1))[0] in self._stops:
                return ''
        context += header
        before = self._seat(self.turns[-1].speaker) if self.turns else None
        for _ in range(ATTEMPTS):
            ids, name = [], None
            for new in self._tokens(context, longest):
                ids += new
                name = self.style.next_speaker(self.enc, ids, when, before)
                if name is not None:
                    break
            if name and (people is None or name in people) or name == '' and len(self.turns) > 1:
                return name
        others = [name for name in people or () if not self.turns or name != self.turns[-1].speaker]
        return str(self._random.choice(others)) if others else ''

    def next_time(self, text=''):
        """When the next turn is said, in milliseconds since 1970: later than the one before by the time that reading that and typing takes."""
        return self.turns[-1].time + PAUSE + READING * len(self.turns[-1].text) + TYPING * len(text) if self.turns else self._start

    def improvise(self, people=None, length=None):
        """Go on among the people themselves: yield (speaker, iterator of the words) turn by turn until the model ends the conversation.

        people: as for next_speaker. length: behind so many tokens no further turn begins.
        """
        silent = 0
        while silent < ATTEMPTS and (length is None or sum(len(self.turn_ids(turn)) for turn in self.turns) < length):
            said, speaker = len(self.turns), self.next_speaker(people)
            if not speaker:
                return
            yield speaker, self.answer(speaker)
            silent = silent + 1 if len(self.turns) == said else 0

    # ---- what the model sees

    def prompt(self, speaker=None, recall=True):
        """The ids that the model goes on from as `speaker` (default: the answerer), with the header; they leave room for `length` more. recall: look
        for turns that fit the newest one."""
        speaker, when = self._next(speaker)
        header = self.header(speaker, when)
        if recall:
            self._recall()
        self._make_room(len(header))
        return self._context() + header

    def retrace(self, speaker=None, awaited=False):
        """Let go what would have gone if every turn had been said in this session, from the first on, and a message been awaited behind each but the
        newest, or behind that too. A conversation that comes anew with each of its turns (a server's) then sees the same oldest turn until it is full
        again, instead of one that moves with each."""
        room, used, self.first = self._room(len(self.header(self._next(speaker)[0]))), 0, 0
        before = room - len(self.header(self.me)) - int(MESSAGE * self.generator.hparams.n_ctx)
        for end, turn in enumerate(self.turns, 1):
            used += len(self.turn_ids(turn))
            most = before if awaited or end < len(self.turns) else room
            if used > most:
                self.first, used = self._fitting(most * 3 // 4, self.first, end)

    def behind(self, text, speaker=None):
        """The ids in front of the message that comes once `speaker` has said `text`, where the conversation comes anew then (retrace)."""
        self.say(self._next(speaker)[0], text)
        self.retrace(speaker, awaited=True)
        return self._context()

    def header(self, speaker, when=0):
        """The ids that make the model speak as `speaker`. Raises UserError where they take too much of what it sees."""
        header, n_ctx = self.style.header_ids(self.enc, self._seat(speaker), when), self.generator.hparams.n_ctx
        if len(header) > n_ctx // 4:
            raise UserError(f'the name {speaker[:40]}... has {len(header)} tokens, of which this model, which sees {n_ctx}, can take {n_ctx // 4}: choose a shorter one.')
        return header

    def _next(self, speaker):
        """(who speaks, when) of the turn to come."""
        return self.answerer if speaker is None else speaker, self.next_time()

    def _seat(self, name):
        """The name as the style knows it: one of its own two, or any."""
        seats = self.style.speakers
        if seats is None or name in seats:
            return name
        return seats[name == self.answerer]

    def _add(self, turn):
        if self._old is not None:
            if self.kept is not None:
                self.kept.drop(len(self.turns))
            self._old = None
        if self.kept is not None:
            self.kept.add(turn)
        self.turns.append(turn)
        self._saw = self.first

    def _drop(self, start):
        if self.kept is not None:
            self.kept.drop(start)
        del self.turns[start:]
        self._fitted, self._recalled_at = None, min(self._recalled_at, start)

    def turn_ids(self, turn):
        turn = turn._replace(speaker=self._seat(turn.speaker))
        if turn not in self._known:
            self._known[turn] = self.style.turn_ids(self.enc, turn)
        return self._known[turn]

    def _preface(self):
        """The ids of the persona, in front of all turns."""
        ids = self.style.preface_ids(self.enc, self.persona) if self.persona else []
        if len(ids) > self.generator.hparams.n_ctx // 4:
            raise UserError(f'the persona has {len(ids)} tokens, of which this model can take {self.generator.hparams.n_ctx // 4}: shorten it.')
        return ids

    def _recall(self):
        """Look for turns that are no longer seen and fit the newest one: they come in front of the last LATEST, and stay there until others fit better."""
        found = self.kept.recall(self.turns[-1].text, self.first) if self.kept is not None and self.turns else []
        if found and not set(found[0]) <= set(self.recalled):
            room, turns = RECALLED * self.generator.hparams.n_ctx, set()
            for exchange in found:
                room -= sum(len(self.turn_ids(turn)) for turn in set(exchange) - turns)
                if room < 0:
                    break
                turns.update(exchange)
            self.recalled, self._recalled_at = sorted(turns, key=lambda turn: turn.time), max(0, len(self.turns) - LATEST)

    def _make_room(self, header, coming=0):
        """Let the oldest turns go when they, the header and the reply no longer fit; `first` and `cut` tell. What was recalled goes before the last of
        them. Where turns were taken back, or max_turns has changed, those that fit again come back. coming: turns that will come behind these; the
        header has room for them."""
        if self.recalled and self._room(header) < self.generator.hparams.n_ctx // 8:
            self.recalled = []
        room = self._room(header)
        oldest = max(0, len(self.turns) + coming - self.max_turns) if self.max_turns else 0
        if self._fitted != self.max_turns:
            self.first, self._fitted, self._ahead = min(self.first, self._fitting(room, oldest)[0]), self.max_turns, None
        if self._ahead and self._ahead.said < len(self.turns):
            oldest = max(oldest, self._ahead.first)
        self.first = max(self.first, oldest)
        start, used = self._fitting(room, self.first)
        if start > self.first:
            self.first, used = self._fitting(room * 3 // 4, self.first)
        self.cut = max(0, used - room)

    def _room(self, header):
        """How many tokens of turns fit, beside those recalled, with a header of so many."""
        return self.generator.hparams.n_ctx - header - self.length - 1 - len(self._preface()) - sum(len(self.turn_ids(turn)) for turn in self.recalled)

    def _fitting(self, room, oldest, end=None):
        """(the oldest of turns[:end], turns[oldest] at the oldest, from which on all fit into `room` tokens, or else the newest one, how many they have)"""
        used, end = 0, len(self.turns) if end is None else end
        for i in range(end - 1, oldest - 1, -1):
            more = len(self.turn_ids(self.turns[i]))
            if used + more > room and i < end - 1:
                return i + 1, used
            used += more
        return oldest, used

    def _context(self):
        """The tokens that the model sees; a conversation still whole begins as in training, behind <|endoftext|> or <bos>."""
        at, preface = max(self.first, self._recalled_at), self._preface()
        old, recalled, new = ([i for turn in turns for i in self.turn_ids(turn)] for turns in (self.turns[self.first:at], self.recalled, self.turns[at:]))
        begin = self.style.begin_ids(self.enc) if preface or self.first == 0 and not self.cut else []
        return begin + preface + old + recalled + new[self.cut:]

    # ---- what it says

    def names(self):
        """Whose marks no reply may hold: who is here, who spoke in what the model sees, and the first of those whom the training data knows."""
        spoke = [turn.speaker for turn in self.recalled + self.turns[self.first:]]
        return list(dict.fromkeys(filter(None, [self.me, self.answerer, *spoke, *self.people[:KNOWN]])))

    def _rows(self, n, context=None, going=lambda: True):
        """The Batch, of n rows at least. It holds what was said, and what was to be read ahead of context, as far as going() lets it."""
        if self._batch is None or len(self._batch.rows) < n:
            self._batch = Batch(self.generator, n)
        ahead = self._ahead and self._ahead.ids
        if ahead and (context is None or context[:len(ahead)] == ahead):
            self._batch.hold(ahead, going)
        return self._batch

    def _sequence(self, context, length):
        self._made += 1
        return Sequence(context, length, self.settings, tuple(sorted(self._stops)), [*self._seed, self._made])

    def _tokens(self, context, length):
        """Yield the ids that come behind context, a few at a time, up to `length`."""
        batch, sequence = self._rows(1, context), self._sequence(context, length)
        try:
            batch.enter(sequence)
            while not sequence.over:
                yield batch.step(STRIDE)[0][1]
        finally:
            batch.leave(sequence)

    def _replies(self, context, n=1):
        """Yield (Reply, its next words) of n replies that are made together, until all are over."""
        batch = self._rows(n, context)
        going = {self._sequence(context, self.length): Reply(self.enc, self.style, self.length, banned=self.banned, names=self.names()) for _ in range(n)}
        try:
            for sequence in going:
                batch.enter(sequence)
            while going:
                for sequence, ids in batch.step(STRIDE if all(reply.ids for reply in going.values()) else 1):       # the first word as soon as it is there
                    reply = going[sequence]
                    yield reply, reply.push(ids)
                    if reply.wrong:
                        batch.back(sequence, *reply.take_back())
                    elif reply.over:
                        batch.leave(sequence)
                        del going[sequence]
        finally:
            for sequence in going:
                batch.leave(sequence)


class Scene:
    """A conversation as one who writes a scene leads it: there is always a suggestion of who speaks next and what; take it, change it, or have another.

    parties: who speaks, in turn; default: the session's me and answerer. suggestion: (party, words), for which the model is asked when it is looked at.
    """

    def __init__(self, session, parties=None):
        self.session, self.parties = session, list(parties or (session.me, session.answerer))
        self._suggested = None

    @property
    def suggestion(self):
        if self._suggested is None:
            self._suggested = self._party(), self.session.suggest(self._party())
        return self._suggested

    def next(self, party=None, answer=''):
        """Say the next turn and return its words. party: None: whose turn it is; answer: '': what is suggested, or is made for another party."""
        party = party or self._party()
        answer = answer or (self.suggestion[1] if party == self._party() else self.session.suggest(party))
        self.session.say(party, answer)
        self._suggested = None
        return answer

    def retry(self):
        """Another suggestion."""
        self._suggested = None
        return self.suggestion

    def show(self):
        """Print what was said, and the suggestion."""
        for turn in self.session.turns:
            print(f'{turn.speaker}: {turn.text}')
        print('{}? {}'.format(*self.suggestion))

    def _party(self):
        """Who is behind the one who spoke last."""
        last = self.session.turns[-1].speaker if self.session.turns else self.parties[-1]
        return self.parties[(self.parties.index(last) + 1) % len(self.parties)] if last in self.parties else self.parties[0]


def open_session(place, generator, *, me=None, answerer=None, style=None, **options):
    """The ChatSession with the model at `place` (files.find_model): who speaks, in which style and how long, unless told, as its dialogue.json has it.

    me, answerer, style: names; None: the most talkative in the training data, who was learnt first. options: ChatSession's.
    """
    folder = files.folder_of(place)
    known = folders.read_dialogue(folder) or {'style': 'name', 'speakers': []}
    style = get_style(style or known['style'])
    learnt = [known['learnt']] if 'learnt' in known else []
    seats = style.speakers and learnt != [style.speakers[0]]            # marks, no names: the second one answers, under any name
    names = ['Friend', 'You'] if seats else learnt + known['speakers'] or ['Friend', 'You']
    answerer = answerer or next((name for name in names if name != me), 'Friend')
    me = me or next((name for name in (names[::-1] if seats else names) if name != answerer), 'You')
    if options.get('length') is None and 'length' in known:               # of a turn of who answers, as a rule
        options['length'] = min(known['length'], generator.hparams.n_ctx // 4)
    return ChatSession(generator, encoder.get_encoder(folder), style, me=me, answerer=answerer, last_time=known.get('last_time'),
                       people=known['speakers'], **options)

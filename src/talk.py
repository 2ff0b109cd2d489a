"""A chat as who types meets it: what becomes of a line, who answers it, and in which conversation.

    hi mara           said as me; who is to answer does
    /temp 0.7         a command: a function of commands.py, found by its name or a beginning of it that no other has
    //temp            the message "/temp"

What cannot be is a UserError, and the chat goes on.
"""
from . import commands, console
from .console import UserError
from .terminal import indented

ROUNDS = 8                                              # turns of a group, at most, until it is my turn again


class Talk:
    """A session, the screen it is held on, and what outlives the session.

    begin(kept, me, answerer, seed) -> a new ChatSession of these people, kept in memory.Chat `kept` (None: nowhere). answerers: who answers; default: as
    it is kept, or the session's. memory: Memory or None.
    model: what the memory calls the model; weights: what to say of its weights; config: the file of /save settings; usual: a ChatSession as it is where
    nobody asks for anything, whose settings that file need not have.
    """

    def __init__(self, session, screen, *, begin, answerers=(), memory=None, model='', weights='', candidates=1, seed=None, config=None, usual=None):
        self.session, self.screen, self.begin, self.memory = session, screen, begin, memory
        self.model, self.weights, self.candidates, self.seed, self.config = model, weights, candidates, seed, config
        self.answerers = list(answerers) or self.group()
        if session.kept is not None:
            session.persona = session.persona or session.kept.persona
        self.usual = {'candidates': 1, 'length': usual.length, 'max_turns': usual.max_turns, **usual.settings._asdict()} if usual else {}
        self.over = False
        self._gone = session.first                      # turns of which the user knows that the model no longer sees them

    def hear(self, line):
        """Do what a line says. Nothing that goes wrong ends the chat."""
        try:
            if line.startswith('/') and not line.startswith('//'):
                name, *rest = line[1:].split(None, 1) or ['help']
                commands.find(name).run(self, rest[0].strip() if rest else '')
            else:
                self.session.say(self.session.me, line.removeprefix('/') if line.startswith('//') else line)
                self.respond()
        except UserError as error:
            self.screen.note(str(error))
        except OSError as error:
            if error.filename is None:
                raise
            self.screen.note(console.describe(error))
        except KeyboardInterrupt:
            self.screen.note('stopped')

    # ---- who speaks

    def respond(self):
        """Let them answer: the one who does, or of several those whom the model names, until it names me."""
        if len(self.answerers) == 1:
            self.let(self.answerers[0])
            return
        people = self.answerers
        for _ in range(ROUNDS):
            speaker = self.session.next_speaker(people)
            if speaker in ('', self.session.me) or not self.let(speaker):
                return
            people = [*self.answerers, self.session.me]

    def let(self, speaker):
        """Let somebody speak. Returns whether they came to the end of their turn."""
        said = len(self.session.turns)
        whole = self.choose(speaker) if self.candidates > 1 else self.screen.speak(speaker, self.session.answer(speaker))
        self.tell()
        return whole and len(self.session.turns) > said

    def choose(self, speaker):
        """Make several turns of `speaker`, and let the user say which is said; the best where nobody is there to ask."""
        found, number = self.session.candidates(self.candidates, speaker), 1
        if self.screen.person and found:
            self.screen.show('\n'.join(f'{i:3}  {each.score:6.2f}  {indented(each.text, 13)}' for i, each in enumerate(found, 1)))
            number = self.which(len(found))
        if not found or not number:
            return False
        self.session.say(speaker, found[number - 1].text)
        self.screen.turn(self.session.turns[-1])
        return True

    def which(self, n):
        """The number that the user picks, from 1 to n; 0: none."""
        while True:
            said = self.screen.answer(f'1 to {n}, or Enter for the first:')
            if said is None:
                return 0
            if not said.strip():
                return 1
            if commands.number(said.strip(), n):
                return int(said)

    def tell(self):
        """What the user should know of what the model sees."""
        session = self.session
        gone, self._gone = self._gone, session.first
        asked = len(session.turns) - session.max_turns if session.max_turns else 0          # so many are not seen because the user wants it
        if session.first > max(gone, asked):
            self.screen.note(f'the model no longer sees the first {self._gone} turns: its {session.generator.hparams.n_ctx} tokens are full')
        if session.cut:
            self.screen.note(f'your last message is longer than what the model can see: its first {session.cut} tokens were left out')

    def meet(self, me, answerers):
        """Other people from now on."""
        session = self.session
        if len(answerers) > 1 and session.style.speakers is not None:
            raise UserError(f'the style {session.style.name} has two seats and no names: one answers at a time.')
        if me in answerers:
            raise UserError(f'{me} cannot talk to {me}: /me and /as take different names.')
        for name in [me, *answerers]:
            session.header(name)                        # one that is too long is told
        session.me, session.answerer, self.answerers = me, answerers[0], answerers
        self.keep()
        known = session.people
        for name in [me, *answerers]:
            if known and name not in known and session.style.speakers is None:
                self.screen.note(f'{name} is not in the training data: {", ".join(known[:10])} are')

    def there(self):
        """Everybody one may name."""
        return list(dict.fromkeys([*self.answerers, self.session.me, *self.session.people, *(turn.speaker for turn in self.session.turns)]))

    # ---- which conversation

    def group(self):
        """Who answers, as it is kept with the conversation."""
        session = self.session
        return list(session.kept.answerers) if session.kept is not None and session.style.speakers is None else [session.answerer]

    def keep(self):
        """Who is here, and the persona, are kept with the conversation."""
        if self.session.kept is not None:
            self.session.kept.meet(self.session.me, list(self.answerers), self.session.persona)

    def start(self, kept, me=None, answerer=None):
        """Go on with another conversation, under the settings of this one."""
        old, self.session = self.session, self.begin(kept, me or self.session.me, answerer or self.session.answerer, self.seed)
        for name in ('settings', 'length', 'max_turns', 'banned'):
            setattr(self.session, name, getattr(old, name))
        if answerer:
            self.answerers, self.session.persona = self.group(), kept.persona or self.session.persona
        else:
            self.session.persona = old.persona
        self.keep()
        self._gone = self.session.first

    def new(self):
        """A conversation that begins."""
        self.start(self.memory and self.memory.open(self.model, self.session.me, self.session.answerer, new=True))

    def show_end(self):
        """The newest turns, for reading on."""
        for turn in self.session.turns[-4:]:
            self.screen.turn(turn, grey=True)

    def resume(self):
        """Go on with a conversation that was kept."""
        changed = next(each.changed for each in self.memory.chats() if each.id == self.session.kept.id)
        self.show_end()
        if self.session.persona:
            self.screen.note(f'persona: {self.session.persona}')
        self.screen.note(f'going on from {commands.moment(changed)}; /new starts afresh')

    def sure(self, question):
        """Whether the user means it; nobody there to ask means it."""
        return not self.screen.person or (self.screen.answer(question + ' [y/N]') or '').strip().lower() in ('y', 'yes')

    def answering(self):
        """'Mara answers', 'Mara and Lena answer', 'Mara, Lena and Jonas answer'."""
        several, last = ', '.join(self.answerers[:-1]), self.answerers[-1]
        return f'{several} and {last} answer' if several else f'{last} answers'

    # ---- for the line being typed

    def status(self):
        """What a chat shows at its foot."""
        session = self.session
        try:
            used = len(session.prompt(recall=False))    # what fits is looked for once there is a message
        except UserError as error:
            return str(error)
        return f'{self.answering()} · {used} of {session.generator.hparams.n_ctx} tokens · {self.weights}'

    def complete(self, text):
        """How what is typed may go on: [(how many of its last characters are replaced, by what, what that means)]."""
        if not text.startswith('/') or text.startswith('//'):
            return []
        name, space, rest = text[1:].partition(' ')
        if not space:
            return [(len(text), '/' + known, command.help) for known, command in commands.COMMANDS.items() if known.startswith(name)]
        known = commands.matching(name)
        options = commands.COMMANDS[known[0]].options(self, rest) if len(known) == 1 else []
        last = rest.rpartition(',')[2].lstrip() if known == ['as'] else rest
        return [(len(last), option, meaning) for option, meaning in options if option.lower().startswith(last.lower()) and option != last]

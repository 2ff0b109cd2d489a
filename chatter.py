#!/usr/bin/env python3
"""Talk with a model in the terminal.

    python chatter.py --run_name run1           with a run of train.py: as the person it learnt to be
    python chatter.py --model_name 124M         with a model as it was published

The reply appears as it is made. Ctrl-C stops a reply and keeps the chat; Abort!, /quit or Ctrl-D end it. /help shows what else begins with
a slash: another reply, who answers, settings, earlier conversations. Input may come from a pipe, a message a line.
"""
import argparse
import contextlib
import difflib
import json
import os
import signal
import sys

from src import console, files, flags, generators
from src.console import UsageError, UserError


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    add = parser.add_argument_group('with whom').add_argument
    flags.model(add)
    flags.people(add, 'you are', '; A,B or all: a group, of which the model says who answers')
    flags.folders(add)

    add = parser.add_argument_group('how it answers').add_argument
    flags.drawing(add)
    add('--min_p', type=console.fraction, default=0.0, metavar='P', help='only tokens at least P times as likely as the likeliest; 0: off')
    add('--typical_p', type=console.fraction, default=1.0, metavar='P', help='only the most typical tokens that reach this probability; 0 and 1: off')
    add('--repetition_penalty', type=float, default=1.0, metavar='R', help='above 1, what was said becomes less likely; 1: off')
    add('--frequency_penalty', type=float, default=0.0, metavar='F', help="from a token's logit for each time that the reply has it, -2 to 2")
    add('--presence_penalty', type=float, default=0.0, metavar='F', help="from a token's logit once the reply has it, -2 to 2")
    add('--no_repeat_ngram_size', type=console.count, default=0, metavar='N', help='no run of N tokens comes twice; 0: off')
    add('--min_length', type=console.count, default=0, metavar='TOKENS', help='of a reply, at least, in styles that end turns with a token')
    add('--length', type=console.positive_int, metavar='TOKENS', help='of a reply, at most; default: as long as most of the learnt ones, or 100; a quarter of n_ctx at most')
    add('--max_turns', type=console.count, default=0, metavar='N', help='turns that the model sees, at most; 0: all that fit')
    add('--seed', type=int, help='the same one and the same words give the same replies; default: another every time')
    flags.precision(add)

    add = parser.add_argument_group('the chat').add_argument
    add('--memory', metavar='FILE', help='where conversations are kept, or none; default: a file in your data directory, for a pipe none')
    add('--new', action='store_true', help='begin a new conversation; without it, a kept one with the same person goes on')
    add('--persona', default='', metavar='TEXT', help='stands in front of the conversation and never leaves it')
    add('--candidates', type=console.positive_int, default=1, metavar='N', help='replies made each time, of which you take one; from a pipe, the best is taken')
    add('--banned', default='', metavar='WORDS', help='words that are never said, with commas between them, or a file with one a line')
    add('--config', metavar='FILE', help='settings as JSON: {"temperature": 0.7}; flags win; /save settings writes it; default: a file in your config directory')
    add('--plain', action='store_true', help='no colours, no completion, as from a pipe')
    add('--end_command', default='Abort!', metavar='WORDS', help='what you say to end the chat')
    flags.verbose(add)
    args = parser.parse_args()
    configure(parser, args.config or config_path())
    return parser.parse_args()


def config_path():
    """The file of settings unless --config names another: ~/.config/gpt2-chat/config.json on Linux."""
    import platformdirs
    return os.path.join(platformdirs.user_config_dir(files.OURS, appauthor=False), 'config.json')


def configure(parser, path):
    """Take the settings in a file, {flag: value}, for the flags' defaults."""
    if not os.path.exists(path):
        return
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        text = file.read()
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path} is no JSON ({error}): {{"temperature": 0.7}} is how it looks; put it right, or remove it.') from None
    if not isinstance(settings, dict):
        raise UserError(f'{path} holds no settings: {{"temperature": 0.7}} is how it looks; put it right, or remove it.')
    flags = {option.removeprefix('--'): action for action in parser._actions for option in action.option_strings if action.dest not in ('help', 'config')}
    for name, value in settings.items():
        if name not in flags:
            near = difflib.get_close_matches(name, flags, 1)
            raise UserError(f'{path}: there is no setting {name}{f", did you mean {near[0]}?" if near else ";"} --help shows those there are, without --.')
        parser.set_defaults(**{flags[name].dest: checked(path, name, value, flags[name])})


def checked(path, name, value, action):
    """A setting's value as its flag would give it."""
    kinds = [bool] if action.nargs == 0 else [int, float] if action.type else [str, list] if name == 'banned' else [str]
    try:
        if type(value) in kinds and (action.choices is None or value in action.choices):
            return action.type(str(value)) if action.type else value
    except (ValueError, argparse.ArgumentTypeError):
        pass
    takes = ('true or false' if action.nargs == 0 else f'a number, as --{name} does' if action.type else
             f'one of {", ".join(action.choices)}' if action.choices else 'a text')
    raise UserError(f'{path}: {name} {json.dumps(value)} is out of range: it takes {takes}.')


def banned_words(said):
    """--banned -> [word]. Raises UserError for what is named as a text file and is none."""
    if isinstance(said, list):                          # from the file of settings
        words = map(str, said)
    elif os.path.isfile(said):
        with open(said, encoding='utf-8-sig', errors='replace') as file:
            words = file.read().splitlines()
    elif said.lower().endswith(('.txt', '.csv', '.json')):
        raise UserError(f'--banned {said}: there is no such file; check the path, or put a comma behind it where it is a word.')
    else:
        words = said.split(',')
    return [word.strip() for word in words if word.strip()]


def open_talk(args, place, generator, weights):
    """The talk.Talk that the flags ask for, with the model at `place`."""
    from src import chat, commands
    from src.settings import Settings
    from src.talk import Talk
    if args.candidates > commands.CANDIDATES:
        raise UsageError(f'--candidates {args.candidates} is out of range: it takes a whole number from 1 to {commands.CANDIDATES}.')
    options = {name: getattr(args, name) for name in (*Settings._fields, 'style', 'length', 'max_turns', 'persona')} | {'banned': banned_words(args.banned)}

    usual = chat.open_session(place, generator, me=args.me, style=args.style)
    answerers = commands.named(args.answerer, usual, usual.people) if args.answerer else []
    me = args.me or (next((name for name in usual.people if name not in answerers), 'You') if len(answerers) > 1 else None)

    def begin(kept=None, me=me, answerer=next(iter(answerers), None), seed=args.seed):
        return chat.open_session(place, generator, me=me, answerer=answerer, kept=kept, seed=seed, **options)

    session, memory, model = begin(), open_memory(args), os.path.abspath(files.folder_of(place))
    if memory:
        session = begin(memory.open(model, session.me, session.answerer, args.new), session.me, session.answerer)
    screen = open_screen(args, memory)
    if args.config and not os.path.exists(args.config):
        screen.note(f'{args.config} is not there yet; /save settings writes it')
    return Talk(session, screen, begin=begin, answerers=answerers, memory=memory, model=model, weights=weights,
                candidates=args.candidates, seed=args.seed, config=args.config or config_path(), usual=usual)


def open_memory(args):
    """The memory.Memory of --memory, or None."""
    if args.memory == 'none' or args.memory is None and not sys.stdin.isatty():
        return None
    from src import memory
    return memory.Memory(args.memory or memory.default_path())


def open_screen(args, memory):
    """prompt_toolkit where a person sits at both ends, lines otherwise."""
    if args.plain or not sys.stdin.isatty() or not sys.stdout.isatty() or os.environ.get('TERM') == 'dumb':
        from src import terminal
        return terminal.Plain()
    from src import screen
    return screen.Screen(memory and os.path.splitext(memory.path)[0] + '.typed')


def greet(talk, end_command):
    """Who is here, and what was said the last time."""
    session, screen = talk.session, talk.screen
    if talk.memory and talk.memory.notice:
        screen.note(talk.memory.notice)
    talk.meet(session.me, talk.answerers)
    session.prompt(recall=False)                        # what cannot be said is told before anything is
    you = '' if session.me == 'You' else f'You are {session.me}, '
    screen.show(f'{you}{talk.answering()} ({talk.weights}). {end_command} or Ctrl-D ends the chat.' + ' /help shows more.' * screen.person)
    if session.turns:
        talk.resume()


def converse(talk, end_command):
    """Ask and answer until the user ends it."""
    while not talk.over:
        with contextlib.suppress(KeyboardInterrupt):    # between two prompts; within one, and in a reply, it is heard there
            status = talk.status() if talk.screen.person else ''
            with talk.session.reading():
                line = talk.screen.ask(talk.session.me, status, talk.complete)
            if line is None or line.strip() == end_command:
                return
            if line.strip():
                talk.hear(line)


def end_by_signal():
    """SIGTERM, and a terminal that closes, end the chat as a person does: what was said of a reply is kept, and the terminal is put right."""
    def end(number, frame):
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    for name in ('SIGTERM', 'SIGHUP'):                  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:                   # nohup ignores it
            signal.signal(number, end)


def main():
    args = parse_arguments()
    place = files.find_model(args.model_name, args.models_dir, args.run_name, args.checkpoint_dir)
    talk = open_talk(args, place, *generators.open_generator(place, args.models_dir, args.precision, args.verbose))
    end_by_signal()
    greet(talk, args.end_command)
    talk.session.get_ready(args.candidates)
    converse(talk, args.end_command)


if __name__ == '__main__':
    console.start_tuned()
    console.run(main)

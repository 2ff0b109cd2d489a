#!/usr/bin/env python3
"""Talk with a model in the terminal.

    python chatter.py --run_name run1           with a run of train.py: as the person it learnt to be
    python chatter.py --model_name 124M         with a model as it was published

The reply appears as it is made. Ctrl-C stops a reply and keeps the chat; Abort!, /quit or Ctrl-D end it. Input may come from a pipe.
"""
import argparse
import contextlib
import re
import sys

from src import console, files, generators

CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f]')   # a model or a message must not steer the terminal


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    add = parser.add_argument_group('with whom').add_argument
    add('--run_name', metavar='NAME', help='a run of train.py, in checkpoint/')
    add('--model_name', default='124M', metavar='NAME', help='a model, in models/, or a folder; not used with --run_name')
    add('--me', metavar='NAME', help='who you are; default: the most talkative other person in the training data, or You')
    add('--as', dest='answerer', metavar='NAME', help='who answers; default: who was learnt (train.py --learn_from), the most talkative in the training data, or Friend')
    add('--style', metavar='STYLE', help='how turns are written: name, timestamp, said, dialogpt, tokens, s; default: as in the training data, or name')
    add('--models_dir', default='models', metavar='PATH', help='the folder of the models')
    add('--checkpoint_dir', default='checkpoint', metavar='PATH', help='the folder of the runs')

    add = parser.add_argument_group('how it answers').add_argument
    add('--temperature', type=console.nonnegative_float, default=0.95, metavar='T', help='below 1: more predictable, above: wilder; 0: always the likeliest')
    add('--top_k', type=console.count, default=40, metavar='K', help='draw from the K likeliest tokens; 0: off')
    add('--top_p', type=console.fraction, default=0.9, metavar='P', help='draw from the likeliest tokens that reach this probability; 0: off')
    add('--min_p', type=console.fraction, default=0.0, metavar='P', help='only tokens at least P times as likely as the likeliest; 0: off')
    add('--typical_p', type=console.fraction, default=1.0, metavar='P', help='only the most typical tokens that reach this probability; 0 and 1: off')
    add('--repetition_penalty', type=float, default=1.0, metavar='R', help='above 1, what was said becomes less likely; 1: off')
    add('--frequency_penalty', type=float, default=0.0, metavar='F', help="from a token's logit for each time that the reply has it, -2 to 2")
    add('--presence_penalty', type=float, default=0.0, metavar='F', help="from a token's logit once the reply has it, -2 to 2")
    add('--no_repeat_ngram_size', type=console.count, default=0, metavar='N', help='no run of N tokens comes twice; 0: off')
    add('--min_length', type=console.count, default=0, metavar='TOKENS', help='of a reply, at least, in styles that end turns with a token')
    add('--length', type=console.positive_int, metavar='TOKENS', help='of a reply, at most; default: 100, or a quarter of n_ctx')
    add('--max_turns', type=console.count, default=0, metavar='N', help='turns that the model sees, at most; 0: all that fit')
    add('--seed', type=int, help='the same one and the same words give the same replies; default: another every time')
    add('--precision', choices=generators.PRECISIONS, default='auto',
        help='of the weights; auto: int8 on a CPU, which is three times as fast and as good within a percent, float32 on a GPU')

    add = parser.add_argument_group('the chat').add_argument
    add('--end_command', default='Abort!', metavar='WORDS', help='what you say to end the chat')
    add('--verbose', action='store_true', help="show TensorFlow's own messages")
    return parser.parse_args()


def open_session(args, place, generator):
    """The ChatSession that the flags ask for, with the model at `place`."""
    from src import chat, dialogue, encoder, folders
    from src.settings import Settings
    folder = files.folder_of(place)
    enc = encoder.get_encoder(folder)
    known = folders.read_dialogue(folder) or {'style': 'name', 'speakers': []}
    style = dialogue.get_style(args.style or known['style'])
    learnt = [known['learnt']] if 'learnt' in known else []
    seats = style.speakers and learnt != [style.speakers[0]]            # marks, no names: the second one answers, under any name
    names = ['Friend', 'You'] if seats else learnt + known['speakers'] or ['Friend', 'You']
    answerer = args.answerer or next((name for name in names if name != args.me), 'Friend')
    me = args.me or next((name for name in (names[::-1] if seats else names) if name != answerer), 'You')
    for name in (me, answerer):
        if known['speakers'] and name not in known['speakers'] and style.speakers is None:
            print(f'({name} is not in the training data: {", ".join(known["speakers"][:10])} are)')
    return chat.ChatSession(
        generator, enc, style, me=me, answerer=answerer, last_time=known.get('last_time'),
        length=args.length, max_turns=args.max_turns, seed=args.seed, **{name: getattr(args, name) for name in Settings._fields})


def ask(prompt):
    """A line from the user, or None at the end of input. What comes from a pipe is shown as if it had been typed."""
    while True:
        try:
            line = console.read_line(prompt)
        except KeyboardInterrupt:
            print('\n(Ctrl-D or /quit ends the chat)')
            continue
        if line is not None and not sys.stdin.isatty():
            print(CONTROL.sub('\ufffd', line))
        return line


def converse(session, end_command):
    """Ask and answer until the user ends it."""
    dropped = 0
    while True:
        line = ask(f'{session.me}: ')
        if line is None or line.strip() in (end_command, '/quit'):
            return
        if not line.strip():
            continue
        try:
            print(f'{session.answerer}: ', end='', flush=True)
            with contextlib.closing(session.reply(line)) as pieces:
                for piece in pieces:
                    print(CONTROL.sub('\ufffd', piece), end='', flush=True)
        except KeyboardInterrupt:
            print(' ...', end='')
        print()
        if session.first > dropped:
            dropped = session.first
            print(f'(the model no longer sees the first {dropped} turns: its {session.generator.hparams.n_ctx} tokens are full)')
        if session.cut:
            print(f'(your last message is longer than what the model can see: its first {session.cut} tokens were left out)')


def main():
    args = parse_arguments()
    place = files.find_model(args.model_name, args.models_dir, args.run_name, args.checkpoint_dir)
    generator, weights = generators.open_generator(place, args.models_dir, args.precision, args.verbose)
    session = open_session(args, place, generator)
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):                       # Windows has its own line editing
            import readline                                          # noqa: F401  editing and history for input()
    you = '' if session.me == 'You' else f'You are {session.me}, '
    print(f'{you}{session.answerer} answers ({weights}). {args.end_command} or Ctrl-D ends the chat.')
    converse(session, args.end_command)


if __name__ == '__main__':
    console.tune_malloc()
    console.run(main)

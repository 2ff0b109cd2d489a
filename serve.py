#!/usr/bin/env python3
"""Answer in the browser, and to programs that speak OpenAI's API.

    python serve.py --run_name run1             the page at http://127.0.0.1:8000, the API at http://127.0.0.1:8000/v1

Many may ask at once: their texts are made together. Other machines are let in by --host 0.0.0.0 and --token. Ctrl-C or SIGTERM lets what
is being written come to its end.
"""
import argparse
import contextlib
import errno
import os
import signal
import socket

from src import console, files, flags, generators
from src.console import UsageError, UserError, in_line


def port(text):
    """argparse type: a port's number; 0: any that is free."""
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f'{value} is out of range: a whole number from 0 to 65535')
    return value


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    add = parser.add_argument_group('who answers').add_argument
    flags.model(add)
    flags.people(add, 'asks')
    flags.folders(add)

    add = parser.add_argument_group('how it answers, where a request does not say').add_argument
    flags.drawing(add)
    flags.precision(add)

    add = parser.add_argument_group('where, and for whom').add_argument
    add('--host', default='127.0.0.1', metavar='ADDRESS', help='where to listen; another than this machine itself needs a token')
    add('--port', type=port, default=8000, metavar='N', help='0: any that is free')
    add('--token', default=os.environ.get('SERVE_TOKEN'), metavar='WORD',
        help='what requests must show as Authorization: Bearer WORD; default: what SERVE_TOKEN holds in the environment, where no list of processes shows it')
    add('--cors_origin', action='append', default=[], metavar='ORIGIN', help='pages of https://another.site may ask too; may be given several times')

    add = parser.add_argument_group('limits').add_argument
    add('--batch_size', type=console.positive_int, default=16, metavar='N', help='texts that are made at once; also how many one request may ask for')
    add('--queue', type=console.count, default=64, metavar='N', help='texts that may wait for a place')
    add('--max_tokens', type=console.positive_int, metavar='TOKENS', help='that a request may ask for; default: half of n_ctx')
    add('--max_body', type=console.positive_int, default=1 << 20, metavar='BYTES', help='of a request')
    add('--timeout', type=console.positive_float, default=300.0, metavar='SECONDS', help='that a request may take; then its text ends where it is')
    add('--verbose', action='store_true', help="show each request's address and status, and TensorFlow's own messages")
    return parser.parse_args()


def listener(host, port):
    """A socket bound to the address. Raises UserError where that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        why = {errno.EADDRINUSE: 'another program listens there; stop it, or choose another --port',
               errno.EACCES: "ports below 1024 are the system's; choose another --port",
               errno.EADDRNOTAVAIL: 'this machine has no such address; choose another --host'}
        raise UserError(f'{host}:{port}: {why.get(error.errno, "there is no such address; check --host and --port")}.') from None
    return bound


def serve(args):
    try:
        from src import server
    except ModuleNotFoundError as error:
        raise UserError(f'serve.py needs the package {error.name}: pip install -r requirements-serve.txt') from None
    if args.token is None and not server.loopback(args.host):
        raise UsageError(f'--host {args.host} lets other machines in: give --token too, or SERVE_TOKEN in the environment.')
    if args.token is not None and not (args.token.isascii() and args.token.isprintable() and args.token.strip() == args.token != ''):
        raise UsageError('--token must be one word or more of plain letters, digits and signs.')
    from src import api, chat, scheduler
    with listener(args.host, args.port) as bound:
        place = files.find_model(args.model_name, args.models_dir, args.run_name, args.checkpoint_dir)
        generator, weights = generators.open_generator(place, args.models_dir, args.precision, args.verbose, drafted=False)        # steps are shared by all
        session = chat.open_session(place, generator, me=args.me, answerer=args.answerer, style=args.style, temperature=args.temperature,
                                    top_k=args.top_k, top_p=args.top_p)
        n_ctx = generator.hparams.n_ctx
        most = args.max_tokens or n_ctx // 2
        if most > n_ctx // 2:
            raise UsageError(f'--max_tokens {most} leaves no room for the conversation: this model sees {n_ctx} tokens, so at most {n_ctx // 2}.')
        session.length = min(session.length, most)
        people = session.people if session.style.speakers is None else []
        name = args.run_name or os.path.basename(os.path.normpath(files.folder_of(place)))
        served = server.Served(name, session, people or [session.answerer, session.me],
                               api.Limits(n_ctx, generator.hparams.n_vocab, most, args.batch_size))
        try:
            engine = scheduler.Scheduler(generator, args.batch_size, args.queue)
            engine.get_ready()
        except MemoryError:
            raise UsageError(f'--batch_size {args.batch_size}: the memory does not hold what so many texts have said; give less.') from None
        app = server.make_app(served, engine, token=args.token, timeout=args.timeout, max_body=args.max_body, cors_origin=args.cors_origin)
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn stops in good order, and then raises them once more
            signal.signal(number, lambda *_: None)
        bound.listen(128)
        host, port = bound.getsockname()[:2]
        print(f'http://{f"[{host}]" if ":" in host else host}:{port} answers as {in_line(session.answerer)} ({weights}). Ctrl-C ends it.', flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.Server(app, engine, args.verbose).run([bound])


if __name__ == '__main__':
    console.start_tuned()
    console.run(lambda: serve(parse_arguments()))

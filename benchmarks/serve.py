"""What serve.py gives to 1, 4 and 16 who ask at once: tokens a second of all together, and how long each waits.

    python benchmarks/serve.py [--rounds 3] [--tokens 96] [--precision int8]

124M of random weights, which decide nothing here, behind HTTP: every stream is a request of its own with a prompt of 60 tokens of its own, all at
the same moment. First words: from the request to the first of them; whole: to the last. The clients run on the same machine and take their part
of it. Machines differ and change from hour to hour: the column of one stream is what the others compare with.
"""
import argparse
import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]

STREAMS = (1, 4, 16)                                    # at once
PROMPT = 60                                             # tokens


@contextlib.contextmanager
def serving(*flags):
    """serve.py with these flags -> its port."""
    with subprocess.Popen([sys.executable, os.path.join(ROOT, 'serve.py'), '--port', '0', *flags], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(re.search(r'http://[^ ]*:(\d+) ', process.stdout.readline())[1])
        finally:
            process.terminate()


async def ask(port, seed, tokens):
    """One stream -> (tokens made, seconds to its first words, seconds to its end)."""
    prompt = np.random.default_rng(seed).integers(50256, size=PROMPT).tolist()
    body = json.dumps({'prompt': prompt, 'max_tokens': tokens, 'seed': seed, 'stream': True, 'stream_options': {'include_usage': True}}).encode()
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(b'POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n' % len(body) + body)
    found, first = b'', None
    while b'[DONE]' not in found:
        found += await reader.read(65536)
        if first is None and b'data:' in found:
            first = time.perf_counter() - start
    writer.close()
    made = int(re.search(rb'"completion_tokens": (\d+)', found)[1])
    return made, first, time.perf_counter() - start


async def together(port, streams, tokens, seed):
    """Streams at the same moment -> (tokens a second of all, [seconds to first words], [seconds to the end])."""
    start = time.perf_counter()
    made, first, whole = zip(*await asyncio.gather(*(ask(port, seed + i, tokens) for i in range(streams))))
    return sum(made) / (time.perf_counter() - start), first, whole


def main():
    import road

    from src import console
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--rounds', type=console.positive_int, default=3, metavar='N', help='of each number of streams, whose median is shown')
    parser.add_argument('--tokens', type=console.positive_int, default=96, metavar='N', help='that each stream asks for')
    parser.add_argument('--precision', default='auto', help='as for serve.py')
    parser.add_argument('--models_dir', metavar='PATH', help='a folder with a model 124M; default: one is made, of random weights')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        if args.models_dir is None:
            road.make_model(work)
        with serving('--models_dir', args.models_dir or work, '--precision', args.precision) as port:
            results = {streams: [] for streams in STREAMS}
            for round_ in range(args.rounds + 1):       # the first one warms up
                for streams in STREAMS:
                    found = asyncio.run(together(port, streams, args.tokens if round_ else 8, seed=100 * round_))
                    results[streams] += [found] * (round_ > 0)
    print(f'{"streams":>8}{"tokens/s":>10}{"of one":>8}{"first words, s":>22}{"whole, s":>22}{"longest/shortest":>20}')
    for streams, found in results.items():
        rate = statistics.median(rate for rate, _, _ in found)
        one = statistics.median(rate for rate, _, _ in results[1])
        first, whole = (sorted(seconds for times in found for seconds in times[i]) for i in (1, 2))
        spread = max(max(times[2]) / min(times[2]) for times in found)
        print(f'{streams:8}{rate:10.0f}{rate / one:8.1f}' + ''.join(f'{times[0]:14.2f} to {times[-1]:4.2f}' for times in (first, whole)) + f'{spread:20.2f}')


if __name__ == '__main__':
    main()

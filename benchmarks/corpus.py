"""A corpus larger than memory: how long it takes to open, how fast batches come from it, and what memory that needs.

    python benchmarks/corpus.py [--gigabytes 10] [--batches 2000]

Makes shards of tokens in a temporary folder (TMPDIR says where), about as compressible as English is, a first one which is then copied, and
removes them. Each kind is opened as train.py opens it, by a process of its own that has imported TensorFlow, and gives batches of 4 x 1024
tokens at random; last comes a corpus that fits into memory. Linux tells the peak memory; what was read before may still be in its cache.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]
from road import measure                                                # noqa: E402

from src import console                                                # noqa: E402

SHARD = 1_000_000_000                                                   # bytes of tokens, two each
SMALL, SHORT = 25_000, 100                                              # bytes of a chunk as encode.py makes it of small texts; tokens of a conversation

MAKE = """
import io, json, sys, zipfile
import numpy as np
path, size, member, kind, conversations = sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:]
draw = np.random.default_rng(0)
tokens = np.minimum(draw.zipf(1.2, 1 << 22), 50255).astype(np.uint16)
owners = np.zeros(len(tokens), np.int16)
if conversations:                                       # of {short} tokens, turns of 10 in turn: a header of 2, and 8 words
    at = np.arange(len(tokens)) % {short}
    owners = np.where(at == {short} - 1, 0, (1 + at // 10 % 2) * np.where(at % 10 < 2, -1, 1)).astype(np.int16)
    tokens[at == {short} - 1] = 50256
def block(numbers, n, start):
    while n:
        part = numbers[start % len(numbers):][:n]
        yield part.tobytes()
        n, start = n - len(part), start + len(part)
with zipfile.ZipFile(path, 'w', {{'stored': zipfile.ZIP_STORED, 'deflated': zipfile.ZIP_DEFLATED}}[kind], compresslevel=1) as archive:
    for i in range(max(1, size // member)):
        for name, numbers in [('arr', tokens)] + [('owners', owners)] * bool(conversations):
            with archive.open(f'{{name}}_{{i}}.npy', 'w', force_zip64=True) as npy:
                np.lib.format.write_array_header_1_0(npy, {{'descr': numbers.dtype.str, 'fortran_order': False, 'shape': (member // 2,)}})
                for data in block(numbers, member // 2, {short} * 97 * i):
                    npy.write(data)
    if conversations:
        data = json.dumps({{'style': 'name', 'speakers': ['A', 'B'], 'turns': [1, 1]}}).encode()
        np.lib.format.write_array(note := io.BytesIO(), np.frombuffer(data, np.uint8))
        archive.writestr('dialogue.npy', note.getvalue())
""".format(short=SHORT)

READ = """
import json, resource, sys, time
from src import console
console.import_tensorflow()
from src import batches, dataset
class Vocabulary:
    n_vocab, eot, special_tokens = 50257, 50256, {}
    def extended(self, names): return self
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
found = {'tensorflow': peak()}
path, windows, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
start = time.perf_counter()
loaded = dataset.load_corpus(Vocabulary(), path, say=lambda sentence: None)
sampler = loaded.sampler(1, windows)
found |= {'opening': time.perf_counter() - start, 'tokens': sampler.total_size, 'chunks': len(loaded.chunks)}
reader = batches.Batches(sampler, 4, 1024, Vocabulary.n_vocab)
reader.next()
times = []
for _ in range(n):
    start = time.perf_counter()
    reader.next()
    times.append(time.perf_counter() - start)
print(json.dumps(found | {'mean': sum(times) / n, 'worst': sorted(times)[n * 99 // 100], 'peak': peak()}))
"""

KINDS = (
    # what it is; of its shards: bytes of a member (0: one of the whole shard), how it is stored, whether it is conversations; the windows
    ('small chunks, compressed', SMALL, 'deflated', '', 'tokens'),
    ('large chunks, as encode.py writes them', 0, 'stored', '', 'tokens'),
    ('large chunks, compressed', 0, 'deflated', '', 'tokens'),
    ('conversations, large chunks', 0, 'stored', 'yes', 'turns'),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--gigabytes', type=console.positive_float, default=10.0, metavar='GB', help='of tokens, two bytes each')
    parser.add_argument('--batches', type=console.positive_int, default=2000, metavar='N', help='batches that are drawn')
    args = parser.parse_args()
    shards = max(1, round(args.gigabytes * 1e9 / SHARD))
    size = int(args.gigabytes * 1e9 / shards)
    with tempfile.TemporaryDirectory() as work:
        needed, free = 3.6e9 * args.gigabytes, shutil.disk_usage(work).free        # conversations: owners as well, and where turns lie
        if needed > free:
            raise console.UserError(f'{work} has {free / 1e9:.0f} GB free, but this takes {needed / 1e9:.0f}: give fewer --gigabytes, or set TMPDIR.')
        print(f'{"":42}{"tokens, 1e9":>12}{"chunks":>10}{"opening, s":>12}{"ms a batch":>12}{"99 of 100":>11}{"batches/s":>11}{"peak MB":>9}{"TensorFlow":>12}')
        for name, member, kind, conversations, windows in (*KINDS, ('small chunks, in memory', SMALL, 'deflated', '', 'tokens')):
            small = name.endswith('in memory')
            folder = os.path.join(work, 'shards')
            os.mkdir(folder)
            one = min(size, 20_000_000) if small else size
            measure('-c', MAKE, os.path.join(folder, '0.npz'), str(one), str(member or one), kind, conversations, cwd=ROOT)
            for i in range(1, 1 if small else shards):
                shutil.copyfile(os.path.join(folder, '0.npz'), os.path.join(folder, f'{i}.npz'))
            _, _, output = measure('-c', READ, os.path.join(folder, '*.npz'), windows, str(args.batches), cwd=ROOT)
            found = json.loads(output.splitlines()[-1])
            print(f'{name:42}{found["tokens"] / 1e9:12.2f}{found["chunks"]:10}{found["opening"]:12.1f}{found["mean"] * 1e3:12.2f}{found["worst"] * 1e3:11.2f}'
                  f'{1 / found["mean"]:11.0f}{found["peak"]:9.0f}{found["tensorflow"]:12.0f}', flush=True)
            shutil.rmtree(folder)


if __name__ == '__main__':
    console.run(main)

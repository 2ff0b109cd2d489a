"""Makes models/demo/encoder.json and vocab.bpe: a small byte-level BPE in GPT-2's own file formats, learnt from demo/exports.

    python demo/make_vocabulary.py          needs requirements-dev.txt; the files it makes are committed

Ids are laid out as in GPT-2: the 256 bytes in the order of bytes_to_unicode, the merges in order, <|endoftext|> last.
"""
import json
import os
import sys

from tokenizers import ByteLevelBPETokenizer

root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, root)
from src import dialogue, files, readers                            # noqa: E402
from src.encoder import END_OF_TEXT, bytes_to_unicode, write_merges # noqa: E402

N_VOCAB = 2048


def main():
    tokenizer = ByteLevelBPETokenizer()
    texts = (dialogue.STYLES['name'].render(thread).replace(END_OF_TEXT, '') for thread in readers.read(os.path.join(root, 'demo', 'exports')))
    tokenizer.train_from_iterator(texts, vocab_size=N_VOCAB - 1, min_frequency=2)
    merges = [tuple(pair) for pair in json.loads(tokenizer.to_str())['model']['merges']]
    tokens = [*bytes_to_unicode().values(), *(left + right for left, right in merges), END_OF_TEXT]
    if len(tokens) != N_VOCAB or len(set(tokens)) != N_VOCAB:
        sys.exit(f'{len(set(tokens))} different tokens of {len(tokens)}, {N_VOCAB} were wanted')

    folder = os.path.join(root, 'models', 'demo')
    with files.whole(os.path.join(folder, 'encoder.json'), 'w', encoding='utf-8') as file:
        json.dump({token: i for i, token in enumerate(tokens)}, file)
    write_merges(os.path.join(folder, 'vocab.bpe'), (f'{left} {right}' for left, right in merges))


if __name__ == '__main__':
    main()

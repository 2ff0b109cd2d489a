#!/usr/bin/env python3
"""Pack text into token chunks (.npz) that train.py reads many times faster than text; of conversations, with whose each token is.

    python encode.py corpus.txt corpus.npz
    python encode.py chats/ corpus.npz --model_name 355M
"""
import argparse
import os
import zipfile

from tqdm import tqdm

from src import console, dataset, files
from src.console import UsageError
from src.encoder import get_encoder


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('in_text', help='a text file, a folder, or a glob; .npz files are passed through')
    parser.add_argument('out_npz', help='the file to write; of what is there, only an npz is overwritten')
    parser.add_argument('--model_name', default='124M', help='the model whose vocabulary to use')
    parser.add_argument('--models_dir', default='models', help='the folder of the models')
    parser.add_argument('--combine', type=console.count, default=50000, metavar='CHARS',
                        help='texts are joined by <|endoftext|> until there are so many characters in a chunk')
    parser.add_argument('--encoding', default='utf-8', help='the encoding of the text')
    parser.add_argument('--legacy_endoftext', action='store_true',
                        help='write <|endoftext|> as seven ordinary tokens, as the original did, not as the one token that GPT-2 knows')
    parser.add_argument('--plain', action='store_true',
                        help='write tokens only, as the original and its forks read them, also of conversations (train.py then knows nothing of who speaks)')
    return parser.parse_args()


def check_output(path, inputs):
    """Raise UsageError where somebody's text would be overwritten: one of the inputs, or a file that is no npz, neither by its name nor by what is in it."""
    if files.is_one_of(path, inputs):
        raise UsageError(f'{path} is one of the files to read and would be overwritten: '
                         'name one file, folder or pattern in quotes to read, and then another file to write.')
    if os.path.isfile(path) and os.path.getsize(path) and not path.endswith('.npz') and not is_npz(path):
        raise UsageError(f'{path} is there and is no npz: name another file to write, such as {os.path.splitext(path)[0]}.npz.')


def is_npz(path):
    """Whether a file is a zip of arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith('.npy') for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def main():
    args = parse_arguments()
    check_output(args.out_npz, files.expand(args.in_text))
    enc = get_encoder(args.model_name, args.models_dir)
    print('Reading files')
    with tqdm(unit='B', unit_scale=True, disable=None) as bar:
        corpus = dataset.Corpus(enc, args.in_text, args.combine, args.encoding, args.legacy_endoftext, progress=bar.update, plain=args.plain, say=bar.write)
        bar.reset(total=corpus.size)
        print('Writing', args.out_npz)
        n_tokens, n_chunks = dataset.write_npz(args.out_npz, corpus)
    print(f'{n_tokens} tokens in {n_chunks} chunk{"s" * (n_chunks != 1)}')
    if corpus.dialogue:
        speakers = dataset.ranked(corpus.dialogue)
        print(f'conversations in the style "{corpus.style.name}" between {", ".join(speakers[:8])}{" ..." if len(speakers) > 8 else ""}')


if __name__ == '__main__':
    console.run(main)

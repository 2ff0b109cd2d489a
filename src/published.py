"""The datasets on which GPT-2 was published: how to know them, how to read them, and what the paper found.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", table 3 (zero-shot results) and section 3.1. The files are not ours to
give: who has them names them with --data.

    wiki.test.tokens        = Robert <unk> =                                    a line is a paragraph; words, marks and @-@ stand apart
    ptb.test.txt            no it was n't black monday                          lower case, N for numbers, no marks
    lambada_test.jsonl      {"text": "... and her face to her side."}           the last word is to be foretold
    lambada_..._text.txt    `` is n't it ? '' she asked                         the same as its authors have it
    enwik8, text8           bytes of Wikipedia's XML; a to z and blanks

Perplexity is then per unit of the dataset itself: exp(-log P of the whole text / number of units). On WikiText and the Penn Treebank these are
words, marks and line ends as the file has them; the model reads the text as people write it (section 3.1's "invertible de-tokenizers"), of
which the probability is the same as of the file's, for each can be made of the other.
"""
import json
import os
import re
from typing import NamedTuple

from .console import UserError
from .readers.tokenized import untokenize

SIZES = ('117M', '345M', '762M', '1542M')               # as the paper calls 124M, 355M, 774M and 1558M
LOOKED_AT = 1 << 20                                     # characters that tell a dataset


class Benchmark(NamedTuple):
    """title: as the paper has it. unit: of which its perplexity is: 'word', 'byte', 'last word'. results: {what: its numbers for SIZES}, whose keys
    are those of the results here. rule: what is counted, in a sentence."""
    title: str
    unit: str
    results: dict
    rule: str


WORDS_AND_LINES = 'per word as the file has them, line ends included; the model reads the text without the spaces that the file puts around marks'
BENCHMARKS = {
    'lambada': Benchmark('LAMBADA', 'last word', {'perplexity': (35.13, 15.60, 10.87, 8.63), 'accuracy': (0.4599, 0.5548, 0.6012, 0.6324)},
                         'of the last word alone, right when every token of it is the likeliest; the paper\'s accuracy leaves out stop words as answers '
                         '(section 3.3), this one does not, and is lower for it; the model reads the text without the spaces that the file may have around marks'),
    'wikitext2': Benchmark('WikiText2', 'word', {'word_perplexity': (29.41, 22.76, 19.93, 18.34)}, WORDS_AND_LINES),
    'ptb': Benchmark('PTB', 'word', {'word_perplexity': (65.85, 47.33, 40.31, 35.76)}, WORDS_AND_LINES + '; 1 for N'),
    'enwik8': Benchmark('enwik8', 'byte', {'bits_per_byte': (1.16, 1.01, 0.97, 0.93)}, 'bits per byte of the file'),
    'text8': Benchmark('text8', 'byte', {'bits_per_byte': (1.17, 1.06, 1.02, 0.98)}, 'bits per character of the file'),
    'wikitext103': Benchmark('WikiText103', 'word', {'word_perplexity': (37.50, 26.37, 22.05, 17.48)}, WORDS_AND_LINES),
    '1bw': Benchmark('1BW', 'word', {'word_perplexity': (75.20, 55.72, 44.575, 42.16)}, WORDS_AND_LINES),
}
APART = re.compile(r" (?='(?:s|m|d|re|ve|ll)\b)| (?=n't\b)")                    # it 's, was n't
CUT = re.compile(r"(?<= )(?:[.,?!;:]|``|''|n't|'(?:s|m|d|re|ve|ll))(?= )")       # a token where people write no space in front
QUOTES = re.compile(r"`` ?| ?''")
NUMBER = re.compile(r'(?<=\s)N(?=\s)')


def recognise(path, text):
    """Which of BENCHMARKS the file is, by its name and its beginning, or None."""
    name = os.path.basename(path).lower()
    for key in ('lambada', 'enwik8', 'text8'):
        if name.startswith(key):
            return key
    if name.startswith('news.en') and 'heldout' in name:
        return '1bw'
    text = text[:LOOKED_AT]
    if '<unk>' not in text:
        return None
    if re.search(r'^ = [^=\n]+ = $', text, re.M) and ' @-@ ' in text:
        return 'wikitext2' if text.count('<unk>') > 0.012 * len(text.split()) else 'wikitext103'       # 2 and 103: the same articles, another vocabulary
    return 'ptb' if NUMBER.search(text) and NUMBER.sub('', text).islower() else None


def read(key, text):
    """The text of a file -> (what the model reads, how many units the file has; None: its bytes are the units)."""
    if BENCHMARKS[key].unit != 'word':
        return text, None
    lines = text.split('\n')
    units = len(text.split()) + len(lines) - 1                                  # a line end is a token of the dataset, <eos>
    return '\n'.join(_WRITTEN[key](line.strip(' ')) for line in lines), units


def _wikitext(line):
    line = re.sub(r' @([-,.])@ ', r'\1', line)
    if line.startswith('= '):
        return re.sub('(?<==) (?==)', '', line)                                 # = = Plot = = -> == Plot ==
    return APART.sub('', untokenize(line))


def _ptb(line):
    return APART.sub('', untokenize(re.sub(r'(?<!\S)N(?!\S)', '1', line)))


def _news(line):
    return APART.sub('', untokenize(line))


_WRITTEN = {'wikitext2': _wikitext, 'wikitext103': _wikitext, 'ptb': _ptb, '1bw': _news}


def passages(path, text):
    """LAMBADA's passages, one a line, as {"text": ...} or as they are -> [(what is read, the last word with the blank in front of it)].

    Raises UserError for a line that is neither, or has a single word.
    """
    found = []
    for number, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            continue
        passage = line
        if line.lstrip().startswith('{'):
            try:
                passage = json.loads(line)['text']
                if not isinstance(passage, str):
                    raise TypeError
            except (ValueError, KeyError, TypeError):
                raise UserError(f'{path}: line {number} is no passage: {{"text": "..."}} is how it looks, or the passage as it is.') from None
        context, blank, word = passage.rstrip().rpartition(' ')
        if not context.strip():
            raise UserError(f'{path}: line {number} has a single word: a passage has words in front of the last one.')
        context = context.rstrip(' ')
        if context.endswith('``') or APART.match(blank + word):        # people write no blank there
            blank = ''
        found.append((APART.sub('', untokenize(QUOTES.sub('"', context))) if CUT.search(context) else context, blank + word))
    if not found:
        raise UserError(f'{path} holds no passages.')
    return found

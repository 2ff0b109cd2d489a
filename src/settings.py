"""How the next token is drawn: the settings, what they can be, and the random numbers."""
import numbers
import sys
from typing import NamedTuple

import numpy as np

from .console import UsageError


REMOVED = -1e10                                         # the logit of a token that was taken out, as in the original
SPREAD = 0x9e3779b1, 0x85ebca6b, 0xc2b2ae35             # of choose.hashed: 2^32 / golden ratio, and MurmurHash3's two (A. Appleby, fmix32)


class Settings(NamedTuple):
    """How a row is sampled: numbers, or in logits.by_row's result tensors [batch]. The defaults are the plain distribution."""
    temperature: float = 1.0                            # divides the logits; 0: always the most likely token
    top_k: int = 0                                      # only the k most likely; 0: off
    top_p: float = 1.0                                  # only the most likely that together reach p; 0 and 1: off
    min_p: float = 0.0                                  # only those at least min_p times as likely as the most likely; 0: off
    typical_p: float = 1.0                              # only the most typically surprising that together reach it; 0 and 1: off
    repetition_penalty: float = 1.0                     # above 1: what was said, the prompt included, becomes less likely; 1: off
    frequency_penalty: float = 0.0                      # taken from a logit for each time its token was generated; 0: off
    presence_penalty: float = 0.0                       # taken from a logit once its token was generated; 0: off
    no_repeat_ngram_size: int = 0                       # no run of this many tokens comes twice; 0: off
    min_length: int = 0                                 # tokens to generate before one may stop; 0: off


def check_settings(temperature=1, top_k=0, top_p=1, length=1, batch_size=1, nsamples=1, seed=None, *, min_p=0, typical_p=1, repetition_penalty=1,
                   frequency_penalty=0, presence_penalty=0, no_repeat_ngram_size=0, min_length=0):
    """Raise UsageError for a sampling setting that cannot be."""
    def whole(least):
        return lambda v: v >= least and v % 1 == 0

    def between(low, high):
        return lambda v: low <= v <= high

    finite = sys.float_info.max
    for name, value, fits, needs in (('temperature', temperature, between(0, finite), 'a number from 0 (greedy) up'),
                                     ('top_k', top_k, whole(0), 'a whole number from 0 (off) up'),
                                     ('top_p', top_p, between(0, 1), 'a number from 0 to 1 (both: off)'),
                                     ('min_p', min_p, between(0, 1), 'a number from 0 (off) to 1'),
                                     ('typical_p', typical_p, between(0, 1), 'a number from 0 to 1 (both: off)'),
                                     ('repetition_penalty', repetition_penalty, between(0.01, finite), 'a number from 0.01 up (1: off)'),
                                     ('frequency_penalty', frequency_penalty, between(-2, 2), 'a number from -2 to 2 (0: off)'),
                                     ('presence_penalty', presence_penalty, between(-2, 2), 'a number from -2 to 2 (0: off)'),
                                     ('no_repeat_ngram_size', no_repeat_ngram_size, whole(0), 'a whole number from 0 (off) up'),
                                     ('min_length', min_length, whole(0), 'a whole number from 0 (off) up'),
                                     ('length', length, whole(1), 'a whole number of tokens from 1 up'),
                                     ('batch_size', batch_size, whole(1), 'a whole number from 1 up'),
                                     ('nsamples', nsamples, whole(0), 'a whole number from 0 up'),
                                     ('seed', 0 if seed is None else seed, whole(float('-inf')), 'a whole number')):
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not fits(value):
            raise UsageError(f'--{name} {value} is out of range: it takes {needs}.')


def fresh_seed():
    """A random seed from the system."""
    return int(np.random.SeedSequence().entropy % 2 ** 31)


class Draw:
    """Random numbers of a row: NumPy's generator seeded with seed (a whole number, or a list of them; None: random) and row."""

    def __init__(self, seed, row=0):
        seeds = [int(s) for s in np.ravel(fresh_seed() if seed is None else seed)]
        negative = tuple(i for i, s in enumerate(seeds) if s < 0)       # NumPy takes none: what it is seeded with beside their absolute values
        self._random = np.random.default_rng(np.random.SeedSequence([*map(abs, seeds), row], spawn_key=negative))

    def __call__(self, steps):
        """[steps, 2] uint32: a key for each token."""
        return self._random.integers(1 << 32, size=[steps, 2], dtype=np.uint32)

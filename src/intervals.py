"""How sure a number is that was found on so many texts: the bootstrap (Efron 1979, section 2).

    12 replies -> drawn again, 12 of them with repeats, a thousand times -> the number each time -> where 95 of 100 of those lie
"""
from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95


class Estimate(NamedTuple):
    """A number with the ends of its interval; the ends are None where there is too little to tell."""
    value: float
    low: float | None = None
    high: float | None = None


def estimate(n, statistic, seed=0, *, resamples=RESAMPLES, centred=False, limits=(0, 1)):
    """The Estimate of statistic(indices of n texts), or None where it is not defined (NaN) for all of them.

    centred: for shares of different words. A text that is drawn twice adds none, which pulls them down: then the spread of what is found counts, around
    the number itself, and not where it lies, within the limits of what it can be. The same seed draws the same texts, whatever the statistic.
    """
    value = float(statistic(np.arange(n)))
    if np.isnan(value):
        return None
    draws = np.random.default_rng(seed).integers(n, size=[resamples, n])
    found = np.array([statistic(draw) for draw in draws], np.float64)
    found = found[~np.isnan(found)]
    if n < 2 or not len(found):
        return Estimate(value)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    if centred:
        low, high = np.clip([low + value - found.mean(), high + value - found.mean()], *limits)
    return Estimate(value, float(low), float(high))


def ratio(above, below):
    """The statistic sum(above) / sum(below) over the texts drawn; above, below [n]. NaN where nothing is below."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)

    def statistic(drawn):
        total = below[drawn].sum()
        return above[drawn].sum() / total if total else np.nan
    return statistic

"""Thresholds on scores of normal samples: below which a given share of new ones will be."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from hourglass.errors import HourglassWarning

Scores = NDArray[np.float64]


def supports(rate: float, count: int) -> bool:
    """Whether so many scores say where a share `rate` of new ones will be below: the least of m does for 1 / (m + 1)."""
    return rate * (count + 1) >= 1 - 1e-9


def above(score: float) -> float:
    """The least threshold that calls `score`, to the four decimals of all scores, an anomaly."""
    return float(score) + 5e-5


def bound(scores: Scores, rate: float) -> float:
    """What a share `rate` of new scores like the sorted `scores` (m,) will be below, at most.

    It lies just above the k-th of them, k = ⌊rate (m + 1)⌋, which holds that on average over all such sets (a conformal bound;
    Vovk et al. 2005). Where m is too small for it, the bound of a normal distribution of unknown mean and variance (a
    Student's t) takes its place, if it lies below the least, and a HourglassWarning says so.
    """
    if supports(rate, len(scores)):
        return above(scores[math.floor(rate * (len(scores) + 1) + 1e-9) - 1])
    supported = 1 / (len(scores) + 1)
    words = (
        f"{len(scores)} normal samples that are not trained on support a false positive rate of {supported:.2g}, not {rate:.2g}"
    )
    warnings.warn(
        f"{words}: the threshold assumes a normal distribution. More samples will tell.", HourglassWarning, stacklevel=2
    )
    if len(scores) < 2:
        return float(scores[0])
    reach = stdtrit(len(scores) - 1, rate) * scores.std(ddof=1) * math.sqrt(1 + 1 / len(scores))
    return min(float(scores[0]), float(scores.mean() + reach))

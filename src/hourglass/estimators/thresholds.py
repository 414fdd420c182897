"""Thresholds for a given false positive rate, from scores of normal samples."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from hourglass.errors import HourglassWarning

Scores = NDArray[np.float64]


def supports(rate: float, count: int) -> bool:
    """Whether `count` scores determine the threshold of a false positive rate: it is at least 1 / (count + 1)."""
    return rate * (count + 1) >= 1 - 1e-9


def above(score: float) -> float:
    """The lowest threshold above `score`, which has four decimals."""
    return float(score) + 5e-5


def bound(scores: Scores, rate: float) -> float:
    """The threshold with a false positive rate of at most `rate`, given sorted `scores` (m,) of normal samples.

    It lies just above the k-th score, k = ⌊rate (m + 1)⌋, and holds on average over all such sets (conformal prediction; Vovk
    et al. 2005). If m is too small, it warns and uses the prediction bound of a normal distribution of unknown mean and
    variance (Student's t), or the lowest score if that is lower.
    """
    if supports(rate, len(scores)):
        return above(scores[math.floor(rate * (len(scores) + 1) + 1e-9) - 1])
    supported = 1 / (len(scores) + 1)
    words = f"{len(scores)} held-out normal samples support a false positive rate of {supported:.2g}, not {rate:.2g}"
    warnings.warn(
        f"{words}: the threshold assumes a normal distribution. Provide more samples.", HourglassWarning, stacklevel=2
    )
    if len(scores) < 2:
        return float(scores[0])
    reach = stdtrit(len(scores) - 1, rate) * scores.std(ddof=1) * math.sqrt(1 + 1 / len(scores))
    return min(float(scores[0]), float(scores.mean() + reach))

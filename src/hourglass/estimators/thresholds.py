"""Thresholds for a given false positive rate, from scores of normal samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from hourglass.errors import DataError
from hourglass.notes import note

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
    note(f"{words}: the threshold assumes a normal distribution. Provide more samples.")
    if len(scores) < 2:
        return float(scores[0])
    reach = stdtrit(len(scores) - 1, rate) * scores.std(ddof=1) * math.sqrt(1 + 1 / len(scores))
    return min(float(scores[0]), float(scores.mean() + reach))


def known_anomalies(labels: Any, count: int) -> NDArray[np.bool_] | None:
    """Which of `count` training samples are labelled as anomalies, if fewer than half are; None for any other labels.

    Labels as in `between`. Others are those of classes, which scikit-learn's pipelines pass. Raises DataError for more labels
    or fewer than samples.
    """
    if labels is not None and np.asarray(labels).shape[:1] != (count,):
        raise DataError(f"y has shape {np.asarray(labels).shape}; {count} samples need {count} labels, or none.")
    found = None if labels is None else _anomalies(labels, count)
    return found if found is not None and 2 * found.sum() < count else None


def _anomalies(labels: Any, count: int) -> NDArray[np.bool_] | None:
    """Which labels stand for anomalies; None unless there are `count` of both kinds, 0 and 1 or -1 and 1."""
    given = np.asarray(labels)
    given = given.ravel() if given.shape == (count, 1) else given
    if given.shape != (count,) or given.dtype.kind not in "biuf":
        return None
    values = set(np.unique(given).tolist())
    return given == (1 if 0 in values else -1) if values in ({0, 1}, {-1, 1}) else None


def between(scores: Scores, labels: Any) -> float:
    """The threshold that best separates labelled samples: the largest difference of the rates of true and false positives.

    That is Youden's index (1950); of equally good thresholds the middle one, and between two scores their mean.

    Parameters
    ----------
    scores : ndarray (m,)
        Lower for anomalies.
    labels : array-like (m,)
        1 or True for anomalies and 0 for normal samples, as PyOD's; or -1 and 1, as scikit-learn's.

    Raises
    ------
    DataError
        For other labels, or if all samples are of one kind.
    """
    is_anomaly = _anomalies(labels, len(scores))
    if is_anomaly is None:
        given = np.asarray(labels)
        values = np.unique(given).tolist() if given.shape == scores.shape else []
        raise DataError(
            f"y must hold {len(scores)} labels of both kinds: 1 for anomalies and 0 for normal samples, or -1 and 1; it has "
            f"shape {given.shape}" + (f" and holds {values[:5]}." if values else ".")
        )
    order = np.argsort(scores, kind="stable")
    ranked, hits = scores[order], is_anomaly[order]
    gain = np.cumsum(hits / hits.sum() - ~hits / (~hits).sum())
    is_gap = np.append(np.diff(ranked) > 0, True)  # a threshold cannot part equal scores
    best = np.flatnonzero(is_gap & (gain >= gain[is_gap].max() - 1e-12))
    last = int(best[len(best) // 2])
    return above(ranked[-1]) if last == len(ranked) - 1 else float(ranked[last] + ranked[last + 1]) / 2

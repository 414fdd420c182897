"""How much evidence counts, by its power on synthetic anomalies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

from hourglass.anomaly.evidence import Scores


def power_of(normal: Scores, synthetic: Mapping[str, Scores]) -> dict[str, Scores]:
    """How well each kind of evidence tells synthetic anomalies from normal samples: AUROC (k,) by kind of anomaly.

    Parameters
    ----------
    normal : ndarray (n, k)
        Scores of normal samples by k kinds of evidence that were not learned from them.
    synthetic : dict of str to ndarray (m, k)
        Those of synthetic anomalies.
    """
    columns = range(normal.shape[1])
    return {
        kind: np.array([_auroc(normal[:, column], scores[:, column]) for column in columns])
        for kind, scores in synthetic.items()
    }


def weights_by_power(power: Mapping[str, Scores]) -> Scores:
    """Weights (k,) in proportion to what the mean AUROC exceeds chance; equal ones if none does."""
    gain = np.maximum(np.mean(list(power.values()), axis=0) - 0.5, 0)
    return gain / gain.sum() if gain.sum() > 0 else np.full(len(gain), 1 / len(gain))


def _auroc(normal: Scores, anomalies: Scores) -> float:
    """The area under the ROC curve, by Mann and Whitney's statistic."""
    ranks, n = rankdata(np.concatenate([normal, anomalies]))[len(normal) :], len(anomalies)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * len(normal)))

"""How much evidence counts, by its power on synthetic anomalies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.metrics import roc_auc_score

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
    power = {}
    for kind, scores in synthetic.items():
        is_synthetic = np.repeat([False, True], [len(normal), len(scores)])
        power[kind] = np.array([roc_auc_score(is_synthetic, column) for column in np.concatenate([normal, scores]).T])
    return power


KNOWN = "known"
"""The kind of real anomalies, beside the kinds of synthetic ones."""


def weights_by_power(power: Mapping[str, Scores]) -> Scores:
    """Weights (k,) in proportion to the mean AUROC less 0.5, that of random scores; equal ones if none is above it.

    Known anomalies count as much as all kinds of synthetic ones together.
    """
    sides = [[area for kind, area in power.items() if (kind == KNOWN) == is_known] for is_known in (False, True)]
    mean = np.mean([np.mean(side, axis=0) for side in sides if side], axis=0)
    gain = np.maximum(mean - 0.5, 0)
    return gain / gain.sum() if gain.sum() > 0 else np.full(len(gain), 1 / len(gain))

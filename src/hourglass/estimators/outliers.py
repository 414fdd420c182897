"""Base of the anomaly detector: from scores of samples to labels, probabilities and thresholds."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from hourglass.anomaly import KNOWN, Scores
from hourglass.data import Stream
from hourglass.errors import ParameterError
from hourglass.estimators.checks import as_given
from hourglass.estimators.documentation import documented_fit
from hourglass.estimators.downstream import Downstream
from hourglass.estimators.fitting import all_or_nothing
from hourglass.estimators.thresholds import above, between, bound, known_anomalies
from hourglass.notes import note
from hourglass.options import number
from hourglass.training import Callback

_MIN_FOR_MAXIMUM = 200


class OutlierDetector(OutlierMixin, Downstream):
    """Base of an estimator that scores how normal samples are, and labels those below a threshold.

    `_scores` gives the scores. `_learn` sets `normal_scores_` and `decision_scores_`, and calls `_set_offset`.
    """

    contamination: float | str | None
    quantile: float
    offset_: float
    labels_: NDArray[np.int64]
    decision_scores_: Scores
    normal_scores_: Scores
    synthetic_scores_: dict[str, Scores]
    _known: Any = None
    """Known anomalies, during `fit`."""

    @abstractmethod
    def _scores(self, samples: Any) -> Scores:
        """How normal each of the checked samples is."""

    @documented_fit
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Train a network on the normal samples of `X`, unless `from_autoencoder` gave one, and learn the evidence.

        If it is interrupted or fails, the estimator keeps its earlier state.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features), list of images of several sizes, or Stream
            Normal samples, uint8 in 0..255 or float in 0..1; features in any units.
        y : array-like (n,), optional
            1 for known anomalies and 0 for normal samples, or -1 and 1; see the class.
        {fit_parameters}

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        options: dict[str, Any] = {"callbacks": callbacks, "checkpoint": checkpoint, "resume": resume}
        given = as_given(X)
        shape = getattr(given, "shape", None) or (len(given) if isinstance(given, list) else 0,)
        is_known = None if isinstance(given, Stream) else known_anomalies(y, shape[0])
        if is_known is None:
            return super().fit(X, y, **options)
        words = f"{is_known.sum()} of {len(is_known)} samples are labelled as anomalies: they are not trained on"
        note(f"{words}, and choose weights and threshold.")
        with all_or_nothing(self):
            self._known = rows_of(given, np.flatnonzero(is_known))
            super().fit(rows_of(given, np.flatnonzero(~is_known)), **options)
            self._known = None
            scores = np.empty(len(is_known))
            scores[~is_known], scores[is_known] = self.decision_scores_, -self.synthetic_scores_[KNOWN]
            self.decision_scores_ = scores
            self._set_offset(self.offset_)
        return self

    def score_samples(self, X: Any) -> Scores:
        """How normal each sample is: float64 (n,), unbounded, about 0 ± 1 for normal samples, lower for anomalies.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self)
        return self._scores(self._check(X))

    def decision_function(self, X: Any) -> Scores:
        """`score_samples` less the threshold: negative for anomalies. float64 (n,).

        Raises
        ------
        NotFittedError, DataError
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """-1 for anomalies, 1 for normal samples: int (n,).

        Raises
        ------
        NotFittedError, DataError
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def predict_proba(self, X: Any, method: str = "linear") -> NDArray[np.float64]:
        """Outlier probability, as in PyOD: float64 (n, 2), columns normal and anomaly, which add up to 1.

        Parameters
        ----------
        X : array-like (n, *shape)
        method : {"linear", "unify"}
            "linear" scales the anomaly score to the range of the training samples. "unify" takes its probability in a normal
            distribution with their mean and deviation, above the mean (Kriegel et al. 2011). Neither is calibrated.

        Raises
        ------
        NotFittedError, DataError, ParameterError
        """
        scores, known = -self.score_samples(X), self.decision_scores_
        if method == "linear":
            share = (scores - known.min()) / max(float(np.ptp(known)), 1e-12)
        elif method == "unify":
            share = erf((scores - known.mean()) / (max(float(known.std()), 1e-12) * math.sqrt(2)))
        else:
            raise ParameterError(f'method={method!r}; allowed: "linear", "unify".')
        probability = np.clip(share, 0, 1)
        return np.stack([1 - probability, probability], axis=1)

    def set_threshold(
        self,
        offset: float | None = None,
        *,
        quantile: float | None = None,
        contamination: float | None = None,
        X: Any = None,
        y: Any = None,
    ) -> Self:
        """Reset the threshold without training: `offset_`, and so `predict`, `decision_function` and `labels_`.

        Parameters
        ----------
        offset : float, optional
            The threshold on `score_samples` itself.
        quantile : float in (0, 1), optional
            Replaces the constructor's argument.
        contamination : float in (0, 0.5], optional
            Replaces the constructor's argument.
        X : array-like (n, *shape), optional
            Normal samples that it was not trained on. `quantile` then applies to these, which become `normal_scores_`.
        y : array-like (n,), optional
            Labels of `X`, which then holds anomalies too: 1 for anomalies and 0 for normal samples as PyOD's, or -1 and 1 as
            scikit-learn's. The threshold is the one with the largest difference of true and false positive rates.

        Raises
        ------
        NotFittedError, DataError
        ParameterError
            For anything but one of `offset`, `quantile`, `contamination`, `X` with or without `quantile`, or `X` and `y`; if
            `offset` is not finite.
        """
        check_is_fitted(self)
        if y is not None:
            if X is None or not (offset is quantile is contamination is None):
                raise ParameterError("set_threshold takes y with X alone: labelled samples.")
            offset, X = between(self.score_samples(X), y), None
        if sum(given is not None for given in (offset, quantile, contamination)) + (X is not None and quantile is None) != 1:
            raise ParameterError("set_threshold takes one of offset, quantile, contamination; X goes with quantile, or alone.")
        if offset is not None and not number(-math.inf).admits(offset):
            raise ParameterError(f"offset={offset!r}; allowed: a finite number, on the scale of score_samples.")
        with all_or_nothing(self):
            if offset is None:
                self.quantile, self.contamination = (self.quantile if quantile is None else quantile), contamination
            self._check_parameters()
            if X is not None:
                self.normal_scores_ = np.sort(self.score_samples(X))
            self._set_offset(offset)
        return self

    def _offset_by_known(self) -> float | None:
        """The threshold between held-out normal samples and known anomalies, unless `contamination` sets it."""
        if self._known is None or self.contamination not in (None, "auto"):
            return None
        both = np.concatenate([self.normal_scores_, self.synthetic_scores_[KNOWN]])
        return between(both, np.arange(len(both)) >= len(self.normal_scores_))

    def _set_offset(self, offset: float | None = None) -> None:
        """Set `offset_`, from arguments and scores unless it is given, and `labels_`."""
        if offset is not None:
            self.offset_ = float(offset)
        elif self.contamination in (None, "auto"):
            self.offset_ = bound(self.normal_scores_, 1 - self.quantile)
            if len(self.decision_scores_) >= _MIN_FOR_MAXIMUM:  # at least one anomaly, as with scikit-learn's detectors
                self.offset_ = max(self.offset_, above(-self.decision_scores_.max()))
        else:
            self.offset_ = float(np.percentile(-self.decision_scores_, 100 * float(self.contamination or 0)))
        self.labels_ = (-self.decision_scores_ < self.offset_).astype(np.int64)


def rows_of(samples: Any, rows: NDArray[np.intp]) -> Any:
    """These rows of an array, or of a list of images."""
    if isinstance(samples, list):
        return [samples[row] for row in rows]
    return samples.iloc[rows] if hasattr(samples, "iloc") else samples[rows]

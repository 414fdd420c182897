"""Base of the anomaly detector: from scores of samples to labels, probabilities and thresholds."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from hourglass.anomaly import KNOWN, Scores
from hourglass.data import Stream
from hourglass.errors import ParameterError
from hourglass.estimators.checks import Pairs
from hourglass.estimators.downstream import Downstream
from hourglass.estimators.fitting import all_or_nothing
from hourglass.estimators.thresholds import above, between, bound, known_anomalies
from hourglass.notes import note
from hourglass.options import number

_EXPECTED = 3  # anomalies among the training samples: none of them is one with a probability of e⁻³, or 5 %
_MOST_RAISED = 5  # times the promised false positive rate


class OutlierDetector(OutlierMixin, Downstream):
    """Base of an estimator that scores how normal samples are, and labels those below a threshold.

    `_scores` gives the scores. `_learn` sets `normal_scores_`, `decision_scores_` and `synthetic_scores_`, then calls
    `_set_offset(self._join_known())`.
    """

    contamination: float | str | None
    quantile: float
    offset_: float
    labels_: NDArray[np.int64]
    decision_scores_: Scores
    normal_scores_: Scores
    synthetic_scores_: dict[str, Scores]
    _is_known: NDArray[np.bool_] | None = None
    _known: Any = None
    """Which training samples are known anomalies, and these; during `fit`."""

    @abstractmethod
    def _scores(self, samples: Any) -> Scores:
        """How normal each of the checked samples is."""

    def fit_predict(self, X: Any, y: Any = None, **options: Any) -> NDArray[np.int64]:
        """`fit`, then `predict` on the same samples: int (n,).

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        return self.fit(X, y, **options).predict(X)

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

    def _without_known(self, pairs: Pairs, y: Any) -> Pairs:
        targets = pairs.targets
        self._is_known = None if isinstance(targets, Stream) else known_anomalies(y, len(targets))
        if self._is_known is None:
            return pairs
        words = f"{self._is_known.sum()} of {len(targets)} samples are labelled as anomalies: they are not trained on"
        note(f"{words}, and choose weights and threshold.", 4)
        self._known = rows_of(targets, np.flatnonzero(self._is_known))
        return pairs._replace(targets=rows_of(targets, np.flatnonzero(~self._is_known)))

    def _join_known(self) -> float | None:
        """Give known anomalies their places among the training samples; return the threshold that they set.

        It is the one between them and held-out normal samples, unless `contamination` sets it, or they look most normal.
        """
        if self._is_known is None:
            return None
        known = self.synthetic_scores_[KNOWN]
        scores = np.empty(len(self._is_known))
        scores[~self._is_known], scores[self._is_known] = self.decision_scores_, -known
        self.decision_scores_ = scores
        if self._given is None:
            self.validation_rows_ = np.flatnonzero(~self._is_known)[self.validation_rows_]
        self._known = self._is_known = None
        if self.contamination not in (None, "auto"):
            return None
        both = np.concatenate([self.normal_scores_, known])
        offset = between(both, np.arange(len(both)) >= len(self.normal_scores_))
        if offset > both.max():
            note("the known anomalies score as normal as any sample, so they do not set the threshold: quantile does.")
            return None
        return offset

    def _set_offset(self, offset: float | None = None) -> None:
        """Set `offset_`, from arguments and scores unless it is given, and `labels_`."""
        if offset is not None:
            self.offset_ = float(offset)
        elif self.contamination in (None, "auto"):
            rate = 1 - self.quantile
            self.offset_ = bound(self.normal_scores_, rate)
            if rate * len(self.decision_scores_) >= _EXPECTED:
                # At least one anomaly, as scikit-learn expects of a detector; but the promised rate comes first.
                most = bound(self.normal_scores_, min(_MOST_RAISED * rate, 0.5 + rate / 2))
                self.offset_ = max(self.offset_, min(most, above(-self.decision_scores_.max())))
        else:
            self.offset_ = float(np.percentile(-self.decision_scores_, 100 * float(self.contamination or 0)))
        self.labels_ = (-self.decision_scores_ < self.offset_).astype(np.int64)


def rows_of(samples: Any, rows: NDArray[np.intp]) -> Any:
    """These rows of an array, or of a list of images."""
    return [samples[row] for row in rows] if isinstance(samples, list) else samples[rows]

"""The anomaly detector: how unlike the normal images is this one."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.base import OutlierMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from hourglass.errors import DataError
from hourglass.estimators.arguments import Shared
from hourglass.estimators.base import Downstream
from hourglass.estimators.documentation import documented
from hourglass.images import Array, Float32, to_float
from hourglass.latent import Mixture, fit_mixture

Scores = NDArray[np.float64]

_GAUSSIANS = 10  # of the mixture over the codes


@documented
class AnomalyDetector(OutlierMixin, Downstream):
    """Trained on normal samples alone, says how far others are from them.

    The score adds two things, each in standard deviations over normal samples that were held out: the error of the
    reconstruction, and how unlikely the code is under a mixture of Gaussians. Signs are scikit-learn's: greater is more normal.

    Parameters
    ----------
    contamination : float in (0, 0.5], optional
        Share of the training samples that are taken for anomalies, which sets the threshold. Without, `quantile` does.
    quantile : float in (0, 1)
        Share of held-out normal samples that the threshold calls normal: 1 - quantile is the expected rate of false alarms.

    {shared}
    offset_ : float
        The threshold on `score_samples`: below it is an anomaly.
    labels_ : ndarray (n,), int
        Of the training samples: 1 for anomalies, 0 for normal ones.
    decision_scores_ : ndarray (n,), float64
        Anomaly scores of the training samples, greater for stranger ones; -`score_samples`.
    density_ : Mixture
        Over the codes.

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits")
    >>> ones = digits.train.images[digits.train.labels == 1]
    >>> detector = hg.AnomalyDetector(random_state=0).fit(ones)
    >>> detector.score_samples(ones).mean() > detector.score_samples(digits.test.images).mean()
    np.True_
    """

    saved_as = "anomaly_detector"
    offset_: float
    labels_: NDArray[np.int64]
    decision_scores_: Scores
    density_: Mixture
    _learned = ("density_", "scale_", "offset_")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **Downstream._parameter_constraints,
        "contamination": [Interval(Real, 0, 0.5, closed="right"), None],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        contamination: float | None = None,
        quantile: float = 0.99,
        preset: str = "detect",
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(n_components, preset=preset, **shared)
        self.contamination = contamination
        self.quantile = quantile

    def score_samples(self, X: Any) -> Scores:
        """How normal each sample is: float64 (n,), unbounded, about -2 ± 2 for normal ones, less for stranger ones.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self)
        return self._scores(self._check_samples(X, reset=False))

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

    def error_maps(self, X: Any, blur: float = 1.0) -> Float32:
        """Where each image departs from normal: squared errors of the reconstruction, channels averaged.

        Parameters
        ----------
        X : array-like (n, h, w) or (n, h, w, c)
        blur : float
            Standard deviation in pixels of a Gaussian that smooths the map; 0 leaves it as it is.

        Returns
        -------
        ndarray (n, h, w), float32, in squared units of 0..1

        Raises
        ------
        NotFittedError
        DataError
            If it was fitted on features.
        """
        check_is_fitted(self)
        samples = self._check_samples(X, reset=False)
        if not self.layout_.is_image:
            raise DataError("error_maps needs images; this detector was fitted on flat features.")
        squares = np.square(to_float(samples) - self._reconstruct(samples))
        maps: Float32 = squares if squares.ndim == 3 else squares.mean(3)
        smooth: Float32 = gaussian_filter(maps, (0, blur, blur)) if blur else maps
        return smooth

    def _learn(self, samples: Array, y: Any) -> None:
        held_out, trained = self._held_out(len(samples))
        self.density_ = fit_mixture(self._encode(samples[trained]), None, _GAUSSIANS, self._seeds()[-1])
        terms = self._terms(samples[held_out])
        self.scale_ = np.stack([terms.mean(0), terms.std(0) + 1e-12])
        self.decision_scores_ = -self._scores(samples)
        if self.contamination is None:
            self.offset_ = float(np.quantile(-self.decision_scores_[held_out], 1 - self.quantile))
        else:
            self.offset_ = float(np.percentile(-self.decision_scores_, 100 * self.contamination))
        self.labels_ = (-self.decision_scores_ < self.offset_).astype(np.int64)

    def _held_out(self, n_samples: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(rows that were not trained on, the others); where all were trained on, all stand for both."""
        rows = getattr(self, "validation_rows_", np.arange(0))
        if not len(rows) or self._keeps_network:
            return np.arange(n_samples), np.arange(n_samples)
        return rows, np.setdiff1d(np.arange(n_samples), rows)

    def _scores(self, samples: Array) -> Scores:
        means, deviations = self.scale_
        normal: Scores = -((self._terms(samples) - means) / deviations).sum(1)
        return normal

    def _terms(self, samples: Array) -> Scores:
        """(mean squared error, -log p(code)) of each sample: float64 (n, 2)."""
        made = self._reconstruct(samples)
        wanted = to_float(samples) if self.layout_.is_image else samples
        errors = np.square(made - wanted, dtype=np.float64).reshape(len(samples), -1).mean(1)
        return np.stack([errors, -self.density_.log_density(self._encode(samples))], axis=1)

    def _state(self) -> dict[str, Any]:
        learned = {"scale": self.scale_, "offset": self.offset_, "labels": self.labels_}
        return {**learned, "decision_scores": self.decision_scores_, **self.density_.to_state()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.scale_, self.offset_, self.labels_ = state["scale"], state["offset"], state["labels"]
        self.decision_scores_, self.density_ = state["decision_scores"], Mixture.from_state(state)

"""The anomaly detector: evidence from the network and from normal samples, combined into one score."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import erf
from sklearn.base import OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from hourglass.anomaly import (
    EVIDENCE,
    IMAGE,
    TABLE,
    Evidence,
    Region,
    Scores,
    power_of,
    regions_of,
    synthetic_rows,
    weights_by_power,
)
from hourglass.corruption import GaussianNoise
from hourglass.errors import DataError, ParameterError
from hourglass.estimators.checks import Pairs
from hourglass.estimators.documentation import documented
from hourglass.estimators.downstream import Downstream
from hourglass.estimators.fitting import Fit, all_or_nothing
from hourglass.estimators.settings import Circumstances
from hourglass.estimators.thresholds import above, between, bound, supports
from hourglass.images import Array, Float32, to_float
from hourglass.notes import note
from hourglass.options import Option, TrainingOptions, number, one_of

_IMAGE_WEIGHTS = (1.0, 0.5)  # of error and code; chosen on held-out normal digits, with other digits as anomalies
# For tables: at most one standard deviation, as on digits, and no masks, as zeros are outliers in a column.
_TABLE_NOISE = GaussianNoise(0, 1 / 6, varied=True)
_N_SYNTHETIC = 200  # anomalies of each kind
_LEAST_SYNTHETIC = 20  # in each fold
_MIN_HELD_OUT = 20  # held-out samples to set the scale
_FOLDS = 5
_MIN_FOR_MAXIMUM = 200
_BLUR = 1.0  # pixels, of error maps
_EXCEEDING, _MOST_FOR_LEVEL = 0.001, 200  # share of pixels above `map_level_`, images to find it
_NOT_APART = (
    "the threshold comes from all {} samples, as it is not known that the network was trained without some of them: the false "
    "positive rate may be higher than set. set_threshold(X=other normal samples) corrects it."
)


@documented
class AnomalyDetector(OutlierMixin, Downstream):
    """Detects anomalies; trained on normal samples only.

    The network learns to undo the corruption of normal samples. The score is a weighted sum of several kinds of evidence, each
    standardised over held-out normal samples. Of images: the log of the reconstruction error, smoothed and relative to the
    image's contrast; and, with half the weight, of the distance of the code to the nearest codes of training samples. Of rows
    of a table also the distance to the nearest normal rows, scaled robustly and by rank, and tail probabilities by column
    (ECOD; Li et al. 2022); the weights follow from how well each tells normal rows from synthetic anomalies that are made from
    them. Signs are scikit-learn's: greater is more normal.

    Parameters
    ----------
    contamination : float in (0, 0.5] or "auto", optional
        Share of anomalies in the training samples, which sets the threshold. The false positive rate on new samples is
        higher, as the network has seen the training samples. "auto" or None: `quantile` sets the threshold.
    quantile : float in (0, 1)
        Share of held-out normal samples above the threshold: the expected false positive rate is 1 - quantile. If the
        validation split is too small (fewer than some 1,000 samples, or 200 at any quantile), five networks are each trained
        without a fifth of the samples, and score that fifth. If there are still too few, the threshold assumes a normal
        distribution, and a warning reports which rate the samples support. `from_autoencoder` trains no networks: it uses
        the samples that its network was not trained on, or if it does not know these, all, with a warning.

    {shared}
    offset_ : float
        The threshold on `score_samples`: below it is an anomaly.
    labels_ : ndarray (n,), int
        Labels of the training samples: 1 for anomalies, 0 for normal ones.
    decision_scores_ : ndarray (n,), float64
        -`score_samples` of the training samples: greater is more anomalous.
    normal_scores_ : ndarray (m,), float64
        `score_samples` of normal samples that the network was not trained on, sorted.
    evidence_ : dict of str to Evidence
        The kinds of evidence, by name, in the order of the weights.
    weights_ : ndarray (k,), float64
        Of each kind of evidence, standardised over normal samples.
    power_ : dict of str to ndarray (k,), float64
        AUROC of each kind of evidence between normal samples and synthetic anomalies, by kind of anomaly; empty for images.
    synthetic_scores_ : dict of str to ndarray (m,), float64
        `score_samples` of these synthetic anomalies.
    map_level_ : float
        Level of `error_maps` that one in a thousand pixels of the images of `normal_scores_` exceeds; 0 for features, NaN if
        the detector was saved by a version that had no such level.

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits")
    >>> ones = digits.train.images[digits.train.labels == 1]
    >>> detector = hg.AnomalyDetector(random_state=0).fit(ones)
    >>> detector.score_samples(ones).mean() > detector.score_samples(digits.test.images).mean()
    np.True_
    """

    saved_as = "detector"
    _needs_validation = True
    _scales_columns = True
    offset_: float
    labels_: NDArray[np.int64]
    decision_scores_: Scores
    normal_scores_: Scores
    evidence_: dict[str, Evidence]
    weights_: Scores
    power_: dict[str, Scores]
    synthetic_scores_: dict[str, Scores]
    map_level_: float
    _learned = ("evidence_", "scale_", "offset_")
    _takes_many_sizes = False
    _turns_crops = False  # orientation may be what is anomalous
    _own_options: ClassVar = {
        "contamination": Option((number(0, 0.5, "(]"), one_of("auto"))),
        "quantile": Option(number(0, 1, "()"), default=0.99),
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        contamination: float | str | None = None,
        quantile: float = 0.99,
        preset: str = "detect",
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(n_components, preset=preset, **options)
        self.contamination = contamination
        self.quantile = quantile

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

    def error_maps(self, X: Any, blur: float = _BLUR) -> Float32:
        """Maps of the squared reconstruction error, averaged over channels.

        Parameters
        ----------
        X : array-like (n, h, w) or (n, h, w, c)
        blur : float
            Standard deviation in pixels of a Gaussian filter; 0 for none.

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
        samples = self._check(X)
        if not self.sample_.is_image:
            raise DataError("error_maps needs images; this detector was fitted on flat features.")
        return self._error_maps(samples, blur)

    def regions(self, X: Any) -> list[list[Region]]:
        """Regions of each image whose smoothed reconstruction error exceeds `map_level_`.

        Parameters
        ----------
        X : array-like (n, h, w) or (n, h, w, c)

        Returns
        -------
        list of n lists of Region
            Of each its box and area, in pixels of the model's input, and its largest error; that of the largest error first.

        Raises
        ------
        NotFittedError
        DataError
            If it was fitted on features, or `map_level_` is NaN.
        """
        maps = self.error_maps(X)
        if math.isnan(self.map_level_):
            raise DataError(
                "this detector was saved without map_level_, by an earlier version. Set it: "
                f"np.quantile(detector.error_maps(normal_images), {1 - _EXCEEDING})."
            )
        return [regions_of(errors, self.map_level_) for errors in maps]

    def _error_maps(self, samples: Array, blur: float) -> Float32:
        squares = np.square(to_float(samples) - self._model.reconstruct(samples))
        maps: Float32 = squares if squares.ndim == 3 else squares.mean(3)
        smooth: Float32 = gaussian_filter(maps, (0, blur, blur)) if blur else maps
        return smooth

    def _settle(self, given: Circumstances) -> dict[str, Any]:
        settings = super()._settle(given)
        is_open = self.get_params(deep=False)["corruption"] is None
        if given.sample.is_by_column and is_open and settings["corruption"] is not None:
            settings["corruption"] = _TABLE_NOISE
        return settings

    def _learn(self, samples: Array, y: Any) -> None:
        held_out, trained = self._held_out(samples)
        self.evidence_ = self._evidence_from(samples[trained])
        is_apart = len(held_out) + len(trained) == len(samples)
        if self._given is None and len(samples) > 1 and not (is_apart and supports(1 - self.quantile, len(held_out))):
            terms, synthetic, self.map_level_ = self._cross_fitted(samples)
        else:
            if not is_apart:
                note(_NOT_APART.format(len(samples)), 4)
            terms = self._terms(samples[held_out], without_own=not is_apart)
            synthetic = self._synthetic_terms(samples[held_out], _N_SYNTHETIC, 0)
            self.map_level_ = self.level_of(samples[held_out])
        self.scale_ = np.stack([terms.mean(0), terms.std(0) + 1e-3])  # a thousandth avoids division by 0
        self.power_ = power_of(terms, synthetic)
        self.weights_ = weights_by_power(self.power_) if self.power_ else np.array(_IMAGE_WEIGHTS)
        self.normal_scores_ = np.sort(self._combined(terms))
        self.synthetic_scores_ = {kind: self._combined(scores) for kind, scores in synthetic.items()}
        self.decision_scores_ = -self._scores(samples)
        self._set_offset()

    def level_of(self, normal: Array) -> float:
        """The level that one in a thousand pixels of the error maps of some normal images exceeds; 0 for features."""
        if not self._model.sample.is_image:
            return 0.0
        some = normal[:: -(-len(normal) // _MOST_FOR_LEVEL)]
        return float(np.quantile(self._error_maps(some, _BLUR), 1 - _EXCEEDING))

    def _evidence_from(self, trained: Array) -> dict[str, Evidence]:
        """Evidence learned from the samples that the network was trained on."""
        names = IMAGE if self._model.sample.is_image else TABLE
        return {name: EVIDENCE[name]().fit(trained, self._model) for name in names}

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

    def _cross_fitted(self, samples: Array) -> tuple[Scores, dict[str, Scores], float]:
        """`_terms` of each sample, `_synthetic_terms` from it, and `level_of` all, by networks trained on the other folds."""
        folds = np.array_split(np.random.default_rng(self._seeds()[0]).permutation(len(samples)), min(_FOLDS, len(samples)))
        terms: list[Scores] = []
        synthetic: dict[str, list[Scores]] = {}
        levels = []
        for seed, left_out in enumerate(folds):
            fold: Self = clone(self)
            if not fold.get_params(deep=False)["early_stopping"]:
                fold.set_params(validation_fraction=0.0)
            others = np.setdiff1d(np.arange(len(samples)), left_out)
            fold.model_ = Fit(fold, Pairs(samples[others], None, self.sample_.white)).train((), None, False)
            fold.evidence_ = fold._evidence_from(samples[others])
            terms.append(fold._terms(samples[left_out]))
            levels.append(fold.level_of(samples[left_out]))
            count = max(_LEAST_SYNTHETIC, _N_SYNTHETIC // len(folds))
            for kind, scores in fold._synthetic_terms(samples[left_out], count, seed).items():
                synthetic.setdefault(kind, []).append(scores)
        in_order = np.concatenate(terms)[np.argsort(np.concatenate(folds))]
        return in_order, {kind: np.concatenate(scores) for kind, scores in synthetic.items()}, float(np.mean(levels))

    def _synthetic_terms(self, held_out: Array, count: int, seed: int) -> dict[str, Scores]:
        """`_terms` of synthetic anomalies from rows that were held out, by kind; none for images, whose weights are fixed."""
        if self._model.sample.is_image:
            return {}
        return {kind: self._terms(rows) for kind, rows in synthetic_rows(held_out, count, seed).items()}

    def _use(self, blank: Float32) -> None:
        count = len(self.evidence_)
        if self.scale_.shape != (2, count) or self.weights_.shape != (count,) or not len(self.labels_):
            raise ValueError(f"scale {self.scale_.shape}, weights {self.weights_.shape}")
        if not (math.isnan(self.map_level_) or 0 <= self.map_level_ < math.inf):
            raise ValueError(f"map_level {self.map_level_}")
        self.decision_function(blank)

    def _held_out(self, samples: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(rows for scale and threshold, all other rows); all rows twice if too few were held out of training."""
        everything = np.arange(len(samples))
        rows = self._model.held_out.among(samples) if self._model.held_out is not None else everything[:0]
        return (rows, np.setdiff1d(everything, rows)) if len(rows) >= _MIN_HELD_OUT else (everything, everything)

    def _scores(self, samples: Array) -> Scores:
        return self._combined(self._terms(samples))

    def _combined(self, terms: Scores) -> Scores:
        means, deviations = self.scale_
        anomaly = (terms - means) / deviations @ self.weights_
        # Four decimals: beyond, float32 results depend on the other samples in the batch.
        scores: Scores = -np.round(anomaly, 4)
        return scores

    def _terms(self, samples: Array, *, without_own: bool = False) -> Scores:
        """What each kind of evidence says of each sample: float64 (n, k)."""
        kinds = self.evidence_.values()
        return np.stack([kind.scores(samples, self._model, without_own=without_own) for kind in kinds], axis=1)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "evidence": ", ".join(self.evidence_),
            "scale": self.scale_,
            "weights": self.weights_,
            "offset": self.offset_,
            "labels": self.labels_,
            "decision_scores": self.decision_scores_,
            "normal_scores": self.normal_scores_,
            "power_kinds": ", ".join(self.power_),
            "power": np.array([*self.power_.values()]).reshape(len(self.power_), len(self.evidence_)),
            "synthetic_scores": np.array([*self.synthetic_scores_.values()]),
        }
        if not math.isnan(self.map_level_):
            state["map_level"] = self.map_level_
        for kind in self.evidence_.values():
            state |= kind.state()
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        names = state.get("evidence", ", ".join(IMAGE)).split(", ")  # missing in earlier models
        if not set(names) <= set(EVIDENCE):
            raise ValueError(f"evidence {names}")
        self.evidence_ = {name: EVIDENCE[name]().restore(state, self._model) for name in names}
        self.scale_, self.offset_, self.labels_ = state["scale"], state["offset"], state["labels"]
        self.map_level_ = float(state.get("map_level", math.nan))  # missing in earlier models
        self.weights_ = state.get("weights", np.array(_IMAGE_WEIGHTS))
        kinds = [kind for kind in state.get("power_kinds", "").split(", ") if kind]
        self.power_ = dict(zip(kinds, state["power"], strict=True)) if kinds else {}
        self.synthetic_scores_ = dict(zip(kinds, state["synthetic_scores"], strict=True)) if kinds else {}
        self.decision_scores_ = state["decision_scores"]
        self.normal_scores_ = state.get("normal_scores", -np.sort(self.decision_scores_)[::-1])  # missing in earlier models

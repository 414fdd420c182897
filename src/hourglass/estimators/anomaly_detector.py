"""The anomaly detector: evidence from the network and from normal samples, combined into one score."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Self, Unpack

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from hourglass.anomaly import (
    EVIDENCE,
    IMAGE,
    KNOWN,
    SURFACE,
    TABLE,
    Evidence,
    FeatureDistance,
    Scores,
    power_of,
    standardised,
    synthetic_images,
    synthetic_rows,
    weights_by_power,
)
from hourglass.corruption import GaussianNoise
from hourglass.errors import ParameterError
from hourglass.estimators.checks import Pairs
from hourglass.estimators.documentation import documented
from hourglass.estimators.fitting import Fit
from hourglass.estimators.localiser import Localiser
from hourglass.estimators.outliers import rows_of
from hourglass.estimators.settings import Circumstances, takes_any_size
from hourglass.estimators.thresholds import supports
from hourglass.images import Array, Float32, Sample
from hourglass.notes import note
from hourglass.options import FEATURES, Option, TrainingOptions, number, one_of

_IMAGE_WEIGHTS = (1.0, 0.5)  # of error and code; chosen on held-out normal digits, with other digits as anomalies
# For tables: at most one standard deviation, as on digits, and no masks, as zeros are outliers in a column.
_TABLE_NOISE = GaussianNoise(0, 1 / 6, varied=True)
_N_SYNTHETIC = 200  # anomalies of each kind
_LEAST_SYNTHETIC = 20  # in each fold
_MIN_HELD_OUT = 20  # held-out samples to set the scale
_FOLDS = 5
_SYNTHETIC_IMAGES = 40  # of each kind, of any size
_HELD_OUT_IMAGES = 40  # of any size, or half of all if there are fewer than twice as many
_FEATURES = "features"  # the kind of evidence from a module of the user's
_FEWEST_IMAGES = 4  # of any size, held out
_SURFACE_SIDE = 64  # pixels
_NOT_APART = (
    "the threshold comes from all {} samples, as it is not known that the network was trained without some of them: the false "
    "positive rate may be higher than set. set_threshold(X=other normal samples) corrects it."
)


@documented
class AnomalyDetector(Localiser):
    """Detects anomalies; trained on normal samples only.

    The network learns to undo the corruption of normal samples. The score is a weighted sum of several kinds of evidence, each
    standardised over held-out normal samples. Of small images: the log of the reconstruction error, smoothed and relative to
    the image's contrast; and, with half the weight, of the distance of the code to the nearest codes of training samples. Of
    rows of a table also the distance to the nearest normal rows, scaled robustly and by rank, the residual of a PCA, and tail
    probabilities by column (ECOD; Li et al. 2022).

    Images of several sizes, or of at least 64 × 64 pixels, are taken for surfaces or parts (preset="surface"): a U-Net learns
    to undo synthetic defects (`Defects`) on random crops. Each image is first standardised by its own mean and deviation. The
    evidence is the largest error on the smoothed map, and of thumbnails the residual of a PCA and the distance to the nearest.
    For these and for tables, weights follow from how well each kind of evidence tells held-out normal samples from synthetic
    anomalies that are made from them. Signs are scikit-learn's: greater is more normal.

    Where some anomalies are known, label them: `fit(X, y)` with `y` of 1 for anomalies and 0 for normal samples, or -1 and 1.
    They are not trained on. In the weights they count as much as all synthetic anomalies together, and of small images alone.
    The threshold is the one between them and held-out normal samples with the largest difference of true and false positive
    rates, unless `contamination` is set. Other labels are taken for classes and ignored, also those by which half of the
    samples or more would be anomalies.

    Parameters
    ----------
    contamination : float in (0, 0.5] or "auto", optional
        Share of anomalies in the training samples, which sets the threshold. The false positive rate on new samples is
        higher, as the network has seen the training samples. "auto" or None: `quantile` sets the threshold.
    quantile : float in (0, 1)
        Share of held-out normal samples above the threshold: the expected false positive rate is 1 - quantile; with some 300
        to 1,000 training samples up to five times that, so that one of them is an anomaly, as scikit-learn expects. If the
        validation split is too small (fewer than some 1,000 samples, or 200 at any quantile), five networks are each trained
        without a fifth of the samples, and score that fifth. If there are still too few, the threshold assumes a normal
        distribution, and a warning reports which rate the samples support. `from_autoencoder` trains no networks: it uses
        the samples that its network was not trained on, or if it does not know these, all, with a warning.

    features : torch module or str, optional
        For images of several sizes, or of at least 64 × 64 pixels: a pretrained network, whose feature maps are one more kind
        of evidence, by a linear autoencoder of the features at a place (DFR; Shi et al. 2021). A module from
        float32 Tensor (1, c, h, w), standardised, in 0..1 to maps (1, d, h', w') or a list of such; or the name of a model in
        timm. It is not trained and not saved: pass it to `load_model` again, `load_model(path, features=module)`.

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
        AUROC of each kind of evidence between normal samples and synthetic anomalies, by kind of anomaly, and "known" ones;
        of small images only these.
    synthetic_scores_ : dict of str to ndarray (m,), float64
        `score_samples` of these anomalies.
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
    evidence_: dict[str, Evidence]
    weights_: Scores
    power_: dict[str, Scores]
    synthetic_scores_: dict[str, Scores]
    standardises_: bool = False
    """Whether each image is first standardised: those of any size, if the network was trained on such."""
    lowest: ClassVar[float] = 3.0
    """Of images of any size: standard deviations below the mean, for a common thumbnail must not outweigh a fault."""
    _learned = ("evidence_", "scale_", "offset_")
    _photo_preset = "surface"
    _photo_network = "unet"
    _turns_crops = False  # orientation may be what is anomalous
    _own_options: ClassVar = {
        "contamination": Option((number(0, 0.5, "(]"), one_of("auto"))),
        "quantile": Option(number(0, 1, "()"), default=0.99),
        "features": Option(FEATURES),
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        contamination: float | str | None = None,
        quantile: float = 0.99,
        features: Any = None,
        preset: str = "detect",
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(n_components, preset=preset, **options)
        self.contamination = contamination
        self.quantile = quantile
        self.features = features

    def evidence_scores(self, X: Any) -> Scores:
        """What each kind of evidence says: float64 (n, k), in standard deviations of normal samples, greater for anomalies.

        In the order of `evidence_`; `score_samples` is minus their sum weighted by `weights_`.

        Raises
        ------
        NotFittedError, DataError
        """
        check_is_fitted(self)
        return self._standard(self._terms(self._check(X)))

    def _takes_crops(self, samples: Any) -> bool:
        # Not of a stream: what is learned from its crops, as from thumbnails, would not fit whole images.
        return isinstance(samples, list) or (_are_images(samples) and min(samples.shape[1:3]) >= _SURFACE_SIDE)

    def _arguments(self, samples: Any) -> dict[str, Any]:
        arguments = super()._arguments(samples)
        if arguments["validation_fraction"] is None and _are_images(samples) and takes_any_size(arguments):
            arguments["validation_fraction"] = min(0.5, max(0.1, _HELD_OUT_IMAGES / len(samples)))
        return arguments

    def _pairs(self, X: Any, y: Any, sample: Sample | None) -> Pairs:
        pairs = super()._pairs(X, y, sample)
        if sample is None:
            self.standardises_ = _are_images(pairs.targets) and takes_any_size(self._arguments(pairs.targets))
        elif self._given is not None:
            self.standardises_ = False
        return pairs._replace(targets=standardised(pairs.targets)) if self.standardises_ else pairs

    def _check(self, X: Any) -> Any:
        samples = super()._check(X)
        return standardised(samples) if self.standardises_ else samples

    def _settle(self, given: Circumstances) -> dict[str, Any]:
        settings = super()._settle(given)
        is_open = self.get_params(deep=False)["corruption"] is None
        if given.sample.is_by_column and is_open and settings["corruption"] is not None:
            settings["corruption"] = _TABLE_NOISE
        return settings

    def _learn(self, samples: Any, y: Any) -> None:
        held_out, trained = self._held_out(samples)
        self.evidence_ = self._evidence_from(rows_of(samples, trained))
        is_apart = len(held_out) + len(trained) == len(samples)
        is_settled = self._model.sample.is_any_size or (is_apart and supports(1 - self.quantile, len(held_out)))
        if self._given is None and len(samples) > 1 and not is_settled:
            terms, synthetic, self.map_level_ = self._cross_fitted(samples)
        else:
            if not is_apart:
                note(_NOT_APART.format(len(samples)), 4)
            apart = rows_of(samples, held_out)
            terms = self._terms(apart, without_own=not is_apart)
            synthetic = self._synthetic_terms(apart, _N_SYNTHETIC, 0)
            self.map_level_ = self._level_of(apart)
        if self._known is not None:
            synthetic[KNOWN] = self._terms(self._known)
        self.scale_ = np.stack([terms.mean(0), terms.std(0) + 1e-3])  # a thousandth avoids division by 0
        self.power_ = power_of(terms, synthetic)
        self.weights_ = weights_by_power(self.power_) if self.power_ else np.array(_IMAGE_WEIGHTS)
        self.normal_scores_ = np.sort(self._combined(terms))
        self.synthetic_scores_ = {kind: self._combined(scores) for kind, scores in synthetic.items()}
        self.decision_scores_ = -self._scores(samples)
        if self._model.sample.is_any_size and is_apart:  # a thumbnail is the nearest to itself
            own = self._terms(rows_of(samples, trained), without_own=True)
            self.decision_scores_[trained] = -self._combined(own)
        self._set_offset(self._join_known())

    def _evidence_from(self, trained: Any) -> dict[str, Evidence]:
        """Evidence learned from the samples that the network was trained on."""
        sample = self._model.sample
        kinds = SURFACE if sample.is_any_size else IMAGE if sample.is_image else TABLE
        learned = {name: kind().fit(trained, self._model) for name, kind in kinds.items()}
        if self.features is None:
            return learned
        if not sample.is_any_size:
            raise ParameterError("features needs images of several sizes, or of at least 64 × 64 pixels (preset='surface').")
        return learned | {_FEATURES: FeatureDistance(self.features).fit(trained, self._model)}

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
            levels.append(fold._level_of(samples[left_out]))
            count = max(_LEAST_SYNTHETIC, _N_SYNTHETIC // len(folds))
            for kind, scores in fold._synthetic_terms(samples[left_out], count, seed).items():
                synthetic.setdefault(kind, []).append(scores)
        in_order = np.concatenate(terms)[np.argsort(np.concatenate(folds))]
        return in_order, {kind: np.concatenate(scores) for kind, scores in synthetic.items()}, float(np.mean(levels))

    def _synthetic_terms(self, held_out: Any, count: int, seed: int) -> dict[str, Scores]:
        """`_terms` of synthetic anomalies from samples that were held out, by kind; none where the weights are fixed.

        Of rows `count` of each kind are made, of images always the same number.
        """
        sample = self._model.sample
        if sample.is_any_size:
            made: Iterable[tuple[str, Any]] = synthetic_images(held_out, sample, _SYNTHETIC_IMAGES, seed)
        else:
            made = () if sample.is_image else synthetic_rows(held_out, count, seed).items()
        return {kind: self._terms(anomalies) for kind, anomalies in made}

    def _use(self, blank: Float32) -> None:
        count = len(self.evidence_)
        if self.scale_.shape != (2, count) or self.weights_.shape != (count,) or not len(self.labels_):
            raise ValueError(f"scale {self.scale_.shape}, weights {self.weights_.shape}")
        if not (math.isnan(self.map_level_) or 0 <= self.map_level_ < math.inf):
            raise ValueError(f"map_level {self.map_level_}")
        self.decision_function(blank)

    def _held_out(self, samples: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(rows for scale and threshold, all other rows); all rows twice if too few were held out of training."""
        everything = np.arange(len(samples))
        if isinstance(samples, list):
            rows = everything[:0] if self._given is not None else self.validation_rows_
        else:
            rows = self._model.held_out.among(samples) if self._model.held_out is not None else everything[:0]
        fewest = _FEWEST_IMAGES if self._model.sample.is_any_size else _MIN_HELD_OUT
        return (rows, np.setdiff1d(everything, rows)) if len(rows) >= fewest else (everything, everything)

    def _scores(self, samples: Any) -> Scores:
        return self._combined(self._terms(samples))

    def _combined(self, terms: Scores) -> Scores:
        # Four decimals: beyond, float32 results depend on the other samples in the batch.
        scores: Scores = -np.round(self._standard(terms) @ self.weights_, 4)
        return scores

    def _standard(self, terms: Scores) -> Scores:
        means, deviations = self.scale_
        standard: Scores = (terms - means) / deviations
        return np.maximum(standard, -self.lowest) if self._model.sample.is_any_size else standard

    def _terms(self, samples: Any, *, without_own: bool = False) -> Scores:
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
            "synthetic_scores": np.array([scores for kind, scores in self.synthetic_scores_.items() if kind != KNOWN]),
        }
        if self.standardises_:
            state["standardises"] = True
        if KNOWN in self.synthetic_scores_:
            state["known_scores"] = self.synthetic_scores_[KNOWN]
        if not math.isnan(self.map_level_):
            state["map_level"] = self.map_level_
        for kind in self.evidence_.values():
            state |= kind.state()
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        names = state.get("evidence", ", ".join(IMAGE)).split(", ")  # missing in earlier models
        if not set(names) <= {*EVIDENCE, _FEATURES}:
            raise ValueError(f"evidence {names}")
        if _FEATURES in names and self.features is None:
            raise ParameterError("the detector needs the module it was fitted with: load_model(path, features=module).")
        made = {name: FeatureDistance(self.features) if name == _FEATURES else EVIDENCE[name]() for name in names}
        self.evidence_ = {name: kind.restore(state, self._model) for name, kind in made.items()}
        self.scale_, self.offset_, self.labels_ = state["scale"], state["offset"], state["labels"]
        self.map_level_ = float(state.get("map_level", math.nan))  # missing in earlier models
        self.standardises_ = bool(state.get("standardises", False))
        self.weights_ = state.get("weights", np.array(_IMAGE_WEIGHTS))
        kinds = [kind for kind in state.get("power_kinds", "").split(", ") if kind]
        self.power_ = dict(zip(kinds, state["power"], strict=True)) if kinds else {}
        known = [state["known_scores"]] if KNOWN in kinds else []
        scores = [*state["synthetic_scores"], *known] if kinds else []
        self.synthetic_scores_ = dict(zip(kinds, scores, strict=True))
        self.decision_scores_ = state["decision_scores"]
        self.normal_scores_ = state.get("normal_scores", -np.sort(self.decision_scores_)[::-1])  # missing in earlier models


def _are_images(samples: Any) -> bool:
    """Whether `samples` are images in memory."""
    return isinstance(samples, list) or (isinstance(samples, np.ndarray) and samples.ndim > 2)

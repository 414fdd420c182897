"""Evaluation of features: accuracy of simple classifiers on codes that were learned without labels."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.estimators import Autoencoder
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.evaluation.uses.search import rank_metrics
from hourglass.images import Array, Float32, to_float

_PRECISION = "mean average precision"
_TRUST = "trustworthiness"
_QUERIES, _TRUSTED, _N_NEAREST = 1000, 4000, 5
_BARS = {(32, "5-NN"): 0.983, (32, "logistic regression"): 0.96, (2, "5-NN"): 0.956}


def features(setting: Setting) -> list[Measurement]:
    """What codes tell of classes and of neighbours, beside PCA, a plain autoencoder and, in two dimensions, UMAP."""
    train, test = setting.dataset.train, setting.dataset.test
    rows = []
    for n_components in (32, 2):
        ours, seconds = setting.fit(
            Autoencoder(n_components, preset="features"), train.images, name=f"features, {n_components} codes"
        )
        plain, _ = setting.fit(Autoencoder(n_components), train.images, name=f"plain, {n_components} codes")
        pca = PrincipalComponents(n_components).fit(train.images)
        encoders = {"ours": ours.transform, f"PCA-{n_components}": pca.transform, "plain autoencoder": plain.transform}
        codes = {name: (encode(train.images), encode(test.images)) for name, encode in encoders.items()}
        if n_components == 2:
            codes |= _umap(setting)
            shown = {"ours": "features preset"}
            setting.planes = {shown.get(name, name): (both[1], test.known_labels) for name, both in codes.items()}
        results = {
            name: qualities(*both, train.known_labels, test.known_labels) | {_TRUST: trust(test.images, both[1])}
            for name, both in codes.items()
        }
        for classifier, value in results["ours"].items():
            threshold = _BARS.get((n_components, classifier)) if setting.has_bars else None
            bar = None if threshold is None else ("≥", threshold)
            baselines = {name: values[classifier] for name, values in results.items() if name != "ours"}
            words = classifier if classifier in (_PRECISION, _TRUST) else f"accuracy of {classifier}"
            measure = f"{words} on {n_components} codes"
            rows.append(Measurement("features", measure, value, ".4f", baselines, setting.seed, seconds, bar, True))
    return rows


def trust(images: Array, codes: Float32) -> float:
    """Trustworthiness (Venna and Kaski 2001) of 5 neighbours among 4,000 images: 1 if all that are near were near in pixels."""
    from sklearn.manifold import trustworthiness

    flat = to_float(images[:_TRUSTED]).reshape(min(len(images), _TRUSTED), -1)
    return float(trustworthiness(flat, codes[:_TRUSTED], n_neighbors=min(_N_NEAREST, (len(flat) - 1) // 2)))


def _umap(setting: Setting) -> dict[str, tuple[Float32, Float32]]:
    """The codes of UMAP with its default arguments, by its name; none, with a note, if it is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        setting.notes.append("features: UMAP left out: umap-learn is not installed; pip install umap-learn.")
        return {}
    train, test = (to_float(part.images).reshape(len(part), -1) for part in (setting.dataset.train, setting.dataset.test))
    start = time.perf_counter()
    fitted = UMAP(n_jobs=torch.get_num_threads()).fit(train)
    between = time.perf_counter()
    of_test = fitted.transform(test)
    seconds = f"{between - start:.0f} s to fit and {time.perf_counter() - between:.0f} s for the test images"
    setting.notes.append(f"features: UMAP took {seconds}.")
    return {"UMAP": (fitted.embedding_, of_test)}


def qualities(
    train_codes: Float32, test_codes: Float32, train_labels: NDArray[np.int64], test_labels: NDArray[np.int64]
) -> dict[str, float]:
    """Return the test accuracy of each classifier, and the mean average precision of some test images among training images.

    Images are ranked by the Euclidean distance of codes; those of the same label are relevant.
    """
    ranked = rank_metrics(train_codes, test_codes[:_QUERIES], train_labels, test_labels[:_QUERIES])
    return accuracies(train_codes, test_codes, train_labels, test_labels) | {_PRECISION: ranked[_PRECISION]}


def accuracies(
    train_codes: Float32, test_codes: Float32, train_labels: NDArray[np.int64], test_labels: NDArray[np.int64]
) -> dict[str, float]:
    """Return the test accuracy of each classifier."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifiers = {
        "5-NN": KNeighborsClassifier(5, algorithm="brute"),
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    return {
        name: float(classifier.fit(train_codes, train_labels).score(test_codes, test_labels))
        for name, classifier in classifiers.items()
    }

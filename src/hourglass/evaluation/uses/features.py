"""Evaluation of features: accuracy of simple classifiers on codes that were learned without labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hourglass.estimators import Autoencoder
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.evaluation.uses.search import rank_metrics
from hourglass.images import Float32

_PRECISION = "mean average precision"
_QUERIES = 1000
_BARS = {(32, "5-NN"): 0.983, (32, "logistic regression"): 0.96, (2, "5-NN"): 0.90}


def features(setting: Setting) -> list[Measurement]:
    """Accuracy of 5 nearest neighbours and logistic regression on codes, compared with PCA and a plain autoencoder."""
    train, test = setting.dataset.train, setting.dataset.test
    rows = []
    for n_components in (32, 2):
        ours, seconds = setting.fit(
            Autoencoder(n_components, preset="features"), train.images, name=f"features, {n_components} codes"
        )
        plain, _ = setting.fit(Autoencoder(n_components), train.images, name=f"plain, {n_components} codes")
        pca = PrincipalComponents(n_components).fit(train.images)
        results = {
            name: qualities(encode(train.images), encode(test.images), train.known_labels, test.known_labels)
            for name, encode in (
                ("ours", ours.transform),
                (f"PCA-{n_components}", pca.transform),
                ("plain autoencoder", plain.transform),
            )
        }
        if n_components == 2:
            for name, encode in (
                ("features preset", ours.transform),
                ("plain autoencoder", plain.transform),
                ("PCA", pca.transform),
            ):
                setting.planes[name] = (encode(test.images), test.known_labels)
        for classifier, value in results["ours"].items():
            threshold = _BARS.get((n_components, classifier)) if setting.has_bars else None
            bar = None if threshold is None else ("≥", threshold)
            baselines = {name: values[classifier] for name, values in results.items() if name != "ours"}
            words = classifier if classifier == _PRECISION else f"accuracy of {classifier}"
            measure = f"{words} on {n_components} codes"
            rows.append(Measurement("features", measure, value, ".4f", baselines, setting.seed, seconds, bar, True))
    return rows


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

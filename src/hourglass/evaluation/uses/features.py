"""Features: how well codes that were learned without labels serve simple classifiers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hourglass.estimators import Autoencoder
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.uses.rows import Row, Setting
from hourglass.images import Float32

_BARS = {(32, "5-NN"): 0.983, (32, "logistic regression"): 0.96, (2, "5-NN"): 0.90}


def features(setting: Setting) -> list[Row]:
    """Accuracy of 5 nearest neighbours and of logistic regression on codes, beside PCA and a plain autoencoder's codes."""
    train, test = setting.dataset.train, setting.dataset.test
    rows = []
    for n_components in (32, 2):
        ours, seconds = setting.fit(
            Autoencoder(n_components, preset="features"), train.images, name=f"features, {n_components} codes"
        )
        plain, _ = setting.fit(Autoencoder(n_components), train.images, name=f"plain, {n_components} codes")
        pca = PrincipalComponents(n_components).fit(train.images)
        accuracies = {
            name: accuracies(encode(train.images), encode(test.images), train.known_labels, test.known_labels)
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
        for reader in accuracies["ours"]:
            bar = _BARS.get((n_components, reader)) if setting.has_bars else None
            others = {name: found[reader] for name, found in accuracies.items() if name != "ours"}
            measure = f"accuracy of {reader} on {n_components} codes"
            value = accuracies["ours"][reader]
            rows.append(
                Row("features", measure, value, ".4f", others, setting.seed, seconds, None if bar is None else ("≥", bar))
            )
    return rows


def accuracies(known: Float32, asked: Float32, labels: NDArray[np.int64], answers: NDArray[np.int64]) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    readers = {
        "5-NN": KNeighborsClassifier(5, algorithm="brute"),
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    return {name: float(reader.fit(known, labels).score(asked, answers)) for name, reader in readers.items()}

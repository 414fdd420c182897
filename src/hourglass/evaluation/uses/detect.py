"""Evaluation of anomaly detection: each class in turn is the normal one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.estimators import AnomalyDetector, Autoencoder
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.images import Array, to_float


def detect(setting: Setting) -> list[Measurement]:
    """AUROC with each class as the normal one, compared with an isolation forest, PCA and a plain autoencoder."""
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score

    train, test, seed = setting.dataset.train, setting.dataset.test, setting.seed
    areas: dict[str, list[float]] = {}
    seconds = []
    for label in np.unique(train.known_labels):
        normal, abnormal = train.images[train.known_labels == label], test.known_labels != label

        def measure(name: str, scores: NDArray[np.float64], abnormal: NDArray[np.bool_] = abnormal) -> None:
            areas.setdefault(name, []).append(float(roc_auc_score(abnormal, scores)))

        detector, duration = setting.fit(AnomalyDetector(), normal, name=f"detect {label}")
        seconds.append(duration)
        _keep_pictures(setting, label, detector)
        measure("ours", -detector.score_samples(test.images))
        flat = to_float(normal).reshape(len(normal), -1)
        forest = IsolationForest(random_state=seed).fit(flat)
        measure("isolation forest", -forest.score_samples(to_float(test.images).reshape(len(test), -1)))
        pca = PrincipalComponents(32).fit(normal)
        measure("PCA-32 residual", _errors(pca.reconstruct(test.images), test.images))
        plain, _ = setting.fit(Autoencoder(), normal, name=f"plain autoencoder {label}")
        measure("plain autoencoder's residual", _errors(plain.reconstruct(test.images), test.images))
    ours = areas.pop("ours")
    setting.notes.append("detect: AUROC of each class as the normal one: " + ", ".join(f"{area:.3f}" for area in ours) + ".")
    bars = {"mean": ("≥", 0.975), "least": ("≥", 0.93)} if setting.has_bars else {}
    return [
        Measurement(
            "detect",
            f"AUROC, {word} of {len(ours)} classes as the normal one",
            float(aggregate(ours)),
            ".3f",
            {name: float(aggregate(values)) for name, values in areas.items()},
            seed,
            max(seconds),
            bars.get(word),
            True,
        )
        for word, aggregate in (("mean", np.mean), ("least", np.min))
    ]


def _keep_pictures(setting: Setting, label: Any, detector: AnomalyDetector) -> None:
    """Keep the most anomalous test images of the normal class and the least anomalous ones of the others."""
    test = setting.dataset.test
    scores = detector.score_samples(test.images)
    normal, abnormal = np.flatnonzero(test.known_labels == label), np.flatnonzero(test.known_labels != label)
    rows = np.concatenate([normal[np.argsort(scores[normal])[:5]], abnormal[np.argsort(-scores[abnormal])[:5]]])
    setting.pictures.setdefault("detect", {})[f"{label} is normal"] = test.images[rows]


def _errors(reconstructions: Array, images: Array) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.square(reconstructions - to_float(images), dtype=np.float64)
    errors: NDArray[np.float64] = squares.reshape(len(images), -1).mean(1)
    return errors

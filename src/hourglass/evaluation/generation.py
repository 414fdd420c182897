"""Metrics of generated images, in the feature space of a classifier trained on real images."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.corruption import Warp
from hourglass.images import Array, Float32, to_float
from hourglass.notes import quiet

_EPOCHS, _FEWEST_STEPS = 12, 500
_N_NEIGHBOURS = 3


class ReferenceClassifier:
    """A classifier (scikit-learn's MLPClassifier) fitted on real images with random warps.

    It classifies generated images, and its last hidden layer is the feature space in which sets of images are compared.
    """

    def __init__(self, hidden: tuple[int, ...] = (512, 64)) -> None:
        self.hidden = hidden

    def fit(self, images: Array, labels: NDArray[Any], seed: int) -> Self:
        """Train for 12 epochs, or 500 steps if that is more."""
        from sklearn.neural_network import MLPClassifier

        batch_size = min(256, len(images))
        epochs = max(_EPOCHS, math.ceil(_FEWEST_STEPS / math.ceil(len(images) / batch_size)))
        self.classifier = MLPClassifier(self.hidden, batch_size=batch_size, random_state=seed)
        warp, classes = Warp(elastic=0.03), np.unique(labels)
        order = np.random.default_rng(seed)
        for epoch in range(epochs):
            rows = order.permutation(len(images))
            _set_rate(self.classifier, 2e-3 * (1 - epoch / epochs) + 1e-4)
            for start in range(0, len(rows), 10_000):
                chunk = np.sort(rows[start : start + 10_000])
                warped = warp(images[chunk], seed + 1 + epoch * 1000 + start)
                self.classifier.partial_fit(warped.reshape(len(chunk), -1), labels[chunk], classes=classes)
        return self

    def predict(self, images: Array) -> NDArray[Any]:
        """Predict the label of each image (n,)."""
        labels: NDArray[Any] = self.classifier.predict(to_float(images).reshape(len(images), -1))
        return labels

    def features(self, images: Array) -> Float32:
        """Return the activations of the last hidden layer, float32 (n, width)."""
        values = to_float(images).reshape(len(images), -1)
        for weights, biases in list(zip(self.classifier.coefs_, self.classifier.intercepts_, strict=True))[:-1]:
            values = np.maximum(values @ weights + biases, 0)
        return values.astype(np.float32)


def _set_rate(classifier: Any, rate: float) -> None:
    """Set the learning rate, also during training.

    During training that takes a private attribute of scikit-learn; without it the learning rate stays constant.
    """
    for holder in (classifier, getattr(classifier, "_optimizer", None)):
        if holder is not None:
            holder.learning_rate_init = rate


def frechet_distance(features: Float32, others: Float32) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features (Heusel et al. 2017), in squared feature units.

    Parameters
    ----------
    features, others : ndarray (n, d) and (m, d), float32
    """
    with quiet():  # raised inside torchmetrics' own imports
        from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Identity(features.shape[1]))
    metric.update(torch.from_numpy(features), real=True)
    metric.update(torch.from_numpy(others), real=False)
    return float(metric.compute())


class _Identity(torch.nn.Module):
    """Replaces torchmetrics' Inception network, since the inputs are features already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def nearest_images(images: Array, training: Array) -> tuple[Float32, NDArray[np.int64]]:
    """(distance (n,), row (n,)) of the nearest of the `training` images, as the RMSE of pixels."""
    from sklearn.neighbors import NearestNeighbors

    flat, others = (to_float(some).reshape(len(some), -1) for some in (images, training))
    distances, rows = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others).kneighbors(flat)
    return (distances[:, 0] / flat.shape[1] ** 0.5).astype(np.float32), rows[:, 0]


def precision_and_recall(real: Float32, generated: Float32) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, equation 2, k = 3).

    Precision is the share of generated features within the k-th nearest neighbour distance of a real feature; recall is the
    same with the roles exchanged.

    Parameters
    ----------
    real, generated : ndarray (n, d), float32
    """
    real_points, generated_points = torch.from_numpy(real), torch.from_numpy(generated)
    distances = torch.cdist(real_points, generated_points)
    real_radii, generated_radii = (
        torch.cdist(points, points).kthvalue(_N_NEIGHBOURS + 1, dim=1).values for points in (real_points, generated_points)
    )  # + 1: the nearest is the point itself
    precision = (distances <= real_radii[:, None]).any(0).float().mean()
    recall = (distances <= generated_radii[None, :]).any(1).float().mean()
    return float(precision), float(recall)

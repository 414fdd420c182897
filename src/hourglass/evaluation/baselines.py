"""What a task is worth without an autoencoder: the trivial answers that every figure stands beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hourglass.corruption import Corruption, seeded
from hourglass.errors import DataError
from hourglass.images import Array, Float32, to_float

_BATCH = 1024
MAX_VALUES = 4096
"""Largest number of values an image for the exact linear baselines, whose matrices have the square of it."""


class LinearDenoiser:
    """The best linear map from damaged to clean images: ridge regression, solved exactly, in pieces of the data.

    Gram matrices are summed up over batches, so that memory does not grow with the number of images (scikit-learn's Ridge
    would hold several copies of all of them). The strength of the ridge is the best of `strengths` on held-out images.
    """

    def __init__(self, strengths: Sequence[float] = (1.0, 10.0, 100.0, 1000.0)) -> None:
        self.strengths = strengths

    def fit(self, clean: Array, corruption: Corruption, seed: int) -> Self:
        """Fit on `clean` (n, h, w[, c]), damaged once by `corruption`; a tenth of the images choose the strength.

        Raises
        ------
        DataError
            If an image has more than `MAX_VALUES` values.
        """
        values = int(np.prod(clean.shape[1:]))
        if values > MAX_VALUES:
            raise DataError(f"{values:,} values an image; the linear denoiser is fitted on {MAX_VALUES:,} at most.")
        order = np.random.default_rng(seed).permutation(len(clean))
        held_out, rows = order[: max(1, len(clean) // 10)], order[len(clean) // 10 :]
        gram, cross = np.zeros((values + 1, values + 1)), np.zeros((values + 1, values))
        generator = seeded(seed)
        for start in range(0, len(rows), _BATCH):
            targets = to_float(clean[rows[start : start + _BATCH]])
            inputs = _with_one(corruption(targets, generator))
            gram += inputs.T @ inputs
            cross += inputs.T @ targets.reshape(len(targets), -1)
        targets = to_float(clean[held_out])
        inputs = corruption(targets, generator)
        ridge = np.ones(values + 1)
        ridge[-1] = 0  # the constant is free
        fits = []
        for strength in self.strengths:
            self.weights = np.linalg.solve(gram + np.diag(strength * ridge), cross).astype(np.float32)
            fits.append((float(np.square(self.transform(inputs) - targets).mean()), strength, self.weights))
        _, self.strength, self.weights = min(fits, key=lambda fit: fit[0])
        return self

    def transform(self, damaged: Array) -> Float32:
        """Clean images for `damaged`, same shape, clipped to 0..1."""
        made = np.empty(damaged.shape, dtype=np.float32)
        for start in range(0, len(damaged), _BATCH):
            batch = damaged[start : start + _BATCH]
            made[start : start + _BATCH] = np.clip(_with_one(batch) @ self.weights, 0, 1).reshape(batch.shape)
        return made


class MedianDenoiser:
    """Each pixel becomes the median of its neighbourhood; the size of it is the best of `sizes` on the given images."""

    def __init__(self, sizes: Sequence[int] = (3, 5)) -> None:
        self.sizes = sizes

    def fit(self, clean: Array, corruption: Corruption, seed: int) -> Self:
        targets = to_float(clean[:500])
        damaged = corruption(targets, seed)
        errors = []
        for size in self.sizes:
            self.size = size
            errors.append(float(np.square(self.transform(damaged) - targets).mean()))
        self.size = self.sizes[int(np.argmin(errors))]
        return self

    def transform(self, damaged: Array) -> Float32:
        """Filtered images, same shape."""
        from scipy.ndimage import median_filter

        neighbourhood = (1, self.size, self.size, 1)[: damaged.ndim]
        filtered: Float32 = median_filter(to_float(damaged), size=neighbourhood)
        return filtered


class MeanImage:
    """Every image is answered with the mean of the training images: what a code of no numbers at all can do."""

    def fit(self, images: Array) -> Self:
        self.mean: NDArray[np.float64] = images.mean(axis=0, dtype=np.float64) / (255 if images.dtype == np.uint8 else 1)
        return self

    def reconstruct(self, images: Array) -> Float32:
        return np.broadcast_to(self.mean.astype(np.float32), images.shape)


class PrincipalComponents:
    """scikit-learn's PCA with as many components as the autoencoder's code: the best linear code."""

    def __init__(self, n_components: int) -> None:
        self.n_components = n_components

    def fit(self, images: Array) -> Self:
        from sklearn.decomposition import PCA

        flat = to_float(images).reshape(len(images), -1)
        exact = "covariance_eigh" if flat.shape[1] <= len(flat) else "full"  # "auto" may draw at random, and be a little worse
        solver = exact if min(flat.shape) <= MAX_VALUES else "auto"
        self.pca = PCA(min(self.n_components, *flat.shape), svd_solver=solver, random_state=0).fit(flat)
        return self

    def transform(self, images: Array) -> Float32:
        codes: Float32 = self.pca.transform(to_float(images).reshape(len(images), -1))
        return codes

    def reconstruct(self, images: Array) -> Float32:
        flat = to_float(images).reshape(len(images), -1)
        made: Float32 = np.clip(self.pca.inverse_transform(self.pca.transform(flat)), 0, 1).reshape(images.shape)
        return made


def _with_one(images: Array) -> Float32:
    """Images as rows, and a last column of ones for the constant."""
    flat = images.reshape(len(images), -1)
    return np.concatenate([flat, np.ones((len(flat), 1), dtype=np.float32)], axis=1)

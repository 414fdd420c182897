"""Baselines without an autoencoder, to compare every result with."""

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
"""Largest number of values per image for exact linear baselines, whose matrices grow with its square."""


class LinearDenoiser:
    """The best linear map from corrupted to clean images: exact ridge regression.

    Gram matrices are accumulated over batches, so that memory does not grow with the number of images, while scikit-learn's
    Ridge would copy all of them several times. The regularisation strength is the best of `strengths` on held-out images.
    """

    def __init__(self, strengths: Sequence[float] = (1.0, 10.0, 100.0, 1000.0)) -> None:
        self.strengths = strengths

    def fit(self, clean: Array, corruption: Corruption, seed: int) -> Self:
        """Fit on `clean` (n, h, w[, c]), corrupted once by `corruption`; a tenth of the images selects the strength.

        Raises
        ------
        DataError
            If an image has more than `MAX_VALUES` values.
        """
        values = int(np.prod(clean.shape[1:]))
        if values > MAX_VALUES:
            raise DataError(f"{values:,} values per image; the linear denoiser takes at most {MAX_VALUES:,}.")
        order = np.random.default_rng(seed).permutation(len(clean))
        held_out, rows = order[: max(1, len(clean) // 10)], order[len(clean) // 10 :]
        gram, cross = np.zeros((values + 1, values + 1)), np.zeros((values + 1, values))
        generator = seeded(seed)
        for start in range(0, len(rows), _BATCH):
            targets = to_float(clean[rows[start : start + _BATCH]])
            inputs = _with_constant(corruption(targets, generator))
            gram += inputs.T @ inputs
            cross += inputs.T @ targets.reshape(len(targets), -1)
        targets = to_float(clean[held_out])
        inputs = corruption(targets, generator)
        ridge = np.ones(values + 1)
        ridge[-1] = 0  # the intercept is not regularised
        fits = []
        for strength in self.strengths:
            self.weights = np.linalg.solve(gram + np.diag(strength * ridge), cross).astype(np.float32)
            fits.append((float(np.square(self.transform(inputs) - targets).mean()), strength, self.weights))
        _, self.strength, self.weights = min(fits, key=lambda fit: fit[0])
        return self

    def transform(self, corrupted: Array) -> Float32:
        """Denoise images; same shape, clipped to 0..1."""
        denoised = np.empty(corrupted.shape, dtype=np.float32)
        for start in range(0, len(corrupted), _BATCH):
            batch = corrupted[start : start + _BATCH]
            denoised[start : start + _BATCH] = np.clip(_with_constant(batch) @ self.weights, 0, 1).reshape(batch.shape)
        return denoised


class MedianDenoiser:
    """A median filter whose size is the best of `sizes` on the training images."""

    def __init__(self, sizes: Sequence[int] = (3, 5)) -> None:
        self.sizes = sizes

    def fit(self, clean: Array, corruption: Corruption, seed: int) -> Self:
        targets = to_float(clean[:500])
        corrupted = corruption(targets, seed)
        errors = []
        for size in self.sizes:
            self.size = size
            errors.append(float(np.square(self.transform(corrupted) - targets).mean()))
        self.size = self.sizes[int(np.argmin(errors))]
        return self

    def transform(self, corrupted: Array) -> Float32:
        """Filter images; same shape."""
        from scipy.ndimage import median_filter

        neighbourhood = (1, self.size, self.size, 1)[: corrupted.ndim]
        filtered: Float32 = median_filter(to_float(corrupted), size=neighbourhood)
        return filtered


class MeanImage:
    """Reconstructs every image as the mean of the training images, like a code of zero dimensions."""

    def fit(self, images: Array) -> Self:
        self.mean: NDArray[np.float64] = images.mean(axis=0, dtype=np.float64) / (255 if images.dtype == np.uint8 else 1)
        return self

    def reconstruct(self, images: Array) -> Float32:
        return np.broadcast_to(self.mean.astype(np.float32), images.shape)


class PrincipalComponents:
    """scikit-learn's PCA, the best linear code of `n_components` dimensions."""

    def __init__(self, n_components: int) -> None:
        self.n_components = n_components

    def fit(self, images: Array) -> Self:
        from sklearn.decomposition import PCA

        flat = to_float(images).reshape(len(images), -1)
        exact = "covariance_eigh" if flat.shape[1] <= len(flat) else "full"  # "auto" may be randomised and less accurate
        solver = exact if min(flat.shape) <= MAX_VALUES else "auto"
        self.pca = PCA(min(self.n_components, *flat.shape), svd_solver=solver, random_state=0).fit(flat)
        return self

    def transform(self, images: Array) -> Float32:
        codes: Float32 = self.pca.transform(to_float(images).reshape(len(images), -1))
        return codes

    def reconstruct(self, images: Array) -> Float32:
        flat = to_float(images).reshape(len(images), -1)
        reconstructions: Float32 = np.clip(self.pca.inverse_transform(self.pca.transform(flat)), 0, 1).reshape(images.shape)
        return reconstructions


def _with_constant(images: Array) -> Float32:
    """Flatten images to rows and append a column of ones for the intercept."""
    flat = images.reshape(len(images), -1)
    return np.concatenate([flat, np.ones((len(flat), 1), dtype=np.float32)], axis=1)

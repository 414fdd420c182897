"""Whether codes that were learned without labels tell the labels at hand apart better than PCA does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.anomaly.surfaces import reduced
from hourglass.errors import DataError
from hourglass.evaluation.baselines import MAX_VALUES, PrincipalComponents
from hourglass.images import Array, Float32

N_NEAREST = 5
_MOST_IMAGES, _MOST_PIXELS, _FEWEST_IMAGES = 5000, 50_000_000, 32

Encode = Callable[[Any], Float32]


class LabelAgreement(NamedTuple):
    """Of the five nearest other images, the mean share that has an image's own label, in 0..1: by codes, and by PCA."""

    ours: float
    pca: float
    n_components: int
    """Of the PCA: as many as the codes have, at most."""

    @property
    def is_worse(self) -> bool:
        """By more than half a percent, which another seed can bring."""
        return self.ours < self.pca - 0.005

    def __str__(self) -> str:
        shares = f"{100 * self.ours:.1f} % by these codes, {100 * self.pca:.1f} % by {self.n_components} principal components"
        return f"Of the {N_NEAREST} nearest other images, so many have the same label: {shares}."


def label_agreement(encode: Encode, images: Sequence[Array] | Array, labels: NDArray[Any]) -> LabelAgreement | None:
    """Compare the codes of images, by Euclidean distance, with as many principal components; None without two labels.

    Of more than 5,000 images, or 50 million pixels, some are taken at equal steps. The principal components are those of
    thumbnails of 24 × 24 pixels if images differ in size or have more than 4,096 values.

    Raises
    ------
    DataError
        For rows of a table, and for codes that are maps or not finite.
    """
    if images[0].ndim < 2:
        raise DataError("label_agreement takes images; PCA of a table's rows is scikit-learn's.")
    pixels = np.mean([image.shape[0] * image.shape[1] for image in images])
    count = min(len(images), _MOST_IMAGES, max(_FEWEST_IMAGES, int(_MOST_PIXELS // pixels)))
    rows = np.linspace(0, len(images) - 1, count).astype(np.int64)
    some = images[rows] if isinstance(images, np.ndarray) else [images[row] for row in rows]
    their_labels = np.asarray(labels)[rows]
    if len(some) < _FEWEST_IMAGES or len(np.unique(their_labels)) < 2:
        return None
    codes = encode(some)
    if codes.ndim != 2 or not np.isfinite(codes).all():
        raise DataError(f"codes of shape {codes.shape}; they must be finite and of shape (n, d) to be compared.")
    values = some if isinstance(some, np.ndarray) and some[0].size <= MAX_VALUES else np.stack([*map(reduced, some)])
    pca = PrincipalComponents(codes.shape[1]).fit(values)
    ours, theirs = (_share_of_neighbours(found, their_labels) for found in (codes, pca.transform(values)))
    return LabelAgreement(ours, theirs, pca.pca.n_components_)


def _share_of_neighbours(codes: Float32, labels: NDArray[Any]) -> float:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=N_NEAREST, algorithm="brute").fit(codes)
    nearest = search.kneighbors(return_distance=False)  # without the image itself
    return float((labels[nearest] == labels[:, None]).mean())

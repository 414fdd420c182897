"""Search by a part of a photograph: whether the photograph that it was cut from comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hourglass.evaluation.photos.protocols import Result, timed
from hourglass.evaluation.uses.search import unit_vectors
from hourglass.images import Array, Float32, to_float

Encode = Callable[[Sequence[Array]], Array]
"""Codes (n, d) of images of any size."""

SHARE = 3  # of height and width: a region is a ninth of a photograph
EACH = 5  # regions of each
_GAIN, _OFFSET = 0.15, 0.075  # the most that its light differs
_BINS = 6


def regions(images: Sequence[Array], seed: int) -> tuple[list[Float32], list[int]]:
    """(regions in another light, the number of the photograph of each): a third of height and width, anywhere."""
    rng = np.random.default_rng(seed)
    found, owners = [], []
    for owner, image in enumerate(images):
        height, width = (length // SHARE for length in image.shape[:2])
        for _ in range(EACH):
            top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
            gain, offset = 1 + rng.uniform(-_GAIN, _GAIN), rng.uniform(-_OFFSET, _OFFSET)
            region = to_float(image[top : top + height, left : left + width])
            found.append(np.clip(gain * region + offset, 0, 1).astype(np.float32))
            owners.append(owner)
    return found, owners


def search_rows(
    methods: Mapping[str, Encode], photographs: Sequence[Array], others: Sequence[Array], seed: int
) -> list[Result]:
    """Measure methods by how near the photograph of each region is among `photographs` and `others`, by the cosine of codes.

    Recall at 1 and at 5, and the mean reciprocal rank. The seconds are those to encode one image.
    """
    queries, owners = regions(photographs, seed)
    index = [*photographs, *others]
    rows = []
    for method, encode in methods.items():
        codes, seconds = timed(encode, index)
        similarity = unit_vectors(np.asarray(encode(queries))) @ unit_vectors(np.asarray(codes)).T
        own = similarity[np.arange(len(owners)), owners]
        ranks = (~(similarity < own[:, None])).sum(1) - 1  # equal codes, and NaN, count against a method
        values = {"recall 1": float((ranks == 0).mean()), "recall 5": float((ranks < 5).mean())}
        values |= {"mrr": float((1 / (1 + ranks)).mean()), "seconds": seconds / len(index)}
        rows.append(Result("search", f"regions of {len(photographs)} among {len(index)}", method, values))
    return rows


def histograms(images: Sequence[Array]) -> Array:
    """Square roots of colour histograms of 6³ bins, whose cosine is Bhattacharyya's: float64 (n, 216)."""

    def histogram(image: Array) -> Array:
        levels = np.minimum((to_float(image) * _BINS).astype(np.int64), _BINS - 1)
        places = (levels[..., 0] * _BINS + levels[..., 1]) * _BINS + levels[..., 2]
        counts: Array = np.sqrt(np.bincount(places.ravel(), minlength=_BINS**3) / places.size)
        return counts

    return np.stack([histogram(image) for image in images])


def mean_colours(images: Sequence[Array]) -> Array:
    """Mean and standard deviation of each channel: float64 (n, 6)."""
    return np.stack([np.concatenate([to_float(image).mean((0, 1)), to_float(image).std((0, 1))]) for image in images])

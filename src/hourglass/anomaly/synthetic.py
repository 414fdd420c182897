"""Synthetic anomalies, made from normal samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.corruption import DEFECTS, Defects, seeded
from hourglass.images import Array, Sample, to_uint8

Rows = NDArray[np.float64]


def synthetic_rows(rows: Array, count: int, seed: int) -> dict[str, Rows]:
    """Make anomalies of a table's normal rows: {kind: (count, features)}.

    "swapped" has some columns of another row, so that each value is usual and their combination is not; "out of range" some
    columns beyond the smallest or largest value, by up to a standard deviation; "jittered" noise of half a standard deviation;
    "between" lies halfway between two rows; "beyond" as far outside of them.

    Parameters
    ----------
    rows : ndarray (n, features)
        Normal rows, which evidence was not learned from.
    count : int
        Anomalies of each kind.
    seed : int

    Returns
    -------
    dict of str to ndarray (count, features), float64
    """
    rng, values = np.random.default_rng(seed), np.asarray(rows, dtype=np.float64)
    shape, deviation = (count, values.shape[1]), values.std(0)
    one, other = (values[rng.integers(len(values), size=count)] for _ in range(2))
    reach = rng.random(shape) * deviation
    outside = np.where(rng.random(shape) < 0.5, values.max(0) + reach, values.min(0) - reach)
    varying = np.flatnonzero(deviation) if deviation.any() else np.arange(len(deviation))

    def some_columns(share: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which columns of each row: each with the probability `share`, and at least one that varies."""
        chosen: NDArray[np.bool_] = np.arange(shape[1]) == rng.choice(varying, (count, 1))
        return chosen | (rng.random(shape) < share)

    return {
        "swapped": np.where(some_columns(rng.uniform(0.1, 0.5, (count, 1))), other, one),
        "out of range": np.where(some_columns(np.full((count, 1), 0.1)), outside, one),
        "jittered": one + 0.5 * deviation * rng.normal(size=shape),
        "between": (one + other) / 2,
        "beyond": one + 0.5 * (one - other),
    }


def synthetic_images(images: Any, sample: Sample, count: int, seed: int) -> Iterator[tuple[str, list[Array]]]:
    """Yield images with one synthetic defect each, uint8: (kind of `Defects`, list of `count` images).

    Parameters
    ----------
    images : ndarray (n, h, w) or (n, h, w, c), or list of images of several sizes
        Normal images, which the network was not trained on, to take in turn.
    sample : Sample
        Converts them to network input.
    count : int
        Images of each kind.
    seed : int
    """
    generator = seeded(seed)

    def corrupted(image: Array, kind: str) -> Array:
        values = torch.from_numpy(sample.to_network(image[None]))
        return to_uint8(sample.from_network(Defects(1, kinds=(kind,)).corrupt(values, generator).numpy())[0])

    for kind in DEFECTS:
        yield kind, [corrupted(images[number % len(images)], kind) for number in range(count)]

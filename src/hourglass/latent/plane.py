"""Two-dimensional codes: a grid over the plane, and the class of each point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hourglass.latent.density import Mixture

Codes = NDArray[np.float32]


def bounds(codes: Codes, share: float = 0.99) -> tuple[float, float, float, float]:
    """Return (left, right, bottom, top) of the central quantile range that holds `share` of `codes` (n, 2) on each axis."""
    tail = (1 - share) / 2
    low, high = np.quantile(codes, [tail, 1 - tail], axis=0)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def grid(extent: tuple[float, float, float, float], columns: int, rows: int) -> Codes:
    """Return the cell centres (rows · columns, 2) of a grid over (left, right, bottom, top), row by row from the bottom."""
    left, right, bottom, top = extent
    x = left + (np.arange(columns) + 0.5) / columns * (right - left)
    y = bottom + (np.arange(rows) + 0.5) / rows * (top - bottom)
    return np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2).astype(np.float32)


def classify(density: Mixture, codes: Codes, level: float = 0.0) -> NDArray[np.int64]:
    """Return the most probable class index of `codes`, int (n,); -1 where the density is below `level`."""
    joint = density.log_class_densities(codes)
    return np.where(np.exp(joint).sum(1) < level, -1, joint.argmax(1))


def sample_class(density: Mixture, n: int, label: int, generator: np.random.Generator) -> Codes:
    """Sample `n` typical codes (n, 2) of class `label`: the quarter of 4 · n samples with the highest class probability."""
    codes, _ = density.sample(4 * n, generator, label)
    joint = density.log_class_densities(codes)
    log_probability = joint[:, label] - np.logaddexp.reduce(joint, axis=1)
    return codes[np.sort(np.argsort(-log_probability, kind="stable")[:n])]

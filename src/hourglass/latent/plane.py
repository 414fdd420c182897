"""Codes of two numbers as places in a plane: a grid of them, and which class owns each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hourglass.latent.density import Mixture

Codes = NDArray[np.float32]


def bounds(codes: Codes, share: float = 0.99) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of the box that holds the middle `share` of `codes` (n, 2) on each axis."""
    tail = (1 - share) / 2
    low, high = np.quantile(codes, [tail, 1 - tail], axis=0)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def plane(extent: tuple[float, float, float, float], columns: int, rows: int) -> Codes:
    """Codes (rows · columns, 2) at the middles of the cells of a grid over (left, right, bottom, top), rows from the bottom."""
    left, right, bottom, top = extent
    across = left + (np.arange(columns) + 0.5) / columns * (right - left)
    upward = bottom + (np.arange(rows) + 0.5) / rows * (top - bottom)
    return np.stack(np.meshgrid(across, upward), axis=2).reshape(-1, 2).astype(np.float32)


def owners(density: Mixture, codes: Codes, level: float = 0.0) -> NDArray[np.int64]:
    """The class that most likely made each of `codes`: int (n,), from 0; -1 where the whole density is below `level`."""
    joint = density.log_class_densities(codes)
    return np.where(np.exp(joint).sum(1) < level, -1, joint.argmax(1))


def draw_inside(density: Mixture, n: int, label: int, generator: np.random.Generator) -> Codes:
    """`n` codes (n, 2) from the region of class `label`: of four times as many draws, those that are most surely of it."""
    codes, _ = density.sample(4 * n, generator, label)
    joint = density.log_class_densities(codes)
    surely = joint[:, label] - np.logaddexp.reduce(joint, axis=1)
    return codes[np.sort(np.argsort(-surely, kind="stable")[:n])]

"""Default fits of every network on images that invite it to answer one constant for all."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

import hourglass as hg

Images = NDArray[np.uint8]


def squares(n: int, background: int, square: int) -> Images:
    """A square of 2×2 pixels somewhere on an even background, uint8 (n, 16, 16)."""
    rng = np.random.default_rng(0)
    images = np.full((n, 16, 16), background, np.uint8)
    for image in images:
        row, column = rng.integers(0, 14, 2)
        image[row : row + 2, column : column + 2] = square
    return images


def waves(n: int, side: int) -> Images:
    """Sums of two sines, uint8 (n, side, side)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    phase, pace = rng.uniform(0, 6.28, (2, n, 1, 1)), rng.uniform(2, 8, (2, n, 1, 1))
    return hg.to_uint8(0.5 + 0.25 * np.sin(pace[0] * x + phase[0]) + 0.25 * np.sin(pace[1] * y + phase[1]))


KINDS: dict[str, Images] = {
    "sparse": squares(120, 0, 255),
    "inverted": squares(120, 255, 0),
    "constant background": squares(120, 180, 243),
    "tiny": waves(120, 4),
    "high contrast": np.where(waves(120, 16) > 127, 255, 0).astype(np.uint8),
    "natural": waves(120, 16),
}


def share(network: str, kind: str, seed: int = 0, hidden: tuple[int, ...] | None = None) -> float:
    """The error of a default fit on `KINDS[kind]`, as a share of that of the mean image."""
    images = KINDS[kind]
    values = images / np.float32(255)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hg.HourglassWarning)  # of a second training at a lower rate
        made = hg.Autoencoder(8, network=network, hidden=hidden, random_state=seed).fit(images).reconstruct(images)
    return float(np.square(made - values).mean() / np.square(values - values.mean(0)).mean())

"""Maps of the reconstruction error of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from hourglass.images import Array, Float32, to_float
from hourglass.trained import Trained

BLUR = 1.0  # pixels
_EXCEEDING, _MOST_IMAGES = 0.001, 200  # share of pixels above the level, images to find it
_MOST_PIXELS = 10_000_000


def error_maps(images: Array | Sequence[Array], model: Trained, blur: float = BLUR) -> list[Float32]:
    """The squared reconstruction error of each image, averaged over channels and smoothed: float32 (h, w).

    Parameters
    ----------
    images : ndarray (n, h, w) or (n, h, w, c), or list of images of several sizes
        Checked.
    model : Trained
    blur : float
        Standard deviation in pixels of a Gaussian filter; 0 for none.
    """
    restored = model.reconstruct(images, check_input=False)
    maps = []
    for image, output in zip(images, restored, strict=True):
        squares = np.square(to_float(image) - output)
        errors: Float32 = squares if squares.ndim == 2 else squares.mean(2)
        maps.append(gaussian_filter(errors, blur) if blur else errors)
    return maps


def level_of(images: Array | Sequence[Array], model: Trained) -> float:
    """The level that one in a thousand pixels of the error maps of some normal images exceeds."""
    some = images[:: -(-len(images) // _MOST_IMAGES)]
    values = [errors.ravel() for errors in error_maps(some, model)]
    step = -(-sum(map(len, values)) // _MOST_PIXELS)
    return float(np.quantile(np.concatenate([pixels[::step] for pixels in values]), 1 - _EXCEEDING))

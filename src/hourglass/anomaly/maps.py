"""Maps of the reconstruction error of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from hourglass.images import Array, Float32, to_float
from hourglass.trained import Trained

BLUR = 1.0  # pixels
_EXCEEDING, _MOST_IMAGES = 0.001, 200  # share of pixels above the level, images to find it
_MOST_PIXELS = 10_000_000  # to take a quantile of
_AT_ONCE = 4_000_000  # pixels to reconstruct


def error_maps(images: Array | Sequence[Array], model: Trained, blur: float = BLUR) -> Iterator[Float32]:
    """Yield the squared reconstruction error of each image, averaged over channels and smoothed: float32 (h, w).

    Some images are reconstructed at once, to bound memory; those of a list one by one.

    Parameters
    ----------
    images : ndarray (n, h, w) or (n, h, w, c), or list of images of several sizes
        Checked.
    model : Trained
    blur : float
        Standard deviation in pixels of a Gaussian filter; 0 for none.
    """
    count = max(1, _AT_ONCE // math.prod(images.shape[1:3])) if isinstance(images, np.ndarray) else 1
    for start in range(0, len(images), count):
        part = images[start : start + count]
        for image, output in zip(part, model.reconstruct(part, check_input=False), strict=True):
            squares = np.square(to_float(image) - output)
            errors: Float32 = squares if squares.ndim == 2 else squares.mean(2)
            yield gaussian_filter(errors, blur) if blur else errors


def level_of(images: Array | Sequence[Array], model: Trained) -> float:
    """The level that one in a thousand pixels of the error maps of some normal images exceeds."""
    some = images[:: -(-len(images) // _MOST_IMAGES)]
    step = -(-sum(math.prod(image.shape[:2]) for image in some) // _MOST_PIXELS)
    values = [errors.ravel()[::step].copy() for errors in error_maps(some, model)]
    return float(np.quantile(np.concatenate(values), 1 - _EXCEEDING))

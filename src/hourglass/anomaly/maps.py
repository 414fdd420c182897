"""Maps of the reconstruction error of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from hourglass.images import Array, Float32, to_float
from hourglass.trained import Trained

BLUR = 1.0  # pixels
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

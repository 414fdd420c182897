"""Pairs for training on noisy images alone, where no clean ones exist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError
from hourglass.images import Array, as_samples

_PARTNERS = np.array([[1, 2], [0, 3], [0, 3], [1, 2]])  # the pixels beside each of a cell, which are numbered row by row


def neighbour_pairs(images: Sequence[Array] | Array, *, n_draws: int = 4, seed: int = 0) -> tuple[list[Array], list[Array]]:
    """Two noisy images of half the size from each noisy image: an input and a target (Neighbor2Neighbor; Huang et al. 2021).

    Of each cell of 2×2 pixels, a random one goes into the input, and one beside it into the target. Both show the same
    scene, with noise of their own; so a network that maps one to the other learns the clean image, as it cannot predict the
    target's noise. This holds if the noise has mean zero and differs from pixel to pixel, which JPEG's artefacts and stripes
    do not.

    Parameters
    ----------
    images : sequence of ndarray (h, w) or (h, w, c) or Pillow images, or array of such
        At least 2×2; an odd last row or column is left out.
    n_draws : int
        Pairs from each image.
    seed : int
        Of the choice of pixels.

    Returns
    -------
    (list of ndarray, list of ndarray)
        Inputs and targets for `Denoiser.fit`, of the dtype of `images`.

    Raises
    ------
    DataError
        If an image is smaller than 2×2.

    Examples
    --------
    >>> import hourglass as hg, numpy as np
    >>> inputs, targets = hg.neighbour_pairs(np.zeros((3, 9, 8), np.uint8))
    >>> len(inputs), targets[0].shape
    (12, (4, 4))
    """
    rng = np.random.default_rng(seed)
    inputs, targets = list[Array](), list[Array]()
    for image in as_samples(images):
        height, width = image.shape[0] // 2, image.shape[1] // 2
        if not height or not width:
            raise DataError(f"an image of {image.shape[1]}×{image.shape[0]} has no cell of 2×2 pixels.")
        cells = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, *image.shape[2:]).swapaxes(1, 2)
        cells = cells.reshape(height, width, 4, *image.shape[2:])
        for _ in range(n_draws):
            first = rng.integers(4, size=(height, width))
            second = _PARTNERS[first, rng.integers(2, size=(height, width))]
            inputs.append(_picked(cells, first))
            targets.append(_picked(cells, second))
    return inputs, targets


def _picked(cells: Array, numbers: NDArray[np.int64]) -> Array:
    """One pixel of each cell (h, w, 4[, c])."""
    index = numbers.reshape(*numbers.shape, *[1] * (cells.ndim - 2))
    picked: Array = np.take_along_axis(cells, index, axis=2)[:, :, 0]
    return picked

"""Split images of any size into tiles of one size, and join them again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hourglass.errors import DataError
from hourglass.images import Array


def split_tiles(image: Array, shape: tuple[int, ...]) -> Array:
    """Tiles (n, *shape) that cover `image` (h, w) or (h, w, c), row by row; the last ones repeat the border's pixels.

    Raises
    ------
    DataError
        If the channels of the image differ from those of `shape`.
    """
    if image.shape[2:] != shape[2:]:
        raise DataError(f"an image has shape {image.shape}, the model's tiles have {shape}; channels must be equal.")
    height, width = shape[:2]
    rows, columns = -(-image.shape[0] // height), -(-image.shape[1] // width)
    padding = [(0, rows * height - image.shape[0]), (0, columns * width - image.shape[1])]
    padded = np.pad(image, [*padding, *[(0, 0)] * (image.ndim - 2)], mode="edge")
    return padded.reshape(rows, height, columns, width, *shape[2:]).swapaxes(1, 2).reshape(-1, *shape)


def join_tiles(tiles: Array, sizes: Sequence[tuple[int, int]]) -> list[Array]:
    """Images of `sizes` (height, width), from the tiles of all of them in order: the inverse of `split_tiles`."""
    height, width = tiles.shape[1:3]
    images, start = [], 0
    for size in sizes:
        rows, columns = -(-size[0] // height), -(-size[1] // width)
        part = tiles[start : start + rows * columns].reshape(rows, columns, *tiles.shape[1:])
        start += rows * columns
        whole = part.swapaxes(1, 2).reshape(rows * height, columns * width, *tiles.shape[3:])
        images.append(np.ascontiguousarray(whole[: size[0], : size[1]]))
    return images

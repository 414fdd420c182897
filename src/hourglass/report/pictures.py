"""Raster pictures: contact sheets and overlays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.images import Array, to_float, to_uint8


def sheet(images: Array, columns: int, gap: int = 1) -> NDArray[np.uint8]:
    """Arrange images (n, h, w) or (n, h, w, c) in rows of `columns`, `gap` grey pixels apart, as one uint8 image."""
    pixels = to_uint8(images)
    n, height, width, *channels = pixels.shape
    rows = -(-n // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, *channels), 128 if gap else 0, np.uint8)
    for index, image in enumerate(pixels):
        y, x = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[y : y + height, x : x + width] = image
    return canvas[..., 0] if channels == [1] else canvas


def overlay(image: Array, heat: Array, level: float) -> NDArray[np.uint8]:
    """Overlay a heat map in red on `image` (h, w) or (h, w, c) in grey; transparent at 0, opaque from `level` on.

    `heat` (h', w') is resized to the image.

    Returns
    -------
    ndarray (h, w, 3), uint8
    """
    values = to_float(image)
    grey = values if values.ndim == 2 else values[..., :3].mean(2)
    resized = Image.fromarray(heat).resize((grey.shape[1], grey.shape[0]), Image.Resampling.BILINEAR)
    opacity = np.clip(np.asarray(resized) / max(level, 1e-12), 0, 1)[..., None]
    red = np.array([1.0, 0.1, 0.0], dtype=np.float32)
    return to_uint8((1 - opacity) * grey[..., None] + opacity * red)

"""Pictures made of pixels alone: sheets of images, and images with marks on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.images import Array, to_float, to_uint8


def sheet(images: Array, columns: int, gap: int = 1) -> NDArray[np.uint8]:
    """Images (n, h, w) or (n, h, w, c) side by side in rows of `columns`, `gap` grey pixels apart: one uint8 image."""
    pixels = to_uint8(images)
    n, height, width, *channels = pixels.shape
    rows = -(-n // columns)
    large = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, *channels), 128 if gap else 0, np.uint8)
    for index, image in enumerate(pixels):
        y, x = (index // columns) * (height + gap), (index % columns) * (width + gap)
        large[y : y + height, x : x + width] = image
    return large[..., 0] if channels == [1] else large


def overlay(image: Array, heat: Array, level: float) -> NDArray[np.uint8]:
    """`image` (h, w) or (h, w, c) in grey, with `heat` laid over it in red: nothing at 0, full from `level` on.

    `heat` (h', w') of another size is stretched over the image.

    Returns
    -------
    ndarray (h, w, 3), uint8
    """
    values = to_float(image)
    grey = values if values.ndim == 2 else values[..., :3].mean(2)
    stretched = Image.fromarray(heat).resize((grey.shape[1], grey.shape[0]), Image.Resampling.BILINEAR)
    strength = np.clip(np.asarray(stretched) / max(level, 1e-12), 0, 1)[..., None]
    red = np.array([1.0, 0.1, 0.0], dtype=np.float32)
    return to_uint8((1 - strength) * grey[..., None] + strength * red)

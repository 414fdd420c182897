"""Heat maps over images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.images import Array, to_float, to_uint8


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

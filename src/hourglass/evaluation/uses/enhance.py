"""Enhancement: how near enlarged images come to the originals."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from hourglass.corruption import Downscale
from hourglass.errors import DataError
from hourglass.estimators import Enhancer
from hourglass.evaluation.baselines import LinearDenoiser
from hourglass.evaluation.uses.rows import Row, Setting
from hourglass.images import Array, Float32, to_float

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "Lanczos": Image.Resampling.LANCZOS}


def enhance(setting: Setting) -> list[Row]:
    """PSNR over all pixels of the test images, enlarged twofold from means of 2×2 pixels, beside filters and regression."""
    train, test = setting.dataset.train.images, setting.dataset.test.images
    ours, seconds = setting.fit(Enhancer(factor=2), train, name="enhance")
    low = ours.reduce(test)
    found = {name: _psnr(enlarged(low, test.shape[1:3], kernel), test) for name, kernel in FILTERS.items()}
    try:
        linear = LinearDenoiser().fit(train, Downscale(2), setting.seed)
        found["linear regression"] = _psnr(linear.transform(Downscale(2)(test)), test)
    except DataError as error:
        setting.notes.append(f"enhance: Linear regression left out: {error}")
    setting.pictures["enhance"] = {
        "given": ours._enlarge(low[:10]),
        "bicubic": enlarged(low[:10], test.shape[1:3], FILTERS["bicubic"]),
        "Enhancer": ours.transform(low[:10]),
        "original": test[:10],
    }
    bar = ("≥", 25.5) if setting.has_bars else None
    value = _psnr(ours.transform(low), test)
    side, large = "×".join(map(str, low.shape[1:3])), "×".join(map(str, test.shape[1:3]))
    return [Row("enhance", f"PSNR in dB, {side} to {large}", value, ".2f", found, setting.seed, seconds, bar)]


def enlarged(low: Float32, size: tuple[int, ...], kernel: Image.Resampling) -> Float32:
    """`low` (n, h, w[, c]) resized to `size` by one of Pillow's filters, clipped to 0..1."""
    planes = low[..., None] if low.ndim == 3 else low
    made = np.empty((len(low), *size, planes.shape[3]), dtype=np.float32)
    for image, target in zip(planes, made, strict=True):
        for channel in range(planes.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            target[..., channel] = np.asarray(plane.resize((size[1], size[0]), kernel))
    return np.clip(made, 0, 1).reshape(len(low), *size, *low.shape[3:])


def _psnr(made: Array, images: Array) -> float:
    return -10 * math.log10(np.square(made - to_float(images), dtype=np.float64).mean())

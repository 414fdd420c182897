"""Evaluation of enhancement: the error of enlarged images."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hourglass.corruption import Downscale
from hourglass.errors import DataError
from hourglass.estimators import Enhancer
from hourglass.evaluation.baselines import LinearDenoiser
from hourglass.evaluation.metrics import psnr
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.images import Float32

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "Lanczos": Image.Resampling.LANCZOS}


def enhance(setting: Setting) -> list[Measurement]:
    """PSNR on the test images, downscaled by 2×2 means and enlarged again, compared with filters and linear regression."""
    train, test = setting.dataset.train.images, setting.dataset.test.images
    ours, seconds = setting.fit(Enhancer(factor=2), train, name="enhance")
    low = ours.reduce(test)
    baselines = {name: psnr(resize(low, test.shape[1:3], kernel), test) for name, kernel in FILTERS.items()}
    try:
        linear = LinearDenoiser().fit(train, Downscale(2), setting.seed)
        baselines["linear regression"] = psnr(linear.transform(Downscale(2)(test)), test)
    except DataError as error:
        setting.notes.append(f"enhance: Linear regression left out: {error}")
    setting.pictures["enhance"] = {
        "given": ours._enlarge(low[:10]),
        "bicubic": resize(low[:10], test.shape[1:3], FILTERS["bicubic"]),
        "Enhancer": ours.transform(low[:10]),
        "original": test[:10],
    }
    bar = ("≥", 25.5) if setting.has_bars else None
    value = psnr(ours.transform(low), test)
    sizes = " to ".join("×".join(map(str, images.shape[1:3])) for images in (low, test))
    return [Measurement("enhance", f"PSNR in dB, {sizes}", value, ".2f", baselines, setting.seed, seconds, bar, True)]


def resize(low: Float32, size: tuple[int, ...], kernel: Image.Resampling) -> Float32:
    """Resize `low` (n, h, w[, c]) to `size` by one of Pillow's filters, clipped to 0..1."""
    sources = low[..., None] if low.ndim == 3 else low
    resized = np.empty((len(low), *size, sources.shape[3]), dtype=np.float32)
    for source, target in zip(sources, resized, strict=True):
        for channel in range(sources.shape[3]):
            image = Image.fromarray(np.ascontiguousarray(source[..., channel]))
            target[..., channel] = np.asarray(image.resize((size[1], size[0]), kernel))
    return np.clip(resized, 0, 1).reshape(len(low), *size, *low.shape[3:])

"""How the literature measures: luma, borders left out, outputs rounded to 8 bits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.evaluation.metrics import image_quality
from hourglass.images import Array, to_float, to_uint8

_LUMA = np.array([65.481, 128.553, 24.966]) / 255  # BT.601: 16 is black and 235 is white


@dataclass(frozen=True)
class Result:
    """The figures of one method in one setting.

    Attributes
    ----------
    part : str
        The part of the suite, such as "denoise".
    setting : str
        What was measured, such as "BSD68, σ = 25".
    method : str
    values : dict of str to float
        Means over the images: psnr in dB, ssim, rmse in 0..1, seconds an image, …
    is_published : bool
        Taken from a publication, not measured.
    """

    part: str
    setting: str
    method: str
    values: dict[str, float] = field(default_factory=dict)
    is_published: bool = False


Show = Callable[[str, str, Sequence[Array]], None]
"""Receives (setting, method, images)."""


def ignore(setting: str, method: str, images: Sequence[Array]) -> None:
    """Show nothing."""


def luma(image: Array) -> NDArray[np.uint8]:
    """Return the luma of a colour image by ITU-R BT.601 with 8 bits, 16..235; a grey image is returned as it is.

    Parameters
    ----------
    image : ndarray (h, w) or (h, w, 3), uint8
    """
    if image.ndim == 2:
        return image
    return np.rint(16 + image @ _LUMA).astype(np.uint8)


def mean_quality(outputs: Sequence[Array], targets: Sequence[Array], *, border: int = 0) -> dict[str, float]:
    """Mean PSNR in dB and SSIM over images; `border` pixels at each side are left out.

    Parameters
    ----------
    outputs : sequence of ndarray, uint8 or float
        Floats are clipped and rounded to 8 bits, as a file would hold them.
    targets : sequence of ndarray of the same shapes, uint8
    border : int
    """
    qualities = [
        image_quality(_inside(to_uint8(output), border), _inside(target, border))
        for output, target in zip(outputs, targets, strict=True)
    ]
    return {name: float(np.mean([quality[name] for quality in qualities])) for name in ("psnr", "ssim")}


def root_mean_square(outputs: Sequence[Array], targets: Sequence[Array]) -> float:
    """Root of the mean squared error over all pixels of all images, in 0..1."""
    squares = [np.square(to_float(a) - to_float(b), dtype=np.float64) for a, b in zip(outputs, targets, strict=True)]
    return float(np.sqrt(np.concatenate([image.ravel() for image in squares]).mean()))


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Return (result, seconds)."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def _inside(image: Array, border: int) -> Array:
    return image[border : image.shape[0] - border, border : image.shape[1] - border]

"""Enlarging: the luma of images that were reduced by bicubic interpolation with antialiasing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.evaluation.photos.protocols import Result, Show, ignore, luma, mean_quality, timed
from hourglass.images import Array, Float32, to_uint8

FACTORS = (2, 3, 4)

Enlarge = Callable[[list[Array], int], Sequence[Array]]
"""From images (h, w), uint8, and a factor to images (factor · h, factor · w)."""


def whole_blocks(image: Array, factor: int) -> Array:
    """Crop the lower and right border so that height and width are multiples of `factor`."""
    return image[: image.shape[0] // factor * factor, : image.shape[1] // factor * factor]


def reduced(image: Array, factor: int) -> NDArray[np.uint8]:
    """Reduce an image (h, w), uint8, by bicubic interpolation with antialiasing, rounded to 8 bits.

    Pillow's filter is the cubic of Keys (1981) with a = -0.5, widened by the factor, as Matlab's imresize.
    """
    size = (image.shape[1] // factor, image.shape[0] // factor)
    return to_uint8(_resized(image, size, Image.Resampling.BICUBIC))


def filtered(kernel: Image.Resampling) -> Enlarge:
    """Return the method that enlarges by one of Pillow's filters."""

    def enlarge(images: list[Array], factor: int) -> list[Float32]:
        return [_resized(image, (image.shape[1] * factor, image.shape[0] * factor), kernel) for image in images]

    return enlarge


def _resized(image: Array, size: tuple[int, int], kernel: Image.Resampling) -> Float32:
    """An image (h, w), uint8, of (width, height) in 0..1; Pillow rounds integers after each of its two passes, not floats."""
    values = np.asarray(Image.fromarray(image.astype(np.float32)).resize(size, kernel), dtype=np.float32)
    return values / np.float32(255)


FILTERS: dict[str, Enlarge] = {
    "bicubic": filtered(Image.Resampling.BICUBIC),
    "Lanczos": filtered(Image.Resampling.LANCZOS),
}


def enlarging_rows(
    methods: Mapping[str, Enlarge], sets: Mapping[str, Sequence[Array]], factors: Sequence[int] = FACTORS, show: Show = ignore
) -> list[Result]:
    """Measure methods on the same reduced images: mean PSNR in dB and SSIM of the luma, without `factor` pixels of border.

    Parameters
    ----------
    methods : dict of str to callable (images (h, w) uint8, factor) -> images (factor · h, factor · w)
        Their outputs are clipped and rounded to 8 bits.
    sets : dict of str to sequence of ndarray (h, w) or (h, w, 3), uint8
        Images of full resolution.
    factors : sequence of int
    show : callable (setting, method, images)
        Receives the images of each method, and the originals.
    """
    rows = []
    for name, images in sets.items():
        for factor in factors:
            high = [luma(whole_blocks(image, factor)) for image in images]
            low: list[Array] = [reduced(image, factor) for image in high]
            setting = f"{name} ×{factor}"
            show(setting, "original", high)
            for method, enlarge in methods.items():
                outputs, seconds = timed(enlarge, low, factor)
                values = mean_quality(outputs, high, border=factor) | {"seconds": seconds / len(images)}
                rows.append(Result("enhance", setting, method, values))
                show(setting, method, outputs)
    return rows

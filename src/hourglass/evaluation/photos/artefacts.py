"""JPEG artefacts, and stained documents: corrupted images beside clean targets."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.evaluation.photos.protocols import Result, Show, ignore, luma, mean_quality, root_mean_square, timed
from hourglass.images import Array

Restore = Callable[[list[Array]], Sequence[Array]]
"""From corrupted images (h, w), uint8, to restored ones of the same shape."""


def decoded_jpeg(image: Array, quality: int) -> NDArray[np.uint8]:
    """Return an image, (h, w) or (h, w, 3), uint8, as a JPEG file of this quality holds it."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def jpeg_rows(
    methods: Mapping[str, Restore],
    sets: Mapping[str, Sequence[Array]],
    qualities: Sequence[int] = (10,),
    show: Show = ignore,
) -> list[Result]:
    """Measure methods on the luma of images, saved as JPEG: mean PSNR in dB, SSIM, and gain over the decoded file in dB.

    Parameters
    ----------
    methods : dict of str to callable (images (h, w) uint8) -> images
        Their outputs are clipped and rounded to 8 bits.
    sets : dict of str to sequence of ndarray (h, w) or (h, w, 3), uint8
    qualities : sequence of int
    show : callable (setting, method, images)
        Receives the images of each method, the decoded ones and the originals.
    """
    rows = []
    for name, images in sets.items():
        planes: list[Array] = [luma(image) for image in images]
        for quality in qualities:
            setting = f"{name}, quality {quality}"
            decoded: list[Array] = [decoded_jpeg(plane, quality) for plane in planes]
            given = mean_quality(decoded, planes)
            rows.append(Result("jpeg", setting, "decoded file", given))
            show(setting, "original", planes)
            show(setting, "decoded file", decoded)
            for method, restore in methods.items():
                outputs, seconds = timed(restore, decoded)
                values = mean_quality(outputs, planes)
                values |= {"gain": values["psnr"] - given["psnr"], "seconds": seconds / len(images)}
                rows.append(Result("jpeg", setting, method, values))
                show(setting, method, outputs)
    return rows


def document_rows(
    methods: Mapping[str, Restore], noisy: Sequence[Array], clean: Sequence[Array], show: Show = ignore
) -> list[Result]:
    """Measure methods on scanned pages: the root mean square error over all pixels, in 0..1.

    Parameters
    ----------
    methods : dict of str to callable (pages (h, w) uint8) -> pages
    noisy, clean : sequence of ndarray (h, w), uint8
    show : callable (setting, method, images)
        Receives the images of each method, the scanned ones and the originals.
    """
    setting = f"{len(noisy)} pages"
    rows = [Result("documents", setting, "as scanned", {"rmse": root_mean_square(noisy, clean)})]
    show(setting, "original", clean)
    show(setting, "as scanned", noisy)
    for method, restore in methods.items():
        outputs, seconds = timed(restore, list(noisy))
        values = {"rmse": root_mean_square(outputs, clean), "seconds": seconds / len(noisy)}
        rows.append(Result("documents", setting, method, values))
        show(setting, method, outputs)
    return rows

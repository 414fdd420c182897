"""Compression: rate and distortion of whole files."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from hourglass.evaluation.bjontegaard import bjontegaard_rate, distortion_at, frontier
from hourglass.evaluation.metrics import psnr
from hourglass.evaluation.photos.protocols import Result
from hourglass.images import Array

RATES = (0.15, 1.2)
"""Bits per pixel between which curves are compared."""
SHOWN = (0.25, 0.5, 1.0)
"""Bits per pixel at which PSNR is given."""


@dataclass(frozen=True)
class Codec:
    """An image format: `encode` (image (h, w, 3) uint8, quality) -> bytes, `decode` (bytes) -> image."""

    encode: Callable[[Array, float], bytes]
    decode: Callable[[bytes], Array]
    qualities: Sequence[float]


@dataclass(frozen=True)
class Point:
    """Means over the images at one quality.

    Attributes
    ----------
    quality : float
    bpp : float
        Bits per pixel of the whole file.
    psnr : float
        In dB, over the three channels.
    encoding, decoding : float
        Seconds an image.
    """

    quality: float
    bpp: float
    psnr: float
    encoding: float
    decoding: float


def pillow(kind: str, qualities: Sequence[float], **options: Any) -> Codec:
    """Return one of Pillow's formats as a codec, with options for saving."""

    def encode(image: Array, quality: float) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, kind, quality=round(quality), **options)
        return stream.getvalue()

    return Codec(encode, lambda blob: np.asarray(Image.open(io.BytesIO(blob)).convert("RGB")), qualities)


CODECS = {
    "JPEG": pillow("JPEG", (3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90), optimize=True, subsampling="4:2:0"),
    "WebP": pillow("WEBP", (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90), method=6),
    "AVIF": pillow("AVIF", (10, 20, 30, 40, 50, 60, 70, 75, 80, 85)),
}
"""Formats of everyday use; chroma has half the resolution in all of them."""


def rate_distortion_curve(codec: Codec, images: Sequence[Array]) -> list[Point]:
    """Encode and decode images at every quality of `codec`: a point for each, in the order of their rates.

    Parameters
    ----------
    codec : Codec
    images : sequence of ndarray (h, w, 3), uint8
    """
    points = []
    for quality in codec.qualities:
        measured = [_measured(codec, image, quality) for image in images]
        points.append(Point(quality, *np.mean(measured, axis=0).tolist()))
    return sorted(points, key=lambda point: point.bpp)


def _measured(codec: Codec, image: Array, quality: float) -> tuple[float, ...]:
    start = time.perf_counter()
    blob = codec.encode(image, quality)
    encoded = time.perf_counter()
    decoded = codec.decode(blob)
    end = time.perf_counter()
    bpp = 8 * len(blob) / (image.shape[0] * image.shape[1])
    return bpp, psnr(decoded, image), encoded - start, end - encoded


def compression_rows(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    reference: str = "JPEG",
    *,
    seconds: Mapping[str, float] | None = None,
    is_published: bool = False,
) -> list[Result]:
    """Compare rate-distortion curves on Kodak's photographs.

    Parameters
    ----------
    curves : dict of str to sequence of (bits per pixel, PSNR in dB)
    reference : str
        The name of a curve: others are compared with its rate, by Bjøntegaard's mean difference between `RATES`.
    seconds : dict of str to float, optional
        To encode and decode an image.
    is_published : bool
        For curves of publications; that of `reference` was measured.

    Returns
    -------
    list of Result
        bd_rate (-0.25: a quarter fewer bits at equal PSNR; missing where curves have no PSNR in common), PSNR at `SHOWN`.
    """
    rows = []
    for method, points in curves.items():
        if is_published and method == reference:
            continue
        values = {f"psnr at {rate:g}": value for rate in SHOWN if (value := distortion_at(points, rate)) is not None}
        difference = bjontegaard_rate(curves[reference], points, RATES)
        if difference is not None and method != reference:
            values["bd_rate"] = difference
        if seconds is not None:
            values["seconds"] = seconds[method]
        rows.append(Result("compress", "Kodak", method, values, is_published))
    return rows


def decoded_near(codec: Codec, image: Array, rate: float) -> Array:
    """The image as the file holds it whose rate is nearest to `rate`, in bits per pixel."""
    blobs = [codec.encode(image, quality) for quality in codec.qualities]
    pixels = image.shape[0] * image.shape[1]
    return codec.decode(min(blobs, key=lambda blob: abs(8 * len(blob) / pixels - rate)))


def as_pairs(points: Sequence[Point]) -> list[tuple[float, float]]:
    """The points as (bits per pixel, PSNR in dB), without those that take more bits than another for no more PSNR."""
    return frontier([(point.bpp, point.psnr) for point in points])


def as_content(curves: Mapping[str, Sequence[Point]]) -> dict[str, list[dict[str, float]]]:
    """The curves as JSON."""
    return {name: [asdict(point) for point in points] for name, points in curves.items()}

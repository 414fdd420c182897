"""Raster pictures: contact sheets, overlays, and crops at 1:1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hourglass.images import Array, to_uint8


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


_MARGIN, _LINE, _FONT_SIZE = 8, 20, 13  # of a sheet of crops, in pixels
_LEAST_COLUMN = 128
_THUMBNAIL = 160
_FONT = "fonts/ttf/DejaVuSans.ttf"  # of matplotlib; that of Pillow has neither × nor σ


def crop_sheet(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Array]]]) -> NDArray[np.uint8]:
    """Lay out crops at 1:1, a row of them below each caption, as one uint8 image (h, w, 3).

    Parameters
    ----------
    headings : sequence of str
        One for each column.
    rows : sequence of (caption, images (h, w) or (h, w, 3))
        As many images in each row as there are headings, uint8 or float in 0..1, of any sizes.
    """
    font = _font()
    pixels = [[_as_rgb(image) for image in images] for _, images in rows]
    widths = [
        max(_LEAST_COLUMN, round(font.getlength(heading)), *(row[column].shape[1] for row in pixels))
        for column, heading in enumerate(headings)
    ]
    heights = [_LINE + max(image.shape[0] for image in row) + _MARGIN for row in pixels]
    width = max(
        sum(widths) + _MARGIN * (len(widths) + 1), *(round(font.getlength(caption)) + 2 * _MARGIN for caption, _ in rows)
    )
    canvas = Image.new("RGB", (width, _MARGIN + _LINE + sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    lefts = [_MARGIN + sum(widths[:column]) + _MARGIN * column for column in range(len(widths))]
    for heading, left in zip(headings, lefts, strict=True):
        draw.text((left, _MARGIN), heading, fill="#666666", font=font)
    top = _MARGIN + _LINE
    for (caption, _), images, height in zip(rows, pixels, heights, strict=True):
        draw.text((_MARGIN, top), caption, fill="black", font=font)
        for image, left in zip(images, lefts, strict=True):
            canvas.paste(Image.fromarray(image), (left, top + _LINE))
        top += height
    return np.asarray(canvas)


def contact_sheet(pictures: Sequence[tuple[str, Array]], columns: int = 6) -> NDArray[np.uint8]:
    """Lay out thumbnails with a caption below each, as one uint8 image (h, w, 3).

    Parameters
    ----------
    pictures : sequence of (caption, `thumbnail`), at least one
        Captions are cut to the width of a thumbnail.
    columns : int
    """
    font, columns = _font(), min(columns, len(pictures))
    across, down = _THUMBNAIL + _MARGIN, _THUMBNAIL + _LINE + _MARGIN
    canvas = Image.new("RGB", (columns * across + _MARGIN, -(-len(pictures) // columns) * down + _MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (caption, image) in enumerate(pictures):
        left, top = _MARGIN + index % columns * across, _MARGIN + index // columns * down
        canvas.paste(Image.fromarray(image), (left + (_THUMBNAIL - image.shape[1]) // 2, top + _THUMBNAIL - image.shape[0]))
        draw.text((left, top + _THUMBNAIL), _cut(caption, font, _THUMBNAIL), fill="black", font=font)
    return np.asarray(canvas)


def thumbnail(image: Array) -> NDArray[np.uint8]:
    """An image (h, w) or (h, w, 3) reduced to at most 160 pixels, or repeated in whole multiples: uint8 (h', w', 3)."""
    pixels = _as_rgb(image)
    if times := _THUMBNAIL // max(pixels.shape[:2]):
        return pixels.repeat(times, 0).repeat(times, 1)
    small = Image.fromarray(pixels)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(small)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text` in one line, with an ellipsis at its end if it is wider than `width` pixels."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path(), _FONT), _FONT_SIZE)


def _as_rgb(image: Array) -> NDArray[np.uint8]:
    pixels = to_uint8(image)
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(np.broadcast_to(planes, (*planes.shape[:2], 3)) if planes.shape[2] == 1 else planes[..., :3])

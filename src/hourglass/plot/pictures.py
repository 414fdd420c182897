"""Raster pictures: images in a grid, and crops at 1:1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hourglass.images import Array, to_uint8
from hourglass.runtime.sheets import LINE, MARGIN, as_rgb, new_font


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


_LEAST_COLUMN = 128  # pixels


def crop_sheet(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[Array]]]) -> NDArray[np.uint8]:
    """Lay out crops at 1:1, a row of them below each caption, as one uint8 image (h, w, 3).

    Parameters
    ----------
    headings : sequence of str
        One for each column.
    rows : sequence of (caption, images (h, w) or (h, w, 3))
        As many images in each row as there are headings, uint8 or float in 0..1, of any sizes.
    """
    font = new_font()
    pixels = [[as_rgb(image) for image in images] for _, images in rows]
    widths = [
        max(_LEAST_COLUMN, round(font.getlength(heading)), *(row[column].shape[1] for row in pixels))
        for column, heading in enumerate(headings)
    ]
    heights = [LINE + max(image.shape[0] for image in row) + MARGIN for row in pixels]
    width = max(sum(widths) + MARGIN * (len(widths) + 1), *(round(font.getlength(caption)) + 2 * MARGIN for caption, _ in rows))
    canvas = Image.new("RGB", (width, MARGIN + LINE + sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    lefts = [MARGIN + sum(widths[:column]) + MARGIN * column for column in range(len(widths))]
    for heading, left in zip(headings, lefts, strict=True):
        draw.text((left, MARGIN), heading, fill="#666666", font=font)
    top = MARGIN + LINE
    for (caption, _), images, height in zip(rows, pixels, heights, strict=True):
        draw.text((MARGIN, top), caption, fill="black", font=font)
        for image, left in zip(images, lefts, strict=True):
            canvas.paste(Image.fromarray(image), (left, top + LINE))
        top += height
    return np.asarray(canvas)

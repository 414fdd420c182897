"""Sheets of thumbnails with captions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hourglass.images import Array, to_uint8

MARGIN, LINE, _FONT_SIZE = 8, 20, 13  # pixels
_THUMBNAIL = 160


def contact_sheet(pictures: Sequence[tuple[str, Array]], columns: int = 6) -> NDArray[np.uint8]:
    """Lay out thumbnails with a caption below each, as one uint8 image (h, w, 3).

    Parameters
    ----------
    pictures : sequence of (caption, `thumbnail`), at least one
        Captions are cut to the width of a thumbnail.
    columns : int
    """
    font, columns = new_font(), min(columns, len(pictures))
    across, down = _THUMBNAIL + MARGIN, _THUMBNAIL + LINE + MARGIN
    canvas = Image.new("RGB", (columns * across + MARGIN, -(-len(pictures) // columns) * down + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    for index, (caption, image) in enumerate(pictures):
        left, top = MARGIN + index % columns * across, MARGIN + index // columns * down
        canvas.paste(Image.fromarray(image), (left + (_THUMBNAIL - image.shape[1]) // 2, top + _THUMBNAIL - image.shape[0]))
        draw.text((left, top + _THUMBNAIL), _cut(caption, font, _THUMBNAIL), fill="black", font=font)
    return np.asarray(canvas)


def thumbnail(image: Array) -> NDArray[np.uint8]:
    """An image (h, w) or (h, w, 3) reduced to at most 160 pixels, or repeated in whole multiples: uint8 (h', w', 3)."""
    pixels = as_rgb(image)
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


def new_font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, if matplotlib, which brings it, is installed; else Pillow's font, which has Latin letters alone."""
    found = find_spec("matplotlib")  # without importing it
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():  # some distributions keep it elsewhere
            return ImageFont.truetype(path, _FONT_SIZE)
    font = ImageFont.load_default(_FONT_SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def as_rgb(image: Array) -> NDArray[np.uint8]:
    """An image (h, w) or (h, w, c) as uint8 (h, w, 3)."""
    pixels = to_uint8(image)
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(np.broadcast_to(planes, (*planes.shape[:2], 3)) if planes.shape[2] == 1 else planes[..., :3])

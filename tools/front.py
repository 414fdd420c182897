"""Compose docs/images/uses.png, six uses on real pictures, of the sheets in docs/results: `python tools/front.py`.

Nothing is computed: the crops are those that `hourglass evaluate` drew.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).resolve().parent.parent / "docs"
_SIDE, _GAP, _LINE = 160, 8, 20  # of a panel, between panels, of text, in pixels
_STEP = _SIDE + _GAP  # from one crop of a sheet to the next
_TOP = 48  # of a sheet's first row of crops
_ROW = 188  # from one row of crops to the next

# Heading, then (caption, sheet, left, top, side) of two panels.
_Panel = tuple[str, str, int, int, int]
COLUMNS: list[tuple[str, _Panel, _Panel]] = [
    (
        "Denoise",
        ("noisy, σ = 25", "results/photos/denoise-colour.png", _GAP + _STEP, _TOP, _SIDE),
        ("denoised", "results/photos/denoise-colour.png", _GAP + 6 * _STEP, _TOP, _SIDE),
    ),
    (
        "Restore scans",
        ("as scanned", "results/photos/documents.png", _GAP + _STEP, _TOP, _SIDE),
        ("restored", "results/photos/documents.png", 579, _TOP, _SIDE),
    ),
    (
        "Detect defects",
        ("a good tile", "results/surfaces.png", 176, 8, _SIDE),
        ("a fault, in red", "results/surfaces.png", 848, 384, _SIDE),
    ),
    (
        "Enlarge ×4",
        ("bicubic", "results/photos/enhance-4.png", _GAP + _STEP, _TOP, _SIDE),
        ("enlarged", "results/photos/enhance-4.png", _GAP + 3 * _STEP, _TOP, _SIDE),
    ),
    (
        "Compress",
        ("JPEG, 0.25 bits a pixel", "results/photos/compress.png", _GAP + 2 * _STEP, _TOP, _SIDE),
        ("ours, as many bits", "results/photos/compress.png", _GAP + _STEP, _TOP, _SIDE),
    ),
    (
        "Generate",
        ("drawn: a 2", "results/generate.png", 1328, 244, 102),
        ("drawn: a 5", "results/generate.png", 470, 584, 102),
    ),
]


def main() -> None:
    height = 2 * (_SIDE + _LINE) + _LINE + 3 * _GAP
    canvas = Image.new("RGB", (len(COLUMNS) * _STEP + _GAP, height), "white")
    draw = ImageDraw.Draw(canvas)
    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    bold, plain = (ImageFont.truetype(fonts / name, 13) for name in ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf"))
    for column, (heading, *panels) in enumerate(COLUMNS):
        left = _GAP + column * _STEP
        draw.text((left, _GAP), heading, fill="black", font=bold)
        for row, (caption, sheet, x, y, side) in enumerate(panels):
            top = _GAP + _LINE + row * (_SIDE + _LINE + _GAP)
            crop = Image.open(DOCS / sheet).convert("RGB").crop((x, y, x + side, y + side))
            canvas.paste(crop.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), (left, top))
            draw.text((left, top + _SIDE + 2), caption, fill="#666666", font=plain)
    canvas.save(DOCS / "images" / "uses.png", optimize=True)


if __name__ == "__main__":
    main()

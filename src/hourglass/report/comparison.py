"""Two folders of images compared: a sheet of crops, and a page with a slider over each pair."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.evaluation.comparison import ImagePair, PairFigures, most_different
from hourglass.images import Array, to_uint8
from hourglass.plot.pictures import crop_sheet
from hourglass.report.page import document

CROP = 192
"""Height and width of a crop, in pixels."""
MOST_SHOWN = 40
"""Pairs in the sheet and on the page: those with the lowest SSIM."""
_MOST_LOSSLESS = 512 * 512  # pixels of an image that is embedded as PNG
_QUALITY = 95  # of larger ones, as JPEG with full chroma
_LONGEST = 2000  # pixels of height or width on the page
_LEAST_WIDTH = 256  # smaller images are enlarged on the page


@dataclass(frozen=True)
class ShownPair:
    """What sheet and page hold of a pair.

    Attributes
    ----------
    figures : PairFigures
    crops : tuple of ndarray, uint8
        Of the first and second image where they differ most, and of both in the middle.
    sources : tuple of str
        Both images as data URIs.
    remark : str
        How the page shows them.
    """

    figures: PairFigures
    crops: tuple[Array, ...]
    sources: tuple[str, str]
    remark: str


def shown_pair(pair: ImagePair, figures: PairFigures) -> ShownPair:
    """Cut the crops of a pair, and encode its images for the page."""
    height, width = figures.height, figures.width
    middle = (max(0, height - CROP) // 2, max(0, width - CROP) // 2)
    crops = tuple(
        to_uint8(image[top : top + CROP, left : left + CROP]).copy()
        for top, left in (most_different(pair, (CROP, CROP)), middle)
        for image in (pair.first, pair.second)
    )
    sources = (_data_uri(to_uint8(pair.first)), _data_uri(to_uint8(pair.second)))
    return ShownPair(figures, crops, sources, _remark(height, width))


def _remark(height: int, width: int) -> str:
    if height * width <= _MOST_LOSSLESS:
        times = _enlargement(width)
        return "without loss" if times == 1 else f"without loss, {times} times as large"
    reduced = f", reduced to {_LONGEST:,} pixels" if max(height, width) > _LONGEST else ""
    return f"as JPEG of quality {_QUALITY}{reduced}"


def _enlargement(width: int) -> int:
    return max(1, math.ceil(_LEAST_WIDTH / width))


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    if pixels.shape[0] * pixels.shape[1] <= _MOST_LOSSLESS:
        kind = "PNG"
        image.save(stream, kind)
    else:
        kind = "JPEG"
        image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
        image.save(stream, kind, quality=_QUALITY, subsampling=0)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def comparison_sheet(shown: Sequence[ShownPair], names: tuple[str, str]) -> NDArray[np.uint8]:
    """Crops at 1:1 as one uint8 image (h, w, 3): of each pair a row, `names` being those of the folders."""
    headings = [f"{name}, {place}" for place in ("where they differ most", "the middle") for name in names]
    return crop_sheet(headings, [(f"{one.figures.name}: {in_words(one.figures)}", one.crops) for one in shown])


def in_words(figures: PairFigures) -> str:
    """PSNR, SSIM and MS-SSIM in a line."""
    if figures.are_equal:
        return "equal"
    quality = figures.quality
    more = "" if quality["ms_ssim"] is None else f", MS-SSIM {quality['ms_ssim']:.4f}"
    return f"PSNR {quality['psnr']:.2f} dB, SSIM {quality['ssim']:.4f}{more}"


def comparison_page(
    names: tuple[str, str],
    lead: Sequence[str],
    table: tuple[Sequence[str], Sequence[Sequence[str]]],
    shown: Sequence[ShownPair],
) -> str:
    """Return a self-contained page: a table of figures, and each pair under a slider for pointer and keyboard.

    Parameters
    ----------
    names : (str, str)
        Of the two folders or files.
    lead : sequence of str
        Paragraphs below the title.
    table : (headings, rows)
        The first cell of a row is the name of a pair.
    shown : sequence of ShownPair
    """
    package = files("hourglass.report")
    style, script = (package.joinpath(name).read_text(encoding="utf-8") for name in ("comparison.css", "comparison.js"))
    places = {one.figures.name: f"pair-{number}" for number, one in enumerate(shown)}
    title = f"{names[0]} and {names[1]}"
    body = f"""<header>
<h1>{escape(title)}</h1>
{"".join(f"<p>{escape(paragraph)}</p>" for paragraph in lead)}
{_table(*table, places)}
<p><label><input type="checkbox" id="actual"> Actual pixels</label></p>
</header>
<main>
{"".join(_pair(one, places[one.figures.name], names) for one in shown)}</main>
"""
    return document("Images compared", body, style=style, script=script)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], places: dict[str, str]) -> str:
    head = "".join(f'<th scope="col"{_side(column)}>{escape(heading)}</th>' for column, heading in enumerate(headings))
    lines = []
    for name, *cells in rows:
        label = f'<a href="#{places[name]}">{escape(name)}</a>' if name in places else escape(name)
        values = "".join(f'<td class="right">{escape(cell)}</td>' for cell in cells)
        lines.append(f'<tr><th scope="row">{label}</th>{values}</tr>\n')
    return (
        '<figure class="table"><div class="scroll" tabindex="0" role="region" aria-label="Figures of all pairs">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody></table></div></figure>"
    )


def _side(column: int) -> str:
    return ' class="right"' if column else ""


def _pair(one: ShownPair, place: str, names: tuple[str, str]) -> str:
    figures, name = one.figures, escape(one.figures.name)
    times = _enlargement(figures.width) if figures.height * figures.width <= _MOST_LOSSLESS else 1
    scale = min(1.0, _LONGEST / max(figures.height, figures.width))
    width = round(figures.width * times * scale)
    kind = "stage pixels" if times > 1 else "stage"
    pictures = "".join(
        f'<img class="{which}" src="{source}" alt="{name} in {escape(side)}" width="{figures.width}" height="{figures.height}" '
        'draggable="false">'
        for which, source, side in zip(("first", "second"), one.sources, names, strict=True)
    )
    return f"""<section id="{place}" aria-labelledby="{place}-title">
<h2 id="{place}-title">{name}</h2>
<p>{escape(in_words(figures))}. {figures.width}×{figures.height}, shown {escape(one.remark)}.</p>
<div class="frame" tabindex="-1"><div class="{kind}" style="--width: {width}px">
{pictures}
<span class="left">{escape(names[0])}</span><span class="right">{escape(names[1])}</span>
<input type="range" min="0" max="100" value="50" aria-label="{name}: percent of {escape(names[0])} that is shown">
</div></div>
</section>
"""

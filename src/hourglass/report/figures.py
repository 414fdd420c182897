"""Figures, as PNG and SVG, drawn without a screen and the same at every run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hourglass.data.write import replace_file
from hourglass.errors import ParameterError
from hourglass.images import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colour-blind safe (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MUTED = "#666666"  # of what is said by the way; on a page, as dark or light as its scheme asks
FORMATS = (".png", ".svg", ".pdf")
_FILLED = 0.95  # of its place in a row, by an image


def image_rows(rows: Mapping[str, Array], captions: Mapping[str, str] | None = None) -> Figure:
    """Rows of images with their names on the left.

    Parameters
    ----------
    rows : dict of str to ndarray (k, h, w) or (k, h, w, c)
        Name of the row -> its images, uint8 or float in 0..1; all rows equally long.
    captions : dict of str to str, optional
        A second, smaller line below a row's name.
    """
    count = len(next(iter(rows.values())))
    margin = 2.4
    figure = Figure(figsize=(margin + 0.72 * count, 0.76 * len(rows) + 0.1), dpi=150, layout=None)
    place = {"left": margin / figure.get_figwidth(), "right": 0.995, "top": 0.99, "bottom": 0.01, "hspace": 0.05}
    figure.suppressComposite = True  # or an SVG would hold a row as one image, resampled
    lines = figure.subplots(len(rows), squeeze=False, gridspec_kw=place)[:, 0]  # an image each: axes cost far more than pixels
    for line, (name, images) in zip(lines, rows.items(), strict=True):
        for column, image in enumerate(images):
            top = 255 if image.dtype == np.uint8 else 1
            shown = image if image.ndim == 2 or image.shape[2] > 2 else image[..., 0]  # of two channels, the first
            side = max(image.shape[:2])
            width, height = (_FILLED * length / side for length in (image.shape[1], image.shape[0]))
            extent = (column - width / 2, column + width / 2, -height / 2, height / 2)
            line.imshow(
                shown, cmap="gray", vmin=0, vmax=top, interpolation="none", extent=extent
            )  # its own pixels, also in SVG
        line.set(xlim=(-0.5, count - 0.5), ylim=(-0.5, 0.5))
        line.set_axis_off()
        _label(line, name, (captions or {}).get(name, ""))
    return figure


def _label(line: Axes, name: str, caption: str) -> None:
    place: dict[str, Any] = {"ha": "right", "va": "center"}
    line.text(-0.6, 0.1 if caption else 0, name, fontsize=9, **place)
    line.text(-0.6, -0.18, caption, fontsize=7.5, color=MUTED, **place)


def learning_curves(histories: Mapping[str, Sequence[dict[str, Any]]], references: Mapping[str, float]) -> Figure:
    """Validation loss over epochs, a line a history; `references` are levels to compare with, dashed."""
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for (name, rows), colour in zip(histories.items(), COLOURS, strict=False):
        epochs = [row["epoch"] for row in rows]
        axes.plot(
            epochs, [row["validation_loss"] for row in rows], "o-", color=colour, markersize=3.5, label=f"{name}, validation"
        )
        axes.plot(epochs, [row["loss"] for row in rows], ":", color=colour, linewidth=1, label=f"{name}, training")
    for name, level in references.items():
        axes.axhline(level, color=MUTED, linewidth=1, linestyle="--")
        axes.annotate(name, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    axes.set(xlabel="epoch", ylabel="mean squared error")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def planes(codes: Mapping[str, tuple[Array, Array]]) -> Figure:
    """Codes of two numbers (n, 2) as points coloured by label (n,), a panel for each name."""
    figure = Figure(figsize=(4.2 * len(codes), 4.2), dpi=150, layout="constrained")
    colours = mpl.colormaps["tab10"]
    for axes, (name, (points, labels)) in zip(figure.subplots(1, len(codes), squeeze=False)[0], codes.items(), strict=True):
        size = min(8.0, max(1.0, 8000 / max(len(points), 1)))  # points², so that few are seen and many do not run together
        for index, label in enumerate(np.unique(labels)):
            mine = points[labels == label]
            axes.scatter(mine[:, 0], mine[:, 1], s=size, color=colours(index % 10), linewidths=0, rasterized=True)
            axes.annotate(str(label), np.median(mine, axis=0), fontsize=11, weight="bold", ha="center", va="center")
        axes.set(title=name, xticks=[], yticks=[])
    return figure


def rate_distortion_curves(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """PSNR in dB over bytes an image, from (bytes, mean squared error); "X without headers" is dashed, in X's colour."""
    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    bases = [name for name in curves if not name.endswith("without headers")]
    colours = dict(zip(bases, COLOURS, strict=False))
    for name, points in curves.items():
        lossy = [(size, -10 * np.log10(error)) for size, error in points if error > 0]
        dashed = name not in colours
        colour = colours[name.removesuffix(" without headers")]
        if lossy:
            axes.plot(*zip(*sorted(lossy), strict=True), "o--" if dashed else "o-", color=colour, markersize=4, label=name)
        else:  # nothing is lost: a place on the axis of bytes
            axes.axvline(points[0][0], color=colour, linestyle="--" if dashed else "-", linewidth=1, label=f"{name} (lossless)")
    axes.set(xlabel="bytes an image", ylabel="PSNR, dB", xscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def save(figure: Figure, *paths: Path) -> None:
    """Write the figure in the format each name ends with, beside first, then renamed.

    Raises
    ------
    ParameterError
        If a name ends in none of `FORMATS`; nothing is written then.
    """
    for path in paths:
        if path.suffix.lower() not in FORMATS:
            raise ParameterError(f"{path} cannot be written as a figure; allowed: names that end in {', '.join(FORMATS)}.")
    for path in paths:
        with replace_file(path) as beside:
            _render(figure, beside, path.suffix.lower().removeprefix("."))


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an <svg> element to stand in a page of HTML, on whatever background and in whatever ink that has.

    Black becomes the page's `currentColor`, and `MUTED` its `var(--muted)`. It is as wide as it was drawn; CSS may shrink it.

    Parameters
    ----------
    name : str
        Put before every id, so that two figures on one page do not share one.
    label : str
        What the figure shows, for those who cannot see it.
    """
    drawn = BytesIO()
    _render(figure, drawn, "svg", transparent=True, dpi=200)
    root, _, inner = drawn.getvalue().decode().partition("<svg")[2].rpartition("</svg>")[0].partition(">")
    size = dict(re.findall(r'(width|viewBox)="([^"]*)"', root))
    # Of an inline SVG, a <style> would hold for the whole page, and the metadata and comments say nothing here.
    inner = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = re.sub(r'\bid="', f'id="{name}-', inner).replace("url(#", f"url(#{name}-")
    inner = inner.replace('xlink:href="#', f'href="#{name}-').replace('xlink:href="data:', 'href="data:')
    inner = inner.replace("#000000", "currentColor").replace(MUTED, f"var(--muted, {MUTED})")
    inner = re.sub(r"\n\s*", " ", inner).replace("> <", "><").strip()
    return (
        f'<svg viewBox="{size["viewBox"]}" style="width:{size["width"]}" role="img" aria-label="{escape(label)}" '
        f'fill="currentColor" stroke-linejoin="round" stroke-linecap="butt">{inner}</svg>'
    )


def _render(figure: Figure, target: Path | BytesIO, kind: str, **settings: Any) -> None:
    """Write without a date and with a fixed salt for ids: the same figure is the same file."""
    dateless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with mpl.rc_context({"svg.hashsalt": "hourglass"}):
        figure.savefig(target, format=kind, metadata=dateless, **settings)

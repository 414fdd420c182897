"""Reproducible figures as PNG, SVG and PDF, drawn without a display."""

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
MUTED = "#666666"  # of secondary text; an HTML page adapts it to its colour scheme
FORMATS = (".png", ".svg", ".pdf")
_IMAGE_SIZE = 0.95  # relative to a cell of the row


def image_rows(rows: Mapping[str, Array], captions: Mapping[str, str] | None = None) -> Figure:
    """Show rows of images with their names on the left.

    Parameters
    ----------
    rows : dict of str to ndarray (k, h, w) or (k, h, w, c)
        Images of each row by name, uint8 or float in 0..1; all rows have the same length.
    captions : dict of str to str, optional
        Small text below the name of a row.
    """
    count = len(next(iter(rows.values())))
    margin = 2.4
    figure = Figure(figsize=(margin + 0.72 * count, 0.76 * len(rows) + 0.1), dpi=150, layout=None)
    spec = {"left": margin / figure.get_figwidth(), "right": 0.995, "top": 0.99, "bottom": 0.01, "hspace": 0.05}
    figure.suppressComposite = True  # otherwise an SVG holds each row as one resampled image
    all_axes = figure.subplots(len(rows), squeeze=False, gridspec_kw=spec)[:, 0]  # one per row, as axes are expensive
    for axes, (name, images) in zip(all_axes, rows.items(), strict=True):
        for column, image in enumerate(images):
            top = 255 if image.dtype == np.uint8 else 1
            shown = image if image.ndim == 2 or image.shape[2] > 2 else image[..., 0]  # the first of two channels
            longest = max(image.shape[:2])
            width, height = (_IMAGE_SIZE * length / longest for length in (image.shape[1], image.shape[0]))
            extent = (column - width / 2, column + width / 2, -height / 2, height / 2)
            axes.imshow(shown, cmap="gray", vmin=0, vmax=top, interpolation="none", extent=extent)  # unsampled in SVG too
        axes.set(xlim=(-0.5, count - 0.5), ylim=(-0.5, 0.5))
        axes.set_axis_off()
        _label(axes, name, (captions or {}).get(name, ""))
    return figure


def _label(axes: Axes, name: str, caption: str) -> None:
    alignment: dict[str, Any] = {"ha": "right", "va": "center"}
    axes.text(-0.6, 0.1 if caption else 0, name, fontsize=9, **alignment)
    axes.text(-0.6, -0.18, caption, fontsize=7.5, color=MUTED, **alignment)


def learning_curves(histories: Mapping[str, Sequence[dict[str, Any]]], references: Mapping[str, float]) -> Figure:
    """Plot training and validation loss over epochs for each history, with `references` as dashed lines."""
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
    """Plot two-dimensional codes (n, 2) coloured by label (n,), with a panel for each name."""
    figure = Figure(figsize=(4.2 * len(codes), 4.2), dpi=150, layout="constrained")
    colours = mpl.colormaps["tab10"]
    for axes, (name, (points, labels)) in zip(figure.subplots(1, len(codes), squeeze=False)[0], codes.items(), strict=True):
        size = min(8.0, max(1.0, 8000 / max(len(points), 1)))  # in points²: few are visible and many do not merge
        for index, label in enumerate(np.unique(labels)):
            of_class = points[labels == label]
            axes.scatter(of_class[:, 0], of_class[:, 1], s=size, color=colours(index % 10), linewidths=0, rasterized=True)
            axes.annotate(str(label), np.median(of_class, axis=0), fontsize=11, weight="bold", ha="center", va="center")
        axes.set(title=name, xticks=[], yticks=[])
    return figure


def rate_distortion_curves(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Plot PSNR in dB over bytes per image, from (bytes, mean squared error).

    "X without headers" is dashed, in the colour of X.
    """
    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    bases = [name for name in curves if not name.endswith("without headers")]
    colours = dict(zip(bases, COLOURS, strict=False))
    for name, points in curves.items():
        lossy = [(size, -10 * np.log10(error)) for size, error in points if error > 0]
        is_dashed = name not in colours
        colour = colours[name.removesuffix(" without headers")]
        if lossy:
            axes.plot(*zip(*sorted(lossy), strict=True), "o--" if is_dashed else "o-", color=colour, markersize=4, label=name)
        else:
            style = "--" if is_dashed else "-"
            axes.axvline(points[0][0], color=colour, linestyle=style, linewidth=1, label=f"{name} (lossless)")
    axes.set(xlabel="bytes per image", ylabel="PSNR, dB", xscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def score_histogram(scores: Array, normal: Array, threshold: float = 0.0) -> Figure:
    """Histograms of anomaly scores and of those of normal samples, as shares, with the threshold.

    Parameters
    ----------
    scores, normal : ndarray (n,), (m,)
        Greater is more anomalous. The farthest scores count in the outermost bars.
    threshold : float
    """
    figure = Figure(figsize=(6.4, 3.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    low, high = np.quantile(np.concatenate([scores, normal, [threshold]]), [0.001, 0.999])
    bins = np.linspace(min(low, threshold), max(high, threshold, low + 1e-9), 41)
    for name, values, colour in (("normal images", normal, COLOURS[0]), ("these images", scores, COLOURS[1])):
        shares = np.full(len(values), 1 / len(values))
        axes.hist(values.clip(bins[0], bins[-1]), bins.tolist(), weights=shares, label=name, color=colour, alpha=0.55)
    axes.axvline(threshold, color=MUTED, linestyle="--", label="threshold")
    axes.set(xlabel="anomaly score", ylabel="share of images")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def check_format(path: Path) -> None:
    """Raise ParameterError if the suffix is not in `FORMATS`."""
    if path.suffix.lower() not in FORMATS:
        raise ParameterError(f"{path} cannot be written as a figure; allowed: names that end in {', '.join(FORMATS)}.")


def save(figure: Figure, *paths: Path) -> None:
    """Write the figure to each path in the format of its suffix, atomically.

    Raises
    ------
    ParameterError
        If a suffix is not in `FORMATS`; then nothing is written.
    """
    for path in paths:
        check_format(path)
    for path in paths:
        with replace_file(path) as temporary:
            _render(figure, temporary, path.suffix.lower().removeprefix("."))


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """Return the figure as an <svg> element for an HTML page of any colour scheme.

    Black becomes `currentColor` and `MUTED` becomes `var(--muted)`. The width is that of the figure; CSS may reduce it.

    Parameters
    ----------
    name : str
        Prefix of all ids, which keeps them unique on a page.
    label : str
        Alternative text.
    """
    buffer = BytesIO()
    _render(figure, buffer, "svg", transparent=True, dpi=200)
    root, _, inner = buffer.getvalue().decode().partition("<svg")[2].rpartition("</svg>")[0].partition(">")
    size = dict(re.findall(r'(width|viewBox)="([^"]*)"', root))
    # The <style> of an inline SVG would apply to the whole page; metadata and comments are useless there.
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
    """Write without a date and with a fixed salt for ids, so that the file is reproducible."""
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with mpl.rc_context({"svg.hashsalt": "hourglass"}):
        figure.savefig(target, format=kind, metadata=metadata, **settings)

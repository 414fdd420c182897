"""Figures of several axes, of the plots in `hourglass.plot`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from hourglass.images import Array
from hourglass.plot.axes import draw_image, latent_map, learning_curve, rate_distortion, scores
from hourglass.plot.figures import COLOURS, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
            draw_image(axes, image, column, 0)
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
        learning_curve(rows, name=name, colour=colour, ax=axes)
    for name, level in references.items():
        axes.axhline(level, color=MUTED, linewidth=1, linestyle="--")
        axes.annotate(name, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    axes.set(ylabel="mean squared error")
    return figure


def planes(codes: Mapping[str, tuple[Array, Array]]) -> Figure:
    """Plot two-dimensional codes (n, 2) coloured by label (n,), with a panel for each name."""
    figure = Figure(figsize=(4.2 * len(codes), 4.2), dpi=150, layout="constrained")
    for axes, (name, (points, labels)) in zip(figure.subplots(1, len(codes), squeeze=False)[0], codes.items(), strict=True):
        latent_map(points, labels, ax=axes).set(title=name)
    return figure


def rate_distortion_curves(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Plot PSNR in dB over bytes per image, from (bytes, mean squared error).

    "X without headers" is dashed, in the colour of X. What is lossless is a vertical line.
    """
    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    bases = [name for name in curves if not name.endswith("without headers")]
    colours = dict(zip(bases, COLOURS, strict=False))
    for name, points in curves.items():
        colour = colours[name.removesuffix(" without headers")]
        style: dict[str, Any] = {"color": colour, "linestyle": "-" if name in colours else "--"}
        if any(error > 0 for _, error in points):
            rate_distortion(points, name=name, ax=axes, **style)
        else:
            axes.axvline(points[0][0], linewidth=1, label=f"{name} (lossless)", **style)
    axes.legend(frameon=False, fontsize=8)
    return figure


def score_histogram(given: Array, normal: Array, threshold: float = 0.0) -> Figure:
    """`hourglass.plot.scores` as a figure."""
    figure = Figure(figsize=(6.4, 3.2), dpi=150, layout="constrained")
    scores(given, normal, threshold, ax=figure.subplots())
    return figure

"""Plots of the chapter: curves, maps of single latent dimensions, and the two-dimensional latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from hourglass.images import Array, Float32
from hourglass.plot.figures import COLOURS
from hourglass.plot.pictures import sheet


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str, log: tuple[bool, bool] = (False, False)
) -> Figure:
    """Plot a line through the points (x, y) of each series; `log` selects logarithmic axes."""
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        style = "--" if colour == COLOURS[1] else "-"  # distinguishes overlapping lines
        axes.plot(*zip(*points, strict=True), style, marker="o", color=colour, markersize=4, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if log[0] else "linear", yscale="log" if log[1] else "linear")
    if log[0]:
        axes.xaxis.set_major_locator(FixedLocator(sorted({x for points in series.values() for x, _ in points})))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if log[1]:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def mosaic(images: Array, columns: int) -> Figure:
    """Arrange images (n, h, w) or (n, h, w, c) without gaps as one picture."""
    canvas = sheet(images, columns, gap=0)
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(6.4, 6.4 * height / width), dpi=150, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return figure


def contrasts(rows: Mapping[str, Float32]) -> Figure:
    """Show rows of signed maps (k, h, w): blue is negative, red positive; each is scaled by its largest magnitude."""
    count = max(len(maps) for maps in rows.values())
    margin = 2.4
    figure = Figure(figsize=(margin + 0.72 * count, 0.76 * len(rows) + 0.1), dpi=150, layout=None)
    spec: dict[str, Any] = {"left": margin / figure.get_figwidth(), "right": 0.995, "top": 0.99, "bottom": 0.01}
    grid = figure.subplots(len(rows), count, squeeze=False, gridspec_kw=spec | {"wspace": 0.05, "hspace": 0.05})
    for line, (name, maps) in zip(grid, rows.items(), strict=True):
        for cell in line:
            cell.set_axis_off()
        for cell, values in zip(line, maps, strict=False):
            top = float(np.abs(values).max()) or 1.0
            cell.imshow(values, cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
        line[0].text(-0.12, 0.5, name, fontsize=9, transform=line[0].transAxes, ha="right", va="center")
    return figure


def regions(
    classification: NDArray[np.int64],
    extent: tuple[float, float, float, float],
    points: Float32,
    labels: NDArray[Any],
    samples: Float32,
) -> Figure:
    """Plot a two-dimensional latent space: the class of each point, the codes of images, and samples.

    Parameters
    ----------
    classification : ndarray (h, w) of int
        Class index of each grid point; -1 where no class has codes. Row 0 is at the bottom.
    extent : (left, right, bottom, top)
    points : ndarray (n, 2), float32
        Codes of images.
    labels : ndarray (n,)
        Their labels, whose sorted order defines the class indices.
    samples : ndarray (m, 2), float32
        Codes drawn at random.
    """
    figure = Figure(figsize=(6.4, 6.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    classes = np.unique(labels)
    colours = [mpl.colormaps["tab10"](index % 10) for index in range(len(classes))]
    shown = np.ma.masked_less(classification, 0)
    axes.imshow(
        shown, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(classes) - 0.5, origin="lower", extent=extent,
        aspect="auto", alpha=0.35, interpolation="nearest",
    )  # fmt: skip
    for index, label in enumerate(classes):
        of_class = points[labels == label]
        axes.scatter(of_class[:, 0], of_class[:, 1], s=1, color=colours[index], linewidths=0, rasterized=True)
        axes.annotate(str(label), np.median(of_class, axis=0), fontsize=12, weight="bold", ha="center", va="center")
    axes.scatter(samples[:, 0], samples[:, 1], s=14, marker="x", color="black", linewidths=0.8, label="samples")
    axes.set(xlabel="first latent dimension", ylabel="second latent dimension", xlim=extent[:2], ylim=extent[2:])
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    return figure

"""Plots of the chapter: curves, maps of single numbers, and the plane of two codes."""

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
from hourglass.report.figures import COLOURS
from hourglass.report.pictures import sheet


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str, log: tuple[bool, bool] = (False, False)
) -> Figure:
    """A line for each name, through its points (x, y); `log` says which axes are logarithmic."""
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        style = "--" if colour == COLOURS[1] else "-"  # told apart where two lie on each other
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
    """Images (n, h, w) or (n, h, w, c) side by side without a gap, as one picture."""
    whole = sheet(images, columns, gap=0)
    height, width = whole.shape[:2]
    figure = Figure(figsize=(6.4, 6.4 * height / width), dpi=150, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(whole, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return figure


def contrasts(rows: Mapping[str, Float32]) -> Figure:
    """Rows of maps (k, h, w) with a sign: blue below zero, white at it, red above; each scaled by its own largest value."""
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
    owners: NDArray[np.int64], extent: tuple[float, float, float, float], points: Float32, labels: NDArray[Any], drawn: Float32
) -> Figure:
    """The plane of two codes: which class owns each place, the codes of images, and those that were drawn.

    Parameters
    ----------
    owners : ndarray (h, w) of int
        The index of each place's class, from 0; -1 where no class has codes. Row 0 is at the bottom.
    extent : (left, right, bottom, top)
    points : ndarray (n, 2), float32
    labels : ndarray (n,)
        Of each point; in sorted order they have the indices of `owners`.
    drawn : ndarray (m, 2), float32
    """
    figure = Figure(figsize=(6.4, 6.0), dpi=150, layout="constrained")
    axes = figure.subplots()
    classes = np.unique(labels)
    colours = [mpl.colormaps["tab10"](index % 10) for index in range(len(classes))]
    shown = np.ma.masked_less(owners, 0)
    axes.imshow(
        shown, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(classes) - 0.5, origin="lower", extent=extent,
        aspect="auto", alpha=0.35, interpolation="nearest",
    )  # fmt: skip
    for index, label in enumerate(classes):
        mine = points[labels == label]
        axes.scatter(mine[:, 0], mine[:, 1], s=1, color=colours[index], linewidths=0, rasterized=True)
        axes.annotate(str(label), np.median(mine, axis=0), fontsize=12, weight="bold", ha="center", va="center")
    axes.scatter(drawn[:, 0], drawn[:, 1], s=14, marker="x", color="black", linewidths=0.8, label="drawn")
    axes.set(xlabel="first number of the code", ylabel="second number", xlim=extent[:2], ylim=extent[2:])
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    return figure

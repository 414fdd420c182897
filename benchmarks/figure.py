"""The figure of the benchmark's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, NullLocator

from hourglass.plot.figures import COLOURS, MUTED


def growth_curves(curves: Mapping[str, Sequence[tuple[float, float]]], slopes: Mapping[str, float]) -> Figure:
    """Draw costs over sizes on logarithmic axes, one panel for each curve.

    Parameters
    ----------
    curves : dict of str to list of (size, cost)
        By names of the form "COST over SIZE".
    slopes : dict of str to float
        Exponent of the power law of each curve. A dashed line shows proportional growth, an exponent of 1.
    """
    costs, sizes = (list(dict.fromkeys(name.split(" over ")[part] for name in curves)) for part in (0, 1))
    figure = Figure(figsize=(5.2 * len(costs), 3.6 * len(sizes)), dpi=150, layout="constrained")
    grid = figure.subplots(len(sizes), len(costs), squeeze=False)
    for name, points in curves.items():
        cost, size = name.split(" over ")
        axes = grid[sizes.index(size)][costs.index(cost)]
        places, values = np.array(points).T
        axes.plot(places, values, "o-", color=COLOURS[0], markersize=4, label=f"measured; slope {slopes[name]:.2f}")
        axes.plot(places, values[-1] * places / places[-1], "--", color=MUTED, linewidth=1, label="in proportion")
        axes.set(xlabel=size, ylabel=cost, xscale="log", yscale="log", ylim=(values.min() / 2, values.max() * 2))
        axes.xaxis.set_major_locator(FixedLocator(places.tolist()))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure

"""Regions of an image that depart from normal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import find_objects, label, maximum

from hourglass.images import Array

_NEIGHBOURS = np.ones((3, 3))  # pixels that touch at a corner belong together


class Region(NamedTuple):
    """A region of an image, in pixels, and its largest error.

    Attributes
    ----------
    left, top, width, height : int
        The box around it.
    area : int
        Pixels in it.
    peak : float
        The largest error in it, as a multiple of the level that bounds it.
    """

    left: int
    top: int
    width: int
    height: int
    area: int
    peak: float


def regions_of(errors: Array, level: float) -> list[Region]:
    """The connected regions in which a map of errors (h, w) exceeds `level`, that of the largest error first."""
    numbers, count = label(errors > level, structure=_NEIGHBOURS)
    areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    peaks = maximum(errors, numbers, np.arange(1, count + 1)) / level
    regions = [
        Region(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start, int(area), float(peak))
        for (rows, columns), area, peak in zip(find_objects(numbers), areas, peaks, strict=True)
    ]
    return sorted(regions, key=lambda region: -region.peak)

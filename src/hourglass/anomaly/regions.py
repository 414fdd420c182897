"""Regions of an image that depart from normal."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.ndimage import find_objects, label

from hourglass.images import Array

_LEAST = 1e-12  # level of a network that reproduces its normal images
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
    numbers, _ = label(errors > level, structure=_NEIGHBOURS)
    regions = []
    for number, box in enumerate(find_objects(numbers), 1):
        inside, (rows, columns) = numbers[box] == number, box
        area, peak = int(inside.sum()), float(errors[box][inside].max()) / max(level, _LEAST)
        regions.append(Region(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start, area, peak))
    return sorted(regions, key=lambda region: -region.peak)


def enlarged(region: Region, size: tuple[int, int], to: tuple[int, int]) -> Region:
    """A region of an image of height and width `size` in the pixels of the same image resized `to` another height and width."""
    high, wide = to[0] / size[0], to[1] / size[1]
    left, top = math.floor(region.left * wide), math.floor(region.top * high)
    right, bottom = math.ceil((region.left + region.width) * wide), math.ceil((region.top + region.height) * high)
    return Region(left, top, right - left, bottom - top, max(1, round(region.area * high * wide)), region.peak)

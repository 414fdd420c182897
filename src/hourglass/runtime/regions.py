"""Regions of an image that depart from normal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.images import Array

_LEAST = 1e-12  # level of a network that reproduces its normal images
_EXCEEDING, _MOST_IMAGES = 0.001, 200  # share of pixels above the level, images to find it
_MOST_PIXELS = 10_000_000  # to take a quantile of

Runs = NDArray[np.int64]
"""(n, 3): row, first column and the column after the last of each run of pixels, in the order of rows."""


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


def level_of(images: Array | Sequence[Array], error_maps: Callable[[Any], Iterable[Array]]) -> float:
    """The level that one in a thousand pixels of the `error_maps` of some normal `images` exceeds."""
    some = images[:: -(-len(images) // _MOST_IMAGES)]
    step = -(-sum(math.prod(image.shape[:2]) for image in some) // _MOST_PIXELS)
    values = [errors.ravel()[::step].copy() for errors in error_maps(some)]
    return float(np.quantile(np.concatenate(values), 1 - _EXCEEDING))


def regions_of(errors: Array, level: float) -> list[Region]:
    """The connected regions in which a map of errors (h, w) exceeds `level`, that of the largest error first.

    Pixels that touch at a corner belong together.
    """
    regions = []
    for runs in _connected(_runs(errors > level)):
        left, right, top = int(runs[:, 1].min()), int(runs[:, 2].max()), int(runs[0, 0])
        area = int((runs[:, 2] - runs[:, 1]).sum())
        peak = max(float(errors[row, start:stop].max()) for row, start, stop in runs) / max(level, _LEAST)
        regions.append(Region(left, top, right - left, int(runs[-1, 0]) + 1 - top, area, peak))
    return sorted(regions, key=lambda region: -region.peak)


def _runs(inside: NDArray[np.bool_]) -> Runs:
    """The runs of pixels along each row of a mask (h, w)."""
    edges = np.diff(np.pad(inside.astype(np.int8), [(0, 0), (1, 1)]), axis=1)
    rows, starts = np.nonzero(edges > 0)
    return np.stack([rows, starts, np.nonzero(edges < 0)[1]], axis=1)


def _connected(runs: Runs) -> Iterator[Runs]:
    """Groups of runs that touch, also at a corner, in the order of their first pixel."""
    parents = list(range(len(runs)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    plain, above = runs.tolist(), 0
    for number, (row, start, stop) in enumerate(plain):
        while plain[above][0] < row - 1 or (plain[above][0] == row - 1 and plain[above][2] < start):
            above += 1  # these end before this run, and so before all that follow in its row
        touching = above
        while plain[touching][0] == row - 1 and plain[touching][1] <= stop:
            one, other = sorted((root(touching), root(number)))
            parents[other] = one
            touching += 1
    roots = np.array([root(number) for number in range(len(runs))], dtype=np.int64)
    order = np.argsort(roots, kind="stable")
    yield from np.split(runs[order], np.flatnonzero(np.diff(roots[order])) + 1) if len(runs) else ()


def enlarged(region: Region, size: tuple[int, int], to: tuple[int, int]) -> Region:
    """A region of an image of height and width `size` in the pixels of the same image resized `to` another height and width."""
    high, wide = to[0] / size[0], to[1] / size[1]
    left, top = math.floor(region.left * wide), math.floor(region.top * high)
    right, bottom = math.ceil((region.left + region.width) * wide), math.ceil((region.top + region.height) * high)
    return Region(left, top, right - left, bottom - top, max(1, round(region.area * high * wide)), region.peak)

"""How the cost of an epoch grows with the number of images, and with their height and width."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rounds import Contender, Figures, Round, alternate_anew
from benchmarks.rows import Row, Spread, compare
from benchmarks.setting import Bench, Measured
from benchmarks.task import Task
from hourglass.images import Array

COUNTS = (1000, 3000, 10_000, 30_000, 60_000, 100_000, 300_000, 1_000_000)
FACTORS = (0.5, 1, 2, 4)
"""Of an image's height and width."""
_QUICK = 3  # of `COUNTS` and of `FACTORS`, with --quick
_SIZED = (1000, 4000)  # images that are resized: quick or not
SLOPE = "slope"
_FEW = 3  # rounds at most: each starts a process
_CHUNK = 5000  # images
_WARM = 128  # images of a warm-up fit, which starts threads and is discarded
SHIFTS = sorted(itertools.product(range(-2, 3), repeat=2), key=lambda shift: (abs(shift[0]) + abs(shift[1]), shift))
"""(rows, columns) by which the copies of a data set are shifted; the first copy is not."""


class Point(NamedTuple):
    """A position on the axis, its label, and the function that measures it in a worker process."""

    position: float
    name: str
    make: Callable[[], Round]


def growth_suite(bench: Bench) -> Measured:
    """Measure the seconds and peak memory of an epoch of preset "default" in a new process, over images and over pixels."""
    measured = Measured()
    n_points = _QUICK if bench.quick else None
    task, n_sized = bench.task(), min(_SIZED[not bench.quick], bench.n_train)
    counted = [Point(count, f"{count:,} images", partial(epoch, task, count, 1)) for count in COUNTS[:n_points]]
    sized = []
    for factor in FACTORS[:n_points]:
        size = [_scaled(length, factor) for length in bench.shape[:2]]
        sized.append(Point(math.prod(size), "×".join(map(str, size)), partial(epoch, task, n_sized, factor)))
    _grown(bench, measured, "images", counted, len(counted) // 2)
    _grown(bench, measured, "pixels an image", sized, 0)
    if bench.n_train < COUNTS[:n_points][-1]:
        measured.notes.append(f"Beyond {bench.n_train:,} images they are copies, shifted by up to two pixels.")
    measured.notes.append(f"Over pixels: {n_sized:,} images, of which every second pixel is taken, or each is repeated.")
    measured.notes.append("Memory includes the images themselves, a byte a pixel if they are uint8, and all imports.")
    return measured


def _grown(bench: Bench, measured: Measured, over: str, points: Sequence[Point], first: int) -> None:
    """Add rows and curves over `points`; slopes are fitted from point number `first` on."""
    bench.report(f"growth over {over}")
    rounds = alternate_anew(
        [Contender(point.name, point.make) for point in points], 1 if bench.quick else min(_FEW, bench.rounds)
    )
    for key, unit, what in (("epoch_seconds", "s", "seconds of an epoch"), ("peak_mb", "MB", "peak memory in MB")):
        if any(key not in turn for figures in rounds.values() for turn in figures):
            measured.notes.append(f"{what}: not reported by this system.")
            continue
        measure = f"{what} over {over}"
        rows = compare(measure, rounds, key=key, unit=unit)
        curve = [(float(point.position), rows[point.name].value.median) for point in points]
        exponent = slope(curve[first:])
        note = f"From {points[first].name} on: the exponent p in cost ∝ ({over})^p, by least squares of logarithms."
        measured.rows += [*rows.values(), Row(measure, SLOPE, "", Spread.of([exponent]), note=note)]
        measured.curves[measure] = curve


def slope(curve: Sequence[tuple[float, float]]) -> float:
    """Return the exponent p of the power law y ∝ x^p through points (x, y), by least squares of their logarithms."""
    positions, values = np.log(np.array(curve)).T
    return float(np.polyfit(positions, values, 1)[0])


def slopes(rows: Sequence[Row]) -> dict[str, float]:
    """Return the slopes among `rows`, by measure."""
    return {row.measure: row.value.median for row in rows if row.name == SLOPE}


def epoch(task: Task, n_images: int, factor: float) -> Round:
    """Train one epoch of preset "default" on `n_images` images, scaled by `factor` in height and width."""
    from hourglass.estimators import Denoiser

    images = many(np.load(task.folder / "train.npy", mmap_mode="r", allow_pickle=False), n_images, factor)
    arguments: dict[str, Any] = {
        "preset": "default",
        "epochs": 1,
        "validation_fraction": 0.0,
        "random_state": task.seed,
        "device": "cpu",
    }
    Denoiser(**arguments).fit(images[:_WARM])

    def one_round() -> Figures:
        start = time.perf_counter()
        model = Denoiser(**arguments).fit(images)
        return {"seconds": time.perf_counter() - start, "epoch_seconds": max(model.history_[-1]["seconds"], 1e-4)}

    return one_round


def many(source: Array, n_images: int, factor: float) -> Array:
    """Return `n_images` of `source` (n, h, w[, c]), scaled by `factor` in height and width.

    Images beyond n are copies, shifted by `SHIFTS`.
    """
    size = [_scaled(length, factor) for length in source.shape[1:3]]
    images = np.empty((n_images, *size, *source.shape[3:]), dtype=source.dtype)
    for copy, start in enumerate(range(0, n_images, len(source))):
        copied = images[start : start + len(source)]
        for first in range(0, len(copied), _CHUNK):
            chunk = copied[first : first + _CHUNK]
            chunk[:] = np.roll(_resized(source[first : first + len(chunk)], factor), SHIFTS[copy % len(SHIFTS)], axis=(1, 2))
    return images


def _resized(images: Array, factor: float) -> Array:
    if factor < 1:
        step = round(1 / factor)
        return images[:, ::step, ::step]
    return images.repeat(round(factor), axis=1).repeat(round(factor), axis=2)


def _scaled(length: int, factor: float) -> int:
    return math.ceil(length * factor)

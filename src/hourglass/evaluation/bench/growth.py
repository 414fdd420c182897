"""How the cost of an epoch grows: with the number of images, and with their size."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from hourglass.evaluation.bench.rounds import Contender, Figures, Round, alternate_anew
from hourglass.evaluation.bench.rows import Row, Spread, compare
from hourglass.evaluation.bench.setting import Bench, Measured
from hourglass.evaluation.bench.task import Task
from hourglass.images import Array

COUNTS = (1000, 3000, 10_000, 30_000, 60_000, 100_000, 300_000, 1_000_000)
FACTORS = (0.5, 1, 2, 4)
"""Of an image's sides."""
_QUICK = 3  # so many of both
_SIZED = (1000, 4000)  # images whose size is changed: quick or not
SLOPE = "slope"
_FEW = 3  # rounds: each is a process of its own
_PIECE = 5000
_WARM = 128  # images of a first fit, which makes threads and does not count
SHIFTS = sorted(itertools.product(range(-2, 3), repeat=2), key=lambda shift: (abs(shift[0]) + abs(shift[1]), shift))
"""(rows, columns) by which the copies of a data set are moved, the first one not at all."""


class Point(NamedTuple):
    """A place on the axis, what stands there, and what measures it in a process of its own."""

    place: float
    name: str
    make: Callable[[], Round]


def growth_suite(bench: Bench) -> Measured:
    """An epoch of preset "default" in a fresh process, over images and over pixels: its seconds, and the peak of memory."""
    measured = Measured()
    n_points = _QUICK if bench.quick else None
    task, n_sized = bench.task(), min(_SIZED[not bench.quick], bench.n_train)
    counted = [Point(count, f"{count:,} images", partial(epoch, task, count, 1)) for count in COUNTS[:n_points]]
    sized = []
    for factor in FACTORS[:n_points]:
        sides = [_side(side, factor) for side in bench.shape[:2]]
        sized.append(Point(math.prod(sides), "×".join(map(str, sides)), partial(epoch, task, n_sized, factor)))
    _grown(bench, measured, "images", counted, len(counted) // 2)
    _grown(bench, measured, "pixels an image", sized, 0)
    if bench.n_train < COUNTS[:n_points][-1]:
        measured.notes.append(f"Beyond {bench.n_train:,} images they are copies, moved by up to two pixels.")
    measured.notes.append(f"Over pixels: {n_sized:,} images, every second pixel of theirs, or each repeated.")
    measured.notes.append("The memory holds the images themselves, a byte a pixel if they are uint8, and all that is imported.")
    return measured


def _grown(bench: Bench, measured: Measured, over: str, points: Sequence[Point], first: int) -> None:
    """Rows and curves over `points`; the slopes are taken from the point number `first` on."""
    bench.tell(f"growth over {over}")
    rounds = alternate_anew(
        [Contender(point.name, point.make) for point in points], 1 if bench.quick else min(_FEW, bench.rounds)
    )
    for key, unit, what in (("epoch_seconds", "s", "seconds of an epoch"), ("peak_mb", "MB", "peak memory in MB")):
        if any(key not in turn for figures in rounds.values() for turn in figures):
            measured.notes.append(f"{what}: cannot be read on this system.")
            continue
        measure = f"{what} over {over}"
        rows = compare(measure, rounds, key=key, unit=unit)
        curve = [(float(point.place), rows[point.name].value.median) for point in points]
        exponent = slope(curve[first:])
        note = f"From {points[first].name} on: the exponent p in cost ∝ ({over})^p, by least squares of logarithms."
        measured.rows += [*rows.values(), Row(measure, SLOPE, "", Spread.of([exponent]), note=note)]
        measured.curves[measure] = curve


def slope(curve: Sequence[tuple[float, float]]) -> float:
    """The exponent p of the power law y ∝ x^p through points (x, y), by least squares of their logarithms."""
    places, values = np.log(np.array(curve)).T
    return float(np.polyfit(places, values, 1)[0])


def slopes(rows: Sequence[Row]) -> dict[str, float]:
    """The slopes among `rows`, by what was measured."""
    return {row.measure: row.value.median for row in rows if row.name == SLOPE}


def epoch(task: Task, n_images: int, factor: float) -> Round:
    """One epoch of preset "default" on so many images with sides `factor` times as long."""
    from hourglass.estimators import Denoiser

    images = many(np.load(task.folder / "train.npy", mmap_mode="r", allow_pickle=False), n_images, factor)
    once: dict[str, Any] = {
        "preset": "default",
        "epochs": 1,
        "validation_fraction": 0.0,
        "random_state": task.seed,
        "device": "cpu",
    }
    Denoiser(**once).fit(images[:_WARM])

    def one_round() -> Figures:
        start = time.perf_counter()
        model = Denoiser(**once).fit(images)
        return {"seconds": time.perf_counter() - start, "epoch_seconds": max(model.history_[-1]["seconds"], 1e-4)}

    return one_round


def many(source: Array, n_images: int, factor: float) -> Array:
    """`n_images` from `source` (n, h, w[, c]), their sides `factor` times as long; beyond n, copies moved by `SHIFTS`."""
    sides = [_side(side, factor) for side in source.shape[1:3]]
    made = np.empty((n_images, *sides, *source.shape[3:]), dtype=source.dtype)
    for copy, start in enumerate(range(0, n_images, len(source))):
        whole = made[start : start + len(source)]
        for first in range(0, len(whole), _PIECE):
            piece = whole[first : first + _PIECE]
            piece[:] = np.roll(_resized(source[first : first + len(piece)], factor), SHIFTS[copy % len(SHIFTS)], axis=(1, 2))
    return made


def _resized(images: Array, factor: float) -> Array:
    if factor < 1:
        step = round(1 / factor)
        return images[:, ::step, ::step]
    return images.repeat(round(factor), axis=1).repeat(round(factor), axis=2)


def _side(side: int, factor: float) -> int:
    return math.ceil(side * factor)

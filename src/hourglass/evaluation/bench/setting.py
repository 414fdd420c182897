"""What a suite is measured with, and what it answers."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hourglass.data import Dataset
from hourglass.evaluation.bench.rows import Row
from hourglass.evaluation.bench.task import Task, write

ROUNDS, QUICK_ROUNDS = 5, 2
_QUICK_IMAGES = {"train": 6000, "test": 1000}


@dataclass(frozen=True)
class Bench:
    """What every suite is measured with.

    Attributes
    ----------
    folder : Path
        Holds the images for the contenders' processes.
    data : str
        The data set's name.
    n_train, n_test : int
        Images in the folder.
    shape : tuple of int
        Of one image.
    seed, rounds : int
    quick : bool
        Fewer images, smaller samples: for a look.
    tell : function of str
        Told what is measured next.
    """

    folder: Path
    data: str
    n_train: int
    n_test: int
    shape: tuple[int, ...]
    seed: int
    rounds: int
    quick: bool = False
    tell: Callable[[str], None] = lambda text: None

    @property
    def has_bars(self) -> bool:
        """Bars are for the whole of MNIST."""
        return self.data == "mnist" and not self.quick

    def task(self, **fields: Any) -> Task:
        return Task(self.folder, self.seed, **fields)


@contextlib.contextmanager
def prepared(
    dataset: Dataset, seed: int, rounds: int | None, quick: bool, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Bench]:
    """A bench on `dataset`, which has a test part; its folder is gone after the block."""
    train, test = dataset.train.images, dataset.test.images
    if quick:
        train, test = train[: _QUICK_IMAGES["train"]], test[: _QUICK_IMAGES["test"]]
    with tempfile.TemporaryDirectory(prefix="hourglass-bench-") as folder:
        write(Path(folder), train, test)
        shape, rounds = train.shape[1:], rounds or (QUICK_ROUNDS if quick else ROUNDS)
        yield Bench(Path(folder), dataset.name, len(train), len(test), shape, seed, rounds, quick, tell)


Curves = dict[str, list[tuple[float, float]]]
"""What is drawn, by name: points (x, y)."""


@dataclass
class Measured:
    """What a suite gave: rows, notes on how they came about, and what is drawn."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curves: Curves = field(default_factory=dict)

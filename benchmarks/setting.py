"""The setting of a suite, and the measurements it returns."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rows import Row
from benchmarks.task import Task, write

if TYPE_CHECKING:
    from hourglass.data import Dataset  # a peer's process does not load it

ROUNDS, QUICK_ROUNDS = 5, 2
_QUICK_IMAGES = {"train": 6000, "test": 1000}


@dataclass(frozen=True)
class Bench:
    """The setting of every suite.

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
        Fewer images and rounds, for a first look.
    report : function of str
        Called with the name of the next measurement.
    """

    folder: Path
    data: str
    n_train: int
    n_test: int
    shape: tuple[int, ...]
    seed: int
    rounds: int
    quick: bool = False
    report: Callable[[str], None] = lambda text: None

    @property
    def has_bars(self) -> bool:
        """Whether bars apply: they are for the whole of MNIST."""
        return self.data == "mnist" and not self.quick

    def task(self, **fields: Any) -> Task:
        """Return a task on these images, with `fields` of `Task`."""
        return Task(self.folder, self.seed, **fields)


@contextlib.contextmanager
def prepared(
    dataset: Dataset, seed: int, rounds: int | None, quick: bool, report: Callable[[str], None] = lambda text: None
) -> Iterator[Bench]:
    """Write the images of `dataset`, which has a test split, to a temporary folder for the block, and yield the setting."""
    train, test = dataset.train.images, dataset.test.images
    if quick:
        train, test = train[: _QUICK_IMAGES["train"]], test[: _QUICK_IMAGES["test"]]
    with tempfile.TemporaryDirectory(prefix="hourglass-bench-") as folder:
        write(Path(folder), train, test)
        shape, rounds = train.shape[1:], rounds or (QUICK_ROUNDS if quick else ROUNDS)
        yield Bench(Path(folder), dataset.name, len(train), len(test), shape, seed, rounds, quick, report)


Curves = dict[str, list[tuple[float, float]]]
"""Points (x, y) of each curve in the figure, by name."""


@dataclass
class Measured:
    """The measurements of a suite: rows, notes on how they were measured, and curves for the figure."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    curves: Curves = field(default_factory=dict)

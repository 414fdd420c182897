"""The task of a contender: images, and how to train on them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hourglass.corruption import GaussianNoise
from hourglass.images import Array, Float32, to_float

HIDDEN, N_COMPONENTS = (128, 64), 32
NOISE = GaussianNoise(mean=0.5, std=0.4)
"""The chapter's network and noise."""


@dataclass(frozen=True)
class Task:
    """Images in a folder, which each contender's process reads, and how to train on them.

    Attributes
    ----------
    folder : Path
        Holds train.npy and test.npy.
    seed : int
        Random state of the first round; each further round takes the next integer.
    n_images : int, optional
        Number of training images; all by default.
    batch_size, epochs : int
    device : str
    tests : bool
        Whether a round ends with the test error on corrupted images, with the clock stopped.
    """

    folder: Path
    seed: int
    n_images: int | None = None
    batch_size: int | None = 32
    epochs: int = 5
    device: str = "cpu"
    tests: bool = True

    def train(self) -> Array:
        """Return the training images, (n, h, w) or (n, h, w, c), in the dtype and range of the data set."""
        images: Array = np.load(self.folder / "train.npy", allow_pickle=False)[: self.n_images]
        return images

    def test(self) -> Array:
        """Return the test images, in the same layout."""
        images: Array = np.load(self.folder / "test.npy", allow_pickle=False)
        return images

    def test_pairs(self) -> tuple[Float32, Float32]:
        """Return corrupted test images and their clean targets, float32 in 0..1; every contender gets the same noise."""
        images = self.test()
        return NOISE(images, self.seed + 1), to_float(images)


def write(folder: Path, train: Array, test: Array) -> None:
    """Write the images to `folder`, where tasks read them."""
    np.save(folder / "train.npy", train, allow_pickle=False)
    np.save(folder / "test.npy", test, allow_pickle=False)


def widths(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the widths of all layers of the chapter's network for images of `shape`, from input to output."""
    pixels = math.prod(shape)
    return (pixels, *HIDDEN, N_COMPONENTS, *HIDDEN[::-1], pixels)


class Clock:
    """A clock that starts when it is constructed and can be stopped for a while."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start, without those in which the clock was stopped."""
        return time.perf_counter() - self._start

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock during the block."""
        begun = time.perf_counter()
        yield
        self._start += time.perf_counter() - begun

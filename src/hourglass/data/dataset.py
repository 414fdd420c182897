"""The result of `load`: images with their labels and paths, in training and test splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError
from hourglass.images import Array, check_images, overlapping_tiles


@dataclass(frozen=True, repr=False)
class Split:
    """Images with their labels and origin.

    Attributes
    ----------
    images : ndarray of shape (n, h, w) or (n, h, w, c), uint8 or float in 0..1
    labels : ndarray of shape (n,), or None
        Integers, or names of subfolders.
    paths : tuple of Path, or None
        File of each image, if images are read from separate files; ``stack.tif#0`` for a page of a file.
    keys : tuple of str, or None
        Name of each image in its shard.
    white : float, or None
        The value that mapped to 1 in files deeper than 8 bits, such as 4095 for 12 bits. None for uint8 and floats in 0..1.
    rejects : tuple of (path, reason)
        Files that could not be read.
    """

    images: Array
    labels: NDArray[Any] | None = None
    paths: tuple[Path, ...] | None = None
    keys: tuple[str, ...] | None = None
    white: float | None = None
    rejects: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", check_images(self.images))
        if self.labels is not None and self.labels.shape != (len(self.images),):
            raise DataError(f"labels have shape {self.labels.shape} for {len(self.images)} images; give one label per image.")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "×".join(str(length) for length in self.images.shape[1:])
        return f"<{len(self):,} images of {shape}, {self.images.dtype}{'' if self.labels is None else ', labelled'}>"

    @property
    def known_labels(self) -> NDArray[Any]:
        """`labels`; raises DataError if there are none."""
        if self.labels is None:
            raise DataError("these images have no labels; subfolders of a folder are read as labels.")
        return self.labels

    def tiled(self, size: tuple[int, int]) -> Split:
        """Cut every image into tiles of `size` that overlap by half and keep its label and path.

        Raises
        ------
        DataError
            If an image is smaller than a tile.
        """
        tiles = tiles_of(list(self.images), size, self.labels, self.paths)
        return dataclasses.replace(tiles, white=self.white, rejects=self.rejects)

    def take(self, rows: NDArray[np.intp]) -> Split:
        """Return the images of `rows`, in this order, with their labels and paths."""
        return Split(
            self.images[rows],
            None if self.labels is None else self.labels[rows],
            None if self.paths is None else tuple(self.paths[row] for row in rows),
            None if self.keys is None else tuple(self.keys[row] for row in rows),
            self.white,
            self.rejects,
        )


def parse_size(size: Any, name: str) -> tuple[int, int] | None:
    """Return the argument `name` as (height, width): a pair, one number for both, or None. Raises DataError otherwise."""
    pair = (size, size) if isinstance(size, Integral) else tuple(size) if isinstance(size, (tuple, list)) else ()
    are_positive = all(isinstance(length, Integral) and not isinstance(length, bool) and int(length) > 0 for length in pair)
    if size is not None and not (len(pair) == 2 and are_positive):
        raise DataError(f"{name}={size!r}; allowed: (height, width), two whole numbers above 0, or one for both.")
    return (int(pair[0]), int(pair[1])) if pair else None


def tiles_of(
    images: Sequence[Array], size: tuple[int, int], labels: NDArray[Any] | None, paths: tuple[Path, ...] | None
) -> Split:
    """Cut images of any size, (h, w) or (h, w, c), into tiles of `size` that keep their labels and paths."""
    tiles = [overlapping_tiles(image, size) for image in images]
    sources = np.repeat(np.arange(len(tiles)), [len(of_image) for of_image in tiles])
    return Split(
        np.concatenate(tiles),
        None if labels is None else labels[sources],
        None if paths is None else tuple(paths[source] for source in sources),
    )


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set with a training split and optional test and validation splits.

    Attributes
    ----------
    name : str
        The catalogue name, or the name of the file or folder.
    train : Split
        The training split; all images if the source has no splits.
    source : str
        A description of where the data set was found.
    test_split : Split, optional
        The test split, if there is one.
    validation_split : Split, optional
        The validation split, if there is one. Estimators do not use it: `fit` holds out its own validation split.
    """

    name: str
    train: Split
    source: str
    test_split: Split | None = None
    validation_split: Split | None = None

    def __repr__(self) -> str:
        validation = "" if self.validation_split is None else f", validation {self.validation_split!r}"
        return f"<{self.name} from {self.source}: train {self.train!r}, test {self.test_split!r}{validation}>"

    @property
    def summary(self) -> str:
        """The source, image size, splits and classes in one line."""
        splits = {"train": self.train, "test": self.test_split, "validation": self.validation_split}
        sizes = [f"{name} {len(split):,}" for name, split in splits.items() if split is not None]
        shape = "×".join(str(length) for length in self.train.images.shape[1:])
        n_classes = 0 if self.train.labels is None else len(np.unique(self.train.labels))
        classes = f", {n_classes} class{'es' if n_classes > 1 else ''}" if n_classes else ", no labels"
        counts = ", ".join(sizes) if len(sizes) > 1 else f"{len(self.train):,} in all"
        return f"{self.source}: images of {shape}, {counts}{classes}."

    @property
    def has_test(self) -> bool:
        return self.test_split is not None

    def with_test(self, seed: int, share: float = 0.1) -> Dataset:
        """Return this data set, with a random `share` of the training images held out for testing if it has no test split.

        Tiles of one image stay in one split, because overlapping tiles would leak test data.
        """
        if self.has_test:
            return self
        if self.train.paths is None:
            groups = np.arange(len(self.train))
        else:
            groups = np.unique([str(path) for path in self.train.paths], return_inverse=True)[1]
        order = np.random.default_rng(seed).permutation(groups.max() + 1)
        n_test = max(1, int(share * len(order)))
        if n_test == len(order):
            raise DataError(f"{self.name} has only one image; a test split needs more.")
        ranks = np.argsort(order)[groups]
        rows = np.argsort(ranks, kind="stable")
        held_out = int((ranks < n_test).sum())
        return dataclasses.replace(self, train=self.train.take(rows[held_out:]), test_split=self.train.take(rows[:held_out]))

    def tiled(self, size: tuple[int, int]) -> Dataset:
        """Return this data set with every image cut into tiles of `size` that overlap by half."""
        splits = (self.test_split, self.validation_split)
        test, validation = (None if split is None else split.tiled(size) for split in splits)
        return dataclasses.replace(self, train=self.train.tiled(size), test_split=test, validation_split=validation)

    @property
    def validation(self) -> Split:
        """The validation split; raises DataError if there is none."""
        if self.validation_split is None:
            raise DataError(f"{self.name} has no validation split: a folder has one if its subfolders are train, val and test.")
        return self.validation_split

    @property
    def test(self) -> Split:
        """The test split; raises DataError if there is none."""
        if self.test_split is None:
            raise DataError(
                f"{self.name} has no test split. A folder has one if its subfolders are train/ and test/; "
                "an npz file, if it contains x_train and x_test."
            )
        return self.test_split

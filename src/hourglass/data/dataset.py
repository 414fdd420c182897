"""What `load` returns: images with their labels and paths, in a training and a test part."""

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
from hourglass.images import Array, check_images, windows


@dataclass(frozen=True, repr=False)
class Split:
    """Images and what is known of each.

    Attributes
    ----------
    images : ndarray of shape (n, h, w) or (n, h, w, c), uint8 or float in 0..1
    labels : ndarray of shape (n,), or None
        Integers, or the names of the subfolders the images came from.
    paths : tuple of Path, or None
        Where each image was read, if each has a file of its own; of several pages in one, ``stack.tif#0``.
    keys : tuple of str, or None
        What each image is called in the shard that it came from.
    white : float, or None
        What stood for 1 in the files, where they held more than 8 bits: 4095 of 12 bits. None: uint8, or floats in 0..1.
    rejects : tuple of (path, reason)
        The files that could not be read and are left out.
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
            raise DataError(
                f"labels have shape {self.labels.shape} for {len(self.images)} images; one label an image is needed."
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = "×".join(str(side) for side in self.images.shape[1:])
        return f"<{len(self):,} images of {shape}, {self.images.dtype}{'' if self.labels is None else ', labelled'}>"

    @property
    def known_labels(self) -> NDArray[Any]:
        """`labels`, for what cannot do without; DataError if there are none."""
        if self.labels is None:
            raise DataError("these images have no labels; subfolders of a folder are read as labels.")
        return self.labels

    def tiled(self, size: tuple[int, int]) -> Split:
        """Every image cut into tiles of `size` that overlap by half and keep label and path. DataError if one is smaller."""
        tiles = tiles_of(list(self.images), size, self.labels, self.paths)
        return dataclasses.replace(tiles, white=self.white, rejects=self.rejects)

    def take(self, rows: NDArray[np.intp]) -> Split:
        """The images of these rows, in this order, with their labels and paths."""
        return Split(
            self.images[rows],
            None if self.labels is None else self.labels[rows],
            None if self.paths is None else tuple(self.paths[row] for row in rows),
            None if self.keys is None else tuple(self.keys[row] for row in rows),
            self.white,
            self.rejects,
        )


def sides_of(size: Any, name: str) -> tuple[int, int] | None:
    """(height, width) of what was given as `name`: such a pair, one number for both, or None. DataError for anything else."""
    sides = (size, size) if isinstance(size, Integral) else tuple(size) if isinstance(size, (tuple, list)) else ()
    are_whole = all(isinstance(side, Integral) and not isinstance(side, bool) and int(side) > 0 for side in sides)
    if size is not None and not (len(sides) == 2 and are_whole):
        raise DataError(f"{name}={size!r}; allowed: (height, width), two whole numbers above 0, or one for both.")
    return (int(sides[0]), int(sides[1])) if sides else None


def tiles_of(
    images: Sequence[Array], size: tuple[int, int], labels: NDArray[Any] | None, paths: tuple[Path, ...] | None
) -> Split:
    """Images of any sizes, (h, w) or (h, w, c), cut into tiles of `size` that keep their labels and paths."""
    parts = [windows(image, size) for image in images]
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Split(
        np.concatenate(parts),
        None if labels is None else labels[owners],
        None if paths is None else tuple(paths[owner] for owner in owners),
    )


@dataclass(frozen=True, repr=False)
class Dataset:
    """A named source of images.

    Attributes
    ----------
    name : str
        The catalogue name, or the name of the file or folder.
    train : Split
        What models are fitted on; a source without parts is all training images.
    source : str
        Where it was found, in words.
    test_split : Split, optional
        What `test` gives, where there is one.
    validation_split : Split, optional
        What `validation` gives, where there is one. No estimator asks for it: `fit` holds out a part of its own.
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
        """What it was taken for, in one line: how many images of which size, classes, parts."""
        parts = {"train": self.train, "test": self.test_split, "validation": self.validation_split}
        sizes = [f"{name} {len(split):,}" for name, split in parts.items() if split is not None]
        shape = "×".join(str(side) for side in self.train.images.shape[1:])
        n_classes = 0 if self.train.labels is None else len(np.unique(self.train.labels))
        classes = f", {n_classes} class{'es' if n_classes > 1 else ''}" if n_classes else ", no labels"
        counts = ", ".join(sizes) if len(sizes) > 1 else f"{len(self.train):,} in all"
        return f"{self.source}: images of {shape}, {counts}{classes}."

    @property
    def has_test(self) -> bool:
        return self.test_split is not None

    def with_test(self, seed: int, share: float = 0.1) -> Dataset:
        """This data set; without a test part, a `share` of its images, drawn with `seed`, becomes one.

        Tiles of one image stay together, for those that overlap would tell a model its test.
        """
        if self.has_test:
            return self
        if self.train.paths is None:
            owners = np.arange(len(self.train))
        else:
            owners = np.unique([str(path) for path in self.train.paths], return_inverse=True)[1]
        order = np.random.default_rng(seed).permutation(owners.max() + 1)
        n_test = max(1, int(share * len(order)))
        if n_test == len(order):
            raise DataError(f"{self.name} holds one image; to hold out some for a test, more are needed.")
        places = np.argsort(order)[owners]  # where each image's owner was drawn
        rows = np.argsort(places, kind="stable")
        held_out = int((places < n_test).sum())
        return dataclasses.replace(self, train=self.train.take(rows[held_out:]), test_split=self.train.take(rows[:held_out]))

    def tiled(self, size: tuple[int, int]) -> Dataset:
        """This data set with every image cut into tiles of `size` that overlap by half."""
        test, validation = (None if part is None else part.tiled(size) for part in (self.test_split, self.validation_split))
        return dataclasses.replace(self, train=self.train.tiled(size), test_split=test, validation_split=validation)

    @property
    def validation(self) -> Split:
        """The validation part of a folder that has train, val and test; DataError if the source has none."""
        if self.validation_split is None:
            raise DataError(f"{self.name} has no validation part: a folder has one if its subfolders are train, val and test.")
        return self.validation_split

    @property
    def test(self) -> Split:
        """The part that figures are reported on; DataError if the source has none."""
        if self.test_split is None:
            raise DataError(
                f"{self.name} has no test part. A folder has one if its subfolders are train/ and test/; "
                "an npz file, if it holds x_train and x_test."
            )
        return self.test_split

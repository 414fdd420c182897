"""The result of `load`: images with their labels and paths, in training and test splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.data.thumbnails import thumbnails_html
from hourglass.errors import DataError
from hourglass.images import Array, ImageSet, as_list, check_images, overlapping_tiles, with_channels


@dataclass(frozen=True, repr=False)
class Split(ImageSet):
    """Images with their labels and origin.

    Attributes
    ----------
    images : ndarray of shape (n, h, w) or (n, h, w, c), uint8 or float in 0..1
        Or, if their sizes differ, a list of ndarray (h, w) or (h, w, c).
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

    images_at = "images"

    images: Any
    labels: NDArray[Any] | None = None
    paths: tuple[Path, ...] | None = None
    keys: tuple[str, ...] | None = None
    white: float | None = None
    rejects: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        many = as_list(self.images)
        images = check_images(self.images) if many is None else [check_images(image[None])[0] for image in many]
        object.__setattr__(self, "images", images)
        if self.labels is not None and self.labels.shape != (len(self.images),):
            raise DataError(f"labels have shape {self.labels.shape} for {len(self.images)} images; give one label per image.")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        labelled = "" if self.labels is None else ", labelled"
        return f"<{len(self):,} images of {self.size_text}, {self.images[0].dtype}{labelled}>"

    def _repr_html_(self) -> str:
        """For notebooks: what these images are, and the first of them."""
        return f"<div>{escape(repr(self))}</div>{thumbnails_html(self.images)}"

    @property
    def has_many_sizes(self) -> bool:
        """Whether images differ in height or width, so that `images` is a list."""
        return isinstance(self.images, list)

    @property
    def size_text(self) -> str:
        """Height, width and channels: "28×28", or "several sizes, 321×481 to 481×321" by height and then width."""
        if not self.has_many_sizes:
            return "×".join(str(length) for length in self.images.shape[1:])
        first, last = (find(image.shape for image in self.images) for find in (min, max))
        return f"several sizes, {'×'.join(map(str, first))} to {'×'.join(map(str, last))}"

    def of_one_size(self, name: str) -> Split:
        """These images, whose array is needed. Raises DataError, naming the data set, if they differ in height or width."""
        if self.has_many_sizes:
            other = next(row for row, image in enumerate(self.images) if image.shape != self.images[0].shape)
            names = [f"image {row}" if self.paths is None else self.paths[row].name for row in (0, other)]
            sizes = [f"{image.shape[1]}×{image.shape[0]}" for image in (self.images[0], self.images[other])]
            raise DataError(
                f"{name}: sizes differ, {names[0]} is {sizes[0]} and {names[1]} is {sizes[1]}; "
                "resize them (size=(height, width), or --size) or cut them into tiles (tile=, or --tile)."
            )
        return self

    def in_grey(self) -> Split:
        """Coloured images converted to grey (ITU-R 601); grey ones are not copied."""
        if self.images[0].ndim == 2:
            return self
        if self.has_many_sizes:
            return dataclasses.replace(self, images=[with_channels(image[None], image.shape[:2])[0] for image in self.images])
        return dataclasses.replace(self, images=with_channels(self.images, self.images.shape[1:3]))

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
            [self.images[row] for row in rows] if self.has_many_sizes else self.images[rows],
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
class Dataset(ImageSet):
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

    images_at = "train.images"

    name: str
    train: Split
    source: str
    test_split: Split | None = None
    validation_split: Split | None = None

    def __repr__(self) -> str:
        validation = "" if self.validation_split is None else f", validation {self.validation_split!r}"
        return f"<{self.name} from {self.source}: train {self.train!r}, test {self.test_split!r}{validation}>"

    def _repr_html_(self) -> str:
        """For notebooks: what this data set is, and the first training images."""
        return f"<div>{escape(self.summary)}</div>{thumbnails_html(self.train.images)}"

    @property
    def summary(self) -> str:
        """The source, image size, splits and classes in one line."""
        splits = {"train": self.train, "test": self.test_split, "validation": self.validation_split}
        sizes = [f"{name} {len(split):,}" for name, split in splits.items() if split is not None]
        n_classes = 0 if self.train.labels is None else len(np.unique(self.train.labels))
        classes = f", {n_classes} class{'es' if n_classes > 1 else ''}" if n_classes else ", no labels"
        counts = ", ".join(sizes) if len(sizes) > 1 else f"{len(self.train):,} in all"
        return f"{self.source}: images of {self.train.size_text}, {counts}{classes}."

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

    def of_one_size(self) -> Dataset:
        """This data set, whose arrays are needed. Raises DataError if images of a split differ in height or width."""
        for split in (self.train, self.test_split, self.validation_split):
            if split is not None:
                split.of_one_size(self.name)
        return self

    def in_grey(self) -> Dataset:
        """This data set with coloured images converted to grey (ITU-R 601)."""
        splits = (self.test_split, self.validation_split)
        test, validation = (None if split is None else split.in_grey() for split in splits)
        return dataclasses.replace(self, train=self.train.in_grey(), test_split=test, validation_split=validation)

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

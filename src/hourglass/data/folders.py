"""Files and folders as data sets: which files a folder holds, what its subfolders are, and how one is read."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hourglass.data.array_files import IDX_NAMES, idx_file, read_idx, read_idx_pair, read_npy, read_npz, split_of
from hourglass.data.dataset import Dataset, Split, tiles_of
from hourglass.data.files import IMAGE_FORMATS, Pages
from hourglass.data.notes import one_note
from hourglass.data.pictures import Picture, common_white, in_unit, read_pictures
from hourglass.errors import DataError, HourglassWarning, ParameterError
from hourglass.images import to_float

_IDX_SUFFIXES = (".idx", ".idx1", ".idx3", "-ubyte", ".gz")


def read(
    path: Path,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    white: float | None = None,
    pages: Pages = "all",
) -> Dataset:
    """Read a file or folder as a data set.

    Parameters
    ----------
    path : Path
        An IDX, npy or npz file, one image, a folder of images (subfolders are labels, or train/ and test/), or a folder
        with the four IDX files of a data set laid out as MNIST.
    size : (height, width), optional
        Resize every image to this; without it the images of a folder must share one size.
    tile : (height, width), optional
        Instead, cut every image into tiles of this size, which overlap by half; sizes may then differ.
    white : float, optional
        The value that stands for 1 in images deeper than 8 bits; by default found for all of them, with a note.
    pages : {"all", "first"}
        Of files of several pages or frames.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as what its name says it is.
    """
    try:
        return _read(path, size, tile, white, pages)
    except DataError as error:  # the image contract knows no file names
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def _read(path: Path, size: tuple[int, int] | None, tile: tuple[int, int] | None, white: float | None, pages: Pages) -> Dataset:
    name, source = path.name or str(path), str(path)
    suffix = path.suffix.lower()
    if size is not None and ((path.is_file() and suffix not in IMAGE_FORMATS) or idx_file(path, IDX_NAMES["train"][0])):
        raise ParameterError(f"{path}: size is for images in files of their own; these arrays have a size.")
    if path.is_dir():
        if idx_file(path, IDX_NAMES["train"][0]):
            train = read_idx_pair(path, "train", white)
            return Dataset(name, train, source, read_idx_pair(path, "test", train.white or white))
        if (path / "train").is_dir() and (path / "test").is_dir():
            train = read_folder(path / "train", size, tile, white, pages)
            return Dataset(name, train, source, read_folder(path / "test", size, tile, train.white or white, pages))
        return Dataset(name, read_folder(path, size, tile, white, pages), source)
    if suffix in IMAGE_FORMATS and path.exists():
        return Dataset(name, _read_files([path], None, source, size, tile, white, pages), source)
    dataset = _read_file(path, white)
    return dataset if tile is None else dataset.tiled(tile)


def _read_file(path: Path, white: float | None) -> Dataset:
    name, source = path.name or str(path), str(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder.")
    if suffix == ".npz":
        train, test = read_npz(path, white)
        return Dataset(name, train, source, test)
    if suffix == ".npy":
        return Dataset(name, split_of(read_npy(path), source, white), source)
    if path.name.endswith(_IDX_SUFFIXES):
        return Dataset(name, split_of(read_idx(path), source, white), source)
    raise DataError(
        f"{path}: cannot tell what this is from its name; allowed: {', '.join(sorted(IMAGE_FORMATS))}, "
        ".npy, .npz, IDX (names that end in -ubyte, .idx or .gz), or a folder."
    )


def find_images(folder: Path) -> list[Path]:
    """All files below `folder` whose names end as an image's does, in sorted order; hidden ones are left out."""
    files = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in IMAGE_FORMATS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(f"{folder}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
    return sorted(files)


def read_folder(
    folder: Path,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    white: float | None = None,
    pages: Pages = "all",
) -> Split:
    """Read a folder of images that share one size, are resized to `size` or cut into tiles; the first subfolder is the label.

    Grey and coloured images together become coloured. Of images deeper than 8 bits `white`, or what is found, becomes 1.
    """
    files = find_images(folder)
    parents = [file.relative_to(folder).parts[:-1] for file in files]
    labels = [parts[0] for parts in parents] if all(parents) else None
    return _read_files(files, labels, str(folder), size, tile, white, pages)


def _read_files(
    files: Sequence[Path],
    labels: list[str] | None,
    name: str,
    size: tuple[int, int] | None,
    tile: tuple[int, int] | None,
    white: float | None,
    pages: Pages,
) -> Split:
    pictures: list[Picture] = []
    numbers: list[int] = []  # of the file of each
    with one_note():
        for number, file in enumerate(files):
            for picture in read_pictures(file, size, pages):
                if tile is None and pictures and picture.values.shape[:2] != pictures[0].values.shape[:2]:
                    (h0, w0), (h, w) = pictures[0].values.shape[:2], picture.values.shape[:2]
                    raise DataError(
                        f"{name}: sizes differ, {Path(pictures[0].name).name} is {w0}×{h0} and {Path(picture.name).name} is "
                        f"{w}×{h}; give a size to resize to (size=(height, width), or --size) or to cut tiles of (tile=, or "
                        "--tile)."
                    )
                pictures.append(dataclasses.replace(picture, alpha=None))  # which would take memory
                numbers.append(number)
        found = common_white(pictures, name, white)
        images = [in_unit(picture, found) for picture in pictures]
    if found is not None:
        images = [to_float(image) for image in images]
    if len({image.ndim for image in images}) == 2:
        warnings.warn(f"{name}: grey and coloured images together; all are read as RGB.", HourglassWarning, stacklevel=2)
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    paths = tuple(Path(picture.name) for picture in pictures)
    known = None if labels is None else np.array(labels)[numbers]
    if tile is not None:
        return dataclasses.replace(tiles_of(images, tile, known, paths), white=found)
    return Split(np.stack(images), known, paths, white=found)

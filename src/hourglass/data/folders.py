"""Files and folders as data sets: which files a folder holds, what its subfolders are, and how one is read."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.data.array_files import IDX_NAMES, idx_file, read_idx, read_idx_pair, read_npy, read_npz
from hourglass.data.dataset import Dataset, Split, tiles_of
from hourglass.data.files import IMAGE_FORMATS, read_image
from hourglass.errors import DataError, HourglassWarning, ParameterError

_IDX_SUFFIXES = (".idx", ".idx1", ".idx3", "-ubyte", ".gz")


def read(path: Path, size: tuple[int, int] | None = None, tile: tuple[int, int] | None = None) -> Dataset:
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

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as what its name says it is.
    """
    try:
        return _read(path, size, tile)
    except DataError as error:  # the image contract knows no file names
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def _read(path: Path, size: tuple[int, int] | None, tile: tuple[int, int] | None) -> Dataset:
    name, source = path.name or str(path), str(path)
    suffix = path.suffix.lower()
    if size is not None and ((path.is_file() and suffix not in IMAGE_FORMATS) or idx_file(path, IDX_NAMES["train"][0])):
        raise ParameterError(f"{path}: size is for images in files of their own; these arrays have a size.")
    if path.is_dir():
        if idx_file(path, IDX_NAMES["train"][0]):
            return Dataset(name, read_idx_pair(path, "train"), source, read_idx_pair(path, "test"))
        if (path / "train").is_dir() and (path / "test").is_dir():
            return Dataset(name, read_folder(path / "train", size, tile), source, read_folder(path / "test", size, tile))
        return Dataset(name, read_folder(path, size, tile), source)
    dataset = _read_file(path, size)
    return dataset if tile is None else dataset.tiled(tile)


def _read_file(path: Path, size: tuple[int, int] | None) -> Dataset:
    name, source = path.name or str(path), str(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder.")
    if suffix == ".npz":
        train, test = read_npz(path)
        return Dataset(name, train, source, test)
    if suffix == ".npy":
        return Dataset(name, Split(read_npy(path)), source)
    if suffix in IMAGE_FORMATS:
        return Dataset(name, Split(read_image(path, size)[None], paths=(path,)), source)
    if path.name.endswith(_IDX_SUFFIXES):
        return Dataset(name, Split(read_idx(path)), source)
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


def read_folder(folder: Path, size: tuple[int, int] | None = None, tile: tuple[int, int] | None = None) -> Split:
    """Read a folder of images that share one size, are resized to `size` or cut into tiles; the first subfolder is the label.

    Grey and coloured images together become coloured.
    """
    files = find_images(folder)
    images: list[NDArray[np.uint8]] = []
    for file in files:
        image = read_image(file, size)
        if tile is None and images and image.shape[:2] != images[0].shape[:2]:
            (h0, w0), (h, w) = images[0].shape[:2], image.shape[:2]
            raise DataError(
                f"{folder}: sizes differ, {files[0].name} is {w0}×{h0} and {file.name} is {w}×{h}; "
                "give a size to resize to (size=(height, width), or --size) or to cut tiles of (tile=, or --tile)."
            )
        images.append(image)
    if len({image.ndim for image in images}) == 2:
        warnings.warn(f"{folder}: grey and coloured images together; all are read as RGB.", HourglassWarning, stacklevel=2)
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    parents = [file.relative_to(folder).parts[:-1] for file in files]
    labels = np.array([parts[0] for parts in parents]) if all(parents) else None
    if tile is not None:
        return tiles_of(images, tile, labels, tuple(files))
    return Split(np.stack(images), labels, tuple(files))

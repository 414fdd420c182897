"""Reading files and folders as data sets."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.array_files import IDX_NAMES, idx_file, read_idx, read_idx_pairs, read_npy, read_npz, split_of
from hourglass.data.dataset import Dataset, Split, tiles_of
from hourglass.data.depth import are_units
from hourglass.data.files import IMAGE_FORMATS, UNREAD, Pages, is_unnamed_image, warn_unread
from hourglass.data.names import as_text
from hourglass.data.pictures import Picture, common_white, in_unit, read_pictures
from hourglass.data.shards.folder import ABOVE
from hourglass.data.sources import root_of
from hourglass.data.walk import matches, split_folders, walk
from hourglass.errors import DataError, ParameterError
from hourglass.images import to_float
from hourglass.notes import left_out, note, one_note

_IDX_SUFFIXES = (".idx", ".idx1", ".idx3", "-ubyte", ".gz")


def read(
    path: Path,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    white: float | None = None,
    pages: Pages = "all",
    strict: bool = False,
) -> Dataset:
    """Read a file or folder as a data set.

    Parameters
    ----------
    path : Path
        An IDX, npy or npz file, one image, a folder of images (subfolders are labels, or train/ and test/), or a folder
        with the four IDX files of a data set in MNIST's layout.
    size : (height, width), optional
        Resize every image to this size; otherwise each keeps its own.
    tile : (height, width), optional
        Cut every image into tiles of this size that overlap by half.
    white : float, optional
        The value that maps to 1 in images deeper than 8 bits; by default inferred from all of them, with a warning.
    pages : {"all", "first"}
        Which pages or frames of a file to read.
    strict : bool
        Raise DataError for an image of a folder that cannot be read, instead of skipping it with a warning.

    Raises
    ------
    DataError
        If the file does not exist or its content does not match its suffix.
    """
    try:
        return _read(path, size, tile, white, pages, strict)
    except DataError as error:  # errors of the image contract do not name the file
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def _read(
    path: Path,
    size: tuple[int, int] | None,
    tile: tuple[int, int] | None,
    white: float | None,
    pages: Pages,
    strict: bool,
) -> Dataset:
    name, source = path.name or str(path), str(path)
    suffix = path.suffix.lower()
    if size is not None and ((path.is_file() and suffix not in IMAGE_FORMATS) or idx_file(path, IDX_NAMES["train"][0])):
        raise ParameterError(f"{path}: size is for images in separate files; the size of an array is fixed.")
    if path.is_dir():
        if idx_file(path, IDX_NAMES["train"][0]):
            train, test = read_idx_pairs(path, white)
            return Dataset(name, train, source, test)
        if folders := split_folders(path):
            found = {
                folder: _found(*_labelled_below(folder), str(folder), size, tile, pages, strict) for folder in folders.values()
            }
            every = [picture for one in found.values() for picture in one.pictures]  # the test split may be the brighter one
            level = common_white(every, source) if white is None else white
            return read_splits(path, folders, lambda folder: _split(found.pop(folder), tile, level))
        return Dataset(name, read_folder(path, size, tile, white, pages, strict), source)
    if suffix in IMAGE_FORMATS and path.exists():
        return Dataset(name, _read_files([path], None, source, size, tile, white, pages, strict), source)
    dataset = _read_file(path, white)
    return dataset if tile is None else dataset.tiled(tile)


def read_splits(folder: Path, folders: dict[str, Path], read_split: Callable[[Path], Split]) -> Dataset:
    """Read a data set from the `folders` of its splits."""
    splits = {name: read_split(path) for name, path in folders.items()}
    if "test" not in splits and "validation" in splits:
        message = f"{folder}: there is no test split, so {folders['validation'].name} is used as test split"
        note(f"{message}; fit holds out its own validation split.")
        splits["test"] = splits.pop("validation")
    return Dataset(folder.name or str(folder), splits["train"], str(folder), splits.get("test"), splits.get("validation"))


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
    if path.name.lower().endswith((".tar.gz", ".tgz")):
        raise DataError(f"{path}: a compressed tar file; decompress it, as gunzip does: images are read in place.")
    if path.name.endswith(_IDX_SUFFIXES):
        return Dataset(name, split_of(read_idx(path), source, white), source)
    if suffix in UNREAD:
        raise DataError(f"{path}: {suffix} is not supported; save it as .png or .tif.")
    raise DataError(
        f"{path}: cannot tell the format from its name; allowed: {', '.join(sorted(IMAGE_FORMATS))}, "
        ".npy, .npz, IDX (names that end in -ubyte, .idx or .gz), or a folder."
    )


def find_images(folder: Path) -> list[Path]:
    """Return all image files below `folder` by suffix, sorted. Follows links and skips hidden files.

    Warns about images in unsupported formats. Raises DataError if there is no image.
    """
    every = [Path(parent, name) for parent, names in walk(str(folder)) for name in names]
    files = [file for file in every if file.suffix.lower() in IMAGE_FORMATS]
    unread = [file for file in every if file.suffix.lower() in UNREAD or (not file.suffix and is_unnamed_image(str(file)))]
    warn_unread(str(folder), Counter(file.suffix.lower() for file in unread))
    if not files:
        raise DataError(f"{folder}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
    return sorted(files)


def images_outside(files: Sequence[Path], output: Path, source: Path) -> list[Path]:
    """Return the `files` of the folder `source` outside the folder `output`, also behind links, and warn about the others.

    So that earlier output of a command is not read as input. Raises DataError if no file is left.
    """
    below = output.resolve()
    if source.resolve().is_relative_to(below):
        return list(files)
    outside = [file for file in files if not file.resolve().is_relative_to(below)]
    if not outside:
        raise DataError(f"{source}: holds no image outside the output folder {output}.")
    if n_inside := len(files) - len(outside):
        inside = next(file for file in files if file not in outside)
        note(f"{source}: {left_out(n_inside, len(files), f'images lie below the output folder {output}', inside)}.")
    return outside


def files_of_pattern(pattern: str) -> list[Path]:
    """Return the images that match `pattern`, sorted. Warns about other matches; raises DataError if there is no image."""
    every = matches(os.path.expanduser(pattern))
    files = [file for file in every if file.suffix.lower() in IMAGE_FORMATS and not file.is_dir()]
    if not files:
        raise DataError(f"{pattern}: no image matches; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
    if len(files) < len(every):
        message = f"{pattern}: {len(every) - len(files)} of the matches are not images and are left out."
        note(message)
    return files


def read_folder(
    folder: Path,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    white: float | None = None,
    pages: Pages = "all",
    strict: bool = False,
) -> Split:
    """Read a folder of images, in their own sizes, resized to `size`, or cut into tiles; the first subfolder is the label.

    If some images are coloured, all become RGB. In images deeper than 8 bits `white`, or an inferred white level, maps to 1.
    """
    return _read_files(*_labelled_below(folder), str(folder), size, tile, white, pages, strict)


def read_pattern(
    pattern: str,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    white: float | None = None,
    pages: Pages = "all",
    strict: bool = False,
) -> Dataset:
    """Read the images that match a pattern such as photos/*.png; if they lie in several folders, these are the labels.

    Raises
    ------
    DataError
        If no image matches, or the images cannot be combined.
    """
    files = files_of_pattern(pattern)
    labels: list[str] | None = None
    if len({file.parent for file in files}) > 1:
        root = Path(root_of(pattern))
        every = [None if file.parent == root else as_text(file.parent.name) for file in files]
        files, labels = _labelled(files, every, pattern)
    return Dataset(Path(pattern).name, _read_files(files, labels, pattern, size, tile, white, pages, strict), pattern)


def _labelled_below(folder: Path) -> tuple[list[Path], list[str] | None]:
    """Return (image files below `folder`, their first subfolders as labels, or None); see `_labelled`."""
    files = find_images(folder)
    parents = [file.relative_to(folder).parts[:-1] for file in files]
    return _labelled(files, [as_text(parent[0]) if parent else None for parent in parents], str(folder))


def _labelled(files: list[Path], labels: list[str | None], name: str) -> tuple[list[Path], list[str] | None]:
    """Return (files, their labels, or None); the label of images above the class folders is None.

    If a minority of the images lies above the class folders, these are left out; if a majority does, no image is labelled. Both
    cases warn.
    """
    above = [file for file, label in zip(files, labels, strict=True) if label is None]
    if len(above) == len(files):
        return files, None
    if 2 * len(above) > len(files):
        note(f"{name}: {len(above)} of {len(files)} images lie in no subfolder, so none of them is labelled.")
        return files, None
    if not above:
        return files, [label or "" for label in labels]
    note(f"{name}: {left_out(len(above), len(files), ABOVE, above[0].name)}.")
    kept = [(file, label) for file, label in zip(files, labels, strict=True) if label is not None]
    return [file for file, _ in kept], [label for _, label in kept]


def _read_files(
    files: Sequence[Path],
    labels: list[str] | None,
    name: str,
    size: tuple[int, int] | None,
    tile: tuple[int, int] | None,
    white: float | None,
    pages: Pages,
    strict: bool,
) -> Split:
    """Read images in separate files; without `strict`, skip those that cannot be read, with a warning."""
    return _split(_found(files, labels, name, size, tile, pages, strict), tile, white)


class _Found(NamedTuple):
    """The images of some files, in their own units."""

    name: str
    pictures: list[Picture]
    labels: NDArray[Any] | None
    rejects: list[tuple[str, str]]


def _found(
    files: Sequence[Path],
    labels: list[str] | None,
    name: str,
    size: tuple[int, int] | None,
    tile: tuple[int, int] | None,
    pages: Pages,
    strict: bool,
) -> _Found:
    pictures: list[Picture] = []
    numbers: list[int] = []  # index of the file of each picture
    rejects: list[tuple[str, str]] = []
    with one_note():
        for number, file in enumerate(files):
            try:
                read = list(read_pictures(file, size, pages))
                if tile is not None:
                    _check_tile(read, tile)
            except DataError as error:
                if strict or len(files) == 1:
                    raise
                rejects.append((str(file), str(error).removeprefix(f"{file}: ")))
                continue
            for picture in read:
                pictures.append(dataclasses.replace(picture, alpha=None))  # to save memory
                numbers.append(number)
        pictures, numbers = _without_units(pictures, numbers, files, rejects, strict)
        _warn_rejects(name, rejects, len(files))
    return _Found(name, pictures, None if labels is None else np.array(labels)[numbers], rejects)


def _without_units(
    pictures: list[Picture], numbers: list[int], files: Sequence[Path], rejects: list[tuple[str, str]], strict: bool
) -> tuple[list[Picture], list[int]]:
    """Leave out floats up to 1 among more files of deep integers, as they share no white level, and list them in `rejects`."""
    deep = [(picture.largest, picture.depth != "float32") for picture in pictures if picture.is_deep]
    floats = sorted({number for picture, number in zip(pictures, numbers, strict=True) if picture.depth == "float32"})
    if strict or not are_units(deep) or 2 * sum(not is_integer for _, is_integer in deep) >= len(deep):
        return pictures, numbers
    rejects += [(str(files[number]), "holds floats up to 1, which share no white level with integers.") for number in floats]
    kept = [(picture, number) for picture, number in zip(pictures, numbers, strict=True) if number not in floats]
    return [picture for picture, _ in kept], [number for _, number in kept]


def _split(read: _Found, tile: tuple[int, int] | None, white: float | None) -> Split:
    name, pictures, labels, rejects = read
    with one_note():
        found = common_white(pictures, name, white)
        images = [in_unit(picture, found) for picture in pictures]
    if found is not None:
        images = [to_float(image) for image in images]
    if len({image.ndim for image in images}) == 2:
        note(f"{name}: grey and coloured images are mixed; all are read as RGB.")
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    paths = tuple(Path(picture.name) for picture in pictures)
    if tile is not None:
        return dataclasses.replace(tiles_of(images, tile, labels, paths), white=found, rejects=tuple(rejects))
    is_ragged = len({image.shape for image in images}) > 1
    return Split(images if is_ragged else np.stack(images), labels, paths, white=found, rejects=tuple(rejects))


def _check_tile(pictures: Sequence[Picture], tile: tuple[int, int]) -> None:
    """Raise DataError for an image smaller than a tile."""
    for picture in pictures:
        height, width = picture.values.shape[:2]
        if height < tile[0] or width < tile[1]:
            raise DataError(f"{picture.name}: {width}×{height} is smaller than a tile of {tile[1]}×{tile[0]}.")


def _warn_rejects(name: str, rejects: list[tuple[str, str]], n_files: int) -> None:
    if rejects:
        first = ": ".join(rejects[0])
        if len(rejects) == n_files:
            raise DataError(f"{name}: none of its {n_files} images can be read; the first: {first}")
        note(f"{name}: {left_out(len(rejects), n_files, 'images cannot be read', first)}", 3)

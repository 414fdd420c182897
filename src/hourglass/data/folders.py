"""Reading files and folders as data sets."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.array_files import IDX_NAMES, idx_file, read_idx, read_idx_pairs, read_npy, read_npz, split_of
from hourglass.data.dataset import Dataset, Split, tiles_of
from hourglass.data.files import IMAGE_FORMATS, UNREAD, Pages, is_unnamed_image, warn_unread
from hourglass.data.names import as_text
from hourglass.data.pictures import Picture, common_white, in_unit, read_pictures
from hourglass.data.walk import split_folders, walk
from hourglass.errors import DataError, ParameterError
from hourglass.images import to_float
from hourglass.notes import note, one_note

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
            return read_splits(path, folders, lambda folder, _: _split(found.pop(folder), tile, level))
        return Dataset(name, read_folder(path, size, tile, white, pages, strict), source)
    if suffix in IMAGE_FORMATS and path.exists():
        return Dataset(name, _read_files([path], None, source, size, tile, white, pages, strict), source)
    dataset = _read_file(path, white)
    return dataset if tile is None else dataset.tiled(tile)


def read_splits(folder: Path, folders: dict[str, Path], read_split: Callable[[Path, float | None], Split]) -> Dataset:
    """Read a data set from the `folders` of its splits, by `read_split(folder, white level of the training split)`."""
    train = read_split(folders["train"], None)
    splits = {name: read_split(path, train.white) for name, path in folders.items() if name != "train"}
    if "test" not in splits and "validation" in splits:
        message = f"{folder}: there is no test split, so {folders['validation'].name} is used as test split"
        note(f"{message}; fit holds out its own validation split.")
        splits["test"] = splits.pop("validation")
    others = [path.name for path in sorted(folder.iterdir()) if path not in folders.values() and not path.name.startswith(".")]
    skipped = [name for name in others if (folder / name).is_dir() or Path(name).suffix.lower() in IMAGE_FORMATS]
    if skipped:
        names = ", ".join(path.name for path in folders.values())
        message = f"{folder}: only the splits {names} are read; other content is left out ({', '.join(skipped[:5])})."
        note(message)
    return Dataset(folder.name or str(folder), train, str(folder), splits.get("test"), splits.get("validation"))


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
        message = f"{source}: {n_inside} images below the output folder {output} are left out."
        note(message)
    return outside


def files_of_pattern(pattern: str) -> list[Path]:
    """Return the images that match `pattern`, sorted. Warns about other matches; raises DataError if there is no image."""
    every = sorted(Path(file) for file in glob.glob(os.path.expanduser(pattern), recursive=True))
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
    labels = [as_text(file.parent.name) for file in files] if len({file.parent for file in files}) > 1 else None
    return Dataset(Path(pattern).name, _read_files(files, labels, pattern, size, tile, white, pages, strict), pattern)


def _labelled_below(folder: Path) -> tuple[list[Path], list[str] | None]:
    """Return (image files below `folder`, their first subfolders as labels, or None).

    If a minority of the images lies above the class folders, these are left out; if a majority does, no image is labelled. Both
    cases warn.
    """
    files = find_images(folder)
    parents = [file.relative_to(folder).parts[:-1] for file in files]
    above = [file for file, parent in zip(files, parents, strict=True) if not parent]
    if not above:
        return files, [as_text(parent[0]) for parent in parents]
    if len(above) == len(files):
        return files, None
    if 2 * len(above) > len(files):
        message = f"{folder}: {len(above)} of {len(files)} images lie in no subfolder, so none of them is labelled."
        note(message)
        return files, None
    message = f"{folder}: {len(above)} images above the class folders have no label and are left out"
    note(f"{message}; the first: {above[0].name}.")
    kept = [(file, parent[0]) for file, parent in zip(files, parents, strict=True) if parent]
    return [file for file, _ in kept], [as_text(label) for _, label in kept]


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
        _warn_rejects(name, rejects, len(files))
    return _Found(name, pictures, None if labels is None else np.array(labels)[numbers], rejects)


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
        message = f"{name}: {len(rejects)} of {n_files} images cannot be read and are left out; the first: {first}"
        note(message, 3)

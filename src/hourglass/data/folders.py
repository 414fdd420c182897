"""Files and folders as data sets: which files a folder holds, what its subfolders are, and how one is read."""

from __future__ import annotations

import dataclasses
import glob
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hourglass.data.array_files import IDX_NAMES, idx_file, read_idx, read_idx_pair, read_npy, read_npz, split_of
from hourglass.data.dataset import Dataset, Split, tiles_of
from hourglass.data.files import IMAGE_FORMATS, UNREAD, Pages, say_unread
from hourglass.data.names import as_text
from hourglass.data.notes import one_note
from hourglass.data.pictures import Picture, common_white, in_unit, read_pictures
from hourglass.data.walk import parts_of, walk
from hourglass.errors import DataError, HourglassWarning, ParameterError
from hourglass.images import to_float

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
        with the four IDX files of a data set laid out as MNIST.
    size : (height, width), optional
        Resize every image to this; without it the images of a folder must share one size.
    tile : (height, width), optional
        Instead, cut every image into tiles of this size, which overlap by half; sizes may then differ.
    white : float, optional
        The value that stands for 1 in images deeper than 8 bits; by default found for all of them, with a note.
    pages : {"all", "first"}
        Of files of several pages or frames.
    strict : bool
        Raise a DataError for an image of a folder that cannot be read, instead of leaving it out with a note.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as what its name says it is.
    """
    try:
        return _read(path, size, tile, white, pages, strict)
    except DataError as error:  # the image contract knows no file names
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
        raise ParameterError(f"{path}: size is for images in files of their own; these arrays have a size.")
    if path.is_dir():
        if idx_file(path, IDX_NAMES["train"][0]):
            train = read_idx_pair(path, "train", white)
            return Dataset(name, train, source, read_idx_pair(path, "test", train.white or white))
        if parts := parts_of(path):
            return read_parts(path, parts, lambda part, known: read_folder(part, size, tile, known or white, pages, strict))
        return Dataset(name, read_folder(path, size, tile, white, pages, strict), source)
    if suffix in IMAGE_FORMATS and path.exists():
        return Dataset(name, _read_files([path], None, source, size, tile, white, pages, strict), source)
    dataset = _read_file(path, white)
    return dataset if tile is None else dataset.tiled(tile)


def read_parts(folder: Path, parts: dict[str, Path], read_part: Callable[[Path, float | None], Split]) -> Dataset:
    """Train, test and validation parts, each read by `read_part` of its folder and the white level of the first."""
    train = read_part(parts["train"], None)
    splits = {part: read_part(path, train.white) for part, path in parts.items() if part != "train"}
    if "test" not in splits:
        words = f"{folder}: {parts['validation'].name} is taken for the test part, there being none; fit holds out its own."
        warnings.warn(words, HourglassWarning, stacklevel=2)
        splits["test"] = splits.pop("validation")
    others = [path.name for path in sorted(folder.iterdir()) if path not in parts.values() and not path.name.startswith(".")]
    beside = [name for name in others if (folder / name).is_dir() or Path(name).suffix.lower() in IMAGE_FORMATS]
    if beside:
        told = ", ".join(path.name for path in parts.values())
        words = f"{folder}: holds {told}, the parts of a data set; what lies beside them is left out ({', '.join(beside[:5])})."
        warnings.warn(words, HourglassWarning, stacklevel=2)
    return Dataset(folder.name or str(folder), train, str(folder), splits["test"], splits.get("validation"))


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
    """All files below `folder` whose names end as an image's does, in sorted order; links are followed, hidden files left out.

    A HourglassWarning counts images in formats that are not read. DataError if there is no image.
    """
    every = [Path(where, name) for where, names in walk(str(folder)) for name in names]
    files = [file for file in every if file.suffix.lower() in IMAGE_FORMATS]
    say_unread(str(folder), Counter(file.suffix.lower() for file in every if file.suffix.lower() in UNREAD))
    if not files:
        raise DataError(f"{folder}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
    return sorted(files)


def images_outside(files: Sequence[Path], output: Path, source: Path) -> list[Path]:
    """Those `files` of the folder `source` that are not below the folder `output`, with a note on how many are.

    What a command wrote there before is not read again. DataError if no other is left.
    """
    below, root = output.resolve(), source.resolve()
    if below == root or not below.is_relative_to(root):
        return list(files)
    outside = [file for file in files if not file.resolve().is_relative_to(below)]
    if not outside:
        raise DataError(f"{source}: holds no image but those below {output}, where the output goes.")
    if n_inside := len(files) - len(outside):
        words = f"{source}: {n_inside} images below {output}, where the output goes, are not read"
        warnings.warn(f"{words}.", HourglassWarning, stacklevel=2)
    return outside


def files_of_pattern(pattern: str) -> list[Path]:
    """The images whose names fit, sorted; a HourglassWarning counts what else fits. DataError if none does."""
    every = sorted(Path(file) for file in glob.glob(os.path.expanduser(pattern), recursive=True))
    files = [file for file in every if file.suffix.lower() in IMAGE_FORMATS and not file.is_dir()]
    if not files:
        raise DataError(f"{pattern}: no image fits; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
    if len(files) < len(every):
        words = f"{pattern}: {len(every) - len(files)} of what fits are no images and are left out."
        warnings.warn(words, HourglassWarning, stacklevel=2)
    return files


def read_folder(
    folder: Path,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    white: float | None = None,
    pages: Pages = "all",
    strict: bool = False,
) -> Split:
    """Read a folder of images that share one size, are resized to `size` or cut into tiles; the first subfolder is the label.

    Grey and coloured images together become coloured. Of images deeper than 8 bits `white`, or what is found, becomes 1.
    """
    files = find_images(folder)
    files, labels = _labelled(folder, files)
    return _read_files(files, labels, str(folder), size, tile, white, pages, strict)


def read_pattern(
    pattern: str,
    size: tuple[int, int] | None = None,
    tile: tuple[int, int] | None = None,
    white: float | None = None,
    pages: Pages = "all",
    strict: bool = False,
) -> Dataset:
    """Read the images whose names fit a pattern, as photos/*.png; of several folders, each image's folder is its label.

    Raises
    ------
    DataError
        If no image fits, or they cannot be read together.
    """
    files = files_of_pattern(pattern)
    labels = [as_text(file.parent.name) for file in files] if len({file.parent for file in files}) > 1 else None
    return Dataset(Path(pattern).name, _read_files(files, labels, pattern, size, tile, white, pages, strict), pattern)


def _labelled(folder: Path, files: list[Path]) -> tuple[list[Path], list[str] | None]:
    """(the images that count, the first subfolder of each as its label, or None)

    Some images above the class folders do not take all labels: they are left out. Where they are more, they are what the folder
    is of, and nothing is labelled. A HourglassWarning says either.
    """
    parents = [file.relative_to(folder).parts[:-1] for file in files]
    above = [file for file, parts in zip(files, parents, strict=True) if not parts]
    if not above:
        return files, [as_text(parts[0]) for parts in parents]
    if len(above) == len(files):
        return files, None
    if 2 * len(above) > len(files):
        words = f"{folder}: {len(above)} of {len(files)} images lie in no subfolder, so none of them is labelled."
        warnings.warn(words, HourglassWarning, stacklevel=2)
        return files, None
    words = f"{folder}: {len(above)} images above the class folders have no label and are left out; the first: {above[0].name}."
    warnings.warn(words, HourglassWarning, stacklevel=2)
    kept = [(file, parts[0]) for file, parts in zip(files, parents, strict=True) if parts]
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
    """Images in files of their own; without `strict` those of several that cannot be read are left out, with a note."""
    pictures: list[Picture] = []
    numbers: list[int] = []  # of the file of each
    rejects: list[tuple[str, str]] = []
    with one_note():
        for number, file in enumerate(files):
            try:
                read = list(read_pictures(file, size, pages))
            except DataError as error:
                if strict or len(files) == 1:
                    raise
                rejects.append((str(file), str(error).removeprefix(f"{file}: ")))
                continue
            for picture in read:
                if tile is None and pictures and picture.values.shape[:2] != pictures[0].values.shape[:2]:
                    (h0, w0), (h, w) = pictures[0].values.shape[:2], picture.values.shape[:2]
                    raise DataError(
                        f"{name}: sizes differ, {Path(pictures[0].name).name} is {w0}×{h0} and {Path(picture.name).name} is "
                        f"{w}×{h}; give a size to resize to (size=(height, width), or --size) or to cut tiles of (tile=, or "
                        "--tile)."
                    )
                pictures.append(dataclasses.replace(picture, alpha=None))  # which would take memory
                numbers.append(number)
        _tell_of_rejects(name, rejects, len(files))
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
        return dataclasses.replace(tiles_of(images, tile, known, paths), white=found, rejects=tuple(rejects))
    return Split(np.stack(images), known, paths, white=found, rejects=tuple(rejects))


def _tell_of_rejects(name: str, rejects: list[tuple[str, str]], n_files: int) -> None:
    if rejects:
        first = ": ".join(rejects[0])
        if len(rejects) == n_files:
            raise DataError(f"{name}: none of its {n_files} images can be read; the first: {first}")
        words = f"{name}: {len(rejects)} of {n_files} images cannot be read and are left out; the first: {first}"
        warnings.warn(words, HourglassWarning, stacklevel=3)

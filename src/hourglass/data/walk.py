"""Walking folders with links but without hidden files, and finding the folders of a data set's splits."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hourglass.data.files import IMAGE_FORMATS
from hourglass.errors import DataError
from hourglass.notes import note, quiet

FolderId = tuple[int, int]
"""Device and inode, which identify a folder behind any link."""


def walk(folder: str, above: tuple[FolderId, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """Yield (folder, sorted file names) for `folder` and all folders below it, following links.

    Leaves out links to a folder above them, with a warning.
    """
    entries = sorted((entry for entry in os.scandir(folder) if not entry.name.startswith(".")), key=lambda entry: entry.name)
    yield folder, [entry.name for entry in entries if is_file(entry)]
    chain = (*above, folder_id(folder))
    for entry in entries:
        if not is_file(entry) and entry.is_dir() and not leads_above(entry.path, chain):
            yield from walk(entry.path, chain)


def is_file(entry: os.DirEntry[Any]) -> bool:
    """Whether `entry` is a file or a broken link, which the reader then rejects by name."""
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:  # a link to itself
        return True


def folder_id(folder: str | bytes) -> FolderId:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def leads_above(folder: str | bytes, above: tuple[FolderId, ...]) -> bool:
    """Whether `folder` is a link to one of the folders above it; warns if so."""
    if folder_id(folder) not in above:
        return False
    message = f"{os.fsdecode(folder)}: a link to a folder above it would recurse for ever; it is left out."
    note(message)
    return True


_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
}
_ADDITIONS = re.compile(r"[ _-]?(images?|imgs?|data|set|split)$")


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the subfolders of a data set's splits: "train", and "test", "validation" or both; {} without splits.

    Names such as "Training", "val", "train_images" and "Test-Set" are recognised in any case. A folder of one split alone is
    "train", whatever its name, unless other folders hold images or more images lie beside it than in it: as a class it would
    take the classes below it. What is not read beside splits is noted.

    Raises
    ------
    DataError
        If two subfolders name the same split, or there are several and none for training.
    """
    found: dict[str, Path] = {}
    below = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")] if folder.is_dir() else []
    for path in below:
        split = _SPLITS.get(_ADDITIONS.sub("", path.name.lower()))
        if split is None or not path.is_dir():
            continue
        if split in found:
            raise DataError(f"{folder}: {found[split].name} and {path.name} both name its {split} split; rename one.")
        found[split] = path
    others = [path for path in below if path not in found.values() and (path.is_dir() or path.suffix.lower() in IMAGE_FORMATS)]
    if len(found) == 1:
        split, only = next(iter(found.items()))
        n_beside = sum(not path.is_dir() for path in others)
        if any(path.is_dir() and _count_files(path, 1) for path in others) or _count_files(only, n_beside) < n_beside:
            return {}
        if split != "train":
            note(f"{folder}: {only.name} is its only split, and is read as the training split.")
        found = {"train": only}
    names = ", ".join(path.name for path in found.values())
    if found and "train" not in found:
        raise DataError(f"{folder}: of its splits {names}, none is for training; name one, as {next(iter(found.values()))}.")
    if found and others:
        left = ", ".join(path.name for path in others[:5])
        note(f"{folder}: split into {names}; other content is left out ({left}).")
    return found


_READ = (*IMAGE_FORMATS, ".npy", ".parquet", ".tar")


def _count_files(folder: Path, at_most: int) -> int:
    """Count images and shards below `folder`, up to `at_most`."""
    with quiet():  # links are noted when the images are read
        found = (name for _, names in walk(str(folder)) for name in names if os.path.splitext(name)[1].lower() in _READ)
        return sum(1 for _ in itertools.islice(found, at_most))


def matches(pattern: str) -> list[Path]:
    """Return what matches `pattern`, sorted, as `glob` does, but ``**`` does not follow links to a folder above them."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return sorted(Path(file) for file in glob.glob(pattern))
    first, rest = parts.index("**"), parts[parts.index("**") + 1 :] or ("*",)
    n_plain = sum(1 for _ in itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    roots = [Path(root) for root in glob.glob(os.path.join(*parts[:first]))] if first else [Path()]
    above = {
        root: [folder_id(str(one)) for one in root.parents if len(one.parts) >= n_plain] for root in roots if root.is_dir()
    }
    folders = (folder for root, ids in above.items() for folder, _ in walk(str(root), tuple(ids)))
    return sorted({file for folder in folders for file in matches(os.path.join(glob.escape(folder), *rest))})

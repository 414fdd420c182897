"""Walking folders with links but without hidden files, and finding the folders of a data set's splits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hourglass.data.files import IMAGE_FORMATS
from hourglass.errors import DataError
from hourglass.notes import note

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

    Names such as "Training", "val", "train_images" and "Test-Set" are recognised in any case. A folder named for training alone
    counts if there is no other: as a class of its own it would take the classes below it.

    Raises
    ------
    DataError
        If two subfolders name the same split.
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
    if len(found) == 1:
        others = [path for path in below if path not in found.values()]
        if any(path.is_dir() or path.suffix.lower() in IMAGE_FORMATS for path in others):
            return {}
    return found if "train" in found else {}

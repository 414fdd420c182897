"""What is below a folder, also behind links, without what is hidden; and which of its folders are a data set's parts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hourglass.errors import DataError, HourglassWarning

Place = tuple[int, int]
"""Device and inode: what a folder is, by whatever name."""


def walk(folder: str, above: tuple[Place, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of its files, sorted) of `folder` and every folder below it, links followed.

    A link that leads to a folder above it is left out, with a HourglassWarning.
    """
    entries = sorted((entry for entry in os.scandir(folder) if not entry.name.startswith(".")), key=lambda entry: entry.name)
    yield folder, [entry.name for entry in entries if is_file(entry)]
    chain = (*above, place_of(folder))
    for entry in entries:
        if not is_file(entry) and entry.is_dir() and not leads_above(entry.path, chain):
            yield from walk(entry.path, chain)


def is_file(entry: os.DirEntry[Any]) -> bool:
    """Whether it is a file, or a link that leads nowhere or to itself: who reads that says so, and leaves it out by name."""
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:  # a link to itself
        return True


def place_of(folder: str | bytes) -> Place:
    told = os.stat(folder)
    return told.st_dev, told.st_ino


def leads_above(folder: str | bytes, above: tuple[Place, ...]) -> bool:
    """Whether `folder` is one of those above it, which a HourglassWarning then says."""
    if place_of(folder) not in above:
        return False
    words = f"{os.fsdecode(folder)}: a link to a folder above it, which would go round for ever; it is left out."
    warnings.warn(words, HourglassWarning, stacklevel=2)
    return True


_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}


def parts_of(folder: Path) -> dict[str, Path]:
    """The folders of a data set's parts, "train" with "test", "validation" or both, by their names in any case; else {}.

    Raises
    ------
    DataError
        If two of them name the same part.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        part = _PARTS.get(path.name.lower())
        if part is None or not path.is_dir():
            continue
        if part in found:
            raise DataError(f"{folder}: {found[part].name} and {path.name} both name its {part} part; rename one.")
        found[part] = path
    return found if "train" in found and len(found) > 1 else {}

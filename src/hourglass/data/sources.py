"""Finding the shards of a source: a file, a folder, a pattern, or a list of these."""

from __future__ import annotations

import glob
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hourglass.data.files import IMAGE_FORMATS
from hourglass.data.shards import FILES_PER_SHARD, KINDS, FileNames, FilesShard, Shard
from hourglass.data.walk import matches, split_folders, walk
from hourglass.errors import DataError
from hourglass.notes import note


def is_sharded(source: str | Path) -> bool:
    """Whether `source` is a Parquet or tar file, or a folder or pattern of such or npy files and not of images."""
    text = os.fspath(source)
    if not text:
        return False
    if Path(text).is_file():
        return Path(text).suffix.lower() in (".parquet", ".tar")
    if not Path(text).is_dir() and not glob.has_magic(text):
        return False
    return any(file.suffix.lower().removeprefix(".") in KINDS for file in _files_of(text))


def shards_of(source: str | Path | Sequence[str | Path]) -> Sequence[Shard]:
    """Return the shards of a source, sorted by name. Raises DataError if there are none or kinds are mixed."""
    if not isinstance(source, (str, Path)):
        if not isinstance(source, (list, tuple)):
            raise DataError(f"{source!r} is not a source; allowed: a file, a folder, a pattern, or a list of these.")
        every = [shard for one in source for shard in shards_of(one)]
        if not every:
            raise DataError("an empty list of sources.")
        return every
    if not os.fspath(source):
        raise DataError("an empty name; allowed: a file, a folder or a pattern.")
    path = Path(os.path.expanduser(os.fspath(source)))
    if folders := split_folders(path):
        if len(folders) > 1:
            names = ", ".join(folder.name for folder in folders.values())
            message = f"{path}: of its splits {names}, only {folders['train'].name} is read."
            note(message)
        path = folders["train"]
    files = [path] if path.is_file() else _files_of(str(path))
    if files and all(file.suffix.lower() in IMAGE_FORMATS for file in files):
        root = root_of(source)
        return _FolderShards(Path(root), [os.path.relpath(file, root) for file in files])
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1:
        raise DataError(f"{path}: holds {' and '.join(kinds)}; name one kind, as in {path}/*{kinds[0]}.")
    if files:
        if kinds[0].removeprefix(".") not in KINDS:
            allowed = ", ".join(f".{kind}" for kind in KINDS)
            raise DataError(f"{files[0]}: cannot be streamed; allowed: {allowed}, or a folder of images or of such files.")
        return [KINDS[kinds[0].removeprefix(".")](str(file)) for file in files]
    if path.is_dir():
        return _FolderShards(path)
    raise DataError(f"{path}: no such file or folder{', and no file matches' if glob.has_magic(str(path)) else ''}.")


def root_of(source: str | Path | Sequence[str | Path]) -> str:
    """Return the common folder of a source: the folder itself, or the common prefix of a pattern or list."""
    if not isinstance(source, (str, Path)):
        return os.path.commonpath([os.path.abspath(root_of(one)) for one in source])
    path = Path(os.path.expanduser(os.fspath(source)))
    if path.is_dir():
        return str(path)
    plain = itertools.takewhile(lambda part: not glob.has_magic(part), path.parent.parts)
    return str(Path(*plain))


def _files_of(text: str) -> list[Path]:
    """Return the shards below a folder, or the matches of a pattern; nothing if a folder holds images."""
    if not Path(text).is_dir():
        return matches(text)
    found: list[Path] = []
    for folder, names in walk(text):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in IMAGE_FORMATS:
                others = [other for other in names if os.path.splitext(other)[1].lower().removeprefix(".") in KINDS]
                _warn_mixed(text, name, [*(file.name for file in found), *others])
                return []
            if suffix.removeprefix(".") in KINDS:
                found.append(Path(folder, name))
    return sorted(found)


class _FolderShards(Sequence[Shard]):
    """The shards of a folder of images, created on access."""

    def __init__(self, folder: Path, names: Sequence[str] | None = None) -> None:
        self.folder, self.names = folder, FileNames(folder, names)

    def __len__(self) -> int:
        return math.ceil(len(self.names) / FILES_PER_SHARD)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        first = number * FILES_PER_SHARD
        return FilesShard(str(self.folder), tuple(self.names[first : first + FILES_PER_SHARD]), number)


_warned: set[str] = set()


def _warn_mixed(folder: str, image: str, others: list[str]) -> None:
    """Warn once per folder, as a folder is examined several times."""
    if others and folder not in _warned:
        _warned.add(folder)
        message = f"{folder}: holds images, such as {image}, and shards, such as {others[0]}; only the images are read"
        note(f"{message}. Keep them apart.")

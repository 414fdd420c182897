"""Writing so that nothing half-written stays behind: write beside, then rename."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s place when the block ends well, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield beside
        _flush(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` to write into; it takes `path`'s place when the block ends well.

    A folder cannot be renamed over one that holds files, so the old one first steps aside as `.<name>.old`; `standing_folder`
    finds it there if the process ended between the two renames.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    aside = path.with_name(f".{path.name}.old")
    beside.mkdir()
    try:
        yield beside
        for file in beside.iterdir():
            _flush(file)
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path, aside)
        os.replace(beside, path)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def standing_folder(path: Path) -> Path:
    """`path`; or, if an interrupted `replace_folder` left only the old folder, where that stands."""
    aside = path.with_name(f".{path.name}.old") if path.name else path
    return aside if aside.is_dir() and not path.exists() else path


def _flush(file: Path) -> None:
    """Bring a written file to the disk before its name points to it."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())

"""Writing so that nothing half-written stays behind: write beside, then rename; and one process an output.

A process that is killed leaves its `.<name>.<eight digits>.part`, which the next one that writes `<name>` removes: whoever
writes holds a lock on its part, and the system lets it go with the process. Where there are no such locks (Windows), parts
of killed processes stay, and two processes may write one output.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from hourglass.errors import ParameterError

try:
    import fcntl
except ModuleNotFoundError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


_NEW = 1.0  # second after it was made, in which a part may not be locked yet


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s place when the block ends well, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    beside = _beside(path)
    beside.touch()
    try:
        with _held(beside):
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
    _sweep(path)
    beside = _beside(path)
    aside = path.with_name(f".{path.name}.old")
    beside.mkdir()
    try:
        with _held(beside):
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


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Within it no other process of this user on this machine can claim the output `path`. ParameterError if one has.

    The lock is a file in the system's folder for temporary files, not beside the output: nothing has to be there yet.
    """
    folder = Path(tempfile.gettempdir()) / f"hourglass-{os.getuid() if hasattr(os, 'getuid') else 'locks'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    with contextlib.ExitStack() as stack:
        lock = folder / f"{name}.lock"
        lock.touch(mode=0o600)
        try:
            stack.enter_context(_held(lock))
        except BlockingIOError as error:
            raise ParameterError(f"{path}: another run is writing to it; wait for its end, or choose another -o.") from error
        yield


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


def _sweep(path: Path) -> None:
    """Remove what killed processes have left of writing `path`."""
    if fcntl is None:
        return
    for part in path.parent.glob(f".{_literally(path.name)}.????????.part"):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), _held(part):  # someone writes it, or has removed it
            if time.time() - part.stat().st_mtime < _NEW:
                continue
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink()


def _literally(name: str) -> str:
    """`name` as a pattern that means just it."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """A lock on an existing file or folder, which ends with the process. BlockingIOError if another holds it."""
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _flush(file: Path) -> None:
    """Bring a written file to the disk before its name points to it."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())

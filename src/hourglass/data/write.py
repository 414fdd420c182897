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
import stat
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

from hourglass.errors import HourglassWarning, ParameterError

try:
    import fcntl
except ModuleNotFoundError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_NEW = 1.0  # second after it was made, in which a part may not be locked yet
_LONGEST = 200  # bytes of a name that its part's name repeats; file systems allow 255


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes `path`'s place when the block ends well, else it is removed.

    Where `path` is a link, the file that it leads to is replaced.
    """
    path = path.resolve() if path.is_symlink() else path
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
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    beside, aside = _beside(path), _aside(path)
    beside.mkdir()
    try:
        with _held(beside):
            yield beside
            for file in beside.iterdir():
                _flush(file)
            with in_turn(path, writes=True):
                if path.exists():
                    shutil.rmtree(aside, ignore_errors=True)
                    os.replace(path, aside)
                os.replace(beside, path)
                shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextlib.contextmanager
def in_turn(path: Path, *, writes: bool = False) -> Iterator[None]:
    """Within it nobody else takes a folder's place beside `path`; whoever reads several files of one stands in it too.

    The lock is one on the folder around, held for a moment; where that cannot be opened for reading there is none.
    """
    try:
        handle = os.open(path.parent, os.O_RDONLY) if fcntl is not None else -1
    except OSError:
        handle = -1
    try:
        if handle >= 0:
            fcntl.flock(handle, fcntl.LOCK_EX if writes else fcntl.LOCK_SH)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def standing_folder(path: Path) -> Path:
    """`path`; or, with a note, the old folder, if an interrupted `replace_folder` left only that."""
    aside = _aside(path)
    if not path.name or path.exists() or not aside.is_dir():
        return path
    warnings.warn(f"{path} is missing; {aside} is taken, which a process that was killed had put aside.", HourglassWarning, 2)
    return aside


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Within it no other process of this user on this machine can claim the output `path`. ParameterError if one has.

    The lock is a file in the user's cache, not beside the output: nothing has to be there yet. Where there can be no such
    file, a note says so.
    """
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    lock = user_cache_path("hourglass") / "locks" / name
    with contextlib.ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
            stack.enter_context(_held(lock))
        except BlockingIOError as error:
            raise ParameterError(f"{path}: another run is writing to it; wait for its end, or choose another -o.") from error
        except OSError as error:
            words = f"no lock can be had in the user's cache ({error.strerror}): a second run into {path} would not be noticed."
            warnings.warn(words, HourglassWarning, stacklevel=2)
        yield


def _named(path: Path) -> str:
    """What the names beside it are made of: its own, or if that is long its digest."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()[:32]


def _beside(path: Path) -> Path:
    return path.with_name(f".{_named(path)}.{uuid.uuid4().hex[:8]}.part")


def _aside(path: Path) -> Path:
    return path.with_name(f".{_named(path)}.old") if path.name else path


def _sweep(path: Path) -> None:
    """Remove what killed processes have left of writing `path`, as far as it is there for us to remove."""
    if fcntl is None:
        return
    for part in path.parent.glob(f".{_literally(_named(path))}.????????.part"):
        with contextlib.suppress(OSError):  # someone writes it, or has removed it, or it is another's: a courtesy ends there
            told = part.lstat()
            is_ours = told.st_uid == os.getuid() and (stat.S_ISREG(told.st_mode) or stat.S_ISDIR(told.st_mode))
            if not is_ours or time.time() - told.st_mtime < _NEW:
                continue
            with _held(part):
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
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _flush(file: Path) -> None:
    """Bring a written file to the disk before its name points to it."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())

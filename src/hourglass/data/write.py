"""Atomic writing (write to a temporary path, then rename), and exclusive outputs.

A killed process leaves a temporary `.<name>.<eight digits>.part`, which the next process that writes `<name>` removes: a writer
locks its temporary path, and the operating system releases the lock when the process ends. Without such locks (Windows),
temporary paths of killed processes stay, and two processes may write to one output.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

from hourglass.errors import ParameterError
from hourglass.notes import note

try:
    import fcntl
except ModuleNotFoundError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_GRACE_PERIOD = 1.0  # seconds in which a new temporary path may not be locked yet
_MAX_NAME = 200  # bytes of the target's name in a temporary name; file systems allow 255


def output_path(path: str | Path) -> Path:
    """A path to write to, with ~ as the home folder. Raises ParameterError if no such user's is known."""
    expanded = Path(os.path.expanduser(path))
    if expanded.parts[:1] and expanded.parts[0].startswith("~"):
        raise ParameterError(f"{path}: no home folder of such a user is known; for a folder of that name write ./{path}.")
    return expanded


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`. It replaces `path` if the context succeeds, and is removed otherwise.

    If `path` is a link, its target is replaced.
    """
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary = _temporary_path(path)
    temporary.touch()
    try:
        with _locked(temporary):
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`. It replaces `path` if the context succeeds, and is removed otherwise.

    A folder cannot be renamed over a non-empty one, so the old one is first renamed to `.<name>.old`; `standing_folder` finds
    it there if the process ended between the two renames.
    """
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    temporary, backup = _temporary_path(path), _backup_path(path)
    temporary.mkdir()
    try:
        with _locked(temporary):
            yield temporary
            for file in temporary.iterdir():
                _flush(file)
            with in_turn(path, writes=True):
                if path.exists():
                    shutil.rmtree(backup, ignore_errors=True)
                    os.replace(path, backup)
                os.replace(temporary, path)
                shutil.rmtree(backup, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def in_turn(path: Path, *, writes: bool = False) -> Iterator[None]:
    """Lock `path` against replacement: shared for reading several files of a folder, exclusive with `writes`.

    The lock is on the parent folder and held briefly. There is none if the parent folder cannot be opened for reading.
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
    """Return `path`, or with a warning its backup if an interrupted `replace_folder` left only that."""
    backup = _backup_path(path)
    if not path.name or path.exists() or not backup.is_dir():
        return path
    note(f"{path} is missing; {backup}, the backup of an interrupted write, is used instead.")
    return backup


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Claim the output `path` against other processes of this user on this machine. Raises ParameterError if it is claimed.

    The lock is a file in the user's cache, so that `path` need not exist. Warns if no such file can be created.
    """
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    lock = user_cache_path("hourglass") / "locks" / name
    with contextlib.ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
            stack.enter_context(_locked(lock))
        except BlockingIOError as error:
            raise ParameterError(f"{path}: another run is writing to it; wait until it ends, or choose another -o.") from error
        except OSError as error:
            message = f"cannot create a lock in the user's cache ({error.strerror}); a second run into {path} may go unnoticed"
            note(f"{message}.")
        yield


def _stem(path: Path) -> str:
    """The base of temporary names: the target's name, or its digest if that is long."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= _MAX_NAME else hashlib.sha256(name).hexdigest()[:32]


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{_stem(path)}.{uuid.uuid4().hex[:8]}.part")


def _backup_path(path: Path) -> Path:
    return path.with_name(f".{_stem(path)}.old") if path.name else path


def _remove_leftovers(path: Path) -> None:
    """Remove temporary paths of killed processes that wrote `path`, if they belong to this user."""
    if fcntl is None:
        return
    for leftover in path.parent.glob(f".{glob.escape(_stem(path))}.????????.part"):
        with contextlib.suppress(OSError):  # locked by a writer, removed meanwhile, or not ours: removal is a courtesy
            status = leftover.lstat()
            is_ours = status.st_uid == os.getuid() and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))
            if not is_ours or time.time() - status.st_mtime < _GRACE_PERIOD:
                continue
            with _locked(leftover):
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock an existing file or folder until the process ends. Raises BlockingIOError if another process holds the lock."""
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
    """Flush a written file to disk before the rename."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())

"""Warnings in threads: those collected or silenced in one thread do not affect other threads.

`warnings.catch_warnings` replaces the filters of the whole process: a thread within it takes the warnings of all others, and
when two threads leave it in another order than they entered, the wrong filters stay.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from hourglass.errors import HourglassWarning

_groups: ContextVar[dict[str, list[str]] | None] = ContextVar("groups", default=None)
"""Messages by kind, within `one_note`."""
_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


def note(message: str, stacklevel: int = 2) -> None:
    """Issue a HourglassWarning; `one_note` collects it, `quiet` drops it.

    Parameters
    ----------
    message : str
    stacklevel : int
        As of `warnings.warn`, called in place of this function.
    """
    groups = _groups.get()
    if _is_quiet.get():
        return
    if groups is None:
        warnings.warn(message, HourglassWarning, stacklevel=stacklevel + 1)
        return
    group = groups.setdefault(re.sub(r"\d+", "0", message.partition(": ")[2] or message), [])
    if message not in group:
        group.append(message)


def left_out(count: int, total: int, what: str, first: object) -> str:
    """Words on what is left out: ``2 of 9 images cannot be read and are left out; the first: …``."""
    return f"{count:,} of {total:,} {what} and are left out; the first: {first}"


@contextlib.contextmanager
def one_note() -> Iterator[None]:
    """Collect this thread's notes within the context; on exit, issue one of each kind with the number of similar ones.

    Two notes are of one kind if they differ only in numbers and in the text before the first colon, which names the file.
    """
    groups: dict[str, list[str]] = {}
    token = _groups.set(groups)
    try:
        yield
    finally:
        _groups.reset(token)
    for group in groups.values():
        more = f" (and {len(group) - 1} more like it)" if len(group) > 1 else ""
        note(f"{min(group)}{more}", stacklevel=3)


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """Collect this thread's notes within the context into a list, one of each kind, instead of issuing them as warnings."""
    messages: list[str] = []
    groups: dict[str, list[str]] = {}
    token = _groups.set(groups)
    try:
        yield messages
    finally:
        _groups.reset(token)
        messages += [group[0] for group in groups.values()]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore all warnings of this thread, ours and others', as Pillow's on odd metadata.

    A filter that is put before all others once, and stays, ignores warnings only while its thread is within this context.
    """
    filters: Any = warnings.filters
    if not filters or filters[0] != _FILTER:  # first of all, or somebody has put one before it
        with contextlib.suppress(ValueError):
            filters.remove(_FILTER)
        filters.insert(0, _FILTER)
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


class _WhileQuiet:
    """In place of the pattern of a filter: matches any module while this thread is within `quiet`."""

    pattern = r"(?!)"
    """scikit-learn copies filters into threads and processes by their patterns: there it matches nothing."""

    def match(self, _: str) -> bool:
        return _is_quiet.get()

    def __eq__(self, other: object) -> bool:  # joblib's processes are sent copies
        return isinstance(other, _WhileQuiet)

    def __hash__(self) -> int:
        return hash(_WhileQuiet)


_FILTER = ("ignore", None, Warning, _WhileQuiet(), 0)

"""Conversion of any failure over untrusted file content into a FormatError."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hourglass.errors import FormatError, HourglassError

_FAILURES = (
    *(KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError),
    *(AssertionError, RuntimeError, MemoryError),  # from torch for invalid sizes, and for too deep nesting
)


@contextlib.contextmanager
def untrusted(what: str) -> Iterator[None]:
    """Raise FormatError, with a message that begins with `what`, for any failure in the context except Hourglass's errors."""
    try:
        yield
    except HourglassError:
        raise
    except _FAILURES as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{what} ({type(error).__name__}: {reason}).") from error

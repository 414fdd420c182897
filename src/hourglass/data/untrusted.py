"""What is made of a file's content may fail in any way; whoever reads it hears of one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hourglass.errors import FormatError, HourglassError

_FAILURES = (
    *(KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError),
    *(AssertionError, RuntimeError, MemoryError),  # of torch, on sizes; of too deep a nesting
)


@contextlib.contextmanager
def untrusted(what: str) -> Iterator[None]:
    """Within it, what goes wrong over a file's content is a FormatError that begins with `what`; our own errors stay."""
    try:
        yield
    except HourglassError:
        raise
    except _FAILURES as error:
        reason = " ".join(str(error).split())[:200]
        raise FormatError(f"{what} ({type(error).__name__}: {reason}).") from error

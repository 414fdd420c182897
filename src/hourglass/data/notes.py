"""The library's notes, of which many images may each cause one."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

from hourglass.errors import HourglassWarning


@contextlib.contextmanager
def one_note() -> Iterator[None]:
    """Within it the library's notes are gathered; at its end one of each kind is given, with the number of others like it.

    Notes are of one kind if they differ in numbers, and in what stands before the first colon, which is whom they are about.
    """
    notes: dict[str, list[str]] = {}
    with warnings.catch_warnings():
        show = warnings.showwarning

        def gather(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if issubclass(category, HourglassWarning):
                text = str(message)
                of_kind = notes.setdefault(re.sub(r"\d+", "0", text.partition(": ")[2] or text), [])
                if text not in of_kind:
                    of_kind.append(text)
            else:
                show(message, category, *rest, **named)

        warnings.showwarning = gather
        warnings.simplefilter("always", HourglassWarning)
        yield
    for of_kind in notes.values():
        more = f" (and {len(of_kind) - 1} more like it)" if len(of_kind) > 1 else ""
        warnings.warn(f"{min(of_kind)}{more}", HourglassWarning, stacklevel=3)

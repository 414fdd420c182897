"""Aggregation of warnings, which each of many images may cause."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

from hourglass.errors import HourglassWarning


@contextlib.contextmanager
def one_note() -> Iterator[None]:
    """Collect HourglassWarnings within the context; on exit, issue one of each kind with the number of similar ones.

    Two warnings are of one kind if they differ only in numbers and in the text before the first colon, which names the file.
    """
    groups: dict[str, list[str]] = {}
    with warnings.catch_warnings():
        show = warnings.showwarning

        def collect(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
            if issubclass(category, HourglassWarning):
                text = str(message)
                group = groups.setdefault(re.sub(r"\d+", "0", text.partition(": ")[2] or text), [])
                if text not in group:
                    group.append(text)
            else:
                show(message, category, *args, **kwargs)

        warnings.showwarning = collect
        warnings.simplefilter("always", HourglassWarning)
        yield
    for group in groups.values():
        more = f" (and {len(group) - 1} more like it)" if len(group) > 1 else ""
        warnings.warn(f"{min(group)}{more}", HourglassWarning, stacklevel=3)

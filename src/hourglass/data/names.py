"""File names as text, including names that are not valid UTF-8, as in old archives."""

from __future__ import annotations

import os
import re
from pathlib import Path

_MAX_LENGTH = 1000  # characters; string arrays take the width of the longest name


def as_text(name: str) -> str:
    r"""Return the end of `name` with escapes such as \xe9 for bytes that are not UTF-8, for storing and printing."""
    name = name[-_MAX_LENGTH:]
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def named(text: str) -> Path:
    """Return the file whose name `as_text` turned into `text`."""
    path = Path(text)
    if "\\x" not in text or path.exists():
        return path
    return Path(os.fsdecode(re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode())))

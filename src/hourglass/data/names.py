"""Names of files as text: a file may be called by bytes that are none, as in old archives."""

from __future__ import annotations

import os
import re
from pathlib import Path

_LONGEST_NAME = 1000  # letters, the last ones: tables hold all names in the width of the longest


def as_text(name: str) -> str:
    r"""`name` with \xe9 in place of each byte that is no UTF-8: tables, models and terminals take it."""
    name = name[-_LONGEST_NAME:]
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def named(text: str) -> Path:
    """The file that `as_text` gave this name."""
    path = Path(text)
    if "\\x" not in text or path.exists():
        return path
    return Path(os.fsdecode(re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode())))

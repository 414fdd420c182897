"""Rejects: images that could not be read, reported in one warning or listed in a file."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from hourglass.data.names import as_text
from hourglass.data.shards import Piece, Shard
from hourglass.data.write import replace_file
from hourglass.errors import DataError
from hourglass.notes import left_out, note

_MAX_NAMES = 100_000  # names kept, so that a second pass does not count images again


def write_rejects(path: Path, rejects: Sequence[tuple[str, str]], what: str = "path") -> None:
    """Write (name, reason) as CSV; without rejects, remove the file of an earlier run."""
    if not rejects:
        path.unlink(missing_ok=True)
        return
    with replace_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([(what, "reason"), *((as_text(name), as_text(reason)) for name, reason in rejects)])


class Rejects:
    """Collects images that were left out or read incompletely; with `strict`, the first one left out raises DataError."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._counts: dict[str, int] = {}
        self.first = ""
        self._n_reported = 0
        self._notes: dict[str, dict[str, str]] = {}
        self._n_notes_reported: dict[str, int] = {}

    def add(self, shard: Shard, piece: Piece, n_requested: int) -> None:
        """Record which of `n_requested` images of `shard` are missing in `piece`, and its notes."""
        for key, message in piece.notes:
            group = self._notes.setdefault(re.sub(r"\d+", "0", message), {})
            if len(group) < _MAX_NAMES:
                group[f"{shard.path} {key}"] = f"{key}: {message}"
        if not piece.rejects:
            return
        key, reason = piece.rejects[0]
        if self._strict:
            raise DataError(f"{key}: {reason}")
        self.first = self.first or f"{key}: {reason}"
        if len(self._counts) < _MAX_NAMES:
            n_each = (n_requested - len(piece.rows)) // len(piece.rejects)  # an unreadable block is one reject
            self._counts.update({f"{shard.path} {name}": n_each for name, _ in piece.rejects})

    def warn(self, n_images: int) -> None:
        """Warn about rejects and notes, if there are more than at the last call."""
        count = sum(self._counts.values())
        if count > self._n_reported:
            self._n_reported = count
            note(left_out(count, n_images, "images cannot be read", self.first), 3)
        for kind, group in self._notes.items():
            if len(group) > self._n_notes_reported.get(kind, 0):
                self._n_notes_reported[kind] = len(group)
                more = f" (and {len(group) - 1:,} more like it)" if len(group) > 1 else ""
                note(f"{min(group.values())}{more}", 3)

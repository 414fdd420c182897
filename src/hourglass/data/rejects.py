"""What could not be read: counted and told once, or listed in a file."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from hourglass.data.names import as_text
from hourglass.data.shards import Piece, Shard
from hourglass.data.write import replace_file
from hourglass.errors import DataError, HourglassWarning

_KEPT = 100_000  # names, so that a second reading does not count again


def write_rejects(path: Path, rejects: Sequence[tuple[str, str]], what: str = "path") -> None:
    """List (what each is called, the reason) as CSV. Without any no file is there, nor that of an earlier run."""
    if not rejects:
        path.unlink(missing_ok=True)
        return
    with replace_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([(what, "reason"), *((as_text(name), as_text(reason)) for name, reason in rejects)])


class Rejects:
    """The images that were left out, or not read whole; with `strict` the first that was left out is a DataError."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._counts: dict[str, int] = {}
        self.first = ""
        self._n_told = 0
        self._notes: dict[str, dict[str, str]] = {}
        self._notes_told: dict[str, int] = {}

    def note(self, shard: Shard, piece: Piece, n_wanted: int) -> None:
        """Of `n_wanted` images of `shard`, those in `piece` could be read."""
        for key, sentence in piece.notes:
            of_kind = self._notes.setdefault(re.sub(r"\d+", "0", sentence), {})
            if len(of_kind) < _KEPT:
                of_kind[f"{shard.path} {key}"] = f"{key}: {sentence}"
        if not piece.rejects:
            return
        key, reason = piece.rejects[0]
        if self._strict:
            raise DataError(f"{key}: {reason}")
        self.first = self.first or f"{key}: {reason}"
        if len(self._counts) < _KEPT:
            n_each = (n_wanted - len(piece.rows)) // len(piece.rejects)  # a block that cannot be read at all is one reject
            self._counts.update({f"{shard.path} {name}": n_each for name, _ in piece.rejects})

    def tell(self, n_images: int) -> None:
        """Say how many there are, if there are more than last time."""
        count = sum(self._counts.values())
        if count > self._n_told:
            self._n_told = count
            words = f"{count:,} of {n_images:,} images cannot be read and are left out; the first: {self.first}"
            warnings.warn(words, HourglassWarning, stacklevel=3)
        for kind, of_kind in self._notes.items():
            if len(of_kind) > self._notes_told.get(kind, 0):
                self._notes_told[kind] = len(of_kind)
                more = f" (and {len(of_kind) - 1:,} more like it)" if len(of_kind) > 1 else ""
                warnings.warn(f"{min(of_kind.values())}{more}", HourglassWarning, stacklevel=3)

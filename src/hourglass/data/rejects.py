"""What could not be read of a stream: counted, and told once."""

from __future__ import annotations

import warnings

from hourglass.data.shards import Piece, Shard
from hourglass.errors import DataError, HourglassWarning

_KEPT = 100_000  # names, so that a second reading does not count again


class Rejects:
    """The images that were left out; with `strict` the first is a DataError."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._counts: dict[str, int] = {}
        self.first = ""
        self._n_told = 0

    def note(self, shard: Shard, piece: Piece, n_wanted: int) -> None:
        """Of `n_wanted` images of `shard`, those in `piece` could be read."""
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

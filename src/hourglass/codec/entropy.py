"""Entropy coding: one table of frequencies for each number of a code, one range coder for all (constriction).

Tables hold whole counts, and decoding is the same on any machine: the only arithmetic on other than integers is one
IEEE 754 division, count / total, which has one right answer; constriction turns its result to 24 bits of fixed point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from hourglass.codec.varints import Reader, varint, zigzag
from hourglass.errors import FormatError

Symbols = NDArray[np.int32]

MAX_TABLE = 1 << 22  # different integers in one column
_PIECE = 1 << 20  # symbols decoded at once


@dataclass(frozen=True)
class Tables:
    """How often each integer occurs in each column.

    Attributes
    ----------
    values : list of ndarray, int32
        The integers that occur in a column, rising.
    counts : list of ndarray, int64, all >= 1
        How often each does.
    """

    values: list[Symbols]
    counts: list[NDArray[np.int64]]

    def check(self, n_columns: int) -> None:
        """ValueError unless they are tables of `n_columns` columns, none empty, of rising integers that occur."""
        columns = list(zip(self.values, self.counts, strict=True))
        for values, counts in columns:
            if values.shape != counts.shape or values.ndim != 1 or not len(values) or len(values) > MAX_TABLE:
                raise ValueError(f"a table of {values.shape} integers and {counts.shape} counts")
            if not ((np.diff(values) > 0).all() and (counts > 0).all() and counts.sum() <= 1 << 52):
                raise ValueError("a table whose integers do not rise, or do not occur")
        if len(columns) != n_columns:
            raise ValueError(f"{len(columns)} tables for {n_columns} numbers")

    def cover(self, symbols: Symbols) -> bool:
        """Whether every integer of `symbols` (n, columns) has a count."""
        return len(self.values) == symbols.shape[1] and all(
            bool(np.isin(column, values).all()) for values, column in zip(self.values, symbols.T, strict=True)
        )

    def to_bytes(self) -> bytes:
        """A column after the other: the number of its integers, the first, the gaps to the next ones, their counts."""
        parts = []
        for values, counts in zip(self.values, self.counts, strict=True):
            parts += [varint(len(values)), varint(zigzag(int(values[0])))]
            parts += [varint(int(gap)) for gap in np.diff(values)]
            parts += [varint(int(number)) for number in counts]
        return b"".join(parts)

    @classmethod
    def from_reader(cls, reader: Reader, n_columns: int) -> Tables:
        """What `to_bytes` wrote. FormatError if it cannot be."""
        values, counts = [], []
        for _ in range(n_columns):
            size = reader.varint(at_most=MAX_TABLE)
            if size == 0:
                raise FormatError("a table of frequencies is empty.")
            first = reader.zigzag()
            gaps = [reader.varint() for _ in range(size - 1)]
            numbers = [reader.varint() for _ in range(size)]
            levels = np.cumsum([first, *gaps])
            if min([1, *gaps, *numbers]) < 1 or abs(int(levels[-1])) > 1 << 30 or sum(numbers) > 1 << 52:
                raise FormatError("a table of frequencies holds impossible numbers.")
            values.append(levels.astype(np.int32))
            counts.append(np.array(numbers, dtype=np.int64))
        return cls(values, counts)


def count(symbols: Symbols) -> Tables:
    """The tables of `symbols` (n, columns) themselves."""
    pairs = [np.unique(column, return_counts=True) for column in symbols.T]
    return Tables([values for values, _ in pairs], [counts.astype(np.int64) for _, counts in pairs])


def expected_bytes(symbols: Symbols, tables: Tables) -> float:
    """The length that `encode` cannot go below, and comes within a few bytes of: -Σ log2(count / total) / 8."""
    bits = 0.0
    for column, values, counts in zip(symbols.T, tables.values, tables.counts, strict=True):
        bits -= float(np.log2(counts[np.searchsorted(values, column)] / counts.sum()).sum())
    return bits / 8


def encode(symbols: Symbols, tables: Tables) -> bytes:
    """`symbols` (n, columns), column by column, as little-endian 32-bit words; the tables must cover them."""
    encoder = constriction.stream.queue.RangeEncoder()
    for column, values, counts in zip(symbols.T, tables.values, tables.counts, strict=True):
        if len(values) > 1:
            encoder.encode(np.searchsorted(values, column).astype(np.int32), _model(counts))
    words: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return words


def decode(payload: bytes, tables: Tables, n: int) -> Symbols:
    """The `symbols` (n, columns) that were encoded. FormatError if the payload is not what `encode` wrote."""
    if len(payload) % 4:
        raise FormatError("the compressed part is cut in the middle of a word.")
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(payload, dtype="<u4").astype(np.uint32))
    symbols = np.empty((n, len(tables.values)), dtype=np.int32)
    try:
        for column, values, counts in zip(symbols.T, tables.values, tables.counts, strict=True):
            if len(values) == 1:
                column[:] = values[0]
                continue
            model = _model(counts)
            for part in _pieces(n):
                column[part] = values[decoder.decode(model, part.stop - part.start)]
    except (AssertionError, ValueError) as error:  # how constriction says that no encoder wrote this
        raise FormatError(f"the compressed part cannot be decoded ({error}).") from error
    if not decoder.maybe_exhausted():
        raise FormatError("the compressed part is longer than its images.")
    return symbols


def _pieces(n: int) -> Iterator[slice]:
    for start in range(0, n, _PIECE):
        yield slice(start, min(start + _PIECE, n))


def _model(counts: NDArray[np.int64]) -> Any:
    return constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)

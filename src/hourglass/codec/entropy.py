"""Entropy coding: one frequency table per latent dimension and one range coder for all (constriction).

Tables hold integer counts, so that decoding gives the same integers on any machine. The only floating-point operation is the
division count / total, which IEEE 754 rounds correctly; constriction converts the result to 24-bit fixed point.
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

MAX_TABLE = 1 << 22  # distinct integers in one column
_CHUNK = 1 << 20  # symbols per decoder call


@dataclass(frozen=True)
class Tables:
    """Frequency tables: the count of each integer in each column.

    Attributes
    ----------
    values : list of ndarray, int32
        Distinct integers of each column, ascending.
    counts : list of ndarray, int64, all >= 1
        Count of each value.
    """

    values: list[Symbols]
    counts: list[NDArray[np.int64]]

    def check(self, n_columns: int) -> None:
        """Raise ValueError unless there are `n_columns` non-empty tables with ascending values and positive counts."""
        columns = list(zip(self.values, self.counts, strict=True))
        for values, counts in columns:
            if values.shape != counts.shape or values.ndim != 1 or not len(values) or len(values) > MAX_TABLE:
                raise ValueError(f"a table of {values.shape} integers and {counts.shape} counts")
            if not ((np.diff(values) > 0).all() and (counts > 0).all() and counts.sum() <= 1 << 52):
                raise ValueError("a table whose values do not ascend, or whose counts are not positive")
        if len(columns) != n_columns:
            raise ValueError(f"{len(columns)} tables for {n_columns} latent dimensions")

    def cover(self, symbols: Symbols) -> bool:
        """Whether every integer of `symbols` (n, columns) has a count."""
        return len(self.values) == symbols.shape[1] and all(
            bool(np.isin(column, values).all()) for values, column in zip(self.values, symbols.T, strict=True)
        )

    def to_bytes(self) -> bytes:
        """Serialise column by column: the number of values, the first value, the gaps to the next ones, the counts."""
        fields = []
        for values, counts in zip(self.values, self.counts, strict=True):
            fields += [varint(len(values)), varint(zigzag(int(values[0])))]
            fields += [varint(int(gap)) for gap in np.diff(values)]
            fields += [varint(int(number)) for number in counts]
        return b"".join(fields)

    @classmethod
    def from_reader(cls, reader: Reader, n_columns: int) -> Tables:
        """Read what `to_bytes` wrote. Raises FormatError if it is invalid."""
        values, counts = [], []
        for _ in range(n_columns):
            size = reader.varint(at_most=MAX_TABLE)
            if size == 0:
                raise FormatError("a frequency table is empty.")
            first = reader.zigzag()
            gaps = [reader.varint() for _ in range(size - 1)]
            numbers = [reader.varint() for _ in range(size)]
            column = np.cumsum([first, *gaps])
            if min([1, *gaps, *numbers]) < 1 or abs(int(column[-1])) > 1 << 30 or sum(numbers) > 1 << 52:
                raise FormatError("a frequency table holds values or counts that are out of range.")
            values.append(column.astype(np.int32))
            counts.append(np.array(numbers, dtype=np.int64))
        return cls(values, counts)


def count(symbols: Symbols) -> Tables:
    """Return the frequency tables of `symbols` (n, columns)."""
    pairs = [np.unique(column, return_counts=True) for column in symbols.T]
    return Tables([values for values, _ in pairs], [counts.astype(np.int64) for _, counts in pairs])


def expected_bytes(symbols: Symbols, tables: Tables) -> float:
    """Lower bound on the length of `encode`, which comes within a few bytes of it: -Σ log2(count / total) / 8."""
    bits = 0.0
    for column, values, counts in zip(symbols.T, tables.values, tables.counts, strict=True):
        bits -= float(np.log2(counts[np.searchsorted(values, column)] / counts.sum()).sum())
    return bits / 8


def encode(symbols: Symbols, tables: Tables) -> bytes:
    """Encode `symbols` (n, columns) column by column as little-endian 32-bit words; `tables` must cover them."""
    encoder = constriction.stream.queue.RangeEncoder()
    for column, values, counts in zip(symbols.T, tables.values, tables.counts, strict=True):
        if len(values) > 1:
            encoder.encode(np.searchsorted(values, column).astype(np.int32), _model(counts))
    words: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return words


def decode(payload: bytes, tables: Tables, n: int) -> Symbols:
    """Decode the `symbols` (n, columns) that `encode` wrote. Raises FormatError for any other payload."""
    if len(payload) % 4:
        raise FormatError("the payload ends in the middle of a 32-bit word.")
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(payload, dtype="<u4").astype(np.uint32))
    symbols = np.empty((n, len(tables.values)), dtype=np.int32)
    try:
        for column, values, counts in zip(symbols.T, tables.values, tables.counts, strict=True):
            if len(values) == 1:
                column[:] = values[0]
                continue
            model = _model(counts)
            for chunk in _chunks(n):
                column[chunk] = values[decoder.decode(model, chunk.stop - chunk.start)]
    except (AssertionError, ValueError) as error:  # constriction raises either for invalid data
        raise FormatError(f"the payload cannot be decoded ({error}).") from error
    if not decoder.maybe_exhausted():
        raise FormatError("the payload is longer than its codes need.")
    return symbols


def _chunks(n: int) -> Iterator[slice]:
    for start in range(0, n, _CHUNK):
        yield slice(start, min(start + _CHUNK, n))


def _model(counts: NDArray[np.int64]) -> Any:
    return constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)

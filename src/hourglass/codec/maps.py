"""Entropy coding of integer maps: the tables of a context model, and a range coder (constriction)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from hourglass.codec.contexts import LARGEST_MEAN, LOWEST_SCALE, N_SCALES, N_SHARES, ContextModel, Integers, Step
from hourglass.codec.quantisation import LARGEST
from hourglass.codec.varints import Reader, varint, zigzag
from hourglass.errors import FormatError

Maps = NDArray[np.int32]

TILE = 64  # rows and columns of maps that are coded together, so that memory is bounded and regions can be decoded alone
_N_TABLES = N_SCALES * N_SHARES
_MOST_REACH = 255
_TAIL = 12  # scales of a logistic distribution beyond which integers are escaped: 6e-6 of all
_PRIOR = 1 << 12  # weight of the logistic distribution beside what is counted
_MOST_COUNT = 1 << 40


@dataclass(frozen=True)
class MapTables:
    """A frequency table for each scale and each distance of the mean from an integer.

    Attributes
    ----------
    counts : list of ndarray, int64, all >= 1
        Of the differences -reach to reach, then of all others, which are escaped.
    """

    counts: list[NDArray[np.int64]]
    _models: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def blank(cls) -> MapTables:
        """The discretised logistic distributions, before anything is counted."""
        return cls([_logistic(*divmod(number, N_SHARES)) for number in range(_N_TABLES)])

    @property
    def reaches(self) -> Integers:
        """The largest difference that each table holds."""
        return np.array([len(counts) // 2 - 1 for counts in self.counts])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "table_sizes": np.array([len(counts) for counts in self.counts], dtype=np.int32),
            "table_counts": np.concatenate(self.counts),
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> MapTables:
        """The inverse of `to_arrays`. Raises ValueError if they are no tables."""
        sizes, counts = arrays["table_sizes"], arrays["table_counts"]
        if sizes.shape != (_N_TABLES,) or sizes.min() < 4 or sizes.max() > 2 * _MOST_REACH + 2 or (sizes % 2).any():
            raise ValueError(f"{len(sizes)} tables of {sizes} counts")
        if counts.dtype != np.int64 or counts.shape != (sizes.sum(),) or counts.min() < 1 or counts.max() > _MOST_COUNT:
            raise ValueError(f"counts of {counts.dtype} {counts.shape}")
        return cls(np.split(counts, np.cumsum(sizes)[:-1]))

    def model(self, number: int) -> Any:
        """The entropy model of a table."""
        if number not in self._models:
            counts = self.counts[number]
            self._models[number] = constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)
        return self._models[number]

    def counted(self, contexts: ContextModel, many: Iterator[tuple[Maps, int]]) -> MapTables:
        """Tables that also count the integers of these maps (channels, rows, columns), each with its quality."""
        starts = np.cumsum([0, *(len(counts) for counts in self.counts)])
        total = np.concatenate(self.counts)
        reaches = self.reaches
        for maps, quality in many:

            def count(step: Step, maps: Maps = maps) -> Integers:
                values = maps[step.channels, step.rows, step.columns].astype(np.int64)
                symbols = _symbols((values - step.bases) * step.signs, reaches[step.tables])
                np.add(total, np.bincount((starts[step.tables] + symbols).reshape(-1), minlength=len(total)), out=total)
                return values

            contexts.scan((maps.shape[1], maps.shape[2]), quality, count)
        return MapTables(np.split(total, starts[1:-1]))


def encode_maps(maps: Maps, quality: int, contexts: ContextModel, tables: MapTables) -> bytes:
    """Encode integer maps (channels, rows, columns), tile by tile.

    A tile is a varint, the number of escaped differences; these, zigzag; a varint, the number of 32-bit words; and the words.
    """
    return b"".join(_encode_tile(maps[:, rows, columns], quality, contexts, tables) for rows, columns in tiles(maps.shape[1:]))


def decode_maps(reader: Reader, shape: tuple[int, int], quality: int, contexts: ContextModel, tables: MapTables) -> Maps:
    """Decode what `encode_maps` wrote of maps of `shape` (rows, columns). Raises FormatError for anything else."""
    maps = np.empty((contexts.n_channels, *shape), dtype=np.int32)
    for rows, columns in tiles(shape):
        size = (rows.stop - rows.start, columns.stop - columns.start)
        maps[:, rows, columns] = _decode_tile(reader, size, quality, contexts, tables)
    return maps


def tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each tile, row by row."""
    for top in range(0, shape[0], TILE):
        for left in range(0, shape[1], TILE):
            yield slice(top, min(top + TILE, shape[0])), slice(left, min(left + TILE, shape[1]))


def _encode_tile(maps: Maps, quality: int, contexts: ContextModel, tables: MapTables) -> bytes:
    encoder = constriction.stream.queue.RangeEncoder()
    reaches = tables.reaches
    escaped: list[int] = []

    def encode(step: Step) -> Integers:
        values = maps[step.channels, step.rows, step.columns].astype(np.int64)
        differences = ((values - step.bases) * step.signs).reshape(-1)
        reach = reaches[step.tables].reshape(-1)
        symbols = _symbols(differences, reach).astype(np.int32)
        order, runs = _by_table(step.tables)
        symbols, differences = symbols[order], differences[order]
        for number, run in runs:
            encoder.encode(symbols[run], tables.model(number))
        escaped.extend(differences[np.abs(differences) > reach[order]].tolist())
        return values

    contexts.scan((maps.shape[1], maps.shape[2]), quality, encode)
    words = encoder.get_compressed().astype("<u4").tobytes()
    return b"".join([varint(len(escaped)), *(varint(zigzag(one)) for one in escaped), varint(len(words) // 4), words])


def _decode_tile(reader: Reader, shape: tuple[int, int], quality: int, contexts: ContextModel, tables: MapTables) -> Maps:
    n_escaped = reader.varint(at_most=contexts.n_channels * shape[0] * shape[1])
    escaped = iter([reader.zigzag() for _ in range(n_escaped)])
    words = reader.take(4 * reader.varint())
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, dtype="<u4").astype(np.uint32))
    reaches = tables.reaches

    def decode(step: Step) -> Integers:
        order, runs = _by_table(step.tables)
        found = np.empty(len(order), dtype=np.int64)
        for number, run in runs:
            found[run] = decoder.decode(tables.model(number), run.stop - run.start) - reaches[number]
        reach = reaches[step.tables].reshape(-1)[order]
        for place in np.flatnonzero(found > reach):
            found[place] = next(escaped)
        differences = np.empty_like(found)
        differences[order] = found
        values = step.bases + step.signs * differences.reshape(step.bases.shape)
        if np.abs(values).max() > LARGEST:
            raise FormatError(f"an integer is beyond ±{LARGEST:,}.")
        return values

    try:
        maps = contexts.scan(shape, quality, decode)
    except (AssertionError, ValueError) as error:  # constriction raises either for invalid data
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the payload cannot be decoded ({error}).") from error
    except StopIteration as error:
        raise FormatError("it escapes more integers than it lists.") from error
    if not decoder.maybe_exhausted() or next(escaped, None) is not None:
        raise FormatError("the payload is longer than its integers need.")
    return maps


def _symbols(differences: Integers, reach: Integers) -> Integers:
    """Place of each difference in its table; the last one for all that are escaped."""
    return np.where(np.abs(differences) <= reach, differences + reach, 2 * reach + 1)


def _by_table(numbers: Integers) -> tuple[Integers, list[tuple[int, slice]]]:
    """(order in which integers are coded, the run of each table in it): tables ascend; within one, the order is kept."""
    flat = numbers.reshape(-1).astype(np.int16)
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat, minlength=1)
    ends = np.cumsum(counts)
    return order, [(number, slice(ends[number] - counts[number], ends[number])) for number in np.flatnonzero(counts).tolist()]


def _logistic(level: int, share: int) -> NDArray[np.int64]:
    """Counts of the differences to a mean that lies `share` eighths above an integer."""
    scale = 2 ** ((level + LOWEST_SCALE) / 4)
    reach = min(_MOST_REACH - 1, int(np.ceil(_TAIL * scale)) + 1)
    edges = (np.arange(-reach, reach + 2) - 0.5 - share / 8) / scale
    shares = np.diff(0.5 * (1 + np.tanh(edges / 2)))
    counts: NDArray[np.int64] = np.maximum(1, np.rint(_PRIOR * np.append(shares, 1 - shares.sum()))).astype(np.int64)
    return counts


assert LARGEST <= LARGEST_MEAN  # so that each integer can be reached

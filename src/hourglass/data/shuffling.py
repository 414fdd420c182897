"""In which order the images of many shards come, decided from numbers alone: nothing is read here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.shards import Block, Shard
from hourglass.images import Array


class Batch(NamedTuple):
    """This process's part of a batch of the epoch.

    Attributes
    ----------
    number, size : int
        Of the whole batch; images that cannot be read count in it.
    places : ndarray of int
        Where in the batch each of `images` stands.
    images : ndarray (n, *shape)
    """

    number: int
    size: int
    places: NDArray[np.int64]
    images: Array


class Blocks:
    """All blocks of all shards, as arrays, for there may be millions."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        places, firsts, counts, owners = [], [], [], []
        self.of_shards = np.zeros(len(shards), np.int64)
        for number, shard in enumerate(shards):
            blocks = np.array(shard.blocks(), np.int64).reshape(-1, 3)
            places.append(blocks[:, 0])
            firsts.append(blocks[:, 1])
            counts.append(blocks[:, 2])
            owners.append(np.full(len(blocks), number, np.int64))
            self.of_shards[number] = blocks[:, 2].sum()
        self._places, self._firsts, self.counts, self._owners = (
            np.concatenate(parts) for parts in (places, firsts, counts, owners)
        )
        self.starts = np.cumsum(self.counts) - self.counts
        """The number in the source of each block's first image."""

    def __getitem__(self, number: int) -> tuple[Shard, Block]:
        block = Block(int(self._places[number]), int(self._firsts[number]), int(self.counts[number]))
        return self._shards[int(self._owners[number])], block


class Window(NamedTuple):
    """Images that are shuffled among each other, in their order: image `rows[i]` of block `owners[i]` is the epoch's
    number `begin + i`.
    """

    begin: int
    owners: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def end(self) -> int:
        return self.begin + len(self.rows)

    def shared(self, size: int, total: int, first: int, part: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(positions in the epoch, in the window) of what is in this process's part of batches from `first` on."""
        positions = np.arange(self.begin, self.end)
        numbers, places = np.divmod(positions, size)
        sizes = np.minimum(size, total - numbers * size)
        number, how_many = part
        is_mine = (places >= sizes * number // how_many) & (places < sizes * (number + 1) // how_many) & (numbers >= first)
        return positions[is_mine], np.flatnonzero(is_mine)


class Gathered(NamedTuple):
    end: int
    """All positions below it have been gathered."""
    positions: NDArray[np.int64]
    images: Array


def batched(windows: Iterator[Gathered], size: int, total: int, first: int) -> Iterator[Batch]:
    """Cut what windows hold into batches; one may begin in a window and end in the next. All come, also where none is read."""
    next_number, begun = first, Gathered(0, np.empty(0, np.int64), np.empty(0))
    for window in windows:
        n_whole = -(-total // size) if window.end == total else window.end // size
        for number in range(next_number, n_whole):
            low, high = np.searchsorted(window.positions, [number * size, (number + 1) * size])
            positions, images = window.positions[low:high], window.images[low:high]
            if len(begun.positions):
                positions, images = (np.concatenate(both) for both in ((begun.positions, positions), (begun.images, images)))
                begun = begun._replace(positions=begun.positions[:0])
            yield Batch(number, min(size, total - number * size), positions - number * size, images)
        next_number = max(next_number, n_whole)
        low = int(np.searchsorted(window.positions, next_number * size))
        if low < len(window.positions):
            some = window.positions[low:], window.images[low:]
            if len(begun.positions):
                some = np.concatenate([begun.positions, some[0]]), np.concatenate([begun.images, some[1]])
            begun = Gathered(window.end, some[0], some[1].copy())  # so that the window's memory can go


def rows_of(start: int, count: int, left_out: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of a block that count."""
    low, high = np.searchsorted(left_out, [start, start + count])
    rows = np.arange(count)
    return rows if low == high else np.setdiff1d(rows, left_out[low:high] - start, assume_unique=True)


def spread(n: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """`n` in parts, about equal, none above its count."""
    each = np.zeros(len(counts), np.int64)
    while (missing := n - int(each.sum())) > 0:
        open_ones = np.flatnonzero(each < counts)
        share = np.full(len(open_ones), missing // len(open_ones), np.int64)
        share[: missing % len(open_ones)] += 1
        each[open_ones] = np.minimum(counts[open_ones], each[open_ones] + share)
    return each

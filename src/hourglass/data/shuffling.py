"""In which order the images of many shards come, decided from numbers alone: nothing is read here."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import IMAGE_FORMATS
from hourglass.data.shards import Block, Shard
from hourglass.errors import DataError
from hourglass.images import Array

_IN_A_LANE = 32
BLOCKS_EACH = 4
"""Blocks in the buffer for each process, from which on each has its own."""


class Batch(NamedTuple):
    """This process's part of a batch of the epoch.

    Attributes
    ----------
    number, size : int
        Of the whole batch; images that cannot be read count in it.
    lanes : ndarray of int (size,)
        In which lane each image of the whole batch is: where what is drawn for the images is drawn lane by lane, it does not
        depend on how many processes there are.
    places : ndarray of int (n,)
        Where in the batch each of `images` stands.
    images : ndarray (n, *shape)
    """

    number: int
    size: int
    lanes: NDArray[np.int64]
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
        if not len(self.counts):
            raise DataError(f"{shards[0].path}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}, or pixels.")
        self.starts = np.cumsum(self.counts) - self.counts
        """The number in the source of each block's first image."""
        self._sizes, self._offsets = self.counts, np.zeros_like(self.counts)

    def __getitem__(self, number: int) -> tuple[Shard, Block, int]:
        """(its shard, the block to be read, which of the block's images is the first)"""
        block = Block(int(self._places[number]), int(self._firsts[number]), int(self._sizes[number]))
        return self._shards[int(self._owners[number])], block, int(self._offsets[number])

    def parted(self, limit: int) -> Blocks:
        """The same images in parts of blocks, of `limit` at most, where a part can be read without the rest."""
        if not self._shards[0].reads_apart or self.counts.max(initial=0) <= limit:
            return self
        n_parts = -(-self.counts // limit)
        of = np.repeat(np.arange(len(self.counts)), n_parts)
        turns = np.arange(len(of)) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
        parts = copy.copy(self)
        parts._places, parts._firsts, parts._owners, parts._sizes = (
            given[of] for given in (self._places, self._firsts, self._owners, self._sizes)
        )
        parts._offsets = turns * limit
        parts.counts = np.minimum(limit, self.counts[of] - parts._offsets)
        parts.starts = self.starts[of] + parts._offsets
        return parts


class Window(NamedTuple):
    """Images that are shuffled among each other, in their order: the epoch's number `begin + i` is image `rows[i]` of block
    `blocks[turns[i]]`.
    """

    begin: int
    blocks: NDArray[np.int64]
    turns: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def end(self) -> int:
        return self.begin + len(self.rows)

    def lanes(self, size: int) -> NDArray[np.int64]:
        """Of each image, for batches of `size`: whole blocks are a lane, of 32 images or more of a batch."""
        return self.turns % (1 << max(0, (size // _IN_A_LANE).bit_length() - 1))

    def shared(self, size: int, total: int, first: int, part: tuple[int, int]) -> NDArray[np.int64]:
        """Which images, from batch `first` on, are this process's part.

        Each process has blocks of its own and reads no others; its part of a batch is what these have in it, about as much as
        the others have. Where there are too few blocks for that, its part is a stretch of every batch.
        """
        number, how_many = part
        numbers, places = np.divmod(np.arange(self.begin, self.end), size)
        if len(self.blocks) >= BLOCKS_EACH * how_many:
            is_mine = self.turns % how_many == number
        else:
            sizes = np.minimum(size, total - numbers * size)
            is_mine = (places >= sizes * number // how_many) & (places < sizes * (number + 1) // how_many)
        return np.flatnonzero(is_mine & (numbers >= first))


class Gathered(NamedTuple):
    """What a process has read of the window from `begin` to `end`: `images` at `positions`, all in the epoch's count."""

    begin: int
    end: int
    lanes: NDArray[np.int64]
    positions: NDArray[np.int64]
    images: Array

    def between(self, begin: int, end: int) -> Gathered:
        begin, end = max(begin, self.begin), max(min(end, self.end), self.begin)
        low, high = np.searchsorted(self.positions, [begin, end])
        lanes = self.lanes[begin - self.begin : end - self.begin]
        return Gathered(begin, end, lanes, self.positions[low:high], self.images[low:high])

    def alone(self) -> Gathered:
        """In memory of its own, so that the window's can go."""
        return self._replace(images=self.images.copy())


def batched(windows: Iterator[Gathered], size: int, total: int, first: int) -> Iterator[Batch]:
    """Cut what windows hold into batches; one may begin in a window and end in others. All come, also where none is read."""
    next_number, begun = first, list[Gathered]()
    for window in windows:
        n_whole = -(-total // size) if window.end == total else window.end // size
        for number in range(next_number, n_whole):
            parts = [part.between(number * size, (number + 1) * size) for part in (*begun, window)]
            begun.clear()
            places = _joined([part.positions for part in parts]) - number * size
            lanes, images = _joined([part.lanes for part in parts]), _joined([part.images for part in parts])
            yield Batch(number, min(size, total - number * size), lanes, places, images)
        next_number = max(next_number, n_whole)
        rest = window.between(next_number * size, window.end)
        if rest.begin < rest.end:
            begun.append(rest.alone())


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


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

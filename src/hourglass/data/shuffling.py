"""The shuffled order of the images of many shards, computed from a seed and block sizes without reading any file."""

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

_IMAGES_PER_LANE = 32
BLOCKS_PER_PROCESS = 4
"""Blocks in the buffer per process from which on each process reads its own blocks."""


class Batch(NamedTuple):
    """This process's share of a batch of the epoch.

    Attributes
    ----------
    number, size : int
        Index and size of the whole batch, including images that cannot be read.
    lanes : ndarray of int (size,)
        The lane of each image of the whole batch. Random numbers that are drawn lane by lane do not depend on the number of
        processes.
    places : ndarray of int (n,)
        Index in the batch of each of `images`.
    images : ndarray (n, *shape)
    """

    number: int
    size: int
    lanes: NDArray[np.int64]
    places: NDArray[np.int64]
    images: Array


class Blocks:
    """All blocks of all shards, stored as arrays because there may be millions.

    Attributes
    ----------
    counts : ndarray of int (n_blocks,)
        Images in each block.
    starts : ndarray of int (n_blocks,)
        Index in the source of the first image of each block.
    counts_per_shard : ndarray of int (n_shards,)
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        positions, firsts, counts, shard_indices = [], [], [], []
        self.counts_per_shard = np.zeros(len(shards), np.int64)
        for index, shard in enumerate(shards):
            blocks = np.array(shard.blocks(), np.int64).reshape(-1, 3)
            positions.append(blocks[:, 0])
            firsts.append(blocks[:, 1])
            counts.append(blocks[:, 2])
            shard_indices.append(np.full(len(blocks), index, np.int64))
            self.counts_per_shard[index] = blocks[:, 2].sum()
        self._positions, self._firsts, self.counts, self._shard_indices = (
            np.concatenate(arrays) for arrays in (positions, firsts, counts, shard_indices)
        )
        if not len(self.counts):
            raise DataError(f"{shards[0].path}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}, or pixels.")
        self.starts = np.cumsum(self.counts) - self.counts
        self._sizes, self._offsets = self.counts, np.zeros_like(self.counts)

    def __getitem__(self, index: int) -> tuple[Shard, Block, int]:
        """Return (shard, block to read, index of the first image in that block)."""
        block = Block(int(self._positions[index]), int(self._firsts[index]), int(self._sizes[index]))
        return self._shards[int(self._shard_indices[index])], block, int(self._offsets[index])

    def subdivided(self, limit: int) -> Blocks:
        """Divide blocks into parts of at most `limit` images, if parts can be read independently."""
        if not self._shards[0].has_random_access or self.counts.max(initial=0) <= limit:
            return self
        n_parts = -(-self.counts // limit)
        parents = np.repeat(np.arange(len(self.counts)), n_parts)
        index_in_parent = np.arange(len(parents)) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
        parts = copy.copy(self)
        parts._positions, parts._firsts, parts._shard_indices, parts._sizes = (
            array[parents] for array in (self._positions, self._firsts, self._shard_indices, self._sizes)
        )
        parts._offsets = index_in_parent * limit
        parts.counts = np.minimum(limit, self.counts[parents] - parts._offsets)
        parts.starts = self.starts[parents] + parts._offsets
        return parts


class Window(NamedTuple):
    """Images shuffled together: image `begin + i` of the epoch is row `rows[i]` of block `blocks[block_indices[i]]`."""

    begin: int
    blocks: NDArray[np.int64]
    block_indices: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def end(self) -> int:
        return self.begin + len(self.rows)

    def lanes(self, size: int) -> NDArray[np.int64]:
        """Return the lane of each image, for batches of `size`. A lane consists of whole blocks, about 32 images per batch."""
        return self.block_indices % (1 << max(0, (size // _IMAGES_PER_LANE).bit_length() - 1))

    def local_images(self, size: int, total: int, first: int, part: tuple[int, int]) -> NDArray[np.int64]:
        """Return indices of the images, from batch `first` on, that this process reads.

        Each process reads its own blocks, so that its share of a batch varies slightly in size. With too few blocks for that,
        its share is a slice of every batch.
        """
        rank, n_processes = part
        numbers, places = np.divmod(np.arange(self.begin, self.end), size)
        if len(self.blocks) >= BLOCKS_PER_PROCESS * n_processes:
            is_local = self.block_indices % n_processes == rank
        else:
            sizes = np.minimum(size, total - numbers * size)
            is_local = (places >= sizes * rank // n_processes) & (places < sizes * (rank + 1) // n_processes)
        return np.flatnonzero(is_local & (numbers >= first))


class LoadedWindow(NamedTuple):
    """The images of a window that this process has read: `images` at `positions` of the epoch."""

    begin: int
    end: int
    lanes: NDArray[np.int64]
    positions: NDArray[np.int64]
    images: Array

    def between(self, begin: int, end: int) -> LoadedWindow:
        begin, end = max(begin, self.begin), max(min(end, self.end), self.begin)
        low, high = np.searchsorted(self.positions, [begin, end])
        lanes = self.lanes[begin - self.begin : end - self.begin]
        return LoadedWindow(begin, end, lanes, self.positions[low:high], self.images[low:high])

    def copied(self) -> LoadedWindow:
        """Copy the images, so that the memory of the window they are a view of can be freed."""
        return self._replace(images=self.images.copy())


def batched(windows: Iterator[LoadedWindow], size: int, total: int, first: int) -> Iterator[Batch]:
    """Divide windows into batches, which may span several windows. Yields every batch, even if none of its images is local."""
    next_number, carried = first, list[LoadedWindow]()
    for window in windows:
        n_complete = -(-total // size) if window.end == total else window.end // size
        for number in range(next_number, n_complete):
            slices = [source.between(number * size, (number + 1) * size) for source in (*carried, window)]
            carried.clear()
            places = _concatenate([one.positions for one in slices]) - number * size
            lanes, images = _concatenate([one.lanes for one in slices]), _concatenate([one.images for one in slices])
            yield Batch(number, min(size, total - number * size), lanes, places, images)
        next_number = max(next_number, n_complete)
        rest = window.between(next_number * size, window.end)
        if rest.begin < rest.end:
            carried.append(rest.copied())


def _concatenate(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def remaining_rows(start: int, count: int, excluded: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a block that are not in `excluded`, sorted indices in the source."""
    low, high = np.searchsorted(excluded, [start, start + count])
    rows = np.arange(count)
    return rows if low == high else np.setdiff1d(rows, excluded[low:high] - start, assume_unique=True)


def allocate(n: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distribute `n` over blocks as evenly as their `counts` allow."""
    allocated = np.zeros(len(counts), np.int64)
    while (missing := n - int(allocated.sum())) > 0:
        available = np.flatnonzero(allocated < counts)
        share = np.full(len(available), missing // len(available), np.int64)
        share[: missing % len(available)] += 1
        allocated[available] = np.minimum(counts[available], allocated[available] + share)
    return allocated

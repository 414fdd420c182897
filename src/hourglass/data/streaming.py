"""Streams of sources larger than memory: shards read block by block, in order or shuffled, from any position on."""

from __future__ import annotations

import copy
import math
import weakref
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data import files
from hourglass.data.dataset import Split, parse_size
from hourglass.data.decoding import Request, Workers, default_workers, read_in_order
from hourglass.data.depth import check_white, white_of
from hourglass.data.rejects import Rejects
from hourglass.data.shards import Block, Form, NpyShard, Piece, Shard, chunk_ranges
from hourglass.data.shuffling import BLOCKS_PER_PROCESS, Batch, Blocks, LoadedWindow, Window, allocate, batched, remaining_rows
from hourglass.data.sources import root_of, shards_of
from hourglass.errors import DataError, WorkerError
from hourglass.images import ROUNDING, Array, to_float, to_uint8
from hourglass.notes import note

_BUFFER_BYTES, _BUFFER_IMAGES = 64 << 20, 16_384
_SAMPLED_BLOCKS = 64
_SAMPLED_BYTES = 512 << 20
_UNITS_IN_BUFFER = 32
_PROBED_BLOCKS = 8
_PROBED_IMAGES, _PROBED_DEEP_IMAGES = 4, 16  # of each of these blocks
_PIECE_BYTES = 32 << 20  # target size of a piece of images of different sizes


def stream(
    source: str | Path | Sequence[str | Path],
    *,
    size: int | tuple[int, int] | None = None,
    buffer: int | None = None,
    workers: int | None = None,
    strict: bool = False,
    white: float | None = None,
    crop: int | tuple[int, int] | None = None,
) -> Stream:
    """Stream images from disk as they are needed, for sources larger than memory.

    Parameters
    ----------
    source : path, pattern, or sequence of paths
        A folder of images (subfolders are labels); a folder of Parquet, tar or npy files; one such file; or a pattern such as
        ``"train-*.tar"``. Parquet: a column ``image`` of encoded images as bytes (or a struct with ``bytes``) or of pixels as
        lists, and optional columns ``label`` and ``key``, ``path`` or ``id``. tar: WebDataset's layout, ``0001.png`` beside
        ``0001.cls``. npy: (n, h, w) or (n, h, w, c), uint8, float in 0..1, or deeper with a white level. Only the first page of
        a multi-page file is read, with a warning.
    size : (height, width) or int, optional
        Resize image files to this size; otherwise they must have the size of the first.
    buffer : int, optional
        Number of images that are shuffled together, from blocks all over the source. By default 64 MiB of pixels, at most
        16,384 images.
    workers : int, optional
        Number of worker processes that read and decode; 0 uses a thread of this process. By default 0 for arrays, else one
        fewer than there are cores.
    strict : bool
        Raise DataError for an image that cannot be read, instead of leaving it out with a warning.
    white : float, above 0, optional
        The value that maps to 1 in images deeper than 8 bits, such as 4095 for 12 bits; larger values are clipped with a
        warning. By default inferred from a sample of the images, with a warning.
    crop : (height, width) or int, optional
        Instead of resizing, take a random crop of this size from each image, flipped and rotated by multiples of 90 degrees;
        training draws new crops in every epoch. Images may then have any size; smaller ones are padded by reflection. Iteration
        and validation splits use fixed crops. An `AnomalyDetector` trains on crops that are neither flipped nor rotated.

    Returns
    -------
    Stream
        Accepted by `fit` in place of an array. Iterating yields one `Split` after another, in order.

    Raises
    ------
    DataError
        If the source does not exist or holds no image.

    Examples
    --------
    >>> import hourglass as hg, numpy as np, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "digits.npy")
    >>> np.save(path, hg.load("digits").train.images)
    >>> digits = hg.stream(path)
    >>> len(digits), digits.shape
    (1437, (1437, 8, 8))
    >>> ae = hg.Autoencoder(8, epochs=2, random_state=0).fit(digits)
    >>> [ae.encode(part.images).shape for part in digits][:2]
    [(256, 8), (256, 8)]
    """
    return Stream(
        shards_of(source),
        size=size,
        buffer=buffer,
        workers=workers,
        strict=strict,
        root=root_of(source),
        white=white,
        crop=crop,
    )


class Stream:
    """Images in shards, with `shape`, `dtype`, `ndim` and a length like an array; see `stream`."""

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        size: int | tuple[int, int] | None = None,
        buffer: int | None = None,
        workers: int | None = None,
        strict: bool = False,
        root: str = "",
        white: float | None = None,
        crop: int | tuple[int, int] | None = None,
    ) -> None:
        check_white(white)
        if size is not None and crop is not None:
            raise DataError("a stream resizes its images (size=) or crops them (crop=), not both.")
        for name, value, least in (("buffer", buffer, 1), ("workers", workers, 0)):
            if value is not None and (not isinstance(value, Integral) or value < least):
                raise DataError(f"{name}={value!r}; allowed: a whole number, {least} or more.")
        self.shards, self.size, self.strict, self.root = shards, parse_size(size, "size"), strict, root
        self.crop = parse_size(crop, "crop")
        self._buffer, self._workers, self._white = buffer, workers, white
        self._rejects = Rejects(strict)
        self._has_warned_small = self._has_warned_rounded = False
        self._turns = True

    def unturned(self) -> Stream:
        """Return this stream with crops that are neither flipped nor rotated, for models to which the orientation matters."""
        if self.crop is None:
            return self
        other = copy.copy(self)
        other.__dict__.pop("_readers", None)  # which end with their stream
        other._turns = False
        return other

    # --- contents ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._blocks.counts.sum())

    def __repr__(self) -> str:
        shape = "×".join(str(length) for length in self.shape[1:])
        return f"<{len(self):,} images of {shape}, {self.dtype}, in {len(self.shards):,} shards>"

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w) or (n, h, w, c)."""
        return (len(self), *self._first.shape[1:])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8, or float32 for arrays of floats and images deeper than 8 bits."""
        return self._first.dtype

    @property
    def buffer(self) -> int:
        """Number of images that are shuffled together."""
        if self._buffer is not None:
            return self._buffer
        return max(1, min(_BUFFER_IMAGES, _BUFFER_BYTES // max(1, int(self._first.nbytes))))

    @property
    def fingerprint(self) -> str:
        """Identifies the source by shape, dtype, white level, buffer, and the names and lengths of its shards."""
        digest = 0
        for shard, count in zip(self.shards, self._blocks.counts_per_shard, strict=True):
            name = f"{Path(shard.path).name} {getattr(shard, 'names', '')} {count}"
            digest = zlib.crc32(name.encode("utf-8", "surrogateescape"), digest)
        white = "" if self.white is None else f" {self.white:g}"
        crop = "" if self.crop is None else f" crops of {self.crop}" + ("" if self._turns else " unturned")
        return f"{self.dtype} {self.shape} {digest:08x} {self.buffer}{white}{crop}"

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self.shards)

    @cached_property
    def white(self) -> float | None:
        """The value that maps to 1 in images deeper than 8 bits; None if no sampled image is."""
        samples = self._samples[0]
        if deep := self.deep_values:
            return white_of(deep, self.root or self.shards[0].path, self._white)
        are_floats = bool(samples) and not any(sample.is_integer for sample in samples)
        return None if are_floats else self._white  # floats up to 1 need no white level

    @property
    def deep_values(self) -> list[tuple[float, bool]]:
        """(largest value, whether it is an integer) of sampled images, but of 8 bits, if any is deeper; see `white_of`."""
        samples = self._samples[0]
        if not any(sample.is_deep for sample in samples):
            return []
        unlike = [sample for sample in samples if sample.is_deep or (not sample.is_integer and sample.largest <= 1 + ROUNDING)]
        return [(sample.largest, sample.is_integer) for sample in unlike]  # 8 bits have a white level of their own

    @cached_property
    def _first(self) -> Array:
        """A black image (1, *shape) of the shape and dtype of all images: in colour if any sampled image is."""
        len(self)  # raises if the source cannot be read at all
        samples, reasons = self._samples
        if not samples:
            raise DataError(f"{self.shards[0].path}: the first of its images cannot be read: {reasons[0]}")
        sample = max(samples, key=lambda sample: len(sample.shape))  # the first coloured one, if there is any
        is_float = self.white is not None or not all(sample.is_integer for sample in samples)
        height_width = self.size or self.crop or sample.shape[:2]
        return np.zeros((1, *height_width, *sample.shape[2:]), np.float32 if is_float else np.uint8)

    @cached_property
    def _samples(self) -> tuple[list[_Sample], list[str]]:
        """(images from all over some blocks, reasons of those that cannot be read)"""
        samples: list[_Sample] = []
        reasons: list[str] = []
        chosen = _evenly_spaced(len(self.shards), _PROBED_BLOCKS)
        n_blocks = math.ceil(_PROBED_BLOCKS / max(1, len(chosen)))
        for shard in (self.shards[number] for number in chosen):
            try:
                blocks = shard.blocks()
                for block in (blocks[number] for number in _evenly_spaced(len(blocks), n_blocks)):
                    piece = _probed(shard, block, _PROBED_IMAGES)
                    if any(image.dtype != np.uint8 for image in piece.images):  # the brightest one decides the white level
                        piece = _probed(shard, block, _PROBED_DEEP_IMAGES)
                    reasons += [": ".join(reject) for reject in piece.rejects]
                    samples += [self._sample(shard, image) for image in piece.images]
            except (DataError, OSError) as error:
                reasons.append(str(error).removeprefix(f"{self.shards[0].path}: "))
        return samples, reasons

    def _sample(self, shard: Shard, image: Array) -> _Sample:
        is_integer, largest = image.dtype.kind != "f", float(image.max())
        is_refused = not is_integer and isinstance(shard, NpyShard) and self._white is None  # arrays of floats above 1
        return _Sample(image.shape, is_integer, largest, largest > (255 if is_integer else 1 + ROUNDING) and not is_refused)

    @cached_property
    def _units(self) -> Blocks:
        """The units of shuffling: blocks, or parts of blocks if the buffer would hold only a few blocks of large images."""
        return self._blocks if self._buffer is not None else self._blocks.subdivided(max(1, self.buffer // _UNITS_IN_BUFFER))

    @property
    def _form(self) -> Form:
        crop = None if self.crop is None else 0
        return Form(
            self._first.shape[1:], resize=self.size is not None, named=False, white=self.white, crop=crop, turns=self._turns
        )

    @cached_property
    def _readers(self) -> Workers:
        n = self._workers
        if n is None:
            n = 0 if isinstance(self.shards[0], NpyShard) else default_workers()
        readers = Workers(n)
        weakref.finalize(self, readers.close)
        return readers

    # --- in order ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Split]:
        """Iterate over all readable images with their labels, in order, a few hundred at a time."""
        form = self._form._replace(named=True)
        for shard in self.shards:
            for n_requested, piece in self.pieces(shard, form):
                self._rejects.add(shard, piece, n_requested)
                if piece.rows:
                    yield Split(self._cast(piece.images), _label_array(piece.labels), None, tuple(piece.keys), self.white)
        self._rejects.warn(len(self))

    def pieces(self, shard: Shard, form: Form) -> Iterator[tuple[int, Piece]]:
        """Yield the images of a shard in order as (number of requested images, piece).

        A block that cannot be read is one reject.
        """
        blocks = shard.blocks()
        if not blocks:
            return
        form = form._replace(white=self.white)
        limit = blocks[0].n_images if form.shape is not None else _images_per_piece(shard, blocks[0])

        def requests() -> Iterator[Request]:
            for block in blocks:
                if block.n_images <= limit or form.shape is not None:
                    yield Request(shard, block, None, form)
                    continue
                for first, count in chunk_ranges(block.n_images, limit):
                    yield Request(shard, block, np.arange(first, first + count), form)

        for request, future in read_in_order(self._readers, requests()):
            yield request.size, _result(request, future)

    def in_memory(self) -> Split:
        """Read all readable images into one array. Raises DataError if it exceeds `files.MAX_BYTES`."""
        n_bytes = len(self) * int(self._first.nbytes)
        if n_bytes > files.MAX_BYTES:
            raise DataError(
                f"{self.shards[0].path}: {len(self):,} images are {n_bytes:,} bytes; the limit is {files.MAX_BYTES:,}. "
                "Use stream(…), or --stream on the command line."
            )
        splits = list(self)
        has_labels = not any(split.labels is None for split in splits)
        labels = np.concatenate([split.known_labels for split in splits]) if has_labels else None
        keys = tuple(key for split in splits for key in split.keys or ())
        return Split(np.concatenate([split.images for split in splits]), labels, None, keys, self.white)

    def draw(self, n: int, seed: int) -> NDArray[np.int64]:
        """Draw the sorted indices of `n` random images (or all), from a few blocks all over the source to limit reading.

        Large images are limited to 512 MiB in total.
        """
        rng, blocks = np.random.default_rng(seed), self._units
        n = min(n, max(1, _SAMPLED_BYTES // max(1, int(self._first.nbytes))))
        n_blocks = max(_SAMPLED_BLOCKS, math.ceil(2 * n / blocks.counts.mean()))
        chosen = np.sort(rng.permutation(len(blocks.counts))[:n_blocks])
        allocated = allocate(min(n, int(blocks.counts[chosen].sum())), blocks.counts[chosen])
        rows = [
            blocks.starts[block] + np.sort(rng.permutation(int(blocks.counts[block]))[:count])
            for block, count in zip(chosen, allocated, strict=True)
        ]
        return np.concatenate(rows)

    def take(self, numbers: NDArray[np.int64], *, named: bool = True) -> Split:
        """Read the images with these sorted indices, with labels and keys if `named`.

        Images that cannot be read are left out. Raises DataError if none can be read.
        """
        units = self._units
        unit_indices = np.searchsorted(units.starts, numbers, side="right") - 1
        form = self._form._replace(named=named)

        def requests() -> Iterator[Request]:
            for in_unit in np.split(numbers, np.flatnonzero(np.diff(unit_indices)) + 1):
                index = int(np.searchsorted(units.starts, in_unit[0], side="right")) - 1
                shard, block, offset = units[index]
                yield Request(shard, block, in_unit - units.starts[index] + offset, form)

        images = np.empty((len(numbers), *self._first.shape[1:]), self.dtype)
        n_read, labels, keys = 0, [], []
        for request, future in read_in_order(self._readers, requests()):
            piece = _result(request, future)
            self._rejects.add(request.shard, piece, request.size)
            if piece.rows:
                images[n_read : n_read + len(piece.rows)] = self._cast(piece.images)
            n_read += len(piece.rows)
            labels += piece.labels or [None] * len(piece.rows)
            keys += piece.keys
        if not n_read:
            message = f"none of {len(numbers)} sampled images can be read; {self._rejects.first} If sizes differ, set size."
            raise DataError(f"{self.shards[0].path}: {message}")
        return Split(images[:n_read], _label_array(labels) if named else None, None, tuple(keys), self.white)

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise DataError(
            "a stream is not held in memory: pass it to fit, or iterate over it: [model.encode(s.images) for s in stream]."
        )

    __getitem__ = __array__

    # --- shuffled ---------------------------------------------------------------------------------------------------

    def batches(
        self, size: int, seed: int, *, first: int = 0, part: tuple[int, int] = (0, 1), without: NDArray[np.int64] | None = None
    ) -> Iterator[Batch]:
        """Yield the batches of one epoch, in an order that depends on `seed` alone and not on the number of processes.

        Blocks are shuffled. As many of them as fill the buffer form a window, whose images are shuffled together.

        Parameters
        ----------
        size : int
            Batch size over all processes.
        seed : int
            Determines the order of blocks and of the images in them.
        first : int
            Index of the first batch.
        part : (rank, number of processes)
            The share of every batch to read.
        without : ndarray of int, sorted, optional
            Indices of images to exclude.
        """
        excluded = np.empty(0, np.int64) if without is None else without
        total = len(self) - len(excluded)
        self._warn_if_small(part[1])
        form = self._form if self.crop is None else self._form._replace(crop=seed)
        return batched(self._load(self._windows(seed, excluded), form, size, total, first, part), size, total, first)

    def _warn_if_small(self, n_processes: int) -> None:
        blocks = self._units.counts
        n_in_buffer = min(len(blocks), self.buffer // int(blocks.mean()))
        is_small = n_in_buffer < BLOCKS_PER_PROCESS * n_processes <= len(blocks)
        if n_processes > 1 and is_small and not self._has_warned_small:
            self._has_warned_small = True
            message = f"a buffer of {self.buffer:,} images has about {n_in_buffer} blocks, too few for {n_processes} processes"
            note(f"{message}: each reads every block. Use a larger buffer or smaller row groups.")

    def _load(
        self, windows: Iterator[Window], form: Form, size: int, total: int, first: int, part: tuple[int, int]
    ) -> Iterator[LoadedWindow]:
        """Yield the images of each window while those of the next are being read."""
        pending: list[_PendingWindow] = []
        try:
            for window in windows:
                if window.end <= first * size:
                    continue
                pending.append(self._request(window, form, window.lanes(size), window.local_images(size, total, first, part)))
                if len(pending) > 1:
                    yield self._receive(pending[0])
                    pending.pop(0)
            while pending:
                yield self._receive(pending[0])
                pending.pop(0)
            self._rejects.warn(len(self))
        finally:
            for unread in pending:
                for _, _, future in unread.requests:
                    future.cancel()

    def _windows(self, seed: int, excluded: NDArray[np.int64]) -> Iterator[Window]:
        """Yield shuffled blocks in groups that fill the buffer, with their images shuffled."""
        blocks, begin, number = self._units, 0, 0
        order = np.random.default_rng([seed, 0]).permutation(len(blocks.counts))
        while len(order):
            n = 1 + int(np.searchsorted(np.cumsum(blocks.counts[order[: self.buffer]]), self.buffer))
            chosen, order, number = order[:n], order[n:], number + 1
            n = len(chosen)
            rows = [remaining_rows(int(blocks.starts[block]), int(blocks.counts[block]), excluded) for block in chosen]
            block_indices = np.repeat(np.arange(n), [len(in_block) for in_block in rows])
            shuffled = np.random.default_rng([seed, number]).permutation(len(block_indices))
            yield Window(begin, chosen, block_indices[shuffled], np.concatenate(rows)[shuffled])
            begin += len(block_indices)

    def _request(self, window: Window, form: Form, lanes: NDArray[np.int64], chosen: NDArray[np.int64]) -> _PendingWindow:
        """Request the `chosen` images of `window`, block by block."""
        block_indices, rows = window.blocks[window.block_indices[chosen]], window.rows[chosen]
        order = np.lexsort((rows, block_indices))
        edges = np.flatnonzero(np.diff(block_indices[order])) + 1
        requests = []
        for places in np.split(order, edges) if len(chosen) else []:
            shard, block, offset = self._units[int(block_indices[places[0]])]
            request = Request(shard, block, rows[places] + offset, form)
            requests.append((places, request, self._readers.read(request)))
        return _PendingWindow(window.begin, window.end, lanes, window.begin + chosen, requests)

    def _receive(self, window: _PendingWindow) -> LoadedWindow:
        """Wait for the requested images; return those that can be read, in the order of the epoch."""
        images = np.empty((len(window.positions), *self._first.shape[1:]), self.dtype)
        is_read = np.zeros(len(images), bool)
        while window.requests:  # pop, so that the memory of each piece is freed after copying
            places, request, future = window.requests.pop(0)
            piece = _result(request, future)
            self._rejects.add(request.shard, piece, request.size)
            if not piece.rows:
                continue
            assert request.rows is not None
            received = places[np.isin(request.block.first + request.rows, piece.rows)]
            images[received] = self._cast(piece.images)
            is_read[received] = True
        positions = window.positions
        if not is_read.all():
            positions, images = positions[is_read], images[is_read]
        return LoadedWindow(window.begin, window.end, window.lanes, positions, images)

    def _cast(self, images: Array | list[Array]) -> Array:
        """Convert images to `dtype`, as shards may hold different dtypes; warns once if that rounds floats."""
        assert isinstance(images, np.ndarray)
        if self.dtype != np.uint8:
            return to_float(images)
        converted = to_uint8(images)
        if not self._has_warned_rounded and not np.allclose(to_float(converted), to_float(images), rtol=0, atol=ROUNDING):
            self._has_warned_rounded = True
            where = self.root or self.shards[0].path
            note(f"{where}: holds floats among images of 8 bits, to which they are rounded; white=1 keeps them.")
        return converted


def _probed(shard: Shard, block: Block, count: int) -> Piece:
    """Read up to `count` evenly spaced images of `block` in their own shapes and units: a recording may begin in the dark."""
    return shard.read(block, np.array(_evenly_spaced(block.n_images, count)), Form(None, named=False, white=0))


def _images_per_piece(shard: Shard, block: Block) -> int:
    """Estimate from the first images how many of different sizes to decode per piece."""
    try:
        first = shard.read(block, np.arange(min(4, block.n_images)), Form(None, named=False, white=0))
    except DataError:  # raised again when the block is read
        return block.n_images
    return max(1, _PIECE_BYTES // max((image.nbytes for image in first.images), default=1))


def _result(request: Request, future: Future[Piece]) -> Piece:
    """Return the piece, or one with a single reject if the block cannot be read. Raises WorkerError if a worker died."""
    try:
        return future.result()
    except WorkerError:
        raise
    except DataError as error:
        rows = range(request.block.n_images) if request.rows is None else request.rows.tolist()
        key = f"{request.shard.path}#{request.block.first + rows[0]}..{request.block.first + rows[-1]}"
        return Piece([], [], rejects=[(key, str(error).removeprefix(f"{request.shard.path}: "))])


def _label_array(labels: list[Any] | None) -> NDArray[Any] | None:
    """Return labels as an array if every image has one; mixed or compound labels become text."""
    if labels is None or any(label is None for label in labels):
        return None
    is_plain = all(isinstance(label, (str, int, float)) for label in labels) and len({type(label) for label in labels}) == 1
    return np.array(labels if is_plain else [str(label) for label in labels])


def _evenly_spaced(n: int, at_most: int) -> list[int]:
    """Up to `at_most` evenly spaced integers from 0 to `n` - 1."""
    return [int(number) for number in np.unique(np.linspace(0, n - 1, min(n, at_most)).astype(int))]


class _Sample(NamedTuple):
    """Properties of a sampled image, from which those of the stream are inferred."""

    shape: tuple[int, ...]
    is_integer: bool
    largest: float
    is_deep: bool


class _PendingWindow(NamedTuple):
    """A `LoadedWindow` whose images are being read."""

    begin: int
    end: int
    lanes: NDArray[np.int64]
    positions: NDArray[np.int64]
    requests: list[tuple[NDArray[np.int64], Request, Future[Piece]]]
    """(indices into `positions`, request, future)"""

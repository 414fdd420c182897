"""Sources larger than memory: shards that are read in parts, in order or shuffled, from any position on."""

from __future__ import annotations

import math
import warnings
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
from hourglass.data.dataset import Split, sides_of
from hourglass.data.decoding import Wanted, Workers, default_workers, in_order
from hourglass.data.depth import check_white, white_of
from hourglass.data.rejects import Rejects
from hourglass.data.shards import Block, Form, NpyShard, Piece, Shard, cut
from hourglass.data.shuffling import BLOCKS_EACH, Batch, Blocks, Gathered, Window, batched, rows_of, spread
from hourglass.data.sources import root_of, shards_of
from hourglass.errors import DataError, HourglassWarning, WorkerError
from hourglass.images import Array, to_float, to_uint8

_BUFFER_BYTES, _BUFFER_IMAGES = 64 << 20, 16_384
_SAMPLED_BLOCKS = 64
_DRAWN_BYTES = 512 << 20
_UNITS_IN_BUFFER = 32
_PROBED_BLOCKS = 8
_PIECE_BYTES = 32 << 20  # of decoded images of any size


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
    """Images that are read as they are needed: for more of them than memory holds.

    Parameters
    ----------
    source : path, pattern, or sequence of paths
        A folder of images (subfolders are labels); a folder of Parquet, tar or npy files; one such file; or a pattern such as
        ``"train-*.tar"``. Parquet: a column ``image`` of image files as bytes (or as a struct with ``bytes``) or of pixels as
        lists; ``label``, and ``key``, ``path`` or ``id``, if there are any. tar: WebDataset's layout, ``0001.png`` beside
        ``0001.cls``. npy: (n, h, w) or (n, h, w, c), uint8, float in 0..1, or deeper with a white level. Of files of several
        pages the first is read, with a note.
    size : (height, width) or int, optional
        Resize image files to this; without it they must share the size of the first.
    buffer : int, optional
        Images that are shuffled together, from blocks all over the source. By default 64 MiB of pixels, at most 16,384.
    workers : int, optional
        Processes that read and decode; 0: a thread of this one. By default 0 for arrays, else one fewer than there are cores.
    strict : bool
        Raise a DataError for an image that cannot be read, instead of leaving it out with a note.
    white : float, above 0, optional
        The value that stands for 1 in images deeper than 8 bits, as 4095 of 12 bits; what is above is clipped, with a note. By
        default found from some of the images, and said in a note.
    crop : (height, width) or int, optional
        Instead of resizing: cut a random crop of this size, flipped and turned by quarters, out of each image, another one in
        every epoch of a training. Images may then have any sizes; one that is smaller is mirrored at its borders. Iterating,
        and all that is held out, has the same crops every time.

    Returns
    -------
    Stream
        What `fit` takes in place of an array. Iterating gives `Split` after `Split`, in order.

    Raises
    ------
    DataError
        If there is no such source, or it holds no image.

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
    """Images in shards. Like an array it has `shape`, `dtype`, `ndim` and a length; see `stream`."""

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
        self.shards, self.size, self.strict, self.root = shards, sides_of(size, "size"), strict, root
        self.crop = sides_of(crop, "crop")
        self._buffer, self._workers, self._white = buffer, workers, white
        self._rejects = Rejects(strict)
        self._is_told_small = False

    # --- what it holds ----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._blocks.counts.sum())

    def __repr__(self) -> str:
        sides = "×".join(str(side) for side in self.shape[1:])
        return f"<{len(self):,} images of {sides}, {self.dtype}, in {len(self.shards):,} shards>"

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w) or (n, h, w, c)."""
        return (len(self), *self._first.shape[1:])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8, or float32 where arrays hold floats."""
        return self._first.dtype

    @property
    def buffer(self) -> int:
        """Images that are shuffled together."""
        if self._buffer is not None:
            return self._buffer
        return max(1, min(_BUFFER_IMAGES, _BUFFER_BYTES // max(1, int(self._first.nbytes))))

    @property
    def fingerprint(self) -> str:
        """Tells another source from this one, by the names of its shards and how many images each holds."""
        digest = 0
        for shard, count in zip(self.shards, self._blocks.of_shards, strict=True):
            name = f"{Path(shard.path).name} {getattr(shard, 'names', '')} {count}"
            digest = zlib.crc32(name.encode("utf-8", "surrogateescape"), digest)
        white = "" if self.white is None else f" {self.white:g}"
        crop = "" if self.crop is None else f" crops of {self.crop}"
        return f"{self.dtype} {self.shape} {digest:08x} {self.buffer}{white}{crop}"

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self.shards)

    @cached_property
    def white(self) -> float | None:
        """The value that stands for 1 in images deeper than 8 bits; None if none of some images is."""
        samples = self._samples[0]
        if deep := [(sample.largest, sample.is_integer) for sample in samples if sample.is_deep]:
            return white_of(deep, self.root or self.shards[0].path, self._white)
        are_floats = bool(samples) and not any(sample.is_integer for sample in samples)
        return None if are_floats else self._white  # of floats up to 1, 1 is white

    @cached_property
    def _first(self) -> Array:
        """One image, black, (1, *shape): in colour if any of the first of some blocks is."""
        len(self)  # which raises what cannot be read at all
        samples, reasons = self._samples
        if not samples:
            raise DataError(f"{self.shards[0].path}: the first of its images cannot be read: {reasons[0]}")
        found = max(samples, key=lambda sample: len(sample.shape))  # the first of the coloured ones, if there are any
        is_float = self.white is not None or not found.is_integer
        return np.zeros(
            (1, *(self.size or self.crop or found.shape[:2]), *found.shape[2:]), np.float32 if is_float else np.uint8
        )

    @cached_property
    def _samples(self) -> tuple[list[_Sample], list[str]]:
        """(the first images of some blocks, why others cannot be read)"""
        samples: list[_Sample] = []
        reasons: list[str] = []
        chosen = _spread(len(self.shards), _PROBED_BLOCKS)
        for shard in (self.shards[number] for number in chosen):
            try:
                blocks = shard.blocks()
                for block in (blocks[number] for number in _spread(len(blocks), math.ceil(_PROBED_BLOCKS / len(chosen)))):
                    piece = shard.read(block, np.arange(min(4, block.n_images)), Form(None, named=False, white=0))
                    reasons += [": ".join(reject) for reject in piece.rejects]
                    samples += [self._sample(shard, image) for image in piece.images]
            except (DataError, OSError) as error:
                reasons.append(str(error).removeprefix(f"{self.shards[0].path}: "))
        return samples, reasons

    def _sample(self, shard: Shard, image: Array) -> _Sample:
        is_integer, largest = image.dtype.kind != "f", float(image.max())
        is_refused = not is_integer and isinstance(shard, NpyShard) and self._white is None  # floats beyond 1 in arrays
        return _Sample(image.shape, is_integer, largest, largest > (255 if is_integer else 1) and not is_refused)

    @cached_property
    def _units(self) -> Blocks:
        """What is shuffled: blocks, or parts of them where a buffer of large images would hold only a few."""
        return self._blocks if self._buffer is not None else self._blocks.parted(max(1, self.buffer // _UNITS_IN_BUFFER))

    @property
    def _form(self) -> Form:
        crop = None if self.crop is None else 0
        return Form(self._first.shape[1:], resize=self.size is not None, named=False, white=self.white, crop=crop)

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
        """All images that can be read, in order, some hundred at a time, with their labels."""
        form = self._form._replace(named=True)
        for shard in self.shards:
            for n_wanted, piece in self.pieces(shard, form):
                self._rejects.note(shard, piece, n_wanted)
                if piece.rows:
                    yield Split(self._typed(piece.images), _known(piece.labels), None, tuple(piece.keys), self.white)
        self._rejects.tell(len(self))

    def pieces(self, shard: Shard, form: Form) -> Iterator[tuple[int, Piece]]:
        """A shard from its first image to its last, in the wanted form, each piece with the number of images that were to be in
        it; a block that cannot be read is one reject.
        """
        blocks = shard.blocks()
        if not blocks:
            return
        form = form._replace(white=self.white)
        at_once = blocks[0].n_images if form.shape is not None else _at_once(shard, blocks[0])

        def requests() -> Iterator[Wanted]:
            for block in blocks:
                if block.n_images <= at_once or form.shape is not None:
                    yield Wanted(shard, block, None, form)
                    continue
                for first, count in cut(block.n_images, at_once):
                    yield Wanted(shard, block, np.arange(first, first + count), form)

        for wanted, future in in_order(self._readers, requests()):
            yield wanted.size, _piece(wanted, future)

    def in_memory(self) -> Split:
        """All images that can be read, as one array. DataError if that is more than `files.MAX_BYTES`."""
        n_bytes = len(self) * int(self._first.nbytes)
        if n_bytes > files.MAX_BYTES:
            raise DataError(
                f"{self.shards[0].path}: {len(self):,} images are {n_bytes:,} bytes; the limit is {files.MAX_BYTES:,}. "
                "Use stream(…), on the command line --stream."
            )
        parts = list(self)
        labels = None if any(part.labels is None for part in parts) else np.concatenate([part.known_labels for part in parts])
        keys = tuple(key for part in parts for key in part.keys or ())
        return Split(np.concatenate([part.images for part in parts]), labels, None, keys, self.white)

    def draw(self, n: int, seed: int) -> NDArray[np.int64]:
        """Numbers of `n` images (or all), sorted, from some blocks all over the source, for each block is read.

        Of large images only as many as take 512 MiB.
        """
        rng, blocks = np.random.default_rng(seed), self._units
        n = min(n, max(1, _DRAWN_BYTES // max(1, int(self._first.nbytes))))
        n_blocks = max(_SAMPLED_BLOCKS, math.ceil(2 * n / blocks.counts.mean()))
        chosen = np.sort(rng.permutation(len(blocks.counts))[:n_blocks])
        each = spread(min(n, int(blocks.counts[chosen].sum())), blocks.counts[chosen])
        rows = [
            blocks.starts[block] + np.sort(rng.permutation(int(blocks.counts[block]))[:count])
            for block, count in zip(chosen, each, strict=True)
        ]
        return np.concatenate(rows)

    def take(self, numbers: NDArray[np.int64], *, named: bool = True) -> Split:
        """The images of these sorted numbers that can be read, `named` with labels and keys. DataError if none can be."""
        units = self._units
        owners = np.searchsorted(units.starts, numbers, side="right") - 1
        form = self._form._replace(named=named)

        def requests() -> Iterator[Wanted]:
            for some in np.split(numbers, np.flatnonzero(np.diff(owners)) + 1):
                number = int(np.searchsorted(units.starts, some[0], side="right")) - 1
                shard, block, offset = units[number]
                yield Wanted(shard, block, some - units.starts[number] + offset, form)

        images = np.empty((len(numbers), *self._first.shape[1:]), self.dtype)
        n_read, labels, keys = 0, [], []
        for wanted, future in in_order(self._readers, requests()):
            piece = _piece(wanted, future)
            self._rejects.note(wanted.shard, piece, wanted.size)
            if piece.rows:
                images[n_read : n_read + len(piece.rows)] = self._typed(piece.images)
            n_read += len(piece.rows)
            labels += piece.labels or [None] * len(piece.rows)
            keys += piece.keys
        if not n_read:
            words = (
                f"none of {len(numbers)} images that were drawn can be read; {self._rejects.first} If sizes differ, give one."
            )
            raise DataError(f"{self.shards[0].path}: {words}")
        return Split(images[:n_read], _known(labels) if named else None, None, tuple(keys), self.white)

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise DataError(
            "a stream is not held in memory: fit on it, and pass on its parts, as in [model.encode(p.images) for p in it]."
        )

    __getitem__ = __array__

    # --- shuffled ---------------------------------------------------------------------------------------------------

    def batches(
        self, size: int, seed: int, *, first: int = 0, part: tuple[int, int] = (0, 1), without: NDArray[np.int64] | None = None
    ) -> Iterator[Batch]:
        """The batches of one epoch, in an order that `seed` alone decides; which process reads what does not change it.

        Blocks are shuffled; so many of them as fill the buffer are a window, whose images are shuffled among each other.

        Parameters
        ----------
        size : int
            Images a batch, of all processes together.
        seed : int
            Fixes the order of blocks and of the images in them.
        first : int
            The number of the batch to begin with.
        part : (number, how many)
            Which part of every batch is read here.
        without : ndarray of int, sorted, optional
            Images that are left out.
        """
        left_out = np.empty(0, np.int64) if without is None else without
        total = len(self) - len(left_out)
        self._tell_if_small(part[1])
        form = self._form if self.crop is None else self._form._replace(crop=seed)
        return batched(self._ahead(self._windows(seed, left_out), form, size, total, first, part), size, total, first)

    def _tell_if_small(self, how_many: int) -> None:
        blocks = self._units.counts
        n_together = min(len(blocks), self.buffer // int(blocks.mean()))
        is_small = n_together < BLOCKS_EACH * how_many <= len(blocks)
        if how_many > 1 and is_small and not self._is_told_small:
            self._is_told_small = True
            words = f"a buffer of {self.buffer:,} images holds {n_together} blocks or so, too few for {how_many} processes"
            warnings.warn(
                f"{words}: each reads all that the others do. Use a larger buffer, or smaller row groups.", HourglassWarning, 2
            )

    def _ahead(
        self, windows: Iterator[Window], form: Form, size: int, total: int, first: int, part: tuple[int, int]
    ) -> Iterator[Gathered]:
        """Each window's images, while the next one's are being read."""
        waiting: list[_Reading] = []
        try:
            for window in windows:
                if window.end <= first * size:
                    continue
                waiting.append(self._reading(window, form, window.lanes(size), window.shared(size, total, first, part)))
                if len(waiting) > 1:
                    yield self._gathered(waiting[0])
                    waiting.pop(0)
            while waiting:
                yield self._gathered(waiting[0])
                waiting.pop(0)
            self._rejects.tell(len(self))
        finally:
            for reading in waiting:
                for _, _, future in reading.parts:
                    future.cancel()

    def _windows(self, seed: int, left_out: NDArray[np.int64]) -> Iterator[Window]:
        """Blocks in an order drawn with `seed`, as many together as fill the buffer."""
        blocks, begin, number = self._units, 0, 0
        order = np.random.default_rng([seed, 0]).permutation(len(blocks.counts))
        while len(order):
            n = 1 + int(np.searchsorted(np.cumsum(blocks.counts[order[: self.buffer]]), self.buffer))
            chosen, order, number = order[:n], order[n:], number + 1
            n = len(chosen)
            rows = [rows_of(int(blocks.starts[block]), int(blocks.counts[block]), left_out) for block in chosen]
            turns = np.repeat(np.arange(n), [len(some) for some in rows])
            drawn = np.random.default_rng([seed, number]).permutation(len(turns))
            yield Window(begin, chosen, turns[drawn], np.concatenate(rows)[drawn])
            begin += len(turns)

    def _reading(self, window: Window, form: Form, lanes: NDArray[np.int64], chosen: NDArray[np.int64]) -> _Reading:
        """Ask for the `chosen` images of `window`, block by block."""
        owners, rows = window.blocks[window.turns[chosen]], window.rows[chosen]
        sorted_places = np.lexsort((rows, owners))
        edges = np.flatnonzero(np.diff(owners[sorted_places])) + 1
        parts = []
        for places in np.split(sorted_places, edges) if len(chosen) else []:
            shard, block, offset = self._units[int(owners[places[0]])]
            wanted = Wanted(shard, block, rows[places] + offset, form)
            parts.append((places, wanted, self._readers.read(wanted)))
        return _Reading(window.begin, window.end, lanes, window.begin + chosen, parts)

    def _gathered(self, reading: _Reading) -> Gathered:
        """What was asked for, in the order of the epoch, without what cannot be read."""
        images = np.empty((len(reading.positions), *self._first.shape[1:]), self.dtype)
        is_read = np.zeros(len(images), bool)
        while reading.parts:  # so that each part's memory goes as it is taken
            places, wanted, future = reading.parts.pop(0)
            piece = _piece(wanted, future)
            self._rejects.note(wanted.shard, piece, wanted.size)
            if not piece.rows:
                continue
            assert wanted.rows is not None
            known = places[np.isin(wanted.block.first + wanted.rows, piece.rows)]
            images[known] = self._typed(piece.images)
            is_read[known] = True
        positions = reading.positions
        if not is_read.all():
            positions, images = positions[is_read], images[is_read]
        return Gathered(reading.begin, reading.end, reading.lanes, positions, images)

    def _typed(self, images: Array | list[Array]) -> Array:
        """Images of a shard as those of the others: some arrays may hold bytes, some floats."""
        assert isinstance(images, np.ndarray)
        return to_uint8(images) if self.dtype == np.uint8 else to_float(images)


def _at_once(shard: Shard, block: Block) -> int:
    """How many images of their own sizes may be decoded together, if the others are like the first."""
    try:
        first = shard.read(block, np.arange(min(4, block.n_images)), Form(None, named=False, white=0))
    except DataError:  # which is told when it is read in its turn
        return block.n_images
    return max(1, _PIECE_BYTES // max((image.nbytes for image in first.images), default=1))


def _piece(wanted: Wanted, future: Future[Piece]) -> Piece:
    """What was read; of a block that cannot be read at all, one reject. WorkerError if nobody can tell."""
    try:
        return future.result()
    except WorkerError:
        raise
    except DataError as error:
        rows = range(wanted.block.n_images) if wanted.rows is None else wanted.rows.tolist()
        key = f"{wanted.shard.path}#{wanted.block.first + rows[0]}..{wanted.block.first + rows[-1]}"
        return Piece([], [], rejects=[(key, str(error).removeprefix(f"{wanted.shard.path}: "))])


def _known(labels: list[Any] | None) -> NDArray[Any] | None:
    """Labels of images, if each has one; those that are no single numbers or words are their text."""
    if labels is None or any(label is None for label in labels):
        return None
    is_plain = all(isinstance(label, (str, int, float)) for label in labels) and len({type(label) for label in labels}) == 1
    return np.array(labels if is_plain else [str(label) for label in labels])


def _spread(n: int, at_most: int) -> list[int]:
    """Up to `at_most` of the numbers below `n`, from the first to the last."""
    return [int(number) for number in np.unique(np.linspace(0, n - 1, min(n, at_most)).astype(int))]


class _Sample(NamedTuple):
    """What is seen of one image, to know what to expect of all."""

    shape: tuple[int, ...]
    is_integer: bool
    largest: float
    is_deep: bool


class _Reading(NamedTuple):
    """A `Gathered` to come."""

    begin: int
    end: int
    lanes: NDArray[np.int64]
    positions: NDArray[np.int64]
    parts: list[tuple[NDArray[np.int64], Wanted, Future[Piece]]]
    """(which of the positions, what was asked for, what comes)"""

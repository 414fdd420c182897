"""The base class of shards: one file of many images, or some files of a folder, whose blocks can be read independently."""

from __future__ import annotations

import errno
import io
import math
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.depth import near_black
from hourglass.data.files import BROKEN, decode_image, reason_of
from hourglass.data.names import as_text
from hourglass.errors import DataError, HourglassError, WorkerError
from hourglass.images import ROUNDING, Array, crop_at, to_float, to_unit, with_channels

IMAGES_PER_BLOCK = 256
"""Images per read: few enough for a processor's cache, enough to amortise the cost of a call."""
MAX_ENCODED = 256 << 20
"""Largest encoded image, in bytes."""
_SYSTEM_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)  # not caused by the image


class Block(NamedTuple):
    """Consecutive images of a shard.

    Attributes
    ----------
    position : int
        Where the block is in the file; each kind of shard defines its meaning.
    first, n_images : int
        Index of the first image in the shard, and the number of images.
    """

    position: int
    first: int
    n_images: int


class Form(NamedTuple):
    """The requested shape, range and metadata of images.

    Attributes
    ----------
    shape : tuple of int, optional
        (h, w) or (h, w, c): grey and colour are converted; other heights and widths are rejected. None keeps every shape.
    resize : bool
        Resize encoded images to the height and width of `shape` instead of rejecting them.
    named : bool
        Whether to read keys and labels.
    white : float, optional
        The value that maps to 1 in images deeper than 8 bits, which become float32 in 0..1. None rejects integers above 255 and
        floats above 1. 0 keeps all values in their own units.
    crop : int, optional
        Seed of random crops: each image is cropped to the height and width of `shape`, at a position that depends on the seed
        and the image's key.
    turns : bool
        Whether crops are also flipped and rotated.
    """

    shape: tuple[int, ...] | None = None
    resize: bool = False
    named: bool = True
    white: float | None = None
    crop: int | None = None
    turns: bool = True

    def apply(self, image: Array, key: str = "") -> Array:
        """Convert one image (h, w) or (h, w, c) to `shape`. Raises DataError if its height or width differs."""
        if self.shape is None:
            return image
        if self.crop is not None:
            name = os.path.basename(key).encode("utf-8", "surrogateescape")  # a folder that moves keeps its crops
            down, right, turn = np.random.default_rng([self.crop, zlib.crc32(name)]).random(3).tolist()
            image = crop_at(image, (self.shape[0], self.shape[1]), (down, right, turn if self.turns else 0.0))
        if image.shape[:2] != self.shape[:2]:
            raise DataError(f"is {image.shape[1]}×{image.shape[0]}; {self.shape[1]}×{self.shape[0]} is needed.")
        converted: Array = with_channels(image[None], self.shape)[0]
        return converted

    def in_unit(self, images: Array) -> Array:
        """Convert images whose values are within `range_of` their dtype to uint8, or float32 in 0..1."""
        if images.dtype == np.uint8 or self.white == 0:
            return images
        if self.white is not None and images.dtype != np.bool_:
            return to_unit(np.minimum(images, self.white), self.white)
        return images.astype(np.uint8 if images.dtype.kind in "iu" else np.float32, copy=False)

    def range_of(self, dtype: np.dtype[Any]) -> float:
        """Return the largest allowed value of images of `dtype`; values above a white level are allowed and clipped."""
        if self.white is not None:
            return math.inf
        return 255.0 if dtype.kind in "iu" else 1 + ROUNDING


@dataclass
class Piece:
    """Images read from a block.

    Attributes
    ----------
    rows : list of int
        Their indices in the shard.
    images : ndarray (n, h, w) or (n, h, w, c), or a list of images of several sizes
    keys : list of str
        Their names.
    labels : list, optional
    rejects : list of (key, reason)
        Images that could not be read.
    notes : list of (key, message)
        Warnings about images that were read incompletely: further pages, values above the white level.
    """

    rows: list[int]
    images: Array | list[Array]
    keys: list[str] = field(default_factory=list)
    labels: list[Any] | None = None
    rejects: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Convert names to valid text, as they are written to tables and models."""
        self.keys = [as_text(key) for key in self.keys]
        self.rejects = [(as_text(key), reason) for key, reason in self.rejects]
        self.notes = [(as_text(key), message) for key, message in self.notes]
        if self.labels is not None:
            self.labels = [as_text(label) if isinstance(label, str) else label for label in self.labels]


class Encoded(NamedTuple):
    """An image file inside a shard."""

    row: int
    key: str
    label: Any
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Shard(ABC):
    """One shard; `path` is as the user gave it. Instances are small, as they are sent to worker processes."""

    path: str
    kind: ClassVar[str]
    has_random_access: ClassVar[bool] = True
    """Whether images of a block can be read without the others."""

    @abstractmethod
    def blocks(self) -> list[Block]:
        """Return the blocks, which can be read independently; none if empty. Raises DataError for invalid content."""

    @abstractmethod
    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        """Read the images of `block`, or of its `rows` (sorted indices in the block). Raises DataError if none can be read."""

    def fingerprint(self) -> str:
        """Return size and modification time, which change with the shard."""
        status = Path(self.path).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def key(self, row: int) -> str:
        """Return the name of an image that has none in the file."""
        return f"{self.path}#{row}"


def decode_files(files: Iterable[Encoded], form: Form) -> Piece:
    """Decode image files one by one; collect those that fail as rejects."""
    size = (form.shape[0], form.shape[1]) if form.resize and form.shape is not None else None
    rows, keys, labels, rejects, notes = [], [], [], [], []
    images: list[Array] = []
    for file in files:
        messages: set[str] = set()
        try:
            content = file.read()
            if len(content) > MAX_ENCODED:
                raise DataError(f"{len(content):,} bytes; the limit is {MAX_ENCODED:,}.")
            raw = decode_image(io.BytesIO(content), file.key, size, notes=messages)
            if raw.dtype != np.uint8:
                _check_range(float(raw.min()), float(raw.max()), raw.dtype, form, messages)
            image = form.apply(form.in_unit(raw), file.key)
        except (DataError, OSError) as error:
            if getattr(error, "errno", None) in _SYSTEM_ERRORS:
                raise WorkerError(f"{file.key}: cannot be read for now ({error}).") from error
            rejects.append((file.key, str(error).removeprefix(f"{file.key}: ")))
            continue
        rows.append(file.row)
        images.append(image)
        keys.append(file.key)
        labels.append(file.label)
        notes += [(file.key, message) for message in sorted(messages)]
    is_stacked = form.shape is not None
    if is_stacked and len({image.dtype for image in images}) > 1:
        images = [to_float(image) for image in images]  # 255 of 8 bits and 1 of floats are the same white
    stacked = np.stack(images) if images and is_stacked else images
    return Piece(rows, stacked, keys, labels if any(label is not None for label in labels) else None, rejects, notes)


def convert_arrays(images: Array, rows: NDArray[np.int64], key: Callable[[int], str], form: Form) -> Piece:
    """Convert arrays (n, h, w) or (n, h, w, c), with indices `rows` in their shard, to `form`.

    Images with values out of range become rejects. Labels are left to the caller.
    """
    if form.crop is not None:
        images = np.stack([form.apply(image, key(int(row))) for row, image in zip(rows, images, strict=True)])
    form.apply(images[0])  # raises for a wrong shape, which all share
    if form.shape is not None:
        images = with_channels(images, form.shape)
    rejects: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    if images.dtype == np.bool_:
        images = images.astype(np.float32)
    if images.dtype != np.uint8:
        flat = images.reshape(len(images), -1)
        is_valid = np.ones(len(images), bool)
        for row, (low, high) in enumerate(zip(flat.min(1).tolist(), flat.max(1).tolist(), strict=True)):
            messages: set[str] = set()
            try:
                _check_range(low, high, images.dtype, form, messages)
            except DataError as error:
                is_valid[row] = False
                rejects.append((key(int(rows[row])), str(error)))
            notes += [(key(int(rows[row])), message) for message in messages]
        images, rows = form.in_unit(images[is_valid]) if is_valid.any() else images[is_valid], rows[is_valid]
    keys = [key(int(row)) for row in rows] if form.named else []
    return Piece(rows.tolist(), images, keys, None, rejects, notes)


def _check_range(low: float, high: float, dtype: np.dtype[Any], form: Form, notes: set[str]) -> None:
    """Raise DataError for values from `low` to `high` out of range. Adds a message to `notes` if they will be clipped."""
    if form.white and high > form.white * (1 + ROUNDING):
        notes.add(f"has values up to {high:g}, which are clipped to the white level {form.white:g} (white=).")
    if message := near_black(high, form.white or 0, is_integer=dtype.kind != "f"):
        notes.add(message)
    if low >= -ROUNDING and math.isfinite(high) and high <= form.range_of(dtype):  # false for NaN
        return
    hint = " Deeper images need a white level (white=, or --white)." if math.isfinite(high) and low >= 0 else ""
    raise DataError(f"has values from {low:g} to {high:g}; allowed: 0..255, or 0..1 for floats.{hint}")


def read_checked(path: str, what: str, read: Callable[[], Any]) -> Any:
    """Return `read()`, and convert any failure over the content of `path` to DataError."""
    try:
        return read()
    except HourglassError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except (*BROKEN, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: not a readable {what} ({reason_of(error)}).") from error


def chunk_ranges(count: int, size: int) -> list[tuple[int, int]]:
    """Divide `count` into chunks of `size`, the last of which may be smaller: (first, length) of each."""
    return [(first, min(size, count - first)) for first in range(0, count, size)]

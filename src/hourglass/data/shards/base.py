"""What a shard is: one file of many images, or some files of a folder, of which any part can be read alone."""

from __future__ import annotations

import errno
import io
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import BROKEN, decode_image, reason_of
from hourglass.data.names import as_text
from hourglass.errors import DataError, HourglassError, WorkerError
from hourglass.images import Array, crop_at, to_unit, with_channels

IMAGES_A_BLOCK = 256
"""Images that are read together: few enough to lie in a processor's cache, enough to make a call worth its cost."""
MAX_ENCODED = 256 << 20
"""The largest image file inside a shard, in bytes."""
_ROUNDING = 1e-6
_NO_FAULT_OF_THE_IMAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)


class Block(NamedTuple):
    """Consecutive images of a shard.

    Attributes
    ----------
    place : int
        Where the shard finds them; each kind has its own way to count.
    first, n_images : int
        The number of the first image in the shard, and how many there are.
    """

    place: int
    first: int
    n_images: int


class Form(NamedTuple):
    """How images come out.

    Attributes
    ----------
    shape : tuple of int, optional
        (h, w) or (h, w, c): grey and coloured are made each other; what has other sides is rejected. None: as they are.
    resize : bool
        Encoded images are resized to the sides of `shape` instead.
    named : bool
        Whether keys and labels are asked for.
    white : float, optional
        The value that stands for 1 in images deeper than 8 bits, which become float32 in 0..1. None: integers beyond 255 and
        floats beyond 1 are rejected. 0: all stay in units of their own.
    crop : int, optional
        A seed: a random crop of the height and width of `shape` is cut out of each image, at a place that this and the
        image's key decide.
    """

    shape: tuple[int, ...] | None = None
    resize: bool = False
    named: bool = True
    white: float | None = None
    crop: int | None = None

    def apply(self, image: Array, key: str = "") -> Array:
        """One image (h, w) or (h, w, c) in this form; DataError if it cannot be."""
        if self.shape is None:
            return image
        if self.crop is not None:
            place = np.random.default_rng([self.crop, zlib.crc32(key.encode("utf-8", "surrogateescape"))]).random(3)
            image = crop_at(image, (self.shape[0], self.shape[1]), place.tolist())
        if image.shape[:2] != self.shape[:2]:
            raise DataError(f"is {image.shape[1]}×{image.shape[0]}; {self.shape[1]}×{self.shape[0]} is needed.")
        channelled: Array = with_channels(image[None], self.shape)[0]
        return channelled

    def in_unit(self, images: Array) -> Array:
        """Images of any shape that lie within `range_of` their dtype, as they are passed on: uint8, or float32 in 0..1."""
        if images.dtype == np.uint8 or self.white == 0:
            return images
        if self.white is not None and images.dtype != np.bool_:
            return to_unit(np.minimum(images, self.white), self.white)
        return images.astype(np.uint8 if images.dtype.kind in "iu" else np.float32, copy=False)

    def range_of(self, dtype: np.dtype[Any]) -> float:
        """The largest value that images of `dtype` may have; those beyond a white level are clipped to it."""
        if self.white is not None:
            return math.inf
        return 255.0 if dtype.kind in "iu" else 1 + _ROUNDING


@dataclass
class Piece:
    """Images that were read of a block.

    Attributes
    ----------
    rows : list of int
        Their numbers in the shard.
    images : ndarray (n, h, w) or (n, h, w, c), or a list of images of several sizes
    keys : list of str
        What each is called.
    labels : list, optional
    rejects : list of (key, reason)
        What could not be read.
    notes : list of (key, sentence)
        What of an image that was read is not there: other pages, values above white.
    """

    rows: list[int]
    images: Array | list[Array]
    keys: list[str] = field(default_factory=list)
    labels: list[Any] | None = None
    rejects: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Names that are no text, as files may have, become text: they are written to tables and models."""
        self.keys = [as_text(key) for key in self.keys]
        self.rejects = [(as_text(key), reason) for key, reason in self.rejects]
        self.notes = [(as_text(key), sentence) for key, sentence in self.notes]
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
    """One shard; `path` as the user named it. Small: it travels to the processes that decode."""

    path: str
    kind: ClassVar[str]
    reads_apart: ClassVar[bool] = True
    """Whether some images of a block can be read without the others."""

    @abstractmethod
    def blocks(self) -> list[Block]:
        """Its images in parts that can be read alone, none if it is empty. DataError if it is not what its name says."""

    @abstractmethod
    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        """The images of `block`, or those of its `rows` (numbers in the block, sorted). DataError if none can be read."""

    def fingerprint(self) -> str:
        """Tells whether the shard has changed: its size, and when it was written."""
        told = Path(self.path).stat()
        return f"{told.st_size} {told.st_mtime_ns}"

    def key(self, row: int) -> str:
        """What an image is called that has no name of its own."""
        return f"{self.path}#{row}"


def decoded(files: Iterable[Encoded], form: Form) -> Piece:
    """Decode image files one by one; those that cannot be are rejects."""
    size = (form.shape[0], form.shape[1]) if form.resize and form.shape is not None else None
    rows, keys, labels, rejects, notes = [], [], [], [], []
    images: list[Array] = []
    for file in files:
        lost: set[str] = set()
        try:
            content = file.read()
            if len(content) > MAX_ENCODED:
                raise DataError(f"{len(content):,} bytes; the limit is {MAX_ENCODED:,}.")
            raw = decode_image(io.BytesIO(content), file.key, size, notes=lost)
            if raw.dtype != np.uint8 and (fault := _fault(float(raw.min()), float(raw.max()), raw.dtype, form, lost)):
                raise DataError(fault)
            image = form.apply(form.in_unit(raw), file.key)
        except (DataError, OSError) as error:
            if getattr(error, "errno", None) in _NO_FAULT_OF_THE_IMAGE:
                raise WorkerError(f"{file.key}: cannot be read for now ({error}).") from error
            rejects.append((file.key, str(error).removeprefix(f"{file.key}: ")))
            continue
        rows.append(file.row)
        images.append(image)
        keys.append(file.key)
        labels.append(file.label)
        notes += [(file.key, sentence) for sentence in sorted(lost)]
    whole = np.stack(images) if images and form.shape is not None else images
    return Piece(rows, whole, keys, labels if any(label is not None for label in labels) else None, rejects, notes)


def fitted(images: Array, rows: NDArray[np.int64], key: Callable[[int], str], form: Form) -> Piece:
    """Arrays (n, h, w) or (n, h, w, c), numbers `rows` in their shard, in the wanted form, without those whose values are none
    of an image's. `rejects` names them; labels are the caller's.
    """
    if form.crop is not None:
        images = np.stack([form.apply(image, key(int(row))) for row, image in zip(rows, images, strict=True)])
    form.apply(images[0])  # all have this shape
    if form.shape is not None:
        images = with_channels(images, form.shape)
    rejects: list[tuple[str, str]] = []
    notes: list[tuple[str, str]] = []
    if images.dtype == np.bool_:
        images = images.astype(np.float32)
    if images.dtype != np.uint8:
        flat = images.reshape(len(images), -1)
        good = np.ones(len(images), bool)
        for row, (low, high) in enumerate(zip(flat.min(1).tolist(), flat.max(1).tolist(), strict=True)):
            lost: set[str] = set()
            if fault := _fault(low, high, images.dtype, form, lost):
                good[row] = False
                rejects.append((key(int(rows[row])), fault))
            notes += [(key(int(rows[row])), sentence) for sentence in lost]
        images, rows = form.in_unit(images[good]) if good.any() else images[good], rows[good]
    keys = [key(int(row)) for row in rows] if form.named else []
    return Piece(rows.tolist(), images, keys, None, rejects, notes)


def _fault(low: float, high: float, dtype: np.dtype[Any], form: Form, notes: set[str]) -> str:
    """Why an image with values from `low` to `high` is rejected, or "". Adds to `notes` that it is clipped."""
    if form.white and high > form.white:
        notes.add(f"has values up to {high:g}, above the white level {form.white:g}, to which they are clipped (white=).")
    if low >= -_ROUNDING and math.isfinite(high) and high <= form.range_of(dtype):  # false for NaN
        return ""
    hint = " Deeper ones need a white level (white=, on the command line --white)." if math.isfinite(high) and low >= 0 else ""
    return f"has values from {low:g} to {high:g}; an image's are 0..255 or, floats, 0..1.{hint}"


def readable(path: str, what: str, read: Callable[[], Any]) -> Any:
    """`read()`; whatever goes wrong over the content of `path` is a DataError."""
    try:
        return read()
    except HourglassError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except (*BROKEN, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: not a readable {what} ({reason_of(error)}).") from error


def cut(count: int, size: int) -> list[tuple[int, int]]:
    """(first, how many) of parts of `size` of `count`; the last may be smaller."""
    return [(first, min(size, count - first)) for first in range(0, count, size)]

"""What a shard is: one file of many images, or some files of a folder, of which any part can be read alone."""

from __future__ import annotations

import errno
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import BROKEN, decode_image, reason_of
from hourglass.errors import DataError, HourglassError, WorkerError
from hourglass.images import Array, with_channels

IMAGES_A_BLOCK = 256
"""Images that are read together: few enough to lie in a processor's cache, enough to make a call worth its cost."""
MAX_ENCODED = 256 << 20
"""The largest image file inside a shard, in bytes."""
_ROUNDING = 1e-6
_LONGEST_NAME = 1000  # letters, the last ones: tables hold all names in the width of the longest
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
    """

    shape: tuple[int, ...] | None = None
    resize: bool = False
    named: bool = True

    def apply(self, image: Array) -> Array:
        """One image (h, w) or (h, w, c) in this form; DataError if it cannot be."""
        if self.shape is None:
            return image
        if image.shape[:2] != self.shape[:2]:
            raise DataError(f"is {image.shape[1]}×{image.shape[0]}; {self.shape[1]}×{self.shape[0]} is needed.")
        channelled: Array = with_channels(image[None], self.shape)[0]
        return channelled


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
    """

    rows: list[int]
    images: Array | list[Array]
    keys: list[str] = field(default_factory=list)
    labels: list[Any] | None = None
    rejects: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Names that are no text, as files may have, become text: they are written to tables and models."""
        self.keys = [_as_text(key) for key in self.keys]
        self.rejects = [(_as_text(key), reason) for key, reason in self.rejects]
        if self.labels is not None:
            self.labels = [_as_text(label) if isinstance(label, str) else label for label in self.labels]


def _as_text(name: str) -> str:
    name = name[-_LONGEST_NAME:]
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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
    rows, keys, labels, rejects = [], [], [], []
    images: list[Array] = []
    for file in files:
        try:
            content = file.read()
            if len(content) > MAX_ENCODED:
                raise DataError(f"{len(content):,} bytes; the limit is {MAX_ENCODED:,}.")
            image = form.apply(decode_image(io.BytesIO(content), file.key, size))
        except (DataError, OSError) as error:
            if getattr(error, "errno", None) in _NO_FAULT_OF_THE_IMAGE:
                raise WorkerError(f"{file.key}: cannot be read for now ({error}).") from error
            rejects.append((file.key, str(error).removeprefix(f"{file.key}: ")))
            continue
        rows.append(file.row)
        images.append(image)
        keys.append(file.key)
        labels.append(file.label)
    whole = np.stack(images) if images and form.shape is not None else images
    return Piece(rows, whole, keys, labels if any(label is not None for label in labels) else None, rejects)


def fitted(images: Array, rows: NDArray[np.int64], key: Callable[[int], str], form: Form) -> Piece:
    """Arrays (n, h, w) or (n, h, w, c), numbers `rows` in their shard, in the wanted form, without those whose values are none
    of an image's. `rejects` names them; labels are the caller's.
    """
    form.apply(images[0])  # all have this shape
    if form.shape is not None:
        images = with_channels(images, form.shape)
    rejects: list[tuple[str, str]] = []
    if images.dtype == np.bool_:
        images = images.astype(np.float32)
    if images.dtype != np.uint8:
        flat = images.reshape(len(images), -1)
        low, high = flat.min(1), flat.max(1)
        top = 255.0 if images.dtype.kind in "iu" else 1 + _ROUNDING
        good = (low >= -_ROUNDING) & (high <= top)  # false for NaN
        rejects = [
            (key(int(rows[bad])), f"has values from {low[bad]:g} to {high[bad]:g}; an image's are 0..255 or, floats, 0..1.")
            for bad in np.flatnonzero(~good)
        ]
        images, rows = images[good], rows[good]
        images = images.astype(np.uint8 if images.dtype.kind in "iu" else np.float32, copy=False)
    keys = [key(int(row)) for row in rows] if form.named else []
    return Piece(rows.tolist(), images, keys, None, rejects)


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

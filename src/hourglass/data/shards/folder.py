"""Folders of images: about a thousand files form a shard."""

from __future__ import annotations

import itertools
import os
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import IMAGE_FORMATS, UNREAD, is_unnamed_image, warn_unread
from hourglass.data.names import as_text
from hourglass.data.shards.base import (
    IMAGES_PER_BLOCK,
    MAX_ENCODED,
    Block,
    Encoded,
    Form,
    Piece,
    Shard,
    chunk_ranges,
    decode_files,
)
from hourglass.data.walk import FolderId, folder_id, is_file, leads_above
from hourglass.errors import DataError
from hourglass.notes import left_out, note

FILES_PER_SHARD = 1024
ABOVE = "images lie above the class folders, have no label"
"""Why images are left out of a folder of classes, for `left_out`."""


@dataclass(frozen=True)
class FilesShard(Shard):
    """Some files of the folder `path`, with names relative to it. The position of a block is the index of its first file."""

    names: tuple[str, ...]
    number: int
    kind = "files"

    def blocks(self) -> list[Block]:
        return [Block(first, first, count) for first, count in chunk_ranges(len(self.names), IMAGES_PER_BLOCK)]

    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        numbers = block.first + (np.arange(block.n_images) if rows is None else rows)
        return decode_files((self._file(int(number)) for number in numbers), form)

    def _file(self, number: int) -> Encoded:
        path = Path(self.path, self.names[number])
        folder, _, rest = self.names[number].partition(os.sep)
        return Encoded(number, str(path), folder if rest else None, partial(_content, path))

    def fingerprint(self) -> str:
        """Return a digest of the files' names, sizes and modification times."""
        digest = 0
        for name in self.names:
            status = Path(self.path, name).stat()
            digest = zlib.crc32(f"{name} {status.st_size} {status.st_mtime_ns}".encode("utf-8", "surrogateescape"), digest)
        return f"{len(self.names)} {digest:08x}"


def _content(path: Path) -> bytes:
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_ENCODED:
            raise DataError(f"{size:,} bytes; the limit is {MAX_ENCODED:,}.")
        return stream.read()


class FileNames(Sequence[str]):
    """The names of images below a folder, by default of all in the order of `find_images`, stored compactly."""

    def __init__(self, folder: Path, names: Sequence[str] | None = None) -> None:
        self._encoded, self._ends = bytearray(), array("Q", [0])
        n_above, unread = 0, Counter[str]()
        for name in _names_below(os.fsencode(folder), b"", unread) if names is None else map(os.fsencode, names):
            self._encoded += name
            self._ends.append(len(self._encoded))
            n_above += os.sep.encode() not in name
        warn_unread(str(folder), unread)
        if 0 < 2 * n_above <= len(self):
            self._leave_out_unlabelled(folder, n_above)
        elif 0 < n_above < len(self):
            message = f"{n_above} of {len(self)} images lie in no subfolder: they, and those of their block, have no label."
            note(f"{folder}: {message}")
        if not len(self):
            raise DataError(f"{folder}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}.")

    def _leave_out_unlabelled(self, folder: Path, n_above: int) -> None:
        """Leave out a minority of images above the class folders, which would take the labels of all, as `load` does."""
        names, self._encoded, self._ends = (self._encoded, self._ends), bytearray(), array("Q", [0])
        first = ""
        for start, end in itertools.pairwise(names[1]):
            name = names[0][start:end]
            if os.sep.encode() in name:
                self._encoded += name
                self._ends.append(len(self._encoded))
            else:
                first = first or as_text(os.fsdecode(bytes(name)))
        note(f"{folder}: {left_out(n_above, len(names[1]) - 1, ABOVE, first)}.", 3)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row):  # type: ignore[no-untyped-def]  # int -> str, slice -> tuple of str
        if isinstance(row, slice):
            return tuple(self[number] for number in range(*row.indices(len(self))))
        return os.fsdecode(bytes(self._encoded[self._ends[row] : self._ends[row + 1]]))


_FOLDER = b"\1"  # marks the end of a folder's name; sorts before any other character
_NAMES_PER_CHUNK = 10_000
_SUFFIXES, _UNREAD = (frozenset(os.fsencode(suffix) for suffix in suffixes) for suffixes in (IMAGE_FORMATS, UNREAD))


def _names_below(folder: bytes, prefix: bytes, unread: Counter[str], above: tuple[FolderId, ...] = ()) -> Iterator[bytes]:
    """Yield relative names of images, sorted, one folder at a time. numpy needs a tenth of the memory of Python strings.

    Counts suffixes of images in unsupported formats in `unread`.
    """
    with os.scandir(folder) as entries:
        found = (entry.name + (b"" if is_file(entry) else _FOLDER) for entry in entries if _is_candidate(entry, unread))
        chunks = [np.array(chunk) for chunk in iter(lambda: list(itertools.islice(found, _NAMES_PER_CHUNK)), [])]
    names = np.concatenate(chunks) if chunks else np.empty(0, "S1")
    names.sort()
    chain = (*above, folder_id(folder))
    for name in names:
        if name.endswith(_FOLDER):
            below = name.removesuffix(_FOLDER)
            if not leads_above(os.path.join(folder, below), chain):
                yield from _names_below(os.path.join(folder, below), prefix + below + os.fsencode(os.sep), unread, chain)
        else:
            yield prefix + name


def _is_candidate(entry: os.DirEntry[bytes], unread: Counter[str]) -> bool:
    if entry.name.startswith(b"."):
        return False
    if not is_file(entry):
        return entry.is_dir()
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in _UNREAD or (not suffix and is_unnamed_image(entry.path)):
        unread[os.fsdecode(suffix)] += 1
    return suffix in _SUFFIXES

"""Folders of images: some thousand of their files are a shard."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import IMAGE_FORMATS
from hourglass.data.shards.base import IMAGES_A_BLOCK, Block, Encoded, Form, Piece, Shard, cut, decoded
from hourglass.errors import DataError

FILES_A_SHARD = 1024


@dataclass(frozen=True)
class FilesShard(Shard):
    """Files of the folder `path`, by their names below it. A block's place is the number of its first file."""

    names: tuple[str, ...]
    number: int
    kind = "files"

    def blocks(self) -> list[Block]:
        return [Block(first, first, count) for first, count in cut(len(self.names), IMAGES_A_BLOCK)]

    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        numbers = block.first + (np.arange(block.n_images) if rows is None else rows)
        return decoded((self._file(int(number)) for number in numbers), form)

    def _file(self, number: int) -> Encoded:
        path = Path(self.path, self.names[number])
        folder, _, rest = self.names[number].partition(os.sep)
        return Encoded(number, str(path), folder if rest else None, path.read_bytes)

    def fingerprint(self) -> str:
        """Of the files' names and sizes."""
        digest = 0
        for name in self.names:
            told = Path(self.path, name).stat()
            digest = zlib.crc32(f"{name} {told.st_size}".encode("utf-8", "surrogateescape"), digest)
        return f"{len(self.names)} {digest:08x}"


class FileNames(Sequence[str]):
    """The names of all images below a folder, sorted as `find_images` sorts them, in a few bytes each."""

    def __init__(self, folder: Path) -> None:
        encoded = bytearray()
        ends = [0]
        for name in _names_below(os.fsencode(folder), b""):
            encoded += name
            ends.append(len(encoded))
        if len(ends) == 1:
            raise DataError(f"{folder}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
        self._encoded, self._ends = bytes(encoded), np.array(ends, dtype=np.uint64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row):  # type: ignore[no-untyped-def]  # int -> str, slice -> tuple of str
        if isinstance(row, slice):
            return tuple(self[number] for number in range(*row.indices(len(self))))
        return os.fsdecode(self._encoded[int(self._ends[row]) : int(self._ends[row + 1])])


_ENDINGS = tuple(os.fsencode(ending) for ending in IMAGE_FORMATS)


def _names_below(folder: bytes, prefix: bytes) -> Iterator[bytes]:
    """Names of images, relative; folder by folder, so that only one folder's names are listed at once."""
    with os.scandir(folder) as entries:
        found = [(os.fsdecode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries if _may_be(entry)]
    for name, is_folder in sorted(found):
        encoded = os.fsencode(name)
        if is_folder:
            yield from _names_below(os.path.join(folder, encoded), prefix + encoded + os.fsencode(os.sep))
        else:
            yield prefix + encoded


def _may_be(entry: os.DirEntry[bytes]) -> bool:
    if entry.name.startswith(b"."):
        return False
    return entry.is_dir(follow_symlinks=False) or (entry.name.lower().endswith(_ENDINGS) and entry.is_file())

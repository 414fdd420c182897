"""npy files, read with seek.

They are not memory-mapped: mapped pages count as memory of the process, and a file that is truncated meanwhile is a bus error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.data import files
from hourglass.data.array_files import npy_header
from hourglass.data.shards.base import IMAGES_PER_BLOCK, Block, Form, Piece, Shard, chunk_ranges, convert_arrays, read_checked
from hourglass.errors import DataError
from hourglass.images import Array

_BLOCK_BYTES = 32 << 20  # upper bound on a block, unless one image is larger


@dataclass(frozen=True)
class NpyShard(Shard):
    """An npy file of images (n, h, w) or (n, h, w, c). The position of a block is its first row."""

    kind = "npy"

    def blocks(self) -> list[Block]:
        shape, dtype, _ = self._header()
        size = max(1, min(IMAGES_PER_BLOCK, _BLOCK_BYTES // (math.prod(shape[1:]) * dtype.itemsize)))
        return [Block(first, first, count) for first, count in chunk_ranges(shape[0], size)]

    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        rows = np.arange(block.n_images) if rows is None else rows
        first, last = int(rows[0]), int(rows[-1]) + 1
        images = self._rows(block.first + first, last - first)
        chosen = images if len(rows) == len(images) else images[rows - first]
        return convert_arrays(chosen, block.first + rows, self.key, form)

    def _rows(self, first: int, count: int) -> Array:
        shape, dtype, start = self._header()
        images = np.empty((count, *shape[1:]), dtype)
        with Path(self.path).open("rb", buffering=0) as stream:
            stream.seek(start + first * (images.nbytes // count))
            view = memoryview(images.data).cast("B")
            while view:
                n = stream.readinto(view)
                if not n:
                    raise DataError(f"{self.path}: truncated; its header declares shape {shape} of {dtype}.")
                view = view[n:]
        return images

    def _header(self) -> tuple[tuple[int, ...], np.dtype[Any], int]:
        """Return (shape, dtype, offset of the data)."""

        def read() -> tuple[tuple[int, ...], np.dtype[Any], int]:
            with Path(self.path).open("rb") as stream:
                shape, fortran_order, dtype = npy_header(stream, Path(self.path))
                start = stream.tell()
                available = Path(self.path).stat().st_size - start
            if len(shape) not in (3, 4) or 0 in shape[1:] or dtype.kind not in "buif":
                raise DataError(f"{self.path}: holds {dtype} of shape {shape}; allowed: numbers, (n, h, w) or (n, h, w, c).")
            if fortran_order:
                raise DataError(f"{self.path}: is in Fortran order, in which images are not contiguous; save it in C order.")
            if min(shape) < 0 or math.prod(shape[1:]) * dtype.itemsize > files.MAX_BYTES:
                raise DataError(f"{self.path}: declares shape {shape} of {dtype}; the limit is {files.MAX_BYTES:,} bytes.")
            if math.prod(shape) * dtype.itemsize > available:
                raise DataError(f"{self.path}: truncated; its header declares shape {shape} of {dtype}.")
            return shape, dtype, start

        header: tuple[tuple[int, ...], np.dtype[Any], int] = read_checked(self.path, "npy file", read)
        return header

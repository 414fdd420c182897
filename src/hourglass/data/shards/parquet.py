"""Parquet files with a column `image`: image files as bytes, or pixels as lists."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.data import files
from hourglass.data.shards.base import Block, Encoded, Form, Piece, Shard, cut, decoded, fitted, readable
from hourglass.errors import DataError
from hourglass.images import Array

IMAGE, LABEL = "image", "label"
KEYS = ("key", "__key__", "path", "id")
"""Columns that may say what an image is called, the first that is there."""
_ROWS = 1024  # a row group of more is read in parts, of at least so many rows …
_PARTS = 16  # … and at most so many parts: to come to one, those before it are unpacked
_GROUP_BITS = 32
_ENCODED = (IMAGE, f"{IMAGE}.bytes")


@dataclass(frozen=True)
class ParquetShard(Shard):
    """A Parquet file. A block's place is its row group, and in the lower bits the first of its rows in that group."""

    kind = "parquet"
    reads_apart = False

    def blocks(self) -> list[Block]:
        def read() -> list[Block]:
            file = _opened(self.path, _state_of(self.path))
            self._columns(file)
            blocks, first = [], 0
            for group in range(file.metadata.num_row_groups):
                about = file.metadata.row_group(group)
                n_bytes = max(about.total_byte_size, about.num_rows * _row_bytes(file.schema_arrow.field(IMAGE).type))
                if n_bytes > files.MAX_BYTES:
                    raise DataError(f"{self.path}: a row group of {n_bytes:,} bytes; the limit is {files.MAX_BYTES:,}.")
                size = max(_ROWS, math.ceil(about.num_rows / _PARTS))
                for start, count in cut(about.num_rows, size):
                    blocks.append(Block(group << _GROUP_BITS | start, first + start, count))
                first += about.num_rows
            return blocks

        blocks: list[Block] = readable(self.path, "Parquet file", read)
        return blocks

    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        def read() -> Piece:
            table = _table(self, block, form.named, _state_of(self.path))
            wanted = np.arange(block.n_images) if rows is None else rows
            chosen = table if rows is None else table.take(wanted)
            return self._piece(chosen, block.first + wanted, form)

        piece: Piece = readable(self.path, "Parquet file", read)
        return piece

    def _columns(self, file: Any) -> list[str]:
        names = file.schema_arrow.names
        if IMAGE not in names:
            raise DataError(f"{self.path}: has no column {IMAGE!r}; it has {', '.join(names)}.")
        key = next((name for name in KEYS if name in names), None)
        return [IMAGE, *([LABEL] if LABEL in names else []), *([key] if key else [])]

    def _table(self, block: Block, is_named: bool) -> Any:
        import pyarrow as pa

        file = _opened(self.path, _state_of(self.path))
        columns = self._columns(file) if is_named else [IMAGE]
        group, start = block.place >> _GROUP_BITS, block.place & ((1 << _GROUP_BITS) - 1)
        # Batches do not always have the size that was asked for.
        batches = file.iter_batches(_ROWS, row_groups=[group], columns=columns, use_threads=False)
        parts, passed = [], 0
        for batch in batches:
            begin, end = max(start - passed, 0), min(start + block.n_images - passed, len(batch))
            if begin < end:
                parts.append(batch.slice(begin, end - begin))
            passed += len(batch)
            if passed >= start + block.n_images:
                break
        if sum(len(part) for part in parts) != block.n_images:
            raise DataError(f"{self.path}: holds fewer rows than it says, or than when it was opened.")
        return pa.Table.from_batches(parts)

    def _piece(self, table: Any, rows: NDArray[np.int64], form: Form) -> Piece:
        import pyarrow as pa

        column = table.column(IMAGE).combine_chunks()
        labels = table.column(LABEL).to_pylist() if LABEL in table.column_names else None
        named = next((name for name in KEYS if name in table.column_names), None)
        keys = [str(value) for value in table.column(named).to_pylist()] if named else None
        if pa.types.is_struct(column.type):  # as Hugging Face's datasets has images
            fields = [column.type.field(index).name for index in range(column.type.num_fields)]
            if "path" in fields and keys is None and form.named:
                paths = column.field("path").to_pylist()
                keys = [path or self.key(int(row)) for path, row in zip(paths, rows, strict=True)]
            column = column.field("bytes") if "bytes" in fields else column
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return self._decoded(column, rows, keys, labels, form)
        if _is_list(column.type):
            return self._fitted(column, rows, keys, labels, form)
        raise DataError(f"{self.path}: column {IMAGE!r} holds {kind}; allowed: bytes of image files, or lists of pixels.")

    def _decoded(self, column: Any, rows: NDArray[np.int64], keys: list[str] | None, labels: Any, form: Form) -> Piece:
        def content(place: int) -> bytes:
            value: bytes | None = column[place].as_py()
            if value is None:
                raise DataError("is null.")
            return value

        return decoded(
            (
                Encoded(
                    int(row),
                    self.key(int(row)) if keys is None else keys[place],
                    None if labels is None else labels[place],
                    functools.partial(content, place),
                )
                for place, row in enumerate(rows)
            ),
            form,
        )

    def _fitted(self, column: Any, rows: NDArray[np.int64], keys: list[str] | None, labels: Any, form: Form) -> Piece:
        place_of = {int(row): place for place, row in enumerate(rows)}

        def key(row: int) -> str:
            return self.key(row) if keys is None else keys[place_of[row]]

        images = _pixels(column, form.shape)
        piece = self._one_by_one(column, rows, key, form) if images is None else fitted(images, rows, key, form)
        if labels is not None and form.named:
            piece.labels = [labels[place_of[row]] for row in piece.rows]
        return piece

    def _one_by_one(self, column: Any, rows: NDArray[np.int64], key: Any, form: Form) -> Piece:
        """Lists of several lengths."""
        parts: list[Piece] = []
        rejects = []
        for place, row in enumerate(rows):
            try:
                image = _pixels(column.slice(place, 1), form.shape)
                if image is None:
                    raise DataError("is null, or rows of several lengths.")
                parts.append(fitted(image, rows[place : place + 1], key, form))
            except (DataError, ValueError) as error:
                rejects.append((key(int(row)), str(error)))
        every: list[Array] = [image for part in parts for image in part.images]
        return Piece(
            [number for part in parts for number in part.rows],
            np.stack(every) if every and form.shape is not None else every,
            [name for part in parts for name in part.keys],
            None,
            rejects + [reject for part in parts for reject in part.rejects],
            [note for part in parts for note in part.notes],
        )


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _pixels(column: Any, shape: tuple[int, ...] | None) -> Array | None:
    """Nested lists as an array (n, h, w) or (n, h, w, c); None if lengths differ. Flat ones take `shape`, or are square."""
    import pyarrow as pa

    count, sides = len(column), []
    while _is_list(column.type):
        if column.null_count:
            return None
        if pa.types.is_fixed_size_list(column.type):
            sides.append(column.type.list_size)
        else:
            lengths = column.value_lengths()
            if len(set(lengths.to_pylist())) != 1:
                return None
            sides.append(lengths[0].as_py())
        column = column.flatten()
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "buif" or column.null_count:
        raise DataError(f"lists of {column.type}; an image's pixels are numbers.")
    if len(sides) == 1:
        side = math.isqrt(sides[0])
        known = shape if shape is not None and math.prod(shape) == sides[0] else (side, side)
        if math.prod(known) != sides[0]:
            raise DataError(f"flat lists of {sides[0]} pixels; nest them in rows, as (h, w) or (h, w, c).")
        sides = list(known)
    if len(sides) not in (2, 3) or 0 in sides:
        raise DataError(f"lists of shape {tuple(sides)}; allowed: (h, w) or (h, w, c).")
    images: Array = values.reshape(count, *sides)
    return images


def _state_of(path: str) -> tuple[int, int]:
    told = Path(path).stat()
    return told.st_size, told.st_mtime_ns


@functools.lru_cache(1)
def _table(shard: ParquetShard, block: Block, is_named: bool, state: tuple[int, int]) -> Any:
    """The rows of a block; kept, for where images are large it is decoded in several turns."""
    return shard._table(block, is_named)


@functools.lru_cache(4)
def _opened(path: str, state: tuple[int, int]) -> Any:
    """The file, its footer read; kept, for its blocks are read one after the other.

    A value that stands in the file once and is told a thousand times stays one: files of images are read as dictionaries.
    """
    pq = files.parquet(Path(path))
    about = pq.read_metadata(path)
    leaves = [about.schema.column(number) for number in range(len(about.schema))]
    encoded = [leaf.path for leaf in leaves if leaf.path in _ENCODED and leaf.physical_type == "BYTE_ARRAY"]
    return pq.ParquetFile(path, metadata=about, memory_map=False, read_dictionary=encoded)


def _row_bytes(kind: Any) -> int:
    """Bytes of an image in lists of fixed lengths, of which a file needs few where all pixels are alike; 0 for others.

    Of others the footer tells it too, column by column; but over some broken ones pyarrow ends the process when it is asked.
    """
    import pyarrow as pa

    sides = []
    while pa.types.is_fixed_size_list(kind):
        sides.append(kind.list_size)
        kind = kind.value_type
    return math.prod(sides) * 4 if sides and not _is_list(kind) else 0  # Parquet has no smaller numbers than of 4 bytes

"""Parquet files with a column `image`: encoded images as bytes, or pixels as lists."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.data import files
from hourglass.data.shards.base import (
    Block,
    Encoded,
    Form,
    Piece,
    Shard,
    chunk_ranges,
    convert_arrays,
    decode_files,
    read_checked,
)
from hourglass.errors import DataError
from hourglass.images import Array

IMAGE, LABEL = "image", "label"
KEYS = ("key", "__key__", "path", "id")
"""Columns that may name an image; the first one present is used."""
_MIN_ROWS = 1024  # a larger row group is divided into blocks of at least this many rows
_MAX_BLOCKS = 16  # per row group, as reading a block decompresses those before it
_GROUP_BITS = 32
_ENCODED = (IMAGE, f"{IMAGE}.bytes")


@dataclass(frozen=True)
class ParquetShard(Shard):
    """A Parquet file. The position of a block is its row group and, in the lower bits, its first row in that group."""

    kind = "parquet"
    has_random_access = False

    def blocks(self) -> list[Block]:
        def read() -> list[Block]:
            file = _open(self.path, _state_of(self.path))
            self._columns(file)
            blocks, first = [], 0
            for group in range(file.metadata.num_row_groups):
                metadata = file.metadata.row_group(group)
                n_bytes = max(metadata.total_byte_size, metadata.num_rows * _row_bytes(file.schema_arrow.field(IMAGE).type))
                if n_bytes > files.MAX_BYTES:
                    raise DataError(f"{self.path}: a row group of {n_bytes:,} bytes; the limit is {files.MAX_BYTES:,}.")
                size = max(_MIN_ROWS, math.ceil(metadata.num_rows / _MAX_BLOCKS))
                for start, count in chunk_ranges(metadata.num_rows, size):
                    blocks.append(Block(group << _GROUP_BITS | start, first + start, count))
                first += metadata.num_rows
            return blocks

        blocks: list[Block] = read_checked(self.path, "Parquet file", read)
        return blocks

    def read(self, block: Block, rows: NDArray[np.int64] | None, form: Form) -> Piece:
        def read() -> Piece:
            table = _table(self, block, form.named, _state_of(self.path))
            requested = np.arange(block.n_images) if rows is None else rows
            chosen = table if rows is None else table.take(requested)
            return self._piece(chosen, block.first + requested, form)

        piece: Piece = read_checked(self.path, "Parquet file", read)
        return piece

    def _columns(self, file: Any) -> list[str]:
        names = file.schema_arrow.names
        if IMAGE not in names:
            raise DataError(f"{self.path}: has no column {IMAGE!r}; it has {', '.join(names)}.")
        key = next((name for name in KEYS if name in names), None)
        return [IMAGE, *([LABEL] if LABEL in names else []), *([key] if key else [])]

    def _table(self, block: Block, is_named: bool) -> Any:
        import pyarrow as pa

        file = _open(self.path, _state_of(self.path))
        columns = self._columns(file) if is_named else [IMAGE]
        group, start = block.position >> _GROUP_BITS, block.position & ((1 << _GROUP_BITS) - 1)
        # Batches do not always have the requested size.
        batches = file.iter_batches(_MIN_ROWS, row_groups=[group], columns=columns, use_threads=False)
        slices, passed = [], 0
        for batch in batches:
            begin, end = max(start - passed, 0), min(start + block.n_images - passed, len(batch))
            if begin < end:
                slices.append(batch.slice(begin, end - begin))
            passed += len(batch)
            if passed >= start + block.n_images:
                break
        if sum(len(rows) for rows in slices) != block.n_images:
            raise DataError(f"{self.path}: holds fewer rows than declared, or than when it was opened.")
        return pa.Table.from_batches(slices)

    def _piece(self, table: Any, rows: NDArray[np.int64], form: Form) -> Piece:
        import pyarrow as pa

        column = table.column(IMAGE).combine_chunks()
        labels = table.column(LABEL).to_pylist() if LABEL in table.column_names else None
        key_column = next((name for name in KEYS if name in table.column_names), None)
        keys = [str(value) for value in table.column(key_column).to_pylist()] if key_column else None
        if pa.types.is_struct(column.type):  # Hugging Face's datasets stores images so
            fields = [column.type.field(index).name for index in range(column.type.num_fields)]
            if "path" in fields and keys is None and form.named:
                paths = column.field("path").to_pylist()
                keys = [path or self.key(int(row)) for path, row in zip(paths, rows, strict=True)]
            column = column.field("bytes") if "bytes" in fields else column
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return self._from_files(column, rows, keys, labels, form)
        if _is_list(column.type):
            return self._from_lists(column, rows, keys, labels, form)
        raise DataError(f"{self.path}: column {IMAGE!r} holds {kind}; allowed: bytes of image files, or lists of pixels.")

    def _from_files(self, column: Any, rows: NDArray[np.int64], keys: list[str] | None, labels: Any, form: Form) -> Piece:
        def content(index: int) -> bytes:
            value: bytes | None = column[index].as_py()
            if value is None:
                raise DataError("is null.")
            return value

        return decode_files(
            (
                Encoded(
                    int(row),
                    self.key(int(row)) if keys is None else keys[index],
                    None if labels is None else labels[index],
                    functools.partial(content, index),
                )
                for index, row in enumerate(rows)
            ),
            form,
        )

    def _from_lists(self, column: Any, rows: NDArray[np.int64], keys: list[str] | None, labels: Any, form: Form) -> Piece:
        index_of = {int(row): index for index, row in enumerate(rows)}

        def key(row: int) -> str:
            return self.key(row) if keys is None else keys[index_of[row]]

        images = _pixels(column, form.shape)
        piece = self._one_by_one(column, rows, key, form) if images is None else convert_arrays(images, rows, key, form)
        if labels is not None and form.named:
            piece.labels = [labels[index_of[row]] for row in piece.rows]
        return piece

    def _one_by_one(self, column: Any, rows: NDArray[np.int64], key: Any, form: Form) -> Piece:
        """Read lists of different lengths."""
        pieces: list[Piece] = []
        rejects = []
        for index, row in enumerate(rows):
            try:
                image = _pixels(column.slice(index, 1), form.shape)
                if image is None:
                    raise DataError("is null, or has rows of different lengths.")
                pieces.append(convert_arrays(image, rows[index : index + 1], key, form))
            except (DataError, ValueError) as error:
                rejects.append((key(int(row)), str(error)))
        images: list[Array] = [image for piece in pieces for image in piece.images]
        return Piece(
            [row for piece in pieces for row in piece.rows],
            np.stack(images) if images and form.shape is not None else images,
            [name for piece in pieces for name in piece.keys],
            None,
            rejects + [reject for piece in pieces for reject in piece.rejects],
            [note for piece in pieces for note in piece.notes],
        )


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _pixels(column: Any, shape: tuple[int, ...] | None) -> Array | None:
    """Convert nested lists to an array (n, h, w) or (n, h, w, c); None if lengths differ.

    Flat lists are reshaped to `shape` if it fits, and to squares otherwise.
    """
    import pyarrow as pa

    count, dimensions = len(column), []
    while _is_list(column.type):
        if column.null_count:
            return None
        if pa.types.is_fixed_size_list(column.type):
            dimensions.append(column.type.list_size)
        else:
            lengths = column.value_lengths()
            if len(set(lengths.to_pylist())) != 1:
                return None
            dimensions.append(lengths[0].as_py())
        column = column.flatten()
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "buif" or column.null_count:
        raise DataError(f"lists of {column.type}; pixels must be numbers.")
    if len(dimensions) == 1:
        root = math.isqrt(dimensions[0])
        target = shape if shape is not None and math.prod(shape) == dimensions[0] else (root, root)
        if math.prod(target) != dimensions[0]:
            raise DataError(f"flat lists of {dimensions[0]} pixels; nest them as (h, w) or (h, w, c).")
        dimensions = list(target)
    if len(dimensions) not in (2, 3) or 0 in dimensions:
        raise DataError(f"lists of shape {tuple(dimensions)}; allowed: (h, w) or (h, w, c).")
    images: Array = values.reshape(count, *dimensions)
    return images


def _state_of(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(1)
def _table(shard: ParquetShard, block: Block, is_named: bool, state: tuple[int, int]) -> Any:
    """Return the rows of a block; cached, as blocks of large images are decoded in several calls."""
    return shard._table(block, is_named)


@functools.lru_cache(4)
def _open(path: str, state: tuple[int, int]) -> Any:
    """Open a file and read its footer; cached, as its blocks are read one after the other.

    Encoded images are read as dictionaries, so that repeated values take memory once.
    """
    pq = files.parquet(Path(path))
    metadata = pq.read_metadata(path)
    leaves = [metadata.schema.column(number) for number in range(len(metadata.schema))]
    encoded = [leaf.path for leaf in leaves if leaf.path in _ENCODED and leaf.physical_type == "BYTE_ARRAY"]
    return pq.ParquetFile(path, metadata=metadata, memory_map=False, read_dictionary=encoded)


def _row_bytes(kind: Any) -> int:
    """Return the bytes of an image in fixed-size lists, which compress well if all pixels are equal; 0 for other types.

    The footer also has the sizes of columns, but querying them aborts the process for some invalid files.
    """
    import pyarrow as pa

    lengths = []
    while pa.types.is_fixed_size_list(kind):
        lengths.append(kind.list_size)
        kind = kind.value_type
    return math.prod(lengths) * 4 if lengths and not _is_list(kind) else 0  # Parquet stores numbers in 4 bytes or more

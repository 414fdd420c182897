"""Shards: files of many images each, read block by block. A new kind is a class and an entry in `KINDS`."""

from hourglass.data.shards.arrays import NpyShard
from hourglass.data.shards.base import Block, Form, Piece, Shard, chunk_ranges
from hourglass.data.shards.folder import FILES_PER_SHARD, FileNames, FilesShard
from hourglass.data.shards.parquet import ParquetShard
from hourglass.data.shards.tar import TarShard

KINDS: dict[str, type[Shard]] = {kind.kind: kind for kind in (NpyShard, ParquetShard, TarShard)}
"""Shard classes by file suffix."""

__all__ = [
    "FILES_PER_SHARD",
    "KINDS",
    "Block",
    "FileNames",
    "FilesShard",
    "Form",
    "NpyShard",
    "ParquetShard",
    "Piece",
    "Shard",
    "TarShard",
    "chunk_ranges",
]

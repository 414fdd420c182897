"""Shards: files of many images each, read in parts. A new kind is a class, and a line in `KINDS`."""

from hourglass.data.shards.arrays import NpyShard
from hourglass.data.shards.base import Block, Form, Piece, Shard, cut
from hourglass.data.shards.folder import FILES_A_SHARD, FileNames, FilesShard
from hourglass.data.shards.parquet import ParquetShard
from hourglass.data.shards.tar import TarShard

KINDS: dict[str, type[Shard]] = {kind.kind: kind for kind in (NpyShard, ParquetShard, TarShard)}
"""By the ending of the file."""

__all__ = [
    "FILES_A_SHARD",
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
    "cut",
]

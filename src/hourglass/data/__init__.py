"""Data: reading files and folders, named data sets, and streams of shards."""

from hourglass.data.catalog import NAMED, load
from hourglass.data.columns import table_encoder
from hourglass.data.dataset import Dataset, Split
from hourglass.data.pairs import load_pairs
from hourglass.data.series import over_time, windows
from hourglass.data.sources import is_sharded
from hourglass.data.streaming import Stream, stream

__all__ = [
    "NAMED",
    "Dataset",
    "Split",
    "Stream",
    "is_sharded",
    "load",
    "load_pairs",
    "over_time",
    "stream",
    "table_encoder",
    "windows",
]

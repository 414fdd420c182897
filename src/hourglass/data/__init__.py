"""Data: reading files and folders, named data sets, and streams of shards.

Each name is loaded on first use: a program that runs exported models on arrays reads no files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hourglass.data.catalog import NAMED, load
    from hourglass.data.columns import table_encoder
    from hourglass.data.dataset import Dataset, Split
    from hourglass.data.pairs import load_pairs
    from hourglass.data.series import over_time, windows
    from hourglass.data.sources import is_sharded
    from hourglass.data.streaming import Stream, stream

_HOMES = {
    "catalog": ("NAMED", "load"),
    "columns": ("table_encoder",),
    "dataset": ("Dataset", "Split"),
    "pairs": ("load_pairs",),
    "series": ("over_time", "windows"),
    "sources": ("is_sharded",),
    "streaming": ("Stream", "stream"),
}
_HOME_OF = {name: f"hourglass.data.{home}" for home, names in _HOMES.items() for name in names}

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


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hourglass.data' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value

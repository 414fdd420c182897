"""Data: files and folders, named sets, and what they are read into."""

from hourglass.data.catalog import NAMED, load
from hourglass.data.dataset import Dataset, Split
from hourglass.data.sources import is_sharded
from hourglass.data.streaming import Stream, stream

__all__ = ["NAMED", "Dataset", "Split", "Stream", "is_sharded", "load", "stream"]

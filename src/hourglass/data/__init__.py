"""Data: files and folders, named sets, and what they are read into."""

from hourglass.data.catalog import NAMED, load
from hourglass.data.dataset import Dataset, Split

__all__ = ["NAMED", "Dataset", "Split", "load"]

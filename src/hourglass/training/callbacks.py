"""Callbacks that report progress."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hourglass.training.run import Callback, Run


def describe_epoch(row: dict[str, Any]) -> str:
    """Format a row of the history."""
    validation = "" if row["validation_loss"] is None else f", validation loss {row['validation_loss']:.5f}"
    return f"epoch {row['epoch']}: loss {row['loss']:.5f}{validation}"


class PrintEpochs(Callback):
    """Print a line to standard error after every epoch."""

    writes = True

    def on_epoch_end(self, run: Run) -> None:
        row = run.history[-1]
        print(f"{describe_epoch(row)} (of {run.n_epochs}), {row['images_per_second']:,.0f} images/s", file=sys.stderr)


class WriteHistory(Callback):
    """Append a JSON line to the file `path` after every epoch."""

    writes = True

    def __init__(self, path: Path, **labels: str) -> None:
        self.path, self.labels = path, labels

    def on_epoch_end(self, run: Run) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**self.labels, **run.history[-1]}) + "\n")

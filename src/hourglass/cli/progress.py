"""Progress of training on a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hourglass.training import Callback, Run

if TYPE_CHECKING:
    from rich.progress import Progress


_HEIGHTS = "▁▂▃▄▅▆▇█"
_WIDTH = 24  # characters of a curve


def sparkline(values: Sequence[float]) -> str:
    """A curve of the last values in one line of text, on a logarithmic scale if all are above 0; "" for fewer than two."""
    shown = np.array([value for value in values if math.isfinite(value)][-_WIDTH:])
    if len(shown) < 2:
        return ""
    heights = np.log(shown) if (shown > 0).all() else shown
    spread = float(np.ptp(heights)) or 1.0
    return "".join(_HEIGHTS[round((len(_HEIGHTS) - 1) * float(height - heights.min()) / spread)] for height in heights)


def losses(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """The validation loss of each epoch, or the training loss if nothing is held out."""
    return [row["loss"] if row.get("validation_loss") is None else row["validation_loss"] for row in history]


class ShowProgress(Callback):
    """A progress bar on a terminal (standard error): loss and its curve, images per second, time left. Silent in a pipe."""

    writes = True
    shows_progress = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: Progress | None = None
        self.finished = 0

    def on_train_begin(self, run: Run) -> None:
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn(f"[bold]{self.name}[/]"),
            BarColumn(bar_width=30),
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            TextColumn("loss {task.fields[loss]:.4f} {task.fields[curve]}"),
            TextColumn("{task.fields[speed]:,.0f} images/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        total = run.n_epochs * run.n_batches
        fields: dict[str, Any] = {"epoch": run.epoch + 1, "epochs": run.n_epochs, "loss": 0.0, "speed": 0.0, "curve": ""}
        self.task = self.bar.add_task(self.name, total=total, completed=run.step, **fields)
        self.bar.start()

    def on_batch_end(self, run: Run) -> None:
        if self.bar is not None and run.step % 8 == 0:
            speed = (self.bar.tasks[0].speed or 0.0) * run.n_images / run.n_batches
            self.bar.update(self.task, completed=run.step, epoch=run.epoch + 1, loss=float(run.loss), speed=speed)

    def on_epoch_end(self, run: Run) -> None:
        self.finished = run.epoch
        if self.bar is not None:
            speed, curve = run.history[-1]["images_per_second"], sparkline(losses(run.history))
            self.bar.update(self.task, completed=run.step, epoch=run.epoch, speed=speed, curve=curve)

    def on_train_end(self, run: Run) -> None:
        if self.bar is not None:
            self.bar.stop()

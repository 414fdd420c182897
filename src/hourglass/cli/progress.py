"""Progress of training on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hourglass.training import Callback, Run

if TYPE_CHECKING:
    from rich.progress import Progress


class ShowProgress(Callback):
    """A progress bar on a terminal (standard error): loss, images per second, time left. Silent in a pipe."""

    writes = True

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
            TextColumn("loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[speed]:,.0f} images/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
        )
        total = run.n_epochs * run.n_batches
        self.task = self.bar.add_task(
            self.name, total=total, completed=run.step, epoch=run.epoch + 1, epochs=run.n_epochs, loss=0.0, speed=0.0
        )
        self.bar.start()

    def on_batch_end(self, run: Run) -> None:
        if self.bar is not None and run.step % 8 == 0:
            speed = (self.bar.tasks[0].speed or 0.0) * run.n_images / run.n_batches
            self.bar.update(self.task, completed=run.step, epoch=run.epoch + 1, loss=float(run.loss), speed=speed)

    def on_epoch_end(self, run: Run) -> None:
        self.finished = run.epoch
        if self.bar is not None:
            row = run.history[-1]
            self.bar.update(self.task, completed=run.step, epoch=run.epoch, speed=row["images_per_second"])

    def on_train_end(self, run: Run) -> None:
        if self.bar is not None:
            self.bar.stop()

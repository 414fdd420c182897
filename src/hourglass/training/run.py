"""The state of a training run, and callbacks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from hourglass.errors import DataError
from hourglass.networks import Network
from hourglass.training.distribution import ALONE, Processes
from hourglass.training.optimizers import Optimizer

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Loss = float | Tensor
"""A float, or on a GPU a scalar tensor: reading its value would synchronise."""


class Mean:
    """A mean over batches of different sizes."""

    def __init__(self, total: Loss = 0.0, count: Loss = 0) -> None:
        self.total, self.count = total, count

    def add(self, value: Loss, count: Loss) -> None:
        self.total = self.total + value * count
        self.count = self.count + count

    @property
    def value(self) -> float:
        if not self.count:
            raise DataError("none of the samples of the epoch can be read.")
        return float(self.total) / float(self.count)


@dataclass
class Run:
    """The state of a training run between two steps, for checkpoints and callbacks.

    Attributes
    ----------
    epoch, step : int
        Finished epochs and steps.
    batch : int
        Finished batches of the current epoch.
    losses : Mean
        Their mean loss.
    drawn : tuple of Tensor
        The states of `order` and `noise` at the beginning of the current epoch.
    random_state : Tensor, optional
        If an epoch is resumed midway: torch's global random state at that step.
    history : list of dict
        A row for each epoch: epoch, loss, validation_loss (None without validation), learning_rate, seconds, images_per_second.
    best : dict of str to Tensor, optional
        The weights of the epoch with the lowest validation loss, if the plan has patience.
    stop : bool
        A callback sets it to end the run after this epoch.
    seed : int
        Of the corruption in validation, and of layers such as dropout.
    precision : str
        A name in `PRECISIONS`: of matrix products in training steps.
    processes : Processes
        The process group, and this process's rank.
    settings : dict
        The settings of training, for callbacks.
    """

    network: Network
    optimizer: Optimizer
    order: torch.Generator
    noise: torch.Generator
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "float32"
    processes: Processes = ALONE
    epoch: int = 0
    step: int = 0
    batch: int = 0
    losses: Mean = field(default_factory=Mean)
    drawn: tuple[Tensor, ...] = ()
    random_state: Tensor | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    stop: bool = False
    # for displays and trackers
    settings: dict[str, Any] = field(default_factory=dict)
    n_epochs: int = 0
    n_batches: int = 0
    n_images: int = 0
    loss: Loss = math.nan

    def follow_first(self) -> None:
        """Take the weights of rank 0, and stop if it does."""
        self.stop = self.processes.follow_first(self.network, self.stop)

    def count_step(self, loss: Loss, n_samples: Loss) -> None:
        """Record a step and its loss, the mean over `n_samples` of all processes."""
        self.loss = loss
        self.losses.add(loss, n_samples)
        self.step, self.batch = self.step + 1, self.batch + 1

    def end_epoch(self) -> float:
        """Finish the epoch; return its mean loss. Synchronises with a GPU."""
        losses, self.losses = self.losses, Mean()
        self.epoch, self.batch = self.epoch + 1, 0
        return losses.value


class Callback:
    """Base of callbacks. Each method receives the run and may set `run.stop` to end it after this epoch.

    During training, callbacks may read or copy the network, but must not replace its parameters or gradients, whose memory
    the engine may have recorded.
    """

    writes: ClassVar[bool] = False
    """Whether it writes or prints; then only rank 0 calls it."""
    shows_progress: ClassVar[bool] = False
    """Whether it only shows how training goes; then it also sees a run that belongs to the first, as that of a layout."""

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch of this call."""

    def on_batch_end(self, run: Run) -> None:
        """After every step; `run.loss` is its loss."""

    def on_epoch_end(self, run: Run) -> None:
        """After every epoch; `run.history[-1]` is its row."""

    def on_train_end(self, run: Run) -> None:
        """After the last epoch, an error or Ctrl-C."""

"""A training run, and who is told of its progress."""

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
"""A number; on a GPU a tensor without axes, for reading its value would wait for all that is under way."""


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
            raise DataError("not one sample of the epoch can be read.")
        return float(self.total) / float(self.count)


@dataclass
class Run:
    """A training run between two steps: all that a checkpoint holds, and what callbacks may read.

    Attributes
    ----------
    epoch, step : int
        How many of each are finished.
    batch : int
        How many batches of the epoch under way are finished.
    losses : Mean
        Of these.
    drawn : tuple of Tensor
        The states of `order` and `noise` at the beginning of the epoch under way.
    random_state : Tensor, optional
        Where an epoch is resumed in its midst: torch's own random state there, for layers that draw from it.
    history : list of dict
        A row an epoch: epoch, loss, validation_loss (None without validation), learning_rate, seconds, images_per_second.
    best : dict of str to Tensor, optional
        The weights of the epoch with the lowest validation loss, if the plan has patience.
    stop : bool
        Set by a callback, it ends the run after this epoch.
    seed : int
        Of the corruption in validation, and of layers that draw for themselves.
    precision : str
        A name in `PRECISIONS`: of the products in a training step.
    processes : Processes
        All that train together, as this one sees them.
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
    # for progress displays: what this call of `train` is up to
    n_epochs: int = 0
    n_batches: int = 0
    n_images: int = 0
    loss: Loss = math.nan

    def follow_first(self) -> None:
        """Of several processes: take the weights of the first, and stop where it does."""
        self.stop = self.processes.follow_first(self.network, self.stop)

    def count_step(self, loss: Loss, n_samples: Loss) -> None:
        """A step is done: its loss, the mean over `n_samples` of all processes, counts to the epoch's."""
        self.loss = loss
        self.losses.add(loss, n_samples)
        self.step, self.batch = self.step + 1, self.batch + 1

    def end_epoch(self) -> float:
        """The epoch is done: its mean loss. On a GPU this waits for the last step."""
        losses, self.losses = self.losses, Mean()
        self.epoch, self.batch = self.epoch + 1, 0
        return losses.value


class Callback:
    """Base of all callbacks; each method is given the run and may set `run.stop` to end it after this epoch.

    Between the first step and the last they read the network, or copy it; its parameters and gradients stay the tensors that
    they are, for the engine may have recorded where these lie.
    """

    writes: ClassVar[bool] = False
    """Whether it writes or prints: of several processes, only the first then has it."""

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch of this call."""

    def on_batch_end(self, run: Run) -> None:
        """After every step; `run.loss` is its loss."""

    def on_epoch_end(self, run: Run) -> None:
        """After every epoch; `run.history[-1]` is its row."""

    def on_train_end(self, run: Run) -> None:
        """After the last epoch, or when an error or Ctrl-C ended the run."""

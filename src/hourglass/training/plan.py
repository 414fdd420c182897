"""Epochs, batch size and learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def _constant(progress: float) -> float:
    return 1.0


def _linear(progress: float, rise: float = 0.1) -> float:
    """Warm up over the first tenth, then decay linearly to zero."""
    return min(progress / rise, (1 - progress) / (1 - rise))


def _decay(progress: float) -> float:
    """Warm up over the first fiftieth, then decay linearly to zero."""
    return _linear(progress, rise=0.02)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": _constant, "linear": _linear, "decay": _decay}


@dataclass(frozen=True)
class Plan:
    """The hyperparameters of the loop.

    Attributes
    ----------
    epochs : int
        Passes over the training samples.
    batch_size : int
        Samples in a step; the last batch of an epoch may be smaller.
    learning_rate : float
        The peak learning rate.
    schedule : str
        A name in `SCHEDULES`: the factor on the learning rate over the progress 0..1 of the run.
    patience : int, optional
        Stop after this many epochs without a lower validation loss, and restore the best epoch's weights.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str = "constant"
    patience: int | None = None

    def rate(self, step: int, n_steps: int) -> float:
        """The learning rate of step number `step` (from 0) of `n_steps`."""
        return self.learning_rate * SCHEDULES[self.schedule]((step + 0.5) / n_steps)

    def pace(self, losses: Sequence[float]) -> float:
        """The factor on that rate after epochs with these training losses: see `pace`."""
        return 1.0 if self.schedule == "constant" else pace(losses, max(1, self.epochs // 10))


_RISE = 1.25  # times the lowest mean: beyond its variation by batches and noise
_SLOWEST = 1 / 64


def pace(losses: Sequence[float], window: int) -> float:
    """The factor on the learning rate, halved each time that the training loss rises.

    A rate that suits the first epochs may later saturate units and collapse the network to a constant output. So the mean
    loss of the last `window` epochs is compared with the lowest such mean; each halving is followed by two windows without
    another.
    """
    share, lowest, next_look = 1.0, math.inf, 0
    for end in range(window, len(losses) + 1):
        mean = sum(losses[end - window : end]) / window
        if mean > _RISE * lowest and end >= next_look and share > _SLOWEST:
            share, next_look = share / 2, end + 2 * window
        lowest = min(lowest, mean)
    return share

"""How long and how fast to train."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def _constant(progress: float) -> float:
    return 1.0


def _linear(progress: float, rise: float = 0.1) -> float:
    """Up over the first tenth, then down to zero in a straight line."""
    return min(progress / rise, (1 - progress) / (1 - rise))


def _decay(progress: float) -> float:
    """Up over the first fiftieth, then down to zero in a straight line."""
    return _linear(progress, rise=0.02)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": _constant, "linear": _linear, "decay": _decay}


@dataclass(frozen=True)
class Plan:
    """What the loop needs to know.

    Attributes
    ----------
    epochs : int
        Passes over the training samples.
    batch_size : int
        Samples a step; the last batch of an epoch may be smaller.
    learning_rate : float
        The optimiser's step at its largest.
    schedule : str
        A name in `SCHEDULES`: the share of the learning rate over the progress 0..1 of the run.
    patience : int, optional
        Stop after so many epochs without a lower validation loss, and go back to the best epoch's weights.
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
        """The share of that rate that is left after epochs with these training losses: see `pace`."""
        return 1.0 if self.schedule == "constant" else pace(losses, max(1, self.epochs // 10))


_RISE = 1.25  # times the lowest: more than batches and noise let a mean over a tenth of the run vary
_SLOWEST = 1 / 64


def pace(losses: Sequence[float], window: int) -> float:
    """The share of the learning rate that is left: half of it each time that the training loss rises instead of falling.

    A rate that a network learns from at first may be one that drives it, units saturated, to a constant answer. So the mean
    loss of the last `window` epochs is held against the lowest such mean; after each halving the loss has two windows to fall
    again.
    """
    share, lowest, next_look = 1.0, math.inf, 0
    for end in range(window, len(losses) + 1):
        mean = sum(losses[end - window : end]) / window
        if mean > _RISE * lowest and end >= next_look and share > _SLOWEST:
            share, next_look = share / 2, end + 2 * window
        lowest = min(lowest, mean)
    return share

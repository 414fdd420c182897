"""What training minimises: one reconstruction loss plus the penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hourglass.objectives.losses import Loss
from hourglass.objectives.penalties import Penalty


@dataclass(frozen=True)
class Objective:
    """loss(reconstructions, targets) + Σ penalty(codes, rate), a scalar."""

    loss: Loss
    penalties: Sequence[Penalty] = ()

    def __call__(self, reconstructions: Tensor, targets: Tensor, codes: Tensor, rate: Tensor | None = None) -> Tensor:
        total = self.loss(reconstructions, targets)
        for penalty in self.penalties:
            total = total + penalty(codes, rate)
        return total

    @property
    def n_views(self) -> int:
        """How many differently damaged inputs of each target a batch must hold, one after the other."""
        return max((penalty.n_views for penalty in self.penalties), default=1)

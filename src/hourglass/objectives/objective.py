"""What training minimises: one reconstruction loss plus the penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hourglass.objectives.losses import Loss
from hourglass.objectives.penalties import Penalty


@dataclass(frozen=True)
class Objective:
    """loss(reconstructions, targets) + Σ penalty(codes), a scalar."""

    loss: Loss
    penalties: Sequence[Penalty] = ()

    def __call__(self, reconstructions: Tensor, targets: Tensor, codes: Tensor) -> Tensor:
        total = self.loss(reconstructions, targets)
        for penalty in self.penalties:
            total = total + penalty(codes)
        return total

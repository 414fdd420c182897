"""The training objective: one reconstruction loss plus penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hourglass.objectives.losses import Loss
from hourglass.objectives.output import Output
from hourglass.objectives.penalties import Penalty


@dataclass(frozen=True)
class Objective:
    """loss(reconstructions, targets) + Σ penalty(output), a scalar."""

    loss: Loss
    penalties: Sequence[Penalty] = ()

    def __call__(self, output: Output, targets: Tensor) -> Tensor:
        total = self.loss(output.reconstructions, targets)
        for penalty in self.penalties:
            total = total + penalty(output)
        return total

    @property
    def n_views(self) -> int:
        """Views of each image in a batch: 2 if a penalty compares an image with its corrupted view."""
        return max((penalty.n_views for penalty in self.penalties), default=1)

    @property
    def compares_batch(self) -> bool:
        """Whether a penalty compares images of a batch with each other."""
        return any(penalty.compares_batch for penalty in self.penalties)

    @property
    def differentiates(self) -> bool:
        """Whether a penalty differentiates the codes with respect to the inputs, so that these must require a gradient."""
        return any(penalty.differentiates for penalty in self.penalties)

"""The training objective: one reconstruction loss plus penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hourglass.objectives.losses import Loss
from hourglass.objectives.output import Output
from hourglass.objectives.penalties import Penalty


@dataclass(frozen=True)
class Objective:
    """loss(reconstructions, targets) + Σ penalty(output), a scalar; `Output.importance`, if given, weights images' losses."""

    loss: Loss
    penalties: Sequence[Penalty] = ()

    def __call__(self, output: Output, targets: Tensor) -> Tensor:
        total = self._loss(output, targets)
        for penalty in self.penalties:
            total = total + penalty(output)
        return total

    def _loss(self, output: Output, targets: Tensor) -> Tensor:
        targets = targets.to(torch.promote_types(targets.dtype, output.reconstructions.dtype))  # of networks in float64
        if output.importance is None:
            return self.loss(output.reconstructions, targets)
        pairs = zip(torch.split(output.reconstructions, 1), torch.split(targets, 1), strict=True)
        return (output.importance * torch.stack([self.loss(*pair) for pair in pairs])).mean()

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

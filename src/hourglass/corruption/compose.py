"""One corruption after another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hourglass.corruption.base import Corruption
from hourglass.errors import ParameterError


@dataclass(frozen=True)
class Compose(Corruption):
    """Apply `corruptions` in their order.

    Examples
    --------
    >>> import hourglass as hg
    >>> hg.Compose((hg.SaltAndPepper(0.1), hg.Downscale(4)))
    Compose(corruptions=(SaltAndPepper(amount=0.1), Downscale(factor=4, smooth=False)))
    """

    corruptions: tuple[Corruption, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "corruptions", tuple(self.corruptions))
        for corruption in self.corruptions:
            if not isinstance(corruption, Corruption):
                raise ParameterError(f"Compose takes corruptions; got {corruption!r}.")

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for corruption in self.corruptions:
            images = corruption.corrupt(images, generator)
        return images

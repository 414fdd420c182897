"""Loss of resolution."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import Corruption
from hourglass.errors import ParameterError


@dataclass(frozen=True)
class Downscale(Corruption):
    """Every block of `factor` × `factor` pixels becomes its mean: the image keeps its size and loses its detail.

    Blocks that the border cuts are means of what is there. Nothing is left to chance.
    """

    is_random: ClassVar[bool] = False

    factor: int = 2

    def __post_init__(self) -> None:
        if (not isinstance(self.factor, Integral) and not float(self.factor).is_integer()) or self.factor < 1:
            raise ParameterError(f"factor={self.factor!r}; allowed: a whole number of pixels, 1 or more.")
        object.__setattr__(self, "factor", int(self.factor))  # the command line reads all numbers as floats

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        planes = images if images.ndim == 4 else images[:, None, :, None]
        height, width = planes.shape[-2:]
        block = (min(self.factor, height), min(self.factor, width))
        means = F.avg_pool2d(planes, block, ceil_mode=True)
        wide = means.repeat_interleave(block[0], dim=2).repeat_interleave(block[1], dim=3)
        return wide[:, :, :height, :width].reshape(images.shape)

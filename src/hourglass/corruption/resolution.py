"""Loss of resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import Corruption, check_integer


@dataclass(frozen=True)
class Downscale(Corruption):
    """Replace every block of `factor` × `factor` pixels by its mean; the image keeps its size. Deterministic.

    Blocks at the border average the pixels that lie inside the image.

    Parameters
    ----------
    factor : int
        Height and width of a block, in pixels.
    smooth : bool
        Interpolate between the means (bicubic) instead of repeating them.
    """

    is_random: ClassVar[bool] = False

    factor: int = 2
    smooth: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", check_integer("factor", self.factor))

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        planes = images if images.ndim == 4 else images[:, None, :, None]
        height, width = planes.shape[-2:]
        block = (min(self.factor, height), min(self.factor, width))
        means = F.avg_pool2d(planes, block, ceil_mode=True)
        if self.smooth:
            return enlarge(means, block)[:, :, :height, :width].reshape(images.shape)
        repeated = means.repeat_interleave(block[0], dim=2).repeat_interleave(block[1], dim=3)
        return repeated[:, :, :height, :width].reshape(images.shape)


def enlarge(images: Tensor, factors: tuple[int, int]) -> Tensor:
    """Enlarge images (n, c, h, w) by bicubic interpolation, clamped to 0..1."""
    size = (images.shape[2] * factors[0], images.shape[3] * factors[1])
    return F.interpolate(images, size=size, mode="bicubic", align_corners=False).clamp(0, 1)

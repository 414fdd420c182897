"""Loss of resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import Corruption, check_flag, check_integer
from hourglass.errors import ParameterError

METHODS = ("area", "bicubic")


@dataclass(frozen=True)
class Downscale(Corruption):
    """Reduce height and width by `factor` and enlarge them again; the image keeps its size. Deterministic.

    By default every block of `factor` × `factor` pixels becomes its mean. Blocks at the border average the pixels that lie
    inside the image.

    Parameters
    ----------
    factor : int
        Height and width of a block, in pixels.
    smooth : bool
        Interpolate between the blocks (bicubic) instead of repeating them.
    method : {"area", "bicubic"}
        How to reduce, and with `smooth` how to enlarge; see `reduce` and `enlarge`.
    """

    is_random: ClassVar[bool] = False

    factor: int = 2
    smooth: bool = False
    method: str = "area"

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", check_integer("factor", self.factor))
        object.__setattr__(self, "smooth", check_flag("smooth", self.smooth))
        if self.method not in METHODS:
            raise ParameterError(f"method={self.method!r}; allowed: {', '.join(METHODS)}.")

    @property
    def clips(self) -> bool:
        return self.smooth or self.method == "bicubic"

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        planes = images if images.ndim == 4 else images[:, None, :, None]
        height, width = planes.shape[-2:]
        block = (min(self.factor, height), min(self.factor, width))
        low = reduce(planes, block, self.method)
        if self.smooth:
            return enlarge(low, block, self.method)[:, :, :height, :width].reshape(images.shape)
        repeated = low.repeat_interleave(block[0], dim=2).repeat_interleave(block[1], dim=3)
        return repeated[:, :, :height, :width].reshape(images.shape)


def reduce(images: Tensor, factors: tuple[int, int], method: str = "area") -> Tensor:
    """Reduce images (n, c, h, w) in 0..1 by `factors` of height and width to (n, c, ⌈h / factor⌉, ⌈w / factor⌉).

    "area" takes the means of blocks, at the border of the pixels that lie inside. "bicubic" is cubic convolution with
    antialiasing (Keys 1981, a = -1/2) as in Pillow's resize and Matlab's imresize, clamped to 0..1; the border is repeated up
    to whole blocks.
    """
    if method == "area":
        return F.avg_pool2d(images, factors, ceil_mode=True)
    height, width = images.shape[2:]
    whole = F.pad(images, (0, -width % factors[1], 0, -height % factors[0]), mode="replicate")
    size = (whole.shape[2] // factors[0], whole.shape[3] // factors[1])
    return F.interpolate(whole, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def enlarge(images: Tensor, factors: tuple[int, int], method: str = "area") -> Tensor:
    """Enlarge images (n, c, h, w) by cubic convolution, clamped to 0..1.

    After "area" it is torch's (a = -3/4), after "bicubic" that of `reduce`, as in Pillow and Matlab.
    """
    size = (images.shape[2] * factors[0], images.shape[3] * factors[1])
    is_pillows = method == "bicubic"
    return F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=is_pillows).clamp(0, 1)

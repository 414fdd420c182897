"""Faults of sensors and of transmission: lines and blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hourglass.corruption.base import (
    Corruption,
    Range,
    check_flag,
    check_fraction,
    check_range,
    check_whole_range,
    column,
    draw,
    draw_fractions,
    draw_whole,
)

_MOST_BLOCKS = 1000
_LONGEST = 10_000  # pixels


@dataclass(frozen=True)
class Stripes(Corruption):
    """Shift the brightness of whole columns or rows, or set them to 0, as faulty pixels of a line-scan camera do.

    All channels of a line together. Rows of features have no geometry and stay unchanged.

    Parameters
    ----------
    amount : float or (low, high) in 0..1
        Probability of each line to be faulty; of a range each image draws its own, uniformly.
    shift : float or (low, high) in 0..1
        Standard deviation of the shifts, from N(0, shift²); results are clamped to 0..1.
    dead : bool
        Set the lines to 0 instead.
    vertical : bool
        Columns, along which the scene moves past a line-scan camera; False for rows.
    """

    amount: Range = 0.1
    shift: Range = 0.15
    dead: bool = False
    vertical: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", check_range("amount", self.amount, 0, 1))
        object.__setattr__(self, "shift", check_range("shift", self.shift, 0, 1))
        object.__setattr__(self, "dead", check_flag("dead", self.dead))
        object.__setattr__(self, "vertical", check_flag("vertical", self.vertical))

    @property
    def clips(self) -> bool:
        return not self.dead

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        height, width = images.shape[2:]
        lines = (len(images), 1, 1, width) if self.vertical else (len(images), 1, height, 1)
        amount, shift = draw(self.amount, images, generator), draw(self.shift, images, generator)
        is_faulty = torch.rand(lines, generator=generator, device=images.device, dtype=torch.float32) < amount
        if self.dead:
            return images.masked_fill(is_faulty, 0.0)
        shifts = torch.randn(lines, generator=generator, device=images.device, dtype=torch.float32).mul_(shift)
        return (images + shifts.mul_(is_faulty)).clamp_(0, 1)


@dataclass(frozen=True)
class MissingBlocks(Corruption):
    """Set rectangles to one value in all channels: occlusion, lost packets (random erasing; Zhong et al. 2020).

    They lie anywhere within the image and may overlap. Rows of features have no geometry and stay unchanged.

    Parameters
    ----------
    count : int or (low, high)
        Number of rectangles; of a range each image draws its own, uniformly.
    size : int or (low, high)
        Height and width in pixels; of a range each rectangle draws both, uniformly.
    value : float in 0..1
        0 is black, 1 is white.
    """

    count: Range = (1, 4)
    size: Range = (4, 16)
    value: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", check_whole_range("count", self.count, 0, _MOST_BLOCKS))
        object.__setattr__(self, "size", check_whole_range("size", self.size, 1, _LONGEST))
        check_fraction("value", self.value)

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        height, width = images.shape[2:]
        most = int(self.count[1] if isinstance(self.count, tuple) else self.count)
        is_there = torch.arange(most, device=images.device) < column(draw_whole(self.count, images, generator), images)
        rows = self._covered(height, images.new_empty(len(images), most, 1), generator)
        columns = self._covered(width, images.new_empty(len(images), most, 1), generator)
        covering = (rows * is_there[:, :, None]).mT @ columns  # (n, h, w): how many blocks cover each pixel
        return images.masked_fill(covering[:, None] > 0, self.value)

    def _covered(self, length: int, blocks: Tensor, generator: torch.Generator) -> Tensor:
        """Which of `length` rows or columns each of `blocks` (n, most, 1) covers: 0 or 1, float32 (n, most, length)."""
        sizes = column(draw_whole(self.size, blocks.flatten(0, 1), generator), blocks)
        room = (length - sizes + 1).clamp_(min=1)
        first = (draw_fractions(blocks.flatten(0, 1), generator) * room).floor_()
        places = torch.arange(length, device=blocks.device)
        return ((places >= first) & (places < first + sizes)).float().view(*blocks.shape[:2], length)

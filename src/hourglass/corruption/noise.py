"""Random noise on pixel values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hourglass.corruption.base import Corruption, check_fraction, check_integer, draw_fractions
from hourglass.errors import ParameterError

_LARGEST = 1e6  # in pixel units; a Python int may be too large for torch


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Add noise from N(mean, std²) to every value and clamp to 0..1; the defaults are those of the textbook's chapter.

    Parameters
    ----------
    mean, std : float
        In pixel units, where 0 is black and 1 is white; std >= 0.
    varied : bool
        Multiply the noise of each image by a factor drawn uniformly from 0..1.

    Examples
    --------
    >>> import numpy as np, hourglass as hg
    >>> noisy = hg.GaussianNoise(mean=0.5, std=0.4)(np.zeros((1, 28, 28)), 0)
    >>> noisy.shape, float(noisy.min()) >= 0
    ((1, 28, 28), True)
    """

    mean: float = 0.5
    std: float = 0.4
    varied: bool = False

    def __post_init__(self) -> None:
        if not (abs(self.mean) <= _LARGEST and 0 <= self.std <= _LARGEST):
            raise ParameterError(f"GaussianNoise(mean={self.mean!r}, std={self.std!r}); allowed: at most 1e6, std >= 0.")

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        noise = (
            torch.randn(images.shape, generator=generator, device=images.device, dtype=torch.float32)
            .mul_(self.std)
            .add_(self.mean)
        )
        if self.varied:
            noise *= draw_fractions(images, generator)
        return noise.add_(images).clamp_(0, 1)


@dataclass(frozen=True)
class SaltAndPepper(Corruption):
    """Set a random share of the values to 0 or to 1, with equal probability.

    Parameters
    ----------
    amount : float in 0..1
        Probability of each value to be replaced.
    """

    amount: float = 0.2

    def __post_init__(self) -> None:
        check_fraction("amount", self.amount)

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        draw = torch.rand(images.shape, generator=generator, device=images.device, dtype=torch.float32)
        corrupted = images.masked_fill(draw < self.amount / 2, 0.0)
        return corrupted.masked_fill_(draw >= 1 - self.amount / 2, 1.0)


@dataclass(frozen=True)
class Masking(Corruption):
    """Set a random share of the pixels to 0 in all channels (masking noise; Vincent et al. 2008).

    Parameters
    ----------
    amount : float in 0..1
        Probability of each cell to be masked.
    cell : int
        Height and width of a cell in pixels. In rows of features, each value is a cell.
    varied : bool
        Multiply the amount for each image by a factor drawn uniformly from 0..1.
    """

    amount: float = 0.3
    cell: int = 1
    varied: bool = False

    def __post_init__(self) -> None:
        check_fraction("amount", self.amount)
        object.__setattr__(self, "cell", check_integer("cell", self.cell))

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        amount = self.amount * draw_fractions(images, generator) if self.varied else self.amount
        if images.ndim == 2:
            return images.masked_fill(
                torch.rand(images.shape, generator=generator, device=images.device, dtype=torch.float32) < amount, 0.0
            )
        height, width = images.shape[2:]
        cells = (len(images), 1, -(-height // self.cell), -(-width // self.cell))
        mask = torch.rand(cells, generator=generator, device=images.device, dtype=torch.float32) < amount
        if self.cell > 1:
            mask = mask.repeat_interleave(self.cell, 2).repeat_interleave(self.cell, 3)[:, :, :height, :width]
        return images.masked_fill(mask, 0.0)

"""Random noise on pixel values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hourglass.corruption.base import (
    Corruption,
    Range,
    check_flag,
    check_fraction,
    check_integer,
    check_range,
    draw,
    draw_fractions,
)
from hourglass.errors import ParameterError

_LARGEST = 1e6  # in pixel units; a Python int may be too large for torch


class _Noise(Corruption):
    """Base class of noise that its field `clip` clamps to 0..1, or leaves as it is."""

    clip: bool

    @property
    def is_bounded(self) -> bool:
        return self.clip

    @property
    def clips(self) -> bool:
        return self.clip

    def _check_clip(self) -> None:
        object.__setattr__(self, "clip", check_flag("clip", self.clip))

    def _clipped(self, images: Tensor) -> Tensor:
        return images.clamp_(0, 1) if self.clip else images


@dataclass(frozen=True)
class GaussianNoise(_Noise):
    """Add noise from N(mean, std²) to every value; the defaults are those of the textbook's chapter.

    Parameters
    ----------
    mean : float
        In pixel units, where 0 is black and 1 is white.
    std : float or (low, high)
        In the same units, at least 0; of a range each image draws its own, uniformly.
    varied : bool
        Multiply the noise of each image by a factor drawn uniformly from 0..1.
    clip : bool
        Clamp to 0..1, as files do. The literature's figures on denoising are of noise that is not clipped.

    Examples
    --------
    >>> import numpy as np, hourglass as hg
    >>> noisy = hg.GaussianNoise(mean=0.5, std=0.4)(np.zeros((1, 28, 28)), 0)
    >>> noisy.shape, float(noisy.min()) >= 0
    ((1, 28, 28), True)
    >>> blind = hg.GaussianNoise(0, std=(0, 55 / 255), clip=False)
    >>> float(blind(np.zeros((1, 28, 28)), 0).min()) < 0
    True
    """

    mean: float = 0.5
    std: Range = 0.4
    varied: bool = False
    clip: bool = True

    def __post_init__(self) -> None:
        if not abs(self.mean) <= _LARGEST:
            raise ParameterError(f"GaussianNoise(mean={self.mean!r}); allowed: -1e6..1e6.")
        object.__setattr__(self, "std", check_range("std", self.std, 0, _LARGEST))
        self._check_clip()

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        noise = _normal(images, generator).mul_(draw(self.std, images, generator)).add_(self.mean)
        if self.varied:
            noise *= draw_fractions(images, generator)
        return self._clipped(noise.add_(images))


@dataclass(frozen=True)
class SensorNoise(_Noise):
    """Add the noise of a camera: Gaussian of variance shot · x + read² at each value x.

    The part that grows with the light approximates the Poisson noise of photons, the other is that of reading them (Foi et al.
    2008, eq. 1). The defaults span a phone's camera in any light (after Brooks et al. 2019); both are for linear intensities,
    before the camera's tone curve.

    Parameters
    ----------
    shot : float or (low, high)
        Variance at white, at least 0: 1 over the number of electrons there. Of a range each image draws its own, uniformly.
    read : float or (low, high)
        Standard deviation at black, at least 0.
    clip : bool
        Clamp to 0..1.
    """

    shot: Range = (0.0, 0.012)
    read: Range = (0.0, 0.02)
    clip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shot", check_range("shot", self.shot, 0, _LARGEST))
        object.__setattr__(self, "read", check_range("read", self.read, 0, _LARGEST))
        self._check_clip()

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        shot, read = draw(self.shot, images, generator), draw(self.read, images, generator)
        deviations = images.clamp(min=0).mul_(shot).add_(read**2).sqrt_()
        return self._clipped(_normal(images, generator).mul_(deviations).add_(images))


@dataclass(frozen=True)
class PoissonNoise(_Noise):
    """Count photons: Poisson counts whose mean is `peak` · x at each value x, divided by `peak`.

    Counts are quantiles of normal numbers, so that the same seed gives the same draw whatever the images are.

    Parameters
    ----------
    peak : float or (low, high)
        Mean number of photons at white, 0.01 or more; of a range each image draws its own, uniformly. The fewer, the noisier.
    clip : bool
        Clamp to 0..1.
    """

    peak: Range = (10.0, 100.0)
    clip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "peak", check_range("peak", self.peak, 0.01, _LARGEST))
        self._check_clip()

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        peak = draw(self.peak, images, generator)
        counts = _poisson(images.clamp(min=0).mul_(peak), _normal(images, generator))
        return self._clipped(counts.div_(peak))


_FEW, _MOST = 5.0, 24  # a Poisson count of rate 5 exceeds 24 once in 10^10 draws
_REACH = 4.8  # standard deviations: a float32 probability ends soon after


def _poisson(rates: Tensor, normal: Tensor) -> Tensor:
    """Poisson counts of these `rates` at the quantiles that `normal` values have in N(0, 1).

    Exact inversion below a rate of 5; above it the expansion of Cornish and Fisher to the third order, rounded.
    torch.poisson draws as many random numbers as the rates ask for, so that one image's noise would depend on another's pixels.
    """
    normal = normal.clamp(-_REACH, _REACH)
    root = (rates.clamp(min=_FEW) - 1 / 12).sqrt_()  # rounding adds a variance of 1/12 (Sheppard)
    square = normal * normal
    many = (rates + root * normal + (square - 1) / 6 + normal * (1 - square) / (72 * root)).round_().clamp_(min=0)
    few = rates.clamp(max=_FEW)
    probability = torch.exp(-few)
    missing = (torch.erf(normal / math.sqrt(2)) + 1) / 2 - probability  # of the quantile, after counts so far
    counts, is_more = torch.zeros_like(rates), torch.empty_like(rates)
    for count in range(1, _MOST + 1):
        counts += torch.gt(missing, 0, out=is_more)
        missing -= probability.mul_(few).div_(count)
    return torch.where(rates < _FEW, counts, many)


def _normal(images: Tensor, generator: torch.Generator) -> Tensor:
    """Values from N(0, 1), one for each of `images`."""
    return torch.randn(images.shape, generator=generator, device=images.device, dtype=torch.float32)


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

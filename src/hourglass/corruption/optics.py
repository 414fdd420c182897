"""Blur of lenses and of motion, and changes of light."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import Corruption, Range, check_fraction, check_range, column, draw, draw_fractions

_TRUNCATE = 4.0  # standard deviations
_SHARP = 1e-3  # pixels; as good as no blur
_STEPS = 4  # positions per pixel of a motion


@dataclass(frozen=True)
class Blur(Corruption):
    """Blur by a Gaussian of standard deviation `sigma`; the border is repeated. Rows of features stay unchanged.

    Parameters
    ----------
    sigma : float or (low, high)
        In pixels, 0..100; of a range each image draws its own, uniformly.
    """

    sigma: Range = (0.5, 2.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", check_range("sigma", self.sigma, 0, 100))

    @property
    def is_random(self) -> bool:
        return isinstance(self.sigma, tuple)

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        radius = int(_TRUNCATE * _largest(self.sigma) + 0.5)
        sigma = column(draw(self.sigma, images, generator), images).clamp(min=_SHARP)
        kernels = torch.exp(-0.5 * (_offsets(radius, images) / sigma).square())
        kernels /= kernels.sum(1, keepdim=True)
        return filtered(filtered(images, kernels[:, None]), kernels[:, :, None])


@dataclass(frozen=True)
class Lighting(Corruption):
    """Change of light: (1 + g) x + o, clipped to 0..1, with g and o drawn for each image. Rows of features stay unchanged.

    Parameters
    ----------
    gain : float
        Maximum of |g|, 0..1.
    offset : float
        Maximum of |o|, 0..1.
    """

    gain: float = 0.2
    offset: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("gain", self.gain)
        check_fraction("offset", self.offset)

    @property
    def clips(self) -> bool:
        return True

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        gain = 1 + self.gain * (2 * draw_fractions(images, generator) - 1)
        offset = self.offset * (2 * draw_fractions(images, generator) - 1)
        return (gain * images).add_(offset).clamp_(0, 1)


@dataclass(frozen=True)
class MotionBlur(Corruption):
    """Blur by a motion of the camera or the scene: the mean of the image along a line; the border is repeated.

    Rows of features stay unchanged.

    Parameters
    ----------
    length : float or (low, high)
        Of the line, in pixels, 0..200; of a range each image draws its own, uniformly.
    angle : float or (low, high), optional
        Of the line, in degrees from the horizontal, counter-clockwise, -360..360. None draws any for each image.
    """

    length: Range = (3.0, 11.0)
    angle: Range | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", check_range("length", self.length, 0, 200))
        if self.angle is not None:
            object.__setattr__(self, "angle", check_range("angle", self.angle, -360, 360))

    @property
    def is_random(self) -> bool:
        return self.angle is None or isinstance(self.angle, tuple) or isinstance(self.length, tuple)

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        longest = _largest(self.length)
        length = column(draw(self.length, images, generator), images)
        degrees = draw((0.0, 180.0) if self.angle is None else self.angle, images, generator)
        angle = column(degrees, images) * (math.pi / 180)
        n_steps = max(1, math.ceil(_STEPS * longest))
        along = length * ((torch.arange(n_steps, device=images.device, dtype=torch.float32) + 0.5) / n_steps - 0.5)
        offsets = _offsets(math.ceil(longest / 2), images)
        right, down = (_shares(line, offsets) for line in (along * torch.cos(angle), along * -torch.sin(angle)))
        return filtered(images, down.mT @ right / n_steps)


def filtered(images: Tensor, kernels: Tensor) -> Tensor:
    """Images (n, c, h, w) filtered by kernels (n, k, l), or (1, k, l) for all, of odd size; the border is repeated."""
    count, channels = images.shape[:2]
    down, right = kernels.shape[1] // 2, kernels.shape[2] // 2
    padded = F.pad(images, (right, right, down, down), mode="replicate")
    planes = padded.reshape(1, count * channels, *padded.shape[2:])
    weights = kernels.expand(count, -1, -1).repeat_interleave(channels, 0)[:, None]
    return F.conv2d(planes, weights, groups=count * channels).reshape(images.shape)


def _shares(positions: Tensor, offsets: Tensor) -> Tensor:
    """Weights of the pixels at `offsets` (k,) in linear interpolation at `positions` (n, steps): (n, steps, k)."""
    return (1 - (positions[:, :, None] - offsets).abs()).clamp_(min=0)


def _offsets(radius: int, images: Tensor) -> Tensor:
    return torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)


def _largest(value: Range) -> float:
    return value[1] if isinstance(value, tuple) else value

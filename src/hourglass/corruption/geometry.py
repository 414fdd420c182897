"""Geometric transformations of images."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import Corruption, check_flag, check_integer
from hourglass.errors import ParameterError

_KNOTS = 5
_MAX_SEED = 2**32 - 1  # of numpy's RandomState


@functools.cache
def _bases(height: int, width: int) -> Tensor:
    """Bicubic weights of the 5×5 knots at each pixel, (25, height · width). One matrix product is faster than resizing."""
    knots = torch.eye(_KNOTS * _KNOTS, dtype=torch.float32).view(-1, 1, _KNOTS, _KNOTS)
    return F.interpolate(knots, size=(height, width), mode="bicubic", align_corners=True).view(_KNOTS * _KNOTS, -1)


@dataclass(frozen=True)
class Warp(Corruption):
    """Random rotation, scaling, shear, translation and elastic deformation of each image, with border padding.

    Rows of features have no geometry and stay unchanged.

    Parameters
    ----------
    rotation : float
        Maximum angle in degrees, in either direction.
    scale : float
        Maximum relative change of height and of width, drawn separately.
    shear : float
        Maximum shear, relative to the height.
    shift : float
        Maximum translation, relative to height and width.
    elastic : float
        Standard deviation of the elastic deformation, relative to height and width: displacements are drawn on a grid of 5×5
        points and interpolated between them (Simard et al. 2003).
    """

    rotation: float = 15.0
    scale: float = 0.15
    shear: float = 0.15
    shift: float = 0.05
    elastic: float = 0.0

    def __post_init__(self) -> None:
        values = (self.rotation, self.scale, self.shear, self.shift, self.elastic)
        if not all(math.isfinite(value) and value >= 0 for value in values) or self.scale >= 1:
            raise ParameterError(f"{self}; allowed: finite numbers >= 0, and a scale below 1.")

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        count = len(images)

        def uniform(limit: float, *shape: int) -> Tensor:
            return (2 * torch.rand(count, *shape, generator=generator, device=images.device, dtype=torch.float32) - 1) * limit

        angle, shear = uniform(math.radians(self.rotation)), uniform(self.shear)
        scale_x, scale_y = 1 / (1 + uniform(self.scale)), 1 / (1 + uniform(self.scale))
        rotation = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], 1).view(-1, 2, 2)
        zero = images.new_zeros(count)
        scaling = torch.stack([scale_x, shear, zero, scale_y], 1).view(-1, 2, 2)
        theta = torch.cat([rotation @ scaling, uniform(2 * self.shift, 2, 1)], 2)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        if self.elastic:
            knots = torch.randn(count, 2, _KNOTS * _KNOTS, generator=generator, device=images.device, dtype=torch.float32) * (
                2 * self.elastic
            )
            field = (knots @ _bases(images.shape[2], images.shape[3]).to(images.device)).view(count, 2, *images.shape[2:])
            grid = grid + field.permute(0, 2, 3, 1)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@functools.lru_cache(maxsize=8)
def _order(count: int, seed: int, inverted: bool) -> Tensor:
    """Source index of each of `count` pixels."""
    order = np.random.RandomState(seed).permutation(count)
    return torch.from_numpy(np.argsort(order) if inverted else order)


@dataclass(frozen=True)
class Permutation(Corruption):
    """Permute the pixels of every image in the same fixed order; all channels of a pixel move together.

    In rows of features it permutes the features. The order is that of numpy's `RandomState(seed).permutation`, a stream that
    numpy has frozen, so that a saved model gives the same permutation everywhere.

    Parameters
    ----------
    seed : int in 0..2**32 - 1
    inverted : bool
        Apply the inverse permutation instead.

    Examples
    --------
    >>> import numpy as np, hourglass as hg
    >>> images = np.random.default_rng(0).random((2, 5, 7, 3), dtype=np.float32)
    >>> scrambled = hg.Permutation(3)(images)
    >>> np.array_equal(scrambled, images), np.array_equal(hg.Permutation(3).inverse(scrambled), images)
    (False, True)
    """

    is_random: ClassVar[bool] = False

    seed: int = 0
    inverted: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_integer("seed", self.seed, 0, _MAX_SEED))
        object.__setattr__(self, "inverted", check_flag("inverted", self.inverted))

    @property
    def inverse(self) -> Permutation:
        return Permutation(self.seed, not self.inverted)

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        pixels = images.flatten(2) if images.ndim > 2 else images
        order = _order(pixels.shape[-1], self.seed, self.inverted).to(images.device)
        return pixels.index_select(-1, order).reshape(images.shape)


@dataclass(frozen=True)
class Rotation(Corruption):
    """Rotate images counter-clockwise about their centre at constant size, with border padding.

    Half turns, and quarter turns of square images, are exact. Other angles use bilinear interpolation and lose the corners,
    which the inverse rotation cannot restore. Rows of features have no geometry and stay unchanged.

    Parameters
    ----------
    angle : float
        In degrees; negative angles rotate clockwise.
    """

    is_random: ClassVar[bool] = False

    angle: float = 90.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.angle):
            raise ParameterError(f"angle={self.angle!r}; allowed: any finite number of degrees.")
        object.__setattr__(self, "angle", float(self.angle))  # JSON cannot hold numpy scalars

    @property
    def inverse(self) -> Rotation:
        return Rotation(-self.angle)

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        height, width = images.shape[2:]
        if self.angle % (90 if height == width else 180) == 0:
            return torch.rot90(images, int(self.angle % 360 // 90), (2, 3)).contiguous()
        angle = math.radians(self.angle % 360)
        cos, sin = math.cos(angle), math.sin(angle)
        # affine_grid scales height and width to -1..1 each; a rotation is one in pixels.
        theta = images.new_tensor([[cos, -sin * height / width, 0], [sin * width / height, cos, 0]])
        grid = F.affine_grid(theta[None], [1, *images.shape[1:]], align_corners=False)  # one for all images
        return F.grid_sample(images, grid.expand(len(images), -1, -1, -1), padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Flip(Corruption):
    """Mirror images left to right, or top to bottom; its own inverse. Rows of features stay unchanged.

    Parameters
    ----------
    vertical : bool
        Mirror top to bottom.
    """

    is_random: ClassVar[bool] = False

    vertical: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "vertical", check_flag("vertical", self.vertical))

    @property
    def inverse(self) -> Flip:
        return self

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images.clone() if images.ndim < 4 else images.flip(2 if self.vertical else 3)

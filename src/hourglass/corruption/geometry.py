"""Changes of where things lie in an image."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import Corruption, check_flag, check_whole
from hourglass.errors import ParameterError

_KNOTS = 5
_LARGEST_SEED = 2**32 - 1  # that numpy's RandomState takes


@functools.cache
def _bases(height: int, width: int) -> Tensor:
    """What each of 5×5 displacements does to each pixel, bicubic: (25, height · width). One product is faster than resizing."""
    each = torch.eye(_KNOTS * _KNOTS, dtype=torch.float32).view(-1, 1, _KNOTS, _KNOTS)
    return F.interpolate(each, size=(height, width), mode="bicubic", align_corners=True).view(_KNOTS * _KNOTS, -1)


@dataclass(frozen=True)
class Warp(Corruption):
    """Turn, resize, shear, shift and bend each image by its own chance; what comes in from outside repeats the border.

    Rows of features have no geometry and stay as they are.

    Parameters
    ----------
    rotation : float
        Largest angle in degrees, to either side.
    scale : float
        Largest change of size, as a share, height and width apart.
    shear : float
        Largest slant, as a share of the height.
    shift : float
        Largest shift, as a share of each side.
    elastic : float
        Standard deviation of the bending, as a share of each side: displacements are drawn on a grid of 5×5 points and smooth
        between them (Simard et al. 2003).
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

        def drawn(limit: float, *shape: int) -> Tensor:
            return (2 * torch.rand(count, *shape, generator=generator, device=images.device, dtype=torch.float32) - 1) * limit

        angle, slant = drawn(math.radians(self.rotation)), drawn(self.shear)
        wide, high = 1 / (1 + drawn(self.scale)), 1 / (1 + drawn(self.scale))
        turn = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], 1).view(-1, 2, 2)
        zero = images.new_zeros(count)
        stretch = torch.stack([wide, slant, zero, high], 1).view(-1, 2, 2)
        theta = torch.cat([turn @ stretch, drawn(2 * self.shift, 2, 1)], 2)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        if self.elastic:
            coarse = torch.randn(count, 2, _KNOTS * _KNOTS, generator=generator, device=images.device, dtype=torch.float32) * (
                2 * self.elastic
            )
            bend = (coarse @ _bases(images.shape[2], images.shape[3]).to(images.device)).view(count, 2, *images.shape[2:])
            grid = grid + bend.permute(0, 2, 3, 1)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@functools.lru_cache(maxsize=8)
def _order(count: int, seed: int, inverted: bool) -> Tensor:
    """Which of `count` pixels comes to each place."""
    order = np.random.RandomState(seed).permutation(count)
    return torch.from_numpy(np.argsort(order) if inverted else order)


@dataclass(frozen=True)
class Permutation(Corruption):
    """Put all pixels in one fixed order, the same for every image; all channels of a pixel go together.

    In rows of features, the features are what is put in order. The order is that of numpy's `RandomState(seed).permutation`,
    a stream that numpy has frozen, so that a saved model permutes alike everywhere.

    Parameters
    ----------
    seed : int in 0..2**32 - 1
    inverted : bool
        Bring the pixels back instead.

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
        object.__setattr__(self, "seed", check_whole("seed", self.seed, 0, _LARGEST_SEED))
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
    """Turn images about their middle, counter-clockwise; they keep their size, and what comes in repeats the border.

    A half turn is exact, and so is a quarter turn of a square image. Any other is interpolated (bilinear) and loses the
    corners, which its inverse, the turn back, cannot restore. Rows of features have no geometry and stay as they are.

    Parameters
    ----------
    angle : float
        In degrees; below 0 is clockwise.
    """

    is_random: ClassVar[bool] = False

    angle: float = 90.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.angle):
            raise ParameterError(f"angle={self.angle!r}; allowed: any finite number of degrees.")
        object.__setattr__(self, "angle", float(self.angle))  # JSON takes no numpy numbers

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
        # The grid measures each side from -1 to 1; a turn is one in pixels.
        theta = images.new_tensor([[cos, -sin * height / width, 0], [sin * width / height, cos, 0]])
        grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Flip(Corruption):
    """Mirror images left to right, or top to bottom; its own inverse. Rows of features stay as they are.

    Parameters
    ----------
    vertical : bool
        Top to bottom.
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

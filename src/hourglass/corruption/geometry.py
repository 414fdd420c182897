"""Changes of where things lie in an image."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import Corruption
from hourglass.errors import ParameterError

_KNOTS = 5


@functools.cache
def _bases(height: int, width: int) -> Tensor:
    """What each of 5×5 displacements does to each pixel, bicubic: (25, height · width). One product is faster than resizing."""
    each = torch.eye(_KNOTS * _KNOTS).view(-1, 1, _KNOTS, _KNOTS)
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
            return (2 * torch.rand(count, *shape, generator=generator) - 1) * limit

        angle, slant = drawn(math.radians(self.rotation)), drawn(self.shear)
        wide, high = 1 / (1 + drawn(self.scale)), 1 / (1 + drawn(self.scale))
        turn = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], 1).view(-1, 2, 2)
        zero = torch.zeros(count)
        stretch = torch.stack([wide, slant, zero, high], 1).view(-1, 2, 2)
        theta = torch.cat([turn @ stretch, drawn(2 * self.shift, 2, 1)], 2)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        if self.elastic:
            coarse = torch.randn(count, 2, _KNOTS * _KNOTS, generator=generator) * (2 * self.elastic)
            bend = (coarse @ _bases(images.shape[2], images.shape[3])).view(count, 2, *images.shape[2:])
            grid = grid + bend.permute(0, 2, 3, 1)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

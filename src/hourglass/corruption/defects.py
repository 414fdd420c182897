"""Synthetic defects of surfaces and parts: scratches, spots, stains, misplaced, missing and blurred regions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import (
    Corruption,
    Range,
    check_fraction,
    check_range,
    check_whole_range,
    draw_fractions,
    draw_whole,
)
from hourglass.errors import ParameterError


class Kind(NamedTuple):
    """How defects of a kind look; of a range each defect draws its own.

    Attributes
    ----------
    length : (low, high)
        Half the length, as a share of the range between the least and the largest (on a logarithmic scale).
    aspect : (low, high)
        Width over length.
    roughness : (low, high)
        How far noise displaces the border, relative to the width.
    softness : (low, high)
        Share of the width over which the border fades.
    opacity : (low, high)
    filling : {"shift", "flat", "elsewhere", "blurred"}
        What is inside: pixels that are darker or lighter by up to the contrast; an even grey; another place of the image; the
        same pixels, blurred.
    """

    length: tuple[float, float]
    aspect: tuple[float, float]
    roughness: tuple[float, float]
    softness: tuple[float, float]
    opacity: tuple[float, float]
    filling: str


_FILLINGS = ("shift", "flat", "elsewhere", "blurred")
DEFECTS: dict[str, Kind] = {
    "scratch": Kind((0.3, 1.0), (0.01, 0.12), (0.0, 0.6), (0.1, 0.8), (0.4, 1.0), "shift"),
    "spot": Kind((0.0, 0.5), (0.4, 1.0), (0.0, 0.8), (0.1, 0.6), (0.4, 1.0), "shift"),
    "stain": Kind((0.4, 1.0), (0.3, 1.0), (0.3, 1.0), (0.3, 1.0), (0.2, 0.7), "shift"),
    "misplaced": Kind((0.2, 1.0), (0.2, 1.0), (0.0, 0.8), (0.02, 0.2), (0.6, 1.0), "elsewhere"),
    "missing": Kind((0.2, 1.0), (0.3, 1.0), (0.0, 1.0), (0.02, 0.2), (0.7, 1.0), "flat"),
    "blurred": Kind((0.4, 1.0), (0.3, 1.0), (0.0, 0.8), (0.1, 0.5), (1.0, 1.0), "blurred"),
}
_MOST = 100
_LARGEST = 10_000.0  # pixels
_KNOTS = 32  # of the noise that roughens borders, in height and width
_BLUR = 9  # pixels


@dataclass(frozen=True)
class Defects(Corruption):
    """Draw synthetic defects onto images: elongated or round marks with rough, soft borders.

    A network that learns to undo them on normal images restores defects that it has never seen, and so finds them; as RIAD,
    CutPaste and DRAEM do (Zavrtanik et al. 2021; Li et al. 2021). Rows of features have no geometry and stay unchanged.

    Parameters
    ----------
    count : int or (low, high)
        Number of defects; of a range each image draws its own, uniformly.
    size : (low, high)
        Half the length of a defect in pixels, drawn on a logarithmic scale; at most half the image.
    contrast : float in 0..1
        Largest change of brightness of scratches, spots and stains.
    kinds : one or a tuple of {"scratch", "spot", "stain", "misplaced", "missing", "blurred"}
        Each defect is of one of them, with equal probability.
    """

    count: Range = (0, 3)
    size: Range = (2.0, 40.0)
    contrast: float = 0.5
    kinds: str | tuple[str, ...] = tuple(DEFECTS)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", check_whole_range("count", self.count, 0, _MOST))
        object.__setattr__(self, "size", check_range("size", self.size, 0.5, _LARGEST))
        check_fraction("contrast", self.contrast)
        kinds = (self.kinds,) if isinstance(self.kinds, str) else tuple(self.kinds)
        if not kinds or not set(kinds) <= set(DEFECTS):
            raise ParameterError(f"kinds={self.kinds!r}; allowed: some of {', '.join(DEFECTS)}.")
        object.__setattr__(self, "kinds", kinds)

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        counts = torch.as_tensor(draw_whole(self.count, images, generator), device=images.device)
        result = images.clone()
        for number in range(int(self.count[1] if isinstance(self.count, tuple) else self.count)):
            result = torch.where(counts > number, self._marked(result, generator), result)
        return result

    def _marked(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Each image with one defect more."""
        kinds = [DEFECTS[name] for name in self.kinds]
        chosen = (draw_fractions(images, generator).flatten() * len(kinds)).long().clamp_(max=len(kinds) - 1)

        def between(field: str) -> Tensor:
            ends = torch.tensor([getattr(kind, field) for kind in kinds], device=images.device)[chosen]
            share = draw_fractions(images, generator).flatten()
            return (ends[:, 0] + share * (ends[:, 1] - ends[:, 0]))[:, None, None]

        mask = self._mask(images, between, generator)
        mask = mask.mul_(between("opacity"))[:, None]
        fillings = self._fillings(images, generator)
        place = torch.tensor([_FILLINGS.index(kind.filling) for kind in kinds], device=images.device)[chosen]
        filling = fillings.gather(0, place.view(1, -1, 1, 1, 1).expand(1, *images.shape))[0]
        return (images + mask * (filling - images)).clamp_(0, 1)

    def _mask(self, images: Tensor, between: Callable[[str], Tensor], generator: torch.Generator) -> Tensor:
        """How far each pixel belongs to the defect: (n, h, w) in 0..1.

        The distance to its centre along and across an axis of random direction, in half its length and width, less than 1.
        """
        height, width = images.shape[2:]
        low, high = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        high = max(low, min(high, max(height, width) / 2))
        length = low * (high / low) ** between("length")
        across = (length * between("aspect")).clamp_(min=0.7)  # thinner lines fall between pixels
        row, column, angle, bend, coarseness = (draw_fractions(images, generator)[:, 0] for _ in range(5))
        y = torch.arange(height, device=images.device)[:, None] - height * row
        x = torch.arange(width, device=images.device) - width * column
        cos, sin = torch.cos(math.pi * angle), torch.sin(math.pi * angle)
        along = (x * cos + y * sin) / length
        aside = (y * cos - x * sin - 0.6 * (bend - 0.5) * length * along.square()) / across
        distance = (along.square() + aside.square()).sqrt() + between("roughness") * self._noise(images, coarseness, generator)
        return ((1 - distance) / between("softness")).clamp_(0, 1)

    def _noise(self, images: Tensor, coarseness: Tensor, generator: torch.Generator) -> Tensor:
        """Smooth noise (n, h, w) of deviation about 1, whose knots are 2 to 16 pixels apart."""
        n, _, height, width = images.shape
        knots = torch.randn(n, 1, _KNOTS, _KNOTS, generator=generator, device=images.device, dtype=torch.float32)
        apart = 2 * 8**coarseness
        y = torch.arange(height, device=images.device)[:, None] / apart
        x = torch.arange(width, device=images.device) / apart
        grid = torch.stack([x.expand(n, height, width), y.expand(n, height, width)], dim=3)
        grid = 2 * grid / _KNOTS - 1  # beyond the knots, reflected
        return F.grid_sample(knots, grid, padding_mode="reflection", align_corners=False)[:, 0]

    def _fillings(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """What may be inside, in the order of `_FILLINGS`: (4, n, c, h, w)."""
        n, channels = images.shape[:2]
        sign, strength, noise, row, column = (draw_fractions(images, generator) for _ in range(5))
        grain = torch.randn(images.shape, generator=generator, device=images.device, dtype=torch.float32)
        shift = torch.where(sign < 0.6, -self.contrast, self.contrast) * (0.1 + 0.9 * strength)
        flat = torch.rand(n, channels, 1, 1, generator=generator, device=images.device, dtype=torch.float32)
        blurred = F.avg_pool2d(images, _BLUR, 1, padding=_BLUR // 2, count_include_pad=False)
        return torch.stack(
            [
                images + shift + 0.15 * self.contrast * noise * grain,
                (flat + 0.1 * noise * grain).expand_as(images),
                self._elsewhere(images, row, column),
                blurred,
            ]
        )

    def _elsewhere(self, images: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """The image itself, rotated by 180° and shifted cyclically."""
        n, _, height, width = images.shape
        rows = (row.flatten()[:, None] * height).long() - torch.arange(height, device=images.device)
        columns = (column.flatten()[:, None] * width).long() - torch.arange(width, device=images.device)
        image = torch.arange(n, device=images.device)[:, None, None]
        return images[image, :, rows[:, :, None] % height, columns[:, None, :] % width].movedim(3, 1)

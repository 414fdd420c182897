"""Artefacts of JPEG compression."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hourglass.corruption.base import Corruption, Range, check_flag, check_whole_range, draw_whole

# Steps of quantisation at quality 50, row by row (ITU-T T.81, tables K.1 and K.2).
_LUMA = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
_CHROMA = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
"""
# Y, Cb and Cr of R, G and B (JFIF 1.02), and back.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


@dataclass(frozen=True)
class JPEG(Corruption):
    """Compress by JPEG and decode: 8×8 blocks, and in colour coarse chroma. Levels are those of 8 bits.

    It follows the standard (ITU-T T.81) and the choices of libjpeg, on the device of the images and for a whole batch: on grey
    images the result is Pillow's but for rounding. Three channels are red, green and blue; of any other number each is
    compressed as a grey image. Rows of features stay unchanged.

    Parameters
    ----------
    quality : int or (low, high)
        Of libjpeg, 1..100; of a range each image draws its own, uniformly.
    subsample : bool
        Halve height and width of chroma (4:2:0), as most JPEG files do.

    Examples
    --------
    >>> import numpy as np, hourglass as hg
    >>> hg.JPEG(quality=10)(np.random.default_rng(0).random((1, 32, 32, 3))).shape
    (1, 32, 32, 3)
    """

    quality: Range = (10, 60)
    subsample: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "quality", check_whole_range("quality", self.quality, 1, 100))
        object.__setattr__(self, "subsample", check_flag("subsample", self.subsample))

    @property
    def is_random(self) -> bool:
        return isinstance(self.quality, tuple)

    @property
    def clips(self) -> bool:
        return True

    def corrupt(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim < 4:
            return images.clone()
        quality = torch.as_tensor(draw_whole(self.quality, images, generator), device=images.device, dtype=torch.float32)
        levels = images.mul(255).round_().clamp_(0, 255)
        if images.shape[1] == 3:
            return self._coloured(levels, quality).mul_(1 / 255)
        return _coded(levels, _steps(_LUMA, quality)).mul_(1 / 255)

    def _coloured(self, levels: Tensor, quality: Tensor) -> Tensor:
        """Red, green and blue levels (n, 3, h, w) after compression as luma and chroma."""
        height, width = levels.shape[2:]
        planes = _mixed(levels, _TO_YCC)
        luma, chroma = planes[:, :1].round(), planes[:, 1:].add(128).round_()
        if self.subsample:  # libjpeg repeats columns before it averages them, and rows afterwards, in `_coded`
            chroma = F.pad(chroma, (0, -width % 16, 0, height % 2), mode="replicate")
            chroma = _rounded(F.avg_pool2d(chroma, 2), 0.25, 0.5)
        luma, chroma = _coded(luma, _steps(_LUMA, quality)), _coded(chroma, _steps(_CHROMA, quality))
        if self.subsample:
            chroma = chroma[:, :, : (height + 1) // 2, : (width + 1) // 2]
            chroma = _rounded(F.interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False), 8 / 16, 7 / 16)
        decoded = torch.cat([luma, chroma[:, :, :height, :width] - 128], 1)
        return _mixed(decoded, _TO_RGB).round_().clamp_(0, 255)


def _coded(levels: Tensor, steps: Tensor) -> Tensor:
    """Planes (n, c, h, w) of levels in 0..255 after quantisation of their blocks' DCT by `steps` (n or 1, 1, 64, 1).

    As in libjpeg, coefficients are first rounded to eighths, and halves of a step away from 0.
    """
    height, width = levels.shape[2:]
    padded = F.pad(levels, (0, -width % 8, 0, -height % 8), mode="replicate").sub_(128)
    blocks = F.pixel_unshuffle(padded[:, :, None], 8)  # (n, c, 64, h / 8, w / 8)
    transform = _dct().to(levels.device)
    eighths = (8 * transform @ blocks.flatten(3)).round_()
    coefficients = eighths.div_(steps * (8 - 1e-4)).round_().mul_(steps)
    decoded = F.pixel_shuffle((transform.T @ coefficients).view(blocks.shape), 8)[:, :, 0]
    return decoded[..., :height, :width].add(128).round_().clamp_(0, 255)


def _steps(table: str, quality: Tensor) -> Tensor:
    """Steps of quantisation (n or 1, 1, 64, 1) for a quality per image, or one for all: libjpeg's scale, in integers."""
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality).view(-1, 1, 1, 1)
    base = torch.tensor([float(step) for step in table.split()], device=quality.device, dtype=torch.float32)
    return ((base[:, None] * percent + 50) / 100).floor_().clamp_(1, 255)


@functools.cache
def _dct() -> Tensor:
    """The orthonormal DCT-II of a block of 8×8 as a matrix (64, 64)."""
    places = torch.arange(8, device="cpu", dtype=torch.float64)
    rows = torch.cos((2 * places + 1) * places[:, None] * (math.pi / 16)) / 2
    rows[0] /= math.sqrt(2)
    return torch.kron(rows, rows).float()


def _rounded(planes: Tensor, *shares: float) -> Tensor:
    """Planes rounded down after adding one share in even columns, the other in odd ones: libjpeg's way to leave no bias."""
    columns = torch.tensor(shares, device=planes.device, dtype=torch.float32).repeat(planes.shape[3] // 2 + 1)
    return planes.add_(columns[: planes.shape[3]]).floor_()


def _mixed(planes: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Planes (n, 3, h, w) as other mixtures of the three."""
    weights = torch.tensor(matrix, device=planes.device, dtype=torch.float32)
    return (weights @ planes.flatten(2)).view(planes.shape)

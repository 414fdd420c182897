"""Structural similarity (SSIM; Wang et al. 2004) of images in 0..1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

SIGMA = 1.5
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2  # K1 and K2, squared, for a data range of 1

LocalMean = Callable[[Tensor], Tensor]
"""From images to the weighted mean of each window."""


def similarity_maps(images: Tensor, others: Tensor, local_mean: LocalMean) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, of every window, as `local_mean` has them; SSIM is the mean of their product."""
    mean_x, mean_y = local_mean(images), local_mean(others)
    variance_x = local_mean(images**2) - mean_x**2
    variance_y = local_mean(others**2) - mean_y**2
    covariance = local_mean(images * others) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _LUMINANCE) / (mean_x**2 + mean_y**2 + _LUMINANCE)
    structure = (2 * covariance + _CONTRAST) / (variance_x + variance_y + _CONTRAST)
    return luminance, structure


def padded_mean(like: Tensor) -> LocalMean:
    """Gaussian means of images (n, c, h, w) shaped as `like`, padded by reflection: as many windows as pixels."""
    sigma, channels = ssim_deviation(like.shape[-2:]), like.shape[1]
    kernel = gaussian(sigma, like)
    radius = len(kernel) // 2
    column, row = (kernel.view(shape).repeat(channels, 1, 1, 1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))

    def local_mean(values: Tensor) -> Tensor:
        padded = F.pad(values, (radius, radius, radius, radius), mode="reflect")
        return F.conv2d(F.conv2d(padded, column, groups=channels), row, groups=channels)

    return local_mean


def gaussian(sigma: float, like: Tensor) -> Tensor:
    """Weights of a Gaussian window, which sum to 1, of the type and on the device of `like`; 11 of them for `SIGMA`."""
    radius = int(3.5 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def ssim_deviation(size: Sequence[int]) -> float:
    """Sigma of SSIM's Gaussian window in pixels: 1.5, or less if reflection padding would not fit in a smaller image."""
    return min(SIGMA, max(0.1, (min(size) - 1) / 3.5))

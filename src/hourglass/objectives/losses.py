"""Reconstruction losses: pure functions (reconstructions, targets) -> scalar, the mean over all values of the batch.

Both arguments are float32 of shape (n, c, h, w) or (n, features); losses in `NEED_UNIT_RANGE` expect values in 0..1. Each loss
averages within a sample first, because the rounding of one sum over the batch depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(reconstructions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error, in squared pixel units."""
    return _mean(F.mse_loss(reconstructions, targets, reduction="none"))


def mae(reconstructions: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error, in pixel units; less sensitive to outliers than `mse`."""
    return _mean(F.l1_loss(reconstructions, targets, reduction="none"))


def bce(reconstructions: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy in nats per value, for targets in 0..1; clamps reconstructions to [1e-7, 1 - 1e-7].

    Unlike `torch.nn.functional.binary_cross_entropy`, it returns NaN where a diverging network does and does not raise.
    """
    probabilities = reconstructions.clamp(1e-7, 1 - 1e-7)
    return -_mean(targets * probabilities.log() + (1 - targets) * (1 - probabilities).log())


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1).mean()


def ssim(reconstructions: Tensor, targets: Tensor) -> Tensor:
    """1 - SSIM, in 0..2 (Wang et al. 2004: Gaussian window of size 11 and sigma 1.5, K = 0.01 and 0.03, data range 1).

    Needs images. Borders are padded by reflection; the window shrinks if the height or width is below 6 pixels.
    """
    sigma = ssim_deviation(targets.shape[-2:])
    radius = int(3.5 * sigma + 0.5)
    channels = targets.shape[1]
    offsets = torch.arange(-radius, radius + 1, dtype=targets.dtype, device=targets.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    column, row = (kernel.view(shape).repeat(channels, 1, 1, 1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))

    def local_mean(images: Tensor) -> Tensor:
        padded = F.pad(images, (radius, radius, radius, radius), mode="reflect")
        return F.conv2d(F.conv2d(padded, column, groups=channels), row, groups=channels)

    mean_x, mean_y = local_mean(reconstructions), local_mean(targets)
    variance_x = local_mean(reconstructions**2) - mean_x**2
    variance_y = local_mean(targets**2) - mean_y**2
    covariance = local_mean(reconstructions * targets) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)
    return 1 - _mean(luminance * structure)


def ssim_deviation(size: Sequence[int]) -> float:
    """Sigma of SSIM's Gaussian window in pixels: 1.5, or less if reflection padding would not fit in a smaller image."""
    return min(1.5, max(0.1, (min(size) - 1) / 3.5))


LOSSES: dict[str, Loss] = {"mse": mse, "bce": bce, "mae": mae, "ssim": ssim}
NEED_UNIT_RANGE = {"bce"}
NEED_IMAGES = {"ssim"}

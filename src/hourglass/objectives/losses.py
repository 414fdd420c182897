"""Reconstruction losses: pure functions (reconstructions, targets) -> a scalar, the mean over every value of the batch.

Both arguments are float32 of shape (n, c, h, w) or (n, features), in 0..1 where the loss needs it. Means are taken sample by
sample first: how one sum over all is shared among threads, and so its bits, depends on their number.
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
    """Mean absolute error, in pixel units; less drawn to outliers than `mse`."""
    return _mean(F.l1_loss(reconstructions, targets, reduction="none"))


def bce(reconstructions: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy in nats a value, for targets in 0..1; reconstructions are clamped to 1e-7 from 0 and 1.

    `torch.nn.functional.binary_cross_entropy` is the same, but raises where a diverging network answers NaN.
    """
    made = reconstructions.clamp(1e-7, 1 - 1e-7)
    return -_mean(targets * made.log() + (1 - targets) * (1 - made).log())


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1).mean()


def ssim(reconstructions: Tensor, targets: Tensor) -> Tensor:
    """1 - SSIM, in 0..2 (Wang et al. 2004: Gaussian window of 11 and deviation 1.5, K = 0.01 and 0.03, range 1).

    Needs images. The border is mirrored; in images with a side below 6 pixels the window is smaller.
    """
    deviation = ssim_deviation(targets.shape[-2:])
    reach = int(3.5 * deviation + 0.5)
    channels = targets.shape[1]
    position = torch.arange(-reach, reach + 1, dtype=targets.dtype, device=targets.device)
    bell = torch.exp(-(position**2) / (2 * deviation**2))
    bell = bell / bell.sum()
    column, row = (bell.view(shape).repeat(channels, 1, 1, 1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))

    def local_mean(images: Tensor) -> Tensor:
        mirrored = F.pad(images, (reach, reach, reach, reach), mode="reflect")
        return F.conv2d(F.conv2d(mirrored, column, groups=channels), row, groups=channels)

    mean_x, mean_y = local_mean(reconstructions), local_mean(targets)
    variance_x = local_mean(reconstructions**2) - mean_x**2
    variance_y = local_mean(targets**2) - mean_y**2
    covariance = local_mean(reconstructions * targets) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)
    return 1 - _mean(luminance * structure)


def ssim_deviation(size: Sequence[int]) -> float:
    """The deviation of SSIM's Gaussian window in pixels: 1.5, or what still lets the mirrored border fit in a smaller image."""
    return min(1.5, max(0.1, (min(size) - 1) / 3.5))


LOSSES: dict[str, Loss] = {"mse": mse, "bce": bce, "mae": mae, "ssim": ssim}
NEED_UNIT_RANGE = {"bce"}
NEED_IMAGES = {"ssim"}

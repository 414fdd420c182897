"""Reconstruction losses: pure functions (reconstructions, targets) -> scalar, the mean over all values of the batch.

Both arguments are float32 of shape (n, c, h, w) or (n, features); losses in `NEED_UNIT_RANGE` expect values in 0..1. Each loss
averages within a sample first, because the rounding of one sum over the batch depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from hourglass.objectives.similarity import padded_mean, similarity_maps

Loss = Callable[[Tensor, Tensor], Tensor]
_STRUCTURE = 0.84  # weight of SSIM beside the mean absolute error


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
    luminance, structure = similarity_maps(reconstructions, targets, padded_mean(targets))
    return 1 - _mean(luminance * structure)


def mixed(reconstructions: Tensor, targets: Tensor) -> Tensor:
    """0.84 (1 - SSIM) + 0.16 MAE, in 0..1.84 for values in 0..1 (Zhao et al. 2017): sharper than `mse`, and truer in brightness
    than `ssim` alone.

    The paper takes MS-SSIM; `ssim` has one scale, so that images and crops may be small. Needs images.
    """
    return _STRUCTURE * ssim(reconstructions, targets) + (1 - _STRUCTURE) * mae(reconstructions, targets)


LOSSES: dict[str, Loss] = {"mse": mse, "bce": bce, "mae": mae, "ssim": ssim, "mixed": mixed}
NEED_UNIT_RANGE = {"bce"}
NEED_IMAGES = {"ssim", "mixed"}

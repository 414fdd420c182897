"""Metrics of reconstructions against their targets."""

from __future__ import annotations

import math
import warnings
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from hourglass.errors import DataError
from hourglass.images import Array, Sample, to_float
from hourglass.objectives import ssim_deviation

_BATCH = 100  # larger batches take more memory and are not faster


class Metrics(TypedDict):
    """mse: mean squared error in squared units of 0..1; psnr: dB, from that error; ssim: -1..1, the mean over images."""

    mse: float
    psnr: float
    ssim: float


def image_metrics(reconstructions: Array, images: Array) -> Metrics:
    """MSE, PSNR and SSIM of `reconstructions` against `images`.

    Parameters
    ----------
    reconstructions, images : ndarray of shape (n, h, w) or (n, h, w, c), uint8 or float in 0..1

    Returns
    -------
    Metrics
        PSNR = 10 log10(1 / MSE) over all pixels of all images; SSIM of Wang et al. (2004), by torchmetrics, with a Gaussian
        window of 11 pixels, or smaller if the height or width is below 6 pixels.

    Raises
    ------
    DataError
        If the shapes differ.
    """
    if reconstructions.shape != images.shape:
        raise DataError(f"reconstructions have shape {reconstructions.shape} and images {images.shape}; they must agree.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # raised inside torchmetrics' own imports
        from torchmetrics.functional.image import structural_similarity_index_measure

    sample = Sample(images.shape[1:])
    sigma = ssim_deviation(images.shape[1:3])
    squares, similarity = 0.0, 0.0
    for start in range(0, len(images), _BATCH):
        predictions, targets = (_tensor(array[start : start + _BATCH], sample) for array in (reconstructions, images))
        squares += float(((predictions - targets).double() ** 2).sum())
        scores = structural_similarity_index_measure(predictions, targets, sigma=sigma, data_range=1.0, reduction="sum")
        assert isinstance(scores, Tensor)  # it is a tuple only with return_full_image
        similarity += float(scores)
    mse = squares / images.size
    return Metrics(mse=mse, psnr=-10 * math.log10(mse) if mse else math.inf, ssim=similarity / len(images))


def _tensor(images: Array, sample: Sample) -> Tensor:
    return torch.from_numpy(sample.to_network(to_float(np.asarray(images))))

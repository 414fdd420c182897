"""Metrics of reconstructions against their targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hourglass.errors import DataError
from hourglass.images import Array, Sample, to_float
from hourglass.notes import quiet
from hourglass.objectives import SIGMA, gaussian, padded_mean, similarity_maps, ssim_deviation

_BATCH = 100  # larger batches take more memory and are not faster
_WINDOW = 11  # height and width of SSIM's window, in pixels
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, from full resolution on
_STRIP = 1 << 17  # windows computed at a time


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
    _check_shapes(reconstructions, images)
    with quiet():  # raised inside torchmetrics' own imports
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
    return Metrics(mse=mse, psnr=decibels(mse), ssim=similarity / len(images))


def squared_error(outputs: Array, targets: Array) -> float:
    """Mean squared error over all values, uint8 or floats in 0..1, in squared units of 0..1. Raises DataError."""
    _check_shapes(outputs, targets)
    return float(np.square(to_float(outputs) - to_float(targets), dtype=np.float64).mean())


def psnr(outputs: Array, targets: Array) -> float:
    """PSNR in dB over all values, uint8 or floats in 0..1; infinite if they are equal. Raises DataError."""
    return decibels(squared_error(outputs, targets))


def decibels(mse: float) -> float:
    """PSNR in dB of a mean squared error in squared units of 0..1; infinite for 0."""
    return -10 * math.log10(mse) if mse else math.inf


def _check_shapes(reconstructions: Array, images: Array) -> None:
    if reconstructions.shape != images.shape:
        raise DataError(f"reconstructions have shape {reconstructions.shape} and images {images.shape}; they must agree.")


def _tensor(images: Array, sample: Sample) -> Tensor:
    return torch.from_numpy(sample.to_network(to_float(np.asarray(images))))


class Quality(TypedDict):
    """Fidelity of one image.

    psnr: dB, infinite for equal images; ssim: -1..1; ms_ssim: 0..1, None below 176 pixels of height or width.
    """

    psnr: float
    ssim: float
    ms_ssim: float | None


def image_quality(image: Array, reference: Array) -> Quality:
    """PSNR, SSIM and MS-SSIM of one image with the literature's settings.

    PSNR is over all channels. SSIM (Wang et al. 2004) and MS-SSIM (Wang et al. 2003) are means over channels and over the
    windows inside the image: Gaussian, of 11 pixels and sigma 1.5, with K = 0.01 and 0.03. Images smaller than a window are
    padded by reflection, as in `image_metrics`.

    Parameters
    ----------
    image, reference : ndarray of shape (h, w) or (h, w, c), uint8 or float in 0..1

    Raises
    ------
    DataError
        If the shapes differ.
    """
    if image.shape != reference.shape:
        raise DataError(f"the image has shape {image.shape} and the reference {reference.shape}; they must agree.")
    scales, squares = [], 0.0
    for planes in zip(_planes(image), _planes(reference), strict=True):
        squares += float((planes[0] - planes[1]).square().sum())
        scales.append(_similarities(*planes))
    mse = squares / image.size
    has_all = len(scales[0]) == len(_SCALES)
    return Quality(
        psnr=decibels(mse),
        ssim=float(np.mean([of_plane[0][0] for of_plane in scales])),
        ms_ssim=float(np.mean([_multiscale(of_plane) for of_plane in scales])) if has_all else None,
    )


def _planes(image: Array) -> Iterator[Tensor]:
    """Yield the planes (h, w) of an image as float64 in 0..1; in float32, variances of bright areas would lose digits."""
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    for plane in planes:
        yield torch.from_numpy(plane.astype(np.float64) / (255 if image.dtype == np.uint8 else 1))


def _similarities(plane: Tensor, other: Tensor) -> list[tuple[float, float]]:
    """(SSIM, mean of contrast times structure) of two planes (h, w), at each scale of MS-SSIM in which a window fits."""
    if min(plane.shape) < _WINDOW:
        maps = similarity_maps(plane[None, None], other[None, None], padded_mean(plane[None, None]))
        return [(float((maps[0] * maps[1]).mean()), float(maps[1].mean()))]
    found: list[tuple[float, float]] = []
    while len(found) < len(_SCALES) and min(plane.shape) >= _WINDOW:
        if found:
            plane, other = (functional.avg_pool2d(one[None], 2)[0] for one in (plane, other))
        if min(plane.shape) >= _WINDOW:
            found.append(_similarity(plane, other))
    return found


def _similarity(plane: Tensor, other: Tensor) -> tuple[float, float]:
    """(SSIM, mean of contrast times structure) over the windows inside two planes, in strips that fit in the cache."""
    weights = gaussian(SIGMA, plane).tolist()

    def local_mean(values: Tensor) -> Tensor:
        for axis in (1, 0):
            length = values.shape[axis] - len(weights) + 1
            total = values.narrow(axis, 0, length) * weights[0]
            for offset, weight in enumerate(weights[1:], 1):
                total.add_(values.narrow(axis, offset, length), alpha=weight)
            values = total
        return values

    height, width = (length - len(weights) + 1 for length in plane.shape)
    n_rows = max(1, _STRIP // width)
    sums = np.zeros(2)
    for top in range(0, height, n_rows):
        rows = slice(top, min(top + n_rows, height) + len(weights) - 1)
        luminance, structure = similarity_maps(plane[rows], other[rows], local_mean)
        sums += [float((luminance * structure).sum()), float(structure.sum())]
    similarity, structure_mean = sums / (height * width)
    return float(similarity), float(structure_mean)


def _multiscale(scales: list[tuple[float, float]]) -> float:
    """MS-SSIM: luminance counts at the last scale alone; a negative mean counts as 0."""
    means = [structure for _, structure in scales[:-1]] + [scales[-1][0]]
    powers = [max(mean, 0.0) ** exponent for mean, exponent in zip(means, _SCALES, strict=True)]
    return float(np.prod(powers))

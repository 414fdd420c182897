"""Baselines of restoration, each with its best strength on training photographs: filters of scikit-image, and BM3D.

Neither package is a dependency; what is not installed is left out with a note.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hourglass.evaluation.photos.artefacts import Restore, decoded_jpeg
from hourglass.evaluation.photos.denoising import Denoise, add_noise
from hourglass.evaluation.photos.protocols import luma
from hourglass.images import Array, Float32, to_float

Filter = Callable[[Float32, float, float], Array]
"""From an image in 0..1, the standard deviation of its noise, and a strength relative to it, to a clean image."""

_N_TRAINING = 4  # photographs to choose a strength on
_SIZES = (5, 7, 9, 11, 15, 23)  # of the median filter that finds a page's background, in pixels
_CONTRAST = 0.1  # ink is darker than the background by at least this


def _total_variation(image: Float32, sigma: float, strength: float) -> Array:
    from skimage.restoration import denoise_tv_chambolle

    cleaned: Array = denoise_tv_chambolle(image, weight=strength * sigma, channel_axis=2 if image.ndim == 3 else None)
    return cleaned


def _nonlocal_means(image: Float32, sigma: float, strength: float) -> Array:
    from skimage.restoration import denoise_nl_means

    axis = 2 if image.ndim == 3 else None
    cleaned: Array = denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True, channel_axis=axis
    )
    return cleaned


FILTERS: dict[str, tuple[Filter, tuple[float, ...]]] = {
    "total variation": (_total_variation, (0.5, 0.7, 0.9, 1.1, 1.4)),
    "non-local means": (_nonlocal_means, (0.4, 0.6, 0.8, 1.0)),
}
"""Filters of scikit-image, and the strengths to choose from."""


def missing(*packages: str) -> list[str]:
    """A note for each package that is not installed, and how to get it."""
    names = {"skimage": ("scikit-image", "total variation and non-local means"), "bm3d": ("bm3d", "BM3D")}
    absent = [names[package] for package in packages if importlib.util.find_spec(package) is None]
    return [f"{what} left out: {package} is not installed; pip install {package}." for package, what in absent]


def denoisers(train: Sequence[Array], seed: int) -> dict[str, Denoise]:
    """Baselines of denoising that are installed, those of scikit-image with the best strength on the first of `train`.

    Parameters
    ----------
    train : sequence of ndarray, uint8
        Grey or coloured, as the images to clean.
    seed : int
        Of the noise on them.
    """
    methods: dict[str, Denoise] = {}
    if importlib.util.find_spec("skimage") is not None:
        methods |= {name: _tuned(filter_, strengths, train, seed) for name, (filter_, strengths) in FILTERS.items()}
    if importlib.util.find_spec("bm3d") is not None:
        is_grey = train[0].ndim == 2
        methods |= {"BM3D": _bm3d} if is_grey else {"BM3D, each channel": _bm3d, "CBM3D": _bm3d_colour}
    return methods


def _tuned(filter_: Filter, strengths: Sequence[float], train: Sequence[Array], seed: int) -> Denoise:
    clean = train[:_N_TRAINING]

    def denoise(noisy: list[Float32], sigma: float) -> list[Array]:
        strength = best_strength(filter_, strengths, add_noise(clean, 255 * sigma, seed + 1), clean, sigma)
        return [filter_(image, sigma, strength) for image in noisy]

    return denoise


def best_strength(
    filter_: Filter, strengths: Sequence[float], noisy: Sequence[Float32], clean: Sequence[Array], sigma: float
) -> float:
    """The strength with the least squared error on pairs."""
    errors = [
        sum(
            float(np.square(filter_(one, sigma, strength) - to_float(image)).mean())
            for one, image in zip(noisy, clean, strict=True)
        )
        for strength in strengths
    ]
    return strengths[int(np.argmin(errors))]


def _bm3d(noisy: list[Float32], sigma: float) -> list[Array]:
    """BM3D of each channel (Mäkinen et al. 2020)."""
    import bm3d

    def clean(image: Float32) -> Array:
        planes = image[..., None] if image.ndim == 2 else image
        cleaned = [bm3d.bm3d(planes[..., channel], sigma) for channel in range(planes.shape[2])]
        return np.stack(cleaned, axis=2).reshape(image.shape)

    return [clean(image) for image in noisy]


def _bm3d_colour(noisy: list[Float32], sigma: float) -> list[Array]:
    import bm3d

    return [np.asarray(bm3d.bm3d_rgb(image, sigma)) for image in noisy]


def jpeg_restorers(train: Sequence[Array], quality: int) -> dict[str, Restore]:
    """Filters of scikit-image for JPEG artefacts, with the best strength on the luma of the first photographs of `train`."""
    if importlib.util.find_spec("skimage") is None:
        return {}
    planes = [luma(image) for image in train[:_N_TRAINING]]
    decoded = [to_float(decoded_jpeg(plane, quality)) for plane in planes]
    errors = [np.square(one - to_float(plane)).mean() for one, plane in zip(decoded, planes, strict=True)]
    sigma = float(np.sqrt(np.mean(errors)))

    def restorer(filter_: Filter, strengths: Sequence[float]) -> Restore:
        strength = best_strength(filter_, strengths, decoded, planes, sigma)
        return lambda images: [filter_(to_float(image), sigma, strength) for image in images]

    return {name: restorer(filter_, strengths) for name, (filter_, strengths) in FILTERS.items()}


def page_restorers(noisy: Sequence[Array], clean: Sequence[Array]) -> dict[str, Restore]:
    """A page without its background, which a median filter finds; its size is the best on the first training pages."""
    from scipy.ndimage import median_filter

    def without_background(page: Array, size: int) -> Array:
        ink: Any = page < median_filter(page, size=size).astype(np.float32) - 255 * _CONTRAST
        return np.where(ink, page, 255).astype(np.uint8)

    pairs = list(zip(noisy, clean, strict=True))[:_N_TRAINING]
    errors = [
        sum(np.square(to_float(without_background(page, size)) - to_float(wanted)).mean() for page, wanted in pairs)
        for size in _SIZES
    ]
    best = _SIZES[int(np.argmin(errors))]
    return {f"background by a median of {best}×{best}": lambda pages: [without_background(page, best) for page in pages]}

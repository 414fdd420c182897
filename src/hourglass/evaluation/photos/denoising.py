"""Denoising: Gaussian noise that is neither clipped nor rounded, as in the literature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hourglass.evaluation.metrics import psnr
from hourglass.evaluation.photos.protocols import Result, Show, ignore, mean_quality, timed
from hourglass.images import Array, Float32, to_float

SIGMAS = (15, 25, 50)
"""Standard deviations of the noise, of 255."""

Denoise = Callable[[list[Float32], float], Sequence[Array]]
"""From noisy images and the standard deviation of their noise, in 0..1, to clean ones."""


def add_noise(images: Sequence[Array], sigma: float, seed: int) -> list[Float32]:
    """Return images with noise from N(0, (`sigma` / 255)²), float32 beyond 0..1.

    Images and strengths draw from generators of their own, so that a set's noise does not depend on what else is measured.
    """
    noisy = []
    for number, image in enumerate(images):
        generator = np.random.default_rng([seed, number, round(1000 * sigma)])
        noisy.append(to_float(image) + generator.normal(0, sigma / 255, image.shape).astype(np.float32))
    return noisy


def denoising_rows(
    methods: Mapping[str, Denoise],
    sets: Mapping[str, Sequence[Array]],
    sigmas: Sequence[float] = SIGMAS,
    seed: int = 0,
    show: Show = ignore,
) -> list[Result]:
    """Measure methods on the same noisy images: mean PSNR in dB, mean SSIM and seconds for each set and strength.

    Parameters
    ----------
    methods : dict of str to callable (noisy images, standard deviation in 0..1) -> images
        Their outputs are clipped and rounded to 8 bits; the noisy images themselves are not.
    sets : dict of str to sequence of ndarray (h, w) or (h, w, 3), uint8
        Clean images.
    sigmas : sequence of float
        Standard deviations of 255.
    seed : int
    show : callable (setting, method, images)
        Receives the images of each method, the noisy ones and the originals.

    Examples
    --------
    >>> import numpy as np
    >>> grey = [np.full((32, 32), 128, np.uint8)]
    >>> rows = denoising_rows({"as it is": lambda noisy, sigma: noisy}, {"grey": grey}, [25])
    >>> [row.method for row in rows]
    ['noisy input', 'as it is']
    """
    rows = []
    for name, images in sets.items():
        for sigma in sigmas:
            setting = f"{name}, σ = {sigma:g}"
            noisy = add_noise(images, sigma, seed)
            given = float(np.mean([psnr(one, image) for one, image in zip(noisy, images, strict=True)]))
            show(setting, "original", images)
            show(setting, "noisy input", noisy)
            rows.append(Result("denoise", setting, "noisy input", {"psnr": given}))
            for method, denoise in methods.items():
                outputs, seconds = timed(denoise, noisy, sigma / 255)
                values = mean_quality(outputs, images) | {"seconds": seconds / len(images)}
                rows.append(Result("denoise", setting, method, values))
                show(setting, method, outputs)
    return rows

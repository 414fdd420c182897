"""The models of the suite: which it trains, on what, and how it applies them to one image after another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from hourglass.corruption import JPEG, GaussianNoise, neighbour_pairs
from hourglass.errors import DataError, ParameterError
from hourglass.estimators import Compressor, Denoiser, Enhancer, ImageEstimator, Retriever
from hourglass.evaluation.photos.compression import Codec
from hourglass.evaluation.photos.protocols import luma
from hourglass.evaluation.photos.sets import documents, training_photographs
from hourglass.images import Array, with_channels

_NOISE = GaussianNoise(0.0, std=(0.0, 55 / 255), clip=False)
_JPEG = JPEG(quality=(10, 60))
NOISY_SIGMA = 25
"""Standard deviation of the noise, of 255, of denoisers that are trained on noisy images alone."""
QUALITIES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
"""Of the compressor, on its rate-distortion curve."""

Training = tuple[ImageEstimator, tuple[Sequence[Array], ...]]
"""(estimator, what it is fitted on)"""


def grey_photographs() -> list[Array]:
    """The training photographs in grey (ITU-R 601): uint8 (h, w)."""
    return [with_channels(image[None], image.shape[:2])[0] for image in training_photographs()]


def luma_of_photographs() -> list[Array]:
    """The luma of the training photographs, as enlarging and JPEG are measured on: uint8 (h, w)."""
    return [luma(image) for image in training_photographs()]


def _pages() -> tuple[list[Array], list[Array]]:
    pages = documents()
    return pages["train noisy"], pages["train clean"]


def _noisy(kind: str) -> Training:
    """A denoiser for one strength of noise, of a quarter of the photographs: clean, noisy twice, or noisy once."""
    estimator = Denoiser(preset="photo", epochs=3)
    clean, noise = grey_photographs()[::4], GaussianNoise(0.0, NOISY_SIGMA / 255)
    if kind == "clean":
        return estimator.set_params(corruption=noise), (clean,)
    once = [noise(image[None], 2 * number)[0] for number, image in enumerate(clean)]
    if kind == "once":
        return estimator, neighbour_pairs(once)
    return estimator, (once, [noise(image[None], 2 * number + 1)[0] for number, image in enumerate(clean)])


def _enhancer(factor: int) -> Training:
    epochs = {2: 3, 3: 5, 4: 1}[factor]
    return Enhancer(factor=factor, preset="photo", reduction="bicubic", epochs=epochs), (luma_of_photographs(),)


# The epochs are those of the time that each is allowed: half an hour of two cores, ten minutes for pages.
ROLES: dict[str, Callable[[], Training]] = {
    "denoise-grey": lambda: (Denoiser(preset="photo", corruption=_NOISE, epochs=8), (grey_photographs(),)),
    "denoise-colour": lambda: (Denoiser(preset="photo", corruption=_NOISE, epochs=8), (training_photographs(),)),
    "enhance-2": lambda: _enhancer(2),
    "enhance-3": lambda: _enhancer(3),
    "enhance-4": lambda: _enhancer(4),
    "jpeg": lambda: (Denoiser(preset="photo", corruption=_JPEG, epochs=2), (luma_of_photographs(),)),
    "documents": lambda: (Denoiser(preset="photo", epochs=25), _pages()),
    "noisy-clean": lambda: _noisy("clean"),
    "noisy-twice": lambda: _noisy("twice"),
    "noisy-once": lambda: _noisy("once"),
    "compress": lambda: (Compressor(preset="photo"), (training_photographs(),)),
    "search": lambda: (Retriever(), (training_photographs(),)),
}
"""What the suite trains, by what it is for: photographs/train, and the training pages of documents."""


def role_of(model: ImageEstimator, parts: Collection[str]) -> str:
    """The role in `ROLES` of a fitted model that is to be measured, if only one among `parts` of the suite fits.

    Raises
    ------
    ParameterError
        If several fit, or none.
    """
    channels = model.sample_.channels
    roles: Mapping[str, bool] = {
        "denoise-grey": isinstance(model, Denoiser) and channels == 1,
        "denoise-colour": isinstance(model, Denoiser) and channels == 3,
        "jpeg": isinstance(model, Denoiser) and channels == 1,
        "documents": isinstance(model, Denoiser) and channels == 1,
        **{f"noisy-{kind}": isinstance(model, Denoiser) and channels == 1 for kind in ("clean", "twice", "once")},
        "compress": isinstance(model, Compressor) and channels == 3,
        "search": isinstance(model, Retriever) and channels == 3 and model.sample_.is_any_size,
        **{f"enhance-{factor}": isinstance(model, Enhancer) and model.factor == factor for factor in (2, 3, 4)},
    }
    fitting = [role for role, fits in roles.items() if fits and role.partition("-")[0] in parts]
    if len(fitting) != 1:
        found = f"it may be for {', '.join(fitting)}" if fitting else f"{', '.join(parts)} needs none of this kind"
        raise ParameterError(
            f"--model: name the role of this {model.saved_as}, as in {(fitting or list(ROLES))[0]}=FILE; {found}."
        )
    return fitting[0]


def one_by_one(model: Any, notes: list[str], part: str = "denoise") -> Callable[[Sequence[Array]], list[Array]]:
    """Return a function that restores a list of images (h, w) or (h, w, 3) of any size by a Denoiser or Enhancer.

    Noise that goes beyond 0..1 is clipped for a model that refuses it, with a note for `part` of the suite.
    """

    def restored(image: Array) -> Array:
        output: Array = model.transform([image])[0] if model.sample_.is_any_size else model.transform_image(image)
        return output

    def restore(image: Array) -> Array:
        try:
            return restored(image)
        except DataError:
            if image.dtype == np.uint8:
                raise
            note = f"{part}: the model was trained on values in 0..1, so the noisy images were clipped to them."
            if note not in notes:
                notes.append(note)
            return restored(np.clip(image, 0, 1))

    return lambda images: [restore(image) for image in images]


def as_codec(model: Any, qualities: Sequence[float] = QUALITIES) -> Codec:
    """A compressor of photographs as a codec: one file for each image and quality."""

    def decode(blob: bytes) -> Array:
        decoded = model.decompress(blob)
        return np.asarray(decoded[0] if isinstance(decoded, list) or decoded.ndim == 4 else decoded)

    return Codec(lambda image, quality: model.compress(image, quality=quality), decode, qualities)

"""Evidence that an image of any size is unusual: what the network restores, and two baselines on thumbnails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.anomaly.evidence import Evidence, Scores
from hourglass.anomaly.maps import error_maps
from hourglass.images import Array, Float32, to_float, to_uint8
from hourglass.latent import NeighbourIndex
from hourglass.trained import Trained

# Chosen by the power on synthetic defects on good magnetic tiles; so was one neighbour, rather than several.
SIDE = 24  # pixels
_COMPONENTS = 128  # of the principal subspace, at most,
_IMAGES_EACH = 4  # and training images for each
LEAST = 1e-7  # squared error: a hundredth of a grey level squared, which is rounding
LEAST_DEVIATION = 0.004  # a grey level: below it, an image is even
DEVIATIONS = 8  # of an image within 0..1


def standardised(images: Any) -> Any:
    """Each image with mean 0.5 and a deviation of at most 1/8, so that differences of light do not count: uint8.

    Values beyond four deviations are clipped. An array for an array, a list for a list of images of several sizes.
    """
    made = (_standardised(image) for image in images)
    return list(made) if isinstance(images, list) else np.stack(list(made))


def _standardised(image: Array) -> NDArray[np.uint8]:
    values = to_float(image)
    mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return to_uint8(np.clip(0.5 + (values - mean) / (DEVIATIONS * max(deviation, LEAST_DEVIATION)), 0, 1))


class Restoration(Evidence):
    """Log of the largest error on the smoothed map: a network that learned to undo synthetic defects restores real ones too."""

    def scores(self, samples: Any, model: Trained, *, without_own: bool = False) -> Scores:
        pairs = zip(samples, error_maps(samples, model), strict=True)
        return np.array([np.log(LEAST + _largest(image, errors)) for image, errors in pairs])


class Thumbnails(Evidence):
    """Evidence from thumbnails of 24 × 24 pixels, each scaled by its own mean and deviation, without the network."""

    thumbnails: Float32

    def fit(self, samples: Any, model: Trained) -> Self:
        return self.of(thumbnails_of(samples))

    def of(self, thumbnails: Float32) -> Self:
        """Learn from thumbnails (n, features), and keep them."""
        self.thumbnails = thumbnails
        return self

    def state(self) -> dict[str, Array]:
        return {"thumbnails": self.thumbnails}

    def restore(self, state: dict[str, Array], model: Trained) -> Self:
        thumbnails = np.asarray(state["thumbnails"], dtype=np.float32)
        if thumbnails.ndim != 2 or thumbnails.shape[1] != SIDE**2 * model.sample.channels or not np.isfinite(thumbnails).all():
            raise ValueError(f"thumbnails {thumbnails.shape}")
        return self.of(thumbnails)


class PrincipalResidual(Thumbnails):
    """Log of the largest residual of a pixel of the thumbnail under a PCA of training images.

    It has one component for every four images, and 128 at most.
    """

    def of(self, thumbnails: Float32) -> Self:
        self.mean = thumbnails.mean(0, dtype=np.float64)
        directions = np.linalg.svd(thumbnails - self.mean, full_matrices=False)[2]
        self.components = directions[: min(_COMPONENTS, len(thumbnails) // _IMAGES_EACH)]
        return super().of(thumbnails)

    def scores(self, samples: Any, model: Trained, *, without_own: bool = False) -> Scores:
        centred = thumbnails_of(samples) - self.mean
        residuals = centred - centred @ self.components.T @ self.components
        return _log_of_root(np.square(residuals).max(1))


class ThumbnailDistance(Thumbnails):
    """Log of the distance of the thumbnail to the nearest one of training images."""

    def of(self, thumbnails: Float32) -> Self:
        self.reference = NeighbourIndex(thumbnails)
        return super().of(thumbnails)

    def scores(self, samples: Any, model: Trained, *, without_own: bool = False) -> Scores:
        own = int(without_own and len(self.reference) > 1)
        distances = self.reference.search(thumbnails_of(samples), 1 + own)[0][:, own]
        return _log_of_root(np.square(distances, dtype=np.float64) / self.thumbnails.shape[1])


SURFACE: dict[str, type[Evidence]] = {
    "restoration": Restoration,
    "principal": PrincipalResidual,
    "thumbnails": ThumbnailDistance,
}


def thumbnails_of(images: Iterable[Array]) -> Float32:
    """Thumbnails of images of any size, scaled by their own mean and deviation: float32 (n, 576 · channels)."""
    return np.stack([_thumbnail(image) for image in images])


def reduced(image: Array) -> Float32:
    """An image of any size as (channels, 24, 24): means of the pixels in 0..1."""
    planes = np.moveaxis(np.atleast_3d(to_float(image)), 2, 0)
    return np.stack([np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), Image.Resampling.BOX)) for plane in planes])


def _thumbnail(image: Array) -> Float32:
    small = reduced(image)
    scaled: Float32 = (small - small.mean()) / max(float(small.std()), LEAST_DEVIATION)
    return scaled.ravel()


def _largest(image: Array, errors: Float32) -> float:
    """The largest error; 1, the largest possible, for an even image, which has nothing to restore."""
    return 1.0 if image.min() == image.max() else float(errors.max())


def _log_of_root(squares: NDArray[np.float64]) -> Scores:
    logarithms: Scores = 0.5 * np.log(squares + 1e-6)
    return logarithms

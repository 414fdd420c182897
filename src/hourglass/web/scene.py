"""What the explorer shows: a model, images and their codes; and what is learned for the page when it is first asked for."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from hourglass.data import Split
from hourglass.errors import DataError, ModelError
from hourglass.estimators import AnomalyDetector, Autoencoder, Compressor, Generator, ImageEstimator
from hourglass.images import Array, Float32, to_uint8
from hourglass.networks.description import Step, steps_of
from hourglass.objectives import Rate
from hourglass.web.packing import Content, network

Uint8 = NDArray[np.uint8]
Rows = NDArray[np.int32]

MOST_LEARNED = 5000
"""Images, drawn at random, from which densities, thresholds and tables are learned for a model that brings none."""
_MOST_NAMES = 200  # labels; with more, they are taken for names of the images

_MAP_RATE = Rate(2e-4)
"""Keeps the learned map even: without it most codes crowd in its middle, and a strong one mixes their labels."""

T = TypeVar("T")


def _once(make: Callable[[Scene], T]) -> Callable[[Scene], T]:
    """Made by the first who asks, while the others wait; failures are not kept."""

    @functools.wraps(make)
    def made(scene: Scene) -> T:
        with scene._locks[make.__name__]:
            if make.__name__ not in scene._made:
                scene._made[make.__name__] = make(scene)
            answer: T = scene._made[make.__name__]
            return answer

    return made


class Scene:
    """A fitted model of images, and images with their codes.

    Parameters
    ----------
    model : fitted estimator
    split : Split
        Images (n, *shape) as the model was fitted to, and their labels if they have any.
    title : str
        What they are called.
    seed : int

    Raises
    ------
    ModelError
        If the model was fitted on flat features.
    DataError
        If the images have another shape than the model's.
    """

    def __init__(self, model: ImageEstimator, split: Split, title: str, seed: int = 0) -> None:
        self.model, self.title, self.seed = model, title, seed
        if not model.layout_.is_image:
            raise ModelError("the explorer shows images; this model was fitted on flat features.")
        self.shape, self._samples = model.layout_.shape, split.images
        self.n_codes = model.encode(split.images[:1]).shape[1]  # what does not fit is refused now
        with ThreadPoolExecutor(1) as executor:
            self._codes = executor.submit(model.encode, split.images)  # while the server and the page start
            executor.shutdown(wait=False)
        self.images: Uint8 = to_uint8(split.images)
        self.names, self.labels = _names_and_labels(split)
        self._made: dict[str, Any] = {}
        self._locks: dict[str, threading.Lock] = {
            name: threading.Lock() for name in ("generator", "detector", "compressor", "plane")
        }

    @property
    def codes(self) -> Float32:
        """Of all images: float32 (n, n_codes). The first who asks may have to wait for them."""
        return self._codes.result()

    # --- what the page starts with ---------------------------------------------------------------------------------

    def overview(self) -> Content:
        """(facts, arrays): what is shown, whether the page can decode it, codes, labels, and the principal plane."""
        facts = {
            "title": self.title,
            "model": type(self.model).__name__,
            "shape": list(self.shape),
            "n_images": len(self.images),
            "n_codes": self.n_codes,
            "names": self.names,
            "bypasses_code": bool(self.model.network_.bypasses_code),
            "decodes": steps_of(self.model.decoder_) is not None,
        }
        arrays: dict[str, Array] = {"codes": self.codes, "labels": self.labels, "mean": self.codes.mean(0)}
        if self.n_codes > 2:
            arrays["principal"] = PCA(2, random_state=self.seed).fit(self.codes).components_.astype(np.float32)
        return facts, arrays

    def part(self, name: str) -> Content | None:
        """The network's "encoder" or "decoder" as the page can run it; None if it is made of other parts than it knows."""
        module = self.model.encoder_ if name == "encoder" else self.model.decoder_
        shape = self.model.layout_.network_shape if name == "encoder" else (self.n_codes,)
        steps = steps_of(module)
        return None if steps is None else network(name, shape, steps)

    # --- single requests -------------------------------------------------------------------------------------------

    def decode(self, codes: Float32) -> Uint8:
        """Codes (n, n_codes) -> images (n, *shape), uint8."""
        return to_uint8(self.model.inverse_transform(codes))

    def analyse(self, images: Uint8) -> tuple[Float32, Uint8]:
        """Images (n, *shape) -> their codes, and what the model makes of them, uint8."""
        return self.model.encode(images), to_uint8(self.model.reconstruct(images))

    def thumbnails(self, rows: Rows) -> Uint8:
        """The images of these rows: uint8 (len(rows), *shape)."""
        return self.images[self._checked(rows)]

    def region(self, rows: Rows) -> tuple[Uint8, Uint8]:
        """(mean, twice the standard deviation) of the images of these rows, uint8 in 0..255."""
        some = self.images[self._checked(rows)].astype(np.float32) / 255
        return to_uint8(some.mean(0)), to_uint8(2 * some.std(0))

    def _checked(self, rows: Rows) -> Rows:
        if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(self.images):
            raise DataError(f"rows must be numbers from 0 to {len(self.images) - 1}, at least one.")
        return rows

    def score(self, image: Uint8) -> dict[str, Any]:
        """How normal an image (*shape) is."""
        detector = self.detector()
        score = float(detector.score_samples(image[None])[0])
        return {"score": score, "threshold": detector.offset_, "anomaly": score < detector.offset_}

    def compress(self, image: Uint8) -> dict[str, Any]:
        """The bytes of an image (*shape) as a .hgc file of its own, and raw."""
        return {"bytes": len(self.compressor().compress(image[None])), "raw": image.nbytes}

    # --- what is learned when it is first asked for ----------------------------------------------------------------

    @_once
    def generator(self) -> Generator:
        """The model itself, or one that uses its network, with a density over the codes for each label."""
        if isinstance(self.model, Generator):
            return self.model
        rows = self._drawn()
        return Generator.from_autoencoder(self.model, self._samples[rows], self.labels[rows] if self.names else None)

    @_once
    def detector(self) -> AnomalyDetector:
        if isinstance(self.model, AnomalyDetector):
            return self.model
        return AnomalyDetector.from_autoencoder(self.model, self._samples[self._drawn()])

    @_once
    def compressor(self) -> Compressor:
        if isinstance(self.model, Compressor):
            return self.model
        return Compressor.from_autoencoder(self.model, self._samples[self._drawn()])

    def density(self) -> Content:
        """(facts, arrays) of the mixture of Gaussians over the codes: the page draws from it."""
        generator = self.generator()
        mixture = generator.density_
        names = [str(name) for name in generator.classes_] if isinstance(self.model, Generator) else self.names
        arrays = {name: getattr(mixture, name).astype(np.float32) for name in ("weights", "means", "factors")}
        return {"classes": names or [""]}, arrays | {"owners": mixture.classes.astype(np.int32)}

    @_once
    def plane(self) -> Content:
        """(facts, arrays) of a learned map, an autoencoder of the codes with two numbers of its own; and where they lie."""
        inner = Autoencoder(2, network="noisy", hidden=(256, 128), penalty=_MAP_RATE, random_state=self.seed).fit(self.codes)
        scale, offset = inner.layout_.scale, inner.layout_.offset
        inside = Step("affine", {"scale": 1 / scale, "offset": -offset / scale})
        outside = Step("affine", {"scale": scale, "offset": offset})
        encoder, decoder = steps_of(inner.encoder_), steps_of(inner.decoder_)
        assert encoder is not None  # our own layers
        assert decoder is not None
        facts, arrays = network("map_encoder", (self.n_codes,), [inside, *encoder])
        more_facts, more_arrays = network("map_decoder", (2,), [*decoder, outside])
        return facts | more_facts, arrays | more_arrays | {"positions": inner.transform(self.codes)}

    def _drawn(self) -> NDArray[np.intp]:
        if len(self.images) <= MOST_LEARNED:
            return np.arange(len(self.images))
        return np.sort(np.random.default_rng(self.seed).choice(len(self.images), MOST_LEARNED, replace=False))


def _names_and_labels(split: Split) -> tuple[list[str], NDArray[np.uint16]]:
    """(what the labels are called, which of them each image has); no names where there are no labels."""
    if split.labels is not None:
        known, labels = np.unique(split.labels, return_inverse=True)
        if len(known) <= _MOST_NAMES:
            return [str(name) for name in known], labels.astype(np.uint16)
    return [], np.zeros(len(split.images), dtype=np.uint16)

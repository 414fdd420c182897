"""The content of the explorer: a model, images and their codes, and results that are learned on first use."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from hourglass.data import Split
from hourglass.errors import DataError, HourglassError, ModelError
from hourglass.estimators import AnomalyDetector, Compressor, Generator, ImageEstimator
from hourglass.estimators.fitting import seeds_of
from hourglass.estimators.layout import train_layout
from hourglass.images import Array, Float32, to_uint8
from hourglass.networks.description import Step, steps_of
from hourglass.networks.plane import new_layout
from hourglass.notes import quiet
from hourglass.training import Callback, Run, seeded_globally
from hourglass.web.packing import Content, network

Uint8 = NDArray[np.uint8]
Rows = NDArray[np.int32]

MAX_SAMPLES = 5000
"""Random images on which a density, threshold or frequency tables are fitted for a model that has none."""
_MAX_CLASSES = 200  # more distinct labels are treated as names of images
_MOST_LAID_OUT = 20_000  # codes from which the learned map learns
_CHUNK = 4096  # images averaged at once
_ENCODING_CHUNK = 20_000  # images encoded between checks whether the scene is closed


def check_shows(model: ImageEstimator) -> None:
    """Raise ModelError if the explorer cannot show such a model."""
    if not model.sample_.is_image:
        raise ModelError("the explorer shows images; this model was fitted on flat features.")
    if model.network_.code.is_map:
        raise ModelError(
            "the explorer decodes vectors; the codes of this model are maps. Train on images of one small size (--size 64x64)."
        )


class Scene:
    """A fitted model of images, and images with their codes.

    Parameters
    ----------
    model : fitted estimator
    split : Split
        Images (n, *shape) of the model's shape, with optional labels.
    title : str
        Name of the data set.
    seed : int
    names : sequence of str, optional
        Name of each image; by default its index.

    Raises
    ------
    ModelError
        If the model was fitted on flat features.
    DataError
        If the shape of the images differs from the model's.
    """

    def __init__(
        self, model: ImageEstimator, split: Split, title: str, seed: int = 0, names: Sequence[str] | None = None
    ) -> None:
        self.model, self.title, self.seed = model, title, seed
        check_shows(model)
        self.shape, self._samples = model.sample_.size, split.images
        self.n_codes = model.encode(split.images[:1]).shape[1]  # raises for images of another shape
        self.images: Uint8 = to_uint8(split.images)
        self.names = [str(row) for row in range(len(split))] if names is None else list(names)
        self.classes, self.labels = _classes_and_labels(split)
        self._futures: dict[str, Future[Any]] = {}
        self._threads: list[threading.Thread] = []
        self._futures_lock, self._work_lock = threading.Lock(), threading.Lock()
        self._is_closed = False
        self.begin("codes")

    # --- results that take time --------------------------------------------------------------------------------------

    def begin(self, name: str) -> Future[Any]:
        """Return the future of a result: "codes", "overview", "generator", "detector", "compressor", "density" or "plane".

        The first call starts the computation in a daemon thread; computations run one at a time. A failed one is repeated,
        except after a HourglassError, which would occur again.
        """
        with self._futures_lock:
            future = self._futures.get(name)
            if future is None or (future.done() and not isinstance(future.exception(), HourglassError | None)):
                self._check_open()
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                future = self._futures[name] = Future()
                future.set_running_or_notify_cancel()  # a disconnecting client must not cancel it for others
                self._threads.append(threading.Thread(target=self._compute, args=(name, future), daemon=True))
                self._threads[-1].start()
            return future

    def close(self, patience: float = 1.5) -> bool:
        """Stop all computations, and return whether they ended within `patience` seconds.

        The process must not exit before: a thread inside torch would abort it.
        """
        self._is_closed = True
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _compute(self, name: str, future: Future[Any]) -> None:
        compute = getattr(self, f"_{name}")
        required = {"codes": (), "density": ("generator",), "overview": ("codes",), "plane": ("codes",)}.get(name, ())
        try:
            for other in required:
                self.begin(other).result()
            with self._work_lock:
                self._check_open()
                result = compute()
        except BaseException as error:  # noqa: BLE001  # the future raises it
            future.set_exception(error)
        else:
            future.set_result(result)

    @property
    def codes(self) -> Float32:
        """Codes of all images, float32 (n, n_codes); waits until they are computed."""
        codes: Float32 = self.begin("codes").result()
        return codes

    def _check_open(self) -> None:
        if self._is_closed:
            raise InterruptedError("the explorer is closed.")

    def _codes(self) -> Float32:
        codes = np.empty((len(self.images), self.n_codes), dtype=np.float32)
        for start in range(0, len(codes), _ENCODING_CHUNK):
            self._check_open()
            codes[start : start + _ENCODING_CHUNK] = self.model.encode(self._samples[start : start + _ENCODING_CHUNK])
        return codes

    def _overview(self) -> Content:
        """(facts, arrays) of the page: the model, whether the page can decode, codes, labels, and the principal plane."""
        facts = {
            "title": self.title,
            "model": type(self.model).__name__,
            "shape": list(self.shape),
            "n_images": len(self.images),
            "n_codes": self.n_codes,
            "classes": self.classes,
            "names": self.names,
            "bypasses_code": bool(self.model.network_.bypasses_code),
            "decodes": steps_of(self.model.decoder_) is not None,
        }
        arrays: dict[str, Array] = {"codes": self.codes, "labels": self.labels, "mean": self.codes.mean(0)}
        if self.n_codes > 2:
            arrays["principal"] = self._principal()
        return facts, arrays

    def _principal(self) -> Float32:
        """Return the first two principal directions of the codes (2, n_codes)."""
        if len(self.codes) < 2:
            return np.eye(2, self.n_codes, dtype=np.float32)
        with threadpool_limits(1, "blas"):  # numpy's threads would wait a second for torch's
            directions: Float32 = PCA(2, random_state=self.seed).fit(self.codes).components_.astype(np.float32)
        return directions

    def _generator(self) -> Generator:
        """Return the model itself, or a generator that shares its network, with a density of the codes for each class."""
        if isinstance(self.model, Generator):
            return self.model
        rows = self._sampled_rows()
        return Generator.from_autoencoder(self.model, self._samples[rows], self.labels[rows] if self.classes else None)

    def _detector(self) -> AnomalyDetector:
        if isinstance(self.model, AnomalyDetector):
            return self.model
        rows = self._sampled_rows()
        quantile = 0.99 if len(rows) >= 1000 else 0.9
        with quiet():  # the network may have been trained on these images: the guide says so, not every visit
            return AnomalyDetector.from_autoencoder(self.model, self._samples[rows], quantile=quantile)

    def _compressor(self) -> Compressor:
        if isinstance(self.model, Compressor):
            return self.model
        return Compressor.from_autoencoder(self.model, self._samples[self._sampled_rows()])

    def _density(self) -> Content:
        """(facts, arrays) of the mixture of Gaussians over the codes, from which the page samples."""
        generator: Generator = self.begin("generator").result()
        mixture = generator.density_
        classes = [str(name) for name in generator.classes_] if generator is self.model else self._sampled_classes()
        arrays = {name: getattr(mixture, name).astype(np.float32) for name in ("weights", "means", "factors")}
        return {"drawn": classes}, arrays | {"owners": mixture.classes.astype(np.int32)}

    def _plane(self) -> Content:
        """(facts, arrays) of a learned map, a layout of the codes in two dimensions, and the positions of the codes."""
        scale, offset = float(self.codes.std()) or 1.0, float(self.codes.mean())
        codes = (self.codes - np.float32(offset)) / np.float32(scale)
        with seeded_globally(self.seed):
            layout = new_layout(self.n_codes, 2)
        rows = np.random.default_rng(self.seed).permutation(len(codes))[:_MOST_LAID_OUT]
        train_layout(layout, codes[rows], seeds_of(self.seed), [_StopWhenClosed(self)])
        with torch.inference_mode():
            positions = layout.encoder(torch.from_numpy(codes)).numpy()
        normalise = Step("affine", {"scale": 1 / scale, "offset": -offset / scale})
        denormalise = Step("affine", {"scale": scale, "offset": offset})
        encoder, decoder = steps_of(layout.encoder), steps_of(layout.decoder)
        assert encoder is not None  # these layers are all known
        assert decoder is not None
        facts, arrays = network("map_encoder", (self.n_codes,), [normalise, *encoder])
        more_facts, more_arrays = network("map_decoder", (2,), [*decoder, denormalise])
        return facts | more_facts, arrays | more_arrays | {"positions": positions}

    def _sampled_rows(self) -> NDArray[np.intp]:
        if len(self.images) <= MAX_SAMPLES:
            return np.arange(len(self.images))
        return np.sort(np.random.default_rng(self.seed).choice(len(self.images), MAX_SAMPLES, replace=False))

    def _sampled_classes(self) -> list[str]:
        """Return the classes of the sampled images, which are those of the density."""
        return [self.classes[label] for label in np.unique(self.labels[self._sampled_rows()])] if self.classes else []

    # --- immediate results -------------------------------------------------------------------------------------------

    def part(self, name: str) -> Content | None:
        """Return the "encoder" or "decoder" as layers for the page; None if it has layers that the page cannot run."""
        module = self.model.encoder_ if name == "encoder" else self.model.decoder_
        shape = self.model.sample_.network_shape if name == "encoder" else (self.n_codes,)
        steps = steps_of(module)
        return None if steps is None else network(name, shape, steps)

    def decode(self, codes: Float32) -> Uint8:
        """Decode codes (n, n_codes) to images (n, *shape), uint8. Raises DataError if the result is not finite."""
        images = self.model.inverse_transform(codes)
        if not np.isfinite(images).all():
            raise DataError("these codes are too far out: the decoder's output is not finite.")
        return to_uint8(images)

    def analyse(self, images: Uint8) -> tuple[Float32, Uint8]:
        """Return codes and reconstructions (uint8) of images (n, *shape)."""
        return self.model.encode(images), to_uint8(self.model.reconstruct(images))

    def thumbnails(self, rows: Rows) -> Uint8:
        """Return the images of `rows`, uint8 (len(rows), *shape)."""
        return self.images[self._check_rows(rows)]

    def region(self, rows: Rows) -> tuple[Uint8, Uint8]:
        """Return mean and twice the standard deviation of the images of `rows`, uint8."""
        total, squares = np.zeros(self.shape), np.zeros(self.shape)
        for start in range(0, len(self._check_rows(rows)), _CHUNK):
            chunk = self.images[rows[start : start + _CHUNK]].astype(np.float32) / 255
            total += chunk.sum(0, dtype=np.float64)
            squares += np.square(chunk).sum(0, dtype=np.float64)
        mean = total / len(rows)
        return to_uint8(mean), to_uint8(2 * np.sqrt(np.maximum(0, squares / len(rows) - mean**2)))

    def _check_rows(self, rows: Rows) -> Rows:
        if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(self.images):
            raise DataError(f"rows must be numbers from 0 to {len(self.images) - 1}, at least one.")
        return rows

    def score(self, image: Uint8) -> dict[str, Any]:
        """Return score, threshold and verdict of anomaly detection for an image (*shape)."""
        detector: AnomalyDetector = self.begin("detector").result()
        score = float(detector.score_samples(image[None])[0])
        return {"score": score, "threshold": detector.offset_, "anomaly": score < detector.offset_}

    def compress(self, image: Uint8) -> dict[str, Any]:
        """Return the size in bytes of an image (*shape) as a .hgc file and as raw pixels."""
        compressor: Compressor = self.begin("compressor").result()
        return {"bytes": len(compressor.compress(image[None])), "raw": image.nbytes}


class _StopWhenClosed(Callback):
    """Stops training when the scene is closed."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def on_batch_end(self, run: Run) -> None:
        self.scene._check_open()


def _classes_and_labels(split: Split) -> tuple[list[str], NDArray[np.uint16]]:
    """Return (names of the classes, class index of each image); no classes without labels."""
    if split.labels is not None:
        classes, indices = np.unique(split.labels, return_inverse=True)
        if len(classes) <= _MAX_CLASSES:
            return [str(name) for name in classes], indices.astype(np.uint16)
    return [], np.zeros(len(split.images), dtype=np.uint16)

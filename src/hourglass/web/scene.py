"""What the explorer shows: a model, images and their codes; and what is learned for the page when it is first asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from hourglass.data import Split
from hourglass.errors import DataError, HourglassError, ModelError
from hourglass.estimators import AnomalyDetector, Autoencoder, Compressor, Generator, ImageEstimator
from hourglass.images import Array, Float32, to_uint8
from hourglass.networks.description import Step, steps_of
from hourglass.objectives import Rate
from hourglass.training import Callback, Run
from hourglass.web.packing import Content, network

Uint8 = NDArray[np.uint8]
Rows = NDArray[np.int32]

MOST_LEARNED = 5000
"""Images, drawn at random, from which densities, thresholds and tables are learned for a model that brings none."""
_MOST_LABELS = 200  # with more, they are taken for names of the images
_MAP_RATE = Rate(2e-4)
"""Keeps the learned map even: without it most codes crowd in its middle, and a strong one mixes their labels."""
_CHUNK = 4096  # images whose mean is taken at once
_STRETCH = 20_000  # images that are encoded before it is seen whether one should go on


class Scene:
    """A fitted model of images, and images with their codes.

    Parameters
    ----------
    model : fitted estimator
    split : Split
        Images (n, *shape) as the model was fitted to, and their labels if they have any.
    title : str
        What they are called together.
    seed : int
    names : sequence of str, optional
        What each image is called; by default its number.

    Raises
    ------
    ModelError
        If the model was fitted on flat features.
    DataError
        If the images have another shape than the model's.
    """

    def __init__(
        self, model: ImageEstimator, split: Split, title: str, seed: int = 0, names: Sequence[str] | None = None
    ) -> None:
        self.model, self.title, self.seed = model, title, seed
        if not model.sample_.is_image:
            raise ModelError("the explorer shows images; this model was fitted on flat features.")
        if model.network_.code.is_map:
            raise ModelError("the explorer decodes vectors; the codes of this model are maps.")
        self.shape, self._samples = model.sample_.size, split.images
        self.n_codes = model.encode(split.images[:1]).shape[1]  # what does not fit is refused now
        self.images: Uint8 = to_uint8(split.images)
        self.names = [str(row) for row in range(len(split))] if names is None else list(names)
        self.classes, self.labels = _classes_and_labels(split)
        self._futures: dict[str, Future[Any]] = {}
        self._threads: list[threading.Thread] = []
        self._asking, self._learning = threading.Lock(), threading.Lock()
        self._is_closed = False
        self.begin("codes")

    # --- what takes its time -----------------------------------------------------------------------------------------

    def begin(self, name: str) -> Future[Any]:
        """Make "codes", "overview", "generator", "detector", "compressor", "density" or "plane", unless that has begun.

        Each is made once, one after the other, in threads that do not keep the process alive. What failed is tried anew, but
        for an error of ours, which would come again.
        """
        with self._asking:
            future = self._futures.get(name)
            if future is None or (future.done() and not isinstance(future.exception(), HourglassError | None)):
                self._go_on()
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                future = self._futures[name] = Future()
                future.set_running_or_notify_cancel()  # so that a client who leaves does not end it for the others
                self._threads.append(threading.Thread(target=self._make, args=(name, future), daemon=True))
                self._threads[-1].start()
            return future

    def close(self, patience: float = 1.5) -> bool:
        """End what is being made; whether it has ended within `patience` seconds.

        The process must not end before: a thread that is then in the midst of torch's work aborts it.
        """
        self._is_closed = True
        until = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _make(self, name: str, future: Future[Any]) -> None:
        make = getattr(self, f"_{name}")
        needed = {"codes": (), "density": ("generator",), "overview": ("codes",), "plane": ("codes",)}.get(name, ())
        try:
            for other in needed:
                self.begin(other).result()
            with self._learning:
                self._go_on()
                answer = make()
        except BaseException as error:  # noqa: BLE001  # it is raised where it is asked for
            future.set_exception(error)
        else:
            future.set_result(answer)

    @property
    def codes(self) -> Float32:
        """Of all images: float32 (n, n_codes). The first who asks may have to wait for them."""
        codes: Float32 = self.begin("codes").result()
        return codes

    def _go_on(self) -> None:
        if self._is_closed:
            raise InterruptedError("the explorer has ended.")

    def _codes(self) -> Float32:
        codes = np.empty((len(self.images), self.n_codes), dtype=np.float32)
        for start in range(0, len(codes), _STRETCH):
            self._go_on()
            codes[start : start + _STRETCH] = self.model.encode(self._samples[start : start + _STRETCH])
        return codes

    def _overview(self) -> Content:
        """(facts, arrays): what is shown, whether the page can decode it, codes, labels, and the principal plane."""
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
        """The two directions in which the codes spread most: (2, n_codes)."""
        if len(self.codes) < 2:
            return np.eye(2, self.n_codes, dtype=np.float32)
        with threadpool_limits(1, "blas"):  # after torch's threads, those of numpy would wait for these for a second
            directions: Float32 = PCA(2, random_state=self.seed).fit(self.codes).components_.astype(np.float32)
        return directions

    def _generator(self) -> Generator:
        """The model itself, or one that uses its network, with a density over the codes for each label."""
        if isinstance(self.model, Generator):
            return self.model
        rows = self._drawn()
        return Generator.from_autoencoder(self.model, self._samples[rows], self.labels[rows] if self.classes else None)

    def _detector(self) -> AnomalyDetector:
        if isinstance(self.model, AnomalyDetector):
            return self.model
        rows = self._drawn()
        quantile = 0.99 if len(rows) >= 1000 else 0.9  # a tenth of them is held out, and has to tell
        return AnomalyDetector.from_autoencoder(self.model, self._samples[rows], quantile=quantile)

    def _compressor(self) -> Compressor:
        if isinstance(self.model, Compressor):
            return self.model
        return Compressor.from_autoencoder(self.model, self._samples[self._drawn()])

    def _density(self) -> Content:
        """(facts, arrays) of the mixture of Gaussians over the codes: the page draws from it."""
        generator: Generator = self.begin("generator").result()
        mixture = generator.density_
        classes = [str(name) for name in generator.classes_] if generator is self.model else self._known()
        arrays = {name: getattr(mixture, name).astype(np.float32) for name in ("weights", "means", "factors")}
        return {"drawn": classes}, arrays | {"owners": mixture.classes.astype(np.int32)}

    def _plane(self) -> Content:
        """(facts, arrays) of a learned map, an autoencoder of the codes with two numbers of its own; and where they lie."""
        inner = Autoencoder(2, network="noisy", hidden=(256, 128), penalty=_MAP_RATE, random_state=self.seed)
        inner.fit(self.codes, callbacks=[_Ending(self)])
        scale, offset = inner.sample_.scale, inner.sample_.offset
        assert isinstance(scale, float)  # an Autoencoder has one of each for all columns
        assert isinstance(offset, float)
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

    def _known(self) -> list[str]:
        """The labels that occur among the drawn images, which the density then has."""
        return [self.classes[label] for label in np.unique(self.labels[self._drawn()])] if self.classes else []

    # --- what is answered at once ------------------------------------------------------------------------------------

    def part(self, name: str) -> Content | None:
        """The network's "encoder" or "decoder" as the page can run it; None if it is made of other parts than it knows."""
        module = self.model.encoder_ if name == "encoder" else self.model.decoder_
        shape = self.model.sample_.network_shape if name == "encoder" else (self.n_codes,)
        steps = steps_of(module)
        return None if steps is None else network(name, shape, steps)

    def decode(self, codes: Float32) -> Uint8:
        """Codes (n, n_codes) -> images (n, *shape), uint8. DataError if they lie so far out that no numbers come of them."""
        images = self.model.inverse_transform(codes)
        if not np.isfinite(images).all():
            raise DataError("these codes lie too far out: the decoder gives no finite numbers.")
        return to_uint8(images)

    def analyse(self, images: Uint8) -> tuple[Float32, Uint8]:
        """Images (n, *shape) -> their codes, and what the model makes of them, uint8."""
        return self.model.encode(images), to_uint8(self.model.reconstruct(images))

    def thumbnails(self, rows: Rows) -> Uint8:
        """The images of these rows: uint8 (len(rows), *shape)."""
        return self.images[self._checked(rows)]

    def region(self, rows: Rows) -> tuple[Uint8, Uint8]:
        """(mean, twice the standard deviation) of the images of these rows, uint8 in 0..255."""
        total, squares = np.zeros(self.shape), np.zeros(self.shape)
        for start in range(0, len(self._checked(rows)), _CHUNK):
            some = self.images[rows[start : start + _CHUNK]].astype(np.float32) / 255
            total += some.sum(0, dtype=np.float64)
            squares += np.square(some).sum(0, dtype=np.float64)
        mean = total / len(rows)
        return to_uint8(mean), to_uint8(2 * np.sqrt(np.maximum(0, squares / len(rows) - mean**2)))

    def _checked(self, rows: Rows) -> Rows:
        if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(self.images):
            raise DataError(f"rows must be numbers from 0 to {len(self.images) - 1}, at least one.")
        return rows

    def score(self, image: Uint8) -> dict[str, Any]:
        """How normal an image (*shape) is."""
        detector: AnomalyDetector = self.begin("detector").result()
        score = float(detector.score_samples(image[None])[0])
        return {"score": score, "threshold": detector.offset_, "anomaly": score < detector.offset_}

    def compress(self, image: Uint8) -> dict[str, Any]:
        """The bytes of an image (*shape) as a .hgc file of its own, and raw."""
        compressor: Compressor = self.begin("compressor").result()
        return {"bytes": len(compressor.compress(image[None])), "raw": image.nbytes}


class _Ending(Callback):
    """Ends a training when the scene is closed."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def on_batch_end(self, run: Run) -> None:
        self.scene._go_on()


def _classes_and_labels(split: Split) -> tuple[list[str], NDArray[np.uint16]]:
    """(what the labels are called, which of them each image has); no classes where there are no labels."""
    if split.labels is not None:
        known, labels = np.unique(split.labels, return_inverse=True)
        if len(known) <= _MOST_LABELS:
            return [str(name) for name in known], labels.astype(np.uint16)
    return [], np.zeros(len(split.images), dtype=np.uint16)

"""Every use beside a classical method for it: seconds to fit, and images a second once fitted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rounds import Contender, Figures, Round, alternate
from benchmarks.rows import compare, middle
from benchmarks.setting import Bench, Measured
from benchmarks.task import N_COMPONENTS, NOISE, Task
from hourglass.errors import HourglassError
from hourglass.estimators import AnomalyDetector, Autoencoder, Compressor, Denoiser, Enhancer, Generator, Retriever
from hourglass.evaluation.baselines import MedianDenoiser, PrincipalComponents
from hourglass.evaluation.uses.compress import FORMATS, encode_as
from hourglass.evaluation.uses.enhance import FILTERS, resize
from hourglass.images import Array, Float32, to_float, to_uint8

_FITTED_ON = (1000, 10_000)  # images: quick or not
_APPLIED_TO = (200, 2000)
_NEIGHBOURS = 10
_GAUSSIANS = 10


class Method(NamedTuple):
    """A method for a use.

    Attributes
    ----------
    name : str
    fit : function of (training images, seed, epochs or None for the estimator's own)
        Returns the fitted model.
    apply : function of (fitted model, images)
    """

    name: str
    fit: Callable[[Array, int, int | None], Any]
    apply: Callable[[Any, Array], object]


class Use(NamedTuple):
    """A use, with two methods for it.

    Attributes
    ----------
    inputs : function of (test images, seed)
        Returns the images that both methods are applied to.
    classical, ours : Method
    """

    inputs: Callable[[Array, int], Array]
    classical: Method
    ours: Method


def uses_suite(bench: Bench) -> Measured:
    """Measure images a second of each use, classical and ours, from uint8 and back; the notes give the seconds to fit."""
    measured = Measured()
    task = bench.task(n_images=_FITTED_ON[not bench.quick])
    epochs = 1 if bench.quick else None
    n_fitted, n_applied = min(_FITTED_ON[not bench.quick], bench.n_train), min(_APPLIED_TO[not bench.quick], bench.n_test)
    training = "for one epoch" if bench.quick else "with the defaults of their constructors"
    measured.notes.append(f"Ours are fitted {training}, on {n_fitted:,} images, and applied to {n_applied:,}.")
    for name, use in USES.items():
        bench.report(name)
        contenders = [
            Contender(method.name, partial(applied, task, name, method is use.ours, n_applied, epochs))
            for method in (use.classical, use.ours)
        ]
        try:
            rounds = alternate(contenders, bench.rounds)
        except HourglassError as error:  # this use refuses such images
            measured.notes.append(f"{name}: left out. {error}")
            continue
        measure = {"key": "images_per_second", "unit": "images/s", "reference": use.classical.name}
        for who, row in compare(name, rounds, **measure, larger_is_better=True).items():
            measured.rows.append(replace(row, note=f"Fitted in {middle(rounds[who], 'fit_seconds'):.1f} s."))
    return measured


def applied(task: Task, name: str, is_ours: bool, n_applied: int, epochs: int | None) -> Round:
    """Fit and apply the classical method or ours to use `name`. Figures: seconds, images_per_second, fit_seconds."""
    use = USES[name]
    method = use.ours if is_ours else use.classical
    images = use.inputs(task.test()[:n_applied], task.seed)
    train = task.train()
    start = time.perf_counter()
    fitted = method.fit(train, task.seed, epochs)
    fit_seconds = time.perf_counter() - start

    def one_round() -> Figures:
        start = time.perf_counter()
        method.apply(fitted, images)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "images_per_second": len(images) / seconds, "fit_seconds": fit_seconds}

    return one_round


def _ours(
    kind: Callable[..., Any],
    apply: Callable[[Any, Array], object],
    prepare: Callable[[Array], Array] = lambda images: images,
    **arguments: Any,
) -> Method:
    def fit(images: Array, seed: int, epochs: int | None) -> Any:
        return kind(random_state=seed, epochs=epochs, device="cpu", **arguments).fit(prepare(images))

    return Method("Hourglass", fit, apply)


def _unchanged(images: Array, seed: int) -> Array:
    return images


def _even(images: Array) -> Array:
    """Return the images cropped to an even height and width."""
    return images[:, : images.shape[1] // 2 * 2, : images.shape[2] // 2 * 2]


def _halved(images: Array, seed: int) -> Float32:
    """Return images of half the height and width, by means of 2×2 pixels."""
    even = to_float(_even(images))
    blocks = even.reshape(len(even), even.shape[1] // 2, 2, even.shape[2] // 2, 2, *even.shape[3:])
    means: Float32 = blocks.mean(axis=(2, 4), dtype=np.float32)
    return means


def _rows(images: Array) -> Float32:
    return to_float(images).reshape(len(images), -1)


def _forest(images: Array, seed: int, epochs: int | None) -> Any:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(random_state=seed).fit(_rows(images))


def _mixture(images: Array, seed: int, epochs: int | None) -> Any:
    from sklearn.mixture import GaussianMixture

    pca = PrincipalComponents(N_COMPONENTS).fit(images)
    codes = pca.transform(images).astype(np.float64)  # in float32, a covariance may not be positive definite
    return pca, GaussianMixture(_GAUSSIANS, reg_covar=1e-4, random_state=seed).fit(codes)


def _drawn(fitted: Any, images: Array) -> Array:
    pca, mixture = fitted
    codes, _ = mixture.sample(len(images))
    made: Array = np.clip(pca.pca.inverse_transform(codes), 0, 1).reshape(images.shape)
    return made


def _neighbours(images: Array, seed: int, epochs: int | None) -> Any:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=_NEIGHBOURS, algorithm="brute").fit(_rows(images))


def _webp(fitted: Any, images: Array) -> list[bytes]:
    return [encode_as(image, "WEBP", FORMATS["WEBP"]) for image in to_uint8(images)]


def _bicubic(fitted: Any, images: Array) -> Array:
    return resize(images, (2 * images.shape[1], 2 * images.shape[2]), FILTERS["bicubic"])


def _nothing(images: Array, seed: int, epochs: int | None) -> None:
    """Fit nothing: formats and filters need no training."""


USES: dict[str, Use] = {
    "denoise": Use(
        NOISE,
        Method("median filter", lambda images, seed, _: MedianDenoiser().fit(images, NOISE, seed), lambda m, x: m.transform(x)),
        _ours(Denoiser, lambda model, images: model.transform(images)),
    ),
    "detect": Use(
        _unchanged,
        Method("isolation forest", _forest, lambda forest, images: forest.score_samples(_rows(images))),
        _ours(AnomalyDetector, lambda model, images: model.score_samples(images)),
    ),
    "generate": Use(
        _unchanged,
        Method("PCA and a Gaussian mixture", _mixture, _drawn),
        _ours(Generator, lambda model, images: model.sample(len(images), random_state=0)),
    ),
    "encode": Use(
        _unchanged,
        Method("PCA", lambda images, seed, _: PrincipalComponents(N_COMPONENTS).fit(images), lambda m, x: m.transform(x)),
        _ours(Autoencoder, lambda model, images: model.transform(images), preset="features"),
    ),
    "search": Use(
        _unchanged,
        Method("nearest in raw pixels", _neighbours, lambda index, images: index.kneighbors(_rows(images))),
        _ours(Retriever, lambda model, images: model.kneighbors(images, _NEIGHBOURS)),
    ),
    "compress": Use(
        _unchanged,
        Method("WebP, image by image", _nothing, _webp),
        _ours(Compressor, lambda model, images: model.compress(images)),
    ),
    "enhance": Use(
        _halved,
        Method("bicubic, image by image", _nothing, _bicubic),
        _ours(Enhancer, lambda model, images: model.transform(images), _even),
    ),
}  # fmt: skip

"""Comparisons of models with baselines on held-out images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hourglass.corruption import Corruption
from hourglass.errors import DataError
from hourglass.estimators import Autoencoder, Denoiser
from hourglass.evaluation.baselines import LinearDenoiser, MeanImage, MedianDenoiser, PrincipalComponents
from hourglass.evaluation.metrics import image_metrics
from hourglass.images import Array, Float32, to_float


@dataclass
class Comparison:
    """A table of results with example images.

    Attributes
    ----------
    rows : list of dict
        name, mse, psnr (dB; None for an MSE of 0), ssim, seconds (to fit; None for models fitted before).
    notes : list of str
        Baselines that were left out, and why.
    images : dict of str to ndarray
        Output for the first test images by row name, and the original and corrupted images.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images: dict[str, Array] = field(default_factory=dict)

    def add(self, name: str, outputs: Float32, targets: Array, seconds: float | None = None, keep: int = 10) -> None:
        metrics = image_metrics(outputs, targets)
        psnr = metrics["psnr"] if metrics["mse"] else None  # JSON cannot represent infinity
        self.rows.append({"name": name, **metrics, "psnr": psnr, "seconds": seconds})
        self.images[name] = outputs[:keep].copy()  # a view would keep the whole array alive


def compare_denoisers(
    models: Mapping[str, Denoiser], train: Array, test: Array, corruption: Corruption, seed: int
) -> Comparison:
    """Evaluate models on the same corrupted `test` images, with the corrupted images, a median filter and the best linear map.

    Parameters
    ----------
    models : dict of str to fitted Denoiser
    train, test : ndarray (n, h, w) or (n, h, w, c)
        Images to fit the baselines on, and to evaluate on.
    corruption : Corruption
    seed : int
        Seed of the test images' corruption; the baselines are fitted with corruption drawn from seed + 1.
    """
    comparison = Comparison(images={"original": to_float(test[:10])})
    corrupted = corruption(test, seed)
    comparison.add("noisy input", corrupted, test)
    baselines: dict[str, MedianDenoiser | LinearDenoiser] = {
        "median filter": MedianDenoiser(),
        "best linear map (ridge)": LinearDenoiser(),
    }
    for name, baseline in baselines.items():
        start = time.perf_counter()
        try:
            baseline.fit(train, corruption, seed + 1)
        except DataError as error:
            comparison.notes.append(f"{name} left out: {error}")
            continue
        seconds = time.perf_counter() - start
        comparison.add(name, baseline.transform(corrupted), test, seconds)
    for name, model in models.items():
        comparison.add(name, model.transform(corrupted), test)
    return comparison


def compare_autoencoders(models: Mapping[str, Autoencoder], train: Array, test: Array) -> Comparison:
    """Evaluate reconstructions of `test`, with the mean image and PCA of the same dimensions as baselines."""
    comparison = Comparison(images={"original": to_float(test[:10])})
    comparison.add("mean image", MeanImage().fit(train).reconstruct(test), test)
    for n_components in sorted({model.settings_["n_components"] for model in models.values()}):
        start = time.perf_counter()
        pca = PrincipalComponents(n_components).fit(train)
        seconds = time.perf_counter() - start
        comparison.add(f"PCA, {n_components} components", pca.reconstruct(test), test, seconds)
    for name, model in models.items():
        comparison.add(name, model.reconstruct(test), test)
    return comparison

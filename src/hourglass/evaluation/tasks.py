"""Each task's table: models beside their baselines, on images none of them was fitted on."""

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
    """A table and what it was made from.

    Attributes
    ----------
    rows : list of dict
        name, mse, psnr (dB), ssim, seconds (to fit; None where that was done before).
    notes : list of str
        What was left out, and why.
    images : dict of str to ndarray
        Name -> what that row made of the test images, the originals and damaged ones included.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images: dict[str, Array] = field(default_factory=dict)

    def add(self, name: str, made: Float32, originals: Array, seconds: float | None = None, keep: int = 10) -> None:
        self.rows.append({"name": name, **image_metrics(made, originals), "seconds": seconds})
        self.images[name] = made[:keep].copy()  # a view would keep all of them in memory


def compare_denoisers(
    models: Mapping[str, Denoiser], train: Array, test: Array, corruption: Corruption, seed: int
) -> Comparison:
    """Every model on the same damaged `test` images, beside the damage itself, a median filter and the best linear map.

    Parameters
    ----------
    models : dict of str to fitted Denoiser
    train, test : ndarray (n, h, w) or (n, h, w, c)
        What the baselines are fitted on, and what all are measured on.
    corruption : Corruption
    seed : int
        The damage's.
    """
    comparison = Comparison(images={"original": to_float(test[:10])})
    damaged = corruption(test, seed)
    comparison.add("noisy input", damaged, test)
    baselines: dict[str, MedianDenoiser | LinearDenoiser] = {
        "median filter": MedianDenoiser(),
        "best linear map (ridge)": LinearDenoiser(),
    }
    for name, baseline in baselines.items():
        start = time.perf_counter()
        try:
            baseline.fit(train, corruption, seed)
        except DataError as error:
            comparison.notes.append(f"{name} left out: {error}")
            continue
        comparison.add(name, baseline.transform(damaged), test, time.perf_counter() - start)
    for name, model in models.items():
        comparison.add(name, model.transform(damaged), test, _seconds(model))
    return comparison


def compare_autoencoders(models: Mapping[str, Autoencoder], train: Array, test: Array) -> Comparison:
    """Every model's reconstruction of `test`, beside the mean image and as many principal components as its code has."""
    comparison = Comparison(images={"original": to_float(test[:10])})
    comparison.add("mean image", MeanImage().fit(train).reconstruct(test), test)
    for name, model in models.items():
        n_components = model.settings_["n_components"]
        start = time.perf_counter()
        pca = PrincipalComponents(n_components).fit(train)
        comparison.add(f"PCA, {n_components} components", pca.reconstruct(test), test, time.perf_counter() - start)
        comparison.add(name, model.reconstruct(test), test, _seconds(model))
    return comparison


def _seconds(model: Denoiser | Autoencoder) -> float:
    return float(sum(row["seconds"] for row in model.history_))

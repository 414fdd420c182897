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
        name, mse, psnr (dB; None for an MSE of 0), ssim, seconds (to fit; None where that was done before).
    notes : list of str
        What was left out, and why.
    images : dict of str to ndarray
        Name -> what that row made of the test images, the originals and damaged ones included.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images: dict[str, Array] = field(default_factory=dict)

    def add(self, name: str, made: Float32, originals: Array, seconds: float | None = None, keep: int = 10) -> None:
        metrics = image_metrics(made, originals)
        psnr = metrics["psnr"] if metrics["mse"] else None  # JSON knows no infinity
        self.rows.append({"name": name, **metrics, "psnr": psnr, "seconds": seconds})
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
        The test damage's; the baselines are fitted with damage drawn from seed + 1.
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
            baseline.fit(train, corruption, seed + 1)  # the test's own draw is `seed`
        except DataError as error:
            comparison.notes.append(f"{name} left out: {error}")
            continue
        seconds = time.perf_counter() - start
        comparison.add(name, baseline.transform(damaged), test, seconds)
    for name, model in models.items():
        comparison.add(name, model.transform(damaged), test)
    return comparison


def compare_autoencoders(models: Mapping[str, Autoencoder], train: Array, test: Array) -> Comparison:
    """Every model's reconstruction of `test`, beside the mean image and as many principal components as its code has."""
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

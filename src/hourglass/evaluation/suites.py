"""Suites: everything that a page of results needs, trained and measured in one run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch

from hourglass._version import __version__
from hourglass.data import Dataset
from hourglass.estimators import Denoiser
from hourglass.estimators.presets import CHAPTER_NOISE
from hourglass.evaluation.tasks import Comparison, compare_denoisers
from hourglass.training import Callback

BARS = {"chapter": 0.0260, "default": 0.0180, "best": 0.0120, "skip": 0.0068}
"""The largest test MSE on MNIST with the chapter's noise that each preset is held to."""


def denoise_suite(
    dataset: Dataset,
    seed: int,
    presets: Sequence[str] = tuple(BARS),
    device: str = "auto",
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: (),
) -> tuple[Comparison, dict[str, Denoiser]]:
    """Train each preset as a denoiser on the training images, and measure all on the test images.

    Parameters
    ----------
    dataset : Dataset with a test part
    seed : int
        Of training; the test images' damage is drawn from seed + 1.
    presets : names in BARS
    device : str
        Where to train: "auto", "cpu", "cuda", …
    callbacks : preset -> callbacks of its training
    """
    models = {}
    for preset in presets:
        model = Denoiser(preset=preset, random_state=seed, device=device)
        models[f"autoencoder, {preset}"] = model.fit(dataset.train.images, callbacks=callbacks(preset))
    comparison = compare_denoisers(models, dataset.train.images, dataset.test.images, CHAPTER_NOISE, seed + 1)
    for row in comparison.rows:
        if row["name"] in models:
            row["seconds"] = sum(epoch["seconds"] for epoch in models[row["name"]].history_)
        if dataset.name == "mnist":
            row["bar"] = BARS.get(row["name"].removeprefix("autoencoder, "))
    return comparison, models


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "hourglass": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
    }

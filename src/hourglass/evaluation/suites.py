"""Suites: training and evaluation of all models of a page of results in one run."""

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
"""Upper bound on each preset's test MSE on MNIST with the chapter's noise."""


def denoise_suite(
    dataset: Dataset,
    seed: int,
    presets: Sequence[str] = tuple(BARS),
    device: str = "auto",
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: (),
) -> tuple[Comparison, dict[str, Denoiser]]:
    """Train each preset as a denoiser on the training split and evaluate all on the test split.

    Parameters
    ----------
    dataset : Dataset with a test split
    seed : int
        Seed of training; the corruption of the test images uses seed + 1.
    presets : sequence of str
        Names in BARS.
    device : str
        Device for training: "auto", "cpu", "cuda", …
    callbacks : callable
        Returns the callbacks for training a preset, by its name.
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
    """Return the versions and hardware on which results were measured."""
    return {
        "hourglass": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "processor": platform.processor() or platform.machine(),
    }

"""This library as a contender. Each function prepares everything and returns the function that runs one round."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from benchmarks.peers import LOOKS, Reconstructing, error_on_test, noisy_and_clean_rows
from benchmarks.rounds import Figures, Round
from benchmarks.task import Clock, Task
from hourglass.estimators import Denoiser
from hourglass.images import Float32
from hourglass.training import Callback, Run


def fit(task: Task, preset: str, **arguments: Any) -> Round:
    """Fit a Denoiser on all training images of `task`, with its batch size and epochs.

    Figures: seconds, epoch_seconds (steps of the last epoch, with making its batches), loss (of the last epoch), test_mse.
    """
    seeds = itertools.count(task.seed)
    images = task.train()
    pairs = task.test_pairs() if task.tests else None

    def one_round() -> Figures:
        model = Denoiser(
            preset=preset,
            epochs=task.epochs,
            batch_size=task.batch_size,
            validation_fraction=0.0,
            random_state=next(seeds),
            device=task.device,
            **arguments,
        )
        start = time.perf_counter()
        model.fit(images)
        figures = {"seconds": time.perf_counter() - start, "loss": model.history_[-1]["loss"]}
        figures["epoch_seconds"] = max(model.history_[-1]["seconds"], 1e-4)  # the history is rounded
        return figures if pairs is None else figures | {"test_mse": _error(model, *pairs)}

    return one_round


def _error(model: Denoiser, noisy: Float32, clean: Float32) -> float:
    return float(np.square(model.transform(noisy) - clean, dtype=np.float64).mean())


def fit_pairs(task: Task) -> Round:
    """Fit a Denoiser on noisy and clean rows that already exist. Figures: seconds, loss."""
    noisy, clean = (rows.numpy() for rows in noisy_and_clean_rows(task.train()))

    def one_round() -> Figures:
        model = Denoiser(
            preset="chapter", epochs=task.epochs, batch_size=task.batch_size, validation_fraction=0.0, random_state=task.seed
        )
        start = time.perf_counter()
        model.fit(noisy, clean)
        return {"seconds": time.perf_counter() - start, "loss": model.history_[-1]["loss"]}

    return one_round


def fit_until(task: Task, target: float) -> Round:
    """Fit a Denoiser of preset "default" until its test error is `target` or less.

    Figures: seconds of `fit` until then, with the clock stopped while the error is measured; steps, test_mse, is_reached
    (0 or 1).
    """
    seeds = itertools.count(task.seed)
    images, measured = task.train(), error_on_test(task, as_rows=False)

    def one_round() -> Figures:
        model = Denoiser(preset="default", random_state=next(seeds), device=task.device)
        watch = _UntilReached(measured, target)
        model.fit(images, callbacks=[watch])
        return watch.figures

    return one_round


class _UntilReached(Callback):
    """Records when the test error first is `target` or less, and stops the run."""

    def __init__(self, measured: Callable[[nn.Module], float], target: float) -> None:
        self.measured, self.target = measured, target
        self.figures: Figures = {}
        self.clock = Clock()

    def on_batch_end(self, run: Run) -> None:
        if run.step % max(1, run.n_batches // LOOKS) == 0 and not run.stop:
            self._check(run)

    def _check(self, run: Run) -> None:
        seconds = self.clock.seconds
        with self.clock.stopped():
            error = self.measured(Reconstructing(run.network.eval()))
            run.network.train()
        run.stop = error <= self.target
        self.figures = {"seconds": seconds, "steps": run.step, "test_mse": error, "is_reached": float(run.stop)}


def fit_convolution(task: Task, network: str, n_components: int, hidden: tuple[int, ...], precision: str = "float32") -> Round:
    """Fit a convolutional network with the work of a plain loop: Adam, a fixed noisy copy. Figures as `fit` has them."""
    plain = {"optimizer": "adam", "learning_rate": 1e-3, "schedule": "constant", "initialization": "torch", "redraw": False}
    return fit(task, "default", network=network, n_components=n_components, hidden=hidden, precision=precision, **plain)

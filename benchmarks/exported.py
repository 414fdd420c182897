"""Exported models beside the estimators that they come from: images through the whole use, by batch size and threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.rounds import Contender, Figures, Round, alternate
from benchmarks.rows import compare
from benchmarks.setting import Bench, Measured
from benchmarks.task import HIDDEN, N_COMPONENTS, NOISE, Task
from hourglass.images import Array

TORCH, ONNX, INT8 = "Hourglass", "ONNX Runtime", "ONNX Runtime, int8"
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"network": "mlp", "n_components": N_COMPONENTS, "hidden": HIDDEN},
    "maps": {"network": "maps", "n_components": 16, "hidden": (32, 64)},
}
_BATCHES = {1: 300, 64: 1920}
"""Images of a round, by batch size."""
_THREADS = (1, 2)
_FITTED_ON = 5000
_CALIBRATED_ON = 512


def exported_suite(bench: Bench) -> Measured:
    """Measure `transform` of corrupted test images by denoisers, in torch and exported, float and in 8 bits."""
    measured = Measured()
    for name in NETWORKS:
        bench.report(f"network {name}: training and export")
        share = prepare(bench.task(), name)
        measured.notes.append(f'network "{name}": 8 bits change the error on held-out images by {share:+.1%} of it.')
        for batch, threads in product(_BATCHES, _THREADS):
            measure = (
                f'network "{name}", {_BATCHES[batch]:,} images in batches of {batch}, {threads} thread{"s" * (threads > 1)}'
            )
            bench.report(measure)
            contenders = [Contender(who, partial(way, bench.task(), name, batch, threads)) for who, way in WAYS.items()]
            measured.rows += compare(measure, alternate(contenders, bench.rounds), reference=TORCH).values()
    return measured


def prepare(task: Task, name: str) -> float:
    """Write a denoiser, and its files in float and in 8 bits, beside the images; what 8 bits cost."""
    from hourglass.estimators import Denoiser
    from hourglass.onnx import export_onnx

    images = task.train()[:_FITTED_ON]
    denoiser = Denoiser(**NETWORKS[name], corruption=NOISE, epochs=2, random_state=task.seed, device="cpu").fit(images)
    denoiser.save(_file(task, name, "hg"))
    export_onnx(denoiser, _file(task, name, "onnx"))
    report = export_onnx(denoiser, _file(task, name, "int8.onnx"), calibrate=images[:_CALIBRATED_ON], max_loss=float("inf"))
    assert report.int8 is not None
    return report.int8.share


def by_torch(task: Task, name: str, batch: int, threads: int) -> Round:
    """Time the estimator."""
    from hourglass.estimators import load_model

    denoiser = load_model(_file(task, name, "hg"), device="cpu").set_params(n_threads=threads)
    return _applied(denoiser.transform, task, batch)


def by_onnx(task: Task, name: str, batch: int, threads: int, ending: str = "onnx") -> Round:
    """Time an exported file."""
    from hourglass.runtime import load_onnx

    return _applied(load_onnx(_file(task, name, ending), n_threads=threads).transform, task, batch)


WAYS: dict[str, Callable[..., Round]] = {TORCH: by_torch, ONNX: by_onnx, INT8: partial(by_onnx, ending="int8.onnx")}


def _applied(transform: Callable[[Array], Any], task: Task, batch: int) -> Round:
    noisy = NOISE(task.test()[: _BATCHES[batch]], task.seed)

    def one_round() -> Figures:
        start = time.perf_counter()
        for images in _in_batches(noisy, batch):
            transform(images)
        return {"seconds": time.perf_counter() - start}

    return one_round


def _in_batches(images: Array, batch: int) -> Iterator[Array]:
    for start in range(0, len(images), batch):
        yield images[start : start + batch]


def _file(task: Task, name: str, ending: str) -> Path:
    return task.folder / f"{name}.{ending}"

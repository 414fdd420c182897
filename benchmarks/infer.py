"""Inference: images to latent codes, and to reconstructions."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.matrix import forward_work
from benchmarks.peers import chapter_network, noisy_and_clean_rows
from benchmarks.rounds import Contender, Figures, Round, alternate
from benchmarks.rows import Bar, compare
from benchmarks.setting import Bench, Measured
from benchmarks.task import HIDDEN, N_COMPONENTS, Task, widths
from hourglass.images import Array, to_float

TORCH, PCA, MLP, OURS = "torch in ten lines", "scikit-learn, PCA", "scikit-learn, MLPRegressor", "Hourglass"
_BATCH = 1024
_FITTED_ON = 5000
_RECONSTRUCTED = 10_000
_ENCODER = 5  # modules of the chapter's network, up to the latent code


def infer_suite(bench: Bench) -> Measured:
    """Measure `transform` of all images and `reconstruct` of test images, from uint8 to float32 arrays, beside peers."""
    measured = Measured()
    sizes = widths(bench.shape)
    n_all, n_few = bench.n_train + bench.n_test, min(_RECONSTRUCTED, bench.n_test)
    encoder, whole = forward_work(sizes[:4]), forward_work(sizes)
    _measure(
        bench,
        measured,
        f"transform of {n_all:,} images",
        {TORCH: torch_transform, PCA: pca_transform, OURS: our_transform},
        {TORCH: n_all * encoder, OURS: n_all * encoder, PCA: n_all * forward_work((sizes[0], N_COMPONENTS))},
    )
    _measure(
        bench,
        measured,
        f"reconstruct of {n_few:,} images",
        {TORCH: torch_reconstruct, MLP: mlp_reconstruct, OURS: our_reconstruct},
        dict.fromkeys((TORCH, MLP, OURS), n_few * whole),
    )
    return measured


def _measure(
    bench: Bench, measured: Measured, measure: str, ways: Mapping[str, Callable[[Task], Round]], works: Mapping[str, int]
) -> None:
    bench.report(measure)
    contenders = [Contender(name, partial(way, bench.task())) for name, way in ways.items()]
    for name, row in compare(measure, alternate(contenders, bench.rounds), reference=TORCH).items():
        bar = Bar("share", "≥", 0.8) if bench.has_bars and name == OURS and measure.startswith("transform") else None
        measured.rows.append(replace(row, gflops=works[name] / row.value.median / 1e9, bar=bar))


def _applied(apply: Callable[[Array], Any], images: Array) -> Round:
    def one_round() -> Figures:
        start = time.perf_counter()
        apply(images)
        return {"seconds": time.perf_counter() - start}

    return one_round


def _all_images(task: Task) -> Array:
    return np.concatenate([task.train(), task.test()])


def our_transform(task: Task) -> Round:
    """Time our `transform` of all images."""
    return _applied(_our_model(task).transform, _all_images(task))


def our_reconstruct(task: Task) -> Round:
    """Time our `reconstruct` of test images."""
    return _applied(_our_model(task).reconstruct, task.test()[:_RECONSTRUCTED])


def _our_model(task: Task) -> Any:
    from hourglass.estimators import Autoencoder

    model = Autoencoder(N_COMPONENTS, hidden=HIDDEN, epochs=1, random_state=task.seed, device="cpu")
    return model.fit(task.train()[:_FITTED_ON])


def torch_transform(task: Task) -> Round:
    """Time the encoder in plain torch, on all images."""
    images = _all_images(task)
    return _applied(partial(_through, chapter_network(images[0].size)[:_ENCODER]), images)


def torch_reconstruct(task: Task) -> Round:
    """Time the whole network in plain torch, on test images."""
    images = task.test()[:_RECONSTRUCTED]
    return _applied(partial(_through, chapter_network(images[0].size)), images)


def _through(network: torch.nn.Module, images: Array) -> Array:
    """Run the forward pass in plain torch: each batch of uint8 is scaled to floats, and the outputs are concatenated."""
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(images[start : start + _BATCH]).flatten(1)
            outputs.append(network(batch / 255 if batch.dtype == torch.uint8 else batch.float()))
    activations: Array = torch.cat(outputs).numpy()
    return activations


def pca_transform(task: Task) -> Round:
    """Time scikit-learn's PCA on all images."""
    from sklearn import decomposition

    pca = decomposition.PCA(N_COMPONENTS, random_state=task.seed).fit(_rows(task.train()[:_FITTED_ON]))
    return _applied(lambda images: pca.transform(_rows(images)), _all_images(task))


def mlp_reconstruct(task: Task) -> Round:
    """Time `predict` of scikit-learn's MLPRegressor on test images."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    noisy, clean = (rows.numpy() for rows in noisy_and_clean_rows(task.train()[:_FITTED_ON]))
    model = MLPRegressor(hidden_layer_sizes=(*HIDDEN, N_COMPONENTS, *HIDDEN[::-1]), max_iter=1, random_state=task.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # only inference is measured
        model.fit(noisy, clean)
    return _applied(lambda images: model.predict(_rows(images)), task.test()[:_RECONSTRUCTED])


def _rows(images: Array) -> Array:
    return to_float(images).reshape(len(images), -1)

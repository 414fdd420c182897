"""Exported files give what estimators give: every network in every use as a module, and a covering set of them as files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hourglass as hg
from hourglass.estimators import ESTIMATORS
from hourglass.networks import NETWORKS
from hourglass.onnx import USES, Use, export_onnx, use_of
from hourglass.onnx.probes import probes_of

TOLERANCE = 1e-4
ROTATED = list(itertools.islice(itertools.cycle(ESTIMATORS), len(NETWORKS)))


@pytest.fixture(scope="session")
def few() -> np.ndarray:
    """48 real digits of 8×8, uint8."""
    return hg.load("digits").train.images[:48]


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    """A table in units of its own: normal, few whole numbers, a heavy tail."""
    rng = np.random.default_rng(0)
    return np.column_stack([rng.normal(3, 2, 200), rng.integers(0, 5, 200), 100 * rng.lognormal(0, 2, 200)])


@pytest.fixture(scope="session")
def surfaces() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(100, 160, (rng.integers(64, 80), rng.integers(64, 80))).astype(np.uint8) for _ in range(10)]


def fitted(task: str, samples: Any, network: str | None = None, **options: Any) -> Any:
    """A tiny estimator after one epoch; None if the use does not take the network."""
    hidden = None if network in (None, "linear") and samples[0].ndim == 1 else (6,)
    estimator = ESTIMATORS[task](3, network=network, hidden=hidden, epochs=1, random_state=0, **options)
    kind = None if network is None or (task, network) == ("compressor", "codec") else NETWORKS[network]
    if estimator._decodes_codes and kind is not None and (kind.bypasses_code or kind.takes_any_size):
        with pytest.raises(hg.ParameterError, match="decodes codes alone"):
            estimator.fit(samples)
        return None
    return estimator.fit(samples)


def assert_equal(use: Use, got: tuple[Any, ...], probe: np.ndarray) -> None:
    for name, given, wanted in zip(use.outputs, got, use.expected(probe), strict=True):
        expected = np.asarray(wanted)
        assert (given.shape, given.dtype) == (expected.shape, expected.dtype), name
        span = max(float(np.ptp(expected.astype(np.float64))), 1.0)
        assert np.abs(np.asarray(given, dtype=np.float64) - expected).max() <= TOLERANCE * span * (1 + 1e-6), name


# --- as modules -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")  # few samples for a threshold
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("task", ESTIMATORS)
def test_every_use_of_every_network_is_a_module(task: str, network: str, few: np.ndarray) -> None:
    estimator = fitted(task, few, network)
    if estimator is None:
        return
    parts = ("whole", "encoder", "decoder") if task in ("autoencoder", "detector") else ("whole",)
    for part in parts:
        use = use_of(estimator, part)
        for probe in probes_of(use, "float32", batches=(1, 256 if task == "autoencoder" else 7)):
            with torch.inference_mode():
                assert_equal(use, tuple(one.numpy() for one in use(torch.from_numpy(probe))), probe)


def test_every_estimator_has_a_use() -> None:
    assert set(USES) == set(ESTIMATORS)


# --- as files ---------------------------------------------------------------------------------------------------------


def exported(estimator: Any, folder: Path, **options: Any) -> Any:
    export_onnx(estimator, folder / "model.onnx", **options)
    return hg.load_onnx(folder / "model.onnx", n_threads=1)


def in_batches(model: Any, use: Use, dtype: str) -> Iterator[np.ndarray]:
    for probe in probes_of(use, dtype, batches=(1, 7, 256)):
        assert_equal(use, tuple(model.run(probe).values()), probe)
        yield probe


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")
@pytest.mark.parametrize(("network", "first"), list(zip(NETWORKS, ROTATED, strict=True)))
def test_exported_files_give_what_estimators_give(network: str, first: str, few: np.ndarray, tmp_path: Path) -> None:
    """Every network once, every use at least once."""
    tasks = [*ESTIMATORS, *ESTIMATORS][list(ESTIMATORS).index(first) :]
    estimator = next(made for made in (fitted(task, few, network) for task in tasks) if made is not None)
    dtype = "uint8" if first in ("denoiser", "detector") else "float32"
    use = use_of(estimator)
    model = exported(estimator, tmp_path, dtype=dtype)
    assert len(list(in_batches(model, use, dtype))) >= 3
    assert model.task == estimator.saved_as
    assert model.sample_ == use.sample

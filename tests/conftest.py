"""Data that several tests share."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the same bits need the same number of threads
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest

import hourglass as hg
from hourglass.cli.main import main

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = os.environ.get("HOURGLASS_CHROMIUM") or shutil.which("chromium")
NODE = os.environ.get("HOURGLASS_NODE") or shutil.which("node")
MNIST_AT_HAND = (Path(os.environ.get("HOURGLASS_DATA", "")) / "mnist").is_dir()


def pytest_configure() -> None:
    if os.environ.get("HOURGLASS_REQUIRE_MNIST") and not MNIST_AT_HAND:
        raise pytest.UsageError("HOURGLASS_REQUIRE_MNIST is set, but HOURGLASS_DATA names no folder that holds mnist/.")
    if os.environ.get("HOURGLASS_REQUIRE_BROWSER") and not CHROMIUM:
        raise pytest.UsageError("HOURGLASS_REQUIRE_BROWSER is set, but there is no chromium on the PATH.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on the real MNIST, those in a browser and those of the page's arithmetic are skipped where there is none."""
    missing = {} if MNIST_AT_HAND else {"mnist": "HOURGLASS_DATA names no folder that holds mnist/"}
    missing |= (
        {}
        if CHROMIUM
        else {"browser": "there is no chromium on the PATH (apt-get install chromium), nor in HOURGLASS_CHROMIUM"}
    )
    missing |= {} if NODE else {"node": "there is no node on the PATH (apt-get install nodejs), nor in HOURGLASS_NODE"}
    for item in items:
        for marker, reason in missing.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def mnist() -> hg.Dataset:
    return hg.load("mnist")


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """200 real digits of 8×8, uint8."""
    return hg.load("digits").train.images[:200]


@pytest.fixture(scope="session")
def colours() -> np.ndarray:
    """40 smooth images of 13×11 in three colours, float32: odd sizes and channels, which shape errors do not survive."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:1:13j, 0:1:11j]
    phase = rng.uniform(0, 2 * np.pi, (40, 1, 1, 3))
    return (0.5 + 0.5 * np.sin(5 * x[..., None] + 3 * y[..., None] + phase)).astype(np.float32)


@pytest.fixture(autouse=True)
def _no_surprises(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    cache.mkdir(exist_ok=True)  # where torch keeps the GPU kernels that it compiles, else with a warning
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def entry_point() -> Callable[[list[str]], NoReturn]:
    """What `run` runs: `hourglass`, where a module names no other."""
    return main


@pytest.fixture
def run(entry_point: Callable[[list[str]], NoReturn], capsys: pytest.CaptureFixture[str]):
    """Run the command; (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            entry_point([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call

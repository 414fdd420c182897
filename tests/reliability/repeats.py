"""The same run again: interrupted and resumed, in another process, on another engine."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import hourglass as hg
from hourglass.networks import NETWORKS

_EPOCHS, _BATCH = 4, 40

Make = Callable[[], Any]


def kinds() -> dict[str, Make]:
    """An estimator for every network and optimiser: between them they take every engine that a CPU has."""

    def maker(network: str, optimizer: str) -> Make:
        return lambda: hg.Autoencoder(
            4, network=network, optimizer=optimizer, epochs=_EPOCHS, batch_size=_BATCH, learning_rate=0.005, random_state=3
        )

    made = {f"{network}, {optimizer}": maker(network, optimizer) for network in NETWORKS for optimizer in ("muon", "adam")}
    made["early stopping"] = lambda: hg.Autoencoder(
        4, epochs=_EPOCHS, batch_size=_BATCH, early_stopping=True, patience=1, random_state=3
    )
    made["denoiser, damage drawn anew"] = lambda: hg.Denoiser(epochs=_EPOCHS, batch_size=_BATCH, random_state=3)
    made["features, two views"] = lambda: hg.Autoencoder(
        32, preset="features", epochs=_EPOCHS, batch_size=_BATCH, random_state=3
    )
    return made


def differing(kind: str, folder: Path, times: int, seed: int) -> int:
    """How many of `times` runs, interrupted at random steps and resumed, ended with weights that differ in one bit or more."""
    images, chance, make = hg.load("digits").train.images[:200], random.Random(f"{kind} {seed}"), kinds()[kind]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    wanted = _digest(make().fit(images))
    others = 0
    for number in range(times):
        path = folder / f"{number}.checkpoint"
        steps = chance.randint(1, _EPOCHS * 4)
        for _ in range(chance.randint(1, 3)):  # again and again
            try:
                make().fit(images, checkpoint=path, resume=path.exists(), callbacks=[_Interrupt(steps)])
            except InterruptedError:
                steps += chance.randint(1, 4)
        others += _digest(make().fit(images, checkpoint=path, resume=path.exists())) != wanted
        path.unlink(missing_ok=True)
    torch.set_num_threads(threads)
    return others


class _Interrupt(hg.Callback):
    """Ends the run after a step, in the midst of an epoch or at its end."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, run: Any) -> None:
        if run.step >= self.step:
            raise InterruptedError


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.network_.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def hashes(folder: Path, task: str, times: int = 2) -> set[str]:
    """SHA-256 of the weights that so many processes of the same command save."""
    found = set()
    for number in range(times):
        path = folder / f"{task}{number}.hg"
        done = subprocess.run(
            [sys.executable, "-m", "hourglass", *command(task, path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found.add(weights_hash(path))
    return found


def command(task: str, path: Path) -> list[str]:
    """The arguments of `hourglass` that train a model, the same each time, to `path`."""
    return ["train", "--data", "digits", "--task", task, "--epochs", "2", "-o", str(path)]


def weights_hash(path: Path) -> str:
    return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()

"""The same fit beside other processes that take all cores, and on other numbers of threads."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

_BUSY = "import numpy as np\na = np.ones((900, 900))\nprint('busy', flush=True)\nwhile True: a @ a"
_FIT = """
import hashlib, sys, torch, hourglass as hg
n_threads, times, epochs = map(int, sys.argv[1:])
torch.set_num_threads(n_threads)
images = hg.load("digits").train.images
for network in ("conv", "mlp") * times:
    model = hg.Autoencoder(4, network=network, epochs=epochs, batch_size=64, random_state=0).fit(images[:400])
    weights = b"".join(tensor.cpu().numpy().tobytes() for tensor in model.network_.state_dict().values())
    losses = [row["loss"] for row in model.history_]
    print(torch.get_num_threads(), network, hashlib.sha256(weights).hexdigest(), [*losses, -model.score(images[400:])])
"""


@contextlib.contextmanager
def all_cores_taken() -> Iterator[None]:
    command = [sys.executable, "-c", _BUSY]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(os.cpu_count() or 1)]
    try:
        for other in others:
            assert other.stdout is not None
            other.stdout.readline()
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
            assert other.stdout is not None
            other.stdout.close()


def told(times: int) -> set[str]:
    """What so many processes say of a fit each: threads, weights and losses. Nothing fixes their number of threads."""
    return {_said(None, 2, 1, 1) for _ in range(times)}


class Fit(NamedTuple):
    n_threads: int
    network: str
    weights: str
    """Their SHA-256."""
    losses: list[float]
    """Of each epoch, and that of images it was not trained on."""


def fits(n_threads: int) -> list[Fit]:
    """Of each network two in one process, in which that many threads compute."""
    lines = [line.split(maxsplit=3) for line in _said(n_threads, n_threads, 2, 4).splitlines()]
    return [Fit(int(threads), network, weights, json.loads(losses)) for threads, network, weights, losses in lines]


def _said(fixed: int | None, *numbers: int) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if fixed is None else {"OMP_NUM_THREADS": str(fixed)}
    command = [sys.executable, "-c", _FIT, *map(str, numbers)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

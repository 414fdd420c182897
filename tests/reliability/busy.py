"""The same fit beside other processes that take all cores."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

_BUSY = "import numpy as np\na = np.ones((900, 900))\nprint('busy', flush=True)\nwhile True: a @ a"
_FIT = """
import hashlib, torch, hourglass as hg
torch.set_num_threads(2)
images = hg.load("digits").train.images
for network in ("conv", "mlp"):
    model = hg.Autoencoder(4, network=network, epochs=1, batch_size=64, random_state=0).fit(images[:400])
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.network_.state_dict().values())
    print(torch.get_num_threads(), hashlib.sha256(weights).hexdigest(), [row["loss"] for row in model.history_])
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
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", _FIT]
    return {subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout for _ in range(times)}

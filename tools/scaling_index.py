"""Measure search among many codes: `python tools/scaling_index.py [--n 1000000] [--backend ivfpq] [--n-clusters 300]`.

Prints one JSON object for each backend: seconds to build, ask, save and load, recall at 10 against exact search, and bytes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from hourglass.latent import BACKENDS, NeighbourIndex
from hourglass.latent.duplicates import Codes

BATCH = 10_000


def clustered_codes(n: int, n_components: int, n_clusters: int, seed: int) -> Codes:
    """Codes like those of images: overlapping Gaussians, each turned its own way, whose spread falls from axis to axis."""
    rng = np.random.default_rng(seed)
    spread = (1 / np.sqrt(np.arange(1, n_components + 1))).astype(np.float32)
    owners, codes = rng.integers(n_clusters, size=n), rng.standard_normal((n, n_components), dtype=np.float32)
    for cluster in range(n_clusters):
        mean = rng.standard_normal(n_components, dtype=np.float32) * spread
        turn = np.linalg.qr(rng.standard_normal((n_components, n_components)))[0].astype(np.float32)
        members = owners == cluster
        codes[members] = mean + codes[members] * spread @ turn
    return codes


def measure_index(
    n: int = 1_000_000,
    n_components: int = 32,
    n_queries: int = 1000,
    seed: int = 0,
    backend: str = "ivfpq",
    n_clusters: int = 300,
) -> dict[str, Any]:
    """Build an index of `n` codes from batches, ask for 10 neighbours of members and of others, save, and load it again."""
    figures: dict[str, Any] = {**locals(), "threads": torch.get_num_threads()}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = work()
        figures[f"{name}_s"] = time.perf_counter() - start
        return made

    drawn = clustered_codes(n + n_queries, n_components, n_clusters, seed)
    codes, others = drawn[:n], drawn[n:]
    members = codes[np.random.default_rng(seed).choice(n, n_queries, replace=False)]
    batches = (codes[first : first + BATCH] for first in range(0, n, BATCH))
    index = timed("build", lambda: NeighbourIndex.from_batches(batches, n, backend=backend))
    found = timed("members", lambda: index.search(members, 10)), timed("others", lambda: index.search(others, 10))
    figures |= {"members_recall_at_10": index.recall(members, 10), "others_recall_at_10": index.recall(others, 10)}
    state = index.to_state()
    figures["index_bytes_a_code"] = sum(array.nbytes for array in state.values()) / n - 4 * n_components
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index.safetensors"
        timed("save", lambda: save_file(state, file))
        loaded = timed("load", lambda: NeighbourIndex.from_state(load_file(file), backend=backend))
    figures["same_when_loaded"] = bool(np.array_equal(loaded.search(others, 10)[1], found[1][1]))
    return figures


@click.command()
@click.option("--n", default=1_000_000, show_default=True)
@click.option("--backend", "backends", multiple=True, type=click.Choice(BACKENDS), default=("ivfpq",), show_default=True)
@click.option("--n-clusters", default=300, show_default=True, help="1 is a cloud without any, the hardest.")
def main(n: int, backends: tuple[str, ...], n_clusters: int) -> None:
    for backend in backends:
        click.echo(json.dumps(measure_index(n, backend=backend, n_clusters=n_clusters)))


if __name__ == "__main__":
    main()

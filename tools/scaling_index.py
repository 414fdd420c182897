"""Measure search among many codes: `python tools/scaling_index.py [--n 1000000] [--backend ivfpq] [--n-clusters 300]`.

Prints one JSON object for each backend: seconds to build, ask, save and load, recall at 10 against exact search, and bytes.
With --grow 1000: seconds and bytes to add, replace and remove so many, and to save what changed.
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

import hourglass as hg
from hourglass.estimators.collection import Collection
from hourglass.estimators.entries import Entries
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


def measure_growth(
    n: int = 1_000_000,
    n_changed: int = 1000,
    n_components: int = 32,
    n_clusters: int = 300,
    seed: int = 0,
    backend: str = "exact",
) -> dict[str, Any]:
    """Save a model with an index of `n` codes; then add, replace and remove some, saving after each; load it."""
    figures: dict[str, Any] = {**locals(), "threads": torch.get_num_threads()}
    codes = clustered_codes(n + 2 * n_changed, n_components, n_clusters, seed)
    images = hg.load("digits").train.images[:200]
    ids = np.array([f"archive/2026/{row:09}.png" for row in range(n + n_changed)])
    model = hg.Retriever(n_components, network="linear", epochs=1, random_state=0, backend=backend).fit(images)
    model._collection = Collection(NeighbourIndex(codes[:n].copy(), model.metric, backend), Entries(ids[:n]))
    some = np.random.default_rng(seed).choice(n, n_changed, replace=False)
    changes: dict[str, Callable[[], Any]] = {
        "add": lambda: model._collection.append(codes[n : n + n_changed], ids[n:], None),
        "replace": lambda: model._collection.update(codes[n + n_changed :], ids[some], None),
        "remove": lambda: model.remove(ids[n:]),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.hg"

        def save(name: str) -> None:
            before = {file.name: file.stat().st_mtime_ns for file in path.glob("*")}
            start = time.perf_counter()
            model.save(path)
            figures[f"{name}_save_s"] = time.perf_counter() - start
            written = [file.stat() for file in path.glob("*") if file.stat().st_mtime_ns != before.get(file.name)]
            figures[f"{name}_bytes"] = sum(file.st_size for file in written)

        save("first")
        for name, change in changes.items():
            start = time.perf_counter()
            change()
            figures[f"{name}_s"] = time.perf_counter() - start
            save(name)
        start = time.perf_counter()
        loaded = hg.load_model(path)
        figures["load_s"] = time.perf_counter() - start
        figures["same_when_loaded"] = bool(np.array_equal(loaded.ids_, model.ids_))
    return figures


@click.command()
@click.option("--n", default=1_000_000, show_default=True)
@click.option("--backend", "backends", multiple=True, type=click.Choice(BACKENDS), default=("ivfpq",), show_default=True)
@click.option("--n-clusters", default=300, show_default=True, help="1 is a cloud without any, the hardest.")
@click.option("--grow", type=click.IntRange(1), help="Measure how long changes of so many take, in place of searches.")
def main(n: int, backends: tuple[str, ...], n_clusters: int, grow: int | None) -> None:
    for backend in backends:
        if grow is None:
            click.echo(json.dumps(measure_index(n, backend=backend, n_clusters=n_clusters)))
        else:
            click.echo(json.dumps(measure_growth(n, grow, n_clusters=n_clusters, backend=backend)))


if __name__ == "__main__":
    main()

"""Evaluation of search: whether the nearest images have the same class."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.estimators import Retriever
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.images import Array, Float32, to_float

_QUERIES = 1000
_CHUNK = 100


def search(setting: Setting) -> list[Measurement]:
    """Mean average precision over the whole ranking, recall at 10, and the time of 1,000 queries.

    An image is relevant to a query if it has the same label. Recall at 10 is the number of relevant images among the ten
    nearest, divided by the number of relevant images, at most ten. Baselines are ranked by Euclidean distance and by cosine.
    The index for timing holds training and test images.
    """
    train, test, seed = setting.dataset.train, setting.dataset.test, setting.seed
    chosen = np.random.default_rng(seed).permutation(len(test))[:_QUERIES]
    queries, query_labels = test.images[chosen], test.known_labels[chosen]
    retriever, seconds = setting.fit(Retriever(), train.images, name="search")
    n_components = retriever.settings_["n_components"]
    pca = PrincipalComponents(n_components).fit(train.images)
    encoders: dict[str, Callable[[Array], Float32]] = {
        "ours": retriever.encode,
        f"PCA-{n_components}": pca.transform,
        "raw pixels": lambda images: to_float(images).reshape(len(images), -1),
    }
    results = {}
    for name, encode in encoders.items():
        codes, query_codes = encode(train.images), encode(queries)
        if name != "ours":
            results[name] = rank_metrics(codes, query_codes, train.known_labels, query_labels)
        by_cosine = rank_metrics(unit_vectors(codes), unit_vectors(query_codes), train.known_labels, query_labels)
        results[name if name == "ours" else f"{name}, cosine"] = by_cosine
    nearest = retriever.kneighbors(queries[:5], 9)[1]
    setting.pictures["search"] = {
        f"query {number}": np.concatenate([queries[[number - 1]], train.images[rows]]) for number, rows in enumerate(nearest, 1)
    }
    retriever.add(test.images)
    start = time.perf_counter()
    retriever.kneighbors(queries, 10)
    query_seconds = time.perf_counter() - start
    rows = []
    for measure in results["ours"]:
        baselines = {name: values[measure] for name, values in results.items() if name != "ours"}
        bar = ("≥", max(baselines.values())) if setting.has_bars else None
        rows.append(Measurement("search", measure, results["ours"][measure], ".4f", baselines, seed, seconds, bar, True))
    time_bar = ("≤", 1.0) if setting.has_bars else None
    measure = f"seconds for {len(queries):,} queries over {len(retriever.index_):,} images"
    rows.append(Measurement("search", measure, query_seconds, ".2f", {}, seed, seconds, time_bar))
    return rows


def rank_metrics(codes: Float32, queries: Float32, labels: NDArray[Any], query_labels: NDArray[Any]) -> dict[str, float]:
    """Return mean average precision of the whole ranking by Euclidean distance, and recall at 10 as `search` defines it."""
    precisions, recalls = [], []
    squares = np.square(codes).sum(1)
    for start in range(0, len(queries), _CHUNK):
        chunk = queries[start : start + _CHUNK]
        order = np.argsort(squares - 2 * chunk @ codes.T, axis=1, kind="stable")
        relevant = labels[order] == query_labels[start : start + _CHUNK, None]
        ranks = np.arange(1, relevant.shape[1] + 1)
        precision_at_hits = np.cumsum(relevant, axis=1) / ranks * relevant
        precisions.append(precision_at_hits.sum(1) / np.maximum(relevant.sum(1), 1))
        recalls.append(relevant[:, :10].sum(1) / np.clip(relevant.sum(1), 1, 10))
    return {
        "mean average precision": float(np.concatenate(precisions).mean()),
        "recall at 10": float(np.concatenate(recalls).mean()),
    }


def unit_vectors(codes: Float32) -> Float32:
    """Scale codes to length 1, so that Euclidean distances rank like the cosine."""
    normalised: Float32 = codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-12)
    return normalised

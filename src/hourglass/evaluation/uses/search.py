"""Search: are the nearest images of the same class?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.estimators import Retriever
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.uses.rows import Row, Setting
from hourglass.images import Array, Float32, to_float

_QUERIES = 1000
_BLOCK = 100


def search(setting: Setting) -> list[Row]:
    """Mean average precision over the whole ranking, recall at 10, and the time of 1,000 queries.

    An image is relevant to a query if it has its label. Recall at 10 is the share of relevant images among the ten nearest, of
    the ten that there can be. Baselines are ranked by Euclidean distance and by cosine. The index for the time holds training
    and test images.
    """
    train, test, seed = setting.dataset.train, setting.dataset.test, setting.seed
    chosen = np.random.default_rng(seed).permutation(len(test))[:_QUERIES]
    queries, wanted = test.images[chosen], test.known_labels[chosen]
    retriever, seconds = setting.fit(Retriever(), train.images, name="search")
    n_components = retriever.settings_["n_components"]
    pca = PrincipalComponents(n_components).fit(train.images)
    encoders: dict[str, Callable[[Array], Float32]] = {
        "ours": retriever.encode,
        f"PCA-{n_components}": pca.transform,
        "raw pixels": lambda images: to_float(images).reshape(len(images), -1),
    }
    found = {}
    for name, encode in encoders.items():
        known, asked = encode(train.images), encode(queries)
        if name != "ours":
            found[name] = rank_metrics(known, asked, train.known_labels, wanted)
        by_angle = rank_metrics(directions(known), directions(asked), train.known_labels, wanted)
        found[name if name == "ours" else f"{name}, cosine"] = by_angle
    nearest = retriever.kneighbors(queries[:5], 9)[1]
    setting.pictures["search"] = {
        f"query {number}": np.concatenate([queries[[number - 1]], train.images[rows]]) for number, rows in enumerate(nearest, 1)
    }
    retriever.add(test.images)
    start = time.perf_counter()
    retriever.kneighbors(queries, 10)
    waited = time.perf_counter() - start
    rows = []
    for measure in found["ours"]:
        others = {name: values[measure] for name, values in found.items() if name != "ours"}
        bar = ("≥", max(others.values())) if setting.has_bars else None
        rows.append(Row("search", measure, found["ours"][measure], ".4f", others, seed, seconds, bar))
    time_bar = ("≤", 1.0) if setting.has_bars else None
    words = f"seconds for {len(queries):,} queries over {len(retriever.index_):,} images"
    rows.append(Row("search", words, waited, ".2f", {}, seed, seconds, time_bar))
    return rows


def rank_metrics(known: Float32, queries: Float32, labels: NDArray[Any], wanted: NDArray[Any]) -> dict[str, float]:
    """Mean average precision of the whole ranking by Euclidean distance, and recall at 10, of the ten that there can be."""
    precisions, hits = [], []
    squares = np.square(known).sum(1)
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        order = np.argsort(squares - 2 * block @ known.T, axis=1, kind="stable")
        relevant = labels[order] == wanted[start : start + _BLOCK, None]
        ranks = np.arange(1, relevant.shape[1] + 1)
        at_hits = np.cumsum(relevant, axis=1) / ranks * relevant
        precisions.append(at_hits.sum(1) / np.maximum(relevant.sum(1), 1))
        hits.append(relevant[:, :10].sum(1) / np.clip(relevant.sum(1), 1, 10))
    return {
        "mean average precision": float(np.concatenate(precisions).mean()),
        "recall at 10": float(np.concatenate(hits).mean()),
    }


def directions(codes: Float32) -> Float32:
    """Codes of length 1: their Euclidean distances rank as the cosine does."""
    scaled: Float32 = codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1e-12)
    return scaled

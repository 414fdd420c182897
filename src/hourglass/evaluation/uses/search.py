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
    """Mean average precision over the whole ranking, precision and recall at 10, and the time of 1,000 queries.

    An image is relevant to a query if it has its label. Recall at 10 is the share of queries with a relevant image among the
    ten nearest, as in metric learning. The index for the time holds training and test images.
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
    found = {
        name: rank_metrics(encode(train.images), encode(queries), train.known_labels, wanted)
        for name, encode in encoders.items()
    }
    nearest = retriever.kneighbors(queries[:5], 9)[1]
    setting.pictures["search"] = {
        f"query {number}": np.concatenate([queries[[number - 1]], train.images[rows]]) for number, rows in enumerate(nearest, 1)
    }
    retriever.add(test.images)
    start = time.perf_counter()
    retriever.kneighbors(queries, 10)
    asked = time.perf_counter() - start
    rows = []
    for measure in found["ours"]:
        others = {name: values[measure] for name, values in found.items() if name != "ours"}
        bar = ("≥", max(others.values())) if setting.has_bars else None
        rows.append(Row("search", measure, found["ours"][measure], ".4f", others, seed, seconds, bar))
    time_bar = ("≤", 1.0) if setting.has_bars else None
    words = f"seconds for {len(queries):,} queries over {len(retriever.index_):,} images"
    rows.append(Row("search", words, asked, ".2f", {}, seed, seconds, time_bar))
    return rows


def rank_metrics(known: Float32, queries: Float32, labels: NDArray[Any], wanted: NDArray[Any]) -> dict[str, float]:
    """Mean average precision of the whole ranking by Euclidean distance, and precision and recall at 10."""
    precisions, hits, reached = [], [], []
    squares = np.square(known).sum(1)
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        order = np.argsort(squares - 2 * block @ known.T, axis=1, kind="stable")
        relevant = labels[order] == wanted[start : start + _BLOCK, None]
        ranks = np.arange(1, relevant.shape[1] + 1)
        at_hits = np.cumsum(relevant, axis=1) / ranks * relevant
        precisions.append(at_hits.sum(1) / np.maximum(relevant.sum(1), 1))
        hits.append(relevant[:, :10].mean(1))
        reached.append(relevant[:, :10].any(1))
    return {
        "mean average precision": float(np.concatenate(precisions).mean()),
        "precision at 10": float(np.concatenate(hits).mean()),
        "recall at 10": float(np.concatenate(reached).mean()),
    }

"""The nearest of many codes: exact by default, by FAISS for millions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.errors import ParameterError

Codes = NDArray[np.float32]

METRICS = ("euclidean", "cosine")
BACKENDS = ("exact", "faiss")
_BLOCK = 1 << 25  # distances at once: 128 MiB
_SPARE = 8  # candidates beyond k, whose order is settled by exact distances


class NeighbourIndex:
    """Codes that can be searched and added to.

    Parameters
    ----------
    codes : ndarray (n, n_components), float32
    metric : {"euclidean", "cosine"}
        "cosine" is 1 - the cosine of the angle between two codes.
    backend : {"exact", "faiss"}
        "faiss" (the extra `hourglass[faiss]`) searches a graph of neighbours (HNSW; Malkov and Yashunin 2018): fast among
        millions, and it may miss some.

    Raises
    ------
    ParameterError
        For an unknown metric or backend, or where faiss is not installed.
    """

    def __init__(self, codes: Codes, metric: str = "euclidean", backend: str = "exact") -> None:
        if metric not in METRICS:
            raise ParameterError(f"metric={metric!r}; allowed: {', '.join(METRICS)}.")
        if backend not in BACKENDS:
            raise ParameterError(f"backend={backend!r}; allowed: {', '.join(BACKENDS)}.")
        self.metric, self.backend = metric, backend
        self.codes = codes
        self._graph = _graph(codes.shape[1]) if backend == "faiss" else None
        self._vectors = np.empty((0, codes.shape[1]), dtype=np.float32)
        self._take(codes)

    def __len__(self) -> int:
        return len(self.codes)

    def add(self, codes: Codes) -> None:
        """Append `codes` (n, n_components); they are found from now on."""
        self.codes = np.concatenate([self.codes, codes])
        self._take(codes)

    def search(self, queries: Codes, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The `k` nearest codes of each query, nearest first.

        Returns
        -------
        distances : ndarray (n_queries, k), float32
        rows : ndarray (n_queries, k), int64

        Raises
        ------
        ParameterError
            If there are fewer than `k` codes.
        """
        if not 1 <= k <= len(self):
            raise ParameterError(f"{k} neighbours are asked for; allowed: 1 to {len(self)}, the number of codes.")
        wanted = self._prepared(queries)
        candidates = self._candidates(wanted, min(k + _SPARE, len(self)))
        distances = np.empty((len(queries), k), dtype=np.float32)
        rows = np.empty((len(queries), k), dtype=np.int64)
        for start in range(0, len(queries), 1024):  # the candidates' distances by subtraction, which does not cancel
            part = slice(start, start + 1024)
            gaps = self._vectors[candidates[part]] - wanted[part, None]
            exact = np.einsum("nkd,nkd->nk", gaps, gaps)
            order = np.argsort(exact, axis=1, kind="stable")[:, :k]
            rows[part] = np.take_along_axis(candidates[part], order, axis=1)
            squares = np.take_along_axis(exact, order, axis=1)
            distances[part] = squares / 2 if self.metric == "cosine" else np.sqrt(squares)
        return distances, rows

    def _prepared(self, codes: Codes) -> Codes:
        """What is compared by Euclidean distance."""
        if self.metric == "euclidean":
            return np.ascontiguousarray(codes, dtype=np.float32)
        lengths = np.linalg.norm(codes, axis=1, keepdims=True)
        return np.ascontiguousarray(codes / np.maximum(lengths, 1e-12), dtype=np.float32)

    def _take(self, codes: Codes) -> None:
        vectors = self._prepared(codes)
        self._vectors = np.concatenate([self._vectors, vectors])
        if self._graph is not None:
            self._graph.add(vectors)

    def _candidates(self, queries: Codes, count: int) -> NDArray[np.int64]:
        if self._graph is not None:
            found: NDArray[np.int64] = self._graph.search(queries, count)[1]
            return np.where(found < 0, found[:, :1], found)  # -1: the graph reached fewer
        vectors = torch.from_numpy(self._vectors)
        squares = vectors.square().sum(1)
        rows = np.empty((len(queries), count), dtype=np.int64)
        step = max(1, _BLOCK // len(vectors))
        for start in range(0, len(queries), step):
            block = torch.from_numpy(queries[start : start + step])
            # ‖q - v‖² without ‖q‖², which is the same for all v
            near = torch.addmm(squares, block, vectors.T, alpha=-2).topk(count, dim=1, largest=False, sorted=False)
            rows[start : start + step] = near.indices.numpy()
        return rows


def _graph(n_components: int) -> Any:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ParameterError('backend="faiss" needs faiss: pip install "hourglass[faiss]", or use "exact".') from error
    graph = faiss.IndexHNSWFlat(n_components, 32)
    graph.hnsw.efSearch = 128
    return graph

"""The nearest of many codes: exact by default, by FAISS for millions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError, ParameterError
from hourglass.latent.growing import GrowingArray
from hourglass.latent.quantised import Quantised
from hourglass.latent.searchers import Codes, Exact, Graph, Rows, Searcher, Store, comparable

METRICS = ("euclidean", "cosine")
SEARCHERS: dict[str, type[Searcher]] = {"exact": Exact, "faiss": Graph, "ivfpq": Quantised}
BACKENDS = tuple(SEARCHERS)
_NUMBERS = 1 << 23  # of candidates, compared at once: 32 MiB


class NeighbourIndex:
    """Codes that can be searched and added to.

    Parameters
    ----------
    codes : ndarray (n, n_components), float32
        Held, not copied; leave them as they are.
    metric : {"euclidean", "cosine"}
        "cosine" is 1 - the cosine of the angle between two codes; 1 where one of them is zero.
    backend : {"exact", "faiss", "ivfpq"}
        The last two need faiss (the extra `hourglass[faiss]`), are fast among millions, and may miss some: `recall` says how
        many. "faiss" walks a graph of neighbours (HNSW; Malkov and Yashunin 2018), which is built again whenever the index is.
        "ivfpq" looks into the nearest of many lists (Jégou, Douze and Schmid 2011); it is built faster, takes less memory,
        and what it has learned can be saved. Either only proposes candidates, whose distances are then measured exactly.
    state : dict, optional
        What `to_state` gave for the same codes, metric and backend, to be taken up instead of learned.

    Raises
    ------
    ParameterError
        For an unknown metric or backend, or where faiss is not installed.
    ValueError
        If `state` is not what `to_state` gives.
    """

    def __init__(
        self, codes: Codes, metric: str = "euclidean", backend: str = "exact", state: dict[str, Any] | None = None
    ) -> None:
        if metric not in METRICS:
            raise ParameterError(f"metric={metric!r}; allowed: {', '.join(METRICS)}.")
        if backend not in BACKENDS:
            raise ParameterError(f"backend={backend!r}; allowed: {', '.join(BACKENDS)}.")
        self.metric, self.backend = metric, backend
        self._store = Store(codes, metric)
        self._searcher = SEARCHERS[backend](self._store, state or {})

    @classmethod
    def from_batches(cls, batches: Iterable[Codes], n: int = 0, metric: str = "euclidean", backend: str = "exact") -> Self:
        """An index of codes that come in pieces.

        They are gathered before anything is learned from them: they are kept anyway, and the first of them need not be like
        the others.

        Parameters
        ----------
        batches : iterable of ndarray (m, n_components), float32
        n : int
            About how many codes will come; memory for them is taken at once.
        metric, backend
            Those of the class.

        Raises
        ------
        ParameterError
        DataError
            If there is no batch.
        """
        gathered: GrowingArray | None = None
        for codes in batches:
            if gathered is None:
                gathered = GrowingArray(np.empty((0, codes.shape[1]), dtype=np.float32), room=max(n, len(codes)))
            gathered.append(codes)
        if gathered is None:
            raise DataError("no codes came; an index needs at least one batch.")
        return cls(gathered.rows, metric, backend)

    @classmethod
    def from_state(cls, state: dict[str, Any], metric: str = "euclidean", backend: str = "exact") -> Self:
        """What `to_state` described. KeyError or ValueError if it is something else."""
        codes = state["codes"]
        if codes.ndim != 2 or 0 in codes.shape or codes.dtype != np.float32:
            raise ValueError(f"codes of shape {codes.shape} and type {codes.dtype}")
        return cls(codes, metric, backend, state)

    def to_state(self) -> dict[str, Any]:
        """The arrays to make the same index of: "codes", and what the backend has learned from them."""
        return {"codes": self.codes, **self._searcher.to_state()}

    def __len__(self) -> int:
        return len(self._store)

    @property
    def codes(self) -> Codes:
        """All codes, (n, n_components) float32."""
        return self._store.codes

    def add(self, codes: Codes) -> None:
        """Append `codes` (n, n_components); they are found from now on."""
        self._store.append(codes)
        self._searcher.take_up()

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
        DataError
            If queries have another number of components than the codes.
        """
        return self._search(self._searcher, queries, k)

    def recall(self, queries: Codes, k: int = 10) -> float:
        """The share of the `k` nearest codes of each query that `search` finds, in 0..1; 1 where it is exact.

        What is found counts if it is as near as the farthest of the `k` nearest: where codes are equal, either will do.

        Raises
        ------
        ParameterError, DataError
            As `search` does.
        """
        farthest = self._search(Exact(self._store), queries, k)[0][:, -1:]
        return float((self.search(queries, k)[0] <= farthest).mean())

    def _search(self, searcher: Searcher, queries: Codes, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if not 1 <= k <= len(self):
            raise ParameterError(f"{k} neighbours are asked for; allowed: 1 to {len(self)}, the number of codes.")
        if queries.shape[1:] != self.codes.shape[1:]:
            raise DataError(f"queries have shape {queries.shape}; the codes have {self.codes.shape[1]} components.")
        wanted = comparable(queries, self.metric)
        candidates = searcher.propose(wanted, min(searcher.n_candidates(k), len(self)))
        short = (candidates >= 0).sum(1) < k
        if short.any():  # a walk, or the lists, came by fewer
            candidates[short] = Exact(self._store).propose(wanted[short], candidates.shape[1])
        return self._nearest(wanted, candidates, k)

    def _nearest(self, wanted: Codes, candidates: Rows, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The `k` nearest candidates of each query, by subtraction, which does not cancel."""
        distances = np.empty((len(wanted), k), dtype=np.float32)
        rows = np.empty((len(wanted), k), dtype=np.int64)
        step = max(1, _NUMBERS // (candidates.shape[1] * wanted.shape[1]))
        for start in range(0, len(wanted), step):
            part = slice(start, start + step)
            vectors = self._store.vectors(candidates[part])
            gaps = vectors - wanted[part, None]
            squares = np.einsum("nkd,nkd->nk", gaps, gaps)
            if self.metric == "cosine":  # what has no direction is at a right angle to everything
                squares[~(vectors.any(2) & wanted[part, None].any(2))] = 2
            squares[candidates[part] < 0] = np.inf
            order = np.argsort(squares, axis=1, kind="stable")[:, :k]
            rows[part] = np.take_along_axis(candidates[part], order, axis=1)
            nearest = np.take_along_axis(squares, order, axis=1)
            distances[part] = nearest / 2 if self.metric == "cosine" else np.sqrt(nearest)
        return distances, rows

"""Nearest-neighbour search among codes: exact by default, approximate by FAISS for millions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError, ParameterError
from hourglass.latent.duplicates import ROUNDING, Codes, Rows, groups_of
from hourglass.latent.growing import GrowingArray
from hourglass.latent.inverted_file import InvertedFile
from hourglass.latent.searchers import Exact, Graph, Mask, Searcher, Store, normalise

METRICS = ("euclidean", "cosine")
SEARCHERS: dict[str, type[Searcher]] = {"exact": Exact, "faiss": Graph, "ivfpq": InvertedFile}
BACKENDS = tuple(SEARCHERS)
BY_ROW = ("codes", "index.encoded")
"""The arrays of a state that have a row for each code."""
_CHUNK = 1 << 23  # float32 values of candidates per chunk: 32 MiB
_FEW = 8  # where fewer than one row in so many is allowed, all of these are compared


class NeighbourIndex:
    """A nearest-neighbour index over codes that can grow and shrink.

    A row keeps its number when others are removed; `compact` numbers anew.

    Parameters
    ----------
    codes : ndarray (n, n_components), float32
        Referenced, not copied; do not modify them.
    metric : {"euclidean", "cosine"}
        "cosine" is 1 - the cosine of the angle between two codes, and 1 if one of them is zero.
    backend : {"exact", "faiss", "ivfpq"}
        "faiss" and "ivfpq" need faiss (the extra `faiss`). They are fast among millions of codes but approximate:
        `recall` measures how many neighbours they find. "faiss" searches a neighbour graph (HNSW; Malkov and Yashunin 2018),
        which is rebuilt with every index. "ivfpq" searches inverted lists (Jégou, Douze and Schmid 2011); it is faster to
        build, takes less memory, and its trained state can be saved. Both only propose candidates, whose exact distances
        settle the order.
    state : dict, optional
        Output of `to_state` for the same codes, metric and backend, restored instead of trained.

    Raises
    ------
    ParameterError
        For an unknown metric or backend, or if faiss is not installed.
    ValueError
        If `state` is invalid.
    """

    def __init__(
        self, codes: Codes, metric: str = "euclidean", backend: str = "exact", state: dict[str, Any] | None = None
    ) -> None:
        if metric not in METRICS:
            raise ParameterError(f"metric={metric!r}; allowed: {', '.join(METRICS)}.")
        if backend not in BACKENDS:
            raise ParameterError(f"backend={backend!r}; allowed: {', '.join(BACKENDS)}.")
        self.metric, self.backend = metric, backend
        state = state or {}
        self._store = Store(codes, metric, state.get("removed"))
        self._searcher = SEARCHERS[backend](self._store, state)

    @classmethod
    def from_batches(cls, batches: Iterable[Codes], n: int = 0, metric: str = "euclidean", backend: str = "exact") -> Self:
        """Build an index from batches of codes.

        The backend is trained once all codes are there, because the first batches need not be representative.

        Parameters
        ----------
        batches : iterable of ndarray (m, n_components), float32
        n : int
            Approximate total number of codes, to preallocate memory.
        metric, backend
            As for the class.

        Raises
        ------
        ParameterError
        DataError
            If there is no batch.
        """
        collected: GrowingArray | None = None
        for codes in batches:
            if collected is None:
                collected = GrowingArray(np.empty((0, codes.shape[1]), dtype=np.float32), capacity=max(n, len(codes)))
            collected.append(codes)
        if collected is None:
            raise DataError("batches is empty; an index needs at least one batch.")
        return cls(collected.rows, metric, backend)

    @classmethod
    def from_state(cls, state: dict[str, Any], metric: str = "euclidean", backend: str = "exact") -> Self:
        """Return the index that `to_state` described. Raises KeyError or ValueError for an invalid state."""
        codes, removed = state["codes"], state.get("removed", np.empty(0, np.int64))
        if codes.ndim != 2 or 0 in codes.shape or codes.dtype != np.float32:
            raise ValueError(f"codes of shape {codes.shape} and type {codes.dtype}")
        is_valid = removed.ndim == 1 and removed.dtype == np.int64 and len(np.unique(removed)) == len(removed) < len(codes)
        if not is_valid or (len(removed) and not 0 <= removed.min() <= removed.max() < len(codes)):
            raise ValueError(f"removed rows of shape {removed.shape} and type {removed.dtype} among {len(codes)}")
        return cls(codes, metric, backend, state)

    def to_state(self) -> dict[str, Any]:
        """Return the arrays that restore this index: "codes", "removed" if some are, and the trained state of the backend."""
        removed = {"removed": self.removed} if len(self.removed) else {}
        return {"codes": self._store.codes, **removed, **self._searcher.to_state()}

    def __len__(self) -> int:
        return len(self._store) - len(self.removed)

    @property
    def n_rows(self) -> int:
        """Number of rows, the removed ones included."""
        return len(self._store)

    @property
    def codes(self) -> Codes:
        """All codes that were not removed, (n, n_components) float32."""
        return self._store.codes[self.live] if len(self.removed) else self._store.codes

    @property
    def live(self) -> Mask:
        """(n_rows,): False for removed rows."""
        return self._store.live

    @property
    def removed(self) -> Rows:
        """Removed rows, in the order of their removal."""
        return self._store.removed

    def add(self, codes: Codes) -> None:
        """Add `codes` (n, n_components) as rows from `n_rows` on."""
        self._store.append(codes)
        self._searcher.update()

    def remove(self, rows: Rows) -> None:
        """Remove `rows`, which are different and not removed yet: no search finds them."""
        self._store.remove(rows)

    def truncate(self, n_rows: int, n_removed: int = 0) -> None:
        """Undo: keep the first `n_rows` rows and `n_removed` removals. The backend is built again if there are more rows."""
        is_shorter = self.n_rows > n_rows
        self._store.truncate(n_rows, n_removed)
        if is_shorter:
            self._searcher = SEARCHERS[self.backend](self._store, {})

    def compact(self) -> Self:
        """This index without the removed rows, and its rows numbered anew; the backend keeps what it was trained to."""
        state = {key: value[self.live] if key in BY_ROW else value for key, value in self.to_state().items()}
        state.pop("removed", None)
        return type(self)(state["codes"], self.metric, self.backend, state)

    def duplicates(self, tolerance: float = ROUNDING, first_new: int = 0) -> list[Rows]:
        """Groups of rows with the same code but for rounding, as `groups_of` gives them."""
        store = self._store
        return groups_of(store.codes, store.places, np.flatnonzero(store.live), tolerance, first_new)

    def search(self, queries: Codes, k: int, allowed: Mask | None = None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the `k` nearest codes of each query, nearest first.

        Parameters
        ----------
        queries : ndarray (n_queries, n_components), float32
        k : int
        allowed : ndarray (n_rows,), bool, optional
            The rows to search; by default all. Removed rows are never found.

        Returns
        -------
        distances : ndarray (n_queries, k), float32
        rows : ndarray (n_queries, k), int64

        Raises
        ------
        ParameterError
            If there are fewer than `k` codes.
        DataError
            If queries and codes differ in their number of components.
        """
        return self._search(self._searcher, queries, k, allowed)

    def recall(self, queries: Codes, k: int = 10) -> float:
        """Return the share of the true `k` nearest codes that `search` finds, in 0..1; 1 for exact search.

        A code counts as found if it is as near as the k-th nearest, so that ties do not matter.

        Raises
        ------
        ParameterError, DataError
            As `search` does.
        """
        farthest = self._search(Exact(self._store), queries, k)[0][:, -1:]
        return float((self.search(queries, k)[0] <= farthest).mean())

    def _search(
        self, searcher: Searcher, queries: Codes, k: int, allowed: Mask | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if len(self.removed):
            allowed = self.live if allowed is None else allowed & self.live
        n_allowed = len(self) if allowed is None else int(np.count_nonzero(allowed))
        if not 1 <= k <= n_allowed:
            chosen = "that labels and where allow" if n_allowed < len(self) else "in the index"
            raise ParameterError(f"n_neighbors={k}; allowed: 1 to {n_allowed}, the number of codes {chosen}.")
        if queries.shape[1:] != self._store.codes.shape[1:]:
            raise DataError(f"queries have shape {queries.shape}; the codes have {self._store.codes.shape[1]} components.")
        queries = normalise(queries, self.metric)
        if _FEW * n_allowed < self.n_rows:
            searcher = Exact(self._store)
        candidates = searcher.propose(queries, min(searcher.n_candidates(k), n_allowed), allowed)
        short = (candidates >= 0).sum(1) < k
        if short.any():  # the graph or the inverted lists gave too few candidates
            candidates[short] = Exact(self._store).propose(queries[short], candidates.shape[1], allowed)
        return self._nearest(queries, candidates, k)

    def _nearest(self, queries: Codes, candidates: Rows, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the `k` nearest candidates of each query, from differences, which avoid cancellation."""
        distances = np.empty((len(queries), k), dtype=np.float32)
        rows = np.empty((len(queries), k), dtype=np.int64)
        step = max(1, _CHUNK // (candidates.shape[1] * queries.shape[1]))
        for start in range(0, len(queries), step):
            chunk = slice(start, start + step)
            vectors = self._store.vectors(candidates[chunk])
            differences = vectors - queries[chunk, None]
            squares = np.einsum("nkd,nkd->nk", differences, differences)
            if self.metric == "cosine":  # zero vectors are orthogonal to everything
                squares[~(vectors.any(2) & queries[chunk, None].any(2))] = 2
            squares[candidates[chunk] < 0] = np.inf
            order = np.argsort(squares, axis=1, kind="stable")[:, :k]
            rows[chunk] = np.take_along_axis(candidates[chunk], order, axis=1)
            nearest = np.take_along_axis(squares, order, axis=1)
            distances[chunk] = nearest / 2 if self.metric == "cosine" else np.sqrt(nearest)
        return distances, rows

"""Candidate search: which codes may be the nearest, before exact distances settle the order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.errors import ParameterError
from hourglass.latent.duplicates import Codes, Places, Rows, places_of
from hourglass.latent.growing import GrowingArray

Mask = NDArray[np.bool_]

_CHUNK = 1 << 25  # distances per chunk: 128 MiB
_SPARE = 8  # candidates beyond k


@final
class Store:
    """The codes (n, n_components), float32, the metric that compares them, and which of their rows were removed.

    A removed row keeps its place, so that the numbers of all others stay.

    Parameters
    ----------
    codes : ndarray (n, n_components), float32
        Not copied if contiguous and writable.
    metric : {"euclidean", "cosine"}
    removed : ndarray (m,), int64, optional
        Rows that were removed, in order.
    """

    def __init__(self, codes: NDArray[Any], metric: str, removed: Rows | None = None) -> None:
        self.metric = metric
        self._array = GrowingArray(np.require(codes, np.float32, ["C", "W"]))  # torch warns about read-only arrays
        self._live = GrowingArray(np.ones(len(codes), dtype=bool))
        self._removed = GrowingArray(np.empty(0, dtype=np.int64))
        self._places = GrowingArray(np.empty((0, 2)))
        if removed is not None:
            self.remove(removed)

    def __len__(self) -> int:
        return len(self._array)

    @property
    def codes(self) -> Codes:
        """All codes, those of removed rows among them."""
        return self._array.rows

    @property
    def live(self) -> Mask:
        """(n,): False for removed rows."""
        return self._live.rows

    @property
    def removed(self) -> Rows:
        """Removed rows, in the order of their removal."""
        return self._removed.rows

    @property
    def places(self) -> Places:
        """Where the codes stand in the search for duplicates, (n, 2); computed once for each code."""
        missing = self.codes[len(self._places) :]
        if len(missing):
            self._places.append(places_of(missing))
        return self._places.rows

    def append(self, codes: Codes) -> None:
        self._array.append(np.asarray(codes, dtype=np.float32))
        self._live.append(np.ones(len(codes), dtype=bool))

    def remove(self, rows: Rows) -> None:
        self._removed.append(rows)
        self._live.rows[rows] = False

    def truncate(self, n: int, n_removed: int) -> None:
        """Keep the first `n` rows and the first `n_removed` removals."""
        self._array.truncate(n)
        self._live.truncate(n)
        self._places.truncate(n)
        undone = self.removed[n_removed:]
        self._live.rows[undone[undone < n]] = True
        self._removed.truncate(n_removed)

    def vectors(self, rows: slice | NDArray[np.int64]) -> Codes:
        """Return the codes in `rows`, normalised for the metric: (..., n_components)."""
        return normalise(self.codes[rows], self.metric)


def normalise(codes: Codes, metric: str) -> Codes:
    """Return vectors (..., n_components) to compare by Euclidean distance: `codes`, or unit vectors for the cosine metric."""
    if metric == "euclidean":
        return np.ascontiguousarray(codes, dtype=np.float32)
    norms = np.linalg.norm(codes, axis=-1, keepdims=True)
    return np.ascontiguousarray(codes / np.maximum(norms, 1e-12), dtype=np.float32)


class Searcher(ABC):
    """Base class of searchers, which propose candidates among the codes of a store.

    Parameters
    ----------
    store : Store
    state : dict
        Output of `to_state` of a searcher of the same codes; empty to train on the codes.
    """

    _store: Store

    @abstractmethod
    def __init__(self, store: Store, state: dict[str, Any]) -> None: ...

    @abstractmethod
    def update(self) -> None:
        """Index the codes that were appended to the store since the last call."""

    @abstractmethod
    def propose(self, queries: Codes, count: int, allowed: Mask | None = None) -> Rows:
        """Return rows of `count` candidates for each normalised query, in any order; -1 fills missing ones.

        Parameters
        ----------
        queries : ndarray (n_queries, n_components), float32
        count : int
            At most the number of allowed rows.
        allowed : ndarray (n,), bool, optional
            The rows to search; all by default.
        """

    def n_candidates(self, k: int) -> int:
        """Return how many candidates to request so that the `k` nearest are among them."""
        return k + _SPARE

    def to_state(self) -> dict[str, Any]:
        """Return the arrays that are expensive to train, by name."""
        return {}


@final
class Exact(Searcher):
    """Brute-force search over all codes."""

    def __init__(self, store: Store, state: dict[str, Any] | None = None) -> None:
        self._store = store
        self._scalars = GrowingArray(np.empty(0, dtype=np.float32))
        self.update()

    def update(self) -> None:
        """Store the squared norm of each new code, or -1 / norm for the cosine metric."""
        new = self._store.codes[len(self._scalars) :]
        squares = np.einsum("nd,nd->n", new, new)
        scalars = squares if self._store.metric == "euclidean" else -1 / np.maximum(np.sqrt(squares), np.float32(1e-12))
        self._scalars.append(scalars)

    def propose(self, queries: Codes, count: int, allowed: Mask | None = None) -> Rows:
        """Return the nearest codes, up to the rounding of float32 dot products."""
        codes, scalars = self._store.codes, self._scalars.rows
        if allowed is not None and 2 * np.count_nonzero(allowed) < len(codes):  # copying them costs less than all distances
            among = np.flatnonzero(allowed)
            return among[_nearest(self._store.metric, codes[among], scalars[among], queries, count)]
        return _nearest(self._store.metric, codes, scalars, queries, count, None if allowed is None else ~allowed)


def _nearest(metric: str, codes: Codes, scalars: Codes, queries: Codes, count: int, forbidden: Mask | None = None) -> Rows:
    """The rows of the `count` nearest `codes` of each query, in any order; `scalars` are those of `Exact`."""
    known, of_known = torch.from_numpy(codes), torch.from_numpy(scalars)
    columns = None if forbidden is None else torch.from_numpy(np.flatnonzero(forbidden))
    rows = np.empty((len(queries), count), dtype=np.int64)
    step = max(1, _CHUNK // len(codes))
    for start in range(0, len(queries), step):
        chunk = torch.from_numpy(queries[start : start + step])
        if metric == "euclidean":  # ‖q - c‖² without ‖q‖², which is the same for all c
            distances = torch.addmm(of_known, chunk, known.T, alpha=-2)
        else:
            distances = (chunk @ known.T).mul_(of_known)
        if columns is not None:
            distances[:, columns] = torch.inf
        rows[start : start + step] = distances.topk(count, dim=1, largest=False, sorted=False).indices.numpy()
    return rows


@final
class Graph(Searcher):
    """Approximate search in a neighbour graph (HNSW; Malkov and Yashunin 2018), by FAISS; the graph is never saved."""

    def __init__(self, store: Store, state: dict[str, Any]) -> None:
        self._store = store
        self._graph = import_faiss("faiss").IndexHNSWFlat(store.codes.shape[1], 32)
        self._graph.hnsw.efSearch = 128
        self.update()

    def update(self) -> None:
        """Add new codes to the graph."""
        self._graph.add(self._store.vectors(slice(self._graph.ntotal, None)))

    def propose(self, queries: Codes, count: int, allowed: Mask | None = None) -> Rows:
        """Return the nearest codes that the graph search visits."""
        settings = None
        if allowed is not None:
            faiss = import_faiss("faiss")
            settings = faiss.SearchParametersHNSW(sel=selector(allowed), efSearch=self._graph.hnsw.efSearch)
        rows: Rows = self._graph.search(queries, count, params=settings)[1]
        return rows


def selector(allowed: Mask) -> Any:
    """A mask (n,) as FAISS takes it."""
    return import_faiss("faiss").IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def import_faiss(backend: str) -> Any:
    """Import faiss. Raises ParameterError, naming `backend`, if it is not installed."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ParameterError(
            f'backend="{backend}" needs faiss: pip install "hourglass-autoencoders[faiss]", or use "exact".'
        ) from error
    return faiss

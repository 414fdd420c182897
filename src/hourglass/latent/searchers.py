"""Which codes may be the nearest: candidates, whose order exact distances then settle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.errors import ParameterError
from hourglass.latent.growing import GrowingArray

Codes = NDArray[np.float32]
Rows = NDArray[np.int64]

_BLOCK = 1 << 25  # distances at once: 128 MiB
_SPARE = 8  # candidates beyond k


@final
class Store:
    """Codes as they came, (n, n_components) float32, and how they are compared.

    Parameters
    ----------
    codes : ndarray (n, n_components), float32
        Held, not copied, where they are contiguous.
    metric : {"euclidean", "cosine"}
    """

    def __init__(self, codes: NDArray[Any], metric: str) -> None:
        self.metric = metric
        self._growing = GrowingArray(np.require(codes, np.float32, ["C", "W"]))  # torch warns of arrays that are read-only

    def __len__(self) -> int:
        return len(self._growing)

    @property
    def codes(self) -> Codes:
        return self._growing.rows

    def append(self, codes: Codes) -> None:
        self._growing.append(np.asarray(codes, dtype=np.float32))

    def vectors(self, rows: slice | NDArray[np.int64]) -> Codes:
        """What is compared by Euclidean distance of the codes in these rows: (..., n_components)."""
        return comparable(self.codes[rows], self.metric)


def comparable(codes: Codes, metric: str) -> Codes:
    """What of `codes` (..., n_components) is compared by Euclidean distance: themselves, or for the cosine their directions."""
    if metric == "euclidean":
        return np.ascontiguousarray(codes, dtype=np.float32)
    lengths = np.linalg.norm(codes, axis=-1, keepdims=True)
    return np.ascontiguousarray(codes / np.maximum(lengths, 1e-12), dtype=np.float32)


class Searcher(ABC):
    """Base of what proposes candidates from the codes of a store, which it has taken up.

    Parameters
    ----------
    store : Store
    state : dict
        What `to_state` gave of a searcher of the same codes; empty to learn from the codes.
    """

    _store: Store

    @abstractmethod
    def __init__(self, store: Store, state: dict[str, Any]) -> None: ...

    @abstractmethod
    def take_up(self) -> None:
        """Take up the codes that have come into the store since the last time."""

    @abstractmethod
    def propose(self, queries: Codes, count: int) -> Rows:
        """The rows of `count` codes for each of the comparable `queries`, in any order; -1 where none was found."""

    def n_candidates(self, k: int) -> int:
        """How many candidates to ask for, that the `k` nearest are among them."""
        return k + _SPARE

    def to_state(self) -> dict[str, Any]:
        """The arrays that it takes time to make, by name; none where there are none."""
        return {}


@final
class Exact(Searcher):
    """Compares with every code."""

    def __init__(self, store: Store, state: dict[str, Any] | None = None) -> None:
        self._store = store
        self._scalars = GrowingArray(np.empty(0, dtype=np.float32))
        self.take_up()

    def take_up(self) -> None:
        """Note of each new code its squared length, or for the cosine -1 / its length."""
        new = self._store.codes[len(self._scalars) :]
        squares = np.einsum("nd,nd->n", new, new)
        scalars = squares if self._store.metric == "euclidean" else -1 / np.maximum(np.sqrt(squares), np.float32(1e-12))
        self._scalars.append(scalars)

    def propose(self, queries: Codes, count: int) -> Rows:
        """The nearest, as far as products of float32 tell."""
        codes, scalars = torch.from_numpy(self._store.codes), torch.from_numpy(self._scalars.rows)
        rows = np.empty((len(queries), count), dtype=np.int64)
        step = max(1, _BLOCK // len(codes))
        for start in range(0, len(queries), step):
            block = torch.from_numpy(queries[start : start + step])
            if self._store.metric == "euclidean":  # ‖q - c‖² without ‖q‖², which is the same for all c
                distances = torch.addmm(scalars, block, codes.T, alpha=-2)
            else:
                distances = (block @ codes.T).mul_(scalars)
            rows[start : start + step] = distances.topk(count, dim=1, largest=False, sorted=False).indices.numpy()
        return rows


@final
class Graph(Searcher):
    """Walks a graph of neighbours (HNSW; Malkov and Yashunin 2018), by FAISS. It is built anew from the codes each time."""

    def __init__(self, store: Store, state: dict[str, Any]) -> None:
        self._store = store
        self._graph = import_faiss("faiss").IndexHNSWFlat(store.codes.shape[1], 32)
        self._graph.hnsw.efSearch = 128
        self.take_up()

    def take_up(self) -> None:
        """Put the new codes into the graph."""
        self._graph.add(self._store.vectors(slice(self._graph.ntotal, None)))

    def propose(self, queries: Codes, count: int) -> Rows:
        """The nearest that the walk came by."""
        rows: Rows = self._graph.search(queries, count)[1]
        return rows


def import_faiss(backend: str) -> Any:
    """The module faiss. ParameterError that names `backend` where it is not installed."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ParameterError(f'backend="{backend}" needs faiss: pip install "hourglass[faiss]", or use "exact".') from error
    return faiss

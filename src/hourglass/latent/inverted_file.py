"""Approximate search among millions of codes: an inverted file with product quantisation, by FAISS."""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from hourglass.latent.duplicates import Codes, Rows
from hourglass.latent.growing import GrowingArray
from hourglass.latent.searchers import Exact, Mask, Searcher, Store, import_faiss, selector

_SAMPLES_PER_LIST = 64  # training codes per centroid
_WORDS = 256  # per codebook: one byte
_MAX_SUBVECTORS = 32  # bytes per code
_DEPTH = 4  # the probed lists hold about this many times the requested codes
_CHUNK = 1 << 16  # codes encoded per call


@final
class InvertedFile(Searcher):
    """An inverted file with product quantisation (IVF-PQ; Jégou, Douze and Schmid 2011).

    About 4·√n centroids are trained on the codes, and each code goes into the list of its nearest centroid. Its residual is
    split into subvectors of two values (more for codes of over 64 dimensions), and each subvector is stored as one byte, the
    index of its nearest word among 256 in a codebook of its own. A query is compared with the bytes in its nearest lists.

    Codes that are added later go into the existing lists. Centroids and codebooks are trained again once there are four times
    as many codes, so that the cost is amortised. If later codes follow another distribution, build a new index.

    Attributes
    ----------
    N_PROBES : int
        Lists searched per query, of about 4·√n. Measured with `tools/scaling_index.py`: recall at 10 reaches 0.95 among a
        million codes of 32 dimensions, even without any clusters.
    FEWEST : int
        Fewer codes are searched exactly, without lists; 256 per word of a codebook.
    """

    N_PROBES: ClassVar[int] = 128
    FEWEST: ClassVar[int] = _WORDS * _WORDS

    def __init__(self, store: Store, state: dict[str, Any]) -> None:
        self._store = store
        self._lists: Any = None  # a faiss.IndexIVFPQ once there are enough codes
        self._encoded = GrowingArray(np.empty((0, 0), dtype=np.uint8))  # list number and bytes of each code, in faiss's format
        import_faiss("ivfpq")  # fail now if it is missing, not once there are enough codes
        if any(key.startswith("index.") for key in state):
            self._restore(*(state[f"index.{name}"] for name in ("centroids", "codebooks", "encoded")))
        self.update()

    def __reduce__(self) -> tuple[Any, ...]:
        return InvertedFile, (self._store, self.to_state())

    def update(self) -> None:
        """Add new codes to the lists; train these first if there are none or too few."""
        n = len(self._store)
        if self._lists is None and n < self.FEWEST:
            return
        if self._lists is None or _n_lists(n) >= 2 * self._lists.nlist:
            self._train()
        for start in range(len(self._encoded), n, _CHUNK):
            encoded = self._lists.sa_encode(self._vectors(slice(start, start + _CHUNK)))
            self._add(encoded)
            self._encoded.append(encoded)

    def propose(self, queries: Codes, count: int, allowed: Mask | None = None) -> Rows:
        """Return the nearest codes in the probed lists, by quantised distance."""
        if self._lists is None:
            return Exact(self._store).propose(queries, count, allowed)
        share = _DEPTH * count / (len(self._store) if allowed is None else max(1, int(np.count_nonzero(allowed))))
        n_probes = min(self._lists.nlist, max(self.N_PROBES, math.ceil(share * self._lists.nlist)))
        chosen = {} if allowed is None else {"sel": selector(allowed)}
        settings = import_faiss("ivfpq").SearchParametersIVF(nprobe=n_probes, **chosen)
        rows: Rows = self._lists.search(_padded(queries), count, params=settings)[1]
        return rows

    def n_candidates(self, k: int) -> int:
        """Request more candidates than other searchers, because quantised distances rank less precisely."""
        return 4 * k + 10

    def to_state(self) -> dict[str, Any]:
        """Return centroids (n_lists, width) float32, codebooks (n_subvectors, 256, width) float32, encoded (n, …) uint8."""
        if self._lists is None:
            return {}
        n_subvectors, width = _subvectors(self._store.codes.shape[1])
        words = import_faiss("ivfpq").vector_to_array(self._lists.pq.centroids)
        return {
            "index.centroids": self._lists.quantizer.reconstruct_n(0, self._lists.nlist),
            "index.codebooks": words.reshape(n_subvectors, _WORDS, width),
            "index.encoded": self._encoded.rows,
        }

    def _train(self) -> None:
        n_lists, live = _n_lists(len(self._store)), np.flatnonzero(self._store.live)
        size = min(len(live), max(_SAMPLES_PER_LIST * n_lists, _WORDS * _WORDS))
        chosen = np.sort(np.random.default_rng(0).choice(live, size, replace=False))
        self._lists = _untrained(n_lists, self._store.codes.shape[1])
        self._lists.train(self._vectors(chosen))
        self._encoded = GrowingArray(np.empty((0, self._lists.sa_code_size()), dtype=np.uint8))

    def _restore(self, centroids: NDArray[Any], codebooks: NDArray[Any], encoded: NDArray[Any]) -> None:
        """Restore saved arrays; raise ValueError where faiss would access memory out of bounds or return garbage."""
        (n, n_components), (n_subvectors, width) = self._store.codes.shape, _subvectors(self._store.codes.shape[1])
        is_shaped = centroids.ndim == encoded.ndim == 2 and 1 <= len(centroids) <= max(1, n)
        if not is_shaped or centroids.shape[1] != n_subvectors * width or codebooks.shape != (n_subvectors, _WORDS, width):
            shapes = [array.shape for array in (centroids, codebooks, encoded)]
            raise ValueError(f"quantisers of shapes {shapes} for {n} codes of {n_components} dimensions")
        if [array.dtype.name for array in (centroids, codebooks, encoded)] != ["float32", "float32", "uint8"]:
            raise ValueError("quantisers of other types than float32, float32 and uint8")
        if not np.isfinite(centroids).all() or not np.isfinite(codebooks).all():
            raise ValueError("quantisers that are not finite")
        lists = _untrained(len(centroids), n_components)
        if encoded.shape != (n, lists.sa_code_size()):
            raise ValueError(f"encoded codes of shape {encoded.shape}; {(n, lists.sa_code_size())} are needed")
        numbers = np.zeros(n, dtype=np.int64)
        for position in range(encoded.shape[1] - n_subvectors):  # faiss writes the list number first, little-endian
            numbers += encoded[:, position].astype(np.int64) << 8 * position
        if n and numbers.max() >= len(centroids):
            raise ValueError(f"a code in list {numbers.max()} of {len(centroids)}")
        lists.quantizer.add(np.ascontiguousarray(centroids))
        import_faiss("ivfpq").copy_array_to_vector(np.ascontiguousarray(codebooks).reshape(-1), lists.pq.centroids)
        lists.is_trained = True
        self._lists = lists
        self._add(np.ascontiguousarray(encoded))
        self._encoded = GrowingArray(encoded)

    def _add(self, encoded: NDArray[np.uint8]) -> None:
        first = self._lists.ntotal
        rows = np.arange(first, first + len(encoded))  # faiss 1.13 keeps no reference, and would read freed memory
        self._lists.add_sa_codes(encoded, rows)

    def _vectors(self, rows: slice | NDArray[np.int64]) -> Codes:
        return _padded(self._store.vectors(rows))


def _n_lists(n: int) -> int:
    return round(4 * math.sqrt(n))


def _subvectors(n_components: int) -> tuple[int, int]:
    """(number of subvectors per code, width of each): two values wide, or as wide as 32 subvectors need."""
    width = max(2, math.ceil(n_components / _MAX_SUBVECTORS))
    return math.ceil(n_components / width), width


def _padded(vectors: Codes) -> Codes:
    """Pad `vectors` with zeros to whole subvectors, which changes no distance."""
    n_subvectors, width = _subvectors(vectors.shape[1])
    missing = n_subvectors * width - vectors.shape[1]
    return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors


def _untrained(n_lists: int, n_components: int) -> Any:
    """Return an untrained faiss index."""
    faiss = import_faiss("ivfpq")
    n_subvectors, width = _subvectors(n_components)
    lists = faiss.IndexIVFPQ(faiss.IndexFlatL2(n_subvectors * width), n_subvectors * width, n_lists, n_subvectors, 8)
    lists.use_precomputed_table = -1  # saves 256 values per list and subvector, and is as fast without
    for settings in (lists.cp, lists.pq.cp):
        settings.seed = 0
        settings.min_points_per_centroid = 1  # avoids a printed warning with few codes
    lists.cp.max_points_per_centroid = _SAMPLES_PER_LIST
    return lists

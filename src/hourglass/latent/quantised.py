"""Millions of codes at a few bytes each: an inverted file with product quantisation, by FAISS."""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from hourglass.latent.growing import GrowingArray
from hourglass.latent.searchers import Codes, Exact, Rows, Searcher, Store, import_faiss

_SAMPLE = 64  # codes of a list that its centroid is learned from
_WORDS = 256  # of a codebook: what one byte can tell apart
_MOST_BYTES = 32  # of a code
_DEPTH = 4  # the lists that are looked into hold so many times the codes that are asked for
_BLOCK = 1 << 16  # codes that are encoded at once


@final
class Quantised(Searcher):
    """An inverted file with product quantisation (IVF-PQ; Jégou, Douze and Schmid 2011).

    About 4·√n centroids are learned from the codes, and each code is put into the list of its nearest one. What a centroid
    leaves of it is cut into pieces of two numbers (of more, with over 64 numbers a code), and each piece stands as one byte:
    its nearest of 256 words in a codebook of its own. A query is held against the bytes in the lists that are nearest to it.

    Codes that come later go into the lists that are there; centroids and codebooks are learned anew when the codes have become
    four times as many, so that n codes cost the same however they come. If what comes is of another kind than what was there,
    make a new index of all.

    Attributes
    ----------
    N_PROBES : int
        Lists that are looked into for each query, of about 4·√n. By measurement (`tools/scaling_index.py`): recall at 10
        reaches 0.95 among a million codes of 32 numbers even where they lie in one cloud without clusters.
    FEWEST : int
        With fewer codes there are no lists: all are compared, which is exact. As many as 256 for each word of a codebook.
    """

    N_PROBES: ClassVar[int] = 128
    FEWEST: ClassVar[int] = _WORDS * _WORDS

    def __init__(self, store: Store, state: dict[str, Any]) -> None:
        self._store = store
        self._lists: Any = None  # of faiss, once there are enough codes
        self._encoded = GrowingArray(np.empty((0, 0), dtype=np.uint8))  # each code's list and bytes, as faiss encodes it
        import_faiss("ivfpq")  # where it is missing, it is missed now and not when there are enough codes
        if any(key.startswith("index.") for key in state):
            self._restore(*(state[f"index.{name}"] for name in ("centroids", "codebooks", "encoded")))
        self.take_up()

    def __reduce__(self) -> tuple[Any, ...]:
        return Quantised, (self._store, self.to_state())

    def take_up(self) -> None:
        """Put the new codes into the lists; learn these first, where there are none or too few by now."""
        n = len(self._store)
        if self._lists is None and n < self.FEWEST:
            return
        if self._lists is None or _n_lists(n) >= 2 * self._lists.nlist:
            self._learn()
        for start in range(len(self._encoded), n, _BLOCK):
            encoded = self._lists.sa_encode(self._pieces(slice(start, start + _BLOCK)))
            self._put(encoded)
            self._encoded.append(encoded)

    def propose(self, queries: Codes, count: int) -> Rows:
        """The nearest by what their bytes stand for, in the lists that are looked into."""
        if self._lists is None:
            return Exact(self._store).propose(queries, count)
        share = _DEPTH * count / len(self._store)
        n_probes = min(self._lists.nlist, max(self.N_PROBES, math.ceil(share * self._lists.nlist)))
        settings = import_faiss("ivfpq").SearchParametersIVF(nprobe=n_probes)
        rows: Rows = self._lists.search(_padded(queries), count, params=settings)[1]
        return rows

    def n_candidates(self, k: int) -> int:
        """Bytes rank roughly: more than others ask for."""
        return 4 * k + 10

    def to_state(self) -> dict[str, Any]:
        """Centroids (n_lists, width) float32, codebooks (n_pieces, 256, piece) float32, and encoded codes (n, …) uint8."""
        if self._lists is None:
            return {}
        n_pieces, piece = _cut(self._store.codes.shape[1])
        words = import_faiss("ivfpq").vector_to_array(self._lists.pq.centroids)
        return {
            "index.centroids": self._lists.quantizer.reconstruct_n(0, self._lists.nlist),
            "index.codebooks": words.reshape(n_pieces, _WORDS, piece),
            "index.encoded": self._encoded.rows,
        }

    def _learn(self) -> None:
        n = len(self._store)
        n_lists = _n_lists(n)
        size = min(n, max(_SAMPLE * n_lists, _WORDS * _WORDS))
        chosen = np.sort(np.random.default_rng(0).choice(n, size, replace=False))
        self._lists = _empty(n_lists, self._store.codes.shape[1])
        self._lists.train(self._pieces(chosen))
        self._encoded = GrowingArray(np.empty((0, self._lists.sa_code_size()), dtype=np.uint8))

    def _restore(self, centroids: NDArray[Any], codebooks: NDArray[Any], encoded: NDArray[Any]) -> None:
        """Take up saved arrays; ValueError where faiss would read or write out of bounds, or answer nonsense."""
        (n, n_components), (n_pieces, piece) = self._store.codes.shape, _cut(self._store.codes.shape[1])
        is_shaped = centroids.ndim == encoded.ndim == 2 and 1 <= len(centroids) <= max(1, n)
        if not is_shaped or centroids.shape[1] != n_pieces * piece or codebooks.shape != (n_pieces, _WORDS, piece):
            shapes = [array.shape for array in (centroids, codebooks, encoded)]
            raise ValueError(f"quantisers of shapes {shapes} for {n} codes of {n_components} numbers")
        if [array.dtype.name for array in (centroids, codebooks, encoded)] != ["float32", "float32", "uint8"]:
            raise ValueError("quantisers of other types than float32, float32 and uint8")
        if not np.isfinite(centroids).all() or not np.isfinite(codebooks).all():
            raise ValueError("quantisers that are not finite")
        lists = _empty(len(centroids), n_components)
        if encoded.shape != (n, lists.sa_code_size()):
            raise ValueError(f"encoded codes of shape {encoded.shape}; {(n, lists.sa_code_size())} are needed")
        numbers = np.zeros(n, dtype=np.int64)
        for place in range(encoded.shape[1] - n_pieces):  # the list's number comes first, its lowest byte first
            numbers += encoded[:, place].astype(np.int64) << 8 * place
        if n and numbers.max() >= len(centroids):
            raise ValueError(f"a code in list {numbers.max()} of {len(centroids)}")
        lists.quantizer.add(np.ascontiguousarray(centroids))
        import_faiss("ivfpq").copy_array_to_vector(np.ascontiguousarray(codebooks).reshape(-1), lists.pq.centroids)
        lists.is_trained = True
        self._lists = lists
        self._put(np.ascontiguousarray(encoded))
        self._encoded = GrowingArray(encoded)

    def _put(self, encoded: NDArray[np.uint8]) -> None:
        first = self._lists.ntotal
        self._lists.add_sa_codes(encoded, np.arange(first, first + len(encoded)))

    def _pieces(self, rows: slice | NDArray[np.int64]) -> Codes:
        return _padded(self._store.vectors(rows))


def _n_lists(n: int) -> int:
    return round(4 * math.sqrt(n))


def _cut(n_components: int) -> tuple[int, int]:
    """(how many pieces a code is cut into, of how many numbers each): two, or as many as 32 pieces need."""
    piece = max(2, math.ceil(n_components / _MOST_BYTES))
    return math.ceil(n_components / piece), piece


def _padded(vectors: Codes) -> Codes:
    """With zeros where pieces end after the last number: they change no distance."""
    n_pieces, piece = _cut(vectors.shape[1])
    missing = n_pieces * piece - vectors.shape[1]
    return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors


def _empty(n_lists: int, n_components: int) -> Any:
    """An index of faiss's, to be trained."""
    faiss = import_faiss("ivfpq")
    n_pieces, piece = _cut(n_components)
    lists = faiss.IndexIVFPQ(faiss.IndexFlatL2(n_pieces * piece), n_pieces * piece, n_lists, n_pieces, 8)
    lists.use_precomputed_table = -1  # 256 numbers for each list and piece, without which it is as fast
    for settings in (lists.cp, lists.pq.cp):
        settings.seed = 0
        settings.min_points_per_centroid = 1  # with few it would print a warning
    lists.cp.max_points_per_centroid = _SAMPLE
    return lists

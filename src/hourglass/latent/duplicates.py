"""Codes that are the same but for rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Codes = NDArray[np.float32]
Rows = NDArray[np.int64]
Places = NDArray[np.float64]

ROUNDING = 1e-5
"""Distance up to which two codes are the same, relative to the codes' typical norm. The code of one image differs from batch to
batch by units of float32's rounding: up to 1e-6."""
_CHUNK = 1 << 16  # codes in float64 at once
_SAMPLED = 10_000  # codes whose norms are typical


def places_of(codes: Codes) -> Places:
    """The places of codes (n, n_components) along two directions, (n, 2): no farther apart than the codes."""
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal((codes.shape[1], 2)))[0]
    directions = np.pad(directions, ((0, 0), (0, 2 - directions.shape[1])))  # of codes of one number
    parts = range(0, max(1, len(codes)), _CHUNK)
    return np.concatenate([codes[start : start + _CHUNK].astype(np.float64) @ directions for start in parts])


def groups_of(codes: Codes, places: Places, rows: Rows, tolerance: float = ROUNDING, first_new: int = 0) -> list[Rows]:
    """Groups of codes that are the same but for rounding.

    All are put in order along one direction, only neighbours in this order are compared, and the cost is that of sorting.

    Parameters
    ----------
    codes : ndarray (n, n_components), float32
    places : ndarray (n, 2), float64
        From `places_of`.
    rows : ndarray (m,), int64
        The rows to compare, ascending.
    tolerance : float
        Distance up to which two codes are the same, relative to the root mean square of the codes' norms.
    first_new : int
        Only groups with a code from this row on are sought.

    Returns
    -------
    list of ndarray, int64
        The rows of each group of at least two, ascending; groups in the order of their first row.
    """
    new = rows[np.searchsorted(rows, first_new) :]
    if len(rows) < 2 or not len(new):
        return []
    some = codes[rows[:: -(-len(rows) // _SAMPLED)]]
    limit = tolerance * float(np.sqrt(np.einsum("nd,nd->", some, some, dtype=np.float64) / len(some)))
    if len(new) < len(rows):
        rows = rows[_near(places[rows, 0], np.sort(places[new, 0]), limit)]
    rows = rows[np.argsort(places[rows, 0], kind="stable")]
    owners = _owners(codes, rows, places[rows], limit)
    is_shared = np.bincount(owners, minlength=len(rows))[owners] > 1
    rows, owners = rows[is_shared], owners[is_shared]
    order = np.lexsort((rows, owners))
    groups = np.split(rows[order], np.flatnonzero(np.diff(owners[order])) + 1)
    return sorted((group for group in groups if len(group) and group[-1] >= first_new), key=lambda group: int(group[0]))


def _near(places: NDArray[np.float64], wanted: NDArray[np.float64], limit: float) -> Rows:
    """The rows whose place is within `limit` of one that is wanted; `wanted` is sorted."""
    after = np.searchsorted(wanted, places)
    above = np.abs(wanted[np.minimum(after, len(wanted) - 1)] - places)
    below = np.abs(wanted[np.maximum(after - 1, 0)] - places)
    return np.flatnonzero(np.minimum(above, below) <= limit)


def _owners(codes: Codes, rows: Rows, places: Places, limit: float) -> Rows:
    """A number for each of `rows`, which are in order of their first place: equal for codes that are the same.

    Of codes found the same only the first is compared further, so that many of them cost no more than few.
    """
    owners = first = np.arange(len(rows))
    while len(pairs := _first_pairs(codes, rows[first], places[first], limit)):
        n = len(first)
        labels = connected_components(coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(n, n)), directed=False)[1]
        kept = np.unique(labels, return_index=True)[1]
        owner_of = np.empty(len(rows), dtype=np.int64)
        owner_of[first] = first[kept[labels]]
        owners, first = owner_of[owners], np.sort(first[kept])
    return owners


def _first_pairs(codes: Codes, rows: Rows, places: Places, limit: float) -> NDArray[np.int64]:
    """Pairs (m, 2) of positions in `rows` of the same code: those that stand nearest in order, none if there are no more."""
    near, step = np.arange(len(rows) - 1), 1
    while len(near):
        near = near[near + step < len(rows)]
        near = near[places[near + step, 0] - places[near, 0] <= limit]
        pairs = near[np.abs(places[near + step, 1] - places[near, 1]) <= limit]
        differences = codes[rows[pairs]].astype(np.float64) - codes[rows[pairs + step]]
        same = pairs[np.einsum("nd,nd->n", differences, differences) <= limit**2]
        if len(same):
            return np.stack([same, same + step], axis=1)
        step += 1
    return np.empty((0, 2), dtype=np.int64)

"""Ids and labels of the rows of an index."""

from __future__ import annotations

from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from hourglass.data.segments import MAX_TEXT
from hourglass.errors import DataError, ParameterError
from hourglass.estimators.checks import as_labels
from hourglass.latent import GrowingArray

Ids = NDArray[Any]
Mask = NDArray[np.bool_]
_SHOWN = 5  # labels in a message


@final
class Entries:
    """An id and a label for each row of an index. Removed rows keep theirs, but their ids may be given again.

    `live`, (n,) bool, is False for removed rows.

    Parameters
    ----------
    ids : ndarray (n,)
        int64 or text, from `checked_ids`.
    labels : ndarray (n,), optional
        Numbers or text, from `checked_labels`; by default the ids.
    counter : int
        The least number that was never given as an id.
    """

    def __init__(self, ids: Ids, labels: NDArray[Any] | None = None, counter: int = 0) -> None:
        self._ids = GrowingArray(ids)
        self._labels = None if labels is None else GrowingArray(labels)
        self._rows: dict[Any, int] | None = None  # by id; made on first use
        self.counter = counter
        self._count(ids)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> Ids:
        return self._ids.rows

    @property
    def labels(self) -> NDArray[Any]:
        return self.ids if self._labels is None else self._labels.rows

    @property
    def own_labels(self) -> NDArray[Any] | None:
        """The labels, or None if they are the ids."""
        return None if self._labels is None else self._labels.rows

    @property
    def are_text(self) -> bool:
        return self.ids.dtype.kind == "U"

    def copy(self) -> Self:
        """These entries as they are now, whatever is appended to the original."""
        return type(self)(self.ids, self.own_labels, self.counter)

    def next_ids(self, n: int) -> Ids:
        """Numbers for `n` more rows that were never given."""
        numbers = np.arange(self.counter, self.counter + n)
        return numbers.astype(str) if self.are_text else numbers

    def append(self, ids: Ids, labels: NDArray[Any] | None, live: Mask) -> None:
        """Add rows. Once some ids are text all are.

        Raises
        ------
        DataError
            If an id is in the index already.
        """
        if ids.dtype.kind == "U" and not self.are_text:
            self._ids, self._rows = GrowingArray(self.ids.astype(str)), None
        ids = ids.astype(str) if self.are_text else ids
        known = ids[self.has(ids, live)].tolist()
        if known:
            raise DataError(
                f"{len(known):,} of {len(ids):,} ids are in the index already, the first: {known[0]!r}. Leave these images "
                "out, replace them by update, or remove them first."
            )
        if labels is not None and self._labels is None:
            self._labels = GrowingArray(self.ids)
        if self._labels is not None:
            self._labels.append(ids if labels is None else labels)
        self._row_of(live).update(zip(ids.tolist(), range(len(self), len(self) + len(ids)), strict=True))
        self._ids.append(ids)
        self._count(ids)

    def rows_of(self, ids: Any, live: Mask) -> NDArray[np.int64]:
        """The row of each id. Raises DataError if one is not in the index, or is given twice."""
        wanted = checked_ids(ids)
        unknown = wanted[~self.has(wanted, live)].tolist()
        if unknown:
            raise DataError(f"{len(unknown):,} of {len(wanted):,} ids are not in the index; the first: {unknown[0]!r}.")
        rows = self._row_of(live)
        return np.array([rows[one] for one in self._as_known(wanted)], dtype=np.int64)

    def has(self, ids: Ids, live: Mask) -> Mask:
        """Whether each id is that of a row."""
        rows = self._row_of(live)
        found = [rows.get(one, -1) for one in self._as_known(ids)]
        return np.array([row >= 0 and live[row] for row in found], dtype=bool)

    def labelled(self, labels: Any, live: Mask) -> Mask:
        """(n,): the rows of one label, or of any of several. Raises ParameterError if no row has one of them."""
        among, mask = self.labels, np.zeros(len(self), dtype=bool)
        for label in np.atleast_1d(as_labels(labels)).tolist():
            same = _same(among, label) & live
            if not same.any():
                known = np.unique(among[live]).tolist()
                more = f", … ({len(known):,} in all)" if len(known) > _SHOWN else ""
                raise ParameterError(f"no image has the label {label!r}; known: {', '.join(map(str, known[:_SHOWN]))}{more}.")
            mask |= same
        return mask

    def compact(self, live: Mask) -> Self:
        """These entries without the removed rows."""
        return type(self)(self.ids[live], None if self._labels is None else self.labels[live], self.counter)

    def _as_known(self, ids: Ids) -> list[Any]:
        values: list[Any] = (ids.astype(str) if self.are_text else ids).tolist()
        return values

    def _row_of(self, live: Mask) -> dict[Any, int]:
        """The row of each id, among them rows that were removed since this was made."""
        if self._rows is None:
            rows = np.flatnonzero(live[: len(self)])
            self._rows = dict(zip(self.ids[rows].tolist(), rows.tolist(), strict=True))
        return self._rows

    def _count(self, ids: Ids) -> None:
        numbers = ids[ids < np.iinfo(np.int64).max] if ids.dtype.kind == "i" else np.empty(0, np.int64)
        self.counter = max(self.counter, len(self), int(numbers.max(initial=-1)) + 1)


def checked_ids(ids: Any, n: int | None = None) -> Ids:
    """Ids as int64 or text, (n,).

    Raises
    ------
    DataError
        For other types, lengths, or an id that is there twice.
    """
    given = np.atleast_1d(as_labels(ids))
    if given.dtype.kind == "O" and all(isinstance(one, str) for one in given.ravel()):
        given = given.astype(str)
    if given.dtype.kind not in "iuU" or (given.dtype.kind == "u" and given.size and given.max() > np.iinfo(np.int64).max):
        raise DataError(f"ids are of type {given.dtype}; allowed: whole numbers up to 2^63 - 1, or text.")
    if given.ndim != 1 or (n is not None and len(given) != n):
        raise DataError(f"ids have shape {given.shape}; one for each of the {n or 'images'} is needed.")
    checked = _not_too_long(given, "an id") if given.dtype.kind == "U" else given.astype(np.int64)
    known, counts = np.unique(checked, return_counts=True)
    if len(known) < len(checked):
        twice = known[counts > 1]
        raise DataError(f"ids must be unique; {len(twice):,} are given more than once, the first: {twice.tolist()[0]!r}.")
    return checked


def checked_labels(labels: Any, n: int) -> NDArray[Any]:
    """Labels as numbers or text, (n,). Raises DataError for another shape."""
    given = as_labels(labels)
    if given.shape != (n,):
        raise DataError(f"y has shape {given.shape}; one label for each of the {n} images is needed.")
    return given if given.dtype.kind in "biuf" else _not_too_long(given.astype(str), "a label")


def _not_too_long(texts: NDArray[Any], what: str) -> NDArray[Any]:
    longest = int(np.char.str_len(texts).max(initial=0))
    if longest > MAX_TEXT:
        raise DataError(f"{what} has {longest:,} characters; allowed: up to {MAX_TEXT:,}.")
    return texts


def _same(labels: NDArray[Any], label: Any) -> Mask:
    """Which labels are `label`, also where one is a number and the other its text."""
    if labels.dtype.kind == "U":
        label = str(label)
    elif isinstance(label, str):
        try:
            label = float(label)
        except ValueError:
            return np.zeros(len(labels), dtype=bool)
    same: Mask = labels == label
    return same

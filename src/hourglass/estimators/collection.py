"""A searchable collection: the codes of images, their ids and labels, in memory and as a table that grows on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from hourglass.data.segments import Log, Table
from hourglass.errors import DataError, ParameterError
from hourglass.estimators.entries import Entries, Ids, Mask
from hourglass.images import Float32
from hourglass.latent import BY_ROW, ROUNDING, NeighbourIndex
from hourglass.notes import note


@final
class Collection:
    """An index and its entries, row by row.

    A removed row keeps its place in both until half of all rows are removed; outside, only those that are left are numbered.

    Parameters
    ----------
    index : NeighbourIndex
    entries : Entries
    log : Log, optional
        What is saved of it already.
    notes_duplicates : bool
        Whether to warn of equal codes: of images. Equal rows of a table are nothing unusual.
    """

    def __init__(
        self, index: NeighbourIndex, entries: Entries, log: Log | None = None, *, notes_duplicates: bool = True
    ) -> None:
        self.index, self.entries, self.log, self.notes_duplicates = index, entries, log or Log(), notes_duplicates

    def __len__(self) -> int:
        return len(self.index)

    @property
    def ids(self) -> Ids:
        return self._left(self.entries.ids)

    @property
    def labels(self) -> NDArray[Any]:
        return self._left(self.entries.labels)

    def has(self, ids: Ids) -> Mask:
        """Whether there is an image under each of these ids."""
        return self.entries.has(ids, self.index.live)

    def allowed(self, labels: Any, where: Any) -> Mask | None:
        """The rows that `Retriever.kneighbors` may find; None for all. Raises ParameterError."""
        mask = None if labels is None else self.entries.labelled(labels, self.index.live)
        if where is None:
            return mask
        given = np.asarray(where)
        if given.dtype != bool or given.shape != (len(self),):
            words = f"where has type {given.dtype} and shape {given.shape}; allowed: bool"
            raise ParameterError(f"{words}, ({len(self)},), one for each image in ids_.")
        chosen = self.index.live.copy()
        chosen[chosen] = given
        return chosen if mask is None else mask & chosen

    def search(self, queries: Float32, k: int, allowed: Mask | None) -> tuple[Float32, NDArray[np.int64]]:
        """Distances and positions in `ids` of the nearest, as `NeighbourIndex.search` finds them."""
        distances, rows = self.index.search(queries, k, allowed)
        return distances, (np.cumsum(self.index.live) - 1)[rows] if len(self.index.removed) else rows

    def duplicates(self, tolerance: float = ROUNDING) -> list[Ids]:
        """The ids of each group of images with the same code."""
        return [self.entries.ids[rows] for rows in self.index.duplicates(tolerance)]

    def append(self, codes: Float32, ids: Ids, labels: NDArray[Any] | None, replaced: NDArray[np.int64] | None = None) -> None:
        """Add images, in place of those in the rows that are `replaced`: all or, on failure, none."""
        if not len(ids):
            return
        first = self.index.n_rows
        with self._undone_on_failure():
            if replaced is not None:
                self.index.remove(replaced)
            self.entries.append(ids, labels, self.index.live)
            self.index.add(codes)
        self.note_duplicates(first)
        self._compact_if_many()

    def update(self, codes: Float32, ids: Ids, labels: NDArray[Any] | None) -> None:
        """Add images, in place of those under the same ids: all or, on failure, none."""
        known = self.has(ids)
        rows = self.entries.rows_of(ids[known], self.index.live)
        before = self.entries.own_labels
        if labels is None and before is not None:
            labels = ids.astype(np.promote_types(ids.dtype, before.dtype))
            labels[known] = before[rows]
        self.append(codes, ids, labels, rows)

    def remove(self, ids: Any) -> None:
        """Remove images by their ids. Raises DataError if one is not known, or none would be left."""
        rows = self.entries.rows_of(ids, self.index.live)
        if len(rows) == len(self):
            raise DataError(f"these are all {len(rows):,} images in the index; one at least must stay.")
        self.index.remove(rows)
        self._compact_if_many()

    def note_duplicates(self, first: int = 0) -> None:
        """Warn if rows from `first` on have the same code as another."""
        if not self.notes_duplicates:
            return
        groups = self.index.duplicates(first_new=first)
        count = sum(int((group >= first).sum()) - int(group[0] >= first) for group in groups)
        if count:
            some = self.entries.ids[groups[0]]
            words = f"{count:,} of {self.index.n_rows - first:,} images have the same code as another, but for rounding"
            example = f"the first: {some[-1].item()!r} and {some[0].item()!r}"
            note(f"{words}; {example}. duplicates() and hourglass search --duplicates list them.", 5)

    def to_table(self) -> Table:
        """Everything, to be saved."""
        state, labels = self.index.to_state(), self.entries.own_labels
        columns = {name: array for name, array in state.items() if name in BY_ROW} | {"ids": self.entries.ids}
        if labels is not None:
            columns["labels"] = labels
        constants = {name: array for name, array in state.items() if name not in (*BY_ROW, "removed")}
        return Table(columns, self.index.removed, constants, self.entries.counter)

    @classmethod
    def from_table(cls, table: Table, log: Log, metric: str, backend: str, *, notes_duplicates: bool = True) -> Self:
        """The collection of `to_table`. Raises KeyError or ValueError for an invalid table."""
        columns = table.columns
        ids, labels = columns["ids"], columns.get("labels")
        for values, kinds in ((ids, "iU"), (labels, "biufU")):
            if values is not None and (values.ndim != 1 or values.dtype.kind not in kinds):
                raise ValueError(f"ids or labels of type {values.dtype}")
        if not np.isfinite(columns["codes"]).all():
            raise ValueError("codes that are not finite")
        index = NeighbourIndex.from_state({**columns, **table.constants, "removed": table.removed}, metric, backend)
        return cls(index, Entries(ids, labels, table.counter), log, notes_duplicates=notes_duplicates)

    @classmethod
    def from_names(cls, state: dict[str, Any], metric: str, backend: str, *, notes_duplicates: bool = True) -> Self:
        """The collection of a model that was saved before there were ids: its names are ids if they can be."""
        names = np.asarray(state["names"])
        are_ids = names.dtype.kind in "iU" and len(set(names.tolist())) == len(names)
        entries = Entries(names) if are_ids else Entries(np.arange(len(names)), names)
        index = NeighbourIndex.from_state(state, metric, backend)
        if names.shape != (index.n_rows,):
            raise ValueError(f"{len(names)} names for {index.n_rows} images")
        return cls(index, entries, notes_duplicates=notes_duplicates)

    def _left(self, values: NDArray[Any]) -> NDArray[Any]:
        """Those of `values` (n_rows,) whose rows were not removed."""
        return values[self.index.live] if len(self.index.removed) else values

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        entries, n_rows, n_removed = self.entries.copy(), self.index.n_rows, len(self.index.removed)
        try:
            yield
        except BaseException:
            self.index.truncate(n_rows, n_removed)
            self.entries = entries
            raise

    def _compact_if_many(self) -> None:
        """Number the rows anew without the removed ones, once these are half of all."""
        if 2 * len(self.index.removed) >= self.index.n_rows:
            self.index, self.entries = self.index.compact(), self.entries.compact(self.index.live)
            self.log = Log()  # everything is saved anew

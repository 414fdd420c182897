"""Rows that more rows are added to, many times."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray


@final
class GrowingArray:
    """An array with room for more rows; where the room is used up it doubles, so that n rows added one by one cost O(n).

    Parameters
    ----------
    rows : ndarray (n, ...)
        Taken as they are, not copied.
    room : int
        How many rows there is memory for at once, where more than `rows` are expected.
    """

    def __init__(self, rows: NDArray[Any], room: int = 0) -> None:
        self._all = rows
        self._n = len(rows)
        if room > len(rows):
            self._move(room, rows.dtype)

    def __len__(self) -> int:
        return self._n

    def __reduce__(self) -> tuple[Any, ...]:
        return GrowingArray, (self.rows,)  # not what is in the room that is empty

    @property
    def rows(self) -> NDArray[Any]:
        """All rows, (n, ...): a view, which later rows do not change."""
        return self._all[: self._n]

    def append(self, rows: NDArray[Any]) -> None:
        """Add `rows` (m, ...) at the end; where their type is a wider one, as of longer names, all rows take it."""
        needed, dtype = self._n + len(rows), np.promote_types(self._all.dtype, rows.dtype)
        if needed > len(self._all) or dtype != self._all.dtype:
            self._move(max(needed, 2 * self._n), dtype)
        self._all[self._n : needed] = rows
        self._n = needed

    def _move(self, room: int, dtype: np.dtype[Any]) -> None:
        wider = np.empty((room, *self._all.shape[1:]), dtype)
        wider[: self._n] = self.rows
        self._all = wider

"""An array with amortised appends."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray


@final
class GrowingArray:
    """An array that rows can be appended to; its capacity doubles when it is full, so that n appends cost O(n).

    Parameters
    ----------
    rows : ndarray (n, ...)
        Initial rows, not copied.
    capacity : int
        Number of rows to allocate memory for at once.
    """

    def __init__(self, rows: NDArray[Any], capacity: int = 0) -> None:
        self._buffer = rows
        self._n = len(rows)
        if capacity > len(rows):
            self._reallocate(capacity, rows.dtype)

    def __len__(self) -> int:
        return self._n

    def __reduce__(self) -> tuple[Any, ...]:
        return GrowingArray, (self.rows,)  # without the spare capacity

    @property
    def rows(self) -> NDArray[Any]:
        """All rows (n, ...), a view that later appends do not change."""
        return self._buffer[: self._n]

    def append(self, rows: NDArray[Any]) -> None:
        """Append `rows` (m, ...); all rows take the promoted dtype, such as that of longer strings."""
        needed, dtype = self._n + len(rows), np.promote_types(self._buffer.dtype, rows.dtype)
        if needed > len(self._buffer) or dtype != self._buffer.dtype:
            self._reallocate(max(needed, 2 * self._n), dtype)
        self._buffer[self._n : needed] = rows
        self._n = needed

    def truncate(self, n: int) -> None:
        """Keep the first `n` rows."""
        self._n = min(n, self._n)

    def _reallocate(self, capacity: int, dtype: np.dtype[Any]) -> None:
        buffer = np.empty((capacity, *self._buffer.shape[1:]), dtype)
        buffer[: self._n] = self.rows
        self._buffer = buffer

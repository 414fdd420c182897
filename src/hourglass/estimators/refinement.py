"""Rate-distortion search over a compressor's integers: rounding is not yet the best choice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hourglass.images import Float32

Symbols = NDArray[np.int32]
Decode = Callable[[Symbols], Float32]

_BATCH = 1024
_MOST_LEVELS = 1 << 20
_UNSEEN = 0.1  # what an integer that does not occur yet counts for, so that it has a price


def refine(symbols: Symbols, targets: Callable[[slice], Float32], decode: Decode, price: float, sweeps: int) -> Symbols:
    """Move each integer by one where that makes error + price · length smaller; `sweeps` times over all of them.

    Rounding ignores both what the decoder makes of a code and how rare an integer is. Here each number of the code is tried one
    higher and one lower, all others as they are (rate-distortion optimised quantisation, as video encoders do it). Lengths are
    those of the integers' own frequencies, counted anew for each sweep.

    Parameters
    ----------
    symbols : ndarray (n, n_components), int32
        Where to start; left as they are.
    targets : slice -> ndarray (batch, values), float32
        What the decoder should give for these rows.
    decode : integers (batch, n_components) -> ndarray (batch, values), float32
    price : float
        Of a nat, in mean squared error.
    sweeps : int
        At most: it ends when nothing moves. Integers that are more than a million apart stay as they are.

    Returns
    -------
    ndarray (n, n_components), int32
    """
    best = symbols.copy()
    if int(symbols.max()) - int(symbols.min()) > _MOST_LEVELS:
        return best
    for _ in range(sweeps):
        low, prices = _prices(best, price)
        before = best.copy()
        for start in range(0, len(best), _BATCH):
            rows = slice(start, start + _BATCH)
            best[rows] = _swept(best[rows], targets(rows), decode, low, prices)
        if np.array_equal(best, before):
            break
    return best


def _prices(symbols: Symbols, price: float) -> tuple[int, NDArray[np.float64]]:
    """(the lowest integer with a price, price of each integer in each column (n_components, levels))"""
    low, high = int(symbols.min()) - 1, int(symbols.max()) + 1
    counts = np.full((symbols.shape[1], high - low + 1), _UNSEEN)
    for column, levels in zip(symbols.T, counts, strict=True):
        levels[:] += np.bincount(column - low, minlength=len(levels))
    return low, -price * np.log(counts / counts.sum(1, keepdims=True))


def _swept(symbols: Symbols, targets: Float32, decode: Decode, low: int, prices: NDArray[np.float64]) -> Symbols:
    best = symbols.copy()
    errors = np.square(decode(best) - targets).mean(1)
    for component, levels in enumerate(prices):
        for move in (1, -1):
            moved = best.copy()
            column = np.clip(moved[:, component] + move, low, low + len(levels) - 1)
            moved[:, component] = column
            saved = levels[best[:, component] - low] - levels[column - low]
            changed = np.square(decode(moved) - targets).mean(1)
            better = changed - errors < saved
            best[better], errors[better] = moved[better], changed[better]
    return best

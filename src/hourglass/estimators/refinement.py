"""Rate-distortion optimisation of a compressor's integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hourglass.images import Float32

Symbols = NDArray[np.int32]
Decode = Callable[[Symbols], Float32]

_BATCH = 1024
_MOST_LEVELS = 1 << 20
_UNSEEN = 0.1  # pseudocount, so that unseen integers have a finite price


def refine(symbols: Symbols, targets: Callable[[slice], Float32], decode: Decode, price: float, sweeps: int) -> Symbols:
    """Change each integer by one where that lowers error + price · length, in `sweeps` passes.

    Rounding ignores the decoder and the frequency of integers. This tries each latent dimension one higher and one lower, with
    all others fixed (rate-distortion optimised quantisation, as in video encoders). Lengths follow from the frequencies of the
    integers, counted anew in each sweep.

    Parameters
    ----------
    symbols : ndarray (n, n_components), int32
        Initial values; not modified.
    targets : slice -> ndarray (batch, values), float32
        The decoder's targets for these rows.
    decode : integers (batch, n_components) -> ndarray (batch, values), float32
    price : float
        Price of a nat, in mean squared error.
    sweeps : int
        Upper limit: the search ends when nothing changes. Returns `symbols` if they span more than a million.

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

"""Uniform scalar quantisation of codes, with one step width per latent dimension."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST = 1 << 20
"""Magnitude at which `quantise` clips; codes of training data stay far below it."""


def quantise(codes: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.int32]:
    """Round codes (n, n_components) to multiples of `steps` (n_components,), ties to even; returns the multiples as int32."""
    clipped: NDArray[np.int32] = np.clip(np.rint(codes / steps), -LARGEST, LARGEST).astype(np.int32)
    return clipped


def dequantise(symbols: NDArray[np.int32], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the codes (n, n_components), float32, that `symbols` represent."""
    return symbols.astype(np.float32) * steps

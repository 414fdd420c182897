"""Codes to integers and back: uniform steps, one width a number of the code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST = 1 << 20
"""Integers beyond this are clipped: a code so far out is none that training saw."""


def quantise(codes: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.int32]:
    """Round codes (n, n_components) to whole steps (n_components,): int32, ties to even."""
    clipped: NDArray[np.int32] = np.clip(np.rint(codes / steps), -LARGEST, LARGEST).astype(np.int32)
    return clipped


def dequantise(symbols: NDArray[np.int32], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The codes that integers stand for, float32."""
    return symbols.astype(np.float32) * steps

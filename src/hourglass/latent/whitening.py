"""Whitening: a linear map that gives codes a covariance of nearly the identity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hourglass.images import Float32


def whitening(codes: Float32, shrinkage: float) -> NDArray[np.float64]:
    """A matrix W (d, d): codes @ W has nearly the identity as covariance. The direction of least variance comes first.

    The covariance of codes is first shrunk towards a sphere, by a share of `shrinkage`, which bounds the growth of directions
    without variance.
    """
    covariance = np.atleast_2d(np.cov(codes, rowvar=False)) if len(codes) > 1 else np.eye(codes.shape[1])
    level = float(np.trace(covariance)) / len(covariance) or 1.0
    values, vectors = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * level * np.eye(len(covariance)))
    matrix: NDArray[np.float64] = vectors / np.sqrt(values)
    return matrix

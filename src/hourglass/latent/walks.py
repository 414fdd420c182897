"""Walks through the latent space: interpolation between codes, and traversal along one latent dimension."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import ParameterError

Codes = NDArray[np.float32]


def interpolate(start: Codes, end: Codes, steps: int, path: str = "linear") -> Codes:
    """Interpolate codes from `start` to `end`, both included.

    Parameters
    ----------
    start, end : ndarray (n_components,) or (n, n_components), float32
    steps : int >= 2
    path : {"linear", "spherical"}
        "spherical" interpolates the direction on a great circle and the norm linearly (White 2016). It avoids the origin,
        where a Gaussian prior in many dimensions has no mass.

    Returns
    -------
    ndarray (steps, n_components) or (n, steps, n_components), float32

    Raises
    ------
    ParameterError
    """
    if steps < 2:
        raise ParameterError(f"steps={steps}; allowed: 2 or more.")
    if path not in PATHS:
        raise ParameterError(f"path={path!r}; allowed: {', '.join(PATHS)}.")
    shares = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return PATHS[path](start[..., None, :], end[..., None, :], shares).astype(np.float32)


def traverse(code: Codes, component: int, values: NDArray[np.float32]) -> Codes:
    """Return copies of `code` (n_components,) with `component` set to each of `values`: (len(values), n_components).

    Raises
    ------
    ParameterError
    """
    if not 0 <= component < len(code):
        raise ParameterError(f"component={component}; allowed: 0..{len(code) - 1}.")
    walk = np.repeat(code[None], len(values), axis=0)
    walk[:, component] = values
    return walk


def _linear(start: Codes, end: Codes, shares: Codes) -> Codes:
    return start + shares * (end - start)


def _spherical(start: Codes, end: Codes, shares: Codes) -> Codes:
    norms = [np.linalg.norm(code, axis=-1, keepdims=True) for code in (start, end)]
    first, last = (code / np.maximum(norm, 1e-12) for code, norm in zip((start, end), norms, strict=True))
    angle = np.arccos(np.clip((first * last).sum(-1, keepdims=True), -1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        directions = (np.sin((1 - shares) * angle) * first + np.sin(shares * angle) * last) / np.sin(angle)
    is_straight = np.sin(angle) < 1e-4  # equal or opposite directions define no unique great circle
    norm = norms[0] + shares * (norms[1] - norms[0])
    walk: Codes = np.where(is_straight, _linear(start, end, shares), directions * norm)
    return walk


PATHS: dict[str, Callable[[Codes, Codes, Codes], Codes]] = {"linear": _linear, "spherical": _spherical}

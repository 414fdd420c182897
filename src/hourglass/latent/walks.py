"""Ways through code space: between two codes, and along one number of a code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import ParameterError

Codes = NDArray[np.float32]


def interpolate(start: Codes, end: Codes, steps: int, path: str = "linear") -> Codes:
    """Codes from `start` to `end`, both included.

    Parameters
    ----------
    start, end : ndarray (n_components,) or (n, n_components), float32
    steps : int >= 2
    path : {"linear", "spherical"}
        "spherical" turns from one direction to the other at an even pace while the length changes evenly (White 2016): it
        keeps away from the origin, where codes of a Gaussian prior in many dimensions never lie.

    Returns
    -------
    ndarray (steps, n_components) or (n, steps, n_components), float32

    Raises
    ------
    ParameterError
    """
    if steps < 2:
        raise ParameterError(f"steps={steps}; allowed: at least 2, the two ends.")
    if path not in PATHS:
        raise ParameterError(f"path={path!r}; allowed: {', '.join(PATHS)}.")
    shares = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return PATHS[path](start[..., None, :], end[..., None, :], shares).astype(np.float32)


def traverse(code: Codes, component: int, values: NDArray[np.float32]) -> Codes:
    """`code` (n_components,) with its number `component` set to each of `values`: (len(values), n_components).

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
    lengths = [np.linalg.norm(code, axis=-1, keepdims=True) for code in (start, end)]
    one, other = (code / np.maximum(length, 1e-12) for code, length in zip((start, end), lengths, strict=True))
    angle = np.arccos(np.clip((one * other).sum(-1, keepdims=True), -1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = (np.sin((1 - shares) * angle) * one + np.sin(shares * angle) * other) / np.sin(angle)
    straight = np.sin(angle) < 1e-4  # same or opposite directions: there is no one great circle
    length = lengths[0] + shares * (lengths[1] - lengths[0])
    walk: Codes = np.where(straight, _linear(start, end, shares), turned * length)
    return walk


PATHS: dict[str, Callable[[Codes, Codes, Codes], Codes]] = {"linear": _linear, "spherical": _spherical}

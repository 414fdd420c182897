"""The context model of integer maps: which table codes an integer follows from the integers decoded before it.

The model is that of `hourglass.networks.codec.Contexts`, with weights rounded to integers. Its sums are exact, in any order:
they are products of float64 matrices that hold integers, and stay below 2⁵³. So every machine chooses the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Exact = NDArray[np.float64]
"""Integers below 2⁵³ as float64."""
Positions = tuple[Integers, Integers]
"""Rows and columns."""

N_QUALITIES = 101
N_SCALES, LOWEST_SCALE = 47, -18
"""Scales of the logistic distributions: 2 to the power of quarters from -18/4 on."""
N_SHARES = 5
"""Distances of a mean from the nearest integer, in eighths: 0 to 4."""
LARGEST_MEAN = 1 << 20
_SIZE_BITS, _WEIGHT_BITS, _STATE_BITS = 4, 12, 8  # fractional bits
_MOST_SIZE = 127
_SIZES = np.rint(np.log2(1 + np.arange(_MOST_SIZE + 1)) * 2**_SIZE_BITS)
_LARGEST_STATE = float(1 << 24)
_ABOVE_AND_LEFT = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
_CROSS = ((-1, 0), (0, -1), (0, 1), (1, 0))
_SQUARE = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1))
_KINDS = ("near", "direct", "later", "out", "offsets")


class Step(NamedTuple):
    """Integers that are coded together, after all earlier steps.

    Attributes
    ----------
    channels : slice
    rows, columns : ndarray (positions,)
    bases : ndarray (channels, positions)
        The means, rounded: differences to these are coded,
    signs : ndarray (channels, positions)
        times these, 1 or -1, as the tables of a mean above and below an integer mirror each other.
    tables : ndarray (channels, positions)
        Number of the table of each.
    """

    channels: slice
    rows: Integers
    columns: Integers
    bases: Integers
    signs: Integers
    tables: Integers


@dataclass(frozen=True)
class Group:
    """Integer weights of a group of channels.

    Attributes
    ----------
    near : ndarray (state, 4 neighbours, 2 channels), int16
        From neighbours of the same group, decoded before, to the state.
    direct : ndarray (channels, 4 neighbours, channels), int16
        From these to the means.
    later : ndarray (state, 9 neighbours, 2 channels), int16
        To the state of later groups.
    out : ndarray (2 channels, state), int16
        From the state to means, then scales.
    offsets : ndarray (101 qualities, 2 channels), int32
    """

    near: NDArray[np.int16]
    direct: NDArray[np.int16]
    later: NDArray[np.int16]
    out: NDArray[np.int16]
    offsets: NDArray[np.int32]

    @property
    def n_channels(self) -> int:
        return len(self.out) // 2


@dataclass(frozen=True)
class ContextModel:
    """The integer weights of all groups.

    Attributes
    ----------
    start : ndarray (101 qualities, state), int32
        The state before the first group.
    groups : list of Group
    """

    start: NDArray[np.int32]
    groups: list[Group]

    @property
    def n_channels(self) -> int:
        return sum(group.n_channels for group in self.groups)

    @classmethod
    def of_floats(cls, start: NDArray[Any], groups: Sequence[Mapping[str, NDArray[Any]]]) -> ContextModel:
        """Round trained weights: kernels (out, in, 3, 3), and curves over quality (knots, width)."""
        made = []
        for number, group in enumerate(groups):
            taps = _CROSS if number else _ABOVE_AND_LEFT
            made.append(
                Group(
                    near=_rounded(_at(group["near"], taps)),
                    direct=_rounded(_at(group["direct"], taps)),
                    later=_rounded(_at(group["later"], _SQUARE)),
                    out=_rounded(group["out"]),
                    offsets=_rounded_curves(group["offsets"], _STATE_BITS + _WEIGHT_BITS),
                )
            )
        return cls(_rounded_curves(start, _SIZE_BITS + _WEIGHT_BITS), made)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All weights; each kind of all groups in a row."""
        joined = {kind: np.concatenate([getattr(group, kind).reshape(-1) for group in self.groups]) for kind in _KINDS}
        return {"groups": np.array([group.n_channels for group in self.groups], dtype=np.int32), "start": self.start, **joined}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ContextModel:
        """The inverse of `to_arrays`. Raises ValueError if shapes or types do not fit."""
        start, sizes = arrays["start"], [int(size) for size in arrays["groups"]]
        if start.dtype != np.int32 or start.ndim != 2 or len(start) != N_QUALITIES or not sizes or min(sizes) < 1:
            raise ValueError(f"a context model of {start.dtype} {start.shape} with groups {sizes}")
        parts = [_split(arrays[kind], [_shapes(size, start.shape[1])[kind] for size in sizes], kind) for kind in _KINDS]
        return cls(start, [Group(*given) for given in zip(*parts, strict=True)])

    def scan(self, shape: tuple[int, int], quality: int, code: Callable[[Step], Integers]) -> NDArray[np.int32]:
        """Take all steps of maps of `shape` (rows, columns): `code` gives the integers (channels, positions) of each.

        Returns
        -------
        ndarray (n_channels, rows, columns), int32
        """
        rows, columns = shape
        framed = np.zeros((self.n_channels, rows + 2, columns + 2), dtype=np.int32)
        state = np.repeat(self.start[quality].astype(np.float64)[:, None], rows * columns, axis=1)
        first = 0
        for number, group in enumerate(self.groups):
            channels = slice(first, first + group.n_channels)
            known, first = framed[channels], channels.stop
            taps, passes = (_CROSS, _checkerboards(shape)) if number else (_ABOVE_AND_LEFT, _wavefronts(shape))
            for positions in passes:
                near, before = _neighbours(known, positions, taps), state[:, positions[0] * columns + positions[1]]
                step = Step(channels, *positions, *_tables(*_predict(group, near, before, quality)))
                known[:, positions[0] + 1, positions[1] + 1] = code(step)
            if first < len(framed):
                state += _summed(group, known)
        return framed[:, 1:-1, 1:-1]


def _predict(group: Group, near: Exact, state: Exact, quality: int) -> tuple[Integers, Integers]:
    """(means in eighths, scales in quarter octaves) at some positions, from neighbours (4, channels, positions)."""
    n_channels = group.n_channels
    features = _features(near)
    state = state + _product(group.near, features)
    hidden = np.floor(np.clip(state, 0, _LARGEST_STATE * 2**_SIZE_BITS) / 2 ** (_SIZE_BITS + _WEIGHT_BITS - _STATE_BITS))
    both = _product(group.out, hidden) + group.offsets[quality].astype(np.float64)[:, None]
    both[:n_channels] += _product(group.direct, np.clip(near, -_MOST_SIZE, _MOST_SIZE)) * 2**_STATE_BITS
    bits = _STATE_BITS + _WEIGHT_BITS
    means = np.floor(both[:n_channels] / 2 ** (bits - 3) + 0.5)
    scales = np.floor(both[n_channels:] / 2 ** (bits - 2) + 0.5)
    return np.clip(means, -8 * LARGEST_MEAN, 8 * LARGEST_MEAN).astype(np.int64), scales.astype(np.int64)


def _tables(means: Integers, scales: Integers) -> tuple[Integers, Integers, Integers]:
    """(bases, signs, tables) for means in eighths and scales in quarter octaves."""
    bases = (means + 4) >> 3
    shares = means - 8 * bases
    signs = np.where(shares < 0, -1, 1)
    levels = np.clip(scales - LOWEST_SCALE, 0, N_SCALES - 1)
    return bases, signs, levels * N_SHARES + np.abs(shares)


def _summed(group: Group, known: NDArray[np.int32]) -> Exact:
    """What a group, decoded, adds to the state of later ones: (state, positions)."""
    features = _features(known[None].astype(np.float64))[0]
    rows, columns = known.shape[1] - 2, known.shape[2] - 2
    total = np.zeros((len(group.later), rows * columns))
    for tap, (down, right) in enumerate(_SQUARE):
        shifted = features[:, 1 + down : 1 + down + rows, 1 + right : 1 + right + columns]
        total += group.later[:, tap].astype(np.float64) @ shifted.reshape(len(features), -1)
    return total


def _features(integers: Exact) -> Exact:
    """(n, channels, …) -> (n, 2 channels, …): 16 log2(1 + |q|), rounded, with the sign of q; then without."""
    sizes = _SIZES[np.minimum(np.abs(integers), _MOST_SIZE).astype(np.int64)]
    return np.concatenate([np.copysign(sizes, integers), sizes], axis=1)


def _product(weights: NDArray[np.int16], values: Exact) -> Exact:
    """Weights (out, …) times values (…, positions), summed over all axes but the outer ones."""
    product: Exact = weights.reshape(len(weights), -1).astype(np.float64) @ values.reshape(-1, values.shape[-1])
    return product


def _neighbours(known: NDArray[np.int32], positions: Positions, taps: Sequence[tuple[int, int]]) -> Exact:
    """Integers next to some positions, (4, channels, positions), from maps with a frame of zeros."""
    rows, columns = positions
    return np.stack([known[:, rows + 1 + down, columns + 1 + right] for down, right in taps]).astype(np.float64)


def _wavefronts(shape: tuple[int, int]) -> Iterator[Positions]:
    """Positions whose upper and left neighbours lie in earlier ones: columns + 2 rows = 0, 1, 2, …"""
    rows, columns = shape
    for front in range(columns + 2 * rows - 2):
        down = np.arange(max(0, (front - columns + 2) // 2), min(rows - 1, front // 2) + 1)
        if len(down):
            yield down, front - 2 * down


def _checkerboards(shape: tuple[int, int]) -> Iterator[Positions]:
    """Positions of even rows + columns, then of odd, each row by row."""
    rows, columns = np.indices(shape)
    for parity in (0, 1):
        chosen = (rows + columns) % 2 == parity
        if chosen.any():
            yield rows[chosen], columns[chosen]


def _at(kernel: NDArray[Any], taps: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """A kernel (out, in, 3, 3) at some taps: (out, taps, in)."""
    return np.stack([kernel[:, :, 1 + down, 1 + right] for down, right in taps], axis=1)


def _rounded(weights: NDArray[Any]) -> NDArray[np.int16]:
    rounded: NDArray[np.int16] = np.clip(np.rint(weights.astype(np.float64) * 2**_WEIGHT_BITS), -32767, 32767).astype(np.int16)
    return rounded


def _rounded_curves(knots: NDArray[Any], bits: int) -> NDArray[np.int32]:
    """Curves (knots, width), linear between knots, at all qualities: (101, width)."""
    places = np.linspace(0, len(knots) - 1, N_QUALITIES)
    values = np.stack([np.interp(places, np.arange(len(knots)), column) for column in knots.T.astype(np.float64)], axis=1)
    curves: NDArray[np.int32] = np.clip(np.rint(values * 2**bits), -(2**31) + 1, 2**31 - 1).astype(np.int32)
    return curves


def _shapes(size: int, state: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a group of `size` channels."""
    return {
        "near": (state, len(_CROSS), 2 * size),
        "direct": (size, len(_CROSS), size),
        "later": (state, len(_SQUARE), 2 * size),
        "out": (2 * size, state),
        "offsets": (N_QUALITIES, 2 * size),
    }


def _split(array: NDArray[Any], shapes: Sequence[tuple[int, ...]], kind: str) -> list[NDArray[Any]]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    if array.dtype != (np.int32 if kind == "offsets" else np.int16) or array.shape != (ends[-1],):
        raise ValueError(f"a context model's {kind}: {array.dtype} {array.shape}, where {ends[-1]} are needed")
    return [part.reshape(shape) for part, shape in zip(np.split(array, ends[:-1]), shapes, strict=True)]

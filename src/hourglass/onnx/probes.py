"""Samples to compare an exported file with its estimator on: batches of 1 and 7, and sizes that divide by nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hourglass.images import Array
from hourglass.onnx.uses import Use

_BATCHES = (1, 7)
_CELLS = 4  # pixels of a random pattern, smooth in between: noise alone is no image


def probes_of(use: Use, dtype: str, batches: tuple[int, ...] = _BATCHES) -> Iterator[Array]:
    """Input of `dtype` for the graph, the same in every call."""
    rng = np.random.default_rng(0)
    sizes = [use.sample.size[:2]] if use.sample.is_image and not use.sample.is_any_size else _odd_sizes(use)
    for count in batches:
        if use.takes_codes:
            yield from _codes(use, count, rng)
        elif not use.sample.is_image:
            yield _rows(use, count, rng).astype(dtype)
        else:
            for size in sizes:
                yield _images(use, (count, *size), dtype, rng)


def _odd_sizes(use: Use) -> list[tuple[int, int]]:
    """Sizes below, at and beyond multiples of the code's stride, and ones with too few pixels to mirror."""
    stride = max(1, use.model.network.code.stride)
    return [(stride + 1, 3 * stride - 1), (2 * stride, 2 * stride), (3 * stride + 5, 2 * stride + 3), (2, 3)]


def _images(use: Use, shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Array:
    count, height, width = shape
    channels = [use.sample.channels] if len(use.sample.shape) == 3 else []
    coarse = rng.random((count, -(-height // _CELLS), -(-width // _CELLS), *channels))
    smooth = coarse.repeat(_CELLS, 1).repeat(_CELLS, 2)[:, :height, :width]
    values = 0.8 * smooth + 0.2 * rng.random(smooth.shape)
    if dtype == "float32":
        return values.astype(np.float32)
    return np.rint(values * (255 if dtype == "uint8" else min(use.sample.white or 65535.0, 65535.0))).astype(dtype)


def _rows(use: Use, count: int, rng: np.random.Generator) -> Array:
    """Rows within the columns' usual range, and some beyond."""
    offset, scale = (np.asarray(given, dtype=np.float64) for given in (use.sample.offset, use.sample.scale))
    rows: Array = offset + scale * rng.uniform(-0.3, 1.3, (count, use.sample.n_features))
    return np.clip(rows, 0, 1) if use.sample.is_bounded else rows


def _codes(use: Use, count: int, rng: np.random.Generator) -> Iterator[Array]:
    code = use.model.network.code
    for rows, columns in [(3, 2), (1, 5)] if code.is_map else [(1, 1)]:
        shape = (count, code.width, rows, columns) if code.is_map else (count, code.width)
        yield rng.normal(size=shape).astype(np.float32)

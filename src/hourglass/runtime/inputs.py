"""Checks and conversion of what a model is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from hourglass.errors import DataError
from hourglass.images import Array, Float32, Sample, as_array, as_samples, check_images

_LARGEST = float(np.finfo(np.float32).max)


def checked_input(samples: Any, sample: Sample, *, bounded: bool = True) -> Array | list[Array]:
    """Samples (n, *shape), or images of several sizes as a list, that a model of `sample` takes.

    Parameters
    ----------
    samples : array-like, list of images of several sizes, tensor or Pillow images
        Images: uint8, bool, floats in 0..1, or integers up to the model's white level, which become float32 in 0..1.
    sample : Sample
    bounded : bool
        Whether floats of images must lie in 0..1.

    Raises
    ------
    DataError
        For other shapes, dtypes or values, and a single sample without a batch axis.
    """
    given = as_samples(samples, name="samples")
    if isinstance(given, list):
        if not sample.is_image:
            raise DataError(f"samples have several shapes; the model takes (n, {sample.n_features}).")
        return [_checked_images(image[None], sample, bounded)[0] for image in given]
    if given.ndim > 0 and sample.fits(given.shape):
        raise DataError(f"samples have shape {given.shape}, one sample without a batch axis: pass samples[None].")
    return _checked_images(given, sample, bounded) if sample.is_image else _checked_table(given, sample)


def check_codes(codes: Any, width: int, *, is_map: bool) -> Float32:
    """Codes (n, width), or maps (n, width, h, w), as float32. Raises DataError."""
    given = as_array(codes, name="codes")
    allowed = f"(n, {width}, h, w)" if is_map else f"(n, {width})"
    if given.ndim != (4 if is_map else 2) or given.shape[1] != width or 0 in given.shape:
        raise DataError(f"codes have shape {given.shape}; allowed: {allowed}.")
    return np.require(_checked_values(given, "codes"), np.float32, ["C", "W"])  # torch warns about read-only arrays


def _checked_images(images: Array, sample: Sample, bounded: bool) -> Array:
    checked = check_images(images, name="samples", white=sample.white, bounded=bounded, sample=sample)
    if not sample.fits(checked.shape[1:]):
        raise DataError(f"samples have shape {checked.shape[1:]}; the model takes {sample}.")
    return checked


def _checked_table(table: Array, sample: Sample) -> Array:
    if table.ndim != 2 or not sample.fits(table.shape[1:]) or not len(table):
        raise DataError(f"samples have shape {table.shape}; the model takes (n, {sample.n_features}).")
    return _checked_values(table, "samples")


def _checked_values(values: Array, name: str) -> Array:
    """Numbers that are finite in float32."""
    if values.dtype.kind not in "biuf":
        raise DataError(f"{name} are of dtype {values.dtype}; allowed: numbers.")
    if not (float(values.min()) >= -_LARGEST and float(values.max()) <= _LARGEST):  # neither holds for NaN
        raise DataError(f"{name} hold NaN, infinite values, or values beyond float32; fill, drop or scale them first.")
    return values

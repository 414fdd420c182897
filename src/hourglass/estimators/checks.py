"""Validation of samples and pairs of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, validate_data

from hourglass.data import Stream
from hourglass.data.depth import common_level
from hourglass.errors import DataError
from hourglass.images import (
    Array,
    Sample,
    as_array,
    as_list,
    as_samples,
    check_images,
    to_unit,
    warn_of_masks,
    white_level,
)
from hourglass.notes import note, one_note

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Samples = Array | list[Array] | Stream
"""Checked samples: an array, a list of images of several sizes, or a stream."""


def has_many_sizes(samples: Samples) -> bool:
    """Whether training takes crops, as images have several sizes."""
    return isinstance(samples, list) or (isinstance(samples, Stream) and samples.crop is not None)


class Pairs(NamedTuple):
    """Targets and inputs of a network.

    Attributes
    ----------
    targets : Samples
    inputs : Samples, optional
        If not the targets.
    white : float, optional
        White level of integer images deeper than 8 bits, converted to float32 in 0..1.
    """

    targets: Any
    inputs: Any = None
    white: float | None = None


def check_samples(
    estimator: BaseEstimator,
    samples: Any,
    sample: Sample | None,
    white: float | None,
    *,
    name: str = "X",
    bounded: bool = True,
) -> tuple[Any, float | None]:
    """Check images or a table of finite numbers; return (samples, white level).

    Parameters
    ----------
    estimator : BaseEstimator
        In fitting, sets its `n_features_in_` and `feature_names_in_`.
    samples : array-like, list of images of several sizes, or Stream
    sample : Sample, optional
        Expected shape of each; None in fitting.
    white : float, optional
        The argument `white`.
    bounded : bool
        Whether floats of images must lie in 0..1.

    Raises
    ------
    DataError
    """
    owner = type(estimator).__name__
    if isinstance(samples, Stream):
        if sample is None:
            _set_features(estimator, math.prod(samples.shape[1:]))
        elif not sample.fits(samples.shape[1:]):
            raise DataError(f"{name} has images of shape {samples.shape[1:]}; {owner} was fitted on {sample}.")
        return samples, samples.white
    try:
        if (many := as_list(samples, name=name)) is not None:
            checked, level = check_many(many, sample, white, owner, name=name, bounded=bounded)
            if sample is None:
                warn_of_masks(checked, name=name)
                _set_features(estimator, checked[0][0, 0].size)
            return checked, level
        given = samples if _is_frame(samples) else as_array(samples, name=name)
        n_axes = getattr(given, "ndim", 2)
        if sample is not None and sample.is_image and n_axes > 1 and sample.fits(given.shape):
            raise DataError(f"{name} is one image of shape {given.shape}; it needs a batch axis: {name}[None].")
        if n_axes <= 2:
            array, level = _check_table(estimator, given, reset=sample is None, name=name), None
        else:
            array, level = in_unit(given, sample, white, owner, name=name)
            array = check_images(array, name=name, bounded=bounded, sample=sample)
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError(str(error)) from error
    if array.ndim > 2 and sample is None:
        warn_of_masks(array, name=name)
        _set_features(estimator, math.prod(array.shape[1:]))
    if sample is not None and not sample.fits(array.shape[1:]):
        raise DataError(f"{name} has samples of shape {array.shape[1:]}; {owner} was fitted on {sample}.")
    return array, level


def check_many(
    images: Sequence[Array],
    sample: Sample | None,
    white: float | None,
    owner: str,
    *,
    name: str = "X",
    bounded: bool = True,
) -> tuple[list[Array], float | None]:
    """Check images of several sizes with equal channels; return (images, white level)."""
    deep = [image for image in images if image.dtype.kind in "iu" and image.dtype != np.uint8 and image.size]
    if deep and sample is None and white is None:
        largest = max(deep, key=lambda image: int(image.max()))
        white = in_unit(largest[None], None, None, owner, name=name)[1]
    with one_note():
        checked = [
            check_images(in_unit(image[None], sample, white, owner, name=name)[0], name=name, bounded=bounded, sample=sample)[0]
            for image in images
        ]
    channels = {image.shape[2:] for image in checked}
    if len(channels) > 1:
        raise DataError(f"{name} holds grey and coloured images together; convert all to grey, or all to RGB.")
    if sample is not None and not all(sample.fits(image.shape) for image in checked):
        strange = next(image.shape for image in checked if not sample.fits(image.shape))
        raise DataError(f"{name} has images of shape {strange}; {owner} was fitted on {sample}.")
    return checked, white if deep else None


def in_unit(
    images: Array, sample: Sample | None, white: float | None, owner: str, *, name: str = "X"
) -> tuple[Array, float | None]:
    """Convert integers deeper than 8 bits to float32 in 0..1; return (images, white level).

    In fitting (`sample` is None) uses `white`, or estimates it with a HourglassWarning; otherwise the model's.
    """
    is_deep = images.dtype.kind in "iu" and images.dtype != np.uint8 and images.size > 0
    if sample is None and is_deep and white is None and images.min() >= 0:
        largest = int(images.max())
        white = white_level(largest, is_integer=True)
        words = f"{name} are of {images.dtype} up to {largest}; the white level is taken to be {white:g}. Set it with white=."
        note(words, 6)
    if not is_deep or images.min() < 0:  # `check_images` raises
        return images, white if sample is None else sample.white
    level = white if sample is None else sample.white
    if level is None:
        fitted = f"{owner} was fitted on uint8 or floats in 0..1"
        raise DataError(f"{name} are of {images.dtype}; {fitted}. Divide them by their white level.")
    return to_unit(images, level, name=name), level


def as_given(X: Any) -> Any:
    """`X` as an array or a list of images of several sizes; a stream, or a table for scikit-learn to check, as it is."""
    return X if isinstance(X, Stream) or _is_frame(X) else as_samples(X, name="X")


def targets_among(y: Any, X: Any) -> Array | list[Array] | None:
    """`y` as the clean samples of pairs; None if it is None, or holds a label for each sample of `X`, as from `as_given`.

    Raises
    ------
    DataError
        For anything else: what is meant for pairs is never ignored.
    """
    if y is None:
        return None
    given = as_samples(y, name="y")
    is_column = isinstance(given, np.ndarray) and given.shape[1:] == (1,) != getattr(X, "shape", ())[1:]
    if isinstance(given, list) or (given.ndim > 1 and not is_column):
        return given
    are_scalars = given.dtype != object or all(np.ndim(label) == 0 for label in given.ravel())
    count = X.shape[0] if issparse(X) else len(X)
    if given.ndim == 0 or len(given) != count or not are_scalars:
        kind = f"{type(y).__name__} of shape {given.shape}"
        raise DataError(f"y is a {kind}; allowed: clean samples, as arrays, or one label for each of the {count} samples.")
    return None


def level_of_pairs(X: Any, y: Array | list[Array], white: float | None) -> float | None:
    """The white level of both sides of pairs: `white`, or inferred with a HourglassWarning from all deeper than 8 bits."""
    sides = [given if isinstance(given, list) else [given] if getattr(given, "ndim", 0) > 2 else [] for given in (X, y)]
    return common_level([*sides[0], *sides[1]], "X and y", white)


def check_targets(targets: Array | list[Array], sample: Sample | None, white: float | None, owner: str) -> Any:
    """Check the clean samples of pairs; does not set attributes of the estimator."""
    if isinstance(targets, list) or targets.ndim > 2:
        if sample is None:
            warn_of_masks(targets, name="y")
        if isinstance(targets, list):
            return check_many(targets, sample, white, owner, name="y")[0]
        return check_images(in_unit(targets, sample, white, owner, name="y")[0], name="y", sample=sample)
    try:
        checked: Array = check_array(targets, dtype="numeric")
    except ValueError as error:
        raise DataError(str(error)) from error
    return checked


def _check_table(estimator: BaseEstimator, table: Any, *, reset: bool, name: str) -> Array:
    try:
        checked: Array = validate_data(estimator, table, reset=reset, dtype="numeric")
    except np.exceptions.DTypePromotionError:  # columns of no common type, as dates beside numbers
        checked = np.asarray(table, dtype=object)
    if checked.dtype.kind not in "biuf":
        columns = [str(column) for column, kind in getattr(table, "dtypes", {}).items() if kind.kind not in "biuf"]
        which = f" (column {', '.join(columns[:5])})" if columns else ""
        raise DataError(f"{name} holds values that are no numbers{which}; encode them (OneHotEncoder), or drop them.")
    largest = float(np.abs(checked).max())
    if largest > float(np.finfo(np.float32).max):
        raise DataError(f"{name} holds values up to {largest:g}, beyond the range of float32 (3.4e38); scale them first.")
    return checked


def as_labels(labels: Any) -> Array:
    """Labels or names as an array, bytes as text. Raises DataError for masked ones, whose mask would be lost."""
    if np.ma.is_masked(labels):
        raise DataError("y holds masked values among its labels; label all samples, drop these, or leave y out.")
    array = np.asarray(labels)
    return np.char.decode(array, "utf-8", "backslashreplace") if array.dtype.kind == "S" else array


def check_labels(labels: Any) -> Array:
    """`as_labels`. Raises DataError if some are missing: masked, None, NaN, pandas.NA or NaT."""
    array = as_labels(labels)
    if array.dtype.kind in "fOmM" and any(_is_missing(label) for label in array.ravel()):
        raise DataError("y holds missing values (None or NaN) among its labels; label all samples, drop these, or leave y out.")
    return array


def _is_missing(label: Any) -> bool:
    is_nan = isinstance(label, Real) and math.isnan(label)
    is_not_a_time = isinstance(label, np.datetime64 | np.timedelta64) and bool(np.isnat(label))
    return label is None or is_nan or is_not_a_time or type(label).__name__ in ("NAType", "NaTType")


def _set_features(estimator: Any, count: int) -> None:
    estimator.n_features_in_ = count
    estimator.__dict__.pop("feature_names_in_", None)


def _is_frame(samples: Any) -> bool:
    """Whether `samples` is a table of named columns, or a sparse one: scikit-learn checks these."""
    return hasattr(samples, "dtypes") or hasattr(samples, "tocsr") or hasattr(samples, "__dataframe__")

"""Time series as tables of windows, and values of windows back on the time axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError, ParameterError
from hourglass.images import Float32


def windows(series: Any, length: int, step: int = 1) -> Float32:
    """Cut a time series into overlapping windows: a table for any estimator.

    Windows begin every `step` times. If they leave times at the end, one more window ends there.

    Parameters
    ----------
    series : array-like (n_times,) or (n_times, n_channels)
        Equally spaced in time, finite, in any units.
    length : int
        Times in a window.
    step : int
        Times from one window to the next.

    Returns
    -------
    ndarray (n_windows, length) or (n_windows, length · n_channels), float32
        Of several channels, all of a time stand side by side.

    Raises
    ------
    DataError
        If the series is not numeric, not finite, of more than two axes, or shorter than a window.
    ParameterError

    Examples
    --------
    >>> import hourglass as hg
    >>> hg.windows([0, 1, 2, 3, 4, 5], length=3, step=2)
    array([[0., 1., 2.],
           [2., 3., 4.],
           [3., 4., 5.]], dtype=float32)
    """
    try:
        values = np.asarray(series, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"the series must be numbers: {error}") from error
    if values.ndim not in (1, 2):
        raise DataError(f"the series has shape {values.shape}; allowed: (n_times,) or (n_times, n_channels).")
    if not np.isfinite(values).all():
        raise DataError("the series holds NaN or infinite values; fill or cut them out, as a window must be complete.")
    places = _starts(len(values), length, step)[:, None] + np.arange(length)
    return np.ascontiguousarray(values[places].reshape(len(places), -1))


def over_time(values: Any, n_times: int, length: int, step: int = 1) -> NDArray[np.float64]:
    """Values of windows back on the time axis: at each time the mean over the windows that contain it.

    Parameters
    ----------
    values : array-like (n_windows,)
        As the scores of `windows(series, length, step)`.
    n_times : int
        Length of the series.
    length, step : int
        As given to `windows`.

    Returns
    -------
    ndarray (n_times,), float64

    Raises
    ------
    DataError
        If `values` are not one for each window.
    ParameterError

    Examples
    --------
    >>> import hourglass as hg
    >>> hg.over_time([1.0, 3.0, 3.0], n_times=6, length=3, step=2)
    array([1., 1., 2., 3., 3., 3.])
    """
    starts, given = _starts(n_times, length, step), np.asarray(values, dtype=np.float64)
    if given.shape != starts.shape:
        raise DataError(
            f"values have shape {given.shape}; a series of {n_times} times has {len(starts)} windows of {length}, {step} apart."
        )
    places = starts[:, None] + np.arange(length)
    sums = np.bincount(places.ravel(), np.repeat(given, length), n_times)
    counts = np.bincount(places.ravel(), minlength=n_times)
    return sums / counts


def _starts(n_times: int, length: int, step: int) -> NDArray[np.int64]:
    """Where windows begin. They cover all times as long as `step` is at most `length`."""
    for name, value in (("length", length), ("step", step)):
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ParameterError(f"{name}={value!r}; allowed: a whole number above 0.")
    if step > length:
        raise ParameterError(f"step={step} is longer than the window, {length}; times between windows would be lost.")
    if n_times < length:
        raise DataError(f"the series has {n_times} times, fewer than a window of {length}.")
    return np.minimum(np.arange(math.ceil((n_times - length) / step) + 1) * step, n_times - length)

"""Bjøntegaard's difference between two rate-distortion curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hourglass.errors import DataError

Curve = Sequence[tuple[float, float]]
"""(rate, PSNR in dB) in any order; a higher rate has a higher PSNR."""


def bjontegaard_rate(reference: Curve, other: Curve, rates: tuple[float, float] = (0.0, np.inf)) -> float | None:
    """Mean relative difference in rate at equal PSNR (Bjøntegaard 2001): -0.25 if `other` takes a quarter fewer bits.

    The logarithm of the rate is a monotone piecewise cubic function of PSNR through any number of points (Fritsch and Carlson
    1980), where Bjøntegaard fits a cubic polynomial to four. Its difference is averaged over the PSNR that both curves reach at
    rates in `rates`.

    Parameters
    ----------
    reference, other : sequence of (rate, PSNR in dB)
        Rates in any common unit, such as bits per pixel.
    rates : (lowest, highest)

    Returns
    -------
    float or None
        None if the curves have no PSNR in common.

    Raises
    ------
    DataError
        If a curve has fewer than two points, or PSNR does not rise with the rate.

    Examples
    --------
    >>> round(bjontegaard_rate([(0.1, 30), (1, 40)], [(0.05, 30), (0.5, 40)]), 6)
    -0.5
    """
    from scipy.interpolate import PchipInterpolator

    curves = [_checked(curve) for curve in (reference, other)]
    ends = [np.interp(np.log(np.clip(rates, curve[0, 0], curve[-1, 0])), np.log(curve[:, 0]), curve[:, 1]) for curve in curves]
    low, high = max(end[0] for end in ends), min(end[1] for end in ends)
    if not low < high:
        return None
    areas = [PchipInterpolator(curve[:, 1], np.log(curve[:, 0])).integrate(low, high) for curve in curves]
    return float(np.expm1((areas[1] - areas[0]) / (high - low)))


def frontier(curve: Curve) -> list[tuple[float, float]]:
    """The points of a curve by rising rate, without those that take more than another for no more PSNR."""
    kept: list[tuple[float, float]] = []
    for rate, psnr in sorted(curve, key=lambda point: (point[0], -point[1])):
        if not kept or psnr > kept[-1][1]:
            kept.append((rate, psnr))
    return kept


def distortion_at(curve: Curve, rate: float) -> float | None:
    """PSNR at `rate`, linear in the logarithm of the rate between two points; None outside the curve."""
    points = _checked(curve)
    if not points[0, 0] <= rate <= points[-1, 0]:
        return None
    return float(np.interp(np.log(rate), np.log(points[:, 0]), points[:, 1]))


def _checked(curve: Curve) -> NDArray[np.float64]:
    """The points by rising rate, (n, 2)."""
    points = np.array(sorted(curve), dtype=np.float64).reshape(-1, 2)
    if len(points) < 2 or points[0, 0] <= 0 or (np.diff(points, axis=0) <= 0).any():
        raise DataError(
            f"a rate-distortion curve needs two points or more, and PSNR must rise with the rate; got {list(curve)}."
        )
    return points

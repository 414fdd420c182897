"""Time series as windows, and scores back on the time axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hourglass as hg


@settings(deadline=None)
@given(n_times=st.integers(1, 60), length=st.integers(1, 20), step=st.integers(1, 20), n_channels=st.integers(0, 3))
def test_windows_cover_all_times_and_values_come_back(n_times: int, length: int, step: int, n_channels: int) -> None:
    length, step = min(length, n_times), min(step, length, n_times)
    series = np.arange(n_times * max(n_channels, 1), dtype=np.float32).reshape((n_times, n_channels) if n_channels else n_times)
    table = hg.windows(series, length, step)
    assert set(series.ravel()) == set(table.ravel())
    assert all((np.diff(row) == 1).all() for row in table)  # each an unbroken stretch
    means = hg.over_time(table.mean(1), n_times, length, step)
    assert means.shape == (n_times,)
    assert np.array_equal(hg.over_time(np.full(len(table), 7.0), n_times, length, step), np.full(n_times, 7.0))


@pytest.mark.parametrize(
    ("series", "length", "step", "error", "words"),
    [
        (np.zeros(5), 6, 1, hg.DataError, "fewer than a window"),
        (np.zeros(5), 0, 1, hg.ParameterError, "length=0"),
        (np.zeros(5), 2.5, 1, hg.ParameterError, "length=2.5"),
        (np.zeros(9), 2, 3, hg.ParameterError, "would be lost"),
        (np.zeros((5, 2, 2)), 2, 1, hg.DataError, "shape"),
        ([1.0, np.nan, 2.0], 2, 1, hg.DataError, "NaN"),
        (["a", "b"], 1, 1, hg.DataError, "must be numbers"),
    ],
)
def test_what_is_no_series_is_refused(series: object, length: int, step: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        hg.windows(series, length, step)


def test_values_of_other_windows_are_refused() -> None:
    with pytest.raises(hg.DataError, match="has 3 windows"):
        hg.over_time([1.0, 2.0], 7, 3, 2)


def test_a_detector_finds_a_missing_beat() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(4000)
    series = np.exp(-(((times % 50) - 25.0) ** 2) / 8) + 0.05 * rng.normal(size=len(times))
    faulty = series.copy()
    faulty[2000:2050] = 0.05 * rng.normal(size=50)
    detector = hg.AnomalyDetector(8, epochs=3, random_state=0).fit(hg.windows(series, 60, 5))
    scores = hg.over_time(-detector.score_samples(hg.windows(faulty, 60, 5)), len(faulty), 60, 5)
    assert 1980 <= int(scores.argmax()) <= 2070

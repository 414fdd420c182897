"""The image contract, and the layouts between users and networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hourglass as hg
from hourglass.images import Sample, check_images, to_shown, to_unit, white_level
from hourglass.training import as_tensor, network_input

shapes = st.one_of(
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.integers(1, 6)] * 3, st.integers(1, 4)),
)


@settings(deadline=None)
@given(shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape)))
def test_uint8_survives_the_way_through_the_network(images: np.ndarray) -> None:
    layout = Sample.of(check_images(images))
    seen = layout.to_network(images)
    assert seen.shape == (len(images), *layout.network_shape)
    assert seen.dtype == np.float32
    assert seen.flags.c_contiguous
    assert np.array_equal(hg.to_uint8(layout.from_network(seen)), images)
    assert np.array_equal(hg.to_uint8(hg.to_float(images)), images)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(-1e6, 1e6)))
@pytest.mark.filterwarnings("ignore:column:hourglass.HourglassWarning")  # one may hold all variance
def test_features_survive_the_way_through_the_network(table: np.ndarray) -> None:
    layout = Sample.of(table)
    seen = layout.to_network(table)
    assert seen.min() >= -1e-6
    assert seen.max() <= 1 + 1e-6
    span = max(1.0, float(np.abs(table).max()))
    np.testing.assert_allclose(layout.from_network(seen), table, atol=1e-6 * span, rtol=1e-5)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 5)), elements=st.floats(-1e38, 1e38)))
def test_features_survive_being_scaled_column_by_column(table: np.ndarray) -> None:
    layout = Sample.of(table, by_column=True)
    seen = layout.to_network(table)
    assert np.isfinite(seen).all()
    assert np.array_equal(seen, network_input(layout, as_tensor(table)).numpy())
    span = np.array(layout.scale) + np.abs(table).max(0)
    assert (np.abs(layout.from_network(seen) - table) <= 1e-4 * np.abs(table) + 1e-6 * span + 1e-37).all()


def test_columns_of_any_kind_count_alike() -> None:
    """Incomes, ages and shares; heavy tails, switches, a constant and a single far value do not change that."""
    rng = np.random.default_rng(0)
    plain = np.c_[rng.normal(5e4, 1e4, 2000), rng.normal(40, 3, 2000), rng.normal(0.5, 0.02, 2000)]
    odd = np.c_[np.exp(2 * rng.normal(size=2000)), rng.standard_cauchy(2000), rng.random(2000) < 0.1, rng.random(2000) < 0.001]
    table = np.c_[plain, odd, np.full(2000, 7.0), np.where(np.arange(2000) == 3, 1e9, 0)]
    layout = Sample.of(table, by_column=True)
    seen = layout.to_network(table)
    assert (np.abs(seen[:, :3].std(0) - 1 / 6) < 0.01).all()
    assert (seen[:, 3:7].std(0) > 0.03).all()
    assert (seen[:, 7] == 0.5).all()
    assert seen.min() > -4
    assert seen.max() < 4
    np.testing.assert_allclose(layout.from_network(seen), table, rtol=1e-4, atol=1e-5)
    far = layout.to_network(table[:1] + np.array(layout.scale) * 3)[0]  # 18 deviations
    assert (far > 1.3).all()


def test_one_column_that_holds_all_variance_is_named() -> None:
    table = np.random.default_rng(0).normal(size=(50, 3)) * [1, 1000, 1]
    two = np.random.default_rng(0).normal(size=(50, 3)) * [1e4, 1, 1e4]
    with pytest.warns(hg.HourglassWarning, match="columns 0, 2 hold 100 % of the table's variance, and dominate"):
        Sample.of(two)
    with pytest.warns(hg.HourglassWarning, match="column 1 holds 100 % of the table's variance"):
        Sample.of(table)


@pytest.mark.parametrize(
    ("deviations", "hidden"),
    [
        ((1e4, 1e4, 200, 4, 0.08), "columns 2, 3, 4 vary"),  # a ladder, with no gap of a hundred
        ((1e4, 1e4, 1e4, 150, 2), "columns 3, 4 vary"),
        ((100,) * 50 + (1.5,), "columns 0, 1, 2, 3, 4, … hold .*: column 50 varies"),
    ],
)
def test_columns_that_are_hidden_are_named(deviations: tuple[float, ...], hidden: str) -> None:
    table = np.random.default_rng(0).normal(size=(200, len(deviations))) * deviations
    with pytest.warns(hg.HourglassWarning, match=f"{hidden} too little beside to be learned"):
        Sample.of(table)


def test_a_rare_column_is_hidden_by_its_range_and_pixels_are_not(digits: np.ndarray) -> None:
    Sample.of(digits.reshape(len(digits), -1).astype(float))  # some vary by a hundredth of others
    rng = np.random.default_rng(0)
    with pytest.warns(hg.HourglassWarning, match="column 0 holds .*: column 1 varies"):
        Sample.of(np.c_[rng.normal(30_000, 9_000, 200), rng.random(200) < 0.1])


@pytest.mark.parametrize(
    ("largest", "is_integer", "white"),
    [
        *((40, True, 255), (255, True, 255), (256, True, 511), (1020, True, 1023), (4095, True, 4095), (65535, True, 65535)),
        *((0.2, False, 1), (1.0, False, 1), (1.2, False, 3), (255.0, False, 255)),
    ],
)
def test_the_white_level_is_the_full_scale_of_as_many_bits(largest: float, is_integer: bool, white: float) -> None:
    assert white_level(largest, is_integer=is_integer) == white


def test_what_lies_above_white_is_clipped_with_a_note() -> None:
    with pytest.warns(hg.HourglassWarning, match="values up to 5000, above the white level 4095"):
        assert to_unit(np.array([0, 4095, 5000], np.uint16), 4095).max() == 1
    with pytest.raises(hg.DataError, match="from -1"):
        to_unit(np.array([-1, 3]), 255)


def test_channels_come_first_inside() -> None:
    images = np.zeros((2, 3, 4, 3), np.uint8)
    images[..., 1] = 255
    layout = Sample.of(images)
    assert layout.network_shape == (3, 3, 4)
    assert (layout.to_network(images)[:, 1] == 1).all()
    assert Sample.of(images[..., 0]).network_shape == (1, 3, 4)


def test_a_little_rounding_is_forgiven_and_more_is_not() -> None:
    check_images(np.full((1, 2, 2), 1 + 5e-7))
    with pytest.raises(hg.DataError):
        check_images(np.full((1, 2, 2), 1.01))


def test_checking_copies_nothing() -> None:
    for images in (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.float32)):
        assert check_images(images) is images


def test_deep_images_are_shown_by_their_white_level() -> None:
    deep = np.array([[0, 1023, 4095]], np.uint16)
    assert to_shown(deep).tolist() == [[0, 64, 255]]
    assert to_shown(deep // 4, 4095).tolist() == [[0, 16, 64]]
    assert to_shown(np.array([[7, 255]], np.uint8), 4095).tolist() == [[7, 255]]

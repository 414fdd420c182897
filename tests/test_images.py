"""The image contract, and the layouts between users and networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hourglass as hg
from hourglass.images import Layout, check_images

shapes = st.one_of(
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.integers(1, 6)] * 3, st.integers(1, 4)),
)


@settings(deadline=None)
@given(shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape)))
def test_uint8_survives_the_way_through_the_network(images: np.ndarray) -> None:
    layout = Layout.of(check_images(images))
    seen = layout.to_network(images)
    assert seen.shape == (len(images), *layout.network_shape)
    assert seen.dtype == np.float32
    assert seen.flags.c_contiguous
    assert np.array_equal(hg.to_uint8(layout.from_network(seen)), images)
    assert np.array_equal(hg.to_uint8(hg.to_float(images)), images)


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(-1e6, 1e6)))
def test_features_survive_the_way_through_the_network(table: np.ndarray) -> None:
    layout = Layout.of(table)
    seen = layout.to_network(table)
    assert seen.min() >= -1e-6
    assert seen.max() <= 1 + 1e-6
    span = max(1.0, float(np.abs(table).max()))
    np.testing.assert_allclose(layout.from_network(seen), table, atol=1e-6 * span, rtol=1e-5)


def test_channels_come_first_inside() -> None:
    images = np.zeros((2, 3, 4, 3), np.uint8)
    images[..., 1] = 255
    layout = Layout.of(images)
    assert layout.network_shape == (3, 3, 4)
    assert (layout.to_network(images)[:, 1] == 1).all()
    assert Layout.of(images[..., 0]).network_shape == (1, 3, 4)


def test_a_little_rounding_is_forgiven_and_more_is_not() -> None:
    check_images(np.full((1, 2, 2), 1 + 5e-7))
    with pytest.raises(hg.DataError):
        check_images(np.full((1, 2, 2), 1.01))


def test_checking_copies_nothing() -> None:
    for images in (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.float32)):
        assert check_images(images) is images

"""What every corruption must keep; a new one is taken up from its dict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import hourglass as hg
from hourglass.corruption import CORRUPTIONS, Combination, from_config, seeded, to_config


def small_corruptions() -> list[hg.Corruption]:
    parts = tuple(kind() for kind in CORRUPTIONS.values() if not issubclass(kind, Combination))
    return [*parts, *(kind(parts) for kind in CORRUPTIONS.values() if issubclass(kind, Combination))]


@pytest.mark.parametrize("corruption", small_corruptions(), ids=lambda c: type(c).__name__)
def test_corruption_is_pure_seeded_and_in_range(corruption: hg.Corruption, digits: np.ndarray, colours: np.ndarray) -> None:
    for images in (digits, colours, colours.reshape(len(colours), -1)):
        before = images.copy()
        damaged = corruption(images, 5)
        assert damaged.shape == images.shape
        assert damaged.dtype == np.float32
        assert damaged.min() >= 0
        assert damaged.max() <= 1
        assert np.array_equal(images, before)
        assert np.array_equal(damaged, corruption(images, 5))
        if corruption.is_random and (images.ndim > 2 or not isinstance(corruption, hg.Warp)):  # rows have no geometry
            assert not np.array_equal(damaged, corruption(images, 6))
            assert not np.array_equal(corruption(images), corruption(images))
    generator = seeded(5)
    batch = torch.rand(4, 3, 8, 8)
    if corruption.is_random:
        assert not torch.equal(corruption(batch, generator), corruption(batch, generator))  # the generator moves on


@pytest.mark.parametrize("corruption", small_corruptions(), ids=lambda c: type(c).__name__)
def test_corruption_survives_json(corruption: hg.Corruption) -> None:
    assert from_config(json.loads(json.dumps(to_config(corruption)))) == corruption


def test_corruptions_do_what_they_say() -> None:
    grey = np.full((50, 28, 28), 0.5, dtype=np.float32)
    noisy = hg.GaussianNoise(mean=0.1, std=0.05)(grey, 0)
    assert noisy.mean() == pytest.approx(0.6, abs=0.002)
    assert noisy.std() == pytest.approx(0.05, abs=0.002)
    salted = hg.SaltAndPepper(0.2)(grey, 0)
    assert (salted == 0).mean() == pytest.approx(0.1, abs=0.01)
    assert (salted == 1).mean() == pytest.approx(0.1, abs=0.01)
    colour = np.full((20, 16, 16, 3), 0.5, dtype=np.float32)
    lost = hg.Masking(0.3)(colour, 0) == 0
    assert lost.mean() == pytest.approx(0.3, abs=0.02)
    assert (lost.all(axis=3) == lost.any(axis=3)).all()  # all channels of a pixel together
    coarse = hg.Downscale(2)(np.arange(15, dtype=np.float32).reshape(1, 3, 5) / 14, 0) * 14
    np.testing.assert_allclose(coarse[0], [[3, 3, 5, 5, 6.5]] * 2 + [[10.5, 10.5, 12.5, 12.5, 14]], rtol=1e-5)
    still = hg.Warp(rotation=0, scale=0, shear=0, shift=0)(colour, 0)
    np.testing.assert_allclose(still, colour, atol=1e-6)
    bar = np.zeros((200, 21, 21), np.float32)
    bar[:, :, 10] = 1
    moved = hg.Warp(rotation=0, scale=0, shear=0, shift=0.1)(bar, 0)
    centres = (moved * np.arange(21)).sum((1, 2)) / moved.sum((1, 2)) - 10
    assert np.abs(centres).max() == pytest.approx(2.1, abs=0.1)
    turned = hg.Warp(rotation=90, scale=0, shear=0, shift=0)(bar, 0)
    assert (turned[:, 10, 0] > 0.5).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: hg.GaussianNoise(std=-1.0),
        lambda: hg.GaussianNoise(mean=float("nan")),
        lambda: hg.SaltAndPepper(1.5),
        lambda: hg.Masking(-0.1),
        lambda: hg.Compose((1,)),
        lambda: hg.Downscale(0),
        lambda: hg.Downscale(1.5),
        lambda: hg.Warp(scale=1.0),
        lambda: hg.Warp(shift=float("nan")),
        lambda: hg.Masking(cell=float("inf")),
        lambda: hg.Rotation(float("nan")),
        lambda: hg.Rotation(float("inf")),
        lambda: hg.Permutation(-1),
        lambda: hg.Permutation(1.5),
        lambda: hg.Permutation(float("nan")),
        lambda: hg.Permutation(2**32),
        lambda: hg.Permutation(inverted=2),
        lambda: hg.Flip(0.5),
        lambda: hg.Choice(()),
        lambda: hg.Choice((hg.Flip(), None)),
    ],
)
def test_impossible_corruptions_are_refused(make) -> None:
    with pytest.raises(hg.ParameterError):
        make()


@pytest.mark.parametrize(
    "corruption",
    [
        hg.Permutation(3),
        hg.Permutation(3, inverted=True),
        hg.Flip(),
        hg.Flip(vertical=True),
        hg.Rotation(180),
        hg.Rotation(-540),
        hg.Compose((hg.Permutation(3), hg.Flip(), hg.Rotation(180), hg.Permutation(4))),
        hg.Compose(()),
    ],
    ids=str,
)
def test_what_can_be_undone_is_undone_exactly(corruption: hg.Corruption, digits: np.ndarray, colours: np.ndarray) -> None:
    grey = colours[..., 0]
    for images in (digits, digits / 255, colours, grey, digits.reshape(len(digits), -1), grey.reshape(len(grey), -1)):
        assert not corruption.is_random
        moved = corruption(images)
        wanted = hg.to_float(images)
        assert moved.shape == images.shape
        assert np.array_equal(corruption.inverse(moved), wanted)
        assert np.array_equal(corruption(corruption.inverse(images)), wanted)
        if images.ndim > 2 and corruption != hg.Compose(()):
            assert not np.array_equal(moved, wanted)
    rows = torch.randn(5, 7)  # features in their own units
    assert torch.equal(corruption.inverse(corruption(rows)), rows)


@pytest.mark.parametrize("angle", [0, 90, 180, 270, 360, -90, 450])
def test_quarter_turns_of_squares_are_exact_and_can_be_undone(angle: float, digits: np.ndarray) -> None:
    turned = hg.Rotation(angle)(digits)
    assert np.array_equal(turned, hg.to_float(np.rot90(digits, angle // 90, axes=(1, 2))))
    assert np.array_equal(hg.Rotation(angle).inverse(turned), hg.to_float(digits))


def test_what_cannot_be_undone_says_so() -> None:
    for corruption in small_corruptions():
        if isinstance(corruption, (hg.Permutation, hg.Rotation, hg.Flip)):
            assert not corruption.is_random
            assert corruption.inverse.inverse == corruption
        else:
            assert corruption.inverse is None
    assert hg.Compose((hg.Flip(), hg.Masking(), hg.Rotation(30))).inverse is None
    assert hg.Compose((hg.Flip(), hg.Rotation(30))).inverse == hg.Compose((hg.Rotation(-30), hg.Flip()))
    assert hg.Compose((hg.Flip(), hg.Masking())).is_random
    assert not hg.Compose((hg.Flip(), hg.Downscale())).is_random


def test_rows_have_no_geometry_but_can_be_permuted(colours: np.ndarray) -> None:
    rows = colours.reshape(len(colours), -1)
    for corruption in (hg.Rotation(30), hg.Rotation(180), hg.Flip(), hg.Flip(vertical=True), hg.Warp()):
        assert np.array_equal(corruption(rows), rows)
        assert torch.equal(corruption(torch.from_numpy(rows)), torch.from_numpy(rows))
    moved = hg.Permutation(1)(rows)
    assert np.array_equal(moved, rows[:, np.random.RandomState(1).permutation(rows.shape[1])])
    for corruption in (*small_corruptions(), hg.Masking(cell=4)):  # an array's rows are rows as a tensor's are
        assert np.array_equal(corruption(rows, 3), corruption(torch.from_numpy(rows), 3).numpy())


def test_permutation_is_one_order_for_all_images_and_channels(colours: np.ndarray) -> None:
    pixels = colours.reshape(40, 143, 3)
    moved = hg.Permutation(7)(colours).reshape(40, 143, 3)
    assert np.array_equal(moved, pixels[:, np.random.RandomState(7).permutation(143)])
    assert not np.array_equal(moved, hg.Permutation(8)(colours).reshape(40, 143, 3))
    assert np.array_equal(np.sort(moved, axis=1), np.sort(pixels, axis=1))
    # Written down, not drawn: numpy's frozen stream, which saved models rest on.
    ten = np.arange(10, dtype=np.float32)[None] / 10
    np.testing.assert_allclose(hg.Permutation(0)(ten)[0] * 10, [2, 8, 4, 9, 1, 6, 7, 3, 0, 5], rtol=1e-6)


def test_flip_mirrors(colours: np.ndarray) -> None:
    assert np.array_equal(hg.Flip()(colours), colours[:, :, ::-1])
    assert np.array_equal(hg.Flip(vertical=True)(colours), colours[:, ::-1])


@pytest.mark.parametrize("angle", [30.0, -75.0, 90.0, 200.0])
def test_rotation_is_scipys(angle: float) -> None:
    images = np.random.default_rng(0).random((2, 9, 24, 3), dtype=np.float32)
    wanted = ndimage.rotate(images, angle, axes=(2, 1), reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(hg.Rotation(angle)(images), wanted, atol=1e-4)


def test_rotation_is_counter_clockwise_and_repeats_the_border() -> None:
    images = np.zeros((1, 9, 9), np.float32)
    images[0, 4, 8] = 1
    assert hg.Rotation()(images)[0, 0, 4] == 1  # from the right to the top
    turned = hg.Rotation(45)(images)[0]
    assert turned[:4, 5:].sum() > 0.5
    assert turned[5:].sum() == 0
    for level in (0.0, 1.0):
        np.testing.assert_allclose(hg.Rotation(33)(np.full((1, 9, 14), level)), level, atol=1e-6)


def test_a_turn_back_restores_the_middle() -> None:
    y, x = np.mgrid[0:40, 0:60]
    images = (0.5 + 0.4 * np.sin(x / 6) * np.cos(y / 8))[None].astype(np.float32)
    back = hg.Rotation(30).inverse(hg.Rotation(30)(images))
    assert np.abs(back - images)[0, 12:28, 22:38].max() < 0.02
    assert np.abs(back - images).max() > 0.1  # the corners are lost


def test_choice_gives_each_image_one_of_its_parts_evenly(colours: np.ndarray) -> None:
    parts = (hg.Compose(()), hg.Flip(), hg.Flip(vertical=True), hg.Permutation(2))
    images = np.repeat(colours, 50, axis=0)
    damaged = hg.Choice(parts)(images, 0)
    fits = np.array([(damaged == part(images)).all(axis=(1, 2, 3)) for part in parts])
    assert (fits.sum(axis=0) == 1).all()
    np.testing.assert_allclose(fits.mean(axis=1), 0.25, atol=0.04)  # four standard deviations of 2,000 draws
    noisy = hg.Choice((hg.GaussianNoise(0, 0.1), hg.GaussianNoise(0.5, 0)))(np.full((500, 4, 4), 0.2), 0)
    same = np.isclose(noisy, 0.7).all(axis=(1, 2))
    assert same.mean() == pytest.approx(0.5, abs=0.1)
    assert (noisy[~same].std(axis=0) > 0.05).all()  # a draw for each image


def test_fixed_corruptions_are_saved_with_a_model(digits: np.ndarray, tmp_path: Path) -> None:
    noise = hg.GaussianNoise(0, 0.1)
    for number, corruption in enumerate(
        (hg.Compose((hg.Permutation(3), hg.Flip(), noise)), hg.Choice((hg.Compose(()), hg.Rotation(180), noise)))
    ):
        fitted = hg.Denoiser(3, epochs=1, corruption=corruption, random_state=0).fit(digits)
        fitted.save(tmp_path / f"{number}.hg")
        loaded = hg.load_model(tmp_path / f"{number}.hg")
        assert loaded.settings_["corruption"] == loaded.corruption == corruption
        assert np.array_equal(loaded.corruption(digits, 4), corruption(digits, 4))


def test_unknown_corruptions_are_refused() -> None:
    with pytest.raises(hg.FormatError, match="unknown"):
        from_config({"name": "os.system"})
    with pytest.raises(hg.FormatError, match="cannot be made"):
        from_config({"name": "masking", "colour": 3})

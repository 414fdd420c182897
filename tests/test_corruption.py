"""What every corruption must keep; a new one is taken up from its dict."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

import hourglass as hg
from hourglass.corruption import CORRUPTIONS, Combination, enlarge, from_config, reduce, seeded, to_config
from hourglass.corruption.defects import DEFECTS

PHOTOGRAPHS = Path(os.environ.get("HOURGLASS_DATA", "")) / "photographs"
NEED_GEOMETRY = (
    hg.Warp,
    hg.Lighting,
    hg.Stripes,
    hg.MissingBlocks,
    hg.Defects,
    hg.JPEG,
    hg.Blur,
    hg.MotionBlur,
)  # rows of features stay as they are

needs_photographs = pytest.mark.skipif(
    not PHOTOGRAPHS.is_dir(), reason="HOURGLASS_DATA names no folder that holds photographs/"
)


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
        if corruption.is_random and (images.ndim > 2 or not isinstance(corruption, NEED_GEOMETRY)):
            assert not np.array_equal(damaged, corruption(images, 6))
            assert not np.array_equal(corruption(images), corruption(images))
    generator = seeded(5)
    batch = torch.rand(4, 3, 8, 8)
    if corruption.is_random:
        assert not torch.equal(corruption(batch, generator), corruption(batch, generator))  # the generator moves on


@pytest.mark.parametrize("corruption", small_corruptions(), ids=lambda c: type(c).__name__)
def test_corruption_survives_json(corruption: hg.Corruption) -> None:
    assert from_config(json.loads(json.dumps(to_config(corruption)))) == corruption


@pytest.mark.parametrize("corruption", small_corruptions(), ids=lambda c: type(c).__name__)
def test_one_image_does_not_change_the_draw_of_another(corruption: hg.Corruption) -> None:
    """Of processes that share a batch each draws for all of it, and has only its own images."""
    batch = torch.rand(6, 3, 12, 10, generator=seeded(0))
    other = torch.cat([torch.zeros(4, 3, 12, 10), batch[4:]])
    ours, theirs = (corruption.corrupt(images, seeded(3))[4:] for images in (batch, other))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


RANGES = [
    hg.GaussianNoise(0, (0, 55 / 255), clip=False),
    hg.SensorNoise((0, 0.01), (0, 0.02), clip=False),
    hg.PoissonNoise((1, 1000)),
    hg.Stripes((0, 1), (0, 0.5)),
    hg.MissingBlocks((0, 5), (1, 9)),
    hg.Defects((0, 5), (1, 9)),
    hg.JPEG((1, 100)),
    hg.Blur((0, 3)),
    hg.MotionBlur((0, 9), (20, 50)),
]


@pytest.mark.parametrize("corruption", RANGES, ids=lambda c: type(c).__name__)
def test_a_range_is_drawn_for_each_image(corruption: hg.Corruption) -> None:
    assert corruption.is_random
    assert from_config(json.loads(json.dumps(to_config(corruption)))) == corruption
    y, x = np.mgrid[0:32, 0:32]
    image = (0.5 + 0.2 * np.sin(x / 2) * np.cos(y / 3)).astype(np.float32)
    changes = np.abs(corruption(np.repeat(image[None], 100, 0), 0) - image).mean((1, 2))
    assert len(np.unique(changes.round(6))) > 4
    assert changes.max() > 3 * changes.min()


def test_gaussian_noise_of_one_strength_is_drawn_as_ever() -> None:
    images = torch.rand(3, 1, 9, 7, generator=seeded(0))
    noise = torch.randn(images.shape, generator=seeded(4)).mul_(0.4).add_(0.5)
    assert torch.equal(hg.GaussianNoise().corrupt(images, seeded(4)), (noise + images).clamp(0, 1))
    assert from_config({"name": "gaussian_noise", "mean": 0.5, "std": 0.4, "varied": False}) == hg.GaussianNoise()
    assert torch.equal(hg.GaussianNoise(clip=False).corrupt(images, seeded(4)), noise + images)


def test_the_strength_of_blind_noise_is_uniform() -> None:
    noise = hg.GaussianNoise(0, std=(0.1, 0.3), clip=False)
    stds = noise(np.full((4000, 16, 16), 0.5, np.float32), 0).std((1, 2))
    np.testing.assert_allclose(np.quantile(stds, [0.05, 0.5, 0.95]), [0.11, 0.2, 0.29], atol=0.01)


def test_noise_that_is_not_clipped_stays_so(colours: np.ndarray) -> None:
    free, clipped = hg.GaussianNoise(0, 0.5, clip=False), hg.GaussianNoise(0, 0.5)
    for images in (colours, colours[..., 0], colours.reshape(len(colours), -1)):
        noisy = free(images, 0)
        assert noisy.min() < -0.5
        assert noisy.max() > 1.5
        assert noisy.shape == images.shape
        assert np.array_equal(np.clip(noisy, 0, 1), clipped(images, 0))
    unbounded = [free, hg.SensorNoise(0.1, 0.2, clip=False), hg.PoissonNoise(2, clip=False)]
    for noise in unbounded:
        assert not noise.is_bounded
        assert noise(colours, 0).max() > 1
    bounded = hg.Flip()
    for parts, is_bounded in (
        ((), True),
        ((free,), False),
        ((bounded, free), False),
        ((free, bounded), False),  # which does not clip
        ((free, clipped), True),
        ((free, hg.JPEG()), True),
        ((hg.Compose((free, bounded)), hg.Compose((bounded, clipped))), True),
        ((clipped, hg.Compose((free,))), False),
    ):
        corruption = hg.Compose(parts)
        assert corruption.is_bounded == is_bounded, parts
        assert (corruption(colours, 0).max() <= 1) == is_bounded
    assert not hg.Choice((free, clipped)).is_bounded
    assert hg.Choice((bounded, clipped)).is_bounded
    assert hg.Choice((bounded, clipped))(colours, 0).max() <= 1
    assert not hg.Compose((free, hg.Choice((bounded, clipped)))).is_bounded


def test_sensor_noise_grows_with_the_light() -> None:
    levels = np.linspace(0.05, 0.9, 6, dtype=np.float32)
    images = np.broadcast_to(levels[:, None, None], (6, 200, 200))
    noise = hg.SensorNoise(shot=0.01, read=0.02, clip=False)(images, 0) - images
    np.testing.assert_allclose(noise.var((1, 2)), 0.01 * levels + 0.02**2, rtol=0.03)
    assert np.abs(noise.mean((1, 2))).max() < 0.002


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.3, 1.0, 4.9, 5.1, 20.0, 300.0])
def test_photons_are_poissons(rate: float) -> None:
    peak = 1000.0
    counts = hg.PoissonNoise(peak, clip=False)(np.full((1, 400, 500), rate / peak, np.float32), 0) * peak
    np.testing.assert_allclose(counts, counts.round(), atol=1e-3)
    found = np.bincount(counts.round().astype(int).ravel()) / counts.size
    wanted = stats.poisson.pmf(np.arange(len(found)), rate)
    assert np.abs(found - wanted).sum() / 2 < 0.015  # total variation; of true draws it is about this at a rate of 300
    assert abs(counts.mean() - rate) <= 4 * (rate / counts.size) ** 0.5
    assert abs(counts.var(dtype=np.float64) - rate) <= 4 * ((rate + 2 * rate**2) / counts.size) ** 0.5 + 1e-4 * rate


@pytest.mark.parametrize("kind", DEFECTS)
def test_defects_are_small_marks_of_their_kind(kind: str) -> None:
    images = np.clip(np.random.default_rng(0).normal(0.5, 0.02, (60, 64, 64)), 0, 1).astype(np.float32)
    marked = hg.Defects(1, (4, 12), kinds=(kind,))(images, 0)
    changed = np.abs(marked - images) > 1e-3
    shares = changed.mean((1, 2))
    assert 0 < np.median(shares) < 0.12  # an ellipse of 12 by 12 covers 0.11
    assert (shares > 0).mean() > 0.8  # some lie at a border, with little of them inside
    assert (marked == images).mean() > 0.8  # bit for bit
    one = hg.Defects(1, 20, kinds=kind)(images[:1], 1)
    assert from_config(to_config(hg.Defects(1, 20, kinds=kind))) == hg.Defects(1, 20, kinds=(kind,))
    assert one.shape == (1, 64, 64)


def test_scratches_are_longer_than_wide_and_none_leaves_the_image_alone() -> None:
    images = np.full((200, 64, 64), 0.5, np.float32)
    for kind, low, high in (("scratch", 4, 99), ("spot", 1, 4)):
        ratios = []
        for image in hg.Defects(1, 14, kinds=kind)(images, 0):
            places = np.argwhere(np.abs(image - 0.5) > 0.02)
            if len(places) > 8:
                spread = np.sqrt(np.linalg.eigvalsh(np.cov(places.T)))
                ratios.append(spread[1] / max(spread[0], 0.3))
        assert low < np.median(ratios) < high
    assert np.array_equal(hg.Defects(0)(images, 0), images)


def test_stripes_are_whole_lines() -> None:
    images = np.full((40, 30, 50, 3), 0.5, np.float32)
    for vertical in (True, False):
        striped = hg.Stripes(0.2, 0.05, vertical=vertical)(images, 0)
        lines = striped if vertical else striped.transpose(0, 2, 1, 3)
        assert (lines == lines[:, :1, :, :1]).all()
        shifts = lines[:, 0, :, 0] - 0.5
        assert (shifts != 0).mean() == pytest.approx(0.2, abs=0.03)
        assert shifts[shifts != 0].std() == pytest.approx(0.05, rel=0.2)
    dead = hg.Stripes(0.3, dead=True)(images, 0)
    assert set(np.unique(dead)) == {0.0, 0.5}
    assert ((dead == 0).all((1, 3)) == (dead == 0).any((1, 3))).all()


def test_missing_blocks_are_rectangles_within_the_image() -> None:
    images = np.full((300, 20, 30, 3), 0.5, np.float32)
    missing = hg.MissingBlocks(1, (3, 6), value=1.0)(images, 0)[..., 0] == 1
    rows, columns = missing.any(2), missing.any(1)
    assert (missing == rows[:, :, None] & columns[:, None]).all()
    for lines, length in ((rows, 20), (columns, 30)):
        assert set(lines.sum(1)) == {3, 4, 5, 6}
        assert ((np.diff(lines.astype(int), axis=1, prepend=0) == 1).sum(1) == 1).all()  # one run
        assert lines.any(0)[[0, length - 1]].all()
    several = hg.MissingBlocks((0, 3), 1)(images, 0)[..., 0] == 0
    assert set(several.sum((1, 2))) == {0, 1, 2, 3}
    assert not hg.MissingBlocks(0)(images, 0).min() < 0.5
    assert (hg.MissingBlocks(1, 99)(images, 0) == 0).all()


def test_blur_is_scipys(colours: np.ndarray) -> None:
    for sigma in (0.0, 0.7, 2.0, 5.0):
        wanted = ndimage.gaussian_filter(colours, (0, sigma, sigma, 0), mode="nearest")
        np.testing.assert_allclose(hg.Blur(sigma)(colours), wanted, atol=1e-6)


def test_motion_blurs_along_its_line() -> None:
    point = np.zeros((50, 41, 41), np.float32)
    point[:, 20, 20] = 1
    y, x = np.mgrid[20:-21:-1, -20:21]
    for angle in (0, 30, 90, 135):
        blurred = hg.MotionBlur(12, angle)(point)
        np.testing.assert_allclose(blurred.sum((1, 2)), 1, rtol=1e-5)
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        along, across = (x * cos + y * sin) ** 2, (y * cos - x * sin) ** 2
        assert (blurred[0] * along).sum() == pytest.approx(12**2 / 12 + 1 / 6, rel=0.02)  # 1/6 of the interpolation
        assert (blurred[0] * across).sum() < 0.3
    shapes = hg.MotionBlur(12)(point, 0)
    angles = np.degrees(0.5 * np.arctan2(2 * (shapes * x * y).sum((1, 2)), (shapes * (x * x - y * y)).sum((1, 2)))) % 180
    np.testing.assert_allclose(np.histogram(angles, 3, (0, 180))[0], 50 / 3, atol=10)
    assert np.array_equal(hg.MotionBlur(0, 30)(point), point)


# --- beside Pillow ----------------------------------------------------------------------------------------------------


def photographs(folder: str) -> dict[str, np.ndarray]:
    return {path.stem: np.asarray(Image.open(path)) for path in sorted((PHOTOGRAPHS / folder).glob("*.webp"))}


def by_pillow(image: np.ndarray, quality: int, subsampling: int = 2) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def grey_of(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).convert("L"))


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(image.astype(float) - other).mean() / 255**2))


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 60, 95, 100])
def test_jpeg_is_pillows(quality: int) -> None:
    for photograph in hg.load("sample-photos").train.images:
        image = np.ascontiguousarray(photograph[40:173, 100:331])  # of an odd height and width
        grey = grey_of(image)
        ours = hg.JPEG(quality)(grey[None])[0] * 255
        assert np.abs(ours - ours.round()).max() < 1e-3
        assert np.abs(ours - by_pillow(grey, quality)).mean() < 0.15
        for subsample, code in ((True, 2), (False, 0)):
            ours = hg.JPEG(quality, subsample=subsample)(image[None])[0] * 255
            assert np.abs(ours - by_pillow(image, quality, code)).mean() < 0.3


@needs_photographs
def test_jpeg_of_photographs_is_as_far_from_the_original_as_pillows() -> None:
    for image in photographs("set14").values():
        grey = grey_of(image)
        for quality in (10, 30, 60):
            ours, theirs = hg.JPEG(quality)(grey[None])[0] * 255, by_pillow(grey, quality)
            assert np.abs(ours - theirs).mean() < 0.5
            assert psnr(ours, grey) == pytest.approx(psnr(theirs, grey), abs=0.1)


def test_jpeg_takes_any_channels_and_each_image_its_quality() -> None:
    images = np.random.default_rng(0).random((4, 21, 19, 5), np.float32)
    each = np.stack([hg.JPEG(30)(images[..., channel]) for channel in range(5)], 3)
    assert np.array_equal(hg.JPEG(30)(images), each)
    drawn = hg.JPEG((20, 22))(images[..., 0], 0)
    fits = np.array([[np.array_equal(drawn[row], hg.JPEG(q)(images[..., 0])[row]) for q in (20, 21, 22)] for row in range(4)])
    assert (fits.sum(1) == 1).all()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_is_pillows(factor: int) -> None:
    image = np.random.default_rng(0).random((24, 36), np.float32)
    size = (36 // factor, 24 // factor)
    low = reduce(torch.from_numpy(image)[None, None], (factor, factor), "bicubic")
    wanted = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    np.testing.assert_allclose(low[0, 0], np.clip(np.asarray(wanted), 0, 1), atol=1e-5)
    high = enlarge(low, (factor, factor), "bicubic")
    back = Image.fromarray(low[0, 0].numpy()).resize((36, 24), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(high[0, 0], np.clip(np.asarray(back), 0, 1), atol=1e-5)
    assert np.array_equal(hg.Downscale(factor, smooth=True, method="bicubic")(image[None])[0], high[0, 0].numpy())
    repeated = hg.Downscale(factor, method="bicubic")(image[None])[0]
    assert np.array_equal(repeated, low[0, 0].numpy().repeat(factor, 0).repeat(factor, 1))


def test_bicubic_repeats_the_border_up_to_whole_blocks(colours: np.ndarray) -> None:
    padded = np.pad(colours, ((0, 0), (0, 2), (0, 1), (0, 0)), mode="edge")
    corruption = hg.Downscale(3, smooth=True, method="bicubic")
    assert np.array_equal(corruption(colours), corruption(padded)[:, :13, :11])


@needs_photographs
@pytest.mark.parametrize(("folder", "published"), [("set5", 33.66), ("set14", 30.23)])
def test_bicubic_gives_the_published_figures(folder: str, published: float) -> None:
    figures = []
    for name, photograph in photographs(folder).items():
        image = photograph[: photograph.shape[0] // 2 * 2, : photograph.shape[1] // 2 * 2]
        high = 16 + image @ np.array([65.481, 128.553, 24.966]) / 255  # luma, BT.601
        if name == "bridge":  # the grey one, which is scored as it is
            high = image[..., 0].astype(float)
        low = reduce(torch.from_numpy(high / 255).float()[None, None], (2, 2), "bicubic").mul(255).round() / 255
        made = enlarge(low, (2, 2), "bicubic")[0, 0].mul(255).round().numpy()
        figures.append(psnr(made[2:-2, 2:-2], high[2:-2, 2:-2]))
    assert np.mean(figures) == pytest.approx(published, abs=0.005)


# --- what is said and done --------------------------------------------------------------------------------------------


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
        lambda: hg.GaussianNoise(std=(0.2, 0.1)),
        lambda: hg.GaussianNoise(std=(0.1, float("nan"))),
        lambda: hg.GaussianNoise(std=(0.1, 0.2, 0.3)),  # type: ignore[arg-type]
        lambda: hg.GaussianNoise(std="0.2"),  # type: ignore[arg-type]
        lambda: hg.GaussianNoise(clip=2),  # type: ignore[arg-type]
        lambda: hg.SensorNoise(shot=-0.1),
        lambda: hg.SensorNoise(read=(0, float("inf"))),
        lambda: hg.SensorNoise(clip=0.5),  # type: ignore[arg-type]
        lambda: hg.PoissonNoise(0),
        lambda: hg.PoissonNoise((0, 10)),
        lambda: hg.Stripes((0.5, 1.5)),
        lambda: hg.Stripes(shift=-1),
        lambda: hg.Stripes(vertical=3),  # type: ignore[arg-type]
        lambda: hg.Stripes(dead="yes"),  # type: ignore[arg-type]
        lambda: hg.MissingBlocks(1.5),
        lambda: hg.MissingBlocks(size=(0, 4)),
        lambda: hg.MissingBlocks(value=2),
        lambda: hg.Defects(-1),
        lambda: hg.Defects(size=(0, 4)),
        lambda: hg.Defects(contrast=1.5),
        lambda: hg.Defects(kinds=("scratch", "hole")),
        lambda: hg.Defects(kinds=()),
        lambda: hg.JPEG(0),
        lambda: hg.JPEG((10, 101)),
        lambda: hg.JPEG((10, 20.5)),
        lambda: hg.JPEG(subsample=4),  # type: ignore[arg-type]
        lambda: hg.Blur(-1),
        lambda: hg.Blur((0, 1e9)),
        lambda: hg.MotionBlur(length=-1),
        lambda: hg.MotionBlur(angle=float("nan")),
        lambda: hg.SaltAndPepper(1.5),
        lambda: hg.Masking(-0.1),
        lambda: hg.Masking((0, 0.5)),  # type: ignore[arg-type]
        lambda: hg.Compose((1,)),  # type: ignore[arg-type]
        lambda: hg.Downscale(0),
        lambda: hg.Downscale(1.5),  # type: ignore[arg-type]
        lambda: hg.Downscale((2, 4)),  # type: ignore[arg-type]
        lambda: hg.Downscale(method="lanczos"),
        lambda: hg.Downscale(smooth=2),  # type: ignore[arg-type]
        lambda: hg.Warp(scale=1.0),
        lambda: hg.Lighting(gain=1.5),
        lambda: hg.Lighting(offset=-0.1),
        lambda: hg.Warp(shift=float("nan")),
        lambda: hg.Masking(cell=float("inf")),  # type: ignore[arg-type]
        lambda: hg.Rotation(float("nan")),
        lambda: hg.Rotation(float("inf")),
        lambda: hg.Permutation(-1),
        lambda: hg.Permutation(1.5),  # type: ignore[arg-type]
        lambda: hg.Permutation(float("nan")),  # type: ignore[arg-type]
        lambda: hg.Permutation(2**32),
        lambda: hg.Permutation(inverted=2),  # type: ignore[arg-type]
        lambda: hg.Flip(0.5),  # type: ignore[arg-type]
        lambda: hg.Choice(()),
        lambda: hg.Choice((hg.Flip(), None)),  # type: ignore[arg-type]
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
        inverse = corruption.inverse
        assert inverse is not None
        assert np.array_equal(inverse(moved), wanted)
        assert np.array_equal(corruption(inverse(images)), wanted)
        if images.ndim > 2 and corruption != hg.Compose(()):
            assert not np.array_equal(moved, wanted)
    rows = torch.randn(5, 7)  # features in their own units
    assert inverse is not None
    assert torch.equal(inverse(corruption(rows)), rows)


@pytest.mark.parametrize("angle", [0, 90, 180, 270, 360, -90, 450])
def test_quarter_turns_of_squares_are_exact_and_can_be_undone(angle: int, digits: np.ndarray) -> None:
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
    for corruption in (
        hg.Rotation(30),
        hg.Rotation(180),
        hg.Flip(),
        hg.Flip(vertical=True),
        *(kind() for kind in NEED_GEOMETRY),
    ):
        assert np.array_equal(corruption(rows), rows)
        assert torch.equal(corruption(torch.from_numpy(rows)), torch.from_numpy(rows))
    moved = hg.Permutation(1)(rows)
    assert np.array_equal(moved, rows[:, np.random.RandomState(1).permutation(rows.shape[1])])
    for one in (*small_corruptions(), hg.Masking(cell=4)):  # an array's rows are rows as a tensor's are
        assert np.array_equal(one(rows, 3), one(torch.from_numpy(rows), 3).numpy())


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

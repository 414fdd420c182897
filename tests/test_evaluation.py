"""Metrics and baselines, against the libraries and formulas that define them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import Ridge

import hourglass as hg
from hourglass.evaluation import (
    cells,
    compare_autoencoders,
    compare_denoisers,
    image_metrics,
    image_quality,
    label_agreement,
    markdown,
    per_region_overlap,
    pixel_auroc,
)
from hourglass.evaluation.baselines import LinearDenoiser, MeanImage, MedianDenoiser, PrincipalComponents


def test_metrics_of_known_images() -> None:
    images = np.random.default_rng(0).uniform(size=(30, 16, 16, 3)).astype(np.float32)
    same = image_metrics(images, images)
    assert same["mse"] == 0
    assert same["psnr"] == float("inf")
    assert same["ssim"] == pytest.approx(1)
    off = image_metrics(np.clip(images, 0.1, 0.9) + 0.1, np.clip(images, 0.1, 0.9))
    assert off["mse"] == pytest.approx(0.01, rel=1e-4)
    assert off["psnr"] == pytest.approx(20, abs=0.01)
    assert image_metrics(hg.to_uint8(images), images)["mse"] < 1e-5  # the dtype says the scale
    with pytest.raises(hg.DataError, match="must agree"):
        image_metrics(images, images[:5])


def test_metrics_do_not_depend_on_how_images_are_batched(monkeypatch) -> None:
    from hourglass.evaluation import metrics

    rng = np.random.default_rng(0)
    made, wanted = rng.uniform(size=(2, 7, 8, 8)).astype(np.float32)
    whole = image_metrics(made, wanted)
    monkeypatch.setattr(metrics, "_BATCH", 3)
    assert image_metrics(made, wanted) == pytest.approx(whole, rel=1e-5)


def ssim_by_definition(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """(SSIM, mean of contrast times structure) of two planes: every window of 11×11 by itself, Wang et al. 2004."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    total, structure = [], []
    for patches in zip(
        *(np.lib.stride_tricks.sliding_window_view(p, (11, 11)).reshape(-1, 11, 11) for p in (a, b)), strict=True
    ):
        mean = [(window * patch).sum() for patch in patches]
        spread = [(window * (patch - m) ** 2).sum() for patch, m in zip(patches, mean, strict=True)]
        common = (window * (patches[0] - mean[0]) * (patches[1] - mean[1])).sum()
        structure.append((2 * common + 0.0009) / (sum(spread) + 0.0009))
        total.append(structure[-1] * (2 * mean[0] * mean[1] + 0.0001) / (mean[0] ** 2 + mean[1] ** 2 + 0.0001))
    return float(np.mean(total)), float(np.mean(structure))


def test_quality_of_one_image_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(size=(20, 23, 3))
    image = np.clip(reference + rng.normal(0, 0.1, reference.shape), 0, 1)
    quality = image_quality(image, reference)
    assert quality["psnr"] == pytest.approx(-10 * np.log10(np.square(image - reference).mean()))
    wanted = np.mean([ssim_by_definition(image[..., c], reference[..., c])[0] for c in range(3)])
    assert quality["ssim"] == pytest.approx(wanted, rel=1e-9)
    assert quality["ms_ssim"] is None
    grey = hg.to_uint8(reference[..., 0])
    assert image_quality(grey, grey) == {"psnr": np.inf, "ssim": pytest.approx(1), "ms_ssim": None}
    assert image_quality(grey, hg.to_float(grey))["ssim"] == pytest.approx(1)
    assert -1 < image_quality(grey[:4, :9], grey[1:5, :9])["ssim"] < 1  # smaller than a window
    with pytest.raises(hg.DataError, match="must agree"):
        image_quality(grey, grey[:-1])


def test_ms_ssim_by_its_definition() -> None:
    rng = np.random.default_rng(1)
    coarse = np.kron(rng.uniform(0.2, 0.8, (11, 11)), np.ones((16, 16)))
    planes = [coarse, np.clip(coarse + rng.normal(0, 0.05, coarse.shape), 0, 1)]
    wanted, small = 1.0, planes
    for number, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if number:
            small = [plane.reshape(len(plane) // 2, 2, -1, 2).mean((1, 3)) for plane in small]
        total, structure = ssim_by_definition(*small)
        wanted *= (total if number == 4 else structure) ** exponent
    assert image_quality(*planes)["ms_ssim"] == pytest.approx(wanted, rel=1e-9)
    assert image_quality(planes[0][:176, :176], planes[1][:176, :176])["ms_ssim"] is not None
    assert image_quality(planes[0][:175], planes[1][:175])["ms_ssim"] is None
    assert image_quality(1 - planes[0], planes[0])["ms_ssim"] == 0  # all structure is reversed


def test_linear_denoiser_is_ridge_regression() -> None:
    images = hg.load("digits").train.images
    noise = hg.GaussianNoise(0.2, 0.3)
    ours = LinearDenoiser(strengths=[10.0]).fit(images, noise, seed=3)
    order = np.random.default_rng(3).permutation(len(images))
    clean = hg.to_float(images[order[len(images) // 10 :]])
    damaged = noise(clean, 3)
    theirs = Ridge(alpha=10.0).fit(damaged.reshape(len(damaged), -1), clean.reshape(len(clean), -1))
    test = noise(hg.load("digits").test.images, 4)
    expected = theirs.predict(test.reshape(len(test), -1)).clip(0, 1).reshape(test.shape)
    np.testing.assert_allclose(ours.transform(test), expected, atol=2e-3)


def test_linear_denoiser_chooses_its_strength_on_held_out_images() -> None:
    images = hg.load("digits").train.images[:150]
    noise = hg.GaussianNoise(0.0, 0.5)
    chosen = LinearDenoiser().fit(images, noise, seed=0)
    assert chosen.strength in chosen.strengths
    test = hg.load("digits").test.images
    errors = {
        strength: np.square(
            LinearDenoiser([strength]).fit(images, noise, seed=0).transform(noise(test, 1)) - hg.to_float(test)
        ).mean()
        for strength in chosen.strengths
    }
    assert errors[chosen.strength] <= 1.2 * min(errors.values())
    with pytest.raises(hg.DataError, match="at most"):
        LinearDenoiser().fit(np.zeros((2, 100, 100), np.uint8), noise, seed=0)


def test_other_baselines() -> None:
    digits = hg.load("digits")
    mean = MeanImage().fit(digits.train.images).reconstruct(digits.test.images)
    pca = PrincipalComponents(8).fit(digits.train.images).reconstruct(digits.test.images)
    assert image_metrics(pca, digits.test.images)["mse"] < 0.5 * image_metrics(mean, digits.test.images)["mse"]
    salted = hg.SaltAndPepper(0.05)(np.full((5, 16, 16), 0.5, np.float32), 0)
    filtered = MedianDenoiser().fit(np.full((5, 16, 16), 0.5, np.float32), hg.SaltAndPepper(0.05), 0).transform(salted)
    assert np.abs(filtered - 0.5).mean() < 0.1 * np.abs(salted - 0.5).mean()


def test_comparisons_measure_every_row_on_the_same_images() -> None:
    digits = hg.load("digits")
    noise = hg.GaussianNoise(0.1, 0.3)
    model = hg.Denoiser(corruption=noise, epochs=3, random_state=0).fit(digits.train.images)
    comparison = compare_denoisers({"ours": model}, digits.train.images, digits.test.images, noise, seed=5)
    assert [row["name"] for row in comparison.rows] == ["noisy input", "median filter", "best linear map (ridge)", "ours"]
    damaged = noise(digits.test.images, 5)
    expected = np.square(model.transform(damaged) - hg.to_float(digits.test.images)).mean()
    assert comparison.rows[-1]["mse"] == pytest.approx(expected, rel=1e-5)
    assert all(len(images) == 10 for images in comparison.images.values())
    large = np.zeros((4, 70, 70), np.uint8)
    left_out = compare_denoisers({}, large, large, noise, seed=0)
    assert "left out" in left_out.notes[0]
    ae = hg.Autoencoder(8, epochs=3, random_state=0).fit(digits.train.images)
    names = [row["name"] for row in compare_autoencoders({"ours": ae}, digits.train.images, digits.test.images).rows]
    assert names == ["mean image", "PCA, 8 components", "ours"]


def test_baselines_never_see_the_test_draw(monkeypatch) -> None:
    drawn: dict[str, list[np.ndarray]] = {"fit": [], "test": []}
    fit, transform = LinearDenoiser.fit, LinearDenoiser.transform

    def watched_fit(self, clean, corruption, seed):
        drawn["fit"].append(corruption(np.full((5, 8, 8), 0.5, np.float32), seed))
        return fit(self, clean, corruption, seed)

    def watched_transform(self, damaged):
        drawn["test"].append(damaged[:5])
        return transform(self, damaged)

    monkeypatch.setattr(LinearDenoiser, "fit", watched_fit)
    monkeypatch.setattr(LinearDenoiser, "transform", watched_transform)
    grey = np.full((50, 8, 8), 0.5, np.float32)
    compare_denoisers({}, grey, grey, hg.GaussianNoise(0.0, 0.1), seed=3)
    assert all(not np.array_equal(drawn["fit"][0], damaged) for damaged in drawn["test"])


def test_tables() -> None:
    rows = [{"name": "a", "mse": 0.01234, "seconds": None, "bar": 0.026}, {"name": "b", "mse": 0.5, "seconds": 1.26}]
    headings, body = cells(rows)
    assert headings == ["", "MSE", "seconds to fit", "bar, MSE"]
    assert body == [["a", "0.0123", "", "≤ 0.0260"], ["b", "0.5000", "1.3", ""]]
    assert markdown(rows).splitlines()[1] == "| --- | ---: | ---: | ---: |"


def overlap_by_definition(maps: list[np.ndarray], masks: list[np.ndarray], limit: float) -> float:
    """PRO at every threshold by itself, integrated up to `limit`: Bergmann et al. 2021."""
    from scipy.ndimage import label

    thresholds = np.unique(np.concatenate([one.ravel() for one in maps]))[::-1]
    rates, overlaps = [0.0], [0.0]
    for threshold in thresholds:
        shares, false, normal = [], 0, 0
        for errors, mask in zip(maps, masks, strict=True):
            numbers, count = label(mask, np.ones((3, 3)))
            shares += [(errors[numbers == one] >= threshold).mean() for one in range(1, count + 1)]
            false, normal = false + (errors[~mask] >= threshold).sum(), normal + (~mask).sum()
        rates.append(false / normal)
        overlaps.append(float(np.mean(shares)))
    area = 0.0
    for (left, low), (right, high) in itertools.pairwise(zip(rates, overlaps, strict=True)):
        end = min(right, limit)
        if end > left:
            area += (end - left) * (low + (low + (high - low) * (end - left) / (right - left))) / 2
    return area / limit


def test_overlap_of_regions_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    masks = [np.zeros((12, 9), bool) for _ in range(3)]
    masks[0][2:4, 3:7] = masks[0][8:, :2] = masks[1][5:, 5:] = True  # the third image has no defect
    maps = [np.round(rng.uniform(size=mask.shape) + 0.4 * mask, 2).astype(np.float32) for mask in masks]  # with ties
    for limit in (0.1, 0.3, 1.0):
        assert per_region_overlap(maps, masks, limit) == pytest.approx(overlap_by_definition(maps, masks, limit))
    assert 0.6 < pixel_auroc(maps, masks) < 0.95
    perfect = [mask.astype(np.float32) for mask in masks]
    assert per_region_overlap(perfect, masks) == pytest.approx(1)
    assert pixel_auroc(perfect, masks) == 1
    assert per_region_overlap([-one for one in perfect], masks) < 0.01
    halves = [one[::2, ::2] for one in perfect]
    assert 0.7 < pixel_auroc(halves, masks) < 1  # resized to the masks
    with pytest.raises(hg.DataError, match="2 maps and 3 masks"):
        pixel_auroc(maps[:2], masks)
    with pytest.raises(hg.DataError, match="masks must show"):
        per_region_overlap(maps[2:], masks[2:])


def test_labels_among_the_nearest_by_their_definition() -> None:
    digits = hg.load("digits").train
    images, labels = digits.images[:300], digits.known_labels[:300]
    pca = PrincipalComponents(8).fit(images)
    same = label_agreement(pca.transform, images, labels)
    assert same is not None
    assert same.ours == pytest.approx(same.pca)
    assert same.n_components == 8
    codes = pca.transform(images).astype(np.float64)
    distances = np.linalg.norm(codes[:, None] - codes, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :5]
    assert same.pca == pytest.approx((labels[nearest] == labels[:, None]).mean())
    blind = label_agreement(lambda some: np.random.default_rng(0).random((len(some), 8), np.float32), images, labels)
    assert blind is not None
    assert blind.is_worse
    assert label_agreement(pca.transform, images, np.zeros(300)) is None
    assert label_agreement(pca.transform, images[:20], labels[:20]) is None
    several = [np.kron(image, np.ones((2, 3 + number % 2), np.uint8)) for number, image in enumerate(images)]
    told = label_agreement(
        lambda some: np.stack([image[::2, ::3].ravel()[:64] for image in some]).astype(np.float32), several, labels
    )
    assert told is not None
    assert told.pca > 0.8
    large = np.kron(images, np.ones((1, 9, 9), np.uint8))
    assert (
        told := label_agreement(lambda some: some[:, ::9, ::9].reshape(-1, 64).astype(np.float32), large, labels)
    ) is not None
    assert told.pca > 0.8
    with pytest.raises(hg.DataError, match="takes images"):
        label_agreement(pca.transform, images.reshape(300, 64), labels)
    with pytest.raises(hg.DataError, match="finite"):
        label_agreement(lambda some: np.full((len(some), 8), np.nan, np.float32), images, labels)

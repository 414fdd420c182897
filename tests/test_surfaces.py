"""Anomalies on surfaces and parts: images of any size, restored by a network that learned to undo synthetic defects."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

import hourglass as hg
from hourglass.anomaly import standardised
from hourglass.estimators import presets

SMALL: dict[str, Any] = {"hidden": (8, 16), "learning_rate": 0.02, "epochs": 40, "batch_size": 8, "random_state": 0}


def surface(height: int, width: int, seed: int) -> np.ndarray:
    """A brushed surface: horizontal lines, under a light of its own."""
    rng = np.random.default_rng(seed)
    lines = rng.normal(0, 12, (height, 1)).cumsum(0) * 0.3 + rng.normal(0, 3, (height, width))
    return np.clip((130 + 30 * rng.normal()) + rng.uniform(0.7, 1.3) * (lines - lines.mean()), 0, 255).astype(np.uint8)


def surfaces(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = (rng.integers(66, 110, 2) for _ in range(count))
    return [surface(height, width, 1000 * seed + number) for number, (height, width) in enumerate(sizes)]


def scratched(image: np.ndarray, seed: int = 0) -> tuple[np.ndarray, tuple[int, int]]:
    """(the image with a dark scratch of 24 × 4 pixels, its top left corner)"""
    rng = np.random.default_rng(seed)
    top, left = int(rng.integers(5, image.shape[0] - 30)), int(rng.integers(5, image.shape[1] - 10))
    marked = image.copy()
    marked[top : top + 24, left : left + 4] = np.clip(marked[top : top + 24, left : left + 4].astype(int) - 70, 0, 255)
    return marked, (top, left)


@pytest.fixture(scope="module")
def detector() -> hg.AnomalyDetector:
    with pytest.warns(hg.HourglassWarning) as notes:
        made = hg.AnomalyDetector(quantile=0.9, **SMALL).fit(surfaces(40, 1))
    assert any('preset="surface"' in str(note.message) for note in notes)
    return made


def test_a_scratch_is_found_where_it_is(detector: hg.AnomalyDetector) -> None:
    normal = surfaces(30, 2)
    marked = [scratched(image, number) for number, image in enumerate(normal)]
    faulty = [image for image, _ in marked]
    scores = -np.concatenate([detector.score_samples(normal), detector.score_samples(faulty)])
    assert roc_auc_score(np.repeat([0, 1], 30), scores) >= 0.95
    assert (detector.predict(normal) < 0).mean() <= 0.3
    for (image, (top, left)), regions in zip(marked, detector.regions(faulty), strict=True):
        first = regions[0]
        assert first.left <= left + 4 <= first.left + first.width + 8, (image.shape, first, top, left)
        assert first.top <= top + 24, first
        assert top <= first.top + first.height, first  # they overlap
        assert first.area < image.size / 4
    maps = detector.error_maps(faulty)
    assert [one.shape for one in maps] == [image.shape for image in faulty]


def test_light_and_contrast_of_an_image_do_not_count(detector: hg.AnomalyDetector) -> None:
    images = surfaces(6, 3)
    dimmed = [(0.2 + 0.5 * image / 255).astype(np.float32) for image in images]
    # Apart from rounding: half a grey level of a standardised image.
    np.testing.assert_allclose(detector.score_samples(images), detector.score_samples(dimmed), atol=0.2)
    for image in standardised(images):
        assert image.dtype == np.uint8
        assert abs(image.mean() / 255 - 0.5) < 0.01
        assert abs(image.std() / 255 - 1 / 8) < 0.01
    assert (standardised([np.full((9, 9), 200, np.uint8)])[0] == 128).all()
    assert standardised(np.stack([images[0], images[0]])).shape == (2, *images[0].shape)


def test_an_empty_image_among_textures_is_an_anomaly(detector: hg.AnomalyDetector) -> None:
    empty = [np.full((80, 90), level, np.uint8) for level in (0, 128, 255)]
    restoration = detector.evidence_["restoration"]
    normal = restoration.scores(standardised(surfaces(10, 9)), detector.model_)
    assert restoration.scores(standardised(empty), detector.model_).min() > normal.max() + 1
    assert (detector.predict(empty) == -1).all()


def test_it_scores_each_image_alone_and_as_saved(detector: hg.AnomalyDetector, tmp_path: Path) -> None:
    images = surfaces(5, 4)
    together = detector.score_samples(images)
    alone = np.concatenate([detector.score_samples([image]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-3)
    np.testing.assert_allclose(detector.score_samples(images[0][None]), together[:1], atol=1e-3)  # one size: an array
    detector.save(tmp_path / "d.hg")
    loaded = hg.load_model(tmp_path / "d.hg")
    np.testing.assert_array_equal(loaded.score_samples(images), together)
    assert loaded.map_level_ == detector.map_level_
    assert loaded.standardises_


def test_weights_follow_from_the_power_on_synthetic_defects(detector: hg.AnomalyDetector) -> None:
    assert list(detector.evidence_) == ["restoration", "principal", "thumbnails"]
    gain = np.maximum(np.mean(list(detector.power_.values()), axis=0) - 0.5, 0)
    np.testing.assert_allclose(detector.weights_, gain / gain.sum())
    assert detector.weights_[0] > 1 / 3  # restoration counts for more than an equal share
    assert len(detector.normal_scores_) == 20  # half of 40
    trained = np.setdiff1d(np.arange(40), detector.validation_rows_)
    held_out = detector.decision_scores_[detector.validation_rows_]
    assert abs(np.median(detector.decision_scores_[trained]) - np.median(held_out)) < 2  # none is its own neighbour


def test_large_images_of_one_size_are_taken_for_surfaces() -> None:
    images = np.stack([surface(64, 64, number) for number in range(24)])
    with pytest.warns(hg.HourglassWarning, match='preset="surface"'):
        large = hg.AnomalyDetector(quantile=0.9, **SMALL | {"epochs": 2}).fit(images)
    assert large.sample_.is_any_size
    assert len(large.normal_scores_) == 12
    assert large.error_maps(images[:2]).shape == (2, 64, 64)
    colour = [np.stack([image] * 3, axis=2) for image in surfaces(12, 5)]
    with pytest.warns(hg.HourglassWarning):
        coloured = hg.AnomalyDetector(quantile=0.9, **SMALL | {"epochs": 1}).fit(colour)
    assert np.isfinite(coloured.score_samples(colour)).all()
    with pytest.warns(hg.HourglassWarning) as notes:  # too few to hold any out
        few = hg.AnomalyDetector(**SMALL | {"epochs": 1}).fit(surfaces(3, 6))
    assert any("comes from all 3 samples" in str(note.message) for note in notes)
    assert np.isfinite(few.score_samples(surfaces(3, 7))).all()


def test_a_given_network_receives_images_as_they_are() -> None:
    images = surfaces(12, 8)
    autoencoder = hg.Autoencoder(4, network="maps", hidden=(8,), crop=16, epochs=1, random_state=0).fit(images)
    before = hg.AnomalyDetector.from_autoencoder(autoencoder)  # not fitted itself
    np.testing.assert_array_equal(before.reconstruct(images[:1])[0], autoencoder.reconstruct(images[:1])[0])
    with pytest.warns(hg.HourglassWarning, match="comes from all 12 samples"):
        given = hg.AnomalyDetector.from_autoencoder(autoencoder, images, quantile=0.9)
    assert not given.standardises_
    expected = np.square(images[0] / 255 - autoencoder.reconstruct(images[:1])[0])
    np.testing.assert_allclose(given.error_maps(images[:1], blur=0)[0], expected, atol=1e-5)


def test_features_of_a_network_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.anomaly_detector._SYNTHETIC_IMAGES", 10)
    images = surfaces(24, 8)
    photos = [photo.mean(2).astype(np.uint8) for photo in hg.load("sample-photos").train.images]
    trained = hg.Autoencoder(8, network="maps", hidden=(8,), crop=32, epochs=10, random_state=0).fit(photos)
    backbone = trained.encoder_.train()
    settings = SMALL | {"preset": "surface", "crop": 64, "quantile": 0.9, "epochs": 2}
    fitted = hg.AnomalyDetector(features=backbone, **settings).fit(images)
    assert backbone.training
    assert list(fitted.evidence_) == ["restoration", "principal", "thumbnails", "features"]
    assert len(fitted.weights_) == 4
    faulty = [scratched(image, number)[0] for number, image in enumerate(surfaces(20, 9))]
    column = np.concatenate([fitted.evidence_scores(surfaces(20, 9)), fitted.evidence_scores(faulty)])[:, 3]
    assert roc_auc_score(np.repeat([0, 1], 20), column) > 0.85
    fitted.save(tmp_path / "d.hg")
    with pytest.raises(hg.ParameterError, match="load_model\\(path, features=module\\)"):
        hg.load_model(tmp_path / "d.hg")
    other = hg.Autoencoder(8, network="maps", hidden=(8,), crop=32, epochs=1, random_state=1).fit(images).encoder_
    with pytest.raises(hg.ParameterError, match="not the module"):
        hg.load_model(tmp_path / "d.hg", features=other)
    loaded = hg.load_model(tmp_path / "d.hg", features=backbone)
    np.testing.assert_array_equal(loaded.score_samples(faulty), fitted.score_samples(faulty))
    several = hg.AnomalyDetector(features=Several(backbone), **settings).fit(images)  # maps of two sizes
    assert several.evidence_["features"].mean.shape == (11,)  # type: ignore[attr-defined]
    wrong = {"must return feature maps": torch.nn.Flatten(), "fails on float32 images": torch.nn.Conv2d(5, 2, 3)}
    for words, module in wrong.items():
        with pytest.raises(hg.ModelError, match=words):
            hg.AnomalyDetector(features=module, **settings).fit(images)
    with pytest.raises(hg.ParameterError, match="features needs images"):
        hg.AnomalyDetector(features=backbone, epochs=1).fit(hg.load("digits").train.images[:200])
    trained.save(tmp_path / "a.hg")
    with pytest.raises(hg.ParameterError, match="features is for an AnomalyDetector"):
        hg.load_model(tmp_path / "a.hg", features=backbone)


class Several(torch.nn.Module):
    """Features at two sizes."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [self.network(images), images.expand(-1, 3, -1, -1)]


def test_from_a_folder_to_a_sheet(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.anomaly_detector._SYNTHETIC_IMAGES", 10)
    good, mixed = tmp_path / "good", tmp_path / "mixed"
    for folder in (good, mixed):
        folder.mkdir()
    for number, image in enumerate(surfaces(30, 1)):
        Image.fromarray(image).save(good / f"{number:02d}.png")
    marked, (top, left) = scratched(surface(90, 130, 77))
    Image.fromarray(marked).save(mixed / "scratched.png")
    Image.fromarray(surface(70, 80, 78)).save(mixed / "fine.png")
    options = ["--hidden", "8,16", "--epochs", "25", "--batch-size", "8", "--learning-rate", "0.02", "--seed", "0"]
    code, _, err = run("train", "--task", "detector", "--data", good, "-o", tmp_path / "d.hg", *options)
    assert code == 0, err
    assert 'preset="surface"' in err
    code, out, err = run("detect", tmp_path / "d.hg", mixed, "-o", tmp_path / "out", "--json")
    assert code == 0, err
    assert json.loads(out)["images"] == 2
    with open(tmp_path / "out" / "anomalies.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["path"].endswith("scratched.png")
    with open(tmp_path / "out" / "regions.csv", newline="") as file:
        region = next(csv.DictReader(file))
    assert abs(int(region["left"]) - left) <= 8
    assert int(region["top"]) <= top + 24
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 2
    code, out, _ = run("info", tmp_path / "d.hg")
    assert code == 0
    assert "restoration" in out


def test_the_suite_stands_beside_baselines(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOURGLASS_DATA", str(tmp_path))
    code, _, err = run("evaluate", "--suite", "surfaces")
    assert code == 2
    assert "magnetic-tile" in err
    monkeypatch.setitem(presets.MINIMAL_STEPS, "surface", 60)
    monkeypatch.setattr("hourglass.estimators.anomaly_detector._SYNTHETIC_IMAGES", 10)
    kinds = {"good": surfaces(40, 1), "scratch": [scratched(image)[0] for image in surfaces(6, 2)], "none": surfaces(30, 5)}
    for kind, images in kinds.items():
        (tmp_path / "magnetic-tile" / kind).mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "magnetic-tile" / kind / f"{number:02d}.png")
    code, out, err = run("evaluate", "--suite", "surfaces", "-o", tmp_path / "out", "--seed", 0)
    assert code == 0, err
    assert "PCA residual" in out
    first = json.loads((tmp_path / "out" / "surfaces.json").read_text())["methods"][0]
    assert first["by_kind"]["scratch"] > 0.8
    assert 0.2 < first["by_kind"]["none"] < 0.8
    assert "| its restoration alone | " in (tmp_path / "out" / "surfaces.md").read_text()
    assert (tmp_path / "out" / "surfaces.png").exists()

"""The chapter: each section runs and says what it measured; the page and its files; what codes are like."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg
from hourglass.estimators.presets import MINIMAL_STEPS
from hourglass.evaluation.baselines import PrincipalComponents
from hourglass.evaluation.codes import cluster_quality, jacobian_norm, largest_angle, near_zero
from hourglass.latent import bounds, classify, fit_mixture, grid, sample_class
from hourglass.report.chapter import TOPICS, Laboratory, run_chapter
from hourglass.report.sections import Picture, Section, Table

DOCS = Path(__file__).resolve().parent.parent / "docs" / "chapter"


class Sketch(Laboratory):
    """Every training takes one epoch, but for the linear ones, whose claim is about the end of it."""

    def fit(self, model: Any, *data: Any, name: str) -> tuple[Any, float]:
        return super().fit(model if model.network == "linear" else model.set_params(epochs=1), *data, name=name)


# Of some tens of shapes a detector says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*support a false positive rate:hourglass.HourglassWarning")


def few_digits() -> hg.Dataset:
    digits = hg.load("digits")
    return dataclasses.replace(digits, train=digits.train.take(np.arange(600)), test_split=digits.test.take(np.arange(200)))


def shapes(folder: Path) -> hg.Dataset:
    """A folder of 100 coloured images of odd size, in two classes with names."""
    rng = np.random.default_rng(0)
    for label in ("bars", "dots"):
        (folder / label).mkdir(parents=True)
        for number in range(50):
            image = rng.integers(0, 60, (11, 9, 3), dtype=np.uint8)
            y, x = rng.integers(2, 7, 2)
            image[y if label == "bars" else slice(y, y + 2), :: 1 if label == "bars" else x] = 250
            Image.fromarray(image).save(folder / label / f"{number}.png")
    return hg.load(folder).with_test(0, share=0.3)


@pytest.fixture(scope="module", params=["digits", "shapes"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Section], Path]:
    """The chapter, run on the small digits, and on a folder of images that have nothing to do with digits."""
    out = tmp_path_factory.mktemp("chapter")
    dataset = few_digits() if request.param == "digits" else shapes(out / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hourglass.estimators.layout._FEWEST_STEPS", 100)  # for speed, as the next three
        patch.setitem(MINIMAL_STEPS, "linear", 1000)
        patch.setitem(MINIMAL_STEPS, "default", 1)
        patch.setattr("hourglass.evaluation.generation._FEWEST_STEPS", 60)
        return run_chapter(Sketch(dataset, 3, "cpu", quick=True), out / "page", "hourglass chapter"), out / "page"


def test_every_section_runs_and_says_what_it_measured(written: tuple[list[Section], Path]) -> None:
    sections, _ = written
    assert [section.name for section in sections] == list(TOPICS)
    names = [shown.name for section in sections for shown in section.shown if isinstance(shown, Picture)]
    assert len(names) == len(set(names))
    for section in sections:
        assert any(isinstance(shown, Picture) for shown in section.shown), section.name
        assert re.search(r"\d", section.meaning), section.name
        assert "nan" not in section.meaning.lower().split(), section.name
        for table in (shown for shown in section.shown if isinstance(shown, Table)):
            assert all(len(row) == len(table.headings) for row in table.rows), table.caption


def test_the_page_and_its_files_agree(written: tuple[list[Section], Path]) -> None:
    sections, out = written
    page, text = ((out / name).read_text(encoding="utf-8") for name in ("index.html", "chapter.md"))
    content = json.loads((out / "chapter.json").read_text(encoding="utf-8"))
    assert list(content["sections"]) == list(TOPICS)
    assert content["seed"] == 3
    assert not re.search(r'(?:src|href)="(?!#|data:)|url\((?!#)', page)  # it asks for nothing
    for section in sections:
        assert f'id="{section.name}"' in page
        for shown in section.shown:
            if isinstance(shown, Picture):
                assert f"figures/{shown.name}.png" in text
                assert {(out / "figures" / f"{shown.name}{kind}").is_file() for kind in (".png", ".svg")} == {True}
            else:
                assert all(cell in text for row in shown.rows for cell in row)

    def finite(value: Any) -> bool:
        if isinstance(value, dict):
            return all(map(finite, value.values()))
        if isinstance(value, list):
            return all(map(finite, value))
        return not isinstance(value, float) or math.isfinite(value)

    assert finite(content)


def test_numbers_on_the_page_are_those_in_the_file(written: tuple[list[Section], Path]) -> None:
    sections, out = written
    numbers = json.loads((out / "chapter.json").read_text(encoding="utf-8"))["sections"]
    linear = next(shown for shown in sections[1].shown if isinstance(shown, Table))
    assert {row[0]: row[1] for row in linear.rows} == {
        k: f"{found['angle']:.3f}°" for k, found in numbers["linear"]["spans"].items()
    }
    assert all(found["angle"] <= 1 and found["ratio"] <= 1.001 for found in numbers["linear"]["spans"].values())
    errors = numbers["transformations"]["errors"]
    assert {row["transformation"] for row in errors} >= {"none", "rotation", "flip", "permutation", "all three", "mixture"}
    assert {(row["network"], row["target"]) for row in errors} == {
        (network, target) for network in ("mlp", "conv") for target in ("the clean original", "the transformed clean image")
    }


def test_command_line(run: Any, tmp_path: Path) -> None:
    code, out, err = run("chapter", "--section", "structure", "--data", "digits", "--quick", "-o", tmp_path / "c")
    assert (code, err) == (0, "")
    assert "index.html" in out
    assert (tmp_path / "c" / "index.html").read_text(encoding="utf-8").count("<svg") == 2
    code, out, _ = run("chapter", "--section", "structure", "--data", "digits", "-o", tmp_path / "c", "--json")
    assert json.loads(out)["sections"] == ["structure"]
    code, _, err = run("chapter", "--section", "structures", "--data", "digits", "-o", tmp_path / "d")
    assert code == 2
    assert "allowed: structure, linear" in err
    assert not (tmp_path / "d").exists()
    code, _, err = run("chapter", "--section", "linear", "--data", "digits", "-o", tmp_path / "c")
    assert code == 2
    assert "more sections (structure)" in err
    code, _, err = run("chapter", "--data", "sample-photos", "-o", tmp_path / "d")
    assert code == 2
    assert err.count("\n") == 1


def test_data_that_the_chapter_cannot_count_by(tmp_path: Path) -> None:
    dataset = shapes(tmp_path)
    assert dataset.train.labels is not None
    for train, test in (
        (dataset.train.take(np.flatnonzero(dataset.train.labels == "bars")), dataset.test),
        (dataset.train, dataset.test.take(np.arange(10))),
    ):
        with pytest.raises(hg.DataError, match="of each class in both splits"):
            Laboratory(hg.Dataset("few", train, "here", test), 0)


def test_the_documented_run_is_of_these_sections() -> None:
    text = (DOCS / "chapter.md").read_text(encoding="utf-8")
    for topic in TOPICS.values():
        assert topic.claim in text.replace("\n> ", "\n"), f"{topic.name}: run `make results` again"
        assert topic.example.strip() in text, f"{topic.name}: run `make results` again"


# --- what codes are like ----------------------------------------------------------------------------------------------


def test_largest_angle_is_zero_for_the_same_subspace_and_ninety_for_one_direction_off(digits: np.ndarray) -> None:
    table = digits.reshape(len(digits), -1) / 255
    pca = PrincipalComponents(3).fit(table)
    model = hg.Autoencoder(3, network="linear", epochs=1, device="cpu").fit(table)
    with torch.no_grad():
        mixed = pca.pca.components_.T @ np.array([[2.0, 1, 0], [0, 1, 1], [1, 0, 3]])
        weight = model.decoder_[0].weight  # type: ignore[index]
        weight.copy_(torch.from_numpy(mixed))
        assert largest_angle(model, pca) < 1e-3
        other = PrincipalComponents(4).fit(table).pca.components_[3]
        weight[:, 0] = torch.from_numpy(other) + 0 * weight[:, 0]
    assert largest_angle(model, pca) == pytest.approx(90, abs=0.1)


def test_near_zero_counts_what_is_small_beside_the_rest() -> None:
    codes = np.array([[1.0, 0.0, -1.0, 0.01]], np.float32)
    assert near_zero(codes) == near_zero(1000 * codes) == 0.5


def test_jacobian_norm_is_autograds(digits: np.ndarray) -> None:
    model = hg.Autoencoder(5, epochs=2, random_state=0).fit(digits)
    samples = torch.from_numpy(digits[:7, None]).float().to(model.model_.device) / 255
    jacobians = [torch.autograd.functional.jacobian(model.encoder_, sample[None]) for sample in samples]
    wanted = math.sqrt(float(torch.stack([jacobian.square().sum() for jacobian in jacobians]).mean()))
    assert jacobian_norm(model, digits[:7]) == pytest.approx(wanted, rel=1e-4)


def test_cluster_quality_of_clean_and_of_shuffled_clusters() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 100)
    codes = (10 * np.eye(4)[labels][:, :2] + 10 * np.eye(4)[labels][:, 2:] * 2 + rng.normal(size=(400, 2))).astype(np.float32)
    clean = cluster_quality(codes, labels, codes, labels, 0)
    assert min(clean.values()) > 0.95  # type: ignore[type-var,operator]
    shuffled = cluster_quality(codes, rng.permutation(labels), codes, labels, 0)
    assert shuffled["accuracy"] < 0.5
    assert shuffled["purity"] == clean["purity"]  # clusters are made without labels


def test_the_plane_and_its_owners() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 300)
    codes = (rng.normal(size=(600, 2)) + np.where(labels == 0, -3, 3)[:, None]).astype(np.float32)
    density = fit_mixture(codes, labels, 2, 0)
    left, right, bottom, top = bounds(codes)
    assert -7 < left < -4 < 4 < right < 7
    cells = grid((left, right, bottom, top), 4, 3)
    assert cells.shape == (12, 2)
    assert cells[0].tolist() < cells[-1].tolist()
    assert (np.diff(cells[:4, 0]) > 0).all()
    assert (cells[:4, 1] == cells[0, 1]).all()
    wanted = np.array([[-3, -3], [3, 3], [50, -50]], np.float32)
    assert classify(density, wanted, level=1e-6).tolist() == [0, 1, -1]
    np.testing.assert_allclose(
        np.logaddexp.reduce(density.log_class_densities(codes), axis=1), density.log_density(codes), rtol=1e-6
    )
    drawn = sample_class(density, 50, 1, np.random.default_rng(1))
    assert drawn.shape == (50, 2)
    assert (classify(density, drawn) == 1).all()

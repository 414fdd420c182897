"""The measurements on photographs: protocols against published figures, and the suite with small stand-ins."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hourglass as hg
from hourglass.data.files import write_image
from hourglass.evaluation import bjontegaard_rate
from hourglass.evaluation.bjontegaard import distortion_at, frontier
from hourglass.evaluation.photos import (
    CODECS,
    FILTERS,
    ROLES,
    Result,
    add_noise,
    compression_rows,
    denoising_rows,
    document_rows,
    documents,
    enlarging_rows,
    jpeg_rows,
    luma,
    models,
    photographs,
    published_results,
    rate_distortion_curve,
    role_of,
    training_photographs,
)
from hourglass.evaluation.photos.searching import histograms, mean_colours, search_rows

PHOTOGRAPHS = Path(os.environ.get("HOURGLASS_DATA", "")) / "photographs"
real = pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="HOURGLASS_DATA names no folder that holds photographs/")


# --- Bjøntegaard's difference -------------------------------------------------------------------------------------------


def test_the_rate_difference_of_parallel_curves_is_their_ratio() -> None:
    reference = [(0.1, 28.0), (0.3, 31.5), (0.7, 34.0), (1.5, 37.0)]
    other = [(0.75 * rate, psnr) for rate, psnr in reversed(reference)]
    assert bjontegaard_rate(reference, other) == pytest.approx(-0.25)
    assert bjontegaard_rate(other, reference) == pytest.approx(1 / 0.75 - 1)


def test_the_rate_difference_by_hand() -> None:
    """log10 rates are PSNR / 10 - 4 and PSNR / 20 - 2.5: equal at 30 dB, and at 40 dB apart by a half, the mean being -1/4."""
    reference = [(0.1, 30.0), (1.0, 40.0), (10.0, 50.0)]
    other = [(10**-1.25, 25.0), (0.1, 30.0), (10**-0.5, 40.0)]
    assert bjontegaard_rate(reference, other) == pytest.approx(10**-0.25 - 1)
    # rates of 0.1 to 0.2 are PSNR of 30 to 33.0103 in the first, 30 to 36.0206 in the second: the mean at 31.50515
    top = 30 + 10 * np.log10(2)
    wanted = 10 ** (-(top - 30) / 40) - 1
    assert bjontegaard_rate(reference, other, (0.1, 0.2)) == pytest.approx(wanted)
    assert bjontegaard_rate(reference, [(0.001, 10.0), (0.01, 20.0)]) is None


def test_what_is_no_curve_is_refused() -> None:
    good = [(0.1, 30.0), (1.0, 40.0)]
    for bad in ([(0.1, 30.0)], [(0.1, 30.0), (0.2, 29.0)], [(0.0, 30.0), (0.2, 31.0)]):
        with pytest.raises(hg.DataError, match="must rise"):
            bjontegaard_rate(good, bad)
    assert frontier([(2.0, 41.0), (0.1, 30.0), (0.2, 29.0), (1.0, 40.0), (1.0, 39.0), (3.0, 41.0)]) == [*good, (2.0, 41.0)]
    assert distortion_at(good, 10**-0.5) == pytest.approx(35)
    assert distortion_at(good, 2.0) is None


# --- protocols, on small images -----------------------------------------------------------------------------------------


def test_luma_of_the_corners_of_bt601() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luma(colours).tolist() == [[16, 235, 81, 145, 41]]
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert luma(grey) is grey


def test_noise_is_of_the_strength_that_was_asked_for_and_not_clipped() -> None:
    white = [np.full((300, 200), 255, np.uint8)] * 2
    first, second = add_noise(white, 25, 3)
    assert first.dtype == np.float32
    assert first.std() == pytest.approx(25 / 255, rel=0.02)
    assert (first > 1).mean() == pytest.approx(0.5, abs=0.01)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, add_noise(white[:1], 25, 3)[0])
    assert not np.array_equal(first, add_noise(white, 25, 4)[0])


def test_every_method_gets_the_same_noisy_images() -> None:
    images = [np.full((40, 50), 100, np.uint8), np.full((30, 40, 3), 50, np.uint8)]
    given: list[list[np.ndarray]] = []

    def method(noisy: list[np.ndarray], sigma: float) -> list[np.ndarray]:
        assert sigma == pytest.approx(15 / 255)
        given.append(noisy)
        return [np.full(image.shape, 2.0, np.float32) for image in noisy]  # is clipped, as a file would

    seen: list[tuple[str, str]] = []
    rows = denoising_rows(
        {"a": method, "b": method}, {"two": images}, [15], 0, lambda setting, name, shown: seen.append((setting, name))
    )
    assert [row.method for row in rows] == ["noisy input", "a", "b"]
    assert given[0] is given[1]
    assert rows[0].values["psnr"] == pytest.approx(20 * np.log10(255 / 15), abs=0.1)
    wanted = [20 * np.log10(255 / (255 - value)) for value in (100, 50)]
    assert rows[1].values["psnr"] == pytest.approx(np.mean(wanted))
    assert seen == [("two, σ = 15", name) for name in ("original", "noisy input", "a", "b")]


def test_borders_and_odd_rows_are_left_out_of_enlarged_images() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (25, 31, 3), dtype=np.uint8)
    high = luma(image)[:24, :30]

    def with_wrong_border(low: list[np.ndarray], factor: int) -> list[np.ndarray]:
        assert [one.shape for one in low] == [(24 // factor, 30 // factor)]
        wrong = np.zeros_like(high)
        wrong[factor:-factor, factor:-factor] = high[factor:-factor, factor:-factor]
        wrong[factor, factor] ^= 4
        return [wrong]

    row = enlarging_rows({"wrong border": with_wrong_border}, {"one": [image]}, [3])[0]
    assert row.setting == "one ×3"
    assert row.values["psnr"] == pytest.approx(10 * np.log10(255**2 * 18 * 24 / 16))


def test_gain_over_a_decoded_file() -> None:
    images = [np.random.default_rng(0).integers(0, 256, (32, 48), dtype=np.uint8)]
    rows = jpeg_rows({"nothing": lambda decoded: decoded, "all": lambda _: images}, {"one": images})
    assert [row.method for row in rows] == ["decoded file", "nothing", "all"]
    assert rows[1].values["gain"] == 0
    assert rows[2].values["gain"] == np.inf
    pages = document_rows({"white": lambda given: [page * 0 + 255 for page in given]}, images, [images[0] * 0])
    assert pages[1].values["rmse"] == pytest.approx(1)


def test_whole_files_are_counted() -> None:
    rng = np.random.default_rng(0)
    smooth = np.asarray(rng.uniform(size=(24, 16, 3)))
    images = [np.kron(smooth, np.ones((8, 8, 1)))[:180, :128].__mul__(255).astype(np.uint8)] * 2
    codec = CODECS["JPEG"]
    points = rate_distortion_curve(codec, images)
    assert [point.bpp for point in points] == sorted(point.bpp for point in points)
    first = points[0]
    assert first.bpp == pytest.approx(8 * len(codec.encode(images[0], first.quality)) / (180 * 128))
    curve = [(point.bpp, point.psnr) for point in points]
    better = [(0.5 * rate, psnr) for rate, psnr in curve]
    rows = compression_rows({"JPEG": curve, "half": better})
    assert "bd_rate" not in rows[0].values
    published = compression_rows({"JPEG": curve, "half": better}, is_published=True)
    assert [(row.method, row.is_published) for row in published] == [("half", True)]


# --- the field's own figures ----------------------------------------------------------------------------------------------


@real
def test_bicubic_enlargement_has_its_published_figures() -> None:
    methods = {"bicubic": FILTERS["bicubic"]}
    rows = enlarging_rows(methods, {"Set5": photographs("set5"), "Set14": photographs("set14")}, [2])
    published = {row.setting: row.values for row in published_results("enhance") if row.method == "bicubic"}
    for row in rows:
        assert row.values["psnr"] == pytest.approx(published[row.setting]["psnr"], abs=0.03)
        assert row.values["ssim"] == pytest.approx(published[row.setting]["ssim"], abs=0.001)


@real
def test_unclipped_noise_has_its_known_figure() -> None:
    rows = denoising_rows({}, {"BSD68": photographs("bsd68")[:8]}, [25])
    assert rows[0].values["psnr"] == pytest.approx(20.18, abs=0.02)


@real
def test_the_sets_are_whole_and_documents_are_kept_apart() -> None:
    counts = {"bsd68": 68, "set12": 12, "set5": 5, "set14": 14, "kodak": 24}
    for name, count in counts.items():
        images = photographs(name)
        assert len(images) == count
        grey = {"bsd68": count, "set12": count, "set14": 1}.get(name, 0)
        assert sum(image.ndim == 2 for image in images) == grey
    pages = documents()
    assert [len(pages[f"{split} {kind}"]) for split in ("train", "test") for kind in ("noisy", "clean")] == [38, 38, 10, 10]


# --- the suite, on small stand-ins --------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder laid out as the suite reads it, with images of a few pixels, and no figures of publications."""
    rng = np.random.default_rng(0)

    def smooth(*shape: int) -> np.ndarray:
        coarse = rng.uniform(40, 200, (6, 5, *shape[2:]))
        return np.kron(coarse, np.ones((8, 8, *[1] * (len(shape) - 2))))[: shape[0], : shape[1]].astype(np.uint8)

    for name, count, channels in (
        *(("train", 5, (3,)), ("bsd68", 2, ()), ("set12", 2, ()), ("set5", 3, (3,)), ("set14", 2, (3,)), ("kodak", 24, (3,))),
    ):
        for number in range(count):
            write_image(tmp_path / "photographs" / name / f"{number:02}.png", smooth(48 - number % 2, 40, *channels))
    for number in range(10):
        page = smooth(40, 33)
        write_image(tmp_path / "documents" / "clean" / f"{number}.png", page)
        write_image(tmp_path / "documents" / "noisy" / f"{number}.png", page // 2)
    monkeypatch.setenv("HOURGLASS_DATA", str(tmp_path))
    quick: dict[str, Any] = {"network": "maps", "n_components": 4, "hidden": (4, 6), "crop": 16, "epochs": 1}

    monkeypatch.setitem(models.ROLES, "denoise-grey", lambda: (hg.Denoiser(**quick), (models.grey_photographs(),)))
    monkeypatch.setitem(models.ROLES, "denoise-colour", lambda: (hg.Denoiser(**quick), (training_photographs(),)))
    monkeypatch.setitem(models.ROLES, "jpeg", lambda: (hg.Denoiser(**quick), (models.luma_of_photographs(),)))
    monkeypatch.setitem(models.ROLES, "documents", lambda: (hg.Denoiser(**quick), models._pages()))

    def noisy(kind: str) -> tuple[hg.Denoiser, Any]:
        return hg.Denoiser(**quick), models._noisy(kind)[1]

    for kind in ("clean", "twice", "once"):
        monkeypatch.setitem(models.ROLES, f"noisy-{kind}", partial(noisy, kind))
    return tmp_path


class Shrinker:
    """A codec in place of a Compressor of photographs: fewer grey levels for a lower quality."""

    def __init__(self) -> None:
        self.sample_ = hg.Autoencoder(2, epochs=1, random_state=0).fit(np.zeros((4, 6, 6, 3), np.uint8)).sample_

    def compress(self, image: np.ndarray, quality: float = 50) -> bytes:
        return CODECS["WebP"].encode(image, quality)

    def decompress(self, blob: bytes) -> np.ndarray:
        return CODECS["WebP"].decode(blob)[None]


def test_the_suite_trains_measures_and_writes(small: Path, run, tmp_path: Path) -> None:
    output = tmp_path / "out"
    code, out, err = run("evaluate", "--suite", "photos", "--use", "denoise", "--use", "documents", "-o", output, "--seed", 1)
    assert code == 0, err
    content = json.loads((output / "photos.json").read_text())
    assert set(content["seconds_to_train"]) == {"denoise-grey", "denoise-colour", "documents"}
    settings = {(row["part"], row["setting"]) for row in content["results"]}
    assert settings == {("denoise", f"{name}, σ = {sigma}") for name in ("BSD68", "Set12") for sigma in (15, 25, 50)} | {
        ("denoise", "Kodak, σ = 25"),
        ("documents", "2 pages"),
    }
    assert all("Denoiser" in {row["method"] for row in content["results"] if row["setting"] == name} for _, name in settings)
    assert any("clipped" in note for note in content["notes"])  # the stand-ins are trained on the chapter's noise
    assert any("publications left out" in note for note in content["notes"])
    page = (output / "photos.md").read_text()
    assert "## Denoising" in page
    assert "Training: denoise-grey 0 min, denoise-colour 0 min." in page
    assert {"denoise.png", "denoise-colour.png", "documents.png"} <= {file.name for file in output.iterdir()}
    code, out, err = run("evaluate", "--suite", "photos", "--use", "jpeg", "--use", "noisy", "-o", output, "--seed", 1)
    assert code == 0, err
    again = json.loads((output / "photos.json").read_text())
    assert [row for row in again["results"] if row["part"] not in ("jpeg", "noisy")] == content["results"]  # of the earlier run
    methods = [row["method"] for row in again["results"] if row["part"] == "noisy"]
    assert methods == [
        "noisy input",
        *(f"Denoiser, {kind}" for kind in ("trained on clean ones", "on two exposures", "on one")),
    ]
    assert "![Crops at 1:1](noisy.png)" in (output / "photos.md").read_text()
    assert {"decoded file", "Denoiser"} <= {row["method"] for row in again["results"] if row["part"] == "jpeg"}
    assert "## JPEG artefacts" in out or "Set14, quality 10" in out


def test_saved_models_are_measured_without_training(small: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = hg.Denoiser(4, network="maps", hidden=(4, 6), crop=16, epochs=1, random_state=0).fit(models.grey_photographs())
    grey.save(tmp_path / "m.hg")
    enhancer = hg.Enhancer(4, factor=2, network="maps", hidden=(4, 6), crop=16, epochs=1, random_state=0)
    enhancer.fit(models.grey_photographs()).save(tmp_path / "e.hg")
    code, out, err = run("evaluate", "--suite", "photos", "--use", "denoise", "--model", tmp_path / "m.hg", "--json")
    assert code == 0, err
    content = json.loads(out)
    assert content["seconds_to_train"] == {"denoise-grey": pytest.approx(sum(row["seconds"] for row in grey.history_))}
    assert {row["setting"].partition(",")[0] for row in content["results"]} == {"BSD68", "Set12"}
    code, out, err = run("evaluate", "--suite", "photos", "--model", tmp_path / "e.hg", "--json")
    assert code == 0, err
    assert {row["setting"] for row in json.loads(out)["results"]} == {"Set5 ×2", "Set14 ×2"}
    assert {row["method"] for row in json.loads(out)["results"]} == {"bicubic", "Lanczos", "Enhancer"}
    colour = hg.Denoiser(4, network="maps", hidden=(4, 6), crop=16, epochs=1, random_state=0)
    colour.fit(training_photographs()).save(tmp_path / "c.hg")
    published = [
        Result("denoise", f"{name}, σ = 25", "BM3D", {"psnr": 28.57}, is_published=True) for name in ("BSD68", "Kodak")
    ]
    monkeypatch.setattr("hourglass.evaluation.photos.suite.published_results", lambda part: published)
    for role, name in (("denoise-grey", "m.hg"), ("denoise-colour", "c.hg")):  # what was measured before stays
        given = f"{role}={tmp_path / name}"
        assert run("evaluate", "--suite", "photos", "--use", "denoise", "--model", given, "-o", tmp_path / "out")[0] == 0
    content = json.loads((tmp_path / "out" / "photos.json").read_text())
    assert {row["setting"].partition(",")[0] for row in content["results"]} == {"BSD68", "Set12", "Kodak"}
    assert set(content["seconds_to_train"]) == {"denoise-grey", "denoise-colour"}
    assert len({(row["setting"], row["method"]) for row in content["results"]}) == len(content["results"])
    measured = {row["setting"] for row in content["results"] if row["method"] == "Denoiser"}
    assert len(measured) == 7  # a published figure of the same setting takes no place
    for arguments, words in (
        (["--model", tmp_path / "m.hg"], "name the role of this denoiser"),
        (["--use", "enhance", "--model", tmp_path / "m.hg"], "needs none of this kind"),
        (["--use", "enhance", "--model", f"jpeg={tmp_path / 'm.hg'}"], "has no jpeg"),
        (["--model", tmp_path / "e.hg", "--model", f"enhance-2={tmp_path / 'e.hg'}"], "two models for enhance-2"),
        (["--use", "detect"], "allowed with --suite photos"),
        (["--data", "digits"], "leave --data out"),
    ):
        code, _, err = run("evaluate", "--suite", "photos", *arguments)
        assert code == 2
        assert words in err
    assert run("evaluate", "--suite", "uses", "--use", "jpeg")[0] == 2
    assert run("evaluate", tmp_path / "m.hg", "--model", tmp_path / "m.hg")[0] == 2


def test_the_compressor_stands_beside_formats(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hourglass.evaluation.photos import Photos, part_table, photos_page, photos_suite, suite

    few = {name: CODECS[name] for name in ("JPEG", "WebP")}
    monkeypatch.setattr(suite, "CODECS", few)
    photos = Photos(given={"compress": Shrinker()})
    photos_suite(photos, ["compress"])
    assert list(photos.curves) == ["Compressor", "JPEG", "WebP"]
    table = {row[0]: row[1] for row in part_table("compress", photos.results)[1]}
    assert table["Compressor"] == table["WebP"]
    assert table["JPEG"] == ""
    assert all("seconds" in result.values for result in photos.results)
    assert "rate.png" in photos_page(photos, "command", {})
    assert all(set(crops) == {"original", "Compressor", "JPEG", "WebP"} for crops in photos.crops["compress"].values())


def test_roles_are_told_by_what_a_model_is() -> None:
    colour = hg.Denoiser(4, network="maps", hidden=(4,), epochs=1, random_state=0).fit(np.zeros((4, 8, 8, 3), np.uint8))
    assert role_of(colour, ["denoise", "enhance"]) == "denoise-colour"
    assert set(ROLES) == {
        *("denoise-grey", "denoise-colour", "enhance-2", "enhance-3", "enhance-4", "jpeg", "documents", "compress"),
        *("noisy-clean", "noisy-twice", "noisy-once", "search"),
    }


def test_a_region_is_searched_among_photographs() -> None:
    rng = np.random.default_rng(0)
    colours = rng.uniform(60, 190, (6, 3))
    images = [(colour + rng.normal(0, 3, (40, 50, 3))).clip(0, 255).astype(np.uint8) for colour in colours]
    methods = {"histogram": histograms, "colour": mean_colours, "constant": lambda given: np.ones((len(given), 4))}
    rows = {row.method: row.values for row in search_rows(methods, images, images[:0], 0)}
    assert rows["colour"]["recall 1"] > 0.5 > 1 / 6
    assert rows["constant"]["recall 1"] == rows["constant"]["recall 5"] == 0  # codes that are all equal find nothing
    assert rows["histogram"]["mrr"] > rows["constant"]["mrr"] == pytest.approx(1 / 6)


def test_without_the_folder_one_line_says_what_is_needed(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOURGLASS_DATA", str(tmp_path))
    code, _, err = run("evaluate", "--suite", "photos", "--use", "documents")
    assert code == 2
    assert err.startswith("error: the suite reads documents/noisy/ in the folder that HOURGLASS_DATA names")

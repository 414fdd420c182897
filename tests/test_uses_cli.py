"""The verbs of the uses, run in process as a person would."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from hourglass.data.files import read_image, write_image
from hourglass.estimators import presets


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six parts of a photograph, of several sizes."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    photo = hg.load("sample-photos").train.images[0]
    for number in range(6):
        part = photo[40 * number : 40 * number + 40 + 3 * number, 50 : 100 + 5 * number]
        write_image(folder / f"part{number}.png", part)
    return folder


def trained(run, task: str, data: object, path: Path, *options: object) -> Path:
    code, _, err = run("train", "--task", task, "--data", data, "-o", path, "--epochs", 2, *options)
    assert code == 0, err
    return path


def test_detect_writes_a_table_and_pictures(photos: Path, run, tmp_path: Path) -> None:
    model = trained(run, "detector", photos, tmp_path / "d.hg", "--size", "16x16")
    code, out, err = run("detect", model, photos, "-o", tmp_path / "found", "--overlays", 2)
    assert code == 0, err
    assert "of 6 images are anomalies" in out
    with (tmp_path / "found" / "anomalies.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["path"] for row in rows} == {str(path) for path in photos.iterdir()}
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert all((row["verdict"] == "anomaly") == (float(row["score"]) > 0) for row in rows)
    pictures = list((tmp_path / "found" / "overlays").iterdir())
    assert len(pictures) == 2
    sizes = {read_image(path).shape[:2] for path in photos.iterdir()}
    assert all(read_image(picture).shape[:2] in sizes for picture in pictures)
    assert "map_level_" not in err
    detector = hg.load_model(model)
    detector.map_level_ = math.nan  # as in a model of an earlier version
    detector.save(tmp_path / "older.hg")
    code, _, err = run("detect", tmp_path / "older.hg", photos, "-o", tmp_path / "older", "--overlays", 0)
    assert code == 0, err
    assert "no map_level_" in err


def test_detect_lists_regions_in_pixels_of_the_file_and_draws_its_scores(run, tmp_path: Path) -> None:
    good, new = tmp_path / "good", tmp_path / "new"
    rng = np.random.default_rng(0)
    for folder, count in ((good, 40), (new, 3)):
        for number in range(count):
            write_image(folder / f"{number}.png", rng.integers(100, 150, (40, 60), dtype=np.uint8))
    marked = np.full((40, 60), 125, np.uint8)
    marked[8:16, 30:48] = 255
    write_image(new / "marked\nin two lines.png", marked)
    model = trained(run, "detector", good, tmp_path / "d.hg", "--size", "20x30")
    found = tmp_path / "found"
    for wrong in (tmp_path / "x.bmp", new / "x.png"):
        assert run("detect", model, new, "-o", found, "--figure", wrong)[0] == 2
    assert not found.exists()
    code, out, err = run("detect", model, new, "-o", found, "--overlays", 0, "--figure", found / "scores.png")
    assert code == 0, err
    assert f"Figure written to {found / 'scores.png'}" in out
    with (found / "regions.csv").open(newline="") as stream:
        regions = list(csv.DictReader(stream))
    with (found / "anomalies.csv").open(newline="") as stream:
        verdicts = {row["path"]: row["verdict"] for row in csv.DictReader(stream)}
    assert verdicts[str(new / "marked\nin two lines.png")] == "anomaly"
    assert {row["path"] for row in regions} <= {path for path, verdict in verdicts.items() if verdict == "anomaly"}
    first = next(row for row in regions if "marked" in row["path"])
    left, top, width, height = (int(first[name]) for name in ("left", "top", "width", "height"))
    edges = np.array([left, top, left + width, top + height])
    assert (np.abs(edges - [30, 8, 48, 16]) <= 6).all()  # three pixels of the model: errors are smoothed
    mask = np.zeros((40, 60), np.uint8)
    mask[8:16, 30:48] = 1
    write_image(tmp_path / "masks" / "marked\nin two lines_mask.png", mask)
    code, out, err = run("detect", model, new, "-o", found, "--overlays", 0, "--masks", tmp_path / "masks", "--json")
    assert code == 0, err
    assert json.loads(out)["pixel_auroc"] > 0.9
    assert 0.5 < json.loads(out)["pro"] <= 1
    for wrong, reason in ((good, "needs a lossless format"), (found, "no image of"), (tmp_path / "none", "files of a folder")):
        (good / "0.png").rename(good / "0.jpg") if wrong == good else None
        code, _, err = run("detect", model, new, "-o", found, "--masks", wrong)
        assert (code, reason in err) == (2, True), err
    assert not (found / "overlays").exists()
    assert read_image(found / "sheet.png").shape == (160 + 20 + 2 * 8, 4 * (160 + 8) + 8, 3)


def test_generate_draws_sheets_files_and_words(run, tmp_path: Path) -> None:
    model = trained(run, "generator", "digits", tmp_path / "g.hg")
    assert run("generate", model, "-o", tmp_path / "sheet.png", "--n", 10)[0] == 0
    assert read_image(tmp_path / "sheet.png").shape == (3 * 9 - 1, 4 * 9 - 1)
    assert run("generate", model, "-o", tmp_path / "word.png", "--text", "2026")[0] == 0
    assert read_image(tmp_path / "word.png").shape == (8, 32)
    assert run("generate", model, "-o", tmp_path / "files", "--n", 3, "--label", 7)[0] == 0
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["0000.png", "0001.png", "0002.png"]
    for wrong in (["--text", "2O26"], ["--label", "ten"]):
        code, _, err = run("generate", model, "-o", tmp_path / "x.png", *wrong)
        assert code == 2
        assert "is not a class of this model; known: 0, 1" in err


def test_encode_and_search(photos: Path, run, tmp_path: Path) -> None:
    model = trained(run, "retriever", photos, tmp_path / "r.hg", "--size", "16x16")
    code, out, err = run("search", model, photos / "part3.png", "--n", 2, "--json", "-o", tmp_path / "found")
    assert code == 0, err
    found = json.loads(out)
    assert found[0]["path"] == str(photos / "part3.png")
    assert float(found[0]["distance"]) == pytest.approx(0, abs=1e-3)
    assert read_image(tmp_path / "found" / "sheet.png").shape == (16, 3 * 17 - 1, 3)
    code, _, err = run("search", model, photos, "--add", photos, "--n", 6)
    assert code == 0
    assert "6 of 6 images are in the index already, by name, and are skipped." in err
    assert len(hg.load_model(model).index_) == 6
    assert run("encode", model, photos, "-o", tmp_path / "codes.npz")[0] == 0
    with np.load(tmp_path / "codes.npz") as arrays:
        assert arrays["codes"].shape == (6, 32)
        assert arrays["paths"][0] == str(photos / "part0.png")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra hourglass-autoencoders[parquet] is not installed")
    assert run("encode", model, photos, "-o", tmp_path / "codes.parquet")[0] == 0
    assert parquet.read_table(tmp_path / "codes.parquet").column_names[:3] == ["path", "code0", "code1"]


def test_features_of_labelled_images_are_compared_with_pca(run, tmp_path: Path) -> None:
    command = ("train", "--task", "autoencoder", "--preset", "features", "--data", "digits", "--epochs", 1)
    code, out, err = run(*command, "-o", tmp_path / "f.hg")
    assert code == 0, err
    assert "Of the 5 nearest other images, so many have the same label: " in out
    assert "note: PCA tells the labels apart better than these codes." in err  # one epoch teaches too little
    told = json.loads(run(*command, "--json", "-o", tmp_path / "f.hg")[1])["label_agreement"]
    assert told["ours"] < told["pca"] == pytest.approx(0.97, abs=0.01)
    code, out, _ = run(*command[:3], *command[5:], "-o", tmp_path / "plain.hg")
    assert code == 0
    assert "same label" not in out


def test_search_in_arrays_shows_their_images(run, tmp_path: Path) -> None:
    model = trained(run, "retriever", "digits", tmp_path / "r.hg")
    code, out, _ = run("search", model, "digits", "--n", 3, "-o", tmp_path / "found")
    assert code == 0
    assert "digits:test#0 | 1 | digits:train#" in out
    assert read_image(tmp_path / "found" / "sheet.png").shape == (20 * 9 - 1, 4 * 9 - 1)


def test_train_tells_what_an_approximate_index_finds(photos: Path, run, tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="the extra hourglass-autoencoders[faiss] is not installed")
    model, options = tmp_path / "r.hg", ("--size", "8x8", "--epochs", 1, "--metric", "euclidean")
    arguments = ("train", "--task", "retriever", "--data", photos, "-o", model, *options)
    code, out, err = run(*arguments, "--backend", "ivfpq", "--json")
    assert code == 0, err
    assert json.loads(out)["recall_at_10"] == 1  # few images are compared with all
    assert hg.load_model(model).get_params()["backend"] == "ivfpq"
    assert hg.load_model(model).index_.metric == "euclidean"
    assert "recall at 10 1.000." in run(*arguments, "--backend", "faiss")[1]
    assert "recall" not in run(*arguments, "--backend", "exact")[1]
    assert "psychic" in run(*arguments, "--backend", "psychic")[2]


@pytest.fixture
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets without the steps that few images are seen more often for."""
    monkeypatch.setattr(presets, "MINIMAL_STEPS", {"compress": 200, "enhance": 1})


@pytest.mark.usefixtures("_briefly")
def test_compress_a_folder_and_get_it_back(photos: Path, run, tmp_path: Path) -> None:
    code, out, err = run("compress", photos, "-o", tmp_path / "x.hgc", "--json")
    assert code == 0, err
    assert json.loads(out)["bytes"] == (tmp_path / "x.hgc").stat().st_size
    assert run("decompress", tmp_path / "x.hgc", "-o", tmp_path / "back")[0] == 0
    for path in photos.iterdir():
        original, back = read_image(path), read_image(tmp_path / "back" / path.name)
        assert back.shape == original.shape
        assert np.square(back / 255.0 - original / 255.0).mean() < original.var() / 255**2
    (tmp_path / "x.hgc").write_bytes((tmp_path / "x.hgc").read_bytes()[:-1])
    code, _, err = run("decompress", tmp_path / "x.hgc", "-o", tmp_path / "back")
    assert code == 2
    assert err.startswith(f"error: {tmp_path / 'x.hgc'}: truncated or altered")


def test_names_in_a_file_cannot_lead_out_of_the_folder(run, tmp_path: Path) -> None:
    model = hg.Compressor(4, epochs=1, random_state=0).fit(hg.load("digits").train.images[:50])
    model.save(tmp_path / "m.hg")
    (tmp_path / "x.hgc").write_bytes(model.compress(hg.load("digits").test.images[:2], ["/etc/../../a.png", "../b.png"]))
    code, _, _ = run("decompress", tmp_path / "x.hgc", "-o", tmp_path / "out", "--model", tmp_path / "m.hg")
    assert code == 0
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")) == ["out/b.png", "out/etc/a.png"]


def test_enhance_a_folder(photos: Path, run, tmp_path: Path) -> None:
    model = trained(run, "enhancer", photos, tmp_path / "e.hg", "--tile", "16x16", "--factor", 2)
    assert run("enhance", model, photos, "-o", tmp_path / "large")[0] == 0
    for path in photos.iterdir():
        height, width, channels = read_image(path).shape
        assert read_image(tmp_path / "large" / path.name).shape == (2 * height, 2 * width, channels)


def test_the_wrong_model_or_option_is_refused_in_one_line(run, tmp_path: Path) -> None:
    model = trained(run, "autoencoder", "digits", tmp_path / "a.hg")
    refused: dict[str, list[object]] = {
        "this needs one of --task detector": ["detect", model, "digits", "-o", tmp_path / "f"],
        "this needs one of --task retriever": ["search", model, "digits"],
        "this needs one of --task enhancer": ["enhance", model, tmp_path, "-o", tmp_path / "f"],
        "ends in .hgc": ["compress", "digits", "-o", tmp_path / "x.zip"],
        "no such model": ["decompress", model / "config.json", "-o", tmp_path / "f"],
        "ends in .npz or .parquet": ["encode", model, "digits", "-o", tmp_path / "codes.txt"],
        "--factor is not for --task denoiser": ["train", "--data", "digits", "-o", tmp_path / "n.hg", "--factor", 2],
        "--backend is not for --task denoiser": ["train", "--data", "digits", "-o", tmp_path / "n.hg", "--backend", "exact"],
        "'cook' is not one of": ["evaluate", "--suite", "uses", "--use", "cook", "--data", "digits"],
    }
    for message, arguments in refused.items():
        code, out, err = run(*arguments)
        assert code == 2, arguments
        assert message in err, (arguments, err)
        assert err.count("\n") == 1
        assert out == ""


@pytest.mark.usefixtures("_briefly")
def test_the_suite_of_uses_writes_its_table(run, tmp_path: Path) -> None:
    code, out, err = run(
        "evaluate", "--suite", "uses", "--use", "enhance", "--use", "compress", "--data", "digits", "-o", tmp_path
    )
    assert code == 0, err
    content = json.loads((tmp_path / "uses.json").read_text())
    assert [row["use"] for row in content["rows"]] == ["compress", "compress", "enhance"]
    assert set(content["rows"][2]["baselines"]) == {"bicubic", "Lanczos", "linear regression"}
    assert all(row["bar"] is None for row in content["rows"])  # bars are for MNIST
    assert "| enhance | PSNR in dB, 4×4 to 8×8 |" in (tmp_path / "uses.md").read_text()
    assert "| enhance | PSNR in dB, 4×4 to 8×8 |" in out


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Six dim images of 12 bits."""
    for number, values in enumerate(np.random.default_rng(0).integers(0, 2048, (6, 8, 8))):
        (tmp_path / "deep").mkdir(exist_ok=True)
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / "deep" / f"{number}.tif")
    return tmp_path / "deep"


def test_shards_are_added_with_the_white_level_of_the_model(deep: Path, run, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 4096, (12, 8, 8)).astype(np.uint16)
    known: dict[str, Any] = {
        "network": "mlp",
        "corruption": None,
        "penalty": (),
        "epochs": 1,
        "metric": "euclidean",
        "random_state": 0,
    }
    retriever = hg.Retriever(4, white=4095, **known).fit(images)
    for white in ([], ["--white", 60000]):
        retriever.save(tmp_path / "r.hg")
        options = ["--add", deep, "--stream", "--workers", 0, "--n", 1, "--json", *white]
        code, out, err = run("search", tmp_path / "r.hg", deep / "0.tif", *options)
        assert code == 0, err
        assert float(json.loads(out)[0]["distance"]) < 1e-5


def test_images_of_12_bits_are_not_clipped_by_a_compressor_of_8(deep: Path, run, tmp_path: Path) -> None:
    hg.Compressor(4, epochs=1, random_state=0).fit(hg.load("digits").train.images[:100]).save(tmp_path / "c.hg")
    code, _, err = run("compress", tmp_path / "c.hg", deep, "-o", tmp_path / "x.hgc")
    assert code == 0, err
    assert "white level 2047 (11 bits)" in err
    assert "clipped" not in err

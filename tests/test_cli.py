"""The command line, run in process as a person would: exit codes, one-line errors, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from hourglass.cli.main import hourglass, main
from hourglass.cli.options import CORRUPTION
from hourglass.cli.progress import losses, sparkline
from hourglass.corruption import CORRUPTIONS
from hourglass.data.files import read_image, write_image


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "digits.hg"
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data", "digits", "-o", str(path), "--epochs", "2", "--corruption", "gaussian_noise:mean=0,std=0.3"])
    assert not ended.value.code
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_image(tmp_path / "photos" / "grey.png", rng.integers(0, 256, (20, 31), dtype=np.uint8))
    write_image(tmp_path / "photos" / "below" / "colour.jpg", rng.integers(0, 256, (9, 40, 3), dtype=np.uint8))
    return tmp_path / "photos"


def test_help_needs_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys\nfrom hourglass.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'sklearn', 'matplotlib', 'rich') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip().endswith("[]")
    lean = "import sys, hourglass; hourglass.__version__; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", lean], capture_output=True, text=True, check=True).stdout == "False False\n"


@pytest.mark.parametrize("verb", sorted(hourglass.commands))
def test_every_verb_explains_itself(verb: str, run) -> None:
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert "Usage: hourglass" in out


def test_train_evaluate_info(trained: Path, run, tmp_path: Path) -> None:
    assert sorted(path.name for path in trained.parent.iterdir()) == ["digits.hg"]  # the checkpoint is gone
    code, out, _ = run("evaluate", trained, "--data", "digits", "--json", "-o", tmp_path / "results")
    content = json.loads(out)
    assert code == 0
    assert [row["name"] for row in content["rows"]][-1] == str(trained)
    assert {file.name for file in (tmp_path / "results").iterdir()} == {"results.json", "results.md", "images.png"}
    assert json.loads((tmp_path / "results" / "results.json").read_text()) == content
    code, out, _ = run("info", trained)
    assert code == 0
    assert "Denoiser" in out
    assert "Linear(in_features=64, out_features=128" in out
    code, out, _ = run("info", trained, "--json")
    assert json.loads(out)["settings"]["n_components"] == 32
    assert json.loads(run("info", "--json")[1])["hourglass"] == hg.__version__


def test_a_seed_makes_the_same_model(run, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("train", "--data", "digits", "-o", tmp_path / name, "--epochs", 1, "--seed", seed, "--task", "autoencoder")
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c
    code, out, _ = run("evaluate", tmp_path / "a", "--data", "digits")
    assert code == 0
    assert "PCA, 32 components" in out


def test_denoise_a_folder_of_any_sizes(trained: Path, photos: Path, run, tmp_path: Path) -> None:
    code, out, err = run("denoise", trained, photos, "-o", tmp_path / "clean")
    assert code == 0
    assert "2 written" in out
    assert err.count("note:") == 1
    assert "not convolutional" in err
    assert read_image(tmp_path / "clean" / "grey.png").shape == (20, 31)
    assert read_image(tmp_path / "clean" / "below" / "colour.jpg").shape == (9, 40, 3)
    run("train", "--data", "digits", "-o", tmp_path / "conv.hg", "--network", "conv", "--epochs", 1)
    code, out, err = run("denoise", tmp_path / "conv.hg", photos / "grey.png", "-o", tmp_path / "tiled", "--json")
    assert code == 0
    assert err == ""
    assert json.loads(out)["written"] == [str(tmp_path / "tiled" / "grey.png")]


def test_denoise_an_array(trained: Path, run, tmp_path: Path) -> None:
    images = hg.load("digits").test.images
    np.save(tmp_path / "x.npy", images)
    code, _, _ = run("denoise", trained, tmp_path / "x.npy", "-o", tmp_path / "clean.npy")
    assert code == 0
    assert np.array_equal(np.load(tmp_path / "clean.npy"), hg.load_model(trained).transform(images))


def test_train_on_a_folder_of_photos(photos: Path, run, tmp_path: Path) -> None:
    for name in ("more.png", "most.png"):  # more than there are in the folder below, which then is no class
        write_image(photos / name, np.zeros((9, 9), np.uint8))
    code, _, err = run(
        "train",
        "--data",
        photos,
        "--size",
        "16x12",
        "--network",
        "conv",
        "--hidden",
        "4,8/16",
        "--epochs",
        2,
        "-o",
        tmp_path / "m.hg",
    )
    assert code == 0, err
    assert hg.load_model(tmp_path / "m.hg").sample_.size == (16, 12, 3)
    code, out, _ = run("evaluate", tmp_path / "m.hg", "--data", photos, "--size", "16x12")
    assert code == 0
    assert "the models may have" in out


def test_demo_writes_all_it_says(run, tmp_path: Path) -> None:
    code, out, err = run("demo", "--data", "digits", "-o", tmp_path / "demo")
    assert code == 0, err
    names = {"model.hg", "history.jsonl", "metrics.json", "denoised.png", "denoised.svg", "learning-curve.svg"}
    assert {file.name for file in (tmp_path / "demo").iterdir()} == names
    rows = json.loads((tmp_path / "demo" / "metrics.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [
        "noisy input",
        "median filter",
        "best linear map (ridge)",
        "autoencoder, chapter",
        "autoencoder, default",
    ]
    for row in rows:
        assert f"{row['mse']:.4f}" in out
    assert "Try next:" in out
    assert "the best linear map" in out
    assert hg.load_model(tmp_path / "demo" / "model.hg").settings_["optimizer"] == "muon"
    lines = [json.loads(line) for line in (tmp_path / "demo" / "history.jsonl").read_text().splitlines()]
    for name in ("chapter", "default"):
        epochs = [line["epoch"] for line in lines if line["model"] == name]
        assert epochs == list(range(1, len(epochs) + 1))
        assert len(epochs) >= 5
    svg = (tmp_path / "demo" / "learning-curve.svg").read_text()
    code, _, _ = run("demo", "--data", "digits", "-o", tmp_path / "again")
    assert (tmp_path / "again" / "learning-curve.svg").read_text() == svg  # same seed, same figure


def test_denoise_a_named_set_and_a_file_with_parts(trained: Path, run, tmp_path: Path) -> None:
    digits = hg.load("digits")
    parts = {"x_train": digits.train.images[:9], "x_test": digits.test.images}
    np.savez(tmp_path / "parts.npz", **parts)
    expected = hg.load_model(trained).transform(digits.test.images)
    for source in ("digits", tmp_path / "parts.npz"):
        code, _, err = run("denoise", trained, source, "-o", tmp_path / "clean.npy")
        assert code == 0, err
        assert np.array_equal(np.load(tmp_path / "clean.npy"), expected)


def test_a_page_of_results_carries_its_command(trained: Path, run, tmp_path: Path) -> None:
    arguments = ["evaluate", trained, "--data", "digits", "--corruption", "masking:amount=0.5", "-o", tmp_path / "my results"]
    code, _, err = run(*arguments)
    assert code == 0, err
    page = (tmp_path / "my results" / "results.md").read_text()
    assert f"hourglass evaluate {trained} --data digits --corruption masking:amount=0.5 -o '{tmp_path}/my results'" in page


def test_corruptions_are_read_from_text() -> None:
    def read(text: str) -> Any:
        return CORRUPTION.convert(text, None, None)

    permutation, flip = read("permutation:seed=3,inverted=1"), read("flip:vertical=1")
    assert permutation == hg.Permutation(3, inverted=True)
    assert type(permutation.seed) is int
    assert permutation.inverted is flip.vertical is True
    assert read("rotation:angle=-30") == hg.Rotation(-30)
    blind = read("gaussian_noise:mean=0,std=0..0.2157,clip=0")
    assert blind == hg.GaussianNoise(0, (0, 0.2157), clip=False)
    assert blind.clip is False
    jpeg = read("jpeg:quality=10..60")
    assert jpeg == hg.JPEG((10, 60))
    assert type(jpeg.quality[0]) is int
    assert read("motion_blur:length=1..5e0,angle=-30..-.5") == hg.MotionBlur((1, 5), (-30, -0.5))
    assert read("downscale:factor=3,smooth=1,method=bicubic") == hg.Downscale(3, smooth=True, method="bicubic")
    for name in CORRUPTIONS:
        assert name in ("choice", "compose") or read(name) == CORRUPTIONS[name]()
    for text in (
        *("choice", "compose", "permutation:seed=0.5", "flip:vertical=2", "rotation:angle=nan", "downscale:method=lanczos"),
        *(
            "blur:sigma=2..1",
            "blur:sigma=1..",
            "blur:sigma=..1",
            "blur:sigma=1..2..3",
            "blur:sigma=much",
            "masking:amount=0..0.5",
        ),
    ):
        with pytest.raises(click.BadParameter):
            read(text)


def test_penalties_are_read_from_text(run, tmp_path: Path) -> None:
    train = ["train", "--task", "autoencoder", "--data", "digits", "--epochs", "1", "-o", tmp_path / "p.hg"]
    code, _, err = run(*train, "--penalty", "l2:strength=0.001,on=weights", "--penalty", "contractive:n_probes=2")
    assert code == 0, err
    assert hg.load_model(tmp_path / "p.hg").penalty == (hg.L2(1e-3, on="weights"), hg.Contractive(n_probes=2))
    for text in ("l3", "l1:strength=much", "l1:weight=2", "l2:on=biases", "l1:strength"):
        code, _, err = run(*train, "--penalty", text)
        assert code == 2, text
        assert err.count("\n") == 1


def test_data(run, photos: Path) -> None:
    assert "mnist-5k" in run("data")[1].splitlines()
    code, out, _ = run("data", "digits")
    assert code == 0
    assert "| train | 1437 | 8×8 | uint8 | 0..255 | 10 |" in out
    described = json.loads(run("data", photos.parent, "--size", "8x8", "--json")[1])
    assert described["parts"]["train"]["shape"] == "8×8×3"


def test_suite(run, tmp_path: Path) -> None:
    arguments = ("evaluate", "--suite", "denoise", "--data", "digits", "--preset", "chapter", "-o", tmp_path / "r")
    code, out, _ = run(*arguments)
    assert code == 0
    assert "autoencoder, chapter" in out
    assert "autoencoder, chapter" in (tmp_path / "r" / "results.md").read_text()


def test_an_interrupted_run_says_how_to_go_on_and_does(run, tmp_path: Path, monkeypatch) -> None:
    from hourglass.training import Run

    arguments = ("train", "--data", "digits", "--epochs", 3, "-o", tmp_path / "m.hg")
    straight = run("train", "--data", "digits", "--epochs", 3, "-o", tmp_path / "straight.hg")
    assert straight[0] == 0

    from hourglass.cli.progress import ShowProgress

    def interrupted(self: ShowProgress, run_: Run) -> None:
        if run_.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(ShowProgress, "on_batch_end", interrupted)
    code, _, err = run(*arguments)
    assert code == 130
    assert "--resume" in err
    assert not (tmp_path / "m.hg").exists()
    monkeypatch.undo()
    assert run(*arguments, "--resume")[0] == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("m.hg", "straight.hg")]
    assert weights[0] == weights[1]


def bad_inputs(folder: Path, model: Path) -> dict[str, list[object]]:
    """Every way to be wrong that the command line promises to answer in one line."""
    (folder / "empty").mkdir()
    (folder / "text").mkdir()
    (folder / "text" / "a.png").write_text("text")
    for name, shape in (("a", (8, 8)), ("b", (9, 8))):
        write_image(folder / "mixed" / f"{name}.png", np.zeros(shape, np.uint8))
    np.save(folder / "nan.npy", np.full((4, 8, 8), np.nan))
    np.savez(folder / "labels.npz", images=np.zeros((4, 8, 8)), labels=np.zeros(3))
    (folder / "cut-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x09\0\0\0\x09\0\0\0\x09")
    flipped = folder / "flipped.hg"
    flipped.mkdir()
    for file in model.iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= file.suffix == ".safetensors"
        (flipped / file.name).write_bytes(content)
    (folder / "plain").mkdir()
    train = ["train", "-o", folder / "out.hg", "--epochs", 1, "--data"]
    return {
        "no such file": [*train, folder / "missing.npy"],
        "nor a data set": ["denoise", model, folder / "nope", "-o", folder / "out.hg"],
        "an empty name": [*train, ""],
        "nan.npy: images contain NaN": [*train, folder / "nan.npy"],
        "neither a data set": [*train, "mnits"],
        "truncated": [*train, folder / "cut-ubyte"],
        "not a readable image": [*train, folder / "text"],
        "NaN": [*train, folder / "nan.npy"],
        "sizes differ": ["evaluate", model, "--data", folder / "mixed"],
        "holds no image": [*train, folder / "empty"],
        "one label per image": [*train, folder / "labels.npz"],
        "damaged": ["denoise", flipped, folder / "mixed", "-o", folder / "out.hg"],
        "no model": ["info", folder / "plain"],
        "no such model": ["evaluate", folder / "nothing.hg", "--data", "digits"],
        "exists and is no model": ["train", "-o", folder / "plain", "--data", "digits"],
        "evaluate needs": ["evaluate", "--data", "digits"],
        "is not a size": [*train, "digits", "--size", "8"],
        "is no corruption": [*train, "digits", "--corruption", "rain"],
        "amount=3.0": [*train, "digits", "--corruption", "masking:amount=3"],
        "'resnet' is not one of": [*train, "digits", "--network", "resnet"],
        "No such option": ["train", "--speed", "3"],
        "No such command": ["fly"],
        "ends in .npy": ["denoise", model, folder / "nan.npy", "-o", folder / "out.hg"],
        "originals would be lost": ["denoise", model, folder / "mixed", "-o", folder / "mixed"],
        "'cook' is not one of": [*train, "digits", "--task", "cook"],
        "reconstructions in 0..1": [*train, "digits", "--network", "linear", "--loss", "bce"],
        "at least one width": [*train, "digits", "--network", "skip", "--hidden", ","],
        "cannot be made": [*train, "digits", "--n-components", 10**13],
        "it holds no values": [*train, "digits", "--device", "meta"],
        "is not in the range": [*train, "digits", "--seed", -1],
        "~nosuchuser": [*train, "~nosuchuser/x"],
        "the size of an array is fixed": [*train, folder / "nan.npy", "--size", "8x8"],
        "leave --corruption out": ["evaluate", "--suite", "denoise", "--data", "digits", "--corruption", "masking"],
        "a MODEL has its own": ["evaluate", model, "--data", "digits", "--preset", "best"],
        "the source itself": ["denoise", model, folder / "mixed" / "a.png", "-o", folder / "mixed"],
        "source itself; the originals": ["denoise", model, folder / "nan.npy", "-o", folder / "nan.npy"],
        "File exists": ["evaluate", model, "--data", "digits", "-o", folder / "nan.npy"],
        "'cooking' is not one of": ["evaluate", "--suite", "cooking", "--data", "digits"],
    }


def test_bad_input_gets_one_line_and_leaves_nothing(trained: Path, run, tmp_path: Path) -> None:
    cases = bad_inputs(tmp_path, trained)
    before = sorted(tmp_path.rglob("*"))
    for match, arguments in cases.items():
        code, out, err = run(*arguments)
        assert code == 2, (arguments, err)
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        assert match in err
        assert out == ""
        assert sorted(tmp_path.rglob("*")) == before, arguments


def test_a_full_disk_is_one_line_too(trained: Path, photos: Path, run, tmp_path: Path, monkeypatch) -> None:
    from PIL import Image

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    code, _, err = run("denoise", trained, photos / "grey.png", "-o", tmp_path / "clean")
    assert code == 2
    assert "No space left on device" in err
    assert err.splitlines()[-1].startswith("error: ")
    assert not list((tmp_path / "clean").iterdir())


def test_as_a_module(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "hourglass", "train", "--data", "nowhere.npy", "-o", str(tmp_path / "m.hg")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert answer.stderr == "error: nowhere.npy: no such file or folder.\n"


@pytest.mark.parametrize(
    "line",
    [
        *("train --data digits", "encode m.hg digits", "detect m.hg digits", "denoise m.hg digits", "enhance m.hg x"),
        *("compress digits", "decompress x.hgc"),
    ],
)
def test_an_output_that_is_not_named_is_asked_for(line: str, run) -> None:
    code, _, err = run(*line.split())
    assert code == 2
    assert err.startswith("error: Missing option '-o'")


# --- choices, and names of files ----------------------------------------------------------------------------------------


def test_the_parsers_choices_are_the_librarys() -> None:
    from hourglass.cli import options
    from hourglass.cli.suites import FOLDER_SUITES, FREE_SUITES
    from hourglass.estimators import ESTIMATORS, PRESETS
    from hourglass.evaluation.photos import PARTS
    from hourglass.evaluation.uses.suite import EVALUATIONS
    from hourglass.latent import BACKENDS, METRICS
    from hourglass.networks import NETWORKS
    from hourglass.objectives import LOSSES
    from hourglass.options import NAMES
    from hourglass.training import OPTIMIZERS, PRECISIONS, SCHEDULES

    for names, known in (
        (options.TASKS, ESTIMATORS),
        (options.PRESETS, PRESETS),
        (NAMES["network"], NETWORKS),
        (NAMES["loss"], LOSSES),
        (NAMES["optimizer"], OPTIMIZERS),
        (NAMES["precision"], PRECISIONS),
        (NAMES["schedule"], SCHEDULES),
        (options.BACKENDS, BACKENDS),
        (options.METRICS, METRICS),
        (options.SUITES, ("denoise", "photos", *FOLDER_SUITES, *FREE_SUITES)),
        (options.PHOTO_USES, PARTS),
        (options.USES, EVALUATIONS),
    ):
        assert sorted(names) == sorted(known)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(
            ("task", "denoser"),
            ("preset", "bst"),
            ("network", "cnv"),
            ("optimizer", "sgd"),
            ("loss", "l2"),
            ("precision", "int8"),
        ),
        *(("epochs", "0"), ("batch-size", "0"), ("learning-rate", "0"), ("contamination", "0.7"), ("quality", "101")),
        *(("threads", "0"), ("precision", "int8")),
    ],
)
def test_unknown_names_are_refused_by_the_parser(option: str, value: str, run, tmp_path: Path) -> None:
    code, _, err = run("train", "--data", "digits", f"--{option}", value, "-o", tmp_path / "m.hg")
    assert code == 2
    assert err.startswith(f"error: Invalid value for '--{option}'")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        *(("--network va", ["variational"]), ("--optimizer m", ["muon"]), ("--task re", ["retriever"])),
        ("--penalty kl", ["kl_sparsity"]),
    ],
)
def test_the_shell_completes_names(words: str, wanted: list[str]) -> None:
    from click.shell_completion import BashComplete

    *given, incomplete = f"train {words}".split()
    completer = BashComplete(hourglass, {}, "hourglass", "_HOURGLASS_COMPLETE")
    assert [item.value for item in completer.get_completions(given, incomplete)] == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text here")
def test_names_of_files_that_are_no_text_end_no_verb(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.presets.MINIMAL_STEPS", {"compress": 1})
    folder = tmp_path / "in"
    for number in range(5):
        write_image(folder / f"{number}.png", np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8))
    (folder / "4.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    images = hg.load(folder).train.images
    with pytest.warns(hg.HourglassWarning, match="support a false positive rate"):
        hg.AnomalyDetector(2, epochs=1, random_state=0).fit(images).save(tmp_path / "d.hg")
    hg.Denoiser(2, epochs=1, random_state=0).fit(images).save(tmp_path / "n.hg")
    index = tmp_path / "r.hg"
    assert run("train", "--task", "retriever", "--network", "mlp", "--data", folder, "--epochs", 1, "-o", index)[0] == 0
    for arguments in (
        ("detect", tmp_path / "d.hg", folder, "-o", tmp_path / "found"),
        ("search", index, folder, "--n", 2, "-o", tmp_path / "near"),
        ("search", index, folder, "--n", 2, "--json"),
        ("encode", index, folder, "-o", tmp_path / "codes.npz"),
        ("encode", index, folder, "-o", tmp_path / "codes.parquet"),
        ("denoise", tmp_path / "n.hg", folder, "-o", tmp_path / "clean"),
        ("denoise", tmp_path / "n.hg", folder, "-o", tmp_path / "clean", "--json"),
        ("compress", folder, "--tile", "8x8", "-o", tmp_path / "x.hgc"),
        ("decompress", tmp_path / "x.hgc", "-o", tmp_path / "back"),
        ("data", folder),
    ):
        code, _, err = run(*arguments)
        assert code == 0, (arguments, err)
    name = r"caf\xe9.png"
    assert name in (tmp_path / "found" / "anomalies.csv").read_text(encoding="utf-8")
    assert name in (tmp_path / "near" / "neighbours.csv").read_text(encoding="utf-8")
    assert (tmp_path / "near" / "sheet.png").exists()  # found again by that name
    assert any(path.endswith(name) for path in np.load(tmp_path / "codes.npz")["paths"])
    assert (tmp_path / "clean" / os.fsdecode(b"caf\xe9.png")).exists()


def test_a_bad_file_among_good_ones_stops_no_verb(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.presets.MINIMAL_STEPS", {"compress": 1})
    folder = tmp_path / "in"
    for number in range(5):
        write_image(folder / f"{number}.png", np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8))
    (folder / "empty.png").touch()
    train = ("train", "--task", "autoencoder", "--data", folder, "--epochs", 1, "-o", tmp_path / "m.hg")
    code, _, err = run(*train)
    assert code == 0, err
    assert "1 of 6 images cannot be read" in err
    assert "images of 8×8, 5 in all, no labels" in err
    code, _, err = run(*train, "--strict")
    assert code == 2
    assert "empty.png: is empty" in err
    assert run("encode", tmp_path / "m.hg", folder, "-o", tmp_path / "codes.npz")[0] == 0
    assert run("compress", folder, "--tile", "8x8", "-o", tmp_path / "x.hgc")[0] == 0
    code, _, err = run("compress", folder, "--model", tmp_path / "x.hg", "-o", tmp_path / "y.hgc", "--strict")
    assert code == 2
    assert "empty.png: is empty" in err
    assert not (tmp_path / "y.hgc").exists()


def test_verbs_take_patterns_and_the_home_folder(run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/x.jpg"):
        write_image(tmp_path / "in" / name, np.zeros((8, 8), np.uint8))
    code, _, err = run("denoise", trained, tmp_path / "in" / "*" / "*.png", "-o", tmp_path / "clean")
    assert code == 0, err
    written = sorted(str(path.relative_to(tmp_path / "clean")) for path in (tmp_path / "clean").rglob("*.png"))
    assert written == ["a/1.png", "a/2.png", "b/1.png"]
    monkeypatch.setattr("hourglass.estimators.presets.MINIMAL_STEPS", {"compress": 1})
    code, _, err = run("compress", tmp_path / "in" / "a" / "*.png", "--tile", "8x8", "-o", tmp_path / "x.hgc")
    assert code == 0, err
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run("train", "--data", "~/in/a", "--epochs", 1, "-o", "~/m.hg")[0] == 0
    assert (tmp_path / "m.hg").is_dir()
    assert not (tmp_path / "~").exists()


def test_a_folder_of_deep_images_is_compressed(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.presets.MINIMAL_STEPS", {"compress": 1})
    (tmp_path / "in").mkdir()
    for number in range(4):
        ramp = np.tile(np.arange(16, dtype=np.uint16) * 60 + number, (16, 1))
        Image.fromarray(ramp).save(tmp_path / "in" / f"{number}.tif")
    code, _, err = run("compress", tmp_path / "in", "-o", tmp_path / "x.hgc")
    assert code == 0, err
    assert hg.load_model(tmp_path / "x.hg").sample_.white == 1023


def test_pages_are_images_to_every_verb(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.presets.MINIMAL_STEPS", {"compress": 1})
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        pages = [Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)) for _ in range(3)]
        pages[0].save(tmp_path / "in" / f"{name}.tif", save_all=True, append_images=pages[1:])
    folder, small = tmp_path / "in", ("--epochs", 1, "--hidden", 8, "--n-components", 2)
    assert run("train", "--data", folder, "--task", "retriever", *small, "-o", tmp_path / "r.hg")[0] == 0
    assert len(hg.load_model(tmp_path / "r.hg").ids_) == 6
    for options, count in (((), 6), (("--pages", "first"), 2)):
        code, _, err = run("encode", tmp_path / "r.hg", folder, *options, "-o", tmp_path / "codes.npz")
        assert (code, "more pages than the first" in err) == (0, count == 2)
        assert len(np.load(tmp_path / "codes.npz")["codes"]) == count
        code, out, _ = run("search", tmp_path / "r.hg", folder, *options, "--n", 1, "--json")
        assert (code, len(json.loads(out))) == (0, count)
        given = ("--model", tmp_path / "c.hg") if count == 2 else ()
        code, out, err = run("compress", folder, *given, *options, "-o", tmp_path / ("d.hgc" if given else "c.hgc"), "--json")
        assert (code, json.loads(out)["images"]) == (0, count), err
    assert run("decompress", tmp_path / "c.hgc", "-o", tmp_path / "back")[0] == 0
    assert len(list((tmp_path / "back").iterdir())) == 6
    code, _, err = run("train", "--data", folder, "--stream", "--pages", "first", "-o", tmp_path / "n.hg")
    assert (code, "--pages is for images in memory" in err) == (2, True)


def test_evaluate_reads_deep_images_with_the_models_white_level(run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, largest in (("bright", 4000), ("dim", 1000)):
        (tmp_path / name).mkdir()
        for number in range(20):
            values = (largest * rng.random((8, 8))).astype(np.uint16)
            values[0, 0] = largest
            Image.fromarray(values).save(tmp_path / name / f"{number}.png")
    options = ("--corruption", "gaussian_noise:mean=0,std=0.1", "--epochs", 1)
    assert run("train", "--data", tmp_path / "bright", *options, "-o", tmp_path / "m.hg")[0] == 0
    assert hg.load_model(tmp_path / "m.hg").sample_.white == 4095
    code, out, err = run("evaluate", tmp_path / "m.hg", "--data", tmp_path / "dim", "--json")
    with_own = json.loads(out)["rows"]
    assert code == 0, err
    code, out, _ = run("evaluate", tmp_path / "m.hg", "--data", tmp_path / "dim", "--white", 4095, "--json")
    assert json.loads(out)["rows"][0]["mse"] == with_own[0]["mse"]
    code, out, _ = run("evaluate", tmp_path / "m.hg", "--data", tmp_path / "dim", "--white", 1023, "--json")
    assert json.loads(out)["rows"][0]["mse"] != with_own[0]["mse"]
    (tmp_path / "dim" / "broken.png").write_bytes(b"nothing")
    code, _, err = run("evaluate", tmp_path / "m.hg", "--data", tmp_path / "dim", "--strict")
    assert (code, "broken.png" in err) == (2, True)


def test_compress_says_that_transparency_is_laid_on_white(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.presets.MINIMAL_STEPS", {"compress": 1})
    (tmp_path / "in").mkdir()
    for number in range(4):
        Image.fromarray(np.full((16, 16, 4), 60 * number, np.uint8)).save(tmp_path / "in" / f"{number}.png")
    code, _, err = run("compress", tmp_path / "in", "-o", tmp_path / "x.hgc")
    assert (code, "4 of 4 image files are transparent" in err) == (0, True)


def test_train_draws_what_it_learned(run, tmp_path: Path) -> None:
    figure, model = tmp_path / "curve.png", tmp_path / "m.hg"
    options = ["--data", "digits", "--epochs", 6, "-o", model, "--figure", figure]
    code, out, err = run("train", *options)
    assert code == 0, err
    assert out.endswith(f". Figure written to {figure}.\n")
    assert out.count("\n") == 1
    assert len(out.partition("Loss by epoch: ")[2].partition(".")[0]) == 6
    with Image.open(figure) as drawn:
        assert drawn.size == (1080, 630)
    assert json.loads(run("train", *options, "--json")[1])["figure"] == str(figure)
    code, _, err = run("train", *options[:-1], tmp_path / "curve.gif")
    assert (code, "cannot be written as a figure" in err) == (2, True)


def test_a_curve_in_a_line_of_text() -> None:
    assert sparkline([8.0, 4.0, 2.0, 1.0]) == "█▆▃▁"  # equal steps of the logarithm
    assert sparkline([1.0, 0.0, -1.0]) == "█▅▁"
    assert sparkline([3.0]) == sparkline([]) == ""
    assert sparkline([1.0, float("nan"), 1.0]) == "▁▁"
    assert len(sparkline([*range(1, 100)])) == 24
    assert losses([{"loss": 2.0, "validation_loss": 1.0}, {"loss": 2.0, "validation_loss": None}]) == [1.0, 2.0]

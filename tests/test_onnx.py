"""Exported files give what estimators give: every network in every use as a module, and a covering set of them as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg
from hourglass.estimators import ESTIMATORS
from hourglass.networks import NETWORKS
from hourglass.onnx import USES, Use, export_onnx, use_of
from hourglass.onnx.export import facts_of, graph_of
from hourglass.onnx.probes import probes_of

TOLERANCE = 1e-4


@pytest.fixture(scope="session")
def few() -> np.ndarray:
    """48 real digits of 8×8, uint8."""
    return hg.load("digits").train.images[:48]


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    """A table in units of its own: normal, few whole numbers, a heavy tail."""
    rng = np.random.default_rng(0)
    return np.column_stack([rng.normal(3, 2, 200), rng.integers(0, 5, 200), 100 * rng.lognormal(0, 2, 200)])


@pytest.fixture(scope="session")
def surfaces() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(100, 160, (rng.integers(64, 80), rng.integers(64, 80))).astype(np.uint8) for _ in range(10)]


def fitted(task: str, samples: Any, network: str | None = None, **options: Any) -> Any:
    """A tiny estimator after one epoch; None if the use does not take the network."""
    hidden = None if network in (None, "linear") and samples[0].ndim == 1 else (6,)
    estimator = ESTIMATORS[task](3, network=network, hidden=hidden, epochs=1, random_state=0, **options)
    kind = None if network is None or (task, network) == ("compressor", "codec") else NETWORKS[network]
    if estimator._decodes_codes and kind is not None and (kind.bypasses_code or kind.takes_any_size):
        with pytest.raises(hg.ParameterError, match="decodes codes alone"):
            estimator.fit(samples)
        return None
    return estimator.fit(samples)


def assert_equal(use: Use, got: tuple[Any, ...], probe: np.ndarray) -> None:
    for name, given, wanted in zip(use.outputs, got, use.expected(probe), strict=True):
        expected = np.asarray(wanted)
        assert (given.shape, given.dtype) == (expected.shape, expected.dtype), name
        span = max(float(np.ptp(expected.astype(np.float64))), 1.0)
        assert np.abs(np.asarray(given, dtype=np.float64) - expected).max() <= TOLERANCE * span * (1 + 1e-6), name


# --- as modules -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")  # few samples for a threshold
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("task", ESTIMATORS)
def test_every_use_of_every_network_is_a_module(task: str, network: str, few: np.ndarray) -> None:
    estimator = fitted(task, few, network)
    if estimator is None:
        return
    parts = ("whole", "encoder", "decoder") if task in ("autoencoder", "detector") else ("whole",)
    for part in parts:
        use = use_of(estimator, part)
        for probe in probes_of(use, "float32", batches=(1, 256 if task == "autoencoder" else 7)):
            with torch.inference_mode():
                assert_equal(use, tuple(one.numpy() for one in use(torch.from_numpy(probe))), probe)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_a_white_level_is_in_the_graph(dtype: str, few: np.ndarray) -> None:
    deep = few.astype(np.uint16) * 16  # up to 4,080 of 12 bits
    use = use_of(fitted("autoencoder", deep, "mlp", white=4095.0))
    for probe in probes_of(use, dtype):
        with torch.inference_mode():
            assert_equal(use, (use(torch.from_numpy(probe))[0].numpy(),), probe)
    bright = np.full((1, 8, 8), 5000, np.uint16)  # above the white level: clipped
    assert torch.equal(use.intake(torch.from_numpy(bright)), torch.ones(1, 1, 8, 8))


def test_every_estimator_has_a_use() -> None:
    assert set(USES) == set(ESTIMATORS)


# --- as files ---------------------------------------------------------------------------------------------------------


OLD_EXPORTER = "PyTorch before 2.11 gives wrong files for these networks, which are refused"
IS_OLD = tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 11)


def exported(estimator: Any, folder: Path, **options: Any) -> Any:
    export_onnx(estimator, folder / "model.onnx", **options)
    return hg.load_onnx(folder / "model.onnx", n_threads=1)


def in_batches(model: Any, use: Use, dtype: str) -> Iterator[np.ndarray]:
    for probe in probes_of(use, dtype, batches=(1, 7, 256)):
        assert_equal(use, tuple(model.run(probe).values()), probe)
        yield probe


class Together(Use):
    """Several uses of the same samples in one graph: an export takes seconds, however little it holds."""

    def __init__(self, uses: list[Use]) -> None:
        super().__init__(uses[0].estimator)
        self.uses = torch.nn.ModuleList(uses)
        self.outputs = tuple(f"output{number}" for number in range(len(uses)))

    def forward(self, samples: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(use(samples)[0] for use in self.uses)

    def expected(self, samples: np.ndarray) -> tuple[Any, ...]:
        return tuple(use.expected(samples)[0] for use in self.uses)  # type: ignore[operator]


def test_every_network_of_one_size_is_exported(few: np.ndarray, tmp_path: Path) -> None:
    fixed = [name for name, kind in NETWORKS.items() if not kind.takes_any_size]
    together = Together([use_of(fitted("autoencoder", few, name)) for name in fixed]).eval()
    facts = facts_of(together, together.estimator, "whole", "uint8", "")
    (tmp_path / "model.onnx").write_bytes(graph_of(together, "uint8", facts))
    model = hg.load_onnx(tmp_path / "model.onnx", n_threads=1)
    assert len(list(in_batches(model, together, "uint8"))) == 3
    assert len(model.outputs) == len(fixed) > 8


ALONE = {
    "maps": "enhancer",
    "patches": "autoencoder",
    "unet": "denoiser",
    "codec": "retriever",
    "quantised": "compressor",
    "noisy": "generator",
}
"""Every network that takes any size, and every use that is tested nowhere else."""


@pytest.mark.parametrize(("network", "task"), ALONE.items())
def test_exported_files_give_what_estimators_give(
    network: str, task: str, few: np.ndarray, colours: np.ndarray, tmp_path: Path
) -> None:
    if IS_OLD and network == "unet":
        pytest.skip(OLD_EXPORTER)
    estimator = fitted(task, colours[:20] if task == "denoiser" else few, network)
    use = use_of(estimator)
    model = exported(estimator, tmp_path)
    assert len(list(in_batches(model, use, "float32"))) >= 3
    assert model.task == estimator.saved_as
    assert model.sample_ == use.sample


def test_histograms_of_visual_words_are_exported(surfaces: list[np.ndarray], tmp_path: Path) -> None:
    few: dict[str, Any] = {"hidden": (4,), "crop": 16, "epochs": 1, "random_state": 0}
    retriever = hg.Retriever(6, preset="photo-features", **few).fit(surfaces)
    codes = exported(retriever, tmp_path).encode(surfaces)
    assert codes.shape == (len(surfaces), 6)
    wanted = retriever.encode(surfaces)
    assert np.abs(codes - wanted).max() <= TOLERANCE * float(np.ptp(wanted))


def test_every_network_and_use_is_in_a_file() -> None:
    assert {name for name, kind in NETWORKS.items() if kind.takes_any_size} <= set(ALONE)
    assert {*ALONE.values(), "autoencoder", "detector"} == set(ESTIMATORS)


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")
def test_a_detector_of_tables_is_exported(table: np.ndarray, tmp_path: Path) -> None:
    detector = fitted("detector", table)
    model = exported(detector, tmp_path)
    rows = np.concatenate([table, 3 * table[:20] - 1])
    assert np.abs(model.score_samples(rows) - detector.score_samples(rows)).max() <= 1.01e-4  # rounded to as much
    assert np.array_equal(model.predict(rows), detector.predict(rows))
    with pytest.raises(hg.ModelError, match="no error_maps of samples"):
        model.error_maps(rows)


@pytest.mark.skipif(IS_OLD, reason=OLD_EXPORTER)
@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")
def test_a_detector_of_surfaces_is_exported(surfaces: list[np.ndarray], tmp_path: Path) -> None:
    """Images of any size, each standardised, among them an even one, and one that differs in brightness alone."""
    detector = fitted("detector", surfaces)
    model = exported(detector, tmp_path)
    images = [*surfaces, np.full((30, 31), 7, np.uint8), (surfaces[0] // 2 + 20).astype(np.uint8)]
    assert np.abs(model.score_samples(images) - detector.score_samples(images)).max() <= 1.01e-4
    assert np.array_equal(model.predict(images), detector.predict(images))
    for got, wanted in zip(model.error_maps(images), detector.error_maps(images), strict=True):
        assert np.abs(got - wanted).max() <= TOLERANCE * float(np.ptp(wanted)) + 1e-9
    boxes = [[region[:5] for region in found] for found in model.regions(images)]
    assert boxes == [[region[:5] for region in found] for found in detector.regions(images)]


# --- the command line, with and without torch -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def denoiser(few: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved denoiser of images of any size, and its ONNX file beside it."""
    if IS_OLD:
        pytest.skip(OLD_EXPORTER)
    path = tmp_path_factory.mktemp("model") / "denoiser.hg"
    fitted("denoiser", few, "maps").save(path)
    export_onnx(path, path.with_suffix(".onnx"))
    return path


def test_run_writes_what_denoise_writes(denoiser: Path, tmp_path: Path, run: Any) -> None:
    """Sizes, depths, colour, names and rejects."""
    rng, folder = np.random.default_rng(0), tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    grey = rng.integers(0, 256, (41, 33), dtype=np.uint8)
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(rng.integers(0, 256, (21, 50, 3), dtype=np.uint8)).save(folder / "below" / "colour.png")
    Image.fromarray(grey.astype(np.uint16) * 16).save(folder / "deep.tif")
    (folder / "broken.png").write_bytes(b"no image")
    assert run("denoise", denoiser, folder, "-o", tmp_path / "torch")[0] == 0
    assert run("run", denoiser.with_suffix(".onnx"), folder, "-o", tmp_path / "onnx", "--threads", 1)[0] == 0
    code, _, err = run("run", denoiser.with_suffix(".onnx"), folder, "-o", tmp_path / "none", "--overlays", 3)
    assert (code, "is for detectors" in err) == (2, True)
    files = sorted(file.relative_to(tmp_path / "torch") for file in (tmp_path / "torch").rglob("*") if file.is_file())
    assert [str(file) for file in files] == ["below/colour.png", "deep.tif", "grey.png", "rejects.csv"]
    for file in files[:3]:
        one, other = (np.asarray(Image.open(tmp_path / by / file)) for by in ("torch", "onnx"))
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert np.abs(one.astype(int) - other).max() <= 1  # rounded to either side
    rejects = [(tmp_path / by / "rejects.csv").read_text() for by in ("torch", "onnx")]
    assert rejects[0] == rejects[1]


def test_large_images_pass_in_windows(denoiser: Path) -> None:
    model = hg.load_onnx(denoiser.with_suffix(".onnx"), n_threads=1)
    image = np.random.default_rng(0).random((1, 40, 1030), dtype=np.float32)
    assert np.abs(model.reconstruct(image) - model.run(image)["reconstructions"]).max() < 1e-6


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")
def test_run_writes_what_detect_writes(few: np.ndarray, tmp_path: Path, run: Any) -> None:
    fitted("detector", few, "mlp").save(tmp_path / "detector.hg")
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(few[:12]):
        Image.fromarray(255 - image if number > 8 else image).save(folder / f"{number}.png")
    assert run("export", tmp_path / "detector.hg", "-o", tmp_path / "detector.onnx")[0] == 0
    assert run("detect", tmp_path / "detector.hg", folder, "-o", tmp_path / "torch")[0] == 0
    assert run("run", tmp_path / "detector.onnx", folder, "-o", tmp_path / "onnx")[0] == 0
    for name in ("anomalies.csv", "regions.csv"):
        one, other = (list(csv.reader((tmp_path / by / name).read_text().splitlines())) for by in ("torch", "onnx"))
        assert len(one) == len(other) > 1
        assert [row[0] for row in one] == [row[0] for row in other]
        assert np.allclose([float(row[1]) for row in one[1:]], [float(row[1]) for row in other[1:]], atol=1.01e-4)
    overlays = [sorted((tmp_path / by / "overlays").iterdir()) for by in ("torch", "onnx")]
    assert [file.name for file in overlays[0]] == [file.name for file in overlays[1]]
    pictures = [[*files, tmp_path / by / "sheet.png"] for by, files in zip(("torch", "onnx"), overlays, strict=True)]
    for one, other in zip(*([np.asarray(Image.open(file)).astype(int) for file in files] for files in pictures), strict=True):
        assert np.abs(one - other).max() <= 1


@pytest.mark.filterwarnings("ignore::hourglass.HourglassWarning")
@pytest.mark.parametrize(("task", "verb", "part"), [("denoiser", "denoise", "whole"), ("autoencoder", "encode", "encoder")])
def test_run_writes_the_shards_of_the_verb(task: str, verb: str, part: str, few: np.ndarray, tmp_path: Path, run: Any) -> None:
    """Parts, keys and rejects; finished parts are kept, and other models do not mix theirs in."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra hourglass-autoencoders[parquet] is not installed")
    model, folder, out = tmp_path / "model.hg", tmp_path / "images", tmp_path / "onnx"
    fitted(task, few, "mlp").save(model)
    folder.mkdir()
    for number, image in enumerate(few[:6]):
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no image")
    assert run("export", model, "-o", tmp_path / "model.onnx", "--part", part)[0] == 0
    assert run(verb, model, folder, "-o", tmp_path / "torch", "--stream", "--workers", 0)[0] == 0
    ask = ("run", tmp_path / "model.onnx", folder, "-o", out, "--stream", "--workers", 0)
    assert run(*ask)[0] == 0
    assert json.loads(run(*ask, "--json")[1])["standing"] == 1
    assert run(verb, model, folder, "-o", out, "--stream")[0] == 2  # made by the file, not by the model
    one, other = (parquet.read_table(tmp_path / by / "part-00000.parquet").to_pydict() for by in ("torch", "onnx"))
    assert list(one) == list(other)
    assert one["key"] == other["key"]
    assert len(one["key"]) == 6
    for name in set(one) - {"key"}:
        if verb == "denoise":
            images = [
                [np.asarray(Image.open(io.BytesIO(value))).astype(int) for value in table[name]] for table in (one, other)
            ]
            assert np.abs(np.stack(images[0]) - np.stack(images[1])).max() <= 1
        else:
            assert np.abs(np.array(one[name]) - np.array(other[name])).max() <= TOLERANCE
    rejects = [(tmp_path / by / "part-00000.rejects.csv").read_text() for by in ("torch", "onnx")]
    assert rejects[0] == rejects[1] != ""


def test_int8_is_measured_and_refused_beyond_its_limit(few: np.ndarray, tmp_path: Path, run: Any) -> None:
    fitted("autoencoder", few, "linear").save(tmp_path / "model.hg")
    np.save(tmp_path / "images.npy", few)
    ask = ("export", tmp_path / "model.hg", "-o", tmp_path / "model.onnx", "--int8")
    assert run(*ask)[0] == 2
    code, _, error = run(*ask, "--part", "encoder", "--calibrate", tmp_path / "images.npy", "--max-loss", 0)
    assert (code, "24 held-out samples; at most 0 is allowed" in error) == (2, True)
    assert not (tmp_path / "model.onnx").exists()
    code, out, _ = run(*ask, "--calibrate", tmp_path / "images.npy", "--max-loss", 0.5, "--json")
    loss, model = json.loads(out)["int8"], hg.load_onnx(tmp_path / "model.onnx", n_threads=1)
    assert model.facts.use["int8"] == loss
    assert -0.5 < loss["share"] <= 0.5
    assert loss["share"] == pytest.approx(loss["after"] / loss["before"] - 1)
    halves = [np.square(model.reconstruct(few) - few / 255)[rows].mean() for rows in (slice(1, None, 2), slice(0, None, 2))]
    assert halves[0] == pytest.approx(loss["after"], rel=1e-5)  # of those that the ranges were not taken from
    assert halves[1] != pytest.approx(loss["after"], rel=1e-5)


def test_codes_go_out_and_come_back(few: np.ndarray, tmp_path: Path, run: Any) -> None:
    autoencoder = fitted("autoencoder", few, "conv")
    autoencoder.save(tmp_path / "model.hg")
    for part in ("encoder", "decoder"):
        assert run("export", tmp_path / "model.hg", "-o", tmp_path / f"{part}.onnx", "--part", part)[0] == 0
    np.save(tmp_path / "images.npy", few)
    assert run("run", tmp_path / "encoder.onnx", tmp_path / "images.npy", "-o", tmp_path / "codes.npz")[0] == 0
    codes = np.load(tmp_path / "codes.npz")["codes"]
    assert np.abs(codes - autoencoder.encode(few)).max() <= TOLERANCE * np.ptp(codes)
    np.save(tmp_path / "codes.npy", codes)
    ask = ("run", tmp_path / "decoder.onnx", tmp_path / "codes.npy", "-o", tmp_path / "decoded.npy")
    assert run(*ask)[0] == 0
    code, _, err = run(*ask, "--white", 255)
    assert (code, "decodes codes, for which there is no --white" in err) == (2, True)
    assert np.abs(np.load(tmp_path / "decoded.npy") - autoencoder.reconstruct(few)).max() <= TOLERANCE


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_file_that_gives_something_else_is_not_left(few: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder = fitted("autoencoder", few, "linear")
    exact = Use.expected
    monkeypatch.setattr(Use, "expected", lambda self, samples: (exact(self, samples)[0] + np.float32(0.001),))
    with pytest.raises(hg.ModelError, match=r"differs by 0\.001 between ONNX Runtime and torch"):
        export_onnx(autoencoder, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


class Loops(torch.nn.Module):
    """A module that asks for a value, which a graph does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 3)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        codes = self.layer(samples.flatten(1))
        return codes if codes.sum() > 0 else -codes


def test_a_module_that_cannot_be_exported_is_refused(few: np.ndarray, tmp_path: Path) -> None:
    autoencoder = hg.Autoencoder(3, network=(Loops(), "mlp"), epochs=1, random_state=0).fit(few)
    with pytest.raises(hg.ModelError, match="Not exported" if IS_OLD else "torch cannot export this network"):
        export_onnx(autoencoder, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"part": "middle"}, "part='middle'; allowed: whole, encoder, decoder"),
        ({"dtype": "uint16"}, "allowed for images of white level 255: float32, uint8"),
        ({"part": "decoder", "dtype": "uint8"}, "allowed for codes: float32"),
        ({"max_loss": -1.0}, "max_loss"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], words: str, few: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(hg.ParameterError, match=words):
        export_onnx(fitted("autoencoder", few, "linear"), tmp_path / "model.onnx", **options)


def test_other_files_are_refused(denoiser: Path, tmp_path: Path) -> None:
    whole = denoiser.with_suffix(".onnx").read_bytes()
    (tmp_path / "text.onnx").write_text("no graph")
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "lies.onnx").write_bytes(whole.replace(b'"input": "float32"', b'"input": "float99"'))
    for name in ("text", "cut", "lies", "missing"):
        with pytest.raises(hg.FormatError, match=name):
            hg.load_onnx(tmp_path / f"{name}.onnx")


def test_samples_that_do_not_fit_are_refused(denoiser: Path) -> None:
    model = hg.load_onnx(denoiser.with_suffix(".onnx"))
    for wrong in (np.zeros((2, 8, 8, 3), np.uint8), np.full((2, 8, 8), np.nan, np.float32), np.zeros((8, 8), np.uint8)):
        with pytest.raises(hg.DataError):
            model.transform(wrong)
    with pytest.raises(hg.ModelError, match="gives no scores of samples"):
        model.score_samples(np.zeros((1, 8, 8), np.uint8))

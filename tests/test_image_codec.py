"""The codec of images of any size: contexts in integers, version 2 of the .hgc file, the estimator and its verbs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import hourglass as hg
from hourglass.codec import ContextModel, ImageCode, MapTables, container, pack_image, unpack_image
from hourglass.codec.container import opened, sealed
from hourglass.codec.maps import decode_maps, encode_maps
from hourglass.codec.varints import Reader, varint
from hourglass.data.files import read_image
from hourglass.estimators.image_coder import rounded_contexts
from hourglass.networks import build
from hourglass.networks.codec import Codec, cosines, group_sizes

MODEL = b"8 bytes!"
QUICK: dict[str, Any] = {"preset": "photo", "hidden": (6, 8), "epochs": 1, "batch_size": 8, "random_state": 0, "crop": 24}
TABLES = MapTables.blank()


def network(n_components: int = 7, channels: int = 3) -> Codec:
    torch.manual_seed(0)
    built = build("codec", (channels, 0, 0), n_components, (6, 8))
    assert isinstance(built, Codec)
    with torch.no_grad():
        for parameter in built.entropy.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return built.eval()


CONTEXTS = rounded_contexts(network())


def maps(shape: tuple[int, int] = (9, 7), spread: float = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scales = spread * np.linspace(1, 0.1, CONTEXTS.n_channels)[:, None, None]
    return np.rint(scales * rng.standard_normal((CONTEXTS.n_channels, *shape))).astype(np.int32)


def photographs(channels: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Smooth images of several sizes, uint8."""
    rng = np.random.default_rng(seed)
    images = []
    for size in ((40, 33), (21, 50), (16, 16), (37, 64), (9, 30)):
        light, colour = rng.integers(30, 226, (5, 5, 1)), rng.integers(-30, 30, (5, 5, 3))
        small = Image.fromarray((light + colour).astype(np.uint8))
        large = np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))
        images.append(large if channels == 3 else large[..., 0])
    return images


@pytest.fixture(scope="module")
def model() -> hg.Compressor:
    return hg.Compressor(80, **QUICK).fit(photographs())


@pytest.fixture(scope="module")
def grey() -> hg.Compressor:
    return hg.Compressor(20, **QUICK).fit(photographs(1))


def error(image: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(image / 255.0 - other / 255.0).mean())


# --- contexts and maps ------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    quality=st.integers(0, 100),
    spread=st.sampled_from([0, 1, 30, 100_000]),
    seed=st.integers(0, 99),
)
def test_any_maps_come_back(shape: tuple[int, int], quality: int, spread: float, seed: int) -> None:
    given_ = maps(shape, spread, seed)
    blob = encode_maps(given_, quality, CONTEXTS, TABLES)
    assert np.array_equal(decode_maps(Reader(blob), shape, quality, CONTEXTS, TABLES), given_)


def test_maps_of_several_tiles_come_back() -> None:
    given_ = maps((65, 130))
    blob = encode_maps(given_, 50, CONTEXTS, TABLES)
    assert np.array_equal(decode_maps(Reader(blob), (65, 130), 50, CONTEXTS, TABLES), given_)
    first = encode_maps(given_[:, :64, :64], 50, CONTEXTS, TABLES)
    assert blob.startswith(first)  # a tile is the same alone


@pytest.mark.parametrize("quality", [0, 37, 100])
def test_the_length_is_what_the_network_expects(quality: int) -> None:
    """The integer model is that of training: the same probabilities, to the steps of its tables."""
    share = torch.tensor([quality / 100])
    with torch.no_grad():
        values = (network().gains(share) * torch.randn(1, 7, 40, 50)).round()  # as wide as an untrained network expects
        nats = float(network().entropy(values, values, share))
    given_ = values[0].numpy().astype(np.int32)
    n_bits = 8 * len(encode_maps(given_, quality, CONTEXTS, TABLES))
    assert n_bits == pytest.approx(nats / math.log(2), rel=0.02)


def test_the_bytes_of_maps_are_the_same_everywhere() -> None:
    """Contexts, tables and maps by integer arithmetic alone: what another machine, or a later version, must write and read."""

    def numbers(count: int, reach: int, factor: int) -> np.ndarray:
        return np.arange(1, count + 1) * factor % (2 * reach + 1) - reach

    sizes = {"near": 8 * 4 * 6, "direct": 4 + 16, "later": 8 * 9 * 6, "out": 6 * 8}
    weights = {kind: numbers(count, 900, 7919).astype(np.int16) for kind, count in sizes.items()}
    start = numbers(101 * 8, 90_000, 104_729).reshape(101, 8).astype(np.int32)
    offsets = numbers(101 * 6, 900_000, 1_299_709).astype(np.int32)
    contexts = ContextModel.of_arrays({"groups": np.array([1, 2]), "start": start, "offsets": offsets, **weights})
    tables = MapTables([numbers(20, 400, 31 + level).astype(np.int64) + 401 for level in range(235)])
    given_ = numbers(3 * 11 * 9, 12, 7919).reshape(3, 11, 9).astype(np.int32)
    blob = encode_maps(given_, 40, contexts, tables)
    assert np.array_equal(decode_maps(Reader(blob), (11, 9), 40, contexts, tables), given_)
    assert hashlib.sha256(blob).hexdigest()[:16] == "1661774b1689419d"


def test_counted_tables_are_shorter_and_saved_as_arrays() -> None:
    given_ = maps((30, 40), 2)
    counted = TABLES.counted(CONTEXTS, iter([(given_, 50)] * 9))
    assert len(encode_maps(given_, 50, CONTEXTS, counted)) < len(encode_maps(given_, 50, CONTEXTS, TABLES))
    again = MapTables.of_arrays(counted.to_arrays())
    contexts = ContextModel.of_arrays(CONTEXTS.to_arrays())
    assert encode_maps(given_, 50, contexts, again) == encode_maps(given_, 50, CONTEXTS, counted)


@pytest.mark.parametrize(
    "change",
    [
        {"start": np.zeros((101, 96), np.int64)},
        {"start": np.zeros((5, 96), np.int32)},
        {"groups": np.array([3, 0, 4], np.int32)},
        {"near": np.zeros(5, np.int16)},
        {"offsets": np.zeros(5, np.int32)},
    ],
    ids="-".join,
)
def test_arrays_that_are_no_contexts_are_refused(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="context model"):
        ContextModel.of_arrays(CONTEXTS.to_arrays() | change)


def test_arrays_that_are_no_tables_are_refused() -> None:
    arrays = TABLES.to_arrays()
    odd, zero = arrays["table_sizes"].copy(), arrays["table_counts"].copy()
    odd[0] += 1
    zero[0] = 0
    for change in ({"table_sizes": odd}, {"table_counts": zero}, {"table_counts": zero[1:] + 1}, {"table_sizes": odd[1:]}):
        with pytest.raises(ValueError, match="counts"):
            MapTables.of_arrays(arrays | change)


def test_groups_and_cosines() -> None:
    assert group_sizes(192) == [6, 6, 12, 24, 48, 96]
    assert [sum(group_sizes(n)) for n in (1, 2, 3, 5, 100)] == [1, 2, 3, 5, 100]
    basis, deviations = cosines(3, 8, 192)
    assert np.allclose(basis @ basis.T, np.eye(192))
    assert (np.diff(deviations) <= 0).all()
    assert not cosines(1, 4, 20)[0][16:].any()  # more than there are


# --- version 2 of the file --------------------------------------------------------------------------------------------


def packed(given_: np.ndarray | None = None, **changes: Any) -> bytes:
    code = ImageCode(MODEL, 50, (72, 50), 3, 255, maps() if given_ is None else given_)
    return pack_image(dataclasses.replace(code, **changes), CONTEXTS, TABLES)


def unpacked(blob: bytes) -> ImageCode:
    return unpack_image(blob, MODEL, 8, 3, CONTEXTS, TABLES)


def test_the_bytes_are_what_the_format_says() -> None:
    """Written down once: a file of today must be read in years, on any machine."""
    blob = packed(np.zeros((7, 1, 1), np.int32), size=(3, 300), maps=np.zeros((7, 1, 38), np.int32), white=4095)
    assert blob[:6] == b"\x89HGC\x02\x00"
    assert blob[6:14] == MODEL
    assert blob[14:15] == bytes([50])
    assert blob[15:21] == bytes([3, 0xAC, 0x02, 3, 0xFF, 0x1F])
    assert blob[21] == 0  # escapes
    assert len(blob) == 21 + 2 + 4 * blob[22] + 8
    assert blob[-8:] == hashlib.sha256(blob[:-8]).digest()[:8]
    back = unpacked(blob)
    assert (back.quality, back.size, back.channels, back.white, back.maps.shape) == (50, (3, 300), 3, 4095, (7, 1, 38))


def test_every_changed_byte_and_every_cut_is_noticed() -> None:
    blob = packed()
    assert np.array_equal(unpacked(blob).maps, maps())
    for position in range(len(blob)):
        for changed in (blob[:position] + bytes([blob[position] ^ 0x55]) + blob[position + 1 :], blob[:position]):
            with pytest.raises(hg.FormatError):
                unpacked(changed)
    with pytest.raises(hg.FormatError, match="another model"):
        unpack_image(blob, b"another!", 8, 3, CONTEXTS, TABLES)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_what_an_attacker_signs_is_refused_or_decoded_but_never_crashes(data: st.DataObject) -> None:
    body = bytearray(packed(maps(spread=100_000))[:-8])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(14, len(body) - 1))] = data.draw(st.integers(0, 255))
    signed = bytes(body) + hashlib.sha256(body).digest()[:8]
    with contextlib.suppress(hg.FormatError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "MAX_VALUES", 1 << 16)  # so that large images, which are allowed, take no time
        unpacked(signed)


def test_what_a_file_claims_is_bounded_before_memory_is_taken() -> None:
    content = opened(packed(), MODEL, 2)[1].rest()
    for fields, words in (
        ((50, 1 << 40, 1 << 40, 3, 255), "the limit is"),
        ((50, 0, 50, 3, 255), "0"),
        ((50, 72, 50, 2, 255), "2 channels"),
        ((101, 72, 50, 3, 255), "quality 101"),
        ((50, 72, 50, 3, 1 << 32), "white level"),
    ):
        made = bytes([fields[0]]) + b"".join(map(varint, fields[1:])) + content[6:]
        with pytest.raises(hg.FormatError, match=words):
            unpacked(sealed(2, 0, MODEL, made))
    for more, words in ((content + b"more", "longer"), (content[:6] + varint(10**9), "larger than the limit")):
        with pytest.raises(hg.FormatError, match=words):
            unpacked(sealed(2, 0, MODEL, more))
    with pytest.raises(hg.FormatError, match="flags 1"):
        unpacked(sealed(2, 1, MODEL, content))
    with pytest.raises(hg.FormatError, match="version 3 of the format; this version of hourglass reads 1 and 2"):
        unpacked(sealed(3, 0, MODEL, content))
    with pytest.raises(hg.DataError, match="too large for one file"):
        packed(size=(1 << 20, 1 << 20))


# --- the estimator ----------------------------------------------------------------------------------------------------


def decoded(model: hg.Compressor, blob: bytes) -> np.ndarray:
    image = model.decompress(blob)
    assert isinstance(image, np.ndarray)
    return image


def test_photographs_of_any_size_come_back(model: hg.Compressor) -> None:
    images = photographs(seed=1)
    blobs = model.compress(images)
    assert all(isinstance(blob, bytes) and blob[4] == 2 for blob in blobs)
    for image, blob in zip(images, blobs, strict=True):
        back = decoded(model, blob)
        assert (back.shape, back.dtype) == (image.shape, np.dtype(np.uint8))
        assert error(back, image) < 0.5 * image.var() / 255**2
    assert model.compress(images[0]) == blobs[0]
    assert model.compress(Image.fromarray(images[0])) == blobs[0]
    assert model.compress(np.stack([images[0]] * 2)) == [blobs[0]] * 2


def test_the_quality_is_chosen_in_compressing(model: hg.Compressor) -> None:
    image = photographs(seed=2)[0]
    blobs = [model.compress(image, quality=quality) for quality in (0, 40, 70, 100)]
    sizes, errors = [len(blob) for blob in blobs], [error(decoded(model, blob), image) for blob in blobs]
    assert sizes == sorted(sizes)
    assert errors[0] > 1.2 * errors[-1]
    assert sizes[-1] > 2 * sizes[0]
    assert model.compress(image) == model.compress(image, quality=50)
    with pytest.raises(hg.ParameterError, match="'quality' parameter"):
        model.compress(image, quality=101)
    with pytest.raises(hg.ParameterError, match="omit names"):
        model.compress([image], names=["a"])
    digits = hg.load("digits").train.images[:50]
    old = hg.Compressor(2, hidden=(8,), epochs=1, random_state=0).fit(digits)
    with pytest.raises(hg.ParameterError, match="trained for one quality"):
        old.compress(digits, quality=3)


def test_a_saved_codec_reads_and_writes_the_same(model: hg.Compressor, tmp_path: Path) -> None:
    model.save(tmp_path / "m.hg")
    loaded = hg.load_model(tmp_path / "m.hg")
    image = photographs(seed=3)[1]
    blob = model.compress(image)
    assert loaded.checksum == model.checksum
    assert loaded.compress(image) == blob
    assert np.array_equal(loaded.decompress(blob), model.decompress(blob))
    other = hg.Compressor(80, **QUICK | {"random_state": 1}).fit(photographs())
    with pytest.raises(hg.FormatError, match="another model"):
        other.decompress(blob)
    digits = hg.load("digits").train.images[:50]
    old = hg.Compressor(2, hidden=(8,), epochs=1, random_state=0).fit(digits)
    with pytest.raises(hg.FormatError, match="version 2 holds an image whose codes are maps"):
        old.decompress(blob)
    with pytest.raises(hg.FormatError, match="version 1 holds samples whose codes are vectors"):
        model.decompress(old.compress(digits))


def test_windows_decode_to_the_same_image(model: hg.Compressor, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = model.compress(np.tile(photographs(seed=4)[0], (3, 3, 1)), quality=80)
    whole = decoded(model, blob)
    monkeypatch.setattr("hourglass.estimators.image_coder._WINDOW", 5)
    assert np.abs(decoded(model, blob).astype(int) - whole).max() <= 1


def test_grey_and_coloured_images_meet(model: hg.Compressor, grey: hg.Compressor) -> None:
    colour, plain = photographs()[0], photographs(1)[0]
    with pytest.warns(hg.HourglassWarning, match="1 of 2 images are grey: coded in equal channels"):
        blobs = model.compress([colour, plain])
    assert [decoded(model, blob).shape for blob in blobs] == [(40, 33, 3), (40, 33)]
    with pytest.warns(hg.HourglassWarning, match="their colour is lost"):
        assert decoded(grey, grey.compress(colour)).shape == (40, 33)
    assert decoded(grey, grey.compress(plain)).shape == (40, 33)
    with pytest.raises(hg.DataError, match="4 channels"):
        model.compress([np.zeros((8, 8, 4), np.uint8)])


def test_deep_images_keep_their_depth(model: hg.Compressor) -> None:
    image = photographs(seed=5)[0]
    deep = image.astype(np.uint16) * 16
    back, white = model.decompress_deep(model.compress(deep))
    assert (white, back.dtype) == (4095, np.dtype(np.float32))
    assert error(back * 255, image) < 0.5 * image.var() / 255**2
    back, white = model.decompress_deep(model.compress(deep, white=8190))
    assert white == 8190
    assert back.max() < 0.7
    back, white = model.decompress_deep(model.compress(image / np.float32(255)))
    assert (white, back.dtype) == (0, np.dtype(np.float32))
    with pytest.raises(hg.DataError, match="integers from -1"):
        model.compress(np.full((8, 8, 3), -1, np.int32))
    with pytest.warns(hg.HourglassWarning, match="white level is taken to be 4095"):
        trained = hg.Compressor(4, **QUICK).fit([one.astype(np.uint16) * 16 for one in photographs()])
    assert trained.decompress_deep(trained.compress(deep))[1] == 4095


def test_other_networks_take_one_size_as_before() -> None:
    with pytest.raises(hg.ParameterError, match=r'several sizes; this network takes one. Use preset="photo"'):
        hg.Compressor(4, network="mlp").fit(photographs())
    with pytest.raises(hg.ParameterError, match="has maps as codes"):
        hg.Compressor(4, network="maps", epochs=1).fit(np.zeros((20, 16, 16), np.uint8))
    with pytest.raises(hg.ParameterError, match="has maps as codes"):
        hg.Generator(4, network="codec", epochs=1).fit(np.zeros((20, 16, 16), np.uint8))
    with pytest.raises(hg.ParameterError, match="1 to 4 widths"):
        hg.Compressor(4, **QUICK | {"hidden": ()}).fit(photographs())


# --- the verbs --------------------------------------------------------------------------------------------------------


def test_a_folder_is_compressed_file_by_file(model: hg.Compressor, run: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m.hg")
    (tmp_path / "in" / "a").mkdir(parents=True)
    images = {"a/one.png": photographs()[0], "a/one.webp": photographs()[1], "two.png": photographs(1)[2]}
    for name, image in images.items():
        options: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
        Image.fromarray(image).save(tmp_path / "in" / name, **options)
    deep = photographs(1)[3].astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "in" / "deep.tif")
    (tmp_path / "in" / "broken.png").write_bytes(b"nothing")
    code, out, err = run("compress", tmp_path / "m.hg", tmp_path / "in", "-o", tmp_path / "out", "--quality", 90, "--json")
    assert code == 0, err
    assert "1 of 5 images cannot be compressed" in err
    assert "grey: coded in equal channels" in err
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.hgc"))
    assert written == ["a/one.png.hgc", "a/one.webp.hgc", "deep.hgc", "two.hgc"]
    assert json.loads(out)["bytes"] == sum((tmp_path / "out" / name).stat().st_size for name in written)
    (tmp_path / "out" / "x.hgc").write_bytes(b"nothing")
    code, out, err = run("decompress", tmp_path / "m.hg", tmp_path / "out", "-o", tmp_path / "back", "--json")
    assert (code, len(json.loads(out)["written"])) == (0, 4), err
    assert "1 of 5 files cannot be read" in err
    for name, place in (("a/one.png", "a/one.png.png"), ("two.png", "two.png"), ("a/one.webp", "a/one.webp.png")):
        assert read_image(tmp_path / "back" / place).shape == images[name].shape
    back = read_image(tmp_path / "back" / "deep.png")
    assert back.dtype == np.uint16
    assert error(back / 257, deep / 257) < 0.3 * deep.var() / 65535**2
    code, _, err = run("compress", tmp_path / "m.hg", tmp_path / "in" / "two.png", "-o", tmp_path / "two.hgc", "--quality", 90)
    assert code == 0, err
    assert (tmp_path / "two.hgc").read_bytes() == (tmp_path / "out" / "two.hgc").read_bytes()
    assert run("decompress", "--model", tmp_path / "m.hg", tmp_path / "two.hgc", "-o", tmp_path / "b.png")[0] == 0
    assert np.array_equal(read_image(tmp_path / "b.png"), read_image(tmp_path / "back" / "two.png"))


def test_what_does_not_apply_to_a_file_for_each_is_refused(model: hg.Compressor, run: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m.hg")
    Image.fromarray(photographs()[0]).save(tmp_path / "a.png")
    for message, arguments in {
        "--tile is for training": ["compress", tmp_path / "m.hg", tmp_path / "a.png", "--tile", "8x8"],
        "not shards": ["compress", tmp_path / "m.hg", tmp_path / "a.png", "--stream"],
        "too many arguments": ["compress", tmp_path / "m.hg", tmp_path / "a.png", "--model", tmp_path / "m.hg"],
        "name the model first": ["decompress", tmp_path],
        "no .hgc file": ["decompress", tmp_path / "m.hg", tmp_path / "m.hg"],
    }.items():
        code, _, err = run(*arguments, "-o", tmp_path / "out")
        assert code == 2, message
        assert message in err

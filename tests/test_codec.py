"""Quantisation, entropy coding and the .hgc file: exact, near the bound, and never garbage."""

from __future__ import annotations

import contextlib
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hourglass as hg
from hourglass.codec import Container, count, dequantise, expected_bytes, pack, quantise, unpack
from hourglass.codec.entropy import decode, encode
from hourglass.codec.varints import Reader, varint, zigzag

MODEL = b"8 bytes!"


def symbols(n: int = 5000, columns: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.rint(rng.normal(size=(n, columns)) * np.linspace(0, 5, columns)).astype(np.int32)


def test_rounding_is_off_by_half_a_step_at_most() -> None:
    codes = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32) * 9
    steps = np.array([0.1, 1, 3], np.float32)
    assert (np.abs(dequantise(quantise(codes, steps), steps) - codes) <= steps * 0.5001).all()


@settings(deadline=None)
@given(st.integers(0, 2**53 - 1), st.integers(-(2**40), 2**40))
def test_whole_numbers_come_back(number: int, signed: int) -> None:
    reader = Reader(varint(number) + varint(zigzag(signed)))
    assert reader.varint() == number
    assert reader.zigzag() == signed
    assert reader.rest() == b""


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from([1, 3, 1000, 10**6]))
def test_any_integers_come_back(n: int, columns: int, seed: int, reach: int) -> None:
    given_ = np.random.default_rng(seed).integers(-reach, reach + 1, (n, columns)).astype(np.int32)
    tables = count(given_)
    assert np.array_equal(decode(encode(given_, tables), tables, n), given_)
    blob = pack(Container(MODEL, (2, 2), given_), count(given_ + 1))
    assert np.array_equal(unpack(blob, MODEL, count(given_ + 1)).symbols, given_)


def test_the_length_is_near_the_bound() -> None:
    given_ = symbols()
    tables = count(given_)
    bound = expected_bytes(given_, tables)
    assert bound <= len(encode(given_, tables)) <= bound * 1.001 + 16
    shares = [values / values.sum() for values in tables.counts]
    assert bound == pytest.approx(-sum((s * np.log2(s)).sum() for s in shares) * len(given_) / 8)


def test_few_images_take_the_models_tables_and_many_their_own() -> None:
    tables = count(symbols(20_000, seed=1))
    few, many = (pack(Container(MODEL, (8, 8), symbols(n)), tables) for n in (3, 5000))
    assert few[5] & 1 == 1
    assert many[5] & 1 == 0
    assert len(few) < 60
    for n, blob in ((3, few), (5000, many)):
        assert np.array_equal(unpack(blob, MODEL, tables).symbols, symbols(n))


def test_the_bytes_are_what_the_format_says() -> None:
    """Written down once: a file of today must be read in years, on any machine."""
    given_ = np.array([[0, 5], [1, 5], [0, 5], [-1, 5]], dtype=np.int32)
    blob = pack(Container(MODEL, (4, 4), given_), count(given_ + 9))
    assert blob[:4] == b"\x89HGC"
    assert blob[4:6] == bytes([1, 0])
    assert blob[6:14] == MODEL
    assert blob[14:19] == bytes([2, 4, 4, 2, 4])
    assert blob[19:26] == bytes([3, 1, 1, 1, 1, 2, 1])  # -1, 0, 1, seen 1, 2, 1 times
    assert blob[26:29] == bytes([1, 10, 4])  # 5, four times: no word of payload
    assert blob[29:33].hex() == "d0feffa7"
    assert blob[33:] == hashlib.sha256(blob[:33]).digest()[:8]
    assert len(blob) == 41


def test_sizes_and_names_are_kept() -> None:
    given_ = symbols(6)
    container = Container(MODEL, (8, 8), given_, [(8, 9), (30, 4)], ["a/ü.png", "b c.jpg"])
    back = unpack(pack(container, count(given_)), MODEL, count(given_))
    assert (back.sizes, back.names, back.shape) == ([(8, 9), (30, 4)], ["a/ü.png", "b c.jpg"], (8, 8))
    with pytest.raises(hg.DataError, match="zero byte"):
        pack(Container(MODEL, (8, 8), given_, names=["\0"] * 6), count(given_))


def test_every_changed_byte_and_every_cut_is_noticed() -> None:
    given_ = symbols(40)
    blob = pack(Container(MODEL, (8, 8), given_), count(given_))
    for position in range(len(blob)):
        for changed in (blob[:position] + bytes([blob[position] ^ 0x55]) + blob[position + 1 :], blob[:position]):
            with pytest.raises(hg.FormatError):
                unpack(changed, MODEL, count(given_))
    with pytest.raises(hg.FormatError, match="another model"):
        unpack(blob, b"another!", count(given_))
    with pytest.raises(hg.FormatError):
        unpack(blob + b"more", MODEL, count(given_))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_what_an_attacker_signs_is_refused_or_decoded_but_never_crashes(data: st.DataObject) -> None:
    """The checksum can be made anew by anyone: behind it every number is checked all the same."""
    given_ = symbols(20, 4)
    container = Container(MODEL, (8, 8), given_, [(8, 8)] * 20, [str(row) for row in range(20)])
    body = bytearray(pack(container, count(given_ + 1))[:-8])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(14, len(body) - 1))] = data.draw(st.integers(0, 255))
    signed = bytes(body) + hashlib.sha256(body).digest()[:8]
    with contextlib.suppress(hg.FormatError):  # any other error fails the test
        unpack(signed, MODEL, count(given_ + 1))

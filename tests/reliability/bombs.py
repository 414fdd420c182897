"""Small files that would become large: what memory it takes to refuse them, as a multiple of the limit."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import gzip
import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import hourglass as hg
from hourglass.codec import Container, container, count, pack, unpack
from hourglass.data import files

BYTES, PIXELS = 32 << 20, 4_000_000
"""The limits that are set meanwhile."""
_TIMES = 8  # so much more is in the files


def peaks(folder: Path) -> dict[str, float]:
    """Peak memory while each is refused, over the limit that refuses it; AssertionError if one is not."""
    kept = files.MAX_BYTES, files.MAX_PIXELS, container.MAX_NAMES, container.MAX_VALUES
    cases = _cases(folder)
    files.MAX_BYTES, files.MAX_PIXELS, container.MAX_NAMES, container.MAX_VALUES = BYTES, PIXELS, BYTES, PIXELS
    try:
        with few_to_collect():
            return {name: _peak(attempt) / limit for name, limit, attempt in cases}
    finally:
        files.MAX_BYTES, files.MAX_PIXELS, container.MAX_NAMES, container.MAX_VALUES = kept


def _peak(attempt: Callable[[], object]) -> float:
    """Bytes that the process grew by at most."""

    def refused() -> None:
        try:
            attempt()
        except hg.HourglassError:
            return
        raise AssertionError("it was read")

    return grown(refused)


@contextlib.contextmanager
def few_to_collect() -> Iterator[None]:
    """Meanwhile `gc.collect` sees new objects alone: a process with all libraries loaded takes half a second for the others."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def grown(work: Callable[[], object]) -> float:
    """Bytes that the process grew by at most meanwhile; 0 where only Linux could tell."""
    if not Path("/proc/self/clear_refs").exists():
        work()
        return 0.0
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # or what was freed before would hide what is taken now
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def _cases(folder: Path) -> list[tuple[str, int, Callable[[], object]]]:
    many = _TIMES * BYTES
    side = int((_TIMES * PIXELS) ** 0.5)
    head = b"\0\0\x08\x03" + struct.pack(">3I", many // 64, 8, 8)
    cases: list[tuple[str, int, Callable[[], object]]] = []

    def file(name: str, content: bytes, limit: int) -> None:
        (folder / name).write_bytes(content)
        cases.append((name, limit, lambda: hg.load(str(folder / name))))

    file("declares-much.gz", gzip.compress(head + bytes(many), 1), BYTES)
    file("holds-more-than-it-declares.gz", gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2, 8, 8) + bytes(many), 1), BYTES)
    npy = io.BytesIO()
    np.lib.format.write_array_header_1_0(npy, {"descr": "|u1", "fortran_order": False, "shape": (many // 64, 8, 8)})
    file("declares-much.npy", npy.getvalue() + bytes(64), BYTES)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened:
        opened.writestr("images.npy", npy.getvalue() + bytes(many))
    file("images.npz", archive.getvalue(), BYTES)
    options: dict[str, Any]
    for kind, options in (("png", {}), ("tiff", {"compression": "tiff_adobe_deflate"}), ("jpeg", {}), ("bmp", {})):
        stream = io.BytesIO()
        Image.new("L", (side, side)).save(stream, kind, **options)
        file(f"large.{kind}", stream.getvalue(), PIXELS)
    stream = io.BytesIO()
    Image.new("L", (side, side)).convert("RGB").save(stream, "WEBP", lossless=True, method=0)
    file("large.webp", stream.getvalue(), PIXELS)
    file("large.pgm", b"P5 %d %d 255\n" % (side, side) + bytes(side * side), PIXELS)
    large = Image.new("L", (side, side))
    for kind, options in (("gif", {}), ("avif", {"speed": 10})):
        stream = io.BytesIO()
        large.save(stream, kind, **options)
        file(f"large.{kind}", stream.getvalue(), PIXELS)
    page = Image.new("L", (side // _TIMES, side))
    for kind, options in (("tiff", {"compression": "tiff_adobe_deflate"}), ("gif", {"disposal": 1})):
        stream = io.BytesIO()
        pages = [Image.new("L", page.size, grey) for grey in range(_TIMES)]  # alike frames would become one
        pages[0].save(stream, kind, save_all=True, append_images=pages[1:], **options)
        file(f"pages.{kind}", stream.getvalue(), PIXELS)
    cases.append(("names.hgc", BYTES, _names_bomb(many)))
    cases.append(("images.hgc", PIXELS, _images_bomb(_TIMES * PIXELS)))
    return cases


def _images_bomb(pixels: int) -> Callable[[], object]:
    """A .hgc file of some dozens of bytes that stands for images of so many pixels in all."""
    symbols = np.zeros((pixels // 64, 2), np.int32)
    tables = count(symbols)
    content = pack(Container(b"modelsum", (8, 8), symbols), tables)
    assert len(content) < 100
    return lambda: unpack(content, b"modelsum", tables)


def _names_bomb(n_bytes: int) -> Callable[[], object]:
    """A .hgc file whose names unpack to so many bytes, and whose checksum fits."""
    symbols = np.zeros((3, 2), np.int32)
    tables = count(symbols)
    plain = zlib.compress("\0".join("abc").encode(), 9)
    bomb = zlib.compress(bytes(n_bytes), 9)
    whole = pack(Container(b"modelsum", (8, 8), symbols, None, list("abc")), tables)
    at = whole.index(plain)

    def varint(number: int) -> bytes:
        return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)

    body = whole[: at - 1] + varint(len(bomb)) + bomb + whole[at + len(plain) : -8]
    content = body + hashlib.sha256(body).digest()[:8]
    return lambda: unpack(content, b"modelsum", tables)

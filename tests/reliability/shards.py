"""Shards that mean harm, and shards that are almost right: they may be refused, left out or read, and nothing else."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import hourglass as hg
import sharded
from hourglass.data import stream
from hourglass.data.files import encode_image
from reliability import bombs

Mutate = Callable[[random.Random], bytes]
Read = Callable[[bytes], object]
HAS_PARQUET = importlib.util.find_spec("pyarrow") is not None
_BLOCK = 512


def read_all(path: Path) -> int:
    """Read a shard as verbs and training do; how many images came, in order and shuffled."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hg.HourglassWarning)
        source = stream(path, workers=0)
        source.fingerprint  # noqa: B018  # which asks for shape and dtype
        in_order = sum(len(part) for part in source)
        shuffled = sum(len(batch.images) for batch in source.batches(4, 0))
    assert in_order <= shuffled, "images are lost when they are shuffled"  # for which nobody asks for labels
    return in_order


# --- almost right -----------------------------------------------------------------------------------------------------


def formats(folder: Path, mutate: Callable[[bytes, random.Random], bytes]) -> dict[str, tuple[Mutate, Read]]:
    """Each kind of shard: (what makes a mutated one, what reads it)."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), np.uint8)
    labels = [1, 2, 3, 1, 2, 3]

    def kind(ending: str, mutated: Mutate) -> tuple[Mutate, Read]:
        path = folder / f"x{ending}"

        def read(content: bytes) -> object:
            path.write_bytes(content)
            return read_all(path)

        return mutated, read

    arrays = [
        sharded.npy(images),
        sharded.floats(images),
        sharded.npy(np.zeros((3, 4, 5, 3), np.float64)),
        sharded.npy(images > 9),
    ]
    archives = [made(images, labels) for made in (sharded.tar, sharded.gnu, sharded.pax)]
    found = {
        "npy shards": kind(".npy", lambda chance: mutate(chance.choice(arrays), chance)),
        "tar shards": kind(".tar", lambda chance: _mutated_tar(chance.choice(archives), mutate, chance)),
    }
    if HAS_PARQUET:
        tables = [
            made(images, labels) for made in (sharded.parquet, sharded.structs, sharded.nested, sharded.fixed, sharded.flat)
        ]
        plain = {"compression": "none", "use_dictionary": False}
        tables.append(sharded.parquet_of({"image": images.tolist(), "key": list("abcdef")}, **plain))
        tables.append(sharded.parquet_of({"image": [encode_image(image) for image in images]}, **plain))
        found["Parquet shards"] = kind(".parquet", lambda chance: mutate(chance.choice(tables), chance))
    return found


def _mutated_tar(content: bytes, mutate: Callable[[bytes, random.Random], bytes], chance: random.Random) -> bytes:
    """Mostly in the headers, and with checksums that fit."""
    if chance.random() < 0.3:
        return mutate(content, chance)
    changed = bytearray(content)
    headers = [at for at in range(0, len(content), _BLOCK) if content[at + 257 : at + 262] == b"ustar"]
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.choice(headers)
        start, end = chance.choice(
            ((0, 100), (124, 136), (124, 136), (156, 157), (257, 265), (345, 500), (482, 512), (_BLOCK, 1024))
        )
        kind = chance.randrange(3)
        if (start, end) == (156, 157):
            changed[at + start] = chance.choice(b"0\01234567xgLKSVDXA")
        elif (start, end) == (124, 136) and kind:
            changed[at + start : at + end] = chance.choice(_SIZES)
        else:
            place = at + chance.randrange(start, end)
            changed[place : place + 1] = chance.randbytes(1)
        changed[at : at + _BLOCK] = checked(bytes(changed[at : at + _BLOCK]))
    return bytes(changed)


def checked(header: bytes) -> bytes:
    """A header of tar with the checksum that fits."""
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    return header[:148] + f"{total:06o}\0 ".encode() + header[156:]


def _binary(size: int) -> bytes:
    return (size % 256**12).to_bytes(12, "big") if size < 0 else b"\x80" + size.to_bytes(11, "big")


_SIZES = (
    *(b"-0000000001\0", b"-0000001000\0", b"-0000002000\0", b"77777777777\0", b"00000000000\0", b"00000000001\0"),
    *(
        _binary(-512),
        _binary(-1024),
        _binary(2**62),
        _binary(2**80),
        _binary(100),
        b"\xff" * 12,
        b"            ",
        b"0x10\0       ",
    ),
)


# --- meaning harm -----------------------------------------------------------------------------------------------------


def header(name: bytes, size: bytes | int = 0, kind: bytes = b"0", link: bytes = b"") -> bytes:
    """A header of tar, whatever it says."""
    told = size if isinstance(size, bytes) else f"{size:011o}\0".encode()
    parts = (name.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", told, b"00000000000\0", b" " * 8, kind)
    return checked((b"".join(parts) + link.ljust(100, b"\0") + b"ustar\x0000").ljust(_BLOCK, b"\0"))


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _BLOCK)


def pax(**records: str) -> bytes:
    """An extended header."""
    content = b""
    for key, value in records.items():
        rest = f" {key.replace('_', '.')}={value}\n".encode("utf-8", "surrogateescape")
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        content += str(length).encode() + rest
    return header(b"PaxHeader", len(content), b"x") + padded(content)


def tars() -> dict[str, bytes]:
    """Archives, each with one good image at its end if one gets there."""
    image = encode_image(np.full((8, 8), 9, np.uint8))
    good = header(b"good.png", len(image)) + padded(image) + bytes(1024)
    first = header(b"first.png", len(image)) + padded(image)
    digits = b"1" * 60_000
    return {
        "leads out of a folder": header(b"../../etc/passwd.png", len(image)) + padded(image) + good,
        "an absolute path": header(b"/etc/passwd.png", len(image)) + padded(image) + good,
        "a link to a file outside": header(b"link.png", 0, b"2", b"/etc/passwd") + good,
        "a hard link, with a size": header(b"link.png", 2**30, b"1", b"/etc/passwd") + good,
        "a device": header(b"zero.png", 0, b"3") + good,
        "a pipe": header(b"pipe.png", 0, b"6") + good,
        "a folder named as an image": header(b"folder.png", 0, b"5") + good,
        "a file with holes": header(b"holes.png", len(image), b"S") + padded(image) + good,
        "a map of holes without end": header(b"holes.png", 0, b"S")[:482] + b"\1" + bytes(29) + (bytes(504) + b"\1" * 8) * 50,
        "holes as PAX has them": pax(GNU_sparse_major="1", GNU_sparse_minor="0", path="h.png") + first + good,
        "larger than the file": header(b"large.png", 2**32) + good,
        "larger than all files": header(b"large.png", _binary(2**80)) + good,
        "a size of -1": first + header(b"all.png", b"-0000000001\0") + good,
        "a size of -512, which leads back to itself": first + header(b"again.png", b"-0000001000\0") + good,
        "a size of -1024": first + header(b"again.png", b"-0000002000\0") + good,
        "a binary size of -512": first + header(b"again.png", _binary(-512)) + good,
        "no number as size": header(b"what.png", b"zzzzzzzzzzz\0") + good,
        "PAX: a size of -512": first + pax(size="-512") + header(b"a.png", len(image)) + padded(image) + good,
        "PAX: a size of -1536": first + pax(size="-1536") + header(b"a.png", len(image)) + padded(image) + good,
        "PAX: a size beyond the end": pax(size=str(2**62)) + header(b"a.png", len(image)) + padded(image) + good,
        "PAX: a size that is none": pax(size="ten") + header(b"a.png", len(image)) + padded(image) + good,
        "PAX: a path out of the folder": pax(path="../../../etc/cron.d/x.png") + first + good,
        "PAX: a path that is no text": pax(path="\udcff\udcfe.png") + first + good,
        "PAX: a record without end": header(b"p", 20, b"x") + padded(b"99999999 path=a.png\n") + first + good,
        "PAX: a record of no length": header(b"p", 20, b"x") + padded(b"0 path=a.png\n0000000") + first + good,
        "PAX: a record of length -9": header(b"p", 20, b"x") + padded(b"-9 path=a.png\n000000") + first + good,
        "PAX: digits without end": header(b"p", len(digits), b"x") + padded(digits) + first + good,
        "PAX: headers of nothing": header(b"p", 0, b"x") * 3000 + first + good,
        "PAX: a header of gigabytes": header(b"p", _binary(2**34), b"x") + first + good,
        "a long name of gigabytes": header(b"n", _binary(2**34), b"L") + first + good,
        "long names of nothing": header(b"n", 0, b"L") * 3000 + first + good,
        "a wrong checksum": first + header(b"a.png", 0)[:148] + b"0000000\0" + header(b"a.png", 0)[156:] + good,
        "cut within a header": first + header(b"a.png", len(image))[:300],
        "a bomb of 10 gigapixels": header(b"bomb.png", len(_bomb())) + padded(_bomb()) + good,
        "a label of megabytes": header(b"good.cls", 2**21) + bytes(2**21) + good,
    }


def _bomb() -> bytes:
    """A PNG of 100,000 × 100,000 pixels, in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    body = zlib.compress(bytes(100_001 * 64), 9)
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def arrays() -> dict[str, bytes]:
    """npy files whose headers lie."""

    def npy(shape: object, descr: str = "'|u1'", rest: str = "", data: bytes = bytes(4096)) -> bytes:
        text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{rest}}}\n".encode()
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data

    return {
        "exabytes": npy((2**40, 2**20, 8)),
        "one image of gigabytes": npy((1, 2**16, 2**16)),
        "a negative count": npy((-3, 8, 8)),
        "two negative sides": npy((4, -8, -8)),
        "negative count and side": npy((-4, -8, 8)),
        "no image": npy((0, 8, 8)),
        "no pixel": npy((4, 0, 8)),
        "images without end of no pixels": npy((2**62, 0, 8)),
        "flat": npy((64, 64)),
        "a shape of truths": npy((True, 8, 8)),
        "objects": npy((4, 8, 8), "'|O'"),
        "records": npy((4, 8, 8), "[('a', '|u1')]"),
        "text": npy((4, 8, 8), "'<U4'"),
        "numbers of no bytes": npy((4, 8, 8), "'|V0'"),
        "an expression": npy((4, 8, 8), "__import__('os').getpid()"),
        "NaN": npy((4, 8, 8), "'<f4'", data=b"\xff" * 1024),
        "thousands of channels": npy((1, 1, 1, 4096)),
        "a header without end": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{" * 4096,
    }


def tables() -> dict[str, Callable[[], bytes]]:
    """Parquet files that become large, or are odd."""
    import pyarrow as pa

    image = encode_image(np.full((8, 8), 9, np.uint8))

    def repeated(value: Any, count: int) -> bytes:
        """A column that holds one value so many times: in the file it stands once."""
        return sharded.parquet_of({"image": pa.array([value]).take(pa.array(np.zeros(count, np.int32)))})

    def pixels(count: int, side: int) -> bytes:
        column = pa.array(np.zeros(count * side * side, np.uint8))
        for _ in range(2):
            column = pa.FixedSizeListArray.from_arrays(column, side)
        return sharded.parquet_of({"image": column})

    return {
        "a row group that declares gigabytes": lambda: _declaring(sharded.parquet_of({"image": [image] * 4}), 2**40),
        "one file of a megabyte, 200 times": lambda: repeated(image + bytes(2**20), 200),
        "lists of black without end": lambda: pixels(100, 500),
        "no row": lambda: sharded.parquet_of({"image": pa.array([], pa.binary())}),
        "no image": lambda: sharded.parquet_of({"picture": [image]}),
        "nothing": lambda: sharded.parquet_of({"image": pa.array([None, None], pa.binary())}),
        "no type": lambda: sharded.parquet_of({"image": pa.array([None, None])}),
        "text": lambda: sharded.parquet_of({"image": ["a", "b"]}),
        "empty lists": lambda: sharded.parquet_of({"image": [[], []]}),
        "lists of text": lambda: sharded.parquet_of({"image": [["a"], ["b"]]}),
        "lists of lists of lists of lists": lambda: sharded.parquet_of({"image": [[[[[1]]]]]}),
        "numbers beyond 255": lambda: sharded.parquet_of({"image": [[[1, 2], [3, 400]]]}),
        "two columns of one name": lambda: _twice(image),
        "a struct without bytes": lambda: sharded.parquet_of({"image": [{"path": "/etc/passwd"}]}),
        "a struct whose bytes are a number": lambda: sharded.parquet_of({"image": [{"bytes": 5, "path": 7}]}),
        "a path to a file outside": lambda: sharded.parquet_of({"image": [{"bytes": None, "path": "/etc/passwd"}]}),
        "a bomb of 10 gigapixels": lambda: sharded.parquet_of({"image": [_bomb(), image]}),
    }


def _twice(image: bytes) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = io.BytesIO()
    pq.write_table(pa.table([pa.array([image]), pa.array([image])], names=["image", "image"]), made)
    return made.getvalue()


def _declaring(content: bytes, n_bytes: int) -> bytes:
    """The file with so many bytes declared for its row group, in the footer's varint, which grows."""
    import pyarrow.parquet as pq

    told = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).total_byte_size

    def varint(number: int) -> bytes:
        number *= 2  # zigzag
        made = b""
        while number > 127:
            made, number = made + bytes([number & 127 | 128]), number >> 7
        return made + bytes([number])

    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8]
    at = footer.rindex(b"\x16" + varint(told))  # RowGroup's second field, an i64
    footer = footer[:at] + b"\x16" + varint(n_bytes) + footer[at + 1 + len(varint(told)) :]
    return content[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def just(content: bytes) -> Callable[[], bytes]:
    return lambda: content


def cases() -> dict[str, Callable[[], bytes]]:
    """All of them: kind and name -> what makes the file."""
    return {
        **{f"tar: {name}": just(content) for name, content in tars().items()},
        **{f"npy: {name}": just(content) for name, content in arrays().items()},
        **({f"parquet: {name}": made for name, made in tables().items()} if HAS_PARQUET else {}),
    }


READ = {
    **dict.fromkeys(("tar: leads out of a folder", "tar: an absolute path", "tar: PAX: a path out of the folder"), 2),
    **dict.fromkeys(("tar: PAX: a path that is no text", "tar: PAX: headers of nothing"), 2),
    **dict.fromkeys(("tar: a link to a file outside", "tar: a hard link, with a size", "tar: a device", "tar: a pipe"), 1),
    **dict.fromkeys(("tar: a folder named as an image", "tar: a file with holes", "tar: holes as PAX has them"), 1),
    **dict.fromkeys(("tar: long names of nothing", "tar: a bomb of 10 gigapixels", "tar: a label of megabytes"), 1),
    **dict.fromkeys(("npy: a shape of truths", "npy: thousands of channels", "parquet: a bomb of 10 gigapixels"), 1),
    "parquet: one file of a megabyte, 200 times": 200,
    "parquet: numbers beyond 255": 1,  # an image of more than 8 bits
}
"""Images of those that are read; the others are refused with a DataError."""


def outcomes(folder: Path, in_time: Callable[[], contextlib.AbstractContextManager[None]]) -> tuple[dict[str, str], float]:
    """(what came of each: how many images were read, or the name of the error; bytes that the process grew by at most)"""
    found, most = dict[str, str](), 0.0
    with bombs.few_to_collect():
        for name, made in cases().items():
            path = folder / f"x.{name.partition(':')[0]}"
            path.write_bytes(made())
            with in_time():
                grown = bombs.grown(lambda name=name, path=path: found.update({name: outcome_of(path)}))  # type: ignore[misc]
                most = max(most, grown)
    return found, most


def outcome_of(path: Path) -> str:
    try:
        return f"{read_all(path)} images"
    except hg.DataError:
        return "DataError"
    except Exception as error:  # noqa: BLE001  # whatever else comes is what is looked for
        return f"{type(error).__name__}: {str(error)[:100]}"

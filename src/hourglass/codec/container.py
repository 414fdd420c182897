"""The file format .hgc, version 1. Numbers are little-endian; a varint is LEB128 (seven bits a byte, lowest first).

    offset  size     what
    0       4        magic: 89 48 47 43 (0x89 "HGC")
    4       1        version: 1
    5       1        flags: 1 the tables are the model's, none here; 2 images have sizes of their own; 4 images have names
    6       8        the model: first 8 bytes of the SHA-256 of its weights, steps and tables
    14      1        d, the number of axes of one sample: 1 to 3
    15      varints  d sides of one sample (a tile, where images have sizes of their own), then the numbers in a code, then n,
                     how many codes follow
    …                with flag 2: a varint m, how many images; height and width of each as varints. Each image is cut into
                     ceil(height / side) · ceil(width / side) tiles, row by row, those at the lower and right border filled up
    …                with flag 4: a varint, the size of what follows; the names, UTF-8, a zero byte between them, as zlib
                     compresses them
    …                without flag 1, for each number of a code: a varint k, how many different integers it takes; the smallest,
                     zigzag; k - 1 gaps to the next ones; k counts, which sum to n
    …                the codes: 32-bit words of a range coder, all first numbers, then all second ones, …
    last 8           first 8 bytes of the SHA-256 of all before

Nothing in it is executed. A file that is cut, altered, or made with another model is refused.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from hourglass.codec.entropy import Symbols, Tables, count, decode, encode, expected_bytes
from hourglass.codec.varints import Reader, varint
from hourglass.errors import DataError, FormatError

MAGIC, VERSION = b"\x89HGC", 1
_MODEL_TABLES, _SIZES, _NAMES = 1, 2, 4
_DIGEST, _PIECE = 8, 1 << 20
MAX_SYMBOLS = 1 << 28
"""Integers in one file, 1 GiB of them: more is no file of ours, or better cut into several. Assign to it to change it."""
MAX_VALUES = 1 << 28
"""Pixels, times channels, of all its images or tiles, 1 GiB as the numbers that a decoder gives. Assign to it to change it."""
MAX_NAMES = 1 << 28
"""Bytes of all names of its images. Assign to it to change it."""


@dataclass(frozen=True)
class Container:
    """What a .hgc file holds.

    Attributes
    ----------
    model : bytes
        The model's checksum, 8 bytes.
    shape : tuple of int
        One sample as the model takes it.
    symbols : ndarray (n, n_components), int32
    sizes : list of (height, width), optional
        Of each image, where they are cut into tiles of `shape`.
    names : list of str, optional
        Of each image.
    """

    model: bytes
    shape: tuple[int, ...]
    symbols: Symbols
    sizes: Sequence[tuple[int, int]] | None = None
    names: Sequence[str] | None = None


def n_tiles(size: tuple[int, int], shape: tuple[int, ...]) -> int:
    """How many tiles of `shape` cover an image of `size`."""
    return math.ceil(size[0] / shape[0]) * math.ceil(size[1] / shape[1])


def pack(container: Container, model_tables: Tables) -> bytes:
    """The bytes of a .hgc file, with the tables of these images or the model's, whichever makes it smaller.

    Raises
    ------
    DataError
        If a name holds a zero byte, or there is more than one file can hold.
    """
    symbols = container.symbols
    if symbols.size > MAX_SYMBOLS or len(symbols) * math.prod(container.shape) > MAX_VALUES:
        raise DataError(f"{len(symbols):,} codes of {symbols.shape[1]} numbers are too many for one file; make several.")
    own = count(symbols)
    written = own.to_bytes()
    tables, flags = own, 0
    if model_tables.cover(symbols) and expected_bytes(symbols, model_tables) < expected_bytes(symbols, own) + len(written):
        tables, written, flags = model_tables, b"", _MODEL_TABLES
    head = [bytes([len(container.shape)]), *map(varint, (*container.shape, symbols.shape[1], len(symbols)))]
    if container.sizes is not None:
        flags |= _SIZES
        head += map(varint, [len(container.sizes), *(side for size in container.sizes for side in size)])
    if container.names is not None:
        if any("\0" in name for name in container.names):
            raise DataError("a name holds a zero byte.")
        flags |= _NAMES
        names = zlib.compress("\0".join(container.names).encode(errors="surrogateescape"), 9)
        head += [varint(len(names)), names]
    body = b"".join([MAGIC, bytes([VERSION, flags]), container.model, *head, written, encode(symbols, tables)])
    return body + hashlib.sha256(body).digest()[:_DIGEST]


def unpack(content: bytes, model: bytes, model_tables: Tables) -> Container:
    """What `pack` packed, for the model whose checksum is `model`.

    Raises
    ------
    FormatError
        If it is no .hgc file, of another version, cut, altered, or made with another model.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise FormatError("not a .hgc file (its first bytes are others).")
    if len(content) < len(MAGIC) + 2 + _DIGEST:
        raise FormatError(f"cut short: only {len(content)} bytes.")
    body, digest = content[:-_DIGEST], content[-_DIGEST:]
    if content[4] != VERSION:
        raise FormatError(f"version {content[4]} of the format; this version of hourglass reads {VERSION}.")
    if hashlib.sha256(body).digest()[:_DIGEST] != digest:
        raise FormatError("cut or altered (its checksum differs). Copy it again, or compress anew.")
    reader = Reader(body)
    flags = reader.take(6)[5]
    made_by = reader.take(_DIGEST)
    if made_by != model:
        raise FormatError(f"compressed with another model ({made_by.hex()}); this one is {model.hex()}.")
    shape = tuple(reader.varint() for _ in range(reader.take(1)[0]))
    n_components, n = reader.varint(), reader.varint()
    if n_components != len(model_tables.values) or 0 in (*shape, n):
        raise FormatError(
            f"it claims {n} codes of {n_components} numbers for samples of shape {shape}; this model has no such."
        )
    if n_components * n > MAX_SYMBOLS or n * math.prod(shape) > MAX_VALUES:
        raise FormatError(f"it claims {n} samples of shape {shape}; that is more than is read at once.")
    sizes = _read_sizes(reader, shape, n) if flags & _SIZES else None
    names = _read_names(reader, n if sizes is None else len(sizes)) if flags & _NAMES else None
    tables = model_tables if flags & _MODEL_TABLES else Tables.from_reader(reader, n_components)
    return Container(made_by, shape, decode(reader.rest(), tables, n), sizes, names)


def _read_sizes(reader: Reader, shape: tuple[int, ...], n: int) -> list[tuple[int, int]]:
    sizes = [(reader.varint(), reader.varint()) for _ in range(reader.varint(at_most=n))]
    if len(shape) < 2 or any(0 in size for size in sizes) or sum(n_tiles(size, shape) for size in sizes) != n:
        raise FormatError("the sizes of its images do not fit the number of its codes.")
    return sizes


def _read_names(reader: Reader, n_images: int) -> list[str]:
    inflate, packed, pieces, n_bytes = zlib.decompressobj(), reader.take(reader.varint()), [], 0
    try:
        while piece := inflate.decompress(packed, _PIECE):  # all at once would take twice the room
            pieces.append(piece)
            packed = inflate.unconsumed_tail
            n_bytes += len(piece)
            if n_bytes > MAX_NAMES:
                raise FormatError(f"the names of its images are longer than {MAX_NAMES:,} bytes.")
    except zlib.error as error:
        raise FormatError(f"the names of its images cannot be read ({error}).") from error
    n_names = sum(piece.count(b"\0") for piece in pieces) + 1
    if n_names != n_images:  # before a string is made of each
        raise FormatError(f"it holds {n_names} names or more for {n_images} images.")
    return b"".join(pieces).decode(errors="surrogateescape").split("\0")

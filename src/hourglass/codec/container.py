"""The file format .hgc, version 1. Numbers are little-endian; a varint is LEB128 (seven bits a byte, lowest first).

    offset  size     what
    0       4        magic: 89 48 47 43 (0x89 "HGC")
    4       1        version: 1
    5       1        flags: 1 the frequency tables are the model's, none follow; 2 images have individual sizes; 4 images
                     have names
    6       8        the model: first 8 bytes of the SHA-256 of its weights, quantisation steps and tables
    14      1        d, the number of axes of one sample: 1 to 3
    15      varints  the d axis lengths of one sample (a tile, with flag 2), then the number of latent dimensions, then n, the
                     number of codes
    …                with flag 2: a varint m, the number of images; height and width of each as varints. Each image is cut into
                     ceil(height / tile height) · ceil(width / tile width) tiles in row-major order; tiles at the lower and
                     right border are padded
    …                with flag 4: a varint, the number of bytes that follow; the names, UTF-8, separated by zero bytes,
                     compressed by zlib
    …                without flag 1, for each latent dimension: a varint k, the number of distinct integers; the smallest,
                     zigzag; k - 1 gaps to the next ones; k counts, which sum to n
    …                the codes: 32-bit words of a range coder, one latent dimension of all codes after the other
    last 8           first 8 bytes of the SHA-256 of everything before

Reading a file executes nothing in it. `unpack` refuses a file that is truncated, altered, or made with another model.
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
_DIGEST, _CHUNK = 8, 1 << 20  # bytes
_HOLDS = {1: "samples whose codes are vectors", 2: "an image whose codes are maps"}
MAX_SYMBOLS = 1 << 28
"""Largest number of integers in one file, 1 GiB in memory. May be reassigned."""
MAX_VALUES = 1 << 28
"""Largest number of decoded values, pixels times channels of all images or tiles: 1 GiB as float32. May be reassigned."""
MAX_NAMES = 1 << 28
"""Largest total size of all image names in bytes. May be reassigned."""


@dataclass(frozen=True)
class Container:
    """The contents of a .hgc file.

    Attributes
    ----------
    model : bytes
        The model's checksum, 8 bytes.
    shape : tuple of int
        Shape of one sample of the model.
    symbols : ndarray (n, n_components), int32
        Quantised codes.
    sizes : list of (height, width), optional
        Size of each image, if images are cut into tiles of `shape`.
    names : list of str, optional
        Name of each image.
    """

    model: bytes
    shape: tuple[int, ...]
    symbols: Symbols
    sizes: Sequence[tuple[int, int]] | None = None
    names: Sequence[str] | None = None


def n_tiles(size: tuple[int, int], shape: tuple[int, ...]) -> int:
    """Number of tiles of `shape` that cover an image of `size`."""
    return math.ceil(size[0] / shape[0]) * math.ceil(size[1] / shape[1])


def pack(container: Container, model_tables: Tables) -> bytes:
    """Return the bytes of a .hgc file, with frequency tables of these codes or the model's, whichever makes it smaller.

    Raises
    ------
    DataError
        If a name holds a zero byte, or the codes exceed the limits of one file.
    """
    symbols = container.symbols
    if symbols.size > MAX_SYMBOLS or len(symbols) * math.prod(container.shape) > MAX_VALUES:
        raise DataError(f"{len(symbols):,} codes of {symbols.shape[1]} dimensions are too many for one file; make several.")
    own = count(symbols)
    table_bytes = own.to_bytes()
    tables, flags = own, 0
    if model_tables.cover(symbols) and expected_bytes(symbols, model_tables) < expected_bytes(symbols, own) + len(table_bytes):
        tables, table_bytes, flags = model_tables, b"", _MODEL_TABLES
    header = [bytes([len(container.shape)]), *map(varint, (*container.shape, symbols.shape[1], len(symbols)))]
    if container.sizes is not None:
        flags |= _SIZES
        header += map(varint, [len(container.sizes), *(length for size in container.sizes for length in size)])
    if container.names is not None:
        if any("\0" in name for name in container.names):
            raise DataError("a name holds a zero byte.")
        flags |= _NAMES
        names = zlib.compress("\0".join(container.names).encode(errors="surrogateescape"), 9)
        header += [varint(len(names)), names]
    return sealed(VERSION, flags, container.model, b"".join([*header, table_bytes, encode(symbols, tables)]))


def unpack(content: bytes, model: bytes, model_tables: Tables) -> Container:
    """Return what `pack` packed, for the model whose checksum is `model`.

    Raises
    ------
    FormatError
        If `content` is not a .hgc file, has another version, is truncated or altered, or was made with another model.
    """
    flags, reader = opened(content, model, VERSION)
    shape = tuple(reader.varint() for _ in range(reader.take(1)[0]))
    n_components, n = reader.varint(), reader.varint()
    if n_components != len(model_tables.values) or 0 in (*shape, n):
        raise FormatError(
            f"it claims {n} codes of {n_components} dimensions for samples of shape {shape}; that does not fit this model."
        )
    if n_components * n > MAX_SYMBOLS or n * math.prod(shape) > MAX_VALUES:
        raise FormatError(f"it claims {n} samples of shape {shape}; the limit is {MAX_VALUES:,} values.")
    sizes = _read_sizes(reader, shape, n) if flags & _SIZES else None
    names = _read_names(reader, n if sizes is None else len(sizes)) if flags & _NAMES else None
    tables = model_tables if flags & _MODEL_TABLES else Tables.from_reader(reader, n_components)
    return Container(model, shape, decode(reader.rest(), tables, n), sizes, names)


def sealed(version: int, flags: int, model: bytes, content: bytes) -> bytes:
    """A file of any version: what all begin and end with, around its `content`."""
    body = b"".join([MAGIC, bytes([version, flags]), model, content])
    return body + hashlib.sha256(body).digest()[:_DIGEST]


def opened(content: bytes, model: bytes, version: int) -> tuple[int, Reader]:
    """The inverse of `sealed`: (flags, a reader of the content).

    Raises
    ------
    FormatError
        As `unpack`.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise FormatError("not a .hgc file (its magic number differs).")
    if len(content) < len(MAGIC) + 2 + _DIGEST:
        raise FormatError(f"truncated: only {len(content)} bytes.")
    body, digest = content[:-_DIGEST], content[-_DIGEST:]
    if content[4] not in _HOLDS:
        known = " and ".join(map(str, _HOLDS))
        raise FormatError(f"version {content[4]} of the format; this version of hourglass reads {known}.")
    if hashlib.sha256(body).digest()[:_DIGEST] != digest:
        raise FormatError("truncated or altered (its checksum differs). Copy it again, or compress the images again.")
    if content[4] != version:
        raise FormatError(f"version {content[4]} holds {_HOLDS[content[4]]}; this model reads version {version}.")
    reader = Reader(body)
    flags = reader.take(6)[5]
    made_by = reader.take(_DIGEST)
    if made_by != model:
        raise FormatError(f"compressed with another model ({made_by.hex()}); this one is {model.hex()}.")
    return flags, reader


def _read_sizes(reader: Reader, shape: tuple[int, ...], n: int) -> list[tuple[int, int]]:
    sizes = [(reader.varint(), reader.varint()) for _ in range(reader.varint(at_most=n))]
    if len(shape) < 2 or any(0 in size for size in sizes) or sum(n_tiles(size, shape) for size in sizes) != n:
        raise FormatError("the sizes of its images do not match the number of codes.")
    return sizes


def _read_names(reader: Reader, n_images: int) -> list[str]:
    decompressor, compressed, chunks, n_bytes = zlib.decompressobj(), reader.take(reader.varint()), [], 0
    try:
        while chunk := decompressor.decompress(compressed, _CHUNK):  # one call would need twice the memory
            chunks.append(chunk)
            compressed = decompressor.unconsumed_tail
            n_bytes += len(chunk)
            if n_bytes > MAX_NAMES:
                raise FormatError(f"the names of its images are longer than {MAX_NAMES:,} bytes.")
    except zlib.error as error:
        raise FormatError(f"the names of its images cannot be read ({error}).") from error
    n_names = sum(chunk.count(b"\0") for chunk in chunks) + 1
    if n_names != n_images:  # checked before a string is allocated for each
        raise FormatError(f"it holds {n_names} names or more for {n_images} images.")
    return b"".join(chunks).decode(errors="surrogateescape").split("\0")

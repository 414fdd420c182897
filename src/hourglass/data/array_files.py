"""Arrays in IDX, npy and npz files, read without unpickling and written atomically.

Readers check every size that a header declares against `files.MAX_BYTES` and the size of the file before they allocate memory.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hourglass.data import files
from hourglass.data.dataset import Split
from hourglass.data.depth import common_level, unit_array
from hourglass.data.files import BROKEN, reason_of
from hourglass.data.write import replace_file
from hourglass.errors import DataError, LimitError
from hourglass.images import Array
from hourglass.notes import quiet

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# The four files of an IDX data set, named as for MNIST and its successors.
IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


# --- IDX -------------------------------------------------------------------------------------------------------------


def idx_file(folder: Path, name: str) -> Path | None:
    """Return the file `name` in `folder`, plain or gzip, or None."""
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def read_idx_pairs(folder: Path, white: float | None = None) -> list[Split]:
    """Read the splits "train" and "test" of an IDX data set in MNIST's layout; deep images have one white level in both."""
    pairs = [_read_idx_pair(folder, part) for part in IDX_NAMES]
    level = common_level([images for images, _ in pairs], str(folder), white)
    return [split_of(images, str(folder), level, labels) for images, labels in pairs]


def _read_idx_pair(folder: Path, part: str) -> tuple[Array, Array]:
    files = []
    for name in IDX_NAMES[part]:
        file = idx_file(folder, name)
        if file is None:
            raise DataError(f"{folder}: {name} or {name}.gz is missing; a data set in IDX has four files.")
        files.append(file)
    return read_idx(files[0]), read_idx(files[1])


def split_of(images: Array, name: str, white: float | None, labels: Array | None = None) -> Split:
    """Return a split of images of any depth and their labels; see `unit_array`."""
    scaled, found = unit_array(images, name, white)
    return Split(scaled, labels, white=found)


def read_idx(path: Path) -> Array:
    """Read an IDX file, plain or gzip (http://yann.lecun.com/exdb/mnist: magic, sizes and data, big-endian)."""
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if is_gzip else raw as stream:
                return _parse_idx(stream, path)
    except DataError:
        raise
    except BROKEN as error:
        raise DataError(f"{path}: not a readable IDX file ({reason_of(error)}).") from error


def _parse_idx(stream: BinaryIO | gzip.GzipFile, path: Path) -> Array:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_DTYPES or not 1 <= head[3] <= 4:
        raise DataError(f"{path}: not an IDX file (it begins with {head!r}).")
    dtype, dimensions = np.dtype(_IDX_DTYPES[head[2]]), head[3]
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path}: truncated; its header of {dimensions} sizes is incomplete.")
    shape = struct.unpack(f">{dimensions}I", sizes)
    declared = _check_declared(path, shape, dtype)
    payload = _read_at_most(stream, declared + 1)  # one byte more, to detect trailing data
    if len(payload) != declared:
        what = "truncated" if len(payload) < declared else "longer than declared"
        raise DataError(f"{path}: {what}; its header declares {declared:,} bytes of data for shape {shape}.")
    return np.frombuffer(payload, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_at_most(stream: BinaryIO | gzip.GzipFile, limit: int) -> bytearray:
    """Read in chunks, so that memory grows with the actual data, not with what a header declares."""
    payload = bytearray()
    while len(payload) < limit and (chunk := stream.read(min(1 << 20, limit - len(payload)))):
        payload += chunk
    return payload


# --- numpy -----------------------------------------------------------------------------------------------------------


NPY_SIGNATURE = b"\x93NUMPY"
_NPY_VERSIONS = ((1, 0), (2, 0), (3, 0))


def read_npy(path: Path) -> Array:
    """Read an array from an npy file. Raises DataError for pickled objects."""
    with _npy_errors(path), path.open("rb") as stream:
        return _parse_npy(stream, path, path.stat().st_size)


def decode_npy(content: bytes, name: str) -> Array:
    """The array of the `content` of an npy file. Raises DataError, whose message begins with `name`, for pickled objects."""
    with _npy_errors(Path(name)):
        return _parse_npy(io.BytesIO(content), Path(name), len(content))


def encode_npy(array: Array) -> bytes:
    """The content of an npy file that holds `array`, of numbers or text; `np.save` has room for other dtypes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    values = np.ascontiguousarray(array.T if is_fortran else array)
    return b"".join((header.getvalue(), values.reshape(-1).view(np.uint8).data))


@contextlib.contextmanager
def _npy_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except BROKEN as error:
        raise DataError(f"{path}: not a readable npy file ({reason_of(error)}).") from error


def npy_header(stream: Any, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return (shape, is_fortran, dtype) of the npy file in `stream`, and move `stream` to the start of the data."""
    version = np.lib.format.read_magic(stream)
    if version not in _NPY_VERSIONS:
        raise DataError(f"{path}: not a readable npy file (format {version[0]}.{version[1]}; allowed: 1.0 to 3.0).")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with quiet():  # about headers that Python 2 wrote
        shape, is_fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise DataError(f"{path}: contains pickled Python objects, which are never loaded; save plain arrays.")
    return shape, is_fortran, dtype


def _parse_npy(stream: Any, path: Path, available: int) -> Array:
    shape, is_fortran, dtype = npy_header(stream, path)
    declared = _check_declared(path, shape, dtype)
    truncated = DataError(f"{path}: truncated; its header declares shape {shape} of {dtype}.")
    if declared > available - stream.tell():
        raise truncated
    array = np.empty(shape, dtype, "F" if is_fortran else "C")
    if (array.shape, array.dtype) != (shape, dtype):  # numpy widens text of no length, and unfolds arrays in a dtype
        raise DataError(f"{path}: holds {dtype}; allowed: numbers, or text of at least one character.")
    if stream.readinto((array.T if is_fortran else array).reshape(-1).view(np.uint8)) < declared:
        raise truncated
    return array


_NPZ_NAMES = {  # array names in common use, most specific first
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
    "all": (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "target"), ("arr_0", "arr_1")),
}


def read_npz(path: Path, white: float | None = None) -> tuple[Split, Split | None]:
    """Read the training split and, if there is one, the test split of an npz file; `white` as in `unit_array`.

    Recognised names: x_train, y_train, x_test, y_test; train_images and so on; images and labels; x and y; data and target;
    arr_0 and arr_1. A file with a single array may use any name.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if any("/" in name or "\\" in name for name in members):  # harmless, as nothing is extracted, but not an npz file
                raise DataError(f"{path}: its members' names contain folders; arrays have plain names.")

            def array(name: str) -> Array:
                info = members[name]
                if info.file_size > files.MAX_BYTES:
                    raise DataError(f"{path}: {name} declares {info.file_size:,} bytes; the limit is {files.MAX_BYTES:,}.")
                with archive.open(info) as stream:
                    # A zip member may hold less than it declares: decompress it before allocating the array.
                    content = io.BytesIO(_read_at_most(stream, info.file_size))  # type: ignore[arg-type]  # ZipExtFile reads like a file
                return _parse_npy(content, path, len(content.getbuffer()))

            def pair(part: str) -> tuple[Array, Array | None] | None:
                for images, labels in _NPZ_NAMES[part]:
                    if images in members:
                        return array(images), array(labels).reshape(-1) if labels in members else None
                return None

            train, test = pair("train") or pair("all"), pair("test")
            if train is None and len(members) == 1:
                train, test = (array(next(iter(members))), None), None
            if train is None:
                raise DataError(f"{path}: contains {', '.join(members) or 'no array'}; name its arrays images and labels.")
            level = common_level([images for images, _ in (train, test or train)], str(path), white)
            splits = [None if one is None else split_of(one[0], str(path), level, one[1]) for one in (train, test)]
            assert splits[0] is not None
            return splits[0], splits[1]
    except DataError:
        raise
    except (*BROKEN, RuntimeError) as error:  # RuntimeError: an encrypted member or an unknown compression method
        raise DataError(f"{path}: not a readable npz file ({reason_of(error)}).") from error


def write_array(path: Path, array: Array) -> None:
    """Write an array as npy, atomically."""
    with replace_file(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write arrays by name as npz, without pickling, atomically."""
    with replace_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _check_declared(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the number of bytes that a header declares. Raises DataError if it exceeds the limit."""
    declared = math.prod(shape) * dtype.itemsize
    if declared > files.MAX_BYTES or any(not 0 <= length < 1 << 48 for length in shape):
        raise LimitError(f"{path}: declares {declared:,} bytes; the limit is {files.MAX_BYTES:,}.")
    return declared

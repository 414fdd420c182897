"""Arrays in files: IDX, npy and npz, read without pickled objects and written beside, then renamed.

Every size that a header declares is checked against `files.MAX_BYTES`, and against what is really there, before memory is
taken for it.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hourglass.data import files
from hourglass.data.dataset import Split
from hourglass.data.depth import unit_array
from hourglass.data.files import BROKEN, reason_of
from hourglass.data.write import replace_file
from hourglass.errors import DataError
from hourglass.images import Array

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# The four files of an IDX data set, as MNIST and its successors name them.
IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


# --- IDX -------------------------------------------------------------------------------------------------------------


def idx_file(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, plain or gzip, or None."""
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def read_idx_pair(folder: Path, part: str, white: float | None = None) -> Split:
    """Images and labels of the part "train" or "test" of an IDX data set laid out as MNIST."""
    files = []
    for name in IDX_NAMES[part]:
        file = idx_file(folder, name)
        if file is None:
            raise DataError(f"{folder}: {name} or {name}.gz is missing; a data set in IDX has four files.")
        files.append(file)
    return split_of(read_idx(files[0]), str(folder), white, read_idx(files[1]))


def split_of(images: Array, name: str, white: float | None, labels: Array | None = None) -> Split:
    """Images of an array, of any depth, with their labels; see `unit_array`."""
    in_unit, found = unit_array(images, name, white)
    return Split(in_unit, labels, white=found)


def read_idx(path: Path) -> Array:
    """Read an IDX file, plain or gzip (http://yann.lecun.com/exdb/mnist: magic, sizes and data, big-endian)."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if zipped else raw as stream:
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
    payload = _read_at_most(stream, declared + 1)  # one byte more, to notice what should not be there
    if len(payload) != declared:
        what = "truncated" if len(payload) < declared else "longer than it says"
        raise DataError(f"{path}: {what}; its header declares {declared:,} bytes of data for shape {shape}.")
    return np.frombuffer(payload, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_at_most(stream: BinaryIO | gzip.GzipFile, limit: int) -> bytearray:
    """Read in pieces, so that memory grows with what is there, not with what a header declares."""
    payload = bytearray()
    while len(payload) < limit and (piece := stream.read(min(1 << 20, limit - len(payload)))):
        payload += piece
    return payload


# --- numpy -----------------------------------------------------------------------------------------------------------


def read_npy(path: Path) -> Array:
    """Read an array from an npy file; files with pickled objects are refused."""
    try:
        with path.open("rb") as stream:
            return _parse_npy(stream, path, path.stat().st_size)
    except DataError:
        raise
    except BROKEN as error:
        raise DataError(f"{path}: not a readable npy file ({reason_of(error)}).") from error


def npy_header(stream: Any, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether in Fortran order, dtype) of the npy file in `stream`, which then stands where its data begin."""
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a header looks like one of Python 2: read all the same
        shape, is_fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise DataError(f"{path}: holds pickled Python objects, which are never loaded; save plain arrays.")
    return shape, is_fortran, dtype


def _parse_npy(stream: Any, path: Path, available: int) -> Array:
    shape, _, dtype = npy_header(stream, path)
    if _check_declared(path, shape, dtype) > available - stream.tell():
        raise DataError(f"{path}: truncated; its header declares shape {shape} of {dtype}.")
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the same remark again
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


_NPZ_NAMES = {  # what others call the parts, most specific first
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
    "all": (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "target"), ("arr_0", "arr_1")),
}


def read_npz(path: Path, white: float | None = None) -> tuple[Split, Split | None]:
    """Read the training part and, if there is one, the test part of an npz file; `white` as in `unit_array`.

    Arrays are taken by name: x_train, y_train, x_test, y_test; train_images and so on; images and labels; x and y;
    data and target; arr_0 and arr_1; or the only array there is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if any("/" in name or "\\" in name for name in members):  # nothing is unpacked to a disk, but it is no array's name
                raise DataError(f"{path}: its members' names lead to other folders; arrays have plain names.")

            def array(name: str) -> Array:
                info = members[name]
                if info.file_size > files.MAX_BYTES:
                    raise DataError(f"{path}: {name} declares {info.file_size:,} bytes; the limit is {files.MAX_BYTES:,}.")
                with archive.open(info) as stream:
                    # A zip member may hold less than it declares: unpack what is there before the array is made.
                    content = io.BytesIO(_read_at_most(stream, info.file_size))  # type: ignore[arg-type]  # ZipExtFile reads like a file
                return _parse_npy(content, path, len(content.getbuffer()))

            def split(part: str, white: float | None) -> Split | None:
                for images, labels in _NPZ_NAMES[part]:
                    if images in members:
                        known = array(labels).reshape(-1) if labels in members else None
                        return split_of(array(images), str(path), white, known)
                return None

            train = split("train", white) or split("all", white)
            if train is None and len(members) == 1:
                train = split_of(array(next(iter(members))), str(path), white)
            if train is None:
                raise DataError(f"{path}: holds {', '.join(members) or 'nothing'}; name its arrays images and labels.")
            return train, split("test", train.white or white)
    except DataError:
        raise
    except (*BROKEN, RuntimeError) as error:  # an encrypted member, or a way of packing that zipfile does not know
        raise DataError(f"{path}: not a readable npz file ({reason_of(error)}).") from error


def write_array(path: Path, array: Array) -> None:
    """Write an array as npy: beside first, then renamed."""
    with replace_file(path) as beside, beside.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write arrays by name as npz, nothing pickled: beside first, then renamed."""
    with replace_file(path) as beside, beside.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _check_declared(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The bytes that a header declares, if they are within the limit."""
    declared = math.prod(shape) * dtype.itemsize
    if declared > files.MAX_BYTES or any(not 0 <= side < 1 << 48 for side in shape):
        raise DataError(f"{path}: declares {declared:,} bytes; the limit is {files.MAX_BYTES:,}.")
    return declared

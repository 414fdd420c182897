"""The only decoder of foreign files: IDX, npy, npz, images, and folders of images.

Nothing here executes what it reads: numpy files are read without pickled objects, images only in the formats of
`IMAGE_FORMATS`. Every size that a file declares is checked against `MAX_BYTES` or `MAX_PIXELS`, and against what is
really there, before memory is taken for it.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import tarfile
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hourglass.data.dataset import Dataset, Split, tiles_of
from hourglass.data.write import replace_file
from hourglass.errors import DataError, HourglassWarning, ParameterError
from hourglass.images import Array

MAX_BYTES = 8 << 30
"""The largest array that is read from one file, in bytes. Assign to it to change it."""
MAX_PIXELS = 64_000_000
"""The largest image that is decoded, in pixels. Assign to it to change it; beyond 178 million Pillow has a limit of its own."""

IMAGE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IDX_SUFFIXES = (".idx", ".idx1", ".idx3", "-ubyte", ".gz")
BROKEN = (
    *(ValueError, EOFError, OSError, KeyError, TypeError, SyntaxError, RecursionError),
    *(OverflowError, MemoryError, IndexError, ZeroDivisionError, AttributeError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, tokenize.TokenError),
)
"""What the decoders raise on broken files; the syntax and token errors are numpy's, from a broken header."""

# The four files of an IDX data set, as MNIST and its successors name them.
IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read(path: Path, size: tuple[int, int] | None = None, tile: tuple[int, int] | None = None) -> Dataset:
    """Read a file or folder as a data set.

    Parameters
    ----------
    path : Path
        An IDX, npy or npz file, one image, a folder of images (subfolders are labels, or train/ and test/), or a folder
        with the four IDX files of a data set laid out as MNIST.
    size : (height, width), optional
        Resize every image to this; without it the images of a folder must share one size.
    tile : (height, width), optional
        Instead, cut every image into tiles of this size, which overlap by half; sizes may then differ.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as what its name says it is.
    """
    try:
        return _read(path, size, tile)
    except DataError as error:  # the image contract knows no file names
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error


def _read(path: Path, size: tuple[int, int] | None, tile: tuple[int, int] | None) -> Dataset:
    name, source = path.name or str(path), str(path)
    suffix = path.suffix.lower()
    if size is not None and ((path.is_file() and suffix not in IMAGE_FORMATS) or idx_file(path, IDX_NAMES["train"][0])):
        raise ParameterError(f"{path}: size is for images in files of their own; these arrays have a size.")
    if path.is_dir():
        if idx_file(path, IDX_NAMES["train"][0]):
            return Dataset(name, read_idx_pair(path, "train"), source, read_idx_pair(path, "test"))
        if (path / "train").is_dir() and (path / "test").is_dir():
            return Dataset(name, read_folder(path / "train", size, tile), source, read_folder(path / "test", size, tile))
        return Dataset(name, read_folder(path, size, tile), source)
    dataset = _read_file(path, size)
    return dataset if tile is None else dataset.tiled(tile)


def _read_file(path: Path, size: tuple[int, int] | None) -> Dataset:
    name, source = path.name or str(path), str(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder.")
    if suffix == ".npz":
        train, test = read_npz(path)
        return Dataset(name, train, source, test)
    if suffix == ".npy":
        return Dataset(name, Split(read_npy(path)), source)
    if suffix in IMAGE_FORMATS:
        return Dataset(name, Split(read_image(path, size)[None], paths=(path,)), source)
    if path.name.endswith(_IDX_SUFFIXES):
        return Dataset(name, Split(read_idx(path)), source)
    raise DataError(
        f"{path}: cannot tell what this is from its name; allowed: {', '.join(sorted(IMAGE_FORMATS))}, "
        ".npy, .npz, IDX (names that end in -ubyte, .idx or .gz), or a folder."
    )


# --- IDX -------------------------------------------------------------------------------------------------------------


def idx_file(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, plain or gzip, or None."""
    return next((file for file in (folder / name, folder / f"{name}.gz") if file.is_file()), None)


def read_idx_pair(folder: Path, part: str) -> Split:
    """Images and labels of the part "train" or "test" of an IDX data set laid out as MNIST."""
    files = []
    for name in IDX_NAMES[part]:
        file = idx_file(folder, name)
        if file is None:
            raise DataError(f"{folder}: {name} or {name}.gz is missing; a data set in IDX has four files.")
        files.append(file)
    return Split(read_idx(files[0]), read_idx(files[1]))


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


def read_npz(path: Path) -> tuple[Split, Split | None]:
    """Read the training part and, if there is one, the test part of an npz file.

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
                if info.file_size > MAX_BYTES:
                    raise DataError(f"{path}: {name} declares {info.file_size:,} bytes; the limit is {MAX_BYTES:,}.")
                with archive.open(info) as stream:
                    # A zip member may hold less than it declares: unpack what is there before the array is made.
                    content = io.BytesIO(_read_at_most(stream, info.file_size))  # type: ignore[arg-type]  # ZipExtFile reads like a file
                return _parse_npy(content, path, len(content.getbuffer()))

            def split(part: str) -> Split | None:
                for images, labels in _NPZ_NAMES[part]:
                    if images in members:
                        return Split(array(images), array(labels).reshape(-1) if labels in members else None)
                return None

            train = split("train") or split("all")
            if train is None and len(members) == 1:
                train = Split(array(next(iter(members))))
            if train is None:
                raise DataError(f"{path}: holds {', '.join(members) or 'nothing'}; name its arrays images and labels.")
            return train, split("test")
    except DataError:
        raise
    except (*BROKEN, RuntimeError) as error:  # an encrypted member, or a way of packing that zipfile does not know
        raise DataError(f"{path}: not a readable npz file ({reason_of(error)}).") from error


# --- images ----------------------------------------------------------------------------------------------------------


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read one image file, as `decode_image` does."""
    try:
        with path.open("rb") as stream:
            return decode_image(stream, str(path), size)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason_of(error)}).") from error


def decode_image(
    stream: IO[bytes], name: str, size: tuple[int, int] | None = None, most_pixels: int | None = None
) -> NDArray[np.uint8]:
    """Decode one image as uint8, (h, w) if it is grey and (h, w, 3) if it has colour.

    Turned as its EXIF says; palettes and CMYK become RGB, 1 bit becomes 0 and 255, 16 bits and floats are scaled to 8 bits,
    transparency is laid on white. Of several frames the first is read.

    Parameters
    ----------
    stream : binary file
    name : str
        What the message of an error calls it.
    size : (height, width), optional
        Resize it to this.
    most_pixels : int, optional
        Instead of `MAX_PIXELS`.

    Raises
    ------
    DataError
    """
    allowed, limit = sorted(set(IMAGE_FORMATS.values())), MAX_PIXELS if most_pixels is None else most_pixels
    try:
        with warnings.catch_warnings():
            # Pillow's limit is replaced by ours; its remarks on odd metadata would only repeat what decoding shows.
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=allowed) as image:
                width, height = image.size
                if width * height > limit:
                    raise DataError(f"{name}: {width}×{height} pixels; the limit is {limit:,}.")
                return _eight_bits(ImageOps.exif_transpose(image), size)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: not a readable image; allowed: {', '.join(allowed)}.") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, beyond ours
        raise DataError(f"{name}: more pixels than Pillow opens; the limit is {limit:,}.") from error
    except BROKEN as error:
        raise DataError(f"{name}: not a readable image ({reason_of(error)}); allowed: {', '.join(allowed)}.") from error


def _eight_bits(image: Image.Image, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, dtype=np.float32)  # exact for 16 bits; of larger numbers it is only seen that they are
        top = 1.0 if image.mode == "F" else 65535.0  # "I" is how Pillow opens 16-bit PNG files
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
            raise ValueError(f"its pixels are not within 0 and {top:g}")
        image = Image.fromarray(np.rint(values / top * 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        image = image.convert("RGB")
    if size is not None and (image.height, image.width) != size:
        image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.array(image, dtype=np.uint8)


def find_images(folder: Path) -> list[Path]:
    """All files below `folder` whose names end as an image's does, in sorted order; hidden ones are left out."""
    files = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in IMAGE_FORMATS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(f"{folder}: holds no image; looked for {', '.join(sorted(IMAGE_FORMATS))}.")
    return sorted(files)


def read_folder(folder: Path, size: tuple[int, int] | None = None, tile: tuple[int, int] | None = None) -> Split:
    """Read a folder of images that share one size, are resized to `size` or cut into tiles; the first subfolder is the label.

    Grey and coloured images together become coloured.
    """
    files = find_images(folder)
    images: list[NDArray[np.uint8]] = []
    for file in files:
        image = read_image(file, size)
        if tile is None and images and image.shape[:2] != images[0].shape[:2]:
            (h0, w0), (h, w) = images[0].shape[:2], image.shape[:2]
            raise DataError(
                f"{folder}: sizes differ, {files[0].name} is {w0}×{h0} and {file.name} is {w}×{h}; "
                "give a size to resize to (size=(height, width), or --size) or to cut tiles of (tile=, or --tile)."
            )
        images.append(image)
    if len({image.ndim for image in images}) == 2:
        warnings.warn(f"{folder}: grey and coloured images together; all are read as RGB.", HourglassWarning, stacklevel=2)
        images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    parents = [file.relative_to(folder).parts[:-1] for file in files]
    labels = np.array([parts[0] for parts in parents]) if all(parents) else None
    if tile is not None:
        return tiles_of(images, tile, labels, tuple(files))
    return Split(np.stack(images), labels, tuple(files))


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write one uint8 image, (h, w) or (h, w, c), in the format that the name ends with: beside first, then renamed."""
    with replace_file(path) as beside:
        Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(
            beside, format=IMAGE_FORMATS.get(path.suffix.lower(), "PNG")
        )


def encode_image(image: NDArray[np.uint8]) -> bytes:
    """One uint8 image, (h, w) or (h, w, c), as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(stream, format="PNG")
    return stream.getvalue()


def write_array(path: Path, array: Array) -> None:
    """Write an array as npy: beside first, then renamed."""
    with replace_file(path) as beside, beside.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write arrays by name as npz, nothing pickled: beside first, then renamed."""
    with replace_file(path) as beside, beside.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def write_table(path: Path, columns: dict[str, Array]) -> None:
    """Write columns of equal length as Parquet: beside first, then renamed. ParameterError if pyarrow is not installed."""
    pq = parquet(path)
    import pyarrow as pa

    with replace_file(path) as beside:
        pq.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), beside)


def parquet(path: Path) -> Any:
    """The module pyarrow.parquet. ParameterError if it is not installed: `path` needs it."""
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ParameterError(f'{path}: Parquet needs pyarrow: pip install "hourglass[parquet]".') from error
    return pyarrow.parquet


# --- shared ----------------------------------------------------------------------------------------------------------


def _check_declared(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The bytes that a header declares, if they are within the limit."""
    declared = math.prod(shape) * dtype.itemsize
    if declared > MAX_BYTES or any(not 0 <= side < 1 << 48 for side in shape):
        raise DataError(f"{path}: declares {declared:,} bytes; the limit is {MAX_BYTES:,}.")
    return declared


def reason_of(error: Exception) -> str:
    """The first line of what `error` says, or its name."""
    first = str(error).split("\n")[0].strip(" .")
    return first or type(error).__name__

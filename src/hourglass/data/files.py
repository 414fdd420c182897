"""The only decoder of image files, and shared helpers for reading and writing files.

Reading never executes file content: numpy files are read without unpickling, and images only in the formats of `IMAGE_FORMATS`.
Readers check every declared size against `MAX_BYTES` or `MAX_PIXELS`, and against the file, before they allocate memory.
"""

from __future__ import annotations

import io
import itertools
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hourglass.data.write import replace_file
from hourglass.errors import DataError, LimitError, ParameterError
from hourglass.images import DEEP_MODES, Array, as_plain, to_uint8, to_unit
from hourglass.notes import note, quiet

MAX_BYTES = 8 << 30
"""Largest array in one file, in bytes. May be reassigned."""
MAX_PIXELS = 64_000_000
"""Largest image, in pixels of all its pages together. May be reassigned; Pillow's own limit is 178 million."""
MAX_PAGES = 10_000
"""Largest number of pages or frames in one image file. May be reassigned."""

IMAGE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".avif": "AVIF",
    ".pgm": "PPM",
    ".ppm": "PPM",
    ".pnm": "PPM",
    ".pbm": "PPM",
}
UNREAD = (".heic", ".heif", ".jp2", ".jxl", ".psd", ".svg", ".raw", ".cr2", ".nef", ".arw", ".dng", ".exr", ".hdr", ".tga")
"""Suffixes of image formats that are not supported."""
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_DEEP_FORMATS = ("PNG", "PPM", "TIFF")  # formats that Pillow reads with more than 8 bits
ORIENTATION = 274
"""EXIF tag of the orientation."""
_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 0b101  # a TIFF tag, and its bits
BROKEN = (
    *(ValueError, EOFError, OSError, KeyError, TypeError, SyntaxError, RecursionError),
    *(OverflowError, MemoryError, IndexError, ZeroDivisionError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, tokenize.TokenError),
)
"""What decoders raise on invalid files; syntax and token errors come from numpy's headers, RuntimeError from AVIF."""


Pages = Literal["all", "first"]
T = TypeVar("T")


def read_image(path: Path, size: tuple[int, int] | None = None, white: float | None = None) -> Array:
    """Read an image file, or one page of it by a name such as ``stack.tif#1``; see `decode_image`."""
    file, page = page_of(path)
    return opened(file, lambda stream: decode_image(stream, str(path), size, white=white, page=page))


def opened(path: Path, read: Callable[[IO[bytes]], T]) -> T:
    """Return `read(stream)` of the opened file. Raises DataError if it cannot be opened."""
    try:
        with path.open("rb") as stream:
            return read(stream)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason_of(error)}).") from error


def page_of(path: Path) -> tuple[Path, int | None]:
    """Split a name such as ``stack.tif#1`` into (file, page); return (path, None) for other names."""
    stem, _, number = path.name.rpartition("#")
    if number.isdecimal() and Path(stem).suffix.lower() in IMAGE_FORMATS and not path.exists():
        return path.with_name(stem), int(number)
    return path, None


def decode_image(
    stream: IO[bytes],
    name: str,
    size: tuple[int, int] | None = None,
    most_pixels: int | None = None,
    *,
    white: float | None = None,
    page: int | None = None,
    notes: set[str] | None = None,
) -> Array:
    """Decode one image in its own depth: (h, w) for grey, (h, w, 3) for colour.

    The dtype is uint8 for up to 8 bits. Deeper images keep the file's values as uint16, int32 or float32; with `white` they
    become float32 in 0..1. The EXIF orientation is applied, palettes and CMYK become RGB, 1-bit values become 0 and 255, and
    transparent images are composited on white.

    Parameters
    ----------
    stream : binary file
    name : str
        Name of the image for error messages.
    size : (height, width), optional
        Size to resize to. Images deeper than 8 bits become float32, without rounding.
    most_pixels : int, optional
        Overrides `MAX_PIXELS`.
    white : float, optional
        The value that maps to 1 in images deeper than 8 bits.
    page : int, optional
        Page index; the first by default.
    notes : set of str, optional
        Receives a warning message for each thing that is not read, such as other pages.

    Raises
    ------
    DataError
    """

    def array(upright: Image.Image, image: Image.Image, _: int) -> Array:
        plain = as_plain(upright)
        return resized(plain, values_of(plain, format_of(image)), size)

    values = decoded_pages(stream, name, array, "first" if page is None else page, most_pixels, notes)[0]
    return values if white is None or values.dtype == np.uint8 else to_unit(values, white, name=name)


def format_of(image: Image.Image) -> str:
    """Pillow's name of the format; JPEG for MPO, a JPEG with further pictures behind it."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def is_unnamed_image(path: str | bytes) -> bool:
    """Whether a file, whose name has no suffix, begins as a PNG, JPEG, GIF, WebP or TIFF file does."""
    try:
        with open(path, "rb") as stream:
            begin = stream.read(12)
    except OSError:
        return False
    return begin.startswith(_SIGNATURES) or (begin[:4] == b"RIFF" and begin[8:] == b"WEBP")


def warn_unread(folder: str, suffixes: Counter[str]) -> None:
    """Warn how many images have suffixes in `UNREAD`, if there are any."""
    if suffixes:
        counts = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in suffixes.most_common())
        message = f"{folder}: images in unsupported formats are left out ({counts}); save them as .png or .tif."
        note(message, 3)


def holds_deep(stream: IO[bytes]) -> bool:
    """Whether the first image of a file is deeper than 8 bits, from its header; False if that cannot be read."""
    try:
        with quiet(), Image.open(stream, formats=_DEEP_FORMATS) as image:
            return image.mode in DEEP_MODES
    except (*BROKEN, Image.DecompressionBombError):
        return False


def header_of(stream: IO[bytes]) -> tuple[int, int, int]:
    """(height, width, bytes of a decoded pixel) of the first image of a file, from its header; zeros if that cannot be read."""
    width, height = _webp_size(stream)
    if width:
        return height, width, 3
    try:
        with quiet(), Image.open(stream, formats=_openable()) as image:
            return image.height, image.width, len(image.getbands()) * (4 if image.mode in DEEP_MODES else 1)
    except (*BROKEN, Image.DecompressionBombError):
        return 0, 0, 0


def values_of(plain: Image.Image, kind: str) -> Array:
    """Return the pixels of an image from `as_plain`, read from a file of format `kind`: uint8, uint16, int32 or float32."""
    values = np.array(plain)
    if plain.mode.startswith("I;16") or (plain.mode == "I" and kind in ("PNG", "PPM")):  # mode I holds 16 bits there
        return values.astype(np.uint16)
    if values.dtype == np.float32 and not np.isfinite(values).all():
        raise ValueError("its pixels are not all finite")
    return values


def resized(plain: Image.Image, values: Array, size: tuple[int, int] | None) -> Array:
    """Resize `values`, the pixels of `plain`, to `size` (Lanczos); deeper than 8 bits as float32, clipped to their range."""
    if size is None or values.shape[:2] == size:
        return values
    if values.dtype == np.uint8:
        return np.array(plain.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    smooth = np.array(Image.fromarray(values.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return np.clip(smooth, np.float32(values.min()), np.float32(values.max()), out=smooth)


def decoded_pages(
    stream: IO[bytes],
    name: str,
    convert: Callable[[Image.Image, Image.Image, int], T],
    pages: Pages | int = "first",
    most_pixels: int | None = None,
    notes: set[str] | None = None,
) -> list[T]:
    """Return `convert(upright page, page as stored, page number)` for all pages, the first, or one by number.

    Raises
    ------
    DataError
        If the file is not an image of a supported format; LimitError if it exceeds `MAX_PIXELS` over all pages or `MAX_PAGES`.
    """
    allowed, limit = sorted(set(IMAGE_FORMATS.values())), MAX_PIXELS if most_pixels is None else most_pixels
    width, height = _webp_size(stream)
    if width * height > limit:
        raise LimitError(f"{name}: {width}×{height} pixels; the limit is {limit:,}.")
    try:
        # Our limit replaces Pillow's, and its warnings on odd metadata are noise.
        with quiet(), Image.open(stream, formats=_openable()) as image:
            messages = set() if notes is None else notes
            messages |= _losses(image, stream)
            numbers = _page_numbers(image, name, pages, limit, messages)
            converted: list[T] = []
            for number in numbers:
                image.seek(number)
                image.load()
                is_rotated = image.getexif().get(ORIENTATION, 1) != 1  # exif_transpose would copy an upright image
                converted.append(convert(ImageOps.exif_transpose(image) if is_rotated else image, image, number))
            return converted
    except DataError:
        raise
    except UnidentifiedImageError as error:
        if not stream.seek(0, io.SEEK_END):
            raise DataError(f"{name}: is empty (0 bytes).") from error
        raise DataError(f"{name}: not a readable image; allowed: {', '.join(allowed)}.") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, if ours was raised above it
        raise LimitError(f"{name}: more pixels than Pillow opens; the limit is {limit:,}.") from error
    except BROKEN as error:
        raise DataError(f"{name}: not a readable image ({reason_of(error)}); allowed: {', '.join(allowed)}.") from error


def _webp_size(stream: IO[bytes]) -> tuple[int, int]:
    """(width, height) that a WebP file declares, as opening it allocates that memory; (0, 0) for other files."""
    header = stream.read(30)
    stream.seek(0)
    kind = header[12:16] if header[:4] + header[8:12] == b"RIFFWEBP" and len(header) == 30 else b""
    if kind == b"VP8X":
        return 1 + int.from_bytes(header[24:27], "little"), 1 + int.from_bytes(header[27:30], "little")
    if kind == b"VP8L":
        sizes = int.from_bytes(header[21:25], "little")
        return 1 + (sizes & 0x3FFF), 1 + (sizes >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<2H", header[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


@cache
def _openable() -> list[str]:
    """Supported formats that this build of Pillow can open; AVIF needs 11.3 or later."""
    Image.init()
    return [kind for kind in sorted(set(IMAGE_FORMATS.values())) if kind in Image.OPEN]


def _page_numbers(image: Image.Image, name: str, pages: Pages | int, limit: int, notes: set[str]) -> list[int]:
    """Return the requested page numbers, before any page is decoded. Adds messages on skipped pages to `notes`."""
    is_single = isinstance(pages, int)
    is_tiff, n_frames = image.format == "TIFF", 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    numbers: list[int] = []
    n_pixels = 0
    for number in [pages] if isinstance(pages, int) else itertools.count() if is_tiff else range(n_frames):
        if (is_tiff or is_single) and not _seek_page(image, number):
            break
        if getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK:
            notes.add("pages that TIFF marks as previews or masks are left out.")
        elif pages == "first" and numbers:
            notes.add('holds more pages than the first, which are left out; read them with pages="all" (--pages all).')
            break
        else:
            n_pixels += image.width * image.height  # all frames of an animation have this size
            if n_pixels > limit or len(numbers) == MAX_PAGES:
                if not numbers:
                    raise LimitError(f"{name}: {image.width}×{image.height} pixels; the limit is {limit:,}.")
                raise LimitError(
                    f"{name}: more than {len(numbers)} pages or {limit:,} pixels; the limit is {MAX_PAGES:,} pages and "
                    f'{limit:,} pixels in total; pages="first" reads one.'
                )
            numbers.append(number)
    if image.format == "MPO":
        notes.add("holds further pictures behind the photograph, such as a preview or gain map; these are left out.")
    if not numbers:
        raise DataError(f"{name}: has no page {pages}." if is_single else f"{name}: holds only previews or masks.")
    return numbers


def _seek_page(image: Image.Image, number: int) -> bool:
    """Move `image` to a page and return whether the page exists. An MPO file counts as one page."""
    if image.format == "MPO":
        return number == 0
    try:
        image.seek(number)
    except EOFError:
        return False
    return True


def _losses(image: Image.Image, stream: IO[bytes]) -> set[str]:
    """Return a message if a deep image loses its transparency, or if Pillow reads only 8 bits per channel of a coloured one."""
    if image.mode in DEEP_MODES and image.has_transparency_data:
        return {"its transparency is left out: values deeper than 8 bits are read without."}
    arguments = [args if isinstance(args, tuple) else (args,) for *_, args in getattr(image, "tile", [])]  # of the decoder
    is_deep = any(";16" in str(argument) for args in arguments for argument in args)
    if image.format == "PPM":
        is_deep = any(isinstance(args[-1], int) and args[-1] > 255 for args in arguments)
    if image.format == "AVIF":
        stream.seek(0)
        _, box, after = stream.read(4096).partition(b"pixi")  # version and flags, number of channels, bits per channel
        is_deep = bool(box) and after[5:6] > b"\x08"
    is_rounded = is_deep and image.mode not in DEEP_MODES
    return {"holds more than 8 bits per channel; 8 are read."} if is_rounded else set()


def in_depth(image: Array, white: float | None) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Convert an image in 0..1 for PNG: grey with a white level to uint16, where 1 becomes `white`; others to uint8.

    Warns if colour deeper than 8 bits is reduced to 8.
    """
    if white is None or image.dtype == np.uint8:
        return to_uint8(image)
    if image.ndim == 3 and image.shape[2] > 1:
        note("colour deeper than 8 bits is written with 8.")
        return to_uint8(image)
    top = min(white, np.iinfo(np.uint16).max)
    return np.rint(np.clip(image, 0, 1).astype(np.float64) * top).astype(np.uint16)


def write_image(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a uint8 image, (h, w) or (h, w, c), or a grey uint16 one, in the format of the suffix."""
    with replace_file(path) as temporary:
        Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(
            temporary, format=IMAGE_FORMATS.get(path.suffix.lower(), "PNG")
        )


def encode_image(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Encode a uint8 image, (h, w) or (h, w, c), or a grey uint16 one, as PNG."""
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(stream, format="PNG")
    return stream.getvalue()


def write_table(path: Path, columns: dict[str, Array]) -> None:
    """Write columns of equal length as Parquet, atomically. Raises ParameterError if pyarrow is not installed."""
    pq = parquet(path)
    import pyarrow as pa

    with replace_file(path) as temporary:
        pq.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), temporary)


def parquet(path: Path) -> Any:
    """Import pyarrow.parquet. Raises ParameterError, naming `path`, if it is not installed."""
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ParameterError(f"{path}: Parquet needs pyarrow: pip install pyarrow.") from error
    return pyarrow.parquet


def reason_of(error: Exception) -> str:
    """Return the first line of the message of `error`, or the name of its type."""
    first = str(error).split("\n")[0].strip(" .")
    return first or type(error).__name__

"""The only decoder of foreign image files, and what is shared by all that reads and writes files.

Nothing here executes what it reads: numpy files are read without pickled objects, images only in the formats of
`IMAGE_FORMATS`. Every size that a file declares is checked against `MAX_BYTES` or `MAX_PIXELS`, and against what is
really there, before memory is taken for it.
"""

from __future__ import annotations

import io
import itertools
import struct
import tarfile
import tokenize
import warnings
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
from hourglass.errors import DataError, HourglassWarning, ParameterError
from hourglass.images import DEEP_MODES, Array, as_plain, to_uint8, to_unit

MAX_BYTES = 8 << 30
"""The largest array that is read from one file, in bytes. Assign to it to change it."""
MAX_PIXELS = 64_000_000
"""The largest image that is decoded, in pixels, of all its pages together. Assign to it to change it; beyond 178 million Pillow
has a limit of its own."""
MAX_PAGES = 10_000
"""The most pages or frames that are read of one image file. Assign to it to change it."""

IMAGE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
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
"""Endings of images that are not read."""
_CAN_BE_DEEP = ("PNG", "PPM", "TIFF")  # as Pillow reads them
ORIENTATION = 274
"""The tag of EXIF that says how an image is turned."""
_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 0b101  # a TIFF tag, and its bits
BROKEN = (
    *(ValueError, EOFError, OSError, KeyError, TypeError, SyntaxError, RecursionError),
    *(OverflowError, MemoryError, IndexError, ZeroDivisionError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, tokenize.TokenError),
)
"""What decoders raise on broken files; syntax and token errors are numpy's, from a header, RuntimeErrors those of AVIF."""


Pages = Literal["all", "first"]
T = TypeVar("T")


def read_image(path: Path, size: tuple[int, int] | None = None, white: float | None = None) -> Array:
    """Read one image file, or one page of it by a name such as ``stack.tif#1``, as `decode_image` does."""
    file, page = page_of(path)
    return opened(file, lambda stream: decode_image(stream, str(path), size, white=white, page=page))


def opened(path: Path, read: Callable[[IO[bytes]], T]) -> T:
    """What `read` makes of the file; DataError if it cannot be opened."""
    try:
        with path.open("rb") as stream:
            return read(stream)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason_of(error)}).") from error


def page_of(path: Path) -> tuple[Path, int | None]:
    """(the file, which of its pages) of a name such as ``stack.tif#1``; of another name the path itself, and None."""
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
    """Decode one image in its own depth, (h, w) if it is grey and (h, w, 3) if it has colour.

    uint8 for up to 8 bits; uint16, int32 or float32 with the file's values for more, or with `white` float32 in 0..1. Turned
    as its EXIF says; palettes and CMYK become RGB, 1 bit becomes 0 and 255, transparency is laid on white.

    Parameters
    ----------
    stream : binary file
    name : str
        What the message of an error calls it.
    size : (height, width), optional
        Resize it to this; an image deeper than 8 bits without rounding, as float32.
    most_pixels : int, optional
        Instead of `MAX_PIXELS`.
    white : float, optional
        The value that stands for 1 if it is deeper than 8 bits.
    page : int, optional
        Which of several pages; by default the first.
    notes : set of str, optional
        Receives a sentence on what is not read, as other pages.

    Raises
    ------
    DataError
    """

    def array(turned: Image.Image, image: Image.Image, _: int) -> Array:
        plain = as_plain(turned)
        return resized(plain, values_of(plain, format_of(image)), size)

    values = decoded_pages(stream, name, array, "first" if page is None else page, most_pixels, notes)[0]
    return values if white is None or values.dtype == np.uint8 else to_unit(values, white, name=name)


def format_of(image: Image.Image) -> str:
    """As Pillow calls it, but JPEG for what holds more pictures behind a photograph."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def say_unread(folder: str, endings: Counter[str]) -> None:
    """Say in one line how many images of which `UNREAD` endings are left out, if any are."""
    if endings:
        kinds = ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
        words = f"{folder}: images in formats that are not read are left out ({kinds}); save them as PNG or TIFF."
        warnings.warn(words, HourglassWarning, stacklevel=3)


def holds_deep(stream: IO[bytes]) -> bool:
    """Whether the image file's header says that its first image is deeper than 8 bits; False if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=_CAN_BE_DEEP) as image:
                return image.mode in DEEP_MODES
    except (*BROKEN, Image.DecompressionBombError):
        return False


def values_of(plain: Image.Image, kind: str) -> Array:
    """The pixels of an image that `as_plain` made, from a file of format `kind`: uint8, uint16, int32 or float32."""
    values = np.array(plain)
    if plain.mode.startswith("I;16") or (plain.mode == "I" and kind in ("PNG", "PPM")):  # "I": 16 bits, of those two
        return values.astype(np.uint16)
    if values.dtype == np.float32 and not np.isfinite(values).all():
        raise ValueError("its pixels are not all finite")
    return values


def resized(plain: Image.Image, values: Array, size: tuple[int, int] | None) -> Array:
    """`values`, the pixels of `plain`, at `size`: Lanczos; deeper than 8 bits as float32 within the range that they had."""
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
    """What `convert` makes of (the page turned, as the file has it, its number), for all `pages`, the first, or one by number.

    Raises
    ------
    DataError
        If it is no image of an allowed format, or its pages are together more than `MAX_PIXELS` or more than `MAX_PAGES`.
    """
    allowed, limit = sorted(set(IMAGE_FORMATS.values())), MAX_PIXELS if most_pixels is None else most_pixels
    width, height = _webp_size(stream)
    if width * height > limit:
        raise DataError(f"{name}: {width}×{height} pixels; the limit is {limit:,}.")
    try:
        with warnings.catch_warnings():
            # Pillow's limit is replaced by ours; its remarks on odd metadata would only repeat what decoding shows.
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=_openable()) as image:
                left_out = set() if notes is None else notes
                left_out |= _colours_rounded(image, stream)
                numbers = _page_numbers(image, name, pages, limit, left_out)
                found: list[T] = []
                for number in numbers:
                    image.seek(number)
                    image.load()
                    is_turned = image.getexif().get(ORIENTATION, 1) != 1  # if it is not, a copy of it would only cost memory
                    found.append(convert(ImageOps.exif_transpose(image) if is_turned else image, image, number))
                return found
    except DataError:
        raise
    except UnidentifiedImageError as error:
        if not stream.seek(0, io.SEEK_END):
            raise DataError(f"{name}: is empty (0 bytes).") from error
        raise DataError(f"{name}: not a readable image; allowed: {', '.join(allowed)}.") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, beyond ours
        raise DataError(f"{name}: more pixels than Pillow opens; the limit is {limit:,}.") from error
    except BROKEN as error:
        raise DataError(f"{name}: not a readable image ({reason_of(error)}); allowed: {', '.join(allowed)}.") from error


def _webp_size(stream: IO[bytes]) -> tuple[int, int]:
    """(width, height) that a WebP file declares, for which opening it takes memory; of another file (0, 0)."""
    head = stream.read(30)
    stream.seek(0)
    kind = head[12:16] if head[:4] + head[8:12] == b"RIFFWEBP" and len(head) == 30 else b""
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        sizes = int.from_bytes(head[21:25], "little")
        return 1 + (sizes & 0x3FFF), 1 + (sizes >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<2H", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


@cache
def _openable() -> list[str]:
    """The allowed formats that this build of Pillow knows: AVIF is one from 11.3 on."""
    Image.init()
    return [kind for kind in sorted(set(IMAGE_FORMATS.values())) if kind in Image.OPEN]


def _page_numbers(image: Image.Image, name: str, pages: Pages | int, limit: int, notes: set[str]) -> list[int]:
    """The numbers of the wanted pages, found before the first is decoded. Adds to `notes` what is passed over."""
    one = isinstance(pages, int)
    is_tiff, n_frames = image.format == "TIFF", 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    numbers: list[int] = []
    n_pixels = 0
    for number in [pages] if isinstance(pages, int) else itertools.count() if is_tiff else range(n_frames):
        if (is_tiff or one) and not _stands_on(image, number):
            break
        if getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK:
            notes.add("its previews and masks are left out: pages that TIFF marks as no images of their own.")
        elif pages == "first" and numbers:
            notes.add('holds more pages than the first, which alone is read (pages="all", on the command line --pages all).')
            break
        else:
            n_pixels += image.width * image.height  # the frames of an animation are all as large
            if n_pixels > limit or len(numbers) == MAX_PAGES:
                if not numbers:
                    raise DataError(f"{name}: {image.width}×{image.height} pixels; the limit is {limit:,}.")
                raise DataError(
                    f"{name}: more than {len(numbers)} pages or {limit:,} pixels; the limit is {MAX_PAGES:,} pages, {limit:,} "
                    'pixels together; pages="first" reads one.'
                )
            numbers.append(number)
    if image.format == "MPO":
        notes.add("holds more pictures behind the photograph, as a preview, a gain map or its stereo half; these are left out.")
    if not numbers:
        raise DataError(f"{name}: has no page {pages}." if one else f"{name}: holds only previews or masks.")
    return numbers


def _stands_on(image: Image.Image, number: int) -> bool:
    """Whether there is a page of this number, on which `image` then stands; a photograph has one."""
    if image.format == "MPO":
        return number == 0
    try:
        image.seek(number)
    except EOFError:
        return False
    return True


def _colours_rounded(image: Image.Image, stream: IO[bytes]) -> set[str]:
    """A note, if Pillow reads 8 bits of each colour where there are more."""
    arguments = [args if isinstance(args, tuple) else (args,) for *_, args in getattr(image, "tile", [])]  # of the decoder
    deeper = any(";16" in str(argument) for args in arguments for argument in args)
    if image.format == "PPM":
        deeper = any(isinstance(args[-1], int) and args[-1] > 255 for args in arguments)
    if image.format == "AVIF":
        stream.seek(0)
        _, box, after = stream.read(4096).partition(b"pixi")  # version and flags, how many channels, the bits of each
        deeper = bool(box) and after[5:6] > b"\x08"
    is_rounded = deeper and image.mode not in DEEP_MODES
    return {"holds more than 8 bits a colour; 8 are read."} if is_rounded else set()


def in_depth(image: Array, white: float | None) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """An image in 0..1 as PNG holds it: grey of more than 8 bits as uint16, in which 1 is `white`, or else as uint8.

    A HourglassWarning says so, where colour of more than 8 bits becomes one of 8.
    """
    if white is None or image.dtype == np.uint8:
        return to_uint8(image)
    if image.ndim == 3 and image.shape[2] > 1:
        warnings.warn("colour of more than 8 bits is written with 8.", HourglassWarning, stacklevel=2)
        return to_uint8(image)
    top = min(white, np.iinfo(np.uint16).max)
    return np.rint(np.clip(image, 0, 1).astype(np.float64) * top).astype(np.uint16)


def write_image(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write one uint8 image, (h, w) or (h, w, c), or a grey uint16 one, in the format that the name ends with."""
    with replace_file(path) as beside:
        Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(
            beside, format=IMAGE_FORMATS.get(path.suffix.lower(), "PNG")
        )


def encode_image(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """One uint8 image, (h, w) or (h, w, c), or a grey uint16 one, as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(stream, format="PNG")
    return stream.getvalue()


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


def reason_of(error: Exception) -> str:
    """The first line of what `error` says, or its name."""
    first = str(error).split("\n")[0].strip(" .")
    return first or type(error).__name__

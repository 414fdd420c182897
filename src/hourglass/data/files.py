"""The only decoder of foreign image files, and what is shared by all that reads and writes files.

Nothing here executes what it reads: numpy files are read without pickled objects, images only in the formats of
`IMAGE_FORMATS`. Every size that a file declares is checked against `MAX_BYTES` or `MAX_PIXELS`, and against what is
really there, before memory is taken for it.
"""

from __future__ import annotations

import io
import struct
import tarfile
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hourglass.data.write import replace_file
from hourglass.errors import DataError, ParameterError
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
BROKEN = (
    *(ValueError, EOFError, OSError, KeyError, TypeError, SyntaxError, RecursionError),
    *(OverflowError, MemoryError, IndexError, ZeroDivisionError, AttributeError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, tokenize.TokenError),
)
"""What the decoders raise on broken files; the syntax and token errors are numpy's, from a broken header."""


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

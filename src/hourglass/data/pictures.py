"""Reading image files with their metadata, and writing processed images back in the same depth, colour and format."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.data.depth import are_units, near_black, white_of
from hourglass.data.files import (
    BROKEN,
    IMAGE_FORMATS,
    ORIENTATION,
    Pages,
    decoded_pages,
    format_of,
    holds_deep,
    opened,
    page_of,
    reason_of,
    resized,
    values_of,
)
from hourglass.data.write import replace_file
from hourglass.errors import DataError
from hourglass.images import ROUNDING, Array, Float32, as_plain, to_float, to_uint8, to_unit
from hourglass.notes import note, quiet

QUALITY = 98
"""Default quality of JPEG and AVIF, with full chroma resolution: 46 dB PSNR, while a good restoration reaches 30 to 35 dB."""
LOSSY = ("JPEG", "WEBP", "AVIF")
"""Formats that have a quality; without one, WebP is lossless."""
_MULTI_PAGE = ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
_ALPHA = ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
_METADATA_FORMATS = {  # metadata, and the formats that can store it
    "icc_profile": ("TIFF", "WEBP", "PNG", "AVIF", "JPEG"),
    "exif": ("TIFF", "WEBP", "PNG", "AVIF", "JPEG"),
    "dpi": ("TIFF", "PNG", "JPEG", "BMP"),
}
_DEPTHS = {"uint16": ("PNG", "TIFF", "PPM"), "int32": ("TIFF",), "float32": ("TIFF",)}
_LOSSLESS_TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd", "lzma")
_EXIF_IFD, _GPS_IFD, _EXIF_SIZE_TAGS = 0x8769, 0x8825, (0xA002, 0xA003)
# TIFF tags that describe the storage of the pixels and do not apply to a new file; resolution and profile are kept separately.
_STORAGE_TAGS = (*range(254, 270), *range(273, 285), 284, 292, 293, 296, 297, *range(317, 348), *range(512, 533), 700, 34675)


@dataclass(frozen=True)
class Picture:
    """One image of a file with its metadata.

    Attributes
    ----------
    values : ndarray (h, w) or (h, w, 3)
        uint8; for files deeper than 8 bits, uint16, int32 or float32 with the file's values, or float32 if resized.
    name : str
        The file name, with a page number if there are several pages: ``stack.tif#0``.
    format, mode : str
        Pillow's names, such as "TIFF" and "I;16".
    depth : str
        The dtype of `values` before resizing.
    largest : float
        The largest value before resizing.
    alpha : ndarray (h, w), uint8, or None
        The alpha channel of a transparent image that was not resized; `values` is composited on white.
    about : dict
        Metadata to write back: icc_profile, exif (without orientation), dpi, compression, duration, loop. The entry "dropped"
        lists the names of metadata that is not kept.
    """

    values: Array
    name: str
    format: str
    mode: str
    depth: str
    largest: float
    alpha: NDArray[np.uint8] | None
    about: dict[str, Any]

    @property
    def is_deep(self) -> bool:
        """Whether it is deeper than 8 bits, and so needs a white level."""
        return self.depth != "uint8"


def read_pictures(path: Path, size: tuple[int, int] | None = None, pages: Pages = "all") -> list[Picture]:
    """Read the images of a file: the pages of a TIFF, the frames of an animation, or only the first of them.

    Warns about content that is not read.

    Raises
    ------
    DataError
        As `decode_image`, for values below 0, and if the pages exceed `files.MAX_PIXELS` in total or `files.MAX_PAGES`.
    """
    file, page = page_of(path)
    notes: set[str] = set()
    chosen = pages if page is None else page
    pictures = opened(file, lambda stream: _pictures(stream, str(path), size, chosen, None, notes))
    expected = IMAGE_FORMATS.get(file.suffix.lower())
    if expected is not None and expected != pictures[0].format:
        suffix = next(suffix for suffix, kind in IMAGE_FORMATS.items() if kind == pictures[0].format)
        notes.add(f"is a {pictures[0].format} file, and read as one; rename it to {file.stem}{suffix}.")
    for message in sorted(notes):
        note(f"{path}: {message}")
    return pictures


def decode_pictures(
    content: bytes,
    name: str,
    size: tuple[int, int] | None = None,
    pages: Pages = "all",
    most_pixels: int | None = None,
) -> list[Picture]:
    """As `read_pictures`, of the `content` of a file; `name` begins messages, `most_pixels` overrides `MAX_PIXELS`."""
    notes: set[str] = set()
    pictures = _pictures(io.BytesIO(content), name, size, pages, most_pixels, notes)
    for message in sorted(notes):
        note(f"{name}: {message}")
    return pictures


def _pictures(
    stream: IO[bytes], name: str, size: tuple[int, int] | None, pages: Pages | int, most_pixels: int | None, notes: set[str]
) -> list[Picture]:
    def picture(upright: Image.Image, image: Image.Image, number: int) -> Picture:
        plain = as_plain(upright)
        values = values_of(plain, format_of(image))
        if values.dtype != np.uint8 and (low := float(values.min())) < -ROUNDING * max(1.0, float(values.max())):
            raise DataError(f"{name}: has values from {low:g} to {values.max():g}; allowed: 0 to a white level.")
        has_alpha = upright.has_transparency_data and values.dtype == np.uint8 and size is None
        return Picture(
            resized(plain, values, size),
            f"{name}#{number}",
            format_of(image),
            upright.mode,
            values.dtype.name,
            float(values.max()),
            _alpha(upright) if has_alpha else None,
            _metadata(image),
        )

    pictures = decoded_pages(stream, name, picture, pages, most_pixels, notes)
    if len(pictures) == 1:
        return [dataclasses.replace(pictures[0], name=name)]
    if len({one.values.ndim for one in pictures}) > 1:  # frames of an animation, some of them grey
        coloured = [one.values if one.values.ndim == 3 else np.repeat(one.values[..., None], 3, axis=2) for one in pictures]
        pictures = [dataclasses.replace(one, values=values) for one, values in zip(pictures, coloured, strict=True)]
    return pictures


def _alpha(image: Image.Image) -> NDArray[np.uint8]:
    return np.array((image if image.mode in ("RGBA", "LA") else image.convert("RGBA")).getchannel("A"))


def _metadata(image: Image.Image) -> dict[str, Any]:
    kept = {
        name: image.info[name] for name in ("icc_profile", "dpi", "compression", "duration", "loop") if image.info.get(name)
    }
    if max(kept.get("dpi", (1,))) <= 1:  # Pillow's value for a TIFF file without a resolution
        kept.pop("dpi", None)
    if exif := _exif(image):
        kept["exif"] = exif
    dropped = {
        "XMP": any(name in image.info for name in ("xmp", "XML:com.adobe.xmp")),
        "text": any(name != "XML:com.adobe.xmp" for name in getattr(image, "text", {})),
        "comment": "comment" in image.info,
    }
    return kept | ({"dropped": names} if (names := [name for name, is_present in dropped.items() if is_present]) else {})


def _exif(image: Image.Image) -> bytes:
    """Return the EXIF data without tags that do not apply to a new file: orientation, size, storage."""
    exif = image.getexif()
    for tag in (ORIENTATION, *_STORAGE_TAGS):
        if tag in exif:
            del exif[tag]
    for tag in _EXIF_SIZE_TAGS:
        exif.get_ifd(_EXIF_IFD).pop(tag, None)
    return exif.tobytes() if exif or exif.get_ifd(_EXIF_IFD) or exif.get_ifd(_GPS_IFD) else b""


def common_white(pictures: Sequence[Picture], name: str, white: float | None = None) -> float | None:
    """Return the common white level of pictures deeper than 8 bits: `white`, or inferred with a warning; None without any."""
    deep = [(picture.largest, picture.depth != "float32") for picture in pictures if picture.is_deep]
    return white_of(deep, name, white) if deep else None


def largest_values(path: Path, pages: Pages = "all") -> list[tuple[float, bool]]:
    """Return (largest value, whether it is an integer) of each image deeper than 8 bits; empty if the file is unreadable."""
    try:
        if not opened(path, holds_deep):
            return []
        with quiet():  # issued again when the images are read
            pictures = read_pictures(path, pages=pages)
    except DataError:  # raised again when the images are read
        return []
    return [(picture.largest, picture.depth != "float32") for picture in pictures if picture.is_deep]


def white_levels(files: Sequence[Path], name: str, white: float | None = None, pages: Pages = "all") -> dict[str, float]:
    """White levels of the images of `files` that are deeper than 8 bits, the same for all, by dtype: uint16, int32, float32.

    That is `white`, or one inferred from all of them with a HourglassWarning; floats that are all up to 1 have 1. Empty if no
    image is deeper.
    """
    deep = [found for file in files for found in largest_values(file, pages)]
    have_units = are_units(deep)
    counted = [(value, is_integer) for value, is_integer in deep if is_integer or not have_units]
    whites = dict.fromkeys(("uint16", "int32", "float32"), white_of(counted, name, white)) if counted else {}
    return whites | ({"float32": 1.0} if have_units else {})


def in_unit(picture: Picture, white: float | None) -> Array:
    """Return the values for a model: uint8, or float32 in 0..1 if the picture is deeper than 8 bits.

    Notes floats up to 1 at a larger white level, as they become near black.
    """
    if not picture.is_deep:
        return picture.values
    level = white or 1.0
    if message := near_black(picture.largest, level, is_integer=picture.depth != "float32"):
        note(f"{picture.name}: {message}")
    return to_unit(picture.values, level, name=picture.name)


def sized(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture at `size` (height, width), as if it had been read at it."""
    if picture.values.shape[:2] == size:
        return picture
    values = resized(Image.fromarray(picture.values), picture.values, size)
    return dataclasses.replace(picture, values=values, alpha=None)


# --- writing back ------------------------------------------------------------------------------------------------------


def write_pictures(
    path: Path,
    pictures: Sequence[Picture],
    images: Sequence[Array],
    *,
    white: float | None = None,
    quality: int | None = None,
) -> None:
    """Write processed images with the depth, colour mode and metadata of the `pictures` of one file, atomically.

    Parameters
    ----------
    path : Path
        Its suffix selects the format.
    pictures : sequence of Picture
    images : sequence of ndarray (h, w) or (h, w, 3), float in 0..1 or uint8
        The processed images, of any size.
    white : float, optional
        The value that 1 maps to in files deeper than 8 bits.
    quality : int, optional
        Quality of JPEG, WebP and AVIF, 1..100. By default 98, and lossless for WebP.

    Raises
    ------
    DataError
        If the format cannot store the images.

    Warns
    -----
    HourglassWarning
        If the format cannot keep the depth, the colours, the transparency or some metadata.
    """
    kind = IMAGE_FORMATS.get(path.suffix.lower(), "PNG")
    with replace_file(path) as temporary, temporary.open("w+b") as stream:
        notes = _write(stream, kind, pictures, images, white, quality)
    for message in notes:
        note(f"{path}: {message}")


def encode_pictures(
    kind: str,
    pictures: Sequence[Picture],
    images: Sequence[Array],
    *,
    white: float | None = None,
    quality: int | None = None,
) -> bytes:
    """The content of a file of the format `kind`, Pillow's name, with processed images; as `write_pictures`."""
    stream = io.BytesIO()
    for message in _write(stream, kind, pictures, images, white, quality):
        note(f"{pictures[0].name}: {message}")
    return stream.getvalue()


def _write(
    stream: IO[bytes], kind: str, pictures: Sequence[Picture], images: Sequence[Array], white: float | None, quality: int | None
) -> list[str]:
    """Write processed images of the format `kind`, and return messages on what it cannot keep."""
    if len(pictures) > 1 and kind not in _MULTI_PAGE:
        raise DataError(
            f"{pictures[0].name}: the file has {len(pictures)} pages, but {kind} holds one; write TIFF, or read the first page."
        )
    notes: set[str] = set()
    encoded = [_to_pillow(picture, image, white, kind, notes) for picture, image in zip(pictures, images, strict=True)]
    options = _options(pictures[0], kind, quality, notes)
    if len(encoded) > 1:
        options |= {"save_all": True, "append_images": encoded[1:]} | _timing(pictures)
    try:
        encoded[0].save(stream, format=kind, **options)
    except BROKEN as error:
        if getattr(error, "errno", None) is not None:  # an error of the disk
            raise
        raise DataError(f"{pictures[0].name}: cannot be written as {kind} ({reason_of(error)}).") from error
    return sorted(notes)


def _to_pillow(picture: Picture, image: Array, white: float | None, kind: str, notes: set[str]) -> Image.Image:
    """Convert an image for writing; add messages on lost information to `notes`."""
    if picture.is_deep and kind in _DEPTHS[picture.depth]:
        return _deep(picture, to_float(image), white or 1.0)
    if picture.is_deep:
        notes.add(f"{kind} cannot store {picture.depth}; 8 bits are written.")
    if kind == "GIF" and image.ndim == 3 and Image.fromarray(to_uint8(image)).getcolors(256) is None:
        notes.add("GIF stores 256 colours; others are replaced by the nearest. --format png or webp keeps all.")
    if picture.mode == "1":
        notes.add("a 1-bit image is written with 8 bits.")
    if picture.mode in ("CMYK", "LAB"):
        notes.add(f"{picture.mode} is written as RGB.")
    if picture.alpha is None:
        return Image.fromarray(to_uint8(image))
    if kind not in _ALPHA:
        notes.add(f"{kind} cannot store transparency; the image is composited on white.")
        return Image.fromarray(to_uint8(image))
    return _transparent(picture, to_float(image))


def _deep(picture: Picture, image: Float32, white: float) -> Image.Image:
    if picture.depth == "float32":
        return Image.fromarray(image * np.float32(white))
    dtype = np.dtype(picture.depth)
    values = np.rint(image.astype(np.float64) * white)
    return Image.fromarray(np.clip(values, 0, np.iinfo(dtype).max).astype(dtype))


def _transparent(picture: Picture, image: Float32) -> Image.Image:
    """Undo the compositing on white and attach the alpha channel, so that the result on white equals `image`."""
    assert picture.alpha is not None
    height, width = image.shape[:2]
    alpha = Image.fromarray(picture.alpha)
    if alpha.size != (width, height):
        alpha = alpha.resize((width, height), Image.Resampling.LANCZOS)
    opacity = np.asarray(alpha, dtype=np.float32)[..., None] / 255
    colour = np.where(opacity > 0, 1 - (1 - image) / np.maximum(opacity, 1 / 255), 1)
    transparent = Image.fromarray(to_uint8(colour))
    if picture.mode in ("L", "LA", "La", "1"):
        transparent = transparent.convert("L")
    transparent.putalpha(alpha)
    return transparent


def _options(picture: Picture, kind: str, quality: int | None, notes: set[str]) -> dict[str, Any]:
    """Return Pillow's options for saving, including the metadata."""
    options: dict[str, Any] = {}
    if "dropped" in picture.about:
        notes.add(f"its {' and '.join(picture.about['dropped'])} is left out.")
    for name, formats in _METADATA_FORMATS.items():
        if name not in picture.about:
            continue
        if name == "icc_profile" and picture.mode in ("CMYK", "LAB"):
            notes.add(f"its {picture.mode} profile is left out.")
        elif kind in formats:
            options[name] = picture.about[name]
        else:
            notes.add(f"{kind} cannot store {name}; it is left out.")
    if kind in ("JPEG", "AVIF"):
        sampling = 0 if kind == "JPEG" else "4:4:4" if picture.values.ndim == 3 else "4:0:0"
        options |= {"quality": QUALITY if quality is None else quality, "subsampling": sampling}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality, "exact": True}
    elif kind == "TIFF":
        options["compression"] = _tiff_compression(picture)
    return options


def _tiff_compression(picture: Picture) -> str | None:
    original = picture.about.get("compression") if picture.format == "TIFF" else None
    return original if original in _LOSSLESS_TIFF or original is None else "tiff_adobe_deflate"


def _timing(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return frame durations and loop count of an animation."""
    durations = [picture.about.get("duration") for picture in pictures]
    timing: dict[str, Any] = {"duration": [round(one or 0) for one in durations]} if any(durations) else {}
    return timing | ({"loop": pictures[0].about["loop"]} if "loop" in pictures[0].about else {})

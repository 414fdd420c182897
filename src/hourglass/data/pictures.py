"""Image files whose images are changed and written back in the depth, colour and format that they came in."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.data.depth import white_of
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
from hourglass.errors import DataError, HourglassWarning
from hourglass.images import Array, Float32, as_plain, to_float, to_uint8, to_unit

QUALITY = 98
"""Of JPEG and AVIF, with colour at full resolution: 46 dB from what is written, where a good restoration is at 30 to 35 dB."""
LOSSY = ("JPEG", "WEBP", "AVIF")
"""Formats that have a quality. Without one WebP is written without loss."""
_MANY_PAGES = ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
_ALPHA = ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
_KEEPS = {  # what is known of an image, and the formats that take it up
    "icc_profile": ("TIFF", "WEBP", "PNG", "AVIF", "JPEG"),
    "exif": ("TIFF", "WEBP", "PNG", "AVIF", "JPEG"),
    "dpi": ("TIFF", "PNG", "JPEG", "BMP"),
}
_DEPTHS = {"uint16": ("PNG", "TIFF", "PPM"), "int32": ("TIFF",), "float32": ("TIFF",)}
_LOSSLESS_TIFF = ("raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd", "lzma")
_EXIF_IFD, _GPS_IFD, _SIDES_IN_EXIF = 0x8769, 0x8825, (0xA002, 0xA003)
# TIFF tags on how the pixels lie in the file, which another file has of its own; resolution and profile are kept apart.
_OF_THE_FILE = (*range(254, 270), *range(273, 285), 284, 292, 293, 296, 297, *range(317, 348), *range(512, 533), 700, 34675)


@dataclass(frozen=True)
class Picture:
    """One image of a file, and what else the file says of it.

    Attributes
    ----------
    values : ndarray (h, w) or (h, w, 3)
        uint8; or uint16, int32 or float32 with the file's values, where it holds more than 8 bits. float32 if resized.
    name : str
        The file, and of several pages which: ``stack.tif#0``.
    format, mode : str
        As Pillow calls them: "TIFF", "I;16".
    depth : str
        The dtype of `values` before they were resized.
    largest : float
        Of the values before they were resized.
    alpha : ndarray (h, w), uint8, or None
        Of a transparent image that was not resized; `values` holds it on white.
    about : dict
        What is kept when it is written back: icc_profile, exif (without its turn), dpi, compression, duration, loop. And
        what is not: dropped, a list of words.
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
        """Whether it holds more than 8 bits, and so needs a white level."""
        return self.depth != "uint8"


def read_pictures(path: Path, size: tuple[int, int] | None = None, pages: Pages = "all") -> list[Picture]:
    """Read the images of a file: the pages of a TIFF, the frames of an animation, or the first of them alone.

    A HourglassWarning says what is not read.

    Raises
    ------
    DataError
        As `decode_image`; and if the pages are together more than `files.MAX_PIXELS` pixels, or more than `files.MAX_PAGES`.
    """
    file, page = page_of(path)
    notes: set[str] = set()

    def picture(turned: Image.Image, image: Image.Image, number: int) -> Picture:
        plain = as_plain(turned)
        values = values_of(plain, format_of(image))
        is_transparent = turned.has_transparency_data and values.dtype == np.uint8 and size is None  # else none writes it back
        return Picture(
            resized(plain, values, size),
            f"{path}#{number}",
            format_of(image),
            turned.mode,
            values.dtype.name,
            float(values.max()),
            _alpha(turned) if is_transparent else None,
            _about(image),
        )

    wanted = pages if page is None else page
    found = opened(file, lambda stream: decoded_pages(stream, str(path), picture, wanted, notes=notes))
    known = IMAGE_FORMATS.get(file.suffix.lower())
    if known is not None and known != found[0].format:
        ending = next(ending for ending, kind in IMAGE_FORMATS.items() if kind == found[0].format)
        notes.add(f"is a {found[0].format} file, and read as one; rename it to {file.stem}{ending}.")
    for note in sorted(notes):
        warnings.warn(f"{path}: {note}", HourglassWarning, stacklevel=2)
    if len(found) == 1:
        return [dataclasses.replace(found[0], name=str(path))]
    if len({one.values.ndim for one in found}) > 1:  # frames of an animation, some of them without colour
        coloured = [one.values if one.values.ndim == 3 else np.repeat(one.values[..., None], 3, axis=2) for one in found]
        found = [dataclasses.replace(one, values=values) for one, values in zip(found, coloured, strict=True)]
    return found


def _alpha(image: Image.Image) -> NDArray[np.uint8]:
    return np.array((image if image.mode in ("RGBA", "LA") else image.convert("RGBA")).getchannel("A"))


def _about(image: Image.Image) -> dict[str, Any]:
    kept = {
        name: image.info[name] for name in ("icc_profile", "dpi", "compression", "duration", "loop") if image.info.get(name)
    }
    if max(kept.get("dpi", (1,))) <= 1:  # what Pillow says of a TIFF file that says nothing
        kept.pop("dpi", None)
    if exif := _exif(image):
        kept["exif"] = exif
    dropped = {
        "XMP": any(name in image.info for name in ("xmp", "XML:com.adobe.xmp")),
        "text": any(name != "XML:com.adobe.xmp" for name in getattr(image, "text", {})),
        "comment": "comment" in image.info,
    }
    return kept | ({"dropped": words} if (words := [name for name, is_there in dropped.items() if is_there]) else {})


def _exif(image: Image.Image) -> bytes:
    """The image's EXIF without what no longer holds when it is written: its turn, its size, how its pixels lie."""
    exif = image.getexif()
    for tag in (ORIENTATION, *_OF_THE_FILE):
        if tag in exif:
            del exif[tag]
    for tag in _SIDES_IN_EXIF:
        exif.get_ifd(_EXIF_IFD).pop(tag, None)
    return exif.tobytes() if exif or exif.get_ifd(_EXIF_IFD) or exif.get_ifd(_GPS_IFD) else b""


def common_white(pictures: Sequence[Picture], name: str, white: float | None = None) -> float | None:
    """What stands for 1 in all `pictures` that are deeper than 8 bits: `white`, or found, with a note; None if none is."""
    deep = [(picture.largest, picture.depth != "float32") for picture in pictures if picture.is_deep]
    return white_of(deep, name, white) if deep else None


def largest_values(path: Path, pages: Pages = "all") -> list[tuple[float, bool]]:
    """Of a file deeper than 8 bits, each image's largest value, and whether it is an integer; else, or if unreadable, none."""
    try:
        if not opened(path, holds_deep):
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HourglassWarning)  # given when its images are read
            pictures = read_pictures(path, pages=pages)
    except DataError:  # raised when its images are read
        return []
    return [(picture.largest, picture.depth != "float32") for picture in pictures if picture.is_deep]


def in_unit(picture: Picture, white: float | None) -> Array:
    """Its values as models take them: uint8, or float32 in 0..1 if it is deeper than 8 bits."""
    return to_unit(picture.values, white or 1.0, name=picture.name) if picture.is_deep else picture.values


# --- written back ------------------------------------------------------------------------------------------------------


def write_pictures(
    path: Path,
    pictures: Sequence[Picture],
    images: Sequence[Array],
    *,
    white: float | None = None,
    quality: int | None = None,
) -> None:
    """Write what became of the `pictures` of one file, in their depth, colour mode and profile: beside first, then renamed.

    Parameters
    ----------
    path : Path
        Its ending names the format.
    pictures : sequence of Picture
    images : sequence of ndarray (h, w) or (h, w, 3), float in 0..1 or uint8
        Of any size.
    white : float, optional
        What 1 is written as where the file holds more than 8 bits.
    quality : int, optional
        1..100, of JPEG, WebP and AVIF. By default 98, and WebP without loss.

    Raises
    ------
    DataError
        If the format cannot hold them.

    Notes
    -----
    A HourglassWarning says what the format cannot keep.
    """
    kind = IMAGE_FORMATS.get(path.suffix.lower(), "PNG")
    if len(pictures) > 1 and kind not in _MANY_PAGES:
        raise DataError(
            f"{pictures[0].name}: one of {len(pictures)} pages, of which {kind} holds one; write TIFF, or read the first."
        )
    notes: set[str] = set()
    made = [_made(picture, image, white, kind, notes) for picture, image in zip(pictures, images, strict=True)]
    options = _options(pictures[0], kind, quality, notes)
    if len(made) > 1:
        options |= {"save_all": True, "append_images": made[1:]} | _timing(pictures)
    try:
        with replace_file(path) as beside:
            made[0].save(beside, format=kind, **options)
    except BROKEN as error:
        if getattr(error, "errno", None) is not None:  # of the disk
            raise
        raise DataError(f"{pictures[0].name}: cannot be written as {kind} ({reason_of(error)}).") from error
    for note in sorted(notes):
        warnings.warn(f"{path}: {note}", HourglassWarning, stacklevel=2)


def _made(picture: Picture, image: Array, white: float | None, kind: str, notes: set[str]) -> Image.Image:
    """What is written of one image; adds to `notes` what cannot be."""
    if picture.is_deep and kind in _DEPTHS[picture.depth]:
        return _deep(picture, to_float(image), white or 1.0)
    if picture.is_deep:
        notes.add(f"{kind} holds no {picture.depth}; 8 bits are written.")
    if kind == "GIF" and image.ndim == 3 and Image.fromarray(to_uint8(image)).getcolors(256) is None:
        notes.add("GIF holds 256 colours, of which the nearest are written; --format png or webp keeps all.")
    if picture.mode in ("CMYK", "1"):
        notes.add(f"{picture.mode} is written as {'RGB' if picture.mode == 'CMYK' else '8 bits'}.")
    if picture.alpha is None:
        return Image.fromarray(to_uint8(image))
    if kind not in _ALPHA:
        notes.add(f"{kind} holds no transparency; it is laid on white.")
        return Image.fromarray(to_uint8(image))
    return _transparent(picture, to_float(image))


def _deep(picture: Picture, image: Float32, white: float) -> Image.Image:
    if picture.depth == "float32":
        return Image.fromarray(image * np.float32(white))
    dtype = np.dtype(picture.depth)
    values = np.rint(image.astype(np.float64) * white)
    return Image.fromarray(np.clip(values, 0, np.iinfo(dtype).max).astype(dtype))


def _transparent(picture: Picture, image: Float32) -> Image.Image:
    """The image taken off the white that it was laid on, so that it looks there as it was made, with its own alpha."""
    assert picture.alpha is not None
    height, width = image.shape[:2]
    alpha = Image.fromarray(picture.alpha)
    if alpha.size != (width, height):
        alpha = alpha.resize((width, height), Image.Resampling.LANCZOS)
    share = np.asarray(alpha, dtype=np.float32)[..., None] / 255
    colour = np.where(share > 0, 1 - (1 - image) / np.maximum(share, 1 / 255), 1)
    made = Image.fromarray(to_uint8(colour))
    if picture.mode in ("L", "LA", "La", "1"):
        made = made.convert("L")
    made.putalpha(alpha)
    return made


def _options(picture: Picture, kind: str, quality: int | None, notes: set[str]) -> dict[str, Any]:
    """How Pillow is to write the file, with what is known of the image."""
    options: dict[str, Any] = {}
    if "dropped" in picture.about:
        notes.add(f"its {' and '.join(picture.about['dropped'])} is left out.")
    for name, takers in _KEEPS.items():
        if name not in picture.about:
            continue
        if name == "icc_profile" and picture.mode == "CMYK":
            notes.add("its profile is of CMYK, and left out.")
        elif kind in takers:
            options[name] = picture.about[name]
        else:
            notes.add(f"{kind} holds no {name}; it is left out.")
    if kind in ("JPEG", "AVIF"):
        sampling = 0 if kind == "JPEG" else "4:4:4" if picture.values.ndim == 3 else "4:0:0"
        options |= {"quality": QUALITY if quality is None else quality, "subsampling": sampling}
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality, "exact": True}
    elif kind == "TIFF":
        options["compression"] = _tiff_compression(picture)
    return options


def _tiff_compression(picture: Picture) -> str | None:
    given = picture.about.get("compression") if picture.format == "TIFF" else None
    return given if given in _LOSSLESS_TIFF or given is None else "tiff_adobe_deflate"


def _timing(pictures: Sequence[Picture]) -> dict[str, Any]:
    """How long each frame of an animation is shown, and how often all are."""
    durations = [picture.about.get("duration") for picture in pictures]
    timing: dict[str, Any] = {"duration": [round(one or 0) for one in durations]} if any(durations) else {}
    return timing | ({"loop": pictures[0].about["loop"]} if "loop" in pictures[0].about else {})

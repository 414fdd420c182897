"""From the body of a request to blocks of images, and from a model's results to the body of the answer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hourglass.data.array_files import NPY_SIGNATURE, decode_npy, encode_npy
from hourglass.data.depth import unit_array
from hourglass.data.files import encode_image
from hourglass.data.pictures import Picture, common_white, decode_pictures, encode_pictures, in_unit, sized
from hourglass.errors import DataError, LimitError
from hourglass.images import to_shown, with_channels
from hourglass.web.exchange import OCTETS
from hourglass.web.service.options import Options
from hourglass.web.service.uses import Served, Use

if TYPE_CHECKING:
    from hourglass.images import Array, Sample

_IMAGE, _ARRAY = "the image", "the array"  # as messages begin
_MOST_SIZES = 256  # pages, if their sizes differ
_MOST_CHANNELS = 4  # of an array of three axes, which otherwise holds several grey images
MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif"}
MEDIA |= {"BMP": "image/bmp", "AVIF": "image/avif", "PPM": "image/x-portable-anymap"}
JSON, HGC = "application/json", "application/vnd.hourglass.hgc"


@dataclass(frozen=True)
class Content:
    """The images of a request.

    Attributes
    ----------
    blocks : list of ndarray (n, *shape)
        As the model takes them, in order.
    pictures : list of Picture
        Of an image file, one for each image; none of an array.
    white : float, optional
        The white level that images deeper than 8 bits were divided by.
    is_single : bool
        Whether an array came without an axis of images.
    """

    blocks: list[Array]
    pictures: list[Picture]
    white: float | None = None
    is_single: bool = False

    @property
    def n_bytes(self) -> int:
        return sum(block.nbytes for block in self.blocks) + sum(picture.values.nbytes for picture in self.pictures)


def read(body: bytes, served: Served, use: Use, options: Options, most_pixels: int) -> Content:
    """The images in `body`, an image file or an npy file, as `use` reads them.

    Raises
    ------
    DataError
        If it is neither, or does not fit the model; LimitError for more than `most_pixels`.
    """
    if not body:
        raise DataError("the request has no body; send an image file or an array (npy) as it is.")
    if body.startswith(NPY_SIGNATURE):
        return _read_array(body, served.sample, options, most_pixels)
    if not served.sample.is_image:
        raise DataError("the model takes rows of numbers; send an npy file of shape (n, features).")
    return _read_pictures(body, served.sample, use, options, most_pixels)


def _read_pictures(body: bytes, sample: Sample, use: Use, options: Options, most_pixels: int) -> Content:
    pictures = decode_pictures(body, _IMAGE, None, options.pages, most_pixels)
    white = sample.white if options.white is None else options.white
    if use.reads == "values":
        floats = [picture for picture in pictures if picture.depth == "float32"]
        level = common_white(floats, _IMAGE, white) if floats else None
        images = [in_unit(picture, level) if picture in floats else picture.values for picture in pictures]
        return Content(_blocks(images), pictures, white)
    level = common_white(pictures, _IMAGE, white)
    if use.reads == "fitted" and not sample.is_any_size:
        images = [in_unit(sized(picture, (sample.size[0], sample.size[1])), level) for picture in pictures]
    else:
        images = [in_unit(picture, level) for picture in pictures]
    if use.reads != "own":
        images = [with_channels(image[None], sample.shape)[0] for image in images]
    return Content(_blocks(images), pictures, level)


def _blocks(images: list[Array]) -> list[Array]:
    """Images of one shape and dtype as one block, others each as its own. Raises LimitError for too many of these."""
    if len({(image.shape, image.dtype) for image in images}) == 1:
        return [images[0][None] if len(images) == 1 else np.stack(images)]
    if len(images) > _MOST_SIZES:
        raise LimitError(f"{_IMAGE}: {len(images)} pages of several sizes; the limit is {_MOST_SIZES}.")
    return [image[None] for image in images]


def _read_array(body: bytes, sample: Sample, options: Options, most_pixels: int) -> Content:
    array = decode_npy(body, _ARRAY)
    block, is_single = as_block(array, sample)
    n_pixels = math.prod(block.shape[:3]) if sample.is_image else block.size
    if n_pixels > most_pixels:
        raise LimitError(f"{_ARRAY}: {n_pixels:,} pixels; the limit is {most_pixels:,}.")
    if block.size == 0:
        raise DataError(f"{_ARRAY} has shape {array.shape} and holds nothing.")
    if sample.is_image:
        block = unit_array(block, _ARRAY, sample.white if options.white is None else options.white)[0]
    return Content([block], [], is_single=is_single)


def as_block(array: Array, sample: Sample) -> tuple[Array, bool]:
    """(the array with an axis of images, whether it came without one). Raises DataError for other numbers of axes.

    Of three axes the last one is that of channels if it is that of the model's, or at most 4; else they are grey images.
    """
    axes = array.ndim
    if not sample.is_image:
        if axes not in (1, 2):
            raise DataError(f"{_ARRAY} has shape {array.shape}; the model takes rows (n, {sample.n_features}).")
        return (array[None], True) if axes == 1 else (array, False)
    if axes not in (2, 3, 4):
        raise DataError(f"{_ARRAY} has shape {array.shape}; allowed: (h, w), (h, w, c), (n, h, w), (n, h, w, c).")
    has_channels = (
        axes == 3 and not sample.fits(array.shape[1:]) and (sample.fits(array.shape) or array.shape[2] <= _MOST_CHANNELS)
    )
    return (array[None], True) if axes == 2 or has_channels else (array, False)


def answer(content: Content, served: Served, use: Use, results: Sequence[Any], options: Options) -> tuple[bytes, str]:
    """(body, media type) for the `results` of a use, one for each image."""
    kind = getattr(options, "format", "same")
    if use.gives == "file":
        if len(results) > 1:
            raise DataError(f"{len(results)} images; the model writes a file for each: send one at a time, or pages=first.")
        return results[0], HGC
    if use.gives == "facts":
        return _as_json({"images": [_fact(fact, content, number, served) for number, fact in enumerate(results)]})
    if use.gives == "codes":
        codes = np.asarray(results)
        return (encode_npy(codes), OCTETS) if kind == "npy" else _as_json({"codes": codes.tolist()})
    if use.gives == "map" and kind == "png":
        return _overlay(content, results, served), MEDIA["PNG"]
    if use.gives == "map" or not content.pictures or kind == "npy":
        return _arrays(content, results, kind)
    name = content.pictures[0].format if kind == "same" else kind.upper()
    quality = getattr(options, "quality", None)
    body = encode_pictures(name, content.pictures, results, white=content.white, quality=quality)
    return body, MEDIA.get(name, OCTETS)


def _arrays(content: Content, results: Sequence[Array], kind: str) -> tuple[bytes, str]:
    if kind not in ("same", "npy"):
        raise DataError(f"format={kind} is for image files; an array is answered with an array (npy).")
    if not isinstance(results, np.ndarray) and len({result.shape for result in results}) > 1:
        raise DataError("the pages have several sizes, which no array holds; leave format= out, or add pages=first.")
    is_single = content.is_single or len(content.pictures) == 1
    return encode_npy(results[0] if is_single else np.asarray(results)), OCTETS


def _fact(fact: dict[str, Any], content: Content, number: int, served: Served) -> dict[str, Any]:
    """`fact` with its regions as dicts, in pixels of the image that came."""
    if "regions" not in fact:
        return fact
    from hourglass.runtime import enlarged

    regions = fact["regions"]
    if content.pictures and not served.sample.is_any_size:
        size = (served.sample.size[0], served.sample.size[1])
        height, width = content.pictures[number].values.shape[:2]
        regions = [enlarged(region, size, (height, width)) for region in regions]
    return fact | {"regions": [region._asdict() for region in regions]}


def _overlay(content: Content, maps: Sequence[Array], served: Served) -> bytes:
    if len(maps) > 1:
        raise DataError(f"{len(maps)} images; format=png holds one: send one at a time, or pages=first.")
    from hourglass.runtime import overlay

    image = content.pictures[0].values if content.pictures else content.blocks[0][0]
    level = served.level if math.isfinite(served.level) else float(maps[0].max())
    return encode_image(overlay(to_shown(image, content.white), maps[0], level))


def _as_json(facts: dict[str, Any]) -> tuple[bytes, str]:
    return json.dumps(facts, allow_nan=False, separators=(",", ":")).encode(), JSON


def example(sample: Sample) -> tuple[bytes, str]:
    """(body, media type) of an image that the model takes, as an example: bands of grey or colour, or an array."""
    if not sample.is_image:
        return encode_npy(np.full((1, sample.n_features), 0.5, dtype=np.float32)), OCTETS
    height, width = (64, 64) if sample.is_any_size else (sample.size[0], sample.size[1])
    rows, columns = np.mgrid[0:height, 0:width]
    shades = [(rows * (channel + 2) + columns * 3) * 255 // (height * (channel + 2) + width * 3) for channel in range(3)]
    image = np.stack(shades, axis=2).astype(np.uint8)
    if sample.channels == 1:
        return encode_image(image[..., 0]), MEDIA["PNG"]
    if sample.channels == len(shades):
        return encode_image(image), MEDIA["PNG"]
    values = np.resize(image, (height, width, sample.channels)).astype(np.float32) / 255
    return encode_npy(values), OCTETS

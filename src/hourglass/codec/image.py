"""The file format .hgc, version 2: one image, coded by a model whose codes are maps. Notation as in `container`.

offset  size     what
0       4        magic: 89 48 47 43 (0x89 "HGC")
4       1        version: 2
5       1        flags: 0
6       8        the model: first 8 bytes of the SHA-256 of its weights, context model and tables
14      1        quality: 0 to 100
15      varints  height, width and channels of the image; its white level: 255 for 8 bits, 0 for floats in 0..1
…                the tiles: 64×64 integers of each channel of the maps, less at the lower and right border, row by row.
For each a varint, the number of escaped differences; these, zigzag; a varint, the number of words; the
words of its range coder, 32 bits each
last 8           first 8 bytes of the SHA-256 of everything before
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hourglass.codec import container as limits
from hourglass.codec.container import opened, sealed
from hourglass.codec.contexts import N_QUALITIES, ContextModel
from hourglass.codec.maps import Maps, MapTables, decode_maps, encode_maps
from hourglass.codec.varints import varint
from hourglass.errors import DataError, FormatError

VERSION = 2
MAX_WHITE = (1 << 32) - 1


@dataclass(frozen=True)
class ImageCode:
    """The contents of a .hgc file of one image.

    Attributes
    ----------
    model : bytes
        The model's checksum, 8 bytes.
    quality : int in 0..100
    size : (height, width)
    channels : int
        Of the image: the model's, or 1 if it was grey.
    white : int
        White level of the image; 0 for floats in 0..1.
    maps : ndarray (n_components, rows, columns), int32
        Quantised codes.
    """

    model: bytes
    quality: int
    size: tuple[int, int]
    channels: int
    white: int
    maps: Maps


def pack_image(image: ImageCode, contexts: ContextModel, tables: MapTables) -> bytes:
    """Return the bytes of a .hgc file of one image.

    Raises
    ------
    DataError
        If the image exceeds the limits of one file.
    """
    if image.maps.size > limits.MAX_SYMBOLS or math.prod(image.size) * image.channels > limits.MAX_VALUES:
        height, width = image.size
        raise DataError(f"an image of {width}×{height} is too large for one file; cut it into several.")
    fields = map(varint, (*image.size, image.channels, image.white))
    coded = encode_maps(image.maps, image.quality, contexts, tables)
    return sealed(VERSION, 0, image.model, b"".join([bytes([image.quality]), *fields, coded]))


def unpack_image(
    content: bytes, model: bytes, stride: int, channels: int, contexts: ContextModel, tables: MapTables
) -> ImageCode:
    """Return what `pack_image` packed, for the model whose checksum is `model` and whose images have `channels`.

    Raises
    ------
    FormatError
        If `content` is not such a file, is truncated or altered, or was made with another model.
    """
    flags, reader = opened(content, model, VERSION)
    quality = reader.take(1)[0]
    height, width, given, white = (reader.varint() for _ in range(4))
    if flags or quality >= N_QUALITIES or white > MAX_WHITE:
        raise FormatError(f"it claims flags {flags}, quality {quality} and a white level of {white}.")
    if 0 in (height, width) or given not in (1, channels):
        raise FormatError(f"it claims {given} channels of {width}×{height}; the model's images have {channels}.")
    shape = (-(-height // stride), -(-width // stride))
    if math.prod(shape) * contexts.n_channels > limits.MAX_SYMBOLS or height * width * channels > limits.MAX_VALUES:
        raise FormatError(f"it claims an image of {width}×{height}; the limit is {limits.MAX_VALUES:,} values.")
    maps = decode_maps(reader, shape, quality, contexts, tables)
    if reader.rest():
        raise FormatError("it is longer than its image needs.")
    return ImageCode(model, quality, (height, width), given, white, maps)

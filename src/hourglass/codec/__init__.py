"""Compression: quantisation, entropy coding and the .hgc file format. numpy and bytes only, no torch."""

from hourglass.codec.container import Container, pack, unpack
from hourglass.codec.contexts import ContextModel
from hourglass.codec.entropy import Tables, count, expected_bytes
from hourglass.codec.image import ImageCode, pack_image, unpack_image
from hourglass.codec.maps import MapTables
from hourglass.codec.quantisation import dequantise, quantise

__all__ = [
    "Container",
    "ContextModel",
    "ImageCode",
    "MapTables",
    "Tables",
    "count",
    "dequantise",
    "expected_bytes",
    "pack",
    "pack_image",
    "quantise",
    "unpack",
    "unpack_image",
]

"""Compression: quantisation, entropy coding and the .hgc file format. numpy and bytes only, no torch."""

from hourglass.codec.container import Container, pack, unpack
from hourglass.codec.entropy import Tables, count, expected_bytes
from hourglass.codec.quantisation import dequantise, quantise

__all__ = ["Container", "Tables", "count", "dequantise", "expected_bytes", "pack", "quantise", "unpack"]

"""Arrays on their way to the page, in one piece.

4 bytes      length of the header, unsigned, little-endian
header       JSON, UTF-8, filled with spaces up to a multiple of 4:
{"facts": {…}, "arrays": {name: {"dtype": "float32", "shape": […], "offset": bytes after the header}}}
the arrays   little-endian, C order, each beginning at a multiple of 4
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hourglass.images import Array
from hourglass.networks.description import Step

Content = tuple[dict[str, Any], dict[str, Array]]
"""(facts, which JSON can hold; arrays by name)"""
DTYPES = ("float32", "uint8", "uint16", "int32")


def pack(facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """`facts` and `arrays`, which are of the dtypes in `DTYPES`, as bytes."""
    index, pieces, offset = {}, [], 0
    for name, array in arrays.items():
        assert array.dtype.name in DTYPES
        content = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        index[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}
        pieces.append(content + bytes(-len(content) % 4))
        offset += len(pieces[-1])
    header = json.dumps({"facts": facts, "arrays": index}, allow_nan=False).encode()
    header += b" " * (-len(header) % 4)
    return b"".join([len(header).to_bytes(4, "little"), header, *pieces])


def network(name: str, shape: Iterable[int], steps: Iterable[Step]) -> Content:
    """(facts, arrays) of a network that takes samples of `shape`; the arrays' names begin with `name`."""
    told: list[dict[str, Any]] = []
    arrays: dict[str, Array] = {}
    for number, step in enumerate(steps):
        names = {weight: f"{name}.{number}.{weight}" for weight in step.weights}
        told.append({"kind": step.kind, **step.options, **names})
        arrays |= {names[weight]: tensor.numpy() for weight, tensor in step.weights.items()}
    return {name: {"shape": list(shape), "steps": told}}, arrays

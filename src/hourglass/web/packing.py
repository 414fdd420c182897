"""The binary format of arrays for the page.

4 bytes      length of the header, unsigned, little-endian
header       JSON, UTF-8, padded with spaces to a multiple of 4:
{"facts": {…}, "arrays": {name: {"dtype": "float32", "shape": […], "offset": bytes after the header}}}
arrays       little-endian, C order, each aligned to a multiple of 4
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hourglass.images import Array
from hourglass.networks.description import Step

Content = tuple[dict[str, Any], dict[str, Array]]
"""(facts as JSON, arrays by name)"""
DTYPES = ("float32", "uint8", "uint16", "int32")


def pack(facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """Serialise `facts` and `arrays`, whose dtypes must be in `DTYPES`."""
    index, padded, offset = {}, [], 0
    for name, array in arrays.items():
        assert array.dtype.name in DTYPES
        content = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        index[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}
        padded.append(content + bytes(-len(content) % 4))
        offset += len(padded[-1])
    header = json.dumps({"facts": facts, "arrays": index}, allow_nan=False).encode()
    header += b" " * (-len(header) % 4)
    return b"".join([len(header).to_bytes(4, "little"), header, *padded])


def network(name: str, shape: Iterable[int], steps: Iterable[Step]) -> Content:
    """Return (facts, arrays) of a network for samples of `shape`; the arrays' names begin with `name`."""
    descriptions: list[dict[str, Any]] = []
    arrays: dict[str, Array] = {}
    for number, step in enumerate(steps):
        names = {weight: f"{name}.{number}.{weight}" for weight in step.weights}
        descriptions.append({"kind": step.kind, **step.options, **names})
        arrays |= {names[weight]: tensor.numpy() for weight, tensor in step.weights.items()}
    return {name: {"shape": list(shape), "steps": descriptions}}, arrays

"""Weights and activations of the network in 8 bits, and what they cost on images that the ranges were not taken from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hourglass.corruption import seeded
from hourglass.errors import DataError, ModelError
from hourglass.images import Array, to_float
from hourglass.notes import quiet
from hourglass.onnx.logs import silent
from hourglass.onnx.uses import Decoding, Detection, Encoding, Enlargement, Use
from hourglass.runtime import Exported
from hourglass.runtime.inputs import checked_input

MOST = 256
"""Images to take the ranges of activations from, and as many to measure on."""
_FEWEST = 8
_LAYERS = ("Conv", "Gemm", "MatMul")


class Loss(NamedTuple):
    """What 8 bits cost, measured on held-out calibration images.

    Attributes
    ----------
    share : float
        The growth of the mean squared error as a share of it, against what the output should be; of codes and scores, which
        have no target, the mean squared change as a share of their variance.
    before, after : float
        The mean squared errors; of codes and scores 0 and the change.
    images : int
        Images that it was measured on.
    """

    share: float
    before: float
    after: float
    images: int


class Pair(NamedTuple):
    """Input of the graph, and what should come out; None if only the float graph can tell."""

    given: Array
    target: Array | None


def pairs_of(use: Use, samples: Any, dtype: str) -> list[Pair]:
    """One pair for each of some calibration images, as the use meets them: corrupted, reduced or encoded.

    Raises DataError for fewer than `_FEWEST`, or for others than the estimator takes.
    """
    estimator, images = use.estimator, checked_input(samples, use.model.sample)
    if len(images) < _FEWEST:
        raise DataError(f"{len(images)} calibration samples; at least {_FEWEST} are needed, better some hundred.")
    some = [images[row] for row in np.linspace(0, len(images) - 1, min(2 * MOST, len(images))).astype(int)]
    generator = seeded(0)
    pairs = []
    for image in some:
        clean = image[None]
        wanted = to_float(clean) if use.model.sample.is_image else clean
        given, target = wanted, wanted
        if isinstance(use, Decoding):
            given = estimator.model_.encode(clean)
        elif isinstance(use, Enlargement):
            given = estimator.reduce(clean)
        elif type(use) is Use and use.model.settings.get("corruption") is not None and estimator.saved_as == "denoiser":
            sample = use.model.sample
            values = torch.from_numpy(sample.to_network(clean))
            corrupted = use.model.settings["corruption"].corrupt(values, generator).numpy()
            given = sample.from_network(corrupted, clip=False) if sample.is_image else sample.from_network(corrupted)
        has_target = not isinstance(use, Encoding | Detection)
        pairs.append(Pair(_as_input(given, use, dtype), target if has_target else None))
    return pairs


def in_int8(content: bytes, use: Use, pairs: Sequence[Pair]) -> bytes:
    """The graph with its network's layers in 8 bits, and ranges of activations from `pairs`. Raises ModelError.

    Weights take 7 bits: without VNNI, processors add products of 8 bits in 16 bits, which saturate. The error of one denoiser
    of maps grew by 42% with 8 bits and by none with 7.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
        def __init__(self) -> None:
            self.inputs: Iterator[dict[str, Array]] = iter({use.input_name: pair.given} for pair in pairs)

        def get_next(self) -> dict[str, Array] | None:
            return next(self.inputs, None)

    layers = layers_of_network(onnx.load_from_string(content))
    if not layers:
        raise ModelError("this network has no layer that 8 bits would make faster: no convolution or fully connected layer.")
    with tempfile.TemporaryDirectory() as name, quiet(), silent():
        source, made = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        source.write_bytes(content)
        options = {
            "nodes_to_quantize": layers,
            "op_types_to_quantize": list(_LAYERS),
            "per_channel": True,
            "reduce_range": True,
        }
        quantize_static(source, made, Reader(), weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8, **options)
        return made.read_bytes()


def layers_of_network(proto: Any) -> list[str]:
    """Names of the nodes with weights of the network, not those of blurs, distances and resampling."""
    found = []
    for node in proto.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
        if node.op_type in _LAYERS and any("network" in part.strip("'[] ").split(".") for part in scopes.split(",")):
            found.append(node.name)
    return found


SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter says which module a node comes from."""


def loss_of(exact: Exported, coarse: Exported, use: Use, pairs: Sequence[Pair]) -> Loss:
    """What the outputs of `coarse` lose against those of `exact`."""
    name = use.outputs[0]
    outputs = [[model.run(pair.given, [name])[name].astype(np.float64) for pair in pairs] for model in (exact, coarse)]
    if pairs[0].target is None:
        wanted = np.concatenate([one.reshape(1, -1) for one in outputs[0]])
        change = float(np.square(np.concatenate([one.reshape(1, -1) for one in outputs[1]]) - wanted).mean())
        return Loss(change / max(float(wanted.var(0).mean()), 1e-12), 0.0, change, len(pairs))
    targets = [np.asarray(pair.target, dtype=np.float64) for pair in pairs]
    before, after = (
        float(np.mean([np.square(one - target).mean() for one, target in zip(made, targets, strict=True)])) for made in outputs
    )
    return Loss(after / max(before, 1e-12) - 1, before, after, len(pairs))


def _as_input(given: Array, use: Use, dtype: str) -> Array:
    if dtype in ("float32", "float64"):
        return np.ascontiguousarray(given, dtype=dtype)
    white = 255.0 if dtype == "uint8" else use.model.sample.white or 65535.0
    return np.ascontiguousarray(np.rint(np.clip(given, 0, 1) * white).astype(dtype))

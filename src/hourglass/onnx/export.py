"""A fitted estimator as an ONNX file, which stays only if it gives what the estimator gives."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hourglass._version import __version__
from hourglass.data.write import replace_file, standing_folder
from hourglass.errors import ModelError, ParameterError
from hourglass.estimators import ImageEstimator, load_model
from hourglass.images import Array
from hourglass.notes import quiet
from hourglass.onnx.int8 import SCOPES, Loss, Pair, in_int8, loss_of, pairs_of
from hourglass.onnx.logs import silent
from hourglass.onnx.probes import probes_of
from hourglass.onnx.uses import DTYPES, Use, use_of
from hourglass.runtime import Exported, load_onnx
from hourglass.runtime.facts import KEY, Facts
from hourglass.trained.files import read_config
from hourglass.training import ordinary_torch

TOLERANCE = 1e-4
"""Largest difference from the estimator, relative to the range of an output."""
_LEAST_RANGE = {"reconstructions": 1.0, "scores": 1.0}  # 0..1 of images; about a deviation of normal samples
_EXAMPLES = 3  # samples to trace with: not 1, which torch would take for a constant


class Report(NamedTuple):
    """What an export found.

    Attributes
    ----------
    differences : dict of str to Difference
        For each output.
    int8 : Loss, optional
        What 8 bits cost, if they were asked for.
    """

    differences: dict[str, Difference]
    int8: Loss | None


class Difference(NamedTuple):
    """The largest difference of an output from the estimator's over all probes, and the range that it stands against."""

    largest: float
    range: float


def export_onnx(
    model: ImageEstimator | str | Path,
    path: str | Path,
    *,
    part: str = "whole",
    dtype: str | None = None,
    calibrate: Any = None,
    max_loss: float = 0.05,
) -> Report:
    """Write a fitted estimator, or its encoder or decoder, as an ONNX file that needs nothing beside it.

    The graph holds the whole use: conversion of integers and white level, a table's scales, padding to the network's stride and
    the crop back, a detector's score, verdict and map, an enhancer's back-projection. Height and width are open if the network
    takes any, the number of samples always. A generator's graph decodes codes, a retriever's ends with them, a compressor's
    reconstructs: drawing codes, the index and entropy coding stay outside.

    The file is run by ONNX Runtime on samples of several sizes, in batches of 1 and 7, and compared with the estimator.

    Parameters
    ----------
    model : fitted estimator, or path of a saved one
        One of the library's own classes; its network may be yours.
    path : path
        The file, by convention named *.onnx; replaced atomically.
    part : {"whole", "encoder", "decoder"}
    dtype : {"uint8", "uint16", "float32", "float64"}, optional
        Of the graph's input: for images "float32" in 0..1 (the default), "uint8", or "uint16" up to the white level; for tables
        "float64" (the default) or "float32".
    calibrate : array-like (n, *shape), or list of images of several sizes, optional
        Samples as for `fit`, clean if the estimator corrupts or reduces them itself. The network's layers are then stored and
        run in 8 bits: half of some 500 samples set the ranges of activations, and `Loss` is measured on the other half.
    max_loss : float >= 0
        The largest `Loss.share` that 8 bits may cost.

    Returns
    -------
    Report
        For each output its largest difference from the estimator's, before 8 bits, in its own units, and its range; and what 8
        bits cost.

    Raises
    ------
    NotFittedError, FormatError
    ParameterError
        For another part or dtype, or if onnx, onnxscript or onnxruntime are not installed.
    ModelError
        If a part of the model has no form in ONNX, the graph does not give what the estimator gives, or 8 bits cost more than
        `max_loss`. No file is left then.
    DataError
        If the estimator does not take the samples of `calibrate`, or they are fewer than 8.

    Examples
    --------
    >>> import tempfile
    >>> import hourglass as hg
    >>> digits = hg.load("digits").train.images
    >>> denoiser = hg.Denoiser(8, epochs=1, random_state=0).fit(digits)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = hg.export_onnx(denoiser, f"{folder}/denoiser.onnx")
    ...     clean = hg.load_onnx(f"{folder}/denoiser.onnx").transform(digits[:3])
    >>> clean.shape, report.differences["reconstructions"].largest < 1e-4
    ((3, 8, 8), True)
    """
    check_installed()
    path = Path(os.path.expanduser(path))
    estimator, checksum = _loaded(model)
    if not max_loss >= 0:
        raise ParameterError(f"max_loss={max_loss!r}; allowed: 0 or more, a share of the error.")
    use = use_of(estimator, part)
    taken = dtype_of(use, dtype)
    pairs = None if calibrate is None else pairs_of(use, calibrate, taken)
    facts = facts_of(use, estimator, part, taken, checksum)
    with ordinary_torch(), replace_file(path) as beside:
        content = graph_of(use, taken, facts)
        beside.write_bytes(content)
        differences = compared(load_onnx(beside, n_threads=1), use, taken)
        return Report(differences, None if pairs is None else _reduced(beside, use, facts, pairs, max_loss))


def _reduced(path: Path, use: Use, facts: Facts, pairs: Sequence[Pair], max_loss: float) -> Loss:
    """Rewrite the file in 8 bits; what that costs. Raises ModelError if it is more than `max_loss`."""
    exact, content = load_onnx(path, n_threads=1), path.read_bytes()
    coarse = in_int8(content, use, pairs[::2])
    path.write_bytes(coarse)
    loss = loss_of(exact, load_onnx(path, n_threads=1), use, pairs[1::2])
    if not loss.share <= max_loss:
        raise ModelError(
            f"8 bits cost {loss.share:.2g} of the error on {loss.images} held-out samples; at most {max_loss:g} is allowed "
            "(max_loss=, --max-loss). Not exported."
        )
    told = dataclasses.replace(facts, use={**facts.use, "int8": loss._asdict()})
    path.write_bytes(with_facts(coarse, told))
    return loss


def with_facts(content: bytes, facts: Facts) -> bytes:
    """The graph with other metadata."""
    import onnx

    proto = onnx.load_from_string(content)
    del proto.metadata_props[:]
    proto.metadata_props.add(key=KEY, value=facts.to_json())
    changed: bytes = proto.SerializeToString()
    return changed


def check_installed() -> None:
    """Raise ParameterError unless the extra is installed."""
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ParameterError(f'an export needs {" and ".join(missing)}: pip install "hourglass-autoencoders[onnx]".')


def dtype_of(use: Use, dtype: str | None) -> str:
    """The dtype of the graph's input. Raises ParameterError for one that does not fit the samples."""
    sample = use.model.sample
    if use.takes_codes:
        allowed = ["float32"]
    elif not sample.is_image:
        allowed = ["float64", "float32"]
    else:
        allowed = ["float32", "uint8"] if sample.white is None else ["float32", "uint16"]
    if dtype is not None and dtype not in allowed:
        what = (
            "codes"
            if use.takes_codes
            else "tables"
            if not sample.is_image
            else f"images of white level {sample.white or 255:g}"
        )
        raise ParameterError(f"dtype={dtype!r}; allowed for {what}: {', '.join(allowed)}.")
    return dtype or allowed[0]


def facts_of(use: Use, estimator: ImageEstimator, part: str, dtype: str, checksum: str) -> Facts:
    """The metadata of the file."""
    network, corruption = use.model.network, use.model.settings.get("corruption")
    facts: dict[str, Any] = use.facts()
    return Facts(
        task=estimator.saved_as,
        part=part,
        sample=use.sample,
        input=dtype,
        code_width=network.code.width,
        code_stride=network.code.stride,
        margin=network.margin if type(use) is Use else 0,
        is_local=network.is_local or "factor" in facts,
        is_bounded=corruption is None or corruption.is_bounded,
        takes_codes=use.takes_codes,
        hourglass=__version__,
        model_sha256=checksum,
        use=facts,
    )


def graph_of(use: Use, dtype: str, facts: Facts) -> bytes:
    """The serialised graph. Raises ModelError if torch cannot export a module."""
    example, is_open = _example(use, dtype)
    dynamic = torch.export.Dim.DYNAMIC
    try:
        with quiet(), silent(), torch.no_grad():
            program = torch.onnx.export(
                use,
                (example,),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=[use.input_name],
                output_names=list(use.outputs),
                dynamic_shapes=(dict.fromkeys(is_open, dynamic),),
            )
    except (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError) as error:  # whatever a module may raise
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise ModelError(f"torch cannot export this network to ONNX: {reason}") from error
    assert program is not None
    proto = program.model_proto
    proto.doc_string = f"{facts.task} ({facts.part}) by hourglass {facts.hourglass}"
    del proto.metadata_props[:]
    proto.metadata_props.add(key=KEY, value=facts.to_json())
    for node in proto.graph.node:  # the exporter adds the sources' paths and lines
        scopes = [(one.key, one.value) for one in node.metadata_props if one.key == SCOPES]
        del node.metadata_props[:]
        for key, value in scopes:
            node.metadata_props.add(key=key, value=value)
    content: bytes = proto.SerializeToString()
    return content


def compared(exported: Exported, use: Use, dtype: str) -> dict[str, Difference]:
    """How far the file is from the estimator on all probes. Raises ModelError beyond `TOLERANCE`."""
    pairs = [(exported.run(probe), use.expected(probe)) for probe in probes_of(use, dtype)]
    found = {}
    for place, name in enumerate(use.outputs):
        got = [given[name] for given, _ in pairs]
        wanted = [np.asarray(expected[place]) for _, expected in pairs]
        found[name] = _difference(name, got, wanted, exported)
    return found


def _difference(name: str, got: list[Array], wanted: list[Array], exported: Exported) -> Difference:
    shapes = [(one.shape, other.shape) for one, other in zip(got, wanted, strict=True) if one.shape != other.shape]
    if shapes:
        raise ModelError(f"{name} has shape {shapes[0][0]} in ONNX Runtime and {shapes[0][1]} in torch; not exported.")
    values = np.concatenate([one.ravel() for one in wanted]).astype(np.float64)
    differences = np.abs(np.concatenate([one.ravel() for one in got]) - values)
    if name == "is_anomaly":  # what lies at the threshold may fall on either side
        return Difference(float(differences.mean()), 1.0)
    span = max(float(np.ptp(values)), _LEAST_RANGE.get(name, 0.0) if exported.facts.sample.is_image else 0.0)
    largest = float(differences.max())
    if not largest <= TOLERANCE * span * (1 + 1e-6):  # does not hold for NaN; scores are rounded to as much
        raise ModelError(
            f"{name} differs by {largest:.2g} between ONNX Runtime and torch, over a range of {span:.3g}; at most "
            f"{TOLERANCE:g} of it is allowed. Not exported."
        )
    return Difference(largest, span)


def _loaded(model: ImageEstimator | str | Path) -> tuple[ImageEstimator, str]:
    """(the fitted estimator on the CPU, the checksum of its saved form)"""
    if isinstance(model, ImageEstimator):
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder) / "model.hg")
            return model, read_config(Path(folder) / "model.hg")["sha256"]
    path = Path(os.path.expanduser(model))
    return load_model(path, device="cpu"), read_config(standing_folder(path))["sha256"]


def _example(use: Use, dtype: str) -> tuple[torch.Tensor, list[int]]:
    """(zeros to trace with, the axes that are open)"""
    sample, code = use.model.sample, use.model.network.code
    if use.takes_codes:
        shape = (_EXAMPLES, code.width, 5, 4)[: 4 if code.is_map else 2]
        return torch.zeros(shape), [0, 2, 3] if code.is_map else [0]
    if not sample.is_any_size:
        return torch.zeros((_EXAMPLES, *use.sample.size), dtype=DTYPES[dtype]), [0]
    height, width = 2 * code.stride + 5, 3 * code.stride + 4
    return torch.zeros((_EXAMPLES, height, width, *sample.shape[2:]), dtype=DTYPES[dtype]), [0, 1, 2]  # type: ignore[arg-type]

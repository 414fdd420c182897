"""hourglass export"""

from __future__ import annotations

from pathlib import Path

import click

from hourglass.cli.options import json_option, output_option


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@output_option(what="The .onnx file.")
@click.option(
    "--part",
    type=click.Choice(["whole", "encoder", "decoder"]),
    default="whole",
    show_default=True,
    help="What to export; whole: all that the model's task does.",
)
@click.option(
    "--dtype",
    type=click.Choice(["uint8", "uint16", "float32", "float64"]),
    help="What the file takes.  [default: float32, images in 0..1; of tables float64]",
)
@click.option("--int8", is_flag=True, help="Store and run the network in 8 bits; needs --calibrate.")
@click.option(
    "--calibrate",
    metavar="DATA",
    help="With --int8: typical samples, as for training. Half of some 500 set the ranges, the others measure the loss.",
)
@click.option(
    "--max-loss",
    type=click.FloatRange(0),
    default=0.05,
    show_default=True,
    help="With --int8: the largest growth of the error, as a share of it, or of codes and scores their change, as a share of "
    "their variance.",
)
@json_option
def export(
    model: Path,
    output: Path,
    part: str,
    dtype: str | None,
    int8: bool,
    calibrate: str | None,
    max_loss: float,
    as_json: bool,
) -> None:
    """Export MODEL (of any task) as one ONNX file that needs neither torch nor anything else beside it.

    The file holds the whole use: conversion of uint8 or of uint16 up to the white level, a table's scales, padding and cropping
    of images of any size, a detector's score, verdict and error map, an enhancer's back-projection. Of a generator it decodes
    codes, of a retriever it gives them, of a compressor it reconstructs; drawing codes, the index and entropy coding stay
    outside.

    It is run and compared with MODEL on images of several sizes: if they differ by more than 1e-4 of the range, the file is not
    written. `hourglass run` uses it.
    """
    from hourglass.cli.models import read_splits
    from hourglass.cli.output import report
    from hourglass.errors import ParameterError
    from hourglass.estimators import load_model
    from hourglass.onnx import export_onnx

    if int8 != (calibrate is not None):
        raise ParameterError("--int8 and --calibrate DATA go together: 8 bits need ranges, and these come from samples.")
    samples = None if calibrate is None else read_splits(load_model(model, device="cpu"), calibrate)[0][0].images
    differences, loss = export_onnx(model, output, part=part, dtype=dtype, calibrate=samples, max_loss=max_loss)
    size = output.stat().st_size
    shown = ", ".join(f"{name} within {found.largest:.1g}" for name, found in differences.items() if name != "is_anomaly")
    cost = "" if loss is None else f" In 8 bits the loss is {loss.share:.2g}, on {loss.images} held-out samples."
    content = {"output": str(output), "bytes": size, "differences": {name: one._asdict() for name, one in differences.items()}}
    report(
        content | ({} if loss is None else {"int8": loss._asdict()}),
        f"{output}: {size / 1e6:.2g} MB; as MODEL: {shown}.{cost}",
        as_json,
    )

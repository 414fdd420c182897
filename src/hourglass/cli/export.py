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
@json_option
def export(model: Path, output: Path, part: str, dtype: str | None, as_json: bool) -> None:
    """Export MODEL (of any task) as one ONNX file that needs neither torch nor anything else beside it.

    The file holds the whole use: conversion of uint8 or of uint16 up to the white level, a table's scales, padding and cropping
    of images of any size, a detector's score, verdict and error map, an enhancer's back-projection. Of a generator it decodes
    codes, of a retriever it gives them, of a compressor it reconstructs; drawing codes, the index and entropy coding stay
    outside.

    It is run and compared with MODEL on images of several sizes: if they differ by more than 1e-4 of the range, the file is not
    written. `hourglass run` uses it.
    """
    from hourglass.cli.output import report
    from hourglass.onnx import export_onnx

    differences = export_onnx(model, output, part=part, dtype=dtype)
    size = output.stat().st_size
    shown = ", ".join(f"{name} within {found.largest:.1g}" for name, found in differences.items() if name != "is_anomaly")
    report(
        {"output": str(output), "bytes": size, "differences": {name: found._asdict() for name, found in differences.items()}},
        f"{output}: {size / 1e6:.1f} MB; as MODEL: {shown}.",
        as_json,
    )

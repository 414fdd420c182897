"""hourglass enhance"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from hourglass.cli.options import device_option, json_option, output_option
from hourglass.cli.parts import Shards, shard_options
from hourglass.cli.restoration import ONLY_FOR_FILES, Files, file_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@output_option(what="A folder for the larger images, same names below it; of one image also an image.")
@file_options
@shard_options
@device_option
@json_option
def enhance(model: Path, source: Path, output: Path, files: Files, shards: Shards, device: str, as_json: bool) -> None:
    """Make the images in SOURCE, a folder or one image of any size, larger and sharper with MODEL (of --task enhancer).

    Each image is written in the format, depth and colour mode that it came in, with its profile, EXIF and transparency. What
    cannot be read is listed in OUTPUT/rejects.csv.

    Of shards (see --stream) it writes a Parquet file each, with key, and image as the bytes of a PNG file.
    """
    from hourglass.cli.models import load_as, white_for
    from hourglass.cli.output import report_written
    from hourglass.estimators import Enhancer

    if shards.work_through("enhance", model, source, output, device, as_json, in_memory=ONLY_FOR_FILES, white=files.white):
        return
    enhancer = load_as(Enhancer, model, device)
    files = replace(files, white=white_for(enhancer, files.white))
    report_written(files.restore(source, output, enhancer.transform_image, strict=shards.strict), output, as_json)

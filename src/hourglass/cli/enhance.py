"""hourglass enhance"""

from __future__ import annotations

from pathlib import Path

import click

from hourglass.cli.options import device_option, json_option, output_option
from hourglass.cli.parts import Shards, shard_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@output_option(what="A folder for the larger images, same names below it.")
@shard_options
@device_option
@json_option
def enhance(model: Path, source: Path, output: Path, shards: Shards, device: str, as_json: bool) -> None:
    """Make the images in SOURCE, a folder or one image of any size, larger and sharper with MODEL (of --task enhancer).

    Of shards (see --stream) it writes a Parquet file each, with key, and image as the bytes of a PNG file.
    """
    from hourglass.cli.models import load_as, transform_files
    from hourglass.cli.output import report_written
    from hourglass.estimators import Enhancer

    if shards.work_through("enhance", model, source, output, device, as_json):
        return
    enhancer = load_as(Enhancer, model, device)
    report_written(transform_files(source, output, enhancer.transform_image), output, as_json)

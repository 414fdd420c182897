"""hourglass enhance"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from hourglass.cli.job import FILES, Job, job_options, run
from hourglass.cli.options import output_option
from hourglass.cli.restoration import format_option, quality_option, restore_files


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(what="A folder for enlarged images, under the names of the originals; for a single image also an image.")
@format_option
@quality_option
@job_options
def enhance(job: Job, **writing: Any) -> None:
    """Enlarge and sharpen the images in SOURCE, a folder or one image of any size, with MODEL (of --task enhancer).

    Each image is written in its own format, depth and colour mode, with its profile, EXIF and transparency. Files that cannot
    be read are listed in OUTPUT/rejects.csv.

    For each shard (see --stream), it writes a Parquet file with the columns key and image, a PNG file as bytes.
    """
    run(job, {FILES: partial(restore_files, **writing)})

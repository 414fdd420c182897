"""hourglass denoise"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.job import FILES, MEMORY, Job, job_options, run
from hourglass.cli.options import StrengthType, output_option
from hourglass.cli.restoration import format_option, quality_option, restore_files

if TYPE_CHECKING:
    from hourglass.estimators import Denoiser
    from hourglass.runtime import Exported


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(
    what="A folder for denoised images, under the names of the originals; for a single image also an image; for arrays a .npy "
    "file."
)
@format_option
@quality_option
@click.option(
    "--strength",
    type=StrengthType(),
    default="auto",
    show_default=True,
    help="Standard deviation of the noise to remove, in 0..1 (25 of 255 grey levels: 0.098); auto: the model's own judgement.",
)
@job_options
def denoise(job: Job, strength: float | None, **writing: Any) -> None:
    """Denoise the images in SOURCE with MODEL: a folder of images of any size, an image, or DATA that holds arrays.

    A convolutional model (for photographs: --preset skip) works in overlapping tiles. For other models, images are resized to
    the model's size and back, with a warning. If arrays have a test split, that split is denoised.

    Each image is written in its own format, depth and colour mode, with its profile, EXIF and transparency. Files that cannot
    be read are listed in OUTPUT/rejects.csv.

    For each shard (see --stream), it writes a Parquet file with the columns key and image, a PNG file as bytes.
    """
    options = {} if strength is None else {"strength": strength}
    files = partial(restore_files, options=options, **writing)
    run(job, {FILES: files, MEMORY: partial(transform_arrays, options=options)}, **options)


def transform_arrays(job: Job, model: Denoiser | Exported, options: dict[str, float]) -> None:
    """Write what `model` makes of the arrays of `job` to its output."""
    from hourglass.cli.models import read_arrays
    from hourglass.cli.output import report_written
    from hourglass.data.array_files import write_array

    write_array(job.target, model.transform(read_arrays(job.source, job.white, job.strict), **options))
    report_written([job.target], job.target, job.as_json)

"""hourglass encode"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hourglass.cli.job import MEMORY, Job, job_options, run
from hourglass.cli.options import output_option

if TYPE_CHECKING:
    from hourglass.estimators import ImageEstimator
    from hourglass.runtime import Exported


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(what="A .npz or .parquet file; for shards, a folder.")
@job_options
def encode(job: Job) -> None:
    """Write the latent codes of the images in SOURCE (a folder or DATA, all splits of it) by MODEL (of any task).

    npz: codes (n, n_components), paths, and labels if there are any. parquet: the columns path, label, and one for each latent
    dimension: code0, code1, …

    For each shard (see --stream), it writes a Parquet file with key in place of path.
    """
    run(job, {MEMORY: write_codes})


def write_codes(job: Job, model: ImageEstimator | Exported) -> None:
    """Write the codes of all images of `job` to its output."""
    import numpy as np

    from hourglass.cli.models import read_splits
    from hourglass.cli.output import report_written
    from hourglass.data.array_files import write_arrays
    from hourglass.data.files import write_table

    splits = read_splits(model, job.source, **job.reading)
    codes = np.concatenate([model.encode(split.images) for split, _ in splits])
    labels = [split.labels for split, _ in splits if split.labels is not None]
    columns = {"path": np.array([name for _, names in splits for name in names])}
    if len(labels) == len(splits):
        columns["label"] = np.concatenate(labels)
    if job.target.suffix == ".npz":
        write_arrays(job.target, {"codes": codes, **{f"{key}s": value for key, value in columns.items()}})
    else:
        write_table(job.target, columns | {f"code{index}": column for index, column in enumerate(codes.T)})
    report_written([job.target], job.target, job.as_json)

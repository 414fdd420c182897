"""hourglass detect"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hourglass.cli.job import MEMORY, Job, job_options, run
from hourglass.cli.options import output_option

if TYPE_CHECKING:
    from hourglass.estimators import AnomalyDetector


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(what="A folder for anomalies.csv and overlays/.")
@click.option(
    "--overlays",
    default=100,
    show_default=True,
    type=click.IntRange(0),
    help="Maximum number of overlays, highest score first.",
)
@job_options
def detect(job: Job, overlays: int) -> None:
    """Score the images in SOURCE (a folder or DATA) with MODEL (of --task detector, trained on normal images alone).

    Writes anomalies.csv, highest score first: path, score (above 0 is an anomaly), verdict. For the highest scores, overlays
    mark regions of high reconstruction error in red. If DATA has a test split, that split is scored.

    For each shard (see --stream), it writes a Parquet file with key, score, verdict.
    """
    run(job, {MEMORY: partial(_detect, n_overlays=overlays)})


def _detect(job: Job, detector: AnomalyDetector, n_overlays: int) -> None:
    import numpy as np

    from hourglass.cli.models import read_splits
    from hourglass.cli.output import report, write_csv
    from hourglass.data.files import read_image, write_image
    from hourglass.data.rejects import write_rejects
    from hourglass.images import to_uint8
    from hourglass.report import overlay

    output = job.target
    split, names = read_splits(detector, job.source, **job.reading)[-1]
    write_rejects(output / "rejects.csv", split.rejects)
    scores = -detector.decision_function(split.images)
    order = np.argsort(-scores, kind="stable")
    rows = [[names[row], f"{scores[row]:.6g}", "anomaly" if scores[row] > 0 else "normal"] for row in order]
    write_csv(output / "anomalies.csv", [["path", "score", "verdict"], *rows])
    shown = order[:n_overlays]
    if len(shown):
        level = float(np.quantile(detector.error_maps(split.images[order[len(order) // 2 :]]), 0.999))
        for rank, row in enumerate(shown, 1):
            image = split.images[row] if split.paths is None else to_uint8(read_image(split.paths[row], white=split.white))
            picture = overlay(image, detector.error_maps(split.images[[row]])[0], level)
            write_image(output / "overlays" / f"{rank:04d}-{Path(names[row]).stem}.png", picture)
    found = int((scores > 0).sum())
    report(
        {"images": len(scores), "anomalies": found, "output": str(output)},
        f"{found} of {len(scores)} images are anomalies; {output}/anomalies.csv, {len(shown)} overlays.",
        job.as_json,
    )

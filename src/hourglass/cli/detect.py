"""hourglass detect"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hourglass.cli.options import device_option, json_option, output_option, pages_option, white_option
from hourglass.cli.parts import Shards, refuse_within, shard_options

if TYPE_CHECKING:
    from hourglass.data.files import Pages


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(what="A folder for anomalies.csv and overlays/.")
@click.option("--overlays", default=100, show_default=True, type=click.IntRange(0), help="At most so many, strangest first.")
@white_option
@pages_option
@shard_options
@device_option
@json_option
def detect(
    model: Path,
    source: str,
    output: Path,
    overlays: int,
    white: float | None,
    pages: Pages,
    shards: Shards,
    device: str,
    as_json: bool,
) -> None:
    """Score the images in SOURCE (a folder or DATA) with MODEL (of --task detector, trained on normal images alone).

    Writes anomalies.csv, strangest first: path, score (above 0 is an anomaly), verdict; and for the strangest a picture with
    the places that the model cannot explain marked in red. Of DATA with a test part, that part is scored.

    Of shards (see --stream) it writes a Parquet file each, with key, score, verdict.
    """
    import csv

    import numpy as np

    from hourglass.cli.models import asked_for, load_as
    from hourglass.cli.output import print_json
    from hourglass.data.files import read_image, write_image
    from hourglass.data.rejects import write_rejects
    from hourglass.data.write import replace_file
    from hourglass.estimators import AnomalyDetector
    from hourglass.images import to_uint8
    from hourglass.report import overlay

    if shards.work_through("detect", model, source, output, device, as_json, in_memory=("overlays", "pages"), white=white):
        return
    refuse_within(output, source)
    detector = load_as(AnomalyDetector, model, device)
    split, names = asked_for(detector, source, white, pages, shards.strict)
    write_rejects(output / "rejects.csv", split.rejects)
    scores = -detector.decision_function(split.images)
    order = np.argsort(-scores, kind="stable")
    with replace_file(output / "anomalies.csv") as beside, beside.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "score", "verdict"])
        table.writerows([names[row], f"{scores[row]:.6g}", "anomaly" if scores[row] > 0 else "normal"] for row in order)
    shown = order[:overlays]
    if len(shown):
        level = float(np.quantile(detector.error_maps(split.images[order[len(order) // 2 :]]), 0.999))
        for rank, row in enumerate(shown, 1):
            image = split.images[row] if split.paths is None else to_uint8(read_image(split.paths[row], white=split.white))
            picture = overlay(image, detector.error_maps(split.images[[row]])[0], level)
            write_image(output / "overlays" / f"{rank:04d}-{Path(names[row]).stem}.png", picture)
    found = int((scores > 0).sum())
    if as_json:
        print_json({"images": len(scores), "anomalies": found, "output": str(output)})
    else:
        click.echo(f"{found} of {len(scores)} images are anomalies; {output}/anomalies.csv, {len(shown)} overlays.")

"""hourglass detect"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.job import MEMORY, Job, job_options, run
from hourglass.cli.options import output_option
from hourglass.notes import note

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hourglass.data import Split
    from hourglass.estimators import AnomalyDetector
    from hourglass.images import Array
    from hourglass.runtime import Exported


_ON_SHEET = 24  # thumbnails
_REGION_COLUMNS = ["path", "left", "top", "width", "height", "area", "peak"]

overlays_option = click.option(
    "--overlays",
    default=100,
    show_default=True,
    type=click.IntRange(0),
    help="Maximum number of overlays, highest score first.",
)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(what="A folder for anomalies.csv, regions.csv, sheet.png and overlays/.")
@overlays_option
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw a histogram of the scores with the threshold: a .png, .svg or .pdf.",
)
@click.option(
    "--masks",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Masks of the defects, under the names of the images or with _mask at the end: reports pixel AUROC and PRO.",
)
@job_options
def detect(job: Job, overlays: int, figure: Path | None, masks: Path | None) -> None:
    """Score the images in SOURCE (a folder or DATA) with MODEL (of --task detector, trained on normal images alone).

    Writes anomalies.csv, highest score first: path, score (above 0 is an anomaly), verdict. For anomalies, regions.csv lists
    regions of high reconstruction error, if they have any: box and area in pixels of the upright image, and the largest error
    as a multiple of the level that one in a thousand pixels of normal images exceeds. Overlays show the error in red for the
    highest scores, and sheet.png thumbnails of 24 of them. If DATA has a test split, that split is scored.

    With --masks, images without one are taken to be without defects.

    For each shard (see --stream), it writes a Parquet file with key, score, verdict.
    """
    run(job, {MEMORY: partial(_detect, n_overlays=overlays, figure=figure, masks=masks)})


def _detect(job: Job, detector: AnomalyDetector, n_overlays: int, figure: Path | None, masks: Path | None) -> None:
    from hourglass.cli.models import read_splits
    from hourglass.report import save, score_histogram

    _check_figure(figure, job.source)
    split, names = read_splits(detector, job.source, **job.reading)[-1]
    truth = None if masks is None else _masks(split, job.source, masks)
    scores = write_findings(job.target, split, names, detector, n_overlays)
    figures = {} if truth is None else _localisation(detector, split, truth)
    if figure is not None:
        save(score_histogram(scores, detector.offset_ - detector.normal_scores_), figure)
    report_findings(job, scores, n_overlays, figures, figure)


def write_findings(
    output: Path, split: Split, names: list[str], detector: AnomalyDetector | Exported, n_overlays: int
) -> NDArray[np.float64]:
    """Score the images of `split`; write the files that `detect` names. Returns the scores, above 0 for anomalies."""
    from hourglass.cli.output import write_csv
    from hourglass.data.files import write_image
    from hourglass.data.rejects import write_rejects
    from hourglass.runtime import contact_sheet, level_of, overlay, thumbnail

    write_rejects(output / "rejects.csv", split.rejects)
    scores: NDArray[np.float64] = -detector.decision_function(split.images)
    order = _write_scores(output, names, scores)
    found, level = int((scores > 0).sum()), detector.map_level_
    if math.isnan(level):
        note(
            "the model is of an earlier version and has no map_level_; for regions, the half of these images with lower scores "
            "is taken to be normal. To choose: model.map_level_ = model.level_of(normal_images), and save or export it again."
        )
        level = level_of([split.images[row] for row in order[len(order) // 2 :]], detector.error_maps)
    regions, thumbnails = [_REGION_COLUMNS], []
    n_drawn = max(n_overlays, _ON_SHEET)
    for rank, (row, image, errors) in enumerate(_images_with_errors(split, order[: max(found, n_drawn)], detector)):
        if rank < found:
            regions += _region_rows(names[row], errors, level, image.shape[:2])
        if rank >= n_drawn:
            continue
        picture = overlay(image, errors, level)
        if rank < n_overlays:
            write_image(output / "overlays" / f"{rank + 1:04d}-{Path(names[row]).stem}.png", picture)
        if rank < _ON_SHEET:
            thumbnails.append((f"{scores[row]:.3g} {Path(names[row]).name}", thumbnail(picture)))
    write_csv(output / "regions.csv", regions)
    write_image(output / "sheet.png", contact_sheet(thumbnails))
    return scores


def report_findings(
    job: Job,
    scores: NDArray[np.float64],
    n_overlays: int,
    figures: Mapping[str, float] | None = None,
    figure: Path | None = None,
) -> None:
    """Print how many images are anomalies, what was written, and `figures` by their names."""
    from hourglass.cli.output import report

    found, output, figures = int((scores > 0).sum()), str(job.target), figures or {}
    content: dict[str, Any] = {"images": len(scores), "anomalies": found, "output": output}
    content |= {"figure": str(figure)} if figure else {}
    content |= {name.lower().replace(" ", "_"): value for name, value in figures.items()}
    words = f"{found} of {len(scores)} images are anomalies; {output}/anomalies.csv, regions.csv, sheet.png, "
    words += f"{min(n_overlays, len(scores))} overlays." + "".join(f" {name} {value:.3f}." for name, value in figures.items())
    report(content, words + (f" Figure written to {figure}." if figure else ""), job.as_json)


def _masks(split: Split, source: str, folder: Path) -> list[NDArray[np.bool_] | None]:
    from hourglass.data.masks import load_masks
    from hourglass.errors import ParameterError

    if split.paths is None:
        raise ParameterError("--masks needs SOURCE to be image files, as masks go by their names.")
    return load_masks(folder, split.paths, Path(source))


def _localisation(detector: AnomalyDetector, split: Split, masks: list[NDArray[np.bool_] | None]) -> dict[str, float]:
    """Pixel AUROC and PRO of the error maps."""
    from hourglass.evaluation import per_region_overlap, pixel_auroc

    maps = detector.error_maps(split.images)
    truth = [errors > math.inf if mask is None else mask for errors, mask in zip(maps, masks, strict=True)]
    return {"pixel AUROC": pixel_auroc(maps, truth), "PRO": per_region_overlap(maps, truth)}


def _write_scores(output: Path, names: list[str], scores: Array) -> NDArray[np.intp]:
    """Write anomalies.csv, highest score first; return the order of its rows."""
    import numpy as np

    from hourglass.cli.output import write_csv

    order = np.argsort(-scores, kind="stable")
    rows = [[names[row], f"{scores[row]:.6g}", "anomaly" if scores[row] > 0 else "normal"] for row in order]
    write_csv(output / "anomalies.csv", [["path", "score", "verdict"], *rows])
    return order


def _images_with_errors(
    split: Split, order: NDArray[np.intp], model: AnomalyDetector | Exported
) -> Iterator[tuple[int, Array, Array]]:
    """Yield row, image in its own size, and error map of each image in `order`."""
    from hourglass.data.files import read_image
    from hourglass.images import to_uint8

    for row in order:
        image = split.images[row] if split.paths is None else to_uint8(read_image(split.paths[row], white=split.white))
        yield row, image, model.error_maps(split.images[row : row + 1])[0]


def _region_rows(name: str, errors: Array, level: float, size: tuple[int, int]) -> list[list[str]]:
    """Rows of regions.csv for an error map of an image, in the pixels of that image of height and width `size`."""
    from hourglass.runtime import enlarged, regions_of

    places = [enlarged(region, errors.shape, size) for region in regions_of(errors, level)]
    return [[name, *map(str, place[:-1]), f"{place.peak:.3g}"] for place in places]


def _check_figure(figure: Path | None, source: str) -> None:
    """Raise ParameterError before anything is read."""
    from hourglass.cli.job import lies_in
    from hourglass.errors import ParameterError
    from hourglass.report import check_format

    if figure is not None:
        check_format(figure)
        if lies_in(figure, source):
            raise ParameterError(f"--figure {figure} lies in the source, {source}; choose another folder.")

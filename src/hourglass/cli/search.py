"""hourglass search"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.job import MEMORY, Job, job_options, run
from hourglass.cli.options import output_option
from hourglass.notes import note

if TYPE_CHECKING:
    from hourglass.estimators import Retriever
    from hourglass.images import Array

_SHOWN = 20  # queries
_THUMBNAIL = 96  # pixels, of a model of any size


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", metavar="QUERY")
@output_option(required=False, what="A folder for neighbours.csv and sheet.png.")
@click.option("--n", default=10, show_default=True, type=click.IntRange(1), help="Neighbours for each query.")
@click.option("--add", "added", metavar="DATA", help="First add these images to MODEL's index, and save it.")
@job_options
def search(job: Job, n: int) -> None:
    """Find the nearest neighbours of the images in QUERY (an image, a folder, DATA) in MODEL's index (of --task retriever).

    Prints path and distance of each neighbour. The sheet shows at most 20 queries, each with its neighbours.

    For each shard (see --stream), it writes a Parquet file with key, rank, path, distance.
    """
    run(job, {MEMORY: partial(_search, n=n)}, n_neighbors=n)


def _search(job: Job, retriever: Retriever, n: int) -> None:
    from hourglass.cli.models import read_splits, sample_of
    from hourglass.cli.output import print_json, print_table, write_csv

    if job.added is not None:
        _add(job, retriever, job.added)
    queries, asked = read_splits(retriever, job.source, **job.reading)[-1]
    distances, rows = retriever.kneighbors(queries.images, n)
    found = [
        [asked[index], str(rank), str(retriever.names_[row]), f"{distance:.4g}"]
        for index in range(len(asked))
        for rank, (row, distance) in enumerate(zip(rows[index], distances[index], strict=True), 1)
    ]
    if job.added is not None and job.model is not None:
        retriever.save(job.model)
    headings = ["query", "rank", "path", "distance"]
    if job.output is not None:
        write_csv(job.output / "neighbours.csv", [headings, *found])
        names = [[str(name) for name in retriever.names_[near]] for near in rows[:_SHOWN]]
        sample = sample_of(retriever)
        size = (_THUMBNAIL, _THUMBNAIL, sample.channels)[: len(sample.shape)] if sample.is_any_size else sample.size
        _write_sheet(job.output / "sheet.png", [_sized(query, size) for query in queries.images[:_SHOWN]], names, size)
    if job.as_json:
        print_json([dict(zip(headings, line, strict=True)) for line in found])
        return
    print_table("", headings, found[: _SHOWN * n])
    if len(asked) > _SHOWN:
        click.echo(f"… and {len(asked) - _SHOWN} more queries" + ("; -o writes all." if job.output is None else "."))


def _add(job: Job, retriever: Retriever, source: str) -> None:
    from hourglass.cli.models import read_splits
    from hourglass.data import is_sharded, stream

    if job.stream or is_sharded(source):
        retriever.add(stream(source, workers=job.workers, strict=job.strict, white=job.white))
    else:
        for split, names in read_splits(retriever, source, **job.reading):
            retriever.add(split.images, names)


def _sized(image: Array, size: tuple[int, ...]) -> Array:
    """`image` in uint8, resized to (height, width)."""
    from PIL import Image

    from hourglass.data.files import resized
    from hourglass.images import to_uint8

    values = to_uint8(image)
    return values if values.shape[:2] == size[:2] else resized(Image.fromarray(values), values, (size[0], size[1]))


def _write_sheet(path: Path, queries: Any, names: list[list[str]], shape: tuple[int, ...]) -> None:
    """A row for each of `names`: the query and the images of its neighbours. A warning instead if one is not found."""
    import numpy as np

    from hourglass.cli.models import images_named
    from hourglass.data.files import write_image
    from hourglass.errors import HourglassError
    from hourglass.images import with_channels
    from hourglass.report import sheet

    pictures = []
    images = images_named([name for near in names for name in near], (shape[0], shape[1]))
    try:
        for query, near in zip(queries, names, strict=False):
            pictures += [query, *(with_channels(next(images)[None], shape)[0] for _ in near)]
    except (HourglassError, OSError) as error:
        path.unlink(missing_ok=True)  # of another search
        note(f"{path} is left out: not all neighbours are found by their names. {error}")
        return
    write_image(path, sheet(np.stack(pictures), len(names[0]) + 1, gap=1))

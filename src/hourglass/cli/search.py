"""hourglass search"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.options import device_option, json_option, output_option, pages_option, white_option
from hourglass.cli.parts import Shards, refuse_within, shard_options

if TYPE_CHECKING:
    from hourglass.data.files import Pages

_SHOWN = 20  # queries


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("query")
@output_option(required=False, what="A folder for neighbours.csv and sheet.png.")
@click.option("--n", default=10, show_default=True, type=click.IntRange(1), help="Neighbours of each.")
@click.option("--add", "added", metavar="DATA", help="First add these images to MODEL's index, and save it.")
@white_option
@pages_option
@shard_options
@device_option
@json_option
def search(
    model: Path,
    query: str,
    output: Path | None,
    n: int,
    added: str | None,
    white: float | None,
    pages: Pages,
    shards: Shards,
    device: str,
    as_json: bool,
) -> None:
    """Find the images most like those in QUERY (an image, a folder, DATA) in MODEL's index (of --task retriever).

    Prints the nearest images of each as path and distance. The sheet shows at most 20 queries, each before its neighbours.

    Of shards (see --stream) it writes a Parquet file each, with key, rank, path, distance.
    """
    from hourglass.cli.models import asked_for, load_as, names_of, parts_for
    from hourglass.cli.output import print_json, print_table
    from hourglass.estimators import Retriever

    if added is None and shards.work_through(
        "search", model, query, output, device, as_json, in_memory=("pages",), white=white, n_neighbors=n
    ):
        return
    if output is not None:
        refuse_within(output, query)
    stream = None if added is None else shards.opened(added)
    retriever = load_as(Retriever, model, device)
    if stream is not None:
        retriever.add(stream)
    elif added is not None:
        for label, split in parts_for(retriever, added, white, pages, shards.strict).items():
            retriever.add(split.images, names_of(split, label))
    queries, asked = asked_for(retriever, query, white, pages, shards.strict)
    distances, rows = retriever.kneighbors(queries.images, n)
    found = [
        [asked[index], str(rank), str(retriever.names_[row]), f"{distance:.4g}"]
        for index in range(len(asked))
        for rank, (row, distance) in enumerate(zip(rows[index], distances[index], strict=True), 1)
    ]
    if added is not None:
        retriever.save(model)
    headings = ["query", "rank", "path", "distance"]
    if output is not None:
        _write_table(output / "neighbours.csv", [headings, *found])
        names = [[str(name) for name in retriever.names_[near]] for near in rows[:_SHOWN]]
        _write_sheet(output / "sheet.png", queries.images, names, retriever.sample_.size)
    if as_json:
        print_json([dict(zip(headings, line, strict=True)) for line in found])
    else:
        print_table("", headings, found[: _SHOWN * n])
        if len(asked) > _SHOWN:
            click.echo(f"… and {len(asked) - _SHOWN} more queries" + ("; -o writes all." if output is None else "."))


def _write_table(path: Path, rows: list[list[str]]) -> None:
    import csv

    from hourglass.data.write import replace_file

    with replace_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _write_sheet(path: Path, queries: Any, names: list[list[str]], shape: tuple[int, ...]) -> None:
    """A line for each of `names`: the query and the images of its neighbours. A note instead where one is not found."""
    import numpy as np

    from hourglass.cli.models import images_named
    from hourglass.data.files import write_image
    from hourglass.errors import HourglassError, HourglassWarning
    from hourglass.images import to_uint8, with_channels
    from hourglass.report import sheet

    pictures = []
    images = images_named([name for near in names for name in near], (shape[0], shape[1]))
    try:
        for query, near in zip(queries, names, strict=False):
            pictures += [to_uint8(query), *(with_channels(next(images)[None], shape)[0] for _ in near)]
    except (HourglassError, OSError) as error:
        path.unlink(missing_ok=True)  # of another search
        warnings.warn(f"{path} is left out: not all neighbours are found by their names. {error}", HourglassWarning, 2)
        return
    write_image(path, sheet(np.stack(pictures), len(names[0]) + 1, gap=1))

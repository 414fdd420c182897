"""hourglass search"""

from __future__ import annotations

from pathlib import Path

import click

from hourglass.cli.options import device_option, json_option, output_option
from hourglass.cli.parts import shard_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("query")
@output_option(required=False, what="A folder for neighbours.csv and sheet.png.")
@click.option("--n", default=10, show_default=True, type=click.IntRange(1), help="Neighbours of each.")
@click.option("--add", "added", metavar="DATA", help="First add these images to MODEL's index, and save it.")
@shard_options
@device_option
@json_option
def search(
    model: Path,
    query: str,
    output: Path | None,
    n: int,
    added: str | None,
    stream: bool,
    workers: int | None,
    strict: bool,
    device: str,
    as_json: bool,
) -> None:
    """Find the images most like those in QUERY (an image, a folder, DATA) in MODEL's index (of --task retriever).

    Prints the nearest images of each as path and distance. The sheet shows at most 20 queries, each before its neighbours.

    Of shards (see --stream) it writes a Parquet file each, with key, rank, path, distance.
    """
    from hourglass.cli.models import asked_for, images_named, load_as, names_of, parts_for
    from hourglass.cli.output import print_json, print_table
    from hourglass.cli.parts import goes_by_parts, work_through
    from hourglass.data import is_sharded
    from hourglass.data import stream as open_stream
    from hourglass.data.files import write_image
    from hourglass.data.write import replace_file
    from hourglass.estimators import Retriever
    from hourglass.images import to_uint8, with_channels
    from hourglass.report import sheet

    if output is not None and added is None and goes_by_parts(query, output, stream):
        work_through("search", model, query, output, device, strict=strict, workers=workers, as_json=as_json, n_neighbors=n)
        return
    retriever = load_as(Retriever, model, device)
    if added is not None:
        if is_sharded(added):
            height, width = retriever.layout_.shape[:2]
            retriever.add(open_stream(added, size=(height, width), workers=workers, strict=strict))
        else:
            for label, split in parts_for(retriever, added).items():
                retriever.add(split.images, names_of(split, label))
    queries, asked = asked_for(retriever, query)
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
        import csv

        import numpy as np

        with replace_file(output / "neighbours.csv") as beside, beside.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([headings, *found])
        shape = retriever.layout_.shape
        pictures = []
        for index in range(min(20, len(asked))):
            near = images_named([str(name) for name in retriever.names_[rows[index]]], shape)
            pictures += [to_uint8(queries.images[index]), *(with_channels(image[None], shape)[0] for image in near)]
        write_image(output / "sheet.png", sheet(np.stack(pictures), n + 1, gap=1))
    if as_json:
        print_json([dict(zip(headings, line, strict=True)) for line in found])
    else:
        print_table("", headings, found[: 20 * n])
        if len(asked) > 20:
            click.echo(f"… and {len(asked) - 20} more queries" + ("; -o writes all." if output is None else "."))

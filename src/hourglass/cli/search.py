"""hourglass search"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.job import MEMORY, Job, job_options, run
from hourglass.cli.options import RegionType, claim, output_option
from hourglass.notes import note

if TYPE_CHECKING:
    from hourglass.data import Split
    from hourglass.estimators import Retriever
    from hourglass.images import Array

_SHOWN = 20  # queries
_THUMBNAIL = 96  # pixels, of a model of any size


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", metavar="[QUERY]", required=False, default="")
@output_option(required=False, what="A folder for neighbours.csv and sheet.png, or of --duplicates for duplicates.csv.")
@click.option("--n", default=10, show_default=True, type=click.IntRange(1), help="Neighbours for each query.")
@click.option("--label", "labels", multiple=True, help="Find only images of this label, or of any of several.")
@click.option("--region", type=RegionType(), help="Search by this part of each query, with a model of images of any size.")
@click.option("--remove", "removed", metavar="PATH", multiple=True, help="First remove this image, or all that a pattern fits.")
@click.option("--update", "updated", metavar="DATA", help="First index these images, in place of those of the same paths.")
@click.option("--add", "added", metavar="DATA", help="First index those of these images whose paths are new.")
@click.option("--duplicates", is_flag=True, help="List groups of images with the same code, in place of a search.")
@job_options
def search(job: Job, n: int, labels: tuple[str, ...], region: tuple[int, ...] | None) -> None:
    """Find the nearest neighbours of the images in QUERY (an image, a folder, DATA) in MODEL's index (of --task retriever).

    Prints path and distance of each neighbour. The sheet shows at most 20 queries, each with its neighbours.

    With --remove, --update or --add the index is changed, in this order, and what changed is saved; QUERY may be left out.

    For each shard (see --stream), it writes a Parquet file with key, rank, path, distance.
    """
    from hourglass.errors import ParameterError

    if not (job.source or job.changes or job.duplicates):
        raise ParameterError("there is nothing to do; give a QUERY, --add, --update, --remove or --duplicates.")
    if job.source and job.duplicates:
        raise ParameterError("--duplicates takes no QUERY: it compares the images in the index.")
    if job.output is not None and not (job.source or job.duplicates):
        raise ParameterError("-o is for what is found; give a QUERY or --duplicates.")
    if region and not job.source:
        raise ParameterError("--region is a part of a QUERY; give one.")
    if job.changes:
        claim(click.get_current_context(), None, job.model)
    settings = {"n_neighbors": n} | ({"labels": labels} if labels else {})
    run(job, {MEMORY: partial(_search, n=n, labels=labels or None, region=region)}, **settings)


def _search(job: Job, retriever: Retriever, n: int, labels: tuple[str, ...] | None, region: tuple[int, ...] | None) -> None:
    from hourglass.cli.models import read_splits

    changed = _change(job, retriever)
    found: tuple[Any, ...] = ()
    if job.source:
        queries, asked = read_splits(retriever, job.source, **job.reading)[-1]
        if region:
            queries = dataclasses.replace(queries, images=_cut(queries.images, asked, region, retriever))
        found = (queries, asked, *retriever.kneighbors(queries.images, n, labels=labels))
    if job.changes and job.model is not None:
        retriever.save(job.model)
    if job.duplicates:
        _tell_duplicates(job, retriever, changed)
    elif job.source:
        _tell_neighbours(job, retriever, n, *found)
    else:
        _tell_changes(job, retriever, changed)


def _cut(images: Sequence[Array], names: list[str], region: tuple[int, ...], retriever: Retriever) -> list[Array]:
    """The region of each image. Raises ParameterError if the model takes one size, DataError if an image does not hold it."""
    from hourglass.cli.models import sample_of
    from hourglass.errors import DataError, ParameterError

    if not sample_of(retriever).is_any_size:
        raise ParameterError(
            "--region needs a model of images of any size: train it on such, or on images larger than 128×128."
        )
    left, top, width, height = region
    for image, name in zip(images, names, strict=True):
        if left + width > image.shape[1] or top + height > image.shape[0]:
            raise DataError(f"{name}: has {image.shape[1]}×{image.shape[0]} pixels, so the region {region} is not within it.")
    return [image[top : top + height, left : left + width] for image in images]


def _change(job: Job, retriever: Retriever) -> dict[str, int]:
    """Remove, update and add images; how many of each."""
    before = len(retriever.index_)
    for given in job.removed:
        retriever.remove(_ids_of(given, retriever))
    left, n_updated = len(retriever.index_), 0
    if job.updated is not None:
        n_updated = _index(job, retriever, job.updated, replaces=True)
    between = len(retriever.index_)
    if job.added is not None:
        _index(job, retriever, job.added, replaces=False)
    n_replaced = n_updated - (between - left)
    return {"removed": before - left, "replaced": n_replaced, "added": len(retriever.index_) - left}


def _ids_of(given: str, retriever: Retriever) -> Array:
    """The ids that are `given`, or else those that fit it as a pattern. Raises DataError if there is none."""
    import fnmatch

    import numpy as np

    from hourglass.errors import DataError

    ids = retriever.ids_.astype(str)
    fits: Array = ids == given
    if not fits.any() and any(sign in given for sign in "*?["):
        matches = set(fnmatch.filter(ids.tolist(), given))
        fits = np.array([one in matches for one in ids.tolist()])
    if not fits.any():
        raise DataError(f"--remove {given}: no such image in the index, which has {len(ids):,}; the first is {ids[0]}.")
    found: Array = retriever.ids_[fits]
    return found


def _index(job: Job, retriever: Retriever, source: str, *, replaces: bool) -> int:
    """Add images, or put them in place of those of the same names; how many there are."""
    import numpy as np

    from hourglass.cli.models import read_splits
    from hourglass.data import is_sharded, stream

    if job.stream or is_sharded(source):
        images = stream(source, workers=job.workers, strict=job.strict, white=job.white)
        retriever.update(images) if replaces else retriever.add(images)
        return len(images)
    count = 0
    for split, names in read_splits(retriever, source, **job.reading):
        rows = np.sort(np.unique(names, return_index=True)[1])
        if not replaces:
            rows = rows[~retriever.has(np.array(names)[rows])]
        if len(rows) < len(names):
            words = f"{len(names) - len(rows):,} of {len(names):,} images are in the index already, by name, and are skipped."
            note(words)
        if len(rows):
            some, ids = split.take(rows), [names[row] for row in rows]
            retriever.update(some.images, ids, some.labels) if replaces else retriever.add(some.images, some.labels, ids=ids)
        count += len(rows)
    return count


def _tell_changes(job: Job, retriever: Retriever, changed: dict[str, int]) -> None:
    from hourglass.cli.output import report

    words = ", ".join(f"{count:,} {what}" for what, count in changed.items() if count) or "nothing changed"
    n_images = len(retriever.index_)
    report({"images": n_images, **changed}, f"{job.model}: {n_images:,} images; {words}.", job.as_json)


def _tell_duplicates(job: Job, retriever: Retriever, changed: dict[str, int]) -> None:
    from hourglass.cli.output import print_json, print_table, write_csv

    groups = [[str(one) for one in group] for group in retriever.duplicates()]
    lines = [[str(number), name] for number, group in enumerate(groups, 1) for name in group]
    if job.output is not None:
        write_csv(job.output / "duplicates.csv", [["group", "path"], *lines])
    if job.as_json:
        print_json({"images": len(retriever.index_), **changed, "duplicates": groups})
        return
    if groups:
        print_table("", ["group", "path"], lines)
    extra = sum(len(group) - 1 for group in groups)
    click.echo(f"{extra:,} of {len(retriever.index_):,} images have the same code as another.")


def _tell_neighbours(
    job: Job, retriever: Retriever, n: int, queries: Split, asked: list[str], distances: Array, rows: Array
) -> None:
    from hourglass.cli.models import sample_of
    from hourglass.cli.output import print_json, print_table, write_csv

    ids = retriever.ids_
    found = [
        [asked[index], str(rank), str(ids[row]), f"{distance:.4g}"]
        for index in range(len(asked))
        for rank, (row, distance) in enumerate(zip(rows[index], distances[index], strict=True), 1)
    ]
    headings = ["query", "rank", "path", "distance"]
    if job.output is not None:
        write_csv(job.output / "neighbours.csv", [headings, *found])
        names = [[str(name) for name in ids[near]] for near in rows[:_SHOWN]]
        sample = sample_of(retriever)
        size = (_THUMBNAIL, _THUMBNAIL, sample.channels)[: len(sample.shape)] if sample.is_any_size else sample.size
        _write_sheet(job.output / "sheet.png", [_sized(query, size) for query in queries.images[:_SHOWN]], names, size)
    if job.as_json:
        print_json([dict(zip(headings, line, strict=True)) for line in found])
        return
    print_table("", headings, found[: _SHOWN * n])
    if len(asked) > _SHOWN:
        click.echo(f"… and {len(asked) - _SHOWN} more queries" + ("; -o writes all." if job.output is None else "."))


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

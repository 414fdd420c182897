"""hourglass data"""

from __future__ import annotations

from typing import Any

import click

from hourglass.cli.options import json_option, size_option


@click.command()
@click.argument("name", required=False, metavar="[DATA]")
@size_option
@json_option
def data(name: str | None, size: tuple[int, int] | None, as_json: bool) -> None:
    """Describe DATA: number, shape, labels and source of the images. Without DATA, list the names of data sets."""
    from hourglass.cli.output import print_json, print_table
    from hourglass.data import NAMED, load

    if name is None:
        if as_json:
            print_json(list(NAMED))
        else:
            click.echo("\n".join(NAMED))
        return
    dataset = load(name, size=size)
    splits = {"train": dataset.train} | ({"test": dataset.test} if dataset.has_test else {})
    rows = {name: _describe(split) for name, split in splits.items()}
    if as_json:
        print_json({"name": dataset.name, "source": dataset.source, "parts": rows})
        return
    click.echo(f"{dataset.name}, from {dataset.source}")
    headings = list(next(iter(rows.values())))
    print_table("", ["part", *headings], [[name, *(str(row[key]) for key in headings)] for name, row in rows.items()])


def _describe(split: Any) -> dict[str, Any]:
    images, labels = split.images, split.labels
    return {
        "images": len(images),
        "shape": split.size_text,
        "dtype": str(images[0].dtype),
        "range": f"{min(image.min() for image in images):g}..{max(image.max() for image in images):g}",
        "labels": "none" if labels is None else len(set(labels.tolist())),
    }

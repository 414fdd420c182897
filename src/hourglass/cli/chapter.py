"""hourglass chapter"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hourglass.cli.options import data_option, device_option, json_option, output_option, seed_option


@click.command()
@data_option
@output_option("chapter", what="A folder for index.html and the files beside it.")
@click.option("--quick", is_flag=True, help="Train for fewer steps, on mnist-5k unless --data is given.")
@click.option(
    "--section",
    "sections",
    multiple=True,
    help="Only this one, or several: structure, linear, penalties, denoising, transformations, latent-space, applications.",
)
@device_option
@seed_option
@json_option
@click.pass_context
def chapter(
    context: click.Context,
    data: str,
    output: Path,
    quick: bool,
    sections: tuple[str, ...],
    device: str,
    seed: int,
    as_json: bool,
) -> None:
    """Run every claim and exercise of the autoencoder chapter and write one page that shows them.

    OUTPUT/index.html needs no network and no other file; chapter.md is the same in Markdown, figures/ has each figure as
    SVG and PNG, chapter.json all numbers. The data needs labels.
    """
    from hourglass.cli.output import print_json
    from hourglass.cli.progress import ShowProgress
    from hourglass.data import load
    from hourglass.report.chapter import TOPICS, Laboratory, Topic, run_chapter

    given = context.get_parameter_source("data") is not click.core.ParameterSource.DEFAULT
    dataset = load("mnist-5k" if quick and not given else data).of_one_size().with_test(seed)
    lab = Laboratory(dataset, seed, device, lambda name: [ShowProgress(name)], quick=quick)

    def begin(topic: Topic) -> None:
        if sys.stderr.isatty():
            click.echo(f"{list(TOPICS).index(topic.name) + 1}. {topic.title}", err=True)

    written = run_chapter(lab, output, context.obj or "hourglass chapter", sections, begin)
    page = output / "index.html"
    if as_json:
        print_json({"page": str(page), "sections": [section.name for section in written]})
        return
    for section in written:
        click.echo(f"{section.title}: {section.seconds:.0f} s")
    click.echo(f"\n{page} is the page; figures/ and chapter.json lie beside it.")

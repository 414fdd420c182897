"""hourglass bench"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.options import data_option, json_option, output_option, seed_option

if TYPE_CHECKING:
    from hourglass.evaluation.bench.suite import Result

NAMES = ("train", "infer", "startup", "uses", "growth")


@click.command()
@click.option("--suite", "suites", multiple=True, type=click.Choice(NAMES), help="Only this one, or these; all by default.")
@data_option
@output_option(required=False, what="A folder for performance.md, performance.json and a figure.")
@click.option("--rounds", type=click.IntRange(1), help="Of each contender: 5 by default, with --quick 2.")
@click.option("--quick", is_flag=True, help="Few images and rounds: a look at what is measured, in some minutes.")
@seed_option
@json_option
@click.pass_context
def bench(
    context: click.Context,
    suites: tuple[str, ...],
    data: str,
    output: Path | None,
    rounds: int | None,
    quick: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Measure seconds and memory of training, applying and starting, beside others in the same run, in turn.

    The others are the chapter's own loop, plain loops in torch, scikit-learn, and PyOD and Pythae where they are installed.
    Bars are for the whole of MNIST on two cores. Results of other suites that stand in OUTPUT/performance.json from the same
    data, seed and machine are kept. Nothing else should run meanwhile.
    """
    from hourglass.cli.output import print_json, print_table
    from hourglass.data import load
    from hourglass.evaluation.bench.page import notes_of, rates_told
    from hourglass.evaluation.bench.rows import COLUMNS
    from hourglass.evaluation.bench.setting import prepared
    from hourglass.evaluation.bench.suite import about, run_suite, to_content

    if output is not None:
        output.mkdir(parents=True, exist_ok=True)  # an output that cannot be is better found now than after the run
    dataset = load(data).with_test(seed)
    with prepared(dataset, seed, rounds, quick, _tell) as setting:
        shared = about(setting)
        kept = {} if output is None else _standing(output, shared)
        measured: dict[str, Result] = {}
        for name in suites or NAMES:
            measured[name] = run_suite(setting, name, context.obj or "hourglass bench")
            if output is not None:  # after each: the rest may take long, and be interrupted
                _write(output, shared, kept | measured)
    if as_json:
        print_json(to_content(shared, measured.values()))
        return
    lines = [[name, *row.cells()] for name, result in measured.items() for row in result.rows]
    print_table(f"{dataset.name}, {setting.n_train:,} training images", ["suite", *COLUMNS], lines)
    if quick:
        click.echo("A quick look: few images and rounds. Its figures are no results.")
    for name, result in measured.items():
        click.echo(f"{name}: {rates_told(result.rates)}")
        for note in notes_of(result):
            click.echo(f"{name}: {note}")


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(text, err=True)


def _standing(output: Path, shared: dict[str, Any]) -> dict[str, Result]:
    """What performance.json in `output` holds, if it was measured with the same data and seed on the same machine."""
    from hourglass.evaluation.bench.suite import standing

    file = output / "performance.json"
    return {result.suite: result for result in standing(file.read_bytes(), shared)} if file.exists() else {}


def _write(output: Path, shared: dict[str, Any], results: dict[str, Result]) -> None:
    from hourglass.data.write import replace_file
    from hourglass.evaluation.bench.growth import slopes
    from hourglass.evaluation.bench.page import FIGURE, page
    from hourglass.evaluation.bench.suite import to_content
    from hourglass.report import growth_curves, save

    in_order = [results[name] for name in NAMES if name in results]
    with replace_file(output / "performance.json") as beside:
        beside.write_text(json.dumps(to_content(shared, in_order), indent=1) + "\n", encoding="utf-8")
    with replace_file(output / "performance.md") as beside:
        beside.write_text(page(shared, in_order), encoding="utf-8")
    if "growth" in results and results["growth"].curves:
        save(growth_curves(results["growth"].curves, slopes(results["growth"].rows)), output / FIGURE)

"""The command of the benchmark: `python -m benchmarks --data mnist --rounds 3 -o docs`, from the root of a checkout.

The contenders' processes do not import this module.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from benchmarks.figure import growth_curves
from benchmarks.growth import slopes
from benchmarks.page import FIGURE, notes_of, page, rates_text
from benchmarks.rows import COLUMNS
from benchmarks.setting import prepared
from benchmarks.suite import SUITES, Result, about, run_suite, standing, to_content
from hourglass.cli.main import carry_out
from hourglass.cli.options import data_option, json_option, output_option, seed_option
from hourglass.cli.output import print_json, print_table
from hourglass.data import load
from hourglass.data.write import replace_file
from hourglass.report import save

NAME = "python -m benchmarks"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--suite", "suites", multiple=True, type=click.Choice(list(SUITES)), help="Only this one, or these; all by default."
)
@data_option
@output_option(required=False, what="A folder for performance.md, performance.json and a figure.")
@click.option("--rounds", type=click.IntRange(1), help="Of each contender: 5 by default, with --quick 2.")
@click.option("--quick", is_flag=True, help="Few images and rounds: a look at what is measured, in some minutes.")
@seed_option
@json_option
@click.pass_context
def measure(
    context: click.Context,
    suites: tuple[str, ...],
    data: str,
    output: Path | None,
    rounds: int | None,
    quick: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Measure seconds and memory of training, inference and start-up, beside peers in the same run, in turn.

    The peers are the chapter's own loop, plain loops in torch, scikit-learn, and PyOD and Pythae where they are installed.
    Bars are for the whole of MNIST on two cores. Results of other suites in OUTPUT/performance.json are kept if they share
    data, seed and machine; the page says which code each is of. Nothing else should run meanwhile.
    """
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)  # fail before the run, not after it
    dataset = load(data).with_test(seed)
    with prepared(dataset, seed, rounds, quick, _show_progress) as bench:
        shared = about(bench)
        kept = {} if output is None else _standing(output, shared)
        measured: dict[str, Result] = {}
        for name in suites or SUITES:
            measured[name] = run_suite(bench, name, context.obj or NAME)
            if output is not None:  # after each suite: the others may take long, and be interrupted
                _write(output, shared, kept | measured)
    if as_json:
        print_json(to_content(shared, measured.values()))
        return
    lines = [[name, *row.cells()] for name, result in measured.items() for row in result.rows]
    print_table(f"{dataset.name}, {bench.n_train:,} training images", ["suite", *COLUMNS], lines)
    if quick:
        click.echo("A quick look: few images and rounds. Its figures are no results.")
    for name, result in measured.items():
        click.echo(f"{name}: {rates_text(result.rates)}")
        for note in notes_of(result):
            click.echo(f"{name}: {note}")


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(text, err=True)


def _standing(output: Path, shared: dict[str, Any]) -> dict[str, Result]:
    """Return the results in `output`/performance.json that share all of `shared`."""
    file = output / "performance.json"
    return {result.suite: result for result in standing(file.read_bytes(), shared)} if file.exists() else {}


def _write(output: Path, shared: dict[str, Any], results: dict[str, Result]) -> None:
    in_order = [results[name] for name in SUITES if name in results]
    with replace_file(output / "performance.json") as beside:
        beside.write_text(json.dumps(to_content(shared, in_order), indent=1) + "\n", encoding="utf-8")
    with replace_file(output / "performance.md") as beside:
        beside.write_text(page(shared, in_order), encoding="utf-8")
    if "growth" in results and results["growth"].curves:
        save(growth_curves(results["growth"].curves, slopes(results["growth"].rows)), output / FIGURE)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit with the codes of `hourglass`: 0 done, 2 bad input, 130 interrupted."""
    carry_out(measure, NAME, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()

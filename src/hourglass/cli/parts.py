"""What verbs do with shards: one part of the output for each, in Parquet."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hourglass.estimators.parts import Report

F = TypeVar("F", bound=Callable[..., Any])


def shard_options(verb: F) -> F:
    """The options of verbs that work shard by shard."""
    for option in (
        click.option("--strict", is_flag=True, help="Of shards: stop at the first image that cannot be read."),
        click.option("--workers", type=click.IntRange(0), help="Of shards: processes that read and decode; 0: none but this."),
        click.option(
            "--stream",
            is_flag=True,
            help="Treat a folder of images, or an npy file, as shards, as Parquet and tar files always are: each gives a file "
            "below the folder OUTPUT, what is there is not made again, and *.rejects.csv lists what could not be read.",
        ),
    ):
        verb = option(verb)
    return verb


def goes_by_parts(source: str | Path, output: Path, stream: bool, single: tuple[str, ...] = ()) -> bool:
    """Whether `source` is worked through shard by shard: it is shards or asked to be, and `output` is none of `single` files.

    ParameterError if it is asked for and cannot be.
    """
    from hourglass.data import is_sharded
    from hourglass.errors import ParameterError

    if output.suffix in single:
        if stream:
            raise ParameterError(f"--stream writes a folder of parts; -o {output} names a file.")
        return False
    return stream or is_sharded(source)


def work_through(
    verb: str,
    model: Path,
    source: str | Path,
    output: Path,
    device: str,
    *,
    strict: bool,
    workers: int | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Put the model to the use `verb` over the shards of `source`, and say what became of it."""
    from hourglass.cli.models import load_as
    from hourglass.data import stream
    from hourglass.errors import ParameterError
    from hourglass.estimators.parts import write_parts
    from hourglass.estimators.persistence import read_config
    from hourglass.estimators.shard_uses import USES

    if output.exists() and not output.is_dir():
        raise ParameterError(f"{output} is a file; of shards, -o names a folder of parts.")
    kind = USES[verb]
    use = kind(load_as(kind.kind, model, device), **given)
    settings = "".join(f" {name}={value}" for name, value in given.items())
    report = write_parts(
        use,
        stream(source, workers=workers, strict=strict),
        output,
        f"{verb}{settings} by {read_config(model)['sha256'][:16]}",
        part=part_of_all(),
        tell=_tell,
    )
    _print(report, output, as_json)


def part_of_all() -> tuple[int, int]:
    """(which of them this process is, how many), as torchrun says."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _tell(path: Path, report: Report) -> None:
    if sys.stderr.isatty():
        speed = report.images / max(report.seconds, 1e-9)
        click.echo(f"{path}: {report.images:,} images so far, {speed:,.0f} a second.", err=True)


def _print(report: Report, output: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from hourglass.cli.output import print_json

    number, how_many = part_of_all()
    if as_json:
        print_json({"output": str(output), "process": number, "processes": how_many, **asdict(report)})
        return
    who = f"process {number} of {how_many}: " if how_many > 1 else ""
    click.echo(f"{who}{output}: {report.images:,} images in {report.parts} new parts; {report.standing} were done before.")
    if report.rejected or report.failed:
        failed = f", and {report.failed} whole shards" if report.failed else ""
        click.echo(
            f"{who}{report.rejected:,} images could not be used{failed}: see *.rejects.csv there. First: {report.first_reject}",
            err=True,
        )

"""What verbs do with shards: one part of the output for each, in Parquet."""

from __future__ import annotations

import functools
import glob
import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.options import strict_option
from hourglass.cli.processes import part_of_all

if TYPE_CHECKING:
    from hourglass.data import Stream
    from hourglass.estimators.parts import Report


def shard_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The options of verbs that work shard by shard, which `verb` takes as one argument, `shards`."""

    @functools.wraps(verb)  # with the options that it has so far
    def with_shards(*given: Any, stream: bool, workers: int | None, strict: bool, **named: Any) -> None:
        verb(*given, shards=Shards(stream, workers, strict), **named)

    for option in (
        strict_option,
        click.option("--workers", type=click.IntRange(0), help="Of shards: processes that read and decode; 0: none but this."),
        click.option(
            "--stream",
            is_flag=True,
            help="Treat a folder of images, or an npy file, as shards, as Parquet and tar files always are: each gives a file "
            "below the folder OUTPUT, what is there is not made again, and *.rejects.csv lists what could not be read.",
        ),
    ):
        with_shards = option(with_shards)
    return with_shards


@dataclass(frozen=True)
class Shards:
    """The options of shards, and what is done with them. All that they do not apply to is refused here."""

    stream: bool = False
    workers: int | None = None
    strict: bool = False

    def opened(self, source: str) -> Stream | None:
        """`source` as a stream if it is shards or asked to be, else None. ParameterError if options do not apply."""
        from hourglass.data import is_sharded, stream

        if self.stream or is_sharded(source):
            return stream(source, workers=self.workers, strict=self.strict)
        self._refuse(f"{source} is none; add --stream")
        return None

    def work_through(
        self,
        verb: str,
        model: Path | None,
        source: str | Path,
        output: Path | None,
        device: str,
        as_json: bool,
        *,
        single: tuple[str, ...] = (),
        in_memory: tuple[str, ...] = (),
        white: float | None = None,
        **given: Any,
    ) -> bool:
        """Put the model to the use `verb` over the shards of `source`, and say what became of it.

        False, and nothing is done, where `source` is none, nor asked to be treated so, or `output` is one file, whose name ends
        as one of `single`. ParameterError if options are given that do not apply, as those of `in_memory` do not to shards.
        """
        from hourglass.cli.models import load_as, shape_of, white_for
        from hourglass.data import stream
        from hourglass.data.notes import one_note
        from hourglass.errors import ParameterError
        from hourglass.estimators.parts import write_parts
        from hourglass.estimators.shard_uses import USES
        from hourglass.trained.files import read_config

        folder = self._folder_of_parts(source, output, single)
        if folder is None:
            return False
        kind = USES[verb]
        if model is None:
            task = kind.kind.saved_as
            raise ParameterError(f"of shards, --model must name a {task}: hourglass train --task {task} makes one.")
        _refuse_in_memory(verb, in_memory)
        use = kind(load_as(kind.kind, model, device), **given)
        shape_of(use.model)
        set_by_user = given if white is None else given | {"white": white}
        settings = "".join(f" {name}={value}" for name, value in set_by_user.items())
        images = stream(source, workers=self.workers, strict=self.strict, white=white_for(use.model, white))
        use.white = images.white
        with one_note():
            report = write_parts(
                use,
                images,
                folder,
                f"{verb}{settings} by {read_config(model)['sha256'][:16]}",
                part=part_of_all(),
                tell=_tell,
            )
        _print(report, folder, as_json)
        return True

    def _folder_of_parts(self, source: str | Path, output: Path | None, single: tuple[str, ...]) -> Path | None:
        """`output`, if the shards of `source` are to be worked through into it; else None."""
        from hourglass.data import is_sharded
        from hourglass.data.shards import KINDS
        from hourglass.errors import ParameterError

        if output is None:
            self._refuse("-o, a folder for a part of each, is not given")
            return None
        is_single, sharded = output.suffix in single, is_sharded(source)
        if is_single:
            self._refuse(f"each gives a part in a folder, and -o {output} names a file")
        elif not (self.stream or sharded):
            self._refuse(f"{source} is none; add --stream")
            return None
        elif output.exists() and not output.is_dir():
            raise ParameterError(f"{output} is a file; of shards, -o names a folder of parts.")
        if (not is_single or (sharded and output.suffix.removeprefix(".") in KINDS)) and _lies_in(output, source):
            raise ParameterError(
                f"-o {output} lies in the source, {source}, and would be read as part of it the next time; "
                f"choose another folder than {output if not is_single else output.parent}."
            )
        return None if is_single else output

    def _refuse(self, reason: str) -> None:
        """ParameterError if any option is given."""
        from hourglass.errors import ParameterError

        given = {"stream": self.stream, "workers": self.workers is not None}
        for name in [name for name, is_given in given.items() if is_given]:
            raise ParameterError(f"--{name} is for shards: {reason}.")


def _refuse_in_memory(verb: str, options: tuple[str, ...]) -> None:
    from click.core import ParameterSource

    from hourglass.errors import ParameterError

    context = click.get_current_context()
    for name in options:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ParameterError(
                f"--{name} is for images in memory, not for shards, of which {verb} writes a part each; omit it."
            )


def refuse_within(output: Path, source: str | Path) -> None:
    """ParameterError where images that are written below `output` would be read as part of `source` the next time."""
    from hourglass.errors import ParameterError

    if _lies_in(output, source):
        words = "and what is written there would be read as part of it the next time"
        raise ParameterError(f"-o {output} lies in the source, {source}, {words}; choose another folder.")


def _lies_in(output: Path, source: str | Path) -> bool:
    """Whether `output` is, or lies below, a folder that is read with all that is below it."""
    folder = Path(os.path.expanduser(source))
    if not folder.is_dir():  # of a pattern, what stands before its first folder with a wildcard
        if not glob.has_magic(str(folder.parent)):
            return False
        folder = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), folder.parts))
    return output.resolve().is_relative_to(folder.resolve())


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

"""A job: one run of a verb that applies a model. What to read, what to do, where to write, what to skip.

`job_options` builds it from the command line. `run` takes the same steps for every verb: resolve which reader the source needs,
check the options against it, load the model, run, report. Shards are read here; a verb passes what it does with images in
memory, with image files, or both.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import hashlib
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hourglass.cli.options import (
    device_option,
    json_option,
    pages_option,
    stream_option,
    strict_option,
    white_option,
    workers_option,
)
from hourglass.cli.processes import rank_and_size

if TYPE_CHECKING:
    from hourglass.data.files import Pages
    from hourglass.runtime.parts import Report

MEMORY, FILES, SHARDS = "images in memory", "image files", "shards"
"""The readers."""

_WRITES_FILES = {"pages": FILES, "format": FILES, "quality": FILES}
_APPLIES_TO = {
    "denoise": _WRITES_FILES,
    "enhance": _WRITES_FILES,
    "detect": {"pages": MEMORY, "overlays": MEMORY, "figure": MEMORY},
    "encode": {"pages": MEMORY},
    "search": {"pages": MEMORY, "region": MEMORY},
    "compress": {"pages": MEMORY, "quality": MEMORY, "tile": MEMORY},
}
"""For each verb, options that apply to one reader only. --stream and --workers are for shards, all others for any reader."""
_TRAINING = {"compress": ("quality", "tile")}
"""Options that apply only without a model."""
_SUFFIXES = {"denoise": (".npy",), "encode": (".npz", ".parquet"), "compress": (".hgc",)}
"""Suffixes of an OUTPUT that is a single file: all images are then read into memory, those in shards too."""


@dataclass(frozen=True)
class Job:
    """One run of a verb. Its fields are the arguments and options of the command line."""

    verb: str
    model: Path | None
    source: str
    output: Path | None
    white: float | None = None
    pages: Pages = "all"
    strict: bool = False
    stream: bool = False
    workers: int | None = None
    device: str = "auto"
    as_json: bool = False
    added: str | None = None
    """For search: images to index first. --stream and --workers then apply to them, and the queries are read into memory."""
    updated: str | None = None
    """For search: images to index first, in place of those of the same names; as `added`."""
    removed: tuple[str, ...] = ()
    """For search: images to remove from the index first."""
    duplicates: bool = False
    """For search: list images that are the same to the model."""
    given: frozenset[str] = frozenset()
    """Names of the options that were given explicitly."""

    @property
    def indexed(self) -> str | None:
        """For search: images to index."""
        return self.added if self.added is not None else self.updated

    @property
    def changes(self) -> bool:
        """For search: whether the index changes."""
        return self.indexed is not None or bool(self.removed)

    @property
    def target(self) -> Path:
        """`output`, for verbs that require it."""
        assert self.output is not None
        return self.output

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of an output that is a single file."""
        return _SUFFIXES.get(self.verb, ())

    @property
    def reading(self) -> dict[str, Any]:
        """Keyword arguments for reading into memory."""
        return {"white": self.white, "pages": self.pages, "strict": self.strict}


Work = Callable[[Job, Any], None]
"""Reads the images of a job, applies its model, writes and reports the results."""


def job_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Add the options that these verbs share. `verb` gets them, with model, source and output, as one `Job`."""
    names = [field.name for field in dataclasses.fields(Job)]

    @functools.wraps(verb)  # and with the options added so far
    def with_job(*, source: str, **values: Any) -> None:
        context = click.get_current_context()
        given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        fields = {name: values.pop(name) for name in names if name in values}
        verb(Job(verb.__name__, source=os.path.expanduser(source), given=frozenset(given), **fields), **values)

    options = (white_option, pages_option, stream_option, workers_option, strict_option, device_option, json_option)
    for option in reversed(options):
        with_job = option(with_job)
    return with_job


def run(job: Job, work: Mapping[str, Work], **settings: Any) -> None:
    """Run `job`, with `work` for the readers MEMORY and FILES that the verb has, and `settings` for its `ShardTask`.

    Raises ParameterError if an option does not apply or the output would overwrite or extend the source; DataError if there is
    no such source.
    """
    reader = reader_of(job, work)

    from hourglass.cli.models import load_as
    from hourglass.runtime.shard_tasks import SHARD_TASKS

    model = None if job.model is None else load_as(SHARD_TASKS[job.verb].needs, job.model, job.device)
    apply(job, reader, model, work, settings)


def apply(job: Job, reader: str, model: Any, work: Mapping[str, Work], settings: Mapping[str, Any]) -> None:
    """Apply `model`, an estimator or one that was exported, to what `reader` reads; as `run`, which loads it."""
    from hourglass.cli.models import white_for

    if model is not None:
        job = dataclasses.replace(job, white=white_for(model, job.white))
    if reader == SHARDS:
        _apply_to_shards(job, model, settings)
    else:
        work[reader](job, model)


def reader_of(job: Job, work: Mapping[str, Work]) -> str:
    """The reader that the source of `job` needs, once its options and output are checked. Raises as `run`."""
    reader, not_shards = _resolve(job, work)
    _check_options(job, reader, not_shards)
    _check_output(job, reader)
    return reader


def _resolve(job: Job, work: Mapping[str, Work]) -> tuple[str, str]:
    """The reader of the source, and why --stream and --workers do not apply ("" if they do)."""
    from hourglass.cli.models import are_files
    from hourglass.data import NAMED, is_sharded
    from hourglass.errors import DataError

    if job.source and not (job.source in NAMED or os.path.exists(job.source) or glob.has_magic(job.source)):
        raise DataError(f"{job.source}: no such file or folder, nor a data set ({', '.join(NAMED)}).")
    streamed = job.source if job.indexed is None else job.indexed
    in_shards = job.stream or is_sharded(streamed)
    not_shards = "" if in_shards else f"{streamed} is not in shards; add --stream"
    if not job.changes and not job.duplicates:
        if job.output is None:
            not_shards = "-o, a folder for a part of each, is not given"
        elif job.output.suffix in job.suffixes:
            not_shards = f"each gives a part in a folder, and -o {job.output} names a file"
        elif in_shards:
            return SHARDS, ""
    return FILES if FILES in work and (MEMORY not in work or are_files(job.source)) else MEMORY, not_shards


def _check_options(job: Job, reader: str, not_shards: str) -> None:
    from hourglass.errors import ParameterError

    for name, needed in ({"stream": SHARDS, "workers": SHARDS} | _APPLIES_TO[job.verb]).items():
        applies = needed == reader or (needed == SHARDS and not not_shards)
        if name in job.given and not applies:
            reason = f"; {job.source} holds arrays."
            if needed == SHARDS:
                reason = f": {not_shards}."
            elif reader == SHARDS:
                reason = f", not for shards, of which {job.verb} writes a part each; omit it."
            raise ParameterError(f"--{name} is for {needed}{reason}")
    for name in _TRAINING.get(job.verb, ()):
        if name in job.given and job.model is not None:
            raise ParameterError(f"--{name} is for training; a MODEL has its own.")
    if job.model is None and reader == SHARDS:
        raise ParameterError("of shards, --model must name a compressor: hourglass train --task compressor makes one.")


def _check_output(job: Job, reader: str) -> None:
    from hourglass.data import is_sharded
    from hourglass.data.shards import KINDS
    from hourglass.errors import ParameterError

    if job.output is None or reader == FILES:  # files are checked one by one, when they are listed
        return
    is_single = reader == MEMORY and bool(job.suffixes)
    if is_single and job.output.suffix not in job.suffixes:
        raise ParameterError(
            f"-o {job.output}: for {job.source}, which is not in shards (see --stream), -o must name a file that ends in "
            f"{' or '.join(job.suffixes)}."
        )
    if reader == SHARDS and job.output.exists() and not job.output.is_dir():
        raise ParameterError(f"{job.output} is a file; of shards, -o names a folder of parts.")
    is_read_again = not is_single or (job.output.suffix.removeprefix(".") in KINDS and is_sharded(job.source))
    if is_read_again and job.source and lies_in(job.output, job.source):
        raise ParameterError(
            f"-o {job.output} lies in the source, {job.source}, and would be read as part of it the next time; "
            f"choose another folder than {job.output.parent if is_single else job.output}."
        )
    if is_single and job.output.resolve() == Path(job.source).resolve():
        raise ParameterError("-o names the source itself; the originals would be lost.")


def lies_in(output: Path, source: str) -> bool:
    """Whether `output` is, or lies below, a folder that is read recursively, also behind links."""
    from hourglass.data.walk import walk
    from hourglass.notes import quiet

    folder = Path(source)
    if not folder.is_dir():  # of a pattern, the folder above the first with a wildcard
        if not glob.has_magic(str(folder.parent)):
            return False
        folder = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), folder.parts))
    with quiet():  # links are noted when the images are read
        links = [Path(below) for below, _ in walk(str(folder)) if os.path.islink(below)] if folder.is_dir() else []
    return any(output.resolve().is_relative_to(read.resolve()) for read in (folder, *links))


def _apply_to_shards(job: Job, model: Any, settings: Mapping[str, Any]) -> None:
    from hourglass.cli.models import sample_of
    from hourglass.cli.output import report
    from hourglass.data import stream
    from hourglass.errors import ModelError
    from hourglass.runtime.parts import write_parts
    from hourglass.runtime.shard_tasks import SHARD_TASKS

    assert job.model is not None
    if not sample_of(model).is_image:
        raise ModelError("the model was fitted on flat features, not on images.")
    shown = {**settings, **({"white": job.white} if "white" in job.given else {})}
    words = " ".join([job.verb, *(f"{name}={value}" for name, value in shown.items())])
    made_by = f"{words} by {_digest_of(job.model)[:16]}"
    source = stream(job.source, workers=job.workers, strict=job.strict, white=job.white)
    rank, size = rank_and_size()
    task = SHARD_TASKS[job.verb](model, **settings)
    result = write_parts(task, source, job.target, made_by, rank=rank, size=size, on_part=_show_speed)
    who = f"process {rank} of {size}: " if size > 1 else ""
    report(
        {"output": str(job.output), "process": rank, "processes": size, **dataclasses.asdict(result)},
        f"{who}{job.output}: {result.images:,} images in {result.parts} new parts; {result.standing} were done before.",
        job.as_json,
    )
    if not job.as_json and (result.rejected or result.failed):
        failed = f", and {result.failed} whole shards" if result.failed else ""
        words = f"{result.rejected:,} images could not be used{failed}: see *.rejects.csv there. First: {result.first_reject}"
        click.echo(f"{who}{words}", err=True)


def _digest_of(model: Path) -> str:
    """SHA-256 of a model's folder, or of an exported file."""
    if model.is_file():
        return hashlib.sha256(model.read_bytes()).hexdigest()

    from hourglass.trained.files import digest_of

    return digest_of(model)


def _show_speed(part: Path, report: Report) -> None:
    if sys.stderr.isatty():
        speed = report.images / max(report.seconds, 1e-9)
        click.echo(f"{part}: {report.images:,} images so far, {speed:,.0f} a second.", err=True)

"""hourglass run"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hourglass.cli.denoise import transform_arrays
from hourglass.cli.detect import overlays_option, report_findings, write_findings
from hourglass.cli.encode import write_codes
from hourglass.cli.job import FILES, MEMORY, Job, Work, apply, reader_of
from hourglass.cli.options import (
    json_option,
    output_option,
    pages_option,
    stream_option,
    strict_option,
    white_option,
    workers_option,
)
from hourglass.cli.restoration import format_option, quality_option, restore_files

if TYPE_CHECKING:
    from hourglass.runtime import Exported


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(what="As the verb of the model's task: a folder, an image, or a .npy, .npz or .parquet file.")
@click.option("--threads", type=click.IntRange(1), help="Threads for an operation.  [default: as many as there are cores]")
@overlays_option
@format_option
@quality_option
@white_option
@pages_option
@stream_option
@workers_option
@strict_option
@json_option
def run(model: Path, source: str, output: Path, threads: int | None, overlays: int, **given: Any) -> None:
    """Apply MODEL, an .onnx file that `hourglass export` wrote, to the images in SOURCE, without torch.

    It does what the verb of its task does, with the same names, depth, colour, columns and shards: denoise (also of an
    autoencoder and a compressor, whose reconstructions it writes), enhance, detect, encode (of an encoder and a retriever). Of
    a decoder and a generator, SOURCE is a .npy file of codes, and OUTPUT one of images.

    Image files that cannot be read are listed in OUTPUT/rejects.csv, of shards in a *.rejects.csv beside each part.
    """
    import os

    from hourglass.errors import ParameterError
    from hourglass.runtime import load_onnx

    exported = load_onnx(model, n_threads=threads)
    writing = {name: given.pop(name) for name in ("format", "quality")}
    context = click.get_current_context()
    names = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    source = os.path.expanduser(source)
    if "overlays" in names and "scores" not in exported.outputs:
        raise ParameterError("--overlays is for detectors; leave it out.")
    if exported.facts.takes_codes:
        if foreign := sorted({*names} - {"model", "source", "output", "threads", "as_json"}):
            raise ParameterError(f"{model} decodes codes, for which there is no --{foreign[0]}; omit it.")
        _decode(exported, Path(source), output, given["as_json"])
        return
    verb, work = _work(exported, writing, overlays)
    if FILES not in work and not {"format", "quality"}.isdisjoint(names):
        raise ParameterError(f"--format and --quality are for images that are written; {verb} writes none.")
    job = Job(verb, exported.path, source, output, given=frozenset(names), **given)
    apply(job, reader_of(job, work), exported, work, {})


def _work(model: Exported, writing: dict[str, Any], n_overlays: int) -> tuple[str, Mapping[str, Work]]:
    """(the verb of the model's task, what to do with images of each reader)"""
    if "codes" in model.outputs:
        return "encode", {MEMORY: write_codes}
    if "scores" in model.outputs:
        return "detect", {MEMORY: partial(_detect, n_overlays=n_overlays)}
    files = partial(restore_files, **writing)
    if model.task == "enhancer":
        return "enhance", {FILES: files}
    return "denoise", {FILES: files, MEMORY: partial(transform_arrays, options={})}


def _detect(job: Job, detector: Exported, n_overlays: int) -> None:
    from hourglass.cli.models import read_splits

    split, names = read_splits(detector, job.source, **job.reading)[-1]
    report_findings(job, write_findings(job.target, split, names, detector, n_overlays), n_overlays)


def _decode(model: Exported, source: Path, output: Path, as_json: bool) -> None:
    from hourglass.cli.output import report_written
    from hourglass.data.array_files import read_npy, write_array
    from hourglass.errors import ParameterError

    if source.suffix != ".npy" or output.suffix != ".npy":
        raise ParameterError(f"{model.path} decodes codes: SOURCE and -o each name a .npy file, of codes and of images.")
    write_array(output, model.inverse_transform(read_npy(source)))
    report_written([output], output, as_json)

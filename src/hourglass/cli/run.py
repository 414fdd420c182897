"""hourglass run"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hourglass.cli.denoise import transform_arrays
from hourglass.cli.detect import REGION_COLUMNS, images_with_errors, overlays_option, region_rows, write_overlay, write_scores
from hourglass.cli.encode import write_codes
from hourglass.cli.job import FILES, MEMORY, Job, Work, reader_of
from hourglass.cli.options import json_option, output_option, pages_option, strict_option, white_option
from hourglass.cli.restoration import format_option, quality_option, restore_files
from hourglass.notes import note

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
@strict_option
@json_option
def run(model: Path, source: str, output: Path, threads: int | None, overlays: int, **given: Any) -> None:
    """Apply MODEL, an .onnx file that `hourglass export` wrote, to the images in SOURCE, without torch.

    It does what the verb of its task does, with the same names, depth, colour and columns: denoise (also of an autoencoder and
    a compressor, whose reconstructions it writes), enhance, detect (without the sheet), encode (of an encoder and a
    retriever). Of a decoder and a generator, SOURCE is a .npy file of codes, and OUTPUT one of images.

    Files that cannot be read are listed in OUTPUT/rejects.csv. Shards are for the verbs themselves.
    """
    import os

    from hourglass.cli.models import white_for
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
        _decode(exported, Path(source), output, given["as_json"])
        return
    verb, work = _work(exported, writing, overlays)
    if FILES not in work and not {"format", "quality"}.isdisjoint(names):
        raise ParameterError(f"--format and --quality are for images that are written; {verb} writes none.")
    job = Job(verb, model, source, output, given=frozenset(names), **given)
    reader = reader_of(job, work)
    if reader not in work:
        raise ParameterError(f"{source} is in shards, which `hourglass run` does not read; hourglass {verb} does.")
    work[reader](dataclasses.replace(job, white=white_for(exported, job.white)), exported)


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
    """Write anomalies.csv, regions.csv and overlays, as `hourglass detect`."""
    from hourglass.cli.models import read_splits
    from hourglass.cli.output import report, write_csv
    from hourglass.data.rejects import write_rejects
    from hourglass.runtime import overlay

    split, names = read_splits(detector, job.source, **job.reading)[-1]
    write_rejects(job.target / "rejects.csv", split.rejects)
    scores = -detector.decision_function(split.images)
    order = write_scores(job.target, names, scores)
    found, level = int((scores > 0).sum()), detector.map_level_
    if math.isnan(level):
        note("the detector had no map_level_ when it was exported: there are no regions or overlays; set it and export again.")
        n_shown = n_listed = 0
    else:
        n_shown, n_listed = min(n_overlays, len(order)), found
    regions = [REGION_COLUMNS]
    for rank, (row, image, errors) in enumerate(images_with_errors(split, order[: max(n_listed, n_shown)], detector)):
        if rank < found:
            regions += region_rows(names[row], errors, level, image.shape[:2])
        if rank < n_shown:
            write_overlay(job.target, rank, names[row], overlay(image, errors, level))
    write_csv(job.target / "regions.csv", regions)
    report(
        {"images": len(scores), "anomalies": found, "output": str(job.target)},
        f"{found} of {len(scores)} images are anomalies; {job.target}/anomalies.csv, regions.csv, {n_shown} overlays.",
        job.as_json,
    )


def _decode(model: Exported, source: Path, output: Path, as_json: bool) -> None:
    from hourglass.cli.output import report_written
    from hourglass.data.array_files import read_npy, write_array
    from hourglass.errors import ParameterError

    if source.suffix != ".npy" or output.suffix != ".npy":
        raise ParameterError(f"{model.path} decodes codes: SOURCE and -o each name a .npy file, of codes and of images.")
    write_array(output, model.inverse_transform(read_npy(source)))
    report_written([output], output, as_json)

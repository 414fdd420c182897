"""hourglass run"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from hourglass.cli.denoise import transform_arrays
from hourglass.cli.detect import REGION_COLUMNS, region_rows, write_scores
from hourglass.cli.encode import write_codes
from hourglass.cli.job import FILES, MEMORY, Job, Work, reader_of
from hourglass.cli.options import json_option, output_option, pages_option, strict_option, white_option
from hourglass.cli.restoration import format_option, quality_option, restore_files

if TYPE_CHECKING:
    from hourglass.runtime import Exported


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(what="As the verb of the model's task: a folder, an image, or a .npy, .npz or .parquet file.")
@click.option("--threads", type=click.IntRange(1), help="Threads for an operation.  [default: as many as there are cores]")
@format_option
@quality_option
@white_option
@pages_option
@strict_option
@json_option
def run(model: Path, source: str, output: Path, threads: int | None, **given: Any) -> None:
    """Apply MODEL, an .onnx file that `hourglass export` wrote, to the images in SOURCE, without torch.

    It does what the verb of its task does, with the same names, depth, colour and columns: denoise (also of an autoencoder and
    a compressor, whose reconstructions it writes), enhance, detect (without overlays and sheet), encode (of an encoder and a
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
    if exported.facts.takes_codes:
        _decode(exported, Path(source), output, given["as_json"])
        return
    verb, work = _work(exported, writing)
    if FILES not in work and not {"format", "quality"}.isdisjoint(names):
        raise ParameterError(f"--format and --quality are for images that are written; {verb} writes none.")
    job = Job(verb, model, source, output, given=frozenset(names), **given)
    reader = reader_of(job, work)
    if reader not in work:
        raise ParameterError(f"{source} is in shards, which `hourglass run` does not read; hourglass {verb} does.")
    work[reader](dataclasses.replace(job, white=white_for(exported, job.white)), exported)


def _work(model: Exported, writing: dict[str, Any]) -> tuple[str, Mapping[str, Work]]:
    """(the verb of the model's task, what to do with images of each reader)"""
    if "codes" in model.outputs:
        return "encode", {MEMORY: write_codes}
    if "scores" in model.outputs:
        return "detect", {MEMORY: _detect}
    files = partial(restore_files, **writing)
    if model.task == "enhancer":
        return "enhance", {FILES: files}
    return "denoise", {FILES: files, MEMORY: partial(transform_arrays, options={})}


def _detect(job: Job, detector: Exported) -> None:
    """Write anomalies.csv and regions.csv, as `hourglass detect`."""
    from hourglass.cli.models import read_splits
    from hourglass.cli.output import report, write_csv
    from hourglass.data.files import read_image
    from hourglass.data.rejects import write_rejects

    split, names = read_splits(detector, job.source, **job.reading)[-1]
    write_rejects(job.target / "rejects.csv", split.rejects)
    scores = -detector.decision_function(split.images)
    order = write_scores(job.target, names, scores)
    found, level = int((scores > 0).sum()), detector.facts.use.get("map_level")
    regions = [REGION_COLUMNS]
    for row in order[: found if level is not None else 0]:
        image = split.images[row] if split.paths is None else read_image(split.paths[row], white=split.white)
        errors = detector.error_maps(split.images[row : row + 1])[0]
        regions += region_rows(names[row], errors, float(level or 0.0), image.shape[:2])
    write_csv(job.target / "regions.csv", regions)
    report(
        {"images": len(scores), "anomalies": found, "output": str(job.target)},
        f"{found} of {len(scores)} images are anomalies; {job.target}/anomalies.csv, regions.csv.",
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

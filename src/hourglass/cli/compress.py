"""hourglass compress, hourglass decompress"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.each import compress_each, decompress_each, is_for_each, places_of
from hourglass.cli.job import FILES, MEMORY, Job, job_options, run
from hourglass.cli.options import SizeType, claim, device_option, json_option, output_option, seed_option
from hourglass.notes import left_out, note, one_note

if TYPE_CHECKING:
    from hourglass.estimators import Compressor
    from hourglass.images import Array

_TILE = (16, 16)
_LARGEST = 64  # arrays of larger images are cut into tiles too


def model_and_source(verb: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments [MODEL] SOURCE: the model may also be named by --model."""

    @functools.wraps(verb)  # and with the options added so far
    def placed(*, places: tuple[str, ...], model: Path | None, **values: Any) -> None:
        if len(places) > 2 or (len(places) == 2 and model is not None):
            raise click.UsageError(f"these are too many arguments: {', '.join(places)}; allowed: [MODEL] SOURCE.")
        verb(source=places[-1], model=Path(places[0]) if len(places) == 2 else model, **values)

    return click.argument("places", nargs=-1, required=True, metavar="[MODEL] SOURCE")(placed)


@click.command()
@model_and_source
@output_option(what="The .hgc file; with a model of images of any size, and for shards, a folder.")
@click.option("--model", type=click.Path(path_type=Path), help="Of --task compressor. If omitted, one is trained on SOURCE.")
@click.option(
    "--quality",
    type=click.FloatRange(0, 100),
    help="0 fewest bits … 100 least distortion; 50 by default. For training, or for a MODEL of images of any size.",
)
@click.option("--tile", type=SizeType(), help="For training: the size of tiles; 16x16 for files.")
@seed_option
@job_options
def compress(job: Job, quality: float | None, tile: tuple[int, int] | None, seed: int) -> None:
    """Compress the images in SOURCE: a folder, an image, or DATA.

    A MODEL of images of any size, for photographs (train --preset photo), writes a .hgc file for each image below the
    folder OUTPUT, under its name. Others write one .hgc file for all.

    Decoding needs the model. A model that is trained here is saved beside the file, as OUTPUT with .hg for .hgc, where
    decompress looks for it. If DATA has a test split, the training split trains the model and the test split is compressed.

    For each shard (see --stream), with --model, it writes a .hgc file, and a Parquet file with key and number, the row in it.
    """
    if job.model is not None and is_for_each(job.model):
        _run_for_each(job, quality)
    else:
        run(job, {MEMORY: partial(_compress, quality=quality, tile=tile, seed=seed)})


def _run_for_each(job: Job, quality: float | None) -> None:
    from hourglass.data import is_sharded
    from hourglass.errors import ParameterError

    if job.stream or job.workers is not None or is_sharded(job.source):
        raise ParameterError(f"{job.model} writes a file for each image: it takes image files and arrays, not shards.")
    if "tile" in job.given:
        raise ParameterError(f"--tile is for training; {job.model} takes images of any size.")
    if job.target.is_file() and job.target.suffix != ".hgc":
        raise ParameterError(f"-o {job.target} is a file; it must name a folder, or of a single image a .hgc file.")
    allowed = dataclasses.replace(job, given=job.given - {"quality", "pages"})  # which models of one size do not take
    run(allowed, {FILES: partial(compress_each, quality=quality)})


def _compress(job: Job, model: Compressor | None, quality: float | None, tile: tuple[int, int] | None, seed: int) -> None:
    from hourglass.cli.models import white_for
    from hourglass.cli.output import report
    from hourglass.data.write import replace_file

    path = job.model or job.target.with_suffix(".hg")
    if model is None:
        model = _trained(job, path, 50 if quality is None else quality, tile, seed)
    images, names = _images(job, model, white_for(model, job.white))
    n_values, blob = sum(image.size for image in images), model.compress(images, names)
    with replace_file(job.target) as beside:
        beside.write_bytes(blob)
    n_bits = round(8 * len(blob) / n_values, 4)
    report(
        {"images": len(images), "bytes": len(blob), "bits_per_value": n_bits, "model": str(path)},
        f"{job.output}: {len(images)} images in {len(blob):,} bytes, {len(blob) / len(images):,.1f} an image, 1 to "
        f"{n_values / len(blob):.0f}. Keep {path}: it reads them again.",
        job.as_json,
    )


@click.command()
@model_and_source
@output_option(what="A folder for PNG files, or a .npy file for images of one size; of a single image also a .png file.")
@click.option("--model", type=click.Path(path_type=Path), help="By default the one beside SOURCE, with .hg for .hgc.")
@device_option
@json_option
def decompress(source: str, output: Path, model: Path | None, device: str, as_json: bool) -> None:
    """Write the images of the .hgc file SOURCE, or of all .hgc files in a folder of images of any size.

    Their depth is that of the images that the model was trained on, or if each has a file, its own.
    """
    import numpy as np

    from hourglass.cli.models import load_as, sample_of
    from hourglass.cli.output import report_written
    from hourglass.data.array_files import write_array
    from hourglass.data.files import in_depth, write_image
    from hourglass.data.write import standing_folder
    from hourglass.errors import DataError, FormatError, ParameterError

    path = Path(source).expanduser()
    if not path.exists() or (path.is_dir() and model is None):
        raise DataError(f"{path}: no such file." if not path.exists() else f"{path} is a folder; name the model first.")
    model = model or path.with_suffix(".hg")
    if not standing_folder(model).exists():
        raise DataError(f"{model}: no such model; name the one that compressed {path} with --model.")
    compressor = load_as("compressor", model, device)
    if compressor.network_.code.is_map:
        report_written(decompress_each(path, output, compressor), output, as_json)
        return
    if path.is_dir():
        raise DataError(f"{path} is a folder; {model} writes one file for all images: name it.")
    try:
        images, names = compressor.decompress_named(path.read_bytes())
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    if output.suffix == ".npy":
        if not isinstance(images, np.ndarray):
            raise ParameterError(f"{path} holds images of several sizes; -o must then name a folder.")
        write_array(output, images)
        written = [output]
    else:
        written = places_of(output, names or [f"{number:05d}" for number in range(len(images))], ".png")
        with one_note():
            for place, image in zip(written, images, strict=True):
                write_image(place, in_depth(image, sample_of(compressor).white))
    report_written(written, output, as_json)


def _trained(job: Job, path: Path, quality: float, tile: tuple[int, int] | None, seed: int) -> Compressor:
    """A compressor trained on the source, and saved."""
    from hourglass.cli.models import are_files
    from hourglass.cli.progress import ShowProgress
    from hourglass.data import load
    from hourglass.errors import ParameterError
    from hourglass.estimators import Compressor

    if path.exists():
        raise ParameterError(f"{path} exists; compress with it by --model, or choose another -o.")
    claim(click.get_current_context(), None, path)
    tile = _TILE if tile is None and are_files(job.source) else tile
    train = load(job.source, tile=tile, **job.reading).train
    if tile is None and max(train.images.shape[1:3]) > _LARGEST:
        train = train.tiled(_TILE)
    click.echo(f"training a compressor on {len(train):,} images or tiles of {job.source}.", err=True)
    compressor = Compressor(quality=quality, white=train.white, random_state=seed, device=job.device)
    compressor.fit(train.images, callbacks=[ShowProgress("compressor")])
    compressor.save(path)
    return compressor


def _images(job: Job, model: Compressor, white: float | None) -> tuple[Array | list[Array], list[str] | None]:
    """(images, their names): of files, in their own sizes, with the channels of the model."""
    from hourglass.cli.models import are_files, image_files, read_arrays, sample_of
    from hourglass.data.names import as_text
    from hourglass.data.pictures import Picture, common_white, in_unit, read_pictures
    from hourglass.errors import DataError
    from hourglass.images import with_channels

    if not are_files(job.source):
        return read_arrays(job.source, white, job.strict), None
    root, files = image_files(Path(job.source))
    every, rejects, n_transparent = list[Picture](), list[str](), 0
    for file in files:
        try:
            pictures = read_pictures(file, pages=job.pages)
        except DataError as error:
            if job.strict or len(files) == 1:
                raise
            rejects.append(str(error))
            continue
        every += [dataclasses.replace(picture, alpha=None) for picture in pictures]  # to save memory
        n_transparent += any(picture.alpha is not None for picture in pictures)
    if n_transparent:
        words = f"{job.source}: {n_transparent} of {len(files)} image files are transparent; they are composited on white."
        note(words)
    if rejects:
        words = left_out(len(rejects), len(files), "images cannot be compressed", rejects[0])
        if not every:
            raise DataError(f"{job.source}: {words}")
        note(f"{job.source}: {words}")
    with one_note():
        level = common_white(every, job.source, white)
        images = [with_channels(in_unit(picture, level)[None], sample_of(model).size)[0] for picture in every]
    return images, [as_text(str(Path(picture.name).relative_to(root))) for picture in every]

"""hourglass denoise"""

from __future__ import annotations

import glob
from dataclasses import replace
from pathlib import Path

import click

from hourglass.cli.options import device_option, json_option, output_option
from hourglass.cli.parts import Shards, shard_options
from hourglass.cli.restoration import ONLY_FOR_FILES, Files, file_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@output_option(what="A folder for cleaned images (same names below it); of one image also an image; of arrays a .npy file.")
@file_options
@shard_options
@device_option
@json_option
def denoise(model: Path, source: Path, output: Path, files: Files, shards: Shards, device: str, as_json: bool) -> None:
    """Clean the images in SOURCE with MODEL: a folder of images of any size, one image, or DATA that holds arrays.

    A convolutional model (for photographs: --preset skip) works in overlapping tiles; for another, images are resized to its
    size and back, and a note says so. Of arrays with a test part, that part is cleaned.

    Each image is written in the format, depth and colour mode that it came in, with its profile, EXIF and transparency. What
    cannot be read is listed in OUTPUT/rejects.csv.

    Of shards (see --stream) it writes a Parquet file each, with key, and image as the bytes of a PNG file.
    """
    from hourglass.cli.models import are_files, load_as, white_for
    from hourglass.cli.output import report_written
    from hourglass.data import NAMED, is_sharded, load
    from hourglass.data.array_files import write_array
    from hourglass.errors import DataError, ParameterError
    from hourglass.estimators import Denoiser

    if shards.work_through(
        "denoise", model, source, output, device, as_json, single=(".npy",), in_memory=ONLY_FOR_FILES, white=files.white
    ):
        return
    denoiser = load_as(Denoiser, model, device)
    source = source.expanduser()
    if not (source.exists() or str(source) in NAMED or is_sharded(source) or glob.has_magic(str(source))):
        raise DataError(f"{source}: no such file or folder, nor a data set ({', '.join(NAMED)}).")
    if are_files(str(source)):
        files = replace(files, white=white_for(denoiser, files.white))
        written = files.restore(source, output, denoiser.transform_image, strict=shards.strict)
    elif output.suffix != ".npy":
        raise ParameterError(f"{source} holds arrays; -o must then name a .npy file, not {output}.")
    elif output.resolve() == source.resolve():
        raise ParameterError("-o names the source itself; the originals would be lost.")
    else:
        files.refuse(source)
        dataset = load(str(source), white=None if str(source) in NAMED else white_for(denoiser, files.white))
        write_array(output, denoiser.transform((dataset.test if dataset.has_test else dataset.train).images))
        written = [output]
    report_written(written, output, as_json)

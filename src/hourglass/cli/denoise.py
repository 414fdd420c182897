"""hourglass denoise"""

from __future__ import annotations

from pathlib import Path

import click

from hourglass.cli.options import device_option, json_option, output_option
from hourglass.cli.parts import shard_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@output_option(what="A folder for cleaned images (same names below it), or one .npy file for arrays.")
@shard_options
@device_option
@json_option
def denoise(
    model: Path, source: Path, output: Path, stream: bool, workers: int | None, strict: bool, device: str, as_json: bool
) -> None:
    """Clean the images in SOURCE with MODEL: a folder of images of any size, one image, or DATA that holds arrays.

    A convolutional model (for photographs: --preset skip) works in overlapping tiles; for another, images are resized to its
    size and back, and a note says so. Of arrays with a test part, that part is cleaned.

    Of shards (see --stream) it writes a Parquet file each, with key, and image as the bytes of a PNG file.
    """
    from hourglass.cli.models import load_as, transform_files
    from hourglass.cli.output import report_written
    from hourglass.cli.parts import goes_by_parts, work_through
    from hourglass.data import NAMED, load
    from hourglass.data.files import IMAGE_FORMATS, write_array
    from hourglass.errors import DataError, ParameterError
    from hourglass.estimators import Denoiser

    if goes_by_parts(source, output, stream, (".npy",)):
        work_through("denoise", model, source, output, device, strict=strict, workers=workers, as_json=as_json)
        return
    denoiser = load_as(Denoiser, model, device)
    if not source.exists() and str(source) not in NAMED:
        raise DataError(f"{source}: no such file or folder, nor a data set ({', '.join(NAMED)}).")
    if source.is_dir() or source.suffix.lower() in IMAGE_FORMATS:
        written = transform_files(source, output, denoiser.transform_image)
    elif output.suffix != ".npy":
        raise ParameterError(f"{source} holds arrays; -o must then name a .npy file, not {output}.")
    elif output.resolve() == source.resolve():
        raise ParameterError("-o names the source itself; the originals would be lost.")
    else:
        dataset = load(str(source))
        write_array(output, denoiser.transform((dataset.test if dataset.has_test else dataset.train).images))
        written = [output]
    report_written(written, output, as_json)

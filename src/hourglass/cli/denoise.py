"""hourglass denoise"""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from hourglass.cli.options import device_option, json_option, output_option


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@output_option(what="A folder for cleaned images (same names below it), or one .npy file for arrays.")
@device_option
@json_option
def denoise(model: Path, source: Path, output: Path, device: str, as_json: bool) -> None:
    """Clean the images in SOURCE with MODEL: a folder of images of any size, one image, or DATA that holds arrays.

    A convolutional model (for photographs: --preset skip) works in overlapping tiles; for another, images are resized to its
    size and back, and a note says so. Of arrays with a test part, that part is cleaned.
    """
    from hourglass.cli.output import print_json
    from hourglass.data import NAMED, load
    from hourglass.data.files import IMAGE_FORMATS, find_images, read_image, write_array, write_image
    from hourglass.errors import DataError, HourglassWarning, ParameterError
    from hourglass.estimators import Denoiser, load_model
    from hourglass.images import to_uint8

    denoiser = load_model(model, device=device)
    if not isinstance(denoiser, Denoiser):
        raise ParameterError(f"{model} is an {type(denoiser).__name__.lower()}; denoise needs a model of --task denoiser.")
    if not source.exists() and str(source) not in NAMED:
        raise DataError(f"{source}: no such file or folder, nor a data set ({', '.join(NAMED)}).")
    is_array = not source.is_dir() and source.suffix.lower() not in IMAGE_FORMATS
    if is_array:
        if output.suffix != ".npy":
            raise ParameterError(f"{source} holds arrays; -o must then name a .npy file, not {output}.")
        targets = {output: source}
    else:
        if output.exists() and not output.is_dir():
            raise ParameterError(f"{output} is a file; -o must name a folder for cleaned images.")
        files = find_images(source) if source.is_dir() else [source]
        targets = {output / (file.relative_to(source) if source.is_dir() else file.name): file for file in files}
    if any(target.resolve() == file.resolve() for target, file in targets.items()):
        raise ParameterError("-o names the source itself; the originals would be lost.")
    if is_array:
        dataset = load(str(source))
        write_array(output, denoiser.transform((dataset.test if dataset.has_test else dataset.train).images))
    notes = set()
    for target, file in () if is_array else targets.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", HourglassWarning)
            write_image(target, to_uint8(denoiser.transform_image(read_image(file))))
        notes |= {str(warning.message) for warning in caught}
    if notes:
        more = f" (and {len(notes) - 1} other sizes)" if len(notes) > 1 else ""
        warnings.warn(f"{min(notes)}{more}", HourglassWarning, stacklevel=1)
    written = list(targets)
    if as_json:
        print_json({"written": [str(path) for path in written]})
    else:
        click.echo(f"{len(written)} written to {output}.")

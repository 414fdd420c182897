"""hourglass compress, hourglass decompress"""

from __future__ import annotations

import glob
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.options import (
    SizeType,
    claim,
    device_option,
    json_option,
    output_option,
    pages_option,
    seed_option,
    white_option,
)
from hourglass.cli.parts import Shards, shard_options

if TYPE_CHECKING:
    from hourglass.data.files import Pages

_TILE = (16, 16)
_LONGEST_NAME = 100  # letters of a part of a path, the last ones
_LARGEST = 64  # arrays of images with longer sides are cut into tiles too


@click.command()
@click.argument("source")
@output_option(what="The .hgc file; of shards, a folder.")
@click.option("--model", type=click.Path(path_type=Path), help="Of --task compressor. Without, one is trained on SOURCE.")
@click.option("--quality", type=click.FloatRange(0, 100), help="When it is trained: 0 small … 100 true; 50 by default.")
@click.option("--tile", type=SizeType(), help="Trained on tiles of this size; 16x16 for files.")
@white_option
@pages_option
@shard_options
@device_option
@seed_option
@json_option
def compress(
    source: str,
    output: Path,
    model: Path | None,
    quality: float | None,
    tile: tuple[int, int] | None,
    white: float | None,
    pages: Pages,
    shards: Shards,
    device: str,
    seed: int,
    as_json: bool,
) -> None:
    """Compress the images in SOURCE (a folder, an image, or DATA) into one .hgc file.

    The file is read again with the model alone. One that is trained here is written beside the file, as OUTPUT with .hg for
    .hgc, where decompress looks for it. Of DATA with a test part, the training part trains and the test part is compressed.

    Of shards (see --stream), with --model, it writes a .hgc file each, and beside it a Parquet file with key and number in it.
    """
    from hourglass.cli.models import load_as, white_for
    from hourglass.cli.output import print_json
    from hourglass.data.write import replace_file
    from hourglass.errors import ParameterError
    from hourglass.estimators import Compressor

    if shards.work_through(
        "compress",
        model,
        source,
        output,
        device,
        as_json,
        single=(".hgc",),
        in_memory=("quality", "tile", "pages"),
        white=white,
    ):
        return
    if output.suffix != ".hgc":
        raise ParameterError(f"-o {output}; allowed: a name that ends in .hgc; of shards, a folder.")
    if model is not None and (quality is not None or tile is not None):
        raise ParameterError(f"--{'tile' if quality is None else 'quality'} is for training; a MODEL has its own.")
    if model is not None:
        compressor = load_as(Compressor, model, device)
    else:
        if output.with_suffix(".hg").exists():
            raise ParameterError(f"{output.with_suffix('.hg')} exists; compress with it by --model, or choose another -o.")
        model = output.with_suffix(".hg")
        claim(click.get_current_context(), None, model)
        compressor = Compressor(quality=50 if quality is None else quality, random_state=seed, device=device)
        _train(compressor, source, tile, white, pages, strict=shards.strict)
        compressor.save(model)
    images, names, pixels = _images(source, compressor, white_for(compressor, white), pages, strict=shards.strict)
    blob = compressor.compress(images, names)
    with replace_file(output) as beside:
        beside.write_bytes(blob)
    report = {
        "images": len(images),
        "bytes": len(blob),
        "bits_per_value": round(8 * len(blob) / pixels, 4),
        "model": str(model),
    }
    if as_json:
        print_json(report)
    else:
        click.echo(
            f"{output}: {len(images)} images in {len(blob):,} bytes, {len(blob) / len(images):,.1f} an image, 1 to "
            f"{pixels / len(blob):.0f}. Keep {model}: it reads them again."
        )


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@output_option(what="A folder for PNG files, or a .npy file for images of one size.")
@click.option("--model", type=click.Path(path_type=Path), help="By default the one beside SOURCE, with .hg for .hgc.")
@device_option
@json_option
def decompress(source: Path, output: Path, model: Path | None, device: str, as_json: bool) -> None:
    """Write the images of the .hgc file SOURCE, in the depth of those that its model was trained on."""
    import numpy as np

    from hourglass.cli.models import load_as
    from hourglass.cli.output import report_written
    from hourglass.data.array_files import write_array
    from hourglass.data.files import in_depth, write_image
    from hourglass.data.notes import one_note
    from hourglass.data.write import standing_folder
    from hourglass.errors import DataError, FormatError, ParameterError
    from hourglass.estimators import Compressor

    if not source.is_file():
        raise DataError(f"{source}: no such file.")
    model = model or source.with_suffix(".hg")
    if not standing_folder(model).exists():
        raise DataError(f"{model}: no such model; name the one that compressed {source} with --model.")
    compressor = load_as(Compressor, model, device)
    try:
        images, names = compressor.decompress_named(source.read_bytes())
    except FormatError as error:
        raise FormatError(f"{source}: {error}") from error
    if output.suffix == ".npy":
        if not isinstance(images, np.ndarray):
            raise ParameterError(f"{source} holds images of several sizes; -o must then name a folder.")
        write_array(output, images)
        written = [output]
    else:
        written = _places(output, names or [f"{number:05d}" for number in range(len(images))])
        with one_note():
            for path, image in zip(written, images, strict=True):
                write_image(path, in_depth(image, compressor.sample_.white))
    report_written(written, output, as_json)


def _train(
    compressor: Any, source: str, tile: tuple[int, int] | None, white: float | None, pages: Pages, *, strict: bool
) -> None:
    from hourglass.cli.models import are_files
    from hourglass.cli.progress import ShowProgress
    from hourglass.data import load

    if tile is None and are_files(source):
        tile = _TILE
    train = load(source, tile=tile, white=white, pages=pages, strict=strict).train
    if tile is None and max(train.images.shape[1:3]) > _LARGEST:
        train = train.tiled(_TILE)
    click.echo(f"training a compressor on {len(train):,} images or tiles of {source}.", err=True)
    compressor.set_params(white=train.white)
    compressor.fit(train.images, callbacks=[ShowProgress("compressor")])


def _images(
    source: str, compressor: Any, white: float | None, pages: Pages, *, strict: bool
) -> tuple[Any, list[str] | None, int]:
    """(images, names, values in all of them)"""
    from hourglass.cli.models import are_files
    from hourglass.data import NAMED, load
    from hourglass.data.folders import files_of_pattern, find_images
    from hourglass.data.names import as_text
    from hourglass.data.pictures import in_unit, read_pictures
    from hourglass.data.sources import root_of
    from hourglass.errors import DataError, HourglassWarning
    from hourglass.images import with_channels

    if not are_files(source):
        dataset = load(source, white=None if source in NAMED else white)
        images = (dataset.test if dataset.has_test else dataset.train).images
        return images, None, images.size
    path = Path(source).expanduser()
    if glob.has_magic(source) and not path.exists():
        files, path = files_of_pattern(source), Path(root_of(source))
    else:
        files = find_images(path) if path.is_dir() else [path]
    shape = compressor.sample_.size
    photos, names, rejects, n_transparent = [], [], [], 0
    for file in files:
        try:
            pictures = read_pictures(file, pages=pages)
            photos += [with_channels(in_unit(picture, white)[None], shape)[0] for picture in pictures]
            names += [
                as_text(str(Path(picture.name).relative_to(path)) if path.is_dir() else Path(picture.name).name)
                for picture in pictures
            ]
            n_transparent += any(picture.alpha is not None for picture in pictures)
        except DataError as error:
            if strict or len(files) == 1:
                raise
            rejects.append(str(error))
    if n_transparent:
        words = f"{source}: {n_transparent} of {len(files)} image files are transparent, which is laid on white."
        warnings.warn(words, HourglassWarning, stacklevel=2)
    if rejects:
        words = (
            f"{source}: {len(rejects)} of {len(files)} images cannot be compressed and are left out; the first: {rejects[0]}"
        )
        if not photos:
            raise DataError(words)
        warnings.warn(words, HourglassWarning, stacklevel=2)
    return photos, names, sum(photo.size for photo in photos)


def _places(output: Path, names: list[str]) -> list[Path]:
    """A PNG below `output` for each name; where two would meet, as cat.jpg and cat.bmp, they keep endings or get numbers."""
    from hourglass.errors import FormatError

    plain = [_below(name) for name in names]
    first = Counter(path.with_suffix(".png") for path in plain)
    taken: Counter[Path] = Counter()
    places = []
    for path in plain:
        place = path.with_suffix(".png") if first[path.with_suffix(".png")] == 1 else path.with_name(f"{path.name}.png")
        taken[place] += 1
        places.append(place if taken[place] == 1 else place.with_name(f"{place.stem}-{taken[place]}.png"))
    known = set(places)
    if len(known) < len(places) or any(parent in known for place in known for parent in place.parents):
        raise FormatError("its images have names that cannot stand beside each other; -o NAME.npy takes them without.")
    return [output / place for place in places]


def _below(name: str) -> Path:
    """`name` without what would lead out of a folder, or what no file is called."""
    parts = [part for part in Path(name).parts if part not in ("/", "\\", "..", ".") and ":" not in part]
    plain = ("".join(letter if letter.isprintable() else "_" for letter in part) for part in parts or ["image"])
    return Path(*(part[-_LONGEST_NAME:] for part in plain))

"""compress and decompress with a model of images of any size: a .hgc file for each image, under its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hourglass.cli.job import Job
from hourglass.notes import left_out, note

if TYPE_CHECKING:
    from hourglass.estimators import Compressor
    from hourglass.images import Array

_LONGEST_NAME = 100  # letters of a component of a path, the last ones


def is_for_each(model: Path) -> bool:
    """Whether the saved compressor `model` writes a file for each image: its codes are maps."""
    from hourglass.data.untrusted import untrusted
    from hourglass.data.write import standing_folder
    from hourglass.networks import NETWORKS
    from hourglass.trained.files import read_config

    path = standing_folder(model)
    config = read_config(path)
    with untrusted(f"{path}: config.json does not describe a model that this version knows"):
        name = config["fitted"]["settings"]["network"]
        return isinstance(name, str) and name in NETWORKS and NETWORKS[name].takes_any_size


def compress_each(job: Job, model: Compressor, quality: float | None) -> None:
    """Write a .hgc file for each image of the source, below the folder `output`, or to it if it is a single one."""
    from hourglass.cli.models import are_files
    from hourglass.cli.output import report
    from hourglass.data.write import replace_file
    from hourglass.notes import one_note

    written: list[Path] = []
    n_bytes = n_pixels = 0
    with one_note():
        for path, image in _images_of_files(job) if are_files(job.source) else _images_of_arrays(job):
            blob = model.compress(image, quality=quality, white=job.white)
            with replace_file(path) as beside:
                beside.write_bytes(blob)
            written.append(path)
            n_bytes, n_pixels = n_bytes + len(blob), n_pixels + image.shape[0] * image.shape[1]
    rate = round(8 * n_bytes / n_pixels, 4)
    content = {"images": len(written), "bytes": n_bytes, "bits_per_pixel": rate, "model": str(job.model)}
    report(
        content | {"written": [str(path) for path in written]},
        f"{job.output}: {len(written)} images in {n_bytes:,} bytes, {rate:.3f} bits a pixel. Keep {job.model}: it reads them.",
        job.as_json,
    )


def _images_of_files(job: Job) -> Iterator[tuple[Path, Array]]:
    """(the file to write, the image) for each page of each image file; unreadable files are left out with a warning."""
    from hourglass.cli.models import image_files
    from hourglass.data.pictures import common_white, in_unit, read_pictures
    from hourglass.errors import DataError

    root, files = image_files(Path(job.source))
    places = (
        [job.target] if _is_single(job, files) else places_of(job.target, [_below_root(file, root) for file in files], ".hgc")
    )
    rejects: list[str] = []
    for file, place in zip(files, places, strict=True):
        try:
            pictures = read_pictures(file, pages=job.pages)
            floats = [picture for picture in pictures if picture.depth == "float32"]
            level = common_white(floats, str(file), job.white) if floats else None
            images = [in_unit(picture, level) if picture in floats else picture.values for picture in pictures]
        except DataError as error:
            if job.strict or len(files) == 1:
                raise
            rejects.append(str(error))
            continue
        if any(picture.alpha is not None for picture in pictures):
            note(f"{file}: is transparent; it is composited on white.")
        for number, image in enumerate(images):
            yield place if len(images) == 1 else place.with_name(f"{place.stem}-{number}.hgc"), image
    if rejects:
        words = left_out(len(rejects), len(files), "images cannot be compressed", rejects[0])
        if len(rejects) == len(files):
            raise DataError(f"{job.source}: {words}")
        note(f"{job.source}: {words}")


def _images_of_arrays(job: Job) -> Iterator[tuple[Path, Array]]:
    from hourglass.cli.models import read_arrays

    images = read_arrays(job.source, job.white, job.strict)
    for number, image in enumerate(images):
        yield job.target / f"{number:0{len(str(len(images) - 1))}d}.hgc", image


def decompress_each(source: Path, output: Path, compressor: Compressor) -> list[Path]:
    """Write a PNG for the .hgc file `source`, or for each below the folder `source`; list those written."""
    import numpy as np

    from hourglass.data.array_files import write_array
    from hourglass.data.files import in_depth, write_image
    from hourglass.errors import DataError, FormatError
    from hourglass.notes import one_note

    files = sorted(source.rglob("*.hgc")) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source}: no .hgc file in this folder.")
    root = source if source.is_dir() else source.parent
    is_single = len(files) == 1 and not source.is_dir() and output.suffix in (".png", ".npy")
    places = [output] if is_single else places_of(output, [_below_root(file, root) for file in files], ".png")
    written, rejects = list[Path](), list[str]()
    with one_note():
        for file, place in zip(files, places, strict=True):
            try:
                image, white = compressor.decompress_deep(file.read_bytes())
            except FormatError as error:
                if len(files) == 1:
                    raise FormatError(f"{file}: {error}") from error
                rejects.append(f"{file}: {error}")
                continue
            if place.suffix == ".npy":
                write_array(place, image)
            else:
                write_image(place, in_depth(image, white or np.iinfo(np.uint16).max))
            written.append(place)
        if rejects:
            words = left_out(len(rejects), len(files), "files cannot be read", rejects[0])
            if not written:
                raise FormatError(f"{source}: {words}")
            note(f"{source}: {words}")
    return written


def places_of(output: Path, names: Sequence[str], suffix: str) -> list[Path]:
    """A file below `output` for each name; if two names collide, as cat.jpg and cat.bmp, they keep endings or get numbers."""
    from hourglass.errors import FormatError

    plain = [_below(name) for name in names]
    first = Counter(path.with_suffix(suffix) for path in plain)
    taken: Counter[Path] = Counter()
    places = []
    for path in plain:
        place = path.with_suffix(suffix) if first[path.with_suffix(suffix)] == 1 else path.with_name(f"{path.name}{suffix}")
        taken[place] += 1
        places.append(place if taken[place] == 1 else place.with_name(f"{place.stem}-{taken[place]}{suffix}"))
    known = set(places)
    if len(known) < len(places) or any(parent in known for place in known for parent in place.parents):
        raise FormatError("its images have names that collide; -o NAME.npy writes them without names.")
    return [output / place for place in places]


def _below(name: str) -> Path:
    """`name` without parts that leave the folder or are invalid as file names."""
    parts = [part for part in Path(name).parts if part not in ("/", "\\", "..", ".") and ":" not in part]
    plain = ("".join(letter if letter.isprintable() else "_" for letter in part) for part in parts or ["image"])
    return Path(*(part[-_LONGEST_NAME:] for part in plain))


def _below_root(file: Path, root: Path) -> str:
    from hourglass.data.names import as_text

    return as_text(str(file.relative_to(root)))


def _is_single(job: Job, files: Sequence[Any]) -> bool:
    """Whether the output names the file of a single image."""
    return len(files) == 1 and job.target.suffix == ".hgc" and Path(job.source).is_file()

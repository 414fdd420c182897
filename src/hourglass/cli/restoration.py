"""The reader of image files, for denoise and enhance: which are read, where each is written, which are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.job import Job
from hourglass.notes import left_out, note

if TYPE_CHECKING:
    from hourglass.images import Array

_ENDINGS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}

format_option = click.option(
    "--format",
    type=click.Choice(["same", *_ENDINGS]),
    default="same",
    show_default=True,
    help="Format of the image files that are written; same: each keeps its format and name.",
)
quality_option = click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help="For JPEG, WebP and AVIF; 98 by default, and lossless for WebP. Chroma is never subsampled.",
)


def restore_files(job: Job, model: Any, options: dict[str, Any] | None = None, **writing: Any) -> None:
    """Denoise or enlarge every image file of `job`, with the `options` of `transform_image`."""
    from hourglass.cli.output import report_written

    restore_image = partial(model.transform_image, **options or {})
    report_written(restore(job, restore_image, **writing), job.target, job.as_json)


def restore(
    job: Job,
    transform: Callable[[Array], Array],
    *,
    format: str = "same",  # noqa: A002  # the option's name
    quality: int | None = None,
) -> list[Path]:
    """Write `transform` of each image in the source, a file, folder or pattern, and list the files written.

    They lie below the folder `output` under the names of the originals; a single image goes to the file `output`, if that is
    named as an image. Files that cannot be read are left out and listed in rejects.csv there, with one warning for all. If the
    job is strict, the first raises. Warnings of the library are given once each, not for each image.

    Raises
    ------
    ParameterError
        If files would be overwritten, or options do not apply.
    DataError
        If no file can be read.
    """
    from hourglass.data.pictures import common_white, in_unit, read_pictures, write_pictures
    from hourglass.data.rejects import write_rejects
    from hourglass.errors import DataError
    from hourglass.notes import one_note

    output = job.target
    targets = _targets(Path(job.source), output, format, quality)
    written: list[Path] = []
    rejects: list[tuple[str, str]] = []
    with one_note():
        whites = _whites(job, list(targets.values()))
        for target, file in targets.items():
            try:
                pictures = read_pictures(file, pages=job.pages)
                levels = {whites.get(picture.depth, job.white) for picture in pictures if picture.is_deep}
                level = levels.pop() if len(levels) == 1 else None  # pages of several depths, or deep ones after one of 8 bits
                level = level or common_white(pictures, str(file), job.white)
                images = [transform(in_unit(picture, level)) for picture in pictures]
                write_pictures(target, pictures, images, white=level, quality=quality)
            except DataError as error:
                if job.strict or len(targets) == 1:
                    raise
                rejects.append((str(file), str(error).removeprefix(f"{file}: ")))
            else:
                written.append(target)
    if output not in targets:
        write_rejects(output / "rejects.csv", rejects)
    if rejects:
        first = ": ".join(rejects[0])
        if not written:
            raise DataError(f"none of {len(rejects)} image files can be read; the first: {first}")
        what = f"image files cannot be read, as {output}/rejects.csv lists,"
        note(left_out(len(rejects), len(targets), what, first))
    return written


def _whites(job: Job, files: Sequence[Path]) -> dict[str, float]:
    """White levels by dtype, the same for all files: as each is written by itself, floats up to 1 may lie beside integers."""
    from hourglass.data.depth import check_white
    from hourglass.data.pictures import white_levels

    check_white(job.white)
    return white_levels(files, job.source, job.white, job.pages)


def _targets(source: Path, output: Path, kind: str, quality: int | None) -> dict[Path, Path]:
    """The file of the source for each file that is written."""
    from hourglass.cli.models import image_files
    from hourglass.data.files import IMAGE_FORMATS
    from hourglass.data.folders import images_outside
    from hourglass.data.pictures import LOSSY
    from hourglass.errors import ParameterError

    is_one = source.exists() and not source.is_dir()
    names_image = output.suffix.lower() in IMAGE_FORMATS and not output.is_dir()
    if names_image and not is_one:
        raise ParameterError(f"-o {output} names an image; of a folder, -o names a folder.")
    if output.exists() and not output.is_dir() and not names_image:
        raise ParameterError(f"{output} is a file; -o must name a folder, or of one image an image.")
    if names_image and kind != "same" and IMAGE_FORMATS[output.suffix.lower()] != kind.upper():
        raise ParameterError(f"-o {output} and --format {kind} name two formats; omit one.")
    targets = {output: source}
    if not names_image and output.resolve() != source.resolve():
        root, files = image_files(source)
        files = files if is_one else images_outside(files, output, root)
        targets = dict(zip(_places([file.relative_to(root) for file in files], output, kind), files, strict=True))
    if any(target.resolve() == file.resolve() for target, file in targets.items()):
        raise ParameterError("-o names the source itself; the originals would be lost.")
    if quality is not None and not any(IMAGE_FORMATS.get(target.suffix.lower()) in LOSSY for target in targets):
        raise ParameterError(f"--quality is for {', '.join(LOSSY)}, and none of these is written; omit it, or add --format.")
    return targets


def _places(names: list[Path], output: Path, kind: str) -> list[Path]:
    """A path below `output` for each name, with the suffix of the format; names that would collide keep their own too."""
    from hourglass.data.files import IMAGE_FORMATS
    from hourglass.errors import ParameterError

    if kind == "same":
        return [output / name for name in names]
    ending = _ENDINGS[kind]
    kept = [name if IMAGE_FORMATS.get(name.suffix.lower()) == kind.upper() else name.with_suffix(ending) for name in names]
    count = Counter(kept)
    places = [
        place if count[place] == 1 or place == name else name.with_name(name.name + ending)
        for name, place in zip(names, kept, strict=True)
    ]
    if len(set(places)) < len(places):
        raise ParameterError(f"--format {kind} would give two files one name; rename one of them.")
    return [output / place for place in places]

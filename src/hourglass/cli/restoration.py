"""What denoise and enhance do with image files: which they read, where each is written, and what becomes of unreadable ones."""

from __future__ import annotations

import functools
import glob
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.options import pages_option, white_option

if TYPE_CHECKING:
    from hourglass.data.files import Pages
    from hourglass.data.pictures import Picture
    from hourglass.images import Array

_ENDINGS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif"}
ONLY_FOR_FILES = ("pages", "format", "quality")


def file_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The options of verbs that write image files back, which `verb` takes as one argument, `files`."""

    @functools.wraps(verb)
    def with_files(*given: Any, white: float | None, pages: Pages, format: str, quality: int | None, **named: Any) -> None:  # noqa: A002
        verb(*given, files=Files(white, pages, format, quality), **named)

    for option in (
        click.option(
            "--quality",
            type=click.IntRange(1, 100),
            help="Of JPEG, WebP and AVIF; 98 by default, and WebP without loss. Colour is always kept whole.",
        ),
        click.option(
            "--format",
            type=click.Choice(["same", *_ENDINGS]),
            default="same",
            show_default=True,
            help="What image files are written as; same: as they came, under the same name.",
        ),
        pages_option,
        white_option,
    ):
        with_files = option(with_files)
    return with_files


@dataclass(frozen=True)
class Files:
    """How image files are read and written back."""

    white: float | None = None
    pages: Pages = "all"
    format: str = "same"
    quality: int | None = None

    def restore(self, source: Path, output: Path, transform: Callable[[Array], Array], *, strict: bool) -> list[Path]:
        """Write `transform` of each image in the file or folder `source`, and list what was written.

        Below the folder `output` under the same names, or of one file to the file `output`, if it is named as an image. What
        cannot be read is left out and listed in rejects.csv there, with one note; if `strict` it ends the run. Notes of the
        library are given once, whatever the number of images.

        Raises
        ------
        ParameterError
            If files would be written over, or options do not apply.
        DataError
            If nothing can be read.
        """
        from hourglass.data.notes import one_note
        from hourglass.data.rejects import write_rejects
        from hourglass.errors import DataError, HourglassWarning

        targets = self._targets(source, output)
        written: list[Path] = []
        rejects: list[tuple[str, str]] = []
        with one_note():
            white = self._white(list(targets.values()), str(source))
            for target, file in targets.items():
                try:
                    self._restore_file(file, target, transform, white)
                except DataError as error:
                    if strict or len(targets) == 1:
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
            words = (
                f"{len(rejects)} of {len(targets)} image files cannot be read and are left out, as {output}/rejects.csv lists"
            )
            warnings.warn(f"{words}; the first: {first}", HourglassWarning, stacklevel=2)
        return written

    def refuse(self, source: Path) -> None:
        """ParameterError if an option is given that is for image files, which `source` is none of."""
        from hourglass.errors import ParameterError

        given = {"pages": self.pages != "all", "format": self.format != "same", "quality": self.quality is not None}
        for name in [name for name, is_given in given.items() if is_given]:
            raise ParameterError(f"--{name} is for image files; {source} holds arrays.")

    def _restore_file(self, file: Path, target: Path, transform: Callable[[Array], Array], white: float | None) -> None:
        from hourglass.data.pictures import common_white, in_unit, read_pictures, write_pictures

        pictures: Sequence[Picture] = read_pictures(file, pages=self.pages)
        if white is None:  # a page behind one of 8 bits
            white = common_white(pictures, str(file))
        made = [transform(in_unit(picture, white)) for picture in pictures]
        write_pictures(target, pictures, made, white=white, quality=self.quality)

    def _white(self, files: Sequence[Path], name: str) -> float | None:
        """One white level for all files that are deeper than 8 bits; None if none is."""
        from hourglass.data.depth import check_white, white_of
        from hourglass.data.pictures import largest_values

        check_white(self.white)
        deep = [value for file in files for value in largest_values(file, self.pages)]
        return white_of(deep, name, self.white) if deep else None

    def _targets(self, source: Path, output: Path) -> dict[Path, Path]:
        """Where the image of each file goes."""
        from hourglass.data.files import IMAGE_FORMATS
        from hourglass.data.folders import files_of_pattern, find_images, images_outside
        from hourglass.data.pictures import LOSSY
        from hourglass.data.sources import root_of
        from hourglass.errors import DataError, ParameterError

        source = source.expanduser()
        is_pattern = glob.has_magic(str(source)) and not source.exists()
        if not source.exists() and not is_pattern:
            raise DataError(f"{source}: no such file or folder.")
        names_image = output.suffix.lower() in IMAGE_FORMATS and not output.is_dir()
        if names_image and (source.is_dir() or is_pattern):
            raise ParameterError(f"-o {output} names an image; of a folder, -o names a folder.")
        if output.exists() and not output.is_dir() and not names_image:
            raise ParameterError(f"{output} is a file; -o must name a folder, or of one image an image.")
        if output.resolve() == source.resolve():
            raise ParameterError("-o names the source itself; the originals would be lost.")
        if names_image:
            targets = {output: source}
            if self.format != "same" and IMAGE_FORMATS[output.suffix.lower()] != self.format.upper():
                raise ParameterError(f"-o {output} and --format {self.format} name two formats; omit one.")
        else:
            root = Path(root_of(source)) if is_pattern else source if source.is_dir() else source.parent
            if is_pattern or source.is_dir():
                files = images_outside(files_of_pattern(str(source)) if is_pattern else find_images(source), output, root)
            else:
                files = [source]
            targets = dict(zip(self._places([file.relative_to(root) for file in files], output), files, strict=True))
        if any(target.resolve() == file.resolve() for target, file in targets.items()):
            raise ParameterError("-o names the source itself; the originals would be lost.")
        if self.quality is not None and not any(IMAGE_FORMATS.get(target.suffix.lower()) in LOSSY for target in targets):
            raise ParameterError(
                f"--quality is for {', '.join(LOSSY)}, and none of these is written; omit it, or add --format."
            )
        return targets

    def _places(self, names: list[Path], output: Path) -> list[Path]:
        """A place below `output` for each name, with the ending of the format; where two would meet they keep their own too."""
        from hourglass.data.files import IMAGE_FORMATS
        from hourglass.errors import ParameterError

        ending = _ENDINGS.get(self.format, "")
        kept = [
            name if IMAGE_FORMATS.get(name.suffix.lower()) == self.format.upper() else name.with_suffix(ending)
            for name in names
        ]
        if not ending:
            kept = names
        count = Counter(kept)
        places = [
            place if count[place] == 1 or place == name else name.with_name(name.name + ending)
            for name, place in zip(names, kept, strict=True)
        ]
        if len(set(places)) < len(places):
            raise ParameterError(f"--format {self.format} would give two files one name; rename one of them.")
        return [output / place for place in places]

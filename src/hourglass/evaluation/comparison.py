"""Comparison of two folders of images, file by file: which are pairs, and how alike the images of a pair are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hourglass.data import pairs
from hourglass.data.files import Pages
from hourglass.data.names import as_text
from hourglass.data.pairs import without_suffix
from hourglass.data.pictures import Picture, in_unit, read_pictures
from hourglass.errors import DataError
from hourglass.evaluation.metrics import Quality, image_quality
from hourglass.images import Array
from hourglass.notes import note

Rejects = list[tuple[str, str]]
"""(path, why it is left out)"""


@dataclass(frozen=True)
class FilePair:
    """Two files that are compared: `name` is their path below both folders, without a suffix."""

    name: str
    first: Path
    second: Path


@dataclass(frozen=True)
class ImagePair:
    """Two images of one shape, (h, w) or (h, w, 3), uint8 or float32 in 0..1; `name` is that of the files and page."""

    name: str
    first: Array
    second: Array


@dataclass(frozen=True)
class PairFigures:
    """How alike the images of a pair are: its name, their height and width in pixels, and `quality`."""

    name: str
    height: int
    width: int
    quality: Quality

    @classmethod
    def of(cls, pair: ImagePair) -> PairFigures:
        height, width = pair.first.shape[:2]
        return cls(pair.name, height, width, image_quality(pair.second, pair.first))

    @property
    def are_equal(self) -> bool:
        return math.isinf(self.quality["psnr"])


def paired(
    first: Sequence[Path], first_root: Path, second: Sequence[Path], second_root: Path
) -> tuple[list[FilePair], Rejects]:
    """Pair files by their path below the roots: the same name, or else the same name but for the suffix.

    Returns
    -------
    (pairs, rejects)
        Sorted by name; a file without a partner, or with several that differ in the suffix alone, is a reject.
    """
    names = [[file.relative_to(root) for file in files] for files, root in ((first, first_root), (second, second_root))]
    rows, alone = pairs.paired(*names)
    stems = [[without_suffix(name) for name in own] for own in names]
    rejects: Rejects = []
    for own, left_out, files, others in zip(stems, alone, (first, second), stems[::-1], strict=True):
        partners = set(others)
        for row in left_out:
            reason = "several files have this name but for the suffix" if own[row] in partners else "has no partner"
            rejects.append((str(files[row]), reason))
    count = Counter(stems[0][one] for one, _ in rows)
    made = [
        FilePair(as_text((stems if count[stems[0][one]] == 1 else names)[0][one].as_posix()), first[one], second[other])
        for one, other in rows
    ]
    return sorted(made, key=lambda pair: pair.name), sorted(rejects)


def read_pair(pair: FilePair, whites: Mapping[str, float], pages: Pages = "all") -> list[ImagePair]:
    """Read two files, page by page.

    If one is grey and the other in colour, the grey one is read as three equal channels, with a HourglassWarning; so is what is
    transparent, which is compared on white.

    Parameters
    ----------
    pair : FilePair
    whites : dict of str to float
        As `white_levels` gives them.
    pages : {"all", "first"}

    Raises
    ------
    DataError
        If a file cannot be read, or numbers of pages or sizes differ.
    """
    sides = [read_pictures(file, pages=pages) for file in (pair.first, pair.second)]
    if len(sides[0]) != len(sides[1]):
        raise DataError(f"{pair.first}: has {len(sides[0])} pages, and {pair.second} has {len(sides[1])}.")
    names = [pair.name if len(sides[0]) == 1 else f"{pair.name}#{number}" for number in range(len(sides[0]))]
    return [ImagePair(name, *_alike(one, other, whites)) for name, one, other in zip(names, *sides, strict=True)]


def _alike(one: Picture, other: Picture, whites: Mapping[str, float]) -> tuple[Array, Array]:
    """The values of two pictures in one shape and, if one is deep, as floats."""
    if one.values.shape[:2] != other.values.shape[:2]:
        sizes = [f"{picture.values.shape[1]}×{picture.values.shape[0]}" for picture in (one, other)]
        raise DataError(f"{one.name}: {' and '.join(sizes)} pixels cannot be compared.")
    first, second = (in_unit(picture, whites.get(picture.depth)) for picture in (one, other))
    if first.ndim != second.ndim:
        message = f"{one.name}: grey and coloured images are compared, the grey one as three equal channels."
        note(message, 3)
        first, second = (image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in (first, second))
    if any(picture.alpha is not None and picture.alpha.min() < 255 for picture in (one, other)):
        message = f"{one.name}: transparent images are compared on white, and their transparency is not."
        note(message, 3)
    return first, second


def mean_of(qualities: Sequence[Quality]) -> Quality:
    """The means over images: PSNR over those that differ, infinite if none does; MS-SSIM over those that are large enough."""
    psnr = [quality["psnr"] for quality in qualities if not math.isinf(quality["psnr"])]
    ms_ssim = [quality["ms_ssim"] for quality in qualities if quality["ms_ssim"] is not None]
    return Quality(
        psnr=float(np.mean(psnr)) if psnr else math.inf,
        ssim=float(np.mean([quality["ssim"] for quality in qualities])),
        ms_ssim=float(np.mean(ms_ssim)) if ms_ssim else None,
    )


def most_different(pair: ImagePair, size: tuple[int, int]) -> tuple[int, int]:
    """Upper left corner (top, left) of the region of `size` (height, width) with the largest squared error."""
    scale = [255 if image.dtype == np.uint8 else 1 for image in (pair.first, pair.second)]
    error = np.square(pair.first.astype(np.float64) / scale[0] - pair.second.astype(np.float64) / scale[1])
    error = error.sum(axis=2) if error.ndim == 3 else error
    total = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    height, width = (min(length, given) for length, given in zip(size, error.shape, strict=True))
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left)

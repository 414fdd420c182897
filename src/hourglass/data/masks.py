"""Masks of defects, in a folder beside the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hourglass.data.files import IMAGE_FORMATS, read_image
from hourglass.data.pairs import below, without_suffix
from hourglass.data.walk import walk
from hourglass.errors import DataError

_SUFFIX = "_mask"  # as in MVTec AD: 000_mask.png beside 000.png
_LOSSY = (".jpg", ".jpeg", ".jfif")  # around a defect they have values above 0


def load_masks(folder: str | Path, paths: Sequence[Path], root: Path) -> list[NDArray[np.bool_] | None]:
    """The mask of each image, by its name: for ``test/a/7.png``, ``masks/a/7.png`` or ``masks/a/7_mask.png``; None if none.

    Parameters
    ----------
    folder : path
        Masks: above 0 where there is a defect.
    paths : sequence of Path
        Of the images, below `root`.
    root : Path

    Returns
    -------
    list of ndarray (h, w), bool, or None

    Raises
    ------
    DataError
        If no image has a mask, or a mask is a JPEG or cannot be read.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: masks are files of a folder.")
    files = (Path(within, name) for within, names in walk(str(folder)) for name in names)
    found = {_name(below(path, Path(folder))): path for path in files if path.suffix.lower() in IMAGE_FORMATS}
    own = [found.get(_name(below(path, root))) for path in paths]
    if not any(own):
        raise DataError(f"no image of {root} has a mask in {folder}: masks have their names, also with _mask added.")
    return [None if path is None else _read(path) for path in own]


def _name(path: Path) -> Path:
    name = without_suffix(path)
    return name.with_name(name.name.removesuffix(_SUFFIX))


def _read(path: Path) -> NDArray[np.bool_]:
    if path.suffix.lower() in _LOSSY:
        raise DataError(f"{path}: a mask needs a lossless format, such as PNG.")
    mask = read_image(path)
    shown: NDArray[np.bool_] = np.any(np.atleast_3d(mask), axis=2)
    return shown

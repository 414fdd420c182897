"""Pairs of images in two folders: what a network is given, and what it should return."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.data.catalog import load
from hourglass.data.dataset import Split
from hourglass.data.files import IMAGE_FORMATS
from hourglass.errors import DataError, HourglassWarning


def load_pairs(inputs: str | Path, targets: str | Path, *, factor: int = 1, **reading: Any) -> tuple[Split, Split]:
    """Load pairs of images from two folders, for `fit(X, y)`: those of one name, whatever their formats.

    Images without a partner and pairs whose sizes do not match are left out, with one warning each.

    Parameters
    ----------
    inputs : path
        Corrupted or low-resolution images: a folder, pattern or file, as for `load`; of data with a test split, the training
        split.
    targets : path
        Clean or high-resolution images, under the same names: ``noisy/page/1.jpg`` and ``clean/page/1.png`` are a pair. Arrays
        are paired by row.
    factor : int
        Height and width of a target in those of its input: 1, or the factor of an `Enhancer`.
    **reading
        `size`, `tile`, `white`, `pages`, `grey` and `strict`, as for `load`. The white level of deep images is the targets'.

    Returns
    -------
    (Split, Split)
        Inputs and targets, in one order.

    Raises
    ------
    DataError
        If there is no pair, or two images of a folder have one name.
    """
    clean = load(targets, **reading).train
    given = load(inputs, **reading | {"white": clean.white or reading.get("white")}).train
    if given.paths is None or clean.paths is None:
        if len(given) != len(clean):
            raise DataError(f"{inputs} has {len(given)} images and {targets} {len(clean)}; pairs need as many of both.")
        return given, clean
    places = [_by_name(split.paths or (), Path(root)) for split, root in ((given, inputs), (clean, targets))]
    names = [name for name in places[0] if name in places[1]]
    if not names:
        example, another = (next(iter(place)) for place in places)
        raise DataError(f"no image of {inputs} has the name of one of {targets}: there are {example} and {another}.")
    first, second = places
    for own, other, folder, partner in ((first, second, inputs, targets), (second, first, targets, inputs)):
        alone = [name for name in own if name not in other]
        _warn_left_out(alone, len(own), f"images of {folder} have no partner in {partner}")
    rows = [[place[name] for name in names] for place in places]
    fitting = [
        tuple(factor * length for length in given.images[one].shape[:2]) == clean.images[other].shape[:2]
        for one, other in zip(*rows, strict=True)
    ]
    wanted = "differ in size" if factor == 1 else f"do not have a target of {factor} times the height and width"
    _warn_left_out([name for name, fits in zip(names, fitting, strict=True) if not fits], len(names), f"pairs {wanted}")
    if not any(fitting):
        raise DataError(f"all pairs of {inputs} and {targets} {wanted}.")
    kept = [np.array([row for row, fits in zip(own, fitting, strict=True) if fits]) for own in rows]
    return given.take(kept[0]), clean.take(kept[1])


def _by_name(paths: Sequence[Path], root: Path) -> dict[str, int]:
    """Rows by the path below `root`, without the format's suffix."""
    names = [_name_of(path.relative_to(root) if path.is_relative_to(root) else Path(path.name)) for path in paths]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(f"{root}: {count} images are called {name}, so that none is the partner of another; rename them.")
    return {name: row for row, name in enumerate(names)}


def _name_of(path: Path) -> str:
    stem, _, page = path.name.rpartition("#")  # stack.tif#1
    is_page = page.isdecimal() and Path(stem).suffix.lower() in IMAGE_FORMATS
    return str(path.with_name(f"{Path(stem).stem}#{page}") if is_page else path.with_suffix(""))


def _warn_left_out(names: list[str], count: int, words: str) -> None:
    if names:
        message = f"{len(names)} of {count} {words} and are left out; the first: {names[0]}."
        warnings.warn(message, HourglassWarning, stacklevel=3)

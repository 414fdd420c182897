"""Pairs of images in two folders: what a network is given, and what it should return."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.data.catalog import load
from hourglass.data.dataset import Split
from hourglass.data.files import IMAGE_FORMATS
from hourglass.errors import DataError
from hourglass.notes import left_out, note


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
    **reading : Any
        `size`, `tile`, `white`, `pages`, `grey` and `strict`, as for `load`. The white level of deep images is the targets'.

    Returns
    -------
    (Split, Split)
        Inputs and targets, in one order.

    Raises
    ------
    DataError
        If there is no pair.
    """
    clean = load(targets, **reading).train
    given = load(inputs, **reading | {"white": clean.white or reading.get("white")}).train
    if given.paths is None or clean.paths is None:
        if len(given) != len(clean):
            raise DataError(f"{inputs} has {len(given)} images and {targets} {len(clean)}; pairs need as many of both.")
        return given, clean
    names = [[below(path, Path(root)) for path in split.paths or ()] for split, root in ((given, inputs), (clean, targets))]
    rows, alone = paired(*names)
    if not rows:
        raise DataError(f"no image of {inputs} has the name of one of {targets}: there are {names[0][0]} and {names[1][0]}.")
    for own, rest, folder, partner in zip(names, alone, (inputs, targets), (targets, inputs), strict=True):
        _warn_left_out([own[row] for row in rest], len(own), f"images of {folder} have no partner in {partner}")
    fitting = [
        tuple(factor * length for length in given.images[one].shape[:2]) == clean.images[other].shape[:2] for one, other in rows
    ]
    wanted = "differ in size" if factor == 1 else f"do not have a target of {factor} times the height and width"
    unlike = [names[0][one] for (one, _), fits in zip(rows, fitting, strict=True) if not fits]
    _warn_left_out(unlike, len(rows), f"pairs {wanted}")
    if not any(fitting):
        raise DataError(f"all pairs of {inputs} and {targets} {wanted}.")
    kept = np.array(rows)[fitting]
    return given.take(kept[:, 0]), clean.take(kept[:, 1])


def paired(first: Sequence[Path], second: Sequence[Path]) -> tuple[list[tuple[int, int]], tuple[list[int], list[int]]]:
    """Pair paths by their names: the same name, or else the same name but for the suffix.

    Parameters
    ----------
    first, second : sequence of Path
        Below the two folders.

    Returns
    -------
    (pairs, (rows of first, rows of second))
        Rows of pairs in the order of `first`; and the rows of those without a partner, or with several.
    """
    theirs = {path: row for row, path in enumerate(second)}
    found = {row: theirs.pop(path) for row, path in enumerate(first) if path in theirs}
    groups: dict[Path, tuple[list[int], list[int]]] = {}
    for row, path in enumerate(first):
        if row not in found:
            groups.setdefault(without_suffix(path), ([], []))[0].append(row)
    for path, row in theirs.items():
        groups.setdefault(without_suffix(path), ([], []))[1].append(row)
    found |= {own[0]: other[0] for own, other in groups.values() if len(own) == len(other) == 1}
    taken = set(found.values())
    alone = [row for row in range(len(first)) if row not in found], [row for row in range(len(second)) if row not in taken]
    return sorted(found.items()), alone


def without_suffix(path: Path) -> Path:
    """`path` without its suffix, but with its page: ``stack.tif#1`` becomes ``stack#1``."""
    stem, _, page = path.name.rpartition("#")
    is_page = page.isdecimal() and Path(stem).suffix.lower() in IMAGE_FORMATS
    return path.with_name(f"{Path(stem).stem}#{page}") if is_page else path.with_suffix("")


def below(path: Path, root: Path) -> Path:
    """`path` relative to `root`, or its name alone if it lies elsewhere."""
    return path.relative_to(root) if path.is_relative_to(root) else Path(path.name)


def _warn_left_out(names: list[Path], count: int, words: str) -> None:
    if names:
        note(f"{left_out(len(names), count, words, names[0])}.", 3)

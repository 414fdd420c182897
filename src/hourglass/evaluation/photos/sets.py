"""The test sets and training images of the suite, in the folder that the environment variable HOURGLASS_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hourglass.data.files import read_image
from hourglass.data.folders import find_images
from hourglass.errors import DataError
from hourglass.images import Array

_GREY = {"bsd68": None, "set12": None, "set14": ("bridge",)}
"""Sets of grey images, or those of a set. WebP stores them in three equal channels.

Set14's "man" has equal channels too, but is a colour image to the literature, which scores its luma.
"""
HELD_OUT = 5
"""Every fifth pair of documents, by sorted name from the first on, is for testing."""


def folder_of(*parts: str) -> Path:
    """Return a folder below HOURGLASS_DATA. Raises DataError if there is none."""
    root = os.environ.get("HOURGLASS_DATA", "")
    folder = Path(root, *parts)
    if not root or not folder.is_dir():
        raise DataError(
            f"the suite reads {'/'.join(parts)}/ in the folder that HOURGLASS_DATA names, which is {root or 'not set'}; "
            "docs/uses/compare.md says what it holds."
        )
    return folder


def photographs(name: str) -> list[Array]:
    """Read photographs/`name`, sorted by file name: uint8, (h, w) or (h, w, 3)."""
    grey = _GREY.get(name, ())
    files = find_images(folder_of("photographs", name))
    return [_read_grey(file) if grey is None or file.stem in grey else read_image(file) for file in files]


def training_photographs() -> list[Array]:
    """Read photographs/train, the only photographs to train on: uint8 (h, w, 3)."""
    images = [read_image(file) for file in find_images(folder_of("photographs", "train"))]
    return [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]


def documents() -> dict[str, list[Array]]:
    """Read the pairs of scanned pages in documents/noisy and documents/clean, which have equal names.

    Returns
    -------
    dict of str to list of ndarray (h, w), uint8
        "train noisy", "train clean", "test noisy", "test clean".
    """
    pages: dict[str, list[Array]] = {}
    for kind in ("noisy", "clean"):
        files = find_images(folder_of("documents", kind))
        images = [_read_grey(file) for file in files]
        pages[f"test {kind}"] = images[::HELD_OUT]
        pages[f"train {kind}"] = [image for number, image in enumerate(images) if number % HELD_OUT]
        pages[f"{kind} names"] = [np.array([file.stem for file in files])]
    if not np.array_equal(pages.pop("noisy names")[0], pages.pop("clean names")[0]):
        raise DataError("documents/noisy and documents/clean must hold files of equal names.")
    return pages


def _read_grey(file: Path) -> Array:
    image = read_image(file)
    if image.ndim == 3 and (image != image[..., :1]).any():
        raise DataError(f"{file}: a grey image is needed.")
    return np.ascontiguousarray(image[..., 0]) if image.ndim == 3 else image

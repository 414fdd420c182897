"""What verbs do with models and images: load the right kind, read what it takes, run it over folders."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hourglass.data import Split
    from hourglass.data.files import Pages
    from hourglass.estimators import ImageEstimator
    from hourglass.images import Array


def load_as(kind: type[ImageEstimator], path: Path, device: str) -> Any:
    """The model at `path`; ParameterError if it is not of `kind`."""
    from hourglass.errors import ParameterError
    from hourglass.estimators import load_model

    model = load_model(path, device=device)
    if not isinstance(model, kind):
        raise ParameterError(f"{path} holds a model of --task {model.saved_as}; this needs one of --task {kind.saved_as}.")
    return model


def are_files(source: str) -> bool:
    """Whether the images of `source` are files of their own, of any size."""
    from hourglass.data import NAMED, is_sharded
    from hourglass.data.array_files import IDX_NAMES, idx_file
    from hourglass.data.files import IMAGE_FORMATS

    path = Path(source).expanduser()
    in_folder = (path.is_dir() or glob.has_magic(source)) and not idx_file(path, IDX_NAMES["train"][0])
    return source not in NAMED and ((in_folder and not is_sharded(source)) or path.suffix.lower() in IMAGE_FORMATS)


def shape_of(model: Any) -> tuple[int, ...]:
    """(h, w) or (h, w, c) of the images that `model` was fitted on; ModelError if it was on none."""
    from hourglass.errors import ModelError

    shape: tuple[int, ...] = model.sample_.size
    if len(shape) == 1:
        raise ModelError("the model was fitted on flat features, not on images.")
    return shape


def white_for(model: Any, white: float | None) -> float | None:
    """The white level that images are read with for `model`: `white` if it is given, else the model's own, if it has one."""
    return white if white is not None else model.sample_.white


def parts_for(
    model: Any, source: str, white: float | None = None, pages: Pages = "all", strict: bool = False
) -> dict[str, Split]:
    """The parts of `source` with its images as `model` takes them: resized where they are files, grey or coloured, and with
    its white level.

    The keys are what `names_of` calls them: the source, and for arrays its part.
    """
    from hourglass.cli.output import say_taken_for
    from hourglass.data import NAMED, is_sharded, load
    from hourglass.images import with_channels

    shape = shape_of(model)
    in_files = are_files(source) or is_sharded(source)
    size = (shape[0], shape[1]) if in_files else None
    dataset = load(source, size=size, white=None if source in NAMED else white_for(model, white), pages=pages, strict=strict)
    if in_files:
        say_taken_for(dataset)
    parts = {"train": dataset.train} | ({"test": dataset.test} if dataset.has_test else {})
    return {
        f"{source}:{part}": dataclasses.replace(split, images=with_channels(split.images, shape))
        for part, split in parts.items()
    }


def names_of(split: Split, source: str) -> list[str]:
    """What each image is called: its path, or for arrays `source` and its number in it, as in mnist:test#7."""
    from hourglass.data.names import as_text

    if split.keys is not None:
        return list(split.keys)
    if split.paths is None:
        return [f"{source}#{row}" for row in range(len(split))]
    return [as_text(str(path)) for path in split.paths]


def asked_for(
    model: Any, source: str, white: float | None = None, pages: Pages = "all", strict: bool = False
) -> tuple[Split, list[str]]:
    """(the images of `source` as `model` takes them, their names); of data with a test part, that part."""
    name, split = list(parts_for(model, source, white, pages, strict).items())[-1]
    return split, names_of(split, name)


def images_named(names: list[str], size: tuple[int, int], white: float | None = None) -> Iterator[Array]:
    """The images behind names that `names_of` gave to files, which are resized to `size`, or to arrays; uint8. What is deeper
    has the white level `white`, or its own.

    DataError if one is not found by its name, as those in shards are not.
    """
    from hourglass.data import NAMED, load
    from hourglass.data.files import read_image
    from hourglass.data.names import named
    from hourglass.errors import DataError
    from hourglass.images import to_shown, to_uint8

    loaded: dict[str, Array] = {}
    for name in names:
        source, _, row = name.rpartition("#")
        base, _, part = source.rpartition(":")
        if base and part in ("train", "test") and row.isdecimal() and not named(name).exists():
            if source not in loaded:
                loaded[source] = getattr(load(base, white=None if base in NAMED else white), part).images
            images = loaded[source]
            if int(row) >= len(images) or images.shape[1:3] != size:
                raise DataError(f"{name}: {source} holds {len(images)} images of {images.shape[2]}×{images.shape[1]}.")
            yield to_uint8(images[int(row)])
        else:
            yield to_shown(read_image(named(name), size), white)

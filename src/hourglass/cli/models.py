"""What verbs need of a model, and images as a model takes them."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hourglass.data import Dataset, Split
    from hourglass.data.files import Pages
    from hourglass.images import Array, Sample


def load_as(task: str, path: Path, device: str) -> Any:
    """The model at `path`; ParameterError if it is not of `task`, of which "" allows any."""
    from hourglass.errors import ParameterError
    from hourglass.estimators import load_model

    model = load_model(path, device=device)
    if task not in ("", model.saved_as):
        raise ParameterError(f"{path} holds a model of --task {model.saved_as}; this needs one of --task {task}.")
    return model


def check_trained_here(model: Path | None, save: Path | None, size: tuple[int, int] | None) -> None:
    """Raise ParameterError if an option for a model that is trained here stands beside `model`."""
    from hourglass.errors import ParameterError

    if model is not None and save is not None:
        raise ParameterError("--save keeps a model that is trained here; MODEL is kept already.")
    if model is not None and size is not None:
        raise ParameterError("--size is for a model that is trained here; MODEL has its own.")


def trained_on(dataset: Dataset, model: Any, name: str, save: Path | None) -> Any:
    """`model`, fitted to the training images of `dataset`, and saved to `save` if it is given."""
    from hourglass.cli.progress import ShowProgress

    train = dataset.of_one_size().train
    click.echo(f"training a {name} on {len(train):,} images of {dataset.name}.", err=True)
    model.fit(train.images, train.labels, callbacks=[ShowProgress(name)])
    if save is not None:
        model.save(save)
    return model


def sample_of(model: Any) -> Sample:
    """Shape and white level of the samples that `model` was trained on."""
    sample: Sample = model.sample_
    return sample


def shape_of(model: Any) -> tuple[int, ...]:
    """(h, w) or (h, w, c) of the images that `model` was trained on. Raises ModelError if it was trained on flat features."""
    from hourglass.errors import ModelError

    sample = sample_of(model)
    if not sample.is_image:
        raise ModelError("the model was fitted on flat features, not on images.")
    return sample.size


def white_for(model: Any, white: float | None) -> float | None:
    """The white level that images are read with: `white` if it is given, else the model's own, if it has one."""
    return white if white is not None else sample_of(model).white


def are_files(source: str) -> bool:
    """Whether the images of `source` are files of their own, of any size."""
    from hourglass.data import NAMED, is_sharded
    from hourglass.data.array_files import IDX_NAMES, idx_file
    from hourglass.data.files import IMAGE_FORMATS

    path = Path(os.path.expanduser(source))
    in_folder = (path.is_dir() or glob.has_magic(source)) and not idx_file(path, IDX_NAMES["train"][0])
    return source not in NAMED and ((in_folder and not is_sharded(source)) or path.suffix.lower() in IMAGE_FORMATS)


def image_files(source: Path) -> tuple[Path, list[Path]]:
    """(the root folder, image files below it) of a folder, a pattern or a single file. Raises DataError if there is none."""
    from hourglass.data.folders import files_of_pattern, find_images
    from hourglass.data.sources import root_of
    from hourglass.errors import DataError

    if source.is_dir():
        return source, find_images(source)
    if not source.exists():
        if not glob.has_magic(str(source)):
            raise DataError(f"{source}: no such file or folder.")
        return Path(root_of(source)), files_of_pattern(str(source))
    return source.parent, [source]


def read_arrays(source: str, white: float | None, strict: bool) -> Array:
    """The images of `source` as they are; of data with a test split, those of that split."""
    from hourglass.data import NAMED, load

    dataset = load(source, white=None if source in NAMED else white, strict=strict).of_one_size()
    images: Array = (dataset.test if dataset.has_test else dataset.train).images
    return images


def headers_of(source: str) -> list[tuple[int, int, int]]:
    """(height, width, bytes of a decoded pixel) of each image file of `source`; those that cannot be read are left out."""
    from hourglass.data.files import header_of, opened
    from hourglass.errors import DataError

    headers = []
    for file in image_files(Path(os.path.expanduser(source)))[1]:
        with contextlib.suppress(DataError):  # raised or listed when the file is read
            headers.append(opened(file, header_of))
    return [header for header in headers if all(header)]


def read_splits(
    model: Any, source: str, white: float | None = None, pages: Pages = "all", strict: bool = False
) -> list[tuple[Split, list[str]]]:
    """The training split of `source`, and the test split if there is one, each with the names of its images.

    The images are as `model` takes them: if they are files resized, unless it takes any size, grey or in colour, and read with
    its white level.
    """
    from hourglass.cli.output import say_taken_for
    from hourglass.data import NAMED, is_sharded, load

    sample = sample_of(model)
    in_files = are_files(source) or is_sharded(source)
    height, width = (0, 0) if sample.is_any_size else shape_of(model)[:2]
    size = (height, width) if in_files and height else None
    dataset = load(source, size=size, white=None if source in NAMED else white_for(model, white), pages=pages, strict=strict)
    if in_files:
        say_taken_for(dataset)
    splits = {"train": dataset.train} | ({"test": dataset.test} if dataset.has_test else {})
    return [
        (dataclasses.replace(split, images=_with_channels(split.images, sample)), names_of(split, f"{source}:{name}"))
        for name, split in splits.items()
    ]


def _with_channels(images: Any, sample: Sample) -> Any:
    """An array of images, or a list if their sizes differ, grey or in colour as `sample` is."""
    from hourglass.images import with_channels

    if isinstance(images, list):
        return [_with_channels(image[None], sample)[0] for image in images]
    return with_channels(images, sample.shape)


def names_of(split: Split, source: str) -> list[str]:
    """The name of each image: its path, or for arrays `source` and its row, as in mnist:test#7."""
    from hourglass.data.names import as_text

    if split.keys is not None:
        return list(split.keys)
    if split.paths is None:
        return [f"{source}#{row}" for row in range(len(split))]
    return [as_text(str(path)) for path in split.paths]


def images_named(names: list[str], size: tuple[int, int], white: float | None = None) -> Iterator[Array]:
    """The images with these names, as `names_of` gives them, in uint8: those of files are resized to `size`.

    Images deeper than 8 bits are read with the white level `white`, or their own. Raises DataError if there is no image of a
    name, as for images in shards.
    """
    from hourglass.data import NAMED, load
    from hourglass.data.files import read_image
    from hourglass.data.names import named
    from hourglass.errors import DataError
    from hourglass.images import to_shown, to_uint8

    loaded: dict[str, Array] = {}
    for name in names:
        source, _, row = name.rpartition("#")
        base, _, split = source.rpartition(":")
        if base and split in ("train", "test") and row.isdecimal() and not named(name).exists():
            if source not in loaded:
                loaded[source] = getattr(load(base, white=None if base in NAMED else white), split).images
            images = loaded[source]
            if int(row) >= len(images) or images[int(row)].shape[:2] != size:
                raise DataError(f"{name}: {source} holds {len(images)} images, not of {size[1]}×{size[0]}.")
            yield to_uint8(images[int(row)])
        else:
            yield to_shown(read_image(named(name), size), white)

"""hourglass explore"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hourglass.cli.options import INTERRUPTED, claim, data_option, device_option, save_option, seed_option, size_option

if TYPE_CHECKING:
    from hourglass.data import Dataset, Split
    from hourglass.estimators import ImageEstimator


_SMALL = (64, 64)  # height and width


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@data_option
@click.option(
    "--part",
    type=click.Choice(["all", "train", "test"]),
    help="Which images of DATA.  [default: all; with --export the test images]",
)
@click.option("--most", type=click.IntRange(1), help="Maximum number of images, drawn at random.")
@click.option(
    "--export", "page", type=click.Path(path_type=Path), callback=claim, help="Write one page that needs no server, and exit."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on. Others can reach any that is not loopback."
)
@click.option("--port", default=8265, show_default=True, type=click.IntRange(0, 65535), help="0 chooses a free port.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@save_option
@size_option
@device_option
@seed_option
def explore(
    model: Path | None,
    data: str,
    part: str | None,
    most: int | None,
    page: Path | None,
    host: str,
    port: int,
    opens: bool,
    save: Path | None,
    size: tuple[int, int] | None,
    device: str,
    seed: int,
) -> None:
    """Explore the latent space of MODEL (of any task) with the images in DATA, and decode any point of it.

    Serves a page: all codes in a plane, the decoded image under the pointer, interpolation between two points, regions, a
    drawing pad and a number generator. Without MODEL, a map of DATA is trained first: preset features, two latent dimensions.
    For that, image files of several sizes or above 128x128 are resized to 64x64.
    """
    import os
    import sys
    import webbrowser

    from hourglass.cli.models import check_trained_here, trained_on
    from hourglass.errors import ParameterError
    from hourglass.estimators import Autoencoder, load_model

    try:
        from hourglass.web import Scene, check_shows, export_page, serve
    except ModuleNotFoundError as error:
        raise ParameterError(f'the explorer needs {error.name}: pip install "hourglass-autoencoders[web]".') from error

    check_trained_here(model, save, size)
    if model is not None:
        fitted = load_model(model, device=device)
        check_shows(fitted)
    else:
        small = _of_one_small_size(data, size)
        fitted = trained_on(small, Autoencoder(2, preset="features", random_state=seed, device=device), "map", save)
    split, names = _chosen(fitted, data, part or ("all" if page is None else "test"), most, seed)
    scene = Scene(fitted, split, data, seed, names)

    def ready(address: str) -> None:
        click.echo(f"{len(scene.images):,} images of {data} at {address} (Ctrl-C ends it).")
        if opens:
            webbrowser.open(address)

    try:
        if page is None:
            serve(scene, host, port, ready)
        else:
            click.echo(f"{page}: {export_page(scene, page) / 1e6:.1f} MB, {len(scene.images):,} images; open it in a browser.")
    finally:
        if not scene.close() and isinstance(sys.exception(), KeyboardInterrupt):
            click.echo("interrupted.", err=True)
            os._exit(INTERRUPTED)  # without waiting for the threads that learn


def _of_one_small_size(data: str, size: tuple[int, int] | None) -> Dataset:
    """The images of `data`, resized to `size`; by default, if they are files that are large or of several sizes, to 64×64.

    Codes of large images are maps, which the explorer cannot decode.

    Raises
    ------
    ParameterError, DataError
        If they are larger, or of several sizes, even so.
    """
    from hourglass.cli.models import are_files, headers_of
    from hourglass.data import load
    from hourglass.errors import DataError, ParameterError
    from hourglass.estimators.base import LARGE
    from hourglass.notes import note

    if size is not None and min(size) > LARGE:
        raise ParameterError(f"--size {size[0]}x{size[1]}; the explorer maps images up to {LARGE}x{LARGE}.")
    if size is None and are_files(data):
        sizes = {header[:2] for header in headers_of(data)}
        if len(sizes) > 1 or any(min(found) > LARGE for found in sizes):
            height, width = size = _SMALL
            words = f"images of several sizes, or large, are resized to {height}×{width}"
            note(f"{data}: {words}; choose another size with --size.", 2)
    dataset = load(data, size=size)
    height, width = dataset.train.images[0].shape[:2]
    if min(height, width) > LARGE:
        words = f"the explorer maps images up to {LARGE}×{LARGE}"
        raise DataError(f"{data}: images of {height}×{width}; {words}. Use --size 64x64, or resize an array.")
    return dataset


def _chosen(model: ImageEstimator, source: str, part: str, most: int | None, seed: int) -> tuple[Split, list[str]]:
    """The images to show, and their names; all if the data has no test split."""
    import numpy as np

    from hourglass.cli.models import read_splits
    from hourglass.data import Split

    splits = read_splits(model, source)
    if len(splits) > 1 and part != "all":
        splits = [splits[part == "test"]]
    names = np.array([name for _, names in splits for name in names])
    has_labels = all(split.labels is not None for split, _ in splits)
    split = Split(
        np.concatenate([split.images for split, _ in splits]),
        np.concatenate([split.known_labels for split, _ in splits]) if has_labels else None,
    )
    if most is not None and most < len(split):
        rows = np.sort(np.random.default_rng(seed).choice(len(split), most, replace=False))
        split, names = split.take(rows), names[rows]
    return split, names.tolist()

"""hourglass explore"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hourglass.cli.options import INTERRUPTED, SEED, claim, data_option, device_option, save_option

if TYPE_CHECKING:
    from hourglass.data import Split
    from hourglass.estimators import ImageEstimator


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@data_option
@click.option(
    "--part",
    type=click.Choice(["all", "train", "test"]),
    help="Which images of DATA.  [default: all; with --export the test images]",
)
@click.option("--most", type=click.IntRange(1), help="At most so many images, drawn at random.")
@click.option(
    "--export", "page", type=click.Path(path_type=Path), callback=claim, help="Write one page that needs no server, and end."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen. Others can reach what is not loopback.")
@click.option("--port", default=8265, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@save_option
@device_option
@click.option("--seed", default=SEED, type=click.IntRange(0, 2**31 - 1), help="Of everything left to chance.")
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
    device: str,
    seed: int,
) -> None:
    """Move through the codes that MODEL (of any task) gives the images in DATA, and see every place decoded.

    Serves a page: all codes in a plane, the decoder's picture wherever you point, the way between two places, regions, a
    drawing pad and a number generator. Without MODEL, a generator with codes of two numbers is first trained on DATA.
    """
    import os
    import sys
    import webbrowser

    from hourglass.errors import ParameterError
    from hourglass.estimators import load_model

    try:
        from hourglass.web import Scene, export_page, serve
    except ModuleNotFoundError as error:
        raise ParameterError(f'the explorer needs {error.name}: pip install "hourglass[web]".') from error

    if model is not None and save is not None:
        raise ParameterError("--save keeps a model that is trained here; MODEL is kept already.")
    fitted = _trained(data, device, seed, save) if model is None else load_model(model, device=device)
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
            os._exit(INTERRUPTED)  # without waiting for what is being learned


def _trained(data: str, device: str, seed: int, save: Path | None) -> ImageEstimator:
    from hourglass.cli.progress import ShowProgress
    from hourglass.data import load
    from hourglass.estimators import Generator

    train = load(data).train
    click.echo(f"training a generator with codes of two numbers on {len(train):,} images of {data}.", err=True)
    generator = Generator(2, random_state=seed, device=device)
    generator.fit(train.images, train.labels, callbacks=[ShowProgress("generator")])
    if save is not None:
        generator.save(save)
    return generator


def _chosen(model: ImageEstimator, source: str, part: str, most: int | None, seed: int) -> tuple[Split, list[str]]:
    """The images to show, and what each is called; of data without a test part, all."""
    import numpy as np

    from hourglass.cli.models import names_of, parts_for
    from hourglass.data import Split

    parts = parts_for(model, source)
    if len(parts) > 1 and part != "all":
        parts = dict([list(parts.items())[part == "test"]])
    names = np.array([name for label, split in parts.items() for name in names_of(split, label)])
    has_labels = all(split.labels is not None for split in parts.values())
    split = Split(
        np.concatenate([split.images for split in parts.values()]),
        np.concatenate([split.known_labels for split in parts.values()]) if has_labels else None,
    )
    if most is not None and most < len(split):
        rows = np.sort(np.random.default_rng(seed).choice(len(split), most, replace=False))
        split, names = split.take(rows), names[rows]
    return split, names.tolist()

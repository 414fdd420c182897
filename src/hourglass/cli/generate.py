"""hourglass generate"""

from __future__ import annotations

from pathlib import Path

import click

from hourglass.cli.options import data_option, device_option, json_option, output_option, save_option, seed_option, size_option


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@output_option("generated.png", what="A .png for a sheet of all images, or a folder for separate files.")
@click.option("--n", default=64, show_default=True, type=click.IntRange(1), help="Number of images.")
@click.option("--label", help="Sample from this class only.")
@click.option("--text", help="Sample one image for each character of this text, as in --text 2026.")
@click.option(
    "--temperature",
    default=0.85,
    show_default=True,
    help="Below 1, images are more typical and less diverse.",
)
@save_option
@data_option
@size_option
@device_option
@seed_option
@json_option
def generate(
    model: Path | None,
    output: Path,
    n: int,
    label: str | None,
    text: str | None,
    temperature: float,
    save: Path | None,
    data: str,
    size: tuple[int, int] | None,
    device: str,
    seed: int,
    as_json: bool,
) -> None:
    """Sample new images from MODEL (of --task generator). Without MODEL, one is first trained on DATA."""
    import numpy as np

    from hourglass.cli.models import check_trained_here, load_as, trained_on
    from hourglass.cli.output import report_written
    from hourglass.data import load
    from hourglass.data.files import write_image
    from hourglass.errors import ParameterError
    from hourglass.estimators import Generator
    from hourglass.images import to_uint8
    from hourglass.report import sheet

    if text is not None and (label is not None or not text):
        raise ParameterError("--text needs at least one character, and goes without --label.")
    check_trained_here(model, save, size)
    if model is not None:
        generator = load_as("generator", model, device)
    else:
        generator = trained_on(load(data, size=size), Generator(random_state=seed, device=device), "generator", save)
    labels = {str(known): known for known in generator.classes_.tolist()}
    asked = list(text) if text is not None else [] if label is None else [label]
    unknown = [name for name in asked if name not in labels]
    if unknown:
        known = ", ".join(labels) or "none, for it was trained without labels"
        raise ParameterError(f"{unknown[0]!r} is not a class of this model; known: {known}.")
    wanted = None if not asked else [labels[name] for name in asked] if text is not None else labels[asked[0]]
    images = to_uint8(generator.sample(len(asked) if text is not None else n, wanted, temperature, random_state=seed))
    if output.suffix.lower() == ".png":
        columns = len(images) if text is not None else int(np.ceil(np.sqrt(len(images))))
        write_image(output, sheet(images, columns, gap=0 if text is not None else 1))
        written = [output]
    else:
        written = [output / f"{number:04d}.png" for number in range(len(images))]
        for path, image in zip(written, images, strict=True):
            write_image(path, image)
    report_written(written, output, as_json)

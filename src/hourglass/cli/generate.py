"""hourglass generate"""

from __future__ import annotations

from pathlib import Path

import click

from hourglass.cli.options import data_option, device_option, json_option, output_option, save_option, seed_option


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@output_option("generated.png", what="A .png for one sheet, else a folder for single files.")
@click.option("--n", default=64, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--label", help="Only of this class.")
@click.option("--text", help="Write this in generated images, one a character: --text 2026.")
@click.option("--temperature", default=0.85, show_default=True, help="Less than 1: more typical, less varied.")
@save_option
@data_option
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
    device: str,
    seed: int,
    as_json: bool,
) -> None:
    """Draw new images with MODEL (of --task generator). Without MODEL, one is first trained on DATA."""
    import numpy as np

    from hourglass.cli.models import load_as
    from hourglass.cli.output import report_written
    from hourglass.cli.progress import ShowProgress
    from hourglass.data import load
    from hourglass.data.files import write_image
    from hourglass.errors import ParameterError
    from hourglass.estimators import Generator
    from hourglass.images import to_uint8
    from hourglass.report import sheet

    if text is not None and (label is not None or not text):
        raise ParameterError("--text needs at least one character, and goes without --label.")
    if model is not None and save is not None:
        raise ParameterError("--save keeps a model that is trained here; MODEL is kept already.")
    if model is not None:
        generator = load_as(Generator, model, device)
    else:
        train = load(data).train
        click.echo(f"training a generator on {len(train):,} images of {data}.", err=True)
        generator = Generator(random_state=seed, device=device)
        generator.fit(train.images, train.labels, callbacks=[ShowProgress("generator")])
        if save is not None:
            generator.save(save)
    labels = {str(known): known for known in generator.classes_.tolist()}
    asked = list(text) if text is not None else [] if label is None else [label]
    unknown = [name for name in asked if name not in labels]
    if unknown:
        known = ", ".join(labels) or "none, for it was trained without labels"
        raise ParameterError(f"{unknown[0]!r} is no class of this model; known: {known}.")
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

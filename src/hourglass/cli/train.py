"""hourglass train"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hourglass.cli.options import (
    SizeType,
    WidthsType,
    combined,
    corruption_option,
    data_option,
    device_option,
    json_option,
    output_option,
    seed_option,
)


@click.command()
@data_option
@output_option(what="The model's folder, by custom *.hg.")
@click.option("--task", default="denoiser", show_default=True, help="denoiser or autoencoder.")
@click.option("--preset", default="default", show_default=True, help="default, chapter, best, skip.")
@click.option("--network", help="mlp, conv, skip, linear; like all below without a default: the preset's.")
@click.option("--n-components", type=int, help="Numbers in a code; 32 or, in best and skip, 64.")
@click.option("--hidden", type=WidthsType(), help="Widths between input and code.")
@click.option("--epochs", type=int, help="Passes over the training images.")
@click.option("--batch-size", type=int, help="Images a step.")
@click.option("--learning-rate", type=float, help="The optimiser's largest step.")
@click.option("--optimizer", help="muon, adam.")
@click.option("--loss", default="mse", show_default=True, help="mse, bce, mae, ssim.")
@corruption_option
@click.option("--early-stopping", is_flag=True, help="End when the validation loss no longer falls.")
@click.option("--size", type=SizeType(), help="Resize a folder's images to this.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted run of the same command stopped.")
@device_option
@seed_option
@json_option
def train(
    data: str,
    output: Path,
    task: str,
    corruptions: tuple[Any, ...],
    size: tuple[int, int] | None,
    resume: bool,
    seed: int,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Train a model on the training images of DATA and save it.

    After every epoch the run is saved in OUTPUT.checkpoint, which is removed when the model is written.
    """
    from hourglass.cli.output import print_json
    from hourglass.cli.progress import ShowProgress
    from hourglass.data import load
    from hourglass.errors import ParameterError
    from hourglass.estimators import ESTIMATORS
    from hourglass.training import describe_epoch

    if task not in ESTIMATORS:
        raise ParameterError(f"--task {task}; allowed: {', '.join(ESTIMATORS)}.")
    if not output.name or (output.exists() and not (output / "config.json").is_file()):
        raise ParameterError(f"{output} exists and is no model; choose another name with -o.")
    dataset = load(data, size=size)
    model: Any = ESTIMATORS[task](**parameters, corruption=combined(corruptions), random_state=seed)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    progress = ShowProgress(f"{task}, {parameters['preset']}")
    try:
        model.fit(dataset.train.images, callbacks=[progress], checkpoint=checkpoint, resume=resume)
    except KeyboardInterrupt:
        if progress.finished:
            click.echo(f"stopped; {checkpoint} holds epoch {progress.finished}: add --resume to go on.", err=True)
        raise
    model.save(output)
    checkpoint.unlink(missing_ok=True)
    if as_json:
        print_json({"model": str(output), "history": model.history_})
        return
    click.echo(f"{output}: {describe_epoch(model.history_[-1])}.")

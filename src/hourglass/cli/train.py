"""hourglass train"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hourglass.cli.options import (
    PENALTY,
    SizeType,
    WidthsType,
    claim,
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
@click.option(
    "--task",
    default="denoiser",
    show_default=True,
    help="denoiser, autoencoder, detector, generator, retriever, compressor, enhancer.",
)
@click.option("--preset", help="default, chapter, best, skip, features, …; the task's own by default.")
@click.option(
    "--network",
    help="mlp, conv, skip, residual, linear, variational, noisy, quantised, embedding; the preset's by default.",
)
@click.option("--n-components", type=int, help="Numbers in a code.")
@click.option("--hidden", type=WidthsType(), help="Widths between input and code.")
@click.option("--epochs", type=int, help="Passes over the training images.")
@click.option("--batch-size", type=int, help="Images a step.")
@click.option("--learning-rate", type=float, help="The optimiser's largest step.")
@click.option("--optimizer", help="muon, adam.")
@click.option("--precision", help="float32; bfloat16 is mixed precision, faster where the processor or GPU has it.")
@click.option("--loss", help="mse, bce, mae, ssim.")
@click.option(
    "--penalty",
    multiple=True,
    type=PENALTY,
    help="Added to the loss, as in l1:strength=0.001; l2:on=weights, kl_sparsity, contractive, …. Several add up.",
)
@click.option("--factor", type=int, help="enhancer: 2 or 4 times the height and width.")
@click.option("--quality", type=float, help="compressor: 0 small … 100 true.")
@click.option("--contamination", type=float, help="detector: share of the images that are anomalies.")
@click.option("--backend", help="retriever: exact; faiss or ivfpq, fast among millions, may miss some.")
@click.option("--metric", help="retriever: cosine, euclidean.")
@corruption_option
@click.option("--early-stopping", is_flag=True, help="End when the validation loss no longer falls.")
@click.option("--size", type=SizeType(), help="Resize a folder's images to this.")
@click.option("--tile", type=SizeType(), help="Cut images, of any sizes, into tiles of this: for photographs.")
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
    tile: tuple[int, int] | None,
    resume: bool,
    seed: int,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Train a model on the training images of DATA and save it.

    After every epoch the run is saved in OUTPUT.checkpoint, which is removed when the model is written.
    """
    from hourglass.cli.models import names_of
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
    if task in ("retriever", "detector") and tile is not None:
        raise ParameterError(f"a {task} is given whole images later: use --size, not --tile.")
    train_part = load(data, size=size, tile=tile).train
    parameters["penalty"] = parameters["penalty"] or None
    given = {name: value for name, value in parameters.items() if value is not None}
    foreign = sorted(set(given) - set(ESTIMATORS[task]._get_param_names()))
    if foreign:
        raise ParameterError(f"--{foreign[0]} is not for --task {task}.")
    model: Any = ESTIMATORS[task](**given, corruption=combined(corruptions), random_state=seed)
    named = {"generator": train_part.labels, "retriever": names_of(train_part, f"{data}:train")}
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    claim(click.get_current_context(), None, checkpoint)
    progress = ShowProgress(f"{task}, {model.preset}")
    try:
        model.fit(train_part.images, named.get(task), callbacks=[progress], checkpoint=checkpoint, resume=resume)
    except KeyboardInterrupt:
        if progress.finished:
            click.echo(f"stopped; {checkpoint} holds epoch {progress.finished}: add --resume to go on.", err=True)
        raise
    model.save(output)
    checkpoint.unlink(missing_ok=True)
    told = {}
    if given.get("backend", "exact") != "exact":
        own = train_part.images[:: -(-len(train_part) // 200)]
        told["recall_at_10"] = model.recall(own, min(10, len(train_part)))
    if as_json:
        print_json({"model": str(output), "history": model.history_, **told})
        return
    recall = "".join(f", recall at 10 {value:.3f}" for value in told.values())
    click.echo(f"{output}: {describe_epoch(model.history_[-1])}{recall}.")

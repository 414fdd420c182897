"""hourglass train"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.options import (
    BACKENDS,
    LOSSES,
    METRICS,
    NETWORKS,
    OPTIMIZERS,
    PENALTY,
    PRECISIONS,
    PRESETS,
    TASKS,
    ShareType,
    SizeType,
    ThreadsType,
    WidthsType,
    claim,
    combined,
    corruption_option,
    data_option,
    device_option,
    json_option,
    output_option,
    pages_option,
    seed_option,
    strict_option,
)

if TYPE_CHECKING:
    from hourglass.data.files import Pages


@click.command()
@data_option
@output_option(what="The model's folder, by custom *.hg.")
@click.option(
    "--task",
    default="denoiser",
    show_default=True,
    type=click.Choice(TASKS),
    help="What to train.",
)
@click.option("--preset", type=click.Choice(PRESETS), help="The task's own by default.")
@click.option("--network", type=click.Choice(NETWORKS), help="The preset's by default.")
@click.option("--n-components", type=click.IntRange(1), help="Numbers in a code.")
@click.option("--hidden", type=WidthsType(), help="Widths between input and code.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training images.")
@click.option("--batch-size", type=click.IntRange(1), help="Images a step.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="The optimiser's largest step.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), help="The preset's by default.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="bfloat16: mixed, faster where the machine has it.")
@click.option("--loss", type=click.Choice(LOSSES), help="The preset's by default.")
@click.option(
    "--penalty",
    multiple=True,
    type=PENALTY,
    help="Added to the loss, as in l1:strength=0.001; l2:on=weights, kl_sparsity, contractive, …. Several add up.",
)
@click.option("--factor", type=click.Choice([2, 4]), help="enhancer: how many times the height and width.")
@click.option("--quality", type=click.FloatRange(0, 100), help="compressor: 0 small … 100 true.")
@click.option("--contamination", type=ShareType(), help="detector: share of the images that are anomalies.")
@click.option("--backend", type=click.Choice(BACKENDS), help="retriever: faiss, ivfpq are fast, may miss some.")
@click.option("--metric", type=click.Choice(METRICS), help="retriever: how far codes are from each other.")
@corruption_option
@click.option("--early-stopping", is_flag=True, help="End when the validation loss no longer falls.")
@click.option("--size", type=SizeType(), help="Resize a folder's images to this.")
@click.option("--tile", type=SizeType(), help="Cut images, of any sizes, into tiles of this: for photographs.")
@click.option("--stream", is_flag=True, help="Read images as they are needed, for more than memory holds; shards always are.")
@click.option("--workers", type=click.IntRange(0), help="Of a stream: processes that read and decode; 0: none but this.")
@click.option("--buffer", type=click.IntRange(1), help="Of a stream: images that are shuffled together.")
@click.option(
    "--threads",
    "n_threads",
    type=ThreadsType(),
    help="How many compute; auto: as many as are fastest beside what else runs, which may change bits. torch's own by default.",
)
@click.option("--white", type=click.FloatRange(0, min_open=True), help="What stands for 1 in deep images: 4095 of 12 bits.")
@pages_option
@strict_option
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
    stream: bool,
    workers: int | None,
    buffer: int | None,
    white: float | None,
    pages: Pages,
    strict: bool,
    resume: bool,
    seed: int,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Train a model on the training images of DATA and save it.

    After every epoch, and every minute of a longer one, the run is saved in OUTPUT.checkpoint, which is removed when the model
    is written. Several processes, on one host or many, share the work: torchrun --nproc-per-node N -m hourglass train ….
    """
    from hourglass.cli.output import print_json
    from hourglass.cli.processes import is_restarted, may_be_restarted, rank
    from hourglass.cli.progress import ShowProgress
    from hourglass.errors import ParameterError
    from hourglass.estimators import ESTIMATORS
    from hourglass.training import current, describe_epoch, joined

    if not output.name or (output.exists() and not (output / "config.json").is_file()):
        raise ParameterError(f"{output} exists and is no model; choose another name with -o.")
    if task in ("retriever", "detector") and tile is not None:
        raise ParameterError(f"a {task} is given whole images later: use --size, not --tile.")
    gather = click.get_current_context().with_resource(joined())
    samples, names, parameters["white"] = _samples(
        data, size, tile, white, pages, strict, stream, {"workers": workers, "buffer": buffer}
    )
    parameters["penalty"] = parameters["penalty"] or None
    given = {name: value for name, value in parameters.items() if value is not None}
    foreign = sorted(set(given) - set(ESTIMATORS[task]._get_param_names()))
    if foreign:
        raise ParameterError(f"--{foreign[0]} is not for --task {task}.")
    model: Any = ESTIMATORS[task](**given, corruption=combined(corruptions), random_state=seed)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    claim(click.get_current_context(), None, checkpoint)
    progress = ShowProgress(f"{task}, {model.preset}")
    resume = resume or is_restarted()
    if rank() == 0 and may_be_restarted() and not resume:
        checkpoint.unlink(missing_ok=True)  # of an older run, which a restart of this one would take for its own
    gather()
    try:
        model.fit(samples, names.get(task), callbacks=[progress], checkpoint=checkpoint, resume=resume)
    except KeyboardInterrupt:
        if current().is_first and checkpoint.exists():
            click.echo(f"stopped after {progress.finished} epochs; {checkpoint}: add --resume to go on.", err=True)
        raise
    if not current().is_first:
        return
    model.save(output)
    checkpoint.unlink(missing_ok=True)
    told = {}
    if given.get("backend", "exact") != "exact":
        told["recall_at_10"] = model.recall(_some(samples, 200), min(10, len(samples)))
    if as_json:
        print_json({"model": str(output), "history": model.history_, **told})
        return
    recall = "".join(f", recall at 10 {value:.3f}" for value in told.values())
    click.echo(f"{output}: {describe_epoch(model.history_[-1])}{recall}.")


def _samples(
    data: str,
    size: tuple[int, int] | None,
    tile: tuple[int, int] | None,
    white: float | None,
    pages: Pages,
    strict: bool,
    streams: bool,
    of_stream: dict[str, Any],
) -> tuple[Any, dict[str, Any], float | None]:
    """(what to fit on, what each task calls these images, their white level if they have one)"""
    from hourglass.cli.models import are_files, names_of
    from hourglass.cli.output import say_taken_for
    from hourglass.data import is_sharded, load, stream
    from hourglass.errors import ParameterError

    if streams or is_sharded(data):
        if tile is not None:
            raise ParameterError("--tile is for images in memory; of a stream, --size resizes image files.")
        if pages != "all":
            raise ParameterError("--pages is for images in memory; of a stream, the first page of each file is read.")
        source = stream(data, size=size, white=white, strict=strict, **of_stream)
        return source, {}, source.white or None
    given = [name for name, value in of_stream.items() if value is not None]
    if given:
        raise ParameterError(f"--{given[0]} is for streams; add --stream.")
    dataset = load(data, size=size, tile=tile, white=white, pages=pages, strict=strict)
    split = dataset.train
    if are_files(data):
        say_taken_for(dataset)
    return split.images, {"generator": split.labels, "retriever": names_of(split, f"{data}:train")}, split.white


def _some(samples: Any, n: int) -> Any:
    """About `n` of the images, from all over."""
    from hourglass.data import Stream

    if isinstance(samples, Stream):
        return samples.take(samples.draw(n, 0)).images
    return samples[:: -(-len(samples) // n)]

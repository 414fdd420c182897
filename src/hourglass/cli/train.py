"""hourglass train"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from hourglass.cli.options import (
    BACKENDS,
    METRICS,
    TASKS,
    ShareType,
    SizeType,
    TrackType,
    claim,
    combined,
    data_option,
    device_option,
    json_option,
    output_option,
    pages_option,
    seed_option,
    size_option,
    strict_option,
    training_options,
)

_MOST_BYTES = 4 << 30  # of decoded image files in memory


@click.command()
@data_option
@output_option(what="The model's folder, by convention *.hg.")
@click.option(
    "--task",
    default="denoiser",
    show_default=True,
    type=click.Choice(TASKS),
    help="What to train.",
)
@training_options
@click.option("--factor", type=click.Choice([2, 3, 4]), help="enhancer: how many times the height and width.")
@click.option("--reduction", type=click.Choice(["area", "bicubic"]), help="enhancer: how low resolution comes about.")
@click.option("--quality", type=click.FloatRange(0, 100), help="compressor: 0 fewest bits … 100 least distortion.")
@click.option("--contamination", type=ShareType(), help="detector: share of the images that are anomalies.")
@click.option("--backend", type=click.Choice(BACKENDS), help="retriever: faiss and ivfpq are approximate, and faster.")
@click.option("--metric", type=click.Choice(METRICS), help="retriever: the distance between codes.")
@click.option(
    "--targets",
    metavar="DATA",
    help="Train on pairs: the images that the network returns for those of --data, under the same names.",
)
@click.option(
    "--noisy", is_flag=True, help="Denoiser: DATA is noisy, and there are no clean images; learn from neighbouring pixels."
)
@size_option
@click.option("--tile", type=SizeType(), help="Cut images, of any sizes, into tiles of this: for photographs.")
@click.option("--stream", is_flag=True, help="Read images on demand, for data larger than memory; shards always are.")
@click.option("--workers", type=click.IntRange(0), help="For --stream: worker processes that decode; 0 uses this process.")
@click.option("--buffer", type=click.IntRange(1), help="For --stream: images that are shuffled together.")
@click.option("--grey", is_flag=True, help="Convert coloured images to grey.")
@click.option("--white", type=click.FloatRange(0, min_open=True), help="White level of deep images: 4095 for 12 bits.")
@pages_option
@strict_option
@click.option(
    "--track",
    "tracked",
    type=TrackType(),
    multiple=True,
    help="Record each epoch: json:FILE, tensorboard:FOLDER or mlflow:URI.",
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the learning curve: a .png, .svg or .pdf.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted run of the same command.")
@device_option
@seed_option
@json_option
def train(
    data: str,
    output: Path,
    task: str,
    targets: str | None,
    noisy: bool,
    stream: bool,
    workers: int | None,
    buffer: int | None,
    tracked: tuple[tuple[str, str], ...],
    figure: Path | None,
    resume: bool,
    seed: int,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Train a model on the training images of DATA and save it.

    Image files of several sizes are trained on in random crops, flipped and rotated, by default with --preset photo.

    After every epoch, and every minute within an epoch, the run is saved in OUTPUT.checkpoint, which is removed when the model
    is written. Several processes, on one or more hosts, can share a training: torchrun --nproc-per-node N -m hourglass train ….
    """
    from hourglass.cli.processes import is_restarted, may_be_restarted, rank
    from hourglass.cli.progress import ShowProgress
    from hourglass.data import NAMED
    from hourglass.errors import ParameterError
    from hourglass.estimators import ESTIMATORS
    from hourglass.training import TRACKERS, current, joined

    if not output.name or (output.exists() and not (output / "config.json").is_file()):
        raise ParameterError(f"{output} exists and is no model; choose another name with -o.")
    _check_figure(figure)
    trackers = [TRACKERS[kind](place) for kind, place in tracked]  # before anything is read: one may be missing
    gather = click.get_current_context().with_resource(joined())
    samples, names = _read(data, task, targets, noisy, stream, {"workers": workers, "buffer": buffer}, parameters)
    parameters["penalty"] = parameters["penalty"] or None
    parameters["corruption"] = combined(parameters["corruption"])
    given = {name: value for name, value in parameters.items() if value is not None}
    foreign = sorted(set(given) - set(ESTIMATORS[task]().get_params(deep=False)))
    if foreign:
        raise ParameterError(f"--{foreign[0]} is not for --task {task}.")
    model: Any = ESTIMATORS[task](**given, random_state=seed)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    claim(click.get_current_context(), None, checkpoint)
    progress = ShowProgress(f"{task}, {model.preset}")
    resume = resume or is_restarted()
    if rank() == 0 and may_be_restarted() and not resume:
        checkpoint.unlink(missing_ok=True)  # of an older run, which a restart would otherwise resume
    gather()
    try:
        model.fit(samples, **names.get(task, {}), callbacks=[progress, *trackers], checkpoint=checkpoint, resume=resume)
    except KeyboardInterrupt:
        if current().is_first and checkpoint.exists():
            click.echo(f"stopped after {progress.finished} epochs; {checkpoint}: add --resume to go on.", err=True)
        raise
    if not current().is_first:
        return
    if data in NAMED and data != "auto":
        model.model_.data["name"] = data
    model.save(output)
    checkpoint.unlink(missing_ok=True)
    metrics: dict[str, float] = {}
    if given.get("backend", "exact") != "exact":
        metrics["recall_at_10"] = model.recall(_some(samples, 200), min(10, len(samples)))
    agreement = _agreement(model, samples, names["retriever"]["y"]) if "retriever" in names else None
    _report(model, output, metrics, agreement, figure, as_json)
    if agreement is not None and agreement.is_worse:
        advice = "Train for more --epochs, with --corruption that changes these images less, or use PCA."
        click.echo(f"note: PCA tells the labels apart better than these codes. {advice}", err=True)


def _agreement(model: Any, samples: Any, labels: Any) -> Any:
    """How well the codes of a model of features tell the labels apart, beside PCA; None for others, or without labels."""
    from hourglass.estimators import Retriever
    from hourglass.evaluation import label_agreement
    from hourglass.evaluation.uses.search import unit_vectors

    if labels is None or model.preset not in ("features", "photo-features"):
        return None
    by_angle = isinstance(model, Retriever) and model.metric == "cosine"
    return label_agreement(lambda some: unit_vectors(model.encode(some)) if by_angle else model.encode(some), samples, labels)


def _report(model: Any, output: Path, metrics: dict[str, float], agreement: Any, figure: Path | None, as_json: bool) -> None:
    """Say what the saved model learned, and draw its learning curve to `figure`."""
    from hourglass.cli.output import print_json
    from hourglass.cli.progress import losses, sparkline
    from hourglass.training import describe_epoch

    if figure is not None:
        _draw(model, figure)
    if as_json:
        drawn = {} if figure is None else {"figure": str(figure)}
        agreed = {} if agreement is None else {"label_agreement": agreement._asdict()}
        print_json({"model": str(output), "history": model.history_, **metrics, **agreed, **drawn})
        return
    recall = "".join(f", recall at 10 {value:.3f}" for value in metrics.values())
    curve = sparkline(losses(model.history_))
    words = [f"{output}: {describe_epoch(model.history_[-1])}{recall}.", f"Loss by epoch: {curve}." if curve else ""]
    words += [] if figure is None else [f"Figure written to {figure}."]
    click.echo(" ".join(filter(None, words)))
    if agreement is not None:
        click.echo(str(agreement))


def _check_figure(figure: Path | None) -> None:
    """Raise ParameterError for another format, before anything is read."""
    if figure is not None:
        from hourglass.plot.figures import check_format  # imports matplotlib

        check_format(figure)


def _draw(model: Any, figure: Path) -> None:
    from matplotlib.figure import Figure

    from hourglass.plot import learning_curve
    from hourglass.plot.figures import save

    drawn = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    learning_curve(model, ax=drawn.subplots())
    save(drawn, figure)


def _read(
    data: str,
    task: str,
    targets: str | None,
    noisy: bool,
    stream: bool,
    of_stream: dict[str, Any],
    parameters: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """(the samples to fit on, what else `fit` of each task takes); leaves the arguments of the estimator in `parameters`."""
    from hourglass.errors import ParameterError
    from hourglass.estimators.presets import PRESETS

    reading = {name: parameters.pop(name) for name in ("size", "tile", "white", "pages", "grey", "strict")}
    if task in ("retriever", "detector") and reading["tile"] is not None:
        raise ParameterError(f"a {task} is applied to whole images: use --size, not --tile.")
    if targets is None and not noisy:
        if not (stream or reading["size"] or reading["tile"]) and _exceeds_memory(data):
            stream, parameters["crop"] = True, parameters["crop"] or (PRESETS["photo"]["crop"],) * 2
        if stream:
            of_stream["crop"] = parameters.pop("crop")
        samples, names, parameters["white"] = _samples(data, reading, stream, of_stream)
        return samples, names
    _check_pairs(task, targets, noisy, reading, stream or any(value is not None for value in of_stream.values()))
    samples, clean, parameters["white"] = _pairs(data, targets, parameters["factor"] or 1 + (task == "enhancer"), reading)
    return samples, {task: {"y": clean}}


def _check_pairs(task: str, targets: str | None, noisy: bool, reading: dict[str, Any], streams: bool) -> None:
    from hourglass.errors import ParameterError

    name, tasks = ("noisy", ("denoiser",)) if noisy else ("targets", ("denoiser", "enhancer"))
    if noisy and targets is not None:
        raise ParameterError("--noisy is for noisy images alone; with --targets, leave it out.")
    if task not in tasks:
        raise ParameterError(f"--{name} is for --task {' and '.join(tasks)}; a {task} learns from DATA alone.")
    if streams:
        raise ParameterError(f"--{name} is for images in memory; leave --stream and its options out.")
    if task == "enhancer" and (reading["size"] or reading["tile"]):
        raise ParameterError("--size and --tile do not fit pairs of two resolutions; crops are cut by themselves (--crop).")


def _pairs(data: str, targets: str | None, factor: int, reading: dict[str, Any]) -> tuple[Any, Any, float | None]:
    """(inputs, targets, the white level if there is one); without `targets` both are made of noisy images."""
    from hourglass.corruption import neighbour_pairs
    from hourglass.data import load, load_pairs

    if targets is None:
        split = load(data, **reading).train
        return *neighbour_pairs(split.images), split.white
    inputs, clean = load_pairs(data, targets, factor=factor, **reading)
    click.echo(f"note: {data} and {targets}: {len(inputs):,} pairs of {inputs.size_text}.", err=True)
    return inputs.images, clean.images, clean.white


def _samples(
    data: str, reading: dict[str, Any], streams: bool, of_stream: dict[str, Any]
) -> tuple[Any, dict[str, Any], float | None]:
    """(the images to fit on, what else `fit` of each task takes, the white level if there is one)"""
    from hourglass.cli.models import are_files, names_of
    from hourglass.cli.output import say_taken_for
    from hourglass.data import is_sharded, load, stream
    from hourglass.errors import ParameterError

    if streams or is_sharded(data):
        if reading.pop("grey"):
            raise ParameterError("--grey is for images in memory.")
        if reading.pop("tile") is not None:
            raise ParameterError("--tile is for images in memory; of a stream, --size resizes image files.")
        if reading.pop("pages") != "all":
            raise ParameterError("--pages is for images in memory; of a stream, the first page of each file is read.")
        source = stream(data, **reading, **of_stream)
        return source, {}, source.white or None
    given = [name for name, value in of_stream.items() if value is not None]
    if given:
        raise ParameterError(f"--{given[0]} is for streams; add --stream.")
    dataset = load(data, **reading)
    split = dataset.train
    if are_files(data):
        say_taken_for(dataset)
    named = {"y": split.labels, "ids": names_of(split, f"{data}:train")}
    return split.images, {"generator": {"y": split.labels}, "retriever": named}, split.white


def _exceeds_memory(data: str) -> bool:
    """Whether the image files of `data` are too large to hold in memory; then prints a line."""
    from hourglass.cli.models import are_files, headers_of

    if not data or not are_files(data):
        return False
    n_bytes = sum(math.prod(header) for header in headers_of(data))
    if n_bytes > _MOST_BYTES:
        words = f"note: {data} takes {n_bytes / 1e9:.1f} GB when decoded: images are read as needed (--stream, --crop)."
        click.echo(words, err=True)
    return n_bytes > _MOST_BYTES


def _some(samples: Any, n: int) -> Any:
    """About `n` of the images, evenly spread."""
    from hourglass.data import Stream

    if isinstance(samples, Stream):
        return samples.take(samples.draw(n, 0)).images
    return samples[:: -(-len(samples) // n)]

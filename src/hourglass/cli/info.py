"""hourglass info"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hourglass.cli.options import json_option

if TYPE_CHECKING:
    from hourglass.estimators import AnomalyDetector

_EXAMPLE = (64, 64)  # height and width of the image whose way through a network of any size is shown


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--figure", type=click.Path(path_type=Path), metavar="FILE", help="Draw MODEL's layers: a .png, .svg or .pdf.")
@json_option
def info(model: Path | None, figure: Path | None, as_json: bool) -> None:
    """Describe MODEL: its task, settings, layers and training. Without MODEL, describe the installation, and the fastest
    number of threads under the current load.
    """
    if model is None:
        _describe_installation(figure, as_json)
        return
    from hourglass.cli.models import sample_of
    from hourglass.cli.output import print_json, print_table
    from hourglass.data.write import standing_folder
    from hourglass.estimators import AnomalyDetector, load_model
    from hourglass.networks import describe
    from hourglass.trained.files import read_config
    from hourglass.training import describe_epoch

    loaded = load_model(model, device="cpu")
    config = read_config(standing_folder(model))
    sample = sample_of(loaded)
    shape = (sample.channels, *_EXAMPLE) if sample.is_any_size else sample.network_shape
    layers = describe(loaded.network_, shape)
    settings = config["fitted"]["settings"]
    if figure is not None:
        from hourglass.report import save, structure

        save(structure(loaded.network_, shape), figure)
    if as_json:
        print_json(
            {
                "task": type(loaded).__name__.lower(),
                "shape": sample.shape,
                "settings": settings,
                "layers": layers,
                "history": loaded.history_,
                **({"figure": str(figure)} if figure is not None else {}),
            }
        )
        return
    weights = sum(parameter.numel() for parameter in loaded.network_.parameters())
    shown = f"{sample}; outputs below are of {_EXAMPLE[0]}×{_EXAMPLE[1]} pixels" if sample.is_any_size else f"shape {sample}"
    click.echo(f"{type(loaded).__name__} for samples of {shown}, {weights:,} weights")
    print_table("settings", ["setting", "value"], [[key, json.dumps(value)] for key, value in settings.items()])
    print_table(
        "layers",
        ["part", "layer", "output", "weights"],
        [[str(layer[key]) for key in ("part", "layer", "output", "weights")] for layer in layers],
    )
    click.echo(describe_epoch(loaded.history_[-1]))
    if isinstance(loaded, AnomalyDetector):
        _describe_evidence(loaded)
    if figure is not None:
        click.echo(f"Figure written to {figure}.")


def _describe_evidence(detector: AnomalyDetector) -> None:
    from hourglass.anomaly import KNOWN
    from hourglass.cli.output import print_table

    rows = zip(detector.evidence_, detector.weights_, zip(*detector.power_.values(), strict=True), strict=False)
    if detector.power_:
        print_table(
            "AUROC of each kind of evidence, by kind of anomaly",
            ["evidence", "weight", *detector.power_],
            [[name, f"{weight:.2f}", *(f"{value:.3f}" for value in power)] for name, weight, power in rows],
        )
        scores = detector.synthetic_scores_.items()
        found = {kind: f"{100 * (given < detector.offset_).mean():.0f} % of {kind}" for kind, given in scores}
        known = found.pop(KNOWN, None)
        if found:
            click.echo(f"Synthetic anomalies found at its threshold: {', '.join(found.values())}.")
        if known is not None:
            click.echo(f"Of the anomalies that it was given: {known} ones.")


def _describe_installation(figure: Path | None, as_json: bool) -> None:
    from hourglass.cli.output import print_json, print_table
    from hourglass.errors import ParameterError
    from hourglass.evaluation import machine
    from hourglass.networks.product import prefers_onednn
    from hourglass.training import threads_now

    if figure is not None:
        raise ParameterError("--figure draws the layers of a model; name one: hourglass info MODEL --figure FILE.")
    content = machine()
    content["threads_chosen"] = threads_now()
    content["large_products"] = "oneDNN" if prefers_onednn() else "torch's default"
    if as_json:
        print_json(content)
    else:
        print_table("", ["what", "is"], [[key, str(value)] for key, value in content.items()])

"""hourglass evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.options import (
    PHOTO_USES,
    PRESETS,
    SUITES,
    USES,
    SizeType,
    combined,
    corruption_option,
    data_option,
    device_option,
    json_option,
    output_option,
    seed_option,
    size_option,
    strict_option,
    white_option,
)
from hourglass.cli.photos import photos
from hourglass.cli.suites import FOLDER_SUITES, FREE_SUITES, presets_suite

if TYPE_CHECKING:
    from hourglass.data import Dataset
    from hourglass.evaluation import Comparison


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL]...")
@data_option
@click.option(
    "--suite",
    type=click.Choice(SUITES),
    help="Instead of MODEL: train all models for a page of results. denoise: all presets; uses; rate: rate-distortion; photos: "
    "photographs and documents, tables: anomalies in tables, surfaces: faults on magnetic tiles, alarms: false positives of "
    "detectors, all from HOURGLASS_DATA.",
)
@click.option("--preset", "presets", multiple=True, type=click.Choice(PRESETS), help="With --suite denoise: only these.")
@click.option(
    "--use",
    "uses",
    multiple=True,
    type=click.Choice([*USES, *(use for use in PHOTO_USES if use not in USES)]),
    help="With --suite uses: only these. Photos: denoise, enhance, jpeg, documents, noisy, compress or search.",
)
@click.option(
    "--model",
    "given",
    multiple=True,
    metavar="[ROLE=]FILE",
    help="With --suite photos: measure saved models, and train none. ROLE is denoise-grey, denoise-colour, enhance-2, …, jpeg, "
    "documents, noisy-once, …, or compress.",
)
@output_option(required=False, what="A folder for results.md, results.json and a figure.")
@corruption_option
@size_option
@click.option("--tile", type=SizeType(), help="Cut images, of any sizes, into tiles of this: for photographs.")
@white_option
@strict_option
@device_option
@seed_option
@json_option
def evaluate(
    models: tuple[Path, ...],
    data: str,
    suite: str | None,
    presets: tuple[str, ...],
    uses: tuple[str, ...],
    given: tuple[str, ...],
    output: Path | None,
    corruptions: tuple[Any, ...],
    size: tuple[int, int] | None,
    tile: tuple[int, int] | None,
    white: float | None,
    strict: bool,
    device: str,
    seed: int,
    as_json: bool,
) -> None:
    """Evaluate MODELs on the test split of DATA, beside the baselines of their task, fitted on its training split.

    Without a test split, a tenth of the images, drawn with --seed, is held out from the baselines. The corruption is the
    model's own unless --corruption names another; all rows get the same corrupted images, drawn with --seed + 1.
    """
    from hourglass.cli.output import print_json, print_table
    from hourglass.data import load
    from hourglass.estimators import load_model
    from hourglass.evaluation import cells, machine

    _check(models, suite, corruptions, presets, uses, given)
    if suite == "photos" or suite in FOLDER_SUITES:
        _check_none_given("data", "size", "tile", "white", "strict")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)  # raises before the run, not after it
    if suite == "photos":
        photos(uses, given, output, device, seed, as_json)
        return
    if suite in FOLDER_SUITES:
        FOLDER_SUITES[suite](output, device, seed, as_json)
        return
    loaded = {str(path): load_model(path, device=device) for path in models}
    found = load(data, size=size, tile=tile, white=_white(loaded, data, white), strict=strict).of_one_size()
    dataset = found.with_test(seed)
    if suite in FREE_SUITES:
        FREE_SUITES[suite](dataset, uses, output, device, seed, as_json)
        return
    if suite is not None:
        comparison = presets_suite(dataset, presets, device, seed)
    else:
        comparison = _models(loaded, dataset, combined(corruptions), seed)
    if models and not found.has_test:
        comparison.notes.append(
            f"{found.name} has no test split: the baselines did not see these {len(dataset.test)} images, the models may have."
        )
    content = {
        "command": click.get_current_context().obj or "hourglass evaluate",
        "data": dataset.name,
        "test_images": len(dataset.test),
        "seed": seed,
        "machine": machine(),
    }
    content |= {"rows": comparison.rows, "notes": comparison.notes}
    if output is not None:
        _write(output, content, comparison)
    if as_json:
        print_json(content)
        return
    print_table(f"{dataset.name}, {len(dataset.test):,} test images", *cells(comparison.rows))
    for note in comparison.notes:
        click.echo(note)


def _check(models: Any, suite: str | None, corruptions: Any, presets: Any, uses: Any, given: Any) -> None:
    from hourglass.errors import ParameterError

    if bool(models) == bool(suite):
        raise ParameterError(f"evaluate needs either MODELs or --suite: {', '.join(SUITES)}.")
    if suite is not None and corruptions:
        raise ParameterError("a --suite has its own corruption; leave --corruption out.")
    if (presets and suite != "denoise") or (uses and suite not in ("uses", "photos")):
        raise ParameterError("--preset is for --suite denoise, --use for uses and photos; a MODEL has its own.")
    known = PHOTO_USES if suite == "photos" else USES
    if unknown := [use for use in uses if use not in known]:
        raise ParameterError(f"--use {unknown[0]}; allowed with --suite {suite}: {', '.join(known)}.")
    if given and suite != "photos":
        raise ParameterError("--model is for --suite photos; name a MODEL without an option.")


def _check_none_given(*names: str) -> None:
    from click.core import ParameterSource

    from hourglass.errors import ParameterError

    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        raise ParameterError(f"this suite reads the folder that HOURGLASS_DATA names; leave --{given[0]} out.")


def _white(models: dict[str, Any], data: str, white: float | None) -> float | None:
    """The white level that DATA is read with: `white` if it is given, else that of the models, if they have one."""
    from hourglass.cli.models import sample_of
    from hourglass.data import NAMED
    from hourglass.errors import ParameterError

    own = {level for model in models.values() if (level := sample_of(model).white) is not None}
    if len(own) > 1 and white is None:
        raise ParameterError(
            f"these models have different white levels, {' and '.join(map(str, sorted(own)))}; choose by --white."
        )
    return white if white is not None or data in NAMED else next(iter(own), None)


def _models(models: dict[str, Any], dataset: Dataset, corruption: Any, seed: int) -> Comparison:
    from hourglass.errors import ParameterError
    from hourglass.estimators import Autoencoder, Denoiser
    from hourglass.evaluation import compare_autoencoders, compare_denoisers

    kinds = {type(model) for model in models.values()}
    if len(kinds) > 1:
        raise ParameterError("these models have different tasks; evaluate them one task at a time.")
    train, test = dataset.train.images, dataset.test.images
    if kinds == {Denoiser}:
        own = {repr(model.settings_["corruption"]): model.settings_["corruption"] for model in models.values()}
        corruption = corruption or next(iter(own.values()))
        if corruption is None:
            raise ParameterError("trained on pairs, a model has no corruption of its own; name one with --corruption.")
        comparison = compare_denoisers(models, train, test, corruption, seed + 1)
        if len(own) > 1:
            comparison.notes.append(f"These models were trained on different corruptions; all are evaluated on {corruption}.")
        return comparison
    if kinds != {Autoencoder}:
        task = next(iter(models.values())).saved_as
        raise ParameterError(f"evaluate takes denoisers and autoencoders; for a {task} see evaluate --suite uses.")
    if corruption is not None:
        raise ParameterError("an autoencoder copies what it is given; --corruption is for denoisers.")
    return compare_autoencoders(models, train, test)


def _write(output: Path, content: dict[str, Any], comparison: Comparison) -> None:
    from hourglass.cli.output import write_results
    from hourglass.evaluation import markdown
    from hourglass.report import image_rows, save

    setting = ", ".join(f"{key} {value}" for key, value in content["machine"].items())
    page = [
        f"# Results on {content['data']}\n",
        f"Made by `{content['command']}` on {content['test_images']:,} test images; {setting}.\n",
        markdown(comparison.rows),
        *(f"{note}\n" for note in comparison.notes),
        "![The first test images, reconstructed by each row](images.png)\n",
    ]
    write_results(output, "results", content, "\n".join(page))
    save(image_rows(comparison.images), output / "images.png")

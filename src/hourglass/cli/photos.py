"""The suite of `hourglass evaluate --suite photos`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hourglass.evaluation.photos import Photos, Result

_PUBLISHED_CURVES = ("Ballé et al. 2018, factorised prior", "Ballé et al. 2018, hyperprior")  # in the figure


def photos(parts: Sequence[str], models: Sequence[str], output: Path | None, device: str, seed: int, as_json: bool) -> None:
    """Measure photographs and documents, print a table for each part, and write them as photos.md and photos.json."""
    from hourglass.cli.output import print_json, print_table
    from hourglass.cli.progress import ShowProgress
    from hourglass.evaluation import machine
    from hourglass.evaluation.photos import LAYOUT, PARTS, Photos, part_table, photos_content, photos_suite

    chosen = parts or tuple(PARTS)
    given = _given(models, chosen, device)
    if given:
        chosen = tuple(part for part in chosen if any(role.partition("-")[0] == part for role in given))
    seconds = {role: sum(epoch["seconds"] for epoch in model.history_) for role, model in given.items()}
    setting = Photos(seed, device, lambda role: [ShowProgress(role)], given, seconds=seconds)
    standing = _take_up(setting, output, chosen)
    command = click.get_current_context().obj or "hourglass evaluate --suite photos"
    for part in chosen:  # each is written when it is finished, as the next may take hours
        photos_suite(setting, [part])
        if given:  # what other models were measured on stays
            measured = {result.setting for result in setting.results if result.part == part and not result.is_published}
            setting.results += [result for result in standing if result.part == part and result.setting not in measured]
        places = {result.setting: place for place, result in enumerate(standing)}
        setting.results.sort(key=lambda result: (list(PARTS).index(result.part), places.get(result.setting, len(standing))))
        content = photos_content(setting, command, machine())
        if output is not None:
            _write(output, setting, content)
    if as_json:
        print_json(content)
        return
    for part, layout in LAYOUT.items():
        if any(result.part == part for result in setting.results):
            print_table(layout.title, *part_table(part, setting.results))
    for note in setting.notes:
        click.echo(note)


def _given(models: Sequence[str], parts: Sequence[str], device: str) -> dict[str, Any]:
    """The models of --model by role: ROLE=FILE, or a FILE whose role can be told."""
    from hourglass.errors import ParameterError
    from hourglass.estimators import load_model
    from hourglass.evaluation.photos import ROLES, role_of

    given: dict[str, Any] = {}
    for value in models:
        role, _, path = value.partition("=")
        named = role in ROLES and bool(path)
        model = load_model(Path(path if named else value), device=device)
        role = role if named else role_of(model, parts)
        if role in given:
            raise ParameterError(f"--model: two models for {role}; name one.")
        if role.partition("-")[0] not in parts:
            raise ParameterError(f"--model {value}: {', '.join(parts)} has no {role}.")
        given[role] = model
    return given


def _take_up(setting: Photos, output: Path | None, chosen: Sequence[str]) -> list[Result]:
    """Take up the results of other parts that stand in photos.json, if the seed is the same; return those of `chosen` parts."""
    from hourglass.evaluation.photos import Point, Result

    file = None if output is None else output / "photos.json"
    if file is None or not file.exists():
        return []
    content = json.loads(file.read_text(encoding="utf-8"))
    if content["seed"] != setting.seed:
        return []
    results = [Result(**result) for result in content["results"]]
    setting.results += [result for result in results if result.part not in chosen]
    setting.notes += [note for note in content["notes"] if note.partition(":")[0] not in chosen]
    setting.seconds |= {
        role: seconds
        for role, seconds in content["seconds_to_train"].items()
        if role.partition("-")[0] not in chosen or (setting.given and role not in setting.given)
    }
    if "compress" not in chosen:
        setting.curves = {name: [Point(**point) for point in points] for name, points in content["curves"].items()}
    return [result for result in results if result.part in chosen and not result.is_published]


def _write(output: Path, setting: Photos, content: dict[str, Any]) -> None:
    from hourglass.cli.output import write_results
    from hourglass.data.files import write_image
    from hourglass.evaluation.photos import photos_page
    from hourglass.report import crop_sheet, save

    write_results(output, "photos", content, photos_page(setting, content["command"], content["machine"]))
    for name, rows in setting.crops.items():
        methods = list(next(iter(rows.values())))
        crops = [(caption, [images[method] for method in methods]) for caption, images in rows.items()]
        write_image(output / f"{name}.png", crop_sheet(methods, crops))
    if setting.curves:
        save(_rate_figure(setting), output / "rate.png")


def _rate_figure(setting: Photos) -> Any:
    from hourglass.errors import DataError
    from hourglass.evaluation.photos import published_curves
    from hourglass.report import curves

    measured = {name: [(point.bpp, point.psnr) for point in points] for name, points in setting.curves.items()}
    try:
        published = published_curves()
    except DataError:
        published = {}
    others = {f"{name}, as published": published[name] for name in _PUBLISHED_CURVES if name in published}
    within = {name: [point for point in points if point[0] <= 1.6] for name, points in (measured | others).items()}
    return curves(within, "bits per pixel", "PSNR, dB")

"""The suites of `hourglass evaluate --suite`: each trains and evaluates all models of a page of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hourglass.data import Dataset
    from hourglass.evaluation import Comparison, Measurement, Setting

_SHOWN = 6  # pictures of each kind


def presets_suite(dataset: Dataset, presets: tuple[str, ...], device: str, seed: int) -> Comparison:
    from hourglass.cli.progress import ShowProgress
    from hourglass.errors import ParameterError
    from hourglass.evaluation import BARS, denoise_suite

    unknown = [preset for preset in presets if preset not in BARS]
    if unknown:
        raise ParameterError(f"--preset {unknown[0]}; allowed: {', '.join(BARS)}.")
    comparison, _ = denoise_suite(dataset, seed, presets or tuple(BARS), device, lambda preset: [ShowProgress(preset)])
    return comparison


def uses(dataset: Dataset, chosen: tuple[str, ...], output: Path | None, device: str, seed: int, as_json: bool) -> None:
    """Evaluate the uses, print their table, and write it as uses.md and uses.json."""
    from hourglass.cli.output import print_json, print_table, write_results
    from hourglass.cli.progress import ShowProgress
    from hourglass.evaluation import EVALUATIONS, Setting, machine, uses_content, uses_page, uses_suite, uses_table
    from hourglass.report import image_rows, planes, save

    setting = Setting(dataset, seed, device, lambda name: [ShowProgress(name)])
    standing = _standing(output, setting, chosen)
    rows = uses_suite(setting, chosen or tuple(EVALUATIONS))
    rows = sorted(rows + standing, key=lambda row: list(EVALUATIONS).index(row.use))
    command = click.get_current_context().obj or "hourglass evaluate --suite uses"
    content = uses_content(setting, rows, command, machine())
    if output is not None:
        write_results(output, "uses", content, uses_page(setting, rows, command, machine()))
        for use, pictures in setting.pictures.items():
            save(image_rows(pictures), output / f"{use}.png")
        if setting.planes:
            save(planes(setting.planes), output / "features.png")
    if as_json:
        print_json(content)
        return
    print_table(f"{dataset.name}, {len(dataset.test):,} test images", *uses_table(rows))
    for note in setting.notes:
        click.echo(note)


def _standing(output: Path | None, setting: Setting, chosen: tuple[str, ...]) -> list[Measurement]:
    """With --use: the rows of the other uses in uses.json, if data and seed are the same."""
    from hourglass.evaluation import Measurement

    file = None if output is None else output / "uses.json"
    if not chosen or file is None or not file.exists():
        return []
    content = json.loads(file.read_text(encoding="utf-8"))
    same = {"data": setting.dataset.name, "seed": setting.seed, "train_images": len(setting.dataset.train)}
    if any(content[key] != value for key, value in same.items()):
        return []
    kept = [Measurement.from_content(row) for row in content["rows"] if row["use"] not in chosen]
    setting.notes += [note for note in content["notes"] if not note.startswith(tuple(f"{use}:" for use in chosen))]
    return kept


def rate(dataset: Dataset, chosen: tuple[str, ...], output: Path | None, device: str, seed: int, as_json: bool) -> None:
    """Rate and distortion of Compressors of several qualities beside image formats, as rate.json and rate.png."""
    from hourglass.cli.output import print_json, print_table, write_results
    from hourglass.cli.progress import ShowProgress
    from hourglass.evaluation import Setting, machine, rate_distortion
    from hourglass.report import rate_distortion_curves, save

    curves = rate_distortion(Setting(dataset, seed, device, lambda name: [ShowProgress(name)]))
    command = click.get_current_context().obj or "hourglass evaluate --suite rate"
    content: dict[str, Any] = {
        "command": command,
        "data": dataset.name,
        "test_images": len(dataset.test),
        "seed": seed,
        "machine": machine(),
        "curves": curves,
    }
    if output is not None:
        write_results(output, "rate", content)
        save(rate_distortion_curves(curves), output / "rate.png")
    if as_json:
        print_json(content)
        return
    lines = [[name, f"{size:.2f}", f"{error:.5f}"] for name, points in curves.items() for size, error in points]
    print_table(f"{dataset.name}, {len(dataset.test):,} test images", ["what", "bytes an image", "MSE"], lines)


def tables(output: Path | None, device: str, seed: int, as_json: bool) -> None:
    """Detection in the tables of ADBench beside baselines, as tables.md and tables.json."""
    from hourglass.evaluation import adbench, anomalies_content, anomalies_page, anomalies_table, machine, measure_table

    results = [measure_table(table, seed, device) for table in adbench()]
    command, versions = click.get_current_context().obj or "hourglass evaluate --suite tables", machine()
    content, page = anomalies_content(results, command, seed, versions), anomalies_page(results, command, versions)
    _tell(output, "tables", content, page, f"{len(results)} tables", anomalies_table(results), as_json)


def surfaces(output: Path | None, device: str, seed: int, as_json: bool) -> None:
    """Detection of faults on magnetic tiles beside baselines, as surfaces.md, surfaces.json and surfaces.png."""
    from hourglass.cli.progress import ShowProgress
    from hourglass.data.files import write_image
    from hourglass.evaluation import machine, magnetic_tiles, measure_surfaces, surfaces_content, surfaces_page, surfaces_table
    from hourglass.runtime import contact_sheet, overlay, thumbnail

    tiles = magnetic_tiles()
    results, detector = measure_surfaces(tiles, seed, device, [ShowProgress("surfaces")])
    command = click.get_current_context().obj or "hourglass evaluate --suite surfaces"
    if output is not None:
        shown = [(kind, image) for kind, images in {"good": tiles.good, **tiles.faulty}.items() for image in images[:_SHOWN]]
        maps = detector.error_maps([image for _, image in shown])
        pictures = [
            (kind, thumbnail(overlay(image, errors, detector.map_level_)))
            for (kind, image), errors in zip(shown, maps, strict=True)
        ]
        write_image(output / "surfaces.png", contact_sheet(pictures))
    content, page = surfaces_content(results, command, seed, machine()), surfaces_page(results, tiles, command, machine())
    _tell(output, "surfaces", content, page, "magnetic tiles", surfaces_table(results), as_json)


def alarms(output: Path | None, device: str, seed: int, as_json: bool) -> None:
    """False positives of detectors beside the rates that they were asked for, as alarms.md and alarms.json."""
    from hourglass.evaluation import NORMALS, alarms_content, alarms_page, alarms_table, machine, measure_alarms

    normals = [one for group in NORMALS.values() for one in group()]  # missing data ends the run before it begins
    results = [result for one in normals for result in measure_alarms(one, seed, device)]
    command, versions = click.get_current_context().obj or "hourglass evaluate --suite alarms", machine()
    content, page = alarms_content(results, command, seed, versions), alarms_page(results, command, versions)
    _tell(output, "alarms", content, page, "false positives", alarms_table(results), as_json)


def _tell(
    output: Path | None,
    name: str,
    content: dict[str, Any],
    page: str,
    title: str,
    table: tuple[list[str], list[list[str]]],
    as_json: bool,
) -> None:
    """Write a page of results and the same as JSON, if there is a folder for it, and print them as a table or JSON."""
    from hourglass.cli.output import print_json, print_table, write_results

    if output is not None:
        write_results(output, name, content, page)
    if as_json:
        print_json(content)
    else:
        print_table(title, *table)


FREE_SUITES = {"uses": uses, "rate": rate}
"""Suites that write pages of their own."""

FOLDER_SUITES = {"tables": tables, "surfaces": surfaces, "alarms": alarms}
"""Suites that read the folder in HOURGLASS_DATA, and not --data."""

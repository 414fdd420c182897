"""The results of the suite as tables, JSON and a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hourglass.evaluation.photos.compression import RATES, SHOWN, as_content
from hourglass.evaluation.photos.protocols import Result
from hourglass.evaluation.photos.suite import Photos
from hourglass.evaluation.tables import table_lines


@dataclass(frozen=True)
class Part:
    """How the page presents a part of the suite: title, protocol, and the columns if these are figures and not settings."""

    title: str
    protocol: str
    columns: tuple[tuple[str, str, str], ...] = ()
    """(key in the values of a result, heading, format)"""


_SECONDS = ("seconds", "s an image", ".2f")
LAYOUT = {
    "denoise": Part(
        "Denoising",
        "PSNR in dB / SSIM, means over the images. Noise from N(0, (σ / 255)²), neither clipped nor rounded; outputs are "
        "rounded to 8 bits. One Denoiser of grey and one of colour for all strengths, unknown to it and known to baselines.",
    ),
    "enhance": Part(
        "Enlarging",
        "PSNR in dB / SSIM of the luma (BT.601, 16..235), borders of as many pixels as the factor left out; low resolution by "
        "bicubic interpolation with antialiasing, rounded to 8 bits.",
    ),
    "jpeg": Part(
        "JPEG artefacts",
        "PSNR in dB / SSIM of the luma, saved at quality 10 and decoded, and the gain over the decoded file. One Denoiser, "
        "trained on qualities 10 to 60.",
    ),
    "documents": Part(
        "Scanned pages",
        "Root mean squared error over all pixels, in 0..1: pairs of stained and clean pages, every fifth by name for testing, "
        "the others for training.",
        (("rmse", "RMSE", ".4f"), _SECONDS),
    ),
    "noisy": Part(
        "Noisy images alone",
        "PSNR in dB / SSIM. Noise from N(0, (σ / 255)²). A quarter of the training photographs, with noise clipped as by "
        "cameras: clean ones as targets; a second noisy exposure of each (Noise2Noise); one noisy image, halved into "
        "pairs of neighbouring pixels (Neighbor2Neighbor).",
    ),
    "compress": Part(
        "Compression",
        "Kodak's 24 photographs, whole files counted; PSNR over the three channels, means over the photographs. JPEG (4:2:0, "
        "optimised), WebP (method 6) and AVIF as Pillow writes them. Rate against JPEG: Bjøntegaard's mean difference at equal "
        f"PSNR, between {RATES[0]:g} and {RATES[1]:g} bits per pixel.",
        (
            ("bd_rate", "rate against JPEG", "+.1%"),
            *((f"psnr at {rate:g}", f"PSNR at {rate:g} bpp", ".2f") for rate in SHOWN),
            ("seconds", "s an image, there and back", ".2f"),
        ),
    ),
    "search": Part(
        "Search by a part",
        "Regions of a third of the height and width, anywhere, contrast changed by up to 15 % and brightness by up to 7.5 % of "
        "white: how near the code of the whole photograph comes, among those of Kodak, Set5 and Set14 in colour and of the "
        "400 for training.",
        (
            ("recall 1", "first", ".3f"),
            ("recall 5", "among five", ".3f"),
            ("mrr", "mean reciprocal rank", ".3f"),
            ("seconds", "s to encode an image", ".3f"),
        ),
    ),
}
FILES_OF = {"denoise": ("denoise", "denoise-colour"), "enhance": ("enhance-2", "enhance-3", "enhance-4"), "search": ()}
"""Sheets of crops by part, one for each model, where it is not one of the part's own name."""


def part_table(part: str, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Return (headings, rows of formatted cells): a row for each method, the published ones last and named so."""
    of_part = sorted((result for result in results if result.part == part), key=lambda result: result.is_published)
    names = list(dict.fromkeys(_name(result) for result in of_part))
    columns = LAYOUT[part].columns
    if columns:
        found = {_name(result): result.values for result in of_part}
        cells = [[_number(found[name].get(key), form) for key, _, form in columns] for name in names]
        headings = [heading for _, heading, _ in columns]
    else:
        settings = list(dict.fromkeys(result.setting for result in of_part))
        by_place = {(_name(result), result.setting): result for result in of_part}
        cells = [
            [_fidelity(by_place.get((name, setting))) for setting in settings] + [_seconds(of_part, name)] for name in names
        ]
        headings = [*settings, _SECONDS[1]]
    return [LAYOUT[part].title, *headings], [[name, *row] for name, row in zip(names, cells, strict=True)]


def _name(result: Result) -> str:
    return f"{result.method}, as published" if result.is_published else result.method


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _fidelity(result: Result | None) -> str:
    if result is None:
        return ""
    values = result.values
    ssim = f" / {values['ssim']:.4f}" if "ssim" in values else ""
    gain = f" ({values['gain']:+.2f})" if "gain" in values else ""
    return f"{values['psnr']:.2f}{ssim}{gain}"


def _seconds(results: Sequence[Result], name: str) -> str:
    """The mean over settings of the seconds that a method takes for an image."""
    found = [result.values["seconds"] for result in results if _name(result) == name and "seconds" in result.values]
    return f"{np.mean(found):{_SECONDS[2]}}" if found else ""


def photos_content(photos: Photos, command: str, machine: dict[str, Any]) -> dict[str, Any]:
    """Return all results of a run as JSON."""
    return {
        "command": command,
        "seed": photos.seed,
        "machine": machine,
        "seconds_to_train": photos.seconds,
        "results": [asdict(result) for result in photos.results],
        "curves": as_content(photos.curves),
        "notes": photos.notes,
    }


def photos_page(photos: Photos, command: str, machine: dict[str, Any]) -> str:
    """Return all results of a run as a page of Markdown, with pictures beside it."""
    versions = ", ".join(f"{key} {value}" for key, value in machine.items())
    lines = [
        "# Photographs and documents, measured\n",
        f"Made by `{command}`; {versions}. Models are trained on photographs/train and the training pages of documents alone. "
        "Rows marked *as published* are figures of papers, not measured here. With --use or --model, the other rows stay "
        "from earlier runs.\n",
    ]
    for part, layout in LAYOUT.items():
        if not any(result.part == part for result in photos.results):
            continue
        lines += [f"## {layout.title}\n", f"{layout.protocol}{_trained(part, photos.seconds)}\n"]
        lines += table_lines(*part_table(part, photos.results))
        sheets = FILES_OF.get(part, (part,))
        lines += ["", *(f"![Crops at 1:1]({sheet}.png)\n" for sheet in sheets)]
        if part == "compress":
            lines += ["![PSNR over bits per pixel](rate.png)\n"]
        lines += [f"- {note.partition(': ')[2]}" for note in photos.notes if note.startswith(f"{part}: ")] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _trained(part: str, seconds: dict[str, float]) -> str:
    spent = [f"{role} {duration / 60:.0f} min" for role, duration in seconds.items() if role.partition("-")[0] == part]
    return f" Training: {', '.join(spent)}." if spent else ""

"""Figures of publications, to stand beside measured ones: read from published/ in the folder that HOURGLASS_DATA names."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from hourglass.errors import DataError
from hourglass.evaluation.photos.protocols import Result
from hourglass.evaluation.photos.sets import folder_of

CURVES = {
    "jpeg": "JPEG",
    "webp": "WebP",
    "compressai-bmshj2018-factorized_mse_cpu": "Ballé et al. 2018, factorised prior",
    "compressai-bmshj2018-hyperprior_mse_cpu": "Ballé et al. 2018, hyperprior",
    "compressai-mbt2018-mean_mse_cpu": "Minnen et al. 2018, mean and scale hyperprior",
    "compressai-cheng2020-anchor_mse_cpu": "Cheng et al. 2020, anchor",
    "bpg_444_x265_ycbcr": "BPG 4:4:4",
    "av1": "AV1",
    "vtm": "VTM (VVC)",
}
"""Curves on Kodak's photographs, by the first column of their file."""


def published_results(part: str) -> list[Result]:
    """Figures of publications for a part of the suite, on the same sets unless the setting says otherwise.

    Raises DataError if there are none in HOURGLASS_DATA.
    """
    file = folder_of("published") / "published_tables.json"
    try:
        tables = json.loads(file.read_text(encoding="utf-8"))
        return [Result(part, setting, method, values, is_published=True) for setting, method, values in _READERS[part](tables)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: cannot be read ({error!r}).") from error


def published_curves() -> dict[str, list[tuple[float, float]]]:
    """Rate-distortion curves on Kodak: (bits per pixel, mean PSNR in dB over the three channels) by name.

    Raises DataError if there are none in HOURGLASS_DATA.
    """
    file = folder_of("published") / "kodak_rd_points.csv"
    curves: dict[str, list[tuple[float, float]]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row["file"] in CURVES:
                    curves.setdefault(CURVES[row["file"]], []).append((float(row["bpp"]), float(row["psnr_rgb"])))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{file}: cannot be read ({error!r}).") from error
    return curves


Row = tuple[str, str, dict[str, float]]
"""(setting, method, values)"""


def _denoise(tables: dict[str, Any]) -> Iterator[Row]:
    grey, colour = tables["denoise_bsd68_gray"], tables["denoise_color"]
    yield from _by_sigma("BSD68", grey, grey["sigma"])
    yield from _by_sigma("Kodak, 500×500 from the centre", colour["Kodak24_500x500"], colour["sigma"], only=25)


def _by_sigma(name: str, methods: dict[str, Any], sigmas: list[int], only: int | None = None) -> Iterator[Row]:
    for method, figures in methods.items():
        if isinstance(figures, list) and method != "sigma" and "measured" not in method:
            for sigma, psnr in zip(sigmas, figures, strict=True):
                if psnr is not None and only in (None, sigma):
                    yield f"{name}, σ = {sigma}", method, {"psnr": psnr}


def _enhance(tables: dict[str, Any]) -> Iterator[Row]:
    table = tables["sr"]
    complete = table["x2_table_e"]
    for name in ("Set5", "Set14"):
        for scale, methods in table[name].items():
            found: dict[str, list[float | None]] = {}
            for key, figures in methods.items():
                if "measured" not in key:
                    found.setdefault(re.sub(r"( ECCV)?\[.*\]$", "", key), figures)
            if scale == "x2":
                column = complete["columns"].index(name)
                for method, figures in complete.items():
                    if method != "columns" and method.lower() not in (known.lower() for known in found):
                        found[method] = figures[column]
            for method, (psnr, ssim) in found.items():
                values = {"psnr": psnr, "ssim": ssim}
                yield f"{name} ×{scale[1:]}", method, {key: value for key, value in values.items() if value is not None}


def _jpeg(tables: dict[str, Any]) -> Iterator[Row]:
    for name in ("Classic5", "LIVE1"):
        for method, (psnr, ssim) in tables["jpeg_deblocking"][name]["q10"].items():
            yield f"{name}, quality 10", method, {"psnr": psnr, "ssim": ssim}


_READERS: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {"denoise": _denoise, "enhance": _enhance, "jpeg": _jpeg}

"""The demo: the chapter's denoiser, compared with the same network under the default preset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from hourglass.data import Dataset
from hourglass.data.write import replace_file
from hourglass.evaluation import Comparison, denoise_suite, machine
from hourglass.plot.figures import save
from hourglass.report.figures import image_rows, learning_curves
from hourglass.training import Callback, WriteHistory

NAMES = {"chapter": "autoencoder, chapter", "default": "autoencoder, default"}


def run_demo(
    dataset: Dataset, out: Path, seed: int, callbacks: Callable[[str], Sequence[Callback]] = lambda name: ()
) -> Comparison:
    """Train both denoisers on `dataset`, compare them with baselines, and write the results to the folder `out`.

    Writes model.hg/ (of the default preset), history.jsonl, metrics.json, denoised.png and .svg, learning-curve.svg.
    """
    out.mkdir(parents=True, exist_ok=True)
    history = out / "history.jsonl"
    history.unlink(missing_ok=True)
    comparison, models = denoise_suite(
        dataset,
        seed,
        tuple(NAMES),
        callbacks=lambda preset: [WriteHistory(history, model=preset), *callbacks(preset)],
    )
    models[NAMES["default"]].save(out / "model.hg")
    with replace_file(out / "metrics.json") as temporary:
        content = {"data": dataset.name, "source": dataset.source, "seed": seed, "machine": machine()}
        content |= {"rows": comparison.rows, "notes": comparison.notes}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    captions = {row["name"]: f"MSE {row['mse']:.4f}, {row['psnr']:.1f} dB" for row in comparison.rows}
    save(image_rows(comparison.images, captions), out / "denoised.png", out / "denoised.svg")
    linear = {f"{row['name']}, test": row["mse"] for row in comparison.rows if "linear" in row["name"]}
    curves = {preset: models[name].history_ for preset, name in NAMES.items()}
    save(learning_curves(curves, linear), out / "learning-curve.svg")
    return comparison

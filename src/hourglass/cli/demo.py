"""hourglass demo"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from hourglass.cli.options import data_option, json_option, output_option, seed_option


@click.command()
@data_option
@output_option("runs/demo")
@seed_option
@json_option
def demo(data: str, output: Path, seed: int, as_json: bool) -> None:
    """Train the chapter's denoiser, then the same network with better settings, and compare them.

    Writes model.hg/, history.jsonl, metrics.json, denoised.png and .svg and
    learning-curve.svg.
    """
    from hourglass.cli.output import print_json, print_table
    from hourglass.cli.progress import ShowProgress
    from hourglass.data import load
    from hourglass.evaluation import cells
    from hourglass.report import run_demo

    dataset = load(data).of_one_size().with_test(seed)
    if not as_json:
        click.echo(f"{dataset.name}: {len(dataset.train):,} images to train on, {len(dataset.test):,} to test.")
    comparison = run_demo(dataset, output, seed, lambda preset: [ShowProgress(preset)])
    named = shlex.quote(dataset.name if data == "auto" else data)
    if as_json:
        print_json({"rows": comparison.rows, "notes": comparison.notes, "output": str(output)})
        return
    print_table(f"Denoising {dataset.name}'s test images", *cells(comparison.rows))
    for line in [*comparison.notes, *_verdict(comparison.rows)]:
        click.echo(line)
    where = shlex.quote(str(output))
    click.echo(
        f"\nIn {output}: denoised.png, denoised.svg, learning-curve.svg, history.jsonl, metrics.json, model.hg\n\n"
        "Try next:\n"
        f"  hourglass info {where}/model.hg\n"
        f"  hourglass evaluate {where}/model.hg --data {named}\n"
        f"  hourglass train --data {named} --preset skip -o skip.hg    # a network with connections past the code\n"
        f"  hourglass denoise {where}/model.hg PHOTOS/ -o clean/              # your own folder of images"
    )


def _verdict(rows: list[dict[str, Any]]) -> list[str]:
    """One sentence for each autoencoder, comparing it with the best linear map."""
    errors: dict[str, float] = {row["name"]: row["mse"] for row in rows}
    linear = next((mse for name, mse in errors.items() if "linear" in name), None)
    if linear is None:
        return []
    verdicts = []
    for name, mse in errors.items():
        if name.startswith("autoencoder"):
            word = "beats" if mse < linear else "loses to"
            verdicts.append(f"The {name} ({mse:.4f}), {word} the best linear map ({linear:.4f}).")
    return verdicts

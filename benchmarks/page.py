"""The page of the benchmark, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.matrix import TORCH
from benchmarks.rows import COLUMNS
from benchmarks.suite import Result

TITLES = {
    "train": "Training",
    "infer": "Inference",
    "exported": "Exported models",
    "startup": "Start-up",
    "uses": "The uses, beside a classical method for each",
    "growth": "How the cost grows",
}
FIGURE = "performance-growth.png"
_HOW = """Every contender runs in a process of its own, after one warm-up round that is discarded. Contenders take turns, a
round each (A B A B …), so that whatever slows the machine down slows all of them. The table gives the median, minimum and
maximum of the rounds. *Times as good* means less time, less memory or more images a second than the reference: each round is
divided by the reference's round of the same turn, and the table gives the median of these ratios, with minimum and maximum.
The *matrix rate* is that of a float32 product of two matrices of 2048² on all threads, by `torch.mm` and by the faster of
torch's two libraries, measured before and after each suite; bars are shares of the first. Memory is the peak resident memory,
in MB of 10⁶ bytes, with all that the process imported."""


def page(shared: dict[str, Any], results: Sequence[Result]) -> str:
    """Return the page of all `results`, with the data, seed and machine that they `shared`."""
    facts = ", ".join(f"{key} {value}" for key, value in shared["machine"].items())
    held = [row for result in results for row in result.rows if row.is_met is not None]
    lines = [
        "# What it costs",
        f"Measured on {shared['data']} ({shared['train_images']:,} training and {shared['test_images']:,} test images), seed "
        f"{shared['seed']}; {facts}.",
        *(["**A quick look**: few images and rounds. Its figures are no results."] if shared["quick"] else []),
        *([f"Of {len(held)} bars, {sum(bool(row.is_met) for row in held)} are met."] if held else []),
        _HOW,
        *(line for result in results for line in _section(result)),
    ]
    return "\n\n".join(lines) + "\n"


def _section(result: Result) -> Iterator[str]:
    yield f"## {TITLES[result.suite]}"
    yield f"`{result.command}`, code {result.code}: {result.rounds} rounds. {rates_text(result.rates)}"
    body = [row.cells() for row in result.rows]
    alignment = ["---", "---", *["---:"] * (len(COLUMNS) - 4), "---", "---"]
    yield "\n".join("| " + " | ".join(line) + " |" for line in [list(COLUMNS), alignment, *body])
    if result.curves:
        yield f"![Seconds and memory of an epoch over the number of images and over their pixels]({FIGURE})"
    notes = notes_of(result)
    if notes:
        yield "\n".join(f"- {note}" for note in notes)


def rates_text(rates: dict[str, dict[str, float]]) -> str:
    """Return the matrix rates as a sentence."""
    plain = rates[TORCH]
    text = f"Matrix rate, {TORCH}: {plain['median']:,.0f} GFLOP/s (best {plain['best']:,.0f})"
    best = max(rates, key=lambda name: rates[name]["median"])
    text += f"; matrix rate, best library ({best}): "
    return text + f"{rates[best]['median']:,.0f} GFLOP/s (best {rates[best]['best']:,.0f})."


def notes_of(result: Result) -> list[str]:
    """Return the notes on single rows, then those on the suite."""
    return [f"{row.measure}; {row.name}: {row.note}" for row in result.rows if row.note] + result.notes

"""Comparisons as tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLUMNS: dict[str, tuple[str, str]] = {  # key -> heading, format
    "name": ("", "s"),
    "mse": ("MSE", ".4f"),
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "seconds": ("seconds to fit", ".1f"),
    "bar": ("bar, MSE", "≤ .4f"),
}


def cells(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return (headings, rows of formatted cells) for the columns that have a value in any row."""
    keys = [key for key in COLUMNS if any(row.get(key) is not None for row in rows)]
    return [COLUMNS[key][0] for key in keys], [[_cell(row.get(key), COLUMNS[key][1]) for key in keys] for row in rows]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Format rows as a Markdown table with right-aligned numbers."""
    return "\n".join(table_lines(*cells(rows))) + "\n"


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown, all columns but the first aligned to the right."""
    rules = ["---", *["---:"] * (len(headings) - 1)]
    return ["| " + " | ".join(line) + " |" for line in [headings, rules, *rows]]


def _cell(value: Any, form: str) -> str:
    if value is None:
        return ""
    sign, _, spec = form.rpartition(" ")
    return f"{sign} {format(value, spec)}".strip()

"""What the verbs print and write: tables, JSON and pages of results."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hourglass.data import Dataset


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=1))


def report(content: Any, words: str, as_json: bool) -> None:
    """Print the result of a verb: `content` as JSON, or `words`."""
    if as_json:
        print_json(content)
    else:
        print(words)


def report_written(written: Sequence[Path], output: Path, as_json: bool) -> None:
    """Print which files a verb wrote."""
    report({"written": [str(path) for path in written]}, f"{len(written)} written to {output}.", as_json)


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a table of text; `path` appears when it is complete."""
    import csv

    from hourglass.data.write import replace_file

    with replace_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def say_taken_for(dataset: Dataset) -> None:
    """Print one line to standard error: how files or a folder were read."""
    from hourglass.data.names import as_text

    print(f"note: {as_text(dataset.summary)}", file=sys.stderr)


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; Markdown in a pipe."""
    if not sys.stdout.isatty():
        print("\n".join("| " + " | ".join(line) + " |" for line in [headings, ["---"] * len(headings), *rows]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for index, heading in enumerate(headings):
        figures = all(row[index][:1] in ("", "≤", "-") or row[index][:1].isdigit() for row in rows)
        table.add_column(heading, justify="right" if figures and index else "left")
    for row in rows:
        table.add_row(*row)
    Console(markup=False).print(table)  # brackets in a path are no markup


def write_results(output: Path, name: str, content: dict[str, Any], page: str | None = None) -> None:
    """Write results as NAME.json, and a page of Markdown as NAME.md, into the folder `output`."""
    from hourglass.data.write import replace_file

    files = {"json": json.dumps(content, indent=1) + "\n"} | ({} if page is None else {"md": page})
    for suffix, text in files.items():
        with replace_file(output / f"{name}.{suffix}") as beside:
            beside.write_text(text, encoding="utf-8")

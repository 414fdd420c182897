"""The content of a report: sections with pictures and tables, independent of the output format."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

# A numeric cell: a sign or bound, digits, a spread, a unit.
_NUMERIC = re.compile(r"[-+−±≤≥<>≈~]?\s?[\d.,]*\d(e[-+]?\d+)?(\s?±\s?[\d.,]+)?(\s?(%|×|°|[^\W\d]{1,5}))?")
_EMPTY = ("", "-", "–", "—")


@dataclass(frozen=True)
class Picture:
    """A figure of a section."""

    name: str
    """File stem, a slug."""
    figure: Figure
    caption: str
    """Caption and alternative text."""


@dataclass(frozen=True)
class Table:
    """A table of a section, with formatted cells."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The first cell of a row is its heading."""
    best: Collection[tuple[int, int]] = ()
    """(row, column) of the cells in bold."""


@dataclass(frozen=True)
class Section:
    """One claim of the chapter with its experiment. Texts use the markup of `html`."""

    name: str
    """The anchor, a slug."""
    title: str
    claim: str
    """The claim of the chapter."""
    run: str
    """Description of the experiment."""
    shown: Sequence[Picture | Table]
    meaning: str
    """Interpretation of the results."""
    example: str
    """Python source."""
    numbers: Mapping[str, Any]
    """Results for the JSON file."""
    seconds: float = 0.0
    """Duration of the experiment."""


def numbered(number: int, section: Section) -> Iterator[tuple[str, Picture | Table]]:
    """Number the pictures and tables of a section, each kind separately: Figure 2.1, Table 2.1, Figure 2.2."""
    counts = {"Figure": 0, "Table": 0}
    for item in section.shown:
        kind = "Figure" if isinstance(item, Picture) else "Table"
        counts[kind] += 1
        yield f"{kind} {number}.{counts[kind]}", item


def is_numeric(cells: Sequence[str]) -> bool:
    """Whether all non-empty cells are numeric, so that the column is right-aligned."""
    filled = [cell for cell in cells if cell not in _EMPTY]
    return bool(filled) and all(_NUMERIC.fullmatch(cell) for cell in filled)


def duration(seconds: float) -> str:
    """Format a duration."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{round(seconds) // 60} min {round(seconds) % 60} s"

"""What a report is made of: sections with pictures and tables, however they are written up."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

# A cell of figures: a sign or a bound, digits, a spread, a unit.
_FIGURE = re.compile(r"[-+−±≤≥<>≈~]?\s?[\d.,]*\d(e[-+]?\d+)?(\s?±\s?[\d.,]+)?(\s?(%|×|°|[^\W\d]{1,5}))?")
_EMPTY = ("", "-", "–", "—")


@dataclass(frozen=True)
class Picture:
    """A figure of a section."""

    name: str
    """File stem, a slug."""
    figure: Figure
    caption: str
    """Doubles as the alternative text."""


@dataclass(frozen=True)
class Table:
    """A table of a section, its cells formatted."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The first cell names its row."""
    best: Collection[tuple[int, int]] = ()
    """(row, column) of the cells to set bold."""


@dataclass(frozen=True)
class Section:
    """One claim of the chapter, put to the test. Texts are as `html` takes them."""

    name: str
    """A slug, the anchor."""
    title: str
    claim: str
    """What the chapter says."""
    run: str
    """What was run."""
    shown: Sequence[Picture | Table]
    meaning: str
    """What it means, with the measured numbers."""
    example: str
    """Python source."""
    numbers: Mapping[str, Any]
    """For the file of figures beside the page."""
    seconds: float = 0.0
    """What it took."""


def numbered(number: int, section: Section) -> Iterator[tuple[str, Picture | Table]]:
    """The pictures and tables of the section, each kind counted on its own: Figure 2.1, Table 2.1, Figure 2.2."""
    counts = {"Figure": 0, "Table": 0}
    for item in section.shown:
        kind = "Figure" if isinstance(item, Picture) else "Table"
        counts[kind] += 1
        yield f"{kind} {number}.{counts[kind]}", item


def is_numeric(cells: Sequence[str]) -> bool:
    """Whether every cell that is filled holds a figure, so that the column is set to the right."""
    filled = [cell for cell in cells if cell not in _EMPTY]
    return bool(filled) and all(_FIGURE.fullmatch(cell) for cell in filled)


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{round(seconds) // 60} min {round(seconds) % 60} s"

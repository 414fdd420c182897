"""One measured line of the benchmark, and how it compares with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, NamedTuple, Self

from benchmarks.rounds import Figures

COLUMNS = (
    "what",
    "who",
    "median",
    "min – max",
    "times as good",
    "of torch.mm's rate",
    "of the best library's",
    "bar",
    "it is",
)


class Spread(NamedTuple):
    """Minimum, median and maximum of several rounds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of `values`."""
        return cls(min(values), median(values), max(values))


@dataclass(frozen=True)
class Bar:
    """A limit for a row: the median of its "value" or "ratio", or its "share" of the matrix rate, is "≥" or "≤" `limit`."""

    of: str
    sign: str
    limit: float

    def text(self, unit: str) -> str:
        """Return the bar as text, with the `unit` of the row's value."""
        what = {"value": f"{self.limit:g} {unit}", "ratio": f"{self.limit:g} ×", "share": f"{self.limit:.0%}"}[self.of]
        return f"{self.sign} {what}"


@dataclass(frozen=True)
class Row:
    """One contender in one measurement.

    Attributes
    ----------
    measure, name : str
        What was measured, and of which contender.
    unit : str
        Unit of `value`.
    value : Spread
    reference : str, optional
        Name of the row that `ratio` compares with.
    ratio : Spread, optional
        How many times as good as the reference (less time, less memory or more images a second), over ratios of rounds of the
        same turn.
    gflops : float, optional
        Multiplications and additions a second, in 10⁹, at the median time.
    share : float, optional
        `gflops` as a share of torch.mm's matrix rate, 0..1 and above.
    best_share : float, optional
        `gflops` as a share of the faster library's matrix rate.
    bar : Bar, optional
    is_comparable : bool
        Whether the contender did the same work as the reference; if not, it meets no bar.
    note : str
    """

    measure: str
    name: str
    unit: str
    value: Spread
    reference: str | None = None
    ratio: Spread | None = None
    gflops: float | None = None
    share: float | None = None
    best_share: float | None = None
    bar: Bar | None = None
    is_comparable: bool = True
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the row meets its bar; None without one."""
        if self.bar is None:
            return None
        of = {"value": self.value.median, "ratio": self.ratio and self.ratio.median, "share": self.share}[self.bar.of]
        if of is None:
            return None
        return self.is_comparable and (of >= self.bar.limit if self.bar.sign == "≥" else of <= self.bar.limit)

    def with_share(self, plain: float, best: float) -> Row:
        """Return this row with its shares of two matrix rates in GFLOP/s: `plain` of torch.mm, `best` of the faster library."""
        if self.gflops is None:
            return self
        note = f"{self.note} {self.gflops:,.0f} GFLOP/s.".strip()
        return replace(self, share=self.gflops / plain, best_share=self.gflops / best, note=note)

    def cells(self) -> list[str]:
        """Return the text of each of `COLUMNS`."""
        ratio = "" if self.ratio is None else f"{_figure(self.ratio.median)} ({_range(self.ratio)})".removesuffix(" ()")
        return [
            self.measure,
            self.name,
            f"{_figure(self.value.median)} {self.unit}".strip(),
            _range(self.value),
            "the reference" if self.reference == self.name else ratio,
            "" if self.share is None else f"{self.share:.0%}",
            "" if self.best_share is None else f"{self.best_share:.0%}",
            "" if self.bar is None else self.bar.text(self.unit),
            {None: "", True: "met", False: "not met"}[self.is_met],
        ]

    def to_content(self) -> dict[str, Any]:
        """Return the row as a dict that JSON can hold."""
        spreads = {name: value._asdict() for name, value in vars(self).items() if isinstance(value, Spread)}
        return {**asdict(self), **spreads, "is_met": self.is_met}

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Row:
        """Return the row that `to_content` made `content` of."""
        fields = {name: value for name, value in content.items() if name != "is_met"}
        spreads = {name: Spread(**fields[name]) for name in ("value", "ratio") if fields[name] is not None}
        return cls(**fields | spreads | {"bar": None if fields["bar"] is None else Bar(**fields["bar"])})


def compare(
    measure: str,
    rounds: Mapping[str, Sequence[Figures]],
    *,
    key: str = "seconds",
    unit: str = "s",
    reference: str | None = None,
    larger_is_better: bool = False,
) -> dict[str, Row]:
    """Return a row for each contender of `alternate`, by name: its figure `key`, in `unit`, relative to `reference`."""
    rows = {}
    for name, figures in rounds.items():
        values = [turn[key] for turn in figures]
        row = Row(measure, name, unit, Spread.of(values))
        if reference is not None:
            others = [turn[key] for turn in rounds[reference]]
            pairs = zip(values, others, strict=True)
            ratios = [value / other if larger_is_better else other / value for value, other in pairs]
            row = replace(row, reference=reference, ratio=Spread.of(ratios))
        rows[name] = row
    return rows


def middle(figures: Sequence[Figures], key: str) -> float:
    """Return the median of the figure `key` over the rounds."""
    return median(turn[key] for turn in figures)


def _figure(value: float) -> str:
    """Return `value` with three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4}f}"


def _range(spread: Spread) -> str:
    return "" if spread.least == spread.most else f"{_figure(spread.least)} – {_figure(spread.most)}"

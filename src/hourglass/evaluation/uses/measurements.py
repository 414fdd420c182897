"""Measurements of the uses, and the table of all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from hourglass.data import Dataset
from hourglass.images import Array
from hourglass.training import Callback

COLUMNS = ("use", "measure", "bar on MNIST", "measured", "baselines in the same run", "seed", "seconds to fit")

Fitted = TypeVar("Fitted")


@dataclass
class Measurement:
    """One metric of one use.

    Attributes
    ----------
    use, measure : str
    value : float
        Result of our estimator on the test images.
    form : str
        Format specification of the values.
    baselines : dict of str to float
        Results of baselines in the same run.
    seed : int
    seconds : float
        Time to fit our estimator.
    bar : (sign, float), optional
        The required value on MNIST, such as ("≥", 0.975).
    greater_is_better : bool, optional
        If it is known, baselines that are better are marked.
    """

    use: str
    measure: str
    value: float
    form: str
    baselines: dict[str, float]
    seed: int
    seconds: float
    bar: tuple[str, float] | None = None
    greater_is_better: bool | None = None

    @property
    def is_reached(self) -> bool | None:
        """Whether the bar is reached; None without one."""
        if self.bar is None:
            return None
        return self.value >= self.bar[1] if self.bar[0] == "≥" else self.value <= self.bar[1]

    def cells(self) -> list[str]:
        bar = "" if self.bar is None else f"{self.bar[0]} {self.bar[1]:{self.form}}"
        mark = "" if self.is_reached is not False else " (missed)"
        value = f"{self.value:{self.form}}{mark}"
        baselines = "; ".join(f"{name} {self._beside(value)}" for name, value in self.baselines.items())
        return [self.use, self.measure, bar, value, baselines, str(self.seed), f"{self.seconds:.0f}"]

    def _beside(self, baseline: float) -> str:
        """A baseline's value, with a mark if it is better in the digits that are shown."""
        ours, theirs = f"{self.value:{self.form}}", f"{baseline:{self.form}}"
        is_better = self.greater_is_better is not None and (baseline > self.value) == self.greater_is_better
        return f"{theirs} (better)" if is_better and ours != theirs else theirs

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Measurement:
        """Return the measurement that `uses_content` wrote."""
        fields = {key: value for key, value in content.items() if key != "is_reached"}
        return cls(**fields | {"bar": None if fields["bar"] is None else tuple(fields["bar"])})


@dataclass
class Setting:
    """The shared setting of all evaluations, which also collects notes and pictures for the page.

    Attributes
    ----------
    dataset : Dataset with a test split
    seed : int
    device : str
    callbacks : callable
        Returns the callbacks for a training by its name.
    notes : list of str
        Evaluations that were left out, and remarks on results.
    pictures : dict of str to dict of str to ndarray
        Rows of images by use and name.
    planes : dict of str to (codes (n, 2), labels (n,))
        Two-dimensional codes by the name of their encoder.
    """

    dataset: Dataset
    seed: int
    device: str = "auto"
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: ()
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, dict[str, Array]] = field(default_factory=dict)
    planes: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    @property
    def has_bars(self) -> bool:
        return self.dataset.name == "mnist"

    def fit(self, model: Any, *data: Any, name: str) -> tuple[Any, float]:
        """Fit `model` and return (model, seconds)."""
        model.set_params(random_state=self.seed, device=self.device)
        start = time.perf_counter()
        model.fit(*data, callbacks=self.callbacks(name))
        return model, time.perf_counter() - start


def uses_table(rows: Sequence[Measurement]) -> tuple[list[str], list[list[str]]]:
    """Return (headings, rows of formatted cells)."""
    return list(COLUMNS), [row.cells() for row in rows]


def uses_content(setting: Setting, rows: Sequence[Measurement], command: str, machine: dict[str, Any]) -> dict[str, Any]:
    """Return all results of a run as JSON."""
    return {
        "command": command,
        "data": setting.dataset.name,
        "train_images": len(setting.dataset.train),
        "test_images": len(setting.dataset.test),
        "seed": setting.seed,
        "machine": machine,
        "rows": [{**asdict(row), "is_reached": row.is_reached} for row in rows],
        "notes": setting.notes,
    }


def uses_page(setting: Setting, rows: Sequence[Measurement], command: str, machine: dict[str, Any]) -> str:
    """Return all results of a run as a page of Markdown."""
    headings, body = uses_table(rows)
    lines = [headings, ["---"] * len(headings), *body]
    versions = ", ".join(f"{key} {value}" for key, value in machine.items())
    return "\n".join(
        [
            f"# The six uses, measured on {setting.dataset.name}\n",
            f"Made by `{command}`: each estimator with its default arguments, fitted on {len(setting.dataset.train):,} "
            f"training images and measured on {len(setting.dataset.test):,} test images; {versions}. With --use, the rows of "
            "the other uses stay from earlier runs with the same data and seed.\n",
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            *(f"- {note}" for note in setting.notes),
            "",
        ]
    )

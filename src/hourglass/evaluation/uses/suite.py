"""Evaluation of all six uses in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hourglass.errors import ParameterError
from hourglass.evaluation.uses.compress import compress
from hourglass.evaluation.uses.detect import detect
from hourglass.evaluation.uses.enhance import enhance
from hourglass.evaluation.uses.features import features
from hourglass.evaluation.uses.generate import generate
from hourglass.evaluation.uses.measurements import Measurement, Setting
from hourglass.evaluation.uses.search import search

EVALUATIONS: dict[str, Callable[[Setting], list[Measurement]]] = {
    "detect": detect,
    "generate": generate,
    "features": features,
    "search": search,
    "compress": compress,
    "enhance": enhance,
}
NEED_LABELS = {"detect", "generate", "features", "search"}


def uses_suite(setting: Setting, uses: Sequence[str] = tuple(EVALUATIONS)) -> list[Measurement]:
    """Train and evaluate each of `uses` on the data of `setting`; adds to the notes and pictures of `setting`.

    Raises
    ------
    ParameterError
        For an unknown use.
    """
    unknown = [use for use in uses if use not in EVALUATIONS]
    if unknown:
        raise ParameterError(f"unknown use {', '.join(unknown)}; allowed: {', '.join(EVALUATIONS)}.")
    rows: list[Measurement] = []
    for use in uses:
        if use in NEED_LABELS and setting.dataset.train.labels is None:
            setting.notes.append(f"{use}: left out, because {setting.dataset.name} has no labels.")
        else:
            rows += EVALUATIONS[use](setting)
    return rows

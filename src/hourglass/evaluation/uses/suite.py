"""All six uses in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hourglass.errors import ParameterError
from hourglass.evaluation.uses.compress import compress
from hourglass.evaluation.uses.detect import detect
from hourglass.evaluation.uses.enhance import enhance
from hourglass.evaluation.uses.features import features
from hourglass.evaluation.uses.generate import generate
from hourglass.evaluation.uses.rows import Row, Setting
from hourglass.evaluation.uses.search import search

USES: dict[str, Callable[[Setting], list[Row]]] = {
    "detect": detect,
    "generate": generate,
    "features": features,
    "search": search,
    "compress": compress,
    "enhance": enhance,
}
NEED_LABELS = {"detect", "generate", "features", "search"}


def uses_suite(setting: Setting, uses: Sequence[str] = tuple(USES)) -> list[Row]:
    """Train and measure each of `uses` on the data of `setting`, whose `notes` it adds to.

    Raises
    ------
    ParameterError
        For an unknown use.
    """
    unknown = [use for use in uses if use not in USES]
    if unknown:
        raise ParameterError(f"{', '.join(unknown)}: no such use; allowed: {', '.join(USES)}.")
    rows: list[Row] = []
    for use in uses:
        if use in NEED_LABELS and setting.dataset.train.labels is None:
            setting.notes.append(f"{use}: left out, {setting.dataset.name} has no labels to measure it by.")
        else:
            rows += USES[use](setting)
    return rows

"""Evaluation: metrics, the trivial baseline of every task, tables of both, and what they cost (`bench`).

Names load on first use: a process of the benchmark that trains without this library must not hold its imports.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hourglass.evaluation.metrics import Metrics, image_metrics
    from hourglass.evaluation.suites import BARS, denoise_suite, machine
    from hourglass.evaluation.tables import cells, markdown
    from hourglass.evaluation.tasks import Comparison, compare_autoencoders, compare_denoisers
    from hourglass.evaluation.uses import (
        USES,
        Row,
        Setting,
        rate_distortion,
        uses_content,
        uses_page,
        uses_suite,
        uses_table,
    )

_HOMES = {
    "metrics": ("Metrics", "image_metrics"),
    "suites": ("BARS", "denoise_suite", "machine"),
    "tables": ("cells", "markdown"),
    "tasks": ("Comparison", "compare_autoencoders", "compare_denoisers"),
    "uses": ("USES", "Row", "Setting", "rate_distortion", "uses_content", "uses_page", "uses_suite", "uses_table"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BARS",
    "USES",
    "Comparison",
    "Metrics",
    "Row",
    "Setting",
    "cells",
    "compare_autoencoders",
    "compare_denoisers",
    "denoise_suite",
    "image_metrics",
    "machine",
    "markdown",
    "rate_distortion",
    "uses_content",
    "uses_page",
    "uses_suite",
    "uses_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hourglass.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hourglass.evaluation.{_HOME_OF[name]}"), name)

"""Evaluation: metrics, baselines for every task, and tables of both."""

from hourglass.evaluation.metrics import Metrics, image_metrics
from hourglass.evaluation.suites import BARS, denoise_suite, machine
from hourglass.evaluation.tables import cells, markdown
from hourglass.evaluation.tasks import Comparison, compare_autoencoders, compare_denoisers
from hourglass.evaluation.uses import (
    EVALUATIONS,
    Measurement,
    Setting,
    rate_distortion,
    uses_content,
    uses_page,
    uses_suite,
    uses_table,
)

__all__ = [
    "BARS",
    "EVALUATIONS",
    "Comparison",
    "Measurement",
    "Metrics",
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

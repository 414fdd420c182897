"""Evaluation: metrics, the trivial baseline of every task, and tables of both."""

from hourglass.evaluation.metrics import Metrics, image_metrics
from hourglass.evaluation.suites import denoise_suite, machine
from hourglass.evaluation.tables import cells, markdown
from hourglass.evaluation.tasks import Comparison, compare_autoencoders, compare_denoisers

__all__ = [
    "Comparison",
    "Metrics",
    "cells",
    "compare_autoencoders",
    "compare_denoisers",
    "denoise_suite",
    "image_metrics",
    "machine",
    "markdown",
]

"""Evaluation: metrics, baselines for every task, and tables of both."""

from hourglass.evaluation.alarms import NORMALS, alarms_content, alarms_page, alarms_table, measure_alarms
from hourglass.evaluation.anomalies import adbench, anomalies_content, anomalies_page, anomalies_table, measure_table
from hourglass.evaluation.bjontegaard import bjontegaard_rate
from hourglass.evaluation.comparison import (
    FilePair,
    ImagePair,
    PairFigures,
    Rejects,
    mean_of,
    most_different,
    paired,
    read_pair,
)
from hourglass.evaluation.labels import LabelAgreement, label_agreement
from hourglass.evaluation.localisation import per_region_overlap, pixel_auroc
from hourglass.evaluation.metrics import Metrics, Quality, decibels, image_metrics, image_quality, psnr, squared_error
from hourglass.evaluation.suites import BARS, denoise_suite, machine
from hourglass.evaluation.surfaces import magnetic_tiles, measure_surfaces, surfaces_content, surfaces_page, surfaces_table
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
    "NORMALS",
    "Comparison",
    "FilePair",
    "ImagePair",
    "LabelAgreement",
    "Measurement",
    "Metrics",
    "PairFigures",
    "Quality",
    "Rejects",
    "Setting",
    "adbench",
    "alarms_content",
    "alarms_page",
    "alarms_table",
    "anomalies_content",
    "anomalies_page",
    "anomalies_table",
    "bjontegaard_rate",
    "cells",
    "compare_autoencoders",
    "compare_denoisers",
    "decibels",
    "denoise_suite",
    "image_metrics",
    "image_quality",
    "label_agreement",
    "machine",
    "magnetic_tiles",
    "markdown",
    "mean_of",
    "measure_alarms",
    "measure_surfaces",
    "measure_table",
    "most_different",
    "paired",
    "per_region_overlap",
    "pixel_auroc",
    "psnr",
    "rate_distortion",
    "read_pair",
    "squared_error",
    "surfaces_content",
    "surfaces_page",
    "surfaces_table",
    "uses_content",
    "uses_page",
    "uses_suite",
    "uses_table",
]

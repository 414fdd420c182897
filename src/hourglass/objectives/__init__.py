"""Objectives: reconstruction losses and penalties, each a pure function of a batch."""

from hourglass.objectives.losses import LOSSES, NEED_IMAGES, NEED_UNIT_RANGE
from hourglass.objectives.objective import Objective
from hourglass.objectives.output import Output
from hourglass.objectives.penalties import L1, L2, Contractive, Contrast, KLSparsity, Neighbours, Penalty, Rate
from hourglass.objectives.registry import PENALTIES
from hourglass.objectives.similarity import SIGMA, gaussian, padded_mean, similarity_maps, ssim_deviation

__all__ = [
    "L1",
    "L2",
    "LOSSES",
    "NEED_IMAGES",
    "NEED_UNIT_RANGE",
    "PENALTIES",
    "SIGMA",
    "Contractive",
    "Contrast",
    "KLSparsity",
    "Neighbours",
    "Objective",
    "Output",
    "Penalty",
    "Rate",
    "gaussian",
    "padded_mean",
    "similarity_maps",
    "ssim_deviation",
]

"""Objectives: reconstruction losses and penalties, each a pure function of a batch."""

from hourglass.objectives.losses import LOSSES, NEED_IMAGES, NEED_UNIT_RANGE, ssim_deviation
from hourglass.objectives.objective import Objective
from hourglass.objectives.penalties import L1, L2, PENALTIES, Contrast, Penalty, Rate

__all__ = [
    "L1",
    "L2",
    "LOSSES",
    "NEED_IMAGES",
    "NEED_UNIT_RANGE",
    "PENALTIES",
    "Contrast",
    "Objective",
    "Penalty",
    "Rate",
    "ssim_deviation",
]

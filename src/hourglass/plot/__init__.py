"""Plots of images, codes, errors and training, on matplotlib axes; the same that reports and the chapter show."""

from hourglass.plot.axes import (
    error_maps,
    latent_map,
    learning_curve,
    manifold,
    rate_distortion,
    reconstructions,
    roc,
    scores,
    spectrum,
)
from hourglass.plot.structure import structure

__all__ = [
    "error_maps",
    "latent_map",
    "learning_curve",
    "manifold",
    "rate_distortion",
    "reconstructions",
    "roc",
    "scores",
    "spectrum",
    "structure",
]

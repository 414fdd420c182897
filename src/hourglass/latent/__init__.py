"""Latent codes: densities, interpolation, nearest neighbours, and grids over a two-dimensional latent space."""

from hourglass.latent.density import Mixture, fit_mixture
from hourglass.latent.growing import GrowingArray
from hourglass.latent.neighbours import BACKENDS, METRICS, NeighbourIndex
from hourglass.latent.plane import bounds, classify, grid, sample_class
from hourglass.latent.walks import PATHS, interpolate, traverse

__all__ = [
    "BACKENDS",
    "METRICS",
    "PATHS",
    "GrowingArray",
    "Mixture",
    "NeighbourIndex",
    "bounds",
    "classify",
    "fit_mixture",
    "grid",
    "interpolate",
    "sample_class",
    "traverse",
]

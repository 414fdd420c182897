"""Latent codes: densities, interpolation, nearest neighbours, and grids over a two-dimensional latent space."""

from hourglass.latent.density import Mixture, fit_mixture
from hourglass.latent.duplicates import ROUNDING
from hourglass.latent.growing import GrowingArray
from hourglass.latent.neighbours import BACKENDS, BY_ROW, METRICS, NeighbourIndex
from hourglass.latent.plane import bounds, classify, grid, sample_class
from hourglass.latent.walks import PATHS, interpolate, traverse
from hourglass.latent.whitening import whitening

__all__ = [
    "BACKENDS",
    "BY_ROW",
    "METRICS",
    "PATHS",
    "ROUNDING",
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
    "whitening",
]

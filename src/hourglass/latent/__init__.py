"""Codes alone: how likely they are, ways between them, which are near, and where they lie in a plane."""

from hourglass.latent.density import Mixture, fit_mixture
from hourglass.latent.growing import GrowingArray
from hourglass.latent.neighbours import BACKENDS, METRICS, NeighbourIndex
from hourglass.latent.plane import bounds, draw_inside, owners, plane
from hourglass.latent.walks import PATHS, interpolate, traverse

__all__ = [
    "BACKENDS",
    "METRICS",
    "PATHS",
    "GrowingArray",
    "Mixture",
    "NeighbourIndex",
    "bounds",
    "draw_inside",
    "fit_mixture",
    "interpolate",
    "owners",
    "plane",
    "traverse",
]

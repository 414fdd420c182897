"""Codes alone: how likely they are, ways between them, and which are near."""

from hourglass.latent.density import Mixture, fit_mixture
from hourglass.latent.neighbours import BACKENDS, METRICS, NeighbourIndex
from hourglass.latent.walks import PATHS, interpolate, traverse

__all__ = ["BACKENDS", "METRICS", "PATHS", "Mixture", "NeighbourIndex", "fit_mixture", "interpolate", "traverse"]

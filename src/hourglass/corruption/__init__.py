"""Corruption: composable, seeded transformations that degrade images."""

from hourglass.corruption.base import Corruption, seeded
from hourglass.corruption.compose import Choice, Combination, Compose
from hourglass.corruption.geometry import Flip, Permutation, Rotation, Warp
from hourglass.corruption.neighbours import neighbour_pairs
from hourglass.corruption.noise import GaussianNoise, Masking, SaltAndPepper
from hourglass.corruption.registry import CORRUPTIONS, from_config, to_config
from hourglass.corruption.resolution import Downscale, enlarge

__all__ = [
    "CORRUPTIONS",
    "Choice",
    "Combination",
    "Compose",
    "Corruption",
    "Downscale",
    "Flip",
    "GaussianNoise",
    "Masking",
    "Permutation",
    "Rotation",
    "SaltAndPepper",
    "Warp",
    "enlarge",
    "from_config",
    "neighbour_pairs",
    "seeded",
    "to_config",
]

"""Corruption: damage to images, composable, with all chance in a generator."""

from hourglass.corruption.base import Corruption, seeded
from hourglass.corruption.compose import Compose
from hourglass.corruption.geometry import Warp
from hourglass.corruption.noise import GaussianNoise, Masking, SaltAndPepper
from hourglass.corruption.registry import CORRUPTIONS, from_config, to_config
from hourglass.corruption.resolution import Downscale, enlarge

__all__ = [
    "CORRUPTIONS",
    "Compose",
    "Corruption",
    "Downscale",
    "GaussianNoise",
    "Masking",
    "SaltAndPepper",
    "Warp",
    "enlarge",
    "from_config",
    "seeded",
    "to_config",
]

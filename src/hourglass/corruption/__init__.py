"""Corruption: composable, seeded transformations that degrade images."""

from hourglass.corruption.base import Corruption, seeded
from hourglass.corruption.compose import Choice, Combination, Compose
from hourglass.corruption.defects import DEFECTS, Defects
from hourglass.corruption.faults import MissingBlocks, Stripes
from hourglass.corruption.geometry import Flip, Permutation, Rotation, Warp
from hourglass.corruption.jpeg import JPEG
from hourglass.corruption.neighbours import neighbour_pairs
from hourglass.corruption.noise import GaussianNoise, Masking, PoissonNoise, SaltAndPepper, SensorNoise
from hourglass.corruption.optics import Blur, Lighting, MotionBlur
from hourglass.corruption.registry import CORRUPTIONS, from_config, to_config
from hourglass.corruption.resolution import Downscale, enlarge, reduce

__all__ = [
    "CORRUPTIONS",
    "DEFECTS",
    "JPEG",
    "Blur",
    "Choice",
    "Combination",
    "Compose",
    "Corruption",
    "Defects",
    "Downscale",
    "Flip",
    "GaussianNoise",
    "Lighting",
    "Masking",
    "MissingBlocks",
    "MotionBlur",
    "Permutation",
    "PoissonNoise",
    "Rotation",
    "SaltAndPepper",
    "SensorNoise",
    "Stripes",
    "Warp",
    "enlarge",
    "from_config",
    "neighbour_pairs",
    "reduce",
    "seeded",
    "to_config",
]

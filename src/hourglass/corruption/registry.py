"""Corruptions by name, and their (de)serialisation in a model's config.json."""

from __future__ import annotations

import dataclasses
from typing import Any

from hourglass.corruption.base import Corruption
from hourglass.corruption.compose import Choice, Compose
from hourglass.corruption.defects import Defects
from hourglass.corruption.faults import MissingBlocks, Stripes
from hourglass.corruption.geometry import Flip, Permutation, Rotation, Warp
from hourglass.corruption.jpeg import JPEG
from hourglass.corruption.noise import GaussianNoise, Masking, PoissonNoise, SaltAndPepper, SensorNoise
from hourglass.corruption.optics import Blur, Lighting, MotionBlur
from hourglass.corruption.resolution import Downscale
from hourglass.errors import FormatError, ParameterError

CORRUPTIONS: dict[str, type[Corruption]] = {
    "gaussian_noise": GaussianNoise,
    "sensor_noise": SensorNoise,
    "poisson_noise": PoissonNoise,
    "salt_and_pepper": SaltAndPepper,
    "masking": Masking,
    "missing_blocks": MissingBlocks,
    "stripes": Stripes,
    "defects": Defects,
    "jpeg": JPEG,
    "blur": Blur,
    "motion_blur": MotionBlur,
    "lighting": Lighting,
    "downscale": Downscale,
    "warp": Warp,
    "permutation": Permutation,
    "rotation": Rotation,
    "flip": Flip,
    "compose": Compose,
    "choice": Choice,
}


def to_config(corruption: Corruption) -> dict[str, Any]:
    """Return `corruption` as JSON: its name in `CORRUPTIONS` and its fields. Raises ParameterError for a user-defined class."""
    names = {kind: name for name, kind in CORRUPTIONS.items()}
    if type(corruption) not in names:
        raise ParameterError(f"{corruption!r} is not a corruption of this library; only {', '.join(CORRUPTIONS)} can be saved.")
    fields = {field.name: getattr(corruption, field.name) for field in dataclasses.fields(corruption)}  # type: ignore[arg-type]  # every class in CORRUPTIONS is a dataclass
    if "corruptions" in fields:
        fields["corruptions"] = [to_config(part) for part in fields["corruptions"]]
    return {"name": names[type(corruption)], **fields}


def from_config(config: dict[str, Any]) -> Corruption:
    """Return the corruption that `to_config` wrote. Raises FormatError for an unknown name or unknown fields."""
    fields = dict(config)
    name = fields.pop("name", None)
    if name not in CORRUPTIONS:
        raise FormatError(f"corruption {name!r} is unknown; known: {', '.join(CORRUPTIONS)}.")
    if "corruptions" in fields:
        fields["corruptions"] = [from_config(part) for part in fields["corruptions"]]
    fields = {field: tuple(value) if isinstance(value, list) else value for field, value in fields.items()}  # JSON has lists
    try:
        return CORRUPTIONS[name](**fields)
    except TypeError as error:
        raise FormatError(f"corruption {name!r} cannot be made from {fields}: {error}") from error

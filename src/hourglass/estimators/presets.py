"""Presets: named values of the arguments that all estimators share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hourglass.corruption import Compose, Defects, GaussianNoise, Lighting, Masking, Warp
from hourglass.networks.words import WIDTH
from hourglass.objectives import Contrast, Neighbours, Rate

# As in the chapter: fixed corruption of the training images, torch's initial weights, Adam.
_CHAPTER: dict[str, Any] = {
    "network": "mlp",
    "n_components": 32,
    "hidden": (128, 64),
    "epochs": 5,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "schedule": "constant",
    "initialization": "torch",
    "loss": "mse",
    "penalty": None,
    "corruption": None,
    "redraw": False,
    "precision": "float32",
}
# Shared by the other presets.
_WELL: dict[str, Any] = {
    "network": "mlp",
    "n_components": 32,
    "hidden": (128, 64),
    "epochs": 12,
    "batch_size": None,
    "learning_rate": 0.05,
    "optimizer": "muon",
    "schedule": "linear",
    "initialization": "centered",
    "loss": "mse",
    "penalty": None,
    "corruption": None,
    "redraw": True,
    "precision": "float32",
}
# The chapter's network, trained well.
_DEFAULT: dict[str, Any] = _WELL | {"schedule": "decay"}
# For linear autoencoders, trained to convergence.
_LINEAR: dict[str, Any] = _WELL | {"network": "linear", "hidden": (), "learning_rate": 0.02}
# The lowest error found with 64 latent dimensions and 15 minutes on two cores.
_BEST: dict[str, Any] = _WELL | {"n_components": 64, "hidden": (1024, 512), "batch_size": 1024}
_SKIP: dict[str, Any] = _WELL | {
    "network": "skip",
    "n_components": 64,
    "hidden": (32, 64, 96),
    "epochs": 7,
    "batch_size": 128,
    "learning_rate": 0.02,
}

# The default preset of each other estimator.
_FEATURES: dict[str, Any] = _WELL | {
    "network": "embedding",
    "hidden": (24, 48, 96),
    "epochs": 4,
    "batch_size": 512,
    # The most of each change of light; `admitted` takes what the images allow.
    "corruption": Compose((Warp(rotation=15, scale=0.15, shear=0.15, shift=0.07, elastic=0.05), Lighting(0.4, 0.2))),
    "penalty": (Contrast(0.02, n_neighbours=None), Neighbours(0.02)),
}
_DETECT: dict[str, Any] = _WELL | {
    "hidden": (512, 256),
    "epochs": 14,
    "batch_size": 128,
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "corruption": Compose((Masking(0.7, cell=4, varied=True), GaussianNoise(0, 0.3, varied=True))),
}
_GENERATE: dict[str, Any] = _WELL | {
    "network": "noisy",
    "hidden": (384, 192),
    "epochs": 10,
    "batch_size": 1024,
    "loss": "bce",
    "penalty": Rate(0.009),
}
_COMPRESS: dict[str, Any] = _WELL | {
    "network": "quantised",
    "hidden": (768, 384),
    "epochs": 30,
    "batch_size": 256,
    "optimizer": "adam",
    "learning_rate": 2.5e-3,
}
# Photographs of any size, for a range of rates; the rate's strength is that of quality 50.
_PHOTO_CODEC: dict[str, Any] = _WELL | {
    "network": "codec",
    "n_components": 192,
    "hidden": (64, 128, 192),
    "epochs": 15,
    "batch_size": 8,
    "learning_rate": 0.005,
    "crop": 128,
    "penalty": Rate(0.0054),
}
_ENHANCE: dict[str, Any] = _SKIP | {"network": "residual", "epochs": 1, "batch_size": 64}
# For crops of images of several sizes; each estimator has a network of its own for it. At twice this learning rate the U-Net
# learns less in the first epochs of photographs, and loses it again in the fifth.
_PHOTO: dict[str, Any] = _WELL | {
    "network": "unet",
    "n_components": 16,
    "hidden": None,
    "epochs": 1,
    "batch_size": 16,
    "learning_rate": 0.01,
    "crop": 64,
}

# Features of photographs of any size: two crops of an image are alike, and those of others are not.
_PHOTO_FEATURES: dict[str, Any] = _PHOTO | {
    "network": "patches",
    "n_components": WIDTH,  # of the patches, before they are put in words
    "hidden": (24, 48, 96),
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "corruption": Compose((Lighting(0.2, 0.1),)),
    "penalty": Contrast(0.1),
}

# Surfaces and parts, of any size. Half as wide as for photographs: a quarter of the operations.
_SURFACE: dict[str, Any] = _PHOTO | {"hidden": (16, 32, 64), "corruption": Defects((0, 2))}

PRESETS: dict[str, Mapping[str, Any]] = {
    "chapter": _CHAPTER,
    "default": _DEFAULT,
    "linear": _LINEAR,
    "best": _BEST,
    "skip": _SKIP,
    "features": _FEATURES,
    "detect": _DETECT,
    "generate": _GENERATE,
    "compress": _COMPRESS,
    "enhance": _ENHANCE,
    "photo": _PHOTO,
    "photo-codec": _PHOTO_CODEC,
    "photo-features": _PHOTO_FEATURES,
    "surface": _SURFACE,
}
CHAPTER_NOISE = GaussianNoise(mean=0.5, std=0.4)
PHOTO_NOISE = GaussianNoise(mean=0, std=(0, 55 / 255))
"""As in training blind denoisers (Zhang et al. 2017)."""

MINIMAL_STEPS = {
    "default": 600,
    "linear": 2000,
    "compress": 2000,
    "enhance": 600,
    "photo": 4000,
    "photo-features": 800,
    "surface": 1500,
}
FEWEST_STEPS = 300
"""Fewest steps of a run: small data sets get more epochs. `MINIMAL_STEPS` overrides it."""


def resolve(preset: str, given: Mapping[str, Any], n_samples: int) -> dict[str, Any]:
    """The values of `preset`, updated by those in `given` that are not None; the rest depends on `n_samples`.

    Another network than the preset's has its own default `hidden`; network="linear" selects the preset "linear" in place of
    "default". The default batch size is a tenth of the samples, within 64..512; the default epochs reach `MINIMAL_STEPS`.
    """
    network = given.get("network")
    preset = "linear" if preset == "default" and network == "linear" else preset
    values = dict(PRESETS[preset])
    if network is not None and network != values["network"]:
        values["hidden"] = None
    values |= {
        name: value.item() if isinstance(value, np.generic) else value  # from parameter searches; JSON takes no numpy scalars
        for name, value in given.items()
        if value is not None
    }
    if values["batch_size"] is None:
        values["batch_size"] = min(max(n_samples // 10, 64), 512)
    if given.get("epochs") is None:
        steps = -(-n_samples // values["batch_size"])
        values["epochs"] = max(values["epochs"], -(-MINIMAL_STEPS.get(preset, FEWEST_STEPS) // steps))
    return values

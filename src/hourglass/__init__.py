"""Hourglass: one autoencoder, and what it is good for.

    import hourglass as hg

    mnist = hg.load("mnist")
    ae = hg.Autoencoder(n_components=32).fit(mnist.train.images)
    codes = ae.transform(mnist.test.images)

Everything below loads on first use: torch and scikit-learn take seconds to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hourglass._version import __version__

if TYPE_CHECKING:
    from hourglass import plot
    from hourglass.corruption import (
        JPEG,
        Blur,
        Choice,
        Compose,
        Corruption,
        Defects,
        Downscale,
        Flip,
        GaussianNoise,
        Lighting,
        Masking,
        MissingBlocks,
        MotionBlur,
        Permutation,
        PoissonNoise,
        Rotation,
        SaltAndPepper,
        SensorNoise,
        Stripes,
        Warp,
        neighbour_pairs,
    )
    from hourglass.data import Dataset, Split, Stream, load, load_pairs, over_time, stream, table_encoder, windows
    from hourglass.errors import (
        DataError,
        DivergenceError,
        DownloadError,
        FormatError,
        HourglassError,
        HourglassWarning,
        LimitError,
        ModelError,
        ParameterError,
        ProcessError,
        WorkerError,
    )
    from hourglass.estimators import (
        AnomalyDetector,
        Autoencoder,
        Compressor,
        Denoiser,
        Enhancer,
        Generator,
        Retriever,
        from_pretrained,
        load_model,
        register,
    )
    from hourglass.images import to_float, to_uint8
    from hourglass.networks import Network
    from hourglass.objectives import L1, L2, Contractive, Contrast, KLSparsity, Neighbours, Output, Penalty, Rate
    from hourglass.onnx import export_onnx
    from hourglass.runtime import Exported, load_onnx
    from hourglass.training import Callback, MLflow, Optimizer, Run, TensorBoard, Tracker

_HOMES = {
    "hourglass.corruption": (
        "JPEG",
        "Blur",
        "Choice",
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
        "neighbour_pairs",
    ),
    "hourglass.data": ("Dataset", "Split", "Stream", "load", "load_pairs", "over_time", "stream", "table_encoder", "windows"),
    "hourglass.errors": (
        "DataError",
        "DivergenceError",
        "DownloadError",
        "FormatError",
        "HourglassError",
        "HourglassWarning",
        "LimitError",
        "ModelError",
        "ParameterError",
        "ProcessError",
        "WorkerError",
    ),
    "hourglass.estimators": (
        "AnomalyDetector",
        "Autoencoder",
        "Compressor",
        "Denoiser",
        "Enhancer",
        "Generator",
        "Retriever",
        "from_pretrained",
        "load_model",
        "register",
    ),
    "hourglass.images": ("to_float", "to_uint8"),
    "hourglass.objectives": ("L1", "L2", "Contractive", "Contrast", "KLSparsity", "Neighbours", "Output", "Penalty", "Rate"),
    "hourglass.networks": ("Network",),
    "hourglass.onnx": ("export_onnx",),
    "hourglass.runtime": ("Exported", "load_onnx"),
    "hourglass.training": ("Callback", "MLflow", "Optimizer", "Run", "TensorBoard", "Tracker"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("plot",)

__all__ = [
    "JPEG",
    "L1",
    "L2",
    "AnomalyDetector",
    "Autoencoder",
    "Blur",
    "Callback",
    "Choice",
    "Compose",
    "Compressor",
    "Contractive",
    "Contrast",
    "Corruption",
    "DataError",
    "Dataset",
    "Defects",
    "Denoiser",
    "DivergenceError",
    "DownloadError",
    "Downscale",
    "Enhancer",
    "Exported",
    "Flip",
    "FormatError",
    "GaussianNoise",
    "Generator",
    "HourglassError",
    "HourglassWarning",
    "KLSparsity",
    "Lighting",
    "LimitError",
    "MLflow",
    "Masking",
    "MissingBlocks",
    "ModelError",
    "MotionBlur",
    "Neighbours",
    "Network",
    "Optimizer",
    "Output",
    "ParameterError",
    "Penalty",
    "Permutation",
    "PoissonNoise",
    "ProcessError",
    "Rate",
    "Retriever",
    "Rotation",
    "Run",
    "SaltAndPepper",
    "SensorNoise",
    "Split",
    "Stream",
    "Stripes",
    "TensorBoard",
    "Tracker",
    "Warp",
    "WorkerError",
    "__version__",
    "export_onnx",
    "from_pretrained",
    "load",
    "load_model",
    "load_onnx",
    "load_pairs",
    "neighbour_pairs",
    "over_time",
    "plot",
    "register",
    "stream",
    "table_encoder",
    "to_float",
    "to_uint8",
    "windows",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hourglass' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

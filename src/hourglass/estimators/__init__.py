"""Estimators: the scikit-learn faces of the autoencoder."""

from hourglass.estimators.anomaly_detector import AnomalyDetector
from hourglass.estimators.autoencoder import Autoencoder
from hourglass.estimators.base import ImageEstimator
from hourglass.estimators.compressor import Compressor
from hourglass.estimators.denoiser import Denoiser
from hourglass.estimators.enhancer import Enhancer
from hourglass.estimators.generator import Generator
from hourglass.estimators.presets import PRESETS
from hourglass.estimators.registry import ESTIMATORS, from_pretrained, load_model, register
from hourglass.estimators.retriever import Retriever

__all__ = [
    "ESTIMATORS",
    "PRESETS",
    "AnomalyDetector",
    "Autoencoder",
    "Compressor",
    "Denoiser",
    "Enhancer",
    "Generator",
    "ImageEstimator",
    "Retriever",
    "from_pretrained",
    "load_model",
    "register",
]

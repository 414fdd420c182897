"""Estimators: the scikit-learn faces of the autoencoder."""

from hourglass.estimators.autoencoder import Autoencoder
from hourglass.estimators.base import ImageEstimator
from hourglass.estimators.denoiser import Denoiser
from hourglass.estimators.presets import PRESETS
from hourglass.estimators.registry import ESTIMATORS, load_model

__all__ = ["ESTIMATORS", "PRESETS", "Autoencoder", "Denoiser", "ImageEstimator", "load_model"]

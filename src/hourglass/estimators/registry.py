"""Every estimator by name, and loading a saved one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.data.untrusted import untrusted
from hourglass.errors import FormatError, ParameterError
from hourglass.estimators.anomaly_detector import AnomalyDetector
from hourglass.estimators.autoencoder import Autoencoder
from hourglass.estimators.base import ImageEstimator
from hourglass.estimators.compressor import Compressor
from hourglass.estimators.denoiser import Denoiser
from hourglass.estimators.enhancer import Enhancer
from hourglass.estimators.generator import Generator
from hourglass.estimators.retriever import Retriever
from hourglass.trained import Trained, as_device, read_model
from hourglass.trained.files import restore_history, restore_sample, restore_settings

ESTIMATORS: dict[str, type[ImageEstimator]] = {
    kind.saved_as: kind for kind in (Autoencoder, Denoiser, AnomalyDetector, Generator, Retriever, Compressor, Enhancer)
}


def load_model(path: str | Path, *, network: Any = None, device: str = "auto") -> Any:
    """Load a model that `save` wrote.

    Parameters
    ----------
    path : path
        The model's folder.
    network : (encoder, decoder), optional
        Only for a model that was trained with torch modules of your own: new ones of the same make, for their weights alone
        are saved.
    device : str
        Where to put it: "auto", "cpu", "cuda", …

    Returns
    -------
    The fitted estimator, of the class that was saved.

    Raises
    ------
    FormatError
        If it is damaged, of another version, or no model.
    ParameterError
        If it needs `network`, or `device` cannot be used.
    """
    path = Path(os.path.expanduser(path))
    parts = read_model(path)
    if parts.name is None:
        raise FormatError(f"{path}: a trained model alone, without an estimator; hourglass.trained.Trained.load reads it.")
    with untrusted(f"{path}: config.json does not describe a model that this version knows"):
        if parts.name not in ESTIMATORS:
            raise FormatError(f"{path}: estimator {parts.name!r} is unknown here; known: {', '.join(ESTIMATORS)}.")
        parameters = parts.parameters | {"device": device} | ({} if network is None else {"network": network})
        model = ESTIMATORS[parts.name](**parameters)
        settings = restore_settings(parts.fitted) | ({} if network is None else {"network": network})
        if settings["network"] is None:
            raise ParameterError(f"{path}: trained with modules of your own; pass network=(encoder, decoder).")
        model._check_parameters()
        sample, history = restore_sample(parts.fitted), restore_history(parts.fitted)
        model.model_ = Trained.of_weights(parts.weights, sample, settings, history, as_device(device))
        model.n_features_in_ = int(parts.fitted["n_features_in"])
        if parts.fitted["feature_names_in"] is not None:
            model.feature_names_in_ = np.array(parts.fitted["feature_names_in"], dtype=object)
        model._restore(parts.state)
        model._try_out()
    return model

"""Every estimator by name, and loading a saved one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hourglass.data.untrusted import untrusted
from hourglass.data.write import in_turn, standing_folder
from hourglass.errors import FormatError, ParameterError
from hourglass.estimators.anomaly_detector import AnomalyDetector
from hourglass.estimators.autoencoder import Autoencoder
from hourglass.estimators.base import ImageEstimator
from hourglass.estimators.compressor import Compressor
from hourglass.estimators.denoiser import Denoiser
from hourglass.estimators.enhancer import Enhancer
from hourglass.estimators.generator import Generator
from hourglass.estimators.persistence import read_config, read_weights, restore_fitted, restore_parameters, split_weights
from hourglass.estimators.retriever import Retriever

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
    with in_turn(path):  # a model that is being replaced is read as it was, or as it will be
        path = standing_folder(path)
        config = read_config(path)
        weights, arrays = split_weights(read_weights(path, config))
    with untrusted(f"{path}: config.json does not describe a model that this version knows"):
        if config["estimator"] not in ESTIMATORS:
            raise FormatError(f"{path}: estimator {config['estimator']!r} is unknown here; known: {', '.join(ESTIMATORS)}.")
        parameters = restore_parameters(config["parameters"]) | {"device": device}
        if network is not None:
            parameters["network"] = network
        model = ESTIMATORS[config["estimator"]](**parameters)
        restore_fitted(model, config["fitted"])
        if network is not None:
            model.settings_["network"] = network
        elif model.settings_["network"] is None:
            raise ParameterError(f"{path}: trained with modules of your own; pass network=(encoder, decoder).")
        model._check_parameters()
        model._load(weights)
        model._restore(config["fitted"]["state"] | arrays)
        model._try_out()
    return model

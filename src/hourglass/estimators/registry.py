"""Every estimator by name, loading a saved one, and what users add under names of their own."""

from __future__ import annotations

import dataclasses
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.corruption import CORRUPTIONS, Corruption
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
from hourglass.networks import NETWORKS, Network
from hourglass.objectives import LOSSES, PENALTIES, Penalty
from hourglass.options import NAMES
from hourglass.trained import Trained, as_device, read_model
from hourglass.trained.files import restore_history, restore_sample, restore_settings
from hourglass.training import OPTIMIZERS, Optimizer

ESTIMATORS: dict[str, type[ImageEstimator]] = {
    kind.saved_as: kind for kind in (Autoencoder, Denoiser, AnomalyDetector, Generator, Retriever, Compressor, Enhancer)
}


_DICTS: dict[str, tuple[type, dict[str, Any]]] = {
    "network": (Network, NETWORKS),
    "corruption": (Corruption, CORRUPTIONS),
    "penalty": (Penalty, PENALTIES),
    "optimizer": (Optimizer, OPTIMIZERS),
}


def register(name: str, part: Any) -> None:
    """Add a network, corruption, penalty, optimiser or loss of your own under a name.

    Estimators then take it as they take the library's own, and a saved model says by which name it wants it back: register it
    again before `load_model`, for its code is not saved. Registering a name of yours anew replaces what it stood for.

    Parameters
    ----------
    name : str
        Letters, digits and underscores; none of the library's own names.
    part : class or function
        A subclass of `Network`, `Corruption` or `Penalty` (the latter two dataclasses) or of `Optimizer`; or a loss: a function
        of reconstructions and targets, float32 Tensors (n, c, h, w) or (n, features), that returns a scalar Tensor.

    Raises
    ------
    ParameterError
        For another kind of thing, or a name that is taken.

    Examples
    --------
    >>> import hourglass as hg, torch
    >>> hg.register("huber", torch.nn.functional.huber_loss)
    >>> hg.Autoencoder(8, loss="huber", epochs=1, random_state=0).fit(hg.load("digits").train.images).settings_["loss"]
    'huber'
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ParameterError(f"name={name!r}; allowed: letters, digits and underscores.")
    kinds = [kind for kind, (base, _) in _DICTS.items() if isinstance(part, type) and issubclass(part, base)]
    if isinstance(part, type) and (not kinds or inspect.isabstract(part)):
        raise ParameterError(
            f"{part!r} is no complete Network, Corruption, Penalty or Optimizer; see `help(hourglass.register)`."
        )
    if not callable(part):
        raise ParameterError(f"{part!r} is no class and no function.")
    kind = kinds[0] if kinds else "loss"
    if kind in ("corruption", "penalty") and not dataclasses.is_dataclass(part):
        raise ParameterError(f"{part!r} must be a dataclass: its fields are saved with a model.")
    known: dict[str, Any] = _DICTS[kind][1] if kinds else LOSSES
    if name in known and (kind, name) not in _OWN:
        raise ParameterError(f"{kind} {name!r} is the library's own; choose another name.")
    known[name] = part
    _OWN.add((kind, name))
    names = NAMES.setdefault(kind, [])
    if name not in names:
        names.append(name)


_OWN: set[tuple[str, str]] = set()
"""(kind, name) of what users have registered."""


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

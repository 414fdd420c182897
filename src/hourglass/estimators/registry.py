"""Estimators by name, loading of saved ones, and registration of the user's own parts."""

from __future__ import annotations

import dataclasses
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.corruption import CORRUPTIONS, Corruption
from hourglass.data.hub import download
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
from hourglass.trained.files import restore_data, restore_history, restore_sample, restore_settings
from hourglass.training import OPTIMIZERS, Optimizer, ordinary_torch

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
    """Register your own network, corruption, penalty, optimiser or loss under a name.

    Estimators then accept it like the library's own. Saved models hold its name, not its code: register it again before
    `load_model`. Registering a name of yours again replaces the part.

    A name is registered in the calling process only. joblib's processes, as of `GridSearchCV(n_jobs=2)`, know it if the class
    and the call of `register` are in a module that they import, as that of a scorer, of a subclass of the estimator or of a
    corruption among its arguments. joblib's threads need nothing: `joblib.parallel_config("threading")`.

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
        For any other object, as an instance of these classes, or a name of the library.

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
            f"{part!r} is not a complete Network, Corruption, Penalty or Optimizer; see `help(hourglass.register)`."
        )
    if isinstance(part, tuple(base for base, _ in _DICTS.values())):
        raise ParameterError(
            f"an instance of {type(part).__name__}; register the class: register({name!r}, {type(part).__name__})."
        )
    if not callable(part):
        raise ParameterError(f"{part!r} is neither a class nor a function.")
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
"""(kind, name) of registered parts."""


def load_model(path: str | Path, *, network: Any = None, features: Any = None, device: str = "auto") -> Any:
    """Load a saved model.

    Parameters
    ----------
    path : path
        The model's folder.
    network : (encoder, decoder), optional
        For a model trained with your own torch modules, of which only weights are saved: new modules with the same
        parameters.
    features : torch module, optional
        For an `AnomalyDetector` that was fitted with `features`, which are not saved: the same module.
    device : str
        Device of the model: "auto", "cpu", "cuda", …

    Returns
    -------
    The fitted estimator, of the saved class.

    Raises
    ------
    FormatError
        If it is damaged, of another version, or not a model.
    ParameterError
        If it needs `network` or `features`, or these are others than in `fit`; if `device` cannot be used.
    """
    path = Path(os.path.expanduser(path))
    parts = read_model(path)
    if parts.name is None:
        raise FormatError(f"{path}: a trained model without an estimator; load it by hourglass.trained.Trained.load.")
    with untrusted(f"{path}: config.json does not describe a model that this version knows"), ordinary_torch():
        if parts.name not in ESTIMATORS:
            raise FormatError(f"{path}: unknown estimator {parts.name!r}; known: {', '.join(ESTIMATORS)}.")
        given = {name: part for name, part in (("network", network), ("features", features)) if part is not None}
        if features is not None and parts.name != AnomalyDetector.saved_as:
            raise ParameterError(f"{path}: features is for an AnomalyDetector; this is {parts.name!r}.")
        parameters = parts.parameters | {"device": device} | given
        model = ESTIMATORS[parts.name](**parameters)
        settings = restore_settings(parts.fitted) | ({} if network is None else {"network": network})
        if settings["network"] is None:
            raise ParameterError(f"{path}: trained with your own modules; pass network=(encoder, decoder).")
        model._check_parameters()
        sample, history = restore_sample(parts.fitted), restore_history(parts.fitted)
        model.model_ = Trained.of_weights(parts.weights, sample, settings, history, as_device(device))
        model.model_.data = restore_data(parts.fitted)
        model.n_features_in_ = int(parts.fitted["n_features_in"])
        if parts.fitted["feature_names_in"] is not None:
            model.feature_names_in_ = np.array(parts.fitted["feature_names_in"], dtype=object)
        model._restore(parts.state)
        model._try_out()
    return model


def from_pretrained(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    network: Any = None,
    features: Any = None,
    device: str = "auto",
) -> Any:
    """Load a model from a repository of the Hugging Face Hub, or of a server like it; `push_to_hub` puts one there.

    It is fetched into the hub's cache, and loaded from there when the server cannot be reached. Nothing that it holds is
    executed. Needs the extra `hourglass-autoencoders[hub]`.

    Parameters
    ----------
    repo_id : str
        "user/name" or "organisation/name".
    revision : str, optional
        A branch, a tag, or the hash of a commit, which never changes; by default "main".
    token : str, optional
        An access token, for private repositories; by default that of `hf auth login` or the environment variable HF_TOKEN.
    endpoint : str, optional
        The server's address; by default the environment variable HF_ENDPOINT, or else https://huggingface.co.
    network : (encoder, decoder), optional
        As for `load_model`.
    features : torch module, optional
        As for `load_model`.
    device : str
        As for `load_model`.

    Returns
    -------
    The fitted estimator, of the saved class.

    Raises
    ------
    DownloadError
        If the server cannot be reached, or has no such repository for you, and the cache has none.
    FormatError
        If the repository holds no model, or a damaged one.
    ParameterError
        If the extra is missing or the name is not valid; as `load_model`.
    """
    path = download(repo_id, revision=revision, token=token, endpoint=endpoint)
    return load_model(path, network=network, features=features, device=device)

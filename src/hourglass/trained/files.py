"""A fitted model as a folder: model.safetensors (weights), config.json (everything else), README.md (the model's card).

    config.json
        format        the version of this layout, an integer
        hourglass     the version of the library that wrote it
        estimator     the estimator's name in ESTIMATORS; null for a trained model alone
        parameters    the constructor's arguments
        fitted        everything else that was fitted: settings, layout (the sample), history, number of features, and the
                      estimator's state; its arrays are in the weights' file, under "learned:" and their name
        payload       name, size and SHA-256 of the weights' file: safetensors carries no checksum of its own
        sha256        of this file without this line

An index that grows is beside it, in index.json and segments (`hourglass.data.segments`), so that a save writes only what is
new; the format is then 2, else 1.

Loading executes no code: names are looked up in the library's dicts. The card may be edited; any change of the other two
files is an error.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from hourglass._version import __version__
from hourglass.corruption import Corruption, from_config, to_config
from hourglass.data.segments import Log, Table, digest_of_table
from hourglass.data.untrusted import untrusted
from hourglass.data.write import in_turn, replace_folder, standing_folder
from hourglass.errors import FormatError
from hourglass.images import Sample
from hourglass.networks import COMPOSED, NETWORKS, Network
from hourglass.objectives import LOSSES, Penalty
from hourglass.objectives.registry import from_config as penalty_from_config
from hourglass.objectives.registry import to_config as penalty_to_config
from hourglass.trained.card import TRAINED, Words, card

FORMAT, WITH_INDEX = 1, 2
_ARRAYS = "learned:"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


class Face(NamedTuple):
    """The part of a saved estimator beside its trained model.

    Attributes
    ----------
    name : str
        Its name in ESTIMATORS.
    title : str
        Its class, for the model's card.
    parameters : dict
        The constructor's arguments.
    n_features_in : int
    feature_names_in : ndarray of str, optional
    state : dict
        Fitted attributes beside the network: numbers, text and arrays.
    grown : (Log, Table), optional
        The index, saved row by row, and what is saved of it already.
    words : Words
        What the model's card says of it.
    """

    name: str
    title: str
    parameters: dict[str, Any]
    n_features_in: int
    feature_names_in: Any
    state: dict[str, Any]
    grown: tuple[Log, Table] | None = None
    words: Words = TRAINED


class Parts(NamedTuple):
    """The checked content of a model's folder."""

    name: str | None
    parameters: dict[str, Any]
    fitted: dict[str, Any]
    weights: dict[str, Tensor]
    arrays: dict[str, Any]
    grown: tuple[Log, Table] | None = None

    @property
    def state(self) -> dict[str, Any]:
        """Fitted attributes of the estimator beside the network."""
        state: dict[str, Any] = self.fitted["state"] | self.arrays
        return state if self.grown is None else state | {"grown": self.grown}


def write_model(
    path: Path,
    network: Network,
    sample: Sample,
    settings: dict[str, Any],
    history: list[dict[str, Any]],
    data: dict[str, Any],
    face: Face | None = None,
) -> None:
    """Write a trained model, and an estimator's `face`, to `path`; replace an existing model atomically.

    If only `face.grown` has changed since the model was read from `path` or written there, only that is written.
    """
    with in_turn(path):  # another process may be replacing it
        is_other = not path.name or (path.exists() and not (path / CONFIG).is_file())
    if is_other:
        raise FormatError(f"{path} exists and is no model; choose another name.")
    config, payload = _described(network, sample, settings, history, data, face)
    log, table = (None, None) if face is None or face.grown is None else face.grown
    if log is not None and table is not None and _holds(path, config) and log.append(path.resolve(), table):
        return
    with replace_folder(path) as folder:
        (folder / WEIGHTS).write_bytes(payload)
        (folder / CONFIG).write_text(_dump(config), encoding="utf-8")
        title, words = ("Trained model", TRAINED) if face is None else (face.title, face.words)
        n_weights = sum(parameter.numel() for parameter in network.parameters())
        (folder / CARD).write_text(card(title, words, sample, n_weights, config), encoding="utf-8")
        if log is not None and table is not None:
            log.write(folder, table, config["sha256"])


def _described(
    network: Network,
    sample: Sample,
    settings: dict[str, Any],
    history: list[dict[str, Any]],
    data: dict[str, Any],
    face: Face | None,
) -> tuple[dict[str, Any], bytes]:
    """(config.json, the weights' file)"""
    state = {} if face is None else face.state
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in network.state_dict().items()}
    arrays = {key: value for key, value in state.items() if _is_numeric(value)}
    tensors |= {f"{_ARRAYS}{key}": torch.from_numpy(np.array(value, order="C")) for key, value in arrays.items()}
    payload = to_bytes(tensors)
    config = {
        "format": FORMAT if face is None or face.grown is None else WITH_INDEX,
        "hourglass": __version__,
        "estimator": None if face is None else face.name,
        "parameters": {} if face is None else {key: _to_json(value) for key, value in face.parameters.items()},
        "fitted": {
            "settings": {key: _to_json(value) for key, value in settings.items()},
            "layout": asdict(sample),
            "history": history,
            "data": data,
            "n_features_in": None if face is None else face.n_features_in,
            "feature_names_in": None if face is None else _to_json(face.feature_names_in),
            "state": {key: _to_json(value) for key, value in state.items() if key not in arrays},
        },
        "payload": {"file": WEIGHTS, "bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()},
    }
    config["sha256"] = hashlib.sha256(_dump(config).encode()).hexdigest()
    return config, payload


def _holds(path: Path, config: dict[str, Any]) -> bool:
    """Whether the model at `path` is that of `config` but for its index, the device that it runs on, and who wrote it."""

    def essence(of_model: dict[str, Any]) -> list[Any]:
        parameters = {key: value for key, value in of_model["parameters"].items() if key != "device"}
        return [parameters, *(of_model[key] for key in ("format", "estimator", "fitted", "payload"))]

    try:
        return essence(read_config(path)) == essence(json.loads(_dump(config)))
    except FormatError:  # none there, or damaged: it is replaced
        return False


def read_model(path: Path) -> Parts:
    """The checked content of the model folder `path`. Raises FormatError if it is missing or damaged."""
    with in_turn(path):  # reads the old or the new version of a model that is being replaced
        path = standing_folder(path)
        config = read_config(path)
        weights, arrays = _split(_read_weights(path, config))
        log, table = Log(), None
        if config["format"] == WITH_INDEX:
            table = log.read(path, config["sha256"])
    with untrusted(f"{path}: config.json does not describe a model that this version knows"):
        grown = None if table is None else (log, table)
        return Parts(config["estimator"], _all_from_json(config["parameters"]), config["fitted"], weights, arrays, grown)


def read_config(path: Path) -> dict[str, Any]:
    """The checked config.json of the model folder `path`. Raises FormatError if it is missing or damaged."""
    file = path / CONFIG
    if not file.is_file():
        what = "no model (a folder with config.json and model.safetensors)" if path.exists() else "no such model"
        raise FormatError(f"{path}: {what}.")
    try:
        text = file.read_bytes().decode()
        config: dict[str, Any] = json.loads(text)
        ending = f',\n "sha256": "{config["sha256"]}"\n}}\n'
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{file}: damaged, not valid JSON ({error}).") from error
    rest = text.removesuffix(ending) + "\n}\n"  # as text: serialising a hostile tree again could make it grow
    if not text.endswith(ending) or config["sha256"] != hashlib.sha256(rest.encode()).hexdigest():
        raise FormatError(f"{file}: damaged or edited (SHA-256 differs). Copy the model again, or save it again.")
    if config.get("format") not in (FORMAT, WITH_INDEX):
        raise FormatError(
            f"{path}: model format {config.get('format')!r}, written by version {config.get('hourglass')}; this version reads "
            f"formats {FORMAT} and {WITH_INDEX}. Upgrade hourglass."
        )
    return config


def digest_of(path: Path) -> str:
    """A SHA-256 of the model folder `path`, its index included. Raises FormatError if it is damaged."""
    config = read_config(path)
    known: str = config["sha256"]
    if config["format"] != WITH_INDEX:
        return known
    return hashlib.sha256(f"{known} {digest_of_table(path)}".encode()).hexdigest()


def _read_weights(path: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """The checked weights of the model folder `path`. Raises FormatError if they are missing or damaged."""
    file = path / WEIGHTS
    if not file.is_file():
        raise FormatError(f"{path}: {WEIGHTS} is missing.")
    with untrusted(f"{path / CONFIG}: does not describe the weights"):
        named, n_bytes, claimed = (config["payload"][name] for name in ("file", "bytes", "sha256"))
    if named != WEIGHTS:
        raise FormatError(f"{path / CONFIG}: names {named!r} as the weights; allowed: {WEIGHTS}.")
    if (size := file.stat().st_size) != n_bytes:
        raise FormatError(f"{file}: damaged ({size} bytes for {n_bytes}). Copy the model again, or save it again.")
    payload = file.read_bytes()
    if hashlib.sha256(payload).hexdigest() != claimed:
        raise FormatError(f"{file}: damaged (SHA-256 differs). Copy the model again, or save it again.")
    try:
        return from_bytes(payload)
    except SafetensorError as error:
        raise FormatError(f"{file}: not a safetensors file ({error}).") from error


def _all_from_json(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _from_json(value) for key, value in values.items()}


def _split(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(the network's weights, the estimator's own arrays)"""
    weights = {key: tensor for key, tensor in tensors.items() if not key.startswith(_ARRAYS)}
    arrays = {key.removeprefix(_ARRAYS): tensor.numpy() for key, tensor in tensors.items() if key.startswith(_ARRAYS)}
    invalid = [key for key, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if invalid:
        raise FormatError(f"fitted attributes hold numbers that are not finite ({', '.join(invalid)}).")
    return weights, arrays


def restore_settings(fitted: dict[str, Any]) -> dict[str, Any]:
    """The settings of training."""
    settings = _all_from_json(fitted["settings"])
    corruption, penalty = settings["corruption"], settings["penalty"]
    penalties = penalty if isinstance(penalty, tuple) else (penalty,)
    if not isinstance(corruption, Corruption | None) or not all(isinstance(one, Penalty | None) for one in penalties):
        raise TypeError(f"corruption {corruption!r}, penalty {penalty!r}")
    known_names: dict[str, Collection[str]] = {"network": {**NETWORKS, **COMPOSED}, "loss": LOSSES}
    for kind, known in known_names.items():
        name = settings[kind]
        if isinstance(name, str) and name not in known:
            raise FormatError(f"it needs the {kind} {name!r}, which is unknown; call hourglass.register first.")
    return settings


def restore_history(fitted: dict[str, Any]) -> list[dict[str, Any]]:
    history = [dict(row) for row in fitted["history"]]
    for row in history:
        if not all(isinstance(row[name], float | int) for name in ("epoch", "loss")):
            raise TypeError(f"a row of history: {row}")
    return history


def restore_data(fitted: dict[str, Any]) -> dict[str, Any]:
    """What was recorded of the training data; nothing in models of before."""
    data = dict(fitted.get("data", {}))
    kinds = {"name": str, "samples": int, "held_out": int, "pairs": bool}
    for name, value in data.items():
        if type(value) is not kinds[name]:
            raise TypeError(f"{name} of the training data: {value!r}")
    return data


def restore_sample(fitted: dict[str, Any]) -> Sample:
    return _checked_sample(**fitted["layout"])


def _checked_sample(shape: list[int | None], offset: Any, scale: Any, white: float | None = None) -> Sample:
    is_any_size = len(shape) > 1 and shape[:2] == [None, None]
    known = shape[2:] if is_any_size else shape
    is_shape = 1 <= len(shape) <= 3 and all(type(length) is int and length > 0 for length in known)
    by_column = isinstance(offset, list) and len(shape) == 1 and len(offset) == len(scale) == shape[0]
    offsets, scales = (offset, scale) if by_column else ([offset], [scale])
    numbers = [float(number) for number in [*offsets, *scales, 1.0 if white is None else white]]
    if not is_shape or not all(map(math.isfinite, numbers)) or min(numbers[len(offsets) :]) <= 0:
        raise ValueError(f"shape {shape}, offset {offset}, scale {scale}, white {white} are not a sample")
    if by_column:
        offset, scale = tuple(offset), tuple(scale)
    return Sample(tuple(shape), offset, scale, white)


def _to_json(value: Any) -> Any:
    """Convert `value` to JSON; None for what JSON cannot hold, as modules or a random state."""
    if isinstance(value, Corruption):
        return {"corruption": to_config(value)}
    if isinstance(value, Penalty):
        return {"penalty": penalty_to_config(value)}
    if isinstance(value, (list, tuple)):
        plain = [_to_json(item) for item in value]
        return None if any(item is None for item in plain) else plain
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if value is None or isinstance(value, (bool, int, float, str)) else None


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_from_json(item) for item in value)
    if isinstance(value, dict) and "corruption" in value:
        return from_config(value["corruption"])
    if isinstance(value, dict) and "penalty" in value:
        return penalty_from_config(value["penalty"])
    return value


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _dump(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=1) + "\n"

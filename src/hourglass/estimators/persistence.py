"""A fitted model as a folder: model.safetensors (weights), config.json (everything else), README.md (the model's card).

    config.json
        format        the version of this layout, an integer
        hourglass     the version of the library that wrote it
        estimator     the estimator's name in ESTIMATORS
        parameters    the constructor's arguments
        fitted        what was learned beside the weights: settings, layout, history, number of features, and the
                      estimator's own state; its arrays stand beside the weights, under "learned:" and their name
        payload       name, size and SHA-256 of the weights' file: safetensors carries no checksum of its own
        sha256        of this file without this line

Nothing in it is executed: names are looked up in the library's own dicts. The card may be edited; the other two files are
refused if one bit has changed.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from hourglass._version import __version__
from hourglass.corruption import Corruption, from_config, to_config
from hourglass.data.untrusted import untrusted
from hourglass.data.write import in_turn, replace_folder
from hourglass.errors import FormatError
from hourglass.images import Layout
from hourglass.objectives import Penalty
from hourglass.objectives.registry import from_config as penalty_from_config
from hourglass.objectives.registry import to_config as penalty_to_config

if TYPE_CHECKING:
    from torch import Tensor

    from hourglass.estimators.arguments import CheckedEstimator

FORMAT = 1
_LEARNED = "learned:"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def write_model(model: CheckedEstimator, name: str, path: Path, state: dict[str, Any]) -> None:
    """Write the fitted `model`, and `state`, beside `path`, then rename; a model that was there is replaced."""
    with in_turn(path):  # another may be about to replace it
        is_other = not path.name or (path.exists() and not (path / CONFIG).is_file())
    if is_other:
        raise FormatError(f"{path} exists and is no model; choose another name.")
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in model.network_.state_dict().items()}
    arrays = {key: value for key, value in state.items() if _is_numeric(value)}
    tensors |= {f"{_LEARNED}{key}": torch.from_numpy(np.array(value, order="C")) for key, value in arrays.items()}
    payload = to_bytes(tensors)
    config = {
        "format": FORMAT,
        "hourglass": __version__,
        "estimator": name,
        "parameters": {key: _plain(value) for key, value in model.get_params(deep=False).items()},
        "fitted": {
            "settings": {key: _plain(value) for key, value in model.settings_.items()},
            "layout": asdict(model.layout_),
            "history": model.history_,
            "n_features_in": model.n_features_in_,
            "feature_names_in": _plain(getattr(model, "feature_names_in_", None)),
            "state": {key: _plain(value) for key, value in state.items() if key not in arrays},
        },
        "payload": {"file": WEIGHTS, "bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()},
    }
    config["sha256"] = hashlib.sha256(_dump(config).encode()).hexdigest()
    with replace_folder(path) as folder:
        (folder / WEIGHTS).write_bytes(payload)
        (folder / CONFIG).write_text(_dump(config), encoding="utf-8")
        (folder / CARD).write_text(_card(model, config), encoding="utf-8")


def read_config(path: Path) -> dict[str, Any]:
    """The checked config.json of the model folder `path`. FormatError if there is none, or it is damaged."""
    file = path / CONFIG
    if not file.is_file():
        what = "no model (a folder with config.json and model.safetensors)" if path.exists() else "no such model"
        raise FormatError(f"{path}: {what}.")
    try:
        text = file.read_bytes().decode()
        config: dict[str, Any] = json.loads(text)
        ending = f',\n "sha256": "{config["sha256"]}"\n}}\n'
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{file}: damaged, not the JSON that was written ({error}).") from error
    rest = text.removesuffix(ending) + "\n}\n"  # as text: a hostile tree would grow when it is written anew
    if not text.endswith(ending) or config["sha256"] != hashlib.sha256(rest.encode()).hexdigest():
        raise FormatError(f"{file}: damaged or edited (SHA-256 differs). Copy the model again, or save it anew.")
    if config.get("format") != FORMAT:
        raise FormatError(
            f"{path}: model format {config.get('format')!r}, written by version {config.get('hourglass')}; this version reads "
            f"format {FORMAT}. Upgrade hourglass."
        )
    return config


def read_weights(path: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """The checked weights of the model folder `path`. FormatError if they are missing or damaged."""
    file = path / WEIGHTS
    if not file.is_file():
        raise FormatError(f"{path}: {WEIGHTS} is missing.")
    with untrusted(f"{path / CONFIG}: does not say which weights are the model's"):
        named, n_bytes, claimed = (config["payload"][name] for name in ("file", "bytes", "sha256"))
    if named != WEIGHTS:
        raise FormatError(f"{path / CONFIG}: names {named!r} for the weights; allowed: {WEIGHTS}.")
    if (size := file.stat().st_size) != n_bytes:
        raise FormatError(f"{file}: damaged ({size} bytes for {n_bytes}). Copy the model again, or save it anew.")
    payload = file.read_bytes()
    if hashlib.sha256(payload).hexdigest() != claimed:
        raise FormatError(f"{file}: damaged (SHA-256 differs). Copy the model again, or save it anew.")
    try:
        return from_bytes(payload)
    except SafetensorError as error:
        raise FormatError(f"{file}: not a safetensors file ({error}).") from error


def restore_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments as they were."""
    return {key: _restored(value) for key, value in parameters.items()}


def split_weights(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(the network's weights, the estimator's own arrays)"""
    weights = {key: tensor for key, tensor in tensors.items() if not key.startswith(_LEARNED)}
    arrays = {key.removeprefix(_LEARNED): tensor.numpy() for key, tensor in tensors.items() if key.startswith(_LEARNED)}
    strange = [key for key, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    if strange:
        raise FormatError(f"what was learned holds numbers that are not finite ({', '.join(strange)}).")
    return weights, arrays


def restore_fitted(model: CheckedEstimator, fitted: dict[str, Any]) -> None:
    """Set on `model` what was learned beside the weights."""
    model.layout_ = _checked_layout(**fitted["layout"])
    model.settings_ = restore_parameters(fitted["settings"])
    corruption, penalty = model.settings_["corruption"], model.settings_["penalty"]
    penalties = penalty if isinstance(penalty, tuple) else (penalty,)
    if not isinstance(corruption, Corruption | None) or not all(isinstance(one, Penalty | None) for one in penalties):
        raise TypeError(f"corruption {corruption!r}, penalty {penalty!r}")
    model.history_ = [dict(row) for row in fitted["history"]]
    for row in model.history_:
        if not all(isinstance(row[name], float | int) for name in ("epoch", "loss")):
            raise TypeError(f"a row of history: {row}")
    model.n_iter_ = len(model.history_)
    model.n_features_in_ = int(fitted["n_features_in"])
    if fitted["feature_names_in"] is not None:
        model.feature_names_in_ = np.array(fitted["feature_names_in"], dtype=object)


def _checked_layout(shape: list[int], offset: Any, scale: Any, white: float | None = None) -> Layout:
    is_shape = 1 <= len(shape) <= 3 and all(type(side) is int and side > 0 for side in shape)
    by_column = isinstance(offset, list) and len(shape) == 1 and len(offset) == len(scale) == shape[0]
    offsets, scales = (offset, scale) if by_column else ([offset], [scale])
    numbers = [float(number) for number in [*offsets, *scales, 1.0 if white is None else white]]
    if not is_shape or not all(map(math.isfinite, numbers)) or min(numbers[len(offsets) :]) <= 0:
        raise ValueError(f"shape {shape}, offset {offset}, scale {scale}, white {white} are no layout of samples")
    if by_column:
        offset, scale = tuple(offset), tuple(scale)
    return Layout(tuple(shape), offset, scale, white)


def _plain(value: Any) -> Any:
    """`value` as JSON has it; what JSON cannot have (modules of one's own, a random state) as None."""
    if isinstance(value, Corruption):
        return {"corruption": to_config(value)}
    if isinstance(value, Penalty):
        return {"penalty": penalty_to_config(value)}
    if isinstance(value, (list, tuple)):
        plain = [_plain(item) for item in value]
        return None if any(item is None for item in plain) else plain
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if value is None or isinstance(value, (bool, int, float, str)) else None


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_restored(item) for item in value)
    if isinstance(value, dict) and "corruption" in value:
        return from_config(value["corruption"])
    if isinstance(value, dict) and "penalty" in value:
        return penalty_from_config(value["penalty"])
    return value


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _dump(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=1) + "\n"


def _card(model: CheckedEstimator, config: dict[str, Any]) -> str:
    """The model's card: what it is, how it was made, how to use it."""
    settings, rows = config["fitted"]["settings"], model.history_
    epochs = "\n".join(
        f"| {row['epoch']} | {row['loss']:.5f} | "
        f"{'' if row['validation_loss'] is None else format(row['validation_loss'], '.5f')} |"
        for row in rows
    )
    values = "\n".join(f"| {key} | `{json.dumps(value)}` |" for key, value in settings.items())
    parameters = sum(parameter.numel() for parameter in model.network_.parameters())
    return f"""# {type(model).__name__}

Made by hourglass {config["hourglass"]}. Takes samples of shape {model.layout_.shape} and makes codes of
{settings["n_components"]} numbers; {parameters:,} weights.

```python
import hourglass as hg

model = hg.load_model("path/to/this/folder")
```

| setting | value |
| --- | --- |
{values}

| epoch | loss | validation loss |
| --- | --- | --- |
{epochs}

Weights: `{WEIGHTS}`, {config["payload"]["bytes"]:,} bytes, SHA-256 `{config["payload"]["sha256"]}`.
"""

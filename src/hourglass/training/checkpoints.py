"""Checkpoints: a safetensors file with the state of a run and its SHA-256, replaced atomically."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from hourglass.data.untrusted import untrusted
from hourglass.data.write import replace_file
from hourglass.errors import FormatError, ParameterError
from hourglass.training.random_state import random_state, seeded_globally, set_random_state
from hourglass.training.run import Callback, Mean, Run

FORMAT = 3
SECONDS = 60.0
"""Interval of checkpoints within an epoch. Assign to it to change it."""
_ROW = ("epoch", "loss", "validation_loss", "learning_rate", "seconds", "images_per_second")


class WriteCheckpoint(Callback):
    """Save the run to the file `path` after every epoch, and every `seconds` within one.

    A run must have the same `identity` to resume from it.
    """

    writes = True

    def __init__(self, path: Path, identity: dict[str, Any], seconds: float | None = None) -> None:
        self.path, self.identity = path, identity
        self.seconds = SECONDS if seconds is None else seconds
        self._saved = time.monotonic()

    def on_batch_end(self, run: Run) -> None:
        if time.monotonic() - self._saved >= self.seconds:
            self._save(run)

    def on_epoch_end(self, run: Run) -> None:
        self._save(run)

    def _save(self, run: Run) -> None:
        """Save unless the run diverged: the last good checkpoint then stays."""
        if math.isfinite(float(run.losses.total)) and all(bool(p.isfinite().all()) for p in run.network.parameters()):
            save_checkpoint(self.path, run, self.identity)
        self._saved = time.monotonic()


def save_checkpoint(path: Path, run: Run, identity: dict[str, Any]) -> None:
    """Write network, optimiser, random state, history and best weights of `run` beside `path`, then rename."""
    tensors = {f"network.{name}": tensor for name, tensor in run.network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in (run.best or {}).items()}
    for index, parameter in enumerate(run.optimizer.parameters):
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in run.optimizer.state[parameter].items()}
    order, noise = run.drawn if run.batch else (run.order.get_state(), run.noise.get_state())
    tensors |= {"random.order": order, "random.noise": noise, "random.chance": random_state(run.device)}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    state = json.dumps(
        {
            "format": FORMAT,
            "identity": identity,
            "epoch": run.epoch,
            "step": run.step,
            "batch": run.batch,
            "losses": [float(run.losses.total), int(run.losses.count)],
            "stop": run.stop,
            "history": run.history,
        },
        sort_keys=True,
    )
    with replace_file(path) as beside:
        beside.write_bytes(to_bytes(tensors, {"state": state, "sha256": _digest(tensors, state)}))


def load_checkpoint(path: Path, run: Run, identity: dict[str, Any]) -> None:
    """Restore the checkpoint, if it exists, into `run`, a new run with the same settings.

    Rank 0 reads it for all processes: other hosts need not have the file.

    Raises
    ------
    FormatError
        If the file is damaged or of another version.
    ParameterError
        If it was made with other settings or other data.
    """
    content = run.processes.from_first(lambda: _read(path))
    if content is None:
        return
    try:
        tensors: dict[str, Tensor] = from_bytes(content)
        metadata: dict[str, str] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__") or {}
    except (SafetensorError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from error
    with untrusted(f"{path}: not what a checkpoint holds"):
        if metadata.get("sha256") != _digest(tensors, metadata.get("state", "")):
            raise FormatError(f"{path}: damaged (SHA-256 differs). Start again without resume.")
        _restore(path, run, json.loads(metadata["state"]), identity, tensors)


def _read(path: Path) -> bytes | None:
    """The content of the file; None if it does not exist."""
    try:
        return path.read_bytes() if path.exists() else None
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> FormatError:
    return FormatError(f"{path}: not a readable checkpoint ({error}). Start again without resume.")


def _restore(path: Path, run: Run, state: dict[str, Any], identity: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    if state["format"] != FORMAT:
        raise FormatError(f"{path}: checkpoint format {state['format']}; this version reads {FORMAT}.")
    wanted = json.loads(json.dumps(identity))  # tuples as JSON has them
    differing = [name for name in wanted if state["identity"].get(name) != wanted[name]]
    if differing:
        changes = ", ".join(f"{name} {state['identity'].get(name)!r} -> {wanted[name]!r}" for name in differing)
        raise ParameterError(f"{path}: made by another run ({changes}). Use its settings, or start without resume.")

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    run.optimizer.begin()  # creates the state to compare with
    weights, own = run.network.state_dict(), _optimizer_state(run)
    _check_like(part("network."), weights, path)
    _check_like(part("optimizer."), own, path)
    run.best = part("best.") or None
    if run.best is not None:
        _check_like(run.best, weights, path)
    run.network.load_state_dict(part("network."))
    for name, tensor in part("optimizer.").items():
        own[name].copy_(tensor)
    run.order.set_state(tensors["random.order"])
    run.noise.set_state(tensors["random.noise"])
    run.epoch, run.step, run.stop = int(state["epoch"]), int(state["step"]), bool(state["stop"])
    run.batch, run.losses = int(state["batch"]), _checked_mean(state["losses"])
    if run.batch:
        with seeded_globally(None):
            set_random_state(run.device, tensors["random.chance"])  # validates it
        run.random_state = tensors["random.chance"] if run.processes.is_first else None  # that of other ranks is not saved
    run.history = [_checked_row(row) for row in state["history"]]
    measured = {row["validation_loss"] is not None for row in run.history}
    is_begun = run.batch > 0 and run.losses.count > 0
    if not 0 <= run.epoch == len(run.history) or run.epoch + is_begun < 1 or len(measured) > 1 or not 0 <= run.batch < 1 << 40:
        raise FormatError(f"{path}: its history of {len(run.history)} epochs does not fit {run.epoch} epochs.")
    if not run.epoch + run.batch <= run.step < 1 << 40:
        raise FormatError(f"{path}: {run.step} steps do not fit {run.epoch} epochs and {run.batch} batches.")
    if identity.get("early_stopping") and run.history and measured != {True}:
        raise FormatError(f"{path}: early stopping needs the validation loss of every epoch.")


def _optimizer_state(run: Run) -> dict[str, Tensor]:
    """The optimiser's state, by index of the parameter and name."""
    return {
        f"{index}.{name}": tensor
        for index, parameter in enumerate(run.optimizer.parameters)
        for name, tensor in run.optimizer.state[parameter].items()
    }


def _check_like(given: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> None:
    """Raise FormatError unless names, shapes and dtypes agree: the fused step does not check them."""
    if {name: (t.shape, t.dtype) for name, t in given.items()} != {name: (t.shape, t.dtype) for name, t in wanted.items()}:
        raise FormatError(f"{path}: its tensors do not match this run.")


def _checked_mean(parts: Any) -> Mean:
    total, count = parts
    largest = torch.finfo(torch.float32).max  # on a GPU their sum is a float32
    if type(total) is not float or not abs(total) <= largest or type(count) is not int or count < 0:
        raise FormatError(f"the losses of its epoch are {parts!r}.")
    return Mean(total, count)


def _checked_row(row: dict[str, Any]) -> dict[str, Any]:
    checked = {name: row[name] for name in _ROW}
    for name, value in checked.items():
        if not (name == "validation_loss" and value is None) and (type(value) not in (int, float) or not math.isfinite(value)):
            raise FormatError(f"a row of its history says {name} {value!r}.")
    return checked


def _digest(tensors: dict[str, Tensor], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

"""What torch keeps for the whole process: its random state, which initial weights draw from, and how a GPU convolves."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_lock = threading.RLock()
_settings_lock = threading.Lock()


def _renew_locks() -> None:
    """In a forked process the thread that holds a lock does not exist, and cannot release it."""
    global _lock, _settings_lock
    _lock, _settings_lock = threading.RLock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


@contextlib.contextmanager
def seeded_globally(seed: int | None, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generator, also of a CUDA `device`, and set the default dtype to float32; restore both at the end.

    All Python threads share them, so the context holds a lock.
    """
    on_gpu = device is not None and device.type == "cuda"
    current_device = torch.cuda.device(device) if on_gpu else contextlib.nullcontext()
    with _lock, current_device, torch.random.fork_rng([device] if on_gpu else []):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs
            if on_gpu:
                torch.cuda.manual_seed(seed)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


@contextlib.contextmanager
def ordinary_torch() -> Iterator[None]:
    """A context with gradients, new tensors on the CPU and no autocast, whatever the caller has set for this thread."""
    with contextlib.ExitStack() as contexts:
        contexts.enter_context(torch.inference_mode(False))
        if torch.empty(0).device.type != "cpu":  # a device in force slows every call, so only where one is already
            contexts.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                contexts.enter_context(torch.autocast(kind, enabled=False))
        yield


_n_exact = 0
_settings_before: tuple[Any, ...] = ()


@contextlib.contextmanager
def exact_convolutions(device: torch.device) -> Iterator[None]:
    """On a CUDA `device`, convolutions in float32 and with the same bits each time.

    By default cuDNN rounds their inputs to TF32, ten bits of mantissa, and adds gradients in any order. Its settings are those
    of the process: the first thread that comes changes them, and the last that leaves restores them.
    """
    global _n_exact, _settings_before  # noqa: PLW0603  # of the process, as cuDNN's settings are
    if device.type != "cuda":
        yield
        return
    with _settings_lock:
        if not _n_exact:
            _settings_before = _cudnn(deterministic=True, benchmark=False, precision="ieee" if _NAMES_PRECISIONS else False)
        _n_exact += 1
    try:
        yield
    finally:
        with _settings_lock:
            _n_exact -= 1
            if not _n_exact:
                _cudnn(*_settings_before)


_NAMES_PRECISIONS = hasattr(torch.backends.cudnn, "conv")
"""Whether torch has `fp32_precision`, from 2.9 on; it raises if a program mixes this with `allow_tf32`."""


def _cudnn(deterministic: bool, benchmark: bool, precision: Any) -> tuple[bool, bool, Any]:
    """Set cuDNN's settings for convolutions, and return those before."""
    cudnn: Any = torch.backends.cudnn
    holder, name = (cudnn.conv, "fp32_precision") if _NAMES_PRECISIONS else (cudnn, "allow_tf32")
    before = cudnn.deterministic, cudnn.benchmark, getattr(holder, name)
    cudnn.deterministic, cudnn.benchmark = deterministic, benchmark
    setattr(holder, name, precision)
    return before


def random_state(device: torch.device) -> Tensor:
    """The state of torch's global generator for `device`."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.default_generator.get_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Set the state of torch's global generator for `device`."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.default_generator.set_state(state)

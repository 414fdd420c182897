"""torch's global random state: initial weights are drawn from it, and so do layers such as dropout."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

_held = threading.RLock()


def _renew_lock() -> None:
    """In a forked process the thread that held the lock does not exist, and cannot release it."""
    global _held  # noqa: PLW0603
    _held = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@contextlib.contextmanager
def seeded_globally(seed: int | None, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's own generator, also that of a CUDA `device`, and make float32 its default dtype; restore both at the end.

    All Python threads of a process share them, so one thread at a time is within.
    """
    on_gpu = device is not None and device.type == "cuda"
    its_own = torch.cuda.device(device) if on_gpu else contextlib.nullcontext()  # among several GPUs
    with _held, its_own, torch.random.fork_rng([device] if on_gpu else []):
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


def random_state(device: torch.device) -> Tensor:
    """The state of torch's own generator for `device`."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.default_generator.get_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Let torch's own generator for `device` go on from `state`."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.default_generator.set_state(state)

"""Matrix products on the CPU, by the faster of the two libraries that torch includes: MKL and oneDNN."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

ONEDNN_FROM = 3_000_000
"""Multiplications from which oneDNN makes up for its slower call, some 10 µs more than MKL's."""
ONEDNN_INNER = 64
"""Inner size from which it makes up for a copy of the result."""


def is_large(rows: int, inner: int, columns: int) -> bool:
    """Whether the product of (rows, inner) and (inner, columns) goes to oneDNN."""
    return inner >= ONEDNN_INNER and rows * inner * columns >= ONEDNN_FROM and prefers_onednn()


@functools.lru_cache(maxsize=1)
def prefers_onednn() -> bool:
    """Whether large products use oneDNN on this machine.

    MKL uses its AVX-512 kernels on Intel processors only, oneDNN on any with AVX-512: on an AMD EPYC of 2024 it multiplies
    twice as fast (`make performance` measures both). A fixed rule, not a timing, so that a seed gives the same bits.
    """
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_both and _LINEAR is not None and torch.backends.cpu.get_cpu_capability() == "AVX512" and not _is_intel()


def product_call(left: Tensor, right: Tensor) -> Callable[[], Tensor]:
    """Left @ right by oneDNN, for float32 matrices on the CPU, as a call without arguments; not differentiable."""
    if left.is_contiguous() or left.numel() <= right.numel():
        return linear_call(left, right.mT)
    transposed = linear_call(right.mT, left)  # oneDNN copies a transposed left factor: put the smaller one there
    return lambda: transposed().mT


def linear_call(
    inputs: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none", constants: Sequence[float] = ()
) -> Callable[[], Tensor]:
    """activation(inputs @ weightᵀ + bias) by oneDNN, as a call without arguments.

    `activation` is none, sigmoid or leaky_relu; `constants` holds its negative slope.
    """
    assert _LINEAR is not None  # otherwise `prefers_onednn` is False
    return partial(_LINEAR, inputs, weight, bias, activation, list(constants), "")


_LINEAR: Callable[..., Tensor] | None = getattr(getattr(torch.ops.mkldnn, "_linear_pointwise", None), "default", None)
"""Private operator of torch's compiler. If it is missing, all products use torch's public functions."""


def _is_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return True

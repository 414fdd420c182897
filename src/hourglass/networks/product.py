"""Matrix products on the CPU, by the faster of the two libraries that torch brings: MKL and oneDNN."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

ONEDNN_FROM = 3_000_000
"""Multiplications from which oneDNN is worth its dearer call: some 10 µs more than MKL's."""
ONEDNN_INNER = 64
"""Inner size from which it is worth a copy of the answer."""


def is_large(rows: int, inner: int, columns: int) -> bool:
    """Whether the product of (rows, inner) and (inner, columns) goes to oneDNN."""
    return inner >= ONEDNN_INNER and rows * inner * columns >= ONEDNN_FROM and prefers_onednn()


@functools.lru_cache(maxsize=1)
def prefers_onednn() -> bool:
    """Whether large products go to oneDNN here.

    MKL takes its AVX-512 kernels on Intel's processors alone, oneDNN wherever there is AVX-512: on an AMD EPYC of 2024 it
    multiplies twice as fast (`make performance` measures both). A rule and no trial: the same seed shall give the same bits.
    """
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_both and _LINEAR is not None and torch.backends.cpu.get_cpu_capability() == "AVX512" and not _is_intel()


def product_call(left: Tensor, right: Tensor) -> Callable[[], Tensor]:
    """Left @ right by oneDNN, for matrices of float32 on the CPU, as a call without arguments; without derivative."""
    if left.is_contiguous() or left.numel() <= right.numel():
        return linear_call(left, right.mT)
    transposed = linear_call(right.mT, left)  # oneDNN copies a left factor that is transposed: the smaller one stands there
    return lambda: transposed().mT


def linear_call(
    inputs: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none", constants: Sequence[float] = ()
) -> Callable[[], Tensor]:
    """activation(inputs @ weightᵀ + bias) by oneDNN, as a call without arguments.

    `activation` is none, sigmoid or leaky_relu, its slope in `constants`.
    """
    assert _LINEAR is not None  # without it `prefers_onednn` says no
    return partial(_LINEAR, inputs, weight, bias, activation, list(constants), "")


_LINEAR: Callable[..., Tensor] | None = getattr(getattr(torch.ops.mkldnn, "_linear_pointwise", None), "default", None)
"""What torch's own compiler calls. It is private: where it is missing, all products go torch's public way."""


def _is_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return True

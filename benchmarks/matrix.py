"""The matrix rate of the machine, and the number of operations in a network, to give times as shares of that rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

import torch

SIDE = 2048
"""Rows and columns of the square matrices whose product is timed."""
TORCH, ONEDNN = "torch.mm", "oneDNN"
Rates = dict[str, list[float]]
"""Library -> GFLOP/s of each product."""


def matrix_rates(repeats: int, side: int = SIDE) -> Rates:
    """Return the GFLOP/s of float32 products of two matrices of `side`² on all threads.

    They are computed by torch.mm, and by oneDNN where it is faster, called as the library's own products call it.
    """
    from hourglass.networks.product import linear_call, prefers_onednn  # a peer that counts its work does not load it

    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(side, side, generator=generator) for _ in range(2))
    made = torch.empty(side, side)
    products: dict[str, Callable[[], object]] = {TORCH: lambda: torch.mm(left, right, out=made)}
    if prefers_onednn():
        products[ONEDNN] = linear_call(left, right)
    rates: Rates = {name: [] for name in products}
    with torch.inference_mode():
        for turn in range(repeats + 1):
            for name, product in products.items():
                start = time.perf_counter()
                product()
                seconds = time.perf_counter() - start
                if turn:  # the first product allocates memory and starts threads
                    rates[name].append(2 * side**3 / seconds / 1e9)
    return rates


def together(before: Rates, after: Rates) -> dict[str, dict[str, float]]:
    """Return library -> median and best rate over both measurements, in GFLOP/s."""
    both = {name: before[name] + after[name] for name in before}
    return {name: {"median": median(rates), "best": max(rates)} for name, rates in both.items()}


def training_work(widths: Sequence[int]) -> int:
    """Return the multiplications and additions to train on one image, with fully connected layers of `widths`.

    The forward pass, and the gradients with respect to weights and to inputs, without that with respect to the image.
    """
    return 3 * forward_work(widths) - 2 * widths[0] * widths[1]


def forward_work(widths: Sequence[int]) -> int:
    """Return the multiplications and additions of one image's forward pass through fully connected layers of `widths`."""
    return 2 * sum(before * after for before, after in pairwise(widths))

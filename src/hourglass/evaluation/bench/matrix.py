"""The machine's matrix rate, and the arithmetic in a network: what a time is a share of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

import torch

from hourglass.networks.product import linear_call, prefers_onednn

SIDE = 2048
"""Of the square matrices whose product is the rate."""
TORCH, ONEDNN = "torch.mm", "oneDNN"
Rates = dict[str, list[float]]
"""Library -> GFLOP/s of each product."""


def matrix_rates(repeats: int, side: int = SIDE) -> Rates:
    """GFLOP/s of float32 products of two matrices of `side`², with all threads: by torch.mm, and by oneDNN where it is faster.

    oneDNN is asked in the way in which the library's own products ask it.
    """
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
                if turn:  # the first one makes memory and threads
                    rates[name].append(2 * side**3 / seconds / 1e9)
    return rates


def together(before: Rates, after: Rates) -> dict[str, dict[str, float]]:
    """Library -> its median and best rate over both, in GFLOP/s."""
    both = {name: before[name] + after[name] for name in before}
    return {name: {"median": median(rates), "best": max(rates)} for name, rates in both.items()}


def training_work(widths: Sequence[int]) -> int:
    """Multiplications and additions to train on one image, with fully connected layers of `widths`, from input to output.

    Forward, and back by weights and by inputs; the gradient by the image itself is not needed.
    """
    return 3 * forward_work(widths) - 2 * widths[0] * widths[1]


def forward_work(widths: Sequence[int]) -> int:
    """Multiplications and additions to pass one image through fully connected layers of `widths`."""
    return 2 * sum(before * after for before, after in pairwise(widths))

"""Penalties on codes: what is added to the reconstruction loss to shape the code.

A penalty is a frozen dataclass whose fields are its strengths, called with the codes (n, n_components) of a batch and, where
the network knows it, the rate (n,) of each; it returns a scalar, the mean over the batch. Several add up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hourglass.errors import ParameterError


@dataclass(frozen=True)
class Penalty(ABC):
    """Base of all penalties; `strength` multiplies the penalty."""

    n_views: ClassVar[int] = 1
    """2: the batch holds two differently damaged views of each image, first all first ones, then all second ones."""

    strength: float = 1e-3

    @abstractmethod
    def __call__(self, codes: Tensor, rate: Tensor | None = None) -> Tensor:
        """The penalty of `codes`, float32 (n, n_components), and their `rate` (n,) in nats: a scalar."""


class L1(Penalty):
    """strength · mean over images of Σ|y|: many codes near zero, as in the LASSO (Tibshirani 1996)."""

    def __call__(self, codes: Tensor, rate: Tensor | None = None) -> Tensor:
        return self.strength * codes.abs().sum(1).mean()


class L2(Penalty):
    """strength · mean over images of Σy²: small codes, as in ridge regression."""

    def __call__(self, codes: Tensor, rate: Tensor | None = None) -> Tensor:
        return self.strength * codes.square().sum(1).mean()


class Rate(Penalty):
    """strength · mean over images of what the code costs, in nats; for networks that know (`variational`, `quantised`).

    For a variational network that is the KL divergence of the code from its prior, and with bce and a strength of one over the
    number of values in an image the objective is the evidence lower bound (Kingma and Welling 2014); greater strengths make a
    β-VAE (Higgins et al. 2017). For a quantised one it is the expected length of the code, and the strength is the Lagrange
    multiplier between rate and distortion (Ballé et al. 2017).
    """

    def __call__(self, codes: Tensor, rate: Tensor | None = None) -> Tensor:
        if rate is None:
            raise ParameterError('the penalty Rate needs a network that knows its rate: "variational" or "quantised".')
        return self.strength * rate.mean()


class Contrast(Penalty):
    """strength · mean of -log(share of an image's other view in the closeness to all of the batch): near what is the same.

    Two views of each image, damaged differently, shall have codes near each other and far from those of other images. Closeness
    is 1 / (1 + ‖a - b‖²), which works in a plane as well as in many dimensions (t-SimCNE; Böhm et al. 2023).
    """

    n_views = 2

    def __call__(self, codes: Tensor, rate: Tensor | None = None) -> Tensor:
        n_images = len(codes) // 2
        squares = codes.square().sum(1)
        distances = (squares[:, None] + squares[None, :] - 2 * codes @ codes.T).clamp(min=0)
        closeness = -torch.log1p(distances)  # its logarithm
        closeness = closeness.masked_fill(torch.eye(len(codes), dtype=torch.bool, device=codes.device), -torch.inf)
        other = torch.arange(len(codes), device=codes.device).roll(n_images)
        own = closeness.gather(1, other[:, None])[:, 0]
        return self.strength * (torch.logsumexp(closeness, 1) - own).mean()


PENALTIES: dict[str, type[Penalty]] = {"l1": L1, "l2": L2, "rate": Rate, "contrast": Contrast}

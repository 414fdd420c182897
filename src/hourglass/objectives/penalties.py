"""Penalties on codes: what is added to the reconstruction loss to shape the code.

A penalty is a frozen dataclass whose fields are its strengths, called with the codes (n, n_components) of a batch; it
returns a scalar, the mean over the batch. Several add up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Penalty(ABC):
    """Base of all penalties; `strength` multiplies the penalty."""

    strength: float = 1e-3

    @abstractmethod
    def __call__(self, codes: Tensor) -> Tensor:
        """The penalty of `codes`, float32 (n, n_components): a scalar >= 0."""


class L1(Penalty):
    """strength · mean over images of Σ|y|: many codes near zero, as in the LASSO (Tibshirani 1996)."""

    def __call__(self, codes: Tensor) -> Tensor:
        return self.strength * codes.abs().sum(1).mean()


class L2(Penalty):
    """strength · mean over images of Σy²: small codes, as in ridge regression."""

    def __call__(self, codes: Tensor) -> Tensor:
        return self.strength * codes.square().sum(1).mean()


PENALTIES: dict[str, type[Penalty]] = {"l1": L1, "l2": L2}

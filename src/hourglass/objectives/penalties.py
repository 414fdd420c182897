"""Penalties: what is added to the reconstruction loss to shape the code.

A penalty is a frozen dataclass whose fields are its strengths, called with what the network made of a batch; it returns a
scalar, the mean over the batch. Several add up.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from hourglass.corruption.base import check_whole
from hourglass.errors import ParameterError
from hourglass.objectives.output import Output


@dataclass(frozen=True)
class Penalty(ABC):
    """Base of all penalties; `strength` multiplies the penalty."""

    n_views: ClassVar[int] = 1
    """2: the batch holds each image twice, first all as they are, then all of them damaged, in the same order."""

    compares_batch: ClassVar[bool] = False
    """Whether what it says of an image depends on the others in the batch: in several processes, on those of a share."""

    draws: ClassVar[bool] = True
    """Whether it may draw from torch's own generator, which runs in other Python threads then wait for."""

    differentiates: ClassVar[bool] = False
    """Whether it takes derivatives of the codes by `Output.inputs`."""

    strength: float = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.strength, Real) or not 0 <= self.strength < math.inf:
            raise ParameterError(f"{type(self).__name__}(strength={self.strength!r}); allowed: a finite number, 0 or more.")
        object.__setattr__(self, "strength", float(self.strength))  # JSON takes no numpy numbers

    @abstractmethod
    def __call__(self, output: Output) -> Tensor:
        """The penalty of a batch, a scalar; see `Output` for what it can be made of."""


class L1(Penalty):
    """strength · mean over images of Σ|y|: many codes near zero, as in the LASSO (Tibshirani 1996)."""

    draws = False

    def __call__(self, output: Output) -> Tensor:
        return self.strength * output.codes.abs().sum(1).mean()


@dataclass(frozen=True)
class L2(Penalty):
    """Small numbers, as in ridge regression: of the code, or of the weights (weight decay; Krogh and Hertz 1992).

    Parameters
    ----------
    strength : float
        Multiplies the sum of squares.
    on : {"codes", "weights"}
        strength · mean over images of Σy²; or strength · Σw² over all of the network's weights but its biases.
    """

    draws = False

    on: str = "codes"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on not in ("codes", "weights"):
            raise ParameterError(f"L2(on={self.on!r}); allowed: codes, weights.")

    def __call__(self, output: Output) -> Tensor:
        if self.on == "codes":
            return self.strength * output.codes.square().sum(1).mean()
        if not output.weights:
            raise ParameterError('the penalty L2(on="weights") needs Output.weights.')
        return self.strength * torch.stack([weights.square().sum() for weights in output.weights]).sum()


@dataclass(frozen=True)
class KLSparsity(Penalty):
    """strength · Σ over the code's units of KL(target ‖ activity): each is active for few images (Ng 2011).

    A unit's activity is the mean over the batch of σ(y), its number through the logistic function: in a sparse code most σ(y)
    are near 0.

    Parameters
    ----------
    strength : float
        Multiplies the sum of divergences.
    target : float between 0 and 1
        The activity that a unit should have.
    """

    draws = False

    compares_batch = True

    target: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.target < 1:
            raise ParameterError(f"KLSparsity(target={self.target!r}); allowed: between 0 and 1.")

    def __call__(self, output: Output) -> Tensor:
        activity = torch.sigmoid(output.codes).transpose(0, 1).flatten(1).mean(1).clamp(1e-6, 1 - 1e-6)
        wanted = torch.full_like(activity, self.target)
        divergence = wanted * (wanted / activity).log() + (1 - wanted) * ((1 - wanted) / (1 - activity)).log()
        return self.strength * divergence.sum()


@dataclass(frozen=True)
class Contractive(Penalty):
    """strength · mean over images of ‖∂y/∂x‖², the squared Frobenius norm of the encoder's Jacobian (Rifai et al. 2011).

    A code that hardly moves when the image does: what is left of its movement is along the data.

    Parameters
    ----------
    strength : float
        Multiplies the squared norm.
    n_probes : int
        The norm is estimated, without bias, from so many random directions v of the code, as the mean of ‖vᵀ ∂y/∂x‖²
        (Hutchinson 1990): each costs one more pass back through the encoder. 0 takes all directions of the code: exact.
    """

    differentiates = True

    n_probes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "n_probes", check_whole("n_probes", self.n_probes, 0))

    def __call__(self, output: Output) -> Tensor:
        codes, inputs = output.codes, output.inputs
        if inputs is None:
            raise ParameterError("the penalty Contractive needs Output.inputs, which carry a gradient.")
        if self.n_probes:
            directions = codes.new_empty(self.n_probes, *codes.shape).bernoulli_() * 2 - 1
        else:
            every = torch.eye(codes[0].numel(), device=codes.device, dtype=codes.dtype)
            directions = every.view(-1, 1, *codes.shape[1:]).expand(-1, *codes.shape)
        norms = [
            torch.autograd.grad(codes, inputs, direction, create_graph=True)[0].flatten(1).square().sum(1).mean()
            for direction in directions
        ]
        total = torch.stack(norms).sum()
        return self.strength * total / (self.n_probes or 1)


@dataclass(frozen=True)
class Rate(Penalty):
    """strength · mean over images of what the code costs, in nats a value of the image; for networks that know it.

    For a variational network that is the KL divergence of the code from its prior. With bce and a strength of 1 the objective
    is the evidence lower bound (Kingma and Welling 2014), with mse and a strength of 2σ² it is that for pixels with noise of
    variance σ²; greater strengths make a β-VAE (Higgins et al. 2017). For a quantised one it is the expected length of the
    code, and the strength is the Lagrange multiplier between rate and distortion (Ballé et al. 2017).
    """

    draws = False

    strength: float = 0.03

    def __call__(self, output: Output) -> Tensor:
        if output.rate is None:
            raise ParameterError('the penalty Rate needs a network that knows its rate: "variational", "noisy" or "quantised".')
        return self.strength * output.rate.mean() / output.reconstructions[0].numel()


class Contrast(Penalty):
    """strength · mean of -log of the share that an image's other view has in its nearness to all of the batch.

    An image and its damaged view shall be near each other and far from other images (SimCLR; Chen et al. 2020), where nearness
    falls with the distance as Student's t does, with one degree of freedom less than there are numbers: in a plane that is
    t-SimCNE's (Böhm et al. 2023), in many dimensions nearly a Gaussian. It is taken on the wider layer before the code, if the
    network has one.
    """

    draws = False
    n_views = 2
    compares_batch = True

    def __call__(self, output: Output) -> Tensor:
        points = output.vectors if output.representations is None else output.representations
        other = torch.arange(len(points), device=points.device).roll(len(points) // 2)
        return self.strength * torch.nn.functional.cross_entropy(_nearness(points), other)


class Neighbours(Penalty):
    """strength · mean cross-entropy of each image's neighbours in the batch, by code against by the wider layer before it.

    A code of few numbers then keeps who is near whom: t-SNE with a network as the map (van der Maaten 2009), within each batch.
    Nothing where the code is that layer itself.
    """

    draws = False

    compares_batch = True

    temperature: ClassVar[float] = 2.0
    """Softens the neighbourhoods that are to be kept."""

    def __call__(self, output: Output) -> Tensor:
        if output.representations is None or output.representations is output.codes:
            return output.codes.new_zeros(())
        with torch.no_grad():
            wanted = (_nearness(output.representations) / self.temperature).softmax(1)
        return -self.strength * (wanted * _nearness(output.codes).log_softmax(1)).sum(1).mean()


def _nearness(points: Tensor) -> Tensor:
    """Log of Student's t of all distances (n, n), up to a constant; none to itself."""
    degrees = max(points.shape[1] - 1, 1)
    squares = points.square().sum(1)
    distances = (squares[:, None] + squares[None, :] - 2 * points @ points.T).clamp(min=0)
    nearness = -(degrees + 1) / 2 * torch.log1p(distances / degrees)
    return nearness.masked_fill(torch.eye(len(points), dtype=torch.bool, device=points.device), -1e9)

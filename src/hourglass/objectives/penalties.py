"""Penalties: terms added to the reconstruction loss that shape the code.

A penalty is a frozen dataclass. Called with the network's `Output` for a batch, it returns a scalar, the mean over the batch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from hourglass.corruption.base import check_integer
from hourglass.errors import ParameterError
from hourglass.objectives.output import Output


@dataclass(frozen=True)
class Penalty(ABC):
    """Base class of penalties; `strength` multiplies the penalty."""

    n_views: ClassVar[int] = 1
    """With 2, the batch holds each image twice: all clean images, then all corrupted ones in the same order."""

    compares_batch: ClassVar[bool] = False
    """Whether an image's penalty depends on the rest of the batch; across several processes, on the local share of it."""

    draws: ClassVar[bool] = True
    """Whether it may draw from torch's global generator; training then locks that against runs in other threads."""

    differentiates: ClassVar[bool] = False
    """Whether it differentiates the codes with respect to `Output.inputs`."""

    strength: float = 1e-3

    def __post_init__(self) -> None:
        if not isinstance(self.strength, Real) or not 0 <= self.strength < math.inf:
            raise ParameterError(f"{type(self).__name__}(strength={self.strength!r}); allowed: a finite number, 0 or more.")
        object.__setattr__(self, "strength", float(self.strength))  # JSON cannot hold numpy scalars

    @abstractmethod
    def __call__(self, output: Output) -> Tensor:
        """Return the penalty of a batch, a scalar."""


class L1(Penalty):
    """strength · mean over images of Σ|y|: sparse codes, as in the LASSO (Tibshirani 1996)."""

    draws = False

    def __call__(self, output: Output) -> Tensor:
        return self.strength * output.codes.abs().sum(1).mean()


@dataclass(frozen=True)
class L2(Penalty):
    """Squared L2 norm of the codes, as in ridge regression, or of the weights (weight decay; Krogh and Hertz 1992).

    Parameters
    ----------
    strength : float
        Multiplies the sum of squares.
    on : {"codes", "weights"}
        "codes": strength · mean over images of Σy². "weights": strength · Σw² over all weights except biases.
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
    """strength · Σ over latent dimensions of KL(target ‖ activation): each is active for few images (Ng 2011).

    The activation of a latent dimension is the mean over the batch of σ(y), where σ is the logistic function.

    Parameters
    ----------
    strength : float
        Multiplies the sum of divergences.
    target : float between 0 and 1
        The desired mean activation.
    """

    draws = False

    compares_batch = True

    target: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.target < 1:
            raise ParameterError(f"KLSparsity(target={self.target!r}); allowed: between 0 and 1.")

    def __call__(self, output: Output) -> Tensor:
        activation = torch.sigmoid(output.codes).transpose(0, 1).flatten(1).mean(1).clamp(1e-6, 1 - 1e-6)
        target = torch.full_like(activation, self.target)
        divergence = target * (target / activation).log() + (1 - target) * ((1 - target) / (1 - activation)).log()
        return self.strength * divergence.sum()


@dataclass(frozen=True)
class Contractive(Penalty):
    """strength · mean over images of ‖∂y/∂x‖², the squared Frobenius norm of the encoder's Jacobian (Rifai et al. 2011).

    It makes the code insensitive to changes of the image, except for those along the data.

    Parameters
    ----------
    strength : float
        Multiplies the squared norm.
    n_probes : int
        Random directions v per image. The mean of ‖vᵀ ∂y/∂x‖² over them is an unbiased estimate of the norm (Hutchinson
        1990), and each costs one more backward pass through the encoder. 0 computes the exact norm from all latent dimensions.
    """

    differentiates = True

    n_probes: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "n_probes", check_integer("n_probes", self.n_probes, 0))

    def __call__(self, output: Output) -> Tensor:
        codes, inputs = output.codes, output.inputs
        if inputs is None:
            raise ParameterError("the penalty Contractive needs Output.inputs, and they must require a gradient.")
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
    """strength · mean over images of the code's rate, in nats per value of the image; for networks that have a rate.

    For a variational network the rate is the KL divergence of the code from its prior. With bce and a strength of 1 the
    objective is the evidence lower bound (Kingma and Welling 2014). With mse and a strength of 2σ² it is that bound for
    Gaussian pixel noise of variance σ². Greater strengths make a β-VAE (Higgins et al. 2017). For a quantised network the rate
    is the expected code length, and the strength is the Lagrange multiplier of rate-distortion optimisation (Ballé et al.
    2017).
    """

    draws = False

    strength: float = 0.03

    def __call__(self, output: Output) -> Tensor:
        if output.rate is None:
            raise ParameterError('the penalty Rate needs a network that has a rate: "variational", "noisy" or "quantised".')
        return self.strength * output.rate.mean() / output.reconstructions[0].numel()


@dataclass(frozen=True)
class Contrast(Penalty):
    """strength · contrastive loss (InfoNCE): cross-entropy of picking an image's other view from the batch.

    It pulls an image and its corrupted view together and pushes other images away (SimCLR; Chen et al. 2020). The similarity
    is a Student's t kernel of the distance with max(d - 1, 1) degrees of freedom for d dimensions: in two dimensions that is
    t-SimCNE's (Böhm et al. 2023), in many it is nearly Gaussian. It applies to the wider layer before the code, if the network
    has one.

    Parameters
    ----------
    strength : float
        Multiplies the loss.
    n_neighbours : int, optional
        0: the other view is the image itself, corrupted; if training on crops, another crop of the image. Above 0: it is one of
        this many nearest other images, drawn anew in each epoch and corrupted (as in NNCLR; Dwibedi et al. 2021). Images that
        are alike then come together; with themselves alone, all are pushed apart. Nearness is that of 32 principal components.
        None: a hundredth of the training images, 5 to 15; 0 where they are not in memory as images of one size.
    attraction : float
        Above 1 the two views are pulled together more than others are pushed away (Böhm et al. 2022), below 1 less.
    """

    draws = False
    n_views = 2
    compares_batch = True

    n_neighbours: int | None = 0
    attraction: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.attraction, Real) or not 0 < self.attraction < math.inf:
            raise ParameterError(f"Contrast(attraction={self.attraction!r}); allowed: a finite number above 0.")
        object.__setattr__(self, "attraction", float(self.attraction))
        if self.n_neighbours is not None:
            object.__setattr__(self, "n_neighbours", check_integer("n_neighbours", self.n_neighbours, 0))

    def __call__(self, output: Output) -> Tensor:
        points = output.vectors if output.representations is None else output.representations
        other = torch.arange(len(points), device=points.device).roll(len(points) // 2)
        similarity = _log_similarity(points)
        loss = torch.nn.functional.cross_entropy(similarity, other)
        if self.attraction != 1:
            loss = loss - (self.attraction - 1) * similarity.gather(1, other[:, None]).mean()
        return self.strength * loss


class Neighbours(Penalty):
    """strength · mean cross-entropy between each image's neighbours in the wider layer before the code and those in the code.

    A code with few dimensions then preserves neighbourhoods: parametric t-SNE (van der Maaten 2009) within each batch. The
    penalty is zero if the code is that layer itself.
    """

    draws = False

    compares_batch = True

    temperature: ClassVar[float] = 2.0
    """Divides the log similarities in the wider layer, which softens the target neighbourhoods."""

    def __call__(self, output: Output) -> Tensor:
        if output.representations is None or output.representations is output.codes:
            return output.codes.new_zeros(())
        with torch.no_grad():
            target = (_log_similarity(output.representations) / self.temperature).softmax(1)
        return -self.strength * (target * _log_similarity(output.codes).log_softmax(1)).sum(1).mean()


def _log_similarity(points: Tensor) -> Tensor:
    """Log of Student's t kernel of all pairwise distances (n, n), up to a constant; the diagonal is masked."""
    degrees = max(points.shape[1] - 1, 1)
    scaled = points / math.sqrt(degrees)
    squares = scaled.square().sum(1) + 0.5  # two of these make the 1 of 1 + d² / degrees
    sums = torch.addmm(squares[:, None] + squares, scaled, scaled.T, alpha=-2).clamp(min=1)
    return (-(degrees + 1) / 2 * sums.log()).fill_diagonal_(-1e9)

"""Optimisers by name: Adam, and Muon, which trains narrow networks several times faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from hourglass.networks import Network


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, for weight matrices; Adam for all other parameters.

    Each matrix moves by the nearest (semi-)orthogonal matrix to its averaged gradient, so that every direction in it learns
    at the same pace: what a narrow code needs, where the gradient's largest few directions drown the others (Jordan et al.
    2024, "Muon: an optimizer for hidden layers"). Convolution kernels count as matrices (out, in · height · width).

    `torch.optim.Muon` iterates in bfloat16 on the whole matrix, made for GPUs; this one
    iterates in float32 on the smaller Gram matrix.

    Parameters
    ----------
    parameters : iterable of Tensor
    lr : float
        Step of the matrices, in units of their spectral norm.
    momentum : float
        Share of the old average that each step keeps.
    vector_lr : float
        Adam's step for the others, as a share of `lr`.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float = 0.03, momentum: float = 0.95, vector_lr: float = 0.1) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "vector_lr": vector_lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # a closure is never used here
        for group in self.param_groups:
            trained = [parameter for parameter in group["params"] if parameter.grad is not None]
            by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for parameter in trained:
                if parameter.ndim < 2:
                    self._step_vector(parameter, group["lr"] * group["vector_lr"])
                else:
                    direction = self._averaged(parameter, group["momentum"]).reshape(len(parameter), -1)
                    wide = direction if direction.shape[0] <= direction.shape[1] else direction.T
                    by_shape.setdefault((wide.shape[0], wide.shape[1]), []).append((parameter, wide))
            for same in by_shape.values():  # encoder and mirrored decoder share their shapes: one batch of matrices
                for (parameter, _), wide in zip(same, orthogonalize(torch.stack([w for _, w in same])), strict=True):
                    rows, columns = len(parameter), parameter.numel() // len(parameter)
                    update = wide if rows <= columns else wide.T
                    rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                    parameter.sub_(update.reshape(parameter.shape), alpha=rate)

    def _averaged(self, parameter: Tensor, momentum: float) -> Tensor:
        """The gradient's running average, looked ahead by one step (Nesterov)."""
        assert parameter.grad is not None  # `step` passes only parameters that have one
        state = self.state[parameter]
        if not state:
            state["average"] = torch.zeros_like(parameter)
        average: Tensor = state["average"]
        average.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(average, momentum)

    def _step_vector(self, parameter: Tensor, rate: float) -> None:
        """One step of Adam (Kingma and Ba 2015, algorithm 1)."""
        assert parameter.grad is not None  # `step` passes only parameters that have one
        state = self.state[parameter]
        if not state:
            state.update(step=torch.zeros(()), mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        count = int(state["step"])
        state["mean"].lerp_(parameter.grad, 0.1)
        state["square"].lerp_(parameter.grad.square(), 0.001)
        deviation = (state["square"] / (1 - 0.999**count)).sqrt_().add_(1e-8)
        parameter.addcdiv_(state["mean"], deviation, value=-rate / (1 - 0.9**count))


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring all singular values of each wide matrix near 1, keeping its singular vectors.

    Five Newton-Schulz steps of Jordan et al. (2024), whose coefficients leave singular values within about 0.7..1.2. The
    polynomials are gathered on the Gram matrix: with G = M Mᵀ every iterate is Q M for a Q that is a polynomial in G.

    Parameters
    ----------
    matrices : Tensor of shape (n, rows, columns), rows <= columns

    Returns
    -------
    Tensor of the same shape
    """
    scaled = matrices / (matrices.flatten(1).norm(dim=1) + 1e-7)[:, None, None]
    gram = scaled @ scaled.mT
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device).expand_as(gram)
    gathered = identity
    for step in range(5):
        polynomial = 3.4445 * identity + torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        gathered = polynomial @ gathered if step else polynomial
        if step < 4:
            gram = polynomial @ gram @ polynomial
    orthogonal: Tensor = gathered @ scaled
    return orthogonal


def _adam(network: Network, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)


def _muon(network: Network, learning_rate: float) -> torch.optim.Optimizer:
    return Muon(network.parameters(), lr=learning_rate)


OPTIMIZERS: dict[str, Callable[[Network, float], torch.optim.Optimizer]] = {"adam": _adam, "muon": _muon}

"""Optimisers by name: Adam, and Muon, which trains narrow networks several times faster."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from hourglass.networks.product import is_large, product_call


class Optimizer(ABC):
    """Updates parameters by the gradients in their `grad`.

    Not torch's own: the first of these in a process imports torch's compiler (0.8 s, 70 MB), and each of their steps runs
    profiler hooks.

    Attributes
    ----------
    parameters : list of Tensor
    rate : float or scalar Tensor
        The learning rate of the next step; a tensor if a CUDA graph reads it.
    state : dict of Tensor to dict of str to Tensor
        The state of each parameter between steps.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.rate: float | Tensor = rate
        self.state: dict[Tensor, dict[str, Tensor]] = {parameter: {} for parameter in self.parameters}

    def set_rate(self, rate: float) -> None:
        if isinstance(self.rate, Tensor):
            self.rate.fill_(rate)
        else:
            self.rate = rate

    @abstractmethod
    def begin(self) -> None:
        """Initialise missing state."""

    @abstractmethod
    def step(self) -> None:
        """Update all parameters that have a gradient, in place."""

    def _trained(self) -> list[Tensor]:
        self.begin()
        return [parameter for parameter in self.parameters if parameter.grad is not None]


class Muon(Optimizer):
    """Momentum whose update is made orthogonal, for weight matrices; Adam for all other parameters.

    The update of a matrix is the (semi-)orthogonal matrix nearest to its averaged gradient, so that all directions learn at
    the same rate. A narrow code needs that, as the largest few directions dominate its gradient (Jordan et al. 2024, "Muon:
    an optimizer for hidden layers"). Convolution kernels count as matrices (out, in · height · width). The learning rate is
    the spectral norm of an update.

    `torch.optim.Muon` iterates in bfloat16 on the matrix itself, for GPUs; this one in float32 on the smaller Gram matrix.
    """

    MOMENTUM = 0.95
    """Decay of the running average."""
    VECTOR_RATE = 0.1
    """Adam's learning rate for all other parameters, relative to `rate`."""

    def begin(self) -> None:
        begin_adam(self.state, [parameter for parameter in self.parameters if parameter.ndim < 2])
        for parameter in self.parameters:
            if parameter.ndim >= 2 and not self.state[parameter]:
                self.state[parameter]["average"] = torch.zeros_like(parameter, requires_grad=False)

    @torch.no_grad()
    def step(self) -> None:
        trained = self._trained()
        adam_step(self.state, [parameter for parameter in trained if parameter.ndim < 2], self.rate * self.VECTOR_RATE)
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for parameter in trained:
            if parameter.ndim >= 2:
                direction = self._averaged(parameter).reshape(len(parameter), -1)
                wide = direction if direction.shape[0] <= direction.shape[1] else direction.T
                by_shape.setdefault((wide.shape[0], wide.shape[1]), []).append((parameter, wide))
        for same in by_shape.values():  # batched, as encoder and decoder share shapes
            for (parameter, _), wide in zip(same, orthogonalize(torch.stack([w for _, w in same])), strict=True):
                rows, columns = len(parameter), parameter.numel() // len(parameter)
                update = wide if rows <= columns else wide.T
                move(parameter, update.reshape(parameter.shape), self.rate, max(1.0, rows / columns) ** 0.5)

    def _averaged(self, parameter: Tensor) -> Tensor:
        """The gradient's running average, looked ahead by one step (Nesterov)."""
        assert parameter.grad is not None  # `step` passes only these
        average = self.state[parameter]["average"]
        average.lerp_(parameter.grad, 1 - self.MOMENTUM)
        return parameter.grad.lerp(average, self.MOMENTUM)


def move(parameter: Tensor, update: Tensor, rate: float | Tensor, scale: float) -> None:
    """Parameter -= rate · scale · update. A tensor `rate` may change between replays of a CUDA graph."""
    if isinstance(rate, Tensor):
        parameter.addcmul_(update, rate, value=-scale)
    else:
        parameter.sub_(update, alpha=rate * scale)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Move all singular values of each wide matrix close to 1; keep its singular vectors.

    Five Newton-Schulz steps of Jordan et al. (2024), whose coefficients leave singular values within about 0.7..1.2. The
    iteration runs on the Gram matrix: with G = M Mᵀ every iterate is Q M for a polynomial Q in G.

    Parameters
    ----------
    matrices : Tensor of shape (n, rows, columns), rows <= columns

    Returns
    -------
    Tensor of the same shape
    """
    scaled = matrices / (matrices.flatten(1).norm(dim=1) + 1e-7)[:, None, None]
    gram = products(scaled, scaled.mT)
    product = polynomial = _polynomial(gram)
    for _ in range(4):
        gram = products(products(polynomial, gram), polynomial)
        polynomial = _polynomial(gram)
        product = products(polynomial, product)
    return products(product, scaled)


def _polynomial(gram: Tensor) -> Tensor:
    """3.4445 I - 4.7750 G + 2.0315 G²."""
    polynomial = products(gram, gram).mul_(2.0315).add_(gram, alpha=-4.7750)
    polynomial.diagonal(dim1=1, dim2=2).add_(3.4445)
    return polynomial


def products(left: Tensor, right: Tensor) -> Tensor:
    """Batched matrix product of `left` and `right`."""
    if left.device.type == "cpu" and is_large(left.shape[1], left.shape[2], right.shape[2]):
        return torch.stack([product_call(one, other)() for one, other in zip(left, right, strict=True)])
    return left @ right


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): the steps of `torch.optim.Adam`."""

    def __init__(self, parameters: Iterable[Tensor], rate: float) -> None:
        super().__init__(parameters, rate)
        self._flat: dict[Tensor, dict[str, Tensor]] = {}

    def begin(self) -> None:
        begin_adam(self.state, self.parameters)

    @torch.no_grad()
    def step(self) -> None:
        if self._flat:
            adam_step(self._flat, list(self._flat), self.rate)
        else:
            adam_step(self.state, self._trained(), self.rate)

    @torch.no_grad()
    def join(self) -> None:
        """Flatten parameters, gradients and moments into one buffer each, for a single pass in each step.

        Until `part`, gradients must be written in place.
        """
        self.begin()
        states = [self.state[parameter] for parameter in self.parameters]
        flat = _flattened(self.parameters)
        flat.grad = _flattened([parameter.grad for parameter in self.parameters if parameter.grad is not None])
        self._flat = {flat: {name: _flattened([state[name] for state in states]) for name in ("mean", "square")}}
        self._flat[flat]["step"] = states[0]["step"]
        for state in states:
            state["step"] = states[0]["step"]

    @torch.no_grad()
    def part(self) -> None:
        """Undo `join`: give each tensor memory of its own again."""
        for parameter in self.parameters if self._flat else ():
            parameter.data = parameter.data.clone()
            self.state[parameter] = {name: tensor.clone() for name, tensor in self.state[parameter].items()}
        self._flat = {}


def _flattened(tensors: Sequence[Tensor]) -> Tensor:
    """A vector of all `tensors`, which become views of it."""
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.data = part.view(tensor.shape)
    return flat


def adam_step(state: dict[Tensor, dict[str, Tensor]], parameters: Sequence[Tensor], rate: float | Tensor) -> None:
    """One step of Adam (Kingma and Ba 2015, algorithm 1), in place, with moments in `state`."""
    if not parameters:
        return
    steps, means, squares = ([state[parameter][name] for parameter in parameters] for name in ("step", "mean", "square"))
    _ADD_TO_EACH(steps, 1)
    _FUSED_ADAM(parameters, [parameter.grad for parameter in parameters], means, squares, [], steps, lr=rate, **_CONSTANTS)


def _add_to_each(tensors: Sequence[Tensor], summand: float) -> None:
    for tensor in tensors:
        tensor.add_(summand)


def _adam(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    _: object,
    steps: Sequence[Tensor],
    *,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    **_switched_off: object,
) -> None:
    """Torch's fused step by public operations, in place and without synchronising, so that CUDA graphs can record it."""
    for parameter, gradient, mean, square, step in zip(parameters, gradients, means, squares, steps, strict=True):
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        # 1 - betaᵗ without cancellation in the first steps
        first, second = (torch.expm1(step * math.log(beta)).neg_() for beta in (beta1, beta2))
        divisor = square.sqrt().div_(second.sqrt_()).add_(eps)
        parameter.sub_((lr / first * mean).div_(divisor))


_FUSED_ADAM: Callable[..., None] = getattr(torch, "_fused_adam_", _adam)  # private; used by torch.optim.Adam
_ADD_TO_EACH: Callable[..., object] = getattr(torch, "_foreach_add_", _add_to_each)
_CONSTANTS = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, "maximize": False}


def begin_adam(state: dict[Tensor, dict[str, Tensor]], parameters: Sequence[Tensor]) -> None:
    """Initialise missing moments to zero."""
    for parameter in parameters:
        if not state[parameter]:
            step = torch.zeros((), device=parameter.device, dtype=torch.float32)
            state[parameter].update(
                step=step,
                mean=torch.zeros_like(parameter, requires_grad=False),
                square=torch.zeros_like(parameter, requires_grad=False),
            )


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "muon": Muon}

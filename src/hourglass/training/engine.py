"""How a training step comes to its gradient: as torch does it, or by hand where every derivative is known beforehand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hourglass.networks import Network
from hourglass.objectives import LOSSES, Objective, Output


class Engine(ABC):
    """Puts the gradient of an objective into a network's parameters. All engines give the same, to rounding."""

    def __init__(self, network: Network, objective: Objective) -> None:
        self.network, self.objective = network, objective

    @abstractmethod
    def backpropagate(self, inputs: Tensor, targets: Tensor) -> float:
        """The objective of a batch; its gradient is then in each parameter's `grad`, in place of what was there."""


class Eager(Engine):
    """As torch does it, for any network and objective."""

    def backpropagate(self, inputs: Tensor, targets: Tensor) -> float:
        loss = self.objective(output_of(self.network, self.objective, inputs), targets)
        self.network.zero_grad(set_to_none=False)  # gradients that keep their memory cost no page faults
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss.item()


def output_of(network: Network, objective: Objective, inputs: Tensor) -> Output:
    """What the network makes of `inputs`, with all that a penalty may ask for."""
    if objective.differentiates:
        inputs = inputs.detach().requires_grad_()
    output: Output = network(inputs)
    if not objective.penalties:
        return output
    weights = tuple(parameter for parameter in network.parameters() if parameter.ndim > 1)
    return output._replace(inputs=inputs, weights=weights)


@dataclass
class _Layer:
    """A fully connected layer, and the LeakyReLU or Sigmoid that its answer goes through, if any."""

    linear: nn.Linear
    activation: nn.LeakyReLU | nn.Sigmoid | None = None


class Dense(Engine):
    """By hand, for fully connected layers under the mean squared error, in memory that is taken once.

    Of an eager step on a small batch, most is not arithmetic: a graph is made and taken apart, and each result gets fresh
    memory.
    """

    def __init__(self, network: Network, objective: Objective, layers: list[_Layer]) -> None:
        super().__init__(network, objective)
        self.layers = layers
        self._memory: dict[int, tuple[list[Tensor], list[Tensor]]] = {}
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)

    @classmethod
    def of(cls, network: Network, objective: Objective) -> Dense | None:
        """The engine for `network` and `objective`; None if it does not know all of their derivatives."""
        plain = objective.loss is LOSSES["mse"] and not objective.penalties and _runs_as_written(network)
        parts = [*_leaves(network.encoder), *_leaves(network.decoder)] if plain else []
        layers: list[_Layer] = []
        for part in parts:
            if type(part) is nn.Linear and part.bias is not None:
                layers.append(_Layer(part))
            elif type(part) in (nn.LeakyReLU, nn.Sigmoid) and layers and layers[-1].activation is None:
                layers[-1].activation = part
            elif type(part) not in (nn.Flatten, nn.Unflatten, nn.Identity):
                return None
        linears = {id(layer.linear) for layer in layers}
        knows_all = len(linears) == len(layers) and 2 * len(layers) == len(list(network.parameters()))
        on_cpu = all(parameter.device.type == "cpu" and parameter.requires_grad for parameter in network.parameters())
        return cls(network, objective, layers) if layers and knows_all and on_cpu else None

    @torch.no_grad()
    def backpropagate(self, inputs: Tensor, targets: Tensor) -> float:
        answers, slopes = self._buffers(len(inputs))
        given = [inputs.flatten(1), *answers[:-1]]
        for layer, before, answer in zip(self.layers, given, answers, strict=True):
            torch.addmm(layer.linear.bias, before, layer.linear.weight.T, out=answer)
            _activate(layer.activation, answer)
        slope = torch.sub(answers[-1], targets.flatten(1), out=slopes[-1])
        loss = float(torch.dot(slope.view(-1), slope.view(-1))) / slope.numel()
        slope.mul_(2 / slope.numel())
        for place in range(len(self.layers) - 1, -1, -1):
            linear = self.layers[place].linear
            slope = slopes[place]
            _slope_before(self.layers[place].activation, answers[place], slope)
            torch.mm(slope.T, given[place], out=linear.weight.grad)
            torch.sum(slope, 0, out=linear.bias.grad)
            if place:
                torch.mm(slope, linear.weight, out=slopes[place - 1])
        return loss

    def _buffers(self, batch_size: int) -> tuple[list[Tensor], list[Tensor]]:
        """(answers, slopes) of all layers, for batches of this size."""
        if batch_size not in self._memory:
            widths = [layer.linear.out_features for layer in self.layers]
            dtype = self.layers[0].linear.weight.dtype
            made = [[torch.empty(batch_size, width, dtype=dtype) for width in widths] for _ in range(2)]
            self._memory[batch_size] = (made[0], made[1])
        return self._memory[batch_size]


def engine_for(network: Network, objective: Objective) -> Engine:
    """The fastest engine that knows `network` and `objective`."""
    return Dense.of(network, objective) or Eager(network, objective)


def _runs_as_written(network: Network) -> bool:
    """Whether a forward pass is the encoder, then the decoder, and nobody listens in."""
    listened = any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or "forward" in vars(module)
        for module in network.modules()
    )
    return type(network).forward is Network.forward and not listened


def _leaves(part: nn.Module) -> list[Any]:
    """The modules that a Sequential runs, in order; anything else is one itself."""
    if type(part) is nn.Sequential:
        return [leaf for child in part for leaf in _leaves(child)]
    return [part]


def _activate(activation: nn.Module | None, answer: Tensor) -> None:
    """Apply it in place."""
    if isinstance(activation, nn.LeakyReLU):
        nn.functional.leaky_relu_(answer, activation.negative_slope)
    elif activation is not None:
        answer.sigmoid_()


def _slope_before(activation: nn.Module | None, answer: Tensor, slope: Tensor) -> None:
    """From the slope after it to that before it, in place; both can be told from its `answer`."""
    if isinstance(activation, nn.LeakyReLU):
        torch.ops.aten.leaky_relu_backward.grad_input(slope, answer, activation.negative_slope, True, grad_input=slope)
    elif activation is not None:
        torch.ops.aten.sigmoid_backward.grad_input(slope, answer, grad_input=slope)

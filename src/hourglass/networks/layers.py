"""Fully connected layers with all derivatives written out, as calls that are put down once and repeated without a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from hourglass.networks.base import Network
from hourglass.networks.product import is_large, linear_call, product_call

Call = Callable[[], object]
"""An operation with its arguments and the memory that it writes to: of a small one, more than half is finding these."""


@dataclass
class Layer:
    """answer = activation(before @ weightᵀ + bias), for a batch (n, inner) on the CPU.

    `activation` is a LeakyReLU, a Sigmoid or nothing; without weight (width, inner) and bias the layer is its activation alone.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None
    activation: nn.LeakyReLU | nn.Sigmoid | None = None

    def forward(self, before: Tensor, answer: Tensor) -> list[Call]:
        """What writes the layer's answer to `before` (n, inner) into `answer` (n, width)."""
        if self.weight is None:
            return [partial(answer.copy_, before), *self._activate(answer)]
        if not is_large(before.shape[0], before.shape[1], self.weight.shape[0]):
            return [partial(torch.addmm, self.bias, before, self.weight.T, out=answer), *self._activate(answer)]
        slope = [self.activation.negative_slope] if isinstance(self.activation, nn.LeakyReLU) else []
        name = "none" if self.activation is None else "leaky_relu" if slope else "sigmoid"
        return [_into(answer, linear_call(before, self.weight, self.bias, name, slope))]

    def backward(self, before: Tensor, answer: Tensor, slope: Tensor, slope_before: Tensor | None) -> list[Call]:
        """What writes the derivatives by weight and bias into their `grad`, and that by `before` into `slope_before`.

        `slope` (n, width) holds the derivative by the answer, and is overwritten.
        """
        assert self.weight is not None and self.bias is not None  # noqa: PT018  # of a layer that is trained
        assert self.weight.grad is not None and self.bias.grad is not None  # noqa: PT018
        calls: list[Call] = []
        if isinstance(self.activation, nn.LeakyReLU):  # both activations can be told from their answer
            backward = torch.ops.aten.leaky_relu_backward.grad_input
            calls.append(partial(backward, slope, answer, self.activation.negative_slope, True, grad_input=slope))
        elif self.activation is not None:
            calls.append(partial(torch.ops.aten.sigmoid_backward.grad_input, slope, answer, grad_input=slope))
        calls += [_product(slope.T, before, self.weight.grad), partial(torch.sum, slope, 0, out=self.bias.grad)]
        return calls if slope_before is None else [*calls, _product(slope, self.weight, slope_before)]

    def _activate(self, answer: Tensor) -> list[Call]:
        if isinstance(self.activation, nn.LeakyReLU):
            return [partial(nn.functional.leaky_relu_, answer, self.activation.negative_slope)]
        return [] if self.activation is None else [answer.sigmoid_]


def _product(left: Tensor, right: Tensor, out: Tensor) -> Call:
    if is_large(left.shape[0], left.shape[1], right.shape[1]):
        return _into(out, product_call(left, right))
    return partial(torch.mm, left, right, out=out)


def _into(out: Tensor, call: Callable[[], Tensor]) -> Call:
    """OneDNN always answers in new memory; what follows is put down with the old."""
    return lambda: out.copy_(call())


def is_encoder_then_decoder(network: Network) -> bool:
    """Whether a forward pass is the encoder, then the decoder, and nothing else."""
    return type(network).forward is Network.forward and _is_heard_by_nobody(network)


def layers_of(*parts: nn.Module) -> list[Layer] | None:
    """The layers that `parts` run one after the other on flat samples; None where anything else is among them.

    Float32 weights on the CPU, Flatten, Unflatten and Identity between them, widths that follow from each other (a Linear may
    also run along the last axis of an image), and nobody listens in by hooks.
    """
    layers: list[Layer] = []
    for module in (leaf for part in parts for leaf in _leaves(part)):
        if type(module) is nn.Linear and module.bias is not None and _is_plain(module):
            layers.append(Layer(module.weight, module.bias))
        elif type(module) in (nn.LeakyReLU, nn.Sigmoid) and _is_heard_by_nobody(module):
            if not layers or layers[-1].activation is not None:
                layers.append(Layer())
            layers[-1].activation = cast(nn.LeakyReLU | nn.Sigmoid, module)
        elif type(module) not in (nn.Flatten, nn.Unflatten, nn.Identity) or not _is_heard_by_nobody(module):
            return None
    weights = [layer.weight for layer in layers if layer.weight is not None]
    return layers if all(before.shape[0] == after.shape[1] for before, after in pairwise(weights)) else None


def answer(parts: Sequence[nn.Module], samples: Tensor) -> Tensor | None:
    """What `parts` make of `samples` (n, *shape), one after the other; None if they are not such layers and samples."""
    layers = layers_of(*parts) if samples.device.type == "cpu" and samples.dtype == torch.float32 else None
    first = next((layer.weight for layer in layers or [] if layer.weight is not None), None)
    if layers is None or first is None or first.shape[1] != samples[0].numel():
        return None
    made = samples.flatten(1)
    for layer in layers:
        before, made = made, made.new_empty(len(made), made.shape[1] if layer.weight is None else layer.weight.shape[0])
        for call in layer.forward(before, made):
            call()
    return made


def _leaves(part: nn.Module) -> list[nn.Module]:
    """The modules that a Sequential runs, in order; anything else is one itself."""
    if type(part) is nn.Sequential and _is_heard_by_nobody(part):
        return [leaf for child in part for leaf in _leaves(child)]
    return [part]


def _is_plain(linear: nn.Linear) -> bool:
    on_cpu = linear.weight.device.type == "cpu" and linear.weight.dtype == torch.float32
    return on_cpu and _is_heard_by_nobody(linear)


def _is_heard_by_nobody(module: nn.Module) -> bool:
    return not any(getattr(module, name, True) for name in _HOOKS) and "forward" not in vars(module)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where torch keeps a module's hooks. Private: where one is missing, hooks cannot be ruled out, and torch runs the module."""

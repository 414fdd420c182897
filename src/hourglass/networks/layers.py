"""Fully connected layers with explicit gradients, as calls that are recorded once and replayed without autograd."""

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
"""An operation bound to its arguments and output buffer. Looking these up takes most of the time of a small operation."""


@dataclass
class Layer:
    """output = activation(inputs @ weightᵀ + bias), for a batch (n, inner) on the CPU.

    `activation` is a LeakyReLU, a Sigmoid or None. A layer without weight (width, inner) and bias only applies its activation.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None
    activation: nn.LeakyReLU | nn.Sigmoid | None = None

    def forward(self, inputs: Tensor, output: Tensor) -> list[Call]:
        """Calls that write the activations for `inputs` (n, inner) to `output` (n, width)."""
        if self.weight is None:
            return [partial(output.copy_, inputs), *self._activate(output)]
        if not is_large(inputs.shape[0], inputs.shape[1], self.weight.shape[0]):
            return [partial(torch.addmm, self.bias, inputs, self.weight.T, out=output), *self._activate(output)]
        constants = [self.activation.negative_slope] if isinstance(self.activation, nn.LeakyReLU) else []
        name = "none" if self.activation is None else "leaky_relu" if constants else "sigmoid"
        return [_copy_to(output, linear_call(inputs, self.weight, self.bias, name, constants))]

    def backward(self, inputs: Tensor, output: Tensor, gradient: Tensor, input_gradient: Tensor | None) -> list[Call]:
        """Calls that write the gradients of weight and bias to their `grad`, and that of `inputs` to `input_gradient`.

        `gradient` (n, width) is the gradient of `output`; the calls overwrite it.
        """
        assert self.weight is not None and self.bias is not None  # noqa: PT018  # a trained layer has both
        assert self.weight.grad is not None and self.bias.grad is not None  # noqa: PT018
        calls: list[Call] = []
        if isinstance(self.activation, nn.LeakyReLU):  # both activations have gradients that follow from their output
            backward = torch.ops.aten.leaky_relu_backward.grad_input
            calls.append(partial(backward, gradient, output, self.activation.negative_slope, True, grad_input=gradient))
        elif self.activation is not None:
            calls.append(partial(torch.ops.aten.sigmoid_backward.grad_input, gradient, output, grad_input=gradient))
        calls += [_product(gradient.T, inputs, self.weight.grad), partial(torch.sum, gradient, 0, out=self.bias.grad)]
        return calls if input_gradient is None else [*calls, _product(gradient, self.weight, input_gradient)]

    def _activate(self, output: Tensor) -> list[Call]:
        if isinstance(self.activation, nn.LeakyReLU):
            return [partial(nn.functional.leaky_relu_, output, self.activation.negative_slope)]
        return [] if self.activation is None else [output.sigmoid_]


def _product(left: Tensor, right: Tensor, out: Tensor) -> Call:
    if is_large(left.shape[0], left.shape[1], right.shape[1]):
        return _copy_to(out, product_call(left, right))
    return partial(torch.mm, left, right, out=out)


def _copy_to(out: Tensor, call: Callable[[], Tensor]) -> Call:
    """OneDNN allocates its result; the recorded calls that follow read `out`."""
    return lambda: out.copy_(call())


def is_encoder_then_decoder(network: Network) -> bool:
    """Whether the forward pass is `decoder(encoder(x))` and nothing else."""
    return type(network).forward is Network.forward and _has_no_hooks(network)


def layers_of(*parts: nn.Module) -> list[Layer] | None:
    """The layers that `parts` apply in turn to flat samples; None if a module is of another kind.

    Requires float32 weights on the CPU, only Flatten, Unflatten and Identity in between, matching widths (a Linear may also
    run along the last axis of an image), and no hooks.
    """
    layers: list[Layer] = []
    for module in (leaf for part in parts for leaf in _leaves(part)):
        if type(module) is nn.Linear and module.bias is not None and _is_plain_linear(module):
            layers.append(Layer(module.weight, module.bias))
        elif type(module) in (nn.LeakyReLU, nn.Sigmoid) and _has_no_hooks(module):
            if not layers or layers[-1].activation is not None:
                layers.append(Layer())
            layers[-1].activation = cast(nn.LeakyReLU | nn.Sigmoid, module)
        elif type(module) not in (nn.Flatten, nn.Unflatten, nn.Identity) or not _has_no_hooks(module):
            return None
    weights = [layer.weight for layer in layers if layer.weight is not None]
    return layers if all(first.shape[0] == second.shape[1] for first, second in pairwise(weights)) else None


def run_layers(parts: Sequence[nn.Module], samples: Tensor) -> Tensor | None:
    """Apply `parts` in turn to `samples` (n, *shape); None unless `layers_of` knows all layers and the shapes match."""
    layers = layers_of(*parts) if samples.device.type == "cpu" and samples.dtype == torch.float32 else None
    first = next((layer.weight for layer in layers or [] if layer.weight is not None), None)
    if layers is None or first is None or first.shape[1] != samples[0].numel():
        return None
    output = samples.flatten(1)
    for layer in layers:
        inputs = output
        output = inputs.new_empty(len(inputs), inputs.shape[1] if layer.weight is None else layer.weight.shape[0])
        for call in layer.forward(inputs, output):
            call()
    return output


def _leaves(part: nn.Module) -> list[nn.Module]:
    """The modules in a Sequential, in order; any other module alone."""
    if type(part) is nn.Sequential and _has_no_hooks(part):
        return [leaf for child in part for leaf in _leaves(child)]
    return [part]


def _is_plain_linear(linear: nn.Linear) -> bool:
    on_cpu = linear.weight.device.type == "cpu" and linear.weight.dtype == torch.float32
    return on_cpu and _has_no_hooks(linear)


def _has_no_hooks(module: nn.Module) -> bool:
    return not any(getattr(module, name, True) for name in _HOOKS) and "forward" not in vars(module)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Private attributes of torch. If one is missing, hooks cannot be ruled out and torch runs the module."""

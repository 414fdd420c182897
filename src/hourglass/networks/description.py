"""A network as a list of steps with weights, to run it without torch.

linear        (…, n) -> (…, m): weight (m, n), bias (m,)
convolution   (c, h, w) -> (d, h', w'): weight (d, c, k, k), bias (d,); stride, padding
shuffle       (4 c, h, w) -> (c, height, width): `pixel_shuffle` by two, then a crop
reshape       the first axis to shape; (-1,) flattens all axes
first         (n,) -> (count,): the first `count` values
keep          the values as they are, which `beside` will take
beside        (n,) -> (n + m,): the values, and beside them a linear map of those kept last: weight (m, k), bias (m,)
affine        x -> scale · x + offset
leaky_relu    slope; relu, tanh, sigmoid
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from hourglass.networks.convolutional import Enlarging
from hourglass.networks.plane import Beside, First
from hourglass.networks.stochastic import Posterior


@dataclass(frozen=True)
class Step:
    """One step of a network.

    Attributes
    ----------
    kind : str
        One of the kinds above.
    options : dict
        Numbers and lists of numbers.
    weights : dict of str to Tensor, float32
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)


def steps_of(module: nn.Module) -> list[Step] | None:
    """The steps of `module` in evaluation mode; None if a part of it has no such description."""
    if type(module) is nn.Sequential:
        parts = [steps_of(part) for part in module]
        return None if None in parts else [step for part in parts for step in part or []]
    describe = _KNOWN.get(type(module))
    return None if describe is None else describe(module)


def _linear(layer: nn.Linear) -> list[Step]:
    return [Step("linear", {}, _weight_and_bias(layer.weight, layer.bias))]


def _convolution(layer: nn.Conv2d) -> list[Step] | None:
    is_plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    sizes = [layer.stride, layer.padding, layer.kernel_size]
    if not is_plain or any(isinstance(size, str) or len(set(size)) > 1 for size in sizes):  # padding may be "same"
        return None
    options = {"stride": layer.stride[0], "padding": layer.padding[0]}
    return [Step("convolution", options, _weight_and_bias(layer.weight, layer.bias))]


def _enlarging(layer: Enlarging) -> list[Step]:
    bias = None if layer.bias is None else layer.bias.repeat_interleave(4)
    height, width = layer.size or (0, 0)
    return [
        Step("convolution", {"stride": 1, "padding": 1}, _weight_and_bias(layer.small_weight(), bias)),
        Step("shuffle", {"height": height, "width": width}),
    ]


def _posterior(module: Posterior) -> list[Step] | None:
    body = steps_of(module.body)
    return None if body is None else [*body, Step("first", {"count": module.n_components})]


def _beside(module: Beside) -> list[Step] | None:
    body = steps_of(module.body)
    weights = _weight_and_bias(module.linear.weight, module.linear.bias)
    return None if body is None else [Step("keep"), *body, Step("beside", {}, weights)]


def _unflatten(module: nn.Unflatten) -> list[Step] | None:
    sizes = module.unflattened_size
    is_plain = module.dim == 1 and all(isinstance(size, int) and size > 0 for size in sizes)
    return [Step("reshape", {"shape": list(sizes)})] if is_plain else None


_KNOWN: dict[type[nn.Module], Callable[[Any], list[Step] | None]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    Enlarging: _enlarging,
    Posterior: _posterior,
    Beside: _beside,
    First: lambda module: [Step("first", {"count": module.count})],
    nn.Unflatten: _unflatten,
    nn.Flatten: lambda module: [Step("reshape", {"shape": [-1]})] if (module.start_dim, module.end_dim) == (1, -1) else None,
    nn.Identity: lambda _: [],
    nn.Dropout: lambda _: [],
    nn.LeakyReLU: lambda module: [Step("leaky_relu", {"slope": module.negative_slope})],
    nn.ReLU: lambda _: [Step("relu")],
    nn.Tanh: lambda _: [Step("tanh")],
    nn.Sigmoid: lambda _: [Step("sigmoid")],
}


def _weight_and_bias(weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
    zeros = weight.new_zeros(len(weight)) if bias is None else bias
    return {"weight": weight.detach().float().cpu(), "bias": zeros.detach().float().cpu()}

"""Checks of a network of the user's that takes any size: odd sizes, and windows that give what the whole image gives."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from hourglass.errors import ModelError
from hourglass.networks.base import Network
from hourglass.objectives import Output

_PRECISIONS = ((torch.float64, 1e-9), (torch.float32, 1e-4))
"""Precisions to try, with the difference that rounding explains: float32 for modules that make tensors of their own in it."""
_CHANGE = 0.1  # standard deviation
_N_MARGINS = 32  # larger ones to try for the message


def check_any_size(network: Network, channels: int) -> None:
    """Run the network on an odd size and in a window, to reject a wrong `forward` or `margin` before training.

    Windows are compared at the initial weights and at others: a last layer or a gate that starts at 0 hides how far training
    will reach.

    Raises
    ------
    ModelError
        If the output has another size than the image, or differs between a window and the whole image.
    """
    stride, margin = network.code.stride, network.margin
    if next(network.parameters()).is_meta:  # has shapes, but no values
        return
    if margin % stride:
        needed = stride * math.ceil(margin / stride)
        raise ModelError(f"margin={margin}; it must be a multiple of the code's stride, {stride}: set self.margin = {needed}.")
    for dtype, tolerance in _PRECISIONS:
        exact = copy.deepcopy(network).to(dtype).eval()
        try:
            with torch.no_grad():
                _check_size(exact, _image(channels, 2 * stride + 1, 3 * stride + 1, dtype))
                _check_margin(exact, channels, dtype, tolerance)
                _change(exact)
                _check_margin(exact, channels, dtype, tolerance)
            return
        except (RuntimeError, TypeError, IndexError, AttributeError) as error:  # whatever a user's module may raise
            reason = str(error).split("\n")[0]
    raise ModelError(f"the network cannot take images of any size: {reason}")


def _change(network: Network) -> None:
    """Add noise to all weights."""
    generator = torch.Generator().manual_seed(0)
    for weights in network.parameters():
        weights.add_(_CHANGE * torch.randn(weights.shape, dtype=weights.dtype, generator=generator))


def _check_size(network: Network, image: Tensor) -> None:
    made = _outputs(network, image)[1].shape
    if made != image.shape:
        raise ModelError(
            f"the network makes {made[-2]}×{made[-1]} pixels of an image of {image.shape[-2]}×{image.shape[-1]}; one that "
            "takes any size crops in forward: return Output(self.decoder(codes)[..., :height, :width], codes)."
        )


def _check_margin(network: Network, channels: int, dtype: torch.dtype, tolerance: float) -> None:
    stride, margin = network.code.stride, network.margin
    if _difference(network, channels, margin, dtype) <= tolerance:
        return
    larger = range(margin + stride, margin + (_N_MARGINS + 1) * stride, stride)
    needed = next((one for one in larger if _difference(network, channels, one, dtype) <= tolerance), None)
    if needed is None:
        raise ModelError(
            f"pixels more than {larger[-1]} away change the network's output, as in pooling or normalisation over the image: "
            "large ones cannot be processed in windows: set takes_any_size = False, or self.margin if it is larger."
        )
    raise ModelError(
        f"margin={margin} is too small: in windows the output differs from that for the whole image. Set self.margin = {needed}"
        " in __init__: how far the receptive field reaches in pixels, rounded up to a multiple of the code's stride."
    )


def _difference(network: Network, channels: int, margin: int, dtype: torch.dtype) -> float:
    """Largest difference of codes and outputs between a window with `margin` and the whole image, over their deviation."""
    stride = network.code.stride
    kept = beyond = 2 * stride
    before = beyond + margin
    image = _image(channels, 2 * before + kept, 2 * before + kept, dtype)
    window = image[..., beyond:-beyond, beyond:-beyond].contiguous()
    largest = 0.0
    for step, whole, part in zip((stride, 1), _outputs(network, image), _outputs(network, window), strict=True):
        rows, inner = (slice(start // step, (start + kept) // step) for start in (before, margin))
        difference = float((whole[..., rows, rows] - part[..., inner, inner]).abs().max())
        largest = max(largest, difference / (float(whole.std()) or 1.0))
    return largest


def _outputs(network: Network, image: Tensor) -> tuple[Tensor, Tensor]:
    """(codes, reconstructions)"""
    output = network(image)
    return network.encoder(image), output.reconstructions if isinstance(output, Output) else output


def _image(channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    return torch.rand(1, channels, height, width, dtype=dtype, generator=torch.Generator().manual_seed(0))

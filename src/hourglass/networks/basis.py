"""Another basis for the code of a trained network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def change_basis(encoder: nn.Sequential, decoder: nn.Sequential, mean: Tensor, matrix: Tensor) -> None:
    """Replace each code y by `matrix` @ (y - `mean`), in the weights before and after it; what is decoded stays.

    The last layer of `encoder` and the first of `decoder` are fully connected, or 1×1 convolutions.

    Parameters
    ----------
    encoder, decoder : Sequential
    mean : Tensor (d,)
    matrix : Tensor (d, d), invertible
    """
    last, first = encoder[-1], decoder[0]
    assert isinstance(last, nn.Linear | nn.Conv2d)
    assert isinstance(first, nn.Linear | nn.Conv2d)
    assert last.bias is not None
    assert first.bias is not None
    mean, matrix = mean.to(last.weight.device, torch.float64), matrix.to(last.weight.device, torch.float64)
    before, after = last.weight.flatten(1).double(), first.weight.flatten(1).double()
    last.weight.copy_((matrix @ before).view_as(last.weight))
    last.bias.copy_(matrix @ (last.bias - mean))
    first.bias.add_(after @ mean)
    first.weight.copy_((after @ torch.linalg.inv(matrix)).view_as(first.weight))

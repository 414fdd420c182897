"""What a network makes of a batch, and all that a loss or a penalty can weigh."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """What a network makes of a batch.

    Attributes
    ----------
    reconstructions : Tensor like the input
    codes : Tensor (n, n_components)
    rate : Tensor (n,), optional
        What each code costs in nats, in networks that know: in a variational one the KL divergence from the prior, in one
        that compresses the expected length of the code.
    representations : Tensor (n, width), optional
        What the codes were made from, in networks whose code is a map of a wider layer.
    inputs : Tensor, optional
        What the network was given; the training loop adds it, and weights, for penalties that ask for them.
    weights : tuple of Tensor
        The network's matrices and kernels, without biases.
    """

    reconstructions: Tensor
    codes: Tensor
    rate: Tensor | None = None
    representations: Tensor | None = None
    inputs: Tensor | None = None
    weights: tuple[Tensor, ...] = ()

"""The output of a network for a batch: everything a loss or penalty can use."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """The output of a network for a batch.

    Attributes
    ----------
    reconstructions : Tensor, same shape as the input
    codes : Tensor (n, n_components), or maps (n, n_components, h', w')
    rate : Tensor (n,), optional
        Rate of each code in nats: the KL divergence from the prior for a variational network, the expected code length for
        a quantised one. None for networks without a rate.
    representations : Tensor (n, width), optional
        Activations of the wider layer before the code, for networks that map one to the other.
    inputs : Tensor, optional
        The network's input. The training loop adds it, and `weights`, for penalties that use them.
    weights : tuple of Tensor
        Weight matrices and kernels of the network, without biases.
    importance : Tensor (n,), optional
        Weight of each image's reconstruction loss in training, for networks that train for several rates at once.
    """

    reconstructions: Tensor
    codes: Tensor
    rate: Tensor | None = None
    representations: Tensor | None = None
    inputs: Tensor | None = None
    weights: tuple[Tensor, ...] = ()
    importance: Tensor | None = None

    @property
    def vectors(self) -> Tensor:
        """The codes as vectors (n, n_components): of maps, the mean over height and width."""
        return self.codes.flatten(2).mean(2) if self.codes.ndim > 2 else self.codes

    def as_float(self) -> Output:
        """Cast the outputs of a mixed-precision forward pass to float32."""
        rate = None if self.rate is None else self.rate.float()
        representations = None if self.representations is None else self.representations.float()
        return self._replace(
            reconstructions=self.reconstructions.float(),
            codes=self.codes.float(),
            rate=rate,
            representations=representations,
        )

"""What a network makes of a batch, and all that a loss or a penalty can weigh."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """What a network makes of a batch.

    Attributes
    ----------
    reconstructions : Tensor like the input
    codes : Tensor (n, n_components), or maps (n, n_components, h', w')
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

    @property
    def vectors(self) -> Tensor:
        """The codes as vectors (n, n_components): of maps, the mean over height and width."""
        return self.codes.flatten(2).mean(2) if self.codes.ndim > 2 else self.codes

    def as_float(self) -> Output:
        """The same in float32, of a network that ran in mixed precision."""
        rate = None if self.rate is None else self.rate.float()
        representations = None if self.representations is None else self.representations.float()
        return self._replace(
            reconstructions=self.reconstructions.float(),
            codes=self.codes.float(),
            rate=rate,
            representations=representations,
        )

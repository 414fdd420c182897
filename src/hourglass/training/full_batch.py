"""The full batch of a linear autoencoder."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hourglass.training.arrays import network_input
from hourglass.training.sources import Drawn, Epoch, Rows

_CHUNK = 4096  # samples in a chunk


class FullBatch(Rows):
    """Full batches, for a linear autoencoder under the mean squared error.

    Its loss depends only on the mean μ and the covariance C. So for more than 2·d samples of d values the batch is 2·d points
    with the same moments: μ ± √d · each column of the Cholesky factor L of C. Loss and gradient are those of all samples, at
    the cost of 2·d. An epoch takes as many steps as it would in batches of `size`.
    """

    MAX_VALUES = 4096
    """Most values in a sample: C has the square of it."""

    def batches(self, epoch: Epoch) -> Iterator[Drawn]:
        points = self._points[epoch.processes.share(len(self._points))]
        batch = Drawn(points, None, max(1, len(points)), is_normalised=True)
        for _ in range(epoch.first * epoch.size, len(self), epoch.size):
            yield batch

    @functools.cached_property
    def _points(self) -> Tensor:
        """The batch, as network input."""
        values = math.prod(self.sample.network_shape)
        if len(self) <= 2 * values:
            return self._network_input(slice(None))
        identity = torch.eye(values, dtype=torch.float64, device=self.device)
        total, products = torch.zeros_like(identity[0]), torch.zeros_like(identity)
        shift = self._network_input(slice(0, _CHUNK)).flatten(1).double().mean(0)  # near the mean, to avoid cancellation
        for start in range(0, len(self), _CHUNK):
            centred = self._network_input(slice(start, start + _CHUNK)).flatten(1).double() - shift
            total += centred.sum(0)
            products.addmm_(centred.T, centred)
        rest = total / len(self)
        covariance = products / len(self) - torch.outer(rest, rest)
        floor = 1e-10 * covariance.diagonal().mean() + 1e-20  # constant pixels have no variance
        spread = math.sqrt(values) * torch.linalg.cholesky(covariance + floor * identity).T
        points = torch.cat([shift + rest + spread, shift + rest - spread])
        return points.float().view(-1, *self.sample.network_shape)

    def _network_input(self, part: slice) -> Tensor:
        return network_input(self.sample, self._gathered(self.targets, self._places[part]))

"""What training steps are fed: inputs and targets, batch by batch."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.corruption import Corruption
from hourglass.images import Array, Layout

_PIECE = 4096  # samples at once


class Examples:
    """Samples as the user gave them (uint8 stays uint8), made into (inputs, targets) one batch at a time.

    Parameters
    ----------
    targets : ndarray of shape (n, *layout.shape)
        What the network is to give back.
    layout : Layout
    inputs : ndarray of the same shape, optional
        What the network is given instead of the targets.
    corruption : Corruption, optional
        Damages the inputs anew in every batch.
    rows : ndarray of int, optional
        The samples that count; all by default. The arrays are not copied.
    n_views : int
        2: each sample stands twice in a batch, first all of them as they are, then all of them damaged.
    """

    def __init__(
        self,
        targets: Array,
        layout: Layout,
        *,
        inputs: Array | None = None,
        corruption: Corruption | None = None,
        rows: NDArray[np.intp] | None = None,
        n_views: int = 1,
    ) -> None:
        self.targets, self.inputs, self.layout, self.corruption = targets, inputs, layout, corruption
        self.n_views = n_views
        self.rows = np.arange(len(targets)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, positions: NDArray[np.intp], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(inputs, targets) at `positions`, float32 of shape (n_views · batch, *network_shape)."""
        rows = self.rows[positions]
        targets = torch.from_numpy(self.layout.to_network(self.targets[rows]))
        inputs = targets.clone() if self.inputs is None else torch.from_numpy(self.layout.to_network(self.inputs[rows]))
        if self.corruption is not None:
            inputs = self.corruption.corrupt(inputs, generator)
        if self.n_views == 2:
            return torch.cat([targets, inputs]), torch.cat([targets, targets])
        return inputs, targets

    def shuffled(self, batch_size: int, order: torch.Generator, noise: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches of one epoch in an order drawn from `order`."""
        permutation = torch.randperm(len(self), generator=order).numpy()
        for start in range(0, len(self), batch_size):
            yield self.batch(permutation[start : start + batch_size], noise)

    def in_order(self, batch_size: int, noise: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches in the order of the samples."""
        for start in range(0, len(self), batch_size):
            yield self.batch(np.arange(start, min(start + batch_size, len(self))), noise)


class WholeSet(Examples):
    """Every batch is all samples at once, for a linear map that copies them with least squared error.

    Such a map learns from the mean μ and the covariance C alone. So where there are more than 2·d samples of d values, the
    batch is 2·d points that have the same two: μ ± √d · each column of the Cholesky factor L of C. The loss and its gradient
    are those of all samples, at the cost of 2·d. An epoch takes as many steps as batches of single samples would.
    """

    MAX_VALUES = 4096
    """Largest number of values a sample: C has the square of it."""

    def shuffled(self, batch_size: int, order: torch.Generator, noise: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(0, len(self), batch_size):
            yield self._points, self._points

    @functools.cached_property
    def _points(self) -> Tensor:
        shape = self.layout.network_shape
        values = math.prod(shape)
        if len(self) <= 2 * values:
            return self._rows(slice(None))
        total, products = torch.zeros(values, dtype=torch.float64), torch.zeros(values, values, dtype=torch.float64)
        middle = self._rows(slice(0, _PIECE)).flatten(1).double().mean(0)  # of a few, so that nothing large cancels
        for start in range(0, len(self), _PIECE):
            centred = self._rows(slice(start, start + _PIECE)).flatten(1).double() - middle
            total += centred.sum(0)
            products.addmm_(centred.T, centred)
        shift = total / len(self)
        covariance = products / len(self) - torch.outer(shift, shift)
        floor = 1e-10 * covariance.diagonal().mean() + 1e-20  # pixels that never change have no variance
        spread = math.sqrt(values) * torch.linalg.cholesky(covariance + floor * torch.eye(values)).T
        return torch.cat([middle + shift + spread, middle + shift - spread]).float().view(-1, *shape)

    def _rows(self, part: slice) -> Tensor:
        return torch.from_numpy(self.layout.to_network(self.targets[self.rows[part]]))

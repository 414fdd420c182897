"""What training steps are fed: inputs and targets, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.corruption import Corruption
from hourglass.images import Array, Layout


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

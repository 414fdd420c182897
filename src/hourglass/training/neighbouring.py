"""A source that pairs each sample with others that are like it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from hourglass.images import Array, Sample
from hourglass.training.sources import Drawn, Epoch, Rows, shares_of


class Neighbouring(Rows):
    """Rows whose input is one of their nearest other rows, drawn anew in each epoch.

    Parameters
    ----------
    sample, targets, rows
        As for `Rows`.
    neighbours : ndarray (n, k), int64
        Positions among the rows.
    """

    def __init__(self, sample: Sample, targets: Array, rows: NDArray[np.int64], neighbours: NDArray[np.int64]) -> None:
        super().__init__(sample, targets, rows=rows)
        self.neighbours = torch.from_numpy(neighbours)

    def batches(self, epoch: Epoch) -> Iterator[Drawn]:
        ranks = torch.randint(self.neighbours.shape[1], (len(self), 1), generator=epoch.order)
        partners = self._places[self.neighbours.gather(1, ranks)[:, 0]]
        positions = torch.randperm(len(self), generator=epoch.order)[epoch.first * epoch.size :]
        for own, width in shares_of(positions, epoch.size, epoch.n_together, epoch.processes):
            yield self.at(own, width)._replace(inputs=self._gathered(self.targets, partners[own]))

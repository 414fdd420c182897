"""Examples that are read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.corruption import Corruption
from hourglass.data import Stream
from hourglass.data.shuffling import Batch
from hourglass.images import Array, Layout
from hourglass.training.distribution import ALONE, Processes
from hourglass.training.examples import Examples, Memory, as_tensor, network_input


class StreamedExamples(Examples):
    """Samples of a `Stream`, which are damaged as they come.

    Parameters
    ----------
    source : Stream
    some : ndarray (n, *layout.shape)
        A few of its samples in memory, for what wants to know them before the first step.
    without : ndarray of int, sorted
        The numbers of those that are left out.
    """

    def __init__(
        self,
        source: Stream,
        layout: Layout,
        some: Array,
        *,
        without: NDArray[np.int64],
        corruption: Corruption | None = None,
        n_views: int = 1,
    ) -> None:
        super().__init__(some, layout, corruption=corruption, n_views=n_views)
        self.source, self.without = source, without

    def __len__(self) -> int:
        return len(self.source) - len(self.without)

    def to(self, device: torch.device) -> None:
        self.device = device

    def shuffled(
        self,
        batch_size: int,
        order: torch.Generator,
        noise: torch.Generator,
        memory: Memory | None = None,
        processes: Processes = ALONE,
        *,
        first: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the batches of one epoch, from number `first` on; it reads no other images."""
        seed, noise_seed = (
            int(torch.randint(2**62, (), generator=generator, device=generator.device)) for generator in (order, noise)
        )
        for batch in self.source.batches(
            batch_size, seed, first=first, part=(processes.rank, processes.size), without=self.without
        ):
            targets = network_input(self.layout, as_tensor(batch.images).to(self.device))
            inputs = (
                targets.clone() if self.corruption is None else self._corrupted(self.corruption, targets, batch, noise_seed)
            )
            if self.n_views == 2:
                yield torch.cat([targets, inputs]), torch.cat([targets, targets])
            else:
                yield inputs, targets

    def _corrupted(self, corruption: Corruption, targets: Tensor, batch: Batch, seed: int) -> Tensor:
        """Damage drawn for each lane as a whole, also where this process has a part of it, or an image is missing."""
        inputs = torch.empty_like(targets)
        generator = torch.Generator(self.device)
        own_lanes = batch.lanes[batch.places]
        for lane in np.unique(own_lanes):
            own, members = np.flatnonzero(own_lanes == lane), np.flatnonzero(batch.lanes == lane)
            here = torch.from_numpy(own).to(self.device)
            clean = targets[here]
            generator.manual_seed((seed + batch.number * 1_000_003 + int(lane)) % 2**63)
            if len(here) == len(members):
                inputs[here] = corruption.corrupt(clean, generator)
                continue
            places = torch.from_numpy(np.searchsorted(members, batch.places[own])).to(self.device)
            whole = clean.new_zeros(len(members), *clean.shape[1:]).index_copy_(0, places, clean)
            inputs[here] = corruption.corrupt(whole, generator)[places]
        return inputs

"""Batches of inputs and targets for training steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hourglass.corruption import Corruption
from hourglass.data.shuffling import Batch
from hourglass.training.arrays import network_input
from hourglass.training.distribution import ALONE, Processes
from hourglass.training.sources import Drawn, Epoch, Rows, Source

_CHUNK = {"cpu": 256, "cuda": 8192}
"""Samples to prepare together if batches are smaller: calls would cost more than the arithmetic."""

Pair = tuple[Tensor, Tensor]
"""(inputs, targets)"""


class Buffers(NamedTuple):
    """Preallocated memory for some batches of one size, which an engine reads.

    Attributes
    ----------
    inputs, targets : Tensor of shape (n_batches · batch, values), float32
    batches : list of (inputs, targets), views of both.
    """

    inputs: Tensor
    targets: Tensor
    batches: list[Pair]


Memory = Callable[[int, int], Buffers]
"""(batch size, number of batches) -> buffers for them."""


class Examples:
    """The samples of a source as batches (inputs, targets) of network input, float32.

    Parameters
    ----------
    source : Source
    corruption : Corruption, optional
        Corrupts the inputs anew in every batch.
    n_views : int
        2: a batch has each sample twice, first clean, then a corrupted copy, or a corrupted other view if the source has one.
    """

    def __init__(self, source: Source, corruption: Corruption | None = None, n_views: int = 1) -> None:
        self.source, self.corruption, self.n_views = source, corruption, n_views

    def __len__(self) -> int:
        return len(self.source)

    def to(self, device: torch.device) -> None:
        """Yield batches on `device`."""
        self.source.to(device)

    def shuffled(
        self,
        batch_size: int,
        order: torch.Generator,
        noise: torch.Generator,
        memory: Memory | None = None,
        processes: Processes = ALONE,
        *,
        first: int = 0,
    ) -> Iterator[Pair]:
        """The batches of one epoch, from number `first` on. `order` draws their order, `noise`, on the device, the corruption.

        Without corruption, samples are written to the engine's `memory`, and each batch overwrites the last. Each process
        receives its share of every batch, which may be empty; for samples in memory all draw the same order and corruption.
        """
        n_together = 1 if self.n_views == 2 else max(1, _CHUNK.get(self.source.device.type, 0) // batch_size)
        if self.corruption is None and self.n_views == 1:
            epoch = Epoch(batch_size, order, first, processes, n_together)
            return self._clean(self.source.batches(epoch), memory, n_together)
        if self.source.draws_by_lane:
            return self._by_lane(Epoch(batch_size, order, first, processes), noise)
        every = self._corrupted(self.source.batches(Epoch(batch_size, order, n_together=n_together)), noise)
        batches = itertools.islice(every, first, None)  # skipped batches still draw their corruption
        return batches if processes.size == 1 else (self._share(*batch, processes) for batch in batches)

    def in_order(self, batch_size: int, noise: torch.Generator) -> Iterator[Pair]:
        """All batches of a source in memory, in the order of its samples."""
        assert isinstance(self.source, Rows)
        return self._corrupted(self.source.in_order(batch_size), noise)

    def some(self, count: int, noise: torch.Generator) -> Pair:
        """One batch of at most `count` evenly spaced samples, on the CPU."""
        few = Examples(self.source.some(count), self.corruption, self.n_views)
        return next(few.in_order(count, noise))

    def _clean(self, drawn: Iterator[Drawn], memory: Memory | None, n_together: int) -> Iterator[Pair]:
        buffers: Buffers | None = None
        written: Drawn | None = None  # a full batch is the same object in every step
        for clean in drawn:
            count, size = len(clean.targets), clean.size
            if memory is None or not count:
                targets = self._network_input(clean.targets, clean)
                inputs = targets if clean.inputs is None else self._network_input(clean.inputs, clean)
                yield from zip(torch.split(inputs, size), torch.split(targets, size), strict=True)
                continue
            if buffers is None:
                buffers = memory(min(size, count), n_together)
            width = len(buffers.batches[0][0])
            if clean is not written:
                written = clean
                self._network_input(clean.targets, clean, out=buffers.targets[:count])
                self._network_input(clean.targets if clean.inputs is None else clean.inputs, clean, out=buffers.inputs[:count])
            n_whole = count // width
            yield from buffers.batches[:n_whole]
            if n_whole * width < count:
                yield buffers.inputs[n_whole * width : count], buffers.targets[n_whole * width : count]

    def _corrupted(self, drawn: Iterator[Drawn], noise: torch.Generator) -> Iterator[Pair]:
        for clean in drawn:
            targets = self._network_input(clean.targets, clean)
            others = targets if clean.others is None else self._network_input(clean.others, clean)
            inputs = others.clone() if clean.inputs is None else self._network_input(clean.inputs, clean)
            if self.corruption is not None:
                inputs = self.corruption.corrupt(inputs, noise)
            inputs, targets = self._views(inputs, targets, others)
            size = self.n_views * clean.size
            yield from zip(torch.split(inputs, size), torch.split(targets, size), strict=True)

    def _by_lane(self, epoch: Epoch, noise: torch.Generator) -> Iterator[Pair]:
        """Draw the corruption of each lane as a whole, even if this process has part of it or an image is missing."""
        seed = int(torch.randint(2**62, (), generator=noise, device=noise.device))
        for clean in self.source.batches(epoch):
            targets = self._network_input(clean.targets, clean)
            assert clean.streamed is not None
            yield self._views(self._corrupted_by_lane(targets, clean.streamed, seed), targets, targets)

    def _corrupted_by_lane(self, targets: Tensor, batch: Batch, seed: int) -> Tensor:
        inputs = targets.clone()
        if self.corruption is None:
            return inputs
        generator = torch.Generator(targets.device)
        own_lanes = batch.lanes[batch.places]
        for lane in np.unique(own_lanes):
            own, members = np.flatnonzero(own_lanes == lane), np.flatnonzero(batch.lanes == lane)
            here = torch.from_numpy(own).to(targets.device)
            clean = targets[here]
            generator.manual_seed((seed + batch.number * 1_000_003 + int(lane)) % 2**63)
            if len(here) == len(members):
                inputs[here] = self.corruption.corrupt(clean, generator)
                continue
            places = torch.from_numpy(np.searchsorted(members, batch.places[own])).to(targets.device)
            whole = clean.new_zeros(len(members), *clean.shape[1:]).index_copy_(0, places, clean)
            inputs[here] = self.corruption.corrupt(whole, generator)[places]
        return inputs

    def _views(self, inputs: Tensor, targets: Tensor, others: Tensor) -> Pair:
        """Of two views the second is `inputs`, and `others` its target."""
        if self.n_views == 2:
            return torch.cat([targets, inputs]), torch.cat([targets, others])
        return inputs, targets

    def _share(self, inputs: Tensor, targets: Tensor, processes: Processes) -> Pair:
        """This process's share of a batch: the same samples in both views."""
        views = zip(inputs.chunk(self.n_views), targets.chunk(self.n_views), strict=True)
        taken = [(given[processes.share(len(given))], wanted[processes.share(len(wanted))]) for given, wanted in views]
        return taken[0] if self.n_views == 1 else (torch.cat([taken[0][0], taken[1][0]]), torch.cat([taken[0][1], taken[1][1]]))

    def _network_input(self, samples: Tensor, drawn: Drawn, out: Tensor | None = None) -> Tensor:
        """Network input, float32, in `out` if given; empty batches stay as they are."""
        if drawn.is_normalised or not len(samples):
            return samples if out is None else out.copy_(samples.view(out.shape))
        return network_input(self.source.sample, samples, out=out)

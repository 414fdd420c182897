"""What training steps are fed: inputs and targets, batch by batch."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.corruption import Corruption
from hourglass.images import Array, Layout
from hourglass.training.distribution import ALONE, Processes

_PIECE = 4096  # samples at once
_AT_ONCE = {"cpu": 256, "cuda": 8192}
"""Samples that are made together where batches are smaller: there the calls cost more than the arithmetic."""


class Place(NamedTuple):
    """Memory for some batches of the same size, from which an engine reads them.

    Attributes
    ----------
    inputs, targets : Tensor of shape (n_batches · batch, values), float32
    batches : list of (inputs, targets), the parts of both.
    """

    inputs: Tensor
    targets: Tensor
    batches: list[tuple[Tensor, Tensor]]


Memory = Callable[[int, int], Place]
"""(samples a batch, how many batches) -> where they go."""


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
        self.layout, self.corruption, self.n_views = layout, corruption, n_views
        self.targets = as_tensor(targets)
        self.inputs = None if inputs is None else as_tensor(inputs)
        self.rows = torch.arange(len(targets)) if rows is None else torch.from_numpy(rows)
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> None:
        """Make batches on `device`. The samples move there too if they take no more than half of its free memory."""
        self.device = device
        n_bytes = sum(given[0].nbytes for given in (self.targets, self.inputs) if given is not None) * len(self)
        if device.type == "cuda" and n_bytes <= torch.cuda.mem_get_info(device)[0] / 2:
            self.targets = self.targets.index_select(0, self.rows).to(device)
            self.inputs = None if self.inputs is None else self.inputs.index_select(0, self.rows).to(device)
            self.rows = torch.arange(len(self))

    def batch(self, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(inputs, targets) at `positions`, float32 of shape (n_views · batch, *network_shape), on the device."""
        rows = self.rows[positions]
        targets = self._taken(self.targets, rows)
        inputs = targets.clone() if self.inputs is None else self._taken(self.inputs, rows)
        if self.corruption is not None:
            inputs = self.corruption.corrupt(inputs, generator)
        if self.n_views == 2:
            return torch.cat([targets, inputs]), torch.cat([targets, targets])
        return inputs, targets

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
        """Batches of one epoch from number `first` on, in an order drawn from `order`; `noise` is a generator on the device.

        Where samples go as they are, they are written to the `memory` that the engine reads them from, and each batch
        overwrites the one before. Of several `processes` each is given its share of every batch, which may be empty; all draw
        the same order and the same damage.
        """
        positions = torch.randperm(len(self), generator=order)
        as_they_are = self.corruption is None and self.n_views == 1
        if as_they_are and processes.size > 1:
            return self._shares(positions[first * batch_size :], batch_size, noise, memory, processes)
        if as_they_are and memory is not None:
            return self._written(positions[first * batch_size :], batch_size, memory)
        batches = itertools.islice(self._batches(positions, batch_size, noise), first, None)  # damage is drawn in turn
        return batches if processes.size == 1 else (self._share(*batch, processes) for batch in batches)

    def in_order(self, batch_size: int, noise: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches in the order of the samples."""
        return self._batches(torch.arange(len(self)), batch_size, noise)

    def _batches(self, positions: Tensor, batch_size: int, noise: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for some in torch.split(positions, self._n_together(batch_size) * batch_size):
            inputs, targets = self.batch(some, noise)
            size = self.n_views * batch_size
            yield from zip(torch.split(inputs, size), torch.split(targets, size), strict=True)

    def _share(self, inputs: Tensor, targets: Tensor, processes: Processes) -> tuple[Tensor, Tensor]:
        """Of a whole batch: of both views the same samples."""
        views = zip(inputs.chunk(self.n_views), targets.chunk(self.n_views), strict=True)
        taken = [(given[processes.share(len(given))], wanted[processes.share(len(wanted))]) for given, wanted in views]
        return taken[0] if self.n_views == 1 else (torch.cat([taken[0][0], taken[1][0]]), torch.cat([taken[0][1], taken[1][1]]))

    def _shares(
        self, positions: Tensor, batch_size: int, noise: torch.Generator, memory: Memory | None, processes: Processes
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Of all batches, where nothing is drawn for the samples that others take."""
        if not len(positions):  # an epoch that was saved after its last batch
            return
        shares = [some[processes.share(len(some))] for some in torch.split(positions, batch_size)]
        own, size = torch.cat(shares), max(1, len(shares[0]))  # no later share is larger
        batches = self._batches(own, size, noise) if memory is None else self._written(own, size, memory)
        none = torch.empty(0, dtype=torch.float32)
        for share in shares:
            yield next(batches) if len(share) else (none, none)

    def _written(self, positions: Tensor, batch_size: int, memory: Memory) -> Iterator[tuple[Tensor, Tensor]]:
        if not len(positions):
            return
        batch_size = min(batch_size, len(positions))
        place = memory(batch_size, self._n_together(batch_size))
        for some in torch.split(positions, len(place.targets)):
            rows = self.rows[some]
            targets = self._gathered(self.targets, rows)
            inputs = targets if self.inputs is None else self._gathered(self.inputs, rows)
            network_input(self.layout, targets, out=place.targets[: len(some)])
            network_input(self.layout, inputs, out=place.inputs[: len(some)])
            n_whole = len(some) // batch_size
            yield from place.batches[:n_whole]
            if rest := len(some) % batch_size:
                yield place.inputs[len(some) - rest : len(some)], place.targets[len(some) - rest : len(some)]

    def _n_together(self, batch_size: int) -> int:
        """How many batches are made at once."""
        return 1 if self.n_views == 2 else max(1, _AT_ONCE.get(self.device.type, 0) // batch_size)

    def _taken(self, samples: Tensor, rows: Tensor) -> Tensor:
        return network_input(self.layout, self._gathered(samples, rows))

    def _gathered(self, samples: Tensor, rows: Tensor) -> Tensor:
        return samples.index_select(0, rows.to(samples.device)).to(self.device)


def network_input(layout: Layout, samples: Tensor, out: Tensor | None = None) -> Tensor:
    """`Layout.to_network` in torch: samples (n, *shape) as float32 (n, *network_shape), contiguous, always a copy; in `out`,
    of any shape of the same size, if given.
    """
    if layout.is_image:
        ordered = samples.unsqueeze(1) if samples.ndim == 3 else samples.movedim(3, 1)
    else:
        ordered = samples if layout.is_bounded else layout.normalised(samples.cpu(), torch)
    values = torch.empty(ordered.shape, dtype=torch.float32, device=samples.device) if out is None else out.view(ordered.shape)
    values.copy_(ordered)
    return values.mul_(1 / 255) if layout.is_image and samples.dtype == torch.uint8 else values


def as_tensor(array: Array) -> Tensor:
    """`array` without a copy where torch knows its dtype and strides; other numbers become float64. For reading only."""
    if array.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        array = array.astype(np.float64)
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes
        return torch.from_numpy(array)


class WholeSet(Examples):
    """Every batch is all samples at once, for a linear map that copies them with least squared error.

    Such a map learns from the mean μ and the covariance C alone. So where there are more than 2·d samples of d values, the
    batch is 2·d points that have the same two: μ ± √d · each column of the Cholesky factor L of C. The loss and its gradient
    are those of all samples, at the cost of 2·d. An epoch takes as many steps as batches of single samples would.
    """

    MAX_VALUES = 4096
    """Largest number of values a sample: C has the square of it."""

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
        points = self._points[processes.share(len(self._points))]
        batch = points, points
        if memory is not None and len(points):
            place = memory(len(points), 1)
            place.inputs.copy_(points.flatten(1))
            place.targets.copy_(points.flatten(1))
            batch = place.batches[0]
        for _ in range(first * batch_size, len(self), batch_size):
            yield batch

    @functools.cached_property
    def _points(self) -> Tensor:
        shape = self.layout.network_shape
        values = math.prod(shape)
        if len(self) <= 2 * values:
            return self._rows(slice(None))
        identity = torch.eye(values, dtype=torch.float64, device=self.device)
        total, products = torch.zeros_like(identity[0]), torch.zeros_like(identity)
        middle = self._rows(slice(0, _PIECE)).flatten(1).double().mean(0)  # of a few, so that nothing large cancels
        for start in range(0, len(self), _PIECE):
            centred = self._rows(slice(start, start + _PIECE)).flatten(1).double() - middle
            total += centred.sum(0)
            products.addmm_(centred.T, centred)
        shift = total / len(self)
        covariance = products / len(self) - torch.outer(shift, shift)
        floor = 1e-10 * covariance.diagonal().mean() + 1e-20  # pixels that never change have no variance
        spread = math.sqrt(values) * torch.linalg.cholesky(covariance + floor * identity).T
        points = torch.cat([middle + shift + spread, middle + shift - spread])
        return points.float().view(-1, *shape)

    def _rows(self, part: slice) -> Tensor:
        return self._taken(self.targets, self.rows[part])

"""Sources of training samples: rows of an array, crops of images of many sizes, or a stream.

A source yields clean samples in the user's units; `Examples` makes batches of them. A new kind is a class with `__len__`,
`split`, `some` and `batches`.
"""

from __future__ import annotations

import functools
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hourglass.data import Stream
from hourglass.data.shuffling import Batch
from hourglass.errors import DataError
from hourglass.images import Array, Sample, crop_at
from hourglass.training.arrays import as_tensor
from hourglass.training.distribution import ALONE, Processes

_MOST_HELD_OUT = 10_000  # from a stream, in memory
_FINGERPRINTED = 64
_SUBSET = 1000  # of a stream, for statistics before the first step


class Drawn(NamedTuple):
    """Clean samples for one batch or several.

    Attributes
    ----------
    targets : Tensor of shape (n, *sample.shape)
    inputs : Tensor of the same shape, optional
        Inputs of the network, if not the targets.
    size : int
        Batch size; the last batch may be smaller.
    is_normalised : bool
        Whether they are already network input.
    streamed : Batch, optional
        Of a stream: the lanes of the samples, as corruption is drawn lane by lane.
    others : Tensor of the same shape, optional
        Another clean view of each sample, for batches of two views.
    """

    targets: Tensor
    inputs: Tensor | None
    size: int
    is_normalised: bool = False
    streamed: Batch | None = None
    others: Tensor | None = None


class Epoch(NamedTuple):
    """How to draw one epoch.

    Attributes
    ----------
    size : int
        Batch size.
    order : Generator
        Draws the order and the crops.
    first : int
        Number of the first batch.
    processes : Processes
        Each process receives its share of every batch, which may be empty.
    n_together : int
        Batches in one `Drawn`.
    """

    size: int
    order: torch.Generator
    first: int = 0
    processes: Processes = ALONE
    n_together: int = 1


class Source(ABC):
    """A source of training samples, each of which is a `sample`."""

    sample: Sample
    device = torch.device("cpu")
    draws_by_lane: ClassVar[bool] = False
    """Whether each process reads its own samples only, so that corruption is drawn for parts of a batch."""

    @abstractmethod
    def __len__(self) -> int:
        """Samples in an epoch."""

    @abstractmethod
    def split(self, share: float, seed: int) -> tuple[Source, Rows | None, NDArray[np.int64]]:
        """(training split, validation split in memory or None, its rows or images)"""

    @abstractmethod
    def some(self, count: int) -> Rows:
        """At most `count` samples, evenly spaced, in memory: for statistics before the first step."""

    @abstractmethod
    def batches(self, epoch: Epoch) -> Iterator[Drawn]:
        """One epoch, shuffled."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Identifies the data set."""

    def to(self, device: torch.device) -> None:
        """Yield samples on `device`."""
        self.device = device


class Rows(Source):
    """Rows of an array in memory, without a copy; uint8 stays uint8.

    Parameters
    ----------
    sample : Sample
    targets : ndarray of shape (n, *sample.shape)
    inputs : ndarray of the same shape, optional
        Inputs of the network, if not the targets.
    rows : ndarray of int, optional
        The rows to use; all by default.
    """

    def __init__(
        self, sample: Sample, targets: Array, inputs: Array | None = None, rows: NDArray[np.int64] | None = None
    ) -> None:
        self.sample, self._arrays = sample, (targets, inputs)
        self.targets = as_tensor(targets)
        self.inputs = None if inputs is None else as_tensor(inputs)
        self.rows = torch.arange(len(targets)) if rows is None else torch.from_numpy(rows)
        self._places = self.rows
        """Positions of the rows in `targets` and `inputs`; on a GPU these hold only the rows in use."""

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, share: float, seed: int) -> tuple[Rows, Rows | None, NDArray[np.int64]]:
        order = np.random.default_rng(seed).permutation(len(self))
        n_held_out = int(share * len(self))
        rows = self.rows.numpy()
        held_out, rest = np.sort(rows[order[:n_held_out]]), np.sort(rows[order[n_held_out:]])
        return self._of(rest), self._of(held_out) if n_held_out else None, held_out

    def some(self, count: int) -> Rows:
        return self._of(self.rows[spread_over(len(self), count)].numpy())

    def _of(self, rows: NDArray[np.int64]) -> Rows:
        return Rows(self.sample, *self._arrays, rows=rows)

    @property
    def array(self) -> Array:
        """The array of which these are rows."""
        return self._arrays[0]

    def corrupted(self, inputs: Array) -> Rows:
        """The same rows with `inputs`, which has one for each row of the array."""
        return Rows(self.sample, self._arrays[0], inputs, self.rows.numpy())

    def to(self, device: torch.device) -> None:
        """Yield samples on `device`; move them there if they take at most half of its free memory."""
        self.device = device
        n_bytes = sum(given[0].nbytes for given in (self.targets, self.inputs) if given is not None) * len(self)
        if device.type == "cuda" and n_bytes <= torch.cuda.mem_get_info(device)[0] / 2:
            places = self._places.to(self.targets.device)
            self.targets = self.targets.index_select(0, places).to(device)
            self.inputs = None if self.inputs is None else self.inputs.index_select(0, places).to(device)
            self._places = torch.arange(len(self))

    def batches(self, epoch: Epoch) -> Iterator[Drawn]:
        positions = torch.randperm(len(self), generator=epoch.order)[epoch.first * epoch.size :]
        for own, width in shares_of(positions, epoch.size, epoch.n_together, epoch.processes):
            yield self.at(own, width)

    def in_order(self, size: int) -> Iterator[Drawn]:
        """All samples, in order, in batches of `size`."""
        for some in torch.split(torch.arange(len(self)), size):
            yield self.at(some, size)

    def at(self, positions: Tensor, size: int) -> Drawn:
        """The samples at these `positions`, in batches of `size`."""
        places = self._places[positions]
        return Drawn(
            self._gathered(self.targets, places), None if self.inputs is None else self._gathered(self.inputs, places), size
        )

    def all_targets(self) -> Array:
        """All clean samples, in the user's units."""
        every: Array = self._gathered(self.targets, self._places).cpu().numpy()
        return every

    def _gathered(self, samples: Tensor, places: Tensor) -> Tensor:
        return samples.index_select(0, places.to(samples.device)).to(self.device)

    @property
    def fingerprint(self) -> str:
        return " ".join(_fingerprint(array) for array in self._arrays if array is not None)


def shares_of(positions: Tensor, size: int, n_together: int, processes: Processes) -> Iterator[tuple[Tensor, int]]:
    """This process's shares of batches of `size` of `positions`: (shares of `n_together` batches, size of each share).

    No share is larger than the first; the last ones may be empty.
    """
    shares = [some[processes.share(len(some))] for some in torch.split(positions, size)] if len(positions) else []
    width = max(1, len(shares[0])) if shares else 1
    if filled := [share for share in shares if len(share)]:
        for some in torch.split(torch.cat(filled), n_together * width):
            yield some, width
    for share in shares[len(filled) :]:
        yield share, width


class Crops(Source):
    """Random crops of images of any sizes, rotated by multiples of 90° and flipped, drawn anew in every epoch.

    An epoch has as many pixels as the images, and `MOST_PIXELS` at most. Images smaller than a crop are mirrored at their
    borders.

    Parameters
    ----------
    sample : Sample
    targets : sequence of ndarray (h, w) or (h, w, c), all with the same channels
    size : (height, width) of a crop
    inputs : sequence of ndarray, optional
        Of the same sizes: inputs of the network, if not the targets.
    turns : bool
        Whether to flip and rotate crops.
    paired : bool
        Whether each crop comes with another of the same image, flipped and rotated alike (`Drawn.others`).
    """

    MOST_PIXELS = 2**28
    """In the crops of an epoch: 65,536 crops of 64 × 64."""

    def __init__(
        self,
        sample: Sample,
        targets: Sequence[Array],
        size: tuple[int, int],
        inputs: Sequence[Array] | None = None,
        *,
        turns: bool = True,
        paired: bool = False,
    ) -> None:
        self.sample, self.size, self.turns, self.paired = sample, size, turns, paired
        self.targets, self.inputs = list(targets), None if inputs is None else list(inputs)
        pixels = [image.shape[0] * image.shape[1] for image in self.targets]
        self.share = min(1.0, self.MOST_PIXELS / sum(pixels))
        """Of all pixels, in an epoch."""
        counts = [max(1, round(self.share * count / math.prod(size))) for count in pixels]
        self._owners = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))

    def __len__(self) -> int:
        return len(self._owners)

    def split(self, share: float, seed: int) -> tuple[Crops, Rows | None, NDArray[np.int64]]:
        """Hold out whole images; the validation split is some fixed crops of each."""
        order = np.random.default_rng(seed).permutation(len(self.targets))
        n_held_out = int(share * len(order))
        held_out, rest = np.sort(order[:n_held_out]), np.sort(order[n_held_out:])
        return self._of(rest), self._of(held_out).some(_MOST_HELD_OUT) if n_held_out else None, held_out

    def _of(self, images: NDArray[np.int64]) -> Crops:
        targets, inputs = (None if given is None else [given[i] for i in images] for given in (self.targets, self.inputs))
        assert targets is not None
        return Crops(self.sample, targets, self.size, inputs, turns=self.turns)

    def in_pairs(self) -> Crops:
        """The same crops, each with another of the same image."""
        return Crops(self.sample, self.targets, self.size, self.inputs, turns=self.turns, paired=True)

    def some(self, count: int) -> Rows:
        offsets = torch.rand(len(self), 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        drawn = self._crops_at(torch.from_numpy(spread_over(len(self), count)), offsets, 1)
        return Rows(self.sample, drawn.targets.cpu().numpy(), None if drawn.inputs is None else drawn.inputs.cpu().numpy())

    def batches(self, epoch: Epoch) -> Iterator[Drawn]:
        positions = torch.randperm(len(self), generator=epoch.order)[epoch.first * epoch.size :]
        offsets = torch.rand(len(self), 3, generator=epoch.order, dtype=torch.float64)
        shares = shares_of(positions, epoch.size, 1, epoch.processes)
        if not self.paired:
            yield from (self._crops_at(own, offsets, width) for own, width in shares)
            return
        others = torch.cat([torch.rand(len(self), 2, generator=epoch.order, dtype=torch.float64), offsets[:, 2:]], dim=1)
        for own, width in shares:
            yield self._crops_at(own, offsets, width)._replace(others=self._crops_at(own, others, width).targets)

    def _crops_at(self, positions: Tensor, offsets: Tensor, size: int) -> Drawn:
        """The crops with these numbers, from `offsets` (crops, 3) in [0, 1): see `crop_at`."""

        def crops_of(images: list[Array]) -> Tensor:
            if not len(positions):
                return torch.empty(0, dtype=torch.float32)
            crops = [
                crop_at(images[owner], self.size, offset if self.turns else (*offset[:2], 0.0))
                for owner, offset in zip(self._owners[positions].tolist(), offsets[positions].tolist(), strict=True)
            ]
            return torch.from_numpy(np.stack(crops)).to(self.device)

        return Drawn(crops_of(self.targets), None if self.inputs is None else crops_of(self.inputs), size)

    @property
    def fingerprint(self) -> str:
        every = [image for images in (self.targets, self.inputs or []) for image in images]
        digest = functools.reduce(lambda crc, image: zlib.crc32(_fingerprint(image).encode(), crc), every, 0)
        return f"{len(self.targets)} images {digest:08x} in crops of {self.size}"


class Streamed(Source):
    """Samples of a `Stream`, read on demand; each process reads only its share.

    Parameters
    ----------
    sample : Sample
    stream : Stream
    without : ndarray of int, sorted, optional
        Numbers of the images to leave out.
    """

    draws_by_lane = True

    def __init__(self, sample: Sample, stream: Stream, without: NDArray[np.int64] | None = None) -> None:
        self.sample, self.stream = sample, stream
        self.without = np.empty(0, np.int64) if without is None else without
        self._some: list[Rows] = []  # shared with its splits, to read these once

    def __len__(self) -> int:
        return len(self.stream) - len(self.without)

    def split(self, share: float, seed: int) -> tuple[Streamed, Rows | None, NDArray[np.int64]]:
        """Hold out at most 10,000 images, and read them once."""
        rows = self.stream.draw(min(int(share * len(self.stream)), _MOST_HELD_OUT), seed)
        training = Streamed(self.sample, self.stream, rows)
        training._some = self._some
        if not len(rows):
            return training, None, rows
        return training, Rows(self.sample, self.stream.take(rows, named=False).images), rows

    def some(self, count: int) -> Rows:
        if not self._some:
            self._some.append(Rows(self.sample, self.stream.take(self.stream.draw(_SUBSET, 0), named=False).images))
        return self._some[0].some(count)

    def batches(self, epoch: Epoch) -> Iterator[Drawn]:
        seed = int(torch.randint(2**62, (), generator=epoch.order, device=epoch.order.device))
        part = epoch.processes.rank, epoch.processes.size
        for batch in self.stream.batches(epoch.size, seed, first=epoch.first, part=part, without=self.without):
            yield Drawn(as_tensor(batch.images).to(self.device), None, epoch.size, streamed=batch)

    @property
    def fingerprint(self) -> str:
        return self.stream.fingerprint


def source_of(
    sample: Sample,
    targets: Array | Sequence[Array] | Stream,
    inputs: Array | Sequence[Array] | None = None,
    *,
    crop: tuple[int, int] | None = None,
    turns: bool = True,
) -> Source:
    """The source of checked samples: a stream, an array, or images from which to take crops.

    Raises
    ------
    DataError
        If a stream comes with inputs.
    """
    if isinstance(targets, Stream):
        if inputs is not None:
            raise DataError("a stream takes no inputs; set a corruption instead.")
        return Streamed(sample, targets)
    if crop is not None:
        return Crops(sample, list(targets), crop, None if inputs is None else list(inputs), turns=turns)
    assert isinstance(targets, np.ndarray)
    return Rows(sample, targets, None if inputs is None else np.asarray(inputs))


def _fingerprint(array: Array) -> str:
    """Identifies an array, by 64 of its rows."""
    few = array[spread_over(len(array), _FINGERPRINTED)]
    return f"{array.dtype} {array.shape} {zlib.crc32(few.tobytes()):08x}"


def spread_over(n: int, count: int) -> NDArray[np.int64]:
    """At most `count` evenly spaced numbers from 0 to n - 1."""
    return np.linspace(0, n - 1, min(n, count)).astype(np.int64)

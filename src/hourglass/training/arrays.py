"""From numpy's arrays to what a network sees."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hourglass.images import Array, Sample


def network_input(sample: Sample, samples: Tensor, out: Tensor | None = None) -> Tensor:
    """`Sample.to_network` in torch: samples (n, *shape) as float32 (n, c, h, w) or (n, features), contiguous, always a copy;
    in `out`, of any shape of the same size, if given.
    """
    if sample.is_image:
        ordered = samples.unsqueeze(1) if samples.ndim == 3 else samples.movedim(3, 1)
    else:
        ordered = samples if sample.is_bounded else sample.normalised(samples.cpu(), torch)
    values = torch.empty(ordered.shape, dtype=torch.float32, device=samples.device) if out is None else out.view(ordered.shape)
    values.copy_(ordered)
    return values.mul_(1 / 255) if sample.is_image and samples.dtype == torch.uint8 else values


def as_tensor(array: Array) -> Tensor:
    """`array` without a copy where torch knows its dtype and strides; other numbers become float64. For reading only."""
    if array.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        array = array.astype(np.float64)
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writeable(array)))


class _Writeable:
    """The memory of a read-only array as numpy takes it for one that can be written to; nobody does.

    Of the other torch warns, and a warning cannot be held back in one thread alone: `warnings.catch_warnings` changes filters
    that all threads share.
    """

    def __init__(self, array: Array) -> None:
        self.array = array  # which must live as long as what is made of it
        interface = array.__array_interface__
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}

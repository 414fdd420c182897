"""From numpy arrays to network input."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hourglass.images import Array, Sample


def network_input(sample: Sample, samples: Tensor, out: Tensor | None = None) -> Tensor:
    """`Sample.to_network` in torch: samples (n, *shape) as a contiguous float32 copy (n, c, h, w) or (n, features).

    `out` may have any shape of the same size.
    """
    if sample.is_image:
        ordered = samples.unsqueeze(1) if samples.ndim == 3 else samples.movedim(3, 1)
    else:
        ordered = samples if sample.is_bounded else sample.normalised(samples.cpu(), torch)
    values = torch.empty(ordered.shape, dtype=torch.float32, device=samples.device) if out is None else out.view(ordered.shape)
    values.copy_(ordered)
    return values.mul_(1 / 255) if sample.is_image and samples.dtype == torch.uint8 else values


def as_tensor(array: Array) -> Tensor:
    """`array` as a tensor to read from, without a copy if torch supports its dtype and strides; other dtypes become float64."""
    if array.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        array = array.astype(np.float64)
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writeable(array)))


class _Writeable:
    """Presents a read-only array as writeable; nothing writes to it.

    torch warns of read-only arrays, and `warnings.catch_warnings` would change the filters of all threads.
    """

    def __init__(self, array: Array) -> None:
        self.array = array  # keeps the memory alive
        interface = array.__array_interface__
        self.__array_interface__ = interface | {"data": (interface["data"][0], False)}

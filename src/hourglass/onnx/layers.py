"""Operations in a form that ONNX has, for any height, width and batch: without branches on sizes or loops over samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hourglass.images import Float32
from hourglass.networks import Network
from hourglass.networks.maps import PadTo

Float64 = NDArray[np.float64]

_TRUNCATE = 4.0  # standard deviations at which SciPy ends a Gaussian


def without_branches(network: Network) -> Network:
    """`network` with each `PadTo` replaced, in place, by one that ONNX can follow; the numbers stay the same."""
    for name, module in list(network.named_modules()):
        if isinstance(module, PadTo):
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, Padded(module.stride, module.mode))
    return network


class Padded(nn.Module):
    """As `PadTo`, by indices: (n, c, h, w) -> (n, c, h', w')."""

    def __init__(self, stride: int, mode: str) -> None:
        super().__init__()
        self.stride, self.mode = stride, mode

    def forward(self, images: Tensor) -> Tensor:
        for axis in (2, 3):
            length = images.shape[axis]
            end = (length + self.stride - 1) // self.stride * self.stride
            places = torch.arange(length + self.stride - 1)  # up to `end` exactly would be an open size to PyTorch 2.11
            inside = places.clamp(max=length - 1)
            if self.mode == "reflect":
                is_long = torch.full((1,), end - length) < length  # enough pixels to mirror
                inside = torch.where((places >= length) & is_long, 2 * (length - 1) - places, inside)
            images = images.index_select(axis, inside.narrow(0, 0, end))
        return images


class Blur(nn.Module):
    """SciPy's `gaussian_filter`, borders mirrored: (n, c, h, w), float32."""

    kernel: Tensor

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.radius = int(_TRUNCATE * deviation + 0.5)
        weights = np.exp(-0.5 / deviation**2 * np.arange(-self.radius, self.radius + 1.0) ** 2)
        self.register_buffer("kernel", torch.from_numpy((weights / weights.sum()).astype(np.float32)))

    def forward(self, images: Tensor) -> Tensor:
        kernel = self.kernel.expand(images.shape[1], 1, 1, -1)
        rows = F.conv2d(self._mirrored(images, 2), kernel.mT, groups=len(kernel))
        return F.conv2d(self._mirrored(rows, 3), kernel, groups=len(kernel))

    def _mirrored(self, planes: Tensor, axis: int) -> Tensor:
        reach = torch.arange(planes.shape[axis] + 2 * self.radius) - self.radius
        length = reach[-1:] + 1 - self.radius  # a tensor: ONNX divides by no open size
        places = torch.remainder(reach, 2 * length)
        return planes.index_select(axis, torch.where(places < length, places, 2 * length - 1 - places))


class Thumbnails(nn.Module):
    """Pillow's box filter down to `side` × `side` pixels, then each scaled by its own mean and deviation: (n, c · side²)."""

    def __init__(self, side: int, least_deviation: float) -> None:
        super().__init__()
        self.side, self.least_deviation = side, least_deviation

    def forward(self, images: Tensor) -> Tensor:
        small = self._reduced(self._reduced(images).transpose(2, 3)).transpose(2, 3).flatten(1)
        centred = small - small.mean(1, keepdim=True)
        return centred / centred.square().mean(1, keepdim=True).sqrt().clamp(min=self.least_deviation)

    def _reduced(self, images: Tensor) -> Tensor:
        """The last axis reduced: the mean of the pixels with centres within each, placed in double precision as by Pillow."""
        places = torch.arange(images.shape[3], dtype=torch.float64)
        scale = (places[-1:] + 1) / self.side
        reach = 0.5 * scale.clamp(min=1)
        centres = ((torch.arange(self.side, dtype=torch.float64) + 0.5) * scale)[:, None]
        distances = places + 0.5 - centres
        is_inside = (places >= (centres - reach + 0.5).floor()) & (places < (centres + reach + 0.5).floor())
        weights = (is_inside & (distances > -reach) & (distances <= reach)).to(torch.float64)
        return images @ (weights / weights.sum(1, keepdim=True)).to(torch.float32).T


class Resampled(nn.Module):
    """Images enlarged or reduced by a whole `factor` along both axes, by cubic convolution, clamped to 0..1.

    As torch's `interpolate(mode="bicubic")`: with `is_pillows` that with antialiasing, which leaves out pixels beyond a border;
    without it those at the border are repeated.
    """

    kernel: Tensor

    def __init__(self, factor: int, *, reduces: bool = False, is_pillows: bool = False) -> None:
        super().__init__()
        self.stride, self.phases = (factor, 1) if reduces else (1, factor)
        self.is_pillows = is_pillows
        step, sharpness = (factor, -0.5) if is_pillows else (1, -0.75)
        step = step if reduces else 1
        centres = (np.arange(self.phases) + 0.5) * (factor if reduces else 1 / factor)
        reach = math.ceil(2 * step + 1)
        places = np.arange(-reach, self.stride + reach)
        kernel = _cubic((places + 0.5 - centres[:, None]) / step, sharpness)
        used = np.flatnonzero(kernel.any(0))
        self.before, self.after = -int(places[used[0]]), int(places[used[-1]]) + 1 - self.stride
        kernel = kernel[:, used[0] : used[-1] + 1]
        weights = (kernel / kernel.sum(1, keepdims=True)).astype(np.float32)
        self.register_buffer("kernel", torch.from_numpy(weights)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return self._along(self._along(images).transpose(2, 3)).transpose(2, 3).clamp(0, 1)

    def _along(self, images: Tensor) -> Tensor:
        """The last axis resampled."""
        channels = images.shape[1]
        if self.is_pillows:
            made = self._convolved(F.pad(images, (self.before, self.after)), channels)
            made = made / self._convolved(F.pad(torch.ones_like(images[:1, :1, :1]), (self.before, self.after)), 1)
        else:
            places = torch.arange(images.shape[3] + self.before + self.after) - self.before
            inside = places.clamp(min=0, max=images.shape[3] - 1)
            made = self._convolved(images.index_select(3, inside), channels)
        return made.flatten(3)

    def _convolved(self, planes: Tensor, channels: int) -> Tensor:
        """(n, c, h, w) -> (n, c, h, w', phases)"""
        kernel = self.kernel.repeat(channels, 1, 1, 1)
        made = F.conv2d(planes, kernel, stride=(1, self.stride), groups=channels)
        phases = [made[:, phase :: self.phases] for phase in range(self.phases)]
        return torch.stack(phases, 4)


def _cubic(distances: Float64, sharpness: float) -> Float64:
    """Keys' kernel (1981) with a = `sharpness`."""
    x, a = np.abs(distances), sharpness
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    weights: Float64 = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return weights


class Nearest(nn.Module):
    """The `count` nearest of `reference` (m, d): distances (n, count) and the vectors themselves (n, count, d).

    Products propose, differences decide, as in `NeighbourIndex`.
    """

    reference: Tensor

    def __init__(self, reference: Float32, count: int) -> None:
        super().__init__()
        self.count, self.proposed = min(count, len(reference)), min(count + _SPARE, len(reference))
        self.register_buffer("reference", torch.from_numpy(np.array(reference, dtype=np.float32)))

    def forward(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        likeness = queries @ self.reference.T - 0.5 * self.reference.square().sum(1)
        vectors = self.reference[likeness.topk(self.proposed).indices]
        negative, order = (-(vectors - queries[:, None]).square().sum(2)).topk(self.count)
        return (-negative).sqrt(), vectors.gather(1, order[..., None].expand(-1, -1, vectors.shape[2]))


_SPARE = 8  # candidates beyond those wanted, for rounding of the products


class Ranks(nn.Module):
    """How many of each column's `ordered` values (m, features) are below, and how many up to, each of rows: (n, features).

    Counted first among the last values of blocks, then within one block: ONNX has no search in ordered values.
    """

    blocks: Tensor
    ordered: Tensor

    def __init__(self, ordered: Float64) -> None:
        super().__init__()
        self.side = math.isqrt(len(ordered) - 1) + 1
        padded = np.pad(ordered, [(0, self.side**2 - len(ordered)), (0, 0)], constant_values=np.inf)
        self.register_buffer("ordered", torch.from_numpy(np.array(ordered, dtype=np.float64)))
        self.register_buffer("blocks", torch.from_numpy(padded.T.reshape(-1, self.side, self.side).copy()))

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self._count(rows, torch.lt), self._count(rows, torch.le)

    def _count(self, rows: Tensor, is_counted: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        whole = is_counted(self.blocks[:, :, -1], rows[..., None]).sum(2)
        block = self.blocks[torch.arange(len(self.blocks)), whole.clamp(max=self.side - 1)]
        return torch.where(whole < self.side, whole * self.side + is_counted(block, rows[..., None]).sum(2), self.side**2)

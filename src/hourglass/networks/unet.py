"""A U-Net for images of any height and width."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hourglass.errors import ParameterError
from hourglass.networks.base import Network, image_shape
from hourglass.networks.code import Code
from hourglass.networks.convolutional import ResidualBlock
from hourglass.networks.maps import PadTo
from hourglass.objectives import Output

_BLOCKS = 2  # at each resolution, on the way down and on the way up


class UNet(Network):
    """A U-Net (Ronneberger et al. 2015) of residual blocks that adds a correction to its input, for images of any size.

    `hidden` are the channels at 1/2, 1/4, … of the height and width. 2×2 pixels first become channels, since a convolution at
    full resolution costs four times as much. Halving and doubling are convolutions of 2×2 pixels without overlap, as in DRUNet
    (Zhang et al. 2021). The code is a map at the lowest resolution; connections past it carry the detail, so that the decoder
    alone gives a coarse correction.
    """

    default_hidden = (32, 64, 128)
    is_local = True
    is_separable = False
    takes_any_size = True
    bypasses_code = True
    adds_input = True

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        if not hidden:
            raise ParameterError('network="unet" needs at least one width in hidden, as in (32, 64).')
        channels = image_shape(shape, "unet")[0]
        self.encoder = _UNetEncoder(channels, n_components, hidden)
        self.decoder = _UNetDecoder(channels, n_components, hidden)
        stride = 2 ** len(hidden)
        self.code = Code(n_components, stride)
        # A convolution reaches one pixel of its own resolution. The lowest has blocks only once; entry and exit are at 1/2.
        steps = [2 ** (level + 1) for level in range(len(hidden))]
        reach = 2 * _BLOCKS * (2 * sum(steps) - steps[-1]) + 2 * 2 + (stride - 1)
        self.margin = stride * math.ceil(reach / stride)

    def forward(self, samples: Tensor) -> Output:
        codes, maps = self.encoder.encode(samples)
        height, width = samples.shape[-2:]
        return Output(samples + self.decoder.decode(codes, maps)[..., :height, :width], codes)

    encoder: _UNetEncoder
    decoder: _UNetDecoder


class _UNetEncoder(nn.Module):
    def __init__(self, channels: int, n_components: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.pad = PadTo(2 ** len(hidden))
        self.entry = nn.Conv2d(4 * channels, hidden[0], 3, padding=1)
        self.blocks = nn.ModuleList(_blocks(width) for width in hidden)
        self.downs = nn.ModuleList(nn.Conv2d(fan_in, fan_out, 2, stride=2) for fan_in, fan_out in pairwise(hidden))
        self.code = nn.Conv2d(hidden[-1], n_components, 1)

    def forward(self, samples: Tensor) -> Tensor:
        return self.encode(samples)[0]

    def encode(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Codes, and the feature maps at every resolution."""
        x = self.blocks[0](self.entry(F.pixel_unshuffle(self.pad(samples), 2)))
        maps = [x]
        for down, block in zip(self.downs, list(self.blocks)[1:], strict=True):
            x = block(down(x))
            maps.append(x)
        return self.code(x), maps


class _UNetDecoder(nn.Module):
    def __init__(self, channels: int, n_components: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = hidden
        self.code = nn.Conv2d(n_components, hidden[-1], 1)
        self.ups = nn.ModuleList(nn.Conv2d(fan_in, 4 * fan_out, 1) for fan_in, fan_out in pairwise(hidden[::-1]))
        self.blocks = nn.ModuleList(_blocks(width) for width in hidden[-2::-1])
        self.exit = nn.Conv2d(hidden[0], 4 * channels, 3, padding=1)
        with torch.no_grad():
            for parameter in self.exit.parameters():
                parameter.mul_(0.01)  # start near the identity

    def forward(self, codes: Tensor) -> Tensor:
        height, width = codes.shape[-2:]
        maps = [
            codes.new_zeros(len(codes), channels, height * 2**level, width * 2**level)
            for level, channels in enumerate(self.widths[::-1])
        ]
        return self.decode(codes, maps[::-1])

    def decode(self, codes: Tensor, maps: list[Tensor]) -> Tensor:
        """A correction of the padded samples, from codes and the encoder's feature maps."""
        x = self.code(codes) + maps[-1]
        for up, block, skipped in zip(self.ups, self.blocks, maps[-2::-1], strict=True):
            x = block(F.pixel_shuffle(up(x), 2).add_(skipped))
        return F.pixel_shuffle(self.exit(F.leaky_relu(x)), 2)


def _blocks(channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(_BLOCKS)))

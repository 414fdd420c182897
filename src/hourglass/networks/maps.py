"""A fully convolutional network: images of any height and width, codes that are maps."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from hourglass.networks.base import Network, image_shape, output_activation
from hourglass.networks.code import Code
from hourglass.networks.convolutional import Enlarging, ResidualBlock
from hourglass.objectives import Output


class Maps(Network):
    """Strided 3×3 convolutions down to maps of `n_components` channels, and back, for images of any height and width.

    `hidden` are the channels after each halving of height and width, so the code has 1/2, 1/4, … of them. The code keeps
    the position of detail, and the cost is proportional to the number of pixels.
    """

    default_hidden: ClassVar[tuple[int, ...]] = (32, 64)
    is_local = True
    is_separable = False
    takes_any_size = True

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__()
        widths = (image_shape(shape, type(self).__name__.lower())[0], *hidden)
        stride = 2 ** len(hidden)
        self.code = Code(n_components, stride)
        down: list[nn.Module] = [PadTo(stride)]
        for fan_in, fan_out in pairwise(widths):
            down += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), nn.LeakyReLU()]
        self.encoder = nn.Sequential(*down, ResidualBlock(widths[-1]), nn.LeakyReLU(), nn.Conv2d(widths[-1], n_components, 1))
        self.decoder = nn.Sequential(*self._up(widths), output_activation(bounded))
        # Reach of a layer in pixels: 1 at the resolution of its input, 2 for a residual block.
        reach = (stride - 1) + 4 * stride + 2 * (stride - 1)
        self.margin = stride * math.ceil(reach / stride)

    def _up(self, widths: tuple[int, ...]) -> list[nn.Module]:
        """The layers from maps back to an image; `widths` are the encoder's channels, those of the image first."""
        up: list[nn.Module] = [nn.Conv2d(self.code.width, widths[-1], 1), ResidualBlock(widths[-1])]
        for fan_in, fan_out in pairwise(widths[::-1]):
            up += [nn.LeakyReLU(), Enlarging(fan_in, fan_out)]
        return up

    def forward(self, samples: Tensor) -> Output:
        codes = self.encoder(samples)
        height, width = samples.shape[-2:]
        return Output(self.decoder(codes)[..., :height, :width], codes)

    encoder: nn.Sequential
    decoder: nn.Sequential


class Patches(Maps):
    """`Maps` with a decoder that makes a patch of `stride` × `stride` pixels of each place by itself.

    It has a few fully connected layers that all places share, as 1×1 convolutions. A step of training takes less than half of
    the time of `Maps`. Patches do not know of each other, so images are not for looking at; codes are what it is for.
    """

    default_hidden: ClassVar[tuple[int, ...]] = (24, 48, 96)

    def __init__(self, shape: tuple[int, ...], n_components: int, hidden: tuple[int, ...], bounded: bool) -> None:
        super().__init__(shape, n_components, hidden, bounded)
        # In steps of the stride: 1 for the strided convolutions, 2 for the residual block, 1 for the patch.
        self.margin = 4 * self.code.stride

    def _up(self, widths: tuple[int, ...]) -> list[nn.Module]:
        stride, width = self.code.stride, widths[-1]
        fan_out = widths[0] * stride**2
        return [nn.Conv2d(self.code.width, width, 1), nn.LeakyReLU(), nn.Conv2d(width, fan_out, 1), nn.PixelShuffle(stride)]


class PadTo(nn.Module):
    """Extend images below and at the right until height and width are multiples of `stride`: (n, c, h, w) -> (n, c, h', w').

    By mirroring, which keeps noise as it is: a noisy column that is repeated looks like a line, and the U-Net restores less of
    what is near it. "replicate" repeats the last row and column, which costs a codec fewer bits. An axis with too few pixels to
    mirror is repeated in either mode.
    """

    def __init__(self, stride: int, mode: str = "reflect") -> None:
        super().__init__()
        self.stride, self.mode = stride, mode

    def forward(self, images: Tensor) -> Tensor:
        below, right = (-images.shape[-2] % self.stride, -images.shape[-1] % self.stride)
        if not below and not right:
            return images
        longer = F.pad(images, (0, 0, 0, below), mode=self.mode if below < images.shape[-2] else "replicate")
        return F.pad(longer, (0, right, 0, 0), mode=self.mode if right < images.shape[-1] else "replicate")
